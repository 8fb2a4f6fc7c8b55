//! Casts to the OID alias types (`regclass`, `regtype`, …; PostgreSQL manual, 8.19), which read the catalog by name and print names.
//!
//! In: the type and a literal or an expression, what the caller sees. Out: a resolved OID or a checked expression. Must never: tell that
//! a hidden object exists: it answers like one that does not exist.

use super::functions::FIRST_NORMAL_OID;
use super::lookup::{self, Set};
use super::named::{self, NamedKind};
use super::oids::Mention;
use super::visibility::{Visibility, is_system};
use crate::error::{Family, Refusal, SqlState};
use crate::types::{Oid, QualifiedName};

/// What is cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An OID, or the text of a name; mentioned once.
    Any,
    /// A column, parameter or constant of type `oid`, which may be mentioned again.
    Oid,
    /// What is NULL, whatever it is made of.
    Null,
}

/// What is cast to an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// An array of OIDs or names.
    Array,
    /// A value of type `oidvector`: no array of text, but an array of OIDs.
    Vector,
}

/// SQL that stands for a cast of a non-literal `$1` to the type `pg_catalog.type_name`; hidden and unknown objects become NULL. For
/// `regclass` and `regtype` it is the text of the name that callers use. `None`: such a cast is not allowed.
pub fn cast_guard(type_name: &str, source: Source, v: &Visibility<'_>) -> Option<String> {
    guard_of(type_name, "$1", source, v)
}

fn guard_of(type_name: &str, value: &str, source: Source, v: &Visibility<'_>) -> Option<String> {
    let text = format!("({value})::pg_catalog.text");
    let found = match type_name {
        "regclass" if source == Source::Null => return Some(NOTHING.to_owned()),
        "regclass" if source == Source::Oid => return Some(format!("({})::pg_catalog.text", relation_name(value, v))),
        // As text: the server would print the warehouse's names.
        "regclass" => return Some(format!("({})::pg_catalog.text", lookup::relation_names(v).find(&text))),
        // As text, too: the schema is left out where the caller's path finds the type.
        "regtype" => {
            let found = match source {
                Source::Oid => one_of(value, lookup::members(Set::Types, v), v),
                Source::Any | Source::Null => type_of(&text, v),
            };
            let printed = format!("({found})::pg_catalog.oid::pg_catalog.regtype::pg_catalog.text");
            return Some(lookup::bare(printed, "", v));
        }
        "regnamespace" => lookup::schema_spellings(v).find(&text),
        // Only the system's own are callable or listed, so the range is the check.
        "regproc" | "regprocedure" | "regoper" | "regoperator" => lookup::system_oid(value),
        // "regrole" prints the names of the warehouse's roles.
        _ => named::oid_of(NamedKind::of_alias(type_name)?, value, v.catalog),
    };
    Some(format!("({found})::pg_catalog.oid::pg_catalog.{type_name}"))
}

/// The OID, as text, of a type by OID or name (SQL of type text).
fn type_of(text: &str, v: &Visibility<'_>) -> String {
    lookup::type_spellings(v).find(&format!("pg_catalog.lower({text})"))
}

/// The text that the server prints of a literal that [`resolve_reg_literal`] resolved; `None` for what it printed as it was written.
pub fn shown(type_name: &str, digits: &str, v: &Visibility<'_>) -> Option<String> {
    if digits == "0" || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    guard_of(type_name, &format!("{digits}::pg_catalog.oid"), Source::Oid, v)
        .map(|text| format!("({text})::pg_catalog.text"))
}

/// As [`cast_guard`], for an array `$1` of OIDs or names: an array of texts, NULL for NULL.
pub fn array_guard(type_name: &str, list: List, v: &Visibility<'_>) -> Option<String> {
    let element = guard_of(type_name, "e.v", Source::Any, v)?;
    let oids = match list {
        List::Array => "",
        List::Vector => "::pg_catalog.oid[]",
    };
    Some(format!(
        "(SELECT CASE WHEN g.a IS NOT NULL THEN ARRAY(SELECT ({element})::pg_catalog.text \
         FROM pg_catalog.unnest(g.a) WITH ORDINALITY AS e(v, n) ORDER BY e.n) END \
         FROM (SELECT ($1){oids}::pg_catalog.text[] AS a OFFSET 0) AS g)::pg_catalog.text[]"
    ))
}

