//! The line to one directory: questions in turn, and what to make of silence.
//!
//! In: a user. Out: an answer in his slot. Must never: keep logins waiting for a directory that has just failed to answer, or fill the
//! log with its silence.

use super::sql;
use crate::config::directories::{Kind, Register};
use crate::governance::model::Origin;
use crate::identity::ldap::directory::{self as ldap, Unsaid};
use crate::identity::{Asked, Found, Known};
use crate::telemetry::{Histogram, Reading};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A directory that did not answer is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// What it says of a user and cannot be used is not asked for again for so long, unless he logs in.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// How often the log is told that a directory still does not answer.
const REMIND: Duration = Duration::from_secs(60);

/// Since when a directory does not answer.
struct Silence {
    since: Instant,
    last: Instant,
    told: Instant,
    /// That its users are refused has been told.
    refused: bool,
}

/// The line to one directory.
pub(super) struct Line {
    register: Arc<Register>,
    turns: Arc<Semaphore>,
    silence: Mutex<Option<Silence>>,
    clients: sql::Clients,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    answered: AtomicU64,
    unanswered: AtomicU64,
    unusable: AtomicU64,
    took: Histogram,
}

/// The state of one directory.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its name.
    pub name: Arc<str>,
    /// For how long it has not answered.
    pub silent: Option<Duration>,
    /// Nothing that it said can be used any more: its users are refused.
    pub stale: bool,
    /// Questions that it answered.
    pub answered: u64,
    /// Those that it did not.
    pub unanswered: u64,
    /// Those whose answer could not be used.
    pub unusable: u64,
    /// How long questions took.
    pub took: Reading,
}

impl Line {
    pub(super) fn new(register: Arc<Register>) -> Self {
        let turns = Arc::new(Semaphore::new(register.lookups));
        let clients = sql::Clients::default();
        Self { register, turns, silence: Mutex::default(), clients, figures: Figures::default() }
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = silence.as_ref().map(|silence| silence.since.elapsed());
        let Figures { answered, unanswered, unusable, took } = &self.figures;
        let [answered, unanswered, unusable] = [answered, unanswered, unusable].map(|n| n.load(Ordering::Relaxed));
        Standing {
            name: Arc::clone(&self.register.name),
            stale: silent.is_some_and(|silent| silent >= self.register.grace),
            silent,
            answered,
            unanswered,
            unusable,
            took: took.read(),
        }
    }

    pub(super) fn register(&self) -> &Register {
        &self.register
    }

