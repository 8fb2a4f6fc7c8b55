//! Names a session has given away: prepared statements, portals, cursors, each with the decision it stands for.
//!
//! In: what was sent to the warehouse, supposing it succeeds. Out: what a name means now. The books run ahead of the warehouse, so
//! every change can be undone when the warehouse skips or refuses it. Must never: know a name the warehouse holds under another
//! decision.

use crate::audit::Inner;
use crate::identity::{Caller, Signed};
use crate::plan::{Given, Plan, SessionView};
use crate::types::Oid;
use ahash::AHashMap;
use std::sync::Arc;

/// Everything a decision was made under, besides the text and the parameter types.
#[derive(Debug, Clone)]
pub struct Basis {
    /// `World::version`.
    pub version: u64,
    /// Who.
    pub caller: Arc<Caller>,
    /// The session as the statement saw it.
    pub view: Arc<SessionView>,
}

impl Basis {
    fn same(&self, other: &Self) -> bool {
        self.version == other.version
            && (Arc::ptr_eq(&self.caller, &other.caller) || self.caller == other.caller)
            && (Arc::ptr_eq(&self.view, &other.view) || self.view == other.view)
    }
}

/// How a name came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Parse, or Bind of such a statement.
    Parse,
    /// SQL's PREPARE: the plan is the PREPARE statement's own.
    Prepare,
    /// SQL's DECLARE CURSOR: the plan is the DECLARE statement's own.
    Declare,
}

/// A statement and the decision it was sent under.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The caller's text.
    pub sql: Arc<str>,
    /// Declared parameter types.
    pub params: Arc<[Oid]>,
    /// The plan; `None` for an empty statement.
    pub plan: Option<Arc<Plan>>,
    /// What it was decided under.
    pub basis: Basis,
    /// How it came to be.
    pub made: Made,
    /// Whether the warehouse holds it under this plan.
    pub present: bool,
    /// For whom a signed comment says it is.
    pub signed: Option<Arc<Signed>>,
}

impl Decided {
    /// What records say of it when it is executed by another statement.
    pub fn told(&self) -> Option<Inner> {
        Some(Inner { text: Arc::clone(&self.sql), plan: Arc::clone(self.plan.as_ref()?) })
    }

    /// Whether the decision is still the one that would be made.
    pub fn holds(&self, now: &Basis) -> bool {
        self.basis.same(now) && self.plan.as_ref().is_none_or(|plan| plan.in_time())
    }

    /// Whether the columns that come of it are the same, as far as they are known.
    pub fn gives_the_same(&self, plan: Option<&Arc<Plan>>) -> bool {
        let (Some(before), Some(after)) = (&self.plan, plan) else { return true };
        let (Some(before), Some(after)) = (&before.gives, &after.gives) else { return true };
        let same = |(b, a): (&Given, &Given)| b.0 == a.0 && b.1.zip(a.1).is_none_or(|(before, after)| before == after);
        before.len() == after.len() && before.iter().zip(after.iter()).all(same)
    }

    /// Whether the same text would be sent.
    pub fn same_text(&self, plan: Option<&Arc<Plan>>) -> bool {
        match (&self.plan, plan) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.sealed == b.sealed,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// What stands behind a name, or stood until a Close that is not confirmed.
#[derive(Debug, Clone)]
pub struct Slot {
    change: u64,
    /// The batch that made it so.
    pub batch: u64,
    /// `None`: closed.
    pub held: Option<Arc<Decided>>,
}

/// A change of a book, to be undone when the warehouse did not follow.
#[derive(Debug)]
pub struct Change {
    name: Box<str>,
    id: u64,
    before: Option<Slot>,
}

/// Names of one kind.
#[derive(Debug, Default)]
pub struct Book {
    slots: AHashMap<Box<str>, Slot>,
    changes: u64,
}

impl Book {
    /// What the book says of a name.
    pub fn get(&self, name: &str) -> Option<&Slot> {
        self.slots.get(name)
    }

    /// How many names are held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether something of that kind is held.
    pub fn any(&self, is: impl Fn(&Decided) -> bool) -> bool {
        self.slots.values().filter_map(|slot| slot.held.as_ref()).any(|held| is(held))
    }

    /// Sets a name, or closes it.
    pub fn put(&mut self, name: &str, held: Option<Arc<Decided>>, batch: u64) -> Change {
        self.changes += 1;
        let slot = Slot { change: self.changes, batch, held };
        let id = slot.change;
        let name: Box<str> = name.into();
        let before = self.slots.insert(name.clone(), slot);
        Change { name, id, before }
    }

    /// The same thing known anew: what the warehouse holds under the name has not changed.
    pub fn refresh(&mut self, name: &str, held: &Arc<Decided>) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.held = Some(Arc::clone(held));
        }
    }

