//! Whose tokens are taken, and what is read from them.
//!
//! In: an entry of `issuers`. Out: [`Issuer`]. Sources: RFC 7519 (claims), RFC 7518 section 3.1 (algorithms), RFC 8725 (best practices),
//! RFC 7628 (what a client is told). Must never: allow `none`, or an algorithm whose key is a shared secret.

use super::mapping::Mapping;
use crate::config::load::Context;
use crate::config::reader::{Entries, Reader};
use crate::config::tls;
use crate::governance::model::Origin;
use crate::governance::tree::{Node, Value};
use crate::identity::token::KeySet;
use rustls::pki_types::CertificateDer;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest difference of clocks that is put up with.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

/// An issuer of tokens.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it stands.
    pub origin: Origin,
    /// `iss`, to the letter.
    pub issuer: String,
    /// One of these is in `aud`.
    pub audience: Vec<String>,
    /// Its keys.
    pub keys: KeysFrom,
    /// Algorithms taken.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// `typ` of the header, when it has to be a certain one (RFC 8725, 3.11).
    pub kind: Option<String>,
    /// Provider of its users and groups.
    pub iam: Iam,
    /// Which users it may log in.
    pub users: Users,
    /// What is read from a token.
    pub claims: Claims,
    /// What else a token has to say.
    pub require: Vec<Requirement>,
    /// Told to clients that ask how to get a token (RFC 7628, 3.2.2).
    pub discovery: String,
    /// The scope they are to ask for.
    pub scope: String,
}

/// Who vouches for what a token says.
#[derive(Debug, Clone)]
pub enum Iam {
    /// This provider, whatever the token.
    One(Arc<str>),
    /// The one of these that a claim of the token names (an issuer with several tenants).
    Named {
        /// The claim.
        path: Path,
        /// Those it may name.
        allowed: Vec<Arc<str>>,
    },
}

/// Where the public keys are.
#[derive(Debug, Clone)]
pub enum KeysFrom {
    /// A file, read again when it changes.
    File(PathBuf),
    /// A URL.
    Url(Remote),
}

/// A key set somewhere else.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `https`, or `http` on this machine.
    pub url: String,
    /// Authorities that vouch for it.
    pub roots: Arc<Vec<CertificateDer<'static>>>,
    /// Fetched again when older.
    pub refresh: Duration,
    /// Not used any more when older.
    pub stale: Duration,
    /// Shortest time between two fetches, whatever happens.
    pub pause: Duration,
    /// Longest time a fetch may take.
    pub timeout: Duration,
}

/// Signature algorithms (RFC 7518, RFC 8037). HMAC and `none` do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// By its name in `alg`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// Which users may come with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Those of the identity file.
    Declared,
    /// Others too: then the token alone says what they are.
    Any,
}

/// Where something stands in a token: names of claims inside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub Vec<String>);

/// What is read from a token.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The user's name.
    pub user: Path,
    /// From that name to the login.
    pub map: Mapping,
    /// Groups.
    pub groups: Option<Path>,
    /// Attributes by name.
    pub attributes: Vec<(String, Path)>,
}

/// A claim that has to be there with one of some values.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The claim.
    pub path: Path,
    /// One of these.
    pub values: Vec<String>,
}

impl Path {
    /// `a.b.c`, a URL taken whole, or a list of names.
    fn read(reader: &mut Reader, node: &Node) -> Option<Self> {
        if let Value::List(_) = node.value {
            let names = reader.strings(node);
            return if names.is_empty() { Self::wrong(reader, node) } else { Some(Self(names)) };
        }
        Self::from_text(&reader.string(node)?).or_else(|| Self::wrong(reader, node))
    }

    /// `a.b.c`, or a URL taken whole.
    fn from_text(text: &str) -> Option<Self> {
        if text.contains("://") {
            return Some(Self(vec![text.to_owned()]));
        }
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Self(names))
    }

    fn wrong(reader: &mut Reader, node: &Node) -> Option<Self> {
        let origin = reader.origin(node);
        reader.error(&origin, "not a claim", "write its name, outer.inner, or a list of names when they hold dots");
        None
    }
}

pub(super) fn read(context: &Context<'_>, reader: &mut Reader, name: &str, node: &Node) -> Option<Issuer> {
    let origin = reader.origin(node);
    let mut entries = reader.map(node)?;
    let issuer = reader.required(&mut entries, "issuer").and_then(|node| reader.string(node));
    let audience = reader.required(&mut entries, "audience").map(|node| (node, reader.strings(node)));
    let keys = reader.required(&mut entries, "keys").and_then(|node| keys(context, reader, node));
    let algorithms = algorithms(reader, &mut entries);
    let leeway = leeway(reader, &mut entries);
    let kind = text(reader, &mut entries, "type");
    let iam = iam(reader, &mut entries, name);
    let users = users(reader, &mut entries);
    let claims = claims(reader, &mut entries);
    let require = require(reader, &mut entries);
    let discovery = text(reader, &mut entries, "discovery");
    let scope = text(reader, &mut entries, "scope");
    reader.close(entries);
    if let Some((node, names)) = &audience
        && names.is_empty()
    {
        let origin = reader.origin(node);
        reader.error(&origin, "no audience", "name what the issuer calls this proxy: tokens for others are not for it");
    }
    let issuer = issuer?;
    Some(Issuer {
        name: name.into(),
        origin,
        audience: audience?.1,
        keys: keys?,
        algorithms: algorithms?,
        leeway: leeway?,
        kind,
        iam: iam?,
        users: users?,
        claims: claims?,
        require: require?,
        discovery: discovery
            .unwrap_or_else(|| format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))),
        scope: scope.unwrap_or_else(|| "openid".to_owned()),
        issuer,
    })
}

