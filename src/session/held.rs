//! Prepared statements of clients that share sessions of the warehouse: client's name → decision → the warehouse's name.
//!
//! In: Parse, Bind, Describe, Close, DEALLOCATE of clients. Out: the same for the session of the warehouse at hand, where each text is
//! prepared once, with a Parse ahead of the first message that needs it. Must never: use a statement whose text, parameter types or
//! catalog differ from what was decided for this client just now.

use super::deciding::{Recheck, Surroundings, Undo};
use super::engine::{Engine, Outgoing, Refused, Wait, send_statement};
use super::names::{Decided, Made};
use super::queue::Expect;
use crate::error::{Family, Refusal, SqlState};
use crate::plan::Effect;
use crate::seal::Sealed;
use crate::types::Oid;
use crate::upstream::message::{self, OWN_NAMES};
use crate::upstream::{Held, Kept, Under};
use crate::wire::{Target, TransactionStatus};
use std::borrow::Cow;
use std::sync::Arc;

/// What a text is decided under and prepared by, besides itself.
fn text(decided: &Decided) -> &str {
    decided.plan.as_ref().map_or("", |plan| plan.sealed.as_str())
}

/// What is sent of it.
fn sealed(decided: &Decided) -> Cow<'_, Sealed> {
    decided.plan.as_ref().map_or_else(|| Cow::Owned(Sealed::empty()), |plan| Cow::Borrowed(&plan.sealed))
}

/// Whether an effect gives up a statement that is there under another name.
fn gives_up(effect: &Effect, made: impl Fn(&str) -> Option<Made>) -> Option<&str> {
    match effect {
        Effect::Deallocate(Some(name)) if made(name) == Some(Made::Parse) => Some(name),
        _ => None,
    }
}

impl<A: Surroundings> Engine<A> {
    /// What a text is prepared under now.
    fn under(&self) -> Under {
        let catalog = self.deciding.around.world().catalog.version;
        Under { catalog, given: Arc::clone(&self.deciding.settings.current().forwarded) }
    }

    fn find_held(&mut self, decided: &Decided) -> Option<Held> {
        let under = self.under();
        // In a transaction that has failed nothing can be prepared, and nothing is run but its end, which settings say nothing of.
        let failed = self.status() == TransactionStatus::Failed;
        let kept: &mut Kept = self.deciding.moving.kept.as_mut()?;
        let (text, params) = (text(decided), &decided.params);
        kept.find(text, params, &under).or_else(|| failed.then(|| kept.find_of(text, params, under.catalog))?)
    }

    /// The name of the statement that was just made sure of, when it was made by Parse; `None` when it is the client's own.
    ///
    /// # Errors
    /// When nobody has made sure of it.
    pub(super) fn known_as(&mut self, name: &str, decided: &Decided) -> Result<Option<Held>, Refusal> {
        if name.is_empty() || decided.made != Made::Parse || !self.deciding.moving.shares() {
            return Ok(None);
        }
        let found = self.deciding.moving.found.take();
        found.map(Some).ok_or_else(|| Refusal::internal("a prepared statement has no name in the warehouse"))
    }

    /// Sends a statement that is not there. The caller expects the answer.
    fn add_held(&mut self, decided: &Decided, out: &mut Outgoing) -> Result<Held, Refused> {
        let under = self.under();
        let Some(kept) = self.deciding.moving.kept.as_mut() else {
            return Err(Refusal::internal("no session to prepare in").into());
        };
        let (held, evicted) = kept.add(text(decided), &decided.params, &under);
        let closing: Vec<Held> = std::mem::take(&mut self.deciding.moving.closing).into_iter().chain(evicted).collect();
        for useless in closing {
            message::close_held(&useless, &mut out.upstream)?;
            self.expect(Expect::Close { swallow: true }, None, vec![Undo::Spoiled]);
        }
        message::parse_held(&held, sealed(decided).as_ref(), &decided.params, &mut out.upstream)?;
        let batch = self.deciding.batch;
        self.deciding.moving.fresh.push((held.clone(), batch));
        Ok(held)
    }

