//! What administrators declare: data sources, tags, policies, purposes, projects, grants, unmask requests.
//!
//! In: a directory of YAML/JSON documents in the V2 shapes of the seeds. Out: one validated, immutable [`model::Declared`]
//! or the full list of problems, each with file, line and remedy. Must never: evaluate a policy, talk to the warehouse.
//!
//! ```text
//! directory ─store→ files ─tree→ nodes ─reader→ data, tags, policy, project, grant, fingerprint, unmask ─validate→ Declared
//! ```

pub mod applied;
pub mod data;
pub mod document;
pub mod fill;
pub mod fingerprint;
pub mod grant;
pub mod local;
pub mod model;
pub mod places;
pub mod policy;
pub mod problem;
pub mod project;
pub mod reader;
pub mod rules;
pub mod store;
pub mod tags;
pub mod tree;
pub mod unmask;
pub mod v1;
pub mod validate;

#[cfg(test)]
mod tests;

pub use store::{Loaded, load};
