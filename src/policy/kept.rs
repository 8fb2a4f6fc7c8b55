//! Things derived from decisions, kept while the decision is: what is the same for every statement under it is made once.
//!
//! In: an [`Arc`] of a decision. Out: what was derived from that very value. Must never: answer for another decision.

use super::decision::{Access, RelationDecision};
use crate::catalog::visibility::is_system;
use crate::identity::Caller;
use crate::sql::template::memory;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

/// Values derived from decisions, by the decision's address: each entry holds the place of its decision, so that no other can take the
/// address, and not the decision itself.
///
/// Decisions of system relations may be large, and follow from what a caller sees: they have a room of their own. Those of the proxy's own
/// relations are made anew for every statement, and nothing derived from them is kept.
pub struct ByDecision<V> {
    kept: Cache<Key, Kept<V>, Weight>,
    system: Cache<Key, Kept<V>, Weight>,
}

/// A decision's address, and which of the values derived from it.
type Key = (usize, Variant);

/// Which columns of a decision's dictionary a policy view lists, in order.
pub type Listed = Arc<[bool]>;

/// Which of the values derived from a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Bits that the asker gives a meaning.
    pub form: u8,
    /// Of some of the columns; `None` = of all.
    pub listed: Option<Listed>,
}

impl From<u8> for Variant {
    fn from(form: u8) -> Self {
        Self { form, listed: None }
    }
}

/// Weighs entries by the bytes of policy they were made from: a tree takes some hundred times as much.
#[derive(Clone)]
struct Weight;

impl<V> quick_cache::Weighter<Key, Kept<V>> for Weight {
    fn weight(&self, (_, variant): &Key, kept: &Kept<V>) -> u64 {
        let listed = variant.listed.as_ref().map_or(0, |listed| listed.len());
        u64::try_from(kept.weight.saturating_add(listed)).unwrap_or(u64::MAX).saturating_add(256)
    }
}

/// Bytes of policy whose derived values are kept.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of memory that what is derived from decisions of system relations takes.
const SYSTEM_BYTES: u64 = 64 * 1024 * 1024;
/// Such values that are kept.
const SYSTEM: usize = 128;

struct Kept<V> {
    decision: Weak<RelationDecision>,
    weight: usize,
    value: Arc<V>,
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { decision: Weak::clone(&self.decision), weight: self.weight, value: Arc::clone(&self.value) }
    }
}

impl<V> ByDecision<V> {
    /// Keeps about so many values, fewer when they are large.
    pub fn new(most: usize) -> Self {
        Self {
            kept: Cache::with_weighter(most, KEPT_BYTES, Weight),
            system: Cache::with_weighter(SYSTEM, SYSTEM_BYTES, Weight),
        }
    }

    /// The value derived from `decision` in this `variant`, made now when it is not kept.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get<E>(
        &self,
        decision: &Arc<RelationDecision>,
        variant: impl Into<Variant>,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        let room = match (decision.is_of_system(), is_system(&decision.remote.schema)) {
            (false, _) => &self.kept,
            (true, true) => &self.system,
            (true, false) => return make().map(Arc::new),
        };
        let key = (Arc::as_ptr(decision) as usize, variant.into());
        if let Some(kept) = room.get(&key)
            && std::ptr::eq(kept.decision.as_ptr(), Arc::as_ptr(decision))
        {
            return Ok(kept.value);
        }
        let value = Arc::new(make()?);
        let weight = match decision.weight() {
            0 => decision.texts().map(memory).sum(),
            bytes => bytes,
        };
        room.insert(key, Kept { decision: Arc::downgrade(decision), weight, value: Arc::clone(&value) });
        Ok(value)
    }

    /// Forgets what was derived from decisions that are no more.
    pub fn prune(&self) {
        self.kept.retain(|_, kept| kept.decision.strong_count() > 0);
        self.system.retain(|_, kept| kept.decision.strong_count() > 0);
    }
}

impl<V> std::fmt::Debug for ByDecision<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByDecision").field("kept", &self.kept.len()).field("system", &self.system.len()).finish()
    }
}

/// Decisions of one ruleset, by every other input of a decision: the caller and the data source. The instant enters through
/// [`RelationDecision::valid_until`]; answers that time alone could widen are not kept.
pub(super) struct Decisions {
    kept: Cache<Input, Decision, Memory>,
}

/// Decisions that are kept, and bytes of memory that they take: with many rules to a relation each is large.
const DECISIONS: usize = 16 * 1024;
const DECISION_BYTES: u64 = 128 * 1024 * 1024;

#[derive(Clone)]
struct Decision {
    made: Arc<RelationDecision>,
    bytes: u64,
}

/// Weighs decisions by their memory.
#[derive(Clone)]
struct Memory;

impl quick_cache::Weighter<Input, Decision> for Memory {
    fn weight(&self, _: &Input, kept: &Decision) -> u64 {
        kept.bytes
    }
}

#[derive(PartialEq, Eq, Clone)]
struct Input {
    source: usize,
    caller: Caller,
}

struct Borrowed<'a> {
    source: usize,
    caller: &'a Caller,
}

impl Hash for Input {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrowed { source: self.source, caller: &self.caller }.hash(state);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.caller.user.hash(state);
        self.caller.project.hash(state);
    }
}

impl Equivalent<Input> for Borrowed<'_> {
    fn equivalent(&self, key: &Input) -> bool {
        self.source == key.source && *self.caller == key.caller
    }
}

impl Default for Decisions {
    fn default() -> Self {
        Self { kept: Cache::with_weighter(DECISIONS, DECISION_BYTES, Memory) }
    }
}

impl Decisions {
    /// The decision for a data source (by its index) and a caller, made now when none is kept or the kept one has run out.
    pub fn get(&self, source: usize, caller: &Caller, now: SystemTime, make: impl FnOnce() -> Access) -> Access {
        if let Some(Decision { made: decision, .. }) = self.kept.get(&Borrowed { source, caller })
            && decision.valid_until.is_none_or(|until| now < until)
        {
            return Access::Visible(decision);
        }
        let access = make();
        if let Access::Visible(decision) = &access {
            let kept = Decision { made: Arc::clone(decision), bytes: decision.bytes() };
            self.kept.insert(Input { source, caller: caller.clone() }, kept);
        }
        access
    }
}
