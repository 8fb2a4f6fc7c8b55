//! `Constant`: the same value in place of every value.
//!
//! In: the constant as text. Out: it cast to the column's type, to be confirmed by the warehouse. Must never: put a value where there is NULL.

use super::{Check, MaskSql, Masking, rank};
use crate::policy::template::Sql;
use crate::types::quote_literal;

impl Masking<'_> {
    /// The constant where there is a value, NULL where there is none.
    pub(super) fn constant(&self, text: &str) -> MaskSql {
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
            strength: 0,
            shown: None,
            lacks: None,
            check: Some(Check::Constant { sql: format!("SELECT {cast}"), null: Sql::text(self.null_text()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::masked;
    use super::*;
    use crate::governance::model::Mask;
    use crate::policy::template::Filling;

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
}
