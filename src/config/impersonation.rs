//! The parts of the configuration that say who may act for others, and how much callers are told of policies.
//!
//! In: their nodes. Out: an [`Actor`] for each login, or problems. Must never: let a login act for anybody who is not named.

use super::Secret;
use super::reader::Reader;
use crate::governance::model::Owner;
use crate::governance::tree::Node;
use crate::identity::{Actor, Ways};
use crate::policy::told::Telling;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How far ahead signatures may expire when nothing is said.
const LONGEST: Duration = Duration::from_secs(300);
/// Fewer bytes than this are guessed.
const SHORTEST_KEY: usize = 16;

/// Reads `impersonation`: a list of logins.
pub(super) fn read(
    reader: &mut Reader,
    node: &Node,
    secret: &mut dyn FnMut(&mut Reader, &Node) -> Option<Secret>,
) -> BTreeMap<Arc<str>, Arc<Actor>> {
    let mut actors: Vec<Actor> = Vec::new();
    for item in reader.list(node) {
        let Some(actor) = actor(reader, item, secret) else { continue };
        if actors.iter().any(|other| other.login == actor.login) {
            let origin = reader.origin(item);
            reader.error(&origin, format!("login \"{}\" is listed twice", actor.login), "keep one of them");
        }
        actors.push(actor);
    }
    let services: Arc<BTreeSet<Arc<str>>> = Arc::new(actors.iter().map(|a| Arc::clone(&a.login)).collect());
    actors
        .into_iter()
        .map(|actor| (Arc::clone(&actor.login), Arc::new(Actor { services: Arc::clone(&services), ..actor })))
        .collect()
}

fn actor(
    reader: &mut Reader,
    node: &Node,
    secret: &mut dyn FnMut(&mut Reader, &Node) -> Option<Secret>,
) -> Option<Actor> {
    let mut entries = reader.map(node)?;
    let origin = entries.origin.clone();
    let login = reader.required(&mut entries, "login").and_then(|node| reader.string(node));
    let users = reader.optional(&mut entries, "users").map(|node| owners(reader, node, false)).unwrap_or_default();
    let groups = reader.optional(&mut entries, "groups").map(|node| owners(reader, node, true)).unwrap_or_default();
    let mut ways = Ways::default();
    match reader.optional(&mut entries, "by") {
        None => ways.setting = true,
        Some(node) => {
            for item in reader.list(node) {
                match reader.string(item).as_deref() {
                    Some("setting") => ways.setting = true,
                    Some("local") => ways.local = true,
                    Some("application_name") => ways.application_name = true,
                    Some("comment") => ways.comment = true,
                    Some(_) => {
                        let origin = reader.origin(item);
                        let help = "some of setting, local, application_name, comment";
                        reader.error(&origin, "unknown way to say for whom a login acts", help);
                    }
                    None => {}
                }
            }
            if ways == Ways::default() {
                let origin = reader.origin(node);
                reader.error(&origin, "no way to say for whom the login acts", "name one, or remove `by`");
            }
        }
    }
    let key_node = reader.optional(&mut entries, "key");
    let key = key_node.and_then(|node| secret(reader, node));
    let longest = reader.optional(&mut entries, "longest").and_then(|node| reader.some_duration(node));
    reader.close(entries);
    let signs = ways.application_name || ways.comment;
    if signs && key_node.is_none() {
        reader.error(&origin, "a login that signs needs a `key`", "write key: {file: PATH} or {env: VARIABLE}");
    }
    if !signs && (key_node.is_some() || longest.is_some()) {
        reader.error(
            &origin,
            "`key` and `longest` are for signatures, and the login may not sign",
            "add application_name or comment to `by`, or remove them",
        );
    }
    if key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST_KEY) {
        let message = format!("the key has fewer than {SHORTEST_KEY} bytes");
        reader.error(&origin, message, "make one with `openssl rand -hex 32`");
    }
    if ways.comment && ways != (Ways { comment: true, ..Ways::default() }) {
        reader.error(
            &origin,
            "a login that signs comments says it in no other way: a string without a comment is its own, whatever was said before",
            "leave the others out of `by`, or use a login for each way",
        );
    }
    if (ways.setting || ways.local) && signs {
        reader.warning(
            &origin,
            "the login may both sign and set `sqlveil.user`: whoever writes its statements can do without a signature",
            "leave `setting` and `local` out of `by`",
        );
    }
    let for_whom: Vec<Owner> = users.into_iter().chain(groups).collect();
    if for_whom.is_empty() {
        reader.error(&origin, "nobody to act for", "name `users` or `groups`");
    }
    Some(Actor {
        login: login?.into(),
        for_whom,
        services: Arc::default(),
        ways,
        key,
        longest: longest.unwrap_or(LONGEST),
    })
}

