//! What never raises: operators, functions and casts that return a value for every value of their argument types.
//!
//! In: a name and argument types. Out: yes or no. Must never: say yes to what was not reviewed or marked `proleakproof`.
//!
//! A predicate that a policy has yet to apply may run after such an expression: one that raises would tell of a row that is hidden. The lists
//! below were read in PostgreSQL's source, family by family, and are run on extreme values by `tests/catalog`. What is missing, and why:
//! `+ - * /` and `abs` of integers overflow; `numeric → float8`, `date → timestamp`, `timestamp ↔ timestamptz`, `date_trunc` to a month or
//! longer leave the range; rounding a `numeric` of 131,072 digits overflows; input functions (casts from text) reject; `||`, `replace`, `repeat`
//! and `concat` may exceed 1 GB; regular expressions, `substring` and `format` reject patterns.
//!
//! Two things are for the asker to see to: types here are base types, not domains; and text operations raise when collations conflict or are
//! nondeterministic, so their columns must satisfy [`collation_never_conflicts`].

use super::Catalog;
use crate::types::Oid;

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const CHAR: u32 = 18;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const OID: u32 = 26;
const TID: u32 = 27;
const XID: u32 = 28;
const CIDR: u32 = 650;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const MACADDR8: u32 = 774;
const MONEY: u32 = 790;
const MACADDR: u32 = 829;
const INET: u32 = 869;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const TIMETZ: u32 = 1266;
const BIT: u32 = 1560;
const VARBIT: u32 = 1562;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const PG_LSN: u32 = 3220;
const JSONB: u32 = 3802;

/// Within each family every two types compare without raising, by an operator of their own or after a cast that is total.
const COMPARED: &[&[u32]] = &[
    // btint4cmp and cross-type kin compare; numeric_cmp has no error path; integers become numeric exactly.
    &[INT2, INT4, INT8, NUMERIC],
    // NaN is ordered (float8_cmp_internal); integers become floats by rounding.
    &[INT2, INT4, INT8, FLOAT4, FLOAT8],
    // varstr_cmp; bpchar becomes text by cutting blanks.
    &[TEXT, VARCHAR, BPCHAR],
    &[NAME, TEXT, VARCHAR],
    // Cross-type comparisons map what overflows to infinity (date2timestamp_opt_overflow and kin, since 13).
    &[DATE, TIMESTAMP, TIMESTAMPTZ],
    &[TIME],
    &[TIMETZ],
    // interval_cmp_value is 128 bits wide.
    &[INTERVAL],
    &[UUID],
    &[BOOL],
    &[BYTEA],
    &[CHAR],
    // Binary coercible, both 32 bits.
    &[OID, INT4],
    &[TID],
    &[INET, CIDR],
    &[MACADDR],
    &[MACADDR8],
    &[MONEY],
    &[BIT],
    &[VARBIT],
    &[PG_LSN],
];

const COMPARISONS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];

/// Other operators (name, left, right).
const OPERATORS: &[(&str, u32, u32)] = &[
    ("=", XID, XID),
    ("<>", XID, XID),
    ("^@", TEXT, TEXT),
    // Absent keys and wrong kinds of value give NULL or false.
    ("->", JSONB, TEXT),
    ("->>", JSONB, TEXT),
    ("->", JSONB, INT4),
    ("->>", JSONB, INT4),
    ("?", JSONB, TEXT),
    // Shorter or equal, never NaN traps: IEEE negation; numeric flips a sign bit.
    ("-", 0, FLOAT4),
    ("-", 0, FLOAT8),
    ("-", 0, NUMERIC),
    ("+", 0, INT2),
    ("+", 0, INT4),
    ("+", 0, INT8),
    ("+", 0, NUMERIC),
    ("+", 0, FLOAT4),
    ("+", 0, FLOAT8),
    // network_sub and kin look at bits.
    ("<<", INET, INET),
    ("<<=", INET, INET),
    (">>", INET, INET),
    (">>=", INET, INET),
    ("&&", INET, INET),
];

/// `LIKE` and kin, whose pattern must be a constant that [`like_pattern_is_total`] passes.
const LIKES: &[&str] = &["~~", "!~~", "~~*", "!~~*"];

