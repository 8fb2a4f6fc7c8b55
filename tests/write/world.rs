//! The world that is written: who may, what is masked, which rows are hidden.

use crate::support::{Running, Stage};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, SimpleQueryMessage};

/// `emp`: masks (`ssn` a hash, `salary` NULL, `badge` a constant) and a row rule (`dept` of the caller). `log`: masks alone. `dept`: whole.
/// `acc`: whole, for counting. `item`: a row rule with a sub-query. `vault`: hidden. `child` refers to `dept` and is hidden.
pub const SCHEMA: &str = r#"
CREATE TABLE dept (id serial PRIMARY KEY, name text NOT NULL UNIQUE, budget numeric(10,2) CHECK (budget >= 0));
CREATE TABLE emp (id int PRIMARY KEY, name varchar(20) NOT NULL, dept text NOT NULL DEFAULT 'blue', note text, ssn varchar(11), salary numeric(10,2),
    badge text, born date, doc jsonb, nums int[], secret text);
CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, msg text, secret text, code int);
CREATE TABLE acc (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE open_to (dept text, login text);
CREATE TABLE item (id int PRIMARY KEY, dept text, qty int);
CREATE TABLE vault (id int PRIMARY KEY, code text);
CREATE TABLE child (id int PRIMARY KEY, dept_id int REFERENCES dept);
CREATE TABLE part (id int, dept text, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (1000);
CREATE VIEW v_dept AS SELECT * FROM dept;
CREATE TABLE fired (id int PRIMARY KEY, dept text, note text);
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.note = 'boom' THEN RAISE EXCEPTION 'SECRET of %', NEW.dept; END IF;
    IF NEW.note = 'move' THEN NEW.dept := 'red'; END IF; RAISE NOTICE 'SECRET notice'; RETURN NEW; END $$;
CREATE TRIGGER move BEFORE INSERT OR UPDATE ON fired FOR EACH ROW EXECUTE FUNCTION move();
INSERT INTO dept (name, budget) SELECT 'dept' || i, i * 100 FROM generate_series(1, 5) i;
INSERT INTO emp SELECT i, 'name' || i, (ARRAY['blue', 'red'])[1 + i % 2], (10 + i)::text, '111-22-' || (1000 + i), 100 * i, 'b' || i, '2000-01-01', '{"a": 1}', '{1,2}', 'SECRET' || i
    FROM generate_series(1, 20) i;
UPDATE emp SET note = 'SECRET', ssn = 'SECRET-' || id WHERE dept = 'red';
INSERT INTO log (msg, secret, code) SELECT 'm' || i, 'SECRET' || i, i FROM generate_series(1, 10) i;
INSERT INTO acc SELECT i, 0 FROM generate_series(1, 1000) i;
INSERT INTO open_to VALUES ('blue', 'ana'), ('red', 'nobody');
INSERT INTO item SELECT i, (ARRAY['blue', 'red'])[1 + i % 2], i FROM generate_series(1, 20) i;
INSERT INTO vault VALUES (1, 'SECRET');
INSERT INTO child VALUES (1, 1);
INSERT INTO part SELECT i * 10, (ARRAY['blue', 'red'])[1 + i % 2], 'n' FROM generate_series(1, 20) i;
INSERT INTO fired SELECT i, (ARRAY['blue', 'red'])[1 + i % 2], 'n' FROM generate_series(1, 6) i;
ANALYZE;
"#;

const POLICIES: &[&str] = &[
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n",
    "policyKey: ssn\nname: ssn\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Ssn}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Ssn}]\n",
    "policyKey: money\nname: money\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Money}], maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Money}]\n",
    "policyKey: badge\nname: badge\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Badge}], maskingConfig: {type: Constant, constant: 'xxx'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Badge}]\n",
    "policyKey: dept\nname: dept\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    config: {operator: all, matches: [{type: attribute, attribute: dept, tag: Dept}]}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Dept}]\n",
    "policyKey: open\nname: open\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"@columnTagged('Open') IN (SELECT o.dept FROM public.open_to o WHERE o.login = @username)\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Open}]\n",
];

fn govern(stage: Stage) -> Stage {
    let stage = POLICIES.iter().fold(stage, |stage, policy| stage.policy(policy));
    stage.user("ana", &["Staff"], &[("dept", &["blue"])]).user("max", &["Staff", "Trusted"], &[]).user(
        "eve",
        &["Staff"],
        &[("dept", &["blue"])],
    )
}

/// `ana` writes under policies, `max` writes all, `eve` reads alone. The dictionaries hold every column.
pub async fn running() -> Running {
    let stage = Stage::new().await.writable().await.sql(SCHEMA).await.sources(&[
        ("emp", "{dept: [Dept], ssn: [Ssn], salary: [Money], badge: [Badge]}"),
        ("log", "{secret: [Ssn]}"),
        ("dept", "{}"),
        ("acc", "{}"),
        ("item", "{dept: [Open]}"),
        ("part", "{dept: [Dept]}"),
        ("fired", "{dept: [Dept]}"),
        ("v_dept", "{}"),
    ]);
    let all = ["emp", "log", "dept", "acc", "item", "part", "fired", "v_dept"];
    govern(stage).writes("ana", &all).writes("max", &all).start().await
}

/// Rows affected by one statement in the simple protocol.
pub async fn count(client: &Client, sql: &str) -> u64 {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    for message in &messages {
        if let SimpleQueryMessage::Row(_) = message {
            panic!("{sql} returned a row");
        }
    }
    messages
        .into_iter()
        .find_map(|m| if let SimpleQueryMessage::CommandComplete(n) = m { Some(n) } else { None })
        .unwrap()
}

/// Rows as texts, columns joined by `|`.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = |m| match m {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// The error of a statement that must fail.
pub async fn error(client: &Client, sql: &str) -> DbError {
    match client.simple_query(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone(),
    }
}

/// `SQLSTATE message`.
pub async fn refused(client: &Client, sql: &str) -> String {
    let error = error(client, sql).await;
    format!("{} {}", error.code().code(), error.message())
}
