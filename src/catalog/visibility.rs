//! What one caller sees of the warehouse: the input of the guards, the reg literals and the virtual catalog.
//!
//! In: the decisions of the relations the caller may see. Out: sets of OIDs and names. Must never: hold a hidden object.

use super::functions::FIRST_NORMAL_OID;
use super::oids::{self, Mention};
use super::scratch::Scratch;
use super::sights::{Answers, Asked, Place};
use super::{Catalog, Column, Constraint, Index, Relation, TypeInfo, synthetic};
use crate::policy::decision::RelationDecision;
use crate::sql::template::Template;
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// The role shown as the owner of everything: the bootstrap superuser's OID, under a neutral name.
pub(crate) const OWNER_OID: u32 = 10;
/// The name shown for [`OWNER_OID`].
pub(crate) const OWNER_NAME: &str = "warehouse";
/// The caller's own role is shown in the row of `pg_monitor`, a predefined role every server has (pg_authid.dat).
pub(crate) const CALLER_OID: u32 = 3373;

/// What one caller sees, in one session, at one moment.
pub struct Visibility<'a> {
    /// The warehouse.
    pub catalog: &'a Catalog,
    /// Login name.
    pub user: &'a str,
    /// Database name as the client gave it.
    pub database: &'a str,
    /// The caller's own search path, in order.
    pub search_path: &'a [String],
    /// Every registered relation the caller may see.
    pub relations: &'a [Arc<RelationDecision>],
    /// The session's own temporary tables.
    scratch: Option<&'a Scratch>,
    scope: OnceLock<Arc<Scope>>,
    kept: Option<&'a KeptScope>,
    answers: Option<Answers<'a>>,
    place: OnceLock<Arc<Place>>,
    /// [`Self::effective_path`].
    path: OnceLock<Vec<&'a str>>,
}

/// What follows from a catalog and the decisions of one caller, kept beside them for as long as both are in force.
#[derive(Default)]
pub struct KeptScope(OnceLock<Arc<Scope>>);

/// What follows from a [`Visibility`], computed once.
pub(crate) struct Scope {
    /// Visible registered relations, by OID, one entry an OID.
    pub(crate) relations: Vec<Seen>,
    /// Logical schema and name → relation, system relations excluded.
    by_name: HashMap<String, HashMap<String, Oid>>,
    /// Types outside the system's that visible columns use, and row types of visible relations.
    pub(crate) types: BTreeSet<u32>,
    /// `pg_class` rows of standalone composite types among them.
    pub(crate) composites: BTreeSet<u32>,
    /// Logical schemas → OID of the `pg_namespace` row that shows them: the warehouse's own, or a synthetic one.
    pub(crate) schemas: BTreeMap<String, Oid>,
}

/// A visible relation: how it is seen and what it is.
pub(crate) struct Seen {
    pub(crate) decision: Arc<RelationDecision>,
    pub(crate) relation: Arc<Relation>,
    /// Places of the columns that are in the dictionary; `None`: all are.
    shown: Option<Vec<usize>>,
}

impl Seen {
    /// Columns of the dictionary.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Column> {
        let every = if self.shown.is_none() { self.relation.columns.as_slice() } else { &[] };
        let some = self.shown.iter().flatten().filter_map(|at| self.relation.columns.get(*at));
        every.iter().chain(some)
    }
    /// Has a row in the warehouse's own catalog; query sources have none.
    pub(crate) fn is_stored(&self) -> bool {
        self.decision.query.is_none()
    }
    /// Is a relation of the warehouse that callers know by another name.
    pub(crate) fn is_renamed(&self) -> bool {
        self.is_stored() && self.decision.logical != self.decision.remote
    }
    /// Every column of the relation is in the dictionary.
    pub(crate) fn whole(&self) -> bool {
        self.shown.is_none()
    }
    /// Nothing of it is hidden from the caller: what is told of it as a whole (how much there is, what a partition holds) is told of what
    /// he sees.
    pub(crate) fn is_plain(&self, catalog: &Catalog) -> bool {
        self.decision.shows_everything(catalog)
    }
    /// Declared descriptions of columns of the dictionary, by number.
    pub(crate) fn column_comments(&self) -> impl Iterator<Item = (i16, &str)> + '_ {
        let number = |name: &str| self.columns().find(|c| c.name == name).map(|c| c.number);
        let columns = self.decision.comments.columns.iter();
        columns.filter_map(move |(name, text)| Some((number(name)?, text.as_str())))
    }
    fn has(&self, name: &str) -> bool {
        self.columns().any(|c| c.name == name)
    }
    /// OIDs of its indexes, as [`Self::indexes`], and its own.
    pub(crate) fn with_indexes(&self) -> impl Iterator<Item = u32> {
        self.indexes().map(|i| i.oid.0).chain([self.relation.oid.0])
    }
    /// Indexes that say nothing of hidden columns.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.relation.indexes.iter().filter(|i| !i.alien).filter(|i| match &i.columns {
            Some(columns) => self.whole() || columns.iter().all(|c| self.has(c)),
            // An expression may name the relation itself (a whole row).
            None => self.whole() && !self.is_renamed(),
        })
    }
}

