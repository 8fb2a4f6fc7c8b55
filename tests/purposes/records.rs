//! What the audit says of statements for others: both names, and no signature.

use crate::acting::running;
use crate::rows;
use crate::signed::comment;
use crate::support::Log;
use tokio_postgres::NoTls;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_both_and_holds_no_signature() {
    let log = Log::listen("audit=info,sqlveil=debug");
    let running = running().await;
    let bi = running.client("bi").await;
    rows(&bi, "SELECT 1").await;
    rows(&bi, "SET sqlveil.user = 'ana'; SELECT count(*) FROM emp").await;
    assert!(bi.simple_query("SELECT * FROM pay").await.is_err());
    let mut config = running.client_config("bi3");
    let name = format!(
        "sqlveil {}",
        crate::signed::signed_as("bi3", &format!("user=bob expires={}", crate::signed::now() + 60))
    );
    let (bi3, connection) = config.application_name(&name).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    rows(&bi3, "SELECT count(*) FROM emp").await;
    let bi2 = running.client("bi2").await;
    rows(&bi2, &format!("{} SELECT count(*) FROM emp", comment("aud"))).await;
    assert!(bi2.simple_query(&format!("{} SELECT 1", comment("eve"))).await.is_err());
    drop((bi, bi2, bi3, running));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let log = log.text();
    let record = |parts: &[&str]| {
        let found = log.lines().any(|line| line.contains(" audit: ") && parts.iter().all(|part| line.contains(part)));
        assert!(found, "no record with {parts:?}");
    };
    record(&["user=\"ana\"", "login=\"bi\"", "decision=\"allowed\"", "sources=\"emp\""]);
    record(&["user=\"ana\"", "login=\"bi\"", "decision=\"refused\"", "code=\"42P01\""]);
    record(&["user=\"aud\"", "login=\"bi2\"", "decision=\"allowed\"", "sources=\"emp\""]);
    record(&["user=\"bi2\"", "decision=\"refused\"", "code=\"42501\""]);
    record(&["user=\"bob\"", "login=\"bi3\"", "decision=\"allowed\"", "sources=\"emp\""]);
    let own = log
        .lines()
        .any(|line| line.contains("user=\"bi\"") && !line.contains("login=") && line.contains("kind=\"SELECT\""));
    assert!(own, "what the login does for itself names one");
    assert!(!log.contains("signature="), "a signature is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_names_both_and_holds_no_signature_even_where_it_keeps_texts() {
    let mut running = crate::acting::stage_with("audit: {folder: trail, statements: kept}").await.start().await;
    let bi = running.client("bi").await;
    rows(&bi, "SET sqlveil.user = 'ana'; SELECT count(*) FROM emp").await;
    let mut config = running.client_config("bi3");
    let signed = crate::signed::signed_as("bi3", &format!("user=bob expires={}", crate::signed::now() + 60));
    let (bi3, connection) = config.application_name(format!("sqlveil {signed}")).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    rows(&bi3, "SELECT count(*) AS theirs FROM emp").await;
    let bi2 = running.client("bi2").await;
    rows(&bi2, &format!("{} SELECT count(*) AS signed FROM emp", comment("aud"))).await;
    assert!(bi2.simple_query(&format!("{} SELECT 1", comment("eve"))).await.is_err());
    drop((bi, bi2, bi3));
    running.stop().await;
    let folder = std::fs::read_dir(running.folder().join("trail")).unwrap();
    let text: String = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let record = |parts: &[&str]| {
        let found = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no record with {parts:?} in {text}");
    };
    record(&["\"user\":\"ana\",\"login\":\"bi\"", "\"decision\":\"allowed\"", "FROM emp"]);
    record(&["\"user\":\"bob\",\"login\":\"bi3\"", "AS theirs"]);
    record(&["\"user\":\"aud\",\"login\":\"bi2\"", "AS signed"]);
    record(&["\"user\":\"bi2\"", "\"decision\":\"refused\"", "\"code\":\"42501\""]);
    let found: Vec<&str> = text.lines().filter(|line| line.contains("signature=")).collect();
    assert!(found.is_empty(), "a signature is in the trail: {found:#?}");
}
