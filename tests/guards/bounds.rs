//! Every bound: it holds, it says what, where and what to do, and the session goes on.

use crate::support::{ANYONE, PASSWORD, Running, Stage};
use crate::{simple, told};
use futures_util::StreamExt;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn stage(config: &str, connection: &str) -> Running {
    Stage::new()
        .await
        .sql("CREATE TABLE t (id int, body text); INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i")
        .await
        .sources(&[("t", "{}")])
        .policy(ANYONE)
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .config(config)
        .connection(connection)
        .start()
        .await
}

/// The session answers, and is in no transaction that should have failed.
async fn alive(client: &Client) {
    assert_eq!(simple(client, "SELECT 41 + 1").await, Ok(vec!["42".to_owned()]));
}

/// Copies out up to the end, or to the first error.
async fn copy(client: &Client, sql: &str) -> Result<usize, String> {
    let stream = client.copy_out(sql).await.map_err(|e| told(&e))?;
    futures_util::pin_mut!(stream);
    let mut parts = 0;
    while let Some(part) = stream.next().await {
        part.map_err(|e| told(&e))?;
        parts += 1;
    }
    Ok(parts)
}

const ROWS: &str = "54000 result is larger than 1000 rows [Narrow the statement";

#[tokio::test(flavor = "multi_thread")]
async fn results_have_as_many_rows_as_are_allowed() {
    let stage = stage("limits: {result_rows: 1000}", "").await;
    let mut client = stage.client("ana").await;
    // As many as are allowed, one more, far more: the cancel request comes in time or too late.
    for (count, fits) in [(1000, true), (1001, false), (1500, false), (100_000, false)] {
        for _ in 0..5 {
            let sql = format!("SELECT * FROM t LIMIT {count}");
            let answer = simple(&client, &sql).await;
            match fits {
                true => assert_eq!(answer.unwrap().len(), count),
                false => assert!(answer.as_ref().is_err_and(|e| e.starts_with(ROWS)), "{answer:?}"),
            }
            alive(&client).await;
            let answer = client.query(&sql, &[]).await;
            assert_eq!(answer.is_ok(), fits, "{sql}");
            if let Err(error) = answer {
                assert!(told(&error).starts_with(ROWS), "{}", told(&error));
            }
            alive(&client).await;
            let copied = copy(&client, &format!("COPY ({sql}) TO STDOUT")).await;
            assert_eq!(copied.is_ok(), fits, "{sql}: {copied:?}");
            assert!(fits || copied.is_err_and(|e| e.starts_with(ROWS)));
            alive(&client).await;
        }
        // In a transaction: it has failed, as after any error.
        let sql = format!("SELECT * FROM t LIMIT {count}");
        for extended in [false, true] {
            client.batch_execute("BEGIN").await.unwrap();
            let ok = if extended { client.query(&sql, &[]).await.is_ok() } else { simple(&client, &sql).await.is_ok() };
            assert_eq!(ok, fits);
            let next = simple(&client, "SELECT 1").await;
            assert_eq!(next.is_ok(), fits, "{count} {extended}: {next:?}");
            assert!(fits || next.is_err_and(|e| e.starts_with("25P02")));
            client.batch_execute("ROLLBACK").await.unwrap();
            alive(&client).await;
        }
    }
    // In portions there is no bound.
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t LIMIT 5000", &[]).await.unwrap();
    for _ in 0..5 {
        assert_eq!(transaction.query_portal(&portal, 1000).await.unwrap().len(), 1000);
    }
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT id FROM t").await.unwrap();
    for _ in 0..3 {
        assert_eq!(simple(transaction.client(), "FETCH 900 FROM c").await.unwrap().len(), 900);
    }
    let error = simple(transaction.client(), "FETCH ALL FROM c").await.unwrap_err();
    assert!(error.starts_with(ROWS), "{error}");
    transaction.rollback().await.unwrap();
    alive(&client).await;
    // An outline and a SHOW have rows too, but few.
    assert!(!simple(&client, "EXPLAIN SELECT * FROM t").await.unwrap().is_empty());
}

