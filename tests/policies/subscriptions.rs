//! Who sees a data source at all: every kind of subscription policy alone and together, with every state of a grant.

use crate::support::{PASSWORD, Running, Stage};
use std::time::Duration;
use tokio_postgres::Client;

fn subscription(key: &str, actions: &str) -> String {
    format!("policyKey: {key}\nname: {key}\ntype: subscription\nactions: {{{actions}}}\n")
}

/// ana: Staff and Board, site Bonn. bob: Staff. cara: nothing.
async fn stage(policies: &[&str]) -> Stage {
    let mut stage = Stage::new()
        .await
        .sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .sources(&[("t", "{}")])
        .user("ana", &["Staff", "Board"], &[("site", &["Bonn"])])
        .user("bob", &["Staff"], &[])
        .user("cara", &[], &[]);
    for (at, actions) in policies.iter().enumerate() {
        stage = stage.policy(&subscription(&format!("p{at}"), actions));
    }
    stage
}

/// `1` for a visible row, `-` for a relation that does not exist, otherwise the hint.
async fn answer(client: &Client) -> String {
    match client.simple_query("SELECT id FROM t").await {
        Ok(_) => "1".to_owned(),
        Err(error) => {
            let error = error.as_db_error().unwrap();
            match (error.code().code(), error.hint()) {
                ("42P01", None) => "-".to_owned(),
                ("42501", Some(hint)) => hint.to_owned(),
                _ => panic!("{error:?}"),
            }
        }
    }
}

async fn answers(running: &Running) -> [String; 3] {
    let mut out = [const { String::new() }; 3];
    for (out, user) in out.iter_mut().zip(["ana", "bob", "cara"]) {
        *out = answer(&running.client(user).await).await;
    }
    out
}

const STAFF: &str = "type: entitlements, entitlements: {groups: [Staff]}";
const BOARD: &str = "type: entitlements, entitlements: {groups: [Board]}";
const BOTH: &str = "type: entitlements, entitlements: {operator: ALL, groups: [Staff, Board]}";
const APPROVAL: &str = "type: approval, approvals: [{requiredPermission: OWNER}, {requiredPermission: GOVERNANCE, specificApproverRequired: true}]";

#[tokio::test]
async fn policies_alone_and_together() {
    let share = |actions: &str| format!("{actions}, shareResponsibility: true");
    let advanced = |text: &str| format!("type: entitlements, advanced: \"{text}\"");
    let cases: Vec<(Vec<String>, [&str; 3])> = vec![
        (vec![], ["-", "-", "-"]),
        (vec!["type: anyone".into()], ["1", "1", "1"]),
        (vec!["type: anyone, automaticSubscription: false".into()], ["-", "-", "-"]),
        (vec!["type: manual".into()], ["-", "-", "-"]),
        (vec![APPROVAL.into()], ["-", "-", "-"]),
        (vec![STAFF.into()], ["1", "1", "-"]),
        (vec![format!("{STAFF}, automaticSubscription: false")], ["-", "-", "-"]),
        (vec![BOTH.into()], ["1", "-", "-"]),
        // Each must be met, ...
        (vec![STAFF.into(), BOARD.into()], ["1", "-", "-"]),
        (vec!["type: anyone".into(), "type: manual".into()], ["-", "-", "-"]),
        (vec!["type: anyone".into(), APPROVAL.into()], ["-", "-", "-"]),
        // ... but one of those that share the responsibility is enough.
        (vec![share(STAFF), share(BOARD)], ["1", "1", "-"]),
        (vec![share(STAFF), BOARD.into()], ["1", "-", "-"]),
        (vec![share(STAFF), share(APPROVAL)], ["1", "1", "-"]),
        (vec![share(BOARD)], ["1", "-", "-"]),
        // A right to write is a right to read.
        (vec!["type: manual".into(), format!("{BOARD}, accessGrant: WRITE")], ["1", "-", "-"]),
        (vec![advanced("@isInGroups('Board', 'Elsewhere') AND @hasAttribute('site', 'Bonn')")], ["1", "-", "-"]),
        (vec![advanced("@isInGroups('Staff') AND NOT @isInGroups('Board')")], ["-", "1", "-"]),
        (vec![advanced("NOT (@isInGroups('Board') OR @hasAttribute('site', 'Rome'))")], ["-", "1", "1"]),
        (vec![advanced("@isInGroups('staff')")], ["-", "-", "-"]),
        (
            vec![advanced("@isInGroups('Board') OR @isInGroups('Staff') AND @hasAttribute('site', 'Rome')")],
            ["1", "-", "-"],
        ),
    ];
    for (policies, wanted) in cases {
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let running = stage(&policies).await.start().await;
        assert_eq!(answers(&running).await, wanted, "{policies:#?}");
    }
}