/// Names, or `{name, iam}`.
fn owners(reader: &mut Reader, node: &Node, is_group: bool) -> Vec<Owner> {
    let mut owners = Vec::new();
    for item in reader.list(node) {
        let (name, iam) = match &item.value {
            crate::governance::tree::Value::Map(_) => {
                let Some(mut entries) = reader.map(item) else { continue };
                let name = reader.required(&mut entries, "name").and_then(|node| reader.string(node));
                let iam = reader.required(&mut entries, "iam").and_then(|node| reader.string(node));
                reader.close(entries);
                match (name, iam) {
                    (Some(name), Some(iam)) => (name, Some(iam)),
                    _ => continue,
                }
            }
            _ => match reader.string(item) {
                Some(name) => (name, None),
                None => continue,
            },
        };
        owners.push(Owner { is_group, name, iam });
    }
    owners
}

/// Reads `my_access`.
pub(super) fn telling(reader: &mut Reader, node: &Node) -> Telling {
    let mut telling = Telling::default();
    let Some(mut entries) = reader.map(node) else { return telling };
    if let Some(on) = reader.optional(&mut entries, "policies").and_then(|node| reader.boolean(node)) {
        telling.policies = on;
    }
    if let Some(on) = reader.optional(&mut entries, "conditions").and_then(|node| reader.boolean(node)) {
        telling.conditions = on;
    }
    reader.close(entries);
    telling
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::problem::Problem;
    use std::path::Path;

    type Actors = BTreeMap<Arc<str>, Arc<Actor>>;

    fn actors(text: &str) -> Result<(Actors, Vec<Problem>), Vec<Problem>> {
        let text = format!("impersonation:\n{text}");
        Reader::text(Path::new("c.yaml"), &text, |reader, top| {
            let node = reader.required(top, "impersonation")?;
            Some(read(reader, node, &mut |_, _| Some(Secret::new("a key that is long enough"))))
        })
    }

    #[test]
    fn a_login_acts_for_whom_it_names_and_in_the_ways_it_has() {
        let (found, warnings) = actors(
            "- {login: bi, users: [ana, {name: bob, iam: corp}]}\n\
             - {login: web, groups: [Staff], by: [comment], key: {file: k}, longest: 1m}\n\
             - {login: pool, groups: [Staff], by: [local]}",
        )
        .unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (bi, web) = (found.get("bi").unwrap(), found.get("web").unwrap());
        assert_eq!(bi.ways, Ways { setting: true, ..Ways::default() });
        assert_eq!((bi.for_whom.len(), bi.for_whom[1].iam.as_deref(), &bi.key), (2, Some("corp"), &None));
        assert_eq!(web.ways, Ways { comment: true, ..Ways::default() });
        assert_eq!(found.get("pool").unwrap().ways, Ways { local: true, ..Ways::default() });
        assert_eq!((web.longest, web.for_whom[0].is_group), (Duration::from_secs(60), true));
        assert!(bi.services.contains("web") && web.services.contains("bi"), "nobody acts for another of them");
    }

    #[test]
    fn what_does_not_say_enough_is_an_error() {
        for (text, why) in [
            ("- {users: [ana]}", "missing key `login`"),
            ("- {login: bi}", "nobody to act for"),
            ("- {login: bi, users: []}", "nobody to act for"),
            ("- {login: bi, users: [ana], by: [cookie]}", "unknown way"),
            ("- {login: bi, users: [ana], by: []}", "no way"),
            ("- {login: bi, users: [ana], by: [comment]}", "needs a `key`"),
            ("- {login: bi, users: [ana], by: [comment, local], key: {file: k}}", "says it in no other way"),
            ("- {login: bi, users: [ana], key: {file: k}}", "are for signatures"),
            ("- {login: bi, users: [ana], longest: 1m}", "are for signatures"),
            ("- {login: bi, users: [ana]}\n- {login: bi, users: [bob]}", "listed twice"),
            ("- {login: bi, users: [ana], everybody: true}", "unknown key"),
            ("- {login: bi, users: [{name: ana}]}", "missing key `iam`"),
        ] {
            let problems = actors(text).expect_err(text);
            assert!(problems.iter().any(|p| p.message.contains(why)), "{text}: {problems:?}");
        }
        let (_, warnings) =
            actors("- {login: bi, users: [ana], by: [setting, application_name], key: {file: k}}").unwrap();
        assert_eq!(warnings.len(), 1, "whoever writes the statements can do without a signature");
    }
}
