//! What statements come to, counted apart for each lane, so that no two processors write to the same counters.

use super::class::{self, CLASSES};
use super::histogram::{Histogram, Reading};
use super::kind::Kind;
use crate::error::Family;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is decided of a statement: it is allowed, or refused by a family.
const DECISIONS: [&str; 7] = ["allowed", "denied", "unsupported", "protocol", "upstream", "caller", "internal"];

/// The place of a family in [`DECISIONS`].
fn decision(family: Family) -> usize {
    match family {
        Family::Denied => 1,
        Family::Unsupported => 2,
        Family::Protocol => 3,
        Family::Upstream => 4,
        Family::Caller => 5,
        Family::Internal => 6,
    }
}

/// The counters of one lane.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally {
    statements: [[AtomicU64; DECISIONS.len()]; Kind::ALL.len()],
    failed: [AtomicU64; CLASSES.len()],
    rows: [AtomicU64; Kind::ALL.len()],
    repeated: AtomicU64,
    answered: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            statements: std::array::from_fn(|_| Default::default()),
            failed: std::array::from_fn(|_| AtomicU64::new(0)),
            rows: Default::default(),
            repeated: AtomicU64::new(0),
            answered: Histogram::default(),
        }
    }
}

impl Tally {
    fn decided(&self, kind: Kind, decision: usize) {
        if let Some(counter) = self.statements.get(kind.index()).and_then(|kinds| kinds.get(decision)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A statement is sent.
    pub fn allowed(&self, kind: Kind) {
        self.decided(kind, 0);
    }

    /// A text is refused.
    pub fn refused(&self, text: &str, family: Family) {
        self.decided(Kind::of_text(text), decision(family));
    }

    /// The warehouse raised an error with this code.
    pub fn failed(&self, code: &str) {
        if let Some(counter) = self.failed.get(class::of(code)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A statement ended with this tag, and this many rows.
    pub fn rows(&self, tag: &str, rows: Option<u64>) {
        if let Some(rows) = rows.filter(|rows| *rows > 0)
            && let Some(counter) = self.rows.get(Kind::of_word(tag).index())
        {
            counter.fetch_add(rows, Relaxed);
        }
    }

    /// A statement was sent by its numbers alone.
    pub fn repeated(&self) {
        self.repeated.fetch_add(1, Relaxed);
    }

    /// What was sent is answered to its end.
    pub fn answered(&self, after: Duration) {
        self.answered.observe(after);
    }
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// This thread serves sessions of that lane from now on.
pub fn on_lane(number: usize) {
    LANE.set(number);
}

/// The counters of all lanes.
#[derive(Debug)]
pub struct Tallies(Box<[Arc<Tally>]>);

impl Default for Tallies {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Tallies {
    /// For so many lanes, at least one.
    pub fn new(lanes: usize) -> Self {
        Self((0..lanes.max(1)).map(|_| Arc::default()).collect())
    }

    /// Those of the lane whose thread this is.
    pub fn here(&self) -> Arc<Tally> {
        self.0.get(LANE.get()).or_else(|| self.0.first()).map_or_else(Arc::default, Arc::clone)
    }

    fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.0.iter().fold(0, |sum, tally| sum.wrapping_add(of(tally)))
    }

    /// Statements by kind and decision, those that came.
    pub fn statements(&self) -> Vec<(Kind, &'static str, u64)> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            for (at, name) in DECISIONS.iter().enumerate() {
                let counter = |tally: &Tally| tally.statements.get(kind.index())?.get(at).map(|c| c.load(Relaxed));
                let count = self.sum(|tally| counter(tally).unwrap_or(0));
                if count > 0 || (kind, at) == (Kind::Select, 0) {
                    all.push((kind, *name, count));
                }
            }
        }
        all
    }

    /// Errors of the warehouse by class, those that came.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let count = |at: usize| self.sum(|tally| tally.failed.get(at).map_or(0, |c| c.load(Relaxed)));
        let all = CLASSES.iter().enumerate().map(|(at, class)| (*class, count(at)));
        all.filter(|(class, count)| *count > 0 || *class == "42").collect()
    }

    /// Rows by the word of the tag, where there were any.
    pub fn rows(&self) -> Vec<(Kind, u64)> {
        let count = |kind: Kind| self.sum(|tally| tally.rows.get(kind.index()).map_or(0, |c| c.load(Relaxed)));
        Kind::ALL.map(|kind| (kind, count(kind))).into_iter().filter(|(k, n)| *n > 0 || *k == Kind::Select).collect()
    }

    /// Statements that were sent by their numbers alone.
    pub fn repeated(&self) -> u64 {
        self.sum(|tally| tally.repeated.load(Relaxed))
    }

    /// How long the warehouse took to answer.
    pub fn answered(&self) -> Reading {
        let mut all = Reading::default();
        self.0.iter().for_each(|tally| all.add(&tally.answered.read()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up() {
        let tallies = Tallies::new(2);
        tallies.here().allowed(Kind::Insert);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                on_lane(1);
                let tally = tallies.here();
                tally.allowed(Kind::Insert);
                tally.refused("/* x */ drop table t", Family::Unsupported);
                tally.failed("22012");
                tally.rows("INSERT 0 3", Some(3));
                tally.rows("BEGIN", None);
            });
        });
        let all = tallies.statements();
        assert!(
            all.contains(&(Kind::Insert, "allowed", 2)) && all.contains(&(Kind::Drop, "unsupported", 1)),
            "{all:?}"
        );
        assert_eq!(tallies.failures(), [("22", 1), ("42", 0)]);
        assert_eq!(tallies.rows(), [(Kind::Select, 0), (Kind::Insert, 3)]);
    }
}
