//! What a session knows of its own temporary tables, and how it learns it.
//!
//! In: what was sent, the warehouse's answer to the one question about them. Out: the overlay that the next statement is planned with.
//! Must never: let a statement be planned with a picture that a statement before it may have changed, or cost anything where there are no
//! temporary tables.
//!
//! The warehouse is asked on the session's own connection, before the next message that has to be decided: with a Query of its own
//! between batches; inside a batch as messages of the extended protocol, under names that no client can use, so that the batch stays one
//! transaction.

use super::deciding::{Deciding, Surroundings};
use super::engine::{End, Engine, Outgoing};
use super::queue::{Expect, Expected};
use crate::catalog::scratch::{Change, Scratch};
use crate::error::Refusal;
use crate::plan::Effect;
use crate::relay::errors::ended;
use crate::relay::run::Run;
use crate::types::Oid;
use crate::upstream::message::{self, Fixed};
use crate::wire::errors::Fields;
use crate::wire::{Header, TransactionStatus};
use bytes::{Buf, BytesMut};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The picture, and whether it still holds.
#[derive(Debug, Clone)]
pub struct Scratching {
    now: Arc<Scratch>,
    /// A statement was sent that may have changed it.
    stale: bool,
    /// Such a statement was sent in the transaction that is open, whose end may undo it.
    touched: bool,
    /// The end of the transaction drops tables even when all goes well.
    until_commit: bool,
    /// Tables that statements of the session made, as far as the warehouse has told of them.
    own: BTreeSet<Oid>,
    /// Those that were made since.
    made: BTreeSet<String>,
}

impl Scratching {
    /// A session's state at its start.
    pub fn new(enabled: bool) -> Self {
        Self {
            now: Arc::new(Scratch::none(enabled)),
            stale: false,
            touched: false,
            until_commit: false,
            own: BTreeSet::new(),
            made: BTreeSet::new(),
        }
    }

    /// The picture.
    pub fn now(&self) -> &Arc<Scratch> {
        &self.now
    }

    /// Whether the session surely has no temporary table.
    pub fn is_none(&self) -> bool {
        !self.stale && *self.now == Scratch::none(self.now.enabled)
    }

    /// Whether the warehouse has to be asked before the next decision.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// What becomes of it by an effect, supposing it comes about; `None` when nothing does. `failed`: the transaction cannot commit.
    pub fn after(&self, effect: &Effect, failed: bool) -> Option<Self> {
        let mut next = self.clone();
        match effect {
            Effect::Scratch(change) => {
                next.now = Arc::new(self.now.after(change));
                next.stale = true;
                next.touched = true;
                next.until_commit |= matches!(change, Change::Create { until_commit: true, .. });
                next.note(change);
                Some(next)
            }
            Effect::DiscardAll if *self.now != Scratch::none(self.now.enabled) => {
                next.now = Arc::new(self.now.after(&Change::Clear));
                next.stale = true;
                Some(next)
            }
            Effect::Rollback | Effect::RollbackTo(_) if self.touched => Some(self.undone()),
            Effect::Commit if self.touched && (failed || self.until_commit) => Some(self.undone()),
            _ => None,
        }
    }

    /// Which tables are the session's own. One that was there before IF NOT EXISTS is not made.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Create { name, unless_there: false, .. } => {
                self.made.insert(name.clone());
            }
            Change::Drop(names) => self.made.retain(|made| !names.contains(made)),
            Change::Rename { from, to } => {
                if self.made.remove(from) {
                    self.made.insert(to.clone());
                }
            }
            Change::Create { .. } | Change::Columns { .. } | Change::Detail | Change::Clear => {}
        }
    }

    fn undone(&self) -> Self {
        Self { now: Arc::new(self.now.unknown()), stale: true, ..self.clone() }
    }

    /// No transaction is open any more.
    pub fn settled(&mut self) {
        self.stale |= self.touched;
        self.touched = false;
        self.until_commit = false;
    }

    /// The warehouse could not be asked: nothing is known of names until it can.
    pub fn forget(&mut self) {
        self.now = Arc::new(self.now.unknown());
    }

    /// The warehouse has answered.
    fn known(&mut self, found: Scratch) {
        let found = found.only(|name, oid| self.own.contains(&oid) || self.made.contains(name));
        self.made.clear();
        self.own.extend(found.shown().map(|(_, relation)| relation.oid));
        if *self.now != found {
            self.now = Arc::new(found);
        }
        self.stale = false;
    }
}

