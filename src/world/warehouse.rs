//! The catalog leg of one connection: snapshots of the catalog, and probes of bound policies.
//!
//! In: a [`Connection`]. Out: a [`Catalog`], and which probes failed. Must never: write, keep a client that failed, or wait without
//! a bound.

use super::capability::{self, Lack};
use crate::catalog::digest::Digest;
use crate::catalog::manifest::stands_in;
use crate::catalog::{Catalog, Column, Described, LoadError};
use crate::config::{Connection, Engine};
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::policy::{Probe, ProbeFailure, ProbeKind};
use crate::types::{Oid, quote_ident};
use crate::upstream::catalog_client;
use std::collections::BTreeSet;
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
    /// What the warehouse's own catalogs looked like when it was taken, over the client at hand.
    digest: Option<Digest>,
    /// Sets of policies that were not small when their policies were last confirmed, by the statements that asked.
    large: Option<BTreeSet<String>>,
    /// How large such sets are: what is to be asked again.
    sets: Vec<Probe>,
    /// Why it cannot be served any more: what was found when it was last connected to.
    lacking: Option<Problem>,
    /// What is to be said of it: functions that are not as was vouched, or that nobody has classified.
    pub remarks: Vec<Problem>,
}

impl Warehouse {
    /// A warehouse not yet connected to.
    pub fn new(connection: Arc<Connection>, config_file: &Path) -> Self {
        Self {
            connection,
            origin: Origin::of_file(config_file),
            client: None,
            catalog: None,
            digest: None,
            large: None,
            sets: Vec::new(),
            lacking: None,
            remarks: Vec::new(),
        }
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
            None => {
                let client = self.fresh().await?;
                // Behind a pooler it is looked up that a session's server process is its own.
                let beside = if self.connection.pooler.is_none() { Some(self.fresh().await?) } else { None };
                self.capable(&client, beside.as_ref()).await?;
                Ok(client)
            }
        }
    }

    async fn fresh(&self) -> Result<Client, Problem> {
        catalog_client(&self.connection).await.map_err(|refusal| self.problem(refusal.message))
    }

    /// Asks a warehouse just connected to for what enforcement relies on.
    async fn capable(&mut self, client: &Client, beside: Option<&Client>) -> Result<(), Problem> {
        let asked = tokio::time::timeout(PATIENCE, capability::ask(client, beside, self.connection.engine)).await;
        match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Lack::Unheard(error))) => Err(self.problem(format!("asking what it can do: {error}"))),
            Ok(Err(Lack::Missing(what, help))) => {
                let problem = Problem { help: help.to_owned(), ..self.problem(what) };
                self.lacking = Some(problem.clone());
                Err(problem)
            }
            Err(_) => Err(self.problem("asking what it can do takes too long")),
        }
    }

    /// A warehouse that was served and turns out to lack something has no relation any more, so that nothing of it is reached.
    fn withdraw(&mut self, problem: Problem) -> bool {
        let Some(old) = self.catalog.take() else { return false };
        let had = !old.relations.is_empty();
        let version = old.version.saturating_add(u64::from(had));
        let emptied = Catalog {
            version,
            server_version: old.server_version,
            database: old.database.clone(),
            ..Catalog::default()
        };
        self.catalog = Some(Arc::new(emptied));
        self.digest = None;
        self.remarks = vec![problem];
        had
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
        let mut catalog = match (read, self.lacking.take()) {
            (Ok(Some(catalog)), _) => catalog,
            (Ok(None), _) => return Ok(false),
            (Err(problem), Some(lacking)) if self.catalog.is_some() => {
                tracing::debug!("{problem}");
                return Ok(self.withdraw(lacking));
            }
            (Err(problem), _) => return Err(problem),
        };
        if let Some(old) = &self.catalog {
            catalog.queries.clone_from(&old.queries);
            if old.same_contents(&catalog) {
                return Ok(false);
            }
            catalog.version = old.version;
        }
        catalog.version = catalog.version.saturating_add(1);
        self.catalog = Some(Arc::new(catalog));
        Ok(true)
    }

    /// A new snapshot; `None` when it would be the last one again.
    async fn read(&mut self) -> Result<Option<Catalog>, Problem> {
        // What another server looked like says nothing.
        let known = self.digest.take().filter(|_| self.client.as_ref().is_some_and(|client| !client.is_closed()));
        let client = self.connected().await?;
        let known = known.filter(|_| self.catalog.is_some());
        let Connection { shards, engine, .. } = &*self.connection;
        let load = async {
            match engine {
                Engine::Postgresql => {
                    let read = Catalog::load_changed(&client, shards, known.as_ref()).await?;
                    Ok(read.map(|(catalog, digest)| (catalog, Some(digest))))
                }
                // Whether the rows of its catalogs tell who wrote them is not known.
                Engine::Compatible => Ok(Some((Catalog::load_with(&client, shards).await?, None))),
            }
        };
        let read = match tokio::time::timeout(PATIENCE, load).await {
            Ok(read) => read.map_err(|error| self.unread(error))?,
            Err(_) => return Err(self.problem("reading the catalog takes too long")),
        };
        let (catalog, digest) = match read {
            Some((mut catalog, digest)) => {
                self.vouch(&client, &mut catalog).await?;
                (Some(catalog), digest)
            }
            None => (None, known),
        };
        (self.client, self.digest) = (Some(client), digest);
        Ok(catalog)
    }

    /// Why the catalog cannot be read: a warehouse whose catalog is not PostgreSQL's lacks something.
    fn unread(&mut self, error: LoadError) -> Problem {
        let problem = self.problem(&error);
        if let LoadError::Postgres(error) = &error
            && let Some(said) = error.as_db_error()
            && said.code().code().starts_with("42")
        {
            self.lacking = Some(problem.clone());
        }
        problem
    }

    /// Looks up the functions that somebody vouches for.
    async fn vouch(&mut self, client: &Client, catalog: &mut Catalog) -> Result<(), Problem> {
        let connection = Arc::clone(&self.connection);
        let list: Vec<_> = connection.functions.iter().map(|(_, vouching)| vouching.clone()).collect();
        let remarks = match tokio::time::timeout(PATIENCE, catalog.vouch(client, &list)).await {
            Ok(asked) => asked.map_err(|error| self.problem(format!("asking for functions: {error}")))?,
            Err(_) => return Err(self.problem("asking for functions takes too long")),
        };
        let origin = |entry: usize| connection.functions.get(entry).map_or(&self.origin, |(origin, _)| origin);
        self.remarks = remarks.into_iter().map(|r| Problem::warning(origin(r.entry), r.message, r.help)).collect();
        let others = unclassified(catalog).into_iter().chain(implicit_casts(catalog));
        self.remarks.extend(others.map(|(what, help)| {
            Problem::warning(&self.origin, format!("connection `{}`: {what}", connection.key), help)
        }));
        Ok(())
    }

    /// Has the warehouse describe the registered queries; true when that changed the catalog.
    ///
    /// Cancel safe: dropping the future drops the client.
    pub async fn describe(&mut self, queries: &BTreeSet<String>) -> Result<bool, Problem> {
        let Some(old) = self.catalog.clone() else { return Ok(false) };
        let mut described = std::collections::BTreeMap::new();
        if !queries.is_empty() {
            let client = self.connected().await?;
            described = match tokio::time::timeout(PATIENCE, describe(&client, queries)).await {
                Ok(asked) => asked.map_err(|error| self.problem(format!("asking for registered queries: {error}")))?,
                Err(_) => return Err(self.problem("asking for registered queries takes too long")),
            };
            self.client = Some(client);
        }
        if old.queries == described {
            return Ok(false);
        }
        let version = old.version.saturating_add(1);
        self.catalog = Some(Arc::new(Catalog { queries: described, version, ..(*old).clone() }));
        Ok(true)
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

    /// Notes which sets of policies may be large; whether these are others than when they were asked for last.
    pub fn sizes(&mut self, probes: &[Probe], failures: &[ProbeFailure]) -> bool {
        self.sets = probes.iter().filter(|probe| probe.kind == ProbeKind::Few).cloned().collect();
        let before = self.large.replace(large(probes, failures));
        before.is_some_and(|before| Some(before) != self.large)
    }

    /// Whether sets of the policies that were confirmed last have become small or large since.
    ///
    /// Cancel safe: dropping the future drops the client.
    pub async fn resized(&mut self) -> Result<bool, Problem> {
        let sets = self.sets.clone();
        let failures = self.run(&sets).await?;
        Ok(self.large.as_ref().is_some_and(|before| *before != large(&sets, &failures)))
    }
}

