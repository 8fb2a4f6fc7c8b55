//! Masks as typed SQL over one column: computed at read, NULL stays NULL, the column's own type and modifier.
//!
//! In: a `maskingConfig` and a column. Out: [`MaskSql`]. Must never: raise on a value while saying it is total, or give a value of
//! another type. Where a mask does not fit the type the value is NULL, and says so.

mod constant;
mod grouping;
mod hash;
mod regex;

use super::decision::ROW_ALIAS;
use super::source::DictColumn;
use super::sqltype::type_sql;
use super::template::Sql;
use crate::catalog::Catalog;
use crate::governance::model::Mask;
use crate::types::quote_ident;

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

/// What a kind of mask is compiled from; every kind adds its function in a file of its own.
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

    /// NULL of the type. A domain may forbid NULL in its casts, but an empty sub-select gives one (manual, CREATE DOMAIN, notes).
    fn null_text(&self) -> String {
        if self.is_domain() {
            format!("(SELECT NULL::{} WHERE FALSE)", self.type_name)
        } else {
            format!("NULL::{}", self.type_name)
        }
    }

    /// The value where the condition holds, else NULL. A CASE has a modifier only when all its branches have the same.
    fn guarded(&self, condition: &str, value: &Sql) -> Sql {
        Sql::wrap(&format!("CASE WHEN {condition} THEN "), value.clone(), &format!(" ELSE {} END", self.null_text()))
    }
}

/// Masked where the predicate is TRUE or NULL, otherwise the other value.
pub(crate) fn conditional(predicate: Sql, masked: Sql, otherwise: Sql) -> Sql {
    Sql::wrap("CASE WHEN (", predicate, ") IS NOT FALSE THEN ").and(masked).then(" ELSE ").and(otherwise).then(" END")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::template::Filling;
    use crate::policy::testing::{catalog, source};

    /// A mask of a column of the test source.
    pub(crate) fn masked(column: &str, mask: &Mask) -> MaskSql {
        let source = source();
        let column = source.columns.iter().find(|c| c.name == column).unwrap();
        compile(mask, column, &catalog()).unwrap()
    }

    /// Its SQL, with a neutral salt.
    pub(crate) fn text(column: &str, mask: &Mask) -> String {
        masked(column, mask).sql.fill(Filling::Probe)
    }

    #[test]
    fn null_has_the_type_and_modifier() {
        assert_eq!(text("ssn", &Mask::Null), r#"NULL::pg_catalog."varchar"(11)"#);
        assert_eq!(text("note", &Mask::Null), r#"(SELECT NULL::"hr"."short_text" WHERE FALSE)"#);
        assert_eq!(text("mood", &Mask::Null), r#"NULL::"hr"."mood""#);
        assert!(masked("ssn", &Mask::Null).constant);
    }
}
