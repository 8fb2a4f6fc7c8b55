//! From the text of the configuration file to a [`Config`].
//!
//! In: the file, the environment. Out: [`Config`] or every problem. Must never: put the value of a secret into a problem.

use super::given::Overrides;
use super::reader::{Entries, Reader};
use super::tls::{self, ClientTls, Renewed, SslMode, TlsError};
use super::{Config, Connection, Engine, Host, Limits, PoolLimits, PoolMode, Pooler, Secret};
use crate::catalog::vouch::Vouching;
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::governance::tree::Node;
use crate::identity::accounts::USUAL;
use crate::sql;
use crate::types::QualifiedName;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where PostgreSQL clients look for a pooler by habit.
const DEFAULT_PORT: u16 = 6432;
/// Fewer bytes than this are guessed.
const SHORTEST_MASTER: usize = 16;
/// `sslrootcert: system`, as libpq spells it.
const SYSTEM_ROOTS: &str = "system";

/// Connections by key, and where each was declared.
type Connections = BTreeMap<Arc<str>, (Origin, Arc<Connection>)>;

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

pub(super) fn load(path: &Path, environment: Environment<'_>, given: &Overrides) -> Result<Config, Vec<Problem>> {
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let context = Context { base, environment };
    let (mut config, warnings) = Reader::open_with(path, given, |reader, top| context.config(reader, top, path))?;
    config.warnings = warnings;
    Ok(config)
}

/// What reading needs besides the file itself.
pub(super) struct Context<'a> {
    /// Relative paths are relative to this directory.
    base: PathBuf,
    environment: Environment<'a>,
}

