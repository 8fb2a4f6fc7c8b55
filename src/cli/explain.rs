//! `sqlveil explain`: what a statement would become for a caller, and why, without running it.
//!
//! In: a configuration, a user, perhaps a project, a statement. Out: for every relation and column the rules that apply and those
//! considered and why not, the predicates, and the text that would be sent, salts replaced. Must never: run the statement, or show
//! a salt. For administrators: it shows policy text.

pub use crate::admin::explained::{Explained, explain};
use crate::config::Config;
use crate::governance::problem::{any_error, render};
use crate::identity::Login;
use crate::world::{self, Directories};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `sqlveil explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "SQLVEIL_CONFIG")]
    pub config: PathBuf,
    /// Login name of the caller; `user+PROJECT` acts under a project.
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Project acted under, by key.
    #[arg(long, value_name = "KEY")]
    pub project: Option<String>,
    /// Connection, by key; needed when there are several.
    #[arg(long, value_name = "KEY")]
    pub connection: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The statement.
    #[arg(value_name = "SQL")]
    pub sql: String,
}

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Explains; true when the explanation could be given, whatever it says.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<bool> {
    let config = match Config::load(&args.config) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(out, "{}", render(&problems, color))?;
            return Ok(false);
        }
    };
    let mut loaded = world::load(&config).await;
    if any_error(&loaded.problems) {
        write!(out, "{}", render(&loaded.problems, color))?;
        return Ok(false);
    }
    let world = match chosen(&config, args.connection.as_deref()) {
        Ok(key) => loaded.worlds.remove(&key),
        Err(message) => {
            writeln!(out, "{message}")?;
            return Ok(false);
        }
    };
    let Some(world) = world.map(Arc::new) else {
        writeln!(out, "the warehouse of this connection is out of reach")?;
        return Ok(false);
    };
    let (user, suffix) = world.directory.split_login(&args.user);
    let project = args.project.as_deref().or(suffix);
    // As at a login: what directories say belongs to the answer.
    let login = Directories::new(&config).introduce(&world.directory, Login::of(user)).await;
    let caller = match world.directory.caller_of(&login, project) {
        Ok(caller) => Arc::new(caller),
        Err(refusal) => {
            writeln!(out, "the caller is refused: {refusal}")?;
            return Ok(false);
        }
    };
    let told = explain(&world, &caller, &args.sql);
    match args.format {
        Format::Text => write!(out, "{told}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&told).map_err(io::Error::other)?)?,
    }
    Ok(true)
}

/// The key of the connection asked for, or of the only one.
fn chosen(config: &Config, asked: Option<&str>) -> Result<Arc<str>, String> {
    let keys: Vec<&Arc<str>> = config.connections.keys().collect();
    match (asked, keys.as_slice()) {
        (Some(asked), keys) => keys
            .iter()
            .find(|key| &****key == asked)
            .map(|key| Arc::clone(key))
            .ok_or_else(|| format!("there is no connection \"{asked}\" in the configuration")),
        (None, [only]) => Ok(Arc::clone(only)),
        (None, keys) => {
            let names: Vec<&str> = keys.iter().map(|key| &***key).collect();
            Err(format!("name one of the connections with --connection: {}", names.join(", ")))
        }
    }
}
