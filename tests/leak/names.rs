//! Rows 12, 18, 19 and 29 of the catalogue: functions that run SQL, names in every spelling, settings, identity.

use crate::caller::Caller;
use crate::wire::Wire;
use crate::world::{ANA, EVE, MAX, login, world};

/// Row 12.
#[test]
fn functions_that_reach_beyond_their_arguments_are_refused() {
    for user in [ANA, MAX, EVE] {
        let mut caller = Caller::new(user);
        for call in [
            "query_to_xml('SELECT * FROM vault', true, true, '')",
            "query_to_xml_and_xmlschema('SELECT * FROM vault', true, true, '')",
            "table_to_xml('vault', true, true, '')",
            "schema_to_xml('public', true, true, '')",
            "database_to_xml(true, true, '')",
            "cursor_to_xml('c', 1, true, true, '')",
            "table_to_xmlschema('vault', true, true, '')",
            "ts_stat('SELECT code::tsvector FROM vault')",
            "ts_rewrite('a'::tsquery, 'SELECT code::tsquery, code::tsquery FROM vault')",
            "pg_read_file('PG_VERSION')",
            "pg_read_binary_file('PG_VERSION')",
            "pg_stat_file('PG_VERSION')",
            "pg_ls_dir('.')",
            "lo_get(1)",
            "lo_import('/etc/passwd')",
            "lo_from_bytea(0, 'x')",
            "set_config('role', 'x', false)",
            "pg_reload_conf()",
            "pg_terminate_backend(1)",
            "pg_cancel_backend(1)",
            "pg_sleep(0)",
            "pg_notify('a', 'b')",
            "pg_advisory_lock(1)",
            "nextval('emp_seq')",
            "setval('emp_seq', 1)",
            "lastval()",
            "pg_sequence_last_value('emp_seq')",
            "current_query()",
            "txid_current()",
            "pg_export_snapshot()",
            "pg_stat_get_tuples_inserted(1)",
            "pg_column_size('x'::text)",
            "satisfies_hash_partition(1, 2, 3, 4)",
            "currtid2('vault', '(0,1)')",
            "pg_create_logical_replication_slot('a', 'b')",
            "pg_prepared_statement()",
            "pg_cursor()",
            "pg_lock_status()",
            "pg_show_all_settings()",
            "pg_get_publication_tables('x')",
            "pg_logical_emit_message(true, 'a', 'b')",
            "array_in('{}'::cstring, 25, 0)",
            "pg_input_error_info('x', 'int')",
            "leak('x')",
            "public.leak('x')",
            "dblink('x', 'SELECT 1')",
            "crosstab('SELECT 1')",
            "xpath_table('a', 'b', 'vault', 'c', 'd')",
        ] {
            for sql in [
                format!("SELECT {call}"),
                format!("SELECT * FROM {call} AS f"),
                format!("SELECT 1 WHERE ({call}) IS NOT NULL"),
            ] {
                let code = caller.code(&sql);
                // A sequence that no table owns is not there for anybody.
                let absent = code == "42P01" && call.contains("emp_seq");
                assert!(absent || matches!(code.as_str(), "42501" | "42883"), "{user}: {sql}: {code}");
            }
        }
    }
}

/// Some functions are harmless for some types.
#[test]
fn ages_of_instants_are_told() {
    let mut ana = Caller::new(ANA);
    assert_eq!(
        ana.cell("SELECT count(age(hired)) + count(age(seen)) + count(age(local)) + count(age(now(), seen)) FROM emp"),
        "96"
    );
    assert_eq!(
        ana.cell(
            "SELECT age(date_trunc('day', now())) IS NOT NULL AND age(max(hired)::timestamp) IS NOT NULL FROM emp"
        ),
        "t"
    );
}

/// Row 12: a function over a column looks like a column of a row; outside `pg_catalog` it is found by nobody.
#[test]
fn functions_of_the_warehouses_own_are_not_found() {
    for user in [ANA, MAX] {
        let mut caller = Caller::new(user);
        for call in
            ["leak(note)", "leak(e)", "public.leak(note)", "\"leak\"(e.note)", "e.leak", "(e).leak", "leak(e.*)"]
        {
            let code = caller.code(&format!("SELECT {call} FROM emp e"));
            assert!(matches!(code.as_str(), "42883" | "42703"), "{user}: {call}: {code}");
        }
        for sql in [
            "SELECT 1 OPERATOR(public.+) 1",
            "SELECT 1 WHERE 1 OPERATOR(nowhere.=) ANY (SELECT 1)",
            "SELECT id FROM dept ORDER BY id USING OPERATOR(public.<)",
        ] {
            assert!(matches!(caller.code(sql).as_str(), "42883" | "0A000"), "{sql}");
        }
    }
}

