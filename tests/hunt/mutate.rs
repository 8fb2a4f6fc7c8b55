//! Statements made from others: tokens dropped, doubled, exchanged, replaced; parenthesised parts and whole clauses moved from one
//! statement into another.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Words that seldom stand in the statements themselves.
const MORE: &[&str] = &[
    "ONLY",
    "LATERAL",
    "ROLLUP",
    "TABLESAMPLE",
    "WITHIN",
    "FILTER",
    "OVER",
    "COLLATE",
    "FOR",
    "UPDATE",
    "INTO",
    "VARIADIC",
    "DISTINCT",
    "ALL",
    "NULLS",
    "USING",
    "ROW",
    "ARRAY",
    "INTERVAL",
    "OPERATOR",
    "ESCAPE",
    "ORDINALITY",
    "MATERIALIZED",
    "RECURSIVE",
    "GROUPING",
    "SETS",
    "PARTITION",
    "RANGE",
    "GROUPS",
    "EXCLUDE",
    "TIES",
    "DEFAULT",
    "NATURAL",
    "SIMILAR",
    "SYMMETRIC",
    "OVERLAPS",
    "XMLPARSE",
    "TREAT",
    "EXTRACT",
    "current_user",
    "ctid",
    "tableoid",
    "xmin",
    "*",
    "::",
    ".",
    "[",
    "]",
    "NULL",
    "-1",
    "1e400",
    "''",
    "\"\"",
    "B'1'",
    "E'\\n'",
    "U&'\\0041'",
    "@>",
    "->>",
    "||",
    "!~~",
    "=>",
    "?",
    "0",
    "::int",
    "::text",
    "::numeric",
    "::regclass",
    "_sv",
    "vault",
    "emp",
    "person",
    "staff",
    "OFFSET",
    "LIMIT",
    "COPY",
    "EXPLAIN",
    "CROSS JOIN",
    "IS NULL",
    "TABLE",
    "VALUES",
    "EXISTS",
    "ANY",
    "/",
    "'S'",
    "'SECRET%\\'",
    "(",
    ")",
    ";",
];

/// Words, numbers, quoted things, operators, single marks.
pub fn tokens(sql: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c == '\'' || c == '"' {
            while let Some(next) = chars.next() {
                token.push(next);
                if next == c {
                    // Doubled: still inside.
                    match chars.next_if_eq(&c) {
                        Some(again) => token.push(again),
                        None => break,
                    }
                }
            }
        } else {
            let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
            let operator = |c: char| "<>=!~@#|:+-*/^&?%`".contains(c);
            let same: Option<&dyn Fn(char) -> bool> = if word(c) {
                Some(&word)
            } else if operator(c) {
                Some(&operator)
            } else {
                None
            };
            while let Some(next) = same.and_then(|same| chars.next_if(|c| same(*c))) {
                token.push(next);
            }
        }
        if !token.trim().is_empty() {
            out.push(token);
        }
    }
    out
}

/// Keywords, names, numbers, strings, marks, operators.
fn kind(token: &str) -> u8 {
    match token.chars().next() {
        Some(c) if c.is_uppercase() => 0,
        Some(c) if c.is_alphabetic() || c == '"' || c == '_' => 1,
        Some(c) if c.is_ascii_digit() || c == '$' => 2,
        Some('\'') => 3,
        Some('(' | ')' | ',' | ';' | '.' | '[' | ']') => 4,
        _ => 5,
    }
}

/// Where each parenthesis that stands at `(` ends.
pub fn groups(tokens: &[String]) -> Vec<(usize, usize)> {
    let (mut open, mut out) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" => open.push(at),
            ")" => out.extend(open.pop().map(|from| (from, at))),
            _ => {}
        }
    }
    out
}

/// A pool of statements, as tokens, that the mutations draw from.
#[derive(Default)]
pub struct Pool {
    statements: Vec<Vec<String>>,
    seen: usize,
}

/// How many statements a pool keeps.
const KEPT: usize = 2000;

impl Pool {
    /// Adds one; when the pool is full another leaves it.
    pub fn add(&mut self, sql: &str, rng: &mut StdRng) {
        self.seen += 1;
        let tokens = tokens(sql);
        if tokens.len() > 400 {
            return;
        }
        if self.statements.len() < KEPT {
            self.statements.push(tokens);
        } else {
            let at = rng.random_range(0..self.seen);
            if let Some(place) = self.statements.get_mut(at) {
                *place = tokens;
            }
        }
    }

    /// A statement made from those of the pool.
    pub fn mutated(&self, rng: &mut StdRng) -> String {
        let Some(first) = self.statements.choose(rng) else { return String::new() };
        let mut tokens = first.clone();
        for _ in 0..rng.random_range(1..4) {
            if tokens.is_empty() {
                break;
            }
            let Some(other) = self.statements.choose(rng).filter(|o| !o.is_empty()) else { break };
            let at = rng.random_range(0..tokens.len());
            let replacement = if rng.random_ratio(1, 4) {
                MORE[rng.random_range(0..MORE.len())].to_owned()
            } else {
                other[rng.random_range(0..other.len())].clone()
            };
            match rng.random_range(0..12) {
                0 => drop(tokens.remove(at)),
                1 => tokens.insert(at, tokens[at].clone()),
                2 => {
                    let to = rng.random_range(0..tokens.len());
                    tokens.swap(at, to);
                }
                3 => tokens.insert(at, replacement),
                4..=6 => graft(&mut tokens, other, rng),
                _ => {
                    let alike: Vec<&String> = other.iter().filter(|t| kind(t) == kind(&tokens[at])).collect();
                    tokens[at] = alike.choose(rng).map_or(replacement, |t| (*t).clone());
                }
            }
        }
        tokens.join(" ")
    }
}

/// A parenthesised part of one statement takes the place of one, or of a name or constant, of another.
fn graft(tokens: &mut Vec<String>, other: &[String], rng: &mut StdRng) {
    let Some((from, to)) = groups(other).choose(rng).copied() else { return };
    let part: Vec<String> = other[from..=to].to_vec();
    match groups(tokens).choose(rng).copied() {
        Some((from, to)) if rng.random_ratio(2, 3) => drop(tokens.splice(from..=to, part)),
        _ => {
            let places: Vec<usize> = (0..tokens.len()).filter(|at| matches!(kind(&tokens[*at]), 2 | 3)).collect();
            if let Some(at) = places.choose(rng) {
                tokens.splice(*at..=*at, part);
            }
        }
    }
}
