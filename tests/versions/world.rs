//! The world of every version: each kind of mask and of row rule, what is hidden, and who looks.

use crate::support::{PASSWORD, PrivatePostgres, Running, Stage, server_of};
use crate::wire::{Answer, Login, Wire};
use sqlveil::cli::demo::warehouse;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// What the proxies run on; tests themselves are blocking.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// `person`: a mask of each kind and two row rules. `sale`: a time rule, a sample. `part`: partitioned, a row rule. `free`: shown whole.
/// All that begins with `zz_` is not registered, and `ssn_raw` is in no dictionary.
pub const SCHEMA: &str = r#"
CREATE EXTENSION pgcrypto;
CREATE SCHEMA zz_schema;
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE zz_mood AS ENUM ('zz_label');
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, city text, ssn varchar(20), email text, phone text, age int, born date,
    salary numeric(10,2), code uuid, card text, token text, level text, doc jsonb, nums int[], mood mood, ssn_raw text DEFAULT 'zz_default');
CREATE TABLE sale (id int PRIMARY KEY, person_id int REFERENCES person, item text, qty int, at timestamptz, note text);
CREATE TABLE part (id int, city text, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE zz_part_1 PARTITION OF part FOR VALUES FROM (0) TO (50);
CREATE TABLE zz_part_2 PARTITION OF part FOR VALUES FROM (50) TO (1000000);
CREATE TABLE free (id int PRIMARY KEY, label text UNIQUE, n numeric CHECK (n > 0), r int4range, ts timestamptz, ia int[]);
CREATE TABLE zz_vault (id int PRIMARY KEY, code text);
CREATE TABLE zz_schema.zz_table (id int); CREATE SEQUENCE zz_sequence;
CREATE VIEW zz_view AS SELECT * FROM zz_vault; CREATE MATERIALIZED VIEW zz_matview AS SELECT * FROM person;
CREATE VIEW totals AS SELECT id, qty FROM sale WHERE note <> 'zz_note';
CREATE FUNCTION zz_function(zz_argument int) RETURNS int LANGUAGE sql AS 'SELECT 1 /* zz_body */';
CREATE INDEX zz_index ON person (ssn_raw); CREATE INDEX person_city ON person (city);
CREATE STATISTICS zz_statistics ON city, ssn FROM person;
CREATE ROLE "zz_role_DATABASE"; COMMENT ON TABLE zz_vault IS 'zz_comment'; COMMENT ON TABLE person IS 'people';
ALTER TABLE zz_vault ENABLE ROW LEVEL SECURITY; CREATE POLICY zz_policy ON zz_vault USING (code <> 'zz_text');
CREATE RULE zz_rule AS ON UPDATE TO zz_vault DO INSTEAD NOTHING;
INSERT INTO person SELECT i, 'name' || i, (ARRAY['Bonn', 'Oslo', 'Rome'])[1 + i % 3], '123-45-' || 1000 + i, 'p' || i || '@example.org', '0228 ' || 555000 + i,
    20 + i % 40, date '1980-01-01' + i * 40, 1000.5 + i, md5(i::text)::uuid, '4111-' || 100000 + i, 'secret' || i, (ARRAY['open', 'closed'])[1 + i % 2],
    jsonb_build_object('a', i), ARRAY[i, i + 1], 'ok' FROM generate_series(1, 60) i;
INSERT INTO sale SELECT i, 1 + i % 60, 'item' || i % 7, i % 9, timestamptz '2190-01-01 00:00+00' + i * interval '1 hour', i::text FROM generate_series(1, 120) i;
INSERT INTO part SELECT i * 3, (ARRAY['Bonn', 'Oslo'])[1 + i % 2], i::text FROM generate_series(1, 40) i;
INSERT INTO free SELECT i, 'label' || i, i + 0.5, int4range(i, i + 5), timestamptz '2020-01-01 00:00+00' + i * interval '1 day', ARRAY[i, NULL, -i] FROM generate_series(1, 20) i;
"#;

/// What is hidden from `ana`: nothing that she sees depends on which of the two there is.
pub const TAME: &str = "INSERT INTO zz_vault VALUES (1, 'zz_a');
    INSERT INTO person (id, name, city) VALUES (1001, 'zz_name', 'Kiel');
    INSERT INTO part SELECT i, 'Kiel', 'zz_note' FROM generate_series(1001, 1002) i;
    INSERT INTO sale (id, qty, at, note) VALUES (1001, 1, '1990-01-01', '1')";
pub const WILD: &str = "INSERT INTO zz_vault SELECT i, 'zz_' || repeat(md5(i::text), 30) FROM generate_series(1, 3000) i;
    INSERT INTO person (id, name, city, level, age) SELECT i, 'zz_' || repeat(md5(i::text), 10), 'Kiel', 'zz_level', 0 FROM generate_series(1001, 3000) i;
    INSERT INTO part SELECT i, 'Kiel', 'zz_' || i FROM generate_series(1001, 4000) i;
    INSERT INTO sale (id, qty, at, note) SELECT i, 0, '1990-01-01', 'zz_' || i FROM generate_series(1001, 3000) i;
    CREATE INDEX zz_later ON zz_vault (code); SELECT setval('zz_sequence', 4711)";

fn mask(tag: &str, kind: &str, more: &str) -> String {
    format!(
        "policyKey: {tag}\nname: {tag}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
         config: {{fields: [{{type: columnTags, columnTag: {tag}}}], maskingConfig: {{{kind}}}{more}}}\n    exceptions: {{groups: [Trusted]}}\n\
         circumstances: [{{type: columnTags, columnTag: {tag}}}]\n"
    )
}

fn rule(key: &str, kind: &str, config: &str, on: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: {kind}\n    config: {config}\n    exceptions: {{groups: [Trusted]}}\n\
         circumstances: [{on}]\n"
    )
}

