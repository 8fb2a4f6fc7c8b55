//! Numbers in forms that PostgreSQL knows from version 16 on: `0x1F`, `0o17`, `0b101`, `1_000`.
//!
//! In: a text for an older server. Out: a refusal where it holds such a number. The parser here reads them; a server before 15 reads
//! `0x1F` as the number 0 under the name `x1f`. Must never: let one pass to a server that reads something else.

use super::pb::Token;
use crate::error::{Family, Refusal, SqlState};

/// The first version that knows them, as `server_version_num`.
const KNOWN_SINCE: u32 = 160_000;

/// Refuses numbers that the server does not know.
///
/// # Errors
/// 42601 in PostgreSQL 15's words, at the number; the lexer's own for what it does not take; XX000 for what it does not place.
pub fn check(text: &str, server_version: u32) -> Result<(), Refusal> {
    if server_version >= KNOWN_SINCE {
        return Ok(());
    }
    let marks = |c: u8| matches!(c, b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B');
    if !text.bytes().zip(text.bytes().skip(1)).any(|(digit, c)| digit.is_ascii_digit() && marks(c)) {
        return Ok(());
    }
    for (range, kind) in super::tokens(text)? {
        if !matches!(Token::try_from(kind), Ok(Token::Iconst | Token::Fconst)) {
            continue;
        }
        let start = range.start;
        let written = text.get(range).ok_or_else(|| Refusal::internal("the place of a number in the text"))?;
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        let Some((at, odd)) = written.char_indices().find(|(_, c)| !plain(*c)) else { continue };
        let shown = written.get(..at.saturating_add(odd.len_utf8())).unwrap_or_default();
        let message = format!("trailing junk after numeric literal at or near \"{shown}\"");
        let offset = i32::try_from(start).unwrap_or(-1);
        return Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, message)
            .with_hint("PostgreSQL knows numbers of this form from version 16 on.")
            .at(offset));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_get_no_new_numbers() {
        for text in ["SELECT 0x1F", "SELECT 1, 1_000", "SELECT 0b1, 'x'", "SELECT 0xFFFFFFFFFFFF", "SELECT 1.5_0"] {
            assert!(check(text, 160_000).is_ok());
            let refusal = check(text, 150_018).unwrap_err();
            assert_eq!(refusal.code, SqlState::SYNTAX_ERROR, "{text}");
        }
        let refusal = check("SELECT 1, 0x1F", 130_023).unwrap_err();
        assert_eq!(refusal.message, "trailing junk after numeric literal at or near \"0x\"");
        assert_eq!(refusal.position, Some(10));
        // What cannot be read may be anything.
        assert!(check("SELECT 0x1F, 'open", 130_023).is_err());
        let old = "SELECT 1e10, .5, 1.5E-3, '0x1F', \"1_000\", $1, x_1, 1+2 -- 0x1F";
        assert!(check(old, 130_023).is_ok() && check(" ", 130_023).is_ok());
    }
}
