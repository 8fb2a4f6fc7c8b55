//! `log`: what is logged, and in which form.
//!
//! In: the section of the configuration. Out: [`Log`]. It is read twice: on its own before anything is logged, and with the rest of the
//! configuration, where what is wrong with it is told. Must never: keep what cannot be read as a filter.

use super::Overrides;
use super::reader::{Entries, Reader};
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// What is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// Levels by module, such as `info,sqlveil::upstream=debug`; `None` = as the command has it. The variable SQLVEIL_LOG goes before it.
    pub levels: Option<String>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Log {
    /// The section alone; the defaults when there is none that can be read.
    pub fn of(path: &Path, given: &Overrides) -> Self {
        let read = Reader::open_with(path, given, |reader, top| {
            let log = read(reader, top);
            top.leave();
            Some(log)
        });
        read.map(|(log, _)| log).unwrap_or_default()
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader, top: &mut Entries<'_>) -> Log {
    let mut log = Log::default();
    let Some(mut entries) = reader.optional(top, "log").and_then(|node| reader.map(node)) else { return log };
    if let Some(node) = reader.optional(&mut entries, "format") {
        let words = [("text", Format::Text), ("json", Format::Json)];
        log.format = reader.word(node, &words, "unknown format", "one of text, json").unwrap_or_default();
    }
    if let Some(node) = reader.optional(&mut entries, "levels")
        && let Some(levels) = reader.string(node)
    {
        if EnvFilter::try_new(&levels).is_err() {
            let origin = reader.origin(node);
            let help = "write a level (error, warn, info, debug, trace), and levels of modules, such as \
                        \"info,sqlveil::upstream=debug\"";
            reader.error(&origin, "these are not levels", help);
        }
        log.levels = Some(levels);
    }
    reader.close(entries);
    log
}
