//! Casts to the OID alias types (`regclass`, `regtype`, …; PostgreSQL manual, 8.19), which read the catalog by name and print names.
//!
//! In: the type and a literal or an expression, what the caller sees. Out: a resolved OID or a checked expression. Must never: tell that
//! a hidden object exists.

use super::Visibility;
use crate::error::Refusal;

/// SQL that stands for a cast of a non-literal `$1` to the type `pg_catalog.type_name`. `None`: such a cast is not allowed.
pub fn cast_guard(_type_name: &str, _v: &Visibility<'_>) -> Option<String> {
    None
}

/// Resolves the literal of a cast (`'customer'::regclass`) to the text of its OID, as the caller's search path and sight have it.
pub fn resolve_reg_literal(type_name: &str, _text: &str, _v: &Visibility<'_>) -> Result<String, Refusal> {
    Err(Refusal::unsupported(format!("casts to {type_name} are not supported")))
}

/// Whether casts to `pg_catalog.type_name` read or print the catalog, so that [`cast_guard`] and [`resolve_reg_literal`] apply.
pub fn is_reg_type(type_name: &str) -> bool {
    type_name.starts_with("reg")
}
