//! The world that is attacked: tables, policies, callers, and what is hidden from them.
//!
//! Everything hidden holds `SECRET`, or a value chosen to make an expression raise: a test that looks for leaks scans every byte
//! for the first and provokes the second. Nothing that a caller may see raises in any of the expressions the tests use.

use crate::support::{Running, Stage, server};
use crate::wire::{Login, Wire};
use sqlveil::cli::demo::warehouse;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// What the bare server, the proxy and the stages run on; tests themselves are blocking.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// Callers. `ana`: masks and filters apply. `max`: exempt. `eve`: subscribed to nothing.
pub const ANA: &str = "ana";
pub const MAX: &str = "max";
pub const EVE: &str = "eve";

/// The schema. `emp`: masks, and a row rule. `log`: masks only. `peek`: a row rule that shows nothing. `orders`: a row rule with a
/// sub-query that lets little through; `mass`: one that lets almost everything through, so that the planner is in no hurry. `pay`: a row rule that might itself raise. `ev`: a time rule. `part`: partitioned, a row rule. `dept`: whole.
/// `entitled`, `open_to`, `vault`, `v_vault`, `part_*`: not registered.
pub const SCHEMA: &str = r#"
CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE dept (id int PRIMARY KEY, name text NOT NULL, code varchar(12), region text);
CREATE TABLE emp (
    id int PRIMARY KEY, name text NOT NULL, dept text, boss int, note text, amount numeric, salary int, big bigint,
    ratio float8, small float4, hired date, seen timestamptz, local timestamp, clock time, span interval, doc jsonb, arr int[],
    code varchar(12), kind char(8), nick text COLLATE nd, c1 text COLLATE "C", c2 text COLLATE "POSIX", body text, feeling mood,
    plus positive, net inet, uid uuid, raw bytea,
    ssn text, email varchar(30), pin int, score numeric(10,2), born date, seen_secret timestamptz, blob jsonb, tags text[],
    badge text);
