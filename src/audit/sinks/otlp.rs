//! Records as OTLP logs: HTTP POST of JSON (OpenTelemetry Protocol 1.x, `ExportLogsServiceRequest`, JSON Protobuf encoding).
//!
//! In: lines of the trail. Out: a request that was answered with 2xx. The record is the body, and its number, kind, user and decision are
//! attributes. Must never: follow a redirect with the headers, or wait without a bound.

use crate::config::audit::Otlp;
use crate::config::tls;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Severity numbers of the OpenTelemetry log data model: INFO and WARN.
const INFO: (u32, &str) = (9, "INFO");
const WARN: (u32, &str) = (13, "WARN");

/// Members that become attributes, and their names there.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("kind", "sqlveil.audit.kind"),
    ("session", "session.id"),
    ("user", "enduser.id"),
    ("database", "db.namespace"),
    ("decision", "sqlveil.audit.decision"),
    ("fingerprint", "sqlveil.audit.fingerprint"),
    ("code", "db.response.status_code"),
];

/// A receiver.
pub struct Collector {
    settings: Arc<Otlp>,
    agent: Agent,
}

impl Collector {
    /// Nothing is sent before the first records come.
    pub fn new(settings: Otlp) -> Self {
        let roots = settings.roots.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .user_agent("sqlveil")
            .proxy(None);
        Self { settings: Arc::new(settings), agent: config.build().new_agent() }
    }

    /// Posts lines.
    ///
    /// # Errors
    /// When the receiver is away or does not take them.
    pub async fn post(&self, lines: Vec<u8>) -> Result<(), String> {
        self.send_made(move || request_of(&lines)).await
    }

    /// Posts a request.
    ///
    /// # Errors
    /// As [`Collector::post`].
    pub async fn send(&self, request: Value) -> Result<(), String> {
        self.send_made(move || request).await
    }

    /// A request is made where it may take its time.
    async fn send_made(&self, made: impl FnOnce() -> Value + Send + 'static) -> Result<(), String> {
        let (agent, settings) = (self.agent.clone(), Arc::clone(&self.settings));
        let posted = tokio::task::spawn_blocking(move || {
            let mut request = agent.post(&settings.endpoint).content_type("application/json");
            for (name, value) in &settings.headers {
                request = request.header(name, value.expose());
            }
            let answer = request.send(made().to_string()).map_err(|error| error.to_string())?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("the collector answers with {status}")),
            }
        });
        posted.await.map_err(|error| error.to_string())?
    }
}

fn request_of(lines: &[u8]) -> Value {
    let records: Vec<Value> = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(record_of).collect();
    json!({
        "resourceLogs": [{
            "resource": { "attributes": [text("service.name", "sqlveil"), text("service.version", env!("CARGO_PKG_VERSION"))] },
            "scopeLogs": [{ "scope": { "name": "sqlveil.audit" }, "logRecords": records }],
        }],
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn record_of(line: &[u8]) -> Value {
    let record: Value = serde_json::from_slice(line).unwrap_or_default();
    let member = |name: &str| record.get(name).and_then(Value::as_str);
    let time = member("time").and_then(|time| time.parse::<jiff::Timestamp>().ok()).unwrap_or_default();
    let refused = member("decision").is_some_and(|decision| decision.ends_with("refused"));
    let (number, name) = if refused { WARN } else { INFO };
    let attributes: Vec<Value> =
        ATTRIBUTES.iter().filter_map(|(name, attribute)| Some(text(attribute, member(name)?))).collect();
    json!({
        // 64-bit numbers are texts in this encoding.
        "timeUnixNano": time.as_nanosecond().to_string(),
        "severityNumber": number,
        "severityText": name,
        "body": { "stringValue": String::from_utf8_lossy(line) },
        "attributes": attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_log_record() {
        let line = br#"{"seq":1,"time":"2026-11-23T06:55:01.5Z","kind":"statement","user":"ana","decision":"refused","hash":"x"}"#;
        let request = request_of(&[line, &b"\n"[..]].concat());
        let record = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1795416901500000000");
        assert_eq!((&record["severityText"], &record["severityNumber"]), (&json!("WARN"), &json!(13)));
        assert_eq!(record["body"]["stringValue"], std::str::from_utf8(line).unwrap());
        assert_eq!(record["attributes"][1], text("enduser.id", "ana"));
    }
}
