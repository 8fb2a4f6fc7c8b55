//! Sessions with one warehouse, shared in turn by clients.
//!
//! In: a [`Connection`]. Out: a [`Session`] for as long as a client holds it. Between two holders the session is reset with
//! `DISCARD ALL` or closed; where clients take turns by transactions, it is handed on with a note of what is in it ([`Kept`]), by which
//! its next holder clears it. There is no state that a lost warehouse could poison: each acquire looks at what is there and connects when
//! there is nothing. Must never: hand on a session that is not clean without that note, open more than `pool.max`.

use super::behind_pooler::Process;
use super::cancel::{self, CancelTarget};
use super::failure::Failure;
use super::kept::Kept;
use super::login::{Leg, LoggedIn, login};
use super::message::{self, Fixed};
use super::stream::{ReadHalf, WriteHalf, dial, polled_here};
use crate::config::{Connection, PoolLimits};
use crate::error::{Family, Refusal, SqlState};
use crate::lane;
use crate::telemetry::{Histogram, Reading};
use bytes::BytesMut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

/// A session that has not answered `DISCARD ALL` by then is closed.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// How often unused sessions are looked at.
const PRUNE_EVERY: Duration = Duration::from_secs(15);
/// After a session could not be opened for nobody in particular, the next try comes so much later, and later each time.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The same where some have to be there in any case: one of them may have been lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest message accepted while resetting.
const RESET_MESSAGE: usize = 64 * 1024;

/// The sessions of one connection key.
#[derive(Debug)]
pub struct Pool {
    connection: Arc<Connection>,
    permits: Arc<Semaphore>,
    /// The one used last is at the end and taken first.
    idle: Mutex<Vec<Idle>>,
    /// A session has gone: there may be fewer than there should be.
    gone: Arc<Notify>,
    counters: Counters,
}

/// What happened in the pool since it was made.
#[derive(Debug, Default)]
struct Counters {
    waiting: AtomicUsize,
    waits: Histogram,
    opened: Histogram,
    failed: AtomicU64,
}

/// Somebody who waits for a session, as long as it is held.
struct Waiting<'p> {
    counters: &'p Counters,
    since: Instant,
}

impl<'p> Waiting<'p> {
    fn begin(counters: &'p Counters) -> Self {
        counters.waiting.fetch_add(1, Relaxed);
        Self { counters, since: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counters.waiting.fetch_sub(1, Relaxed);
        self.counters.waits.observe(self.since.elapsed());
    }
}

#[derive(Debug)]
struct Idle {
    session: Open,
    since: Instant,
}

/// An open session, whoever holds it.
#[derive(Debug)]
struct Open {
    read: ReadHalf,
    write: WriteHalf,
    about: Arc<About>,
    kept: Box<Kept>,
}

#[derive(Debug)]
struct About {
    parameters: Vec<(String, String)>,
    cancel: Option<CancelTarget>,
    born: Instant,
    /// Held for as long as the session is.
    _process: Option<Process>,
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Held by clients (or being reset).
    pub held: usize,
    /// Ready for the next client.
    pub idle: usize,
    /// The bound on both together.
    pub max: usize,
    /// Clients that wait for one.
    pub waiting: usize,
}

/// What happened in a pool since it was made.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How long those waited for a session who had to, in vain or not.
    pub waits: Reading,
    /// How long it took to open sessions that were opened.
    pub opened: Reading,
    /// Sessions that could not be opened.
    pub failed: u64,
}

/// A session held by one client. Dropping it instead of releasing it cancels what it is doing and closes it.
#[derive(Debug)]
pub struct Session {
    /// From the warehouse.
    pub read: ReadHalf,
    /// To the warehouse.
    pub write: WriteHalf,
    /// What is in it.
    pub kept: Box<Kept>,
    lease: Lease,
}

