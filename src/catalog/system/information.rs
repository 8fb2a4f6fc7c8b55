//! `information_schema`, view by view (PostgreSQL manual, chapter 37).
//!
//! In: a view's bare name, what the caller sees. Out: a [`View`]. Must never: list a view whose every column was not looked at.
//!
//! The views already leave out what the service account may not see; these predicates leave out what the caller may not see.

use super::{Shown, View, col, extra};
use crate::catalog::guard;
use crate::catalog::lookup::{Map, name_array};
use crate::catalog::oids;
use crate::catalog::visibility::{OWNER_NAME, Seen, Visibility};
use crate::catalog::{Constraint, RelationKind, TypeInfo};
use crate::types::quote_literal;
use std::collections::BTreeMap;

pub(super) fn view(name: &str, v: &Visibility<'_>) -> View {
    match name {
        "information_schema_catalog_name" | "sql_features" | "sql_implementation_info" | "sql_parts" | "sql_sizing" => {
            View::all()
        }
        // The default collation is any that bears the database's locale, with its name.
        "character_sets" => {
            of_system(View::all(), ["default_collate_catalog", "default_collate_schema", "default_collate_name"], v)
        }
        "collations" | "collation_character_set_applicability" => {
            View::rows(in_schema("collation_schema", "pg_catalog"))
        }
        "schemata" => schemata(v),
        "tables" => renamed(View::rows(tables(v, |_| true)), "table_schema", "table_name", v)
            .mask("table_type", Shown::Expression(table_type()))
            .mask("is_insertable_into", writable(v, "is_insertable_into"))
            .and(extra::tables(v)),
        "columns" => of_system(
            renamed(View::rows(columns(v)), "table_schema", "table_name", v),
            ["collation_catalog", "collation_schema", "collation_name"],
            v,
        )
        .mask("column_default", column_default(v))
        .mask("generation_expression", Shown::Expression(when(&expressions(v), "generation_expression")))
        .mask("is_updatable", writable(v, "is_updatable"))
        .and(extra::columns(v)),
        "views" => {
            renamed(View::rows(tables(v, |s| s.relation.kind == RelationKind::View)), "table_schema", "table_name", v)
                .null(&["view_definition"])
                .constant(&["is_updatable", "is_insertable_into", "is_trigger_updatable"], "NO")
                .constant(&["is_trigger_deletable", "is_trigger_insertable_into"], "NO")
                .and(extra::views(v))
        }
        "table_constraints" => {
            let view =
                renamed(View::rows(constraints(v, "table_schema", "table_name")), "table_schema", "table_name", v);
            constraint_schema(view, v)
        }
        "key_column_usage" => {
            let view =
                renamed(View::rows(constraints(v, "table_schema", "table_name")), "table_schema", "table_name", v);
            constraint_schema(view, v)
        }
        "referential_constraints" => constraint_schema(View::rows(unambiguous(v, |c| c.kind == 'f')), v),
        "constraint_column_usage" => {
            let rows = format!("({}) AND ({})", unambiguous(v, |_| true), columns(v));
            constraint_schema(renamed(View::rows(rows), "table_schema", "table_name", v), v)
        }
        "domains" => of_system(
            View::rows(domains(v)).mask("domain_default", domain_default(v)),
            ["collation_catalog", "collation_schema", "collation_name"],
            v,
        ),
        "domain_constraints" => View::rows(domains(v)),
        // The elements of arrays in columns; those of other types than the system's are not told apart.
        "element_types" => {
            let tables = tables_by("object_schema", "object_name", v, |s| s.whole());
            let rows = format!(
                "{} = 'TABLE' AND ({tables}) AND {}",
                col("object_type"),
                in_schema("udt_schema", "pg_catalog")
            );
            of_system(
                renamed(View::rows(rows), "object_schema", "object_name", v),
                ["collation_catalog", "collation_schema", "collation_name"],
                v,
            )
        }
        // Those of the caller, not those of the service account.
        "table_privileges" | "role_table_grants" => View::none().and(extra::table_privileges(v)),
        "enabled_roles" => View::none().and(extra::enabled_roles(v)),
        // Privileges on columns and types, roles, routines, triggers, foreign servers, options, usage of domains and types.
        _ => View::none(),
    }
}

