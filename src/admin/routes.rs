//! What can be asked and ordered.

use super::access;
use super::explained::{self, explain};
use super::listing::Session;
use super::problem::Problem;
use crate::config::Admin;
use crate::governance::problem::{self, Severity};
use crate::identity::Login;
use crate::session::{Cancelled, Handle};
use crate::telemetry::{Labels, MEDIA_TYPE, Samples, Source, Words};
use crate::world::Outcome;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A request takes no longer, its body included.
const LONGEST: Duration = Duration::from_secs(30);
/// A reload asks warehouses, which may take their time.
const LONGEST_RELOAD: Duration = Duration::from_secs(300);
/// Beyond a statement, so many bytes of a body.
const ENVELOPE: usize = 64 * 1024;
/// Explanations at once: each takes a processor.
const EXPLANATIONS: usize = 2;

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    handle: Handle,
    explanations: Arc<tokio::sync::Semaphore>,
}

/// Requests by route and status.
#[derive(Default)]
struct Requests(Words<(&'static str, &'static str)>);

impl Source for Requests {
    fn tell(&self, samples: &mut Samples<'_>) {
        let all = self.0.read();
        let all: Vec<_> = all.iter().map(|((path, class), n)| ([("path", *path), ("status", *class)], *n)).collect();
        let all: Vec<(Labels<'_>, u64)> = all.iter().map(|(labels, count)| (labels.as_slice(), *count)).collect();
        samples.counter(
            "sqlveil_admin_requests_total",
            "Requests of administrators, by route and class of status",
            &all,
        );
    }
}

/// The routes; a label is one of these, never a path as it was asked.
const PATHS: [&str; 12] = [
    "/live",
    "/ready",
    "/metrics",
    "/version",
    "/config",
    "/sessions",
    "/sessions/{id}/cancel",
    "/sessions/{id}/end",
    "/cache/flush",
    "/reload",
    "/drain",
    "/explain",
];

/// All of them, behind the check of who asks.
pub fn routes(handle: Handle, admin: &Arc<Admin>) -> Router {
    let requests: Arc<Requests> = Arc::default();
    handle.telemetry().add(Arc::clone(&requests) as Arc<dyn Source>);
    let limit = handle.config().limits.statement_bytes.saturating_mul(2).saturating_add(ENVELOPE);
    let desk = Desk { handle, explanations: Arc::new(tokio::sync::Semaphore::new(EXPLANATIONS)) };
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/config", get(config))
        .route("/sessions", get(sessions))
        .route("/sessions/{id}/cancel", post(cancel))
        .route("/sessions/{id}/end", post(end))
        .route("/cache/flush", post(flush))
        .route("/reload", post(reload))
        .route("/drain", post(drain))
        .route("/explain", post(explained))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing of that name"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "asked in another way"))
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn(bounded))
        .layer(middleware::from_fn_with_state(Arc::clone(admin), access::check))
        .layer(middleware::from_fn_with_state((requests, desk.handle.clone()), counted))
        .with_state(desk)
}

async fn counted(State((requests, handle)): State<(Arc<Requests>, Handle)>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<access::Peer>().copied();
    let asked = format!("{} {}", request.method(), request.uri().path());
    let is_order = request.method() == Method::POST;
    let matched = request.extensions().get::<MatchedPath>();
    let path = PATHS.into_iter().find(|path| matched.is_some_and(|m| m.as_str() == *path)).unwrap_or("other");
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        200..=299 => "2xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    };
    requests.0.count((path, class));
    // Who only looks leaves a record when he may not.
    if is_order || matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        handle.record(&asked, peer.map(|peer| peer.address), response.status().as_u16());
    }
    response
}

async fn bounded(request: Request, next: Next) -> Response {
    let longest = if request.uri().path() == "/reload" { LONGEST_RELOAD } else { LONGEST };
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response();
    timeout(longest, next.run(request)).await.unwrap_or_else(|_| late())
}

async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

async fn ready(State(desk): State<Desk>) -> Response {
    let readiness = desk.handle.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(desk): State<Desk>) -> Result<Response, Problem> {
    let text = desk.handle.metrics();
    let text = text.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

async fn version() -> Json<Value> {
    Json(json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"), "protocol": ["3.0", "3.2"]}))
}

async fn config(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.handle.config().effective())
}

async fn sessions(State(desk): State<Desk>) -> Json<Value> {
    let seen = desk.handle.sessions().await;
    let listed: Vec<Session<'_>> = seen.iter().map(Session::of).collect();
    Json(json!({"sessions": listed}))
}

fn no_session() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such session")
}

