//! What a session does with what the warehouse answers (PostgreSQL manual, 55.2 Message Flow).
//!
//! In: the warehouse's bytes. Out: bytes for the client. Rows are never looked at: a message's header says how many bytes pass. Must
//! never: let a message pass that nobody asked for.

use super::at_once::AtOnce;
use super::awaits::Awaits;
use super::deciding::{Surroundings, Undo};
use super::engine::{Copying, End, Engine};
use super::queue::{Expect, Expected};
use crate::audit::{Record, rows_of};
use crate::error::Refusal;
use crate::plan::{Effect, Plan};
use crate::relay::errors::{ended, relay};
use crate::relay::run::Run;
use crate::wire::body::Body;
use crate::wire::errors::{Fields, Severity, notice_response};
use crate::wire::{Header, TransactionStatus, backend};
use bytes::BytesMut;
use std::sync::Arc;

/// Longest message of the warehouse that is held to be looked at (errors, notices, tags, settings). Rows are not held.
const MAX_HELD: usize = 16 << 20;

/// Settings reported by the warehouse that are not the caller's business: who the service login is, and what the proxy holds itself.
pub(super) const OWN_PARAMETERS: [&str; 4] = ["session_authorization", "is_superuser", "role", "search_path"];

fn out_of_step() -> End {
    tracing::error!("the warehouse answered out of step");
    End::Fatal(Refusal::upstream("lost synchronization with the warehouse"))
}

