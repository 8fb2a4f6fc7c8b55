//! Masks as typed SQL over one column: computed at read, NULL stays NULL, the column's own type and modifier.
//!
//! In: a `maskingConfig` and a column. Out: [`MaskSql`]. Must never: raise on a value while saying it is total, or give a value of
//! another type. Where a mask does not fit the type the value is NULL, and says so.

mod constant;
mod ff1;
mod format_preserving;
mod grouping;
mod hash;
mod k_anonymization;
mod randomized;
mod regex;
mod reversible;

pub(crate) use reversible::original;

pub(crate) use k_anonymization::{Together, together, whole};

use super::decision::ROW_ALIAS;
use super::source::{DataSource, DictColumn};
use super::sqltype::{plain_domain, type_sql};
use super::template::Sql;
use crate::catalog::Catalog;
use crate::governance::model::Mask;
use crate::types::quote_ident;
use std::sync::Arc;

/// A compiled mask of one column.
#[derive(Clone)]
pub(crate) struct MaskSql {
    /// What to call it.
    pub(crate) kind: &'static str,
    /// How restrictive it is in effect; 0 = most (semantics 6). A mask that became NULL ranks as Null.
    pub(crate) rank: u8,
    /// How restrictive among those of its rank; greater = more. Coarser grouping and more noise never give way to finer and less.
    pub(crate) strength: u64,
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
    /// Where it masks nothing and what stands below it is seen: the next mask, at last the raw value.
    pub(crate) shown: Option<Shown>,
    /// What it needs to know and does not; NULL until then.
    pub(crate) lacks: Option<&'static str>,
}

/// Rows that a mask leaves to what stands below it.
#[derive(Clone)]
pub(crate) struct Shown {
    /// TRUE for those rows, over the companion.
    pub(crate) condition: Sql,
    /// The companion's alias, which is its identity: masks of one rule share one.
    pub(crate) alias: Arc<str>,
    /// The companion's SELECT; holds no caller's value and no salt.
    pub(crate) companion: Arc<str>,
}

impl Shown {
    /// The mask, with what stands below it; `conditional` = the rule's own predicate, masked where it is TRUE or NULL.
    pub(crate) fn or_else(&self, conditional: Option<Sql>, masked: Sql, below: Sql) -> Sql {
        let condition = match conditional {
            None => self.condition.clone(),
            Some(predicate) => Sql::wrap("((", predicate, ") IS FALSE OR ").and(self.condition.clone()).then(")"),
        };
        Sql::wrap("CASE WHEN ", condition, " THEN ").and(below).then(" ELSE ").and(masked).then(" END")
    }
}

/// What a mask is compiled against besides its column.
pub(crate) struct Around<'a> {
    /// The data source.
    pub(crate) source: &'a DataSource,
    /// The catalog.
    pub(crate) catalog: &'a Catalog,
    /// What the masks of the rule share.
    pub(crate) together: Option<Together>,
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

/// Why a mask cannot be used at all, whatever the column, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { message, help: "correct the mask".to_owned() }
    }
}

/// Restrictiveness (semantics 6), leaving room for the kinds of later work:
/// Null > Constant > Hash > K-Anonymization > Reversible > Format Preserving > Regular Expression > Grouping > Randomized Response.
/// What K-Anonymization masks is NULL and ranks so; what it does not mask is left to the others.
mod rank {
    pub(super) const NULL: u8 = 0;
    pub(super) const CONSTANT: u8 = 1;
    pub(super) const HASH: u8 = 2;
    pub(super) const REVERSIBLE: u8 = 4;
    pub(super) const FORMAT_PRESERVING: u8 = 5;
    pub(super) const REGEX: u8 = 6;
    pub(super) const GROUPING: u8 = 7;
    pub(super) const RANDOMIZED: u8 = 8;
    /// From here on a mask may change nothing about a value: punctuation is kept, a pattern does not match, a group begins there.
    pub(super) const LEAVING: u8 = 5;
}

