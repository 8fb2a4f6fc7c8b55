//! SQL text with holes for what is only known when a caller asks: his entitlements and the salt.
//!
//! In: pieces put together by the compiler. Out: final text for one caller. Caller values enter as one quoted literal each.
//! Must never: splice a caller's value into SQL without quoting.

use super::salt::{KeyUse, Salt};
use crate::governance::model::tag_matches;
use crate::identity::{Caller, Entitlement};
use crate::types::quote_literal;
use std::collections::BTreeSet;

/// SQL with holes.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Sql(Vec<Piece>);

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The salt of masks: the project's when it replaces the data source's.
    MaskSalt,
    /// The salt of the data source, whatever the project.
    SourceSalt,
    /// A key derived from the salt of masks.
    MaskKey {
        of: KeyUse,
        column: Option<String>,
        shape: KeyShape,
    },
    /// The login name, as a text literal.
    Username,
    /// The identity provider, as a text literal.
    Iam,
    /// A set, as a `text[]` literal.
    Array(CallerSet),
    /// Whether the set holds the value of an expression; FALSE for an empty set.
    Contains {
        set: CallerSet,
        value: Box<Sql>,
        form: Form,
    },
    /// TRUE or FALSE: member of one of the groups.
    InGroups(Vec<String>),
    /// TRUE or FALSE: has the attribute value.
    HasAttribute(String, String),
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyShape {
    /// As it is.
    Plain,
    /// As the block HMAC puts before the message.
    Inner,
    /// As the block HMAC puts before the inner digest.
    Outer,
}

/// A set of values of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallerSet {
    /// Group names, perhaps only of one identity provider.
    Groups { iam: Option<String> },
    /// Values of an attribute, perhaps only of one identity provider.
    Attribute { name: String, iam: Option<String> },
    /// Purposes acted under.
    Purposes,
}

/// How a value is compared with a set of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `(value)::text = ANY ('{…}'::text[])`.
    Text,
    /// Integers in canonical decimal form, compared as integers of this type: the same answer as by text, and indexable.
    Int { type_name: &'static str, min: i64, max: i64 },
}

/// Who a template is filled for.
#[derive(Clone, Copy)]
pub(crate) enum Filling<'a> {
    /// A caller; `mask` and `source` are the salts.
    For { caller: &'a Caller, mask: &'a Salt, source: &'a Salt },
    /// Neutral values of the right types, for probes: no salt, no caller.
    Probe,
}

impl Sql {
    /// Fixed text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }
    /// A `bytea` literal of the mask salt.
    pub(crate) fn mask_salt() -> Self {
        Self(vec![Piece::MaskSalt])
    }
    /// A `bytea` literal of the data source's salt.
    pub(crate) fn source_salt() -> Self {
        Self(vec![Piece::SourceSalt])
    }
    /// A `bytea` literal of a key derived from the mask salt; `column`: that column's alone.
    pub(crate) fn mask_key(of: KeyUse, column: Option<&str>, shape: KeyShape) -> Self {
        Self(vec![Piece::MaskKey { of, column: column.map(Into::into), shape }])
    }
    /// The login name.
    pub(crate) fn username() -> Self {
        Self(vec![Piece::Username])
    }
    /// The identity provider.
    pub(crate) fn iam() -> Self {
        Self(vec![Piece::Iam])
    }
    /// A set as an array.
    pub(crate) fn array(set: CallerSet) -> Self {
        Self(vec![Piece::Array(set)])
    }
    /// Whether the set holds the value.
    pub(crate) fn contains(set: CallerSet, value: Sql, form: Form) -> Self {
        Self(vec![Piece::Contains { set, value: Box::new(value), form }])
    }
    /// Member of one of the groups.
    pub(crate) fn in_groups(groups: Vec<String>) -> Self {
        Self(vec![Piece::InGroups(groups)])
    }
    /// Has the attribute value.
    pub(crate) fn has_attribute(name: String, value: String) -> Self {
        Self(vec![Piece::HasAttribute(name, value)])
    }
    /// Appends fixed text.
    #[must_use]
    pub(crate) fn then(mut self, text: &str) -> Self {
        self.0.push(Piece::Text(text.to_owned()));
        self
    }
    /// Appends another template.
    #[must_use]
    pub(crate) fn and(mut self, other: Sql) -> Self {
        self.0.extend(other.0);
        self
    }
    /// Text around a template.
    pub(crate) fn wrap(before: &str, inner: Sql, after: &str) -> Self {
        Self::text(before).and(inner).then(after)
    }
    /// Templates with a separator between them.
    pub(crate) fn join(parts: impl IntoIterator<Item = Sql>, separator: &str) -> Self {
        let mut out = Self::default();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                out = out.then(separator);
            }
            out = out.and(part);
        }
        out
    }
    /// The text for one caller.
    pub(crate) fn fill(&self, filling: Filling<'_>) -> String {
        let mut out = String::new();
        self.fill_into(filling, &mut out);
        out
    }

    fn fill_into(&self, filling: Filling<'_>, out: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::MaskSalt => out.push_str(&bytea_literal(&filling.mask_salt().hex())),
                Piece::SourceSalt => out.push_str(&bytea_literal(&filling.source_salt().hex())),
                Piece::MaskKey { of, column, shape } => {
                    let key = filling.mask_salt().key(*of, column.as_deref());
                    out.push_str(&bytea_literal(&match shape {
                        KeyShape::Plain => key.hex(),
                        KeyShape::Inner => key.padded_hex(0x36),
                        KeyShape::Outer => key.padded_hex(0x5c),
                    }));
                }
                Piece::Username => out.push_str(&text_literal(filling.username())),
                Piece::Iam => out.push_str(&text_literal(filling.iam())),
                Piece::Array(set) => out.push_str(&array_literal(filling.set(set).iter(), "text")),
                Piece::Contains { set, value, form } => contains_into(&filling.set(set), value, *form, filling, out),
                Piece::InGroups(groups) => out.push_str(truth(filling.in_groups(groups))),
                Piece::HasAttribute(name, value) => out.push_str(truth(filling.has_attribute(name, value))),
            }
        }
    }
}

