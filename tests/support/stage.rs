//! A database of one's own, documents over it, and the proxy in front.
//!
//! ```ignore
//! let running = Stage::new()
//!     .await
//!     .sql("CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text)")
//!     .await
//!     .sources(&[("emp", "{ssn: [Identity.Number]}")])
//!     .user("ana", &["Staff"], &[("city", &["Bonn"])])
//!     .policy(MASK_SSN)
//!     .start()
//!     .await;
//! let client = running.client("ana").await;
//! ```

use super::{Output, psql, server};
use sqlveil::cli::demo::private_postgres::{PrivatePostgres, random_password};
use sqlveil::cli::demo::{documents, warehouse};
use sqlveil::cli::serve::Proxy;
use sqlveil::config::Config;
use sqlveil::identity::scram::Verifier;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// The password of every user of a stage.
pub const PASSWORD: &str = "open sesame";

/// A policy that lets everyone read everything registered: for tests of what is not about subscription.
pub const ANYONE: &str = "policyKey: anyone\nname: anyone\ntype: subscription\nactions: {type: anyone}\n";

/// Documents in the making.
pub struct Stage {
    /// The database's name; also the `connectionKey`.
    pub database: String,
    server: &'static PrivatePostgres,
    folder: tempfile::TempDir,
    service_password: String,
    admin: Client,
    sources: Vec<String>,
    tags: BTreeSet<String>,
    policies: Vec<String>,
    purposes: BTreeSet<String>,
    purpose_documents: Vec<String>,
    projects: Vec<String>,
    grants: Vec<String>,
    fingerprints: Vec<String>,
    unmask_requests: Vec<String>,
    groups: BTreeSet<String>,
    raw_groups: Vec<String>,
    users: Vec<String>,
    config: String,
    connection: String,
    port: u16,
    pool: usize,
    pooling: String,
    data: String,
    documents: Vec<(String, String)>,
}

impl Stage {
    /// A fresh database with a login for the proxy that may read `public`.
    pub async fn new() -> Self {
        Self::on(server()).await
    }

    /// The same on a server of the test's own, which may be paused.
    pub async fn on(server: &'static PrivatePostgres) -> Self {
        Self::copy_of(server, "template1").await
    }

    /// A copy of a database that nobody is connected to, OIDs included, with a login for the proxy that may read `public`.
    pub async fn copy_of(server: &'static PrivatePostgres, template: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        Self::named(server, &format!("stage_{}", NUMBER.fetch_add(1, Ordering::Relaxed)), template).await
    }

