//! FROM: relations, sub-selects, joins, functions, samples.

use super::expression::{Type, no_conflict};
use super::names::{check_plain, check_reserved};
use super::scope::{Column, Item, Scope};
use super::select::{Clause, rename};
use super::{RelationUse, Replacement, Resolver};
use crate::catalog::scratch::SCHEMA;
use crate::catalog::total::collation_never_conflicts;
use crate::error::{Family, Refusal, SqlState};
use crate::sql::{NodeEnum, names, pb, walk};
use std::collections::BTreeSet;
use std::rc::Rc;

/// `int8` (pg_type.dat).
const INT8: crate::types::Oid = crate::types::Oid(20);

/// `bool` and `int4` (pg_type.dat).
const BOOL: crate::types::Oid = crate::types::Oid(16);
const INT4: crate::types::Oid = crate::types::Oid(23);

/// `regclass` (pg_type.dat): what functions that give object identifiers in sets give.
const REGCLASS: crate::types::Oid = crate::types::Oid(2205);

/// What one FROM item brings.
#[derive(Debug, Default)]
pub(super) struct From {
    pub items: Vec<Item>,
    /// Columns merged by USING or NATURAL.
    pub merged: BTreeSet<String>,
    /// Relation uses its conditions look at.
    pub touches: BTreeSet<i32>,
    /// Plain relations and total conditions only.
    pub tame: bool,
}

/// The items to the left of one.
#[derive(Debug, Default, Clone)]
pub(super) struct Left {
    pub items: Vec<Item>,
    pub merged: BTreeSet<String>,
}

/// Refuses two items of one name: PostgreSQL tells relations of different schemas apart, policy views have no schema.
pub(super) fn check_names(before: &[Item], new: &[Item]) -> Result<(), Refusal> {
    for item in new {
        if item.name.is_empty() {
            continue;
        }
        let Some(other) = before.iter().find(|b| b.name == item.name) else { continue };
        let message = format!("table name \"{}\" specified more than once", item.name);
        let refusal = Refusal::new(Family::Caller, SqlState("42712"), message);
        return Err(if other.schema == item.schema {
            refusal
        } else {
            refusal.with_hint("Give the relations different aliases.")
        });
    }
    Ok(())
}

