//! Statements about one row, found by a whole key, or about rows that are written down: the warehouse plans them alike whatever the key is.
//!
//! In: a statement about one table. Out: whether its plan could depend on the values of its literals. Must never: say so of a statement for
//! which a plan made for these values may be better than one made for any.

use crate::catalog::Relation;
use crate::sql::pb::{AConst, AExpr, AExprKind, BoolExprType, Node, SelectStmt, SetOperation};
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, pb};
use crate::types::Oid;

/// Most rows of an INSERT.
const ROWS: usize = 16;

/// `int8`, `int2`, `int4`, `numeric` (pg_type.dat): an index over these serves an `int4`.
const NUMBERS: [Oid; 4] = [Oid(20), Oid(21), Oid(23), Oid(1700)];

/// Whether the statement, which is about this table alone, reads or writes at most one of its rows by a key that is given in numbers, or adds
/// rows that are given.
pub(super) fn is_point(statement: &NodeEnum, table: &Relation) -> bool {
    let found = match statement {
        NodeEnum::SelectStmt(select) => plain(select) && finds_one(select.where_clause.as_deref(), table),
        NodeEnum::UpdateStmt(update) => {
            update.with_clause.is_none()
                && update.from_clause.is_empty()
                && finds_one(update.where_clause.as_deref(), table)
        }
        NodeEnum::DeleteStmt(delete) => {
            delete.with_clause.is_none()
                && delete.using_clause.is_empty()
                && finds_one(delete.where_clause.as_deref(), table)
        }
        NodeEnum::InsertStmt(insert) => insert.with_clause.is_none() && adds_rows(insert),
        _ => false,
    };
    found && keeps_numbers(statement)
}

/// One table in FROM and nothing beside it.
fn plain(select: &SelectStmt) -> bool {
    let simple = pb::SetOperation::try_from(select.op) == Ok(SetOperation::SetopNone) && select.with_clause.is_none();
    let one = matches!(select.from_clause.as_slice(), [Node { node: Some(NodeEnum::RangeVar(_)) }]);
    simple && one && select.values_lists.is_empty() && select.into_clause.is_none()
}

fn adds_rows(insert: &pb::InsertStmt) -> bool {
    match insert.select_stmt.as_deref().and_then(|n| n.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) => (1..=ROWS).contains(&select.values_lists.len()),
        _ => false,
    }
}

/// Whether conditions that all hold give every column of some key.
fn finds_one(condition: Option<&Node>, table: &Relation) -> bool {
    let mut given = Vec::new();
    if let Some(condition) = condition {
        equalities(condition, &mut given);
    }
    let number = |column: &String| {
        let of = table.columns.iter().find(|c| c.name == *column);
        of.is_some_and(|c| NUMBERS.contains(&c.type_oid)) && given.contains(&column.as_str())
    };
    let whole = |columns: &[String]| !columns.is_empty() && columns.iter().all(number);
    let unique = table.constraints.iter().filter(|c| c.kind == 'u').filter_map(|c| c.columns.as_deref());
    whole(&table.primary_key) || unique.into_iter().any(whole)
}

/// The columns that are said to be equal to a number.
fn equalities<'n>(condition: &'n Node, given: &mut Vec<&'n str>) {
    match &condition.node {
        Some(NodeEnum::BoolExpr(all)) if pb::BoolExprType::try_from(all.boolop) == Ok(BoolExprType::AndExpr) => {
            all.args.iter().for_each(|part| equalities(part, given));
        }
        Some(NodeEnum::AExpr(e)) if is_equality(e) => {
            let sides = [e.lexpr.as_deref(), e.rexpr.as_deref()].map(|side| side.and_then(|n| n.node.as_ref()));
            if let [Some(NodeEnum::ColumnRef(column)), Some(NodeEnum::AConst(number))]
            | [Some(NodeEnum::AConst(number)), Some(NodeEnum::ColumnRef(column))] = sides
                && is_number(number)
                && let Some(NodeEnum::String(name)) = column.fields.last().and_then(|n| n.node.as_ref())
            {
                given.push(&name.sval);
            }
        }
        _ => {}
    }
}

fn is_equality(e: &AExpr) -> bool {
    let named = matches!(e.name.as_slice(), [Node { node: Some(NodeEnum::String(name)) }] if name.sval == "=");
    pb::AExprKind::try_from(e.kind) == Ok(AExprKind::AexprOp) && named
}

fn is_number(constant: &AConst) -> bool {
    matches!(constant.val, Some(pb::a_const::Val::Ival(_)))
}

