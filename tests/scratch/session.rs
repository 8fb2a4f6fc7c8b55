//! Transactions, savepoints, prepared statements, pipelines and the pool: what a name stands for at every moment.

use crate::wire::{bind, describe_what, execute, flush, parse, query, sync};
use crate::{Caller, connect, runtime, stage, world};

/// One statement in extended protocol, without Sync.
fn one(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], 0), describe_what(b'P', ""), execute("", 0)].concat()
}

#[test]
fn a_temporary_table_stands_before_others_and_never_for_them() {
    let mut ana = Caller::new("ana");
    assert_eq!(ana.rows("SELECT count(*), min(ssn) FROM emp"), ["5|hidden"]);
    ana.run("CREATE TEMP TABLE emp (id int, note text)");
    assert_eq!(ana.rows("SELECT count(*), min(note) FROM emp"), ["0|∅"]);
    assert_eq!(ana.rows("SELECT count(*), min(ssn) FROM public.emp"), ["5|hidden"]);
    assert_eq!(ana.rows("WITH emp AS (SELECT 1 AS one) SELECT * FROM emp"), ["1"]);
    ana.run("SET search_path = public, pg_temp");
    assert_eq!(ana.rows("SELECT count(*), min(ssn) FROM emp"), ["5|hidden"]);
    assert_eq!(ana.rows("SELECT count(*) FROM pg_temp.emp"), ["0"]);
    ana.run("RESET search_path");
    ana.run("DROP TABLE emp");
    assert_eq!(ana.rows("SELECT count(*), min(ssn) FROM emp"), ["5|hidden"]);
    assert_eq!(ana.refused("DROP TABLE emp"), ("42501".into(), "must be owner of table emp".into()));
    assert_eq!(ana.rows("SELECT count(*) FROM emp"), ["5"]);
}

#[test]
fn a_rollback_takes_the_name_back() {
    let mut ana = Caller::new("ana");
    ana.run("BEGIN");
    ana.run("CREATE TEMP TABLE emp AS SELECT 42 AS id, 'mine' AS ssn");
    assert_eq!(ana.0.simple("SELECT id, ssn FROM emp").rows(), ["42|mine"]);
    ana.run("ROLLBACK");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    ana.run("BEGIN");
    ana.run("SAVEPOINT a");
    ana.run("CREATE TEMP TABLE emp AS SELECT 42 AS id, 'mine' AS ssn");
    assert_eq!(ana.0.simple("SELECT ssn FROM emp").rows(), ["mine"]);
    ana.run("ROLLBACK TO a");
    assert_eq!(ana.0.simple("SELECT count(*), max(ssn) FROM emp").rows(), ["5|hidden"]);
    ana.run("CREATE TEMP TABLE emp AS SELECT 43 AS id, 'mine' AS ssn");
    // A failed transaction: COMMIT is a rollback.
    assert_eq!(ana.0.simple("SELECT 1/0").code(), "22012");
    assert_eq!(ana.0.simple("SELECT * FROM emp").code(), "25P02");
    assert_eq!(ana.run("COMMIT"), "ROLLBACK");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    // Dropping is undone too.
    ana.run("CREATE TEMP TABLE emp AS SELECT 44 AS id, 'mine' AS ssn");
    ana.run("BEGIN");
    ana.run("DROP TABLE emp");
    assert_eq!(ana.0.simple("SELECT count(*), max(ssn) FROM emp").rows(), ["5|hidden"]);
    ana.run("ROLLBACK");
    assert_eq!(ana.rows("SELECT id, ssn FROM emp"), ["44|mine"]);
    assert_eq!(ana.run("BEGIN; DROP TABLE emp; SELECT 1/1"), "BEGIN, DROP TABLE, SELECT 1");
    let answer = ana.0.simple("SELECT 1/0; SELECT 1");
    assert_eq!(answer.code(), "22012");
    assert_eq!(ana.run("ROLLBACK"), "ROLLBACK");
    assert_eq!(ana.rows("SELECT id, ssn FROM emp"), ["44|mine"]);
}

#[test]
fn on_commit_drop_and_delete() {
    let mut ana = Caller::new("ana");
    ana.run("BEGIN");
    ana.run("CREATE TEMP TABLE emp ON COMMIT DROP AS SELECT 'mine' AS ssn");
    assert_eq!(ana.0.simple("SELECT ssn FROM emp").rows(), ["mine"]);
    ana.run("COMMIT");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    ana.run("CREATE TEMP TABLE emp (ssn text) ON COMMIT DROP");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    ana.run("CREATE TEMP TABLE d ON COMMIT DELETE ROWS AS SELECT 1 AS a");
    assert_eq!(ana.rows("SELECT count(*) FROM d"), ["0"]);
    // In one string: what the names are behind the end of the transaction is not guessed.
    let sql = "BEGIN; CREATE TEMP TABLE emp (ssn text) ON COMMIT DROP; COMMIT; SELECT max(ssn) FROM emp";
    assert_eq!(ana.0.simple(sql).code(), "0A000");
    assert_eq!(
        ana.run("BEGIN; CREATE TEMP TABLE emp (ssn text) ON COMMIT DROP; SELECT max(ssn) FROM emp; COMMIT").as_str(),
        "BEGIN, CREATE TABLE, SELECT 1, COMMIT"
    );
    assert_eq!(ana.rows("SELECT max(ssn) FROM emp"), ["hidden"]);
}

