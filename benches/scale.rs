//! Loading a large set of documents: how long each part takes and how much memory it needs at most.
//!
//! `cargo bench --bench scale` measures 10,000 policies, 5,000 data sources of 50 columns and 10,000 users against a private PostgreSQL
//! with as many tables. `SQLVEIL_SCALE=policies,sources,columns,users` measures another size; a fifth number says how many policies are
//! about one tag (5). Not a criterion bench: it runs once.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use sqlveil::catalog::Catalog;
use sqlveil::config::Config;
use sqlveil::governance::{self, model::Declared};
use sqlveil::identity::Directory;
use sqlveil::policy::decision::Access;
use sqlveil::policy::{Ruleset, Salts};
use sqlveil::world;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use support::Stage;

/// Tagged columns of a table.
const TAGGED: usize = 10;
/// Groups.
const GROUPS: usize = 1_000;

struct Size {
    policies: usize,
    sources: usize,
    columns: usize,
    users: usize,
    /// Policies that are about one tag; each column that carries any tag carries one.
    of_a_tag: usize,
}

fn size() -> Size {
    let text = std::env::var("SQLVEIL_SCALE").unwrap_or_else(|_| "10000,5000,50,10000".into());
    let numbers: Vec<usize> = text.split(',').map(|n| n.trim().parse().expect("a number")).collect();
    let (policies, sources, columns, users, of_a_tag) = match numbers[..] {
        [policies, sources, columns, users] => (policies, sources, columns, users, 5),
        [policies, sources, columns, users, of_a_tag] => (policies, sources, columns, users, of_a_tag),
        _ => panic!("SQLVEIL_SCALE=policies,sources,columns,users[,policies of a tag]"),
    };
    Size { policies, sources, columns, users, of_a_tag }
}

fn column_type(at: usize) -> &'static str {
    ["int", "text", "varchar(20)", "date", "numeric(10,2)", "bigint", "timestamptz", "uuid"][at % 8]
}

