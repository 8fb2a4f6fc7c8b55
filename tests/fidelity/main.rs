//! Promise 2 of the threat model, fidelity: under policies that show everything, what comes through the proxy is what PostgreSQL answers
//! directly, byte for byte, or a refusal that is counted.
//!
//! [`tpch`]: the 22 queries of TPC-H, their answers and their plans. [`psql`]: the commands of psql that read. [`corpus`]: thousands of
//! statements, generated, swept from the server's own catalog, and written as drivers and BI tools write them; prints the share that is
//! refused. [`files`]: the statements of any SQL files, such as PostgreSQL's regression suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../protocol/raw.rs"]
#[allow(dead_code)]
mod raw;

#[path = "../oracle/answer.rs"]
#[allow(dead_code)]
mod answer;

mod corpus;
mod files;
mod pair;
mod psql;
mod tpch;
