//! The disk has no room for what callers acknowledge: nothing counts that is not on disk. (The accounts file: `tests/accounts/store.rs`.)

use super::process::Process;
use super::support::{ANYONE, PASSWORD, Stage};
use std::path::Path;
use std::process::Command;
use tokio_postgres::{Client, NoTls};

const PURPOSE: &str = "name: Fraud\nacknowledgement: I use this against fraud alone, and nothing else than that\n";

fn stage_with(stage: Stage, file: &Path) -> Stage {
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &["Staff"], &[]).user("bob", &["Staff"], &[]);
    let stage = stage
        .purpose_document(PURPOSE)
        .project("projectKey: fraud\nname: Fraud\nmembers: [{type: group, name: Staff}]\npurposes: [Fraud]\n");
    stage.config(&format!("acknowledgements: {}", file.display()))
}

async fn client(port: u16, database: &str, user: &str) -> Client {
    let mut settings = tokio_postgres::Config::new();
    settings.host("127.0.0.1").port(port).dbname(database).user(user).password(PASSWORD);
    let (client, connection) = settings.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn code(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.code().map_or("lost", |code| code.code()).to_owned(),
    }
}

/// Files of the proxy may have 4096 bytes, until that is lifted: what does not fit is written as far as it goes, as on a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_on_disk_is_not_accepted() {
    let stage = Stage::new().await.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acknowledgements.jsonl");
    let stage = stage_with(stage, &file);
    let (config, database) = (stage.write(), stage.database.clone());
    let plain = Process::command(&config);
    let mut command = Command::new("sh");
    // In blocks of 512 bytes (POSIX, ulimit); the signal that goes with it is not for us.
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 8; exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env("NO_COLOR", "1");
    let process = Process::run(command);
    let (ana, bob) = (client(process.port, &database, "ana").await, client(process.port, &database, "bob").await);
    // Room for the first part of a line alone.
    let mut begun = String::new();
    while begun.len() + 60 < 4096 {
        begun.push('\n');
    }
    std::fs::write(&file, &begun).unwrap();
    for _ in 0..2 {
        assert_eq!(code(&ana, "SET sqlveil.acknowledge = 'fraud'").await, "58030");
        assert_eq!(code(&ana, "SET sqlveil.project = 'fraud'").await, "42501", "it does not count");
    }
    assert_eq!(code(&ana, "SELECT count(*) FROM t").await, "fine", "all else goes on");
    assert!(process.says(&["ERROR", "the acknowledgements cannot be read or written"]));
    assert!(std::fs::read_to_string(&file).unwrap().len() > begun.len(), "half a line is there");
    let pid = process.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap().success());
    assert_eq!(code(&bob, "SET sqlveil.project = 'fraud'").await, "42501");
    assert_eq!(code(&ana, "SET sqlveil.acknowledge = 'fraud'").await, "fine");
    assert_eq!(code(&ana, "SET sqlveil.project = 'fraud'").await, "fine");
    assert_eq!(code(&bob, "SET sqlveil.acknowledge = 'fraud'").await, "fine");
    let whole = std::fs::read_to_string(&file).unwrap();
    let read = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert_eq!(whole.lines().filter(read).count(), 2, "one line each, whole: {whole}");
}
