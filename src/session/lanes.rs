//! Where sessions run: lanes, each one thread with its own poller, so that both sockets of a session are served where they are read, and no
//! thread wakes another for a statement.
//!
//! In: accepted sockets. Out: their sessions. A lane is filled before the next is begun, as long as it has time: one that serves several
//! sessions finds more to do each time it wakes, and spends less of the processor on waking. Must never: move a session while it lives.
//!
//! A lane is a runtime of tokio with a single worker; a statement that takes long to plan leaves the others of its lane to a thread that
//! stands in ([`tokio::task::block_in_place`]).

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Most lanes that are made without being asked for.
const MOST: usize = 64;

/// Sessions that a lane has before another is begun.
const TOGETHER: usize = 16;

/// Percent of its time that a lane may be at work when it gets another session before the others have as many.
const BUSY: u32 = 50;

/// How often is looked at how busy a lane is.
const LOOK: Duration = Duration::from_millis(100);

/// The lanes of a proxy.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    sessions: Arc<AtomicUsize>,
    work: Mutex<Work>,
}

/// What a lane had to do.
#[derive(Debug)]
struct Work {
    seen: Instant,
    /// Time at work until then.
    total: Duration,
    /// Percent of the time before.
    share: u32,
}

impl Lane {
    fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Whether it has time for more.
    fn has_time(&self) -> bool {
        let Some(runtime) = &self.runtime else { return false };
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let since = work.seen.elapsed();
        if since >= LOOK {
            let total = runtime.metrics().worker_total_busy_duration(0);
            let share = total.saturating_sub(work.total).as_micros() * 100 / since.as_micros().max(1);
            *work = Work { seen: Instant::now(), total, share: u32::try_from(share).unwrap_or(u32::MAX) };
        }
        work.share < BUSY
    }
}

/// A session's place on its lane, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As many lanes as there are processors for this process.
pub fn automatic() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

impl Lanes {
    /// So many lanes, at least one.
    ///
    /// # Errors
    /// When the system has no thread or poller left.
    pub fn new(lanes: usize) -> io::Result<Self> {
        let lane = |number: usize| {
            let mut runtime = Builder::new_multi_thread();
            runtime.worker_threads(1).thread_name(format!("lane-{number}")).enable_all();
            let work = Work { seen: Instant::now(), total: Duration::ZERO, share: 0 };
            Ok(Lane { runtime: Some(runtime.build()?), sessions: Arc::default(), work: Mutex::new(work) })
        };
        let lanes: io::Result<Vec<Lane>> = (0..lanes.max(1)).map(lane).collect();
        Ok(Self { lanes: lanes? })
    }

    /// The first lane that is neither full nor busy; else the one with the fewest sessions.
    fn next(&self) -> Option<&Lane> {
        let free = self.lanes.iter().find(|lane| lane.sessions() < TOGETHER && lane.has_time());
        free.or_else(|| self.lanes.iter().min_by_key(|lane| lane.sessions()))
    }

    /// Serves a socket on a lane. Dropping `sessions` ends it.
    pub fn spawn<F>(
        &self,
        sessions: &mut JoinSet<()>,
        socket: TcpStream,
        peer: SocketAddr,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some((lane, runtime)) = self.next().and_then(|lane| Some((lane, lane.runtime.as_ref()?))) else { return };
        // What polls the socket from here on is the lane's.
        let socket = match socket.into_std() {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(%peer, %error, "connection lost"),
        };
        lane.sessions.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&lane.sessions));
        let session = async move {
            let _place = place;
            match TcpStream::from_std(socket) {
                Ok(socket) => serve(socket).await,
                Err(error) => tracing::warn!(%peer, %error, "a connection cannot be polled"),
            }
        };
        sessions.spawn_on(session, runtime.handle());
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A runtime may not be waited for where others run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn sessions(lanes: &Lanes) -> Vec<usize> {
        lanes.lanes.iter().map(Lane::sessions).collect()
    }

    fn place(lanes: &Lanes, sessions: usize) {
        for _ in 0..sessions {
            lanes.next().unwrap().sessions.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lane_is_filled_before_the_next_is_begun() {
        let lanes = Lanes::new(3).unwrap();
        for (more, expected) in
            [(10, [10, 0, 0]), (6, [16, 0, 0]), (1, [16, 1, 0]), (31, [16, 16, 16]), (4, [18, 17, 17])]
        {
            place(&lanes, more);
            assert_eq!(sessions(&lanes), expected);
        }
        lanes.lanes[1].sessions.store(15, Ordering::Relaxed);
        place(&lanes, 2);
        assert_eq!(sessions(&lanes), [18, 17, 17], "one that has ended leaves a place");
    }

    #[test]
    fn a_busy_lane_is_left_to_its_sessions() {
        let lanes = Lanes::new(2).unwrap();
        let (done, working) = std::sync::mpsc::channel::<()>();
        lanes.lanes[0].runtime.as_ref().unwrap().spawn(async move {
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && working.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                std::hint::black_box((0..1000).sum::<u64>());
                tokio::task::yield_now().await;
            }
        });
        let until = Instant::now() + Duration::from_secs(20);
        while lanes.lanes[0].has_time() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        place(&lanes, 3);
        drop(done);
        assert_eq!(sessions(&lanes), [0, 3]);
    }
}
