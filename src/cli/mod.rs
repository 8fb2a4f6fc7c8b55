//! The commands, one file each.
//!
//! In: arguments. Out: what a command prints, and an exit code. Must never: hold logic that a room has.

pub mod account;
pub mod audit;
pub mod check;
pub mod demo;
pub mod diff;
pub mod explain;
pub mod fingerprint;
pub mod health;
pub mod keeping;
pub mod logging;
pub mod memory;
pub mod open_files;
pub mod password;
pub mod serve;
pub mod settings;
pub mod supervisor;
pub mod token;
pub mod unmask;
pub mod user;
pub mod verifier;

use clap::{Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// A PostgreSQL-wire proxy that lets people query a warehouse and see only what policy lets them see.
#[derive(Debug, Parser)]
#[command(name = "sqlveil", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve clients until told to stop.
    Serve(serve::Args),
    /// Load everything, let the warehouse check every policy, and tell all that is wrong.
    Check(settings::Settings),
    /// Tell what a statement becomes for a caller, rule by rule, without running it.
    Explain(explain::Args),
    /// Measure the ranges of registered tables, for masks that need them, and write them down as documents.
    Fingerprint(fingerprint::Args),
    /// Tell what changes for whom between two sets of documents. Exits with 0 when nothing does, 1 when something does, 2 on errors.
    Diff(diff::Args),
    /// Show the same queries answered differently: a private PostgreSQL, demo data, four callers.
    Demo(demo::Demo),
    /// Ask a proxy whether it is ready, over its interface for administrators. Exits with 0 when it is.
    Health(health::Args),
    /// Undo the mask Reversible under an approved request.
    Unmask(unmask::Args),
    /// Add, list, disable, revoke and expire users.
    #[command(subcommand)]
    User(user::Args),
    /// Make, list and revoke API tokens.
    #[command(subcommand)]
    Token(token::Args),
    /// Make, list and revoke temporary SQL accounts, each for one user.
    #[command(subcommand)]
    Account(account::Args),
    /// Prove that an audit trail is whole, search it, decide its statements again.
    #[command(subcommand)]
    Audit(audit::Args),
    /// Make the stored verifier of a password for the identity file.
    Verifier {
        /// Print a whole entry of the identity file for this user.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

impl Command {
    /// What is logged when the environment says nothing: the demo's own words come first.
    pub fn log_filter(&self) -> &'static str {
        match self {
            // What they did is for the record; what they say comes first.
            Self::User(_) | Self::Token(_) | Self::Account(_) => "warn,audit=info",
            Self::Health(_)
            | Self::Demo(_)
            | Self::Explain(_)
            | Self::Fingerprint(_)
            | Self::Diff(_)
            | Self::Audit(_) => "warn",
            Self::Serve(_) | Self::Unmask(_) | Self::Check(_) | Self::Verifier { .. } => "info",
        }
    }
}

/// Runs a command to its end.
pub async fn run(cli: Cli) -> ExitCode {
    let done: io::Result<bool> = match cli.command {
        Command::Serve(args) => serve::run(&args).await,
        Command::Check(settings) => {
            let mut out = io::stdout();
            let color = out.is_terminal();
            check::run_on(settings.load(), &mut out, color).await
        }
        Command::Explain(args) => {
            let mut out = io::stdout();
            let color = out.is_terminal();
            explain::run(&args, &mut out, color).await
        }
        Command::Fingerprint(args) => {
            let mut out = io::stdout();
            let color = out.is_terminal();
            fingerprint::run(&args, &mut out, color).await
        }
        Command::Diff(args) => {
            let mut out = io::stdout();
            let color = out.is_terminal();
            return match diff::run(&args, &mut out, color).await {
                Ok(verdict) => ExitCode::from(verdict.status()),
                Err(error) => {
                    let _ = writeln!(io::stderr(), "sqlveil: {error}");
                    ExitCode::from(diff::Verdict::Failed.status())
                }
            };
        }
        Command::Audit(args) => {
            let mut out = io::stdout();
            let color = out.is_terminal();
            return match audit::run(&args, &mut out, color).await {
                Ok(verdict) => ExitCode::from(verdict.status()),
                Err(error) => {
                    let _ = writeln!(io::stderr(), "sqlveil: {error}");
                    ExitCode::from(audit::Verdict::Untold.status())
                }
            };
        }
        Command::Demo(demo) => demo.run().await.map(|()| true).map_err(io::Error::other),
        Command::Health(args) => {
            let asked = tokio::task::spawn_blocking(move || health::run(&args, &mut io::stdout())).await;
            asked.map_err(io::Error::other).and_then(|answer| answer)
        }
        Command::Unmask(args) => unmask::run(&args, &mut io::stdout()).await,
        Command::User(args) => user::run(&args, &mut io::stdout()),
        Command::Token(args) => token::run(&args, &mut io::stdout()),
        Command::Account(args) => account::run(&args, &mut io::stdout()),
        Command::Verifier { user } => verifier::run(user.as_deref(), &mut io::stdout()).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // When standard error is gone too, the exit code has to do.
            let _ = writeln!(io::stderr(), "sqlveil: {error}");
            ExitCode::FAILURE
        }
    }
}
