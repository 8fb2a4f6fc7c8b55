//! Real peers: psycopg (libpq), pgjdbc, and PgBouncer in front of the proxy and behind it. `.ci/setup --test` installs them; one that is
//! missing is a failure. psql and its ways to log in are in `tests/authentication`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/papers.rs"]
#[allow(dead_code)]
mod papers;

#[path = "../protocol/raw.rs"]
#[allow(dead_code)]
mod raw;

mod behind;
mod bouncer;
mod front;
mod pgjdbc;
mod pooled;
mod psycopg;
mod stage;
