//! The only I/O of a session after login: four directions, polled together in one task.
//!
//! In: two byte streams and an [`Engine`]. Out: how the session ended. A side that does not take what waits for it stops the reading
//! of the other, and nothing else: writing never keeps the pump from reading (or pipelines would lock). Must never: buffer more than
//! the high-water mark and one message of bounded length, or look into a byte.

use super::berth::{self, Berth, Taking};
use super::cancel::CancelKey;
use super::deciding::Surroundings;
use super::drain::{self, NEWCOMER, Phase};
use super::engine::{End, Engine, HIGH_WATER, Outgoing};
use super::eviction::{Word, another};
use crate::error::{Family, Refusal, SqlState};
use crate::lane::Receive;
use crate::relay::errors::ended;
use crate::telemetry::{Bytes, Traffic};
use crate::upstream::Session;
use crate::wire::TransactionStatus;
use crate::wire::errors::{Severity, error_response};
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

/// Read ahead from a side while its engine cannot go on.
const READ_AHEAD: usize = 64 * 1024;
/// First and largest step by which a read buffer grows.
const STEPS: (usize, usize) = (8 * 1024, 128 * 1024);
/// A drained buffer larger than this is given back.
const KEEP: usize = 1 << 20;
/// Longest time a leaving client may take for its last bytes.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long what a client asked for may go on after he left; then it is cancelled in the warehouse.
const LINGER: Duration = Duration::from_secs(5);

/// One side of a session.
#[derive(Debug)]
pub struct Side<S> {
    pub(super) stream: S,
    /// Received and not yet dealt with.
    pub input: BytesMut,
    ended: bool,
    unflushed: bool,
    /// Something was received.
    heard: bool,
    step: usize,
    /// Bytes so far.
    received: u64,
    sent: u64,
}

impl<S: Receive + AsyncWrite + Unpin> Side<S> {
    /// A side with what was already received from it.
    pub fn new(stream: S, input: BytesMut) -> Self {
        let heard = !input.is_empty();
        Self { stream, input, ended: false, unflushed: false, heard, step: STEPS.0, received: 0, sent: 0 }
    }

    /// Begins anew with another stream: everything of the last one was dealt with.
    pub(super) fn renew(&mut self) {
        self.input.clear();
        self.ended = false;
        self.unflushed = false;
    }

    /// Whether everything received was dealt with, everything written has gone, and more may come.
    pub(super) fn is_quiet(&self) -> bool {
        self.input.is_empty() && !self.unflushed && !self.ended
    }

    /// Reads once; true when something came, or the end.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        if self.input.capacity() - self.input.len() < STEPS.0 / 2 {
            self.input.reserve(self.step);
        }
        let spare = self.input.capacity() - self.input.len();
        match self.stream.poll_fill(cx, &mut self.input) {
            Poll::Ready(Ok(n)) => {
                self.ended = n == 0;
                self.heard = true;
                self.received += n as u64;
                if n == spare {
                    self.step = (self.step * 2).min(STEPS.1);
                }
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes what it can of `out`; true when something was written.
    fn poll_out(&mut self, out: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, out) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    out.advance(n);
                    self.sent += n as u64;
                    wrote = true;
                    self.unflushed = true;
                }
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Pending => break,
            }
        }
        if out.is_empty() && out.capacity() > KEEP {
            *out = BytesMut::new();
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(wrote)
    }

    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = BytesMut::new();
            self.step = STEPS.0;
        }
    }

    /// Writes everything, for as long as a farewell may take, then shuts the stream down.
    async fn farewell(&mut self, out: &mut BytesMut) {
        let written = poll_fn(|cx| match self.poll_out(out, cx) {
            Err(e) => Poll::Ready(Err(e)),
            Ok(_) if out.is_empty() && !self.unflushed => Pin::new(&mut self.stream).poll_shutdown(cx),
            Ok(_) => Poll::Pending,
        });
        // Who does not take it in time loses it.
        let _ = tokio::time::timeout(FAREWELL, written).await;
    }
}

