//! What may be written at all: which relations, and which of their columns without giving the caller a say in how others are masked.
//!
//! In: decisions on a relation and its columns, the columns a statement assigns. Out: a [`Permitted`] that may be written, or a refusal.
//! Must never: permit without WRITE, or let a caller choose how a value he may not see is masked or counted.

use super::expression::is_alias;
use super::write::Assigned;
use crate::catalog::visibility::is_system;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::{COMPANION_PREFIX, ColumnDecision, ROW_ALIAS, RelationDecision};
use crate::policy::permit::Permitted;
use crate::sql::tree::Tree;
use crate::sql::{parse_expression, pb};
use std::collections::BTreeSet;

impl super::Sight<'_> {
    /// Resolves a relation name as one that is written.
    ///
    /// # Errors
    /// As for reading it; 42501 without WRITE; 0A000 for what is no table.
    pub fn writable(&self, relation: &pb::RangeVar) -> Result<Permitted, Refusal> {
        let permitted = self.relation(relation)?;
        let decision = permitted.decision();
        let name = &relation.relname;
        if is_system(&decision.remote.schema) || !decision.write {
            return Err(Refusal::denied(format!("permission denied for table {name}"))
                .with_hint("Writing needs a grant with `accessGrant: WRITE`.")
                .at(relation.location));
        }
        let no_table = |what: &str| {
            Err(Refusal::unsupported(format!("cannot write to \"{name}\": it is {what}"))
                .with_hint("Write to the tables behind it.")
                .at(relation.location))
        };
        if decision.query.is_some() {
            return no_table("a registered query");
        }
        let Some(remote) = decision.relation(self.catalog) else {
            return Err(Refusal::internal("a relation that is not in the catalog"));
        };
        match remote.kind {
            RelationKind::View => return no_table("a view"),
            RelationKind::MaterializedView => return no_table("a materialized view"),
            RelationKind::Table | RelationKind::Partitioned | RelationKind::Foreign => {}
        }
        if remote.rules {
            return no_table("a table with rewrite rules");
        }
        Ok(permitted)
    }
}

/// The columns that the row rules look at.
pub(super) fn looked_at(decision: &RelationDecision) -> Option<BTreeSet<String>> {
    let rules = decision.rows.iter().map(|row| columns_in(&row.sql));
    Some(rules.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The columns that an expression of a policy mentions; `None` when it looks at whole rows.
fn columns_in(sql: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut plain = true;
    Tree::of(&parse_expression(sql).ok()?).ok()?.each(&mut |t| {
        if let Tree::Node("ColumnRef", _) = t {
            match t.field("fields").map(Tree::strings).unwrap_or_default().as_slice() {
                [ROW_ALIAS, name] => {
                    names.insert((*name).to_owned());
                }
                [ROW_ALIAS] => plain = false,
                _ => {}
            }
        }
    });
    plain.then_some(names)
}

/// Refuses to change a column that the mask of another looks at (its condition, the key of its noise) while that other keeps its value: the
/// caller would choose how the value is masked.
pub(super) fn keeps_masks(decision: &RelationDecision, assigned: &[Assigned]) -> Result<(), Refusal> {
    let is_assigned = |name: &str| assigned.iter().any(|a| a.name == name);
    for column in decision.columns.iter().filter(|c| !is_assigned(&c.name)) {
        let Some(mask) = &column.mask else { continue };
        let looked_at = columns_in(&mask.sql);
        let changed = assigned.iter().find(|a| looked_at.as_ref().is_none_or(|names| names.contains(&a.name)));
        if let Some(changed) = changed {
            let text =
                format!("cannot change column \"{}\": how \"{}\" is masked depends on it", changed.name, column.name);
            let hint = format!("Give \"{}\" a new value in the same statement.", column.name);
            return Err(Refusal::denied(text).with_hint(hint));
        }
    }
    keeps_counts(decision, assigned.iter().map(|a| a.name.as_str()))
}

/// Refuses values for columns that a mask counts in the whole table (K-Anonymization): rows of the caller's own would make a rare combination
/// a common one.
pub(crate) fn keeps_counts<'n>(
    decision: &RelationDecision,
    mut written: impl Iterator<Item = &'n str>,
) -> Result<(), Refusal> {
    let counted = |name: &str| {
        let column = decision.columns.iter().find(|c| c.name == name);
        column.and_then(|c| c.mask.as_ref()).is_some_and(|m| m.sql.contains(COMPANION_PREFIX))
    };
    match written.find(|name| !decision.companions.is_empty() && counted(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Refusal::denied(format!("cannot write column \"{name}\": its mask counts the values of the table"))
                .with_hint("Leave the column out."))
        }
    }
}

/// Whether a row may be changed before it is stored: by a trigger of the relation or of one below it.
pub(super) fn fires_before(relation: &Relation, catalog: &Catalog) -> bool {
    let mut below = BTreeSet::from([relation.oid]);
    loop {
        let more: Vec<_> = catalog
            .relations
            .values()
            .filter(|r| !below.contains(&r.oid) && r.parents.iter().any(|p| below.contains(p)))
            .map(|r| r.oid)
            .collect();
        if more.is_empty() {
            break;
        }
        below.extend(more);
    }
    catalog.relations.values().any(|r| r.before_triggers && below.contains(&r.oid))
}

/// The column of the dictionary that is to be written.
pub(super) fn writable_column<'d>(
    decision: &'d RelationDecision,
    name: &str,
    location: i32,
) -> Result<&'d ColumnDecision, Refusal> {
    let column = decision.columns.iter().find(|c| c.name == name).ok_or_else(|| {
        let text = format!("column \"{name}\" of relation \"{}\" does not exist", decision.logical.name);
        Refusal::new(Family::Caller, SqlState("42703"), text).at(location)
    })?;
    // A string would be read as an object's name by the warehouse.
    if is_alias(column.type_oid) {
        return Err(Refusal::unsupported(format!(
            "writing to column \"{name}\", an object identifier, is not supported"
        ))
        .at(location));
    }
    Ok(column)
}

/// Refuses a mask that needs more than the row itself.
pub(super) fn inlined(decision: &RelationDecision, column: &ColumnDecision, location: i32) -> Result<(), Refusal> {
    let beside = column.mask.as_ref().is_some_and(|m| m.sql.contains(COMPANION_PREFIX));
    if beside && !decision.companions.is_empty() {
        let text = format!("column \"{}\" is masked in a way that a statement that writes cannot read", column.name);
        return Err(Refusal::unsupported(text)
            .with_hint("Leave the column out, or read it with a SELECT first.")
            .at(location));
    }
    Ok(())
}
