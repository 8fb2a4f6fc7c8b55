//! FF1 of NIST SP 800-38G (2016) as a SQL expression: a keyed permutation of the numeral strings of one length, with an empty tweak.
//!
//! In: SQL for a numeral string and its length, the radix, the key. Out: SQL for the encrypted string. PostgreSQL has AES only in
//! pgcrypto, whose AES-CBC of P ‖ Q with a zero vector ends in the standard's PRF. Must never: be given a string shorter than
//! [`Radix::least`], or longer than [`LONGEST`]: the caller of this file guards both.
//!
//! Two forms give the same result: with both halves below 2^30, 64-bit arithmetic; otherwise `numeric`. Every round is one step of a
//! recursive query whose row holds the halves and what does not change: `f(i, a, b, …)`, round number, left half, right half.

use crate::policy::salt::KeyUse;
use crate::policy::template::{KeyShape, Sql};

/// The numeral strings encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Radix {
    /// `0` to `9`.
    Ten,
    /// `a` to `z`.
    TwentySix,
}

/// Longest numeral string; the work grows with the square of the length.
pub(super) const LONGEST: u32 = 400;

/// Most rounds of a walk through the cycle (SP 800-38G, appendix to FPE on arbitrary domains; Black and Rogaway 2002): at worst one of
/// nine results is in range, so that this is passed less than once in 10^15 values.
const MOST_ROUNDS: u32 = 3000;

/// The range a whole number must stay in, as SQL of the number's own type in the two forms.
pub(super) struct Walk<'a> {
    /// Least result, as SQL.
    pub(super) least: &'a str,
    /// Greatest result, as SQL.
    pub(super) greatest: &'a str,
}

impl Radix {
    fn base(self) -> u32 {
        match self {
            Self::Ten => 10,
            Self::TwentySix => 26,
        }
    }

    /// Shortest string of which there are a million: Rev. 1 of the standard asks for no less.
    pub(super) fn least(self) -> u32 {
        match self {
            Self::Ten => 6,
            Self::TwentySix => 5,
        }
    }

    /// Longest string whose longer half is below 2^32, so that b ≤ 4 and d = 8 (steps 3 and 4), and whose halves are below 2^30.
    fn short(self) -> u32 {
        match self {
            Self::Ten => 18,
            Self::TwentySix => 12,
        }
    }

    /// log2 of the radix. No multiple below 2 · [`LONGEST`] comes near enough to a whole number for rounding to matter.
    fn log2(self) -> &'static str {
        match self {
            Self::Ten => "'3.321928094887362'::pg_catalog.float8",
            Self::TwentySix => "'4.700439718141092'::pg_catalog.float8",
        }
    }

    /// The number of at most six or nine numerals, as int8.
    fn short_number(self, text: &str) -> String {
        match self {
            Self::Ten => format!("({text})::pg_catalog.int8"),
            Self::TwentySix => {
                let letters = format!("pg_catalog.convert_to(pg_catalog.lpad({text}, 6, 'a'), 'UTF8')");
                let letter = |at: usize| format!("(pg_catalog.get_byte({letters}, {at}) - 97)::pg_catalog.int8");
                (1..6).fold(letter(0), |sum, at| format!("({sum} * 26 + {})", letter(at)))
            }
        }
    }

    /// Numerals of an int8 below radix^digits.
    fn short_text(self, number: &str, digits: &str) -> String {
        match self {
            Self::Ten => format!("pg_catalog.lpad(({number})::pg_catalog.text, {digits}, '0')"),
            Self::TwentySix => {
                let letter =
                    |at: u32| format!("pg_catalog.chr(97 + (({number}) / {} % 26)::pg_catalog.int4)", 26_u32.pow(at));
                let letters: Vec<String> = (0..6).rev().map(letter).collect();
                format!("pg_catalog.\"right\"({}, {digits})", letters.join(" || "))
            }
        }
    }

    /// The number of any numerals, as numeric.
    fn long_number(self, text: &str) -> String {
        match self {
            Self::Ten => format!("({text})::pg_catalog.\"numeric\""),
            Self::TwentySix => format!(
                "(SELECT pg_catalog.sum((pg_catalog.ascii(pg_catalog.substr({text}, g.k, 1)) - 97)::pg_catalog.\"numeric\" * \
                 {}) FROM pg_catalog.generate_series(1, pg_catalog.length({text})) AS g(k))",
                self.power(&format!("(pg_catalog.length({text}) - g.k)"))
            ),
        }
    }

    /// Numerals of a numeric below radix^digits.
    fn long_text(self, number: &str, digits: &str) -> String {
        match self {
            Self::Ten => format!("pg_catalog.lpad(({number})::pg_catalog.text, {digits}, '0')"),
            Self::TwentySix => format!(
                "(SELECT pg_catalog.string_agg(pg_catalog.chr(97 + pg_catalog.mod(pg_catalog.div({number}, {}), \
                 '26'::pg_catalog.\"numeric\")::pg_catalog.int4), '' ORDER BY g.k DESC) \
                 FROM pg_catalog.generate_series(0, {digits} - 1) AS g(k))",
                self.power("g.k")
            ),
        }
    }

    /// radix^exponent as a numeric without decimals.
    fn power(self, exponent: &str) -> String {
        power(&format!("'{}'", self.base()), exponent)
    }
}

