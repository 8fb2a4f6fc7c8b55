//! What an attacker makes of temporary tables (threat model, rows 18, 21, 28 and 30).

use crate::support::{self, ANYONE, Stage};
use crate::wire::query;
use crate::{Caller, connect, runtime, stage};

#[test]
fn nothing_hidden_gets_into_one() {
    let mut ana = Caller::new("ana");
    for (sql, code) in [
        ("CREATE TEMP TABLE x AS SELECT * FROM vault", "42P01"),
        ("CREATE TEMP TABLE x AS TABLE vault", "42P01"),
        ("CREATE TEMP TABLE x AS SELECT (SELECT max(code) FROM vault) AS c", "42P01"),
        ("SELECT * INTO TEMP x FROM emp, vault", "42P01"),
        ("CREATE TEMP TABLE x (LIKE vault INCLUDING ALL)", "42P01"),
        ("CREATE TEMP TABLE x (LIKE emp INCLUDING ALL)", "0A000"),
        ("CREATE TEMP TABLE x () INHERITS (vault)", "0A000"),
        ("CREATE TEMP TABLE x PARTITION OF emp FOR VALUES IN (1)", "0A000"),
        ("CREATE TEMP TABLE x (id int REFERENCES vault)", "0A000"),
        ("CREATE TEMP TABLE x (id int, FOREIGN KEY (id) REFERENCES emp (id))", "0A000"),
        ("CREATE TEMP TABLE x (a emp)", "42704"),
        ("CREATE TEMP TABLE x (a vault[])", "42704"),
        ("CREATE TEMP TABLE x (a public.vault)", "42704"),
        ("CREATE TEMP TABLE x OF vault", "0A000"),
        ("CREATE TEMP TABLE x (a text DEFAULT (SELECT max(code) FROM vault))", "42P01"),
        ("CREATE TEMP TABLE x (a text CHECK (a NOT IN (SELECT ssn FROM emp)))", "0A000"),
        ("CREATE TEMP TABLE x (a text DEFAULT pg_read_file('PG_VERSION'))", "42501"),
        ("CREATE TEMP TABLE x (a text CHECK (public.leak(a)))", "42883"),
        ("CREATE TEMP TABLE x (a int, b text GENERATED ALWAYS AS (pg_read_file(a::text)) STORED)", "42501"),
        ("CREATE TEMP TABLE x (a text DEFAULT query_to_xml('SELECT * FROM vault', true, true, '')::text)", "42501"),
        ("CREATE TEMP TABLE x AS EXECUTE p", "0A000"),
        ("PREPARE p AS SELECT 1 INTO TEMP x", "0A000"),
        ("DECLARE c CURSOR FOR SELECT 1 INTO TEMP x", "0A000"),
        ("COPY (SELECT 1 INTO TEMP x) TO STDOUT", "0A000"),
        ("SELECT * FROM (SELECT 1 INTO TEMP x) y", "0A000"),
        ("WITH w AS (SELECT 1 INTO TEMP x) SELECT * FROM w", "0A000"),
        ("CREATE TABLE x AS SELECT 1", "0A000"),
        ("SELECT 1 INTO x", "0A000"),
        ("SELECT 1 INTO public.x", "0A000"),
        ("SELECT 1 INTO TEMP public.x", "42P16"),
        ("SELECT 1 INTO UNLOGGED x", "0A000"),
        ("CREATE TEMP VIEW x AS SELECT * FROM vault", "0A000"),
        ("CREATE TEMP SEQUENCE x", "0A000"),
        ("CREATE TABLE pg_temp_99.x (a int)", "0A000"),
    ] {
        assert_eq!(ana.code(sql), code, "{sql}");
    }
    // A row of a policy view has no type of its own.
    assert_eq!(ana.code("CREATE TEMP TABLE x AS SELECT emp FROM emp"), "42P16");
    assert_eq!(ana.code("CREATE TEMP TABLE x AS SELECT e AS r FROM emp e"), "42P16");
    assert_eq!(ana.code("SELECT * FROM x"), "42P01");
}

