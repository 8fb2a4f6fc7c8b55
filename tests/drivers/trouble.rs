//! The troubleshooting table of the README: each line is brought about, and what psql then says is what the README says.

use crate::support::{ANYONE, PASSWORD, PrivatePostgres, Stage};
use std::process::Command;
use std::time::Duration;

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
    let (database, password) = (stage.database(), PASSWORD);
    says("wrong password, or no such user", "ana", "wrong", database, "SELECT 1");
    says("unknown database", "ana", password, "nowhere", "SELECT 1");
    says("unknown table", "ana", password, database, "SELECT * FROM custmers");
    says("a table one is not subscribed to", "ana", password, database, "SELECT * FROM orders");
    says("the same, where the policy allows discovery", "ana", password, database, "SELECT * FROM invoices");
    says("unsupported statement", "ana", password, database, "LISTEN x");
    says("writing without a grant", "ana", password, database, "DELETE FROM customers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_is_down_is_08006_and_its_return_is_noticed() {
    let server: &'static PrivatePostgres = Box::leak(Box::new(PrivatePostgres::start().unwrap()));
    let stage = Stage::on(server).await.sql("CREATE TABLE t AS SELECT generate_series(1, 5000) AS id").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]).start().await;
    let client = stage.client("ana").await;
    assert!(client.query("SELECT * FROM t", &[]).await.is_ok());
    // A statement under way is told, and so is a new login.
    let busy = tokio::spawn(async move { client.simple_query("SELECT count(*) FROM t a, t b, t c").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.pause().unwrap();
    let lost = busy.await.unwrap().unwrap_err();
    let refused = stage.try_client("ana", PASSWORD, stage.database()).await.err().unwrap();
    for (what, error) in [("warehouse lost", lost), ("warehouse down", refused)] {
        let (code, message) = promised(what);
        assert_eq!(error.code().map(|found| found.code().to_owned()), Some(code), "{error:?}");
        let said = error.as_db_error().unwrap().message().replace(stage.database(), "demo");
        assert_eq!(said, message);
    }
    server.resume().unwrap();
    stage
        .eventually("the warehouse is back", async |stage| {
            match stage.try_client("ana", PASSWORD, stage.database()).await {
                Ok(client) => client.query("SELECT * FROM t", &[]).await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
    server.pause().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_policy_file_is_told_and_the_old_set_stays() {
    let stage = Stage::new().await.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (7)").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]).start().await;
    let client = stage.client("ana").await;
    stage.write("policies/bad.yaml", "policyKey: bad\nname: bad\ntype: subscription\nactoins: {type: manual}\n");
    stage.proxy().reload_and_wait().await;
    assert_eq!(client.query_one("SELECT id FROM t", &[]).await.unwrap().get::<_, i32>(0), 7);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sqlveil"));
    let output = command.arg("check").arg("--config").arg(stage.config_file()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in ["bad.yaml", ":4:1", "unknown key `actoins`", "did you mean `actions`?"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    stage.write("policies/bad.yaml", "policyKey: good\nname: good\ntype: subscription\nactions: {type: manual}\n");
    stage.proxy().reload_and_wait().await;
    let error = client.query_one("SELECT id FROM t", &[]).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_calls_refused_is_refused() {
    let stage = Stage::new().await.sql("CREATE TABLE t (id int)").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]).start().await;
    let client = stage.client("ana").await;
    for sql in [
        "CREATE TABLE x (id int)",
        "CREATE VIEW x AS SELECT 1",
        "SELECT 1 INTO x",
        "GRANT SELECT ON t TO PUBLIC",
        "DO $$ BEGIN END $$",
        "CALL x()",
        "EXPLAIN DECLARE c CURSOR FOR SELECT * FROM t",
        "LISTEN x",
        "NOTIFY x",
        "LOCK TABLE t",
        "VACUUM t",
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        assert_eq!(error.code().map(|code| code.code()), Some("0A000"), "{sql}: {error:?}");
    }
    // No grant says WRITE.
    for sql in [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET id = 1",
        "DELETE FROM t",
        "MERGE INTO t USING t s ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
        "COPY t FROM STDIN",
        "SELECT * FROM t FOR UPDATE",
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}: {error:?}");
    }
    for sql in
        ["SELECT pg_read_file('/etc/passwd')", "SELECT query_to_xml('select 1', true, true, '')", "SET role = 'admin'"]
    {
        let error = client.simple_query(sql).await.expect_err(sql);
        let code = error.code().map_or("", |code| code.code());
        assert!(["0A000", "42501"].contains(&code), "{sql}: {error:?}");
    }
}
