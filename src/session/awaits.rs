//! The messages that answer a bound statement, in their order.
//!
//! In: tags of the warehouse's messages. Out: whether it is their turn (PostgreSQL manual, 55.2.3). Must never: let one pass twice.

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// CloseComplete of another statement, then ParseComplete.
    Close,
    /// ParseComplete, then BindComplete and a description.
    Parse,
    /// BindComplete, then RowDescription or NoData.
    BindDescribed,
    /// BindComplete, then rows.
    Bind,
    /// RowDescription or NoData.
    Description,
    /// Rows, then CommandComplete.
    Rows,
    /// ReadyForQuery.
    Ready,
}

impl Awaits {
    /// Takes note of a message without rows or errors; false when it is not its turn.
    pub fn came(&mut self, tag: u8) -> bool {
        *self = match (*self, tag) {
            (Self::Close, b'3') => Self::Parse,
            (Self::Parse, b'1') => Self::BindDescribed,
            (Self::BindDescribed, b'2') => Self::Description,
            (Self::Bind, b'2') | (Self::Description, b'n' | b'T') => Self::Rows,
            (Self::Rows, b'C') => Self::Ready,
            _ => return false,
        };
        true
    }
}
