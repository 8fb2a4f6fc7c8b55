//! `pg_catalog`, relation by relation (PostgreSQL manual, chapters 53 and 54).
//!
//! In: a relation's bare name, what the caller sees. Out: a [`View`]. Must never: list a relation whose every column was not looked at.

use super::{Shown, View, col, extra, key};
use crate::catalog::RelationKind;
use crate::catalog::functions::FIRST_NORMAL_OID;
use crate::catalog::lookup::{self, Map, name_array};
use crate::catalog::oids::{self, Mention, Pairs};
use crate::catalog::visibility::{CALLER_OID, OWNER_NAME, OWNER_OID, Seen, Visibility};
use crate::types::{Oid, quote_literal};
use std::collections::HashSet;

/// `pg_toast`, `pg_database`, … : OIDs of catalogs and schemas in their .dat files.
const PG_CATALOG: u32 = 11;
const PG_TOAST: u32 = 99;
const CLASS_OF_RELATIONS: u32 = 1259;
const CLASS_OF_TYPES: u32 = 1247;
const CLASS_OF_CONSTRAINTS: u32 = 2606;
const CLASS_OF_SCHEMAS: u32 = 2615;

/// Settings a client may read: how values look and what the server is.
pub(crate) const SETTINGS: &[&str] = &[
    "application_name",
    "array_nulls",
    "block_size",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "constraint_exclusion",
    "cursor_tuple_fraction",
    "DateStyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "integer_datetimes",
    "IntervalStyle",
    "jit",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "max_function_args",
    "max_identifier_length",
    "max_index_keys",
    "search_path",
    "server_encoding",
    "server_version",
    "server_version_num",
    "standard_conforming_strings",
    "statement_timeout",
    "TimeZone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

pub(super) fn view(name: &str, v: &Visibility<'_>) -> View {
    match name {
        "pg_class" => pg_class(v),
        "pg_attribute" => pg_attribute(v),
        "pg_attrdef" => View::rows(or(vec![system("adrelid"), default_columns(v)])),
        "pg_index" => View::rows(or(vec![system("indexrelid"), any("indexrelid", indexes(v), v)])),
        "pg_constraint" => pg_constraint(v),
        "pg_type" => pg_type(v),
        "pg_enum" => View::rows(any("enumtypid", v.scope().types.iter().copied(), v)),
        "pg_range" => View::rows(or(vec![system("rngtypid"), any("rngtypid", v.scope().types.iter().copied(), v)])),
        "pg_namespace" => pg_namespace(v),
        "pg_inherits" => {
            // Those that inherit or are inherited from, and their indexes.
            let own = |s: &Seen| v.own_schema().is_some_and(|(own, _)| own == s.decision.logical.schema);
            let linked =
                |s: &&Seen| own(s) || !s.relation.parents.is_empty() || !v.catalog.children(s.relation.oid).is_empty();
            let linked = v.scope().relations.iter().filter(linked);
            let seen: Vec<u32> = linked.flat_map(Seen::with_indexes).collect();
            View::rows(format!("{} AND {}", any("inhrelid", seen.clone(), v), any("inhparent", seen, v)))
        }
        // Between the system's own objects; owners are elsewhere (pg_shdepend).
        "pg_depend" => View::rows(format!("{} AND {}", system("objid"), system("refobjid"))),
        "pg_partitioned_table" => pg_partitioned_table(v),
        "pg_description" => pg_description(v),
        "pg_shdescription" => View::rows(system("objoid")),
        "pg_database" => pg_database(v),
        "pg_tablespace" => View::rows(system("oid")).null(&["spcoptions"]),
        "pg_roles" => pg_roles(v),
        "pg_user" => pg_user(v),
        "pg_settings" => pg_settings(v),
        "pg_tables" => pg_tables(v),
        "pg_views" => named(View::rows(kind_rows(v, "viewname", RelationKind::View)), "viewname", v)
            .null(&["definition"])
            .and(extra::pg_views(v)),
        "pg_matviews" => {
            named(View::rows(kind_rows(v, "matviewname", RelationKind::MaterializedView)), "matviewname", v)
                .null(&["definition", "tablespace"])
        }
        "pg_indexes" => pg_indexes(v),
        // The system's own, made by initdb: the same in every database of a release.
        "pg_am" | "pg_amop" | "pg_amproc" | "pg_cast" | "pg_conversion" | "pg_language" | "pg_opclass"
        | "pg_operator" | "pg_opfamily" | "pg_ts_template" => View::rows(system("oid")),
        // Those that callers may name (`named`); of an upgraded operating system there are later ones (pg_import_system_collations).
        "pg_collation" => View::rows(any("collnamespace", [PG_CATALOG], v)),
        "pg_ts_config" => View::rows(any("cfgnamespace", [PG_CATALOG], v)),
        "pg_ts_dict" => View::rows(any("dictnamespace", [PG_CATALOG], v)),
        "pg_ts_parser" => View::rows(any("prsnamespace", [PG_CATALOG], v)),
        "pg_extension" => View::rows(system("oid")).null(&["extconfig", "extcondition"]),
        // With their sources, which pg_get_functiondef() shows too.
        "pg_proc" => View::rows(system("oid")),
        "pg_aggregate" => {
            View::rows(format!("{}::pg_catalog.oid < {FIRST_NORMAL_OID}::pg_catalog.oid", col("aggfnoid")))
        }
        "pg_ts_config_map" => View::rows(system("mapcfg")),
        "pg_timezone_abbrevs" | "pg_timezone_names" => View::all(),
        // Everything else: statistics, activity, locks, roles and passwords, storage, replication, rules, triggers, policies, dependencies.
        _ => View::none(),
    }
}

/// Rows of objects that initdb made.
fn system(column: &str) -> String {
    format!("{} < {FIRST_NORMAL_OID}::pg_catalog.oid", col(column))
}

fn any(column: &str, oids: impl IntoIterator<Item = u32>, v: &Visibility<'_>) -> String {
    v.holds(&col(column), oids, Mention::Freely)
}

fn or(parts: Vec<String>) -> String {
    parts.into_iter().map(|p| format!("({p})")).collect::<Vec<_>>().join(" OR ")
}

/// Visible relations.
fn shown(v: &Visibility<'_>) -> Vec<u32> {
    v.scope().relations.iter().map(|s| s.relation.oid.0).collect()
}

/// Visible relations with no hidden column.
fn whole(v: &Visibility<'_>) -> Vec<u32> {
    v.scope().relations.iter().filter(|s| s.whole()).map(|s| s.relation.oid.0).collect()
}

fn indexes(v: &Visibility<'_>) -> Vec<u32> {
    v.scope().relations.iter().flat_map(|s| s.indexes()).map(|i| i.oid.0).collect()
}

/// Columns of relations with hidden ones, by relation and number.
fn pairs(v: &Visibility<'_>, relation: &str, number: &str) -> String {
    let mut pairs = Pairs::default();
    for seen in v.scope().relations.iter().filter(|s| !s.whole()) {
        pairs.add(seen.relation.oid.0, seen.columns().map(|c| c.number));
    }
    oids::pair(&col(relation), &col(number), &pairs, v.catalog.server_version)
}

/// Default expressions of relations whose every column is visible.
fn default_columns(v: &Visibility<'_>) -> String {
    // The default of a relation known by another name may say its own: nextval('remote.sequence'). Every expression tells where it stood in
    // CREATE TABLE, and so how long the names of columns before it are.
    let shown = || v.scope().relations.iter().filter(|s| s.whole() && !s.is_renamed());
    let alien: Vec<u32> = shown().flat_map(|s| s.relation.alien_defaults.iter().map(|oid| oid.0)).collect();
    let known = any("adrelid", shown().map(|s| s.relation.oid.0), v);
    if alien.is_empty() { known } else { format!("{known} AND NOT ({})", any("oid", alien, v)) }
}

/// `pg_class` OIDs of schemas, as text, for relations shown in another schema than their own.
fn moved(v: &Visibility<'_>, of: impl Fn(&Seen) -> Vec<Oid>) -> Map {
    let mut map = Map::default();
    for seen in v.scope().relations.iter().filter(|s| s.decision.logical.schema != s.decision.remote.schema) {
        let schema = v.scope().schemas.get(seen.decision.logical.schema.as_str()).copied().unwrap_or_default();
        of(seen).into_iter().for_each(|oid| map.add(oid.to_string(), schema.to_string()));
    }
    map
}

fn pg_class(v: &Visibility<'_>) -> View {
    let scope = v.scope();
    let (mut names, mut counts, mut checks) = (Map::default(), Map::default(), Map::default());
    for seen in &scope.relations {
        let oid = seen.relation.oid.to_string();
        let told = v.constraints(seen).filter(|c| c.kind == 'c').count();
        if told != seen.relation.constraints.iter().filter(|c| c.kind == 'c').count() {
            checks.add(oid.clone(), told.to_string());
        }
        if seen.decision.logical.name != seen.decision.remote.name {
            names.add(oid.clone(), seen.decision.logical.name.clone());
        }
        if !seen.whole() {
            counts.add(oid, seen.columns().map(|c| c.number).max().unwrap_or(0).to_string());
        }
    }
    let schemas = moved(v, |s| s.indexes().map(|i| i.oid).chain([s.relation.oid]).collect());
    let visible = shown(v).into_iter().chain(indexes(v)).chain(scope.composites.iter().copied());
    let sound = format!("{} AND {} <> {PG_TOAST}::pg_catalog.oid", system("oid"), col("relnamespace"));
    // What there is of indexes is shown as it is but for those that hide all of them.
    let unindexed = scope.relations.iter().filter(|s| !s.relation.indexes.is_empty() && s.indexes().next().is_none());
    let unindexed = any("oid", unindexed.map(|s| s.relation.oid.0), v);
    let plain = any("oid", lookup::plain(v), v);
    let when_plain = |column, or| Shown::Expression(format!("CASE WHEN {plain} THEN {} ELSE {or} END", col(column)));
    let view = View::rows(or(vec![sound, format!("{}{}", any("oid", visible, v), alone(v))]))
        .replace("relname", &names, &key("oid"))
        .replace("relnamespace", &schemas, &key("oid"))
        .replace("relnatts", &counts, &key("oid"))
        .replace("relchecks", &checks, &key("oid"))
        // A foreign table is shown as a table: what it is foreign to is not shown.
        .mask("relkind", Shown::Expression(format!("CASE WHEN {0} = 'f' THEN 'r' ELSE {0} END", col("relkind"))))
        .mask("relhasindex", Shown::Expression(format!("{} AND NOT ({unindexed})", col("relhasindex"))))
        // How much there is, where nothing of it is hidden; and where.
        .mask("reltuples", when_plain("reltuples", "-1"))
        .mask("relpages", when_plain("relpages", "0"))
        .constant(&["relallvisible", "relallfrozen", "relfilenode", "reltablespace", "reltoastrelid"], "0")
        .constant(&["relrewrite", "relfrozenxid", "relminmxid"], "0")
        // Rules, triggers and policies are not listed; foreign keys are, and clients look for them where there are triggers.
        .constant(&["relhasrules", "relrowsecurity", "relforcerowsecurity"], "false")
        .mask("relhassubclass", Shown::Expression(any("oid", parents(v), v)))
        .mask("relhastriggers", Shown::Expression(foreign_keys(v)))
        // Bounds are values of the partition's rows.
        .mask("relpartbound", when_plain("relpartbound", "NULL"))
        .null(&["reloptions"])
        .and(extra::pg_class(v));
    without_ancestors(view, v, "oid", &[("relispartition", "false")])
}

/// Visible relations with an ancestor that is not: that they have one is not told.
fn orphans<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = &'s Seen> + 's {
    v.scope().relations.iter().filter(|s| s.relation.parents.iter().any(|parent| v.seen(*parent).is_none()))
}

/// Columns that tell of ancestors have other values where these are not told.
fn without_ancestors(view: View, v: &Visibility<'_>, relation: &str, columns: &[(&'static str, &str)]) -> View {
    if orphans(v).next().is_none() {
        return view;
    }
    let orphan = any(relation, orphans(v).flat_map(Seen::with_indexes), v);
    columns.iter().fold(view, |view, (column, otherwise)| {
        view.mask(column, Shown::Expression(format!("CASE WHEN {orphan} THEN {otherwise} ELSE {} END", col(column))))
    })
}

