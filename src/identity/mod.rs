//! Who is calling: users with verifiers, groups, attributes; how a name is proved.
//!
//! In: the identity file, a login attempt. Out: a [`Caller`]. Pure but for [`keyring`] and [`ldap`], which ask others over the network,
//! and for the files of acknowledgements and accounts. Must never: keep a password, tell an unknown user from a wrong password.

pub mod accounts;
pub mod acknowledgement;
pub mod bearer;
pub mod certificate;
mod directory;
pub mod file;
pub mod impersonation;
pub mod keyring;
mod known;
pub mod ldap;
pub mod login;
pub mod scram;
pub mod token;

pub use acknowledgement::{Acknowledgement, Acknowledgements};
pub use directory::{Directory, Membership};
pub use file::Identities;
pub use impersonation::{Actor, Signed, Ways};
pub use known::{Asked, Excess, Found, Gathering, Heard, Held, Known, Slot};
pub use login::{Bound, Brought, Login};
pub use scram::{LoginVerifier, ServerExchange, Verifier};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A principal as the policy sees it, for one session at one moment. Immutable; a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Login name.
    pub user: Arc<str>,
    /// Identity provider id (`iamid`).
    pub iam: Arc<str>,
    /// Groups, each with the provider that supplied it.
    pub groups: BTreeSet<Entitlement>,
    /// Attribute name → values, each with the provider that supplied it. Group attributes already inherited.
    pub attributes: BTreeMap<String, BTreeSet<Entitlement>>,
    /// The project acted under, by key.
    pub project: Option<Arc<str>>,
    /// The purposes of that project.
    pub purposes: BTreeSet<String>,
    /// What he is outside the project, where its equalization left him less.
    pub before: Option<Arc<Caller>>,
}

impl Caller {
    /// The same principal under no project.
    pub fn alone(&self) -> Self {
        match &self.before {
            Some(before) => Self::clone(before),
            None => Self { project: None, purposes: BTreeSet::new(), ..self.clone() },
        }
    }
}

/// A group name or attribute value and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entitlement {
    /// The group's name or the attribute's value.
    pub value: String,
    /// Identity provider.
    pub iam: Arc<str>,
}
