//! Two warehouses that differ in what is hidden alone, and hold the same keys: every statement that writes is answered alike.

use crate::support::{Stage, long};
use crate::world::{rows, running};
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Hidden cells and rows, otherwise: values that raise in other places.
const OTHERWISE: &str = "UPDATE emp SET note = (ARRAY['1', '', '-7', '1e9'])[1 + id % 4], name = 'n', nums = '{}', doc = '[]', born = 'infinity', secret = NULL, ssn = '' WHERE dept = 'red';
    UPDATE emp SET salary = 0, badge = 'o' || id; UPDATE item SET qty = 2147483647 WHERE dept = 'red'; UPDATE part SET note = '7' WHERE dept = 'red';
    ALTER TABLE fired DISABLE TRIGGER move; UPDATE fired SET note = '7' WHERE dept = 'red'; ALTER TABLE fired ENABLE TRIGGER move; UPDATE vault SET code = 'x'";

struct Dice(u64);

impl Dice {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[usize::try_from((self.0 >> 33) % of.len() as u64).unwrap()]
    }

    /// A condition or value over `t`, an `emp`.
    fn expression(&mut self) -> &'static str {
        self.one(&[
            "t.note::int > 12",
            "1 / (length(t.note) - 2) > 0",
            "1 / t.nums[1] = 1",
            "t.salary > 5",
            "1 / (coalesce(t.salary, 1)) = 1",
            "t.badge = 'xxx'",
            "length(t.ssn) / (length(t.ssn) - 11) = 1",
            "t.ssn::int = 1",
            "(t.doc ->> 'a')::int = 1",
            "t.born + 1000000000 > now()",
            "t.name ~ t.note",
            "t.id < 12",
            "t.id = 3",
            "t.id = 4",
            "t.note LIKE '1%'",
            "t.id IN (SELECT i.id FROM item i WHERE i.qty + 1 > 5)",
            "EXISTS (SELECT FROM emp e WHERE e.id = t.id + 1 AND e.note::int > 0)",
            "(SELECT count(*) FROM fired f WHERE f.note = t.note) = 0",
            "t.dept = 'red'",
            "NOT (t.dept = 'blue' AND t.note::int < 15)",
        ])
    }

    fn statement(&mut self) -> String {
        let (a, b, c) = (self.expression(), self.expression(), self.expression());
        let value =
            self.one(&["t.note", "t.note::int::text", "'x'", "upper(t.name)", "(1 / (t.id - 4))::text", "NULL"]);
        let returning = self.one(&[
            "",
            " RETURNING *",
            " RETURNING t.id, t.note",
            " RETURNING t.note::int, t.ssn",
            " RETURNING 1 / (t.id - 4)",
        ]);
        let form = self.one(&["u", "u", "d", "d", "f", "g", "i", "c", "m", "w", "s", "x"]);
        let dept = self.one(&["'blue'", "'red'", "DEFAULT", "t.dept"]);
        match form {
            "u" => format!("UPDATE emp t SET note = {value} WHERE {a} AND {b}{returning}"),
            "x" => format!("UPDATE emp AS t SET dept = {dept}, salary = 1, badge = 'y' WHERE {a}{returning}"),
            "d" => format!("DELETE FROM emp t WHERE ({a} OR {b}) AND {c}{returning}"),
            "f" => format!(
                "UPDATE emp t SET note = i.qty::text FROM item i WHERE i.id = t.id AND {a} AND 10 / i.qty >= 0{returning}"
            ),
            "g" => format!("DELETE FROM emp t USING part p WHERE p.id = t.id * 10 AND p.note = 'n' AND {a}{returning}"),
            "i" => format!(
                "INSERT INTO log (msg, code) SELECT t.note, t.note::int FROM emp t WHERE {a} RETURNING msg, code"
            ),
            "c" => format!(
                "INSERT INTO emp AS t (id, name) SELECT d.id, 'c' FROM dept d ON CONFLICT (id) DO UPDATE SET note = {value} WHERE {a}{returning}"
            ),
            "m" => format!(
                "MERGE INTO emp t USING dept d ON d.id = t.id AND {a} WHEN MATCHED AND {b} THEN DELETE WHEN MATCHED THEN UPDATE SET note = {value}"
            ),
            "w" => format!(
                "WITH w AS (UPDATE emp t SET note = {value} WHERE {a} RETURNING t.id, t.note, t.ssn) SELECT count(*), max(note) FROM w WHERE note::int > 0"
            ),
            _ => format!(
                "WITH w AS (DELETE FROM emp t WHERE {a} RETURNING *) INSERT INTO log (msg) SELECT w.note || w.name FROM w RETURNING msg"
            ),
        }
    }
}

async fn answer(client: &Client, sql: &str) -> String {
    client.batch_execute("BEGIN").await.unwrap();
    let said = match client.simple_query(sql).await {
        Err(error) => format!("{:?}", error.as_db_error().expect("an answer")),
        Ok(messages) => {
            let (mut rows, mut count) = (Vec::new(), 0);
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect::<Vec<_>>());
                    }
                    SimpleQueryMessage::CommandComplete(n) => count = n,
                    _ => {}
                }
            }
            rows.sort();
            format!("{count} {rows:?}")
        }
    };
    client.batch_execute("ROLLBACK").await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_does_not_matter() {
    let (one, other) = (running().await, running().await);
    other.admin().batch_execute(OTHERWISE).await.unwrap();
    let settle = "UPDATE emp SET salary = salary; VACUUM ANALYZE";
    for running in [&one, &other] {
        for statement in settle.split("; ") {
            running.admin().batch_execute(statement).await.unwrap();
        }
    }
    let (here, there) = (one.client("ana").await, other.client("ana").await);
    let mut dice = Dice(77);
    let (mut different, mut fine) = (String::new(), 0);
    let count = if long() { 5_000 } else { 250 };
    for _ in 0..count {
        let sql = dice.statement();
        let (a, b) = (answer(&here, &sql).await, answer(&there, &sql).await);
        fine += usize::from(!a.starts_with("DbError"));
        if a != b {
            different.push_str(&format!("{sql}\n  {a}\n  {b}\n"));
        }
        if different.len() > 6000 {
            break;
        }
    }
    assert!(different.is_empty(), "{different}");
    assert!(fine * 4 > count, "only {fine} of {count} did something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_ends_prepared_statements_too() {
    let until = SystemTime::now() + Duration::from_secs(15);
    let until = jiff::Timestamp::try_from(until).unwrap();
    let running = Stage::new()
        .await
        .writable()
        .await
        .sql("CREATE TABLE acc (id int PRIMARY KEY, balance int); INSERT INTO acc VALUES (1, 0)")
        .await
        .sources(&[("acc", "{}")])
        .policy(crate::support::ANYONE)
        .user("ana", &[], &[])
        .grant(&format!("dataSource: acc\nuser: ana\naccessGrant: WRITE\nexpiration: {until}\n"))
        .start()
        .await;
    let ana = running.client("ana").await;
    let update = ana.prepare("UPDATE acc SET balance = balance + 1 WHERE id = $1").await.unwrap();
    ana.batch_execute("PREPARE p AS UPDATE acc SET balance = balance + 1").await.unwrap();
    assert_eq!(ana.execute(&update, &[&1]).await.unwrap(), 1);
    ana.batch_execute("EXECUTE p").await.unwrap();
    let left = until.duration_since(jiff::Timestamp::now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(400)).await;
    let refused = ana.execute(&update, &[&1]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "42501");
    assert!(ana.batch_execute("EXECUTE p").await.is_err());
    assert_eq!(rows(&ana, "SELECT balance FROM acc").await, ["2"]);
}
