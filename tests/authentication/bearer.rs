//! OAUTHBEARER in frames, as PostgreSQL 18's libpq sends them.

use crate::papers::{ISSUER, Papers, Signer, now};
use crate::raw::{Message, Raw, frame, query, startup};
use crate::stage::stage;
use crate::support::Running;
use serde_json::{Value, json};
use tokio::net::TcpStream;

async fn running(key: &Signer, papers: &Papers, more: &str) -> Running {
    let file = papers.write("jwks.json", &Signer::set(&[key])).display().to_string();
    stage(&format!(
        "issuers: {{corp: {{issuer: {ISSUER}, audience: veil, keys: {{file: {file}}}, claims: {{groups: groups}}, scope: query}}}}\n\
         authentication:\n- {{method: oauthbearer, issuer: corp}}\n{more}\n"
    ))
    .await
}

/// Begins a login; gives what is offered.
async fn begin(running: &Running, user: &str) -> (Raw, Message) {
    let stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    let mut raw = Raw { stream, parameters: Vec::new(), key: (0, Vec::new()), negotiated: None };
    raw.send(&startup(0, &[("user", user), ("database", running.database())])).await;
    let offered = raw.next().await.unwrap();
    (raw, offered)
}

fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let mut body = format!("{mechanism}\0").into_bytes();
    body.extend_from_slice(&(data.len() as u32).to_be_bytes());
    body.extend_from_slice(data);
    frame(b'p', &body)
}

fn presenting(token: &str) -> Vec<u8> {
    initial("OAUTHBEARER", format!("n,,\x01auth=Bearer {token}\x01\x01").as_bytes())
}

