//! `docs/operations.md` says what there is, and all of it.

use crate::http::{start, with_token};
use crate::metrics::{samples, stage};
use regex::Regex;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../docs/operations.md");

#[tokio::test]
async fn metrics_in_the_table_are_those_that_a_running_proxy_tells() {
    let stage = stage().await;
    let (user, _) = stage.service();
    let directories = format!(
        "directories:\n  hr:\n    kind: sql\n    iam: hr\n    connection: {{host: 127.0.0.1, port: {}, database: {}, user: {user}, \
         password: {{file: secrets/warehouse}}, sslmode: disable}}\n    groups: \"SELECT name FROM emp WHERE name = $1\"\n\
         audit: {{folder: trail, stdout: true}}\ntelemetry: {{otlp: {{endpoint: \"http://127.0.0.1:9/v1/traces\"}}}}\n",
        stage.server().port(),
        stage.database
    );
    let administered = start(with_token(stage.config(&directories), "")).await;
    let running = &administered.running;
    let client = running.client("ana").await;
    client.batch_execute("BEGIN; SELECT name FROM emp; SELECT 1").await.unwrap();
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    running.try_client("ana", "wrong", running.database()).await.unwrap_err();
    let told = async |_: &crate::support::Running| {
        administered.ask("GET", "/metrics", None).await.text.contains("sqlveil_cancel_requests_total{")
    };
    running.eventually("the cancel request is counted", told).await;
    let text = administered.ask("GET", "/metrics", None).await.text;
    let series = Regex::new("_(bucket|sum|count)$").unwrap();
    let mut told = BTreeSet::new();
    for name in samples(&text).keys() {
        let (family, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels: BTreeSet<&str> =
            labels.split(',').filter_map(|l| l.split('=').next()).filter(|l| !l.is_empty()).collect();
        let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        told.insert((series.replace(family, "").into_owned(), labels.join(",")));
    }
    let table = DOCUMENT.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let entry = Regex::new(r"`((?:sqlveil|process)_[a-z_]+)(?:\{([a-z,]+)\})?`").unwrap();
    let mut documented = BTreeSet::new();
    for found in table.lines().filter(|line| line.starts_with("| `")).flat_map(|line| entry.captures_iter(line)) {
        let mut labels: Vec<&str> =
            found.get(2).map_or("", |m| m.as_str()).split(',').filter(|l| !l.is_empty()).collect();
        labels.sort_unstable();
        documented.insert((found[1].to_owned(), labels.join(",")));
    }
    let missing: Vec<_> = told.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&told).collect();
    assert!(gone.is_empty(), "not told: {gone:?}");
}

#[tokio::test]
async fn what_can_be_asked_is_what_is_documented() {
    let administered = start(with_token(stage().await, "")).await;
    let row = Regex::new(r"(?m)^\| `(GET|POST) (/[a-z/{}]+)` \|").unwrap();
    let mut count = 0;
    for found in row.captures_iter(DOCUMENT) {
        let path = found[2].replace("{id}", "1");
        // Asked in the other way it is there, and does nothing.
        let method = if &found[1] == "GET" { "POST" } else { "GET" };
        assert_eq!(administered.ask(method, &path, None).await.status, 405, "{}", &found[0]);
        count += 1;
    }
    assert_eq!(count, 12);
}
