//! The protocol, frame by frame, against a real PostgreSQL (PostgreSQL manual, chapter 55; threat model, row 23).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod edges;
mod extended;
mod garbage;
mod lanes;
mod lost;
mod pieces;
mod pooling;
mod raw;
mod repeats;
mod session;
mod simple;

use support::{Running, Stage};

/// A policy that lets everyone read everything registered.
const ANYONE: &str = "policyKey: anyone\nname: anyone\ntype: subscription\nactions: {type: anyone}\n";

/// A table everybody sees, one that is not registered, and two users.
async fn running() -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, name text);
             INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 10) i;
             CREATE TABLE hidden (x int)",
        )
        .await
        .sources(&[("t", "{}")])
        .policy(ANYONE)
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .start()
        .await
}
