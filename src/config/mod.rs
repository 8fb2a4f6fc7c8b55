//! The configuration file of the proxy.
//!
//! In: one YAML or JSON file, values beside it from the environment and from flags, secrets from the environment or from files. Out: one validated, immutable [`Config`], or every
//! problem at once, each with file, line and remedy. Must never: show a secret in Debug output or in a problem, talk to the warehouse.

mod admin;
pub mod audit;
pub mod authentication;
pub mod directories;
mod effective;
mod given;
mod impersonation;
mod load;
pub mod log;
pub mod places;
mod proxy_protocol;
pub(crate) mod reader;
mod replica;
pub(crate) mod secret;
mod shutdown;
pub mod tls;
pub mod traces;

pub use admin::Admin;
pub use given::Overrides;
pub use replica::Replica;
pub use secret::Secret;
pub use shutdown::Shutdown;

use crate::catalog::vouch::Vouching;
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::identity::Actor;
use crate::identity::accounts::Files;
use crate::policy::told::Telling;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The whole configuration, validated. Paths are absolute or relative to the working directory, ready to open.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Other processes of the same account may listen on the same addresses (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Networks of balancers: each connection from there begins with a header of the PROXY protocol, and no other does.
    pub proxy_protocol: Vec<authentication::Network>,
    /// Threads that serve sessions; `None` = as many as there are processors.
    pub threads: Option<usize>,
    /// TLS towards clients; `None` answers SSLRequest with `N`.
    pub tls: Option<Arc<tls::Renewed>>,
    /// Who proves his name by what; `None` = everybody by SCRAM-SHA-256.
    pub authentication: Option<authentication::Rules>,
    /// Where groups and attributes are kept besides the identity file.
    pub directories: Vec<Arc<directories::Register>>,
    /// Directory of governance documents.
    pub governance: PathBuf,
    /// The identity file.
    pub identity: PathBuf,
    /// The accounts file, that the command line writes.
    pub accounts: PathBuf,
    /// Whether the accounts file is named: then it has to be there.
    pub accounts_named: bool,
    /// The file of acknowledgements: a JSON line for each acceptance.
    pub acknowledgements: PathBuf,
    /// Master secret: salts of data sources and mock logins are derived from it.
    pub secret: Secret,
    /// Connections by `connectionKey`; at least one.
    pub connections: BTreeMap<Arc<str>, Arc<Connection>>,
    /// Database names clients use → connection key. Every connection is reachable by at least one name.
    pub databases: BTreeMap<String, Arc<str>>,
    /// How often the warehouse catalog is read again.
    pub catalog_refresh: Duration,
    /// Bounds of what a client may send and hold.
    pub limits: Limits,
    /// How long the proxy takes to end.
    pub shutdown: Shutdown,
    /// Which of several proxies it is; `None` = the only one.
    pub replica: Option<Replica>,
    /// Logins that may act for others, by name.
    pub impersonation: BTreeMap<Arc<str>, Arc<Actor>>,
    /// How much callers are told of policies.
    pub telling: Telling,
    /// Where records of logins and statements are kept; `None` = they are lines of the log.
    pub audit: Option<audit::Audit>,
    /// Where traces are sent; `None` = nowhere.
    pub traces: Option<traces::Traces>,
    /// What is logged, and how.
    pub log: log::Log,
    /// The interface for administrators; `None` = there is none.
    pub admin: Option<Arc<Admin>>,
    /// What somebody should look at; nothing that keeps the proxy from running.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and validates the file, what the environment gives beside it, and everything it names except governance documents and
    /// identities.
    ///
    /// # Errors
    /// Every problem found, each with file, line and remedy.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        Self::load_with(path, &Overrides::environment()?)
    }

    /// [`Config::load`] with these values beside the file, and no others.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, given: &Overrides) -> Result<Self, Vec<Problem>> {
        load::load(path, &|name| std::env::var_os(name), given)
    }

    /// Where identities are written.
    pub fn identities(&self) -> Files {
        Files { identity: self.identity.clone(), accounts: self.accounts.clone(), named: self.accounts_named }
    }

    /// The connection behind the database name a client gave.
    pub fn connection_of(&self, database: &str) -> Option<&Arc<Connection>> {
        self.connections.get(self.databases.get(database)?)
    }
}

