//! Temporary tables: what callers may make for themselves, and everything about it but reading and writing rows.
//!
//! In: a statement that makes, changes or drops a relation. Out: its plan, for the session's own temporary tables alone. Must never: make
//! anything that others see, or from anything but decided sources.

use super::statement::Kind;
use super::{Effect, Plan};
use crate::catalog::scratch::{Change, SCHEMA, ScratchColumn, ScratchTable};
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::Access;
use crate::resolve::{self, Output, Resolved, UNKNOWN_COLLATION};
use crate::rewrite;
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, build, names, pb};
use crate::types::Oid;
use std::collections::BTreeMap;

impl Kind<'_> {
    /// CREATE TABLE.
    pub(super) fn create_table(&self, create: &pb::CreateStmt) -> Result<Plan, Refusal> {
        let relation = self.made(create.relation.as_ref(), "CREATE TABLE")?;
        let plain = create.inh_relations.is_empty()
            && create.partbound.is_none()
            && create.partspec.is_none()
            && create.of_typename.is_none();
        if !plain {
            return Err(Refusal::unsupported(
                "temporary tables that inherit, are partitioned or of a type are not supported",
            )
            .at(relation.location));
        }
        storage(&create.options, &create.tablespacename, &create.access_method, relation.location)?;
        let mut tree = create.clone();
        tree.if_not_exists = create.if_not_exists && self.is_there(relation)?;
        let (resolved, columns) = resolve::resolve_table(&mut tree, self.sight)?;
        rewrite::rewrite_table(&mut tree, &resolved, &self.kept.bodies)?;
        let effect = Effect::Scratch(Change::Create {
            name: relation.relname.clone(),
            columns: Some(columns),
            until_commit: create.oncommit == pb::OnCommitAction::OncommitDrop as i32,
            unless_there: tree.if_not_exists,
        });
        self.sealed(self.caller, NodeEnum::CreateStmt(tree), &resolved, effect, false)
    }

    /// CREATE TABLE AS.
    pub(super) fn create_table_as(&self, create: &pb::CreateTableAsStmt) -> Result<Plan, Refusal> {
        let Some(into) = create.into.as_deref().filter(|_| create.objtype == pb::ObjectType::ObjectTable as i32) else {
            return Err(self.refused());
        };
        let Some(NodeEnum::SelectStmt(select)) = create.query.as_deref().and_then(|n| n.node.as_ref()) else {
            return Err(Refusal::unsupported("CREATE TABLE AS is supported for SELECT"));
        };
        let relation = self.into(into, "CREATE TABLE AS")?;
        let mut tree = (**select).clone();
        let (mut resolved, output) = self.resolved(&mut tree)?;
        resolved.temporaries.insert(relation.location);
        rewrite::rewrite(&mut tree, &resolved, &self.kept.bodies)?;
        let mut rewritten = create.clone();
        rewritten.query = Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(tree)))));
        rewritten.into = Some(Box::new(placed(into)));
        rewritten.if_not_exists = create.if_not_exists && self.is_there(relation)?;
        let effect = made_from(into, output, rewritten.if_not_exists)?;
        let rewritten = NodeEnum::CreateTableAsStmt(Box::new(rewritten));
        self.sealed(self.caller, rewritten, &resolved, effect, false)
    }

    /// A query whose result becomes a table.
    fn resolved(&self, select: &mut pb::SelectStmt) -> Result<(Resolved, Output), Refusal> {
        let picture = Tree::of(select)?;
        resolve::resolve_with_output(select, &picture, self.sight, &self.inputs.param_types, BTreeMap::new())
    }

    /// SELECT INTO; `None` when the SELECT has no such clause.
    pub(super) fn select_into(&self, select: &pb::SelectStmt) -> Result<Option<Plan>, Refusal> {
        // Of a set operation the first arm holds it.
        let mut first = select;
        while let Some(left) = &first.larg {
            first = left;
        }
        if first.into_clause.is_none() {
            return Ok(None);
        }
        let mut tree = select.clone();
        let Some(into) = first_arm(&mut tree).into_clause.take() else { return Ok(None) };
        let relation = self.into(&into, "SELECT INTO")?;
        let (mut resolved, output) = self.resolved(&mut tree)?;
        resolved.temporaries.insert(relation.location);
        rewrite::rewrite(&mut tree, &resolved, &self.kept.bodies)?;
        first_arm(&mut tree).into_clause = Some(Box::new(placed(&into)));
        let effect = made_from(&into, output, false)?;
        let rewritten = NodeEnum::SelectStmt(Box::new(tree));
        self.sealed(self.caller, rewritten, &resolved, effect, false).map(Some)
    }

    /// CREATE INDEX.
    pub(super) fn create_index(&self, index: &pb::IndexStmt) -> Result<Plan, Refusal> {
        let table = self.temporary(index.relation.as_ref(), "CREATE INDEX")?;
        let location = index.relation.as_ref().map_or(-1, |r| r.location);
        storage(&index.options, &index.table_space, "", location)?;
        let methods = ["", "btree", "hash", "gin", "gist", "spgist", "brin"];
        if !index.exclude_op_names.is_empty() || !methods.contains(&index.access_method.as_str()) {
            return Err(Refusal::unsupported("this kind of index is not supported").at(location));
        }
        let mut tree = index.clone();
        let resolved = resolve::resolve_index(&mut tree, table, self.sight)?;
        rewrite::rewrite_index(&mut tree, &resolved, &self.kept.bodies)?;
        let rewritten = NodeEnum::IndexStmt(Box::new(tree));
        self.sealed(self.caller, rewritten, &resolved, Effect::Scratch(Change::Detail), false)
    }

    /// ALTER TABLE.
    pub(super) fn alter_table(&self, alter: &pb::AlterTableStmt) -> Result<Plan, Refusal> {
        if alter.objtype != pb::ObjectType::ObjectTable as i32 {
            return Err(self.refused());
        }
        let table = self.temporary(alter.relation.as_ref(), "ALTER TABLE")?;
        let mut tree = alter.clone();
        let (resolved, columns) = resolve::resolve_alter(&mut tree, table, self.sight)?;
        rewrite::rewrite_alter(&mut tree, &resolved, &self.kept.bodies)?;
        let name = alter.relation.as_ref().map(|r| r.relname.clone()).unwrap_or_default();
        let effect = Effect::Scratch(Change::Columns { name, columns });
        self.sealed(self.caller, NodeEnum::AlterTableStmt(tree), &resolved, effect, false)
    }

    /// ALTER TABLE … RENAME.
    pub(super) fn rename(&self, rename: &pb::RenameStmt) -> Result<Plan, Refusal> {
        use pb::ObjectType as O;
        let kind = O::try_from(rename.rename_type).unwrap_or_default();
        if !matches!(kind, O::ObjectTable | O::ObjectColumn)
            || (kind == O::ObjectColumn && rename.relation_type != O::ObjectTable as i32)
        {
            return Err(self.refused());
        }
        let table = self.temporary(rename.relation.as_ref(), "ALTER TABLE")?;
        let from = rename.relation.as_ref().map(|r| r.relname.clone()).unwrap_or_default();
        let change = if kind == O::ObjectTable {
            Change::Rename { from, to: rename.newname.clone() }
        } else {
            let mut columns = table.columns.clone();
            let renamed = columns.iter_mut().flatten().filter(|c| c.name == rename.subname);
            renamed.for_each(|c| c.name.clone_from(&rename.newname));
            Change::Columns { name: from, columns }
        };
        let mut tree = rename.clone();
        tree.relation.iter_mut().for_each(rewrite::own_schema);
        let resolved = only(rename.relation.iter());
        let rewritten = NodeEnum::RenameStmt(Box::new(tree));
        self.sealed(self.caller, rewritten, &resolved, Effect::Scratch(change), false)
    }

    /// DROP TABLE.
    pub(super) fn drop_table(&self, drop: &pb::DropStmt) -> Result<Plan, Refusal> {
        let kind = pb::ObjectType::try_from(drop.remove_type).unwrap_or_default();
        if kind != pb::ObjectType::ObjectTable {
            return Err(self.refused());
        }
        self.allowed("DROP TABLE")?;
        let mut dropped = Vec::new();
        let mut tree = drop.clone();
        for (object, rewritten) in drop.objects.iter().zip(&mut tree.objects) {
            let parts = match &object.node {
                Some(NodeEnum::List(list)) => names::parts(&list.items),
                _ => None,
            };
            let relation = named(parts.unwrap_or_default().as_slice())?;
            self.droppable(&relation, drop.missing_ok)?;
            *rewritten = build::node(NodeEnum::List(pb::List {
                items: vec![build::string(SCHEMA), build::string(&relation.relname)],
            }));
            dropped.push(relation.relname);
        }
        let effect = Effect::Scratch(Change::Drop(dropped));
        self.sealed(self.caller, NodeEnum::DropStmt(tree), &Resolved::default(), effect, false)
    }

    /// A name that DROP may drop: a temporary table, or nothing at all when that is fine.
    fn droppable(&self, relation: &pb::RangeVar, missing_ok: bool) -> Result<(), Refusal> {
        let written = resolve::relation_written(relation);
        if self.sight.temporary(relation)?.is_some() {
            return Ok(());
        }
        let own = self.inputs.session.scratch.is_schema(&relation.schemaname);
        let access = if own { Access::Hidden } else { self.sight.found(relation) };
        match access {
            Access::Hidden if missing_ok && (own || relation.schemaname.is_empty()) => Ok(()),
            Access::Hidden if missing_ok => Err(only_temporary("DROP TABLE")),
            Access::Hidden => Err(Refusal::new(
                Family::Denied,
                SqlState::UNDEFINED_TABLE,
                format!("table \"{written}\" does not exist"),
            )),
            Access::Visible(_) | Access::Discoverable { .. } | Access::Invalid => {
                Err(Refusal::denied(format!("must be owner of table {}", relation.relname))
                    .with_hint("Only temporary tables can be dropped."))
            }
        }
    }

    /// ANALYZE of temporary tables.
    pub(super) fn analyze(&self, analyze: &pb::VacuumStmt) -> Result<Plan, Refusal> {
        if analyze.is_vacuumcmd || analyze.rels.is_empty() || !analyze.options.is_empty() {
            return Err(self.refused());
        }
        let mut tree = analyze.clone();
        let mut resolved = Resolved::default();
        for node in &mut tree.rels {
            let Some(NodeEnum::VacuumRelation(item)) = &mut node.node else {
                return Err(Refusal::internal("ANALYZE of something other than relations"));
            };
            self.temporary(item.relation.as_ref(), "ANALYZE")?;
            resolved.temporaries.extend(item.relation.iter().map(|r| r.location));
            item.relation.iter_mut().for_each(rewrite::own_schema);
        }
        self.sealed(self.caller, NodeEnum::VacuumStmt(tree), &resolved, Effect::None, false)
    }

    /// COPY FROM STDIN into a temporary table, its schema already written in `rewritten`.
    pub(super) fn copy_into_own(&self, copy: &pb::CopyStmt, rewritten: pb::CopyStmt) -> Result<Plan, Refusal> {
        let Some(relation) = &copy.relation else {
            return Err(Refusal::internal("a COPY without a relation"));
        };
        let columns = names::parts(&copy.attlist).unwrap_or_default();
        self.sight.copied(relation, &columns)?;
        let resolved = only(std::iter::once(relation));
        self.sealed(self.caller, NodeEnum::CopyStmt(Box::new(rewritten)), &resolved, Effect::None, false)
    }

    /// DISCARD TEMP.
    pub(super) fn discard_temp(&self) -> Result<Plan, Refusal> {
        self.utility(Effect::Scratch(Change::Clear), false)
    }

    /// The session's own temporary table that a statement is about; every other relation is refused.
    fn temporary(&self, relation: Option<&pb::RangeVar>, what: &str) -> Result<&ScratchTable, Refusal> {
        let relation = relation.ok_or_else(|| Refusal::internal("a statement about no relation"))?;
        if let Some(table) = self.sight.temporary(relation)? {
            return Ok(table);
        }
        let written = resolve::relation_written(relation);
        match self.sight.found(relation) {
            Access::Hidden => Err(Refusal::undefined_table(&written)),
            Access::Visible(_) | Access::Discoverable { .. } | Access::Invalid => Err(only_temporary(what)),
        }
        .map_err(|refusal| refusal.at(relation.location))
    }

    /// Whether temporary tables may be made here at all.
    fn allowed(&self, what: &str) -> Result<(), Refusal> {
        if self.inputs.session.scratch.enabled {
            return Ok(());
        }
        Err(Refusal::unsupported(format!("{what} is not supported: temporary tables are turned off")))
    }

    /// The relation that a statement makes, when it is temporary.
    fn made<'r>(&self, relation: Option<&'r pb::RangeVar>, what: &str) -> Result<&'r pb::RangeVar, Refusal> {
        let relation = relation.ok_or_else(|| Refusal::internal("a statement that makes nothing"))?;
        self.allowed(what)?;
        let elsewhere = !relation.catalogname.is_empty() && relation.catalogname != self.inputs.session.database;
        if elsewhere || !self.sight.makes_temporary(relation)? {
            return Err(only_temporary(what).at(relation.location));
        }
        if relation.relname.starts_with("_sv") {
            return Err(Refusal::unsupported("names beginning with \"_sv\" are reserved").at(relation.location));
        }
        Ok(relation)
    }

    /// Whether a statement of the session has made a temporary table of that name. Where none has, IF NOT EXISTS is left out: a table
    /// that something else in the warehouse left behind must not be taken for the caller's.
    fn is_there(&self, relation: &pb::RangeVar) -> Result<bool, Refusal> {
        let own = pb::RangeVar { schemaname: SCHEMA.to_owned(), catalogname: String::new(), ..relation.clone() };
        let scratch = &self.inputs.session.scratch;
        if scratch.is_certain() && scratch.table(&relation.relname).is_none() {
            return Ok(false);
        }
        self.sight.temporary(&own).map(|found| found.is_some())
    }

    fn into<'r>(&self, into: &'r pb::IntoClause, what: &str) -> Result<&'r pb::RangeVar, Refusal> {
        let relation = self.made(into.rel.as_ref(), what)?;
        storage(&into.options, &into.table_space_name, &into.access_method, relation.location)?;
        Ok(relation)
    }
}

