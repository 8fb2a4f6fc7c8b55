//! Statements that write: INSERT, UPDATE, DELETE, at the top or in WITH. [`super::merge`] is the fourth.
//!
//! In: such a statement and a [`super::Sight`]. Out: what its names mean, and what the rewriter adds. The relation that is written stands
//! bare, under the alias [`ROW_ALIAS`], because PostgreSQL lets nothing else be written; so every reference to one of its columns is
//! noted here and stands for the column's mask. Must never: let a reference pass that could mean the bare relation and was not noted.

use super::expression::is_alias;
use super::from::{Left, check_names};
use super::scope::{Column, Found, Item, Scope};
use super::select::Output;
use super::{Resolver, Type};
use crate::catalog::visibility::is_system;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::{COMPANION_PREFIX, ColumnDecision, ROW_ALIAS, RelationDecision, has_equality, type_text};
use crate::policy::permit::Permitted;
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, names, parse_expression, pb};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// The row proposed for insertion, in ON CONFLICT (PostgreSQL manual, INSERT).
const EXCLUDED: &str = "excluded";

/// System columns (PostgreSQL manual, 5.5).
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"];

/// How a relation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Insert,
    Update,
    Delete,
    Merge,
}

/// One relation that a statement writes.
#[derive(Debug)]
pub struct Target {
    /// The permit: readable and writable.
    pub permitted: Permitted,
    /// How it is written.
    pub verb: Verb,
    /// The column list an INSERT without one gets.
    pub columns: Option<Vec<String>>,
    /// Which conjuncts of WHERE (of a MERGE: ON) never raise, in their order.
    pub split: Vec<bool>,
    /// Number of the check that a row in conflict is visible (ON CONFLICT DO UPDATE).
    pub conflict: Option<usize>,
    /// The check of new rows.
    pub new_rows: Option<NewRows>,
    /// Values that must differ from the mask of what they replace, by the location of their target.
    pub guards: BTreeMap<i32, Guard>,
    /// Checks of a MERGE's actions, by their place in the list.
    pub actions: BTreeMap<usize, Action>,
    /// The column lists that INSERT actions of a MERGE without one get, by place.
    pub implied: BTreeMap<usize, Vec<String>>,
}

impl Target {
    /// A relation that is written, with nothing to add.
    pub fn alone(permitted: Permitted, verb: Verb) -> Self {
        Self {
            permitted,
            verb,
            columns: None,
            split: Vec::new(),
            conflict: None,
            new_rows: None,
            guards: BTreeMap::new(),
            actions: BTreeMap::new(),
            implied: BTreeMap::new(),
        }
    }
}

/// New rows are checked where RETURNING shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRows {
    /// Number of the check.
    pub check: usize,
    /// Which item of RETURNING, stars taken apart, carries it; `None`: the statement has no RETURNING and gets one.
    pub at: Option<usize>,
    /// The type with modifier that the item keeps.
    pub type_sql: Option<String>,
}

/// A value for a masked column: refused when it is the mask that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The column.
    pub column: String,
    /// Number of the check.
    pub check: usize,
    /// A literal or parameter, which needs a type where it stands.
    pub untyped: bool,
    /// The column's type, without modifier.
    pub type_sql: String,
    /// Compared as texts: the type has no equality.
    pub as_text: bool,
}

/// The check of a row that an action of MERGE makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Number of the check.
    pub check: usize,
    /// Which value of the action carries it.
    pub at: usize,
    /// The type that value needs where it stands, when it is a literal or parameter.
    pub carrier_type: Option<String>,
    /// The columns that the row rules look at: what they will hold, and their types with modifiers.
    pub row: BTreeMap<String, (RowValue, String)>,
}

/// What a column of a new row will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowValue {
    /// The value at this place of the action's list.
    Assigned(usize),
    /// What it holds.
    Old,
    /// NULL.
    Null,
}

/// A reference to a column of a relation that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The relation's location.
    pub target: i32,
    /// The column.
    pub column: String,
}

/// One item that a star in RETURNING stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Star {
    /// A column of the relation that is written.
    Target(Mention),
    /// A column of something else.
    Column(String, String),
    /// All columns of something else.
    Item(String),
}

/// What the warehouse is made to check, and what its failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A new row of this relation satisfies its row rules.
    NewRow(String),
    /// A row of this relation in conflict is visible.
    Conflict(String),
    /// A masked column of this relation is not overwritten with its mask: column, relation.
    Mask(String, String),
}

impl Check {
    /// The setting that is asked for when the check number `at` fails; no such setting exists, and nobody can make or ask for one.
    pub fn setting(at: usize) -> String {
        format!("sqlveil.check_{at}")
    }

    /// What the caller is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NewRow(table) => {
                Refusal::denied(format!("new row violates row-level security policy for table \"{table}\""))
                    .with_hint("You could not see the row that you write.")
            }
            Self::Conflict(table) => Refusal::denied(format!(
                "new row violates row-level security policy (USING expression) for table \"{table}\""
            )),
            Self::Mask(column, table) => masked_write(column, table),
        }
    }
}

/// 42501: what would be written over a value is its mask.
fn masked_write(column: &str, table: &str) -> Refusal {
    Refusal::denied(format!("cannot write a masked value to column \"{column}\" of relation \"{table}\"")).with_hint(
        "A value that is masked for you would replace a real one. Leave the column out, or give it a new value.",
    )
}

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
        let column = |c: &ColumnDecision| Column {
            name: c.name.clone(),
            type_oid: Some(c.type_oid),
            total: c.mask.as_ref().is_none_or(|m| m.total) && plain_collation(&c.name),
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
        keeps_counts(&decision, assigned.iter().map(String::as_str))?;
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
            if !own(&element.collation) || !own(&element.opclass) || !element.opclassopts.is_empty() {
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
            keeps_masks(&decision, &assigned)?;
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
fn keeps_masks(decision: &RelationDecision, assigned: &[Assigned]) -> Result<(), Refusal> {
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
