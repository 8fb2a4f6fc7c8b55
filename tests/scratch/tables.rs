//! Making, changing and dropping temporary tables.

use crate::Caller;

#[test]
fn what_is_made_is_read_back() {
    let mut ana = Caller::new("ana");
    assert_eq!(
        ana.run("CREATE TEMP TABLE t (a int PRIMARY KEY, b text NOT NULL DEFAULT 'x', c numeric(10,2) CHECK (c > 0))"),
        "CREATE TABLE"
    );
    assert_eq!(ana.rows("SELECT * FROM t"), Vec::<String>::new());
    assert_eq!(ana.run("CREATE TEMP TABLE own AS SELECT id, ssn FROM emp"), "SELECT 5");
    assert_eq!(ana.rows("SELECT * FROM own ORDER BY id LIMIT 2"), ["1|hidden", "2|hidden"]);
    assert_eq!(ana.rows("SELECT count(*) FROM pg_temp.own o JOIN emp e ON e.id = o.id"), ["5"]);
    assert_eq!(ana.run("SELECT dept, count(*) AS n INTO TEMP counts FROM emp GROUP BY dept"), "SELECT 1");
    assert_eq!(ana.rows("SELECT counts.dept, pg_temp.counts.n FROM counts"), ["blue|5"]);
    assert_eq!(ana.run("DROP TABLE counts"), "DROP TABLE");
    assert_eq!(ana.code("SELECT * FROM counts"), "42P01");
}
