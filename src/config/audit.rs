//! The section `audit`: where records of logins and statements are kept.
//!
//! In: the section. Out: [`Audit`]. Must never: take a sink for granted that cannot be told from another.

use super::Connection;
use super::authentication::{authority, is_loopback};
use super::load::Context;
use super::reader::Reader;
use super::secret::Secret;
use super::tls;
use crate::governance::model::Origin;
use crate::governance::tree::Node;
use crate::types::QualifiedName;
use rustls::pki_types::CertificateDer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names of the sinks besides the folder, as their places in it are named.
pub const STDOUT: &str = "stdout";
/// The table.
pub const TABLE: &str = "table";
/// OTLP logs.
pub const OTLP: &str = "otlp";

/// Where records are kept, and for how long.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where it is configured.
    pub origin: Origin,
    /// The folder of the trail: JSON lines, and what the other sinks are served from.
    pub folder: PathBuf,
    /// What becomes of statements whose records cannot be kept.
    pub mode: Mode,
    /// Statements are kept as they are written, literals and all.
    pub with_literals: bool,
    /// A file of the trail is no longer than about this many bytes,
    pub rotate_bytes: usize,
    /// and no older.
    pub rotate_age: Duration,
    /// Files are removed when they are so old; `None` = never.
    pub keep: Option<Duration>,
    /// Most bytes of records that wait in memory.
    pub queue: usize,
    /// Records go to standard output, too.
    pub stdout: bool,
    /// Records go to a table, too.
    pub table: Option<Table>,
    /// Records go to a collector of OpenTelemetry, too.
    pub otlp: Option<Otlp>,
}

impl Audit {
    /// The sinks besides the folder, by name.
    pub fn sinks(&self) -> impl Iterator<Item = &'static str> {
        let all = [(self.stdout, STDOUT), (self.table.is_some(), TABLE), (self.otlp.is_some(), OTLP)];
        all.into_iter().filter_map(|(on, name)| on.then_some(name))
    }
}

/// What becomes of statements whose records cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are carried out; records that are lost are counted.
    #[default]
    BestEffort,
    /// They are refused.
    Required,
}

/// A table of PostgreSQL that is partitioned by day.
#[derive(Debug, Clone)]
pub struct Table {
    /// The database and the login to it.
    pub connection: Arc<Connection>,
    /// Schema and name.
    pub name: QualifiedName,
    /// Partitions are dropped when their last day is so long ago; `None` = never.
    pub keep: Option<Duration>,
}

/// A receiver of OTLP logs over HTTP, as JSON.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Where records are posted, path and all.
    pub endpoint: String,
    /// Headers, such as one that authorizes.
    pub headers: Vec<(String, Secret)>,
    /// Who may vouch for the receiver.
    pub roots: Arc<Vec<CertificateDer<'static>>>,
}

const MODES: [(&str, Mode); 2] = [("required", Mode::Required), ("best_effort", Mode::BestEffort)];
const STATEMENTS: [(&str, bool); 2] = [("redacted", false), ("kept", true)];

const ROTATE_BYTES: usize = 128 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const QUEUE: usize = 16 << 20;

pub(super) fn read(context: &Context<'_>, reader: &mut Reader, node: &Node) -> Option<Audit> {
    let mut entries = reader.map(node)?;
    let origin = entries.origin.clone();
    let folder = reader.required(&mut entries, "folder").and_then(|node| context.path(reader, node));
    let mode = reader.optional(&mut entries, "mode");
    let mode = mode.map_or(Some(Mode::default()), |node| {
        reader.word(node, &MODES, "unknown mode", "write `required` or `best_effort`")
    });
    let statements = reader.optional(&mut entries, "statements");
    let with_literals = statements.map_or(Some(false), |node| {
        reader.word(node, &STATEMENTS, "unknown way to keep statements", "write `redacted` or `kept`")
    });
    let rotate = reader.optional(&mut entries, "rotate").map(|node| rotation(reader, node));
    let keep = reader.optional(&mut entries, "keep").map(|node| reader.duration(node));
    let queue = reader.optional(&mut entries, "queue").map(|node| reader.bytes(node, 64 << 10, 4 << 30));
    let stdout = reader.optional(&mut entries, "stdout").map(|node| reader.boolean(node));
    let table = reader.optional(&mut entries, "table").map(|node| table(context, reader, node));
    let otlp = reader.optional(&mut entries, "otlp").map(|node| otlp(context, reader, node, "audit records"));
    reader.close(entries);
    let (rotate_bytes, rotate_age) = rotate.unwrap_or(Some((ROTATE_BYTES, DAY)))?;
    Some(Audit {
        origin,
        folder: folder?,
        mode: mode?,
        with_literals: with_literals?,
        rotate_bytes,
        rotate_age,
        keep: kept(keep)?,
        queue: queue.unwrap_or(Some(QUEUE))?,
        stdout: stdout.unwrap_or(Some(false))?,
        table: given(table)?,
        otlp: given(otlp)?,
    })
}

