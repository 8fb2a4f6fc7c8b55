//! From what the caller wrote to what may be sent: an ordered list of named passes over a copy of the caller's tree.
//!
//! In: a tree, its [`Resolved`] meaning. Out: the rewritten tree, printed by the seal. Must never: run without a permit for every
//! relation; change anything that no pass is named for.

mod calls;
mod scratch;
mod scratch_write;
mod view;
mod write;

pub use calls::replacement;
pub use scratch::{own_schema, rewrite_alter, rewrite_index, rewrite_table};
pub use view::{Body, STAND_IN, body, stands_alone, view};

use crate::error::{Family, Refusal, SqlState};
use crate::policy::kept::ByDecision;
use crate::resolve::Resolved;
use crate::sql::{NodeEnum, build, names, pb, walk};
use crate::telemetry::{Stage, stages};

/// Applies every pass to a SELECT, in this order:
///
/// 1. *columns*: `schema.relation.column` loses its schema;
/// 2. *functions*: those outside `pg_catalog` get their schema;
/// 3. *types*: types outside `pg_catalog` get theirs;
/// 4. *calls*: identity functions become constants, catalog look-ups become their guarded forms; targets keep their names;
/// 5. *groups*: GROUP BY of a primary key gets the mentioned columns that depend on it;
/// 6. *relations*: every relation becomes its policy view, or what stands in for it until the seal puts its text;
/// 7. *temporaries*: the session's own temporary tables are named in `pg_temp`, which reaches nothing else.
///
/// # Errors
/// XX000 when the tree holds something that resolution did not see; 54001 when the policy views would be too large.
pub fn rewrite(select: &mut pb::SelectStmt, resolved: &Resolved, bodies: &ByDecision<Body>) -> Result<(), Refusal> {
    let _stage = stages::enter(Stage::Rewrite);
    check_weight(resolved)?;
    // A view is part of what writes are held against.
    let stand_ins = resolved.targets.is_empty();
    #[cfg(feature = "disarm")]
    let stand_ins = stand_ins && !crate::disarm::is_off(crate::disarm::Defence::Seal);
    Rewriter { resolved, bodies, stand_ins }.select(select)
}

/// Applies every pass to an INSERT, UPDATE, DELETE or MERGE: those of [`rewrite`], and
///
/// 6. *targets*: the relation that is written stands bare under its own name in the warehouse, its columns are masked where the caller
///    mentions them, row rules guard what is written and what becomes of it.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_write(node: &mut NodeEnum, resolved: &Resolved, bodies: &ByDecision<Body>) -> Result<(), Refusal> {
    let _stage = stages::enter(Stage::Rewrite);
    check_weight(resolved)?;
    Rewriter { resolved, bodies, stand_ins: false }.write(node)
}

/// Most bytes of policy expressions in one statement. Trees take some hundred times as much memory.
const MOST_POLICY: usize = 1 << 20;

/// Refuses a statement whose policy views together are too large.
fn check_weight(resolved: &Resolved) -> Result<(), Refusal> {
    let read: usize = resolved.relations.values().map(|r| r.permitted.decision().weight()).sum();
    // Row rules stand up to four times, masks wherever they are mentioned.
    let rules = |t: &crate::resolve::Target| t.permitted.decision().rows.iter().map(|r| r.sql.len()).sum::<usize>();
    let written: usize = resolved.targets.values().map(|t| rules(t) * (4 + t.actions.len())).sum();
    let stars = resolved.stars.values().flatten().filter_map(|s| match s {
        crate::resolve::Star::Target(mention) => Some(mention),
        _ => None,
    });
    let mask = |m: &crate::resolve::Mention| {
        let decision = resolved.targets.get(&m.target)?.permitted.decision();
        decision.columns.iter().find(|c| c.name == m.column)?.mask.as_ref().map(|mask| mask.sql.len())
    };
    let mentioned: usize = resolved.mentions.values().chain(stars).filter_map(mask).sum();
    let weight = read.saturating_add(written).saturating_add(mentioned);
    if weight <= MOST_POLICY {
        return Ok(());
    }
    let message = "statement is too complex: its relations carry more policy than can be checked";
    Err(Refusal::new(Family::Unsupported, SqlState::STATEMENT_TOO_COMPLEX, message)
        .with_hint("Read fewer relations at once, or each of them once."))
}

/// Applies the passes to expressions that stand alone (arguments of EXECUTE).
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_expressions(
    nodes: &mut [pb::Node],
    resolved: &Resolved,
    bodies: &ByDecision<Body>,
) -> Result<(), Refusal> {
    let rewriter = Rewriter { resolved, bodies, stand_ins: false };
    nodes.iter_mut().try_for_each(|n| rewriter.expression(n))
}

