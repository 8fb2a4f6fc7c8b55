//! The proxy against PostgreSQL itself.
//!
//! [`native`]: what policies make of a query equals what hand-written masking views over native row-level security make of it.
//! [`fidelity`]: under policies that show everything, a statement through the proxy equals the statement sent directly.
//!
//! `SQLVEIL_ORACLE_SEED=n` runs one generated query of each; `SQLVEIL_ORACLE_SQL=file` runs the statements of a file (one a line)
//! instead of the fixed list.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../protocol/raw.rs"]
#[allow(dead_code)]
mod raw;

mod answer;
mod fidelity;
mod grammar;
mod literals;
mod mutations;
mod native;
mod schema;
mod statements;

/// The seeds of the generated queries of a test.
fn seeds(start: u64, usual: u64, long: u64) -> Vec<u64> {
    match std::env::var("SQLVEIL_ORACLE_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (start..start + if support::long() { long } else { usual }).collect(),
    }
}