/// A question under way.
#[derive(Debug)]
pub struct Probe {
    /// Inside a batch.
    extended: bool,
    /// CloseComplete still to come, when inside a batch.
    closes: u8,
    /// The answer's row.
    row: Option<String>,
    /// It failed.
    failed: bool,
}

impl Probe {
    /// Whether it was asked inside a batch that is not ended yet.
    pub fn in_batch(&self) -> bool {
        self.extended
    }
}

/// What a session keeps of its questions.
#[derive(Debug, Default)]
pub struct Probing {
    /// One is under way.
    pub under_way: bool,
    /// The last one failed so: the message that waits for it is refused with this.
    pub failed: Option<Refusal>,
}

/// The text of a row's only column; `None` when it is not such a row.
fn only_column(mut body: &[u8]) -> Option<String> {
    if body.len() < 6 || body.get_i16() != 1 {
        return None;
    }
    let length = usize::try_from(body.get_i32()).ok()?;
    if body.len() != length {
        return None;
    }
    String::from_utf8(body.to_vec()).ok()
}

fn out_of_step() -> End {
    tracing::error!("the warehouse answered out of step");
    End::Fatal(Refusal::upstream("lost synchronization with the warehouse"))
}

impl<A: Surroundings> Deciding<A> {
    /// Whether the warehouse has to be asked, and would answer: in a failed transaction it answers nothing, and nothing that needs the
    /// answer is run.
    pub fn must_ask(&self) -> bool {
        self.scratch.is_stale() && (self.status != TransactionStatus::Failed || self.revived)
    }
}

impl<A: Surroundings> Engine<A> {
    /// Asks the warehouse for the session's temporary tables.
    pub(super) fn probe(&mut self, out: &mut Outgoing) -> Result<(), End> {
        let extended = self.is_open();
        if extended {
            message::fixed_in_batch(Fixed::Scratch, &mut out.upstream)?;
        } else {
            message::fixed(Fixed::Scratch, &mut out.upstream)?;
        }
        self.probing.under_way = true;
        let probe = Probe { extended, closes: if extended { 2 } else { 0 }, row: None, failed: false };
        let batch = self.deciding.batch;
        self.queue.push(Expected {
            what: Expect::Probe(Box::new(probe)),
            about: None,
            undo: Vec::new(),
            batch,
            conceals: false,
        });
        Ok(())
    }

    /// A message of the warehouse while a question is at the front of the queue; false when there is none, or the message is for all.
    /// `None` when the message has not come whole.
    pub(super) fn probe_answered(
        &mut self,
        header: Header,
        run: &mut Run<'_>,
        most: usize,
    ) -> Result<Option<bool>, End> {
        let Some(Expected { what: Expect::Probe(probe), .. }) = self.queue.front() else { return Ok(Some(false)) };
        if header.tag == b'S' {
            return Ok(Some(false));
        }
        if header.body > most {
            return Err(out_of_step());
        }
        if run.ahead().len() < header.total() {
            self.upstream_wants = header.total();
            return Ok(None);
        }
        let (message, out) = run.replace(header.total());
        let body = message.get(Header::LEN..).unwrap_or_default();
        let mut done = false;
        match header.tag {
            b'T' | b'C' | b'1' | b'2' | b'N' | b'A' => {}
            b'D' if probe.row.is_none() => probe.row = Some(only_column(body).ok_or_else(out_of_step)?),
            b'3' if probe.extended && probe.closes > 0 => {
                probe.closes -= 1;
                done = probe.closes == 0;
            }
            b'Z' if !probe.extended => done = true,
            b'E' => {
                let fields = Fields::parse(body).map_err(|_| out_of_step())?;
                if fields.is_fatal() {
                    return Err(End::Fatal(ended(Some(&fields))));
                }
                probe.failed = true;
                if probe.extended {
                    // In the place of the answer to the message that waits: the batch is over.
                    crate::relay::errors::relay(out, b'E', &fields, None);
                    self.probing.under_way = false;
                    self.skip();
                } else {
                    let mut told = BytesMut::new();
                    crate::relay::errors::relay(&mut told, b'E', &fields, None);
                    told.advance(Header::LEN.min(told.len()));
                    self.probing.failed = Some(refusal_of(&told));
                }
                return Ok(Some(true));
            }
            _ => return Err(out_of_step()),
        }
        if done {
            let status = (header.tag == b'Z').then(|| body.first().copied().and_then(TransactionStatus::from_byte));
            let (row, failed) = (probe.row.take(), probe.failed);
            self.queue.pop();
            self.probing.under_way = false;
            match status {
                Some(Some(status)) => self.deciding.status = status,
                Some(None) => return Err(out_of_step()),
                None => {}
            }
            if !failed {
                let found = self.deciding.scratch.now.read(row.as_deref()).ok_or_else(out_of_step)?;
                self.deciding.scratch.known(found);
            }
        }
        Ok(Some(true))
    }
}