/// Nothing but relations that stand bare.
fn only<'r>(relations: impl Iterator<Item = &'r pb::RangeVar>) -> Resolved {
    Resolved { temporaries: relations.map(|r| r.location).collect(), ..Resolved::default() }
}

fn only_temporary(what: &str) -> Refusal {
    Refusal::unsupported(format!("{what} is supported for temporary tables only"))
        .with_hint("Temporary tables can be made with CREATE TEMPORARY TABLE and SELECT INTO TEMPORARY.")
}

/// A name of a DROP as a relation.
fn named(parts: &[&str]) -> Result<pb::RangeVar, Refusal> {
    let (catalog, schema, name) = match parts {
        [name] => ("", "", *name),
        [schema, name] => ("", *schema, *name),
        [catalog, schema, name] => (*catalog, *schema, *name),
        _ => return Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, "improper relation name")),
    };
    Ok(pb::RangeVar {
        catalogname: catalog.to_owned(),
        schemaname: schema.to_owned(),
        relname: name.to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        alias: None,
        location: -1,
    })
}

/// The arm of a set operation that comes first in the text.
fn first_arm(select: &mut pb::SelectStmt) -> &mut pb::SelectStmt {
    match select.larg {
        Some(ref mut left) => first_arm(left),
        None => select,
    }
}

