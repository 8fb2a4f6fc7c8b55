//! The snapshot every statement reads: catalog, bound policies, identities, published atomically.
//!
//! In: what `governance`, `identity` and `catalog` loaded. Out: an [`Arc<World>`] swapped whole. Must never: publish a set that did
//! not validate; the last good one stays in force.
//!
//! One world a connection: data documents belong to the connection they name, so each `connectionKey` of the configuration has a
//! [`WorldHandle`] of its own in [`Worlds`]; policies, tags, purposes, projects, grants and identities are shared by all of them.
//! A session picks its handle once, by the connection behind its database name, and calls [`WorldHandle::load`] on every statement.

mod capability;
pub mod directories;
mod documents;
mod ends;
mod load;
mod reload;
mod upkeep;
mod warehouse;
mod watch;

pub use directories::Directories;
pub use load::{ByConnection, Governed, Loaded, governed, load};
pub use reload::{Outcome, Reloader};
pub use upkeep::{Heard, Upkeep};

use crate::catalog::Catalog;
use crate::catalog::sights::Sights;
use crate::identity::{Acknowledgements, Directory};
use crate::policy::Ruleset;
use crate::policy::told::Telling;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything a decision depends on besides the caller and the statement.
pub struct World {
    /// Increases with every published change of any part.
    pub version: u64,
    /// Warehouse catalog snapshot.
    pub catalog: Arc<Catalog>,
    /// Policies bound to that catalog.
    pub ruleset: Arc<Ruleset>,
    /// Users, groups, attributes, projects.
    pub directory: Arc<Directory>,
    /// What callers have acknowledged. No part of the snapshot: it is asked anew each time.
    pub acknowledgements: Arc<Acknowledgements>,
    /// How much callers are told of policies.
    pub telling: Telling,
    /// What callers see of it all: follows from the rest.
    pub sights: Sights,
}

/// Where the world in force of one connection is found. Clones share it.
#[derive(Clone)]
pub struct WorldHandle {
    current: Arc<ArcSwap<World>>,
}

impl WorldHandle {
    /// A handle with a first world in force.
    pub fn new(world: World) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(world)) }
    }

    /// The world in force. Take it once a statement, so that everything about the statement is decided under one version.
    pub fn load(&self) -> Arc<World> {
        self.current.load_full()
    }

    /// The version of the one in force.
    pub fn version(&self) -> u64 {
        self.current.load().version
    }

    /// Puts a new world in force, atomically; its version is one more than that of the world it replaces.
    pub fn publish(&self, catalog: Arc<Catalog>, ruleset: Arc<Ruleset>, directory: Arc<Directory>) -> u64 {
        let replaced = self.current.rcu(|old| World {
            version: old.version.saturating_add(1),
            catalog: Arc::clone(&catalog),
            ruleset: Arc::clone(&ruleset),
            directory: Arc::clone(&directory),
            acknowledgements: Arc::clone(&old.acknowledgements),
            telling: old.telling,
            sights: Sights::default(),
        });
        replaced.version.saturating_add(1)
    }
}

/// The worlds of all connections, by `connectionKey`. Clones share them.
#[derive(Clone)]
pub struct Worlds {
    by_connection: Arc<BTreeMap<Arc<str>, WorldHandle>>,
}

impl Worlds {
    /// Takes a handle for each connection.
    pub fn new(by_connection: BTreeMap<Arc<str>, WorldHandle>) -> Self {
        Self { by_connection: Arc::new(by_connection) }
    }

    /// The handle of one connection.
    pub fn get(&self, connection_key: &str) -> Option<&WorldHandle> {
        self.by_connection.get(connection_key)
    }

    /// Every connection and its handle.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &WorldHandle)> {
        self.by_connection.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> WorldHandle {
        WorldHandle::new(World {
            version: 1,
            catalog: Arc::default(),
            ruleset: Arc::default(),
            directory: Arc::default(),
            acknowledgements: Arc::default(),
            telling: Telling::default(),
            sights: Sights::default(),
        })
    }

    #[test]
    fn a_publish_is_seen_by_every_clone_and_not_by_who_holds_the_old_one() {
        let handle = handle();
        let held = handle.load();
        let clone = handle.clone();
        let catalog = Catalog { version: 7, ..Catalog::default() };
        let version = handle.publish(Arc::new(catalog), Arc::default(), Arc::default());
        assert_eq!((version, clone.load().version, held.version), (2, 2, 1));
        assert_eq!((clone.load().catalog.version, held.catalog.version), (7, 0));
    }

    #[test]
    fn versions_increase_under_concurrent_publishing() {
        let handle = handle();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let before = handle.load().version;
                        assert!(handle.publish(Arc::default(), Arc::default(), Arc::default()) > before);
                    }
                });
            }
        });
        assert_eq!(handle.load().version, 401);
    }
}