impl Context<'_> {
    fn config(&self, reader: &mut Reader, top: &mut Entries<'_>, file: &Path) -> Option<Config> {
        let listen = self.listen(reader, top);
        let reuse_port = reader.optional(top, "reuse_port").and_then(|node| reader.boolean(node)).unwrap_or(false);
        let proxy_protocol = super::proxy_protocol::read(reader, top);
        let threads = reader.optional(top, "threads").and_then(|node| reader.count(node, 1, 1024));
        let tls_node = reader.optional(top, "tls");
        let tls = tls_node.and_then(|node| self.server_tls(reader, node));
        let servers = super::authentication::servers(self, reader, top);
        let directories = super::directories::read(self, reader, top, &servers);
        let tls_now = tls.as_ref().map(Renewed::now);
        let tls_given = (tls_now.as_deref(), tls_node.is_some());
        let authentication = super::authentication::read(self, reader, top, tls_given, servers, directories.is_some());
        let governance = reader.required(top, "governance").and_then(|node| self.path(reader, node));
        let identity = reader.required(top, "identity").and_then(|node| self.path(reader, node));
        let accounts = reader.optional(top, "accounts").and_then(|node| self.path(reader, node));
        let acknowledgements = reader.optional(top, "acknowledgements").and_then(|node| self.path(reader, node));
        let secret = reader.required(top, "secret").and_then(|node| self.master(reader, node));
        let (declared, connections) = self.connections(reader, top);
        let databases = databases(reader, top, &declared, &connections);
        let catalog_refresh = catalog_refresh(reader, top);
        let limits = limits(reader, top);
        let shutdown = super::shutdown::read(reader, top);
        let replica = super::replica::read(reader, top);
        let impersonation = reader
            .optional(top, "impersonation")
            .map(|node| super::impersonation::read(reader, node, &mut |reader, node| self.secret(reader, node)));
        let traces = super::traces::read(self, reader, top);
        let log = super::log::read(reader, top);
        let admin_given = reader.has(top, "admin");
        let admin = super::admin::read(self, reader, top);
        let telling = reader.optional(top, "my_access").map(|node| super::impersonation::telling(reader, node));
        let audit = reader.optional(top, "audit").map(|node| super::audit::read(self, reader, node));
        Some(Config {
            file: file.to_path_buf(),
            listen,
            reuse_port,
            proxy_protocol,
            threads,
            tls: tls.map(Arc::new),
            authentication,
            directories: directories.unwrap_or_default(),
            acknowledgements: acknowledgements.unwrap_or_else(|| beside(governance.as_deref())),
            governance: governance?,
            accounts_named: accounts.is_some(),
            accounts: match accounts {
                Some(path) => path,
                None => identity.as_ref()?.with_file_name(USUAL),
            },
            identity: identity?,
            secret: secret?,
            connections: connections.into_iter().map(|(key, (_, connection))| (key, connection)).collect(),
            databases,
            catalog_refresh,
            limits,
            shutdown,
            replica,
            impersonation: impersonation.unwrap_or_default(),
            telling: telling.unwrap_or_default(),
            audit: audit.map_or(Some(None), |read| read.map(Some))?,
            traces: traces?,
            log,
            admin: if admin_given { Some(Arc::new(admin?)) } else { None },
            warnings: Vec::new(),
        })
    }

    fn listen(&self, reader: &mut Reader, top: &mut Entries<'_>) -> Vec<SocketAddr> {
        let Some(node) = reader.optional(top, "listen") else {
            return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))];
        };
        let mut addresses = Vec::new();
        let items = reader.list(node);
        for item in items {
            let Some(address) = address(reader, item, "127.0.0.1:6432") else { continue };
            if addresses.contains(&address) {
                let origin = reader.origin(item);
                reader.error(&origin, format!("{address} is listed twice"), "keep one of them");
            } else {
                addresses.push(address);
            }
        }
        if items.is_empty() {
            let origin = reader.origin(node);
            reader.error(&origin, "no address to listen on", "write at least one, such as \"127.0.0.1:6432\"");
        }
        addresses
    }

    /// A path, relative to the file's directory.
    pub(super) fn path(&self, reader: &mut Reader, node: &Node) -> Option<PathBuf> {
        reader.string(node).map(|text| self.base.join(text))
    }

    /// A file of root certificates, or `system`: those of the operating system.
    pub(super) fn roots(&self, reader: &mut Reader, node: &Node) -> Option<Option<PathBuf>> {
        reader.string(node).map(|text| (text != SYSTEM_ROOTS).then(|| self.base.join(text)))
    }

    pub(super) fn server_tls(&self, reader: &mut Reader, node: &Node) -> Option<Renewed> {
        let mut entries = reader.map(node)?;
        let certificate = reader.required(&mut entries, "certificate").and_then(|node| self.path(reader, node));
        let key = reader.required(&mut entries, "key").and_then(|node| self.path(reader, node));
        let required = reader.optional(&mut entries, "required").and_then(|node| reader.boolean(node)).unwrap_or(false);
        let client_ca = reader.optional(&mut entries, "client_ca").map(|node| self.path(reader, node));
        let client_crl = reader.optional(&mut entries, "client_crl").map(|node| self.path(reader, node));
        let origin = entries.origin.clone();
        reader.close(entries);
        let (certificate, key) = (certificate?, key?);
        let clients = match (client_ca, client_crl) {
            (Some(authorities), lists) => Some((authorities?, lists)),
            (None, None) => None,
            (None, Some(_)) => {
                let help = "name the authorities of client certificates in `client_ca`";
                reader.error(&origin, "`client_crl` has no effect without `client_ca`", help);
                return None;
            }
        };
        let clients = match clients {
            Some((authorities, Some(lists))) => Some((authorities, Some(lists?))),
            Some((authorities, None)) => Some((authorities, None)),
            None => None,
        };
        warn_if_open(reader, &origin, &key);
        let loaded = Renewed::load(tls::Files { certificate, key, required, clients });
        tls_result(reader, &origin, loaded, "check the PEM files of `tls`")
    }

    /// The master secret.
    fn master(&self, reader: &mut Reader, node: &Node) -> Option<Secret> {
        let secret = self.secret(reader, node)?;
        if secret.expose().len() < SHORTEST_MASTER {
            let origin = reader.origin(node);
            let message = format!("the secret has fewer than {SHORTEST_MASTER} bytes");
            reader.error(&origin, message, "make one with `openssl rand -hex 32`");
            return None;
        }
        Some(secret)
    }

    /// `{env: NAME}` or `{file: PATH}`. A secret is never written into the configuration itself.
    pub(super) fn secret(&self, reader: &mut Reader, node: &Node) -> Option<Secret> {
        const HOW: &str = "write {env: VARIABLE} or {file: PATH}; secrets are not written into this file";
        let origin = reader.origin(node);
        if !matches!(node.value, crate::governance::tree::Value::Map(_)) {
            reader.error(&origin, "where the secret is kept is expected here", HOW);
            return None;
        }
        let mut entries = reader.map(node)?;
        let env = reader.optional(&mut entries, "env");
        let file = reader.optional(&mut entries, "file");
        reader.close(entries);
        let bytes = match (env, file) {
            (Some(node), None) => {
                let name = reader.string(node)?;
                let Some(value) = (self.environment)(&name) else {
                    let origin = reader.origin(node);
                    reader.error(&origin, format!("environment variable {name} is not set"), "set it, or use a file");
                    return None;
                };
                value.into_encoded_bytes()
            }
            (None, Some(node)) => {
                let path = self.path(reader, node)?;
                let origin = reader.origin(node);
                let read = std::fs::read(&path);
                warn_if_open(reader, &origin, &path);
                match read {
                    Ok(bytes) => without_newline(bytes),
                    Err(error) => {
                        let message = format!("{} cannot be read: {}", path.display(), error);
                        reader.error(&origin, message, "check the path and its permissions");
                        return None;
                    }
                }
            }
            (None, None) | (Some(_), Some(_)) => {
                reader.error(&origin, "a secret has one of `env` and `file`", HOW);
                return None;
            }
        };
        if bytes.is_empty() || bytes.contains(&0) {
            reader.error(&origin, "the secret is empty or holds a NUL", "put the secret there, and nothing else");
            return None;
        }
        Some(Secret::new(bytes))
    }

    /// The keys that are declared, and the connections that are good.
    fn connections(&self, reader: &mut Reader, top: &mut Entries<'_>) -> (BTreeSet<String>, Connections) {
        let (mut declared, mut connections) = (BTreeSet::new(), BTreeMap::new());
        let Some(node) = reader.required(top, "connections") else { return (declared, connections) };
        let named = reader.named(node);
        if named.is_empty() {
            let origin = reader.origin(node);
            reader.error(&origin, "no connection", "name at least one warehouse database under `connections`");
        }
        for (key, origin, node) in named {
            declared.insert(key.to_owned());
            if let Some(connection) = self.connection(reader, key, node) {
                connections.insert(Arc::clone(&connection.key), (origin, Arc::new(connection)));
            }
        }
        (declared, connections)
    }

    /// A database with nothing but where it is and the login to it.
    pub(super) fn database(&self, reader: &mut Reader, key: &str, node: &Node) -> Option<Connection> {
        let mut entries = reader.map(node)?;
        let found = self.server(reader, key, &mut entries);
        reader.close(entries);
        found
    }

    fn server(&self, reader: &mut Reader, key: &str, entries: &mut Entries<'_>) -> Option<Connection> {
        let host = reader.required(entries, "host").and_then(|node| read_host(reader, node));
        let port = reader.optional(entries, "port").and_then(|node| reader.integer(node, 1, 65_535));
        let database = reader.required(entries, "database").and_then(|node| startup_text(reader, node));
        let user = reader.required(entries, "user").and_then(|node| startup_text(reader, node));
        let password = reader.optional(entries, "password");
        let password_given = password.is_some();
        let password = password.and_then(|node| self.secret(reader, node));
        let tls = self.client_tls(reader, entries, host.as_ref());
        let pooler = reader.optional(entries, "pooler").map(|node| pooler(reader, node));
        let connect_timeout = reader.optional(entries, "connect_timeout");
        let connect_timeout = connect_timeout.map_or(Some(Duration::from_secs(5)), |node| reader.some_duration(node));
        Some(Connection {
            key: key.into(),
            host: host?,
            port: port.map_or(Some(5432), |p| u16::try_from(p).ok())?,
            database: database?,
            user: user?,
            password: if password_given { Some(password?) } else { None },
            tls: tls?,
            pool: PoolLimits::default(),
            pooler: pooler.map_or(Some(None), |read| read.map(Some))?,
            connect_timeout: connect_timeout?,
            query_timeout: None,
            query_timeout_max: None,
            temporary_tables: false,
            functions: Vec::new(),
            engine: Engine::default(),
            shards: BTreeSet::new(),
        })
    }

    fn connection(&self, reader: &mut Reader, key: &str, node: &Node) -> Option<Connection> {
        let mut entries = reader.map(node)?;
        let server = self.server(reader, key, &mut entries);
        let pool = reader.optional(&mut entries, "pool").map_or(Some(PoolLimits::default()), |node| pool(reader, node));
        let temporary_tables = reader.optional(&mut entries, "temporary_tables");
        let temporary_tables = temporary_tables.and_then(|node| reader.boolean(node)).unwrap_or(true);
        let query_timeout = reader.optional(&mut entries, "query_timeout");
        let query_timeout = query_timeout.map_or(Some(Duration::ZERO), |node| reader.duration(node));
        if let (Some(timeout), origin) = (query_timeout, entries.origin.clone())
            && i32::try_from(timeout.as_millis()).is_err()
        {
            reader.error(&origin, "query_timeout is above 24 days", "PostgreSQL's statement_timeout ends there");
        }
        let longest = reader.optional(&mut entries, "query_timeout_max");
        let longest = longest.map_or(Some(Duration::ZERO), |node| reader.duration(node));
        if let (Some(longest), origin) = (longest.filter(|l| !l.is_zero()), entries.origin.clone()) {
            if i32::try_from(longest.as_millis()).is_err() {
                reader.error(
                    &origin,
                    "query_timeout_max is above 24 days",
                    "PostgreSQL's statement_timeout ends there",
                );
            } else if query_timeout.is_some_and(|start| start > longest) {
                let help = "every session starts with `query_timeout`: make it the shorter one";
                reader.error(&origin, "query_timeout is above query_timeout_max", help);
            }
        }
        let functions =
            reader.optional(&mut entries, "functions").map_or_else(Vec::new, |node| vouchings(reader, node));
        let engine =
            reader.optional(&mut entries, "engine").map_or(Some(Engine::default()), |node| engine(reader, node));
        let shards = reader.optional(&mut entries, "shards");
        let shards = shards.map_or_else(Vec::new, |node| reader.list(node).iter().collect());
        let shards = shards.into_iter().filter_map(|node| startup_text(reader, node)).collect();
        reader.close(entries);
        Some(Connection {
            pool: pool?,
            query_timeout: query_timeout.map(|t| Some(t).filter(|t| !t.is_zero()))?,
            temporary_tables,
            functions,
            engine: engine?,
            shards,
            query_timeout_max: longest.map(|t| Some(t).filter(|t| !t.is_zero()))?,
            ..server?
        })
    }

    fn client_tls(&self, reader: &mut Reader, entries: &mut Entries<'_>, host: Option<&Host>) -> Option<ClientTls> {
        let mode_node = reader.optional(entries, "sslmode");
        let roots_node = reader.optional(entries, "sslrootcert");
        let unix = matches!(host, Some(Host::Unix(_)));
        let mode = match mode_node {
            None if unix => SslMode::Disable,
            None => SslMode::Prefer,
            Some(node) => read_mode(reader, node)?,
        };
        let origin = mode_node.or(roots_node).map_or_else(|| entries.origin.clone(), |node| reader.origin(node));
        if unix && !matches!(mode, SslMode::Disable | SslMode::Prefer) {
            reader.error(&origin, "TLS over a Unix socket does not exist", "remove sslmode or use a TCP host");
            return None;
        }
        if unix {
            return Some(ClientTls::disabled());
        }
        let roots = match roots_node {
            None => None,
            Some(node) if matches!(mode, SslMode::Disable | SslMode::Prefer) => {
                let origin = reader.origin(node);
                reader.error(
                    &origin,
                    "sslrootcert has no effect with this sslmode",
                    "use sslmode verify-full (or verify-ca, require), or remove sslrootcert",
                );
                return None;
            }
            Some(node) => self.roots(reader, node)?,
        };
        tls_result(reader, &origin, ClientTls::load(mode, roots.as_deref()), "name a PEM file of root certificates")
    }
}

