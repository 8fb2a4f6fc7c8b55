//! What is different when a pooler (PgBouncer) stands between the proxy and the warehouse.
//!
//! In: a stream that is logged in. Out: a session that begins as every other does, and the server [`Process`] that is its own. Such
//! poolers pass no settings of the startup packet on, so the service login has to have them by default (`ALTER ROLE … SET`), where
//! neither `RESET ALL` nor `DISCARD ALL` undoes them; it is looked up that it does. Source: PgBouncer's manual, `ignore_startup_parameters`
//! and `pool_mode`. Must never: take a session that begins otherwise, or one whose server process another session has: that is a pooler
//! of transactions, where one caller's prepared statements would answer another.

use super::failure::Failure;
use super::login::{Leg, TRUNCATED, receive, rejected, said, send, settings};
use super::stream::Dialed;
use crate::config::{Connection, Host};
use crate::wire::body::Body;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Settings of the startup packet that PgBouncer keeps for each client, whatever its version, and are ours to choose.
pub(super) const CARRIED: [&str; 2] = ["client_encoding", "standard_conforming_strings"];
/// A session that has just ended may still be known for so many rounds of so long.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(100);
/// A setting of the catalog reader's startup packet that it has by no default.
const READ_ONLY: &str = "default_transaction_read_only";
/// Most messages accepted in answer to one statement.
const MAX_MESSAGES: usize = 1000;

/// Where a server process is: behind which pooler, and in which of its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Host,
    port: u16,
    database: String,
    process: i32,
}

/// The server processes that sessions of this program have.
static HELD: Mutex<Vec<Place>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<Place>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to a server process, for as long as the session lives.
#[derive(Debug)]
pub(super) struct Process(Place);

