//! Text ⇄ tree: parsing, printing, walking and bounding of SQL. The only room that imports `pg_query`.
//!
//! In: statement text. Out: [`Parsed`], every statement of the string as PostgreSQL's own grammar reads it; printed text of a
//! tree. Must never: repair text, drop a statement, or know a policy.

pub mod build;
mod failure;
pub mod limits;
pub mod literal;
pub mod names;
pub mod numbers;
pub mod redact;
mod setting;
pub mod template;
pub mod tree;
pub mod walk;

pub use pg_query::NodeEnum;
pub use pg_query::protobuf as pb;

use crate::error::{Family, Refusal, SqlState};

/// All statements of one string.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// In order.
    pub statements: Vec<Statement>,
}

/// One statement of a string.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its tree. Locations are byte offsets into the whole string.
    pub node: NodeEnum,
    /// Byte range of the statement in the whole string, without the semicolon.
    pub range: std::ops::Range<usize>,
}

/// Parses a string of zero or more statements.
///
/// # Errors
/// 42601 with PostgreSQL's own message and position; 54001 for text nested too deeply.
pub fn parse(text: &str) -> Result<Parsed, Refusal> {
    if text.as_bytes().contains(&0) {
        return Err(Refusal::new(
            Family::Caller,
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    let (result, respelled) = match pg_query::parse(text, 0) {
        Ok(result) => (result, false),
        Err(_) => match setting::respelled(text).and_then(|other| pg_query::parse(&other, 0).ok()) {
            Some(result) => (result, true),
            None => return Err(failure::refusal(text)),
        },
    };
    let mut statements = Vec::with_capacity(result.protobuf.stmts.len());
    for raw in result.protobuf.stmts {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let len = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if len == 0 { text.len() } else { start.saturating_add(len) };
        let node = raw
            .stmt
            .and_then(|node| node.node)
            .ok_or_else(|| Refusal::internal("the parser returned a statement without a tree"))?;
        let skipped = text.get(start..end).map_or(0, |s| s.len() - s.trim_start().len());
        statements.push(Statement { node, range: start.saturating_add(skipped)..end });
    }
    if respelled {
        statements.iter_mut().for_each(setting::renamed);
    }
    Ok(Parsed { statements })
}

/// [`parse`] for a text that is not the statement being planned (a name in a literal, say): with a stack that its own nesting cannot
/// exhaust.
///
/// # Errors
/// As [`parse`]; 54001 for text nested too deeply.
pub fn parse_apart(text: &str) -> Result<Parsed, Refusal> {
    limits::with_stack(text, || parse(text))
}

/// Parses one expression, as it would stand in a target list. For SQL made by the policy room, never for callers' text.
///
/// # Errors
/// XX000 when the text is not exactly one expression.
pub fn parse_expression(text: &str) -> Result<pb::Node, Refusal> {
    let broken = || Refusal::internal("a policy expression does not parse");
    let parsed = parse(&format!("SELECT ({text})")).map_err(|_| broken())?;
    let mut statements = parsed.statements.into_iter();
    match (statements.next().map(|s| s.node), statements.next()) {
        (Some(NodeEnum::SelectStmt(select)), None) => {
            let select = *select;
            let bare = select.from_clause.is_empty()
                && select.where_clause.is_none()
                && select.group_clause.is_empty()
                && select.having_clause.is_none()
                && select.sort_clause.is_empty()
                && select.limit_count.is_none()
                && select.limit_offset.is_none()
                && select.locking_clause.is_empty()
                && select.with_clause.is_none()
                && select.into_clause.is_none()
                && select.larg.is_none();
            let mut targets = select.target_list.into_iter();
            match (targets.next().and_then(|n| n.node), targets.next()) {
                (Some(NodeEnum::ResTarget(target)), None) if bare && target.name.is_empty() => {
                    target.val.map(|boxed| *boxed).ok_or_else(broken)
                }
                _ => Err(broken()),
            }
        }
        _ => Err(broken()),
    }
}

/// Parses one SELECT of our own: a registered query, or one made for the virtual catalog; never callers' text.
///
/// # Errors
/// XX000 when the text is not exactly one SELECT.
pub fn parse_query(text: &str) -> Result<pb::Node, Refusal> {
    let broken = || Refusal::internal("a registered query does not parse");
    let mut statements = parse(text).map_err(|_| broken())?.statements.into_iter().map(|s| s.node);
    match (statements.next(), statements.next()) {
        (Some(select @ NodeEnum::SelectStmt(_)), None) => Ok(build::node(select)),
        _ => Err(broken()),
    }
}

/// Prints one statement.
///
/// # Errors
/// 54001 when the printer's stack does not suffice; XX000 when the tree cannot be printed: a defect of ours, the caller's tree always can.
pub fn print(node: NodeEnum) -> Result<String, Refusal> {
    let result = pb::ParseResult {
        version: 0,
        stmts: vec![pb::RawStmt { stmt: Some(Box::new(pb::Node { node: Some(node) })), stmt_location: 0, stmt_len: 0 }],
    };
    pg_query::deparse(&result, pg_query::DeparseOptions::default()).map_err(|error| match error {
        pg_query::Error::Parse(said) if said.contains("stack depth limit exceeded") => limits::too_complex(),
        _ => Refusal::internal("a statement could not be printed"),
    })
}

/// The tokens of a text by PostgreSQL's own lexer, comments among them: where each stands, and its kind.
///
/// # Errors
/// The lexer's own for what it does not take; XX000 for what it does not place.
pub fn tokens(text: &str) -> Result<Vec<(std::ops::Range<usize>, i32)>, Refusal> {
    // Of no token at all the library makes a slice of nothing, which it may not.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let placed = |token: pb::ScanToken| {
        let (start, end) = (usize::try_from(token.start), usize::try_from(token.end));
        let (Ok(start), Ok(end)) = (start, end) else {
            return Err(Refusal::internal("the place of a token in the text"));
        };
        Ok((start..end, token.token))
    };
    pg_query::scan_tokens(text).map_err(|_| failure::refusal(text))?.into_iter().map(placed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_ranges_and_trees() {
        let text = "select 1; /* two */ select 'é' ;";
        let parsed = parse(text).unwrap();
        let ranges: Vec<_> = parsed.statements.iter().map(|s| text[s.range.clone()].to_owned()).collect();
        assert_eq!(ranges, ["select 1", "select 'é' "]);
        assert!(parse("").unwrap().statements.is_empty());
        assert!(parse(" ; ; -- nothing\n").unwrap().statements.is_empty());
    }

    #[test]
    fn syntax_errors_carry_the_position() {
        let refusal = parse("select sel from t where sel sel from x").unwrap_err();
        assert_eq!(refusal.message, "syntax error at or near \"sel\"");
        assert_eq!(refusal.position, Some(28));
        assert_eq!(parse("select 1 +").unwrap_err().message, "syntax error at end of input");
    }

    #[test]
    fn nul_is_refused() {
        assert_eq!(parse("select 1\0").unwrap_err().code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    }

    #[test]
    fn expressions_must_stand_alone() {
        assert!(parse_expression("_sv.\"a\" = 1 AND x IS NULL").is_ok());
        for bad in ["1) FROM t; SELECT (2", "1) FROM t --", "1), (2", "1) AS x, (2", ""] {
            assert!(parse_expression(bad).is_err(), "{bad}");
        }
    }
}
