//! What the trail tells of itself when metrics are asked for.
//!
//! In: the trail and its sinks. Out: samples. Must never: wait for a disk or a sink.

use super::follow::Handed;
use super::trail::Trail;
use crate::telemetry::{Labels, Samples, Source};
use std::sync::Arc;

/// The trail as a source of samples.
pub struct Trailed {
    /// The trail.
    pub trail: Trail,
    /// What its sinks were handed, by name.
    pub sinks: Vec<(&'static str, Arc<Handed>)>,
}

impl Source for Trailed {
    fn tell(&self, samples: &mut Samples<'_>) {
        if !self.trail.is_on() {
            return;
        }
        let state = self.trail.state();
        samples.counter("sqlveil_audit_records_total", "Audit records written", &[(&[], state.written)]);
        let help = "Audit records dropped because there was no room for them";
        samples.counter("sqlveil_audit_records_dropped_total", help, &[(&[], state.dropped)]);
        let help = "Audit records that are not written yet";
        samples.gauge("sqlveil_audit_queue_bytes", help, &[(&[], state.queued as f64)]);
        let help = "1 while the audit folder can be written";
        samples.gauge("sqlveil_audit_writable", help, &[(&[], f64::from(u8::from(!state.unwritable)))]);
        let labels: Vec<[(&'static str, &str); 1]> = self.sinks.iter().map(|(name, _)| [("sink", *name)]).collect();
        let each =
            || labels.iter().map(|labels| -> Labels<'_> { labels }).zip(self.sinks.iter().map(|(_, handed)| handed));
        let bytes: Vec<_> = each().map(|(labels, handed)| (labels, handed.bytes())).collect();
        samples.counter("sqlveil_audit_sink_bytes_total", "Bytes of audit records that a sink has taken", &bytes);
        let taking: Vec<_> = each().map(|(labels, handed)| (labels, f64::from(u8::from(!handed.fails())))).collect();
        samples.gauge("sqlveil_audit_sink_taking", "1 while a sink takes audit records", &taking);
    }
}