CREATE TABLE log (id int PRIMARY KEY, msg text, kind text, secret text, code int, body text, level text);
CREATE TABLE peek (id int PRIMARY KEY, dept text, note text, n int, nick text COLLATE nd, c1 text COLLATE "C", c2 text COLLATE "POSIX");
CREATE TABLE orders (id int PRIMARY KEY, emp_id int, item text, qty int, note text, price numeric);
CREATE TABLE entitled (emp_id int, login text);
CREATE TABLE mass (id int PRIMARY KEY, emp_id int, note text);
CREATE TABLE open_to (emp_id int, login text);
CREATE TABLE pay (id int PRIMARY KEY, owner text, amount numeric, note text);
CREATE TABLE ev (id int PRIMARY KEY, at timestamptz, note text);
CREATE TABLE part (id int, dept text, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (100000);
CREATE TABLE vault (id int PRIMARY KEY, code text);
CREATE VIEW v_vault AS SELECT * FROM vault;
CREATE MATERIALIZED VIEW m_emp AS SELECT * FROM emp WITH NO DATA;
CREATE SEQUENCE emp_seq;
CREATE FUNCTION leak(text) RETURNS text LANGUAGE sql AS 'SELECT string_agg(code, '','') FROM vault';
CREATE INDEX emp_note ON emp (note); CREATE INDEX emp_note_pattern ON emp (note text_pattern_ops);
CREATE INDEX emp_amount ON emp (amount); CREATE INDEX emp_salary ON emp (salary); CREATE INDEX emp_dept ON emp (dept);
CREATE INDEX emp_lower ON emp (lower(note)); CREATE INDEX emp_hired ON emp (hired); CREATE INDEX emp_boss ON emp (boss);
CREATE INDEX emp_doc ON emp USING gin (doc); CREATE INDEX emp_arr ON emp USING gin (arr); CREATE INDEX emp_ratio ON emp (ratio);
CREATE INDEX emp_ssn ON emp (ssn); CREATE INDEX emp_pin ON emp (pin); CREATE INDEX emp_code ON emp (code);
CREATE INDEX mass_emp ON mass (emp_id); CREATE INDEX open_emp ON open_to (emp_id); CREATE INDEX orders_emp ON orders (emp_id); CREATE INDEX log_msg ON log (msg); CREATE INDEX log_secret ON log (secret);
CREATE INDEX peek_note ON peek (note); CREATE INDEX part_note ON part (note); CREATE INDEX ev_at ON ev (at);
CREATE STATISTICS emp_upper ON (upper(note)) FROM emp; CREATE STATISTICS emp_both (mcv) ON dept, note FROM emp;
"#;

/// What callers may see: the same everywhere.
pub const SHOWN: &str = r#"
INSERT INTO dept SELECT i, 'dept' || i, 'D' || i, (ARRAY['north', 'south'])[1 + i % 2] FROM generate_series(1, 6) i;
INSERT INTO emp SELECT i, 'name' || i, (ARRAY['blue', 'green'])[1 + i % 2], 1 + i % 7, (10 + i)::text, 100 + i, 1000 + i, 10 * i,
    i / 4.0, i / 2.0, date '2020-01-01' + i, timestamptz '2021-01-01 12:00+00' + i * interval '1 day',
    timestamp '2021-02-01' + i * interval '1 hour', time '01:00' + i * interval '1 minute', i * interval '1 hour',
    jsonb_build_object('a', i, 's', i::text, 'l', jsonb_build_array(i)), ARRAY[i, i + 1], i::text, i::text, 'nick' || i, i::text, i::text,
    repeat('b', 1700), (ARRAY['sad', 'ok', 'glad'])[1 + i % 3]::mood, i, ('10.0.0.' || i)::inet,
    ('00000000-0000-0000-0000-0000000000' || (10 + i))::uuid, decode(lpad(i::text, 4, '0'), 'hex')
    FROM generate_series(1, 24) i;
INSERT INTO log SELECT i, 'm' || i, (ARRAY['open', 'closed'])[1 + i % 2], NULL, i, repeat('x', 1850), 'l' || i % 3 FROM generate_series(1, 20) i;
INSERT INTO orders SELECT i, i % 10 + 1, 'item' || i, i, i::text, i FROM generate_series(1, 30) i;
INSERT INTO entitled SELECT i, 'ana' FROM generate_series(1, 10) i;
INSERT INTO entitled SELECT i, 'nobody' FROM generate_series(1000, 3000) i;
INSERT INTO mass SELECT i, i, i::text FROM generate_series(1, 2000) i;
INSERT INTO open_to SELECT i, 'ana' FROM generate_series(1, 2000) i;
INSERT INTO pay SELECT i, 'ana', i * 10, i::text FROM generate_series(1, 10) i;
INSERT INTO ev SELECT i, timestamptz '2190-01-01 00:00+00' + i * interval '1 day', i::text FROM generate_series(1, 8) i;
INSERT INTO part SELECT i * 10, 'blue', i::text FROM generate_series(1, 20) i;
"#;

/// Hidden values that raise nothing and say nothing.
pub const TAME: &str = r#"
UPDATE emp SET ssn = '1', email = '2', pin = 3, score = 4, born = '2000-01-01', seen_secret = '2000-01-01', blob = '{"a": 1}', tags = '{1}', badge = '1';
UPDATE log SET secret = '1';
INSERT INTO emp SELECT i, 'name' || i, 'red', 1, '1', 1, 1, 1, 1, 1, '2020-01-01', '2020-01-01', '2020-01-01', '01:00', '1 hour', '{"a": 1}', '{1,2}',
    '1', '1', 'n', '1', '1', 'b', 'ok', 1, '10.0.0.1', '00000000-0000-0000-0000-000000000001', '\x01',
    '1', '2', 3, 4, '2000-01-01', '2000-01-01', '{}', '{}', '1' FROM generate_series(1000, 1004) i;
INSERT INTO orders SELECT i, 500, 'item', 1, '1', 1 FROM generate_series(1000, 1002) i;
INSERT INTO mass SELECT i, i, '1' FROM generate_series(9000, 9002) i;
INSERT INTO pay SELECT i, 'other', 1, '1' FROM generate_series(1000, 1002) i;
INSERT INTO ev SELECT i, '1990-01-01', '1' FROM generate_series(1000, 1002) i;
INSERT INTO part SELECT i, 'red', '1' FROM generate_series(1000, 1002) i;
INSERT INTO vault SELECT i, '1' FROM generate_series(1, 3) i;
"#;

/// Hidden values that raise wherever an expression lets them, and many more rows of them.
pub const WILD: &str = r#"
UPDATE emp SET ssn = 'SECRET-' || id, email = 'SECRET@' || id, pin = (ARRAY[0, 2147483647, -2147483648])[1 + id % 3], score = 99999999.99,
    born = (ARRAY['infinity', '5874897-12-31', '4713-01-01 BC'])[1 + id % 3]::date, seen_secret = (ARRAY['infinity', '294276-12-31'])[1 + id % 2]::timestamptz,
    blob = '"SECRET"', tags = '{SECRET,NULL}', badge = 'SECRET(' || repeat(md5(id::text), 40);
UPDATE log SET secret = 'SECRET[' || repeat(md5(id::text), 30), code = CASE WHEN kind = 'closed' THEN 2147483647 ELSE code END;
INSERT INTO emp SELECT i, 'SECRET name' || i, 'red', NULL, (ARRAY['SECRET-x', 'SECRET-' || i, '', '1e999', '(', '2020-13-45', '{'])[1 + i % 7],
    (ARRAY['NaN', '0', '1e131000', '-1e131000', '1e-16000', 'Infinity'])[1 + i % 6]::numeric, (ARRAY[0, 2147483647, -2147483648])[1 + i % 3],
    (ARRAY[0, 9223372036854775807, -9223372036854775808])[1 + i % 3], (ARRAY['NaN', '0', '1e308', 'Infinity', '-1e308'])[1 + i % 5]::float8,
    (ARRAY['NaN', '0', '3e38'])[1 + i % 3]::float4, (ARRAY['infinity', '5874897-12-31', '4713-01-01 BC', '-infinity'])[1 + i % 4]::date,
    (ARRAY['infinity', '294276-12-31', '4713-01-01 BC'])[1 + i % 3]::timestamptz, (ARRAY['infinity', '294276-12-31', '4713-01-01 BC'])[1 + i % 3]::timestamp,
    '24:00', '178000000 years', (ARRAY['"SECRET"', '[]', 'null', '{"a": "SECRET"}', '{"s": "x("}', '1e1000'])[1 + i % 6]::jsonb,
    (ARRAY['{}', '{{1,2},{3,4}}', '{NULL}', '{0}'])[1 + i % 4]::int[], 'SECRET' || i % 100, 'SECRET', 'SECRET', 'SECRET', 'SECRET', 'SECRET' || i, 'sad', 2147483647, '::1',
    NULL, '\xff', 'SECRET', 'SECRET', 0, 0, 'infinity', 'infinity', '[]', '{SECRET}', 'SECRET' FROM generate_series(1000, 2999) i;
INSERT INTO peek SELECT i, 'red', CASE WHEN i % 2 = 0 THEN 'SECRET-x' ELSE 'SECRET-' || i END, 0, 'SECRET', 'a', 'a' FROM generate_series(1, 400) i;
INSERT INTO orders SELECT i, 500 + i % 3, 'SECRET', 0, 'SECRET', 'NaN' FROM generate_series(1000, 2999) i;
INSERT INTO mass SELECT i, i, 'SECRET' FROM generate_series(9000, 9020) i;
INSERT INTO pay SELECT i, 'other', 1e130000, 'SECRET' FROM generate_series(1000, 1400) i;
INSERT INTO ev SELECT i, (ARRAY['1990-01-01', '-infinity'])[1 + i % 2]::timestamptz, 'SECRET' FROM generate_series(1000, 1400) i;
INSERT INTO part SELECT i, 'red', 'SECRET' FROM generate_series(1000, 2400) i;
INSERT INTO vault SELECT i, 'SECRET' FROM generate_series(1, 300) i; SELECT setval('emp_seq', 4711);
"#;

/// Governance of every stage.
const POLICIES: &[&str] = &[
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n",
    "policyKey: hide\nname: hide\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Hide}], maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Hide}]\n",
    "policyKey: seven\nname: seven\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Seven}], maskingConfig: {type: Constant, constant: '7'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Seven}]\n",
    "policyKey: closed\nname: closed\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Closed}], conditionalPredicate: \"kind = 'closed'\", maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Closed}]\n",
    "policyKey: dept\nname: dept\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    config: {operator: all, matches: [{type: attribute, attribute: dept, tag: Dept}]}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Dept}]\n",
    "policyKey: entitled\nname: entitled\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"@columnTagged('Emp') IN (SELECT e.emp_id FROM public.entitled e WHERE e.login = @username)\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Emp}]\n",
    "policyKey: mass\nname: mass\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"@columnTagged('Mass') IN (SELECT o.emp_id FROM public.open_to o WHERE o.login = @username)\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Mass}]\n",
    "policyKey: small\nname: small\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"owner = @username AND amount * 2 < 1000\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Owner}]\n",
    "policyKey: recent\nname: recent\ntype: data\nactions:\n- rules:\n  - type: Time Restriction\n    config: {isOlderOrNewer: newer, time: 86400}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: tags, tag: Events}]\n",
];

