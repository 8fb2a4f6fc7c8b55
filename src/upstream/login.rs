//! Login to the warehouse with the service account, and the settings every session begins with.
//!
//! In: a dialed stream, a [`Connection`]. Out: a [`Session`] that is ready for a query, its parameters and its cancel key. Sources:
//! PostgreSQL manual 55.2.1 (Start-up), 55.3 (SASL). Must never: send the password in the clear without TLS, take AuthenticationOk for
//! granted before the warehouse has proved itself in SCRAM, believe a length, go on with a session that does not have those settings.

use super::behind_pooler::{self, Process};
use super::failure::Failure;
use super::stream::{Dialed, Peer, ReadHalf, WriteHalf};
use crate::config::{Connection, Pooler, Secret};
use crate::wire::body::Body;
use crate::wire::errors::Fields;
use bytes::BytesMut;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest message accepted before ReadyForQuery.
const MAX_MESSAGE: usize = 1 << 20;
/// Most messages accepted before ReadyForQuery (notices and parameters come freely).
const MAX_MESSAGES: usize = 1000;

/// What a session is for: each leg has its own `search_path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    /// Sealed statements of callers.
    Relay,
    /// The catalog reader.
    Catalog,
    /// What a directory is asked.
    Directory,
    /// Audit records.
    Audit,
}

/// Settings of the session itself. They are given in the startup packet, which makes them the session's defaults: neither
/// `RESET ALL` nor `DISCARD ALL` undoes them (manual, 20.1.3, and `RESET`).
pub(super) fn settings(connection: &Connection, leg: Leg) -> Vec<(&'static str, String)> {
    let search_path = match leg {
        // The temporary schema last: a caller's temporary table must stand for nothing that a definition in the warehouse names.
        Leg::Relay => "pg_catalog, pg_temp",
        // Empty: every name the catalog reader uses and every definition it is shown is qualified.
        Leg::Catalog => "",
        // Empty too: what a query means must not depend on who may make tables where.
        Leg::Directory => "",
        // Empty: every name is qualified.
        Leg::Audit => "",
    };
    let timeout = connection
        .query_timeout
        .or(connection.query_timeout_max)
        .map_or(0, |t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX));
    let mut settings = vec![
        ("client_encoding", "UTF8".to_owned()),
        ("search_path", search_path.to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
        // Temporary tables cannot be made in a read-only transaction; what else may be written is not decided here.
        (
            "default_transaction_read_only",
            match leg {
                Leg::Relay | Leg::Audit => "off".to_owned(),
                Leg::Catalog | Leg::Directory => "on".to_owned(),
            },
        ),
        ("row_security", "on".to_owned()),
        ("transform_null_equals", "off".to_owned()),
        ("array_nulls", "on".to_owned()),
        ("quote_all_identifiers", "off".to_owned()),
    ];
    if leg == Leg::Relay {
        settings.push(("statement_timeout", timeout.to_string()));
    }
    settings
}

/// The startup packet. A pooler takes no settings in it but those it keeps for each of its clients itself.
fn startup_parameters(connection: &Connection, leg: Leg) -> Vec<(&'static str, String)> {
    let name = match leg {
        Leg::Relay => "sqlveil",
        Leg::Catalog => "sqlveil catalog",
        Leg::Directory => "sqlveil directory",
        Leg::Audit => "sqlveil audit",
    };
    let mut parameters = vec![
        ("user", connection.user.clone()),
        ("database", connection.database.clone()),
        ("application_name", name.to_owned()),
    ];
    let pooled = connection.pooler.is_some();
    let carried = |name: &str| !pooled || behind_pooler::CARRIED.contains(&name);
    parameters.extend(settings(connection, leg).into_iter().filter(|(name, _)| carried(name)));
    parameters
}

/// The process and key a CancelRequest names. The key has 4 bytes in protocol 3.0 and may be longer in 3.2.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BackendKey {
    pub(super) pid: i32,
    pub(super) secret: Vec<u8>,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackendKey({})", self.pid)
    }
}

