//! The trail of a running proxy: where records are put, and whether more can be kept.
//!
//! In: the members of finished records, from any thread. Out: lines in the folder, written by a thread of their own ([`super::journal`]).
//! Must never: make a session wait, or take a record for kept that may be lost without being counted.
//!
//! Records wait in memory for at most some hundredths of a second, and no more than `audit.queue` of them; the folder is what the other
//! sinks are served from, so that one that is slow or away takes no memory. When the folder cannot be written, records are kept in memory and
//! written once it can. When there is no more room, `required` refuses new statements, `best_effort` drops records and says how many.

use super::journal::{self, Journal};
use super::members::Members;
use crate::config::Secret;
use crate::config::audit::{Audit, Mode};
use crate::error::{Family, Refusal, SqlState};
use crate::governance::problem::Problem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

/// Threads that write at the same time rarely meet in one of so many buffers.
const BUFFERS: usize = 16;

/// How long stopping waits for a folder that cannot be written.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Where records are put. Clones share it; the default keeps none.
#[derive(Debug, Clone, Default)]
pub struct Trail(Option<Arc<Kept>>);

/// What producers and the writer share.
#[derive(Debug)]
pub(super) struct Kept {
    buffers: Box<[Mutex<Vec<u8>>]>,
    /// Bytes of records that are not written.
    queued: AtomicUsize,
    most: usize,
    required: bool,
    /// Statements as they are written, literals and all.
    pub with_literals: bool,
    /// The folder cannot be written.
    pub unwritable: AtomicBool,
    /// Records that were dropped and not yet told of.
    dropped: AtomicU64,
    dropped_ever: AtomicU64,
    written: AtomicU64,
    pub closing: AtomicBool,
    writer: OnceLock<Thread>,
    thread: Mutex<Option<JoinHandle<()>>>,
    chain: String,
    sessions: AtomicU64,
}

/// How a trail fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Records written so far.
    pub written: u64,
    /// Bytes of records that wait.
    pub queued: usize,
    /// Records dropped so far.
    pub dropped: u64,
    /// The folder cannot be written.
    pub unwritable: bool,
}

fn buffer_of_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static BUFFER: usize = THREADS.fetch_add(1, Ordering::Relaxed) % BUFFERS);
    BUFFER.with(|number| *number)
}

/// How long a thread waits for room, when there soon will be: some turns of the writer.
const WAIT: Duration = Duration::from_millis(250);

fn unkept() -> Refusal {
    Refusal::new(Family::Internal, SqlState("58030"), "statements are refused: their audit records cannot be kept")
        .with_hint("An administrator can see why in the log of the proxy.")
}

impl Trail {
    /// Opens the folder and begins a chain.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(settings: &Audit, secret: &Secret) -> Result<Self, Problem> {
        let told = |error: std::io::Error| {
            let message = format!("the audit folder {} cannot be used: {error}", settings.folder.display());
            Problem::error(&settings.origin, message, "name a folder in `audit.folder` that the proxy may write")
        };
        let journal = Journal::open(settings, secret, SystemTime::now()).map_err(told)?;
        let kept = Arc::new(Kept {
            buffers: (0..BUFFERS).map(|_| Mutex::default()).collect(),
            queued: AtomicUsize::new(0),
            most: settings.queue,
            required: settings.mode == Mode::Required,
            with_literals: settings.with_literals,
            unwritable: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            dropped_ever: AtomicU64::new(0),
            written: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            writer: OnceLock::new(),
            thread: Mutex::default(),
            chain: journal.chain().to_owned(),
            sessions: AtomicU64::new(0),
        });
        let shared = Arc::clone(&kept);
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || journal::run(journal, &shared));
        let thread = thread.map_err(told)?;
        let _ = kept.writer.set(thread.thread().clone());
        *kept.lock_thread() = Some(thread);
        Ok(Self(Some(kept)))
    }

    /// Whether records are kept here.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether texts keep their literals.
    pub fn keeps_literals(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.with_literals)
    }

    /// A name for a session that no other of any run has.
    pub fn session_name(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |kept| {
            let run = kept.chain.rsplit_once('-').map_or("", |(_, digits)| digits);
            format!("{run}.{}", kept.sessions.fetch_add(1, Ordering::Relaxed) + 1)
        })
    }

    /// Whether the record of a statement that is about to be sent can be kept.
    ///
    /// # Errors
    /// 58030 where records are required and cannot be kept at the moment.
    pub fn admit(&self) -> Result<(), Refusal> {
        match &self.0 {
            Some(kept) if kept.required && !kept.has_room() && !kept.makes_room() => Err(unkept()),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes a finished record. What was admitted is always taken.
    pub fn put(&self, record: &Members) {
        self.write(record.bytes().len(), |members| {
            members.more(record.bytes());
        });
    }

    /// The same of a record that is written by `make`, of some `bytes`, where it waits. `make` must not put another.
    pub fn write(&self, bytes: usize, make: impl FnOnce(&mut Members)) {
        if let Some(kept) = &self.0 {
            kept.write(bytes, make);
        }
    }

    /// How it fares.
    pub fn state(&self) -> State {
        self.0.as_ref().map_or_else(State::default, |kept| State {
            written: kept.written.load(Ordering::Relaxed),
            queued: kept.queued.load(Ordering::Relaxed),
            dropped: kept.dropped_ever.load(Ordering::Relaxed),
            unwritable: kept.unwritable.load(Ordering::Relaxed),
        })
    }

    /// The chain that is written; `None` when there is none.
    pub fn chain(&self) -> Option<&str> {
        self.0.as_ref().map(|kept| kept.chain.as_str())
    }

    /// Ends the chain once everything is written. Does not wait.
    pub fn begin_close(&self) {
        if let Some(kept) = &self.0 {
            kept.closing.store(true, Ordering::Release);
            kept.wake();
        }
    }

    /// Ends the chain once everything is written; waits for it, some seconds at most. Blocks.
    pub fn close(&self) {
        self.begin_close();
        let Some(kept) = &self.0 else { return };
        let thread = kept.lock_thread().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit writer ended by a defect of ours");
        }
    }
}

