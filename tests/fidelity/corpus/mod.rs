//! At least five thousand statements, the same in every run: generated from a grammar, swept from the server's own operators, casts and
//! aggregates, broken on purpose, and written as drivers and BI tools write them. Each is asked in the simple and in the extended protocol,
//! and every byte of the answers compared.

mod grammar;
mod sweep;

use crate::answer::How;
use crate::pair::{Pair, Tally, Verdict, stage};
use crate::support::{KINDS, long};
use grammar::Grammar;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

#[path = "../../oracle/schema.rs"]
#[allow(dead_code)]
mod schema;

/// The grammar's tables beside those of the oracle.
const TABLES: &str = include_str!("tables.sql");
const RULES: &str = include_str!("grammar.txt");
/// What drivers and tools ask of the catalog, a statement a line.
const CLIENTS: &str = include_str!("clients.sql");

/// The statements, each once, in a fixed order.
async fn statements(admin: &Client) -> Vec<String> {
    let grammar = Grammar::parse(RULES);
    let wanted = if long() { 40_000 } else { 3900 };
    let mut dice = StdRng::seed_from_u64(7);
    let mut all: Vec<String> = (0..wanted).map(|_| grammar.statement(&mut dice)).collect();
    all.extend(grammar.every("statement"));
    all.extend(sweep::statements(admin).await);
    let broken: Vec<String> = all.iter().step_by(12).map(|sql| broken(sql, &mut dice)).collect();
    all.extend(broken);
    all.extend(CLIENTS.lines().filter(|l| !l.starts_with("--")).map(str::to_owned));
    let mut seen = std::collections::HashSet::new();
    all.retain(|sql| seen.insert(sql.clone()));
    all
}

/// The statement with one word less, doubled, or another.
fn broken(sql: &str, dice: &mut StdRng) -> String {
    let mut words: Vec<&str> = sql.split(' ').collect();
    let at = dice.random_range(0..words.len());
    match dice.random_range(0..4) {
        0 => {
            words.remove(at);
        }
        1 => words.insert(at, words[at]),
        2 => words[at] = "nosuch",
        _ => words.swap(at, (at * 7 + 1) % sql.split(' ').count()),
    }
    words.join(" ")
}

fn is_select(sql: &str) -> bool {
    let first = sql.trim_start_matches([' ', '(', '\n']).split([' ', '(', '\n']).next().unwrap_or_default();
    ["select", "values", "table", "with"].contains(&first.to_ascii_lowercase().as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_are_answered_as_directly() {
    let (running, role) = stage(&[schema::TABLES, KINDS, TABLES]).await;
    let statements = statements(running.admin()).await;
    let statements: &'static [String] = statements.leak();
    let mut tasks = Vec::new();
    const TASKS: usize = 4;
    for part in 0..TASKS {
        let mut pair = Pair::new(&running, &role).await;
        tasks.push(tokio::spawn(async move {
            let (mut tally, mut selects) = (Tally::default(), Tally::default());
            for (number, sql) in statements.iter().enumerate().skip(part).step_by(TASKS) {
                let mut worst = Verdict::Same;
                let binary = number % 2 == 0;
                for how in [How::Simple, How::Extended { binary }] {
                    let verdict = pair.verdict(sql, how).await;
                    tally.note(&format!("{sql}  -- {how:?}"), &verdict);
                    if verdict != Verdict::Same {
                        worst = verdict;
                    }
                }
                if is_select(sql) {
                    selects.note(sql, &worst);
                }
                pair.both("ROLLBACK", How::Simple).await;
            }
            (tally, selects)
        }));
    }
    let (mut tally, mut selects) = (Tally::default(), Tally::default());
    for task in tasks {
        let (one, two) = task.await.unwrap();
        tally.add(one);
        selects.add(two);
    }
    eprintln!("corpus, SELECT: {}", selects.table());
    if std::env::var_os("SQLVEIL_FIDELITY_SHOW").is_some() {
        tally.differs.iter().for_each(|d| eprintln!("DIFFERS {d}"));
        tally.worded.iter().for_each(|(sql, d)| eprintln!("WORDED {sql}\n      {d}"));
    }
    assert!(selects.statements >= 5000, "{} statements", selects.statements);
    assert!(selects.refusals() * 200 < selects.statements, "{}", selects.table());
    assert!(tally.differs.is_empty(), "{}", tally.differs.join("\n"));
    assert!(tally.worded.is_empty(), "{:#?}", tally.worded);
    assert!(tally.slow * 100 < tally.statements, "{} slow", tally.slow);
}