impl<A: Surroundings> Engine<A> {
    /// Takes everything off `input` that can be dealt with, and appends what the client gets to `out`.
    pub fn upstream(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<(), End> {
        let mut run = Run::new(input, out);
        let result = self.answers(&mut run);
        run.finish();
        result
    }

    fn answers(&mut self, run: &mut Run<'_>) -> Result<(), End> {
        self.upstream_wants = 0;
        loop {
            if self.passing > 0 {
                self.passing = run.pass(self.passing);
                if self.passing > 0 {
                    return Ok(());
                }
            }
            if self.dropping > 0 {
                self.dropping = run.drop(self.dropping);
                if self.dropping > 0 {
                    return Ok(());
                }
            }
            let Some(header) = Header::scan(run.ahead()).map_err(|_| out_of_step())? else { return Ok(()) };
            if matches!(self.queue.front().map(|front| &front.what), Some(Expect::Own { .. } | Expect::Handover(_))) {
                match self.own_answered(header, run, MAX_HELD)? {
                    Some(true) => continue,
                    Some(false) => {}
                    None => return Ok(()),
                }
            }
            if self.probing.under_way {
                match self.probe_answered(header, run, MAX_HELD)? {
                    Some(true) => continue,
                    Some(false) => {}
                    None => return Ok(()),
                }
            }
            if self.overrun.is_cut() {
                let body = match header.tag {
                    b'C' if header.body > MAX_HELD => return Err(out_of_step()),
                    b'C' => match run.ahead().get(Header::LEN..header.total()) {
                        Some(body) => Some(body),
                        None => {
                            self.upstream_wants = header.total();
                            return Ok(());
                        }
                    },
                    _ => None,
                };
                if self.cut_off(header.tag, body)? {
                    self.dropping = header.total();
                    continue;
                }
            }
            match header.tag {
                // DataRow, CopyData.
                b'D' | b'd' => {
                    let concealed = self.rows(run)?;
                    let instead = self.queue.front().is_some_and(|front| front.instead().is_some());
                    let dropped = concealed || instead || self.too_large(header.total(), run);
                    *(if dropped { &mut self.dropping } else { &mut self.passing }) = header.total();
                    if !dropped {
                        self.relayed += header.total();
                    }
                    // Those that follow belong to the same answer.
                    if !dropped && !self.overrun.counts() {
                        self.passing = run.pass(self.passing);
                        if self.passing == 0 {
                            self.relayed += run.pass_all(header.tag);
                        }
                    }
                }
                b'T' => {
                    if self.concealed() {
                        if !self.whole(header, run)? {
                            return Ok(());
                        }
                        self.no_rows_described(header, run)?;
                    } else {
                        self.row_description(run)?;
                        self.passing = header.total();
                    }
                }
                // ParameterDescription.
                b't' => {
                    match self.queue.front().map(|e| &mut e.what) {
                        Some(Expect::DescribeStatement { parameters }) if !*parameters => *parameters = true,
                        _ => return Err(out_of_step()),
                    }
                    self.passing = header.total();
                }
                // CopyOutResponse, CopyDone.
                b'H' | b'c' => {
                    self.rows(run)?;
                    self.passing = header.total();
                }
                b'1' | b'2' | b'3' | b'n' | b's' | b'I' => {
                    if header.body != 0 {
                        return Err(out_of_step());
                    }
                    self.bare(header.tag, run)?;
                }
                b'E' | b'N' | b'S' | b'C' | b'Z' | b'A' => {
                    if !self.whole(header, run)? {
                        return Ok(());
                    }
                    self.held(header, run)?;
                }
                // CopyInResponse.
                b'G' if self.copy == Copying::Awaited => {
                    self.rows(run)?;
                    self.copy = Copying::In;
                    self.passing = header.total();
                }
                // CopyBothResponse included: nothing that asks for it is ever sent.
                _ => return Err(out_of_step()),
            }
        }
    }

    /// Whether a message that is held has come whole.
    fn whole(&mut self, header: Header, run: &Run<'_>) -> Result<bool, End> {
        if header.body > MAX_HELD {
            return Err(out_of_step());
        }
        let whole = run.ahead().len() >= header.total();
        if !whole {
            self.upstream_wants = header.total();
        }
        Ok(whole)
    }

    /// Whether the rows of what is at the front are not for the client.
    fn concealed(&mut self) -> bool {
        match self.queue.front() {
            Some(front) => match &front.what {
                Expect::Query(queried) => queried.conceals(),
                _ => front.conceals,
            },
            None => false,
        }
    }

    /// A RowDescription of rows that are not for the client: none, and NoData where it was asked for.
    fn no_rows_described(&mut self, header: Header, run: &mut Run<'_>) -> Result<(), End> {
        match self.queue.front().map(|e| &e.what) {
            Some(Expect::Query(_)) => {
                self.described(run)?;
                run.replace(header.total());
            }
            Some(Expect::DescribePortal | Expect::DescribeStatement { parameters: true }) => {
                self.queue.pop();
                let (_, out) = run.replace(header.total());
                backend::message(out, b'n', |_| {});
            }
            _ => return Err(out_of_step()),
        }
        Ok(())
    }

    /// Rows belong to what is at the front; its notices come before them. True: they are not for the client.
    fn rows(&mut self, run: &mut Run<'_>) -> Result<bool, End> {
        let Some(front) = self.queue.front() else { return Err(out_of_step()) };
        match &mut front.what {
            Expect::Execute(execution) => {
                if !std::mem::replace(&mut execution.noticed, true) {
                    let plans = [front.about.as_ref(), execution.inner.as_ref()];
                    let plans = plans.into_iter().flatten().filter_map(|d| d.plan.as_deref());
                    notices(&mut self.noticed, plans, run);
                }
                Ok(front.conceals)
            }
            Expect::AtOnce(AtOnce { awaits: Awaits::Rows, failed: false, .. }) => Ok(false),
            Expect::Query(queried) if !queried.failed && queried.takes_rows() => {
                if !std::mem::replace(&mut queried.noticed, true)
                    && let Some(part) = queried.parts.get(queried.at)
                {
                    let inner = part.inner.as_ref().and_then(|d| d.plan.as_deref());
                    notices(&mut self.noticed, std::iter::once(&*part.plan).chain(inner), run);
                }
                Ok(queried.conceals())
            }
            _ => Err(out_of_step()),
        }
    }

    /// A message of the answer to a run of a prepared statement.
    fn came(&mut self, tag: u8) -> Result<(), End> {
        let expected = match self.queue.front().map(|e| &mut e.what) {
            Some(Expect::AtOnce(run)) => !run.failed && run.awaits.came(tag),
            _ => false,
        };
        if expected { Ok(()) } else { Err(out_of_step()) }
    }

    /// A RowDescription of a Query's rows.
    fn described(&mut self, run: &mut Run<'_>) -> Result<(), End> {
        let expected = match self.queue.front().map(|e| &mut e.what) {
            Some(Expect::Query(queried)) => queried.described(),
            _ => false,
        };
        if !expected {
            return Err(out_of_step());
        }
        self.rows(run).map(drop)
    }

    fn row_description(&mut self, run: &mut Run<'_>) -> Result<(), End> {
        match self.queue.front().map(|e| &e.what) {
            Some(Expect::Query(_)) => self.described(run),
            Some(Expect::AtOnce(_)) => self.came(b'T'),
            Some(Expect::DescribePortal | Expect::DescribeStatement { parameters: true }) => {
                self.queue.pop();
                Ok(())
            }
            _ => Err(out_of_step()),
        }
    }

    /// Messages without a body.
    fn bare(&mut self, tag: u8, run: &mut Run<'_>) -> Result<(), End> {
        if self.repeat_answered(tag) {
            run.replace(Header::LEN);
            return Ok(());
        }
        if let Some(Expect::AtOnce(_)) = self.queue.front().map(|e| &e.what) {
            self.came(tag)?;
            run.pass(Header::LEN);
            return Ok(());
        }
        let mut swallowed = false;
        match (tag, self.queue.front().map(|e| &mut e.what)) {
            (b'3', Some(Expect::Found)) => {
                self.queue.pop();
                let (_, out) = run.replace(Header::LEN);
                backend::message(out, b'1', |_| {});
                return Ok(());
            }
            (b'1', Some(Expect::Parse { swallow })) | (b'3', Some(Expect::Close { swallow })) => swallowed = *swallow,
            (b'2', Some(Expect::Bind))
            | (b'n', Some(Expect::DescribePortal | Expect::DescribeStatement { parameters: true })) => {}
            (b's' | b'I', Some(Expect::Execute(execution))) => {
                self.overrun.restart();
                let bytes = take_bytes(&mut self.relayed);
                if let Some(record) = execution.record.take() {
                    record.completed(None, bytes);
                }
            }
            (b'I', Some(Expect::Query(queried))) if queried.parts.is_empty() => {
                run.pass(Header::LEN);
                return Ok(());
            }
            _ => return Err(out_of_step()),
        }
        self.queue.pop();
        if swallowed {
            run.replace(Header::LEN);
        } else {
            run.pass(Header::LEN);
        }
        Ok(())
    }

    /// Messages that are looked into, all of which have come whole.
    fn held(&mut self, header: Header, run: &mut Run<'_>) -> Result<(), End> {
        let body = run.ahead().get(Header::LEN..header.total()).unwrap_or_default();
        match header.tag {
            b'C' => {
                let tag = Body::new(body).string().map_err(|_| out_of_step())?.to_owned();
                self.rows(run)?;
                if let Some(instead) = self.queue.front().and_then(|front| front.instead().cloned()) {
                    instead.say(run.say());
                    if instead.suspended {
                        self.complete(&tag)?;
                        let (_, out) = run.replace(header.total());
                        backend::portal_suspended(out);
                        return Ok(());
                    }
                }
                match self.complete(&tag)? {
                    Some(shown) => {
                        let (_, out) = run.replace(header.total());
                        backend::command_complete(out, shown);
                    }
                    None => {
                        run.pass(header.total());
                    }
                }
                Ok(())
            }
            b'Z' => {
                let status = match body {
                    [byte] => TransactionStatus::from_byte(*byte),
                    _ => None,
                };
                let status = status.ok_or_else(out_of_step)?;
                if self.repeats_again() {
                    self.attempt_ended();
                    run.replace(header.total());
                    return Ok(());
                }
                self.ready(status)?;
                if self.deciding.acts.signs_name {
                    self.report_name(run.say());
                }
                if self.cut_ready(status)? {
                    run.replace(header.total());
                } else {
                    run.pass(header.total());
                }
                Ok(())
            }
            b'S' => {
                if self.parameter_passes(body)? {
                    run.pass(header.total());
                } else {
                    run.replace(header.total());
                }
                Ok(())
            }
            b'N' => {
                let (message, out) = run.replace(header.total());
                let body = message.get(Header::LEN..).unwrap_or_default();
                let fields = Fields::parse(body).map_err(|_| out_of_step())?;
                let about = self.queue.front().map(|e| &*e).and_then(Expected::about);
                relay(out, b'N', &fields, about.as_ref());
                Ok(())
            }
            b'E' => self.error(header, run),
            // NotificationResponse: payloads of others; LISTEN is not supported.
            _ => {
                run.replace(header.total());
                Ok(())
            }
        }
    }

    /// ParameterStatus: whether the client gets it. The pinned ones must stay as they are, or texts would be read otherwise than they
    /// were checked.
    fn parameter_passes(&mut self, body: &[u8]) -> Result<bool, End> {
        let mut body = Body::new(body);
        let (name, value) = (body.string().map_err(|_| out_of_step())?, body.string().map_err(|_| out_of_step())?);
        let pinned = match name {
            "client_encoding" => value == "UTF8",
            "standard_conforming_strings" => value == "on",
            _ => true,
        };
        if !pinned {
            tracing::error!(parameter = name, "a pinned setting changed in the warehouse");
            return Err(Refusal::internal("a pinned setting changed").into());
        }
        let now = self.deciding.moving.report(name, value);
        Ok(now && !OWN_PARAMETERS.contains(&name) && (name != "application_name" || self.named(value)))
    }

    /// CommandComplete: the statement's consequences are now facts. Gives the tag to show instead, if any.
    fn complete(&mut self, tag: &str) -> Result<Option<&'static str>, End> {
        self.overrun.restart();
        let bytes = take_bytes(&mut self.relayed);
        let rows = rows_of(tag);
        self.deciding.tally.rows(tag, rows);
        if self.deciding.moving.shares() && tag == "DISCARD ALL" {
            self.deciding.moving.discarded();
        }
        let Some(front) = self.queue.front() else { return Err(out_of_step()) };
        if let Some(traced) = &mut self.deciding.traced {
            traced.completed(front.batch, rows);
        }
        if let Some(record) = front.what.take_record() {
            record.completed(rows, bytes);
        }
        let shown;
        let mut rolled_back = None;
        match &mut front.what {
            Expect::Query(queried) => {
                let Some(part) = queried.parts.get_mut(queried.at) else { return Err(out_of_step()) };
                shown = part.plan.tag;
                let mut undo = std::mem::take(&mut part.undo);
                if part.plan.effect == Effect::Commit && tag == "ROLLBACK" {
                    rolled_back = Some(std::mem::take(&mut undo));
                }
                queried.at += 1;
                queried.noticed = false;
            }
            Expect::AtOnce(_) => {
                shown = None;
                self.came(b'C')?;
            }
            Expect::Execute(execution) => {
                let plan = front.about.as_ref().and_then(|d| d.plan.as_ref());
                // The tag of PREPARE or DECLARE is not that of what it prepares.
                shown = plan.and_then(|p| p.tag);
                let commit = execution.effects && plan.is_some_and(|p| p.effect == Effect::Commit);
                if commit && tag == "ROLLBACK" {
                    rolled_back = Some(std::mem::take(&mut front.undo));
                }
                self.queue.pop();
            }
            _ => return Err(out_of_step()),
        }
        if let Some(mut undo) = rolled_back {
            self.deciding.commit_was_rollback(&mut undo);
        }
        Ok(shown)
    }

