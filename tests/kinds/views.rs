//! Views and materialized views: whose rights, whose rows, and what their options change.

use crate::support::Stage;
use crate::{ask, cell, code, start};

/// `person` is registered; `private` is not, nor may the proxy's login read it. Each view of both kinds of rights over each.
const SCHEMA: &str = "
    CREATE TABLE person (id int PRIMARY KEY, city text, name text, n int);
    INSERT INTO person SELECT i, CASE WHEN i % 4 = 0 THEN 'Kiel' ELSE 'Bonn' END, CASE WHEN i % 4 = 0 THEN 'SECRET-' || i ELSE i::text END, i % 4 FROM generate_series(1, 40) i;
    CREATE SCHEMA zz_closed; CREATE TABLE zz_closed.private (id int, city text, name text, n int); INSERT INTO zz_closed.private TABLE person;
    CREATE VIEW owners AS SELECT id, city, name, n FROM zz_closed.private;
    CREATE VIEW invokers WITH (security_invoker) AS SELECT id, city, name, n FROM zz_closed.private;
    CREATE VIEW mine WITH (security_invoker) AS SELECT id, city, name, n FROM person;
    CREATE VIEW fenced WITH (security_barrier) AS SELECT id, city, name, n FROM person WHERE n <> 0;
    CREATE VIEW open AS SELECT id, city, name, n, 12 / n AS share FROM person WHERE n <> 0;
    CREATE VIEW checked AS SELECT id, city, name, n FROM person WHERE n <> 0 WITH CHECK OPTION;
    CREATE MATERIALIZED VIEW kept AS SELECT id, city, name, n FROM person;
    CREATE MATERIALIZED VIEW later AS SELECT id, city FROM person WITH NO DATA;
    ANALYZE;";

#[tokio::test(flavor = "multi_thread")]
async fn views_are_sources_of_their_own_whoever_reads_beneath() {
    let city = "{city: [City], name: [Hide]}";
    let open = "{city: [City]}";
    let running = start(Stage::new().await.sql(SCHEMA).await.writable().await.sources(&[
        ("person", city),
        ("owners", open),
        ("invokers", open),
        ("mine", open),
        ("fenced", open),
        ("open", open),
        ("checked", open),
        ("kept", open),
        ("later", open),
    ]))
    .await;
    let ana = running.client("ana").await;
    // The owner may read what the proxy's login may not.
    assert_eq!(cell(&ana, "SELECT count(*), count(name) FROM owners").await, "30|30");
    // The login itself may not, and what the warehouse says of it is not told.
    assert_eq!(ask(&ana, "SELECT * FROM invokers").await, Err("42501 permission denied by the warehouse".into()));
    // Policies of a table are the table's: a view over it has its own, whoever's rights it reads with.
    assert_eq!(cell(&ana, "SELECT count(*), count(name) FROM person").await, "30|0");
    for view in ["mine", "fenced", "open", "checked", "kept"] {
        assert_eq!(cell(&ana, &format!("SELECT count(*), count(name) FROM {view}")).await, "30|30", "{view}");
    }
    for view in ["owners", "mine", "fenced", "open", "checked", "kept"] {
        for condition in ["name::int > 0", "12 / n > 0", "id = 4 AND name::int > 0", "city = 'Kiel'"] {
            let sql = format!("SELECT count(*) FROM {view} WHERE {condition}");
            let wanted = if condition.contains("id = 4") || condition.contains("Kiel") { "0" } else { "30" };
            assert_eq!(cell(&ana, &sql).await, wanted, "{sql}");
            // No plan of what is hidden, in no form.
            for form in ["", "(VERBOSE)", "(FORMAT JSON)"] {
                let plan = ask(&ana, &format!("EXPLAIN {form} {sql}")).await.unwrap().join("\n");
                assert!(!plan.contains("zz_") && !plan.contains("Kiel'::text") && !plan.contains("rows="), "{plan}");
            }
        }
        assert_eq!(code(&ana, &format!("EXPLAIN ANALYZE SELECT * FROM {view}")).await, "42501");
    }
    assert_eq!(cell(&ana, "SELECT sum(share) FROM open").await, "220");
    // Definitions name what is hidden.
    assert_eq!(cell(&ana, "SELECT count(*), count(definition) FROM pg_views WHERE schemaname = 'public'").await, "6|0");
    assert_eq!(ask(&ana, "SELECT pg_get_viewdef('open'::regclass)").await.unwrap(), ["NULL"]);
    assert_eq!(ask(&ana, "SELECT reloptions FROM pg_class WHERE relname = 'fenced'").await.unwrap(), ["NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_a_view_or_renews_one() {
    let all = ["person", "mine", "open", "checked", "kept", "later"];
    let sources = all.map(|name| (name, "{city: [City]}"));
    let stage =
        Stage::new().await.sql(SCHEMA).await.writable().await.sources(&sources).writes("ana", &all).writes("max", &all);
    let running = start(stage).await;
    for user in ["ana", "max"] {
        let client = running.client(user).await;
        for view in ["mine", "open", "checked", "kept"] {
            for sql in [
                format!("INSERT INTO {view} (id, city) VALUES (1000, 'Bonn')"),
                format!("UPDATE {view} SET n = 1 WHERE id = 1"),
                format!("DELETE FROM {view} WHERE id = 1"),
                format!("MERGE INTO {view} v USING (VALUES (1)) s(id) ON v.id = s.id WHEN MATCHED THEN DELETE"),
                format!("COPY {view} FROM STDIN"),
                format!("TRUNCATE {view}"),
            ] {
                assert_eq!(code(&client, &sql).await, "0A000", "{user}: {sql}");
            }
            let sql = format!("REFRESH MATERIALIZED VIEW {view}");
            assert_eq!(
                ask(&client, &sql).await,
                Err("0A000 REFRESH MATERIALIZED VIEW is not supported".into()),
                "{user}"
            );
        }
        // One that was never filled says so in the server's own words.
        assert_eq!(code(&client, "SELECT * FROM later").await, "55000");
    }
}
