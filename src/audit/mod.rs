//! One record per statement: who asked, what was decided, how it ended.
//!
//! In: a decision as it is made. Out: a `tracing` event with the target `audit`. INVARIANT(decide-records): the session gets a decision
//! only together with its [`Record`]. Must never: hold the statement's text or a literal (a SHA-256 of the text stands for it), or a
//! policy's.

use crate::catalog::scratch::Change;
use crate::error::Refusal;
use crate::plan::{Effect, Plan};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

/// Who a session's records are about.
#[derive(Debug, Clone)]
pub struct Who {
    /// Who logged in.
    pub user: Arc<str>,
    /// The temporary account by which he did.
    pub account: Option<Arc<str>>,
    /// Whom the login acts for: the statements are his.
    pub acting_for: Option<Arc<str>>,
    /// Database name the client gave.
    pub database: Arc<str>,
    /// `application_name` at login.
    pub application: Arc<str>,
    /// Process id shown to the client.
    pub session: i32,
}

impl Who {
    /// Whose statement it is, and the login when that is another.
    fn names(&self) -> (&str, Option<&str>) {
        match &self.acting_for {
            Some(user) => (user, Some(&self.user)),
            None => (&self.user, self.account.as_deref()),
        }
    }
}

/// The record of a statement on its way. Dropped before its end was told, it says `abandoned`.
#[derive(Debug)]
pub struct Record(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    who: Who,
    statement: String,
    plan: Option<Arc<Plan>>,
    project: Arc<str>,
    began: Instant,
}

fn listening() -> bool {
    tracing::enabled!(target: "audit", tracing::Level::INFO)
}

fn digest(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl Record {
    /// A statement that is allowed; its end is told later.
    pub fn allowed(who: &Who, project: &Arc<str>, sql: &str, plan: Option<&Arc<Plan>>) -> Self {
        Self(listening().then(|| {
            Box::new(Open {
                who: who.clone(),
                statement: digest(sql),
                plan: plan.cloned(),
                project: Arc::clone(project),
                began: Instant::now(),
            })
        }))
    }

    /// A statement that is refused: told at once.
    pub fn refused(who: &Who, project: &str, sql: &str, refusal: &Refusal) {
        if !listening() {
            return;
        }
        let (user, login) = who.names();
        tracing::info!(
            target: "audit",
            user,
            login,
            database = &*who.database,
            application = &*who.application,
            session = who.session,
            project,
            statement = digest(sql),
            decision = "refused",
            family = ?refusal.family,
            code = refusal.code.0,
        );
    }

    /// It completed, with the rows of its tag.
    pub fn completed(mut self, rows: Option<u64>) {
        self.end("completed", rows, None);
    }

    /// The warehouse raised an error.
    pub fn failed(mut self, code: &str) {
        self.end("failed", None, Some(code));
    }

    fn end(&mut self, outcome: &str, rows: Option<u64>, code: Option<&str>) {
        let Some(open) = self.0.take() else { return };
        let sources = open.plan.as_ref().map(|p| p.sources.join(", ")).unwrap_or_default();
        let writing = open.plan.as_ref().and_then(|p| p.writing.as_ref());
        let written = writing.map(|w| w.sources.join(", "));
        let (user, login) = open.who.names();
        tracing::info!(
            target: "audit",
            user,
            login,
            database = &*open.who.database,
            application = &*open.who.application,
            session = open.who.session,
            project = &*open.project,
            statement = open.statement,
            decision = "allowed",
            kind = open.plan.as_ref().map_or("", |p| kind(p)),
            world = open.plan.as_ref().map_or(0, |p| p.world_version),
            sources,
            written,
            outcome,
            code,
            rows,
            elapsed_us = u64::try_from(open.began.elapsed().as_micros()).unwrap_or(u64::MAX),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end("abandoned", None, None);
    }
}

/// What kind of statement a plan sends: its first word, which is ours, or what it does to the session's temporary tables.
fn kind(plan: &Plan) -> &str {
    match &plan.effect {
        Effect::Scratch(Change::Create { .. }) => "CREATE TEMPORARY TABLE",
        Effect::Scratch(Change::Drop(_)) => "DROP TABLE",
        Effect::Scratch(Change::Clear) => "DISCARD TEMP",
        Effect::Scratch(Change::Rename { .. } | Change::Columns { .. }) => "ALTER TABLE",
        _ => plan.sealed.as_str().split(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default(),
    }
}

/// Who tries to log in.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The name given; once somebody has logged in, who he is.
    pub user: &'a str,
    /// The name given, when that is a temporary account of his.
    pub login: Option<&'a str>,
    /// The database given.
    pub database: &'a str,
    /// From where.
    pub peer: std::net::SocketAddr,
    /// By which method.
    pub method: &'static str,
}

/// A login, or why there is none: the client is not told `why`, which holds nothing of what was presented.
pub fn login(by: &By<'_>, refusal: Option<&Refusal>, why: Option<&str>) {
    let By { user, login, database, peer, method } = by;
    tracing::info!(
        target: "audit",
        user,
        login,
        database,
        %peer,
        method,
        decision = if refusal.is_some() { "login refused" } else { "login" },
        code = refusal.map(|r| r.code.0),
        why,
    );
}

/// A caller accepted what a project asks for. The texts are in the acknowledgements themselves.
pub fn acknowledged(user: &str, login: Option<&str>, project: &str, asked: &[crate::identity::Acknowledgement]) {
    let purposes: Vec<&str> = asked.iter().map(|a| a.purpose.as_str()).collect();
    tracing::info!(target: "audit", user, login, project, purposes = purposes.join(", "), decision = "acknowledged");
}

/// The number of rows in a CommandComplete tag: its last word.
pub fn rows_of(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_last_word_of_the_tag() {
        assert_eq!(rows_of("SELECT 12"), Some(12));
        assert_eq!(rows_of("INSERT 0 3"), Some(3));
        assert_eq!(rows_of("BEGIN"), None);
    }

    #[test]
    fn the_digest_stands_for_the_text() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
