//! `Format Preserving Masking`: FF1 a character class, everything else in its place.
//!
//! In: a column. Out: for texts, the decimal digits as one numeral string, the letters `A`–`Z` as another, case as it was; for whole
//! numbers, the digits of the magnitude, as many and without a leading zero. Must never: leave a letter or digit readable. So NULL
//! stands for a value with fewer than 6 digits or 5 letters of a class that occurs (SP 800-38G Rev. 1: a domain below a million), with
//! more than [`LONGEST`] of one, or with any character outside ASCII, whose classes depend on the collation; and for numbers of fewer
//! than 7 digits, fractions, NaN, and the infinities.
//!
//! The tweak is empty and the key is the data source's (or the project's), so that equal values of its columns stay equal, as under
//! `Hash`.

use super::ff1::{LONGEST, Radix, Walk, encrypted, walked};
use super::{MaskSql, Masking, Refused, rank};
use crate::policy::sqltype::{is_text, numeric_shape, oids::*};
use crate::policy::template::Sql;
use crate::types::quote_ident;

/// The name of the mask.
pub(super) const NAME: &str = "Format Preserving Masking";

/// Fewest digits of a number: 9,000,000 have seven.
const FEWEST_DIGITS: u32 = 7;

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";

impl Masking<'_> {
    /// `Err`: the warehouse lacks what it takes.
    pub(super) fn format_preserving(&self) -> Result<Option<MaskSql>, Refused> {
        let sql = match self.column.type_oid {
            ty if is_text(ty) => self.formatted_text(&self.aes()?),
            INT4 => self.formatted_number(&self.aes()?, Some("2147483647")),
            INT8 => self.formatted_number(&self.aes()?, Some("9223372036854775807")),
            NUMERIC => match numeric_shape(self.column.typmod) {
                None => self.formatted_number(&self.aes()?, None),
                Some((precision, 0)) if i64::from(precision) >= i64::from(FEWEST_DIGITS) => {
                    self.formatted_number(&self.aes()?, None)
                }
                Some(_) => return Ok(None),
            },
            // There are not a million numbers of 16 bits.
            _ => return Ok(None),
        };
        Ok(self.fitted(NAME, rank::FORMAT_PRESERVING, self.typed(sql), true))
    }

    /// The name of pgcrypto's `encrypt(data, key, type)`.
    fn aes(&self) -> Result<String, Refused> {
        let schema = self.around.catalog.pgcrypto.as_ref().ok_or_else(|| Refused {
            message: format!("{NAME} needs AES, which the warehouse has only in the extension pgcrypto"),
            help: "run CREATE EXTENSION pgcrypto in the warehouse, or choose another mask".to_owned(),
        })?;
        Ok(format!("{}.encrypt", quote_ident(schema)))
    }

    fn formatted_text(&self, aes: &str) -> Sql {
        let value = &self.value;
        let digits = encrypted(Radix::Ten, "t.d", "t.nd", aes);
        let letters = encrypted(Radix::TwentySix, "t.l", "t.nl", aes);
        let (few_digits, few_letters) = (Radix::Ten.least() - 1, Radix::TwentySix.least() - 1);
        // Everything under the collation C, so that classes are what they are in ASCII whatever the column's collation says.
        let strip = |class: &str| format!("pg_catalog.regexp_replace(s.v, '[^{class}]', '', 'g')");
        Sql::text(
            "(SELECT CASE WHEN e.bad THEN NULL::pg_catalog.text WHEN e.nd = 0 AND e.nl = 0 THEN e.v \
             WHEN e.nd = pg_catalog.length(e.v) THEN e.ed ELSE (SELECT pg_catalog.string_agg(\
             CASE w.k WHEN 1 THEN pg_catalog.substr(e.ed, w.nd::pg_catalog.int4, 1) \
             WHEN 2 THEN pg_catalog.substr(e.el, w.nl::pg_catalog.int4, 1) \
             WHEN 3 THEN pg_catalog.upper(pg_catalog.substr(e.el, w.nl::pg_catalog.int4, 1)) ELSE w.c END, '' ORDER BY w.o) \
             FROM (SELECT y.c, y.o, y.k, pg_catalog.count(*) FILTER (WHERE y.k = 1) OVER (ORDER BY y.o) AS nd, \
             pg_catalog.count(*) FILTER (WHERE y.k > 1) OVER (ORDER BY y.o) AS nl \
             FROM (SELECT z.c, z.o, CASE WHEN z.c BETWEEN '0' AND '9' THEN 1 WHEN z.c BETWEEN 'a' AND 'z' THEN 2 \
             WHEN z.c BETWEEN 'A' AND 'Z' THEN 3 ELSE 0 END AS k \
             FROM pg_catalog.unnest(pg_catalog.string_to_array(e.v, NULL::pg_catalog.text)) WITH ORDINALITY AS z(c, o)) AS y) AS w) END \
             COLLATE pg_catalog.\"default\" FROM (SELECT t.v, t.nd, t.nl, t.bad, CASE WHEN t.bad OR t.nd = 0 THEN NULL::pg_catalog.text ELSE ",
        )
        .and(digits)
        .then(" END AS ed, CASE WHEN t.bad OR t.nl = 0 THEN NULL::pg_catalog.text ELSE ")
        .and(letters)
        .then(&format!(
            " END AS el FROM (SELECT r.v, r.d, r.l, r.nd, r.nl, r.v IS NULL OR pg_catalog.octet_length(r.v) <> pg_catalog.length(r.v) \
             OR r.nd BETWEEN 1 AND {few_digits} OR r.nl BETWEEN 1 AND {few_letters} OR r.nd > {LONGEST} OR r.nl > {LONGEST} AS bad \
             FROM (SELECT q.v, q.d, q.l, pg_catalog.length(q.d) AS nd, pg_catalog.length(q.l) AS nl \
             FROM (SELECT s.v, {} AS d, pg_catalog.translate({}, '{UPPER}', '{LOWER}') AS l \
             FROM (SELECT ({value})::pg_catalog.text COLLATE pg_catalog.\"C\" AS v OFFSET 0) AS s OFFSET 0) AS q OFFSET 0) AS r OFFSET 0) AS t OFFSET 0) AS e)",
            strip("0-9"),
            strip("a-zA-Z"),
        ))
    }

    /// A whole number: its sign, and its digits encrypted until they are digits of a number within the type.
    fn formatted_number(&self, aes: &str, greatest: Option<&str>) -> Sql {
        let value = &self.value;
        let numeric = "pg_catalog.\"numeric\"";
        // The column may hold any number of so many digits, or the type has a greatest one.
        let nines = format!("pg_catalog.repeat('9', r.n)::{numeric}");
        let top = greatest.map_or_else(|| nines.clone(), |most| format!("LEAST({nines}, '{most}'::{numeric})"));
        let walk = Walk { least: "('1' || pg_catalog.repeat('0', t.n - 1))", greatest: "t.top" };
        Sql::wrap(
            &format!(
                "(SELECT CASE WHEN t.m >= '1000000'::{numeric} AND t.n <= {LONGEST} AND t.m <= t.top THEN (CASE WHEN t.x < 0 THEN '-' ELSE '' END || "
            ),
            walked("t.d", "t.n", aes, &walk),
            &format!(
                ")::{numeric} END FROM (SELECT r.x, r.m, r.d, r.n, {top} AS top FROM (SELECT q.x, q.m, q.d, pg_catalog.length(q.d) AS n \
                 FROM (SELECT s.x, s.m, s.m::pg_catalog.text AS d FROM (SELECT v.x, pg_catalog.abs(v.x) AS m \
                 FROM (SELECT ({value})::{numeric} AS x OFFSET 0) AS v \
                 WHERE v.x < 'Infinity'::{numeric} AND v.x > '-Infinity'::{numeric} AND pg_catalog.scale(v.x) = 0 OFFSET 0) AS s OFFSET 0) AS q OFFSET 0) AS r OFFSET 0) AS t)"
            ),
        )
    }
}
