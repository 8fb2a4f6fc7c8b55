//! What `sqlveil check` and `sqlveil explain` say of directories.

use crate::papers::Papers;
use crate::stage::{BY_MEMBER, Database, database_port, ldap, ldap_directory, people};
use sqlveil::cli::{check, explain};

async fn checked(config: &str) -> String {
    let stage = people(&["ana"]).await.config(config);
    let mut out = Vec::new();
    assert!(check::run(&stage.write(), &mut out, false).await.unwrap(), "{}", String::from_utf8_lossy(&out));
    // As it is meant, not as it is laid out.
    let text = String::from_utf8(out).unwrap();
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_directories_and_points_at_what_is_wrong() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let slapd = ldap(&papers, "");
    let good = format!(
        "{}{}",
        ldap_directory(&papers, slapd.port, BY_MEMBER),
        hr.directory(&papers, "hr", database_port(), "    iam: corp\n")
    );
    let text = checked(&good).await;
    assert!(!text.contains("the directory"), "{text}");
    let nowhere = BY_MEMBER.replace("ou=groups", "ou=nowhere");
    let text = checked(&ldap_directory(&papers, slapd.port, &nowhere)).await;
    assert!(text.contains("the directory `corp` cannot be asked: there is no entry where it is to search"), "{text}");
    let text = checked(&ldap_directory(&papers, slapd.port, &format!("iam: crop, {BY_MEMBER}"))).await;
    assert!(text.contains("`corp` is asked about nobody: no user of the identity file is of `crop`"), "{text}");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(checked(&ldap_directory(&papers, dead, BY_MEMBER)).await.contains("the directory `corp` cannot be asked"));
    for (queries, why) in [
        ("groups: SELECT login, team FROM hr.membership WHERE login = $1", "the query has 2 columns and must have 1"),
        ("attributes: SELECT value FROM hr.traits WHERE login = $1", "the query has 1 columns and must have 2"),
        ("groups: SELECT team FROM membership WHERE login = $1", "relation \"membership\" does not exist"),
        ("groups: SELECT secret FROM hr.hidden WHERE login = $1", "permission denied for table hidden"),
    ] {
        hr.sql("CREATE TABLE IF NOT EXISTS hr.hidden (login text, secret text)").await;
        let rest = format!("{queries}\n    iam: corp\n");
        let config = format!("directories:\n{}", hr.directory(&papers, "hr", database_port(), &rest));
        let text = checked(&config).await;
        assert!(text.contains(why) && text.contains("config.yaml:"), "{why}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_knows_what_directories_say() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let stage = people(&["ana", "kim"]).await.config(&ldap_directory(&papers, slapd.port, BY_MEMBER));
    let config = stage.write();
    for (user, allowed) in [("ana", true), ("kim", false)] {
        let args = explain::Args {
            config: config.clone(),
            user: user.to_owned(),
            project: None,
            connection: None,
            format: explain::Format::Text,
            sql: "SELECT city FROM cities".to_owned(),
        };
        let mut out = Vec::new();
        explain::run(&args, &mut out, false).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.contains("Oslo"), allowed, "{text}");
    }
}