/// As [`cast_guard`], for where an OID is asked for: `$1::regclass::oid`, an argument of a function that looks objects up.
pub fn oid_guard(type_name: &str, source: Source, v: &Visibility<'_>) -> Option<String> {
    match type_name {
        "regclass" if source == Source::Null => Some(format!("({NOTHING})::pg_catalog.oid")),
        "regclass" if source == Source::Oid => {
            let members = [Set::Relations, Set::Indexes].into_iter().flat_map(|set| lookup::members(set, v));
            Some(one_of("$1", members.collect(), v))
        }
        "regclass" => Some(format!(
            "({})::pg_catalog.oid",
            lookup::relation_spellings_and_indexes(v).find("($1)::pg_catalog.text")
        )),
        "regtype" if source == Source::Oid => Some(one_of("$1", lookup::members(Set::Types, v), v)),
        "regtype" => Some(format!("({})::pg_catalog.oid", type_of("($1)::pg_catalog.text", v))),
        _ => cast_guard(type_name, source, v).map(|text| format!("({text})::pg_catalog.oid")),
    }
}

/// NULL, with `$1` in it.
const NOTHING: &str = "CASE WHEN ($1) IS NULL THEN NULL::pg_catalog.text END";

/// `value` when it is one of these, else NULL.
fn one_of(value: &str, members: Vec<u32>, v: &Visibility<'_>) -> String {
    let key = format!("({value})::pg_catalog.oid");
    format!("CASE WHEN {} THEN {key} END", v.holds(&key, members, Mention::Freely))
}

/// The name of the relation or index with an OID as a `regclass` is printed: by the server, whose own path is `pg_catalog` alone, so that the
/// schema stands before it; without that where the caller's path finds it; and from a list where callers know it by another name.
fn relation_name(value: &str, v: &Visibility<'_>) -> String {
    let key = format!("({value})::pg_catalog.oid");
    let printed = format!("{key}::pg_catalog.regclass::pg_catalog.text");
    let path = v.effective_path();
    let temporary = |schema: &str| v.own_schema().is_some_and(|(own, _)| own == schema);
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for s in &v.scope().relations {
        let logical = &s.decision.logical;
        if !s.is_stored() || s.is_renamed() || temporary(&logical.schema) {
            continue;
        }
        let there = path.contains(&logical.schema.as_str());
        let by_name = there && v.find_relation(None, &logical.name) == Some(s.relation.oid);
        if by_name { &mut found } else { &mut others }.push(s.relation.oid.0);
        if there { &mut found } else { &mut others }.extend(s.indexes().map(|i| i.oid.0));
    }
    format!(
        "CASE WHEN {} THEN pg_catalog.regexp_replace({printed}, '^(\"([^\"]|\"\")*\"|[^\".]*)[.]'::pg_catalog.text, ''::pg_catalog.text) \
         WHEN {} THEN {printed} ELSE {} END",
        v.holds(&key, found, Mention::Freely),
        v.holds(&key, others, Mention::Freely),
        lookup::names_of_others(v).find(&format!("{key}::pg_catalog.text"))
    )
}

/// Whether casts to `pg_catalog.type_name` read or print the catalog, so that [`cast_guard`] and [`resolve_reg_literal`] apply.
pub fn is_reg_type(type_name: &str) -> bool {
    matches!(
        type_name,
        "regclass"
            | "regtype"
            | "regnamespace"
            | "regproc"
            | "regprocedure"
            | "regrole"
            | "regoper"
            | "regoperator"
            | "regconfig"
            | "regdictionary"
            | "regcollation"
    )
}