/// base^exponent, exact: whole numbers are raised by multiplying (numeric.c, `power_var_int`), and the decimals are cut off.
fn power(base: &str, exponent: &str) -> String {
    format!("pg_catalog.trunc(pg_catalog.power({base}::pg_catalog.\"numeric\", ({exponent})::pg_catalog.\"numeric\"))")
}

/// The encrypted numeral string. `text` and `length` are names of columns in scope; `aes` is the qualified name of pgcrypto's `encrypt`.
pub(super) fn encrypted(radix: Radix, text: &str, length: &str, aes: &str) -> Sql {
    let short = short(radix, text, length, aes, None);
    let long = long(radix, text, length, aes, None);
    Sql::wrap(&format!("CASE WHEN {length} <= {} THEN ", radix.short()), short, " ELSE ").and(long).then(" END")
}

/// The same for the decimal digits of a whole number, again until the result is in range, with as many digits and no leading zero.
pub(super) fn walked(text: &str, length: &str, aes: &str, walk: &Walk<'_>) -> Sql {
    let short = short(Radix::Ten, text, length, aes, Some(walk));
    let long = long(Radix::Ten, text, length, aes, Some(walk));
    let limit = Radix::Ten.short();
    Sql::wrap(&format!("CASE WHEN {length} <= {limit} THEN "), short, " ELSE ").and(long).then(" END")
}

/// When to stop, of a row of `f`. After ten rounds, and for walks, each ten until in range.
fn done(walk: Option<&Walk<'_>>, number_type: &str) -> String {
    match walk {
        None => "f.i = 10".to_owned(),
        Some(Walk { least, greatest }) => format!(
            "(f.i > 0 AND f.i % 10 = 0 AND f.a * f.mv + f.b BETWEEN ({least})::{number_type} AND ({greatest})::{number_type})"
        ),
    }
}

fn more(walk: Option<&Walk<'_>>, number_type: &str) -> String {
    match walk {
        None => "f.i < 10".to_owned(),
        Some(_) => format!("f.i < {MOST_ROUNDS} AND NOT {}", done(walk, number_type)),
    }
}

/// Bytes [1][2][1][radix]³[10][u mod 256] of P (step 5); length and tweak length follow.
fn head(radix: Radix) -> String {
    format!("'\\x0102010000{:02x}0a'::pg_catalog.bytea", radix.base())
}

fn short(radix: Radix, text: &str, length: &str, aes: &str, walk: Option<&Walk<'_>>) -> Sql {
    const INT8: &str = "pg_catalog.int8";
    let (head, base, log2) = (head(radix), radix.base(), radix.log2());
    let left = radix.short_number("k.l");
    let right = radix.short_number("k.r");
    let (a, b) = (radix.short_text("f.a", "f.u"), radix.short_text("f.b", "f.v"));
    let (done, more) = (done(walk, INT8), more(walk, INT8));
    // Q is zeros, the round, then NUM(B) in b bytes: as one number, round · 256^b + NUM(B). y is an unsigned number of 64 bits: where
    // it reads as a negative one, 2^64 mod m makes up for it.
    Sql::text(format!(
        "(WITH RECURSIVE f(i, a, b, p, w, mu, mv, u, v) AS (\
         SELECT 0, {left}, {right}, \
         {head} || pg_catalog.substr(pg_catalog.int4send(k.u), 4) || pg_catalog.int4send(k.u + k.v) || '\\x000000000000000000000000'::pg_catalog.bytea, \
         '1'::{INT8} << (8 * pg_catalog.ceil(k.v * {log2} / 8)::pg_catalog.int4), \
         pg_catalog.round(pg_catalog.power('{base}'::pg_catalog.float8, k.u))::{INT8}, pg_catalog.round(pg_catalog.power('{base}'::pg_catalog.float8, k.v))::{INT8}, k.u, k.v \
         FROM (SELECT {length} / 2 AS u, {length} - {length} / 2 AS v, pg_catalog.\"left\"({text}, {length} / 2) AS l, \
         pg_catalog.substr({text}, {length} / 2 + 1) AS r OFFSET 0) AS k \
         UNION ALL \
         SELECT h.i + 1, h.b, pg_catalog.mod(pg_catalog.mod(h.y, h.mu) + h.mu + h.a + CASE WHEN h.y < 0 THEN \
         pg_catalog.mod(pg_catalog.mod('9223372036854775807'::{INT8}, h.mu) * 2 + 2, h.mu) ELSE '0'::{INT8} END, h.mu), \
         h.p, h.w, h.mv, h.mu, h.u, h.v \
         FROM (SELECT f.*, ('x' || pg_catalog.encode(pg_catalog.substr({aes}(f.p || pg_catalog.int8send(f.i % 10 * f.w + f.b), "
    ))
    .and(Sql::mask_key(KeyUse::Format, None, KeyShape::Plain))
    .then(&format!(
        ", 'aes-cbc/pad:none'), 17, 8), 'hex'))::pg_catalog.\"bit\"(64)::{INT8} AS y FROM f WHERE {more} OFFSET 0) AS h\
         ) SELECT {a} || {b} FROM f WHERE {done})"
    ))
}

