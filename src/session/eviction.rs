//! Who may not be here any more is sent away, also when he asks nothing.
//!
//! In: the live sessions, each with its login and its world. Out: a word to those whose login has ended: the user is disabled, expired or
//! gone, or the login itself has run out. A session that is at work finishes what it was doing; its next statement is refused anyway.
//! Must never: cost a statement anything; one task looks at all sessions, four times a second.

use crate::error::{Family, Refusal, SqlState};
use crate::identity::Login;
use crate::world::WorldHandle;
use dashmap::DashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// How often the sessions are looked at: well within the second that is promised.
const EVERY: Duration = Duration::from_millis(250);

/// A live session.
struct Post {
    login: Arc<Login>,
    world: WorldHandle,
    word: watch::Sender<Option<Refusal>>,
}

/// The live sessions.
#[derive(Default)]
pub struct Eviction {
    posts: DashMap<u64, Post>,
    next: AtomicU64,
}

/// A session's place among them; given up when dropped.
pub struct Stay {
    eviction: Arc<Eviction>,
    number: u64,
}

impl Eviction {
    /// Adds a session, which listens for the word to go.
    pub fn add(self: &Arc<Self>, login: Arc<Login>, world: WorldHandle) -> (Stay, watch::Receiver<Option<Refusal>>) {
        let (word, listens) = watch::channel(None);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.posts.insert(number, Post { login, world, word });
        (Stay { eviction: Arc::clone(self), number }, listens)
    }

    /// Looks at every session once.
    fn look(&self) {
        for post in &self.posts {
            if post.word.borrow().is_some() {
                continue;
            }
            if let Err(why) = post.world.load().directory.stands(&post.login) {
                tracing::info!(user = &*post.login.user, "a session is ended: {why}");
                let text = format!("terminating connection: {why}");
                post.word.send_replace(Some(Refusal::new(Family::Denied, SqlState::ADMIN_SHUTDOWN, text)));
            }
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.eviction.posts.remove(&self.number);
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
