//! What policy documents mean, through the real loader, the real proxy and a real PostgreSQL: the published examples of the V2 API, V1
//! and local policies, subscriptions; and what invalid documents are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "../support/mod.rs"]
mod support;

mod invalid;
mod local;
mod others;
mod published;
mod rows;
mod sets;
mod subscriptions;
