//! What the proxy answers, compared with a naive evaluator that filters and masks rows in memory.
//!
//! The evaluator is written from the meaning of policies, not from the code that compiles them: it holds no SQL. Worlds (users,
//! groups, projects, policies, grants) are generated from a seed, written as documents, loaded by the real loader and asked through
//! the real proxy, every user and project on every table. `SQLVEIL_TEST_SEED=N` repeats one world, `SQLVEIL_TEST_LONG=1` runs many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "../support/mod.rs"]
mod support;

mod data;
mod dice;
mod document;
mod evaluate;
mod generate;
mod mask;
mod predicate;
mod properties;
mod proxy;
mod shrink;
mod spec;
