//! Statements of ours in a session: what clears it, and what prepares a caller's statement again under today's decision.
//!
//! In: sealed statements. Out: their messages, ahead of the client's own; the answers are taken out of the stream. A statement made by
//! SQL's PREPARE is held by the warehouse under its name: when what it stands for has changed, DEALLOCATE and PREPARE go ahead of the
//! EXECUTE. Must never: let an EXECUTE find a statement that was decided otherwise.

use super::deciding::{Deciding, Surroundings, Undo};
use super::engine::{End, Engine, Outgoing};
use super::names::Decided;
use super::queue::{Expect, Expected};
use crate::error::Refusal;
use crate::relay::run::Run;
use crate::seal::{self, Sealed};
use crate::upstream::message;
use crate::wire::errors::Fields;
use crate::wire::{Header, TransactionStatus};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the EXECUTEs of one string, or of one message, need: by name, the statement under which it has to be prepared again, `None` when
/// it is used as it is.
pub type Renewals = BTreeMap<Box<str>, Option<Arc<Decided>>>;

impl<A: Surroundings> Deciding<A> {
    /// Takes note that a prepared statement is executed as it is.
    ///
    /// # Errors
    /// 0A000 when the same string executes it under another decision.
    pub(super) fn used(&mut self, name: &str) -> Result<(), Refusal> {
        match self.renewals.entry(name.into()).or_default() {
            None => Ok(()),
            Some(_) => Err(changed(name)),
        }
    }

    /// Takes note that a prepared statement has to be prepared again before it is executed.
    ///
    /// # Errors
    /// 0A000 where that cannot be done ahead of everything that uses it.
    pub(super) fn renew(&mut self, name: &str, again: Decided) -> Result<Arc<Decided>, Refusal> {
        if self.settled + 1 < self.batch {
            // What is under way may fail the transaction, and these with it.
            self.unsettled = true;
            return Err(Refusal::internal("not settled"));
        }
        let held = self.statements.get(name).is_some_and(|slot| slot.batch != self.batch);
        // What the warehouse would refuse is not sent to it ahead of the caller's own message: nobody waits for that answer.
        let lacks = again.plan.as_ref().is_some_and(|plan| plan.lacks_column);
        if !held || lacks || self.status == TransactionStatus::Failed {
            return Err(changed(name));
        }
        match self.renewals.get(name) {
            Some(Some(earlier)) if earlier.same_text(again.plan.as_ref()) => Ok(Arc::clone(earlier)),
            Some(_) => Err(changed(name)),
            None => {
                let again = Arc::new(again);
                self.renewals.insert(name.into(), Some(Arc::clone(&again)));
                Ok(again)
            }
        }
    }
}

fn changed(name: &str) -> Refusal {
    Refusal::unsupported(format!("the policy of prepared statement \"{name}\" has changed"))
        .with_hint("DEALLOCATE it and prepare it again")
}

impl<A: Surroundings> Engine<A> {
    /// Whether statements have to be prepared again before the next message.
    pub(super) fn renews(&self) -> bool {
        self.deciding.renewals.values().any(Option::is_some)
    }

    /// Sends what prepares them again.
    pub(super) fn send_renewals(&mut self, out: &mut Outgoing) -> Result<(), Refusal> {
        for (name, again) in std::mem::take(&mut self.deciding.renewals) {
            let Some(again) = again else { continue };
            let Some(plan) = &again.plan else { continue };
            self.own(&[seal::deallocate(&name), plan.sealed.clone()], out)?;
            let batch = self.deciding.batch;
            let undo = Undo::Statement(self.deciding.statements.put(&name, Some(Arc::clone(&again)), batch));
            if let Some(last) = self.queue.back() {
                last.undo.push(undo);
            }
        }
        Ok(())
    }

    /// Sends statements of ours: in a Query of their own between batches, as messages of the extended protocol inside one.
    pub(super) fn own(&mut self, statements: &[Sealed], out: &mut Outgoing) -> Result<(), Refusal> {
        let closes = if self.is_open() {
            let mut closes = 0;
            for statement in statements {
                message::own_in_batch(statement, &mut out.upstream)?;
                closes += 2;
            }
            Some(closes)
        } else {
            message::query(&Sealed::join(statements.iter()).0, &mut out.upstream)?;
            None
        };
        let batch = self.deciding.batch;
        self.queue.push(Expected {
            what: Expect::Own { closes },
            about: None,
            undo: Vec::new(),
            batch,
            conceals: false,
        });
        Ok(())
    }

    /// A message of the warehouse while statements of ours are answered; false when the message is for all, `None` when it has not come
    /// whole.
    ///
    /// # Errors
    /// When one of them failed: what the session holds is not known any more.
    pub(super) fn own_answered(&mut self, header: Header, run: &mut Run<'_>, most: usize) -> Result<Option<bool>, End> {
        if header.tag == b'S' {
            return Ok(Some(false));
        }
        let failed = || Refusal::upstream("the warehouse's session could not be made ready");
        if header.body > most {
            return Err(failed().into());
        }
        if run.ahead().len() < header.total() {
            self.upstream_wants = header.total();
            return Ok(None);
        }
        if matches!(self.queue.front(), Some(Expected { what: Expect::Handover(_), .. })) {
            return self.handed_over(header, run).map(|()| Some(true));
        }
        let Some(Expected { what: Expect::Own { closes }, .. }) = self.queue.front() else { return Ok(Some(false)) };
        let (message, _) = run.replace(header.total());
        let body = message.get(Header::LEN..).unwrap_or_default();
        let done = match (header.tag, closes) {
            (b'C' | b'N' | b'A', _) | (b'1' | b'2', Some(_)) => false,
            (b'3', Some(left)) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            (b'Z', None) => matches!(body, b"I" | b"T"),
            (b'E', _) => {
                let fields = Fields::parse(body).ok();
                tracing::error!(code = fields.as_ref().map_or("", |f| f.sqlstate()), "a statement of the proxy failed");
                return Err(failed().into());
            }
            _ => return Err(failed().into()),
        };
        if done {
            self.queue.pop();
        }
        Ok(Some(true))
    }
}
