//! Rows of the virtual catalog that the warehouse does not have: query sources as views, logical schemas, declared descriptions.
//!
//! In: what the caller sees. Out: the columns of such rows, by name; those of other versions of PostgreSQL are left out where they do
//! not exist, and NULL where they are not given here. Must never: show anything but what is declared.

use super::{Extra, Shown};
use crate::catalog::own::{Kind, is_own};
use crate::catalog::synthetic::is_synthetic;
use crate::catalog::visibility::{OWNER_NAME, Seen, Visibility};
use crate::catalog::{Column, RelationKind, TypeInfo};
use crate::types::Oid;

/// `pg_class` among the catalogs (pg_class.dat).
const CLASS_OF_RELATIONS: u32 = 1259;

fn text(value: impl ToString) -> Shown {
    Shown::Constant(value.to_string())
}

fn queries<'s, 'v: 's>(v: &'s Visibility<'v>) -> impl Iterator<Item = &'s Seen> + 's {
    v.scope().relations.iter().filter(|s| !s.is_stored())
}

fn schema_oid(v: &Visibility<'_>, seen: &Seen) -> Oid {
    v.scope().schemas.get(seen.decision.logical.schema.as_str()).copied().unwrap_or_default()
}

/// Several columns with one value.
fn same(row: &mut Extra, columns: &[&'static str], value: &str) {
    row.extend(columns.iter().map(|c| (*c, text(value))));
}

pub(super) fn pg_class(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |seen: &Seen| {
        let highest = seen.columns().map(|c| c.number).max().unwrap_or(0);
        let mut row = vec![
            ("oid", text(seen.relation.oid)),
            ("relname", text(&seen.decision.logical.name)),
            ("relnamespace", text(schema_oid(v, seen))),
            ("relpersistence", text("p")),
            ("relkind", text("v")),
            ("relnatts", text(highest)),
            ("reltuples", text("-1")),
            ("relispopulated", text("true")),
            ("relreplident", text("n")),
        ];
        same(&mut row, &["reltype", "reloftype", "relam", "relfilenode", "reltablespace", "relpages"], "0");
        same(&mut row, &["relallvisible", "relallfrozen", "reltoastrelid", "relchecks", "relrewrite"], "0");
        same(&mut row, &["relfrozenxid", "relminmxid"], "0");
        same(&mut row, &["relhasindex", "relisshared", "relhasrules", "relhastriggers", "relhassubclass"], "false");
        same(&mut row, &["relrowsecurity", "relforcerowsecurity", "relispartition"], "false");
        row
    };
    queries(v).map(row).collect()
}

/// What `information_schema` says of the length of text (`_pg_char_octet_length`).
const TEXT_OCTETS: u32 = 1 << 30;

/// A column of `pg_type` for the types of the proxy's own relations (pg_type.dat), so that their rows are constants.
fn own_type(seen: &Seen, column: &Column, field: &str) -> Option<&'static str> {
    if !is_own(&seen.decision.logical.schema) {
        return None;
    }
    let flag = column.type_oid == Kind::Bool.oid();
    Some(match field {
        "typlen" if flag => "1",
        "typlen" => "-1",
        "typbyval" if flag => "true",
        "typbyval" => "false",
        "typalign" if flag => "c",
        "typalign" => "i",
        "typstorage" if flag => "p",
        "typstorage" => "x",
        _ => return None,
    })
}

