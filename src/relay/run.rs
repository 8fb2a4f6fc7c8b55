//! Forwarding in runs: the messages that need no change are passed on together, in one move of bytes.
//!
//! In: a buffer read from the warehouse. Out: the client's buffer. Must never: forward a byte that was not looked at.

use crate::wire::Header;
use bytes::{Buf, BytesMut};

/// A walk through received bytes. `..done` was dealt with, `done..at` will be forwarded, `at..` is still to be looked at.
#[derive(Debug)]
pub struct Run<'a> {
    from: &'a mut BytesMut,
    to: &'a mut BytesMut,
    done: usize,
    at: usize,
}

impl<'a> Run<'a> {
    /// Begins at the first byte of `from`.
    pub fn new(from: &'a mut BytesMut, to: &'a mut BytesMut) -> Self {
        Self { from, to, done: 0, at: 0 }
    }

    /// What is still to be looked at.
    pub fn ahead(&self) -> &[u8] {
        self.from.get(self.at..).unwrap_or_default()
    }

    /// Lets up to `n` bytes pass; returns how many of them have not come yet.
    pub fn pass(&mut self, n: usize) -> usize {
        let here = n.min(self.from.len() - self.at);
        self.at += here;
        n - here
    }

    /// Lets every message with this tag pass that comes next and has come whole; gives their bytes.
    pub fn pass_all(&mut self, tag: u8) -> usize {
        let before = self.at;
        // What is not a message, or not all here, is looked at by others.
        while let Ok(Some(header)) = Header::scan(self.ahead()) {
            if header.tag != tag || header.total() > self.ahead().len() {
                break;
            }
            self.at += header.total();
        }
        self.at - before
    }

    /// Leaves out the next `n` bytes, which must be there, and gives them with the client's buffer, so that something else can be said
    /// instead.
    pub fn replace(&mut self, n: usize) -> (&[u8], &mut BytesMut) {
        self.flush();
        let end = (self.at + n).min(self.from.len());
        let bytes = self.from.get(self.at..end).unwrap_or_default();
        self.at = end;
        self.done = end;
        (bytes, self.to)
    }

    /// Leaves out up to `n` bytes; returns how many of them have not come yet.
    pub fn drop(&mut self, n: usize) -> usize {
        let here = n.min(self.from.len() - self.at);
        self.replace(here);
        n - here
    }

    /// The client's buffer, in order with what was passed.
    pub fn say(&mut self) -> &mut BytesMut {
        self.flush();
        self.to
    }

    fn flush(&mut self) {
        if let Some(run) = self.from.get(self.done..self.at) {
            self.to.extend_from_slice(run);
        }
        self.done = self.at;
    }

    /// Ends the walk: what may pass is in the client's buffer, what was not looked at stays.
    pub fn finish(mut self) {
        if self.done == 0 && self.at == self.from.len() && self.to.is_empty() {
            // The usual case of a large result: the whole buffer changes hands, no byte is copied.
            std::mem::swap(self.from, self.to);
            return;
        }
        self.flush();
        self.from.advance(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_replaces_and_keeps_the_rest() {
        let (mut from, mut to) = (BytesMut::from(&b"aabbccdd"[..]), BytesMut::from(&b"_"[..]));
        let mut run = Run::new(&mut from, &mut to);
        assert_eq!(run.pass(2), 0);
        let (seen, out) = run.replace(2);
        assert_eq!(seen, b"bb");
        out.extend_from_slice(b"X");
        assert_eq!(run.pass(2), 0);
        assert_eq!(run.ahead(), b"dd");
        run.finish();
        assert_eq!((&to[..], &from[..]), (&b"_aaXcc"[..], &b"dd"[..]));
    }

    #[test]
    fn messages_of_a_kind_pass_together() {
        let row = b"D\0\0\0\x06ab";
        for (rest, passed) in [
            (&b""[..], 3),
            (b"D\0\0", 3),
            (b"D\0\0\0\x07ab", 3),
            (b"C\0\0\0\x06ab", 3),
            (b"D\0\0\0\x03", 3),
            (b"D\xff\xff\xff\xff", 3),
            (b"D\0\0\0\x04C", 3),
        ] {
            let mut from = BytesMut::from(&[&row[..], row, row, rest].concat()[..]);
            let mut to = BytesMut::new();
            let mut run = Run::new(&mut from, &mut to);
            run.pass_all(b'D');
            let extra = if rest == b"D\0\0\0\x04C" { 5 } else { 0 };
            assert_eq!(run.at, passed * row.len() + extra, "{rest:?}");
            run.pass_all(b'C');
            run.finish();
        }
    }

    #[test]
    fn a_whole_buffer_changes_hands() {
        let (mut from, mut to) = (BytesMut::from(&b"abc"[..]), BytesMut::new());
        let at = from.as_ptr();
        let mut run = Run::new(&mut from, &mut to);
        assert_eq!(run.pass(10), 7);
        run.finish();
        assert_eq!(to.as_ptr(), at);
        assert!(from.is_empty());
    }
}
