//! A session's own temporary tables: what its names in `pg_temp` stand for.
//!
//! In: the answer to [`PROBE`], asked on the session's own connection, or the change that a planned statement will make. Out:
//! [`Scratch`], an overlay on the catalog for that session alone, and an input of every plan of it. Must never: hold a table of another
//! session, or let a name stand for something when it is not known whether it does.

use super::{Column, Constraint, Index, Relation, RelationKind};
use crate::policy::decision::{ColumnDecision, RelationDecision};
use crate::types::{Oid, QualifiedName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The schema that always means a session's own temporary one (PostgreSQL manual, 20.11.1 on `search_path`).
pub const SCHEMA: &str = "pg_temp";

/// Asks the warehouse for the session's temporary tables: one row with a JSON text, or none. `pg_depend` leads from the schema to its
/// tables through an index, however many relations there are.
pub const PROBE: &str = "SELECT pg_catalog.json_build_object(\
    'schema', n.nspname, 'oid', n.oid::pg_catalog.int8, 'tables', (\
      SELECT pg_catalog.json_agg(pg_catalog.json_build_object(\
        'oid', c.oid::pg_catalog.int8, 'name', c.relname, 'type', c.reltype::pg_catalog.int8, \
        'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'number', a.attnum, \
            'type', a.atttypid::pg_catalog.int8, 'typmod', a.atttypmod, 'notnull', a.attnotnull, \
            'collation', a.attcollation::pg_catalog.int8, 'generated', a.attgenerated <> ''::pg_catalog.\"char\") ORDER BY a.attnum) \
          FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
        'indexes', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', x.oid::pg_catalog.int8, 'name', x.relname) \
            ORDER BY x.oid) \
          FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid), \
        'constraints', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('oid', k.oid::pg_catalog.int8, 'name', k.conname, \
            'kind', k.contype) ORDER BY k.oid) \
          FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid)) ORDER BY c.oid) \
      FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.objid \
      WHERE d.refclassid = 2615::pg_catalog.oid AND d.refobjid = n.oid AND d.classid = 1259::pg_catalog.oid \
        AND c.relnamespace = n.oid AND c.relkind = 'r'::pg_catalog.\"char\"))::pg_catalog.text \
    FROM pg_catalog.pg_namespace AS n WHERE n.oid = pg_catalog.pg_my_temp_schema()";

/// A column of a temporary table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchColumn {
    /// Name.
    pub name: String,
    /// Type; `None` when a statement makes the table and nobody has asked the warehouse yet.
    pub type_oid: Option<Oid>,
    /// Collation, 0 for none or when it is not known.
    pub collation: Oid,
}

/// A temporary table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScratchTable {
    /// Its columns; `None` when a statement makes the table whose columns cannot be foretold.
    pub columns: Option<Vec<ScratchColumn>>,
    /// How the virtual catalog shows it, once the warehouse has been asked.
    pub shown: Option<(Arc<RelationDecision>, Arc<Relation>)>,
}

/// What a statement does to the session's temporary tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A table is made.
    Create {
        /// Its name.
        name: String,
        /// Its columns, as far as they can be foretold.
        columns: Option<Vec<ScratchColumn>>,
        /// ON COMMIT DROP.
        until_commit: bool,
        /// IF NOT EXISTS.
        unless_there: bool,
    },
    /// Tables are dropped.
    Drop(Vec<String>),
    /// A table gets another name.
    Rename {
        /// From this.
        from: String,
        /// To this.
        to: String,
    },
    /// A table gets these columns.
    Columns {
        /// Its name.
        name: String,
        /// All its columns, afterwards.
        columns: Option<Vec<ScratchColumn>>,
    },
    /// Something that the virtual catalog shows, and names do not depend on (an index).
    Detail,
    /// All are dropped (DISCARD).
    Clear,
}

/// The temporary tables of one session.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Whether callers may make any.
    pub enabled: bool,
    /// `pg_temp_N` and its OID, once the session has one.
    pub schema: Option<(String, Oid)>,
    tables: BTreeMap<String, ScratchTable>,
    /// Whether it is known which names there are.
    certain: bool,
    /// Whether the warehouse said so, or statements before this one foretell it.
    exact: bool,
    digest: u64,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::none(true)
    }
}

impl PartialEq for Scratch {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.enabled == other.enabled
            && self.certain == other.certain
            && self.exact == other.exact
            && self.schema == other.schema
            && self.tables == other.tables
    }
}

impl Eq for Scratch {}

impl Hash for Scratch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Scratch {
    /// No temporary tables.
    pub fn none(enabled: bool) -> Self {
        Self { enabled, schema: None, tables: BTreeMap::new(), certain: true, exact: true, digest: 0 }.digested()
    }

