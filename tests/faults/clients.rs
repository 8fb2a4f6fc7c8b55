//! Clients that vanish: half-open connections, halves of messages, and those that do not read.

use super::raw::{Raw, parse, query, startup};
use super::relay::{Relay, Way};
use super::support::Running;
use super::{nothing_left, on};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn at(port: u16, running: &Running) -> Raw {
    Raw::at(port, 0, &[("user", "ana"), ("database", running.database())]).await.expect("logs in")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_while_logging_in_or_idle_is_not_kept() {
    let stage = on(super::support::server()).await;
    let running = stage.config("limits: {handshake_timeout: 1s, idle_timeout: 2s, sessions: 3}").start().await;
    let relay = Relay::to(running.port).await;
    let idle = at(relay.port, &running).await;
    let mut open = at(relay.port, &running).await;
    open.lines(&query("begin; select count(*) from t"), 1).await;
    relay.set(Way::Stalled);
    // In the middle of the handshake; they count against nobody's sessions.
    let login = startup(0, &[("user", "ana"), ("database", running.database())]);
    let mut halves = Vec::new();
    for bytes in [0, 1, 4, 9, login.len()] {
        let mut half = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        half.write_all(&login[..bytes]).await.unwrap();
        halves.push(half);
    }
    // Nobody hears that he is sent away, and nobody is kept for that.
    nothing_left(&running).await;
    for mut half in halves {
        let mut bytes = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut half, &mut bytes);
        tokio::time::timeout(Duration::from_secs(5), async { _ = read.await }).await.expect("it is closed");
    }
    drop((idle, open));
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(at(running.port, &running).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_and_a_reset_leave_nothing() {
    let running = on(super::support::server()).await.pool(4).start().await;
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    for (what, first, then) in [
        ("a query", Vec::new(), half(query("select count(*) from t where id > 1"))),
        ("a parse", Vec::new(), half(parse("s", "select count(*) from t where id > 1"))),
        ("a header", Vec::new(), b"Q\0\0".to_vec()),
        ("in a transaction", query("begin; select 1"), half(query("select count(*) from t"))),
    ] {
        for way in [Way::Shut, Way::Reset] {
            let relay = Relay::to(running.port).await;
            let mut client = at(relay.port, &running).await;
            if !first.is_empty() {
                client.lines(&first, 1).await;
            }
            client.send(&then).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            relay.set(way);
            running.eventually(&format!("{what}, {way:?}"), async |running| running.proxy().sessions() == 0).await;
        }
    }
    nothing_left(&running).await;
    // Four sessions of the warehouse are all there are: none was lost.
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = at(running.port, &running).await;
        assert_eq!(other.lines(&query("select count(*) from t"), 1).await[1], "D 100");
        others.push(other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_stops_the_warehouse_and_not_the_proxy() {
    let running = on(super::support::server()).await.start().await;
    let relay = Relay::to(running.port).await;
    let mut deaf = at(relay.port, &running).await;
    let before = memory();
    // A gigabyte, of which nobody reads a byte.
    deaf.send(&query("select repeat('x', 100000) from t a, t b")).await;
    let mut other = at(running.port, &running).await;
    for _ in 0..20 {
        assert_eq!(other.lines(&query("select count(*) from t"), 1).await[1], "D 100");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MB", grown >> 20);
    relay.set(Way::Reset);
    drop((deaf, other));
    nothing_left(&running).await;
}

/// Resident bytes of this process, in which the proxy is (proc(5), statm).
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
