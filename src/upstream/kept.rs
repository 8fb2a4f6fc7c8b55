//! What is in a session of the warehouse that is handed from client to client.
//!
//! In: what its holders did. Out: what has to be done before the next one's first statement, and the names under which it holds prepared
//! statements. Must never: call a statement the same that differs in a byte of its text, in a parameter type, in the settings it was
//! prepared under or in the catalog it was decided under: what was prepared for one caller holds his policies.

use super::message::OWN_NAMES;
use super::repeats::Repeats;
use crate::seal::Sealed;
use crate::types::Oid;
use ahash::AHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most prepared statements that one session of the warehouse holds. As PgBouncer's `max_prepared_statements`.
const STATEMENTS: usize = 200;

/// Settings that a session has, by name: the statements that give them to another.
pub type Given = Arc<BTreeMap<String, Sealed>>;

/// ParameterStatus values by name.
pub type Reported = Arc<BTreeMap<Box<str>, Box<str>>>;

/// Name of a prepared statement in the warehouse that belongs to no client alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held(Arc<str>);

impl Held {
    /// One that is given up again at once.
    pub fn spare() -> Self {
        Self(format!("{OWN_NAMES}shared spare").into())
    }

    /// One that has numbers in place of its parameters each time it is sent.
    pub(super) fn repeated(number: u64) -> Self {
        Self(format!("{OWN_NAMES}{number}").into())
    }

    /// As the warehouse knows it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What may be left in a session, settings and prepared statements aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Traces {
    /// Nothing.
    #[default]
    None,
    /// Temporary tables, states of sequences, locks, settings that functions made.
    Some,
    /// Prepared statements that nobody knows the name of, too.
    All,
}

/// What a text is prepared under, besides its parameter types.
#[derive(Debug, Clone)]
pub struct Under {
    /// Version of the catalog it was decided under.
    pub catalog: u64,
    /// The session's settings: they say what constants mean (`DateStyle`, `TimeZone`).
    pub given: Given,
}

impl Under {
    /// Whether a text means the same under both. The name of an application changes no text.
    fn same(&self, other: &Self) -> bool {
        fn read(given: &Given) -> impl Iterator<Item = (&String, &Sealed)> {
            given.iter().filter(|(name, _)| *name != "application_name")
        }
        let settings = Arc::ptr_eq(&self.given, &other.given) || read(&self.given).eq(read(&other.given));
        self.catalog == other.catalog && settings
    }
}

/// A prepared statement besides its text.
#[derive(Debug)]
struct Entry {
    params: Arc<[Oid]>,
    under: Under,
    held: Held,
    used: u64,
}

/// What is in a session of the warehouse.
#[derive(Debug, Default)]
pub struct Kept {
    /// Who had it last; 0 = nobody.
    pub holder: u64,
    /// The settings that it has; `None` = not known.
    pub given: Option<Given>,
    /// What else may be left in it.
    pub traces: Traces,
    /// What the warehouse has reported of its settings.
    pub reported: Reported,
    /// Statements of simple Queries that come again.
    pub repeats: Repeats,
    /// By text; those of one text differ in the rest.
    statements: AHashMap<Box<str>, Vec<Entry>>,
    count: usize,
    /// How many were ever made; no name is used twice.
    made: u64,
    /// How often they were asked for.
    clock: u64,
}

