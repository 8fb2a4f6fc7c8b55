//! Plans of statements that write.
//!
//! In: INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM. Out: a plan with its [`Writing`]. Must never: plan a write without a permit
//! that says WRITE.

use super::statement::{Kind, copy_option};
use super::{Effect, Plan};
use crate::catalog::Catalog;
use crate::catalog::effects::Change;
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::RelationDecision;
use crate::resolve::{self, Check, Resolved, Target, Verb};
use crate::rewrite;
use crate::sql::{NodeEnum, build, names, pb};
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a plan that writes brings along.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writing {
    /// What the warehouse is made to check, by number.
    pub checks: Vec<Check>,
    /// The rows it returns are those of a check: the client gets none, as he asked for none.
    pub conceals_rows: bool,
    /// The client sends rows (COPY FROM STDIN).
    pub takes_rows: bool,
    /// Relations that errors may name: by their names in the warehouse.
    pub shown: BTreeMap<QualifiedName, Named>,
}

/// A relation as errors about constraints may show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name callers know.
    pub name: String,
    /// Nothing of it is hidden and its names are those of the warehouse: what the warehouse says passes.
    pub whole: bool,
    /// It is written by the statement itself.
    pub target: bool,
    /// Its columns.
    pub columns: BTreeSet<String>,
    /// Names of constraints and indexes over shown columns alone.
    pub constraints: BTreeSet<String>,
}

/// Whether a caller sees every column and row of a relation, under its own names.
pub(super) fn whole(decision: &RelationDecision, catalog: &Catalog) -> bool {
    let all = decision.relation(catalog).is_some_and(|r| r.columns.len() == decision.columns.len());
    all && !decision.hides_anything() && decision.logical == decision.remote
}

/// `refers`: whether a relation that a foreign key refers to is shown under its own name.
fn shown(decision: &RelationDecision, catalog: &Catalog, refers: &dyn Fn(Oid) -> bool) -> Named {
    let columns: BTreeSet<String> = decision.columns.iter().map(|c| c.name.clone()).collect();
    let whole = whole(decision, catalog);
    let seen = |of: &Option<Vec<String>>| of.as_ref().map_or(whole, |of| of.iter().all(|c| columns.contains(c)));
    let relation = decision.relation(catalog);
    let constraints = relation
        .iter()
        .flat_map(|r| &r.constraints)
        .filter(|c| seen(&c.columns) && (c.kind != 'f' || refers(c.references)));
    let constraints = constraints.map(|c| c.name.clone());
    let indexes = relation.iter().flat_map(|r| &r.indexes).filter(|i| seen(&i.columns)).map(|i| i.name.clone());
    Named {
        name: decision.logical.name.clone(),
        whole,
        target: false,
        constraints: constraints.chain(indexes).collect(),
        columns,
    }
}

