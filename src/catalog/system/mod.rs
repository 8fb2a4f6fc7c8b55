//! The virtual catalog: `pg_catalog` and `information_schema` as one caller sees them, by the same mechanism as policies.
//!
//! In: a system relation, what the caller sees. Out: an [`Access`]: row predicates and masks over the real relation. Must never: show a row of a
//! relation not reviewed here; the default is no rows.
//!
//! Predicates and masks are total: equality of OIDs, names and numbers, and lookups in constants.

pub(crate) mod classes;
mod extra;
mod information;

use super::lookup::Map;
use super::visibility::{OWNER_NAME, OWNER_OID, Visibility, is_system};
use super::{Column, Relation};
use crate::policy::decision::{Access, ColumnDecision, MaskDecision, Query, ROW_ALIAS, RelationDecision, RowPredicate};
use crate::types::{QualifiedName, quote_ident, quote_literal};
use serde_json::Value;
use std::sync::Arc;

/// What traces and `explain` call the policy of this module.
const POLICY: &str = "virtual catalog";

/// Catalogs of which everyone may read some columns only: no row of them is shown, and none is asked for.
const CLOSED: &[&str] = &["pg_subscription"];

/// `oid`, `name`, `aclitem[]` in pg_type.dat.
const OID_TYPE: u32 = 26;
const NAME_TYPE: u32 = 19;
const ACL_TYPE: u32 = 1034;

/// Which rows of a system relation are seen.
enum Rows {
    /// All: they are the same for everyone.
    All,
    /// None.
    None,
    /// Those for which this SQL holds.
    Where(String),
}

/// How one column is shown instead.
enum Shown {
    /// NULL.
    Null,
    /// A constant, as text of the column's type.
    Constant(String),
    /// An expression over the row, cast to the column's type.
    Expression(String),
}

