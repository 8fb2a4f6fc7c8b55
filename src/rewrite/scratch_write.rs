//! Pass *temporaries* for statements that write to a session's own temporary table: the table is named in `pg_temp`, what is read
//! besides gets its policy view.
//!
//! In: the statement, its [`crate::resolve::Resolved`] meaning. Out: the statement, rewritten in place. Must never: rewrite a statement
//! whose target is not a temporary table.

use super::{Rewriter, own_schema};
use crate::error::Refusal;
use crate::sql::{NodeEnum, pb};

impl Rewriter<'_> {
    /// Rewrites a statement that writes to a temporary table; false when it writes to something else.
    pub(super) fn write_temporary(&self, node: &mut NodeEnum) -> Result<bool, Refusal> {
        let written = crate::resolve::written(node).map(|r| r.location);
        if !written.is_some_and(|location| self.resolved.temporaries.contains(&location)) {
            return Ok(false);
        }
        match node {
            NodeEnum::InsertStmt(insert) => {
                self.with(&mut insert.with_clause)?;
                self.columns(&mut insert.cols)?;
                match insert.select_stmt.as_deref_mut().and_then(|n| n.node.as_mut()) {
                    Some(NodeEnum::SelectStmt(select)) => self.select(select)?,
                    Some(_) => return Err(Refusal::internal("an INSERT from something unexpected")),
                    None => {}
                }
                if let Some(conflict) = insert.on_conflict_clause.as_deref_mut() {
                    if let Some(infer) = conflict.infer.as_deref_mut() {
                        infer.index_elems.iter_mut().try_for_each(|n| self.element(n))?;
                        self.boxed(&mut infer.where_clause)?;
                    }
                    self.set(&mut conflict.target_list)?;
                    self.boxed(&mut conflict.where_clause)?;
                }
                self.returned(&mut insert.returning_clause)?;
                insert.relation.iter_mut().for_each(own_schema);
            }
            NodeEnum::UpdateStmt(update) => {
                self.with(&mut update.with_clause)?;
                self.set(&mut update.target_list)?;
                update.from_clause.iter_mut().try_for_each(|n| self.in_from(n))?;
                self.boxed(&mut update.where_clause)?;
                self.returned(&mut update.returning_clause)?;
                update.relation.iter_mut().for_each(own_schema);
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(&mut delete.with_clause)?;
                delete.using_clause.iter_mut().try_for_each(|n| self.in_from(n))?;
                self.boxed(&mut delete.where_clause)?;
                self.returned(&mut delete.returning_clause)?;
                delete.relation.iter_mut().for_each(own_schema);
            }
            NodeEnum::MergeStmt(merge) => {
                self.with(&mut merge.with_clause)?;
                if let Some(source) = merge.source_relation.as_deref_mut() {
                    self.in_from(source)?;
                }
                self.boxed(&mut merge.join_condition)?;
                for node in &mut merge.merge_when_clauses {
                    let Some(NodeEnum::MergeWhenClause(when)) = &mut node.node else {
                        return Err(Refusal::internal("a MERGE holds something else than WHEN"));
                    };
                    self.boxed(&mut when.condition)?;
                    self.set(&mut when.target_list)?;
                    when.values.iter_mut().try_for_each(|n| self.expression(n))?;
                }
                merge.relation.iter_mut().for_each(own_schema);
            }
            _ => return Err(Refusal::internal("a statement that writes of another kind")),
        }
        Ok(true)
    }

    /// Brackets and fields of columns that are written.
    fn columns(&self, list: &mut [pb::Node]) -> Result<(), Refusal> {
        for node in list {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(Refusal::internal("a column list holds something else"));
            };
            target.indirection.iter_mut().try_for_each(|n| self.expression(n))?;
        }
        Ok(())
    }

    fn set(&self, list: &mut [pb::Node]) -> Result<(), Refusal> {
        self.columns(list)?;
        for node in list {
            if let Some(NodeEnum::ResTarget(target)) = &mut node.node {
                self.boxed(&mut target.val)?;
            }
        }
        Ok(())
    }

    fn returned(&self, clause: &mut Option<pb::ReturningClause>) -> Result<(), Refusal> {
        clause.iter_mut().flat_map(|c| &mut c.exprs).try_for_each(|n| self.target(n))
    }
}
