//! Literals of a statement by PostgreSQL's lexical rules (manual, 4.1), found without parsing: statements that differ in them alone have
//! one [`Skeleton`].
//!
//! In: a text. Out: its plain integer and string literals, and the text with a mark in place of each. Must never: take for a literal what the
//! server's lexer reads as something else, or as another kind of token: what is not plain (`1e5`, `E'…'`, `$$…$$`, a string that goes on in
//! the next line) makes a text that has no skeleton.

/// Marks in place of literals. No text that has a skeleton holds them.
const INTEGER: u8 = 0x01;
const STRING: u8 = 0x02;

/// Most literals of a text.
const MOST: usize = 1024;

/// A plain literal as it is written: digits that are an `int4`, or a quoted string without a backslash. Only this room makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal<'t> {
    token: &'t str,
    /// Byte offset of the token in its text.
    pub start: usize,
}

impl<'t> Literal<'t> {
    /// The token, quotes and all.
    pub fn token(&self) -> &'t str {
        self.token
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        Span { start: self.start, len: self.token.len() }
    }

    /// Whether it is a quoted string.
    pub fn is_string(&self) -> bool {
        self.token.starts_with('\'')
    }

    fn mark(&self) -> char {
        char::from(if self.is_string() { STRING } else { INTEGER })
    }
}

/// Where a literal stands in its text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Of its first byte.
    pub start: usize,
    /// Its length.
    pub len: usize,
}

/// A text and its plain literals.
#[derive(Debug, PartialEq, Eq)]
pub struct Skeleton<'t> {
    text: &'t str,
    literals: Vec<Literal<'t>>,
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// What stands at a place of a text.
enum Found {
    /// Something that stays, up to here.
    Kept(usize),
    /// A literal, up to here.
    Literal(usize),
}

impl<'t> Skeleton<'t> {
    /// Finds the literals of `text`; `None` when it has none, too many, or something that is not followed here.
    pub fn of(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut literals = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let found = match byte {
                b'\'' => string(bytes, at)?,
                b'"' => quoted(bytes, at)?,
                b'0'..=b'9' => number(bytes, at)?,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Found::Kept(word(bytes, at)),
                // A parameter; dollar quotes are not followed.
                b'$' => match word(bytes, at + 1) {
                    end if end > at + 1 && bytes.get(at + 1..end)?.iter().all(u8::is_ascii_digit) => Found::Kept(end),
                    _ => return None,
                },
                b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => return None,
                b'-' if bytes.get(at + 1) == Some(&b'-') => Found::Kept(line_end(bytes, at)),
                b'/' if bytes.get(at + 1) == Some(&b'*') => Found::Kept(comment_end(bytes, at)?),
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Found::Kept(at + 1),
                0..=0x1f | 0x7f => return None,
                _ => Found::Kept(at + 1),
            };
            at = match found {
                Found::Kept(end) => end,
                Found::Literal(end) => {
                    if literals.len() == MOST {
                        return None;
                    }
                    literals.push(Literal { token: text.get(at..end)?, start: at });
                    end
                }
            };
        }
        (!literals.is_empty()).then_some(Self { text, literals })
    }

    /// The text itself.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The literals in their order.
    pub fn literals(&self) -> &[Literal<'t>] {
        &self.literals
    }

    /// The text with a mark in place of each literal that `open` names by its number.
    pub fn marked(&self, open: impl Fn(usize) -> bool) -> String {
        self.with(open, |literal, out| out.push(literal.mark()))
    }

    /// The text with other literals of the same kinds in place of those that `open` names: each is another one than all that stand in the
    /// text, and they are told apart by what they are.
    pub fn varied(&self, open: impl Fn(usize) -> bool) -> String {
        let mut next = 0u32;
        self.with(open, |literal, out| {
            loop {
                next += 1;
                let token =
                    if literal.is_string() { format!("'~{next}~'") } else { (1_100_100_100 + next).to_string() };
                if !self.text.contains(token.trim_matches('\'')) {
                    return out.push_str(&token);
                }
            }
        })
    }

    /// The text with what `put` says in place of the literals that `open` names.
    fn with(&self, open: impl Fn(usize) -> bool, mut put: impl FnMut(&Literal<'t>, &mut String)) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut done = 0;
        for (number, literal) in self.literals.iter().enumerate() {
            out.push_str(self.text.get(done..literal.start).unwrap_or_default());
            if open(number) {
                put(literal, &mut out);
            } else {
                out.push_str(literal.token);
            }
            done = literal.start + literal.token.len();
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
        out
    }
}

/// The end of the run of bytes that continue a word.
fn word(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !continues_word(*byte)).unwrap_or(rest.len())
}

