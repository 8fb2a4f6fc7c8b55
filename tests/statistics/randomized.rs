//! `Randomized Response`.

use crate::support::{ANYONE, Running, Stage};
use crate::{extended, masking, simple};

const FINGERPRINT: &str = "dataSource: poll\ninstant: 2026-01-01\nrows: 2000\ncolumns:\n\
    - {name: n, min: 0, max: 1999}\n- {name: town, values: [Bonn, Ulm, 'Bad \"X\", {y}', Trier]}\n- {name: tag, values: [1, 2]}\n";

const TABLE: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
    CREATE TABLE poll (id int PRIMARY KEY, n int, yes bool, mood mood, town varchar(12), free text, num numeric(8,2), f float8, tag int8);
    INSERT INTO poll SELECT i, i, true, 'ok', 'Bonn', 'x', i + 0.25, i + 0.123456789, 1 FROM generate_series(0, 1999) i;
    INSERT INTO poll (id) VALUES (5000)";

fn stage_of(stage: Stage) -> Stage {
    let rate = |percent: &str| format!("type: Randomized Response, replacementRatePercent: {percent}");
    let noise = |rest: &str| format!("type: Randomized Response, stddev: {rest}");
    stage
        .source("{table: poll, schema: public}")
        .policy(ANYONE)
        .fingerprint(FINGERPRINT)
        .user("raw", &[], &[])
        .user("ten", &["ten"], &[])
        .user("half", &["half"], &[])
        .user("all", &["all"], &[])
        .user("two", &["two"], &[])
        .user("three", &["three"], &[])
        .user("clip", &["clip"], &[])
        .policy(&masking("ten", "yes|mood|town|free|tag", &rate("10")))
        .policy(&masking("half", "yes|mood|town", &rate("50")))
        .policy(&masking("all", "yes|mood|town|num|f", &rate("100")))
        .policy(&masking("two", "n|num|f|tag|town", &noise("2")))
        .policy(&masking("three", "n|num|f", &noise("3, clip: false")))
        .policy(&masking("clip", "n|num", &noise("500, clip: true")))
        .project("projectKey: joint\nname: joint\nallowMaskedJoins: true\nsubscriptionPolicy: {type: anyone}\n")
}

async fn stage() -> Running {
    stage_of(Stage::new().await.sql(TABLE).await).start().await
}

/// How many of the rows satisfy a condition.
async fn count(running: &Running, user: &str, condition: &str) -> i64 {
    let client = running.client(user).await;
    let rows = simple(&client, &format!("SELECT count(*) FROM poll WHERE {condition}")).await;
    rows[0].parse().expect("a number")
}

#[tokio::test]
async fn a_part_of_the_rows_gets_another_value_of_the_domain() {
    let running = stage().await;
    // A tenth is replaced, by the true value as often as by any other of the domain.
    for (user, condition, expected) in [
        ("ten", "NOT yes", 2000.0 * 0.1 / 2.0),
        ("ten", "mood <> 'ok'", 2000.0 * 0.1 * 2.0 / 3.0),
        ("ten", "mood = 'glad'", 2000.0 * 0.1 / 3.0),
        ("ten", "town <> 'Bonn'", 2000.0 * 0.1 * 3.0 / 4.0),
        ("ten", "tag = 2", 2000.0 * 0.1 / 2.0),
        ("half", "NOT yes", 500.0),
        ("half", "town = 'Bad \"X\", {y}'", 250.0),
        ("all", "NOT yes", 1000.0),
        ("all", "mood = 'sad'", 2000.0 / 3.0),
        ("all", "town = 'Trier'", 500.0),
    ] {
        let found = count(&running, user, condition).await;
        // Five standard deviations of a binomial count, and the bits are always the same.
        let slack = 5.0 * f64::sqrt(expected) + 1.0;
        assert!((found as f64 - expected).abs() < slack, "{user} {condition}: {found}, expected {expected}");
    }
    // What has no domain that may be shown is NULL; so is what is NULL.
    assert_eq!(count(&running, "ten", "free IS NOT NULL").await, 0);
    assert_eq!(count(&running, "all", "num IS NOT NULL OR f IS NOT NULL").await, 0);
    assert_eq!(count(&running, "all", "id = 5000 AND yes IS NULL AND mood IS NULL AND town IS NULL").await, 1);
    // What a low rate replaces, a high rate replaces alike: holding both teaches nothing new.
    let by = async |user: &str| simple(&running.client(user).await, "SELECT mood FROM poll ORDER BY id").await;
    let (ten, half) = (by("ten").await, by("half").await);
    assert!(
        ten.iter().zip(&half).all(|(t, h)| t == h || t == "ok"),
        "a value that a tenth changes, a half changes to the same"
    );
}

