//! How the proxy starts, ends, and is replaced, against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../protocol/raw.rs"]
mod raw;

mod drain;
mod replicas;
mod settings;
mod supervised;
mod upgrade;

use support::{ANYONE, Stage};

/// A table of a hundred rows that everybody sees, and a user.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id")
        .await
        .sources(&[("t", "{}")])
        .policy(ANYONE)
        .user("ana", &[], &[])
}
