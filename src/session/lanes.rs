//! Where sessions run: lanes, each one thread with its own poller, so that both sockets of a session are served where they are read, and no
//! thread wakes another for a statement.
//!
//! In: accepted sockets. Out: their sessions, each on the lane that had the fewest. Must never: move a session while it lives.
//!
//! A lane is a runtime of tokio with a single worker; a statement that takes long to plan leaves the others of its lane to a thread that
//! stands in ([`tokio::task::block_in_place`]).

use crate::telemetry::on_lane;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Most lanes that are made without being asked for.
const MOST: usize = 64;

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
            runtime.on_thread_start(move || on_lane(number));
            Ok(Lane { runtime: Some(runtime.build()?), sessions: Arc::default() })
        };
        let lanes: io::Result<Vec<Lane>> = (0..lanes.max(1)).map(lane).collect();
        Ok(Self { lanes: lanes? })
    }

    /// Completes when every lane has run something. Cancel safe.
    pub async fn answer(&self) {
        for runtime in self.lanes.iter().filter_map(|lane| lane.runtime.as_ref()) {
            // That it ran is all there is to know.
            let _ = runtime.spawn(async {}).await;
        }
    }

    /// Serves a socket on the lane with the fewest sessions. Dropping `sessions` ends it.
    pub fn spawn<F>(
        &self,
        sessions: &mut JoinSet<()>,
        socket: TcpStream,
        peer: SocketAddr,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let least = self.lanes.iter().min_by_key(|lane| lane.sessions.load(Ordering::Relaxed));
        let Some((lane, runtime)) = least.and_then(|lane| Some((lane, lane.runtime.as_ref()?))) else { return };
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
