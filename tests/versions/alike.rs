//! What a version answers is what the installed one does: policies, functions and writes mean the same on each.

use crate::support::{MAJORS, PrivatePostgres};
use crate::wire::{Answer, Wire};
use crate::world::{ask, filled, login, look, runtime, started};
use std::sync::OnceLock;

/// Read by a caller under every kind of policy: masks of each kind, row rules of each kind, the forms that readers have.
const READS: &[&str] = &[
    "SELECT id, name, city, ssn, email, phone, age, born, salary, code, card, token, level, doc, nums FROM person ORDER BY id",
    "SELECT * FROM sale ORDER BY id",
    "SELECT * FROM part ORDER BY id",
    "SELECT * FROM free ORDER BY id",
    "SELECT * FROM totals ORDER BY id",
    "SELECT count(*), count(DISTINCT ssn), min(salary), max(born), avg(age) FROM person",
    "SELECT city, count(*), sum(age) FROM person GROUP BY city ORDER BY city",
    "SELECT id FROM person WHERE ssn = '123-45-1003'",
    "SELECT id FROM person WHERE email LIKE 'xxx%' AND age BETWEEN 25 AND 30 ORDER BY id",
    "SELECT id FROM person WHERE 100 / age > 2 ORDER BY id",
    "SELECT id FROM part WHERE note::int > 20 ORDER BY id",
    "SELECT p.id, s.item, s.qty FROM person p JOIN sale s ON s.person_id = p.id WHERE s.qty > 0 ORDER BY 1, 2, 3",
    "SELECT p.id, x.n FROM person p, LATERAL (SELECT count(*) AS n FROM sale s WHERE s.person_id = p.id) x ORDER BY 1",
    "SELECT id, row_number() OVER (PARTITION BY city ORDER BY id), sum(age) OVER w FROM person WINDOW w AS (ORDER BY id) ORDER BY 1",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT p.id, p.ssn FROM person p JOIN t ON t.n = p.id ORDER BY 1",
    "SELECT id FROM person UNION SELECT id FROM part EXCEPT SELECT id FROM free ORDER BY 1",
    "SELECT grouping(city), city, count(*) FROM person GROUP BY ROLLUP (city) ORDER BY 1, 2",
    "SELECT row_to_json(p)->>'name', to_jsonb(p)->'doc' FROM person p ORDER BY id",
    "SELECT extract(year FROM born), date_trunc('month', born), to_char(salary, '9999.99') FROM person ORDER BY id",
    "SELECT position('b' IN label), substring(label FROM 2 FOR 3), trim(both 'l' FROM label), overlay(label PLACING 'x' FROM 1) FROM free ORDER BY id",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), string_agg(label, ',' ORDER BY id), array_agg(id ORDER BY id DESC) FROM free",
    "SELECT id FROM free WHERE r @> 7 AND ia @> ARRAY[3] ORDER BY id",
    "SELECT ts AT TIME ZONE 'Asia/Tokyo', ts + interval '1 month' FROM free ORDER BY id",
    "SELECT current_user, session_user, current_schema(), current_setting('search_path')",
    "SELECT person, totals.qty FROM person JOIN totals USING (id) ORDER BY person.id",
    "TABLE free LIMIT 3",
    "VALUES (1, 'a'), (2, 'b')",
    "EXPLAIN SELECT * FROM person WHERE ssn = 'x'",
    "EXPLAIN (FORMAT JSON, COSTS OFF) SELECT count(*) FROM part",
    "SELECT * FROM zz_vault",
    "SELECT ssn_raw FROM person",
    "SELECT relname FROM pg_class WHERE relname LIKE 'zz%'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT 1 / 0",
    "SELECT label::int FROM free WHERE id = 1",
    "SELECT has_table_privilege('person', 'SELECT'), to_regclass('zz_vault'), obj_description('person'::regclass)",
];

/// Copied, in the forms of COPY.
const COPIES: &[&str] = &[
    "COPY person (id, ssn, token) TO STDOUT",
    "COPY (SELECT * FROM part ORDER BY id) TO STDOUT (FORMAT csv, HEADER)",
    "COPY (SELECT id, salary FROM person ORDER BY id) TO STDOUT (FORMAT binary)",
];

