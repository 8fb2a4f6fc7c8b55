//! Statements that write: INSERT, UPDATE, DELETE, at the top or in WITH. [`super::merge`] is the fourth.
//!
//! In: such a statement and a [`super::Sight`]. Out: what its names mean, and what the rewriter adds. The relation that is written stands
//! bare, under the alias `_sv`, because PostgreSQL lets nothing else be written; so every reference to one of its columns is noted here and
//! stands for the column's mask. Must never: let a reference pass that could mean the bare relation and was not noted.

use super::from::{Left, check_names};
use super::scope::{Column, Found, Item, Scope};
use super::select::Output;
use super::target::{Check, Guard, Mention, Target, Verb, masked_write};
use super::writable::{inlined, keeps_counts, keeps_masks, writable_column};
use super::{Resolver, Type};
use crate::catalog::effects::Change;
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::{ColumnDecision, RelationDecision, has_equality, type_text};
use crate::sql::{NodeEnum, names, pb};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

/// The row proposed for insertion, in ON CONFLICT (PostgreSQL manual, INSERT).
const EXCLUDED: &str = "excluded";

/// System columns (PostgreSQL manual, 5.5).
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"];

/// How a column's value is written, by an expression of a statement.
pub(super) struct Assigned {
    pub name: String,
    /// Its place in the list.
    pub at: usize,
    /// DEFAULT, or part of a list that is assigned at once.
    pub opaque: bool,
}

impl Resolver<'_, '_> {
    /// Resolves a statement that writes; tells whether it returns rows.
    pub(super) fn write(&mut self, node: &mut NodeEnum, parent: Option<&Scope<'_>>) -> Result<(Output, bool), Refusal> {
        if let Some(done) = self.write_temporary(node, parent)? {
            return Ok(done);
        }
        let before: BTreeSet<i32> =
            self.resolved.relations.keys().chain(self.resolved.targets.keys()).copied().collect();
        let columns = match node {
            NodeEnum::InsertStmt(insert) => self.insert(insert, parent)?,
            NodeEnum::UpdateStmt(update) => self.update(update, parent)?,
            NodeEnum::DeleteStmt(delete) => self.delete(delete, parent)?,
            NodeEnum::MergeStmt(merge) => {
                self.merge(merge, parent)?;
                None
            }
            other => {
                return Err(Refusal::unsupported(format!("{} is not supported here", names::kind_name(other))));
            }
        };
        let now = self.resolved.relations.keys().chain(self.resolved.targets.keys());
        let uses = now.filter(|k| !before.contains(k)).copied().collect();
        let returns = columns.is_some();
        let columns = columns.unwrap_or_else(|| Some(Vec::new()));
        Ok((Output { columns, uses, outer_touches: BTreeSet::new(), tame: false }, returns))
    }

    /// Decides the relation that is written.
    pub(super) fn target(&mut self, relation: Option<&pb::RangeVar>, verb: Verb) -> Result<(i32, Item), Refusal> {
        let relation = relation.ok_or_else(|| Refusal::internal("a statement that writes to nothing"))?;
        self.check_alias(relation.alias.as_ref())?;
        self.own_place(relation)?;
        let permitted = self.sight.writable(relation)?;
        let (location, decision) = (relation.location, Arc::clone(permitted.decision()));
        let alias = relation.alias.as_ref().map(|a| a.aliasname.clone());
        let schema = match (&alias, relation.schemaname.as_str()) {
            (Some(_), _) => None,
            (None, "") => Some(decision.logical.schema.clone()),
            (None, schema) => Some(schema.to_owned()),
        };
        let uses = Rc::new(BTreeSet::from([location]));
        let remote = decision.relation(self.sight.catalog);
        let plain_collation = |name: &str| {
            let column = remote.and_then(|r| r.columns.iter().find(|c| c.name == name));
            column.is_some_and(|c| crate::catalog::total::collation_never_conflicts(c.collation))
        };
        let computed = |name: &str| remote.is_none_or(|r| r.computed.contains(name));
        let column = |c: &ColumnDecision| Column {
            name: c.name.clone(),
            type_oid: Some(c.type_oid),
            total: !computed(&c.name) && c.mask.as_ref().is_none_or(|m| m.total) && plain_collation(&c.name),
            uses: Rc::clone(&uses),
            base: None,
            masked: c.mask.is_some(),
        };
        let item = Item {
            name: alias.unwrap_or_else(|| relation.relname.clone()),
            schema,
            columns: Some(decision.columns.iter().map(column).collect()),
            uses: Rc::clone(&uses),
            nullable: false,
            target: Some(location),
            named: Vec::new(),
        };
        self.resolved.targets.insert(location, Target::alone(permitted, verb));
        Ok((location, item))
    }

