//! What a session does with what its client sends, after login: the extended and simple protocols (PostgreSQL manual, 55.2.2 to 55.2.9).
//!
//! In: the client's bytes. Out: bytes for the warehouse and bytes for the client; no I/O. [`super::answers`] is the other direction.
//! INVARIANT(no-caller-sql): everything for the warehouse goes through [`crate::upstream::message`]. Must never: send a statement that
//! was not decided just now, or speak out of turn.

use super::acting::{Naming, unsigned};
use super::deciding::{Deciding, Learning, Surroundings, Undo};
use super::eviction::Report;
use super::names::Decided;
use super::overrun::Overrun;
use super::queue::{Expect, Expected, Queried, Queue};
use super::scratch::Probing;
use crate::error::{Refusal, SqlState};
use crate::plan::{Effect, Plan};
use crate::seal::Sealed;
use crate::upstream::Repeats;
use crate::upstream::message::{self};
use crate::wire::errors::{Severity, error_response};
use crate::wire::{Frontend, Header, Limits, TransactionStatus, backend};
use bytes::{Buf, BytesMut};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Above this many bytes waiting to be written to one side, nothing more is taken from the other.
pub const HIGH_WATER: usize = 256 * 1024;
/// Most answers the warehouse may owe before the client has to wait.
const QUEUE: usize = 16 * 1024;

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client said so.
    Terminate,
    /// With a FATAL error for the client.
    Fatal(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Fatal(refusal)
    }
}

/// Messages that are dropped because an earlier one of the batch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    No,
    /// Up to Sync; the warehouse was told nothing and is not told of the Sync either.
    Local,
    /// Up to Sync, which goes to the warehouse.
    ToSync,
}

/// What a client's message has to wait for before it can be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    /// Everything sent is answered.
    Drained,
    /// The batches before this one are answered.
    Settled,
    /// The session's temporary tables are known.
    Probed,
    /// It is known what directories say of those the message is for.
    Learned,
    /// A session of the warehouse is there.
    Session,
}

pub(super) enum Handled {
    Done,
    Later(Wait),
}

/// Why a message of the extended protocol is not sent.
pub(super) enum Refused {
    /// What the refused message changed nevertheless, if it comes to its turn.
    With(Box<Refusal>, Vec<Undo>),
    Later(Wait),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::With(Box::new(refusal), Vec::new())
    }
}

/// Where bytes go.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// To the client.
    pub client: BytesMut,
    /// To the warehouse.
    pub upstream: BytesMut,
}

/// A session's protocol state.
pub struct Engine<A> {
    pub(super) deciding: Deciding<A>,
    pub(super) queue: Queue,
    pub(super) noticed: HashSet<Arc<str>>,
    /// Bytes of a message of the warehouse that still pass.
    pub(super) passing: usize,
    /// Bytes of rows that went to the client since the last answer ended.
    pub(super) relayed: usize,
    /// Bounds of answers.
    pub(super) overrun: Overrun,
    /// Something was executed in the open batch.
    pub(super) executed: bool,
    /// Bytes of a message of the warehouse that nobody gets.
    pub(super) dropping: usize,
    /// How far portals were read whose rows are not the warehouse's.
    pub(super) read: HashMap<Box<str>, usize>,
    pub(super) probing: Probing,
    /// Bytes needed before the warehouse's next message can be looked at.
    pub(super) upstream_wants: usize,
    limits: Limits,
    pub(super) skip: Skip,
    wait: Wait,
    /// Extended messages were sent since the last Sync or Query.
    pub(super) open: bool,
    /// A Flush of ours is under way for them.
    flushed: bool,
    /// An Execute of this batch changes settings or names.
    pub(super) effects: bool,
    /// Bytes needed before the client's next message can be looked at.
    client_wants: usize,
    /// Where a COPY FROM STDIN is.
    pub(super) copy: Copying,
    /// Of an application that may sign its name.
    pub(super) naming: Naming,
    /// What is being learned about those the next message is for.
    pub(super) learning: Option<Learning>,
    /// That was just done.
    pub(super) learned: bool,
    /// Statements of simple Queries that come again, in the session of the warehouse that is had.
    pub(super) repeats: Repeats,
    /// When the batches were sent that are not answered yet.
    pub(super) sent: VecDeque<(u64, Instant)>,
}

/// Where a COPY FROM STDIN is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    /// Nowhere.
    No,
    /// Sent; whether the warehouse takes rows is not known yet. Until then nothing more is sent.
    Awaited,
    /// The client sends rows.
    In,
}

