//! Data sources: the data documents of one connection, expanded against the warehouse's catalog.
//!
//! In: documents and a catalog snapshot. Out: [`DataSource`]s with their dictionaries, and the problems found.
//! Must never: register a relation or column that the catalog does not hold, or one whose type it cannot vouch for.

use super::decision::{Comments, Query, Tags};
use super::nearest::did_you_mean;
use super::query;
use super::salt::{Salt, Salts};
use super::sqltype::unservable;
use crate::catalog::own::is_own;
use crate::catalog::{Catalog, Column, Relation, RelationKind, TypeInfo, synthetic};
use crate::governance::model::{
    ColumnFingerprint, DataDocument, Declared, DeclaredQuery, Origin, Owner, Source, TableSource,
};
use crate::governance::problem::Problem;
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// A registered relation.
#[derive(Clone)]
pub(crate) struct DataSource {
    /// Unique name.
    pub(crate) name: Arc<str>,
    /// What callers write.
    pub(crate) logical: QualifiedName,
    /// The relation in the warehouse.
    pub(crate) remote: QualifiedName,
    /// Its OID.
    pub(crate) oid: Oid,
    /// The SELECT that stands for it, when it is a query source; `remote` is then no name in the warehouse.
    pub(crate) query: Option<Arc<Query>>,
    /// Descriptions.
    pub(crate) comments: Arc<Comments>,
    /// Its tags and those of its columns, as records tell them.
    pub(crate) told_tags: Arc<Tags>,
    /// The dictionary, in the relation's order.
    pub(crate) columns: Vec<DictColumn>,
    /// Tags of the data source.
    pub(crate) tags: Vec<String>,
    /// Owners.
    pub(crate) owners: Vec<Owner>,
    /// Creation instant, when declared.
    pub(crate) created_at: Option<jiff::Timestamp>,
    /// `server` of its document.
    pub(crate) server: Option<String>,
    /// The `eventTime` column.
    pub(crate) event_time: Option<DictColumn>,
    /// The `highCardinality` column.
    pub(crate) high_cardinality: Option<DictColumn>,
    /// What tells rows apart: the primary key, else a unique constraint without NULLs, else the `highCardinality` column, else every
    /// column; nothing for a query or a view without that role.
    pub(crate) row_key: Vec<DictColumn>,
    /// Salt of its hashes.
    pub(crate) salt: Salt,
    /// Keys of policies that an owner applied to it.
    pub(crate) applied: BTreeSet<Arc<str>>,
}

impl DataSource {
    /// A data source is named by its name, or by what callers write.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.logical.to_string() == name
    }
}

impl DataSource {
    /// What stands in FROM: the relation, or its query in parentheses.
    pub(crate) fn relation_sql(&self) -> String {
        self.query.as_ref().map_or_else(|| self.remote.to_sql(), |query| format!("({})", query.sql))
    }
}

/// A column of a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DictColumn {
    /// Name.
    pub(crate) name: String,
    /// Type.
    pub(crate) type_oid: Oid,
    /// Type modifier.
    pub(crate) typmod: i32,
    /// Collation, 0 for none.
    pub(crate) collation: Oid,
    /// NOT NULL.
    pub(crate) not_null: bool,
    /// Tags.
    pub(crate) tags: Vec<String>,
    /// What its fingerprint says.
    pub(crate) fingerprint: Option<Arc<ColumnFingerprint>>,
}

impl DictColumn {
    fn of(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            type_oid: column.type_oid,
            typmod: column.typmod,
            collation: column.collation,
            not_null: column.not_null,
            tags: Vec::new(),
            fingerprint: None,
        }
    }
}

/// Expands the documents of one connection.
pub(crate) fn expand(
    declared: &Declared,
    connection_key: &str,
    catalog: &Catalog,
    salts: &Salts,
    problems: &mut Vec<Problem>,
) -> Vec<DataSource> {
    let mut expansion = Expansion {
        catalog,
        salts,
        problems,
        found: Vec::new(),
        names: BTreeSet::new(),
        logical: BTreeMap::new(),
        taken: synthetic::taken(catalog),
    };
    for document in declared.data.iter().filter(|d| d.connection_key == connection_key) {
        expansion.document(document);
    }
    expansion.found
}