    pub(super) fn decision_of(&self, target: i32) -> Result<Arc<RelationDecision>, Refusal> {
        let target =
            self.resolved.targets.get(&target).ok_or_else(|| Refusal::internal("a target that is not there"))?;
        Ok(Arc::clone(target.permitted.decision()))
    }

    pub(super) fn target_mut(&mut self, target: i32) -> Result<&mut Target, Refusal> {
        self.resolved.targets.get_mut(&target).ok_or_else(|| Refusal::internal("a target that is not there"))
    }

    pub(super) fn check(&mut self, check: Check) -> usize {
        let at = self.resolved.checks.len();
        self.resolved.checks.push(check);
        at
    }

    /// The columns of RETURNING; `None` without one.
    #[allow(clippy::option_option)]
    fn insert(
        &mut self,
        insert: &mut pb::InsertStmt,
        parent: Option<&Scope<'_>>,
    ) -> Result<Option<Option<Vec<Column>>>, Refusal> {
        let mut scope = Scope::below(parent);
        if let Some(with) = &mut insert.with_clause {
            self.with(with, &mut scope)?;
        }
        let (location, item) = self.target(insert.relation.as_ref(), Verb::Insert)?;
        let decision = self.decision_of(location)?;
        let mut assigned = Vec::new();
        for node in &mut insert.cols {
            let Some(NodeEnum::ResTarget(column)) = &mut node.node else {
                return Err(Refusal::internal("a column list holds something else"));
            };
            writable_column(&decision, &column.name, column.location)?;
            for part in &mut column.indirection {
                self.expression(part, &scope)?;
            }
            assigned.push(column.name.clone());
        }
        let mut masked = vec![false; assigned.len()];
        match insert.select_stmt.as_deref_mut().and_then(|n| n.node.as_mut()) {
            // DEFAULT VALUES.
            None => {}
            Some(NodeEnum::SelectStmt(select)) => {
                let output = self.select(select, Some(&scope), None)?;
                let width = output.columns.as_ref().map(Vec::len);
                if insert.cols.is_empty() {
                    let width = width.unwrap_or(usize::MAX);
                    assigned = decision.columns.iter().take(width).map(|c| c.name.clone()).collect();
                    for name in &assigned {
                        writable_column(&decision, name, -1)?;
                    }
                    self.target_mut(location)?.columns = Some(assigned.clone());
                }
                masked = match &output.columns {
                    Some(columns) => columns.iter().map(|c| c.masked).collect(),
                    None => vec![self.masks_any(&output.uses); assigned.len()],
                };
            }
            Some(other) => {
                return Err(Refusal::unsupported(format!("INSERT from {} is not supported", names::kind_name(other))));
            }
        }
        keeps_counts(&decision, assigned.iter().map(String::as_str), self.sight.catalog)?;
        if let Some(conflict) = insert.on_conflict_clause.as_deref_mut() {
            let proposed: BTreeSet<String> =
                assigned.iter().zip(&masked).filter(|(_, masked)| **masked).map(|(name, _)| name.clone()).collect();
            self.on_conflict(conflict, &scope, &item, location, &proposed)?;
        }
        scope.items = vec![item];
        self.returning(&mut insert.returning_clause, &scope, location, None)
    }