    /// Parse of a client.
    pub(super) fn parse_held(
        &mut self,
        name: &str,
        decided: Arc<Decided>,
        mut undo: Vec<Undo>,
        out: &mut Outgoing,
    ) -> Result<(), Refused> {
        if name.is_empty() {
            // Should it be skipped, what the session has under no name is not this client's.
            undo.push(Undo::Unnamed);
            self.deciding.moving.unnamed = self.deciding.moving.turn;
            return self.send_parse(name, decided, undo, out);
        }
        if name.starts_with(OWN_NAMES) {
            return Err(Refusal::protocol("invalid name in parse message").into());
        }
        match self.deciding.statements.get(name) {
            Some(slot) if slot.batch != self.deciding.batch && slot.batch > self.deciding.settled => {
                return Err(Refused::Later(Wait::Settled));
            }
            Some(slot) if slot.held.is_some() => {
                let text = format!("prepared statement \"{name}\" already exists");
                let refusal = Refusal::new(Family::Caller, SqlState::DUPLICATE_PREPARED_STATEMENT, text);
                return Err(Refused::With(Box::new(refusal), undo));
            }
            Some(_) | None => {}
        }
        let mut spare = false;
        let what = match self.find_held(&decided) {
            Some(held) => {
                self.is_confirmed(&held)?;
                // In a failed transaction, which it may be in by then, the warehouse would refuse.
                let calm = self.status() == TransactionStatus::Idle
                    && self.deciding.settled + 1 == self.deciding.batch
                    && !self.is_open();
                if calm {
                    message::close_nothing(&mut out.upstream)?;
                    Expect::Found
                } else {
                    message::parse_held(&Held::spare(), sealed(&decided).as_ref(), &decided.params, &mut out.upstream)?;
                    message::close_held(&Held::spare(), &mut out.upstream)?;
                    spare = true;
                    Expect::Parse { swallow: false }
                }
            }
            None => {
                undo.push(Undo::Held(self.add_held(&decided, out)?));
                Expect::Parse { swallow: false }
            }
        };
        let batch = self.deciding.batch;
        undo.push(Undo::Statement(self.deciding.statements.put(name, Some(Arc::clone(&decided)), batch)));
        self.expect(what, Some(decided), undo);
        if spare {
            self.expect(Expect::Close { swallow: true }, None, Vec::new());
        }
        Ok(())
    }

    /// That a statement was not sent in an earlier batch that may still fail.
    fn is_confirmed(&self, held: &Held) -> Result<(), Refused> {
        let batch = self.deciding.batch;
        let waits = self.deciding.moving.fresh.iter().any(|(fresh, of)| fresh == held && *of != batch);
        if waits { Err(Refused::Later(Wait::Settled)) } else { Ok(()) }
    }

    /// A statement of the client under today's decision; sent ahead of the message that needs it where it is not there.
    pub(super) fn statement_held(
        &mut self,
        name: &str,
        earlier: Arc<Decided>,
        now: Recheck,
        out: &mut Outgoing,
    ) -> Result<Arc<Decided>, Refused> {
        let (now, changed) = match now {
            Recheck::Same => (earlier, false),
            Recheck::Renewed(again) => (Arc::new(again), false),
            Recheck::Changed(again) => (Arc::new(again), true),
        };
        self.deciding.statements.refresh(name, &now);
        let turn = self.deciding.moving.turn;
        if name.is_empty() {
            if changed || self.deciding.moving.unnamed != turn {
                self.deciding.moving.unnamed = turn;
                send_statement(name, &now, out)?;
                self.expect(Expect::Parse { swallow: true }, Some(Arc::clone(&now)), vec![Undo::Unnamed]);
                self.is_open_now();
            }
            return Ok(now);
        }
        let held = match self.find_held(&now) {
            Some(held) => {
                self.is_confirmed(&held)?;
                held
            }
            None => {
                let held = self.add_held(&now, out)?;
                let undo = vec![Undo::Held(held.clone())];
                self.expect(Expect::Parse { swallow: true }, Some(Arc::clone(&now)), undo);
                self.is_open_now();
                held
            }
        };
        self.deciding.moving.found = Some(held);
        Ok(now)
    }

    /// Sends what a DEALLOCATE by SQL gives up, should the warehouse know it by another name.
    pub(super) fn send_spares(&mut self, out: &mut Outgoing) -> Result<(), Refusal> {
        for name in std::mem::take(&mut self.deciding.moving.spares) {
            message::close(Target::Statement, &name, &mut out.upstream)?;
            self.expect(Expect::Close { swallow: true }, None, Vec::new());
            let none: [Oid; 0] = [];
            message::parse(&name, &Sealed::empty(), &none, &mut out.upstream)?;
            self.expect(Expect::Parse { swallow: true }, None, vec![Undo::Spoiled]);
        }
        Ok(())
    }

    /// The same ahead of an Execute.
    pub(super) fn send_spare(&mut self, effect: &Effect, out: &mut Outgoing) -> Result<(), Refusal> {
        self.deciding.spare(effect);
        self.send_spares(out)
    }

    /// The statement of a failed message may be one that the warehouse cannot plan any more: it is prepared anew next time.
    pub(super) fn doubt(&mut self, code: &str, decided: Option<&Arc<Decided>>) {
        if !self.deciding.moving.shares() || !matches!(code, "0A000" | "26000") {
            return;
        }
        let Some(held) = decided.and_then(|decided| self.find_held(decided)) else { return };
        if let Some(kept) = &mut self.deciding.moving.kept {
            kept.forget(&held);
        }
        self.deciding.moving.closing.push(held);
    }
}

impl<A: Surroundings> super::deciding::Deciding<A> {
    /// Takes note of a statement that is about to be given up by SQL.
    pub(super) fn spare(&mut self, effect: &Effect) -> bool {
        if !self.moving.shares() {
            return false;
        }
        let made = |name: &str| self.statements.get(name)?.held.as_ref().map(|held| held.made);
        let Some(name) = gives_up(effect, made) else { return false };
        self.moving.spares.push(name.into());
        true
    }
}
