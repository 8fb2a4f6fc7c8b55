//! Statements of the simple protocol that come again and again with other numbers: the warehouse prepares them once and is sent the numbers.
//!
//! In: plans that can be sent so ([`Repeated`]). Out: how to send them, and messages of the extended protocol in place of a Query, whose answer
//! is made that of a Query again. The client sees neither names nor messages of it. Must never: send numbers for a statement that the warehouse
//! was not seen to have prepared, or hold more than a bounded number of them.

use super::awaits::Awaits;
use super::deciding::Surroundings;
use super::engine::{End, Engine, Outgoing};
use super::queue::{Expect, Queried};
use crate::error::Refusal;
use crate::plan::{Plan, Repeated};
use crate::relay::errors::Sent;
use crate::upstream::Step;
use crate::upstream::message;
use crate::wire::{Target, TransactionStatus};

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

/// What the error of a warehouse says whose relations have changed under a prepared statement (`plancache.c`).
const CHANGED: (&str, &str) = ("0A000", "RevalidateCachedQuery");

impl<A: Surroundings> Engine<A> {
    /// Sends a statement of a simple Query by its numbers, if it can be; `None`: nothing was sent.
    pub(super) fn repeat(&mut self, plan: &Plan, out: &mut Outgoing) -> Result<Option<Repeating>, Refusal> {
        let Some(repeated) = &plan.repeated else { return Ok(None) };
        if self.status() == TransactionStatus::Failed {
            return Ok(None);
        }
        let Some(Step { name, prepare, close }) = self.repeats.step(&repeated.text) else { return Ok(None) };
        self.deciding.tally.repeated();
        let upstream = &mut out.upstream;
        let awaits = match (&close, prepare) {
            (Some(_), _) => Awaits::Close,
            (None, true) => Awaits::Parse,
            (None, false) => Awaits::BindDescribed,
        };
        if let Some(old) = close {
            message::close_held(&old, upstream)?;
        }
        if prepare {
            message::parse_held(&name, repeated.text.text(), repeated.text.types(), upstream)?;
        }
        message::bind_values(&name, &repeated.values, upstream)?;
        message::describe(Target::Portal, "", upstream)?;
        message::execute("", 0, upstream)?;
        message::sync(upstream);
        Ok(Some(Repeating { sent: repeated.clone(), awaits, again: false }))
    }

    /// A message without a body that answers a repeated statement and no Query: true when it was one that was awaited.
    pub(super) fn repeat_answered(&mut self, tag: u8) -> bool {
        let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what) else { return false };
        let Some(repeating) = &mut queried.repeating else { return false };
        if repeating.awaits == Awaits::Rows || !repeating.awaits.came(tag) {
            return false;
        }
        if tag == b'1' {
            self.repeats.confirmed(&repeating.sent.text);
        }
        true
    }

    /// An error while a repeated statement is answered: true when the client does not hear of it, because the statement is sent again.
    pub(super) fn repeat_failed(&mut self, code: &str, routine: &str) -> bool {
        let alone = self.queue.len() == 1 && self.status() == TransactionStatus::Idle;
        let Some(Expect::Query(queried)) = self.queue.front().map(|front| &mut front.what) else { return false };
        let Some(repeating) = &mut queried.repeating else { return false };
        if matches!(repeating.awaits, Awaits::Close | Awaits::Parse | Awaits::BindDescribed) {
            self.repeats.failed(&repeating.sent.text);
        }
        repeating.again = alone && repeating.awaits == Awaits::BindDescribed && (code, routine) == CHANGED;
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
            Some(repeating) => repeating.awaits.came(b'T'),
        }
    }

    /// What was sent of a repeated statement.
    pub(super) fn sent_values(&self) -> Option<Sent<'_>> {
        let sent = &self.repeating.as_ref()?.sent;
        Some(Sent { text: &sent.text, values: &sent.values })
    }
}
