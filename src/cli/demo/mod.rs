//! `sqlveil demo`: a private warehouse, a few callers, and the same questions answered differently.
//!
//! In: a port. Out: the callers' answers side by side, or with `--keep` a proxy to play with. Must never: touch a
//! server it did not start, or leave a process or a file behind.

pub mod documents;
pub mod private_postgres;
pub mod warehouse;
