//! Real clients through the proxy: psql and tokio-postgres.

#[path = "../support/mod.rs"]
mod support;

mod demo;
mod psql;
#[path = "tokio_postgres.rs"]
mod rust;
mod trouble;