/// Row 18: whatever way a name is written, it means the same table under the same policy.
#[test]
fn spellings_of_a_name() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    let database = world().database().to_owned();
    for from in [
        "emp".to_owned(),
        "EMP".into(),
        "\"emp\"".into(),
        "U&\"\\0065mp\"".into(),
        "U&\"!0065mp\" UESCAPE '!'".into(),
        "public.emp".into(),
        "\"public\".\"emp\"".into(),
        "PUBLIC . Emp".into(),
        format!("{database}.public.emp"),
        "emp /* x */ AS e".into(),
        "ONLY (emp)".into(),
        "emp *".into(),
        "public.emp -- x\n".into(),
    ] {
        let sql = format!("SELECT count(*) FROM {from}");
        assert_eq!(ana.cell(&sql), "24", "{sql}");
        assert_eq!(max.cell(&sql), "2024", "{sql}");
    }
    for column in [
        "ssn",
        "SSN",
        "\"ssn\"",
        "U&\"\\0073sn\"",
        "emp.ssn",
        "public.emp.ssn",
        "EMP.\"ssn\"",
        &format!("{database}.public.emp.ssn"),
    ] {
        let sql = format!("SELECT {column} FROM public.emp WHERE id = 3");
        assert_eq!(ana.cell(&sql), "∅", "{sql}");
        assert_eq!(max.cell(&sql), "SECRET-3", "{sql}");
    }
    for from in [
        "\"EMP\"",
        "\"public.emp\"",
        "\"emp \"",
        "pg_temp.emp",
        "pg_catalog.emp",
        "\"Public\".emp",
        "nowhere.emp",
        "pg_toast.emp",
    ] {
        assert_eq!(ana.code(&format!("SELECT * FROM {from}")), "42P01", "{from}");
    }
    assert_eq!(ana.code("SELECT * FROM postgres.public.emp"), "0A000");
}

/// Row 18: what is not registered does not exist, in the words PostgreSQL has for what does not exist.
#[test]
fn what_is_not_registered_does_not_exist() {
    for user in [ANA, MAX, EVE] {
        let mut caller = Caller::new(user);
        let words = |caller: &mut Caller, name: &str| {
            let answer = caller.ask(&format!("SELECT * FROM {name}"));
            let fields = answer.error().map(|e| e.fields()).unwrap_or_default();
            fields.into_iter().map(|(kind, text)| (kind, text.replace(name, "NAME"))).collect::<Vec<_>>()
        };
        let nothing = words(&mut caller, "nothing_of_the_kind");
        assert_eq!(nothing[2], (b'C', "42P01".to_owned()));
        for name in
            ["vault", "v_vault", "m_emp", "part_low", "part_high", "entitled", "emp_seq", "emp_pkey", "public.vault"]
        {
            assert_eq!(words(&mut caller, name), nothing, "{user}: {name}");
        }
        if user == EVE {
            for name in ["emp", "peek", "log", "dept", "public.orders"] {
                assert_eq!(words(&mut caller, name), nothing, "{name}");
            }
        }
    }
    // Children are data sources of their own; the parent shows theirs under its own rule.
    let mut ana = Caller::new(ANA);
    assert_eq!(ana.cell("SELECT count(*) FROM part"), "20");
    assert_eq!(ana.rows("SELECT * FROM pg_inherits"), [""; 0]);
}

