//! `K-Anonymization`.

use crate::support::{ANYONE, Running, Stage};
use crate::{conditional, extended, masking, plan, simple};

/// Rows: (city, age): k-1 and k of each combination at k = 3; with NULLs; one only together with a row that a filter hides.
const ROWS: &str = "INSERT INTO visit (city, age, hidden, note, big, mood, tags) SELECT city, age, hidden, 'n', age * 10.50, 'sad', tags FROM (VALUES
    ('Bonn', 30, false, '{a}'::text[]), ('Bonn', 30, false, '{a}'), ('Bonn', 30, false, '{a}'),
    ('Bonn', 31, false, '{a,b}'), ('Bonn', 31, false, '{a,b}'),
    ('Köln', NULL, false, NULL), ('Köln', NULL, false, NULL), ('Köln', NULL, false, '{}'),
    (NULL, 40, false, '{}'), (NULL, 40, false, '{}'),
    ('Ulm', 50, false, '{NULL}'), ('Ulm', 50, false, '{NULL}'), ('Ulm', 50, true, '{NULL}')) AS v (city, age, hidden, tags)";

async fn stage() -> Running {
    let kanon =
        |group: &str, columns: &str, config: &str| masking(group, columns, &format!("type: K-Anonymization{config}"));
    Stage::new()
        .await
        .sql(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN years AS int;
             CREATE TABLE visit (id serial PRIMARY KEY, city varchar(20), age years, hidden bool, note json, big numeric(8,2), mood mood, tags text[])",
        )
        .await
        .sql(&ROWS.replace("'n'", "'{}'::json"))
        .await
        .source("{table: visit, schema: public}")
        .policy(ANYONE)
        .user("raw", &[], &[])
        .user("three", &["three"], &[])
        .user("two", &["two"], &[])
        .user("city", &["city"], &[])
        .user("default", &["default"], &[])
        .user("filtered", &["three", "filtered"], &[])
        .user("many", &["many"], &[])
        .user("hashed", &["three", "hashed"], &[])
        .user("cut", &["three", "cut"], &[])
        .user("sometimes", &["sometimes"], &[])
        .user("both", &["three", "city"], &[])
        .policy(&kanon("three", "city|age", ", kLevel: 3"))
        .policy(&kanon("two", "city|age", ", reIdProbability: 50"))
        .policy(&kanon("city", "city", ", kLevel: 4"))
        .policy(&kanon("default", "city|mood|big|tags|note", ""))
        .policy(&kanon("many", "age|mood|big|tags|note", ", kLevel: 3"))
        .policy(&masking("hashed", "city", "type: Hash"))
        .policy(&masking("cut", "city", "type: Regular Expression, regex: '^(.).*$', replacement: '$1'"))
        .policy(&conditional("sometimes", "city|age", "type: K-Anonymization, kLevel: 3", ", conditionalPredicate: \"age > 30\""))
        .policy(
            "policyKey: filter\nname: x\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
             inclusions: {groups: [filtered]}\n    config: {predicate: 'NOT hidden'}\n",
        )
        .start()
        .await
}

const SHOWN: &str = "SELECT city::text, age::text FROM visit ORDER BY id";

