//! Rows of temporary tables: written as on a bare server, from decided sources alone.

use crate::Caller;
use crate::wire::{bind, execute, parse, sync};

#[test]
fn rows_are_written_in_every_form() {
    let mut ana = Caller::new("ana");
    ana.run("CREATE TEMP TABLE t (id int PRIMARY KEY, note text DEFAULT 'none', n int GENERATED ALWAYS AS (id * 2) STORED, tags int[])");
    assert_eq!(ana.run("INSERT INTO t VALUES (1, 'one'), (2, DEFAULT), (3, 'three')"), "INSERT 0 3");
    assert_eq!(ana.run("INSERT INTO t (id, note) SELECT id + 10, ssn FROM emp"), "INSERT 0 5");
    assert_eq!(
        ana.rows("SELECT id, note, n FROM t ORDER BY id LIMIT 4"),
        ["1|one|2", "2|none|4", "3|three|6", "11|hidden|22"]
    );
    assert_eq!(
        ana.0.simple("INSERT INTO t AS x (id) VALUES (4) RETURNING x.*, x.id + 1 AS next").rows(),
        ["4|none|8|∅|5"]
    );
    assert_eq!(ana.0.simple("INSERT INTO t (id, note) VALUES (4, 'again') ON CONFLICT (id) DO UPDATE SET note = t.note || excluded.note WHERE t.id > 0 RETURNING note").rows(), ["noneagain"]);
    assert_eq!(ana.run("INSERT INTO t (id) VALUES (4) ON CONFLICT DO NOTHING"), "INSERT 0 0");
    assert_eq!(
        ana.run("UPDATE t SET note = e.ssn, tags[1] = e.id FROM emp e WHERE e.id = t.id AND t.note <> 'x'"),
        "UPDATE 4"
    );
    assert_eq!(
        ana.run("UPDATE t SET (note, id) = (SELECT max(name), 100 FROM emp) WHERE pg_temp.t.id = 1"),
        "UPDATE 1"
    );
    assert_eq!(ana.rows("SELECT note, id FROM t WHERE id = 100"), ["name5|100"]);
    assert_eq!(ana.run("DELETE FROM t USING emp e WHERE t.id = e.id + 10 AND e.dept = 'blue'"), "DELETE 5");
    assert_eq!(ana.0.simple("DELETE FROM ONLY t WHERE id = 100 RETURNING *").rows(), ["100|name5|200|{1}"]);
    assert_eq!(
        ana.run("MERGE INTO t USING emp e ON t.id = e.id WHEN MATCHED AND e.id = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET note = e.name \
                 WHEN NOT MATCHED THEN INSERT (id, note) VALUES (e.id, 'new ' || e.ssn)"),
        "MERGE 5"
    );
    assert_eq!(ana.rows("SELECT id, note FROM t ORDER BY id"), ["1|new hidden", "3|name3", "4|name4", "5|new hidden"]);
    assert_eq!(
        ana.0
            .simple("WITH d AS (DELETE FROM t WHERE id > 3 RETURNING id, note) SELECT count(*), max(note) FROM d")
            .rows(),
        ["2|new hidden"]
    );
    assert_eq!(ana.0.simple("WITH i AS (INSERT INTO t SELECT id + 50 FROM emp RETURNING id), e AS (SELECT ssn FROM emp) SELECT count(*), max(ssn) FROM i, e").rows(), ["25|hidden"]);
    assert_eq!(ana.run("TRUNCATE t RESTART IDENTITY"), "TRUNCATE TABLE");
    assert_eq!(ana.rows("SELECT count(*) FROM t"), ["0"]);
    // The warehouse's own words about the caller's own table.
    assert_eq!(ana.run("INSERT INTO t VALUES (1)"), "INSERT 0 1");
    let error = ana.0.simple("INSERT INTO t VALUES (1)");
    let error = error.error().unwrap();
    assert_eq!(error.field(b'C').unwrap(), "23505");
    assert_eq!(error.field(b'D').unwrap(), "Key (id)=(1) already exists.");
    assert_eq!(ana.code("INSERT INTO t (n) VALUES (1)"), "428C9");
    assert_eq!(ana.code("SELECT ctid FROM t"), "42703");
    assert_eq!(ana.code("UPDATE t SET note = 'x' WHERE ctid = '(0,1)'"), "42703");
    assert_eq!(ana.code("DELETE FROM t RETURNING xmin"), "42703");
}

