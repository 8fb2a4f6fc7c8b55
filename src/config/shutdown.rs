//! `shutdown`: how long the proxy takes to end.
//!
//! In: the section of the configuration. Out: [`Shutdown`]. Must never: allow an end that does not come.

use super::reader::{Entries, Reader};
use std::time::Duration;

/// How long the proxy takes to end, from the signal on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Sessions go on as ever for so long: who leaves by himself meanwhile notices nothing.
    pub linger: Duration,
    /// Open transactions are ended after so long. Never shorter than `linger`.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { linger: Duration::ZERO, deadline: Duration::from_secs(20) }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader, top: &mut Entries<'_>) -> Shutdown {
    let mut shutdown = Shutdown::default();
    let Some(mut entries) = reader.optional(top, "shutdown").and_then(|node| reader.map(node)) else { return shutdown };
    if let Some(deadline) = reader.optional(&mut entries, "deadline").and_then(|node| reader.duration(node)) {
        shutdown.deadline = deadline;
    }
    if let Some(node) = reader.optional(&mut entries, "linger")
        && let Some(linger) = reader.duration(node)
    {
        if linger > shutdown.deadline {
            let origin = reader.origin(node);
            reader.error(
                &origin,
                "`linger` is above `deadline`",
                "both count from the signal: make `deadline` the longer one",
            );
        }
        shutdown.linger = linger;
    }
    reader.close(entries);
    shutdown
}
