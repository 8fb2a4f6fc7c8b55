//! Who a record is about.
//!
//! In: a session, the user and project its statements are decided for. Out: [`Speaker`], the same for all statements until one of these
//! changes. Must never: name the login alone where it acts for somebody.

use super::members::Members;
use super::trail::Trail;
use crate::identity::Caller;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// From where; `None` where there is no network.
    pub client: Option<SocketAddr>,
    /// Process id shown to the client.
    pub session: i32,
    /// The session among all that there ever were.
    pub name: Arc<str>,
    /// It is not there yet: what is asked for now are the settings of its startup packet. They are no statements of the caller; what becomes
    /// of them is told with the login.
    pub beginning: bool,
    /// Where its records are put.
    pub trail: Trail,
    /// Counts its statements.
    pub statements: Arc<AtomicU64>,
}

impl Who {
    /// Whose statement it is, and the login when that is another.
    pub fn names(&self) -> (&str, Option<&str>) {
        match &self.acting_for {
            Some(user) => (user, Some(&self.user)),
            None => (&self.user, self.account.as_deref()),
        }
    }

    /// The number of the next statement.
    pub(super) fn count(&self) -> u64 {
        self.statements.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Who speaks: a session, for one user in one project.
#[derive(Debug)]
pub struct Speaker {
    /// The session.
    pub who: Who,
    /// The project, empty when none.
    pub project: Arc<str>,
    /// What every record says of it.
    pub(super) members: Box<[u8]>,
}

impl Speaker {
    /// For the caller that statements are decided for; `None` when there is none.
    pub fn new(who: &Who, project: &Arc<str>, caller: Option<&Caller>) -> Self {
        let members = if who.trail.is_on() { members(who, project, caller).into_boxed() } else { Box::default() };
        Self { who: who.clone(), project: Arc::clone(project), members }
    }
}

fn members(who: &Who, project: &str, caller: Option<&Caller>) -> Members {
    let (user, login) = who.names();
    let mut members = Members::with_capacity(256);
    members.text("session", &who.name).text("user", user).text_if("login", login);
    members.text("database", &who.database).text("application", &who.application);
    if let Some(client) = &who.client {
        members.text("client", &client.to_string());
    }
    members.number("pid", who.session);
    if !project.is_empty() {
        members.text("project", project);
    }
    if let Some(caller) = caller.filter(|caller| !caller.purposes.is_empty()) {
        members.texts("purposes", caller.purposes.iter().map(String::as_str));
    }
    members
}
