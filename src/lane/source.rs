//! What a lane knows of a socket: whether it can be read and written, and who waits for that.
//!
//! Events are told once (epoll(7), edge-triggered): readiness is kept from the event until a system call says otherwise. It is taken away
//! before the call that may say so, never behind it, so that an event in between is not lost.

use super::core::polled_as;
use super::wakeup::NONE;
use rustix::event::epoll::EventFlags;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// Something may be read.
pub(super) const IN: u8 = 1;
/// Something may be written.
pub(super) const OUT: u8 = 2;
/// The other side sends no more, or the connection is broken: reads and writes say which.
pub(super) const HUNG: u8 = 4;

/// A socket as its lane sees it.
#[derive(Debug)]
pub(super) struct Source {
    lane: usize,
    ready: AtomicU8,
    reader: Waiting,
    writer: Waiting,
}

/// Who waits for one direction: a future of the lane itself, by its seat; or somebody else.
#[derive(Debug)]
struct Waiting {
    seat: AtomicUsize,
    stranger: Mutex<Option<Waker>>,
    has_stranger: AtomicBool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { seat: AtomicUsize::new(NONE), stranger: Mutex::default(), has_stranger: AtomicBool::new(false) }
    }
}

impl Waiting {
    /// Whoever polls with this is told of the next event.
    fn begin(&self, lane: usize, cx: &Context<'_>) {
        if let Some(seat) = polled_as(lane, cx) {
            if self.seat.load(Relaxed) != seat {
                self.seat.store(seat, SeqCst);
            }
            return;
        }
        let mut stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner);
        if !stranger.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *stranger = Some(cx.waker().clone());
        }
        self.has_stranger.store(true, SeqCst);
    }

    /// Wakes the stranger; gives the seat of who waits here.
    fn tell(&self) -> usize {
        if self.has_stranger.load(SeqCst) {
            self.has_stranger.store(false, SeqCst);
            let stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(stranger) = stranger {
                stranger.wake();
            }
        }
        self.seat.load(SeqCst)
    }
}

impl Source {
    /// Of that lane. What can be done is found out by trying.
    pub(super) fn new(lane: usize) -> Self {
        Self { lane, ready: AtomicU8::new(IN | OUT), reader: Waiting::default(), writer: Waiting::default() }
    }

    /// An event has come: who is to be polled, by seats ([`NONE`] for nobody).
    pub(super) fn came(&self, events: EventFlags) -> [usize; 2] {
        let mut ready = 0;
        if events.intersects(EventFlags::IN) {
            ready |= IN;
        }
        if events.intersects(EventFlags::OUT) {
            ready |= OUT;
        }
        if events.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            ready |= HUNG;
        }
        self.ready.fetch_or(ready, SeqCst);
        let reader = if ready & (IN | HUNG) == 0 { NONE } else { self.reader.tell() };
        let writer = if ready & (OUT | HUNG) == 0 { NONE } else { self.writer.tell() };
        [reader, writer]
    }

    /// Takes readiness away before it is tried; what of it there was.
    pub(super) fn take(&self, bits: u8) -> u8 {
        self.ready.fetch_and(!bits, SeqCst) & bits
    }

    /// Gives readiness back.
    pub(super) fn give(&self, bits: u8) {
        self.ready.fetch_or(bits, SeqCst);
    }

    /// Whether it is worth trying to read. If not, who polls is told when it is.
    pub(super) fn readable(&self, cx: &Context<'_>) -> bool {
        self.is(IN | HUNG) || {
            self.reader.begin(self.lane, cx);
            self.is(IN | HUNG)
        }
    }

    /// Whether it is worth trying to write. If not, who polls is told when it is.
    pub(super) fn writable(&self, cx: &Context<'_>) -> bool {
        self.is(OUT) || {
            self.writer.begin(self.lane, cx);
            self.is(OUT)
        }
    }

    fn is(&self, bits: u8) -> bool {
        self.ready.load(SeqCst) & bits != 0
    }
}
