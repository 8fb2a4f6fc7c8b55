//! Projects over the wire: acknowledgement, purposes and their hierarchy, equalization.

use crate::support::{ANYONE, PASSWORD, Running, Stage};
use crate::{error, rows};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const SCHEMA: &str =
    "CREATE TABLE cases (id int, city text); INSERT INTO cases VALUES (1, 'Bonn'), (2, 'Köln'), (3, 'Ulm')";

const RESTRICTED: &str = "policyKey: purpose\nname: purpose\ntype: data\nactions:\n- rules:\n  - type: Purpose Restriction\n    \
    config: {purposes: [Fraud]}\n";

const CITY: &str = "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: city, column: city}]}\n";

const PURPOSE: &str = "name: Fraud\nacknowledgement: I use this against fraud alone\nreAcknowledgeRequired: true\n\
    subpurposes: [{name: Fraud.Cards}, {name: Fraud.Loans, acknowledgement: Loans are private}]\n";

async fn running() -> Running {
    Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .sources(&[("cases", "{}")])
        .policy(ANYONE)
        .policy(RESTRICTED)
        .policy(CITY)
        .purpose_document(PURPOSE)
        .project("projectKey: cards\nname: cards\npurposes: [Fraud.Cards]\nmembers: [{type: group, name: Staff}]\n")
        .project("projectKey: both\nname: both\npurposes: [Fraud.Cards, Fraud.Loans]\nmembers: [{type: group, name: Staff}]\nequalization: true\n")
        .user("ana", &["Staff"], &[("city", &["Bonn", "Ulm"])])
        .user("bob", &["Staff"], &[("city", &["Köln", "Ulm"])])
        .user("eve", &[], &[("city", &["Bonn"])])
        .start()
        .await
}

const CITIES: &str = "SELECT string_agg(city, ',' ORDER BY id) FROM cases";

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_entered_when_its_text_is_accepted() {
    let running = running().await;
    let ana = running.client("ana").await;
    assert_eq!(rows(&ana, CITIES).await, ["NULL"]);
    let refused = ana.simple_query("SET sqlveil.project = 'cards'").await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "42501");
    assert!(refused.message().ends_with("\nFraud.Cards: I use this against fraud alone"), "{}", refused.message());
    assert!(refused.hint().unwrap().contains("SET sqlveil.acknowledge = 'cards'"), "{refused:?}");
    assert_eq!(rows(&ana, "SHOW sqlveil.project").await, [""]);
    // The same for a login under the project, whichever way it is chosen.
    let login = running.try_client("ana+cards", PASSWORD, running.database()).await.unwrap_err();
    assert!(login.as_db_error().unwrap().message().contains("against fraud alone"), "{login:?}");
    let mut config = running.client_config("ana");
    let login = config.options("-c sqlveil.project=cards").connect(NoTls).await.map(drop).unwrap_err();
    assert_eq!(login.as_db_error().unwrap().code().code(), "42501");

    ana.batch_execute("SET sqlveil.acknowledge = 'cards'").await.unwrap();
    ana.batch_execute("SET sqlveil.project = 'cards'").await.unwrap();
    assert_eq!(rows(&ana, CITIES).await, ["Bonn,Ulm"], "a sub-purpose satisfies a rule that names its parent");
    let other = running.try_client("ana+cards", PASSWORD, running.database()).await.unwrap();
    assert_eq!(rows(&other, CITIES).await, ["Bonn,Ulm"]);
    let kept = std::fs::read_to_string(running.folder().join("acknowledgements.jsonl")).unwrap();
    assert!(kept.contains("\"user\":\"ana\"") && kept.contains("I use this against fraud alone"), "{kept}");

    // Another project asks for its own, all texts of it.
    let (_, text) = error(&ana, "SET sqlveil.project = 'both'").await;
    assert!(text.contains("Fraud.Cards: I use this") && text.contains("Fraud.Loans: Loans are private"), "{text}");
    // Another user has accepted nothing, and who is no member learns nothing.
    let (bob, eve) = (running.client("bob").await, running.client("eve").await);
    assert!(error(&bob, "SET sqlveil.project = 'cards'").await.1.contains("acknowledge"));
    for sql in
        ["SET sqlveil.project = 'cards'", "SET sqlveil.acknowledge = 'cards'", "SET sqlveil.acknowledge = 'none'"]
    {
        let (code, text) = error(&eve, sql).await;
        assert!(code == "42501" && text.starts_with("permission denied for project"), "{sql}: {text}");
    }
    assert_eq!(error(&bob, "SET sqlveil.acknowledge = ''").await.0, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_text_is_asked_for_again_and_can_be_accepted_at_once() {
    let running = running().await;
    let ana = running.client("ana").await;
    ana.batch_execute("SET sqlveil.acknowledge = 'cards'; SET sqlveil.project = 'cards'").await.unwrap();
    assert_eq!(rows(&ana, CITIES).await, ["Bonn,Ulm"]);
    let path = running.governance().join("purposes/000.yaml");
    std::fs::write(&path, PURPOSE.replace("fraud alone", "fraud and theft")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match ana.simple_query(CITIES).await {
            Ok(_) => assert!(Instant::now() < deadline, "the changed text is never asked for"),
            Err(refused) => {
                assert!(refused.as_db_error().unwrap().message().contains("fraud and theft"), "{refused:?}");
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Prepared or not, nothing is read before; leaving and accepting are possible.
    assert!(ana.prepare(CITIES).await.is_err());
    assert_eq!(error(&ana, "SET sqlveil.acknowledge = 'cards'; SELECT 1").await.0, "42501", "nothing rides along");
    ana.execute("SET sqlveil.acknowledge = 'cards'", &[]).await.unwrap();
    assert_eq!(rows(&ana, CITIES).await, ["Bonn,Ulm"]);
    std::fs::write(&path, PURPOSE).unwrap();
    std::fs::remove_file(running.folder().join("acknowledgements.jsonl")).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(ana.simple_query(CITIES).await.is_err(), "an acceptance that is gone counts no more");
    ana.batch_execute("RESET sqlveil.project").await.unwrap();
    assert_eq!(rows(&ana, CITIES).await, ["NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_that_cannot_be_kept_does_not_count() {
    let running = running().await;
    let ana = running.client("ana").await;
    std::fs::create_dir(running.folder().join("acknowledgements.jsonl")).unwrap();
    for sql in ["SET sqlveil.acknowledge = 'cards'", "SET sqlveil.project = 'cards'"] {
        let (code, text) = error(&ana, sql).await;
        assert_eq!((code.as_str(), text.as_str()), ("58030", "acknowledgements cannot be kept at the moment"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_equalized_project_see_the_same() {
    let running = running().await;
    for user in ["ana", "bob"] {
        let client = running.client(user).await;
        client.batch_execute("SET sqlveil.acknowledge = 'both'; SET sqlveil.project = 'both'").await.unwrap();
        assert_eq!(rows(&client, CITIES).await, ["Ulm"], "{user}");
        client.batch_execute("SET sqlveil.acknowledge = 'cards'; SET sqlveil.project = 'cards'").await.unwrap();
        let own = if user == "ana" { "Bonn,Ulm" } else { "Köln,Ulm" };
        assert_eq!(rows(&client, CITIES).await, [own], "{user}");
    }
}
