//! Asks the demo's questions through the proxy, as every caller.
//!
//! In: where the proxy listens, the callers' passwords. Out: [`Answer`]s. Must never: ask the warehouse itself.

use super::questions::{Question, Shape};
use super::table::Answer;
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// Longest wait for a login.
const PATIENCE: Duration = Duration::from_secs(20);

/// Logs in to the proxy.
pub async fn login(port: u16, database: &str, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname(database).user(user).password(password).connect_timeout(PATIENCE);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// One caller's answer to one question.
pub async fn ask(client: &Client, question: &Question) -> Answer {
    let messages = client.simple_query(question.sql).await.map_err(|error| match error.as_db_error() {
        Some(db) => (db.code().code().to_owned(), db.message().to_owned()),
        None => ("-----".to_owned(), error.to_string()),
    })?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |row: &SimpleQueryRow, at: usize| row.try_get(at).ok().flatten().unwrap_or("NULL").to_owned();
    Ok(match question.shape {
        Shape::Pairs => rows.map(|row| (text(row, 0), text(row, 1))).collect(),
        Shape::Row => rows
            .take(1)
            .flat_map(|row| {
                row.columns().iter().enumerate().map(move |(at, column)| (column.name().to_owned(), text(row, at)))
            })
            .collect(),
    })
}
