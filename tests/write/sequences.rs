//! Sequences follow their tables.

use crate::world::{count, refused, rows, running};

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_the_table_draws_from_its_sequences() {
    let running = running().await;
    let admin = running.admin();
    admin.batch_execute("CREATE SEQUENCE alone; CREATE TABLE hid (id serial, v int)").await.unwrap();
    let (ana, eve) = (running.client("ana").await, running.client("eve").await);
    assert_eq!(rows(&ana, "SELECT nextval('dept_id_seq')").await, ["6"]);
    assert_eq!(rows(&ana, "SELECT nextval('public.dept_id_seq'::regclass), currval('dept_id_seq') > 0").await, ["7|t"]);
    assert_eq!(rows(&ana, "SELECT setval('dept_id_seq', (SELECT max(id) FROM dept) + 100)").await, ["105"]);
    assert_eq!(rows(&ana, "SELECT setval(pg_get_serial_sequence('dept', 'id'), 200, false)").await, ["200"]);
    assert_eq!(rows(&ana, "INSERT INTO dept (name) VALUES ('n') RETURNING id").await, ["200"]);
    assert_eq!(count(&ana, "INSERT INTO dept (id, name) VALUES (nextval('dept_id_seq'), 'm')").await, 1);
    assert_eq!(rows(&ana, "SELECT nextval('log_id_seq') AS n FROM generate_series(1, 2)").await, ["11", "12"]);
    assert_eq!(
        refused(&eve, "SELECT nextval('dept_id_seq')").await,
        "42501 permission denied for sequence dept_id_seq"
    );
    for sql in [
        "SELECT nextval('alone')",
        "SELECT nextval('hid_id_seq')",
        "SELECT setval('hid_id_seq', 1)",
        "SELECT nextval('nope')",
    ] {
        assert!(refused(&ana, sql).await.starts_with("42P01"), "{sql}");
    }
    for (sql, code) in [
        ("SELECT nextval(name) FROM dept", "0A000"),
        ("SELECT nextval('dept_id' || '_seq')", "0A000"),
        ("SELECT lastval()", "42501"),
        ("SELECT nextval('dept_id_seq; DROP TABLE dept')", "0A000"),
        ("SELECT setval(pg_get_serial_sequence('vault', 'id'), 1)", "42P01"),
        ("SELECT nextval(16384)", "0A000"),
    ] {
        let found = refused(&ana, sql).await;
        assert!(found.starts_with(code), "{sql}: {found}");
    }
    assert_eq!(ana.query_one("SELECT nextval('dept_id_seq')", &[]).await.unwrap().get::<_, i64>(0), 202);
}
