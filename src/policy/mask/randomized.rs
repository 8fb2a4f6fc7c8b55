//! `Randomized Response`: some rows get a random value of the domain, or every row gets noise.
//!
//! In: the column, what tells its rows apart, its fingerprint. Out: a value that is the same however often it is asked for. Must never:
//! take a replacement from the table itself (only hidden rows may hold it), or share random bits between two deviations.
//!
//! The random bits are SHA-256 over the data source's salt, the row's key, the value and a label of column and parameters. With the
//! value in it, a changed value gets noise of its own and the difference of two does not give away the change; with the data source's own
//! salt, another project shows no second sample.
//!
//! *Categories*: with the given probability the value is replaced by one drawn uniformly from its domain (the true one included): both
//! truth values, the labels of an enum, else the values that the fingerprint lists.
//!
//! *Numbers*: normal noise (Box and Muller, 1958) of the given deviation, at most 8.5 deviations. The sum is rounded to three digits below
//! the deviation's first, so that no low digit of the value survives, clipped when asked, and held within the type's bounds. NaN and the
//! infinities, which no noise hides, become NULL.

use super::{Check, MaskSql, Masking, rank};
use crate::policy::bytes::{concatenated, framed_bytes};
use crate::policy::fingerprint::{Span, span};
use crate::policy::sqltype::{has_fixed_text, is_number, numeric_shape, oids::*};
use crate::policy::template::{Sql, array_literal};
use crate::types::{hex, quote_literal};
use sha2::{Digest, Sha256};

/// Random bits in a draw: as many as a double holds exactly (and 13 hexadecimal digits).
const BITS: u32 = 52;
const DIGITS: u32 = BITS / 4;

