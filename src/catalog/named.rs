//! Collations, and configurations, dictionaries and parsers of text search, by their names.
//!
//! In: a name as a statement gives it. Out: whether the caller may name it. Must never: tell whether an object outside `pg_catalog` exists.
//!
//! What a caller may name is what `pg_collation` and its like show him: the objects of `pg_catalog`. Upstream's search path is that schema
//! alone (namespace.c never looks for these in `pg_temp`), so that a bare name means the same object there.

use super::lookup::{Map, spellings};
use super::reg::identifiers;
use super::visibility::Visibility;
use super::{Catalog, Function};
use crate::error::{Family, Refusal, SqlState};
use crate::types::Oid;

/// The kinds of objects that have names like relations and are looked up by them when a statement is analyzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum NamedKind {
    Collation,
    Configuration,
    Dictionary,
    Parser,
}

/// Functions whose first argument names a parser, by `text` or `oid`.
const OF_PARSERS: &[&str] = &["ts_parse", "ts_token_type"];

impl NamedKind {
    /// The kind that an OID alias type stands for.
    pub(crate) fn of_alias(type_name: &str) -> Option<Self> {
        match type_name {
            "regcollation" => Some(Self::Collation),
            "regconfig" => Some(Self::Configuration),
            "regdictionary" => Some(Self::Dictionary),
            _ => None,
        }
    }

    /// The kind that the argument at a place of `pg_catalog.name` stands for (types in pg_type.dat).
    pub(crate) fn of_argument(name: &str, function: &Function, at: usize) -> Option<Self> {
        if at == 0 && OF_PARSERS.contains(&name) {
            return Some(Self::Parser);
        }
        match function.args.get(at)?.0 {
            3734 => Some(Self::Configuration),
            3769 => Some(Self::Dictionary),
            4191 => Some(Self::Collation),
            _ => None,
        }
    }

    /// What PostgreSQL says of a name that stands for nothing (namespace.c).
    fn undefined(self, name: &str) -> Refusal {
        let text = match self {
            Self::Collation => format!("collation \"{name}\" for encoding \"UTF8\" does not exist"),
            Self::Configuration => format!("text search configuration \"{name}\" does not exist"),
            Self::Dictionary => format!("text search dictionary \"{name}\" does not exist"),
            Self::Parser => format!("text search parser \"{name}\" does not exist"),
        };
        Refusal::new(Family::Caller, SqlState::UNDEFINED_OBJECT, text)
    }
}

/// Whether a caller may name an object, given the parts of its name: the name itself, which stands in `pg_catalog`.
///
/// # Errors
/// PostgreSQL's own for a name that stands for nothing, the same for one that is hidden: 42704, or 3F000 where the caller sees no such
/// schema. `seen` is asked only then.
pub fn find<'p, 'v, 'c: 'v>(
    kind: NamedKind,
    parts: &[&'p str],
    catalog: &Catalog,
    seen: impl FnOnce() -> &'v Visibility<'c>,
) -> Result<&'p str, Refusal> {
    let written = parts.join(".");
    match parts {
        [name] | ["pg_catalog", name] if catalog.is_named(kind, name) => Ok(name),
        [_] => Err(kind.undefined(&written)),
        [schema, _] if seen().schema_is_visible(schema) => Err(kind.undefined(&written)),
        [schema, _] => {
            Err(Refusal::new(Family::Caller, SqlState("3F000"), format!("schema \"{schema}\" does not exist")))
        }
        [_, _, _] => Err(Refusal::unsupported(format!("cross-database references are not implemented: {written}"))),
        _ => {
            let text = format!("improper qualified name (too many dotted names): {written}");
            Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, text))
        }
    }
}

/// As [`find`], for a name in text, as the input functions read it (regproc.c; `ts_parse_byname`, wparser.c): digits are an OID, `-` is
/// none. The text that upstream may be given instead.
///
/// # Errors
/// As [`find`].
pub fn find_text<'v, 'c: 'v>(
    kind: NamedKind,
    text: &str,
    catalog: &Catalog,
    seen: impl FnOnce() -> &'v Visibility<'c>,
) -> Result<String, Refusal> {
    if kind != NamedKind::Parser {
        if text == "-" {
            return Ok("0".to_owned());
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let oid = text.parse().map(Oid).ok();
            let shown = oid.is_some_and(|oid| oid.0 == 0 || catalog.named(kind).any(|(_, o)| o == oid));
            return if shown { Ok(text.to_owned()) } else { Err(kind.undefined(text)) };
        }
    }
    let parts = identifiers(text)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let name = find(kind, &parts, catalog, seen)?;
    Ok(crate::types::QualifiedName::new("pg_catalog", name).to_sql())
}