/// Whether a quote at `at` belongs to what stands before it: `E'…'`, `U&"…"`, `1'…'`.
fn has_prefix(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|byte| continues_word(*byte) || *byte == b'&')
}

/// The end of what is quoted from `at` on: two quotes stand for one.
fn quote_end(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = *bytes.get(at)?;
    let mut end = at + 1;
    loop {
        let rest = bytes.get(end..)?;
        end += rest.iter().position(|byte| *byte == quote)? + 1;
        if bytes.get(end) != Some(&quote) {
            return Some(end);
        }
        end += 1;
    }
}

fn string(bytes: &[u8], at: usize) -> Option<Found> {
    if has_prefix(bytes, at) {
        return None;
    }
    let end = quote_end(bytes, at)?;
    // Behind white space with a line break, or a comment, a string may go on.
    let behind = bytes.get(end..)?.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c));
    if matches!(behind, Some(b'\'' | b'-')) {
        return None;
    }
    let plain = bytes.get(at..end)?.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'\\' | 0x7f));
    Some(if plain { Found::Literal(end) } else { Found::Kept(end) })
}

fn quoted(bytes: &[u8], at: usize) -> Option<Found> {
    if has_prefix(bytes, at) {
        return None;
    }
    let end = quote_end(bytes, at)?;
    let plain = bytes.get(at..end)?.iter().all(|byte| *byte >= b' ');
    plain.then_some(Found::Kept(end))
}

fn number(bytes: &[u8], at: usize) -> Option<Found> {
    let digits_end = |start: usize| {
        let rest = bytes.get(start..).unwrap_or_default();
        start + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    };
    let mut end = digits_end(at);
    let mut whole = true;
    if bytes.get(end) == Some(&b'.') {
        whole = false;
        end = digits_end(end + 1);
        if bytes.get(end) == Some(&b'.') {
            return None;
        }
    }
    // `1e5`, `0x1F`, `1_000`, and what is junk.
    if bytes.get(end).is_some_and(|byte| continues_word(*byte)) {
        return None;
    }
    let digits = std::str::from_utf8(bytes.get(at..end)?).ok()?;
    // One way to write each number; larger ones are of another type.
    let plain = whole && (digits == "0" || !digits.starts_with('0')) && digits.parse::<i32>().is_ok();
    Some(if plain { Found::Literal(end) } else { Found::Kept(end) })
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())
}

