//! Rows 5, 11, 20 to 22 and 24 to 28 of the catalogue: what errors carry, statistics, code, side stores, the server's files, policies
//! together, types, grouping by a key, time, activity. The others are in the files beside this one, in `tests/write` and `tests/scratch`.

use crate::caller::Caller;
use crate::support::{ANYONE, Running, Stage};
use crate::world::{ANA, EVE, MAX, runtime};
use std::time::{Duration, Instant};

const EVERYBODY: [&str; 3] = [ANA, MAX, EVE];

fn all_refused(statements: &[&str], codes: &[&str]) {
    for user in EVERYBODY {
        let mut caller = Caller::new(user);
        for sql in statements {
            let code = caller.code(sql);
            assert!(codes.contains(&code.as_str()), "{user}: {sql}: {code}");
        }
    }
}

/// Row 5: an error of the warehouse quotes the caller's own values, says where in his own text, and nothing else.
#[test]
fn errors_carry_nothing_but_the_callers_own() {
    let mut ana = Caller::new(ANA);
    for (sql, code, at) in [
        ("SELECT name::int FROM emp", "22P02", None),
        ("SELECT id, 1 / (id - 3) FROM emp", "22012", None),
        ("SELECT note::date FROM emp ORDER BY 1", "22007", None),
        ("SELECT  no_such_column FROM emp", "42703", Some("9")),
        ("SELECT /* é */ id FROM emp WHERE no_such_function(id)", "42883", Some("34")),
        ("SELECT array_agg(arr || ARRAY[ARRAY[ARRAY[1]]]) FROM emp", "2202E", None),
    ] {
        for answer in [ana.simple(sql), ana.extended(sql, &[], 0), ana.extended(sql, &[], 1)] {
            let error = answer.error().unwrap_or_else(|| panic!("{sql} was answered"));
            assert_eq!(answer.code(), code, "{sql}: {}", answer.message());
            assert_eq!(error.field(b'P').as_deref(), at, "{sql}");
            for (kind, text) in error.fields() {
                // D detail, H hint (ours alone), W context, q and p what was sent, s t c d n names.
                assert!(!b"DWqpstcdn".contains(&kind), "{sql}: field {} tells {text}", kind as char);
            }
        }
    }
}

/// Row 5: notices too.
#[test]
fn notices_carry_nothing_but_the_callers_own() {
    let mut ana = Caller::new(ANA);
    for sql in [
        "SELECT id FROM emp ORDER BY id LIMIT 1",
        "SELECT to_tsvector('simple', repeat('x', 3000)) FROM emp WHERE id = 1",
    ] {
        let answer = ana.simple(sql);
        for notice in answer.messages.iter().filter(|m| m.tag == b'N') {
            for (kind, text) in notice.fields() {
                assert!(b"SVCMFLR".contains(&kind), "{sql}: field {} tells {text}", kind as char);
            }
        }
    }
}

/// Row 11: statistics, sizes and activity of tables that hide something say nothing about them; raw statistics are not there.
#[test]
fn statistics_say_nothing() {
    for user in [ANA, EVE] {
        let mut caller = Caller::new(user);
        for relation in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic", "pg_statistic_ext_data"] {
            let answer = caller.ask(&format!("SELECT * FROM {relation}"));
            let hidden = answer.rows().is_empty() && matches!(answer.code().as_str(), "" | "42P01" | "42501");
            assert!(hidden, "{user}: {relation}: {:?}", answer.lines());
        }
        for relation in [
            "pg_stat_all_tables",
            "pg_stat_user_tables",
            "pg_stat_sys_tables",
            "pg_stat_xact_all_tables",
            "pg_statio_all_tables",
            "pg_statio_user_tables",
            "pg_stat_all_indexes",
            "pg_stat_user_indexes",
            "pg_statio_user_indexes",
            "pg_stat_user_functions",
            "pg_stat_progress_analyze",
            "pg_stat_progress_vacuum",
            "pg_stat_progress_copy",
        ] {
            let answer = caller.ask(&format!("SELECT * FROM {relation}"));
            for row in answer.rows() {
                let numbers =
                    row.split('|').filter_map(|c| c.parse::<i64>().ok()).filter(|n| (300..16_000).contains(n));
                assert_eq!(numbers.count(), 0, "{user}: {relation}: {row}");
            }
        }
        let told = caller.rows(
            "SELECT c.relname, c.reltuples, c.relpages, c.relallvisible FROM pg_class c WHERE c.relname IN \
             ('emp', 'peek', 'orders', 'mass', 'pay', 'ev', 'part', 'vault', 'emp_note') \
             AND (c.reltuples > 0 OR c.relpages > 0 OR c.relallvisible > 0)",
        );
        assert_eq!(told, [""; 0], "{user}");
        for size in ["pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size"] {
            let answer = caller.ask(&format!("SELECT {size}('emp'::regclass), {size}('peek')"));
            let told =
                answer.rows().iter().any(|row| row.split('|').any(|cell| cell.parse::<i64>().is_ok_and(|n| n > 0)));
            assert!(!told, "{user}: {size}: {:?}", answer.lines());
        }
    }
}

