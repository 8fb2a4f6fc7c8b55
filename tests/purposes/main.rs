//! For what purpose, and for whom: the proxy's own relations, acting for others, logins that end; against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod acting;
mod ended;
mod escalation;
mod own;
mod records;
mod settings;
mod signed;

use support::Stage;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Staff see `emp`, everybody `cases`, nobody here `pay`.
const SCHEMA: &str = "
    CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, city text);
    INSERT INTO emp VALUES (1, 'Ann', 'number 1', 'Bonn'), (2, 'Bob', 'number 2', 'Köln'), (3, 'Cy', 'number 3', 'Bonn');
    CREATE TABLE cases (id int PRIMARY KEY, note text); INSERT INTO cases VALUES (1, 'one'), (2, 'two');
    CREATE TABLE pay (id int PRIMARY KEY, amount int); INSERT INTO pay VALUES (1, 100);
    CREATE TABLE offers (id int PRIMARY KEY, amount int);
";

fn subscription(key: &str, tag: &str, action: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: subscription\nactions: {{{action}}}\ncircumstances: [{{type: tags, tag: {tag}}}]\n"
    )
}

const MASK: &str = "policyKey: mask ssn\nname: Numbers are hashed\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
    config: {fields: [{type: columnTags, columnTag: Id.Number}], maskingConfig: {type: Hash}}\n    \
    exceptions: {groups: [Auditors], purposes: [Fraud]}\ncircumstances: [{type: columnTags, columnTag: Id.Number}]\n";

const CITY: &str = "policyKey: own city\nname: One's own city\ntype: data\nactions:\n- rules:\n  \
    - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: city, tag: Place}]}\n    exceptions: {groups: [Auditors]}\n\
    circumstances: [{type: columnTags, columnTag: Place}]\n";

const PURPOSE: &str = "policyKey: for fraud\nname: Cases are for fraud\ntype: data\nactions:\n- rules:\n  \
    - type: Purpose Restriction\n    config: {purposes: [Fraud]}\ncircumstances: [{type: tags, tag: Cases}]\n";

const PURPOSES: &str = "name: Fraud\nacknowledgement: I use this against fraud alone\nreAcknowledgeRequired: true\n\
    subpurposes: [{name: Fraud.Cards}]\n";

/// The stage of every test here.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .source("table: emp\nschema: public\ntags: {table: [Staff], columns: [{columnName: ssn, tags: [Id.Number]}, {columnName: city, tags: [Place]}]}")
        .source("table: cases\nschema: public\ntags: {table: [Cases]}")
        .source("table: pay\nschema: public\ntags: {table: [Pay]}")
        .source("table: offers\nschema: public\ntags: {table: [Offers]}")
        .tags(&["Staff", "Cases", "Pay", "Offers", "Id.Number", "Place"])
        .policy(&subscription("staff", "Staff", "type: entitlements, entitlements: {groups: [Staff]}"))
        .policy(&subscription("cases", "Cases", "type: anyone"))
        .policy(&subscription("pay", "Pay", "type: entitlements, entitlements: {groups: [Payroll]}"))
        .policy(&subscription("offers", "Offers", "type: approval, approvals: [{requiredPermission: OWNER}], allowDiscovery: true"))
        .policy(MASK)
        .policy(CITY)
        .policy(PURPOSE)
        .purpose_document(PURPOSES)
        .purpose("Free")
        .project("projectKey: fraud\nname: Fraud desk\ndescription: Finds fraud\npurposes: [Fraud.Cards]\nmembers: [{type: group, name: Staff}]\n")
        .project("projectKey: free\nname: Free\npurposes: [Free]\nmembers: [{type: user, name: ana}]\n")
        .user("ana", &["Staff"], &[("city", &["Bonn"])])
        .user("bob", &["Staff"], &[("city", &["Köln"])])
        .user("aud", &["Staff", "Auditors"], &[])
        .user("eve", &[], &[])
        .user("payer", &["Payroll"], &[])
        .user("bi", &[], &[])
        .user("bi2", &[], &[])
        .user("bi3", &[], &[])
        .user("bi4", &[], &[])
}

/// Logins that may act for others: `bi` by setting it, `bi4` for a transaction, `bi2` by signing comments, `bi3` names.
const ACTORS: &str = "impersonation:\n\
    - {login: bi, users: [ana, bob, bi2, gone], groups: [Auditors]}\n\
    - {login: bi2, groups: [Staff], by: [comment], key: {file: secrets/master}, longest: 10m}\n\
    - {login: bi3, groups: [Staff], by: [application_name], key: {file: secrets/master}}\n\
    - {login: bi4, users: [ana, bob], by: [local]}\n";

/// The rows of a simple query, columns joined by `|`.
async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = |m: SimpleQueryMessage| match m {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
            Some(cells.join("|"))
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// SQLSTATE and message of a statement that fails.
async fn error(client: &Client, sql: &str) -> (String, String) {
    let error = client.simple_query(sql).await.expect_err(sql);
    let server = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    (server.code().code().to_owned(), server.message().to_owned())
}

/// The SQLSTATE alone.
async fn code(client: &Client, sql: &str) -> String {
    error(client, sql).await.0
}
