//! Purposes as settings: psql's ways to choose one, and PostgreSQL's rules for what is set.

use crate::support::PASSWORD;
use crate::{code, rows, stage};
use std::process::Command;

const CASES: &str = "SELECT count(*) FROM cases";

#[tokio::test(flavor = "multi_thread")]
async fn psql_chooses_a_project_in_one_line() {
    let running = stage().await.start().await;
    let psql = |user: &str, args: &[&str]| running.psql(user, &[&["-A", "-t", "-q"], args].concat());
    let refused = psql("ana", &["-c", "SET sqlveil.project = 'fraud'"]);
    assert!(!refused.ok && refused.err.contains("Fraud.Cards: I use this against fraud alone"), "{}", refused.err);
    assert!(refused.err.contains("HINT:  If you agree, SET sqlveil.acknowledge = 'fraud'"), "{}", refused.err);
    assert!(!psql("ana+fraud", &["-c", CASES]).ok);
    assert_eq!(psql("ana", &["-c", "SET sqlveil.acknowledge = 'fraud'"]).err, "");
    let kept = std::fs::read_to_string(running.folder().join("acknowledgements.jsonl")).unwrap();
    assert!(kept.contains("\"text\":\"I use this against fraud alone\"") && kept.contains("\"time\":\"20"), "{kept}");
    assert_eq!(psql("ana+fraud", &["-c", CASES]).out, "2\n", "login suffix");
    assert_eq!(psql("ana", &["-c", "SET sqlveil.project = 'fraud'", "-c", CASES]).out, "2\n", "SET");
    assert_eq!(
        psql("ana", &["-c", "SET sqlveil.project = 'fraud'; SELECT count(*) FROM cases"]).out,
        "2\n",
        "one string"
    );
    assert_eq!(
        psql("ana+fraud", &["-c", "SHOW sqlveil.project", "-c", "RESET sqlveil.project", "-c", CASES]).out,
        "fraud\n0\n"
    );
    assert_eq!(psql("ana+free", &["-c", "SHOW sqlveil.project"]).out, "free\n");
    let outside = psql("bob+free", &["-c", "SELECT 1"]);
    assert!(!outside.ok && outside.err.contains("permission denied for project \"free\""), "{}", outside.err);
    // The startup option, as PGOPTIONS.
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-p",
        &running.port.to_string(),
        "-U",
        "ana",
        "-d",
        running.database(),
    ]);
    command.args(["-c", CASES]).env("PGPASSWORD", PASSWORD).env("PGOPTIONS", "-c sqlveil.project=fraud");
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_a_setting_as_any_other() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    ana.batch_execute("SET sqlveil.acknowledge = 'fraud'").await.unwrap();
    let shown = async || rows(&ana, "SHOW sqlveil.project").await.concat();
    // Local to a transaction, undone with it and with a savepoint.
    ana.batch_execute("BEGIN").await.unwrap();
    ana.batch_execute("SET LOCAL sqlveil.project = 'fraud'").await.unwrap();
    assert_eq!((shown().await.as_str(), rows(&ana, CASES).await.concat().as_str()), ("fraud", "2"));
    ana.batch_execute("SAVEPOINT s; SET sqlveil.project = 'free'").await.unwrap();
    assert_eq!((shown().await.as_str(), rows(&ana, CASES).await.concat().as_str()), ("free", "0"));
    ana.batch_execute("ROLLBACK TO s").await.unwrap();
    assert_eq!(shown().await, "fraud");
    ana.batch_execute("COMMIT").await.unwrap();
    assert_eq!((shown().await.as_str(), rows(&ana, CASES).await.concat().as_str()), ("", "0"));
    ana.batch_execute("BEGIN; SET sqlveil.project = 'fraud'; ROLLBACK").await.unwrap();
    assert_eq!(shown().await, "");
    ana.batch_execute("BEGIN; SET sqlveil.project = 'fraud'; COMMIT").await.unwrap();
    assert_eq!((shown().await.as_str(), rows(&ana, CASES).await.concat().as_str()), ("fraud", "2"));
    // A transaction that fails keeps what was before it.
    assert_eq!(code(&ana, "BEGIN; SET sqlveil.project = 'free'; SELECT 1/0; COMMIT").await, "22012");
    ana.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(shown().await, "fraud");
    // So does a string of statements, and COMMIT of a failed transaction.
    assert_eq!(code(&ana, "SET sqlveil.project = 'free'; SELECT 1/0").await, "22012");
    assert_eq!(shown().await, "fraud");
    for reset in [
        "RESET ALL",
        "DISCARD ALL",
        "SET sqlveil.project TO DEFAULT",
        "SET sqlveil.project = ''",
        "RESET sqlveil.project",
    ] {
        ana.batch_execute("SET sqlveil.project = 'fraud'").await.unwrap();
        ana.batch_execute(reset).await.unwrap();
        assert_eq!((shown().await.as_str(), rows(&ana, CASES).await.concat().as_str()), ("", "0"), "{reset}");
    }
    // Back to how the session began, when it began under one.
    let began = running.try_client("ana+fraud", PASSWORD, running.database()).await.unwrap();
    for reset in ["RESET ALL", "DISCARD ALL"] {
        began.batch_execute("RESET sqlveil.project").await.unwrap();
        began.batch_execute(reset).await.unwrap();
        assert_eq!(rows(&began, "SHOW sqlveil.project").await, ["fraud"], "{reset}");
    }
    assert_eq!(rows(&ana, "SELECT current_setting('sqlveil.project')").await, [""]);
    for sql in [
        "SELECT set_config('sqlveil.project', 'fraud', false)",
        "SET sqlveil.project = 'none'",
        "SET sqlveil.projects = 'fraud'",
    ] {
        assert_eq!(code(&ana, sql).await, "42501", "{sql}");
        assert_eq!(shown().await, "", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow_the_purpose() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    ana.batch_execute("SET sqlveil.acknowledge = 'fraud'").await.unwrap();
    let cases = ana.prepare(CASES).await.unwrap();
    let star = ana.prepare("SELECT * FROM emp WHERE id = $1").await.unwrap();
    ana.batch_execute("PREPARE p (int) AS SELECT ssn LIKE 'number%' FROM emp WHERE id = $1").await.unwrap();
    for (set, n, clear) in [
        ("RESET sqlveil.project", 0, "f"),
        ("SET sqlveil.project = 'fraud'", 2, "t"),
        ("SET sqlveil.project = 'free'", 0, "f"),
    ] {
        ana.batch_execute(set).await.unwrap();
        assert_eq!(ana.query_one(&cases, &[]).await.unwrap().get::<_, i64>(0), n, "{set}");
        let ssn: String = ana.query_one(&star, &[&1]).await.unwrap().get(2);
        assert_eq!(ssn == "number 1", clear == "t", "{set}");
        assert_eq!(rows(&ana, "EXECUTE p (1)").await, [clear], "{set}");
        assert_eq!(rows(&ana, "EXECUTE p (1); EXECUTE p (3)").await, [clear, clear], "{set}");
        assert_eq!(ana.query_one("EXECUTE p (1)", &[]).await.unwrap().get::<_, bool>(0), clear == "t", "{set}");
    }
    // In a transaction too, and back when it ends.
    ana.batch_execute("RESET sqlveil.project").await.unwrap();
    ana.batch_execute("BEGIN; SET LOCAL sqlveil.project = 'fraud'").await.unwrap();
    assert_eq!(rows(&ana, "EXECUTE p (1)").await, ["t"]);
    ana.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&ana, "EXECUTE p (1)").await, ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_type_that_changes_is_told_as_postgres_tells_it() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    let star = ana.prepare("SELECT * FROM emp").await.unwrap();
    let one = ana.prepare("SELECT id FROM emp").await.unwrap();
    ana.batch_execute("PREPARE p AS SELECT * FROM emp").await.unwrap();
    ana.batch_execute("PREPARE q AS SELECT count(*) FROM emp").await.unwrap();
    let data = std::fs::read_to_string(running.governance().join("data/data.yaml")).unwrap();
    let narrower = data.replace("table: emp\n", "table: emp\n    columns: [{name: id}, {name: ssn}, {name: city}]\n");
    assert_ne!(data, narrower);
    running.write("data/data.yaml", &narrower);
    running.proxy().reload_and_wait().await;
    for _ in 0..2 {
        let changed = ana.query(&star, &[]).await.unwrap_err();
        let changed = changed.as_db_error().unwrap();
        assert_eq!((changed.code().code(), changed.message()), ("0A000", "cached plan must not change result type"));
        assert_eq!(code(&ana, "EXECUTE p").await, "0A000");
        assert_eq!(ana.query(&one, &[]).await.unwrap().len(), 2, "its row type is the same");
        assert_eq!(rows(&ana, "EXECUTE q").await, ["2"]);
    }
    running.write("data/data.yaml", &data);
    running.proxy().reload_and_wait().await;
    assert_eq!(ana.query(&star, &[]).await.unwrap().len(), 2, "as it was");
    assert_eq!(rows(&ana, "EXECUTE p").await.len(), 2);
}

