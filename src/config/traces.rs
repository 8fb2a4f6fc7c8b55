//! `telemetry`: where traces are sent.
//!
//! In: the section of the configuration. Out: [`Traces`]. Must never: send traces when nobody has said where.

use super::audit::{self, Otlp};
use super::load::Context;
use super::reader::{Entries, Reader};

/// Where traces are sent, and of how many statements.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The collector.
    pub otlp: Otlp,
    /// Of the statements whose caller does not say whether he traces, this share is traced: 0 to 1.
    pub ratio: f64,
}

/// Reads the section; the outer `None` when something is wrong with it.
pub(super) fn read(context: &Context<'_>, reader: &mut Reader, top: &mut Entries<'_>) -> Option<Option<Traces>> {
    let Some(node) = reader.optional(top, "telemetry") else { return Some(None) };
    let mut entries = reader.map(node)?;
    let otlp = reader.required(&mut entries, "otlp").and_then(|node| audit::otlp(context, reader, node, "traces"));
    let ratio = reader.optional(&mut entries, "ratio").map(|node| {
        let ratio = reader.string(node)?.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            let origin = reader.origin(node);
            reader.error(&origin, "a share from 0 to 1 is expected here", "write for example 0.01");
        }
        ratio
    });
    reader.close(entries);
    Some(Some(Traces { otlp: otlp?, ratio: ratio.unwrap_or(Some(0.01))? }))
}
