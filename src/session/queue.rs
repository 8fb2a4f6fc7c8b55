//! What the warehouse still owes an answer to, in order.
//!
//! In: what was sent. Out: what the next message of the warehouse belongs to. Must never: lose count — an answer that does not fit ends
//! the session.

use super::at_once::AtOnce;
use super::deciding::{Part, Undo};
use super::handover::Handover;
use super::instead::Instead;
use super::names::Decided;
use super::repeats::Repeating;
use super::scratch::Probe;
use crate::audit::Record;
use crate::plan::{Effect, ErrorPolicy, Plan, Quotable, Writing};
use crate::relay::errors::About;
use crate::seal::Sealed;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::sync::Arc;

/// One expected answer.
#[derive(Debug)]
pub struct Expected {
    /// Of which kind.
    pub what: Expect,
    /// The statement it is about, for its errors.
    pub about: Option<Arc<Decided>>,
    /// How to undo what was taken for granted when it was sent.
    pub undo: Vec<Undo>,
    /// The batch it was sent in.
    pub batch: u64,
    /// Its rows are those of a check, and the client asked for none.
    pub conceals: bool,
}

/// Kinds of answers.
#[derive(Debug)]
pub enum Expect {
    /// ParseComplete; swallowed when the client did not ask for it.
    Parse {
        /// Not for the client.
        swallow: bool,
    },
    /// CloseComplete of nothing, which the client gets as ParseComplete: the statement is there.
    Found,
    /// BindComplete.
    Bind,
    /// CloseComplete.
    Close {
        /// Not for the client.
        swallow: bool,
    },
    /// ParameterDescription, then RowDescription or NoData.
    DescribeStatement {
        /// The first has come.
        parameters: bool,
    },
    /// RowDescription or NoData.
    DescribePortal,
    /// Rows, then CommandComplete, PortalSuspended or EmptyQueryResponse.
    Execute(Box<Execution>),
    /// Everything up to ReadyForQuery.
    Query(Box<Queried>),
    /// ReadyForQuery.
    Sync {
        /// The batch changes settings or names: nothing is sent before it is answered.
        effects: bool,
        /// An error came before.
        failed: bool,
    },
    /// An error, in place of which `instead` is sent: a statement of this batch was refused.
    Poison {
        /// The whole ErrorResponse.
        instead: BytesMut,
    },
    /// What answers a run of a prepared statement, up to ReadyForQuery.
    AtOnce(AtOnce),
    /// The session's temporary tables: nothing of it is for the client.
    Probe(Box<Probe>),
    /// Statements of ours: nothing of it is for the client.
    Own {
        /// CloseComplete still to come, inside a batch; `None`: up to ReadyForQuery.
        closes: Option<u8>,
    },
    /// A string of ours that makes the session ready for its next holder, up to ReadyForQuery: nothing of it is for the client.
    Handover(Box<Handover>),
}

impl Expect {
    /// Takes the record of the statement that is being answered.
    pub fn take_record(&mut self) -> Option<Record> {
        match self {
            Self::Execute(execution) => execution.record.take(),
            Self::Query(queried) => queried.parts.get_mut(queried.at)?.record.take(),
            Self::AtOnce(run) => run.record.take(),
            Self::Parse { .. }
            | Self::Found
            | Self::Bind
            | Self::Close { .. }
            | Self::DescribeStatement { .. }
            | Self::DescribePortal
            | Self::Sync { .. }
            | Self::Poison { .. }
            | Self::Probe(_)
            | Self::Own { .. }
            | Self::Handover(_) => None,
        }
    }
}

/// An Execute under way.
#[derive(Debug)]
pub struct Execution {
    /// How its errors are shown.
    pub errors: ErrorPolicy,
    /// What it executes or fetches from.
    pub inner: Option<Arc<Decided>>,
    /// Rows in place of the warehouse's.
    pub instead: Option<Instead>,
    /// Nothing was executed before it in its batch.
    pub first: bool,
    /// Whether the plan's own effect belongs to it.
    pub effects: bool,
    /// Its notices were sent.
    pub noticed: bool,
    /// Its audit record.
    pub record: Option<Record>,
}

