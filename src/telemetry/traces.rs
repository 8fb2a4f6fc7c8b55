//! Traces: spans of sessions and statements, sent to a collector as OTLP (OpenTelemetry Protocol 1.x, JSON Protobuf encoding over HTTP).
//!
//! In: what sessions say has begun and ended. Out: spans, several at a time; where the collector is away they are dropped and counted.
//! Attributes follow OpenTelemetry's semantic conventions for databases. Must never: hold a text, a name of a user or a value; keep a session
//! waiting.

use super::kind::Kind;
use super::samples::{Samples, Source};
use super::stages::{Stage, Stages};
use crate::audit::Collector;
use crate::config::traces::Traces;
use crate::error::Refusal;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

/// Spans that wait at most, and that are sent at once.
const WAITING: usize = 8192;
const BATCH: usize = 512;
/// So long it is waited for more of them.
const LINGER: Duration = Duration::from_millis(500);
/// Kinds of spans (`SpanKind` of `trace.proto`).
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// A place in a trace (W3C Trace Context, 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    trace: u128,
    span: u64,
    /// The caller records the trace.
    sampled: bool,
}

impl Parent {
    /// Of the `traceparent` in a comment that begins or ends a text, as SQLCommenter writes it: `/*traceparent='00-…-…-01'*/`.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let ended = text.trim_end_matches(|c: char| c == ';' || c.is_ascii_whitespace());
        let last = ended.strip_suffix("*/").and_then(|text| Some(text.rsplit_once("/*")?.1));
        let first = || text.strip_prefix("/*").and_then(|text| Some(text.split_once("*/")?.0));
        let within = |comment: &str| Self::read(comment.split_once("traceparent='")?.1.split_once('\'')?.0);
        last.and_then(within).or_else(|| first().and_then(within))
    }

    fn read(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next()?;
            let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            (part.len() == digits && part.bytes().all(lower)).then_some(part)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        // Later versions may say more behind it; this one is not.
        let more = parts.next().is_some();
        (version != "ff" && !(version == "00" && more)).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Sends spans.
#[derive(Debug)]
pub struct Tracer {
    ratio: f64,
    spans: Sender<Value>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Tracer {
    /// One whose spans are sent from now on, inside a tokio runtime, for as long as somebody holds it.
    pub fn start(settings: &Traces) -> Arc<Self> {
        let (spans, waiting) = channel(WAITING);
        let tracer =
            Arc::new(Self { ratio: settings.ratio, spans, sent: AtomicU64::new(0), dropped: AtomicU64::new(0) });
        tokio::spawn(send(waiting, Collector::new(settings.otlp.clone()), Arc::downgrade(&tracer)));
        tracer
    }

    fn put(&self, span: Value) {
        if self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Source for Tracer {
    fn tell(&self, samples: &mut Samples<'_>) {
        let (sent, dropped) = (self.sent.load(Relaxed), self.dropped.load(Relaxed));
        let help = "Spans of traces, by whether a collector took them";
        let all: [(super::Labels<'_>, u64); 2] = [(&[("outcome", "sent")], sent), (&[("outcome", "dropped")], dropped)];
        samples.counter("sqlveil_trace_spans_total", help, &all);
    }
}

async fn send(mut waiting: Receiver<Value>, collector: Collector, tracer: Weak<Tracer>) {
    let mut failing = false;
    while let Some(first) = waiting.recv().await {
        let mut spans = vec![first];
        while spans.len() < BATCH
            && let Ok(Some(span)) = timeout(LINGER, waiting.recv()).await
        {
            spans.push(span);
        }
        let count = spans.len() as u64;
        let sent = collector.send(request(spans)).await;
        let Some(tracer) = tracer.upgrade() else { return };
        match sent {
            Ok(()) => {
                tracer.sent.fetch_add(count, Relaxed);
                if std::mem::take(&mut failing) {
                    tracing::info!("the collector of traces answers again");
                }
            }
            Err(why) => {
                tracer.dropped.fetch_add(count, Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("traces are dropped until their collector answers: {why}");
                }
            }
        }
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn request(spans: Vec<Value>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "sqlveil"), text("service.version", version)]},
        "scopeSpans": [{"scope": {"name": "sqlveil", "version": version}, "spans": spans}],
    }]})
}

fn identity<T: Default + PartialEq>(make: impl Fn() -> T) -> T {
    loop {
        let id = make();
        if id != T::default() {
            return id;
        }
    }
}

fn trace_id() -> u128 {
    identity(rand::random::<u128>)
}

fn span_id() -> u64 {
    identity(rand::random::<u64>)
}

/// Nanoseconds since 1970 of a moment that was a while ago.
fn nanoseconds(at: Instant) -> String {
    let time = SystemTime::now().checked_sub(at.elapsed()).unwrap_or(UNIX_EPOCH);
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos().to_string()
}

/// One span.
struct Span<'a> {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    name: &'a str,
    kind: u8,
    time: (Instant, Instant),
    attributes: Vec<Value>,
    failed: bool,
}

