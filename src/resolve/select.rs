//! One query level: WITH, FROM, the clauses in PostgreSQL's order, and the columns it offers.

use super::alias::is_alias;
use super::expression::{Facts, Type};
use super::extremes::extremes_of;
use super::from::Left;
use super::names::check_reserved;
use super::scope::{Column, Cte, Found, Scope};
use super::twice::{only_relation, twice};
use super::{RelationUse, Replacement, Resolver};
use crate::catalog::RelationKind;
use crate::error::Refusal;
use crate::policy::decision::ROW_ALIAS;
use crate::sql::{NodeEnum, build, names, parse_expression, pb, walk};
use crate::types::{Oid, quote_literal};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a resolved SELECT offers to whoever holds it.
#[derive(Debug)]
pub(super) struct Output {
    /// Its columns; `None` when they cannot be worked out.
    pub columns: Option<Vec<Column>>,
    /// Relation uses within it.
    pub uses: BTreeSet<i32>,
    /// Relation uses of outer levels that it looks at.
    pub outer_touches: BTreeSet<i32>,
    /// Running it raises nothing and it is plain: only total conjuncts and columns, no grouping, limits, functions in FROM.
    pub tame: bool,
}

/// Where a condition stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clause {
    /// WHERE or ON; copyable when no outer join keeps the rows it rejects.
    Filter { copyable: bool },
    /// HAVING; whether every aggregate in it is certain to be of this level.
    Having { own_aggregates: bool },
}

/// Columns, relation uses looked at, tameness of one level.
type Level = (Option<Vec<Column>>, BTreeSet<i32>, bool);

impl Resolver<'_, '_> {
    /// Resolves a SELECT, VALUES or set operation below `parent`. `recursive` receives the columns of the first arm of a
    /// recursive CTE as soon as they are known.
    pub(super) fn select(
        &mut self,
        select: &mut pb::SelectStmt,
        parent: Option<&Scope<'_>>,
        recursive: Option<(&Cte, &[pb::Node])>,
    ) -> Result<Output, Refusal> {
        refuse_clauses(select)?;
        self.depth = self.depth.saturating_add(1);
        let before: BTreeSet<i32> = self.resolved.relations.keys().copied().collect();
        let mut scope = Scope::below(parent);
        if let Some(with) = &mut select.with_clause {
            self.with(with, &mut scope)?;
        }
        let (columns, touched, tame) = if select.larg.is_some() || select.rarg.is_some() {
            self.set_operation(select, &scope, recursive)?
        } else if !select.values_lists.is_empty() {
            self.values(select, &scope)?
        } else {
            self.plain(select, &mut scope)?
        };
        self.depth = self.depth.saturating_sub(1);
        let uses: BTreeSet<i32> = self.resolved.relations.keys().filter(|k| !before.contains(k)).copied().collect();
        if !select.locking_clause.is_empty() {
            return Err(self.locked(&uses));
        }
        let outer_touches = touched.difference(&uses).copied().collect();
        let bounded = select.limit_count.is_some() || select.limit_offset.is_some();
        Ok(Output { columns, uses, outer_touches, tame: tame && !bounded && select.with_clause.is_none() })
    }

    /// Locking rows needs the right to write them (manual, SELECT, "The Locking Clause"); for those who have it, it is not supported.
    fn locked(&self, uses: &BTreeSet<i32>) -> Refusal {
        let mut decisions = uses.iter().filter_map(|u| self.resolved.relations.get(u)).map(|r| r.permitted.decision());
        match decisions.find(|d| !d.write) {
            Some(decision) => {
                let relation = decision.relation(self.sight.catalog);
                let kind = if relation.is_some_and(|r| r.kind == RelationKind::View) { "view" } else { "table" };
                Refusal::denied(format!("permission denied for {kind} {}", decision.logical.name))
            }
            None => no_locks(),
        }
    }