/// Columns that name an object (its database, schema and name), NULL unless it stands in `pg_catalog`.
fn of_system(view: View, [database, schema, object]: [&'static str; 3], v: &Visibility<'_>) -> View {
    let when =
        |shown: String| Shown::Expression(format!("CASE WHEN {} THEN {shown} END", in_schema(schema, "pg_catalog")));
    view.mask(database, when(quote_literal(v.database))).mask(schema, when(col(schema))).mask(object, when(col(object)))
}

fn table_type() -> String {
    format!(
        "CASE WHEN {0}::pg_catalog.text = 'FOREIGN' THEN 'BASE TABLE' ELSE {0}::pg_catalog.text END",
        col("table_type")
    )
}

/// A column of type `sql_identifier`, a domain over `name`, as `name`.
fn name(column: &str) -> String {
    format!("{}::pg_catalog.name", col(column))
}

fn in_schema(column: &str, schema: &str) -> String {
    format!("{} = {}::pg_catalog.name", name(column), quote_literal(schema))
}

fn in_names<'n>(column: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    format!("{} = ANY ({})", name(column), name_array(names))
}

fn system(column: &str) -> String {
    in_names(column, ["pg_catalog", "information_schema"])
}

fn or(parts: Vec<String>) -> String {
    parts.into_iter().map(|p| format!("({p})")).collect::<Vec<_>>().join(" OR ")
}

/// Rows by `table_schema` and `table_name`: visible relations, and the system's.
fn tables(v: &Visibility<'_>, of: impl Fn(&Seen) -> bool) -> String {
    tables_by("table_schema", "table_name", v, of)
}

/// The same by other columns.
fn tables_by(schema: &str, table: &str, v: &Visibility<'_>, of: impl Fn(&Seen) -> bool) -> String {
    let mut parts = vec![system(schema)];
    parts.extend(own_tables(schema, table, v, of));
    or(parts)
}

/// The same of visible relations alone, schema by schema.
fn own_tables(schema: &str, table: &str, v: &Visibility<'_>, of: impl Fn(&Seen) -> bool) -> Vec<String> {
    let part = |(own, names)| format!("{} AND {}", in_schema(schema, own), one_of(table, names, v));
    by_schema(v, of).into_iter().map(part).collect()
}

/// Whether something can be written, as the server says, where WRITE was given; `NO` elsewhere.
fn writable(v: &Visibility<'_>, column: &str) -> Shown {
    let mut parts = vec!["false".to_owned()];
    parts.extend(own_tables("table_schema", "table_name", v, |s| s.decision.write));
    Shown::Expression(format!("CASE WHEN {} THEN {}::pg_catalog.text ELSE 'NO' END", or(parts), col(column)))
}

/// A column where a condition holds, else NULL.
fn when(condition: &str, column: &str) -> String {
    format!("CASE WHEN {condition} THEN {} END", col(column))
}

/// Relations whose expressions name nothing that the caller does not see, as `pg_attrdef` shows them.
fn expressions(v: &Visibility<'_>) -> String {
    tables(v, |s| s.whole() && !s.is_renamed() && s.relation.alien_defaults.is_empty())
}

/// Defaults, without the schema that the server prints where the caller's path makes it superfluous.
fn column_default(v: &Visibility<'_>) -> Shown {
    let shown = format!("({})::pg_catalog.text", when(&expressions(v), "column_default"));
    Shown::Expression(guard::default_names(shown, v))
}

/// Defaults of domains, but for those that name what not everyone sees.
fn domain_default(v: &Visibility<'_>) -> Shown {
    let mut alien = vec!["false".to_owned()];
    alien.extend(v.types().filter(|t| t.alien_default).map(one_domain));
    Shown::Expression(format!("CASE WHEN NOT ({}) THEN {} END", or(alien), col("domain_default")))
}

/// Rows by `domain_schema` and `domain_name`: the system's, and domains that visible columns use.
fn domains(v: &Visibility<'_>) -> String {
    let mut parts = vec![system("domain_schema")];
    parts.extend(v.types().filter(|t| t.kind == 'd').map(one_domain));
    or(parts)
}

/// The rows of one domain.
fn one_domain(domain: &TypeInfo) -> String {
    let here = in_schema("domain_schema", &domain.name.schema);
    format!("{here} AND {} = {}::pg_catalog.name", name("domain_name"), quote_literal(&domain.name.name))
}

fn by_schema<'s>(v: &'s Visibility<'_>, of: impl Fn(&Seen) -> bool) -> BTreeMap<&'s str, Vec<&'s str>> {
    let mut schemas: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for seen in v.scope().relations.iter().filter(|s| s.is_stored() && of(s)) {
        schemas.entry(&seen.relation.name.schema).or_default().push(&seen.relation.name.name);
    }
    schemas
}

/// Rows by table and `column_name`: columns of the dictionary, and the system's.
fn columns(v: &Visibility<'_>) -> String {
    let mut parts = vec![tables(v, |s| s.whole())];
    let partial = v.scope().relations.iter().filter(|s| s.is_stored() && !s.whole());
    let keys = partial.flat_map(|s| s.columns().map(|c| [&*s.relation.name.schema, &s.relation.name.name, &c.name]));
    parts.extend(triples(["table_schema", "table_name", "column_name"], keys, v));
    or(parts)
}

