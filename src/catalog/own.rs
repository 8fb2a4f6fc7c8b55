//! The relations that the proxy answers itself: what a caller may see, and why, in a schema of its own.
//!
//! In: rows as data. Out: relations whose rows stand in the statement as one constant, so that they join, filter and describe like any
//! other. Must never: ask the warehouse for anything, or show a row that was not made for this caller.
//!
//! The rows are one JSON text that `json_to_recordset` spreads (PostgreSQL manual, 9.16): a constant of any size is one node of the tree.

use super::synthetic::own_oid;
use super::{Column, Relation, RelationKind};
use crate::policy::decision::{Access, ColumnDecision, Comments, Query, RelationDecision};
use crate::types::{Oid, QualifiedName, quote_ident, quote_literal};
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

/// The schema. Nothing of the warehouse can be called so.
pub const SCHEMA: &str = "sqlveil";

/// `DEFAULT_COLLATION_OID` (pg_collation.dat).
const DEFAULT_COLLATION: Oid = Oid(100);

/// Types of columns (pg_type.dat).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    Texts,
}

impl Kind {
    pub(crate) fn oid(self) -> Oid {
        match self {
            Self::Bool => Oid(16),
            Self::Text => Oid(25),
            Self::Texts => Oid(1009),
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Bool => "pg_catalog.bool",
            Self::Text => "pg_catalog.text",
            Self::Texts => "pg_catalog.text[]",
        }
    }

    fn collation(self) -> Oid {
        match self {
            Self::Bool => Oid(0),
            Self::Text | Self::Texts => DEFAULT_COLLATION,
        }
    }
}

/// Which relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// `my_access`: every relation the caller may know of and every column, how it is seen, why, and what would show more.
    Access,
    /// `my_projects`: the projects the caller is a member of.
    Projects,
    /// `my_purposes`: their purposes.
    Purposes,
    /// `pending_acknowledgements`: texts to accept before entering a project.
    Pending,
}

impl Own {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Access, Self::Projects, Self::Purposes, Self::Pending];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "my_access",
            Self::Projects => "my_projects",
            Self::Purposes => "my_purposes",
            Self::Pending => "pending_acknowledgements",
        }
    }

    /// By its name in the schema.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    fn number(self) -> u32 {
        match self {
            Self::Access => 0,
            Self::Projects => 1,
            Self::Purposes => 2,
            Self::Pending => 3,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Access => "what you may see, how, why, and what would show more",
            Self::Projects => "the projects you are a member of",
            Self::Purposes => "the purposes of your projects",
            Self::Pending => "texts to accept before you can act in a project",
        }
    }

    /// Its columns: name and type. Names that `information_schema.columns` has mean the same, so that the two join.
    pub(crate) fn columns(self) -> &'static [(&'static str, Kind)] {
        use Kind::{Bool, Text, Texts};
        match self {
            Self::Access => &[
                ("table_schema", Text),
                ("table_name", Text),
                ("column_name", Text),
                ("seen", Text),
                ("mask", Text),
                ("why", Text),
                ("would_show_more", Text),
            ],
            Self::Projects => &[
                ("project", Text),
                ("name", Text),
                ("description", Text),
                ("purposes", Texts),
                ("acting", Bool),
                ("may_enter", Bool),
                ("equalized", Bool),
                ("masked_joins", Bool),
            ],
            Self::Purposes => &[("purpose", Text), ("project", Text), ("acting", Bool)],
            Self::Pending => &[("project", Text), ("purpose", Text), ("text", Text), ("accept", Text)],
        }
    }

    /// The relation as the virtual catalog shows it.
    pub fn shape(self) -> &'static Arc<RelationDecision> {
        static SHAPES: LazyLock<[Arc<RelationDecision>; 4]> =
            LazyLock::new(|| Own::ALL.map(|own| Arc::new(own.decision(&[], None))));
        let [access, projects, purposes, pending] = &*SHAPES;
        match self {
            Self::Access => access,
            Self::Projects => projects,
            Self::Purposes => purposes,
            Self::Pending => pending,
        }
    }

    /// The relation with these rows, each an object of column names; they hold until an instant.
    pub fn with(self, rows: &[Value], valid_until: Option<SystemTime>) -> Access {
        Access::Visible(Arc::new(self.decision(rows, valid_until)))
    }

    fn decision(self, rows: &[Value], valid_until: Option<SystemTime>) -> RelationDecision {
        let name = QualifiedName::new(SCHEMA, self.name());
        let columns = self.columns();
        let oid = own_oid(self.number());
        let relation = Relation {
            oid,
            name: name.clone(),
            kind: RelationKind::View,
            columns: columns
                .iter()
                .zip(1..)
                .map(|((name, kind), number)| Column {
                    name: (*name).to_owned(),
                    number,
                    type_oid: kind.oid(),
                    typmod: -1,
                    collation: kind.collation(),
                    ..Column::default()
                })
                .collect(),
            ..Relation::default()
        };
        let query = Query { sql: self.sql(rows), relation: Arc::new(relation), total: true };
        RelationDecision {
            source: name.to_string().into(),
            logical: name.clone(),
            remote: name,
            oid,
            query: Some(Arc::new(query)),
            comments: Arc::new(Comments { relation: Some(self.description().to_owned()), columns: Vec::new() }),
            tags: Default::default(),
            columns: columns
                .iter()
                .map(|(name, kind)| ColumnDecision {
                    name: (*name).to_owned(),
                    type_oid: kind.oid(),
                    typmod: -1,
                    mask: None,
                })
                .collect(),
            rows: Vec::new(),
            companions: Vec::new(),
            unmet_purposes: Vec::new(),
            write: false,
            valid_until,
            trace: Vec::new(),
        }
    }

    fn sql(self, rows: &[Value]) -> String {
        let columns = self.columns();
        let names: Vec<String> = columns.iter().map(|(name, _)| format!("_o.{}", quote_ident(name))).collect();
        let types: Vec<String> =
            columns.iter().map(|(name, kind)| format!("{} {}", quote_ident(name), kind.sql())).collect();
        let json = Value::Array(rows.iter().map(without_nul).collect()).to_string();
        format!(
            "SELECT {} FROM pg_catalog.json_to_recordset({}::pg_catalog.json) AS _o({})",
            names.join(", "),
            quote_literal(&json),
            types.join(", ")
        )
    }
}