/// One warehouse database and the service login to it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `connectionKey`.
    pub key: Arc<str>,
    /// Where.
    pub host: Host,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// Database name in the warehouse.
    pub database: String,
    /// The service login.
    pub user: String,
    /// Its password; `None` = the warehouse asks for none.
    pub password: Option<Secret>,
    /// TLS towards the warehouse.
    pub tls: tls::ClientTls,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// What stands between the proxy and the warehouse.
    pub pooler: Option<Pooler>,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// `statement_timeout` every session starts with; `None` = off.
    pub query_timeout: Option<Duration>,
    /// Longest `statement_timeout` that a caller may set; `None` = none.
    pub query_timeout_max: Option<Duration>,
    /// Whether callers may make temporary tables, for their own session alone.
    pub temporary_tables: bool,
    /// Functions outside `pg_catalog` that callers may call, and where each is listed.
    pub functions: Vec<(Origin, Vouching)>,
    /// What the warehouse is.
    pub engine: Engine,
    /// Foreign servers of which somebody says that foreign tables there stand for tables, not for views that compute.
    pub shards: BTreeSet<String>,
}

/// What a warehouse is; whichever, what enforcement relies on is asked for (`world::capability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// PostgreSQL itself.
    #[default]
    Postgresql,
    /// Another engine that speaks PostgreSQL, of a version that is known.
    Compatible,
}

/// A duration as PostgreSQL takes it in settings; what is longer than that is as long as can be.
pub(crate) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// A pooler between the proxy and the warehouse (PgBouncer's `pool_mode`). There is no other kind: what a client leaves in its session,
/// prepared statements above all, must be found by nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// A server process belongs to one session of the proxy until that ends.
    Session,
}

/// Where a warehouse listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Host name or address.
    Tcp(String),
    /// Directory of the Unix socket.
    Unix(PathBuf),
}

/// For how long a client has a session of the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolMode {
    /// From login to logout.
    #[default]
    Session,
    /// For a transaction, and for as long as something of its own is in it.
    Transaction,
}

/// How the sessions with one warehouse are shared, and their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// For how long a client has one.
    pub mode: PoolMode,
    /// Fewest sessions kept open, whether anybody uses them or not.
    pub min: usize,
    /// Most sessions open at once.
    pub max: usize,
    /// Most sessions kept open while nobody uses them.
    pub idle: usize,
    /// A session unused for longer is closed.
    pub idle_timeout: Duration,
    /// A session older than this is closed instead of being used again.
    pub max_lifetime: Duration,
    /// Longest wait for a free session.
    pub wait: Duration,
}

/// Bounds of what a client may send and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message from a client.
    pub message_bytes: usize,
    /// Largest SQL text.
    pub statement_bytes: usize,
    /// Most client sessions at once.
    pub sessions: usize,
    /// Most sessions of one user at once.
    pub sessions_per_user: usize,
    /// Failed logins a minute of one user from one address; ten times as many of one address; 0 = neither limited nor slowed.
    pub failed_logins: usize,
    /// Users of whom it is remembered what directories say; those of live sessions always are.
    pub directory_users: usize,
    /// Relations that one statement may mention.
    pub relations: usize,
    /// How often policies may apply to data sources of one connection, all together.
    pub bindings: usize,
    /// Rows of one answer; 0 = any number.
    pub result_rows: u64,
    /// Bytes of one answer; 0 = any number.
    pub result_bytes: u64,
    /// Prepared statements of one session.
    pub prepared_statements: usize,
    /// Open portals of one session.
    pub portals: usize,
    /// Startup, TLS and authentication together take no longer.
    pub handshake_timeout: Duration,
    /// A session without a statement for so long is ended; `None` = never.
    pub idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            statement_bytes: 1 << 20,
            sessions: 1000,
            sessions_per_user: 50,
            failed_logins: 10,
            directory_users: 10_000,
            relations: 500,
            bindings: 20_000_000,
            result_rows: 0,
            result_bytes: 0,
            prepared_statements: 1000,
            portals: 1000,
            handshake_timeout: Duration::from_secs(30),
            idle_timeout: None,
        }
    }
}
