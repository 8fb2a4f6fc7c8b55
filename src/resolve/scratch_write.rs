//! INSERT, UPDATE, DELETE and MERGE of a session's own temporary table: nothing of it is hidden, so it stands bare and is read as it is.
//!
//! In: the statement. Out: what its names mean. Must never: take a relation for a temporary one that is not; what is read besides goes
//! through its decision as in any SELECT.

use super::Resolver;
use super::from::{Left, check_names};
use super::scope::{Column, Item, Scope};
use super::select::{Clause, Output, known, star_columns};
use crate::catalog::scratch::SCHEMA;
use crate::error::Refusal;
use crate::sql::{NodeEnum, names, pb};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The columns of RETURNING: `None` without one, `Some(None)` when they are not known.
type Returned = Option<Option<Vec<Column>>>;

/// The relation that a statement writes.
pub fn written(node: &NodeEnum) -> Option<&pb::RangeVar> {
    match node {
        NodeEnum::InsertStmt(insert) => insert.relation.as_ref(),
        NodeEnum::UpdateStmt(update) => update.relation.as_ref(),
        NodeEnum::DeleteStmt(delete) => delete.relation.as_ref(),
        NodeEnum::MergeStmt(merge) => merge.relation.as_ref(),
        _ => None,
    }
}

impl Resolver<'_, '_> {
    /// Resolves a statement that writes to a temporary table; `None` when it writes to something else.
    pub(super) fn write_temporary(
        &mut self,
        node: &mut NodeEnum,
        parent: Option<&Scope<'_>>,
    ) -> Result<Option<(Output, bool)>, Refusal> {
        let Some(relation) = written(node) else { return Ok(None) };
        let Some(item) = self.own_target(relation)? else { return Ok(None) };
        let before: BTreeSet<i32> = self.resolved.relations.keys().copied().collect();
        let mut scope = Scope::below(parent);
        let returned = match node {
            NodeEnum::InsertStmt(insert) => self.insert_own(insert, item, &mut scope)?,
            NodeEnum::UpdateStmt(update) => {
                self.with_of(&mut update.with_clause, &mut scope)?;
                self.beside_own(&mut update.from_clause, &mut scope, item)?;
                self.filter(&mut update.where_clause, &scope, true)?;
                self.set(&mut update.target_list, &scope)?;
                self.returned(&mut update.returning_clause, &scope)?
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with_of(&mut delete.with_clause, &mut scope)?;
                self.beside_own(&mut delete.using_clause, &mut scope, item)?;
                self.filter(&mut delete.where_clause, &scope, true)?;
                self.returned(&mut delete.returning_clause, &scope)?
            }
            NodeEnum::MergeStmt(merge) => {
                self.merge_own(merge, item, &mut scope)?;
                None
            }
            _ => return Err(Refusal::internal("a statement that writes of another kind")),
        };
        let uses = self.resolved.relations.keys().filter(|k| !before.contains(k)).copied().collect();
        let returns = returned.is_some();
        let columns = returned.unwrap_or_else(|| Some(Vec::new()));
        Ok(Some((Output { columns, uses, outer_touches: BTreeSet::new(), tame: false }, returns)))
    }

    /// The relation that is written, as an item of FROM.
    fn own_target(&mut self, relation: &pb::RangeVar) -> Result<Option<Item>, Refusal> {
        let Some(table) = self.sight.temporary(relation)? else { return Ok(None) };
        self.sight.usable(table, relation)?;
        let alias = relation.alias.as_ref();
        if let Some(alias) = alias {
            super::names::check_reserved(&alias.aliasname, -1)?;
        }
        if relation.location < 0 || !self.resolved.temporaries.insert(relation.location) {
            return Err(Refusal::internal("a relation without a place of its own"));
        }
        let schema = alias.is_none().then(|| match relation.schemaname.as_str() {
            "" => SCHEMA.to_owned(),
            written => written.to_owned(),
        });
        let name = alias.map_or_else(|| relation.relname.clone(), |a| a.aliasname.clone());
        let columns = table.columns.as_deref().map(super::scratch::columns);
        Ok(Some(Item { name, schema, columns, uses: Rc::default(), nullable: false, target: None, named: Vec::new() }))
    }

    fn with_of(&mut self, with: &mut Option<pb::WithClause>, scope: &mut Scope<'_>) -> Result<(), Refusal> {
        with.as_mut().map_or(Ok(()), |with| self.with(with, scope))
    }