    /// The same under a name of its own: two servers can have databases that are called alike.
    pub async fn named(server: &'static PrivatePostgres, database: &str, template: &str) -> Self {
        let database = database.to_owned();
        let root = warehouse::admin(server, "postgres").await.expect("the superuser logs in");
        root.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}")).await.expect("a database");
        let admin = warehouse::admin(server, &database).await.expect("the superuser logs in");
        let service_password = service_login(&root, &admin, &database).await;
        Self {
            server,
            database,
            folder: tempfile::Builder::new().prefix("sqlveil-test-").tempdir().expect("a temporary folder"),
            service_password,
            admin,
            sources: Vec::new(),
            tags: BTreeSet::new(),
            policies: Vec::new(),
            purposes: BTreeSet::new(),
            purpose_documents: Vec::new(),
            projects: Vec::new(),
            grants: Vec::new(),
            fingerprints: Vec::new(),
            unmask_requests: Vec::new(),
            groups: BTreeSet::new(),
            raw_groups: Vec::new(),
            users: Vec::new(),
            config: String::new(),
            connection: String::new(),
            port: server.port(),
            pool: 30,
            // Every test program can be run with clients that take turns: SQLVEIL_POOL=transaction.
            pooling: std::env::var("SQLVEIL_POOL").map(|mode| format!(", mode: {mode}")).unwrap_or_default(),
            data: String::new(),
            documents: Vec::new(),
        }
    }

    /// Runs statements as the superuser, directly.
    pub async fn sql(self, statements: &str) -> Self {
        self.admin.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
        self
    }

    /// Runs a statement as the superuser, directly; whether it worked.
    pub async fn try_sql(&self, statement: &str) -> bool {
        self.admin.batch_execute(statement).await.is_ok()
    }

    /// The superuser, directly.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// Lets the proxy's login write the tables and sequences of `public`, those to come included.
    pub async fn writable(self) -> Self {
        let login = self.login();
        self.sql(&format!(
            "GRANT INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO {login};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {login};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO {login};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {login}"
        ))
        .await
    }

    /// Grants a user WRITE on data sources.
    pub fn writes(self, user: &str, sources: &[&str]) -> Self {
        sources.iter().fold(self, |stage, source| {
            stage.grant(&format!("dataSource: {}\nuser: {}\naccessGrant: WRITE\n", quoted(source), quoted(user)))
        })
    }

    /// Registers tables of `public`: name, and a flow mapping of column tags such as `{ssn: [Identity.Number]}` (`{}` = none).
    /// A data source has its table's name.
    pub fn sources(mut self, tables: &[(&str, &str)]) -> Self {
        for (table, tags) in tables {
            let tags: BTreeMap<String, Vec<String>> = serde_saphyr::from_str(tags).expect("a mapping of column tags");
            let columns: Vec<String> = tags
                .into_iter()
                .map(|(column, tags)| {
                    self.tags.extend(tags.iter().cloned());
                    format!("{{columnName: {}, tags: {}}}", quoted(&column), list(&tags))
                })
                .collect();
            self.sources.push(format!(
                "  - {{table: {}, schema: public, tags: {{columns: [{}]}}}}\n",
                quoted(table),
                columns.join(", ")
            ));
        }
        self
    }

    /// One entry of `sources`, as written in a data document, without the leading `- `.
    pub fn source(mut self, entry: &str) -> Self {
        self.sources.push(item(entry));
        self
    }

    /// Declares tags that only raw entries use.
    pub fn tags(mut self, tags: &[&str]) -> Self {
        self.tags.extend(tags.iter().map(|tag| (*tag).to_owned()));
        self
    }

    /// A policy document.
    pub fn policy(mut self, document: &str) -> Self {
        self.policies.push(document.to_owned());
        self
    }

    /// Declares a purpose.
    pub fn purpose(mut self, name: &str) -> Self {
        self.purposes.insert(name.to_owned());
        self
    }

    /// A purpose document.
    pub fn purpose_document(mut self, document: &str) -> Self {
        self.purpose_documents.push(document.to_owned());
        self
    }

    /// A project document.
    pub fn project(mut self, document: &str) -> Self {
        self.projects.push(document.to_owned());
        self
    }

    /// Further lines of the data document (`connection: …`, `owners: …`).
    pub fn data(mut self, lines: &str) -> Self {
        self.data.push_str(lines);
        self.data.push('\n');
        self
    }

    /// A document of any kind, by its path below the governance directory.
    pub fn document(mut self, path: &str, text: &str) -> Self {
        self.documents.push((path.to_owned(), text.to_owned()));
        self
    }

    /// A grant document.
    pub fn grant(mut self, document: &str) -> Self {
        self.grants.push(document.to_owned());
        self
    }

    /// A fingerprint document.
    pub fn fingerprint(mut self, document: &str) -> Self {
        self.fingerprints.push(document.to_owned());
        self
    }

    /// A document of a request to unmask.
    pub fn unmask_request(mut self, document: &str) -> Self {
        self.unmask_requests.push(document.to_owned());
        self
    }

    /// A user with groups and attributes, and the password [`PASSWORD`].
    pub fn user(mut self, name: &str, groups: &[&str], attributes: &[(&str, &[&str])]) -> Self {
        self.groups.extend(groups.iter().map(|group| (*group).to_owned()));
        // One iteration: the tests are not about the cost of guessing.
        let verifier = Verifier::from_password(PASSWORD.as_bytes(), 1, b"salt");
        let attributes: Vec<String> =
            attributes.iter().map(|(name, values)| format!("{}: {}", quoted(name), list(values))).collect();
        self.users.push(format!(
            "  - {{name: {}, verifier: {}, groups: {}, attributes: {{{}}}}}\n",
            quoted(name),
            quoted(&verifier.to_string()),
            list(groups),
            attributes.join(", ")
        ));
        self
    }

    /// A user as an entry of the identity file (a flow mapping).
    pub fn raw_user(mut self, entry: &str) -> Self {
        self.users.push(format!("  - {entry}\n"));
        self
    }

    /// A group as an entry of the identity file (a flow mapping).
    pub fn raw_group(mut self, entry: &str) -> Self {
        self.raw_groups.push(format!("  - {entry}\n"));
        self
    }

    /// Further lines of the configuration (`limits: …`).
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Further lines of the connection, indented by four (`functions: …`).
    pub fn connection(mut self, lines: &str) -> Self {
        self.connection.push_str(lines);
        self
    }

    /// Reaches the warehouse through a pooler on that port.
    pub fn through(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sessions with the warehouse at most.
    pub fn pool(mut self, max: usize) -> Self {
        self.pool = max;
        self
    }

    /// Clients take turns in sessions of the warehouse, so many at most; further entries of `pool`, such as `, wait: 1s`.
    pub fn turns(mut self, max: usize, more: &str) -> Self {
        self.pool = max;
        self.pooling = format!(", mode: transaction{more}");
        self
    }

    /// The proxy's login to this database, with its password.
    pub fn service(&self) -> (String, &str) {
        (self.login(), &self.service_password)
    }

    /// The server.
    pub fn server(&self) -> &'static PrivatePostgres {
        self.server
    }

    /// Writes the documents and starts the proxy on a free loopback port.
    pub async fn start(self) -> Running {
        let config = Config::load(&self.write()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let proxy = Proxy::start(config).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let port = proxy.address().port();
        Running { port, proxy: Some(proxy), stage: self }
    }

    /// Writes the documents; gives the configuration's path.
    pub fn write(&self) -> PathBuf {
        let mut data = format!("connectionKey: {}\nnameTemplate: {{dataSourceFormat: <tablename>}}\n", self.database);
        data.push_str(&self.data);
        data.push_str(if self.sources.is_empty() { "sources: []\n" } else { "sources:\n" });
        self.sources.iter().for_each(|source| data.push_str(source));
        let tags: Vec<&String> = self.tags.iter().collect();
        let no_groups = self.groups.is_empty() && self.raw_groups.is_empty();
        let mut identity = String::from(if no_groups { "groups: []\n" } else { "groups:\n" });
        self.raw_groups.iter().for_each(|group| identity.push_str(group));
        self.groups.iter().for_each(|group| identity.push_str(&format!("  - {{name: {}}}\n", quoted(group))));
        identity.push_str(if self.users.is_empty() { "users: []\n" } else { "users:\n" });
        self.users.iter().for_each(|user| identity.push_str(user));
        let mut purposes: Vec<String> = self.purposes.iter().map(|name| format!("name: {}\n", quoted(name))).collect();
        purposes.extend(self.purpose_documents.iter().cloned());
        let config = format!(
            "listen: [\"127.0.0.1:0\"]\ngovernance: governance\nidentity: identity.yaml\nsecret: {{file: secrets/master}}\n\
             connections:\n  {0}:\n    host: 127.0.0.1\n    port: {1}\n    database: {0}\n    user: {2}\n    sslmode: disable\n    \
             password: {{file: secrets/warehouse}}\n    pool: {{max: {5}{6}}}{4}\n{3}",
            self.database,
            self.port,
            self.login(),
            self.config,
            self.connection,
            self.pool,
            self.pooling
        );
        documents::write(
            self.folder.path(),
            &[
                ("governance/data/data.yaml", &data),
                ("governance/tags/tags.yaml", &format!("tags: {}\n", list(&tags))),
                ("governance/policies/.keep", ""),
                ("identity.yaml", &identity),
                ("config.yaml", &config),
                ("secrets/master", "the same master secret in every test"),
                ("secrets/warehouse", &self.service_password),
            ],
        )
        .expect("the documents are written");
        for (kind, list) in [
            ("policies", &self.policies),
            ("purposes", &purposes),
            ("projects", &self.projects),
            ("grants", &self.grants),
            ("fingerprints", &self.fingerprints),
            ("unmaskRequests", &self.unmask_requests),
        ] {
            for (at, document) in list.iter().enumerate() {
                let name = format!("governance/{kind}/{at:03}.yaml");
                documents::write(self.folder.path(), &[(&name, document)]).expect("a document is written");
            }
        }
        for (path, text) in &self.documents {
            documents::write(self.folder.path(), &[(&format!("governance/{path}"), text)])
                .expect("a document is written");
        }
        self.folder.path().join("config.yaml")
    }

    /// The proxy's login to this database.
    fn login(&self) -> String {
        format!("service_{}", self.database)
    }
}

