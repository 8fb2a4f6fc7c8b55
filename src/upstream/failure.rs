//! Why no session with the warehouse came about, and what a client is told of it.
//!
//! In: what went wrong while connecting or logging in. Out: a [`Refusal`] for the client, a line for the log. Must never: name the host,
//! the service login or anything the warehouse said in the refusal.

use crate::error::{Family, Refusal, SqlState};
use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the host name cannot be resolved")]
    UnknownHost,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
    #[error("the warehouse does not offer TLS, but sslmode asks for it")]
    TlsNotOffered,
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the warehouse asks for a password and none is configured")]
    NoPassword,
    #[error("the warehouse asks for the password in the clear on a connection without TLS")]
    Cleartext,
    #[error("the warehouse asks for an authentication method that is not supported")]
    Method,
    #[error("the warehouse did not prove that it knows the password")]
    Unproven,
    #[error("protocol: {0}")]
    Protocol(&'static str),
    #[error("the warehouse refused the session: {code}: {message}")]
    Rejected { code: String, message: String },
    #[error("a pooler before the warehouse does not pass on the settings that sessions begin with")]
    Dropped,
    #[error("behind the pooler, sessions do not begin with {name} = '{wanted}'")]
    Unset { name: &'static str, wanted: String },
    #[error("two sessions with the warehouse share one server process")]
    Shared,
}

/// How PgBouncer begins its refusal of a startup packet with settings that it does not know.
const UNSUPPORTED: &str = "unsupported startup parameter";

impl Failure {
    /// What a client is told: that it failed, and which kind of thing to look at.
    pub(super) fn refusal(&self, key: &str) -> Refusal {
        let unset;
        let (code, why) = match self {
            Self::Rejected { message, .. } if message.starts_with(UNSUPPORTED) => (
                SqlState::CONNECTION_FAILURE,
                "a pooler stands before it that takes no settings; its connection needs `pooler: session`",
            ),
            Self::Dropped => (
                SqlState::CONNECTION_FAILURE,
                "a pooler stands before it that drops settings; its connection needs `pooler: session`",
            ),
            Self::Unset { name, wanted } => {
                unset = format!(
                    "its sessions do not begin with {name} = '{wanted}', which has to be set for the service login \
                     (ALTER ROLE … IN DATABASE … SET {name} = …)"
                );
                (SqlState::CONNECTION_FAILURE, unset.as_str())
            }
            Self::Shared => (
                SqlState::CONNECTION_FAILURE,
                "the pooler before it shares server processes: it has to pool sessions, not transactions or statements",
            ),
            Self::UnknownHost => (SqlState::CONNECTION_FAILURE, "host name cannot be resolved"),
            Self::Connect(error) | Self::Lost(error) => (
                SqlState::CONNECTION_FAILURE,
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => "connection refused",
                    io::ErrorKind::NotFound => "no socket there",
                    io::ErrorKind::PermissionDenied => "no permission to connect",
                    io::ErrorKind::TimedOut => "connection timed out",
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        "connection closed during login"
                    }
                    _ => "connection failed",
                },
            ),
            Self::TlsNotOffered => (SqlState::CONNECTION_FAILURE, "it does not offer TLS"),
            Self::Tls(_) => (SqlState::CONNECTION_FAILURE, "TLS could not be established"),
            Self::Timeout => (SqlState::CONNECTION_FAILURE, "connection timed out"),
            Self::NoPassword | Self::Cleartext | Self::Method | Self::Unproven => {
                (SqlState::CONNECTION_FAILURE, "the service login failed")
            }
            Self::Protocol(_) => (SqlState::CONNECTION_FAILURE, "it does not speak the expected protocol"),
            Self::Rejected { code, .. } => match code.as_str() {
                "53300" => (SqlState::TOO_MANY_CONNECTIONS, "it has too many connections"),
                "57P03" => (SqlState::CANNOT_CONNECT_NOW, "it is starting up or shutting down"),
                "3D000" => (SqlState::CONNECTION_FAILURE, "its database does not exist"),
                code if code.starts_with("28") => (SqlState::CONNECTION_FAILURE, "the service login failed"),
                _ => (SqlState::CONNECTION_FAILURE, "it refused the session"),
            },
        };
        Refusal::new(Family::Upstream, code, format!("could not connect to warehouse \"{key}\": {why}"))
    }

    /// The refusal, after a line in the log that says more.
    pub(super) fn logged(self, key: &str) -> Refusal {
        tracing::warn!(connection = key, "no session with the warehouse: {self}");
        self.refusal(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words() {
        let said = |failure: Failure| {
            let refusal = failure.refusal("warehouse");
            (refusal.code.0, refusal.message.into_owned())
        };
        let rejected = |code: &str| Failure::Rejected { code: code.into(), message: "role \"svc\" of host h".into() };
        assert_eq!(
            said(Failure::Connect(io::ErrorKind::ConnectionRefused.into())),
            ("08006", "could not connect to warehouse \"warehouse\": connection refused".into())
        );
        assert_eq!(said(rejected("53300")).0, "53300");
        assert_eq!(said(rejected("57P03")).0, "57P03");
        for code in ["28P01", "28000", "3D000", "42501"] {
            let (state, words) = said(rejected(code));
            assert_eq!(state, "08006");
            assert!(!words.contains("svc"), "{words}");
        }
        let refused =
            Failure::Rejected { code: "08P01".into(), message: "unsupported startup parameter: search_path".into() };
        assert!(said(refused).1.ends_with("its connection needs `pooler: session`"));
        let unset = Failure::Unset { name: "search_path", wanted: "pg_catalog, pg_temp".into() };
        assert!(said(unset).1.contains("search_path = 'pg_catalog, pg_temp'"));
    }
}
