//! Results that are larger than the configuration allows: the client gets an error in the middle of the rows, the warehouse a cancel
//! request, and what still comes is thrown away until the session can go on.
//!
//! In: the size of each row. Out: whether it passes. Must never: let the client believe that something did not happen which did. When the
//! cancel request comes too late, the statement has completed: what it read is no matter, and an open transaction is made to fail as the
//! client believes it did. Where something may have been written, or more was sent behind it, the session ends.

use super::deciding::Surroundings;
use super::engine::{End, Engine, Outgoing};
use super::queue::{Expect, Queued};
use crate::error::{Family, Refusal, SqlState};
use crate::relay::run::Run;
use crate::upstream::message;
use crate::wire::TransactionStatus;
use crate::wire::errors::{Severity, error_response};
use bytes::BytesMut;

/// Bounds of one answer; 0 = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Most {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows, with their headers.
    pub bytes: u64,
}

/// What of an answer has come, and what became of one that was too large.
#[derive(Debug, Default)]
pub struct Overrun {
    most: Most,
    rows: u64,
    bytes: u64,
    cut: Cut,
    cancel: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Cut {
    #[default]
    No,
    /// The client has its error; the warehouse's is awaited.
    Cancelling,
    /// The statement completed nevertheless; everything up to ReadyForQuery is thrown away.
    Late,
    /// The transaction has to be made to fail.
    ToFail,
    /// It has been told to.
    Failing,
}

impl Overrun {
    /// Counts towards these bounds.
    pub fn new(most: Most) -> Self {
        Self { most, ..Self::default() }
    }

    /// Whether answers are bounded.
    pub(super) fn counts(&self) -> bool {
        self.most != Most::default()
    }

    /// Counts a row; true when it is one too many.
    fn row(&mut self, bytes: usize) -> bool {
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        (self.most.rows > 0 && self.rows > self.most.rows) || (self.most.bytes > 0 && self.bytes > self.most.bytes)
    }

    /// The next answer begins.
    pub(super) fn restart(&mut self) {
        (self.rows, self.bytes) = (0, 0);
    }

    /// Whether a cut answer is being dealt with: nothing is taken from the client meanwhile.
    pub(super) fn is_cut(&self) -> bool {
        self.cut != Cut::No
    }

    fn refusal(&self) -> Refusal {
        let (what, key) = match self.most {
            Most { rows, .. } if rows > 0 && self.rows > rows => (format!("{rows} rows"), "result_rows"),
            Most { bytes, .. } => (format!("{bytes} bytes"), "result_bytes"),
        };
        let text = format!("result is larger than {what}");
        let hint = format!(
            "Narrow the statement, fetch it in portions with a cursor, or ask an administrator to raise limits.{key}."
        );
        Refusal::new(Family::Unsupported, SqlState::PROGRAM_LIMIT_EXCEEDED, text).with_hint(hint)
    }
}

fn lost() -> End {
    let text = "terminating connection: the result was too large, and the statement could not be cancelled in time";
    End::Fatal(
        Refusal::new(Family::Unsupported, SqlState::PROGRAM_LIMIT_EXCEEDED, text)
            .with_hint("What was sent together with it may have been carried out."),
    )
}

impl<A: Surroundings> Engine<A> {
    /// Whether the warehouse is to be asked to cancel; asking clears it.
    pub fn take_cancel(&mut self) -> bool {
        std::mem::take(&mut self.overrun.cancel)
    }

    /// Counts a row of `bytes`; on the first too many the client is told. True: it does not pass.
    pub(super) fn too_large(&mut self, bytes: usize, run: &mut Run<'_>) -> bool {
        if !self.overrun.counts() || !self.overrun.row(bytes) {
            return false;
        }
        error_response(run.say(), &self.overrun.refusal(), Severity::Error, None);
        self.overrun.cut = Cut::Cancelling;
        self.overrun.cancel = true;
        true
    }

    /// A message that comes while an answer is cut: true when it is thrown away.
    pub(super) fn cut_off(&mut self, tag: u8, body: Option<&[u8]>) -> Result<bool, End> {
        match (self.overrun.cut, tag) {
            (Cut::No, _) | (Cut::Failing, _) => Ok(false),
            (_, b'S' | b'A' | b'N' | b'E' | b'Z') => Ok(false),
            (Cut::Cancelling, b'C' | b's') => {
                self.completed_late(body.unwrap_or_default())?;
                Ok(true)
            }
            (Cut::Cancelling | Cut::Late | Cut::ToFail, _) => Ok(true),
        }
    }

    /// The statement completed before it could be cancelled.
    fn completed_late(&mut self, tag: &[u8]) -> Result<(), End> {
        let read = [&b"SELECT"[..], b"COPY", b"FETCH", b"MOVE"].iter().any(|verb| tag.starts_with(verb));
        let suspended = tag.is_empty();
        let behind = self.queue.behind_front();
        let in_block = self.status() == TransactionStatus::Block;
        let alone = match self.queue.front().map(|front| &front.what) {
            Some(Expect::Query(queried)) => queried.parts.len() == 1,
            Some(Expect::AtOnce(_)) => true,
            // What was executed before it in the same transaction without a block is committed by now.
            Some(Expect::Execute(execution)) => behind != Queued::More && (execution.first || in_block),
            _ => false,
        };
        if !alone || !(read || suspended) {
            return Err(lost());
        }
        self.overrun.cut = Cut::Late;
        self.failed_here("54000")
    }

    /// The error of a cut answer is the one the client already has.
    pub(super) fn cut_failed(&mut self) -> bool {
        match self.overrun.cut {
            Cut::Cancelling => {
                self.overrun.cut = Cut::No;
                self.overrun.restart();
                true
            }
            Cut::Late => true,
            Cut::Failing | Cut::ToFail | Cut::No => false,
        }
    }

    /// ReadyForQuery after a cut answer: true when the client does not get it yet.
    pub(super) fn cut_ready(&mut self, status: TransactionStatus) -> Result<bool, End> {
        match self.overrun.cut {
            Cut::Late if status == TransactionStatus::Block => {
                if !self.queue.is_empty() {
                    return Err(lost());
                }
                self.overrun.cut = Cut::ToFail;
                Ok(true)
            }
            Cut::No | Cut::Cancelling | Cut::ToFail => Ok(false),
            Cut::Late | Cut::Failing => {
                self.overrun.cut = Cut::No;
                self.overrun.restart();
                Ok(false)
            }
        }
    }

    /// Makes the transaction fail that the client believes failed.
    pub(super) fn fail_after_cut(&mut self, out: &mut Outgoing) -> Result<(), End> {
        if self.overrun.cut != Cut::ToFail {
            return Ok(());
        }
        self.overrun.cut = Cut::Failing;
        message::fail_transaction(&mut out.upstream)?;
        self.expect(Expect::Poison { instead: BytesMut::new() }, None, Vec::new());
        message::sync(&mut out.upstream);
        self.expect(Expect::Sync { effects: false, failed: false }, None, Vec::new());
        self.end_batch();
        Ok(())
    }
}