/// Functions (name, arguments).
const FUNCTIONS: &[(&str, &[u32])] = &[
    // Text to text of about the same length, UTF-8 being checked on input.
    ("lower", &[TEXT]),
    ("upper", &[TEXT]),
    ("initcap", &[TEXT]),
    ("reverse", &[TEXT]),
    ("btrim", &[TEXT]),
    ("btrim", &[TEXT, TEXT]),
    ("ltrim", &[TEXT]),
    ("ltrim", &[TEXT, TEXT]),
    ("rtrim", &[TEXT]),
    ("rtrim", &[TEXT, TEXT]),
    ("left", &[TEXT, INT4]),
    ("right", &[TEXT, INT4]),
    // Lengths and places.
    ("length", &[TEXT]),
    ("length", &[BPCHAR]),
    ("length", &[BYTEA]),
    ("char_length", &[TEXT]),
    ("char_length", &[BPCHAR]),
    ("character_length", &[TEXT]),
    ("character_length", &[BPCHAR]),
    ("octet_length", &[TEXT]),
    ("octet_length", &[BPCHAR]),
    ("octet_length", &[BYTEA]),
    ("ascii", &[TEXT]),
    ("strpos", &[TEXT, TEXT]),
    ("position", &[TEXT, TEXT]),
    ("starts_with", &[TEXT, TEXT]),
    // Numbers that stay in range.
    ("abs", &[FLOAT4]),
    ("abs", &[FLOAT8]),
    ("abs", &[NUMERIC]),
    ("sign", &[FLOAT8]),
    ("sign", &[NUMERIC]),
    ("ceil", &[FLOAT8]),
    ("ceiling", &[FLOAT8]),
    ("floor", &[FLOAT8]),
    ("round", &[FLOAT8]),
    ("trunc", &[FLOAT8]),
    ("trunc", &[NUMERIC]),
    // Dates.
    ("isfinite", &[DATE]),
    ("isfinite", &[TIMESTAMP]),
    ("isfinite", &[TIMESTAMPTZ]),
    ("isfinite", &[INTERVAL]),
    // Nothing of a row.
    ("now", &[]),
    ("transaction_timestamp", &[]),
    ("statement_timestamp", &[]),
    ("clock_timestamp", &[]),
    ("jsonb_typeof", &[JSONB]),
];

/// Units that `extract` and `date_part` know for every kind of date; the sub-day ones do not exist for `date` and raise.
const DAY_UNITS: &[&str] = &[
    "century",
    "day",
    "decade",
    "dow",
    "doy",
    "epoch",
    "isodow",
    "isoyear",
    "millennium",
    "month",
    "quarter",
    "week",
    "year",
];
const TIME_UNITS: &[&str] = &["hour", "microseconds", "milliseconds", "minute", "second"];

/// Casts (from, to) written `CAST(x AS t)` or `x::t`, without a type modifier or with one that only cuts (`varchar(n)`, `char(n)`).
const CASTS: &[(u32, u32)] = &[
    (INT2, INT4),
    (INT2, INT8),
    (INT4, INT8),
    (INT2, NUMERIC),
    (INT4, NUMERIC),
    (INT8, NUMERIC),
    (INT2, FLOAT4),
    (INT4, FLOAT4),
    (INT8, FLOAT4),
    (INT2, FLOAT8),
    (INT4, FLOAT8),
    (INT8, FLOAT8),
    (FLOAT4, FLOAT8),
    (BOOL, INT4),
    (INT4, BOOL),
    (OID, INT8),
    (BPCHAR, TEXT),
    (BPCHAR, VARCHAR),
    (TEXT, BPCHAR),
    (VARCHAR, BPCHAR),
    (NAME, TEXT),
    (NAME, VARCHAR),
    (NAME, BPCHAR),
    (TEXT, NAME),
    (VARCHAR, NAME),
    (TIMESTAMP, DATE),
    (TIMESTAMP, TIME),
    (TIME, INTERVAL),
];

/// Types whose output functions have no error path: their casts to text are total.
const PRINTED: &[u32] = &[
    BOOL,
    BYTEA,
    CHAR,
    NAME,
    INT2,
    INT4,
    INT8,
    OID,
    FLOAT4,
    FLOAT8,
    NUMERIC,
    DATE,
    TIME,
    TIMETZ,
    TIMESTAMP,
    TIMESTAMPTZ,
    INTERVAL,
    UUID,
    INET,
    CIDR,
    MACADDR,
    MACADDR8,
    JSONB,
];