#[tokio::test]
async fn what_others_may_know_of_a_data_source() {
    let ask = "ask an owner of the data source";
    for (policies, wanted) in [
        (
            vec!["type: manual, allowDiscovery: true".to_owned()],
            "ask an owner of the data source for a subscription".to_owned(),
        ),
        (vec![format!("{BOARD}, allowDiscovery: true")], format!("access needs group Board; {ask}")),
        (
            vec![format!("{APPROVAL}, allowDiscovery: true")],
            format!(
                "access needs the approval of an owner of the data source and governance named in the request; {ask}"
            ),
        ),
        (
            vec![
                "type: entitlements, advanced: \"NOT @isInGroups('Board', 'x')\", allowDiscovery: true".to_owned(),
                "type: manual".to_owned(),
            ],
            "-".to_owned(),
        ),
        (
            vec!["type: entitlements, advanced: \"NOT @isInGroups('Staff')\", allowDiscovery: true".to_owned()],
            format!("access needs other groups or attributes; {ask}"),
        ),
        // One unmet policy that does not allow it is reason enough to hide.
        (vec![format!("{BOARD}, allowDiscovery: true"), "type: manual".to_owned()], "-".to_owned()),
        (
            vec![format!("{STAFF}, allowDiscovery: false"), format!("{BOARD}, allowDiscovery: true")],
            format!("access needs group Board; {ask}"),
        ),
    ] {
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let running = stage(&policies).await.start().await;
        assert_eq!(answer(&running.client("bob").await).await, wanted, "{policies:#?}");
    }
}

#[tokio::test]
async fn grants_in_every_state() {
    let approved =
        "approvals: [{requiredPermission: OWNER, approver: olga}, {requiredPermission: GOVERNANCE, state: approved}]";
    for (state, policy, gives) in [
        ("subscribed", APPROVAL, true),
        ("owner", APPROVAL, true),
        ("expert", "type: manual", true),
        ("ingest", BOARD, true),
        ("pending", APPROVAL, false),
        ("denied", "type: manual", false),
        // A denial counts against every policy.
        ("denied", "type: anyone", false),
        ("pending", "type: anyone", true),
    ] {
        let approvals =
            if state == "pending" { "approvals: [{requiredPermission: OWNER, state: pending}]" } else { approved };
        let grant = format!("dataSource: t\nuser: bob\nstate: {state}\n{approvals}\n");
        let running = stage(&[policy]).await.grant(&grant).start().await;
        let wanted = if gives { "1" } else { "-" };
        assert_eq!(answer(&running.client("bob").await).await, wanted, "{state} under {policy}");
        let cara = if policy.contains("anyone") { "1" } else { "-" };
        assert_eq!(answer(&running.client("cara").await).await, cara, "{state} under {policy}: to somebody else");
    }
    let pending = "dataSource: t\ngroup: Staff\nstate: pending\n";
    let running = stage(&[&format!("{APPROVAL}, allowDiscovery: true")]).await.grant(pending).start().await;
    assert_eq!(answer(&running.client("bob").await).await, "your request is waiting for approval");
}

#[tokio::test]
async fn a_grant_ends_while_a_session_lives() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let grant = format!("dataSource: t\nuser: bob\nexpiration: '{soon}'\n");
    let running = stage(&["type: manual"]).await.grant(&grant).start().await;
    let client = running.client("bob").await;
    assert_eq!(answer(&client).await, "1");
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    assert_eq!(answer(&client).await, "-");
    assert!(running.try_client("bob", PASSWORD, running.database()).await.is_ok(), "the login stays");
}
