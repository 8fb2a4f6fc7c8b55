//! The identity file: users with verifiers, groups, attributes.
//!
//! In: one YAML or JSON file. Out: [`Identities`], or every problem with file and line. Strict: unknown keys, names given twice, groups
//! that are not declared and malformed verifiers are errors. Must never: repeat a verifier in a problem.

use super::Entitlement;
use super::accounts::{Temporary, is_made};
use super::scram::Verifier;
use crate::config::reader::{Entries, Reader};
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::governance::tree::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The provider of users and groups that name none.
pub const LOCAL: &str = "local";
/// Longest name PostgreSQL keeps whole (`NAMEDATALEN` - 1).
pub(crate) const MAX_NAME: usize = 63;

type Attributes = BTreeMap<String, BTreeSet<Entitlement>>;

/// What the file says, consistent in itself.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// Users by login name.
    pub users: BTreeMap<Arc<str>, User>,
    /// Groups by name and provider, with their attributes.
    pub groups: BTreeMap<Entitlement, Attributes>,
    /// Temporary SQL accounts by login name: of the accounts file alone.
    pub temporary: BTreeMap<Arc<str>, Temporary>,
    /// Whether there was an accounts file.
    pub kept: bool,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// Provider.
    pub iam: Arc<str>,
    /// What a password login is checked against; `None` = no password login.
    pub verifier: Option<Verifier>,
    /// Groups.
    pub groups: BTreeSet<Entitlement>,
    /// Own attributes, and those of the groups.
    pub attributes: Attributes,
    /// May not log in.
    pub disabled: bool,
    /// May not log in from this instant on.
    pub expires: Option<jiff::Timestamp>,
    /// Fingerprints of verifiers that are good for nothing any more.
    pub revoked: BTreeSet<[u8; 32]>,
    /// The accounts file has him, and not the identity file.
    pub kept: bool,
}

/// Reads the file; warnings come along.
///
/// # Errors
/// Every problem found.
pub fn load(path: &Path) -> Result<(Identities, Vec<Problem>), Vec<Problem>> {
    Reader::open(path, read)
}

fn read(reader: &mut Reader, top: &mut Entries<'_>) -> Option<Identities> {
    let users = reader.required(top, "users");
    let groups = reader.optional(top, "groups");
    let mut found = Identities::default();
    for node in groups.map(|n| reader.list(n)).unwrap_or_default() {
        if let Some((origin, group, attributes)) = read_group(reader, node) {
            if found.groups.contains_key(&group) {
                let message = format!("group \"{}\" of \"{}\" is declared twice", group.value, group.iam);
                reader.error(&origin, message, "keep one of them");
            }
            found.groups.insert(group, attributes);
        }
    }
    for node in users.map(|n| reader.list(n)).unwrap_or_default() {
        if let Some((origin, name, user)) = read_user(reader, node, &found.groups) {
            if found.users.contains_key(&name) {
                let message = format!("user \"{name}\" is declared twice");
                reader.error(&origin, message, "login names are unique whatever the provider; keep one of them");
            }
            found.users.insert(name, user);
        }
    }
    Some(found)
}

fn read_iam(reader: &mut Reader, entries: &mut Entries<'_>) -> Arc<str> {
    let given = reader.optional(entries, "iam").and_then(|node| reader.string(node));
    given.map_or_else(|| LOCAL.into(), Into::into)
}

fn read_attributes(reader: &mut Reader, entries: &mut Entries<'_>, iam: &Arc<str>) -> Attributes {
    let mut attributes = Attributes::new();
    let Some(node) = reader.optional(entries, "attributes") else { return attributes };
    for (name, _, values) in reader.named(node) {
        let values = reader.strings(values);
        let values = values.into_iter().map(|value| Entitlement { value, iam: Arc::clone(iam) });
        attributes.entry(name.to_owned()).or_default().extend(values);
    }
    attributes
}

fn read_group(reader: &mut Reader, node: &Node) -> Option<(Origin, Entitlement, Attributes)> {
    let mut entries = reader.map(node)?;
    let name = reader.required(&mut entries, "name").and_then(|node| reader.string(node));
    let iam = read_iam(reader, &mut entries);
    let attributes = read_attributes(reader, &mut entries, &iam);
    let origin = entries.origin.clone();
    reader.close(entries);
    Some((origin, Entitlement { value: name?, iam }, attributes))
}

