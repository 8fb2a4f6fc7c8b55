//! Where records go besides the folder.

use crate::process::Process;
use crate::{folder, lines, stage, stop};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_every_record_once_in_partitions_of_days() {
    let stage = stage("").await;
    let (login, _) = stage.service();
    let database = login.trim_start_matches("service_").to_owned();
    stage.admin().batch_execute(&format!("CREATE SCHEMA trail; GRANT ALL ON SCHEMA trail TO {login}")).await.unwrap();
    let port = stage.server().port();
    let table = format!(
        "audit: {{folder: trail, table: {{connection: {{host: 127.0.0.1, port: {port}, database: {database}, user: {login}, \
         sslmode: disable, password: {{file: secrets/warehouse}}}}, name: trail.records, keep: 30d}}}}\n"
    );
    let config = stage.write();
    let text = std::fs::read_to_string(&config).unwrap().replace("audit: {folder: trail}\n", &table);
    std::fs::write(&config, &text).unwrap();
    let mut process = Process::start(&config);
    let asked = |process: &Process| {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(process.port).user("ana").password(crate::support::PASSWORD).dbname(&database);
        async move {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            for n in 0..300 {
                client.simple_query(&format!("SELECT id, 'a\\b\t\"{n}' FROM people WHERE id = {n}")).await.unwrap();
            }
        }
    };
    asked(&process).await;
    let there = "SELECT to_regclass('trail.records') IS NOT NULL";
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !stage.admin().query_one(there, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(std::time::Instant::now() < until, "{:#?}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Its records are handed on by the next.
    process.signal("KILL");
    assert!(process.ended(Duration::from_secs(10)).is_some());
    // An old partition goes.
    let old = "CREATE TABLE trail.records_20200101 PARTITION OF trail.records \
               FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-01-02 00:00:00+00')";
    stage.admin().batch_execute(&format!("{old}; ALTER TABLE trail.records_20200101 OWNER TO {login}")).await.unwrap();
    let mut process = Process::start(&config);
    asked(&process).await;
    // What strangers and callers make as long as they can is cut, and stops nobody's record.
    let long = "x".repeat(9_000);
    let mut stranger = tokio_postgres::Config::new();
    stranger.host("127.0.0.1").port(process.port).user(&long).password("x").dbname(&database);
    assert!(stranger.connect(tokio_postgres::NoTls).await.is_err());
    let mut caller = tokio_postgres::Config::new();
    caller.host("127.0.0.1").port(process.port).user("ana").password(crate::support::PASSWORD).dbname(&database);
    let (client, connection) =
        caller.application_name("\u{1}".repeat(9_000)).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let project = format!("SET sqlveil.project = '{}'", "\u{1}".repeat(900_000));
    assert!(client.simple_query(&project).await.is_err());
    client.simple_query(&format!("SELECT 1 AS \"{}\"", "\u{1}".repeat(60_000))).await.ok();
    asked(&process).await;
    stop(&mut process);
    let written = lines(&folder(config.parent().unwrap()));
    let rows = stage
        .admin()
        .query("SELECT chain, seq, time::text, record, kind, user_name, statement, rows, decision FROM trail.records ORDER BY chain, seq", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), written.len());
    assert!(written.iter().all(|line| line.len() < 48 << 10), "{:?}", written.iter().map(String::len).max());
    for (row, line) in rows.iter().zip(&written) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row.get::<_, i64>("seq"), record["seq"].as_i64().unwrap());
        assert_eq!(row.get::<_, Option<&str>>("statement"), record["statement"].as_str());
        assert_eq!(row.get::<_, Option<i64>>("rows"), record["rows"].as_i64());
        assert_eq!(row.get::<_, Option<&str>>("user_name"), record["user"].as_str());
    }
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'trail.records'::regclass";
    let days: i64 = stage.admin().query_one(days, &[]).await.unwrap().get(0);
    assert!((1..=2).contains(&days), "the day of 2020 is gone");
    // Nobody sees it through the proxy.
    let process = Process::start(&config);
    let mut asking = tokio_postgres::Config::new();
    asking.host("127.0.0.1").port(process.port).user("ana").password(crate::support::PASSWORD).dbname(&database);
    let (client, connection) = asking.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let error = client.simple_query("SELECT * FROM trail.records").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_gets_the_lines_of_the_folder() {
    let stage = stage(", stdout: true").await;
    let config = stage.write();
    let mut command = Process::command(&config);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let written = lines(&folder(config.parent().unwrap()));
    assert_eq!(text.lines().map(str::to_owned).collect::<Vec<_>>(), written);
    assert!(written.len() >= 4, "start, seal, policies, stop: {written:#?}");
}

/// A collector: answers the first request with 503, all others with 200, and keeps their bodies and headers.
fn collector(kept: Arc<Mutex<Vec<(String, String)>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if number == 0 { "503 Service Unavailable" } else { "200 OK" };
            if number > 0 {
                kept.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    port
}

fn write_token(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("secrets/token");
    std::fs::write(&path, "Bearer QTOKENQ").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_log_records_and_again_what_it_did_not_take() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let port = collector(Arc::clone(&kept));
    let otlp = format!(
        ", otlp: {{endpoint: \"http://127.0.0.1:{port}/v1/logs\", headers: {{authorization: {{file: secrets/token}}}}}}"
    );
    let stage = stage(&otlp).await;
    write_token(stage.write().parent().unwrap());
    let mut running = stage.start().await;
    let client = running.client("ana").await;
    client.batch_execute("SELECT id FROM open WHERE id = 1").await.unwrap();
    assert!(client.batch_execute("SELECT id FROM nothing").await.is_err());
    drop(client);
    running.stop().await;
    let written = lines(&folder(running.folder()));
    let kept = kept.lock().unwrap();
    assert!(
        kept.iter().all(|(head, _)| head.starts_with("POST /v1/logs ") && head.contains("Bearer QTOKENQ")),
        "{kept:?}"
    );
    let bodies: Vec<String> = kept
        .iter()
        .flat_map(|(_, body)| {
            let body: Value = serde_json::from_str(body).unwrap();
            let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone();
            records.into_iter().map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(bodies, written);
    assert!(!written.join("").contains("QTOKENQ"));
}