fn policies() -> Vec<String> {
    let column = |tag: &str| format!("{{type: columnTags, columnTag: {tag}}}");
    vec![
        "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n".into(),
        mask("Nothing", "type: 'Null'", ""),
        mask("Same", "type: Constant, constant: 'someone'", ""),
        mask("Hashed", "type: Hash", ""),
        mask("Mail", "type: Regular Expression, regex: '^[^@]+', replacement: 'xxx'", ""),
        mask("Rounded", "type: Grouping, bucketSize: 10", ""),
        mask("Month", "type: Grouping, timePrecision: MONTH", ""),
        mask("Noisy", "type: Randomized Response, stddev: 5", ""),
        mask("Formed", "type: Format Preserving Masking", ""),
        mask("Back", "type: Reversible", ""),
        mask("Common", "type: K-Anonymization, kLevel: 3", ""),
        mask("Closed", "type: 'Null'", ", conditionalPredicate: \"level = 'closed'\""),
        rule("city", "Row Restriction By User Entitlements", "{matches: [{type: attribute, attribute: city, tag: City}]}", &column("City")),
        rule("adult", "Row Restriction by Custom Where Clause", "{predicate: \"@columnTagged('Grown') >= 21\"}", &column("Grown")),
        rule("recent", "Time Restriction", "{isOlderOrNewer: newer, time: 86400}", "{type: tags, tag: Events}"),
        rule("sample", "Minimization", "{percent: 60}", "{type: tags, tag: Sampled}"),
    ]
}

