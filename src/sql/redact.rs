//! Statements without their literals, by the server's own lexer: what may be kept of a text that holds people's data.
//!
//! In: any text, also one that is not SQL. Out: the text with `'?'` for every string and `0` for every number, without comments, so that it is
//! still the same statement to a parser; and a fingerprint of what is left. Must never: let a byte of a literal or a comment through, be it
//! written as a word (`SET x TO word`). A text that the lexer cannot read is withheld.

mod words;

use self::words::Words;
use crate::types::hex;
use pg_query::protobuf::Token;
use sha2::{Digest, Sha256};

/// What stands in front of the signature of a signed text (docs/impersonation.md): who reads one could act for its user.
pub const SIGNATURE: &str = " signature=";

/// A text without literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// The text; empty when it could not be read.
    pub text: String,
    /// The same for all texts that differ in literals, how many of them stand in a list, white space, comments, and the case of words:
    /// the first 16 hexadecimal digits of a SHA-256.
    pub fingerprint: String,
}

/// What a token becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    AsIs,
    /// A string.
    Text,
    /// A number.
    Number,
    Comment,
}

fn shown(token: i32) -> Shown {
    match Token::try_from(token) {
        Ok(Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst) => Shown::Text,
        Ok(Token::Iconst | Token::Fconst) => Shown::Number,
        Ok(Token::SqlComment | Token::CComment) => Shown::Comment,
        _ => Shown::AsIs,
    }
}

/// Digits of a place: results have fewer than 2,000 columns.
const PLACE_DIGITS: usize = 3;

/// Follows lists of places (`ORDER BY 1, 2`): these numbers are no data, and another number would be another statement.
#[derive(Default)]
struct Places {
    by: bool,
    /// A number here is a place.
    now: bool,
}

impl Places {
    fn follow(&mut self, before: Option<i32>, token: i32, keyword: &str) {
        let comma = token == Token::Ascii44 as i32;
        let orders = before.is_some_and(|before| [Token::Order as i32, Token::GroupP as i32].contains(&before));
        if token == Token::By as i32 && orders {
            (self.by, self.now) = (true, true);
        } else if self.by && comma {
            self.now = true;
        } else {
            // What ends such a list, and what makes an expression of it.
            let goes_on = ["asc", "desc", "nulls", "first", "last"].iter().any(|w| keyword.eq_ignore_ascii_case(w));
            self.by &= self.now && token == Token::Iconst as i32 || goes_on;
            self.now = false;
        }
    }
}

/// Takes the literals and comments out of a text.
pub fn redact(text: &str) -> Redacted {
    // The lexer's list of no tokens is no list.
    let blank = text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c));
    let tokens = if blank || text.contains('\0') { None } else { pg_query::scan_tokens(text).ok() };
    let Some(tokens) = tokens else {
        return Redacted { text: String::new(), fingerprint: short(&[]) };
    };
    let (mut out, mut plain) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let (mut places, mut words) = (Places::default(), Words::default());
    let mut done = 0;
    for (at, token) in tokens.iter().enumerate() {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else { continue };
        let (Some(before), Some(word)) = (text.get(done..start), text.get(start..end)) else { continue };
        // Between tokens there is white space, or what the lexer has left out: that is not copied.
        push_space(before, &mut out);
        done = end;
        let mut what = shown(token.token);
        if what != Shown::Comment && words.is_value(token.token, word) && what == Shown::AsIs {
            what = Shown::Text;
        }
        // An integer in a list of places, with nothing done to it.
        let is_place =
            places.now && token.token == Token::Iconst as i32 && ends_place(tokens.get(at + 1).map(|t| t.token));
        let is_place = is_place && word.len() <= PLACE_DIGITS;
        let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map(|t| t.token);
        places.follow(before, token.token, word);
        // `.5.` is a number and a dot, `0.` would be a number.
        if word.starts_with('.') && before.is_some_and(|before| shown(before) == Shown::Number) {
            apart(&mut out);
        }
        match what {
            // It has stood between two words.
            Shown::Comment => apart(&mut out),
            Shown::Text => {
                push_text(&mut out);
                literal("?", &mut plain);
            }
            Shown::Number if is_place => {
                out.push_str(word);
                push_word(word, &mut plain);
            }
            Shown::Number => {
                // `a.5` is a name and a number.
                if word.starts_with('.') {
                    apart(&mut out);
                }
                out.push('0');
                literal("?", &mut plain);
            }
            // A name that holds a signature is none.
            Shown::AsIs if word.contains(SIGNATURE) => out.push_str("\"?\""),
            Shown::AsIs => {
                out.push_str(word);
                if word.starts_with('"') {
                    push_word(word, &mut plain)
                } else {
                    push_word(&word.to_lowercase(), &mut plain)
                }
            }
        }
    }
    // Other white space of Unicode is a letter to the lexer.
    let text = out.trim_matches([' ', '\n']).to_owned();
    Redacted { text, fingerprint: short(plain.as_bytes()) }
}

