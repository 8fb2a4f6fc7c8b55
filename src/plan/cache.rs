//! Plans kept by everything that made them.
//!
//! INVARIANT(complete-key): the key is the statement's whole text and every field of [`PlanInputs`]; `World` enters by its version,
//! which changes with every publish of catalog, policies or identities.

use super::variant::Known;
use super::{Plan, PlanInputs, SessionView};
use crate::catalog::Catalog;
use crate::identity::Caller;
use crate::types::Oid;
use crate::world::World;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Every input of a plan.
#[derive(Clone)]
struct Key {
    /// The statement; of a [`Known`], its skeleton.
    text: Box<str>,
    param_types: Vec<Oid>,
    caller: Arc<Caller>,
    session: Arc<SessionView>,
    /// The session's process id, of plans that hold it.
    pid: Option<i32>,
    world: (usize, u64),
}

/// What is asked for: a key that is not made before it is kept.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    text: &'a str,
    inputs: &'a PlanInputs,
    pid: Option<i32>,
}

impl<'a> Wanted<'a> {
    /// A plan that does not hold the session's process id.
    pub fn new(text: &'a str, inputs: &'a PlanInputs) -> Self {
        Self { text, inputs, pid: None }
    }

    /// A plan that does.
    fn with_pid(self) -> Self {
        Self { pid: Some(self.inputs.backend_pid), ..self }
    }

    fn key(&self) -> Key {
        let Self { text, inputs, pid } = *self;
        // Destructured so that a new input of a plan cannot be forgotten here.
        let PlanInputs { param_types, caller, world, session, backend_pid: _ } = inputs;
        Key {
            text: text.into(),
            param_types: param_types.clone(),
            caller: Arc::clone(caller),
            session: Arc::clone(session),
            pid,
            // Several warehouses count their versions apart: the snapshot's own catalog tells them apart.
            world: identity(world),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let Self { text, param_types, caller, session, pid, world } = self;
        (text, param_types, pid, world) == (&other.text, &other.param_types, &other.pid, &other.world)
            && whose((caller, session), (&other.caller, &other.session))
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let PlanInputs { param_types, caller, world, session, backend_pid: _ } = self.inputs;
        (self.text, param_types, self.pid, identity(world)) == (&*key.text, &key.param_types, key.pid, key.world)
            && whose((caller, session), (&key.caller, &key.session))
    }
}

/// Whether it is the same caller in a session like the other.
fn whose(one: (&Arc<Caller>, &Arc<SessionView>), other: (&Arc<Caller>, &Arc<SessionView>)) -> bool {
    #[cfg(feature = "disarm")]
    if crate::disarm::is_off(crate::disarm::Defence::Key) {
        return true;
    }
    one == other
}

/// What keys are spread by; the rest of them is compared.
fn spread<H: Hasher>(state: &mut H, text: &str, user: &str, world: (usize, u64)) {
    text.hash(state);
    #[cfg(not(feature = "disarm"))]
    user.hash(state);
    #[cfg(feature = "disarm")]
    let _ = user;
    world.hash(state);
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        spread(state, &self.text, &self.caller.user, self.world);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        spread(state, self.text, &self.inputs.caller.user, identity(&self.inputs.world));
    }
}

/// What tells a snapshot from every other that is alive.
pub(super) fn identity(world: &World) -> (usize, u64) {
    (Arc::as_ptr(&world.catalog) as usize, world.version)
}

/// What is kept; the catalog is held so that its address cannot be given to another while the entry lives. No more of the world is: plans of
/// yesterday's directories are never asked for again, and should not keep those directories.
#[derive(Clone)]
struct Entry<T> {
    kept: T,
    bytes: usize,
    _catalog: Arc<Catalog>,
}

/// Weighs entries by the memory they take, about: their texts, and what stands around them.
#[derive(Clone)]
struct Bytes;

impl<T> quick_cache::Weighter<Key, Entry<T>> for Bytes {
    fn weight(&self, key: &Key, entry: &Entry<T>) -> u64 {
        let size = key.text.len().saturating_add(entry.bytes).saturating_add(size_of::<(Key, Entry<T>)>());
        // The allocator's own, and what the cache keeps of an entry.
        u64::try_from(size).unwrap_or(u64::MAX).saturating_add(256)
    }
}

/// Plans, and what is known of statements that differ in literals; bounded in bytes.
pub(super) struct PlanCache {
    plans: Cache<Key, Entry<Arc<Plan>>, Bytes>,
    known: Cache<Key, Entry<Known>, Bytes>,
}

impl PlanCache {
    /// A cache that takes about so many bytes of memory for each of the two.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2048).unwrap_or(1024).max(16);
        Self { plans: Cache::with_weighter(items, bytes, Bytes), known: Cache::with_weighter(items, bytes, Bytes) }
    }

    /// A plan whose decision still holds.
    pub fn get(&self, wanted: &Wanted<'_>) -> Option<Arc<Plan>> {
        let found = self.plans.get(wanted).or_else(|| self.plans.get(&wanted.with_pid()))?;
        found.kept.in_time().then_some(found.kept)
    }

    /// What is known of statements with a skeleton, when it still holds.
    pub fn known(&self, wanted: &Wanted<'_>) -> Option<Known> {
        let found = self.known.get(wanted)?.kept;
        match &found {
            Known::Form(form) if !form.example().in_time() => None,
            _ => Some(found),
        }
    }

    /// How many entries there are, and the bytes they count as.
    pub fn size(&self) -> (usize, u64) {
        (self.plans.len() + self.known.len(), self.plans.weight() + self.known.weight())
    }

    /// Keeps the plans of these worlds alone.
    pub fn keep_only(&self, worlds: &[(usize, u64)]) {
        self.plans.retain(|key, _| worlds.contains(&key.world));
        self.known.retain(|key, _| worlds.contains(&key.world));
    }

    /// Keeps a plan.
    pub fn put(&self, wanted: &Wanted<'_>, plan: Arc<Plan>) {
        let key = if plan.holds_pid { wanted.with_pid().key() } else { wanted.key() };
        let bytes = plan.memory();
        self.plans.insert(key, Entry { kept: plan, bytes, _catalog: Arc::clone(&wanted.inputs.world.catalog) });
    }

    /// Keeps what is known of statements with a skeleton. None of it holds a process id.
    pub fn learn(&self, wanted: &Wanted<'_>, known: Known) {
        let bytes = match &known {
            Known::Form(form) => form.memory(),
            Known::Partly(open) => open.len(),
            Known::Tried(_) | Known::Nothing => 0,
        };
        let entry = Entry { kept: known, bytes, _catalog: Arc::clone(&wanted.inputs.world.catalog) };
        self.known.insert(wanted.key(), entry);
    }
}

impl std::fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanCache").field("plans", &self.plans.len()).field("known", &self.known.len()).finish()
    }
}
