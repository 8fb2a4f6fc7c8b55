//! How the worlds are kept: what came of reloads, and when each warehouse was last heard.
//!
//! In: what the keeper did. Out: numbers, for metrics and for readiness. Must never: hold a text of a document or of a problem.

use super::documents::Fingerprint;
use crate::config::Config;
use crate::telemetry::{Histogram, Reading};
use crate::types::hex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// What is known of the keeping of all worlds.
#[derive(Debug, Default)]
pub struct Upkeep {
    published: AtomicU64,
    refused: AtomicU64,
    /// Milliseconds since 1970, of the last set that was published.
    good: AtomicU64,
    /// The last set that was looked at is not in force.
    rejected: AtomicBool,
    fingerprint: watch::Sender<Fingerprint>,
    readings: Histogram,
    legs: BTreeMap<Arc<str>, Leg>,
}

#[derive(Debug, Default)]
struct Leg {
    up: AtomicBool,
    /// Milliseconds since 1970 when the catalog was last known to be current.
    heard: AtomicU64,
}

/// The state of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its key.
    pub connection: Arc<str>,
    /// Whether the warehouse could be asked the last time.
    pub up: bool,
    /// When it was last heard.
    pub at: SystemTime,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

impl Upkeep {
    /// For the connections of a configuration, the first set of documents being in force.
    pub(super) fn new(config: &Config, fingerprint: Fingerprint) -> Self {
        let leg = || Leg { up: AtomicBool::new(true), heard: AtomicU64::new(now()) };
        Self {
            good: AtomicU64::new(now()),
            fingerprint: watch::Sender::new(fingerprint),
            legs: config.connections.keys().map(|key| (Arc::clone(key), leg())).collect(),
            ..Self::default()
        }
    }

    /// A set of documents is in force.
    pub(super) fn published(&self, fingerprint: Fingerprint) {
        self.published.fetch_add(1, Relaxed);
        self.good.store(now(), Relaxed);
        self.rejected.store(false, Relaxed);
        self.fingerprint.send_replace(fingerprint);
    }

    /// A set of documents was refused.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
        self.rejected.store(true, Relaxed);
    }

    /// The catalogs were read, or it was tried.
    pub(super) fn read(&self, took: Duration) {
        self.readings.observe(took);
    }

    /// Whether a warehouse answered.
    pub(super) fn heard(&self, connection: &str, up: bool) {
        if let Some(leg) = self.legs.get(connection) {
            leg.up.store(up, Relaxed);
            if up {
                leg.heard.store(now(), Relaxed);
            }
        }
    }

    /// Reloads so far: published, refused.
    pub fn reloads(&self) -> (u64, u64) {
        (self.published.load(Relaxed), self.refused.load(Relaxed))
    }

    /// When the set in force was published.
    pub fn last_good(&self) -> SystemTime {
        time(self.good.load(Relaxed))
    }

    /// Whether the last set that was looked at is not in force.
    pub fn is_rejected(&self) -> bool {
        self.rejected.load(Relaxed)
    }

    /// The digest of the documents in force, as hexadecimal digits: equal on proxies that enforce the same.
    pub fn documents(&self) -> String {
        hex(self.fingerprint.borrow().iter().copied().take(8))
    }

    /// Hears of each set of documents that is published from now on.
    pub fn publishing(&self) -> watch::Receiver<Fingerprint> {
        self.fingerprint.subscribe()
    }

    /// How long it took to read the catalogs.
    pub fn readings(&self) -> Reading {
        self.readings.read()
    }

    /// The connections.
    pub fn connections(&self) -> Vec<Heard> {
        let heard = |(connection, leg): (&Arc<str>, &Leg)| Heard {
            connection: Arc::clone(connection),
            up: leg.up.load(Relaxed),
            at: time(leg.heard.load(Relaxed)),
        };
        self.legs.iter().map(heard).collect()
    }
}
