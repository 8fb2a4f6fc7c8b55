//! EXPLAIN in every form, for callers from whom something is hidden and for callers from whom nothing is.

use crate::support::{ANYONE, Running, Stage};
use crate::{simple, told};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, Type};

const SCHEMA: &str = "
    CREATE TABLE emp (id int PRIMARY KEY, dept text, name text, ssn text, salary int);
    CREATE INDEX emp_dept ON emp (dept); CREATE INDEX emp_salary ON emp (salary);
    CREATE TABLE dept (code text PRIMARY KEY, title text, floor int);
    CREATE INDEX dept_title ON dept (lower(title));
    CREATE TABLE entitled_zz (code text PRIMARY KEY, login text);
    CREATE TABLE sale (id int, at date, amount numeric) PARTITION BY RANGE (at);
    CREATE TABLE sale_2024_zz PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE sale_2025_zz PARTITION OF sale FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE raw_zz (id int PRIMARY KEY, v text);
    CREATE VIEW v_zz AS SELECT code AS c FROM dept WHERE floor > 1;
    INSERT INTO dept SELECT 'd' || i, 'dept ' || i, i FROM generate_series(1, 40) i;
    INSERT INTO emp SELECT i, 'd' || (1 + i % 4), 'n' || i, 'ssn' || i, i FROM generate_series(1, 200) i;
    INSERT INTO entitled_zz SELECT 'd' || i, 'ana' FROM generate_series(1, 4) i;
    INSERT INTO sale SELECT i, date '2024-01-01' + i, i FROM generate_series(1, 500) i;
    INSERT INTO raw_zz SELECT i, 'v' FROM generate_series(1, 20) i;";

/// Hidden rows and cells enough to change every estimate, method and order.
const HIDDEN: &str = "
    INSERT INTO emp SELECT i, 'zz', 'zz' || i, 'zz', 100000 FROM generate_series(1000, 60000) i;
    UPDATE emp SET ssn = 'zz';
    INSERT INTO entitled_zz SELECT 'x' || i, 'zz' FROM generate_series(1, 20000) i;";

const POLICIES: [&str; 3] = [
    ANYONE,
    "policyKey: hide\nname: hide\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Hide}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Hide}]\n",
    "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"@columnTagged('Dept') IN (SELECT z.code FROM public.entitled_zz z WHERE z.login = @username)\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Dept}]\n",
];

async fn stage(more: &str) -> Running {
    let stage = Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .sql(more)
        .await
        .sql("VACUUM ANALYZE")
        .await
        .sources(&[("emp", "{dept: [Dept], ssn: [Hide]}"), ("dept", "{}"), ("sale", "{}"), ("v_zz", "{}")])
        .source("table: raw_zz\nschema: public\nnaming: {schema: public, table: renamed, datasource: renamed}")
        .user("ana", &[], &[])
        .user("max", &["Trusted"], &[]);
    POLICIES.iter().fold(stage, |stage, policy| stage.policy(policy)).start().await
}

/// Statements over what is hidden from `ana`.
const OVER_HIDDEN: &[&str] = &[
    "SELECT * FROM emp",
    "SELECT id FROM emp WHERE id = 7",
    "SELECT id FROM emp WHERE dept = 'd1' AND salary > 50000",
    "SELECT count(*) FROM emp",
    "SELECT ssn, count(*) FROM emp GROUP BY ssn ORDER BY 2 DESC LIMIT 5",
    "SELECT e.id, d.title FROM emp e JOIN dept d ON d.code = e.dept WHERE d.floor < 3 ORDER BY e.salary",
    "SELECT d.title FROM dept d WHERE EXISTS (SELECT FROM emp e WHERE e.dept = d.code)",
    "WITH w AS (SELECT dept, max(salary) m FROM emp GROUP BY dept) SELECT * FROM w JOIN dept ON code = w.dept",
    "SELECT id FROM emp UNION ALL SELECT floor FROM dept",
    "SELECT rank() OVER (PARTITION BY dept ORDER BY salary) FROM emp",
    "SELECT * FROM emp TABLESAMPLE bernoulli (10)",
    "SELECT relname, reltuples FROM pg_class WHERE relname = 'emp'",
    "SELECT * FROM v_zz WHERE c = 'd3'",
    "SELECT * FROM renamed WHERE id = 4",
    "SELECT * FROM sale WHERE at = '2024-03-01'",
    "SELECT pg_get_userbyid(10)",
];

