//! Registered queries: policies apply as to a table, types are the warehouse's, names and catalog are those of a view.

use crate::{error, rows, running, stage};
use sqlveil::config::Config;

#[tokio::test(flavor = "multi_thread")]
async fn policies_apply_to_a_query_as_to_a_table() {
    let running = running().await;
    let (ana, max) = (running.client("ana").await, running.client("max").await);
    let all = "SELECT * FROM reports.buyers ORDER BY id";
    assert_eq!(rows(&max, all).await, ["1|Ann|Bonn|17|2|30.00", "2|Bob|Köln|18|1|30.00"]);
    assert_eq!(rows(&ana, all).await, ["1|X|Bonn|17|2|30.00"]);
    for (sql, expected) in [
        ("SELECT name FROM reports.buyers WHERE name = 'Ann'", vec![]),
        ("SELECT count(*) FROM reports.buyers", vec!["1"]),
        ("SELECT b.a FROM reports.buyers AS b (a, b) JOIN public.plain p ON p.id = b.a", vec![]),
        ("SET search_path = reports, \"Sales\"", vec![]),
        ("SELECT id FROM buyers", vec!["1"]),
        ("SELECT id FROM ONLY buyers", vec!["1"]),
        ("TABLE buyers", vec!["1|X|Bonn|17|2|30.00"]),
        ("SELECT b FROM buyers b", vec!["(1,X,Bonn,17,2,30.00)"]),
        ("SELECT to_json(b) ->> 'total' FROM buyers b", vec!["30.00"]),
        (
            "WITH x AS (SELECT * FROM buyers) SELECT c.name, x.orders FROM x, \"Customers\" c WHERE c.id = x.id",
            vec!["Ann|2"],
        ),
        ("SELECT current_schemas(false)", vec!["{reports,Sales}"]),
    ] {
        assert_eq!(rows(&ana, sql).await, expected, "{sql}");
    }
    let (code, text) = error(&ana, "SELECT * FROM buyers TABLESAMPLE BERNOULLI (10)").await;
    assert_eq!(code, "42809", "{text}");
    assert_eq!(error(&ana, "SELECT * FROM raw.t_cust").await.0, "42P01");
    assert_eq!(error(&ana, "SELECT xmin FROM buyers").await.0, "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_modifiers_are_those_of_the_warehouse() {
    let running = running().await;
    let ana = running.client("ana").await;
    let statement = ana.prepare("SELECT * FROM reports.buyers").await.unwrap();
    let direct = running
        .admin()
        .prepare("SELECT id, name, city, note, 1::int, sum(1)::numeric(12,2) FROM raw.t_cust GROUP BY id")
        .await
        .unwrap();
    let shape = |s: &tokio_postgres::Statement| {
        s.columns().iter().map(|c| (c.type_().oid(), c.type_modifier())).collect::<Vec<_>>()
    };
    assert_eq!(shape(&statement), shape(&direct));
    let row = ana.query_one("SELECT total::text, orders FROM reports.buyers WHERE id = $1", &[&1]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("30.00", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_cursors_and_prepared_statements_read_queries() {
    let running = running().await;
    let psql = running.psql("ana", &["-c", "COPY reports.buyers (id, name) TO STDOUT"]);
    assert_eq!(psql.out, "1\tX\n", "{}", psql.err);
    let ana = running.client("ana").await;
    let sql = "BEGIN; DECLARE c CURSOR FOR SELECT id FROM reports.buyers; FETCH ALL FROM c; COMMIT; \
               PREPARE q (int) AS SELECT name FROM reports.buyers WHERE id = $1; EXECUTE q(1)";
    assert_eq!(rows(&ana, sql).await, ["1", "X"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_looks_like_a_view_in_the_catalog() {
    let running = running().await;
    let psql = |args: &[&str]| {
        let output = running.psql("ana", args);
        assert!(output.ok, "{args:?}: {}", output.err);
        output.out
    };
    let described = psql(&["-c", "\\d reports.buyers"]);
    assert!(described.contains("View \"reports.buyers\""), "{described}");
    for line in ["id     | integer", "city   | character varying(20)", "total  | numeric(12,2)"] {
        assert!(described.contains(line), "{line}: {described}");
    }
    let plus = psql(&["-c", "\\d+ reports.buyers"]);
    assert!(plus.contains("What they paid") && !plus.to_lowercase().contains("secret"), "{plus}");
    assert!(psql(&["-c", "\\dv+ reports.*"]).contains("Who bought something"));
    assert!(psql(&["-c", "\\dn"]).contains("reports"));
    let ana = running.client("ana").await;
    for (sql, expected) in [
        ("SELECT table_type FROM information_schema.tables WHERE table_schema = 'reports'", vec!["VIEW"]),
        (
            "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale FROM information_schema.columns \
             WHERE table_name = 'buyers' ORDER BY ordinal_position",
            vec![
                "id|integer|NULL|32|0",
                "name|text|NULL|NULL|NULL",
                "city|character varying|20|NULL|NULL",
                "note|text|NULL|NULL|NULL",
                "orders|integer|NULL|32|0",
                "total|numeric|NULL|12|2",
            ],
        ),
        ("SELECT view_definition FROM information_schema.views WHERE table_name = 'buyers'", vec!["NULL"]),
        ("SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'reports'", vec!["reports"]),
        ("SELECT viewname FROM pg_views WHERE schemaname = 'reports'", vec!["buyers"]),
        ("SELECT relname, relkind FROM pg_class WHERE oid = 'reports.buyers'::regclass", vec!["buyers|v"]),
        ("SELECT c.oid::regclass FROM pg_class c WHERE relname = 'buyers'", vec!["reports.buyers"]),
        ("SELECT has_table_privilege('reports.buyers', 'SELECT')", vec!["t"]),
        ("SELECT obj_description('reports.buyers'::regclass, 'pg_class')", vec!["Who bought something"]),
        ("SELECT col_description('reports.buyers'::regclass, 6)", vec!["What they paid"]),
        ("SELECT pg_get_viewdef('reports.buyers'::regclass)", vec!["NULL"]),
        ("SELECT to_regclass('reports.buyers') IS NOT NULL", vec!["t"]),
    ] {
        assert_eq!(rows(&ana, sql).await, expected, "{sql}");
    }
    // Every system relation with rows of ours can be read whole.
    for name in ["pg_class", "pg_attribute", "pg_namespace", "pg_description", "pg_views"] {
        rows(&ana, &format!("SELECT * FROM pg_catalog.{name}")).await;
    }
    for name in ["tables", "columns", "views", "schemata"] {
        rows(&ana, &format!("SELECT * FROM information_schema.{name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_warehouse_refuses_is_told_at_load() {
    for (sql, why) in [
        ("SELECT nosuch FROM raw.t_cust", "the warehouse refuses the query: column \"nosuch\" does not exist"),
        ("SELECT 1 AS a, 2 AS a", "two of its columns are called \"a\""),
        ("SELECT id FROM t_cust", "the query reads \"public.t_cust\", which the warehouse does not have"),
        ("SELECT nofunction(1) AS a", "function nofunction(integer) does not exist"),
        ("SELECT 1 AS a FOR UPDATE", "row locks"),
        ("SELECT name COLLATE \"C\" || city COLLATE \"POSIX\" AS a FROM raw.t_cust", "collation"),
        ("SELECT * FROM raw.t_cust; DROP TABLE raw.t_cust", "more than one statement"),
    ] {
        let stage =
            stage().await.source(&format!("query: '{}'\nnaming: {{schema: q, table: q}}", sql.replace('\'', "''")));
        let config = std::sync::Arc::new(Config::load(&stage.write()).unwrap());
        let problems = sqlveil::world::load(&config).await.into_result().map(|_| ()).unwrap_err();
        assert!(problems.iter().any(|p| p.is_error() && p.message.contains(why)), "{sql}: {problems:?}");
    }
    let stage = stage().await.source(
        "query: SELECT random() AS a, name COLLATE \"C\" AS b, 'x' AS c FROM raw.t_cust\nnaming: {schema: q, table: q}",
    );
    let config = std::sync::Arc::new(Config::load(&stage.write()).unwrap());
    let (_, warnings) = sqlveil::world::load(&config).await.into_result().unwrap();
    assert!(warnings.iter().any(|p| p.message.contains("random()")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_table_changes_the_query() {
    let running = stage()
        .await
        .config("catalog: {refresh: 200ms}")
        .source("query: SELECT * FROM public.plain\nnaming: {schema: q, table: star}")
        .start()
        .await;
    let max = running.client("max").await;
    running.admin().batch_execute("INSERT INTO plain VALUES (1)").await.unwrap();
    assert_eq!(rows(&max, "SELECT * FROM q.star").await, ["1"]);
    running.admin().batch_execute("ALTER TABLE plain ADD extra text DEFAULT 'new'").await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while rows(&max, "SELECT * FROM q.star").await != ["1|new"] {
        assert!(std::time::Instant::now() < deadline, "the new column is never seen");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
