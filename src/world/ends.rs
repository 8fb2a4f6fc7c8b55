//! Logins that have ended, taken out of the worlds in force at once.
//!
//! In: the identity and the accounts file, whenever they change. Out: the worlds in force without those whom the files end, each of them as far
//! as it can be read. A reload reads everything, waits for warehouses and publishes nothing while a document has an error; who is revoked
//! must not be in until then.
//! Must never: let anybody in, or end somebody by files that are older than what is in force.

use super::reload::{POLL, quiet};
use super::{WorldHandle, Worlds};
use crate::catalog::Catalog;
use crate::identity::Directory;
use crate::identity::accounts::{Files, Present};
use crate::policy::Ruleset;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The longest time that a stream of changes may put a look off: with the quarter of a second that sessions are looked at, within a second.
const LONGEST: Duration = Duration::from_millis(500);

/// When something began to be read: what is read later is not older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

/// What is known of who has ended.
pub(super) struct Ends {
    files: Files,
    worlds: Worlds,
    tickets: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What was last read for this, and when.
    read: Option<(Ticket, Present)>,
    /// When the directory in force was read.
    in_force: Ticket,
    /// The bytes last looked at.
    seen: Option<[u8; 32]>,
}

impl Ends {
    /// For worlds whose directory was read before this.
    pub(super) fn new(files: Files, worlds: Worlds) -> Self {
        Self { files, worlds, tickets: AtomicU64::default(), known: Mutex::default() }
    }

    /// To be taken before reading.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Publishes a directory that was read under a ticket, without those who have ended since.
    pub(super) fn publish(
        &self,
        handle: &WorldHandle,
        catalog: Arc<Catalog>,
        ruleset: Arc<Ruleset>,
        directory: &Arc<Directory>,
        ticket: Ticket,
    ) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.in_force = known.in_force.max(ticket);
        let later = known.read.as_ref().filter(|(read, _)| *read > ticket);
        let rest = later.and_then(|(_, now)| directory.without_ended(now));
        handle.publish(catalog, ruleset, rest.map_or_else(|| Arc::clone(directory), Arc::new))
    }

    /// Reads the files and takes out who has ended, blocking.
    pub(super) fn look(&self) {
        let ticket = self.ticket();
        let bytes = self.digest();
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).seen == Some(bytes) {
            return;
        }
        // What cannot be read now is told by the reload.
        let now = self.files.present();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.in_force > ticket || known.read.as_ref().is_some_and(|(read, _)| *read > ticket) {
            return;
        }
        known.seen = Some(bytes);
        for (connection, handle) in self.worlds.iter() {
            let world = handle.load();
            if let Some(rest) = world.directory.without_ended(&now) {
                handle.publish(Arc::clone(&world.catalog), Arc::clone(&world.ruleset), Arc::new(rest));
                tracing::info!(connection = &**connection, "logins that have ended were taken out");
            }
        }
        known.read = Some((ticket, now));
    }

    /// Of both files as they are now.
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for path in [&self.files.identity, &self.files.accounts] {
            let bytes = std::fs::read(path).unwrap_or_default();
            digest.update(bytes.len().to_be_bytes());
            digest.update(bytes);
        }
        digest.finalize().into()
    }

    /// Looks whenever something has changed, and now and then, until nobody tells of changes any more.
    pub(super) async fn run(self: Arc<Self>, mut changed: mpsc::Receiver<()>) {
        loop {
            tokio::select! {
                change = changed.recv() => match change {
                    Some(()) => quiet(&mut changed, LONGEST).await,
                    None => return,
                },
                () = sleep(POLL) => {}
            }
            let ends = Arc::clone(&self);
            // Were it ever to fail, the next look is soon.
            let _ = tokio::task::spawn_blocking(move || ends.look()).await;
        }
    }
}
