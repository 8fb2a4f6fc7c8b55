//! A table in shards: its partitions are foreign tables on two further servers, by postgres_fdw.

use crate::support::{PrivatePostgres, Running, Setup, Stage};
use crate::{ask, cell, code, start};
use sqlveil::cli::demo::warehouse;

/// What a shard holds: some of the rows, a view that computes, and texts where the warehouse expects numbers.
const SHARD: &str = "
    CREATE TABLE zz_remote (id int PRIMARY KEY, city text, note text, n int);
    CREATE VIEW zz_computed AS SELECT id, city, n, 12 / n AS share FROM zz_remote WHERE city <> 'Oslo';
    CREATE TABLE zz_texts (id int, city text, number text);
    INSERT INTO zz_texts SELECT i, CASE WHEN i % 4 = 0 THEN 'Kiel' ELSE 'Bonn' END, CASE WHEN i % 4 = 0 THEN 'SECRET' ELSE i::text END FROM generate_series(1, 20) i;";

/// The warehouse: partitions by remainder, each on a shard; `LOGIN` is the proxy's.
const WAREHOUSE: &str = "
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER shard_a FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port 'PORT_A', dbname 'postgres');
    CREATE SERVER shard_b FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port 'PORT_B', dbname 'postgres');
    CREATE USER MAPPING FOR PUBLIC SERVER shard_a OPTIONS (user 'admin', password 'PASSWORD_A');
    CREATE USER MAPPING FOR PUBLIC SERVER shard_b OPTIONS (user 'admin', password 'PASSWORD_B');
    CREATE TABLE sale (id int, city text, note text, n int) PARTITION BY HASH (id);
    CREATE FOREIGN TABLE sale_a PARTITION OF sale FOR VALUES WITH (MODULUS 2, REMAINDER 0) SERVER shard_a OPTIONS (schema_name 'public', table_name 'zz_remote');
    CREATE FOREIGN TABLE zz_sale_b PARTITION OF sale FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER shard_b OPTIONS (schema_name 'public', table_name 'zz_remote');
    CREATE FOREIGN TABLE computed (id int, city text, n int, share int) SERVER shard_a OPTIONS (schema_name 'public', table_name 'zz_computed');
    CREATE FOREIGN TABLE texts (id int, city text, number int) SERVER shard_a OPTIONS (schema_name 'public', table_name 'zz_texts');
    CREATE FOREIGN TABLE gone (id int, city text) SERVER shard_a OPTIONS (schema_name 'public', table_name 'zz_gone');
    CREATE TABLE city (name text PRIMARY KEY, country text); INSERT INTO city VALUES ('Bonn', 'DE'), ('Kiel', 'DE'), ('Oslo', 'NO');
    CREATE VIEW over AS SELECT id, city, share FROM computed;
    INSERT INTO sale SELECT i, CASE WHEN i % 4 = 0 THEN 'Kiel' ELSE 'Bonn' END, CASE WHEN i % 4 = 0 THEN 'SECRET-' || i ELSE i::text END, i % 4 FROM generate_series(1, 400) i;";

struct Sharded {
    running: Running,
    a: &'static PrivatePostgres,
    b: &'static PrivatePostgres,
}