fn read_user(
    reader: &mut Reader,
    node: &Node,
    groups: &BTreeMap<Entitlement, Attributes>,
) -> Option<(Origin, Arc<str>, User)> {
    let mut entries = reader.map(node)?;
    let name = reader.required(&mut entries, "name").and_then(|node| read_name(reader, node));
    let iam = read_iam(reader, &mut entries);
    let verifier = reader.optional(&mut entries, "verifier").and_then(|node| read_verifier(reader, node));
    let mut user = User {
        attributes: read_attributes(reader, &mut entries, &iam),
        groups: BTreeSet::new(),
        disabled: reader.optional(&mut entries, "disabled").and_then(|node| reader.boolean(node)).unwrap_or(false),
        expires: reader.optional(&mut entries, "expires").and_then(|node| read_instant(reader, node)),
        verifier,
        iam,
        revoked: BTreeSet::new(),
        kept: false,
    };
    for node in reader.optional(&mut entries, "groups").map(|n| reader.list(n)).unwrap_or_default() {
        let Some(group) = read_membership(reader, node, &user.iam, groups) else { continue };
        for (name, values) in groups.get(&group).into_iter().flatten() {
            user.attributes.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        user.groups.insert(group);
    }
    let origin = entries.origin.clone();
    reader.close(entries);
    Some((origin, name?, user))
}

/// Whether PostgreSQL and its clients take it whole as a name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
}

fn read_name(reader: &mut Reader, node: &Node) -> Option<Arc<str>> {
    let name = reader.string(node)?;
    if !is_name(&name) {
        let origin = reader.origin(node);
        let message = format!("a login name has at most {MAX_NAME} bytes and no control characters");
        reader.error(&origin, message, "choose another name");
        return None;
    }
    if is_made(&name) {
        let origin = reader.origin(node);
        let message = "names like this are kept for API tokens and temporary accounts";
        reader.error(&origin, message, "make one with `sqlveil token` or `sqlveil account`, or choose another name");
        return None;
    }
    Some(name.into())
}

fn read_verifier(reader: &mut Reader, node: &Node) -> Option<Verifier> {
    let text = reader.string(node)?;
    match text.parse() {
        Ok(verifier) => Some(verifier),
        Err(why) => {
            let origin = reader.origin(node);
            reader.error(
                &origin,
                format!("not a SCRAM-SHA-256 verifier: {why}"),
                "make one with `sqlveil verifier --user NAME`, or copy rolpassword from pg_authid",
            );
            None
        }
    }
}

fn read_instant(reader: &mut Reader, node: &Node) -> Option<jiff::Timestamp> {
    let text = reader.string(node)?;
    match text.parse() {
        Ok(instant) => Some(instant),
        Err(_) => {
            let origin = reader.origin(node);
            reader.error(&origin, "not an instant with an offset", "write for example 2027-01-01T00:00:00Z");
            None
        }
    }
}

/// A group a user is in: its name, or name and provider. A bare name means the group of the user's own provider, else the only one.
fn read_membership(
    reader: &mut Reader,
    node: &Node,
    iam: &Arc<str>,
    groups: &BTreeMap<Entitlement, Attributes>,
) -> Option<Entitlement> {
    let (name, provider) = match &node.value {
        Value::Map(_) => {
            let mut entries = reader.map(node)?;
            let name = reader.required(&mut entries, "name").and_then(|node| reader.string(node));
            let provider = reader.required(&mut entries, "iam").and_then(|node| reader.string(node));
            reader.close(entries);
            (name?, Some(provider?))
        }
        Value::Scalar { .. } | Value::List(_) => (reader.string(node)?, None),
    };
    let wanted = provider.as_deref().unwrap_or(iam);
    let named: Vec<&Entitlement> = groups.keys().filter(|group| group.value == name).collect();
    let exact = named.iter().find(|group| &*group.iam == wanted);
    let found = match (exact, named.as_slice()) {
        (Some(group), _) => Some((*group).clone()),
        (None, [only]) if provider.is_none() => Some((*only).clone()),
        (None, _) => None,
    };
    if found.is_none() {
        let origin = reader.origin(node);
        let (message, help) = if named.len() > 1 && provider.is_none() {
            (format!("group \"{name}\" is declared by several providers"), "write {name: NAME, iam: PROVIDER}")
        } else {
            (format!("group \"{name}\" is not declared"), "declare it under `groups:` or correct the name")
        };
        reader.error(&origin, message, help);
    }
    found
}
