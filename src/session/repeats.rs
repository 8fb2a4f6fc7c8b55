//! Statements of the simple protocol that come again and again with other numbers: the warehouse prepares them once and is sent the numbers.
//!
//! In: plans that can be sent so ([`Repeated`]). Out: how to send them, and messages of the extended protocol in place of a Query, whose answer
//! is made that of a Query again. The client sees neither names nor messages of it. Must never: send numbers for a statement that the warehouse
//! was not seen to have prepared, or hold more than a bounded number of them.

use super::deciding::Surroundings;
use super::engine::{End, Engine, Outgoing};
use super::queue::{Expect, Queried};
use crate::error::Refusal;
use crate::plan::{Plan, Repeated};
use crate::relay::errors::Sent;
use crate::seal::Parametrized;
use crate::upstream::message::{self, OwnName};
use crate::wire::{Target, TransactionStatus};
use std::sync::Arc;

/// Most statements that are looked at, and of these most that are prepared at a time: each takes some ten kilobytes of the warehouse's memory.
const SEEN: usize = 64;
const PREPARED: usize = 32;

/// A statement is prepared when it comes for the third time.
const OFTEN: u32 = 3;

/// What a session's repeated statements are.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    No,
    /// Sent, not answered.
    Asked(OwnName),
    Yes(OwnName),
}

/// A repeated statement that is being answered.
#[derive(Debug)]
pub struct Repeating {
    /// What was sent.
    pub sent: Repeated,
    /// What the warehouse's next message is.
    pub awaits: Awaits,
    /// The warehouse has changed under it: once this is answered, it is sent as a Query after all.
    pub again: bool,
}

/// The messages that answer a repeated statement, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// CloseComplete, then as below.
    Close,
    /// ParseComplete, then as below.
    Parse,
    /// BindComplete.
    Bind,
    /// RowDescription or NoData.
    Description,
    /// What answers a Query, too.
    Rows,
}

