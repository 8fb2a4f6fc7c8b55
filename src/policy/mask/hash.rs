//! `Hash`: SHA-256 of salt ‖ value.
//!
//! In: the column. Out: a digest in the column's own type. Must never: hash without the salt.

use super::{MaskSql, Masking, rank};
use crate::policy::sqltype::{is_text, oids::*};
use crate::policy::template::Sql;

impl Masking<'_> {
    /// SHA-256 of salt ‖ value, shaped as the type allows.
    pub(super) fn hash(&self) -> Option<MaskSql> {
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
}

#[cfg(test)]
mod tests {
    use super::super::rank;
    use super::super::tests::{masked, text};
    use crate::governance::model::Mask;
    use crate::policy::template::Filling;

    #[test]
    fn hash_fits_texts_bytes_uuids_and_integers_only() {
        for column in ["ssn", "country", "code", "raw", "ref", "id", "small", "big", "note"] {
            let mask = masked(column, &Mask::Hash);
            assert!(!mask.mismatch && mask.total && mask.rank == rank::HASH, "{column}");
        }
        for column in ["salary", "born", "seen", "mood", "rate", "active", "labels", "at"] {
            let mask = masked(column, &Mask::Hash);
            assert!(mask.mismatch && mask.constant && mask.rank == rank::NULL, "{column}");
            assert!(mask.sql.fill(Filling::Probe).contains("NULL::"), "{column}");
        }
        assert!(text("note", &Mask::Hash).ends_with(r#", 'hex'))::pg_catalog."text")::"hr"."short_text""#));
        assert!(text("ssn", &Mask::Hash).ends_with(r#", 'hex'))::pg_catalog."varchar"(11)"#));
    }
}
