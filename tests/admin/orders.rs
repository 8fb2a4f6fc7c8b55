//! What administrators learn and order, and that no secret and no literal is in it.

use crate::http::{Administered, TOKEN, start, with_token};
use crate::metrics::stage;
use crate::support::PASSWORD;
use serde_json::{Value, json};
use std::time::Duration;

async fn administered() -> Administered {
    start(with_token(stage().await, "")).await
}

async fn sessions(administered: &Administered) -> Vec<Value> {
    administered.get("/sessions").await["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn sessions_are_listed_with_what_they_do() {
    let administered = administered().await;
    let client = administered.running.client("ana").await;
    let listed = sessions(&administered).await;
    let [one] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((&one["user"], &one["state"], &one["statement"]), (&json!("ana"), &json!("idle"), &Value::Null));
    assert_eq!(
        (&one["database"], &one["tls"], &one["acting_for"]),
        (&json!(administered.running.database()), &json!(false), &Value::Null)
    );
    assert!(
        one["address"].as_str().unwrap().starts_with("127.0.0.1:") && one["bytes_received"].as_u64().unwrap() < 10_000
    );
    client.batch_execute("BEGIN").await.unwrap();
    administered
        .running
        .eventually("a transaction is open", async |_| {
            sessions(&administered).await[0]["state"] == "idle in transaction"
        })
        .await;
    client.batch_execute("SELECT 1 / 0").await.unwrap_err();
    // The driver gives the error before the end of the answer.
    let aborted = async |_: &crate::support::Running| {
        sessions(&administered).await[0]["state"] == "idle in transaction (aborted)"
    };
    administered.running.eventually("the transaction has failed", aborted).await;
    client.batch_execute("ROLLBACK; SET sqlveil.project = ''").await.unwrap();
    let admin = administered.running.admin();
    admin.batch_execute("BEGIN; LOCK TABLE emp IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = client
        .batch_execute("/* hidden */ SELECT name FROM emp WHERE name = 'hidden' AND id IN (4711, 4712) -- hidden");
    let ordered = async {
        administered
            .running
            .eventually("the statement runs", async |_| sessions(&administered).await[0]["state"] == "active")
            .await;
        let answer = administered.ask("GET", "/sessions", None).await;
        assert!(!answer.text.contains("hidden") && !answer.text.contains("471"), "{}", answer.text);
        let one = &answer.json()["sessions"][0];
        assert_eq!(one["statement"]["text"], "SELECT name FROM emp WHERE name = '?' AND id IN (0, 0)");
        assert_eq!(one["statement"]["kind"], "select");
        let path = format!("/sessions/{}/cancel", one["id"]);
        assert_eq!(administered.ask("POST", &path, None).await.status, 202);
    };
    let (cancelled, ()) = tokio::join!(waiting, ordered);
    assert_eq!(cancelled.unwrap_err().code().unwrap().code(), "57014");
    admin.batch_execute("ROLLBACK").await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
    for id in ["0", "999", "x", "-1", "18446744073709551616"] {
        administered.ask("POST", &format!("/sessions/{id}/cancel"), None).await.is_problem(404);
        administered.ask("POST", &format!("/sessions/{id}/end"), None).await.is_problem(404);
    }
}

#[tokio::test]
async fn a_session_is_ended_when_it_rests_or_at_once() {
    let administered = administered().await;
    let idle = administered.running.client("ana").await;
    let id = sessions(&administered).await[0]["id"].clone();
    administered.ask("POST", &format!("/sessions/{id}/end"), Some(json!({"at_onse": true}))).await.is_problem(400);
    assert_eq!(administered.ask("POST", &format!("/sessions/{id}/end"), None).await.status, 202);
    administered.running.eventually("it has ended", async |_| idle.is_closed()).await;
    let busy = administered.running.client("ana").await;
    let admin = administered.running.admin();
    admin.batch_execute("BEGIN; LOCK TABLE emp IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let ordered = async {
        administered
            .running
            .eventually("the statement runs", async |_| {
                sessions(&administered).await.iter().any(|session| session["state"] == "active")
            })
            .await;
        let id = sessions(&administered).await[0]["id"].clone();
        let answer = administered.ask("POST", &format!("/sessions/{id}/end"), Some(json!({"at_once": true}))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    };
    let (ended, ()) = tokio::join!(busy.batch_execute("SELECT count(*) FROM emp"), ordered);
    ended.unwrap_err();
    administered.running.eventually("it has ended", async |_| busy.is_closed()).await;
    admin.batch_execute("ROLLBACK").await.unwrap();
    administered.running.eventually("nobody is listed", async |_| sessions(&administered).await.is_empty()).await;
}

#[tokio::test]
async fn the_configuration_is_told_without_its_secrets() {
    let collector = "telemetry: {otlp: {endpoint: \"http://127.0.0.1:9/v1/traces?key=hidden\"}}\n";
    let administered = start(with_token(stage().await.config(collector), "")).await;
    let answer = administered.ask("GET", "/config", None).await;
    let config = answer.json();
    assert_eq!(config["telemetry"]["otlp"]["endpoint"], "http://127.0.0.1:9/v1/traces?***");
    let database = administered.running.database();
    assert_eq!((&config["secret"], &config["admin"]["token"]), (&json!("***"), &json!("***")));
    assert_eq!(config["connections"][database]["password"], "***");
    assert_eq!(config["connections"][database]["pool"]["max"], 30);
    assert_eq!(config["limits"]["sessions"], 1000);
    for secret in ["secrets/warehouse", "secrets/master", "secrets/admin"] {
        let secret = std::fs::read_to_string(administered.running.folder().join(secret)).unwrap();
        assert!(!answer.text.contains(&secret), "{}", answer.text);
    }
    assert!(!answer.text.contains(TOKEN) && !answer.text.contains(PASSWORD));
    let version = administered.get("/version").await;
    assert_eq!((&version["name"], &version["version"]), (&json!("sqlveil"), &json!(env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn reloads_say_what_came_of_them() {
    let administered = administered().await;
    let good = administered.ask("POST", "/reload", None).await;
    assert_eq!((good.status, &good.json()["outcome"]), (200, &json!("published")), "{good:?}");
    administered.running.write("policies/broken.yaml", "policyKey: broken\nname: broken\ntype: nonsense\n");
    let bad = administered.ask("POST", "/reload", None).await;
    bad.is_problem(422);
    let problems = &bad.json()["problems"];
    assert!(problems[0]["where"].as_str().unwrap().contains("broken.yaml:"), "{problems}");
    assert_eq!(problems[0]["severity"], "error");
    let ready = administered.ask_unknown("GET", "/ready").await;
    assert_eq!((ready.status, ready.json()["degraded"][0].clone()), (200, json!("documents_rejected")));
}

#[tokio::test]
async fn plans_are_flushed() {
    let administered = administered().await;
    let client = administered.running.client("ana").await;
    for _ in 0..3 {
        client.batch_execute("SELECT name FROM emp").await.unwrap();
    }
    assert!(administered.running.proxy().plans().entries > 0);
    let flushed = administered.ask("POST", "/cache/flush", None).await;
    assert!(flushed.json()["plans"].as_u64().unwrap() > 0, "{flushed:?}");
    assert_eq!(administered.running.proxy().plans().entries, 0);
    let planned = administered.running.proxy().plans().planned;
    client.batch_execute("SELECT name FROM emp").await.unwrap();
    assert_eq!(administered.running.proxy().plans().planned, planned + 1);
}

#[tokio::test]
async fn statements_are_explained_as_the_command_does() {
    let administered = administered().await;
    let asked = |user: &str, statement: &str| json!({"user": user, "statement": statement});
    let answer = administered.ask("POST", "/explain", Some(asked("ana", "SELECT name FROM emp"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert_eq!((&told["user"], &told["refused"]), (&json!("ana"), &Value::Null));
    assert!(told["sent"][0]["sql"].as_str().unwrap().starts_with("SELECT"), "{told}");
    let args = sqlveil::cli::explain::Args {
        config: administered.running.config_file(),
        user: "ana".into(),
        project: None,
        connection: None,
        format: sqlveil::cli::explain::Format::Json,
        sql: "SELECT name FROM emp".into(),
    };
    let mut out = Vec::new();
    assert!(sqlveil::cli::explain::run(&args, &mut out, false).await.unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), told);
    let refused = administered.ask("POST", "/explain", Some(asked("ana", "DROP ROLE x"))).await;
    assert!(refused.json()["refused"]["error"].as_str().unwrap().contains("0A000"), "{refused:?}");
    administered.ask("POST", "/explain", Some(asked("nobody", "SELECT 1"))).await.is_problem(422);
    let elsewhere = json!({"user": "ana", "database": "elsewhere", "statement": "SELECT 1"});
    administered.ask("POST", "/explain", Some(elsewhere)).await.is_problem(404);
    let bad = administered.ask("POST", "/explain", Some(json!({"user": "ana", "statement": ["hidden"]}))).await;
    bad.is_problem(400);
    assert!(!bad.text.contains("hidden"), "{bad:?}");
}

#[tokio::test]
async fn a_drain_ends_readiness_and_sessions() {
    let mut administered = administered().await;
    let (resting, working) = (administered.running.client("ana").await, administered.running.client("ana").await);
    resting.batch_execute("SELECT 1").await.unwrap();
    working.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let answer = administered.ask("POST", "/drain", Some(json!({"deadline_seconds": 60}))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let ready = administered.ask_unknown("GET", "/ready").await;
    assert_eq!((ready.status, ready.json()["reasons"][0].clone()), (503, json!("draining")));
    assert_eq!(administered.ask_unknown("GET", "/live").await.status, 200);
    administered.running.eventually("who rests has to go", async |_| resting.is_closed()).await;
    working.batch_execute("SELECT 2; COMMIT").await.unwrap();
    administered.running.eventually("and then the other", async |_| working.is_closed()).await;
    tokio::time::timeout(Duration::from_secs(10), administered.running.proxy().drained()).await.unwrap();
    administered.running.stop().await;
}

#[tokio::test]
async fn a_proxy_whose_warehouse_is_gone_is_not_ready() {
    let administered = start(with_token(stage().await, "").config("catalog: {refresh: 100ms}")).await;
    let database = administered.running.database().to_owned();
    administered.running.admin().batch_execute(&format!("ALTER ROLE service_{database} NOLOGIN")).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'service_{database}'");
    administered.running.admin().batch_execute(&end).await.unwrap();
    let not_ready = async |_: &crate::support::Running| {
        let answer = administered.ask_unknown("GET", "/ready").await;
        answer.status == 503
            && answer.json()["reasons"] == json!(["warehouse_down"])
            && !answer.text.contains(&database)
    };
    administered.running.eventually("it is not ready", not_ready).await;
    administered.running.admin().batch_execute(&format!("ALTER ROLE service_{database} LOGIN")).await.unwrap();
    let ready = async |_: &crate::support::Running| administered.ask_unknown("GET", "/ready").await.status == 200;
    administered.running.eventually("it is ready again", ready).await;
}

#[tokio::test]
async fn orders_and_refused_questions_are_in_the_audit_trail() {
    let mut administered = start(with_token(stage().await, "").config("audit: {folder: trail}")).await;
    assert_eq!(administered.ask("POST", "/cache/flush", None).await.status, 200);
    assert_eq!(administered.ask_unknown("GET", "/sessions?token=hidden").await.status, 401);
    assert_eq!(administered.ask("GET", "/sessions", None).await.status, 200);
    let samples = crate::metrics::of(&administered.running);
    assert!(samples["sqlveil_audit_records_total"] >= 1.0 && samples["sqlveil_audit_writable"] == 1.0, "{samples:?}");
    administered.running.stop().await;
    let folder = std::fs::read_dir(administered.running.folder().join("trail")).unwrap();
    let text: String = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "administration")
        .collect();
    let told: Vec<_> = told.iter().map(|r| (r["request"].as_str().unwrap(), r["decision"].as_str().unwrap())).collect();
    assert_eq!(told, [("POST /cache/flush", "allowed"), ("GET /sessions", "refused")]);
    assert!(!text.contains("hidden"));
}
