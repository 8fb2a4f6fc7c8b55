//! Reads `issuers`, `ldap` and `authentication`.
//!
//! In: the configuration file. Out: [`Rules`], or every problem at its line. Must never: accept a rule that cannot mean what it says
//! (a certificate without TLS, a password in the clear by mistake).

use super::mapping::{Mapping, Pattern};
use super::{Certificate, Field, Issuer, LdapServer, Method, Network, Rule, Rules, Transport, issuer, ldap};
use crate::config::load::Context;
use crate::config::reader::{Entries, Reader};
use crate::config::tls::ServerTls;
use crate::governance::tree::{Node, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const METHODS: &str = "one of scram-sha-256, cert, jwt, oauthbearer, ldap, reject";

/// Entries by name; `None` = declared, and wrong in itself.
type Named<T> = BTreeMap<String, Option<Arc<T>>>;

/// The servers under `ldap`.
pub(in crate::config) type LdapServers = Named<LdapServer>;

struct Declared {
    issuers: Named<Issuer>,
    ldap: Named<LdapServer>,
    /// Whether there is TLS at all, and whether client certificates can be checked.
    tls: bool,
    client_ca: bool,
    /// Whether a channel binding is defined for the certificate.
    end_point: bool,
}

/// The servers under `ldap`, for rules and directories.
pub(in crate::config) fn servers(context: &Context<'_>, reader: &mut Reader, top: &mut Entries<'_>) -> LdapServers {
    named(context, reader, top, "ldap", ldap::read)
}

/// The rules; `None` when there are none, and SCRAM-SHA-256 is asked of everybody.
pub(in crate::config) fn read(
    context: &Context<'_>,
    reader: &mut Reader,
    top: &mut Entries<'_>,
    tls: (Option<&ServerTls>, bool),
    ldap: LdapServers,
    directories: bool,
) -> Option<Rules> {
    let (tls, tls_declared) = tls;
    let issuers = named(context, reader, top, "issuers", issuer::read);
    let declared = Declared {
        issuers,
        ldap,
        tls: tls_declared,
        // What is wrong with `tls` itself is reported there.
        client_ca: tls.map_or(tls_declared, |tls| tls.asks_for_certificates),
        end_point: tls.is_none_or(|tls| tls.end_point.is_some()),
    };
    let node = reader.optional(top, "authentication");
    let Some(node) = node else {
        if !declared.issuers.is_empty() || !(declared.ldap.is_empty() || directories) {
            let origin = top.origin.clone();
            let help =
                "write rules under `authentication` that use them; without rules every login is by SCRAM-SHA-256";
            reader.warning(&origin, "`issuers` and `ldap` are not used", help);
        }
        return None;
    };
    let items = reader.list(node);
    if items.is_empty() {
        let origin = reader.origin(node);
        reader.error(&origin, "no rule: nobody could log in", "write a rule, or remove the key for SCRAM-SHA-256");
    }
    let mut rules: Vec<Rule> = Vec::new();
    for item in items {
        let Some(rule) = rule(reader, item, &declared) else { continue };
        if let Some(before) = rules.iter().find(|before| before.fits_all()) {
            let message = format!("this rule is never reached: the one at line {} fits everything", before.origin.line);
            reader.warning(&rule.origin, message, "the first rule that fits decides; put the general ones last");
        }
        rules.push(rule);
    }
    Some(Rules {
        rules,
        issuers: declared.issuers.into_values().flatten().collect(),
        ldap: declared.ldap.into_values().flatten().collect(),
    })
}

fn named<T>(
    context: &Context<'_>,
    reader: &mut Reader,
    top: &mut Entries<'_>,
    key: &'static str,
    read: fn(&Context<'_>, &mut Reader, &str, &Node) -> Option<T>,
) -> Named<T> {
    let Some(node) = reader.optional(top, key) else { return Named::new() };
    let entries = reader.named(node);
    entries
        .into_iter()
        .map(|(name, _, node)| (name.to_owned(), read(context, reader, name, node).map(Arc::new)))
        .collect()
}

fn rule(reader: &mut Reader, node: &Node, declared: &Declared) -> Option<Rule> {
    let mut entries = reader.map(node)?;
    let origin = entries.origin.clone();
    let connection = match reader.optional(&mut entries, "connection") {
        Some(node) => transport(reader, node),
        None => Some(Transport::Any),
    };
    let networks = several(reader, &mut entries, "network", network);
    let databases = several(reader, &mut entries, "database", named_or_regex);
    let users = several(reader, &mut entries, "user", named_or_regex);
    let in_clear = reader.optional(&mut entries, "in_clear").and_then(|node| reader.boolean(node));
    let method_node = reader.required(&mut entries, "method");
    let method = method_node.and_then(|node| method(reader, node, &mut entries, declared));
    let certificate = certificate(reader, &mut entries, declared, method.as_ref());
    reader.close(entries);
    let rule = Rule {
        origin,
        connection: connection?,
        networks: networks?,
        databases: databases?,
        users: users?,
        certificate: certificate?,
        in_clear: in_clear.unwrap_or(false),
        method: method?,
    };
    consistent(reader, &rule, in_clear.is_some(), declared);
    Some(rule)
}

/// What each key says by itself and all together do not.
fn consistent(reader: &mut Reader, rule: &Rule, in_clear_given: bool, declared: &Declared) {
    let needs_tls =
        matches!(rule.method, Method::Scram { plus: true }) || !matches!(rule.certificate, Certificate::Free);
    if rule.connection == Transport::Plain && needs_tls {
        let message = "certificates and channel binding need TLS, and this rule is for connections without it";
        reader.error(&rule.origin, message, "write `connection: tls`");
    } else if needs_tls && !declared.tls {
        reader.error(
            &rule.origin,
            "this rule needs TLS, and there is no `tls` in this configuration",
            "configure `tls`",
        );
    } else if rule.connection == Transport::Tls && !declared.tls {
        let help = "configure `tls`, or no connection will ever fit";
        reader.warning(&rule.origin, "this rule is for TLS, and there is no `tls` in this configuration", help);
    }
    if matches!(rule.method, Method::Scram { plus: true }) && !declared.end_point {
        let message = "no channel binding is defined for the signature algorithm of the certificate of `tls`";
        reader.error(&rule.origin, message, "use a certificate signed with RSA or ECDSA (RFC 5929, 4.1)");
    }
    if rule.method.shows_secret() && rule.connection == Transport::Plain && !rule.in_clear {
        let help = "write `connection: tls`; or `in_clear: true` where the way itself is secured, such as a VPN";
        reader.error(&rule.origin, "passwords and tokens would be sent in the clear", help);
    }
    if in_clear_given && !rule.method.shows_secret() {
        let help = "remove the key: this method sends nothing that could be used again";
        reader.error(&rule.origin, "`in_clear` is for jwt, oauthbearer and ldap", help);
    }
}

fn several<T>(
    reader: &mut Reader,
    entries: &mut Entries<'_>,
    key: &'static str,
    mut read: impl FnMut(&mut Reader, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(node) = reader.optional(entries, key) else { return Some(Vec::new()) };
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(node),
    };
    if items.is_empty() {
        let origin = reader.origin(node);
        reader.error(&origin, format!("an empty `{key}` fits nothing"), "remove the key to fit everything");
        return None;
    }
    // All of them, so that every problem is told.
    let read: Vec<Option<T>> = items.iter().map(|item| read(reader, item)).collect();
    read.into_iter().collect()
}

/// A name, or behind a slash a regular expression. What `pg_hba.conf` means by a special word would here be somebody's name.
fn named_or_regex(reader: &mut Reader, node: &Node) -> Option<Pattern> {
    let pattern = Pattern::read(reader, node, false)?;
    let help = match &pattern {
        Pattern::Exact(text) => match text.as_str() {
            "all" => "to fit everything, remove the key",
            "sameuser" | "samerole" | "samegroup" | "replication" => "this word of pg_hba.conf has no meaning here",
            text if text.starts_with(['+', '@']) => "groups and files cannot be named here: write the names in a list",
            _ => return Some(pattern),
        },
        Pattern::Regex(_) => return Some(pattern),
    };
    let origin = reader.origin(node);
    reader.error(&origin, "not a name", format!("{help}; a name that reads like this is written /^name$"));
    None
}

fn transport(reader: &mut Reader, node: &Node) -> Option<Transport> {
    let words =
        [("any", Transport::Any), ("local", Transport::Local), ("tls", Transport::Tls), ("plain", Transport::Plain)];
    reader.word(node, &words, "unknown kind of connection", "one of any, local, tls, plain")
}

/// An address or a network.
pub(in crate::config) fn network(reader: &mut Reader, node: &Node) -> Option<Network> {
    let text = reader.string(node)?;
    let parsed = text.parse();
    if parsed.is_err() {
        let origin = reader.origin(node);
        let help = "write an address or a network, such as 10.0.0.0/8 or 2001:db8::/32, without bits beyond the prefix";
        reader.error(&origin, "not a network", help);
    }
    parsed.ok()
}

fn method(reader: &mut Reader, node: &Node, entries: &mut Entries<'_>, declared: &Declared) -> Option<Method> {
    match reader.string(node)?.as_str() {
        "scram-sha-256" => {
            let binding = match reader.optional(entries, "channel_binding") {
                Some(node) => Some((node, reader.string(node)?)),
                None => None,
            };
            match binding.as_ref().map(|(node, word)| (*node, word.as_str())) {
                None | Some((_, "offer")) => Some(Method::Scram { plus: false }),
                Some((_, "require")) => Some(Method::Scram { plus: true }),
                Some((node, _)) => {
                    let origin = reader.origin(node);
                    let help = "`require` takes SCRAM-SHA-256-PLUS only; `offer` leaves it to the client";
                    reader.error(&origin, "offer or require is expected here", help);
                    None
                }
            }
        }
        "cert" => Some(Method::Certificate),
        "jwt" => one_of(reader, entries, "issuer", "issuers", &declared.issuers).map(Method::Jwt),
        "oauthbearer" => one_of(reader, entries, "issuer", "issuers", &declared.issuers).map(Method::Bearer),
        "ldap" => one_of(reader, entries, "server", "ldap", &declared.ldap).map(Method::Ldap),
        "reject" => Some(Method::Reject),
        _ => {
            let origin = reader.origin(node);
            reader.error(&origin, "unknown method", METHODS);
            None
        }
    }
}

fn one_of<T>(
    reader: &mut Reader,
    entries: &mut Entries<'_>,
    key: &'static str,
    list: &str,
    declared: &Named<T>,
) -> Option<Arc<T>> {
    let node = reader.required(entries, key)?;
    let name = reader.string(node)?;
    match declared.get(&name) {
        Some(found) => found.clone(),
        None => {
            let origin = reader.origin(node);
            reader.error(&origin, format!("`{name}` is not declared"), format!("name an entry of `{list}`"));
            None
        }
    }
}

fn certificate(
    reader: &mut Reader,
    entries: &mut Entries<'_>,
    declared: &Declared,
    method: Option<&Method>,
) -> Option<Certificate> {
    let by_certificate = matches!(method, Some(Method::Certificate));
    let asked = reader.optional(entries, "client_certificate");
    let word = match asked {
        Some(node) => Some(reader.string(node)?),
        None => None,
    };
    let field = reader.optional(entries, "field");
    let map = reader.optional(entries, "map");
    let origin = asked.map_or_else(|| entries.origin.clone(), |node| reader.origin(node));
    let named = match word.as_deref() {
        None if by_certificate => true,
        None if field.is_none() && map.is_none() => return Some(Certificate::Free),
        Some("verify-ca") if !by_certificate && field.is_none() && map.is_none() => false,
        Some("verify-full") => true,
        None | Some("verify-ca") => {
            let help = "they say which login a certificate is for: use them with method cert or client_certificate: verify-full";
            reader.error(&origin, "`field` and `map` have no effect here", help);
            return None;
        }
        Some(_) => {
            reader.error(&origin, "verify-ca or verify-full is expected here", "see docs/authentication.md");
            return None;
        }
    };
    if declared.tls && !declared.client_ca {
        let help = "name the authority of client certificates in `client_ca` of `tls`";
        reader.error(&origin, "client certificates cannot be checked", help);
    }
    if matches!(method, Some(Method::Reject)) {
        reader.error(&origin, "a certificate changes nothing for `reject`", "remove the key");
    }
    if !named {
        return Some(Certificate::Signed);
    }
    let field = match field {
        Some(node) => field_of(reader, node)?,
        None => Field::CommonName,
    };
    let map = map.map_or_else(Mapping::default, |node| Mapping::read(reader, node));
    Some(Certificate::Named(field, map))
}

fn field_of(reader: &mut Reader, node: &Node) -> Option<Field> {
    let words = [
        ("cn", Field::CommonName),
        ("dn", Field::Subject),
        ("email", Field::Email),
        ("dns", Field::Dns),
        ("uri", Field::Uri),
    ];
    reader.word(node, &words, "unknown field of a certificate", "one of cn, dn, email, dns, uri")
}
