//! Statements of the simple protocol that come again with other numbers: the warehouse prepares them, and the client hears what it would hear
//! of a Query.

use super::ANYONE;
use super::raw::{Raw, bind, close, describe, execute, parse, query, sync};
use super::support::{Running, Stage};

/// Rows of ids below 8 alone; names are masked.
async fn running() -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, n int, big bigint, name text);
             INSERT INTO t SELECT i, i % 3, i, 'n' || i FROM generate_series(1, 10) i;
             CREATE TABLE h (t int, delta int CHECK (delta < 100), at timestamptz)",
        )
        .await
        .sources(&[("t", "{name: [Secret], id: [Key]}"), ("h", "{}")])
        .policy(ANYONE)
        .policy("policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"id < 8\"}\ncircumstances: [{type: columnTags, columnTag: Key}]\n")
        .policy("policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Secret}], maskingConfig: {type: Constant, constant: 'x'}}\n")
        .writable()
        .await
        .writes("ana", &["t", "h"])
        .user("ana", &[], &[])
        .start()
        .await
}

/// What the warehouse's sessions of the service login were last asked.
async fn asked(running: &Running) -> Vec<String> {
    let sql = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    running.admin().query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Sends a statement with each of the numbers, until the warehouse has it prepared.
async fn warm(raw: &mut Raw, statement: &str) {
    for number in ["1", "2", "3", "4", "5", "6"] {
        raw.lines(&query(&statement.replace("{}", number)), 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_sent_for_what_is_prepared() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for id in [1, 2, 3, 4, 5, 6, 7, 8, 9, -1, 0, 7, 2_147_483_647, 4] {
        let sql = format!("SELECT id, name, big FROM t WHERE id = {id} AND n < 100");
        let row = format!("D {id}|x|{id}");
        let want =
            if (1..8).contains(&id) { vec!["T", &row, "C SELECT 1", "Z I"] } else { vec!["T", "C SELECT 0", "Z I"] };
        assert_eq!(raw.lines(&query(&sql), 1).await, want, "{sql}");
    }
    let asked = asked(&running).await;
    assert!(asked.iter().any(|text| text.contains("$1") && text.contains("name")), "{asked:?}");
    // What PostgreSQL says of the columns of a Query it says here.
    raw.send(&query("SELECT id, name, big FROM t WHERE id = 3 AND n < 100")).await;
    let described = raw.ready(1).await.remove(0);
    raw.send(&query("SELECT id, name, big FROM t WHERE id = 3 AND n < 100 AND 'a' = 'a'")).await;
    assert_eq!(described, raw.ready(1).await.remove(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gives_them_up() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    warm(&mut raw, "SELECT name FROM t WHERE id = {}").await;
    let told = "select count(*) from pg_prepared_statements";
    assert_eq!(raw.lines(&query(told), 1).await, ["T", "D 0", "C SELECT 1", "Z I"]);
    let closes = [close('S', "sqlveil: 1"), sync()].concat();
    assert_eq!(raw.lines(&closes, 1).await, ["3", "Z I"]);
    for _ in 0..3 {
        assert_eq!(raw.lines(&query("SELECT name FROM t WHERE id = 3"), 1).await, ["T", "D x", "C SELECT 1", "Z I"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_have_their_tags_and_their_rows() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for round in 1..9 {
        for (sql, want) in [
            (format!("UPDATE t SET n = n + {round} WHERE id = 2"), &["C UPDATE 1", "Z I"][..]),
            (format!("UPDATE t SET n = n + -{round} WHERE id = 2 RETURNING n"), &["T", "D 2", "C UPDATE 1", "Z I"]),
            (format!("UPDATE t SET n = {round} WHERE id = 9"), &["C UPDATE 0", "Z I"]),
            (format!("INSERT INTO h (t, delta, at) VALUES ({round}, 5, CURRENT_TIMESTAMP)"), &["C INSERT 0 1", "Z I"]),
            (format!("SELECT count(*) FROM h WHERE t = {round}"), &["T", "D 1", "C SELECT 1", "Z I"]),
            (format!("INSERT INTO t VALUES ({round}, 5, 6, NULL)"), &["E 23505", "Z I"]),
            (format!("DELETE FROM t WHERE id = {} AND n > 5000", round + 1), &["C DELETE 0", "Z I"]),
        ] {
            assert_eq!(raw.lines(&query(&sql), 1).await, want, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_and_where_they_would_say() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let mut other = Raw::new(&running, "ana").await;
    let heard = async |raw: &mut Raw, sql: String| {
        raw.send(&query(&sql)).await;
        raw.ready(1).await
    };
    warm(&mut raw, "SELECT big + {} FROM t WHERE id = 3").await;
    running.admin().batch_execute("UPDATE t SET big = 9223372036854775807 WHERE id = 3").await.unwrap();
    // The other has them for the first time, as a Query.
    for sql in ["SELECT big + 7 FROM t WHERE id = 3", "SELECT big + 2000000000 FROM t WHERE id = 3"] {
        let (ours, plain) = (heard(&mut raw, sql.to_owned()).await, heard(&mut other, sql.to_owned()).await);
        assert_eq!(ours, plain, "{sql}");
        assert_eq!(ours[1].field('C').as_deref(), Some("22003"), "{ours:?}");
    }
    warm(&mut raw, "INSERT INTO h VALUES ({}, 1, NULL)").await;
    for sql in ["INSERT INTO h VALUES (1, 100, NULL)"] {
        let (ours, plain) = (heard(&mut raw, sql.to_owned()).await, heard(&mut other, sql.to_owned()).await);
        assert_eq!(ours[0].line(), "E 23514");
        assert_eq!(ours, plain);
    }
    // Positions count in the text the client sent, though the warehouse read another.
    warm(&mut raw, "SELECT n, big FROM t WHERE id = {}").await;
    running.admin().batch_execute("ALTER TABLE t RENAME COLUMN big TO large").await.unwrap();
    let sql = "SELECT n, big FROM t WHERE id = 1000";
    let (ours, plain) = (heard(&mut raw, sql.to_owned()).await, heard(&mut other, sql.to_owned()).await);
    assert_eq!(ours[0].line(), plain[0].line());
    assert_eq!(ours[0].field('P'), plain[0].field('P'));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_fail_and_go_on_as_they_would() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    warm(&mut raw, "SELECT n FROM t WHERE id = {}").await;
    warm(&mut raw, "INSERT INTO h VALUES (1, {}, now())").await;
    for (sql, want) in [
        ("BEGIN", &["C BEGIN", "Z T"][..]),
        ("SELECT n FROM t WHERE id = 4", &["T", "D 1", "C SELECT 1", "Z T"]),
        ("SAVEPOINT s", &["C SAVEPOINT", "Z T"]),
        ("INSERT INTO h VALUES (1, 200, now())", &["E 23514", "Z E"]),
        ("SELECT n FROM t WHERE id = 4", &["E 25P02", "Z E"]),
        ("ROLLBACK TO s", &["C ROLLBACK", "Z T"]),
        ("SELECT n FROM t WHERE id = 5", &["T", "D 2", "C SELECT 1", "Z T"]),
        ("SELECT n FROM nowhere WHERE id = 5", &["E 42P01", "Z E"]),
        ("SELECT n FROM t WHERE id = 5", &["E 25P02", "Z E"]),
        ("COMMIT", &["C ROLLBACK", "Z I"]),
        ("SELECT n FROM t WHERE id = 6", &["T", "D 0", "C SELECT 1", "Z I"]),
    ] {
        assert_eq!(raw.lines(&query(sql), 1).await, want, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_sent_ahead_are_answered_in_their_order() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    // Prepared while they are under way.
    let ids: Vec<i32> = (0..60).map(|n| n % 7 + 1).collect();
    let sent: Vec<u8> = ids.iter().flat_map(|id| query(&format!("SELECT big FROM t WHERE id = {id}"))).collect();
    let rows: Vec<String> = raw.lines(&sent, 60).await.into_iter().filter(|line| line.starts_with('D')).collect();
    assert_eq!(rows, ids.iter().map(|id| format!("D {id}")).collect::<Vec<_>>());
    // Between messages of the extended protocol.
    let mut mixed = Vec::new();
    for id in 1..5 {
        mixed.extend([parse("", "SELECT name FROM t WHERE id = $1"), bind("", "", &[&id.to_string()])].concat());
        mixed.extend([describe('P', ""), execute("", 0), sync()].concat());
        mixed.extend(query(&format!("SELECT big FROM t WHERE id = {id}")));
    }
    let got = raw.lines(&mixed, 8).await;
    let once = |id: i32| {
        ["1", "2", "T", "D x", "C SELECT 1", "Z I", "T"].map(str::to_owned).into_iter().chain([
            format!("D {id}"),
            "C SELECT 1".into(),
            "Z I".into(),
        ])
    };
    assert_eq!(got, (1..5).flat_map(once).collect::<Vec<_>>());
    // A Query ends the unnamed statement, whatever is sent for it.
    let lines = raw.lines(&[bind("", "", &["1"]), sync()].concat(), 1).await;
    assert_eq!(lines, ["E 26000", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_may_go_away() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for end in ["DEALLOCATE ALL", "DISCARD ALL", "SELECT 1; DEALLOCATE ALL"] {
        warm(&mut raw, "SELECT n FROM t WHERE id = {}").await;
        raw.lines(&query(end), 1).await;
        for _ in 0..6 {
            let got = raw.lines(&query("SELECT n FROM t WHERE id = 4"), 1).await;
            assert_eq!(got, ["T", "D 1", "C SELECT 1", "Z I"], "{end}");
        }
    }
    // By its name it is nobody's.
    for (sql, want) in [
        ("DEALLOCATE \"sqlveil: 1\"", "E 26000"),
        ("EXECUTE \"sqlveil: 1\"(1)", "E 26000"),
        ("PREPARE \"sqlveil: 99\" AS SELECT 1", "E 42939"),
    ] {
        for _ in 0..2 {
            assert_eq!(raw.lines(&query(sql), 1).await, [want, "Z I"], "{sql}");
        }
    }
    let got = raw.lines(&[bind("", "sqlveil: 1", &["1"]), sync()].concat(), 1).await;
    assert_eq!(got, ["E 26000", "Z I"]);
    assert_eq!(raw.lines(&query("SELECT n FROM t WHERE id = 4"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_is_read_as_it_is_now() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    warm(&mut raw, "SELECT n FROM t WHERE id = {}").await;
    running.admin().batch_execute("ALTER TABLE t ALTER COLUMN n TYPE text USING n || '!'").await.unwrap();
    for id in ["4", "5"] {
        let got = raw.lines(&query(&format!("SELECT n FROM t WHERE id = {id}")), 1).await;
        let row = format!("D {}!", id.parse::<i32>().unwrap() % 3);
        assert_eq!(got, ["T", &row, "C SELECT 1", "Z I"]);
    }
    // What is sent behind it is answered behind it.
    for ahead in [1, 2, 5] {
        warm(&mut raw, "SELECT big FROM t WHERE id = {}").await;
        let (kind, shown) = if ahead == 2 { ("bigint", "5") } else { ("text", "7") };
        let sql = format!("ALTER TABLE t ALTER COLUMN big TYPE {kind} USING {shown}");
        running.admin().batch_execute(&sql).await.unwrap();
        let mut sent = query("SELECT big FROM t WHERE id = 1");
        (0..ahead).for_each(|n| sent.extend(query(&format!("SELECT {n}"))));
        let got = raw.lines(&sent, ahead + 1).await;
        let rows: Vec<&String> = got.iter().filter(|line| line.starts_with(['D', 'E'])).collect();
        // Too much may have been sent already: then the client hears why, once.
        let first = rows[0] == "E 0A000" || *rows[0] == format!("D {shown}");
        assert!(first && rows[1..].iter().enumerate().all(|(n, row)| **row == format!("D {n}")), "{got:?}");
        let got = raw.lines(&query("SELECT big FROM t WHERE id = 1"), 1).await;
        assert_eq!(got[1], format!("D {shown}"), "{got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_number_is_prepared() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for column in 0..100 {
        for id in 1..7 {
            let sql = format!("SELECT id AS c{column} FROM t WHERE id = {id}");
            assert_eq!(raw.lines(&query(&sql), 1).await, ["T", &format!("D {id}"), "C SELECT 1", "Z I"], "{sql}");
        }
    }
    // Those of the end are in use, those of the beginning were closed and are prepared again.
    for column in [0, 99, 50, 98] {
        for id in 1..7 {
            let sql = format!("SELECT id AS c{column} FROM t WHERE id = {id}");
            assert_eq!(raw.lines(&query(&sql), 1).await, ["T", &format!("D {id}"), "C SELECT 1", "Z I"], "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_holds_for_the_next_number() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    warm(&mut raw, "SELECT name FROM t WHERE id = {}").await;
    assert_eq!(raw.lines(&query("SELECT name FROM t WHERE id = 7"), 1).await, ["T", "D x", "C SELECT 1", "Z I"]);
    let policies = running.governance().join("policies");
    let rows = std::fs::read_dir(&policies).unwrap().map(|f| f.unwrap().path());
    let rows = rows.filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("id < 8")));
    for path in rows {
        let text = std::fs::read_to_string(&path).unwrap().replace("id < 8", "id < 7");
        std::fs::write(&path, text).unwrap();
    }
    running
        .eventually("the policy is in force", async |_| {
            raw.lines(&query("SELECT name FROM t WHERE id = 7"), 1).await == ["T", "C SELECT 0", "Z I"]
        })
        .await;
    for id in [6, 7, 7, 7, 7, 7, 7] {
        let want: &[&str] = if id < 7 { &["T", "D x", "C SELECT 1", "Z I"] } else { &["T", "C SELECT 0", "Z I"] };
        assert_eq!(raw.lines(&query(&format!("SELECT name FROM t WHERE id = {id}")), 1).await, want);
    }
}
