//! What a proxy tells of itself when its metrics are asked for.
//!
//! In: what all connections share. Out: samples. Names follow Prometheus' conventions; labels are words of the proxy's own, connection keys
//! and names of directories from the configuration. Must never: wait, ask the warehouse, or name a user.

use super::connection::Shared;
use crate::plan::Counts;
use crate::telemetry::{Labels, Process, Reading, Samples, Source, Stage};
use crate::upstream::{Figures, Occupancy};
use crate::world::{Heard, Upkeep};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The proxy as a source of samples.
pub struct Proxied {
    /// What all connections share.
    pub shared: Weak<Shared>,
    /// How the worlds are kept.
    pub upkeep: Arc<Upkeep>,
    /// The process.
    pub process: Process,
}

impl Source for Proxied {
    fn tell(&self, samples: &mut Samples<'_>) {
        let version = env!("CARGO_PKG_VERSION");
        samples.gauge("sqlveil_build_info", "Version of the proxy", &[(&[("version", version)], 1.0)]);
        if let Some(shared) = self.shared.upgrade() {
            sessions(&shared, samples);
            statements(&shared, samples);
            plans(&shared, samples);
            pools(&shared, samples);
            worlds(&shared, &self.upkeep, samples);
            directories(&shared, samples);
        }
        self.process.tell(samples);
    }
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// A counter by one label.
fn by<'a, T>(label: &'static str, all: &'a [(&'static str, T)]) -> Vec<([(&'static str, &'a str); 1], &'a T)> {
    all.iter().map(|(word, value)| ([(label, *word)], value)).collect()
}

