//! What must hold of every generated world.

use crate::evaluate::{self, Sight};
use crate::generate::{another, world};
use crate::proxy::Ground;
use crate::shrink;
use crate::spec::{Body, World};
use crate::support::long;
use std::time::{Duration, Instant};

/// Rows of a table: enough for every kind of value, few enough to read.
const ROWS: usize = 40;

/// Where the seeds of a run begin: at random, told when something fails, or as the environment says.
fn first_seed() -> u64 {
    match std::env::var("SQLVEIL_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => rand::random::<u32>().into(),
    }
}

fn one_seed() -> bool {
    std::env::var_os("SQLVEIL_TEST_SEED").is_some()
}

/// How long a test goes on making worlds.
fn patience(default: u64) -> Duration {
    Duration::from_secs(if long() { default * 40 } else { default })
}

/// Same rows, same values: the proxy and the evaluator agree about every caller and table of every world.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_answers_as_the_evaluator_does() {
    let ground = Ground::new(ROWS).await;
    let end = Instant::now() + patience(14);
    let mut worlds = 0;
    for seed in first_seed().. {
        let world = world(seed, &ground.tables, ground.now);
        if !ground.compare(&world, seed).await.is_empty() {
            let (world, difference) = shrink::shrink(&ground, world, seed).await;
            panic!("{}", shrink::print(&world, &difference));
        }
        worlds += 1;
        if Instant::now() > end || one_seed() {
            break;
        }
    }
    assert!(worlds >= 3 || one_seed(), "only {worlds} worlds: the test is too slow to tell anything");
}

/// The order of files, and of documents in files, changes no answer; nor does it matter whether a policy is staged or not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_never_matters_and_staged_is_removed() {
    let ground = Ground::new(ROWS).await;
    let end = Instant::now() + patience(6);
    for seed in first_seed().. {
        let mut world = world(seed, &ground.tables, ground.now);
        let answers = ground.answers(&world, 1).await;
        let again = ground.answers(&world, 2).await;
        assert!(answers == again, "seed {seed}: another order of the documents gives another answer");
        let at = usize::try_from(seed).unwrap() % world.policies.len();
        world.policies[at].staged = true;
        let staged = ground.answers(&world, 1).await;
        let removed = world.policies.remove(at);
        assert!(staged == ground.answers(&world, 1).await, "seed {seed}: staging {} is not removing it", removed.key);
        if Instant::now() > end || one_seed() {
            break;
        }
    }
}

/// Adding a data policy uncovers nothing: no row that was hidden, no value that was hidden. Asked of the evaluator, which the other
/// test holds against the proxy, so that very many worlds can be tried.
#[test]
fn adding_a_policy_never_widens() {
    let now = jiff::Timestamp::now().as_second();
    let tables = crate::data::tables(now, ROWS);
    let end = Instant::now() + patience(5);
    for seed in first_seed().. {
        let less = world(seed, &tables, now);
        let mut more: World = less.clone();
        more.policies.push(another(&less, &tables, seed));
        for user in &less.users {
            for project in std::iter::once(None).chain(less.projects.iter().map(|p| Some(p.key.as_str()))) {
                let Some(caller) = evaluate::caller(&less, &user.name, project) else { continue };
                for table in &tables {
                    let before = evaluate::see(&less, table, &caller, b"salt");
                    let after = evaluate::see(&more, table, &caller, b"salt");
                    if let Err(what) = no_wider(&before, &after) {
                        let Body::Data(_) = &more.policies[less.policies.len()].body else { continue };
                        let added = crate::document::policy(&more.policies[less.policies.len()]);
                        panic!("seed {seed}: {} on {}: {what}\nadded {added}", user.name, table.name);
                    }
                }
            }
        }
        if Instant::now() > end || one_seed() {
            break;
        }
    }
}

fn no_wider(before: &Sight, after: &Sight) -> Result<(), String> {
    let (Sight::Rows(before), Sight::Rows(after)) = (before, after) else {
        return if before == after { Ok(()) } else { Err(format!("{before:?} became {after:?}")) };
    };
    for (row, (old, new)) in before.iter().zip(after).enumerate() {
        match (old, new) {
            (None, Some(_)) => return Err(format!("row {row} was hidden and is shown")),
            (Some(old), Some(new)) => {
                for (column, ((_, was_hidden), (value, is_hidden))) in old.iter().zip(new).enumerate() {
                    if *was_hidden && !is_hidden {
                        return Err(format!("value {column} of row {row} was hidden and is shown: {value:?}"));
                    }
                }
            }
            (_, None) => {}
        }
    }
    Ok(())
}
