//! A cursor over the body of one message.
//!
//! In: the body's bytes. Out: integers, strings and byte runs in order. Must never: read past the body or leave a rest unnoticed.

use super::invalid_utf8;
use crate::error::Refusal;

/// Reads a message body front to back; every reader fails with 08P01 when the body is too short.
#[derive(Debug, Clone)]
pub struct Body<'a> {
    rest: &'a [u8],
}

fn short() -> Refusal {
    Refusal::protocol("insufficient data left in message")
}

impl<'a> Body<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Refusal> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or_else(short)?;
        self.rest = tail;
        Ok(head)
    }

    /// An Int8 (one byte).
    pub fn u8(&mut self) -> Result<u8, Refusal> {
        let (&first, tail) = self.rest.split_first().ok_or_else(short)?;
        self.rest = tail;
        Ok(first)
    }

    /// An Int16 in network order.
    pub fn i16(&mut self) -> Result<i16, Refusal> {
        let (head, tail) = self.rest.split_first_chunk::<2>().ok_or_else(short)?;
        self.rest = tail;
        Ok(i16::from_be_bytes(*head))
    }

    /// An Int32 in network order.
    pub fn i32(&mut self) -> Result<i32, Refusal> {
        let (head, tail) = self.rest.split_first_chunk::<4>().ok_or_else(short)?;
        self.rest = tail;
        Ok(i32::from_be_bytes(*head))
    }

    /// An OID.
    pub fn u32(&mut self) -> Result<u32, Refusal> {
        let (head, tail) = self.rest.split_first_chunk::<4>().ok_or_else(short)?;
        self.rest = tail;
        Ok(u32::from_be_bytes(*head))
    }

    /// A count of things: an Int16 that PostgreSQL reads as unsigned (up to 65,535 parameters).
    pub fn count(&mut self) -> Result<usize, Refusal> {
        self.i16().map(|n| usize::from(n as u16))
    }

    /// A String: bytes up to NUL, which must be there, as UTF-8.
    pub fn string(&mut self) -> Result<&'a str, Refusal> {
        std::str::from_utf8(self.bytes_to_nul()?).map_err(|_| invalid_utf8())
    }

    /// A String whose bytes may be any.
    pub fn bytes_to_nul(&mut self) -> Result<&'a [u8], Refusal> {
        let end =
            self.rest.iter().position(|b| *b == 0).ok_or_else(|| Refusal::protocol("invalid string in message"))?;
        let bytes = self.take(end)?;
        self.u8()?;
        Ok(bytes)
    }

    /// What is left, all of it.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The body must end here (`pq_getmsgend`).
    pub fn end(self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(Refusal::protocol("invalid message format")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_insists_on_the_end() {
        let mut b = Body::new(b"\x01\x00\x02\x00\x00\x00\x03ab\0z");
        assert_eq!((b.u8(), b.i16(), b.i32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(b.string().unwrap(), "ab");
        assert!(b.clone().end().is_err());
        assert_eq!(b.rest(), b"z");
        assert!(b.end().is_ok());
    }

    #[test]
    fn a_string_needs_its_nul_and_utf8() {
        assert_eq!(Body::new(b"abc").string().unwrap_err().code.0, "08P01");
        assert_eq!(Body::new(b"\xff\0").string().unwrap_err().code.0, "22021");
    }
}