impl Span<'_> {
    fn value(self) -> Value {
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": nanoseconds(self.time.0),
            "endTimeUnixNano": nanoseconds(self.time.1),
            "attributes": self.attributes,
        });
        if let Some(members) = span.as_object_mut() {
            if let Some(parent) = self.parent {
                members.insert("parentSpanId".into(), format!("{parent:016x}").into());
            }
            if self.failed {
                members.insert("status".into(), json!({"code": ERROR}));
            }
        }
        span
    }
}

/// What a session traces: one trace of its own, whose spans its statements are unless their callers say of which trace they are.
#[derive(Debug)]
pub struct Traced {
    tracer: Arc<Tracer>,
    connection: Arc<str>,
    pid: i32,
    began: Instant,
    own: Parent,
    statements: u64,
    open: VecDeque<Open>,
}

/// A batch that is being answered.
#[derive(Debug)]
struct Open {
    batch: u64,
    parent: Parent,
    kind: Kind,
    statements: u64,
    began: Instant,
    stages: Option<Stages>,
    rows: u64,
    code: Option<String>,
}

impl Traced {
    /// A session that begins.
    pub fn begin(tracer: &Arc<Tracer>, connection: &Arc<str>, pid: i32) -> Self {
        let own = Parent { trace: trace_id(), span: span_id(), sampled: true };
        Self {
            tracer: Arc::clone(tracer),
            connection: Arc::clone(connection),
            pid,
            began: Instant::now(),
            own,
            statements: 0,
            open: VecDeque::new(),
        }
    }

    /// Whose span a statement is; `None`: it is not traced.
    fn parent(&self, sql: &str) -> Option<Parent> {
        match Parent::of(sql) {
            Some(parent) => parent.sampled.then_some(parent),
            None => (rand::random::<f64>() < self.tracer.ratio).then_some(self.own),
        }
    }

    /// A statement is sent with that batch, which came at `began`.
    pub fn allowed(&mut self, batch: u64, kind: Kind, sql: &str, began: Instant, stages: Option<Stages>) {
        if let Some(open) = self.open.back_mut().filter(|open| open.batch == batch) {
            open.statements += 1;
            open.stages = stages;
            return;
        }
        if let Some(parent) = self.parent(sql) {
            self.open.push_back(Open { batch, parent, kind, statements: 1, began, stages, rows: 0, code: None });
        }
    }

    /// A text is refused.
    pub fn refused(&mut self, sql: &str, refusal: &Refusal, began: Instant) {
        let Some(parent) = self.parent(sql) else { return };
        let code = refusal.code.0;
        let mut attributes = self.attributes(Kind::of_text(sql));
        attributes.extend([text("db.response.status_code", code), text("error.type", code)]);
        attributes.push(text("sqlveil.decision", "refused"));
        let name = operation(Kind::of_text(sql));
        self.put(parent, &name, SERVER, (began, Instant::now()), attributes, true);
    }

    /// A statement of a batch has ended, with so many rows.
    pub fn completed(&mut self, batch: u64, rows: Option<u64>) {
        if let Some(open) = self.open.iter_mut().find(|open| open.batch == batch) {
            open.rows += rows.unwrap_or(0);
        }
    }

    /// The warehouse raised an error in a batch.
    pub fn failed(&mut self, batch: u64, code: &str) {
        if let Some(open) = self.open.iter_mut().find(|open| open.batch == batch) {
            open.code = Some(code.chars().filter(char::is_ascii_alphanumeric).take(5).collect());
        }
    }

