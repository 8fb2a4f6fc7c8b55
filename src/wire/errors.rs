//! ErrorResponse and NoticeResponse, written and read (PostgreSQL manual, 55.8 Error and Notice Message Fields).
//!
//! In: a [`Refusal`], or the bytes of the warehouse. Out: bytes, or [`Fields`]. Must never: be bypassed — INVARIANT(one-voice):
//! [`error_response`] is the only place that turns an error of ours into an ErrorResponse.

use super::backend::{message, string};
use super::body::Body;
use crate::error::Refusal;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// `S` and `V` of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Severity {
    Error,
    Fatal,
    Notice,
    Warning,
}

impl Severity {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
        }
    }
}

fn field(out: &mut BytesMut, code: u8, text: &str) {
    out.put_u8(code);
    string(out, text);
}

/// The 1-based character position of a byte offset into `sql`, as PostgreSQL counts (`errposition`); none when the offset is not on
/// a character's border of the text.
pub fn character_position(sql: &str, offset: usize) -> Option<usize> {
    sql.get(..offset).map(|head| head.chars().count() + 1)
}

/// The byte offset of a 1-based character position in `sql`.
pub fn byte_offset(sql: &str, position: usize) -> Option<usize> {
    let nth = position.checked_sub(1)?;
    if sql.is_ascii() {
        return (nth <= sql.len()).then_some(nth);
    }
    sql.char_indices().map(|(at, _)| at).chain(std::iter::once(sql.len())).nth(nth)
}

/// ErrorResponse for a refusal. `caller_sql` is the statement string the position counts in; without it no position is sent.
pub fn error_response(out: &mut BytesMut, refusal: &Refusal, severity: Severity, caller_sql: Option<&str>) {
    message(out, b'E', |b| {
        field(b, b'S', severity.as_str());
        field(b, b'V', severity.as_str());
        field(b, b'C', refusal.code.0);
        field(b, b'M', &refusal.message);
        if let Some(detail) = &refusal.detail {
            field(b, b'D', detail);
        }
        if let Some(hint) = &refusal.hint {
            field(b, b'H', hint);
        }
        if let Some(position) = refusal.position.and_then(|at| character_position(caller_sql?, at)) {
            field(b, b'P', &position.to_string());
        }
        if let Some(routine) = refusal.routine {
            field(b, b'R', routine.name());
        }
        b.put_u8(0);
    });
}

/// NoticeResponse with SQLSTATE 00000.
pub fn notice_response(out: &mut BytesMut, severity: Severity, text: &str) {
    message(out, b'N', |b| {
        field(b, b'S', severity.as_str());
        field(b, b'V', severity.as_str());
        field(b, b'C', "00000");
        field(b, b'M', text);
        b.put_u8(0);
    });
}

/// The fields of a message of the warehouse, in its order. PostgreSQL prints single bytes into some texts (`unrecognized weight`,
/// tsvector_op.c), which then are no UTF-8: such bytes are read as U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    list: Vec<(u8, Cow<'a, str>)>,
}

impl<'a> Fields<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse. Pure, never panics.
    pub fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let mut body = Body::new(body);
        let mut list = Vec::new();
        loop {
            match body.u8()? {
                0 => break,
                code => list.push((code, String::from_utf8_lossy(body.bytes_to_nul()?))),
            }
        }
        body.end()?;
        Ok(Self { list })
    }

    /// The first field of that code.
    pub fn get(&self, code: u8) -> Option<&str> {
        self.list.iter().find(|(c, _)| *c == code).map(|(_, text)| text.as_ref())
    }

    /// SQLSTATE; `XX000` when absent.
    pub fn sqlstate(&self) -> &str {
        self.get(b'C').unwrap_or("XX000")
    }

    /// Whether it ends the connection: `V` (or `S` before 9.6) is FATAL or PANIC.
    pub fn is_fatal(&self) -> bool {
        matches!(self.get(b'V').or_else(|| self.get(b'S')), Some("FATAL" | "PANIC"))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &str)> + '_ {
        self.list.iter().map(|(code, text)| (*code, text.as_ref()))
    }
}

/// Appends a message of chosen fields: `E` or `N`.
pub fn write_fields<'a>(out: &mut BytesMut, tag: u8, fields: impl Iterator<Item = (u8, &'a str)>) {
    message(out, tag, |b| {
        for (code, text) in fields {
            field(b, code, text);
        }
        b.put_u8(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let sql = "sélect ß fröm x";
        let at = sql.find("fröm").unwrap();
        assert_eq!(at, 11);
        assert_eq!(character_position(sql, at), Some(10));
        assert_eq!(byte_offset(sql, 10), Some(11));
        assert_eq!(byte_offset(sql, sql.chars().count() + 1), Some(sql.len()));
        assert_eq!(byte_offset(sql, 99), None);
        assert_eq!(byte_offset("abc", 0), None);
        assert_eq!(character_position(sql, 2), None, "inside a character");
        let mut out = BytesMut::new();
        error_response(&mut out, &Refusal::denied("no").at(11), Severity::Error, Some(sql));
        let fields = Fields::parse(&out[5..]).unwrap();
        assert_eq!(fields.get(b'P'), Some("10"));
        assert_eq!(fields.sqlstate(), "42501");
        assert!(!fields.is_fatal());
    }

    #[test]
    fn a_nul_cannot_add_a_field() {
        let mut out = BytesMut::new();
        error_response(&mut out, &Refusal::denied("a\0Mb"), Severity::Fatal, None);
        let fields = Fields::parse(&out[5..]).unwrap();
        assert_eq!(fields.get(b'M'), Some("a"));
        assert_eq!(fields.iter().count(), 4);
        assert!(fields.is_fatal());
    }

    #[test]
    fn broken_fields_are_refused() {
        assert!(Fields::parse(b"").is_err());
        assert!(Fields::parse(b"Mx").is_err());
        assert!(Fields::parse(b"Mx\0").is_err());
        assert!(Fields::parse(b"Mx\0\0z").is_err());
    }
    #[test]
    fn texts_that_are_no_utf8_are_read_all_the_same() {
        let fields = Fields::parse(b"SERROR\0CXX000\0Munrecognized weight: \xff\0\0").unwrap();
        assert_eq!(fields.get(b'M'), Some("unrecognized weight: \u{fffd}"));
        let mut out = BytesMut::new();
        write_fields(&mut out, b'E', fields.iter());
        assert!(std::str::from_utf8(&out[5..]).is_ok());
    }
}