#[test]
fn one_cannot_be_made_into_something_else() {
    let mut ana = Caller::new("ana");
    ana.run("CREATE TEMP TABLE x (a int, b text)");
    for sql in [
        "ALTER TABLE x INHERIT emp",
        "ALTER TABLE x SET SCHEMA public",
        "ALTER TABLE x OWNER TO CURRENT_USER",
        "ALTER TABLE x ALTER b TYPE regclass USING b::regclass",
        "ALTER TABLE x ADD COLUMN c regclass",
        "ALTER TABLE x ADD COLUMN c emp",
        "ALTER TABLE x ADD FOREIGN KEY (a) REFERENCES emp (id)",
        "ALTER TABLE x ADD CHECK (a < (SELECT count(*) FROM emp))",
        "ALTER TABLE x ALTER b SET DEFAULT pg_read_file('x')",
        "ALTER TABLE x ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE x SET TABLESPACE pg_default",
        "ALTER TABLE x SET LOGGED",
        "ALTER TABLE x OF mood",
        "ALTER TABLE x RENAME CONSTRAINT a TO b",
        "ALTER INDEX x RENAME TO emp",
        "ALTER TABLE emp RENAME TO y",
        "ALTER TABLE emp RENAME COLUMN ssn TO y",
        "CREATE RULE r AS ON INSERT TO x DO ALSO SELECT * FROM vault",
        "CREATE TRIGGER t BEFORE INSERT ON x EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE POLICY p ON x USING (true)",
        "CREATE STATISTICS s ON a, b FROM x",
        "CREATE INDEX ON x (pg_read_file(b))",
        "CREATE INDEX ON x (a) WHERE (SELECT true FROM emp)",
        "CREATE INDEX ON x (a) TABLESPACE pg_default",
        "CREATE INDEX ON x USING emp (a)",
        "CREATE VIEW v AS SELECT * FROM x",
        "COMMENT ON TABLE x IS 'y'",
        "GRANT SELECT ON x TO PUBLIC",
        "LOCK TABLE x",
        "CLUSTER x",
        "VACUUM x",
        "REINDEX TABLE x",
        "DROP TABLE x, emp",
        "DROP INDEX emp_pkey",
        "DROP TABLE public.emp",
        "DROP TABLE IF EXISTS public.emp",
        "DROP TABLE IF EXISTS emp",
        "DROP SCHEMA pg_temp CASCADE",
    ] {
        let code = ana.code(sql);
        assert!(["0A000", "42501", "42P01", "42704"].contains(&code.as_str()), "{sql}: {code}");
    }
    assert_eq!(ana.rows("SELECT count(*) FROM emp"), ["5"]);
    assert_eq!(ana.rows("SELECT count(*) FROM x"), ["0"]);
}

/// Object identifiers that a caller makes up must not be printed as names of what he may not see.
#[test]
fn names_of_hidden_objects_are_not_printed() {
    let mut ana = Caller::new("ana");
    for sql in [
        "CREATE TEMP TABLE o (a regclass)",
        "CREATE TEMP TABLE o (a regtype[])",
        "CREATE TEMP TABLE o AS SELECT typinput FROM pg_type",
        "CREATE TEMP TABLE o AS SELECT * FROM pg_type",
    ] {
        assert_eq!(ana.code(sql), "0A000", "{sql}");
    }
    let vault = runtime().block_on(async {
        crate::world().admin().query_one("SELECT 'vault'::regclass::oid", &[]).await.unwrap().get::<_, u32>(0)
    });
    ana.run("CREATE TEMP TABLE o (a oid, b int, c text)");
    ana.run(&format!("INSERT INTO o VALUES ({vault}, {vault}, '{vault}')"));
    for sql in [
        "SELECT a::regclass FROM o",
        "SELECT b::regclass::text FROM o",
        "SELECT c::regclass FROM o",
        "SELECT a::regclass::text, a FROM o",
    ] {
        let answer = ana.0.simple(sql);
        assert!(!format!("{:?}", answer.lines()).contains("vault"), "{sql}: {:?}", answer.lines());
    }
}