/// A login that may connect to this database and read `public`, tables to come included.
async fn service_login(root: &Client, admin: &Client, database: &str) -> String {
    let password = random_password();
    root.batch_execute(&format!(
        "CREATE ROLE service_{database} LOGIN NOSUPERUSER PASSWORD '{password}';
         REVOKE ALL ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT, TEMPORARY ON DATABASE {database} TO service_{database}"
    ))
    .await
    .expect("a login");
    admin
        .batch_execute(&format!(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO service_{database};
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO service_{database};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO service_{database}"
        ))
        .await
        .expect("rights");
    password
}

/// The proxy in front of a stage's database. Dropping it stops the proxy and drops the database.
pub struct Running {
    /// Where the proxy listens on 127.0.0.1.
    pub port: u16,
    stage: Stage,
    proxy: Option<Proxy>,
}

impl Running {
    /// A client through the proxy.
    pub async fn client(&self, user: &str) -> Client {
        self.try_client(user, PASSWORD, &self.stage.database)
            .await
            .unwrap_or_else(|error| panic!("{user} logs in: {error:?}"))
    }

    /// Settings of a client through the proxy, to be changed before connecting.
    pub fn client_config(&self, user: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(&self.stage.database).user(user).password(PASSWORD);
        config.connect_timeout(Duration::from_secs(20));
        config
    }