#[test]
fn sources_are_decided() {
    let mut ana = Caller::new("ana");
    ana.run("CREATE TEMP TABLE t (a text, b text)");
    for (sql, code) in [
        ("INSERT INTO t SELECT code FROM vault", "42P01"),
        ("INSERT INTO t VALUES ((SELECT code FROM vault LIMIT 1))", "42P01"),
        ("UPDATE t SET a = v.code FROM vault v", "42P01"),
        ("DELETE FROM t USING vault v WHERE v.code = t.a", "42P01"),
        ("MERGE INTO t USING vault v ON v.code = t.a WHEN MATCHED THEN DELETE", "42P01"),
        ("INSERT INTO t VALUES (pg_read_file('PG_VERSION'))", "42501"),
        ("UPDATE t SET a = pg_read_file('PG_VERSION')", "42501"),
        ("DELETE FROM t RETURNING pg_read_file('PG_VERSION')", "42501"),
        ("INSERT INTO t VALUES ('x') ON CONFLICT DO UPDATE SET a = 'y'", "42601"),
        ("WITH d AS (DELETE FROM emp RETURNING ssn) INSERT INTO t SELECT ssn FROM d", "42501"),
        ("COPY t FROM PROGRAM 'id'", "42501"),
        ("COPY t FROM '/etc/passwd'", "42501"),
        ("TRUNCATE t, emp", "42501"),
    ] {
        assert_eq!(ana.code(sql), code, "{sql}");
    }
    // What a row policy hides meets no expression of a statement that writes.
    ana.run("CREATE TEMP TABLE one (x int)");
    ana.run("INSERT INTO one VALUES (1)");
    let red = "1 / (CASE WHEN e.dept = 'red' THEN 0 ELSE 1 END) = 1";
    assert_eq!(ana.run(&format!("UPDATE one SET x = 2 FROM emp e WHERE {red}")), "UPDATE 1");
    assert_eq!(ana.run(&format!("DELETE FROM one USING emp e WHERE {red}")), "DELETE 1");
    assert_eq!(ana.run(&format!("INSERT INTO one SELECT 1 FROM emp e WHERE {red}")), "INSERT 0 5");
    assert_eq!(
        ana.run(&format!(
            "MERGE INTO one USING emp e ON {red} AND one.x < 0 WHEN NOT MATCHED AND {red} THEN INSERT VALUES (e.id)"
        )),
        "MERGE 5"
    );
}

#[test]
fn prepared_and_pipelined_writes() {
    let mut ana = Caller::new("ana");
    let insert = |a: &str| [bind("", "i", &[a, "x"], 0), execute("", 0)].concat();
    let frames = [
        parse("c", "CREATE TEMP TABLE batch (a int, b text)", &[]),
        bind("", "c", &[], 0),
        execute("", 0),
        parse("i", "INSERT INTO batch VALUES ($1, $2)", &[]),
        insert("1"),
        insert("2"),
        sync(),
    ];
    assert_eq!(ana.0.ask(&frames.concat()).message(), "");
    let answer = ana.0.ask(&[insert("3"), insert("4"), sync()].concat());
    assert_eq!(answer.tags(), ["INSERT 0 1", "INSERT 0 1"]);
    assert_eq!(ana.rows("SELECT count(*), sum(a) FROM batch"), ["4|10"]);
    ana.run("PREPARE w (int) AS DELETE FROM batch WHERE a = $1 RETURNING b");
    assert_eq!(ana.0.simple("EXECUTE w (1)").rows(), ["x"]);
    // The table is gone: the prepared statement reaches nothing else.
    ana.run("DROP TABLE batch");
    assert_eq!(ana.0.simple("EXECUTE w (2)").code(), "42P01");
    assert_eq!(ana.0.ask(&[insert("5"), sync()].concat()).code(), "42P01");
}

#[test]
fn copy_in_and_out() {
    let mut ana = Caller::new("ana");
    ana.run("CREATE TEMP TABLE c (a int, b text)");
    let data = |text: &str| crate::wire::frame(b'd', text.as_bytes());
    let copied = ana.0.ask(
        &[
            crate::wire::query("COPY c (a, b) FROM STDIN (FORMAT csv)"),
            data("1,one\n2,two\n"),
            crate::wire::frame(b'c', b""),
        ]
        .concat(),
    );
    assert_eq!((copied.message(), copied.tags()), (String::new(), vec!["COPY 2".to_owned()]));
    assert_eq!(String::from_utf8(ana.0.simple("COPY c TO STDOUT").copied()).unwrap(), "1\tone\n2\ttwo\n");
    assert_eq!(String::from_utf8(ana.0.simple("COPY (SELECT max(b) FROM c) TO STDOUT").copied()).unwrap(), "two\n");
    assert_eq!(ana.code("COPY c (z) FROM STDIN"), "42703");
    let failed =
        ana.0.ask(&[crate::wire::query("COPY c FROM STDIN"), data("x\ty\n"), crate::wire::frame(b'c', b"")].concat());
    assert_eq!(failed.code(), "22P02");
    assert_eq!(ana.rows("SELECT count(*) FROM c"), ["2"]);
}
