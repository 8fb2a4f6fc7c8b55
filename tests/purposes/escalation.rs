//! Acting for those one may not act for.

use crate::acting::running;
use crate::support::Running;
use crate::{code, error, rows};
use sqlveil::world::Outcome;
use tokio_postgres::{Client, NoTls};

async fn refused(client: &Client, sql: &str) {
    let (sqlstate, text) = error(client, sql).await;
    assert_eq!(sqlstate, "42501", "{sql}: {text}");
    assert_eq!(rows(client, "SHOW sqlveil.user").await, [""], "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_permitted_acts_for_nobody() {
    let running = running().await;
    for user in ["ana", "eve", "aud"] {
        let client = running.client(user).await;
        for sql in [
            "SET sqlveil.user = 'bob'",
            "SET LOCAL sqlveil.user = 'bob'",
            "BEGIN; SET LOCAL sqlveil.user = 'bob'; COMMIT",
        ] {
            assert_eq!(code(&client, sql).await, "42501", "{user}: {sql}");
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        // To be oneself takes no permission, and gives none.
        client.batch_execute(&format!("SET sqlveil.user = '{user}'; RESET sqlveil.user")).await.unwrap();
        let mut config = running.client_config(user);
        let login = config.options("-c sqlveil.user=bob").connect(NoTls).await.map(drop).unwrap_err();
        assert_eq!(login.as_db_error().unwrap().code().code(), "42501", "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_not_named_and_not_by_another_spelling() {
    let running = running().await;
    let bi = running.client("bi").await;
    // Not named; unknown; another service; names that only look alike.
    for user in [
        "eve",
        "payer",
        "nobody",
        "gone",
        "bi2",
        "ANA",
        "Ana",
        "ana ",
        " ana",
        "ana+fraud",
        "ana\u{200b}",
        "\u{430}na",
        "an\u{61}\u{301}",
        "'ana'",
        "\"ana\"",
        "ana, bob",
        "ana;bob",
        "ana\u{a0}",
        "*",
        "%",
        "Auditors",
        "postgres",
        "warehouse",
    ] {
        refused(&bi, &format!("SET sqlveil.user = '{}'", user.replace('\'', "''"))).await;
    }
    refused(&bi, "SET sqlveil.user = ana, bob").await;
    refused(&bi, "SET sqlveil.user = \"ANA\"").await;
    // One text for all of them.
    let text = async |user: &str| error(&bi, &format!("SET sqlveil.user = '{user}'")).await.1.replace(user, "?");
    let texts = [text("eve").await, text("nobody").await, text("bi2").await, text("gone").await];
    assert!(texts.iter().all(|t| *t == texts[0]), "{texts:?}");
    // Unquoted names fold as everywhere in SQL.
    bi.batch_execute("SET sqlveil.user = ANA").await.unwrap();
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, ["ana"]);
    // Who acts for one may not act for more because of it: ana is no service, aud could not be reached from her.
    assert_eq!(code(&bi, "SET sqlveil.user = 'eve'").await, "42501");
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, ["ana"], "a refused change changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_by_functions_roles_or_other_settings() {
    let running = running().await;
    let bi = running.client("bi").await;
    for sql in [
        "SELECT set_config('sqlveil.user', 'ana', false)",
        "SELECT pg_catalog.set_config('sqlveil.user', 'ana', true)",
        "UPDATE pg_settings SET setting = 'ana' WHERE name = 'sqlveil.user'",
        "SET ROLE ana",
        "SET SESSION AUTHORIZATION ana",
        "SET SESSION AUTHORIZATION 'ana'",
        "DO $$BEGIN PERFORM set_config('sqlveil.user', 'ana', false); END$$",
        "ALTER ROLE bi SET sqlveil.user = 'ana'",
        "SET sqlveil.users = 'ana'",
        "SET sqlveil.login = 'ana'",
        "SET sqlveil.user FROM CURRENT",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET sqlveil.user = 'ana' AS 'SELECT 1'",
    ] {
        let sqlstate = code(&bi, sql).await;
        assert!(["42501", "0A000", "42601", "42P01", "42883"].contains(&sqlstate.as_str()), "{sql}: {sqlstate}");
        assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""], "{sql}");
        assert_eq!(code(&bi, "SELECT * FROM emp").await, "42P01", "{sql}");
    }
    // A login whose way is to sign may not set, and without that way comments are comments.
    let bi2 = running.client("bi2").await;
    refused(&bi2, "SET sqlveil.user = 'ana'").await;
    let mut config = running.client_config("bi2");
    let login = config.options("-c sqlveil.user=ana").connect(NoTls).await.map(drop).unwrap_err();
    assert_eq!(login.as_db_error().unwrap().code().code(), "42501");
    assert_eq!(rows(&bi, "/*sqlveil user=ana expires=1 signature=0*/ SHOW sqlveil.user").await, [""]);
}

pub async fn change(running: &Running, from: &str, to: &str) {
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    assert!(!matches!(running.proxy().reload_and_wait().await, Outcome::Refused(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_is_acted_for_no_more_and_the_login_goes_on() {
    let running = running().await;
    let bi = running.client("bi").await;
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    let emp = bi.prepare("SELECT count(*) FROM emp").await.unwrap();
    assert_eq!(bi.query_one(&emp, &[]).await.unwrap().get::<_, i64>(0), 2);
    change(&running, "{name: 'ana',", "{name: 'ana', disabled: true,").await;
    for sql in [
        "SELECT count(*) FROM emp",
        "SELECT 1",
        "EXPLAIN SELECT 1",
        "SET sqlveil.project = 'free'",
        "SHOW sqlveil.user",
    ] {
        assert_eq!(code(&bi, sql).await, "42501", "{sql}");
    }
    assert_eq!(bi.query(&emp, &[]).await.unwrap_err().as_db_error().unwrap().code().code(), "42501");
    bi.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
    assert_eq!(bi.query_one(&emp, &[]).await.unwrap().get::<_, i64>(0), 1);
    refused_as(&bi, "bob", "SET sqlveil.user = 'ana'").await;
    // Out of the group, out of reach.
    bi.batch_execute("SET sqlveil.user = 'aud'").await.unwrap();
    assert_eq!(rows(&bi, "SELECT count(*) FROM emp").await, ["3"]);
    change(&running, "groups: ['Staff', 'Auditors']", "groups: ['Staff']").await;
    assert_eq!(code(&bi, "SELECT count(*) FROM emp").await, "42501");
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    assert_eq!(rows(&bi, "SELECT 1").await, ["1"]);
    // The login itself is gone: so is the session, whoever it acts for.
    bi.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
    change(&running, "{name: 'bi',", "{name: 'bi', disabled: true,").await;
    let end = bi.simple_query("SELECT count(*) FROM emp").await.unwrap_err();
    assert!(end.is_closed() || end.as_db_error().is_some_and(|e| e.severity() == "FATAL"), "{end:?}");
}

async fn refused_as(client: &Client, user: &str, sql: &str) {
    assert_eq!(code(client, sql).await, "42501", "{sql}");
    assert_eq!(rows(client, "SHOW sqlveil.user").await, [user], "{sql}");
}
