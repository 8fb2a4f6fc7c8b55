//! A proxy with its interface for administrators, and requests to it over real HTTP.

use crate::support::{Running, Stage};
use serde_json::Value;
use sqlveil::admin::Server;
use std::net::SocketAddr;
use std::time::Duration;

pub const TOKEN: &str = "an-administrator's-token-that-is-long";

/// A running proxy and its interface.
pub struct Administered {
    pub running: Running,
    pub server: Server,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub text: String,
}

impl Answer {
    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Holds that it is a problem with that status (RFC 9457).
    #[track_caller]
    pub fn is_problem(&self, status: u16) {
        assert_eq!((self.status, self.kind.as_str()), (status, "application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    }
}

/// The configuration of an interface that asks for [`TOKEN`], with further lines.
pub fn with_token(stage: Stage, more: &str) -> Stage {
    stage
        .config(&format!("admin:\n  listen: \"127.0.0.1:0\"\n  token: {{file: secrets/admin}}\n{more}"))
        .document("../secrets/admin", TOKEN)
}

/// Starts a stage and its interface.
pub async fn start(stage: Stage) -> Administered {
    let running = stage.start().await;
    let server =
        Server::start(running.proxy().handle()).await.unwrap_or_else(|p| panic!("{p:#?}")).expect("it is configured");
    Administered { running, server }
}

impl Administered {
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A request with the token.
    pub async fn ask(&self, method: &'static str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        send(self.address(), method, path, &[("authorization", &format!("Bearer {TOKEN}"))], body).await
    }

    /// A request of nobody in particular.
    pub async fn ask_unknown(&self, method: &'static str, path: &str) -> Answer {
        send(self.address(), method, path, &[], None).await
    }

    /// GET with the token; the JSON of a success.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}

/// A request with these headers.
pub async fn send(
    address: SocketAddr,
    method: &'static str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Answer {
    let url = format!("http://{address}{path}");
    let headers: Vec<(String, String)> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .proxy(None)
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut response = match body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        }
        .unwrap();
        let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        Answer { status: response.status().as_u16(), kind, text: response.body_mut().read_to_string().unwrap() }
    });
    asked.await.unwrap()
}
