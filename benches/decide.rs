//! Deciding for one caller and one relation among ever more policies that do not touch it: the time must stay the same.
//!
//! `cargo bench --bench decide`. A private PostgreSQL is started once, for a real catalog; nothing measured talks to it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sqlveil::catalog::Catalog;
use sqlveil::governance::model::Declared;
use sqlveil::identity::Caller;
use sqlveil::policy::{Ruleset, Salts};
use sqlveil::types::QualifiedName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::SystemTime;

/// Policies that touch the relation, in every measurement.
const TOUCHING: usize = 6;

/// The documents: one relation, policies that touch it, and others that do not, in every way not to.
fn declared(database: &str, policies: usize) -> Declared {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("tags/t.yaml", "tags: [Here, Elsewhere]\n");
    write(
        "data/d.yaml",
        &format!(
            "connectionKey: {database}\nsources:\n- {{table: person, schema: public, tags: {{table: [Here], columns: \
             [{{columnName: name, tags: [Here.Name]}}, {{columnName: ssn, tags: [Here.Ssn]}}]}}}}\n"
        ),
    );
    let mut text = format!("{}---\n", support::ANYONE);
    let mask = |key: &str, tag: &str, place: &str| {
        format!(
            "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - {{type: Masking, config: {{fields: [{{type: columnTags, \
             columnTag: {tag}}}], maskingConfig: {{type: Hash}}}}}}\n{place}---\n"
        )
    };
    for number in 1..TOUCHING {
        text.push_str(&mask(&format!("here {number}"), "Here.Ssn", ""));
    }
    for number in 0..policies.saturating_sub(TOUCHING) {
        let place = match number % 3 {
            0 => format!("circumstances: [{{type: tags, tag: Elsewhere.T{number}}}]\n"),
            1 => format!("circumstances: [{{type: columnTags, columnTag: Elsewhere.T{number}}}]\n"),
            _ => String::new(),
        };
        write!(text, "{}", mask(&format!("elsewhere {number}"), &format!("Elsewhere.T{number}"), &place))
            .expect("text");
        // Files of a size that people have.
        if number % 500 == 499 {
            write(&format!("policies/{number}.yaml"), &std::mem::take(&mut text));
        }
    }
    write("policies/last.yaml", &text);
    let (declared, _) = sqlveil::governance::load(folder.path()).into_result().unwrap_or_else(|p| panic!("{p:#?}"));
    declared
}

fn catalog() -> (String, Catalog) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stage =
            support::Stage::new().await.sql("CREATE TABLE person (id int PRIMARY KEY, name text, ssn text)").await;
        let client = sqlveil::cli::demo::warehouse::admin(support::server(), &stage.database).await.expect("a client");
        (stage.database.clone(), Catalog::load(&client).await.expect("a catalog"))
    })
}

fn decide(c: &mut Criterion) {
    let (database, catalog) = catalog();
    let relation = QualifiedName::new("public", "person");
    let mut group = c.benchmark_group("decide");
    for policies in [10, 1_000, 100_000] {
        let declared = declared(&database, policies);
        assert_eq!(declared.policies.len(), policies);
        let ruleset = Ruleset::bind(&declared, &database, &catalog, &Salts::new(b"secret")).0.settle(&[]).0;
        // Another caller each time, so that no decision is kept for him.
        let mut number = 0u64;
        group.bench_function(BenchmarkId::new("first time", policies), |b| {
            b.iter(|| {
                number += 1;
                ruleset.access(black_box(&caller(number)), &relation, SystemTime::UNIX_EPOCH)
            });
        });
        let caller = caller(0);
        group.bench_function(BenchmarkId::new("again", policies), |b| {
            b.iter(|| ruleset.access(black_box(&caller), &relation, SystemTime::UNIX_EPOCH));
        });
    }
    group.finish();
}

fn caller(number: u64) -> Caller {
    Caller {
        user: format!("u{number}").into(),
        iam: "local".into(),
        groups: BTreeSet::new(),
        attributes: BTreeMap::new(),
        project: None,
        purposes: BTreeSet::new(),
        before: None,
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
