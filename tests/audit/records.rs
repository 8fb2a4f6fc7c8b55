//! What records hold, and what they never do.

use crate::{folder, in_time, lines, records, stage, statements};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio_postgres::SimpleQueryMessage;

fn of<'r>(records: &'r [Value], part: &str) -> &'r Value {
    let holds = |record: &&Value| record["statement"].as_str().is_some_and(|text| text.contains(part));
    records.iter().find(holds).unwrap_or_else(|| panic!("{part}: {records:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_told_with_what_it_touched_and_why() {
    let mut running = stage("").await.start().await;
    let client = running.client("ana").await;
    let rows = client.query("SELECT ssn FROM people WHERE city <> $1 AND id < 7", &[&"Rome"]).await.unwrap();
    assert_eq!(rows.len(), 3);
    client.batch_execute("SET sqlveil.project = 'census'").await.unwrap();
    assert_eq!(client.query("SELECT id FROM people", &[]).await.unwrap().len(), 10);
    drop(client);
    let found = statements(&mut running).await;
    let one = of(&found, "city <>");
    assert_eq!(one["statement"], "SELECT ssn FROM people WHERE city <> $1 AND id < 0");
    assert_eq!(
        (&one["user"], &one["decision"], &one["outcome"]),
        (&json!("ana"), &json!("allowed"), &json!("completed"))
    );
    assert_eq!((&one["rows"], &one["command"]), (&json!(3), &json!("SELECT")));
    // Three rows of a hash in hexadecimal digits, and the header of each.
    assert_eq!(one["bytes"], json!(3 * (1 + 4 + 2 + 4 + 64)));
    assert!(one["elapsedUs"].as_u64().unwrap() > 0 && one["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(one["database"], running.database());
    assert!(one.get("project").is_none() && one.get("purposes").is_none());
    let [source] = one["sources"].as_array().unwrap().as_slice() else { panic!("{one:#}") };
    assert_eq!(source["name"], "people");
    assert_eq!(source["relation"], "public.people");
    assert_eq!(source["access"], json!(["read"]));
    assert_eq!(source["columns"], json!(["id", "ssn", "city"]));
    assert_eq!(source["columnTags"], json!({"ssn": ["PII.Number"], "city": ["Place"]}));
    assert_eq!(source["masks"], json!({"ssn": {"mask": "Hash", "policy": "number"}}));
    assert_eq!(source["rowPolicies"], json!(["cities"]));
    let rules: BTreeSet<&str> =
        source["rules"].as_array().unwrap().iter().map(|r| r["policy"].as_str().unwrap()).collect();
    assert!(rules.is_superset(&BTreeSet::from(["number", "cities"])), "{rules:?}");
    let two = of(&found, "SELECT id FROM people");
    assert_eq!((&two["project"], &two["purposes"]), (&json!("census"), &json!(["Count"])));
    let source = &two["sources"][0];
    assert_eq!(source["columns"], json!(["id"]));
    assert!(source.get("rowPolicies").is_none() && source.get("masks").is_none(), "{source:#}");
    // The session's statements are numbered.
    let numbers: Vec<u64> = found.iter().map(|record| record["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let sessions: BTreeSet<&str> = found.iter().map(|record| record["session"].as_str().unwrap()).collect();
    assert_eq!(sessions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_send_a_statement_leaves_one_record_for_each() {
    let mut running = stage("").await.start().await;
    let client = running.client("ana").await;
    let statement = client.prepare("SELECT id FROM open WHERE id <= $1").await.unwrap();
    for n in 1..=5 {
        assert_eq!(client.query(&statement, &[&n]).await.unwrap().len(), n as usize);
    }
    for n in 1..=5 {
        let rows = client.simple_query(&format!("SELECT id FROM open WHERE id = {n}")).await.unwrap();
        assert!(rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(_))));
    }
    client.simple_query("SELECT 'first'; SELECT id AS second FROM open LIMIT 2; SELECT 'third'").await.unwrap();
    client.batch_execute("PREPARE p AS SELECT id FROM open WHERE id < 4; EXECUTE p; BEGIN; DECLARE c CURSOR FOR SELECT id FROM open; FETCH 7 FROM c; COMMIT").await.unwrap();
    let copied = client.copy_out("COPY (SELECT id FROM open WHERE id < 3) TO STDOUT").await.unwrap();
    futures_util::pin_mut!(copied);
    while futures_util::StreamExt::next(&mut copied).await.is_some() {}
    assert!(client.batch_execute("SELECT 1 / (id - id) FROM open").await.is_err());
    assert!(client.batch_execute("SELECT * FROM nothing").await.is_err());
    assert!(client.batch_execute("SELEC 'secret word'").await.is_err());
    assert!(client.query("SELECT * FROM nothing", &[]).await.is_err());
    drop(client);
    let found = statements(&mut running).await;
    let count = |text: &str| found.iter().filter(|record| record["statement"] == text).count();
    assert_eq!(count("SELECT id FROM open WHERE id <= $1"), 5);
    assert_eq!(count("SELECT id FROM open WHERE id = 0"), 5);
    assert_eq!(count("SELECT '?'"), 2);
    assert_eq!(of(&found, "AS second")["statement"], "SELECT id AS second FROM open LIMIT 0");
    assert_eq!(of(&found, "AS second")["rows"], 2);
    assert_eq!((&of(&found, "EXECUTE p")["rows"], &of(&found, "FETCH")["rows"]), (&json!(3), &json!(7)));
    assert_eq!((&of(&found, "COPY")["rows"], &of(&found, "COPY")["command"]), (&json!(2), &json!("COPY")));
    assert_eq!(of(&found, "EXECUTE p")["of"]["sources"][0]["name"], "open");
    assert_eq!(of(&found, "FETCH")["of"]["sources"][0]["columns"], json!(["id"]));
    let failed = of(&found, "id - id");
    assert_eq!((&failed["outcome"], &failed["code"]), (&json!("failed"), &json!("22012")));
    let refused: Vec<&Value> = found.iter().filter(|record| record["decision"] == "refused").collect();
    let codes: Vec<&str> = refused.iter().map(|record| record["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["42P01", "42601", "42P01"]);
    assert_eq!(refused[0]["reason"], "relation \"nothing\" does not exist");
    assert!(refused[1].get("reason").is_none(), "it quotes what stands there");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_say_what_they_write() {
    let stage = stage("").await.writable().await.writes("ana", &["people", "open"]);
    let mut running = stage.start().await;
    let client = running.client("ana").await;
    client.batch_execute("INSERT INTO open VALUES (1), (2)").await.unwrap();
    client.batch_execute("UPDATE people SET city = 'Rome' WHERE id = 1").await.unwrap();
    client.batch_execute("DELETE FROM open WHERE id = 2").await.unwrap();
    drop(client);
    let found = statements(&mut running).await;
    let source = |part: &str| {
        of(&found, part)["sources"].as_array().unwrap().iter().find(|s| s.get("written").is_some()).cloned().unwrap()
    };
    assert_eq!((&source("INSERT")["access"], &source("INSERT")["written"]), (&json!(["insert"]), &json!(["id"])));
    let update = source("UPDATE");
    assert_eq!(update["written"], json!(["city"]));
    assert!(update["access"].as_array().unwrap().contains(&json!("update")), "{update}");
    assert_eq!(source("DELETE")["written"], json!(["id"]));
    assert_eq!(of(&found, "INSERT")["rows"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_literal_value_or_comment_is_kept_unless_asked_for() {
    for (kept, audit) in [(false, ""), (true, ", statements: kept")] {
        let mut running = stage(audit).await.start().await;
        let client = running.client("ana").await;
        client.batch_execute("SELECT id FROM people WHERE ssn = 'QSECRETQ' -- QCOMMENTQ").await.unwrap();
        client.batch_execute("SELECT $$QDOLLARQ$$, 424242 + id FROM open LIMIT 1").await.unwrap();
        client.query("SELECT id FROM people WHERE ssn = $1", &[&"QVALUEQ"]).await.unwrap();
        for wrong in
            ["SELECT 'QWRONGQ' FROM nothing", "SELECT 'QOPENQ", "SELECT 1 'QSYNTAXQ'", "SET timezone = 'QZONEQ'"]
        {
            assert!(client.batch_execute(wrong).await.is_err(), "{wrong}");
        }
        drop(client);
        running.stop().await;
        let text = lines(&folder(running.folder())).join("\n");
        for secret in ["QSECRETQ", "QDOLLARQ", "424242", "QWRONGQ", "QSYNTAXQ", "QOPENQ", "QCOMMENTQ"] {
            assert_eq!(text.contains(secret), kept, "{secret}");
        }
        assert!(!text.contains("QVALUEQ"), "values of parameters are never kept");
        assert!(!text.contains("city <>") || !text.contains("'Ulm'"), "nor predicates of policies");
        // The same statement with other literals is the same statement.
        let records = records(&folder(running.folder()));
        assert_eq!(of(&records, "ssn = '?'")["fingerprint"].as_str().unwrap().len(), 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_recorded_and_refused_ones_say_why() {
    let mut running = stage("").await.start().await;
    let database = running.database().to_owned();
    drop(running.client("ana").await);
    assert!(running.try_client("ana", "wrong QPASSQ", &database).await.is_err());
    assert!(running.try_client("nobody", "x", &database).await.is_err());
    running.stop().await;
    let all = records(&folder(running.folder()));
    let logins = in_time(&all, "login");
    let told: Vec<(&str, &str)> =
        logins.iter().map(|r| (r["user"].as_str().unwrap(), r["decision"].as_str().unwrap())).collect();
    assert_eq!(told, [("ana", "login"), ("ana", "login refused"), ("nobody", "login refused")]);
    assert!(logins[0]["session"].is_string() && logins[1].get("session").is_none());
    assert_eq!(logins[1]["code"], "28P01");
    assert!(!lines(&folder(running.folder())).join("\n").contains("QPASSQ"));
    assert_eq!((&all[0]["kind"], &all.last().unwrap()["kind"]), (&json!("start"), &json!("stop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_written_as_words_are_literals() {
    let mut running = stage("").await.start().await;
    let client = running.client("ana").await;
    for (sql, allowed) in [
        ("SET application_name TO qwordq", true),
        ("SET LOCAL search_path = \"QQuotedQ\", public", true),
        ("BEGIN; SET LOCAL application_name TO qbatchq; COMMIT", true),
        ("EXPLAIN (FORMAT qformatq) SELECT id FROM open", false),
        ("SET timezone TO qzoneq", false),
        ("SET TIME ZONE qtimeq", false),
        ("SET ROLE qroleq", false),
        ("ALTER ROLE ana SET application_name TO qalterq", false),
        ("SET application_name qforgottenq", false),
    ] {
        assert_eq!(client.batch_execute(sql).await.is_ok(), allowed, "{sql}");
        let _ = client.batch_execute("ROLLBACK").await;
    }
    drop(client);
    let found = statements(&mut running).await;
    let text = lines(&folder(running.folder())).join("\n").to_lowercase();
    for word in ["word", "quoted", "batch", "format", "zone", "time", "role", "alter", "forgotten"] {
        assert!(!text.contains(&format!("q{word}q")), "{word}: {text}");
    }
    assert_eq!(of(&found, "SET LOCAL search")["statement"], "SET LOCAL search_path = '?', '?'");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_startup_packet_are_no_statements_of_the_caller() {
    let mut running = stage("").await.start().await;
    let mut config = running.client_config("ana");
    config.application_name("a tool").options("-c datestyle=German");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.query_one("SHOW application_name", &[]).await.unwrap().get::<_, &str>(0), "a tool");
    assert_eq!(client.query_one("SHOW datestyle", &[]).await.unwrap().get::<_, &str>(0), "German, DMY");
    drop(client);
    // Refused by the warehouse, by the proxy, and for another reason.
    for options in ["-c timezone=QZONEQ", "-c qunknownq.name=QVALUEQ", "-c standard_conforming_strings=off"] {
        assert!(
            running.client_config("ana").options(options).connect(tokio_postgres::NoTls).await.is_err(),
            "{options}"
        );
    }
    assert!(running.try_client("ana", crate::support::PASSWORD, "nowhere").await.is_err());
    running.stop().await;
    let all = records(&folder(running.folder()));
    let said: Vec<&str> = all.iter().filter_map(|record| record["statement"].as_str()).collect();
    assert_eq!(said, ["SHOW application_name", "SHOW datestyle"]);
    let logins = in_time(&all, "login");
    let told: Vec<(&str, Option<&str>)> =
        logins.iter().map(|r| (r["decision"].as_str().unwrap(), r["code"].as_str())).collect();
    let refused = |code| ("login refused", Some(code));
    assert_eq!(told, [("login", None), refused("22023"), refused("42501"), refused("0A000"), refused("3D000")]);
    assert_eq!((&logins[0]["application"], logins[0]["number"].as_u64()), (&json!("a tool"), None));
    assert!(logins[0]["session"].is_string() && logins[1].get("session").is_none());
    assert_eq!(logins[1]["settings"], "SET \"timezone\" TO '?'");
    assert_eq!(logins[2]["settings"], "SET \"qunknownq\".\"name\" TO '?'");
    assert!(logins[3]["reason"].as_str().unwrap().contains("standard_conforming_strings"), "{}", logins[3]);
    assert_eq!(
        (&logins[4]["reason"], logins[4].get("settings")),
        (&json!("database \"nowhere\" does not exist"), None)
    );
    let text = lines(&folder(running.folder())).join("\n");
    assert!(!text.contains("QZONEQ") && !text.contains("QVALUEQ"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_tell_which_documents_were_in_force() {
    let mut running = stage("").await.start().await;
    let policy = std::fs::read_to_string(running.governance().join("policies/001.yaml")).unwrap();
    running.write("policies/001.yaml", &policy.replace("Hash", "'Null'"));
    let world = "worlds";
    running
        .eventually("the policy is in force", async |running| {
            let all = records(&folder(running.folder()));
            all.iter().filter(|record| record.get(world).is_some()).count() == 2
        })
        .await;
    let client = running.client("ana").await;
    client.batch_execute("SELECT id FROM open LIMIT 1").await.unwrap();
    drop(client);
    running.stop().await;
    let all = records(&folder(running.folder()));
    let told: Vec<&Value> = all.iter().filter(|record| record["kind"] == "policies").collect();
    let [before, after] = told.as_slice() else { panic!("{told:?}") };
    assert_ne!(before["documents"], after["documents"]);
    let world = &after["worlds"][running.database()];
    assert!(world.as_u64() > before["worlds"][running.database()].as_u64());
    assert_eq!(&of(&all, "FROM open")["world"], world);
}

/// Lower bound of what a million rows of one digit and more take.
const HALF: u64 = 4_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_has_got_what_was_sent() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut running = stage("").await.start().await;
    let raw = running.client_config("ana");
    for sql in
        ["SELECT i FROM generate_series(1, 1000000) i", "COPY (SELECT i FROM generate_series(1, 1000000) i) TO STDOUT"]
    {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        let (client, connection) = raw.connect_raw(&mut stream, tokio_postgres::NoTls).await.unwrap();
        // What is logged in is gone on with by hand.
        drop(client);
        std::mem::forget(connection);
        let message = [&[b'Q'][..], &(sql.len() as u32 + 5).to_be_bytes(), sql.as_bytes(), b"\0"].concat();
        stream.write_all(&message).await.unwrap();
        let mut left = HALF + (1 << 20);
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let n = stream.read(&mut buffer).await.unwrap() as u64;
            assert!(n > 0);
            left = left.saturating_sub(n);
        }
        drop(stream);
    }
    running.stop().await;
    let all = records(&folder(running.folder()));
    let told: Vec<&Value> = all.iter().filter(|record| record["outcome"] == "abandoned").collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for record in told {
        assert!(record["bytes"].as_u64().unwrap() > HALF, "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_warehouse_refuses_to_prepare_leaves_a_record_and_reasons_hold_no_literal() {
    let mut running = stage("").await.start().await;
    let client = running.client("ana").await;
    assert!(client.prepare("SELECT nope FROM open").await.is_err());
    for sql in [
        "SELECT 'QSECRETQ'::regclass",
        "SELECT nextval('QSECRETQ')",
        "SET sqlveil.project = 'QSECRETQ'",
        "SELECT current_setting('QSECRETQ')",
        "SET application_name = \"sqlveil user=ana expires=1 signature=QSECRETQ\"",
    ] {
        assert!(client.batch_execute(sql).await.is_err() || sql.starts_with("SET app"), "{sql}");
    }
    drop(client);
    running.stop().await;
    let text = lines(&folder(running.folder())).join("\n").to_lowercase();
    assert!(!text.contains("qsecretq"), "{text}");
    let all = records(&folder(running.folder()));
    assert_eq!((&of(&all, "nope")["outcome"], &of(&all, "nope")["code"]), (&json!("failed"), &json!("42703")));
}
