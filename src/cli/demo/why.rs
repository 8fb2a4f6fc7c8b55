//! Which policies made the answers different: the decisions themselves, in a line a caller.
//!
//! In: the loaded world, a login, relations. Out: text. Must never: show a predicate or a salt; names of policies and masks only.

use crate::policy::decision::{Access, RelationDecision};
use crate::types::QualifiedName;
use crate::world::World;
use std::time::SystemTime;

/// How a login sees relations of `public`, in a few words.
pub fn why(world: &World, login: &str, relations: &[&str]) -> String {
    let (user, project) = world.directory.split_login(login);
    let caller = match world.directory.caller(user, project) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.message.into_owned(),
    };
    let seen = relations.iter().map(|relation| {
        match world.ruleset.access(&caller, &QualifiedName::new("public", *relation), SystemTime::now()) {
            Access::Hidden => format!("{relation} is not subscribed to, so it does not exist"),
            Access::Discoverable { .. } => format!("{relation} is not subscribed to"),
            Access::Invalid => format!("{relation} has an invalid policy"),
            Access::Visible(decision) => visible(relation, &decision),
        }
    });
    seen.collect::<Vec<_>>().join("; ")
}

fn visible(relation: &str, decision: &RelationDecision) -> String {
    let mut parts: Vec<String> = decision.rows.iter().map(|rows| format!("rows by \"{}\"", rows.policy)).collect();
    let mut masks: Vec<(String, Vec<&str>)> = Vec::new();
    for column in &decision.columns {
        let Some(mask) = &column.mask else { continue };
        let by = format!("{} by \"{}\"", mask.kind, mask.policy);
        match masks.iter_mut().find(|(known, _)| *known == by) {
            Some((_, columns)) => columns.push(&column.name),
            None => masks.push((by, vec![&column.name])),
        }
    }
    parts.extend(masks.into_iter().map(|(by, columns)| format!("{}: {by}", columns.join(", "))));
    if parts.is_empty() { format!("{relation} whole") } else { parts.join("; ") }
}
