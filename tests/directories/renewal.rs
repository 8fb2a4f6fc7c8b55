//! Changes in a directory reach live sessions by themselves.

use crate::gate::Gate;
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, CITIES, Database, code, database_port, ldap, ldap_directory, nothing, people, sees};
use crate::support::PASSWORD;
use std::time::{Duration, Instant};

const OFTEN: &str = "refresh: 1s, grace: 30s, timeout: 10s";

/// By simple statements, prepared ones and those of SQL's own PREPARE; taken away and given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_taken_away_is_gone_for_live_sessions() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let how = format!("{BY_MEMBER}, {OFTEN}");
    let running = people(&["ana", "tom"]).await.config(&ldap_directory(&papers, slapd.port, &how)).start().await;
    let (ana, tom) = (running.client("ana").await, running.client("tom").await);
    let prepared = ana.prepare(CITIES).await.unwrap();
    ana.batch_execute(&format!("PREPARE p AS {CITIES}")).await.unwrap();
    assert_eq!(ana.query_one(&prepared, &[]).await.unwrap().get::<_, &str>(0), "ana: Bonn Oslo");
    assert_eq!(sees(&tom).await.unwrap(), "tom: Bonn Rome");
    let staff = "cn=Staff,ou=groups,dc=example,dc=org";
    slapd.set(staff, "member", &["uid=bob,ou=people,dc=example,dc=org"]).await;
    running.eventually("ana is out", async |_| sees(&ana).await == nothing()).await;
    // What is known is known to every kind of statement at once.
    assert_eq!(code(&ana.query_one(&prepared, &[]).await.unwrap_err()).0, "42P01");
    assert_eq!(code(&ana.simple_query("EXECUTE p").await.unwrap_err()).0, "42P01");
    // Tom was in it by groups in groups.
    running.eventually("tom is out", async |_| sees(&tom).await == nothing()).await;
    slapd.set(staff, "member", &["uid=ana,ou=people,dc=example,dc=org"]).await;
    running.eventually("ana is in", async |_| sees(&ana).await.as_deref() == Ok("ana: Bonn Oslo")).await;
    // An attribute changes likewise.
    slapd.set("uid=ana,ou=people,dc=example,dc=org", "l", &["Rome"]).await;
    running.eventually("she moves", async |_| sees(&ana).await.as_deref() == Ok("ana: Bonn Rome")).await;
}

/// Within `refresh`, the time of a question, and the quarter of a second between two looks; also for a session that slept meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn it_takes_no_longer_than_is_said() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let directory = hr.directory(&papers, "hr", database_port(), "    iam: corp\n    refresh: 1s\n    grace: 10s\n");
    let running = people(&["ana", "bob"]).await.config(&format!("directories:\n{directory}")).start().await;
    let (ana, idle) = (running.client("ana").await, running.client("bob").await);
    assert!(sees(&ana).await.is_ok() && sees(&idle).await.is_ok());
    hr.sql("DELETE FROM hr.membership").await;
    let since = Instant::now();
    while sees(&ana).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    tokio::time::sleep(Duration::from_secs(4).saturating_sub(since.elapsed())).await;
    assert_eq!(sees(&idle).await, nothing(), "the first statement after a pause");
}

/// One question after the other: those of many users do not wait for the next look each.
#[tokio::test(flavor = "multi_thread")]
async fn many_users_are_asked_about_in_time() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let rest = "    iam: corp\n    refresh: 1s\n    grace: 30s\n    lookups: 1\n";
    let directory = hr.directory(&papers, "hr", database_port(), rest);
    let users: Vec<String> = (0..30).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    hr.sql("INSERT INTO hr.membership SELECT 'user' || n, 'Staff' FROM generate_series(0, 29) n").await;
    let running = people(&names).await.config(&format!("directories:\n{directory}")).start().await;
    let mut clients = Vec::new();
    for user in &names {
        clients.push(running.client(user).await);
    }
    hr.sql("DELETE FROM hr.membership").await;
    let since = Instant::now();
    for client in &clients {
        while sees(client).await.is_ok() {
            // One a look would take eight seconds.
            assert!(since.elapsed() < Duration::from_secs(6));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A user whom the directory does not know any more has what the identity file says; one who is known by it alone is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_loses_all_of_it() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let how = format!("users: any, {BY_MEMBER}, {OFTEN}");
    let config = format!(
        "{}authentication:\n- {{user: ana, method: scram-sha-256}}\n- {{method: ldap, server: corp}}\n",
        ldap_directory(&papers, slapd.port, &how)
    );
    let running = people(&["ana"]).await.config(&config).start().await;
    let ana = running.client("ana").await;
    let bob = running.try_client("bob", "bob's password", running.database()).await.unwrap();
    let idle = running.try_client("bob", "bob's password", running.database()).await.unwrap();
    assert_eq!(sees(&bob).await.unwrap(), "bob: Bonn Rome");
    assert_eq!(sees(&ana).await.unwrap(), "ana: Bonn Oslo");
    for user in ["ana", "bob"] {
        slapd.remove(&format!("uid={user},ou=people,dc=example,dc=org")).await;
    }
    running.eventually("ana has nothing", async |_| sees(&ana).await == nothing()).await;
    running.eventually("bob is gone", async |_| bob.is_closed() || bob.simple_query("SELECT 1").await.is_err()).await;
    running.eventually("idle ones too", async |_| idle.is_closed()).await;
    assert!(running.try_client("bob", "bob's password", running.database()).await.is_err());
    assert!(running.try_client("ana", PASSWORD, running.database()).await.is_ok());
}

/// Many sessions of one user begin with one question, and statements ask nobody.
#[tokio::test(flavor = "multi_thread")]
async fn many_logins_of_one_user_are_one_question() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let gate = Gate::to(slapd.port).await;
    let running = people(&["ana"]).await.config(&ldap_directory(&papers, gate.port, BY_MEMBER)).start().await;
    let clients = join((0..10).map(|_| running.client("ana")).collect()).await;
    assert_eq!(gate.passed(), 1);
    for client in &clients {
        assert_eq!(sees(client).await.unwrap(), "ana: Bonn Oslo");
    }
    assert_eq!(gate.passed(), 1);
}

/// Who is here is asked about again and again, who is gone is not.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_is_not_asked_about() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let gate = Gate::to(slapd.port).await;
    let how = format!("{BY_MEMBER}, {OFTEN}");
    let running = people(&["ana"]).await.config(&ldap_directory(&papers, gate.port, &how)).start().await;
    let idle = running.client("ana").await;
    running.eventually("it is asked again", async |_| gate.passed() >= 3).await;
    drop(idle);
    running.eventually("she is gone", async |r| r.proxy().sessions() == 0).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let after = gate.passed();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(gate.passed(), after);
}

/// All at once.
async fn join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
