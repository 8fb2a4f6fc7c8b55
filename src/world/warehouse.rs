//! The catalog leg of one connection: snapshots of the catalog, and probes of bound policies.
//!
//! In: a [`Connection`]. Out: a [`Catalog`], and which probes failed. Must never: write, keep a client that failed, or wait without
//! a bound.

use crate::catalog::Catalog;
use crate::config::Connection;
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::policy::{Probe, ProbeFailure, ProbeKind};
use crate::upstream::catalog_client;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Longest time one reading of the catalog may take; a run of all probes may take that and [`EACH`] for each of them.
const PATIENCE: Duration = Duration::from_secs(60);
const EACH: Duration = Duration::from_millis(1);

/// Probes run in a transaction that can neither write nor stay long in one statement; it is rolled back.
const BEGIN: &str = "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'";

/// One warehouse as the loader sees it.
pub struct Warehouse {
    /// How to reach it.
    pub connection: Arc<Connection>,
    /// The configuration file, for problems.
    origin: Origin,
    client: Option<Client>,
    /// The last snapshot.
    pub catalog: Option<Arc<Catalog>>,
}

impl Warehouse {
    /// A warehouse not yet connected to.
    pub fn new(connection: Arc<Connection>, config_file: &Path) -> Self {
        Self { connection, origin: Origin::of_file(config_file), client: None, catalog: None }
    }

    fn problem(&self, what: impl std::fmt::Display) -> Problem {
        let message = format!("connection `{}`: {what}", self.connection.key);
        let help = "check that the warehouse runs, and its address, login and TLS settings in the configuration";
        Problem::error(&self.origin, message, help)
    }

    /// A client that is connected: the one at hand, or a new one.
    async fn connected(&mut self) -> Result<Client, Problem> {
        match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => catalog_client(&self.connection).await.map_err(|refusal| self.problem(refusal.message)),
        }
    }

    /// Reads the catalog; true when it differs from the last snapshot. A client left over from earlier gets a second chance on a new
    /// connection, since the old one may have died unseen.
    ///
    /// Cancel safe: dropping the future drops the client.
    pub async fn refresh(&mut self) -> Result<bool, Problem> {
        let reused = self.client.is_some();
        let mut read = self.read().await;
        if reused && read.is_err() {
            read = self.read().await;
        }
        let mut catalog = read?;
        if let Some(old) = &self.catalog {
            if old.same_contents(&catalog) {
                return Ok(false);
            }
            catalog.version = old.version;
        }
        catalog.version = catalog.version.saturating_add(1);
        self.catalog = Some(Arc::new(catalog));
        Ok(true)
    }

    async fn read(&mut self) -> Result<Catalog, Problem> {
        let client = self.connected().await?;
        let catalog = match tokio::time::timeout(PATIENCE, Catalog::load(&client)).await {
            Ok(read) => read.map_err(|error| self.problem(error))?,
            Err(_) => return Err(self.problem("reading the catalog takes too long")),
        };
        self.client = Some(client);
        Ok(catalog)
    }

    /// Tries every probe; gives those that failed.
    ///
    /// Cancel safe: dropping the future drops the client.
    pub async fn run(&mut self, probes: &[Probe]) -> Result<Vec<ProbeFailure>, Problem> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.connected().await?;
        let patience = PATIENCE + EACH * u32::try_from(probes.len()).unwrap_or(u32::MAX);
        let failures = match tokio::time::timeout(patience, run(&client, probes)).await {
            Ok(ran) => ran.map_err(|error| self.problem(format!("probing policies: {error}")))?,
            Err(_) => return Err(self.problem("probing policies takes too long")),
        };
        self.client = Some(client);
        Ok(failures)
    }
}

/// Most type checks put into one statement. PostgreSQL's own limit on a target list is 1664 entries.
const BATCH: usize = 100;

/// Runs probes in order. An error of the server is a failed probe; any other error ends the run.
async fn run(client: &Client, probes: &[Probe]) -> Result<Vec<ProbeFailure>, tokio_postgres::Error> {
    let mut failures = Vec::new();
    client.batch_execute(BEGIN).await?;
    let (checks, others): (Vec<_>, Vec<_>) =
        probes.iter().enumerate().partition(|(_, probe)| probe.kind == ProbeKind::TypeCheck);
    // Batches still to be tried. One that fails is tried again in halves, until what fails is alone.
    let mut batches: Vec<&[(usize, &Probe)]> = checks.chunks(BATCH).chain(others.chunks(1)).collect();
    while let Some(batch) = batches.pop() {
        let tried = match batch {
            [(_, probe)] if probe.kind == ProbeKind::TypeCheck => client.prepare(&probe.sql).await.map(drop),
            [(_, probe)] => client.query(&probe.sql, &[]).await.map(drop),
            several => client.prepare(&together(several)).await.map(drop),
        };
        let Err(error) = tried else { continue };
        let Some(server) = error.as_db_error() else { return Err(error) };
        match batch {
            [(index, _)] => failures.push(ProbeFailure { probe: *index, message: server.message().to_owned() }),
            several => {
                let (left, right) = several.split_at(several.len() / 2);
                batches.extend([left, right]);
            }
        }
        client.batch_execute("ROLLBACK").await?;
        client.batch_execute(BEGIN).await?;
    }
    client.batch_execute("ROLLBACK").await?;
    failures.sort_by_key(|failure| failure.probe);
    Ok(failures)
}