/// A simple Query under way.
#[derive(Debug)]
pub struct Queried {
    /// The caller's text.
    pub sql: Arc<str>,
    /// Its statements.
    pub parts: Vec<Part>,
    /// What was sent, when there is more than one.
    pub joined: Option<(Sealed, Vec<usize>)>,
    /// The statement now answered.
    pub at: usize,
    /// Its notices were sent.
    pub noticed: bool,
    /// An error came.
    pub failed: bool,
    /// Some statement changes settings or names.
    pub effects: bool,
    /// It was sent by its numbers alone.
    pub repeating: Option<Repeating>,
}

impl Queried {
    /// What an error at this point is about.
    pub fn about(&self) -> Option<About<'_>> {
        let part = self.parts.get(self.at)?;
        let (sent, start) = match &self.joined {
            Some((sealed, starts)) => (sealed.as_str(), *starts.get(self.at)?),
            None => (part.plan.sealed.as_str(), 0),
        };
        let writing = writing_of(&part.plan, part.inner.as_ref());
        let quotable = quotable_of(&part.plan, part.inner.as_ref());
        let repeated = self.sent_values();
        let (plan, errors) = (&*part.plan, part.errors);
        Some(About { caller_sql: &self.sql, sent, start, plan, errors, writing, quotable, repeated })
    }

    /// Whether the rows that come now are not for the client.
    pub fn conceals(&self) -> bool {
        self.parts.get(self.at).is_some_and(|part| conceals(&part.plan, part.inner.as_ref()))
    }
}

impl Expected {
    /// Rows that its statement answers with in place of the warehouse's.
    pub fn instead(&self) -> Option<&Instead> {
        match &self.what {
            Expect::Query(queried) => queried.parts.get(queried.at)?.instead.as_ref(),
            Expect::Execute(execution) => execution.instead.as_ref(),
            _ => None,
        }
    }

    /// What an error of it is about; `None` when it belongs to no statement.
    pub fn about(&self) -> Option<About<'_>> {
        match &self.what {
            Expect::Query(queried) => queried.about(),
            Expect::Execute(execution) => {
                let decided = self.about.as_ref()?;
                about(decided, execution.errors, execution.inner.as_ref())
            }
            _ => {
                let decided = self.about.as_ref()?;
                about(decided, decided.plan.as_ref()?.errors, None)
            }
        }
    }
}

fn about<'a>(decided: &'a Decided, errors: ErrorPolicy, inner: Option<&'a Arc<Decided>>) -> Option<About<'a>> {
    let plan: &Plan = decided.plan.as_ref()?;
    let writing = writing_of(plan, inner);
    let quotable = quotable_of(plan, inner);
    let sent = plan.sealed.as_str();
    Some(About { caller_sql: &decided.sql, sent, start: 0, plan, errors, writing, quotable, repeated: None })
}

/// What a statement writes, itself or by what it executes.
pub fn writing_of<'a>(plan: &'a Plan, inner: Option<&'a Arc<Decided>>) -> Option<&'a Writing> {
    let executed = || inner.and_then(|d| d.plan.as_ref()).and_then(|p| p.writing.as_deref());
    plan.writing.as_deref().or_else(executed)
}

/// The functions whose words are for the caller of a statement, or of what it executes.
fn quotable_of<'a>(plan: &'a Plan, inner: Option<&'a Arc<Decided>>) -> &'a Quotable {
    inner.and_then(|d| d.plan.as_ref()).map_or(&plan.quotable, |executed| &executed.quotable)
}

/// Whether the rows of a statement are not for the client.
pub fn conceals(plan: &Plan, inner: Option<&Arc<Decided>>) -> bool {
    // PREPARE itself returns nothing; what it prepares may.
    !matches!(plan.effect, Effect::Prepare { .. }) && writing_of(plan, inner).is_some_and(|w| w.conceals_rows)
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    list: VecDeque<Expected>,
    /// How many Sync and Query in it have effects.
    gates: usize,
}

/// What stands behind the front of the queue in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// Nothing that does anything, and no end yet.
    Nothing,
    /// Its end.
    Sync,
    /// Something that is executed.
    More,
}

