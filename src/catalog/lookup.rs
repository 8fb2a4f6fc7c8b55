//! Sets and maps of what a caller sees, as SQL constants, and the expressions that look something up in them.
//!
//! In: a [`Visibility`]. Out: SQL text. Must never: mention its argument more than once, so that a volatile expression has one value.
//!
//! A map is a `jsonb` object: the server searches its sorted keys, so that a row costs the logarithm of the set, and the key expression is
//! written, and evaluated, once. Everything is qualified with `pg_catalog`, whatever the search path of the connection.

use super::Relation;
use super::functions::FIRST_NORMAL_OID;
use super::visibility::{Seen, Visibility, is_system};
use crate::types::{Oid, quote_literal};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A map from text to text or boolean.
#[derive(Default)]
pub(crate) struct Map(BTreeMap<String, Option<Value>>);

impl Map {
    /// Adds a key; one that is added with two different values stands for neither.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let value = Some(value.into());
        self.0
            .entry(key.into())
            .and_modify(|old| {
                if *old != value {
                    *old = None;
                }
            })
            .or_insert(value);
    }
    /// Adds an OID that stands for itself.
    pub(crate) fn add_oid(&mut self, oid: u32) {
        self.add(oid.to_string(), oid.to_string());
    }
    /// The keys whose texts are among these.
    pub(crate) fn only(mut self, texts: &BTreeSet<String>) -> Self {
        self.0.retain(|_, value| value.as_ref().and_then(Value::as_str).is_some_and(|text| texts.contains(text)));
        self
    }
    /// The same keys with what `of` makes of their texts.
    pub(crate) fn mapped(mut self, of: impl Fn(&str) -> &'static str) -> Self {
        for value in self.0.values_mut() {
            *value = value.as_ref().and_then(Value::as_str).map(|text| of(text).into());
        }
        self
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The `jsonb` constant.
    pub(crate) fn to_sql(&self) -> String {
        let object = self.0.iter().filter_map(|(k, v)| v.clone().map(|v| (k.clone(), v))).collect();
        format!("{}::pg_catalog.jsonb", quote_literal(&Value::Object(object).to_string()))
    }
    /// The value for `key` (SQL of type text) as text; NULL when there is none.
    pub(crate) fn find(&self, key: &str) -> String {
        format!("pg_catalog.jsonb_object_field_text({}, {key})", self.to_sql())
    }
    /// Whether `key` (SQL of type text) is there.
    pub(crate) fn holds(&self, key: &str) -> String {
        format!("pg_catalog.jsonb_exists({}, {key})", self.to_sql())
    }
}

/// `'{1,2}'::pg_catalog.oid[]`.
pub(crate) fn oid_array(oids: impl IntoIterator<Item = u32>) -> String {
    let mut oids: Vec<u32> = oids.into_iter().collect();
    oids.sort_unstable();
    let text: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!("'{{{}}}'::pg_catalog.oid[]", text.join(","))
}

/// `'{"a","b"}'::pg_catalog.name[]`.
pub(crate) fn name_array<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    format!("{}::pg_catalog.name[]", array_literal(names))
}

