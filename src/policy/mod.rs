//! What is allowed: the predicate language, circumstances, audiences, and `decide`.
//!
//! In: the declared world bound to a catalog, a caller, an instant. Out: a [`decision::RelationDecision`] per relation.
//! Pure: no I/O, no async. Must never: answer "allowed" for what it cannot evaluate.

pub mod decision;

use crate::identity::Caller;
use crate::types::QualifiedName;
use decision::Access;
use std::time::SystemTime;

/// The declared policies bound to one catalog: compiled predicates and masks per data source.
#[derive(Debug, Default)]
pub struct Ruleset {}

impl Ruleset {
    /// Decides one relation, by the logical name callers write, for one caller at one instant.
    pub fn access(&self, _caller: &Caller, _logical: &QualifiedName, _now: SystemTime) -> Access {
        Access::Hidden
    }
    /// Logical names of every registered relation, for the virtual catalog and `explain`.
    pub fn registered(&self) -> impl Iterator<Item = &QualifiedName> {
        std::iter::empty()
    }
}