/// Whether no cast to this type may be written at all: arrays of OID aliases, access lists (their text names roles), trees and statistics of the
/// server, and pseudo-types of its internals.
pub fn cast_is_refused(oid: Oid) -> bool {
    matches!(
        oid.0,
        // pg_ddl_command, pg_node_tree, handlers, xml-free internals
        32 | 194 | 269 | 325 | 705 | 2275 | 2277..=2283 | 2776 | 3115 | 3310 | 3361 | 3402 | 3500 | 3831 | 3838 | 5017
        | 4537 | 4538 | 4600 | 4601 | 5077..=5080
        // aclitem
        | 1033 | 1034
        // _regproc, _regprocedure, _regoper, _regoperator, _regclass, _regtype, _regrole, _regnamespace, _regconfig, _regdictionary, _regcollation
        | 1008 | 2207..=2211 | 4097 | 4090 | 3735 | 3770 | 4192
        // cstring[]
        | 1263
    )
}

/// Resolves the literal of a cast (`'customer'::regclass`) to the text of its OID, as the caller's search path and sight have it.
/// Errors are those of PostgreSQL for a name that does not exist.
pub fn resolve_reg_literal(type_name: &str, text: &str, v: &Visibility<'_>) -> Result<String, Refusal> {
    if !is_reg_type(type_name) {
        return Err(Refusal::unsupported(format!("casts to {type_name} are not supported")));
    }
    // Input of every alias type (regproc.c): "-" is InvalidOid, digits are an OID.
    if text == "-" {
        return Ok("0".to_owned());
    }
    if let Some(kind) = NamedKind::of_alias(type_name) {
        return named::find_text(kind, text, v.catalog, || v);
    }
    if matches!(type_name, "regoper" | "regoperator") && !text.bytes().all(|b| b.is_ascii_digit()) {
        // Bare operators (and types of operands) are searched in the pinned path, which is pg_catalog alone.
        let bare = !text.contains(['.', '"', '%']);
        return if bare { Ok(text.to_owned()) } else { Err(undefined(type_name, text)) };
    }
    let oid = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        by_number(type_name, text, v)
    } else {
        by_name(type_name, text, v)?
    };
    oid.map(|o| o.to_string()).ok_or_else(|| undefined(type_name, text))
}

fn by_number(type_name: &str, text: &str, v: &Visibility<'_>) -> Option<Oid> {
    let oid = Oid(text.parse().ok()?);
    let set = match type_name {
        "regclass" => {
            let scope = v.scope();
            let mut shown = scope.relations.iter().flat_map(|s| s.indexes()).map(|i| i.oid);
            return (oid.0 < FIRST_NORMAL_OID || v.seen(oid).is_some() || shown.any(|i| i == oid)).then_some(oid);
        }
        "regtype" => oid.0 < FIRST_NORMAL_OID || v.scope().types.contains(&oid.0),
        "regnamespace" => {
            oid.0 < 1000
                || v.catalog.schemas.iter().any(|(n, o)| {
                    *o == oid && (is_system(n) || v.scope().schemas.get(n.as_str()).is_some_and(|shown| *shown == oid))
                })
        }
        "regrole" => false,
        _ => oid.0 < FIRST_NORMAL_OID,
    };
    set.then_some(oid)
}

