//! Masked columns that a condition looks at more than once: worth computing once a row, below a barrier.
//!
//! In: a SELECT as it was written and the relation that is all it reads. Out: names of columns. Must never: decide what may be seen. A barrier
//! shows the same rows, and holds back more.
//!
//! Of a flat view the planner puts the mask wherever the column is mentioned; `x BETWEEN a AND b` is two conditions (transformAExprBetween).

use crate::policy::decision::{ColumnDecision, RelationDecision};
use crate::sql::pb::{AExprKind, Node, SelectStmt};
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, pb};
use std::collections::{BTreeMap, BTreeSet};

/// Where the one relation of a query is named, when all of its rows are asked for that meet a condition: with LIMIT it may be an index that gives
/// the order, which a barrier would hide.
pub(super) fn only_relation(select: &SelectStmt) -> Option<i32> {
    let [Node { node: Some(NodeEnum::RangeVar(relation)) }] = select.from_clause.as_slice() else { return None };
    let whole = select.limit_count.is_none() && select.limit_offset.is_none() && select.where_clause.is_some();
    whole.then_some(relation.location)
}

/// Whether a mask is an expression over the row that never raises: others are computed no earlier than they are asked for.
pub(super) fn is_computed(column: &ColumnDecision) -> bool {
    column.mask.as_ref().is_some_and(|mask| !mask.constant && mask.total)
}

/// Names that a condition without sub-selects mentions more than once, of columns with computed masks; none unless as many of its conjuncts look at
/// no such column as were `copied` below the barrier that would be: an index may serve them.
pub(super) fn twice(condition: &pb::Node, decision: &RelationDecision, copied: usize) -> BTreeSet<String> {
    let computed: Vec<&str> = decision.columns.iter().filter(|c| is_computed(c)).map(|c| c.name.as_str()).collect();
    let mut all = BTreeMap::new();
    let mut plain = 0_usize;
    if computed.is_empty() || !each_conjunct(condition, &computed, &mut all, &mut plain) || plain != copied {
        return BTreeSet::new();
    }
    let twice = |name: &&&str| all.get(**name).is_some_and(|n| *n > 1);
    computed.iter().filter(twice).map(|name| (*name).to_owned()).collect()
}

fn each_conjunct(condition: &pb::Node, computed: &[&str], all: &mut BTreeMap<String, u32>, plain: &mut usize) -> bool {
    if let Some(NodeEnum::BoolExpr(and)) = &condition.node
        && and.boolop == pb::BoolExprType::AndExpr as i32
    {
        return and.args.iter().all(|part| each_conjunct(part, computed, all, plain));
    }
    let Some(counts) = mentions(condition) else { return false };
    if !computed.iter().any(|name| counts.contains_key(*name)) {
        *plain = plain.saturating_add(1);
    }
    for (name, n) in counts {
        let mentions = all.entry(name).or_default();
        *mentions = mentions.saturating_add(n);
    }
    true
}

/// How often a condition mentions names of columns; `None` when there is a sub-select.
pub(super) fn mentions(condition: &pb::Node) -> Option<BTreeMap<String, u32>> {
    let mut counts = BTreeMap::new();
    Tree::of(condition).is_ok_and(|tree| count(&tree, 1, &mut counts)).then_some(counts)
}

/// Adds up mentions; false when there is a sub-select.
fn count(tree: &Tree, each: u32, counts: &mut BTreeMap<String, u32>) -> bool {
    match tree {
        Tree::Node("SubLink", _) => false,
        Tree::Node("ColumnRef", _) => {
            if let Some(name) = tree.field("fields").and_then(|f| f.strings().last().copied().map(str::to_owned)) {
                let mentions = counts.entry(name).or_default();
                *mentions = mentions.saturating_add(each);
            }
            true
        }
        Tree::Node(kind, fields) => fields.iter().all(|(name, value)| {
            let of_both = *kind == "AExpr" && *name == "lexpr" && is_between(tree.field("kind"));
            count(value, if of_both { each.saturating_mul(2) } else { each }, counts)
        }),
        Tree::Variant(_, inner) => count(inner, each, counts),
        Tree::List(items) => items.iter().all(|item| count(item, each, counts)),
        Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => true,
    }
}

fn is_between(kind: Option<&Tree>) -> bool {
    [AExprKind::AexprBetween, AExprKind::AexprNotBetween].into_iter().any(|k| kind == Some(&Tree::Int(k as i64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(condition: &str) -> Option<BTreeMap<String, u32>> {
        mentions(&crate::sql::parse_expression(condition).unwrap())
    }

    #[test]
    fn mentions_are_counted_as_often_as_the_planner_has_them() {
        let seen =
            counts("t.a BETWEEN b AND c AND (a > 1 OR lower(b) = 'a') AND d NOT BETWEEN 1 AND 2 AND e IN (1, 2)")
                .unwrap();
        let expected = [("a", 3), ("b", 2), ("c", 1), ("d", 2), ("e", 1)];
        assert_eq!(seen, expected.into_iter().map(|(name, n)| (name.to_owned(), n)).collect());
        assert_eq!(counts("a > 1 AND EXISTS (SELECT FROM t WHERE a = 1)"), None);
    }

    #[test]
    fn one_relation_without_a_limit() {
        let only = |sql: &str| match &crate::sql::parse(sql).unwrap().statements[0].node {
            NodeEnum::SelectStmt(select) => only_relation(select).is_some(),
            _ => false,
        };
        assert!(only("SELECT a FROM s.t AS x WHERE a > 1 ORDER BY b"));
        for sql in [
            "SELECT a FROM t",
            "SELECT a FROM t WHERE a > 1 LIMIT 3",
            "SELECT a FROM t WHERE a > 1 OFFSET 3",
            "SELECT a FROM t, u WHERE a > 1",
            "SELECT a FROM t JOIN u USING (a) WHERE a > 1",
            "SELECT a FROM (SELECT a FROM t) t WHERE a > 1",
        ] {
            assert!(!only(sql), "{sql}");
        }
    }
}
