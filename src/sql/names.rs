//! Names inside trees: parts of qualified names, the column name PostgreSQL gives an unnamed target, the kind of a node in words.

use super::{NodeEnum, pb};

/// The string parts of a name list (`a.b.c`); `None` when a part is not a plain name (a star, a subscript).
pub fn parts(nodes: &[pb::Node]) -> Option<Vec<&str>> {
    nodes
        .iter()
        .map(|n| match &n.node {
            Some(NodeEnum::String(s)) => Some(s.sval.as_str()),
            _ => None,
        })
        .collect()
}

/// The column name PostgreSQL gives a target without AS (`FigureColname`, parse_target.c); `?column?` when there is none.
pub fn figure_column_name(value: Option<&pb::Node>) -> String {
    figure(value).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// Name and strength: 2 for a good name, 1 for a second choice (a type's name, `case`).
fn figure(value: Option<&pb::Node>) -> Option<(String, u8)> {
    use NodeEnum as N;
    match value.and_then(|n| n.node.as_ref())? {
        N::ColumnRef(c) => last_name(&c.fields).map(|n| (n, 2)),
        N::AIndirection(i) => last_name(&i.indirection).map(|n| (n, 2)).or_else(|| figure(i.arg.as_deref())),
        N::FuncCall(f) => last_name(&f.funcname).map(|n| (n, 2)),
        N::AExpr(e) if e.kind == pb::AExprKind::AexprNullif as i32 => Some(("nullif".to_owned(), 2)),
        N::TypeCast(t) => {
            let inner = figure(t.arg.as_deref());
            match (inner, &t.type_name) {
                (Some((name, 2)), _) => Some((name, 2)),
                (other, Some(ty)) => last_name(&ty.names).map(|n| (n, 1)).or(other),
                (other, None) => other,
            }
        }
        N::CollateClause(c) => figure(c.arg.as_deref()),
        N::GroupingFunc(_) => Some(("grouping".to_owned(), 2)),
        N::SubLink(s) => match pb::SubLinkType::try_from(s.sub_link_type).unwrap_or_default() {
            pb::SubLinkType::ExistsSublink => Some(("exists".to_owned(), 2)),
            pb::SubLinkType::ArraySublink => Some(("array".to_owned(), 2)),
            pb::SubLinkType::ExprSublink => match s.subselect.as_deref().and_then(|n| n.node.as_ref()) {
                Some(N::SelectStmt(select)) => first_target_name(select).map(|n| (n, 2)),
                _ => None,
            },
            _ => None,
        },
        N::CaseExpr(c) => match figure(c.defresult.as_deref()) {
            Some((name, 2)) => Some((name, 2)),
            _ => Some(("case".to_owned(), 1)),
        },
        N::AArrayExpr(_) => Some(("array".to_owned(), 2)),
        N::RowExpr(_) => Some(("row".to_owned(), 2)),
        N::CoalesceExpr(_) => Some(("coalesce".to_owned(), 2)),
        N::MinMaxExpr(m) => {
            let greatest = m.op == pb::MinMaxOp::IsGreatest as i32;
            Some((if greatest { "greatest" } else { "least" }.to_owned(), 2))
        }
        N::SqlvalueFunction(s) => sql_value_name(s.op).map(|n| (n.to_owned(), 2)),
        N::XmlExpr(x) => {
            let name = match pb::XmlExprOp::try_from(x.op).unwrap_or_default() {
                pb::XmlExprOp::IsXmlconcat => "xmlconcat",
                pb::XmlExprOp::IsXmlelement => "xmlelement",
                pb::XmlExprOp::IsXmlforest => "xmlforest",
                pb::XmlExprOp::IsXmlparse => "xmlparse",
                pb::XmlExprOp::IsXmlpi => "xmlpi",
                pb::XmlExprOp::IsXmlroot => "xmlroot",
                _ => return None,
            };
            Some((name.to_owned(), 2))
        }
        N::XmlSerialize(_) => Some(("xmlserialize".to_owned(), 2)),
        _ => None,
    }
}

/// The name of a sub-select's first column, as a scalar sub-query is named.
fn first_target_name(select: &pb::SelectStmt) -> Option<String> {
    let mut select = select;
    while let Some(left) = &select.larg {
        select = left;
    }
    match select.target_list.first().and_then(|n| n.node.as_ref())? {
        NodeEnum::ResTarget(target) if !target.name.is_empty() => Some(target.name.clone()),
        NodeEnum::ResTarget(target) => figure(target.val.as_deref()).map(|(n, _)| n),
        _ => None,
    }
}

fn last_name(nodes: &[pb::Node]) -> Option<String> {
    nodes.iter().rev().find_map(|n| match &n.node {
        Some(NodeEnum::String(s)) => Some(s.sval.clone()),
        _ => None,
    })
}

/// The keyword of a grammar-level value function, which is also its column name.
pub fn sql_value_name(op: i32) -> Option<&'static str> {
    use pb::SqlValueFunctionOp as Op;
    match Op::try_from(op).ok()? {
        Op::SqlvalueFunctionOpUndefined => None,
        Op::SvfopCurrentDate => Some("current_date"),
        Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => Some("current_time"),
        Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => Some("current_timestamp"),
        Op::SvfopLocaltime | Op::SvfopLocaltimeN => Some("localtime"),
        Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => Some("localtimestamp"),
        Op::SvfopCurrentRole => Some("current_role"),
        Op::SvfopCurrentUser => Some("current_user"),
        Op::SvfopUser => Some("user"),
        Op::SvfopSessionUser => Some("session_user"),
        Op::SvfopCurrentCatalog => Some("current_catalog"),
        Op::SvfopCurrentSchema => Some("current_schema"),
    }
}

