//! The threat model's catalogue of bypasses against a real PostgreSQL, and two databases that must not be told apart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod caller;
mod catalogue;
mod change;
mod found;
mod generator;
mod interference;
mod named;
mod names;
mod oracles;
mod output;
mod protocol;
mod reading;
mod sessions;
mod wire;
mod world;
