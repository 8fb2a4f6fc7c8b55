//! The checked forms of functions that look objects up by OID or name.
//!
//! In: a function's name and number of arguments, how often they may be mentioned, what the caller sees. Out: SQL text over `$1…$n`.
//! Must never: evaluate an argument twice unless its value is the same each time (a volatile one would be checked with one value and used
//! with another), or depend on the warehouse's search path.
//!
//! An object that is hidden and one that does not exist give the same answer, NULL or false.

use super::Visibility;
use super::lookup::{self, Map, Set, members, oid_text, oids, system_oid};
use super::oids::Mention;
use super::visibility::{CALLER_OID, OWNER_NAME, OWNER_OID};
use crate::types::{Oid, quote_literal};
use std::collections::{BTreeMap, BTreeSet};

/// `oid` in pg_type.dat.
const OID_TYPE: u32 = 26;

/// How a guarded function is answered.
#[derive(Clone, Copy)]
enum Form {
    /// Call it with its first argument replaced by NULL unless in the set; the other arguments as they are.
    First(Set),
    /// Call it with the first argument replaced by NULL unless a system object.
    System,
    /// The system's objects are visible, everything else is not: `pg_…_is_visible` under a search path of `pg_catalog` alone.
    SystemIsVisible,
    /// Call it with its first argument, a relation by OID or name, replaced by NULL unless nothing of it is hidden.
    Plain,
    /// A constant of this type, whatever the arguments.
    Always(&'static str, &'static str),
    /// NULL of this type.
    Null(&'static str),
    /// Its own form.
    Own(fn(usize, Mention, &Visibility<'_>) -> String),
}

/// Guarded functions: name, least and most arguments, form.
const GUARDS: &[(&str, usize, usize, Form)] = &[
    ("pg_table_is_visible", 1, 1, Form::Own(table_is_visible)),
    ("pg_type_is_visible", 1, 1, Form::Own(type_is_visible)),
    // Those of others are not shown.
    ("pg_is_other_temp_schema", 1, 1, Form::Always("bool", "false")),
    ("pg_function_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_operator_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_opclass_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_opfamily_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_collation_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_conversion_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_statistics_obj_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_ts_config_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_ts_dict_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_ts_parser_is_visible", 1, 1, Form::SystemIsVisible),
    ("pg_ts_template_is_visible", 1, 1, Form::SystemIsVisible),
    // Definitions.
    ("pg_get_indexdef", 1, 1, Form::Own(indexdef)),
    ("pg_get_indexdef", 3, 3, Form::Own(indexdef)),
    ("pg_index_has_property", 2, 2, Form::First(Set::Indexes)),
    ("pg_index_column_has_property", 3, 3, Form::First(Set::Indexes)),
    ("pg_get_constraintdef", 1, 2, Form::Own(constraintdef)),
    // Its text comes only from rows of the virtual catalog: pg_node_tree has no input function.
    ("pg_get_expr", 2, 3, Form::Own(expression)),
    ("pg_get_partkeydef", 1, 1, Form::First(Set::Keyed)),
    ("pg_partition_ancestors", 1, 1, Form::Own(partition_ancestors)),
    // Empty: what it lacks would tell of partitions that are hidden.
    ("pg_partition_tree", 1, 1, Form::Own(no_tree)),
    ("pg_describe_object", 3, 3, Form::Own(describe_object)),
    // That of a default partition prints the bounds of the others.
    ("pg_get_partition_constraintdef", 1, 1, Form::Null("text")),
    ("pg_get_viewdef", 1, 2, Form::Null("text")),
    ("pg_get_ruledef", 1, 2, Form::Null("text")),
    ("pg_get_triggerdef", 1, 2, Form::Null("text")),
    ("pg_get_statisticsobjdef", 1, 1, Form::Null("text")),
    ("pg_get_statisticsobjdef_columns", 1, 1, Form::Null("text")),
    ("pg_get_statisticsobjdef_expressions", 1, 1, Form::Null("text[]")),
    ("pg_get_serial_sequence", 2, 2, Form::Null("text")),
    ("pg_get_function_arguments", 1, 1, Form::System),
    ("pg_get_function_identity_arguments", 1, 1, Form::System),
    ("pg_get_function_result", 1, 1, Form::System),
    ("pg_get_function_arg_default", 2, 2, Form::System),
    ("pg_get_functiondef", 1, 1, Form::System),
    ("pg_get_function_sqlbody", 1, 1, Form::System),
    ("format_type", 2, 2, Form::Own(format_type)),
    ("pg_get_userbyid", 1, 1, Form::Own(user_by_id)),
    ("pg_collation_for", 1, 1, Form::Own(collation_for)),
    // Names roles of the warehouse; access lists are empty here.
    ("acldefault", 2, 2, Form::Null("aclitem[]")),
    // Where the server is: the client's side of the connection is the proxy's.
    ("inet_client_addr", 0, 0, Form::Null("inet")),
    ("inet_client_port", 0, 0, Form::Null("int4")),
    ("inet_server_addr", 0, 0, Form::Null("inet")),
    ("inet_server_port", 0, 0, Form::Null("int4")),
    // Comments.
    ("obj_description", 1, 2, Form::Own(obj_description)),
    ("col_description", 2, 2, Form::Own(col_description)),
    ("shobj_description", 2, 2, Form::System),
    // Sizes and files tell how much there is, hidden rows and columns with it.
    ("pg_relation_size", 1, 2, Form::Plain),
    ("pg_table_size", 1, 1, Form::Plain),
    ("pg_indexes_size", 1, 1, Form::Plain),
    ("pg_total_relation_size", 1, 1, Form::Plain),
    ("pg_database_size", 1, 1, Form::Null("int8")),
    ("pg_tablespace_size", 1, 1, Form::Null("int8")),
    ("pg_relation_filenode", 1, 1, Form::Null("oid")),
    ("pg_relation_filepath", 1, 1, Form::Null("text")),
    ("pg_tablespace_location", 1, 1, Form::Null("text")),
    ("pg_stat_get_numscans", 1, 1, Form::Null("int8")),
    ("pg_is_wal_replay_paused", 0, 0, Form::Always("bool", "false")),
    // What the caller may do: read what he sees.
    ("pg_relation_is_publishable", 1, 1, Form::Always("bool", "false")),
    ("pg_relation_is_updatable", 2, 2, Form::Always("int4", "0")),
    ("pg_column_is_updatable", 3, 3, Form::Always("bool", "false")),
    ("row_security_active", 1, 1, Form::Always("bool", "false")),
    ("has_table_privilege", 2, 3, Form::Own(table_privilege)),
    ("has_any_column_privilege", 2, 3, Form::Own(table_privilege)),
    ("has_column_privilege", 3, 4, Form::Own(column_privilege)),
    ("has_schema_privilege", 2, 3, Form::Own(schema_privilege)),
    ("has_database_privilege", 2, 3, Form::Own(database_privilege)),
    ("has_type_privilege", 2, 3, Form::Own(type_privilege)),
    ("pg_has_role", 2, 3, Form::Own(has_role)),
    ("has_function_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_sequence_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_language_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_tablespace_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_foreign_data_wrapper_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_server_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_parameter_privilege", 2, 3, Form::Always("bool", "false")),
    ("has_largeobject_privilege", 2, 3, Form::Always("bool", "false")),
    // With two arguments the second is a query that it runs.
    ("ts_rewrite", 3, 3, Form::Own(|_, _, _| "pg_catalog.ts_rewrite($1, $2, $3)".to_owned())),
    // Names to OIDs. to_regprocedure and to_regoperator are not here: before PostgreSQL 16 they raise for unknown types.
    ("to_regclass", 1, 1, Form::Own(to_regclass)),
    ("to_regtype", 1, 1, Form::Own(to_regtype)),
    ("to_regnamespace", 1, 1, Form::Own(to_regnamespace)),
    ("to_regrole", 1, 1, Form::Null("regrole")),
];

/// Whether `name` is answered by [`guard`].
pub(crate) fn is_guarded(name: &str) -> bool {
    GUARDS.iter().any(|g| g.0 == name)
}

/// How a function is answered with so many arguments.
fn form(name: &str, argc: usize) -> Option<Form> {
    GUARDS.iter().find(|g| g.0 == name && (g.1..=g.2).contains(&argc)).map(|g| g.3)
}

/// The one argument (from 0) that the form of a guarded function may mention more than once; `None`: any.
pub(crate) fn repeats(name: &str, argc: usize) -> Option<usize> {
    match (form(name, argc)?, name) {
        (Form::First(_), _) | (Form::Own(_), "pg_get_indexdef" | "pg_get_constraintdef" | "col_description") => Some(0),
        (Form::Own(_), "pg_get_expr") => Some(1),
        (Form::System | Form::SystemIsVisible | Form::Plain | Form::Always(..) | Form::Null(_) | Form::Own(_), _) => {
            None
        }
    }
}

/// Whether what stands for a call is NULL, whatever the arguments.
pub(crate) fn is_null(name: &str, argc: usize) -> bool {
    matches!(form(name, argc), Some(Form::Null(_)))
}

/// Whether what stands for a call never raises, given arguments of these types that do not: constants, and tests of sets of OIDs.
pub(crate) fn is_total(name: &str, types: &[Option<Oid>]) -> bool {
    const OF_SETS: [&str; 3] = ["pg_table_is_visible", "pg_type_is_visible", "pg_get_userbyid"];
    match form(name, types.len()) {
        Some(Form::Null(_) | Form::Always(..)) => true,
        Some(Form::Own(_)) => OF_SETS.contains(&name) && types == [Some(Oid(OID_TYPE))],
        Some(Form::First(_) | Form::Plain | Form::System | Form::SystemIsVisible) | None => false,
    }
}

/// SQL that stands for a call of the guarded function `name` with `argc` arguments: `$1…$n` are the caller's argument
/// expressions, each mentioned exactly once unless `mention` says otherwise. `None`: not callable with that many arguments.
///
/// The text is an expression, not always a call: only `pg_partition_ancestors`, which psql calls in FROM, is sure to stay a call. `obj_description` evaluates its arguments inside a sub-select,
/// so arguments that hold aggregates, window functions or set-returning functions must be refused for it.
pub fn guard(name: &str, argc: usize, mention: Mention, v: &Visibility<'_>) -> Option<String> {
    Some(match form(name, argc)? {
        Form::First(set) => checked(name, argc, 1, set, mention, v),
        Form::Plain => {
            let plain = lookup::plain_spellings(v).find("($1)::pg_catalog.text");
            call(name, argc, 1, &format!("{plain}::pg_catalog.oid"))
        }
        Form::System => call(name, argc, 1, &system_oid("$1")),
        Form::SystemIsVisible => format!("NULLIF(pg_catalog.{name}(($1)::pg_catalog.oid), false)"),
        Form::Always(kind, value) => constant(argc, &format!("{value}::pg_catalog.{kind}")),
        Form::Null(kind) => constant(argc, &format!("NULL::pg_catalog.{kind}")),
        Form::Own(make) => make(argc, mention, v),
    })
}

/// A call with one argument replaced. Arguments declared `regclass` take an `oid` by implicit cast.
fn call(name: &str, argc: usize, replaced: usize, by: &str) -> String {
    let args: Vec<String> = (1..=argc).map(|i| if i == replaced { by.to_owned() } else { format!("${i}") }).collect();
    format!("pg_catalog.{name}({})", args.join(", "))
}

/// An OID argument.
fn argument(number: usize) -> String {
    format!("(${number})::pg_catalog.oid")
}

/// A call with one argument replaced by NULL unless it is in the set.
fn checked(name: &str, argc: usize, number: usize, set: Set, mention: Mention, v: &Visibility<'_>) -> String {
    // A call of a function that returns a set cannot stand in CASE: its argument can.
    let known = match mention {
        Mention::Freely => {
            let key = argument(number);
            format!("CASE WHEN {} THEN {key} END", v.holds(&key, members(set, v), mention))
        }
        Mention::Once => format!("{}::pg_catalog.oid", oids(set, v).find(&oid_text(&format!("${number}")))),
    };
    call(name, argc, number, &known)
}

/// A constant that mentions every argument, so that parameters keep their numbers and names are checked.
fn constant(argc: usize, value: &str) -> String {
    if argc == 0 {
        return value.to_owned();
    }
    let tests: Vec<String> = (1..=argc).map(|i| format!("(${i}) IS NULL")).collect();
    format!("CASE WHEN {} THEN {value} ELSE {value} END", tests.join(" OR "))
}

/// The definition of an index names its relation: by the name that callers use.
fn indexdef(argc: usize, mention: Mention, v: &Visibility<'_>) -> String {
    indexes_renamed(checked("pg_get_indexdef", argc, 1, Set::Indexes, mention, v), v)
}

/// The definition of an index (SQL of type text) with the names that callers use.
pub(crate) fn indexes_renamed(text: String, v: &Visibility<'_>) -> String {
    let renamed = v.scope().relations.iter().filter(|s| s.is_renamed() && s.indexes().next().is_some());
    lookup::rename(text, renamed, " ON (ONLY )?", " USING ", " ON \\1", " USING ")
}

/// The definition of a foreign key names the relation it refers to: by the name that callers use.
fn constraintdef(argc: usize, mention: Mention, v: &Visibility<'_>) -> String {
    let text = checked("pg_get_constraintdef", argc, 1, Set::Constraints, mention, v);
    let scope = v.scope();
    let referenced: BTreeSet<_> = scope.relations.iter().flat_map(|s| v.constraints(s)).map(|c| c.references).collect();
    let renamed = scope.relations.iter().filter(|s| s.is_renamed() && referenced.contains(&s.relation.oid));
    let text = lookup::rename(text, renamed, " REFERENCES ", "\\(", " REFERENCES ", "(");
    lookup::bare(text, "FOREIGN KEY \\(.*\\) REFERENCES ", v)
}

/// An expression of the catalog. Whatever tree it is printed with the names of the relation's columns, and with its own: those of relations that
/// have no others. Defaults are often a word of a type or a number of a sequence: those are named as the caller's path
/// finds them.
fn expression(argc: usize, mention: Mention, v: &Visibility<'_>) -> String {
    default_names(checked("pg_get_expr", argc, 2, Set::Printed, mention, v), v)
}

/// A default (SQL of type text) whose type or sequence is named as the caller's path finds it.
pub(crate) fn default_names(text: String, v: &Visibility<'_>) -> String {
    let text = lookup::bare(text, "'([^']|'')*'::", v);
    // The sequence's name is not looked up: only the first schema that the caller sees is sure to find it.
    let first = v.search_path.iter().find(|schema| v.scope().schemas.contains_key(schema.as_str()));
    match first {
        Some(schema) => lookup::first_bare(text, "nextval\\('", schema),
        None => text,
    }
}

/// Descriptions of the system's own objects of kinds that are the same everywhere; not of roles, databases and the like.
fn describe_object(_: usize, _: Mention, _: &Visibility<'_>) -> String {
    // pg_type, pg_proc, pg_class, pg_am, pg_amop, pg_amproc, pg_cast, pg_language, pg_namespace, pg_opclass, pg_operator, pg_conversion,
    // pg_opfamily, pg_extension, pg_collation, pg_ts_parser, pg_ts_dict, pg_ts_config, pg_ts_template (their .dat and .h files).
    let mut classes = Map::default();
    for class in [
        1247, 1255, 1259, 2601, 2602, 2603, 2605, 2612, 2615, 2616, 2617, 2607, 2753, 3079, 3456, 3601, 3600, 3602,
        3764,
    ] {
        classes.add_oid(class);
    }
    format!(
        "pg_catalog.pg_describe_object({}::pg_catalog.oid, {}, $3)",
        classes.find(&oid_text("$1")),
        system_oid("$2")
    )
}

/// A declared description, else the warehouse's own comment on a column of a relation shown whole.
fn col_description(argc: usize, mention: Mention, v: &Visibility<'_>) -> String {
    let mut declared = Map::default();
    for seen in &v.scope().relations {
        for (number, text) in seen.column_comments() {
            declared.add(format!("{}:{number}", seen.relation.oid), text);
        }
    }
    if declared.is_empty() {
        return checked("col_description", argc, 1, Set::WholeRelations, mention, v);
    }
    let own = v.holds("g.a1", members(Set::WholeRelations, v), Mention::Freely);
    format!(
        "(SELECT COALESCE({}, CASE WHEN {own} THEN pg_catalog.col_description(g.a1, g.a2) END) \
         FROM (SELECT ($1)::pg_catalog.oid AS a1, ($2)::pg_catalog.int4 AS a2 OFFSET 0) AS g)",
        declared.find("pg_catalog.concat(g.a1, ':', g.a2)")
    )
}

fn table_is_visible(_: usize, mention: Mention, v: &Visibility<'_>) -> String {
    is_visible(lookup::found_by_path(v), mention, v)
}

fn type_is_visible(_: usize, mention: Mention, v: &Visibility<'_>) -> String {
    is_visible(lookup::types_found_by_path(v), mention, v)
}

/// Whether the object is found, by its OID; NULL for others.
fn is_visible(found: Vec<(u32, bool)>, mention: Mention, v: &Visibility<'_>) -> String {
    if mention == Mention::Once {
        let mut map = Map::default();
        found.into_iter().for_each(|(oid, found)| map.add(oid.to_string(), found));
        return format!("{}::pg_catalog.bool", map.find(&oid_text("$1")));
    }
    let of = |wanted: bool| found.iter().filter(move |(_, found)| *found == wanted).map(|(oid, _)| *oid);
    let holds = |wanted| v.holds(&argument(1), of(wanted), mention);
    format!("CASE WHEN {} THEN true WHEN {} THEN false END", holds(true), holds(false))
}

fn format_type(_: usize, mention: Mention, v: &Visibility<'_>) -> String {
    if mention == Mention::Once {
        let known = oids(Set::Types, v).find(&oid_text("$1"));
        return lookup::bare(format!("pg_catalog.format_type({known}::pg_catalog.oid, $2)"), "", v);
    }
    // The system's own are printed without a schema, or with one that everyone writes.
    let (system, others): (Vec<u32>, Vec<u32>) =
        members(Set::Types, v).into_iter().partition(|oid| *oid < super::functions::FIRST_NORMAL_OID);
    let key = argument(1);
    let text = format!("pg_catalog.format_type({key}, $2)");
    format!(
        "CASE WHEN {} THEN {text} WHEN {} THEN {} END",
        v.holds(&key, system, mention),
        v.holds(&key, others, mention),
        lookup::bare(text.clone(), "", v)
    )
}

/// Of a relation that is shown with all its ancestors, under their own names, which the server prints.
fn partition_ancestors(_: usize, _: Mention, v: &Visibility<'_>) -> String {
    let rooted: BTreeSet<String> = members(Set::Rooted, v).iter().map(u32::to_string).collect();
    let known = lookup::relation_spellings(v).only(&rooted).find("($1)::pg_catalog.text");
    format!("pg_catalog.pg_partition_ancestors({known}::pg_catalog.oid)")
}

fn no_tree(_: usize, _: Mention, _: &Visibility<'_>) -> String {
    "pg_catalog.pg_partition_tree(CASE WHEN ($1) IS NULL THEN NULL::pg_catalog.regclass END)".to_owned()
}

/// A collation outside `pg_catalog` is printed with its schema, and is not told.
fn collation_for(_: usize, _: Mention, _: &Visibility<'_>) -> String {
    "pg_catalog.substring(pg_catalog.pg_collation_for($1), '^(\"([^\"]|\"\")*\"|[^\".]*)$'::pg_catalog.text)".to_owned()
}

/// Owners and the caller; every other role is unknown.
fn user_by_id(_: usize, _: Mention, v: &Visibility<'_>) -> String {
    format!(
        "CASE {} WHEN {OWNER_OID}::pg_catalog.oid THEN {}::pg_catalog.name WHEN {CALLER_OID}::pg_catalog.oid THEN {}::pg_catalog.name END",
        argument(1),
        quote_literal(OWNER_NAME),
        quote_literal(v.user)
    )
}

/// The one form that needs a value twice, the OID for the test and for the call: a sub-select evaluates it once.
/// Without a class (an old form) of relations, else types, and of the system's objects.
fn obj_description(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let scope = v.scope();
    let indexes = scope.relations.iter().flat_map(|s| s.indexes()).map(|i| i.oid.0);
    let classes = scope.relations.iter().map(|s| s.relation.oid.0).chain(indexes);
    let constraints = scope.relations.iter().flat_map(|s| v.constraints(s)).map(|c| c.oid.0);
    let schemas = v.catalog.schemas.iter().filter(|(n, o)| scope.schemas.get(n.as_str()) == Some(*o)).map(|(_, o)| o.0);
    let mut tests = vec![format!("g.a1 < {}::pg_catalog.oid", super::functions::FIRST_NORMAL_OID)];
    for (class, set) in [
        ("pg_class", classes.collect::<Vec<u32>>()),
        ("pg_constraint", constraints.collect()),
        ("pg_type", scope.types.iter().copied().collect()),
        ("pg_namespace", schemas.collect()),
    ] {
        tests.push(format!("g.a2 = '{class}'::pg_catalog.name AND {}", v.holds("g.a1", set, Mention::Freely)));
    }
    let mut declared = Map::default();
    for seen in &scope.relations {
        if let Some(text) = &seen.decision.comments.relation {
            declared.add(format!("{}:pg_class", seen.relation.oid), text.as_str());
        }
    }
    if argc == 1 {
        let system = format!("g.a1 < {}::pg_catalog.oid", super::functions::FIRST_NORMAL_OID);
        let shown = v.holds("g.a1", scope.relations.iter().map(|s| s.relation.oid.0), Mention::Freely);
        let types = v.holds("g.a1", scope.types.iter().copied(), Mention::Freely);
        return format!(
            "(SELECT COALESCE({}, CASE WHEN {system} THEN pg_catalog.obj_description(g.a1) \
             WHEN {shown} THEN pg_catalog.obj_description(g.a1, 'pg_class'::pg_catalog.name) \
             WHEN {types} THEN pg_catalog.obj_description(g.a1, 'pg_type'::pg_catalog.name) END) \
             FROM (SELECT ($1)::pg_catalog.oid AS a1 OFFSET 0) AS g)",
            declared.find("pg_catalog.concat(g.a1, ':pg_class')")
        );
    }
    format!(
        "(SELECT COALESCE({}, CASE WHEN {} THEN pg_catalog.obj_description(g.a1, g.a2) END) \
         FROM (SELECT ($1)::pg_catalog.oid AS a1, ($2)::pg_catalog.name AS a2 OFFSET 0) AS g)",
        declared.find("pg_catalog.concat(g.a1, ':', g.a2)"),
        tests.join(" OR ")
    )
}

/// Privileges as words, one of which is asked for.
const READER: &str = "SELECT";
const WRITER: &str = "SELECT|INSERT|UPDATE|DELETE|TRUNCATE";

/// `(role, object…, privilege)` or `(object…, privilege)`: the test of the role, if given, and of one privilege word.
/// An unknown word is no privilege.
fn privilege(argc: usize, plain: usize, word: &str, object: &str, v: &Visibility<'_>) -> String {
    let asked = format!(
        "pg_catalog.textregexeq(pg_catalog.upper(${argc}::pg_catalog.text), '(^|,)\\s*{word}\\s*(,|$)'::pg_catalog.text)"
    );
    let role = if argc > plain { format!("{} AND ", is_caller("$1", v)) } else { String::new() };
    format!("COALESCE({role}{object} AND {asked}, false)")
}

/// Whether a role argument (`name` or `oid`) is the caller.
fn is_caller(arg: &str, v: &Visibility<'_>) -> String {
    let mut roles = Map::default();
    roles.add(v.user, true);
    roles.add(CALLER_OID.to_string(), true);
    roles.holds(&format!("({arg})::pg_catalog.text"))
}

/// Everything that is seen may be read, and written where WRITE was given: each relation with the words of its privileges.
fn table_privilege(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let written = v.scope().relations.iter().filter(|s| s.decision.write).map(|s| s.relation.oid.to_string());
    let written: BTreeSet<String> = written.collect();
    let words = |oid: &str| if written.contains(oid) { WRITER } else { READER };
    let words = lookup::relation_spellings(v).mapped(words).find(&format!("(${})::pg_catalog.text", argc - 1));
    let pattern = format!(
        "pg_catalog.textcat(pg_catalog.textcat('(^|,)\\s*('::pg_catalog.text, {words}), ')\\s*(,|$)'::pg_catalog.text)"
    );
    let role = if argc > 2 { format!("{} AND ", is_caller("$1", v)) } else { String::new() };
    format!("COALESCE({role}pg_catalog.textregexeq(pg_catalog.upper(${argc}::pg_catalog.text), {pattern}), false)")
}

fn column_privilege(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for r in v.system_relations() {
        let names = r.columns.iter().flat_map(|c| [c.name.clone(), c.number.to_string()]);
        columns.insert(r.oid.to_string(), names.collect());
    }
    for s in &v.scope().relations {
        let names = s.columns().flat_map(|c| [c.name.clone(), c.number.to_string()]);
        columns.insert(s.relation.oid.to_string(), names.collect());
    }
    let json = serde_json::to_string(&columns).unwrap_or_else(|_| "{}".to_owned());
    let oid = lookup::relation_spellings(v).find(&format!("(${})::pg_catalog.text", argc - 2));
    let known = format!(
        "pg_catalog.jsonb_exists(pg_catalog.jsonb_object_field({}::pg_catalog.jsonb, {oid}), (${})::pg_catalog.text)",
        quote_literal(&json),
        argc - 1
    );
    privilege(argc, 3, "SELECT", &known, v)
}

fn schema_privilege(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let mut schemas = lookup::schema_spellings(v);
    for (name, oid) in &v.scope().schemas {
        schemas.add(oid.to_string(), oid.to_string());
        schemas.add(name.as_str(), oid.to_string());
    }
    let known = schemas.holds(&format!("(${})::pg_catalog.text", argc - 1));
    privilege(argc, 2, "USAGE", &known, v)
}

/// `pg_database` shows one row, so any OID that is asked for is that one's; a name must be the caller's database.
fn database_privilege(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let own: String =
        v.database.chars().flat_map(|c| (!c.is_alphanumeric()).then_some('\\').into_iter().chain([c])).collect();
    let pattern = quote_literal(&format!("^([0-9]+|{own})$"));
    let known = format!("pg_catalog.textregexeq((${})::pg_catalog.text, {pattern}::pg_catalog.text)", argc - 1);
    privilege(argc, 2, "CONNECT", &known, v)
}

fn type_privilege(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let known = lookup::type_spellings(v).holds(&format!("(${})::pg_catalog.text", argc - 1));
    privilege(argc, 2, "USAGE", &known, v)
}

fn has_role(argc: usize, _: Mention, v: &Visibility<'_>) -> String {
    let known = is_caller(&format!("${}", argc - 1), v);
    privilege(argc, 2, "(MEMBER|USAGE|SET)", &known, v)
}

/// `parse_ident` folds case and reads quotes as `to_regclass` does, and raises where it does.
fn to_regclass(_: usize, _: Mention, v: &Visibility<'_>) -> String {
    let mut names = Map::default();
    let mut add = |schema: &str, name: &str| {
        for parts in [vec![schema, name], vec![name]] {
            let found = v.find_relation((parts.len() == 2).then_some(schema), name);
            if let (Some(oid), Ok(key)) = (found, serde_json::to_string(&parts)) {
                names.add(key, oid.to_string());
            }
        }
    };
    v.system_relations().for_each(|r| add(&r.name.schema, &r.name.name));
    v.relations.iter().for_each(|r| add(&r.logical.schema, &r.logical.name));
    v.temporaries().for_each(|name| {
        add(&name.schema, &name.name);
        add(super::scratch::SCHEMA, &name.name);
    });
    let key = "pg_catalog.array_to_json(pg_catalog.parse_ident($1))::pg_catalog.text";
    format!("{}::pg_catalog.oid::pg_catalog.regclass", names.find(key))
}

fn to_regtype(_: usize, _: Mention, v: &Visibility<'_>) -> String {
    let key = "pg_catalog.lower(($1)::pg_catalog.text)";
    format!("{}::pg_catalog.oid::pg_catalog.regtype", lookup::type_spellings(v).find(key))
}

fn to_regnamespace(_: usize, _: Mention, v: &Visibility<'_>) -> String {
    let key = "($1)::pg_catalog.text";
    format!("{}::pg_catalog.oid::pg_catalog.regnamespace", lookup::schema_spellings(v).find(key))
}

#[cfg(test)]
mod tests {
    use super::super::visibility::tests::{catalog, decision, relation};
    use super::*;

    /// INVARIANT of this room: every argument is mentioned once in every form.
    #[test]
    fn every_argument_is_mentioned_exactly_once() {
        let a = relation(20000, "public", "a", &["x", "y"]);
        let seen = [decision(&a, Some(("s", "t")), &["y"])];
        let catalog = catalog(vec![a, relation(20020, "public", "zz_hidden", &["x"])]);
        let path = ["public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &seen);
        for (name, least, most, _) in GUARDS {
            for argc in *least..=*most {
                let sql = guard(name, argc, Mention::Once, &v).unwrap();
                for i in 1..=argc {
                    assert_eq!(sql.matches(&format!("${i}")).count(), 1, "{name}/{argc}: {sql}");
                }
                for sql in [sql, guard(name, argc, Mention::Freely, &v).unwrap()] {
                    assert!((1..=argc).all(|i| sql.contains(&format!("${i}"))), "{name}/{argc}: {sql}");
                    assert!(!sql.contains(&format!("${}", argc + 1)), "{name}/{argc}: {sql}");
                    assert!(!sql.contains("zz_hidden") && !sql.contains("20020"), "{name}/{argc}: {sql}");
                }
                if let Some(key) = repeats(name, argc) {
                    let sql = guard(name, argc, Mention::Freely, &v).unwrap();
                    let once = |i: &usize| sql.matches(&format!("${i}")).count() == 1;
                    assert!((1..=argc).filter(|i| *i != key + 1).all(|i| once(&i)), "{name}/{argc}: {sql}");
                }
            }
        }
    }

    #[test]
    fn other_argument_counts_are_refused() {
        let catalog = catalog(vec![]);
        let v = Visibility::new(&catalog, "u", "db", &[], &[]);
        assert!(guard("pg_get_indexdef", 2, Mention::Once, &v).is_none());
        assert!(guard("pg_get_expr", 1, Mention::Once, &v).is_none());
        assert!(guard("now", 0, Mention::Once, &v).is_none());
    }
}
