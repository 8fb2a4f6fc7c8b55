//! Metrics: what was done is what is counted, and nothing of a statement is told.

use crate::support::{ANYONE, Running, Stage};
use std::collections::BTreeMap;
use tokio_postgres::NoTls;

/// Samples by name and labels, as they are written.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

/// The metrics of a running proxy.
pub fn of(running: &Running) -> BTreeMap<String, f64> {
    samples(&running.proxy().metrics().unwrap())
}

/// A proxy with a table of its own that holds a secret.
pub async fn stage() -> Stage {
    Stage::new()
        .await
        .sql("CREATE TABLE emp (id int PRIMARY KEY, name text); INSERT INTO emp SELECT i, 'n' || i FROM generate_series(1, 100) i")
        .await
        .sources(&[("emp", "{name: [Hidden]}")])
        .user("ana", &[], &[])
        .policy(ANYONE)
        .writable()
        .await
        .writes("ana", &["emp"])
}

#[track_caller]
fn grew(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, name: &str) -> f64 {
    let value = |samples: &BTreeMap<String, f64>| samples.get(name).copied().unwrap_or(0.0);
    assert!(after.contains_key(name), "{name} is missing in {:#?}", after.keys());
    value(after) - value(before)
}

#[tokio::test]
async fn statements_rows_and_bytes_are_counted() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    let before = of(&running);
    assert_eq!(before["sqlveil_sessions"], 1.0);
    client.batch_execute("SELECT id FROM emp; SELECT name FROM emp WHERE id < 11").await.unwrap();
    let prepared = client.prepare("SELECT name FROM emp WHERE id = $1").await.unwrap();
    for id in 1..=5_i32 {
        assert_eq!(client.query(&prepared, &[&id]).await.unwrap().len(), 1);
    }
    client.execute("UPDATE emp SET name = 'x' WHERE id < 4", &[]).await.unwrap();
    client.batch_execute("WITH w AS (SELECT 1 AS a) SELECT a FROM w").await.unwrap();
    client.batch_execute("SELECT secret FROM nothing").await.unwrap_err();
    client.batch_execute("/* hi */ CREATE ROLE somebody").await.unwrap_err();
    client.batch_execute("SELECT 1 / (id - id) FROM emp").await.unwrap_err();
    client.batch_execute("SHOW sqlveil.project").await.unwrap();
    let after = of(&running);
    let grew = |name: &str| grew(&before, &after, name);
    assert_eq!(grew("sqlveil_statements_total{kind=\"select\",decision=\"allowed\"}"), 2.0 + 5.0 + 1.0 + 1.0);
    assert_eq!(grew("sqlveil_statements_total{kind=\"update\",decision=\"allowed\"}"), 1.0);
    assert_eq!(grew("sqlveil_statements_total{kind=\"show\",decision=\"allowed\"}"), 1.0);
    assert_eq!(grew("sqlveil_statements_total{kind=\"select\",decision=\"denied\"}"), 1.0);
    assert_eq!(grew("sqlveil_statements_total{kind=\"create\",decision=\"unsupported\"}"), 1.0);
    assert_eq!(grew("sqlveil_statements_failed_total{class=\"22\"}"), 1.0);
    assert_eq!(grew("sqlveil_rows_total{kind=\"select\"}"), 100.0 + 10.0 + 5.0 + 1.0 + 1.0);
    assert_eq!(grew("sqlveil_rows_total{kind=\"update\"}"), 3.0);
    assert!(grew("sqlveil_client_bytes_total{direction=\"sent\"}") > 1000.0);
    assert!(grew("sqlveil_client_bytes_total{direction=\"received\"}") > 200.0);
    assert!(grew("sqlveil_warehouse_bytes_total{direction=\"received\"}") > 1000.0);
    assert!(grew("sqlveil_warehouse_bytes_total{direction=\"sent\"}") > 200.0);
    assert!(grew("sqlveil_warehouse_answer_seconds_count") >= 10.0);
    assert!(after["sqlveil_warehouse_answer_seconds_sum"] > 0.0);
    assert!(grew("sqlveil_plans_total{source=\"planned\"}") >= 6.0);
    for stage in ["parse", "resolve", "decide", "rewrite", "seal"] {
        let name = |what: &str| format!("sqlveil_plan_stage_seconds_{what}{{stage=\"{stage}\"}}");
        assert!(grew(&name("count")) >= 6.0 && grew(&name("sum")) > 0.0, "{stage}");
    }
    let stages: f64 =
        after.iter().filter(|(k, _)| k.starts_with("sqlveil_plan_stage_seconds_sum")).map(|(_, v)| v).sum();
    assert!(stages <= after["sqlveil_plan_seconds_sum"], "stages are parts of planning");
    // What a session has counted stays counted when it has ended.
    drop(client);
    running.eventually("the session has ended", async |r| of(r)["sqlveil_sessions"] == 0.0).await;
    let end = of(&running);
    for direction in ["sent", "received"] {
        let name = format!("sqlveil_client_bytes_total{{direction=\"{direction}\"}}");
        assert!(end[&name] >= after[&name], "{name}");
    }
}

