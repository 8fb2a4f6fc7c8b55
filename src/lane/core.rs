//! The turn of a lane: orders, futures that were woken, events; again.
//!
//! In: a [`Core`], which is all that a lane has and goes from thread to thread. Out: nothing. Must never: wait while there is something to
//! do.

use super::Task;
use super::source::Source;
use super::wakeup::{NONE, Order};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;
use tokio::runtime::Handle;

/// Events taken at once.
const EVENTS: usize = 256;
/// The event of the bell, where sockets have their places.
const BELL: u64 = u64::MAX;
/// Most threads of a lane: one that serves it, and others that are busy apart. Beyond that, who is busy lets the lane wait.
const THREADS: usize = 64;
/// How long a thread that is not needed waits to be needed again.
const SPARE: Duration = Duration::from_secs(10);
/// How often a future may read and write sockets before others have their turn.
const ACTIONS: u32 = 64;
/// Pause after an error that waiting for events does not have.
const RETRY: Duration = Duration::from_millis(10);

/// The lane is at work, and looks at its orders when it is through.
const AWAKE: u8 = 0;
/// It waits for events.
const ASLEEP: u8 = 1;
/// There are orders.
const CALLED: u8 = 2;

/// What is known of a lane everywhere.
pub(super) struct Shared {
    /// No two lanes of a process have the same.
    pub(super) number: usize,
    pub(super) epoll: OwnedFd,
    name: String,
    begin: Box<dyn Fn() + Send + Sync>,
    runtime: Handle,
    bell: OwnedFd,
    state: AtomicU8,
    /// Orders of other threads; `None` when the lane has ended.
    orders: Mutex<Option<Vec<Order>>>,
    places: Mutex<Places>,
    threads: AtomicUsize,
    spares: Mutex<Vec<Spare>>,
}

/// Places for sockets.
#[derive(Debug, Default)]
struct Places {
    free: Vec<usize>,
    used: usize,
}

/// A thread that waits to be needed.
struct Spare {
    id: std::thread::ThreadId,
    core: SyncSender<Box<Core>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("name", &self.name).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane's futures and sockets.
pub(super) struct Core {
    shared: Arc<Shared>,
    seats: Vec<Seat>,
    free: Vec<usize>,
    /// Seats to be polled.
    queue: VecDeque<usize>,
    /// By their places.
    sources: Vec<Option<Arc<Source>>>,
}

#[derive(Default)]
struct Seat {
    task: Option<Task>,
    queued: bool,
    /// It is being polled.
    away: bool,
    /// It was woken meanwhile.
    again: bool,
}

thread_local! {
    /// The lane whose thread this is, even when another one stands in.
    static LANE: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
    /// The lane's core while one of its futures is polled here.
    static CORE: Cell<Option<Box<Core>>> = const { Cell::new(None) };
    /// What is polled here: its lane, its seat, and what tells its waker from others.
    static POLLED: Cell<(usize, usize, *const ())> = const { Cell::new((NONE, NONE, std::ptr::null())) };
    /// How often it may still read and write.
    static ACTIONS_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// The lane whose thread this is.
pub(super) fn lane_here() -> Option<Arc<Shared>> {
    LANE.try_with(|lane| lane.borrow().clone()).ok().flatten()
}

/// The seat of who polls with this, when that is a future of this lane itself and nothing in between has a waker of its own.
pub(super) fn polled_as(lane: usize, cx: &Context<'_>) -> Option<usize> {
    let (polled, seat, waker) = POLLED.get();
    (polled == lane && std::ptr::eq(cx.waker().data(), waker)).then_some(seat)
}

/// Counts that a socket of this lane is read or written. False when one of its futures has done so often enough for this turn: it is polled
/// again when the others have had theirs.
pub(super) fn may_act(lane: usize, cx: &Context<'_>) -> bool {
    if POLLED.get().0 != lane {
        return true;
    }
    let left = ACTIONS_LEFT.get();
    if left == 0 {
        cx.waker().wake_by_ref();
        return false;
    }
    ACTIONS_LEFT.set(left - 1);
    true
}

/// Lets another thread go on with this lane, if this thread has it.
pub(super) fn step_aside() {
    if let Some(core) = CORE.take() {
        let shared = Arc::clone(&core.shared);
        if let Err((error, core)) = serve(&shared, core) {
            // The others wait, then.
            tracing::debug!(%error, "no thread to stand in");
            CORE.set(Some(core));
        }
    }
}

/// Has a thread serve the lane: one that waits to be needed, or a new one.
pub(super) fn serve(shared: &Arc<Shared>, mut core: Box<Core>) -> Result<(), (io::Error, Box<Core>)> {
    loop {
        let Some(spare) = lock(&shared.spares).pop() else { break };
        match spare.core.send(core) {
            Ok(()) => return Ok(()),
            Err(SendError(back)) => core = back,
        }
    }
    let place = Running(Arc::clone(shared));
    if shared.threads.fetch_add(1, Relaxed) >= THREADS {
        return Err((io::ErrorKind::QuotaExceeded.into(), core));
    }
    let (sender, receiver) = sync_channel(1);
    let began = std::thread::Builder::new().name(shared.name.clone()).spawn(move || stand(place, &receiver));
    if let Err(error) = began {
        return Err((error, core));
    }
    sender.send(core).map_err(|SendError(core)| (io::ErrorKind::BrokenPipe.into(), core))
}

/// A thread of a lane, as long as it runs.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Relaxed);
    }
}

