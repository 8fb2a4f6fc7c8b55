//! The virtual catalog: a session's own temporary tables are in it, for that session alone.

use crate::{Caller, world};

#[test]
fn psql_describes_them() {
    let out = world().psql(
        "ana",
        &[
            "-c",
            "CREATE TEMP TABLE tmp (a serial PRIMARY KEY, b text NOT NULL DEFAULT 'x', c numeric(10,2) CHECK (c > 0), UNIQUE (b))",
            "-c",
            "\\d tmp",
            "-c",
            "\\dt",
            "-c",
            "\\d",
            "-c",
            "\\di",
        ],
    );
    assert!(out.ok, "{}", out.err);
    println!("{}", out.out);
    for expected in
        ["Table \"pg_temp_", "not null", "'x'::text", "tmp_pkey", "numeric(10,2)", "CHECK (c > 0::numeric)", "emp"]
    {
        assert!(out.out.contains(expected), "{expected}: {}", out.out);
    }
}

#[test]
fn only_the_own_session_sees_them() {
    let (mut one, mut two) = (Caller::new("ana"), Caller::new("ana"));
    one.run("CREATE TEMP TABLE mine (a int PRIMARY KEY)");
    two.run("CREATE TEMP TABLE yours (a int PRIMARY KEY)");
    for (who, own, other) in [(&mut one, "mine", "yours"), (&mut two, "yours", "mine")] {
        for sql in [
            "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'".to_owned(),
            "SELECT tablename FROM pg_tables WHERE schemaname LIKE 'pg_temp%'".to_owned(),
            "SELECT table_name FROM information_schema.tables WHERE table_schema LIKE 'pg_temp%'".to_owned(),
            "SELECT table_name FROM information_schema.columns WHERE table_schema LIKE 'pg_temp%'".to_owned(),
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname LIKE 'pg_temp%' AND c.relkind = 'r'"
                .to_owned(),
            format!("SELECT relname FROM pg_class WHERE oid = '{own}'::regclass"),
            format!("SELECT relname FROM pg_class WHERE oid = to_regclass('pg_temp.{own}')::oid"),
        ] {
            assert_eq!(who.rows(&sql), [own], "{sql}");
        }
        assert_eq!(who.rows(&format!("SELECT to_regclass('{other}') IS NULL")), ["t"]);
        assert_eq!(who.rows(&format!("SELECT count(*) FROM pg_class WHERE relname LIKE '{other}%'")), ["0"]);
        assert_eq!(who.rows("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg\\_temp%'"), ["1"]);
        assert_eq!(who.rows("SELECT count(*) FROM pg_class WHERE relname LIKE 'pg_temp%'"), ["0"]);
    }
}