/// Whether what comes behind a number in a list of places leaves it alone.
fn ends_place(next: Option<i32>) -> bool {
    let Some(next) = next else { return true };
    let ends = [
        Token::Ascii44, // ,
        Token::Ascii41, // )
        Token::Ascii59, // ;
        Token::Asc,
        Token::Desc,
        Token::NullsP,
        Token::Limit,
        Token::Offset,
        Token::Fetch,
        Token::For,
        Token::Having,
        Token::Window,
        Token::Order,
        Token::Union,
        Token::Except,
        Token::Intersect,
        Token::SqlComment,
        Token::CComment,
    ];
    ends.iter().any(|token| *token as i32 == next)
}

fn push_space(between: &str, out: &mut String) {
    if between.is_empty() {
        return;
    }
    apart(out);
    if between.contains('\n') && out.ends_with(' ') {
        out.pop();
        out.push('\n');
    }
}

/// White space, unless there is some.
fn apart(out: &mut String) {
    if out.ends_with(|c: char| !matches!(c, ' ' | '\n')) {
        out.push(' ');
    }
}

/// Strings stay apart: side by side, or with a line's end between them, two would be read as one.
fn push_text(out: &mut String) {
    let written = out.trim_end_matches([' ', '\n']).len();
    if out.get(..written).is_some_and(|before| before.ends_with('\'')) {
        out.truncate(written);
        out.push(' ');
    }
    out.push_str("'?'");
}

fn push_word(word: &str, out: &mut String) {
    out.push_str(word);
    out.push(' ');
}

/// A literal behind a literal and a comma is one more of a list.
fn literal(mark: &str, out: &mut String) {
    if out.ends_with("? , ") {
        out.truncate(out.len() - 2);
    } else {
        push_word(mark, out);
    }
}

