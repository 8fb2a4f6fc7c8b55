//! Which settings a caller may set, show and reset, and which the proxy holds itself.
//!
//! In: a setting's name and value. Out: yes, no, or the proxy's own answer. Must never: let through a setting that makes the server
//! read text otherwise than the parser, or a policy mean something else.

use super::SessionView;

/// Settings that callers may set and that only shape the form or the limits of their own answers (PostgreSQL manual, 20.11 and others).
const SETTABLE: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_min_messages",
    "cursor_tuple_fraction",
    "datestyle",
    "deadlock_timeout",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "enable_bitmapscan",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_seqscan",
    "enable_sort",
    "extra_float_digits",
    "from_collapse_limit",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "join_collapse_limit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "max_parallel_workers_per_gather",
    "plan_cache_mode",
    "statement_timeout",
    "synchronize_seqscans",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "work_mem",
    "xmlbinary",
];

/// Settings that are pinned but may be "set" to the value they have.
const PINNED: &[(&str, &[&str])] = &[
    ("client_encoding", &["utf8", "utf-8", "unicode"]),
    ("names", &["utf8", "utf-8", "unicode"]),
    ("standard_conforming_strings", &["on", "true", "yes", "1"]),
    ("row_security", &["on", "true", "yes", "1"]),
];

/// Settings whose values are limited: below `notice` the server tells every client the text of the statements it executes.
const LIMITED: &[(&str, &[&str])] = &[("client_min_messages", &["notice", "warning", "error"])];

/// Settings that may be shown besides those that may be set: facts about the server that drivers ask for.
const SHOWABLE: &[&str] = &[
    "array_nulls",
    "block_size",
    "client_encoding",
    "default_table_access_method",
    "default_text_search_config",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "max_identifier_length",
    "max_index_keys",
    "row_security",
    "server_encoding",
    "server_version",
    "server_version_num",
    "standard_conforming_strings",
];

/// What SET of a value comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Settable {
    /// Forwarded.
    Forward,
    /// The setting has that value already; forwarded, it changes nothing.
    Pinned,
    /// Held by the proxy.
    Own(&'static str),
    /// Pinned to another value.
    PinnedElsewhere,
    /// Not on the list.
    Unknown,
}

/// Classifies SET of `name` (any case) to `value` (`None` = DEFAULT or RESET).
pub fn settable(name: &str, value: Option<&str>) -> Settable {
    let lower = name.to_ascii_lowercase();
    if let Some(own) = own(&lower) {
        return Settable::Own(own);
    }
    #[cfg(feature = "disarm")]
    if crate::disarm::is_off(crate::disarm::Defence::Settings) {
        return Settable::Forward;
    }
    if let Some((_, values)) = LIMITED.iter().find(|(n, _)| *n == lower) {
        let fine = value.is_none_or(|v| values.contains(&v.trim().to_ascii_lowercase().as_str()));
        return if fine { Settable::Forward } else { Settable::PinnedElsewhere };
    }
    if SETTABLE.binary_search(&lower.as_str()).is_ok() {
        return Settable::Forward;
    }
    match PINNED.iter().find(|(n, _)| *n == lower) {
        Some((_, values)) => {
            let same = value.is_none_or(|v| values.contains(&v.trim().to_ascii_lowercase().as_str()));
            if same { Settable::Pinned } else { Settable::PinnedElsewhere }
        }
        None => Settable::Unknown,
    }
}

/// Whether a lower-case name may be set to whatever the caller likes.
pub fn any_value(lower: &str) -> bool {
    SETTABLE.binary_search(&lower).is_ok() && LIMITED.iter().all(|(limited, _)| *limited != lower)
}

/// Whether SHOW of a lower-case name may be forwarded.
pub fn may_show(lower: &str) -> bool {
    SETTABLE.binary_search(&lower).is_ok() || SHOWABLE.binary_search(&lower).is_ok()
}

/// The settings for which [`may_show`] holds.
pub fn shown() -> impl Iterator<Item = &'static str> {
    SETTABLE.iter().chain(SHOWABLE).copied()
}

/// The proxy's own settings.
fn own(lower: &str) -> Option<&'static str> {
    match lower {
        "search_path" => Some("search_path"),
        "sqlveil.project" => Some("sqlveil.project"),
        USER => Some(USER),
        ACKNOWLEDGE => Some(ACKNOWLEDGE),
        _ => None,
    }
}

/// SET of this to a project's key accepts what the project asks for; it holds no value.
pub const ACKNOWLEDGE: &str = "sqlveil.acknowledge";

/// SET of this to a login name acts for that user, where the login is permitted to.
pub const USER: &str = "sqlveil.user";

impl SessionView {
    /// Value of a setting that the proxy answers itself, by lower-case name.
    pub fn own_setting(&self, lower: &str, user: &str) -> Option<String> {
        match lower {
            "search_path" => Some(self.search_path_text.clone()),
            "sqlveil.project" => Some(self.project.clone()),
            USER => Some(self.user.clone()),
            "is_superuser" => Some("off".to_owned()),
            "role" => Some("none".to_owned()),
            "session_authorization" => Some(user.to_owned()),
            _ => None,
        }
    }

    /// All of those, with their values.
    pub fn own_settings(&self, user: &str) -> Vec<(&'static str, String)> {
        let names = ["search_path", "sqlveil.project", USER, "is_superuser", "role", "session_authorization"];
        names.into_iter().filter_map(|name| Some((name, self.own_setting(name, user)?))).collect()
    }
}

/// One schema of a search path, quoted when needed, as SHOW prints it.
pub fn path_element(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !crate::sql::names::is_keyword(name) { name.to_owned() } else { crate::types::quote_ident(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_for_binary_search() {
        assert!(SETTABLE.is_sorted());
        assert!(SHOWABLE.is_sorted());
    }

    #[test]
    fn dangerous_settings_are_not_settable() {
        for name in [
            "role",
            "session_authorization",
            "session_replication_role",
            "transform_null_equals",
            "array_nulls",
            "backslash_quote",
            "escape_string_warning",
            "default_text_search_config",
            "debug_print_plan",
            "log_statement",
            "temp_tablespaces",
            "local_preload_libraries",
            "dynamic_library_path",
        ] {
            assert_eq!(settable(name, Some("on")), Settable::Unknown, "{name}");
        }
        assert_eq!(settable("Standard_Conforming_Strings", Some("off")), Settable::PinnedElsewhere);
        assert_eq!(settable("client_encoding", Some("LATIN1")), Settable::PinnedElsewhere);
        assert_eq!(settable("client_encoding", Some("UTF8")), Settable::Pinned);
        assert_eq!(settable("DateStyle", Some("ISO")), Settable::Forward);
        assert_eq!(settable("client_min_messages", Some("Warning")), Settable::Forward);
        for level in ["log", "debug", "debug1", "debug5", "info"] {
            assert_eq!(settable("client_min_messages", Some(level)), Settable::PinnedElsewhere, "{level}");
        }
        assert_eq!(settable("search_path", Some("x")), Settable::Own("search_path"));
    }
}
