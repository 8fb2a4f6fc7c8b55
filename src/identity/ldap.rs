//! Asks an LDAP server whether a password is somebody's (RFC 4511, RFC 4513). Needs the network: async.
//!
//! In: a login name and a password. Out: whether the server takes them. Must never: bind without a password (that is anonymous, and
//! succeeds: RFC 4513, 5.1.2), let a name become more than a value in a filter or an entry's name, or tell a user who is not there from
//! one whose password is another.

pub mod directory;

use crate::config::Secret;
use crate::config::authentication::{Find, LdapServer};
use ldap3::result::{LdapError, LdapResult};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, dn_escape, ldap_escape};
use std::time::Duration;
use tokio::time::timeout;

/// `{user}`, as in the configuration.
const USER: &str = crate::config::authentication::LDAP_USER;

/// The server could not be asked: for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// Result codes of RFC 4511, appendix A, by which a server says no to this name or password.
const NO: [u32; 9] = [
    16, // noSuchAttribute
    19, // constraintViolation: locked out, in some servers
    32, // noSuchObject
    34, // invalidDNSyntax
    48, // inappropriateAuthentication: an entry without a password
    49, // invalidCredentials
    50, // insufficientAccessRights
    53, // unwillingToPerform: an account that is disabled
    65, // objectClassViolation
];
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;

/// Whether the password is the user's. All of it takes no longer than the server's timeout.
///
/// # Errors
/// When the server cannot be asked, does not answer, or answers what is neither yes nor no.
pub async fn check(server: &LdapServer, user: &str, password: &str) -> Result<bool, Unanswered> {
    if password.is_empty() || password.contains('\0') || user.is_empty() {
        return Ok(false);
    }
    within(server.timeout, async {
        let mut ldap = connect(server).await?;
        let answer = ask(&mut ldap, server, user, password).await;
        let _ = ldap.unbind().await;
        answer
    })
    .await
}

/// Whether the server can be reached, and lets the proxy search: for `sqlveil check`.
///
/// # Errors
/// Why not.
pub async fn reach(server: &LdapServer) -> Result<(), Unanswered> {
    within(server.timeout, async {
        let mut ldap = connect(server).await?;
        let searched = match &server.find {
            Find::Name(_) => Ok(()),
            Find::Search { base, filter, service } => {
                let nobody = filter.replace(USER, "sqlveil-check");
                search(&mut ldap, base, &nobody, service.as_ref()).await.map(drop)
            }
        };
        let _ = ldap.unbind().await;
        searched
    })
    .await
}

async fn within<T>(limit: Duration, what: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
    timeout(limit, what).await.unwrap_or_else(|_| Err(Unanswered("no answer in time".to_owned())))
}

impl From<LdapError> for Unanswered {
    fn from(error: LdapError) -> Self {
        match error {
            LdapError::LdapResult { result } => result.into(),
            other => Self(other.to_string()),
        }
    }
}

impl From<LdapResult> for Unanswered {
    /// Servers put what they like into their diagnostic message; only the code is repeated.
    fn from(result: LdapResult) -> Self {
        Self(format!("result code {}", result.rc))
    }
}

async fn connect(server: &LdapServer) -> Result<Ldap, Unanswered> {
    let mut settings = LdapConnSettings::new();
    if let Some(tls) = &server.tls {
        settings = settings.set_config(tls.clone()).set_starttls(server.start_tls);
    }
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &server.url).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "a connection to an LDAP server was lost");
        }
    });
    Ok(ldap)
}

async fn ask(ldap: &mut Ldap, server: &LdapServer, user: &str, password: &str) -> Result<bool, Unanswered> {
    match &server.find {
        Find::Name(template) => bind(ldap, &template.replace(USER, &dn_escape(user)), password).await,
        Find::Search { base, filter, service } => {
            let filter = filter.replace(USER, &ldap_escape(user));
            match search(ldap, base, &filter, service.as_ref()).await? {
                Some(name) => bind(ldap, &name, password).await,
                None => {
                    // As many questions as for somebody who is there.
                    let nobody = format!("cn={},{base}", dn_escape(user));
                    bind(ldap, &nobody, password).await.map(|_| false)
                }
            }
        }
    }
}

/// Binds as whoever may search; without one the search is anonymous.
async fn login(ldap: &mut Ldap, service: Option<&(String, Secret)>) -> Result<(), Unanswered> {
    let Some((name, password)) = service else { return Ok(()) };
    // Never empty: that would be anonymous.
    let password = std::str::from_utf8(password.expose()).ok().filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Unanswered("the service password is not a text".to_owned()))?;
    ldap.simple_bind(name, password).await?.success()?;
    Ok(())
}

/// The name of the one entry that is found.
async fn search(
    ldap: &mut Ldap,
    base: &str,
    filter: &str,
    service: Option<&(String, Secret)>,
) -> Result<Option<String>, Unanswered> {
    login(ldap, service).await?;
    // No attributes (RFC 4511, 4.5.1.8): only the name is wanted.
    let found = ldap.with_search_options(SearchOptions::new().sizelimit(2));
    let found = found.search(base, Scope::Subtree, filter, vec!["1.1"]).await?;
    match found.1.rc {
        0 | SIZE_LIMIT_EXCEEDED => {}
        NO_SUCH_OBJECT => return Ok(None),
        _ => return Err(found.1.into()),
    }
    let mut entries = found.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
    Ok(match (entries.next(), entries.next()) {
        (Some(only), None) => Some(SearchEntry::construct(only).dn).filter(|name| !name.is_empty()),
        // Two who could be meant are nobody.
        _ => None,
    })
}

async fn bind(ldap: &mut Ldap, name: &str, password: &str) -> Result<bool, Unanswered> {
    let result: LdapResult = ldap.simple_bind(name, password).await?;
    match result.rc {
        0 => Ok(true),
        code if NO.contains(&code) => Ok(false),
        _ => Err(result.into()),
    }
}
