//! A PostgreSQL database as a directory.

use crate::papers::Papers;
use crate::stage::{Database, database_port, nothing, people, refused, sees};

#[tokio::test(flavor = "multi_thread")]
async fn queries_say_groups_and_attributes() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let directory = hr.directory(&papers, "hr", database_port(), "    iam: corp\n");
    let running =
        people(&["ana", "bob", "kim", "eve"]).await.config(&format!("directories:\n{directory}")).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
    let bob = running.client("bob").await;
    assert_eq!(sees(&bob).await.unwrap(), "bob: Bonn Rome");
    assert_eq!(bob.query("SELECT * FROM pay", &[]).await.unwrap().len(), 1);
    for user in ["kim", "eve"] {
        assert_eq!(sees(&running.client(user).await).await, nothing(), "{user}");
    }
}

/// Two directories of one provider, the identity file, and a group's own attributes: all of it together.
#[tokio::test(flavor = "multi_thread")]
async fn what_several_say_of_a_user_of_theirs_is_taken_together() {
    let (papers, hr, crm) = (Papers::new(), Database::new().await, Database::new().await);
    hr.sql("DELETE FROM hr.traits").await;
    crm.sql("DELETE FROM hr.membership; INSERT INTO hr.traits VALUES ('ana', 'city', 'Rome'), ('ana', 'city', NULL), ('ana', '', 'x')").await;
    let directories = [
        hr.directory(&papers, "hr", database_port(), "    iam: corp\n"),
        crm.directory(&papers, "crm", database_port(), "    iam: corp\n"),
    ];
    let running = people(&["ana"]).await.config(&format!("directories:\n{}", directories.concat())).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo Rome");
}

/// The transaction can only read, whatever the query does; a query that fails lets nobody in; one that takes too long neither.
#[tokio::test(flavor = "multi_thread")]
async fn queries_only_read_and_end_in_time() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    hr.sql(&format!(
        "CREATE FUNCTION hr.note(who text) RETURNS SETOF text LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO hr.staff VALUES ('noted'); RETURN NEXT 'Staff'; END $$;
         GRANT INSERT ON hr.staff TO {}",
        hr.name
    ))
    .await;
    for query in
        ["SELECT hr.note($1)", "SELECT pg_sleep(30)::text || $1", "SELECT team FROM hr.nowhere WHERE login = $1"]
    {
        let rest = format!("groups: {query}\n    iam: corp\n    timeout: 1s\n");
        let directory = hr.directory(&papers, "hr", database_port(), &rest);
        let running = people(&["ana"]).await.config(&format!("directories:\n{directory}")).start().await;
        let began = std::time::Instant::now();
        assert_eq!(refused(&running, "ana").await.0, "57P03", "{query}");
        assert!(began.elapsed().as_secs() < 5, "{query}");
    }
    let noted: i64 =
        hr.admin.query_one("SELECT count(*) FROM hr.staff WHERE login = 'noted'", &[]).await.unwrap().get(0);
    assert_eq!(noted, 0);
}

/// A database that keeps no one encoding gives bytes as they are: what is no text is not nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_refused_not_left_out() {
    let papers = Papers::new();
    let hr = Database::with("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0").await;
    hr.sql("INSERT INTO hr.membership VALUES ('bob', E'\\xff')").await;
    let directory = hr.directory(&papers, "hr", database_port(), "    iam: corp\n");
    let running = people(&["ana", "bob"]).await.config(&format!("directories:\n{directory}")).start().await;
    assert_eq!(refused(&running, "bob").await.0, "57P03");
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
}

/// Whoever may make tables in the directory's database does not say what a query means, nor does what its login begins with.
#[tokio::test(flavor = "multi_thread")]
async fn names_in_queries_mean_what_they_say() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    hr.sql(&format!(
        "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO {0};
         CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'ana' $$;
         ALTER ROLE {0} SET search_path = trap, pg_catalog; ALTER ROLE {0} SET standard_conforming_strings = off",
        hr.name
    ))
    .await;
    let rest = "groups: SELECT team FROM hr.membership WHERE login = lower($1)\n    iam: corp\n";
    let directory = hr.directory(&papers, "hr", database_port(), rest);
    let running = people(&["ana", "kim"]).await.config(&format!("directories:\n{directory}")).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn");
    assert_eq!(sees(&running.client("kim").await).await, nothing());
}