impl<A> Drop for Engine<A> {
    /// What the client did not wait for, it has got a part of.
    fn drop(&mut self) {
        let bytes = u64::try_from(self.relayed).unwrap_or(u64::MAX);
        if let Some(record) = self.queue.front().and_then(|front| front.what.take_record()) {
            record.abandoned(bytes);
        }
    }
}

impl<A: Surroundings> Engine<A> {
    /// A session ready for its first query.
    pub fn new(deciding: Deciding<A>, limits: Limits) -> Self {
        Self {
            deciding,
            queue: Queue::default(),
            noticed: HashSet::new(),
            passing: 0,
            relayed: 0,
            overrun: Overrun::default(),
            executed: false,
            dropping: 0,
            read: HashMap::new(),
            probing: Probing::default(),
            upstream_wants: 0,
            limits,
            skip: Skip::No,
            wait: Wait::Nothing,
            open: false,
            flushed: false,
            effects: false,
            client_wants: 0,
            copy: Copying::No,
            naming: Naming::default(),
            learning: None,
            learned: false,
            repeats: Repeats::default(),
            sent: VecDeque::new(),
        }
    }

    /// How many bytes of the client must be buffered before the engine can go on; 0 when it does not depend on them.
    pub fn client_wants(&self) -> usize {
        self.client_wants
    }

    /// The same for the warehouse.
    pub fn upstream_wants(&self) -> usize {
        self.upstream_wants
    }

    /// Whether the warehouse owes nothing and no batch is open.
    pub fn at_rest(&self) -> bool {
        self.queue.is_empty() && !self.open && self.passing == 0 && self.dropping == 0 && !self.overrun.is_cut()
    }

    /// Whether the client has got whole messages only: something may be said to it that is not the warehouse's.
    pub fn between_messages(&self) -> bool {
        self.passing == 0
    }

    /// Whether what was sent will be answered to its end without another message of the client.
    pub fn will_rest(&self) -> bool {
        self.queue.complete() && self.copy != Copying::In
    }

    /// What the session is doing; `waits`: for a session of the warehouse.
    pub fn report(&self, waits: bool) -> Report {
        let state = match (self.at_rest(), self.status()) {
            _ if waits => "waiting",
            (false, _) => "active",
            (true, TransactionStatus::Idle) => "idle",
            (true, TransactionStatus::Block) => "idle in transaction",
            (true, TransactionStatus::Failed) => "idle in transaction (aborted)",
        };
        let acting = &self.deciding.settings.current().user;
        Report {
            state,
            since: self.deciding.moment.elapsed(),
            statement: self.queue.text().map(Arc::clone),
            project: Arc::clone(self.deciding.project()),
            acting_for: (!acting.is_empty()).then(|| Arc::clone(acting)),
        }
    }

