//! psql through the proxy: its commands, variables, cursors and the questions it asks when Tab is pressed.

use crate::support::{Output, Running, Stage};
use std::collections::BTreeSet;

/// Names of what nobody here may see.
const HIDDEN: [&str; 8] =
    ["secret", "vault", "whisper", "covert", "service_", "template1", "postgres", "ada@example.org"];

/// `customers` (a row rule and a mask), `orders` (whole, with a foreign key, an index, a check, a comment), the view `totals`;
/// beside them what is not registered: a table, a schema, a function, a type, an index, a sequence.
async fn shop() -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text, city text NOT NULL DEFAULT 'Bonn');
             INSERT INTO customers VALUES (1, 'Ada', 'ada@example.org', 'Bonn'), (2, 'Bea', 'bea@example.org', 'Bonn'),
                 (3, 'Cai', NULL, 'Rome');
             CREATE TYPE state AS ENUM ('open', 'done');
             CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10,2) CHECK (total > 0),
                 st state DEFAULT 'open');
             CREATE INDEX orders_by_customer ON orders (customer_id);
             COMMENT ON TABLE orders IS 'what was ordered';
             INSERT INTO orders SELECT i, 1 + i % 3, i * 10, 'open' FROM generate_series(1, 2500) i;
             CREATE VIEW totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY 1;
             CREATE TABLE secrets (id int PRIMARY KEY, secret_code text);
             CREATE SEQUENCE secret_numbers;
             ALTER TABLE orders ADD link int REFERENCES secrets;
             CREATE TABLE secret_parent (x int); ALTER TABLE customers ADD x int; ALTER TABLE customers INHERIT secret_parent;
             ALTER TABLE secrets ADD order_id int REFERENCES orders;
             CREATE FUNCTION secret_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER secret_audit AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION secret_trigger();
             CREATE PUBLICATION secret_publication FOR TABLE orders;
             CREATE STATISTICS secret_statistics ON id, customer_id FROM orders;
             ANALYZE;
             CREATE SCHEMA vault; CREATE TABLE vault.gold (id int);
             CREATE FUNCTION whisper(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE TYPE covert AS ENUM ('x'); CREATE DOMAIN secret_number AS int;",
        )
        .await
        .sources(&[
            ("customers", "{email: [Identity.Email], city: [Place.City]}"),
            ("orders", "{total: [Open]}"),
            ("totals", "{total: [Open]}"),
        ])
        .user("ana", &["Readers"], &[("city", &["Bonn"])])
        .user("eve", &[], &[])
        .policy(
            "policyKey: readers\nname: readers\ntype: subscription\n\
             actions: {type: entitlements, entitlements: {groups: [Readers]}}\n",
        )
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: {type: attribute, attribute: city, tag: Place.City}}\n\
             circumstances: [{type: columnTags, columnTag: Place.City}]\n",
        )
        .policy(
            "policyKey: email\nname: email\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config:\n      \
             fields: [{type: columnTags, columnTag: Identity.Email}]\n      maskingConfig: {type: \"Null\"}\n\
             circumstances: [{type: columnTags, columnTag: Identity.Email}]\n",
        )
        .start()
        .await
}

fn said(output: &Output) -> String {
    format!("{}{}", output.out, output.err)
}