/// The right to a session while its halves are elsewhere (see [`Session::into_parts`]). Dropping it cancels what the session is doing;
/// the halves must be dropped too.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    about: Arc<About>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// An empty pool; sessions are opened as they are asked for. Inside a tokio runtime, unused sessions are closed in the background
    /// until the pool is dropped, and those are opened that there should be in any case.
    pub fn new(connection: Arc<Connection>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connection.pool.max.clamp(1, Semaphore::MAX_PERMITS)));
        let idle = Mutex::new(Vec::new());
        let pool = Arc::new(Self { connection, permits, idle, gone: Arc::default(), counters: Counters::default() });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tend(Arc::downgrade(&pool)));
        }
        pool
    }

    /// What the pool connects to.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The deadline the configuration sets for an acquire that begins now.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.connection.pool.wait
    }

    /// How many sessions there are.
    pub fn occupancy(&self) -> Occupancy {
        let max = self.connection.pool.max;
        let waiting = self.counters.waiting.load(Relaxed);
        Occupancy { held: max.saturating_sub(self.permits.available_permits()), idle: self.idle().len(), max, waiting }
    }

    /// What happened so far.
    pub fn figures(&self) -> Figures {
        let Counters { waits, opened, failed, .. } = &self.counters;
        Figures { waits: waits.read(), opened: opened.read(), failed: failed.load(Relaxed) }
    }

    /// A clean session: an unused one that is still alive, or a new one. 53300 when none becomes free before the deadline; 08006 (or
    /// 57P03, 53300 of the warehouse) when it cannot be opened.
    ///
    /// Cancel safe: dropping the future gives everything back.
    pub async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Session, Refusal> {
        loop {
            let mut session = self.acquire_as_is(deadline, 0).await?;
            if session.kept.is_clean() {
                return Ok(session);
            }
            if session.clear().await {
                return Ok(session);
            }
            session.close();
        }
    }

    /// The same, at once and with whatever is in it; `None` when that would take waiting.
    pub fn take(self: &Arc<Self>, holder: u64) -> Option<Session> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.take_idle(holder).map(|open| self.lease(open, permit))
    }

    fn lease(self: &Arc<Self>, open: Open, permit: OwnedSemaphorePermit) -> Session {
        let Open { read, write, about, kept } = open;
        Session { read, write, kept, lease: Lease { pool: Arc::clone(self), about, permit: Some(permit) } }
    }

    /// A session with whatever is in it, which its [`Kept`] tells; rather the one that this holder had last. Otherwise as
    /// [`Self::acquire`].
    pub async fn acquire_as_is(self: &Arc<Self>, deadline: Instant, holder: u64) -> Result<Session, Refusal> {
        let key: &str = &self.connection.key;
        let permit = match self.permit(deadline).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Refusal::internal("the pool is closed")),
            Err(_) => {
                tracing::warn!(connection = key, max = self.connection.pool.max, "no free session with the warehouse");
                return Err(Refusal::new(
                    Family::Upstream,
                    SqlState::TOO_MANY_CONNECTIONS,
                    format!("too many connections to warehouse \"{key}\""),
                )
                .with_hint("try again later"));
            }
        };
        let open = match self.take_idle(holder) {
            Some(open) => open,
            None => {
                let limit = deadline.min(Instant::now() + self.connection.connect_timeout);
                self.opened(limit).await.map_err(|failure| failure.logged(key))?
            }
        };
        Ok(self.lease(open, permit))
    }

    /// The right to a session: at once where one is free.
    async fn permit(&self, deadline: Instant) -> Result<Result<OwnedSemaphorePermit, AcquireError>, Elapsed> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Ok(permit));
        }
        let _waiting = Waiting::begin(&self.counters);
        timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await
    }

    /// Opens the sessions that there should be in any case; false when that failed.
    async fn fill(&self) -> bool {
        let PoolLimits { min, max, .. } = self.connection.pool;
        loop {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return true };
            // The permit in hand is not a session yet.
            let held = max.saturating_sub(self.permits.available_permits()).saturating_sub(1);
            if held + self.idle().len() >= min {
                return true;
            }
            match self.opened(Instant::now() + self.connection.connect_timeout).await {
                Ok(open) => self.idle().push(Idle { session: open, since: Instant::now() }),
                Err(failure) => {
                    drop(failure.logged(&self.connection.key));
                    return false;
                }
            }
            drop(permit);
        }
    }

    /// Closes a session that nobody holds any more.
    fn hang_up(&self, write: WriteHalf) {
        hang_up(write);
        self.lost();
    }

    /// A session has gone.
    fn lost(&self) {
        if self.connection.pool.min > 0 {
            self.gone.notify_one();
        }
    }

    /// Closes the sessions nobody uses. For shutdown, and after the warehouse was seen to restart.
    pub fn close_idle(&self) {
        let closed = std::mem::take(&mut *self.idle());
        for idle in closed {
            hang_up(idle.session.write);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_old(&self, about: &About) -> bool {
        about.born.elapsed() >= self.connection.pool.max_lifetime
    }

    fn take_idle(&self, holder: u64) -> Option<Open> {
        let here = lane::here();
        loop {
            let Idle { session, .. } = {
                let mut idle = self.idle();
                let of = |wanted: &dyn Fn(&Idle) -> bool| idle.iter().rposition(wanted);
                // One that is polled here, rather the holder's own; or else any.
                let is_near = |i: &Idle| i.session.read.place() == here;
                let own = if holder == 0 { None } else { of(&|i| is_near(i) && i.session.kept.holder == holder) };
                let near = own.or_else(|| of(&is_near)).or_else(|| idle.len().checked_sub(1))?;
                idle.remove(near)
            };
            if self.too_old(&session.about) || !session.read.is_quiet() {
                self.hang_up(session.write);
                continue;
            }
            if session.read.place() == here {
                return Some(session);
            }
            let Open { read, write, about, kept } = session;
            match polled_here(read, write) {
                Ok((read, write)) => return Some(Open { read, write, about, kept }),
                Err(error) => {
                    tracing::debug!(%error, "a session with the warehouse is lost");
                    self.lost();
                }
            }
        }
    }

    /// A new session, within a limit.
    async fn opened(&self, limit: Instant) -> Result<Open, Failure> {
        let began = Instant::now();
        let opened = timeout_at(limit, self.open()).await.unwrap_or(Err(Failure::Timeout));
        match &opened {
            Ok(_) => self.counters.opened.observe(began.elapsed()),
            Err(_) => {
                self.counters.failed.fetch_add(1, Relaxed);
            }
        }
        opened
    }

    async fn open(&self) -> Result<Open, Failure> {
        let dialed = dial(&self.connection, None).await?;
        let LoggedIn { read, write, peer, parameters, key, process } =
            login(dialed, &self.connection, Leg::Relay).await?;
        let connection = Arc::clone(&self.connection);
        let cancel = key.map(|key| CancelTarget { connection, peer, key });
        let kept = Box::new(Kept::new(&parameters));
        let about = About { parameters, cancel, born: Instant::now(), _process: process };
        Ok(Open { read, write, about: Arc::new(about), kept })
    }

    /// Resets a session and keeps it, or closes it. The permit goes back last, so that who waits for it finds the session.
    async fn take_back(self: Arc<Self>, mut open: Open, permit: OwnedSemaphorePermit) {
        let clean = !self.too_old(&open.about)
            && matches!(timeout(RESET_TIMEOUT, reset(&mut open.read, &mut open.write)).await, Ok(Ok(())))
            && open.read.is_quiet();
        open.kept = Box::new(Kept::new(&open.about.parameters));
        let refused = if clean { self.keep(open) } else { Some(open) };
        if let Some(open) = refused {
            self.hang_up(open.write);
        }
        drop(permit);
    }

    /// Keeps a clean session, or gives it back when there are enough.
    fn keep(&self, session: Open) -> Option<Open> {
        let mut idle = self.idle();
        if idle.len() >= self.connection.pool.idle {
            return Some(session);
        }
        idle.push(Idle { session, since: Instant::now() });
        None
    }

    /// Closes the sessions that are too long unused, too old, or closed by the warehouse.
    fn prune(&self) {
        let mut stale = Vec::new();
        let held = self.occupancy().held;
        {
            let mut idle = self.idle();
            let mut open = held + idle.len();
            for entry in std::mem::take(&mut *idle) {
                let unused =
                    entry.since.elapsed() >= self.connection.pool.idle_timeout && open > self.connection.pool.min;
                if unused || self.too_old(&entry.session.about) || !entry.session.read.is_quiet() {
                    open -= 1;
                    stale.push(entry);
                } else {
                    idle.push(entry);
                }
            }
        }
        for entry in stale {
            hang_up(entry.session.write);
        }
    }
}

/// Closes what is not used, and opens what there should be, for as long as somebody holds the pool.
async fn tend(pool: Weak<Pool>) {
    let mut failed: u32 = 0;
    loop {
        let Some(found) = pool.upgrade() else { return };
        found.prune();
        let filled = found.connection.pool.min == 0 || found.fill().await;
        failed = if filled { 0 } else { failed.saturating_add(1) };
        let gone = Arc::clone(&found.gone);
        let every = if found.connection.pool.min == 0 { PRUNE_EVERY } else { LOOK_EVERY };
        drop(found);
        if filled {
            let _ = timeout(every, gone.notified()).await;
        } else {
            tokio::time::sleep(PRUNE_EVERY.min(RETRY_AFTER.saturating_mul(failed))).await;
        }
    }
}

/// Terminate and close, in the background. A write half that blocks is given up.
fn hang_up(mut write: WriteHalf) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let mut out = BytesMut::new();
        message::terminate(&mut out);
        let _ = timeout(RESET_TIMEOUT, async {
            write.write_all(&out).await?;
            write.shutdown().await
        })
        .await;
    });
}

