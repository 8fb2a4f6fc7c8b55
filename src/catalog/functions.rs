//! Which functions of `pg_catalog` a caller may call.
//!
//! In: a function's name. Out: its [`FunctionClass`], one for all overloads together, because which overload a call means depends on types
//! the proxy does not infer. Must never: allow a name because it is unknown.
//!
//! The result for every version is checked in as `manifest/pg15.txt` and its like, so that a reviewer sees the list and not only the rule;
//! what is on no list is denied ([`super::manifest`]).

use super::{Catalog, Function};
use super::{guard, reg};
use crate::types::{Oid, QualifiedName};

/// What may be done with a call of a function, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionClass {
    /// Every overload computes from its arguments (and the clock, the time zone, chance) alone.
    Allowed,
    /// Tells about the session: the proxy answers with a constant.
    Identity(Identity),
    /// Looks up objects: replaced by [`super::guard::guard`].
    Guarded,
    /// Not callable.
    Denied,
}

/// Functions about the session, answered for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// `current_schema()`: first schema of the caller's search path that exists for him.
    CurrentSchema,
    /// `current_schemas(boolean)`.
    CurrentSchemas,
    /// `current_database()`.
    CurrentDatabase,
    /// `pg_backend_pid()`.
    BackendPid,
    /// `current_setting('literal' [, missing_ok])`.
    CurrentSetting,
    /// `current_user`, `session_user`, `getpgusername()` in call form.
    User,
}

/// First OID of objects that `initdb` did not make (`FirstNormalObjectId`, access/transam.h).
pub(crate) const FIRST_NORMAL_OID: u32 = 16384;

/// Stable and volatile names reviewed one by one: they read the clock, the time zone, the type of an argument, text search
/// configurations or chance, and nothing of the warehouse's data, sessions or files.
const REVIEWED: &[&str] = &[
    // Clock and chance.
    "clock_timestamp",
    "gen_random_uuid",
    "now",
    "random",
    "random_normal",
    "statement_timestamp",
    "timeofday",
    "transaction_timestamp",
    "uuidv4",
    "uuidv7",
    // Dates: they depend on the time zone or DateStyle.
    "age",
    "date",
    "date_add",
    "date_cmp_timestamptz",
    "date_eq_timestamptz",
    "date_ge_timestamptz",
    "date_gt_timestamptz",
    "date_le_timestamptz",
    "date_lt_timestamptz",
    "date_ne_timestamptz",
    "date_part",
    "date_subtract",
    "date_trunc",
    "extract",
    "generate_series",
    "interval_pl_timestamptz",
    "make_timestamptz",
    "overlaps",
    "time",
    "timestamp",
    "timestamp_cmp_timestamptz",
    "timestamp_eq_timestamptz",
    "timestamp_ge_timestamptz",
    "timestamp_gt_timestamptz",
    "timestamp_le_timestamptz",
    "timestamp_lt_timestamptz",
    "timestamp_ne_timestamptz",
    "timestamptz",
    "timestamptz_cmp_date",
    "timestamptz_cmp_timestamp",
    "timestamptz_eq_date",
    "timestamptz_eq_timestamp",
    "timestamptz_ge_date",
    "timestamptz_ge_timestamp",
    "timestamptz_gt_date",
    "timestamptz_gt_timestamp",
    "timestamptz_le_date",
    "timestamptz_le_timestamp",
    "timestamptz_lt_date",
    "timestamptz_lt_timestamp",
    "timestamptz_mi_interval",
    "timestamptz_ne_date",
    "timestamptz_ne_timestamp",
    "timestamptz_pl_interval",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_number",
    "to_timestamp",
    // Text: stable because output functions of other types may be.
    "anytextcat",
    "array_to_string",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "format",
    "length",
    "quote_literal",
    "quote_nullable",
    "textanycat",
    // Numbers.
    "money",
    "numeric",
    // JSON.
    "array_to_json",
    "json_agg",
    "json_agg_strict",
    "json_array_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "json_to_tsvector",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_record_valid",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "jsonb_to_tsvector",
    "row_to_json",
    "to_json",
    "to_jsonb",
    // XML of given values; the family that runs SQL (query_to_xml, …) is not here.
    "xml",
    "xml_is_well_formed",
    // Enums.
    "enum_first",
    "enum_last",
    "enum_range",
    // Text search with a given or the default configuration; ts_stat and ts_rewrite run SQL and are not here.
    "get_current_ts_config",
    "phraseto_tsquery",
    "plainto_tsquery",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "ts_match_tq",
    "ts_match_tt",
    "ts_parse",
    "ts_token_type",
    "websearch_to_tsquery",
    // Nobody can take such a lock, so there is none to give back: drivers ask for it when they clear a session.
    "pg_advisory_unlock_all",
    // About the server's build and its names for things, the same for everyone.
    "getdatabaseencoding",
    "pg_char_to_encoding",
    "pg_client_encoding",
    "pg_encoding_to_char",
    "pg_get_keywords",
    "pg_indexam_has_property",
    "pg_is_in_recovery",
    "pg_my_temp_schema",
    "pg_options_to_table",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_postmaster_start_time",
    "pg_typeof",
    "version",
];