fn sessions(shared: &Shared, samples: &mut Samples<'_>) {
    let telemetry = &shared.telemetry;
    samples.gauge("sqlveil_sessions", "Sessions of clients", &[(&[], shared.eviction.len() as f64)]);
    let most = shared.config.limits.sessions as f64;
    samples.gauge("sqlveil_sessions_max", "Sessions of clients at most (limits.sessions)", &[(&[], most)]);
    let opened = telemetry.opened.load(Relaxed);
    samples.counter("sqlveil_sessions_opened_total", "Sessions of clients that were begun", &[(&[], opened)]);
    words(
        samples,
        "sqlveil_sessions_refused_total",
        "Connections that became no session",
        "reason",
        &telemetry.refusals.read(),
    );
    words(samples, "sqlveil_cancel_requests_total", "Cancel requests of clients", "outcome", &telemetry.cancels.read());
    let logins = telemetry.logins.read();
    let logins: Vec<_> =
        logins.iter().map(|((method, result), n)| ([("method", *method), ("result", *result)], *n)).collect();
    let logins: Vec<(Labels<'_>, u64)> = logins.iter().map(|(labels, n)| (labels.as_slice(), *n)).collect();
    samples.counter("sqlveil_logins_total", "Attempts to log in", &logins);
    let bytes = shared.eviction.bytes();
    samples.counter(
        "sqlveil_client_bytes_total",
        "Bytes from and to clients, after login",
        &[(&[("direction", "received")], bytes.from_client), (&[("direction", "sent")], bytes.to_client)],
    );
    samples.counter(
        "sqlveil_warehouse_bytes_total",
        "Bytes from and to warehouses, for clients",
        &[(&[("direction", "received")], bytes.from_upstream), (&[("direction", "sent")], bytes.to_upstream)],
    );
}

fn statements(shared: &Shared, samples: &mut Samples<'_>) {
    let tallies = &shared.telemetry.tallies;
    let all = tallies.statements();
    let all: Vec<_> =
        all.iter().map(|(kind, decision, n)| ([("kind", kind.name()), ("decision", *decision)], *n)).collect();
    let all: Vec<(Labels<'_>, u64)> = all.iter().map(|(labels, n)| (labels.as_slice(), *n)).collect();
    samples.counter("sqlveil_statements_total", "Statements decided, by kind and decision", &all);
    words(
        samples,
        "sqlveil_statements_failed_total",
        "Errors of the warehouse, by class of SQLSTATE",
        "class",
        &tallies.failures(),
    );
    let rows: Vec<(&'static str, u64)> = tallies.rows().into_iter().map(|(kind, n)| (kind.name(), n)).collect();
    words(samples, "sqlveil_rows_total", "Rows read or written, as tags of completed statements say", "kind", &rows);
    samples.counter(
        "sqlveil_statements_repeated_total",
        "Simple statements that were sent as the numbers of one that the warehouse had prepared",
        &[(&[], tallies.repeated())],
    );
    samples.histogram(
        "sqlveil_warehouse_answer_seconds",
        "From sending a statement, or a batch of them, to the end of the answer, its rows passed on",
        &[(&[], tallies.answered())],
    );
}

fn plans(shared: &Shared, samples: &mut Samples<'_>) {
    let Counts { kept, filled, planned, entries, bytes } = shared.planner.counts();
    words(
        samples,
        "sqlveil_plans_total",
        "Texts by where their plan came from: kept, filled into a kept form, planned",
        "source",
        &[("kept", kept), ("filled", filled), ("planned", planned)],
    );
    samples.gauge("sqlveil_plan_cache_entries", "Plans and forms that are kept", &[(&[], entries as f64)]);
    samples.gauge("sqlveil_plan_cache_bytes", "Bytes of memory they take, about", &[(&[], bytes as f64)]);
    let (stages, planning) = shared.planner.times();
    let names = Stage::ALL.map(|stage| [("stage", stage.name())]);
    let stages: Vec<(Labels<'_>, Reading)> =
        names.iter().zip(stages).map(|(labels, time)| (labels.as_slice(), time)).collect();
    samples.histogram("sqlveil_plan_stage_seconds", "Stages of planning, of texts that were planned", &stages);
    samples.histogram("sqlveil_plan_seconds", "Planning as a whole, of texts that were planned", &[(&[], planning)]);
}

fn pools(shared: &Shared, samples: &mut Samples<'_>) {
    let pools: Vec<_> = shared.pools.iter().map(|(k, pool)| (&**k, pool.occupancy(), pool.figures())).collect();
    let mut sessions = Vec::new();
    for (key, Occupancy { held, idle, .. }, _) in &pools {
        sessions.push(([("connection", *key), ("state", "used")], *held as f64));
        sessions.push(([("connection", *key), ("state", "idle")], *idle as f64));
    }
    let sessions: Vec<(Labels<'_>, f64)> = sessions.iter().map(|(labels, n)| (labels.as_slice(), *n)).collect();
    samples.gauge("sqlveil_pool_sessions", "Sessions with the warehouse", &sessions);
    let labels: Vec<_> = pools.iter().map(|(key, ..)| [("connection", *key)]).collect();
    let gauge = |of: fn(&Occupancy) -> usize| -> Vec<(Labels<'_>, f64)> {
        labels.iter().zip(&pools).map(|(l, (_, occupancy, _))| (l.as_slice(), of(occupancy) as f64)).collect()
    };
    samples.gauge("sqlveil_pool_sessions_max", "Sessions with the warehouse at most (pool.max)", &gauge(|o| o.max));
    samples.gauge("sqlveil_pool_waiting", "Clients that wait for a session with the warehouse", &gauge(|o| o.waiting));
    let times = |of: fn(&Figures) -> &Reading| -> Vec<(Labels<'_>, Reading)> {
        labels.iter().zip(&pools).map(|(l, (_, _, figures))| (l.as_slice(), of(figures).clone())).collect()
    };
    samples.histogram(
        "sqlveil_pool_wait_seconds",
        "How long clients waited for a session with the warehouse, where none was free",
        &times(|f| &f.waits),
    );
    samples.histogram(
        "sqlveil_pool_open_seconds",
        "How long it took to open a session with the warehouse",
        &times(|f| &f.opened),
    );
    let failed: Vec<(Labels<'_>, u64)> =
        labels.iter().zip(&pools).map(|(l, (_, _, figures))| (l.as_slice(), figures.failed)).collect();
    samples.counter(
        "sqlveil_pool_open_failures_total",
        "Sessions with the warehouse that could not be opened",
        &failed,
    );
}

fn worlds(shared: &Shared, upkeep: &Upkeep, samples: &mut Samples<'_>) {
    let (published, refused) = upkeep.reloads();
    words(
        samples,
        "sqlveil_reloads_total",
        "Reloads of documents",
        "outcome",
        &[("published", published), ("refused", refused)],
    );
    let rejected = f64::from(u8::from(upkeep.is_rejected()));
    samples.gauge(
        "sqlveil_reload_rejected",
        "1 while the documents as they are now are not in force because they do not validate",
        &[(&[], rejected)],
    );
    samples.gauge(
        "sqlveil_reload_last_success_timestamp_seconds",
        "When the documents in force were published",
        &[(&[], unix(upkeep.last_good()))],
    );
    let documents = upkeep.documents();
    samples.gauge(
        "sqlveil_documents_info",
        "Digest of the documents in force: equal on proxies that enforce the same",
        &[(&[("digest", &documents)], 1.0)],
    );
    samples.histogram(
        "sqlveil_catalog_refresh_seconds",
        "How long it took to look at the catalogs, policies bound to them included",
        &[(&[], upkeep.readings())],
    );
    let heard = upkeep.connections();
    let labels: Vec<_> = heard.iter().map(|heard| [("connection", &*heard.connection)]).collect();
    let of = |value: &dyn Fn(&Heard) -> f64| -> Vec<(Labels<'_>, f64)> {
        labels.iter().zip(&heard).map(|(labels, heard)| (labels.as_slice(), value(heard))).collect()
    };
    let world = |heard: &Heard| shared.worlds.get(&heard.connection).map(|handle| handle.load());
    samples.gauge(
        "sqlveil_warehouse_up",
        "Whether the warehouse could be asked about its catalog the last time",
        &of(&|heard| f64::from(u8::from(heard.up))),
    );
    samples.gauge(
        "sqlveil_catalog_last_heard_timestamp_seconds",
        "When the warehouse last said what its catalog holds",
        &of(&|heard| unix(heard.at)),
    );
    samples.gauge(
        "sqlveil_world_version",
        "Grows with every change of documents, identities or catalog",
        &of(&|heard| world(heard).map_or(0.0, |world| world.version as f64)),
    );
    samples.gauge(
        "sqlveil_catalog_version",
        "Grows with every change of the warehouse's catalog",
        &of(&|heard| world(heard).map_or(0.0, |world| world.catalog.version as f64)),
    );
}

fn directories(shared: &Shared, samples: &mut Samples<'_>) {
    let standings = shared.directories.standings();
    if standings.is_empty() {
        return;
    }
    let labels: Vec<_> = standings.iter().map(|standing| [("directory", &*standing.name)]).collect();
    let up: Vec<(Labels<'_>, f64)> = labels
        .iter()
        .zip(&standings)
        .map(|(l, standing)| (l.as_slice(), f64::from(u8::from(standing.silent.is_none()))))
        .collect();
    samples.gauge("sqlveil_directory_up", "Whether the directory answered the last time", &up);
    let silent: Vec<(Labels<'_>, f64)> = labels
        .iter()
        .zip(&standings)
        .map(|(l, standing)| (l.as_slice(), standing.silent.unwrap_or_default().as_secs_f64()))
        .collect();
    samples.gauge("sqlveil_directory_silent_seconds", "For how long it has not answered", &silent);
    let mut questions = Vec::new();
    for standing in &standings {
        for (outcome, count) in
            [("answered", standing.answered), ("unanswered", standing.unanswered), ("unusable", standing.unusable)]
        {
            questions.push(([("directory", &*standing.name), ("outcome", outcome)], count));
        }
    }
    let questions: Vec<(Labels<'_>, u64)> = questions.iter().map(|(l, count)| (l.as_slice(), *count)).collect();
    samples.counter("sqlveil_directory_questions_total", "Questions about users", &questions);
    let took: Vec<(Labels<'_>, Reading)> =
        labels.iter().zip(&standings).map(|(l, standing)| (l.as_slice(), standing.took.clone())).collect();
    samples.histogram("sqlveil_directory_answer_seconds", "How long questions about users took", &took);
    let users = shared.directories.users() as f64;
    samples.gauge("sqlveil_directory_users", "Users of whom something is known", &[(&[], users)]);
}

/// A counter by words.
fn words(
    samples: &mut Samples<'_>,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    all: &[(&'static str, u64)],
) {
    let labels = by(label, all);
    let all: Vec<(Labels<'_>, u64)> = labels.iter().map(|(labels, count)| (labels.as_slice(), **count)).collect();
    samples.counter(name, help, &all);
}
