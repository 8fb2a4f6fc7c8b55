//! What is allowed: the predicate language, circumstances, audiences, and `decide`.
//!
//! In: the declared world bound to a catalog, a caller, an instant. Out: a [`decision::RelationDecision`] per relation.
//! Pure: no I/O, no async. Must never: answer "allowed" for what it cannot evaluate.
//!
//! Binding has two phases. [`Ruleset::bind`] compiles everything against a catalog snapshot; the loader then runs
//! [`Ruleset::probes`] on the warehouse and hands the failures to [`Ruleset::settle`]. Until settled, a source whose rules have
//! probes is [`decision::Access::Invalid`].

pub mod decision;
pub mod permit;
pub mod probe;
pub mod salt;

use crate::catalog::Catalog;
use crate::governance::model::Declared;
use crate::governance::problem::Problem;
use crate::identity::Caller;
use crate::types::QualifiedName;
use decision::Access;
pub use probe::{Probe, ProbeFailure, ProbeKind};
pub use salt::Salts;
use std::time::SystemTime;

/// The declared policies bound to one catalog: compiled predicates and masks per data source.
#[derive(Default)]
pub struct Ruleset {}

impl Ruleset {
    /// Binds the documents of one connection to a catalog snapshot. The ruleset is usable even with problems: data sources that an
    /// invalid policy touches answer [`Access::Invalid`].
    pub fn bind(
        _declared: &Declared,
        _connection_key: &str,
        _catalog: &Catalog,
        _salts: &Salts,
    ) -> (Self, Vec<Problem>) {
        (Self {}, Vec::new())
    }
    /// What the warehouse has to confirm before the ruleset is published.
    pub fn probes(&self) -> &[Probe] {
        &[]
    }
    /// Takes the warehouse's answers: constants that cannot be cast become NULL with a type mismatch (a warning), any other failure
    /// makes the data source refuse (an error).
    pub fn settle(self, _failures: &[ProbeFailure]) -> (Self, Vec<Problem>) {
        (self, Vec::new())
    }
    /// Decides one relation, by the logical name callers write, for one caller at one instant.
    pub fn access(&self, _caller: &Caller, _logical: &QualifiedName, _now: SystemTime) -> Access {
        Access::Hidden
    }
    /// Logical names of every registered relation, for the virtual catalog and `explain`.
    pub fn registered(&self) -> impl Iterator<Item = &QualifiedName> {
        std::iter::empty()
    }
    /// Replaces every salt in a text by `<salt>`.
    pub fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Not printed: it holds salts.
impl std::fmt::Debug for Ruleset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ruleset").finish_non_exhaustive()
    }
}