/// How a session ended, as far as the warehouse's side is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was answered, no transaction is open: it can be used again.
    Clean,
    /// Everything was answered, but a transaction is open.
    Open,
    /// Something is under way, or half sent.
    Midway,
    /// It is gone.
    Lost,
}

/// Which side failed.
enum Trouble {
    Client,
    Upstream,
}

/// What a session listens to besides its two sides.
#[derive(Debug, Clone)]
pub struct Control {
    /// How far the proxy's end has come.
    pub phases: watch::Receiver<Phase>,
    /// Says why the login has ended, when it has, and who wants to know what the session does.
    pub word: watch::Receiver<Word>,
    /// Where it is shown how many bytes have passed.
    pub traffic: Arc<Traffic>,
    /// A client that sends nothing for so long is sent away.
    pub idle: Option<Duration>,
}

/// Writes what can be written and reads what can be read. Ready when something was read, or when what was written may let the engine go
/// on.
fn poll_sides<C, U>(
    want: Want,
    client: &mut Side<C>,
    upstream: &mut Side<U>,
    out: &mut Outgoing,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Trouble>>
where
    C: Receive + AsyncWrite + Unpin,
    U: Receive + AsyncWrite + Unpin,
{
    let mut moved = match client.poll_out(&mut out.client, cx) {
        Ok(wrote) => wrote && want.room,
        Err(_) => return Poll::Ready(Err(Trouble::Client)),
    };
    match upstream.poll_out(&mut out.upstream, cx) {
        Ok(wrote) => moved |= wrote && want.room,
        // It may have said why before it went: what it said is still to be read.
        Err(_) if upstream.ended => {}
        Err(_) => match upstream.poll_in(cx) {
            Poll::Ready(Ok(true)) => moved = true,
            _ => return Poll::Ready(Err(Trouble::Upstream)),
        },
    }
    if want.client {
        match client.poll_in(cx) {
            Poll::Ready(Ok(read)) => moved |= read,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Trouble::Client)),
            Poll::Pending => {}
        }
    }
    if want.upstream {
        match upstream.poll_in(cx) {
            Poll::Ready(Ok(read)) => moved |= read,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Trouble::Upstream)),
            Poll::Pending => {}
        }
    }
    if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
}

/// What a turn is for.
#[derive(Debug, Clone, Copy)]
struct Want {
    /// Something of the client.
    client: bool,
    /// Something of the warehouse.
    upstream: bool,
    /// Room for more to write, or nothing left to write: something waits for it.
    room: bool,
}

/// Wakes a session for what it listens to besides its two sides, and remembers that it did: most turns are for bytes, and to ask all the
/// others each time would cost as much again.
#[derive(Debug)]
struct Aside {
    woken: AtomicBool,
    session: Waker,
}

impl Aside {
    /// The one whose session polls; when there is none yet, one that has everything asked.
    fn of<'a>(known: &'a mut Option<Arc<Self>>, cx: &Context<'_>) -> &'a Arc<Self> {
        if !known.as_ref().is_some_and(|known| known.session.will_wake(cx.waker())) {
            *known = None;
        }
        known.get_or_insert_with(|| Arc::new(Self { woken: AtomicBool::new(true), session: cx.waker().clone() }))
    }