/// Written by the same caller, in this order.
const WRITES: &[&str] = &[
    "INSERT INTO free (id, label, n) VALUES (100, 'new', 1), (101, 'newer', 2) RETURNING *",
    "INSERT INTO free (id, label, n) VALUES (1, 'taken', 1)",
    "INSERT INTO free (id, label, n) VALUES (1, 'taken', 1) ON CONFLICT (id) DO UPDATE SET label = excluded.label || '!', n = free.n + 1 RETURNING id, label, n",
    "UPDATE person SET level = 'changed', age = age + 1 WHERE city = 'Bonn' RETURNING id, ssn, age",
    "UPDATE person SET level = 'changed' WHERE id > 1000",
    "UPDATE person SET city = 'Kiel' WHERE id = 3",
    "UPDATE person SET email = ssn WHERE id = 3",
    "UPDATE part AS p SET note = f.label FROM free f WHERE f.id = p.id RETURNING p.id, p.note",
    "INSERT INTO part VALUES (700, 'Kiel', 'x')",
    "INSERT INTO part VALUES (700, 'Bonn', 'x') RETURNING *",
    "DELETE FROM part WHERE note = 'x' RETURNING *",
    "DELETE FROM part WHERE id > 1000",
    "DELETE FROM free USING part p WHERE p.id = free.id AND free.id = 3 RETURNING free.id",
    "WITH gone AS (DELETE FROM free WHERE id = 5 RETURNING id, label) INSERT INTO free (id, label, n) SELECT id + 500, label, 1 FROM gone RETURNING *",
    "TRUNCATE person",
    "MERGE INTO free f USING (VALUES (7), (900)) v(id) ON f.id = v.id WHEN MATCHED THEN UPDATE SET label = 'merged' WHEN NOT MATCHED THEN INSERT (id, label, n) VALUES (v.id, 'made', 1)",
    "MERGE INTO person p USING free f ON p.id = f.id WHEN MATCHED AND p.ssn = '123-45-1006' THEN DELETE WHEN MATCHED THEN UPDATE SET level = 'm'",
    "CREATE TEMP TABLE mine AS SELECT id, ssn FROM person",
    "SELECT count(*), min(ssn) FROM mine",
    "DROP TABLE mine",
];

/// What an answer is, without what a server chooses: OIDs of its own types, and source lines of errors.
fn essence(answer: &Answer) -> Vec<String> {
    let columns = answer.columns().into_iter().map(|c| {
        let oid = if c.type_oid < 16384 { c.type_oid } else { 0 };
        format!("{} {oid} {} {}", c.name, c.type_len, c.typmod)
    });
    let error = answer.error().map(|e| {
        let field = |kind| e.field(kind).unwrap_or_default();
        format!("{} {} {} {} {}", field(b'C'), field(b'M'), field(b'P'), field(b'D'), field(b'H'))
    });
    columns.chain(answer.sorted()).chain(answer.tags()).chain(error).collect()
}

type Said = Vec<(&'static str, Vec<String>)>;

fn read(running: &crate::support::Running) -> Said {
    let mut ana = login(running, "ana");
    let mut said: Said = READS.iter().map(|sql| (*sql, essence(&ask(&mut ana, sql)))).collect();
    for sql in COPIES {
        let copied = ana.simple(sql);
        assert_eq!(copied.message(), "", "{sql}");
        look(&mut ana, sql);
        said.push((sql, vec![copied.copied().escape_ascii().to_string()]));
    }
    said
}

fn written(running: &crate::support::Running) -> Said {
    let mut ana = login(running, "ana");
    let say = |wire: &mut Wire, sql: &'static str| {
        let answer = wire.simple(sql);
        (sql, essence(&answer))
    };
    let mut said: Said = WRITES
        .iter()
        .map(|sql| {
            let said = say(&mut ana, sql);
            look(&mut ana, sql);
            said
        })
        .collect();
    let mut max = login(running, "max");
    for sql in ["SELECT id, ssn, email, level, age, city FROM person", "TABLE part", "TABLE free"] {
        said.push(say(&mut max, sql));
    }
    said
}

/// The installed version's answers.
fn reference(
    kind: fn(&crate::support::Running) -> Said,
    said: &'static OnceLock<Said>,
    database: &str,
) -> &'static Said {
    said.get_or_init(|| {
        let server: &'static PrivatePostgres = crate::support::server();
        let running = runtime().block_on(async { filled(server, database, crate::world::WILD).await.start().await });
        kind(&running)
    })
}

fn compare(here: &Said, there: &Said, skip: impl Fn(&str) -> bool) {
    let differ: Vec<String> = here
        .iter()
        .zip(there)
        .filter(|((sql, here), (_, there))| !skip(sql) && here != there)
        .map(|((sql, here), (_, there))| {
            let at = here.iter().zip(there).position(|(h, t)| h != t).unwrap_or(here.len().min(there.len()));
            format!("{sql}\n  here:  {:?}\n  there: {:?}", here.get(at), there.get(at))
        })
        .collect();
    assert!(differ.is_empty(), "{} differences\n{}", differ.len(), differ.join("\n"));
}

pub fn reads(major: u32) {
    static REFERENCE: OnceLock<Said> = OnceLock::new();
    assert!(MAJORS.contains(&major));
    // Before 14 `extract` is `date_part`: a float, not a number.
    let skip = |sql: &str| major < 14 && sql.contains("extract(");
    compare(&read(&started(major, "reads")), reference(read, &REFERENCE, "reads"), skip);
}

pub fn writes(major: u32) {
    static REFERENCE: OnceLock<Said> = OnceLock::new();
    let here = written(&started(major, "writes"));
    let there = reference(written, &REFERENCE, "writes");
    if major >= 15 {
        return compare(&here, there, |_| false);
    }
    // MERGE is unknown there, so that what it would have written differs too.
    let merges = |sql: &&str| sql.starts_with("MERGE");
    for (sql, said) in here.iter().filter(|(sql, _)| merges(sql)) {
        assert!(said.iter().any(|line| line.starts_with("42")), "{sql}: {said:?}");
    }
    let before = WRITES.iter().position(merges).unwrap();
    compare(&here[..before].to_vec(), &there[..before].to_vec(), |_| false);
}