struct Expansion<'a> {
    catalog: &'a Catalog,
    salts: &'a Salts,
    problems: &'a mut Vec<Problem>,
    found: Vec<DataSource>,
    names: BTreeSet<Arc<str>>,
    /// Places in `found` by logical name.
    logical: BTreeMap<QualifiedName, usize>,
    /// Synthetic OIDs that are taken.
    taken: HashSet<Oid>,
}

impl Expansion<'_> {
    fn document(&mut self, document: &DataDocument) {
        let mut named = BTreeSet::new();
        let mut all = document.sources.is_none().then(|| document.origin.clone());
        for source in document.sources.iter().flatten() {
            match source {
                Source::All { origin } => all = Some(origin.clone()),
                Source::Table(table) if table.query.is_some() => self.table(document, table),
                Source::Table(table) => {
                    if named.insert(table.remote.clone()) {
                        self.table(document, table);
                    } else {
                        self.problems.push(Problem::error(
                            &table.origin,
                            format!("table \"{}\" is listed twice", table.remote),
                            "keep one of the two entries",
                        ));
                    }
                }
            }
        }
        if let Some(origin) = all {
            let rest: BTreeMap<_, _> = self
                .catalog
                .relations
                .keys()
                .filter(|name| !is_system_schema(&name.schema) && !named.contains(*name))
                .filter(|name| document.schema.as_ref().is_none_or(|schema| *schema == name.schema))
                .map(|name| (name.clone(), ()))
                .collect();
            for remote in rest.into_keys() {
                self.table(document, &undeclared(remote, &origin));
            }
        }
    }

    fn table(&mut self, document: &DataDocument, table: &TableSource) {
        let logical = table.logical_name(document, &self.catalog.database);
        let (relation, query) = match &table.query {
            None => match self.catalog.relations.get(&table.remote).cloned() {
                Some(relation) => (relation, None),
                None => return self.unknown_table(table),
            },
            Some(declared) => match self.query(declared, &logical) {
                Some(query) => (Arc::clone(&query.relation), Some(query)),
                None => return,
            },
        };
        if !self.may_be_called(table, &logical) {
            return;
        }
        let name: Arc<str> = table.data_source_name(document, &self.catalog.database).into();
        let other = self.logical.get(&logical).and_then(|at| self.found.get(*at));
        if let Some(other) = other {
            self.problems.push(Problem::error(
                &table.origin,
                format!("both \"{}\" and \"{}\" would be called \"{logical}\"", other.remote, table.remote),
                "give one of them another name with `naming`",
            ));
            return;
        }
        if !self.names.insert(name.clone()) {
            self.problems.push(Problem::error(
                &table.origin,
                format!("two data sources are called \"{name}\""),
                "give one of them another `naming.datasource`",
            ));
            return;
        }
        if query.is_none() {
            self.depends_on_session(
                &table.origin,
                &format!("the view \"{}\"", table.remote),
                &relation.session_dependent,
            );
        }
        let columns = self.dictionary(table, &relation);
        let role = |column: &Option<String>, role: &str, problems: &mut Vec<Problem>| {
            let wanted = column.as_ref()?;
            let found = relation.columns.iter().find(|c| c.name == *wanted);
            if found.is_none() {
                problems.push(unknown_column(&table.origin, wanted, role, &table.remote, &relation));
            }
            found.map(DictColumn::of)
        };
        let event_time = role(&table.event_time, "eventTime", self.problems);
        let high_cardinality = role(&table.high_cardinality, "highCardinality", self.problems);
        let comments = Arc::new(self.comments(table, &relation));
        let mut tags = document.table_tags.clone();
        tags.extend(table.table_tags.iter().cloned());
        let of_columns = columns.iter().filter(|c| !c.tags.is_empty()).map(|c| (c.name.clone(), c.tags.clone()));
        let told_tags = Arc::new(Tags { relation: tags.clone(), columns: of_columns.collect() });
        self.logical.insert(logical.clone(), self.found.len());
        self.found.push(DataSource {
            salt: self.salts.source(&name),
            name,
            logical,
            remote: table.remote.clone(),
            oid: relation.oid,
            query,
            comments,
            told_tags,
            columns,
            tags,
            owners: table.owners.clone().unwrap_or_else(|| document.owners.clone()),
            created_at: table.created_at,
            server: document.server.clone(),
            event_time,
            row_key: row_key(&relation, high_cardinality.as_ref()),
            high_cardinality,
            applied: BTreeSet::new(),
        });
    }

    /// What a view or query shows may follow the settings of whoever reads it; row rules do not.
    fn depends_on_session(&mut self, origin: &Origin, what: &str, parts: &BTreeSet<String>) {
        if parts.is_empty() {
            return;
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.problems.push(Problem::warning(
            origin,
            format!(
                "{what} may show other rows under other settings (TimeZone, DateStyle): it uses {}",
                parts.join(", ")
            ),
            "fix the setting where rows depend on it, as in `seen AT TIME ZONE 'UTC'`, or use a row rule",
        ));
    }

    fn unknown_table(&mut self, table: &TableSource) {
        let known: Vec<String> = self.catalog.relations.keys().map(QualifiedName::to_string).collect();
        let hint = did_you_mean(&table.remote.to_string(), known.iter().map(String::as_str));
        let help = if hint.is_empty() { "check schema and table name in the warehouse".to_owned() } else { hint };
        self.problems.push(Problem::error(
            &table.origin,
            format!("table \"{}\" does not exist in the warehouse", table.remote),
            help,
        ));
    }

    /// A registered query as the warehouse described it. One that the warehouse could not be asked about yet is not there.
    fn query(&mut self, declared: &DeclaredQuery, logical: &QualifiedName) -> Option<Arc<Query>> {
        let problem = |message: String, help: String| Problem::error(&declared.origin, message, help);
        let canonical = match query::canonical(declared) {
            Ok(canonical) => canonical,
            Err(fault) => {
                self.problems.push(problem(fault.message, fault.help));
                return None;
            }
        };
        if let Some(missing) = canonical.relations.iter().find(|name| !self.catalog.relations.contains_key(*name)) {
            let known: Vec<String> = self.catalog.relations.keys().map(QualifiedName::to_string).collect();
            let hint = did_you_mean(&missing.to_string(), known.iter().map(String::as_str));
            let help = if hint.is_empty() { "check schema and name in the warehouse".to_owned() } else { hint };
            let message = format!("the query reads \"{missing}\", which the warehouse does not have");
            self.problems.push(problem(message, help));
            return None;
        }
        let described = match self.catalog.queries.get(&canonical.sql) {
            Some(Ok(columns)) => columns.clone(),
            Some(Err(why)) => {
                let help = "correct it; functions and types outside pg_catalog need their schema";
                self.problems.push(problem(format!("the warehouse refuses the query: {why}"), help.to_owned()));
                return None;
            }
            None => {
                let message =
                    format!("the query \"{logical}\" is not there until the warehouse has said what it gives");
                let help = "it is asked as soon as it can be reached";
                self.problems.push(Problem::warning(&declared.origin, message, help));
                return None;
            }
        };
        for function in canonical.volatile(self.catalog) {
            let message =
                format!("the query calls {function}(), which may answer differently each time, or change something");
            self.problems.push(Problem::warning(
                &declared.origin,
                message,
                "make sure that every caller may cause that",
            ));
        }
        self.depends_on_session(&declared.origin, "the query", &canonical.session_dependent(self.catalog));
        let relation = Relation {
            oid: synthetic::oid("query", &logical.to_string(), &mut self.taken),
            name: logical.clone(),
            kind: RelationKind::View,
            columns: described,
            ..Relation::default()
        };
        Some(Arc::new(Query { sql: canonical.sql, relation: Arc::new(relation), total: false }))
    }

    /// A logical name may be any that callers can write, in any schema but the system's own.
    fn may_be_called(&mut self, table: &TableSource, logical: &QualifiedName) -> bool {
        let wrong = if is_system_schema(&logical.schema) {
            Some(format!("\"{}\" belongs to the system", logical.schema))
        } else if is_own(&logical.schema) {
            Some(format!("\"{}\" holds what sqlveil answers itself", logical.schema))
        } else {
            // `NAMEDATALEN` (PostgreSQL manual, 4.1.1): longer names are cut when they are written.
            let long = [&logical.schema, &logical.name].into_iter().find(|name| name.is_empty() || name.len() > 63);
            long.map(|name| format!("\"{name}\" is not between 1 and 63 bytes long"))
        };
        let Some(wrong) = wrong else { return true };
        let message = format!("nothing can be called \"{logical}\": {wrong}");
        self.problems.push(Problem::error(
            &table.origin,
            message,
            "choose another name with `naming` or `nameTemplate`",
        ));
        false
    }

    /// The descriptions of a source; those of columns it does not have are errors.
    fn comments(&mut self, table: &TableSource, relation: &Relation) -> Comments {
        for (name, _) in &table.column_descriptions {
            if !relation.columns.iter().any(|c| c.name == *name) {
                let place = "columnDescriptions";
                self.problems.push(unknown_column(&table.origin, name, place, &table.remote, relation));
            }
        }
        Comments { relation: table.description.clone(), columns: table.column_descriptions.clone() }
    }

    fn dictionary(&mut self, table: &TableSource, relation: &Relation) -> Vec<DictColumn> {
        let mut columns = Vec::new();
        for declared in table.columns.iter().flatten() {
            match relation.columns.iter().find(|c| c.name == declared.name) {
                None => self.problems.push(unknown_column(
                    &table.origin,
                    &declared.name,
                    "columns",
                    &table.remote,
                    relation,
                )),
                Some(column) => {
                    if let Some(wanted) = &declared.data_type {
                        self.check_type(table, column, wanted);
                    }
                }
            }
        }
        for column in &relation.columns {
            let listed = table.columns.as_ref().is_none_or(|list| list.iter().any(|d| d.name == column.name));
            if !listed {
                continue;
            }
            if let Some(why) = unservable(self.catalog, column.type_oid) {
                self.problems.push(Problem::warning(
                    &table.origin,
                    format!("column \"{}\" of \"{}\" is left out: {why}", column.name, table.remote),
                    "serve it through a view that casts it to a built-in type",
                ));
                continue;
            }
            columns.push(DictColumn::of(column));
        }
        for (name, tags) in &table.column_tags {
            if !relation.columns.iter().any(|c| c.name == *name) {
                self.problems.push(unknown_column(&table.origin, name, "tags", &table.remote, relation));
            }
            for column in columns.iter_mut().filter(|c| c.name == *name) {
                column.tags.extend(tags.iter().cloned());
            }
        }
        columns
    }

    /// A declared `dataType` that is not the warehouse's: the warehouse's is used, and somebody should look.
    fn check_type(&mut self, table: &TableSource, column: &Column, wanted: &str) {
        let Some(info) = self.catalog.types.get(&column.type_oid) else { return };
        if !same_type(wanted, info) {
            self.problems.push(Problem::warning(
                &table.origin,
                format!(
                    "column \"{}\" of \"{}\" is declared as {wanted} and is {} in the warehouse",
                    column.name, table.remote, info.sql
                ),
                "the warehouse's type is used; correct or drop `dataType`",
            ));
        }
    }
}

