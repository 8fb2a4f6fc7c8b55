//! Records of logins, of what callers accept, of what administrators order, and of which documents are in force.
//!
//! In: who, and what came of it. Out: a record in the trail, or a `tracing` event with the target `audit`. Must never: hold anything of what
//! was presented.

use super::members::Members;
use super::record::because;
use super::trail::Trail;
use crate::error::Refusal;
use crate::identity::Acknowledgement;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Who tries to log in.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The name given; once somebody has logged in, who he is.
    pub user: &'a str,
    /// The name given, when that is a temporary account of his.
    pub login: Option<&'a str>,
    /// The database given.
    pub database: &'a str,
    /// `application_name` given.
    pub application: &'a str,
    /// From where.
    pub peer: SocketAddr,
    /// By which method.
    pub method: &'static str,
}

/// Why somebody does not get in.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// What the client is told.
    pub refusal: &'a Refusal,
    /// What he is not told; holds nothing of what was presented.
    pub why: Option<&'a str>,
    /// The settings of the startup packet as statements without their values, when one of them is refused: the record quotes no value.
    pub settings: Option<&'a str>,
}

/// A login, with the name of its session, or why there is none.
pub fn login(trail: &Trail, by: &By<'_>, outcome: Result<&str, Refused<'_>>) {
    let (session, refused) = (outcome.ok(), outcome.err());
    let (refusal, why) = (refused.map(|refused| refused.refusal), refused.and_then(|refused| refused.why));
    let settings = refused.and_then(|refused| refused.settings);
    let By { user, login, database, application, peer, method } = by;
    let decision = if refusal.is_some() { "login refused" } else { "login" };
    if trail.is_on() {
        let mut members = Members::at(SystemTime::now(), "login", 512);
        members.text_if("session", session).text("user", user).text_if("login", *login);
        members.text("database", database).text("application", application).text("client", &peer.to_string());
        members.text("method", method).text("decision", decision);
        if let Some(refusal) = refusal {
            because(refusal, settings, &mut members);
        }
        members.text_if("why", why).text_if("settings", settings);
        trail.put(&members);
    } else {
        tracing::info!(
            target: "audit",
            user,
            login,
            database,
            %peer,
            method,
            decision,
            code = refusal.map(|r| r.code.0),
            why,
            settings,
        );
    }
}

/// A caller accepted what a project asks for. The texts are in the acknowledgements themselves.
pub fn acknowledged(trail: &Trail, user: &str, login: Option<&str>, project: &str, asked: &[Acknowledgement]) {
    let purposes = asked.iter().map(|a| a.purpose.as_str());
    if trail.is_on() {
        let mut members = Members::at(SystemTime::now(), "acknowledged", 256);
        members.text("user", user).text_if("login", login).text("project", project).texts("purposes", purposes);
        members.text("decision", "acknowledged");
        trail.put(&members);
    } else {
        let purposes: Vec<&str> = purposes.collect();
        tracing::info!(target: "audit", user, login, project, purposes = purposes.join(", "), decision = "acknowledged");
    }
}

/// Longest request of an administrator that is kept, in bytes.
const LONGEST_REQUEST: usize = 200;

/// An administrator ordered something, or asked what he may not: the request's line without its query, and the status of the answer (RFC 9110).
pub fn administered(trail: &Trail, request: &str, client: Option<SocketAddr>, status: u16) {
    let request: String = request.chars().take(LONGEST_REQUEST).collect();
    let decision = if status < 400 { "allowed" } else { "refused" };
    let client = client.map(|client| client.to_string());
    if trail.is_on() {
        let mut members = Members::at(SystemTime::now(), "administration", 256);
        members.text("request", &request).text_if("client", client.as_deref());
        members.text("decision", decision).number("status", status);
        trail.put(&members);
    } else {
        tracing::info!(target: "audit", request, client, decision, status);
    }
}

/// From now on these documents are in force: their digest, and the version of each connection's world under which statements are decided.
pub fn published<'c>(trail: &Trail, documents: &str, worlds: impl Iterator<Item = (&'c str, u64)>) {
    let mut members = Members::at(SystemTime::now(), "policies", 256);
    members.text("documents", documents);
    let mut versions = Members::default();
    for (connection, version) in worlds {
        versions.number_of(connection, version);
    }
    members.object("worlds", &versions);
    trail.put(&members);
}
