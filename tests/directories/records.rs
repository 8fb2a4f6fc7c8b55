//! What the log says of directories, at every level of every library: what is wrong, once, and nothing that is in them.

use crate::gate::{Gate, Way};
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, Database, database_port, ldap, ldap_directory, people, refused, sees};
use crate::support::{Log, PASSWORD};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_is_wrong_once_and_holds_no_secret() {
    let log = Log::listen("trace,tokio_postgres=off,mio=off,notify=off");

    let (papers, hr) = (Papers::new(), Database::new().await);
    let slapd = ldap(&papers, "");
    let gate = Gate::to(database_port()).await;
    let rest = "groups: SELECT team::int::text FROM hr.membership WHERE login = $1\n    iam: corp\n    refresh: 1s\n    grace: 4s\n    \
                timeout: 3s\n";
    hr.sql("UPDATE hr.membership SET team = 'kept to itself' WHERE login = 'bob'; DELETE FROM hr.membership WHERE login = 'ana'").await;
    let directory = hr.directory(&papers, "recorded", gate.port, rest);
    let config = format!("{}{directory}", ldap_directory(&papers, slapd.port, BY_MEMBER));
    let running = people(&["ana", "bob", "kim"]).await.config(&config).start().await;
    let ana = running.client("ana").await;
    // A query that fails because of what is in the database.
    for _ in 0..2 {
        assert_eq!(refused(&running, "bob").await.0, "57P03");
    }
    let unusable = log.lines(&["ERROR", "directory=\"recorded\"", "user=\"bob\""]);
    assert_eq!(unusable.len(), 1, "{unusable:#?}");
    assert!(unusable[0].contains("the query fails with 22P02"), "{unusable:#?}");
    assert!(log.lines(&["cannot be asked", "directory=\"recorded\""]).is_empty(), "it is about bob alone");

    gate.set(Way::Shut);
    running
        .eventually("statements are refused", async |_| sees(&ana).await.is_err_and(|(code, _)| code == "58000"))
        .await;
    for user in ["ana", "kim"] {
        assert_eq!(refused(&running, user).await.0, "57P03");
    }
    running
        .eventually("the log says so", async |_| !log.lines(&["its users are refused", "\"recorded\""]).is_empty())
        .await;
    gate.set(Way::Open);
    running.eventually("it is back", async |_| !sees(&ana).await.is_err_and(|(code, _)| code == "58000")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for said in ["the directory cannot be asked", "its users are refused", "the directory answers again"] {
        let lines = log.lines(&[said, "directory=\"recorded\""]);
        assert_eq!(lines.len(), 1, "{said}: {lines:#?}");
    }
    let records = log.lines(&["audit", "decision=\"login refused\"", "user=\"kim\"", "57P03", "recorded"]);
    assert!(!records.is_empty(), "the record of the login says why");
    drop(running);
    for secret in ["kept to itself", PASSWORD, "reader's password"] {
        assert_eq!(log.lines(&[secret]), [""; 0], "`{secret}` is in the log");
    }
}
