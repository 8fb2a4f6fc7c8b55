//! The sslmodes of libpq (manual 34.19.1) against a server certificate for `localhost` signed by the authority in `root.crt`.

use crate::support::{connection, over_tls, session, shared, value};
use sqlveil::config::Connection;
use sqlveil::config::tls::{ClientTls, SslMode};
use sqlveil::upstream::{Pool, cancel};
use std::sync::Arc;

const IS_TLS: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn modes() {
    // What each mode must do: Some(on TLS or not), or None for a refusal.
    for (mode, host, roots, expected) in [
        (SslMode::Disable, "localhost", None, Some("f")),
        (SslMode::Prefer, "localhost", None, Some("t")),
        (SslMode::Require, "127.0.0.1", None, Some("t")),
        (SslMode::Require, "127.0.0.1", Some("root.crt"), Some("t")),
        (SslMode::Require, "localhost", Some("other.crt"), None),
        (SslMode::VerifyCa, "127.0.0.1", Some("root.crt"), Some("t")),
        (SslMode::VerifyCa, "localhost", Some("other.crt"), None),
        (SslMode::VerifyFull, "localhost", Some("root.crt"), Some("t")),
        (SslMode::VerifyFull, "127.0.0.1", Some("root.crt"), None),
        (SslMode::VerifyFull, "localhost", Some("other.crt"), None),
        // The server's own certificate as the root file.
        (SslMode::VerifyFull, "localhost", Some("server.crt"), Some("t")),
        (SslMode::VerifyFull, "127.0.0.1", Some("server.crt"), None),
        (SslMode::VerifyCa, "127.0.0.1", Some("server.crt"), Some("t")),
    ] {
        let case = format!("{mode:?} {host} {roots:?}");
        match (session(over_tls(host, mode, roots)).await, expected) {
            (Ok(mut session), Some(expected)) => assert_eq!(value(&mut session, IS_TLS).await, expected, "{case}"),
            (Err((code, message)), None) => {
                assert_eq!(code, "08006", "{case}");
                assert!(message.ends_with("TLS could not be established"), "{case}: {message}");
            }
            (other, _) => panic!("{case}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_without_tls() {
    let server =
        tokio::task::spawn_blocking(|| sqlveil::cli::demo::private_postgres::PrivatePostgres::start().unwrap())
            .await
            .unwrap();
    crate::support::create_roles(&server).await;
    let with = |mode| Connection { tls: ClientTls::load(mode, None).unwrap(), ..connection(&server) };
    assert_eq!(value(&mut session(with(SslMode::Prefer)).await.unwrap(), IS_TLS).await, "f");
    let (code, message) = session(with(SslMode::Require)).await.unwrap_err();
    assert_eq!((code, message.ends_with("it does not offer TLS")), ("08006", true));
}

#[tokio::test]
async fn pool_and_cancel_over_tls() {
    let pool = Pool::new(Arc::new(over_tls("localhost", SslMode::VerifyFull, Some("root.crt"))));
    let mut session = pool.acquire(pool.deadline()).await.unwrap();
    let target = session.cancel_key().unwrap();
    crate::support::send(&mut session, "SELECT pg_sleep(60)").await;
    // Not before it runs: a cancel of nothing is lost.
    crate::support::until_running(&shared().server, target.pid()).await;
    cancel(&target).await.unwrap();
    assert_eq!(crate::support::receive(&mut session).await.error.as_deref(), Some("57014"));
    session.release(true);
    crate::support::until(|| pool.occupancy().idle == 1).await;
    let session = pool.acquire(pool.deadline()).await.unwrap();
    assert_eq!(session.cancel_key().unwrap().pid(), target.pid());
}
