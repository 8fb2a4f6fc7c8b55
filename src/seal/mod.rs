//! The independent check of what is about to be sent, and the only maker of [`Sealed`].

/// SQL text that may be sent to the warehouse: printed by us from a checked tree. Only this room can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    text: String,
}

impl Sealed {
    /// The empty statement.
    pub fn empty() -> Self {
        Self { text: String::new() }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Several statements as one simple Query string; returns the byte offset at which each begins.
    pub fn join<'a>(parts: impl Iterator<Item = &'a Sealed>) -> (Self, Vec<usize>) {
        let mut text = String::new();
        let mut starts = Vec::new();
        for part in parts {
            if !text.is_empty() {
                text.push_str(";\n");
            }
            starts.push(text.len());
            text.push_str(&part.text);
        }
        (Self { text }, starts)
    }
}