/// Presents a token; the last message, and what was said in between when it was not taken.
async fn present(running: &Running, user: &str, token: &str) -> (Message, Option<Value>, Raw) {
    let (mut raw, _) = begin(running, user).await;
    raw.send(&presenting(token)).await;
    let mut message = raw.next().await.unwrap();
    let mut said = None;
    if message.tag == 'R' && message.body[..4] == [0, 0, 0, 11] {
        said = Some(serde_json::from_slice(&message.body[4..]).unwrap());
        raw.send(&frame(b'p', &[1])).await;
        message = raw.next().await.unwrap();
    }
    (message, said, raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_logs_in() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let running = running(&key, &papers, "").await;
    let (_, offered) = begin(&running, "ana").await;
    assert_eq!((offered.tag, offered.body.as_slice()), ('R', &b"\0\0\0\x0aOAUTHBEARER\0\0"[..]));
    let (message, _, mut raw) = present(&running, "ana", &key.token("ana", json!({"groups": "Staff"}))).await;
    assert_eq!((message.tag, message.body.as_slice()), ('R', &[0, 0, 0, 0][..]));
    raw.ready(1).await;
    assert_eq!(raw.lines(&query("SELECT city FROM cities"), 1).await, ["T", "D Oslo", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_is_told_where_to_get_one_as_often_as_it_asks() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let running = running(&key, &papers, "limits: {failed_logins: 2}").await;
    for user in ["ana", "nobody", "ana", "ana", "nobody"] {
        let (mut raw, _) = begin(&running, user).await;
        raw.send(&initial("OAUTHBEARER", b"n,,\x01auth=\x01\x01")).await;
        let message = raw.next().await.unwrap();
        let said: Value = serde_json::from_slice(&message.body[4..]).unwrap();
        let discovery = format!("{ISSUER}/.well-known/openid-configuration");
        assert_eq!(said, json!({"status": "invalid_token", "openid-configuration": discovery, "scope": "query"}));
        raw.send(&frame(b'p', &[1])).await;
        let end = raw.next().await.unwrap();
        assert_eq!(end.field('M').unwrap(), format!("OAuth bearer authentication failed for user \"{user}\""));
        assert_eq!(end.field('C').as_deref(), Some("28000"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_taken_sound_alike() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let running = running(&key, &papers, "limits: {failed_logins: 0}").await;
    for (user, token) in [
        ("ana", Signer::new("k").token("ana", json!({}))),
        ("ana", key.token("tom", json!({}))),
        ("ana", key.token("ana", json!({"aud": "shop"}))),
        ("tom", key.token("tom", json!({}))),
        ("bob", key.token("bob", json!({}))),
        ("nobody", key.token("nobody", json!({}))),
        ("ana", "a.b.c".to_owned()),
    ] {
        let (message, said, mut raw) = present(&running, user, &token).await;
        assert_eq!(message.line(), "E 28000", "{user}");
        assert_eq!(message.field('M').unwrap(), format!("OAuth bearer authentication failed for user \"{user}\""));
        assert_eq!((message.field('H'), message.field('D')), (None, None));
        assert_eq!(said.unwrap()["status"], "invalid_token");
        assert!(raw.next().await.is_none());
    }
    let (message, _, _) = present(&running, "ana", &key.token("ana", json!({"exp": now() - 100}))).await;
    assert_eq!(message.field('H').as_deref(), Some("The token has expired: log in with a new one."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_exchange_is_refused() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let running = running(&key, &papers, "limits: {failed_logins: 0}").await;
    let good = key.token("ana", json!({}));
    let of = |header: &str| format!("{header}\x01auth=Bearer {good}\x01\x01").into_bytes();
    for (sent, code) in [
        (initial("SCRAM-SHA-256", b"n,,n=,r=x"), "08P01"),
        (initial("OAUTHBEARER", &of("n,a=tom,")), "0A000"),
        (initial("OAUTHBEARER", &of("p=tls-unique,,")), "08P01"),
        (initial("OAUTHBEARER", b""), "08P01"),
        (initial("OAUTHBEARER", &[&of("n,,")[..], b"\0"].concat()), "08P01"),
        (frame(b'p', b"OAUTHBEARER\0\xff\xff\xff\xff"), "08P01"),
        (frame(b'p', format!("{good}\0").as_bytes()), "08P01"),
        (query("SELECT 1"), "08P01"),
    ] {
        let (mut raw, _) = begin(&running, "ana").await;
        raw.send(&sent).await;
        assert_eq!(raw.next().await.unwrap().line(), format!("E {code}"), "{:?}", String::from_utf8_lossy(&sent));
        assert!(raw.next().await.is_none());
    }
    // After a refusal only its acknowledgement is taken: no second token.
    let (mut raw, _) = begin(&running, "ana").await;
    raw.send(&presenting("a.b.c")).await;
    assert_eq!(raw.next().await.unwrap().tag, 'R');
    raw.send(&presenting(&good)).await;
    assert_eq!(raw.next().await.unwrap().line(), "E 08P01");
}

/// Whatever comes in the place of a token, nobody is let in and the proxy goes on.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_lets_nobody_in() {
    use rand::{Rng, SeedableRng};
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let running = running(&key, &papers, "limits: {failed_logins: 0}").await;
    let good = key.token("ana", json!({}));
    let whole = presenting(&good);
    let mut dice = rand::rngs::StdRng::seed_from_u64(7);
    for round in 0..150 {
        let mut bytes = whole.clone();
        match round % 3 {
            // Some bytes changed, the end cut off (the client then leaves), or anything at all.
            0 => (0..dice.random_range(1..4)).for_each(|_| {
                let at = dice.random_range(0..bytes.len());
                bytes[at] ^= dice.random_range(1..=255u8);
            }),
            1 => bytes.truncate(dice.random_range(0..bytes.len())),
            _ => bytes = frame(b'p', &(0..dice.random_range(0..64)).map(|_| dice.random()).collect::<Vec<u8>>()),
        }
        let (mut raw, _) = begin(&running, "ana").await;
        raw.send(&bytes).await;
        tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.unwrap();
        for message in raw.rest().await {
            assert!(message.tag != 'R' || message.body[..4] == [0, 0, 0, 11], "{round}: {message:?}");
        }
    }
    let (message, _, _) = present(&running, "ana", &good).await;
    assert_eq!(message.body, [0, 0, 0, 0]);
}
