//! Directories: where groups and attributes of users are kept besides the identity file and tokens.
//!
//! In: `directories` of the configuration. Out: one [`Register`] for each. Must never: send a password where others can read it, or take
//! a query that could do more than read, or that is the same for everybody.

mod ldap;
mod load;
mod sql;

pub use ldap::{Groups, LdapDirectory, Person, fill};
pub(super) use load::read;
pub use sql::{Query, ROWS, SqlDirectory};

use super::authentication::Users;
use crate::governance::model::Origin;
use std::sync::Arc;
use std::time::Duration;

/// Most groups of a user in one directory, and most values of one attribute: what a caller is compared with on every statement.
pub const MOST: usize = 1000;
/// Longest name of a group, name of an attribute, or value, in bytes.
pub const LONGEST: usize = 1024;

/// A directory.
#[derive(Debug, Clone)]
pub struct Register {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it stands.
    pub origin: Origin,
    /// The provider whose users it is about, and that vouches for what it says.
    pub iam: Arc<str>,
    /// Which users it is about: those of the identity file, or all that it knows.
    pub users: Users,
    /// What is known of a user is asked again when older.
    pub refresh: Duration,
    /// Not used any more when older.
    pub grace: Duration,
    /// Longest time a question may take.
    pub timeout: Duration,
    /// Most questions at once.
    pub lookups: usize,
    /// Where it is and how it is asked.
    pub kind: Kind,
}

/// Kinds of directories.
#[derive(Debug, Clone)]
pub enum Kind {
    /// An LDAP server.
    Ldap(LdapDirectory),
    /// A PostgreSQL database.
    Sql(SqlDirectory),
}

#[cfg(test)]
mod tests;
