//! Definitions of temporary tables: what their types, defaults, checks and indexes are made of.
//!
//! In: a statement that makes or changes a temporary table. Out: [`Resolved`], and the columns it will have. Must never: let a
//! definition name anything but allowed functions, types and the table's own columns: it is evaluated later, without being decided again.

use super::scope::{Column, Item, Scope};
use super::{Replacement, Resolved, Resolver, Sight};
use crate::catalog::functions::FIRST_NORMAL_OID;
use crate::catalog::scratch::{ScratchColumn, ScratchTable};
use crate::error::{Family, Refusal, SqlState};
use crate::sql::{NodeEnum, names, pb};
use crate::telemetry::{Stage, stages};
use crate::types::Oid;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Types that are no types: they make a sequence too (PostgreSQL manual, 8.1.4).
const SERIALS: [(&str, Oid); 6] = [
    ("smallserial", Oid(21)),
    ("serial2", Oid(21)),
    ("serial", Oid(23)),
    ("serial4", Oid(23)),
    ("bigserial", Oid(20)),
    ("serial8", Oid(20)),
];

/// Stands for a collation that is not followed: conditions over it count as what may raise.
pub const UNKNOWN_COLLATION: Oid = Oid(u32::MAX);

/// Columns that every table has (PostgreSQL manual, 5.5).
pub(super) fn is_system_column(name: &str) -> bool {
    matches!(name, "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid")
}

/// A temporary table's columns as a FROM item offers them: reading them raises nothing and touches no policy.
pub(super) fn columns(columns: &[ScratchColumn]) -> Vec<Column> {
    let uses = Rc::<BTreeSet<i32>>::default();
    let column = |c: &ScratchColumn| Column {
        name: c.name.clone(),
        type_oid: c.type_oid,
        total: c.type_oid.is_some() && crate::catalog::total::collation_never_conflicts(c.collation),
        uses: Rc::clone(&uses),
        base: None,
        masked: false,
    };
    columns.iter().map(column).collect()
}

/// Resolves CREATE TABLE.
///
/// # Errors
/// As [`super::resolve`]; 0A000 for parts of a definition that are not supported.
pub fn resolve_table(
    create: &mut pb::CreateStmt,
    sight: &Sight<'_>,
) -> Result<(Resolved, Vec<ScratchColumn>), Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut work = Definition::new(sight);
    let name = create.relation.as_ref().map(|r| r.relname.clone()).unwrap_or_default();
    for node in &create.table_elts {
        match &node.node {
            Some(NodeEnum::ColumnDef(column)) => work.column(column)?,
            Some(NodeEnum::TableLikeClause(like)) => work.like(like)?,
            Some(NodeEnum::Constraint(_)) => {}
            _ => return Err(Refusal::unsupported("this part of a table definition is not supported")),
        }
    }
    for node in &mut create.table_elts {
        match &mut node.node {
            Some(NodeEnum::ColumnDef(column)) => work.constraints(&mut column.constraints, &name)?,
            Some(NodeEnum::Constraint(constraint)) => work.constraint(constraint, &name)?,
            _ => {}
        }
    }
    work.finish(create.relation.as_ref())
}

/// Resolves CREATE INDEX on a temporary table.
///
/// # Errors
/// As [`resolve_table`].
pub fn resolve_index(index: &mut pb::IndexStmt, table: &ScratchTable, sight: &Sight<'_>) -> Result<Resolved, Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut work = Definition::on(sight, table);
    let name = index.relation.as_ref().map(|r| r.relname.clone()).unwrap_or_default();
    for node in index.index_params.iter_mut().chain(&mut index.index_including_params) {
        let Some(NodeEnum::IndexElem(element)) = &mut node.node else {
            return Err(Refusal::internal("an index holds something other than its elements"));
        };
        in_pg_catalog(&element.opclass, "operator classes")?;
        sight.collation(&element.collation, -1)?;
        if !element.opclassopts.is_empty() {
            return Err(Refusal::unsupported("parameters of operator classes are not supported"));
        }
        if let Some(expression) = element.expr.as_deref_mut() {
            work.expression(expression, Some(&name))?;
        }
    }
    if let Some(condition) = index.where_clause.as_deref_mut() {
        work.expression(condition, Some(&name))?;
    }
    work.finish(index.relation.as_ref()).map(|(resolved, _)| resolved)
}

