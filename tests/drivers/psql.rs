//! psql through the proxy.

use crate::support::{ANYONE, Running, Stage};

async fn shop() -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text, city text NOT NULL);
             INSERT INTO customers VALUES (1, 'Ada', 'ada@example.org', 'Bonn'), (2, 'Bea', 'bea@example.org', 'Bonn'),
                 (3, 'Cai', NULL, 'Rome');
             CREATE TABLE secrets (id int)",
        )
        .await
        .sources(&[("customers", "{email: [Identity.Email], city: [Place.City]}")])
        .user("ana", &["Readers"], &[("city", &["Bonn"])])
        .policy(ANYONE)
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: {type: attribute, attribute: city, tag: Place.City}}\n\
             circumstances: [{type: columnTags, columnTag: Place.City}]\n",
        )
        .policy(
            "policyKey: email\nname: email\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config:\n      \
             fields: [{type: columnTags, columnTag: Identity.Email}]\n      maskingConfig: {type: \"Null\"}\n\
             circumstances: [{type: columnTags, columnTag: Identity.Email}]\n",
        )
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_filtered_and_columns_masked() {
    let shop = shop().await;
    let output = shop.psql("ana", &["-At", "-c", "SELECT id, name, email IS NULL FROM customers ORDER BY id"]);
    assert!(output.ok, "{}", output.err);
    assert_eq!(output.out, "1|Ada|t\n2|Bea|t\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_registered_does_not_exist() {
    let shop = shop().await;
    let output = shop.psql("ana", &["-v", "VERBOSITY=verbose", "-c", "SELECT * FROM secrets"]);
    assert!(!output.ok);
    assert!(output.err.contains("42P01: relation \"secrets\" does not exist"), "{}", output.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn backslash_commands_show_what_the_caller_may_see() {
    let shop = shop().await;
    let tables = shop.psql("ana", &["-At", "-c", "\\dt"]);
    assert!(tables.ok, "{}", tables.err);
    assert!(tables.out.contains("customers") && !tables.out.contains("secrets"), "{}", tables.out);
    let table = shop.psql("ana", &["-c", "\\d customers"]);
    assert!(table.ok, "{}", table.err);
    for column in ["id", "name", "email", "city"] {
        assert!(table.out.contains(column), "{}", table.out);
    }
}
