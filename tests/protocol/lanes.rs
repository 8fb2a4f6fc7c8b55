//! Sessions run on the lane with the fewest; a session with the warehouse may be used on one lane after the other.

use super::support::{ANYONE, Running, Stage};
use std::time::Duration;
use tokio::net::TcpStream;

async fn running(max: usize) -> Running {
    let stage = Stage::new().await.sql("CREATE TABLE t AS SELECT generate_series(1, 20000) AS id").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]);
    stage.config("threads: 2").pool(max).start().await
}

/// What the warehouse calls the process that serves this session.
async fn served_by(running: &Running, mark: &str) -> i32 {
    let sql = format!("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT%{mark}%' AND pid <> pg_backend_pid()");
    running.admin().query_one(&sql, &[]).await.unwrap().get(0)
}

async fn reads(client: &tokio_postgres::Client, mark: &str) {
    let rows = client.query(&format!("SELECT id, '{mark}' AS mark FROM t"), &[]).await.unwrap();
    assert_eq!(rows.len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_the_warehouse_goes_from_lane_to_lane() {
    let running = running(1).await;
    // Whoever does not log in takes a place on the first lane.
    let silent = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = running.client("ana").await;
    reads(&second, "second lane").await;
    let process = served_by(&running, "second lane").await;
    drop((second, silent));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let first = running.client("ana").await;
    reads(&first, "first lane").await;
    assert_eq!(served_by(&running, "first lane").await, process, "the same session with the warehouse");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_on_few_lanes_go_on_beside_one_that_takes_long_to_plan() {
    let running = running(40).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..24 {
        let client = running.client("ana").await;
        tasks.spawn(async move {
            for turn in 0..10 {
                if number % 12 == 0 {
                    let terms: Vec<String> = (0..800).map(|n| format!("id <> {turn} + {n} * {number}")).collect();
                    client.query(&format!("SELECT count(*) FROM t WHERE {}", terms.join(" AND ")), &[]).await.unwrap();
                } else {
                    let id: i32 = client
                        .query_one("SELECT id FROM t WHERE id = $1", &[&(turn + number)])
                        .await
                        .map_or(0, |r| r.get(0));
                    assert_eq!(id, turn + number);
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    running.eventually("all sessions have ended", async |running| running.proxy().sessions() == 0).await;
}