#[tokio::test]
async fn numbers_get_noise_of_the_deviation() {
    let running = stage().await;
    for (user, column, deviation) in
        [("two", "n", 2.0), ("two", "num", 2.0), ("two", "f", 2.0), ("two", "tag", 2.0), ("three", "f", 3.0)]
    {
        let raw = match column {
            "n" => "id",
            "num" => "id + 0.25",
            "tag" => "1",
            _ => "id + 0.123456789",
        };
        let sql = format!("SELECT avg({column} - ({raw})), stddev({column} - ({raw})), count({column}) FROM poll");
        let client = running.client(user).await;
        let row = simple(&client, &sql).await.remove(0);
        let numbers: Vec<f64> = row.split('|').map(|n| n.parse().expect("a number")).collect();
        assert!(numbers[0].abs() < 5.0 * deviation / f64::sqrt(2000.0), "{user} {column}: {row}");
        assert!((numbers[1] / deviation - 1.0).abs() < 0.1, "{user} {column}: {row}");
        assert_eq!(numbers[2], 2000.0, "{user} {column}: NULL stays NULL");
    }
    let client = running.client("two").await;
    assert_eq!(simple(&client, "SELECT count(town) FROM poll").await, ["0"], "no number: NULL");
    // No low digit of the value survives.
    let digits =
        simple(&client, "SELECT count(*) FROM poll WHERE f <> round(f::numeric, 3)::float8 OR scale(num) <> 2").await;
    assert_eq!(digits, ["0"]);
    // Noises of two deviations have nothing to do with each other: else 3·two − 2·three would be the value.
    let by = async |user: &str| -> Vec<f64> {
        let rows = simple(&running.client(user).await, "SELECT f - id FROM poll WHERE id < 2000 ORDER BY id").await;
        rows.iter().map(|n| n.parse().expect("a number")).collect()
    };
    let (two, three) = (by("two").await, by("three").await);
    let close = two.iter().zip(&three).filter(|(a, b)| (3.0 * (*a - 0.123) - 2.0 * (*b - 0.123)).abs() < 0.5).count();
    assert!(close < 200, "{close}");

    let client = running.client("clip").await;
    let row = simple(&client, "SELECT min(n), max(n), count(*) FILTER (WHERE n = 0) > 100, count(num) FROM poll").await;
    assert_eq!(row, ["0|1999|t|0"], "clipped to the declared range; without one NULL");
}

#[tokio::test]
async fn asking_again_teaches_nothing() {
    let running = stage().await;
    for user in ["two", "half"] {
        let columns = if user == "two" { "n::text, num::text, f::text" } else { "yes::text, mood::text, town::text" };
        let sql = format!("SELECT {columns} FROM poll ORDER BY id");
        let client = running.client(user).await;
        let first = simple(&client, &sql).await;
        assert_eq!(extended(&client, &sql).await, first, "{user}");
        assert_eq!(simple(&running.client(user).await, &sql).await, first, "{user}: another session");
        client.batch_execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'").await.expect("settings");
        assert_eq!(simple(&client, &sql).await, first, "{user}: other settings");
        client.batch_execute("SET sqlveil.project = 'joint'").await.expect("a project");
        assert_eq!(simple(&client, &sql).await, first, "{user}: under a project with a salt of its own");
        running
            .admin()
            .batch_execute("CREATE INDEX IF NOT EXISTS by_n ON poll (n); CLUSTER poll USING by_n")
            .await
            .expect("rewritten");
        assert_eq!(simple(&client, &sql).await, first, "{user}: stored otherwise");
        let alone = simple(&client, &format!("SELECT {columns} FROM poll WHERE id = 7")).await;
        assert_eq!(alone, first[7..8], "{user}: alone");
        let joined =
            format!("SELECT a.* FROM (SELECT id, {columns} FROM poll) a JOIN poll b USING (id) ORDER BY a.id LIMIT 8");
        let joined = simple(&client, &joined).await;
        assert!(joined.iter().zip(&first).all(|(j, f)| j.ends_with(f.as_str())), "{user}: joined");
    }
    // A changed value gets noise of its own: the difference does not show by how much it changed.
    let client = running.client("two").await;
    let before = simple(&client, "SELECT f FROM poll WHERE id = 9").await;
    running.admin().batch_execute("UPDATE poll SET f = f + 1 WHERE id = 9").await.expect("changed");
    let after = simple(&client, "SELECT f FROM poll WHERE id = 9").await;
    let number = |rows: &[String]| rows[0].parse::<f64>().expect("a number");
    assert!((number(&after) - number(&before) - 1.0).abs() > 0.001);
    running.admin().batch_execute("UPDATE poll SET f = f - 1 WHERE id = 9").await.expect("changed back");
    assert_eq!(simple(&client, "SELECT f FROM poll WHERE id = 9").await, before);
}