/// An error of the warehouse, already filtered, as what a message is refused with.
fn refusal_of(body: &[u8]) -> Refusal {
    let canceled = Fields::parse(body).ok().map(|fields| fields.sqlstate().to_owned());
    let code = match canceled.as_deref() {
        Some("57014") => crate::error::SqlState("57014"),
        Some("55P03") => crate::error::SqlState("55P03"),
        Some("25P02") => crate::error::SqlState("25P02"),
        _ => crate::error::SqlState::INTERNAL_ERROR,
    };
    let text = Fields::parse(body).ok().and_then(|fields| fields.get(b'M').map(str::to_owned));
    let text = text.unwrap_or_else(|| "the session's temporary tables could not be read".to_owned());
    Refusal::new(crate::error::Family::Upstream, code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(name: &str, until_commit: bool) -> Effect {
        Effect::Scratch(Change::Create { name: name.into(), columns: None, until_commit, unless_there: false })
    }

    #[test]
    fn sessions_without_temporary_tables_are_never_stale() {
        let mut none = Scratching::new(true);
        for effect in [Effect::None, Effect::Begin, Effect::Commit, Effect::Rollback, Effect::DiscardAll] {
            assert!(none.after(&effect, false).is_none(), "{effect:?}");
        }
        none.settled();
        assert!(!none.is_stale());
    }

    #[test]
    fn what_a_transaction_made_is_looked_at_again_when_it_ends() {
        let none = Scratching::new(true);
        let mut made = none.after(&created("t", false), false).unwrap();
        assert!(made.is_stale() && made.now().table("t").is_some());
        made.known(made.now().as_ref().clone());
        assert!(!made.is_stale());
        assert!(made.after(&Effect::Commit, false).is_none(), "it stays");
        for (effect, failed) in
            [(Effect::Rollback, false), (Effect::RollbackTo("s".into()), false), (Effect::Commit, true)]
        {
            let undone = made.after(&effect, failed).unwrap();
            assert!(undone.is_stale() && !undone.now().is_certain(), "{effect:?}");
        }
        made.settled();
        assert!(made.is_stale());
        made.known(made.now().as_ref().clone());
        made.settled();
        assert!(!made.is_stale(), "one question a transaction");
        let dropped = none.after(&created("t", true), false).unwrap();
        assert!(!dropped.after(&Effect::Commit, false).unwrap().now().is_certain());
    }

    #[test]
    fn an_answer_has_one_column() {
        let row = |n: i16, length: i32, text: &[u8]| [&n.to_be_bytes()[..], &length.to_be_bytes(), text].concat();
        assert_eq!(only_column(&row(1, 2, b"{}")), Some("{}".to_owned()));
        for broken in [row(2, 2, b"{}"), row(1, 3, b"{}"), row(1, -1, b""), row(1, 1, b"\xff"), vec![0, 1]] {
            assert_eq!(only_column(&broken), None);
        }
    }
}
