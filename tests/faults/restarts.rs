//! The warehouse is restarted under load, in three ways: what was committed is there, nothing is answered wrong, and the proxy goes on.

use super::support::{PASSWORD, PrivatePostgres, Running};
use super::{on, own_server};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::NoTls;

/// Sends a signal to the postmaster: INT ends it fast, QUIT at once, KILL without its say (manual, 18.5).
fn signal(server: &PrivatePostgres, name: &str) {
    let file = std::fs::read_to_string(server.socket_folder().join("data/postmaster.pid")).unwrap();
    let pid = file.lines().next().unwrap();
    assert!(Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap().success());
}

fn resume(server: &PrivatePostgres) {
    // The old one's children may still hold its memory.
    for _ in 0..100 {
        if server.resume().is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{}", server.log());
}

/// What clients do, and what came of it.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    next: AtomicUsize,
    committed: Mutex<Vec<i32>>,
    /// SQLSTATEs; "lost" where the connection ended without one.
    errors: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

/// A connection: transactions, each of which writes a row, until something fails.
async fn work(load: &Load, config: &tokio_postgres::Config) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    while !load.over.load(Ordering::Relaxed) {
        let id = i32::try_from(load.next.fetch_add(1, Ordering::Relaxed)).unwrap();
        client.batch_execute("BEGIN").await?;
        let rows: i64 = client.query_one("SELECT count(*) FROM t", &[]).await?.get(0);
        if rows != 100 {
            load.wrong.lock().unwrap().push(format!("{rows} rows"));
        }
        client.execute("INSERT INTO w VALUES ($1)", &[&id]).await?;
        client.batch_execute("COMMIT").await?;
        load.committed.lock().unwrap().push(id);
    }
    Ok(())
}

fn begin(load: &Arc<Load>, running: &Running) -> Vec<tokio::task::JoinHandle<()>> {
    (0..6)
        .map(|_| {
            let (load, mut config) = (Arc::clone(load), running.client_config("ana"));
            config.password(PASSWORD);
            tokio::spawn(async move {
                while !load.over.load(Ordering::Relaxed) {
                    if let Err(error) = work(&load, &config).await {
                        let code = error.code().map_or("lost", |code| code.code()).to_owned();
                        load.errors.lock().unwrap().push(code);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_committed_is_there_and_the_proxy_goes_on() {
    for pooling in [false, true] {
        let server = own_server();
        let stage = on(server).await.sql("CREATE TABLE w (id int PRIMARY KEY)").await;
        let stage = stage.writable().await.sources(&[("w", "{}")]).writes("ana", &["w"]);
        let running = if pooling { stage.turns(4, "") } else { stage }.start().await;
        let load = Arc::new(Load::default());
        let clients = begin(&load, &running);
        for how in ["INT", "QUIT", "KILL"] {
            let some = async |_: &Running| load.committed.lock().unwrap().len() > 20;
            running.eventually(&format!("something is done before {how}"), some).await;
            tokio::task::block_in_place(|| {
                signal(server, how);
                std::thread::sleep(Duration::from_millis(300));
                let _ = server.pause();
                resume(server);
            });
            let before = load.committed.lock().unwrap().len();
            let goes_on = async |_: &Running| load.committed.lock().unwrap().len() > before + 20;
            running.eventually(&format!("work goes on after {how}"), goes_on).await;
        }
        load.over.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        assert!(load.wrong.lock().unwrap().is_empty(), "{:?}", load.wrong.lock().unwrap());
        let errors = load.errors.lock().unwrap().clone();
        // 57P01, 57P02, 57P03: the warehouse's own words; 08006: the proxy's; nothing else.
        let known = ["57P01", "57P02", "57P03", "08006", "lost"];
        assert!(errors.iter().all(|code| known.contains(&code.as_str())), "{errors:?}");
        assert!(!errors.is_empty());
        let (admin, connection) = server.admin_config(running.database()).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let there: Vec<i32> =
            admin.query("SELECT id FROM w", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let committed = load.committed.lock().unwrap().clone();
        let lost: Vec<&i32> = committed.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{} of {} lost", lost.len(), committed.len());
        running.eventually("nobody is left", async |running| running.proxy().sessions() == 0).await;
        let left = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'service%' AND state LIKE 'idle in%'";
        assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    }
}

/// One server process dies, as when the system runs out of memory: PostgreSQL ends all sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_process_that_is_killed_takes_sessions_along_and_new_ones_begin() {
    let server = own_server();
    let running = on(server).await.start().await;
    let idle = running.client("ana").await;
    let busy = running.client("ana").await;
    busy.batch_execute("BEGIN").await.unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'service%' AND state = 'idle in transaction'";
    let pid: i32 = running.admin().query_one(sql, &[]).await.unwrap().get(0);
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let back = async |running: &Running| match running.try_client("ana", PASSWORD, running.database()).await {
        Ok(client) => client.query_one("SELECT count(*) FROM t", &[]).await.is_ok(),
        Err(_) => false,
    };
    running.eventually("new sessions begin", back).await;
    for client in [idle, busy] {
        let error = client.query_one("SELECT 1", &[]).await.expect_err("it is over");
        let code = error.code().map(|code| code.code().to_owned());
        assert!(error.is_closed() || ["57P01", "57P02", "08006"].contains(&code.as_deref().unwrap_or("")), "{error:?}");
    }
    running.eventually("nobody is left", async |running| running.proxy().sessions() == 0).await;
}