impl Catalog {
    /// Whether `pg_catalog` operator `name` over operands of these types never raises (`left` 0 for prefix operators). LIKE is not here:
    /// see [`Catalog::like_is_total`].
    pub fn operator_is_total(&self, name: &str, left: Oid, right: Oid) -> bool {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Total) {
            return true;
        }
        if is_like(name) {
            return false;
        }
        let exact = |o: &&super::Operator| o.left == left && o.right == right;
        if self.operators.get(name).is_some_and(|all| all.iter().find(exact).is_some_and(|o| o.leakproof)) {
            return true;
        }
        let (left, right) = (left.0, right.0);
        (COMPARISONS.contains(&name) && COMPARED.iter().any(|f| f.contains(&left) && f.contains(&right)))
            || OPERATORS.contains(&(name, as_text(left), as_text(right)))
    }

    /// Whether `left LIKE 'pattern'` (`name` `~~`, `!~~`, `~~*`, `!~~*`) with this constant pattern never raises.
    pub fn like_is_total(&self, name: &str, left: Oid, pattern: &str) -> bool {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Total) {
            return true;
        }
        is_like(name) && matches!(left.0, TEXT | VARCHAR | BPCHAR | NAME) && like_pattern_is_total(pattern)
    }

    /// Whether `left ~ 'pattern'` (or `!~`) with this constant pattern never raises.
    pub fn match_is_total(&self, name: &str, left: Oid, pattern: &str) -> bool {
        matches!(name, "~" | "!~")
            && matches!(left.0, TEXT | VARCHAR | BPCHAR | NAME)
            && regular_expression_is_total(pattern)
    }

    /// Whether values of a type are sorted, grouped and told apart without raising.
    pub fn is_ordered(&self, kind: Oid) -> bool {
        COMPARED.iter().any(|family| family.contains(&kind.0))
    }

    /// Whether an aggregate over such an argument (`None`: `*`) never raises on rows that the planner lets it meet. Sums may leave their
    /// range, over rows that a join would leave out only where aggregation moves below joins (PostgreSQL 19).
    pub fn aggregate_is_total(&self, name: &str, argument: Option<Oid>) -> bool {
        let counted = argument.is_none_or(|kind| self.is_ordered(kind));
        match (name, argument) {
            ("count", _) => counted,
            ("min" | "max", Some(kind)) => self.is_ordered(kind),
            ("bool_and" | "bool_or" | "every", Some(Oid(BOOL))) => true,
            ("sum" | "avg", Some(Oid(INT2 | INT4 | INT8 | NUMERIC))) => self.server_version < 190_000,
            _ => false,
        }
    }

    /// Whether `pg_catalog` function `name` over arguments of these types never raises.
    pub fn function_is_total(&self, name: &str, args: &[Oid]) -> bool {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Total) {
            return true;
        }
        if self.functions.get(name).is_some_and(|all| all.iter().any(|f| f.leakproof && f.args == args)) {
            return true;
        }
        let as_declared = |convert: fn(u32) -> u32| {
            FUNCTIONS
                .iter()
                .any(|(n, declared)| *n == name && args.iter().map(|a| convert(a.0)).eq(declared.iter().copied()))
        };
        as_declared(|t| t) || as_declared(as_text)
    }

    /// Whether `extract(unit FROM value)`, `date_part('unit', value)` or `date_trunc('unit', value)` with this constant unit never raises.
    pub fn unit_function_is_total(&self, name: &str, unit: &str, value: Oid) -> bool {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Total) {
            return true;
        }
        let unit = unit.to_ascii_lowercase();
        let (day, time) = (DAY_UNITS.contains(&unit.as_str()), TIME_UNITS.contains(&unit.as_str()));
        match (name, value.0) {
            // date_part, and extract before 14, cast a date to timestamp first, which may leave the range.
            ("extract", DATE) => day && self.server_version >= 140_000,
            ("extract" | "date_part", TIMESTAMP | TIMESTAMPTZ) => day || time,
            ("extract" | "date_part", TIME) => time,
            // Truncation within a day stays in range; to a month or year it may not, nor in a time zone.
            ("date_trunc", TIMESTAMP) => time || unit == "day",
            _ => false,
        }
    }

    /// Whether an explicit cast between two base types never raises.
    pub fn cast_is_total(&self, from: Oid, to: Oid) -> bool {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Total) {
            return true;
        }
        if from == to {
            return true;
        }
        if self.casts.get(&(from, to)).is_some_and(|c| c.method == 'b' || (c.method == 'f' && c.leakproof)) {
            return true;
        }
        // Before PostgreSQL 15 an interval of very many hours cannot be printed (`interval2tm`, timestamp.c).
        let prints = |kind: u32| kind != INTERVAL || self.server_version >= 150_000;
        let printed =
            (PRINTED.contains(&from.0) && prints(from.0)) || self.types.get(&from).is_some_and(|t| t.kind == 'e');
        CASTS.contains(&(from.0, to.0)) || (printed && matches!(to.0, TEXT | VARCHAR))
    }
}

