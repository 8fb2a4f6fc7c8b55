//! What administrators declare: data sources, tags, policies, purposes, projects, grants.
//!
//! In: a directory of YAML/JSON documents in the V2 shapes of the seeds. Out: one validated, immutable [`model::Declared`]
//! or the full list of problems, each with file, line and remedy. Must never: evaluate a policy, talk to the warehouse.

pub mod document;
pub mod model;
pub mod problem;
pub mod tree;
