//! The decision for one caller and one relation: the one value that the rewriter, `explain` and the audit record read.

use crate::catalog::own::is_own;
use crate::catalog::visibility::is_system;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::types::{Oid, QualifiedName, quote_ident};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The alias under which every predicate and mask expression refers to the relation's own columns: `_sv."column"`.
pub const ROW_ALIAS: &str = "_sv";

/// What a caller may see of one relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    /// Not registered, or not to be seen: 42P01.
    Hidden,
    /// Registered, not subscribed, discoverable: 42501 and a hint how to get access.
    Discoverable {
        /// What to do to get access.
        hint: String,
    },
    /// The relation's policy cannot be evaluated (invalid): 42501, refuse until mended.
    Invalid,
    /// Visible under this decision.
    Visible(Arc<RelationDecision>),
}

/// How a visible relation is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationDecision {
    /// Data source name, or the catalog relation's name for system catalogs.
    pub source: Arc<str>,
    /// Name callers write.
    pub logical: QualifiedName,
    /// Relation in the warehouse.
    pub remote: QualifiedName,
    /// OID in the warehouse at this catalog version; a synthetic one for a query source.
    pub oid: Oid,
    /// The SELECT that stands where the relation stands, when it is none of the warehouse, or not that alone.
    pub query: Option<Arc<Query>>,
    /// What callers are told the relation is about, and its columns, by name.
    pub comments: Arc<Comments>,
    /// The tags it carries, and those of its columns: for the audit record.
    pub tags: Arc<Tags>,
    /// The dictionary, in order.
    pub columns: Vec<ColumnDecision>,
    /// Row predicates, ANDed. Empty = every row.
    pub rows: Vec<RowPredicate>,
    /// What masks look at besides the row's own columns.
    pub companions: Vec<Companion>,
    /// Purposes that would satisfy an unmet purpose restriction (a NOTICE names them); empty = none unmet.
    pub unmet_purposes: Vec<String>,
    /// Whether the caller may write (WRITE granted): INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM.
    pub write: bool,
    /// The decision holds until this instant (grant expiry); `None` = until something changes.
    pub valid_until: Option<SystemTime>,
    /// Every rule that touches the relation, in order. [`super::Ruleset::considered`] tells of the others too.
    pub trace: Vec<RuleTrace>,
}

/// Descriptions of a data source, shown as comments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comments {
    /// Of the data source.
    pub relation: Option<String>,
    /// Of its columns: name and text.
    pub columns: Vec<(String, String)>,
}

/// The tags of a data source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// Of the relation.
    pub relation: Vec<String>,
    /// Of those of its columns that carry any, by name.
    pub columns: BTreeMap<String, Vec<String>>,
}

/// A SELECT that stands where a relation stands. Never shown: its conditions hide rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its text, without parentheses.
    pub sql: String,
    /// The relation it is for callers.
    pub relation: Arc<Relation>,
    /// Never raises on any row.
    pub total: bool,
}

/// Bytes from which a mask is long.
const LONG_MASK: usize = 2_000;

impl RelationDecision {
    /// What stands in FROM, as SQL: the relation, or its query in parentheses.
    pub fn relation_sql(&self) -> String {
        self.query.as_ref().map_or_else(|| self.remote.to_sql(), |query| format!("({})", query.sql))
    }
    /// The relation the decision is about: that of the query, or the warehouse's.
    pub fn relation<'a>(&'a self, catalog: &'a Catalog) -> Option<&'a Arc<Relation>> {
        match &self.query {
            Some(query) => Some(&query.relation),
            None => catalog.relations.get(&self.remote),
        }
    }
    /// Whether the relation is one of the system's or of the proxy's.
    pub fn is_of_system(&self) -> bool {
        is_system(&self.remote.schema) || (self.query.is_some() && is_own(&self.remote.schema))
    }
    /// Bytes of the expressions that stand for the relation in every statement that reads it; 0 for those that carry no policy.
    pub fn weight(&self) -> usize {
        if self.is_of_system() {
            return 0;
        }
        self.texts().map(str::len).sum()
    }
    /// Bytes of memory that the decision takes, about.
    pub fn bytes(&self) -> u64 {
        let columns = self.columns.iter().map(|c| size_of::<ColumnDecision>() + c.name.len());
        let rows = self.rows.iter().map(|r| size_of::<RowPredicate>() + r.summary.len());
        let rules = self.trace.iter().map(|rule| {
            let columns = rule.columns.iter().chain(&rule.existing_masking);
            let columns: usize = columns.map(|name| size_of::<String>() + name.len()).sum();
            size_of::<RuleTrace>() + rule.kind.len() + rule.why.len() + columns
        });
        let texts = self.texts().map(str::len);
        let all: usize = columns.chain(rows).chain(rules).chain(texts).sum();
        (size_of::<Self>() + all).try_into().unwrap_or(u64::MAX)
    }
    /// The expressions that stand for the relation.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let masks = self.columns.iter().filter_map(|c| c.mask.as_ref()).map(|m| &*m.sql);
        let rows = self.rows.iter().map(|r| &*r.sql);
        let companions = self.companions.iter().map(|c| &*c.sql);
        masks.chain(rows).chain(companions).chain(self.query.as_ref().map(|q| q.sql.as_str()))
    }
    /// Whether some mask is so long that the planner must not copy it to every place that mentions the column.
    pub fn masks_at_length(&self) -> bool {
        self.columns.iter().filter_map(|c| c.mask.as_ref()).any(|m| m.sql.len() > LONG_MASK)
    }
    /// Whether the relation is a view that somebody made in the warehouse, or may be one on another server: its own conditions may hide
    /// rows.
    pub fn is_view(&self, catalog: &Catalog) -> bool {
        let view = |r: &Arc<Relation>| r.kind == RelationKind::View || r.opaque;
        !is_system(&self.remote.schema) && self.relation(catalog).is_some_and(view)
    }
    /// Whether anything of the relation is hidden: rows, or a column's values. The conditions of a query hide rows.
    pub fn hides_anything(&self) -> bool {
        self.query.is_some() || !self.rows.is_empty() || self.columns.iter().any(|c| c.mask.is_some())
    }
    /// Whether the bare relation holds what the caller sees and nothing else, the warehouse's own doings included (views, row-level
    /// security): then its plan tells nothing more either.
    pub fn shows_everything(&self, catalog: &Catalog) -> bool {
        let Some(relation) = self.relation(catalog) else { return false };
        let kinds = [RelationKind::Table, RelationKind::Partitioned, RelationKind::MaterializedView];
        !self.hides_anything()
            && self.companions.is_empty()
            && self.unmet_purposes.is_empty()
            && !is_system(&self.remote.schema)
            && kinds.contains(&relation.kind)
            && !relation.row_security
            && relation.columns.iter().map(|c| &c.name).eq(self.columns.iter().map(|c| &c.name))
            // A cast made for the relation's own row type would be found where the policy view has none.
            && !catalog.casts.keys().any(|(from, _)| *from == relation.row_type)
    }
    /// Whether a predicate or mask may itself raise a data error, so that data errors must be canonical. A query may.
    pub fn may_raise(&self) -> bool {
        self.query.as_ref().is_some_and(|query| !query.total)
            || self.rows.iter().any(|r| !r.total)
            || self.columns.iter().filter_map(|c| c.mask.as_ref()).any(|m| !m.total)
    }
}