/// The name of a mask, for traces.
pub(crate) fn name(mask: &Mask) -> &'static str {
    match mask {
        Mask::Null => "Null",
        Mask::Constant(_) => "Constant",
        Mask::Hash => "Hash",
        Mask::Regex { .. } => "Regular Expression",
        Mask::GroupingNumber(_) | Mask::GroupingTime(_) | Mask::GroupingFingerprint => "Grouping",
        Mask::KAnonymization(_) => "K-Anonymization",
        Mask::RandomizedCategory(_) | Mask::RandomizedNumber { .. } => "Randomized Response",
        Mask::Reversible => reversible::NAME,
        Mask::FormatPreserving => format_preserving::NAME,
    }
}

/// `_sv."column"`.
pub(crate) fn column_sql(column: &DictColumn) -> String {
    format!("{ROW_ALIAS}.{}", quote_ident(&column.name))
}

/// Compiles a mask for a column. `Err`: the mask itself is wrong, whatever the column.
pub(crate) fn compile(mask: &Mask, column: &DictColumn, around: &Around<'_>) -> Result<MaskSql, Refused> {
    let Some(type_name) = type_sql(around.catalog, column.type_oid, column.typmod) else {
        return Err(format!("the type of column \"{}\" is not in the catalog", column.name).into());
    };
    let masking = Masking { column, around, type_name, value: column_sql(column) };
    let under = masking.under_domain();
    let inner = under.as_ref().map(|(column, type_name)| Masking {
        column,
        around,
        type_name: type_name.clone(),
        value: format!("({})::{type_name}", masking.value),
    });
    let base = inner.as_ref().unwrap_or(&masking);
    let fitted = match mask {
        Mask::Null => return Ok(masking.null(name(mask), false)),
        Mask::Constant(text) => return Ok(masking.constant(text)),
        Mask::KAnonymization(_) => {
            return Ok(masking.k_anonymization().unwrap_or_else(|| masking.null(name(mask), true)));
        }
        Mask::Hash => base.hash(),
        Mask::Reversible => base.reversible(),
        Mask::FormatPreserving => base.format_preserving()?,
        Mask::Regex { regex, replacement, case_insensitive, global } => {
            base.regex(regex, replacement, *case_insensitive, *global)?
        }
        Mask::GroupingNumber(size) => base.bucket(size)?,
        Mask::GroupingTime(precision) => base.truncated(*precision),
        Mask::GroupingFingerprint => base.by_fingerprint()?,
        Mask::RandomizedCategory(percent) => base.randomized_category(*percent),
        Mask::RandomizedNumber { stddev, clip } => base.randomized_number(*stddev, *clip),
    };
    let Some(fitted) = fitted else { return Ok(masking.null(name(mask), true)) };
    if inner.is_some() {
        let sql = masking.typed(fitted.sql.clone());
        return Ok(MaskSql { sql, ..fitted });
    }
    Ok(fitted)
}

impl MaskSql {
    /// Whether there may be values that the mask leaves as they are.
    pub(crate) fn may_leave(&self) -> bool {
        self.rank >= rank::LEAVING
    }

    /// The mask as NULL, for a constant the warehouse could not cast.
    pub(crate) fn mismatched(kind: &'static str, null: Sql) -> Self {
        Self {
            kind,
            rank: rank::NULL,
            strength: 0,
            sql: null,
            total: true,
            constant: true,
            mismatch: true,
            check: None,
            shown: None,
            lacks: None,
        }
    }
}

/// What a kind of mask is compiled from; every kind adds its function in a file of its own.
struct Masking<'a> {
    column: &'a DictColumn,
    around: &'a Around<'a>,
    type_name: String,
    value: String,
}

