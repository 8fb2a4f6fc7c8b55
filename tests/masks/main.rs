//! Every mask on every base type, evaluated by a real PostgreSQL: value, type, modifier, NULL, and no error on extreme values.
//! And predicates, whose answers no session setting may move.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)]

#[path = "../support/mod.rs"]
mod support;

mod columns;
mod encrypted;
mod table;

use columns::{COLUMNS, TYPES};
use sha2::{Digest, Sha256};
use sqlveil::config::Config;
use sqlveil::policy::decision::{Access, MaskDecision, RelationDecision};
use sqlveil::types::{QualifiedName, quote_ident};
use sqlveil::world::World;
use std::sync::Arc;
use std::time::SystemTime;
use support::{ANYONE, Running, Stage};

/// Masks: group and user, `maskingConfig`.
const MASKS: &[(&str, &str)] = &[
    ("nothing", "{type: 'Null'}"),
    ("constant", "{type: Constant, constant: '7'}"),
    ("word", "{type: Constant, constant: \"it's\"}"),
    ("hash", "{type: Hash}"),
    (
        "regex",
        "{type: Regular Expression, regex: '(\\d)\\d', replacement: '<$1>\\', global: true, caseInsensitive: true}",
    ),
    ("ten", "{type: Grouping, bucketSize: 10}"),
    ("third", "{type: Grouping, bucketSize: 0.3}"),
    ("minute", "{type: Grouping, timePrecision: MIN}"),
    ("hour", "{type: Grouping, timePrecision: HOUR}"),
    ("day", "{type: Grouping, timePrecision: DAY}"),
    ("week", "{type: Grouping, timePrecision: WEEK}"),
    ("month", "{type: Grouping, timePrecision: MONTH}"),
    ("year", "{type: Grouping, timePrecision: YEAR}"),
    ("format", "{type: Format Preserving Masking}"),
    ("reversible", "{type: Reversible}"),
    ("noise", "{type: Randomized Response, stddev: 2}"),
];

/// A mask that is more than an expression, for the page only.
const COUNTED: (&str, &str) = ("rare", "{type: K-Anonymization, kLevel: 2}");

fn masking(group: &str, config: &str) -> String {
    format!(
        "policyKey: {group}\nname: {group}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    inclusions: {{groups: [{group}]}}\n    \
         config: {{fields: [{{type: allColumns}}], maskingConfig: {config}}}\n"
    )
}

async fn stage() -> Running {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
    let mut stage = Stage::new()
        .await
        .sql(&format!("{TYPES} CREATE TABLE wide ({})", columns.join(", ")))
        .await
        .source("{table: wide, schema: public}")
        .policy(ANYONE);
    let rows = COLUMNS.iter().map(|(_, _, values)| values.len()).max().unwrap();
    // The last row is NULL everywhere but in the domain that forbids it.
    for row in 0..rows {
        let (names, values): (Vec<&str>, Vec<String>) = COLUMNS
            .iter()
            .filter_map(|(name, ty, values)| Some((*name, format!("'{}'::{ty}", values.get(row)?.replace('\'', "''")))))
            .unzip();
        stage = stage.sql(&format!("INSERT INTO wide ({}) VALUES ({})", names.join(", "), values.join(", "))).await;
    }
    stage = stage.sql("ALTER TABLE wide ADD n serial PRIMARY KEY").await;
    for (group, config) in MASKS.iter().chain([&COUNTED]) {
        stage = stage.user(group, &[group], &[]).policy(&masking(group, config));
    }
    stage.user("raw", &[], &[]).start().await
}

async fn world(running: &Running) -> Arc<World> {
    let config = Arc::new(Config::load(&running.config_file()).expect("a configuration"));
    let (mut worlds, _) =
        sqlveil::world::load(&config).await.into_result().unwrap_or_else(|problems| panic!("{problems:#?}"));
    Arc::new(worlds.remove(running.database()).expect("a world"))
}

fn decision(world: &World, user: &str, table: &str) -> Arc<RelationDecision> {
    let caller = world.directory.caller(user, None).expect("a caller");
    match world.ruleset.access(&caller, &QualifiedName::new("public", table), SystemTime::now()) {
        Access::Visible(decision) => decision,
        other => panic!("{user}: {other:?}"),
    }
}

fn mask<'a>(decision: &'a RelationDecision, column: &str) -> &'a MaskDecision {
    decision.columns.iter().find(|c| c.name == column).expect("a column").mask.as_ref().expect("a mask")
}