/// How the OIDs of all of them begin.
const OIDS: &str = "42949672";

/// Whether a statement asks for the proxy's own relations where it reads the catalog: its text names the schema, or one of them by its
/// OID, or the session looks for names there. Only then are they listed. Rows that the warehouse does not have cost a catalog its
/// indexes, and the columns of its rows their origin: that is not for every statement that looks at a table to pay.
pub fn is_asked_for(text: &str, search_path: &[String]) -> bool {
    let bytes = text.as_bytes();
    let named = || bytes.windows(SCHEMA.len()).any(|window| window.eq_ignore_ascii_case(SCHEMA.as_bytes()));
    let numbered =
        || text.contains(OIDS) && Own::ALL.iter().any(|own| text.contains(&own_oid(own.number()).to_string()));
    search_path.iter().any(|schema| is_own(schema)) || named() || numbered()
}

/// PostgreSQL's text holds no NUL, and JSON that escapes one is refused.
fn without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "")),
        Value::Array(items) => Value::Array(items.iter().map(without_nul).collect()),
        Value::Object(fields) => Value::Object(fields.iter().map(|(k, v)| (k.clone(), without_nul(v))).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether a schema is the proxy's own.
pub fn is_own(schema: &str) -> bool {
    schema == SCHEMA
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn their_oids_begin_alike() {
        assert!(Own::ALL.iter().all(|own| own_oid(own.number()).to_string().starts_with(OIDS)));
    }

    #[test]
    fn rows_are_one_constant() {
        let Access::Visible(decision) = Own::Purposes.with(&[json!({"purpose": "it's \\ \"x\"\u{0}"})], None) else {
            panic!("not visible")
        };
        let sql = decision.relation_sql();
        assert!(sql.contains(r#"'[{"purpose":"it''s \\ \"x\""}]'"#), "{sql}");
        assert!(crate::sql::parse(&format!("SELECT * FROM {sql} AS _sv")).is_ok(), "{sql}");
        assert!(decision.is_of_system() && decision.weight() == 0 && !decision.may_raise());
    }

    #[test]
    fn they_are_listed_where_they_are_asked_for() {
        let path = |schema: &str| vec!["public".to_owned(), schema.to_owned()];
        assert!(!is_asked_for("SELECT * FROM pg_class", &path("hr")));
        assert!(is_asked_for("SELECT * FROM pg_class", &path("sqlveil")));
        for text in ["nspname ~ '^(sqlveil)$'", "SQLVEIL.my_access", "WHERE c.oid = '4294967278'", "4294967281"] {
            assert!(is_asked_for(text, &path("hr")), "{text}");
        }
    }

    #[test]
    fn every_relation_has_a_place_of_its_own() {
        let oids: std::collections::BTreeSet<Oid> = Own::ALL.iter().map(|own| own.shape().oid).collect();
        assert_eq!(oids.len(), Own::ALL.len());
        assert!(Own::ALL.iter().all(|own| Own::of(own.name()) == Some(*own)));
        assert_eq!(Own::of("my_acces"), None);
    }
}