impl Resolver<'_, '_> {
    /// Resolves one FROM item. `outer` holds the level's CTEs and the levels around it, `left` the items to its left, which only
    /// functions and LATERAL sub-selects may look at.
    pub(super) fn in_from(
        &mut self,
        node: &mut pb::Node,
        outer: &Scope<'_>,
        left: &Left,
        nullable: bool,
    ) -> Result<From, Refusal> {
        use NodeEnum as N;
        let mut lateral = Scope::below(Some(outer));
        lateral.items.clone_from(&left.items);
        lateral.merged.clone_from(&left.merged);
        let scope = &lateral;
        let Some(kind) = &mut node.node else {
            return Err(Refusal::internal("an empty FROM item"));
        };
        match kind {
            N::RangeVar(relation) => self.range_var(relation, outer, nullable),
            N::RangeSubselect(sub) => {
                let alias = sub.alias.clone();
                self.check_alias(alias.as_ref())?;
                let Some(N::SelectStmt(select)) = sub.subquery.as_deref_mut().and_then(|n| n.node.as_mut()) else {
                    return Err(Refusal::unsupported("only SELECT may stand in FROM"));
                };
                let around = if sub.lateral { scope } else { outer };
                let output = self.select(select, Some(around), None)?;
                let columns = match &alias {
                    Some(alias) => output.columns.map(|c| rename(c, &alias.colnames)),
                    None => output.columns,
                };
                let item = Item {
                    name: alias.map(|a| a.aliasname).unwrap_or_default(),
                    schema: None,
                    columns,
                    uses: Rc::new(output.uses),
                    nullable,
                    target: None,
                    named: Vec::new(),
                };
                Ok(From {
                    items: vec![item],
                    merged: BTreeSet::new(),
                    touches: output.outer_touches,
                    tame: output.tame,
                })
            }
            N::JoinExpr(join) => self.join(join, outer, left, nullable),
            N::RangeFunction(function) => {
                self.check_alias(function.alias.as_ref())?;
                let mut touches = BTreeSet::new();
                let mut name = None;
                let (mut identifiers, mut tree) = (false, false);
                for entry in &mut function.functions {
                    // Each entry is a list: the call, then its column definitions.
                    let Some(N::List(list)) = &mut entry.node else {
                        return Err(Refusal::internal("a function in FROM is not a list"));
                    };
                    for part in &mut list.items {
                        match &part.node {
                            Some(N::List(defs)) => {
                                for def in defs.items.clone() {
                                    self.column_definition(&def)?;
                                }
                            }
                            Some(_) => {
                                if let Some(N::FuncCall(call)) = &part.node {
                                    self.function_in_from = true;
                                    let called = names::parts(&call.funcname).and_then(|p| p.last().copied());
                                    tree |= called == Some("pg_partition_tree");
                                    identifiers |= called.is_some_and(|name| self.gives_alias(name));
                                }
                                touches.extend(self.expression(part, scope)?.touches);
                                self.function_in_from = false;
                                self.function_stays(part, function.alias.is_some())?;
                                name.get_or_insert_with(|| names::figure_column_name(Some(part)));
                            }
                            None => {}
                        }
                    }
                }
                for def in function.coldeflist.clone() {
                    self.column_definition(&def)?;
                }
                let name = function.alias.as_ref().map(|a| a.aliasname.clone()).or(name).unwrap_or_default();
                // Object identifiers in FROM: whatever the column is called, its type must be known wherever it is used.
                let columns = if identifiers || tree {
                    if function.functions.len() != 1 {
                        return Err(Refusal::unsupported("this form of a catalog function in FROM is not supported"));
                    }
                    let given = function.alias.as_ref().map(|a| a.colnames.as_slice()).unwrap_or_default();
                    let given = names::parts(given).unwrap_or_default().into_iter().map(str::to_owned);
                    let uses = Rc::new(touches.clone());
                    let column = |(at, name): (usize, String)| Column {
                        name,
                        type_oid: Some(match at {
                            0 => REGCLASS,
                            1 if tree => REGCLASS,
                            2 if tree => BOOL,
                            3 if tree => INT4,
                            // WITH ORDINALITY adds a number behind it.
                            _ => INT8,
                        }),
                        total: false,
                        uses: Rc::clone(&uses),
                        base: None,
                        masked: false,
                    };
                    let mut columns: Vec<Column> = given.enumerate().map(&column).collect();
                    if tree {
                        let own = ["relid", "parentrelid", "isleaf", "level"].into_iter().enumerate();
                        let missing = columns.len();
                        columns.extend(own.skip(missing).map(|(at, n)| column((at, n.to_owned()))));
                    } else {
                        columns.extend([name.clone(), "relid".to_owned()].into_iter().map(|n| column((0, n))));
                    }
                    Some(columns)
                } else {
                    None
                };
                let named = known_names(function, &name);
                let uses = Rc::new(touches.clone());
                let item = Item { name, schema: None, columns, uses, nullable, target: None, named };
                Ok(From { items: vec![item], merged: BTreeSet::new(), touches, tame: false })
            }
            N::RangeTableSample(sample) => {
                self.raises = true;
                let location = sample.location;
                let Some(N::RangeVar(relation)) = sample.relation.as_deref_mut().and_then(|n| n.node.as_mut()) else {
                    return Err(Refusal::unsupported("TABLESAMPLE is supported on relations").at(location));
                };
                let use_ = relation.location;
                let from = self.range_var(relation, outer, nullable)?;
                let method = names::parts(&sample.method).unwrap_or_default();
                let method = match method.as_slice() {
                    [one] | ["pg_catalog", one] => *one,
                    _ => "",
                };
                if !matches!(method, "bernoulli" | "system") {
                    return Err(Refusal::unsupported("only the BERNOULLI and SYSTEM sampling methods are supported")
                        .at(location));
                }
                // The place of a row depends on the rows before it, and on how wide their hidden cells are.
                let hides = match self.resolved.relations.get(&use_) {
                    Some(relation) if relation.permitted.decision().query.is_some() => {
                        let text = "TABLESAMPLE clause can only be applied to tables and materialized views";
                        return Err(Refusal::new(Family::Caller, SqlState("42809"), text).at(use_));
                    }
                    Some(relation) => relation.permitted.decision().hides_anything(),
                    None if self.resolved.temporaries.contains(&use_) => false,
                    None => return Err(Refusal::unsupported("TABLESAMPLE is supported on tables").at(location)),
                };
                if hides && (method == "system" || sample.repeatable.is_some()) {
                    return Err(Refusal::unsupported(
                        "on a relation that hides something only TABLESAMPLE BERNOULLI without REPEATABLE is supported",
                    )
                    .with_hint(
                        "The other forms would tell where rows are stored, and so how much room hidden values take.",
                    )
                    .at(location));
                }
                let root = Scope::root();
                for arg in &mut sample.args {
                    self.expression(arg, &root)?;
                }
                self.optional(&mut sample.repeatable, &root)?;
                Ok(From { tame: false, ..from })
            }
            N::RangeTableFunc(table) => {
                self.raises = true;
                self.check_alias(table.alias.as_ref())?;
                let mut touches = BTreeSet::new();
                for facts in [self.optional(&mut table.docexpr, scope)?, self.optional(&mut table.rowexpr, scope)?]
                    .into_iter()
                    .flatten()
                {
                    touches.extend(facts.touches);
                }
                for node in &mut table.namespaces {
                    touches.extend(self.expression(node, scope)?.touches);
                }
                for node in &mut table.columns {
                    let Some(N::RangeTableFuncCol(column)) = &mut node.node else {
                        return Err(Refusal::unsupported("this form of XMLTABLE is not supported"));
                    };
                    if let Some(name) = &column.type_name {
                        self.plain_type_name(name)?;
                    }
                    for facts in
                        [self.optional(&mut column.colexpr, scope)?, self.optional(&mut column.coldefexpr, scope)?]
                            .into_iter()
                            .flatten()
                    {
                        touches.extend(facts.touches);
                    }
                }
                let name = table.alias.as_ref().map_or_else(|| "xmltable".to_owned(), |a| a.aliasname.clone());
                let uses = Rc::new(touches.clone());
                let item = Item { name, schema: None, columns: None, uses, nullable, target: None, named: Vec::new() };
                Ok(From { items: vec![item], merged: BTreeSet::new(), touches, tame: false })
            }
            other => Err(walk::unsupported(other)),
        }
    }