/// An address to listen on.
pub(super) fn address(reader: &mut Reader, node: &Node, example: &str) -> Option<SocketAddr> {
    let text = reader.string(node)?;
    let origin = reader.origin(node);
    let help = format!("write \"ADDRESS:PORT\" with a numeric address, such as \"{example}\" or \"[::]:6432\"");
    text.parse().map_err(|_| reader.error(&origin, "not an address to listen on", help)).ok()
}

/// Functions of the warehouse that somebody vouches for.
fn vouchings(reader: &mut Reader, node: &Node) -> Vec<(Origin, Vouching)> {
    let mut all = Vec::new();
    for item in reader.list(node) {
        let origin = reader.origin(item);
        let Some(mut entries) = reader.map(item) else { continue };
        let function = reader.required(&mut entries, "function").and_then(|node| function_name(reader, node));
        let volatility = reader.required(&mut entries, "volatility").and_then(|node| volatility(reader, node));
        let vouched_by = reader.required(&mut entries, "vouched_by").and_then(|node| reader.string(node));
        let total = reader.optional(&mut entries, "total").and_then(|node| reader.boolean(node)).unwrap_or(false);
        reader.close(entries);
        if let (Some((function, name)), Some(volatility), Some(vouched_by)) = (function, volatility, vouched_by) {
            if vouched_by.trim().is_empty() {
                reader.error(&origin, "nobody vouches for the function", "write who answers for it under `vouched_by`");
            }
            all.push((origin, Vouching { function, name, volatility, vouched_by, total }));
        }
    }
    all
}

