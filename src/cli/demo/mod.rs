//! `sqlveil demo`: a private warehouse, a few callers, and the same questions answered differently.
//!
//! In: a port. Out: the callers' answers side by side, or with `--keep` a proxy to play with. Must never: touch a
//! server it did not start, or leave a process or a file behind.

mod ask;
pub mod documents;
pub mod private_postgres;
mod questions;
mod table;
pub mod warehouse;
mod why;

use crate::cli::serve::Proxy;
use crate::config::{Config, Overrides};
use crate::governance::problem::Problem;
use crate::world::World;
use private_postgres::{PrivatePostgres, PrivatePostgresError, random_password};
use questions::QUESTIONS;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use table::Answer;
use tokio::signal::unix::{SignalKind, signal};
use warehouse::{DATABASE, LoadError};

/// The callers, as `config/identity.yaml` declares them.
const CALLERS: [&str; 4] = ["analyst", "support", "steward", "outsider"];
/// How they log in to be asked: the steward once more, acting under the project `fraud`.
const LOGINS: [&str; 5] = ["analyst", "support", "steward", "steward+fraud", "outsider"];

/// `sqlveil demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Port of 127.0.0.1 to listen on
    #[arg(long, default_value_t = 6432)]
    pub port: u16,
    /// Stay until interrupted, for your own client
    #[arg(long)]
    pub keep: bool,
}

/// Why the demo did not run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DemoError {
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port with --port")]
    Port { port: u16, source: std::io::Error },
    #[error(transparent)]
    Postgres(#[from] PrivatePostgresError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("writing the demo's documents: {0}")]
    Documents(std::io::Error),
    #[error("the proxy does not start:\n{}", lines(.0))]
    Problems(Vec<Problem>),
    #[error("{caller} cannot log in: {source}")]
    Login { caller: &'static str, source: tokio_postgres::Error },
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Demo {
    /// Runs until done, or interrupted. Whatever the outcome, server, proxy and files are gone when it returns.
    pub async fn run(&self) -> Result<(), DemoError> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            done = self.show() => done,
            _ = interrupt.recv() => self.interrupted(),
            _ = terminate.recv() => self.interrupted(),
            _ = hangup.recv() => self.interrupted(),
        }
    }

    /// With `--keep` an interruption is the expected end.
    fn interrupted(&self) -> Result<(), DemoError> {
        if self.keep { Ok(()) } else { Err(DemoError::Interrupted) }
    }

    async fn show(&self) -> Result<(), DemoError> {
        // Told before half a minute of work, not after it. The proxy itself binds later.
        drop(
            TcpListener::bind(("127.0.0.1", self.port))
                .map_err(|source| DemoError::Port { port: self.port, source })?,
        );
        say("starting a private PostgreSQL …");
        let server = tokio::task::spawn_blocking(PrivatePostgres::start).await.map_err(std::io::Error::other)??;
        say("loading TPC-H (scale 0.01) and pgbench (scale 3) …");
        let service_password = warehouse::load(&server).await?;
        let passwords: BTreeMap<&str, String> = CALLERS.iter().map(|caller| (*caller, random_password())).collect();
        let folder = server.side_folder("sqlveil")?;
        self.write_documents(&folder, server.port(), &service_password, &passwords).map_err(DemoError::Documents)?;
        server.adopt(&folder)?;
        // What is set for another proxy is none of the demo's.
        let nothing = Overrides::default();
        let config = Config::load_with(&folder.join("config.yaml"), &nothing).map_err(DemoError::Problems)?;
        let (worlds, _) =
            crate::world::load(&Arc::new(config.clone())).await.into_result().map_err(DemoError::Problems)?;
        say("starting the proxy …");
        let proxy = Proxy::start(config).await.map_err(DemoError::Problems)?;
        let outcome = self.introduce(&server, &passwords, worlds.values().next()).await;
        drop(proxy);
        outcome
    }

    fn write_documents(
        &self,
        folder: &Path,
        warehouse: u16,
        service_password: &str,
        passwords: &BTreeMap<&str, String>,
    ) -> std::io::Result<()> {
        documents::write(&folder.join("governance"), &documents::GOVERNANCE)?;
        documents::write(
            folder,
            &[
                ("config.yaml", &documents::config(self.port, warehouse)),
                ("identity.yaml", &documents::identity(passwords)),
                ("secrets/master", &random_password()),
                ("secrets/warehouse", service_password),
            ],
        )
    }

    /// Shows the answers; with `--keep` says how to connect, and stays.
    async fn introduce(
        &self,
        server: &PrivatePostgres,
        passwords: &BTreeMap<&str, String>,
        world: Option<&World>,
    ) -> Result<(), DemoError> {
        let answers = self.answers(passwords, world).await?;
        let mut out = std::io::stdout();
        out.write_all(answers.as_bytes())?;
        if !self.keep {
            writeln!(out, "To ask questions of your own: sqlveil demo --keep")?;
            return Ok(());
        }
        for caller in CALLERS {
            let password = passwords.get(caller).map_or("", String::as_str);
            writeln!(out, "READY postgresql://{caller}:{password}@127.0.0.1:{}/{DATABASE}", self.port)?;
        }
        writeln!(out, "ADMIN {}", server.admin_url(DATABASE))?;
        out.flush()?;
        say(
            "connect with `psql URL`; `SET sqlveil.project = 'fraud'` as steward lifts the masks; Ctrl-C ends the demo",
        );
        std::future::pending().await
    }

    async fn answers(&self, passwords: &BTreeMap<&str, String>, world: Option<&World>) -> Result<String, DemoError> {
        let mut clients = Vec::new();
        for caller in LOGINS {
            let user = caller.split('+').next().unwrap_or(caller);
            let password = passwords.get(user).map_or("", String::as_str);
            let client = ask::login(self.port, DATABASE, caller, password).await;
            clients.push(client.map_err(|source| DemoError::Login { caller, source })?);
        }
        let mut out = String::new();
        let mut explained: Vec<&str> = Vec::new();
        for question in &QUESTIONS {
            let mut answers: Vec<Answer> = Vec::new();
            for client in &clients {
                answers.push(ask::ask(client, question).await);
            }
            out.push_str(&format!("\n{}\n  {}\n\n", question.title, question.sql));
            out.push_str(&table::side_by_side(&LOGINS, &answers));
            // Once a relation: the same policies are behind every question about it.
            let new: Vec<&str> =
                question.about.iter().copied().filter(|relation| !explained.contains(relation)).collect();
            let worlds = world.into_iter().cycle();
            for (login, world) in LOGINS.iter().zip(worlds).filter(|_| !new.is_empty()) {
                out.push_str(&format!("  why {login}: {}\n", why::why(world, login, &new)));
            }
            explained.extend(new);
        }
        out.push('\n');
        Ok(out)
    }
}

/// Progress, for people: to standard error, so that standard output holds answers and READY lines only.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
