//! What is said to a lane, and by whom: wakers of its futures, and orders from elsewhere.

use super::Task;
use super::core::Shared;
use super::source::Source;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

/// Nowhere, or nobody.
pub(super) const NONE: usize = usize::MAX;

/// What a lane is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Run this.
    Begin(Task),
    /// Poll who sits there.
    Woken(usize),
    /// Who was polled by a thread that stepped aside comes back to its seat, or has ended.
    Back(usize, Option<Task>),
    /// A socket is polled here from now on, and this is told of it.
    Enter(usize, Arc<Source>),
    /// It is not any more.
    Leave(usize),
}

/// Wakes a future of a lane.
#[derive(Debug)]
pub(super) struct Wakeup {
    pub(super) lane: Arc<Shared>,
    /// Where the future sits: [`NONE`] before it has begun. It may have ended, and somebody else sit there: to be polled for nothing is
    /// allowed.
    pub(super) seat: AtomicUsize,
    /// The future is to end without being polled again.
    pub(super) over: AtomicBool,
}

impl Wakeup {
    pub(super) fn new(lane: &Arc<Shared>) -> Self {
        Self { lane: Arc::clone(lane), seat: AtomicUsize::new(NONE), over: AtomicBool::new(false) }
    }

    pub(super) fn call(&self) {
        let seat = self.seat.load(SeqCst);
        // Who has not begun is polled when he does.
        if seat != NONE {
            self.lane.order(Order::Woken(seat));
        }
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}
