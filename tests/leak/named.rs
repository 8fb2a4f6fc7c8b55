//! Collations and objects of text search that nobody may see: two warehouses, one that has them and one that does not, must answer
//! everything alike.

use crate::support::{Running, Stage};
use crate::wire::{Answer, Wire};
use crate::world::{connect, runtime};

/// What only one of the warehouses has: in a schema closed to the service login, in one open to it, and in `public`.
const THERE: &str = "
    CREATE SCHEMA secretsch; CREATE SCHEMA opensch; GRANT USAGE ON SCHEMA opensch TO PUBLIC;
    CREATE COLLATION secretsch.nope FROM \"C\"; CREATE COLLATION opensch.nope FROM \"C\"; CREATE COLLATION public.nope FROM \"C\";
    CREATE COLLATION public.a_longer_name_than_the_default_collation_has (locale = 'C');
    CREATE TEXT SEARCH CONFIGURATION secretsch.nope (COPY = english);
    CREATE TEXT SEARCH CONFIGURATION opensch.nope (COPY = english);
    CREATE TEXT SEARCH CONFIGURATION public.nope (COPY = english);
    CREATE TEXT SEARCH DICTIONARY secretsch.nope (TEMPLATE = simple);
    CREATE TEXT SEARCH DICTIONARY opensch.nope (TEMPLATE = simple);
    CREATE TEXT SEARCH DICTIONARY public.nope (TEMPLATE = simple);
    CREATE TEXT SEARCH PARSER secretsch.nope (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
    CREATE TEXT SEARCH PARSER opensch.nope (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
    CREATE TEXT SEARCH PARSER public.nope (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);";

/// One of the two. `body` is shown to `ana`; its column `odd` has a collation of the warehouse's own. `eve` is subscribed to nothing.
async fn stage(there: bool) -> Running {
    let stage = Stage::new()
        .await
        .sql(
            "CREATE SCHEMA own; CREATE COLLATION own.peculiar FROM \"C\";
             CREATE FUNCTION own.words(regconfig, text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT length(to_tsvector($1, $2))';
             GRANT USAGE ON SCHEMA own TO PUBLIC;
             CREATE TABLE body (id int PRIMARY KEY, text text, lang text, odd text COLLATE own.peculiar);
             INSERT INTO body VALUES (1, 'quick foxes', 'english'), (2, 'slow foxes', 'secretsch.nope'), (3, 'no foxes', 'public.nope');",
        )
        .await;
    let stage = if there { stage.sql(THERE).await } else { stage };
    stage
        .sources(&[("body", "{}")])
        .policy("policyKey: read\nname: read\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n")
        .user("ana", &["Staff"], &[])
        .user("eve", &[], &[])
        .connection("\n    functions: [{function: 'own.words(regconfig, text)', volatility: immutable, vouched_by: jane}]")
        .start()
        .await
}

fn said(answer: &Answer) -> String {
    format!("{} {} {:?}", answer.code(), answer.message(), answer.lines())
}

/// Places where a name may stand; `?` is the name as an identifier, `%` in text.
const PLACES: &[&str] = &[
    "SELECT 'a' COLLATE ?",
    "SELECT 'a' < 'b' COLLATE ?",
    "SELECT text FROM body ORDER BY text COLLATE ?",
    "SELECT max(text COLLATE ?) OVER (PARTITION BY text COLLATE ?) FROM body",
    "SELECT count(*) FROM body GROUP BY text COLLATE ?",
    "SELECT * FROM json_to_record('{}') AS r(a text COLLATE ?)",
    "SELECT * FROM ROWS FROM (json_to_record('{}') AS (a text COLLATE ?))",
    "CREATE TEMP TABLE t (a text COLLATE ?)",
    "CREATE TEMP TABLE t (a text, CHECK (a COLLATE ? < 'b'))",
    "CREATE TEMP TABLE t AS SELECT 'a' COLLATE ? AS a",
    "CREATE TEMP TABLE t (a text DEFAULT 'a' COLLATE ?)",
    "PREPARE r AS SELECT $1 COLLATE ?",
    "CREATE INDEX ON u (a COLLATE ?)",
    "CREATE INDEX ON u ((a COLLATE ?))",
    "ALTER TABLE u ADD COLUMN b text COLLATE ?",
    "INSERT INTO u VALUES ('a') ON CONFLICT (a COLLATE ?) DO NOTHING",
    "SELECT '%'::regcollation",
    "SELECT 'a' < 'b' COLLATE pg_catalog.nope",
    "SELECT to_tsvector('%', 'foxes')",
    "SELECT to_tsvector('%', text) FROM body",
    "SELECT to_tsvector('%', '{}'::jsonb)",
    "SELECT to_tsquery('%', 'fox')",
    "SELECT plainto_tsquery('%', 'fox')",
    "SELECT phraseto_tsquery('%', 'fox')",
    "SELECT websearch_to_tsquery('%', 'fox')",
    "SELECT ts_headline('%', 'foxes', 'fox'::tsquery)",
    "SELECT ts_headline('%', 'foxes', 'fox')",
    "SELECT ts_headline('%', text, 'fox') FROM body",
    "SELECT ts_headline('%', (SELECT min(text) || '' FROM body), to_tsquery('fox') && 'x')",
    "SELECT ts_headline('%', 'foxes', 'fox'::tsquery, 'MaxWords=3')",
    "SELECT json_to_tsvector('%', '{}', '\"all\"')",
    "SELECT jsonb_to_tsvector('%', '{}', '\"all\"')",
    "SELECT ts_lexize('%', 'foxes')",
    "SELECT * FROM ts_parse('%', 'foxes')",
    "SELECT * FROM ts_token_type('%')",
    "SELECT * FROM ts_parse(parser_name => '%', txt => 'foxes')",
    "SELECT ts_token_type(parser_name => '%')",
    "SELECT '%'::regconfig",
    "SELECT '%'::regdictionary",
    "SELECT regconfig '%'",
    "SELECT CAST('%' AS regconfig)",
    // Computed.
    "SELECT to_tsvector(lower('%')::regconfig, 'foxes')",
    "SELECT to_tsvector(('%'::text)::regconfig, 'foxes')",
    "SELECT to_tsvector('%'::text, 'foxes')",
    "SELECT to_tsvector(CASE WHEN true THEN '%' END, 'foxes')",
    "SELECT to_tsvector((SELECT '%'), 'foxes')",
    "SELECT ts_lexize(lower('%')::regdictionary, 'foxes')",
    "SELECT ts_lexize((SELECT '%')::regdictionary, 'foxes')",
    "SELECT * FROM ts_parse(lower('%'), 'foxes')",
    "SELECT ts_token_type(text) FROM (SELECT '%'::text AS text) s",
    "DEALLOCATE ALL; PREPARE p AS SELECT to_tsvector($1, 'foxes'); EXECUTE p ('%')",
    "PREPARE q (regconfig) AS SELECT to_tsvector($1, 'foxes')",
    "SELECT own.words('%', 'foxes')",
    "SELECT own.words(NULL::regconfig, '%'), own.words((SELECT '%')::regconfig, 'foxes')",
    // Beside a value of an alias type.
    "SELECT lag('english'::regconfig, 1, '%') OVER ()",
    "SELECT coalesce(first_value('english'::regconfig) OVER (), '%')",
    "SELECT coalesce((array_agg('english'::regconfig))[1], '%')",
    "SELECT array_position('{%}', 'english'::regconfig)",
    "SELECT array_append(ARRAY['english'::regconfig], '%')",
    "SELECT mode() WITHIN GROUP (ORDER BY 'english'::regconfig) = '%'",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY 'english'::regconfig) = '%'",
    "SELECT ARRAY['english'::regconfig] || '%'",
    "SELECT coalesce(ARRAY['english'::regconfig], '{%}')",
    "SELECT ARRAY(SELECT 'english'::regconfig) || '%'",
    "SELECT coalesce(ARRAY(SELECT 'english'::regconfig), '{%}')",
    "SELECT ROW('english'::regconfig) = ROW('%')",
    "SELECT json_populate_record(ROW('english'::regconfig), '{\"f1\": \"%\"}')",
    "SELECT jsonb_populate_record(r, '{\"c\": \"%\"}') FROM (SELECT 'english'::regconfig AS c) r",
    "SELECT jsonb_populate_record(t, '{\"typinput\": \"%\"}') IS NULL FROM pg_type t LIMIT 1",
    "SELECT 'english'::regconfig UNION SELECT '%'",
    "SELECT get_current_ts_config() UNION ALL SELECT '%'",
    "SELECT * FROM get_current_ts_config() UNION ALL SELECT '%'",
    "VALUES ('english'::regconfig), ('%')",
    "SELECT nullif('english'::regconfig, '%')",
    "SELECT greatest('\"C\"'::regcollation, '%')",
    "SELECT 'english'::regconfig IN ('%')",
    "SELECT lag('simple'::regdictionary, 1, '%') OVER ()",
    // Settings.
    "SET default_text_search_config = '%'",
    "SELECT set_config('default_text_search_config', '%', false)",
    "SET lc_messages = '%'",
];

/// Names that one warehouse has and the other has not.
const NAMES: &[&str] = &["secretsch.nope", "opensch.nope", "public.nope", "nope"];

const USERS: [&str; 2] = ["ana", "eve"];

fn worlds() -> [Running; 2] {
    runtime().block_on(async { [stage(true).await, stage(false).await] })
}

fn sessions(worlds: &[Running; 2], user: &str) -> [Wire; 2] {
    [0, 1].map(|at| connect(&worlds[at], user))
}

fn blank(said: &str) -> String {
    let known =
        ["secretsch", "opensch", "nowhere"].iter().fold(said.to_owned(), |text, schema| text.replace(schema, "x"));
    known.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn a_name_tells_nothing_of_what_is_there() {
    let worlds = worlds();
    for user in USERS {
        let [mut there, mut absent] = sessions(&worlds, user);
        for wire in [&mut there, &mut absent] {
            assert_eq!(wire.simple("CREATE TEMP TABLE u (a text UNIQUE)").code(), "");
        }
        for place in PLACES {
            for name in NAMES {
                let sql = place.replace(['?', '%'], name);
                let (with, without) = (said(&there.simple(&sql)), said(&absent.simple(&sql)));
                assert_eq!(with, without, "{user}: {sql}");
                assert!(!with.contains("SELECT 1") || !place.contains('?'), "{user}: {sql}: {with}");
                // A schema that is hidden is one that does not exist.
                if name.contains("sch.") {
                    let nowhere = said(&there.simple(&place.replace(['?', '%'], "nowhere.nope")));
                    assert_eq!(blank(&with), blank(&nowhere), "{user}: {sql}");
                }
            }
        }
    }
}

#[test]
fn a_parameter_tells_nothing_of_what_is_there() {
    let worlds = worlds();
    for user in USERS {
        let [mut there, mut absent] = sessions(&worlds, user);
        for sql in [
            "SELECT to_tsvector($1, 'foxes')",
            "SELECT to_tsvector($1::regconfig, 'foxes')",
            "SELECT ts_headline($1, 'foxes'::text, 'fox'::tsquery)",
            "SELECT ts_headline($1, $1, 'fox'::tsquery)",
            "SELECT ts_lexize($1, 'foxes')",
            "SELECT * FROM ts_parse($1, 'foxes')",
            "SELECT $1::regconfig",
            "SELECT $1::regcollation",
            "SELECT lag('english'::regconfig, 1, $1) OVER ()",
            "SELECT coalesce('english'::regconfig, $1)",
        ] {
            for name in NAMES {
                let answers = [&mut there, &mut absent].map(|wire| said(&wire.extended(sql, &[name], 0)));
                assert_eq!(answers[0], answers[1], "{user}: {sql} with {name}");
            }
        }
    }
}

#[test]
fn a_number_tells_nothing_of_what_is_there() {
    let worlds = worlds();
    let oids = runtime().block_on(worlds[0].admin().query(
        "SELECT oid FROM pg_ts_config WHERE oid > 16383 UNION ALL SELECT oid FROM pg_ts_dict WHERE oid > 16383
         UNION ALL SELECT oid FROM pg_ts_parser WHERE oid > 16383 UNION ALL SELECT oid FROM pg_collation WHERE oid > 16383",
        &[],
    ));
    let oids: Vec<u32> = oids.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(oids.len() > 12);
    for user in USERS {
        let mut wire = connect(&worlds[0], user);
        for place in [
            "SELECT to_tsvector(#, 'foxes')",
            "SELECT to_tsvector('#', 'foxes')",
            "SELECT to_tsvector(#::oid, 'foxes')",
            "SELECT to_tsvector((SELECT #), 'foxes')",
            "SELECT to_tsvector(#::regconfig, 'foxes')",
            "SELECT to_tsvector('#'::regconfig, 'foxes')",
            "SELECT ts_headline(# + 0, 'foxes', 'fox')",
            "SELECT ts_headline(#, 'foxes', 'fox'::tsquery)",
            "SELECT ts_lexize('#', 'foxes')",
            "SELECT ts_lexize(#::oid, 'foxes')",
            "SELECT * FROM ts_parse(#, 'foxes')",
            "SELECT * FROM ts_token_type(#::oid)",
            "SELECT '#'::regconfig, 1",
            "SELECT '#'::regcollation, 1",
            "SELECT #::regdictionary IS NULL",
            "SELECT pg_collation_is_visible(#), pg_ts_config_is_visible(#), pg_ts_dict_is_visible(#), pg_ts_parser_is_visible(#)",
            "SELECT obj_description(#, 'pg_ts_config'), pg_describe_object('pg_ts_config'::regclass, #, 0)",
        ] {
            let mut ask =
                |oid: u32| said(&wire.simple(&place.replace('#', &oid.to_string()))).replace(&oid.to_string(), "#");
            let absent = ask(99_999);
            for oid in &oids {
                assert_eq!(ask(*oid), absent, "{user}: {place}");
            }
        }
    }
}

#[test]
fn no_list_names_them() {
    let worlds = worlds();
    for user in USERS {
        let [mut there, mut absent] = sessions(&worlds, user);
        let lists = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema = 'information_schema' \
                     OR table_name ~ '^pg_(collation|ts_)' ORDER BY 1";
        let lists = there.simple(lists).rows();
        assert!(lists.len() > 60, "{lists:?}");
        for list in lists {
            let sql = format!("SELECT * FROM {list} AS list ORDER BY 1::text, 2::text, 3::text");
            let sql = if list.ends_with("catalog_name") { format!("SELECT count(*) FROM {list}") } else { sql };
            let rows = |wire: &mut Wire, database: &str| -> Vec<String> {
                let mut rows = wire.simple(&sql).rows();
                rows.iter_mut()
                    .for_each(|row| *row = row.replace(database, "database").replace(|c: char| c.is_ascii_digit(), ""));
                rows.sort();
                rows
            };
            let (with, without) = (rows(&mut there, worlds[0].database()), rows(&mut absent, worlds[1].database()));
            assert_eq!(with, without, "{user}: {list}");
            assert!(!with.iter().any(|row| row.contains("nope") || row.contains("peculiar")), "{user}: {list}");
        }
    }
    let mut ana = connect(&worlds[0], "ana");
    let asked = "SELECT pg_collation_for(odd), pg_collation_for(text), (SELECT collation_name FROM information_schema.columns \
                 WHERE column_name = 'odd') FROM body WHERE id = 1";
    assert_eq!(ana.simple(asked).rows(), ["∅|\"default\"|∅"]);
}

/// What is in `pg_catalog` is used as ever, through parameters and columns too.
#[test]
fn what_everyone_has_works() {
    let worlds = worlds();
    let mut ana = connect(&worlds[0], "ana");
    for (sql, row) in [
        ("SELECT 'a' < 'B' COLLATE \"C\", 'a' < 'B' COLLATE pg_catalog.\"C\"", "f|f"),
        ("SELECT to_tsvector('english', text) FROM body WHERE id = 1", "'fox':2 'quick':1"),
        ("SELECT to_tsvector(lang::regconfig, text) FROM body ORDER BY id LIMIT 1", "'fox':2 'quick':1"),
        ("SELECT count(to_tsvector(lang::regconfig, text)) FROM body", "1"),
        ("SELECT ts_headline(text, 'fox'::tsquery, 'StartSel=<, StopSel=>') FROM body WHERE id = 1", "quick <foxes>"),
        (
            "SELECT ts_headline(lang::regconfig, text, 'fox'::tsquery, 'StartSel=<, StopSel=>') FROM body WHERE id = 1",
            "quick <foxes>",
        ),
        ("SELECT own.words('english'::regconfig, text) FROM body WHERE id = 1", "2"),
        ("SELECT count(*) FROM ts_token_type('default')", "23"),
        (
            "SELECT jsonb_populate_record(b, '{\"id\": 7}')::text FROM body b WHERE id = 1",
            "(7,\"quick foxes\",english,)",
        ),
    ] {
        let answer = ana.simple(sql);
        assert_eq!(answer.rows(), [row], "{sql}: {:?}", answer.lines());
    }
    for (sql, row) in [
        ("SELECT to_tsvector($1, 'foxes')", "'fox':1"),
        ("SELECT to_tsvector($1::regconfig, 'foxes')", "'fox':1"),
        ("SELECT ts_headline($1, text, 'fox'::tsquery) FROM body WHERE id = 1", "quick <b>foxes</b>"),
    ] {
        assert_eq!(ana.extended(sql, &["english"], 0).rows(), [row], "{sql}");
    }
}
