//! A directory that is an LDAP server (RFC 4511): how a user's entry is found, and what it and the groups above it say.
//!
//! In: an entry of `directories` with `kind: ldap`. Out: [`LdapDirectory`]. Must never: let a name become more than a value in a filter.

use super::load::Loading;
use crate::config::Secret;
use crate::config::authentication::{Find, LDAP_USER, LdapServer};
use crate::config::reader::{Entries, Reader};
use crate::governance::model::Origin;
use crate::governance::tree::Node;
use std::sync::Arc;

/// Stands for the name of an entry, the user's or a group's.
const ENTRY: &str = "{dn}";

/// How an LDAP server is asked about users.
#[derive(Debug, Clone)]
pub struct LdapDirectory {
    /// The server.
    pub server: Arc<LdapServer>,
    /// As whom to search: entry and password; `None` = anonymously.
    pub service: Option<(String, Secret)>,
    /// How a login name becomes an entry.
    pub person: Person,
    /// What groups he is in.
    pub groups: Option<Groups>,
    /// Attributes by name, each from an attribute of the user's entry.
    pub attributes: Vec<(String, String)>,
}

/// How a login name becomes an entry.
#[derive(Debug, Clone)]
pub struct Person {
    /// The entry itself, or where to search; holds the login name where `filter` is `None`.
    pub base: String,
    /// The filter that finds it below `base`; `None` = `base` is its name.
    pub filter: Option<String>,
    /// The attribute that is the login name, letter by letter: LDAP does not mind the case, blanks and forms of letters, policies do.
    pub name: String,
}

/// Which groups a user is in.
#[derive(Debug, Clone)]
pub struct Groups {
    /// The attribute of users' and groups' entries that names the groups they are in.
    pub member_of: Option<String>,
    /// Where to search group entries, and the filter that finds those of a member.
    pub search: Option<(String, String)>,
    /// The attribute that is a group's name; `dn` = the entry's own name.
    pub name: String,
    /// Whether who is in a group is in the groups it is in.
    pub nested: bool,
}

/// A template with login name and entry name put in, each already escaped. What is put in is not looked at again.
pub fn fill(template: &str, user: &str, entry: &str) -> String {
    let mut filled = String::with_capacity(template.len() + user.len() + entry.len());
    let mut rest = template;
    loop {
        let next = [(LDAP_USER, user), (ENTRY, entry)];
        let next = next.into_iter().filter_map(|(mark, value)| Some((rest.find(mark)?, mark, value)));
        let Some((at, mark, value)) = next.min_by_key(|(at, ..)| *at) else {
            filled.push_str(rest);
            return filled;
        };
        filled.push_str(rest.get(..at).unwrap_or_default());
        filled.push_str(value);
        rest = rest.get(at + mark.len()..).unwrap_or_default();
    }
}

pub(super) fn read(loading: &Loading<'_>, reader: &mut Reader, entries: &mut Entries<'_>) -> Option<LdapDirectory> {
    let server = reader.required(entries, "server").and_then(|node| loading.server(reader, node));
    let service = service(loading, reader, entries);
    let person = reader.optional(entries, "user").map(|node| (reader.origin(node), person(reader, node)));
    let groups = reader.optional(entries, "groups").map(|node| groups(reader, node));
    let attributes = reader.optional(entries, "attributes").map(|node| attributes(reader, node)).unwrap_or_default();
    if groups.is_none() && attributes.is_empty() {
        let origin = entries.origin.clone();
        reader.error(&origin, "this directory says nothing of users", "write `groups`, `attributes` or both");
    }
    let server = server?;
    let groups = match groups {
        Some(groups) => Some(groups?),
        None => None,
    };
    let service = match (service?, &server.find) {
        (None, Find::Search { service, .. }) => service.clone(),
        (own, _) => own,
    };
    let person = match (person, &server.find) {
        (Some((_, person)), _) => person?,
        (None, Find::Search { base, filter, .. }) => {
            Person { base: base.clone(), filter: Some(filter.clone()), name: "uid".into() }
        }
        (None, Find::Name(name)) => Person { base: name.clone(), filter: None, name: "uid".into() },
    };
    Some(LdapDirectory { server, service, person, groups, attributes })
}

/// As whom to search, when that is not as the server's own search does.
#[allow(clippy::option_option)]
fn service(loading: &Loading<'_>, reader: &mut Reader, entries: &mut Entries<'_>) -> Option<Option<(String, Secret)>> {
    let name = reader.optional(entries, "bind_dn").map(|node| reader.string(node));
    let password = reader.optional(entries, "password").map(|node| loading.context.secret(reader, node));
    match (name, password) {
        (None, None) => Some(None),
        (Some(name), Some(password)) => Some(Some((name?, password?))),
        (Some(_), None) | (None, Some(_)) => {
            let origin = entries.origin.clone();
            let help = "give both, or neither to search as the entry of `ldap` says";
            reader.error(&origin, "`bind_dn` and `password` belong together", help);
            None
        }
    }
}

