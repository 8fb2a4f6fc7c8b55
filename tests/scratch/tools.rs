//! What tools do: Tableau, MicroStrategy, dbt, pandas, psycopg, pgjdbc.

use crate::wire::{bind, describe_what, execute, parse, sync};
use crate::{Caller, world};

#[test]
fn tableau_probes_and_filters() {
    let mut ana = Caller::new("ana");
    ana.run("BEGIN");
    ana.run("SAVEPOINT \"sp\"");
    assert_eq!(
        ana.run("CREATE LOCAL TEMPORARY TABLE \"#Tableau_1_2_Connect\" ( \"COL\" INTEGER ) ON COMMIT PRESERVE ROWS"),
        "CREATE TABLE"
    );
    ana.run("INSERT INTO \"#Tableau_1_2_Connect\" (\"COL\") VALUES (1)");
    ana.run("SELECT TOP.\"COL\" FROM \"#Tableau_1_2_Connect\" AS TOP");
    ana.run("SELECT * INTO TEMPORARY TABLE \"#Tableau_1_3_Connect\" FROM (SELECT 1 AS COL) AS CHECKTEMP LIMIT 1");
    ana.run("DROP TABLE \"#Tableau_1_2_Connect\"");
    ana.run("DROP TABLE \"#Tableau_1_3_Connect\"");
    ana.run("RELEASE SAVEPOINT \"sp\"");
    ana.run("COMMIT");
    ana.run("CREATE LOCAL TEMPORARY TABLE \"#Tableau_5_Filter\" (\"dept\" VARCHAR(64) COLLATE \"default\", \"x__alias\" INTEGER NOT NULL) ON COMMIT PRESERVE ROWS");
    let frames = [
        parse("ins", "INSERT INTO \"#Tableau_5_Filter\" (\"dept\", \"x__alias\") VALUES ($1, $2)", &[1043, 23]),
        bind("", "ins", &["blue", "1"], 0),
        execute("", 0),
        bind("", "ins", &["red", "2"], 0),
        execute("", 0),
        sync(),
    ];
    assert_eq!(ana.0.ask(&frames.concat()).message(), "");
    assert_eq!(
        ana.rows(
            "SELECT \"emp\".\"dept\" AS \"dept\", MAX(\"emp\".\"ssn\") AS \"m\" FROM \"public\".\"emp\" \"emp\" \
             INNER JOIN \"#Tableau_5_Filter\" \"t0\" ON (\"emp\".\"dept\" = \"t0\".\"dept\") GROUP BY 1"
        ),
        ["blue|hidden"]
    );
}

#[test]
fn microstrategy_works_in_passes() {
    let mut ana = Caller::new("ana");
    assert_eq!(
        ana.run(
            "create temporary table ZZMD00 as select a11.dept dept, count(*) WJXBFS1 from emp a11 group by a11.dept"
        ),
        "SELECT 1"
    );
    ana.run("create index ZZMD00_i on ZZMD00 (dept)");
    ana.run("analyze ZZMD00");
    assert_eq!(ana.run("create temporary table ZZMD01 as select a11.dept, max(a11.ssn) as WJXBFS1 from public.emp a11 join ZZMD00 pa1 on (a11.dept = pa1.dept) group by a11.dept"), "SELECT 1");
    assert_eq!(
        ana.rows("select pa11.dept, a13.city, pa11.WJXBFS1, pa12.WJXBFS1 from ZZMD00 pa11 left outer join ZZMD01 pa12 on (pa11.dept = pa12.dept) join dept a13 on (pa11.dept = a13.name)"),
        ["blue|Bonn|5|hidden"]
    );
    ana.run("drop table ZZMD00");
    ana.run("drop table ZZMD01");
}

