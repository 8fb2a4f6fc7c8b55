//! Statements that come again and again with other numbers: which of them a session of the warehouse has prepared, and under which names.
//!
//! In: the texts of statements as they come, what the warehouse answered. Out: how to send the next one ([`Step`]). Must never: name a
//! statement that the warehouse was not seen to have prepared, or hold more than a bounded number of them.

use super::kept::Held;
use crate::seal::Parametrized;
use std::sync::Arc;

/// Most statements that are looked at, and of these most that are prepared at a time: each takes some ten kilobytes of the warehouse's memory.
const SEEN: usize = 64;
const PREPARED: usize = 32;

/// A statement is prepared when it comes for the third time.
const OFTEN: u32 = 3;

/// What a session of the warehouse has of repeated statements.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: Vec<Seen>,
    /// Counts statements.
    clock: u64,
    /// Names are never used again: an old one may still be there.
    names: u64,
}

#[derive(Debug)]
struct Seen {
    text: Arc<Parametrized>,
    times: u32,
    /// When it last came.
    last: u64,
    prepared: Prepared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Prepared {
    No,
    /// Sent, not answered.
    Asked(Held),
    Yes(Held),
}

impl Repeats {
    /// How to send a plan: the statement it names, prepared first where [`Step::prepare`] says so; `None`: as a Query.
    pub fn step(&mut self, text: &Arc<Parametrized>) -> Option<Step> {
        self.clock += 1;
        let Some(at) = self.seen.iter().position(|seen| Arc::ptr_eq(&seen.text, text)) else {
            self.see(text);
            return None;
        };
        let clock = self.clock;
        let seen = self.seen.get_mut(at)?;
        seen.times = seen.times.saturating_add(1);
        seen.last = clock;
        match &seen.prepared {
            Prepared::Yes(name) => Some(Step { name: name.clone(), prepare: false, close: None }),
            Prepared::Asked(_) => None,
            Prepared::No if seen.times < OFTEN => None,
            Prepared::No => {
                self.names += 1;
                let name = Held::repeated(self.names);
                seen.prepared = Prepared::Asked(name.clone());
                let close = self.oldest_beyond();
                Some(Step { name, prepare: true, close })
            }
        }
    }

    fn see(&mut self, text: &Arc<Parametrized>) {
        let new = Seen { text: Arc::clone(text), times: 1, last: self.clock, prepared: Prepared::No };
        if self.seen.len() < SEEN {
            self.seen.push(new);
            return;
        }
        // Those that are prepared leave their place when another is.
        let idle = self.seen.iter_mut().filter(|seen| seen.prepared == Prepared::No);
        if let Some(oldest) = idle.min_by_key(|seen| seen.last) {
            *oldest = new;
        }
    }

    /// Gives up the statement that was not used for longest, when too many are prepared.
    fn oldest_beyond(&mut self) -> Option<Held> {
        if self.seen.iter().filter(|seen| seen.prepared != Prepared::No).count() <= PREPARED {
            return None;
        }
        let prepared = self.seen.iter_mut().filter(|seen| matches!(seen.prepared, Prepared::Yes(_)));
        let oldest = prepared.min_by_key(|seen| seen.last)?;
        oldest.times = 0;
        match std::mem::replace(&mut oldest.prepared, Prepared::No) {
            Prepared::Yes(name) => Some(name),
            Prepared::No | Prepared::Asked(_) => None,
        }
    }

    fn of(&mut self, text: &Arc<Parametrized>) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| Arc::ptr_eq(&seen.text, text))
    }

    /// The warehouse has prepared it.
    pub fn confirmed(&mut self, text: &Arc<Parametrized>) {
        if let Some(seen) = self.of(text)
            && let Prepared::Asked(name) = &seen.prepared
        {
            seen.prepared = Prepared::Yes(name.clone());
        }
    }

    /// The warehouse would not, or what it has is of no use any more.
    pub fn failed(&mut self, text: &Arc<Parametrized>) {
        if let Some(seen) = self.of(text) {
            (seen.prepared, seen.times) = (Prepared::No, 0);
        }
    }

    /// Whether none was ever seen.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// A statement was sent after which the warehouse holds none.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

/// How a repeated statement is sent.
pub struct Step {
    /// Under this name.
    pub name: Held,
    /// Prepared first.
    pub prepare: bool,
    /// Given up before.
    pub close: Option<Held>,
}