    /// An attempt to log in.
    pub async fn try_client(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.client_config(user);
        let (client, connection) = config.password(password).dbname(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The superuser, directly.
    pub fn admin(&self) -> &Client {
        &self.stage.admin
    }

    /// The database's name, for clients and in the warehouse.
    pub fn database(&self) -> &str {
        &self.stage.database
    }

    /// psql through the proxy.
    pub fn psql(&self, user: &str, args: &[&str]) -> Output {
        psql::run(self.stage.server.programs(), self.port, user, PASSWORD, &self.stage.database, args)
    }

    /// psql through the proxy with another password or database.
    pub fn psql_as(&self, user: &str, password: &str, database: &str, args: &[&str]) -> Output {
        psql::run(self.stage.server.programs(), self.port, user, password, database, args)
    }

    /// psql as a role of the warehouse with the password [`PASSWORD`], directly.
    pub fn direct_psql(&self, role: &str, args: &[&str]) -> Output {
        let server = self.stage.server;
        psql::run(server.programs(), server.port(), role, PASSWORD, &self.stage.database, args)
    }

    /// psql as the superuser, directly.
    pub fn admin_psql(&self, args: &[&str]) -> Output {
        let server = self.stage.server;
        psql::run(server.programs(), server.port(), server.superuser(), server.password(), &self.stage.database, args)
    }

    /// The governance directory, to change documents in.
    pub fn governance(&self) -> PathBuf {
        self.folder().join("governance")
    }

    /// The folder of all documents.
    pub fn folder(&self) -> &Path {
        self.stage.folder.path()
    }

    /// The configuration's path, for `check` and `explain`.
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("config.yaml")
    }

    /// Writes a document below the governance directory; the proxy notices the change by itself.
    pub fn write(&self, path: &str, content: &str) {
        documents::write(&self.governance(), &[(path, content)]).expect("a document is written");
    }

    /// Asks until the answer is as wanted, for up to ten seconds: for changes that take effect "soon".
    pub async fn eventually<F: AsyncFnMut(&Self) -> bool>(&self, what: &str, mut holds: F) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self).await {
            assert!(Instant::now() < deadline, "not within ten seconds: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops the proxy as SIGTERM would.
    pub async fn stop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop().await;
        }
    }

    /// The proxy itself.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it runs")
    }
}

/// A YAML flow scalar, always in quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A YAML flow list.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// An entry of a block list, its further lines indented.
fn item(entry: &str) -> String {
    let mut out = String::new();
    for (at, line) in entry.trim_end().lines().enumerate() {
        out.push_str(if at == 0 { "  - " } else { "    " });
        out.push_str(line);
        out.push('\n');
    }
    out
}
