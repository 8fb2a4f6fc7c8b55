//! API tokens, temporary SQL accounts and users of the command line: made by the real binary, used over the real wire by psql and
//! tokio-postgres, ended while they are in use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../protocol/raw.rs"]
#[allow(dead_code)]
mod raw;

mod commands;
mod ends;
mod guessing;
mod rules;
mod secrets;
mod sessions;
mod store;
mod temporary;
mod tokens;
mod users;

use support::{Running, Stage};

/// Staff see the rows of their cities; the fraud desk (`ana`, and every token in it) sees the numbers.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE cities (city text, number text);
             INSERT INTO cities VALUES ('Bonn', 'number 1'), ('Rome', 'number 2'), ('Oslo', 'number 3')",
        )
        .await
        .sources(&[("cities", "{city: [City], number: [Id.Number]}")])
        .user("ana", &["Staff", "Auditors"], &[("city", &["Bonn", "Rome", "Oslo"])])
        .user("bob", &["Staff"], &[("city", &["Rome"])])
        .user("bi", &[], &[])
        .policy(
            "policyKey: staff\nname: staff\ntype: subscription\n\
             actions: {type: entitlements, entitlements: {groups: [Staff]}}\n",
        )
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: {type: attribute, attribute: city, tag: City}}\n\
             circumstances: [{type: columnTags, columnTag: City}]\n",
        )
        .policy(
            "policyKey: number\nname: number\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
             config: {fields: [{type: columnTags, columnTag: Id.Number}], maskingConfig: {type: 'Null'}}\n    \
             exceptions: {groups: [Auditors], purposes: [Fraud]}\n\
             circumstances: [{type: columnTags, columnTag: Id.Number}]\n",
        )
        .purpose("Fraud")
        .purpose("Other")
        .project("projectKey: fraud\nname: Fraud\npurposes: [Fraud]\nmembers: [{type: user, name: ana}, {type: user, name: bob}]\n")
        .project("projectKey: other\nname: Other\npurposes: [Other]\nmembers: [{type: group, name: Staff}]\n")
        .config("limits: {failed_logins: 0}\nimpersonation:\n- {login: bi, groups: [Staff]}")
}

async fn running() -> Running {
    stage().await.start().await
}

/// What somebody sees, in one line: who he is, his cities, how many numbers.
const SEEN: &str = "SELECT current_user || ': ' || coalesce(string_agg(city, ' ' ORDER BY city), '') || ', ' || count(number) FROM cities";
