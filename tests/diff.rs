//! `sqlveil diff` over a real warehouse: golden text and JSON, and the exit statuses.
//!
//! `SQLVEIL_BLESS=1` writes what is seen into `tests/data/diff`; the difference is for reviewers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "support/mod.rs"]
mod support;

use sqlveil::cli::demo::documents;
use sqlveil::cli::diff::{Args, Verdict, run};
use sqlveil::cli::explain::Format;
use std::path::{Path, PathBuf};
use support::{ANYONE, Stage};

const MASK: &str = "policyKey: mask ssn\nname: mask ssn\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Ssn}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [Trusted]}\n";
const ROWS: &str = "policyKey: own city\nname: own city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    config: {operator: any, matches: [{type: attribute, attribute: city, column: city}]}\n    exceptions: {purposes: [Audit]}\ncircumstances: [{type: columnRegex, regex: ^city$}]\n";

async fn stage() -> Stage {
    let mut stage = Stage::new()
        .await
        .sql(
            "CREATE TABLE emp (id int PRIMARY KEY, ssn text, city text); CREATE TABLE pay (id int, ssn text);
             CREATE TABLE vault (id int)",
        )
        .await
        .sources(&[("emp", "{ssn: [Ssn]}"), ("pay", "{ssn: [Ssn]}"), ("vault", "{}")])
        .policy(&format!("{ANYONE}circumstances: [{{type: columnTags, columnTag: Ssn}}]\n"))
        .policy(MASK)
        .policy(ROWS)
        .purpose("Audit")
        .project("projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: group, name: Trusted}]\n")
        .grant("dataSource: vault\nuser: u3\n");
    for number in 0..12 {
        stage = stage.user(&format!("u{number}"), &[], &[("city", &["Bonn"])]);
    }
    stage.user("tom", &["Trusted"], &[]).user("tim", &["Trusted"], &[("city", &["Bonn"])])
}

/// The stage's documents in a folder of their own, some of them replaced, added or (empty) taken away.
fn changed(original: &Path, changes: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut left = vec![original.parent().unwrap().to_path_buf()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(original.parent().unwrap()).unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    for (name, text) in changes {
        files.retain(|(known, _)| known != name);
        if !text.is_empty() {
            files.push(((*name).to_owned(), (*text).to_owned()));
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    documents::write(folder.path(), &files).unwrap();
    let config = folder.path().join("config.yaml");
    (folder, config)
}

async fn diff(before: &Path, after: &Path, users: &[&str], format: Format) -> (Verdict, String) {
    let args = Args {
        configs: vec![before.to_path_buf(), after.to_path_buf()],
        users: users.iter().map(|user| (*user).to_owned()).collect(),
        format,
    };
    let mut out = Vec::new();
    let verdict = run(&args, &mut out, false).await.expect("written");
    (verdict, String::from_utf8(out).expect("text"))
}

/// Compares with the golden file; the database's name differs from run to run.
fn golden(stage: &Stage, name: &str, found: &str) {
    let found = found.replace(&stage.database, "<connection>");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diff").join(name);
    if std::env::var_os("SQLVEIL_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{}\n--- expected\n{expected}\n--- found\n{found}", path.display());
}

#[tokio::test]
async fn what_changes_for_whom_is_told() {
    let stage = stage().await;
    let before = stage.write();
    let (same, found) = diff(&before, &before, &[], Format::Text).await;
    assert_eq!((same, found.as_str(), same.status()), (Verdict::Same, "nothing changes for anybody\n", 0));

    // Another order of documents is no change.
    let (_folder, reordered) = changed(
        &before,
        &[
            ("governance/policies/001.yaml", ""),
            ("governance/policies/002.yaml", ""),
            ("governance/policies/x.yaml", &format!("{ROWS}---\n{MASK}")),
        ],
    );
    assert_eq!(diff(&before, &reordered, &[], Format::Text).await.0, Verdict::Same);

    let identity = std::fs::read_to_string(before.parent().unwrap().join("identity.yaml")).unwrap();
    let identity =
        identity.replace("name: 'u11'", "name: 'new'").replace("name: 'u10', ", "name: 'u10', disabled: true, ");
    let (_folder, after) = changed(
        &before,
        &[
            ("governance/policies/000.yaml", ANYONE),
            (
                "governance/policies/001.yaml",
                &MASK.replace("{type: Hash}", "{type: 'Null'}").replace("[Trusted]", "[Other]"),
            ),
            ("governance/policies/002.yaml", &ROWS.replace("    exceptions: {purposes: [Audit]}\n", "")),
            (
                "governance/projects/000.yaml",
                "projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: user, name: tom}]\n",
            ),
            ("identity.yaml", &identity),
        ],
    );
    let (verdict, text) = diff(&before, &after, &[], Format::Text).await;
    assert_eq!((verdict, verdict.status()), (Verdict::Changes, 1));
    golden(&stage, "all.txt", &text);
    let (_, json) = diff(&before, &after, &["tom", "u3"], Format::Json).await;
    golden(&stage, "two.json", &json);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    let (_, back) = diff(&after, &before, &[], Format::Text).await;
    golden(&stage, "back.txt", &back);
}

#[tokio::test]
async fn what_cannot_be_told_fails_with_a_reason() {
    let stage = stage().await;
    let before = stage.write();
    let (_folder, broken) = changed(&before, &[("governance/policies/001.yaml", &MASK.replace("Hash", "Hsah"))]);
    let (verdict, text) = diff(&before, &broken, &[], Format::Text).await;
    assert_eq!((verdict, verdict.status()), (Verdict::Failed, 2));
    assert!(text.contains("Hsah"), "{text}");
    let (verdict, text) = diff(&before, &before, &["nobody"], Format::Text).await;
    assert_eq!((verdict, text.as_str()), (Verdict::Failed, "the user \"nobody\" is in neither identity file\n"));
    let (verdict, _) = diff(&before, Path::new("/nonexistent/config.yaml"), &[], Format::Text).await;
    assert_eq!(verdict, Verdict::Failed);
    // Another secret: hashes change as values, which is said once and not for every column.
    let (_folder, other) = changed(&before, &[("secrets/master", "quite another master secret here")]);
    let (verdict, text) = diff(&before, &other, &[], Format::Text).await;
    assert_eq!(
        (verdict, text.as_str()),
        (Verdict::Changes, "note: the master secrets differ: hashed values change too, which is not listed\n")
    );
}