fn placed(into: &pb::IntoClause) -> pb::IntoClause {
    let mut placed = into.clone();
    if let Some(relation) = &mut placed.rel {
        rewrite::own_schema(relation);
        "t".clone_into(&mut relation.relpersistence);
    }
    placed
}

/// The effect of a statement that makes a table of a query's output.
fn made_from(into: &pb::IntoClause, output: Output, unless_there: bool) -> Result<Effect, Refusal> {
    let relation = into.rel.as_ref().ok_or_else(|| Refusal::internal("a query into nothing"))?;
    let given = names::parts(&into.col_names).unwrap_or_default();
    for (name, type_oid) in output.iter().flatten() {
        if type_oid.is_some_and(resolve::is_alias) {
            return Err(Refusal::unsupported(format!(
                "a temporary table cannot hold object identifiers (column \"{name}\")"
            ))
            .with_hint("Cast the column to oid or text.")
            .at(relation.location));
        }
    }
    let columns = output.map(|columns| {
        let name = |at: usize, name: String| given.get(at).map_or(name, |given| (*given).to_owned());
        let column = |(at, (own, type_oid)): (usize, (String, Option<Oid>))| ScratchColumn {
            name: name(at, own),
            type_oid,
            collation: UNKNOWN_COLLATION,
        };
        columns.into_iter().enumerate().map(column).collect()
    });
    Ok(Effect::Scratch(Change::Create {
        name: relation.relname.clone(),
        columns,
        until_commit: into.on_commit == pb::OnCommitAction::OncommitDrop as i32,
        unless_there,
    }))
}

/// Storage: the warehouse's own choice, but for options that only shape it.
fn storage(options: &[pb::Node], tablespace: &str, method: &str, location: i32) -> Result<(), Refusal> {
    if !tablespace.is_empty() {
        return Err(Refusal::unsupported("TABLESPACE is not supported").at(location));
    }
    if !method.is_empty() {
        return Err(Refusal::unsupported("USING of a table access method is not supported").at(location));
    }
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            return Err(Refusal::internal("a storage option of another kind"));
        };
        let value = option.arg.as_deref().and_then(|a| a.node.as_ref());
        let plain = matches!(value, None | Some(NodeEnum::Integer(_) | NodeEnum::String(_) | NodeEnum::Boolean(_)));
        let known = ["fillfactor", "autovacuum_enabled", "oids"].contains(&option.defname.as_str());
        if !known || !plain || !option.defnamespace.is_empty() {
            let text = format!("storage parameter \"{}\" is not supported", option.defname);
            return Err(Refusal::unsupported(text).at(option.location));
        }
    }
    Ok(())
}