/// The texts of an expression over every row in order, after checking its type, its modifier and that NULL stays NULL.
async fn evaluate(running: &Running, column: &str, mask: &MaskDecision) -> Vec<Option<String>> {
    let admin = running.admin();
    let (sql, column) = (&mask.sql, quote_ident(column));
    let made = format!(
        "CREATE TEMP TABLE seen AS SELECT ({sql}) AS masked, _sv.{column} AS raw, _sv.n FROM public.wide AS _sv"
    );
    admin.batch_execute(&made).await.unwrap_or_else(|error| panic!("{column} {}: {error:?}\n{sql}", mask.kind));
    let types = "SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum)::text[] FROM pg_attribute WHERE attrelid = 'seen'::regclass AND attnum IN (1, 2)";
    let types: Vec<String> = admin.query_one(types, &[]).await.expect("types").get(0);
    assert_eq!(types[0], types[1], "{column} {}", mask.kind);
    let rows = admin.query("SELECT masked::text, raw IS NULL FROM seen ORDER BY n", &[]).await.expect("rows");
    admin.batch_execute("DROP TABLE seen").await.expect("dropped");
    rows.iter()
        .map(|row| {
            let (masked, absent): (Option<String>, bool) = (row.get(0), row.get(1));
            assert!(!absent || masked.is_none(), "{column} {}: NULL became {masked:?}", mask.kind);
            masked
        })
        .collect()
}

/// What a mask gives for the values of a column, in the order of `COLUMNS`; `None` = NULL.
const EXPECTED: &[(&str, &str, &[Option<&str>])] = &[
    ("constant", "c_text", &[Some("7"), Some("7"), Some("7"), Some("7")]),
    ("constant", "c_numeric", &[Some("7.00"), Some("7.00"), Some("7.00"), Some("7.00"), Some("7.00")]),
    ("constant", "c_domain", &[Some("7")]),
    ("constant", "c_json", &[Some("7")]),
    ("constant", "c_date", &[None, None, None, None, None]),
    ("word", "c_varchar", &[Some("it's"), Some("it's"), Some("it's"), Some("it's")]),
    ("word", "c_bpchar1", &[Some("i"), Some("i"), Some("i"), Some("i")]),
    ("word", "c_int4", &[None, None, None, None]),
    ("word", "c_enum", &[None, None]),
    ("word", "c_filled", &[Some("it's")]),
    ("regex", "c_text", &[Some("abc1"), Some(""), Some("ü€'\\"), Some("line\nline 2")]),
    ("regex", "c_varchar", &[Some("<1>\\3-<4>\\-"), Some(""), Some("ü"), Some("x")]),
    ("regex", "c_free", &[Some("<1>\\3-<4>\\-<6>\\<8>\\"), Some(""), Some("ü"), Some("x")]),
    ("regex", "c_int4", &[None, None, None, None]),
    ("ten", "c_int2", &[Some("10"), None, Some("32760"), Some("-10")]),
    ("ten", "c_int4", &[Some("10"), None, Some("2147483640"), Some("-10")]),
    ("ten", "c_int8", &[Some("10"), None, Some("9223372036854775800"), Some("-10")]),
    ("ten", "c_numeric", &[Some("10.00"), None, Some("90.00"), Some("NaN"), Some("-10.00")]),
    ("ten", "c_unbound", &[Some("10"), Some("Infinity"), Some("-Infinity"), Some("NaN"), Some("-10")]),
    (
        "ten",
        "c_float8",
        &[
            Some("10"),
            Some("-1.7976931348623157e+308"),
            Some("1.7976931348623157e+308"),
            Some("NaN"),
            Some("Infinity"),
            Some("-Infinity"),
            Some("0"),
            Some("-10"),
        ],
    ),
    (
        "ten",
        "c_float4",
        &[
            Some("10"),
            Some("-3.4028235e+38"),
            Some("3.4028235e+38"),
            Some("NaN"),
            Some("Infinity"),
            Some("-Infinity"),
            Some("0"),
            Some("-10"),
        ],
    ),
    ("ten", "c_text", &[None, None, None, None]),
    ("third", "c_int4", &[Some("16"), None, Some("2147483646"), Some("-2")]),
    ("third", "c_numeric", &[Some("17.10"), None, Some("99.90"), Some("NaN"), Some("-0.30")]),
    ("minute", "c_time", &[Some("13:14:00"), Some("00:00:00"), Some("00:00:00")]),
    ("hour", "c_time", &[Some("13:00:00"), Some("00:00:00"), Some("00:00:00")]),
    ("day", "c_time", &[None, None, None]),
    ("hour", "c_timetz", &[None, None, None]),
    (
        "minute",
        "c_timestamp",
        &[Some("2024-02-29 13:14:00"), None, Some("294276-12-31 23:59:00"), Some("infinity"), Some("-infinity")],
    ),
    (
        "week",
        "c_timestamp",
        &[Some("2024-02-26 00:00:00"), None, Some("294276-12-25 00:00:00"), Some("infinity"), Some("-infinity")],
    ),
    ("month", "c_date", &[Some("2024-02-01"), None, None, Some("infinity"), Some("-infinity")]),
    (
        "year",
        "c_timestamptz",
        &[Some("2024-01-01 00:00:00+00"), None, Some("294276-01-01 00:00:00+00"), Some("infinity"), Some("-infinity")],
    ),
    (
        "day",
        "c_timestamptz",
        &[Some("2024-02-29 00:00:00+00"), None, Some("294276-12-31 00:00:00+00"), Some("infinity"), Some("-infinity")],
    ),
];