    fn digested(mut self) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.enabled, self.certain, self.exact, &self.schema).hash(&mut hasher);
        for (name, table) in &self.tables {
            name.hash(&mut hasher);
            for column in table.columns.iter().flatten() {
                (&column.name, column.type_oid, column.collation).hash(&mut hasher);
            }
            table.shown.as_ref().map(|(_, r)| r.oid).hash(&mut hasher);
        }
        self.digest = hasher.finish();
        self
    }

    /// Whether no name can stand for a temporary table.
    pub fn is_empty(&self) -> bool {
        self.certain && self.tables.is_empty()
    }

    /// Whether it is known which names there are.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// Whether the warehouse was asked since the last change.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// A table by name.
    pub fn table(&self, name: &str) -> Option<&ScratchTable> {
        self.tables.get(name)
    }

    /// Whether a schema's name means the session's own temporary one.
    pub fn is_schema(&self, name: &str) -> bool {
        name == SCHEMA || self.schema.as_ref().is_some_and(|(own, _)| own == name)
    }

    /// The tables as the virtual catalog shows them.
    pub fn shown(&self) -> impl Iterator<Item = (&Arc<RelationDecision>, &Arc<Relation>)> {
        self.tables.values().filter_map(|t| t.shown.as_ref().map(|(d, r)| (d, r)))
    }

    /// The same after a statement that makes this change and succeeds.
    #[must_use]
    pub fn after(&self, change: &Change) -> Self {
        let mut next = self.clone();
        next.exact = false;
        match change {
            Change::Create { name, columns, unless_there, .. } => {
                if !(*unless_there && next.tables.contains_key(name)) {
                    next.tables.insert(name.clone(), ScratchTable { columns: columns.clone(), shown: None });
                }
            }
            Change::Drop(names) => {
                for name in names {
                    next.tables.remove(name);
                }
            }
            Change::Rename { from, to } => {
                if let Some(table) = next.tables.remove(from) {
                    next.tables.insert(to.clone(), ScratchTable { shown: None, ..table });
                }
            }
            Change::Columns { name, columns } => {
                next.tables.insert(name.clone(), ScratchTable { columns: columns.clone(), shown: None });
            }
            Change::Detail => {}
            Change::Clear => {
                next.tables.clear();
                next.certain = true;
            }
        }
        next.digested()
    }

    /// The same after something whose outcome cannot be foretold: a transaction that made or dropped tables was undone.
    #[must_use]
    pub fn unknown(&self) -> Self {
        Self { certain: false, exact: false, ..self.clone() }.digested()
    }

    /// The same without the tables that are none of the session's statements: a trigger or function of the warehouse may leave some
    /// behind, with whatever it read.
    #[must_use]
    pub fn only(mut self, own: impl Fn(&str, Oid) -> bool) -> Self {
        self.tables.retain(|name, table| table.shown.as_ref().is_some_and(|(_, relation)| own(name, relation.oid)));
        self.digested()
    }

    /// What the warehouse answered to [`PROBE`]: the text of its only row. `None` when it is not such an answer.
    pub fn read(&self, answer: Option<&str>) -> Option<Self> {
        let mut found = Self::none(self.enabled);
        let Some(text) = answer else { return Some(found) };
        let answer: Value = serde_json::from_str(text).ok()?;
        let schema = answer.get("schema")?.as_str()?.to_owned();
        for table in list(&answer, "tables")? {
            let relation = Arc::new(relation(table, &schema)?);
            let columns = relation.columns.iter().map(|c| ScratchColumn {
                name: c.name.clone(),
                type_oid: Some(c.type_oid),
                collation: c.collation,
            });
            let table = ScratchTable {
                columns: Some(columns.collect()),
                shown: Some((Arc::new(decision(&relation)), Arc::clone(&relation))),
            };
            found.tables.insert(relation.name.name.clone(), table);
        }
        found.schema = Some((schema, oid(&answer, "oid")?));
        Some(found.digested())
    }
}

/// A list that is NULL when it is empty.
fn list<'v>(value: &'v Value, key: &str) -> Option<&'v [Value]> {
    match value.get(key)? {
        Value::Array(items) => Some(items),
        Value::Null => Some(&[]),
        _ => None,
    }
}