    /// A name in FROM: a CTE in scope, or a relation.
    fn range_var(&mut self, relation: &pb::RangeVar, scope: &Scope<'_>, nullable: bool) -> Result<From, Refusal> {
        self.check_alias(relation.alias.as_ref())?;
        let alias = relation.alias.as_ref();
        let name = alias.map_or_else(|| relation.relname.clone(), |a| a.aliasname.clone());
        let aliases = alias.map(|a| a.colnames.as_slice()).unwrap_or_default();
        if relation.schemaname.is_empty()
            && relation.catalogname.is_empty()
            && let Some(cte) = scope.cte(&relation.relname)
        {
            if cte.silent.get() {
                let text = format!("WITH query \"{}\" does not have a RETURNING clause", relation.relname);
                return Err(Refusal::unsupported(text).at(relation.location));
            }
            self.resolved.ctes.insert(relation.location);
            let columns = cte
                .columns
                .borrow()
                .clone()
                .map(|c| rename(c.into_iter().map(|c| Column { base: None, ..c }).collect(), aliases));
            let uses = cte.uses.borrow().clone();
            let item = Item { name, schema: None, columns, uses, nullable, target: None, named: Vec::new() };
            return Ok(From { items: vec![item], tame: false, ..From::default() });
        }
        self.own_place(relation)?;
        if let Some(table) = self.sight.temporary(relation)? {
            self.sight.usable(table, relation)?;
            let columns = table.columns.as_ref().map(|columns| rename(super::scratch::columns(columns), aliases));
            let schema = alias.is_none().then(|| match relation.schemaname.as_str() {
                "" => SCHEMA.to_owned(),
                written => written.to_owned(),
            });
            self.resolved.temporaries.insert(relation.location);
            let tame = columns.is_some();
            let item = Item { name, schema, columns, uses: Rc::default(), nullable, target: None, named: Vec::new() };
            return Ok(From { items: vec![item], tame, ..From::default() });
        }
        let permitted = self.sight.relation(relation)?;
        let location = relation.location;
        let uses = Rc::new(BTreeSet::from([location]));
        let remote = permitted.decision().relation(self.sight.catalog);
        // Comparing text raises when collations conflict, matching it when one is nondeterministic. The default yields to any other, so
        // among columns of the default and of `C` alone there is no conflict.
        let plain_collation = |name: &str| {
            remote
                .and_then(|r| r.columns.iter().find(|c| c.name == name))
                .is_some_and(|c| collation_never_conflicts(c.collation))
        };
        let computed = permitted.decision().query.as_ref().is_some_and(|query| !query.total);
        let computed_there = |name: &str| remote.is_some_and(|r| r.computed.contains(name));
        let columns = permitted
            .decision()
            .columns
            .iter()
            .map(|c| Column {
                name: c.name.clone(),
                type_oid: Some(c.type_oid),
                total: !computed
                    && !computed_there(&c.name)
                    && c.mask.as_ref().is_none_or(|m| m.total)
                    && plain_collation(&c.name),
                uses: Rc::clone(&uses),
                base: c.mask.is_none().then_some(location),
                masked: c.mask.is_some(),
            })
            .collect();
        let tame = !computed && permitted.decision().rows.iter().all(|r| r.total);
        // Such names go by position.
        if !aliases.is_empty() {
            self.needs.whole_use(location);
        }
        let schema = alias.is_none().then(|| {
            if relation.schemaname.is_empty() {
                permitted.decision().logical.schema.clone()
            } else {
                relation.schemaname.clone()
            }
        });
        let item = Item {
            name: name.clone(),
            schema,
            columns: Some(rename_base(columns, aliases)),
            uses,
            nullable,
            target: None,
            named: Vec::new(),
        };
        self.resolved.relations.insert(
            location,
            RelationUse {
                permitted,
                alias: name,
                barrier: false,
                unguessed: false,
                row_by_row: false,
                listed: None,
                pushed: Vec::new(),
            },
        );
        Ok(From { items: vec![item], tame, ..From::default() })
    }

