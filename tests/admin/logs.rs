//! The log: JSON where it is asked for, levels by module, and nothing in it that nobody may read there.

use crate::http::{TOKEN, send, with_token};
use crate::metrics::stage;
use crate::process::Process;
use crate::support::{PASSWORD, Stage};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// A line of JSON with these words in its message, and one of its members.
async fn told(process: &Process, message: &str, member: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let lines = process.log();
        let found = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = found.into_iter().find(|line| line["message"].as_str().is_some_and(|text| text == message));
        if let Some(line) = found {
            return line[member].clone();
        }
        assert!(Instant::now() < deadline, "{message} was not logged: {lines:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn address(value: &Value) -> std::net::SocketAddr {
    value.as_str().unwrap().parse().unwrap()
}

async fn connect(
    stage: &Stage,
    port: u16,
    user: &str,
    password: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname(&stage.database).user(user).password(password);
    let (client, connection) = config.application_name("hidden-application").connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn lines_are_json_and_hold_no_secret_and_no_literal() {
    let stage = stage()
        .await
        .policy(
            "policyKey: some\nname: some\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
             config: {predicate: \"name <> 'hidden-in-policy'\"}\ncircumstances: [{type: columnTags, columnTag: Hidden}]\n",
        );
    // What the library that speaks to the warehouse would print of policies is not printed either.
    let levels = "log: {format: json, levels: \"info,sqlveil=trace,tokio_postgres=trace\"}";
    let stage = with_token(stage, "").config(levels);
    let config = stage.write();
    let mut process = Process::spawn(Process::command(&config));
    let admin = address(&told(&process, "listening for administrators", "address").await);
    let port = address(&told(&process, "listening", "address").await).port();
    let client = connect(&stage, port, "ana", PASSWORD).await.unwrap();
    client.batch_execute("SELECT 'hidden-literal', 815081508150 -- hidden-comment").await.unwrap();
    client.batch_execute("SELECT 'hidden-literal' FROM nothing").await.unwrap_err();
    client.batch_execute("SELECT 'hidden-literal'::int").await.unwrap_err();
    client.batch_execute("SELECT 'hidden-literal").await.unwrap_err();
    client.batch_execute("SET application_name = 'hidden-name'").await.unwrap();
    client.batch_execute("INSERT INTO emp VALUES (1, 'hidden-value')").await.unwrap_err();
    client.batch_execute("CREATE ROLE x PASSWORD 'hidden-password'").await.unwrap_err();
    let prepared = client.prepare("SELECT name FROM emp WHERE name = $1").await.unwrap();
    client.query(&prepared, &[&"hidden-parameter"]).await.unwrap();
    connect(&stage, port, "ana", "hidden-password").await.unwrap_err();
    let token = format!("Bearer {TOKEN}");
    let body = serde_json::json!({"user": "ana", "statement": "SELECT 'hidden-literal'"}).to_string();
    send(admin, "POST", "/explain", &[("authorization", &token)], Some(body)).await;
    send(admin, "GET", "/config", &[("authorization", "Bearer hidden-token")], None).await;
    send(admin, "POST", "/reload", &[("authorization", &token)], None).await;
    drop(client);
    process.signal("TERM");
    assert!(process.ended(Duration::from_secs(30)).expect("it ends").success());
    let lines = process.log();
    assert!(lines.len() > 10, "{lines:#?}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
    }
    assert!(lines.iter().any(|line| line.contains("\"target\":\"audit\"")), "statements are told of");
    holds_nothing(&lines.join("\n"), config.parent().unwrap());
}

/// Holds that nothing of what was presented and nothing of what is kept secret is in a text.
fn holds_nothing(text: &str, folder: &Path) {
    for word in ["hidden", "8150", PASSWORD, TOKEN, "SCRAM-SHA-256$"] {
        let found = text.lines().find(|line| line.contains(word) && !line.contains("hidden-application"));
        assert_eq!(found, None, "{word}");
    }
    for secret in ["secrets/warehouse", "secrets/master"] {
        let secret = std::fs::read_to_string(folder.join(secret)).unwrap();
        assert!(!text.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn levels_are_the_variables_then_the_files_then_the_commands() {
    let stage = stage().await.config("log: {levels: \"warn,sqlveil::session::proxy=info\"}");
    let config = stage.write();
    // Of the modules that speak at the start one is heard.
    let process = Process::run(Process::command(&config));
    assert!(
        process
            .log()
            .iter()
            .all(|line| line.contains("sqlveil::session::proxy") || line.contains("sqlveil::session::listener")),
        "{:#?}",
        process.log()
    );
    drop(process);
    let mut command = Process::command(&config);
    command.env("SQLVEIL_LOG", "info,audit=debug");
    let process = Process::run(command);
    let client = connect(&stage, process.port, "ana", PASSWORD).await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
    assert!(process.says(&["audit", "decision=\"allowed\""]), "{:#?}", process.log());
}

#[tokio::test]
async fn what_is_no_level_is_told() {
    let stage = stage().await.config("log: {levels: \"info,sqlveil=loud\", format: xml}");
    let problems = sqlveil::config::Config::load(&stage.write()).expect_err("it is refused");
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    assert!(text.contains("these are not levels") && text.contains("unknown format"), "{text}");
}