fn oid(value: &Value, key: &str) -> Option<Oid> {
    value.get(key)?.as_u64().and_then(|n| u32::try_from(n).ok()).map(Oid)
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn relation(table: &Value, schema: &str) -> Option<Relation> {
    let mut relation = Relation {
        oid: oid(table, "oid")?,
        name: QualifiedName::new(schema, text(table, "name")?),
        kind: RelationKind::Table,
        row_type: oid(table, "type")?,
        ..Relation::default()
    };
    for column in list(table, "columns")? {
        relation.columns.push(Column {
            name: text(column, "name")?,
            number: i16::try_from(column.get("number")?.as_i64()?).ok()?,
            type_oid: oid(column, "type")?,
            typmod: i32::try_from(column.get("typmod")?.as_i64()?).ok()?,
            not_null: column.get("notnull")?.as_bool()?,
            collation: oid(column, "collation")?,
            generated: column.get("generated")?.as_bool()?,
            has_default: false,
        });
    }
    // All of a session's own table is shown to it: which columns an index or a constraint names does not matter.
    for index in list(table, "indexes")? {
        relation.indexes.push(Index {
            oid: oid(index, "oid")?,
            name: text(index, "name")?,
            columns: None,
            alien: false,
        });
    }
    for constraint in list(table, "constraints")? {
        relation.constraints.push(Constraint {
            oid: oid(constraint, "oid")?,
            name: text(constraint, "name")?,
            kind: text(constraint, "kind")?.chars().next()?,
            columns: Some(Vec::new()),
            ..Constraint::default()
        });
    }
    Some(relation)
}

/// All of it, as it is: what is in a temporary table is what its owner has seen.
fn decision(relation: &Relation) -> RelationDecision {
    let columns = relation.columns.iter().map(|c| ColumnDecision {
        name: c.name.clone(),
        type_oid: c.type_oid,
        typmod: c.typmod,
        mask: None,
    });
    RelationDecision {
        source: relation.name.to_string().into(),
        logical: relation.name.clone(),
        remote: relation.name.clone(),
        oid: relation.oid,
        query: None,
        comments: Arc::default(),
        tags: Default::default(),
        columns: columns.collect(),
        rows: Vec::new(),
        companions: Vec::new(),
        unmet_purposes: Vec::new(),
        write: true,
        valid_until: None,
        trace: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"schema":"pg_temp_3","oid":16500,"tables":[{"oid":16501,"name":"t","type":16503,"columns":[
        {"name":"a","number":1,"type":23,"typmod":-1,"notnull":true,"collation":0,"generated":false}],
        "indexes":[{"oid":16504,"name":"t_pkey"}],"constraints":[{"oid":16505,"name":"t_pkey","kind":"p"}]}]}"#;

    fn made(name: &str, unless_there: bool) -> Change {
        Change::Create { name: name.into(), columns: None, until_commit: false, unless_there }
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let none = Scratch::none(true);
        assert_eq!(none.read(None), Some(none.clone()));
        let found = none.read(Some(ANSWER)).unwrap();
        assert!(!found.is_empty() && found.is_exact() && found.is_schema("pg_temp_3") && found.is_schema("pg_temp"));
        assert!(!found.is_schema("pg_temp_4"));
        let table = found.table("t").unwrap();
        assert_eq!(table.columns.as_ref().unwrap()[0].type_oid, Some(Oid(23)));
        assert_eq!(found.shown().count(), 1);
        for broken in ["", "null", "{}", r#"{"schema":"x","oid":1}"#, &ANSWER.replace("23", "\"int4\"")] {
            assert_eq!(none.read(Some(broken)), None, "{broken}");
        }
        assert_eq!(none.read(Some(r#"{"schema":"pg_temp_3","oid":1,"tables":null}"#)).unwrap().shown().count(), 0);
    }

    #[test]
    fn another_table_of_the_same_name_is_another_key() {
        let none = Scratch::none(true);
        let (one, two) = (none.read(Some(ANSWER)), none.read(Some(&ANSWER.replace("16501", "16601"))));
        assert_ne!(one, two);
        let wider = none.read(Some(&ANSWER.replace("\"type\":23", "\"type\":20")));
        assert_ne!(one, wider);
        assert_ne!(Scratch::none(true), Scratch::none(false));
    }

    #[test]
    fn changes_are_foretold() {
        let none = Scratch::none(true);
        let one = none.after(&made("t", false));
        assert!(one.table("t").is_some() && !one.is_exact() && one.is_certain());
        let found = none.read(Some(ANSWER)).unwrap();
        assert!(found.after(&made("t", true)).table("t").unwrap().shown.is_some(), "it was there");
        assert!(found.after(&made("t", false)).table("t").unwrap().shown.is_none());
        let renamed = found.after(&Change::Rename { from: "t".into(), to: "u".into() });
        assert!(renamed.table("t").is_none() && renamed.table("u").unwrap().columns.is_some());
        assert!(found.after(&Change::Drop(vec!["t".into()])).is_empty());
        assert!(found.clone().only(|name, oid| name == "t" && oid == Oid(16501)).table("t").is_some());
        assert!(found.clone().only(|_, oid| oid == Oid(1)).is_empty());
        let unknown = found.unknown();
        assert!(!unknown.is_empty() && !unknown.is_certain());
        assert!(!none.unknown().is_empty(), "nothing known to be there is not nothing there");
        assert!(unknown.after(&Change::Clear).is_empty());
        assert!(!unknown.after(&made("t", false)).is_certain());
    }
}
