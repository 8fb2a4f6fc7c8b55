//! `Regular Expression`: the parts of a text that match, replaced.
//!
//! In: a JavaScript pattern and replacement, as the documents write them. Out: PostgreSQL's, to be confirmed by the warehouse.
//! Must never: be called total (a pattern can fail on a long value).

use super::{Check, MaskSql, Masking, rank};
use crate::policy::sqltype::is_text;
use crate::policy::template::Sql;
use crate::types::quote_literal;

impl Masking<'_> {
    pub(super) fn regex(
        &self,
        pattern: &str,
        replacement: &str,
        case_insensitive: bool,
        global: bool,
    ) -> Result<Option<MaskSql>, String> {
        let pattern = quote_literal(&posix_pattern(pattern)?);
        let replacement = quote_literal(&posix_replacement(replacement)?);
        let flags = match (case_insensitive, global) {
            (true, true) => "gi",
            (true, false) => "i",
            (false, true) => "g",
            (false, false) => "",
        };
        if !is_text(self.column.type_oid) {
            return Ok(None);
        }
        let call = |value: &str| format!("pg_catalog.regexp_replace({value}, {pattern}, {replacement}, '{flags}')");
        let sql = self.typed(Sql::text(call(&format!("({})::pg_catalog.text", self.value))));
        // A pattern can fail on a long value (the engine's own limits), so this is not total.
        let mask = self.fitted("Regular Expression", rank::REGEX, sql, false);
        let check = Check::Evaluate(format!("SELECT {}", call("'a'::pg_catalog.text")));
        Ok(mask.map(|m| MaskSql { check: Some(check), ..m }))
    }
}

/// A JavaScript pattern as a PostgreSQL one: the word boundaries `\b` and `\B` are `\y` and `\Y` there, where `\b` would mean a
/// backspace and silently match nothing (manual, 9.7.3.3).
pub(crate) fn posix_pattern(pattern: &str) -> Result<String, String> {
    if pattern.contains('\0') {
        return Err("the regular expression holds a NUL character".to_owned());
    }
    if pattern.starts_with("***") {
        return Err("a regular expression may not begin with ***".to_owned());
    }
    let mut out = String::new();
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(next) = chars.next() else { return Err("the regular expression ends in a backslash".into()) };
                out.push('\\');
                out.push(match next {
                    'b' if !in_brackets => 'y',
                    'B' if !in_brackets => 'Y',
                    other => other,
                });
                continue;
            }
            '[' if !in_brackets => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        out.push(c);
    }
    Ok(out)
}

/// A JavaScript replacement as a PostgreSQL one: `$1` → `\1`, `$&` → `\&`, `$$` → `$`, `\` → `\\`.
pub(crate) fn posix_replacement(replacement: &str) -> Result<String, String> {
    if replacement.contains('\0') {
        return Err("the replacement holds a NUL character".to_owned());
    }
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', _) => out.push_str("\\\\"),
            ('$', Some('$')) => {
                chars.next();
                out.push('$');
            }
            ('$', Some('&')) => {
                chars.next();
                out.push_str("\\&");
            }
            ('$', Some(digit @ '1'..='9')) => {
                chars.next();
                out.push('\\');
                out.push(digit);
            }
            ('$', Some(other @ ('`' | '\'' | '<'))) => {
                return Err(format!("the replacement uses ${other}, which is not supported"));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{masked, text};
    use super::*;
    use crate::governance::model::Mask;

    #[test]
    fn patterns_and_replacements_are_translated() {
        assert_eq!(posix_pattern(r"\b(\d{4})[\b\]]\B").unwrap(), r"\y(\d{4})[\b\]]\Y");
        assert!(posix_pattern("a\\").is_err());
        assert!(posix_pattern("***=a").is_err());
        assert_eq!(posix_replacement(r"$1X\1 $$ $& $0 $").unwrap(), r"\1X\\1 $ \& $0 $");
        assert!(posix_replacement("$<name>").is_err());
        let mask = Mask::Regex {
            regex: r"(\d{4})(\d)".into(),
            replacement: "$1X".into(),
            case_insensitive: true,
            global: true,
        };
        assert_eq!(
            text("ssn", &mask),
            r#"(pg_catalog.regexp_replace((_sv."ssn")::pg_catalog.text, '(\d{4})(\d)', '\1X', 'gi'))::pg_catalog."varchar"(11)"#
        );
        assert!(!masked("ssn", &mask).total);
        assert!(masked("id", &mask).mismatch);
    }
}
