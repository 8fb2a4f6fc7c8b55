//! What PostgreSQL's parser says of a text it refuses: its words, where they point, and which code and hint belong to them.
//!
//! In: a text that does not parse. Out: a [`Refusal`] with the position PostgreSQL would give. Must never: be asked about our own SQL,
//! or keep a pointer of the parser.
//!
//! The parser's own binding keeps the message only, so its C interface is called once more, for the position. This is the one module
//! of the package with `unsafe` in it.

#![allow(unsafe_code)]

use super::limits;
use crate::error::{Family, Refusal, SqlState};
use std::ffi::{CStr, CString, c_char, c_int};

/// `PgQueryError` of `pg_query.h`.
#[repr(C)]
struct RawError {
    message: *const c_char,
    function: *const c_char,
    file: *const c_char,
    line: c_int,
    cursor: c_int,
    context: *const c_char,
}

/// `PgQueryProtobufParseResult` of `pg_query.h`.
#[repr(C)]
struct RawResult {
    tree_length: usize,
    tree: *const c_char,
    stderr: *const c_char,
    error: *const RawError,
}

// Linked in by the `pg_query` crate, whose `parse` makes the same two calls.
unsafe extern "C" {
    fn pg_query_parse_protobuf_opts(input: *const c_char, options: c_int) -> RawResult;
    fn pg_query_free_protobuf_parse_result(result: RawResult);
}

/// The message and the cursor: a position in characters, from 1; 0 when there is none.
fn ask(text: &str) -> Option<(String, usize)> {
    let input = CString::new(text).ok()?;
    // SAFETY: `input` is a NUL-terminated string that lives through the call, which copies what it keeps.
    let result = unsafe { pg_query_parse_protobuf_opts(input.as_ptr(), 0) };
    // SAFETY: the error is null or points to a struct that lives until the result is freed.
    let error = unsafe { result.error.as_ref() };
    let said = error.filter(|e| !e.message.is_null()).map(|e| {
        // SAFETY: a message that is not null is a NUL-terminated string that lives until the result is freed.
        let message = unsafe { CStr::from_ptr(e.message) };
        (message.to_string_lossy().into_owned(), usize::try_from(e.cursor).unwrap_or(0))
    });
    // SAFETY: the result came from the call above and is given back once; nothing borrowed from it is left.
    unsafe { pg_query_free_protobuf_parse_result(result) };
    said
}

/// The refusal of a text that the parser does not take.
pub(super) fn refusal(text: &str) -> Refusal {
    let Some((message, cursor)) = ask(text) else {
        return Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, "syntax error");
    };
    if message.contains("stack depth") || message.contains("out of memory") {
        return limits::too_complex();
    }
    let (code, hint) = code_and_hint(&message);
    let offset = cursor.checked_sub(1).map(|n| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at));
    let refusal = Refusal { position: offset, ..Refusal::new(Family::Caller, code, message) };
    match hint {
        Some(hint) => refusal.with_hint(hint),
        None => refusal,
    }
}

/// What `gram.y`, `scan.l` and `parser.c` raise besides plain 42601.
fn code_and_hint(message: &str) -> (SqlState, Option<&'static str>) {
    match message {
        "invalid Unicode escape" => (SqlState("22025"), Some("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.")),
        "LIMIT #,# syntax is not supported" => (SqlState::SYNTAX_ERROR, Some("Use separate LIMIT and OFFSET clauses.")),
        "aggregates cannot have output arguments" => (SqlState::FEATURE_NOT_SUPPORTED, None),
        _ if message.starts_with("frame ") => (SqlState("42P20"), None),
        _ if message.ends_with("not yet implemented") => (SqlState::FEATURE_NOT_SUPPORTED, None),
        _ => (SqlState::SYNTAX_ERROR, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (String, &'static str, Option<usize>) {
        let refusal = refusal(text);
        (refusal.message.into_owned(), refusal.code.0, refusal.position)
    }

    #[test]
    fn positions_are_those_of_the_parser() {
        for (text, message, code, position) in [
            ("select sel from t where sel sel from x", "syntax error at or near \"sel\"", "42601", Some(28)),
            ("select 'ü' frm t x y", "syntax error at or near \"t\"", "42601", Some(16)),
            ("select 1 +  ", "syntax error at end of input", "42601", Some(12)),
            ("select 'é', 'open", "unterminated quoted string at or near \"'open\"", "42601", Some(13)),
            ("(select 1 order by 1) order by 1", "multiple ORDER BY clauses not allowed", "42601", Some(31)),
            ("select E'\\u12'", "invalid Unicode escape", "22025", Some(9)),
            ("select 1 limit 1, 2", "LIMIT #,# syntax is not supported", "42601", Some(9)),
            (
                "select sum(1) over (rows unbounded following)",
                "frame start cannot be UNBOUNDED FOLLOWING",
                "42P20",
                Some(25),
            ),
        ] {
            assert_eq!(told(text), (message.to_owned(), code, position), "{text}");
        }
    }

    #[test]
    fn a_text_that_parses_has_no_words() {
        assert_eq!(ask("select 1"), None);
        assert_eq!(told("select 1\0").0, "syntax error");
    }
}