fn short(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).into_iter().take(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_comments_are_gone() {
        for (text, left) in [
            ("SELECT 1", "SELECT 0"),
            (
                "select ssn from t where ssn = '12-3' and n > 4.5e3 -- Smith",
                "select ssn from t where ssn = '?' and n > 0",
            ),
            (
                r"SELECT E'a\'b', U&'\0041' UESCAPE '!', B'101', X'AF', N'x', $$dollar$$, $tag$it's$tag$",
                "SELECT '?', '?' UESCAPE '?', '?', '?', N'?', '?', '?'",
            ),
            ("SELECT /* 'Smith' */ a FROM \"T 1\" WHERE b = $1", "SELECT a FROM \"T 1\" WHERE b = $1"),
            ("SELECT a, b FROM t ORDER BY 1, 2 DESC LIMIT 10", "SELECT a, b FROM t ORDER BY 1, 2 DESC LIMIT 0"),
            ("SELECT a FROM t GROUP BY 1 HAVING n > 7", "SELECT a FROM t GROUP BY 1 HAVING n > 0"),
            ("SELECT a FROM t ORDER BY n + 42, 42 + n, f(42)", "SELECT a FROM t ORDER BY n + 0, 0 + n, f(0)"),
            ("SELECT a FROM t ORDER BY n = 42, 3", "SELECT a FROM t ORDER BY n = 0, 0"),
            ("SELECT a FROM t WHERE by IN (42, 43)", "SELECT a FROM t WHERE by IN (0, 0)"),
            ("SELECT 1 AS by, 42, 43", "SELECT 0 AS by, 0, 0"),
            ("SELECT sum(1) OVER (PARTITION BY 42)", "SELECT sum(0) OVER (PARTITION BY 0)"),
            ("SELECT a FROM t ORDER BY 4711", "SELECT a FROM t ORDER BY 0"),
            ("SET application_name = \"sqlveil user=ana expires=1 signature=ab\"", "SET application_name = '?'"),
            ("SELECT \"sqlveil user=ana expires=1 signature=ab\"", "SELECT \"?\""),
            ("SELECT 0x1F, 1_000, -5", "SELECT 0, 0, -0"),
            (".5.", "0 ."),
            (".5.a.b0.c", "0 .a.b0.c"),
            ("\u{2000}1", "\u{2000}1"),
            ("SET x = 'secret'", "SET x = '?'"),
            ("SELECT 'a'\n'b'", "SELECT '?'"),
            ("SELECT 'a'E'b', 'a' /* */\n'b'", "SELECT '?' '?', '?' '?'"),
            ("", ""),
            ("SELECT 'open", ""),
            ("SELECT $$open", ""),
        ] {
            assert_eq!(redact(text).text, left, "{text}");
        }
    }

    #[test]
    fn words_that_are_values_are_gone() {
        for (text, left) in [
            ("SET application_name TO secret", "SET application_name TO '?'"),
            ("set session x.y = secret, \"Secret\", -5, U&\"secret\"", "set session x.y = '?', '?', -0, '?'"),
            ("SET LOCAL x TO on", "SET LOCAL x TO on"),
            ("SET x = Default; SET y TO secret", "SET x = Default; SET y TO '?'"),
            ("SET search_path TO secret, public", "SET search_path TO '?', '?'"),
            ("SET local TO secret", "SET local TO '?'"),
            ("SET time = secret", "SET time = '?'"),
            // What is no statement is kept, too.
            ("SET application_name secret", "SET application_name '?'"),
            ("SET x TO secret\n\"secret\"e'secret'", "SET x TO '?' '?' '?'"),
            ("SET x TO secret -- secret\n, other", "SET x TO '?'\n, '?'"),
            ("BEGIN SET x TO secret", "BEGIN SET x TO '?'"),
            ("SET x TO begin ATOMIC", "SET x TO '?' '?'"),
            ("FUNCTION SET E'e'. SET UPDATE TO-BEGIN", "FUNCTION SET '?'. SET UPDATE TO-'?'"),
            ("SET ROLE secret", "SET ROLE '?'"),
            ("SET LOCAL ROLE NONE", "SET LOCAL ROLE NONE"),
            ("SET SESSION AUTHORIZATION secret", "SET SESSION AUTHORIZATION '?'"),
            ("SET SESSION AUTHORIZATION DEFAULT", "SET SESSION AUTHORIZATION DEFAULT"),
            ("SET TIME ZONE secret", "SET TIME ZONE '?'"),
            ("SET TIME ZONE LOCAL", "SET TIME ZONE LOCAL"),
            ("SET TIME ZONE INTERVAL '-8' HOUR TO MINUTE", "SET TIME ZONE INTERVAL '?' HOUR TO MINUTE"),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            ),
            ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS ALL DEFERRED"),
            ("SET XML OPTION DOCUMENT", "SET XML OPTION DOCUMENT"),
            ("ALTER ROLE update IN DATABASE d SET x TO secret", "ALTER ROLE update IN DATABASE d SET x TO '?'"),
            ("ALTER DATABASE d SET x = secret, secret", "ALTER DATABASE d SET x = '?', '?'"),
            (
                "ALTER FUNCTION f() SET x TO secret SET y TO secret STABLE",
                "ALTER FUNCTION f() SET x TO '?' SET y TO '?' STABLE",
            ),
            ("ALTER TABLE t ALTER c SET DEFAULT a, SET SCHEMA s", "ALTER TABLE t ALTER c SET DEFAULT a, SET SCHEMA s"),
            (
                "CREATE OR REPLACE FUNCTION update() RETURNS int SET x TO secret LANGUAGE sql BEGIN ATOMIC UPDATE t SET a = b; END",
                "CREATE OR REPLACE FUNCTION update() RETURNS int SET x TO '?' LANGUAGE sql BEGIN ATOMIC UPDATE t SET a = b; END",
            ),
            // Columns are no values.
            ("UPDATE t SET a = b, c = 'x' WHERE d = e", "UPDATE t SET a = b, c = '?' WHERE d = e"),
            ("WITH u AS (UPDATE t SET a = b) SELECT 1", "WITH u AS (UPDATE t SET a = b) SELECT 0"),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a",
                "INSERT INTO t VALUES (0) ON CONFLICT (a) DO UPDATE SET a = excluded.a",
            ),
            (
                "MERGE INTO t USING u ON a = b WHEN MATCHED THEN UPDATE SET a = b",
                "MERGE INTO t USING u ON a = b WHEN MATCHED THEN UPDATE SET a = b",
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO UPDATE u SET a = b",
                "CREATE RULE r AS ON INSERT TO t DO UPDATE u SET a = b",
            ),
            ("SELECT set FROM t set WHERE set.a = b", "SELECT set FROM t set WHERE set.a = b"),
            ("SELECT 1; SET x TO secret; SELECT a", "SELECT 0; SET x TO '?'; SELECT a"),
            // Options.
            (
                "EXPLAIN (FORMAT secret, ANALYZE, COSTS off) SELECT a b",
                "EXPLAIN (FORMAT '?', ANALYZE, COSTS off) SELECT a b",
            ),
            ("EXPLAIN (FORMAT json) UPDATE t SET a = b", "EXPLAIN (FORMAT json) UPDATE t SET a = b"),
            ("EXPLAIN (SELECT a b FROM t)", "EXPLAIN (SELECT a b FROM t)"),
            (
                "COPY t (a, b) TO STDOUT WITH (FORMAT csv, NULL secret, FORCE_QUOTE (a, b), DELIMITER \"secret\")",
                "COPY t (a, b) TO STDOUT WITH (FORMAT csv, NULL '?', FORCE_QUOTE (a, b), DELIMITER '?')",
            ),
            ("COPY (SELECT a b FROM (SELECT c d) x) TO STDOUT", "COPY (SELECT a b FROM (SELECT c d) x) TO STDOUT"),
            ("COPY t FROM STDIN WHERE (a IS NULL)", "COPY t FROM STDIN WHERE (a IS NULL)"),
        ] {
            assert_eq!(redact(text).text, left, "{text}");
            assert_eq!(redact(left).text, left, "again: {text}");
        }
    }

    #[test]
    fn fingerprints_are_of_what_is_left() {
        let of = |text| redact(text).fingerprint;
        assert_eq!(of("SELECT a FROM t WHERE b IN (1, 2, 3)"), of("select  a from T\nwhere b in ('x') -- y"));
        assert_ne!(of("SELECT a FROM t"), of("SELECT a FROM u"));
        assert_ne!(of("SELECT a FROM t"), of("SELECT \"A\" FROM t"));
        assert_ne!(of("SELECT a FROM t ORDER BY 1"), of("SELECT a FROM t ORDER BY 2"));
        assert_eq!(of("SET search_path TO a, b"), of("SET search_path TO 'c'"));
        assert_eq!(of("SELECT 1").len(), 16);
    }

    proptest! {
        /// Whatever stands in a literal, nothing of it is left.
        #[test]
        fn no_literal_gets_through(words in "[a-z ]{0,12}", secret in "[0-9QXZ]{6,12}", form in 0usize..8) {
            let literal = match form {
                0 => format!("'{secret}'"),
                1 => format!("E'\\'{secret}'"),
                2 => format!("$${secret}$$"),
                3 => format!("$q${secret}$q$"),
                4 => format!("/* {secret} */ 1"),
                5 => format!("U&'{secret}'"),
                6 => format!("-- {secret}\n1"),
                _ => format!("'a' '{secret}' 'it''s {secret}'"),
            };
            let text = format!("SELECT {literal} AS x{words}");
            let left = redact(&text).text;
            prop_assert!(!left.contains(&secret), "{text} -> {left}");
        }

        /// Nor of a word that is a value, in whatever surroundings.
        #[test]
        fn no_value_of_a_setting_gets_through(
            name in "(application_name|x[.]y|\"A b\"|LOCAL z|SESSION z|search_path|ROLE|LOCAL ROLE|SESSION AUTHORIZATION)",
            before in "(|SELECT 1; |BEGIN; |/[*] UPDATE [*]/ |ALTER ROLE a |ALTER FUNCTION f() |CREATE FUNCTION f() |UPDATE t SET a = b; )",
            values in proptest::collection::vec("(on|'q'|-4|5|q|\"q \"\"\"|)", 0..3),
            sign in "( = |=| TO | /[*] c [*]/ to\n)",
            after in "(|;|; SELECT 1| -- c|\n)",
            secret in "[QXZ]{6,12}",
            quoted in any::<bool>(),
        ) {
            let special = name.ends_with("ROLE") || name.ends_with("AUTHORIZATION");
            let secret = if quoted { format!("\"it's {secret}\"") } else { secret };
            let mut all = values;
            all.push(secret.clone());
            all.retain(|value| !value.is_empty());
            let text = if special {
                format!("{before}SET {name} {secret}{after}")
            } else {
                format!("{before}SET {name}{sign}{}{after}", all.join(", "))
            };
            let left = redact(&text).text;
            prop_assert!(!left.contains(secret.trim_matches('"')), "{text} -> {left}");
            prop_assert_eq!(redact(&left).text, left);
        }

        /// Whatever the tokens are of which a text is made, what is left of it is left of itself.
        #[test]
        fn what_is_left_is_left_of_itself(
            words in proptest::collection::vec(
                "(SET|SET|TO|=|[.]|,|;|[(]|[)]|UPDATE|ALTER|CREATE|FUNCTION|EXPLAIN|COPY|FROM|WHERE|ROLE|TIME|ZONE|LOCAL|BEGIN|ATOMIC|a|\"b c\"|'d'|E'e'|7|-|--f\n|/[*]g[*]/|U&\"h\"|N'i'|on)",
                0..14,
            ),
            gaps in proptest::collection::vec("(| |\n| \n )", 14),
        ) {
            let text: String = words.iter().zip(&gaps).flat_map(|(word, gap)| [word.as_str(), gap]).collect();
            let once = redact(&text).text;
            prop_assert_eq!(redact(&once).text, once.clone(), "{}", text);
        }

        /// Whatever the bytes are that mean something to the lexer.
        #[test]
        fn what_is_left_of_any_bytes_is_left_of_itself(text in "[ \n\t.,;:0-3a-cexnuEBXNU_$@?'\"&/*\\\\+=<>!|()\\[\\]{}\u{2000}\u{e9}\u{feff}-]{0,16}") {
            let once = redact(&text).text;
            prop_assert_eq!(redact(&once).text, once.clone(), "{}", text);
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let once = redact(&text).text;
            prop_assert_eq!(redact(&once).text, once.clone());
        }
    }
}
