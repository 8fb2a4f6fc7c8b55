//! Temporary SQL accounts: their user, in their project, for their minutes.

use crate::commands::{account, json, known, run, with_password};
use crate::sessions::{cell, code, idle};
use crate::support::{PASSWORD, Running};
use crate::{SEEN, running};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_its_user_in_its_project_and_can_be_nothing_else() {
    let running = running().await;
    let (name, password) = account(&running, &["--user", "bob", "--project", "fraud"]);
    assert!(name.starts_with("temp") && name.len() == 28, "{name}");
    known(&running, &name, &password).await;
    let output =
        running.psql_as(&name, &password, running.database(), &["-At", "-c", SEEN, "-c", "SHOW sqlveil.project"]);
    assert_eq!(output.out, "bob: Rome, 1\nfraud\n", "{}", output.err);
    let session = idle(&running, &name, &password).await;
    let client = &session.client;
    for elsewhere in [
        "SET sqlveil.project = 'other'",
        "SET LOCAL sqlveil.project = 'other'",
        "SET sqlveil.project = ''",
        "SET sqlveil.project TO DEFAULT",
        "RESET sqlveil.project",
        "SET sqlveil.user = 'ana'",
        "SET sqlveil.user = 'bi'",
        "SELECT set_config('sqlveil.project', '', false)",
        "BEGIN; SET sqlveil.project = 'other'; COMMIT",
    ] {
        let error = client.simple_query(elsewhere).await.expect_err(elsewhere);
        let code = error.as_db_error().unwrap().code().code().to_owned();
        assert!(["42501", "0A000", "42704"].contains(&code.as_str()), "{elsewhere}: {error:?}");
        let _ = client.simple_query("ROLLBACK").await;
        assert_eq!(cell(client, SEEN).await, "bob: Rome, 1", "after {elsewhere}");
    }
    // What poolers send leads back to where it began.
    for back in
        ["DISCARD ALL", "RESET ALL", "SET sqlveil.user = 'bob'", "SET sqlveil.project = 'fraud'", "RESET sqlveil.user"]
    {
        client.simple_query(back).await.unwrap_or_else(|e| panic!("{back}: {e:?}"));
        assert_eq!(cell(client, "SHOW sqlveil.project").await, "fraud", "after {back}");
        assert_eq!(cell(client, SEEN).await, "bob: Rome, 1", "after {back}");
    }
    // Nor by the login, nor by its options.
    for (login, options, works) in [
        (format!("{name}+other"), "", false),
        (format!("{name}+fraud"), "", true),
        (name.clone(), "-c sqlveil.project=other", false),
        (name.clone(), "-c sqlveil.project=", true),
        (name.clone(), "-c sqlveil.user=ana", false),
        (format!("{name}+"), "", false),
        ("bob".to_owned(), "", false),
        (name.to_uppercase(), "", false),
    ] {
        let mut config = running.client_config(&login);
        let made = config.password(&password).options(options).connect(tokio_postgres::NoTls).await;
        assert_eq!(made.is_ok(), works, "{login} {options}");
        if let Ok((client, connection)) = made {
            tokio::spawn(connection);
            assert_eq!(cell(&client, SEEN).await, "bob: Rome, 1", "{login} {options}");
        }
    }
    // Without a project: under none.
    let (free, password) = account(&running, &["--user", "bob", "--prefix", "bi_tool_"]);
    assert!(free.starts_with("bi_tool_"));
    known(&running, &free, &password).await;
    let session = idle(&running, &free, &password).await;
    assert_eq!(cell(&session.client, SEEN).await, "bob: Rome, 0");
    assert_eq!(code(&session.client, "SET sqlveil.project = 'fraud'").await, "42501");
    assert!(running.try_client(&format!("{free}+fraud"), &password, running.database()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_user_may_do_for_others_it_may_not() {
    let running = running().await;
    let (name, password) = account(&running, &["--user", "bi"]);
    known(&running, &name, &password).await;
    let session = idle(&running, &name, &password).await;
    assert_eq!(code(&session.client, "SET sqlveil.user = 'bob'").await, "42501");
    assert_eq!(code(&session.client, "SET LOCAL sqlveil.user = 'ana'").await, "42501");
    let own = running.client("bi").await;
    own.simple_query("SET sqlveil.user = 'bob'").await.unwrap();
}

async fn member(running: &Running) -> (String, crate::sessions::Idle) {
    let (name, password) = account(running, &["--user", "bob", "--project", "fraud"]);
    known(running, &name, &password).await;
    let session = idle(running, &name, &password).await;
    (name, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_revoked_or_its_user_is_disabled_or_leaves_the_project() {
    let running = running().await;
    let (name, session) = member(&running).await;
    run(&running, &["account", "revoke", &name]).fine();
    session.is_ended(Instant::now()).await;
    assert_eq!(json(&running, &["account", "list"])[0]["state"], "revoked");

    let (_, session) = member(&running).await;
    let bystander = idle(&running, "ana", PASSWORD).await;
    run(&running, &["user", "disable", "bob"]).fine();
    session.is_ended(Instant::now()).await;
    run(&running, &["user", "enable", "bob"]).fine();
    known(&running, "bob", PASSWORD).await;

    let (name, session) = member(&running).await;
    let own = idle(&running, "bob", PASSWORD).await;
    let project = "projectKey: fraud\nname: Fraud\npurposes: [Fraud]\nmembers: [{type: user, name: ana}]\n";
    running.write("projects/000.yaml", project);
    running.proxy().reload_and_wait().await;
    session.is_ended(Instant::now()).await;
    assert!(own.is_there() && bystander.is_there(), "his own session needs no project");
    assert!(running.try_client(&name, "x", running.database()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_user_has_to_acknowledge_it_cannot() {
    let stage = crate::stage().await.purpose_document("name: Sworn\nacknowledgement: I swear\n");
    let running = stage
        .project("projectKey: sworn\nname: Sworn\npurposes: [Sworn]\nmembers: [{type: user, name: bob}]\n")
        .start()
        .await;
    let (name, password) = account(&running, &["--user", "bob", "--project", "sworn"]);
    running.proxy().reload_and_wait().await;
    let refused = running.try_client(&name, &password, running.database()).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("I swear"), "{refused:?}");
    let own = running.client("bob").await;
    own.simple_query("SET sqlveil.acknowledge = 'sworn'").await.unwrap();
    let session = idle(&running, &name, &password).await;
    assert_eq!(cell(&session.client, SEEN).await, "bob: Rome, 0");
    let error = session.client.simple_query("SET sqlveil.acknowledge = 'sworn'").await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("for its user to accept"), "{error:?}");
    assert_eq!(code(&session.client, "SET sqlveil.acknowledge = 'other'").await, "42501");
    let kept = std::fs::read_to_string(running.folder().join("acknowledgements.jsonl")).unwrap();
    assert!(!kept.contains(&name), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_minutes() {
    let running = running().await;
    let (name, password) = account(&running, &["--user", "bob", "--minutes", "1"]);
    known(&running, &name, &password).await;
    // Nobody waits for a minute: it was made one minute less six seconds ago.
    let file = running.folder().join("accounts.json");
    let mut kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let end = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(6)).unwrap();
    let created = end.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap();
    kept["sqlAccounts"][0]["created"] = created.to_string().into();
    std::fs::write(&file, kept.to_string()).unwrap();
    running.proxy().reload_and_wait().await;
    let session = idle(&running, &name, &password).await;
    let left = Duration::try_from(end.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    let since = Instant::now() + left;
    session.is_ended(since).await;
    assert!(Instant::now() >= since, "not sooner");
    assert!(running.try_client(&name, &password, running.database()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_and_nothing_is_written() {
    let running = running().await;
    let one = crate::commands::token(&running, &[]);
    account(&running, &["--user", "bob"]);
    let file = running.folder().join("accounts.json");
    let before = std::fs::read(&file).unwrap();
    for (words, told) in [
        (&["--user", "nobody", "--minutes", "5"][..], "\"nobody\" does not exist"),
        (&["--user", &one.user, "--minutes", "5"], "does not exist"),
        (&["--user", "bob", "--minutes", "0"], "from 1 to"),
        (&["--user", "bob", "--minutes", "525601"], "from 1 to"),
        (&["--user", "bob"], "--minutes"),
        (&["--user", "bi", "--project", "fraud", "--minutes", "5"], "may not: permission denied for project"),
        (&["--user", "bob", "--project", "nowhere", "--minutes", "5"], "permission denied for project"),
        (&["--user", "bob", "--prefix", "Temp", "--minutes", "5"], "prefix"),
        (&["--user", "bob", "--prefix", "", "--minutes", "5"], "prefix"),
        (&["--user", "bob", "--database", "nowhere", "--minutes", "5"], "no such database"),
    ] {
        let mut all = vec!["account", "create"];
        all.extend(words);
        let err = with_password(&running.config_file(), &all, None).wrong();
        assert!(err.contains(told), "{words:?}: {err}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{words:?}");
    }
    assert!(run(&running, &["account", "revoke", "bob"]).wrong().contains("no account"));
}
