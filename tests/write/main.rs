//! Statements that write, through the proxy: what they may touch, what they may store, what they tell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../leak/wire.rs"]
#[allow(dead_code)]
mod wire;

mod bank;
mod forms;
mod found;
mod interference;
mod native;
mod rows;
mod secrets;
mod sequences;
mod sessions;
mod world;