impl Kept {
    /// Of a session as it is after login or `DISCARD ALL`, with what the warehouse reported then.
    pub(super) fn new(parameters: &[(String, String)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        Self { given: Some(Given::default()), reported: Arc::new(parameters.collect()), ..Self::default() }
    }

    /// Whether nothing is in it.
    pub fn is_clean(&self) -> bool {
        self.traces == Traces::None
            && self.count == 0
            && self.repeats.is_empty()
            && self.given.as_ref().is_some_and(|given| given.is_empty())
    }

    /// Something may have been left.
    pub fn leave(&mut self, traces: Traces) {
        self.traces = self.traces.max(traces);
    }

    /// The warehouse reports a setting.
    pub fn report(&mut self, name: &str, value: &str) {
        if self.reported.get(name).is_none_or(|known| **known != *value) {
            Arc::make_mut(&mut self.reported).insert(name.into(), value.into());
        }
    }

    /// The name of a statement that is there.
    pub fn find(&mut self, text: &str, params: &[Oid], under: &Under) -> Option<Held> {
        self.clock += 1;
        let entries = self.statements.get_mut(text)?;
        let entry = entries.iter_mut().find(|entry| entry.under.same(under) && *entry.params == *params)?;
        entry.used = self.clock;
        Some(entry.held.clone())
    }

    /// The same whatever the settings were when it was prepared: for what is not run.
    pub fn find_of(&mut self, text: &str, params: &[Oid], catalog: u64) -> Option<Held> {
        let entries = self.statements.get(text)?;
        let entry = entries.iter().find(|entry| entry.under.catalog == catalog && *entry.params == *params)?;
        Some(entry.held.clone())
    }

    /// A name for a statement that is not there, and the one that has to make room for it.
    pub fn add(&mut self, text: &str, params: &Arc<[Oid]>, under: &Under) -> (Held, Option<Held>) {
        let evicted = if self.count >= STATEMENTS { self.evict() } else { None };
        self.clock += 1;
        self.made += 1;
        let held = Held(format!("{OWN_NAMES}shared {}", self.made).into());
        let entry = Entry { params: Arc::clone(params), under: under.clone(), held: held.clone(), used: self.clock };
        self.statements.entry(text.into()).or_default().push(entry);
        self.count += 1;
        (held, evicted)
    }

    /// Forgets the statement that was not asked for for the longest time.
    fn evict(&mut self) -> Option<Held> {
        let oldest = self.statements.values().flatten().min_by_key(|entry| entry.used)?.held.clone();
        self.forget(&oldest);
        Some(oldest)
    }

    /// A statement is not there after all.
    pub fn forget(&mut self, held: &Held) {
        let mut gone = 0;
        self.statements.retain(|_, entries| {
            let before = entries.len();
            entries.retain(|entry| entry.held != *held);
            gone += before - entries.len();
            !entries.is_empty()
        });
        self.count -= gone;
    }

    /// None is there any more.
    pub fn forget_all(&mut self) {
        self.repeats.forget();
        self.statements.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(catalog: u64) -> Under {
        Under { catalog, given: Given::default() }
    }

    #[test]
    fn a_statement_is_its_text_its_types_and_its_catalog() {
        let mut kept = Kept::new(&[]);
        assert!(kept.is_clean());
        let none: Arc<[Oid]> = [].into();
        let int: Arc<[Oid]> = [Oid(23)].into();
        let (first, _) = kept.add("SELECT 1", &none, &under(1));
        assert_eq!(kept.find("SELECT 1", &none, &under(1)), Some(first.clone()));
        assert_eq!(kept.find("SELECT 1", &none, &under(2)), None);
        assert_eq!(kept.find("SELECT 1", &int, &under(1)), None);
        assert_eq!(kept.find("SELECT  1", &none, &under(1)), None);
        let (second, _) = kept.add("SELECT 1", &int, &under(1));
        assert_ne!(first, second);
        kept.forget(&first);
        assert_eq!(
            (kept.find("SELECT 1", &none, &under(1)), kept.find("SELECT 1", &int, &under(1))),
            (None, Some(second))
        );
        assert!(!kept.is_clean());
        kept.forget_all();
        assert!(kept.is_clean());
        assert_ne!(kept.add("SELECT 1", &none, &under(1)).0, first, "no name is used twice");
    }

    #[test]
    fn the_one_used_least_makes_room() {
        let mut kept = Kept::new(&[]);
        let none: Arc<[Oid]> = [].into();
        let names: Vec<Held> = (0..STATEMENTS).map(|n| kept.add(&n.to_string(), &none, &under(1)).0).collect();
        assert!(kept.find("0", &none, &under(1)).is_some());
        let (_, evicted) = kept.add("one more", &none, &under(1));
        assert_eq!(evicted.as_ref(), names.get(1));
        assert_eq!((kept.find("1", &none, &under(1)), kept.count), (None, STATEMENTS));
    }

    #[test]
    fn what_is_reported_is_known_and_traces_only_grow() {
        let mut kept = Kept::new(&[("TimeZone".into(), "UTC".into())]);
        let before = Arc::clone(&kept.reported);
        kept.report("TimeZone", "UTC");
        assert!(Arc::ptr_eq(&before, &kept.reported));
        kept.report("TimeZone", "Asia/Tokyo");
        assert_eq!(kept.reported.get("TimeZone").map(|v| &**v), Some("Asia/Tokyo"));
        kept.leave(Traces::All);
        kept.leave(Traces::Some);
        assert_eq!(kept.traces, Traces::All);
    }
}
