//! How the proxy starts, ends, and is replaced, against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/held.rs"]
mod held;
#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../protocol/raw.rs"]
mod raw;

mod drain;
mod package;
mod replicas;
mod settings;
mod supervised;
mod upgrade;

use support::{ANYONE, Stage};

/// A table of a hundred rows that everybody sees, an empty one to be locked, and a user.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id; CREATE TABLE held (id int)")
        .await
        .sources(&[("t", "{}"), ("held", "{}")])
        .policy(ANYONE)
        .user("ana", &[], &[])
}
