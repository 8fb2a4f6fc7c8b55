//! The system under test: documents in a folder, the proxy before the run's database, every caller on every table.

use crate::data;
use crate::document;
use crate::evaluate::{self, Sight};
use crate::spec::{Cell, Table, World};
use crate::support::{ANYONE, PASSWORD, Stage};
use sqlveil::cli::demo::documents;
use sqlveil::cli::serve::Proxy;
use sqlveil::config::Config;
use std::path::PathBuf;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// One database for a whole run.
pub struct Ground {
    pub tables: Vec<Table>,
    pub now: i64,
    stage: Stage,
    template: PathBuf,
}

/// Where system and evaluator differ.
#[derive(Debug)]
pub struct Difference {
    pub user: String,
    pub project: Option<String>,
    pub table: String,
    pub expected: String,
    pub found: String,
}

/// The answer to one statement, in the evaluator's terms.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Nothing,
    Hint,
    Rows(Vec<Vec<Cell>>),
    Other(String),
}

impl Ground {
    pub async fn new(rows: usize) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let tables = data::tables(now, rows);
        let stage = Stage::new().await.sql(&data::sql(&tables)).await.policy(ANYONE);
        let template = stage.write().parent().expect("a folder").to_path_buf();
        Self { tables, now, stage, template }
    }

    /// The master secret's derivative that salts come from.
    pub fn master(&self) -> Vec<u8> {
        let config = Config::load(&self.template.join("config.yaml")).expect("a configuration");
        config.secret.derive("salts").expose().to_vec()
    }

    /// Loads the world's documents, in the order of a seed.
    pub async fn start(&self, world: &World, order: u64) -> (Proxy, tempfile::TempDir) {
        let folder = tempfile::Builder::new().prefix("sqlveil-reference-").tempdir().expect("a folder");
        let copied: Vec<(String, String)> = ["config.yaml", "secrets/master", "secrets/warehouse"]
            .iter()
            .map(|name| ((*name).to_owned(), std::fs::read_to_string(self.template.join(name)).expect("a file")))
            .collect();
        let files = document::files(world, &self.stage.database, PASSWORD, order);
        let files: Vec<(&str, &str)> = copied.iter().chain(&files).map(|(p, t)| (p.as_str(), t.as_str())).collect();
        documents::write(folder.path(), &files).expect("the documents are written");
        let config = Config::load(&folder.path().join("config.yaml")).unwrap_or_else(|p| panic!("{p:#?}"));
        let proxy = Proxy::start(config).await.unwrap_or_else(|problems| {
            let errors: Vec<String> = problems.iter().filter(|p| p.is_error()).map(ToString::to_string).collect();
            panic!("seed {}: {errors:#?}\n{files:#?}", world.seed)
        });
        (proxy, folder)
    }

    async fn client(&self, proxy: &Proxy, user: &str, project: Option<&str>) -> Result<Client, tokio_postgres::Error> {
        let login = project.map_or_else(|| user.to_owned(), |key| format!("{user}+{key}"));
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(proxy.address().port())
            .dbname(&self.stage.database)
            .user(&login)
            .password(PASSWORD);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("SET TimeZone = 'UTC'").await?;
        Ok(client)
    }

    /// What every caller is answered: by user, project and table.
    pub async fn answers(&self, world: &World, order: u64) -> Vec<(String, Option<String>, &'static str, Answer)> {
        let (proxy, _folder) = self.start(world, order).await;
        let mut out = Vec::new();
        for user in &world.users {
            for project in std::iter::once(None).chain(world.projects.iter().map(|p| Some(p.key.clone()))) {
                let client = self.client(&proxy, &user.name, project.as_deref()).await;
                for table in &self.tables {
                    let answer = match &client {
                        Ok(client) => ask(client, table).await,
                        Err(error) => {
                            Answer::Other(error.as_db_error().map_or("no answer", |e| e.code().code()).to_owned())
                        }
                    };
                    out.push((user.name.clone(), project.clone(), table.name, answer));
                }
            }
        }
        proxy.stop().await;
        out
    }

    /// Compares system and evaluator.
    pub async fn compare(&self, world: &World, order: u64) -> Vec<Difference> {
        let master = self.master();
        let mut differences = Vec::new();
        for (user, project, name, found) in self.answers(world, order).await {
            let table = self.tables.iter().find(|t| t.name == name).expect("a table");
            let expected = expected(world, table, &user, project.as_deref(), &master);
            if expected != found {
                let (expected, found) = told(&expected, &found);
                differences.push(Difference { user, project, table: name.to_owned(), expected, found });
            }
        }
        differences
    }
}

/// What the evaluator expects.
pub fn expected(world: &World, table: &Table, user: &str, project: Option<&str>, master: &[u8]) -> Answer {
    let Some(caller) = evaluate::caller(world, user, project) else { return Answer::Other("42501".into()) };
    match evaluate::see(world, table, &caller, master) {
        Sight::Nothing => Answer::Nothing,
        Sight::Hint => Answer::Hint,
        Sight::Rows(rows) => {
            let shown = rows.into_iter().flatten().map(|row| row.into_iter().map(|(cell, _)| cell).collect());
            let mut rows: Vec<Vec<Cell>> = shown.collect();
            rows.sort();
            Answer::Rows(rows)
        }
    }
}

async fn ask(client: &Client, table: &Table) -> Answer {
    match client.simple_query(&format!("SELECT * FROM {}", table.name)).await {
        Ok(messages) => {
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect::<Vec<Cell>>())
                }
                _ => None,
            });
            let mut rows: Vec<Vec<Cell>> = rows.collect();
            rows.sort();
            Answer::Rows(rows)
        }
        Err(error) => match error.as_db_error().map(|e| (e.code().code(), e.hint())) {
            Some(("42P01", _)) => Answer::Nothing,
            Some(("42501", Some(_))) => Answer::Hint,
            _ => Answer::Other(format!("{error:?}")),
        },
    }
}

/// The two answers, of rows only those that differ.
fn told(expected: &Answer, found: &Answer) -> (String, String) {
    let (Answer::Rows(wanted), Answer::Rows(got)) = (expected, found) else {
        let short = |answer: &Answer| format!("{answer:?}").chars().take(300).collect();
        return (short(expected), short(found));
    };
    let only = |these: &[Vec<Cell>], those: &[Vec<Cell>]| {
        let some: Vec<String> =
            these.iter().filter(|r| !those.contains(r)).take(3).map(|r| format!("\n  {r:?}")).collect();
        format!("{} rows, only here:{}", these.len(), some.concat())
    };
    (only(wanted, got), only(got, wanted))
}