/// What fell out when an error made the warehouse skip to Sync.
#[derive(Debug)]
pub struct Skipped {
    /// The undo lists, first sent first.
    pub undo: Vec<Undo>,
    /// Whether the Sync the warehouse skips to was already sent.
    pub synced: bool,
}

fn gate(what: &Expect) -> bool {
    match what {
        Expect::Sync { effects, .. } => *effects,
        Expect::Query(queried) => queried.effects,
        _ => false,
    }
}

impl Queue {
    /// Something was sent.
    pub fn push(&mut self, expected: Expected) {
        self.gates += usize::from(gate(&expected.what));
        self.list.push_back(expected);
    }

    /// The text of the statement that is being answered.
    pub fn text(&self) -> Option<&Arc<str>> {
        self.list.iter().find_map(|expected| match &expected.what {
            Expect::Query(queried) => Some(&queried.sql),
            _ => expected.about.as_ref().map(|decided| &decided.sql),
        })
    }

    /// What the next message belongs to.
    pub fn front(&mut self) -> Option<&mut Expected> {
        self.list.front_mut()
    }

    /// What was sent last.
    pub fn back(&mut self) -> Option<&mut Expected> {
        self.list.back_mut()
    }

    /// The front was answered in full.
    pub fn pop(&mut self) -> Option<Expected> {
        let expected = self.list.pop_front();
        self.gates -= usize::from(expected.as_ref().is_some_and(|e| gate(&e.what)));
        expected
    }

    /// How much is owed.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether everything was answered.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether nothing more may be sent before an answer: a batch that changes settings or names is under way.
    pub fn gated(&self) -> bool {
        self.gates > 0
    }

    /// What was sent behind the front, up to the end of its batch.
    pub fn behind_front(&self) -> Queued {
        for expected in self.list.iter().skip(1) {
            match expected.what {
                Expect::Sync { .. } => return Queued::Sync,
                Expect::Query(_)
                | Expect::Execute(_)
                | Expect::AtOnce(_)
                | Expect::Poison { .. }
                | Expect::Probe(_)
                | Expect::Own { .. }
                | Expect::Handover(_) => {
                    return Queued::More;
                }
                Expect::Parse { .. }
                | Expect::Found
                | Expect::Bind
                | Expect::Close { .. }
                | Expect::DescribeStatement { .. }
                | Expect::DescribePortal => {}
            }
        }
        Queued::Nothing
    }

    /// Whether the last thing sent ends a batch, so that everything will be answered.
    pub fn complete(&self) -> bool {
        self.list.back().is_none_or(|e| match &e.what {
            Expect::Sync { .. }
            | Expect::Query(_)
            | Expect::AtOnce(_)
            | Expect::Own { closes: None }
            | Expect::Handover(_) => true,
            Expect::Probe(probe) => !probe.in_batch(),
            _ => false,
        })
    }

    /// The undo lists of what is under way.
    pub fn undo_lists(&mut self) -> impl Iterator<Item = &mut Undo> {
        self.list.iter_mut().flat_map(|e| {
            let parts = match &mut e.what {
                Expect::Query(queried) => Some(queried.parts.iter_mut().flat_map(|p| p.undo.iter_mut())),
                _ => None,
            };
            e.undo.iter_mut().chain(parts.into_iter().flatten())
        })
    }

    /// The front failed in the extended protocol: the warehouse skips everything up to Sync (PostgreSQL manual, 55.2.3).
    pub fn skip_to_sync(&mut self) -> Skipped {
        let mut undo = Vec::new();
        while let Some(mut expected) = self.pop() {
            undo.append(&mut expected.undo);
            match &mut expected.what {
                Expect::Sync { failed, .. } => {
                    *failed = true;
                    self.gates += usize::from(gate(&expected.what));
                    self.list.push_front(expected);
                    return Skipped { undo, synced: true };
                }
                Expect::Query(queried) => {
                    for part in &mut queried.parts {
                        undo.append(&mut part.undo);
                    }
                }
                _ => {}
            }
        }
        Skipped { undo, synced: false }
    }
}
