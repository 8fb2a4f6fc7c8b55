//! Threads that serve sessions, each with a poller of its own, so that a statement costs no more than its system calls: what polls a socket
//! is what serves it, and no thread wakes another.
//!
//! In: futures, and sockets that they read and write. Out: their ends. Must never: run one future on two threads at once, lose a wake, or
//! let a panic end more than its future.
//!
//! Timers, tasks and whatever else those futures want of a runtime are tokio's: a lane stands in the context of the runtime that started it.
//! A future that will not give way for long ([`step_aside`]) leaves the others of its lane to a thread that stands in.

mod core;
mod socket;
mod source;
#[cfg(test)]
mod tests;
mod wakeup;

pub use socket::{Place, Receive, Socket, here};

use self::core::{Core, Shared, serve};
use self::wakeup::{Order, Wakeup};
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What a lane runs.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
/// How it ended: by itself, or by a panic with this.
type End = std::thread::Result<()>;

/// A thread that serves futures. Dropping it ends them all, in a moment.
#[derive(Debug)]
pub struct Lane(Arc<Shared>);

impl Lane {
    /// Starts a lane in the context of the runtime that runs this; each of its threads does `begin` first.
    ///
    /// # Errors
    /// When there is no such runtime, or the system has no thread or poller left.
    pub fn start(name: String, begin: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(name, runtime, Box::new(begin))?);
        serve(&shared, Box::new(Core::new(Arc::clone(&shared)))).map_err(|(error, _)| error)?;
        Ok(Self(shared))
    }

    /// Runs a future there. Dropping what is returned ends it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Running {
        let (tell, ended) = oneshot::channel();
        let wakeup = Arc::new(Wakeup::new(&self.0));
        self.0.order(Order::Begin(Task::new(Arc::clone(&wakeup), Box::pin(work), Some(tell))));
        Running { wakeup, ended }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs a future for as long as it takes: on the lane whose thread this is, or as a task of the runtime.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    match core::lane_here() {
        Some(lane) => {
            let wakeup = Arc::new(Wakeup::new(&lane));
            lane.order(Order::Begin(Task::new(wakeup, Box::pin(work), None)));
        }
        None => {
            // Without a runtime there is nobody to run it.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(work);
            }
        }
    }
}

/// Lets a thread that stands in go on with the other futures of this lane: what the one that runs does until it gives way may take long.
/// Nothing happens elsewhere.
pub fn step_aside() {
    core::step_aside();
}

/// A future and who is told of its end.
struct Task {
    wakeup: Arc<Wakeup>,
    waker: Waker,
    /// `None` when it has ended.
    work: Option<Work>,
    tell: Option<oneshot::Sender<End>>,
}

impl Task {
    fn new(wakeup: Arc<Wakeup>, work: Work, tell: Option<oneshot::Sender<End>>) -> Self {
        Self { waker: Arc::clone(&wakeup).into(), wakeup, work: Some(work), tell }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// A future on a lane. Ready when it has ended, or its lane has; panics when it did. Dropping this ends it.
#[derive(Debug)]
pub struct Running {
    wakeup: Arc<Wakeup>,
    ended: oneshot::Receiver<End>,
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.ended).poll(cx).map(|ended| {
            // Nothing is left to be dropped.
            self.wakeup.over.store(true, Ordering::Relaxed);
            if let Ok(Err(panic)) = ended {
                resume_unwind(panic);
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.wakeup.over.swap(true, Ordering::Relaxed) {
            self.wakeup.call();
        }
    }
}
