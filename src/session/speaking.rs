//! Who a session's records are about at the moment.
//!
//! In: the session's state. Out: the [`Speaker`] of the next statement, kept until something changes. Must never: keep one for another user,
//! project or purpose than the statement is decided for.

use super::deciding::{Deciding, Surroundings};
use crate::audit::{Record, Speaker};
use crate::error::Refusal;
use crate::identity::Caller;
use crate::telemetry::Kind;
use std::sync::Arc;

/// The last speaker, and the caller he was made for.
pub(super) type Speaking = Option<(Arc<Speaker>, Option<Arc<Caller>>)>;

impl<A: Surroundings> Deciding<A> {
    /// Who speaks now.
    pub(super) fn speaker(&mut self) -> &Arc<Speaker> {
        let project = &self.settings.current().project;
        let caller = self.caller.as_ref().map(|known| &known.caller);
        let same = |(speaker, of): &&(Arc<Speaker>, Option<Arc<Caller>>)| {
            let caller = match (of, caller) {
                (Some(of), Some(caller)) => Arc::ptr_eq(of, caller),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let project = Arc::ptr_eq(&speaker.project, project) || speaker.project == *project;
            caller && project && speaker.who.acting_for == self.who.acting_for
        };
        let last = self.speaking.take().filter(|last| same(&last));
        let made = last.unwrap_or_else(|| {
            let speaker = Speaker::new(&self.who, project, caller.map(|caller| &**caller));
            (Arc::new(speaker), caller.cloned())
        });
        &self.speaking.insert(made).0
    }

    /// The session is there: what is said from now on is recorded.
    pub(super) fn begun(&mut self) {
        self.who.beginning = false;
        self.speaking = None;
    }

    /// Counts a statement that is sent, and traces it where that is asked for.
    pub(super) fn allowed(&mut self, kind: Kind, sql: &str) {
        self.tally.allowed(kind);
        if let Some(traced) = &mut self.traced {
            traced.allowed(self.batch, kind, sql, self.moment, self.planned);
        }
    }

    /// Counts, traces and records a refusal.
    pub(super) fn refused(&mut self, sql: &str, refusal: &Refusal) {
        self.tally.refused(sql, refusal.family);
        if let Some(traced) = &mut self.traced {
            traced.refused(sql, refusal, self.moment);
        }
        let batch = self.batch;
        Record::refused(self.speaker(), batch, sql, refusal);
    }
}