/// Row 18: names that hide others.
#[test]
fn names_that_hide_others() {
    let mut ana = Caller::new(ANA);
    assert_eq!(ana.cell("WITH vault AS (SELECT 1 AS x) SELECT x FROM vault"), "1");
    assert_eq!(ana.code("WITH vault AS (SELECT 1) SELECT * FROM public.vault"), "42P01");
    assert_eq!(ana.code("WITH x AS (SELECT * FROM vault), vault AS (SELECT 1) SELECT * FROM x"), "42P01");
    assert_eq!(ana.code("WITH vault AS (SELECT * FROM vault) SELECT * FROM vault"), "42P01");
    assert_eq!(ana.code("SELECT * FROM (WITH vault AS (SELECT 1) SELECT 1) s, vault"), "42P01");
    assert_eq!(
        ana.cell(
            "WITH RECURSIVE emp(id) AS (SELECT 1 UNION SELECT id + 1 FROM emp WHERE id < 3) SELECT count(*) FROM emp"
        ),
        "3"
    );
    assert_eq!(ana.cell("WITH emp AS (SELECT 1 AS ssn) SELECT e.ssn FROM emp e"), "1");
    assert_eq!(ana.cell("SELECT count(*) FROM dept AS emp"), "6");
    assert_eq!(ana.cell("SELECT emp.name FROM dept emp WHERE emp.id = 1"), "dept1");
    assert_eq!(ana.cell("SELECT max(peek.id) FROM (VALUES (1)) AS peek(id)"), "1");
    // Reserved for views.
    for sql in
        ["SELECT 1 FROM dept _sv", "WITH _sv AS (SELECT 1) SELECT * FROM _sv", "SELECT 1 FROM (SELECT 1) AS _sv1"]
    {
        assert_eq!(ana.code(sql), "0A000", "{sql}");
    }
    // A path on which pg_catalog comes last, or nothing comes.
    assert_eq!(ana.simple("SET search_path = public, pg_catalog").code(), "");
    assert_eq!(ana.cell("SELECT count(*) FROM emp"), "24");
    assert_eq!(ana.simple("SET search_path = ''").code(), "");
    assert_eq!(ana.code("SELECT * FROM emp"), "42P01");
    assert_eq!(ana.cell("SELECT count(*) FROM public.emp"), "24");
    assert_eq!(ana.simple("SET search_path = pg_temp, nowhere, \"$user\", public").code(), "");
    assert_eq!(ana.cell("SELECT count(*) FROM emp WHERE note::int > 0"), "24");
}

/// Row 19, and what a rule means whatever the caller sets.
#[test]
fn settings_do_not_change_what_a_rule_means() {
    let mut ana = Caller::new(ANA);
    for settings in [
        "SET DateStyle = 'SQL, DMY'",
        "SET DateStyle = 'German'; SET IntervalStyle = sql_standard",
        "SET TimeZone = '<X>+167'",
        "SET TimeZone = '<X>-167'; SET extra_float_digits = -15",
        "SET bytea_output = escape; SET xmlbinary = hex",
        "SET lc_monetary = 'C'; SET lc_numeric = 'C'; SET lc_time = 'C'",
        "SET plan_cache_mode = force_generic_plan; SET jit = on; SET work_mem = '64kB'",
    ] {
        assert_eq!(ana.simple(settings).code(), "", "{settings}");
        for (table, rows) in
            [("emp", "24"), ("peek", "0"), ("orders", "30"), ("pay", "10"), ("ev", "8"), ("part", "20")]
        {
            assert_eq!(ana.cell(&format!("SELECT count(*) FROM {table}")), rows, "{settings}: {table}");
        }
        assert_eq!(ana.simple("RESET ALL").code(), "");
    }
}

