//! Sessions taken, given back, reset, lost and found again.

use crate::support::{admin, ask, connection, create_roles, pool, receive, send, shared, until, until_running, value};
use sqlveil::cli::demo::private_postgres::PrivatePostgres;
use sqlveil::config::{Connection, PoolLimits};
use sqlveil::upstream::{Pool, Session, cancel};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn limited(limits: impl FnOnce(&mut PoolLimits)) -> Arc<Pool> {
    let mut connection = connection(&shared().server);
    limits(&mut connection.pool);
    pool(connection)
}

async fn take(pool: &Arc<Pool>) -> Session {
    pool.acquire(Instant::now() + Duration::from_secs(10)).await.unwrap()
}

fn pid(session: &Session) -> i32 {
    session.cancel_key().unwrap().pid()
}

/// Gives back and waits until the reset has been made.
async fn give_back(pool: &Pool, session: Session) {
    session.release(true);
    until(|| pool.occupancy().held == 0).await;
}

async fn is_there(pid: i32) -> bool {
    !admin(&shared().server, &format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}")).await.is_empty()
}

async fn until_gone(pid: i32) {
    for _ in 0..500 {
        if !is_there(pid).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("session {pid} is still there");
}

#[tokio::test]
async fn a_session_is_used_again_and_remembers_nothing() {
    let pool = limited(|_| {});
    let mut session = take(&pool).await;
    let first = pid(&session);
    for sql in [
        "SET search_path = public",
        "SET TimeZone = 'Asia/Tokyo'",
        "PREPARE p AS SELECT 1",
        "LISTEN l",
        "BEGIN READ WRITE; CREATE TEMP TABLE t AS SELECT 1; COMMIT",
        "SELECT pg_advisory_lock(1)",
    ] {
        assert_eq!(ask(&mut session, sql).await.error, None, "{sql}");
    }
    give_back(&pool, session).await;
    let mut session = take(&pool).await;
    assert_eq!(pid(&session), first);
    assert_eq!(value(&mut session, "SHOW search_path").await, "pg_catalog, pg_temp");
    assert_eq!(value(&mut session, "SHOW TimeZone").await, "UTC");
    for leftover in [
        "SELECT count(*) FROM pg_prepared_statements",
        "SELECT count(*) FROM pg_listening_channels() c",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relname = 't' \
         AND relnamespace = pg_my_temp_schema()",
    ] {
        assert_eq!(value(&mut session, leftover).await, "0", "{leftover}");
    }
}

#[tokio::test]
async fn what_was_not_clean_is_closed() {
    let pool = limited(|_| {});
    // Given back as unclean; dropped; said to be clean while in a transaction; while an answer is outstanding.
    let unclean = take(&pool).await;
    let dropped = take(&pool).await;
    let mut in_transaction = take(&pool).await;
    ask(&mut in_transaction, "BEGIN").await;
    let mut busy = take(&pool).await;
    send(&mut busy, "SELECT 1").await;
    let pids = [&unclean, &dropped, &in_transaction, &busy].map(pid);
    unclean.release(false);
    drop(dropped);
    in_transaction.release(true);
    busy.release(true);
    until(|| pool.occupancy().held == 0).await;
    assert_eq!(pool.occupancy().idle, 0);
    for pid in pids {
        until_gone(pid).await;
    }
}

#[tokio::test]
async fn a_dropped_session_stops_what_it_was_doing() {
    let pool = limited(|_| {});
    let mut session = take(&pool).await;
    let pid = pid(&session);
    send(&mut session, "SELECT pg_sleep(600)").await;
    until_running(&shared().server, pid).await;
    let (read, write, lease) = session.into_parts();
    drop((read, write));
    drop(lease);
    until_gone(pid).await;
    until(|| pool.occupancy().held == 0).await;
}

#[tokio::test]
async fn cancel_stops_a_statement_and_not_the_session() {
    let pool = limited(|_| {});
    let mut session = take(&pool).await;
    let target = session.cancel_key().unwrap();
    send(&mut session, "SELECT pg_sleep(600)").await;
    until_running(&shared().server, target.pid()).await;
    cancel(&target).await.unwrap();
    assert_eq!(receive(&mut session).await.error.as_deref(), Some("57014"));
    assert_eq!(value(&mut session, "SELECT 7").await, "7");
    assert!(!format!("{target:?}").contains("secret: ["));
}

#[tokio::test]
async fn the_limit_holds_and_waiters_are_served() {
    let pool = limited(|p| p.max = 2);
    let (a, b) = (take(&pool).await, take(&pool).await);
    let begun = Instant::now();
    let refusal = pool.acquire(begun + Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((refusal.code.0, begun.elapsed() >= Duration::from_millis(100)), ("53300", true));
    assert_eq!(refusal.message, "too many connections to warehouse \"warehouse\"");
    let waiter = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pid(&take(&pool).await) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let first = pid(&a);
    a.release(true);
    assert_eq!(waiter.await.unwrap(), first);
    drop(b);
    // Many at once on a pool of two: nobody fails, no more than two sessions.
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let mut session = take(&pool).await;
                let n = value(&mut session, "SELECT 1").await;
                session.release(true);
                (n, pool.occupancy())
            })
        })
        .collect();
    for task in tasks {
        let (n, occupancy) = task.await.unwrap();
        assert_eq!(n, "1");
        assert!(occupancy.held + occupancy.idle <= 3, "{occupancy:?}");
    }
}

