//! The warehouse's bytes on their way to a client.
//!
//! In: bytes of the warehouse. Out: the same bytes, forwarded in runs, save for errors and notices, which are filtered. Must never:
//! hold a row, or show a field of an error that the plan's [`crate::plan::ErrorPolicy`] does not let through.

pub mod errors;
pub mod run;
mod writes;
