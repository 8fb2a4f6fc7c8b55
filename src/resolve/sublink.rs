//! Sub-selects in expressions.
//!
//! In: a sub-select where a value stands. Out: its [`Facts`]: what it gives, whether running it may raise, whose rows it looks at. Must never:
//! say of one that may give a second row that it does not raise.

use super::Resolver;
use super::alias::is_alias;
use super::expression::{Facts, Type, no_conflict, oid};
use super::scope::Scope;
use crate::error::Refusal;
use crate::sql::{NodeEnum, names, pb};
use crate::types::Oid;

impl Resolver<'_, '_> {
    /// Sub-selects in expressions.
    pub(super) fn sublink(&mut self, link: &mut pb::SubLink, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        use pb::SubLinkType as S;
        let test = self.optional(&mut link.testexpr, scope)?;
        let operator = names::parts(&link.oper_name).unwrap_or_default();
        let operator = match operator.as_slice() {
            [] => "=",
            [one] | ["pg_catalog", one] => *one,
            _ => return Err(Refusal::unsupported("operators outside pg_catalog are not supported").at(link.location)),
        };
        let Some(NodeEnum::SelectStmt(select)) = link.subselect.as_deref_mut().and_then(|n| n.node.as_mut()) else {
            return Err(Refusal::unsupported("only SELECT may stand in a sub-query").at(link.location));
        };
        let tested = link.testexpr.as_deref().map_or(Oid(0), |t| self.collation_at(t, scope));
        let aggregate = aggregates_all(select);
        let before = std::mem::take(&mut self.raises);
        let output = self.select(select, Some(scope), None)?;
        // An aggregate of columns around the query is of a level around it (PostgreSQL manual, 4.2.7).
        let inside = |c: &super::scope::Column| c.uses.iter().any(|u| output.uses.contains(u));
        let one_row = match aggregate {
            Aggregate::OfRows => true,
            Aggregate::OfColumns => output.columns.as_ref().is_some_and(|columns| columns.iter().all(inside)),
            Aggregate::Nothing => false,
        };
        let computes = output.uses.iter().any(|u| self.resolved.relations.get(u).is_some_and(|r| self.may_raise(r)));
        let raised = std::mem::replace(&mut self.raises, before) || computes;
        self.raises |= raised;
        if let Some([one]) = output.columns.as_deref() {
            no_conflict(tested, self.collation_of(one), link.location)?;
        }
        let mut touches = output.outer_touches;
        let kind = S::try_from(link.sub_link_type).unwrap_or_default();
        let (total, type_oid) = match (kind, &test) {
            (S::ExistsSublink, _) => (output.tame, Type::Known(oid::BOOL)),
            (S::AnySublink, Some(test)) => {
                let column = output.columns.as_ref().and_then(|c| match c.as_slice() {
                    [one] => Some(one),
                    _ => None,
                });
                let total = column.is_some_and(|c| {
                    c.total
                        && self.operator_total(operator, test.type_oid, c.type_oid.map_or(Type::Unclear, Type::Known))
                });
                // Turned into a semi-join, the comparison also meets the rows of the sub-query.
                touches.extend(output.uses.iter().copied());
                (output.tame && total, Type::Known(oid::BOOL))
            }
            (S::AllSublink, _) => (false, Type::Known(oid::BOOL)),
            (S::ArraySublink, _) => {
                let mut kinds = output.columns.iter().flatten().filter_map(|c| c.type_oid);
                if kinds.any(is_alias) {
                    return Err(Refusal::unsupported("arrays of object identifiers are not supported")
                        .with_hint("Cast the elements to oid or text.")
                        .at(link.location));
                }
                (false, Type::Unclear)
            }
            (S::ExprSublink, _) => {
                let column = output.columns.as_ref().and_then(|c| c.first()).and_then(|c| c.type_oid);
                (false, column.map_or(Type::Unclear, Type::Known))
            }
            _ => (false, Type::Unclear),
        };
        let shown = kind != S::ExistsSublink
            && match &output.columns {
                Some(columns) => columns.iter().any(|c| c.masked),
                None => self.masks_any(&output.uses),
            };
        // Whether there is a row, or the value of one, of a query that raises nothing and gives no second one.
        let value = !raised && (kind == S::ExistsSublink || kind == S::ExprSublink && one_row);
        if let Some(test) = &test {
            touches.extend(test.touches.iter().copied());
        }
        Ok(Facts {
            type_oid,
            total: total && test.as_ref().is_none_or(|t| t.total),
            touches,
            aggregates: test.as_ref().is_some_and(|t| t.aggregates),
            masked: shown || test.as_ref().is_some_and(|t| t.masked),
            loose: !(total || value) || test.is_some_and(|t| t.loose),
            pushable: false,
            near: None,
        })
    }
}

/// What a query makes one row of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    /// `count(*)`.
    OfRows,
    /// An aggregate of an expression.
    OfColumns,
    /// It may give several.
    Nothing,
}

/// Whether a query is one aggregate, without GROUP BY and what makes sets of rows.
fn aggregates_all(select: &pb::SelectStmt) -> Aggregate {
    let plain = select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.larg.is_none()
        && select.values_lists.is_empty();
    let [target] = select.target_list.as_slice() else { return Aggregate::Nothing };
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return Aggregate::Nothing };
    let Some(NodeEnum::FuncCall(call)) = target.val.as_deref().and_then(|v| v.node.as_ref()) else {
        return Aggregate::Nothing;
    };
    let name = names::parts(&call.funcname).and_then(|p| p.last().copied()).unwrap_or_default();
    if !plain || call.over.is_some() || !ONE_ROW.contains(&name) {
        return Aggregate::Nothing;
    }
    // A filter may be of another level than what it filters.
    match (call.agg_star, call.agg_filter.is_some()) {
        (_, true) => Aggregate::Nothing,
        (true, false) => Aggregate::OfRows,
        (false, false) => Aggregate::OfColumns,
    }
}

/// Aggregates that [`aggregates_all`] knows.
const ONE_ROW: [&str; 5] = ["count", "min", "max", "sum", "avg"];