    fn on_conflict(
        &mut self,
        conflict: &mut pb::OnConflictClause,
        outer: &Scope<'_>,
        item: &Item,
        location: i32,
        proposed: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let decision = self.decision_of(location)?;
        let mut scope = Scope::below(Some(outer));
        scope.items = vec![item.clone()];
        if let Some(infer) = conflict.infer.as_deref_mut() {
            self.inference(infer, &scope, &decision)?;
        }
        match pb::OnConflictAction::try_from(conflict.action).unwrap_or_default() {
            pb::OnConflictAction::OnconflictNothing => return Ok(()),
            pb::OnConflictAction::OnconflictUpdate => {}
            _ => return Err(Refusal::unsupported("this form of ON CONFLICT is not supported").at(conflict.location)),
        }
        // The row that was proposed: the caller's own values.
        let columns = item.columns.iter().flatten().map(|c| Column {
            total: true,
            uses: Rc::default(),
            masked: proposed.contains(&c.name),
            ..c.clone()
        });
        let excluded = Item {
            name: EXCLUDED.to_owned(),
            schema: None,
            columns: Some(columns.collect()),
            uses: Rc::default(),
            nullable: false,
            target: None,
            named: Vec::new(),
        };
        check_names(&scope.items, std::slice::from_ref(&excluded))?;
        scope.items.push(excluded);
        self.optional(&mut conflict.where_clause, &scope)?;
        self.assign(&mut conflict.target_list, &scope, location, true)?;
        if !decision.rows.is_empty() {
            let check = self.check(Check::Conflict(decision.logical.name.clone()));
            self.target_mut(location)?.conflict = Some(check);
        }
        Ok(())
    }

    /// The unique index that a conflict is about: named by columns, not by what they hold.
    fn inference(
        &mut self,
        infer: &mut pb::InferClause,
        scope: &Scope<'_>,
        decision: &RelationDecision,
    ) -> Result<(), Refusal> {
        let masked = |location| {
            Refusal::unsupported("an expression of a masked column is not supported in ON CONFLICT").at(location)
        };
        // Which row a value conflicts with would tell whose it is.
        let is_masked = |name: &str| decision.columns.iter().any(|c| c.name == name && c.mask.is_some());
        let guessed = |location| {
            Refusal::denied("ON CONFLICT cannot look for the values of a masked column")
                .with_hint("Name a unique key that is not masked for you.")
                .at(location)
        };
        if !infer.conname.is_empty() {
            let relation = decision.relation(self.sight.catalog);
            let constraint = relation.and_then(|r| r.constraints.iter().find(|c| c.name == infer.conname));
            if let Some(constraint) = constraint {
                let columns = constraint.columns.as_deref();
                if columns.is_none_or(|names| names.iter().any(|name| is_masked(name))) {
                    return Err(guessed(infer.location));
                }
            } else {
                let (name, table) = (&infer.conname, &decision.logical.name);
                let text = format!("constraint \"{name}\" for table \"{table}\" does not exist");
                return Err(Refusal::new(Family::Caller, SqlState::UNDEFINED_OBJECT, text).at(infer.location));
            }
        }
        for node in &mut infer.index_elems {
            let Some(NodeEnum::IndexElem(element)) = &mut node.node else {
                return Err(Refusal::internal("ON CONFLICT names something else than an index"));
            };
            let own = |path: &[pb::Node]| {
                names::parts(path).is_some_and(|p| p.len() <= 1 || p.first() == Some(&"pg_catalog"))
            };
            self.sight.collation(&element.collation, infer.location)?;
            if !own(&element.opclass) || !element.opclassopts.is_empty() {
                return Err(Refusal::unsupported("this form of ON CONFLICT is not supported").at(infer.location));
            }
            if !element.name.is_empty() && !decision.columns.iter().any(|c| c.name == element.name) {
                let text = format!("column \"{}\" does not exist", element.name);
                return Err(Refusal::new(Family::Caller, SqlState("42703"), text).at(infer.location));
            }
            if is_masked(&element.name) {
                return Err(guessed(infer.location));
            }
            if self.optional(&mut element.expr, scope)?.is_some_and(|f| f.masked) {
                return Err(masked(infer.location));
            }
        }
        if self.optional(&mut infer.where_clause, scope)?.is_some_and(|f| f.masked) {
            return Err(masked(infer.location));
        }
        Ok(())
    }

