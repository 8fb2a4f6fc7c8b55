//! Pass *temporaries*: the session's own temporary tables are named in `pg_temp`, in definitions too.
//!
//! In: a statement that makes or changes a temporary table, its [`Resolved`] meaning. Out: the statement with the table's schema written,
//! and the other passes applied to its expressions and types. Must never: leave a name to the search path.

use super::Rewriter;
use crate::catalog::scratch::SCHEMA;
use crate::error::Refusal;
use crate::policy::kept::ByDecision;
use crate::resolve::Resolved;
use crate::sql::{NodeEnum, pb};

/// Names a relation in `pg_temp`.
pub fn own_schema(relation: &mut pb::RangeVar) {
    relation.catalogname.clear();
    SCHEMA.clone_into(&mut relation.schemaname);
}

/// Applies the passes to CREATE TABLE.
///
/// # Errors
/// As [`super::rewrite`].
pub fn rewrite_table(
    create: &mut pb::CreateStmt,
    resolved: &Resolved,
    bodies: &ByDecision<super::Body>,
) -> Result<(), Refusal> {
    let rewriter = Rewriter { resolved, bodies, stand_ins: false };
    if let Some(relation) = &mut create.relation {
        own_schema(relation);
        "t".clone_into(&mut relation.relpersistence);
    }
    create.table_elts.iter_mut().try_for_each(|n| rewriter.element(n))
}

/// Applies the passes to CREATE INDEX.
///
/// # Errors
/// As [`super::rewrite`].
pub fn rewrite_index(
    index: &mut pb::IndexStmt,
    resolved: &Resolved,
    bodies: &ByDecision<super::Body>,
) -> Result<(), Refusal> {
    let rewriter = Rewriter { resolved, bodies, stand_ins: false };
    index.relation.iter_mut().for_each(own_schema);
    index.index_params.iter_mut().try_for_each(|n| rewriter.element(n))?;
    rewriter.boxed(&mut index.where_clause)
}

/// Applies the passes to ALTER TABLE.
///
/// # Errors
/// As [`super::rewrite`].
pub fn rewrite_alter(
    alter: &mut pb::AlterTableStmt,
    resolved: &Resolved,
    bodies: &ByDecision<super::Body>,
) -> Result<(), Refusal> {
    let rewriter = Rewriter { resolved, bodies, stand_ins: false };
    alter.relation.iter_mut().for_each(own_schema);
    for node in &mut alter.cmds {
        if let Some(NodeEnum::AlterTableCmd(command)) = &mut node.node
            && let Some(def) = command.def.as_deref_mut()
        {
            rewriter.element(def)?;
        }
    }
    Ok(())
}

impl Rewriter<'_> {
    /// A part of a definition.
    pub(super) fn element(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        match &mut node.node {
            Some(NodeEnum::ColumnDef(column)) => {
                if let Some(name) = &mut column.type_name {
                    self.type_name(name);
                }
                column.constraints.iter_mut().try_for_each(|n| self.element(n))
            }
            Some(NodeEnum::Constraint(constraint)) => self.boxed(&mut constraint.raw_expr),
            Some(NodeEnum::IndexElem(element)) => self.boxed(&mut element.expr),
            Some(NodeEnum::TableLikeClause(like)) => {
                like.relation.iter_mut().for_each(own_schema);
                Ok(())
            }
            _ => Err(Refusal::internal("a part of a definition that was not resolved")),
        }
    }
}