#[tokio::test]
async fn rare_combinations_are_null() {
    let running = stage().await;
    let three = [
        "Bonn|30", "Bonn|30", "Bonn|30", "-|-", "-|-", "Köln|-", "Köln|-", "Köln|-", "-|-", "-|-", "Ulm|50", "Ulm|50",
        "Ulm|50",
    ];
    let two = [
        "Bonn|30", "Bonn|30", "Bonn|30", "Bonn|31", "Bonn|31", "Köln|-", "Köln|-", "Köln|-", "-|40", "-|40", "Ulm|50",
        "Ulm|50", "Ulm|50",
    ];
    // Bonn occurs five times, the others three times or less; age is not the rule's.
    let city = [
        "Bonn|30", "Bonn|30", "Bonn|30", "Bonn|31", "Bonn|31", "-|-", "-|-", "-|-", "-|40", "-|40", "-|50", "-|50",
        "-|50",
    ];
    for (user, expected) in [
        ("three", three.to_vec()),
        ("two", two.to_vec()),
        ("city", city.to_vec()),
        (
            "default",
            vec!["-|30", "-|30", "-|30", "-|31", "-|31", "-|-", "-|-", "-|-", "-|40", "-|40", "-|50", "-|50", "-|50"],
        ),
        // The row that is hidden counts, and stays hidden.
        ("filtered", three[..12].to_vec()),
        // Both rules hold.
        (
            "both",
            vec![
                "Bonn|30", "Bonn|30", "Bonn|30", "-|-", "-|-", "-|-", "-|-", "-|-", "-|-", "-|-", "-|50", "-|50",
                "-|50",
            ],
        ),
        // Shown where k is reached, and then as the next mask has it: a mask beside another never shows more.
        (
            "cut",
            three
                .iter()
                .map(|r| match *r {
                    "Bonn|30" => "B|30",
                    "Köln|-" => "K|-",
                    "Ulm|50" => "U|50",
                    other => other,
                })
                .collect(),
        ),
        // Masked where the predicate is true or NULL.
        (
            "sometimes",
            vec![
                "Bonn|30", "Bonn|30", "Bonn|30", "-|-", "-|-", "Köln|-", "Köln|-", "Köln|-", "-|-", "-|-", "Ulm|50",
                "Ulm|50", "Ulm|50",
            ],
        ),
    ] {
        let client = running.client(user).await;
        assert_eq!(simple(&client, SHOWN).await, expected, "{user}");
        assert_eq!(extended(&client, SHOWN).await, expected, "{user}");
        // No setting of the session counts otherwise, and whatever asks sees the same.
        client
            .batch_execute("SET extra_float_digits = -15; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'")
            .await
            .expect("settings");
        assert_eq!(simple(&client, SHOWN).await, expected, "{user}");
        let all = simple(&client, "SELECT count(*), count(city), count(age) FROM visit").await;
        let count = |at: usize| expected.iter().filter(|r| r.split('|').nth(at) != Some("-")).count();
        assert_eq!(all, [format!("{}|{}|{}", expected.len(), count(0), count(1))], "{user}");
        let rows =
            simple(&client, "SELECT t.city FROM visit AS t TABLESAMPLE BERNOULLI (100) WHERE t.city LIKE 'K%'").await;
        assert_eq!(rows.len(), expected.iter().filter(|r| r.starts_with('K')).count(), "{user}");
    }
    // Rare combinations, of the raw values, are NULL whatever else there is; the others have the other mask.
    let client = running.client("hashed").await;
    let rows = simple(&client, "SELECT length(city), age FROM visit ORDER BY id").await;
    assert_eq!(rows[..7], ["20|30", "20|30", "20|30", "-|-", "-|-", "20|-", "20|-"], "{rows:?}");
}

#[tokio::test]
async fn every_type_that_can_be_counted() {
    let running = stage().await;
    let client = running.client("many").await;
    let rows = simple(&client, "SELECT age, big, mood, tags, note FROM visit ORDER BY id").await;
    assert_eq!(rows[0], "30|315.00|sad|{a}|-", "json has no equality: NULL");
    assert_eq!(rows[3], "-|-|-|-|-");
    // NULL and the empty array are different values: 2 and 1 rows.
    assert_eq!(rows[5..8], ["-|-|-|-|-", "-|-|-|-|-", "-|-|-|-|-"]);
    assert_eq!(rows[10], "50|525.00|sad|{NULL}|-");
    let described = client.prepare("SELECT age, big, mood, tags, note FROM visit").await.expect("prepared");
    let raw =
        running.client("raw").await.prepare("SELECT age, big, mood, tags, note FROM visit").await.expect("prepared");
    let types =
        |s: &tokio_postgres::Statement| s.columns().iter().map(|c| c.type_().name().to_owned()).collect::<Vec<_>>();
    assert_eq!(types(&described), types(&raw));
}

/// A point lookup finds its row by the index, a statement that shows no masked column counts nothing, and a scan counts once.
#[tokio::test]
async fn one_pass_for_a_statement() {
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE wide (id int PRIMARY KEY, a int, b text, c int);
              INSERT INTO wide SELECT i, i % 50, 'b' || i % 7, i FROM generate_series(1, 100000) i; ANALYZE wide",
        )
        .await
        .source("{table: wide, schema: public}")
        .policy(ANYONE)
        .user("ann", &["k"], &[])
        .policy(&masking("k", "a|b", "type: K-Anonymization, kLevel: 5"))
        .start()
        .await;
    let lookup = plan(&running, "ann", "SELECT * FROM wide WHERE id = 77").await;
    assert!(lookup.contains("Index Scan using wide_pkey on wide _sv"), "{lookup}");
    let scan = plan(&running, "ann", "SELECT * FROM wide").await;
    assert_eq!(scan.matches("on wide _sx").count(), 1, "both columns look at one count\n{scan}");
    let unmasked = plan(&running, "ann", "SELECT id, c FROM wide WHERE c > 5").await;
    assert!(!unmasked.contains("_sx"), "{unmasked}");
    let filtered = plan(&running, "ann", "SELECT id FROM wide WHERE a = 5").await;
    assert!(filtered.contains("hashed SubPlan"), "{filtered}");

    let client = running.client("ann").await;
    for sql in ["SELECT * FROM wide WHERE id = 77", "SELECT count(a), count(b) FROM wide", "SELECT count(*) FROM wide"]
    {
        let begin = std::time::Instant::now();
        simple(&client, sql).await;
        println!("{sql}: {:?}", begin.elapsed());
        assert!(begin.elapsed().as_secs() < 10, "{sql}");
    }
    // Rows come in the table's own order, whatever is hidden in them.
    let rows = simple(&client, "SELECT id FROM (SELECT id, a FROM wide) t").await;
    assert!(rows.iter().enumerate().all(|(at, id)| *id == (at + 1).to_string()));
}

