//! Rows 1 to 3 and 13 to 17 of the catalogue: predicates, shaping, wrapping, whole rows, system columns, other readers, rows without columns.

use crate::caller::Caller;
use crate::world::{ANA, EVE, MAX};

/// (statement, what `ana` gets, what `max` gets; for counts).
fn counts(cases: &[(&str, &str, &str)]) {
    let (mut ana, mut max, mut eve) = (Caller::new(ANA), Caller::new(MAX), Caller::new(EVE));
    for (sql, masked, raw) in cases {
        assert_eq!(ana.cell(sql), *masked, "ana: {sql}");
        assert_eq!(max.cell(sql), *raw, "max: {sql}");
        let answer = eve.ask(sql);
        assert_eq!(answer.code(), "42P01", "eve: {sql}");
        assert!(answer.message().ends_with("does not exist"), "{}", answer.message());
    }
}

/// Row 1.
#[test]
fn predicates_see_the_masked_value() {
    counts(&[
        ("SELECT count(*) FROM emp WHERE ssn = 'SECRET-3'", "0", "1"),
        ("SELECT count(*) FROM emp WHERE ssn LIKE 'SECRET-%'", "0", "24"),
        ("SELECT count(*) FROM emp WHERE ssn BETWEEN 'SECRET-1' AND 'SECRET-2'", "0", "12"),
        ("SELECT count(*) FROM emp WHERE ssn IN ('SECRET-1', 'SECRET-2')", "0", "2"),
        ("SELECT count(*) FROM emp WHERE ssn ~ '^SEC'", "0", "2024"),
        ("SELECT count(*) FROM emp WHERE ssn IS NULL", "24", "0"),
        ("SELECT count(*) FROM emp WHERE email = '7'", "24", "0"),
        ("SELECT count(*) FROM emp WHERE pin = 7", "24", "0"),
        ("SELECT count(*) FROM emp WHERE pin < 0 OR pin > 2000000000", "0", "16"),
        ("SELECT count(*) FROM emp WHERE score > 7.00", "0", "24"),
        ("SELECT count(*) FROM emp WHERE born > '2001-01-01'", "0", "2016"),
        ("SELECT count(*) FROM emp WHERE blob = '\"SECRET\"'", "0", "24"),
        ("SELECT count(*) FROM emp WHERE 'SECRET' = ANY (tags)", "0", "2024"),
        ("SELECT count(*) FROM log WHERE code = 2147483647", "0", "10"),
        ("SELECT count(*) FROM log WHERE code > 0", "10", "20"),
        ("SELECT count(*) FROM log l WHERE EXISTS (SELECT FROM log m WHERE m.secret = l.secret)", "0", "20"),
        ("SELECT count(*) FROM emp a JOIN emp b ON a.ssn = b.ssn", "0", "4000024"),
    ]);
}

/// Row 1, with parameters.
#[test]
fn parameters_meet_the_masked_value() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("SELECT count(*) FROM emp WHERE ssn = $1", &["SECRET-3"], "0", "1"),
        ("SELECT count(*) FROM emp WHERE ssn LIKE $1 OR pin = $2", &["SECRET%", "7"], "24", "2024"),
        ("SELECT count(*) FROM emp WHERE pin = ANY ($1)", &["{0,7}"], "24", "2008"),
    ];
    for (sql, values, masked, raw) in cases {
        for format in [0, 1] {
            let big_endian = |n: &str| n.parse::<i64>().unwrap().to_be_bytes().to_vec();
            for (caller, expected) in [(&mut ana, masked), (&mut max, raw)] {
                let answer = caller.wire.extended(sql, values, format);
                let row =
                    answer.messages.iter().find(|m| m.tag == b'D').unwrap_or_else(|| panic!("{}", answer.message()));
                let expected = if format == 0 { expected.as_bytes().to_vec() } else { big_endian(expected) };
                assert!(row.body.ends_with(&expected), "{sql}");
            }
        }
    }
    ana.look("parameters");
}