/// `schema.name(argument types)`, read by the server's own grammar.
fn function_name(reader: &mut Reader, node: &Node) -> Option<(String, QualifiedName)> {
    let text = reader.string(node)?;
    let parsed = sql::parse(&format!("COMMENT ON FUNCTION {text} IS NULL")).ok();
    let statements = parsed.map(|p| p.statements).unwrap_or_default();
    let object = match statements.as_slice() {
        [one] => match &one.node {
            sql::NodeEnum::CommentStmt(comment) => comment.object.as_deref().and_then(|n| n.node.as_ref()),
            _ => None,
        },
        _ => None,
    };
    let name = match object {
        Some(sql::NodeEnum::ObjectWithArgs(object)) if !object.args_unspecified => {
            sql::names::parts(&object.objname).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    match name.as_slice() {
        [schema, name] if !schema.starts_with("pg_") && *schema != "information_schema" => {
            let name = QualifiedName::new(*schema, *name);
            Some((text, name))
        }
        _ => {
            let origin = reader.origin(node);
            let help = "write schema.name(argument types), such as analytics.fiscal_year(date)";
            reader.error(&origin, "not a function of a schema of your own", help);
            None
        }
    }
}

fn volatility(reader: &mut Reader, node: &Node) -> Option<char> {
    let words = [("immutable", 'i'), ("stable", 's'), ("volatile", 'v')];
    let help = "one of immutable, stable, volatile, as the function is declared";
    reader.word(node, &words, "unknown volatility", help)
}

fn tls_result<T>(reader: &mut Reader, origin: &Origin, loaded: Result<T, TlsError>, help: &str) -> Option<T> {
    loaded.map_err(|error| reader.error(origin, error.to_string(), help)).ok()
}

fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

/// A secret file that others may read.
fn warn_if_open(reader: &mut Reader, origin: &Origin, path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o007 != 0) {
        let message = format!("{} may be read by everybody on this machine", path.display());
        reader.warning(origin, message, "chmod 600");
    }
}

fn read_host(reader: &mut Reader, node: &Node) -> Option<Host> {
    let text = reader.string(node)?;
    if text.starts_with('/') {
        return Some(Host::Unix(text.into()));
    }
    // What rustls and the resolver take: a name or an address, no port, no URL.
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    if bare.parse::<std::net::IpAddr>().is_err() && rustls::pki_types::DnsName::try_from(bare).is_err() {
        let origin = reader.origin(node);
        reader.error(
            &origin,
            "not a host name, an address or an absolute directory",
            "the port stands under `port`; a Unix socket is named by its directory, such as /run/postgresql",
        );
        return None;
    }
    Some(Host::Tcp(bare.to_owned()))
}

fn startup_text(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.string(node)?;
    if text.len() > 63 || text.chars().any(char::is_control) {
        let origin = reader.origin(node);
        reader.error(&origin, "a name of PostgreSQL has at most 63 bytes and no control characters", "correct it");
        return None;
    }
    Some(text)
}

fn read_mode(reader: &mut Reader, node: &Node) -> Option<SslMode> {
    let words = [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
    reader.word(node, &words, "unknown sslmode", "one of disable, prefer, require, verify-ca, verify-full")
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            mode: PoolMode::Session,
            min: 0,
            max: 100,
            idle: 10,
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            wait: Duration::from_secs(10),
        }
    }
}

