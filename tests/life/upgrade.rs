//! A new process takes over from an old one under load: nothing fails that need not.

use super::held::Held;
use super::process::Process;
use super::raw::{Raw, query};
use super::replicas::{WAIT, cancel};
use super::stage;
use super::support::{Stage, server};
use sqlveil::cli::demo::private_postgres::free_port;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Documents of proxies that share a port.
fn shared(stage: &Stage) -> (PathBuf, u16) {
    let (config, port) = (stage.write(), free_port().unwrap());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    (config, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_process_takes_over_and_nothing_is_lost() {
    let lines = "reuse_port: true\nshutdown: {linger: 1s, deadline: 20s}\nlimits: {sessions_per_user: 200}";
    let stage = stage().await.config(lines);
    let (config, port) = shared(&stage);
    let over = Arc::new(AtomicBool::new(false));
    let (short_all, long_all, moved_all) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let mut old = Process::start(&config);
    let mut clients = Vec::new();
    for _ in 0..6 {
        // A connection a statement.
        let (done, short, database) = (Arc::clone(&over), Arc::clone(&short_all), stage.database.clone());
        clients.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let mut raw = Raw::at(port, 0, &[("user", "ana"), ("database", &database)]).await.expect("logs in");
                assert_eq!(raw.lines(&query("select count(*) from t"), 1).await[..2], ["T", "D 100"]);
                short.fetch_add(1, Ordering::Relaxed);
            }
        }));
        // Transactions, on a connection for as long as it lasts: it ends between two of them, never in one.
        let (done, long, moved) = (Arc::clone(&over), Arc::clone(&long_all), Arc::clone(&moved_all));
        let database = stage.database.clone();
        clients.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let mut raw = Raw::at(port, 0, &[("user", "ana"), ("database", &database)]).await.expect("logs in");
                loop {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    raw.send(&query("begin")).await;
                    let Some(said) = raw.next().await else { break };
                    if said.line() == "E 57P01" {
                        break;
                    }
                    assert_eq!(said.line(), "C BEGIN");
                    raw.ready(1).await;
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    assert_eq!(raw.lines(&query("select count(*) from t"), 1).await[1], "D 100");
                    assert_eq!(raw.lines(&query("commit"), 1).await, ["C COMMIT", "Z I"]);
                    long.fetch_add(1, Ordering::Relaxed);
                }
                moved.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let new = Process::start(&config);
        assert_eq!(new.port, port);
        old.signal("TERM");
        let ended = tokio::task::block_in_place(|| old.ended(Duration::from_secs(15)));
        assert!(ended.expect("the old one ends").success(), "round {round}: {:?}", old.log());
        assert!(!old.log().iter().any(|line| line.contains("in the middle")), "{:?}", old.log());
        old = new;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("nothing failed");
    }
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert!(count(&short_all) > 100 && count(&long_all) > 100, "{} and {}", count(&short_all), count(&long_all));
    assert!(count(&moved_all) >= 4 * 6, "each was sent on in each round: {}", count(&moved_all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_not_shared_without_being_told_to() {
    let stage = stage().await;
    let (config, port) = shared(&stage);
    let _one = Process::start(&config);
    let mut other = Process::spawn(Process::command(&config));
    assert!(!other.ended(Duration::from_secs(20)).expect("it does not start").success());
    assert!(other.says(&[&format!("cannot listen on 127.0.0.1:{port}")]), "{:?}", other.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_reaches_the_process_that_is_on_its_way_out() {
    let private = [free_port().unwrap(), free_port().unwrap()];
    let lines = format!(
        "reuse_port: true\nshutdown: {{linger: 1m, deadline: 1m}}\n\
         replica: {{id: 1, listen: \"127.0.0.1:{0}\", peers: {{1: \"127.0.0.1:{0}\", 2: \"127.0.0.1:{1}\"}}}}",
        private[0], private[1]
    );
    let stage = stage().await.config(&lines);
    let (config, port) = shared(&stage);
    let mut old = Process::start(&config);
    let mut client = Raw::at(port, 0, &[("user", "ana"), ("database", &stage.database)]).await.expect("logs in");
    let mut command = Process::command(&config);
    command.env("SQLVEIL__REPLICA__ID", "2").env("SQLVEIL__REPLICA__LISTEN", format!("127.0.0.1:{}", private[1]));
    let _new = Process::run(command);
    old.signal("TERM");
    assert!(old.says(&["stopping"]));
    // Until the old one has closed its socket: from then on every request comes to the new one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (pid, secret) = client.key.clone();
    let held = Held::lock(server(), &stage.database).await;
    for _ in 0..3 {
        client.send(&query(WAIT)).await;
        held.waited_for(1).await;
        cancel(port, pid, &secret).await;
        assert!(client.ready(1).await.iter().any(|message| message.line() == "E 57014"));
    }
    drop(client);
    assert!(old.ended(Duration::from_secs(10)).expect("it ends with its last session").success());
}