/// Keys: of a table without a primary key a unique constraint, the declared column, or the whole row.
#[tokio::test]
async fn rows_are_told_apart_by_what_there_is() {
    let noise = "type: Randomized Response, stddev: 1000";
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE uniq (a int NOT NULL UNIQUE, b int, v int); INSERT INTO uniq SELECT i, 1, 0 FROM generate_series(1, 50) i;
             CREATE TABLE role (a int, b int, v int); INSERT INTO role SELECT i, 1, 0 FROM generate_series(1, 50) i;
             CREATE TABLE bare (a int, b inet, v int, p point, j json); INSERT INTO bare SELECT i, '10.0.0.1', 0 FROM generate_series(1, 50) i;
             INSERT INTO bare SELECT * FROM bare WHERE a = 3",
        )
        .await
        .source("{table: uniq, schema: public}")
        .source("{table: role, schema: public, highCardinality: a}")
        .source("{table: bare, schema: public}")
        .policy(ANYONE)
        .user("ann", &["ann"], &[])
        .policy(&masking("ann", "v", noise))
        .start()
        .await;
    let client = running.client("ann").await;
    for table in ["uniq", "role", "bare"] {
        let distinct = simple(&client, &format!("SELECT count(DISTINCT v) > 40, count(v) FROM {table}")).await;
        let rows = if table == "bare" { 51 } else { 50 };
        assert_eq!(distinct, [format!("t|{rows}")], "{table}");
        let before = simple(&client, &format!("SELECT v FROM {table} ORDER BY a")).await;
        running.admin().batch_execute(&format!("UPDATE {table} SET b = b + 1")).await.expect("changed");
        let after = simple(&client, &format!("SELECT v FROM {table} ORDER BY a")).await;
        assert_eq!(before == after, table != "bare", "{table}: the row's noise is its key's");
    }
    assert_eq!(simple(&client, "SELECT count(DISTINCT v) FROM bare WHERE a = 3").await, ["1"], "equal rows are equal");
}

/// Values at the end of every type: no error, the type and its modifier kept.
#[tokio::test]
async fn nothing_overflows() {
    let columns = [
        ("i2", "int2", "{-32768,32767,0}"),
        ("i4", "int4", "{-2147483648,2147483647,0}"),
        ("i8", "int8", "{-9223372036854775808,9223372036854775807,0}"),
        ("n42", "numeric(4,2)", "{-99.99,99.99,0,NaN}"),
        (
            "big",
            "numeric(40,0)",
            "{-9999999999999999999999999999999999999999,9999999999999999999999999999999999999999}",
        ),
        ("unbound", "numeric", "{Infinity,-Infinity,NaN,1e-200,1e130000}"),
        ("f4", "float4", "{-3.4028235e38,3.4028235e38,NaN,Infinity,-Infinity,1e-45}"),
        ("f8", "float8", "{-1.7976931348623157e308,1.7976931348623157e308,NaN,Infinity,-Infinity,5e-324}"),
    ];
    let defined: Vec<String> = columns.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
    let mut stage =
        Stage::new().await.sql(&format!("CREATE TABLE ends (id serial PRIMARY KEY, {})", defined.join(", "))).await;
    for (name, ty, values) in columns {
        // Several rows of each, so that the noise goes both ways.
        let sql = format!("INSERT INTO ends ({name}) SELECT unnest('{values}'::{}[]) FROM generate_series(1, 8)", ty);
        stage = stage.sql(&sql).await;
    }
    let deviations = ["1e-12", "0.5", "3", "1000000", "1e18"];
    for deviation in deviations {
        stage = stage.user(&format!("u{deviation}"), &[&format!("g{deviation}")], &[]).policy(&masking(
            &format!("g{deviation}"),
            ".*",
            &format!("type: Randomized Response, stddev: {deviation}"),
        ));
    }
    let running = stage.source("{table: ends, schema: public}").policy(ANYONE).user("raw", &[], &[]).start().await;
    for deviation in deviations {
        let client = running.client(&format!("u{deviation}")).await;
        for (name, ty, values) in columns {
            let sql = format!("SELECT count({name}), bool_and(pg_typeof({name})::text IS NOT NULL) FROM ends");
            let row = simple(&client, &sql).await.remove(0);
            let lost = values.matches("NaN").count() + values.matches("Infinity").count();
            let kept = 8 * (values.split(',').count() - lost);
            assert_eq!(row, format!("{kept}|t"), "{deviation} {name} {ty}");
            let rows = simple(&client, &format!("SELECT {name}::text FROM ends WHERE {name} IS NOT NULL")).await;
            assert_eq!(rows.len(), kept);
        }
        let described = client.prepare("SELECT * FROM ends").await.expect("prepared");
        let raw = running.client("raw").await.prepare("SELECT * FROM ends").await.expect("prepared");
        let types = |s: &tokio_postgres::Statement| s.columns().iter().map(|c| c.type_().clone()).collect::<Vec<_>>();
        assert_eq!(types(&described), types(&raw));
    }
}