/// One statement whose analysis is that of all the probes. It is only prepared.
fn together(probes: &[(usize, &Probe)]) -> String {
    let each: Vec<String> = probes.iter().map(|(_, probe)| format!("EXISTS ({})", probe.sql)).collect();
    format!("SELECT {}", each.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::private_postgres::PrivatePostgres;
    use crate::config::tls::ClientTls;
    use crate::config::{Host, PoolLimits, Secret};
    use crate::types::QualifiedName;

    fn connection(port: u16, user: &str, password: &str) -> Arc<Connection> {
        Arc::new(Connection {
            key: "main".into(),
            host: Host::Tcp("127.0.0.1".into()),
            port,
            database: "postgres".into(),
            user: user.into(),
            password: Some(Secret::new(password)),
            tls: ClientTls::disabled(),
            pool: PoolLimits {
                max: 1,
                idle: 1,
                idle_timeout: PATIENCE,
                max_lifetime: PATIENCE,
                wait: Duration::from_secs(1),
            },
            connect_timeout: Duration::from_secs(5),
            query_timeout: None,
        })
    }

    fn probe(kind: ProbeKind, sql: &str) -> Probe {
        Probe { kind, source: "s".into(), policy: "p".into(), origin: Origin::default(), sql: sql.into() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn probes_fail_one_by_one_and_catalogs_are_compared() {
        let server = PrivatePostgres::start().unwrap();
        let mut warehouse =
            Warehouse::new(connection(server.port(), server.superuser(), server.password()), Path::new("c.yaml"));
        assert!(warehouse.refresh().await.unwrap(), "the first snapshot is new");
        assert!(!warehouse.refresh().await.unwrap(), "the second is the same");
        let probes = [
            probe(ProbeKind::TypeCheck, "SELECT 1/0"),
            probe(ProbeKind::TypeCheck, "SELECT nosuch"),
            probe(ProbeKind::Evaluate, "SELECT regexp_replace('', '(', '')"),
            probe(ProbeKind::Evaluate, "SELECT 1"),
            probe(ProbeKind::Constant, "SELECT 'x'::int"),
            probe(ProbeKind::Evaluate, "CREATE TABLE written (a int)"),
            probe(ProbeKind::Evaluate, "SELECT pg_sleep(60)"),
            probe(ProbeKind::TypeCheck, "SELECT 1; SELECT 2"),
            probe(ProbeKind::Constant, "SELECT '5'::int"),
        ];
        let failures = warehouse.run(&probes).await.unwrap();
        let failed: Vec<usize> = failures.iter().map(|f| f.probe).collect();
        assert_eq!(failed, [1, 2, 4, 5, 6, 7], "{failures:?}");
        assert_eq!(failures[0].message, "column \"nosuch\" does not exist");

        // The connection is lost between two readings: the second comes over a new one and sees what changed.
        let (admin, driver) = server.admin_config("postgres").connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        admin.batch_execute(end).await.unwrap();
        admin.batch_execute("CREATE TABLE fresh (a int)").await.unwrap();
        assert!(warehouse.refresh().await.unwrap());
        let catalog = warehouse.catalog.clone().unwrap();
        assert!(catalog.relations.contains_key(&QualifiedName::new("public", "fresh")));
        assert_eq!(catalog.version, 2);

        drop(server);
        let problem = warehouse.refresh().await.unwrap_err();
        assert!(problem.message.starts_with("connection `main`: "), "{problem}");
        assert_eq!(problem.origin.file.display().to_string(), "c.yaml");
        assert!(warehouse.catalog.is_some(), "the last snapshot stays");
    }

    #[tokio::test]
    async fn a_wrong_password_is_a_problem_that_does_not_show_it() {
        let server = tokio::task::spawn_blocking(|| PrivatePostgres::start().unwrap()).await.unwrap();
        let mut warehouse =
            Warehouse::new(connection(server.port(), server.superuser(), "hunter2-wrong"), Path::new("c.yaml"));
        let problem = warehouse.refresh().await.unwrap_err();
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}
