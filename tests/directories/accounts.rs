//! Tokens and temporary accounts of the command line, beside directories.

use crate::commands::{account, known, run, token};
use crate::gate::{Gate, Way};
use crate::papers::Papers;
use crate::stage::{Database, database_port, nothing, people, refused, sees};
use crate::support::Running;

/// A database through a gate, which says who there is as well.
async fn running(papers: &Papers, hr: &Database, gate: &Gate) -> Running {
    let rest = "user: SELECT login FROM hr.staff WHERE login = $1\n    groups: SELECT team FROM hr.membership WHERE login = $1\n    \
                iam: corp\n    users: any\n    refresh: 1s\n    grace: 5s\n    timeout: 3s\n";
    let directory = hr.directory(papers, "hr", gate.port, rest);
    people(&["ana"]).await.config(&format!("limits: {{failed_logins: 0}}\ndirectories:\n{directory}")).start().await
}

/// A token has its own groups, never those of somebody in a directory who is called as it is; nor does it miss a directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_nothing_by_its_name_and_needs_no_directory() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let gate = Gate::to(database_port()).await;
    let running = running(&papers, &hr, &gate).await;
    let one = token(&running, &["--iam", "corp"]);
    let own = token(&running, &["--iam", "corp", "--group", "Staff"]);
    for user in [&one.user, &own.user] {
        hr.sql(&format!(
            "INSERT INTO hr.staff VALUES ('{user}'); INSERT INTO hr.membership VALUES ('{user}', 'Staff'), ('{user}', 'Payroll')"
        ))
        .await;
    }
    known(&running, &one.user, &one.secret).await;
    known(&running, &own.user, &own.secret).await;
    let asked = gate.passed();
    let (client, with_own) = (
        running.try_client(&one.user, &one.secret, running.database()).await.unwrap(),
        running.try_client(&own.user, &own.secret, running.database()).await.unwrap(),
    );
    assert_eq!(sees(&client).await, nothing());
    assert_eq!(sees(&with_own).await.unwrap(), format!("{}: Bonn", own.user));
    assert_eq!(crate::stage::code(&with_own.simple_query("SELECT * FROM pay").await.unwrap_err()).0, "42P01");
    assert_eq!(gate.passed(), asked, "nobody was asked");
    gate.set(Way::Shut);
    assert_eq!(refused(&running, "ana").await.0, "57P03");
    assert!(running.try_client(&own.user, &own.secret, running.database()).await.is_ok());
    run(&running, &["token", "revoke", &own.id]).fine();
    running.eventually("a revoked one is gone", async |_| with_own.is_closed()).await;
}

/// A temporary account has what its user has, now; it is refused with him while his directory does not answer, and lives to see it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_account_follows_its_user() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let gate = Gate::to(database_port()).await;
    let running = running(&papers, &hr, &gate).await;
    let (name, password) = account(&running, &["--user", "ana"]);
    // Called as an account is, it is nobody's groups that count but its user's.
    hr.sql(&format!("INSERT INTO hr.membership VALUES ('{name}', 'Payroll')")).await;
    known(&running, &name, &password).await;
    let client = running.try_client(&name, &password, running.database()).await.unwrap();
    assert_eq!(sees(&client).await.unwrap(), "ana: Bonn");
    assert_eq!(crate::stage::code(&client.simple_query("SELECT * FROM pay").await.unwrap_err()).0, "42P01");
    hr.sql("DELETE FROM hr.membership WHERE login = 'ana'").await;
    running.eventually("ana is out", async |_| sees(&client).await == nothing()).await;
    hr.sql("INSERT INTO hr.membership VALUES ('ana', 'Staff')").await;
    running.eventually("ana is in", async |_| sees(&client).await.is_ok()).await;
    gate.set(Way::Shut);
    running.eventually("not known", async |_| sees(&client).await.is_err_and(|(code, _)| code == "58000")).await;
    let error = running.try_client(&name, &password, running.database()).await.err().unwrap();
    assert_eq!(crate::stage::code(&error).0, "57P03");
    gate.set(Way::Open);
    running.eventually("it goes on", async |_| sees(&client).await.is_ok()).await;
}