    fn ready(&mut self, status: TransactionStatus) -> Result<(), End> {
        let Some(front) = self.queue.pop() else { return Err(out_of_step()) };
        self.copy = Copying::No;
        let (effects, failed) = match &front.what {
            Expect::Sync { effects, failed } => (*effects, *failed),
            Expect::Query(queried) => (queried.effects, queried.failed),
            Expect::AtOnce(run) if run.failed || run.awaits == Awaits::Ready => (false, run.failed),
            _ => return Err(out_of_step()),
        };
        if status == TransactionStatus::Idle && !self.read.is_empty() {
            self.read.clear();
        }
        self.answered(front.batch);
        self.deciding.settle(front.batch, status, failed, effects);
        Ok(())
    }

    /// A batch is answered to its end.
    fn answered(&mut self, batch: u64) {
        while let Some(&(number, sent)) = self.sent.front().filter(|(number, _)| *number <= batch) {
            self.sent.pop_front();
            if number == batch {
                self.deciding.tally.answered(sent.elapsed());
                if let Some(traced) = &mut self.deciding.traced {
                    traced.answered(batch, sent);
                }
            }
        }
    }

    fn error(&mut self, header: Header, run: &mut Run<'_>) -> Result<(), End> {
        let (message, out) = run.replace(header.total());
        let body = message.get(Header::LEN..).unwrap_or_default();
        let fields = Fields::parse(body).map_err(|_| out_of_step())?;
        if fields.is_fatal() {
            tracing::warn!(code = fields.sqlstate(), "the warehouse ended a session");
            return Err(End::Fatal(ended(Some(&fields))));
        }
        if self.repeat_failed(fields.sqlstate(), fields.get(b'R').unwrap_or_default()) {
            return Ok(());
        }
        let known = self.cut_failed();
        let Some(front) = self.queue.front() else { return Err(out_of_step()) };
        if self.copy != Copying::No {
            // A Query is answered to its end first.
            self.copy = if matches!(front.what, Expect::Query(_)) { Copying::Awaited } else { Copying::No };
        }
        match &mut front.what {
            Expect::Poison { instead } => out.unsplit(std::mem::take(instead)),
            _ if known => {}
            _ => relay(out, b'E', &fields, front.about().as_ref()),
        }
        if !matches!(front.what, Expect::Poison { .. }) {
            self.deciding.tally.failed(fields.sqlstate());
            if let Some(traced) = &mut self.deciding.traced {
                traced.failed(front.batch, fields.sqlstate());
            }
        }
        self.failed_here(fields.sqlstate())
    }