/// One column of the dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDecision {
    /// Name callers write, and the warehouse's.
    pub name: String,
    /// Type OID.
    pub type_oid: Oid,
    /// Type modifier, -1 for none.
    pub typmod: i32,
    /// The mask in force.
    pub mask: Option<MaskDecision>,
}

/// A mask on a column.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskDecision {
    /// SQL expression of the column's own type and typmod, over `_sv."col"` ([`ROW_ALIAS`]). Contains secrets (salts): never shown.
    pub sql: Arc<str>,
    /// What to call it: `Hash`, `Null`, …
    pub kind: &'static str,
    /// Never raises on any row.
    pub total: bool,
    /// The policy that decided.
    pub policy: Arc<str>,
    /// `dataTypeMismatch`: the mask did not fit the type and became NULL.
    pub type_mismatch: bool,
    /// The value does not depend on the row at all (NULL, constant).
    pub constant: bool,
}

/// One row beside each row of the relation, holding what several masks share: `LEFT JOIN LATERAL (SELECT …) AS alias ON TRUE`. As a
/// join that cannot change which rows there are or their order, and that the planner drops when nothing looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Companion {
    /// Its alias; begins as [`COMPANION_PREFIX`] does.
    pub alias: Arc<str>,
    /// A SELECT of exactly one row.
    pub sql: Arc<str>,
}

/// How the aliases of companions begin.
pub const COMPANION_PREFIX: &str = "_sk";

impl Companion {
    /// What is joined to the relation's FROM item.
    pub fn join_sql(&self) -> String {
        format!(" LEFT JOIN LATERAL ({}) AS {} ON TRUE", self.sql, quote_ident(&self.alias))
    }
}

/// One row predicate.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPredicate {
    /// SQL boolean expression over `_sv."col"`. May contain caller values: never shown to other callers.
    pub sql: Arc<str>,
    /// Never raises on any row.
    pub total: bool,
    /// Holds a sub-query that the planner may turn into a join.
    pub has_subquery: bool,
    /// The policy that decided.
    pub policy: Arc<str>,
    /// One line for `explain`, without secrets.
    pub summary: String,
}

/// One rule considered, for `explain` and the audit record.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTrace {
    /// The policy.
    pub policy: Arc<str>,
    /// 0-based action and rule, when the policy has rules.
    pub rule: Option<(usize, usize)>,
    /// What kind of rule: `Masking (Hash)`, `subscription entitlements`, …
    pub kind: String,
    /// Columns it concerns.
    pub columns: Vec<String>,
    /// Whether it shaped the decision.
    pub applied: bool,
    /// Why, or why not.
    pub why: String,
    /// Columns on which a local mask stands in the place of this global one: reported as `conflict: existingMasking`, `disabled: true`.
    pub existing_masking: Vec<String>,
}

/// A type's name as SQL, qualified, with its modifier when there is one (-1: none). `None`: not in the catalog.
pub fn type_text(catalog: &Catalog, oid: Oid, typmod: i32) -> Option<String> {
    super::sqltype::type_sql(catalog, oid, typmod)
}

/// Whether values of a type are surely compared by an operator of its own.
pub fn has_equality(catalog: &Catalog, oid: Oid) -> bool {
    use super::sqltype::{is_number, is_temporal, is_text, oids};
    let base = super::sqltype::base_type(catalog, oid);
    is_number(base) || is_text(base) || is_temporal(base) || [oids::BOOL, oids::UUID, oids::BYTEA].contains(&base)
}