impl Repeats {
    /// How to send a plan: the statement it names, prepared first where [`Step::prepare`] says so; `None`: as a Query.
    fn step(&mut self, repeated: &Repeated) -> Option<Step> {
        self.clock += 1;
        let Some(at) = self.seen.iter().position(|seen| Arc::ptr_eq(&seen.text, &repeated.text)) else {
            self.see(&repeated.text);
            return None;
        };
        let clock = self.clock;
        let seen = self.seen.get_mut(at)?;
        seen.times = seen.times.saturating_add(1);
        seen.last = clock;
        match seen.prepared {
            Prepared::Yes(name) => Some(Step { name, prepare: false, close: None }),
            Prepared::Asked(_) => None,
            Prepared::No if seen.times < OFTEN => None,
            Prepared::No => {
                self.names += 1;
                let name = OwnName::Repeated(self.names);
                seen.prepared = Prepared::Asked(name);
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
    fn oldest_beyond(&mut self) -> Option<OwnName> {
        if self.seen.iter().filter(|seen| seen.prepared != Prepared::No).count() <= PREPARED {
            return None;
        }
        let name = |seen: &Seen| match seen.prepared {
            Prepared::Yes(name) => Some(name),
            Prepared::No | Prepared::Asked(_) => None,
        };
        let oldest = self.seen.iter_mut().filter(|seen| name(seen).is_some()).min_by_key(|seen| seen.last)?;
        let name = name(oldest);
        (oldest.prepared, oldest.times) = (Prepared::No, 0);
        name
    }

    fn of(&mut self, text: &Arc<Parametrized>) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| Arc::ptr_eq(&seen.text, text))
    }

    /// The warehouse has prepared it.
    fn confirmed(&mut self, text: &Arc<Parametrized>) {
        if let Some(seen) = self.of(text)
            && let Prepared::Asked(name) = seen.prepared
        {
            seen.prepared = Prepared::Yes(name);
        }
    }

    /// The warehouse would not, or what it has is of no use any more.
    fn failed(&mut self, text: &Arc<Parametrized>) {
        if let Some(seen) = self.of(text) {
            (seen.prepared, seen.times) = (Prepared::No, 0);
        }
    }

    /// A statement was sent after which the warehouse holds none.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}

/// How a repeated statement is sent.
struct Step {
    name: OwnName,
    prepare: bool,
    /// Given up before.
    close: Option<OwnName>,
}

/// What the error of a warehouse says whose relations have changed under a prepared statement (`plancache.c`).
const CHANGED: (&str, &str) = ("0A000", "RevalidateCachedQuery");

impl<A: Surroundings> Engine<A> {
    /// Sends a statement of a simple Query by its numbers, if it can be; `None`: nothing was sent.
    pub(super) fn repeat(&mut self, plan: &Plan, out: &mut Outgoing) -> Result<Option<Repeating>, Refusal> {
        let Some(repeated) = &plan.repeated else { return Ok(None) };
        if self.status() == TransactionStatus::Failed {
            return Ok(None);
        }
        let Some(Step { name, prepare, close }) = self.repeats.step(repeated) else { return Ok(None) };
        let upstream = &mut out.upstream;
        if let Some(old) = close {
            message::close_own(old, upstream)?;
        }
        if prepare {
            message::parse_own(name, &repeated.text, upstream)?;
        }
        message::bind_own(name, &repeated.values, upstream)?;
        message::describe(Target::Portal, "", upstream)?;
        message::execute("", 0, upstream)?;
        message::sync(upstream);
        let awaits = match (close, prepare) {
            (Some(_), _) => Awaits::Close,
            (None, true) => Awaits::Parse,
            (None, false) => Awaits::Bind,
        };
        Ok(Some(Repeating { sent: repeated.clone(), awaits, again: false }))
    }

    /// A message without a body that answers a repeated statement and no Query: true when it was one that was awaited.
    pub(super) fn repeat_answered(&mut self, tag: u8) -> bool {
        let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what) else { return false };
        let Some(repeating) = &mut queried.repeating else { return false };
        repeating.awaits = match (repeating.awaits, tag) {
            (Awaits::Close, b'3') => Awaits::Parse,
            (Awaits::Parse, b'1') => {
                self.repeats.confirmed(&repeating.sent.text);
                Awaits::Bind
            }
            (Awaits::Bind, b'2') => Awaits::Description,
            (Awaits::Description, b'n') => Awaits::Rows,
            _ => return false,
        };
        true
    }

    /// An error while a repeated statement is answered: true when the client does not hear of it, because the statement is sent again.
    pub(super) fn repeat_failed(&mut self, code: &str, routine: &str) -> bool {
        let alone = self.queue.len() == 1 && self.status() == TransactionStatus::Idle;
        let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what) else { return false };
        let Some(repeating) = &mut queried.repeating else { return false };
        if matches!(repeating.awaits, Awaits::Close | Awaits::Parse | Awaits::Bind) {
            self.repeats.failed(&repeating.sent.text);
        }
        repeating.again = alone && repeating.awaits == Awaits::Bind && (code, routine) == CHANGED;
        repeating.again
    }

    /// Whether ReadyForQuery ends an attempt only.
    pub(super) fn repeats_again(&mut self) -> bool {
        match self.queue.front().map(|front| &front.what) {
            Some(Expect::Query(queried)) => queried.repeating.as_ref().is_some_and(|repeating| repeating.again),
            _ => false,
        }
    }

    /// Sends a statement as a Query whose numbers came too late.
    pub(super) fn send_again(&mut self, out: &mut Outgoing) -> Result<(), End> {
        let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what) else { return Ok(()) };
        if queried.repeating.take_if(|repeating| repeating.again && repeating.awaits == Awaits::Rows).is_some()
            && let [one] = queried.parts.as_slice()
        {
            message::query(&one.plan.sealed, &mut out.upstream)?;
        }
        Ok(())
    }

    /// ReadyForQuery of an attempt: the statement goes as a Query with the client's next turn.
    pub(super) fn attempt_ended(&mut self) {
        if let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what)
            && let Some(repeating) = &mut queried.repeating
        {
            repeating.awaits = Awaits::Rows;
        }
    }
}

impl Queried {
    /// Whether a row, or the end of rows, may come now.
    pub(super) fn takes_rows(&self) -> bool {
        self.repeating.as_ref().is_none_or(|repeating| repeating.awaits == Awaits::Rows && !repeating.again)
    }

    /// Takes note of a RowDescription; false when none may come now.
    pub(super) fn described(&mut self) -> bool {
        match &mut self.repeating {
            None => true,
            Some(repeating) if repeating.awaits == Awaits::Description => {
                repeating.awaits = Awaits::Rows;
                true
            }
            Some(_) => false,
        }
    }

    /// What was sent of a repeated statement.
    pub(super) fn sent_values(&self) -> Option<Sent<'_>> {
        let sent = &self.repeating.as_ref()?.sent;
        Some(Sent { text: &sent.text, values: &sent.values })
    }
}
