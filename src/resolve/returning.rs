//! RETURNING: stars taken apart, and the place of the check of new rows.
//!
//! In: the clause of an INSERT, UPDATE or DELETE. Out: the columns it gives, for whoever reads the statement in WITH. Must never: let a
//! star stand over the bare relation, or leave out the check where a new row might be one that the row rules hide.

use super::Resolver;
use super::scope::{Column, Item, Scope};
use super::select::known;
use super::target::{Check, Mention, NewRows, Star};
use super::writable::{inlined, looked_at};
use super::write::missing_from;
use crate::catalog::{Catalog, RelationKind};
use crate::error::Refusal;
use crate::policy::decision::{RelationDecision, type_text};
use crate::sql::{NodeEnum, names, pb};
use std::rc::Rc;

impl Resolver<'_, '_> {
    /// RETURNING, and whether new rows are checked there: `assigned` are the columns an UPDATE sets, `None` for whole new rows.
    #[allow(clippy::option_option)]
    pub(super) fn returning(
        &mut self,
        clause: &mut Option<pb::ReturningClause>,
        scope: &Scope<'_>,
        location: i32,
        assigned: Option<&[String]>,
    ) -> Result<Option<Option<Vec<Column>>>, Refusal> {
        let decision = self.decision_of(location)?;
        let checked = may_hide_new_rows(&decision, self.sight.catalog, assigned);
        let Some(clause) = clause else {
            if checked {
                let check = self.check(Check::NewRow(decision.logical.name.clone()));
                self.target_mut(location)?.new_rows = Some(NewRows { check, at: None, type_sql: None });
            }
            return Ok(None);
        };
        if !clause.options.is_empty() {
            return Err(Refusal::unsupported("RETURNING WITH (…) is not supported"));
        }
        let mut columns = Some(Vec::new());
        // Of each item as it will stand: whether the check may be put on it, and of which column it is.
        let mut items: Vec<(bool, Option<String>)> = Vec::new();
        for node in &mut clause.exprs {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(Refusal::internal("RETURNING holds something else than targets"));
            };
            let name = target.name.clone();
            let Some(value) = target.val.as_deref_mut() else {
                return Err(Refusal::internal("a target without a value"));
            };
            if let Some(NodeEnum::ColumnRef(c)) = &value.node
                && matches!(c.fields.last().map(|f| &f.node), Some(Some(NodeEnum::AStar(_))))
            {
                self.star(c, scope, location, &decision, &mut items, &mut columns)?;
                continue;
            }
            let facts = self.expression(value, scope)?;
            let mentioned = match &value.node {
                Some(NodeEnum::ColumnRef(c)) => self.resolved.mentions.get(&c.location).map(|m| m.column.clone()),
                _ => None,
            };
            items.push((true, mentioned));
            let name = if name.is_empty() { names::figure_column_name(Some(value)) } else { name };
            if let Some(columns) = &mut columns {
                columns.push(Column {
                    name,
                    type_oid: known(facts.type_oid),
                    total: facts.total,
                    uses: Rc::new(facts.touches),
                    base: None,
                    masked: facts.masked,
                });
            }
        }
        if checked {
            let own = items.iter().position(|(_, column)| column.is_some());
            let at = own.or_else(|| items.iter().position(|(fit, _)| *fit)).ok_or_else(|| {
                Refusal::unsupported("RETURNING of other relations' columns alone is not supported")
                    .with_hint("Add a column of the relation that is written.")
            })?;
            let column = items.get(at).and_then(|(_, column)| column.as_deref());
            let column = column.and_then(|name| decision.columns.iter().find(|c| c.name == name));
            let type_sql = column.and_then(|c| type_text(self.sight.catalog, c.type_oid, c.typmod));
            let check = self.check(Check::NewRow(decision.logical.name.clone()));
            self.target_mut(location)?.new_rows = Some(NewRows { check, at: Some(at), type_sql });
        }
        Ok(Some(columns))
    }

    /// A star in RETURNING: the columns of the dictionary, then those of FROM or USING.
    fn star(
        &mut self,
        c: &pb::ColumnRef,
        scope: &Scope<'_>,
        location: i32,
        decision: &RelationDecision,
        items: &mut Vec<(bool, Option<String>)>,
        columns: &mut Option<Vec<Column>>,
    ) -> Result<(), Refusal> {
        let before = c.fields.split_last().map(|(_, before)| before).unwrap_or_default();
        let path = names::parts(before).unwrap_or_default();
        let meant: Vec<&Item> = match path.as_slice() {
            [] if !scope.merged.is_empty() => {
                return Err(Refusal::unsupported("RETURNING * over columns merged by USING is not supported")
                    .with_hint("Name the columns.")
                    .at(c.location));
            }
            [] => scope.items.iter().collect(),
            [name] => scope.items.iter().filter(|i| i.name == *name).collect(),
            [.., schema, name] => scope.by_schema(schema, name).into_iter().collect(),
        };
        if meant.is_empty() {
            let name = path.last().copied().unwrap_or_default();
            return Err(missing_from(name).at(c.location));
        }
        let mut stars = Vec::new();
        for item in meant {
            match &item.columns {
                _ if item.target == Some(location) => {
                    for column in &decision.columns {
                        inlined(decision, column, c.location)?;
                        stars.push(Star::Target(Mention { target: location, column: column.name.clone() }));
                        items.push((true, Some(column.name.clone())));
                    }
                }
                Some(known) if !item.name.is_empty() => {
                    for column in known {
                        stars.push(Star::Column(item.name.clone(), column.name.clone()));
                        items.push((true, None));
                    }
                }
                _ if item.name.is_empty() => {
                    return Err(Refusal::unsupported("RETURNING * over a join without a name is not supported")
                        .with_hint("Name the columns.")
                        .at(c.location));
                }
                _ => {
                    stars.push(Star::Item(item.name.clone()));
                    items.push((false, None));
                }
            }
            match (&item.columns, &mut *columns) {
                (Some(more), Some(columns)) => columns.extend(more.iter().map(|c| Column { base: None, ..c.clone() })),
                _ => *columns = None,
            }
        }
        if c.location < 0 {
            return Err(Refusal::internal("a star without a place"));
        }
        self.resolved.stars.insert(c.location, stars);
        Ok(())
    }
}

/// Whether a row that is written might be one that the row rules hide: for an UPDATE, only when it sets a column that they look at, or
/// the row may be changed on its way.
fn may_hide_new_rows(decision: &RelationDecision, catalog: &Catalog, assigned: Option<&[String]>) -> bool {
    if decision.rows.is_empty() {
        return false;
    }
    let Some(assigned) = assigned else { return true };
    if assigned.is_empty() {
        return false;
    }
    let Some(relation) = decision.relation(catalog) else { return true };
    if relation.kind == RelationKind::Foreign || catalog.fires_before(relation.oid) {
        return true;
    }
    let Some(looked_at) = looked_at(decision) else { return true };
    let generated = |name: &String| relation.columns.iter().any(|c| c.name == *name && c.generated);
    looked_at.iter().any(|name| assigned.contains(name) || generated(name))
}