pub(super) fn pg_attribute(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |(seen, column): (&Seen, &Column)| {
        let of_type = |field: &str| match own_type(seen, column, field) {
            Some(known) => text(known),
            None => Shown::Expression(format!(
                "SELECT t.{field} FROM pg_catalog.pg_type AS t WHERE t.oid = {}::pg_catalog.oid",
                column.type_oid
            )),
        };
        let array = v.catalog.types.get(&column.type_oid).is_some_and(|t| t.category == 'A');
        let mut row = vec![
            ("attrelid", text(seen.relation.oid)),
            ("attname", text(&column.name)),
            ("atttypid", text(column.type_oid)),
            ("attlen", of_type("typlen")),
            ("attbyval", of_type("typbyval")),
            ("attalign", of_type("typalign")),
            ("attstorage", of_type("typstorage")),
            ("attnum", text(column.number)),
            ("attndims", text(i32::from(array))),
            ("atttypmod", text(column.typmod)),
            ("attcollation", text(column.collation)),
            ("attislocal", text("true")),
        ];
        same(&mut row, &["attstattarget", "attcacheoff"], "-1");
        same(&mut row, &["attcompression", "attidentity", "attgenerated"], "");
        same(&mut row, &["attnotnull", "atthasdef", "atthasmissing", "attisdropped"], "false");
        same(&mut row, &["attinhcount"], "0");
        row
    };
    queries(v).flat_map(|seen| seen.columns().map(move |c| (seen, c))).map(row).collect()
}

