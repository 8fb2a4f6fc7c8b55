//! When records cannot be kept.

use crate::process::Process;
use crate::support::PASSWORD;
use crate::{database, folder, records, sqlveil, stage, stop};
use std::process::Command;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// A proxy that may not write files of more than so many kilobytes: as on a disk that is full.
fn limited(config: &std::path::Path, kilobytes: u32) -> Process {
    let mut command = Command::new("bash");
    // Who ignores the signal gets the error; what ignores it keeps ignoring it.
    let script = format!("trap '' XFSZ; ulimit -S -f {kilobytes}; exec \"$0\" serve --config \"$1\"");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_sqlveil")).arg(config);
    command.env("NO_COLOR", "1").env_remove("SQLVEIL_LOG");
    Process::run(command)
}

fn unlimited(process: &Process) {
    let lifted = Command::new("prlimit").args(["--pid", &process.pid().to_string(), "--fsize=unlimited"]).status();
    assert!(lifted.unwrap().success());
}

async fn client(process: &Process, database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(process.port).user("ana").password(PASSWORD).dbname(database);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const ASK: &str = "SELECT id FROM open LIMIT 1";

#[tokio::test(flavor = "multi_thread")]
async fn required_refuses_statements_until_records_can_be_kept_again_and_loses_none() {
    let stage = stage(", mode: required").await;
    let config = stage.write();
    let database = database(&stage);
    let mut process = limited(&config, 100);
    let asking = client(&process, &database).await;
    let mut answered = 0;
    let refused = loop {
        match asking.simple_query(ASK).await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 100_000);
    };
    assert_eq!(refused.code().unwrap().code(), "58030");
    assert!(refused.as_db_error().unwrap().message().contains("audit records cannot be kept"), "{refused:?}");
    assert!(process.says(&["audit records cannot be written", "they wait in memory"]));
    // By every way.
    assert_eq!(asking.query("SELECT id FROM open", &[]).await.unwrap_err().code().unwrap().code(), "58030");
    unlimited(&process);
    let answered_again = async {
        while asking.simple_query(ASK).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered_again).await.expect("records are kept again");
    assert!(process.says(&["audit records are written again"]));
    drop(asking);
    stop(&mut process);
    let (status, told) = sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    let records = records(&folder(config.parent().unwrap()));
    let completed = records.iter().filter(|record| record["outcome"] == "completed").count();
    assert_eq!(completed, answered + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn best_effort_goes_on_and_counts_what_it_lost() {
    let stage = stage(", queue: 64kB").await;
    let config = stage.write();
    let database = database(&stage);
    let mut process = limited(&config, 100);
    let asking = client(&process, &database).await;
    let mut sent = 0;
    while !process.log().iter().any(|line| line.contains("audit records cannot be written")) {
        asking.simple_query(ASK).await.unwrap();
        sent += 1;
    }
    for _ in 0..500 {
        asking.simple_query(ASK).await.unwrap();
        sent += 1;
    }
    unlimited(&process);
    assert!(process.says(&["audit records were dropped"]));
    drop(asking);
    stop(&mut process);
    let (status, told) = sqlveil(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    let records = records(&folder(config.parent().unwrap()));
    let completed = records.iter().filter(|record| record["outcome"] == "completed").count() as u64;
    let lost: u64 =
        records.iter().filter(|record| record["kind"] == "lost").map(|r| r["records"].as_u64().unwrap()).sum();
    assert!(lost > 0);
    assert_eq!(completed + lost, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_told_at_the_start() {
    let stage = stage("").await;
    let config = stage.write();
    std::fs::write(folder(config.parent().unwrap()), "a file").unwrap();
    let (status, told) = sqlveil(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("audit folder") && told.contains("audit.folder") && told.contains("config.yaml"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_in_a_hurry_loses_no_record_and_stops_nobody() {
    for mode in ["best_effort", "required"] {
        let mut running = stage(&format!(", mode: {mode}, queue: 8MB")).await.start().await;
        let mut config = running.client_config("ana");
        let (client, connection) = config.application_name("\u{1}".repeat(9_000)).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = client.prepare("SELECT 1").await.unwrap();
        let other = running.client("bob").await;
        // Without waiting for an answer: there would be no room if each record held all of the name.
        let hurry = futures_util::future::join_all((0..3000).map(|_| client.query(&statement, &[])));
        let others = async {
            for _ in 0..50 {
                other.simple_query(ASK).await.expect("nobody is refused");
            }
        };
        let (answers, ()) = tokio::join!(hurry, others);
        assert!(answers.iter().all(Result::is_ok), "{mode}");
        drop((client, other));
        running.stop().await;
        let records = records(&folder(running.folder()));
        // What a session begins with is one, too.
        let asked =
            |record: &&serde_json::Value| record["statement"].as_str().is_some_and(|text| text.starts_with("SELECT"));
        let completed = records.iter().filter(asked).filter(|record| record["outcome"] == "completed").count();
        assert_eq!(completed, 3050, "{mode}");
        assert!(records.iter().all(|record| record["kind"] != "lost"), "{mode}");
    }
}