/// A session that is logged in and idle.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
    pub(super) peer: Peer,
    /// ParameterStatus, in the order they came.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) key: Option<BackendKey>,
    /// The server process that is this session's alone, where a pooler stands in between.
    pub(super) process: Option<Process>,
}

/// Where the authentication stands.
enum Auth {
    /// Nothing asked yet.
    Begin,
    /// SCRAM is under way.
    Scram(Box<sasl::ScramSha256>),
    /// Password sent, or SCRAM proven.
    Answered,
    /// AuthenticationOk has come.
    Done,
}

/// Logs in. Cancel safe: dropping the future closes the stream.
pub(super) async fn login(mut dialed: Dialed, connection: &Connection, leg: Leg) -> Result<LoggedIn, Failure> {
    let mut out = BytesMut::new();
    let parameters = startup_parameters(connection, leg);
    frontend::startup_message(parameters.iter().map(|(k, v)| (*k, v.as_str())), &mut out)
        .map_err(|_| Failure::Protocol("a startup parameter holds a NUL"))?;
    send(&mut dialed.write, &mut out).await?;

    let mut auth = Auth::Begin;
    let mut seen = Vec::new();
    let mut key = None;
    for _ in 0..MAX_MESSAGES {
        let (tag, body) = receive(&mut dialed.read).await?;
        match (tag, &auth) {
            (b'R', Auth::Done) => return Err(Failure::Protocol("authentication asked for again")),
            (b'R', _) => auth = authenticate(auth, &body, &dialed, connection, &mut out)?,
            (b'E', _) => return Err(rejected(&body)),
            (b'N', _) => {}
            // NegotiateProtocolVersion: we ask for 3.0 and for no options.
            (b'v', _) => return Err(Failure::Protocol("the warehouse wants another protocol version")),
            (b'S', Auth::Done) => seen.push(parameter(&body)?),
            (b'K', Auth::Done) => key = Some(backend_key(&body)?),
            (b'Z', Auth::Done) => {
                let process = match connection.pooler {
                    Some(Pooler::Session) => {
                        Some(behind_pooler::settle(&mut dialed, connection, leg, &mut seen).await?)
                    }
                    None if leg == Leg::Catalog => {
                        behind_pooler::undisturbed(&mut dialed, &mut seen).await?;
                        None
                    }
                    None => None,
                };
                pinned(&seen)?;
                let Dialed { read, write, peer, .. } = dialed;
                return Ok(LoggedIn { read, write, peer, parameters: seen, key, process });
            }
            _ => return Err(Failure::Protocol("unexpected message during login")),
        }
        if !out.is_empty() {
            send(&mut dialed.write, &mut out).await?;
        }
    }
    Err(Failure::Protocol("login does not end"))
}

pub(super) async fn send(write: &mut WriteHalf, out: &mut BytesMut) -> Result<(), Failure> {
    write.write_all(out).await.map_err(Failure::Lost)?;
    write.flush().await.map_err(Failure::Lost)?;
    out.clear();
    Ok(())
}

/// One message, and not a byte of the next.
pub(super) async fn receive(read: &mut ReadHalf) -> Result<(u8, Vec<u8>), Failure> {
    let tag = read.read_u8().await.map_err(Failure::Lost)?;
    let length = read.read_i32().await.map_err(Failure::Lost)?;
    let length = usize::try_from(length).ok().and_then(|l| l.checked_sub(4)).filter(|l| *l <= MAX_MESSAGE);
    let length = length.ok_or(Failure::Protocol("a message of impossible length"))?;
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.map_err(Failure::Lost)?;
    Ok((tag, body))
}

pub(super) const TRUNCATED: Failure = Failure::Protocol("a message is cut short");