/// A copy of the schema with what is hidden, in a database of that name; salts depend on the name, so that equal names give equal hashes.
pub async fn stage(server: &'static PrivatePostgres, database: &str, template: &str) -> Stage {
    let columns = "{columnName: city, tags: [City]}, {columnName: ssn, tags: [Hashed]}, {columnName: email, tags: [Mail]}, {columnName: phone, tags: [Formed]}, \
        {columnName: age, tags: [Grown]}, {columnName: born, tags: [Month]}, {columnName: salary, tags: [Noisy]}, {columnName: code, tags: [Hashed]}, \
        {columnName: card, tags: [Back]}, {columnName: token, tags: [Nothing]}, {columnName: doc, tags: [Closed]}, {columnName: name, tags: [Same]}";
    let dictionary = "[{name: id}, {name: name}, {name: city}, {name: ssn}, {name: email}, {name: phone}, {name: age}, {name: born}, {name: salary}, {name: code}, \
        {name: card}, {name: token}, {name: level}, {name: doc}, {name: nums}, {name: mood}]";
    let stage = Stage::named(server, database, template)
        .await
        .source(&format!("table: person\nschema: public\ncolumns: {dictionary}\ntags: {{columns: [{columns}]}}"))
        .source("table: sale\nschema: public\neventTime: at\nhighCardinality: id\ntags: {table: [Events, Sampled], columns: [{columnName: item, tags: [Common]}, {columnName: qty, tags: [Rounded]}]}")
        .sources(&[("part", "{city: [City]}"), ("free", "{}"), ("totals", "{}")])
        .tags(&["Events", "Sampled", "City", "Hashed", "Mail", "Formed", "Grown", "Month", "Noisy", "Back", "Nothing", "Closed", "Same", "Common", "Rounded"])
        // As many as make the planner take the rule for dearer than most expressions.
        .user("ana", &["Staff"], &[("city", &["Bonn", "Oslo", "c", "d", "e", "f", "g", "h"])])
        .user("max", &["Staff", "Trusted"], &[])
        .writes("ana", &["person", "part", "free", "sale"])
        .writes("max", &["person", "part", "free", "sale"])
        .writable()
        .await;
    policies().iter().fold(stage, |stage, policy| stage.policy(policy))
}

/// The same, filled with what is hidden.
pub async fn filled(server: &'static PrivatePostgres, database: &str, hidden: &str) -> Stage {
    let stage = stage(server, database, "template1").await.sql(&SCHEMA.replace("DATABASE", database)).await;
    stage.sql(hidden).await.sql("REFRESH MATERIALIZED VIEW zz_matview; ANALYZE").await
}

/// Two databases of one server that are copies of one another but for what is hidden, OIDs included.
pub fn twins(major: u32) -> [Running; 2] {
    runtime().block_on(async {
        let server = server_of(major);
        let root = warehouse::admin(server, "postgres").await.unwrap();
        root.batch_execute("CREATE DATABASE zz_template").await.unwrap();
        let admin = warehouse::admin(server, "zz_template").await.unwrap();
        admin.batch_execute(&SCHEMA.replace("DATABASE", "template")).await.unwrap();
        drop(admin);
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'zz_template'";
        while root.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let mut running = Vec::new();
        for (name, hidden) in [("twin_tame", TAME), ("twin_wild", WILD)] {
            let stage = stage(server, name, "zz_template").await.sql(hidden).await;
            running.push(stage.sql("REFRESH MATERIALIZED VIEW zz_matview; ANALYZE").await.start().await);
        }
        running.try_into().ok().unwrap()
    })
}

/// One started database of that name on the server of a version.
pub fn started(major: u32, database: &str) -> Running {
    runtime().block_on(async { filled(server_of(major), database, WILD).await.start().await })
}

pub fn login(running: &Running, user: &str) -> Wire {
    let login = Login { port: running.port, user, password: PASSWORD, database: running.database() };
    Wire::login(login, &[]).unwrap_or_else(|e| panic!("{user}: {:?}", e.fields()))
}

/// Nothing hidden, and nothing that only a rewritten statement holds, in what came back.
pub fn look(wire: &mut Wire, sql: &str) {
    for word in ["zz_", "_sv", "sqlveil.check", "service_"] {
        let found = wire.seen.windows(word.len()).position(|w| w == word.as_bytes());
        if let Some(at) = found.filter(|_| !sql.contains(word)) {
            let around = &wire.seen[at.saturating_sub(80)..(at + 80).min(wire.seen.len())];
            panic!("{word} came back for {sql}: {}", around.escape_ascii());
        }
    }
    wire.seen.clear();
}

/// Asks in the simple protocol, and in the extended one with text and with binary results, which all say the same; looks at every byte.
pub fn ask(wire: &mut Wire, sql: &str) -> Answer {
    let answer = wire.simple(sql);
    for format in [0, 1] {
        let again = wire.extended(sql, &[], format);
        assert_eq!((answer.code(), answer.message()), (again.code(), again.message()), "{sql}");
        assert_eq!(answer.rows().len(), again.rows().len(), "{sql}");
        if format == 0 && answer.error().is_none() {
            assert_eq!((answer.sorted(), answer.columns()), (again.sorted(), again.columns()), "{sql}");
        }
    }
    look(wire, sql);
    answer
}
