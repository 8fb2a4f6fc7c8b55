//! The proxy ends: who is let in, who goes on, who is sent away, and what the warehouse is left with.

use super::held::Held;
use super::process::Process;
use super::raw::{Message, Raw, query, startup};
use super::stage;
use super::support::{Running, server};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(3600);

/// Statements of sessions of the proxy's login that the warehouse has under way, transactions included.
async fn under_way(running: &Running) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'service%' AND datname = current_database() AND state <> 'idle'";
    running.admin().query_one(sql, &[]).await.unwrap().get(0)
}

fn last(said: &[Message]) -> Vec<String> {
    said.iter().map(Message::line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_finish_idle_sessions_end_and_nobody_new_comes() {
    let running = stage().await.start().await;
    let mut idle = Raw::new(&running, "ana").await;
    idle.lines(&query("select 1"), 1).await;
    let mut open = Raw::new(&running, "ana").await;
    open.lines(&query("begin; select 1"), 1).await;
    let mut failed = Raw::new(&running, "ana").await;
    failed.lines(&query("begin; select 1/0"), 1).await;
    let mut busy = Raw::new(&running, "ana").await;
    let held = Held::lock(server(), running.database()).await;
    busy.send(&query("select count(*) from held")).await;
    held.waited_for(1).await;
    assert!(!running.proxy().draining());
    running.proxy().drain(LONG);
    assert!(running.proxy().draining());
    assert_eq!(last(&idle.rest().await), ["E 57P01"]);
    assert!(TcpStream::connect(("127.0.0.1", running.port)).await.is_err(), "nobody listens");
    held.release().await;
    let said = busy.rest().await;
    assert_eq!(last(&said), ["T", "D 0", "C SELECT 1", "Z I", "E 57P01"], "what was asked is answered first");
    assert_eq!(open.lines(&query("select count(*) from t"), 1).await, ["T", "D 100", "C SELECT 1", "Z T"]);
    open.send(&query("commit")).await;
    assert_eq!(last(&open.rest().await), ["C COMMIT", "Z I", "E 57P01"]);
    running.eventually("a failed transaction is one", async |running| running.proxy().sessions() == 1).await;
    failed.send(&query("rollback")).await;
    assert_eq!(last(&failed.rest().await), ["C ROLLBACK", "Z I", "E 57P01"]);
    running.proxy().drained().await;
    assert_eq!(running.proxy().sessions(), 0);
    running.eventually("the warehouse is left alone", async |running| under_way(running).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_transactions_and_statements() {
    for pooling in [false, true] {
        let stage = stage().await;
        let running = if pooling { stage.turns(4, "") } else { stage }.start().await;
        let mut open = Raw::new(&running, "ana").await;
        open.lines(&query("begin; select 1"), 1).await;
        let mut busy = Raw::new(&running, "ana").await;
        busy.send(&query("select pg_sleep(100), count(*) from t a, t b, t c, t d, t e, t f")).await;
        let refused = busy.ready(1).await;
        assert_eq!(refused[0].line(), "E 42501", "pg_sleep is nobody's");
        let held = Held::lock(server(), running.database()).await;
        busy.send(&query("select count(*) from held")).await;
        held.waited_for(1).await;
        let began = Instant::now();
        running.proxy().drain(Duration::from_secs(1));
        assert_eq!(last(&open.rest().await), ["E 57P01"]);
        assert_eq!(last(&busy.rest().await), ["E 57P01"]);
        running.proxy().drained().await;
        let took = began.elapsed();
        assert!(Duration::from_secs(1) <= took && took < Duration::from_secs(8), "{took:?}");
        held.waited_for(0).await;
        running.eventually("the warehouse is left alone", async |running| under_way(running).await == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_in_time_gets_his_answer() {
    let running = stage().await.start().await;
    let login = startup(0, &[("user", "ana"), ("database", running.database())]);
    // One has logged in and asked nothing, one is in the middle of it, one never says anything.
    let mut new = Raw::new(&running, "ana").await;
    let mut half = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    half.write_all(&login[..10]).await.unwrap();
    let mut silent = Raw::new(&running, "ana").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.proxy().drain(LONG);
    assert_eq!(new.lines(&query("select 2"), 1).await, ["T", "D 2", "C SELECT 1", "Z I"]);
    assert_eq!(last(&new.rest().await), ["E 57P01"]);
    let mut half = Raw::over(half, &login[10..]).await.expect("logs in");
    assert_eq!(half.lines(&query("begin; select 3"), 1).await.last().unwrap(), "Z T");
    half.send(&query("commit")).await;
    assert_eq!(last(&half.rest().await), ["C COMMIT", "Z I", "E 57P01"]);
    assert_eq!(last(&silent.rest().await), ["E 57P01"]);
    running.proxy().drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_drains_by_one_signal_and_ends_by_two() {
    let stage = stage().await.config("shutdown: {linger: 2s, deadline: 1h}");
    let config = stage.write();
    let login = [("user", "ana"), ("database", stage.database.as_str())];
    for twice in [false, true] {
        let mut process = Process::start(&config);
        let mut open = Raw::at(process.port, 0, &login).await.unwrap();
        open.lines(&query("begin; select 1"), 1).await;
        let mut idle = Raw::at(process.port, 0, &login).await.unwrap();
        idle.lines(&query("select 1"), 1).await;
        process.signal("TERM");
        assert!(process.says(&["stopping", "sessions=2"]));
        // Who lingers notices nothing.
        assert_eq!(idle.lines(&query("select 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
        assert_eq!(last(&idle.rest().await), ["E 57P01"]);
        if twice {
            process.signal("INT");
        } else {
            assert_eq!(open.lines(&query("select 1"), 1).await.last().unwrap(), "Z T");
            open.send(&query("commit")).await;
            assert_eq!(last(&open.rest().await), ["C COMMIT", "Z I", "E 57P01"]);
        }
        let status = process.ended(Duration::from_secs(10)).expect("it ends");
        assert!(status.success(), "{status}");
    }
}