impl Kind<'_> {
    /// INSERT, UPDATE, DELETE, MERGE.
    pub(super) fn write(&self) -> Result<Plan, Refusal> {
        let mut tree = self.statement.node.clone();
        let picture = self.caller.picture();
        let (resolved, returns) = resolve::resolve_write(&mut tree, picture, self.sight, &self.inputs.param_types)?;
        rewrite::rewrite_write(&mut tree, &resolved, &self.kept.bodies)?;
        self.sealed(self.caller, tree, &resolved, Effect::None, returns)
    }

    /// What a statement writes.
    pub(super) fn writing(&self, resolved: &Resolved) -> Option<Arc<Writing>> {
        let takes_rows = matches!(&self.statement.node, NodeEnum::CopyStmt(copy) if copy.is_from);
        if resolved.targets.is_empty() && !resolved.sequences && !takes_rows {
            return None;
        }
        let catalog = &self.inputs.world.catalog;
        let decisions = || resolved.targets.values().map(|t| t.permitted.decision());
        let mut named = BTreeMap::new();
        for decision in decisions() {
            let own = shown(decision, catalog, &|of| self.is_seen(of));
            named.insert(decision.remote.clone(), Named { target: true, ..own });
        }
        for decision in decisions() {
            self.show_parts(decision, &mut named);
            self.show_referrers(decision, &mut named);
        }
        let top = self.top_target(resolved);
        Some(Arc::new(Writing {
            checks: resolved.checks.clone(),
            conceals_rows: top.is_some_and(|t| t.new_rows.as_ref().is_some_and(|n| n.at.is_none())),
            takes_rows,
            shown: named,
        }))
    }

    /// Every relation whose triggers and defaults a write may set off: the family of the one that is written, and what refers to it by
    /// foreign keys with actions.
    pub(super) fn reached(&self, decision: &RelationDecision) -> BTreeSet<Oid> {
        let catalog = &self.inputs.world.catalog;
        let mut reached = catalog.family(decision.oid);
        for change in [Change::Deleted, Change::Anything] {
            for oid in catalog.set_off(decision.oid, change).into_keys() {
                reached.extend(catalog.family(oid));
            }
        }
        reached
    }

    /// The relation that the statement itself writes, not one of its WITH.
    fn top_target<'r>(&self, resolved: &'r Resolved) -> Option<&'r Target> {
        let node = match &self.statement.node {
            NodeEnum::PrepareStmt(prepare) => prepare.query.as_deref().and_then(|n| n.node.as_ref())?,
            node => node,
        };
        let relation = match node {
            NodeEnum::InsertStmt(insert) => insert.relation.as_ref(),
            NodeEnum::UpdateStmt(update) => update.relation.as_ref(),
            NodeEnum::DeleteStmt(delete) => delete.relation.as_ref(),
            NodeEnum::MergeStmt(merge) => merge.relation.as_ref(),
            _ => None,
        };
        relation.and_then(|r| resolved.targets.get(&r.location))
    }

    /// Rows may be stored in partitions, whose errors are told as the relation's.
    fn show_parts(&self, decision: &RelationDecision, named: &mut BTreeMap<QualifiedName, Named>) {
        let catalog = &self.inputs.world.catalog;
        let below = catalog.below(decision.oid);
        for part in below.iter().filter(|oid| **oid != decision.oid).filter_map(|oid| catalog.relation_of(*oid)) {
            let own = shown(decision, catalog, &|of| self.is_seen(of));
            let hidden = Named { whole: false, constraints: BTreeSet::new(), ..own };
            named.entry(part.name.clone()).or_insert(hidden);
        }
    }

    /// Whether the caller sees a relation under the warehouse's own name.
    fn is_seen(&self, oid: Oid) -> bool {
        let mut seen = self.sight.visibility().relations.iter();
        seen.any(|d| d.oid == oid && d.query.is_none() && d.logical == d.remote)
    }

    /// Visible relations whose foreign keys refer to the one that is written.
    fn show_referrers(&self, decision: &RelationDecision, named: &mut BTreeMap<QualifiedName, Named>) {
        let catalog = &self.inputs.world.catalog;
        for relation in catalog.referring(decision.oid) {
            if named.contains_key(&relation.name) {
                continue;
            }
            let visible =
                self.sight.visibility().relations.iter().find(|d| d.remote == relation.name && d.query.is_none());
            if let Some(visible) = visible {
                named.insert(relation.name.clone(), shown(visible, catalog, &|of| self.is_seen(of)));
            }
        }
    }

    /// TRUNCATE needs to see every row it removes.
    pub(super) fn truncate(&self, truncate: &pb::TruncateStmt) -> Result<Plan, Refusal> {
        if truncate.behavior == pb::DropBehavior::DropCascade as i32 {
            return Err(Refusal::unsupported("TRUNCATE … CASCADE is not supported")
                .with_hint("It would empty relations that are not named; name them."));
        }
        let mut resolved = Resolved::default();
        let mut rewritten = truncate.clone();
        for node in &mut rewritten.relations {
            let Some(NodeEnum::RangeVar(relation)) = &mut node.node else {
                return Err(Refusal::internal("TRUNCATE of something unexpected"));
            };
            if self.sight.temporary(relation)?.is_some() {
                resolved.temporaries.insert(relation.location);
                rewrite::own_schema(relation);
                continue;
            }
            let decision = self.bare_target(relation, &mut resolved)?;
            if !decision.rows.is_empty() {
                return Err(Refusal::denied(format!("permission denied for table {}", decision.logical.name))
                    .with_hint("Some of its rows are hidden from you; DELETE removes those you see."));
            }
        }
        self.sealed(self.caller, NodeEnum::TruncateStmt(rewritten), &resolved, Effect::None, false)
    }

    /// A relation that is named alone, decided and under its name in the warehouse.
    fn bare_target(
        &self,
        relation: &mut pb::RangeVar,
        resolved: &mut Resolved,
    ) -> Result<Arc<RelationDecision>, Refusal> {
        let permitted = self.sight.writable(relation)?;
        if relation.location < 0 || resolved.targets.contains_key(&relation.location) {
            return Err(Refusal::internal("a relation without a place of its own"));
        }
        let decision = Arc::clone(permitted.decision());
        resolved.targets.insert(relation.location, Target::alone(permitted, Verb::Insert));
        relation.catalogname.clear();
        relation.schemaname.clone_from(&decision.remote.schema);
        relation.relname.clone_from(&decision.remote.name);
        Ok(decision)
    }

    /// `COPY relation FROM STDIN`: the caller's own values, where no row rule could be asked about them.
    pub(super) fn copy_from(&self, copy: &pb::CopyStmt) -> Result<Plan, Refusal> {
        if copy.is_program || !copy.filename.is_empty() {
            return Err(Refusal::denied("permission denied to COPY from a file or program")
                .with_hint("COPY from STDIN works for everyone; psql's \\copy command does too."));
        }
        if copy.where_clause.is_some() {
            return Err(Refusal::unsupported("COPY FROM … WHERE is not supported"));
        }
        copy.options.iter().try_for_each(copy_from_option)?;
        let mut rewritten = copy.clone();
        let Some(relation) = &mut rewritten.relation else {
            return Err(Refusal::internal("a COPY without a relation"));
        };
        if self.sight.temporary(relation).map_err(|r| Refusal { position: None, ..r })?.is_some() {
            rewrite::own_schema(relation);
            return self.copy_into_own(copy, rewritten);
        }
        let mut resolved = Resolved::default();
        let written = relation.relname.clone();
        let decision = self.bare_target(relation, &mut resolved).map_err(|r| Refusal { position: None, ..r })?;
        if !decision.rows.is_empty() {
            return Err(Refusal::unsupported("COPY FROM not supported with row-level security")
                .with_hint("Use INSERT statements instead."));
        }
        let columns = names::parts(&copy.attlist).unwrap_or_default();
        for (at, column) in columns.iter().enumerate() {
            let wrong = |code, text: String| Err(Refusal::new(Family::Caller, SqlState(code), text));
            if !decision.columns.iter().any(|c| c.name == *column) {
                return wrong("42703", format!("column \"{column}\" of relation \"{written}\" does not exist"));
            }
            if columns.iter().take(at).any(|c| c == column) {
                return wrong("42701", format!("column \"{column}\" specified more than once"));
            }
        }
        let catalog = &self.inputs.world.catalog;
        let relation = decision.relation(catalog);
        let generated = |name: &str| relation.is_some_and(|r| r.columns.iter().any(|c| c.name == name && c.generated));
        let read: Vec<&str> = if columns.is_empty() {
            decision.columns.iter().map(|c| c.name.as_str()).filter(|name| !generated(name)).collect()
        } else {
            columns
        };
        resolve::keeps_counts(&decision, read.iter().copied(), catalog).map_err(|r| Refusal { position: None, ..r })?;
        for column in &decision.columns {
            if read.contains(&column.name.as_str()) && resolve::is_alias(column.type_oid) {
                let text = format!("writing to column \"{}\", an object identifier, is not supported", column.name);
                return Err(Refusal::unsupported(text));
            }
        }
        rewritten.attlist = read.into_iter().map(build::string).collect();
        self.sealed(self.caller, NodeEnum::CopyStmt(Box::new(rewritten)), &resolved, Effect::None, false)
    }
}

/// Options of COPY … FROM STDIN: those of the other direction and the ones that only reading has.
fn copy_from_option(option: &pb::Node) -> Result<(), Refusal> {
    if let Some(NodeEnum::DefElem(element)) = &option.node {
        let value = element.arg.as_deref().and_then(|a| a.node.as_ref());
        match (element.defname.as_str(), value) {
            ("force_not_null" | "force_null", Some(NodeEnum::List(columns)))
                if names::parts(&columns.items).is_some() =>
            {
                return Ok(());
            }
            ("header", Some(NodeEnum::String(s))) if s.sval.eq_ignore_ascii_case("match") => return Ok(()),
            _ => {}
        }
    }
    copy_option(option)
}