fn text(reader: &mut Reader, entries: &mut Entries<'_>, name: &'static str) -> Option<String> {
    reader.optional(entries, name).and_then(|node| reader.string(node))
}

fn iam(reader: &mut Reader, entries: &mut Entries<'_>, name: &str) -> Option<Iam> {
    let Some(node) = reader.optional(entries, "iam") else { return Some(Iam::One(name.into())) };
    if !matches!(node.value, Value::Map(_)) {
        return reader.string(node).map(|iam| Iam::One(iam.into()));
    }
    let mut fields = reader.map(node)?;
    let path = reader.required(&mut fields, "claim").and_then(|node| Path::read(reader, node));
    let allowed = reader.required(&mut fields, "allowed").map(|node| (node, reader.strings(node)));
    reader.close(fields);
    let (node, allowed) = allowed?;
    if allowed.is_empty() {
        let origin = reader.origin(node);
        reader.error(&origin, "no provider may be named", "list those that this issuer may speak for");
        return None;
    }
    Some(Iam::Named { path: path?, allowed: allowed.into_iter().map(Into::into).collect() })
}

fn algorithms(reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Vec<Algorithm>> {
    let Some(node) = reader.optional(entries, "algorithms") else {
        return Some(vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]);
    };
    let names = reader.strings(node);
    let found: Option<Vec<Algorithm>> = names.iter().map(|name| Algorithm::named(name)).collect();
    if found.as_ref().is_none_or(Vec::is_empty) {
        let origin = reader.origin(node);
        let help = "some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; never none, and no HS*: \
                    their key would have to be a secret shared with the issuer";
        reader.error(&origin, "not a list of signature algorithms", help);
        return None;
    }
    found
}

