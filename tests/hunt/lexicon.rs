//! What a caller can put into a statement: the relations, functions and operators of the catalog as the proxy shows it to that caller.
//!
//! Functions are tried once each: one that the proxy refuses by its name makes no statements, and is counted.

use crate::literals::{TYPES, known};
use crate::session::{Back, Case, Session, Way};
use std::collections::BTreeMap;

/// A relation and its columns that are of known types.
#[derive(Debug, Clone)]
pub struct Relation {
    /// As it stands in FROM.
    pub name: String,
    /// Name and type.
    pub columns: Vec<(String, u32)>,
}

/// What a function is called with and gives.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name in `pg_catalog`.
    pub name: String,
    /// Argument types.
    pub args: Vec<u32>,
    /// Result type.
    pub result: u32,
    /// `f`, `a` or `w`.
    pub kind: char,
    /// Gives rows.
    pub set: bool,
}

/// A binary or prefix operator.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// Left operand's type, 0 for prefix operators.
    pub left: u32,
    /// Right operand's type.
    pub right: u32,
}

/// Everything of one caller.
#[derive(Debug, Clone, Default)]
pub struct Lexicon {
    /// Tables and views of the warehouse.
    pub relations: Vec<Relation>,
    /// Those of the system.
    pub system: Vec<Relation>,
    /// Plain functions by result type.
    pub functions: BTreeMap<u32, Vec<Function>>,
    /// Aggregates by result type.
    pub aggregates: BTreeMap<u32, Vec<Function>>,
    /// Functions that give rows.
    pub sets: Vec<Function>,
    /// Operators by result type.
    pub operators: BTreeMap<u32, Vec<Operator>>,
    /// Names that the proxy refuses, among those that could have been called.
    pub refused: usize,
}

/// Chance, time, the session; and what turns small arguments into a long time or much memory.
const NOT_CALLED: &[&str] = &[
    "clock_timestamp",
    "gen_random_uuid",
    "now",
    "random",
    "random_normal",
    "statement_timestamp",
    "timeofday",
    "transaction_timestamp",
    "setseed",
    "uuidv4",
    "uuidv7",
    "pg_backend_pid",
    "age",
    "repeat",
    "lpad",
    "rpad",
    "generate_series",
    "factorial",
    "numeric_fac",
    "pg_timezone_names",
    "pg_timezone_abbrevs",
    "pg_postmaster_start_time",
    "pg_conf_load_time",
    "version",
    "pg_my_temp_schema",
    "pg_get_keywords",
    "numeric_power",
    "pow",
    "power",
    "ts_headline",
    "array_fill",
    "pg_stat_get_activity",
    // Not callable without WITHIN GROUP, or with a row of a type that is known.
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "json_populate_record",
    "json_populate_recordset",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
];

/// Polymorphic pseudo-types (pg_type.dat): element kinds, and array kinds.
pub const ELEMENTS: &[u32] = &[2283, 2776, 5077, 5079, 2276];
/// The same for arrays.
pub const ARRAYS: &[u32] = &[2277, 5078];

impl Lexicon {
    /// Reads the caller's catalog and tries the functions; those of another caller, where they are known, are the same.
    /// One name in `part` is tried at all.
    pub fn read(session: &mut Session<'_>, like: Option<&Self>, part: usize) -> Self {
        let mut tables: BTreeMap<(String, String), Vec<(String, u32)>> = BTreeMap::new();
        let columns = "SELECT n.nspname, c.relname, a.attname, a.atttypid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v', 'm', 'p', 'f') ORDER BY 1, 2, a.attnum";
        for row in session.rows(columns) {
            let cells: Vec<&str> = row.split('|').collect();
            if let [schema, table, column, oid] = cells[..]
                && known(oid.parse().unwrap_or(0)).is_some()
            {
                tables.entry((schema.into(), table.into())).or_default().push((quoted(column), oid.parse().unwrap()));
            }
        }
        let (mut relations, mut system) = (Vec::new(), Vec::new());
        for ((schema, table), columns) in tables {
            // What it shows differs by session, by time, or is long.
            if table.starts_with("pg_stat")
                || ["pg_settings", "pg_locks", "pg_timezone_names", "pg_timezone_abbrevs"].contains(&table.as_str())
            {
                continue;
            }
            let name = format!("{}.{}", quoted(&schema), quoted(&table));
            let into = if schema == "public" || schema == "reports" { &mut relations } else { &mut system };
            into.push(Relation { name, columns });
        }
        if let Some(like) = like {
            return Self { relations, system, ..like.clone() };
        }
        let mut lexicon = Self { relations, system, ..Self::default() };
        lexicon.read_functions(session, part);
        lexicon.read_operators(session);
        lexicon
    }

