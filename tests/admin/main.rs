//! What those who run the proxy see of it: metrics, the HTTP interface, traces, logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod metrics;
