//! Masks as typed SQL over one column: computed at read, NULL stays NULL, the column's own type and modifier.
//!
//! In: a `maskingConfig` and a column. Out: [`MaskSql`]. Must never: raise on a value while saying it is total, or give a value of
//! another type. Where a mask does not fit the type the value is NULL, and says so.

use super::decision::ROW_ALIAS;
use super::source::DictColumn;
use super::sqltype::{is_int, is_text, numeric_shape, oids::*, type_sql};
use super::template::Sql;
use crate::catalog::Catalog;
use crate::governance::model::{Mask, TimePrecision};
use crate::types::{quote_ident, quote_literal};

/// A compiled mask of one column.
#[derive(Clone)]
pub(crate) struct MaskSql {
    /// What to call it.
    pub(crate) kind: &'static str,
    /// How restrictive it is in effect; 0 = most (semantics 6). A mask that became NULL ranks as Null.
    pub(crate) rank: u8,
    /// The masked value.
    pub(crate) sql: Sql,
    /// Never raises on any row.
    pub(crate) total: bool,
    /// The same value for every row.
    pub(crate) constant: bool,
    /// Did not fit the type.
    pub(crate) mismatch: bool,
    /// What to evaluate on the warehouse before the mask may be used.
    pub(crate) check: Option<Check>,
}

/// An evaluation the warehouse has to confirm.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// The constant casts to the column's type; else the mask is `null`.
    Constant {
        /// What to evaluate.
        sql: String,
        /// NULL of the column's type.
        null: Sql,
    },
    /// The expression evaluates (a regular expression is one); else the policy is invalid.
    Evaluate(String),
}

/// Restrictiveness (semantics 6), leaving room for the kinds of later work:
/// Null > Constant > Hash > K-Anonymization > Reversible > Format Preserving > Regular Expression > Grouping > Randomized Response.
mod rank {
    pub(super) const NULL: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const HASH: u8 = 2;
    pub(super) const REGEX: u8 = 6;
    pub(super) const GROUPING: u8 = 7;
}

/// The name of a mask, for traces.
pub(crate) fn name(mask: &Mask) -> &'static str {
    match mask {
        Mask::Null => "Null",
        Mask::Constant(_) => "Constant",
        Mask::Hash => "Hash",
        Mask::Regex { .. } => "Regular Expression",
        Mask::GroupingNumber(_) | Mask::GroupingTime(_) => "Grouping",
    }
}

/// `_sv."column"`.
pub(crate) fn column_sql(column: &DictColumn) -> String {
    format!("{ROW_ALIAS}.{}", quote_ident(&column.name))
}

/// Compiles a mask for a column. `Err`: the mask itself is wrong, whatever the column.
pub(crate) fn compile(mask: &Mask, column: &DictColumn, catalog: &Catalog) -> Result<MaskSql, String> {
    let Some(type_name) = type_sql(catalog, column.type_oid, column.typmod) else {
        return Err(format!("the type of column \"{}\" is not in the catalog", column.name));
    };
    let masking = Masking { column, catalog, type_name, value: column_sql(column) };
    let fitted = match mask {
        Mask::Null => Some(masking.null(name(mask), false)),
        Mask::Constant(text) => Some(masking.constant(text)),
        Mask::Hash => masking.hash(),
        Mask::Regex { regex, replacement, case_insensitive, global } => {
            masking.regex(regex, replacement, *case_insensitive, *global)?
        }
        Mask::GroupingNumber(size) => masking.bucket(size)?,
        Mask::GroupingTime(precision) => masking.truncated(*precision),
    };
    Ok(fitted.unwrap_or_else(|| masking.null(name(mask), true)))
}

impl MaskSql {
    /// The mask as NULL, for a constant the warehouse could not cast.
    pub(crate) fn mismatched(kind: &'static str, null: Sql) -> Self {
        Self { kind, rank: rank::NULL, sql: null, total: true, constant: true, mismatch: true, check: None }
    }
}

