//! How much is taken of a user, asked at once, and remembered.

use crate::gate::Gate;
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, Database, database_port, ldap, ldap_directory, people, refused, sees};
use crate::support::PASSWORD;
use std::time::Duration;

/// More than is taken is refused, not cut: what is cut off might be what hides something.
#[tokio::test(flavor = "multi_thread")]
async fn too_much_of_a_user_is_refused_and_as_much_as_may_be_is_not() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let directory = hr.directory(&papers, "hr", database_port(), "    iam: corp\n");
    hr.sql(
        "INSERT INTO hr.membership SELECT 'most', 'g' || n FROM generate_series(1, 999) n; INSERT INTO hr.membership VALUES ('most', 'Staff');
         INSERT INTO hr.membership SELECT 'twice', repeat('x', 1000) FROM generate_series(1, 9999) n; INSERT INTO hr.membership VALUES ('twice', 'Staff');
         INSERT INTO hr.membership SELECT 'groups', 'g' || n FROM generate_series(1, 1001) n;
         INSERT INTO hr.membership VALUES ('long', repeat('x', 1025));
         INSERT INTO hr.membership VALUES ('vast', repeat('x', 100000000));
         INSERT INTO hr.membership SELECT 'rows', 'Staff' FROM generate_series(1, 10001);
         INSERT INTO hr.traits SELECT 'values', 'city', n::text FROM generate_series(1, 1001) n;
         INSERT INTO hr.traits SELECT 'names', 'n' || n, 'x' FROM generate_series(1, 201) n;
         INSERT INTO hr.traits SELECT 'bytes', 'n' || n % 100, repeat('x', 1000) || n FROM generate_series(1, 300) n",
    )
    .await;
    let too_much = ["groups", "rows", "long", "vast", "values", "names", "bytes"];
    let mut names = too_much.to_vec();
    names.extend(["most", "twice", "ana"]);
    let running = people(&names).await.config(&format!("directories:\n{directory}")).start().await;
    for user in too_much {
        assert_eq!(refused(&running, user).await.0, "57P03", "{user}");
        // It is about him alone.
        assert!(running.try_client("ana", PASSWORD, running.database()).await.is_ok());
    }
    assert_eq!(sees(&running.client("most").await).await.unwrap(), "most: Bonn");
    assert_eq!(sees(&running.client("twice").await).await.unwrap(), "twice: Bonn", "rows that say the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_asked_at_once_than_is_said() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let rest = "groups: SELECT pg_sleep(0.1)::text || $1\n    iam: corp\n    lookups: 2\n";
    let directory = hr.directory(&papers, "hr", database_port(), rest);
    let users: Vec<String> = (0..12).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let running = people(&names).await.config(&format!("directories:\n{directory}")).start().await;
    let mut logins = tokio::task::JoinSet::new();
    for user in &users {
        let mut config = running.client_config(user);
        config.password(PASSWORD);
        logins.spawn(async move { config.connect(tokio_postgres::NoTls).await.map(drop) });
    }
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sqlveil directory' AND datname = current_database()";
    let mut most = 0i64;
    while !logins.is_empty() {
        most = most.max(hr.admin.query_one(busy, &[]).await.unwrap().get(0));
        while let Some(login) = logins.try_join_next() {
            login.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((1..=2).contains(&most), "{most}");
}

/// Beyond the bound those are forgotten whom nobody has asked for longest, and no live one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_bounded() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    let gate = Gate::to(slapd.port).await;
    let names: Vec<String> = (0..30).map(|n| format!("user{n}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("ana");
    let config = format!("{}limits: {{directory_users: 8}}\n", ldap_directory(&papers, gate.port, BY_MEMBER));
    let running = people(&all).await.config(&config).start().await;
    let ana = running.client("ana").await;
    for name in &names {
        drop(running.client(name).await);
    }
    assert_eq!(gate.passed(), 31);
    assert_eq!(sees(&ana).await.unwrap(), "ana: Bonn Oslo");
    drop(running.client("ana").await);
    assert_eq!(gate.passed(), 31, "she is known still");
    drop(running.client("user0").await);
    assert_eq!(gate.passed(), 32, "he is not");
}
