//! Which functions callers may call: lists by version, and those of the warehouse's own that somebody vouches for.

use crate::simple;
use crate::support::{ANYONE, Running, Stage};
use sqlveil::catalog::{Catalog, FunctionClass};
use std::process::Command;

const SCHEMA: &str = "
    CREATE TABLE emp (id int PRIMARY KEY, name text, secret text);
    INSERT INTO emp SELECT i, 'n' || i, 's' || i FROM generate_series(1, 9) i;
    CREATE SCHEMA lib; CREATE SCHEMA other; GRANT USAGE ON SCHEMA lib, other TO PUBLIC;
    CREATE FUNCTION lib.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
    CREATE FUNCTION lib.shout(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN upper($1) || ''!''; END';
    CREATE FUNCTION lib.shout(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 || ''!''; END';
    CREATE FUNCTION lib.half(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''half''';
    CREATE FUNCTION lib.half(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''half''';
    CREATE FUNCTION lib.moody() RETURNS float8 LANGUAGE sql VOLATILE AS 'SELECT random()';
    CREATE FUNCTION lib.peek() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT max(secret) FROM public.emp';
    CREATE FUNCTION lib.leak(text) RETURNS text LANGUAGE sql AS 'SELECT string_agg(secret, '','') FROM public.emp';
    CREATE FUNCTION lib.spread(int) RETURNS TABLE (a int, b int) LANGUAGE sql IMMUTABLE AS 'SELECT i, i * $1 FROM generate_series(1, 2) i';
    CREATE FUNCTION lib.raises(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE EXCEPTION ''saw %'', $1; END';
    CREATE AGGREGATE lib.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
    CREATE PROCEDURE lib.act() LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION other.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 22 * $1';
    CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''mine''';
    CREATE TYPE lib.pair AS (a int, b int);
    CREATE FUNCTION lib.pair_of(int) RETURNS lib.pair LANGUAGE sql IMMUTABLE AS 'SELECT ($1, $1)::lib.pair';
    CREATE CAST (int AS lib.pair) WITH FUNCTION lib.pair_of(int) AS IMPLICIT;";

const VOUCHED: &str = "
    functions:
      - {function: lib.twice(integer), volatility: immutable, vouched_by: jane, total: true}
      - {function: lib.shout(text), volatility: immutable, vouched_by: jane}
      - {function: lib.shout(int), volatility: immutable, vouched_by: jane}
      - {function: lib.half(int), volatility: immutable, vouched_by: jane}
      - {function: lib.moody(), volatility: stable, vouched_by: jane}
      - {function: lib.peek(), volatility: stable, vouched_by: jane}
      - {function: lib.spread(int), volatility: immutable, vouched_by: jane}
      - {function: lib.raises(int), volatility: immutable, vouched_by: jane}
      - {function: lib.total(int), volatility: immutable, vouched_by: jane}
      - {function: lib.act(), volatility: volatile, vouched_by: jane}
      - {function: lib.gone(int), volatility: stable, vouched_by: jane}";

const ROWS: &str = "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"id < 5\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Id}]\n";

async fn stage(functions: &str) -> Running {
    let stage = Stage::new().await.sql(SCHEMA).await.sources(&[("emp", "{id: [Id]}")]).policy(ANYONE).policy(ROWS);
    stage.connection(functions).user("ana", &[], &[]).user("max", &["Trusted"], &[]).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_the_warehouse_are_called_only_when_vouched_for() {
    let stage = stage(VOUCHED).await;
    let ana = stage.client("ana").await;
    let rows = async |sql: &str| simple(&ana, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).join(",");
    assert_eq!(rows("SELECT lib.twice(4), lib.shout('a'), lib.shout(3)").await, "8|A!|3!");
    assert_eq!(rows("SELECT lib.total(id) FROM emp").await, "10");
    assert_eq!(rows("SELECT lib.twice(id) FROM emp WHERE lib.twice(id) > 6").await, "8");
    assert_eq!(rows("SELECT id, lib.total(id) OVER (ORDER BY id) FROM emp").await, "1|1,2|3,3|6,4|10");
    assert_eq!(rows("SELECT s.a, s.b FROM emp, lib.spread(id) s WHERE id = 2").await, "1|2,2|4");
    assert_eq!(rows("SELECT lib.peek()").await, "s9");
    // As PostgreSQL finds names: pg_catalog first, then the path.
    assert_eq!(rows("SELECT lower('ABC')").await, "abc");
    ana.batch_execute("SET search_path = lib, public").await.unwrap();
    assert_eq!(rows("SELECT twice(4), shout('b'), total(id) FROM emp GROUP BY 1, 2").await, "8|B!|10");
    ana.batch_execute("SET search_path = public").await.unwrap();
    assert!(simple(&ana, "SELECT twice(4)").await.unwrap_err().starts_with("42883"));
    ana.batch_execute("SET search_path = other, lib").await.unwrap();
    let error = simple(&ana, "SELECT twice(4)").await.unwrap_err();
    assert!(error.contains("Write its schema"), "{error}");
    ana.batch_execute("RESET search_path").await.unwrap();
    // In the extended protocol, with parameters.
    let row = ana.query_one("SELECT lib.twice($1), lib.shout($2::text)", &[&21, &"x"]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, String>(1)), (42, "X!".to_owned()));
    // A function that may raise meets no hidden row; one that is said never to is run wherever the planner likes.
    let error = simple(&ana, "SELECT * FROM emp WHERE lib.raises(id)").await.unwrap_err();
    assert!(error.starts_with("P0001 saw 1"), "{error}");

    for sql in [
        "SELECT lib.leak('x')",
        "SELECT leak('x')",
        "SELECT lib.half(1)",
        "SELECT lib.moody()",
        "SELECT lib.gone(1)",
        "SELECT lib.act()",
        "SELECT other.twice(1)",
        "SELECT public.lower('x')",
        "SELECT * FROM emp WHERE id = lib.leak(name)::int",
        "SELECT * FROM lib.leak('x')",
        "SELECT name, (SELECT lib.leak(name)) FROM emp",
        "SELECT count(*) FILTER (WHERE lib.leak(name) > '') FROM emp",
        "SELECT sum(id) OVER (ORDER BY lib.leak(name)) FROM emp",
    ] {
        let error = simple(&ana, sql).await.expect_err(sql);
        assert!(error.starts_with("42883 function"), "{sql}: {error}");
    }
    let error = simple(&ana, "SELECT 1::lib.pair").await.unwrap_err();
    assert!(error.starts_with("42501") || error.starts_with("42704"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_vouched_for_by_itself() {
    let stage = stage("").await;
    let max = stage.client("max").await;
    for sql in ["SELECT lib.twice(1)", "SELECT lib.total(id) FROM emp", "SELECT lib.peek()"] {
        assert!(simple(&max, sql).await.unwrap_err().starts_with("42883"), "{sql}");
    }
}

/// The body of an SQL function may become part of a plan.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_in_no_plan() {
    let stage = stage(VOUCHED).await;
    let max = stage.client("max").await;
    let text = simple(&max, "EXPLAIN VERBOSE SELECT lib.twice(id) FROM emp").await.unwrap().join("\n");
    assert!(text.contains("outline") && !text.contains("2 *"), "{text}");
    let text = simple(&max, "EXPLAIN VERBOSE SELECT lib.shout(id) FROM emp").await.unwrap().join("\n");
    assert!(text.contains("Output: lib.shout(id)"), "{text}");
}

/// What `sqlveil check` says of the list.
#[tokio::test(flavor = "multi_thread")]
async fn check_holds_the_list_against_the_warehouse() {
    let stage = stage(VOUCHED).await;
    let output = Command::new(env!("CARGO_BIN_EXE_sqlveil"))
        .args(["check", "--config"])
        .arg(stage.config_file())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let flat: String =
        text.split_whitespace().filter(|w| !matches!(*w, "│" | "·" | "×" | "⚠")).collect::<Vec<_>>().join(" ");
    for said in [
        "function `lib.half(int)`, vouched for by jane: nobody vouches for `lib.half(text)`",
        "function `lib.moody()`, vouched for by jane: the warehouse says it is volatile",
        "function `lib.peek()`, vouched for by jane: it is SECURITY DEFINER",
        "function `lib.act()`, vouched for by jane: it is a procedure",
        "function `lib.gone(int)`, vouched for by jane: the warehouse has none of that signature",
        "the cast from integer to lib.pair may happen unnamed",
    ] {
        assert!(flat.contains(said), "{said}\nin {flat}");
    }
    assert!(!flat.contains("lib.twice"), "{flat}");
    assert!(output.status.success());
}

/// A server that has more functions than its list: what was added is denied, with all functions of that name.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_version_adds_is_denied_until_somebody_looks_at_it() {
    let stage = Stage::new().await;
    let mut catalog = Catalog::load(stage.admin()).await.unwrap();
    assert!(catalog.unclassified.is_empty(), "{:?}", catalog.unclassified);
    assert_eq!(catalog.function_class("lower"), FunctionClass::Allowed);
    catalog.unclassified.insert("lower".to_owned(), vec!["lower(new_type) text i f".to_owned()]);
    assert_eq!(catalog.function_class("lower"), FunctionClass::Denied);
}