/// Adds what is registered, the policies and the callers.
pub fn govern(stage: Stage) -> Stage {
    let stage = stage
        .sources(&[
            ("dept", "{}"),
            (
                "emp",
                "{dept: [Dept], ssn: [Hide], email: [Seven], pin: [Seven], score: [Seven], born: [Hide], seen_secret: [Hide], blob: [Hide], tags: [Hide], badge: [Hide]}",
            ),
            ("log", "{secret: [Hide], code: [Closed]}"),
            ("peek", "{dept: [Dept]}"),
            ("orders", "{emp_id: [Emp]}"),
            ("mass", "{emp_id: [Mass]}"),
            ("pay", "{owner: [Owner]}"),
            ("part", "{dept: [Dept]}"),
        ])
        .source("table: ev\nschema: public\neventTime: at\ntags: {table: [Events]}")
        .tags(&["Events"]);
    callers(stage)
}

/// Adds the policies and the callers.
fn callers(stage: Stage) -> Stage {
    let stage = stage
        // As many values as the planner does not hash: it then takes the rule for dearer than most expressions and would run it last.
        .user(ANA, &["Staff"], &[("dept", &["blue", "green", "c", "d", "e", "f", "g", "h"])])
        .user(MAX, &["Staff", "Trusted"], &[("dept", &["blue"])])
        .user(EVE, &[], &[("dept", &["red"])]);
    POLICIES.iter().fold(stage, |stage, policy| stage.policy(policy))
}