    fn read_functions(&mut self, session: &mut Session<'_>, part: usize) {
        let mut refused: BTreeMap<String, bool> = BTreeMap::new();
        for row in session.rows("SELECT proname, proargtypes::text, prorettype, prokind, proretset FROM pg_catalog.pg_proc WHERE pronamespace = 11 ORDER BY oid") {
            let cells: Vec<&str> = row.split('|').collect();
            let [name, args, result, kind, set] = cells[..] else { continue };
            let args: Vec<u32> = args.split_whitespace().filter_map(|a| a.parse().ok()).collect();
            let function = Function {
                name: name.to_owned(),
                result: result.parse().unwrap_or(0),
                kind: kind.chars().next().unwrap_or('f'),
                set: set == "t",
                args,
            };
            if !name.bytes().fold(0, |sum, byte| sum * 31 % 9973 + usize::from(byte)).is_multiple_of(part) {
                continue;
            }
            let usable = |oid: &u32| known(*oid).is_some() || ELEMENTS.contains(oid) || ARRAYS.contains(oid);
            if NOT_CALLED.contains(&name) || name.starts_with("pg_stat") || !function.args.iter().chain([&function.result]).all(usable) {
                continue;
            }
            let no = *refused.entry(function.name.clone()).or_insert_with(|| is_refused(session, &function));
            if no || !matches!(function.kind, 'f' | 'a') {
                continue;
            }
            match (function.set, function.kind) {
                (true, _) => self.sets.push(function),
                (false, 'a') => self.aggregates.entry(function.result).or_default().push(function),
                (false, _) => self.functions.entry(function.result).or_default().push(function),
            }
        }
        self.refused = refused.values().filter(|no| **no).count();
    }

    fn read_operators(&mut self, session: &mut Session<'_>) {
        let usable = |oid: u32| oid == 0 || known(oid).is_some();
        for row in session.rows("SELECT oprname, oprleft, oprright, oprresult FROM pg_catalog.pg_operator WHERE oprnamespace = 11 ORDER BY oid") {
            // The name itself may be the separator.
            let cells: Vec<&str> = row.rsplitn(4, '|').collect();
            let [result, right, left, name] = cells[..] else { continue };
            let number = |text: &str| text.parse::<u32>().unwrap_or(1);
            let (left, right, result) = (number(left), number(right), number(result));
            if usable(left) && usable(right) && known(result).is_some() {
                self.operators.entry(result).or_default().push(Operator { name: name.to_owned(), left, right });
            }
        }
    }
}

/// Whether the proxy refuses the function by its name.
fn is_refused(session: &mut Session<'_>, function: &Function) -> bool {
    let args: Vec<String> = function
        .args
        .iter()
        .map(|oid| match known(*oid) {
            Some(t) => format!("NULL::{}", t.name),
            None if ARRAYS.contains(oid) => "NULL::int4[]".to_owned(),
            None => "NULL::int4".to_owned(),
        })
        .collect();
    let call = format!("{}({})", quoted(&function.name), args.join(", "));
    let sql = if function.set { format!("SELECT FROM {call} s") } else { format!("SELECT {call}") };
    match &session.say(Way::Simple, &Case::plain(sql))[0] {
        Back::Whole(answer) => answer.error().is_some_and(|e| e.field(b'R').is_none()),
        Back::Huge | Back::Lost(_) => true,
    }
}

/// A name as an identifier.
pub fn quoted(name: &str) -> String {
    sqlveil::types::quote_ident(name).to_string()
}

/// OIDs that any expression may be of.
pub fn any_type(at: usize) -> u32 {
    TYPES[at % TYPES.len()].oid
}