/// Logical schemas that the warehouse does not have: OID and name.
fn schemas<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = (Oid, &'s str)> + 's {
    let synthetic =
        v.scope().schemas.iter().filter(|(name, oid)| is_synthetic(**oid) && !v.catalog.schemas.contains_key(*name));
    synthetic.map(|(name, oid)| (*oid, name.as_str()))
}

pub(super) fn pg_namespace(v: &Visibility<'_>) -> Vec<Extra> {
    schemas(v).map(|(oid, name)| vec![("oid", text(oid)), ("nspname", text(name))]).collect()
}

/// Declared descriptions: relation, column number (0: the relation itself) and text.
pub(super) fn descriptions<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = (Oid, i16, &'s str)> + 's {
    v.scope().relations.iter().flat_map(|seen| {
        let oid = seen.relation.oid;
        let own = seen.decision.comments.relation.as_deref().map(|text| (oid, 0, text));
        own.into_iter().chain(seen.column_comments().map(move |(number, text)| (oid, number, text)))
    })
}

pub(super) fn pg_description(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |(oid, number, comment): (Oid, i16, &str)| {
        vec![
            ("objoid", text(oid)),
            ("classoid", text(CLASS_OF_RELATIONS)),
            ("objsubid", text(number)),
            ("description", text(comment)),
        ]
    };
    descriptions(v).map(row).collect()
}

pub(super) fn pg_views(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |seen: &Seen| {
        let name = &seen.decision.logical;
        vec![("schemaname", text(&name.schema)), ("viewname", text(&name.name)), ("viewowner", text(OWNER_NAME))]
    };
    queries(v).map(row).collect()
}

/// `table_catalog`, `table_schema` and `table_name`.
fn table(v: &Visibility<'_>, seen: &Seen) -> Extra {
    let name = &seen.decision.logical;
    vec![("table_catalog", text(v.database)), ("table_schema", text(&name.schema)), ("table_name", text(&name.name))]
}

pub(super) fn schemata(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |(_, name): (Oid, &str)| {
        vec![("catalog_name", text(v.database)), ("schema_name", text(name)), ("schema_owner", text(OWNER_NAME))]
    };
    schemas(v).map(row).collect()
}

pub(super) fn tables(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |seen: &Seen| {
        let mut row = table(v, seen);
        row.push(("table_type", text("VIEW")));
        same(&mut row, &["is_insertable_into", "is_typed"], "NO");
        row
    };
    queries(v).map(row).collect()
}

/// What the caller may do with each relation he sees: read it, and write it where he was given WRITE.
pub(super) fn table_privileges(v: &Visibility<'_>) -> Vec<Extra> {
    let of = |seen: &Seen| -> Vec<Extra> {
        let written = seen.decision.write.then_some(["INSERT", "UPDATE", "DELETE", "TRUNCATE"]);
        let privileges = ["SELECT"].into_iter().chain(written.into_iter().flatten());
        let row = |privilege: &str| {
            let mut row = table(v, seen);
            row.extend([("grantor", text(OWNER_NAME)), ("grantee", text(v.user))]);
            row.extend([("privilege_type", text(privilege)), ("is_grantable", text("NO"))]);
            row.push(("with_hierarchy", text(if privilege == "SELECT" { "YES" } else { "NO" })));
            row
        };
        privileges.map(row).collect()
    };
    // As in PostgreSQL, materialized views have none.
    let shown = v.scope().relations.iter().filter(|s| s.relation.kind != RelationKind::MaterializedView);
    shown.flat_map(of).collect()
}

pub(super) fn enabled_roles(v: &Visibility<'_>) -> Vec<Extra> {
    vec![vec![("role_name", text(v.user))]]
}

pub(super) fn views(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |seen: &Seen| {
        let mut row = table(v, seen);
        row.push(("check_option", text("NONE")));
        same(&mut row, &["is_updatable", "is_insertable_into", "is_trigger_updatable"], "NO");
        same(&mut row, &["is_trigger_deletable", "is_trigger_insertable_into"], "NO");
        row
    };
    queries(v).map(row).collect()
}

/// As `information_schema.columns` is made (information_schema.sql), with its own functions for lengths and precisions.
pub(super) fn columns(v: &Visibility<'_>) -> Vec<Extra> {
    let row = |(seen, column): (&Seen, &Column)| {
        let mut row = table(v, seen);
        let info = v.catalog.types.get(&column.type_oid).map(AsRef::as_ref);
        let base =
            info.filter(|t| t.kind == 'd').and_then(|t| v.catalog.types.get(&t.base)).map(AsRef::as_ref).or(info);
        let of_type = |function: &str| {
            if is_own(&seen.decision.logical.schema) {
                // Of the types that the proxy's own relations have only text has a length.
                let length = function == "_pg_char_octet_length" && column.type_oid == Kind::Text.oid();
                return if length { text(TEXT_OCTETS) } else { Shown::Null };
            }
            let oid = base.map_or(column.type_oid, |t| t.oid);
            let typmod = column.typmod;
            Shown::Expression(format!(
                "information_schema.{function}({oid}::pg_catalog.oid, ({typmod})::pg_catalog.int4)"
            ))
        };
        row.extend([
            ("column_name", text(&column.name)),
            ("ordinal_position", text(column.number)),
            ("is_nullable", text("YES")),
            ("data_type", text(base.map_or("USER-DEFINED", data_type))),
            ("character_maximum_length", of_type("_pg_char_max_length")),
            ("character_octet_length", of_type("_pg_char_octet_length")),
            ("numeric_precision", of_type("_pg_numeric_precision")),
            ("numeric_precision_radix", of_type("_pg_numeric_precision_radix")),
            ("numeric_scale", of_type("_pg_numeric_scale")),
            ("datetime_precision", of_type("_pg_datetime_precision")),
            ("interval_type", of_type("_pg_interval_type")),
            ("udt_catalog", text(v.database)),
            ("dtd_identifier", text(column.number)),
            ("is_generated", text("NEVER")),
        ]);
        if let Some(base) = base {
            row.extend([("udt_schema", text(&base.name.schema)), ("udt_name", text(&base.name.name))]);
        }
        if let Some(domain) = info.filter(|t| t.kind == 'd') {
            row.push(("domain_catalog", text(v.database)));
            row.extend([("domain_schema", text(&domain.name.schema)), ("domain_name", text(&domain.name.name))]);
        }
        same(&mut row, &["is_self_referencing", "is_identity", "identity_cycle", "is_updatable"], "NO");
        row
    };
    queries(v).flat_map(|seen| seen.columns().map(move |c| (seen, c))).map(row).collect()
}

fn data_type(info: &TypeInfo) -> &str {
    match (info.category, info.name.schema.as_str()) {
        ('A', _) => "ARRAY",
        (_, "pg_catalog") => &info.sql,
        _ => "USER-DEFINED",
    }
}