#[tokio::test]
async fn every_mask_on_every_type() {
    let running = stage().await;
    let world = world(&running).await;
    running.admin().batch_execute("SET search_path = pg_catalog; SET TimeZone = 'UTC'").await.expect("settings");
    for (user, _) in MASKS {
        let decision = decision(&world, user, "wide");
        for (column, _, _) in COLUMNS {
            let mask = mask(&decision, column);
            let values = evaluate(&running, column, mask).await;
            if mask.type_mismatch || *user == "nothing" {
                assert!(values.iter().all(Option::is_none), "{user} {column}: {values:?}");
                assert!(mask.constant && mask.total);
            }
            let expected = EXPECTED.iter().find(|(u, c, _)| u == user && c == column);
            for (at, expected) in expected.into_iter().flat_map(|(_, _, e)| e.iter().enumerate()) {
                assert_eq!(values[at].as_deref(), *expected, "{user} {column} row {at}\n{}", mask.sql);
            }
        }
    }
}

#[tokio::test]
async fn hashes_are_sha256_of_salt_and_value() {
    let running = stage().await;
    let world = world(&running).await;
    running.admin().batch_execute("SET search_path = pg_catalog").await.expect("settings");
    let decision = decision(&world, "hash", "wide");
    // The salt is nobody's business but the mask's: the test reads it off the expression.
    let sql = &mask(&decision, "c_text").sql;
    let salt = sql.split_once("'\\x").and_then(|(_, rest)| rest.get(..64)).expect("a salt");
    let salt: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&salt[i * 2..i * 2 + 2], 16).expect("hex")).collect();
    assert!(salt.iter().any(|b| *b != 0));
    let digest = |value: &[u8]| -> [u8; 32] { Sha256::new().chain_update(&salt).chain_update(value).finalize().into() };
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (column, _, values) in COLUMNS {
        let found = evaluate(&running, column, mask(&decision, column)).await;
        for (at, value) in values.iter().enumerate() {
            let d = digest(value.as_bytes());
            let expected = match *column {
                "c_text" | "c_free" | "c_label" => hex(&d),
                "c_varchar" | "c_code" => hex(&d)[..11].to_owned(),
                // The text of char(n) has no trailing blanks.
                "c_bpchar" => hex(&digest(value.trim_end_matches(' ').as_bytes()))[..5].to_owned(),
                "c_bpchar1" => hex(&digest(value.trim_end_matches(' ').as_bytes()))[..1].to_owned(),
                "c_name" => hex(&d)[..63].to_owned(),
                "c_int2" => (i32::from(u16::from_be_bytes([d[0], d[1]])) - 32_768).to_string(),
                "c_int4" | "c_count" => i32::from_be_bytes(d[..4].try_into().unwrap()).to_string(),
                "c_int8" => i64::from_be_bytes(d[..8].try_into().unwrap()).to_string(),
                "c_bytea" => {
                    let raw = if at == 0 { vec![0, 255] } else { Vec::new() };
                    format!("\\x{}", hex(&digest(&raw)))
                }
                "c_uuid" => {
                    let h = hex(&d[..16]);
                    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
                }
                _ => {
                    assert_eq!(found[at], None, "{column}");
                    continue;
                }
            };
            assert_eq!(found[at].as_deref(), Some(expected.as_str()), "{column} {value:?}");
        }
    }
}

