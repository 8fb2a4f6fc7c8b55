//! Batches in which one prepared statement is bound, described, executed and synchronized: what drivers send for each of its runs. They are dealt
//! with in one step.
//!
//! In: the client's bytes. Out: the same messages, and one expected answer for all of them. Nothing is done here that the messages one by one
//! would not do: what is not plain goes their way. Must never: send a statement whose decision was not seen to stand.

use super::awaits::Awaits;
use super::deciding::{Found, Surroundings};
use super::engine::{Copying, Engine, Outgoing, Skip, takes_rows};
use super::names::{Decided, Made};
use super::queue::{Expect, Expected, conceals};
use crate::audit::Record;
use crate::error::Refusal;
use crate::plan::Effect;
use crate::upstream::message::{self, RUN, RUN_DESCRIBED};
use crate::wire::{Frontend, Header, TransactionStatus};
use std::sync::Arc;

/// An answer to such a batch.
#[derive(Debug)]
pub struct AtOnce {
    /// What comes next.
    pub awaits: Awaits,
    /// An error came.
    pub failed: bool,
    /// Its audit record.
    pub record: Option<Record>,
}

impl<A: Surroundings> Engine<A> {
    /// Deals with a whole batch at the beginning of `ahead`, whose first message is a Bind that ends at `bind`; gives its length, or `None`: the
    /// messages are to be dealt with one by one.
    pub(super) fn at_once(&mut self, ahead: &[u8], bind: usize, out: &mut Outgoing) -> Result<Option<usize>, Refusal> {
        let Some(behind) = ahead.get(bind..) else { return Ok(None) };
        let run = [RUN_DESCRIBED, RUN].into_iter().find(|run| behind.starts_with(run));
        let Some(run) = run else { return Ok(None) };
        // Who moves between sessions of the warehouse has his statements under other names.
        let plain = self.queue.is_empty()
            && !self.moves()
            && !self.is_open()
            && self.skip == Skip::No
            && self.copy == Copying::No
            && self.status() == TransactionStatus::Idle
            && !self.deciding.acts()
            && !self.deciding.scratch.is_stale();
        if !plain {
            return Ok(None);
        }
        let Some(body) = ahead.get(Header::LEN..bind) else { return Ok(None) };
        // What is wrong with it is said by the one that deals with it by itself.
        let Ok(Frontend::Bind { portal: "", statement, rest }) = Frontend::parse(b'B', body) else { return Ok(None) };
        let Found::Held(held) = self.deciding.find(&self.deciding.statements, statement) else { return Ok(None) };
        if !is_plain(&held) || !self.deciding.stands(&held) {
            return Ok(None);
        }
        let batch = self.deciding.batch;
        let Ok(record) = Record::allowed(self.deciding.speaker(), batch, &held.sql, held.plan.as_ref()) else {
            return Ok(None);
        };
        message::run(statement, rest, run, &mut out.upstream)?;
        if !self.read.is_empty() {
            self.read.remove("");
        }
        if let Some(plan) = &held.plan {
            self.deciding.allowed(plan.kind(), &held.sql);
        }
        let awaits = if run == RUN_DESCRIBED { Awaits::BindDescribed } else { Awaits::Bind };
        self.queue.push(Expected {
            what: Expect::AtOnce(AtOnce { awaits, failed: false, record: Some(record) }),
            about: Some(held),
            undo: Vec::new(),
            batch: self.deciding.batch,
            conceals: false,
        });
        self.end_batch();
        Ok(Some(bind + run.len()))
    }
}

/// Whether running it changes nothing that the proxy keeps, and its answer passes as it is.
fn is_plain(held: &Arc<Decided>) -> bool {
    let Some(plan) = &held.plan else { return false };
    held.present
        && held.made == Made::Parse
        && plan.effect == Effect::None
        && plan.tag.is_none()
        && plan.instead.is_none()
        && plan.notices.is_empty()
        && !takes_rows(plan)
        && !conceals(plan, None)
}