    /// Closes every name that is held.
    pub fn close_all(&mut self, batch: u64) -> Vec<Change> {
        let names: Vec<Box<str>> =
            self.slots.iter().filter(|(_, s)| s.held.is_some()).map(|(name, _)| name.clone()).collect();
        names.iter().map(|name| self.put(name, None, batch)).collect()
    }

    /// Undoes a change. When the name was changed again since, the later change (still `waiting`) is told what came before.
    pub fn undo<'a>(&mut self, change: Change, waiting: impl Iterator<Item = &'a mut Change>) {
        if self.slots.get(&change.name).is_some_and(|slot| slot.change == change.id) {
            match change.before {
                Some(before) => drop(self.slots.insert(change.name, before)),
                None => drop(self.slots.remove(&change.name)),
            }
            return;
        }
        for later in waiting {
            if later.name == change.name && later.before.as_ref().is_some_and(|slot| slot.change == change.id) {
                later.before = change.before;
                return;
            }
        }
    }

    /// Keeps only what `keep` says, and forgets what is closed for good: nothing up to `settled` can be undone any more.
    pub fn retain(&mut self, settled: u64, mut keep: impl FnMut(&Decided) -> bool) {
        self.slots.retain(|_, slot| slot.batch > settled || slot.held.as_ref().is_some_and(|d| keep(d)));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    pub(crate) fn basis(version: u64) -> Basis {
        Basis {
            version,
            caller: Arc::new(Caller {
                user: "u".into(),
                iam: "i".into(),
                groups: BTreeSet::new(),
                attributes: BTreeMap::new(),
                project: None,
                purposes: BTreeSet::new(),
                before: None,
            }),
            view: Arc::new(SessionView {
                search_path_text: String::new(),
                search_path: Vec::new(),
                database: String::new(),
                project: String::new(),
                user: String::new(),
                acts: Default::default(),
                longest: None,
                moves: false,
                scratch: Default::default(),
            }),
        }
    }

    fn decided(sql: &str) -> Arc<Decided> {
        Arc::new(Decided {
            sql: sql.into(),
            params: [].into(),
            plan: None,
            basis: basis(1),
            made: Made::Parse,
            present: true,
            signed: None,
        })
    }

    fn text(book: &Book) -> Option<&str> {
        book.get("s").and_then(|s| s.held.as_ref()).map(|d| &*d.sql)
    }

    #[test]
    fn changes_are_undone_in_any_order() {
        let mut book = Book::default();
        book.put("s", Some(decided("old")), 1);
        let a = book.put("s", Some(decided("a")), 2);
        let mut b = book.put("s", Some(decided("b")), 3);
        book.undo(a, std::iter::once(&mut b));
        assert_eq!(text(&book), Some("b"));
        book.undo(b, std::iter::empty());
        assert_eq!(text(&book), Some("old"), "not the one that never came to be");
    }

    #[test]
    fn closing_is_undone_too_and_forgotten_when_settled() {
        let mut book = Book::default();
        book.put("s", Some(decided("old")), 1);
        let close = book.put("s", None, 2);
        assert_eq!(text(&book), None);
        book.retain(1, |_| true);
        assert_eq!(book.len(), 1);
        book.undo(close, std::iter::empty());
        assert_eq!(text(&book), Some("old"));
        book.put("s", None, 3);
        book.retain(3, |_| true);
        assert!(book.is_empty());
    }

    #[test]
    fn a_decision_holds_for_its_basis_only() {
        let d = decided("x");
        assert!(d.holds(&basis(1)));
        assert!(!d.holds(&basis(2)));
        let mut other = basis(1);
        other.view = Arc::new(SessionView { project: "P".into(), ..(*other.view).clone() });
        assert!(!d.holds(&other));
    }
}