/// The end of a comment that holds no other.
fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 2;
    loop {
        match bytes.get(end..end + 2)? {
            b"*/" => return Some(end + 2),
            b"/*" => return None,
            [0..=0x08 | 0x0e..=0x1f, _] => return None,
            _ => end += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Option<Vec<&str>> {
        Skeleton::of(text).map(|s| s.literals.iter().map(|l| l.token).collect())
    }

    #[test]
    fn plain_literals_are_found() {
        for (text, expected) in [
            ("SELECT a FROM t WHERE b = 12 AND c = 'x'", &["12", "'x'"][..]),
            ("SELECT 1, -2, '', 'it''s', \"a'1'\"", &["1", "2", "''", "'it''s'"]),
            ("SELECT a1, $1, 1.5, 007, 3000000000, 'é'", &["'é'"]),
            ("SELECT 5 /* 7 '8' */ -- 9\n, 6", &["5", "6"]),
            ("SELECT 'a\\', 'b'", &["'b'"]),
            ("SELECT 2147483647, 2147483648", &["2147483647"]),
            ("VALUES(1,2),(3,4)", &["1", "2", "3", "4"]),
        ] {
            assert_eq!(tokens(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_has_no_skeleton() {
        for text in [
            "SELECT 1e5, 2",
            "SELECT .5, 2",
            "SELECT 1..2",
            "SELECT 0x1F, 2",
            "SELECT 1_000, 2",
            "SELECT E'a', 2",
            "SELECT e'\\'', 2, '",
            "SELECT U&'a', 2",
            "SELECT U&\"a\", 2",
            "SELECT B'1', 2",
            "SELECT X'1', 2",
            "SELECT N'1', 2",
            "SELECT 'a'\n'b', 2",
            "SELECT 'a' -- more\n'b', 2",
            "SELECT $$a$$, 2",
            "SELECT $a$1$a$, 2",
            "SELECT $1a, 2",
            "SELECT 'open, 2",
            "SELECT \"open, 2",
            "SELECT 2 /* open",
            "SELECT 2 /* a /* b */ c */",
            "SELECT 2 \u{1}",
            "SELECT a FROM t",
            "",
        ] {
            assert_eq!(tokens(text), None, "{text}");
        }
    }

    #[test]
    fn skeletons_differ_by_all_but_literals() {
        let marked = |text| Skeleton::of(text).map(|s| s.marked(|_| true));
        assert_eq!(marked("SELECT 1, 'a'"), marked("SELECT 23, 'b c'"));
        assert_ne!(marked("SELECT 1, 'a'"), marked("SELECT 1, 2"));
        assert_ne!(marked("SELECT 1"), marked("SELECT  1"));
        let skeleton = Skeleton::of("SELECT 1, 'a', 2").unwrap();
        assert_eq!(skeleton.marked(|n| n == 1), "SELECT 1, \u{2}, 2");
        assert_eq!(skeleton.varied(|n| n != 2), "SELECT 1100100101, '~2~', 2");
        let skeleton = Skeleton::of("SELECT '~1~', 1100100103, 1").unwrap();
        assert_eq!(skeleton.varied(|_| true), "SELECT '~2~', 1100100104, 1100100105");
    }

    /// Pieces that meet in all orders: what the lexer of PostgreSQL makes of them is the measure.
    const PIECES: &[&str] = &[
        "1",
        "23",
        "007",
        "2147483648",
        "'a'",
        "''",
        "'it''s'",
        "'\\'",
        "E'x'",
        "e'\\''",
        "$1",
        "$$",
        "$t$",
        "a",
        "_b1",
        "é",
        "\"q\"",
        "\"",
        "'",
        ".",
        "..",
        "1.5",
        "e5",
        "x",
        "U&",
        "B",
        "--",
        "\n",
        " ",
        "/*",
        "*/",
        "-",
        "+",
        "*",
        "/",
        ",",
        "(",
        ")",
        ";",
        "::",
        "<",
        "=",
        "!",
        "@",
        "&",
        "||",
        "\t",
        "\r",
        "0x",
        "N",
        "[",
        "]",
        "%",
        "^",
        "\\",
        "SELECT",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_lexer_of_postgresql_agrees(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..12)) {
            let text = pieces.concat();
            let Some(skeleton) = Skeleton::of(&text) else { return Ok(()) };
            // What the lexer refuses is refused, whatever stands in place of the literals.
            let Ok(read) = pg_query::scan_tokens(&text) else { return Ok(()) };
            for literal in &skeleton.literals {
                let range = (literal.start as i32, (literal.start + literal.token.len()) as i32);
                let token = read.iter().find(|t| (t.start, t.end) == range);
                prop_assert!(token.is_some(), "{text:?}: {literal:?} is no token of {read:?}");
                let kind = token.map(|t| super::super::pb::Token::try_from(t.token));
                let expected = if literal.is_string() { super::super::pb::Token::Sconst } else { super::super::pb::Token::Iconst };
                prop_assert_eq!(kind, Some(Ok(expected)));
            }
            // Other literals in their places: the same tokens.
            let other = skeleton.varied(|_| true);
            let again = Skeleton::of(&other);
            prop_assert_eq!(again.as_ref().map(|s| s.marked(|_| true)), Some(skeleton.marked(|_| true)), "{:?}", other);
            let kinds = |tokens: &[pg_query::protobuf::ScanToken]| tokens.iter().map(|t| t.token).collect::<Vec<_>>();
            let varied = pg_query::scan_tokens(&other);
            prop_assert!(varied.is_ok(), "{:?} becomes {:?}", text, other);
            prop_assert_eq!(kinds(&read), kinds(&varied.unwrap_or_default()), "{:?} becomes {:?}", text, other);
        }
    }
}
