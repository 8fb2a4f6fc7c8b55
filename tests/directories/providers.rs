//! What a directory says belongs to its provider, and is about users of that provider only.

use crate::papers::{ISSUER, Papers, Signer};
use crate::stage::{
    BY_MEMBER, Database, database_port, ldap, ldap_directory, nothing, people, person, refused, sees, stage,
};
use serde_json::json;

/// Somebody of the same name with another provider is somebody else; and a group of the same name is another group.
#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups_of_another_provider_are_others() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let directory = hr.directory(&papers, "hr", database_port(), "    iam: blue\n");
    let config = format!("directories:\n{directory}");
    // The bob of the directory is blue's; this one is corp's, and the file gives him nothing.
    let corp = people(&["bob"]).await.config(&config).start().await;
    assert_eq!(sees(&corp.client("bob").await).await, nothing());
    // Blue's own bob: the policy of cities takes Staff of any provider, that of pay the Payroll of corp. What Staff of corp passes on is
    // not for Staff of blue.
    let blue = stage().await.raw_user(&person("bob", "blue")).config(&config).start().await;
    let bob = blue.client("bob").await;
    assert_eq!(sees(&bob).await.unwrap(), "bob: Rome");
    let error = bob.simple_query("SELECT * FROM pay").await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42P01");
}

/// A directory that is down keeps nobody else out.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_directory_is_missed_by_its_own_users_alone() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let directories = [
        hr.directory(&papers, "hr", database_port(), "    iam: corp\n"),
        hr.directory(&papers, "old", dead, "    iam: old\n    timeout: 1s\n"),
    ];
    let stage = people(&["ana"]).await.raw_user(&person("ida", "old"));
    let running = stage.config(&format!("directories:\n{}", directories.concat())).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
    assert_eq!(refused(&running, "ida").await.0, "57P03");
}

/// Users of a directory need not be in the identity file where it may say who there is; the identity file comes first, and two providers
/// with somebody of one name are nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_may_say_who_there_is() {
    let (papers, blue) = (Papers::new(), Database::new().await);
    let slapd = ldap(&papers, "");
    let queries = "user: SELECT login FROM hr.staff WHERE login = $1\n    groups: SELECT team FROM hr.membership WHERE login = $1\n    \
                   iam: blue\n    users: any\n";
    blue.sql("DELETE FROM hr.staff WHERE login <> 'kim'; INSERT INTO hr.staff VALUES ('tom'); INSERT INTO hr.membership VALUES ('tom', 'Staff')").await;
    let config = |users: &str| {
        format!(
            "{}{}authentication:\n- {{method: ldap, server: corp}}\n",
            ldap_directory(&papers, slapd.port, &format!("users: {users}, {BY_MEMBER}")),
            blue.directory(&papers, "blue", database_port(), queries)
        )
    };
    let stage = stage().await.raw_user("{name: bob, iam: corp, disabled: true}").raw_user("{name: kim, iam: local}");
    let running = stage.config(&config("any")).start().await;
    let login = async |user: &str, password: &str| running.try_client(user, password, running.database()).await;
    assert_eq!(sees(&login("ana", "ana's password").await.unwrap()).await.unwrap(), "ana: Bonn Oslo");
    // In the file, and disabled there.
    assert!(login("bob", "bob's password").await.is_err());
    // In the file, of another provider.
    assert_eq!(sees(&login("kim", "kim's password").await.unwrap()).await, nothing());
    // Known to both directories.
    assert!(login("tom", "tom's password").await.is_err());
    // LDAP takes his name in capitals, too.
    for other in ["ANA", "ana ", "Ana"] {
        assert!(login(other, "ana's password").await.is_err(), "{other}");
    }
    // With `declared` nobody else.
    let running = crate::stage::stage().await.config(&config("declared")).start().await;
    assert!(running.try_client("ana", "ana's password", running.database()).await.is_err());
}

/// A session belongs to the provider it began with.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_become_another_providers() {
    let (papers, red, blue) = (Papers::new(), Database::new().await, Database::new().await);
    let slapd = ldap(&papers, "");
    let queries = |iam: &str| {
        format!(
            "user: SELECT login FROM hr.staff WHERE login = $1\n    groups: SELECT team FROM hr.membership WHERE login = $1\n    \
             iam: {iam}\n    users: any\n    refresh: 1s\n    grace: 10s\n"
        )
    };
    blue.sql("DELETE FROM hr.staff").await;
    let config = format!(
        "{}directories:\n{}{}authentication:\n- {{method: ldap, server: corp}}\n",
        crate::stage::ldap_server(&papers, slapd.port),
        red.directory(&papers, "red", database_port(), &queries("red")),
        blue.directory(&papers, "blue", database_port(), &queries("blue"))
    );
    let running = stage().await.config(&config).start().await;
    let ana = running.try_client("ana", "ana's password", running.database()).await.unwrap();
    assert!(sees(&ana).await.is_ok());
    red.sql("DELETE FROM hr.staff").await;
    blue.sql("INSERT INTO hr.staff VALUES ('ana')").await;
    running.eventually("she is gone", async |_| ana.is_closed() || ana.simple_query("SELECT 1").await.is_err()).await;
    running
        .eventually("the other ana may come", async |r| {
            r.try_client("ana", "ana's password", r.database()).await.is_ok()
        })
        .await;
}

/// Token claims, the identity file and a directory of one provider: all of it; a token of another provider gets none of it.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_directories_add_up_within_a_provider() {
    let (papers, hr, key) = (Papers::new(), Database::new().await, Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let issuer = |iam: &str, users: &str| {
        format!(
            "{{issuer: {ISSUER}, audience: veil, iam: {iam}, users: {users}, keys: {{file: {file}}}, \
             claims: {{attributes: {{city: city}}}}}}"
        )
    };
    let config = |iam: &str, users: &str| {
        format!(
            "issuers: {{sso: {}}}\nauthentication:\n- {{method: jwt, issuer: sso}}\ndirectories:\n{}",
            issuer(iam, users),
            hr.directory(&papers, "hr", database_port(), "    iam: corp\n")
        )
    };
    let login = async |running: &crate::support::Running, user: &str| {
        let token = key.token(user, json!({"city": "Rome"}));
        running.try_client(user, &token, running.database()).await
    };
    let running = people(&["ana"]).await.config(&config("corp", "declared")).start().await;
    assert_eq!(sees(&login(&running, "ana").await.unwrap()).await.unwrap(), "ana: Bonn Oslo Rome");
    assert!(login(&running, "bob").await.is_err(), "the directory is for users of the file");
    let running = people(&["ana"]).await.config(&config("blue", "any")).start().await;
    assert!(login(&running, "ana").await.is_err(), "corp's ana");
    // Blue's bob is known by his token alone; corp's directory is not about him.
    assert_eq!(sees(&login(&running, "bob").await.unwrap()).await, nothing());
}
