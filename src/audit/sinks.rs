//! Where records go besides the folder: standard output, a table, a collector of OpenTelemetry.
//!
//! In: whole lines of the trail. Out: `Ok` once the other side has them. Must never: take for delivered what was not confirmed.

mod otlp;
mod table;

use crate::config::audit::{Audit, OTLP, STDOUT, TABLE};
pub use otlp::Collector;
use std::io::{self, Write};
use table::Database;

/// A sink.
pub enum Sink {
    /// Standard output, line by line as in the folder.
    Stdout,
    /// A table of PostgreSQL.
    Table(Box<Database>),
    /// A receiver of OTLP logs.
    Otlp(Collector),
}

impl Sink {
    /// Those that are configured.
    pub fn of(settings: &Audit) -> Vec<Self> {
        let stdout = settings.stdout.then_some(Self::Stdout);
        let table = settings.table.iter().map(|table| Self::Table(Box::new(Database::new(table.clone()))));
        let otlp = settings.otlp.iter().map(|otlp| Self::Otlp(Collector::new(otlp.clone())));
        stdout.into_iter().chain(table).chain(otlp).collect()
    }

    /// What its place in the folder is named after.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdout => STDOUT,
            Self::Table(_) => TABLE,
            Self::Otlp(_) => OTLP,
        }
    }

    /// Hands on lines of a chain.
    ///
    /// Not cancel safe: the other side may have them already.
    pub async fn deliver(&mut self, chain: &str, lines: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Stdout => {
                let written = tokio::task::spawn_blocking(move || {
                    let mut out = io::stdout().lock();
                    out.write_all(&lines).and_then(|()| out.flush())
                });
                written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            }
            Self::Table(database) => database.insert(chain, &lines).await,
            Self::Otlp(collector) => collector.post(lines).await,
        }
    }
}
