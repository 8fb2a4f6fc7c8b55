//! A service login acts for users of directories.

use crate::gate::{Gate, Way};
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, CITIES, code, ldap, ldap_directory, people, person};
use crate::support::PASSWORD;
use std::time::{Duration, Instant};

/// Whom it may act for is said by a group of the directory; he is in no file. What is not known yet is asked for before the statement is
/// decided, whether it is set, asked for at login, or set in a string of several statements.
#[tokio::test(flavor = "multi_thread")]
async fn for_users_and_groups_that_directories_know() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let gate = Gate::to(slapd.port).await;
    let config = format!(
        "{}impersonation: [{{login: bi, groups: [{{name: Staff, iam: corp}}]}}]\n",
        ldap_directory(&papers, gate.port, &format!("users: any, refresh: 1s, grace: 6s, timeout: 2s, {BY_MEMBER}"))
    );
    let running = people(&[]).await.raw_user(&person("bi", "local")).config(&config).start().await;
    let bi = running.client("bi").await;
    let before = gate.passed();
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    let ask = async || bi.query_one(CITIES, &[]).await.map(|row| row.get::<_, String>(0)).map_err(|error| code(&error));
    assert_eq!(ask().await.unwrap(), "ana: Bonn Oslo");
    assert_eq!(gate.passed(), before + 1);
    // By groups in groups, in one string with what is asked; not for who is not in it, nor for nobody.
    let rows = bi.simple_query(&format!("SET sqlveil.user = 'tom'; {CITIES}")).await.unwrap();
    assert!(format!("{rows:?}").contains("tom: Bonn Rome"), "{rows:?}");
    for nobody in ["kim", "nobody", "ANA", "*", "ana ", "ana)(uid=*"] {
        let error = bi.batch_execute(&format!("SET sqlveil.user = '{nobody}'")).await.unwrap_err();
        assert_eq!(code(&error), ("42501".to_owned(), format!("permission denied to act for user \"{nobody}\"")));
    }
    // At login.
    let mut at_login = running.client_config("bi");
    at_login.password(PASSWORD).options("-c sqlveil.user=bob");
    let (bob, connection) = at_login.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(bob.query_one(CITIES, &[]).await.unwrap().get::<_, &str>(0), "bob: Bonn Rome");
    // Out of the group, out of reach.
    slapd.set("cn=Staff,ou=groups,dc=example,dc=org", "member", &["uid=ana,ou=people,dc=example,dc=org"]).await;
    running.eventually("not for bob any more", async |_| bob.query_one(CITIES, &[]).await.is_err()).await;
    // What is not to be had is waited for once, and not for long.
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    gate.set(Way::Stalled);
    running.eventually("not known any more", async |_| ask().await.is_err()).await;
    let since = Instant::now();
    assert!(bi.batch_execute("SET sqlveil.user = 'bob'").await.is_err());
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    assert_eq!(bi.query_one("SELECT current_user::text", &[]).await.unwrap().get::<_, &str>(0), "bi");
    gate.set(Way::Open);
    running.eventually("ana again", async |_| bi.batch_execute("SET sqlveil.user = 'ana'").await.is_ok()).await;
    assert_eq!(ask().await.unwrap(), "ana: Bonn Oslo");
}