impl Masking<'_> {
    /// Hexadecimal digits that are random to whoever does not know the salt. `None`: the value has no fixed bytes.
    fn random(&self, label: &str) -> Option<Sql> {
        let (source, catalog) = (self.around.source, self.around.catalog);
        let label = Sha256::new().chain_update(label).chain_update("\0").chain_update(&self.column.name).finalize();
        let label = hex(label);
        let mut bytes =
            vec![format!("'\\x{label}'::pg_catalog.bytea"), framed_bytes(catalog, self.column, &self.value)?];
        bytes.extend(source.row_key.iter().filter_map(|c| framed_bytes(catalog, c, &super::column_sql(c))));
        let digest =
            Sql::text("pg_catalog.sha256(").and(Sql::source_salt()).then(&format!(" || {})", concatenated(&bytes)));
        Some(Sql::wrap("pg_catalog.encode(", digest, ", 'hex')"))
    }

    /// The n-th draw as a whole number below 2^52.
    fn draw(hex: &Sql, n: u32) -> Sql {
        let head = Sql::wrap("('x' || pg_catalog.substr(", hex.clone(), &format!(", {}, {DIGITS}))", n * DIGITS + 1));
        Sql::wrap("((", head, &format!(")::pg_catalog.\"bit\"({BITS}))::pg_catalog.int8"))
    }

    /// Without a key the noise would be another whenever anything of the row is, and could be averaged out.
    fn lacks_a_key(&self) -> Option<MaskSql> {
        let none = self.around.source.row_key.is_empty();
        none.then(|| {
            self.lacking(
                "Randomized Response",
                "a `highCardinality` column that tells the rows of the query or view apart",
            )
        })
    }

    pub(super) fn randomized_category(&self, percent: f64) -> Option<MaskSql> {
        if let Some(null) = self.lacks_a_key() {
            return Some(null);
        }
        // Not the percentage: of two rates the higher replaces what the lower does, and more.
        let hex = self.random("category")?;
        let ty = self.column.type_oid;
        let is_enum = self.around.catalog.types.get(&ty).is_some_and(|t| t.kind == 'e');
        let pick = Self::draw(&hex, 1);
        let mut check = None;
        let drawn = if ty == BOOL {
            Sql::wrap("(", pick, " % '2'::pg_catalog.int8 = '0'::pg_catalog.int8)")
        } else if is_enum {
            let labels = format!("pg_catalog.enum_range(NULL::{})", self.type_name);
            let count = format!("NULLIF(pg_catalog.cardinality({labels}), 0)");
            let index = Sql::wrap("('1'::pg_catalog.int8 + ", pick, &format!(" % {count})::pg_catalog.int4"));
            Sql::wrap(&format!("({labels})["), index, "]")
        } else if has_fixed_text(self.around.catalog, ty) {
            let listed = self.column.fingerprint.as_ref().filter(|f| !f.values.is_empty());
            let Some(listed) = listed else {
                return Some(self.lacking("Randomized Response", "a fingerprint that lists its values"));
            };
            let values = array_literal(listed.values.iter(), "text");
            let values = values.strip_suffix("::pg_catalog.text[]").map(str::to_owned)?;
            let domain = format!("({values}::{}[])", self.type_name);
            check = Some(Check::Constant { sql: format!("SELECT {domain}"), null: Sql::text(self.null_text()) });
            let index = format!(" % '{}'::pg_catalog.int8)::pg_catalog.int4", listed.values.len());
            Sql::wrap(&format!("{domain}["), Sql::wrap("('1'::pg_catalog.int8 + ", pick, &index), "]")
        } else {
            return None;
        };
        // INVARIANT: the percentage is at most 100, so the threshold is at most 2^52 and exact.
        #[allow(clippy::cast_possible_truncation)]
        let threshold = (percent / 100.0 * (2f64).powi(52)).ceil() as i64;
        let chosen = Self::draw(&hex, 0).then(&format!(" < '{threshold}'::pg_catalog.int8"));
        let sql =
            Sql::wrap(&format!("CASE WHEN {} IS NULL THEN {} WHEN ", self.value, self.null_text()), chosen, " THEN ")
                .and(self.typed(drawn))
                .then(&format!(" ELSE {} END", self.value));
        let mask = self.fitted("Randomized Response", rank::RANDOMIZED, sql, true)?;
        Some(Self::stronger_by(MaskSql { check, ..mask }, percent))
    }

    pub(super) fn randomized_number(&self, stddev: f64, clip: bool) -> Option<MaskSql> {
        let ty = self.column.type_oid;
        if !is_number(ty) {
            return None;
        }
        if let Some(null) = self.lacks_a_key() {
            return Some(null);
        }
        let clip = match (clip, span(self.column)) {
            (false, _) => None,
            (true, Some(Span::Numbers { texts, .. })) => Some(texts),
            (true, _) => return Some(self.lacking("Randomized Response", "a fingerprint of its range")),
        };
        let hex = self.random(&format!("number {stddev:e}"))?;
        // In (0, 1], so that the logarithm exists.
        let unit = |n| {
            let draw = Sql::wrap("(", Self::draw(&hex, n), " + '1'::pg_catalog.int8)::pg_catalog.float8");
            Sql::wrap("(", draw, " / '4503599627370496'::pg_catalog.float8)")
        };
        let radius = Sql::wrap("pg_catalog.sqrt('-2'::pg_catalog.float8 * pg_catalog.ln(", unit(0), "))");
        let turn = Sql::wrap("pg_catalog.cos('6.283185307179586'::pg_catalog.float8 * ", unit(1), ")");
        let noise = Sql::wrap("(", radius, " * ").and(turn).then(&format!(" * '{stddev:e}'::pg_catalog.float8)"));
        let bounds = self.bounds(ty);
        // Values next to the end of a float's or an unbounded numeric's range are brought to where a sum cannot overflow.
        let value = match ty {
            FLOAT4 | FLOAT8 => {
                held(Sql::text(self.value.clone()), &bounds, if ty == FLOAT4 { "float4" } else { "float8" })
            }
            _ => held(Sql::wrap("(", Sql::text(self.value.clone()), ")::pg_catalog.numeric"), &bounds, "numeric"),
        };
        let sum = Sql::wrap("((", value, ")::pg_catalog.numeric + ").and(noise).then("::pg_catalog.numeric)");
        let digits = self.digits(stddev);
        let mut sql = Sql::wrap("pg_catalog.round(", sum, &format!(", {digits})"));
        if let Some(clip) = clip {
            sql = held(sql, &(quote_literal(&clip.0), quote_literal(&clip.1)), "numeric");
        }
        let sql = self.typed(held(sql, &bounds, "numeric"));
        // GREATEST and LEAST pass over NULL. A difference with itself is 0 for numbers alone: NaN for NaN and the infinities.
        let finite = match ty {
            INT2 | INT4 | INT8 => format!("{} IS NOT NULL", self.value),
            FLOAT4 | FLOAT8 => format!("({0} - {0}) = '0'::pg_catalog.float8", self.value),
            _ => format!("({0} - {0}) = '0'::pg_catalog.numeric", self.value),
        };
        let sql = self.guarded(&finite, &sql);
        self.fitted("Randomized Response", rank::RANDOMIZED, sql, true).map(|mask| Self::stronger_by(mask, stddev))
    }

    /// Digits behind the point that are kept: three below the first of the deviation, and no more than the type has.
    fn digits(&self, stddev: f64) -> i32 {
        // INVARIANT: the deviation is between 1e-12 and 1e18.
        #[allow(clippy::cast_possible_truncation)]
        let kept = 3 - stddev.log10().floor() as i32;
        match self.column.type_oid {
            INT2 | INT4 | INT8 => kept.min(0),
            NUMERIC => numeric_shape(self.column.typmod).map_or(kept, |(_, scale)| kept.min(scale)),
            _ => kept,
        }
    }

    /// The least and greatest value that a result may have, as literals.
    fn bounds(&self, ty: crate::types::Oid) -> (String, String) {
        let pair = |least: String, greatest: String| (quote_literal(&least), quote_literal(&greatest));
        match ty {
            INT2 => pair(i16::MIN.to_string(), i16::MAX.to_string()),
            INT4 => pair(i32::MIN.to_string(), i32::MAX.to_string()),
            INT8 => pair(i64::MIN.to_string(), i64::MAX.to_string()),
            FLOAT4 => pair("-3.4e38".into(), "3.4e38".into()),
            FLOAT8 => pair("-1e300".into(), "1e300".into()),
            _ => match numeric_shape(self.column.typmod) {
                Some((precision, scale)) => {
                    let nines = "9".repeat(usize::try_from(precision).unwrap_or(1));
                    pair(format!("-{nines}e{}", -scale), format!("{nines}e{}", -scale))
                }
                None => pair("-1e1000".into(), "1e1000".into()),
            },
        }
    }
}