fn by_name(type_name: &str, text: &str, v: &Visibility<'_>) -> Result<Option<Oid>, Refusal> {
    Ok(match type_name {
        "regclass" => {
            let (schema, name) = split_name(text, v)?;
            let index = || {
                v.scope().relations.iter().find_map(|s| {
                    let here = &s.decision.logical.schema;
                    let wanted = match &schema {
                        Some(schema) => schema == here,
                        None => v.effective_path().contains(&here.as_str()),
                    };
                    s.indexes().find(|i| wanted && i.name == name).map(|i| i.oid)
                })
            };
            v.find_relation(schema.as_deref(), &name).or_else(index)
        }
        "regnamespace" => match identifiers(text)?.as_slice() {
            [name] if is_system(name) => v.catalog.schemas.get(name).copied(),
            [name] => v.scope().schemas.get(name.as_str()).copied(),
            _ => return Err(invalid_name()),
        },
        "regtype" => find_type(text, v)?,
        "regproc" => {
            let (schema, name) = split_name(text, v)?;
            match system_functions(schema.as_deref(), &name, v) {
                [one] => Some(one.oid),
                [] => None,
                _ => {
                    return Err(Refusal::new(
                        Family::Caller,
                        SqlState("42725"),
                        format!("more than one function named \"{text}\""),
                    ));
                }
            }
        }
        "regprocedure" => {
            let (head, args) = text
                .strip_suffix(')')
                .and_then(|t| t.split_once('('))
                .ok_or_else(|| Refusal::new(Family::Caller, SqlState("22P02"), "expected a left parenthesis"))?;
            let (schema, name) = split_name(head, v)?;
            let mut types = Vec::new();
            for arg in args.split(',').map(str::trim).filter(|a| !a.is_empty()) {
                types.push(find_type(arg, v)?.ok_or_else(|| undefined("regtype", arg))?);
            }
            let overloads = system_functions(schema.as_deref(), &name, v);
            overloads.iter().find(|f| f.args == types).map(|f| f.oid)
        }
        _ => None,
    })
}

fn system_functions<'v>(schema: Option<&str>, name: &str, v: &Visibility<'v>) -> &'v [super::Function] {
    match schema {
        None | Some("pg_catalog") => v.catalog.functions.get(name).map_or(&[], Vec::as_slice),
        Some(_) => &[],
    }
}

/// What PostgreSQL says when the name does not exist (regproc.c, namespace.c).
fn undefined(type_name: &str, text: &str) -> Refusal {
    let caller = |code, message: String| Refusal::new(Family::Caller, code, message);
    match type_name {
        "regclass" => Refusal::undefined_table(&plain(text)),
        "regtype" => caller(SqlState::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist")),
        "regnamespace" => caller(SqlState("3F000"), format!("schema \"{}\" does not exist", plain(text))),
        "regproc" | "regprocedure" => {
            caller(SqlState::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist"))
        }
        "regrole" => caller(SqlState::UNDEFINED_OBJECT, format!("role \"{}\" does not exist", plain(text))),
        _ => caller(SqlState::UNDEFINED_OBJECT, format!("object \"{text}\" does not exist")),
    }
}

/// The name as error messages show it: folded, without quotes.
fn plain(text: &str) -> String {
    identifiers(text).map_or_else(|_| text.to_owned(), |parts| parts.join("."))
}

fn invalid_name() -> Refusal {
    Refusal::new(Family::Caller, SqlState("42602"), "invalid name syntax")
}

/// `[database.]schema.name` or `name`.
fn split_name(text: &str, v: &Visibility<'_>) -> Result<(Option<String>, String), Refusal> {
    let mut parts = identifiers(text)?;
    let name = parts.pop().ok_or_else(invalid_name)?;
    let schema = parts.pop();
    match (parts.pop(), parts.is_empty()) {
        (None, _) => Ok((schema, name)),
        (Some(database), true) if database == v.database => Ok((schema, name)),
        (Some(_), true) => {
            Err(Refusal::unsupported(format!("cross-database references are not implemented: {}", plain(text))))
        }
        _ => Err(Refusal::new(
            Family::Caller,
            SqlState::SYNTAX_ERROR,
            format!("improper relation name (too many dotted names): {}", plain(text)),
        )),
    }
}

/// Dotted identifiers as PostgreSQL reads them in text (`SplitIdentifierString`, varlena.c): bare ones are folded to lower case, quoted
/// ones keep theirs, blanks around them are ignored.
pub(super) fn identifiers(text: &str) -> Result<Vec<String>, Refusal> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_identifier(quoted)?
        } else {
            let end = rest.find(|c: char| c == '.' || c.is_whitespace()).unwrap_or(rest.len());
            let (bare, after) = rest.split_at(end);
            (bare.to_lowercase(), after)
        };
        if part.is_empty() {
            return Err(invalid_name());
        }
        parts.push(part);
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(parts);
        }
        rest = after.strip_prefix('.').ok_or_else(invalid_name)?.trim_start();
    }
}

