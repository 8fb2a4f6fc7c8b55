//! What somebody learns who guesses at names and secrets: nothing.

use crate::commands::{account, known, run, token};
use crate::raw::{Raw, frame, startup};
use crate::running;
use crate::support::{PASSWORD, Running};
use std::time::{Duration, Instant};

/// Salt and iteration count that a name is challenged with.
async fn challenge(running: &Running, user: &str) -> (String, String) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    let mut raw = Raw { stream, parameters: Vec::new(), key: (0, Vec::new()), negotiated: None };
    raw.send(&startup(0, &[("user", user), ("database", running.database())])).await;
    assert_eq!(raw.next().await.unwrap().body[..4], [0, 0, 0, 10]);
    let first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.extend(u32::try_from(first.len()).unwrap().to_be_bytes());
    body.extend(first);
    raw.send(&frame(b'p', &body)).await;
    let reply = raw.next().await.unwrap().body;
    let text = String::from_utf8(reply[4..].to_vec()).unwrap();
    let (salt, iterations) = text.split_once(",s=").unwrap().1.split_once(",i=").unwrap();
    (salt.to_owned(), iterations.to_owned())
}

async fn refused(running: &Running, user: &str, secret: &str) -> (String, Duration) {
    let began = Instant::now();
    let error = running.try_client(user, secret, running.database()).await.unwrap_err();
    let server = error.as_db_error().unwrap_or_else(|| panic!("{user}: {error:?}"));
    let text = format!("{} {} {:?} {:?}", server.code().code(), server.message(), server.detail(), server.hint());
    (text.replace(user, "NAME"), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_is_as_one_with_a_wrong_secret() {
    let running = running().await;
    let (good, ended) = (token(&running, &["--group", "Staff"]), token(&running, &[]));
    let (name, password) = account(&running, &["--user", "bob", "--project", "fraud"]);
    let (other, other_password) = account(&running, &["--user", "bob"]);
    for (user, secret) in
        [(&good.user, &good.secret), (&ended.user, &ended.secret), (&name, &password), (&other, &other_password)]
    {
        known(&running, user, secret).await;
    }
    let before = (challenge(&running, &ended.user).await, challenge(&running, &other).await);
    run(&running, &["token", "revoke", &ended.id]).fine();
    run(&running, &["account", "revoke", &other]).fine();
    running
        .eventually("they are out", async |r| r.try_client(&other, &other_password, r.database()).await.is_err())
        .await;
    let after = (challenge(&running, &ended.user).await, challenge(&running, &other).await);
    assert_eq!(before, after, "the salt says that it was revoked");

    let nobody = "service-account-apikey-00000000-0000-4000-8000-000000000000";
    let no_account = "temp1635366310923aaaaaaaaaaa";
    let mut told = std::collections::BTreeSet::new();
    let mut shapes = std::collections::BTreeSet::new();
    for (user, secret) in [
        (good.user.as_str(), "wrong"),
        // Another's secret, an ended one's own, one's own without its beginning, and things that are no names.
        (&good.user, &ended.secret),
        (&good.user, &good.secret["svt_".len()..]),
        (&ended.user, &ended.secret),
        (nobody, &good.secret),
        (&name, &other_password),
        (&other, &other_password),
        (no_account, &password),
    ] {
        let (text, _) = refused(&running, user, secret).await;
        told.insert(text);
        let (salt, iterations) = challenge(&running, user).await;
        shapes.insert((salt.len(), iterations));
        assert_eq!(challenge(&running, user).await.0, salt, "asked twice, the same salt");
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    assert_eq!(told.first().unwrap(), "28P01 password authentication failed for user \"NAME\" None None");
    // Neither ids nor names for people log in, nor the name without what is before it.
    for user in
        [good.id.as_str(), &good.client, &format!("apikey-{}", good.id), "nightly load", &good.user.to_uppercase()]
    {
        refused(&running, user, &good.secret).await;
    }
    // As unknown users, who look as those that a human wrote.
    assert_eq!(challenge(&running, "nobody").await.1, challenge(&running, "ana").await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_and_limited_as_others_are() {
    let limited = crate::support::Stage::new().await.sql("CREATE TABLE t (i int)").await.sources(&[("t", "{}")]);
    let running = limited.user("ana", &[], &[]).config("limits: {failed_logins: 3}").start().await;
    let one = token(&running, &[]);
    known_later(&running, &one.user, &one.secret).await;
    for user in [one.user.as_str(), "service-account-apikey-00000000-0000-4000-8000-000000000000"] {
        for _ in 0..3 {
            let (text, took) = refused(&running, user, "wrong").await;
            assert!(text.starts_with("28P01") && took >= Duration::from_millis(45), "{text} {took:?}");
        }
        assert!(refused(&running, user, &one.secret).await.0.starts_with("28000 too many failed logins"));
    }
    assert!(running.try_client("ana", PASSWORD, running.database()).await.is_ok());
}

/// Waits for a token without failing to log in with it meanwhile.
async fn known_later(running: &Running, user: &str, secret: &str) {
    running.proxy().reload_and_wait().await;
    running.try_client(user, secret, running.database()).await.unwrap();
}