/// A thread of a lane: serves it when it has its core.
fn stand(place: Running, first: &Receiver<Box<Core>>) {
    let shared = &place.0;
    LANE.set(Some(Arc::clone(shared)));
    (shared.begin)();
    let _context = shared.runtime.enter();
    let mut next = first.recv().ok();
    while let Some(core) = next {
        if run(core) {
            return;
        }
        let (sender, receiver) = sync_channel(1);
        let id = std::thread::current().id();
        lock(&shared.spares).push(Spare { id, core: sender });
        next = match receiver.recv_timeout(SPARE) {
            Ok(core) => Some(core),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let mut spares = lock(&shared.spares);
                match spares.iter().position(|spare| spare.id == id) {
                    Some(own) => {
                        spares.remove(own);
                        None
                    }
                    // It was just called for.
                    None => {
                        drop(spares);
                        receiver.recv().ok()
                    }
                }
            }
        };
    }
}

/// Turns until the lane has ended (true) or another thread has taken over.
fn run(mut core: Box<Core>) -> bool {
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        if core.shared.state.load(Relaxed) == CALLED && !core.listen() {
            core.close();
            return true;
        }
        for _ in 0..core.queue.len() {
            let Some(seat) = core.queue.pop_front() else { break };
            match turn(core, seat) {
                Some(back) => core = back,
                None => return false,
            }
        }
        core.wait(&mut events);
    }
}

/// Polls who sits there. `None`: another thread has taken over meanwhile.
fn turn(mut core: Box<Core>, seat: usize) -> Option<Box<Core>> {
    let Some(mut task) = core.rise(seat) else { return Some(core) };
    POLLED.set((core.shared.number, seat, task.waker.data()));
    ACTIONS_LEFT.set(ACTIONS);
    CORE.set(Some(core));
    let polled = catch_unwind(AssertUnwindSafe(|| task.poll()));
    let ended = match polled {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(panic) => {
            let _ = catch_unwind(AssertUnwindSafe(|| task.work = None));
            Some(Err(panic))
        }
    };
    let back = CORE.take().ok_or_else(|| Arc::clone(&task.wakeup.lane));
    let task = match ended {
        None => Some(task),
        Some(end) => {
            task.tell(end);
            None
        }
    };
    match back {
        Ok(mut core) => {
            core.sit(seat, task);
            Some(core)
        }
        Err(lane) => {
            lane.order(Order::Back(seat, task));
            None
        }
    }
}

impl Task {
    /// Polls it; true when it has ended, or was to. Then nothing is left of it.
    fn poll(&mut self) -> bool {
        let over = self.wakeup.over.load(Relaxed);
        let mut cx = Context::from_waker(&self.waker);
        let ended = over || self.work.as_mut().is_none_or(|work| work.as_mut().poll(&mut cx).is_ready());
        if ended {
            self.work = None;
        }
        ended
    }

    fn tell(&mut self, end: Result<(), Box<dyn Any + Send>>) {
        if let Some(tell) = self.tell.take() {
            // Whoever does not listen any more does not want to know.
            let _ = tell.send(end);
        }
    }
}