#[tokio::test]
async fn callers_see_the_masks_as_they_are() {
    let running = stage().await;
    let world = world(&running).await;
    running.admin().batch_execute("SET search_path = pg_catalog; SET TimeZone = 'UTC'").await.expect("settings");
    let names: Vec<String> = COLUMNS.iter().map(|(name, _, _)| format!("{name}::text")).collect();
    let described = async |client: &tokio_postgres::Client| -> Vec<(String, u32, i32)> {
        let statement = client.prepare("SELECT * FROM wide").await.expect("a description");
        statement.columns().iter().map(|c| (c.name().into(), c.type_().oid(), c.type_modifier())).collect()
    };
    let unmasked = described(&running.client("raw").await).await;
    assert!(unmasked.iter().any(|(_, _, modifier)| *modifier > 0));
    for (user, _) in MASKS.iter().chain([&COUNTED]) {
        assert_eq!(described(&running.client(user).await).await, unmasked, "{user}");
    }
    for (user, _) in MASKS {
        let decision = decision(&world, user, "wide");
        let masks: Vec<String> =
            COLUMNS.iter().map(|(name, _, _)| format!("({})::text", mask(&decision, name).sql)).collect();
        let direct = format!("SELECT ARRAY[{}] FROM public.wide AS _sv ORDER BY _sv.n", masks.join(", "));
        let direct = running.admin().query(&direct, &[]).await.unwrap_or_else(|error| panic!("{user}: {error:?}"));
        let client = running.client(user).await;
        client.batch_execute("SET TimeZone = 'UTC'").await.expect("a setting");
        let seen = client.query(&format!("SELECT ARRAY[{}] FROM wide", names.join(", ")), &[]).await;
        let seen = seen.unwrap_or_else(|error| panic!("{user}: {error:?}"));
        let texts =
            |rows: &[tokio_postgres::Row]| -> Vec<Vec<Option<String>>> { rows.iter().map(|r| r.get(0)).collect() };
        let (mut direct, mut seen) = (texts(&direct), texts(&seen));
        direct.sort();
        seen.sort();
        assert_eq!(direct, seen, "{user}");
    }
}

/// Predicates of every kind, each in force for everybody on a table of its own.
const PREDICATES: &[&str] = &[
    "seen >= '2024-01-01 00:30'",
    "seen < made",
    "made > '2024-01-01T00:00:00'",
    "day <= CURRENT_DATE AND made < localtimestamp AND seen <= now()",
    "seen > now() - INTERVAL '300 years'",
    "made > seen - INTERVAL '1' HOUR",
    "CAST(seen AS DATE) = day OR CAST(day AS TIMESTAMP WITH TIME ZONE) = seen OR id = 1",
    "EXTRACT(HOUR FROM seen) < 12 OR EXTRACT(DOW FROM day) = 1",
    "date_trunc('day', seen) = date_trunc('day', made) OR date_trunc('month', day) < made OR TRUE",
    "to_char(seen, 'HH24') < '12' OR to_char(day, 'YYYY') = '2024'",
    "seen AT TIME ZONE 'Europe/Berlin' > made OR made - seen > INTERVAL '1 hour' OR seen - seen = INTERVAL '0 days' OR day - day = 0",
    "lower(who) = upper('x') OR who || id > 'a' OR TRIM(who) <> '' OR SUBSTRING(who FROM 1 FOR 2) = 'an' OR POSITION('n' IN who) > 0",
    "coalesce(who, 'x') IN ('ann', 'x') OR NULLIF(who, 'x') IS NULL OR GREATEST(id, 2) > 1 OR CASE WHEN id > 1 THEN 'a' ELSE who END LIKE 'a%'",
    "floor(amount) > 1 OR ceil(amount) < 1 OR abs(amount) >= 0 OR amount % 2 = 1 OR -amount < 0 OR round(amount, 1) = 1 OR mod(id, 2) = 1",
    "CAST(id AS TEXT) = '1' OR CAST('5' AS INTEGER) = id OR amount::varchar <> 'x' OR CAST(id AS NUMERIC(10,2)) > 0",
    "id IN (SELECT e.id FROM public.rights e WHERE e.login = @username OR t13.id = 1)",
    "EXISTS (SELECT 1 FROM public.rights r LEFT JOIN public.rights q ON q.id = r.id WHERE r.id = p16.id GROUP BY r.login HAVING count(*) >= 1)",
    "id <= (SELECT max(id) FROM public.rights) AND id >= (SELECT min(r.id) FROM public.rights r)",
    "who IN (@groups()) OR @isInGroups('x') OR @hasAttribute('a', 'b') OR who = ANY(@attributes('n')) OR id IN (@attributes('n')) OR TRUE",
    "day NOT IN (@purposes()) OR tag IN (@groups()) OR mood IN (@groups()) OR flag OR mood = 'sad' OR tag = '00000000-0000-0000-0000-000000000000'",
    "who IS DISTINCT FROM @iam AND (flag IS NOT TRUE OR flag IS NOT NULL) AND id BETWEEN 1 AND 5 AND 'a' <> ALL(ARRAY[who]) OR 'x' = ANY(words)",
    "concat(who, '-', id) ILIKE 'a%' OR length(who) = 3 OR md5(who) = 'x' OR replace(who, 'a', 'b') = 'x' OR starts_with(who, 'a')",
];

