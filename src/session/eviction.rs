//! The live sessions, and the word that reaches each: who may not be here any more is sent away, also when he asks nothing.
//!
//! In: the live sessions, each with its login and its world; whoever wants to know what they do. Out: a word to those whose login has
//! ended: the user is disabled, expired or gone, the login itself has run out, or an administrator says so. A session that is at work
//! finishes what it was doing; its next statement is refused anyway. Must never: cost a statement anything; one task looks at all
//! sessions, four times a second, and a session tells what it does only when it is asked.

use crate::error::{Family, Refusal, SqlState};
use crate::identity::Login;
use crate::telemetry::{Bytes, Traffic};
use crate::world::WorldHandle;
use dashmap::DashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How often the sessions are looked at: well within the second that is promised.
const EVERY: Duration = Duration::from_millis(250);
/// How long it is waited for what sessions say of themselves.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a session listens to.
#[derive(Debug, Clone, Default)]
pub struct Word {
    /// Why it has to go.
    pub go: Option<Refusal>,
    /// Who wants to know what it does.
    asks: Option<WeakUnboundedSender<(u64, Report)>>,
    number: u64,
}

impl Word {
    /// Tells what the session does to whoever asks.
    pub fn answer(&self, report: impl FnOnce() -> Report) {
        if let Some(asks) = self.asks.as_ref().and_then(WeakUnboundedSender::upgrade) {
            // Who has stopped asking misses it.
            let _ = asks.send((self.number, report()));
        }
    }
}

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In one word.
    pub state: &'static str,
    /// Since the client's last message.
    pub since: Duration,
    /// The statement that is being answered, as the caller wrote it: never for anybody's eyes as it is.
    pub statement: Option<Arc<str>>,
    /// The project in force; empty when there is none.
    pub project: Arc<str>,
    /// Whom the login acts for.
    pub acting_for: Option<Arc<str>>,
}

/// What does not change about a session.
#[derive(Debug, Clone)]
pub struct About {
    /// The process id that its client was given.
    pub pid: i32,
    /// Who logged in.
    pub user: Arc<str>,
    /// The temporary account by which he did.
    pub account: Option<Arc<str>>,
    /// The database as the client named it.
    pub database: Arc<str>,
    /// The connection behind it.
    pub connection: Arc<str>,
    /// `application_name` at login.
    pub application: Arc<str>,
    /// From where.
    pub peer: SocketAddr,
    /// Whether the client came by TLS.
    pub secure: bool,
    /// Since when.
    pub since: SystemTime,
}

/// A live session, as it is told.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its number, which no other session of the proxy ever has.
    pub number: u64,
    /// What does not change.
    pub about: Arc<About>,
    /// Bytes so far.
    pub bytes: Bytes,
    /// What it does; `None`: it did not say in time.
    pub report: Option<Report>,
}

/// A live session.
struct Post {
    login: Arc<Login>,
    world: WorldHandle,
    word: watch::Sender<Word>,
    about: Arc<About>,
    traffic: Arc<Traffic>,
}

/// The live sessions.
#[derive(Default)]
pub struct Eviction {
    posts: DashMap<u64, Post>,
    next: AtomicU64,
    /// Bytes of the sessions that have ended. Held while one ends, so that its bytes are never counted twice or not at all.
    ended: Mutex<Bytes>,
}

/// A session's place among them; given up when dropped.
pub struct Stay {
    eviction: Arc<Eviction>,
    number: u64,
    /// Where the session shows how many bytes have passed.
    pub traffic: Arc<Traffic>,
}

impl Eviction {
    /// Adds a session, which listens for the word to go.
    pub fn add(self: &Arc<Self>, login: Arc<Login>, world: WorldHandle, about: About) -> (Stay, watch::Receiver<Word>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (word, listens) = watch::channel(Word { number, ..Word::default() });
        let traffic: Arc<Traffic> = Arc::default();
        let shown = Arc::clone(&traffic);
        self.posts.insert(number, Post { login, world, word, about: Arc::new(about), traffic });
        (Stay { eviction: Arc::clone(self), number, traffic: shown }, listens)
    }

    /// Looks at every session once.
    fn look(&self) {
        for post in &self.posts {
            if post.word.borrow().go.is_some() {
                continue;
            }
            if let Err(why) = post.world.load().directory.stands(&post.login) {
                tracing::info!(user = &*post.login.user, "a session is ended: {why}");
                post.go(format!("terminating connection: {why}"));
            }
        }
    }

    /// Sends a session away as soon as it has finished what it is doing; false when there is no such session.
    pub fn end(&self, number: u64) -> bool {
        let Some(post) = self.posts.get(&number) else { return false };
        post.go("terminating connection due to administrator command".to_owned());
        true
    }

    /// The process id of a session.
    pub fn pid(&self, number: u64) -> Option<i32> {
        self.posts.get(&number).map(|post| post.about.pid)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Bytes of all sessions that ever were.
    pub fn bytes(&self) -> Bytes {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = *ended;
        self.posts.iter().for_each(|post| all.add(post.traffic.read()));
        all
    }

    /// All of them, by number, each with what it says it does.
    pub async fn seen(&self) -> Vec<Seen> {
        let (answer, mut answers) = unbounded_channel();
        let mut all: Vec<Seen> = self.posts.iter().map(|post| post.ask(*post.key(), &answer)).collect();
        all.sort_by_key(|seen| seen.number);
        let deadline = Instant::now() + PATIENCE;
        let mut missing = all.len();
        while missing > 0
            && let Ok(Some((number, report))) = timeout_at(deadline, answers.recv()).await
        {
            if let Ok(at) = all.binary_search_by_key(&number, |seen| seen.number)
                && let Some(seen) = all.get_mut(at)
            {
                seen.report = Some(report);
                missing -= 1;
            }
        }
        all
    }
}

impl Post {
    fn go(&self, text: String) {
        let refusal = Refusal::new(Family::Denied, SqlState::ADMIN_SHUTDOWN, text);
        self.word.send_modify(|word| word.go = Some(refusal));
    }

    fn ask(&self, number: u64, answer: &UnboundedSender<(u64, Report)>) -> Seen {
        self.word.send_modify(|word| word.asks = Some(answer.downgrade()));
        Seen { number, about: Arc::clone(&self.about), bytes: self.traffic.read(), report: None }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut ended = self.eviction.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if self.eviction.posts.remove(&self.number).is_some() {
            ended.add(self.traffic.read());
        }
    }
}

/// Looks again and again, for as long as somebody holds the sessions.
pub async fn watch(eviction: Weak<Eviction>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(eviction) = eviction.upgrade() else { return };
        eviction.look();
    }
}

/// Waits for another word; gives the listener back.
///
/// Cancel safe.
pub async fn another(mut listens: watch::Receiver<Word>) -> watch::Receiver<Word> {
    if listens.changed().await.is_err() {
        // The sender lives as long as the session.
        std::future::pending::<()>().await;
    }
    listens
}