/// Immutable by declaration, and still not for callers: they read the catalog or server state, or are parts of aggregates and
/// operator classes that expect what only the server gives them.
const DENIED: &[&str] = &[
    // Opens a relation by OID, whatever its volatility says.
    "satisfies_hash_partition",
    "pg_partition_root",
    // Snapshots and WAL.
    "pg_visible_in_snapshot",
    "txid_visible_in_snapshot",
    "pg_walfile_name",
    "pg_walfile_name_offset",
    // Parts of foreign data wrappers, operator classes, typmod input, aggregates.
    "postgresql_fdw_validator",
    "btequalimage",
    "gist_translate_cmptype_common",
    "btvarstrequalimage",
    "gin_cmp_tslexeme",
    "gin_compare_jsonb",
    "in_range",
    "spg_poly_quad_compress",
    "booland_statefunc",
    "boolor_statefunc",
    "int2_sum",
    "int4_sum",
    "int8_sum",
    "int2int4_sum",
    "int8_avg",
    "int8dec_any",
    "int8inc_any",
    "int8inc_float8_float8",
    "interval_avg",
];

const DENIED_SUFFIXES: &[&str] = &[
    "send",
    "recv",
    "typmodin",
    "typmodout",
    "_accum",
    "_accum_inv",
    "_combine",
    "_transfn",
    "_finalfn",
    "_canonical",
    "_subdiff",
    "_hash",
    "_hash_extended",
    "_validator",
];

/// Final functions of the float8 statistics aggregates.
const DENIED_PREFIXES: &[&str] =
    &["float8_avg", "float8_corr", "float8_covar_", "float8_regr_", "float8_stddev_", "float8_var_", "binary_upgrade_"];

/// Types no callable function may take or return: internals of the server (INTERNAL, CSTRING, handlers, triggers), access lists (their
/// text names roles), and OID aliases, whose input reads the catalog by name.
const CLOSED_TYPES: &[u32] = &[
    32,   // pg_ddl_command
    269,  // table_am_handler
    325,  // index_am_handler
    1033, // aclitem
    1034, // aclitem[]
    1263, // cstring[]
    2275, // cstring
    2279, // trigger
    2280, // language_handler
    2281, // internal
    3115, // fdw_handler
    3310, // tsm_handler
    3838, // event_trigger
];

/// `regproc`, `regprocedure`, `regoper`, `regoperator`, `regclass`, `regrole`, `regnamespace`, `regcollation`. As arguments only: a text
/// search configuration (`regconfig`, `regdictionary`) and a result (`pg_typeof`) are fine.
const CLOSED_ARGUMENTS: &[u32] = &[24, 2202, 2203, 2204, 2205, 4096, 4089, 4191];

impl Catalog {
    /// The class of every overload of `pg_catalog.name` together.
    pub fn function_class(&self, name: &str) -> FunctionClass {
        let Some(overloads) = self.functions.get(name) else { return FunctionClass::Denied };
        #[cfg(feature = "disarm")]
        {
            use crate::disarm::{Defence, is_off};
            let listed = identity(name).is_some() || guard::is_guarded(name);
            if is_off(Defence::Guards) && guard::is_guarded(name) || is_off(Defence::Functions) && !listed {
                return FunctionClass::Allowed;
            }
        }
        // Nobody has looked at it, or at one of its overloads.
        if self.unclassified.contains_key(name) {
            return FunctionClass::Denied;
        }
        self.rule(name, overloads)
    }

