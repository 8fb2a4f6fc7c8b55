//! Asks a database what it knows of a user.
//!
//! In: a login name, bound as the only parameter of the administrator's queries. Out: [`Found`], or that there is no such user. Must
//! never: write, put the name into a text, wait without a bound, or keep a client that failed.

use crate::config::directories::{Query, ROWS, Register, SqlDirectory};
use crate::governance::model::Origin;
use crate::identity::ldap::directory::Unsaid;
use crate::identity::{Found, Gathering};
use crate::upstream::directory_client;
use futures_util::StreamExt as _;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

/// A client that nobody has used for longer may have died unseen.
const IDLE: Duration = Duration::from_secs(60);

/// Clients that nobody uses at the moment, and since when.
#[derive(Default)]
pub(super) struct Clients(Mutex<Vec<(Client, Instant)>>);

impl Clients {
    fn take(&self) -> Option<Client> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(client, since)| !client.is_closed() && since.elapsed() < IDLE);
        clients.pop().map(|(client, _)| client)
    }

    /// No more than there are turns.
    fn give_back(&self, client: Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((client, Instant::now()));
    }
}

/// Whether a question fails because of whom it is about, which says nothing of the directory: classes of SQLSTATE (PostgreSQL manual,
/// appendix A) of cardinality, data, constraints, functions, limits and what is raised; a query that takes too long.
fn is_about_data(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "23" | "2F" | "38" | "39" | "54" | "P0")) || code == "57014"
}

/// In words for the log: what the server says, but for what it may say of data.
fn why(error: &Error) -> String {
    match error.as_db_error() {
        Some(server) if is_about_data(server.code().code()) => format!("the query fails with {}", server.code().code()),
        Some(server) => format!("{}: {}", server.code().code(), server.message()),
        None => error.to_string(),
    }
}

fn unsaid(error: &Error) -> Unsaid {
    let code = error.as_db_error().map_or("", |server| server.code().code());
    if is_about_data(code) { Unsaid::Unusable(why(error)) } else { Unsaid::Silent(why(error)) }
}

/// What the directory says of a user; `None`: it does not know him. A client at hand may have died unseen: then there is a second try.
///
/// Cancel safe: a client in use is dropped.
pub(super) async fn find(
    register: &Register,
    directory: &SqlDirectory,
    clients: &Clients,
    user: &str,
) -> Result<Option<Found>, Unsaid> {
    if let Some(client) = clients.take() {
        match ask(register, directory, &client, user).await {
            Err(Unsaid::Silent(_)) => {}
            answer => return finish(clients, client, answer),
        }
    }
    let client = connect(directory).await?;
    for query in queries(directory) {
        shape(&client, query).await.map_err(|(_, why)| Unsaid::Silent(why))?;
    }
    let answer = ask(register, directory, &client, user).await;
    finish(clients, client, answer)
}

fn finish(clients: &Clients, client: Client, answer: Result<Option<Found>, Unsaid>) -> Result<Option<Found>, Unsaid> {
    if answer.is_ok() {
        clients.give_back(client);
    }
    answer
}

async fn connect(directory: &SqlDirectory) -> Result<Client, Unsaid> {
    directory_client(&directory.connection).await.map_err(Unsaid::Silent)
}

fn queries(directory: &SqlDirectory) -> impl Iterator<Item = &Query> {
    [&directory.user, &directory.groups, &directory.attributes].into_iter().flatten()
}

/// Whether a query is understood and has the columns it has to have.
async fn shape(client: &Client, query: &Query) -> Result<(), (Origin, String)> {
    let at = |why: String| (query.origin.clone(), why);
    let prepared = client.prepare_typed(&query.bare, &[Type::TEXT]).await.map_err(|error| at(why(&error)))?;
    match prepared.columns().len() {
        columns if columns == query.columns => Ok(()),
        columns => Err(at(format!("the query has {columns} columns and must have {}", query.columns))),
    }
}

/// Everything about a user as it is at one moment, in a transaction that can only read.
async fn ask(
    register: &Register,
    directory: &SqlDirectory,
    client: &Client,
    user: &str,
) -> Result<Option<Found>, Unsaid> {
    // The server gives up before we do: then it is known that it is this question which takes too long, and not the server.
    let limit = (register.timeout.as_millis() * 3 / 4).clamp(1, i32::MAX as u128);
    // The settings of the session as well, should a pooler have dropped them: names mean the same for everybody.
    let begin = format!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {limit}; \
         SET LOCAL search_path = ''; SET LOCAL standard_conforming_strings = on"
    );
    client.batch_execute(&begin).await.map_err(|error| unsaid(&error))?;
    let mut gathering = Gathering::new(register.iam.clone());
    let mut known = directory.user.is_none();
    if let Some(query) = &directory.user {
        // Letter by letter: what the query finds alike is somebody else.
        each(client, query, user, |row| {
            known |= text(row, 0)?.as_deref() == Some(user);
            Ok(())
        })
        .await?;
    }
    if let Some(query) = directory.groups.as_ref().filter(|_| known) {
        each(client, query, user, |row| match text(row, 0)? {
            Some(group) => Ok(gathering.group(group)?),
            None => Ok(()),
        })
        .await?;
    }
    if let Some(query) = directory.attributes.as_ref().filter(|_| known) {
        each(client, query, user, |row| match (text(row, 0)?, text(row, 1)?) {
            (Some(name), Some(value)) => Ok(gathering.attribute(&name, value)?),
            _ => Ok(()),
        })
        .await?;
    }
    client.batch_execute("ROLLBACK").await.map_err(|error| unsaid(&error))?;
    Ok(known.then(|| gathering.done()))
}

/// Every row, as it comes: no more of an answer is held than is taken.
async fn each(
    client: &Client,
    query: &Query,
    user: &str,
    mut take: impl FnMut(&Row) -> Result<(), Unsaid>,
) -> Result<(), Unsaid> {
    let rows = client.query_typed_raw(&query.sql, [(user, Type::TEXT)]).await.map_err(|error| unsaid(&error))?;
    let mut rows = pin!(rows);
    let mut count = 0usize;
    while let Some(row) = rows.next().await {
        take(&row.map_err(|error| unsaid(&error))?)?;
        count += 1;
        if count > ROWS {
            // What is beyond them is not known.
            return Err(Unsaid::Unusable(format!("more than {ROWS} rows")));
        }
    }
    Ok(())
}

/// A database that keeps no one encoding may give what is no UTF-8: that is not NULL.
fn text(row: &Row, column: usize) -> Result<Option<String>, Unsaid> {
    row.try_get(column).map_err(|_| Unsaid::Unusable("a value is no text in UTF-8".to_owned()))
}

/// Asks about nobody: for `sqlveil check`.
pub(super) async fn reach(register: &Register, directory: &SqlDirectory) -> Result<(), (Origin, String)> {
    let here = |unsaid: Unsaid| (register.origin.clone(), unsaid.to_string());
    let client = connect(directory).await.map_err(here)?;
    for query in queries(directory) {
        shape(&client, query).await?;
        let asked = client.query_typed(&query.sql, &[(&"sqlveil-check", Type::TEXT)]).await;
        asked.map_err(|error| (query.origin.clone(), why(&error)))?;
    }
    Ok(())
}