/// Row 19: what would show statements as they are sent, or make the server read them otherwise.
#[test]
fn dangerous_settings_cannot_be_set() {
    for user in [ANA, MAX] {
        let mut caller = Caller::new(user);
        for (name, value) in [
            ("client_min_messages", "debug5"),
            ("client_min_messages", "DEBUG1"),
            ("client_min_messages", "log"),
            ("role", "postgres"),
            ("session_authorization", "postgres"),
            ("session_replication_role", "replica"),
            ("standard_conforming_strings", "off"),
            ("client_encoding", "LATIN1"),
            ("row_security", "off"),
            ("log_statement", "all"),
            ("log_min_messages", "debug5"),
            ("debug_print_plan", "on"),
            ("session_preload_libraries", "x"),
            ("local_preload_libraries", "x"),
            ("temp_tablespaces", "x"),
            ("default_tablespace", "x"),
            ("array_nulls", "off"),
            ("transform_null_equals", "on"),
            ("backslash_quote", "on"),
            ("default_text_search_config", "simple"),
            ("check_function_bodies", "off"),
            ("my.own", "x"),
        ] {
            for sql in [
                format!("SET {name} = '{value}'"),
                format!("SET SESSION {name} TO '{value}'"),
                format!("BEGIN; SET LOCAL {name} = '{value}'"),
            ] {
                let code = caller.simple(&sql).code();
                assert!(
                    matches!(code.as_str(), "0A000" | "42501" | "42704" | "22023" | "42601"),
                    "{user}: {sql}: {code:?}"
                );
                caller.simple("ROLLBACK");
            }
            let code = caller.code(&format!("SELECT set_config('{name}', '{value}', false)"));
            assert!(matches!(code.as_str(), "0A000" | "42501" | "42704" | "22023"), "{user}: {name}: {code:?}");
            let options = format!("-c {name}={value}");
            let refused = Wire::login(login(world(), user), &[("options", &options)]);
            assert!(refused.is_err(), "{user}: options {options}");
        }
    }
}

/// The server tells clients that want it the text of every statement it executes; nobody gets to want it.
#[test]
fn statements_as_sent_are_never_told() {
    let mut ana = Caller::new(ANA);
    for level in ["notice", "warning", "error"] {
        assert_eq!(ana.simple(&format!("SET client_min_messages = {level}")).code(), "");
        ana.rows("SELECT id, ssn FROM emp WHERE note LIKE '1%'");
    }
    for sql in [
        "SELECT name, statement FROM pg_prepared_statements",
        "SELECT name, statement FROM pg_cursors",
        "SELECT query FROM pg_stat_activity",
        "SELECT * FROM pg_stat_activity",
        "SELECT definition FROM pg_views",
    ] {
        ana.ask(sql);
    }
}

/// Row 29.
#[test]
fn identity_is_the_callers() {
    let database = world().database();
    for user in [ANA, MAX, EVE] {
        let mut caller = Caller::new(user);
        for sql in [
            "SELECT current_user",
            "SELECT session_user",
            "SELECT user",
            "SELECT current_role",
            "SELECT CURRENT_USER::text",
            "SELECT getpgusername()",
            "SELECT max(x) FROM (SELECT current_user AS x) s",
            "SELECT current_setting('session_authorization')",
            "SELECT coalesce(NULL, session_user)",
        ] {
            assert_eq!(caller.cell(sql), user, "{sql}");
        }
        assert_eq!(caller.cell("SELECT current_database()"), database);
        assert_eq!(caller.cell("SELECT current_catalog"), database);
        assert_eq!(caller.cell("SELECT current_schema()"), "public");
        assert_eq!(caller.simple("SHOW session_authorization").rows(), [user]);
        assert_eq!(caller.simple("SHOW role").rows(), ["none"]);
        assert_eq!(caller.simple("SHOW is_superuser").rows(), ["off"]);
        let may = |table: &str| {
            format!("SELECT has_table_privilege('{table}', 'SELECT'), has_table_privilege('{table}', 'INSERT')")
        };
        let sees = if user == EVE { "f|f" } else { "t|f" };
        assert_eq!(caller.cell(&may("emp")), sees);
        assert_eq!(caller.cell(&format!("SELECT has_table_privilege('{user}', 'emp', 'SELECT'), false")), sees);
        assert_eq!(caller.cell(&may("vault")), "f|f");
        assert_eq!(caller.cell("SELECT has_table_privilege('postgres', 'emp', 'SELECT')"), "f");
        assert_eq!(caller.cell("SELECT pg_has_role('postgres', 'MEMBER')"), "f");
        assert_eq!(caller.cell(&format!("SELECT pg_has_role('{user}', 'MEMBER')")), "t");
        assert_eq!(caller.cell("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'service%' OR rolsuper"), "0");
        // Which service login it is, which address, which process: nothing of it.
        caller.ask("SELECT * FROM pg_stat_activity");
        caller.ask("SELECT * FROM pg_user");
        caller.ask("SELECT relname, relowner, relacl FROM pg_class");
        caller.ask("SELECT pg_get_userbyid(relowner) FROM pg_class");
        caller.ask("SELECT pg_get_userbyid(n::oid) FROM generate_series(1, 40) n");
    }
}
