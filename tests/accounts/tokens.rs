//! A token from its making to its end.

use crate::commands::{json, known, run, token};
use crate::sessions::{cell, code, idle};
use crate::{SEEN, running, stage};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn it_logs_in_sees_what_its_own_groups_see_and_is_gone_when_it_is_revoked() {
    let running = running().await;
    let one = token(&running, &["--group", "Staff", "--attribute", "city=Oslo", "--created-by", "ana"]);
    assert_eq!(one.user, format!("service-account-{}", one.client));
    assert!(one.client.starts_with("apikey-") && one.id != one.client && one.secret.len() > 40);
    known(&running, &one.user, &one.secret).await;
    // The maker is an auditor with all cities; the token is in Staff with one.
    let output = running.psql_as(&one.user, &one.secret, running.database(), &["-At", "-c", SEEN]);
    assert_eq!(output.out.trim(), format!("{}: Oslo, 0", one.user), "{}", output.err);
    let session = idle(&running, &one.user, &one.secret).await;
    assert_eq!(cell(&session.client, SEEN).await, format!("{}: Oslo, 0", one.user));
    let prepared = session.client.prepare("SELECT count(*) FROM cities").await.unwrap();
    assert_eq!(session.client.query_one(&prepared, &[]).await.unwrap().get::<_, i64>(0), 1);
    let bystander = idle(&running, "ana", crate::support::PASSWORD).await;

    // Groups and attributes are a full replacement.
    run(&running, &["token", "update", &one.id, "--group", "Staff", "--group", "Auditors", "--attribute", "city=Rome"])
        .fine();
    let now = format!("{}: Rome, 1", one.user);
    running.eventually("it has other groups", async |_| cell(&session.client, SEEN).await == now).await;
    run(&running, &["token", "update", &one.client, "--no-groups", "--description", "was not needed"]).fine();
    running.eventually("it has no groups", async |_| session.client.simple_query(SEEN).await.is_err()).await;
    assert_eq!(code(&session.client, SEEN).await, "42P01");

    let busy = idle(&running, &one.user, &one.secret).await;
    run(&running, &["token", "revoke", &one.id]).fine();
    let since = Instant::now();
    // The next statement is refused, or finds that the session is gone already.
    while busy.client.simple_query("SELECT 1").await.is_ok() {
        assert!(since.elapsed() < Duration::from_secs(1), "statements go on");
    }
    let text = session.is_ended(since).await;
    assert!(text.contains(&one.user), "{text}");
    assert!(session.client.query_one(&prepared, &[]).await.is_err());
    // Its secret is good for nothing any more, now or ever.
    let replay = running.try_client(&one.user, &one.secret, running.database()).await.unwrap_err();
    assert_eq!(replay.as_db_error().unwrap().code().code(), "28P01");
    assert!(run(&running, &["token", "enable", &one.id]).wrong().contains("for ever"));
    assert_eq!(json(&running, &["token", "show", &one.id])["state"], "revoked");
    assert!(bystander.is_there() && bystander.client.simple_query("SELECT 1").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_no_policy_to_be_mended() {
    let running = running().await;
    let one = token(&running, &["--group", "Staff"]);
    let (name, password) = crate::commands::account(&running, &["--user", "ana"]);
    known(&running, &one.user, &one.secret).await;
    let sessions = [
        idle(&running, &one.user, &one.secret).await,
        idle(&running, &name, &password).await,
        idle(&running, "bob", crate::support::PASSWORD).await,
    ];
    running.write("policies/broken.yaml", "policyKey: [\n");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(sessions.iter().all(|session| session.is_there()));
    run(&running, &["token", "revoke", &one.user]).fine();
    run(&running, &["account", "revoke", &name]).fine();
    run(&running, &["user", "disable", "bob"]).fine();
    let since = Instant::now();
    for session in &sessions {
        session.is_ended(since).await;
    }
    // Who is enabled again waits until the set is mended.
    run(&running, &["user", "enable", "bob"]).fine();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(running.try_client("bob", crate::support::PASSWORD, running.database()).await.is_err());
    running.write("policies/broken.yaml", "");
    known(&running, "bob", crate::support::PASSWORD).await;
    assert!(running.try_client(&one.user, &one.secret, running.database()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_one_ends_by_itself() {
    let running = running().await;
    let one = token(&running, &["--validity-seconds", "6"]);
    let made = Instant::now();
    known(&running, &one.user, &one.secret).await;
    let session = idle(&running, &one.user, &one.secret).await;
    // One that asks all the time is refused with the first statement after it.
    let busy = idle(&running, &one.user, &one.secret).await;
    let prepared = busy.client.prepare("SELECT 1").await.unwrap();
    while busy.client.query_one(&prepared, &[]).await.is_ok() {
        assert!(made.elapsed() < Duration::from_millis(7200), "statements go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, text) = session.ended(made).await;
    assert!(text.contains("57P01"), "{text}");
    assert!(made.elapsed() < Duration::from_millis(7200), "{:?}", made.elapsed());
    assert!(running.try_client(&one.user, &one.secret, running.database()).await.is_err());
    assert_eq!(json(&running, &["token", "show", &one.client])["state"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_disabled_for_a_while_and_joins_projects_as_a_user_does() {
    let mut stage = stage().await;
    let config = stage.write();
    let made = crate::commands::with_password(
        &config,
        &[
            "token",
            "create",
            "--display-name",
            "x",
            "--group",
            "Staff",
            "--attribute",
            "city=Oslo",
            "--validity-seconds",
            "3600",
            "--format",
            "json",
        ],
        None,
    );
    let made: serde_json::Value = serde_json::from_str(&made.fine()).unwrap();
    let (user, secret) = (made["user"].as_str().unwrap().to_owned(), made["accessToken"].as_str().unwrap().to_owned());
    stage = stage.project(&format!(
        "projectKey: robots\nname: Robots\npurposes: [Fraud]\nmembers: [{{type: user, name: {user}}}]\n"
    ));
    let running = stage.start().await;
    // By a group, by its name, and where it is no member.
    for (project, seen) in [("robots", Some("1")), ("other", Some("0")), ("fraud", None)] {
        let login = format!("{user}+{project}");
        let output =
            running.psql_as(&login, &secret, running.database(), &["-At", "-c", "SELECT count(number) FROM cities"]);
        assert_eq!(
            output.ok.then(|| output.out.trim().to_owned()),
            seen.map(str::to_owned),
            "{project}: {}",
            output.err
        );
    }
    let session = idle(&running, &user, &secret).await;
    session.client.simple_query("SET sqlveil.project = 'robots'").await.unwrap();
    assert_eq!(cell(&session.client, "SELECT count(number) FROM cities").await, "1");
    assert_eq!(code(&session.client, "SET sqlveil.project = 'fraud'").await, "42501");
    run(&running, &["token", "disable", &user]).fine();
    session.is_ended(Instant::now()).await;
    assert!(running.try_client(&user, &secret, running.database()).await.is_err());
    run(&running, &["token", "enable", &user]).fine();
    known(&running, &user, &secret).await;
}

/// Whoever made it is nothing to it: his end is not its end, and what he has is not what it has.
#[tokio::test(flavor = "multi_thread")]
async fn its_maker_gives_it_nothing_and_takes_nothing_with_him() {
    let running = running().await;
    let one = token(&running, &["--created-by", "ana", "--group", "Staff", "--attribute", "city=Bonn"]);
    known(&running, &one.user, &one.secret).await;
    let session = idle(&running, &one.user, &one.secret).await;
    let maker = idle(&running, "ana", crate::support::PASSWORD).await;
    assert_eq!(code(&session.client, "SET sqlveil.project = 'fraud'").await, "42501", "she is a member");
    run(&running, &["user", "disable", "ana"]).fine();
    maker.is_ended(Instant::now()).await;
    assert_eq!(cell(&session.client, SEEN).await, format!("{}: Bonn, 0", one.user));
    assert!(running.try_client(&one.user, &one.secret, running.database()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_it_and_it_for_nobody() {
    let running = running().await;
    let one = token(&running, &["--group", "Staff"]);
    known(&running, &one.user, &one.secret).await;
    let bi = running.client("bi").await;
    bi.simple_query("SET sqlveil.user = 'bob'").await.unwrap();
    bi.simple_query("RESET sqlveil.user").await.unwrap();
    assert_eq!(code(&bi, &format!("SET sqlveil.user = '{}'", one.user)).await, "42501");
    let session = idle(&running, &one.user, &one.secret).await;
    for user in ["bob", "bi", "ana"] {
        assert_eq!(code(&session.client, &format!("SET sqlveil.user = '{user}'")).await, "42501");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_and_nothing_is_written() {
    let running = running().await;
    let one = token(&running, &[]);
    let file = running.folder().join("accounts.json");
    let before = std::fs::read(&file).unwrap();
    for (words, told) in [
        (&["token", "create", "--display-name", " ", "--validity-seconds", "5"][..], "a name for people"),
        (&["token", "create", "--display-name", "x", "--validity-seconds", "0"], "from 1 to 409968000"),
        (&["token", "create", "--display-name", "x", "--validity-seconds", "409968001"], "from 1 to 409968000"),
        (&["token", "create", "--display-name", "x", "--validity-seconds", "soon"], "invalid value"),
        (&["token", "create", "--display-name", "x"], "--validity-seconds"),
        (
            &["token", "create", "--display-name", "x", "--validity-seconds", "5", "--group", "Nobody"],
            "\"Nobody\" is not declared",
        ),
        (&["token", "create", "--display-name", "x", "--validity-seconds", "5", "--attribute", "city"], "NAME=VALUE"),
        (&["token", "show", "nightly load"], "no token"),
        (&["token", "revoke", "apikey-00000000-0000-4000-8000-000000000000"], "no token"),
        (&["token", "update", &one.id, "--group", "Nobody"], "not declared"),
        (&["token", "update", &one.id, "--group", "Staff", "--no-groups"], "cannot be used with"),
        // There is no way to change how long it is good, nor to choose a secret.
        (&["token", "update", &one.id, "--validity-seconds", "5"], "unexpected argument"),
        (
            &["token", "create", "--display-name", "x", "--validity-seconds", "5", "--secret", "mine"],
            "unexpected argument",
        ),
    ] {
        let err = run(&running, words).wrong();
        assert!(err.contains(told), "{words:?}: {err}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{words:?}");
    }
}