impl Process {
    /// `None` when another session has it.
    fn hold(place: &Place) -> Option<Self> {
        let mut held = held();
        if held.contains(place) {
            return None;
        }
        held.push(place.clone());
        Some(Self(place.clone()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        held().retain(|place| *place != self.0);
    }
}

/// That the settings of the startup packet have reached the warehouse: a reader of the catalog is read-only, which the warehouse reports
/// (`GUC_REPORT` since PostgreSQL 14) or is asked. A pooler that drops settings in silence has dropped the others too.
///
/// Cancel safe: dropping the future leaves a session that nobody has yet.
pub(super) async fn undisturbed(dialed: &mut Dialed, parameters: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let reads_only = match said(parameters, READ_ONLY) {
        Some(reported) => reported == "on",
        None => {
            let question = format!("SELECT pg_catalog.current_setting('{READ_ONLY}')");
            ask(dialed, &question, parameters).await? == [["on"]]
        }
    };
    if reads_only { Ok(()) } else { Err(Failure::Dropped) }
}

/// Makes sure that a session behind a pooler begins as it has to, and is alone with its server process. What the warehouse reports
/// meanwhile goes to `parameters`.
///
/// Cancel safe: dropping the future gives the process back.
pub(super) async fn settle(
    dialed: &mut Dialed,
    connection: &Connection,
    leg: Leg,
    parameters: &mut Vec<(String, String)>,
) -> Result<Process, Failure> {
    // What another client of the pooler has left, should it not clear its sessions itself.
    ask(dialed, "DISCARD ALL", parameters).await?;
    // Defaults of the login are the same for all legs.
    let wanted = settings(connection, Leg::Relay);
    let names: Vec<String> = wanted.iter().map(|(name, _)| format!("'{name}'")).collect();
    let question = format!(
        "SELECT s.name, s.setting, s.reset_val, pg_catalog.pg_backend_pid() FROM pg_catalog.pg_settings AS s \
         WHERE s.name OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[])",
        names.join(", ")
    );
    // A pooler of statements has no transactions.
    ask(dialed, "BEGIN", parameters).await.map_err(|failure| match failure {
        Failure::Rejected { .. } => Failure::Shared,
        failure => failure,
    })?;
    let rows = ask(dialed, &question, parameters).await?;
    ask(dialed, "ROLLBACK", parameters).await?;
    for (name, wanted) in wanted {
        let begins = |row: &Vec<String>| match row.as_slice() {
            // `reset_val` is what RESET and DISCARD ALL come back to.
            [found, now, reset, _] => found == name && same(name, now, &wanted) && same(name, reset, &wanted),
            _ => false,
        };
        if !rows.iter().any(begins) {
            return Err(Failure::Unset { name, wanted });
        }
    }
    let process = rows.first().and_then(|row| row.last()).and_then(|pid| pid.parse().ok());
    let process = process.ok_or(Failure::Protocol("the warehouse did not say which process serves the session"))?;
    let place =
        Place { host: connection.host.clone(), port: connection.port, database: connection.database.clone(), process };
    let process = alone(&place).await?;
    if leg != Leg::Relay {
        ask(dialed, "SET search_path = ''; SET default_transaction_read_only = on", parameters).await?;
    }
    Ok(process)
}

async fn alone(place: &Place) -> Result<Process, Failure> {
    for _ in 0..ROUNDS {
        if let Some(process) = Process::hold(place) {
            return Ok(process);
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(Failure::Shared)
}

/// Whether two values of a setting are the same; names in a list may be quoted.
fn same(name: &str, value: &str, wanted: &str) -> bool {
    let parts = |list: &str| -> Vec<String> { list.split(',').map(|part| part.trim().replace('"', "")).collect() };
    match name {
        "search_path" => parts(value) == parts(wanted),
        _ => value.eq_ignore_ascii_case(wanted),
    }
}

/// The rows that a statement of ours is answered with, as text.
async fn ask(
    dialed: &mut Dialed,
    statement: &str,
    parameters: &mut Vec<(String, String)>,
) -> Result<Vec<Vec<String>>, Failure> {
    let mut out = BytesMut::new();
    frontend::query(statement, &mut out).map_err(|_| Failure::Protocol("a statement holds a NUL"))?;
    send(&mut dialed.write, &mut out).await?;
    let mut rows = Vec::new();
    for _ in 0..MAX_MESSAGES {
        let (tag, body) = receive(&mut dialed.read).await?;
        match (tag, body.as_slice()) {
            (b'D', body) => rows.push(row(body).ok_or(TRUNCATED)?),
            (b'S', body) => {
                let mut body = Body::new(body);
                let mut text = || body.string().map(str::to_owned).map_err(|_| TRUNCATED);
                parameters.push((text()?, text()?));
            }
            (b'T' | b'C' | b'N', _) => {}
            (b'E', body) => return Err(rejected(body)),
            (b'Z', b"I" | b"T") => return Ok(rows),
            _ => return Err(Failure::Protocol("unexpected answer of a pooler")),
        }
    }
    Err(Failure::Protocol("an answer does not end"))
}

/// A DataRow without NULLs (manual 55.7).
fn row(body: &[u8]) -> Option<Vec<String>> {
    let mut body = Body::new(body);
    let count = body.count().ok()?;
    let mut cell = || {
        let length = usize::try_from(body.i32().ok()?).ok()?;
        std::str::from_utf8(body.take(length).ok()?).ok().map(str::to_owned)
    };
    (0..count).map(|_| cell()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_held_once() {
        let place = |process| Place { host: Host::Tcp("pooler".into()), port: 6432, database: "d".into(), process };
        let first = Process::hold(&place(1)).unwrap();
        let second = Process::hold(&place(2)).unwrap();
        assert!(Process::hold(&place(1)).is_none() && Process::hold(&place(2)).is_none());
        drop(first);
        assert!(Process::hold(&place(2)).is_none());
        drop((Process::hold(&place(1)).unwrap(), second));
        assert!(Process::hold(&place(2)).is_some());
    }

    #[test]
    fn settings_are_compared_as_they_are_written() {
        assert!(same("search_path", "pg_catalog, pg_temp", "pg_catalog, pg_temp"));
        assert!(same("search_path", "\"pg_catalog\",pg_temp", "pg_catalog, pg_temp"));
        for other in ["pg_temp, pg_catalog", "pg_catalog", "", "pg_catalog, pg_temp, public"] {
            assert!(!same("search_path", other, "pg_catalog, pg_temp"), "{other}");
        }
        assert!(same("client_encoding", "utf8", "UTF8") && !same("row_security", "off", "on"));
    }
}