    /// Common table expressions, each seeing those before it, and itself when recursive.
    pub(super) fn with(&mut self, with: &mut pb::WithClause, scope: &mut Scope<'_>) -> Result<(), Refusal> {
        let mut pending = Vec::new();
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else {
                return Err(Refusal::internal("a WITH clause holds something other than a query"));
            };
            check_reserved(&cte.ctename, cte.location)?;
            let entry = Cte {
                name: cte.ctename.clone(),
                columns: Rc::new(RefCell::new(None)),
                uses: Rc::new(RefCell::new(Rc::new(BTreeSet::new()))),
                silent: Rc::default(),
            };
            // Under RECURSIVE every name of the list is in scope for every query of it.
            if with.recursive {
                scope.ctes.push(entry.clone());
            }
            pending.push(entry);
        }
        for (node, entry) in with.ctes.iter_mut().zip(pending) {
            let Some(NodeEnum::CommonTableExpr(cte)) = &mut node.node else { continue };
            let aliases = cte.aliascolnames.clone();
            let Some(kind) = cte.ctequery.as_deref_mut().and_then(|n| n.node.as_mut()) else {
                return Err(Refusal::internal("a CTE without a query"));
            };
            let output = match kind {
                NodeEnum::SelectStmt(query) => {
                    self.select(query, Some(scope), with.recursive.then_some((&entry, aliases.as_slice())))?
                }
                other => {
                    let (output, returns) = self.write(other, Some(scope))?;
                    entry.silent.set(!returns);
                    output
                }
            };
            let mut columns = output.columns.map(|c| rename(c, &aliases));
            if cte.search_clause.is_some() || cte.cycle_clause.is_some() {
                // These add columns of their own.
                if let Some(cycle) = &mut cte.cycle_clause {
                    self.optional(&mut cycle.cycle_mark_value, scope)?;
                    self.optional(&mut cycle.cycle_mark_default, scope)?;
                }
                columns = None;
            }
            *entry.columns.borrow_mut() = columns;
            *entry.uses.borrow_mut() = Rc::new(output.uses);
            if !with.recursive {
                scope.ctes.push(entry);
            }
        }
        Ok(())
    }

    /// UNION, INTERSECT, EXCEPT.
    fn set_operation(
        &mut self,
        select: &mut pb::SelectStmt,
        scope: &Scope<'_>,
        recursive: Option<(&Cte, &[pb::Node])>,
    ) -> Result<Level, Refusal> {
        let (Some(left), Some(right)) = (select.larg.as_deref_mut(), select.rarg.as_deref_mut()) else {
            return Err(Refusal::internal("a set operation without two arms"));
        };
        let left = self.select(left, Some(scope), None)?;
        if let Some((cte, aliases)) = recursive {
            // The recursive part meets rows, not expressions, of the first arm.
            let settled = left.columns.clone().map(|columns| {
                let settled = columns.into_iter().map(|c| Column { total: true, base: None, ..c }).collect();
                rename(settled, aliases)
            });
            *cte.columns.borrow_mut() = settled;
            *cte.uses.borrow_mut() = Rc::new(left.uses.clone());
        }
        let right = self.select(right, Some(scope), None)?;
        let mut touched: BTreeSet<i32> = left.outer_touches.union(&right.outer_touches).copied().collect();
        touched.extend(self.tail(select, scope)?);
        let aliases = |c: &Option<Vec<Column>>| {
            c.iter().flatten().map(|c| c.type_oid.filter(|t| is_alias(*t))).collect::<Vec<_>>()
        };
        let (l, r) = (aliases(&left.columns), aliases(&right.columns));
        if l != r && l.iter().chain(&r).any(Option::is_some) {
            return Err(Refusal::unsupported(
                "a set operation of an object identifier with another type is not supported",
            )
            .with_hint("Cast the identifier to oid or text."));
        }
        let alike = |(l, r): (&Column, &Column)| l.type_oid == r.type_oid && self.has_order(l);
        self.raises |= !matches!((&left.columns, &right.columns), (Some(l), Some(r)) if l.iter().zip(r).all(alike));
        let columns = match (left.columns, right.columns) {
            (Some(l), Some(r)) if l.len() == r.len() => Some(
                l.into_iter()
                    .zip(r)
                    .map(|(l, r)| Column {
                        name: l.name,
                        type_oid: if l.type_oid == r.type_oid { l.type_oid } else { None },
                        total: l.total && r.total && l.type_oid == r.type_oid,
                        uses: Rc::new(l.uses.union(&r.uses).copied().collect()),
                        base: None,
                        masked: l.masked || r.masked,
                    })
                    .collect(),
            ),
            _ => None,
        };
        Ok((columns, touched, false))
    }

    /// VALUES lists.
    fn values(&mut self, select: &mut pb::SelectStmt, scope: &Scope<'_>) -> Result<Level, Refusal> {
        let mut touched = BTreeSet::new();
        let mut columns: Option<Vec<Column>> = None;
        for row in &mut select.values_lists {
            let Some(NodeEnum::List(list)) = &mut row.node else {
                return Err(Refusal::internal("a VALUES row is not a list"));
            };
            let facts: Vec<Facts> =
                list.items.iter_mut().map(|i| self.expression(i, scope)).collect::<Result<_, _>>()?;
            touched.extend(facts.iter().flat_map(|f| f.touches.iter().copied()));
            let row: Vec<Column> = facts
                .into_iter()
                .enumerate()
                .map(|(at, f)| Column {
                    name: format!("column{}", at.saturating_add(1)),
                    type_oid: known(f.type_oid),
                    total: f.total,
                    uses: Rc::new(f.touches),
                    base: None,
                    masked: f.masked,
                })
                .collect();
            let types = |row: &[Column]| row.iter().map(|c| c.type_oid.filter(|t| is_alias(*t))).collect::<Vec<_>>();
            if let Some(before) = &columns
                && (types(before).iter().chain(&types(&row)).any(Option::is_some))
            {
                return Err(Refusal::unsupported("VALUES of object identifiers are not supported in several rows")
                    .with_hint("Cast them to oid or text."));
            }
            let types = |row: &[Column]| row.iter().map(|c| c.type_oid).collect::<Vec<_>>();
            self.raises |= columns.as_ref().is_some_and(|before| types(before) != types(&row));
            columns = Some(match columns {
                None => row,
                Some(before) => before
                    .into_iter()
                    .zip(row)
                    .map(|(a, b)| Column {
                        type_oid: if a.type_oid == b.type_oid { a.type_oid } else { None },
                        total: a.total && b.total,
                        masked: a.masked || b.masked,
                        uses: Rc::new(a.uses.union(&b.uses).copied().collect()),
                        ..a
                    })
                    .collect(),
            });
        }
        touched.extend(self.tail(select, scope)?);
        Ok((columns, touched, false))
    }

    /// A SELECT with its clauses.
    fn plain(&mut self, select: &mut pb::SelectStmt, scope: &mut Scope<'_>) -> Result<Level, Refusal> {
        // Of another row around it each time, few rows are looked at: a join finds what the rule needs for them.
        if !scope.has_outer_items() {
            self.extremes.extend(extremes_of(select));
        }
        let mut touched = BTreeSet::new();
        let mut tame = true;
        let mut left = Left::default();
        for item in &mut select.from_clause {
            let from = self.in_from(item, scope, &left, false)?;
            touched.extend(from.touches);
            tame &= from.tame;
            super::from::check_names(&left.items, &from.items)?;
            left.items.extend(from.items);
            left.merged.extend(from.merged);
        }
        scope.items = left.items;
        scope.merged = left.merged;
        let scope = &*scope;
        // Inside a sub-query an aggregate may belong to a level around it.
        let own_aggregates = !scope.has_outer_items();
        if let Some(condition) = select.where_clause.as_deref_mut() {
            tame &= self.quals(condition, scope, Clause::Filter { copyable: true }, &mut touched)?;
        }
        if self.depth == 1
            && let Some(location) = only_relation(select)
            && let Some(relation) =
                self.resolved.relations.get(&location).filter(|_| !self.extremes.contains_key(&location))
            && let Some(condition) = select.where_clause.as_deref()
        {
            let copied = self.pushable.get(&location).map_or(0, Vec::len);
            self.twice.insert(location, twice(condition, relation.permitted.decision(), copied));
        }
        if let Some(condition) = select.having_clause.as_deref_mut() {
            self.quals(condition, scope, Clause::Having { own_aggregates }, &mut touched)?;
        }
        let mut columns = Some(Vec::new());
        let grouped = !select.group_clause.is_empty() || select.having_clause.is_some();
        let mut aggregates = grouped;
        for node in &mut select.target_list {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(Refusal::internal("a target list holds something other than targets"));
            };
            let name = target.name.clone();
            let Some(value) = target.val.as_deref_mut() else {
                return Err(Refusal::internal("a target without a value"));
            };
            if let Some(expanded) = star_columns(value, scope) {
                self.row_is_listed = true;
                self.expression(value, scope)?;
                match (expanded, &mut columns) {
                    (Some(expanded), Some(known)) => known.extend(expanded),
                    _ => columns = None,
                }
                continue;
            }
            self.row_is_listed = self.depth == 1 && matches!(value.node, Some(NodeEnum::ColumnRef(_)));
            let facts = self.expression(value, scope)?;
            touched.extend(facts.touches.iter().copied());
            aggregates |= facts.aggregates;
            let name = if name.is_empty() { names::figure_column_name(Some(value)) } else { name };
            if let Some(known_columns) = &mut columns {
                known_columns.push(Column {
                    name,
                    type_oid: known(facts.type_oid),
                    // A value computed from groups exists before anything outside can look at it.
                    total: facts.total || (facts.aggregates && own_aggregates && !facts.loose),
                    uses: Rc::new(facts.touches),
                    base: None,
                    masked: facts.masked,
                });
            }
        }
        if columns.as_ref().is_some_and(|c| c.len() > MOST_COLUMNS) {
            return Err(too_wide());
        }
        self.group_by_key(select, scope);
        let outputs = output_names(&select.target_list);
        for node in select.group_clause.iter_mut().chain(&mut select.distinct_clause) {
            // `SELECT DISTINCT` alone is one empty node.
            if node.node.is_some() && !self.names_an_output(node, &outputs, scope) {
                let key = self.expression(node, scope)?;
                self.raises |= !self.is_ordered(key.type_oid);
                touched.extend(key.touches);
            }
        }
        // Keys may stand for what is listed, by number or name.
        let sorted = [&select.group_clause, &select.distinct_clause, &select.sort_clause].iter().any(|c| !c.is_empty());
        if sorted && !columns.as_ref().is_some_and(|columns| columns.iter().all(|c| self.has_order(c))) {
            self.raises = true;
        }
        for node in &mut select.window_clause {
            if let Some(NodeEnum::WindowDef(window)) = &node.node {
                super::names::check_plain(&window.name, "window names", window.location)?;
            }
            touched.extend(self.expression(node, scope)?.touches);
        }
        touched.extend(self.tail(select, scope)?);
        let plain = !aggregates && select.distinct_clause.is_empty() && select.window_clause.is_empty();
        Ok((columns, touched, tame && plain))
    }

    /// ORDER BY, LIMIT, OFFSET.
    fn tail(&mut self, select: &mut pb::SelectStmt, scope: &Scope<'_>) -> Result<BTreeSet<i32>, Refusal> {
        let mut touched = BTreeSet::new();
        let outputs = output_names(&select.target_list);
        for node in &mut select.sort_clause {
            if let Some(NodeEnum::SortBy(sort)) = &node.node
                && let Some(key) = sort.node.as_deref()
                && self.names_an_output(key, &outputs, scope)
            {
                continue;
            }
            if let Some(NodeEnum::SortBy(sort)) = &node.node
                && names::parts(&sort.use_op).is_none_or(|p| p.len() > 1)
            {
                return Err(Refusal::unsupported("operators outside pg_catalog are not supported").at(sort.location));
            }
            touched.extend(self.expression(node, scope)?.touches);
        }
        for facts in [self.optional(&mut select.limit_count, scope)?, self.optional(&mut select.limit_offset, scope)?]
            .into_iter()
            .flatten()
        {
            touched.extend(facts.touches);
        }
        Ok(touched)
    }

    /// Whether a bare name in ORDER BY, GROUP BY or DISTINCT ON means an output column where it would otherwise be taken for one of a
    /// relation that is written around this query (PostgreSQL manual, SELECT).
    fn names_an_output(&mut self, node: &pb::Node, outputs: &BTreeSet<String>, scope: &Scope<'_>) -> bool {
        let Some(NodeEnum::ColumnRef(c)) = &node.node else { return false };
        let Some([name]) = names::parts(&c.fields).as_deref().map(<[&str]>::to_vec).as_deref().map(|p| match p {
            [one] => [*one],
            _ => [""],
        }) else {
            return false;
        };
        let outer =
            matches!(scope.unqualified(name), Found::Column { item, depth, .. } if depth > 0 && item.target.is_some());
        let named = outputs.contains(name);
        // Where nothing is written and no column has that name, it is the output's.
        if named && !outer && scope.targets().next().is_none() && matches!(scope.unqualified(name), Found::Nothing) {
            self.needs.met(c.location);
            return true;
        }
        if outer && named {
            self.resolved.others.insert(c.location);
        }
        outer && named
    }

    /// Whether a column's values are sorted and grouped without raising.
    fn has_order(&self, column: &Column) -> bool {
        column.type_oid.is_some_and(|kind| self.sight.catalog.is_ordered(kind))
    }

    /// A condition, conjunct by conjunct: what can raise exposes the relations it looks at; what cannot may be copied below their
    /// barriers. Returns whether all of it is total.
    pub(super) fn quals(
        &mut self,
        condition: &mut pb::Node,
        scope: &Scope<'_>,
        clause: Clause,
        touched: &mut BTreeSet<i32>,
    ) -> Result<bool, Refusal> {
        if let Some(NodeEnum::BoolExpr(and)) = &mut condition.node
            && and.boolop == pb::BoolExprType::AndExpr as i32
        {
            let mut total = true;
            for part in &mut and.args {
                total &= self.quals(part, scope, clause, touched)?;
            }
            return Ok(total);
        }
        let facts = self.expression(condition, scope)?;
        touched.extend(facts.touches.iter().copied());
        if facts.aggregates && matches!(clause, Clause::Having { own_aggregates: true }) {
            // Evaluated on groups of rows that the policy has already let through.
            if facts.loose {
                self.expose(&facts.touches);
            }
            return Ok(false);
        }
        if !facts.total {
            self.expose(&facts.touches);
            return Ok(false);
        }
        let mut uses = facts.touches.iter();
        if let (Some(use_), None) = (uses.next(), uses.next())
            && matches!(clause, Clause::Filter { copyable: true })
            && facts.pushable
            && scope.items.iter().any(|i| i.uses.contains(use_) && !i.nullable)
            && let Some(copy) = self.below_barrier(condition)
        {
            self.pushable.entry(*use_).or_default().push(copy);
        }
        Ok(true)
    }

    /// A copy of a conjunct with every column reference on [`ROW_ALIAS`], names of types and objects as they were resolved; `None` when
    /// something in it is more than a constant of its own.
    fn below_barrier(&self, condition: &pb::Node) -> Option<pb::Node> {
        let mut copy = condition.clone();
        self.requalify(&mut copy).ok()?;
        Some(copy)
    }

    fn requalify(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        let replacement = match &node.node {
            Some(NodeEnum::TypeCast(t)) => self.resolved.calls.get(&t.location),
            Some(NodeEnum::SqlvalueFunction(f)) => self.resolved.calls.get(&f.location),
            Some(NodeEnum::FuncCall(f)) => self.resolved.calls.get(&f.location),
            Some(NodeEnum::ColumnRef(c)) => self.resolved.calls.get(&c.location),
            _ => None,
        };
        match replacement {
            Some(Replacement::Constant { value, type_name, array }) => {
                *node = constant(value.as_deref(), type_name, *array)?;
                return Ok(());
            }
            Some(Replacement::Guard(_)) => return Err(Refusal::internal("a guard is not copied")),
            None => {}
        }
        match &mut node.node {
            Some(NodeEnum::ColumnRef(c)) => {
                if let Some(last) = c.fields.pop() {
                    c.fields = vec![build::string(ROW_ALIAS), last];
                }
                return Ok(());
            }
            Some(NodeEnum::TypeCast(cast)) => {
                if let Some(name) = &mut cast.type_name
                    && let Some(found) = self.resolved.types.get(&name.location)
                {
                    name.names = vec![build::string(&found.schema), build::string(&found.name)];
                }
            }
            Some(_) => {}
            None => return Ok(()),
        }
        match &mut node.node {
            Some(kind) => walk::children(kind, &mut |child| self.requalify(child)),
            None => Ok(()),
        }
    }

    /// Marks relations whose rows meet an expression that can raise. An expression that looks at no known relation may still be
    /// evaluated once for each of their rows, or not at all, so it exposes all.
    pub(super) fn expose(&mut self, touches: &BTreeSet<i32>) {
        self.raises = true;
        if touches.is_empty() {
            self.all_exposed = true;
        }
        self.exposed.extend(touches);
    }

    /// `GROUP BY` a primary key lets other columns of the relation stand ungrouped; a policy view has no key, so the columns that are
    /// mentioned are grouped too. They depend on the key, so the groups are the same.
    fn group_by_key(&mut self, select: &pb::SelectStmt, scope: &Scope<'_>) {
        let Some(first) = select.group_clause.first() else { return };
        let Some(location) = group_location(first) else { return };
        let mut grouped: Vec<(i32, String)> = Vec::new();
        for item in &select.group_clause {
            let reference = match &item.node {
                Some(NodeEnum::ColumnRef(c)) => Some(c),
                Some(NodeEnum::AConst(c)) => positional(c, select),
                Some(NodeEnum::GroupingSet(_)) | None => return,
                Some(_) => None,
            };
            if let Some(column) = reference.and_then(|c| direct(c, scope))
                && let Some(base) = column.base
            {
                grouped.push((base, column.name.clone()));
            }
        }
        let mentioned = Mentioned::of(select);
        let mut extra = Vec::new();
        for item in &scope.items {
            let Some((use_, relation)) = self.keyed(item) else { continue };
            let key = relation.1;
            if key.is_empty() || !key.iter().all(|k| grouped.iter().any(|(u, g)| *u == use_ && g == k)) {
                continue;
            }
            for column in item.columns.iter().flatten() {
                let already = grouped.iter().any(|(u, g)| *u == use_ && *g == column.name);
                let unambiguous = scope.items.iter().all(|other| {
                    other.name == item.name || other.columns.iter().flatten().all(|c| c.name != column.name)
                });
                if !already && mentioned.column(&item.name, &column.name, unambiguous) {
                    extra.push((item.name.clone(), column.name.clone()));
                }
            }
        }
        extra.iter().for_each(|(_, column)| self.needs.mention(column));
        if !extra.is_empty() {
            self.resolved.groups.insert(location, extra);
        }
    }

    /// The relation use that an item is, with its primary key, when it is exactly one relation.
    fn keyed(&self, item: &super::scope::Item) -> Option<(i32, (&RelationUse, Vec<String>))> {
        let mut uses = item.uses.iter();
        let (Some(use_), None) = (uses.next(), uses.next()) else { return None };
        let relation = self.resolved.relations.get(use_)?;
        let decision = relation.permitted.decision();
        let remote = decision.relation(self.sight.catalog)?;
        Some((*use_, (relation, remote.primary_key.clone())))
    }
}

