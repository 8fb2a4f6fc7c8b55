//! Who is compared: everyone who is in both sets, alone and under each project, and of those who are alike only one.
//!
//! In: the two directories and what names people. Out: groups of callers who get the same decisions, and who is in one set only.
//! Must never: put together two callers that a grant tells apart.

use super::report::Affected;
use crate::governance::model::Declared;
use crate::identity::{Caller, Directory};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A name nobody has (logins hold no control character), for those whose own name no document knows. A predicate on the caller's name
/// then changes for all of them or for none.
const SOMEBODY: &str = "\u{1}somebody";

/// Callers who get the same decisions.
pub struct Alike {
    /// One of them, before.
    pub before: Caller,
    /// The same one, after.
    pub after: Caller,
    /// All of them.
    pub members: Vec<Affected>,
}

/// Everyone.
#[derive(Default)]
pub struct People {
    /// Callers in both sets.
    pub alike: Vec<Alike>,
    /// Users who may no longer log in.
    pub users_removed: Vec<String>,
    /// Users who may log in now.
    pub users_added: Vec<String>,
    /// Users and projects they may no longer act under.
    pub memberships_removed: Vec<Affected>,
    /// Users and projects they may act under now.
    pub memberships_added: Vec<Affected>,
}

impl People {
    /// Everyone of two sets, or only the users named. A set without a connection has nobody.
    pub fn of(sides: [(Option<&World>, Option<&Declared>); 2], only: &[String]) -> Self {
        let [before, after] = sides;
        let nobody = Directory::default();
        let directory = |side: (Option<&World>, _)| side.0.map(|world| Arc::clone(&world.directory));
        let (first, second) = (directory(before), directory(after));
        let (first, second) = (first.as_deref().unwrap_or(&nobody), second.as_deref().unwrap_or(&nobody));
        let declared: Vec<&Declared> = [before.1, after.1].into_iter().flatten().collect();
        let grants = declared.iter().flat_map(|d| &d.grants);
        let named: BTreeSet<&str> = grants.filter(|g| !g.grantee.is_group).map(|g| g.grantee.name.as_str()).collect();
        let projects: BTreeSet<&str> =
            declared.iter().flat_map(|d| &d.projects).map(|project| project.key.as_str()).collect();
        let wanted = |user: &Arc<str>| only.is_empty() || only.iter().any(|name| **name == **user);
        let users: BTreeSet<&Arc<str>> = first.users().chain(second.users()).filter(|user| wanted(user)).collect();
        let mut people = Self::default();
        let mut places: HashMap<(Caller, Caller), usize> = HashMap::new();
        for user in users {
            match (first.caller(user, None), second.caller(user, None)) {
                (Ok(before), Ok(after)) => people.add(before, after, user, named.contains(&**user), &mut places),
                (Ok(_), Err(_)) => people.users_removed.push(user.to_string()),
                (Err(_), Ok(_)) => people.users_added.push(user.to_string()),
                (Err(_), Err(_)) => continue,
            }
            for project in &projects {
                let affected = || Affected { user: user.to_string(), project: Some((*project).to_owned()) };
                match (first.caller(user, Some(project)), second.caller(user, Some(project))) {
                    (Ok(before), Ok(after)) => people.add(before, after, user, named.contains(&**user), &mut places),
                    (Ok(_), Err(_)) if !people.users_removed.iter().any(|u| **u == **user) => {
                        people.memberships_removed.push(affected());
                    }
                    (Err(_), Ok(_)) if !people.users_added.iter().any(|u| **u == **user) => {
                        people.memberships_added.push(affected());
                    }
                    _ => {}
                }
            }
        }
        people
    }

    fn add(
        &mut self,
        mut before: Caller,
        mut after: Caller,
        user: &Arc<str>,
        is_named: bool,
        places: &mut HashMap<(Caller, Caller), usize>,
    ) {
        let member = Affected { user: user.to_string(), project: before.project.as_ref().map(ToString::to_string) };
        if !is_named {
            before.user = SOMEBODY.into();
            after.user = SOMEBODY.into();
        }
        let place = *places.entry((before.clone(), after.clone())).or_insert(self.alike.len());
        match self.alike.get_mut(place) {
            Some(alike) => alike.members.push(member),
            None => self.alike.push(Alike { before, after, members: vec![member] }),
        }
    }
}

/// Names, the first few of many, by project.
pub fn listed(affected: &[Affected]) -> String {
    const MOST: usize = 8;
    let mut by_project: BTreeMap<Option<&String>, Vec<&str>> = BTreeMap::new();
    for one in affected {
        by_project.entry(one.project.as_ref()).or_default().push(&one.user);
    }
    let each = by_project.into_iter().map(|(project, users)| {
        let mut text = users.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
        if users.len() > MOST {
            text.push_str(&format!(" and {} more", users.len() - MOST));
        }
        project.map_or(text.clone(), |key| format!("{text} under project {key}"))
    });
    each.collect::<Vec<_>>().join("; ")
}