impl<'a> Visibility<'a> {
    /// What `user` sees. Build one for a statement and use it for all lookups: what follows from it is computed once.
    pub fn new(
        catalog: &'a Catalog,
        user: &'a str,
        database: &'a str,
        search_path: &'a [String],
        relations: &'a [Arc<RelationDecision>],
    ) -> Self {
        Self {
            catalog,
            user,
            database,
            search_path,
            relations,
            scratch: None,
            scope: OnceLock::new(),
            kept: None,
            answers: None,
            place: OnceLock::new(),
            path: OnceLock::new(),
        }
    }

    /// The same with what follows from the catalog and the relations kept there, of which they must be the only ones it is used with.
    #[must_use]
    pub fn keeping(mut self, kept: &'a KeptScope) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The same with the texts that were made of what the caller sees.
    #[must_use]
    pub(crate) fn answering(mut self, answers: Answers<'a>) -> Self {
        self.answers = Some(answers);
        self
    }

    /// Where the texts made of what the caller sees are kept; a session's own tables are in no other's.
    fn answers(&self) -> Option<(Answers<'a>, &Arc<Place>)> {
        let answers = self.answers.filter(|_| self.scratch.is_none())?;
        let place = || Arc::new(Place { database: self.database.to_owned(), search_path: self.search_path.to_vec() });
        Some((answers, self.place.get_or_init(place)))
    }

    /// The text that answers what is asked. `make` may look at nothing but this and what is asked.
    pub(crate) fn template(&self, asked: Asked, make: impl FnOnce() -> Option<String>) -> Option<Template> {
        match self.answers() {
            Some((answers, place)) => answers.text(place, asked, make),
            None => make().map(Template::from),
        }
    }

    /// How a relation of the system is seen. `make` may look at nothing but this and the relation.
    pub(crate) fn decided(
        &self,
        relation: &QualifiedName,
        make: impl FnOnce() -> Option<RelationDecision>,
    ) -> Option<Arc<RelationDecision>> {
        match self.answers() {
            Some((answers, place)) => answers.decision(place, relation, make),
            None => make().map(Arc::new),
        }
    }

    /// The same with the session's own temporary tables.
    #[must_use]
    pub fn with_scratch(mut self, scratch: &'a Scratch) -> Self {
        self.scratch = Some(scratch).filter(|s| s.shown().next().is_some());
        self
    }

    /// Names of the session's own temporary tables.
    pub(crate) fn temporaries(&self) -> impl Iterator<Item = &'a QualifiedName> + use<'a> {
        self.scratch.into_iter().flat_map(Scratch::shown).map(|(decision, _)| &decision.logical)
    }

    /// Name and OID of the session's own temporary schema, when it holds anything.
    pub(crate) fn own_schema(&self) -> Option<(&'a str, Oid)> {
        self.scratch.and_then(|s| s.schema.as_ref()).map(|(name, oid)| (name.as_str(), *oid))
    }

    /// Whether the caller may name a type: the system's own ones, types of visible columns, row types of visible relations.
    pub fn type_is_visible(&self, oid: Oid) -> bool {
        self.catalog.types.contains_key(&oid) && (oid.0 < FIRST_NORMAL_OID || self.scope().types.contains(&oid.0))
    }

    /// Whether a schema exists for the caller.
    pub fn schema_is_visible(&self, name: &str) -> bool {
        is_system(name) || self.scope().schemas.contains_key(name) || self.is_own_schema(name)
    }

    fn is_own_schema(&self, name: &str) -> bool {
        self.scratch.is_some_and(|s| s.is_schema(name))
    }

    /// The search path with `pg_catalog` where PostgreSQL searches it: first, unless named (manual, 5.9.5); and before that the session's
    /// own temporary schema, unless named (20.11.1).
    pub fn effective_path(&self) -> Vec<&'a str> {
        let mut path: Vec<&str> = self.search_path.iter().map(String::as_str).collect();
        if !path.contains(&"pg_catalog") {
            path.insert(0, "pg_catalog");
        }
        if let Some((own, _)) = self.own_schema() {
            match path.iter_mut().find(|s| self.is_own_schema(s)) {
                Some(named) => *named = own,
                None => path.insert(0, own),
            }
        }
        path
    }

