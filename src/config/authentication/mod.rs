//! Who proves his name by what: ordered rules, the first that fits decides, in the spirit of `pg_hba.conf` (PostgreSQL manual, 20.1).
//!
//! In: the lists `authentication`, `issuers` and `ldap` of the configuration. Out: [`Rules`], asked once a connection. Must never: look at
//! whether a user exists, or fall through a rule that fits and fails.

mod issuer;
mod ldap;
mod load;
mod mapping;
mod network;

pub use issuer::{Algorithm, Claims, Iam, Issuer, KeysFrom, Path as ClaimPath, Remote, Requirement, Users};
pub(super) use issuer::{authority, is_loopback};
pub use ldap::{Find, LdapServer, USER as LDAP_USER};
pub(super) use load::{LdapServers, network, read, servers};
pub use mapping::{Mapping, Pattern};
pub use network::Network;

use crate::governance::model::Origin;
use std::net::IpAddr;
use std::sync::Arc;

/// The rules in their order.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Every issuer declared, used or not.
    pub issuers: Vec<Arc<Issuer>>,
    /// Every LDAP server declared, used or not.
    pub ldap: Vec<Arc<LdapServer>>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where it stands.
    pub origin: Origin,
    /// Connections it is for.
    pub connection: Transport,
    /// Client addresses it is for; empty = every.
    pub networks: Vec<Network>,
    /// Database names it is for, as clients give them; empty = every.
    pub databases: Vec<Pattern>,
    /// Login names it is for; empty = every.
    pub users: Vec<Pattern>,
    /// What a client certificate has to show besides.
    pub certificate: Certificate,
    /// Passwords and tokens may come over connections that others can read.
    pub in_clear: bool,
    /// How the name is proved.
    pub method: Method,
}

/// Kinds of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Every (`host`).
    Any,
    /// From this machine's loopback addresses, under TLS or not.
    Local,
    /// Under TLS (`hostssl`).
    Tls,
    /// Not under TLS (`hostnossl`).
    Plain,
}

/// `clientcert` of `pg_hba.conf`, with a map.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// None is asked for.
    Free,
    /// One that an authority of `client_ca` has signed.
    Signed,
    /// Such a one, and one of its names leads to the login.
    Named(Field, Mapping),
}

/// Where in a certificate the name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The subject's common name.
    CommonName,
    /// The whole subject (RFC 4514).
    Subject,
    /// An e-mail address of the subject's alternative names (RFC 5280, 4.2.1.6).
    Email,
    /// A DNS name of them.
    Dns,
    /// A URI of them.
    Uri,
}

/// How a name is proved.
#[derive(Debug, Clone)]
pub enum Method {
    /// SCRAM-SHA-256 against the identity file.
    Scram {
        /// Only bound to the TLS channel (SCRAM-SHA-256-PLUS).
        plus: bool,
    },
    /// The client certificate alone; [`Rule::certificate`] tells how.
    Certificate,
    /// A token in the place of a password.
    Jwt(Arc<Issuer>),
    /// SASL OAUTHBEARER (RFC 7628).
    Bearer(Arc<Issuer>),
    /// A password that an LDAP server knows.
    Ldap(Arc<LdapServer>),
    /// By nothing.
    Reject,
}

impl Method {
    /// As in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scram { .. } => "scram-sha-256",
            Self::Certificate => "cert",
            Self::Jwt(_) => "jwt",
            Self::Bearer(_) => "oauthbearer",
            Self::Ldap(_) => "ldap",
            Self::Reject => "reject",
        }
    }

    /// Whether whoever listens on the way learns a secret.
    fn shows_secret(&self) -> bool {
        match self {
            Self::Jwt(_) | Self::Bearer(_) | Self::Ldap(_) => true,
            Self::Scram { .. } | Self::Certificate | Self::Reject => false,
        }
    }
}

/// A connection that asks for a session.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Where it comes from.
    pub address: IpAddr,
    /// Whether it is under TLS.
    pub tls: bool,
    /// The database name it gave.
    pub database: &'a str,
    /// The login name it gave, without a project.
    pub user: &'a str,
}

impl Asking<'_> {
    fn is_local(&self) -> bool {
        self.address.to_canonical().is_loopback()
    }
}

impl Rule {
    fn fits(&self, asking: &Asking<'_>) -> bool {
        let transport = match self.connection {
            Transport::Any => true,
            Transport::Local => asking.is_local(),
            Transport::Tls => asking.tls,
            Transport::Plain => !asking.tls,
        };
        let any = |patterns: &[Pattern], value| patterns.is_empty() || patterns.iter().any(|p| p.meets(value));
        transport
            && (self.networks.is_empty() || self.networks.iter().any(|network| network.holds(asking.address)))
            && any(&self.databases, asking.database)
            && any(&self.users, asking.user)
    }

    /// Whether the method would send a secret where others can read it.
    pub fn exposes(&self, asking: &Asking<'_>) -> bool {
        self.method.shows_secret() && !self.in_clear && !asking.tls && !asking.is_local()
    }

    /// Whether it fits whatever asks.
    fn fits_all(&self) -> bool {
        self.connection == Transport::Any
            && self.networks.is_empty()
            && self.databases.is_empty()
            && self.users.is_empty()
    }
}

impl Rules {
    /// The rules in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The first rule that fits; `None` = nobody asks this way.
    pub fn first(&self, asking: &Asking<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(asking))
    }
}

#[cfg(test)]
mod tests;