    /// Whether something is to be asked; the asking has to follow.
    fn take(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Aside {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.session.wake_by_ref();
    }
}

/// When a client that sends nothing is sent away. One timer for all of its waits: it is set anew when it goes off too early, not at every
/// statement.
struct Idleness {
    limit: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idleness {
    fn new(limit: Duration) -> Self {
        let since = Instant::now();
        Self { limit, since, timer: Box::pin(tokio::time::sleep_until(since + limit)) }
    }

    /// Ready when the client has been at rest since the last turn for as long as it may.
    fn poll(&mut self, resting: bool, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let end = self.since + self.limit;
            if resting && now >= end {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end.max(now + self.limit / 16));
        }
        Poll::Pending
    }
}

/// Runs a session until it ends. Not cancel safe: a dropped session is [`Ended::Midway`].
pub async fn run<A: Surroundings, C>(
    engine: &mut Engine<A>,
    client: &mut Side<C>,
    upstream: &mut Side<Berth>,
    out: &mut Outgoing,
    key: &CancelKey,
    control: Control,
) -> Ended
where
    C: Receive + AsyncWrite + Unpin,
{
    let mut taking: Option<Taking> = None;
    let mut closing = false;
    let mut left: Option<Instant> = None;
    let began = Instant::now();
    let mut phase = Phase::Serving;
    // Who has just come may ask something first.
    let mut patient = true;
    let mut evicted = control.word.borrow().go.is_some();
    let mut gone: Option<Pin<Box<Sleep>>> = None;
    let mut idleness = control.idle.map(Idleness::new);
    // They live as long as the session: made anew for each turn they would cost more than the turn.
    let mut phases = control.phases.clone();
    let mut leave = pin!(drain::reached(&mut phases, Phase::Leaving));
    let mut later: Option<Later> = None;
    let mut told = Box::pin(another(control.word.clone()));
    let mut aside = None;
    loop {
        let mut fatal = match step(engine, closing, client, upstream, out) {
            Ok(()) => None,
            Err(End::Terminate) => {
                closing = true;
                None
            }
            Err(End::Fatal(refusal)) => Some(refusal),
        };
        // Whoever gets the next statement must not get the cancel request: it is waited for.
        if engine.take_cancel()
            && let Some(target) = upstream.stream.cancel_key()
            && let Err(refusal) = crate::upstream::cancel(&target).await
        {
            tracing::warn!(%refusal, "a result that is too large could not be cancelled");
        }
        if engine.moves() && fatal.is_none() {
            match berth::shift(engine, upstream, out, key, &mut taking).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(End::Terminate) => closing = true,
                Err(End::Fatal(refusal)) => fatal = Some(refusal),
            }
        }
        // The client has sent its last byte and the engine could use another one.
        closing |= client.ended && engine.client_wants() > 0;
        let lost = upstream.ended && out.client.len() < HIGH_WATER;
        let fatal = fatal.or_else(|| {
            if lost && !closing {
                Some(ended(None))
            } else if may_leave(phase, patient, engine, client) && !closing {
                Some(shutdown())
            } else if evicted && engine.at_rest() && !closing {
                control.word.borrow().go.clone()
            } else {
                None
            }
        });
        if let Some(refusal) = fatal {
            // Behind half a row it would be read as the row's other half.
            if engine.between_messages() {
                error_response(&mut out.client, &refusal, Severity::Fatal, None);
            }
            client.farewell(&mut out.client).await;
            return if upstream.ended { Ended::Lost } else { state(engine, out) };
        }
        if closing {
            if phase == Phase::Ending {
                return state(engine, out);
            }
            left.get_or_insert_with(|| Instant::now() + LINGER);
            if lost {
                return Ended::Lost;
            }
            if (engine.at_rest() && out.upstream.is_empty()) || !engine.will_rest() {
                client.farewell(&mut out.client).await;
                return state(engine, out);
            }
        }
        let mut learning = engine.take_learning();
        let resting = engine.at_rest() && !closing && learning.is_none() && taking.is_none();
        if let Some(idleness) = &mut idleness {
            idleness.since = Instant::now();
        }
        let full = out.client.len() >= HIGH_WATER;
        let want = Want {
            client: !closing && client.input.len() < engine.client_wants().max(READ_AHEAD),
            upstream: !full
                && upstream.stream.is_taken()
                && upstream.input.len() < engine.upstream_wants().max(READ_AHEAD),
            room: full || closing || out.upstream.len() >= HIGH_WATER,
        };
        if let Some(until) = left.filter(|_| gone.is_none()) {
            gone = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        // What may have changed since it was last polled, other than by what it waits for.
        let unsettled = learning.is_some() || taking.is_some() || gone.is_some() || later.is_some();
        let turned = poll_fn(|cx| {
            if let Poll::Ready(moved) = poll_sides(want, client, upstream, out, cx) {
                return Poll::Ready(Turned::Moved(moved));
            }
            let aside = Aside::of(&mut aside, cx);
            if !aside.take() && !unsettled {
                return Poll::Pending;
            }
            let waker = Waker::from(Arc::clone(aside));
            let cx = &mut Context::from_waker(&waker);
            // Once it has ended it is not asked again.
            if learning.as_mut().is_some_and(|learning| Pin::new(learning).poll(cx).is_ready()) {
                return Poll::Ready(Turned::Learned);
            }
            if let Some(Poll::Ready(taken)) = taking.as_mut().map(|taking| taking.as_mut().poll(cx)) {
                return Poll::Ready(Turned::Taken(taken));
            }
            if gone.as_mut().is_some_and(|gone| gone.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Turned::Gone);
            }
            match later.as_mut() {
                None if leave.as_mut().poll(cx).is_ready() => return Poll::Ready(Turned::Leave),
                None => {}
                Some(later) => {
                    if let Poll::Ready(phase) = later.as_mut().poll(cx) {
                        return Poll::Ready(Turned::Later(phase));
                    }
                }
            }
            if let Poll::Ready(word) = told.as_mut().poll(cx) {
                return Poll::Ready(Turned::Told(word));
            }
            if idleness.as_mut().is_some_and(|idleness| idleness.poll(resting, cx).is_ready()) {
                return Poll::Ready(Turned::Idle);
            }
            Poll::Pending
        })
        .await;
        if !matches!(turned, Turned::Learned) {
            engine.put_learning(learning);
        }
        control.traffic.show(bytes(client, upstream));
        if !matches!(turned, Turned::Moved(_)) {
            aside = None;
        }
        match turned {
            Turned::Moved(Ok(())) => {}
            Turned::Learned => engine.has_learned(),
            Turned::Taken(taken) => {
                taking = None;
                let entered = match taken {
                    Ok(session) => berth::enter(engine, upstream, out, key, session),
                    Err(refusal) => {
                        engine.no_session(refusal);
                        Ok(())
                    }
                };
                if entered.is_err() {
                    return state(engine, out);
                }
            }
            Turned::Moved(Err(Trouble::Client)) => return state(engine, out),
            Turned::Moved(Err(Trouble::Upstream)) => upstream.ended = true,
            Turned::Gone => return state(engine, out),
            Turned::Leave => {
                phase = Phase::Leaving;
                later = Some(later_than(began + NEWCOMER, control.phases.clone()));
            }
            Turned::Later(reached) => {
                phase = reached;
                patient = false;
                later = Some(last(control.phases.clone()));
            }
            Turned::Told(word) => {
                {
                    let word = word.borrow();
                    evicted = word.go.is_some();
                    word.answer(|| engine.report(taking.is_some()));
                }
                told = Box::pin(another(word));
            }
            Turned::Idle => {
                let text = "terminating connection due to idle-session timeout";
                let refusal = Refusal::new(Family::Caller, SqlState("57P05"), text);
                error_response(&mut out.client, &refusal, Severity::Fatal, None);
                client.farewell(&mut out.client).await;
                return state(engine, out);
            }
        }
    }
}

