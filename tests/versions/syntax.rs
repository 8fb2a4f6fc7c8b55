//! What a version brings of its own: answered as the server itself does, or refused by name; and in no version a way to what is hidden.

use crate::support::{Running, server_of};
use crate::wire::Wire;
use crate::world::{TAME, ask, filled, login, look, runtime};

/// How a statement is answered where the server knows it.
enum Ends {
    /// As directly.
    Same,
    /// Refused by the proxy, with this code.
    Refused(&'static str),
}
use Ends::{Refused, Same};

/// The first version that knows it, the statement, how it ends. Over `free`, which is shown whole, so that the direct answer is the same.
const STATEMENTS: &[(u32, &str, Ends)] = &[
    (14, "SELECT int4multirange(int4range(1, 3), int4range(5, 8))", Same),
    (14, "SELECT range_agg(r) FROM free", Same),
    (14, "SELECT j.id FROM free f JOIN free g USING (id) AS j WHERE j.id < 5", Same),
    (14, "SELECT id, count(*) FROM free GROUP BY DISTINCT ROLLUP (id), id", Same),
    (14, "SELECT date_bin('1 hour', ts, timestamptz '2020-01-01') FROM free", Same),
    (14, "SELECT string_to_table('a,b', ',')", Same),
    (14, "SELECT ('{\"a\": 1}'::jsonb)['a']", Same),
    (
        14,
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT * FROM t",
        Same,
    ),
    (
        14,
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) CYCLE n SET c USING p SELECT * FROM t",
        Same,
    ),
    (15, "SELECT regexp_count('banana', 'a'), regexp_substr('banana', 'n.')", Same),
    (16, "SELECT any_value(label) FROM free WHERE id = 3", Same),
    (16, "SELECT 0x1F, 0b101, 0o17, 1_000", Same),
    (16, "SELECT 0xFFFFFFFFFFFF, 1_000_000_000_000", Same),
    (16, "SELECT id FROM (SELECT id FROM free) WHERE id < 4", Same),
    (16, "SELECT '{}' IS JSON OBJECT", Same),
    (16, "SELECT JSON_ARRAY(1, 2)", Refused("0A000")),
    (16, "SELECT JSON_OBJECT('a': id) FROM free", Refused("0A000")),
    (16, "SELECT JSON_ARRAYAGG(id) FROM free", Refused("0A000")),
    (17, "SELECT JSON_VALUE('{\"a\": 1}', '$.a')", Refused("0A000")),
    (17, "SELECT JSON_EXISTS(jsonb '{}', '$.a')", Refused("0A000")),
    (17, "SELECT * FROM JSON_TABLE(jsonb '[1, 2]', '$[*]' COLUMNS (x int PATH '$')) t", Refused("0A000")),
    (17, "SELECT ts AT LOCAL FROM free", Same),
    (17, "SELECT to_bin(5), to_oct(8)", Same),
    (
        17,
        "MERGE INTO free f USING (VALUES (7)) v(id) ON f.id = v.id WHEN MATCHED THEN DO NOTHING RETURNING merge_action(), f.id",
        Refused("0A000"),
    ),
    (
        17,
        "MERGE INTO free f USING (VALUES (7)) v(id) ON f.id = v.id WHEN NOT MATCHED BY SOURCE THEN DO NOTHING",
        Refused("0A000"),
    ),
    (18, "SELECT casefold('AB'), array_sort(ARRAY[3, 1]), crc32('a'::bytea), reverse('ab'::bytea)", Same),
    (18, "UPDATE free SET n = n WHERE id = 2 RETURNING WITH (OLD AS o) o.label", Refused("0A000")),
];

/// Ways to the rows as they were, of columns that are masked and rows that are hidden.
const OLD_AND_NEW: &[&str] = &[
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING old.ssn",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING new.ssn, old.token",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING old.*",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING old",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING to_jsonb(old), new::text",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING (SELECT old.token)",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING (SELECT x FROM (SELECT old AS x) s)",
    "UPDATE person AS old SET level = 'x' WHERE old.id = 3 RETURNING old.ssn, old.token, old.card",
    "UPDATE person AS new SET level = 'x' WHERE new.id = 3 RETURNING new.*",
    "UPDATE person SET level = 'x' FROM free AS old WHERE old.id = 3 AND person.id = 3 RETURNING old.*, person.token",
    "UPDATE person SET level = 'x' FROM free AS new WHERE new.id = 3 AND person.id = 3 RETURNING new.label, ssn",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING WITH (OLD AS o, NEW AS n) o.ssn, n.token",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING WITH (OLD AS person) person.token",
    "UPDATE person SET level = 'x' WHERE id = 3 RETURNING WITH (NEW AS _sv) _sv.token",
    "DELETE FROM person WHERE id = 3 RETURNING old.token",
    "DELETE FROM person WHERE id = 3 RETURNING new.*, old.card",
    "INSERT INTO person (id, name, city, age) VALUES (3, 'x', 'Bonn', 30) ON CONFLICT (id) DO UPDATE SET level = 'x' RETURNING old.token, new.card",
    "MERGE INTO person p USING free f ON p.id = f.id AND f.id = 3 WHEN MATCHED THEN UPDATE SET level = 'x' RETURNING old.token, merge_action()",
    "MERGE INTO person p USING free f ON p.id = f.id WHEN NOT MATCHED BY SOURCE AND p.token LIKE 'secret%' THEN DELETE",
    "WITH w AS (UPDATE person SET level = 'x' WHERE id = 3 RETURNING old.token AS t) SELECT t FROM w",
];

