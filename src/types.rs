//! Small shared value types: identifiers and names that every room speaks of.
//!
//! In: nothing. Out: plain values. Must never: know a room, do I/O, or carry a secret.

use std::fmt;

/// A PostgreSQL object identifier (`oid`), 0 meaning "none" (`InvalidOid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Oid(pub u32);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A `schema.name` pair, unquoted, as the catalog stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct QualifiedName {
    /// The schema, unquoted.
    pub schema: String,
    /// The object's own name, unquoted.
    pub name: String,
}

impl QualifiedName {
    /// Builds a name from its two parts, both unquoted.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The name as SQL text, always quoted (`"schema"."name"`).
    pub fn to_sql(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Quotes an identifier for SQL, always with double quotes, doubling those inside
/// (PostgreSQL manual, 4.1.1 Identifiers and Key Words).
pub fn quote_ident(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Quotes a string as an SQL literal under `standard_conforming_strings = on`: single quotes are doubled and
/// nothing else is special. The one quoting function for every value that enters generated SQL.
///
/// NUL cannot be held by PostgreSQL text; it is dropped by no one: callers reject it when the value is loaded.
pub fn quote_literal(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// Lower-case hexadecimal digits, two a byte.
pub fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    let mut out = String::with_capacity(128);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    out
}
