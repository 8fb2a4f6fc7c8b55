//! What is asked of a trail.

use crate::{folder, sqlveil, stage};
use std::path::Path;

async fn told() -> (crate::support::Running, String) {
    let mut running = stage("").await.start().await;
    let ana = running.client("ana").await;
    ana.batch_execute("SELECT ssn FROM people WHERE id = 1").await.unwrap();
    ana.batch_execute("SELECT id FROM open LIMIT 1").await.unwrap();
    ana.batch_execute("SET sqlveil.project = 'census'; SELECT id FROM people").await.unwrap();
    let bob = running.client("bob").await;
    bob.batch_execute("SELECT city AS \"a,\"\"b\" FROM people").await.unwrap();
    assert!(bob.batch_execute("SELECT * FROM nothing").await.is_err());
    drop((ana, bob));
    running.stop().await;
    let folder = folder(running.folder()).display().to_string();
    (running, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_by_whatever_they_hold() {
    let (_running, folder) = told().await;
    let found = |args: &[&str]| {
        let all = [&["audit", "search", "--folder", &folder, "--format", "json"], args].concat();
        let (status, text) = sqlveil(&all);
        assert_eq!(status, 0, "{text}");
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--source", "people"]).len(), 3);
    assert_eq!(found(&["--source", "public.people", "--user", "bob"]).len(), 1);
    assert_eq!(found(&["--tag", "PII"]).len(), 1);
    assert_eq!(found(&["--tag", "Place"]).len(), 1);
    assert_eq!(found(&["--purpose", "Count"]).len(), 1);
    assert_eq!(found(&["--decision", "refused"]).len(), 1);
    assert_eq!(found(&["--decision", "login"]).len(), 2);
    assert_eq!(found(&["--text", "FROM PEOPLE", "--limit", "2"]).len(), 2);
    assert_eq!(found(&["--from", "2000-01-01", "--to", "2001-01-01"]).len(), 0);
    let (_, table) = sqlveil(&["audit", "search", "--folder", &folder, "--user", "bob"]);
    assert!(table.starts_with("time\tuser\tproject") && table.contains("\tbob\t-\trefused\t"), "{table}");
    let (_, csv) = sqlveil(&["audit", "search", "--folder", &folder, "--user", "bob", "--format", "csv"]);
    assert!(csv.contains("\"SELECT city AS \"\"a,\"\"\"\"b\"\" FROM people\""), "{csv}");
    let (status, told) = sqlveil(&["audit", "search", "--folder", &folder, "--from", "yesterday"]);
    assert!(status == 2 && told.contains("2026-11-23T06:00:00Z"), "{told}");
    let (status, told) = sqlveil(&["audit", "search", "--folder", "/nowhere"]);
    assert!(status == 2 && told.contains("there is no folder /nowhere"), "{told}");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_set_of_policies_is_tried_on_what_was_asked() {
    let (running, _) = told().await;
    let config = running.config_file().display().to_string();
    let (status, told) = sqlveil(&["audit", "replay", "--config", &config]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains(" 0 changed, 0 that cannot be told"), "{told}");
    // Cities are masked, numbers are not, and nobody sees `open` any more.
    let governance = running.governance();
    write(
        &governance.join("policies/001.yaml"),
        "policyKey: number\nname: number\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Place}], maskingConfig: {type: 'Null'}}\n",
    );
    write(
        &governance.join("policies/000.yaml"),
        "policyKey: anyone\nname: anyone\ntype: subscription\nactions: {type: anyone}\ncircumstances: [{type: columnTags, columnTag: Place}]\n",
    );
    let (status, told) = sqlveil(&["audit", "replay", "--config", &config]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("people: column ssn: Hash (number) -> as it is"), "{told}");
    assert!(told.contains("people: column city: as it is -> Null (number)"), "{told}");
    assert!(told.contains("it would be refused: relation \"open\" does not exist"), "{told}");
    let (_, json) = sqlveil(&["audit", "replay", "--config", &config, "--user", "bob", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changed"].as_array().unwrap().len(), 1, "{json:#}");
}
