//! A directory that does not answer: what was known serves for a while, then nobody is let in and nothing is decided.

use crate::gate::{Gate, Way};
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, Database, database_port, ldap, ldap_directory, people, refused, sees};
use crate::support::PASSWORD;
use std::time::{Duration, Instant};

fn too_old(directory: &str, user: &str) -> String {
    format!("directory \"{directory}\" does not answer, and what it said of user \"{user}\" is too old")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ldap_server_that_is_killed_is_missed_after_its_grace_time_and_welcome_back() {
    let papers = Papers::new();
    let mut slapd = ldap(&papers, "");
    let how = format!("{BY_MEMBER}, refresh: 1s, grace: 6s, timeout: 1s");
    let running = people(&["ana", "bob"])
        .await
        .raw_user(&crate::stage::person("loc", "local"))
        .config(&ldap_directory(&papers, slapd.port, &how))
        .start()
        .await;
    let (ana, idle) = (running.client("ana").await, running.client("ana").await);
    assert_eq!(sees(&ana).await.unwrap(), "ana: Bonn Oslo");
    slapd.stop();
    let since = Instant::now();
    // Who is known goes on and may come; nobody waits.
    while since.elapsed() < Duration::from_secs(2) {
        assert_eq!(sees(&ana).await.unwrap(), "ana: Bonn Oslo");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
    // Of whom nothing is known may not.
    assert_eq!(refused(&running, "bob").await, ("57P03".to_owned(), too_old("corp", "bob")));
    // Those of other providers are none of its business.
    assert!(running.try_client("loc", PASSWORD, running.database()).await.is_ok());
    running.eventually("the grace time is over", async |_| sees(&ana).await.is_err()).await;
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(sees(&ana).await, Err(("58000".to_owned(), too_old("corp", "ana"))));
    assert_eq!(refused(&running, "ana").await, ("57P03".to_owned(), too_old("corp", "ana")));
    assert!(running.try_client("loc", PASSWORD, running.database()).await.is_ok());
    slapd.resume();
    running.eventually("it answers again", async |_| sees(&ana).await.is_ok()).await;
    // The sessions have lived through it.
    running.eventually("idle ones as well", async |_| sees(&idle).await.is_ok()).await;
    assert_eq!(sees(&running.client("bob").await).await.unwrap(), "bob: Bonn Rome");
}

/// A statement never waits; a login waits no longer than a question may take, and the next ones not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_holds_nobody_up() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let gate = Gate::to(database_port()).await;
    let rest = "    iam: corp\n    refresh: 1s\n    grace: 20s\n    timeout: 3s\n";
    let directory = hr.directory(&papers, "hr", gate.port, rest);
    let users: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    let mut names: Vec<&str> = users.iter().map(String::as_str).collect();
    names.push("ana");
    let running = people(&names).await.config(&format!("directories:\n{directory}")).start().await;
    let ana = running.client("ana").await;
    gate.set(Way::Stalled);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (mut longest, begun) = (Duration::ZERO, Instant::now());
    while begun.elapsed() < Duration::from_secs(4) {
        let since = Instant::now();
        assert!(sees(&ana).await.is_ok());
        longest = longest.max(since.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(longest < Duration::from_millis(2500), "{longest:?}");
    // Twenty others at once: they all hear it about when the first does.
    let since = Instant::now();
    let mut logins = tokio::task::JoinSet::new();
    for user in &users {
        let mut config = running.client_config(user);
        config.password(PASSWORD);
        logins
            .spawn(async move { config.connect(tokio_postgres::NoTls).await.err().map(|e| crate::stage::code(&e).0) });
    }
    for code in logins.join_all().await {
        assert_eq!(code.as_deref(), Some("57P03"));
    }
    assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
    gate.set(Way::Open);
    running.eventually("it answers again", async |r| r.try_client("user0", PASSWORD, r.database()).await.is_ok()).await;
}

/// In the middle of a transaction as well; and it is not asked all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_shut_comes_back_without_a_restart() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let gate = Gate::to(database_port()).await;
    let rest = "    iam: corp\n    refresh: 1s\n    grace: 5s\n    timeout: 2s\n";
    let directory = hr.directory(&papers, "hr", gate.port, rest);
    let running = people(&["ana"]).await.config(&format!("directories:\n{directory}")).start().await;
    let ana = running.client("ana").await;
    let wait = "BEGIN; SELECT 1";
    ana.batch_execute(wait).await.unwrap();
    gate.set(Way::Shut);
    running.eventually("statements are refused", async |_| sees(&ana).await.is_err()).await;
    // A refusal fails the transaction, as any other does.
    ana.batch_execute("ROLLBACK").await.ok();
    assert_eq!(sees(&ana).await, Err(("58000".to_owned(), too_old("hr", "ana"))));
    let asked = gate.passed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(gate.passed() - asked <= 4, "it is left alone for a second: {}", gate.passed() - asked);
    gate.set(Way::Open);
    running
        .eventually("it is back", async |_| {
            let _ = ana.batch_execute("ROLLBACK").await;
            sees(&ana).await.as_deref() == Ok("ana: Bonn Oslo")
        })
        .await;
}

/// Who has proved his name has not guessed at a password, however often a directory has no answer for him.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_locks_nobody_out() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let slapd = ldap(&papers, "");
    let gate = Gate::to(database_port()).await;
    gate.set(Way::Shut);
    let config = format!(
        "{}limits: {{failed_logins: 2}}\nauthentication:\n- {{user: ana, method: ldap, server: corp}}\n- {{method: scram-sha-256}}\n\
         directories:\n{}",
        crate::stage::ldap_server(&papers, slapd.port),
        hr.directory(&papers, "hr", gate.port, "    iam: corp\n    timeout: 5s\n")
    );
    let running = people(&["ana", "bob"]).await.config(&config).start().await;
    for (user, password) in [("ana", "ana's password"), ("bob", PASSWORD)] {
        for _ in 0..5 {
            let error = running.try_client(user, password, running.database()).await.err().unwrap();
            assert_eq!(crate::stage::code(&error).0, "57P03", "{user}");
        }
    }
    gate.set(Way::Open);
    for (user, password) in [("ana", "ana's password"), ("bob", PASSWORD)] {
        running.eventually("it is back", async |r| r.try_client(user, password, r.database()).await.is_ok()).await;
    }
}
