//! `Grouping`: numbers in buckets, times truncated.
//!
//! In: a bucket size or a precision. Out: the beginning of the bucket, in the column's own type. Must never: raise on a value at the
//! end of the type's range.

use super::{MaskSql, Masking, rank};
use crate::governance::model::TimePrecision;
use crate::policy::fingerprint::{Span, bucket_size as bucket_size_of, has_span, precision, span};
use crate::policy::sqltype::{is_int, numeric_shape, oids::*};
use crate::policy::template::Sql;

impl Masking<'_> {
    /// floor(x / size) · size.
    pub(super) fn bucket(&self, size: &str) -> Result<Option<MaskSql>, String> {
        let Some((number, whole)) = bucket_size(size) else {
            return Err(format!("bucketSize \"{size}\" is not a positive number"));
        };
        let fitted = match self.column.type_oid {
            ty if is_int(ty) => Some(self.bucket_int(size, whole)),
            NUMERIC => Some(self.bucket_numeric(size, whole)),
            FLOAT8 if (1e-290..=1e290).contains(&number) => Some(self.bucket_float(number, false)),
            FLOAT4 if (1e-30..=1e37).contains(&number) => Some(self.bucket_float(number, true)),
            _ => None,
        };
        let mask = fitted.and_then(|(sql, total)| self.fitted("Grouping", rank::GROUPING, sql, total));
        Ok(mask.map(|mask| Self::stronger_by(mask, number)))
    }

    /// Buckets of the size, or the precision, that the column's fingerprint suggests; NULL without one.
    pub(super) fn by_fingerprint(&self) -> Result<Option<MaskSql>, String> {
        let ty = self.column.type_oid;
        if !has_span(ty) {
            return Ok(None);
        }
        match span(self.column) {
            None => Ok(Some(self.lacking("Grouping", "a fingerprint of its range"))),
            Some(Span::Numbers { least, greatest, .. }) => self.bucket(&bucket_size_of(ty, least, greatest)),
            Some(Span::Times(seconds)) if ty == TIME && seconds >= 36_000 => Ok(self.truncated(TimePrecision::Hour)),
            Some(Span::Times(_)) if ty == TIME => Ok(self.truncated(TimePrecision::Minute)),
            Some(Span::Times(seconds)) => Ok(self.truncated(precision(ty, seconds))),
        }
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

    fn bucket_numeric(&self, size: &str, whole: Option<i64>) -> (Sql, bool) {
        let value = &self.value;
        let step = format!("'{size}'::pg_catalog.numeric");
        if let Some(least) = numeric_shape(self.column.typmod).and_then(|shape| least_bucket(shape, whole?)) {
            let sql = format!(
                "CASE WHEN {value} >= '{least}'::pg_catalog.numeric THEN (pg_catalog.floor({value} / {step}) * {step})::{} ELSE {} END",
                self.type_name,
                self.null_text()
            );
            return (Sql::text(sql), true);
        }
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

    pub(super) fn truncated(&self, precision: TimePrecision) -> Option<MaskSql> {
        let (unit, strength) = match precision {
            TimePrecision::Minute => ("minute", 1.0),
            TimePrecision::Hour => ("hour", 2.0),
            TimePrecision::Day => ("day", 3.0),
            TimePrecision::Week => ("week", 4.0),
            TimePrecision::Month => ("month", 5.0),
            TimePrecision::Quarter => ("quarter", 6.0),
            TimePrecision::Year => ("year", 7.0),
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
        self.fitted("Grouping", rank::GROUPING, sql, true).map(|mask| Self::stronger_by(mask, strength))
    }
}

/// The least bucket of whole steps in a column of numeric(precision, scale), where floor(x / step) is exact: a quotient has 16 significant
/// digits at least (numeric.c, `NUMERIC_MIN_SIG_DIGITS`), and one that is not whole is at least 1 / (step · 10^scale) away from it.
fn least_bucket((precision, scale): (i32, i32), step: i64) -> Option<i64> {
    let (precision, scale) = (u32::try_from(precision).ok()?, u32::try_from(scale).ok()?);
    let most = 10i64.checked_pow(15)?;
    let fine = precision <= 15 && scale <= precision && step >= 1;
    let apart = step.checked_mul(10i64.checked_pow(scale)?)?;
    if !fine || apart > most {
        return None;
    }
    let greatest = 10i64.checked_pow(precision - scale)?.checked_sub(1)?;
    greatest.checked_div(step)?.checked_mul(step)?.checked_neg()
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

#[cfg(test)]
mod tests {
    use super::super::tests::{masked, text};
    use super::super::{Around, compile};
    use crate::governance::model::{Mask, TimePrecision};
    use crate::policy::testing::{catalog, source};

    #[test]
    fn the_least_bucket_is_within_the_type() {
        use super::least_bucket;
        assert_eq!(least_bucket((12, 2), 1000), Some(-9_999_999_000));
        assert_eq!(least_bucket((3, 0), 7), Some(-994));
        assert_eq!(least_bucket((2, 2), 10), Some(0));
        // Too many digits for an exact quotient, or other shapes.
        for (shape, step) in [((16, 2), 1000), ((15, 10), 1_000_000), ((5, -2), 10), ((2, 4), 10), ((12, 2), 0)] {
            assert_eq!(least_bucket(shape, step), None, "{shape:?} {step}");
        }
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
        let (source, catalog) = (source(), catalog());
        let around = Around { source: &source, catalog: &catalog, together: None };
        for size in ["0", "-1", "x", "", "1e999", "NaN", "1; drop"] {
            assert!(compile(&Mask::GroupingNumber(size.into()), &source.columns[0], &around).is_err(), "{size}");
        }
        assert!(text("salary", &mask).contains("'-99999990'::pg_catalog.numeric"));
        // A step that is not whole is taken by its remainder.
        let halves = Mask::GroupingNumber("0.5".into());
        assert!(text("salary", &halves).contains("'-9999999999e-2'::pg_catalog.numeric"));
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
