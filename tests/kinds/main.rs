//! Relations that are more than a table: views with their owner's rights or the caller's, materialized views, partitioned tables and
//! inheritance, foreign tables on further servers. What policy hides of one is reached through no other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod below;
mod shards;
mod views;

use support::{Running, Stage};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Who may read what is registered, and the one row rule here: a city of the caller's.
const WHO: &str =
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n";
const CITY: &str = "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: city, tag: City}]}\n    exceptions: {groups: [Trusted]}\n\
    circumstances: [{type: columnTags, columnTag: City}]\n";
const HIDE: &str = "policyKey: hide\nname: hide\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
    config: {fields: [{type: columnTags, columnTag: Hide}], maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Trusted]}\n\
    circumstances: [{type: columnTags, columnTag: Hide}]\n";

/// `ana` is under the policies, `max` is not. Eight cities: so the planner takes the rule for dearer than most conditions.
fn governed(stage: Stage) -> Stage {
    stage
        .tags(&["City", "Hide"])
        .policy(WHO)
        .policy(CITY)
        .policy(HIDE)
        .user("ana", &["Staff"], &[("city", &["Bonn", "b", "c", "d", "e", "f", "g", "h"])])
        .user("max", &["Staff", "Trusted"], &[])
}

/// Rows as texts, cells joined by `|`, sorted; or `SQLSTATE message`.
async fn ask(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| match error.as_db_error() {
        Some(said) => {
            let whole = format!("{said:?}");
            for word in ["SECRET", "zz_", "_sv", "Remote", "remote SQL", "shard_"] {
                assert!(!whole.contains(word) || sql.contains(word), "{sql}: {whole}");
            }
            format!("{} {}", said.code().code(), said.message())
        }
        None => panic!("{sql}: {error:?}"),
    })?;
    let row = |m| match m {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    let mut rows: Vec<String> = messages.into_iter().filter_map(row).collect();
    rows.sort();
    assert!(sql.contains("SECRET") || !rows.concat().contains("SECRET"), "{sql}: {rows:?}");
    Ok(rows)
}

/// The one cell of a statement that must be answered.
async fn cell(client: &Client, sql: &str) -> String {
    let rows = ask(client, sql).await.unwrap_or_else(|said| panic!("{sql}: {said}"));
    assert_eq!(rows.len(), 1, "{sql}");
    rows[0].clone()
}

/// The SQLSTATE of a statement that must fail.
async fn code(client: &Client, sql: &str) -> String {
    let said = ask(client, sql).await.expect_err(sql);
    said.split_once(' ').unwrap().0.to_owned()
}

async fn start(stage: Stage) -> Running {
    governed(stage).start().await
}
