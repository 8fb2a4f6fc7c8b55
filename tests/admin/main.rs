//! What those who run the proxy see of it: metrics, the HTTP interface, traces, logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/process.rs"]
#[allow(dead_code)]
mod process;

#[path = "../support/papers.rs"]
#[allow(dead_code)]
mod papers;

mod access;
mod containers;
mod documented;
mod hostile;
mod http;
mod logs;
mod metrics;
mod orders;
mod traces;
