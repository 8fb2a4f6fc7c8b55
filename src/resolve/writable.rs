//! What may be written at all: which relations, and which of their columns without giving the caller a say in how others are masked.
//!
//! In: decisions on a relation and its columns, the columns a statement assigns. Out: a [`Permitted`] that may be written, or a refusal.
//! Must never: permit without WRITE, or let a caller choose how a value he may not see is masked or counted.

use super::alias::is_alias;
use super::write::Assigned;
use crate::catalog::effects::Change;
use crate::catalog::visibility::is_system;
use crate::catalog::{Catalog, RelationKind};
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
/// caller would choose how the value is masked. Generated columns follow those they are computed from; where a trigger may change the row,
/// any column may change.
pub(super) fn keeps_masks(
    decision: &RelationDecision,
    assigned: &[Assigned],
    catalog: &Catalog,
) -> Result<(), Refusal> {
    let set: BTreeSet<String> = assigned.iter().map(|a| a.name.clone()).collect();
    let changes = change(decision, set.clone(), catalog);
    if let Some((changed, masked)) = unmasked_by(decision, &changes, &set) {
        let (text, hint) = match changed {
            Some(changed) if set.contains(&changed) => (
                format!("cannot change column \"{changed}\": how \"{masked}\" is masked depends on it"),
                format!("Give \"{masked}\" a new value in the same statement."),
            ),
            // What is computed may be hidden.
            Some(_) => (
                format!(
                    "cannot change these columns: how \"{masked}\" is masked depends on what is computed from them"
                ),
                format!("Give \"{masked}\" a new value in the same statement."),
            ),
            None => (
                format!(
                    "cannot change rows of \"{}\": a trigger may change what the mask of \"{masked}\" depends on",
                    decision.logical.name
                ),
                "Its rows can be inserted and deleted.".to_owned(),
            ),
        };
        return Err(Refusal::denied(text).with_hint(hint));
    }
    keeps_counts(decision, set.iter().map(String::as_str), catalog)
}

/// What changes of a relation when these columns are set; of one that the catalog does not know, anything.
fn change(decision: &RelationDecision, columns: BTreeSet<String>, catalog: &Catalog) -> Change {
    decision.relation(catalog).map_or(Change::Anything, |relation| catalog.change(relation, columns))
}

/// The first column whose mask looks at a column that changes while it keeps its own value: what changes (`None`: anything may), and it.
fn unmasked_by(
    decision: &RelationDecision,
    changes: &Change,
    set: &BTreeSet<String>,
) -> Option<(Option<String>, String)> {
    for column in decision.columns.iter().filter(|c| !set.contains(&c.name)) {
        let Some(mask) = &column.mask else { continue };
        let looked_at = columns_in(&mask.sql);
        // A mask of the value alone masks whatever value there is.
        let others: Option<BTreeSet<String>> =
            looked_at.map(|names| names.into_iter().filter(|name| *name != column.name).collect());
        match (changes, others) {
            (Change::Deleted, _) => {}
            (Change::Set(names), None) if names.is_empty() => {}
            (Change::Set(names), None) => return Some((names.first().cloned(), column.name.clone())),
            (Change::Anything, Some(others)) if others.is_empty() => {}
            (Change::Anything, _) => return Some((None, column.name.clone())),
            (Change::Set(names), Some(others)) => {
                if let Some(name) = others.iter().find(|name| names.contains(*name)) {
                    return Some((Some(name.clone()), column.name.clone()));
                }
            }
        }
    }
    None
}

/// Refuses values for columns that a mask counts in the whole table (K-Anonymization): rows of the caller's own would make a rare combination
/// a common one.
pub(crate) fn keeps_counts<'n>(
    decision: &RelationDecision,
    written: impl Iterator<Item = &'n str>,
    catalog: &Catalog,
) -> Result<(), Refusal> {
    if decision.companions.is_empty() {
        return Ok(());
    }
    let written: BTreeSet<String> = written.map(str::to_owned).collect();
    let changes = change(decision, written, catalog);
    match counted(decision, &changes) {
        None => Ok(()),
        Some(column) => Err(Refusal::denied(format!(
            "cannot write column \"{}\": its mask counts the values of the table",
            column.name
        ))
        .with_hint("Leave the column out, and those that it is computed from.")),
    }
}

impl super::Sight<'_> {
    /// Refuses a change of rows that others refer to, when the actions of foreign keys would change what a policy looks at in those others:
    /// a mask would end, or a hidden row come to be seen.
    ///
    /// # Errors
    /// 42501.
    pub(super) fn keeps_referrers(&self, decision: &RelationDecision, change: Change) -> Result<(), Refusal> {
        let catalog = self.catalog;
        let change = match change {
            Change::Set(columns) => self::change(decision, columns, catalog),
            other => other,
        };
        for (oid, (_, follows)) in catalog.set_off(decision.oid, change) {
            if follows == Change::Deleted {
                continue;
            }
            for seen in self.visibility().relations.iter().filter(|d| d.oid == oid) {
                let shows = match looked_at(seen) {
                    Some(columns) => columns.iter().any(|c| follows.sets(c)),
                    None => true,
                };
                let unmasks = unmasked_by(seen, &follows, &BTreeSet::new()).is_some();
                if unmasks || shows || counted(seen, &follows).is_some() {
                    let text = format!(
                        "cannot change rows that \"{}\" refers to: its rows would follow, and what a policy shows of them depends on what changes",
                        seen.logical.name
                    );
                    return Err(Refusal::denied(text));
                }
            }
        }
        Ok(())
    }
}

/// A column that changes and whose values a mask counts in the whole table.
fn counted<'d>(decision: &'d RelationDecision, changes: &Change) -> Option<&'d ColumnDecision> {
    let counts = |c: &ColumnDecision| c.mask.as_ref().is_some_and(|m| m.sql.contains(COMPANION_PREFIX));
    let mut columns = decision.columns.iter().filter(|_| !decision.companions.is_empty());
    columns.find(|c| counts(c) && changes.sets(&c.name))
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
