//! Statements that run code of the warehouse which finds unqualified names in the session, while the session has temporary tables.
//!
//! In: what a statement reads, writes and calls. Out: nothing, or a refusal. Must never: let a caller's temporary table be taken by a view's
//! function, a trigger or a policy for the table that its author meant: he would choose what it reads, and read what it writes.

use super::statement::Kind;
use crate::catalog::functions::FIRST_NORMAL_OID;
use crate::error::Refusal;
use crate::policy::decision::RelationDecision;
use crate::resolve::Resolved;
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, parse_expression};
use crate::types::QualifiedName;

impl Kind<'_> {
    /// Refuses what would find the session's temporary tables by names that were not meant for them.
    ///
    /// # Errors
    /// 0A000.
    pub(super) fn keeps_names(&self, resolved: &Resolved) -> Result<(), Refusal> {
        let catalog = &self.inputs.world.catalog;
        let makes = match &self.statement.node {
            NodeEnum::CreateTableAsStmt(_) => true,
            NodeEnum::SelectStmt(select) => select.into_clause.is_some(),
            _ => false,
        };
        if catalog.open_functions.is_empty() || (self.inputs.session.scratch.is_empty() && !makes) {
            return Ok(());
        }
        let mut reads = resolved.relations.values().map(|r| r.permitted.decision());
        if let Some(decision) = reads.find(|d| self.reads_open(d)) {
            return Err(refused(&decision.logical.name));
        }
        for target in resolved.targets.values() {
            let decision = target.permitted.decision();
            let reached = self.reached(decision);
            let open = reached.iter().any(|oid| catalog.relation_of(*oid).is_some_and(|r| r.open.written));
            if open || self.reads_open(decision) {
                return Err(refused(&decision.logical.name));
            }
        }
        match resolved.functions.values().find(|name| catalog.open_functions.contains(name)) {
            Some(name) => Err(refused(&name.name)),
            None => Ok(()),
        }
    }

    fn reads_open(&self, decision: &RelationDecision) -> bool {
        let catalog = &self.inputs.world.catalog;
        let own = decision.query.is_none() && decision.relation(catalog).is_some_and(|r| r.open.read);
        let query = decision.query.as_ref().map(|query| format!("({})", query.sql));
        let rows = decision.rows.iter().map(|row| row.sql.as_ref());
        let masks = decision.columns.iter().filter_map(|c| c.mask.as_ref()).map(|mask| mask.sql.as_ref());
        own || query.as_deref().into_iter().chain(rows).chain(masks).any(|sql| self.mentions_open(sql))
    }

    /// Whether an expression of an administrator's runs such code; one that cannot be read is taken to.
    fn mentions_open(&self, sql: &str) -> bool {
        let catalog = &self.inputs.world.catalog;
        let Some(tree) = parse_expression(sql).ok().and_then(|node| Tree::of(&node).ok()) else { return true };
        let mut found = false;
        tree.each(&mut |part| {
            let strings = |field| part.field(field).map(Tree::strings).unwrap_or_default();
            match part {
                Tree::Node("RangeVar", _) => {
                    let text = |field| part.field(field).and_then(Tree::as_text).unwrap_or_default();
                    let name = QualifiedName::new(text("schemaname"), text("relname"));
                    found |= catalog.relations.get(&name).is_some_and(|r| r.open.read);
                }
                Tree::Node("FuncCall", _) => {
                    if let Some(name) = outside(strings("funcname")) {
                        found |= catalog.open_functions.contains(&name);
                    }
                }
                // Operators, casts and checks of domains call functions without naming them.
                Tree::Node("AExpr" | "SubLink" | "SortBy", _) => {
                    found |= ["name", "oper_name", "use_op"].iter().any(|field| outside(strings(field)).is_some());
                }
                Tree::Node("TypeName", _) => {
                    if let Some(name) = outside(strings("names")) {
                        let type_ = catalog.type_names.get(&name).and_then(|oid| catalog.types.get(oid));
                        found |= type_.is_none_or(|t| t.kind != 'e' && t.oid.0 >= FIRST_NORMAL_OID);
                    }
                }
                _ => {}
            }
        });
        found
    }
}

/// A name with a schema other than the server's own; a database may stand before it.
fn outside(name: Vec<&str>) -> Option<QualifiedName> {
    match name.as_slice() {
        [.., schema, name] if *schema != "pg_catalog" => Some(QualifiedName::new(*schema, *name)),
        _ => None,
    }
}

fn refused(name: &str) -> Refusal {
    Refusal::unsupported(format!(
        "\"{name}\" cannot be used while the session has temporary tables: code of the warehouse would look for names among them"
    ))
    .with_hint(
        "Drop them (DISCARD TEMP), or use a session without. An administrator can end the function's search_path with pg_temp.",
    )
}
