//! The five bytes in front of every message after startup: a tag and a length that counts itself.
//!
//! In: the bytes received so far. Out: [`Header`] or a refusal. Must never: believe a length outside the bounds of its tag.

use crate::error::{Refusal, SqlState};

/// A message's tag and the length of its body (the length field not counted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// First byte.
    pub tag: u8,
    /// Body length.
    pub body: usize,
}

impl Header {
    /// Length of the header itself.
    pub const LEN: usize = 5;

    /// Reads a header; `None` when fewer than five bytes are there. The declared length must be at least 4.
    pub fn scan(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let Some((head, _)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
        let [tag, a, b, c, d] = *head;
        let declared = u32::from_be_bytes([a, b, c, d]);
        // A length is signed on the wire (Int32): one with the top bit set is negative.
        if !(4..=0x7fff_ffff).contains(&declared) {
            return Err(Refusal::protocol("invalid message length"));
        }
        Ok(Some(Self { tag, body: declared as usize - 4 }))
    }

    /// Length of the whole message.
    pub fn total(self) -> usize {
        Self::LEN + self.body
    }
}

/// Bounds of what a client may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body of a message that carries data (`PQ_LARGE_MESSAGE_LIMIT` has this role in PostgreSQL).
    pub large: usize,
}

/// `PQ_SMALL_MESSAGE_LIMIT`: bound of messages that only carry a name.
pub const SMALL: usize = 10_000;

/// Bound of a password or SASL message: a token fits (`PG_MAX_AUTH_TOKEN_LENGTH` is 65535).
pub const SASL: usize = 40_000;

impl Default for Limits {
    fn default() -> Self {
        Self { large: 64 << 20 }
    }
}

impl Limits {
    /// Checks a client's header against the bound of its tag, in `SocketBackend`'s words. An unknown tag is 08P01: the
    /// connection has lost synchronization.
    pub fn check(&self, header: Header) -> Result<(), Refusal> {
        let bound = match header.tag {
            b'Q' | b'P' | b'B' | b'F' | b'd' | b'f' => self.large,
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' => SMALL,
            b'p' => SASL,
            other => {
                return Err(Refusal::protocol(format!("invalid frontend message type {other}")));
            }
        };
        if header.body <= bound {
            return Ok(());
        }
        if header.body > SMALL && bound == self.large {
            let mut refusal = Refusal::protocol("message is too large");
            refusal.code = SqlState::PROTOCOL_VIOLATION;
            return Err(refusal.with_detail(format!("a message may hold at most {bound} bytes")));
        }
        Err(Refusal::protocol("invalid message length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(Header::scan(b"Q\0\0\0").unwrap(), None);
        assert_eq!(Header::scan(b"Q\0\0\0\x05").unwrap(), Some(Header { tag: b'Q', body: 1 }));
        assert!(Header::scan(b"Q\0\0\0\x03").is_err());
        assert!(Header::scan(b"Q\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn each_tag_has_its_bound() {
        let limits = Limits::default();
        assert!(limits.check(Header { tag: b'S', body: 0 }).is_ok());
        assert!(limits.check(Header { tag: b'S', body: 20_000 }).is_err());
        assert!(limits.check(Header { tag: b'Q', body: 20_000 }).is_ok());
        assert!(limits.check(Header { tag: b'Q', body: 65 << 20 }).is_err());
        assert_eq!(limits.check(Header { tag: b'z', body: 0 }).unwrap_err().code.0, "08P01");
    }
}
