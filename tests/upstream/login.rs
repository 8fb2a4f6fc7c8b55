//! Authentication methods and the settings a session begins with.

use crate::support::{PASSWORD, ask, connection, over_tls, session, shared, value};
use sqlveil::config::tls::SslMode;
use sqlveil::config::{Connection, Host, Secret};
use sqlveil::upstream::catalog_client;
use std::time::Duration;

fn as_user(user: &str, password: Option<&str>) -> Connection {
    Connection { user: user.into(), password: password.map(Secret::new), ..connection(&shared().server) }
}

#[tokio::test]
async fn every_method_logs_in() {
    for (user, password) in [("service", Some(PASSWORD)), ("trusted", None), ("hashed", Some(PASSWORD))] {
        let mut session = session(as_user(user, password)).await.unwrap();
        assert_eq!(value(&mut session, "SELECT session_user").await, user);
        assert!(session.cancel_key().is_some());
        assert!(session.parameters().iter().any(|(name, _)| name == "server_version"));
    }
}

#[tokio::test]
async fn the_password_goes_in_the_clear_only_over_tls() {
    let refusal = session(as_user("clear", Some(PASSWORD))).await.unwrap_err();
    assert_eq!(refusal, ("08006", "could not connect to warehouse \"warehouse\": the service login failed".into()));
    let mut secure = over_tls("localhost", SslMode::Require, None);
    secure.user = "clear".into();
    assert_eq!(value(&mut session(secure).await.unwrap(), "SELECT session_user").await, "clear");
}

#[tokio::test]
async fn a_failed_login_says_nothing_of_the_account() {
    for wrong in [
        as_user("service", Some("wrong horse")),
        as_user("service", None),
        as_user("hashed", Some("wrong horse")),
        as_user("nobody_of_that_name", Some(PASSWORD)),
    ] {
        let (code, message) = session(wrong).await.unwrap_err();
        assert_eq!(code, "08006");
        assert_eq!(message, "could not connect to warehouse \"warehouse\": the service login failed");
    }
    let missing = Connection { database: "missing".into(), ..connection(&shared().server) };
    let (code, message) = session(missing).await.unwrap_err();
    assert_eq!((code, message.ends_with("its database does not exist")), ("08006", true));
}

#[tokio::test]
async fn a_unix_socket() {
    let shared = shared();
    let host = Host::Unix(shared.server.socket_folder().to_owned());
    let mut session = session(Connection { host, ..connection(&shared.server) }).await.unwrap();
    assert_eq!(value(&mut session, "SELECT coalesce(inet_client_addr()::text, 'local')").await, "local");
    let nowhere = Connection { host: Host::Unix("/nonexistent".into()), ..connection(&shared.server) };
    let (code, message) = crate::support::session(nowhere).await.unwrap_err();
    assert_eq!((code, message.ends_with("no socket there")), ("08006", true));
}

#[tokio::test]
async fn pinned_settings_survive_every_reset() {
    let mut wanted = connection(&shared().server);
    wanted.query_timeout = Some(Duration::from_millis(12_345));
    let mut session = session(wanted).await.unwrap();
    let settings = [
        ("search_path", "pg_catalog, pg_temp"),
        ("standard_conforming_strings", "on"),
        ("client_encoding", "UTF8"),
        ("default_transaction_read_only", "off"),
        ("row_security", "on"),
        ("application_name", "sqlveil"),
        ("statement_timeout", "12345ms"),
    ];
    for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL"] {
        ask(&mut session, "SET search_path = public").await;
        ask(&mut session, "SET standard_conforming_strings = off").await;
        ask(&mut session, "SET default_transaction_read_only = on").await;
        let before = reset == "SELECT 1";
        ask(&mut session, reset).await;
        for (name, value_wanted) in settings {
            let changed = before
                && matches!(name, "search_path" | "standard_conforming_strings" | "default_transaction_read_only");
            let found = value(&mut session, &format!("SHOW {name}")).await;
            assert_eq!(found == value_wanted, !changed, "{name} after {reset}: {found}");
        }
    }
    // What a temporary table is called stands for nothing that a name without a schema means.
    ask(&mut session, "CREATE TEMP TABLE pg_class ()").await;
    assert_ne!(value(&mut session, "SELECT count(*)::text FROM pg_class").await, "0");
}

#[tokio::test]
async fn the_query_timeout_ends_a_query() {
    let mut limited = connection(&shared().server);
    limited.query_timeout = Some(Duration::from_millis(50));
    let mut session = session(limited).await.unwrap();
    assert_eq!(ask(&mut session, "SELECT pg_sleep(20)").await.error.as_deref(), Some("57014"));
}

#[tokio::test]
async fn the_catalog_client_is_pinned_too() {
    let shared = shared();
    let host = Host::Unix(shared.server.socket_folder().to_owned());
    for config in [
        connection(&shared.server),
        over_tls("localhost", SslMode::VerifyFull, Some("root.crt")),
        Connection { host, ..connection(&shared.server) },
    ] {
        let client = catalog_client(&config).await.unwrap();
        for (name, wanted) in [("search_path", ""), ("default_transaction_read_only", "on")] {
            let row = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), wanted, "{name}");
        }
        let row = client.query_one("SELECT $1::int + 1", &[&41]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 42);
        let ssl = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
        let row = client.query_one(ssl, &[]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), config.tls.mode == SslMode::VerifyFull);
    }
    let refusal = catalog_client(&as_user("clear", Some(PASSWORD))).await.map(drop).unwrap_err();
    assert_eq!(refusal.code.0, "08006");
}