/// Reads an optional value into its place; one that does not fit is reported and leaves the default.
macro_rules! set {
    ($reader:ident, $entries:ident, $into:expr, $name:literal, $read:expr) => {
        if let Some(node) = $reader.optional(&mut $entries, $name)
            && let Some(value) = $read(&mut *$reader, node)
        {
            $into = value;
        }
    };
}

/// What the warehouse is.
fn engine(reader: &mut Reader, node: &Node) -> Option<Engine> {
    let words = [("postgresql", Engine::Postgresql), ("compatible", Engine::Compatible)];
    let help = "`postgresql` (the default), or `compatible` for another engine that speaks PostgreSQL";
    reader.word(node, &words, "unknown engine", help)
}

/// A pooler whose sessions are nobody else's.
fn pooler(reader: &mut Reader, node: &Node) -> Option<Pooler> {
    let origin = reader.origin(node);
    match reader.string(node)?.as_str() {
        "session" => return Some(Pooler::Session),
        mode @ ("transaction" | "statement") => reader.error(
            &origin,
            format!("behind a pooler in {mode} mode, callers would find what others have left in a session"),
            "let the pooler pool sessions for the proxy's login (PgBouncer: pool_mode=session), and write `session`",
        ),
        _ => reader.error(
            &origin,
            "unknown pooler",
            "`session`, or leave it out where the proxy reaches the warehouse itself",
        ),
    }
    None
}