/// Whether no number is computed with, compared with, or cast by itself: the server does that once, while it plans, and may raise; for a
/// parameter it waits until there is a row.
fn keeps_numbers(statement: &NodeEnum) -> bool {
    let Ok(tree) = Tree::of(statement) else { return false };
    let constant = |tree: Option<&Tree>| match tree.and_then(Tree::unwrap_node) {
        Some(("AConst", _)) => true,
        Some(("List", list)) => {
            let items = list.field("items").map(Tree::as_list).unwrap_or_default();
            items.iter().all(|item| matches!(item.unwrap_node(), Some(("AConst", _))))
        }
        _ => false,
    };
    let nothing = |tree: Option<&Tree>| matches!(tree, None | Some(Tree::Nothing));
    let mut keeps = true;
    tree.each(&mut |node| {
        keeps &= match node {
            Tree::Node("AExpr", _) => {
                let (left, right) = (node.field("lexpr"), node.field("rexpr"));
                !(constant(right) && (constant(left) || nothing(left)))
            }
            Tree::Node("TypeCast", _) => !constant(node.field("arg")),
            _ => true,
        };
    });
    keeps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, Constraint};

    fn table() -> Relation {
        let column = |name: &str, type_oid| Column { name: name.into(), type_oid: Oid(type_oid), ..Column::default() };
        Relation {
            columns: vec![column("id", 23), column("a", 20), column("b", 23), column("t", 25)],
            primary_key: vec!["id".into()],
            constraints: vec![
                Constraint { kind: 'u', columns: Some(vec!["a".into(), "b".into()]), ..Constraint::default() },
                Constraint { kind: 'u', columns: Some(vec!["t".into()]), ..Constraint::default() },
                Constraint { kind: 'f', columns: Some(vec!["b".into()]), ..Constraint::default() },
            ],
            ..Relation::default()
        }
    }

    fn point(sql: &str) -> bool {
        let parsed = crate::sql::parse(sql).unwrap();
        is_point(&parsed.statements[0].node, &table())
    }

    #[test]
    fn whole_keys_find_one_row() {
        for sql in [
            "SELECT t FROM x WHERE id = 5",
            "SELECT t FROM x WHERE 5 = x.id AND t LIKE 'a%'",
            "SELECT count(*) FROM x WHERE a = 5 AND (b = 6 AND id > 7) FOR UPDATE",
            "UPDATE x SET a = a + 5 WHERE id = -6",
            "DELETE FROM x WHERE id = 5 RETURNING t",
            "INSERT INTO x VALUES (1, 2, 3, now()), (2, 3, 4, NULL)",
        ] {
            assert!(point(sql), "{sql}");
        }
    }

    #[test]
    fn anything_else_may_be_planned_better_for_its_values() {
        for sql in [
            "SELECT t FROM x",
            "SELECT t FROM x WHERE a = 5",
            "SELECT t FROM x WHERE b = 5",
            "SELECT t FROM x WHERE t = 'a'",
            "SELECT t FROM x WHERE id = 5 OR a = 6",
            "SELECT t FROM x WHERE id > 5",
            "SELECT t FROM x WHERE id = b",
            "SELECT t FROM x WHERE NOT id = 5",
            "SELECT t FROM x, x y WHERE x.id = 5",
            "SELECT t FROM x WHERE id = 5 UNION SELECT t FROM x",
            "SELECT t FROM (SELECT * FROM x) x WHERE id = 5",
            "WITH y AS (SELECT 1) SELECT t FROM x WHERE id = 5",
            "UPDATE x SET a = 5 FROM x y WHERE x.id = 5",
            "DELETE FROM x USING x y WHERE x.id = 5",
            "INSERT INTO x SELECT 1, 2, 3, t FROM x WHERE id = 5",
            "VALUES (1)",
        ] {
            assert!(!point(sql), "{sql}");
        }
    }

    #[test]
    fn what_the_server_computes_while_it_plans_is_left_to_it() {
        for sql in [
            "SELECT 1 + 1 FROM x WHERE id = 5",
            "SELECT t FROM x WHERE id = 5 AND 2 IN (2, 3)",
            "SELECT t FROM x WHERE id = 5 AND 2 BETWEEN 1 AND 3",
            "SELECT 5::text FROM x WHERE id = 5",
            "INSERT INTO x VALUES (2147483647 + 1, 2, 3, '')",
        ] {
            assert!(!point(sql), "{sql}");
        }
    }
}