const FORMS: [(&str, u32); 4] = [("TEXT", 25), ("JSON", 114), ("XML", 142), ("YAML", 25)];

/// Any value as its bytes.
struct Raw(String);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8(raw.to_vec())?))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

/// As [`simple`], in the extended protocol; checks the column's name and type.
async fn extended(client: &Client, sql: &str, oid: u32) -> Result<Vec<String>, String> {
    let statement = client.prepare(sql).await.map_err(|e| told(&e))?;
    let [column] = statement.columns() else { panic!("one column: {sql}") };
    assert_eq!((column.name(), column.type_().oid()), ("QUERY PLAN", oid), "{sql}");
    let rows = client.query(&statement, &[]).await.map_err(|e| told(&e))?;
    Ok(rows.iter().map(|row| row.get::<_, Raw>(0).0).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_shapes_no_outline() {
    let (one, other) = (stage("").await, stage(HIDDEN).await);
    let (first, second) = (one.client("ana").await, other.client("ana").await);
    for sql in OVER_HIDDEN {
        for (form, oid) in FORMS {
            for options in ["", ", VERBOSE", ", COSTS", ", SUMMARY", ", COSTS FALSE", ", ANALYZE off, BUFFERS 0"] {
                let explain = format!("EXPLAIN (FORMAT {form}{options}) {sql}");
                let answer = simple(&first, &explain).await.unwrap_or_else(|e| panic!("{explain}: {e}"));
                assert_eq!(Ok(&answer), simple(&second, &explain).await.as_ref(), "{explain}");
                assert_eq!(Ok(&answer), extended(&first, &explain, oid).await.as_ref(), "{explain}");
                let text = answer.join("\n");
                // `v_zz` is the caller's own word.
                let said = text.replace("v_zz", "");
                for word in
                    ["zz", "_sv", "_sk", "raw", "Cond", "rows=", "width", "Output", "md5", "sha", "SubPlan", "hashed"]
                {
                    assert!(!said.contains(word), "{explain}: {word} in\n{text}");
                }
                assert!(text.contains("outline"), "{explain}: {text}");
            }
        }
        for option in ["ANALYZE", "BUFFERS", "WAL", "ANALYZE, FORMAT JSON", "VERBOSE, ANALYZE true"] {
            let explain = format!("EXPLAIN ({option}) {sql}");
            for answer in [simple(&first, &explain).await, extended(&first, &explain, 25).await] {
                let error = answer.expect_err(&explain);
                assert!(
                    error.starts_with("42501 EXPLAIN option") && error.contains("[Its numbers"),
                    "{explain}: {error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outline_is_for_people() {
    let stage = stage(HIDDEN).await;
    let ana = stage.client("ana").await;
    let sql =
        "EXPLAIN SELECT e.id, d.title FROM emp e JOIN dept d ON d.code = e.dept WHERE d.floor < 3 ORDER BY e.salary";
    assert_eq!(
        simple(&ana, sql).await.unwrap(),
        [
            "Sort",
            "  Sort Key: e.salary",
            "  ->  Join",
            "        Join Filter: (d.code = e.dept)",
            "        Filter: (d.floor < 3)",
            "        ->  Policy Scan on emp e",
            "        ->  Scan on dept d",
            "Note: outline of the statement as written; a plan over data under policy is not shown",
        ]
    );
    // What is wrong with the statement is told as without EXPLAIN.
    for sql in [
        "SELECT nope FROM emp",
        "SELECT * FROM missing",
        "SELECT dept + 1 FROM emp",
        "SELECT ctid FROM emp",
        "SELECT 1/0 FROM emp",
    ] {
        let (plain, explained) = (simple(&ana, sql).await, simple(&ana, &format!("EXPLAIN {sql}")).await);
        assert!(plain.is_err(), "{sql}");
        if !sql.contains("1/0") {
            assert_eq!(plain, explained, "{sql}");
        }
    }
    let psql = stage.psql("ana", &["-At", "-c", "EXPLAIN (FORMAT YAML) SELECT * FROM emp"]);
    assert!(psql.ok && psql.out.starts_with("- Plan: \n    Node Type: \"Policy Scan\"\n"), "{}{}", psql.out, psql.err);
}

/// The server's own answer, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_hidden_the_plan_is_the_servers() {
    let stage = stage("").await;
    let max = stage.client("max").await;
    let statements = [
        "SELECT * FROM emp",
        "SELECT id FROM emp WHERE id = 7",
        "SELECT public.emp.id FROM emp WHERE dept = 'd1' AND salary > 50",
        "SELECT ssn, count(*) FROM emp GROUP BY ssn ORDER BY 2 DESC LIMIT 5",
        "SELECT e.id, d.title FROM emp e JOIN dept d ON d.code = e.dept WHERE d.floor < 3 ORDER BY e.salary",
        "SELECT id, name, count(*) FROM emp GROUP BY id",
        "SELECT a.id FROM emp a, emp b LEFT JOIN dept ON code = b.dept WHERE a.id = b.salary AND lower(title) = 'dept 2'",
        "WITH w AS MATERIALIZED (SELECT dept, max(salary) m FROM emp GROUP BY dept) SELECT * FROM w JOIN dept ON code = w.dept",
        "SELECT id FROM emp UNION SELECT floor FROM dept",
        "SELECT (SELECT max(salary) FROM emp x WHERE x.dept = y.code) FROM dept y",
        "SELECT e FROM emp AS e (a, b) WHERE a = 3",
        "SELECT count(*) FROM generate_series(1, 10) g, ONLY dept",
        "SELECT 1",
        "VALUES (1), (2)",
        "SELECT * FROM emp WHERE name = 'O''Hara -> Seq Scan' AND ssn IN ('a', 'b')",
    ];
    for sql in statements {
        for options in [
            "",
            "COSTS OFF",
            "VERBOSE",
            "VERBOSE, COSTS OFF, FORMAT JSON",
            "FORMAT XML",
            "FORMAT YAML, COSTS OFF",
            "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF",
            "ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON, COSTS OFF",
        ] {
            let explain =
                if options.is_empty() { format!("EXPLAIN {sql}") } else { format!("EXPLAIN ({options}) {sql}") };
            let direct = simple(stage.admin(), &explain).await.unwrap();
            // Memory and the like of a run may differ from run to run; of these statements it does not.
            assert_eq!(simple(&max, &explain).await, Ok(direct), "{explain}");
        }
    }
    for (form, oid) in FORMS {
        let explain = format!("EXPLAIN (FORMAT {form}) SELECT * FROM emp WHERE id = 3");
        assert_eq!(extended(&max, &explain, oid).await, simple(stage.admin(), &explain).await);
    }
    for sql in
        ["EXPLAIN ANALYZE VERBOSE SELECT * FROM emp", "EXPLAIN (ANALYZE, BUFFERS, WAL, SUMMARY) SELECT * FROM emp"]
    {
        let text = simple(&max, sql).await.unwrap().join("\n");
        assert!(text.contains("actual time") && text.contains("Execution Time"), "{text}");
    }
}

/// Hidden relations under a visible name stay hidden from everybody.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_warehouse_are_in_no_plan() {
    let stage = stage("").await;
    let max = stage.client("max").await;
    for sql in [
        "SELECT * FROM sale WHERE at = '2024-03-01'",
        "SELECT * FROM renamed",
        "SELECT * FROM v_zz",
        "SELECT 1 FROM pg_class",
        "SELECT * FROM dept, renamed",
    ] {
        let text = simple(&max, &format!("EXPLAIN VERBOSE {sql}")).await.unwrap().join("\n");
        assert!(text.contains("outline") && !text.replace("v_zz", "").contains("zz"), "{sql}: {text}");
        assert!(simple(&max, &format!("EXPLAIN ANALYZE {sql}")).await.unwrap_err().starts_with("42501"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_are_explained_by_their_outline() {
    let stage = stage(HIDDEN).await;
    let ana = stage.client("ana").await;
    ana.batch_execute("PREPARE p (int) AS SELECT ssn FROM emp WHERE id = $1").await.unwrap();
    let rows = simple(&ana, "EXPLAIN EXECUTE p(1)").await.unwrap();
    assert_eq!(rows[..2], ["Scan on emp", "  Filter: (id = $1)"]);
    assert_eq!(simple(&ana, "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE p(1)").await.unwrap().len(), 1);
    assert_eq!(extended(&ana, "EXPLAIN EXECUTE p(1)", 25).await.unwrap(), rows);
    assert!(simple(&ana, "EXPLAIN ANALYZE EXECUTE p(1)").await.unwrap_err().starts_with("42501"));
    assert!(simple(&ana, "EXPLAIN EXECUTE missing(1)").await.unwrap_err().starts_with("26000"));
    // An EXPLAIN that was prepared by the protocol is not reachable by SQL, where its rows would be the warehouse's.
    let wire = stage.psql("ana", &["-At", "-c", "EXPLAIN SELECT ssn FROM emp \\bind_named", "-c", "SELECT 1"]);
    assert!(!wire.out.contains("zz"), "{}", wire.out);
}

/// A session's own tables hide nothing from it.
#[tokio::test(flavor = "multi_thread")]
async fn temporary_tables_are_explained_by_the_server() {
    let stage = stage("").await;
    let ana = stage.client("ana").await;
    let make = "CREATE TEMP TABLE mine AS SELECT id, ssn FROM emp";
    let rows = simple(&ana, &format!("EXPLAIN {make}")).await.unwrap();
    assert_eq!(rows[0], "Policy Scan on emp");
    assert!(simple(&ana, &format!("EXPLAIN ANALYZE {make}")).await.unwrap_err().starts_with("0A000"));
    ana.batch_execute(make).await.unwrap();
    let rows = simple(&ana, "EXPLAIN (COSTS OFF) SELECT m.id FROM mine m WHERE ssn = 'x'").await.unwrap();
    assert_eq!(rows, ["Seq Scan on mine m", "  Filter: (ssn = 'x'::text)"]);
    let rows = simple(&ana, "EXPLAIN (ANALYZE, COSTS OFF) SELECT FROM mine, dept").await.unwrap().join("\n");
    assert!(rows.contains("actual time") && rows.contains("on dept"), "{rows}");
    let rows = simple(&ana, "EXPLAIN SELECT FROM mine JOIN emp USING (id)").await.unwrap();
    assert_eq!(rows[..4], ["Join", "  Using: id", "  ->  Scan on mine", "  ->  Policy Scan on emp"]);
}

/// Portals with a row limit, as drivers with a fetch size make them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_portions() {
    let stage = stage("").await;
    let mut ana = stage.client("ana").await;
    let sql = "EXPLAIN SELECT d.title FROM emp e JOIN dept d ON d.code = e.dept ORDER BY 1";
    let whole = simple(&ana, sql).await.unwrap();
    for size in [1, 2, 3, 100, i32::try_from(whole.len()).unwrap()] {
        let transaction = ana.transaction().await.unwrap();
        let statement = transaction.prepare(sql).await.unwrap();
        let portal = transaction.bind(&statement, &[]).await.unwrap();
        let mut got: Vec<String> = Vec::new();
        loop {
            let rows = transaction.query_portal(&portal, size).await.unwrap();
            assert!(rows.len() <= usize::try_from(size).unwrap());
            if rows.is_empty() {
                break;
            }
            got.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        assert_eq!(got, whole, "{size}");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_read_as_the_server_reads_them() {
    let stage = stage("").await;
    let (ana, max) = (stage.client("ana").await, stage.client("max").await);
    for (options, code) in [
        ("NOPE", "42601 unrecognized EXPLAIN option \"nope\""),
        ("FORMAT toml", "22023 unrecognized value for EXPLAIN option \"format\": \"toml\""),
        ("ANALYZE maybe", "42601 analyze requires a Boolean value"),
        ("TIMING", "22023 EXPLAIN option TIMING requires ANALYZE"),
    ] {
        let sql = format!("EXPLAIN ({options}) SELECT * FROM emp");
        for client in [&ana, &max] {
            let error = simple(client, &sql).await.expect_err(&sql);
            assert!(error.starts_with(code), "{sql}: {error}");
        }
    }
    for client in [&ana, &max] {
        assert!(simple(client, "EXPLAIN (SETTINGS) SELECT * FROM dept").await.unwrap_err().starts_with("0A000"));
        assert!(simple(client, "EXPLAIN (ANALYZE false, SETTINGS off) SELECT * FROM emp").await.is_ok());
        for sql in ["EXPLAIN DECLARE c CURSOR FOR SELECT 1", "EXPLAIN REFRESH MATERIALIZED VIEW x"] {
            assert!(simple(client, sql).await.unwrap_err().starts_with("0A000"), "{sql}");
        }
    }
    // In transactions, after errors, several in a string.
    assert_eq!(simple(&ana, "BEGIN; EXPLAIN SELECT 1; EXPLAIN SELECT id FROM emp; COMMIT").await.unwrap().len(), 3);
}
