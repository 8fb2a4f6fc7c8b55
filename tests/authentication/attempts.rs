//! Failed logins are slowed down and limited whatever the method, and take as long for users who do not exist.

use crate::papers::{ISSUER, Papers, Signer};
use crate::raw::{Raw, frame, startup};
use crate::slapd::Slapd;
use crate::stage::stage;
use crate::support::Running;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Presents a password or token in the clear; the error and how long it took.
async fn present(running: &Running, user: &str, secret: &str) -> (String, Duration) {
    let stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    let mut raw = Raw { stream, parameters: Vec::new(), key: (0, Vec::new()), negotiated: None };
    raw.send(&startup(0, &[("user", user), ("database", running.database())])).await;
    let first = raw.next().await.unwrap();
    if first.tag == 'E' {
        return (first.field('M').unwrap(), Duration::ZERO);
    }
    let began = Instant::now();
    raw.send(&frame(b'p', format!("{secret}\0").as_bytes())).await;
    let message = raw.next().await.unwrap();
    (message.field('M').unwrap_or_default(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_slowed_down_and_limited() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let slapd = Slapd::start(&papers);
    let issuer = format!("issuers: {{corp: {{issuer: {ISSUER}, audience: veil, keys: {{file: {file}}}}}}}");
    let server = format!(
        "ldap: {{corp: {{url: \"ldap://127.0.0.1:{}\", bind_dn: \"uid={{user}},ou=people,dc=example,dc=org\"}}}}",
        slapd.port
    );
    for (declared, rule, method, right) in [
        (&issuer, "{method: jwt, issuer: corp}", "password", key.token("ana", json!({}))),
        (&server, "{method: ldap, server: corp}", "LDAP", "ana's password".to_owned()),
    ] {
        let running = stage(&format!("{declared}\nauthentication:\n- {rule}\nlimits: {{failed_logins: 3}}\n")).await;
        for user in ["ana", "nobody"] {
            let mut took = Vec::new();
            for _ in 0..3 {
                let (said, time) = present(&running, user, "guess").await;
                assert_eq!(said, format!("{method} authentication failed for user \"{user}\""));
                took.push(time);
            }
            // 50, 100 and 200 ms after the guess, whether the user exists or not.
            for (time, least) in took.iter().zip([50, 100, 200]) {
                assert!(*time >= Duration::from_millis(least), "{user} {took:?}");
            }
            // Not even the right one any more.
            assert_eq!(present(&running, user, &right).await.0, "too many failed logins");
        }
    }
}

/// The server takes its time; guesses that are all under way at once are counted all the same.
#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_are_no_way_around_the_limit() {
    let papers = Papers::new();
    let slapd = Slapd::start(&papers);
    let running = stage(&format!(
        "ldap: {{corp: {{url: \"ldap://127.0.0.1:{}\", bind_dn: \"uid={{user}},ou=people,dc=example,dc=org\"}}}}\n\
         authentication:\n- {{method: ldap, server: corp}}\nlimits: {{failed_logins: 5}}\n",
        slapd.port
    ))
    .await;
    let guesses = futures_util::future::join_all((0..60).map(|_| present(&running, "ana", "guess"))).await;
    let looked_at = guesses.iter().filter(|(said, _)| said.starts_with("LDAP authentication failed")).count();
    assert!((5..=9).contains(&looked_at), "{looked_at} of 60");
    assert!(guesses.iter().all(|(said, _)| said.starts_with("LDAP auth") || said == "too many failed logins"));
}