fn contains_into(values: &BTreeSet<String>, value: &Sql, form: Form, filling: Filling<'_>, out: &mut String) {
    let kept: Vec<&String> = match form {
        Form::Text => values.iter().filter(|v| !v.contains('\0')).collect(),
        Form::Int { min, max, .. } => values.iter().filter(|v| canonical_int(v, min, max)).collect(),
    };
    if kept.is_empty() {
        out.push_str("FALSE");
        return;
    }
    out.push('(');
    let element = match form {
        Form::Text => {
            out.push('(');
            value.fill_into(filling, out);
            out.push_str(")::pg_catalog.text");
            "text"
        }
        Form::Int { type_name, .. } => {
            value.fill_into(filling, out);
            type_name
        }
    };
    out.push_str(" = ANY (");
    out.push_str(&array_literal(kept.into_iter(), element));
    out.push_str("))");
}

/// Whether a string is exactly what PostgreSQL prints for some integer in the range.
fn canonical_int(text: &str, min: i64, max: i64) -> bool {
    text.parse::<i64>().is_ok_and(|n| n >= min && n <= max && n.to_string() == text)
}

fn truth(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

fn bytea_literal(hex: &str) -> String {
    format!("'\\x{hex}'::pg_catalog.bytea")
}

/// A typed text literal. PostgreSQL text holds no NUL, so such a value equals nothing: NULL.
fn text_literal(value: &str) -> String {
    if value.contains('\0') {
        return "NULL::pg_catalog.text".to_owned();
    }
    format!("{}::pg_catalog.text", quote_literal(value))
}

/// The one builder of array literals (PostgreSQL manual, 8.15.6): every element in double quotes, `"` and `\` escaped by a
/// backslash, the whole quoted as one literal and typed. Elements with a NUL are left out: no text of the warehouse equals them.
pub(crate) fn array_literal<'a>(values: impl Iterator<Item = &'a String>, element: &str) -> String {
    let mut body = String::from("{");
    for value in values.filter(|v| !v.contains('\0')) {
        if body.len() > 1 {
            body.push(',');
        }
        body.push('"');
        for c in value.chars() {
            if c == '"' || c == '\\' {
                body.push('\\');
            }
            body.push(c);
        }
        body.push('"');
    }
    body.push('}');
    format!("{}::pg_catalog.{element}[]", quote_literal(&body))
}

impl Filling<'_> {
    fn mask_salt(self) -> Salt {
        match self {
            Self::For { mask, .. } => mask.clone(),
            Self::Probe => Salt::neutral(),
        }
    }
    fn source_salt(self) -> Salt {
        match self {
            Self::For { source, .. } => source.clone(),
            Self::Probe => Salt::neutral(),
        }
    }
    fn username(&self) -> &str {
        match self {
            Self::For { caller, .. } => &caller.user,
            Self::Probe => "user",
        }
    }
    fn iam(&self) -> &str {
        match self {
            Self::For { caller, .. } => &caller.iam,
            Self::Probe => "iam",
        }
    }
    fn set(self, set: &CallerSet) -> BTreeSet<String> {
        match self {
            Self::For { caller, .. } => caller_set(caller, set),
            Self::Probe => BTreeSet::from(["1".to_owned()]),
        }
    }
    fn in_groups(self, groups: &[String]) -> bool {
        match self {
            Self::For { caller, .. } => caller.groups.iter().any(|g| groups.contains(&g.value)),
            Self::Probe => false,
        }
    }
    fn has_attribute(self, name: &str, value: &str) -> bool {
        match self {
            Self::For { caller, .. } => {
                caller.attributes.get(name).is_some_and(|values| values.iter().any(|v| v.value == value))
            }
            Self::Probe => false,
        }
    }
}