/// Bytes that have passed.
pub(super) fn bytes<C, U>(client: &Side<C>, upstream: &Side<U>) -> Bytes {
    Bytes {
        from_client: client.received,
        to_client: client.sent,
        from_upstream: upstream.received,
        to_upstream: upstream.sent,
    }
}

enum Turned {
    Moved(Result<(), Trouble>),
    Learned,
    /// A session of the warehouse has come, or will not.
    Taken(Result<Session, Refusal>),
    /// The proxy asks sessions to leave.
    Leave,
    /// It has come so far, or the time of newcomers is over.
    Later(Phase),
    /// There is another word for the session.
    Told(watch::Receiver<Word>),
    Idle,
    /// The client left and what it asked for takes too long.
    Gone,
}

/// Whether a session ends because the proxy does: it is between transactions, and has had its first; or nothing counts any more.
fn may_leave<A: Surroundings, C>(phase: Phase, patient: bool, engine: &Engine<A>, client: &Side<C>) -> bool {
    match phase {
        Phase::Serving | Phase::Closed => false,
        Phase::Leaving => engine.at_rest() && engine.status() == TransactionStatus::Idle && (client.heard || !patient),
        Phase::Ending => true,
    }
}

/// What comes after sessions were asked to leave.
type Later = Pin<Box<dyn Future<Output = Phase> + Send>>;

