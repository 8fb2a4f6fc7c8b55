//! Who logs in, to which database, under which project and with which settings.
//!
//! In: a StartupMessage. Out: a [`Wish`]: what the session begins with, once [`super::proof`] has shown who asks. Must never: keep a
//! setting that is not asked for like a SET of the caller.

use super::settings::split_search_path;
use crate::error::{Family, Refusal, SqlState};
use crate::identity::impersonation::signed_name;
use crate::plan::settings::USER;
use crate::types::{quote_ident, quote_literal};
use crate::wire::startup::{StartupMessage, command_line};

/// What a client asks its session to begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The login name as given.
    pub login: String,
    /// The database name; the login name when not given, as in PostgreSQL.
    pub database: String,
    /// `application_name`, for the audit records.
    pub application: String,
    /// `search_path`.
    pub search_path: Option<String>,
    /// `sqlveil.project`.
    pub project: Option<String>,
    /// `sqlveil.user`.
    pub user: Option<String>,
    /// Other settings in order, each to be asked for like a SET of the caller.
    pub settings: Vec<(String, String)>,
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Family::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, message)
}

impl Wish {
    /// Reads the parameters of a StartupMessage. Names are case-insensitive, as settings are.
    pub fn read(message: &StartupMessage) -> Result<Self, Refusal> {
        let mut wish = Self::default();
        for (name, value) in &message.parameters {
            match name.as_str() {
                "user" => wish.login = value.clone(),
                "database" => wish.database = value.clone(),
                "options" => {
                    for (name, value) in command_line(value)? {
                        wish.setting(&name, value)?;
                    }
                }
                "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
                "replication" => return Err(refused("replication connections are not supported")),
                name => wish.setting(name, value.clone())?,
            }
        }
        if wish.login.is_empty() {
            let text = "no PostgreSQL user name specified in startup packet";
            return Err(Refusal::new(Family::Caller, SqlState::INVALID_AUTHORIZATION, text));
        }
        if wish.database.is_empty() {
            wish.database.clone_from(&wish.login);
        }
        Ok(wish)
    }

    fn setting(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "search_path" if split_search_path(&value, "").is_some() => self.search_path = Some(value),
            "sqlveil.project" => self.project = Some(value).filter(|v| !v.is_empty()),
            USER => self.user = Some(value).filter(|v| !v.is_empty()),
            "client_encoding" => {
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                // SQL_ASCII, which libpq asks for in the C locale, is the server's own bytes (PostgreSQL manual, 24.3.3).
                if !matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode" | "sqlascii") {
                    return Err(refused("only client_encoding UTF8 is supported")
                        .with_hint("Set PGCLIENTENCODING=UTF8, or client_encoding=utf8 in the connection string."));
                }
            }
            _ => {
                if name == "application_name" {
                    // A signature is for nobody's eyes.
                    self.application = if signed_name(&value).is_some() { "signed".to_owned() } else { value.clone() };
                }
                let word = |w: &str| {
                    !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                };
                if name == "search_path" || !name.split('.').all(word) {
                    let text = format!("invalid value for parameter \"{name}\"");
                    return Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text));
                }
                self.settings.retain(|(known, _)| *known != name);
                self.settings.push((name, value));
            }
        }
        Ok(())
    }

    /// Whether the name of the application says for whom the login acts.
    pub fn signs(&self) -> bool {
        self.settings.iter().any(|(name, value)| name == "application_name" && signed_name(value).is_some())
    }

    /// The settings as the SET statements a caller would write, to be decided like any other.
    pub fn as_sql(&self) -> String {
        let set = |(name, value): &(String, String)| {
            let name: Vec<String> = name.split('.').map(quote_ident).collect();
            format!("SET {} TO {}", name.join("."), quote_literal(value))
        };
        self.settings.iter().map(set).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Wish, Refusal> {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Wish::read(&StartupMessage { minor: 0, parameters, options: vec![] })
    }

    #[test]
    fn parameters_and_options_become_settings() {
        let wish = read(&[
            ("user", "analyst+P"),
            ("DateStyle", "ISO, MDY"),
            ("application_name", "it's"),
            ("client_encoding", "UTF-8"),
            ("options", "-c sqlveil.project=FRAUD -c search_path=a,b --extra-float-digits=3 -c DateStyle=ISO"),
        ])
        .unwrap();
        assert_eq!((wish.login.as_str(), wish.database.as_str()), ("analyst+P", "analyst+P"));
        assert_eq!((wish.project.as_deref(), wish.search_path.as_deref()), (Some("FRAUD"), Some("a,b")));
        let sql = "SET \"application_name\" TO 'it''s'; SET \"extra_float_digits\" TO '3'; SET \"datestyle\" TO 'ISO'";
        assert_eq!(wish.as_sql(), sql);
    }

    #[test]
    fn what_cannot_be_granted_is_refused() {
        for (parameters, code) in [
            (&[("database", "d")][..], "28000"),
            (&[("user", "u"), ("replication", "database")], "0A000"),
            (&[("user", "u"), ("client_encoding", "LATIN1")], "0A000"),
            (&[("user", "u"), ("options", "-S 5")], "0A000"),
            (&[("user", "u"), ("a\" TO 1; DROP", "x")], "22023"),
            (&[("user", "u"), ("search_path", "a,")], "22023"),
        ] {
            assert_eq!(read(parameters).unwrap_err().code.0, code, "{parameters:?}");
        }
        assert!(read(&[("user", "u"), ("replication", "off")]).is_ok());
    }
}
