//! A line of the trail: one record as a JSON object whose last member is the hash that ties it to the line before.
//!
//! In: the members of a record. Out: the line, and of a line its number, its members and its hash. The hash is SHA-256 (FIPS 180-4) of the
//! hash before, as 32 bytes, and of every byte of the line in front of `,"hash":`. Must never: hash what is not written.

use super::members::push_digits;
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands in front of the first line of a chain.
pub const NOTHING: Hash = [0; 32];

const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const BEHIND_HASH: &[u8] = b"\"}";
const BEFORE_NUMBER: &[u8] = b"{\"seq\":";

/// Where a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line; 0 = none.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: NOTHING }
    }
}

impl Head {
    /// Appends the next line. `members` is what stands between the braces, without the number and the hash, and without a line feed.
    pub fn append(&mut self, members: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.seq += 1;
        out.extend_from_slice(BEFORE_NUMBER);
        push_digits(self.seq, out);
        out.push(b',');
        out.extend_from_slice(members);
        self.hash = next(&self.hash, out.get(start..).unwrap_or_default());
        out.extend_from_slice(BEFORE_HASH);
        push_hex(&self.hash, out);
        out.extend_from_slice(BEHIND_HASH);
        out.push(b'\n');
    }
}

/// The hash of a line behind another.
pub fn next(before: &Hash, hashed: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update(before);
    digest.update(hashed);
    digest.finalize().into()
}

/// A line taken apart, its hash not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'l> {
    /// Its number.
    pub seq: u64,
    /// What is hashed.
    pub hashed: &'l [u8],
    /// What it says its hash is.
    pub hash: Hash,
}

impl<'l> Line<'l> {
    /// Takes a line apart, without its line feed; `None` when it is no line of a trail.
    pub fn of(line: &'l [u8]) -> Option<Self> {
        let rest = line.strip_suffix(BEHIND_HASH)?;
        let at = rest.len().checked_sub(2 * size_of::<Hash>())?;
        let (rest, hex) = rest.split_at_checked(at)?;
        let hashed = rest.strip_suffix(BEFORE_HASH)?;
        let behind = hashed.strip_prefix(BEFORE_NUMBER)?;
        let digits = behind.iter().position(|byte| *byte == b',')?;
        let seq = std::str::from_utf8(behind.get(..digits)?).ok()?.parse().ok()?;
        Some(Self { seq, hashed, hash: read_hex(hex)? })
    }
}

/// Appends a hash in lower-case hexadecimal digits.
fn push_hex(hash: &Hash, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [[0; 2]; size_of::<Hash>()];
    for (pair, byte) in text.iter_mut().zip(hash) {
        // Four bits are below sixteen.
        *pair = [byte >> 4, byte & 15].map(|nibble| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default());
    }
    out.extend_from_slice(text.as_flattened());
}

/// Reads a hash; only lower-case digits are.
pub fn read_hex(text: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut hash = NOTHING;
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (to, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_and_reads_back() {
        let (mut head, mut out) = (Head::default(), Vec::new());
        head.append(b"\"kind\":\"start\"", &mut out);
        let first = head;
        head.append(b"\"kind\":\"stop\"", &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        let one = Line::of(lines[0].as_bytes()).unwrap();
        let two = Line::of(lines[1].as_bytes()).unwrap();
        assert_eq!((one.seq, one.hash), (first.seq, first.hash));
        assert_eq!((two.seq, two.hash), (head.seq, head.hash));
        assert_eq!(one.hashed, b"{\"seq\":1,\"kind\":\"start\"");
        assert_eq!(next(&NOTHING, one.hashed), one.hash);
        assert_eq!(next(&one.hash, two.hashed), two.hash);
        // As sha256sum says of 32 zero bytes and the text.
        assert_eq!(crate::types::hex(one.hash), "88839797c3a94e02485bd11a01b35d985cfdad4dab3bcf30c2baedcd7e87460b");
    }

    #[test]
    fn what_is_no_line_is_none() {
        let (mut head, mut out) = (Head::default(), Vec::new());
        head.append(b"\"kind\":\"start\"", &mut out);
        let line = out.strip_suffix(b"\n").unwrap();
        for cut in 0..line.len() {
            assert_eq!(Line::of(&line[..cut]), None, "{cut}");
        }
        assert_eq!(Line::of(&line.to_ascii_uppercase()), None);
    }
}
