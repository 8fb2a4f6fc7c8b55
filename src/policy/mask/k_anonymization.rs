//! `K-Anonymization`: NULL where the combination of the rule's columns occurs in too few rows of the whole table.
//!
//! In: k and the columns one rule selects. Out: [`Together`], a companion of each row that says whether its combination is frequent
//! enough, computed once however many columns look at it. Must never: show a value of a row whose combination was not counted, or give
//! rows in an order that tells of hidden values (a join or a window over the combination would sort by it; a hashed sub-plan keeps the
//! table's own order).

use super::{MaskSql, Masking, Shown, column_sql};
use crate::catalog::Catalog;
use crate::policy::decision::COMPANION_PREFIX;
use crate::policy::source::{DataSource, DictColumn};
use crate::policy::sqltype::{array_element, base_type, oids::*, type_sql};
use crate::policy::template::Sql;
use crate::types::{Oid, hex, quote_ident};
use sha2::{Digest, Sha256};

/// What the masks of one rule share.
pub(crate) struct Together {
    /// Says where a value is shown.
    shown: Shown,
}

/// The relation in the counting query.
const COUNTED: &str = "_sx";

/// Base types with a default hash operator class as well as equality (`pg_opclass.dat`): what can be counted, and looked up in one pass.
/// Neither raises on any value.
const HASHED: [Oid; 38] = [
    BOOL,
    BYTEA,
    Oid(18), // "char"
    NAME,
    INT8,
    INT2,
    INT4,
    TEXT,
    Oid(26),  // oid
    Oid(27),  // tid
    Oid(28),  // xid
    Oid(29),  // cid
    Oid(650), // cidr
    FLOAT4,
    FLOAT8,
    Oid(774), // macaddr8
    Oid(829), // macaddr
    Oid(869), // inet
    BPCHAR,
    VARCHAR,
    DATE,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    INTERVAL,
    TIMETZ,
    NUMERIC,
    UUID,
    Oid(3220), // pg_lsn
    Oid(3802), // jsonb
    Oid(3904), // int4range
    Oid(3906), // numrange
    Oid(3908), // tsrange
    Oid(3910), // tstzrange
    Oid(3912), // daterange
    Oid(3926), // int8range
    Oid(4089), // regnamespace
    Oid(4096), // regrole
];

/// A column's part in a combination: expressions over `alias`, none of them NULL, equal exactly when the values are or both are NULL.
/// `None`: values of the type cannot be counted.
fn parts(column: &DictColumn, alias: &str, catalog: &Catalog) -> Option<Vec<String>> {
    let base = base_type(catalog, column.type_oid);
    let name = type_sql(catalog, base, -1)?;
    let value = format!("{alias}.{}", quote_ident(&column.name));
    // A domain's own array type would do, too; the base type needs no word about it.
    let value = if base == column.type_oid { value } else { format!("({value})::{name}") };
    if let Some(element) = array_element(catalog, base) {
        let element = base_type(catalog, element);
        let counted = is_hashed(element, catalog);
        return counted.then(|| vec![format!("({value} IS NULL)"), format!("COALESCE({value}, '{{}}'::{name})")]);
    }
    // In arrays, NULL equals NULL.
    is_hashed(base, catalog).then(|| vec![format!("ARRAY[{value}]")])
}

fn is_hashed(ty: Oid, catalog: &Catalog) -> bool {
    HASHED.contains(&ty) || catalog.types.get(&ty).is_some_and(|t| t.kind == 'e')
}

/// What the masks of a rule's columns share; `None` when no column can be counted. Rules that count the same share it, too.
pub(crate) fn together(k: u64, columns: &[&DictColumn], source: &DataSource, catalog: &Catalog) -> Option<Together> {
    let counted: Vec<&&DictColumn> = columns.iter().filter(|c| parts(c, COUNTED, catalog).is_some()).collect();
    if counted.is_empty() {
        return None;
    }
    let all = |alias: &str| -> String {
        let parts: Vec<String> = counted.iter().filter_map(|c| parts(c, alias, catalog)).flatten().collect();
        parts.join(", ")
    };
    let grouped: Vec<String> = counted.iter().map(|c| format!("{COUNTED}.{}", quote_ident(&c.name))).collect();
    let here = all(super::ROW_ALIAS);
    let here = if here_is_one(&counted, catalog) { here } else { format!("({here})") };
    // Two equalities instead of `count(*) >= k`: the planner takes each for rare, so that it expects few combinations and always looks
    // them up by hash; believing in many it would walk through all of them for every row.
    let enough = format!(
        "LEAST(pg_catalog.count(*), '{k}'::pg_catalog.int8) = '{k}'::pg_catalog.int8 \
         AND LEAST('{k}'::pg_catalog.int8, pg_catalog.count(*)) = '{k}'::pg_catalog.int8"
    );
    let frequent = format!(
        "SELECT {} FROM {} AS {COUNTED} GROUP BY {} HAVING {enough}",
        all(COUNTED),
        source.relation_sql(),
        grouped.join(", ")
    );
    // HAVING makes it one row for the planner, too: it does not merge it into the view, and drops it when nothing looks at it.
    let companion = format!("SELECT {here} IN ({frequent}) AS \"shown\" HAVING TRUE");
    let digest = hex(Sha256::digest(&companion).into_iter().take(6));
    let alias = format!("{COMPANION_PREFIX}{digest}");
    let shown = Shown {
        condition: Sql::text(format!("{}.\"shown\"", quote_ident(&alias))),
        alias: alias.into(),
        companion: companion.into(),
    };
    Some(Together { shown })
}

