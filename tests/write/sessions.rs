//! Writing in sessions: transactions, the extended protocol, several at once, COPY.

use crate::world::{count, error, rows, running};
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_sees_no_row_that_was_not_asked_for() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    let insert = ana.prepare("INSERT INTO emp (id, name, dept) VALUES ($1, $2, $3)").await.unwrap();
    assert!(insert.columns().is_empty());
    assert_eq!(insert.params().iter().map(|t| t.name().to_owned()).collect::<Vec<_>>(), ["int4", "varchar", "text"]);
    assert_eq!(ana.execute(&insert, &[&200, &"n", &"blue"]).await.unwrap(), 1);
    assert!(ana.query(&insert, &[&201, &"n", &"blue"]).await.unwrap().is_empty());
    let refused = ana.execute(&insert, &[&202, &"n", &"red"]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "42501");
    let returning = ana.prepare("UPDATE emp SET dept = $2 WHERE id = $1 RETURNING name, ssn, dept").await.unwrap();
    let types: Vec<_> =
        returning.columns().iter().map(|c| (c.name().to_owned(), c.type_().name().to_owned())).collect();
    assert_eq!(
        types,
        [("name", "varchar"), ("ssn", "varchar"), ("dept", "text")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    assert_eq!(ana.query(&returning, &[&200, &"blue"]).await.unwrap().len(), 1);
    let many =
        ana.prepare("INSERT INTO emp (id, name) SELECT i, 'n' FROM generate_series(1000, 4999) i").await.unwrap();
    assert_eq!(ana.execute(&many, &[]).await.unwrap(), 4000);
    // PREPARE and EXECUTE, of which neither returns rows.
    ana.batch_execute("PREPARE p (int) AS INSERT INTO emp (id, name) VALUES ($1, 'p')").await.unwrap();
    assert_eq!(count(&ana, "EXECUTE p (300)").await, 1);
    let executed = ana.prepare("EXECUTE p (301)").await.unwrap();
    assert!(executed.columns().is_empty());
    assert_eq!(ana.execute(&executed, &[]).await.unwrap(), 1);
    assert_eq!(rows(admin, "SELECT count(*) FROM emp WHERE id IN (200, 201, 202, 300, 301)").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_savepoints() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    ana.batch_execute("BEGIN; UPDATE acc SET balance = 5 WHERE id = 1; SAVEPOINT s").await.unwrap();
    assert_eq!(error(&ana, "INSERT INTO emp (id, name, dept) VALUES (400, 'n', 'red')").await.code().code(), "42501");
    ana.batch_execute("ROLLBACK TO s").await.unwrap();
    assert_eq!(count(&ana, "UPDATE acc SET balance = balance + 1 WHERE id = 1").await, 1);
    ana.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(admin, "SELECT balance FROM acc WHERE id = 1").await, ["6"]);
    ana.batch_execute("BEGIN; DELETE FROM acc; ROLLBACK").await.unwrap();
    assert_eq!(rows(admin, "SELECT count(*) FROM acc").await, ["1000"]);
    assert_eq!(error(&ana, "BEGIN READ ONLY; DELETE FROM acc").await.code().code(), "25006");
    ana.batch_execute("ROLLBACK").await.unwrap();
    // A string of several statements is one transaction.
    let several = "UPDATE acc SET balance = 1 WHERE id = 2; INSERT INTO emp (id, name) VALUES (500, 'n'); INSERT INTO emp (id, name, dept) VALUES (501, 'n', 'red')";
    assert_eq!(error(&ana, several).await.code().code(), "42501");
    assert_eq!(rows(admin, "SELECT count(*) FROM emp WHERE id IN (500, 501)").await, ["0"]);
    assert_eq!(
        rows(&ana, "INSERT INTO emp (id, name) VALUES (500, 'n'); SELECT count(*) FROM emp WHERE id = 500").await,
        ["1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_that_count_lose_nothing() {
    let running = running().await;
    let mut tasks = Vec::new();
    for who in ["ana", "max"] {
        let client = running.client(who).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..100 {
                assert_eq!(
                    client.execute("UPDATE acc SET balance = balance + 1 WHERE id = $1", &[&3]).await.unwrap(),
                    1
                );
                assert_eq!(
                    client.execute("UPDATE emp SET salary = 5 WHERE id = $1 AND id = 2", &[&3]).await.unwrap(),
                    0
                );
                assert_eq!(
                    client.execute("UPDATE item SET qty = qty + 1 WHERE id = 2 AND qty / 1 >= 0", &[]).await.unwrap(),
                    1
                );
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        rows(running.admin(), "SELECT a.balance, i.qty FROM acc a, item i WHERE a.id = 3 AND i.id = 2").await,
        ["200|202"]
    );
    // A row that is moved out of sight meanwhile is left alone.
    let (ana, admin) = (running.client("ana").await, running.admin());
    admin.batch_execute("BEGIN; UPDATE emp SET dept = 'red' WHERE id = 4").await.unwrap();
    let waiting = tokio::spawn(async move { count(&ana, "UPDATE emp SET note = 'late' WHERE id = 4").await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    admin.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_update_uses_the_index() {
    let running = running().await;
    let admin = running.admin();
    admin
        .batch_execute("INSERT INTO emp (id, name) SELECT i, 'n' FROM generate_series(1000, 30000) i; ANALYZE emp")
        .await
        .unwrap();
    let ana = running.client("ana").await;
    admin.batch_execute("SELECT pg_stat_reset(); SELECT pg_stat_force_next_flush()").await.unwrap();
    let update = ana.prepare("UPDATE emp SET note = 'i' WHERE id = $1").await.unwrap();
    for id in [2, 2000, 3000] {
        assert_eq!(ana.execute(&update, &[&id]).await.unwrap(), 1);
    }
    assert_eq!(ana.execute("DELETE FROM emp WHERE id = $1", &[&2001]).await.unwrap(), 1);
    for _ in 0..5 {
        // The server writes its statistics once a second, at the end of a statement.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        ana.batch_execute("SELECT 1").await.unwrap();
        let scans = rows(admin, "SELECT idx_scan, seq_scan FROM pg_stat_user_tables WHERE relname = 'emp'").await;
        if scans[0].starts_with("4|") {
            return;
        }
    }
    panic!("{:?}", rows(admin, "SELECT idx_scan, seq_scan FROM pg_stat_user_tables WHERE relname = 'emp'").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_copied_in() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    let copy = async |sql: &str, data: Vec<u8>| {
        let sink = ana.copy_in(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let mut sink = pin!(sink);
        for chunk in data.chunks(50_000) {
            sink.send(Bytes::copy_from_slice(chunk)).await?;
        }
        sink.finish().await
    };
    let text: String = (10_000..60_000).map(|i| format!("{i}\t{}\n", i % 7)).collect();
    assert_eq!(copy("COPY acc FROM STDIN", text.into_bytes()).await.unwrap(), 50_000);
    assert_eq!(
        copy("COPY acc (balance, id) FROM STDIN (FORMAT csv, HEADER)", b"b,i\n1,60001\n2,60002\n".to_vec())
            .await
            .unwrap(),
        2
    );
    let mut binary =
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\x01\0\0\0\0\0\x08\0\0\0\0\0\0\0\x09".to_vec();
    binary.extend(b"\xff\xff");
    assert_eq!(copy("COPY acc FROM STDIN WITH BINARY", binary).await.unwrap(), 1);
    assert_eq!(rows(admin, "SELECT count(*), max(balance) FROM acc").await, ["51003|9"]);
    // An error in the middle, of the rows or of the client; the session goes on.
    let bad: String =
        (70_000..80_000).map(|i| if i == 75_000 { "x\t1\n".to_owned() } else { format!("{i}\t1\n") }).collect();
    let failed = copy("COPY acc FROM STDIN", bad.into_bytes()).await.unwrap_err();
    assert_eq!(failed.as_db_error().unwrap().code().code(), "22P02");
    assert_eq!(rows(&ana, "SELECT count(*) FROM acc").await, ["51003"]);
    {
        let sink = ana.copy_in("COPY acc FROM STDIN").await.unwrap();
        let mut sink = pin!(sink);
        sink.send(Bytes::from_static(b"90000\t1\n")).await.unwrap();
    }
    assert_eq!(rows(&ana, "SELECT count(*) FROM acc").await, ["51003"]);
    let twice = copy("COPY acc FROM STDIN", b"1\t1\n".to_vec()).await.unwrap_err();
    assert_eq!(twice.as_db_error().unwrap().code().code(), "23505");
    assert_eq!(copy("COPY log (msg, code) FROM STDIN", b"a\t1\n".to_vec()).await.unwrap(), 1);
    assert_eq!(rows(&ana, "SELECT msg FROM log WHERE code = 1 AND msg = 'a'").await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_copies_in_the_simple_protocol() {
    let running = running().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "70001,5\n70002,6\n").unwrap();
    let command = format!("\\copy acc from '{}' csv", file.display());
    let output = running.psql("ana", &["-c", &command, "-c", "select count(*) from acc where id > 70000"]);
    assert!(output.out.contains("COPY 2") && output.out.contains('2'), "{output:?}");
    std::fs::write(&file, "70003,x\n").unwrap();
    let output = running.psql("ana", &["-v", "ON_ERROR_STOP=0", "-c", &command, "-c", "select 1 as still"]);
    assert!(output.err.contains("invalid input syntax") && output.out.contains("still"), "{output:?}");
}
