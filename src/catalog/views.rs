//! What a warehouse view computes: a column that its definition only passes on from a table can never raise when it is read.
//!
//! In: the text of a view's definition (`pg_get_viewdef`). Out: which of its columns are passed on. Must never: call a column passed on
//! when in doubt.

use super::{Function, Relation, RelationKind};
use crate::sql::tree::Tree;
use crate::sql::{self, NodeEnum, names, pb};
use crate::types::QualifiedName;
use std::collections::{BTreeSet, HashMap};

/// What is known of a view.
pub(super) struct Look {
    /// The columns that its definition computes, or takes from something else than a table.
    pub(super) computed: BTreeSet<String>,
    /// It computes columns, or has conditions that are more than comparisons of columns with each other and with constants.
    pub(super) may_raise: bool,
    /// What in it may answer differently under a caller's settings.
    pub(super) session_dependent: BTreeSet<String>,
}

/// The kinds of a warehouse's relations, by name.
pub(super) type Kinds = HashMap<QualifiedName, RelationKind>;

/// Stands for what cannot be told.
const UNREAD: &str = "a definition that cannot be read";

/// Looks into the definition of a view; what is not understood counts as computed.
pub(super) fn look_into(
    view: &Relation,
    definition: &str,
    kinds: &Kinds,
    functions: &HashMap<String, Vec<Function>>,
) -> Look {
    let Some(select) = only_select(definition) else {
        return Look {
            computed: view.columns.iter().map(|c| c.name.clone()).collect(),
            may_raise: true,
            session_dependent: BTreeSet::from([UNREAD.to_owned()]),
        };
    };
    let (passed, compares) = passed_on(&select, kinds).unwrap_or_default();
    let names = view.columns.iter().enumerate();
    let computed: BTreeSet<String> =
        names.filter(|(at, _)| !passed.contains(at)).map(|(_, column)| column.name.clone()).collect();
    let session_dependent = match Tree::of(&select) {
        Ok(tree) => session_dependent(&tree, functions),
        Err(_) => BTreeSet::from([UNREAD.to_owned()]),
    };
    Look { may_raise: !compares || !computed.is_empty(), computed, session_dependent }
}

/// The statement, when the text is one SELECT.
fn only_select(definition: &str) -> Option<pb::SelectStmt> {
    let mut statements = sql::parse(definition).ok()?.statements.into_iter();
    match (statements.next().map(|s| s.node), statements.next()) {
        (Some(NodeEnum::SelectStmt(select)), None) => Some(*select),
        _ => None,
    }
}

/// Positions in the target list that are columns of tables, and whether the conditions only compare; `None`: not understood.
fn passed_on(select: &pb::SelectStmt, kinds: &Kinds) -> Option<(BTreeSet<usize>, bool)> {
    let plain = select.larg.is_none() && select.with_clause.is_none() && select.values_lists.is_empty();
    if !plain || !select.from_clause.iter().all(|item| is_table(item, kinds)) {
        return None;
    }
    let is_column = |target: &pb::Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(is_column),
        _ => false,
    };
    let columns = select.target_list.iter().enumerate().filter(|(_, t)| is_column(t)).map(|(at, _)| at).collect();
    let compares = select.where_clause.as_deref().is_none_or(compares)
        && select.having_clause.is_none()
        && select.sort_clause.iter().chain(&select.group_clause).chain(&select.distinct_clause).all(orders)
        && select.from_clause.iter().all(joins_by_comparing);
    Some((columns, compares))
}

fn is_column(node: &pb::Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(c)) if c.fields.len() <= 3)
}

/// A key of ORDER BY, GROUP BY or DISTINCT: a column, or nothing at all.
fn orders(node: &pb::Node) -> bool {
    match &node.node {
        None => true,
        Some(NodeEnum::SortBy(by)) => by.node.as_deref().is_some_and(is_column),
        _ => is_column(node),
    }
}

fn joins_by_comparing(item: &pb::Node) -> bool {
    match &item.node {
        Some(NodeEnum::JoinExpr(join)) => {
            join.quals.as_deref().is_none_or(compares)
                && [&join.larg, &join.rarg].into_iter().flatten().all(|side| joins_by_comparing(side))
        }
        _ => true,
    }
}

/// Comparisons of columns and constants, joined by AND, OR and NOT.
fn compares(node: &pb::Node) -> bool {
    match &node.node {
        Some(NodeEnum::BoolExpr(all)) => all.args.iter().all(compares),
        Some(NodeEnum::NullTest(test)) => test.arg.as_deref().is_some_and(is_column),
        Some(NodeEnum::BooleanTest(test)) => test.arg.as_deref().is_some_and(is_column),
        Some(NodeEnum::AExpr(e)) => {
            let name = names::parts(&e.name).unwrap_or_default();
            let one_of = matches!(name.as_slice(), ["=" | "<>" | "<" | "<=" | ">" | ">="]);
            let side = |node: &Option<Box<pb::Node>>| node.as_deref().is_some_and(|n| is_value(n) || is_constant(n));
            e.kind == pb::AExprKind::AexprOp as i32 && one_of && side(&e.lexpr) && side(&e.rexpr)
        }
        _ => is_column(node) || is_constant(node),
    }
}

/// A column, or one as text: every value has a text.
fn is_value(node: &pb::Node) -> bool {
    match &node.node {
        Some(NodeEnum::TypeCast(cast)) => {
            let to = cast.type_name.as_ref().filter(|t| t.array_bounds.is_empty());
            let to = to.and_then(|t| names::parts(&t.names)).unwrap_or_default();
            to.last() == Some(&"text") && cast.arg.as_deref().is_some_and(is_column)
        }
        _ => is_column(node),
    }
}