#[tokio::test]
async fn no_setting_of_a_session_moves_a_predicate() {
    let columns = "id int, who text, seen timestamptz, made timestamp, day date, amount numeric(8,2), tag uuid, mood mood, flag bool, words text[]";
    let rows = "(1, 'ann', '2024-01-01 00:15+00', '2024-01-01 00:20', '2024-01-01', 1.5, gen_random_uuid(), 'sad', true, '{x}'),
                (2, 'bob', '2024-01-01 00:45+00', '2024-01-01 12:20', '2024-01-01', 2.5, gen_random_uuid(), 'ok', false, '{}'),
                (3, NULL, '2023-12-31 20:45+00', '2023-12-31 22:20', current_date, 3, NULL, NULL, NULL, NULL)";
    let mut stage = Stage::new()
        .await
        .sql(TYPES)
        .await
        .sql("CREATE TABLE rights (id int, login text); INSERT INTO rights VALUES (1, 'ann'), (2, 'bob')")
        .await;
    for (at, predicate) in PREDICATES.iter().enumerate() {
        // One speaks of its own table by name.
        let table = if predicate.contains("t13.") { "t13".to_owned() } else { format!("p{at}") };
        stage = stage
            .sql(&format!("CREATE TABLE {table} ({columns}); INSERT INTO {table} VALUES {rows}"))
            .await
            .source(&format!("{{table: {table}, schema: public, tags: {{table: [T{at}]}}}}"))
            .tags(&[&format!("T{at}")])
            .policy(&format!(
                "policyKey: p{at}\nname: p\ntype: data\ncircumstances: [{{type: tags, tag: T{at}}}]\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config:\n      predicate: {}\n",
                serde_json::to_string(predicate).expect("a string")
            ));
    }
    let running = stage.user("ann", &["ann"], &[("n", &["1", "bob"])]).policy(ANYONE).start().await;
    let client = running.client("ann").await;
    let settings: [&[&str]; 4] = [
        &[],
        &["SET TimeZone = 'Pacific/Kiritimati'", "SET DateStyle = 'SQL, DMY'"],
        &["SET TimeZone = 'Etc/GMT+12'", "SET DateStyle = 'German'", "SET extra_float_digits = -10"],
        &["SET TimeZone = 'America/New_York'", "SET IntervalStyle = 'sql_standard'"],
    ];
    for (at, predicate) in PREDICATES.iter().enumerate() {
        let table = if predicate.contains("t13.") { "t13".to_owned() } else { format!("p{at}") };
        let mut answers = Vec::new();
        for list in settings {
            for setting in list {
                client.batch_execute(setting).await.unwrap_or_else(|error| panic!("{setting}: {error:?}"));
            }
            let rows = client.query(&format!("SELECT id FROM {table} ORDER BY id"), &[]).await;
            let rows = rows.unwrap_or_else(|error| panic!("{predicate}: {error:?}"));
            answers.push(rows.iter().map(|r| r.get::<_, i32>(0)).collect::<Vec<_>>());
            client.batch_execute("RESET ALL").await.expect("reset");
        }
        assert!(answers.iter().all(|a| *a == answers[0]), "{predicate}: {answers:?}");
        match at {
            0 => assert_eq!(answers[0], [2], "{predicate}"),
            1 => assert_eq!(answers[0], [1, 2, 3], "{predicate}"),
            15 => assert_eq!(answers[0], [1], "{predicate}"),
            17 => assert_eq!(answers[0], [1, 2], "{predicate}"),
            _ => {}
        }
    }
}
