//! The log of a process: lines on standard error.
//!
//! In: the command, its configuration, SQLVEIL_LOG. Out: the subscriber of the process. Must never: keep a command from running because of
//! how it is to be logged.

use super::Command;
use crate::config::log::{Format, Log};
use tracing_subscriber::EnvFilter;

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
}