/// The OID (SQL of type oid) of what `argument` (SQL; a name as text, an OID, a value of the alias type) stands for; NULL when the caller
/// may not name it. The argument is mentioned once.
pub(crate) fn oid_of(kind: NamedKind, argument: &str, catalog: &Catalog) -> String {
    let mut map = Map::default();
    for (name, oid) in catalog.named(kind) {
        map.add_oid(oid.0);
        for spelled in spellings(name) {
            map.add(format!("pg_catalog.{spelled}"), oid.to_string());
            map.add(spelled, oid.to_string());
        }
    }
    let text = format!("({argument})::pg_catalog.text");
    // The system's names of text search are lower case; those of collations are not, and are written in quotes.
    let text = if kind == NamedKind::Collation { text } else { format!("pg_catalog.lower({text})") };
    format!("({})::pg_catalog.oid", map.find(&text))
}

/// Whether a constant argument means an object that callers may name, for who looks at the statement once more.
pub(crate) fn is_shown(kind: NamedKind, text: &str, catalog: &Catalog) -> bool {
    let number = kind != NamedKind::Parser && text.bytes().all(|b| b.is_ascii_digit());
    if number || text == "-" {
        return text == "-"
            || text.parse().is_ok_and(|oid: u32| oid == 0 || catalog.named(kind).any(|(_, o)| o.0 == oid));
    }
    let parts = identifiers(text).unwrap_or_default();
    match parts.as_slice() {
        // Of parsers PostgreSQL asks when the function runs: bare names are left to it, which looks in `pg_catalog` alone.
        [name] => kind == NamedKind::Parser || catalog.is_named(kind, name),
        [schema, name] => schema == "pg_catalog" && catalog.is_named(kind, name),
        _ => false,
    }
}

impl Catalog {
    fn is_named(&self, kind: NamedKind, name: &str) -> bool {
        self.named.get(&kind).is_some_and(|names| names.contains_key(name))
    }

    /// What callers may name of a kind.
    pub(crate) fn named(&self, kind: NamedKind) -> impl Iterator<Item = (&str, Oid)> {
        self.named.get(&kind).into_iter().flatten().map(|(name, oid)| (name.as_str(), *oid))
    }
}

#[cfg(test)]
mod tests {
    use super::super::visibility::tests::catalog;
    use super::*;

    #[test]
    fn hidden_and_missing_answer_alike() {
        let mut catalog = catalog(Vec::new());
        catalog.schemas.insert("secret".into(), Oid(16999));
        let path = ["public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &[]);
        for kind in [NamedKind::Collation, NamedKind::Configuration, NamedKind::Dictionary, NamedKind::Parser] {
            let said = |schema: &str| {
                let refusal = find(kind, &[schema, "x"], &catalog, || &v).unwrap_err();
                format!("{} {}", refusal.code.0, refusal.message).replace(schema, "?")
            };
            assert_eq!(said("secret"), said("nowhere"));
            assert!(said("secret").starts_with("3F000"));
            assert!(said("public").starts_with("42704"));
            assert!(said("pg_catalog").starts_with("42704"));
        }
    }

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        let catalog = catalog(Vec::new());
        let path = ["public".to_owned()];
        let v = Visibility::new(&catalog, "u", "db", &path, &[]);
        let said = |text: &str| find_text(NamedKind::Configuration, text, &catalog, || &v).map_err(|e| e.code.0);
        let english = Ok("\"pg_catalog\".\"english\"".to_owned());
        for text in ["english", "ENGLISH", " pg_catalog . English ", "\"english\""] {
            assert_eq!(said(text), english, "{text}");
        }
        assert_eq!(said("13000"), Ok("13000".to_owned()));
        assert_eq!(said("-"), Ok("0".to_owned()));
        for (text, code) in [
            ("\"English\"", "42704"),
            ("16999", "42704"),
            ("4294967296", "42704"),
            ("public.english", "42704"),
            ("secret.english", "3F000"),
            ("db.pg_catalog.english", "0A000"),
            ("a.b.c.d", "42601"),
            ("", "42602"),
            ("a..b", "42602"),
        ] {
            assert_eq!(said(text), Err(code), "{text}");
        }
    }

    #[test]
    fn a_computed_name_is_mentioned_once() {
        let catalog = catalog(Vec::new());
        let sql = oid_of(NamedKind::Configuration, "$1", &catalog);
        assert_eq!(sql.matches("$1").count(), 1);
        for key in ["\"english\"", "\"pg_catalog.english\"", "\"13000\""] {
            assert!(sql.contains(key), "{sql}");
        }
    }
}
