//! Traces: spans at a collector that is a socket of the test's own, with the caller's trace as their parent, and without a text.

use crate::metrics::{of, stage};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<String>>>);

impl Collected {
    /// A collector that takes everything; its port.
    async fn listen() -> (Self, u16) {
        let collected = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = collected.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    loop {
                        let text = String::from_utf8_lossy(&read).into_owned();
                        if let Some((head, body)) = text.split_once("\r\n\r\n") {
                            let length = head.to_ascii_lowercase();
                            let length = length
                                .split("content-length: ")
                                .nth(1)
                                .unwrap()
                                .lines()
                                .next()
                                .unwrap()
                                .trim()
                                .to_owned();
                            if body.len() >= length.parse::<usize>().unwrap() {
                                kept.0.lock().unwrap().push(text);
                                read.clear();
                                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                            }
                        }
                        if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                });
            }
        });
        (collected, port)
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn spans(&self) -> Vec<Value> {
        let requests = self.0.lock().unwrap();
        let bodies = requests.iter().map(|text| text.split_once("\r\n\r\n").unwrap().1);
        let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).unwrap());
        bodies.flat_map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()).collect()
    }
}

fn attribute<'s>(span: &'s Value, key: &str) -> Option<&'s str> {
    let found = span["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    found["value"]["stringValue"].as_str().or(found["value"]["intValue"].as_str())
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn telemetry(port: u16, ratio: &str) -> String {
    format!(
        "telemetry:\n  otlp:\n    endpoint: \"http://127.0.0.1:{port}/v1/traces\"\n    headers: {{x-key: {{file: secrets/master}}}}\n  ratio: {ratio}\n"
    )
}

#[tokio::test]
async fn a_statement_is_a_span_of_its_callers_trace() {
    let (collected, port) = Collected::listen().await;
    let running = stage().await.config(&telemetry(port, "0")).start().await;
    let client = running.client("ana").await;
    let commented =
        |sql: &str, flags: &str| format!("{sql} /*action='hidden',traceparent='00-{TRACE}-b7ad6b7169203331-{flags}'*/");
    client.batch_execute("SELECT 'hidden' /* of nobody's trace */").await.unwrap();
    client.batch_execute(&commented("SELECT 'hidden-not-sampled'", "00")).await.unwrap();
    client.batch_execute(&commented("SELECT name FROM emp WHERE id < 4 AND name <> 'hidden'", "01")).await.unwrap();
    client.batch_execute(&commented("SELECT 'hidden'::int", "01")).await.unwrap_err();
    client.batch_execute(&commented("DELETE FROM hidden", "01")).await.unwrap_err();
    let prepared = client.prepare(&commented("SELECT name FROM emp WHERE id = $1", "01")).await.unwrap();
    client.query(&prepared, &[&5_i32]).await.unwrap();
    let came =
        async |_: &crate::support::Running| collected.spans().iter().filter(|span| span["kind"] == 2).count() == 4;
    running.eventually("four statements are told", came).await;
    let spans = collected.spans();
    assert!(spans.iter().all(|span| span["traceId"] == TRACE), "{spans:#?}");
    let servers: Vec<&Value> = spans.iter().filter(|span| span["kind"] == 2).collect();
    assert!(servers.iter().all(|span| span["parentSpanId"] == "b7ad6b7169203331"));
    let [read, failed, refused, again] = servers.as_slice() else { panic!("{servers:#?}") };
    assert_eq!((&read["name"], attribute(read, "db.response.returned_rows")), (&Value::from("SELECT"), Some("3")));
    assert_eq!(attribute(read, "db.system.name"), Some("postgresql"));
    assert_eq!(
        (attribute(failed, "db.response.status_code"), &failed["status"]["code"]),
        (Some("22P02"), &Value::from(2))
    );
    assert_eq!((&refused["name"], attribute(refused, "sqlveil.decision")), (&Value::from("DELETE"), Some("refused")));
    assert_eq!(attribute(again, "db.response.returned_rows"), Some("1"));
    let below = |span: &Value| -> Vec<String> {
        let own = spans.iter().filter(|child| child["parentSpanId"] == span["spanId"]);
        own.map(|child| child["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(below(read), ["parse", "resolve", "decide", "rewrite", "seal", "upstream"]);
    assert_eq!(below(again), ["upstream"], "a plan that is there takes no time");
    let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
    assert!(spans.iter().all(|span| time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano")));
    let text = collected.text();
    let secret = std::fs::read_to_string(running.folder().join("secrets/master")).unwrap();
    assert!(text.contains(&format!("x-key: {secret}")), "the headers are sent");
    assert!(!text.contains("hidden") && !text.contains("\"ana\"") && !text.contains("emp"), "{text}");
}

#[tokio::test]
async fn a_share_of_the_others_is_traced_below_their_session() {
    let (collected, port) = Collected::listen().await;
    let running = stage().await.config(&telemetry(port, "1")).start().await;
    let client = running.client("ana").await;
    client.batch_execute("SELECT 1").await.unwrap();
    client.batch_execute("SELECT 2; SELECT 3").await.unwrap();
    drop(client);
    let session = |spans: &[Value]| spans.iter().find(|span| span["name"] == "session").cloned();
    running.eventually("the session is told", async |_| session(&collected.spans()).is_some()).await;
    let spans = collected.spans();
    let session = session(&spans).unwrap();
    assert!(
        session.get("parentSpanId").is_none() && attribute(&session, "sqlveil.statements") == Some("3"),
        "{session}"
    );
    let statements: Vec<&Value> = spans.iter().filter(|span| span["parentSpanId"] == session["spanId"]).collect();
    assert_eq!(statements.len(), 2, "{statements:#?}");
    assert_eq!(attribute(statements[1], "db.operation.batch.size"), Some("2"));
    assert!(spans.iter().all(|span| span["traceId"] == session["traceId"]));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let running = stage().await.config(&telemetry(port, "1")).start().await;
    let client = running.client("ana").await;
    client.batch_execute("SELECT 1").await.unwrap();
    let dropped = "sqlveil_trace_spans_total{outcome=\"dropped\"}";
    running.eventually("its spans are dropped", async |r| of(r)[dropped] >= 2.0).await;
    client.batch_execute("SELECT 1").await.unwrap();
}