/// Row 2.
#[test]
fn shaping_sees_the_masked_value() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    assert_eq!(ana.rows("SELECT ssn, count(*) FROM emp GROUP BY ssn"), ["∅|24"]);
    assert_eq!(max.rows("SELECT ssn, count(*) FROM emp GROUP BY ssn").len(), 25);
    assert_eq!(ana.rows("SELECT DISTINCT pin, email, score FROM emp"), ["7|7|7.00"]);
    assert_eq!(ana.rows("SELECT DISTINCT ON (pin) id FROM emp ORDER BY pin, id"), ["1"]);
    assert_eq!(ana.rows("SELECT DISTINCT rank() OVER (ORDER BY badge) FROM emp"), ["1"]);
    assert_eq!(ana.cell("SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY pin) FROM emp"), "7");
    assert_eq!(ana.cell("SELECT max(ssn) FROM emp"), "∅");
    assert_eq!(ana.cell("SELECT sum(code) FROM log"), "110");
    assert_eq!(ana.rows("SELECT pin, grouping(pin) FROM emp GROUP BY CUBE (pin)"), ["7|0", "∅|1"]);
    // Ordered by what is shown, so by the second key.
    let order = ana.ask("SELECT id FROM emp ORDER BY badge DESC, id").rows();
    assert_eq!(order, (1..=24).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(ana.cell("SELECT count(*) FROM (SELECT ssn FROM emp INTERSECT SELECT 'SECRET-1') s"), "0");
    assert_eq!(ana.cell("SELECT count(DISTINCT (ssn, pin, born)) FROM emp"), "1");
}

/// Row 3.
#[test]
fn functions_see_the_masked_value() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    let sql = "SELECT lower(ssn), ssn || 'x', upper(email), concat(ssn, pin), pin - 1, ARRAY[ssn], to_json(email), md5(badge), \
               coalesce(ssn, 'nothing'), score::text, xmlforest(pin), jsonb_build_object('s', ssn, 'p', pin) FROM emp WHERE id = 1";
    assert_eq!(ana.cell(sql), "∅|∅|7|7|6|{NULL}|\"7\"|∅|nothing|7.00|<pin>7</pin>|{\"p\": 7, \"s\": null}");
    assert!(max.cell(sql).starts_with("secret-1|SECRET-1x|SECRET@1|SECRET-12147483647|"), "{}", max.code(sql));
    assert_eq!(ana.cell("SELECT string_agg(DISTINCT email, ',') FROM emp"), "7");
    assert_eq!(ana.cell("SELECT DISTINCT hashtext(secret) IS NULL FROM log"), "t");
    assert_eq!(ana.cell("SELECT count(*) FROM emp, unnest(tags) t"), "0");
    assert_eq!(ana.cell("SELECT count(*) FROM emp, jsonb_each(blob) t"), "0");
}

/// Masked columns look like unmasked ones to a driver.
#[test]
fn descriptions_are_those_of_the_bare_tables() {
    let mut ana = Caller::new(ANA);
    for sql in [
        "SELECT * FROM emp",
        "SELECT * FROM log",
        "SELECT ssn, email, pin, score, born, seen_secret, blob, tags, badge FROM emp",
        "SELECT e.*, l.code FROM emp e LEFT JOIN log l USING (id)",
        "SELECT email, score FROM emp UNION ALL SELECT email, score FROM emp",
        "SELECT max(score), min(email), array_agg(pin) FROM emp GROUP BY email",
        "SELECT (SELECT email FROM emp LIMIT 1) AS e, score * 2 AS s FROM emp",
        "SELECT kind, code FROM emp WHERE note::int > 0 AND note LIKE '1%'",
        "TABLE orders",
    ] {
        // The bare server must not stumble over hidden values either: descriptions come before rows.
        ana.described_as_unmasked(sql);
    }
}