    /// What the rule makes of a name.
    fn rule(&self, name: &str, overloads: &[Function]) -> FunctionClass {
        if let Some(identity) = identity(name) {
            return FunctionClass::Identity(identity);
        }
        if guard::is_guarded(name) {
            return FunctionClass::Guarded;
        }
        let reviewed = REVIEWED.contains(&name);
        if !denied_by_name(name) && overloads.iter().all(|f| harmless(f) && (reviewed || f.volatility == 'i')) {
            FunctionClass::Allowed
        } else {
            FunctionClass::Denied
        }
    }
}

impl Catalog {
    /// Whether a call of this name, no function's, is a cast to a type of `pg_catalog` that callers may write as a cast, too: none that
    /// reads or prints the catalog.
    pub fn names_a_cast(&self, name: &str) -> bool {
        let oid = self.type_names.get(&QualifiedName::new("pg_catalog", name));
        let plain =
            oid.and_then(|oid| self.types.get(oid)).is_some_and(|t| t.kind == 'b' && t.oid.0 < FIRST_NORMAL_OID);
        plain && !reg::is_reg_type(name) && oid.is_some_and(|oid| !reg::cast_is_refused(*oid))
    }
}

fn identity(name: &str) -> Option<Identity> {
    Some(match name {
        "current_schema" => Identity::CurrentSchema,
        "current_schemas" => Identity::CurrentSchemas,
        "current_database" => Identity::CurrentDatabase,
        "pg_backend_pid" => Identity::BackendPid,
        "current_setting" => Identity::CurrentSetting,
        "current_user" | "session_user" | "getpgusername" => Identity::User,
        _ => return None,
    })
}

fn denied_by_name(name: &str) -> bool {
    // Comparison support of B-tree and hash operator classes; hashtext is in common use and harmless.
    let support = (name.starts_with("bt") && name.ends_with("cmp"))
        || (name.starts_with("hash") && !matches!(name, "hashtext" | "hashtextextended"));
    support
        || DENIED.contains(&name)
        || DENIED_SUFFIXES.iter().any(|s| name.ends_with(s))
        || DENIED_PREFIXES.iter().any(|p| name.starts_with(p))
}

fn harmless(f: &Function) -> bool {
    f.oid.0 < FIRST_NORMAL_OID
        && f.kind != 'p'
        && matches!(f.language.as_str(), "internal" | "c" | "sql")
        && takes_and_gives_harmless_types(f)
}

/// Neither internals of the server nor what reads the catalog by name.
pub(super) fn takes_and_gives_harmless_types(f: &Function) -> bool {
    let closed = |t: &Oid| CLOSED_TYPES.contains(&t.0);
    !closed(&f.result) && !f.args.iter().any(|t| closed(t) || CLOSED_ARGUMENTS.contains(&t.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(name: &str, functions: Vec<Function>) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.functions.insert(name.to_owned(), functions);
        catalog
    }

    fn function(volatility: char, args: &[u32]) -> Function {
        Function {
            oid: Oid(1000),
            args: args.iter().copied().map(Oid).collect(),
            result: Oid(25),
            volatility,
            kind: 'f',
            language: "internal".to_owned(),
            ..Function::default()
        }
    }

    #[test]
    fn an_unknown_name_is_denied() {
        assert_eq!(Catalog::default().function_class("now"), FunctionClass::Denied);
        assert_eq!(Catalog::default().function_class("pg_get_indexdef"), FunctionClass::Denied);
    }

    #[test]
    fn one_bad_overload_denies_the_name() {
        let good = function('i', &[25]);
        assert_eq!(catalog("f", vec![good.clone()]).function_class("f"), FunctionClass::Allowed);
        for bad in [
            function('s', &[25]),
            function('v', &[25]),
            function('i', &[2275]),
            function('i', &[2205]),
            Function { oid: Oid(16384), ..good.clone() },
            Function { language: "plpgsql".to_owned(), ..good.clone() },
            Function { result: Oid(2281), ..good.clone() },
            Function { kind: 'p', ..good.clone() },
        ] {
            let both = catalog("f", vec![good.clone(), bad]);
            assert_eq!(both.function_class("f"), FunctionClass::Denied);
        }
    }

    #[test]
    fn the_review_is_for_volatility_only() {
        assert_eq!(catalog("now", vec![function('s', &[])]).function_class("now"), FunctionClass::Allowed);
        assert_eq!(catalog("now", vec![function('s', &[2281])]).function_class("now"), FunctionClass::Denied);
    }
}