    /// A turn to ask in the background; none when all are taken, or the directory is left alone for now.
    pub(super) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.silent_since(PAUSE) { None } else { Arc::clone(&self.turns).try_acquire_owned().ok() }
    }

    /// Whether it did not answer when it was last asked.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_since(Duration::MAX)
    }

    /// Whether it did not answer so short a time ago.
    fn silent_since(&self, age: Duration) -> bool {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.as_ref().is_some_and(|silence| silence.last.elapsed() < age)
    }

    /// Asks about somebody who logs in, unless that was done meanwhile for another session of his, or has just failed.
    pub(super) async fn ask(&self, known: &Known, news: &AtomicU64) {
        let Some(slot) = known.slot(&self.register) else { return };
        let began = Instant::now();
        let mut asked = slot.asking.lock().await;
        let in_vain = asked.failed.is_some_and(|at| at >= began || at.elapsed() < PAUSE);
        if slot.is_fresh() || in_vain || self.silent_since(PAUSE) {
            return;
        }
        // Who waits for longer than a question may take hears nothing; the directory has more to do than it can.
        let turn = timeout(self.register.timeout, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(_turn)) = turn else {
            tracing::warn!(directory = &*self.register.name, "too many users are asked about at once");
            asked.failed = Some(Instant::now());
            return;
        };
        if self.silent_since(began.elapsed()) {
            return;
        }
        self.question(known, &mut asked, news).await;
    }

    /// Asks again about somebody, unless he is being asked about.
    pub(super) async fn again(&self, known: &Known, _turn: OwnedSemaphorePermit, news: &AtomicU64) {
        let Some(slot) = known.slot(&self.register) else { return };
        let Ok(mut asked) = slot.asking.try_lock() else { return };
        let pause = if asked.why.is_empty() { PAUSE } else { self.long_pause() };
        if slot.is_fresh() || asked.failed.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        self.question(known, &mut asked, news).await;
    }

    fn long_pause(&self) -> Duration {
        LONG_PAUSE.min(self.register.refresh / 2).max(PAUSE)
    }

    async fn question(&self, known: &Known, asked: &mut Asked, news: &AtomicU64) {
        let Some(slot) = known.slot(&self.register) else { return };
        let at = Instant::now();
        let answer = match timeout(self.register.timeout, self.answer(&known.user)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unsaid::Silent("no answer in time".to_owned())),
        };
        self.figures.took.observe(at.elapsed());
        let count = match &answer {
            Ok(_) => &self.figures.answered,
            Err(Unsaid::Silent(_)) => &self.figures.unanswered,
            Err(Unsaid::Unusable(_)) => &self.figures.unusable,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let why = match answer {
            Ok(found) => {
                self.answers();
                *asked = Asked::default();
                if slot.hold(at, found) {
                    news.fetch_add(1, Ordering::Release);
                }
                return;
            }
            Err(Unsaid::Silent(why)) => {
                self.silent(&why);
                String::new()
            }
            Err(Unsaid::Unusable(why)) => {
                self.answers();
                if asked.why != why {
                    let (directory, user, grace) = (&*self.register.name, &*known.user, self.register.grace.as_secs());
                    tracing::error!(
                        directory,
                        user,
                        grace,
                        "what the directory says of the user cannot be used: {why}; he is refused when what was known before is older than \
                         its grace time (seconds)"
                    );
                }
                why
            }
        };
        *asked = Asked { failed: Some(Instant::now()), why };
    }

    async fn answer(&self, user: &str) -> Result<Option<Found>, Unsaid> {
        match &self.register.kind {
            Kind::Ldap(directory) => ldap::find(&self.register, directory, user).await,
            Kind::Sql(directory) => sql::find(&self.register, directory, &self.clients, user).await,
        }
    }

    fn answers(&self) {
        let before = self.silence.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(before) = before {
            let (directory, seconds) = (&*self.register.name, before.since.elapsed().as_secs());
            tracing::info!(directory, seconds, "the directory answers again");
        }
    }

    fn silent(&self, why: &str) {
        let now = Instant::now();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = match &mut *silence {
            Some(silence) => {
                silence.last = now;
                let tell = silence.told.elapsed() >= REMIND;
                if tell {
                    silence.told = now;
                }
                tell
            }
            None => {
                *silence = Some(Silence { since: now, last: now, told: now, refused: false });
                true
            }
        };
        drop(silence);
        if tell {
            let (directory, grace) = (&*self.register.name, self.register.grace.as_secs());
            tracing::error!(
                directory,
                grace,
                "the directory cannot be asked: {why}; what it said of users serves until it is older than the grace time (seconds)"
            );
        }
    }

    /// Tells the log, once, when nothing that the directory said can be used any more.
    pub(super) fn tell(&self) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(silence) = silence.as_mut().filter(|silence| !silence.refused) else { return };
        if silence.since.elapsed() >= self.register.grace {
            silence.refused = true;
            let (directory, grace) = (&*self.register.name, self.register.grace.as_secs());
            tracing::error!(
                directory,
                grace,
                "the directory has not answered for its grace time (seconds): its users are refused, logins and statements alike"
            );
        }
    }
}

/// Asks a directory about nobody.
///
/// # Errors
/// Why that does not work, and where it is written.
pub(super) async fn reach(register: &Register) -> Result<(), (Origin, String)> {
    let here = |why: String| (register.origin.clone(), why);
    let reached = async {
        match &register.kind {
            Kind::Ldap(directory) => ldap::reach(register, directory).await.map_err(|unsaid| here(unsaid.to_string())),
            Kind::Sql(directory) => sql::reach(register, directory).await,
        }
    };
    timeout(register.timeout, reached).await.unwrap_or_else(|_| Err(here("no answer in time".to_owned())))
}
