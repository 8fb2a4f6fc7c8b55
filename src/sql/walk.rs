//! The exhaustive walk over expressions and query parts of a SELECT.
//!
//! In: a node. Out: its direct children, to whoever asks. Must never: pass over a kind it does not know: that is a refusal.

use super::{NodeEnum, pb};
use crate::error::Refusal;

/// What a visitor gets for each child.
pub type Visit<'v> = &'v mut dyn FnMut(&mut pb::Node) -> Result<(), Refusal>;

/// Calls `visit` for every direct child expression of an expression node. Sub-selects ([`NodeEnum::SelectStmt`]) are handed to
/// `visit` as nodes too; the walk itself does not look into FROM.
///
/// INVARIANT(total-match): kinds that may stand in a SELECT are listed; every other is refused.
pub fn children(node: &mut NodeEnum, visit: Visit<'_>) -> Result<(), Refusal> {
    use NodeEnum as N;
    match node {
        N::ColumnRef(_) | N::ParamRef(_) | N::AConst(_) | N::SqlvalueFunction(_) | N::String(_) | N::Integer(_) => {
            Ok(())
        }
        N::Float(_) | N::Boolean(_) | N::BitString(_) | N::AStar(_) | N::SetToDefault(_) => Ok(()),
        N::MultiAssignRef(e) => boxed(&mut e.source, visit),
        N::AExpr(e) => {
            boxed(&mut e.lexpr, visit)?;
            boxed(&mut e.rexpr, visit)
        }
        N::BoolExpr(e) => list(&mut e.args, visit),
        N::NullTest(e) => boxed(&mut e.arg, visit),
        N::BooleanTest(e) => boxed(&mut e.arg, visit),
        N::FuncCall(e) => {
            list(&mut e.args, visit)?;
            list(&mut e.agg_order, visit)?;
            boxed(&mut e.agg_filter, visit)?;
            if let Some(over) = &mut e.over {
                window(over, visit)?;
            }
            Ok(())
        }
        N::WindowDef(w) => window(w, visit),
        N::TypeCast(e) => boxed(&mut e.arg, visit),
        N::CollateClause(e) => boxed(&mut e.arg, visit),
        N::SubLink(e) => {
            boxed(&mut e.testexpr, visit)?;
            boxed(&mut e.subselect, visit)
        }
        N::CaseExpr(e) => {
            boxed(&mut e.arg, visit)?;
            list(&mut e.args, visit)?;
            boxed(&mut e.defresult, visit)
        }
        N::CaseWhen(e) => {
            boxed(&mut e.expr, visit)?;
            boxed(&mut e.result, visit)
        }
        N::CoalesceExpr(e) => list(&mut e.args, visit),
        N::MinMaxExpr(e) => list(&mut e.args, visit),
        N::XmlExpr(e) => {
            list(&mut e.named_args, visit)?;
            list(&mut e.args, visit)
        }
        N::XmlSerialize(e) => boxed(&mut e.expr, visit),
        N::AArrayExpr(e) => list(&mut e.elements, visit),
        N::RowExpr(e) => list(&mut e.args, visit),
        N::List(e) => list(&mut e.items, visit),
        N::AIndirection(e) => {
            boxed(&mut e.arg, visit)?;
            list(&mut e.indirection, visit)
        }
        N::AIndices(e) => {
            boxed(&mut e.lidx, visit)?;
            boxed(&mut e.uidx, visit)
        }
        N::GroupingFunc(e) => list(&mut e.args, visit),
        N::GroupingSet(e) => list(&mut e.content, visit),
        N::NamedArgExpr(e) => boxed(&mut e.arg, visit),
        N::SortBy(e) => boxed(&mut e.node, visit),
        N::ResTarget(e) => {
            list(&mut e.indirection, visit)?;
            boxed(&mut e.val, visit)
        }
        N::JsonIsPredicate(e) => boxed(&mut e.expr, visit),
        // Handed over whole by the parent; its parts belong to whoever keeps scopes.
        N::SelectStmt(_) => Err(Refusal::internal("a sub-select was walked as an expression")),
        other => Err(unsupported(other)),
    }
}

fn window(w: &mut pb::WindowDef, visit: Visit<'_>) -> Result<(), Refusal> {
    list(&mut w.partition_clause, visit)?;
    list(&mut w.order_clause, visit)?;
    boxed(&mut w.start_offset, visit)?;
    boxed(&mut w.end_offset, visit)
}

/// Visits each node of a list.
pub fn list(nodes: &mut [pb::Node], visit: Visit<'_>) -> Result<(), Refusal> {
    nodes.iter_mut().try_for_each(visit)
}

/// Visits an optional boxed node.
pub fn boxed(node: &mut Option<Box<pb::Node>>, visit: Visit<'_>) -> Result<(), Refusal> {
    node.as_deref_mut().map_or(Ok(()), visit)
}

/// The refusal for a node kind that is not supported where it stands.
pub fn unsupported(node: &NodeEnum) -> Refusal {
    Refusal::unsupported(format!("{} is not supported", super::names::kind_name(node)))
}
