//! Whether the warehouse is something that can be enforced on: what the proxy relies on is asked for whenever it connects, version strings are not believed.
//!
//! In: a fresh catalog client, a second one beside it, the [`Engine`] that the configuration names. Out: nothing, or the first thing that
//! is missing: what, why it is needed, what to do. Must never: let an answer pass that is not the expected one, write, or read user data.

use crate::catalog::manifest;
use crate::config::Engine;
use std::fmt::Write as _;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Why the warehouse is not served.
#[derive(Debug)]
pub(super) enum Lack {
    /// It went away, or could not be asked.
    Unheard(Error),
    /// It lacks something: message and help.
    Missing(String, &'static str),
}

/// What is to come of a question.
enum Answer {
    /// This row, cells joined by `|`.
    Row(&'static str),
    /// An error of this code.
    Error(&'static str),
}
use Answer::{Error as Raises, Row};

/// What enforcement relies on: what it is, a question, the answer.
const BEHAVIOURS: &[(&str, &str, Answer)] = &[
    // A caller's condition stays above a barrier, however much cheaper it is than what is below (`OFFSET '0'`).
    (
        "a condition above `OFFSET '0'` is evaluated on no row that the condition below leaves out",
        "SELECT pg_catalog.count(*) FROM (SELECT v.a FROM pg_catalog.generate_series(0, 3) AS v(a) \
         WHERE pg_catalog.length(pg_catalog.repeat('x', pg_catalog.abs(v.a))) > 0 OFFSET '0') AS x WHERE 6 / x.a > 1",
        Row("3"),
    ),
    (
        "CASE evaluates no later branch than the one it takes",
        "SELECT pg_catalog.string_agg((CASE WHEN v.a <> 0 THEN 6 / v.a > 1 ELSE false END)::pg_catalog.text, ',' ORDER BY v.a) \
         FROM pg_catalog.generate_series(0, 1) AS v(a)",
        Row("false,true"),
    ),
    (
        "a sub-select in FROM may be LATERAL",
        "SELECT x.b FROM (VALUES (1)) AS v(a) LEFT JOIN LATERAL (SELECT v.a + 1 AS b) AS x ON TRUE",
        Row("2"),
    ),
    (
        "asking for a setting that does not exist is an error",
        "SELECT pg_catalog.current_setting('sqlveil.check_0')",
        Raises("42704"),
    ),
    ("integers are divided with an error at zero", "SELECT 1 / (SELECT 0)", Raises("22012")),
    (
        "names are looked for in `pg_catalog` alone when the search path is empty",
        "SELECT pg_catalog.current_setting('search_path') IN ('', '\"\"'), pg_catalog.array_to_string(pg_catalog.current_schemas(true), ',')",
        Row("t|pg_catalog"),
    ),
    ("backslashes are themselves in ordinary strings", r"SELECT 'a\' || pg_catalog.length('\\')", Row(r"a\2")),
    ("`= NULL` is not `IS NULL`", "SELECT (SELECT NULL::pg_catalog.int4) = NULL IS NULL", Row("t")),
    ("the transaction of the catalog's reader is read-only", "CREATE SCHEMA sqlveil_capability", Raises("25006")),
    // Numbers of types and catalogs that stand in the source (pg_type.dat, pg_class.dat, pg_namespace.dat).
    (
        "types have PostgreSQL's own numbers",
        "SELECT pg_catalog.string_agg(t.typname::pg_catalog.text, ',' ORDER BY t.oid) FROM pg_catalog.pg_type AS t WHERE t.typnamespace = 11 AND t.oid IN \
         (16, 17, 18, 19, 20, 21, 23, 25, 26, 27, 28, 650, 700, 701, 829, 869, 1033, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2205, 2950, 3802)",
        Row(
            "bool,bytea,char,name,int8,int2,int4,text,oid,tid,xid,cidr,float4,float8,macaddr,inet,aclitem,bpchar,varchar,date,time,timestamp,timestamptz,\
             interval,timetz,numeric,regclass,uuid,jsonb",
        ),
    ),
    (
        "catalogs have PostgreSQL's own numbers",
        "SELECT pg_catalog.string_agg(c.relname::pg_catalog.text, ',' ORDER BY c.oid) FROM pg_catalog.pg_class AS c \
         WHERE c.relnamespace = 11 AND c.oid IN (1247, 1249, 1255, 1259, 2606, 2615)",
        Row("pg_type,pg_attribute,pg_proc,pg_class,pg_constraint,pg_namespace"),
    ),
    (
        "objects of databases have numbers from 16384 on",
        "SELECT pg_catalog.count(*) > 2000, pg_catalog.bool_and(p.oid < 16384) FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang \
         WHERE p.pronamespace = 11 AND l.lanname = 'internal'",
        Row("t|t"),
    ),
    // What is marked so may run on hidden rows.
    (
        "no function that may raise is marked leakproof",
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 11 AND p.proleakproof AND p.proname::pg_catalog.text IN \
         ('int2div', 'int4div', 'int8div', 'int4pl', 'int4mul', 'int4mi', 'int8pl', 'int8mul', 'float8div', 'float8mul', 'numeric_div', 'numeric_mod', 'textregexeq', \
          'texticregexeq', 'substring', 'substr', 'to_number', 'to_date', 'to_timestamp', 'textcat', 'chr', 'ln', 'power', 'sqrt', 'jsonb_object_field', \
          'date_part', 'date_trunc', 'textlike', 'interval_pl', 'timestamptz_pl_interval', 'array_in', 'int4in')",
        Row("0"),
    ),
    (
        "built-in functions are the server's own code",
        "SELECT pg_catalog.string_agg(p.proname::pg_catalog.text, ',') FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang \
         WHERE p.pronamespace = 11 AND p.oid < 16384 AND l.lanname NOT IN ('internal', 'c', 'sql')",
        Row("NULL"),
    ),
    (
        "sha256() and what masks are made of compute what they should",
        "SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to('é', 'UTF8')), 'hex'), pg_catalog.regexp_replace('ab12', '[0-9]', 'x', 'g'), \
         pg_catalog.date_trunc('month', '2024-02-29'::pg_catalog.date)::pg_catalog.date, pg_catalog.floor(7.5 / 2) * 2, pg_catalog.lpad('7', 3, '0'), \
         pg_catalog.translate('abc', 'ab', 'xy'), pg_catalog.substr('abcdef', 2, 3), pg_catalog.encode(pg_catalog.int8send(258), 'hex'), \
         pg_catalog.get_byte('\\x0aff'::pg_catalog.bytea, 1), pg_catalog.ascii(pg_catalog.chr(228)), pg_catalog.mod(17, 5), \
         pg_catalog.to_char('2024-02-29'::pg_catalog.date, 'YYYYMMDD'), pg_catalog.round(2.5), pg_catalog.octet_length('é')",
        Row(
            "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c|abxx|2024-02-01|6|007|xyc|bcd|0000000000000102|255|228|2|20240229|3|2",
        ),
    ),
    (
        "what the virtual catalog is made of computes what it should",
        "SELECT pg_catalog.jsonb_object_field_text('{\"a\": \"b\"}', 'a'), pg_catalog.jsonb_exists('{\"a\": 1}', 'a'), \
         (pg_catalog.json_populate_recordset(NULL::pg_catalog.pg_namespace, '[{\"nspname\": \"x\"}]')).nspname, \
         pg_catalog.concat('a', NULL, 'b'), 5 = ANY ('{4,5}'::pg_catalog.oid[]), pg_catalog.format_type(1043, 14), \
         pg_catalog.get_bit(pg_catalog.decode('Ag==', 'base64'), LEAST(GREATEST(1::pg_catalog.int8, 0), 3)::pg_catalog.int4) <> 0",
        Row("b|t|x|ab|t|character varying(10)|t"),
    ),
];

const HELP_LACK: &str = "the proxy cannot enforce policies on it: serve PostgreSQL 13 or newer, unchanged, or an engine that does this as PostgreSQL does";
const HELP_ENGINE: &str = "if it is another engine that speaks PostgreSQL, write `engine: compatible` for the connection: then more is asked of it before it is served";
const HELP_VERSION: &str = "use a newer sqlveil, whose lists of functions know this version";
const HELP_SESSIONS: &str =
    "each session of the proxy must be one of its own in the warehouse; behind a pooler write `pooler: session`";

/// Asks for everything; `beside` is another session with the same warehouse.
///
/// Not cancel safe: a dropped future may leave settings of the probe in the sessions; drop them with it.
pub(super) async fn ask(client: &Client, beside: Option<&Client>, engine: Engine) -> Result<(), Lack> {
    version(client, engine).await?;
    for (what, sql, wanted) in BEHAVIOURS {
        let lacks = |found: &str| Lack::Missing(format!("the warehouse lacks something: {what} ({found})"), HELP_LACK);
        match (rows(client, sql).await, wanted) {
            (Ok(found), Row(wanted)) if found == *wanted => {}
            (Ok(found), Row(_) | Raises(_)) => return Err(lacks(&format!("it answers \"{}\"", shortened(&found)))),
            (Err(error), wanted) => match (error.as_db_error(), wanted) {
                (Some(said), Raises(code)) if said.code().code() == *code => {}
                (Some(said), _) => return Err(lacks(&format!("it says \"{}\"", shortened(said.message())))),
                (None, _) => return Err(Lack::Unheard(error)),
            },
        }
    }
    match beside {
        Some(beside) => apart(client, beside).await,
        None => Ok(()),
    }
}

/// What it calls itself, held against what the connection says it is.
async fn version(client: &Client, engine: Engine) -> Result<(), Lack> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.version()";
    let found = rows(client, sql).await.map_err(|error| unheard(error, "it does not tell its version"))?;
    let (number, name) = found.split_once('|').unwrap_or_default();
    let number: u32 = number.parse().unwrap_or_default();
    let major = number / 10_000;
    if !manifest::serves(number) {
        let message = format!("the warehouse calls itself version {major}; versions from 13 on are served");
        return Err(Lack::Missing(message, HELP_LACK));
    }
    match engine {
        // `PostgreSQL 15.18 (Debian …) on x86_64-…`
        Engine::Postgresql if !is_postgresql(name, major) => {
            let message =
                format!("the warehouse is not plain PostgreSQL {major}: it calls itself \"{}\"", shortened(name));
            Err(Lack::Missing(message, HELP_ENGINE))
        }
        Engine::Compatible if manifest::stands_in(number).is_some() => {
            let message = format!("the warehouse calls itself version {major}, which nobody has looked at");
            Err(Lack::Missing(message, HELP_VERSION))
        }
        Engine::Postgresql | Engine::Compatible => Ok(()),
    }
}

/// `version()` of the server that the PostgreSQL project publishes, as anybody may have built it: no other product's name, a machine behind `on`.
fn is_postgresql(name: &str, major: u32) -> bool {
    let Some(rest) = name.strip_prefix(&format!("PostgreSQL {major}")) else { return false };
    let Some((number, built)) = rest.split_once(" on ") else { return false };
    let (number, packager) = number.split_once(" (").unwrap_or((number, ""));
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let others = [
        "enterprisedb",
        "greenplum",
        "yugabyte",
        "redshift",
        "cockroach",
        "polardb",
        "opengauss",
        "cloudberry",
        "-yb-",
    ];
    let says = name.to_ascii_lowercase();
    number.chars().all(word)
        && packager.chars().filter(|c| *c == '(').count() == 0
        && !others.iter().any(|other| says.contains(other))
        && !built.starts_with("wasm")
}

/// Two sessions are two: each has its settings and statements to itself, and `DISCARD ALL` leaves those it began with.
async fn apart(client: &Client, beside: &Client) -> Result<(), Lack> {
    let missing = |what: &str| Lack::Missing(format!("the warehouse lacks something: {what}"), HELP_SESSIONS);
    let set = "SELECT pg_catalog.set_config('sqlveil.capability', 'here', false)";
    let get = "SELECT coalesce(pg_catalog.current_setting('sqlveil.capability', true), '')";
    let failed = "sessions have settings of their own";
    rows(client, set).await.map_err(|error| unheard(error, failed))?;
    if !rows(beside, get).await.map_err(|error| unheard(error, failed))?.is_empty() {
        return Err(missing("sessions have settings of their own (one finds what another has set)"));
    }
    let pid = "SELECT pg_catalog.pg_backend_pid()";
    let pids = (rows(client, pid).await.map_err(Lack::Unheard)?, rows(beside, pid).await.map_err(Lack::Unheard)?);
    if pids.0 == pids.1 {
        return Err(missing("sessions have processes of their own (two are served by one)"));
    }
    rows(beside, set).await.map_err(|error| unheard(error, failed))?;
    let failed = "`DISCARD ALL` forgets what a session was told";
    rows(beside, "SET search_path = pg_temp; SET application_name = ''")
        .await
        .map_err(|error| unheard(error, failed))?;
    rows(beside, "PREPARE sqlveil_capability AS SELECT 1").await.map_err(|error| unheard(error, failed))?;
    rows(beside, "DISCARD ALL").await.map_err(|error| unheard(error, failed))?;
    let after = "SELECT pg_catalog.current_setting('search_path') IN ('', '\"\"'), coalesce(pg_catalog.current_setting('sqlveil.capability', true), ''), \
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements AS s WHERE s.name = 'sqlveil_capability')";
    let after = rows(beside, after).await.map_err(|error| unheard(error, failed))?;
    rows(client, "SELECT pg_catalog.set_config('sqlveil.capability', '', false)").await.map_err(Lack::Unheard)?;
    if after != "t||0" {
        return Err(missing("`DISCARD ALL` forgets what a session was told, and keeps what it began with"));
    }
    Ok(())
}

fn unheard(error: Error, what: &str) -> Lack {
    match error.as_db_error() {
        Some(said) => Lack::Missing(
            format!("the warehouse lacks something: {what} (it says \"{}\")", shortened(said.message())),
            HELP_LACK,
        ),
        None => Lack::Unheard(error),
    }
}

/// The last row of an answer, cells joined by `|`; empty without rows.
async fn rows(client: &Client, sql: &str) -> Result<String, Error> {
    let mut out = String::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            out.clear();
            for at in 0..row.len() {
                let _ = write!(out, "{}{}", if at == 0 { "" } else { "|" }, row.try_get(at)?.unwrap_or("NULL"));
            }
        }
    }
    Ok(out)
}

/// As much of a text of the warehouse as is told.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_postgresql_is_told_from_others() {
        for (name, major) in [
            (
                "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit",
                15,
            ),
            ("PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (GCC) 8.3.0, 64-bit", 18),
            ("PostgreSQL 19beta1 on aarch64-apple-darwin", 19),
            ("PostgreSQL 17.2 (Homebrew) on aarch64-apple-darwin23", 17),
        ] {
            assert!(is_postgresql(name, major), "{name}");
        }
        for (name, major) in [
            ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27)", 13),
            ("PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu", 11),
            ("PostgreSQL 15.4 (EnterpriseDB Advanced Server 15.4.0) on x86_64-pc-linux-gnu", 15),
            ("PostgreSQL 12.12 (Greenplum Database 7.0.0 build x) on x86_64-pc-linux-gnu", 12),
            ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.63", 8),
            ("PostgreSQL 17.5 on wasm32-unknown-emscripten", 17),
            ("PostgreSQL 15.1 on x86_64", 16),
            ("PostgreSQL 15.1", 15),
            ("", 0),
        ] {
            assert!(!is_postgresql(name, major), "{name}");
        }
    }
}