pub fn of(major: u32) {
    let running = runtime().block_on(async {
        let mut stage = filled(server_of(major), "syntax", TAME).await;
        if major >= 18 {
            stage = stage.sql(COMPUTED).await.sources(&[
                ("virt", "{city: [City]}"),
                ("over", "{city: [City]}"),
                ("above", "{city: [City]}"),
                ("booked", "{}"),
            ]);
        }
        stage.start().await
    });
    let mut ana = login(&running, "ana");
    let ended = STATEMENTS
        .iter()
        .filter_map(|(since, sql, ends)| statement(&running, &mut ana, major >= *since, sql, ends).err());
    let ended: Vec<String> = ended.collect();
    assert!(ended.is_empty(), "PostgreSQL {major}:\n{}", ended.join("\n"));
    for sql in OLD_AND_NEW {
        for wire_sql in [sql.to_string(), format!("EXPLAIN {sql}"), format!("PREPARE p AS {sql}")] {
            ana.simple("BEGIN");
            ana.simple(&wire_sql);
            ana.simple("ROLLBACK");
            for raw in ["123-45-", "secret", "4111-"] {
                let found = ana.seen.windows(raw.len()).any(|w| w == raw.as_bytes());
                assert!(!found || wire_sql.contains(raw), "{raw} came back for {wire_sql}");
            }
            look(&mut ana, &wire_sql);
            ana.simple("DEALLOCATE ALL");
        }
    }
    if major >= 18 {
        computed(&running, &mut ana);
    }
}

/// Why the statement did not end as it should.
fn statement(running: &Running, ana: &mut Wire, known: bool, sql: &str, ends: &Ends) -> Result<(), String> {
    let answer = ask(ana, sql);
    let told = format!("{sql}: {} {}", answer.code(), answer.message());
    match ends {
        _ if !known => return answer.error().map(drop).ok_or(format!("is answered: {sql}")),
        Refused(code) => {
            let clear = answer.code() == *code && answer.message().contains("not supported");
            return if clear { Ok(()) } else { Err(told) };
        }
        Same => {}
    }
    if answer.error().is_some() {
        return Err(told);
    }
    let direct = running.admin_psql(&["-At", "-F", "|", "-P", "null=∅", "-c", sql]);
    assert!(direct.ok, "{sql}: {}", direct.err);
    let mut lines: Vec<String> = direct.out.lines().map(str::to_owned).collect();
    lines.sort();
    let here = if answer.columns().is_empty() { answer.tags() } else { answer.sorted() };
    if here == lines { Ok(()) } else { Err(format!("{sql}:\n  {here:?}\n  {lines:?}")) }
}

/// Columns that are computed when they are read: of a table, behind a view, in a child of a table; and constraints over time.
const COMPUTED: &str = "
    CREATE TABLE virt (id int PRIMARY KEY, city text, x int, ratio int GENERATED ALWAYS AS (100 / x) VIRTUAL);
    INSERT INTO virt (id, city, x) SELECT i, 'Bonn', i FROM generate_series(1, 20) i;
    INSERT INTO virt (id, city, x) SELECT i, 'Kiel', 0 FROM generate_series(21, 200) i;
    CREATE VIEW over AS SELECT id, city, ratio FROM virt;
    CREATE TABLE above (id int, city text, x int, ratio int GENERATED ALWAYS AS (100) VIRTUAL);
    CREATE TABLE zz_child (ratio int GENERATED ALWAYS AS (100 / x) VIRTUAL) INHERITS (above);
    INSERT INTO above VALUES (1000, 'Bonn', 1); INSERT INTO zz_child (id, city, x) SELECT id, city, x FROM virt;
    CREATE EXTENSION btree_gist;
    CREATE TABLE booked (id int, during int4range, note text NOT NULL, PRIMARY KEY (id, during WITHOUT OVERLAPS));
    INSERT INTO booked VALUES (1, '[1,5)', 'a'), (1, '[5,9)', 'b');
    ANALYZE";

fn computed(running: &Running, ana: &mut Wire) {
    let mut max = login(running, "max");
    for plan in ["RESET enable_seqscan", "SET enable_seqscan = off"] {
        assert_eq!(ana.simple(plan).code(), "");
        for (table, rows) in [("virt", 20), ("over", 20), ("above", 21)] {
            let mut raised = 0;
            for sql in [
                format!("SELECT id FROM {table} WHERE ratio > 0"),
                format!(
                    "SELECT t.id FROM {table} t JOIN free f ON t.ratio = f.id + 0 OR t.ratio > 0 AND f.id = 1 GROUP BY t.id"
                ),
                format!("SELECT id FROM {table} WHERE ratio IS NOT NULL AND city <> 'x'"),
            ] {
                let answer = ask(ana, &sql);
                assert_eq!((answer.code().as_str(), answer.rows().len()), ("", rows), "{sql}: {}", answer.message());
                raised += usize::from(max.simple(&sql).code().starts_with("22"));
            }
            // To whom nothing hides the rows the server tells of them; through a parent it computes what the parent says.
            assert!(raised > 0 || table == "above", "{table}");
        }
        let counted = ask(ana, "SELECT count(*), sum(ratio), min(ratio) FROM virt");
        assert_eq!(counted.rows(), ["20|354|5"]);
    }
    let twice = ana.simple("INSERT INTO booked VALUES (1, '[2,3)', 'zz_hidden')");
    assert_eq!(twice.code(), "42501");
    assert_eq!(ask(ana, "SELECT note FROM booked WHERE during @> 6").rows(), ["b"]);
}