/// Names of the columns that a select list gives.
fn output_names(targets: &[pb::Node]) -> BTreeSet<String> {
    let name = |node: &pb::Node| match &node.node {
        Some(NodeEnum::ResTarget(t)) if !t.name.is_empty() => Some(t.name.clone()),
        Some(NodeEnum::ResTarget(t)) => Some(names::figure_column_name(t.val.as_deref())),
        _ => None,
    };
    targets.iter().filter_map(name).collect()
}

/// PostgreSQL's own bound on the columns of a query (`MaxTupleAttributeNumber`); beyond it a chain of sub-selects that double each other
/// would grow without bound here before the warehouse could refuse it.
const MOST_COLUMNS: usize = 1664;

fn too_wide() -> Refusal {
    Refusal::new(
        crate::error::Family::Unsupported,
        crate::error::SqlState("54011"),
        format!("target lists can have at most {MOST_COLUMNS} entries"),
    )
}

/// Names mentioned outside GROUP BY, to decide which key-dependent columns to group.
struct Mentioned {
    bare: BTreeSet<String>,
    qualified: BTreeSet<(String, String)>,
    stars: bool,
}

impl Mentioned {
    fn of(select: &pb::SelectStmt) -> Self {
        let mut mentioned = Self { bare: BTreeSet::new(), qualified: BTreeSet::new(), stars: false };
        // Everything below is collected from the generic picture, which misses no mention; too many do no harm.
        let parts = (&select.target_list, &select.having_clause, &select.sort_clause, &select.distinct_clause);
        let trees = [
            crate::sql::tree::Tree::of(parts.0),
            crate::sql::tree::Tree::of(parts.1),
            crate::sql::tree::Tree::of(parts.2),
            crate::sql::tree::Tree::of(parts.3),
            crate::sql::tree::Tree::of(&select.window_clause),
        ];
        for tree in trees.into_iter().flatten() {
            tree.each(&mut |t| mentioned.note(t));
        }
        mentioned
    }