struct Masking<'a> {
    column: &'a DictColumn,
    catalog: &'a Catalog,
    type_name: String,
    value: String,
}

impl Masking<'_> {
    fn null(&self, kind: &'static str, mismatch: bool) -> MaskSql {
        let sql = Sql::text(self.null_text());
        MaskSql { kind, rank: rank::NULL, sql, total: true, constant: true, mismatch, check: None }
    }

    fn is_domain(&self) -> bool {
        self.catalog.types.get(&self.column.type_oid).is_some_and(|t| t.kind == 'd')
    }

    fn fitted(&self, kind: &'static str, rank: u8, sql: Sql, total: bool) -> Option<MaskSql> {
        Some(MaskSql { kind, rank, sql, total, constant: false, mismatch: false, check: None })
    }

    /// `(expression)::type(typmod)`.
    fn typed(&self, expression: Sql) -> Sql {
        Sql::wrap("(", expression, &format!(")::{}", self.type_name))
    }

    /// The constant where there is a value, NULL where there is none.
    fn constant(&self, text: &str) -> MaskSql {
        // PostgreSQL text holds no NUL character.
        if text.contains('\0') {
            return self.null("Constant", true);
        }
        let cast = format!("{}::{}", quote_literal(text), self.type_name);
        let sql = if self.column.not_null {
            cast.clone()
        } else {
            format!("CASE WHEN {} IS NOT NULL THEN {cast} ELSE {} END", self.value, self.null_text())
        };
        MaskSql {
            kind: "Constant",
            rank: rank::CONSTANT,
            sql: Sql::text(sql),
            total: true,
            constant: self.column.not_null,
            mismatch: false,
            check: Some(Check::Constant { sql: format!("SELECT {cast}"), null: Sql::text(self.null_text()) }),
        }
    }

    /// NULL of the type. A domain may forbid NULL in its casts, but an empty sub-select gives one (manual, CREATE DOMAIN, notes).
    fn null_text(&self) -> String {
        if self.is_domain() {
            format!("(SELECT NULL::{} WHERE FALSE)", self.type_name)
        } else {
            format!("NULL::{}", self.type_name)
        }
    }

    /// SHA-256 of salt ‖ value, shaped as the type allows.
    fn hash(&self) -> Option<MaskSql> {
        let value = &self.value;
        let digest = |bytes: &str| Sql::text("pg_catalog.sha256(").and(Sql::mask_salt()).then(&format!(" || {bytes})"));
        let text_digest = || digest(&format!("pg_catalog.convert_to(({value})::pg_catalog.text, 'UTF8')"));
        let hex = || Sql::wrap("pg_catalog.encode(", text_digest(), ", 'hex')");
        // The first bits of the digest as a bit string; `x…` is PostgreSQL's hexadecimal bit-string input.
        let bits = |digits: u8| {
            let head = Sql::wrap("('x' || pg_catalog.substr(", hex(), &format!(", 1, {digits}))"));
            Sql::wrap("(", head, &format!(")::pg_catalog.\"bit\"({})", u32::from(digits) * 4))
        };
        let sql = match self.column.type_oid {
            ty if is_text(ty) => hex(),
            BYTEA => digest(value),
            UUID => Sql::wrap("pg_catalog.substr(", hex(), ", 1, 32)"),
            INT8 => bits(16),
            INT4 => bits(8),
            // A 16-bit string reads as 0 to 65535.
            INT2 => Sql::wrap("(", bits(4), ")::pg_catalog.int4 - 32768"),
            _ => return None,
        };
        self.fitted("Hash", rank::HASH, self.typed(sql), true)
    }

    fn regex(
        &self,
        pattern: &str,
        replacement: &str,
        case_insensitive: bool,
        global: bool,
    ) -> Result<Option<MaskSql>, String> {
        let pattern = quote_literal(&posix_pattern(pattern)?);
        let replacement = quote_literal(&posix_replacement(replacement)?);
        let flags = match (case_insensitive, global) {
            (true, true) => "gi",
            (true, false) => "i",
            (false, true) => "g",
            (false, false) => "",
        };
        if !is_text(self.column.type_oid) {
            return Ok(None);
        }
        let call = |value: &str| format!("pg_catalog.regexp_replace({value}, {pattern}, {replacement}, '{flags}')");
        let sql = self.typed(Sql::text(call(&format!("({})::pg_catalog.text", self.value))));
        // A pattern can fail on a long value (the engine's own limits), so this is not total.
        let mask = self.fitted("Regular Expression", rank::REGEX, sql, false);
        let check = Check::Evaluate(format!("SELECT {}", call("'a'::pg_catalog.text")));
        Ok(mask.map(|m| MaskSql { check: Some(check), ..m }))
    }

    /// floor(x / size) · size.
    fn bucket(&self, size: &str) -> Result<Option<MaskSql>, String> {
        let Some((number, whole)) = bucket_size(size) else {
            return Err(format!("bucketSize \"{size}\" is not a positive number"));
        };
        let fitted = match self.column.type_oid {
            ty if is_int(ty) => Some(self.bucket_int(size, whole)),
            NUMERIC => Some(self.bucket_numeric(size)),
            FLOAT8 if (1e-290..=1e290).contains(&number) => Some(self.bucket_float(number, false)),
            FLOAT4 if (1e-30..=1e37).contains(&number) => Some(self.bucket_float(number, true)),
            _ => None,
        };
        Ok(fitted.and_then(|(sql, total)| self.fitted("Grouping", rank::GROUPING, sql, total)))
    }

    /// `x − ((x mod s) + s) mod s`, exact where a quotient would be rounded.
    fn floored(x: &str, s: &str) -> String {
        format!("({x} - pg_catalog.mod((pg_catalog.mod({x}, {s}) + {s}), {s}))")
    }

    fn bucket_int(&self, size: &str, whole: Option<i64>) -> (Sql, bool) {
        // Steps that are small integers need no decimal arithmetic, except beside the ends of bigint.
        let (type_name, least) = match self.column.type_oid {
            INT2 => ("int2", i64::from(i16::MIN)),
            INT4 => ("int4", i64::from(i32::MIN)),
            _ => ("int8", i64::MIN),
        };
        let narrow = whole.filter(|w| *w <= 1_000_000_000_000 && type_name != "int8");
        let floor = match narrow {
            Some(step) => {
                Self::floored(&format!("({})::pg_catalog.int8", self.value), &format!("'{step}'::pg_catalog.int8"))
            }
            None => format!(
                "pg_catalog.floor({})",
                Self::floored(
                    &format!("({})::pg_catalog.numeric", self.value),
                    &format!("'{size}'::pg_catalog.numeric"),
                )
            ),
        };
        let bound = if narrow.is_some() { "int8" } else { "numeric" };
        // A bucket that begins below the type's least value has no value of the type: NULL.
        let sql = format!(
            "CASE WHEN {floor} >= '{least}'::pg_catalog.{bound} THEN ({floor})::pg_catalog.\"{type_name}\" END"
        );
        (Sql::text(sql), true)
    }

    fn bucket_numeric(&self, size: &str) -> (Sql, bool) {
        let value = &self.value;
        let step = format!("'{size}'::pg_catalog.numeric");
        let floor = Self::floored(value, &step);
        // NaN and the infinities have no remainder; they stay.
        let keep = |floor: &str| format!("COALESCE(NULLIF({floor}, 'NaN'::pg_catalog.numeric), {value})");
        let kept = keep(&floor);
        match numeric_shape(self.column.typmod) {
            // Counted in whole steps, so that the scale is the step's and not the hidden value's. Without bounds the arithmetic itself
            // may overflow, at 131072 digits.
            None => {
                let stepped = keep(&format!("(pg_catalog.floor({floor} / {step}) * {step})"));
                (self.typed(Sql::text(stepped)), false)
            }
            Some((precision, scale)) => {
                // The greatest magnitude of numeric(p,s), as text: p nines with s of them behind the point.
                let nines = "9".repeat(usize::try_from(precision).unwrap_or(1));
                let least = format!("'-{nines}e{}'::pg_catalog.numeric", -scale);
                // Values of the column are within bounds, so only the lower one can be passed.
                let sql = format!(
                    "CASE WHEN {kept} >= {least} THEN ({kept})::{} ELSE {} END",
                    self.type_name,
                    self.null_text()
                );
                (Sql::text(sql), true)
            }
        }
    }

    fn bucket_float(&self, size: f64, narrow: bool) -> (Sql, bool) {
        let x = format!("({})::pg_catalog.float8", self.value);
        let float = |n: f64| format!("'{n:e}'::pg_catalog.float8");
        let (step, negative) = (float(size), float(-size));
        // Beyond 2^53 steps a double is a multiple of the step already; NaN and the infinities compare greater.
        let huge = float((size * 9_007_199_254_740_992.0).min(f64::MAX));
        // Near the bottom of real the bucket begins below it.
        let edge = if narrow {
            format!(" WHEN {x} < '-3.3e38'::pg_catalog.float8 THEN NULL::pg_catalog.float8")
        } else {
            String::new()
        };
        let sql = format!(
            "CASE WHEN pg_catalog.abs({x}) >= {huge} THEN {x}{edge} \
             WHEN pg_catalog.abs({x}) < {step} THEN CASE WHEN {x} >= '0'::pg_catalog.float8 THEN '0'::pg_catalog.float8 ELSE {negative} END \
             ELSE pg_catalog.floor({x} / {step}) * {step} END"
        );
        (self.typed(Sql::text(sql)), true)
    }

    /// The value where the condition holds, else NULL. A CASE has a modifier only when all its branches have the same.
    fn guarded(&self, condition: &str, value: &Sql) -> Sql {
        Sql::wrap(&format!("CASE WHEN {condition} THEN "), value.clone(), &format!(" ELSE {} END", self.null_text()))
    }

    fn truncated(&self, precision: TimePrecision) -> Option<MaskSql> {
        let unit = match precision {
            TimePrecision::Minute => "minute",
            TimePrecision::Hour => "hour",
            TimePrecision::Day => "day",
            TimePrecision::Week => "week",
            TimePrecision::Month => "month",
            TimePrecision::Quarter => "quarter",
            TimePrecision::Year => "year",
        };
        let short = matches!(precision, TimePrecision::Minute | TimePrecision::Hour);
        let value = &self.value;
        let sql = match self.column.type_oid {
            // The first months of PostgreSQL's calendar (4714 BC) begin before it does.
            TIMESTAMP => self.guarded(
                &format!(
                    "{value} >= '4712-01-01 BC'::pg_catalog.timestamp OR {value} = '-infinity'::pg_catalog.timestamp"
                ),
                &self.typed(Sql::text(format!("pg_catalog.date_trunc('{unit}', {value})"))),
            ),
            TIMESTAMPTZ => self.guarded(
                &format!(
                    "{value} >= '4712-01-01 00:00:00+00 BC'::pg_catalog.timestamptz OR {value} = '-infinity'::pg_catalog.timestamptz"
                ),
                &self.typed(Sql::text(format!("pg_catalog.date_trunc('{unit}', {value}, 'UTC')"))),
            ),
            // Dates reach further than the timestamps they are truncated as.
            DATE => self.guarded(
                &format!(
                    "({value} >= '4712-01-01 BC'::pg_catalog.date AND {value} < '294276-01-01'::pg_catalog.date) \
                     OR NOT pg_catalog.isfinite({value})"
                ),
                &self.typed(Sql::text(format!("pg_catalog.date_trunc('{unit}', ({value})::pg_catalog.timestamp)"))),
            ),
            TIME if short => {
                self.typed(Sql::text(format!("pg_catalog.date_trunc('{unit}', ({value})::pg_catalog.\"interval\")")))
            }
            _ => return None,
        };
        self.fitted("Grouping", rank::GROUPING, sql, true)
    }
}