    /// JOIN in all its forms.
    fn join(
        &mut self,
        join: &mut pb::JoinExpr,
        outer: &Scope<'_>,
        siblings: &Left,
        nullable: bool,
    ) -> Result<From, Refusal> {
        use pb::JoinType as J;
        self.check_alias(join.alias.as_ref())?;
        self.check_alias(join.join_using_alias.as_ref())?;
        if let Some(alias) = &join.join_using_alias {
            check_plain(&alias.aliasname, "aliases of USING", -1)?;
        }
        let kind = J::try_from(join.jointype).unwrap_or_default();
        let (left_nullable, right_nullable) = match kind {
            J::JoinInner => (nullable, nullable),
            J::JoinLeft => (nullable, true),
            J::JoinRight => (true, nullable),
            J::JoinFull => (true, true),
            _ => return Err(Refusal::unsupported("this kind of join is not supported")),
        };
        let keeps_rows = kind != J::JoinInner;
        let (Some(left), Some(right)) = (join.larg.as_deref_mut(), join.rarg.as_deref_mut()) else {
            return Err(Refusal::internal("a join without two sides"));
        };
        let left = self.in_from(left, outer, siblings, left_nullable)?;
        // The right side may look at the left one through LATERAL.
        let mut beside = siblings.clone();
        beside.items.extend(left.items.iter().cloned());
        beside.merged.extend(left.merged.iter().cloned());
        let right = self.in_from(right, outer, &beside, right_nullable)?;
        check_names(&left.items, &right.items)?;
        let mut tame = left.tame && right.tame && !keeps_rows;
        let mut touches: BTreeSet<i32> = left.touches.union(&right.touches).copied().collect();
        let mut merged: BTreeSet<String> = left.merged.union(&right.merged).cloned().collect();

        let using: Option<Vec<String>> = if join.is_natural {
            self.needs.whole(&left.items);
            self.needs.whole(&right.items);
            common_names(&left.items, &right.items)
        } else {
            names::parts(&join.using_clause).map(|n| n.into_iter().map(str::to_owned).collect())
        };
        match using {
            Some(using) => {
                for name in using {
                    let (l, r) = (column_of(&left.items, &name), column_of(&right.items, &name));
                    let (facts_total, looked_at) = match (l, r) {
                        (Some(l), Some(r)) => {
                            no_conflict(self.collation_of(l), self.collation_of(r), -1)?;
                            let ty = |c: &Column| c.type_oid.map_or(Type::Unclear, Type::Known);
                            let total = l.total && r.total && self.operator_total("=", ty(l), ty(r));
                            (total, l.uses.union(&r.uses).copied().collect::<BTreeSet<i32>>())
                        }
                        _ => (false, every_use(&left.items, &right.items)),
                    };
                    if !facts_total {
                        self.expose(&looked_at);
                        tame = false;
                    }
                    touches.extend(looked_at);
                    merged.insert(name);
                }
            }
            None => {
                let all = every_use(&left.items, &right.items);
                self.expose(&all);
                touches.extend(all);
                tame = false;
            }
        }

        let mut items = left.items;
        items.extend(right.items);
        if let Some(condition) = join.quals.as_deref_mut() {
            let mut level = Scope::below(Some(outer));
            level.items.clone_from(&items);
            level.merged.clone_from(&merged);
            tame &= self.quals(condition, &level, Clause::Filter { copyable: !keeps_rows }, &mut touches)?;
        }
        if let Some(alias) = &join.alias {
            self.needs.join(&alias.aliasname, &items);
            if !alias.colnames.is_empty() {
                self.needs.whole(&items);
            }
            // The join's own name hides those within; its columns are not followed when USING merged some.
            let columns = if merged.is_empty() {
                items.iter().map(|i| i.columns.clone()).collect::<Option<Vec<_>>>().map(|c| {
                    let all = c.concat().into_iter().map(|c| Column { base: None, ..c }).collect();
                    rename(all, &alias.colnames)
                })
            } else {
                None
            };
            let uses = Rc::new(items.iter().flat_map(|i| i.uses.iter().copied()).collect());
            items = vec![Item {
                name: alias.aliasname.clone(),
                schema: None,
                columns,
                uses,
                nullable,
                target: None,
                named: Vec::new(),
            }];
            merged = BTreeSet::new();
        }
        if let Some(alias) = &join.join_using_alias {
            self.needs.join(&alias.aliasname, &items);
            let uses = Rc::new(items.iter().flat_map(|i| i.uses.iter().copied()).collect());
            items.push(Item {
                name: alias.aliasname.clone(),
                schema: None,
                columns: None,
                uses,
                nullable,
                target: None,
                named: Vec::new(),
            });
        }
        Ok(From { items, merged, touches, tame })
    }

