//! Real clients through the proxy: psql and tokio-postgres.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod bank;
mod demo;
mod psql;
#[path = "tokio_postgres.rs"]
mod rust;
mod trouble;
