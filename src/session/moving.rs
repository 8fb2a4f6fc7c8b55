//! A session that moves: it has a session of the warehouse for a transaction, and for as long as something of its own is in it.
//!
//! In: messages that need the warehouse, the end of transactions. Out: when a session is wanted, and when it may go to another client.
//! Must never: give a session away with something in it that its client may count on, or something that its [`Kept`] does not tell.
//!
//! What follows the client from one session of the warehouse to the next: settings, which are set again ([`super::handover`]), and prepared
//! statements ([`super::held`]). What keeps him in one: a transaction, temporary tables, cursors WITH HOLD, SQL's PREPARE, settings whose
//! value is not known. He cannot take locks or listen beyond a transaction.

use super::deciding::{Deciding, Surroundings};
use super::engine::{Copying, End, Engine, Handled, Outgoing, Skip, Wait};
use super::names::{Book, Made};
use super::scratch::Scratching;
use crate::error::Refusal;
use crate::plan::{Effect, Leaves, Plan};
use crate::upstream::{Held, Kept, Reported, Traces};
use crate::wire::{TransactionStatus, backend};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a session is that moves; of one that stays nothing but that.
#[derive(Debug, Default)]
pub struct Moving {
    /// It moves at all.
    pub(super) moves: bool,
    /// It has no session of the warehouse now.
    pub(super) away: bool,
    /// Why it gets none.
    failed: Option<Refusal>,
    /// What is in the one it has.
    pub(super) kept: Option<Box<Kept>>,
    /// Who it is, among all.
    pub(super) holder: u64,
    /// How many it has had.
    pub(super) turn: u64,
    /// The turn in which the unnamed statement was sent last.
    pub(super) unnamed: u64,
    /// Something is in the session that no other can be given.
    tied: bool,
    /// So is perhaps a statement of SQL's PREPARE.
    prepared: bool,
    /// So is perhaps a temporary table.
    scratched: bool,
    /// The settings are those of the warehouse's session, not those the client began with.
    restarted: bool,
    /// Statements that were sent and not confirmed, with their batches.
    pub(super) fresh: Vec<(Held, u64)>,
    /// The one that the message at hand is about.
    pub(super) found: Option<Held>,
    /// Statements that are there and useless.
    pub(super) closing: Vec<Held>,
    /// Names that the next DEALLOCATE has to find.
    pub(super) spares: Vec<Box<str>>,
    /// Messages under way that make the session ready.
    pub(super) handing: usize,
    /// What the client was told of settings.
    pub(super) seen: Reported,
}

impl Moving {
    /// A session that moves, and what its client is told at the beginning.
    pub fn new(parameters: &[(String, String)]) -> Self {
        static HOLDERS: AtomicU64 = AtomicU64::new(1);
        let seen = parameters.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        let holder = HOLDERS.fetch_add(1, Ordering::Relaxed);
        Self { moves: true, away: true, holder, seen: Arc::new(seen), ..Self::default() }
    }

    /// Whether statements are held for all clients of the session.
    pub(super) fn shares(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes note of what a statement may leave that is about to be sent.
    pub(super) fn note(&mut self, plan: &Plan) {
        let Some(kept) = &mut self.kept else { return };
        match plan.leaves {
            Leaves::Nothing => {}
            Leaves::Traces => kept.leave(Traces::Some),
            Leaves::Ties => {
                kept.leave(Traces::Some);
                self.tied = true;
            }
        }
        match plan.effect {
            Effect::Prepare { .. } => self.prepared = true,
            Effect::Scratch(_) => self.scratched = true,
            Effect::ResetAll | Effect::DiscardAll => self.restarted = true,
            Effect::None
            | Effect::Set { .. }
            | Effect::Forwarded { .. }
            | Effect::Configured { .. }
            | Effect::Acting { .. }
            | Effect::Begin
            | Effect::Commit
            | Effect::Rollback
            | Effect::Savepoint(_)
            | Effect::RollbackTo(_)
            | Effect::Release(_)
            | Effect::Execute { .. }
            | Effect::Deallocate(_)
            | Effect::Declare { .. }
            | Effect::Fetch { .. }
            | Effect::CloseCursor(_) => {}
        }
    }

    /// DISCARD ALL has been done.
    pub(super) fn discarded(&mut self) {
        self.tied = false;
    }

    /// Prepared statements are there of which nobody will know the name.
    pub(super) fn spoiled(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.leave(Traces::All);
        }
    }