    fn column_definition(&mut self, def: &pb::Node) -> Result<(), Refusal> {
        match &def.node {
            Some(NodeEnum::ColumnDef(column)) => match &column.type_name {
                Some(name) => {
                    self.plain_type_name(name)?;
                    let clause = column.coll_clause.as_deref();
                    clause.map_or(Ok(()), |c| self.sight.collation(&c.collname, c.location))
                }
                None => Err(Refusal::internal("a column definition without a type")),
            },
            _ => Err(Refusal::internal("a column definition list holds something else")),
        }
    }

    /// What stands for a call in FROM has to be one that may stand there, under the same name.
    fn function_stays(&self, part: &pb::Node, named: bool) -> Result<(), Refusal> {
        let (location, called) = match &part.node {
            Some(NodeEnum::FuncCall(f)) => (f.location, names::parts(&f.funcname).unwrap_or_default()),
            Some(NodeEnum::SqlvalueFunction(f)) => (f.location, Vec::new()),
            _ => return Ok(()),
        };
        let stays = match self.resolved.calls.get(&location) {
            None => true,
            Some(Replacement::Constant { .. }) => named,
            Some(Replacement::Guard(template)) => match &template.node()?.node {
                Some(NodeEnum::FuncCall(f)) => names::parts(&f.funcname).unwrap_or_default().last() == called.last(),
                _ => false,
            },
        };
        if stays {
            return Ok(());
        }
        Err(Refusal::unsupported("this function is not supported in FROM")
            .with_hint("Call it in the select list, or give it an alias.")
            .at(location))
    }