/// A value within bounds.
fn held(value: Sql, (least, greatest): &(String, String), ty: &str) -> Sql {
    Sql::wrap(&format!("GREATEST({least}::pg_catalog.{ty}, LEAST({greatest}::pg_catalog.{ty}, "), value, "))")
}

#[cfg(test)]
mod tests {
    use super::super::rank;
    use super::super::tests::{masked, text};
    use crate::governance::model::Mask;

    #[test]
    fn categories_are_types_with_a_domain() {
        let mask = Mask::RandomizedCategory(10.0);
        for column in ["active", "mood"] {
            let mask = masked(column, &mask);
            assert!(mask.total && !mask.mismatch && mask.lacks.is_none() && mask.rank == rank::RANDOMIZED, "{column}");
        }
        for column in ["ssn", "country", "note", "id", "salary", "ref"] {
            let mask = masked(column, &mask);
            assert!(!mask.mismatch && mask.lacks.is_some() && mask.rank == rank::NULL, "{column}");
        }
        for column in ["born", "raw", "labels", "rate"] {
            assert!(masked(column, &mask).mismatch, "{column}");
        }
        assert!(text("active", &mask).contains(" < '450359962737050'::pg_catalog.int8 THEN "));
        assert!(text("active", &Mask::RandomizedCategory(100.0)).contains(" < '4503599627370496'::pg_catalog.int8"));
    }

    #[test]
    fn noise_is_for_numbers() {
        let mask = Mask::RandomizedNumber { stddev: 2.0, clip: false };
        for column in ["id", "small", "big", "salary", "rate", "mass", "free"] {
            let mask = masked(column, &mask);
            assert!(mask.total && !mask.mismatch && mask.rank == rank::RANDOMIZED, "{column}");
        }
        for column in ["ssn", "born", "active", "mood"] {
            assert!(masked(column, &mask).mismatch, "{column}");
        }
        let clipped = Mask::RandomizedNumber { stddev: 2.0, clip: true };
        assert!(masked("id", &clipped).lacks.is_some());
    }

    #[test]
    fn each_deviation_and_column_has_bits_of_its_own() {
        let label = |column: &str, stddev: f64| {
            let text = text(column, &Mask::RandomizedNumber { stddev, clip: false });
            // Behind the salt.
            text.split("'\\x").nth(2).unwrap()[..64].to_owned()
        };
        assert_ne!(label("id", 2.0), label("id", 3.0));
        assert_ne!(label("id", 2.0), label("big", 2.0));
        assert_eq!(label("id", 2.0), label("id", 2.0));
    }
}