/// `'{"a","b"}'`, without a type.
pub(crate) fn array_literal<'n>(words: impl IntoIterator<Item = &'n str>) -> String {
    let quoted: Vec<String> =
        words.into_iter().map(|n| format!("\"{}\"", n.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    quote_literal(&format!("{{{}}}", quoted.join(",")))
}

/// `arg` as an OID when it is one of the system's own objects, else NULL.
pub(crate) fn system_oid(arg: &str) -> String {
    format!(
        "NULLIF(LEAST(({arg})::pg_catalog.oid::pg_catalog.int8, {FIRST_NORMAL_OID}::pg_catalog.int8), \
         {FIRST_NORMAL_OID}::pg_catalog.int8)::pg_catalog.oid"
    )
}

/// An OID argument as the text of its digits.
pub(crate) fn oid_text(arg: &str) -> String {
    format!("({arg})::pg_catalog.oid::pg_catalog.text")
}

/// Which objects a map of OIDs holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Visible relations and the system's.
    Relations,
    /// Of those, the ones with no hidden column.
    WholeRelations,
    /// Of those, the ones whose partition key, if there is one, names nothing that not everyone sees.
    Keyed,
    /// Of those with no hidden column, the ones under their own names.
    Printed,
    /// Visible relations under their own names, all of whose ancestors are, too.
    Rooted,
    /// Visible indexes and the system's.
    Indexes,
    /// Visible constraints and the system's.
    Constraints,
    /// Visible types and the system's, without row types shown under another name.
    Types,
}

/// The OIDs of a set, each standing for itself, and 0, which names no object and is printed as such by the server's functions.
pub(crate) fn oids(set: Set, v: &Visibility<'_>) -> Map {
    let mut map = Map::default();
    members(set, v).into_iter().for_each(|oid| map.add_oid(oid));
    map
}

/// The OIDs of a set, and 0.
pub(crate) fn members(set: Set, v: &Visibility<'_>) -> Vec<u32> {
    let mut found = vec![0];
    let scope = v.scope();
    match set {
        Set::Relations | Set::WholeRelations | Set::Keyed | Set::Printed => {
            v.system_relations().for_each(|r| found.push(r.oid.0));
            let shown = scope.relations.iter().filter(|s| match set {
                Set::Relations => true,
                Set::Printed => s.whole() && s.is_stored() && !s.is_renamed(),
                Set::Keyed => s.whole() && !s.relation.alien_key,
                _ => s.whole(),
            });
            shown.for_each(|s| found.push(s.relation.oid.0));
        }
        Set::Rooted => {
            let named = scope.relations.iter().filter(|s| s.is_stored() && !s.is_renamed());
            let rooted = named.filter(|s| has_visible_ancestors(&s.relation, v, 0));
            rooted.for_each(|s| found.push(s.relation.oid.0));
        }
        Set::Indexes => {
            v.system_relations().flat_map(|r| &r.indexes).for_each(|i| found.push(i.oid.0));
            scope.relations.iter().flat_map(|s| s.indexes()).for_each(|i| found.push(i.oid.0));
        }
        Set::Constraints => {
            v.system_relations().flat_map(|r| &r.constraints).for_each(|c| found.push(c.oid.0));
            scope.relations.iter().flat_map(|s| v.constraints(s)).for_each(|c| found.push(c.oid.0));
            found.extend(v.domain_checks().map(|oid| oid.0));
        }
        Set::Types => types(v).for_each(|oid| found.push(oid)),
    }
    found
}

/// Visible relations of which nothing is hidden, and their indexes.
pub(crate) fn plain<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = u32> + 's {
    let plain = v.scope().relations.iter().filter(|s| s.is_plain(v.catalog));
    plain.flat_map(Seen::with_indexes)
}

/// Inheritance has no cycles; the depth is bounded all the same.
fn has_visible_ancestors(relation: &Relation, v: &Visibility<'_>, depth: usize) -> bool {
    depth < 100
        && relation
            .parents
            .iter()
            .all(|p| v.seen(*p).is_some_and(|s| !s.is_renamed() && has_visible_ancestors(&s.relation, v, depth + 1)))
}

/// Types whose names as the server prints them may be seen.
fn types<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = u32> + 's {
    let renamed: std::collections::HashSet<Oid> = v
        .scope()
        .relations
        .iter()
        .filter(|s| s.decision.logical != s.decision.remote)
        .flat_map(|s| {
            let row = s.relation.row_type;
            [row, v.catalog.types.get(&row).map_or(row, |t| t.array)]
        })
        .collect();
    let system = v.catalog.types.keys().map(|o| o.0).filter(|o| *o < FIRST_NORMAL_OID);
    system.chain(v.scope().types.iter().copied()).filter(move |o| !renamed.contains(&Oid(*o)))
}

/// Every spelling of a relation argument (`oid`, `regclass` or `text`, each cast to text) to its OID: digits, the logical name with its
/// schema, and without it where the caller's path finds it.
pub(crate) fn relation_spellings(v: &Visibility<'_>) -> Map {
    let mut map = oids(Set::Relations, v);
    let path = v.effective_path();
    let system = v.system_relations().map(|r| (&r.name, r.oid));
    let shown = v.scope().relations.iter().map(|s| (&s.decision.logical, s.relation.oid));
    for (logical, oid) in system.chain(shown) {
        let value = oid.to_string();
        for schema in spellings(&logical.schema) {
            for name in spellings(&logical.name) {
                map.add(format!("{schema}.{name}"), value.clone());
            }
        }
        if v.own_schema().is_some_and(|(own, _)| own == logical.schema) {
            spellings(&logical.name).into_iter().for_each(|n| map.add(format!("pg_temp.{n}"), value.clone()));
        }
        if path.contains(&logical.schema.as_str()) && v.find_relation(None, &logical.name) == Some(oid) {
            spellings(&logical.name).into_iter().for_each(|n| map.add(n, value.clone()));
        }
    }
    map
}