fn pool(reader: &mut Reader, node: &Node) -> Option<PoolLimits> {
    let mut pool = PoolLimits::default();
    let mut entries = reader.map(node)?;
    let idle_given = reader.optional(&mut entries, "idle");
    set!(reader, entries, pool.mode, "mode", pool_mode);
    set!(reader, entries, pool.max, "max", |r: &mut Reader, n| r.count(n, 1, 100_000));
    if let Some(node) = reader.optional(&mut entries, "min")
        && let Some(min) = reader.count(node, 0, 100_000)
    {
        if min > pool.max {
            let origin = reader.origin(node);
            reader.error(&origin, "`min` is above `max`", "keep no more sessions than may be open");
        }
        pool.min = min;
    }
    set!(reader, entries, pool.idle_timeout, "idle_timeout", Reader::some_duration);
    set!(reader, entries, pool.max_lifetime, "max_lifetime", Reader::some_duration);
    set!(reader, entries, pool.wait, "wait", Reader::duration);
    pool.idle = match idle_given {
        Some(node) => {
            let idle = reader.count(node, 0, 100_000)?;
            if idle > pool.max {
                let origin = reader.origin(node);
                reader.error(&origin, "`idle` is above `max`", "keep no more sessions than may be open");
            }
            if idle < pool.min {
                let origin = reader.origin(node);
                reader.error(&origin, "`idle` is below `min`", "`min` sessions stay open also while nobody uses them");
            }
            idle
        }
        // Sessions that change hands with every transaction are not closed in between.
        None if pool.mode == PoolMode::Transaction => pool.max,
        None => pool.idle.max(pool.min).min(pool.max),
    };
    reader.close(entries);
    Some(pool)
}

/// For how long a client has a session of the warehouse.
fn pool_mode(reader: &mut Reader, node: &Node) -> Option<PoolMode> {
    let words = [("session", PoolMode::Session), ("transaction", PoolMode::Transaction)];
    reader.word(node, &words, "unknown pool mode", "one of session, transaction")
}

/// Where acknowledgements are kept when the configuration does not say: beside the governance directory, not in it.
fn beside(governance: Option<&Path>) -> PathBuf {
    governance.and_then(Path::parent).unwrap_or(Path::new("")).join("acknowledgements.jsonl")
}