#[test]
fn names_are_never_taken_for_others() {
    let (mut ana, mut other) = (Caller::new("ana"), Caller::new("ana"));
    other.run("CREATE TEMP TABLE theirs AS SELECT 'SECRET' AS s");
    for schema in (1..12).map(|n| format!("pg_temp_{n}")).chain(["pg_toast_temp_3".to_owned()]) {
        let code = ana.code(&format!("SELECT * FROM {schema}.theirs"));
        assert_eq!(code, "42P01", "{schema}");
        assert_eq!(ana.code(&format!("DROP TABLE {schema}.theirs")), "42P01", "{schema}");
    }
    // Named like what the virtual catalog and policies are made of.
    for name in ["pg_class", "pg_attribute", "pg_namespace", "dept", "_emp", "text", "int4", "vault"] {
        ana.run(&format!("CREATE TEMP TABLE {name} (dept text, code text, oid oid, relname text)"));
    }
    ana.run("INSERT INTO vault VALUES ('blue', 'mine')");
    assert_eq!(ana.rows("SELECT code FROM vault"), ["mine"]);
    assert_eq!(ana.code("SELECT code FROM public.vault"), "42P01");
    assert_eq!(ana.rows("SELECT count(*), max(ssn) FROM emp"), ["5|hidden"]);
    assert_eq!(ana.rows("SELECT 1::int4, 'a'::text, NULL::_text IS NULL"), ["1|a|t"]);
    assert_eq!(ana.rows("SELECT count(*) FROM pg_class"), ["0"]);
    assert_eq!(ana.rows("SELECT relname FROM pg_catalog.pg_class WHERE oid = 'public.emp'::regclass"), ["emp"]);
    assert_eq!(
        ana.rows("SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'vault' AND relpersistence = 'p'"),
        ["0"]
    );
    assert_eq!(ana.code("SELECT NULL::vault"), "42704");
    assert_eq!(ana.code("SELECT NULL::pg_temp.vault"), "42704");
    // Case, quotes, long names.
    ana.run("CREATE TEMP TABLE \"Emp\" (a int); CREATE TEMP TABLE \"public.emp\" (a int)");
    assert_eq!(ana.rows("SELECT max(ssn) FROM emp"), ["hidden"]);
    let long = "n".repeat(80);
    ana.run(&format!("CREATE TEMP TABLE {long} AS SELECT 1 AS a"));
    assert_eq!(ana.rows(&format!("SELECT a FROM {long}")), ["1"]);
    assert_eq!(ana.rows(&format!("SELECT a FROM {}", "n".repeat(63))), ["1"]);
}

/// Row 30: what was planned for one table is never run for another.
#[test]
fn plans_do_not_outlive_their_table() {
    let mut ana = Caller::new("ana");
    for round in 0..20 {
        ana.run(&format!("CREATE TEMP TABLE emp AS SELECT {round} AS id, 'mine'::text AS ssn"));
        assert_eq!(ana.0.simple("SELECT id, ssn FROM emp").rows(), [format!("{round}|mine")]);
        ana.run("DROP TABLE emp");
        assert_eq!(ana.0.simple("SELECT max(id), max(ssn) FROM emp").rows(), ["5|hidden"]);
        ana.run(&format!("CREATE TEMP TABLE emp (ssn text, id {})", if round % 2 == 0 { "int" } else { "text" }));
        assert_eq!(ana.0.simple("SELECT id, ssn FROM emp").rows(), [""; 0]);
        ana.run("DISCARD TEMP");
        assert_eq!(ana.0.simple("SELECT max(id), max(ssn) FROM emp").rows(), ["5|hidden"]);
    }
    // Everything sent at once: each statement is decided when its turn comes.
    let all = [
        "CREATE TEMP TABLE emp AS SELECT 'mine'::text AS ssn",
        "SELECT max(ssn) FROM emp",
        "DROP TABLE emp",
        "SELECT max(ssn) FROM emp",
        "BEGIN",
        "CREATE TEMP TABLE emp AS SELECT 'mine'::text AS ssn",
        "ROLLBACK",
        "SELECT max(ssn) FROM emp",
    ];
    ana.0.send(&all.map(query).concat());
    let answer = ana.0.until_ready(all.len());
    assert_eq!(
        (answer.message(), answer.rows()),
        (String::new(), ["mine", "hidden", "hidden"].map(str::to_owned).to_vec())
    );
}