impl Shared {
    /// A lane nobody serves yet.
    pub(super) fn new(name: String, runtime: Handle, begin: Box<dyn Fn() + Send + Sync>) -> io::Result<Self> {
        static LANES: AtomicUsize = AtomicUsize::new(0);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Each ring is an event; what is counted is never read.
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            number: LANES.fetch_add(1, Relaxed),
            epoll,
            name,
            begin,
            runtime,
            bell,
            state: AtomicU8::new(AWAKE),
            orders: Mutex::new(Some(Vec::new())),
            places: Mutex::default(),
            threads: AtomicUsize::new(0),
            spares: Mutex::default(),
        })
    }

    /// Tells the lane: at once when it is polling the caller, or else when it comes to it.
    pub(super) fn order(&self, order: Order) {
        // Nobody is polled on a thread that ends.
        match CORE.try_with(Cell::take).ok().flatten() {
            Some(mut core) if core.shared.number == self.number => {
                core.obey(order);
                CORE.set(Some(core));
            }
            Some(other) => {
                CORE.set(Some(other));
                self.post(order);
            }
            None => self.post(order),
        }
    }

    fn post(&self, order: Order) {
        let late = match &mut *lock(&self.orders) {
            Some(orders) => {
                orders.push(order);
                None
            }
            None => Some(order),
        };
        // Not while locked: it may have orders of its own.
        drop(late);
        self.call();
    }

    fn call(&self) {
        if self.state.swap(CALLED, SeqCst) == ASLEEP
            && let Err(error) = rustix::io::write(&self.bell, &1_u64.to_ne_bytes())
        {
            tracing::error!(%error, "a lane cannot be woken");
        }
    }

    /// Ends the lane and all that it runs.
    pub(super) fn end(&self) {
        let left = lock(&self.orders).take();
        drop(left);
        lock(&self.spares).clear();
        self.call();
    }

    /// A place for a socket.
    pub(super) fn place(&self) -> usize {
        let mut places = lock(&self.places);
        places.free.pop().unwrap_or_else(|| {
            places.used += 1;
            places.used - 1
        })
    }
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seats: Vec::new(), free: Vec::new(), queue: VecDeque::new(), sources: Vec::new() }
    }

    /// Takes the orders of other threads; false when the lane has ended.
    fn listen(&mut self) -> bool {
        self.shared.state.swap(AWAKE, SeqCst);
        let Some(orders) = lock(&self.shared.orders).as_mut().map(std::mem::take) else { return false };
        for order in orders {
            self.obey(order);
        }
        true
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin(task) => {
                let seat = self.free.pop().unwrap_or_else(|| {
                    self.seats.push(Seat::default());
                    self.seats.len() - 1
                });
                task.wakeup.seat.store(seat, SeqCst);
                if let Some(at) = self.seats.get_mut(seat) {
                    at.task = Some(task);
                }
                self.enqueue(seat);
            }
            Order::Woken(seat) => self.enqueue(seat),
            Order::Back(seat, task) => self.sit(seat, task),
            Order::Enter(place, source) => {
                if self.sources.len() <= place {
                    self.sources.resize(place + 1, None);
                }
                if let Some(at) = self.sources.get_mut(place) {
                    *at = Some(source);
                }
            }
            Order::Leave(place) => {
                if let Some(at) = self.sources.get_mut(place) {
                    *at = None;
                }
                lock(&self.shared.places).free.push(place);
            }
        }
    }

    fn enqueue(&mut self, seat: usize) {
        let Some(at) = self.seats.get_mut(seat) else { return };
        if at.away {
            at.again = true;
        } else if !at.queued {
            at.queued = true;
            self.queue.push_back(seat);
        }
    }

    /// Who sits there, to be polled.
    fn rise(&mut self, seat: usize) -> Option<Task> {
        let at = self.seats.get_mut(seat)?;
        at.queued = false;
        let task = at.task.take()?;
        at.away = true;
        Some(task)
    }

    /// Who was polled sits down again, or has ended.
    fn sit(&mut self, seat: usize, task: Option<Task>) {
        let Some(at) = self.seats.get_mut(seat) else { return };
        at.away = false;
        let again = std::mem::take(&mut at.again);
        if task.is_none() {
            self.free.push(seat);
            return;
        }
        at.task = task;
        if again {
            self.enqueue(seat);
        }
    }

    /// Waits for events, unless there is something to do, and has those polled whom they are for.
    fn wait(&mut self, events: &mut Vec<Event>) {
        let state = &self.shared.state;
        let idle = self.queue.is_empty() && state.compare_exchange(AWAKE, ASLEEP, SeqCst, SeqCst).is_ok();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        events.clear();
        let limit = if idle { None } else { Some(&at_once) };
        let waited = epoll::wait(&self.shared.epoll, spare_capacity(events), limit);
        if idle {
            // Whoever called meanwhile is heard next.
            let _ = state.compare_exchange(ASLEEP, AWAKE, SeqCst, SeqCst);
        }
        match waited {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "a lane cannot wait for events");
                std::thread::sleep(RETRY);
            }
        }
        for Event { flags, data } in events.iter().copied() {
            if data.u64() == BELL {
                continue;
            }
            let place = usize::try_from(data.u64()).unwrap_or(NONE);
            if !self.sources.get(place).is_some_and(Option::is_some) {
                // One that entered by an order which was not read yet. What ends the lane is met again.
                self.hear();
            }
            let Some(source) = self.sources.get(place).and_then(Option::as_ref) else { continue };
            let [reader, writer] = source.came(flags);
            self.enqueue(reader);
            if writer != reader {
                self.enqueue(writer);
            }
        }
    }

    fn hear(&mut self) {
        if !self.listen() {
            self.shared.state.store(CALLED, SeqCst);
        }
    }

    /// Ends everybody.
    fn close(self) {
        for seat in self.seats {
            // One that ends by a defect does not keep the others from ending.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(seat)));
        }
    }
}
