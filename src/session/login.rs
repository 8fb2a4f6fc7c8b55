//! Who logs in, to which database, under which project and with which settings.
//!
//! In: a StartupMessage and an authenticated exchange. Out: a [`Wish`]: what the session begins with. SCRAM as in PostgreSQL manual 55.3
//! and RFC 5802. Must never: tell an unknown user from a wrong password, or a database before the login succeeded.

use super::handshake::Greeted;
use super::settings::split_search_path;
use crate::error::{Family, Refusal, SqlState};
use crate::identity::scram::{LoginVerifier, ServerExchange};
use crate::types::{quote_ident, quote_literal};
use crate::wire::frontend::sasl_initial;
use crate::wire::startup::{StartupMessage, command_line};
use crate::wire::{Frontend, Header, Limits, backend};
use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
            "client_encoding" => {
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                if !matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
                    return Err(refused("only client_encoding UTF8 is supported"));
                }
            }
            _ => {
                if name == "application_name" {
                    self.application.clone_from(&value);
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

    /// The settings as the SET statements a caller would write, to be decided like any other.
    pub fn as_sql(&self) -> String {
        let set = |(name, value): &(String, String)| {
            let name: Vec<String> = name.split('.').map(quote_ident).collect();
            format!("SET {} TO {}", name.join("."), quote_literal(value))
        };
        self.settings.iter().map(set).collect::<Vec<_>>().join("; ")
    }
}

/// Why a login ended.
#[derive(Debug)]
pub enum Failed {
    /// The client is told why.
    Refused(Refusal),
    /// The client is gone.
    Gone(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Negotiates the protocol version and lets the client prove its password; AuthenticationOk has then been sent. `may_go_on` is asked
/// once the proof has come, before it is looked at.
pub async fn authenticate(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    greeted: &mut Greeted,
    verifier: LoginVerifier,
    end_point: Option<&[u8]>,
    may_go_on: impl Fn() -> Result<(), Refusal>,
) -> Result<(), Failed> {
    let mut out = BytesMut::with_capacity(512);
    if greeted.negotiate {
        backend::negotiate_protocol_version(&mut out, greeted.minor, &greeted.message.options);
    }
    let mut exchange = ServerExchange::new(verifier, end_point);
    backend::authentication_sasl(&mut out, &exchange.mechanisms());
    client.write_all_buf(&mut out).await?;
    client.flush().await?;

    let first = answer(client, &mut greeted.input).await?;
    let (mechanism, data) = sasl_initial(&first)?;
    let reply = exchange.client_first(mechanism, data)?;
    backend::authentication_sasl_continue(&mut out, &reply);
    client.write_all_buf(&mut out).await?;
    client.flush().await?;

    let last = answer(client, &mut greeted.input).await?;
    may_go_on()?;
    let reply = exchange.client_final(&last)?;
    backend::authentication_sasl_final(&mut out, &reply);
    backend::authentication_ok(&mut out);
    client.write_all_buf(&mut out).await?;
    Ok(())
}

/// The next password message (`p`); anything else is a protocol violation.
async fn answer(client: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> Result<Vec<u8>, Failed> {
    let limits = Limits::default();
    loop {
        if let Some(header) = Header::scan(input)? {
            if header.tag != b'p' {
                let text = format!("expected SASL response, got message type {}", header.tag);
                return Err(Refusal::protocol(text).into());
            }
            limits.check(header)?;
            if input.len() >= header.total() {
                let message = input.split_to(header.total());
                let body = message.get(Header::LEN..).unwrap_or_default();
                return match Frontend::parse(header.tag, body)? {
                    Frontend::Authentication(data) => Ok(data.to_vec()),
                    _ => Err(Refusal::protocol("expected SASL response").into()),
                };
            }
        }
        if client.read_buf(input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
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
