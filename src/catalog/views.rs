//! What a warehouse view computes: a column that its definition only passes on from a table can never raise when it is read.
//!
//! In: the text of a view's definition (`pg_get_viewdef`). Out: which of its columns are passed on. Must never: call a column passed on
//! when in doubt.

use super::{Relation, RelationKind};
use crate::sql::{self, NodeEnum, pb};
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeSet, HashMap};

/// The columns of `view` that its definition computes, or takes from something else than a table.
pub(super) fn computed(view: &Relation, definition: &str, relations: &HashMap<Oid, Relation>) -> BTreeSet<String> {
    let kinds: HashMap<&QualifiedName, RelationKind> = relations.values().map(|r| (&r.name, r.kind)).collect();
    let passed = passed_on(definition, &|name| kinds.get(name).copied()).unwrap_or_default();
    let names = view.columns.iter().enumerate();
    names.filter(|(at, _)| !passed.contains(at)).map(|(_, column)| column.name.clone()).collect()
}

/// Positions in the target list that are columns of tables; `None`: the definition is not understood.
fn passed_on(definition: &str, kind: &dyn Fn(&QualifiedName) -> Option<RelationKind>) -> Option<BTreeSet<usize>> {
    let mut statements = sql::parse(definition).ok()?.statements.into_iter();
    let (Some(NodeEnum::SelectStmt(select)), None) = (statements.next().map(|s| s.node), statements.next()) else {
        return None;
    };
    let plain = select.larg.is_none() && select.with_clause.is_none() && select.values_lists.is_empty();
    if !plain || !select.from_clause.iter().all(|item| is_table(item, kind)) {
        return None;
    }
    let is_column = |target: &pb::Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => {
            matches!(target.val.as_deref().and_then(|v| v.node.as_ref()), Some(NodeEnum::ColumnRef(c)) if c.fields.len() <= 3)
        }
        _ => false,
    };
    Some(select.target_list.iter().enumerate().filter(|(_, t)| is_column(t)).map(|(at, _)| at).collect())
}

fn is_table(item: &pb::Node, kind: &dyn Fn(&QualifiedName) -> Option<RelationKind>) -> bool {
    match &item.node {
        Some(NodeEnum::RangeVar(relation)) => {
            let name = QualifiedName::new(relation.schemaname.clone(), relation.relname.clone());
            match kind(&name) {
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
            let side = |node: &Option<Box<pb::Node>>| node.as_deref().is_some_and(|n| is_table(n, kind));
            side(&join.larg) && side(&join.rarg)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(definition: &str) -> Option<Vec<usize>> {
        let kind = |name: &QualifiedName| match name.name.as_str() {
            "t" | "u" => Some(RelationKind::Table),
            "v" => Some(RelationKind::View),
            _ => None,
        };
        passed_on(definition, &kind).map(|p| p.into_iter().collect())
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
}