/// The rest of a quoted identifier after its first quote, and what follows the last.
fn quoted_identifier(text: &str) -> Result<(String, &str), Refusal> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or_else(invalid_name)?;
        name.push_str(before);
        let Some(again) = after.strip_prefix('"') else { return Ok((name, after)) };
        name.push('"');
        rest = again;
    }
}

/// Names of types in the SQL standard's words that differ from the catalog's (manual, table 8.1).
const TYPE_WORDS: &[(&str, &str)] = &[
    ("bigint", "int8"),
    ("bit varying", "varbit"),
    ("boolean", "bool"),
    ("char", "bpchar"),
    ("char varying", "varchar"),
    ("character", "bpchar"),
    ("character varying", "varchar"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("double precision", "float8"),
    ("float", "float8"),
    ("int", "int4"),
    ("integer", "int4"),
    ("real", "float4"),
    ("smallint", "int2"),
    ("time with time zone", "timetz"),
    ("time without time zone", "time"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
];

/// A type by its name, with `[]` and a type modifier, which `regtype` ignores.
fn find_type(text: &str, v: &Visibility<'_>) -> Result<Option<Oid>, Refusal> {
    let mut name = text.trim().to_owned();
    let array = name.ends_with(']');
    if array {
        let end = name.find('[').ok_or_else(invalid_name)?;
        name.truncate(end);
    }
    if let (Some(open), Some(close)) = (name.find('('), name.find(')'))
        && !name.starts_with('"')
        && open < close
    {
        name.replace_range(open..=close, "");
    }
    let words = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let known = TYPE_WORDS.iter().find(|(word, _)| *word == words);
    let (schema, name) = match known {
        Some((_, name)) => (Some("pg_catalog".to_owned()), (*name).to_owned()),
        None => split_name(&name, v)?,
    };
    let find = |schema: &str| v.catalog.type_names.get(&QualifiedName::new(schema, name.clone())).copied();
    let visible = |o: &Oid| v.type_is_visible(*o);
    let found = match schema {
        Some(schema) => find(&schema).filter(visible),
        None => v.effective_path().into_iter().find_map(|s| find(s).filter(visible)),
    };
    Ok(match (found, array) {
        (Some(oid), true) => v.catalog.types.get(&oid).map(|t| t.array).filter(|o| *o != Oid(0)),
        (found, _) => found,
    })
}

#[cfg(test)]
mod tests {
    use super::super::visibility::tests::{catalog, decision, relation};
    use super::*;
    use crate::catalog::{Function, Index};

    fn check(test: impl FnOnce(&Visibility<'_>)) {
        let mut a = relation(20000, "public", "a", &["x", "y"]);
        a.indexes = vec![
            Index { oid: Oid(20005), name: "a_x".into(), columns: Some(vec!["x".into()]), alien: false },
            Index { oid: Oid(20006), name: "a_y".into(), columns: Some(vec!["y".into()]), alien: false },
        ];
        let odd = relation(20030, "public", "Odd \"Name\"", &["x"]);
        let number = relation(20040, "outside", "n ($1)", &["x"]);
        let hidden = relation(20020, "public", "hidden", &["x"]);
        let seen = [decision(&a, None, &["y"]), decision(&odd, None, &[]), decision(&number, None, &[])];
        let mut catalog = catalog(vec![a, odd, number, hidden, relation(1259, "pg_catalog", "pg_class", &["oid"])]);
        let f = |oid, arg| Function { oid: Oid(oid), args: vec![Oid(arg)], ..Function::default() };
        catalog.functions.insert("one".into(), vec![f(100, 23)]);
        catalog.functions.insert("two".into(), vec![f(101, 23), f(102, 25)]);
        let path = ["public".to_owned()];
        test(&Visibility::new(&catalog, "u", "db", &path, &seen));
    }

    #[test]
    fn names_resolve_as_the_caller_sees_them() {
        check(|v| {
            for (kind, text, oid) in [
                ("regclass", "a", "20000"),
                ("regclass", " PUBLIC . A ", "20000"),
                ("regclass", "\"a\"", "20000"),
                ("regclass", "db.public.a", "20000"),
                ("regclass", "\"Odd \"\"Name\"\"\"", "20030"),
                ("regclass", "pg_class", "1259"),
                ("regclass", "pg_catalog.pg_class", "1259"),
                ("regclass", "a_x", "20005"),
                ("regclass", "20000", "20000"),
                ("regclass", "20005", "20005"),
                ("regclass", "-", "0"),
                ("regtype", "int4", "23"),
                ("regtype", "INTEGER", "23"),
                ("regtype", "int[]", "1007"),
                ("regtype", "a", "20002"),
                ("regproc", "one", "100"),
                ("regprocedure", "two(text)", "102"),
                ("regprocedure", "pg_catalog.two( integer )", "101"),
                ("regnamespace", "public", "2200"),
                ("regconfig", "English", "\"pg_catalog\".\"english\""),
                ("regoper", "||/", "||/"),
            ] {
                assert_eq!(resolve_reg_literal(kind, text, v).as_deref(), Ok(oid), "{text}");
            }
        });
    }

    #[test]
    fn hidden_and_missing_answer_alike() {
        check(|v| {
            for kind in ["regclass", "regtype"] {
                let hidden = resolve_reg_literal(kind, "public.hidden", v).unwrap_err();
                let missing = resolve_reg_literal(kind, "public.nosuch", v).unwrap_err();
                assert_eq!(hidden.code, missing.code);
                assert_eq!(hidden.message.replace("hidden", "nosuch"), missing.message);
            }
            for (kind, text, code) in [
                ("regclass", "20020", "42P01"),
                ("regclass", "a_y", "42P01"),
                ("regclass", "20006", "42P01"),
                ("regclass", "other.public.a", "0A000"),
                ("regclass", "A.\"", "42602"),
                ("regclass", "", "42602"),
                ("regtype", "20022", "42704"),
                ("regproc", "two", "42725"),
                ("regproc", "none", "42883"),
                ("regrole", "postgres", "42704"),
                ("regrole", "10", "42704"),
                ("regnamespace", "elsewhere", "3F000"),
                ("regconfig", "public.mine", "42704"),
                ("regoperator", "=(public.hidden,int4)", "42704"),
                ("money", "1", "0A000"),
            ] {
                assert_eq!(resolve_reg_literal(kind, text, v).unwrap_err().code.0, code, "{kind} {text}");
            }
        });
    }

    #[test]
    fn a_cast_mentions_its_argument_once_and_nothing_hidden() {
        check(|v| {
            for kind in ["regclass", "regtype", "regnamespace", "regproc", "regconfig"] {
                let sql = cast_guard(kind, Source::Any, v).unwrap().replace("n ($1)", "");
                assert_eq!(sql.matches("$1").count(), 1);
                for source in [Source::Any, Source::Oid] {
                    let sql = cast_guard(kind, source, v).unwrap();
                    assert!(!sql.contains("hidden") && !sql.contains("20020") && !sql.contains("20006"), "{sql}");
                }
            }
            for (list, argument) in [(List::Array, "($1)::pg_catalog.text[]"), (List::Vector, "($1)::pg_catalog.oid[]")]
            {
                let sql = array_guard("regclass", list, v).unwrap();
                assert!(sql.contains(argument) && sql.contains("n ($1)") && !sql.contains("n ($1)::"), "{sql}");
            }
            assert!(cast_guard("regrole", Source::Any, v).is_none());
            assert!(cast_guard("aclitem", Source::Any, v).is_none());
        });
    }
}