#[test]
fn hidden_rows_raise_nothing_on_their_way() {
    let mut ana = Caller::new("ana");
    let red = "1 / (CASE WHEN dept = 'red' THEN 0 ELSE 1 END)";
    assert_eq!(
        ana.run(&format!("CREATE TEMP TABLE a AS SELECT id, {red} AS one FROM emp WHERE {red} = 1 ORDER BY {red}")),
        "SELECT 5"
    );
    assert_eq!(ana.run(&format!("SELECT id INTO TEMP b FROM emp WHERE {red} = 1")), "SELECT 5");
    assert_eq!(
        ana.run(&format!("INSERT INTO a SELECT e.id, 1 FROM emp e JOIN a ON a.id = e.id AND {red} = 1")),
        "INSERT 0 5"
    );
    assert_eq!(ana.run("CREATE TEMP TABLE c (dept text CHECK (dept <> 'red'), id int UNIQUE)"), "CREATE TABLE");
    assert_eq!(ana.run("INSERT INTO c SELECT dept, id FROM emp"), "INSERT 0 5");
    assert_eq!(
        ana.run(&format!("UPDATE c SET id = c.id * {} FROM emp e WHERE e.id = c.id", red.replace("dept", "e.dept"))),
        "UPDATE 5"
    );
    // A violation of the caller's own constraint tells nothing but what he sees.
    let answer = ana.0.simple("INSERT INTO c SELECT 'red', id FROM emp");
    assert_eq!(answer.code(), "23514");
    assert!(!format!("{:?}", answer.lines()).contains("SECRET"));
}

#[test]
fn what_the_warehouse_leaves_behind_is_not_the_callers() {
    let running = runtime().block_on(async {
        let stage = stage()
            .await
            .sql("CREATE FUNCTION stash() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS 'BEGIN CREATE TEMP TABLE IF NOT EXISTS stash AS SELECT code FROM public.vault; GRANT ALL ON stash TO PUBLIC; RETURN 1; END'; GRANT EXECUTE ON FUNCTION stash() TO PUBLIC")
            .await;
        stage.connection("\n    functions: [{function: public.stash(), volatility: volatile, vouched_by: tests}]").start().await
    });
    let mut ana = connect(&running, "ana");
    assert_eq!(ana.simple("CREATE TEMP TABLE first (a int)").message(), "");
    assert_eq!(ana.simple("SELECT public.stash()").message(), "");
    for sql in [
        "SELECT * FROM stash",
        "SELECT * FROM pg_temp.stash",
        "COPY stash TO STDOUT",
        "INSERT INTO stash VALUES ('x') RETURNING *",
        "TRUNCATE stash",
        "ALTER TABLE stash ADD COLUMN x int",
        "DROP TABLE stash",
    ] {
        assert_eq!(ana.simple(sql).code(), "42P01", "{sql}");
    }
    assert_eq!(ana.simple("CREATE TEMP TABLE IF NOT EXISTS stash (code text)").code(), "42P07");
    assert_eq!(ana.simple("CREATE TEMP TABLE IF NOT EXISTS stash AS SELECT 'x' AS code").code(), "42P07");
    assert_eq!(ana.simple("SELECT * FROM stash").code(), "42P01");
    assert_eq!(ana.simple("ALTER TABLE first RENAME TO stash").code(), "42P07");
    assert_eq!(ana.simple("SELECT count(*) FROM pg_class WHERE relname = 'stash'").rows(), ["0"]);
    let made = ana.simple("CREATE TEMP TABLE IF NOT EXISTS mine (a int); CREATE TEMP TABLE IF NOT EXISTS mine (a int)");
    assert_eq!(made.message(), "");
    assert_eq!(ana.simple("CREATE TEMP TABLE IF NOT EXISTS mine (a int)").message(), "");
    assert_eq!(ana.simple("SELECT count(*) FROM mine").rows(), ["0"]);
}

