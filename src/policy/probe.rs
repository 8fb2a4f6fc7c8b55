//! What only the warehouse can tell about a bound policy: whether its SQL has a type, whether its constants can be cast.
//!
//! In: the compiled texts of a [`super::Ruleset`]. Out: [`Probe`]s, which the world loader runs on the catalog connection, and
//! [`ProbeFailure`]s, which it hands back to [`super::Ruleset::settle`]. Must never: read rows of relations that are not the system's, or hold a salt or a caller's values.

use crate::governance::model::Origin;
use std::sync::Arc;

/// How a probe is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// PREPARE only (Parse and Describe); never executed.
    TypeCheck,
    /// Executed: reads no table, returns one row. Failure = the policy is invalid (a pattern that is no regular expression).
    Evaluate,
    /// Executed: reads no table, returns one row. Failure = the constant does not fit the column's type; the mask becomes NULL.
    Constant,
    /// Executed: reads statistics of the planner alone, returns one row. Failure = a set may be large; it is looked up by a join.
    Few,
}

/// One statement to try on the warehouse before the ruleset may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How to run it.
    pub kind: ProbeKind,
    /// Data source.
    pub source: Arc<str>,
    /// Policy.
    pub policy: Arc<str>,
    /// Where the rule was declared.
    pub origin: Origin,
    /// The statement. Holds no salt and no caller's value, but policy text: not for clients.
    pub sql: String,
}

/// The answer of the warehouse to a probe that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    /// Index into [`super::Ruleset::probes`].
    pub probe: usize,
    /// The primary message of the warehouse's error.
    pub message: String,
}
