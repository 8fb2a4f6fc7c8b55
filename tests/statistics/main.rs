//! Masks that look beyond the value itself: k-anonymity over a whole table, noise that is the same every time, buckets from a
//! fingerprint. Against a real PostgreSQL, through the proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "../support/mod.rs"]
mod support;

mod fingerprint;
mod k_anonymization;
mod randomized;

use support::Running;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A masking rule for one group, on columns whose name matches.
fn masking(group: &str, columns: &str, config: &str) -> String {
    conditional(group, columns, config, "")
}

/// With more of the rule's config.
fn conditional(group: &str, columns: &str, config: &str, more: &str) -> String {
    format!(
        "policyKey: {group} {columns}\nname: x\ntype: data\nactions:\n- rules:\n  - type: Masking\n    inclusions: {{groups: [{group}]}}\n    \
         config: {{fields: [{{type: columnRegex, regex: '^({columns})$'}}], maskingConfig: {{{config}}}{more}}}\n"
    )
}

/// Rows as text, NULL as `-`, by the simple protocol.
async fn simple(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("-")).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// The same by the extended protocol: the columns are cast to text by the statement.
async fn extended(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter()
        .map(|row| {
            let value = |i| row.get::<_, Option<String>>(i).unwrap_or_else(|| "-".to_owned());
            (0..row.len()).map(value).collect::<Vec<_>>().join("|")
        })
        .collect()
}

/// What would be sent for a statement, printed and run as the proxy's login sees it.
async fn plan(running: &Running, user: &str, sql: &str) -> String {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_sqlveil"))
        .args(["explain", "--config"])
        .arg(running.config_file())
        .args(["--user", user, sql])
        .output()
        .expect("sqlveil explain");
    let text = String::from_utf8(out.stdout).expect("text");
    let (_, sent) = text.split_once("sent to the warehouse\n").unwrap_or_else(|| panic!("{text}"));
    let sent: Vec<&str> = sent.lines().map(str::trim).collect();
    let sent = sent.join(" ").replace("\\x<salt>", "\\x00");
    simple(running.admin(), &format!("EXPLAIN (COSTS OFF) {sent}")).await.join("\n")
}
