//! Keeps the worlds current: documents on demand and on change, catalogs on a schedule.
//!
//! In: the configuration, requests to reload, events of the file system, the clock. Out: worlds published in their handles.
//! Must never: publish documents with an error (the last good set stays in force), or keep policies bound to a catalog that is known
//! to be out of date.
//!
//! When only the catalog changed, the accepted documents are bound again and published even if a policy no longer fits: the data
//! sources it touches then refuse, which is safe, while the old binding would speak of a table that is no more.

use super::documents::{self, Documents, Fingerprint, Marks};
use super::ends::{Ends, Ticket};
use super::load::{self, Attempt, Binding, attempt_all, once, read_documents, salts};
use super::upkeep::Upkeep;
use super::warehouse::Warehouse;
use super::watch::Watch;
use super::{WorldHandle, Worlds};
use crate::config::Config;
use crate::governance::problem::{Problem, Severity, any_error, count};
use crate::policy::Salts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

/// Quiet time after a change before the documents are read, and the longest time a stream of changes may put it off.
const DEBOUNCE: Duration = Duration::from_millis(200);
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(2);
/// How often the documents are looked at when no event came.
pub(super) const POLL: Duration = Duration::from_secs(10);
/// How soon a warehouse that could not confirm the policies is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// What came of a reload.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The new set is in force; warnings.
    Published(Vec<Problem>),
    /// The documents are those already in force (or already refused).
    Unchanged,
    /// The set has errors; the one before stays in force.
    Refused(Vec<Problem>),
}

enum Request {
    /// Reload whatever the fingerprint says; the answer goes to whoever waits.
    Reload(Option<oneshot::Sender<Outcome>>),
}

