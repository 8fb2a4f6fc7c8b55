//! Sets that row rules look values up in: how they are looked up, by their size.

use crate::support::{ANYONE, Running, Stage};

/// How often the text that the warehouse was sent last holds this.
async fn sent(running: &Running, part: &str) -> bool {
    let client = running.client("ana").await;
    client.query("SELECT count(*) FROM line", &[]).await.unwrap();
    let texts = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                 AND query LIKE '%line%' AND query LIKE '%' || $1 || '%'";
    let found: i64 = running.admin().query_one(texts, &[&part]).await.unwrap().get(0);
    found > 0
}

/// Sets are looked up as arrays while statistics say that they are small, and otherwise by joins; a refresh notices, though nothing else of
/// the catalog has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_grows_is_looked_up_by_a_join() {
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE line AS SELECT n AS number, n % 100 AS head FROM generate_series(1, 1000) n;
             CREATE TABLE mine AS SELECT n AS head FROM generate_series(1, 5) n; ANALYZE;",
        )
        .await
        .sources(&[("line", "{head: [Head]}")])
        .policy(ANYONE)
        .policy(
            "policyKey: mine\nname: mine\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"head IN (SELECT m.head FROM public.mine m)\"}\ncircumstances: [{type: columnTags, columnTag: Head}]\n",
        )
        .user("ana", &[], &[])
        .config("catalog: {refresh: 200ms}")
        .start()
        .await;
    assert!(sent(&running, "= ANY(ARRAY(").await);
    running
        .admin()
        .batch_execute("INSERT INTO mine SELECT n FROM generate_series(6, 90) n; ANALYZE mine")
        .await
        .unwrap();
    running.eventually("a join", async |running| sent(running, " IN (SELECT").await).await;
    running.admin().batch_execute("DELETE FROM mine WHERE head > 3; ANALYZE mine").await.unwrap();
    running.eventually("an array", async |running| sent(running, "= ANY(ARRAY(").await).await;
}