fn leeway(reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Duration> {
    let Some(node) = reader.optional(entries, "leeway") else { return Some(Duration::from_secs(30)) };
    let leeway = reader.duration(node)?;
    if leeway > MOST_LEEWAY {
        let origin = reader.origin(node);
        reader.error(&origin, "the leeway is above ten minutes", "expired tokens would be good for as long");
        return None;
    }
    Some(leeway)
}

fn users(reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Users> {
    let Some(node) = reader.optional(entries, "users") else { return Some(Users::Declared) };
    let words = [("declared", Users::Declared), ("any", Users::Any)];
    let help = "`declared`: users of the identity file only; `any`: the token alone may say who somebody is";
    reader.word(node, &words, "declared or any is expected here", help)
}

fn claims(reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Claims> {
    let mut claims =
        Claims { user: Path(vec!["sub".to_owned()]), map: Mapping::default(), groups: None, attributes: Vec::new() };
    let Some(node) = reader.optional(entries, "claims") else { return Some(claims) };
    let mut fields = reader.map(node)?;
    if let Some(node) = reader.optional(&mut fields, "user") {
        claims.user = Path::read(reader, node)?;
    }
    if let Some(node) = reader.optional(&mut fields, "map") {
        claims.map = Mapping::read(reader, node);
    }
    if let Some(node) = reader.optional(&mut fields, "groups") {
        claims.groups = Some(Path::read(reader, node)?);
    }
    let attributes = reader.optional(&mut fields, "attributes");
    for (name, _, node) in attributes.map(|node| reader.named(node)).unwrap_or_default() {
        claims.attributes.push((name.to_owned(), Path::read(reader, node)?));
    }
    reader.close(fields);
    Some(claims)
}

fn require(reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Vec<Requirement>> {
    let Some(node) = reader.optional(entries, "require") else { return Some(Vec::new()) };
    let mut all = Vec::new();
    for (name, origin, node) in reader.named(node) {
        let values = reader.strings(node);
        let Some(path) = Path::from_text(name).filter(|_| !values.is_empty()) else {
            reader.error(&origin, "not a claim and its values", "write claim: value, or claim: [one, another]");
            return None;
        };
        all.push(Requirement { path, values });
    }
    Some(all)
}

fn keys(context: &Context<'_>, reader: &mut Reader, node: &Node) -> Option<KeysFrom> {
    let origin = reader.origin(node);
    let mut entries = reader.map(node)?;
    let file = reader.optional(&mut entries, "file");
    let url = reader.optional(&mut entries, "url");
    let found = match (file, url) {
        (Some(node), None) => key_file(context, reader, node),
        (None, Some(node)) => remote(context, reader, node, &mut entries).map(KeysFrom::Url),
        (None, None) | (Some(_), Some(_)) => {
            reader.error(&origin, "keys are in one of `file` and `url`", "write {file: PATH} or {url: ADDRESS}");
            None
        }
    };
    reader.close(entries);
    found
}

/// A key set that is not one now would let nobody in: better told at once.
fn key_file(context: &Context<'_>, reader: &mut Reader, node: &Node) -> Option<KeysFrom> {
    let path = context.path(reader, node)?;
    let origin = reader.origin(node);
    if std::fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o002 != 0) {
        let message = format!("{} may be written by everybody on this machine", path.display());
        reader.warning(&origin, message, "whoever puts a key into it can log in as anybody: chmod o-w");
    }
    let why = match std::fs::read(&path) {
        Ok(bytes) => match KeySet::parse(&bytes) {
            Ok(_) => return Some(KeysFrom::File(path)),
            Err(why) => why.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let message = format!("{} cannot be used as a key set: {why}", path.display());
    reader.error(&origin, message, "name a JSON file {\"keys\": [...]} (RFC 7517) with public keys");
    None
}

fn remote(context: &Context<'_>, reader: &mut Reader, node: &Node, entries: &mut Entries<'_>) -> Option<Remote> {
    let url = reader.string(node)?;
    let mut remote = Remote {
        url,
        roots: Arc::default(),
        refresh: Duration::from_secs(600),
        stale: Duration::from_secs(3600),
        pause: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };
    for (name, into) in [
        ("refresh", &mut remote.refresh),
        ("stale", &mut remote.stale),
        ("pause", &mut remote.pause),
        ("timeout", &mut remote.timeout),
    ] {
        if let Some(node) = reader.optional(entries, name) {
            *into = reader.some_duration(node)?;
        }
    }
    let authority = reader.optional(entries, "ca");
    let origin = reader.origin(node);
    if !is_safe(&remote.url) {
        let help =
            "whoever can change keys on their way can log in as anybody: https, or http on this machine's loopback";
        reader.error(&origin, "keys cannot come from there", help);
        return None;
    }
    if remote.stale < remote.refresh {
        reader.error(&origin, "`stale` is below `refresh`", "keys would be useless before they are fetched again");
        return None;
    }
    let (path, at) = match authority {
        Some(node) => (context.roots(reader, node)?, reader.origin(node)),
        None => (None, origin),
    };
    if remote.url.starts_with("http://") {
        return Some(remote);
    }
    match tls::roots(path.as_deref()) {
        Ok(roots) => remote.roots = Arc::new(roots),
        Err(error) => {
            reader.error(&at, error.to_string(), "name a PEM file of root certificates in `ca`");
            return None;
        }
    }
    Some(remote)
}

/// The host and port of `scheme://host[:port]…`, when it is a name or an address and nothing else.
pub(in crate::config) fn authority<'a>(url: &'a str, scheme: &str) -> Option<(&'a str, &'a str)> {
    let rest = url.strip_prefix(scheme)?.strip_prefix("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if port.is_empty() || port.starts_with(':') => host,
        Some(_) => return None,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let port = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest).split_once(':').map(|(_, port)| port);
    let known = host.parse::<std::net::IpAddr>().is_ok() || rustls::pki_types::DnsName::try_from(host).is_ok();
    let port = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    (known && port && !url.chars().any(|c| c.is_whitespace() || c.is_control())).then_some((host, path))
}

/// Whether a host is this machine.
pub(in crate::config) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_safe(url: &str) -> bool {
    authority(url, "https").is_some() || authority(url, "http").is_some_and(|(host, _)| is_loopback(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for url in
            ["https://sso.example.com/keys", "https://10.0.0.1:8443/k?x=y", "http://127.0.0.1:80/", "http://[::1]:9/k"]
        {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://sso.example.com/keys",
            "http://localhost@evil.example/keys",
            "http://localhost.evil.example/keys",
            "http://127.0.0.1\\@evil.example/",
            "https://",
            "https:///keys",
            "file:///etc/keys",
            "https://a b/",
            "https://a:99999/",
            "https://[::1]x/",
        ] {
            assert!(!is_safe(url), "{url}");
        }
    }

    #[test]
    fn claims_by_their_names() {
        let path = |text: &str| Path::from_text(text).map(|p| p.0.join("|"));
        assert_eq!(path("realm_access.roles").as_deref(), Some("realm_access|roles"));
        assert_eq!(path("https://a.example/groups").as_deref(), Some("https://a.example/groups"));
        assert_eq!((path("a..b"), path(".a")), (None, None));
        assert_eq!(
            (Algorithm::named("none"), Algorithm::named("HS256"), Algorithm::named("rs256")),
            (None, None, None)
        );
    }
}