    /// No prepared statement is there any more, supposing that it succeeds.
    pub(super) fn forget_all(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.forget_all();
        }
    }

    /// The batches up to this one are answered.
    pub(super) fn settled(&mut self, batch: u64) {
        if !self.fresh.is_empty() {
            self.fresh.retain(|(_, of)| *of > batch);
        }
    }

    /// The warehouse reports a setting; whether the client is told now.
    pub(super) fn report(&mut self, name: &str, value: &str) -> bool {
        let Some(kept) = &mut self.kept else { return true };
        kept.report(name, value);
        if self.handing > 0 {
            return false;
        }
        Arc::make_mut(&mut self.seen).insert(name.into(), value.into());
        true
    }

    /// Whether something of the client's own is in the session.
    fn keeps(&mut self, statements: &Book) -> bool {
        let by_sql = |held: &super::names::Decided| held.made == Made::Prepare;
        self.prepared = self.prepared && statements.any(by_sql);
        self.tied || self.prepared
    }
}

impl<A: Surroundings> Deciding<A> {
    /// A session that moves.
    pub fn moving(mut self, moving: Moving) -> Self {
        self.moving = moving;
        self
    }
}

impl<A: Surroundings> Engine<A> {
    /// Whether it moves between sessions of the warehouse.
    pub fn moves(&self) -> bool {
        self.deciding.moving.moves
    }

    /// Who it is, to whoever has sessions to give.
    pub fn holder(&self) -> u64 {
        self.deciding.moving.holder
    }

    /// Whether a message of the client waits for a session.
    pub fn wants_session(&self) -> bool {
        self.waits_for(Wait::Session) && self.awaits_session()
    }

    /// Whether a session is still waited for.
    pub(super) fn awaits_session(&self) -> bool {
        self.deciding.moving.away && self.deciding.moving.failed.is_none()
    }

    /// There is none: whoever waits for it is refused with this.
    pub fn no_session(&mut self, refusal: Refusal) {
        self.deciding.moving.failed = Some(refusal);
    }

    /// A message while the client has no session of the warehouse; `None` when it needs none.
    pub(super) fn without_session(&mut self, tag: u8, body: &[u8], out: &mut Outgoing) -> Result<Option<Handled>, End> {
        match tag {
            b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' => {}
            // One that is malformed is dealt with as such.
            b'S' if self.skip != Skip::Local && body.is_empty() => {
                backend::ready_for_query(&mut out.client, self.status());
                return Ok(Some(Handled::Done));
            }
            _ => return Ok(None),
        }
        match (self.deciding.moving.failed.take(), tag) {
            (None, _) => Ok(Some(Handled::Later(Wait::Session))),
            (Some(refusal), b'Q') => self.simple_refused(&refusal, None, out).map(Some),
            (Some(refusal), _) => self.extended(Err(refusal.into()), None, out).map(Some),
        }
    }

    /// Whether the session of the warehouse may go to another client now. Asks for what has to be known before.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub fn may_go(&mut self, out: &mut Outgoing) -> Result<bool, End> {
        if !self.deciding.moving.shares()
            || !self.at_rest()
            || self.status() != TransactionStatus::Idle
            || self.copy != Copying::No
            || !self.deciding.cursors.is_empty()
            || !self.deciding.portals.is_empty()
        {
            return Ok(false);
        }
        if self.deciding.moving.keeps(&self.deciding.statements) {
            return Ok(false);
        }
        if self.deciding.moving.scratched {
            if self.deciding.must_ask() && self.probing.failed.is_none() {
                self.probe(out)?;
                return Ok(false);
            }
            if self.deciding.scratch.is_stale() || !self.deciding.scratch.now().is_empty() {
                return Ok(false);
            }
            // The next session has a temporary schema of another name.
            self.deciding.scratch = Scratching::new(self.deciding.scratch.now().enabled);
            self.deciding.moving.scratched = false;
        }
        Ok(true)
    }

    /// The session goes, with this in it.
    pub fn detach(&mut self) -> Option<Box<Kept>> {
        let given = Arc::clone(&self.deciding.settings.current().forwarded);
        let moving = &mut self.deciding.moving;
        let mut kept = moving.kept.take()?;
        kept.repeats = std::mem::take(&mut self.repeats);
        moving.away = true;
        moving.fresh.clear();
        if !std::mem::take(&mut moving.closing).is_empty() {
            kept.leave(Traces::All);
        }
        kept.given = (!std::mem::take(&mut moving.restarted)).then_some(given);
        Some(kept)
    }
}
