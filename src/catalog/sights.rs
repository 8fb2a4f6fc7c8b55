//! What each caller sees of a snapshot, kept while the snapshot is in force: a warehouse may have as many relations as a statement about
//! the catalog has bytes, and deciding on all of them anew for each such statement would cost more than the statement.
//!
//! In: a caller, the instant, how to decide. Out: the decisions of all he sees, and what follows from them. Must never: answer for
//! another caller, or beyond the instant at which time alone changes an answer. It belongs to one catalog and one set of policies.

use super::visibility::KeptScope;
use crate::identity::Caller;
use crate::policy::decision::RelationDecision;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::SystemTime;

/// Decisions that are kept, of all callers together. A decision takes some kilobytes.
const DECISIONS: u64 = 100_000;
/// What one caller counts for at most, so that the callers of a very large warehouse are kept, too.
const MOST: u64 = DECISIONS / 4;
/// Callers that are kept.
const CALLERS: usize = 1_000;

/// What one caller sees.
#[derive(Default)]
pub struct Seeing {
    /// Every registered relation that he sees.
    pub relations: Vec<Arc<RelationDecision>>,
    /// When that changes without anything else having changed; `None`: never.
    pub until: Option<SystemTime>,
    /// What follows from it.
    pub(crate) scope: KeptScope,
}

impl Seeing {
    /// These relations, until then.
    pub fn of(relations: Vec<Arc<RelationDecision>>, until: Option<SystemTime>) -> Self {
        Self { relations, until, scope: KeptScope::default() }
    }
}

/// What every caller sees who asked lately.
pub struct Sights {
    kept: Cache<Input, Arc<Seeing>, Weight>,
}

/// INVARIANT(complete-key): the whole caller; the catalog and the policies are those that the [`Sights`] belong to.
type Input = (Whose, bool);

#[derive(Clone, PartialEq, Eq)]
struct Whose(Caller);

impl std::hash::Hash for Whose {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.user.hash(state);
        self.0.project.hash(state);
    }
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Input, Arc<Seeing>> for Weight {
    fn weight(&self, _: &Input, seeing: &Arc<Seeing>) -> u64 {
        u64::try_from(seeing.relations.len()).unwrap_or(MOST).clamp(1, MOST)
    }
}

impl Default for Sights {
    fn default() -> Self {
        Self { kept: Cache::with_weighter(CALLERS, DECISIONS, Weight) }
    }
}

impl Sights {
    /// What the caller sees now; `listed`: the proxy's own relations among it. `decide` is asked when nothing is kept that still holds.
    pub fn get(&self, caller: &Caller, listed: bool, now: SystemTime, decide: impl FnOnce() -> Seeing) -> Arc<Seeing> {
        let key = (Whose(caller.clone()), listed);
        if let Some(seeing) = self.kept.get(&key).filter(|seeing| seeing.until.is_none_or(|until| now < until)) {
            return seeing;
        }
        let seeing = Arc::new(decide());
        self.kept.insert(key, Arc::clone(&seeing));
        seeing
    }
}

impl std::fmt::Debug for Sights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sights").field("kept", &self.kept.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::visibility::tests::{decision, relation};
    use crate::policy::testing::caller;
    use std::time::Duration;

    #[test]
    fn what_is_kept_is_one_callers_and_ends_when_it_changes() {
        let (sights, now) = (Sights::default(), SystemTime::UNIX_EPOCH);
        let one = decision(&relation(20000, "public", "a", &["x"]), None, &[]);
        let later = now + Duration::from_secs(5);
        let ask = |who: &str, listed, now, count: usize| {
            let decide = || Seeing::of(vec![Arc::clone(&one); count], Some(later));
            sights.get(&caller(who), listed, now, decide).relations.len()
        };
        assert_eq!(ask("ann", false, now, 1), 1);
        assert_eq!(ask("ann", false, now, 2), 1, "kept");
        assert_eq!(ask("bob", false, now, 2), 2, "another's");
        assert_eq!(ask("ann", true, now, 3), 3, "with the proxy's own");
        assert_eq!(ask("ann", false, later, 4), 4, "it does not hold any more");
        let mut other = caller("ann");
        other.purposes.insert("Audit".into());
        assert_eq!(sights.get(&other, false, now, Seeing::default).relations.len(), 0);
    }
}
