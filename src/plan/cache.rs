//! Plans kept by everything that made them.
//!
//! INVARIANT(complete-key): the key is the statement's whole text and every field of [`PlanInputs`]; `World` enters by its version,
//! which changes with every publish of catalog, policies or identities.

use super::{Plan, PlanInputs, SessionView};
use crate::catalog::Catalog;
use crate::identity::Caller;
use crate::types::Oid;
use crate::world::World;
use quick_cache::sync::Cache;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

/// Every input of a plan.
#[derive(Clone)]
#[cfg_attr(not(feature = "disarm"), derive(PartialEq, Eq))]
pub(super) struct Key {
    sql: Arc<str>,
    param_types: Vec<Oid>,
    caller: Arc<Caller>,
    session: Shared,
    /// The session's process id, of plans that hold it.
    pid: Option<i32>,
    world: (usize, u64),
}

/// A session as far as its process id does not matter.
#[derive(Clone)]
struct Shared(Arc<SessionView>);

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.shared() == other.0.shared()
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.shared().hash(state);
    }
}

impl Key {
    /// The key of a plan that holds the session's process id.
    pub fn with_pid(self) -> Self {
        Self { pid: Some(self.session.0.backend_pid), ..self }
    }

    /// The key of a plan that does not.
    pub fn new(sql: &str, inputs: &PlanInputs) -> Self {
        // Destructured so that a new input of a plan cannot be forgotten here.
        let PlanInputs { param_types, caller, world, session } = inputs;
        Self {
            sql: Arc::from(sql),
            param_types: param_types.clone(),
            caller: Arc::clone(caller),
            session: Shared(Arc::clone(session)),
            pid: None,
            // Several warehouses count their versions apart: the snapshot's own catalog tells them apart.
            world: identity(world),
        }
    }
}

/// What tells a snapshot from every other that is alive.
pub(super) fn identity(world: &World) -> (usize, u64) {
    (Arc::as_ptr(&world.catalog) as usize, world.version)
}

#[cfg(feature = "disarm")]
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let Self { sql, param_types, caller, session, pid, world } = self;
        let whose = (caller, session) == (&other.caller, &other.session);
        (whose || crate::disarm::is_off(crate::disarm::Defence::Key))
            && (sql, param_types, pid, world) == (&other.sql, &other.param_types, &other.pid, &other.world)
    }
}

#[cfg(feature = "disarm")]
impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sql.hash(state);
        self.param_types.hash(state);
        #[cfg(not(feature = "disarm"))]
        {
            self.caller.user.hash(state);
            self.session.hash(state);
        }
        self.pid.hash(state);
        self.world.hash(state);
    }
}

/// A kept plan; the catalog is held so that its address cannot be given to another while the entry lives. No more of the world is: plans of
/// yesterday's directories are never asked for again, and should not keep those directories.
#[derive(Clone)]
struct Entry {
    plan: Arc<Plan>,
    _catalog: Arc<Catalog>,
}

/// Weighs entries by the bytes of their texts.
#[derive(Clone)]
struct Bytes;

impl quick_cache::Weighter<Key, Entry> for Bytes {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let size = key.sql.len().saturating_add(entry.plan.sealed.as_str().len());
        u64::try_from(size).unwrap_or(u64::MAX).saturating_add(512)
    }
}

/// The cache, bounded in bytes.
pub(super) struct PlanCache {
    plans: Cache<Key, Entry, Bytes>,
}

impl PlanCache {
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2048).unwrap_or(1024).max(16);
        Self { plans: Cache::with_weighter(items, bytes, Bytes) }
    }

    /// A plan whose decision still holds at `now`.
    pub fn get(&self, key: &Key, now: SystemTime) -> Option<Arc<Plan>> {
        let entry = self.plans.get(key)?;
        match entry.plan.valid_until {
            Some(until) if now >= until => None,
            _ => Some(entry.plan),
        }
    }

    /// Keeps the plans of these worlds alone.
    pub fn keep_only(&self, worlds: &[(usize, u64)]) {
        self.plans.retain(|key, _| worlds.contains(&key.world));
    }

    pub fn put(&self, key: Key, plan: Arc<Plan>, inputs: &PlanInputs) {
        let key = if plan.holds_pid { key.with_pid() } else { key };
        self.plans.insert(key, Entry { plan, _catalog: Arc::clone(&inputs.world.catalog) });
    }
}

impl std::fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanCache").field("plans", &self.plans.len()).finish()
    }
}