/// A constant under casts: it raises when the statement is analyzed, or never.
fn is_constant(node: &pb::Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_constant),
        _ => false,
    }
}

/// What in a SELECT may answer differently under another `TimeZone`, `DateStyle` or the like: functions that are not immutable for some
/// types of arguments, and casts of computed values to dates and times. By name alone, so it tells of more than there is.
pub fn session_dependent(select: &Tree, functions: &HashMap<String, Vec<Function>>) -> BTreeSet<String> {
    const TIMES: [&str; 6] = ["date", "time", "timetz", "timestamp", "timestamptz", "interval"];
    let mut found = BTreeSet::new();
    select.each(&mut |tree| match tree {
        Tree::Node("SqlValueFunction", _) => {
            found.insert("current_date or the like".to_owned());
        }
        Tree::Node("FuncCall", _) => {
            let name = tree.field("funcname").and_then(|n| n.strings().pop());
            let unsteady = |name: &&str| functions.get(*name).is_some_and(|f| f.iter().any(|f| f.volatility == 's'));
            found.extend(name.filter(unsteady).map(|name| format!("{name}()")));
        }
        Tree::Node("TypeCast", _) => {
            let constant = matches!(tree.field("arg").and_then(Tree::unwrap_node), Some(("AConst", _)));
            let to = tree.field("type_name").and_then(|t| t.field("names")?.strings().pop());
            found.extend(to.filter(|to| !constant && TIMES.contains(to)).map(|to| format!("a cast to {to}")));
        }
        _ => {}
    });
    found
}

fn is_table(item: &pb::Node, kinds: &Kinds) -> bool {
    match &item.node {
        Some(NodeEnum::RangeVar(relation)) => {
            let name = QualifiedName::new(relation.schemaname.clone(), relation.relname.clone());
            match kinds.get(&name) {
                Some(
                    RelationKind::Table
                    | RelationKind::Partitioned
                    | RelationKind::MaterializedView
                    | RelationKind::Foreign,
                ) => true,
                Some(RelationKind::View) | None => false,
            }
        }
        Some(NodeEnum::JoinExpr(join)) => {
            let side = |node: &Option<Box<pb::Node>>| node.as_deref().is_some_and(|n| is_table(n, kinds));
            side(&join.larg) && side(&join.rarg)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Kinds {
        let known = [("t", RelationKind::Table), ("u", RelationKind::Table), ("v", RelationKind::View)];
        known.into_iter().map(|(name, kind)| (QualifiedName::new("s", name), kind)).collect()
    }

    fn passed(definition: &str) -> Option<Vec<usize>> {
        passed_on(&only_select(definition)?, &kinds()).map(|(p, _)| p.into_iter().collect())
    }

    #[test]
    fn only_columns_of_tables_are_passed_on() {
        assert_eq!(passed("SELECT t.a, 1 / t.b AS c, t.d FROM s.t WHERE t.e"), Some(vec![0, 2]));
        assert_eq!(passed("SELECT t.a, u.b FROM s.t JOIN s.u ON t.a = u.a"), Some(vec![0, 1]));
        assert_eq!(passed("SELECT a, sum(b) AS b FROM s.t GROUP BY a"), Some(vec![0]));
        for doubtful in [
            "SELECT v.a FROM s.v",
            "SELECT x.a FROM (SELECT 1 / t.b AS a FROM s.t) x",
            "SELECT t.a FROM s.t UNION SELECT u.a FROM s.u",
            "WITH w AS (SELECT 1 AS a) SELECT t.a FROM s.t",
            "SELECT f.a FROM unnest(ARRAY[1]) f(a)",
            "VALUES (1)",
            "SELECT",
            "nonsense",
        ] {
            assert!(passed(doubtful).unwrap_or_default().is_empty(), "{doubtful}");
        }
    }

    #[test]
    fn conditions_that_only_compare_never_raise() {
        let compares = |rest: &str| {
            let select = only_select(&format!("SELECT t.a FROM s.t {rest}")).unwrap();
            passed_on(&select, &kinds()).is_some_and(|(_, compares)| compares)
        };
        for rest in [
            "",
            "WHERE t.a = 1 AND (t.b <> 'x'::text OR NOT t.c) AND t.d IS NOT NULL",
            "JOIN s.u ON t.a = u.a WHERE u.b >= t.b ORDER BY t.a",
            "GROUP BY t.a",
            "WHERE t.a::text = 'x'::text",
        ] {
            assert!(compares(rest), "{rest}");
        }
        for rest in [
            "WHERE t.a::integer > 5",
            "WHERE 1 / t.a = 1",
            "WHERE f(t.a)",
            "JOIN s.u ON t.a = u.a::integer",
            "WHERE t.a ~ t.b",
            "WHERE t.a IN (SELECT u.b::integer FROM s.u)",
            "GROUP BY t.a HAVING 1 / min(t.b) > 0",
            "ORDER BY 1 / t.a",
        ] {
            assert!(!compares(rest), "{rest}");
        }
    }

    #[test]
    fn what_depends_on_the_session_is_told() {
        let function = |volatility| Function { volatility, ..Function::default() };
        let functions = HashMap::from([
            ("to_char".to_owned(), vec![function('s'), function('i')]),
            ("lower".to_owned(), vec![function('i')]),
        ]);
        let told = |text: &str| {
            session_dependent(&Tree::of(&only_select(text).unwrap()).unwrap(), &functions)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(told("SELECT lower(a), b::int, '2020-01-01'::date FROM t WHERE c = 1"), Vec::<String>::new());
        assert_eq!(
            told("SELECT a FROM t WHERE b::date > current_date"),
            ["a cast to date", "current_date or the like"]
        );
        assert_eq!(told("SELECT pg_catalog.to_char(a, 'TZ') FROM t"), ["to_char()"]);
    }
}
