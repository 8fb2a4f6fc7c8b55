//! The audit trail: what records hold, that none can be lost or changed unnoticed, where they go, what is asked of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../support/process.rs"]
mod process;

mod commands;
mod origins;
mod records;
mod sinks;
mod trouble;
mod whole;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{ANYONE, Running, Stage};

/// Records of a kind, one after the other: those of sessions on two lanes may stand in the trail in either order.
fn in_time<'r>(all: &'r [Value], kind: &str) -> Vec<&'r Value> {
    let mut found: Vec<&Value> = all.iter().filter(|record| record["kind"] == kind).collect();
    found.sort_by_key(|record| record["time"].as_str().unwrap());
    found
}

/// People with a number that is masked, rows of Ulm hidden from those without a purpose, and a table for everybody.
async fn stage(audit: &str) -> Stage {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE people (id int PRIMARY KEY, ssn text, city text);
             INSERT INTO people SELECT i, 'number ' || i, CASE WHEN i % 2 = 0 THEN 'Ulm' ELSE 'Bonn' END FROM generate_series(1, 10) i;
             CREATE TABLE open AS SELECT generate_series(1, 100) AS id",
        )
        .await
        .sources(&[("people", "{ssn: [PII.Number], city: [Place]}"), ("open", "{}")])
        .policy(ANYONE)
        .policy("policyKey: number\nname: number\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: PII}], maskingConfig: {type: Hash}}\n")
        .policy("policyKey: cities\nname: cities\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"city <> 'Ulm'\"}\n    exceptions: {operator: any, purposes: [Count]}\ncircumstances: [{type: columnTags, columnTag: Place}]\n")
        .purpose("Count")
        .project("projectKey: census\nname: census\npurposes: [Count]\nmembers: [{type: user, name: ana}]\n")
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .config(&format!("audit: {{folder: trail{audit}}}\n"))
}

/// Stops a proxy.
fn stop(process: &mut process::Process) {
    process.signal("TERM");
    assert!(process.ended(std::time::Duration::from_secs(20)).is_some());
}

/// The name of a stage's database.
fn database(stage: &Stage) -> String {
    stage.service().0.trim_start_matches("service_").to_owned()
}

/// Where the trail of a proxy is.
fn folder(stage: &Path) -> PathBuf {
    stage.join("trail")
}

/// Every line of a trail, in order.
fn lines(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Every record of a trail.
fn records(folder: &Path) -> Vec<Value> {
    lines(folder).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Records of statements, once the proxy has stopped.
async fn statements(running: &mut Running) -> Vec<Value> {
    running.stop().await;
    let all = records(&folder(running.folder()));
    all.into_iter().filter(|record| record["kind"] == "statement").collect()
}

/// Runs `sqlveil` with these arguments: exit status and output.
fn sqlveil(args: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sqlveil"));
    let output = command.args(args).env("NO_COLOR", "1").env("SQLVEIL_LOG", "error").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}
