//! Partitions and children: read through the parent under the parent's policies, by themselves under their own.

use crate::support::Stage;
use crate::{ask, cell, code, start};

/// Partitions on two levels, and children of a table; some registered by themselves, others (`zz_…`) not.
const SCHEMA: &str = "
    CREATE TABLE sale (id int, city text, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (100);
    CREATE TABLE zz_sale_2 PARTITION OF sale FOR VALUES FROM (100) TO (1000) PARTITION BY RANGE (id);
    CREATE TABLE zz_sale_2a PARTITION OF zz_sale_2 FOR VALUES FROM (100) TO (200);
    INSERT INTO sale SELECT i, CASE WHEN i % 4 = 0 THEN 'Kiel' ELSE 'Bonn' END, CASE WHEN i % 4 = 0 THEN 'SECRET-' || i ELSE i::text END FROM generate_series(1, 199) i;
    CREATE TABLE animal (id int PRIMARY KEY, city text, name text);
    CREATE TABLE dog (bark text) INHERITS (animal); CREATE TABLE zz_cat (purr text) INHERITS (animal);
    INSERT INTO animal VALUES (1, 'Bonn', 'a'), (2, 'Kiel', 'SECRET');
    INSERT INTO dog VALUES (3, 'Bonn', 'd', 'wuff'), (4, 'Kiel', 'SECRET', 'SECRET'); INSERT INTO zz_cat VALUES (5, 'Bonn', 'c', 'zz_purr'), (6, 'Kiel', 'SECRET', 'x');
    ANALYZE;";

async fn stage() -> Stage {
    Stage::new().await.sql(SCHEMA).await.writable().await.sources(&[
        ("sale", "{city: [City]}"),
        // The child's own: nobody's rows are hidden here, but a column is.
        ("sale_1", "{note: [Hide]}"),
        ("animal", "{city: [City]}"),
        ("dog", "{city: [City], bark: [Hide]}"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_read_under_its_own_policies() {
    let running = start(stage().await).await;
    let ana = running.client("ana").await;
    // 199 rows, 49 of them hidden; through the parent the child's own mask does not matter, by itself the parent's rule does not.
    assert_eq!(cell(&ana, "SELECT count(*), count(note) FROM sale").await, "150|150");
    assert_eq!(cell(&ana, "SELECT count(*), count(note) FROM sale_1").await, "99|0");
    assert_eq!(cell(&ana, "SELECT count(*) FROM sale WHERE note::int > 100 AND id > 100").await, "75");
    assert_eq!(cell(&ana, "SELECT count(*) FROM ONLY sale").await, "0");
    assert_eq!(code(&ana, "SELECT * FROM zz_sale_2a").await, "42P01");
    assert_eq!(code(&ana, "SELECT tableoid::regclass FROM sale").await, "42703");
    // Children: their columns are not the parent's, `ONLY` leaves them out.
    assert_eq!(ask(&ana, "SELECT id, name FROM animal").await.unwrap(), ["1|a", "3|d", "5|c"]);
    assert_eq!(ask(&ana, "SELECT id, name FROM ONLY animal").await.unwrap(), ["1|a"]);
    assert_eq!(ask(&ana, "SELECT id, bark FROM dog").await.unwrap(), ["3|NULL"]);
    assert_eq!(code(&ana, "SELECT * FROM zz_cat").await, "42P01");
    assert_eq!(code(&ana, "SELECT bark FROM animal").await, "42703");
    for sql in [
        "SELECT * FROM sale WHERE id = 104",
        "SELECT * FROM animal",
        "SELECT * FROM ONLY animal",
        "SELECT * FROM sale_1",
    ] {
        for form in ["", "(VERBOSE)", "(FORMAT JSON, COSTS OFF)"] {
            let plan = ask(&ana, &format!("EXPLAIN {form} {sql}")).await.unwrap().join("\n");
            assert!(!plan.contains("zz_") && !plan.contains("Kiel") && !plan.contains("rows="), "{plan}");
        }
    }
    // A partition, its index, a child.
    let listed = "SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits";
    assert_eq!(ask(&ana, listed).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_more_is_written_through_a_parent_or_a_child() {
    let all = ["sale", "sale_1", "animal", "dog"];
    let running = start(stage().await.writes("ana", &all).writes("max", &all)).await;
    let (ana, max) = (running.client("ana").await, running.client("max").await);
    for (sql, touched) in [
        ("UPDATE sale SET note = '7'", 150),
        ("UPDATE sale SET note = '8' WHERE id % 4 = 0", 0),
        ("DELETE FROM sale WHERE note LIKE 'SECRET%'", 0),
        ("UPDATE animal SET name = 'x'", 3),
        ("UPDATE ONLY animal SET name = 'y'", 1),
        ("DELETE FROM dog", 1),
    ] {
        assert_eq!(ana.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")), touched, "{sql}");
    }
    // Neither into another's rows, nor into a partition by the way of its bounds.
    assert_eq!(code(&ana, "INSERT INTO sale VALUES (150 + 49, 'Bonn', 'x')").await, "23505");
    assert_eq!(code(&ana, "UPDATE sale SET city = 'Kiel' WHERE id = 1").await, "42501");
    assert_eq!(code(&ana, "INSERT INTO sale VALUES (900, 'Bonn', 'x')").await, "23514");
    assert_eq!(code(&ana, "UPDATE zz_cat SET name = 'x'").await, "42P01");
    // Of TRUNCATE it cannot be said which rows it leaves.
    assert_eq!(code(&ana, "TRUNCATE animal").await, "42501");
    let left = cell(&max, "SELECT count(*) FROM dog").await;
    assert_eq!((left.as_str(), cell(&max, "SELECT count(*) FROM sale").await.as_str()), ("1", "199"));
}