#[tokio::test]
async fn idle_sessions_are_bounded_and_grow_old() {
    let pool = limited(|p| p.idle = 1);
    let (a, b) = (take(&pool).await, take(&pool).await);
    a.release(true);
    b.release(true);
    until(|| pool.occupancy().held == 0).await;
    assert_eq!(pool.occupancy().idle, 1);

    let pool = limited(|p| p.max_lifetime = Duration::from_millis(200));
    let session = take(&pool).await;
    let first = pid(&session);
    give_back(&pool, session).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_ne!(pid(&take(&pool).await), first);
    until_gone(first).await;
}

#[tokio::test]
async fn an_idle_session_the_warehouse_ended_is_not_handed_out() {
    let pool = limited(|_| {});
    let session = take(&pool).await;
    let first = pid(&session);
    give_back(&pool, session).await;
    admin(&shared().server, &format!("SELECT pg_terminate_backend({first})")).await;
    until_gone(first).await;
    let mut session = take(&pool).await;
    assert_ne!(pid(&session), first);
    assert_eq!(value(&mut session, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_lost_warehouse_is_08006_and_comes_back() {
    let mut server = tokio::task::spawn_blocking(|| PrivatePostgres::start().unwrap()).await.unwrap();
    create_roles(&server).await;
    let pool = pool(Connection { connect_timeout: Duration::from_secs(2), ..connection(&server) });
    let held = take(&pool).await;
    take(&pool).await.release(true);
    until(|| pool.occupancy().idle == 1).await;
    server = tokio::task::spawn_blocking(move || server.pause().map(|()| server).unwrap()).await.unwrap();
    for _ in 0..3 {
        let refusal = pool.acquire(pool.deadline()).await.unwrap_err();
        assert_eq!(refusal.code.0, "08006");
        assert_eq!(refusal.message, "could not connect to warehouse \"warehouse\": connection refused");
    }
    held.release(true);
    until(|| pool.occupancy().held == 0).await;
    let server = tokio::task::spawn_blocking(move || server.resume().map(|()| server).unwrap()).await.unwrap();
    let mut session = take(&pool).await;
    assert_eq!(value(&mut session, "SELECT 1").await, "1");
    drop(server);
}

#[tokio::test]
async fn a_warehouse_that_does_not_answer_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut to_silent = connection(&shared().server);
    to_silent.port = silent.local_addr().unwrap().port();
    to_silent.connect_timeout = Duration::from_millis(200);
    let pool = pool(to_silent);
    let begun = Instant::now();
    let refusal = pool.acquire(pool.deadline()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(refusal.message, "could not connect to warehouse \"warehouse\": connection timed out");
    assert_eq!(pool.occupancy().held, 0);
}
