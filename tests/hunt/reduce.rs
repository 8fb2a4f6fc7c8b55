//! A smaller statement that still tells the two warehouses apart: runs of tokens and parenthesised parts are dropped while it does.

use crate::ask::{Outcome, ask};
use crate::mutate::{groups, tokens};
use crate::session::{Case, Session, Way};
use std::time::{Duration, Instant};

/// Longest time for one reduction.
const LIMIT: Duration = Duration::from_secs(90);

/// The smallest case found, with what tells the warehouses apart on it.
pub fn reduce(session: &mut Session<'_>, way: Way, case: &Case, shown: String) -> (Case, String) {
    let end = Instant::now() + LIMIT;
    let mut best = tokens(&case.sql);
    let mut shown = shown;
    let mut values = case.values.clone();
    let mut differs = |tokens: &[String], values: &[String]| {
        let case = Case { sql: tokens.join(" "), values: values.to_vec() };
        match ask(session, way, &case) {
            Outcome::Different(difference) => Some(difference),
            _ => None,
        }
    };
    // Where mere spacing matters, the statement stays as it is.
    if differs(&best, &values).is_none() {
        return (case.clone(), shown);
    }
    'again: while Instant::now() < end {
        for smaller in smaller(&best) {
            if Instant::now() > end {
                break 'again;
            }
            if let Some(difference) = differs(&smaller, &values) {
                (best, shown) = (smaller, difference);
                continue 'again;
            }
        }
        break;
    }
    if !best.iter().any(|token| token.starts_with('$')) && !values.is_empty() && differs(&best, &[]).is_some() {
        values.clear();
    }
    (Case { sql: best.join(" "), values }, shown)
}

/// Shorter ones, the shortest first.
fn smaller(tokens: &[String]) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let without = |from: usize, to: usize, by: &[&str]| {
        let mut less = tokens[..from].to_vec();
        less.extend(by.iter().map(|t| (*t).to_owned()));
        less.extend_from_slice(&tokens[to..]);
        less
    };
    for (from, to) in groups(tokens) {
        if to > from + 2 {
            out.push(without(from, to + 1, &["(", "NULL", ")"]));
            out.push(without(from, to + 1, &["(", "1", ")"]));
            out.push(tokens[from + 1..to].to_vec());
        }
        out.push(without(from, to + 1, &[]));
        // The call as a whole, and what stands in the parentheses in its place.
        if from > 0 {
            out.push(without(from - 1, to + 1, &["NULL"]));
            out.push(without(from - 1, to + 1, &[]));
            let inner: Vec<&str> = tokens[from..=to].iter().map(String::as_str).collect();
            out.push(without(from - 1, to + 1, &inner));
        }
    }
    let mut width = tokens.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at + width <= tokens.len() {
            out.push(without(at, at + width, &[]));
            at += width.div_ceil(2);
        }
        width = if width > 8 { width / 2 } else { width - 1 };
    }
    out.sort_by_key(Vec::len);
    out.dedup();
    out.retain(|less| less.len() < tokens.len());
    out
}