    /// Transaction status of the last ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        self.deciding.status
    }

    /// Takes whole messages off `input` for as long as they can be dealt with.
    pub fn client(&mut self, input: &mut BytesMut, out: &mut Outgoing) -> Result<(), End> {
        self.fail_after_cut(out)?;
        self.send_again(out)?;
        if !input.is_empty() {
            self.deciding.moment = Instant::now();
        }
        let mut at = 0;
        let result = self.walk(input, &mut at, out);
        input.advance(at);
        result
    }

    /// Whether a message of the client waits for this.
    pub(super) fn waits_for(&self, what: Wait) -> bool {
        self.wait == what
    }

    fn waiting(&mut self) -> bool {
        let still = match self.wait {
            Wait::Nothing => false,
            Wait::Drained => !self.queue.is_empty(),
            Wait::Settled => self.deciding.settled + 1 < self.deciding.batch,
            Wait::Probed => self.probing.under_way,
            Wait::Learned => self.learning.is_some(),
            Wait::Session => self.awaits_session(),
        };
        if !still {
            self.wait = Wait::Nothing;
        }
        // What the client sends up to Sync is skipped; the Sync is needed.
        let cut = self.overrun.is_cut() && !(self.skip == Skip::ToSync && self.queue.is_empty());
        still
            || cut
            || self.copy == Copying::Awaited
            || self.repeats_again()
            || (self.queue.gated() && self.copy == Copying::No)
            || self.queue.len() >= QUEUE
    }

    fn walk(&mut self, input: &BytesMut, at: &mut usize, out: &mut Outgoing) -> Result<(), End> {
        self.client_wants = 0;
        loop {
            if self.waiting() || out.client.len() >= HIGH_WATER || out.upstream.len() >= HIGH_WATER {
                return Ok(());
            }
            let ahead = input.get(*at..).unwrap_or_default();
            let Some(header) = Header::scan(ahead)? else {
                self.client_wants = Header::LEN;
                return Ok(());
            };
            self.limits.check(header)?;
            let Some(body) = ahead.get(Header::LEN..header.total()) else {
                self.client_wants = header.total();
                return Ok(());
            };
            if header.tag == b'B'
                && let Some(n) = self.at_once(ahead, header.total(), out)?
            {
                *at += n;
                continue;
            }
            let skipped = self.skip != Skip::No && !matches!(header.tag, b'S' | b'X' | b'p');
            let handled = if skipped { Handled::Done } else { self.message(header.tag, body, out)? };
            match handled {
                Handled::Done => {
                    *at += header.total();
                    // What was learned was for this message.
                    self.learned = false;
                }
                Handled::Later(wait) => {
                    self.wait = wait;
                    if !self.waiting() {
                        // Waiting for what has already come would be waiting for ever.
                        return Err(Refusal::internal("nothing to wait for").into());
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Rows of a COPY FROM STDIN. Flush and Sync have no effect in between (PostgreSQL manual, 55.2.7).
    fn copied(&mut self, tag: u8, body: &[u8], out: &mut Outgoing) -> Result<Handled, End> {
        match tag {
            b'd' => message::copy_data(body, &mut out.upstream)?,
            b'c' | b'f' => {
                if tag == b'c' {
                    message::copy_done(&mut out.upstream);
                } else {
                    let reason = crate::wire::body::Body::new(body).string().unwrap_or("no reason given");
                    message::copy_fail(reason, &mut out.upstream)?;
                }
                // Of several statements in one Query another may follow that takes rows.
                let query = matches!(self.queue.front().map(|e| &e.what), Some(Expect::Query(_)));
                self.copy = if query { Copying::Awaited } else { Copying::No };
            }
            b'H' | b'S' => {}
            b'X' => return Err(End::Terminate),
            _ => {
                let text = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                return Err(Refusal::protocol(text).into());
            }
        }
        Ok(Handled::Done)
    }

    fn message(&mut self, tag: u8, body: &[u8], out: &mut Outgoing) -> Result<Handled, End> {
        if self.copy == Copying::In {
            return self.copied(tag, body, out);
        }
        if self.deciding.moving.away
            && let Some(handled) = self.without_session(tag, body, out)?
        {
            return Ok(handled);
        }
        if self.deciding.scratch.is_stale() && matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E') {
            if self.probing.under_way {
                return Ok(Handled::Later(Wait::Probed));
            }
            match self.probing.failed.take() {
                // The question has failed the caller's transaction.
                Some(refusal) if self.status() == TransactionStatus::Failed => {
                    return match tag {
                        b'Q' => self.simple_refused(&refusal, None, out),
                        _ => self.extended(Err(refusal.into()), None, out),
                    };
                }
                // Statements that name no relation do without the answer (`SET statement_timeout`, if it was that).
                Some(_) => self.deciding.scratch.forget(),
                None if self.deciding.must_ask() => {
                    self.probe(out)?;
                    return Ok(Handled::Later(Wait::Probed));
                }
                None => {}
            }
        }
        let message = Frontend::parse(tag, body);
        if self.deciding.acts()
            && let Ok(message) = &message
        {
            match self.turn(message, out) {
                Ok(None) => {}
                Ok(Some(wait)) => return Ok(Handled::Later(wait)),
                Err(refusal) => {
                    let text = match message {
                        Frontend::Query { sql } | Frontend::Parse { sql, .. } => sql,
                        _ => "",
                    };
                    let text = unsigned(text, self.deciding.actor()).into_owned();
                    self.deciding.nobodys(&text, &refusal);
                    return match tag {
                        b'Q' => self.simple_refused(&refusal, None, out),
                        _ => self.extended(Err(refusal.into()), None, out),
                    };
                }
            }
        }
        match message {
            Ok(Frontend::Query { sql }) => self.query(sql, out),
            Ok(Frontend::Parse { name, sql, param_types }) => {
                let sent = self.parse(name, sql, &param_types, out);
                self.extended(sent, Some(sql), out)
            }
            Ok(Frontend::Bind { portal, statement, rest }) => {
                let sent = self.bind(portal, statement, rest, out);
                self.extended(sent, None, out)
            }
            Ok(Frontend::Describe(target, name)) => {
                let sent = self.describe(target, name, out);
                self.extended(sent, None, out)
            }
            Ok(Frontend::Execute { portal, max_rows }) => {
                let sent = self.execute(portal, max_rows, out);
                self.extended(sent, None, out)
            }
            Ok(Frontend::Close(target, name)) => {
                let sent = self.close(target, name, out);
                self.extended(sent, None, out)
            }
            Ok(Frontend::Flush) => {
                if self.open {
                    message::flush(&mut out.upstream);
                }
                Ok(Handled::Done)
            }
            Ok(Frontend::Sync) => {
                self.sync(out);
                Ok(Handled::Done)
            }
            Ok(Frontend::Terminate) => Err(End::Terminate),
            // Outside COPY these are leftovers of one that failed; PostgreSQL ignores them (55.2.7).
            Ok(Frontend::CopyData | Frontend::CopyDone | Frontend::CopyFail) => Ok(Handled::Done),
            Ok(Frontend::FunctionCall) => {
                self.simple_refused(&Refusal::unsupported("function call messages are not supported"), None, out)
            }
            Ok(Frontend::Authentication(_)) => {
                Err(Refusal::protocol(format!("invalid frontend message type {}", b'p')).into())
            }
            Err(refusal) if refusal.code == SqlState::CHARACTER_NOT_IN_REPERTOIRE => match tag {
                b'Q' => self.simple_refused(&refusal, None, out),
                b'f' => Ok(Handled::Done),
                _ => self.extended(Err(refusal.into()), None, out),
            },
            Err(refusal) => Err(refusal.into()),
        }
    }

    pub(super) fn expect(&mut self, what: Expect, about: Option<Arc<Decided>>, undo: Vec<Undo>) {
        self.queue.push(Expected { what, about, undo, batch: self.deciding.batch, conceals: false });
    }

    /// What follows an extended message: nothing when it was sent, else the refusal.
    pub(super) fn extended(
        &mut self,
        sent: Result<(), Refused>,
        sql: Option<&str>,
        out: &mut Outgoing,
    ) -> Result<Handled, End> {
        match sent {
            Ok(()) => {
                self.open = true;
                self.flushed = false;
                Ok(Handled::Done)
            }
            Err(Refused::Later(wait)) => Ok(Handled::Later(wait)),
            Err(Refused::With(refusal, undo)) => {
                fatal_for(&refusal)?;
                // Nothing under way and no transaction to fail: the warehouse need not know.
                if self.at_rest() && self.status() != TransactionStatus::Block {
                    error_response(&mut out.client, &refusal, Severity::Error, sql);
                    self.skip = Skip::Local;
                } else {
                    self.poison(&refusal, sql, undo, out)?;
                    self.open = true;
                    self.skip = Skip::ToSync;
                }
                Ok(Handled::Done)
            }
        }
    }

    /// Makes the warehouse fail as the refused statement would have failed, to answer with the refusal in its turn.
    fn poison(&mut self, refusal: &Refusal, sql: Option<&str>, undo: Vec<Undo>, out: &mut Outgoing) -> Result<(), End> {
        let mut instead = BytesMut::new();
        error_response(&mut instead, refusal, Severity::Error, sql);
        message::fail_transaction(&mut out.upstream)?;
        self.expect(Expect::Poison { instead }, None, undo);
        Ok(())
    }

    /// A Query or FunctionCall has to be answered after everything before it. Answers to an open batch may be held back by the
    /// warehouse until Flush.
    fn drain_open(&mut self, out: &mut Outgoing) -> bool {
        if !self.open || self.queue.is_empty() {
            return false;
        }
        if !std::mem::replace(&mut self.flushed, true) {
            message::flush(&mut out.upstream);
        }
        true
    }

    /// Whether a batch of the extended protocol is under way.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Something of a batch was sent.
    pub(super) fn is_open_now(&mut self) {
        self.open = true;
    }

    pub(super) fn end_batch(&mut self) {
        // Planning is not the warehouse's time.
        let sent = self.deciding.planned.take().map_or(self.deciding.moment, |stages| stages.ended);
        self.sent.push_back((self.deciding.batch, sent));
        self.deciding.batch += 1;
        self.open = false;
        self.flushed = false;
        self.effects = false;
        self.executed = false;
    }

    pub(super) fn simple_refused(
        &mut self,
        refusal: &Refusal,
        sql: Option<&str>,
        out: &mut Outgoing,
    ) -> Result<Handled, End> {
        fatal_for(refusal)?;
        if self.drain_open(out) {
            return Ok(Handled::Later(Wait::Drained));
        }
        if self.at_rest() && self.status() != TransactionStatus::Block {
            error_response(&mut out.client, refusal, Severity::Error, sql);
            backend::ready_for_query(&mut out.client, self.status());
        } else {
            self.poison(refusal, sql, Vec::new(), out)?;
            message::sync(&mut out.upstream);
            let effects = self.effects;
            self.expect(Expect::Sync { effects, failed: false }, None, Vec::new());
            self.end_batch();
        }
        Ok(Handled::Done)
    }

    fn query(&mut self, sql: &str, out: &mut Outgoing) -> Result<Handled, End> {
        if self.drain_open(out) {
            return Ok(Handled::Later(Wait::Drained));
        }
        let sql = &*unsigned(sql, self.deciding.actor());
        let parts = match self.deciding.plan_query(sql) {
            Ok(parts) => parts,
            Err(_) if self.deciding.take_unsettled() => return Ok(Handled::Later(Wait::Settled)),
            Err(refusal) => return self.simple_refused(&refusal, Some(sql), out),
        };
        if self.renews() {
            self.send_renewals(out)?;
        }
        if self.deciding.moving.shares() {
            self.send_spares(out)?;
        }
        // A simple Query destroys the unnamed statement and portal (55.2.3).
        let batch = self.deciding.batch;
        let mut undo = Vec::new();
        if self.deciding.statements.get("").is_some() {
            undo.push(Undo::Statement(self.deciding.statements.put("", None, batch)));
        }
        if self.deciding.portals.get("").is_some() {
            undo.push(Undo::Portal(self.deciding.portals.put("", None, batch)));
        }
        let mut repeating = None;
        let joined = match parts.as_slice() {
            [] => {
                message::query(&Sealed::empty(), &mut out.upstream)?;
                None
            }
            [one] => {
                repeating = self.repeat(&one.plan, out)?;
                if repeating.is_none() {
                    message::query(&one.plan.sealed, &mut out.upstream)?;
                }
                None
            }
            several => {
                let joined = Sealed::join(several.iter().map(|p| &p.plan.sealed));
                message::query(&joined.0, &mut out.upstream)?;
                Some(joined)
            }
        };
        let effects = self.effects || parts.iter().any(|p| changes(&p.plan.effect));
        if parts.iter().any(|p| forgets(&p.plan.effect)) {
            self.repeats.forget();
        }
        if parts.iter().any(|p| takes_rows(&p.plan)) {
            self.copy = Copying::Awaited;
        }
        let queried =
            Queried { sql: sql.into(), parts, joined, at: 0, noticed: false, failed: false, effects, repeating };
        self.expect(Expect::Query(Box::new(queried)), None, undo);
        self.end_batch();
        Ok(Handled::Done)
    }

    /// The warehouse skips to a Sync that the client has not sent yet: so must the client's messages.
    pub(super) fn skip_messages(&mut self) {
        self.skip = Skip::ToSync;
    }
}

pub(super) fn send_statement(name: &str, decided: &Decided, out: &mut Outgoing) -> Result<(), Refusal> {
    match &decided.plan {
        Some(plan) => message::parse(name, &plan.sealed, &decided.params, &mut out.upstream),
        None => message::parse(name, &Sealed::empty(), &decided.params, &mut out.upstream),
    }
}

/// A caller who may not be here at all is not merely refused a statement.
fn fatal_for(refusal: &Refusal) -> Result<(), End> {
    if refusal.code == SqlState::INVALID_AUTHORIZATION { Err(End::Fatal(refusal.clone())) } else { Ok(()) }
}

/// Whether the client will be asked for rows.
pub(super) fn takes_rows(plan: &Plan) -> bool {
    plan.writing.as_ref().is_some_and(|w| w.takes_rows)
}

/// Whether an effect changes settings, names or the transaction.
pub(super) fn changes(effect: &Effect) -> bool {
    !matches!(effect, Effect::None | Effect::Execute { .. } | Effect::Fetch { .. })
}

/// Whether the warehouse holds no prepared statement after it.
pub(super) fn forgets(effect: &Effect) -> bool {
    matches!(effect, Effect::DiscardAll | Effect::Deallocate(None))
}