async fn sharded(settings: &str) -> Sharded {
    let shard = async || {
        let setup = Setup { settings: vec![("log_statement".into(), "all".into())], ..Setup::default() };
        let started = tokio::task::spawn_blocking(move || PrivatePostgres::start_with(&setup)).await.unwrap();
        // It ends with the program: its guardian sees the pipe close.
        let server: &'static PrivatePostgres = Box::leak(Box::new(started.unwrap()));
        warehouse::admin(server, "postgres").await.unwrap().batch_execute(SHARD).await.unwrap();
        server
    };
    let (a, b) = (shard().await, shard().await);
    let sql = WAREHOUSE
        .replace("PORT_A", &a.port().to_string())
        .replace("PORT_B", &b.port().to_string())
        .replace("PASSWORD_A", a.password())
        .replace("PASSWORD_B", b.password());
    let city = "{city: [City]}";
    let all = [
        ("sale", city),
        ("sale_a", "{note: [Hide]}"),
        ("computed", city),
        ("texts", city),
        ("gone", city),
        ("city", "{}"),
        ("over", city),
    ];
    let stage = Stage::new()
        .await
        .sql(&sql)
        .await
        .writable()
        .await
        .sources(&all)
        .writes("ana", &["sale", "sale_a"])
        .writes("max", &["sale"]);
    Sharded { running: start(stage.connection(settings)).await, a, b }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_shards_is_a_table() {
    let unsaid = sharded("").await;
    let said = sharded("\n    shards: [shard_a, shard_b]").await;
    for (sharded, tables) in [(&unsaid, false), (&said, true)] {
        let ana = sharded.running.client("ana").await;
        reads(&ana, tables).await;
        writes(&ana).await;
        let max = sharded.running.client("max").await;
        assert_eq!(cell(&max, "SELECT count(*) FROM sale").await, "400");
        breaks(sharded, &ana).await;
    }
    // Of what is said to be a table the shard itself looks up the row; of what nobody knows it is not asked a caller's condition.
    for (sharded, asked) in [(&unsaid, false), (&said, true)] {
        let ana = sharded.running.client("ana").await;
        assert_eq!(cell(&ana, "SELECT note FROM sale WHERE id = 77").await, "77");
        let logs = format!("{}{}", sharded.a.log(), sharded.b.log());
        assert_eq!(logs.contains("(id = 77)"), asked);
    }
}

async fn reads(ana: &tokio_postgres::Client, tables: bool) {
    for (sql, wanted) in [
        ("SELECT count(*), count(note), min(n), max(n) FROM sale", "300|300|1|3"),
        ("SELECT count(*) FROM sale WHERE note::int > 0", "300"),
        ("SELECT count(*) FROM sale WHERE 12 / n > 0", "300"),
        ("SELECT count(*) FROM sale WHERE id = 4 AND note::int > 0", "0"),
        ("SELECT count(*) FROM sale WHERE note LIKE 'SECRET%' OR city = 'Kiel'", "0"),
        ("SELECT count(*), sum(s.n) FROM sale s JOIN city c ON c.name = s.city WHERE c.country = 'DE'", "300|600"),
        ("SELECT count(*) FROM sale s JOIN sale t ON s.id = t.id + 1 AND s.note::int > 100", "150"),
        (
            "SELECT string_agg(city || n, ',' ORDER BY n) FROM (SELECT city, n FROM sale GROUP BY city, n) x",
            "Bonn1,Bonn2,Bonn3",
        ),
        // By itself the child is under its own: no row rule, a mask.
        ("SELECT count(note), count(*) = (SELECT count(*) FROM sale_a) FROM sale_a", "0|t"),
        ("SELECT count(*) FROM sale_a WHERE note LIKE 'S%'", "0"),
        ("SELECT count(*) FROM ONLY sale", "0"),
        // The shard computes it, over rows of others too.
        ("SELECT count(*) > 50 FROM computed WHERE share > 0 AND id > 0", "t"),
        ("SELECT count(*) > 50 FROM over WHERE share > 0", "t"),
    ] {
        // Who says that a view is a table has the shard compute it on rows of others.
        if tables && sql.contains("share") {
            continue;
        }
        assert_eq!(cell(ana, sql).await, wanted, "{sql}");
        for form in ["", "(VERBOSE)", "(FORMAT YAML)"] {
            let plan = ask(ana, &format!("EXPLAIN {form} {sql}")).await.unwrap().join("\n");
            for word in ["zz_", "Remote", "Foreign", "shard_", "rows="] {
                assert!(!plan.contains(word), "{sql}: {plan}");
            }
        }
        assert_eq!(code(ana, &format!("EXPLAIN (ANALYZE) {sql}")).await, "42501");
    }
    let row = ana.query_one("SELECT note, n FROM sale WHERE id = $1", &[&7]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, i32>(1)), ("7".to_owned(), 3));
    assert_eq!(code(ana, "SELECT * FROM zz_sale_b").await, "42P01");
    // Foreign tables are listed as tables; what they are foreign to is not.
    assert_eq!(
        cell(ana, "SELECT string_agg(DISTINCT relkind::text, ',') FROM pg_class WHERE relname IN ('sale_a', 'texts')")
            .await,
        "r"
    );
    for catalog in [
        "pg_foreign_server",
        "pg_foreign_table",
        "pg_user_mappings",
        "information_schema.foreign_tables",
        "information_schema.user_mapping_options",
    ] {
        assert_eq!(cell(ana, &format!("SELECT count(*) FROM {catalog}")).await, "0", "{catalog}");
    }
}

async fn writes(ana: &tokio_postgres::Client) {
    for (sql, touched) in [
        ("INSERT INTO sale VALUES (1001, 'Bonn', '1001', 1), (1002, 'Bonn', '1002', 2), (1003, 'Bonn', '1003', 3)", 3),
        ("UPDATE sale SET note = '5' WHERE id IN (1001, 4)", 1),
        ("UPDATE sale SET note = note || '!' WHERE 12 / n > 100", 0),
        ("DELETE FROM sale WHERE id IN (1001, 1002, 1003, 8)", 3),
    ] {
        assert_eq!(ana.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")), touched, "{sql}");
    }
    for sql in ["INSERT INTO sale VALUES (1004, 'Kiel', 'x', 1)", "UPDATE sale SET city = 'Kiel' WHERE id = 1"] {
        assert_eq!(code(ana, sql).await, "42501", "{sql}");
    }
    // A key that the shard guards: nothing of the row, nothing of the shard.
    let twice = ask(ana, "INSERT INTO sale VALUES (1, 'Bonn', 'x', 1)").await.unwrap_err();
    assert!(twice.starts_with("23505 "), "{twice}");
}

/// What a shard says when something is wrong is about names and values that are not the caller's.
async fn breaks(sharded: &Sharded, ana: &tokio_postgres::Client) {
    // A hidden row's text is no number.
    let wrong = ask(ana, "SELECT count(number) FROM texts").await;
    assert!(
        wrong.as_ref().is_ok_and(|rows| rows == &["15"])
            || wrong == Err("22000 data error in a policy-protected relation".into()),
        "{wrong:?}"
    );
    let gone = ask(ana, "SELECT * FROM gone").await.unwrap_err();
    assert!(gone.starts_with("42P01 ") && !gone.contains("gone"), "{gone}");
    sharded.b.pause().unwrap();
    // The first statement finds its connection lost, the next cannot open one.
    for _ in 0..2 {
        let down = ask(ana, "SELECT count(*) FROM sale").await.unwrap_err();
        assert!(down.starts_with("08") && down.ends_with(" a server behind the warehouse does not answer"), "{down}");
    }
    assert_eq!(cell(ana, "SELECT count(*) > 0 FROM sale_a").await, "t");
    sharded.b.resume().unwrap();
    assert_eq!(cell(ana, "SELECT count(*) FROM sale").await, "300");
}