/// Relations from which on [`alone`] says something.
const MANY: usize = 1_000;

/// A condition that always holds, by a stable function that only the session itself may call (`proparallel`, PostgreSQL manual, 15.4): the
/// test of a large set looks dear to the planner, and is not, so that it would start workers for what takes less time than starting them.
fn alone(v: &Visibility<'_>) -> &'static str {
    let many = v.scope().relations.len() >= MANY && v.catalog.functions.contains_key("pg_my_temp_schema");
    if many { " AND pg_catalog.pg_my_temp_schema() IS NOT NULL" } else { "" }
}

/// Visible relations that a visible one inherits from or is a partition of.
fn parents(v: &Visibility<'_>) -> Vec<u32> {
    let parents = v.scope().relations.iter().flat_map(|s| s.relation.parents.iter().copied());
    parents.filter(|parent| v.seen(*parent).is_some()).map(|parent| parent.0).collect()
}

/// Relations with a visible foreign key, at either end. The list is of those that have triggers for other reasons alone.
fn foreign_keys(v: &Visibility<'_>) -> String {
    let relations = &v.scope().relations;
    let keys = relations.iter().flat_map(|s| v.constraints(s).map(move |c| (s.relation.oid, c)));
    let keyed: HashSet<Oid> = keys.filter(|(_, c)| c.kind == 'f').flat_map(|(from, c)| [from, c.references]).collect();
    let others = relations.iter().filter(|s| s.relation.has_triggers && !keyed.contains(&s.relation.oid));
    let others = any("oid", others.map(|s| s.relation.oid.0), v);
    format!("{} AND NOT ({others}) AND NOT {}", col("relhastriggers"), system("oid"))
}

fn pg_attribute(v: &Visibility<'_>) -> View {
    let real = |column: &str| format!("{} > 0::pg_catalog.int2", col(column));
    let whole_rows = whole(v).into_iter().chain(indexes(v)).chain(v.scope().composites.iter().copied());
    let whole_rows = or(vec![system("attrelid"), any("attrelid", whole_rows, v)]);
    let columns = pairs(v, "attrelid", "attnum");
    let alive = format!("NOT {}", col("attisdropped"));
    let view = View::rows(format!("{} AND {alive} AND ({})", real("attnum"), or(vec![whole_rows, columns])))
        // A value of the table's own rows; options and access.
        .null(&["attmissingval", "attoptions", "attfdwoptions"])
        .constant(&["atthasmissing"], "false")
        .and(extra::pg_attribute(v));
    without_ancestors(view, v, "attrelid", &[("attinhcount", "0"), ("attislocal", "true")])
}

fn pg_constraint(v: &Visibility<'_>) -> View {
    let oids = v.scope().relations.iter().flat_map(|s| v.constraints(s)).map(|c| c.oid.0);
    let schemas = moved(v, |s| v.constraints(s).map(|c| c.oid).collect());
    let oids = oids.chain(v.domain_checks().map(|oid| oid.0));
    let view = View::rows(or(vec![system("oid"), any("oid", oids, v)])).replace("connamespace", &schemas, &key("oid"));
    without_ancestors(view, v, "conrelid", &[("coninhcount", "0"), ("conislocal", "true"), ("conparentid", "0")])
}

/// Keys, but for those that name what not everyone sees.
fn pg_partitioned_table(v: &Visibility<'_>) -> View {
    let view = View::rows(any("partrelid", whole(v), v));
    let alien: Vec<u32> =
        v.scope().relations.iter().filter(|s| s.relation.alien_key).map(|s| s.relation.oid.0).collect();
    if alien.is_empty() {
        return view;
    }
    let told = format!("CASE WHEN NOT ({}) THEN {} END", any("partrelid", alien, v), col("partexprs"));
    view.mask("partexprs", Shown::Expression(told))
}

fn pg_type(v: &Visibility<'_>) -> View {
    let with_array = |s: &Seen| {
        let row = s.relation.row_type;
        (row, v.catalog.types.get(&row).map_or(Oid(0), |t| t.array))
    };
    let mut names = Map::default();
    for seen in v.scope().relations.iter().filter(|s| s.decision.logical.name != s.decision.remote.name) {
        let (row, array) = with_array(seen);
        names.add(row.to_string(), seen.decision.logical.name.clone());
        names.add(array.to_string(), format!("_{}", seen.decision.logical.name));
    }
    let schemas = moved(v, |s| {
        let (row, array) = with_array(s);
        vec![row, array]
    });
    let sound = format!("{} AND {} <> {PG_TOAST}::pg_catalog.oid", system("oid"), col("typnamespace"));
    let alien: Vec<u32> = v.types().filter(|t| t.alien_default).map(|t| t.oid.0).collect();
    let view = View::rows(or(vec![sound, any("oid", v.scope().types.iter().copied(), v)]))
        .replace("typname", &names, &key("oid"))
        .replace("typnamespace", &schemas, &key("oid"));
    if alien.is_empty() {
        return view;
    }
    let alien = any("oid", alien, v);
    let unless = |column| Shown::Expression(format!("CASE WHEN NOT {alien} THEN {} END", col(column)));
    view.mask("typdefault", unless("typdefault")).mask("typdefaultbin", unless("typdefaultbin"))
}

fn pg_namespace(v: &Visibility<'_>) -> View {
    let system_schemas = v.catalog.schemas.iter().filter(|(n, _)| super::is_system(n)).map(|(_, o)| o.0);
    let shown = v.scope().schemas.iter().filter(|(name, oid)| v.catalog.schemas.get(*name) == Some(*oid));
    let own = v.own_schema().map(|(_, oid)| oid.0);
    View::rows(any("oid", system_schemas.chain(shown.map(|(_, oid)| oid.0)).chain(own), v)).and(extra::pg_namespace(v))
}

/// Comments: on the system's objects, on what is visible, and on columns of the dictionary.
fn pg_description(v: &Visibility<'_>) -> View {
    let class = |oid: u32| format!("{} = {oid}::pg_catalog.oid", col("classoid"));
    let own = format!("{} = 0", col("objsubid"));
    let partial = v.scope().relations.iter().filter(|s| !s.whole());
    let relations = or(vec![
        // Of an index there are no comments on columns.
        any("objoid", whole(v).into_iter().chain(indexes(v)), v),
        format!("{own} AND {}", any("objoid", partial.map(|s| s.relation.oid.0), v)),
        pairs(v, "objoid", "objsubid"),
    ]);
    let constraints = v.scope().relations.iter().flat_map(|s| v.constraints(s)).map(|c| c.oid.0);
    let schemas =
        v.catalog.schemas.iter().filter(|(n, o)| v.scope().schemas.get(n.as_str()) == Some(*o)).map(|(_, o)| o.0);
    // A declared description stands for the warehouse's own comment.
    let mut declared = Pairs::default();
    let described: Vec<(Oid, i16)> = extra::descriptions(v).map(|(oid, number, _)| (oid, number)).collect();
    for of_one in described.chunk_by(|a, b| a.0 == b.0) {
        if let Some((oid, _)) = of_one.first() {
            declared.add(oid.0, of_one.iter().map(|(_, number)| *number));
        }
    }
    let declared = oids::pair(&col("objoid"), &col("objsubid"), &declared, v.catalog.server_version);
    View::rows(or(vec![
        system("objoid"),
        format!("{} AND ({relations}) AND NOT {declared}", class(CLASS_OF_RELATIONS)),
        format!("{} AND {}", class(CLASS_OF_TYPES), any("objoid", v.scope().types.iter().copied(), v)),
        format!("{} AND {}", class(CLASS_OF_CONSTRAINTS), any("objoid", constraints, v)),
        format!("{} AND {}", class(CLASS_OF_SCHEMAS), any("objoid", schemas, v)),
    ]))
    .and(extra::pg_description(v))
}

/// The database the caller is connected to, under the name he gave.
fn pg_database(v: &Visibility<'_>) -> View {
    View::rows(format!("{} = {}::pg_catalog.name", col("datname"), quote_literal(&v.catalog.database)))
        .constant(&["datname"], v.database)
        .constant(&["datdba"], &OWNER_OID.to_string())
        .constant(&["datfrozenxid", "datminmxid"], "0")
        .constant(&["datconnlimit"], "-1")
        .constant(&["datistemplate"], "false")
        .constant(&["datallowconn"], "true")
}

/// Two rows, the owner of everything and the caller, neither under a real role's name or powers.
fn pg_roles(v: &Visibility<'_>) -> View {
    View::rows(any("oid", [OWNER_OID, CALLER_OID], v))
        .mask("rolname", role_name("oid", v))
        .mask("rolcanlogin", Shown::Expression(format!("{} = {CALLER_OID}::pg_catalog.oid", col("oid"))))
        .constant(&["rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"], "false")
        .constant(&["rolinherit"], "true")
        .constant(&["rolconnlimit"], "-1")
        .constant(&["rolpassword"], "********")
        .null(&["rolvaliduntil", "rolconfig"])
}

fn role_name(column: &str, v: &Visibility<'_>) -> Shown {
    Shown::Expression(format!(
        "CASE WHEN {} = {CALLER_OID}::pg_catalog.oid THEN {} ELSE {} END",
        col(column),
        quote_literal(v.user),
        quote_literal(OWNER_NAME)
    ))
}

/// Roles that can log in: of the two rows above only the owner's is in this view, which then shows the caller.
fn pg_user(v: &Visibility<'_>) -> View {
    View::rows(any("usesysid", [OWNER_OID], v))
        .constant(&["usename"], v.user)
        .constant(&["usesysid"], &CALLER_OID.to_string())
        .constant(&["usecreatedb", "usesuper", "userepl", "usebypassrls"], "false")
        .constant(&["passwd"], "********")
        .null(&["valuntil", "useconfig"])
}

/// The connection's own settings, as far as they mean something to a client; the search path is the caller's, not the pinned one.
fn pg_settings(v: &Visibility<'_>) -> View {
    let names: Vec<String> = SETTINGS.iter().map(|s| quote_literal(s)).collect();
    let path: Vec<String> = v.search_path.iter().map(|s| display_ident(s)).collect();
    let of_path = |column| {
        format!(
            "CASE WHEN {} = 'search_path' THEN {} ELSE {} END",
            col("name"),
            quote_literal(&path.join(", ")),
            col(column)
        )
    };
    View::rows(format!("{} = ANY (ARRAY[{}]::pg_catalog.text[])", col("name"), names.join(", ")))
        .mask("setting", Shown::Expression(of_path("setting")))
        .mask("reset_val", Shown::Expression(of_path("reset_val")))
        .null(&["sourcefile", "sourceline"])
        .constant(&["source"], "session")
        .constant(&["pending_restart"], "false")
}

/// An identifier as SHOW prints it: quoted only when it must be.
fn display_ident(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    if bare { name.to_owned() } else { crate::types::quote_ident(name) }
}

/// Rows of a view of relations by `schemaname` and a column with the name: visible ones of the given kinds, and the system's.
fn rows_by_name(v: &Visibility<'_>, column: &str, of: impl Fn(&Seen) -> bool) -> String {
    let mut schemas: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for seen in v.scope().relations.iter().filter(|s| s.is_stored() && of(s)) {
        schemas.entry(&seen.relation.name.schema).or_default().push(&seen.relation.name.name);
    }
    let mut parts = vec![format!("{} = ANY ({})", col("schemaname"), name_array(["pg_catalog", "information_schema"]))];
    for (schema, names) in schemas {
        parts.push(format!(
            "{} = {}::pg_catalog.name AND {}",
            col("schemaname"),
            quote_literal(schema),
            oids::named(&col(column), names, v.catalog.server_version)
        ));
    }
    or(parts)
}

fn kind_rows(v: &Visibility<'_>, column: &str, kind: RelationKind) -> String {
    rows_by_name(v, column, |s| s.relation.kind == kind)
}

/// Shows logical schema and name in `schemaname` and `column`.
fn named(view: View, column: &'static str, v: &Visibility<'_>) -> View {
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
    let id = format!("pg_catalog.concat({}, '\n'::pg_catalog.text, {})", col("schemaname"), col(column));
    view.replace("schemaname", &schemas, &id).replace(column, &names, &id)
}

fn pg_tables(v: &Visibility<'_>) -> View {
    let kinds = |s: &Seen| matches!(s.relation.kind, RelationKind::Table | RelationKind::Partitioned);
    let indexed = rows_by_name(v, "tablename", |s| s.indexes().next().is_some());
    named(View::rows(rows_by_name(v, "tablename", kinds)), "tablename", v)
        .null(&["tablespace"])
        .constant(&["hasrules", "hastriggers", "rowsecurity"], "false")
        .mask("hasindexes", Shown::Expression(format!("{} AND ({indexed})", col("hasindexes"))))
}

/// Indexes by schema and name, which together are unique.
fn pg_indexes(v: &Visibility<'_>) -> View {
    let mut schemas: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for seen in v.scope().relations.iter().filter(|s| s.is_stored()) {
        let here = &seen.relation.name.schema;
        schemas.entry(here).or_default().extend(seen.indexes().map(|i| i.name.as_str()));
    }
    let mut parts = vec![format!("{} = ANY ({})", col("schemaname"), name_array(["pg_catalog", "information_schema"]))];
    for (schema, names) in schemas {
        parts.push(format!(
            "{} = {}::pg_catalog.name AND {}",
            col("schemaname"),
            quote_literal(schema),
            oids::named(&col("indexname"), names, v.catalog.server_version)
        ));
    }
    let definition = crate::catalog::guard::indexes_renamed(col("indexdef"), v);
    named(View::rows(or(parts)), "tablename", v).null(&["tablespace"]).mask("indexdef", Shown::Expression(definition))
}