/// The columns that tell rows apart, for masks that are stable per row.
fn row_key(relation: &Relation, high_cardinality: Option<&DictColumn>) -> Vec<DictColumn> {
    let named = |names: &[String]| -> Vec<DictColumn> {
        let find = |name: &String| relation.columns.iter().find(|c| c.name == *name).map(DictColumn::of);
        names.iter().filter_map(find).collect()
    };
    if !relation.primary_key.is_empty() {
        return named(&relation.primary_key);
    }
    let unique = relation.constraints.iter().filter(|c| c.kind == 'u').filter_map(|c| c.columns.as_deref());
    let strict = unique.map(named).find(|columns| !columns.is_empty() && columns.iter().all(|c| c.not_null));
    strict.unwrap_or_else(|| match high_cardinality {
        Some(column) => vec![column.clone()],
        // The rows of a query or a view come and go, repeat, and change with the session: together they are no key.
        None if relation.kind == RelationKind::View => Vec::new(),
        None => relation.columns.iter().map(DictColumn::of).collect(),
    })
}

fn undeclared(remote: QualifiedName, origin: &Origin) -> TableSource {
    TableSource {
        remote,
        query: None,
        data_source: None,
        logical_schema: None,
        logical_table: None,
        columns: None,
        table_tags: Vec::new(),
        column_tags: Vec::new(),
        owners: None,
        event_time: None,
        high_cardinality: None,
        created_at: None,
        description: None,
        column_descriptions: Vec::new(),
        origin: origin.clone(),
    }
}

