//! What a login proved, for as long as its session lives.
//!
//! In: an authentication that succeeded. Out: the user, until when it is good, and what the proof itself says of the caller. Must never:
//! hold the proof (a password, a token), or change during a session but for what directories say.

use super::{Entitlement, Heard, Known};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A login that succeeded. [`super::Directory::caller_of`] makes a caller of it, anew for every statement.
#[derive(Debug, Clone)]
pub struct Login {
    /// Login name.
    pub user: Arc<str>,
    /// From this instant on nothing is answered any more: the end of a token or a certificate.
    pub until: Option<Timestamp>,
    /// What a token says of its user.
    pub brought: Option<Arc<Brought>>,
    /// The fingerprint of the verifier that the password was checked against.
    pub verifier: Option<[u8; 32]>,
    /// The temporary account by which the user logged in.
    pub account: Option<Arc<Bound>>,
    /// His provider when he logged in: the same name with another provider is somebody else.
    pub iam: Option<Arc<str>>,
    /// What directories say of him, which changes while the session lives.
    pub known: Option<Arc<Known>>,
}

/// What a temporary account holds its user to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its login name.
    pub name: Arc<str>,
    /// The only project, or that there is none.
    pub project: Option<Arc<str>>,
}

/// Entitlements that came with the login instead of being in the identity file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brought {
    /// The provider that vouches for all of it.
    pub iam: Arc<str>,
    /// Groups.
    pub groups: BTreeSet<Entitlement>,
    /// Attribute name → values.
    pub attributes: BTreeMap<String, BTreeSet<Entitlement>>,
    /// Whether the user need not be in the identity file.
    pub alone: bool,
}

impl Login {
    /// A login that proved a name and nothing else, good until further notice.
    pub fn of(user: impl Into<Arc<str>>) -> Self {
        Self { user: user.into(), until: None, brought: None, verifier: None, account: None, iam: None, known: None }
    }

    /// The name that logged in.
    pub fn name(&self) -> &Arc<str> {
        self.account.as_ref().map_or(&self.user, |account| &account.name)
    }

    /// The project that it is bound to.
    pub fn project(&self) -> Option<&str> {
        self.account.as_ref()?.project.as_deref()
    }

    /// What directories say of him at this moment.
    pub fn heard(&self) -> Heard<'_> {
        Heard::now(self.known.as_deref())
    }

    /// Whether it has ended by its own terms.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
