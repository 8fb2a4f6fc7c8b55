//! A proxy with authentication rules over one table, of which everybody sees the rows of his cities.

use crate::support::{Output, Running, Stage};

/// `ana` (with provider `corp`), `bob` (local, disabled) and `tom` (local) are in the identity file; who is in Staff may read.
pub async fn stage(config: &str) -> Running {
    Stage::new()
        .await
        .sql("CREATE TABLE cities (city text); INSERT INTO cities VALUES ('Bonn'), ('Rome'), ('Oslo')")
        .await
        .sources(&[("cities", "{city: [City]}")])
        .user("tom", &["Staff"], &[("city", &["Rome"])])
        .raw_user("{name: ana, iam: corp}")
        .raw_user("{name: bob, iam: corp, disabled: true}")
        .raw_group("{name: Staff, iam: corp, attributes: {city: [Oslo]}}")
        .policy(
            "policyKey: staff\nname: staff\ntype: subscription\n\
             actions: {type: entitlements, entitlements: {groups: [Staff]}}\n",
        )
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: {type: attribute, attribute: city, tag: City}}\n\
             circumstances: [{type: columnTags, columnTag: City}]\n",
        )
        .config(config)
        .start()
        .await
}

/// What a user sees, in one line.
pub const CITIES: &str = "SELECT current_user || ': ' || coalesce(string_agg(city, ' ' ORDER BY city), '') FROM cities";

/// The error psql tells, without where it happened.
pub fn error(output: &Output) -> String {
    assert!(!output.ok, "it worked: {}", output.out);
    let last = output.err.trim_end().rsplit("FATAL:  ").next().unwrap_or_default();
    last.trim().to_owned()
}

/// What psql was answered.
pub fn answer(output: &Output) -> String {
    assert!(output.ok, "{}", output.err);
    output.out.trim_end().to_owned()
}