fn catalog_refresh(reader: &mut Reader, top: &mut Entries<'_>) -> Duration {
    let mut refresh = Duration::from_secs(60);
    if let Some(mut entries) = reader.optional(top, "catalog").and_then(|node| reader.map(node)) {
        set!(reader, entries, refresh, "refresh", Reader::some_duration);
        reader.close(entries);
    }
    refresh
}

fn limits(reader: &mut Reader, top: &mut Entries<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut entries) = reader.optional(top, "limits").and_then(|node| reader.map(node)) else { return limits };
    // PostgreSQL's own bound on a message is 1 GB (`PQ_LARGE_MESSAGE_LIMIT`).
    set!(reader, entries, limits.message_bytes, "message_bytes", |r: &mut Reader, n| r.bytes(n, 16_384, 1 << 30));
    set!(reader, entries, limits.statement_bytes, "statement_bytes", |r: &mut Reader, n| r.bytes(n, 1024, 64 << 20));
    set!(reader, entries, limits.sessions, "sessions", |r: &mut Reader, n| r.count(n, 1, 1_000_000));
    set!(reader, entries, limits.sessions_per_user, "sessions_per_user", |r: &mut Reader, n| r.count(n, 1, 1_000_000));
    set!(reader, entries, limits.failed_logins, "failed_logins", |r: &mut Reader, n| r.count(n, 0, 1_000_000));
    set!(reader, entries, limits.directory_users, "directory_users", |r: &mut Reader, n| r.count(n, 1, 1_000_000));
    set!(reader, entries, limits.relations, "relations", |r: &mut Reader, n| r.count(n, 1, 10_000));
    set!(reader, entries, limits.bindings, "bindings", |r: &mut Reader, n| r.count(n, 1, 2_000_000_000));
    set!(reader, entries, limits.result_rows, "result_rows", |r: &mut Reader, n| r.integer(n, 0, i64::MAX as u64));
    set!(reader, entries, limits.result_bytes, "result_bytes", |r: &mut Reader, n| r
        .bytes(n, 0, 1 << 40)
        .map(|b| b as u64));
    set!(reader, entries, limits.prepared_statements, "prepared_statements", |r: &mut Reader, n| r
        .count(n, 1, 1_000_000));
    set!(reader, entries, limits.portals, "portals", |r: &mut Reader, n| r.count(n, 1, 1_000_000));
    set!(reader, entries, limits.handshake_timeout, "handshake_timeout", Reader::some_duration);
    set!(reader, entries, limits.idle_timeout, "idle_timeout", |r: &mut Reader, n| r
        .duration(n)
        .map(|d| Some(d).filter(|d| !d.is_zero())));
    reader.close(entries);
    limits
}

/// Names clients use for connections: those listed, and for every other connection its own database's name.
fn databases(
    reader: &mut Reader,
    top: &mut Entries<'_>,
    declared: &BTreeSet<String>,
    connections: &Connections,
) -> BTreeMap<String, Arc<str>> {
    let mut databases: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let listed = reader.optional(top, "databases");
    for (name, _, node) in listed.map(|node| reader.named(node)).unwrap_or_default() {
        let Some(key) = reader.string(node) else { continue };
        match connections.get_key_value(key.as_str()) {
            Some((key, _)) => {
                databases.insert(name.to_owned(), Arc::clone(key));
            }
            // Declared and wrong in itself: that is reported where it stands.
            None if declared.contains(&key) => {}
            None => {
                let origin = reader.origin(node);
                reader.error(&origin, format!("connection `{key}` is not declared"), "name a key of `connections`");
            }
        }
    }
    for (key, (origin, connection)) in connections {
        if databases.values().any(|used| used == key) {
            continue;
        }
        if let Some(other) = databases.get(&connection.database) {
            let message = format!("database name `{}` already leads to connection `{other}`", connection.database);
            reader.error(origin, message, format!("give `{key}` a name of its own under `databases`"));
            continue;
        }
        databases.insert(connection.database.clone(), Arc::clone(key));
    }
    databases
}

#[cfg(test)]
mod tests;