/// Rows 13 and 14.
#[test]
fn whole_rows_are_masked_rows() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    for sql in [
        "SELECT emp FROM emp",
        "SELECT emp.* FROM emp",
        "SELECT e FROM emp e",
        "SELECT (e).ssn FROM emp e",
        "SELECT (emp.*).badge FROM emp",
        "SELECT ssn(emp) FROM emp",
        "SELECT emp.to_jsonb FROM emp",
        "SELECT e.row_to_json FROM emp e",
        "SELECT e.to_json FROM emp e",
        "SELECT to_jsonb(e) - 'body' FROM emp e",
        "SELECT row_to_json(e)->>'ssn' FROM emp e",
        "SELECT json_agg(e) FROM emp e",
        "SELECT array_agg(e) FROM emp e",
        "SELECT e::text FROM emp e",
        "SELECT ROW(e.*) FROM emp e",
        "SELECT (r).f33 FROM (SELECT ROW(e.*) AS r FROM emp e) s WHERE false",
        "SELECT x.* FROM emp e, LATERAL (SELECT e.*) x",
        "SELECT x FROM emp e, LATERAL (SELECT e) x",
        "SELECT j.* FROM emp e, jsonb_each_text(to_jsonb(e)) j",
        "SELECT log FROM log",
        "SELECT l.secret, (l).secret, l FROM log l",
        "SELECT xmlelement(name e, xmlforest(ssn, badge)) FROM emp",
        "SELECT count(e), max(e::text) FROM emp e",
        "SELECT quote_literal(e), format('%s', e), concat(e) FROM emp e",
        "SELECT md5(e::text) FROM emp e",
        "WITH s AS (SELECT emp FROM emp) SELECT (emp).ssn FROM s",
        "SELECT CASE WHEN e IS NOT NULL THEN e END FROM emp e",
        "SELECT unnest(ARRAY[e]) FROM emp e",
    ] {
        let answer = ana.ask(sql);
        assert!(matches!(answer.code().as_str(), "" | "42703" | "42809"), "{sql}: {}", answer.message());
    }
    assert_eq!(ana.cell("SELECT (emp).ssn FROM emp WHERE id = 1"), "∅");
    assert_eq!(max.cell("SELECT (emp).ssn FROM emp WHERE id = 1"), "SECRET-1");
    // The row type itself is not there: it names columns.
    for sql in
        ["SELECT NULL::emp", "SELECT emp::emp FROM emp", "SELECT * FROM jsonb_populate_record(NULL::public.emp, '{}')"]
    {
        assert_eq!(ana.code(sql), "42704", "{sql}");
    }
}

/// Row 15.
#[test]
fn there_are_no_system_columns() {
    for user in [ANA, MAX] {
        let mut caller = Caller::new(user);
        for column in ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"] {
            for table in ["emp", "log", "dept", "part"] {
                for sql in [
                    format!("SELECT {column} FROM {table}"),
                    format!("SELECT {table}.{column} FROM {table}"),
                    format!("SELECT count(*) FROM {table} t WHERE t.{column} IS NOT NULL"),
                    format!("SELECT id FROM {table} ORDER BY {column}"),
                ] {
                    assert_eq!(caller.code(&sql), "42703", "{user}: {sql}");
                }
            }
        }
    }
}

