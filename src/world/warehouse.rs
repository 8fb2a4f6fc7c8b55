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

/// Longest time one reading of the catalog, or one run of all probes, may take.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let failures = match tokio::time::timeout(PATIENCE, run(&client, probes)).await {
            Ok(ran) => ran.map_err(|error| self.problem(format!("probing policies: {error}")))?,
            Err(_) => return Err(self.problem("probing policies takes too long")),
        };
        self.client = Some(client);
        Ok(failures)
    }
}

/// Runs probes one after another. An error of the server is a failed probe; any other error ends the run.
async fn run(client: &Client, probes: &[Probe]) -> Result<Vec<ProbeFailure>, tokio_postgres::Error> {
    let mut failures = Vec::new();
    client.batch_execute(BEGIN).await?;
    for (index, probe) in probes.iter().enumerate() {
        let tried = match probe.kind {
            ProbeKind::TypeCheck => client.prepare(&probe.sql).await.map(drop),
            ProbeKind::Evaluate | ProbeKind::Constant => client.query(&probe.sql, &[]).await.map(drop),
        };
        let Err(error) = tried else { continue };
        let Some(server) = error.as_db_error() else { return Err(error) };
        failures.push(ProbeFailure { probe: index, message: server.message().to_owned() });
        client.batch_execute("ROLLBACK").await?;
        client.batch_execute(BEGIN).await?;
    }
    client.batch_execute("ROLLBACK").await?;
    Ok(failures)
}
