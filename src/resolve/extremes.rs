//! Queries that ask one relation for its least and greatest values alone.
//!
//! In: a SELECT as it was written. Out: the relation, when the planner could answer from the ends of an index. It does so only where one
//! relation is read (planagg.c, `preprocess_minmax_aggregates`): a rule with a sub-query must stay a condition of each row there, and not
//! become a join. Must never: decide what may be seen. Either form of a rule leaves the same rows.

use crate::sql::pb::{FuncCall, Node, SelectStmt, SetOperation};
use crate::sql::{NodeEnum, pb};

/// Where the one relation is named whose least and greatest values are all that the query asks for.
pub(super) fn extremes_of(select: &SelectStmt) -> Option<i32> {
    let plain = pb::SetOperation::try_from(select.op) == Ok(SetOperation::SetopNone)
        && select.with_clause.is_none()
        && select.values_lists.is_empty()
        && select.group_clause.is_empty()
        && select.distinct_clause.is_empty()
        && select.window_clause.is_empty()
        && select.having_clause.is_none();
    let [Node { node: Some(NodeEnum::RangeVar(relation)) }] = select.from_clause.as_slice() else { return None };
    let mut found = false;
    let asked = select.target_list.iter().all(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(|value| extreme(value, &mut found)),
        _ => false,
    });
    (plain && asked && found).then_some(relation.location)
}

/// Whether a value is made of least and greatest values and constants.
fn extreme(value: &Node, found: &mut bool) -> bool {
    let mut each = |nodes: &[Node]| nodes.iter().all(|node| extreme(node, found));
    match &value.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(|value| extreme(value, found)),
        Some(NodeEnum::CoalesceExpr(coalesce)) => each(&coalesce.args),
        Some(NodeEnum::AExpr(e)) => [&e.lexpr, &e.rexpr].into_iter().flatten().all(|side| extreme(side, found)),
        Some(NodeEnum::FuncCall(call)) => {
            let is = is_extreme(call);
            *found |= is;
            is
        }
        _ => false,
    }
}

fn is_extreme(call: &FuncCall) -> bool {
    let name = call.funcname.last().and_then(|name| name.node.as_ref());
    let named = matches!(name, Some(NodeEnum::String(name)) if ["min", "max"].contains(&name.sval.as_str()));
    let of_column = matches!(call.args.as_slice(), [Node { node: Some(NodeEnum::ColumnRef(_)) }]);
    named && of_column && call.agg_filter.is_none() && call.over.is_none() && call.agg_order.is_empty()
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
            "SELECT coalesce(max(id), 0) + 1 FROM s.t AS x WHERE a = 7",
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
