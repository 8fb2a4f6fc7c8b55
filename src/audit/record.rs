//! One record per statement: who asked, what was decided, how it ended.
//!
//! In: a decision as it is made. Out: a record in the trail, or, where none is configured, a `tracing` event with the target `audit`.
//! INVARIANT(decide-records): the session gets a decision only together with its [`Record`]. Must never: hold a literal of the statement
//! unless that is asked for, or a policy's.

use super::about;
use super::members::Members;
use super::speaker::Speaker;
use crate::catalog::scratch::Change;
use crate::error::{Family, Refusal};
use crate::plan::{Effect, Plan};
use crate::sql::redact::{SIGNATURE, redact};
use crate::types::hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

/// Bytes that a record usually takes.
const USUAL: usize = 1024;

/// The record of a statement on its way. Dropped before its end was told, it says `abandoned`.
#[derive(Debug)]
pub struct Record(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    speaker: Arc<Speaker>,
    plan: Option<Arc<Plan>>,
    inner: Option<Inner>,
    /// The text, when it is still needed; for the log its digest.
    text: Option<Box<str>>,
    batch: u64,
    number: u64,
    time: SystemTime,
    began: Instant,
}

/// What a statement executes, or fetches from: its text and plan.
#[derive(Debug, Clone)]
pub struct Inner {
    /// As it was prepared or declared.
    pub text: Arc<str>,
    /// Its plan.
    pub plan: Arc<Plan>,
}

fn logged() -> bool {
    tracing::enabled!(target: "audit", tracing::Level::INFO)
}

/// What stands for a text in the log: the same for the same text in one run. Keyed, so that nobody finds a literal by trying all that there are.
fn digest(sql: &str) -> String {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);
    // Any length of key is accepted.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*KEY) else { return String::new() };
    mac.update(sql.as_bytes());
    hex(mac.finalize().into_bytes())
}

impl Record {
    /// A statement that is allowed and about to be sent; its end is told later.
    ///
    /// # Errors
    /// 58030 where records are required and cannot be kept: then it must not be sent.
    pub fn allowed(speaker: &Arc<Speaker>, batch: u64, sql: &str, plan: Option<&Arc<Plan>>) -> Result<Self, Refusal> {
        let trail = &speaker.who.trail;
        if speaker.who.beginning {
            return Ok(Self(None));
        }
        let sql = plan.and_then(|plan| plan.touched.part.get()).map_or(sql, |part| part);
        let text = if trail.is_on() {
            trail.admit()?;
            let told = plan.is_some_and(|plan| plan.touched.told.get().is_some());
            (!told || trail.keeps_literals()).then(|| sql.into())
        } else if logged() {
            Some(digest(sql).into())
        } else {
            return Ok(Self(None));
        };
        Ok(Self(Some(Box::new(Open {
            speaker: Arc::clone(speaker),
            plan: plan.cloned(),
            inner: None,
            text,
            batch,
            number: speaker.who.count(),
            time: SystemTime::now(),
            began: Instant::now(),
        }))))
    }

    /// The same of EXECUTE or FETCH, which read what something else says.
    pub fn with(mut self, inner: Option<Inner>) -> Self {
        if let Some(open) = &mut self.0 {
            open.inner = inner;
        }
        self
    }

    /// A statement that is refused: told at once.
    pub fn refused(speaker: &Speaker, batch: u64, sql: &str, refusal: &Refusal) {
        let who = &speaker.who;
        if who.beginning {
            // The login is refused with it.
        } else if who.trail.is_on() {
            let mut members = Members::at(SystemTime::now(), "statement", 1024);
            members.more(&speaker.members).number("batch", batch).number("number", who.count());
            let redacted = redact(sql);
            members.more(about::of_text(&redacted).bytes());
            if who.trail.keeps_literals() {
                about::push_text(sql, None, &mut members);
            }
            members.word("decision", "refused");
            because(refusal, (!who.trail.keeps_literals()).then_some(&redacted.text), &mut members);
            who.trail.put(&members);
        } else if logged() {
            let (user, login) = who.names();
            tracing::info!(
                target: "audit",
                user,
                login,
                database = &*who.database,
                application = &*who.application,
                session = who.session,
                project = &*speaker.project,
                statement = digest(sql),
                decision = "refused",
                family = ?refusal.family,
                code = refusal.code.0,
            );
        }
    }

    /// It completed, with the rows of its tag; so many bytes of rows went to the client.
    pub fn completed(mut self, rows: Option<u64>, bytes: u64) {
        self.end("completed", rows, bytes, None);
    }

    /// The session ended in the middle of it, after so many bytes of rows.
    pub fn abandoned(mut self, bytes: u64) {
        self.end("abandoned", None, bytes, None);
    }

    /// The warehouse raised an error, after so many bytes of rows.
    pub fn failed(mut self, code: &str, bytes: u64) {
        self.end("failed", None, bytes, Some(code));
    }

    fn end(&mut self, outcome: &'static str, rows: Option<u64>, bytes: u64, code: Option<&str>) {
        let Some(open) = self.0.take() else { return };
        if open.speaker.who.trail.is_on() {
            open.put(outcome, rows, bytes, code);
        } else {
            open.log(outcome, rows, code);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end("abandoned", None, 0, None);
    }
}

impl Open {
    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn put(&self, outcome: &'static str, rows: Option<u64>, bytes: u64, code: Option<&str>) {
        let trail = &self.speaker.who.trail;
        trail.write(USUAL, |members| self.say(members, outcome, rows, bytes, code));
    }