/// The last phase, or `Leaving` again at that moment, whichever comes first.
fn later_than(moment: Instant, mut phases: watch::Receiver<Phase>) -> Later {
    Box::pin(async move {
        let last = tokio::time::timeout_at(moment, drain::reached(&mut phases, Phase::Ending)).await;
        if last.is_ok() { Phase::Ending } else { Phase::Leaving }
    })
}

/// The last phase.
fn last(mut phases: watch::Receiver<Phase>) -> Later {
    Box::pin(async move {
        drain::reached(&mut phases, Phase::Ending).await;
        Phase::Ending
    })
}

/// 57P01: what sessions are told when the proxy ends.
pub(super) fn shutdown() -> Refusal {
    Refusal::new(Family::Upstream, SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

fn step<A: Surroundings, C, U>(
    engine: &mut Engine<A>,
    closing: bool,
    client: &mut Side<C>,
    upstream: &mut Side<U>,
    out: &mut Outgoing,
) -> Result<(), End>
where
    C: Receive + AsyncWrite + Unpin,
    U: Receive + AsyncWrite + Unpin,
{
    if !upstream.input.is_empty() && out.client.len() < HIGH_WATER {
        engine.upstream(&mut upstream.input, &mut out.client)?;
        upstream.shrink();
    }
    if !closing {
        engine.client(&mut client.input, out)?;
        client.shrink();
    }
    Ok(())
}

fn state<A: Surroundings>(engine: &Engine<A>, out: &Outgoing) -> Ended {
    match engine.status() {
        _ if !engine.at_rest() || !out.upstream.is_empty() => Ended::Midway,
        TransactionStatus::Idle => Ended::Clean,
        TransactionStatus::Block | TransactionStatus::Failed => Ended::Open,
    }
}

/// Runs what is under way to its end, with nothing from a client: for the settings a session begins with. An error of either side ends
/// it.
pub async fn settle<A: Surroundings, U>(
    engine: &mut Engine<A>,
    upstream: &mut Side<U>,
    out: &mut Outgoing,
) -> Result<(), End>
where
    U: Receive + AsyncWrite + Unpin,
{
    loop {
        if !upstream.input.is_empty() {
            engine.upstream(&mut upstream.input, &mut out.client)?;
        }
        if let Some(learning) = engine.take_learning() {
            let _ = learning.await;
            engine.has_learned();
            return Ok(());
        }
        if engine.at_rest() {
            return Ok(());
        }
        if upstream.ended {
            return Err(End::Fatal(ended(None)));
        }
        let moved = poll_fn(|cx| {
            let wrote = match upstream.poll_out(&mut out.upstream, cx) {
                Ok(wrote) => wrote,
                Err(e) => return Poll::Ready(Err(e)),
            };
            match upstream.poll_in(cx) {
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                Poll::Pending if wrote => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        });
        moved.await.map_err(|_| End::Fatal(ended(None)))?;
    }
}