    #[allow(clippy::option_option)]
    fn update(
        &mut self,
        update: &mut pb::UpdateStmt,
        parent: Option<&Scope<'_>>,
    ) -> Result<Option<Option<Vec<Column>>>, Refusal> {
        let mut scope = Scope::below(parent);
        if let Some(with) = &mut update.with_clause {
            self.with(with, &mut scope)?;
        }
        let (location, item) = self.target(update.relation.as_ref(), Verb::Update)?;
        self.beside(&mut update.from_clause, &mut scope, item)?;
        self.split(update.where_clause.as_deref_mut(), &scope, location)?;
        let assigned = self.assign(&mut update.target_list, &scope, location, true)?;
        let assigned: Vec<String> = assigned.into_iter().map(|a| a.name).collect();
        self.returning(&mut update.returning_clause, &scope, location, Some(&assigned))
    }

    #[allow(clippy::option_option)]
    fn delete(
        &mut self,
        delete: &mut pb::DeleteStmt,
        parent: Option<&Scope<'_>>,
    ) -> Result<Option<Option<Vec<Column>>>, Refusal> {
        let mut scope = Scope::below(parent);
        if let Some(with) = &mut delete.with_clause {
            self.with(with, &mut scope)?;
        }
        let (location, item) = self.target(delete.relation.as_ref(), Verb::Delete)?;
        self.sight.keeps_referrers(&*self.decision_of(location)?, Change::Deleted)?;
        self.beside(&mut delete.using_clause, &mut scope, item)?;
        self.split(delete.where_clause.as_deref_mut(), &scope, location)?;
        self.returning(&mut delete.returning_clause, &scope, location, Some(&[]))
    }

    /// FROM or USING, which cannot look at what is written; then both stand side by side.
    fn beside(&mut self, from: &mut [pb::Node], scope: &mut Scope<'_>, item: Item) -> Result<(), Refusal> {
        let mut left = Left::default();
        for node in from {
            let more = self.in_from(node, scope, &left, false)?;
            check_names(&left.items, &more.items)?;
            left.items.extend(more.items);
            left.merged.extend(more.merged);
        }
        check_names(std::slice::from_ref(&item), &left.items)?;
        scope.items = std::iter::once(item).chain(left.items).collect();
        scope.merged = left.merged;
        Ok(())
    }

    /// A condition on rows that are written, conjunct by conjunct: those that never raise may stand beside the row rules, where indexes
    /// serve them; the others run only on rows that the rules let through.
    pub(super) fn split(
        &mut self,
        condition: Option<&mut pb::Node>,
        scope: &Scope<'_>,
        target: i32,
    ) -> Result<(), Refusal> {
        let mut split = Vec::new();
        if let Some(condition) = condition {
            self.conjuncts(condition, scope, &mut split)?;
        }
        let own_total = self.decision_of(target)?.rows.iter().all(|r| r.total);
        split.iter_mut().for_each(|total| *total &= own_total);
        self.target_mut(target)?.split = split;
        Ok(())
    }

    fn conjuncts(&mut self, condition: &mut pb::Node, scope: &Scope<'_>, into: &mut Vec<bool>) -> Result<(), Refusal> {
        if let Some(NodeEnum::BoolExpr(and)) = &mut condition.node
            && and.boolop == pb::BoolExprType::AndExpr as i32
        {
            return and.args.iter_mut().try_for_each(|part| self.conjuncts(part, scope, into));
        }
        let facts = self.expression(condition, scope)?;
        if !facts.total {
            self.expose(&facts.touches);
        }
        into.push(facts.total);
        Ok(())
    }