    fn insert_own(
        &mut self,
        insert: &mut pb::InsertStmt,
        item: Item,
        scope: &mut Scope<'_>,
    ) -> Result<Returned, Refusal> {
        self.with_of(&mut insert.with_clause, scope)?;
        for node in &mut insert.cols {
            self.parts(node, scope)?;
        }
        match insert.select_stmt.as_deref_mut().and_then(|n| n.node.as_mut()) {
            None => {}
            Some(NodeEnum::SelectStmt(select)) => drop(self.select(select, Some(scope), None)?),
            Some(other) => {
                return Err(Refusal::unsupported(format!("INSERT from {} is not supported", names::kind_name(other))));
            }
        }
        if let Some(conflict) = insert.on_conflict_clause.as_deref_mut() {
            let mut both = Scope::below(Some(scope));
            let excluded = Item { name: "excluded".to_owned(), schema: None, ..item.clone() };
            both.items = vec![item.clone(), excluded];
            if let Some(infer) = conflict.infer.as_deref_mut() {
                for node in &mut infer.index_elems {
                    let Some(NodeEnum::IndexElem(element)) = &mut node.node else {
                        return Err(Refusal::internal("ON CONFLICT names something else than an index"));
                    };
                    super::scratch::in_pg_catalog(&element.opclass, "operator classes")?;
                    self.sight.collation(&element.collation, infer.location)?;
                    self.optional(&mut element.expr, &both)?;
                }
                self.filter(&mut infer.where_clause, &both, false)?;
            }
            self.set(&mut conflict.target_list, &both)?;
            self.filter(&mut conflict.where_clause, &both, false)?;
        }
        scope.items = vec![item];
        self.returned(&mut insert.returning_clause, scope)
    }

    fn merge_own(&mut self, merge: &mut pb::MergeStmt, item: Item, scope: &mut Scope<'_>) -> Result<(), Refusal> {
        if merge.returning_clause.is_some() {
            return Err(Refusal::unsupported("MERGE … RETURNING is not supported"));
        }
        self.with_of(&mut merge.with_clause, scope)?;
        let Some(source) = merge.source_relation.as_deref_mut() else {
            return Err(Refusal::internal("a MERGE without a source"));
        };
        // Rows of the source that match nothing are kept.
        let source = self.in_from(source, scope, &Left::default(), true)?;
        check_names(std::slice::from_ref(&item), &source.items)?;
        let mut both = Scope::below(Some(scope));
        both.items = std::iter::once(item).chain(source.items).collect();
        both.merged = source.merged;
        self.filter(&mut merge.join_condition, &both, false)?;
        for node in &mut merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = &mut node.node else {
                return Err(Refusal::internal("a MERGE holds something else than WHEN"));
            };
            self.filter(&mut when.condition, &both, false)?;
            self.set(&mut when.target_list, &both)?;
            self.each(&mut when.values, &both)?;
        }
        Ok(())
    }

    /// FROM or USING, which cannot look at what is written; then both stand side by side.
    fn beside_own(&mut self, from: &mut [pb::Node], scope: &mut Scope<'_>, item: Item) -> Result<(), Refusal> {
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

    fn filter(
        &mut self,
        condition: &mut Option<Box<pb::Node>>,
        scope: &Scope<'_>,
        copyable: bool,
    ) -> Result<(), Refusal> {
        let Some(condition) = condition.as_deref_mut() else { return Ok(()) };
        self.quals(condition, scope, Clause::Filter { copyable }, &mut BTreeSet::new()).map(drop)
    }

    /// Brackets and fields of a column that is written.
    fn parts(&mut self, node: &mut pb::Node, scope: &Scope<'_>) -> Result<(), Refusal> {
        let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
            return Err(Refusal::internal("a column list holds something else"));
        };
        self.each(&mut target.indirection, scope).map(drop)
    }

    /// SET, and the column lists of MERGE.
    fn set(&mut self, list: &mut [pb::Node], scope: &Scope<'_>) -> Result<(), Refusal> {
        for node in list {
            self.parts(node, scope)?;
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else { continue };
            let Some(value) = target.val.as_deref_mut() else { continue };
            match &mut value.node {
                // Each target holds the whole source; it is one and the same.
                Some(NodeEnum::MultiAssignRef(several)) if several.colno > 1 => {}
                Some(NodeEnum::MultiAssignRef(several)) => drop(self.optional(&mut several.source, scope)?),
                _ => drop(self.expression(value, scope)?),
            }
        }
        Ok(())
    }

    fn returned(&mut self, clause: &mut Option<pb::ReturningClause>, scope: &Scope<'_>) -> Result<Returned, Refusal> {
        let Some(clause) = clause else { return Ok(None) };
        if !clause.options.is_empty() {
            return Err(Refusal::unsupported("options of RETURNING are not supported"));
        }
        let mut columns = Some(Vec::new());
        for node in &mut clause.exprs {
            let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                return Err(Refusal::internal("RETURNING holds something other than targets"));
            };
            let name = target.name.clone();
            let Some(value) = target.val.as_deref_mut() else {
                return Err(Refusal::internal("a target without a value"));
            };
            let star = star_columns(value, scope);
            let facts = self.expression(value, scope)?;
            match (star, &mut columns) {
                (Some(Some(expanded)), Some(known)) => known.extend(expanded),
                (Some(_), _) | (_, None) => columns = None,
                (None, Some(known_columns)) => {
                    let name = if name.is_empty() { names::figure_column_name(Some(value)) } else { name };
                    known_columns.push(Column {
                        name,
                        type_oid: known(facts.type_oid),
                        total: facts.total,
                        uses: Rc::new(facts.touches),
                        base: None,
                        masked: facts.masked,
                    });
                }
            }
        }
        Ok(Some(columns))
    }
}