/// `DISCARD ALL`, and the exact answer to it: anything else means that the session was not clean.
async fn reset(read: &mut ReadHalf, write: &mut WriteHalf) -> Result<(), Failure> {
    let mut out = BytesMut::new();
    message::fixed(Fixed::DiscardAll, &mut out).map_err(|_| Failure::Protocol("reset"))?;
    write.write_all(&out).await.map_err(Failure::Lost)?;
    write.flush().await.map_err(Failure::Lost)?;
    let mut completed = false;
    loop {
        let tag = read.read_u8().await.map_err(Failure::Lost)?;
        let length = read.read_i32().await.map_err(Failure::Lost)?;
        let length = usize::try_from(length).ok().and_then(|l| l.checked_sub(4)).filter(|l| *l <= RESET_MESSAGE);
        let mut body = vec![0; length.ok_or(Failure::Protocol("a message of impossible length"))?];
        read.read_exact(&mut body).await.map_err(Failure::Lost)?;
        match (tag, body.as_slice(), completed) {
            // NoticeResponse, ParameterStatus, NotificationResponse may come at any time (55.2.7).
            (b'N' | b'S' | b'A', _, _) => {}
            (b'C', b"DISCARD ALL\0", false) => completed = true,
            (b'Z', b"I", true) => return Ok(()),
            _ => return Err(Failure::Protocol("the session was not clean")),
        }
    }
}

