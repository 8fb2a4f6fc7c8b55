//! Live sessions as they are listed.
//!
//! In: [`Seen`]. Out: JSON. Must never: show a statement with its literals, or a text that is not understood.

use crate::session::Seen;
use crate::sql::redact::redact;
use crate::telemetry::Kind;
use serde::Serialize;
use std::net::SocketAddr;

/// Longest statement that is told, in characters.
const LONGEST: usize = 2000;

/// A session.
#[derive(Debug, Serialize)]
pub struct Session<'s> {
    id: u64,
    pid: i32,
    user: &'s str,
    account: Option<&'s str>,
    acting_for: Option<&'s str>,
    project: Option<&'s str>,
    database: &'s str,
    connection: &'s str,
    application: &'s str,
    address: SocketAddr,
    tls: bool,
    since: String,
    /// `idle`, `active`, `idle in transaction`, `idle in transaction (aborted)`, `waiting` for a session of the warehouse; `busy` when it
    /// did not say in time.
    state: &'static str,
    /// Since the client's last message.
    state_seconds: Option<f64>,
    /// The statement that is being answered.
    statement: Option<Statement>,
    bytes_received: u64,
    bytes_sent: u64,
}

/// A statement, as far as it may be told.
#[derive(Debug, Serialize)]
struct Statement {
    kind: &'static str,
    /// The same for all texts that differ in literals, as in the audit trail.
    fingerprint: String,
    /// Its text without literals and comments; absent when it cannot be read.
    text: Option<String>,
}

impl<'s> Session<'s> {
    /// A session as it was seen.
    pub fn of(seen: &'s Seen) -> Self {
        let Seen { number, about, bytes, report } = seen;
        let project = report.as_ref().map(|report| &*report.project).filter(|project| !project.is_empty());
        Self {
            id: *number,
            pid: about.pid,
            user: &about.user,
            account: about.account.as_deref(),
            acting_for: report.as_ref().and_then(|report| report.acting_for.as_deref()),
            project,
            database: &about.database,
            connection: &about.connection,
            application: &about.application,
            address: about.peer,
            tls: about.secure,
            since: jiff::Timestamp::try_from(about.since).map_or_else(|_| String::new(), |time| time.to_string()),
            state: report.as_ref().map_or("busy", |report| report.state),
            state_seconds: report.as_ref().map(|report| report.since.as_secs_f64()),
            statement: report.as_ref().and_then(|report| report.statement.as_deref()).map(Statement::of),
            bytes_received: bytes.from_client,
            bytes_sent: bytes.to_client,
        }
    }
}

impl Statement {
    fn of(text: &str) -> Self {
        let redacted = redact(text);
        let shown = match redacted.text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", redacted.text.get(..at).unwrap_or_default()),
            None => redacted.text,
        };
        let shown = Some(shown).filter(|text| !text.is_empty());
        Self { kind: Kind::of_text(text).name(), fingerprint: redacted.fingerprint, text: shown }
    }
}
