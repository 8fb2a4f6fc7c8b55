//! Nothing hidden comes back by writing, and no mask takes the place of a value.

use crate::world::{count, error, refused, rows, running};

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_does_not_overwrite_a_value() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    let before = rows(admin, "SELECT ssn, salary, badge FROM emp ORDER BY id").await;
    for sql in [
        "UPDATE emp SET note = ssn",
        "UPDATE emp SET note = lower(emp.badge)",
        "UPDATE emp SET ssn = ssn",
        "UPDATE emp SET (ssn, note) = (SELECT e.ssn, 'x' FROM emp e WHERE e.id = emp.id)",
        "UPDATE emp SET note = (SELECT max(e.ssn) FROM emp e)",
        "UPDATE emp SET note = e.ssn FROM emp e WHERE e.id = emp.id",
        "UPDATE emp SET note = x.s FROM (SELECT id, ssn AS s FROM emp) x WHERE x.id = emp.id",
        "WITH x AS (SELECT id, ssn AS s FROM emp) UPDATE emp SET note = x.s FROM x WHERE x.id = emp.id",
        "WITH x AS (DELETE FROM emp WHERE id = 2 RETURNING ssn AS s) UPDATE emp SET note = x.s FROM x",
        "INSERT INTO emp SELECT * FROM emp ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        "INSERT INTO emp (id, name, note) SELECT id, name, ssn FROM emp ON CONFLICT (id) DO UPDATE SET note = excluded.note",
        "INSERT INTO emp (id, name) VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET note = emp.ssn",
        "MERGE INTO emp USING (SELECT e.id, e.ssn FROM emp e) s ON s.id = emp.id WHEN MATCHED THEN UPDATE SET note = s.ssn",
        "UPDATE log SET msg = to_jsonb(l)::text FROM log l WHERE l.id = log.id",
    ] {
        let found = refused(&ana, sql).await;
        assert!(found.starts_with("42501 cannot write a masked value to column"), "{sql}: {found}");
    }
    // What an ORM read and writes back.
    let shown = rows(&ana, "SELECT ssn, badge FROM emp WHERE id = 2").await[0].clone();
    let (ssn, badge) = shown.split_once('|').unwrap();
    for sql in [
        format!("UPDATE emp SET ssn = '{ssn}' WHERE id = 2"),
        format!("UPDATE emp SET badge = '{badge}', note = 'n' WHERE id = 2"),
        "UPDATE emp SET salary = NULL WHERE id = 2".to_owned(),
        format!("INSERT INTO emp (id, name) VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET badge = '{badge}'"),
        format!(
            "MERGE INTO emp USING dept ON emp.id = 2 AND dept.id = 2 WHEN MATCHED THEN UPDATE SET badge = '{badge}'"
        ),
    ] {
        let found = refused(&ana, &sql).await;
        assert!(found.starts_with("42501 cannot write a masked value to column"), "{sql}: {found}");
    }
    let statement = ana.prepare("UPDATE emp SET badge = $1 WHERE id = $2").await.unwrap();
    let refused = ana.execute(&statement, &[&badge, &2]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "42501");
    assert_eq!(rows(admin, "SELECT ssn, salary, badge FROM emp ORDER BY id").await, before);
    // A new value is written.
    assert_eq!(ana.execute(&statement, &[&"new", &2]).await.unwrap(), 1);
    assert_eq!(count(&ana, "UPDATE emp SET ssn = '999-99-9999', salary = 5 WHERE id = 2").await, 1);
    assert_eq!(count(&ana, "UPDATE emp SET salary = 7.5 WHERE id = 2").await, 1);
    assert_eq!(rows(admin, "SELECT ssn, salary, badge FROM emp WHERE id = 2").await, ["999-99-9999|7.50|new"]);
    assert_eq!(rows(&ana, "SELECT salary, badge FROM emp WHERE id = 2").await, ["NULL|xxx"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_cells_and_rows_do_not_come_back() {
    let running = running().await;
    let ana = running.client("ana").await;
    let admin = running.admin();
    for sql in [
        "UPDATE emp SET note = note WHERE 1 / (note::int - 1000) <> 7",
        "UPDATE emp SET note = note WHERE note::int > 0 RETURNING note",
        "DELETE FROM emp WHERE note::int = -1",
        "DELETE FROM emp USING dept WHERE emp.note::int = dept.id + 100000 RETURNING emp.note",
        "UPDATE emp SET name = name WHERE ssn LIKE 'SECRET%' RETURNING ssn",
        "UPDATE emp SET name = name WHERE id = 2 RETURNING ssn, badge, (SELECT e.ssn FROM emp e WHERE e.id = emp.id)",
        "UPDATE emp SET name = name WHERE id = 1 RETURNING *",
        "DELETE FROM emp WHERE id = 1 RETURNING *",
        "INSERT INTO emp (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = emp.note RETURNING *",
        "INSERT INTO emp (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = 'x' WHERE emp.note::int = 1",
        "INSERT INTO emp (id, name) VALUES (1, 'x') ON CONFLICT (id) DO NOTHING RETURNING *",
        "INSERT INTO emp (id, name) VALUES (1, 'x')",
        "MERGE INTO emp USING dept ON emp.note::int = dept.id WHEN MATCHED THEN DELETE",
        "MERGE INTO emp USING dept ON emp.id = dept.id AND 1 / (length(emp.note) - 6) = 5 WHEN MATCHED THEN UPDATE SET note = emp.note",
        "WITH w AS (UPDATE emp SET name = name RETURNING *) SELECT * FROM w WHERE note::int < 0",
        "WITH w AS (DELETE FROM emp RETURNING ssn, secret, note) SELECT count(*) FROM w WHERE ssn LIKE 'SECRET%'",
        "UPDATE item SET qty = qty WHERE 10 / (id % 2 - 1) = 0",
        "UPDATE part SET note = note WHERE 1 / (CASE dept WHEN 'red' THEN 0 ELSE 1 END) = 5",
        "DELETE FROM fired WHERE 1 / (CASE dept WHEN 'red' THEN 0 ELSE 1 END) = 5",
        "UPDATE emp SET born = 'x' || note WHERE id = 1",
        "INSERT INTO log (msg) SELECT secret FROM emp WHERE note::int = -1",
        "UPDATE emp SET note = 'x' WHERE (SELECT e.note::int FROM emp e WHERE e.id = emp.id) = -1",
    ] {
        admin.batch_execute("BEGIN; ROLLBACK").await.unwrap();
        ana.batch_execute("BEGIN").await.unwrap();
        let said = match ana.simple_query(sql).await {
            Ok(answer) => format!("{answer:?}"),
            Err(e) => format!("{:?}", e.as_db_error().expect("an answer")),
        };
        ana.batch_execute("ROLLBACK").await.unwrap();
        let hidden = ["SECRET", "division", "22012", "22P02", "_sv", "current_setting", "sqlveil"];
        for word in hidden {
            assert!(!said.contains(word) || sql.contains(word), "{sql}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_and_triggers_tell_nothing_hidden() {
    let running = running().await;
    let (ana, max) = (running.client("ana").await, running.client("max").await);
    let taken = error(&ana, "INSERT INTO emp (id, name) VALUES (1, 'x')").await;
    assert_eq!(
        (taken.code().code(), taken.message()),
        ("23505", "duplicate key value violates unique constraint \"emp_pkey\"")
    );
    assert_eq!((taken.detail(), taken.table(), taken.constraint()), (None, None, None));
    let missing = error(&ana, "UPDATE emp SET name = NULL WHERE id = 2").await;
    assert_eq!((missing.code().code(), missing.detail()), ("23502", None));
    assert_eq!(missing.message(), "null value in column \"name\" of relation \"emp\" violates not-null constraint");
    // A hidden table refers to this one.
    let referred = error(&max, "DELETE FROM dept WHERE id = 1").await;
    assert_eq!(referred.code().code(), "23503");
    assert_eq!(referred.message(), "update or delete violates a foreign key constraint on another table");
    assert!(!format!("{referred:?}").contains("child"), "{referred:?}");
    let truncated = error(&max, "TRUNCATE dept").await;
    assert!(!format!("{truncated:?}").contains("child"), "{truncated:?}");
    // Where nothing is hidden PostgreSQL's own words stay.
    let whole = error(&ana, "INSERT INTO dept (name, budget) VALUES ('n', -5)").await;
    assert!(whole.detail().unwrap().starts_with("Failing row contains"), "{whole:?}");
    let nowhere = error(&ana, "INSERT INTO part VALUES (9999, 'blue', 'n')").await;
    assert_eq!((nowhere.message(), nowhere.detail()), ("no partition of relation \"part\" found for row", None));
    let inner = error(&ana, "INSERT INTO part VALUES (20, 'blue', 'n'), (20, 'blue', 'n')").await;
    assert!(!format!("{inner:?}").contains("part_low"), "{inner:?}");
    let raised = error(&ana, "INSERT INTO fired VALUES (60, 'blue', 'boom')").await;
    assert_eq!(
        (raised.code().code(), raised.message()),
        ("P0001", "a trigger or function of the warehouse raised an error")
    );
    assert!(!format!("{raised:?}").contains("SECRET"), "{raised:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explaining_a_write_neither_writes_nor_tells() {
    let running = running().await;
    let (ana, eve, admin) = (running.client("ana").await, running.client("eve").await, running.admin());
    for (client, sql) in [
        (&eve, "EXPLAIN ANALYZE DELETE FROM acc"),
        (&eve, "EXPLAIN (ANALYZE, COSTS OFF) WITH w AS (DELETE FROM acc RETURNING 1) SELECT 1"),
        (&ana, "EXPLAIN ANALYZE DELETE FROM emp"),
        (&ana, "EXPLAIN ANALYZE UPDATE emp SET note = 'x'"),
    ] {
        assert!(client.simple_query(sql).await.is_err(), "{sql}");
    }
    let said = format!("{:?}", ana.simple_query("EXPLAIN VERBOSE UPDATE emp SET note = 'x' WHERE ssn = 'y'").await);
    assert!(!said.contains("_sv") && !said.contains("sha256") && !said.contains("current_setting"), "{said}");
    for (sql, first) in [
        ("UPDATE emp SET note = 'x' WHERE ssn = 'y'", "Update on emp"),
        ("DELETE FROM emp WHERE id = 1", "Delete on emp"),
        ("INSERT INTO emp (id, note) SELECT id, note FROM emp", "Insert on emp"),
        ("WITH w AS (DELETE FROM emp RETURNING id) SELECT * FROM w", "CTE Scan on w"),
    ] {
        for form in ["TEXT", "JSON", "XML", "YAML"] {
            let said = rows(&ana, &format!("EXPLAIN (FORMAT {form}) {sql}")).await;
            assert!(form != "TEXT" || said[0].starts_with(first), "{sql}: {said:?}");
            let all = said.join("\n");
            assert!(!all.contains("_sv") && !all.contains("rows="), "{sql}: {all}");
        }
    }
    assert_eq!(rows(admin, "SELECT count(*) FROM acc").await, ["1000"]);
    assert_eq!(rows(admin, "SELECT count(*) FROM emp WHERE note = 'x'").await, ["0"]);
}