/// The kind of a node in the words of the SQL manual, for messages: `INSERT`, `CREATE TABLE AS`, …
pub fn kind_name(node: &NodeEnum) -> String {
    // The variant's own name, split at capitals: `CreateTableAsStmt` → `CREATE TABLE AS`.
    let debug = match super::tree::Tree::of(node) {
        Ok(super::tree::Tree::Variant(kind, _)) => kind,
        _ => return "this construct".to_owned(),
    };
    // Where that is not what people write.
    let written = match debug {
        "ViewStmt" => Some("CREATE VIEW"),
        "RefreshMatViewStmt" => Some("REFRESH MATERIALIZED VIEW"),
        "CheckPointStmt" => Some("CHECKPOINT"),
        "CreatedbStmt" => Some("CREATE DATABASE"),
        "DropdbStmt" => Some("DROP DATABASE"),
        "GrantRoleStmt" => Some("GRANT of a role"),
        "ReindexStmt" => Some("REINDEX"),
        _ => None,
    };
    if let Some(written) = written {
        return written.to_owned();
    }
    let (stem, statement) = match debug.strip_suffix("Stmt") {
        Some(stem) => (stem, true),
        None => (debug, false),
    };
    let mut words = String::new();
    for c in stem.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(if statement { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
    }
    words
}

/// Whether a word written in lower-case letters, digits and underscores is a keyword that `quote_identifier` of PostgreSQL quotes:
/// any but the unreserved ones. Those alone may name both a relation and a parameter (PostgreSQL manual, appendix C).
pub fn is_keyword(word: &str) -> bool {
    let parses = |text: String| super::parse(&text).is_ok();
    !(parses(format!("SELECT FROM {word}")) && parses(format!("SELECT f({word} => 1)")))
}

#[cfg(test)]
mod tests {
    use super::is_keyword;

    #[test]
    fn keywords_are_those_that_postgresql_quotes() {
        for word in ["float", "select", "left", "between", "user", "natural", "int"] {
            assert!(is_keyword(word), "{word}");
        }
        for word in ["dept", "public", "level", "name", "_sv", "abort"] {
            assert!(!is_keyword(word), "{word}");
        }
    }
}