#[test]
fn dbt_and_pandas_build_tables() {
    let mut ana = Caller::new("ana");
    let answer = ana.0.simple("drop table if exists \"model__dbt_tmp\" cascade");
    assert_eq!(answer.tags(), ["DROP TABLE"]);
    let notice = answer.messages.iter().find(|m| m.tag == b'N').unwrap();
    assert_eq!(notice.field(b'M').unwrap(), "table \"model__dbt_tmp\" does not exist, skipping");
    assert_eq!(
        ana.run(
            "/* {\"app\": \"dbt\"} */ create temporary table \"model__dbt_tmp121512\" as ( select id, ssn from emp );"
        ),
        "SELECT 5"
    );
    let notice = ana.0.simple("drop table if exists model_two");
    let notice = notice.messages.iter().find(|m| m.tag == b'N').unwrap();
    assert_eq!(notice.field(b'M').unwrap(), "table \"model_two\" does not exist, skipping");
    ana.run("CREATE TEMPORARY TABLE frame (index BIGINT, name TEXT, score FLOAT(53), at TIMESTAMP WITHOUT TIME ZONE)");
    ana.run("CREATE INDEX ix_frame_index ON frame (index)");
    ana.run("INSERT INTO frame (index, name, score, at) VALUES (0, 'a', 1.5, '2024-01-01'::timestamp), (1, 'b', NULL, NULL), (2, 'c', 'NaN', now())");
    assert_eq!(ana.rows("SELECT count(*), count(score) FROM frame"), ["3|2"]);
    // pandas asks whether a table is there, and of what it is made.
    assert_eq!(
        ana.rows("SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace \
                  WHERE pg_catalog.pg_class.relname = 'frame' AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)"),
        ["frame"]
    );
    assert_eq!(ana.run("CREATE TEMP TABLE IF NOT EXISTS frame (index BIGINT)"), "CREATE TABLE");
    assert_eq!(ana.rows("SELECT count(*) FROM frame"), ["3"]);
}

/// As pgjdbc does: everything prepared, described and executed, one Sync a statement; from the fifth time under a name.
#[test]
fn pgjdbc_prepares_everything() {
    let mut ana = Caller::new("ana");
    let mut run = |name: &str, sql: &str| {
        let answer = ana.0.ask(
            &[parse(name, sql, &[]), bind("", name, &[], 0), describe_what(b'P', ""), execute("", 0), sync()].concat(),
        );
        assert_eq!(answer.message(), "", "{sql}");
        answer.rows()
    };
    run("", "BEGIN");
    run("", "CREATE TEMP TABLE work (id int, ssn text) ON COMMIT DROP");
    run("S_1", "INSERT INTO work SELECT id, ssn FROM emp");
    assert_eq!(run("S_2", "SELECT count(*), max(ssn) FROM work"), ["5|hidden"]);
    run("", "COMMIT");
    run("", "BEGIN");
    run("", "CREATE TEMP TABLE work (id int, ssn text) ON COMMIT DROP");
    let again =
        ana.0.ask(&[bind("", "S_1", &[], 0), execute("", 0), bind("", "S_2", &[], 0), execute("", 0), sync()].concat());
    assert_eq!((again.message(), again.rows()), (String::new(), vec!["5|hidden".to_owned()]));
}

#[test]
fn psql_scripts() {
    let script = "CREATE TEMP TABLE t AS SELECT id, ssn FROM emp; SELECT count(*) FROM t; \\d t\nDROP TABLE t;";
    let file = world().folder().join("script.sql");
    std::fs::write(&file, script).unwrap();
    let out = world().psql("ana", &["-f", file.to_str().unwrap()]);
    assert!(out.ok && out.out.contains("Table \"pg_temp_"), "{} {}", out.out, out.err);
    let out = world().psql(
        "ana",
        &[
            "-At",
            "-c",
            "CREATE TEMP TABLE t AS SELECT id, ssn FROM emp; UPDATE t SET id = id + 1; SELECT max(id), max(ssn) FROM t",
        ],
    );
    assert!(out.ok && out.out.contains("6|hidden"), "{} {}", out.out, out.err);
    let out = world().psql(
        "ana",
        &[
            "-At",
            "-c",
            "CREATE TEMP TABLE t (a int, b text)",
            "-c",
            "\\copy t FROM PROGRAM 'printf \"1\\tx\\n2\\ty\\n\"'",
            "-c",
            "SELECT sum(a) FROM t",
            "-c",
            "EXPLAIN SELECT * FROM t",
        ],
    );
    assert!(out.ok && out.out.contains('3') && out.out.contains("Seq Scan on t"), "{} {}", out.out, out.err);
}
