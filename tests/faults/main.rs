//! What clients see when something breaks, and that nothing is lost or left behind, against a real PostgreSQL.
//!
//! Directories that are down: `tests/directories/outage.rs`. A disk without room for the accounts file: `tests/accounts/store.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../support/held.rs"]
mod held;
#[allow(dead_code)]
#[path = "../support/papers.rs"]
mod papers;
#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../protocol/raw.rs"]
mod raw;
#[path = "../support/relay.rs"]
mod relay;

mod certificates;
mod clients;
mod clock;
mod disk;
mod files;
mod network;
mod restarts;

use support::{ANYONE, PrivatePostgres, Running, Stage};

/// A server of this test alone, that may be broken.
fn own_server() -> &'static PrivatePostgres {
    Box::leak(Box::new(PrivatePostgres::start().expect("a private PostgreSQL")))
}

/// A table of a hundred rows that everybody sees, an empty one to be locked, and a user.
async fn on(server: &'static PrivatePostgres) -> Stage {
    Stage::on(server)
        .await
        .sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id; CREATE TABLE held (id int)")
        .await
        .sources(&[("t", "{}"), ("held", "{}")])
        .policy(ANYONE)
        .user("ana", &[], &[])
}

/// Sessions of the proxy's login in the warehouse that are in a transaction or a statement.
async fn under_way(running: &Running) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'service%' AND datname = current_database() \
               AND state <> 'idle' AND application_name <> 'sqlveil catalog'";
    running.admin().query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until nothing of clients is left, in the proxy or in the warehouse.
async fn nothing_left(running: &Running) {
    let gone = async |running: &Running| running.proxy().sessions() == 0 && under_way(running).await == 0;
    running.eventually("nothing is left behind", gone).await;
}