    /// A batch that was sent at `sent` is answered to its end.
    pub fn answered(&mut self, batch: u64, sent: Instant) {
        while let Some(open) = self.next_until(batch) {
            if open.batch == batch {
                self.tell(&open, sent);
            }
        }
    }

    /// Batches are answered in their order.
    fn next_until(&mut self, batch: u64) -> Option<Open> {
        if self.open.front()?.batch <= batch { self.open.pop_front() } else { None }
    }

    fn tell(&mut self, open: &Open, sent: Instant) {
        let now = Instant::now();
        self.statements += open.statements;
        let failed = open.code.is_some();
        let mut attributes = self.attributes(open.kind);
        attributes.push(text("sqlveil.decision", "allowed"));
        attributes.push(number("db.response.returned_rows", open.rows));
        if open.statements > 1 {
            attributes.push(number("db.operation.batch.size", open.statements));
        }
        if let Some(code) = &open.code {
            attributes.extend([text("db.response.status_code", code), text("error.type", code)]);
        }
        let name = operation(open.kind);
        let began = open.stages.map_or(open.began, |stages| stages.began.min(open.began));
        let span = self.put(open.parent, &name, SERVER, (began, now), attributes, failed);
        let below = Parent { span, ..open.parent };
        if let Some(stages) = open.stages {
            // The stages take turns; where each begins is not known, how long it took is.
            let mut at = stages.began;
            for (stage, took) in Stage::ALL.into_iter().zip(stages.times) {
                self.put(below, stage.name(), INTERNAL, (at, at + took), Vec::new(), false);
                at += took;
            }
        }
        self.put(below, "upstream", CLIENT, (sent, now), self.attributes(open.kind), failed);
    }

    fn attributes(&self, kind: Kind) -> Vec<Value> {
        vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", &self.connection),
            text("db.operation.name", &operation(kind)),
            text("session.id", &self.pid.to_string()),
        ]
    }

    fn put(
        &self,
        parent: Parent,
        name: &str,
        kind: u8,
        time: (Instant, Instant),
        attributes: Vec<Value>,
        failed: bool,
    ) -> u64 {
        let id = span_id();
        let span = Span { trace: parent.trace, id, parent: Some(parent.span), name, kind, time, attributes, failed };
        self.tracer.put(span.value());
        id
    }
}

impl Drop for Traced {
    /// The session's own span; without it its statements would have no parent. One that traced nothing tells nothing.
    fn drop(&mut self) {
        if self.statements == 0 {
            return;
        }
        let attributes = vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", &self.connection),
            text("session.id", &self.pid.to_string()),
            number("sqlveil.statements", self.statements),
        ];
        let time = (self.began, Instant::now());
        let Parent { trace, span: id, .. } = self.own;
        let span = Span { trace, id, parent: None, name: "session", kind: SERVER, time, attributes, failed: false };
        self.tracer.put(span.value());
    }
}

fn operation(kind: Kind) -> String {
    kind.name().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_stand_in_comments_at_either_end() {
        let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let known = Some(Parent {
            trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span: 0xb7ad_6b71_6920_3331,
            sampled: true,
        });
        for text in [
            format!("SELECT 1 /*action='x',traceparent='{value}'*/"),
            format!("SELECT 1 /* traceparent='{value}' */ ; "),
            format!("/*traceparent='{value}'*/ SELECT 1"),
            format!("SELECT 1 /*a*/ /*traceparent='{value}'*/;"),
        ] {
            assert_eq!(Parent::of(&text), known, "{text}");
        }
        for text in [
            format!("SELECT 'traceparent=''{value}'''"),
            format!("SELECT '/*traceparent={value}*/'"),
            format!("SELECT /*traceparent='{value}'*/ 1"),
            format!("SELECT 1 /*traceparent='{value}-x'*/"),
            format!("SELECT 1 /*traceparent='ff{}'*/", &value[2..]),
            format!("SELECT 1 /*traceparent='{}'*/", value.replace("0af7", "0AF7")),
            "SELECT 1 /*traceparent='00-00000000000000000000000000000000-b7ad6b7169203331-01'*/".to_owned(),
            "SELECT 1 /*traceparent='00-1-2-3".to_owned(),
            "*/".to_owned(),
        ] {
            assert_eq!(Parent::of(&text), None, "{text}");
        }
        assert!(!Parent::read(&value.replace("-01", "-00")).unwrap().sampled);
    }
}