/// The same of relations of which nothing is hidden, and their indexes by their OIDs.
pub(crate) fn plain_spellings(v: &Visibility<'_>) -> Map {
    let plain: BTreeSet<String> = plain(v).map(|oid| oid.to_string()).collect();
    let mut map = relation_spellings(v).only(&plain);
    plain.iter().for_each(|oid| map.add(oid.clone(), oid.clone()));
    map
}

/// As [`relation_spellings`], indexes by their OIDs too.
pub(crate) fn relation_spellings_and_indexes(v: &Visibility<'_>) -> Map {
    let mut map = relation_spellings(v);
    oids(Set::Indexes, v).0.keys().for_each(|oid| map.add(oid.clone(), oid.clone()));
    map
}

/// Every spelling of a relation or index, as in [`relation_spellings`], to its name as a `regclass` is printed (`regclassout`): bare where
/// the caller's path finds it, else with its schema, and always the name that callers use.
pub(crate) fn relation_names(v: &Visibility<'_>) -> Map {
    let shown = printed_names(v, |_| true);
    let mut spellings = relation_spellings(v);
    shown.keys().for_each(|oid| spellings.add(oid.clone(), oid.clone()));
    spellings.0.values_mut().for_each(|value| {
        *value = value.as_ref().and_then(|oid| shown.get(oid.as_str()?)).map(|text| text.as_str().into());
    });
    spellings
}

/// OIDs to names as in [`relation_names`], of what the server would print otherwise than as `schema.name`, or by another name than
/// callers use.
pub(crate) fn names_of_others(v: &Visibility<'_>) -> Map {
    let temporary = |s: &Seen| v.own_schema().is_some_and(|(own, _)| own == s.decision.logical.schema);
    let mut map = Map::default();
    let others = printed_names(v, |s| !s.is_stored() || s.is_renamed() || temporary(s));
    others.into_iter().for_each(|(oid, name)| map.add(oid, name));
    map
}

/// The system's relations and those of `of`, with their indexes: OIDs to names as a `regclass` is printed.
fn printed_names(v: &Visibility<'_>, of: impl Fn(&Seen) -> bool) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::from([("0".to_owned(), "-".to_owned())]);
    let path = v.effective_path();
    let mut add = |oid: Oid, schema: &str, name: &str, found: bool| {
        let text = if found { display(name) } else { format!("{}.{}", display(schema), display(name)) };
        shown.insert(oid.to_string(), text);
    };
    for r in v.system_relations() {
        add(r.oid, &r.name.schema, &r.name.name, v.find_relation(None, &r.name.name) == Some(r.oid));
        r.indexes.iter().for_each(|i| add(i.oid, &r.name.schema, &i.name, path.contains(&r.name.schema.as_str())));
    }
    for s in v.scope().relations.iter().filter(|s| of(s)) {
        let logical = &s.decision.logical;
        add(
            s.relation.oid,
            &logical.schema,
            &logical.name,
            v.find_relation(None, &logical.name) == Some(s.relation.oid),
        );
        s.indexes().for_each(|i| add(i.oid, &logical.schema, &i.name, path.contains(&logical.schema.as_str())));
    }
    shown
}

/// Most relations whose names are replaced in definitions; with more, definitions are not shown.
const MOST_RENAMED: usize = 100;

/// A definition (SQL of type text) in which the server's names of renamed relations, between two patterns, become those that callers
/// use. The definition is mentioned once.
pub(crate) fn rename<'s, 'v: 's>(
    definition: String,
    renamed: impl Iterator<Item = &'s Seen>,
    before: &str,
    after: &str,
    shown_before: &str,
    shown_after: &str,
) -> String {
    let renamed: Vec<&Seen> = renamed.collect();
    if renamed.len() > MOST_RENAMED {
        return format!("CASE WHEN {definition} IS NULL THEN NULL::pg_catalog.text END");
    }
    renamed.into_iter().fold(definition, |text, seen| {
        let (remote, logical) = (&seen.decision.remote, &seen.decision.logical);
        let pattern = format!("{before}{}[.]{}{after}", either(&remote.schema), either(&remote.name));
        let name = format!("{}.{}", display(&logical.schema), display(&logical.name)).replace('\\', "\\\\");
        format!(
            "pg_catalog.regexp_replace({text}, {}::pg_catalog.text, {}::pg_catalog.text)",
            quote_literal(&pattern),
            quote_literal(&format!("{shown_before}{name}{shown_after}"))
        )
    })
}

