//! sqlveil: a PostgreSQL-wire proxy that answers every statement through policy.
//!
//! # The way of a statement
//!
//! ```text
//! bytes ─wire→ frame ─session→ request ─sql→ Parsed ─resolve→ Resolved ─policy→ Permit
//!       ─rewrite→ Rewritten ─seal→ Sealed ─plan→ Arc<Plan> ─upstream→ warehouse ─relay→ client
//! ```
//!
//! # Invariants, cited in the code as `INVARIANT(name)`
//!
//! - **no-caller-sql**: text from a client reaches the warehouse only inside a [`seal::Sealed`].
//! - **total-match**: matches on statement, range-table and expression kinds list their variants; a wildcard arm is a refusal.
//! - **all-statements**: a string of several statements is decided whole before the first byte is sent.
//! - **complete-key**: a cache key holds every input of the decision.
//! - **default-deny**: no permit, unknown relation, stale catalog, policy that cannot be evaluated: refuse.
//! - **one-voice**: one function turns errors into ErrorResponse.
//! - **decide-records**: a decision without an audit record cannot be written.

pub mod admin;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod config;
#[cfg(feature = "disarm")]
pub mod disarm;
pub mod error;
pub mod governance;
pub mod identity;
pub mod lane;
pub mod plan;
pub mod policy;
pub mod relay;
pub mod resolve;
pub mod rewrite;
pub mod seal;
pub mod session;
pub mod sql;
pub mod telemetry;
pub mod types;
pub mod upstream;
pub mod wire;
pub mod world;