impl Session {
    /// ParameterStatus values the warehouse reported at login, in its order.
    pub fn parameters(&self) -> &[(String, String)] {
        self.lease.parameters()
    }

    /// What to pass to [`super::cancel`] to cancel this session's statement; `None` when the warehouse gave no key.
    pub fn cancel_key(&self) -> Option<CancelTarget> {
        self.lease.cancel_key()
    }

    /// The halves and the lease, to use them in different tasks. Give them back with [`Lease::release`] or [`Lease::close`].
    pub fn into_parts(self) -> (ReadHalf, WriteHalf, Lease) {
        (self.read, self.write, self.lease)
    }

    /// Both halves at once.
    pub fn halves(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        (&mut self.read, &mut self.write)
    }

    /// Clears it with `DISCARD ALL`; false when that failed.
    async fn clear(&mut self) -> bool {
        let cleared = timeout(RESET_TIMEOUT, reset(&mut self.read, &mut self.write)).await;
        *self.kept = Kept::new(self.lease.parameters());
        matches!(cleared, Ok(Ok(()))) && self.read.is_quiet()
    }

    /// Hands the session on as it is: ReadyForQuery `I` was the last message, everything sent was answered, and [`Self::kept`] tells
    /// what is in it.
    pub fn hand_on(self) {
        let Self { read, write, kept, mut lease } = self;
        let Some(permit) = lease.permit.take() else { return };
        let open = Open { read, write, about: Arc::clone(&lease.about), kept };
        let pool = &lease.pool;
        let refused = if pool.too_old(&open.about) { Some(open) } else { pool.keep(open) };
        if let Some(open) = refused {
            pool.hang_up(open.write);
        }
        // Who waits for it finds the session.
        drop(permit);
    }

    /// Gives the session back. `clean` = ReadyForQuery `I` was the last message and everything sent was answered; it is then reset in
    /// the background and used again. Otherwise it is cancelled and closed.
    pub fn release(self, clean: bool) {
        if clean {
            self.lease.release(self.read, self.write);
        }
    }

    /// Closes the session: it is known to have ended, or to hold nothing worth cancelling.
    pub fn close(self) {
        self.lease.close(self.write);
    }
}

impl Lease {
    /// As [`Session::parameters`].
    pub fn parameters(&self) -> &[(String, String)] {
        &self.about.parameters
    }

    /// As [`Session::cancel_key`].
    pub fn cancel_key(&self) -> Option<CancelTarget> {
        self.about.cancel.clone()
    }

    /// Gives a clean session back: ReadyForQuery `I` was the last message and everything sent was answered. It is reset in the
    /// background; one that turns out not to be clean is closed.
    pub fn release(mut self, read: ReadHalf, write: WriteHalf) {
        let Some(permit) = self.permit.take() else { return };
        let kept = Box::new(Kept::new(&self.about.parameters));
        let open = Open { read, write, about: Arc::clone(&self.about), kept };
        lane::spawn(Arc::clone(&self.pool).take_back(open, permit));
    }

    /// Closes the session without a cancel.
    pub fn close(mut self, write: WriteHalf) {
        drop(self.permit.take());
        self.pool.hang_up(write);
    }
}

impl Drop for Lease {
    /// Given up in the middle: the warehouse would go on with the statement until it tries to write, so it is told.
    fn drop(&mut self) {
        let (Some(permit), Some(target)) = (self.permit.take(), self.about.cancel.clone()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pool = Arc::clone(&self.pool);
        runtime.spawn(async move {
            cancel::abandon(&target).await;
            drop(permit);
            pool.lost();
        });
    }
}