/// A positive number as PostgreSQL writes one, its value, and itself when whole.
fn bucket_size(text: &str) -> Option<(f64, Option<i64>)> {
    let shape = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'))
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text.parse().ok().filter(|n: &f64| shape && n.is_finite() && *n > 0.0)?;
    Some((number, text.parse::<i64>().ok()))
}

/// A JavaScript pattern as a PostgreSQL one: the word boundaries `\b` and `\B` are `\y` and `\Y` there, where `\b` would mean a
/// backspace and silently match nothing (manual, 9.7.3.3).
pub(crate) fn posix_pattern(pattern: &str) -> Result<String, String> {
    if pattern.contains('\0') {
        return Err("the regular expression holds a NUL character".to_owned());
    }
    if pattern.starts_with("***") {
        return Err("a regular expression may not begin with ***".to_owned());
    }
    let mut out = String::new();
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(next) = chars.next() else { return Err("the regular expression ends in a backslash".into()) };
                out.push('\\');
                out.push(match next {
                    'b' if !in_brackets => 'y',
                    'B' if !in_brackets => 'Y',
                    other => other,
                });
                continue;
            }
            '[' if !in_brackets => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        out.push(c);
    }
    Ok(out)
}

/// A JavaScript replacement as a PostgreSQL one: `$1` → `\1`, `$&` → `\&`, `$$` → `$`, `\` → `\\`.
pub(crate) fn posix_replacement(replacement: &str) -> Result<String, String> {
    if replacement.contains('\0') {
        return Err("the replacement holds a NUL character".to_owned());
    }
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', _) => out.push_str("\\\\"),
            ('$', Some('$')) => {
                chars.next();
                out.push('$');
            }
            ('$', Some('&')) => {
                chars.next();
                out.push_str("\\&");
            }
            ('$', Some(digit @ '1'..='9')) => {
                chars.next();
                out.push('\\');
                out.push(digit);
            }
            ('$', Some(other @ ('`' | '\'' | '<'))) => {
                return Err(format!("the replacement uses ${other}, which is not supported"));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Masked where the predicate is TRUE or NULL, otherwise the other value.
pub(crate) fn conditional(predicate: Sql, masked: Sql, otherwise: Sql) -> Sql {
    Sql::wrap("CASE WHEN (", predicate, ") IS NOT FALSE THEN ").and(masked).then(" ELSE ").and(otherwise).then(" END")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::template::Filling;
    use crate::policy::testing::{catalog, source};

    fn masked(column: &str, mask: &Mask) -> MaskSql {
        let source = source();
        let column = source.columns.iter().find(|c| c.name == column).unwrap();
        compile(mask, column, &catalog()).unwrap()
    }

    fn text(column: &str, mask: &Mask) -> String {
        masked(column, mask).sql.fill(Filling::Probe)
    }

    #[test]
    fn null_has_the_type_and_modifier() {
        assert_eq!(text("ssn", &Mask::Null), r#"NULL::pg_catalog."varchar"(11)"#);
        assert_eq!(text("note", &Mask::Null), r#"(SELECT NULL::"hr"."short_text" WHERE FALSE)"#);
        assert_eq!(text("mood", &Mask::Null), r#"NULL::"hr"."mood""#);
        assert!(masked("ssn", &Mask::Null).constant);
    }

    #[test]
    fn a_constant_keeps_null_and_is_checked() {
        let mask = masked("salary", &Mask::Constant("it's".into()));
        assert_eq!(
            mask.sql.fill(Filling::Probe),
            r#"CASE WHEN _sv."salary" IS NOT NULL THEN 'it''s'::pg_catalog."numeric"(10,2) ELSE NULL::pg_catalog."numeric"(10,2) END"#
        );
        assert!(!mask.constant, "whether there is a value still shows");
        assert!(
            matches!(mask.check, Some(Check::Constant { sql, .. }) if sql == r#"SELECT 'it''s'::pg_catalog."numeric"(10,2)"#)
        );
        let not_null = masked("id", &Mask::Constant("0".into()));
        assert_eq!(not_null.sql.fill(Filling::Probe), r#"'0'::pg_catalog."int4""#);
        assert!(not_null.constant);
    }

    #[test]
    fn hash_fits_texts_bytes_uuids_and_integers_only() {
        for column in ["ssn", "country", "code", "raw", "ref", "id", "small", "big"] {
            let mask = masked(column, &Mask::Hash);
            assert!(!mask.mismatch && mask.total && mask.rank == rank::HASH, "{column}");
        }
        for column in ["salary", "born", "seen", "mood", "rate", "note", "active", "labels", "at"] {
            let mask = masked(column, &Mask::Hash);
            assert!(mask.mismatch && mask.constant && mask.rank == rank::NULL, "{column}");
            assert!(mask.sql.fill(Filling::Probe).contains("NULL::"), "{column}");
        }
        assert!(text("ssn", &Mask::Hash).ends_with(r#", 'hex'))::pg_catalog."varchar"(11)"#));
    }

    #[test]
    fn patterns_and_replacements_are_translated() {
        assert_eq!(posix_pattern(r"\b(\d{4})[\b\]]\B").unwrap(), r"\y(\d{4})[\b\]]\Y");
        assert!(posix_pattern("a\\").is_err());
        assert!(posix_pattern("***=a").is_err());
        assert_eq!(posix_replacement(r"$1X\1 $$ $& $0 $").unwrap(), r"\1X\\1 $ \& $0 $");
        assert!(posix_replacement("$<name>").is_err());
        let mask = Mask::Regex {
            regex: r"(\d{4})(\d)".into(),
            replacement: "$1X".into(),
            case_insensitive: true,
            global: true,
        };
        assert_eq!(
            text("ssn", &mask),
            r#"(pg_catalog.regexp_replace((_sv."ssn")::pg_catalog.text, '(\d{4})(\d)', '\1X', 'gi'))::pg_catalog."varchar"(11)"#
        );
        assert!(!masked("ssn", &mask).total);
        assert!(masked("id", &mask).mismatch);
    }

    #[test]
    fn buckets_are_for_numbers() {
        let mask = Mask::GroupingNumber("10".into());
        for column in ["id", "small", "big", "salary", "rate", "mass"] {
            assert!(!masked(column, &mask).mismatch && masked(column, &mask).total, "{column}");
        }
        assert!(!masked("free", &mask).total);
        for column in ["ssn", "born", "active"] {
            assert!(masked(column, &mask).mismatch, "{column}");
        }
        let source = source();
        for size in ["0", "-1", "x", "", "1e999", "NaN", "1; drop"] {
            assert!(compile(&Mask::GroupingNumber(size.into()), &source.columns[0], &catalog()).is_err(), "{size}");
        }
        assert!(text("salary", &mask).contains("'-9999999999e-2'::pg_catalog.numeric"));
    }

    #[test]
    fn truncation_is_for_times() {
        let mask = Mask::GroupingTime(TimePrecision::Month);
        for column in ["born", "seen", "made"] {
            assert!(!masked(column, &mask).mismatch, "{column}");
        }
        assert!(text("seen", &mask).contains("'UTC'"));
        assert!(masked("at", &mask).mismatch && masked("ssn", &mask).mismatch);
        assert!(!masked("at", &Mask::GroupingTime(TimePrecision::Hour)).mismatch);
    }
}
