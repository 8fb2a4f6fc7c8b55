//! TPC-H: the same answers, and the same plans.

use crate::answer::{How, rows, sqlstate};
use crate::pair::{Pair, Verdict, compare, stage};
use crate::support::Running;
use serde_json::Value;
use sqlveil::cli::explain::{Args, Format, run};
use tokio_postgres::SimpleQueryMessage;

const SCHEMA: &str = include_str!("tpch/schema.sql");
const QUERIES: &str = include_str!("tpch/queries.sql");

/// The queries, without comments.
fn queries() -> Vec<String> {
    let lines: Vec<&str> = QUERIES.lines().filter(|l| !l.starts_with("--")).collect();
    lines.join("\n").split(';').map(|q| q.trim().to_owned()).filter(|q| !q.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_are_answered_as_directly_and_planned_as_directly() {
    let (running, role) = stage(&[SCHEMA]).await;
    let mut pair = Pair::new(&running, &role).await;
    let queries = queries();
    assert_eq!(queries.len(), 22);
    let mut wrong = Vec::new();
    for (number, query) in (1..).zip(&queries) {
        for how in [How::Simple, How::Extended { binary: false }, How::Extended { binary: true }] {
            let (mine, theirs) = pair.both(query, how).await.expect("an answer");
            let found = rows(&theirs);
            assert_eq!(sqlstate(&theirs), None, "query {number}");
            // One row of nothing but NULL (its columns' lengths -1) is an aggregate of no row.
            let empty = found.iter().all(|row| row[2..].chunks(4).all(|length| length == [255; 4]));
            assert!(!empty, "query {number} finds nothing: {} rows", found.len());
            let verdict = compare(query, &mine, &theirs);
            if verdict != Verdict::Same {
                wrong.push(format!("query {number} {how:?}: {verdict:?}"));
            }
        }
        let sent = sent(&running, &role, query).await;
        let (plan, original) = (plan(&running, "pg_catalog", &sent).await, plan(&running, "public", query).await);
        if plan != original {
            wrong.push(format!("query {number} is planned otherwise\n{plan:#}\n{original:#}\n{sent}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the warehouse is sent for a query.
async fn sent(running: &Running, role: &str, query: &str) -> String {
    let args = Args {
        config: running.config_file(),
        user: role.to_owned(),
        project: None,
        connection: None,
        format: Format::Json,
        sql: query.to_owned(),
    };
    let mut out = Vec::new();
    run(&args, &mut out, false).await.unwrap();
    let explained: Value = serde_json::from_slice(&out).unwrap();
    explained["sent"][0]["sql"].as_str().unwrap().to_owned()
}

/// The plan of a query with its costs, without the names that differ: aliases.
async fn plan(running: &Running, path: &str, query: &str) -> Value {
    running.admin().batch_execute(&format!("SET search_path = {path}")).await.unwrap();
    let said = running.admin().simple_query(&format!("EXPLAIN (FORMAT JSON) {query}")).await.unwrap();
    let row = said.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
    let mut plan: Value = serde_json::from_str(row.unwrap()).unwrap();
    nameless(&mut plan);
    plan
}

fn nameless(plan: &mut Value) {
    let alias = regex::Regex::new(r"\b[a-z_0-9]+\.([a-z]+_[a-z0-9_]+)").unwrap();
    match plan {
        Value::Object(fields) => {
            fields.remove("Alias");
            fields.values_mut().for_each(nameless);
        }
        Value::Array(items) => items.iter_mut().for_each(nameless),
        Value::String(text) => *text = alias.replace_all(text, "$1").into_owned(),
        _ => {}
    }
}