/// One Authentication message (manual 55.7); appends the answer.
fn authenticate(
    auth: Auth,
    body: &[u8],
    dialed: &Dialed,
    connection: &Connection,
    out: &mut BytesMut,
) -> Result<Auth, Failure> {
    let mut body = Body::new(body);
    let code = body.i32().map_err(|_| TRUNCATED)?;
    let rest = body.rest();
    let password = || connection.password.as_ref().map(Secret::expose).ok_or(Failure::NoPassword);
    let unsendable = |_| Failure::Protocol("the password holds a NUL");
    match (code, auth) {
        // AuthenticationOk: at once (trust) or after an answer, never in the middle of SCRAM.
        (0, Auth::Begin | Auth::Answered) => Ok(Auth::Done),
        (0, _) => Err(Failure::Unproven),
        // AuthenticationCleartextPassword.
        (3, Auth::Begin) if dialed.secure => {
            frontend::password_message(password()?, out).map_err(unsendable)?;
            Ok(Auth::Answered)
        }
        (3, Auth::Begin) => Err(Failure::Cleartext),
        // AuthenticationMD5Password.
        (5, Auth::Begin) => {
            let salt: [u8; 4] = rest.try_into().map_err(|_| TRUNCATED)?;
            let hash = md5_hash(connection.user.as_bytes(), password()?, salt);
            frontend::password_message(hash.as_bytes(), out).map_err(unsendable)?;
            Ok(Auth::Answered)
        }
        // AuthenticationSASL.
        (10, Auth::Begin) => {
            let offered: Vec<&[u8]> = rest.split(|b| *b == 0).collect();
            let offers = |name: &str| offered.contains(&name.as_bytes());
            let (mechanism, binding) = match &dialed.end_point {
                Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                    (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.clone()))
                }
                Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
                None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
            };
            if !offers(mechanism) {
                return Err(Failure::Method);
            }
            let scram = sasl::ScramSha256::new(password()?, binding);
            frontend::sasl_initial_response(mechanism, scram.message(), out)
                .map_err(|_| Failure::Protocol("SASL message cannot be built"))?;
            Ok(Auth::Scram(Box::new(scram)))
        }
        // AuthenticationSASLContinue.
        (11, Auth::Scram(mut scram)) => {
            scram.update(rest).map_err(|_| Failure::Unproven)?;
            frontend::sasl_response(scram.message(), out)
                .map_err(|_| Failure::Protocol("SASL message cannot be built"))?;
            Ok(Auth::Scram(scram))
        }
        // AuthenticationSASLFinal.
        (12, Auth::Scram(mut scram)) => {
            scram.finish(rest).map_err(|_| Failure::Unproven)?;
            Ok(Auth::Answered)
        }
        _ => Err(Failure::Method),
    }
}

/// ErrorResponse: its code for us, its words for the log.
pub(super) fn rejected(body: &[u8]) -> Failure {
    match Fields::parse(body) {
        Ok(fields) => Failure::Rejected {
            code: fields.sqlstate().to_owned(),
            message: fields.get(b'M').unwrap_or_default().to_owned(),
        },
        // Before the encoding is settled a server may write in another one.
        Err(_) => Failure::Rejected { code: String::new(), message: "(not readable)".into() },
    }
}

fn parameter(body: &[u8]) -> Result<(String, String), Failure> {
    let mut body = Body::new(body);
    let mut text = || body.string().map(str::to_owned).map_err(|_| TRUNCATED);
    let (name, value) = (text()?, text()?);
    body.end().map_err(|_| TRUNCATED)?;
    Ok((name, value))
}

fn backend_key(body: &[u8]) -> Result<BackendKey, Failure> {
    let mut body = Body::new(body);
    let pid = body.i32().map_err(|_| TRUNCATED)?;
    let secret = body.rest().to_vec();
    if !(4..=256).contains(&secret.len()) {
        return Err(TRUNCATED);
    }
    Ok(BackendKey { pid, secret })
}

/// What the printer of SQL relies on is what the warehouse says it does.
fn pinned(parameters: &[(String, String)]) -> Result<(), Failure> {
    for (name, wanted) in [("standard_conforming_strings", "on"), ("client_encoding", "UTF8")] {
        if said(parameters, name) != Some(wanted) {
            return Err(Failure::Protocol("the warehouse did not take a pinned setting"));
        }
    }
    Ok(())
}

/// What the warehouse said last of a setting.
pub(super) fn said<'p>(parameters: &'p [(String, String)], name: &str) -> Option<&'p str> {
    parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}