/// A row that the warehouse does not have: what is given of its columns.
type Extra = Vec<(&'static str, Shown)>;

/// How one system relation is seen.
struct View {
    rows: Rows,
    masks: Vec<(&'static str, Shown)>,
    extra: Vec<Extra>,
}

impl View {
    fn none() -> Self {
        Self { rows: Rows::None, masks: Vec::new(), extra: Vec::new() }
    }
    fn all() -> Self {
        Self { rows: Rows::All, masks: Vec::new(), extra: Vec::new() }
    }
    fn rows(sql: String) -> Self {
        Self { rows: Rows::Where(sql), masks: Vec::new(), extra: Vec::new() }
    }
    /// Adds rows of query sources and the like.
    fn and(mut self, extra: impl IntoIterator<Item = Extra>) -> Self {
        self.extra.extend(extra);
        self
    }
    fn mask(mut self, column: &'static str, shown: Shown) -> Self {
        self.masks.push((column, shown));
        self
    }
    fn null(self, columns: &[&'static str]) -> Self {
        columns.iter().fold(self, |view, c| view.mask(c, Shown::Null))
    }
    fn constant(self, columns: &[&'static str], value: &str) -> Self {
        columns.iter().fold(self, |view, c| view.mask(c, Shown::Constant(value.to_owned())))
    }
    /// Replaces the values of `column` for the keys of `map`; nothing when it is empty.
    fn replace(self, column: &'static str, map: &Map, key: &str) -> Self {
        if map.is_empty() {
            return self;
        }
        let sql = format!("COALESCE({}, {}::pg_catalog.text)", map.find(key), col(column));
        self.mask(column, Shown::Expression(sql))
    }
}

/// `_sv."name"`.
fn col(name: &str) -> String {
    format!("{ROW_ALIAS}.{}", quote_ident(name))
}

/// The text of an OID column.
fn key(column: &str) -> String {
    format!("{}::pg_catalog.text", col(column))
}

/// How `relation` of `pg_catalog` or `information_schema` is seen; [`Access::Hidden`] for anything else.
pub fn system_access(relation: &QualifiedName, v: &Visibility<'_>) -> Access {
    if !is_system(&relation.schema) {
        return Access::Hidden;
    }
    let Some(found) = v.catalog.relations.get(relation) else { return Access::Hidden };
    let make = || {
        let view = if relation.schema == "pg_catalog" {
            classes::view(&relation.name, v)
        } else {
            information::view(&relation.name, v)
        };
        #[cfg(feature = "disarm")]
        let view = if crate::disarm::is_off(crate::disarm::Defence::Catalog) {
            View { rows: Rows::All, masks: Vec::new(), extra: Vec::new() }
        } else {
            view
        };
        decide(found, view, v)
    };
    v.decided(relation, make).map_or(Access::Invalid, Access::Visible)
}

/// `None` when a column's type is not in the snapshot: its mask cannot be written.
fn decide(relation: &Arc<Relation>, view: View, v: &Visibility<'_>) -> Option<RelationDecision> {
    let mut columns = relation.columns.iter().map(|c| column(c, &view, v)).collect::<Option<Vec<_>>>()?;
    let predicate = match view.rows {
        Rows::All => None,
        Rows::None => Some("false".to_owned()),
        Rows::Where(ref sql) => Some(sql.clone()),
    };
    let query = if CLOSED.contains(&relation.name.name.as_str()) {
        let value = |c: &Column| mask(c, &Shown::Null, v).map(|m| format!("{} AS {}", m.sql, quote_ident(&c.name)));
        let values = relation.columns.iter().map(value);
        let values = values.collect::<Option<Vec<_>>>()?.join(", ");
        Some(Arc::new(Query {
            sql: format!("SELECT {values} WHERE false"),
            relation: Arc::clone(relation),
            total: true,
        }))
    } else if view.extra.is_empty() {
        None
    } else {
        let sql = with_extra(relation, &columns, predicate.as_deref(), &view, v)?;
        columns.iter_mut().for_each(|c| c.mask = None);
        Some(Arc::new(Query { sql, relation: Arc::clone(relation), total: true }))
    };
    let predicate = predicate.filter(|_| query.is_none());
    let rows = predicate.map(|sql| RowPredicate {
        sql: sql.into(),
        total: true,
        has_subquery: false,
        policy: POLICY.into(),
        summary: "objects the caller may see".to_owned(),
    });
    Some(RelationDecision {
        source: relation.name.to_string().into(),
        logical: relation.name.clone(),
        remote: relation.name.clone(),
        oid: relation.oid,
        query,
        comments: Arc::default(),
        tags: Default::default(),
        columns,
        rows: rows.into_iter().collect(),
        companions: Vec::new(),
        unmet_purposes: Vec::new(),
        write: false,
        valid_until: None,
        trace: Vec::new(),
    })
}

/// The rows shown of the relation itself, masked, and those that it does not have.
fn with_extra(
    relation: &Relation,
    columns: &[ColumnDecision],
    predicate: Option<&str>,
    view: &View,
    v: &Visibility<'_>,
) -> Option<String> {
    let own: Vec<String> = columns
        .iter()
        .map(|c| match &c.mask {
            Some(mask) => format!("{} AS {}", mask.sql, quote_ident(&c.name)),
            None => col(&c.name),
        })
        .collect();
    let mut sql = format!("SELECT {} FROM {} AS {ROW_ALIAS}", own.join(", "), relation.name.to_sql());
    if let Some(predicate) = predicate {
        sql.push_str(&format!(" WHERE {predicate}"));
    }
    let is_constant = |extra: &&Extra| extra.iter().all(|(_, shown)| !matches!(shown, Shown::Expression(_)));
    let (constant, computed): (Vec<&Extra>, Vec<&Extra>) = view.extra.iter().partition(is_constant);
    if !constant.is_empty() {
        sql.push_str(&constants(relation, &constant, v));
    }
    for extra in computed {
        let values = relation.columns.iter().map(|c| {
            let given = extra.iter().find(|(name, _)| *name == c.name).map(|(_, shown)| shown);
            let general = general_mask(c, v).filter(|shown| !matches!(shown, Shown::Expression(_)));
            mask(c, given.or(general.as_ref()).unwrap_or(&Shown::Null), v).map(|m| m.sql.to_string())
        });
        sql.push_str(&format!(" UNION ALL SELECT {}", values.collect::<Option<Vec<_>>>()?.join(", ")));
    }
    Some(sql)
}

/// Rows of constants, all of them as one: a JSON text that is spread by the relation's own row type (PostgreSQL manual, 9.16).
fn constants(relation: &Relation, rows: &[&Extra], v: &Visibility<'_>) -> String {
    let row = |extra: &&Extra| {
        let value = |c: &Column| {
            let given = extra.iter().find(|(name, _)| *name == c.name).map(|(_, shown)| shown);
            let general = general_mask(c, v);
            match given.or(general.as_ref()) {
                Some(Shown::Constant(text)) => Some((c.name.clone(), Value::String(text.clone()))),
                Some(Shown::Null | Shown::Expression(_)) | None => None,
            }
        };
        Value::Object(relation.columns.iter().filter_map(value).collect())
    };
    let names: Vec<String> = relation.columns.iter().map(|c| format!("_x.{}", quote_ident(&c.name))).collect();
    format!(
        " UNION ALL SELECT {} FROM pg_catalog.json_populate_recordset(NULL::{}, {}::pg_catalog.json) AS _x",
        names.join(", "),
        relation.name.to_sql(),
        quote_literal(&Value::Array(rows.iter().map(row).collect()).to_string())
    )
}

fn column(c: &Column, view: &View, v: &Visibility<'_>) -> Option<ColumnDecision> {
    let own = view.masks.iter().find(|(name, _)| *name == c.name).map(|(_, shown)| shown);
    let general = general_mask(c, v);
    let mask = match (own.or(general.as_ref()), &view.rows) {
        // No row, nothing to mask.
        (None, _) | (_, Rows::None) => None,
        (Some(shown), _) => Some(mask(c, shown, v)?),
    };
    Some(ColumnDecision { name: c.name.clone(), type_oid: c.type_oid, typmod: c.typmod, mask })
}

/// What holds in every relation: access lists name roles, owners are roles, catalogs are databases by their real name.
fn general_mask(c: &Column, v: &Visibility<'_>) -> Option<Shown> {
    let owner = c.name.ends_with("owner");
    match c.type_oid.0 {
        ACL_TYPE => Some(Shown::Null),
        OID_TYPE if owner => Some(Shown::Constant(OWNER_OID.to_string())),
        NAME_TYPE if owner => Some(Shown::Constant(OWNER_NAME.to_owned())),
        _ if c.name.ends_with("_catalog") || c.name == "catalog_name" => {
            let sql = format!("CASE WHEN {} IS NOT NULL THEN {} END", col(&c.name), quote_literal(v.database));
            Some(Shown::Expression(sql))
        }
        _ => None,
    }
}

fn mask(c: &Column, shown: &Shown, v: &Visibility<'_>) -> Option<MaskDecision> {
    let kind = &v.catalog.types.get(&c.type_oid)?.sql;
    let (sql, name, constant) = match shown {
        Shown::Null => (format!("CAST(NULL AS {kind})"), "Null", true),
        Shown::Constant(text) => (format!("CAST({} AS {kind})", quote_literal(text)), "Constant", true),
        Shown::Expression(sql) => (format!("CAST(({sql}) AS {kind})"), "Catalog", false),
    };
    Some(MaskDecision {
        sql: sql.into(),
        kind: name,
        total: true,
        policy: POLICY.into(),
        type_mismatch: false,
        constant,
    })
}