/// Whether a function of this name is on the list of those that never raise on some types.
pub fn function_is_listed(name: &str) -> bool {
    FUNCTIONS.iter().any(|(listed, _)| *listed == name)
}

/// Whether text columns of such collations can stand beside each other in any operation: none, the database's default, `C` (the collation
/// of `name`). Two columns of different collations other than the default conflict when they are compared (manual, 24.2.1).
pub fn collation_never_conflicts(collation: Oid) -> bool {
    matches!(collation.0, 0 | 100 | 950)
}

/// Whether a planner's estimate may try operators on values of this type that raise on some of them: it tries a caller's operator on the
/// common values of a column (selfuncs.c, `mcv_selectivity`). Of the types not so named here every comparison is total.
pub fn may_be_guessed(kind: Oid) -> bool {
    let harmless = [
        BOOL,
        INT2,
        INT4,
        INT8,
        OID,
        FLOAT4,
        FLOAT8,
        NUMERIC,
        DATE,
        TIME,
        TIMETZ,
        TIMESTAMP,
        TIMESTAMPTZ,
        INTERVAL,
        UUID,
    ];
    !harmless.contains(&kind.0)
}

/// Whether `LIKE` with this constant pattern (and the default escape) never raises: a trailing lone backslash does.
pub fn like_pattern_is_total(pattern: &str) -> bool {
    pattern.chars().rev().take_while(|c| *c == '\\').count() % 2 == 0
}

/// Longest regular expression that is looked at.
const LONG_PATTERN: usize = 256;

/// Whether a match of a regular expression with this constant pattern never raises: names, `.` and `.*` between anchors, as psql makes them
/// of what somebody asks for. Every such pattern is valid, and has neither the bounds nor the references back that need memory
/// (PostgreSQL manual, 9.7.3).
pub fn regular_expression_is_total(pattern: &str) -> bool {
    let Some(rest) = pattern.strip_prefix('^').filter(|_| pattern.len() <= LONG_PATTERN) else { return false };
    let rest = rest.strip_suffix('$').unwrap_or(rest);
    let inner = rest.strip_prefix('(').map_or(Some(rest), |open| open.strip_suffix(')'));
    let Some(inner) = inner else { return false };
    let mut before = ' ';
    inner.chars().all(|c| {
        let fine = c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || (c == '*' && before == '.');
        before = c;
        fine
    })
}

fn is_like(name: &str) -> bool {
    LIKES.contains(&name)
}

/// `varchar` has no operators and few functions of its own: it is relabelled as text.
fn as_text(kind: u32) -> u32 {
    if kind == VARCHAR { TEXT } else { kind }
}