/// Two databases that differ in rows a filter hides: what is shown, replacements included, is the same.
#[tokio::test]
async fn hidden_rows_are_no_source_of_replacements() {
    let hidden = |values: &str| format!("INSERT INTO poll SELECT i, i, {values} FROM generate_series(10000, 10500) i");
    let mut running = Vec::new();
    for values in ["true, 'ok', 'Bonn', 'x', 0, 0, 1", "false, 'glad', 'Secret', 'secret', 999, 1e9, 77"] {
        let filter = "policyKey: filter\nname: x\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
            config: {predicate: 'id < 10000'}\n";
        let stage = Stage::new().await.sql(TABLE).await.sql(&hidden(values)).await;
        running.push(stage_of(stage).policy(filter).start().await);
    }
    for user in ["ten", "half", "all", "two", "three", "clip"] {
        for sql in [
            "SELECT id, n, yes, mood, town, free, num, f, tag FROM poll ORDER BY id",
            "SELECT mood, count(*), min(n), max(f) FROM poll GROUP BY mood ORDER BY 1",
            "SELECT town, count(*) FROM poll GROUP BY 1 ORDER BY 1",
            "SELECT count(*) FROM poll WHERE 1 / (n - 3) > 0 OR n = 3",
            "SELECT count(*) FROM poll WHERE town::text = 'Secret' OR tag = 77",
        ] {
            let mut answers = Vec::new();
            for one in &running {
                let client = one.client(user).await;
                let answer = client.simple_query(sql).await.map(|messages| format!("{messages:?}"));
                answers.push(answer.map_err(|e| e.as_db_error().map(|e| e.message().to_owned())));
            }
            assert_eq!(answers[0], answers[1], "{user}: {sql}");
        }
    }
    let raw = [simple(&running[0].client("raw").await, "SELECT count(*) FROM poll").await];
    assert_eq!(raw, [["2001"]], "the filter is for everybody");
}

/// Where nothing tells a row apart (queries, views), the same value could be asked for under ever new rows and its
/// noise be averaged out.
#[tokio::test]
async fn without_a_key_there_is_no_noise_but_null() {
    let stage = Stage::new()
        .await
        .sql("CREATE TABLE base (id int, yes bool, n int); INSERT INTO base SELECT i, true, i FROM generate_series(1, 50) i; CREATE VIEW seen AS SELECT * FROM base; CREATE VIEW keyed AS SELECT * FROM base")
        .await
        .source("{table: base, schema: public}")
        .source("{table: seen, schema: public}")
        .source("query: SELECT * FROM public.base\nnaming: {schema: public, table: asked}")
        .source("{table: keyed, schema: public, highCardinality: id}")
        .policy(ANYONE)
        .user("rate", &["rate"], &[])
        .user("noise", &["noise"], &[])
        .policy(&masking("rate", "yes", "type: Randomized Response, replacementRatePercent: 50"))
        .policy(&masking("noise", "n", "type: Randomized Response, stddev: 5"));
    let running = stage.start().await;
    for (user, column) in [("rate", "yes"), ("noise", "n")] {
        let client = running.client(user).await;
        for (relation, shown) in [("base", 50), ("seen", 0), ("asked", 0), ("keyed", 50)] {
            let rows = simple(&client, &format!("SELECT count({column}) FROM {relation}")).await;
            assert_eq!(rows, [shown.to_string()], "{user}: {relation}.{column}");
        }
    }
}
