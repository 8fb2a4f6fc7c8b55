//! What keeps statements and sessions within bounds: EXPLAIN over hidden data, functions that may be called, limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod explain;
mod functions;

use tokio_postgres::{Client, SimpleQueryMessage};

/// The rows of a statement in the simple protocol, columns joined by `|`, or code and message of its error.
pub async fn simple(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let answer = client.simple_query(sql).await.map_err(|error| told(&error))?;
    let mut rows = Vec::new();
    for message in answer {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("∅")).collect();
            rows.push(values.join("|"));
        }
    }
    Ok(rows)
}

/// Code, message and hint of an error.
pub fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => format!("{} {} [{}]", e.code().code(), e.message(), e.hint().unwrap_or_default()),
        None => format!("{error:?}"),
    }
}