impl Masking<'_> {
    fn null(&self, kind: &'static str, mismatch: bool) -> MaskSql {
        MaskSql { mismatch, ..MaskSql::mismatched(kind, Sql::text(self.null_text())) }
    }

    /// NULL until what the mask needs to know is declared.
    fn lacking(&self, kind: &'static str, what: &'static str) -> MaskSql {
        MaskSql { lacks: Some(what), ..self.null(kind, false) }
    }

    /// The column as its base type, where its type is a domain without constraints: masked like that, and cast back, which cannot raise.
    fn under_domain(&self) -> Option<(DictColumn, String)> {
        let catalog = self.around.catalog;
        let (type_oid, typmod) = plain_domain(catalog, self.column.type_oid)?;
        let type_name = type_sql(catalog, type_oid, typmod)?;
        Some((DictColumn { type_oid, typmod, ..self.column.clone() }, type_name))
    }

    fn is_domain(&self) -> bool {
        self.around.catalog.types.get(&self.column.type_oid).is_some_and(|t| t.kind == 'd')
    }

    fn fitted(&self, kind: &'static str, rank: u8, sql: Sql, total: bool) -> Option<MaskSql> {
        let null = self.null(kind, false);
        Some(MaskSql { rank, sql, total, constant: false, ..null })
    }

    /// Among masks of one rank, by a positive number.
    fn stronger_by(mask: MaskSql, number: f64) -> MaskSql {
        // The bits of positive doubles are ordered as they are.
        MaskSql { strength: number.to_bits(), ..mask }
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
        let catalog = catalog();
        let together = match mask {
            Mask::KAnonymization(k) => together(*k, &[column], &source, &catalog),
            _ => None,
        };
        compile(mask, column, &Around { source: &source, catalog: &catalog, together }).unwrap()
    }

    /// Its SQL, with a neutral salt.
    pub(crate) fn text(column: &str, mask: &Mask) -> String {
        masked(column, mask).sql.fill(Filling::Probe)
    }

    #[test]
    fn masks_that_encrypt_fit_their_types_only() {
        for column in ["country", "note"] {
            let mask = masked(column, &Mask::Reversible);
            assert!(!mask.mismatch && mask.total && mask.rank == rank::REVERSIBLE, "{column}");
        }
        // Eleven and five characters hold no token.
        for column in ["ssn", "code", "id", "raw", "born", "mood", "labels", "active"] {
            assert!(masked(column, &Mask::Reversible).mismatch, "{column}");
        }
        for column in ["ssn", "code", "country", "note", "id", "big", "free"] {
            let mask = masked(column, &Mask::FormatPreserving);
            assert!(!mask.mismatch && mask.total && mask.rank == rank::FORMAT_PRESERVING, "{column}");
        }
        for column in ["small", "salary", "raw", "born", "mood", "rate", "labels", "ref"] {
            assert!(masked(column, &Mask::FormatPreserving).mismatch, "{column}");
        }
    }

    #[test]
    fn without_pgcrypto_only_what_needs_it_is_refused() {
        let (source, mut catalog) = (source(), catalog());
        catalog.pgcrypto = None;
        let around = Around { source: &source, catalog: &catalog, together: None };
        let of = |name: &str, mask: &Mask| {
            let column = source.columns.iter().find(|c| c.name == name).unwrap();
            compile(mask, column, &around)
        };
        let refused = of("ssn", &Mask::FormatPreserving).err().unwrap();
        assert!(refused.message.contains("pgcrypto") && refused.help.contains("CREATE EXTENSION pgcrypto"));
        assert!(of("born", &Mask::FormatPreserving).is_ok_and(|m| m.mismatch));
        assert!(of("country", &Mask::Reversible).is_ok());
    }

    #[test]
    fn null_has_the_type_and_modifier() {
        assert_eq!(text("ssn", &Mask::Null), r#"NULL::pg_catalog."varchar"(11)"#);
        assert_eq!(text("note", &Mask::Null), r#"(SELECT NULL::"hr"."short_text" WHERE FALSE)"#);
        assert_eq!(text("mood", &Mask::Null), r#"NULL::"hr"."mood""#);
        assert!(masked("ssn", &Mask::Null).constant);
    }
}
