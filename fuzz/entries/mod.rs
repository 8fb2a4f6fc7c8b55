//! What is fuzzed: one function a target, from bytes to panic or nothing. The fuzzers call them with bytes of their own, `tests/fuzz` with
//! those that once found something (`fuzz/regressions/`).
//!
//! In: any bytes. Out: nothing; a broken promise panics. Must never: depend on anything but the bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

pub mod frames;
#[path = "golden.rs"]
mod golden;
pub mod pipeline;
pub mod startup;
pub mod trees;
pub mod two_parsers;