/// The statements that found a set to be not small.
fn large(probes: &[Probe], failures: &[ProbeFailure]) -> BTreeSet<String> {
    let failed = failures.iter().filter_map(|failure| probes.get(failure.probe));
    failed.filter(|probe| probe.kind == ProbeKind::Few).map(|probe| probe.sql.clone()).collect()
}

/// Functions that a server has and nobody has classified: message and help.
fn unclassified(catalog: &Catalog) -> Option<(String, &'static str)> {
    let major = catalog.server_version / 10_000;
    let signatures: Vec<&str> = catalog.unclassified.values().flatten().map(String::as_str).collect();
    let what = match (stands_in(catalog.server_version), signatures.is_empty()) {
        (None, true) => return None,
        (Some(known), true) => {
            format!("PostgreSQL {major} is newer than the newest list of functions, that of {known}")
        }
        (Some(known), false) => format!(
            "PostgreSQL {major} is newer than the newest list of functions, that of {known}; denied, all functions of their names: {}",
            signatures.join(", ")
        ),
        (None, false) => format!(
            "functions of PostgreSQL {major} that are on no list are denied, all functions of their names: {}",
            signatures.join(", ")
        ),
    };
    Some((what, "use a newer sqlveil, whose lists know them"))
}

/// Casts that happen without being named.
fn implicit_casts(catalog: &Catalog) -> Vec<(String, &'static str)> {
    let help = "vouch for the cast's function under `functions`, or revoke EXECUTE on it from the service login";
    let say = |(from, to)| {
        (format!("the cast from {from} to {to} may happen unnamed, by a function nobody vouches for"), help)
    };
    catalog.unvouched_implicit_casts().into_iter().map(say).collect()
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

/// Columns of each query. An error of the server is what it says of that query; any other error ends the run.
async fn describe(
    client: &Client,
    queries: &BTreeSet<String>,
) -> Result<std::collections::BTreeMap<String, Described>, tokio_postgres::Error> {
    let mut all = std::collections::BTreeMap::new();
    for sql in queries {
        client.batch_execute(BEGIN).await?;
        let described = match columns(client, sql).await {
            Ok(described) => described,
            Err(error) => match error.as_db_error() {
                Some(server) => Err(server.message().to_owned()),
                None => return Err(error),
            },
        };
        client.batch_execute("ROLLBACK").await?;
        all.insert(sql.clone(), described);
    }
    Ok(all)
}

/// Prepares the query as it will be sent, and asks for the collations of its columns, which a description does not tell. No row of the
/// query is computed for that.
async fn columns(client: &Client, sql: &str) -> Result<Described, tokio_postgres::Error> {
    // As on the leg of callers.
    client.batch_execute("SET LOCAL search_path = pg_catalog").await?;
    let prepared = client.prepare(&format!("SELECT * FROM ({sql}) AS _sv")).await?;
    let mut columns: Vec<Column> = Vec::new();
    for (column, number) in prepared.columns().iter().zip(1i16..) {
        if columns.iter().any(|c| c.name == column.name()) {
            return Ok(Err(format!("two of its columns are called \"{}\"; name them apart", column.name())));
        }
        columns.push(Column {
            name: column.name().to_owned(),
            number,
            type_oid: Oid(column.type_().oid()),
            typmod: column.type_modifier(),
            ..Column::default()
        });
    }
    if columns.is_empty() {
        return Ok(Err("it has no columns".to_owned()));
    }
    let types: Vec<u32> = columns.iter().map(|c| c.type_oid.0).collect();
    let collatable = "SELECT oid FROM pg_catalog.pg_type WHERE oid = ANY ($1) AND typcollation <> 0";
    let rows = client.query(collatable, &[&types]).await?;
    let collatable = rows.iter().map(|row| row.try_get::<_, u32>(0)).collect::<Result<BTreeSet<_>, _>>()?;
    let texts: Vec<&mut Column> = columns.iter_mut().filter(|c| collatable.contains(&c.type_oid.0)).collect();
    if texts.is_empty() {
        return Ok(Ok(columns));
    }
    let asked: Vec<String> =
        texts.iter().map(|c| format!("pg_catalog.pg_collation_for(_sv.{})", quote_ident(&c.name))).collect();
    let row = client
        .query_one(
            &format!(
                "SELECT (ARRAY[{0}]::pg_catalog.text[])::pg_catalog.regcollation[]::pg_catalog.oid[] \
                 FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM ({sql}) AS _sv WHERE false) AS _sv ON true",
                asked.join(", ")
            ),
            &[],
        )
        .await?;
    let collations: Vec<Option<u32>> = row.try_get(0)?;
    for (column, collation) in texts.into_iter().zip(collations) {
        let Some(collation) = collation else {
            return Ok(Err(format!("its column \"{}\" has no certain collation; add COLLATE", column.name)));
        };
        column.collation = Oid(collation);
    }
    Ok(Ok(columns))
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
                mode: crate::config::PoolMode::Session,
                min: 0,
                max: 1,
                idle: 1,
                idle_timeout: PATIENCE,
                max_lifetime: PATIENCE,
                wait: Duration::from_secs(1),
            },
            pooler: None,
            connect_timeout: Duration::from_secs(5),
            query_timeout: None,
            query_timeout_max: None,
            temporary_tables: true,
            functions: Vec::new(),
            engine: crate::config::Engine::default(),
            shards: std::collections::BTreeSet::new(),
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

    #[test]
    fn what_nobody_classified_is_told() {
        let mut catalog = Catalog { server_version: 150_018, ..Catalog::default() };
        assert_eq!(unclassified(&catalog), None);
        catalog.unclassified.insert("f".into(), vec!["f(integer) text v f".into()]);
        let said = |catalog: &Catalog| unclassified(catalog).unwrap().0;
        assert!(said(&catalog).ends_with("are denied, all functions of their names: f(integer) text v f"));
        catalog.server_version = 990_001;
        assert!(said(&catalog).starts_with("PostgreSQL 99 is newer than the newest list of functions, that of "));
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
