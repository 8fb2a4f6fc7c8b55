//! The one spelling that PostgreSQL's grammar does not have: `SET sqlveil.user`, where `user` is a reserved word and would need quotes.
//!
//! In: a text that does not parse. Out: the same text with another word of the same length in that place, or nothing. Must never: touch
//! anything but a setting's name directly behind SET, RESET or SHOW.

use super::pb::{self, Token};
use super::{NodeEnum, Statement};

/// Stands for `user` while the text is parsed; as long, so that places stay.
const STAND_IN: &str = "usr$";
const WORD: &str = "user";

/// The text as it parses; `None` when it holds no such setting.
pub(super) fn respelled(text: &str) -> Option<String> {
    let tokens = pg_query::scan_tokens(text).ok()?;
    let words: Vec<(&str, usize)> = tokens
        .iter()
        .filter(|t| !matches!(Token::try_from(t.token), Ok(Token::SqlComment | Token::CComment)))
        .filter_map(|t| {
            let start = usize::try_from(t.start).ok()?;
            Some((text.get(start..usize::try_from(t.end).ok()?)?, start))
        })
        .collect();
    let is = |word: &str, wanted: &[&str]| wanted.iter().any(|w| word.eq_ignore_ascii_case(w));
    let mut out: Option<String> = None;
    for (at, four) in words.windows(4).enumerate() {
        let [(verb, _), (schema, _), (dot, _), (word, place)] = four else { continue };
        let scoped = is(verb, &["local", "session"])
            && at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|(set, _)| is(set, &["set"]));
        let named = is(schema, &["sqlveil", "\"sqlveil\""]) && *dot == "." && is(word, &[WORD]);
        if named && (scoped || is(verb, &["set", "reset", "show"])) {
            out.get_or_insert_with(|| text.to_owned()).replace_range(*place..place + WORD.len(), STAND_IN);
        }
    }
    out
}

/// Gives the setting its name again.
pub(super) fn renamed(statement: &mut Statement) {
    let name = match &mut statement.node {
        NodeEnum::VariableSetStmt(pb::VariableSetStmt { name, .. })
        | NodeEnum::VariableShowStmt(pb::VariableShowStmt { name, .. }) => name,
        _ => return,
    };
    if let Some((schema, word)) = name.rsplit_once('.')
        && word == STAND_IN
    {
        *name = format!("{schema}.{WORD}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn names(text: &str) -> Vec<String> {
        let statements = parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).statements;
        statements
            .into_iter()
            .map(|s| match s.node {
                NodeEnum::VariableSetStmt(set) => set.name,
                NodeEnum::VariableShowStmt(show) => show.name,
                other => format!("{other:?}").chars().take(10).collect(),
            })
            .collect()
    }

    #[test]
    fn the_setting_is_read_where_a_setting_stands() {
        for text in [
            "SET sqlveil.user = 'a'",
            "set SQLVEIL.USER to a",
            "SET LOCAL sqlveil.user = 'a'",
            "SET SESSION sqlveil . user = 'a'",
            "SET /* x */ sqlveil /* y */ .user TO DEFAULT",
            "RESET sqlveil.user",
            "SHOW sqlveil.user",
            "SET \"sqlveil\".\"user\" = 'a'",
        ] {
            assert_eq!(names(text), ["sqlveil.user"], "{text}");
        }
        let several = names("SELECT 'SET sqlveil.user = 1'; SET sqlveil.user = 'x'; RESET sqlveil.user");
        assert_eq!(several.get(1..).unwrap(), ["sqlveil.user", "sqlveil.user"]);
        let place = parse("SELECT 1; SET sqlveil.user = 'x'; SELECT 2").unwrap().statements.pop().unwrap().range;
        assert_eq!(place, 34..42);
    }

    #[test]
    fn nothing_else_becomes_valid_or_another() {
        for text in ["SET other.user = 'a'", "SET sqlveil.table = 'a'", "SET sqlveil.user"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let literal = parse("SELECT 'SET sqlveil.user = 1' AS x").unwrap();
        assert!(format!("{literal:?}").contains("SET sqlveil.user = 1"));
    }
}