#[test]
fn turned_off_or_not_granted() {
    let off = runtime().block_on(async { stage().await.connection("\n    temporary_tables: false").start().await });
    let mut ana = connect(&off, "ana");
    for sql in [
        "CREATE TEMP TABLE x (a int)",
        "SELECT 1 INTO TEMP x",
        "CREATE TEMP TABLE x AS SELECT 1",
        "DROP TABLE IF EXISTS x",
    ] {
        let answer = ana.simple(sql);
        assert_eq!(answer.code(), "0A000", "{sql}");
        assert!(answer.message().contains("turned off"), "{sql}: {}", answer.message());
    }
    assert_eq!(ana.simple("SELECT count(*) FROM emp").rows(), ["5"]);
    let denied = runtime().block_on(async {
        let stage = stage().await;
        let revoke = format!("REVOKE TEMPORARY ON DATABASE {0} FROM service_{0}", stage.database);
        stage.sql(&revoke).await.start().await
    });
    let mut told = Vec::new();
    let file = denied.config_file();
    assert!(runtime().block_on(sqlveil::cli::check::run(&file, &mut told, false)).unwrap());
    // Lines are broken where the path of the file happens to reach.
    let told = String::from_utf8(told).unwrap().replace("│ ", "").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("may not make temporary tables") && told.contains("GRANT TEMPORARY ON DATABASE"), "{told}");
    let mut ana = connect(&denied, "ana");
    let answer = ana.simple("CREATE TEMP TABLE x (a int)");
    assert_eq!(
        (answer.code(), answer.message()),
        ("42501".into(), "permission denied to create temporary tables".into())
    );
    assert_eq!(ana.simple("SELECT count(*) FROM emp").rows(), ["5"]);
    assert_eq!(ana.simple("SELECT * FROM x").code(), "42P01");
}

/// The question itself can fail: names are not known until it is answered, and nothing else suffers.
#[test]
fn a_question_that_fails_is_asked_again() {
    let running = runtime().block_on(async { stage().await.start().await });
    let mut ana = connect(&running, "ana");
    ana.simple("SET statement_timeout = '1ms'");
    for round in 0..30 {
        let made = ana.simple(&format!("CREATE TEMP TABLE q{round} AS SELECT g FROM generate_series(1, 10) g"));
        let read = ana.simple(&format!("SELECT count(*) FROM q{round}"));
        assert!(["", "57014"].contains(&made.code().as_str()), "{:?}", made.lines());
        assert!(["", "57014", "42P01", "0A000"].contains(&read.code().as_str()), "{:?}", read.lines());
        let raw = ana.simple("SELECT max(ssn) FROM emp");
        assert!(["", "57014", "0A000"].contains(&raw.code().as_str()), "{:?}", raw.lines());
        assert!(raw.rows().is_empty() || raw.rows() == ["hidden"]);
    }
    let reset =
        std::iter::repeat_with(|| ana.simple("SET statement_timeout = 0").code()).take(50).any(|c| c.is_empty());
    assert!(reset);
    assert_eq!(ana.simple("CREATE TEMP TABLE last AS SELECT 7 AS a").message(), "");
    assert_eq!(ana.simple("SELECT a FROM last").rows(), ["7"]);
    // In a transaction the failure is the transaction's.
    let sql = "BEGIN; SET LOCAL statement_timeout = '1ms'; CREATE TEMP TABLE other AS SELECT 1 AS a";
    let begun = ana.simple(sql).code();
    assert!(["", "57014"].contains(&begun.as_str()), "{begun}");
    for _ in 0..100 {
        let answer = ana.simple("SELECT a FROM other");
        assert!(["", "57014", "25P02", "42P01"].contains(&answer.code().as_str()), "{:?}", answer.lines());
        if !answer.code().is_empty() {
            break;
        }
    }
    assert_eq!(ana.simple("ROLLBACK").message(), "");
    assert_eq!(ana.simple("SELECT a FROM last").rows(), ["7"]);
}

