//! Logging in by every method, with real peers: psql (libpq), tokio-postgres, an OpenLDAP server of our own, key sets served by the test.
//! OAUTHBEARER is spoken in frames, as PostgreSQL 18's libpq does: older ones do not know it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/papers.rs"]
mod papers;

#[path = "../support/slapd.rs"]
#[allow(dead_code)]
mod slapd;

#[path = "../protocol/raw.rs"]
#[allow(dead_code)]
mod raw;

mod announced;
mod attempts;
mod bearer;
mod certificates;
mod passwords;
mod records;
mod rules;
mod stage;
mod tokens;
mod web;