/// Rows of visible constraints, by table and `constraint_name`.
fn constraints(v: &Visibility<'_>, schema: &str, table: &str) -> String {
    let mut parts = vec![system(schema)];
    let names = |s| v.constraints(s).map(|c| c.name.as_str());
    let seen = v.scope().relations.iter();
    let keys = seen.flat_map(|s| names(s).map(|name| [&*s.relation.name.schema, &s.relation.name.name, name]));
    parts.extend(triples([schema, table, "constraint_name"], keys, v));
    or(parts)
}

/// Rows by three names at once, each of them a whole; none when there are no keys. Identifiers hold no zero bytes, but line feeds: their
/// lengths stand before them.
fn triples<'n>(columns: [&str; 3], keys: impl Iterator<Item = [&'n str; 3]>, v: &Visibility<'_>) -> Option<String> {
    let keys: Vec<String> = keys.map(|[a, b, c]| format!("{} {} {a}{b}{c}", a.len(), b.len())).collect();
    let [a, b, c] = columns.map(name);
    let length = |column: &str| format!("pg_catalog.octet_length({column}::pg_catalog.text)");
    let key = format!("pg_catalog.concat({}, ' ', {}, ' ', {a}, {b}, {c})", length(&a), length(&b));
    (!keys.is_empty()).then(|| oids::texts(&key, keys.iter().map(String::as_str), v.catalog.server_version))
}

/// As [`in_names`], for names that may be many.
fn one_of<'n>(column: &str, names: impl IntoIterator<Item = &'n str>, v: &Visibility<'_>) -> String {
    oids::named(&name(column), names, v.catalog.server_version)
}

/// Rows known by `constraint_schema` and `constraint_name` alone, which need not be unique: a name is shown when every constraint of the
/// schema that bears it is visible.
fn unambiguous(v: &Visibility<'_>, of: impl Fn(&Constraint) -> bool) -> String {
    let mut total: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for relation in v.catalog.relations.values() {
        for c in &relation.constraints {
            *total.entry((&relation.name.schema, &c.name)).or_default() += 1;
        }
    }
    let mut seen_names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for seen in &v.scope().relations {
        for c in v.constraints(seen).filter(|c| of(c)) {
            *seen_names.entry((&seen.relation.name.schema, &c.name)).or_default() += 1;
        }
    }
    let mut schemas: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, count) in &seen_names {
        if total.get(key) == Some(count) {
            schemas.entry(key.0).or_default().push(key.1);
        }
    }
    let mut parts = vec!["false".to_owned()];
    for (schema, names) in schemas {
        parts.push(format!("{} AND {}", in_schema("constraint_schema", schema), one_of("constraint_name", names, v)));
    }
    or(parts)
}

fn schemata(v: &Visibility<'_>) -> View {
    let mut real = vec!["pg_catalog", "information_schema"];
    let own = v.scope().schemas.keys().filter(|name| v.catalog.schemas.contains_key(*name));
    real.extend(own.map(String::as_str));
    View::rows(in_names("schema_name", real)).constant(&["schema_owner"], OWNER_NAME).and(extra::schemata(v))
}

/// Shows logical schema and name of the relation.
fn renamed(view: View, schema: &'static str, table: &'static str, v: &Visibility<'_>) -> View {
    let (mut schemas, mut names) = (Map::default(), Map::default());
    for seen in &v.scope().relations {
        let (remote, logical) = (&seen.decision.remote, &seen.decision.logical);
        let id = format!("{}\n{}", remote.schema, remote.name);
        if remote.schema != logical.schema {
            schemas.add(id.clone(), logical.schema.clone());
        }
        if remote.name != logical.name {
            names.add(id, logical.name.clone());
        }
    }
    let id = format!("pg_catalog.concat({}, '\n'::pg_catalog.text, {})", name(schema), name(table));
    view.replace(schema, &schemas, &id).replace(table, &names, &id)
}

/// A constraint lives in its relation's schema; shown where the schema as a whole has one logical name.
fn constraint_schema(view: View, v: &Visibility<'_>) -> View {
    let mut schemas = Map::default();
    for seen in &v.scope().relations {
        schemas.add(seen.decision.remote.schema.clone(), seen.decision.logical.schema.clone());
    }
    let lookup = |column| (column, format!("{}::pg_catalog.text", col(column)));
    let (own, own_key) = lookup("constraint_schema");
    let (unique, unique_key) = lookup("unique_constraint_schema");
    view.replace(own, &schemas, &own_key).replace(unique, &schemas, &unique_key)
}