/// A temporary table was found by unqualified names in functions of views and triggers: the caller chose what they read, and read what
/// they wrote.
#[test]
fn code_of_the_warehouse_does_not_find_one() {
    let schema = "CREATE TABLE rights (id int, login text); INSERT INTO rights VALUES (1, 'ana');
        CREATE TABLE rw (id int PRIMARY KEY, card text); INSERT INTO rw VALUES (1, 'shown'), (100, 'SECRET');
        CREATE FUNCTION allowed(int) RETURNS bool LANGUAGE plpgsql STABLE AS
            'BEGIN RETURN EXISTS (SELECT FROM rights WHERE id = $1 AND login = ''ana''); END';
        CREATE FUNCTION minded(int) RETURNS bool LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS
            'BEGIN RETURN EXISTS (SELECT FROM rights WHERE id = $1 AND login = ''ana''); END';
        CREATE FUNCTION bound(int) RETURNS bool STABLE RETURN EXISTS (SELECT FROM public.rights r WHERE r.id = $1);
        CREATE VIEW v_open AS SELECT * FROM public.rw WHERE public.allowed(id);
        CREATE VIEW v_over AS SELECT * FROM v_open;
        CREATE VIEW v_minded AS SELECT * FROM public.rw WHERE public.minded(id);
        CREATE VIEW v_bound AS SELECT * FROM public.rw WHERE public.bound(id);
        CREATE DOMAIN ruled AS int CHECK (public.allowed(VALUE) OR true);
        CREATE TABLE typed (id int PRIMARY KEY, r ruled);
        CREATE TABLE log (id int PRIMARY KEY, code int, msg text); INSERT INTO log VALUES (1, 4711, 'a');
        CREATE TABLE journal (id int, code int);
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO journal VALUES (OLD.id, OLD.code); RETURN NEW; END';
        CREATE TRIGGER keep BEFORE UPDATE ON log FOR EACH ROW EXECUTE FUNCTION keep()";
    let mask = "policyKey: code\nname: code\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Code}], \
        maskingConfig: {type: 'Null'}}\ncircumstances: [{type: columnTags, columnTag: Code}]\n";
    let running = runtime().block_on(async {
        Stage::new()
            .await
            .sql(schema)
            .await
            .writable()
            .await
            .sources(&[
                ("v_open", "{}"),
                ("v_over", "{}"),
                ("v_minded", "{}"),
                ("v_bound", "{}"),
                ("typed", "{}"),
                ("log", "{code: [Code]}"),
            ])
            .policy(ANYONE)
            .policy(mask)
            .user("ana", &[], &[])
            .writes("ana", &["log", "typed"])
            .start()
            .await
    });
    let mut ana = Caller(connect(&running, "ana"));
    // What stands by itself: a statement that makes one is not before it is made.
    assert_eq!(ana.code("CREATE TEMP TABLE rights AS SELECT id, 'ana' AS login FROM v_open"), "0A000");
    assert_eq!(ana.rows("SELECT * FROM v_minded"), ["1|shown"]);
    ana.run("CREATE TEMP TABLE rights AS SELECT g AS id, 'ana'::text AS login FROM generate_series(1, 200) g");
    ana.run("CREATE TEMP TABLE journal (id int, code int)");
    for sql in [
        "SELECT * FROM v_open",
        "SELECT count(*) FROM v_over",
        "WITH w AS (SELECT * FROM v_open) SELECT * FROM w",
        "PREPARE p AS SELECT * FROM v_open",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM v_open",
        "COPY v_open TO STDOUT",
        "COPY (SELECT * FROM v_over) TO STDOUT",
        "UPDATE log SET msg = 'w'",
        "INSERT INTO log VALUES (1, 2, 'c') ON CONFLICT (id) DO UPDATE SET msg = 'w'",
        "MERGE INTO log USING (VALUES (1)) v(id) ON v.id = log.id WHEN MATCHED THEN UPDATE SET msg = 'w'",
        "INSERT INTO typed VALUES (1, 1)",
        "SELECT * FROM typed",
    ] {
        assert_eq!(ana.code(sql), "0A000", "{sql}");
    }
    assert_eq!(ana.rows("SELECT * FROM v_minded"), ["1|shown"]);
    assert_eq!(ana.rows("SELECT * FROM v_bound"), ["1|shown"]);
    assert_eq!(ana.rows("SELECT * FROM journal"), Vec::<String>::new());
    // Opened before, read after.
    ana.run("DROP TABLE rights, journal");
    ana.run("BEGIN");
    // Nothing is read of the real table yet, which a bare name in the view's function would not find either.
    ana.run("DECLARE c CURSOR FOR SELECT * FROM v_open");
    ana.run("CREATE TEMP TABLE rights AS SELECT g AS id, 'ana'::text AS login FROM generate_series(1, 200) g");
    let fetched = ana.0.simple("FETCH ALL FROM c");
    assert_eq!((fetched.code().as_str(), fetched.rows().len()), ("0A000", 0), "{}", fetched.message());
    ana.run("ROLLBACK");
    // In one string.
    let made = "CREATE TEMP TABLE rights AS SELECT g AS id, 'ana'::text AS login FROM generate_series(1, 200) g";
    assert_eq!(ana.0.simple(&format!("{made}; SELECT * FROM v_open")).code(), "0A000");
    assert_eq!(ana.code("SELECT * FROM rights"), "42P01");
}