/// What is not given is `None`; what is given and wrong has been told.
fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    read.map_or(Some(None), |read| read.map(Some))
}

/// `0` = for ever.
fn kept(read: Option<Option<Duration>>) -> Option<Option<Duration>> {
    given(read).map(|keep| keep.filter(|keep| !keep.is_zero()))
}

fn rotation(reader: &mut Reader, node: &Node) -> Option<(usize, Duration)> {
    let mut entries = reader.map(node)?;
    let size = reader.optional(&mut entries, "size").map(|node| reader.bytes(node, 64 << 10, 64 << 30));
    let age = reader.optional(&mut entries, "age").map(|node| reader.some_duration(node));
    reader.close(entries);
    Some((size.unwrap_or(Some(ROTATE_BYTES))?, age.unwrap_or(Some(DAY))?))
}

fn table(context: &Context<'_>, reader: &mut Reader, node: &Node) -> Option<Table> {
    let mut entries = reader.map(node)?;
    let connection =
        reader.required(&mut entries, "connection").and_then(|node| context.database(reader, "the audit table", node));
    let name = reader.optional(&mut entries, "name").map(|node| table_name(reader, node));
    let keep = reader.optional(&mut entries, "keep").map(|node| reader.duration(node));
    reader.close(entries);
    let usual = QualifiedName::new("sqlveil_audit", "records");
    Some(Table { connection: Arc::new(connection?), name: name.unwrap_or(Some(usual))?, keep: kept(keep)? })
}

/// `schema.table`, in letters that need no quotes.
fn table_name(reader: &mut Reader, node: &Node) -> Option<QualifiedName> {
    let text = reader.string(node)?;
    let plain = |part: &str| {
        let begins = part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        // Room for the day behind it: a name has 63 bytes.
        begins && part.len() <= 50 && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    match text.split_once('.') {
        Some((schema, name)) if plain(schema) && plain(name) => Some(QualifiedName::new(schema, name)),
        _ => {
            let origin = reader.origin(node);
            let help = "write schema.table in lower-case letters, digits and underscores, at most 50 each";
            reader.error(&origin, "not the name of a table", help);
            None
        }
    }
}

pub(super) fn otlp(context: &Context<'_>, reader: &mut Reader, node: &Node, what: &str) -> Option<Otlp> {
    let mut entries = reader.map(node)?;
    let endpoint = reader.required(&mut entries, "endpoint").and_then(|node| endpoint(reader, node, what));
    let headers = reader.optional(&mut entries, "headers").map(|node| headers(context, reader, node));
    let ca = reader.optional(&mut entries, "ca");
    let path = ca.map_or(Some(None), |node| context.roots(reader, node));
    let at = ca.map_or_else(|| entries.origin.clone(), |node| reader.origin(node));
    reader.close(entries);
    let (endpoint, path) = (endpoint?, path?);
    let roots = match endpoint.starts_with("https:").then(|| tls::roots(path.as_deref())) {
        None => Vec::new(),
        Some(Ok(roots)) => roots,
        Some(Err(error)) => {
            reader.error(&at, error.to_string(), "name a PEM file of root certificates in `ca`");
            return None;
        }
    };
    Some(Otlp { endpoint, headers: headers.unwrap_or(Some(Vec::new()))?, roots: Arc::new(roots) })
}

fn endpoint(reader: &mut Reader, node: &Node, what: &str) -> Option<String> {
    let text = reader.string(node)?;
    let origin = reader.origin(node);
    let (secure, plain) = (authority(&text, "https"), authority(&text, "http"));
    match (secure, plain) {
        (Some(_), _) => {}
        (None, Some((host, _))) if is_loopback(host) => {}
        (None, Some(_)) => {
            let help = "write https://, or run the collector on the same machine";
            reader.warning(&origin, format!("{what} go over the network unencrypted"), help);
        }
        (None, None) => {
            let help = "write the whole address, such as \"https://collector:4318/v1/logs\"";
            reader.error(&origin, "not an address of a collector", help);
            return None;
        }
    }
    Some(text)
}

fn headers(context: &Context<'_>, reader: &mut Reader, node: &Node) -> Option<Vec<(String, Secret)>> {
    let named = reader.named(node);
    let headers = named.into_iter().map(|(name, _, node)| Some((name.to_owned(), context.secret(reader, node)?)));
    headers.collect()
}