/// Resolves ALTER TABLE of a temporary table.
///
/// # Errors
/// As [`resolve_table`].
pub fn resolve_alter(
    alter: &mut pb::AlterTableStmt,
    table: &ScratchTable,
    sight: &Sight<'_>,
) -> Result<(Resolved, Option<Vec<ScratchColumn>>), Refusal> {
    use pb::AlterTableType as T;
    let _stage = stages::enter(Stage::Resolve);
    let mut work = Definition::on(sight, table);
    let name = alter.relation.as_ref().map(|r| r.relname.clone()).unwrap_or_default();
    for node in &mut alter.cmds {
        let Some(NodeEnum::AlterTableCmd(command)) = &mut node.node else {
            return Err(Refusal::internal("ALTER TABLE holds something other than commands"));
        };
        let def = command.def.as_deref_mut().and_then(|n| n.node.as_mut());
        match (T::try_from(command.subtype).unwrap_or_default(), def) {
            (T::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                work.column(column)?;
                work.constraints(&mut column.constraints, &name)?;
            }
            (T::AtDropColumn, None) => work.columns.retain(|c| c.name != command.name),
            (T::AtSetNotNull | T::AtDropNotNull | T::AtDropConstraint, None) => {}
            (T::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => work.constraint(constraint, &name)?,
            _ => {
                return Err(Refusal::unsupported("this form of ALTER TABLE is not supported").with_hint(
                    "Supported are ADD and DROP COLUMN, SET and DROP NOT NULL, ADD and DROP CONSTRAINT, RENAME.",
                ));
            }
        }
    }
    let known = table.columns.is_some();
    work.finish(alter.relation.as_ref()).map(|(resolved, columns)| (resolved, known.then_some(columns)))
}

/// A definition being looked at.
struct Definition<'a, 's> {
    resolver: Resolver<'a, 's>,
    columns: Vec<ScratchColumn>,
    /// Whether all of the table's columns are known.
    known: bool,
}

impl<'a, 's> Definition<'a, 's> {
    fn new(sight: &'a Sight<'s>) -> Self {
        Self { resolver: Resolver::new(sight, &[]), columns: Vec::new(), known: true }
    }

    fn on(sight: &'a Sight<'s>, table: &ScratchTable) -> Self {
        let columns = table.columns.clone();
        Self { resolver: Resolver::new(sight, &[]), known: columns.is_some(), columns: columns.unwrap_or_default() }
    }

    /// The resolved definition of `relation`, when it holds nothing that would be decided anew each time it is evaluated.
    fn finish(self, relation: Option<&pb::RangeVar>) -> Result<(Resolved, Vec<ScratchColumn>), Refusal> {
        let mut resolved = self.resolver.finish();
        let Some(relation) = relation.filter(|r| r.location >= 0) else {
            return Err(Refusal::internal("a table without a place"));
        };
        let subquery = !resolved.relations.is_empty() || !resolved.ctes.is_empty() || !resolved.groups.is_empty();
        if subquery {
            return Err(Refusal::unsupported("cannot use subquery in the definition of a table").at(relation.location));
        }
        let guarded = resolved.calls.iter().find(|(_, with)| matches!(with, Replacement::Guard(_)));
        if let Some((location, _)) = guarded {
            return Err(Refusal::unsupported("a function or cast that reads the catalog cannot be part of a table")
                .at(*location));
        }
        resolved.temporaries.insert(relation.location);
        Ok((resolved, self.columns))
    }

    /// A column: its type and collation.
    fn column(&mut self, column: &pb::ColumnDef) -> Result<(), Refusal> {
        let Some(name) = &column.type_name else {
            return Err(Refusal::internal("a column without a type"));
        };
        let plain = column.identity_sequence.is_none()
            && column.fdwoptions.is_empty()
            && column.raw_default.is_none()
            && column.cooked_default.is_none();
        if !plain {
            return Err(Refusal::unsupported("this form of a column is not supported").at(column.location));
        }
        let serial = match names::parts(&name.names).unwrap_or_default().as_slice() {
            [one] if name.array_bounds.is_empty() && name.typmods.is_empty() && !name.setof => {
                SERIALS.iter().find(|(serial, _)| serial == one).map(|(_, oid)| *oid)
            }
            _ => None,
        };
        let type_oid = match serial {
            Some(oid) => Some(oid),
            None => self.resolver.plain_type_name(name)?,
        };
        // Which collation it is not is known for the system's types alone.
        let own = type_oid.is_none_or(|oid| oid.0 >= FIRST_NORMAL_OID);
        let mut collation = if own { UNKNOWN_COLLATION } else { Oid(0) };
        if let Some(clause) = &column.coll_clause {
            self.resolver.sight.collation(&clause.collname, clause.location)?;
            collation = UNKNOWN_COLLATION;
        }
        self.columns.push(ScratchColumn { name: column.colname.clone(), type_oid, collation });
        Ok(())
    }

    /// `LIKE other`: a temporary table too.
    fn like(&mut self, like: &pb::TableLikeClause) -> Result<(), Refusal> {
        let Some(relation) = like.relation.as_ref() else {
            return Err(Refusal::internal("LIKE without a table"));
        };
        let Some(other) = self.resolver.sight.temporary(relation)? else {
            // A hidden one is not told apart.
            self.resolver.sight.relation(relation)?;
            return Err(Refusal::unsupported("LIKE is supported for temporary tables only")
                .with_hint("Write CREATE TEMPORARY TABLE … AS SELECT … WITH NO DATA.")
                .at(relation.location));
        };
        self.resolver.sight.usable(other, relation)?;
        self.resolver.resolved.temporaries.insert(relation.location);
        match &other.columns {
            Some(columns) => self.columns.extend(columns.iter().cloned()),
            None => self.known = false,
        }
        Ok(())
    }

    fn constraints(&mut self, nodes: &mut [pb::Node], table: &str) -> Result<(), Refusal> {
        for node in nodes {
            let Some(NodeEnum::Constraint(constraint)) = &mut node.node else {
                return Err(Refusal::unsupported("this part of a column definition is not supported"));
            };
            self.constraint(constraint, table)?;
        }
        Ok(())
    }

    fn constraint(&mut self, constraint: &mut pb::Constraint, table: &str) -> Result<(), Refusal> {
        use pb::ConstrType as T;
        let at = constraint.location;
        let refused =
            |what: &str| Err(Refusal::unsupported(format!("{what} is not supported on temporary tables")).at(at));
        match T::try_from(constraint.contype).unwrap_or_default() {
            T::ConstrNull
            | T::ConstrNotnull
            | T::ConstrAttrDeferrable
            | T::ConstrAttrNotDeferrable
            | T::ConstrAttrDeferred
            | T::ConstrAttrImmediate => {}
            T::ConstrDefault => {
                if let Some(expression) = constraint.raw_expr.as_deref_mut() {
                    self.expression(expression, None)?;
                }
            }
            T::ConstrCheck | T::ConstrGenerated => {
                if let Some(expression) = constraint.raw_expr.as_deref_mut() {
                    self.expression(expression, Some(table))?;
                }
            }
            T::ConstrIdentity => {
                for option in &constraint.options {
                    sequence_option(option)?;
                }
            }
            T::ConstrPrimary | T::ConstrUnique => {
                if !constraint.indexname.is_empty()
                    || !constraint.indexspace.is_empty()
                    || !constraint.options.is_empty()
                {
                    return refused("an index of one's own choice for a constraint");
                }
            }
            T::ConstrForeign => return refused("a foreign key"),
            T::ConstrExclusion => return refused("an exclusion constraint"),
            T::ConstrAttrEnforced | T::ConstrAttrNotEnforced | T::Undefined => return refused("this constraint"),
        }
        Ok(())
    }

    /// An expression of a definition; over the table's columns when it may look at them.
    fn expression(&mut self, node: &mut pb::Node, table: Option<&str>) -> Result<(), Refusal> {
        let mut scope = Scope::root();
        if let Some(table) = table {
            let columns = self.known.then(|| columns(&self.columns));
            scope.items.push(Item {
                name: table.to_owned(),
                schema: Some(crate::catalog::scratch::SCHEMA.to_owned()),
                columns,
                uses: Rc::default(),
                nullable: false,
                target: None,
                named: Vec::new(),
            });
        }
        self.resolver.expression(node, &scope).map(drop)
    }
}

/// Options of an identity column: numbers and flags.
fn sequence_option(option: &pb::Node) -> Result<(), Refusal> {
    let Some(NodeEnum::DefElem(option)) = &option.node else {
        return Err(Refusal::internal("an option of another kind"));
    };
    let value = option.arg.as_deref().and_then(|a| a.node.as_ref());
    match (option.defname.as_str(), value) {
        (
            "start" | "increment" | "minvalue" | "maxvalue" | "cache" | "cycle",
            None | Some(NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::Boolean(_)),
        ) => Ok(()),
        (name, _) => Err(Refusal::new(
            Family::Unsupported,
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("sequence option \"{name}\" is not supported"),
        )
        .at(option.location)),
    }
}

/// A name that can only mean something of `pg_catalog`.
pub(super) fn in_pg_catalog(name: &[pb::Node], what: &str) -> Result<(), Refusal> {
    match names::parts(name).unwrap_or_default().as_slice() {
        [] | [_] | ["pg_catalog", _] => Ok(()),
        _ => Err(Refusal::unsupported(format!("{what} outside pg_catalog are not supported"))),
    }
}