/// A registered query is counted as the relation it stands for, a view and a partitioned table as a whole.
#[tokio::test]
async fn whatever_the_relation_is() {
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE base (id int, a text) PARTITION BY LIST (id); CREATE TABLE part_1 PARTITION OF base FOR VALUES IN (1);
             CREATE TABLE part_2 PARTITION OF base FOR VALUES IN (2);
             INSERT INTO base VALUES (1, 'x'), (1, 'y'), (1, 'y'), (2, 'x'), (2, 'z'); CREATE VIEW seen AS SELECT * FROM base WHERE id = 1",
        )
        .await
        .source("{table: base, schema: public}")
        .source("{table: seen, schema: public}")
        .source("query: SELECT id, a FROM public.base WHERE id = 2\nnaming: {schema: public, table: asked}")
        .policy(ANYONE)
        .user("ann", &["k"], &[])
        .policy(&masking("k", "a", "type: K-Anonymization, kLevel: 2"))
        .start()
        .await;
    let client = running.client("ann").await;
    for (from, expected) in [
        ("base", vec!["x", "y", "y", "x", "-"]),
        ("seen", vec!["-", "y", "y"]),
        ("asked", vec!["-", "-"]),
        ("ONLY seen", vec!["-", "y", "y"]),
    ] {
        let mut found = simple(&client, &format!("SELECT a FROM {from}")).await;
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{from}");
    }
}

/// Statements of every form over the view, with a join beside it.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_statement() {
    let running = stage().await;
    let client = running.client("filtered").await;
    for (sql, expected) in [
        (
            "SELECT city, count(*) FROM visit GROUP BY city HAVING count(*) > 2 ORDER BY 1",
            vec!["Bonn|3", "Köln|3", "-|4"],
        ),
        (
            "SELECT a.city FROM visit a JOIN visit b ON a.id = b.id + 1 AND a.city = b.city ORDER BY a.id",
            vec!["Bonn", "Bonn", "Köln", "Köln", "Ulm"],
        ),
        ("SELECT id, city, age FROM visit GROUP BY id ORDER BY id LIMIT 1", vec!["1|Bonn|30"]),
        ("SELECT 10 / (id - 100) FROM visit WHERE 10 / (id - 100) IS NOT NULL AND city = 'Ulm' LIMIT 1", vec!["0"]),
        ("SELECT t.city FROM visit t (number, city) ORDER BY number LIMIT 1", vec!["Bonn"]),
        ("WITH v AS MATERIALIZED (SELECT * FROM visit) SELECT max(age) FROM v", vec!["50"]),
        ("SELECT (SELECT count(*) FROM visit w WHERE w.city = v.city) FROM visit v WHERE id = 1", vec!["3"]),
        ("SELECT (visit).city FROM visit WHERE id = 5", vec!["-"]),
        ("SELECT city FROM visit WHERE id = 1 UNION ALL SELECT city FROM visit WHERE id = 4", vec!["Bonn", "-"]),
    ] {
        assert_eq!(simple(&client, sql).await, expected, "{sql}");
    }
    let statement = client.prepare("SELECT city::text FROM visit WHERE id = $1 AND city = $2").await.expect("prepared");
    let rows = client.query(&statement, &[&1i32, &"Bonn"]).await.expect("rows");
    assert_eq!(rows.len(), 1);
    let rows = client.query(&statement, &[&4i32, &"Bonn"]).await.expect("rows");
    assert_eq!(rows.len(), 0, "what is masked matches nothing");
    client.batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT city FROM visit ORDER BY id").await.expect("a cursor");
    assert_eq!(simple(&client, "FETCH 4 FROM c").await, ["Bonn", "Bonn", "Bonn", "-"]);
    client.batch_execute("ROLLBACK").await.expect("the end");
    let out =
        running.psql("filtered", &["-c", "COPY (SELECT id, city FROM visit WHERE id IN (3, 4) ORDER BY id) TO STDOUT"]);
    assert_eq!(out.out, "3\tBonn\n4\t\\N\n", "{}", out.err);
}
