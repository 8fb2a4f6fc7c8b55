//! Clients that people use, from the distribution's packages, each asked twice: on the bare warehouse, and through the proxy as somebody
//! from whom nothing is hidden. What they say has to be the same. `.ci/setup --test` installs them; one that is missing is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod dbt;
mod dump;
mod information;
mod jdbc;
mod node;
mod pgbench;
mod psql;
mod python;
mod replan;
mod restricted;
mod sql;
mod sqlx;
mod stage;