    fn note(&mut self, tree: &crate::sql::tree::Tree) {
        let crate::sql::tree::Tree::Node("ColumnRef", _) = tree else { return };
        let fields = tree.field("fields").map_or(&[][..], |f| f.as_list());
        let names: Vec<Option<&str>> = fields
            .iter()
            .map(|f| f.unwrap_node().and_then(|(_, n)| n.field("sval")).and_then(|s| s.as_text()))
            .collect();
        match names.as_slice() {
            [Some(name)] => {
                self.bare.insert((*name).to_owned());
            }
            [.., Some(item), Some(name)] => {
                self.qualified.insert(((*item).to_owned(), (*name).to_owned()));
            }
            _ => self.stars = true,
        }
    }

    fn column(&self, item: &str, column: &str, unambiguous: bool) -> bool {
        self.stars
            || self.bare.contains(item)
            || (unambiguous && self.bare.contains(column))
            || self.qualified.contains(&(item.to_owned(), column.to_owned()))
    }
}

/// The location that identifies a GROUP BY: that of its first item.
pub fn group_location(node: &pb::Node) -> Option<i32> {
    let location = match &node.node {
        Some(NodeEnum::ColumnRef(c)) => c.location,
        Some(NodeEnum::AConst(c)) => c.location,
        Some(NodeEnum::FuncCall(f)) => f.location,
        Some(NodeEnum::AExpr(e)) => e.location,
        Some(NodeEnum::TypeCast(t)) => t.location,
        _ => return None,
    };
    (location >= 0).then_some(location)
}