/// A definition (SQL of type text) without the schema that the server prints behind `before`, a pattern, where the caller's path makes it
/// superfluous: the server's own path is pinned. The definition is mentioned once.
pub(crate) fn bare(definition: String, before: &str, v: &Visibility<'_>) -> String {
    let schemas: Vec<String> = bare_schemas(v).map(either).collect();
    if schemas.is_empty() {
        return definition;
    }
    let pattern = format!("^({before})({})[.]", schemas.join("|"));
    format!(
        "pg_catalog.regexp_replace({definition}, {}::pg_catalog.text, '\\1'::pg_catalog.text)",
        quote_literal(&pattern)
    )
}

/// The same for one schema, the first of the path.
pub(crate) fn first_bare(definition: String, before: &str, schema: &str) -> String {
    let pattern = format!("^({before}){}[.]", either(schema));
    format!(
        "pg_catalog.regexp_replace({definition}, {}::pg_catalog.text, '\\1'::pg_catalog.text)",
        quote_literal(&pattern)
    )
}

/// Schemas of the caller's path in which everything the caller sees is found by its bare name.
fn bare_schemas<'s>(v: &'s Visibility<'_>) -> impl Iterator<Item = &'s str> + 's {
    let scope = v.scope();
    let path = v.effective_path();
    v.search_path.iter().map(String::as_str).filter(move |schema| {
        let mut relations = scope.relations.iter().filter(|s| s.decision.logical.schema == **schema);
        let types = scope.types.iter().filter_map(|oid| v.catalog.types.get(&Oid(*oid)));
        let mut types = types.filter(|t| t.name.schema == **schema && t.element == Oid(0) && t.relation == Oid(0));
        !is_system(schema)
            && scope.schemas.contains_key(*schema)
            && relations.all(|s| v.find_relation(None, &s.decision.logical.name) == Some(s.relation.oid))
            && types.all(|info| type_is_found(info, &path, v))
    })
}

/// A pattern for an identifier, quoted or not: which key words the server quotes differs by version.
fn either(name: &str) -> String {
    let escape = |c: char| if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] };
    let quoted: String = name.replace('"', "\"\"").chars().flat_map(escape).collect();
    format!("\"?{quoted}\"?")
}

/// An identifier as the server prints it, but for key words: quoted only when it must be.
pub(crate) fn display(name: &str) -> String {
    let mut spelled = spellings(name);
    spelled.pop().unwrap_or_default()
}

/// The text of a type argument (`oid`, `regtype` or `text`, cast to text and to lower case) to its OID.
pub(crate) fn type_spellings(v: &Visibility<'_>) -> Map {
    let mut map = oids(Set::Types, v);
    let path = v.effective_path();
    for oid in types(v) {
        let Some(info) = v.catalog.types.get(&Oid(oid)) else { continue };
        let value = oid.to_string();
        map.add(info.sql.clone(), value.clone());
        map.add(format!("{}.{}", info.name.schema, info.name.name), value.clone());
        if path.contains(&info.name.schema.as_str()) {
            map.add(info.name.name.clone(), value);
        }
    }
    map
}

/// The text of a schema argument (`oid`, `regnamespace` or `text`, cast to text) to its OID: schemas shown under their own name.
pub(crate) fn schema_spellings(v: &Visibility<'_>) -> Map {
    let mut map = Map::default();
    let shown = v
        .catalog
        .schemas
        .iter()
        .filter(|(name, oid)| is_system(name) || v.scope().schemas.get(name.as_str()).is_some_and(|o| o == *oid));
    let own = v.own_schema().into_iter().flat_map(|(name, oid)| [(name, oid), ("pg_temp", oid)]);
    for (name, oid) in shown.map(|(name, oid)| (name.as_str(), *oid)).chain(own) {
        map.add_oid(oid.0);
        spellings(name).into_iter().for_each(|n| map.add(n, oid.to_string()));
    }
    map
}

/// How a name may be spelled in text that PostgreSQL parses as a name: quoted, and bare when that reads back as itself.
pub(crate) fn spellings(name: &str) -> Vec<String> {
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '$'));
    if bare { vec![quoted, name.to_owned()] } else { vec![quoted] }
}

