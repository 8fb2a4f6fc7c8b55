//! Bounds on what is parsed: size and nesting, so that a hostile statement gets an error and never a stack overflow.
//!
//! In: text. Out: an upper bound of its nesting, and a stack large enough for it. Must never: under-estimate.

use crate::error::{Family, Refusal, SqlState};

/// Deepest nesting accepted. PostgreSQL's own `max_stack_depth` (2 MB) allows a few thousand levels.
pub const MAX_NESTING: usize = 1_500;

/// Up to this bound a statement is handled on the caller's stack.
const SHALLOW: usize = 24;

/// Stack given to deeper statements, in bytes; touched only as far as used.
const DEEP_STACK: usize = 512 * 1024 * 1024;

/// 54001 in PostgreSQL's words.
pub fn too_complex() -> Refusal {
    Refusal::new(Family::Unsupported, SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint("Simplify the statement: it is nested too deeply to be checked.")
}

/// Refuses a text of more than `most` tokens.
///
/// # Errors
/// 54001 in PostgreSQL's class for statements that are too complex.
pub fn check_tokens(text: &str, most: usize) -> Result<(), Refusal> {
    // What the lexer refuses the parser refuses at the same place.
    // Of no token at all the library makes a slice of nothing, which it may not.
    let count = if text.trim().is_empty() { 0 } else { pg_query::scan_tokens(text).map_or(0, |tokens| tokens.len()) };
    if count <= most {
        return Ok(());
    }
    let message = format!("statement is too complex: {count} tokens, at most {most} are checked");
    Err(Refusal::new(Family::Unsupported, SqlState::STATEMENT_TOO_COMPLEX, message)
        .with_hint("Send long lists as an array parameter."))
}

/// Runs `work` (parse, resolve, rewrite, seal of `text`) with a stack that its nesting cannot exhaust.
///
/// # Errors
/// 54001 when the nesting bound of `text` exceeds [`MAX_NESTING`].
pub fn with_stack<R>(text: &str, work: impl FnOnce() -> Result<R, Refusal>) -> Result<R, Refusal> {
    let bound = nesting_bound(text);
    if bound <= SHALLOW {
        return stacker::maybe_grow(1024 * 1024, 16 * 1024 * 1024, work);
    }
    #[cfg(feature = "disarm")]
    let bound = if crate::disarm::is_off(crate::disarm::Defence::Depth) { 0 } else { bound };
    if bound > MAX_NESTING {
        return Err(too_complex());
    }
    stacker::maybe_grow(DEEP_STACK / 2, DEEP_STACK, work)
}

/// What one level of brackets has seen since it was opened.
#[derive(Default, Clone, Copy)]
struct Level {
    /// Tokens that may nest within one expression; forgotten at `,`, AND, OR and clause keywords.
    chain: usize,
    /// Joins and set operations, which nest across clauses.
    linear: usize,
    /// Opened by CASE, closed by END.
    case: bool,
}

/// An upper bound of the depth of the tree of `text`.
///
/// Short statements are bounded by counting bytes and words alone; longer ones are read by PostgreSQL's own lexer, so that brackets
/// in strings and comments neither open nor close anything.
pub fn nesting_bound(text: &str) -> usize {
    let crude = crude_bound(text);
    if crude <= SHALLOW {
        return crude;
    }
    // What the lexer refuses the parser refuses at the same place, before any tree exists.
    let Ok(tokens) = pg_query::scan_tokens(text) else { return 0 };
    let mut levels: Vec<Level> = vec![Level::default()];
    let mut below = 0usize;
    let mut worst = 0usize;
    for token in tokens {
        let range = usize::try_from(token.start).unwrap_or(0)..usize::try_from(token.end).unwrap_or(0);
        let Some(token) = text.get(range) else { continue };
        let weight = |l: Option<&Level>| l.map_or(0, |l| l.chain.saturating_add(l.linear));
        match token.as_bytes() {
            [] => {}
            b"(" | b"[" => {
                below = below.saturating_add(weight(levels.last()));
                levels.push(Level::default());
            }
            word if word.eq_ignore_ascii_case(b"case") => {
                below = below.saturating_add(weight(levels.last())).saturating_add(2);
                levels.push(Level { case: true, ..Level::default() });
            }
            word if word.eq_ignore_ascii_case(b"end") && levels.last().is_some_and(|l| l.case) => {
                below = below.saturating_sub(2);
                close(&mut levels, &mut below);
            }
            b")" | b"]" => close(&mut levels, &mut below),
            b"," | b";" => {
                if let Some(level) = levels.last_mut() {
                    level.chain = 0;
                }
            }
            [first, ..] if first.is_ascii_alphabetic() => note_word(token.as_bytes(), levels.last_mut()),
            [first, ..] if CHAINING.contains(first) => deeper(&mut levels),
            _ => {}
        }
        worst = worst.max(below.saturating_add(weight(levels.last())).saturating_add(levels.len()));
    }
    worst
}

/// One more step of nesting without a bracket.
fn deeper(levels: &mut [Level]) {
    if let Some(level) = levels.last_mut() {
        level.chain = level.chain.saturating_add(1);
    }
}

/// Closes the innermost level; the whole of it is one more operand of the level around it.
fn close(levels: &mut Vec<Level>, below: &mut usize) {
    if levels.len() > 1 {
        levels.pop();
        *below = below.saturating_sub(levels.last().map_or(0, |l| l.chain.saturating_add(l.linear)));
        deeper(levels);
    }
}

/// First bytes of tokens that may nest an expression without brackets.
const CHAINING: &[u8] = b"+-*/<>=~!@#%^&|`?:.";

/// Bound from bytes alone, wherever they stand: every bracket, operator byte and word counts and nothing closes.
fn crude_bound(text: &str) -> usize {
    let mut count = 0usize;
    let mut in_word = false;
    for byte in text.bytes() {
        let is_word = byte.is_ascii_alphabetic();
        let starts = is_word && !in_word;
        in_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        if starts || byte == b'(' || byte == b'[' || CHAINING.contains(&byte) {
            count = count.saturating_add(1);
        }
    }
    count
}

/// Accounts for one word on the current level.
fn note_word(word: &[u8], level: Option<&mut Level>) {
    let Some(level) = level else { return };
    let mut lower = [0u8; 12];
    let Some(slot) = lower.get_mut(..word.len()) else { return };
    slot.copy_from_slice(word);
    slot.make_ascii_lowercase();
    match &*slot {
        b"union" | b"intersect" | b"except" | b"join" => level.linear = level.linear.saturating_add(1),
        b"and" | b"or" | b"where" | b"from" | b"on" | b"then" | b"else" | b"group" | b"having" | b"order"
        | b"limit" | b"offset" | b"values" => level.chain = 0,
        b"not" | b"when" | b"collate" | b"is" | b"isnull" | b"notnull" | b"at" | b"array" | b"in" | b"like"
        | b"ilike" | b"between" | b"similar" | b"select" | b"any" | b"all" | b"row" | b"distinct" | b"with" | b"as"
        | b"operator" | b"escape" => level.chain = level.chain.saturating_add(1),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    #[test]
    fn ordinary_statements_are_shallow() {
        assert!(nesting_bound("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;") <= SHALLOW);
        let wide =
            format!("select * from t where a in ({})", (0..5000).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
        assert!(nesting_bound(&wide) <= SHALLOW);
        let many = vec!["x = 1"; 3000].join(" OR ");
        assert!(nesting_bound(&format!("select 1 where {many}")) <= SHALLOW);
    }

    #[test]
    fn deep_statements_get_an_error_and_not_an_abort() {
        let shapes: [fn(usize) -> String; 10] = [
            |n| format!("select {}1{}", "(".repeat(n), ")".repeat(n)),
            |n| format!("select {}1", "- ".repeat(n)),
            |n| format!("select {}true", "not ".repeat(n)),
            |n| format!("select 1{}", "+1".repeat(n)),
            |n| format!("select 1{}", "::int".repeat(n)),
            |n| format!("select {}1{}", "array[".repeat(n), "]".repeat(n)),
            |n| format!("select 1{}", " union all select 1".repeat(n)),
            |n| format!("select 1 from a{}", " join a on true".repeat(n)),
            |n| format!("select {}1{}", "case when true then ".repeat(n), " end".repeat(n)),
            |n| format!("select {}1{}", "case when true then 1 else ".repeat(n), " end".repeat(n)),
        ];
        for shape in shapes {
            for depth in [10, 300, 9_000, 100_000] {
                let text = shape(depth);
                let _ = with_stack(&text, || {
                    let parsed = parse(&text)?;
                    for statement in parsed.statements {
                        let _ = crate::sql::tree::Tree::of(&statement.node)?;
                        let _ = crate::sql::print(statement.node)?;
                    }
                    Ok(())
                });
            }
        }
    }
}
