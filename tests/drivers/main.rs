//! Real clients through the proxy: psql and tokio-postgres.

#[path = "../support/mod.rs"]
mod support;

mod demo;
mod psql;
mod tokio_postgres;
mod trouble;