/// Relations and indexes, and whether the caller's path finds them by their bare name (`pg_table_is_visible`).
pub(crate) fn found_by_path(v: &Visibility<'_>) -> Vec<(u32, bool)> {
    let mut all = Vec::new();
    let path = v.effective_path();
    let in_path = |schema: &str| path.contains(&schema);
    for r in v.system_relations() {
        let found = v.find_relation(None, &r.name.name) == Some(r.oid);
        all.push((r.oid.0, found));
        all.extend(r.indexes.iter().map(|i| (i.oid.0, in_path(&r.name.schema))));
    }
    for s in &v.scope().relations {
        let logical = &s.decision.logical;
        let there = in_path(&logical.schema);
        all.push((s.relation.oid.0, there && v.find_relation(None, &logical.name) == Some(s.relation.oid)));
        all.extend(s.indexes().map(|i| (i.oid.0, there)));
    }
    let composites = &v.scope().composites;
    if !composites.is_empty() {
        let of = |t: &crate::catalog::TypeInfo| (t.relation.0, in_path(&t.name.schema));
        all.extend(v.catalog.types.values().filter(|t| composites.contains(&t.relation.0)).map(|t| of(t)));
    }
    all
}

/// Types, and whether the caller's path finds them by their bare name (`pg_type_is_visible`).
pub(crate) fn types_found_by_path(v: &Visibility<'_>) -> Vec<(u32, bool)> {
    let path = v.effective_path();
    let of = |oid| v.catalog.types.get(&Oid(oid)).map(|info| (oid, type_is_found(info, &path, v)));
    types(v).filter_map(of).collect()
}

fn type_is_found(info: &super::TypeInfo, path: &[&str], v: &Visibility<'_>) -> bool {
    let first = path.iter().find_map(|schema| {
        let key = crate::types::QualifiedName::new(*schema, info.name.name.clone());
        v.catalog.type_names.get(&key).filter(|o| v.type_is_visible(**o))
    });
    first == Some(&info.oid)
}

#[cfg(test)]
mod tests {
    use super::super::visibility::tests::{catalog, decision, relation};
    use super::*;

    #[test]
    fn constants_are_quoted() {
        let mut map = Map::default();
        map.add("it's \"x\"", "v");
        assert_eq!(
            map.find("k"),
            "pg_catalog.jsonb_object_field_text('{\"it''s \\\"x\\\"\":\"v\"}'::pg_catalog.jsonb, k)"
        );
        assert_eq!(name_array(["a\"b", "c\\d", "e'f"]), "'{\"a\\\"b\",\"c\\\\d\",\"e''f\"}'::pg_catalog.name[]");
        assert_eq!(oid_array([3, 1]), "'{1,3}'::pg_catalog.oid[]");
    }

    #[test]
    fn a_spelling_of_two_relations_stands_for_none() {
        let mut map = Map::default();
        map.add("x", "1");
        map.add("x", "2");
        map.add("y", "1");
        map.add("y", "1");
        assert_eq!(map.to_sql(), "'{\"y\":\"1\"}'::pg_catalog.jsonb");
    }

    #[test]
    fn hidden_relations_have_no_spelling() {
        let a = relation(20000, "public", "a", &["x"]);
        let hidden = relation(20020, "public", "zz_hidden", &["x"]);
        let seen = [decision(&a, None, &[])];
        let catalog = catalog(vec![a, hidden]);
        let path = ["public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &seen);
        let sql = relation_spellings(&v).to_sql();
        for key in ["\"a\"", "\"public.a\"", "\"20000\"", r#""\"public\".\"a\"""#] {
            assert!(sql.contains(key), "{key} in {sql}");
        }
        let paths = format!("{:?} {:?}", found_by_path(&v), types_found_by_path(&v));
        for sql in [relation_spellings(&v).to_sql(), type_spellings(&v).to_sql(), paths] {
            assert!(!sql.contains("zz_hidden") && !sql.contains("20020") && !sql.contains("20022"), "{sql}");
        }
    }

    #[test]
    fn a_bare_name_is_there_only_on_the_path() {
        let a = relation(20000, "sales", "a", &["x"]);
        let seen = [decision(&a, None, &[])];
        let catalog = catalog(vec![a]);
        let path = ["public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &seen);
        assert!(!relation_spellings(&v).to_sql().contains("\"a\":"));
        assert!(found_by_path(&v).contains(&(20000, false)));
    }
}