    /// The OID of a relation by the name the caller uses: system relations and visible registered ones.
    pub(crate) fn find_relation(&self, schema: Option<&str>, name: &str) -> Option<Oid> {
        match schema {
            Some(schema) => self.find_qualified(schema, name),
            None => self.path.get_or_init(|| self.effective_path()).iter().find_map(|s| self.find_qualified(s, name)),
        }
    }

    fn find_qualified(&self, schema: &str, name: &str) -> Option<Oid> {
        let schema = match self.own_schema() {
            Some((own, _)) if self.is_own_schema(schema) => own,
            _ => schema,
        };
        if is_system(schema) {
            return self.catalog.system_relation(schema, name);
        }
        self.scope().by_name.get(schema)?.get(name).copied()
    }

    /// The relations of `pg_catalog` and `information_schema`.
    pub(crate) fn system_relations(&self) -> impl Iterator<Item = &'a Relation> + use<'a> {
        self.catalog.relations.values().map(Arc::as_ref).filter(|r| is_system(&r.name.schema))
    }

    /// SQL (boolean) for whether `key` (SQL of type oid) is one of these.
    pub(crate) fn holds(&self, key: &str, members: impl IntoIterator<Item = u32>, mention: Mention) -> String {
        oids::holds(key, members, mention, self.catalog.server_version)
    }

    /// Constraints of a relation that say nothing of hidden columns or relations.
    pub(crate) fn constraints<'s>(&'s self, seen: &'s Seen) -> impl Iterator<Item = &'s Constraint> + 's {
        seen.relation.constraints.iter().filter(move |c| {
            let own = match &c.columns {
                Some(columns) => seen.whole() || columns.iter().all(|name| seen.has(name)),
                // An expression may name the relation itself (a whole row).
                None => seen.whole() && c.kind == 'c' && !seen.is_renamed(),
            };
            // The server makes the names of these, from the relation's name in the warehouse (PostgreSQL 18).
            let told = c.kind != 'n' || seen.decision.logical.name == seen.decision.remote.name;
            own && told && !c.alien && (c.kind != 'f' || self.references_visible(c))
        })
    }

    /// Types outside the system's that the caller sees.
    pub(crate) fn types(&self) -> impl Iterator<Item = &'a TypeInfo> + '_ {
        self.scope().types.iter().filter_map(|oid| self.catalog.types.get(&Oid(*oid))).map(Arc::as_ref)
    }

    /// Checks of the domains that visible columns use, and of the system's.
    pub(crate) fn domain_checks(&self) -> impl Iterator<Item = Oid> + '_ {
        let system = self.catalog.types.values().filter(|t| t.oid.0 < FIRST_NORMAL_OID).map(Arc::as_ref);
        system.chain(self.types()).flat_map(|t| t.checks.iter().copied())
    }

    fn references_visible(&self, c: &Constraint) -> bool {
        let Some(target) = self.seen(c.references) else { return false };
        !c.referenced_columns.is_empty() && (target.whole() || c.referenced_columns.iter().all(|name| target.has(name)))
    }

    /// A visible relation by OID.
    pub(crate) fn seen(&self, oid: Oid) -> Option<&Seen> {
        let relations = &self.scope().relations;
        relations.binary_search_by_key(&oid, |s| s.relation.oid).ok().and_then(|i| relations.get(i))
    }

    pub(crate) fn scope(&self) -> &Scope {
        let make = || Arc::new(Scope::new(self.catalog, self.relations, self.scratch));
        self.scope.get_or_init(|| match (self.kept, self.scratch) {
            // A session's own tables are in no other's.
            (Some(kept), None) => Arc::clone(kept.0.get_or_init(make)),
            _ => make(),
        })
    }
}

