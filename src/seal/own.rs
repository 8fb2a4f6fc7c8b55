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

/// What makes a session ready for its next holder, and the tag of each statement in it: his settings and, `thorough`, nothing that may be
/// left there but prepared statements. All of `DISCARD ALL` besides (manual, DISCARD), which cannot be run together with anything.
pub fn handover<'s>(thorough: bool, settings: impl Iterator<Item = &'s Sealed>) -> (Sealed, Vec<&'static str>) {
    let (mut text, mut tags) = ("RESET ALL".to_owned(), vec!["RESET"]);
    let left = [
        ("RESET SESSION AUTHORIZATION", "RESET"),
        ("RESET ROLE", "RESET"),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("UNLISTEN *", "UNLISTEN"),
        ("SELECT pg_catalog.pg_advisory_unlock_all()", "SELECT 1"),
        ("DISCARD TEMP", "DISCARD TEMP"),
        ("DISCARD SEQUENCES", "DISCARD SEQUENCES"),
    ];
    let left = left.into_iter().filter(|_| thorough);
    for (statement, tag) in left.chain(settings.map(|setting| (setting.as_str(), "SET"))) {
        text.push_str(";\n");
        text.push_str(statement);
        tags.push(tag);
    }
    (Sealed::of(text), tags)
}

/// Every setting as at the session's start.
pub fn reset_settings() -> Sealed {
    Sealed::of("RESET ALL".to_owned())
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
