//! Clients of the interface that mean no good: too much, too slow, too many, not HTTP.

use crate::http::{Administered, TOKEN, start, with_token};
use crate::metrics::stage;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

async fn administered() -> Administered {
    start(with_token(stage().await, "")).await
}

/// Sends bytes and reads what comes until the other side closes.
async fn raw(administered: &Administered, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(administered.address()).await.unwrap();
    // The answer may come, and the end with it, before all is written.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn large_heads_and_bodies_are_refused() {
    let administered = administered().await;
    let head = format!("GET /live HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(100_000));
    let answer = raw(&administered, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    let mut body = format!(
        "POST /explain HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 50000000\r\n\r\n"
    )
    .into_bytes();
    body.resize(body.len() + 5_000_000, b' ');
    let answer = raw(&administered, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Nobody's body is read at all.
    let unknown = "POST /explain HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n";
    let answer = raw(&administered, unknown.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let administered = administered().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let answer = raw(&administered, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for_and_keeps_nobody_out() {
    let administered = administered().await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(administered.address()).await.unwrap();
        socket.write_all(b"GET /sessions HTTP/1.1\r\nhost: x\r\nx-").await.unwrap();
        slow.push(socket);
    }
    assert_eq!(administered.ask_unknown("GET", "/live").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "others wait for nobody");
    for mut socket in slow {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is still open");
    }
}

/// Strangers until dropped: each comes again as soon as it is sent away, idle or to ask whether the proxy lives.
fn strangers(address: std::net::SocketAddr, count: usize) -> JoinSet<()> {
    let mut strangers = JoinSet::new();
    for n in 0..count {
        strangers.spawn(async move {
            loop {
                if let Ok(mut socket) = TcpStream::connect(address).await {
                    if n % 2 == 0 {
                        let _ = socket.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await;
                    }
                    let mut answer = Vec::new();
                    let _ = socket.read_to_end(&mut answer).await;
                    if n % 2 == 0 {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
    }
    strangers
}

/// A probe that waits longer takes the proxy for dead. Before idle connections end by themselves.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_however_many_strangers_there_are() {
    let administered = administered().await;
    // Those that sit idle alone are more than there are places.
    let _strangers = strangers(administered.address(), 400);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for path in ["/live", "/ready", "/live", "/ready", "/live"] {
        let answer = tokio::time::timeout(PATIENCE, administered.ask_unknown("GET", path)).await;
        assert_eq!(answer.expect("it is answered at once").status, 200, "{path}");
        let known = tokio::time::timeout(PATIENCE, administered.ask("GET", "/version", None)).await;
        assert_eq!(known.expect("it is answered at once").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_keeps_his_place() {
    let administered = administered().await;
    let mut asking = TcpStream::connect(administered.address()).await.unwrap();
    let body = br#"{"user": "ana", "statement": "SELECT id FROM emp"}"#;
    let head = format!(
        "POST /explain HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    asking.write_all(&[head.as_bytes(), &body[..7]].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(administered.address()).await.unwrap());
    }
    let live = tokio::time::timeout(PATIENCE, administered.ask_unknown("GET", "/live")).await;
    assert_eq!(live.expect("it is answered at once").status, 200);
    // The first of the strangers had to go: nothing is said to it.
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, idle[0].read_to_end(&mut answer)).await.expect("it has made room");
    assert!(ended.is_err() || answer.is_empty());
    asking.write_all(&body[7..]).await.unwrap();
    asking.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"sent\":["), "{answer}");
}