/// Whether the combination is a single expression, which needs no row around it.
fn here_is_one(counted: &[&&DictColumn], catalog: &Catalog) -> bool {
    counted.iter().filter_map(|c| parts(c, COUNTED, catalog)).map(|p| p.len()).sum::<usize>() == 1
}

impl Masking<'_> {
    /// NULL, but where the combination is frequent.
    pub(super) fn k_anonymization(&self) -> Option<MaskSql> {
        parts(self.column, COUNTED, self.around.catalog)?;
        let shown = self.around.together.as_ref()?.shown.clone();
        let null = self.null("K-Anonymization", false);
        // A rare combination is NULL whatever other masks there are, so that no mask beside it shows more of it than it does alone; where
        // it is frequent the others have their say. That is a Null of some rows, and ranks as one.
        Some(MaskSql { constant: false, shown: Some(shown), ..null })
    }
}

/// For probes: the mask over the raw column.
pub(crate) fn whole(mask: &MaskSql, column: &DictColumn) -> Sql {
    match &mask.shown {
        None => mask.sql.clone(),
        Some(shown) => shown.or_else(None, mask.sql.clone(), Sql::text(column_sql(column))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::Mask;
    use crate::policy::mask::{Around, compile};
    use crate::policy::template::Filling;
    use crate::policy::testing::{catalog, source};

    fn columns<'a>(source: &'a DataSource, names: &[&str]) -> Vec<&'a DictColumn> {
        names.iter().map(|n| source.columns.iter().find(|c| c.name == *n).unwrap()).collect()
    }

    #[test]
    fn the_combination_is_counted_in_the_whole_table_and_null_equals_null() {
        let (source, catalog) = (source(), catalog());
        let together = together(3, &columns(&source, &["born", "country"]), &source, &catalog).unwrap();
        let shown = &together.shown;
        assert_eq!(shown.condition.fill(Filling::Probe), format!("\"{}\".\"shown\"", shown.alias));
        assert!(shown.alias.starts_with(COMPANION_PREFIX) && shown.alias.len() == 15);
        assert_eq!(
            &*shown.companion,
            "SELECT (ARRAY[_sv.\"born\"], ARRAY[_sv.\"country\"]) IN (SELECT ARRAY[_sx.\"born\"], ARRAY[_sx.\"country\"] \
             FROM \"hr\".\"person\" AS _sx GROUP BY _sx.\"born\", _sx.\"country\" \
             HAVING LEAST(pg_catalog.count(*), '3'::pg_catalog.int8) = '3'::pg_catalog.int8 \
             AND LEAST('3'::pg_catalog.int8, pg_catalog.count(*)) = '3'::pg_catalog.int8) AS \"shown\" HAVING TRUE"
        );
    }

    #[test]
    fn what_cannot_be_counted_is_null_and_stays_out_of_the_combination() {
        let (source, catalog) = (source(), catalog());
        let all: Vec<&DictColumn> = source.columns.iter().collect();
        let together = together(5, &all, &source, &catalog);
        assert!(together.as_ref().is_some_and(|t| t.shown.companion.contains("COALESCE(_sv.\"labels\", '{}'")));
        let around = Around { source: &source, catalog: &catalog, together };
        for column in &source.columns {
            let mask = compile(&Mask::KAnonymization(5), column, &around).unwrap();
            assert!(mask.shown.is_some() && !mask.constant && mask.total, "{}", column.name);
        }
        let mut bits = source.columns[0].clone();
        bits.type_oid = BIT;
        let mask = compile(&Mask::KAnonymization(5), &bits, &around).unwrap();
        assert!(mask.mismatch && mask.constant && mask.shown.is_none());
        assert!(super::together(5, &[&bits], &source, &catalog).is_none());
    }
}