/// Row 20.
#[test]
fn nobody_brings_code() {
    all_refused(
        &[
            "DO $$ BEGIN RAISE NOTICE '%', (SELECT code FROM vault); END $$",
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT code FROM vault'",
            "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
            "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'",
            "CALL p()",
            "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
            "CREATE CAST (text AS int) WITH INOUT",
            "CREATE DOMAIN d AS text CHECK (VALUE <> (SELECT code FROM vault LIMIT 1))",
            "CREATE TYPE pg_temp.t AS (a int)",
            "CREATE AGGREGATE a(text) (SFUNC = textcat, STYPE = text)",
            "CREATE TRIGGER t AFTER INSERT ON emp FOR EACH ROW EXECUTE FUNCTION leak()",
            "CREATE RULE r AS ON SELECT TO dept DO INSTEAD SELECT * FROM vault",
            "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION leak()",
            "CREATE EXTENSION dblink",
            "CREATE LANGUAGE plperlu",
            "ALTER FUNCTION leak(text) SECURITY DEFINER",
            "ALTER TABLE emp DISABLE TRIGGER ALL",
            "PREPARE TRANSACTION 'x'",
            "COMMIT PREPARED 'x'",
            "LOAD 'auto_explain'",
            "SECURITY LABEL ON TABLE emp IS 'x'",
            "IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public",
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
        ],
        &["0A000", "42501", "42P01"],
    );
}

/// Row 21: what lasts beyond the session, or reaches another.
#[test]
fn nothing_is_put_aside() {
    all_refused(
        &[
            "CREATE TABLE keep AS SELECT * FROM dept",
            "SELECT * INTO keep FROM dept",
            "SELECT * INTO UNLOGGED keep FROM dept",
            "CREATE UNLOGGED TABLE keep (a text)",
            "CREATE VIEW keep AS SELECT * FROM emp",
            "CREATE OR REPLACE TEMP VIEW dept AS SELECT * FROM vault",
            "CREATE MATERIALIZED VIEW keep AS SELECT * FROM emp",
            "CREATE SCHEMA keep CREATE TABLE t (a int)",
            "CREATE SEQUENCE keep",
            "CREATE STATISTICS s ON note, dept FROM emp",
            "CREATE INDEX ON emp (note)",
            "COMMENT ON TABLE emp IS 'x'",
            "NOTIFY channel, 'payload'",
            "LISTEN channel",
            "SELECT pg_notify('channel', note) FROM emp",
            "SELECT lo_create(0)",
            "SELECT lo_from_bytea(0, note::bytea) FROM emp",
            "SELECT pg_advisory_lock(id) FROM emp",
            "SELECT pg_try_advisory_xact_lock_shared(1)",
            "SELECT pg_logical_emit_message(false, 'a', note) FROM emp",
            "REFRESH MATERIALIZED VIEW m_emp",
            "ALTER TABLE emp ADD COLUMN x int",
            "DROP TABLE emp",
            "GRANT SELECT ON vault TO PUBLIC",
            "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER",
        ],
        &["0A000", "42501", "42P01"],
    );
}

/// Row 22.
#[test]
fn the_server_is_out_of_reach() {
    all_refused(
        &[
            "COPY dept TO '/tmp/x'",
            "COPY dept TO PROGRAM 'cat'",
            "COPY dept FROM '/etc/passwd'",
            "COPY dept FROM PROGRAM 'id'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT * FROM pg_ls_dir('/')",
            "SELECT * FROM pg_ls_logdir()",
            "SELECT lo_export(1, '/tmp/x')",
            "SELECT get_raw_page('emp', 0)",
            "SELECT pg_logical_slot_get_changes('s', NULL, NULL)",
            "SELECT pg_terminate_backend(pg_backend_pid())",
            "SELECT pg_rotate_logfile()",
            "SELECT pg_switch_wal()",
            "SELECT pg_promote()",
            "SELECT pg_log_backend_memory_contexts(1)",
            "SELECT pg_create_restore_point('x')",
            "SELECT pg_backup_start('x')",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "CREATE DATABASE x",
            "CREATE ROLE x",
            "ALTER ROLE CURRENT_USER SET search_path = x",
            "CREATE TABLESPACE x LOCATION '/tmp'",
            "CHECKPOINT",
            "VACUUM",
            "VACUUM emp",
            "ANALYZE emp",
            "CLUSTER",
            "REINDEX TABLE emp",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
            "CREATE PUBLICATION p FOR ALL TABLES",
        ],
        &["0A000", "42501", "42883", "42P01"],
    );
}