    /// The front failed, and what the warehouse skips because of it.
    pub(super) fn failed_here(&mut self, code: &str) -> Result<(), End> {
        if self.deciding.moving.shares() {
            let about = self.queue.front().and_then(|front| front.about.clone());
            self.doubt(code, about.as_ref());
        }
        let bytes = take_bytes(&mut self.relayed);
        let Some(front) = self.queue.front() else { return Err(out_of_step()) };
        if let Some(record) = front.what.take_record() {
            record.failed(code, bytes);
        }
        match &mut front.what {
            Expect::Query(queried) => {
                queried.failed = true;
                let mut undo = Vec::new();
                for part in queried.parts.iter_mut().skip(queried.at) {
                    undo.append(&mut part.undo);
                    // Those behind it are not run.
                    part.record = None;
                }
                self.deciding.undo(undo, &mut self.queue.undo_lists());
                Ok(())
            }
            Expect::Sync { failed, .. } => {
                *failed = true;
                Ok(())
            }
            // Its Sync was sent with it.
            Expect::AtOnce(run) => {
                run.failed = true;
                Ok(())
            }
            Expect::Poison { .. } => {
                // It came to its turn: what it changed stays changed.
                front.undo.clear();
                self.skip();
                Ok(())
            }
            // It is the warehouse that refuses it.
            Expect::Parse { swallow } => {
                let about = front.about.clone().filter(|_| !*swallow);
                if let Some(decided) = about {
                    let batch = front.batch;
                    let speaker = self.deciding.speaker();
                    // It was not carried out: there is nothing to refuse when its record cannot be kept.
                    if let Ok(record) = Record::allowed(speaker, batch, &decided.sql, decided.plan.as_ref()) {
                        record.failed(code, bytes);
                    }
                }
                front.undo.retain(|undo| !matches!(undo, Undo::Dropped(_)));
                self.skip();
                Ok(())
            }
            Expect::Execute(_)
            | Expect::Found
            | Expect::Bind
            | Expect::Close { .. }
            | Expect::DescribeStatement { .. }
            | Expect::DescribePortal
            | Expect::Own { .. }
            | Expect::Handover(_)
            | Expect::Probe(_) => {
                self.skip();
                Ok(())
            }
        }
    }

    pub(super) fn skip(&mut self) {
        // A question inside the batch is skipped with it.
        self.probing.under_way = false;
        let skipped = self.queue.skip_to_sync();
        self.deciding.undo(skipped.undo, &mut self.queue.undo_lists());
        if !skipped.synced {
            self.skip_messages();
        }
    }
}

/// How many bytes of rows went to the client since the last answer ended.
fn take_bytes(relayed: &mut usize) -> u64 {
    u64::try_from(std::mem::take(relayed)).unwrap_or(u64::MAX)
}

/// The notices of plans, each once per session and data source.
fn notices<'p>(
    sent: &mut std::collections::HashSet<Arc<str>>,
    plans: impl Iterator<Item = &'p Plan>,
    run: &mut Run<'_>,
) {
    for plan in plans {
        for (source, text) in &plan.notices {
            if sent.insert(Arc::clone(source)) {
                notice_response(run.say(), Severity::Notice, text);
            }
        }
    }
}
