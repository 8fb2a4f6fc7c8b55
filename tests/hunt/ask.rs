//! Asking both warehouses, and what the two answers come to.

use crate::arena::Rigour;
use crate::session::{Back, Case, Session, Way};
use crate::wire::{Answer, Message};
use sqlveil::relay::errors::{DATA_ERROR, NO_PERMISSION};

/// How often a statement with different answers is asked again: a sparse TABLESAMPLE is mostly empty.
const AGAIN: usize = 12;

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both answered alike.
    Alike(Fate),
    /// Both said they were too slow, or one of them.
    Slow,
    /// More than is kept came back.
    Huge,
    /// A key was taken in one of them, or referred to: PostgreSQL tells, and a WRITE grant is known to.
    Taken,
    /// Asked again, one warehouse alone gives another answer: chance or time is in it.
    Chance,
    /// The answers differ.
    Different(String),
    /// An XX000 of the proxy's own, which is not the warehouse's.
    Defect(String),
    /// A connection was lost.
    Lost(String),
}

/// What both answers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Executed.
    Answered,
    /// Executed up to an error about data: the code.
    Raised(String),
    /// Sent, and not understood by the warehouse: the code.
    Rejected(String),
    /// Not sent: code and message.
    Refused(String, String),
}

/// Asks, compares, and asks again where the answers differ.
pub fn ask(session: &mut Session<'_>, way: Way, case: &Case) -> Outcome {
    let backs = session.say(way, case);
    session.tidy(case, &backs);
    let (tame, wild) = match &backs {
        [Back::Lost(why), _] | [_, Back::Lost(why)] => return Outcome::Lost(why.clone()),
        [Back::Huge, _] | [_, Back::Huge] => return Outcome::Huge,
        [Back::Whole(tame), Back::Whole(wild)] => (tame, wild),
    };
    if [tame, wild].iter().any(|answer| errors(answer).any(|code| code == "57014")) {
        return Outcome::Slow;
    }
    if [tame, wild].iter().any(|answer| errors(answer).any(|code| code == "23505" || code == "23503")) {
        return Outcome::Taken;
    }
    // So does ON CONFLICT DO UPDATE, of a key that a hidden row has.
    if [tame, wild].iter().any(|answer| answer.message().contains("policy (USING expression) for table")) {
        return Outcome::Taken;
    }
    let set = (session.pair.rigour == Rigour::AsSets || of_catalog(&case.sql)) && !ordered(&case.sql);
    let marks = session.marks();
    let (left, right) = (lines(tame, &marks[0], set), lines(wild, &marks[1], set));
    if left != right {
        let before = [left.clone(), right.clone()];
        for _ in 0..AGAIN {
            let again = session.say(way, case);
            session.tidy(case, &again);
            let marks = session.marks();
            for ((back, mark), before) in again.iter().zip(&marks).zip(&before) {
                match back {
                    Back::Whole(answer) if lines(answer, mark, set) == *before => {}
                    Back::Whole(_) => return Outcome::Chance,
                    Back::Huge => return Outcome::Huge,
                    Back::Lost(why) => return Outcome::Lost(why.clone()),
                }
            }
        }
        return Outcome::Different(difference(&left, &right));
    }
    match fate(tame) {
        Fate::Refused(code, message) if code == "XX000" => Outcome::Defect(message),
        fate => Outcome::Alike(fate),
    }
}

/// The codes of all errors.
fn errors(answer: &Answer) -> impl Iterator<Item = String> {
    answer.messages.iter().filter(|m| m.tag == b'E').filter_map(|m| m.field(b'C'))
}

/// What an answer says of the statement: its first error decides.
fn fate(answer: &Answer) -> Fate {
    let Some(error) = answer.error() else { return Fate::Answered };
    let (code, text) = (answer.code(), answer.message());
    // The proxy's own errors name no routine; those it makes the same for all are known by their text.
    let theirs = |m: &Message| m.field(b'R').is_some() || text == DATA_ERROR || text == NO_PERMISSION;
    match code.get(..2) {
        _ if !theirs(error) => Fate::Refused(code, text),
        Some("42" | "0A" | "26" | "34" | "3D" | "3F" | "25" | "55") => Fate::Rejected(code),
        _ => Fate::Raised(code),
    }
}

/// The messages as text, rows in place or sorted among themselves; the session's own process id is marked.
fn lines(answer: &Answer, mark: &str, as_set: bool) -> Vec<String> {
    let mut lines = answer.lines();
    for line in lines.iter_mut().filter(|line| line.contains(mark)) {
        *line = number_as(line, mark, "PID");
    }
    if as_set {
        // The head of a binary COPY comes with its first row.
        for line in &mut lines {
            *line = line.replacen("d PGCOPY\\n\\xff\\r\\n\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00", "d ", 1);
        }
        let places: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with(['D', 'd'])).collect();
        let mut rows: Vec<String> = places.iter().map(|at| lines[*at].clone()).collect();
        rows.sort();
        places.iter().zip(rows).for_each(|(at, row)| lines[*at] = row);
    }
    lines
}

/// The text with another word for a number, where the number stands for itself.
fn number_as(text: &str, number: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, after) = (&rest[..at], &rest[at + number.len()..]);
        out.push_str(before);
        let alone = !out.ends_with(|c: char| c.is_ascii_digit()) && !after.starts_with(|c: char| c.is_ascii_digit());
        out.push_str(if alone { word } else { number });
        rest = after;
    }
    out + rest
}

fn difference(tame: &[String], wild: &[String]) -> String {
    let at = tame.iter().zip(wild).position(|(t, w)| t != w).unwrap_or(tame.len().min(wild.len()));
    let show = |lines: &[String]| lines.get(at).map_or("(nothing)".to_owned(), |l| l.chars().take(600).collect());
    format!("  tame: {}\n  wild: {}", show(tame), show(wild))
}

/// Whether a relation of the catalog is named: its rows lie where temporary tables and rolled back writes left room, in each warehouse as
/// its time was.
fn of_catalog(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    lower.contains("information_schema")
        || lower.match_indices("pg_").any(|(at, _)| {
            let (before, word) = (lower[..at].chars().next_back(), &lower[at..]);
            let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
            let behind = word[end..].trim_start_matches('"').trim_start();
            !before.is_some_and(is_part) && &word[..end] != "pg_catalog" && !behind.starts_with('(')
        })
}

/// Whether the answer has an order: the last ORDER BY stands behind every parenthesis.
fn ordered(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    lower.rfind("order by").is_some_and(|order| lower.rfind(')').is_none_or(|end| end < order))
}
