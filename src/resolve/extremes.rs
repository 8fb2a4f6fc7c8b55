//! Queries that ask one relation for its least and greatest values alone.
//!
//! In: a SELECT as it was written. Out: the relation and the columns, when the planner could answer from the ends of indexes. It does so only where one
//! relation is read (planagg.c, `preprocess_minmax_aggregates`): a rule with a sub-query must stay a condition of each row there, and not
//! become a join. Not so where conditions look at other columns (`WHERE account = 7`): of few rows a join finds what the rule needs.
//! Must never: decide what may be seen. Either form of a rule leaves the same rows.

use super::twice::mentions;
use crate::catalog::Catalog;
use crate::policy::decision::RelationDecision;
use crate::sql::pb::{FuncCall, Node, SelectStmt, SetOperation};
use crate::sql::{NodeEnum, pb};
use std::collections::BTreeSet;

/// Columns of which a query asks for the least and greatest values, and for nothing else.
#[derive(Debug)]
pub(super) struct Extremes(Vec<String>);

impl Extremes {
    /// Whether an index begins with each of the columns, and they are shown as they are.
    pub(super) fn are_ends(&self, decision: &RelationDecision, catalog: &Catalog) -> bool {
        let indexes = decision.relation(catalog).map_or(&[][..], |relation| &relation.indexes);
        self.0.iter().all(|column| {
            indexes.iter().any(|index| index.columns.as_ref().and_then(|of| of.first()) == Some(column))
                && decision.columns.iter().any(|c| c.name == *column && c.mask.is_none())
        })
    }
}

/// Where the one relation is named of which the query asks for least and greatest values alone.
pub(super) fn extremes_of(select: &SelectStmt) -> Option<(i32, Extremes)> {
    let plain = pb::SetOperation::try_from(select.op) == Ok(SetOperation::SetopNone)
        && select.with_clause.is_none()
        && select.values_lists.is_empty()
        && select.group_clause.is_empty()
        && select.distinct_clause.is_empty()
        && select.window_clause.is_empty()
        && select.having_clause.is_none();
    let [Node { node: Some(NodeEnum::RangeVar(relation)) }] = select.from_clause.as_slice() else { return None };
    let mut found = BTreeSet::new();
    let asked = select.target_list.iter().all(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(|value| extreme(value, &mut found)),
        _ => false,
    });
    let only_these = |condition: &Node| {
        mentions(condition).is_some_and(|names| names.keys().all(|name| found.contains(name.as_str())))
    };
    let ends = select.where_clause.as_deref().is_none_or(only_these);
    let only = plain && asked && ends && !found.is_empty();
    only.then(|| (relation.location, Extremes(found.into_iter().map(str::to_owned).collect())))
}

/// Whether a value is made of constants and the least and greatest values of columns, whose names are `found`.
fn extreme<'s>(value: &'s Node, found: &mut BTreeSet<&'s str>) -> bool {
    let mut each = |nodes: &'s [Node]| nodes.iter().all(|node| extreme(node, found));
    match &value.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(|value| extreme(value, found)),
        Some(NodeEnum::CoalesceExpr(coalesce)) => each(&coalesce.args),
        Some(NodeEnum::AExpr(e)) => [&e.lexpr, &e.rexpr].into_iter().flatten().all(|side| extreme(side, found)),
        Some(NodeEnum::FuncCall(call)) => {
            let column = extreme_of(call);
            found.extend(column);
            column.is_some()
        }
        _ => false,
    }
}

/// The column of which a call gives the least or greatest value.
fn extreme_of(call: &FuncCall) -> Option<&str> {
    let name = call.funcname.last().and_then(|name| name.node.as_ref());
    let named = matches!(name, Some(NodeEnum::String(name)) if ["min", "max"].contains(&name.sval.as_str()));
    let plain = call.agg_filter.is_none() && call.over.is_none() && call.agg_order.is_empty();
    let [Node { node: Some(NodeEnum::ColumnRef(column)) }] = call.args.as_slice() else { return None };
    let Some(NodeEnum::String(column)) = column.fields.last().and_then(|name| name.node.as_ref()) else { return None };
    (named && plain).then_some(column.sval.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> bool {
        let parsed = crate::sql::parse(sql).unwrap();
        match &parsed.statements[0].node {
            NodeEnum::SelectStmt(select) => extremes_of(select).is_some(),
            _ => false,
        }
    }

    #[test]
    fn least_and_greatest_values_of_one_relation() {
        for sql in [
            "SELECT min(a), max(b) FROM t",
            "SELECT coalesce(max(id), 0) + 1 FROM s.t AS x",
            "SELECT min(a), max(b) FROM t WHERE a < 9 AND t.b IS NOT NULL",
            "SELECT pg_catalog.max(x.id)::text FROM t x ORDER BY 1 LIMIT 1",
        ] {
            assert!(found(sql), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for sql in [
            "SELECT 1 FROM t",
            "SELECT a FROM t",
            "SELECT count(*) FROM t",
            "SELECT min(a), count(*) FROM t",
            "SELECT min(a) FROM t WHERE b = 7",
            "SELECT min(a) FROM t WHERE a = (SELECT 7)",
            "SELECT min(a) FROM t, u",
            "SELECT min(a) FROM t JOIN u USING (id)",
            "SELECT min(a) FROM (SELECT a FROM t) t",
            "SELECT min(a) FROM t GROUP BY b",
            "SELECT min(a) FROM t HAVING min(a) > 1",
            "SELECT DISTINCT min(a) FROM t",
            "SELECT min(a) FILTER (WHERE b) FROM t",
            "SELECT min(a) OVER () FROM t",
            "SELECT min(a + 1) FROM t",
            "SELECT a, min(a) FROM t",
            "WITH u AS (SELECT 1) SELECT min(a) FROM t",
            "SELECT min(a) FROM t UNION SELECT 1",
            "VALUES (1)",
        ] {
            assert!(!found(sql), "{sql}");
        }
    }
}
