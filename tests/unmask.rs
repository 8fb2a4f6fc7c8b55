//! `sqlveil unmask`: what a caller saw masked is given back under an approved request, and under no other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "support/mod.rs"]
mod support;

use sqlveil::cli::unmask::{Args, run};
use support::{ANYONE, Running, Stage};

const MASK: &str = "policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Pii}], maskingConfig: {type: Reversible}}\n";

const VALUE: &str = "123-45-6789 é\n'";

fn request(key: &str, rest: &str) -> String {
    format!("requestKey: {key}\ndataSource: emp\ncolumn: ssn\nrequester: ana\nreason: a case\n{rest}")
}

async fn stage() -> Running {
    let approved = "state: approved\napprovedBy: bob\nexpiration: 2100-01-01\n";
    let value = VALUE.replace('\'', "''");
    Stage::new()
        .await
        .sql("CREATE TABLE emp (id int, ssn text, phone text); CREATE TABLE paid (id int, who text)")
        .await
        .sql(&format!(
            "INSERT INTO emp VALUES (1, '{value}', '{value}'), (2, '', 'x'), (3, NULL, NULL); INSERT INTO paid VALUES (1, '{value}')"
        ))
        .await
        .sources(&[("emp", "{ssn: [Pii], phone: [Pii]}"), ("paid", "{who: [Pii]}")])
        .policy(ANYONE)
        .policy(MASK)
        .project("projectKey: joins\nname: joins\nallowMaskedJoins: true\nmembers: [{type: user, name: ana}]\n")
        .project("projectKey: plain\nname: plain\nmembers: [{type: user, name: ana}]\n")
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .unmask_request(&request("good", approved))
        .unmask_request(&request("project", &format!("project: joins\n{approved}")))
        .unmask_request(&request("plain", &format!("project: plain\n{approved}")))
        .unmask_request(&request("listed", &format!("values: [abc]\n{approved}")))
        .unmask_request(&request("pending", "state: pending\n"))
        .unmask_request(&request("denied", "state: denied\napprovedBy: bob\n"))
        .unmask_request(&request("done", "state: completed\napprovedBy: bob\n"))
        .unmask_request(&request("old", "state: approved\napprovedBy: bob\nexpiration: 2020-01-01\n"))
        .unmask_request(&request("stranger", approved).replace("requester: ana", "requester: eve"))
        .start()
        .await
}

/// Runs the command; the output, when it was done.
async fn unmasked(running: &Running, key: &str, tokens: &[&str]) -> Option<serde_json::Value> {
    let file = running.folder().join("tokens");
    std::fs::write(&file, tokens.join("\n")).expect("a file");
    let args = Args { config: running.config_file(), request: key.into(), values: Some(file) };
    let mut out = Vec::new();
    let done = run(&args, &mut out).await.expect("an answer");
    assert_eq!(done, !out.is_empty(), "{key}: nothing is told of what is refused");
    done.then(|| serde_json::from_slice(&out).expect("JSON"))
}

async fn seen(running: &Running, login: &str, column: &str, table: &str) -> String {
    let client = running.client(login).await;
    client.query_one(&format!("SELECT {column} FROM {table} WHERE id = 1"), &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn an_approved_request_gives_the_values_back() {
    let running = stage().await;
    let client = running.client("ana").await;
    let rows = client.query("SELECT ssn FROM emp ORDER BY id", &[]).await.expect("rows");
    let tokens: Vec<Option<String>> = rows.iter().map(|r| r.get(0)).collect();
    let (first, second) = (tokens[0].as_deref().unwrap(), tokens[1].as_deref().unwrap());
    assert_eq!(tokens[2], None);
    assert!(!first.contains("123") && second.len() == 24);
    let told = unmasked(&running, "good", &[first, second]).await.expect("values");
    assert_eq!(told["result"]["column"], "ssn");
    assert_eq!(told["result"]["unmaskPairs"][0]["masked"], first);
    assert_eq!(told["result"]["unmaskPairs"][0]["unmasked"], VALUE);
    assert_eq!(told["result"]["unmaskPairs"][1]["unmasked"], "");
}

#[tokio::test]
async fn nothing_else_gives_them_back() {
    let running = stage().await;
    let token = seen(&running, "ana", "ssn", "emp").await;
    for key in ["pending", "denied", "done", "old", "stranger", "listed", "plain", "project", "nothing"] {
        assert_eq!(unmasked(&running, key, &[&token]).await, None, "{key}");
    }
    let phone = seen(&running, "ana", "phone", "emp").await;
    assert_ne!(token, phone, "columns have keys of their own");
    let mut changed = token.clone().into_bytes();
    changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for wrong in [phone.as_str(), &changed, &token[..24], &token[4..], "AAAA", "?", "123-45-6789"] {
        assert_eq!(unmasked(&running, "good", &[&token, wrong]).await, None, "{wrong}: all or none");
    }
}

#[tokio::test]
async fn tokens_join_under_a_project_and_are_given_back_under_it() {
    let running = stage().await;
    let plain = seen(&running, "ana", "ssn", "emp").await;
    let token = seen(&running, "ana+joins", "ssn", "emp").await;
    assert_eq!(token, seen(&running, "ana+joins", "who", "paid").await);
    assert_ne!(token, plain);
    assert_eq!(plain, seen(&running, "ana+plain", "ssn", "emp").await);
    let told = unmasked(&running, "project", &[&token]).await.expect("values");
    assert_eq!(told["result"]["unmaskPairs"][0]["unmasked"], VALUE);
    assert_eq!(unmasked(&running, "good", &[&token]).await, None);
}