/// Applies the *types* pass to type names that stand alone (parameter types of PREPARE).
pub fn rewrite_types(nodes: &mut [pb::Node], resolved: &Resolved) {
    for node in nodes {
        if let Some(NodeEnum::TypeName(name)) = &mut node.node {
            type_name(name, resolved);
        }
    }
}

struct Rewriter<'r> {
    resolved: &'r Resolved,
    bodies: &'r ByDecision<Body>,
    /// Whether views that are the same in all statements are left to the seal.
    stand_ins: bool,
}

/// Pass *types*.
fn type_name(name: &mut pb::TypeName, resolved: &Resolved) {
    if let Some(qualified) = resolved.types.get(&name.location)
        && name.location >= 0
    {
        name.names = vec![build::string(&qualified.schema), build::string(&qualified.name)];
    }
}

impl Rewriter<'_> {
    fn select(&self, select: &mut pb::SelectStmt) -> Result<(), Refusal> {
        self.with(&mut select.with_clause)?;
        for arm in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
            self.select(arm)?;
        }
        if let Some(extra) = select.group_clause.first().and_then(|first| self.group_extra(first)) {
            select.group_clause.extend(extra);
        }
        for target in &mut select.target_list {
            self.target(target)?;
        }
        for list in [
            &mut select.distinct_clause,
            &mut select.group_clause,
            &mut select.window_clause,
            &mut select.values_lists,
            &mut select.sort_clause,
        ] {
            list.iter_mut().try_for_each(|n| self.expression(n))?;
        }
        for node in
            [&mut select.where_clause, &mut select.having_clause, &mut select.limit_count, &mut select.limit_offset]
        {
            self.boxed(node)?;
        }
        select.from_clause.iter_mut().try_for_each(|n| self.in_from(n))
    }

    fn with(&self, with: &mut Option<pb::WithClause>) -> Result<(), Refusal> {
        for cte in with.iter_mut().flat_map(|w| &mut w.ctes) {
            let Some(NodeEnum::CommonTableExpr(cte)) = &mut cte.node else {
                return Err(Refusal::internal("a WITH clause holds something other than a query"));
            };
            match cte.ctequery.as_deref_mut().and_then(|n| n.node.as_mut()) {
                Some(NodeEnum::SelectStmt(query)) => self.select(query)?,
                Some(other) => self.write(other)?,
                None => return Err(Refusal::internal("a CTE without a query")),
            }
            if let Some(cycle) = &mut cte.cycle_clause {
                self.boxed(&mut cycle.cycle_mark_value)?;
                self.boxed(&mut cycle.cycle_mark_default)?;
            }
        }
        Ok(())
    }

    /// A target keeps the name PostgreSQL would have given it, when a pass changes what the name comes from.
    fn target(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
            return Err(Refusal::internal("a target list holds something other than targets"));
        };
        let Some(value) = target.val.as_deref_mut() else { return Ok(()) };
        let before = names::figure_column_name(Some(value));
        self.expression(value)?;
        if target.name.is_empty() && names::figure_column_name(Some(value)) != before {
            target.name = before;
        }
        Ok(())
    }

    fn group_extra(&self, first: &pb::Node) -> Option<Vec<pb::Node>> {
        let location = crate::resolve::group_location(first)?;
        let extra = self.resolved.groups.get(&location)?;
        Some(extra.iter().map(|(item, column)| build::column(&[item, column])).collect())
    }

    fn in_from(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        use NodeEnum as N;
        let Some(kind) = &mut node.node else { return Ok(()) };
        match kind {
            N::RangeVar(relation) => {
                if self.resolved.ctes.contains(&relation.location) {
                    return Ok(());
                }
                // Pass *temporaries*.
                if self.resolved.temporaries.contains(&relation.location) {
                    own_schema(relation);
                    return Ok(());
                }
                if self.resolved.bare {
                    return self.bare(relation);
                }
                let view = self.relation(relation, None)?;
                *node = view;
                Ok(())
            }
            N::RangeTableSample(sample) => {
                for arg in &mut sample.args {
                    self.expression(arg)?;
                }
                self.boxed(&mut sample.repeatable)?;
                let Some(N::RangeVar(relation)) = sample.relation.as_deref_mut().and_then(|n| n.node.as_mut()) else {
                    return Err(Refusal::internal("a sample of something other than a relation"));
                };
                if self.resolved.temporaries.contains(&relation.location) {
                    own_schema(relation);
                    return Ok(());
                }
                let relation = relation.clone();
                let view = self.relation(&relation, Some(sample))?;
                *node = view;
                Ok(())
            }
            N::RangeSubselect(sub) => match sub.subquery.as_deref_mut().and_then(|n| n.node.as_mut()) {
                Some(N::SelectStmt(select)) => self.select(select),
                _ => Err(Refusal::internal("a FROM item that is not a SELECT")),
            },
            N::JoinExpr(join) => {
                for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                    self.in_from(side)?;
                }
                self.boxed(&mut join.quals)
            }
            N::RangeFunction(function) => {
                for entry in &mut function.functions {
                    if let Some(N::List(list)) = &mut entry.node {
                        for part in &mut list.items {
                            match &mut part.node {
                                Some(N::List(defs)) => self.definitions(&mut defs.items),
                                Some(_) => self.expression(part)?,
                                None => {}
                            }
                        }
                    }
                }
                self.definitions(&mut function.coldeflist);
                Ok(())
            }
            N::RangeTableFunc(table) => {
                self.boxed(&mut table.docexpr)?;
                self.boxed(&mut table.rowexpr)?;
                table.namespaces.iter_mut().try_for_each(|n| self.expression(n))?;
                for node in &mut table.columns {
                    if let Some(N::RangeTableFuncCol(column)) = &mut node.node {
                        if let Some(name) = &mut column.type_name {
                            self.type_name(name);
                        }
                        self.boxed(&mut column.colexpr)?;
                        self.boxed(&mut column.coldefexpr)?;
                    }
                }
                Ok(())
            }
            other => Err(walk::unsupported(other)),
        }
    }

    /// Pass *relations*.
    fn relation(&self, relation: &pb::RangeVar, sample: Option<&pb::RangeTableSample>) -> Result<pb::Node, Refusal> {
        // INVARIANT(default-deny): no permit, no view.
        let use_ = self
            .resolved
            .relations
            .get(&relation.location)
            .ok_or_else(|| Refusal::internal("a relation was not resolved"))?;
        if self.stand_ins && sample.is_none() && stands_alone(use_) {
            return Ok(view::stand_in(use_, relation));
        }
        view(self.bodies, use_, relation, sample)
    }

    /// Pass *relations* of an EXPLAIN where nothing is hidden: the relation by its name in the warehouse.
    fn bare(&self, relation: &mut pb::RangeVar) -> Result<(), Refusal> {
        let use_ = self.resolved.relations.get(&relation.location);
        let use_ = use_.ok_or_else(|| Refusal::internal("a relation was not resolved"))?;
        let remote = &use_.permitted.decision().remote;
        relation.catalogname = String::new();
        relation.schemaname.clone_from(&remote.schema);
        relation.relname.clone_from(&remote.name);
        Ok(())
    }

    fn boxed(&self, node: &mut Option<Box<pb::Node>>) -> Result<(), Refusal> {
        node.as_deref_mut().map_or(Ok(()), |n| self.expression(n))
    }

    fn definitions(&self, nodes: &mut [pb::Node]) {
        for node in nodes {
            if let Some(NodeEnum::ColumnDef(column)) = &mut node.node
                && let Some(name) = &mut column.type_name
            {
                self.type_name(name);
            }
        }
    }

    fn type_name(&self, name: &mut pb::TypeName) {
        type_name(name, self.resolved);
    }

    fn expression(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        use NodeEnum as N;
        let Some(kind) = &mut node.node else { return Ok(()) };
        match kind {
            N::SelectStmt(select) => return self.select(select),
            // Pass *columns*.
            N::ColumnRef(c) => {
                if let Some(mention) = self.resolved.mentions.get(&c.location) {
                    *node = self.mentioned(mention)?;
                    return Ok(());
                }
                if let Some(with) = self.resolved.calls.get(&c.location) {
                    *node = replacement(with, &[])?;
                    return Ok(());
                }
                if let Some(shorter) = self.resolved.columns.get(&c.location) {
                    c.fields = shorter
                        .iter()
                        .map(|part| if part == "*" { build::node(N::AStar(pb::AStar {})) } else { build::string(part) })
                        .collect();
                }
                return Ok(());
            }
            N::TypeCast(cast) => {
                if let Some(name) = &mut cast.type_name {
                    self.type_name(name);
                }
            }
            N::XmlSerialize(x) => {
                if let Some(name) = &mut x.type_name {
                    self.type_name(name);
                }
            }
            _ => {}
        }
        walk::children(kind, &mut |child| self.expression(child))?;
        // Pass *functions*.
        if let N::FuncCall(f) = kind
            && let Some(found) = self.resolved.functions.get(&f.location)
        {
            f.funcname = vec![build::string(&found.schema), build::string(&found.name)];
        }
        // Pass *calls*, innermost first.
        let location = match kind {
            N::FuncCall(f) => f.location,
            N::TypeCast(t) => t.location,
            N::SqlvalueFunction(f) => f.location,
            _ => return Ok(()),
        };
        if let Some(with) = self.resolved.calls.get(&location) {
            let arguments = match kind {
                N::FuncCall(f) => std::mem::take(&mut f.args),
                N::TypeCast(t) => t.arg.take().map(|a| *a).into_iter().collect(),
                _ => Vec::new(),
            };
            *node = replacement(with, &arguments)?;
        }
        Ok(())
    }
}
