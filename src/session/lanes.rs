//! Where sessions run: lanes, each one thread with its own poller, so that both sockets of a session are served where they are read, and no
//! thread wakes another for a statement.
//!
//! In: accepted sockets. Out: their sessions, each on the lane that had the fewest. Must never: move a session while it lives.

use crate::lane::{Lane, Socket};
use crate::telemetry::on_lane;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Most lanes that are made without being asked for.
const MOST: usize = 64;

/// The lanes of a proxy.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<(Lane, Arc<AtomicUsize>)>,
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
    /// So many lanes, at least one, in the context of the runtime that runs this.
    ///
    /// # Errors
    /// When the system has no thread or poller left.
    pub fn new(lanes: usize) -> io::Result<Self> {
        let lane = |number| Ok((Lane::start(format!("lane-{number}"), move || on_lane(number))?, Arc::default()));
        let lanes: io::Result<Vec<_>> = (0..lanes.max(1)).map(lane).collect();
        Ok(Self { lanes: lanes? })
    }

    /// Completes when every lane has run something. Cancel safe.
    pub async fn answer(&self) {
        for (lane, _) in &self.lanes {
            lane.spawn(async {}).await;
        }
    }

    /// Serves a socket on the lane with the fewest sessions. Dropping `sessions` ends it.
    pub fn spawn<F>(
        &self,
        sessions: &mut JoinSet<()>,
        socket: TcpStream,
        peer: SocketAddr,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let least = self.lanes.iter().min_by_key(|(_, sessions)| sessions.load(Ordering::Relaxed));
        let Some((lane, number)) = least else { return };
        number.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(number));
        sessions.spawn(lane.spawn(async move {
            let _place = place;
            match Socket::tcp(socket) {
                Ok(socket) => serve(socket).await,
                Err(error) => tracing::warn!(%peer, %error, "a connection cannot be polled"),
            }
        }));
    }
}