/// The two schemas every database has, answered by the virtual catalog.
pub(crate) fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}

impl Scope {
    fn new(catalog: &Catalog, decisions: &[Arc<RelationDecision>], scratch: Option<&Scratch>) -> Self {
        let mut relations: Vec<Seen> =
            decisions.iter().filter_map(|d| seen(catalog, d)).filter(|s| !is_system(&s.relation.name.schema)).collect();
        let own = scratch.into_iter().flat_map(Scratch::shown);
        relations.extend(own.map(|(decision, relation)| Seen {
            decision: Arc::clone(decision),
            relation: Arc::clone(relation),
            shown: None,
        }));
        let mut by_name: HashMap<String, HashMap<String, Oid>> = HashMap::new();
        for s in &relations {
            let QualifiedName { schema, name } = s.decision.logical.clone();
            by_name.entry(schema).or_default().insert(name, s.relation.oid);
        }
        relations.sort_by(|a, b| (a.relation.oid, &a.decision.logical).cmp(&(b.relation.oid, &b.decision.logical)));
        // One remote relation under two logical names has one row in pg_class: the first name.
        relations.dedup_by_key(|s| s.relation.oid);
        let mut scope = Self {
            relations: Vec::new(),
            by_name,
            types: BTreeSet::new(),
            composites: BTreeSet::new(),
            schemas: BTreeMap::new(),
        };
        let row_types: HashSet<Oid> = relations.iter().map(|s| s.relation.row_type).collect();
        for seen in &relations {
            scope.add_type(catalog, seen.relation.row_type, &row_types);
            for column in seen.columns().filter(|c| c.type_oid.0 >= FIRST_NORMAL_OID) {
                scope.add_type(catalog, column.type_oid, &row_types);
            }
        }
        scope.add_schemas(catalog, &relations, scratch);
        scope.relations = relations;
        scope
    }

    /// Adds a type with what it is made of; row types only of visible relations.
    fn add_type(&mut self, catalog: &Catalog, oid: Oid, row_types: &HashSet<Oid>) {
        let mut rest = vec![oid];
        while let Some(oid) = rest.pop() {
            let Some(info) = catalog.types.get(&oid) else { continue };
            if oid.0 < FIRST_NORMAL_OID || self.types.contains(&oid.0) {
                continue;
            }
            // The name of an array type tells the name of its element.
            let of = if info.element == Oid(0) { oid } else { info.element };
            let composite = catalog.types.get(&of).filter(|t| t.relation != Oid(0));
            if let Some(composite) = composite
                && !row_types.contains(&of)
            {
                if catalog.is_row_type(composite) {
                    continue;
                }
                self.composites.insert(composite.relation.0);
            }
            self.types.insert(oid.0);
            rest.extend([info.element, info.array, info.base]);
        }
    }

    /// Gives every logical schema a row of `pg_namespace`: its own when the warehouse has one of that name, else a synthetic one.
    fn add_schemas(&mut self, catalog: &Catalog, relations: &[Seen], scratch: Option<&Scratch>) {
        let mut wanted: BTreeSet<&str> = relations.iter().map(|s| s.decision.logical.schema.as_str()).collect();
        let types = self.types.iter().filter_map(|oid| catalog.types.get(&Oid(*oid)));
        wanted.extend(types.filter(|t| t.relation == Oid(0) && t.element == Oid(0)).map(|t| t.name.schema.as_str()));
        wanted.extend(catalog.schemas.get_key_value("public").map(|(name, _)| name.as_str()));
        let mut taken: HashSet<Oid> = catalog.schemas.values().copied().collect();
        let mut schemas = BTreeMap::new();
        for name in wanted {
            let temporary = scratch.and_then(|s| s.schema.as_ref()).filter(|(own, _)| own == name).map(|(_, oid)| *oid);
            let own = temporary.or_else(|| catalog.schemas.get(name).copied());
            schemas.insert(name.to_owned(), own.unwrap_or_else(|| synthetic::oid("schema", name, &mut taken)));
        }
        self.schemas = schemas;
    }
}