#[tokio::test]
async fn logins_refusals_and_cancels_are_counted() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    running.try_client("ana", "wrong", running.database()).await.unwrap_err();
    running.try_client("ana", crate::support::PASSWORD, "nowhere").await.unwrap_err();
    drop(tokio::net::TcpStream::connect(("127.0.0.1", running.port)).await.unwrap());
    // In a transaction a client has a session of the warehouse in both modes of the pool.
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    let wanted = [
        ("sqlveil_logins_total{method=\"scram-sha-256\",result=\"granted\"}", 2.0),
        ("sqlveil_logins_total{method=\"scram-sha-256\",result=\"refused\"}", 1.0),
        ("sqlveil_sessions_refused_total{reason=\"authentication\"}", 1.0),
        ("sqlveil_sessions_refused_total{reason=\"unknown_database\"}", 1.0),
        ("sqlveil_sessions_refused_total{reason=\"gone\"}", 1.0),
        ("sqlveil_cancel_requests_total{outcome=\"delivered\"}", 1.0),
        ("sqlveil_sessions_opened_total", 1.0),
    ];
    for (name, value) in wanted {
        running.eventually(name, async |r| of(r).get(name) == Some(&value)).await;
    }
}

#[tokio::test]
async fn a_full_pool_shows_who_waits() {
    let running = stage().await.pool(1).start().await;
    let pool = |what: &str| format!("sqlveil_pool_{what}{{connection=\"{}\"}}", running.database());
    let state =
        |state: &str| format!("sqlveil_pool_sessions{{connection=\"{}\",state=\"{state}\"}}", running.database());
    let first = running.client("ana").await;
    // In both modes of the pool: a transaction has a session for itself.
    first.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let samples = of(&running);
    assert_eq!((samples[&state("used")], samples[&pool("sessions_max")], samples[&pool("waiting")]), (1.0, 1.0, 0.0));
    assert!(samples[&pool("open_seconds_count")] >= 1.0);
    let second = async {
        let client = running.client("ana").await;
        client.batch_execute("SELECT 2").await.unwrap();
    };
    let freed = async {
        running.eventually("somebody waits", async |r| of(r)[&pool("waiting")] == 1.0).await;
        first.batch_execute("COMMIT").await.unwrap();
        drop(first);
    };
    tokio::join!(second, freed);
    let samples = of(&running);
    assert_eq!((samples[&pool("waiting")], samples[&pool("wait_seconds_count")]), (0.0, 1.0));
    assert!(samples[&pool("wait_seconds_sum")] > 0.0);
}

#[tokio::test]
async fn reloads_and_versions_are_told() {
    let running = stage().await.start().await;
    let begin = of(&running);
    let digest = |samples: &BTreeMap<String, f64>| {
        samples.keys().find(|name| name.starts_with("sqlveil_documents_info")).cloned().unwrap()
    };
    let world = format!("sqlveil_world_version{{connection=\"{}\"}}", running.database());
    running.write("policies/broken.yaml", "policyKey: [");
    running.proxy().reload_and_wait().await;
    let broken = of(&running);
    assert_eq!((broken["sqlveil_reload_rejected"], digest(&broken)), (1.0, digest(&begin)));
    assert!(broken["sqlveil_reloads_total{outcome=\"refused\"}"] >= 1.0);
    running.write("policies/broken.yaml", "policyKey: more\nname: more\ntype: subscription\nactions: {type: anyone}\n");
    running.proxy().reload_and_wait().await;
    let mended = of(&running);
    assert_eq!(mended["sqlveil_reload_rejected"], 0.0);
    assert!(mended["sqlveil_reloads_total{outcome=\"published\"}"] >= 1.0);
    assert_ne!(digest(&mended), digest(&begin));
    assert!(mended[&world] > begin[&world]);
    let up = format!("sqlveil_warehouse_up{{connection=\"{}\"}}", running.database());
    assert_eq!(mended[&up], 1.0);
    assert!(mended["process_resident_memory_bytes"] > 1e6 && mended["process_open_fds"] > 3.0);
}

#[tokio::test]
async fn no_text_of_a_statement_and_no_user_is_a_label() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    client.batch_execute("SELECT 'hidden-literal' AS hidden_name").await.unwrap();
    client.batch_execute("SELECT hidden_name FROM hidden_table").await.unwrap_err();
    running.try_client("hidden_user", "hidden-password", "hidden_database").await.unwrap_err();
    let text = running.proxy().metrics().unwrap();
    assert!(!text.contains("hidden") && !text.contains("\"ana\""), "{text}");
}

#[tokio::test]
async fn the_audit_trail_tells_how_it_fares() {
    let running = stage().await.config("audit: {folder: trail}").start().await;
    assert_eq!(of(&running)["sqlveil_audit_records_dropped_total"], 0.0);
    let client = running.client("ana").await;
    client.batch_execute("SELECT 1").await.unwrap();
    running.eventually("records are written", async |r| of(r)["sqlveil_audit_records_total"] >= 2.0).await;
    assert_eq!(of(&running)["sqlveil_audit_writable"], 1.0);
}