fn long(radix: Radix, text: &str, length: &str, aes: &str, walk: Option<&Walk<'_>>) -> Sql {
    const NUMERIC: &str = "pg_catalog.\"numeric\"";
    let (head, log2) = (head(radix), radix.log2());
    let (left, right) = (radix.long_number("k.l"), radix.long_number("k.r"));
    let (a, b) = (radix.long_text("f.a", "f.u"), radix.long_text("f.b", "f.v"));
    let (mu, mv) = (radix.power("k.u"), radix.power("k.v"));
    let (done, more) = (done(walk, NUMERIC), more(walk, NUMERIC));
    let key = || Sql::mask_key(KeyUse::Format, None, KeyShape::Plain);
    let word = power("'4294967296'", "w.k - 1");
    // `z`: b of the standard, bytes of NUM(B). `e`: words of 32 bits that hold them. `x`: powers of 2^32. d = 4 · e + 4 bytes of S.
    Sql::text(format!(
        "(WITH RECURSIVE f(i, a, b, p, z, e, x, mu, mv, u, v) AS (\
         SELECT 0, {left}, {right}, \
         {head} || pg_catalog.substr(pg_catalog.int4send(k.u), 4) || pg_catalog.int4send(k.u + k.v) || '\\x00000000'::pg_catalog.bytea \
         || pg_catalog.decode(pg_catalog.repeat('00', 15 - k.z % 16), 'hex'), \
         k.z, (k.z + 3) / 4, (SELECT pg_catalog.array_agg({word} ORDER BY w.k) FROM pg_catalog.generate_series(1, (k.z + 3) / 4 + 1) AS w(k)), \
         {mu}, {mv}, k.u, k.v \
         FROM (SELECT {length} / 2 AS u, {length} - {length} / 2 AS v, pg_catalog.\"left\"({text}, {length} / 2) AS l, \
         pg_catalog.substr({text}, {length} / 2 + 1) AS r, \
         pg_catalog.ceil(({length} - {length} / 2) * {log2} / 8)::pg_catalog.int4 AS z OFFSET 0) AS k \
         UNION ALL \
         SELECT s.i + 1, s.b, pg_catalog.mod(s.a + (SELECT pg_catalog.sum(('x' || pg_catalog.substr(s.h, 8 * w.k - 7, 8))::pg_catalog.\"bit\"(32)::pg_catalog.int8 \
         * s.x[s.e + 2 - w.k]) FROM pg_catalog.generate_series(1, s.e + 1) AS w(k)), s.mu), s.p, s.z, s.e, s.x, s.mv, s.mu, s.u, s.v \
         FROM (SELECT r.*, pg_catalog.encode(CASE WHEN r.e <= 3 THEN r.y ELSE r.y || {aes}((SELECT pg_catalog.string_agg(\
         pg_catalog.substr(r.y, 1, 8) || pg_catalog.int8send(('x' || pg_catalog.encode(pg_catalog.substr(r.y, 9), 'hex'))::pg_catalog.\"bit\"(64)::pg_catalog.int8 # w.k::pg_catalog.int8), \
         ''::pg_catalog.bytea ORDER BY w.k) FROM pg_catalog.generate_series(1, r.e / 4) AS w(k)), "
    ))
    .and(key())
    .then(&format!(
        ", 'aes-ecb/pad:none') END, 'hex') AS h \
         FROM (SELECT q.*, pg_catalog.substr(q.c, pg_catalog.length(q.c) - 15) AS y FROM (SELECT f.*, {aes}(f.p || pg_catalog.substr(pg_catalog.int4send(f.i % 10), 4) || \
         pg_catalog.substr((SELECT pg_catalog.string_agg(pg_catalog.substr(pg_catalog.int8send(pg_catalog.mod(pg_catalog.div(f.b, f.x[w.k]), '4294967296'::{NUMERIC})::pg_catalog.int8), 5), \
         ''::pg_catalog.bytea ORDER BY w.k DESC) FROM pg_catalog.generate_series(1, f.e) AS w(k)), 4 * f.e - f.z + 1), "
    ))
    .and(key())
    .then(&format!(
        ", 'aes-cbc/pad:none') AS c FROM f WHERE {more} OFFSET 0) AS q OFFSET 0) AS r OFFSET 0) AS s\
         ) SELECT {a} || {b} FROM f WHERE {done})"
    ))
}
