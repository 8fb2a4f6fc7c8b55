//! Invalid documents: each is told exactly one thing, with its place and what to do, and all of them at once.
//!
//! `invalid/documents` and `invalid/alone` are wrong by themselves; `invalid/warehouse` only when they meet the tables. What is told stands in
//! `invalid/*.golden`, a line a document.

use crate::rows::golden;
use crate::support::{ANYONE, Stage};
use sqlveil::config::Config;
use sqlveil::governance::problem::Problem;
use sqlveil::world;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies/invalid").join(kind)
}

/// Every document of a folder: its path below it, and its text.
fn documents(kind: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder_of_kind in std::fs::read_dir(folder(kind)).unwrap() {
        let folder_of_kind = folder_of_kind.unwrap().path();
        for file in std::fs::read_dir(&folder_of_kind).unwrap() {
            let file = file.unwrap().path();
            let name = file.strip_prefix(folder(kind)).unwrap().display().to_string();
            found.insert(name, std::fs::read_to_string(&file).unwrap());
        }
    }
    found
}

async fn stage(documents: &BTreeMap<String, String>) -> Stage {
    let mut stage = Stage::new()
        .await
        .sql(
            "CREATE TABLE cards (id int PRIMARY KEY, amount int, city text, region text, at timestamptz);
             CREATE TABLE cities (city text)",
        )
        .await
        .sources(&[("cards", "{amount: [Money], city: [Place], region: [Place]}")])
        .policy(ANYONE)
        .policy("policyKey: owners choose\nname: owners choose\ntype: subscription\nactions: {type: manual}\ncircumstances: null\n")
        .purpose("Audit")
        .user("ana", &["Staff"], &[]);
    for (path, text) in documents {
        stage = stage.document(path, text);
    }
    stage
}

/// What is told of the documents: `folder/file:line:column: error: message (help)`.
async fn told(stage: &Stage) -> Vec<(String, String)> {
    let config = Arc::new(Config::load(&stage.write()).unwrap());
    let governance = config.governance.clone();
    let problems = world::load(&config).await.problems;
    let line = |problem: &Problem| {
        let file = problem.origin.file.strip_prefix(&governance).ok()?.display().to_string();
        let place = format!("{}:{}", problem.origin.line, problem.origin.column);
        let severity = if problem.is_error() { "error" } else { "warning" };
        assert!(!problem.help.is_empty(), "no remedy: {problem}");
        Some((file.clone(), format!("{file}:{place}: {severity}: {} ({})", problem.message, problem.help)))
    };
    problems.iter().filter_map(line).collect()
}

/// All at once, and each told of once.
async fn all_at_once(kind: &str) {
    let documents = documents(kind);
    let stage = stage(&documents).await;
    let mut told = told(&stage).await;
    told.retain(|(file, _)| documents.contains_key(file));
    told.sort();
    let mut counts: BTreeMap<&str, usize> = documents.keys().map(|file| (file.as_str(), 0)).collect();
    told.iter().for_each(|(file, _)| *counts.entry(file).or_default() += 1);
    let wrong: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    let lines = told.iter().fold(String::new(), |mut out, (_, line)| {
        writeln!(out, "{line}").unwrap();
        out
    });
    golden(&format!("invalid/{kind}.golden"), &lines);
    assert!(wrong.is_empty(), "not told of exactly once: {wrong:?}");
    // The command people type tells the same, and fails.
    let mut out = Vec::new();
    assert!(!sqlveil::cli::check::run(&stage.write(), &mut out, false).await.unwrap());
    let out = String::from_utf8(out).unwrap();
    for file in documents.keys() {
        assert!(out.contains(&format!("/{file}")), "`check` is silent about {file}");
    }
    let errors = told.iter().filter(|(_, line)| line.contains(": error: ")).count();
    assert_eq!(errors, documents.len(), "a warning where an error is due");
}

#[tokio::test]
async fn documents_that_are_wrong_by_themselves() {
    assert!(documents("documents").len() >= 60);
    all_at_once("documents").await;
}

/// Data documents name connections, of which a configuration has few: they are read without one.
#[test]
fn data_documents_that_are_wrong_by_themselves() {
    let documents = documents("alone");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("policies")).unwrap();
    for (path, text) in &documents {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let problems = sqlveil::governance::load(folder.path()).into_result().unwrap_err();
    let mut lines: Vec<String> =
        problems.iter().map(|p| p.to_string().replace(&format!("{}/", folder.path().display()), "")).collect();
    lines.sort();
    golden("invalid/alone.golden", &(lines.join("\n") + "\n"));
    assert_eq!(problems.len(), documents.len(), "each is told exactly one thing");
}

#[tokio::test]
async fn documents_that_do_not_fit_the_warehouse() {
    all_at_once("warehouse").await;
}