/// A decision together with the relation it is about; `None` when the catalog no longer has that very relation.
fn seen(catalog: &Catalog, decision: &Arc<RelationDecision>) -> Option<Seen> {
    let relation = decision.relation(catalog)?;
    if relation.oid != decision.oid {
        return None;
    }
    let columns = || relation.columns.iter().map(|c| &c.name);
    let whole =
        relation.columns.len() == decision.columns.len() && columns().eq(decision.columns.iter().map(|d| &d.name));
    let shown = (!whole).then(|| {
        let names: HashSet<&String> = decision.columns.iter().map(|d| &d.name).collect();
        columns().enumerate().filter(|(_, name)| names.contains(name)).map(|(at, _)| at).collect::<Vec<_>>()
    });
    let shown = shown.filter(|shown| shown.len() < relation.columns.len());
    Some(Seen { decision: Arc::clone(decision), relation: Arc::clone(relation), shown })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalog::TypeInfo;
    use crate::policy::decision::ColumnDecision;

    /// A relation with int4 columns.
    pub(crate) fn relation(oid: u32, schema: &str, name: &str, columns: &[&str]) -> Relation {
        let columns = columns.iter().zip(1..).map(|(c, number)| Column {
            name: (*c).to_owned(),
            number,
            type_oid: Oid(23),
            typmod: -1,
            ..Column::default()
        });
        Relation {
            oid: Oid(oid),
            name: QualifiedName::new(schema, name),
            row_type: Oid(oid + 2),
            columns: columns.collect(),
            ..Relation::default()
        }
    }

    pub(crate) fn catalog(relations: Vec<Relation>) -> Catalog {
        let mut catalog = Catalog { database: "remote".to_owned(), server_version: 150_000, ..Catalog::default() };
        let mut schema_oid = 16400;
        for (name, oid) in [("pg_catalog", 11), ("information_schema", 13000), ("public", 2200)] {
            catalog.schemas.insert(name.to_owned(), Oid(oid));
        }
        let configurations = [("english".to_owned(), Oid(13000))];
        catalog.named.insert(crate::catalog::NamedKind::Configuration, configurations.into_iter().collect());
        for (oid, name, array) in [(23, "int4", 1007), (25, "text", 1009), (1007, "_int4", 0)] {
            add_type(&mut catalog, oid, "pg_catalog", name, array, 0);
        }
        for r in relations {
            if !catalog.schemas.contains_key(&r.name.schema) {
                schema_oid += 1;
                catalog.schemas.insert(r.name.schema.clone(), Oid(schema_oid));
            }
            add_type(&mut catalog, r.row_type.0, &r.name.schema.clone(), &r.name.name.clone(), 0, r.oid.0);
            catalog.relations.insert(r.name.clone(), Arc::new(r));
        }
        catalog
    }

    fn add_type(catalog: &mut Catalog, oid: u32, schema: &str, name: &str, array: u32, relation: u32) {
        let info = TypeInfo {
            oid: Oid(oid),
            name: QualifiedName::new(schema, name),
            kind: if relation == 0 { 'b' } else { 'c' },
            category: 'N',
            array: Oid(array),
            element: if name.starts_with('_') { Oid(23) } else { Oid(0) },
            base: Oid(0),
            relation: Oid(relation),
            typmod: -1,
            not_null: false,
            checks: Vec::new(),
            checked: false,
            alien_default: false,
            sql: name.to_owned(),
        };
        catalog.type_names.insert(info.name.clone(), info.oid);
        catalog.types.insert(info.oid, Arc::new(info));
    }

    /// Everything of a relation but the columns named, under another name when one is given.
    pub(crate) fn decision(r: &Relation, logical: Option<(&str, &str)>, without: &[&str]) -> Arc<RelationDecision> {
        let (schema, name) = logical.unwrap_or((&r.name.schema, &r.name.name));
        let columns = r.columns.iter().filter(|c| !without.contains(&c.name.as_str())).map(|c| ColumnDecision {
            name: c.name.clone(),
            type_oid: c.type_oid,
            typmod: c.typmod,
            mask: None,
        });
        Arc::new(RelationDecision {
            source: name.into(),
            logical: QualifiedName::new(schema, name),
            remote: r.name.clone(),
            oid: r.oid,
            query: None,
            comments: Default::default(),
            tags: Default::default(),
            columns: columns.collect(),
            rows: vec![],
            companions: Vec::new(),
            unmet_purposes: vec![],
            write: false,
            valid_until: None,
            trace: vec![],
        })
    }

    #[test]
    fn names_follow_the_callers_path_and_sight() {
        let a = relation(20000, "public", "a", &["x"]);
        let b = relation(20010, "sales", "a", &["x"]);
        let hidden = relation(20020, "public", "b", &["x"]);
        let seen = [decision(&a, None, &[]), decision(&b, None, &[])];
        let catalog = catalog(vec![a, b, hidden]);
        let path = ["sales".to_owned(), "public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &seen);
        assert_eq!(v.find_relation(None, "a"), Some(Oid(20010)));
        assert_eq!(v.find_relation(Some("public"), "a"), Some(Oid(20000)));
        assert_eq!(v.find_relation(None, "b"), None);
        assert_eq!(v.find_relation(Some("public"), "b"), None);
    }

    #[test]
    fn a_decision_about_another_oid_shows_nothing() {
        let a = relation(20000, "public", "a", &["x"]);
        let old = decision(&a, None, &[]);
        let catalog = catalog(vec![Relation { oid: Oid(20001), ..a }]);
        let (path, seen) = (["public".to_owned()], [old]);
        let v = Visibility::new(&catalog, "u", "db", &path, &seen);
        assert_eq!(v.find_relation(None, "a"), None);
        assert!(v.scope().relations.is_empty());
    }

    #[test]
    fn a_logical_schema_has_a_row_of_its_own() {
        let a = relation(20000, "raw", "t1", &["x"]);
        let seen = [decision(&a, Some(("sales", "orders")), &[])];
        let catalog = catalog(vec![a]);
        let v = Visibility::new(&catalog, "u", "db", &[], &seen);
        assert!(v.scope().schemas.get("sales").is_some_and(|oid| synthetic::is_synthetic(*oid)));
        assert!(!v.schema_is_visible("raw"));
        assert!(v.schema_is_visible("sales"));
    }

    #[test]
    fn row_types_of_hidden_relations_are_hidden() {
        let a = relation(20000, "public", "a", &["x"]);
        let mut b = relation(20010, "public", "b", &["x", "y"]);
        b.columns[1].type_oid = Oid(20022); // a column of a hidden table's row type
        let hidden = relation(20020, "public", "h", &["x"]);
        let seen = [decision(&a, None, &[]), decision(&b, None, &[])];
        let catalog = catalog(vec![a, b, hidden]);
        let v = Visibility::new(&catalog, "u", "db", &[], &seen);
        assert!(v.type_is_visible(Oid(20002)));
        assert!(!v.type_is_visible(Oid(20022)));
        assert!(v.type_is_visible(Oid(23)));
        assert!(!v.type_is_visible(Oid(999)));
    }

    #[test]
    fn constraints_and_indexes_need_all_their_columns() {
        let mut parent = relation(20000, "public", "p", &["id", "s"]);
        parent.indexes = vec![
            Index { oid: Oid(1), name: "i1".into(), columns: Some(vec!["id".into()]), alien: false },
            Index { oid: Oid(2), name: "i2".into(), columns: Some(vec!["id".into(), "s".into()]), alien: false },
            Index { oid: Oid(3), name: "i3".into(), columns: None, alien: false },
        ];
        let fk = |oid, column: &str, kind| Constraint {
            oid: Oid(oid),
            kind,
            columns: if matches!(kind, 'c' | 't') { None } else { Some(vec!["pid".to_owned()]) },
            references: if kind == 'f' { Oid(20000) } else { Oid(0) },
            referenced_columns: vec![column.to_owned()],
            ..Constraint::default()
        };
        let mut child = relation(20010, "public", "c", &["pid"]);
        child.constraints = vec![fk(11, "id", 'f'), fk(12, "s", 'f'), fk(13, "", 'c'), fk(14, "", 't')];
        let seen = [decision(&parent, None, &["s"]), decision(&child, None, &[])];
        let catalog = catalog(vec![parent, child]);
        let v = Visibility::new(&catalog, "u", "db", &[], &seen);
        let parent = v.seen(Oid(20000)).unwrap();
        assert_eq!(parent.indexes().map(|i| i.oid.0).collect::<Vec<_>>(), [1]);
        let child = v.seen(Oid(20010)).unwrap();
        assert_eq!(v.constraints(child).map(|c| c.oid.0).collect::<Vec<_>>(), [11, 13]);
    }
}
