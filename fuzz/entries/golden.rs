//! The world of the golden cases, as their own test knows it.

#[path = "../../tests/support/mod.rs"]
pub mod support;

#[path = "../../tests/golden/session.rs"]
pub mod session;
#[path = "../../tests/golden/world.rs"]
pub mod world;