#[test]
fn several_statements_in_one_string() {
    let mut ana = Caller::new("ana");
    let answer = ana.0.simple(
        "CREATE TEMP TABLE a AS SELECT id, ssn, salary * 2 AS twice FROM emp; CREATE TEMP TABLE b AS SELECT *, id + 1 AS next FROM a; \
         SELECT b.id, b.ssn, b.twice, b.next FROM a JOIN b USING (id) ORDER BY 1 LIMIT 1; DROP TABLE a; SELECT count(*) FROM b",
    );
    assert_eq!(answer.message(), "");
    assert_eq!(answer.rows(), ["1|hidden|2002|2", "5"]);
    assert_eq!(ana.rows("SELECT count(*) FROM b"), ["5"]);
    assert_eq!(ana.code("SELECT count(*) FROM a"), "42P01");
    assert_eq!(ana.code("SELECT xmin FROM b"), "42703");
    // Nothing is sent when one of them is refused.
    assert_eq!(ana.0.simple("CREATE TEMP TABLE c (a int); SELECT * FROM vault").code(), "42P01");
    assert_eq!(ana.code("SELECT * FROM c"), "42P01");
    // The catalog is not read before the warehouse was asked.
    assert_eq!(ana.0.simple("CREATE TEMP TABLE c (a int); SELECT 'c'::regclass").code(), "0A000");
    assert_eq!(
        ana.0.simple("DROP TABLE IF EXISTS c; CREATE TEMP TABLE IF NOT EXISTS c (a int); SELECT a FROM c").message(),
        ""
    );
}

#[test]
fn pipelines_without_sync() {
    let mut ana = Caller::new("ana");
    let frames = [
        one("CREATE TEMP TABLE emp AS SELECT 7 AS id, 'mine' AS ssn"),
        one("SELECT id, ssn FROM emp"),
        flush(),
        one("CREATE TEMP TABLE two (a int)"),
        one("SELECT count(*) FROM two"),
        one("DROP TABLE emp"),
        one("SELECT count(*), max(ssn) FROM emp"),
        sync(),
    ];
    let answer = ana.0.ask(&frames.concat());
    assert_eq!(
        (answer.message(), answer.rows()),
        (String::new(), vec!["7|mine".into(), "0".into(), "5|hidden".into()])
    );
    assert_eq!(answer.tags(), ["SELECT 1", "SELECT 1", "CREATE TABLE", "SELECT 1", "DROP TABLE", "SELECT 1"]);
    // An error takes the whole batch back.
    let frames = [
        one("CREATE TEMP TABLE emp AS SELECT 7 AS id, 'mine' AS ssn"),
        one("SELECT id/0 FROM emp"),
        one("SELECT 1"),
        sync(),
    ];
    let answer = ana.0.ask(&frames.concat());
    assert_eq!(answer.code(), "22012");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    // The statement fails before the question is asked: the question is skipped with the rest.
    let frames = [
        one("CREATE TEMP TABLE three AS SELECT 1/0 AS x"),
        one("SELECT x FROM three"),
        sync(),
        one("SELECT 5"),
        sync(),
    ];
    ana.0.send(&frames.concat());
    let answer = ana.0.until_ready(2);
    assert_eq!((answer.code(), answer.rows()), ("22012".into(), vec!["5".to_owned()]));
    // A Query inside an open batch.
    ana.0.send(
        &[
            one("CREATE TEMP TABLE emp AS SELECT 'mine' AS ssn"),
            query("SELECT ssn FROM emp"),
            one("SELECT ssn FROM emp"),
            sync(),
        ]
        .concat(),
    );
    let answer = ana.0.until_ready(2);
    assert_eq!((answer.message(), answer.rows()), (String::new(), vec!["mine".to_owned(), "mine".into()]));
    ana.run("DROP TABLE emp");
    // Transactions inside a pipeline.
    let frames = [
        one("BEGIN"),
        one("CREATE TEMP TABLE emp AS SELECT 'mine' AS ssn"),
        one("SELECT max(ssn) FROM emp"),
        one("ROLLBACK"),
        one("SELECT max(ssn) FROM emp"),
        sync(),
    ];
    let answer = ana.0.ask(&frames.concat());
    assert_eq!((answer.message(), answer.rows()), (String::new(), vec!["mine".to_owned(), "hidden".into()]));
    // A failed transaction that is rolled back inside a pipeline.
    ana.run("BEGIN");
    ana.run("CREATE TEMP TABLE emp AS SELECT 'mine' AS ssn");
    assert_eq!(ana.0.simple("SELECT 1/0").code(), "22012");
    let answer = ana.0.ask(&[one("ROLLBACK"), one("SELECT max(ssn) FROM emp"), sync()].concat());
    assert_eq!((answer.message(), answer.rows()), (String::new(), vec!["hidden".to_owned()]));
}

