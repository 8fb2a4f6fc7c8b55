//! Defences that other tests cannot see fail, because what they catch does not happen: here it is made to happen. Built with the feature
//! `disarm` alone; `make defences` runs it with each defence on and off.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../golden/world.rs"]
mod golden;
#[path = "../golden/session.rs"]
mod session;
#[path = "../support/mod.rs"]
mod support;

mod key;
mod seal;
