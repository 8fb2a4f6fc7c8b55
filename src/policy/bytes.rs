//! Values as bytes, for digests: the same bytes whatever a session has set, and never an error.
//!
//! In: a column. Out: SQL of type `bytea`. Must never: go through a text form that a setting changes.

use super::source::DictColumn;
use super::sqltype::{base_type, has_fixed_text, oids::*};
use crate::catalog::Catalog;
use crate::types::Oid;

/// Types sent as fixed binary forms (`pg_type.typsend`), beside those whose text is fixed.
const SENT: [(Oid, &str); 18] = [
    (DATE, "date_send"),
    (TIME, "time_send"),
    (TIMESTAMP, "timestamp_send"),
    (TIMESTAMPTZ, "timestamptz_send"),
    (TIMETZ, "timetz_send"),
    (INTERVAL, "interval_send"),
    (FLOAT4, "float4send"),
    (FLOAT8, "float8send"),
    (BIT, "bit_send"),
    (VARBIT, "varbit_send"),
    (Oid(18), "charsend"),
    (Oid(26), "oidsend"),
    (Oid(650), "cidr_send"),
    (Oid(774), "macaddr8_send"),
    (Oid(790), "cash_send"),
    (Oid(829), "macaddr_send"),
    (Oid(869), "inet_send"),
    (Oid(3220), "pg_lsn_send"),
];

/// The bytes of a value; NULL of NULL. `None`: not for this type.
pub(crate) fn fixed_bytes(catalog: &Catalog, column: &DictColumn, value: &str) -> Option<String> {
    let ty = base_type(catalog, column.type_oid);
    if ty == BYTEA {
        return Some(value.to_owned());
    }
    if let Some((_, function)) = SENT.iter().find(|(oid, _)| *oid == ty) {
        return Some(format!("pg_catalog.{function}({value})"));
    }
    has_fixed_text(catalog, ty).then(|| format!("pg_catalog.convert_to(({value})::pg_catalog.text, 'UTF8')"))
}

/// The bytes of a value in a form that can be put beside others: never NULL, and no two sequences of values give the same bytes.
pub(crate) fn framed_bytes(catalog: &Catalog, column: &DictColumn, value: &str) -> Option<String> {
    let bytes = fixed_bytes(catalog, column, value)?;
    let framed = format!("('\\x01'::pg_catalog.bytea || pg_catalog.sha256({bytes}))");
    if column.not_null {
        return Some(framed);
    }
    Some(format!("CASE WHEN {value} IS NULL THEN '\\x00'::pg_catalog.bytea ELSE {framed} END"))
}

/// The parts one behind the other, in brackets that halve them: a chain of a thousand operators would be a tree a thousand deep, which
/// whoever reads it walks by recursion.
pub(crate) fn concatenated(parts: &[String]) -> String {
    match parts {
        [] => "''::pg_catalog.bytea".to_owned(),
        [one] => one.clone(),
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            format!("({} || {})", concatenated(left), concatenated(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together_without_depth() {
        let parts: Vec<String> = (0..1600).map(|n| n.to_string()).collect();
        let whole = concatenated(&parts);
        let depth = whole.chars().fold((0i32, 0i32), |(now, most), c| match c {
            '(' => (now + 1, most.max(now + 1)),
            ')' => (now - 1, most),
            _ => (now, most),
        });
        assert_eq!(depth, (0, 11));
        assert_eq!(whole.replace(['(', ')'], ""), parts.join(" || "));
        assert_eq!(concatenated(&[]), "''::pg_catalog.bytea");
    }
}