/// Whatever came before or behind it in the string: nothing of it is half done without the client knowing.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_ends_its_string() {
    let stage = stage("limits: {result_rows: 10}", "").await;
    for sql in [
        "SELECT 1; SELECT * FROM t",
        "SELECT * FROM t; SELECT 1",
        "SELECT * FROM t LIMIT 11; SELECT 1",
        "SELECT * FROM t LIMIT 11; SET application_name = 'after'",
        "SET application_name = 'before'; SELECT * FROM t LIMIT 11",
        "BEGIN; SELECT * FROM t LIMIT 11; COMMIT",
    ] {
        let client = stage.client("ana").await;
        let error = simple(&client, sql).await.expect_err(sql);
        assert!(error.starts_with("54000 ") || error.contains("Closed"), "{sql}: {error}");
        // Either everything is as after an error, or the session has ended.
        if let Ok(rows) = simple(&client, "SHOW application_name").await {
            assert_eq!(rows, ["sqlveil"], "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_have_as_many_bytes_as_are_allowed() {
    let stage = stage("limits: {result_bytes: 64kB}", "").await;
    let client = stage.client("ana").await;
    for _ in 0..10 {
        let error = simple(&client, "SELECT repeat('x', 70000)").await.unwrap_err();
        assert!(
            error.starts_with("54000 result is larger than 65536 bytes [") && error.contains("result_bytes"),
            "{error}"
        );
        let error = simple(&client, "SELECT body FROM t").await.unwrap_err();
        assert!(error.starts_with("54000 "), "{error}");
        assert_eq!(simple(&client, "SELECT body FROM t LIMIT 500").await.unwrap().len(), 500);
    }
}

/// A batch without Sync, as JDBC sends with Flush; several Executes in one batch.
#[tokio::test(flavor = "multi_thread")]
async fn pipelines_survive_a_result_that_is_too_large() {
    let stage = stage("limits: {result_rows: 10}", "").await;
    for limit in [11, 50_000] {
        let client = stage.client("ana").await;
        let small = client.prepare("SELECT 1").await.unwrap();
        let large = client.prepare(&format!("SELECT id FROM t LIMIT {limit}")).await.unwrap();
        let (a, b, c) = tokio::join!(client.query(&small, &[]), client.query(&large, &[]), client.query(&small, &[]));
        assert!(a.is_ok());
        assert!(told(&b.unwrap_err()).starts_with("54000 "));
        assert!(c.is_ok(), "{c:?}");
        alive(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_run_as_long_as_is_allowed() {
    let stage = stage("", "\n    query_timeout: 20s\n    query_timeout_max: 30s").await;
    let client = stage.client("ana").await;
    let shown = async || simple(&client, "SHOW statement_timeout").await.unwrap().remove(0);
    assert_eq!(shown().await, "20s");
    for (value, now) in
        [("'5s'", "5s"), ("1000", "1s"), ("0", "30s"), ("'0'", "30s"), ("DEFAULT", "20s"), ("'0.5min'", "30s")]
    {
        client.batch_execute(&format!("SET statement_timeout = {value}")).await.unwrap();
        assert_eq!(shown().await, now, "{value}");
    }
    for value in ["30001", "'31s'", "'1h'", "'0x7fffffff'", "'1e9'", "-1", "'x'", "2147483648"] {
        for set in ["SET", "SET LOCAL", "SET SESSION"] {
            let error = simple(&client, &format!("{set} statement_timeout = {value}")).await.unwrap_err();
            assert!(error.starts_with("22023 "), "{set} {value}: {error}");
        }
    }
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0").await.unwrap();
    assert_eq!(shown().await, "30s");
    client.batch_execute("ROLLBACK; RESET ALL").await.unwrap();
    assert_eq!(shown().await, "20s");
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(shown().await, "20s");
    // As a startup parameter.
    let mut config = stage.client_config("ana");
    for (options, fine) in [("-c statement_timeout=0", true), ("-c statement_timeout=1h", false)] {
        assert_eq!(config.options(options).connect(tokio_postgres::NoTls).await.is_ok(), fine, "{options}");
    }
}

/// Planning counts towards statement_timeout, and settings that would make it exponential are bounded.
#[tokio::test(flavor = "multi_thread")]
async fn planning_is_bounded_too() {
    let stage = stage("", "").await;
    let client = stage.client("ana").await;
    for set in ["join_collapse_limit = 13", "from_collapse_limit = 100", "JOIN_COLLAPSE_LIMIT = '0x20'"] {
        assert!(simple(&client, &format!("SET {set}")).await.unwrap_err().starts_with("22023 "), "{set}");
    }
    client
        .batch_execute(
            "SET geqo = off; SET join_collapse_limit = 12; SET from_collapse_limit = 12; SET statement_timeout = 300",
        )
        .await
        .unwrap();
    let joins: Vec<String> =
        (1..12).map(|n| format!("JOIN t t{n} ON t{n}.id = t0.id AND t{n}.body = t{}.body", n - 1)).collect();
    let began = Instant::now();
    let answer = simple(&client, &format!("EXPLAIN SELECT 1 FROM t t0 {}", joins.join(" "))).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    if let Err(error) = answer {
        assert!(error.starts_with("57014"), "{error}");
    }
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    alive(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_as_large_as_is_allowed() {
    let stage = stage("limits: {statement_bytes: 100kB, relations: 20}", "").await;
    let client = stage.client("ana").await;
    let began = Instant::now();
    let many =
        |n: usize| vec!["t"; n].iter().enumerate().map(|(i, t)| format!("{t} t{i}")).collect::<Vec<_>>().join(", ");
    for (sql, says) in [
        (
            format!("SELECT '{}'", "x".repeat(110_000)),
            "54000 a statement may be at most 102400 bytes long [Send data by COPY",
        ),
        (format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000)), "54001 stack depth limit exceeded [Simplify"),
        (format!("SELECT {} 1", "-- \n NOT ".repeat(3000)), "54001 stack depth limit exceeded [Simplify"),
        (
            format!("EXPLAIN SELECT 1 FROM {}", many(21)),
            "54001 statement is too complex: it mentions 21 relations, at most 20 are allowed [Split",
        ),
        (
            format!("SELECT 1 FROM {} WHERE EXISTS (SELECT FROM t)", many(20)),
            "54001 statement is too complex: it mentions 21",
        ),
        ("SELECT 1;".repeat(5001), "54000 a string may hold at most 5000 statements [Send it in several parts.]"),
    ] {
        for answer in
            [simple(&client, &sql).await.map(|_| ()), client.prepare(&sql).await.map(|_| ()).map_err(|e| told(&e))]
        {
            let error = answer.expect_err(says);
            assert!(error.starts_with(says), "{says}: {error}");
        }
        alive(&client).await;
    }
    assert!(simple(&client, &format!("EXPLAIN SELECT 1 FROM {}", many(20))).await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_as_many_sessions_as_are_allowed() {
    let stage = stage("limits: {sessions_per_user: 2}", "").await;
    let _held = (stage.client("ana").await, stage.client("ana").await);
    let error = stage.try_client("ana", PASSWORD, stage.database()).await.map(|_| ()).unwrap_err();
    assert!(told(&error).starts_with("53300 too many connections for role \"ana\""), "{}", told(&error));
    alive(&stage.client("bob").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_are_slowed_and_limited() {
    let stage = stage("limits: {failed_logins: 4}", "").await;
    let try_in = async |user: &str, password: &str| {
        let began = Instant::now();
        let answer = stage.try_client(user, password, stage.database()).await.map(|_| ()).map_err(|e| told(&e));
        (answer, began.elapsed())
    };
    // The same for users there are and users there are not.
    for user in ["ana", "nobody"] {
        let mut waits = Vec::new();
        for _ in 0..4 {
            let (answer, took) = try_in(user, "wrong").await;
            let said = answer.unwrap_err();
            assert_eq!(said, format!("28P01 password authentication failed for user \"{user}\" []"));
            waits.push(took);
        }
        assert!(waits[3] > waits[0] && waits[3] >= Duration::from_millis(400), "{waits:?}");
        for password in ["wrong", PASSWORD] {
            let (answer, _) = try_in(user, password).await;
            assert_eq!(
                answer.unwrap_err(),
                "28000 too many failed logins [Wait a minute, then log in with the right password.]"
            );
        }
    }
    // Others are not kept out, and a success forgets.
    assert!(try_in("bob", "wrong").await.0.is_err());
    assert!(try_in("bob", PASSWORD).await.0.is_ok());
    for _ in 0..3 {
        assert!(try_in("bob", "wrong").await.0.is_err());
    }
    assert!(try_in("bob", PASSWORD).await.0.is_ok());
}
