//! A world that shows a difference, made smaller while it still does.

use crate::document;
use crate::proxy::{Difference, Ground};
use crate::spec::{Body, World};

/// Leaves out policies, actions, rules, grants and projects one by one; gives what is left and the difference it shows.
pub async fn shrink(ground: &Ground, world: World, order: u64) -> (World, Difference) {
    let mut best = (world.clone(), ground.compare(&world, order).await.remove(0));
    loop {
        let mut smaller = None;
        for candidate in candidates(&best.0) {
            if !crate::evaluate::valid(&candidate, &ground.tables) {
                continue;
            }
            let mut differences = ground.compare(&candidate, order).await;
            if !differences.is_empty() {
                smaller = Some((candidate, differences.remove(0)));
                break;
            }
        }
        match smaller {
            Some(found) => best = found,
            None => return best,
        }
    }
}

fn candidates(world: &World) -> Vec<World> {
    let mut out = Vec::new();
    let mut half = world.clone();
    half.policies.truncate(world.policies.len() / 2);
    if half.policies.len() > 1 {
        out.push(half);
    }
    for at in 0..world.policies.len() {
        let mut less = world.clone();
        less.policies.remove(at);
        out.push(less);
    }
    for (at, policy) in world.policies.iter().enumerate() {
        let Body::Data(actions) = &policy.body else { continue };
        for (action, rules) in actions.iter().enumerate() {
            for rule in 0..rules.len() {
                let mut less = world.clone();
                let Body::Data(actions) = &mut less.policies[at].body else { continue };
                actions[action].remove(rule);
                actions.retain(|rules| !rules.is_empty());
                if !actions.is_empty() {
                    out.push(less);
                }
            }
        }
    }
    if !world.grants.is_empty() {
        out.push(World { grants: Vec::new(), ..world.clone() });
    }
    if !world.projects.is_empty() {
        out.push(World { projects: Vec::new(), ..world.clone() });
    }
    for at in 0..world.users.len() {
        if world.users.len() > 1 {
            out.push(World { users: vec![world.users[at].clone()], ..world.clone() });
        }
    }
    out
}

/// Everything one needs to see what is wrong.
pub fn print(world: &World, difference: &Difference) -> String {
    let policies: Vec<String> = world.policies.iter().map(|p| document::policy(p).to_string()).collect();
    let source = &world.sources[difference.table.as_str()];
    let user = world.users.iter().find(|u| u.name == difference.user);
    let of: Vec<_> = user.iter().flat_map(|u| &u.groups).collect();
    let groups: Vec<_> = world.groups.iter().filter(|g| of.iter().any(|(n, i)| *n == g.name && *i == g.iam)).collect();
    format!(
        "seed {}: {:?} under {:?} on {}\nexpected {}\nfound {}\npolicies\n{}\nsource {source:?}\nuser {user:?}\ngroups {groups:?}\n\
         projects {:?}\ngrants {:?}",
        world.seed,
        difference.user,
        difference.project,
        difference.table,
        difference.expected,
        difference.found,
        policies.join("\n"),
        world.projects,
        world.grants,
    )
}