fn unknown_column(origin: &Origin, name: &str, place: &str, table: &QualifiedName, relation: &Relation) -> Problem {
    Problem::error(
        origin,
        format!("`{place}` names column \"{name}\", which \"{table}\" does not have"),
        did_you_mean(name, relation.columns.iter().map(|c| c.name.as_str())),
    )
}

/// Schemas that hold the server's own objects (PostgreSQL reserves the prefix `pg_`).
pub(crate) fn is_system_schema(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// Whether a type written by a person is the one the catalog shows, modifiers aside.
fn same_type(wanted: &str, info: &TypeInfo) -> bool {
    let wanted = wanted.to_lowercase();
    let base = wanted.split('(').next().unwrap_or("").trim();
    let tail = wanted.rsplit(')').next().filter(|_| wanted.contains(')')).unwrap_or("").trim();
    let name = if tail.is_empty() { base.to_owned() } else { format!("{base} {tail}") };
    let canonical = match name.as_str() {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "real" => "float4",
        "double" | "double precision" | "float" => "float8",
        "decimal" | "dec" => "numeric",
        "boolean" => "bool",
        "character varying" | "string" => "varchar",
        "character" | "char" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        other => other,
    };
    let qualified = info.name.to_string();
    canonical == info.name.name
        || canonical == qualified
        || name == info.sql
        || (name == "string" && info.category == 'S')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::DeclaredColumn;
    use crate::policy::testing::{catalog, document, table};

    fn expanded(document: DataDocument) -> (Vec<DataSource>, Vec<Problem>) {
        let declared = Declared { data: vec![document], ..Declared::default() };
        let mut problems = Vec::new();
        let found = expand(&declared, "main", &catalog(), &Salts::new(b"s"), &mut problems);
        (found, problems)
    }

    #[test]
    fn absent_sources_are_every_relation_outside_system_schemas() {
        let (found, problems) = expanded(document(None));
        let names: Vec<String> = found.iter().map(|s| s.logical.to_string()).collect();
        assert_eq!(names, ["hr.person", "public.entitled", "public.events"]);
        assert!(found.iter().all(|s| *s.name == *s.logical.to_string()));
        // hr.person.nick is citext: left out, with a warning.
        let person = found.first().unwrap();
        assert!(person.columns.iter().all(|c| c.name != "nick"));
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].is_error() && problems[0].message.contains("nick"), "{problems:?}");
    }

    #[test]
    fn every_table_may_be_those_of_one_schema() {
        let (found, _) = expanded(DataDocument { schema: Some("public".into()), ..document(None) });
        let names: Vec<String> = found.iter().map(|s| s.logical.to_string()).collect();
        assert_eq!(names, ["public.entitled", "public.events"]);
    }

    #[test]
    fn explicit_tables_must_exist() {
        let (found, problems) = expanded(document(Some(vec![table("hr", "persn")])));
        assert!(found.is_empty());
        assert!(problems[0].is_error() && problems[0].help.contains("hr.person"), "{problems:?}");
    }

    #[test]
    fn another_connection_is_another_matter() {
        let mut other = document(None);
        other.connection_key = "other".into();
        assert!(expanded(other).0.is_empty());
    }

    #[test]
    fn templates_and_naming() {
        let mut templated = document(None);
        templated.name_template.data_source = Some("<Schema> <tablename>".into());
        let (found, _) = expanded(templated);
        assert_eq!(&*found[0].name, "Hr person");
        let mut named = table("hr", "person");
        if let Source::Table(t) = &mut named {
            t.data_source = Some("People".into());
            t.logical_schema = Some("public".into());
            t.logical_table = Some("people".into());
        }
        let (found, problems) = expanded(document(Some(vec![named])));
        assert!(problems.iter().all(|p| !p.is_error()), "{problems:?}");
        assert_eq!((&*found[0].name, found[0].logical.to_string()), ("People", "public.people".into()));
    }

    #[test]
    fn a_logical_schema_need_not_exist_but_is_not_the_systems() {
        for (schema, fine) in [("nowhere", true), ("pg_catalog", false), ("information_schema", false), ("", false)] {
            let mut document = document(Some(vec![table("public", "events")]));
            document.name_template.schema = Some(schema.into());
            let (found, problems) = expanded(document);
            assert_eq!(found.len(), usize::from(fine), "{schema}");
            assert_eq!(problems.iter().any(|p| p.is_error() && p.message.contains("can be called")), !fine, "{schema}");
        }
    }

    fn query(sql: &str, logical: (&str, &str)) -> Source {
        let mut source = table(logical.0, logical.1);
        if let Source::Table(t) = &mut source {
            (t.logical_schema, t.logical_table) = (Some(logical.0.into()), Some(logical.1.into()));
            t.query = Some(DeclaredQuery { sql: sql.into(), schema: "public".into(), origin: Origin::default() });
        }
        source
    }

    #[test]
    fn a_query_is_what_the_warehouse_says_it_is() {
        let declared = Declared {
            data: vec![document(Some(vec![query("SELECT id FROM events", ("q", "ids")), table("public", "events")]))],
            ..Declared::default()
        };
        let mut catalog = catalog();
        let text = super::query::queries(&declared, "main").pop_first().unwrap();
        let expand = |catalog: &Catalog| {
            let mut problems = Vec::new();
            let found = expand(&declared, "main", catalog, &Salts::new(b"s"), &mut problems);
            (found, problems)
        };
        let (found, problems) = expand(&catalog);
        assert_eq!(
            (found.len(), problems.len(), problems[0].is_error()),
            (1, 1, false),
            "not described yet: {problems:?}"
        );
        let id = Column { name: "id".into(), number: 1, type_oid: Oid(20), typmod: -1, ..Column::default() };
        catalog.queries.insert(text.clone(), Ok(vec![id]));
        let (found, problems) = expand(&catalog);
        assert!(problems.is_empty(), "{problems:?}");
        let (ids, events) = (&found[0], &found[1]);
        assert_eq!((ids.logical.to_string(), ids.columns.len()), ("q.ids".into(), 1));
        assert!(synthetic::is_synthetic(ids.oid) && ids.relation_sql() == format!("({text})"));
        assert_eq!(events.relation_sql(), "\"public\".\"events\"");
        catalog.queries.insert(text, Err("no".into()));
        let (found, problems) = expand(&catalog);
        assert!(
            found.len() == 1 && problems[0].is_error() && problems[0].message.ends_with("query: no"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_query_over_nothing_is_an_error() {
        let (found, problems) = expanded(document(Some(vec![query("SELECT * FROM evens", ("q", "ids"))])));
        assert!(found.is_empty());
        assert!(problems[0].is_error() && problems[0].help.contains("public.events"), "{problems:?}");
    }

    #[test]
    fn names_are_unique() {
        let mut document = document(None);
        document.name_template.schema = Some("public".into());
        document.name_template.table = Some("one".into());
        let (found, problems) = expanded(document);
        assert_eq!(found.len(), 1);
        assert!(problems.iter().any(|p| p.is_error() && p.message.contains("would be called")));
    }

    #[test]
    fn pinned_columns_tags_and_roles() {
        let mut pinned = table("hr", "person");
        if let Source::Table(t) = &mut pinned {
            t.columns = Some(vec![
                DeclaredColumn {
                    name: "ssn".into(),
                    data_type: Some("Character Varying(11)".into()),
                    description: None,
                },
                DeclaredColumn { name: "id".into(), data_type: Some("text".into()), description: None },
                DeclaredColumn { name: "snn".into(), data_type: None, description: None },
            ]);
            t.column_tags = vec![("ssn".into(), vec!["PII".into()]), ("nme".into(), vec!["PII".into()])];
            t.event_time = Some("born".into());
            t.high_cardinality = Some("xyzzy".into());
        }
        let (found, problems) = expanded(document(Some(vec![pinned])));
        let names: Vec<&str> = found[0].columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "ssn"], "in the relation's order");
        assert_eq!(found[0].columns[1].tags, ["PII"]);
        assert_eq!(
            found[0].event_time.as_ref().unwrap().name,
            "born",
            "a role may use a column outside the dictionary"
        );
        let errors: Vec<&str> = problems.iter().filter(|p| p.is_error()).map(|p| p.message.as_str()).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(problems.iter().any(|p| !p.is_error() && p.message.contains("declared as text")));
    }
}
