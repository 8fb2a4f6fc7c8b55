//! The network between the proxy and the warehouse: slow, cut, gone without a word, and in the middle of a message.

use super::held::Held;
use super::raw::{Raw, query};
use super::relay::{Relay, Way};
use super::support::{PrivatePostgres, Running, Setup};
use super::{nothing_left, on};
use std::time::{Duration, Instant};

async fn through(server: &'static PrivatePostgres, connection: &str) -> (Relay, Running) {
    let relay = Relay::to(server.port()).await;
    let running = on(server).await.through(relay.port).connection(connection).start().await;
    (relay, running)
}

/// A server that looks whether its clients are still there while it works: else it would finish what nobody waits for.
fn watchful() -> &'static PrivatePostgres {
    let settings = vec![("client_connection_check_interval".into(), "500ms".into())];
    Box::leak(Box::new(PrivatePostgres::start_with(&Setup { settings, ..Setup::default() }).unwrap()))
}

async fn login(running: &Running) -> Result<Raw, String> {
    let login = [("user", "ana"), ("database", running.database())];
    Raw::with(running, 0, &login).await.map_err(|message| message.line())
}

/// Waits for the lock.
const WAIT: &str = "select count(*) from held";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_makes_answers_late_and_not_wrong() {
    let (relay, running) = through(super::support::server(), "").await;
    let mut client = login(&running).await.unwrap();
    relay.set(Way::Slow(Duration::from_millis(100)));
    let began = Instant::now();
    for n in 0..3 {
        let said = client.lines(&query(&format!("select count(*) + {n} from t")), 1).await;
        assert_eq!(said, ["T".to_owned(), format!("D {}", 100 + n), "C SELECT 1".into(), "Z I".into()]);
    }
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    // A long answer in many pieces.
    relay.set(Way::Slow(Duration::from_millis(1)));
    let said = client.lines(&query("select repeat('x', 1000) from t a, t b"), 1).await;
    assert_eq!(said.iter().filter(|line| line.len() == 1002).count(), 10_000);
    // A cancel request takes as long.
    relay.set(Way::Slow(Duration::from_millis(100)));
    let other = running.client("ana").await;
    let token = other.cancel_token();
    let held = Held::lock(super::support::server(), running.database()).await;
    let long = tokio::spawn(async move { other.batch_execute(WAIT).await });
    held.waited_for(1).await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(10), long).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    relay.set(Way::Open);
    drop(client);
    nothing_left(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_ends_sessions_with_a_word_and_new_ones_begin_when_it_is_back() {
    for way in [Way::Shut, Way::Reset] {
        let server = watchful();
        let (relay, running) = through(server, "").await;
        let mut idle = login(&running).await.unwrap();
        idle.lines(&query("select 1"), 1).await;
        let mut open = login(&running).await.unwrap();
        open.lines(&query("begin; select 1"), 1).await;
        let mut busy = login(&running).await.unwrap();
        let held = Held::lock(server, running.database()).await;
        busy.send(&query(WAIT)).await;
        held.waited_for(1).await;
        relay.set(way);
        for (what, client) in [("idle", &mut idle), ("open", &mut open), ("busy", &mut busy)] {
            let said: Vec<String> = client.rest().await.iter().map(|m| m.line()).collect();
            assert_eq!(said, ["E 08006"], "{way:?} {what}");
        }
        assert_eq!(login(&running).await.err().unwrap(), "E 08006", "{way:?}");
        relay.set(Way::Open);
        let mut client = login(&running).await.unwrap();
        assert_eq!(client.lines(&query("select count(*) from t"), 1).await[1], "D 100", "{way:?}");
        drop(client);
        held.waited_for(0).await;
        nothing_left(&running).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_in_the_middle_of_a_message_gives_no_half_of_it_as_a_whole() {
    let (relay, running) = through(super::support::server(), "").await;
    // Within the row's description, its header, its text, between messages.
    for bytes in [1, 3, 20, 60, 70, 200, 999, 70_000] {
        relay.set(Way::Open);
        let mut client = login(&running).await.unwrap();
        relay.set(Way::Cut(bytes));
        client.send(&query("select repeat('x', 500) as long from t a, t b")).await;
        let said = client.rest().await;
        for message in &said {
            match message.tag {
                'D' => assert_eq!(message.body.len(), 2 + 4 + 500, "{bytes}"),
                'T' => {}
                // Only between messages, since it would be taken for a part of one else.
                'E' => assert_eq!(message.line(), "E 08006", "{bytes}"),
                other => panic!("{bytes}: {other}"),
            }
        }
        assert!(!said.iter().any(|m| matches!(m.tag, 'C' | 'Z')), "{bytes}: never as if it were complete");
    }
    relay.set(Way::Open);
    nothing_left(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_without_a_word_holds_up_only_who_asks_it() {
    let (relay, running) = through(super::support::server(), "\n    connect_timeout: 1s").await;
    let mut waits = login(&running).await.unwrap();
    let mut leaves = login(&running).await.unwrap();
    leaves.lines(&query("begin; select 1"), 1).await;
    relay.set(Way::Stalled);
    waits.send(&query("select count(*) from t")).await;
    leaves.send(&query("select count(*) from t")).await;
    // New sessions are told in time.
    let began = Instant::now();
    assert_eq!(login(&running).await.err().unwrap(), "E 08006");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Who leaves is not waited for beyond five seconds.
    drop(leaves);
    running.eventually("he is gone", async |running| running.proxy().sessions() == 1).await;
    // Who stays gets his answer when it is back.
    relay.set(Way::Open);
    let said: Vec<String> = waits.ready(1).await.iter().map(|m| m.line()).collect();
    assert_eq!(said, ["T", "D 100", "C SELECT 1", "Z I"]);
    drop(waits);
    nothing_left(&running).await;
    assert!(login(&running).await.is_ok());
}