/// The values of a caller's set.
pub(crate) fn caller_set(caller: &Caller, set: &CallerSet) -> BTreeSet<String> {
    fn of<'a>(entitlements: impl Iterator<Item = &'a Entitlement>, iam: Option<&String>) -> BTreeSet<String> {
        entitlements.filter(|e| iam.is_none_or(|i| *e.iam == **i)).map(|e| e.value.clone()).collect()
    }
    match set {
        CallerSet::Groups { iam } => of(caller.groups.iter(), iam.as_ref()),
        CallerSet::Attribute { name, iam } => of(caller.attributes.get(name).into_iter().flatten(), iam.as_ref()),
        CallerSet::Purposes => caller.purposes.clone(),
    }
}

/// Whether a caller acts under a purpose: the purpose itself or one of its descendants.
pub(crate) fn acts_under(caller: &Caller, purpose: &str) -> bool {
    caller.purposes.iter().any(|held| tag_matches(purpose, held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::caller;
    use proptest::prelude::*;

    fn filled(sql: &Sql, caller: &Caller) -> String {
        let salt = Salt::neutral();
        sql.fill(Filling::For { caller, mask: &salt, source: &salt })
    }

    #[test]
    fn an_empty_set_is_false() {
        let ann = caller("ann");
        let sql = Sql::contains(CallerSet::Groups { iam: None }, Sql::text(r#"_sv."c""#), Form::Text);
        assert_eq!(filled(&sql, &ann), "FALSE");
        assert_eq!(sql.fill(Filling::Probe), r#"((_sv."c")::pg_catalog.text = ANY ('{"1"}'::pg_catalog.text[]))"#);
    }

    #[test]
    fn integers_are_compared_as_integers_only_in_canonical_form() {
        let mut ann = caller("ann");
        for value in ["7", "07", "+7", "-3", "99999999999", "x", "-0"] {
            ann.groups.insert(Entitlement { value: value.into(), iam: "bim".into() });
        }
        let form = Form::Int { type_name: "int4", min: i64::from(i32::MIN), max: i64::from(i32::MAX) };
        let sql = Sql::contains(CallerSet::Groups { iam: None }, Sql::text(r#"_sv."n""#), form);
        assert_eq!(filled(&sql, &ann), r#"(_sv."n" = ANY ('{"-3","7"}'::pg_catalog.int4[]))"#);
    }

    #[test]
    fn a_provider_restricts_a_set() {
        let mut ann = caller("ann");
        ann.groups.insert(Entitlement { value: "a".into(), iam: "bim".into() });
        ann.groups.insert(Entitlement { value: "b".into(), iam: "okta".into() });
        let sql = Sql::array(CallerSet::Groups { iam: Some("okta".into()) });
        assert_eq!(filled(&sql, &ann), r#"'{"b"}'::pg_catalog.text[]"#);
    }

    /// Reads an array literal back as PostgreSQL does (`array_in`), to check the quoting by an inverse written independently.
    fn read_back(literal: &str) -> Vec<String> {
        let body = literal.strip_prefix('\'').unwrap().strip_suffix("'::pg_catalog.text[]").unwrap();
        let body = body.replace("''", "'");
        let mut out = Vec::new();
        let mut chars = body.strip_prefix('{').unwrap().strip_suffix('}').unwrap().chars();
        while let Some(c) = chars.next() {
            match c {
                ',' => {}
                '"' => {
                    let mut element = String::new();
                    loop {
                        match chars.next().unwrap() {
                            '"' => break,
                            '\\' => element.push(chars.next().unwrap()),
                            other => element.push(other),
                        }
                    }
                    out.push(element);
                }
                other => panic!("bare {other} in {literal}"),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn array_literals_hold_exactly_their_values(values in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            prop_assert_eq!(read_back(&array_literal(values.iter(), "text")), values);
        }

        #[test]
        fn array_literals_are_one_token(values in proptest::collection::vec("['\\\\\"{},]{0,8}", 0..4)) {
            use sqlparser::{dialect::PostgreSqlDialect, tokenizer::{Token, Tokenizer}};
            let text = array_literal(values.iter(), "text");
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, &text).tokenize().unwrap();
            prop_assert_eq!(tokens.iter().filter(|t| matches!(t, Token::SingleQuotedString(_))).count(), 1);
            prop_assert_eq!(tokens.len(), 7);
        }
    }
}