impl Kept {
    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        !self.unwritable.load(Ordering::Relaxed)
            && !self.closing.load(Ordering::Relaxed)
            && self.queued.load(Ordering::Relaxed) < self.most
    }

    /// Waits a little where the writer only has to come to its turn: one caller in a hurry must not cost another his statement or his record.
    fn makes_room(&self) -> bool {
        let since = Instant::now();
        while !self.unwritable.load(Ordering::Relaxed)
            && !self.closing.load(Ordering::Relaxed)
            && since.elapsed() < WAIT
        {
            std::thread::sleep(Duration::from_millis(1));
            if self.has_room() {
                return true;
            }
        }
        false
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn write(&self, bytes: usize, make: impl FnOnce(&mut Members)) {
        let full = self.queued.load(Ordering::Relaxed) + bytes >= self.most;
        if !self.required && full && !self.makes_room() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some(buffer) = self.buffers.get(buffer_of_thread()) else { return };
        let mut lent = Lent::of(buffer);
        make(&mut lent.members);
        // Counted before the writer can have it.
        self.queued.fetch_add(lent.members.bytes().len() + 1, Ordering::Relaxed);
        let first = lent.members.end_line();
        drop(lent);
        if first {
            self.wake();
        }
    }

    /// All records that wait, in the order of each thread, one thread's after the other. `records` is emptied.
    pub(super) fn take(&self, records: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
        for buffer in &self.buffers {
            records.clear();
            records.shrink_to(1 << 20);
            std::mem::swap(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner), records);
            if !records.is_empty() {
                each(records);
            }
        }
    }

    /// So many records of so many bytes are in the folder.
    pub(super) fn wrote(&self, records: u64, bytes: usize) {
        self.written.fetch_add(records, Ordering::Relaxed);
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many records were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// A buffer while a record is written to it. What is not ended is taken out again.
struct Lent<'k> {
    buffer: MutexGuard<'k, Vec<u8>>,
    members: Members,
}

impl<'k> Lent<'k> {
    fn of(buffer: &'k Mutex<Vec<u8>>) -> Self {
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        Self { members: Members::behind(std::mem::take(&mut *buffer)), buffer }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.buffer = std::mem::take(&mut self.members).into_lines();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_whole_or_not_at_all() {
        let buffer = Mutex::new(Vec::new());
        let mut lent = Lent::of(&buffer);
        lent.members.number("a", 1);
        assert!(lent.members.end_line(), "the first");
        drop(lent);
        let mut lent = Lent::of(&buffer);
        lent.members.number("b", 2).word("c", "d");
        assert!(!lent.members.end_line());
        drop(lent);
        // Its writer does not come to its end.
        let mut lent = Lent::of(&buffer);
        lent.members.number("e", 3);
        drop(lent);
        assert_eq!(buffer.into_inner().unwrap(), b"\"a\":1\n\"b\":2,\"c\":\"d\"\n");
    }
}
