//! The clock of the machine is set: what has an end by the calendar ends by it, what takes its time takes no notice.

use super::process::Process;
use super::support::{ANYONE, PASSWORD, Stage};
use sqlveil::identity::scram::Verifier;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// libfaketime, of the package `faketime`.
fn library() -> PathBuf {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found =
        places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime: .ci/setup --test installs it")
}

async fn login(port: u16, database: &str, user: &str) -> Result<Client, String> {
    let mut settings = tokio_postgres::Config::new();
    settings.host("127.0.0.1").port(port).dbname(database).user(user).password(PASSWORD);
    let code = |error: tokio_postgres::Error| error.code().map_or("lost", |code| code.code()).to_owned();
    let (client, connection) = settings.connect(NoTls).await.map_err(code)?;
    tokio::spawn(connection);
    Ok(client)
}

async fn count(client: &Client, table: &str) -> String {
    match client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await {
        Ok(row) => row.get::<_, i64>(0).to_string(),
        Err(error) => error.code().map_or("lost", |code| code.code()).to_owned(),
    }
}

/// Asks until the answer is that one.
async fn becomes(client: &Client, table: &str, wanted: &str) {
    for _ in 0..100 {
        if count(client, table).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{table}: {} and not {wanted}", count(client, table).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_by_the_calendar_follow_the_clock_both_ways() {
    let hour = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let verifier = Verifier::from_password(PASSWORD.as_bytes(), 1, b"salt");
    let subscription = "policyKey: by grant\nname: By grant\ntype: subscription\nactions: {type: manual}\n\
                        circumstances: [{type: tags, tag: Lent}]\n";
    let anyone = ANYONE.trim_end().to_owned() + "\ncircumstances: [{type: tags, tag: Common}]\n";
    let stage = Stage::new()
        .await
        .sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id; CREATE TABLE lent AS TABLE t")
        .await;
    let stage = stage
        .source("table: t\nschema: public\ntags: {table: [Common]}")
        .source("table: lent\nschema: public\ntags: {table: [Lent]}")
        .tags(&["Common", "Lent"])
        .policy(&anyone)
        .policy(subscription)
        .grant(&format!("dataSource: lent\nuser: ana\nexpiration: '{hour}'\n"))
        .user("ana", &[], &[])
        .raw_user(&format!("{{name: eva, verifier: '{verifier}', expires: {hour}}}"))
        .config("limits: {idle_timeout: 10m}");
    let (config, database) = (stage.write(), stage.database.clone());
    let clock = stage_folder(&config).join("clock");
    let set = |offset: &str| std::fs::write(&clock, offset).unwrap();
    set("+0");
    let mut command = Process::command(&config);
    command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &clock);
    // Only the calendar: what takes its time is measured by another clock, which nobody sets.
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let process = Process::run(command);
    let ana = login(process.port, &database, "ana").await.unwrap();
    let eva = login(process.port, &database, "eva").await.unwrap();
    assert_eq!(
        (count(&ana, "lent").await, count(&ana, "t").await, count(&eva, "t").await),
        ("100".into(), "100".into(), "100".into())
    );

    set("+2h");
    // With the next statement, although its plan is there.
    becomes(&ana, "lent", "42P01").await;
    assert_eq!(count(&ana, "t").await, "100", "two hours did not pass: nobody was idle");
    for _ in 0..40 {
        if eva.is_closed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(eva.is_closed(), "who has expired is sent away");
    assert_eq!(login(process.port, &database, "eva").await.err().unwrap(), "28P01");
    assert!(login(process.port, &database, "ana").await.is_ok());

    set("-2h");
    // The calendar says that it is not over, or not yet.
    becomes(&ana, "lent", "100").await;
    let eva = login(process.port, &database, "eva").await.unwrap();
    assert_eq!((count(&eva, "t").await, count(&ana, "t").await), ("100".into(), "100".into()));
    set("+0");
    becomes(&ana, "lent", "100").await;
    assert!(!process.log().iter().any(|line| line.contains("panick")), "{:?}", process.log());
}

fn stage_folder(config: &Path) -> &Path {
    config.parent().unwrap()
}
