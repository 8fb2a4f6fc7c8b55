//! Every grammatical form that real statements have, against what PostgreSQL does with it.

use crate::world::{count, refused, rows, running};

/// Statements that a caller without policies sends: through the proxy they do what they do directly, on a twin of the database.
const FORMS: &[&str] = &[
    "INSERT INTO dept (name, budget) VALUES ('a', 1), ('b', DEFAULT) RETURNING id, name, budget",
    "INSERT INTO dept VALUES (DEFAULT, 'c', 2) RETURNING *",
    "INSERT INTO dept AS d (id, name) VALUES (77, 'd') RETURNING d.id, d.*",
    "INSERT INTO dept (name) SELECT 'x' || i FROM generate_series(1, 3) i",
    "INSERT INTO dept (name) VALUES ('t1') UNION ALL SELECT name || 't2' FROM dept WHERE id = 3",
    "INSERT INTO log DEFAULT VALUES RETURNING id",
    "INSERT INTO log (id, msg) OVERRIDING SYSTEM VALUE VALUES (900, 'm') RETURNING *",
    "INSERT INTO log (id, msg) VALUES (901, 'm')",
    "INSERT INTO log OVERRIDING USER VALUE VALUES (5, 'over', NULL, 1) RETURNING msg",
    "INSERT INTO emp (id, name, nums[1], nums[2]) VALUES (300, 'n', 1, 2) RETURNING nums",
    "WITH s AS (SELECT 500 AS id) INSERT INTO acc SELECT id, 1 FROM s RETURNING *",
    "INSERT INTO acc VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET balance = acc.balance + excluded.balance RETURNING balance",
    "INSERT INTO acc AS a VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET (balance) = ROW(a.balance + 1) WHERE a.balance > 0 RETURNING a.balance",
    "INSERT INTO acc VALUES (1, 5) ON CONFLICT DO NOTHING RETURNING *",
    "INSERT INTO acc VALUES (1, 5) ON CONFLICT ON CONSTRAINT acc_pkey DO UPDATE SET balance = 0",
    "INSERT INTO acc VALUES (1, 5) ON CONFLICT (balance) DO NOTHING",
    "INSERT INTO dept (name) VALUES ('dept1') ON CONFLICT (name) DO UPDATE SET budget = coalesce(dept.budget, 0) + 1, name = excluded.name RETURNING id, budget",
    "INSERT INTO dept (name, budget) VALUES ('z', 1, 2)",
    "INSERT INTO dept (name, nope) VALUES ('z', 1)",
    "INSERT INTO dept VALUES (1, 'z', 1, 2)",
    "UPDATE dept SET budget = budget * 2, name = upper(name) WHERE id = 2 RETURNING id, name, budget",
    "UPDATE ONLY dept AS d SET budget = DEFAULT WHERE d.id = 3",
    "UPDATE dept SET (name, budget) = ('q', 7) WHERE id = 4 RETURNING *",
    "UPDATE dept SET (name, budget) = (SELECT name || '!', 9 FROM emp WHERE emp.id = dept.id) WHERE id = 4 RETURNING dept.*",
    "UPDATE emp SET nums[2] = 9, doc = jsonb_set(doc, '{a}', '5') WHERE id < 3 RETURNING nums, doc",
    "UPDATE emp e SET note = d.name FROM dept d WHERE d.id = e.id RETURNING e.id, e.note, d.id",
    "UPDATE emp SET note = x.v FROM (VALUES (1, 'one'), (2, 'two')) AS x (k, v) WHERE emp.id = x.k RETURNING *",
    "UPDATE emp SET note = u.v FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS u (k, v) WHERE id = u.k RETURNING id, note",
    "UPDATE emp SET note = v FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS u (k, v) WHERE id = k RETURNING id, note",
    "UPDATE emp SET note = (SELECT count(*)::text FROM emp e2 WHERE e2.dept = emp.dept), born = now()::date WHERE id = 1",
    "UPDATE emp SET note = 'x' FROM dept JOIN acc USING (id) WHERE emp.id = dept.id AND acc.balance > 0 RETURNING emp.id, dept.id",
    "UPDATE public.emp SET note = 'y' WHERE public.emp.id = 5 RETURNING public.emp.note, emp.id",
    "UPDATE emp SET note = 'exists' WHERE EXISTS (SELECT FROM dept WHERE dept.id = emp.id AND name LIKE 'd%') RETURNING id",
    "UPDATE emp SET note = (SELECT d.name AS note FROM dept d ORDER BY note DESC LIMIT 1) WHERE id = 6 RETURNING note",
    "UPDATE emp SET doc = (SELECT jsonb_agg(x) FROM (SELECT d.id FROM dept d ORDER BY d.id) x) WHERE id = 6 RETURNING doc",
    "UPDATE acc SET balance = balance + 1",
    "UPDATE acc SET balance = 'x' WHERE id = 1",
    "UPDATE acc SET balance = nope WHERE id = 1",
    "UPDATE acc SET balance = 1 / 0 WHERE id = 1",
    "DELETE FROM emp WHERE id = 9 RETURNING id, name, upper(name) AS u, 1 + 1",
    "DELETE FROM emp AS e USING dept d, acc WHERE e.id = d.id AND acc.id = d.id AND d.id = 5 RETURNING e.id, acc.balance",
    "DELETE FROM acc WHERE id BETWEEN 900 AND 910",
    "DELETE FROM acc WHERE id IN (SELECT id FROM emp WHERE name LIKE 'name1%')",
    "WITH moved AS (DELETE FROM acc WHERE id = 800 RETURNING *) INSERT INTO acc SELECT id + 10000, balance FROM moved RETURNING *",
    "WITH a AS (UPDATE acc SET balance = 5 WHERE id = 700 RETURNING id, balance), b AS (INSERT INTO acc VALUES (20000, 0) RETURNING id) SELECT a.id, a.balance, b.id FROM a, b",
    "WITH a AS (UPDATE acc SET balance = 6 WHERE id = 700) SELECT balance FROM acc WHERE id = 700",
    "MERGE INTO acc a USING (VALUES (1, 10), (30000, 20)) AS s (id, v) ON a.id = s.id WHEN MATCHED THEN UPDATE SET balance = a.balance + s.v WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (s.id, s.v)",
    "MERGE INTO acc USING dept ON acc.id = dept.id WHEN MATCHED AND dept.id = 2 THEN DELETE WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (dept.id, 1)",
    "MERGE INTO acc USING (SELECT 40000 AS id) s ON acc.id = s.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    "INSERT INTO part VALUES (5, 'blue', 'x'), (500, 'red', 'y') RETURNING *",
    "UPDATE part SET id = id + 100 WHERE id = 5 RETURNING id",
    "INSERT INTO part VALUES (5000, 'blue', 'x')",
    "DELETE FROM part WHERE note = 'n'",
    "TRUNCATE acc",
    "TRUNCATE TABLE log CONTINUE IDENTITY",
    "INSERT INTO log (msg) VALUES ('again') RETURNING id",
    "PREPARE up (int, text) AS UPDATE emp SET note = $2 WHERE id = $1 RETURNING note",
    "EXECUTE up (3, 'prepared')",
    "PREPARE ins AS INSERT INTO acc VALUES (1, 2)",
    "EXECUTE ins",
    "EXECUTE ins",
    "INSERT INTO dept (name) VALUES (NULL)",
    "INSERT INTO dept (name, budget) VALUES ('neg', -1)",
    "INSERT INTO dept (name) VALUES ('dept2'), ('dept2')",
    "UPDATE dept SET budget = 1e20",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_does_what_it_does_directly() {
    let (through, twin) = (running().await, running().await);
    let (max, direct) = (through.client("max").await, twin.admin());
    let shown = |answer: Result<Vec<tokio_postgres::SimpleQueryMessage>, tokio_postgres::Error>| match answer {
        Ok(messages) => format!("{messages:?}"),
        Err(error) => {
            let error = error.as_db_error().expect("an answer");
            let position = match error.position() {
                Some(tokio_postgres::error::ErrorPosition::Original(at)) => format!(" @{at}"),
                _ => String::new(),
            };
            format!("{} {}{position} {:?}", error.code().code(), error.message(), error.detail())
        }
    };
    let mut different = String::new();
    for sql in FORMS {
        let (here, there) = (shown(max.simple_query(sql).await), shown(direct.simple_query(sql).await));
        if here != there {
            different.push_str(&format!("{sql}\n  proxy  {here}\n  direct {there}\n"));
        }
    }
    let dump = "SELECT 'acc', a::text FROM acc a UNION ALL SELECT 'emp', e::text FROM emp e UNION ALL SELECT 'dept', d::text FROM dept d
        UNION ALL SELECT 'log', l::text FROM log l UNION ALL SELECT 'part', p::text FROM part p ORDER BY 1, 2";
    let (here, there) = (rows(through.admin(), dump).await, rows(direct, dump).await);
    assert!(different.is_empty(), "{different}");
    assert_eq!(here, there);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused() {
    let running = running().await;
    let (ana, eve) = (running.client("ana").await, running.client("eve").await);
    for (sql, code) in [
        ("UPDATE v_dept SET name = 'x'", "0A000"),
        ("INSERT INTO vault VALUES (1)", "42P01"),
        ("DELETE FROM pg_class", "42501"),
        ("UPDATE emp SET note = 'x' WHERE CURRENT OF c", "0A000"),
        ("UPDATE emp SET note = emp.*::text", "0A000"),
        ("DELETE FROM emp RETURNING emp", "0A000"),
        ("DELETE FROM emp RETURNING ctid", "42703"),
        ("DELETE FROM emp RETURNING emp.xmin", "42703"),
        ("DELETE FROM emp RETURNING _sv.ssn", "42P01"),
        ("DELETE FROM emp RETURNING ssn(emp)", "0A000"),
        ("INSERT INTO log (msg) VALUES ('x') ON CONFLICT (id) DO UPDATE SET msg = to_jsonb(excluded)::text", "0A000"),
        ("INSERT INTO log (msg) VALUES ('x') ON CONFLICT (id) DO UPDATE SET msg = excluded.ctid::text", "0A000"),
        ("INSERT INTO log (msg) VALUES ('x') ON CONFLICT (id) DO UPDATE SET msg = ROW(excluded.*)::text", "0A000"),
        ("UPDATE emp AS _sv SET note = 'x'", "0A000"),
        ("MERGE INTO acc USING dept ON acc.id = dept.id WHEN MATCHED THEN DELETE RETURNING *", "0A000"),
        ("MERGE INTO acc USING dept ON acc.id = dept.id WHEN NOT MATCHED BY SOURCE THEN DELETE", "0A000"),
        ("TRUNCATE emp", "42501"),
        ("TRUNCATE dept CASCADE", "0A000"),
        ("TRUNCATE acc, vault", "42P01"),
        ("COPY emp FROM STDIN", "0A000"),
        ("COPY acc FROM PROGRAM 'id'", "42501"),
        ("COPY acc FROM '/etc/passwd'", "42501"),
        ("COPY acc FROM STDIN WHERE id > 1", "0A000"),
        ("COPY acc (nope) FROM STDIN", "42703"),
        ("UPDATE emp SET note = f.note FROM emp f WHERE f.id = emp.id AND pg_sleep(1) IS NULL", "42501"),
        ("INSERT INTO acc SELECT 1, 1 FROM vault", "42P01"),
        ("WITH w AS (DELETE FROM acc) SELECT * FROM w", "0A000"),
        ("SELECT * FROM (DELETE FROM acc RETURNING *) d", "42601"),
    ] {
        let found = refused(&ana, sql).await;
        assert!(found.starts_with(code), "{sql}: {found}");
    }
    for sql in [
        "INSERT INTO acc VALUES (5000, 1)",
        "UPDATE acc SET balance = 1",
        "DELETE FROM acc",
        "TRUNCATE acc",
        "COPY acc FROM STDIN",
        "MERGE INTO acc USING dept ON acc.id = dept.id WHEN MATCHED THEN DELETE",
        "WITH w AS (DELETE FROM acc RETURNING 1) SELECT 1",
        "PREPARE p AS DELETE FROM acc",
    ] {
        assert_eq!(refused(&eve, sql).await, "42501 permission denied for table acc", "{sql}");
    }
    assert_eq!(count(&ana, "TRUNCATE acc").await, 0);
}
