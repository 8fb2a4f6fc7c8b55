//! What each caller sees of a snapshot, kept while the snapshot is in force: a warehouse may have as many relations as a statement about
//! the catalog has bytes, and deciding on all of them anew for each such statement would cost more than the statement.
//!
//! In: a caller, the instant, how to decide. Out: the decisions of all he sees, and what follows from them. Must never: answer for
//! another caller, or beyond the instant at which time alone changes an answer. It belongs to one catalog and one set of policies.

use super::oids::Mention;
use super::reg::{List, Source};
use super::visibility::KeptScope;
use crate::identity::Caller;
use crate::policy::decision::RelationDecision;
use crate::sql::template::{self, Template};
use crate::types::QualifiedName;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Decisions that are kept, of all callers together. A decision takes some kilobytes.
const DECISIONS: u64 = 100_000;
/// What one caller counts for at most, so that the callers of a very large warehouse are kept, too.
const MOST: u64 = DECISIONS / 4;
/// Callers that are kept.
const CALLERS: usize = 1_000;

/// Bytes that texts made of what callers see take with their trees, of all callers together.
const BYTES: u64 = 64 * 1024 * 1024;
/// Texts that are kept.
const TEXTS: usize = 4_000;

/// What one caller sees.
pub struct Seeing {
    /// Every registered relation that he sees.
    pub relations: Vec<Arc<RelationDecision>>,
    /// When that changes without anything else having changed; `None`: never.
    pub until: Option<SystemTime>,
    /// What follows from it.
    pub(crate) scope: KeptScope,
    /// No other has it.
    number: u64,
}

impl Default for Seeing {
    fn default() -> Self {
        Self::of(Vec::new(), None)
    }
}

impl Seeing {
    /// These relations, until then.
    pub fn of(relations: Vec<Arc<RelationDecision>>, until: Option<SystemTime>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { relations, until, scope: KeptScope::default(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// What every caller sees who asked lately.
pub struct Sights {
    kept: Cache<Input, Arc<Seeing>, Weight>,
    made: Cache<MadeOf, Made, Bytes>,
}

/// What is asked of a caller's sight and answered by a text that any of his statements may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asked {
    /// How a relation of the system is seen.
    Relation(QualifiedName),
    /// What stands for a call.
    Call {
        /// The function.
        name: String,
        /// How many arguments it has.
        arguments: usize,
        /// How often they may be mentioned.
        mention: Mention,
        /// What its result is cast to.
        shown: Option<&'static str>,
    },
    /// What stands for a cast to an OID alias type.
    Cast {
        /// The type.
        alias: String,
        /// What is cast.
        source: Source,
        /// What comes of it.
        gives: Gives,
    },
}

/// What comes of a cast to an OID alias type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gives {
    /// Its text.
    Text,
    /// An OID.
    Oid,
    /// Texts, of such a list.
    Texts(List),
}

/// Where a session looks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) database: String,
    pub(crate) search_path: Vec<String>,
}

/// INVARIANT(complete-key): what the caller sees, by the number that no other has; the session's database and path; what is asked. A session with
/// temporary tables of its own asks nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MadeOf {
    seeing: u64,
    place: Arc<Place>,
    asked: Asked,
}

#[derive(Clone)]
enum Made {
    Decision(Arc<RelationDecision>),
    Text(Template),
}

/// Weighs by memory.
#[derive(Clone)]
struct Bytes;

impl Weighter<MadeOf, Made> for Bytes {
    fn weight(&self, _: &MadeOf, made: &Made) -> u64 {
        let bytes = match made {
            // What is parsed of it is kept elsewhere.
            Made::Decision(decision) => decision.texts().map(str::len).sum::<usize>() + decision.columns.len() * 256,
            Made::Text(template) => template::memory(template.text()),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(512)
    }
}

/// What was made of one caller's sight.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a> {
    sights: &'a Sights,
    seeing: u64,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(sights: &'a Sights, seeing: &Seeing) -> Self {
        Self { sights, seeing: seeing.number }
    }

    fn key(&self, place: &Arc<Place>, asked: Asked) -> MadeOf {
        MadeOf { seeing: self.seeing, place: Arc::clone(place), asked }
    }

