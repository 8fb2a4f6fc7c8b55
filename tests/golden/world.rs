//! The world of the golden cases: one small schema, a handful of policies, callers that they treat differently.

use super::support::{self, Stage};
use sqlveil::config::Config;
use sqlveil::world::World;
use std::sync::Arc;
use tokio_postgres::Client;

/// Tables: `emp` (masks and a row rule), `pay` (a row rule with a sub-query), `dept` (whole), `note` (nothing hidden, no key),
/// `desk` (a row rule with a sub-query that the warehouse knows to be small), `vault` (registered, nobody subscribed), `hidden` (not
/// registered). Callers: `ana` (policies apply), `max` (exempt), `eve` (subscribed to nothing).
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE dept (id int PRIMARY KEY, name text NOT NULL, city varchar(20));
    CREATE TABLE emp (id int PRIMARY KEY, name text, ssn varchar(11), salary numeric(10,2), dept_id int REFERENCES dept,
                      hired date, feeling mood, note text);
    CREATE TABLE pay (emp_id int, month date, amount numeric, PRIMARY KEY (emp_id, month));
    CREATE TABLE note (body text, doc jsonb);
    CREATE TABLE vault (id int, code text);
    CREATE TABLE desk (id int PRIMARY KEY, room text, label text);
    CREATE TABLE member (login text, room text); INSERT INTO member VALUES ('ana', 'r1'), ('ana', 'r2'), ('max', 'r1'); ANALYZE member;
    CREATE TABLE hidden (id int);
    CREATE SCHEMA hr; CREATE TABLE hr.emp (id int, remark text);
    CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
";

const POLICIES: &[&str] = &[
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n\
     circumstances: [{type: tags, tag: Open}]\n",
    "policyKey: mask ssn\nname: mask ssn\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Id.Ssn}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Id.Ssn}]\n",
    "policyKey: mask salary\nname: mask salary\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Money}], maskingConfig: {type: 'Null'}}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: columnTags, columnTag: Money}]\n",
    "policyKey: own dept\nname: own dept\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"dept_id = 1\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: tags, tag: Staffed}]\n",
    "policyKey: own pay\nname: own pay\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"emp_id IN (SELECT e.id FROM public.emp e WHERE e.dept_id = 1)\"}\n    exceptions: {groups: [Trusted]}\n\
     circumstances: [{type: tags, tag: Paid}]\n",
    "policyKey: own desk\nname: own desk\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"room IN (SELECT m.room FROM public.member m WHERE m.login = @username)\"}\n\
     circumstances: [{type: tags, tag: Roomed}]\n",
    "policyKey: purpose\nname: purpose\ntype: data\nactions:\n- rules:\n  - type: Purpose Restriction\n    config: {purposes: [Audit]}\n\
     circumstances: [{type: tags, tag: Audited}]\n",
];

pub async fn stage() -> Stage {
    let mut stage = Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .source("table: emp\nschema: public\ntags:\n  table: [Open, Staffed]\n  columns: [{columnName: ssn, tags: [Id.Ssn]}, {columnName: salary, tags: [Money]}]")
        .source("table: pay\nschema: public\ntags: {table: [Open, Paid]}")
        .source("table: dept\nschema: public\ntags: {table: [Open]}")
        .source("table: note\nschema: public\ntags: {table: [Open, Audited]}")
        .source("table: vault\nschema: public")
        .source("query: SELECT d.name, count(*) AS staff FROM dept d JOIN emp e ON e.dept_id = d.id WHERE e.hired IS NOT NULL GROUP BY d.name\nnaming: {datasource: staffing, schema: reports, table: staffing}\ntags: {table: [Open], columns: [{columnName: name, tags: [Money]}]}")
        .source("table: emp\nschema: hr\nnaming: {datasource: hr emp, schema: hr, table: emp}\ntags: {table: [Open]}")
        .source("table: desk\nschema: public\ntags: {table: [Open, Roomed]}")
        .tags(&["Open", "Roomed", "Staffed", "Paid", "Audited", "Id.Ssn", "Money"])
        .purpose("Audit")
        .project("projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: user, name: ana}]\n")
        .writes("ana", &["emp", "pay", "dept"])
        .writes("max", &["emp"])
        .user("ana", &["Staff"], &[])
        .user("max", &["Staff", "Trusted"], &[])
        .user("eve", &[], &[]);
    for policy in POLICIES {
        stage = stage.policy(policy);
    }
    stage
}

/// The stage's world, and a superuser's connection with the search path of the relay leg.
pub async fn load(stage: &Stage) -> (Arc<World>, Client) {
    let config = Arc::new(Config::load(&stage.write()).expect("a configuration"));
    let loaded = sqlveil::world::load(&config).await;
    let (mut worlds, _) = loaded.into_result().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let world = worlds.remove(stage.database.as_str()).expect("the stage's world");
    let admin = sqlveil::cli::demo::warehouse::admin(support::server(), &stage.database).await.expect("admin");
    admin.batch_execute("SET search_path = pg_catalog").await.expect("the relay's search path");
    (Arc::new(world), admin)
}
