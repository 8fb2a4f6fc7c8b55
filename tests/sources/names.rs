//! Logical names: what callers write and see, in SQL, catalog and errors, where the warehouse has other ones.

use crate::{error, rows, running};

#[tokio::test(flavor = "multi_thread")]
async fn logical_names_work_where_names_are_written() {
    let running = running().await;
    let ana = running.client("ana").await;
    for (sql, expected) in [
        ("SELECT name FROM \"Sales\".\"Customers\" WHERE id = 2", vec!["Bob"]),
        ("SET search_path = \"Sales\"", vec![]),
        ("SELECT \"Customers\".name FROM \"Customers\" WHERE id = 2", vec!["Bob"]),
        ("SELECT sum(total) FROM orders JOIN \"Customers\" ON cust = id WHERE name = 'Ann'", vec!["30.00"]),
        ("SELECT id, name FROM \"Customers\" GROUP BY id ORDER BY 1", vec!["1|Ann", "2|Bob", "3|Cy"]),
        ("SELECT current_schema()", vec!["Sales"]),
        ("SELECT oid = '\"Customers\"'::regclass FROM pg_class WHERE relname = 'Customers'", vec!["t"]),
        (
            "SELECT c.oid::regclass FROM pg_class c WHERE relname IN ('Customers', 'orders') ORDER BY relname",
            vec!["\"Customers\"", "orders"],
        ),
        ("SELECT has_table_privilege('raw.t_cust', 'SELECT')", vec!["f"]),
        ("SELECT to_regclass('raw.t_cust')", vec!["NULL"]),
        ("SELECT count(*) FROM pg_namespace WHERE nspname = 'Sales'", vec!["1"]),
        (
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relname = 'orders'",
            vec!["Sales"],
        ),
        (
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'Sales' ORDER BY 2",
            vec!["Sales|Customers", "Sales|orders"],
        ),
        ("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'raw'", vec!["0"]),
        (
            "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'orders'",
            vec!["no,cust,total"],
        ),
    ] {
        assert_eq!(rows(&ana, sql).await, expected, "{sql}");
    }
    for (sql, code, text) in [
        ("SELECT * FROM raw.t_cust", "42P01", "relation \"raw.t_cust\" does not exist"),
        ("SELECT * FROM t_cust", "42P01", "relation \"t_cust\" does not exist"),
        ("SELECT 'raw.t_cust'::regclass", "42P01", "relation \"raw.t_cust\" does not exist"),
        ("SELECT secret FROM orders", "42703", "column \"secret\" does not exist"),
        ("SELECT t_cust.id FROM \"Customers\"", "42P01", "missing FROM-clause entry for table \"t_cust\""),
    ] {
        assert_eq!(error(&ana, sql).await, (code.to_owned(), text.to_owned()), "{sql}");
    }
}

/// No command of psql shows a name of the warehouse.
#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_logical_names_alone() {
    let running = running().await;
    for command in [
        "\\d",
        "\\d+",
        "\\dt *.*",
        "\\dn",
        "\\dn+",
        "\\di *.*",
        "\\dv *.*",
        "\\d \"Sales\".\"Customers\"",
        "\\d+ \"Sales\".\"Customers\"",
        "\\d \"Sales\".orders",
        "\\d+ \"Sales\".orders",
        "\\d \"Sales\".*",
        "\\dS+ \"Sales\".orders",
        "\\dp \"Sales\".*",
        "\\df \"Sales\".*",
        "\\ds *.*",
    ] {
        let output = running.psql("ana", &["-c", command]);
        assert!(output.ok, "{command}: {}", output.err);
        let plain = output.out.replace("raw.mood", "");
        // The names of indexes and constraints are their own; those of relations are not shown.
        let plain = plain
            .replace("t_cust_pkey", "")
            .replace("t_ord_pkey", "")
            .replace("t_ord_total", "")
            .replace("t_ord_cust_fkey", "");
        assert!(!plain.contains("t_cust") && !plain.contains("t_ord"), "{command}: {plain}");
    }
    let orders = running.psql("ana", &["-c", "\\d \"Sales\".orders"]).out;
    assert!(orders.contains("Table \"Sales.orders\""), "{orders}");
    assert!(orders.contains("FOREIGN KEY (cust) REFERENCES \"Sales\".\"Customers\"(id)"), "{orders}");
    assert!(orders.contains("\"t_ord_pkey\" PRIMARY KEY, btree (no)"), "{orders}");
    let customers = running.psql("ana", &["-c", "\\d \"Sales\".\"Customers\""]).out;
    assert!(customers.contains("TABLE \"\"Sales\".orders\" CONSTRAINT"), "{customers}");
}

/// The catalog is read again only after a while: until then a relation that is gone is not named as the warehouse named it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_warehouse_is_not_named() {
    let running = running().await;
    let ana = running.client("ana").await;
    running.admin().batch_execute("ALTER TABLE raw.t_cust RENAME note TO zz_note").await.unwrap();
    let changed = |code: &str| (code.to_owned(), "a relation of the statement has changed in the warehouse".to_owned());
    assert_eq!(error(&ana, "SELECT id FROM \"Sales\".\"Customers\" WHERE note = 'x'").await, changed("42703"));
    running.admin().batch_execute("DROP TABLE raw.t_cust CASCADE").await.unwrap();
    assert_eq!(error(&ana, "SELECT id FROM \"Sales\".\"Customers\"").await, changed("42P01"));
    assert_eq!(error(&ana, "SELECT id FROM reports.buyers").await, changed("42P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_name_relations_as_callers_do() {
    let running = running().await;
    let max = running.client("max").await;
    let index = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '\"Sales\".\"Customers\"'::regclass";
    assert_eq!(
        rows(&max, index).await,
        ["CREATE UNIQUE INDEX t_cust_pkey ON \"Sales\".\"Customers\" USING btree (id)"]
    );
    let listed = "SELECT schemaname, tablename, indexdef FROM pg_indexes WHERE tablename = 'Customers'";
    let expected = "Sales|Customers|CREATE UNIQUE INDEX t_cust_pkey ON \"Sales\".\"Customers\" USING btree (id)";
    assert_eq!(rows(&max, listed).await, [expected]);
    let keys = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(rows(&max, keys).await, ["FOREIGN KEY (cust) REFERENCES \"Sales\".\"Customers\"(id)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_are_comments() {
    let running = running().await;
    let max = running.client("max").await;
    for (sql, expected) in [
        ("SELECT obj_description('\"Sales\".\"Customers\"'::regclass)", "People who buy"),
        ("SELECT obj_description('\"Sales\".\"Customers\"'::regclass, 'pg_class')", "People who buy"),
        ("SELECT col_description('\"Sales\".\"Customers\"'::regclass, 4)", "it's a note"),
        ("SELECT col_description('\"Sales\".\"Customers\"'::regclass, 3)", "remote city"),
        ("SELECT col_description('\"Sales\".orders'::regclass, 2)", "Who"),
        (
            "SELECT description FROM pg_description WHERE objoid = '\"Sales\".\"Customers\"'::regclass AND objsubid = 0",
            "People who buy",
        ),
    ] {
        assert_eq!(rows(&max, sql).await, [expected], "{sql}");
    }
    let shown = running.psql("max", &["-c", "\\d+ \"Sales\".\"Customers\""]).out;
    assert!(
        shown.contains("it's a note") && shown.contains("remote city") && !shown.contains("remote comment"),
        "{shown}"
    );
}