/// Data sources that are queries call the same code: by names of three parts, by operators, by checks of domains.
#[test]
fn code_of_queries_does_not_find_one() {
    let schema = "CREATE TABLE rights (id int, login text); INSERT INTO rights VALUES (1, 'ana');
        CREATE FUNCTION allowed(int) RETURNS bool LANGUAGE plpgsql STABLE AS
            'BEGIN RETURN EXISTS (SELECT FROM rights WHERE id = $1 AND login = ''ana''); END';
        CREATE FUNCTION allowed(int, int) RETURNS bool LANGUAGE plpgsql STABLE AS
            'BEGIN RETURN EXISTS (SELECT FROM rights WHERE id = $1 AND login = ''ana''); END';
        CREATE OPERATOR ==> (LEFTARG = int, RIGHTARG = int, FUNCTION = allowed);
        CREATE DOMAIN ruled AS int CHECK (public.allowed(VALUE) OR true);
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE thing (id int, m mood); INSERT INTO thing VALUES (1, 'good'), (2, 'bad')";
    let named = ["named", "operated", "compared", "checked"];
    let conditions = [
        "three_parts.public.allowed(id)",
        "id OPERATOR(public.==>) 0",
        "id OPERATOR(public.==>) ANY (SELECT 0)",
        "CAST(id AS public.ruled) IS NOT NULL",
    ];
    let query = |condition: &str, name: &str| {
        format!("query: SELECT id FROM public.thing WHERE {condition}\nnaming: {{schema: public, table: {name}}}")
    };
    let running = runtime().block_on(async {
        let stage = Stage::named(support::server(), "three_parts", "template1").await.sql(schema).await;
        let stage =
            stage.policy(ANYONE).user("ana", &[], &[]).source(&query("m = CAST('good' AS public.mood)", "felt"));
        let queries = named.iter().zip(conditions);
        queries.fold(stage, |stage, (name, condition)| stage.source(&query(condition, name))).start().await
    });
    let mut ana = Caller(connect(&running, "ana"));
    assert_eq!(ana.rows("SELECT id FROM felt"), ["1"]);
    ana.run("CREATE TEMP TABLE rights AS SELECT g AS id, 'ana'::text AS login FROM generate_series(1, 200) g");
    for name in named {
        assert_eq!(ana.code(&format!("SELECT id FROM {name}")), "0A000", "{name}");
    }
    assert_eq!(ana.rows("SELECT id FROM felt"), ["1"]);
}
