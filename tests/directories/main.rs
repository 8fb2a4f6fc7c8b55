//! Groups and attributes from directories, with real ones: an OpenLDAP server of our own, and a second PostgreSQL database. What they
//! say shows in what statements see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/papers.rs"]
#[allow(dead_code)]
mod papers;

#[path = "../support/slapd.rs"]
#[allow(dead_code)]
mod slapd;

#[path = "../accounts/commands.rs"]
#[allow(dead_code)]
mod commands;

mod accounts;
mod acting;
mod bounds;
mod check;
mod gate;
mod ldap;
mod names;
mod outage;
mod providers;
mod records;
mod renewal;
mod sql;
mod stage;