    /// Relations are known by their places.
    pub(super) fn own_place(&self, relation: &pb::RangeVar) -> Result<(), Refusal> {
        let at = relation.location;
        if at < 0
            || self.resolved.relations.contains_key(&at)
            || self.resolved.targets.contains_key(&at)
            || self.resolved.temporaries.contains(&at)
        {
            return Err(Refusal::internal("a relation without a place of its own"));
        }
        Ok(())
    }

    pub(super) fn check_alias(&self, alias: Option<&pb::Alias>) -> Result<(), Refusal> {
        alias.map_or(Ok(()), |a| check_reserved(&a.aliasname, -1))
    }
}

/// Renames a relation's columns by an alias list; a renamed column is no longer known by its own name below a barrier.
fn rename_base(columns: Vec<Column>, aliases: &[pb::Node]) -> Vec<Column> {
    let renamed = aliases.len();
    let columns = rename(columns, aliases);
    columns.into_iter().enumerate().map(|(at, c)| if at < renamed { Column { base: None, ..c } } else { c }).collect()
}

/// Column names that a function in FROM is sure to have: those of its alias and column definitions, its own.
fn known_names(function: &pb::RangeFunction, name: &str) -> Vec<String> {
    let mut known = vec![name.to_owned()];
    let given = function.alias.as_ref().map(|a| a.colnames.as_slice()).unwrap_or_default();
    known.extend(names::parts(given).unwrap_or_default().into_iter().map(str::to_owned));
    known.extend(function.coldeflist.iter().filter_map(|d| match &d.node {
        Some(NodeEnum::ColumnDef(column)) => Some(column.colname.clone()),
        _ => None,
    }));
    known
}

fn column_of<'i>(items: &'i [Item], name: &str) -> Option<&'i Column> {
    let mut found = items.iter().flat_map(|i| i.columns.iter().flatten()).filter(|c| c.name == name);
    match (found.next(), found.next()) {
        (Some(one), None) if items.iter().all(|i| i.columns.is_some()) => Some(one),
        _ => None,
    }
}

/// Column names that both sides have; `None` when some side's columns are not known.
fn common_names(left: &[Item], right: &[Item]) -> Option<Vec<String>> {
    let names = |items: &[Item]| -> Option<BTreeSet<String>> {
        items
            .iter()
            .map(|i| i.columns.as_ref())
            .collect::<Option<Vec<_>>>()
            .map(|columns| columns.into_iter().flatten().map(|c| c.name.clone()).collect())
    };
    Some(names(left)?.intersection(&names(right)?).cloned().collect())
}

fn every_use(left: &[Item], right: &[Item]) -> BTreeSet<i32> {
    left.iter().chain(right).flat_map(|i| i.uses.iter().copied()).collect()
}