/// The tables again, as queries: what the row rules hide from `ana` their own conditions hide from everyone. Name, query, column tags.
const QUERIES: &[(&str, &str, &str)] = &[
    ("dept", "SELECT * FROM dept", "{}"),
    (
        "emp",
        "SELECT * FROM emp WHERE dept IN ('blue', 'green', 'c', 'd', 'e', 'f', 'g', 'h')",
        "{ssn: [Hide], email: [Seven], pin: [Seven], score: [Seven], born: [Hide], seen_secret: [Hide], blob: [Hide], tags: [Hide], badge: [Hide]}",
    ),
    ("log", "SELECT * FROM log", "{secret: [Hide], code: [Closed]}"),
    ("peek", "SELECT * FROM peek WHERE dept = 'blue'", "{}"),
    ("orders", "SELECT o.* FROM orders o JOIN entitled e USING (emp_id) WHERE e.login = 'ana'", "{}"),
    ("mass", "SELECT * FROM mass WHERE emp_id IN (SELECT o.emp_id FROM open_to o WHERE o.login = 'ana')", "{}"),
    ("pay", "SELECT * FROM pay WHERE owner = 'ana' AND amount * 2 < 1000", "{}"),
    ("part", "SELECT * FROM part WHERE dept = 'blue' OR dept = 'green'", "{}"),
    ("ev", "SELECT * FROM ev WHERE at >= now() - interval '1 day'", "{}"),
];