async fn stage(size: &Size) -> Stage {
    let mut stage = Stage::new().await;
    let tags = (size.policies / size.of_a_tag).max(50);
    let names: Vec<String> = (0..tags).map(|n| format!("Area{}.Kind{n}", n % 50)).collect();
    stage = stage.tags(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let columns: Vec<String> = (0..size.columns).map(|at| format!("c{at} {}", column_type(at))).collect();
    let columns = columns.join(", ");
    for chunk in (0..size.sources).collect::<Vec<_>>().chunks(200) {
        let tables: String = chunk.iter().map(|n| format!("CREATE TABLE t{n} ({columns});\n")).collect();
        stage = stage.sql(&tables).await;
    }
    for table in 0..size.sources {
        let mut entry =
            format!("table: t{table}\nschema: public\ntags:\n  table: [{}]\n  columns:\n", names[table % tags]);
        for at in 0..TAGGED.min(size.columns) {
            writeln!(entry, "    - {{columnName: c{at}, tags: [{}]}}", names[(table * TAGGED + at) % tags]).unwrap();
        }
        stage = stage.source(&entry);
    }
    stage = stage.policy(support::ANYONE);
    for number in 1..size.policies {
        let (tag, group) = (&names[number % tags], number % GROUPS);
        let rule = match number % 10 {
            0 => "{type: Row Restriction by Custom Where Clause, config: {predicate: \"c0 > 5 AND c1 <> 'x'\"}"
                .to_owned(),
            1 => {
                "{type: Row Restriction By User Entitlements, config: {matches: [{type: group, column: c1}]}".to_owned()
            }
            2 => "{type: Minimization, config: {percent: 50}".to_owned(),
            kind => {
                let mask = ["{type: Hash}", "{type: 'Null'}", "{type: Constant, constant: '1'}"][kind % 3];
                format!(
                    "{{type: Masking, config: {{fields: [{{type: columnTags, columnTag: {tag}}}], maskingConfig: {mask}}}"
                )
            }
        };
        // Half say where they apply, the others leave it to their fields or to a table's tag.
        let place = match number % 10 {
            0..=2 => format!("circumstances: [{{type: tags, tag: {tag}}}]\n"),
            3..=6 => format!("circumstances: [{{type: columnTags, columnTag: {tag}}}]\n"),
            _ => String::new(),
        };
        stage = stage.policy(&format!(
            "policyKey: p{number}\nname: policy {number}\ntype: data\nactions:\n- rules:\n  - {rule}, exceptions: {{groups: [g{group}]}}}}\n{place}"
        ));
    }
    let groups: Vec<String> = (0..GROUPS).map(|n| format!("g{n}")).collect();
    for user in 0..size.users {
        let own: Vec<&str> = (0..5).map(|n| groups[(user * 7 + n * 13) % GROUPS].as_str()).collect();
        stage = stage.user(&format!("u{user}"), &own, &[("city", &["Bonn", "Ulm"])]);
    }
    stage
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let out = run();
    told(what, begin.elapsed());
    out
}

/// Tells how long a part took, and the most memory during it.
fn told(what: &str, time: Duration) {
    println!("{what:<44} {:>9.2} s   at most {:>6} MB", time.as_secs_f64(), peak_megabytes());
    // proc(5): 5 sets the peak back to what is in use.
    std::fs::write("/proc/self/clear_refs", "5").ok();
}

/// `VmHWM` of proc(5): the most memory this process has had in use since it was last set back.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let size = if std::env::args().any(|arg| arg == "--bench") {
        size()
    } else {
        Size { policies: 30, sources: 5, columns: 12, users: 9, of_a_tag: 5 }
    };
    let Size { policies, sources, columns, users, of_a_tag } = size;
    println!("{policies} policies, {of_a_tag} to a tag, {sources} data sources of {columns} columns, {users} users");
    let begin = Instant::now();
    let stage = stage(&size).await;
    let config = Arc::new(Config::load(&stage.write()).expect("a configuration"));
    told("(tables and documents made)", begin.elapsed());

    // The parts by themselves, each let go before the whole is measured.
    {
        let loaded = timed("governance documents", || governance::load(&config.governance));
        let declared: Declared = loaded.declared;
        timed("identities", || {
            Directory::load(&config.identities(), &declared.projects, &declared.purposes, &config.secret)
        })
        .expect("identities");
        let client = sqlveil::cli::demo::warehouse::admin(support::server(), &stage.database).await.expect("a client");
        let begin = Instant::now();
        let none = std::collections::BTreeSet::new();
        let read = Catalog::load_changed(&client, &none, None).await.expect("a catalog");
        let (catalog, digest) = read.expect("a first one");
        told("the warehouse's catalog", begin.elapsed());
        let begin = Instant::now();
        let again = Catalog::load_changed(&client, &none, Some(&digest)).await.expect("a catalog");
        assert!(again.is_none(), "nothing has changed");
        told("the same, unchanged", begin.elapsed());
        let (ruleset, problems) =
            timed("binding", || Ruleset::bind(&declared, &stage.database, &catalog, &Salts::new(b"secret")));
        println!("    {} probes for the warehouse, {} problems", ruleset.probes().len(), problems.len());
        let (ruleset, _) = timed("taking the answers, all good", || ruleset.settle(&[]));
        drop(timed("binding, beside what is in force", || {
            Ruleset::bind(&declared, &stage.database, &catalog, &Salts::new(b"secret"))
        }));
        drop(ruleset);
    }
    let begin = Instant::now();
    let (mut worlds, problems) = world::load(&config)
        .await
        .into_result()
        .unwrap_or_else(|p| panic!("{:#?}", p.iter().filter(|p| p.is_error()).take(3).collect::<Vec<_>>()));
    told("everything, probes included", begin.elapsed());
    println!("    {} warnings", problems.len());

    let world = worlds.remove(stage.database.as_str()).expect("a world");
    let begin = Instant::now();
    let mut visible = 0;
    for user in world.directory.users().take(10) {
        let caller = world.directory.caller(user, None).expect("a caller");
        for relation in world.ruleset.registered() {
            visible +=
                usize::from(matches!(world.ruleset.access(&caller, relation, SystemTime::now()), Access::Visible(_)));
        }
    }
    told(&format!("{visible} decisions, none kept before"), begin.elapsed());
}