fn running(stage: impl Future<Output = Stage>) -> &'static Running {
    Box::leak(Box::new(runtime().block_on(async { stage.await.start().await })))
}

/// Row 24: each policy binds by itself; who is excepted from one is not excepted from the other.
#[test]
fn policies_together_show_no_more_than_each() {
    let running = running(async {
        Stage::new()
            .await
            .sql("CREATE TABLE emp (id int, ssn text); INSERT INTO emp SELECT i, 'number ' || i FROM generate_series(1, 9) i")
            .await
            .sources(&[("emp", "{ssn: [Id]}")])
            .policy(ANYONE)
            .policy("policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Id}], maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Unmasked]}\n")
            .policy("policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"id < 3\"}\n    exceptions: {groups: [Unfiltered]}\n")
            .user("neither", &[], &[])
            .user("unmasked", &["Unmasked"], &[])
            .user("unfiltered", &["Unfiltered"], &[])
            .user("both", &["Unfiltered", "Unmasked"], &[])
    });
    let sees = |user: &str| Caller::of(running, user).cell("SELECT count(*), count(ssn), count(DISTINCT ssn) FROM emp");
    assert_eq!(sees("neither"), "2|0|0");
    assert_eq!(sees("unmasked"), "2|2|2");
    assert_eq!(sees("unfiltered"), "9|0|0");
    assert_eq!(sees("both"), "9|9|9");
    // One table twice in one statement is one decision.
    let joined = "SELECT count(*), count(a.ssn), count(b.ssn) FROM emp a JOIN emp b USING (id)";
    assert_eq!(Caller::of(running, "unmasked").cell(joined), "2|2|2");
    assert_eq!(Caller::of(running, "unfiltered").cell(joined), "9|0|0");
}

/// Row 25: a mask gives a value of the column's own type, or NULL; never the value.
#[test]
fn masks_fit_every_type() {
    let columns = [
        ("a", "int", "7"),
        ("b", "uuid", "'00000000-0000-0000-0000-000000000007'"),
        ("c", "date", "'2020-02-03'"),
        ("d", "text[]", "'{raw,raw2}'"),
        ("e", "short", "'raw'"),
        ("f", "mood", "'ok'"),
        ("g", "varchar(12)", "'raw'"),
        ("h", "jsonb", "'{\"raw\": 1}'"),
        ("i", "pair", "'(raw,1)'"),
        ("j", "int4range", "'[7,9)'"),
        ("k", "bytea", "'raw'"),
        ("l", "numeric(6,2)", "7.25"),
    ];
    let running = running(async {
        let listed: Vec<String> = columns.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
        let values: Vec<&str> = columns.iter().map(|c| c.2).collect();
        let tags: Vec<String> = columns.iter().map(|c| c.0).chain(["m"]).map(|c| format!("{c}: [Id]")).collect();
        Stage::new()
            .await
            .sql(&format!(
                "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(8) CHECK (length(VALUE) < 6); CREATE TYPE pair AS (x text, y int);
                 CREATE TABLE t (id int, {}, m text GENERATED ALWAYS AS (g || 'raw') STORED); INSERT INTO t VALUES (1, {})",
                listed.join(", "),
                values.join(", ")
            ))
            .await
            .sources(&[("t", &format!("{{{}}}", tags.join(", ")))])
            .policy(ANYONE)
            .policy("policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Id}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [Trusted]}\n")
            .user(ANA, &[], &[])
            .user(MAX, &["Trusted"], &[])
    });
    let (mut ana, mut max) = (Caller::of(running, ANA), Caller::of(running, MAX));
    ana.described_as_unmasked("SELECT * FROM t");
    for name in columns.iter().map(|c| c.0).chain(["m"]) {
        let (masked, raw) = (ana.cell(&format!("SELECT {name} FROM t")), max.cell(&format!("SELECT {name} FROM t")));
        assert_ne!(masked, raw, "{name}");
        assert!(!masked.contains("raw"), "{name}: {masked}");
        let typed = format!("SELECT pg_typeof({name})::text FROM t");
        assert_eq!(ana.cell(&typed), max.cell(&typed), "{name}");
        let equal = format!("SELECT count(*) FROM t WHERE {name}::text = '{raw}'");
        assert_eq!((ana.cell(&equal), max.cell(&equal)), ("0".into(), "1".into()), "{name}");
    }
}

