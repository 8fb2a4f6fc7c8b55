//! `sqlveil explain` over a real warehouse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "support/mod.rs"]
mod support;

use sqlveil::cli::explain::{Args, Format, run};
use support::{ANYONE, Stage};

const MASK: &str = "policyKey: mask ssn\nname: mask ssn\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Ssn}], maskingConfig: {type: Hash}}\n    exceptions: {purposes: [Audit]}\n";

#[tokio::test]
async fn a_statement_is_explained_and_not_run() {
    let stage = Stage::new()
        .await
        .sql("CREATE TABLE emp (id int PRIMARY KEY, ssn text); INSERT INTO emp VALUES (1, 'secret value')")
        .await
        .sources(&[("emp", "{ssn: [Ssn]}")])
        .policy(ANYONE)
        .policy(MASK)
        .purpose("Audit")
        .project("projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: user, name: ana}]\n")
        .user("ana", &[], &[]);
    let config = stage.write();
    let explained_as = async |user: &str, project: Option<&str>, format: Format, sql: &str| {
        let args = Args {
            config: config.clone(),
            user: user.into(),
            project: project.map(Into::into),
            connection: None,
            format,
            sql: sql.into(),
        };
        let mut out = Vec::new();
        let done = run(&args, &mut out, false).await.expect("written");
        (done, String::from_utf8(out).expect("text"))
    };
    let explained =
        async |user: &str, project: Option<&str>, sql: &str| explained_as(user, project, Format::Text, sql).await;
    let (_, data) = explained_as("ana", None, Format::Json, "SELECT ssn FROM emp WHERE id = 1").await;
    let data: serde_json::Value = serde_json::from_str(&data).expect("JSON");
    let relation = &data["relations"][0];
    assert_eq!(relation["answer"], "visible", "{data}");
    let masked = serde_json::json!([{"type": "Consistent Value", "metadata": {}, "name": "ssn", "actionType": "Hash",
        "policyKey": "mask ssn", "changedOnApply": []}]);
    assert_eq!(relation["policyInfo"]["masked"], masked, "{data}");
    assert_eq!(relation["policyInfo"]["visibilityRuleApplies"], false);
    let rule = relation["rules"].as_array().expect("rules").iter().find(|r| r["policy"] == "mask ssn").expect("traced");
    assert!(rule["applied"] == true && rule["why"].as_str().expect("words").contains("except"), "{rule}");
    assert!(data["sent"][0]["sql"].as_str().expect("text").contains("<salt>"), "{data}");
    let (done, text) = explained("ana", None, "SELECT ssn FROM emp WHERE id = 1").await;
    assert!(done, "{text}");
    for part in ["public.emp (data source emp): visible", "ssn  Hash (mask ssn)", "sent to the warehouse", "<salt>"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("secret value"), "{text}");
    for (user, project) in [("ana", Some("audit")), ("ana+audit", None)] {
        let (_, text) = explained(user, project, "SELECT ssn FROM emp").await;
        assert!(text.contains("the caller is excepted: purpose Audit"), "{text}");
        assert!(!text.contains("<salt>"), "{text}");
    }
    let (done, text) = explained("ana", Some("nothing"), "SELECT 1").await;
    assert!(!done && text.contains("the caller is refused"), "{text}");
    let (done, text) = explained("bob", None, "SELECT 1").await;
    assert!(!done && text.contains("the caller is refused"), "{text}");
    let (done, text) = explained("ana", None, "DELETE FROM emp").await;
    assert!(done && text.contains("refused"), "{text}");
}