fn person(reader: &mut Reader, node: &Node) -> Option<Person> {
    let mut fields = reader.map(node)?;
    let base = reader.required(&mut fields, "base").and_then(|node| reader.string(node));
    let filter = match reader.optional(&mut fields, "filter") {
        Some(node) => filter(reader, node, &[LDAP_USER]),
        None => Some(format!("(uid={LDAP_USER})")),
    };
    let name = attribute(reader, &mut fields, "name", "uid");
    reader.close(fields);
    Some(Person { base: base?, filter: Some(filter?), name: name? })
}

fn groups(reader: &mut Reader, node: &Node) -> Option<Groups> {
    let mut fields = reader.map(node)?;
    let origin = fields.origin.clone();
    let member_of = reader.optional(&mut fields, "member_of").map(|node| attribute_name(reader, node));
    let search = reader.optional(&mut fields, "search").map(|node| search(reader, node));
    let name = attribute(reader, &mut fields, "name", "cn");
    let nested = reader.optional(&mut fields, "nested").map(|node| (reader.origin(node), reader.boolean(node)));
    reader.close(fields);
    if member_of.is_none() && search.is_none() {
        let help = "write `member_of: memberOf`, or search: {base: …, filter: \"(member={dn})\"}";
        reader.error(&origin, "groups are found by one of `member_of` and `search`, or both", help);
        return None;
    }
    let by_entry = member_of.is_some() || search.iter().flatten().any(|(_, filter)| filter.contains(ENTRY));
    let nested = match nested {
        Some((at, Some(true))) if !by_entry => {
            let help = "groups have no login names: write a filter with {dn}, or `nested: false`";
            reader.error(&at, "groups in groups cannot be found by login names", help);
            return None;
        }
        Some((_, nested)) => nested?,
        None => by_entry,
    };
    let member_of = match member_of {
        Some(name) => Some(name?),
        None => None,
    };
    let search = match search {
        Some(search) => Some(search?),
        None => None,
    };
    Some(Groups { member_of, search, name: name?, nested })
}

fn search(reader: &mut Reader, node: &Node) -> Option<(String, String)> {
    let mut fields = reader.map(node)?;
    let base = reader.required(&mut fields, "base").and_then(|node| reader.string(node));
    let filter = match reader.optional(&mut fields, "filter") {
        Some(node) => filter(reader, node, &[ENTRY, LDAP_USER]),
        None => Some(format!("(member={ENTRY})")),
    };
    reader.close(fields);
    Some((base?, filter?))
}

/// A filter that holds one of some marks, and is one with values in their place.
fn filter(reader: &mut Reader, node: &Node, marks: &[&str]) -> Option<String> {
    let text = reader.string(node)?;
    let origin = reader.origin(node);
    let foreign = [LDAP_USER, ENTRY].into_iter().find(|mark| !marks.contains(mark) && text.contains(mark));
    if let Some(foreign) = foreign {
        reader.error(&origin, format!("{foreign} has no meaning here"), "remove it");
        return None;
    }
    if !marks.iter().any(|mark| text.contains(mark)) {
        let help = "a filter that is the same for everybody would give everybody the same";
        reader.error(&origin, format!("does not hold {}", marks.join(" or ")), help);
        return None;
    }
    if ldap3::parse_filter(fill(&text, "x", "x")).is_err() {
        let help = "write for example \"(&(objectClass=groupOfNames)(member={dn}))\"";
        reader.error(&origin, "not an LDAP filter (RFC 4515)", help);
        return None;
    }
    Some(text)
}

fn attributes(reader: &mut Reader, node: &Node) -> Vec<(String, String)> {
    let named: Vec<(&str, Origin, &Node)> = reader.named(node);
    let read = |(name, _, node): (&str, Origin, &Node)| Some((name.to_owned(), attribute_name(reader, node)?));
    named.into_iter().filter_map(read).collect()
}

fn attribute(reader: &mut Reader, fields: &mut Entries<'_>, key: &'static str, usual: &'static str) -> Option<String> {
    match reader.optional(fields, key) {
        Some(node) => attribute_name(reader, node),
        None => Some(usual.to_owned()),
    }
}

/// The name of an LDAP attribute (RFC 4512, 2.5): a word, or numbers and dots.
fn attribute_name(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.string(node)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        let origin = reader.origin(node);
        reader.error(&origin, "not the name of an LDAP attribute", "write for example memberOf, without options");
        return None;
    }
    Some(text)
}
