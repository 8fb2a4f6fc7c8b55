//! Statements that the proxy makes itself, from values alone: SHOW and SET of the settings it holds.

use super::Sealed;
use crate::types::{QualifiedName, quote_ident, quote_literal};

/// Gives up a prepared statement.
pub fn deallocate(name: &str) -> Sealed {
    Sealed::of(format!("DEALLOCATE {}", quote_ident(name)))
}

/// What clears a session of everything its last user left there but prepared statements, and gives it settings again.
pub fn clear<'s>(settings: impl Iterator<Item = &'s Sealed>) -> Sealed {
    // First of all from the user's own timeouts.
    let mut text = "RESET ALL;\nCLOSE ALL;\nDISCARD TEMP;\nDISCARD SEQUENCES".to_owned();
    for setting in settings {
        text.push_str(";\n");
        text.push_str(setting.as_str());
    }
    Sealed::of(text)
}

/// The lock that reading these relations takes; of none, one that changes nothing but fails outside a transaction as PostgreSQL's does.
pub fn lock_shared(relations: &[QualifiedName], nowait: bool) -> Sealed {
    let names: Vec<String> = relations.iter().map(QualifiedName::to_sql).collect();
    let names = if names.is_empty() { "pg_catalog.pg_class".to_owned() } else { names.join(", ") };
    Sealed::of(format!("LOCK TABLE {names} IN ACCESS SHARE MODE{}", if nowait { " NOWAIT" } else { "" }))
}

/// `SHOW name` answered by the proxy: one row, one column of that name.
pub fn show_own(name: &str, value: &str) -> Sealed {
    Sealed::of(format!("SELECT {}::pg_catalog.text AS {}", quote_literal(value), quote_ident(name)))
}

/// The placeholder of a setting that the proxy holds, as `set_config` names it.
pub fn placeholder(name: &'static str) -> &'static str {
    if name == "search_path" { "sqlveil.search_path" } else { name }
}

/// `SET name` of a setting that the proxy holds: a placeholder setting of the same transaction behaviour on the warehouse, so that the
/// statement answers, fails and rolls back as PostgreSQL's would.
pub fn set_own(name: &'static str, value: Option<&str>, local: bool) -> Sealed {
    let placeholder = match placeholder(name) {
        "sqlveil.user" => "sqlveil.\"user\"",
        plain => plain,
    };
    let scope = if local { "LOCAL " } else { "" };
    Sealed::of(format!("SET {scope}{placeholder} TO {}", quote_literal(value.unwrap_or_default())))
}