    fn say(&self, members: &mut Members, outcome: &'static str, rows: Option<u64>, bytes: u64, code: Option<&str>) {
        let trail = &self.speaker.who.trail;
        let text = || self.text.as_deref().unwrap_or_default();
        members
            .begin(self.time, "statement")
            .more(&self.speaker.members)
            .number("batch", self.batch)
            .number("number", self.number);
        match &self.plan {
            Some(plan) => about::of_plan(plan, text, members),
            None => {
                members.more(about::of_text(&redact(text())).bytes());
            }
        }
        if trail.keeps_literals() {
            about::push_text(text(), self.plan.as_deref(), members);
        }
        if let Some(inner) = &self.inner {
            let mut of = Members::default();
            about::of_plan(&inner.plan, || &inner.text, &mut of);
            members.object("of", &of);
        }
        members.word("decision", "allowed");
        if let Some(plan) = &self.plan {
            members.text("command", command(plan)).number("world", plan.world_version);
        }
        members.word("outcome", outcome).text_if("code", code);
        if let Some(rows) = rows {
            members.number("rows", rows);
        }
        members.number("bytes", bytes).number("elapsedUs", self.elapsed_us());
    }

    fn log(&self, outcome: &str, rows: Option<u64>, code: Option<&str>) {
        let who = &self.speaker.who;
        let plan = self.plan.as_deref();
        let plans = plan.into_iter().chain(self.inner.as_ref().map(|inner| &*inner.plan));
        let sources: Vec<&str> = plans.flat_map(|plan| plan.touched.sources()).map(|source| &**source).collect();
        let written = plan.map(|plan| plan.touched.written()).filter(|written| !written.is_empty());
        let written = written.map(|written| written.iter().map(|source| &***source).collect::<Vec<_>>().join(", "));
        let (user, login) = who.names();
        tracing::info!(
            target: "audit",
            user,
            login,
            database = &*who.database,
            application = &*who.application,
            session = who.session,
            project = &*self.speaker.project,
            statement = self.text.as_deref(),
            decision = "allowed",
            kind = plan.map_or("", command),
            world = plan.map_or(0, |plan| plan.world_version),
            sources = sources.join(", "),
            written,
            outcome,
            code,
            rows,
            elapsed_us = self.elapsed_us(),
        );
    }
}

/// Whether something that a message quotes does not stand in what is left of the statement without its literals.
fn quotes_more(message: &str, left: &str) -> bool {
    let left = left.to_lowercase();
    message.split('"').skip(1).step_by(2).any(|quoted| !left.contains(&quoted.to_lowercase()))
}

/// Why something is refused. What the parser and the reading of values say may quote literals, and so may any other message: with `left`, what
/// is left of the statement without them, one that does is withheld.
pub(super) fn because(refusal: &Refusal, left: Option<&str>, members: &mut Members) {
    let family = match refusal.family {
        Family::Denied => "denied",
        Family::Unsupported => "unsupported",
        Family::Protocol => "protocol",
        Family::Upstream => "upstream",
        Family::Caller => "caller",
        Family::Internal => "internal",
    };
    members.text("family", family).text("code", refusal.code.0);
    let literal = refusal.code.0 == "42601" || refusal.code.0.starts_with("22");
    let withheld = left.is_some_and(|left| literal || quotes_more(&refusal.message, left));
    if !withheld && !refusal.message.contains(SIGNATURE) {
        members.text("reason", &refusal.message);
    }
}

/// What kind of statement a plan sends: its first word, which is ours, or what it does to the session's temporary tables.
fn command(plan: &Plan) -> &str {
    match &plan.effect {
        Effect::Scratch(Change::Create { .. }) => "CREATE TEMPORARY TABLE",
        Effect::Scratch(Change::Drop(_)) => "DROP TABLE",
        Effect::Scratch(Change::Clear) => "DISCARD TEMP",
        Effect::Scratch(Change::Rename { .. } | Change::Columns { .. }) => "ALTER TABLE",
        _ => plan.sealed.as_str().split(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default(),
    }
}

/// The number of rows in a CommandComplete tag: its last word.
pub fn rows_of(tag: &str) -> Option<u64> {
    // Every statement has one: digits from the end, without a search for the blank first.
    let (mut rows, mut unit) = (None, Some(1u64));
    for byte in tag.bytes().rev() {
        match byte {
            b'0'..=b'9' => {
                let digit = unit?.checked_mul(u64::from(byte - b'0'))?;
                rows = Some(rows.unwrap_or(0u64).checked_add(digit)?);
                unit = unit?.checked_mul(10);
            }
            b' ' => return rows,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    #[test]
    fn rows_are_the_last_word_of_the_tag() {
        assert_eq!(rows_of("SELECT 12"), Some(12));
        assert_eq!(rows_of("INSERT 0 3"), Some(3));
        assert_eq!(rows_of(&format!("SELECT {}", u64::MAX)), Some(u64::MAX));
        for none in ["BEGIN", "", "7", " 7x", "CREATE TABLE AS7", "SELECT ", "SELECT 18446744073709551616"] {
            assert_eq!(rows_of(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_digest_stands_for_the_text_and_does_not_tell_it() {
        assert_eq!(digest("abc"), digest("abc"));
        assert_ne!(digest("abc"), digest("abd"));
        assert_ne!(digest("abc"), hex(Sha256::digest("abc")));
    }
}
