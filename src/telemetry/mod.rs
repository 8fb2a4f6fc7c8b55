//! What the proxy counts and times of itself: primitives for the rooms that do the work, and where others say what they have counted.
//!
//! In: events, as they happen, by relaxed atomics alone. Out: [`Samples`], written when somebody asks. Labels are words of a fixed list, or
//! names of the configuration. Must never: take a lock or allocate where a statement passes, or let a text, a name of a user or a value
//! become a label.

mod class;
mod histogram;
mod kind;
mod process;
mod samples;
pub mod stages;
mod tally;
pub mod traces;
mod traffic;
mod words;

pub use class::CLASSES;
pub use histogram::{Histogram, Reading};
pub use kind::Kind;
pub use process::Process;
pub use samples::{Labels, MEDIA_TYPE, Samples, Source, render};
pub use stages::{Stage, Stages};
pub use tally::{Tallies, Tally, on_lane};
pub use traffic::{Bytes, Traffic};
pub use words::{Words, reason};

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

/// Everything that is counted once for a proxy, and whoever else has something to tell.
#[derive(Default)]
pub struct Telemetry {
    /// What statements come to, lane by lane.
    pub tallies: Tallies,
    /// Logins by method and result.
    pub logins: Words<(&'static str, &'static str)>,
    /// Connections that became no session, by reason.
    pub refusals: Words,
    /// Cancel requests by what came of them.
    pub cancels: Words,
    /// Sessions that were begun.
    pub opened: AtomicU64,
    sources: RwLock<Vec<Arc<dyn Source>>>,
}

impl Telemetry {
    /// For so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self { tallies: Tallies::new(lanes), ..Self::default() }
    }

    /// Adds what has samples of its own; it is asked at every scrape from now on, in the order of adding.
    pub fn add(&self, source: Arc<dyn Source>) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Whoever was added.
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