/// The number of a session in a path.
fn number(id: &str) -> Result<u64, Problem> {
    id.parse().map_err(|_| no_session())
}

async fn cancel(State(desk): State<Desk>, Path(id): Path<String>) -> Result<Response, Problem> {
    match desk.handle.cancel(number(&id)?).await {
        Cancelled::Unknown => Err(no_session()),
        Cancelled::Nothing => Err(Problem::new(StatusCode::CONFLICT, "the session does nothing in the warehouse")),
        Cancelled::Failed => Err(Problem::new(StatusCode::BAD_GATEWAY, "the warehouse could not be told")),
        Cancelled::Delivered => Ok((StatusCode::ACCEPTED, Json(json!({"cancelled": true}))).into_response()),
    }
}

/// How a session is ended.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ending {
    /// What it is doing is cancelled.
    at_once: bool,
}

async fn end(State(desk): State<Desk>, Path(id): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let Ending { at_once } = read(&body)?;
    if !desk.handle.end(number(&id)?, at_once).await {
        return Err(no_session());
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"ending": true}))).into_response())
}

async fn flush(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({"plans": desk.handle.flush()}))
}

/// A problem of the documents, as JSON.
fn told(problem: &problem::Problem) -> Value {
    let severity = match problem.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    json!({"severity": severity, "where": problem.origin.to_string(), "message": problem.message, "help": problem.help})
}

async fn reload(State(desk): State<Desk>) -> Result<Json<Value>, Problem> {
    let list = |problems: &[problem::Problem]| Value::from(problems.iter().map(told).collect::<Vec<_>>());
    match desk.handle.reload().await {
        Outcome::Published(problems) => Ok(Json(json!({"outcome": "published", "problems": list(&problems)}))),
        Outcome::Unchanged => Ok(Json(json!({"outcome": "unchanged", "problems": []}))),
        Outcome::Refused(problems) => {
            let text = "the documents do not validate; the last good set stays in force";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text).with("problems", list(&problems)))
        }
    }
}

/// How the proxy is drained.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Draining {
    /// Whatever is left after so many seconds is ended; as configured when it is not said.
    deadline_seconds: Option<u32>,
}

async fn drain(State(desk): State<Desk>, body: Bytes) -> Result<Response, Problem> {
    let Draining { deadline_seconds } = read(&body)?;
    desk.handle.drain(deadline_seconds.map(|seconds| Duration::from_secs(seconds.into())));
    tracing::info!("drained by an administrator: sessions end between transactions");
    Ok((StatusCode::ACCEPTED, Json(json!({"draining": true}))).into_response())
}

/// What is to be explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    user: String,
    database: Option<String>,
    project: Option<String>,
    statement: String,
}

async fn explained(State(desk): State<Desk>, body: Bytes) -> Result<Json<explained::Explained>, Problem> {
    let Question { user, database, project, statement } = read_some(&body)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "there is no such database; name one where there are several");
    let world = desk.handle.world(database.as_deref()).ok_or_else(unknown)?;
    let (name, suffix) = world.directory.split_login(&user);
    let login = desk.handle.directories().introduce(&world.directory, Login::of(name)).await;
    let caller = world.directory.caller_of(&login, project.as_deref().or(suffix));
    let caller = caller.map_err(|refusal| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the caller is refused: {refusal}"))
    })?;
    let caller = Arc::new(caller);
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the statement cannot be explained");
    let turn = Arc::clone(&desk.explanations).acquire_owned().await.map_err(|_| failed())?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        explain(&world, &caller, &statement)
    });
    done.await.map(Json).map_err(|_| failed())
}

/// A body that may be missing.
fn read<T: Default + for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { read_some(body) }
}

fn read_some<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Problem> {
    // What is wrong is told by its kind and place; words of serde quote the body.
    serde_json::from_slice(body).map_err(|error| {
        let text =
            format!("the body is not the JSON that is expected (line {}, column {})", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, text)
    })
}