    /// SET, or the values of an action of MERGE. `overwrites`: there is a value already.
    pub(super) fn assign(
        &mut self,
        list: &mut [pb::Node],
        scope: &Scope<'_>,
        location: i32,
        overwrites: bool,
    ) -> Result<Vec<Assigned>, Refusal> {
        let decision = self.decision_of(location)?;
        let mut assigned = Vec::new();
        let mut several_masked = false;
        for (at, node) in list.iter_mut().enumerate() {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(Refusal::internal("SET holds something else than targets"));
            };
            let column = writable_column(&decision, &target.name, target.location)?;
            for part in &mut target.indirection {
                self.expression(part, scope)?;
            }
            let Some(value) = target.val.as_deref_mut() else {
                return Err(Refusal::internal("a target without a value"));
            };
            let (mut masked, mut untyped) = (false, false);
            let (default, several) = match &mut value.node {
                Some(NodeEnum::SetToDefault(_)) => (true, false),
                Some(NodeEnum::MultiAssignRef(multi)) => {
                    // Each target holds the whole source; it is one and the same.
                    if multi.colno == 1 {
                        several_masked = self.optional(&mut multi.source, scope)?.is_some_and(|f| f.masked);
                    }
                    masked = several_masked;
                    (false, true)
                }
                _ => {
                    let facts = self.expression(value, scope)?;
                    masked = facts.masked;
                    untyped = facts.type_oid == Type::Literal;
                    (false, false)
                }
            };
            if overwrites && masked {
                return Err(masked_write(&column.name, &decision.logical.name).at(target.location));
            }
            if overwrites && column.mask.is_some() && !default {
                if several || !target.indirection.is_empty() {
                    let text = format!("column \"{}\" is masked and can only be set whole, by itself", column.name);
                    return Err(Refusal::unsupported(text).at(target.location));
                }
                let guard = self.guard(&decision, column, untyped, target.location)?;
                self.target_mut(location)?.guards.insert(target.location, guard);
            }
            assigned.push(Assigned {
                name: target.name.clone(),
                at,
                opaque: default || several || !target.indirection.is_empty(),
            });
        }
        if overwrites {
            keeps_masks(&decision, &assigned, self.sight.catalog)?;
            let set = assigned.iter().map(|a| a.name.clone()).collect();
            self.sight.keeps_referrers(&decision, Change::Set(set))?;
        }
        Ok(assigned)
    }

    fn guard(
        &mut self,
        decision: &RelationDecision,
        column: &ColumnDecision,
        untyped: bool,
        location: i32,
    ) -> Result<Guard, Refusal> {
        inlined(decision, column, location)?;
        if location < 0 {
            return Err(Refusal::internal("a target without a place"));
        }
        let check = self.check(Check::Mask(column.name.clone(), decision.logical.name.clone()));
        let catalog = self.sight.catalog;
        let type_sql = type_text(catalog, column.type_oid, -1)
            .ok_or_else(|| Refusal::internal("a column of a type that is not there"))?;
        let as_text = !has_equality(catalog, column.type_oid);
        Ok(Guard { column: column.name.clone(), check, untyped, type_sql, as_text })
    }

    /// Whether something of these uses is masked.
    pub(super) fn masks_any(&self, uses: &BTreeSet<i32>) -> bool {
        let masks = |d: &RelationDecision| d.columns.iter().any(|c| c.mask.is_some());
        uses.iter().any(|u| {
            let relation = self.resolved.relations.get(u).map(|r| r.permitted.decision());
            let target = self.resolved.targets.get(u).map(|t| t.permitted.decision());
            relation.or(target).is_some_and(|d| masks(d))
        })
    }

    /// A star in an expression: never over the bare relation.
    pub(super) fn star_of(&self, c: &pb::ColumnRef, path: &[&str], scope: &Scope<'_>) -> Result<(), Refusal> {
        let bare = match path {
            [] => scope.items.iter().any(|i| i.target.is_some()),
            [.., name] => {
                scope.targets().next().is_some()
                    && scope.item(name).is_none_or(|i| i.target.is_some() || is_proposed(i))
            }
        };
        if bare { Err(whole_row(c.location)) } else { Ok(()) }
    }

    /// Notes what a column reference means where a bare relation is in sight: one of its columns, or surely something else.
    pub(super) fn beside_target(
        &mut self,
        c: &pb::ColumnRef,
        path: &[&str],
        found: &Found<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Refusal> {
        if scope.targets().next().is_none() {
            return Ok(());
        }
        let wrong = |code, text: String| Refusal::new(Family::Caller, SqlState(code), text).at(c.location);
        let shown = path.join(".");
        let undefined = || match path {
            [one] => wrong("42703", format!("column \"{one}\" does not exist")),
            [item, _] if scope.item(item).is_none() => missing_from(item).at(c.location),
            _ => wrong("42703", format!("column {shown} does not exist")),
        };
        match found {
            Found::Column { item, column, .. } => {
                let Some(target) = item.target else {
                    self.resolved.others.insert(c.location);
                    return Ok(());
                };
                let decision = self.decision_of(target)?;
                let column = decision.columns.iter().find(|d| d.name == column.name).ok_or_else(undefined)?;
                inlined(&decision, column, c.location)?;
                if c.location < 0 {
                    return Err(Refusal::internal("a column reference without a place"));
                }
                let mention = Mention { target, column: column.name.clone() };
                self.resolved.columns.remove(&c.location);
                self.resolved.mentions.insert(c.location, mention);
                return Ok(());
            }
            Found::Row { item } => match (item.target, path) {
                (Some(_), [_]) => return Err(whole_row(c.location)),
                (Some(_), _) => return Err(undefined()),
                // It has the columns outside the dictionary, too.
                (None, _) if is_proposed(item) => return Err(whole_row(c.location)),
                (None, [name]) if self.may_be_of_target(name, scope)? => return Err(undefined()),
                (None, _) => {}
            },
            Found::Unknown => match path {
                [name] if scope.is_ambiguous(name) => {
                    return Err(wrong("42702", format!("column reference \"{name}\" is ambiguous")));
                }
                [name] if scope.explains(name) && !self.may_be_of_target(name, scope)? => {}
                [_] => {
                    return Err(Refusal::unsupported(format!(
                        "column reference \"{shown}\" cannot be resolved in a statement that writes"
                    ))
                    .with_hint("Qualify it with the name of its relation.")
                    .at(c.location));
                }
                [item, _] if scope.item(item).is_some_and(|i| i.target.is_none()) => {}
                _ => return Err(undefined()),
            },
            Found::Nothing => return Err(undefined()),
        }
        self.resolved.others.insert(c.location);
        Ok(())
    }

    /// Whether a bare relation in sight has a column of that name in the warehouse, shown or not.
    fn may_be_of_target(&self, name: &str, scope: &Scope<'_>) -> Result<bool, Refusal> {
        if SYSTEM_COLUMNS.contains(&name) {
            return Ok(true);
        }
        for item in scope.targets() {
            let decision = self.decision_of(item.target.unwrap_or_default())?;
            let relation = decision.relation(self.sight.catalog);
            if relation.is_none_or(|r| r.columns.iter().any(|c| c.name == name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_proposed(item: &Item) -> bool {
    item.name == EXCLUDED && item.uses.is_empty() && item.columns.is_some()
}

fn whole_row(location: i32) -> Refusal {
    Refusal::unsupported("a whole row of the relation that is written is not supported")
        .with_hint("Name its columns.")
        .at(location)
}

pub(super) fn missing_from(name: &str) -> Refusal {
    let text = format!("missing FROM-clause entry for table \"{name}\"");
    Refusal::new(Family::Caller, SqlState::UNDEFINED_TABLE, text)
}