/// What an end user sets in his turn neither outlives it nor keeps anybody from clearing the session.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_sets_ends_with_his_transaction() {
    let running = crate::acting::running().await;
    let client = running.client("bi4").await;
    let path = rows(&client, "SHOW search_path").await;
    for user in ["ana", "bob"] {
        rows(&client, "BEGIN").await;
        rows(&client, &format!("SET LOCAL sqlveil.user = '{user}'")).await;
        rows(&client, "SET search_path = pg_catalog").await;
        rows(&client, "SET timezone = 'Asia/Tokyo'").await;
        if user == "ana" {
            rows(&client, "SET sqlveil.project = 'free'").await;
            assert_eq!(rows(&client, "SHOW sqlveil.project").await, ["free"]);
        }
        assert_eq!(rows(&client, "SELECT current_user").await, [user]);
        rows(&client, "COMMIT").await;
        assert_eq!(rows(&client, "SELECT current_user").await, ["bi4"]);
        assert_eq!(rows(&client, "SHOW sqlveil.project").await, [""]);
        assert_eq!(rows(&client, "SHOW search_path").await, path);
    }
    // Where the user may not be acted for any more, what poolers send still clears the session.
    let clients = [running.client("bi").await, running.client("bi").await];
    for client in &clients {
        rows(client, "SET sqlveil.user = 'ana'; SET sqlveil.project = 'free'").await;
    }
    crate::escalation::change(&running, "{name: 'ana',", "{name: 'ana', disabled: true,").await;
    for (client, sql) in clients.iter().zip(["RESET ALL", "DISCARD ALL"]) {
        assert_eq!(code(client, "SELECT 1").await, "42501", "{sql}");
        rows(client, sql).await;
        assert_eq!(rows(client, "SELECT current_user").await, ["bi"], "{sql}");
    }
}

/// Temporary tables of a user are not the login's either, while the transaction lasts.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_made_is_not_the_logins() {
    let running = crate::acting::running().await;
    let bi = running.client("bi").await;
    rows(&bi, "BEGIN; SET LOCAL sqlveil.user = 'ana'; CREATE TEMP TABLE loot AS SELECT * FROM emp").await;
    assert_eq!(rows(&bi, "SELECT count(*) FROM loot").await, ["2"]);
    rows(&bi, "RESET sqlveil.user").await;
    assert_eq!(code(&bi, "SELECT count(*) FROM loot").await, "25001");
    rows(&bi, "ROLLBACK").await;
    assert_eq!(code(&bi, "SELECT count(*) FROM loot").await, "42P01");
    let bi2 = running.client("bi2").await;
    let ana = crate::signed::comment("ana");
    rows(&bi2, &format!("{ana} BEGIN")).await;
    rows(&bi2, &format!("{ana} CREATE TEMP TABLE loot AS SELECT * FROM emp")).await;
    assert_eq!(code(&bi2, "SELECT count(*) FROM loot").await, "25001");
    rows(&bi2, "ROLLBACK").await;
}