#[test]
fn prepared_statements_follow_the_name() {
    let mut ana = Caller::new("ana");
    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    ana.0.ask(&[parse("s", "SELECT max(ssn) FROM emp", &[]), sync()].concat());
    assert_eq!(ana.0.ask(&run).rows(), ["hidden"]);
    ana.run("CREATE TEMP TABLE emp AS SELECT 'mine'::text AS ssn");
    assert_eq!(ana.0.ask(&run).rows(), ["mine"]);
    ana.run("CREATE TEMP TABLE other (a int)");
    assert_eq!(ana.0.ask(&run).rows(), ["mine"]);
    ana.run("DROP TABLE emp");
    assert_eq!(ana.0.ask(&run).rows(), ["hidden"]);
    ana.run("CREATE TEMP TABLE emp AS SELECT 'again'::text AS ssn");
    assert_eq!(ana.0.ask(&run).rows(), ["again"]);
    // Dropped behind the back of a pipeline: the name is looked at again before Bind.
    let answer = ana.0.ask(&[one("DROP TABLE emp"), bind("", "s", &[], 0), execute("", 0), sync()].concat());
    assert_eq!((answer.message(), answer.rows()), (String::new(), vec!["hidden".to_owned()]));
    ana.run("PREPARE p AS SELECT max(ssn) FROM emp");
    ana.run("CREATE TEMP TABLE emp AS SELECT 'mine'::text AS ssn");
    assert_eq!(ana.0.simple("EXECUTE p").rows(), ["mine"]);
    ana.run("DROP TABLE emp");
    assert_eq!(ana.0.simple("EXECUTE p").rows(), ["hidden"]);
    // A cursor goes on over the table it was made for.
    ana.run("CREATE TEMP TABLE n AS SELECT g FROM generate_series(1, 5) g");
    ana.run("BEGIN");
    ana.run("DECLARE c CURSOR FOR SELECT g FROM n ORDER BY g");
    assert_eq!(ana.0.simple("FETCH 2 FROM c").rows(), ["1", "2"]);
    ana.run("CREATE TEMP TABLE m (a int)");
    assert_eq!(ana.0.simple("FETCH 1 FROM c").rows(), ["3"]);
    assert_eq!(ana.0.simple("DROP TABLE n").code(), "55006");
    ana.run("ROLLBACK");
    // Parameters in the query of a table that is made.
    let frames = [
        parse("", "CREATE TEMP TABLE par AS SELECT $1::int AS a", &[]),
        bind("", "", &["7"], 0),
        execute("", 0),
        sync(),
    ];
    assert_eq!(ana.0.ask(&frames.concat()).message(), "");
    assert_eq!(ana.rows("SELECT a FROM par"), ["7"]);
}

#[test]
fn nothing_is_left_for_the_next_session() {
    let running = runtime().block_on(async { stage().await.start().await });
    let pids =
        |wire: &mut crate::wire::Wire| wire.simple("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").rows();
    for round in 0..10 {
        let mut ana = connect(&running, if round % 2 == 0 { "ana" } else { "max" });
        assert_eq!(ana.simple("SELECT * FROM left_behind").code(), "42P01", "{round}");
        assert_eq!(ana.simple("SELECT * FROM pg_temp.left_behind").code(), "42P01", "{round}");
        assert_eq!(pids(&mut ana), ["0"]);
        let made = ana.simple("CREATE TEMP TABLE left_behind AS SELECT ssn FROM emp");
        assert_eq!(made.message(), "");
        if round % 3 == 1 {
            assert_eq!(ana.simple("DISCARD ALL").message(), "");
            assert_eq!(ana.simple("SELECT * FROM left_behind").code(), "42P01");
        }
        if round % 3 == 2 {
            assert_eq!(ana.simple("DISCARD TEMP").message(), "");
            assert_eq!(ana.simple("SELECT * FROM left_behind").code(), "42P01");
        }
        drop(ana);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let left = runtime().block_on(async {
        running
            .admin()
            .query_one("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'", &[])
            .await
            .unwrap()
    });
    assert_eq!(left.get::<_, i64>(0), 0);
    let _ = world();
}
