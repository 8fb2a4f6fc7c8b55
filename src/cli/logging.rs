//! The log of a process: lines on standard error.
//!
//! In: the command, its configuration, SQLVEIL_LOG. Out: the subscriber of the process. Must never: keep a command from running because of
//! how it is to be logged, or let a library print what it is handed: statements with policies in them, passwords, tokens.

use super::Command;
use crate::config::log::{Format, Log};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Libraries that print what passes through them below INFO.
const TALKATIVE: [&str; 4] = ["tokio_postgres", "ldap3", "lber", "ureq"];

/// Whether a line may be written, whatever is asked for.
fn is_discreet(line: &Metadata<'_>) -> bool {
    let of = |library: &str| line.target().strip_prefix(library).is_some_and(|r| r.is_empty() || r.starts_with("::"));
    *line.level() <= Level::INFO || !TALKATIVE.into_iter().any(of)
}

/// Begins to log. What SQLVEIL_LOG says goes before the configuration, and that before what the command would have. Once a process.
pub fn begin(command: &Command) {
    let Log { format, levels } = match command {
        Command::Serve(args) => args.settings.log(),
        _ => Log::default(),
    };
    let levels = levels.as_deref().unwrap_or(command.log_filter());
    let filter = EnvFilter::try_from_env("SQLVEIL_LOG")
        .or_else(|_| EnvFilter::try_new(levels))
        .unwrap_or_else(|_| EnvFilter::new(command.log_filter()));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(filter_fn(is_discreet)).with(lines).init();
}
