//! Frames of the PostgreSQL protocol, version 3, both directions (PostgreSQL manual, chapter 55), as pure functions.
//!
//! In: bytes. Out: typed messages that borrow from them, and encoded messages. Must never: do I/O, panic, repair text that is not
//! UTF-8, accept a body that is not consumed exactly, or know policy.

pub mod backend;
pub mod body;
pub mod errors;
pub mod frontend;
pub mod header;
pub mod startup;

pub use backend::TransactionStatus;
pub use frontend::{Frontend, Target};
pub use header::{Header, Limits};

use crate::error::{Refusal, SqlState};

/// 22021 in PostgreSQL's words: text that is not UTF-8 (`report_invalid_encoding`).
pub(crate) fn invalid_utf8() -> Refusal {
    Refusal::new(
        crate::error::Family::Protocol,
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        "invalid byte sequence for encoding \"UTF8\"",
    )
}