    /// The text for what is asked, made now when none is kept.
    pub(crate) fn text(
        &self,
        place: &Arc<Place>,
        asked: Asked,
        make: impl FnOnce() -> Option<String>,
    ) -> Option<Template> {
        let key = self.key(place, asked);
        if let Some(Made::Text(template)) = self.sights.made.get(&key) {
            return Some(template);
        }
        let template = Template::from(make()?);
        self.sights.made.insert(key, Made::Text(template.clone()));
        Some(template)
    }

    /// How a relation of the system is seen, decided now when that is not kept.
    pub(crate) fn decision(
        &self,
        place: &Arc<Place>,
        relation: &QualifiedName,
        make: impl FnOnce() -> Option<RelationDecision>,
    ) -> Option<Arc<RelationDecision>> {
        let key = self.key(place, Asked::Relation(relation.clone()));
        if let Some(Made::Decision(decision)) = self.sights.made.get(&key) {
            return Some(decision);
        }
        let decision = Arc::new(make()?);
        self.sights.made.insert(key, Made::Decision(Arc::clone(&decision)));
        Some(decision)
    }
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

impl Weighter<Input, Arc<Seeing>> for Weight {
    fn weight(&self, _: &Input, seeing: &Arc<Seeing>) -> u64 {
        u64::try_from(seeing.relations.len()).unwrap_or(MOST).clamp(1, MOST)
    }
}

impl Default for Sights {
    fn default() -> Self {
        Self { kept: whole(CALLERS, DECISIONS, Weight), made: whole(TEXTS, BYTES, Bytes) }
    }
}

/// A cache whose bound is for all its entries together: each may be as heavy as that.
fn whole<K: Eq + std::hash::Hash, V: Clone, W: Weighter<K, V> + Clone>(
    entries: usize,
    weight: u64,
    weighter: W,
) -> Cache<K, V, W> {
    // Only what is missing is refused.
    let options = OptionsBuilder::new().shards(1).estimated_items_capacity(entries).weight_capacity(weight).build();
    match options {
        Ok(options) => {
            Cache::with_options(options, weighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        }
        Err(_) => Cache::with_weighter(entries, weight, weighter),
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
    use crate::catalog::Visibility;
    use crate::catalog::visibility::tests::{catalog, decision, relation};
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

    #[test]
    fn a_caller_of_a_large_warehouse_is_kept() {
        let (sights, now) = (Sights::default(), SystemTime::UNIX_EPOCH);
        let one = decision(&relation(20000, "public", "a", &["x"]), None, &[]);
        let many = usize::try_from(DECISIONS).unwrap();
        for asked in 1..=3 {
            let seeing = sights.get(&caller("ann"), false, now, || {
                assert_eq!(asked, 1, "decided again");
                Seeing::of(vec![Arc::clone(&one); many], None)
            });
            assert_eq!(seeing.relations.len(), many);
        }
    }

    #[test]
    fn what_is_made_is_of_one_sight_and_one_place() {
        let catalog = catalog(vec![]);
        let sights = Sights::default();
        let (ann, bob) = (Seeing::default(), Seeing::default());
        let (one, other) = (["one".to_owned()], ["other".to_owned()]);
        let ask = |seeing: &Seeing, database: &str, path: &[String], name: &str, text: &str| {
            let v = Visibility::new(&catalog, "u", database, path, &[]).answering(Answers::new(&sights, seeing));
            let asked = Asked::Cast { alias: name.to_owned(), source: Source::Any, gives: Gives::Text };
            v.template(asked, || Some(text.to_owned())).unwrap().text().to_owned()
        };
        assert_eq!(ask(&ann, "db", &one, "regclass", "1"), "1");
        assert_eq!(ask(&ann, "db", &one, "regclass", "2"), "1", "kept");
        assert_eq!(ask(&bob, "db", &one, "regclass", "2"), "2", "another sight");
        assert_eq!(ask(&ann, "db", &other, "regclass", "3"), "3", "another path");
        assert_eq!(ask(&ann, "other", &one, "regclass", "4"), "4", "another name of the database");
        assert_eq!(ask(&ann, "db", &one, "regtype", "5"), "5", "something else");
        let long = "'".to_owned() + &"x".repeat(8 << 20) + "'";
        assert_eq!(ask(&ann, "db", &one, "long", &long), long);
        assert_eq!(ask(&ann, "db", &one, "long", ""), long, "large ones are kept, too");
    }
}
