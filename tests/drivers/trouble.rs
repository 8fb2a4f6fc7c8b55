//! The troubleshooting table of the README: each line is brought about, and what psql then says is what the README says.

use crate::support::{ANYONE, Stage};

const README: &str = include_str!("../../README.md");

/// The SQLSTATE and message in the README's line that begins with `| what |`.
fn promised(what: &str) -> (String, String) {
    let line = README.lines().find(|line| line.starts_with(&format!("| {what} |")));
    let cells: Vec<&str> = line.unwrap_or_else(|| panic!("the README has no line on {what}")).split(" | ").collect();
    (cells[1].to_owned(), cells[2].trim_matches('`').to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_is_what_psql_says() {
    let stage = Stage::new()
        .await
        .sql("CREATE TABLE customers (id int); CREATE TABLE orders (id int); CREATE TABLE invoices (id int)")
        .await
        .sources(&[("customers", "{}"), ("invoices", "{id: [Money]}"), ("orders", "{id: [Secret]}")])
        .user("ana", &[], &[])
        .user("eve", &["Clerks"], &[])
        .policy(ANYONE)
        .policy(
            "policyKey: clerks\nname: clerks\ntype: subscription\n\
             actions: {type: entitlements, entitlements: {groups: [Clerks]}, allowDiscovery: true}\n\
             circumstances: [{type: columnTags, columnTag: Money}]\n",
        )
        .policy(
            "policyKey: nobody\nname: nobody\ntype: subscription\nactions: {type: manual}\n\
             circumstances: [{type: columnTags, columnTag: Secret}]\n",
        )
        .start()
        .await;
    let says = |what: &str, user: &str, password: &str, database: &str, sql: &str| {
        let (code, message) = promised(what);
        let output = stage.psql_as(user, password, database, &["-v", "VERBOSITY=verbose", "-c", sql]);
        assert!(!output.ok, "{what}: {}", output.out);
        // psql does not show the SQLSTATE of a refused login.
        assert!(output.err.contains(&message), "{what}: the README promises {message:?}, psql says {}", output.err);
        if !output.err.contains("connection to server") {
            assert!(output.err.contains(&format!("{code}: ")), "{what}: {code}: {}", output.err);
        }
    };
    let (database, password) = (stage.database(), crate::support::PASSWORD);
    says("wrong password, or no such user", "ana", "wrong", database, "SELECT 1");
    says("unknown database", "ana", password, "nowhere", "SELECT 1");
    says("unknown table", "ana", password, database, "SELECT * FROM custmers");
    says("a table one is not subscribed to", "ana", password, database, "SELECT * FROM orders");
    says("the same, where the policy allows discovery", "ana", password, database, "SELECT * FROM invoices");
    says("unsupported statement", "ana", password, database, "DELETE FROM customers");
}