fn hides(what: &str, output: &Output, more: &[&str]) {
    let text = said(output);
    for hidden in HIDDEN.iter().chain(more) {
        assert!(!text.contains(hidden), "{what} tells of {hidden}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_filtered_and_columns_masked() {
    let shop = shop().await;
    let output = shop.psql("ana", &["-At", "-c", "SELECT id, name, email IS NULL FROM customers ORDER BY id"]);
    assert!(output.ok, "{}", output.err);
    assert_eq!(output.out, "1|Ada|t\n2|Bea|t\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_registered_does_not_exist() {
    let shop = shop().await;
    let output = shop.psql("ana", &["-v", "VERBOSITY=verbose", "-c", "SELECT * FROM secrets"]);
    assert!(!output.ok);
    assert!(output.err.contains("42P01: relation \"secrets\" does not exist"), "{}", output.err);
}

/// Each command works and shows `wanted`, nothing hidden, and to somebody who is subscribed to nothing not even that.
#[tokio::test(flavor = "multi_thread")]
async fn commands_show_what_the_caller_may_see_and_nothing_else() {
    let shop = shop().await;
    let database = shop.database().to_owned();
    let commands: &[(&str, &[&str])] = &[
        ("\\d", &["customers", "orders", "totals"]),
        ("\\d customers", &["id", "name", "email", "city", "'Bonn'::text", "not null"]),
        ("\\d orders", &["orders_pkey", "orders_by_customer", "customer_id", "numeric(10,2)", "state"]),
        ("\\d+ customers", &["name", "extended"]),
        ("\\d+ orders", &["customer_id", "Foreign-key"]),
        ("\\d totals", &["customer_id", "total"]),
        ("\\d+ totals", &["customer_id", "total"]),
        ("\\d orders_by_customer", &["customer_id"]),
        ("\\dt", &["customers", "orders"]),
        ("\\dt+", &["customers", "orders", "what was ordered"]),
        ("\\dt public.*", &["customers", "orders"]),
        ("\\dt cust*", &["customers"]),
        ("\\dv", &["totals"]),
        ("\\dv+", &["totals"]),
        ("\\di", &["customers_pkey", "orders_by_customer"]),
        ("\\di+", &["customers_pkey"]),
        ("\\dm", &[]),
        ("\\ds", &[]),
        ("\\l", &[&database]),
        ("\\l+", &[&database]),
        ("\\dn", &["public"]),
        ("\\dn+", &["public"]),
        ("\\du", &["ana"]),
        ("\\dg", &["ana"]),
        ("\\df", &[]),
        ("\\df lower", &["lower"]),
        ("\\da count", &["count"]),
        ("\\dT", &["state"]),
        ("\\dT+", &["state", "open"]),
        ("\\dD", &[]),
        ("\\dp", &["customers", "orders"]),
        ("\\dx", &[]),
        ("\\dy", &[]),
        ("\\dRp", &[]),
        ("\\dX", &[]),
        ("\\ddp", &[]),
        ("\\dl", &[]),
        ("\\db", &[]),
        ("\\dc", &[]),
        ("\\dC text", &[]),
        ("\\do ||", &["||"]),
        ("\\dO", &[]),
        ("\\dF", &["english"]),
        ("\\dA", &["btree"]),
        ("\\det", &[]),
        ("\\des", &[]),
        ("\\dew", &[]),
        ("\\deu", &[]),
        ("\\drds", &[]),
        ("\\dP", &[]),
        ("\\z customers", &["customers"]),
        ("\\conninfo", &["ana", &database]),
        ("\\encoding", &["UTF8"]),
        ("SELECT 1 AS x \\gdesc", &["integer"]),
        ("SELECT * FROM orders \\gdesc", &["numeric(10,2)", "state"]),
        ("\\copy (SELECT id, email, name FROM customers ORDER BY id) to stdout", &["1\t\\N\tAda"]),
        ("\\copy customers to stdout csv header", &["id,name,email,city,x"]),
        ("SELECT id FROM customers ORDER BY id \\g", &["(2 rows)"]),
        ("SELECT id, name FROM customers ORDER BY id \\gx", &["RECORD 2"]),
        ("SELECT city, name, id FROM customers \\crosstabview", &["Bea"]),
        ("SELECT 'SELECT ' || id || ' + 40' FROM customers ORDER BY id \\gexec", &["41", "42"]),
    ];
    let mut wrong = Vec::new();
    // What stands behind a statement is read from scripts only.
    let script = shop.folder().join("command.sql");
    for (command, wanted) in commands {
        std::fs::write(&script, format!("{command}\n")).unwrap();
        let output = shop.psql("ana", &["-f", script.to_str().unwrap()]);
        let text = said(&output);
        if !output.ok || !output.err.trim_start_matches("Did not find any").lines().all(|l| !l.contains("ERROR")) {
            wrong.push(format!("{command}: {text}"));
            continue;
        }
        for word in *wanted {
            if !output.out.contains(word) {
                wrong.push(format!("{command} does not show {word}: {text}"));
            }
        }
        for hidden in HIDDEN {
            // The names of the command line itself may be repeated in "did not find".
            if text.contains(hidden) && !command.contains(hidden) {
                wrong.push(format!("{command} shows {hidden}: {text}"));
            }
        }
        let outsider = said(&shop.psql("eve", &["-f", script.to_str().unwrap()]));
        for hidden in HIDDEN.iter().chain(&["totals", "customer_id", "open", "Ada", "orders_pkey"]) {
            if outsider.contains(hidden) && !command.contains(hidden) {
                wrong.push(format!("{command} shows an outsider {hidden}: {outsider}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is hidden is not found by its name either, and the answer is the one for what does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn naming_what_is_hidden_tells_nothing() {
    let shop = shop().await;
    for (template, names) in [
        ("\\d NAME", &["secrets", "vault.gold", "secrets_pkey", "secret_numbers", "missing"][..]),
        ("\\d+ NAME", &["secrets", "missing"]),
        ("\\dt NAME", &["secrets", "vault.*", "missing"]),
        ("\\di NAME", &["secrets_pkey", "missing"]),
        ("\\dn NAME", &["vault", "missing"]),
        ("\\df NAME", &["whisper", "missing"]),
        ("\\dT NAME", &["covert", "secret_number", "missing"]),
        ("\\du NAME", &["service_x", "admin", "postgres", "missing"]),
        ("\\l NAME", &["postgres", "template1", "missing"]),
        ("\\sv NAME", &["secrets", "missing"]),
        ("\\sf NAME", &["whisper", "missing"]),
    ] {
        let answers: BTreeSet<String> = names
            .iter()
            .map(|name| said(&shop.psql("ana", &["-c", &template.replace("NAME", name)])).replace(name, "NAME"))
            .collect();
        assert_eq!(answers.len(), 1, "{template}: {answers:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_cursors_and_scripts() {
    let shop = shop().await;
    let run = |args: &[&str]| {
        let output = shop.psql("ana", args);
        assert!(output.ok, "{args:?}: {}", output.err);
        output.out
    };
    let counted = run(&["-At", "-v", "FETCH_COUNT=100", "-c", "SELECT id FROM orders ORDER BY id"]);
    assert_eq!(counted.lines().count(), 2500);
    assert_eq!(counted.lines().last(), Some("2500"));
    let script = shop.folder().join("script.sql");
    std::fs::write(
        &script,
        "\\set who 'O\\'Brien ü'\nSELECT :'who' AS \"x\", :\"who\" FROM (SELECT 1) AS t(:\"who\");\n\
         SELECT id AS first FROM customers ORDER BY id LIMIT 1 \\gset\nSELECT :first + 1;\n\
         BEGIN;\nSELECT 1/0;\n\\echo :LAST_ERROR_SQLSTATE\nROLLBACK;\n\
         PREPARE p (int) AS SELECT name FROM customers WHERE id = $1;\nEXECUTE p (2);\nDEALLOCATE p;\n\
         BEGIN;\nDECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id;\nMOVE 10 c;\nFETCH 1 c;\nCLOSE c;\nCOMMIT;\n\
         SELECT $$a;b$$; SELECT 'x'\\; SELECT 'y';\nCOPY (SELECT 7) TO STDOUT;\n\
         SELECT 'é' FROM nowhere;\n",
    )
    .unwrap();
    let output =
        shop.psql("ana", &["-At", "-v", "ON_ERROR_STOP=0", "-v", "SHOW_ALL_RESULTS=1", "-f", script.to_str().unwrap()]);
    assert_eq!(
        output.out,
        "O'Brien ü|1\n2\nBEGIN\n22012\nROLLBACK\nPREPARE\nBea\nDEALLOCATE\nBEGIN\nDECLARE CURSOR\nMOVE 10\n11\n\
         CLOSE CURSOR\nCOMMIT\na;b\nx\ny\n7\n",
        "{}",
        output.err
    );
    assert!(output.err.contains("division by zero"), "{}", output.err);
    assert!(output.err.contains("LINE 1: SELECT 'é' FROM nowhere;\n                        ^"), "{}", output.err);
    let single = shop.psql("ana", &["-At", "-1", "-c", "SELECT 1", "-c", "SELECT * FROM secrets"]);
    assert!(!single.ok && single.out == "1\n", "{}{}", single.out, single.err);
}

/// The statements psql 15 sends when Tab is pressed behind what the first column says, as the server's log shows them.
const COMPLETIONS: &[(&str, &str)] = &[
    (
        "SELECT * FROM ",
        "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\\\_%'\nLIMIT 1000",
    ),
    (
        "SELECT * FROM public.cu",
        "SELECT c.relname, n.nspname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'cu%' AND n.nspname = 'public'\nLIMIT 1000",
    ),
    (
        "SELECT * FROM vault.",
        "SELECT c.relname, n.nspname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE '%' AND n.nspname = 'vault'\nLIMIT 1000",
    ),
    (
        "SELECT * FROM customers WHERE ",
        "SELECT a.attname, NULL::pg_catalog.text FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped AND (a.attname) LIKE '%' AND c.relname = 'customers' AND pg_catalog.pg_table_is_visible(c.oid)\nLIMIT 1000",
    ),
    (
        "SELECT * FROM secrets WHERE ",
        "SELECT a.attname, NULL::pg_catalog.text FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped AND (a.attname) LIKE '%' AND c.relname = 'secrets' AND pg_catalog.pg_table_is_visible(c.oid)\nLIMIT 1000",
    ),
    (
        "\\d ",
        "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\\\_%'\nLIMIT 1000",
    ),
    (
        "\\di ",
        "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('i', 'I') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\\\_%'\nLIMIT 1000",
    ),
    ("\\dn ", "SELECT nspname FROM pg_catalog.pg_namespace  WHERE nspname LIKE '%'\nLIMIT 1000"),
    ("\\c ", "SELECT datname FROM pg_catalog.pg_database  WHERE datname LIKE '%'\nLIMIT 1000"),
    ("\\du ", " SELECT rolname \n   FROM pg_catalog.pg_roles \n  WHERE rolname LIKE '%'\nLIMIT 1000"),
    (
        "SHOW dat",
        "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('dat%')\nLIMIT 1000",
    ),
    (
        "SET search_",
        "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE context IN ('user', 'superuser')    AND pg_catalog.lower(name) LIKE pg_catalog.lower('search\\_%')\nLIMIT 1000",
    ),
    (
        "SET TimeZone TO Eur",
        "SELECT pg_catalog.quote_literal(name) AS name   FROM pg_catalog.pg_timezone_names()  WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('Eur%')\nLIMIT 1000",
    ),
    (
        "SELECT whis",
        "SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.prokind != 'p' AND (p.proname) LIKE 'whis%' AND pg_catalog.pg_function_is_visible(p.oid)\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'whis%'\nLIMIT 1000",
    ),
    (
        "SELECT pg_back",
        "SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.prokind != 'p' AND (p.proname) LIKE 'pg\\_back%' AND pg_catalog.pg_function_is_visible(p.oid)\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'pg\\_back%'\nLIMIT 1000",
    ),
    (
        "\\dT ",
        "SELECT t.typname, NULL::pg_catalog.text FROM pg_catalog.pg_type t WHERE (t.typrelid = 0  OR (SELECT c.relkind = 'c'     FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)) AND t.typname !~ '^_' AND (t.typname) LIKE '%' AND pg_catalog.pg_type_is_visible(t.oid)\nUNION ALL\nSELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\\\_%'\nLIMIT 1000",
    ),
    ("EXECUTE ", " SELECT name \n   FROM pg_catalog.pg_prepared_statements \n  WHERE name LIKE '%'\nLIMIT 1000"),
    ("FETCH ", " SELECT name \n   FROM pg_catalog.pg_cursors \n  WHERE name LIKE '%'\nLIMIT 1000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn tab_completion_offers_what_the_caller_may_see() {
    let shop = shop().await;
    let offered: &[(&str, &[&str])] = &[
        ("SELECT * FROM ", &["customers|", "orders|", "totals|", "|information_schema", "|public"]),
        ("SELECT * FROM public.cu", &["customers|public"]),
        ("SELECT * FROM vault.", &[]),
        ("SELECT * FROM customers WHERE ", &["city|", "email|", "id|", "name|", "x|"]),
        ("SELECT * FROM secrets WHERE ", &[]),
        ("\\dn ", &["information_schema", "pg_catalog", "public"]),
        ("\\c ", &[shop.database()]),
        ("SHOW dat", &["data_directory_mode", "datestyle"]),
        ("SET search_", &["search_path"]),
        ("SELECT whis", &[]),
        ("SELECT pg_back", &["pg_backend_pid|", "pg_backup_start|", "pg_backup_stop|"]),
        ("EXECUTE ", &[]),
        ("FETCH ", &[]),
    ];
    for (typed, sql) in COMPLETIONS {
        let output = shop.psql("ana", &["-At", "-c", sql]);
        assert!(output.ok, "{typed}: {}", output.err);
        hides(typed, &output, &[]);
        if let Some((_, wanted)) = offered.iter().find(|(t, _)| t == typed) {
            let mut lines: Vec<&str> = output.out.lines().collect();
            lines.sort_unstable();
            if *typed == "SHOW dat" {
                assert!(lines.contains(&"datestyle"), "{lines:?}");
            } else {
                assert_eq!(lines, *wanted, "{typed}");
            }
        }
        let outsider = shop.psql("eve", &["-At", "-c", sql]);
        assert!(outsider.ok, "{typed}: {}", outsider.err);
        hides(typed, &outsider, &["customers", "orders", "totals", "email", "state"]);
    }
}
