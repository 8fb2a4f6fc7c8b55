//! `Reversible`: deterministic authenticated encryption of texts, base64.
//!
//! The composition is SIV (Rogaway and Shrimpton 2006; RFC 5297 fills it with CMAC and AES-CTR) over HMAC-SHA256, which PostgreSQL has
//! the parts of without an extension: `v = HMAC(k1, m)` cut to 16 bytes, `c = m ⊕ (HMAC(k2, v ‖ 0) ‖ HMAC(k2, v ‖ 1) ‖ …)` with the
//! counter as four bytes, most significant first, and the token is `base64(v ‖ c)`. The keys belong to one column of one data source, or
//! to the project whose masked columns join.
//!
//! In: a column, or keys and a token. Out: SQL, or the value. Must never: give a token that does not fit the type cut short, or a value
//! whose token is not what the mask would have given.

use super::{MaskSql, Masking, rank};
use crate::policy::salt::{KeyUse, Salt};
use crate::policy::sqltype::{is_text, oids};
use crate::policy::template::{KeyShape, Sql};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

/// The name of the mask.
pub(super) const NAME: &str = "Reversible";

/// Bytes of `v`.
const VECTOR: usize = 16;

/// Characters of the shortest token, that of the empty text.
const SHORTEST: i32 = 24;

/// Longest text encrypted, in bytes; longer ones are NULL.
const LONGEST: i32 = 1 << 20;

impl Masking<'_> {
    /// NULL where the token is longer than the type allows.
    pub(super) fn reversible(&self) -> Option<MaskSql> {
        let room = match self.column.type_oid {
            // NAMEDATALEN less the final zero.
            oids::NAME => Some(63),
            oids::VARCHAR | oids::BPCHAR if self.column.typmod >= 4 => Some(self.column.typmod - 4),
            ty if is_text(ty) => None,
            _ => return None,
        };
        if room.is_some_and(|room| room < SHORTEST) {
            return None;
        }
        // 4 characters for every three bytes begun.
        let most = room.map_or(LONGEST, |room| (room / 4 * 3 - 16).min(LONGEST));
        let fits = format!("pg_catalog.octet_length(r.m) <= {most}");
        let bits = |bytes: &str| format!("('x' || pg_catalog.encode({bytes}, 'hex'))::pg_catalog.varbit");
        let stream = Sql::wrap(
            "COALESCE((SELECT pg_catalog.string_agg(",
            hmac(self, KeyUse::Stream, "r.v || pg_catalog.int4send(g.k)"),
            ", ''::pg_catalog.bytea ORDER BY g.k) \
             FROM pg_catalog.generate_series(0, (pg_catalog.octet_length(r.m) + 31) / 32 - 1) AS g(k)), ''::pg_catalog.bytea)",
        );
        // The bit string's binary form is its length in four bytes, then its bits.
        let sql = Sql::wrap(
            &format!(
                "(SELECT CASE WHEN {fits} THEN pg_catalog.replace(pg_catalog.encode(r.v || pg_catalog.substr(pg_catalog.varbit_send({} # \
                 ('x' || pg_catalog.encode(pg_catalog.substr(",
                bits("r.m")
            ),
            stream,
            ", 1, pg_catalog.octet_length(r.m)), 'hex'))::pg_catalog.varbit), 5), 'base64'), pg_catalog.chr(10), '') END \
             FROM (SELECT q.m, pg_catalog.substr(",
        )
        .and(hmac(self, KeyUse::Vector, "q.m"))
        .then(&format!(
            ", 1, {VECTOR}) AS v FROM (SELECT pg_catalog.convert_to(({})::pg_catalog.text, 'UTF8') AS m OFFSET 0) AS q OFFSET 0) AS r)",
            self.value
        ));
        self.fitted(NAME, rank::REVERSIBLE, self.typed(sql), true)
    }
}

/// HMAC-SHA256 (RFC 2104) of a `bytea` expression: the padded keys are literals.
fn hmac(masking: &Masking<'_>, of: KeyUse, message: &str) -> Sql {
    let key = |shape| Sql::mask_key(of, Some(&masking.column.name), shape);
    Sql::wrap("pg_catalog.sha256(", key(KeyShape::Outer), " || pg_catalog.sha256(")
        .and(key(KeyShape::Inner))
        .then(&format!(" || {message}))"))
}

/// The value of a token; `None` when it is not one that the mask made with this salt for this column.
pub(crate) fn original(salt: &Salt, column: &str, token: &str) -> Option<String> {
    let bytes = STANDARD.decode(token.trim_end_matches(' ')).ok()?;
    let (vector, hidden) = bytes.split_at_checked(VECTOR)?;
    let stream = salt.key(KeyUse::Stream, Some(column));
    let mut value = Vec::with_capacity(hidden.len());
    for (block, counter) in hidden.chunks(32).zip(0u32..) {
        let pad = stream.mac(&[vector, &counter.to_be_bytes()]);
        value.extend(block.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
    }
    let expected = salt.key(KeyUse::Vector, Some(column)).mac(&[&value]);
    let authentic: bool = expected.get(..VECTOR)?.ct_eq(vector).into();
    if authentic { String::from_utf8(value).ok() } else { None }
}
