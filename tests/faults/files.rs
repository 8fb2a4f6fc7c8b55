//! No file descriptors are left: who is there goes on, who comes waits, and nothing is left behind.

use super::process::Process;
use super::raw::{Raw, query, startup};
use super::support::{ANYONE, Stage};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Files that the process may have open.
const ALLOWED: usize = 80;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_goes_on_and_who_comes_waits() {
    let stage = Stage::new().await.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]);
    let stage = stage.config("limits: {handshake_timeout: 60s}\nthreads: 2");
    let (config, database) = (stage.write(), stage.database.clone());
    let login = [("user", "ana"), ("database", database.as_str())];
    let plain = Process::command(&config);
    let mut command = Command::new("sh");
    let limit = format!("ulimit -n {ALLOWED}; exec \"$@\"");
    command.args(["-c", &limit, "sh"]).arg(plain.get_program()).args(plain.get_args()).env("NO_COLOR", "1");
    let process = Process::run(command);
    let count = query("select count(*) from t");
    let mut session = Raw::at(process.port, 0, &login).await.unwrap();
    session.lines(&count, 1).await;
    let before = process.files();

    // Connections that say nothing take all there are.
    let mut silent = Vec::new();
    for _ in 0..ALLOWED {
        silent.push(TcpStream::connect(("127.0.0.1", process.port)).await.unwrap());
    }
    assert!(process.says(&["ERROR", "connections cannot be accepted and wait"]), "{:?}", process.log());
    for _ in 0..20 {
        assert_eq!(session.lines(&count, 1).await[1], "D 100", "who is there goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = process.log().iter().filter(|line| line.contains("cannot be accepted")).count();
    assert_eq!(told, 1, "once, and not with each try");
    // Who comes now waits in the queue, and is let in when there is room.
    let waiting = TcpStream::connect(("127.0.0.1", process.port)).await.unwrap();
    let waits = tokio::spawn({
        let login = startup(0, &login);
        async move {
            let mut raw = Raw::over(waiting, &login).await.map_err(|message| message.line())?;
            Ok::<_, String>(raw.lines(&query("select count(*) from t"), 1).await)
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished());
    drop(silent);
    assert_eq!(waits.await.unwrap().expect("he is let in")[1], "D 100");
    assert!(process.says(&["connections are accepted again"]));

    drop(session);
    let deadline = Instant::now() + Duration::from_secs(10);
    while process.files() > before {
        assert!(Instant::now() < deadline, "{} files are open, and were {before}", process.files());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut session = Raw::at(process.port, 0, &login).await.unwrap();
    assert_eq!(session.lines(&count, 1).await[1], "D 100");
}