/// Row 26: the relation is wrapped, and its primary key still says what depends on it.
#[test]
fn grouping_by_the_primary_key_works() {
    let mut ana = Caller::new(ANA);
    for (sql, rows) in [
        ("SELECT id, name, ssn, pin FROM emp GROUP BY id ORDER BY id LIMIT 1", "1|name1|∅|7"),
        (
            "SELECT e.id, e.name, count(o.*) FROM emp e JOIN orders o ON o.emp_id = e.id GROUP BY e.id ORDER BY e.id LIMIT 1",
            "1|name1|3",
        ),
        ("SELECT d.name FROM dept d GROUP BY d.id HAVING d.code = 'D1'", "dept1"),
    ] {
        let answer = ana.ask(sql);
        assert_eq!((answer.message(), answer.rows()), (String::new(), vec![rows.to_owned()]), "{sql}");
    }
    assert_eq!(ana.code("SELECT id, name FROM emp GROUP BY name"), "42803");
}

/// Row 27: what takes time or memory without end is refused, or ends.
#[test]
fn nothing_takes_for_ever() {
    let mut ana = Caller::new(ANA);
    for call in ["pg_sleep(1)", "pg_sleep_for('1 hour')", "pg_sleep_until(now() + interval '1 hour')"] {
        assert_eq!(ana.code(&format!("SELECT {call}")), "42501", "{call}");
    }
    assert_eq!(ana.simple("SET statement_timeout = '300ms'").code(), "");
    for sql in [
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT count(*) FROM r",
    ] {
        let begun = Instant::now();
        assert_eq!(ana.simple(sql).code(), "57014", "{sql}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{sql}");
    }
    for (sql, code) in [
        (format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)), "54001"),
        (format!("SELECT {}1", "- ".repeat(100_000)), "54001"),
        (format!("SELECT 1{}", " + 1".repeat(60_000)), "54001"),
        (format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)), "54001"),
        (format!("SELECT '{}'", "x".repeat(9 << 20)), "54000"),
    ] {
        let begun = Instant::now();
        let answer = ana.simple(&sql);
        assert!(answer.code() == code || answer.code() == "54000", "{}: {}", &sql[..20], answer.message());
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", &sql[..20]);
    }
    // Literals that are read as names.
    for depth in [1_000, 100_000] {
        let deep = format!("a; SELECT {}1{}", "-(".repeat(depth), ")".repeat(depth));
        for call in [
            "nextval('@')",
            "'@'::regclass",
            "to_regclass('@')",
            "to_regtype('@')",
            "'@'::regtype",
            "has_table_privilege('@', 'SELECT')",
        ] {
            ana.simple(&format!("SELECT {}", call.replace('@', &deep)));
        }
    }
    assert_eq!(ana.cell("SELECT 1"), "1", "the session goes on");
}

/// Row 28: a caller sees his own session and his own words.
#[test]
fn activity_is_the_callers_own() {
    let mut eve = Caller::new(EVE);
    assert_eq!(eve.simple("SELECT 'words of eve'").code(), "");
    let mut ana = Caller::new(ANA);
    assert_eq!(ana.simple("PREPARE of_ana AS SELECT ssn FROM emp").code(), "");
    assert_eq!(ana.simple("BEGIN; DECLARE c_of_ana CURSOR FOR SELECT ssn FROM emp").code(), "");
    for user in EVERYBODY {
        let mut other = Caller::new(user);
        for sql in [
            "SELECT * FROM pg_stat_activity",
            "SELECT query FROM pg_stat_activity",
            "SELECT * FROM pg_prepared_statements",
            "SELECT * FROM pg_cursors",
            "SELECT * FROM pg_stat_statements",
            "SELECT * FROM pg_locks",
            "SELECT * FROM pg_stat_replication",
            "SELECT * FROM pg_stat_ssl",
            "SELECT * FROM pg_stat_get_activity(NULL)",
            "SELECT * FROM pg_prepared_xacts",
            "SELECT current_query()",
        ] {
            let answer = other.ask(sql);
            assert!(answer.rows().len() <= 1, "{user}: {sql}: {:?}", answer.lines());
            let told = answer.lines().join("\n");
            for word in ["words of eve", "of_ana", "sqlveil", "postgres:", "127.0.0.1"] {
                assert!(!told.contains(word) || sql.contains(word), "{user}: {sql}: {told}");
            }
        }
        let activity = other.rows("SELECT usename, datname FROM pg_stat_activity");
        assert!(activity.is_empty() || activity[0].starts_with(user), "{user}: {activity:?}");
    }
}