/// `GROUP BY 1`: the column reference it stands for.
fn positional<'s>(c: &pb::AConst, select: &'s pb::SelectStmt) -> Option<&'s pb::ColumnRef> {
    let Some(pb::a_const::Val::Ival(at)) = &c.val else { return None };
    let at = usize::try_from(at.ival).ok()?.checked_sub(1)?;
    match select.target_list.get(at).and_then(|n| n.node.as_ref()) {
        Some(NodeEnum::ResTarget(target)) => match target.val.as_deref().and_then(|v| v.node.as_ref()) {
            Some(NodeEnum::ColumnRef(column)) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// The column a reference names at this very level.
fn direct<'s>(c: &pb::ColumnRef, scope: &'s Scope<'_>) -> Option<&'s Column> {
    let parts = names::parts(&c.fields)?;
    let found = match parts.as_slice() {
        [name] => scope.unqualified(name),
        [item, name] | [_, item, name] => scope.qualified(item, name),
        _ => return None,
    };
    match found {
        Found::Column { column, depth: 0, .. } => Some(column),
        _ => None,
    }
}

/// For `*` and `item.*`: the columns it expands to, `Some(None)` when not known. `None` for anything else.
#[allow(clippy::option_option)]
pub(super) fn star_columns(value: &pb::Node, scope: &Scope<'_>) -> Option<Option<Vec<Column>>> {
    let Some(NodeEnum::ColumnRef(c)) = &value.node else { return None };
    let (last, before) = c.fields.split_last()?;
    if !matches!(last.node, Some(NodeEnum::AStar(_))) {
        return None;
    }
    let unbased = |columns: &[Column]| columns.iter().map(|c| Column { base: None, ..c.clone() }).collect::<Vec<_>>();
    let parts = names::parts(before)?;
    Some(match parts.last() {
        Some(item) => scope.items.iter().find(|i| i.name == **item).and_then(|i| i.columns.as_deref()).map(unbased),
        // USING merges columns: their order is not followed.
        None if !scope.merged.is_empty() => None,
        None => {
            let mut all = Some(Vec::new());
            for item in &scope.items {
                match (&item.columns, &mut all) {
                    (Some(columns), Some(known)) => known.extend(unbased(columns)),
                    _ => all = None,
                }
            }
            all
        }
    })
}

/// A constant of a type of `pg_catalog`.
fn constant(value: Option<&str>, type_name: &str, array: bool) -> Result<pb::Node, Refusal> {
    let literal = value.map_or_else(|| "NULL".to_owned(), quote_literal);
    parse_expression(&format!("{literal}::pg_catalog.{type_name}{}", if array { "[]" } else { "" }))
}

pub(super) fn known(ty: Type) -> Option<Oid> {
    match ty {
        Type::Known(oid) => Some(oid),
        Type::Literal | Type::Unclear => None,
    }
}

/// Renames the first columns by an alias list.
pub(super) fn rename(mut columns: Vec<Column>, aliases: &[pb::Node]) -> Vec<Column> {
    let names = names::parts(aliases).unwrap_or_default();
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.to_owned();
    }
    columns
}

fn no_locks() -> Refusal {
    Refusal::unsupported("row locking (FOR UPDATE, FOR SHARE) is not supported")
        .with_hint("Rows are locked by writing them; leave the locking clause away.")
}

/// Clauses that make a SELECT something else.
fn refuse_clauses(select: &pb::SelectStmt) -> Result<(), Refusal> {
    if let Some(into) = &select.into_clause {
        let location = into.rel.as_ref().map_or(-1, |r| r.location);
        return Err(Refusal::unsupported("SELECT INTO is not supported").at(location));
    }
    // What PostgreSQL does not lock either is refused here; the rest when it is known whose rows they are.
    let simple = select.larg.is_none()
        && select.values_lists.is_empty()
        && select.distinct_clause.is_empty()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && !select.from_clause.is_empty();
    if !select.locking_clause.is_empty() && !simple {
        return Err(no_locks());
    }
    Ok(())
}