/// The reviewed lists, for the test that runs every entry on extreme values.
#[doc(hidden)]
pub mod reviewed {
    /// (name, left, right).
    pub fn operators() -> Vec<(&'static str, u32, u32)> {
        let mut all = super::OPERATORS.to_vec();
        for name in super::COMPARISONS {
            for family in super::COMPARED {
                for left in *family {
                    all.extend(family.iter().map(|right| (*name, *left, *right)));
                }
            }
        }
        all
    }
    /// (name, arguments).
    pub fn functions() -> &'static [(&'static str, &'static [u32])] {
        super::FUNCTIONS
    }
    /// (from, to).
    pub fn casts() -> Vec<(u32, u32)> {
        let printed = super::PRINTED.iter().flat_map(|t| [(*t, super::TEXT), (*t, super::VARCHAR)]);
        super::CASTS.iter().copied().chain(printed).collect()
    }
    /// Every unit of `extract`, `date_part` and `date_trunc`.
    pub fn units() -> impl Iterator<Item = &'static str> {
        super::DAY_UNITS.iter().chain(super::TIME_UNITS).copied()
    }
    /// Operators of LIKE.
    pub fn likes() -> &'static [&'static str] {
        super::LIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Cast, Function, Operator};

    #[test]
    fn what_raises_is_not_total() {
        let c = Catalog::default();
        for (name, left, right) in [
            ("+", INT4, INT4),
            ("/", INT4, INT4),
            ("-", 0, INT4),
            ("=", NUMERIC, FLOAT8),
            ("=", TEXT, INT4),
            ("~", TEXT, TEXT),
            ("~~", TEXT, TEXT),
            ("||", TEXT, TEXT),
            ("=", OID, INT8),
        ] {
            assert!(!c.operator_is_total(name, Oid(left), Oid(right)), "{name}");
        }
        for (name, args) in [("substring", &[TEXT, TEXT][..]), ("abs", &[INT4]), ("date_trunc", &[TEXT, TIMESTAMP])] {
            assert!(!c.function_is_total(name, &args.iter().copied().map(Oid).collect::<Vec<_>>()), "{name}");
        }
        for (from, to) in [(TEXT, INT4), (NUMERIC, FLOAT8), (INT8, INT4), (DATE, TIMESTAMP), (FLOAT8, FLOAT4)] {
            assert!(!c.cast_is_total(Oid(from), Oid(to)), "{from} {to}");
        }
    }

    #[test]
    fn varchar_is_text() {
        let c = Catalog::default();
        assert!(c.operator_is_total("=", Oid(VARCHAR), Oid(TEXT)));
        assert!(c.function_is_total("lower", &[Oid(VARCHAR)]));
        assert!(c.operator_is_total("=", Oid(INT8), Oid(INT2)));
        assert!(c.operator_is_total("<", Oid(DATE), Oid(TIMESTAMPTZ)));
    }

    #[test]
    fn leakproof_is_total_for_its_own_types_only() {
        let mut c = Catalog::default();
        let op = Operator { left: Oid(1), right: Oid(2), leakproof: true, ..Operator::default() };
        c.operators.insert("@@@".into(), vec![op]);
        c.functions.insert("f".into(), vec![Function { args: vec![Oid(1)], leakproof: true, ..Function::default() }]);
        c.casts.insert((Oid(1), Oid(2)), Cast { method: 'i', leakproof: false, ..Cast::default() });
        assert!(c.operator_is_total("@@@", Oid(1), Oid(2)));
        assert!(!c.operator_is_total("@@@", Oid(2), Oid(1)));
        assert!(c.function_is_total("f", &[Oid(1)]));
        assert!(!c.function_is_total("f", &[Oid(2)]));
        assert!(!c.cast_is_total(Oid(1), Oid(2)));
    }

    #[test]
    fn a_pattern_ends_in_no_lone_backslash() {
        for (pattern, total) in
            [("", true), ("a%", true), ("a\\%", true), ("\\", false), ("\\\\", true), ("a\\\\\\", false)]
        {
            assert_eq!(like_pattern_is_total(pattern), total, "{pattern}");
        }
    }

    #[test]
    fn regular_expressions_are_names_between_anchors() {
        for fine in ["^(orders)$", "^(ord.*)$", "^pg_toast", "^(.*)$", "^()$", "^a.b$"] {
            assert!(regular_expression_is_total(fine), "{fine}");
        }
        let long = format!("^({})$", "a".repeat(300));
        for bad in [
            "",
            "a",
            "^(a",
            "^a)$",
            "^((a))$",
            "^*",
            "^(*a)$",
            "^a**",
            "^.**",
            "^a{9999}",
            "^[a",
            "^\\",
            "^(?i)a",
            "***:a",
            "^(a)|(b)$",
            "^(a)\\1$",
            "^a$b$",
            "^^",
            "^é$",
            &long,
        ] {
            assert!(!regular_expression_is_total(bad), "{bad}");
        }
    }

    #[test]
    fn units_belong_to_types() {
        let c = Catalog { server_version: 150_000, ..Catalog::default() };
        assert!(c.unit_function_is_total("extract", "YEAR", Oid(DATE)));
        assert!(!c.unit_function_is_total("date_part", "year", Oid(DATE)));
        assert!(!Catalog::default().unit_function_is_total("extract", "year", Oid(DATE)));
        assert!(!c.unit_function_is_total("extract", "hour", Oid(DATE)));
        assert!(!c.unit_function_is_total("extract", "nonsense", Oid(TIMESTAMP)));
        assert!(!c.unit_function_is_total("date_trunc", "year", Oid(TIMESTAMP)));
    }
}