/// Asks for reloads. Dropping it ends them; the worlds stay as they are.
pub struct Reloader {
    requests: mpsc::Sender<Request>,
    upkeep: Arc<Upkeep>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Reloader {
    /// Loads everything once and keeps it current from then on. Warnings are logged.
    ///
    /// # Errors
    /// Every problem, when any is an error: a proxy does not start on a set that does not validate.
    pub async fn start(config: Arc<Config>) -> Result<(Worlds, Self), Vec<Problem>> {
        // Watching begins before reading, so that no change falls in between.
        let (events, changed) = mpsc::channel(1);
        let (also, changed_too) = mpsc::channel(1);
        let events = [events, also];
        let watch = Watch::start(&config, events.clone());
        let mut loaded = load::load(&config).await;
        let (documents, warehouses) = (loaded.documents.take(), std::mem::take(&mut loaded.warehouses));
        let fingerprint = loaded.fingerprint;
        let (worlds, warnings) = loaded.into_result()?;
        log(&warnings);
        let handles: BTreeMap<Arc<str>, WorldHandle> =
            worlds.into_iter().map(|(key, world)| (key, WorldHandle::new(world))).collect();
        let worlds = Worlds::new(handles);
        let Some(documents) = documents else {
            return Err(vec![Problem::in_file(&config.governance, "holds no documents", "check the path")]);
        };
        let legs =
            warehouses.into_iter().map(|w| Leg { warehouse: w, settled: true, stale: false, down: false }).collect();
        let upkeep = Arc::new(Upkeep::new(&config, fingerprint));
        let ends = Arc::new(Ends::new(config.identities(), worlds.clone()));
        let keeper = Keeper {
            salts: salts(&config),
            worlds: worlds.clone(),
            read: Ticket::default(),
            ends: Arc::clone(&ends),
            upkeep: Arc::clone(&upkeep),
            documents,
            tried: fingerprint,
            seen: None,
            legs,
            events,
            _watch: watch,
            config,
        };
        let (requests, inbox) = mpsc::channel(8);
        let tasks = [tokio::spawn(keeper.run(inbox, changed)), tokio::spawn(ends.run(changed_too))];
        Ok((worlds, Self { requests, upkeep, tasks }))
    }

    /// What came of it so far.
    pub fn upkeep(&self) -> &Arc<Upkeep> {
        &self.upkeep
    }

    /// Asks for a reload of documents and catalogs and does not wait (SIGHUP).
    pub fn reload(&self) {
        // A full queue already holds a reload that has not begun.
        let _ = self.requests.try_send(Request::Reload(None));
    }

    /// Reloads and says what came of it.
    pub async fn reload_and_wait(&self) -> Outcome {
        self.reloaded().await
    }

    /// [`Reloader::reload_and_wait`] that outlives the borrow.
    pub fn reloaded(&self) -> impl Future<Output = Outcome> + Send + use<> {
        let requests = self.requests.clone();
        async move {
            let (answer, wait) = oneshot::channel();
            let stopped = || Outcome::Refused(vec![Problem::nowhere("reloading has stopped", "restart the proxy")]);
            if requests.send(Request::Reload(Some(answer))).await.is_err() {
                return stopped();
            }
            wait.await.unwrap_or_else(|_| stopped())
        }
    }
}

/// A connection being kept current.
struct Leg {
    warehouse: Warehouse,
    /// Whether the published policies were confirmed by the warehouse.
    settled: bool,
    /// Whether the catalog was read anew since the last publishing.
    stale: bool,
    /// Whether the warehouse could not be asked the last time.
    down: bool,
}

/// The task behind a [`Reloader`].
struct Keeper {
    config: Arc<Config>,
    salts: Salts,
    worlds: Worlds,
    /// The documents in force.
    documents: Arc<Documents>,
    /// When they were read.
    read: Ticket,
    /// Who has ended since.
    ends: Arc<Ends>,
    /// What is told of all this.
    upkeep: Arc<Upkeep>,
    /// Fingerprint of the documents last tried, good or bad.
    tried: Fingerprint,
    /// What the system told of these before they were last found to be the same.
    seen: Option<Marks>,
    legs: Vec<Leg>,
    events: [mpsc::Sender<()>; 2],
    _watch: Watch,
}

impl Keeper {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut changed: mpsc::Receiver<()>) {
        let refresh = self.config.catalog_refresh.max(Duration::from_millis(100));
        let mut catalogs = interval_at(Instant::now() + refresh, refresh);
        let mut poll = interval_at(Instant::now() + POLL, POLL);
        catalogs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let unsettled = self.legs.iter().any(|leg| !leg.settled);
            tokio::select! {
                request = requests.recv() => match request {
                    None => return,
                    Some(Request::Reload(answer)) => {
                        let outcome = self.reload().await;
                        if let Some(answer) = answer {
                            let _ = answer.send(outcome);
                        }
                    }
                },
                Some(()) = changed.recv() => {
                    quiet(&mut changed, LONGEST_DEBOUNCE).await;
                    // Folders may be new, links may lead elsewhere.
                    self._watch = Watch::start(&self.config, self.events.clone());
                    self.reload_if_changed().await;
                }
                _ = poll.tick() => { self.reload_if_changed().await; }
                _ = catalogs.tick() => self.refresh_catalogs().await,
                () = sleep(RETRY), if unsettled => self.refresh_catalogs().await,
            }
        }
    }

    async fn reload_if_changed(&mut self) -> Outcome {
        let (config, seen) = (Arc::clone(&self.config), self.seen.take());
        let look = move || {
            let marks = documents::marks(&config);
            let same = marks.is_some() && marks == seen;
            (marks, if same { None } else { Some(documents::fingerprint(&config)) })
        };
        match tokio::task::spawn_blocking(look).await {
            Ok((marks, now)) if now.is_none_or(|now| now == self.tried) => {
                self.seen = marks;
                Outcome::Unchanged
            }
            _ => self.reload().await,
        }
    }

    /// Reads documents and catalogs; publishes all of it or none of the documents.
    async fn reload(&mut self) -> Outcome {
        let ends = Arc::clone(&self.ends);
        // What ends somebody does not wait for the rest.
        let _ = tokio::task::spawn_blocking(move || ends.look()).await;
        let ticket = self.ends.ticket();
        let read = read_documents(&self.config).await;
        self.tried = read.fingerprint;
        self.seen = None;
        let mut problems = read.problems;
        let Some(documents) = read.documents.map(Arc::new) else {
            return self.refused(problems);
        };
        problems.extend(self.lost(&documents));
        let attempts = self.attempt(&documents, |_| Binding::Anew).await;
        for attempt in &attempts {
            problems.extend(attempt.problems.iter().cloned());
            // A warehouse that is down cannot confirm; what needs its word refuses until it is back, which is no reason to refuse the set.
            problems.extend(attempt.unreachable.clone().map(|p| Problem { severity: Severity::Warning, ..p }));
        }
        once(&mut problems);
        if any_error(&problems) {
            self.keep(attempts);
            if self.legs.iter().any(|leg| leg.stale) {
                self.refresh_catalogs().await;
            }
            return self.refused(problems);
        }
        self.read = ticket;
        self.documents = documents;
        self.publish(attempts);
        self.upkeep.published(self.tried);
        log(&problems);
        tracing::info!(policies = self.documents.declared.policies.len(), "the documents were reloaded");
        Outcome::Published(problems)
    }

    /// An accounts file that is gone: whoever it kept out would be back in.
    fn lost(&self, documents: &Documents) -> Option<Problem> {
        let had = self.documents.directory.has_accounts_file() && !documents.directory.has_accounts_file();
        let help = "put it back; {} in it if nothing of it shall hold any more";
        had.then(|| Problem::in_file(&self.config.accounts, "the accounts file is not there any more", help))
    }

    fn refused(&self, mut problems: Vec<Problem>) -> Outcome {
        once(&mut problems);
        log(&problems);
        let (errors, _) = count(&problems);
        self.upkeep.refused();
        tracing::error!(errors, "the changed documents are not in force: the last good set stays");
        Outcome::Refused(problems)
    }

    /// Reads the catalogs again; binds the accepted documents to those that changed and to those not confirmed yet. Where there is
    /// nothing new, or nobody to confirm it, what is published stays.
    async fn refresh_catalogs(&mut self) {
        let documents = Arc::clone(&self.documents);
        // To compile every policy against every table only to find that nothing is new takes long where there are many of them.
        let binding = |leg: &Leg| if leg.settled && !leg.stale { Binding::IfChanged } else { Binding::Anew };
        let mut attempts = self.attempt(&documents, binding).await;
        let mut problems = Vec::new();
        for (attempt, leg) in attempts.iter_mut().zip(&self.legs) {
            let news = leg.stale || attempt.changed || (!leg.settled && attempt.settled);
            if news {
                problems.append(&mut attempt.problems);
            } else {
                attempt.ruleset = None;
                attempt.settled = leg.settled;
            }
        }
        once(&mut problems);
        log(&problems);
        self.publish(attempts);
    }

    async fn attempt(&mut self, documents: &Arc<Documents>, binding: impl Fn(&Leg) -> Binding) -> Vec<Attempt> {
        // The warehouses travel through the attempt; what is known of the legs stays here.
        let warehouses: Vec<(Warehouse, Binding)> = self
            .legs
            .iter_mut()
            .map(|leg| {
                let empty = Warehouse::new(Arc::clone(&leg.warehouse.connection), &self.config.file);
                let binding = binding(leg);
                (std::mem::replace(&mut leg.warehouse, empty), binding)
            })
            .collect();
        let began = Instant::now();
        let attempts = attempt_all(warehouses, Some(Arc::clone(documents)), &self.salts, &self.config).await;
        self.upkeep.read(began.elapsed());
        for attempt in &attempts {
            self.upkeep.heard(&attempt.warehouse.connection.key, attempt.unreachable.is_none());
        }
        attempts
    }

    /// Takes the warehouses back without publishing.
    fn keep(&mut self, attempts: Vec<Attempt>) {
        for (leg, attempt) in self.legs.iter_mut().zip(attempts) {
            leg.heard(attempt.unreachable.as_ref());
            leg.stale |= attempt.changed;
            leg.warehouse = attempt.warehouse;
        }
    }

    /// Takes the warehouses back and publishes every ruleset that was bound.
    fn publish(&mut self, attempts: Vec<Attempt>) {
        for (leg, attempt) in self.legs.iter_mut().zip(attempts) {
            let Attempt { warehouse, ruleset, settled, changed, unreachable, .. } = attempt;
            leg.heard(unreachable.as_ref());
            leg.settled = settled;
            leg.stale |= changed;
            if let (Some(ruleset), Some(catalog), Some(handle)) =
                (ruleset, &warehouse.catalog, self.worlds.get(&warehouse.connection.key))
            {
                let directory = &self.documents.directory;
                let version = self.ends.publish(handle, Arc::clone(catalog), Arc::new(ruleset), directory, self.read);
                leg.stale = false;
                tracing::info!(
                    connection = &*warehouse.connection.key,
                    version,
                    catalog = catalog.version,
                    "published"
                );
            }
            leg.warehouse = warehouse;
        }
    }
}

impl Leg {
    /// Takes note of whether the warehouse could be asked; says so once when that changes.
    fn heard(&mut self, unreachable: Option<&Problem>) {
        match unreachable {
            Some(problem) if !self.down => tracing::error!("{problem}"),
            None if self.down => {
                tracing::info!(connection = &*self.warehouse.connection.key, "the warehouse answers again")
            }
            _ => {}
        }
        self.down = unreachable.is_some();
    }
}

/// Waits until no change came for a while, or for the longest time.
pub(super) async fn quiet(changed: &mut mpsc::Receiver<()>, longest: Duration) {
    let end = Instant::now() + longest;
    while Instant::now() < end && matches!(timeout(DEBOUNCE, changed.recv()).await, Ok(Some(()))) {}
}

fn log(problems: &[Problem]) {
    for problem in problems {
        if problem.is_error() {
            tracing::error!("{problem}");
        } else {
            tracing::warn!("{problem}");
        }
    }
}