/// The same world, in which every table is a query source of the same name.
pub async fn stage_of_queries(hidden: &str) -> Stage {
    let mut stage = filled(hidden).await;
    for (name, query, tags) in QUERIES {
        let tags: std::collections::BTreeMap<String, Vec<String>> = serde_saphyr::from_str(tags).expect("column tags");
        let columns: Vec<String> = tags
            .iter()
            .map(|(column, tags)| format!("{{columnName: {column}, tags: [{}]}}", tags.join(", ")))
            .collect();
        stage = stage.source(&format!(
            "query: \"{query}\"\nnaming: {{schema: public, table: {name}, datasource: {name}}}\ntags: {{columns: [{}]}}",
            columns.join(", ")
        ));
    }
    callers(stage.tags(&["Dept", "Emp", "Mass", "Owner", "Events", "Hide", "Seven", "Closed"]))
}

/// A stage over a copy of the schema: copies share the OIDs of everything.
pub async fn stage(hidden: &str) -> Stage {
    govern(filled(hidden).await)
}

/// The copy, filled.
async fn filled(hidden: &str) -> Stage {
    static TEMPLATE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    TEMPLATE.get_or_init(template).await;
    // In this order, so that what is shown lies in the same places.
    let stage = Stage::copy_of(server(), "leak_template").await.sql(SHOWN).await;
    let version = stage.admin().query_one("SELECT current_setting('server_version_num')::int4", &[]).await;
    // Infinite numbers came with PostgreSQL 14.
    let known = version.expect("a version").get::<_, i32>(0) >= 140_000;
    let numbers = "'1e-16000', 'Infinity'])";
    let hidden = if known { hidden.to_owned() } else { hidden.replace(numbers, "'1e-16000', '1'])") };
    let stage = stage.sql(&hidden).await;
    stage.sql("REFRESH MATERIALIZED VIEW m_emp").await.sql("VACUUM ANALYZE").await
}

async fn template() {
    let root = warehouse::admin(server(), "postgres").await.expect("the superuser logs in");
    root.batch_execute("CREATE DATABASE leak_template").await.expect("a database");
    let admin = warehouse::admin(server(), "leak_template").await.expect("the superuser logs in");
    let version = admin.query_one("SELECT current_setting('server_version_num')::int4", &[]).await.expect("a version");
    // Statistics of expressions came with PostgreSQL 14.
    let schema: String = SCHEMA
        .lines()
        .filter(|l| version.get::<_, i32>(0) >= 140_000 || !l.contains("STATISTICS"))
        .fold(String::new(), |all, l| all + l + "\n");
    admin.batch_execute(&schema).await.expect("the schema");
    drop(admin);
    // A template may have no connections, and a backend takes a moment to leave.
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'leak_template'";
    while root.query_one(busy, &[]).await.expect("activity").get::<_, i64>(0) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// `server_version_num`.
pub fn version() -> i32 {
    let asked = async { world().admin().query_one("SELECT current_setting('server_version_num')::int4", &[]).await };
    runtime().block_on(asked).expect("a version").get(0)
}

/// The world with wild hidden values, shared by every test that changes nothing.
pub fn world() -> &'static Running {
    static WORLD: OnceLock<Running> = OnceLock::new();
    WORLD.get_or_init(|| runtime().block_on(async { stage(WILD).await.start().await }))
}

/// A connection of a caller through the proxy.
pub fn connect(running: &Running, user: &str) -> Wire {
    connect_with(running, user, &[])
}

/// The same with further startup parameters.
pub fn connect_with(running: &Running, user: &str, further: &[(&str, &str)]) -> Wire {
    Wire::login(login(running, user), further).unwrap_or_else(|error| panic!("{user} logs in: {error:?}"))
}

/// A caller's login.
pub fn login<'a>(running: &'a Running, user: &'a str) -> Login<'a> {
    Login { port: running.port, user, password: PASSWORD, database: running.database() }
}

/// The password of every caller.
pub const PASSWORD: &str = "open sesame";

/// The superuser on the bare server.
pub fn direct(running: &Running) -> Wire {
    let server = server();
    let login = Login {
        port: server.port(),
        user: server.superuser(),
        password: server.password(),
        database: running.database(),
    };
    Wire::login(login, &[]).unwrap_or_else(|error| panic!("the superuser logs in: {error:?}"))
}
