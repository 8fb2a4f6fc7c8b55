//! Servers that know passwords: LDAP (RFC 4511), simple bind and search+bind as in PostgreSQL manual, 20.10.
//!
//! In: an entry of `ldap`. Out: [`LdapServer`]. Must never: send a password where others can read it.

use super::issuer::{authority, is_loopback};
use crate::config::load::Context;
use crate::config::reader::{Entries, Reader};
use crate::config::{Secret, tls};
use crate::governance::model::Origin;
use crate::governance::tree::Node;
use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Stands for the login name.
pub const USER: &str = "{user}";

/// An LDAP server.
#[derive(Clone)]
pub struct LdapServer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it stands.
    pub origin: Origin,
    /// `ldap://host:port` or `ldaps://…`.
    pub url: String,
    /// TLS is begun by StartTLS (RFC 4511, 4.14).
    pub start_tls: bool,
    /// For either; `None` = in the clear, on this machine.
    pub tls: Option<Arc<ClientConfig>>,
    /// Longest time to connect, and for each answer.
    pub timeout: Duration,
    /// How a login name becomes an entry.
    pub find: Find,
    /// Only users of this provider.
    pub iam: Option<Arc<str>>,
}

impl fmt::Debug for LdapServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapServer").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// How a login name becomes an entry.
#[derive(Debug, Clone)]
pub enum Find {
    /// The entry's name, with [`USER`] in it.
    Name(String),
    /// By searching.
    Search {
        /// Below this entry.
        base: String,
        /// By this filter, with [`USER`] in it.
        filter: String,
        /// As whom: entry and password; `None` = anonymously.
        service: Option<(String, Secret)>,
    },
}

pub(super) fn read(context: &Context<'_>, reader: &mut Reader, name: &str, node: &Node) -> Option<LdapServer> {
    let origin = reader.origin(node);
    let mut entries = reader.map(node)?;
    let url_node = reader.required(&mut entries, "url");
    let url = url_node.and_then(|node| reader.string(node));
    let start_tls = reader.optional(&mut entries, "start_tls").and_then(|node| reader.boolean(node)).unwrap_or(false);
    let authority_node = reader.optional(&mut entries, "ca");
    let timeout = reader.optional(&mut entries, "timeout");
    let timeout = timeout.map_or(Some(Duration::from_secs(5)), |node| reader.some_duration(node));
    let iam = reader.optional(&mut entries, "iam").and_then(|node| reader.string(node));
    let find = find(context, reader, &mut entries);
    reader.close(entries);
    let (url, at) = (url?, url_node.map_or_else(|| origin.clone(), |node| reader.origin(node)));
    let refuse = |reader: &mut Reader, message: &str, help: &str| {
        reader.error(&at, message, help);
        None
    };
    let secure = match (authority(&url, "ldaps"), authority(&url, "ldap")) {
        (Some((_, "" | "/")), _) if start_tls => {
            return refuse(reader, "ldaps is TLS from the start", "remove start_tls, or write ldap://");
        }
        (Some((_, "" | "/")), _) => true,
        (None, Some((host, "" | "/"))) if start_tls || is_loopback(host) => start_tls,
        (None, Some((_, "" | "/"))) => {
            let help = "write ldaps://, or `start_tls: true`; in the clear only to this machine's loopback";
            return refuse(reader, "passwords would be sent in the clear", help);
        }
        (Some(_), _) | (None, _) => {
            return refuse(reader, "not the address of an LDAP server", "write ldaps://host or ldap://host:port");
        }
    };
    let (path, at) = match authority_node {
        Some(node) => (context.roots(reader, node)?, reader.origin(node)),
        None => (None, origin.clone()),
    };
    let tls = match secure.then(|| tls::verified(path.as_deref())).transpose() {
        Ok(tls) => tls,
        Err(error) => {
            reader.error(&at, error.to_string(), "name a PEM file of root certificates in `ca`");
            return None;
        }
    };
    Some(LdapServer {
        name: name.into(),
        origin,
        url,
        start_tls,
        tls,
        timeout: timeout?,
        find: find?,
        iam: iam.map(Into::into),
    })
}

fn find(context: &Context<'_>, reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Find> {
    let name = reader.optional(entries, "bind_dn");
    let search = reader.optional(entries, "search");
    match (name, search) {
        (Some(node), None) => with_user(reader, node).map(Find::Name),
        (None, Some(node)) => {
            let mut fields = reader.map(node)?;
            let base = reader.required(&mut fields, "base").and_then(|node| reader.string(node));
            let filter = match reader.optional(&mut fields, "filter") {
                Some(node) => filter(reader, node),
                None => Some(format!("(uid={USER})")),
            };
            let as_whom = reader.optional(&mut fields, "bind_dn").map(|node| reader.string(node));
            let password = reader.optional(&mut fields, "password").map(|node| context.secret(reader, node));
            let origin = fields.origin.clone();
            reader.close(fields);
            let service = match (as_whom, password) {
                (Some(name), Some(password)) => Some((name?, password?)),
                (None, None) => None,
                (Some(_), None) | (None, Some(_)) => {
                    let help = "give both, or neither to search anonymously";
                    reader.error(&origin, "`bind_dn` and `password` belong together", help);
                    return None;
                }
            };
            Some(Find::Search { base: base?, filter: filter?, service })
        }
        (None, None) | (Some(_), Some(_)) => {
            let origin = entries.origin.clone();
            let help = "write bind_dn: \"uid={user},ou=people,dc=example,dc=org\", or search: {base: …}";
            reader.error(&origin, "an LDAP server has one of `bind_dn` and `search`", help);
            None
        }
    }
}

fn with_user(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.string(node)?;
    if !text.contains(USER) {
        let origin = reader.origin(node);
        reader.error(&origin, format!("does not hold {USER}"), format!("write {USER} where the login name belongs"));
        return None;
    }
    Some(text)
}

fn filter(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = with_user(reader, node)?;
    if ldap3::parse_filter(text.replace(USER, "x")).is_err() {
        let origin = reader.origin(node);
        reader.error(
            &origin,
            "not an LDAP filter (RFC 4515)",
            "write for example \"(&(objectClass=person)(uid={user}))\"",
        );
        return None;
    }
    Some(text)
}