/// Rows 16 and 17: every way to read a table, with or without columns.
#[test]
fn every_reader_reads_through_the_policy() {
    counts(&[
        ("SELECT count(*) FROM emp", "24", "2024"),
        ("SELECT count(*) FROM peek", "0", "400"),
        ("SELECT count(*) FROM orders", "30", "2030"),
        ("SELECT count(*) FROM pay", "10", "411"),
        ("SELECT count(*) FROM ev", "8", "409"),
        ("SELECT count(*) FROM part", "20", "1421"),
        ("SELECT count(*) FROM ONLY emp", "24", "2024"),
        ("SELECT count(*) FROM ONLY part", "0", "0"),
        ("SELECT count(*) FROM (TABLE emp) s", "24", "2024"),
        ("SELECT count(*) FROM (SELECT FROM emp) s", "24", "2024"),
        ("SELECT count(*) FROM (SELECT 1 FROM peek LIMIT 5) s", "0", "5"),
        ("SELECT count(*) FROM emp AS e(a, b, c) WHERE b LIKE 'SECRET%'", "0", "2000"),
        ("SELECT count(*) FROM emp TABLESAMPLE BERNOULLI (100)", "24", "2024"),
        ("SELECT EXISTS (SELECT FROM peek)::int", "0", "1"),
        ("VALUES ((SELECT count(*) FROM peek))", "0", "400"),
        ("SELECT cardinality(ARRAY(SELECT id FROM peek))", "0", "400"),
        (
            "SELECT count(*) FROM ROWS FROM (unnest(ARRAY(SELECT id FROM peek)), generate_series(1, 1)) AS r(a, b)",
            "1",
            "400",
        ),
        ("SELECT count(*) FROM emp JOIN emp f USING (id)", "24", "2024"),
        ("SELECT count(*) FROM orders o NATURAL JOIN (SELECT id FROM orders) p", "30", "2030"),
        ("SELECT count(*) FROM (SELECT id FROM emp UNION SELECT id FROM peek) s", "24", "2400"),
        ("SELECT count(*) FROM (SELECT id FROM emp EXCEPT SELECT id FROM dept) s", "18", "2018"),
        ("SELECT count(*) FROM (SELECT id FROM peek INTERSECT ALL SELECT id FROM peek) s", "0", "400"),
        ("WITH s AS (SELECT * FROM emp), t AS (SELECT * FROM s) SELECT count(*) FROM t", "24", "2024"),
        ("WITH emp AS (SELECT * FROM emp) SELECT count(*) FROM emp", "24", "2024"),
        ("WITH emp AS MATERIALIZED (TABLE public.emp) SELECT count(*) FROM emp", "24", "2024"),
        (
            "WITH RECURSIVE r(id) AS (SELECT id FROM peek WHERE id < 3 UNION SELECT p.id FROM peek p, r WHERE p.id = r.id + 1) SELECT count(*) FROM r",
            "0",
            "400",
        ),
        ("SELECT count(*) FROM emp e, LATERAL (SELECT FROM peek p WHERE p.id <> e.id) l", "0", "809576"),
        ("SELECT count(*) FROM (emp CROSS JOIN peek) AS j", "0", "809600"),
        ("SELECT count(*) FROM emp LEFT JOIN peek ON emp.id = peek.id WHERE peek.id IS NOT NULL", "0", "24"),
        ("SELECT count(*) OVER () FROM emp LIMIT 1", "24", "2024"),
        ("SELECT max(id) FROM emp", "24", "2999"),
        ("SELECT count(*) FROM (SELECT dept FROM emp GROUP BY dept) s", "2", "3"),
        ("SELECT count(*) FROM emp WHERE id IN (SELECT id FROM emp WHERE dept = 'red')", "0", "2000"),
        (
            "SELECT count(*) FROM XMLTABLE('/r/i' PASSING (SELECT xmlelement(name r, xmlagg(xmlelement(name i, id))) FROM peek) COLUMNS i int PATH '.') x",
            "0",
            "400",
        ),
    ]);
}

/// Row 16: what is not understood is refused, by kind.
#[test]
fn other_statements_are_refused() {
    for user in [ANA, MAX, EVE] {
        let mut caller = Caller::new(user);
        for sql in [
            "SELECT * INTO copy FROM dept",
            "SELECT id FROM dept FOR SHARE",
            "CREATE TABLE x AS SELECT * FROM dept",
            "INSERT INTO dept VALUES (1)",
            "UPDATE dept SET name = 'x'",
            "DELETE FROM dept",
            "MERGE INTO dept USING dept d ON true WHEN MATCHED THEN DELETE",
            "WITH d AS (DELETE FROM dept RETURNING *) SELECT * FROM d",
            "EXPLAIN ANALYZE INSERT INTO dept VALUES (1)",
            "EXPLAIN ANALYZE SELECT * FROM peek, v_vault",
            "DO $$ BEGIN END $$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "LOCK TABLE dept",
            "CLUSTER",
            "REINDEX TABLE dept",
            "REFRESH MATERIALIZED VIEW m_emp",
        ] {
            let code = caller.code(sql);
            assert!(matches!(code.as_str(), "0A000" | "42501" | "42P01"), "{user}: {sql}: {code}");
        }
    }
}
