//! What administrators do with a running proxy, whatever way they come.
//!
//! In: a question or an order. Out: what is known, or what came of it. Must never: show what only a session may know: statements are told
//! without their literals.

use super::connection::Shared;
use super::drain::{Drain, Phase};
use super::eviction::Seen;
use crate::audit;
use crate::config::audit::Mode;
use crate::config::{Config, Shutdown};
use crate::telemetry::{self, Telemetry};
use crate::upstream;
use crate::world::{Directories, Outcome, Reloader, Upkeep, World};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A running proxy, for whoever administers it. Clones are of the same.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) drain: Drain,
}

/// Whether clients should be sent here, and what is amiss, in words of a fixed list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// They should.
    pub ready: bool,
    /// Why not: `draining`, `warehouse_down` (no warehouse answers), `directory_stale` (no directory has answered for its grace time), `audit_unwritable`
    /// (and records are required).
    pub reasons: Vec<&'static str>,
    /// What some clients will notice: `warehouse_down`, `directory_stale` (some), `audit_unwritable`, `documents_rejected`.
    pub degraded: Vec<&'static str>,
}

/// What came of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// There is no such session.
    Unknown,
    /// It has no session of the warehouse: there is nothing to cancel.
    Nothing,
    /// The warehouse was told.
    Delivered,
    /// The warehouse could not be told.
    Failed,
}

impl Handle {
    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// Takes down what an administrator ordered, or tried to see.
    pub fn record(&self, request: &str, client: Option<SocketAddr>, status: u16) {
        // Whoever reaches the address may be refused as often as he likes; one a second is told.
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if status >= 400 && self.shared.refused_orders.swap(second, Ordering::Relaxed) == second {
            return;
        }
        audit::administered(&self.shared.trail, request, client, status);
    }

    /// Where things are counted.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.shared.telemetry
    }

    /// The metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// When they cannot be written down: a defect.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        telemetry::render(self.shared.telemetry.sources())
    }

    /// How the worlds are kept.
    pub fn upkeep(&self) -> &Arc<Upkeep> {
        self.reloader.upkeep()
    }

    /// Whether clients should be sent here.
    pub fn readiness(&self) -> Readiness {
        let (mut reasons, mut degraded) = (Vec::new(), Vec::new());
        if self.drain.phase() > Phase::Serving {
            reasons.push("draining");
        }
        let mut amiss = |word, some: bool, all: bool| {
            if all {
                reasons.push(word);
            } else if some {
                degraded.push(word);
            }
        };
        let connections = self.upkeep().connections();
        let down = connections.iter().filter(|heard| !heard.up).count();
        amiss("warehouse_down", down > 0, down == connections.len());
        let directories = self.shared.directories.standings();
        let stale = directories.iter().filter(|standing| standing.stale).count();
        amiss("directory_stale", stale > 0, stale > 0 && stale == directories.len());
        let unwritable = self.shared.trail.state().unwritable;
        let required = self.config().audit.as_ref().is_some_and(|audit| audit.mode == Mode::Required);
        amiss("audit_unwritable", unwritable, unwritable && required);
        if self.upkeep().is_rejected() {
            degraded.push("documents_rejected");
        }
        Readiness { ready: reasons.is_empty(), reasons, degraded }
    }

    /// The live sessions, each with what it does now.
    pub async fn sessions(&self) -> Vec<Seen> {
        self.shared.eviction.seen().await
    }

    /// Cancels what a session is doing.
    pub async fn cancel(&self, session: u64) -> Cancelled {
        let Some(pid) = self.shared.eviction.pid(session) else { return Cancelled::Unknown };
        let Some(delivery) = self.shared.keys.target_of(pid) else { return Cancelled::Nothing };
        match upstream::cancel(&delivery.target).await {
            Ok(()) => Cancelled::Delivered,
            Err(_) => Cancelled::Failed,
        }
    }

    /// Ends a session as soon as it has finished what it is doing; `at_once` cancels that. False: there is no such session.
    pub async fn end(&self, session: u64, at_once: bool) -> bool {
        let found = self.shared.eviction.end(session);
        if found && at_once {
            self.cancel(session).await;
        }
        found
    }

    /// Forgets every plan; gives how many entries there were.
    pub fn flush(&self) -> usize {
        let before = self.shared.planner.counts().entries;
        self.shared.planner.keep_only(std::iter::empty());
        before
    }

    /// Reloads governance and identities, and says what came of it.
    pub async fn reload(&self) -> Outcome {
        self.reloader.reload_and_wait().await
    }

    /// Begins the end of the proxy, as the configuration says or within another deadline.
    pub fn drain(&self, deadline: Option<Duration>) {
        let shutdown = self.shared.config.shutdown;
        self.drain.begin(Shutdown { deadline: deadline.unwrap_or(shutdown.deadline), ..shutdown });
    }

    /// The world in force behind a database name; without a name, the only one there is.
    pub fn world(&self, database: Option<&str>) -> Option<Arc<World>> {
        match database {
            Some(name) => {
                let connection = self.shared.config.connection_of(name)?;
                self.shared.worlds.get(&connection.key).map(|handle| handle.load())
            }
            None => {
                let mut worlds = self.shared.worlds.iter();
                let (_, handle) = worlds.next()?;
                worlds.next().is_none().then(|| handle.load())
            }
        }
    }

    /// Who knows more of users.
    pub fn directories(&self) -> &Arc<Directories> {
        &self.shared.directories
    }
}
