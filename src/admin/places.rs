//! Places for connections to the interface: there are few, and who comes when all are taken gets the place of who has been idle the longest.
//!
//! In: who comes, what he shows, when he is answered. Out: a place for each, and the word to go for whoever has to make room. Strangers go
//! first: nobody is known who has shown neither a token nor a certificate. Must never: take the place of somebody who is being answered, or
//! of somebody who has just come, before he could ask: else strangers who come again at once would keep each other, and everybody, from
//! asking anything.

use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// So long everybody may be idle.
    grace: Duration,
    taken: Mutex<Taken>,
    /// Somebody has left, or may leave now.
    room: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: HashMap<u64, Holder>,
}

/// Who has a place.
#[derive(Debug)]
struct Holder {
    known: bool,
    /// A request of his is being answered.
    answered: bool,
    /// He does not take what is sent to him.
    stalled: bool,
    /// Since when he is idle, or does not take it.
    since: Instant,
    go: Arc<Notify>,
}

impl Holder {
    /// Whether he may be sent away for another. A stranger who does not read his answer would have his place for as long as he likes.
    fn may_go(&self) -> bool {
        if self.known { !self.answered && !self.stalled } else { !self.answered || self.stalled }
    }
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    go: Arc<Notify>,
}

impl Places {
    /// So many places, whose holders may be idle for so long in any case.
    pub(super) fn new(most: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self { most, grace, taken: Mutex::default(), room: Notify::new() })
    }

    /// A place for one who has come. Waits only while everybody is being answered, or has come just now. Cancel safe.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Place> {
        loop {
            match self.try_take() {
                Ok(place) => return Arc::new(place),
                Err(Some(again)) => tokio::select! {
                    () = self.room.notified() => {}
                    () = sleep_until(again) => {}
                },
                Err(None) => self.room.notified().await,
            }
        }
    }

    /// A place, or when there may be one if nobody leaves before.
    fn try_take(self: &Arc<Self>) -> Result<Place, Option<Instant>> {
        let mut taken = self.taken();
        if taken.by.len() >= self.most {
            let idle = taken.by.iter().filter(|(_, holder)| holder.may_go());
            let last = |holder: &Holder| holder.since + self.grace;
            let now = Instant::now();
            let (rested, others): (Vec<_>, Vec<_>) = idle.partition(|(_, holder)| last(holder) <= now);
            let first = rested.into_iter().min_by_key(|(number, holder)| (holder.known, holder.since, **number));
            let Some(number) = first.map(|(number, _)| *number) else {
                return Err(others.into_iter().map(|(_, holder)| last(holder)).min());
            };
            // From here on nothing of his is answered.
            if let Some(holder) = taken.by.remove(&number) {
                holder.go.notify_one();
            }
        }
        taken.next += 1;
        let (number, go) = (taken.next, Arc::<Notify>::default());
        let (since, told) = (Instant::now(), Arc::clone(&go));
        taken.by.insert(number, Holder { known: false, answered: false, stalled: false, since, go: told });
        drop(taken);
        Ok(Place { places: Arc::clone(self), number, go })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Its holder has shown who he is.
    pub(super) fn known(&self) {
        self.change(|holder| holder.known = true);
    }

    /// A request has come, which is answered until the value is dropped; `None` when the place is another's already.
    pub(super) fn answer(self: &Arc<Self>) -> Option<Answering> {
        self.change(|holder| holder.answered = true).then(|| Answering(Arc::clone(self)))
    }

    /// Completes when the place has been given to another. Cancel safe.
    pub(super) async fn gone(&self) {
        self.go.notified().await;
    }

    /// Changes what is known of the holder; false when there is none any more.
    fn change(&self, change: impl FnOnce(&mut Holder)) -> bool {
        let mut taken = self.places.taken();
        let Some(holder) = taken.by.get_mut(&self.number) else { return false };
        let could = holder.may_go();
        change(holder);
        let can = holder.may_go();
        if can && !could {
            holder.since = Instant::now();
            drop(taken);
            self.places.room.notify_one();
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by.remove(&self.number);
        self.places.room.notify_one();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Arc<Place>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.change(|holder| holder.answered = false);
    }
}

/// The body of an answer: once it has been taken, what is left of the answer is in the connection's buffer.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    /// Held for as long as the body is there.
    _answering: Answering,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that tells whether what is sent is taken.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    place: Arc<Place>,
    stalled: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, place: Arc<Place>) -> Self {
        Self { stream, place, stalled: false }
    }

    fn seen<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        let stalled = polled.is_pending();
        if stalled != self.stalled {
            self.stalled = stalled;
            self.place.change(|holder| holder.stalled = stalled);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.seen(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.seen(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.seen(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// The places that their holders have had to give away, each told once.
    fn gone(places: &[Arc<Place>]) -> Vec<usize> {
        let gone = |(at, place): (usize, &Arc<Place>)| place.gone().now_or_never().map(|()| at);
        places.iter().enumerate().filter_map(gone).collect()
    }

    fn taken(places: &Arc<Places>, count: usize) -> Vec<Arc<Place>> {
        (0..count).map(|_| places.take().now_or_never().unwrap()).collect()
    }

    #[test]
    fn strangers_go_first_then_who_is_idle_the_longest() {
        let places = Places::new(4, Duration::ZERO);
        let mut all = taken(&places, 4);
        all[0].known();
        // It was idle the longest, and has just been answered.
        drop(all[1].answer().unwrap());
        all.extend(taken(&places, 1));
        assert_eq!(gone(&all), [2]);
        all.extend(taken(&places, 1));
        assert_eq!(gone(&all), [3]);
        assert!(all[2].answer().is_none() && all[3].answer().is_none(), "nobody asks without a place");
        for at in [1, 4, 5] {
            all[at].known();
        }
        all.extend(taken(&places, 1));
        assert_eq!(gone(&all), [0], "all are known");
    }

    #[test]
    fn nobody_goes_who_has_just_come() {
        let places = Places::new(2, Duration::from_secs(3600));
        let all = taken(&places, 2);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut waiting = Box::pin(places.take());
        assert!((&mut waiting).now_or_never().is_none());
        assert!(gone(&all).is_empty());
        // One leaves by himself.
        drop(all);
        waiting.now_or_never().unwrap();
    }

    #[test]
    fn nobody_goes_who_is_being_answered() {
        let places = Places::new(2, Duration::ZERO);
        let all = taken(&places, 2);
        all[1].known();
        let (one, other) = (all[0].answer().unwrap(), all[1].answer().unwrap());
        let mut waiting = Box::pin(places.take());
        assert!((&mut waiting).now_or_never().is_none());
        drop(other);
        let newcomer = waiting.now_or_never().unwrap();
        assert_eq!(gone(&all), [1]);
        let _answering = newcomer.answer().unwrap();
        let mut waiting = Box::pin(places.take());
        assert!((&mut waiting).now_or_never().is_none());
        // He leaves by himself.
        drop((one, all));
        waiting.now_or_never().unwrap();
    }

    #[test]
    fn who_does_not_read_has_his_place_only_if_he_is_known() {
        let places = Places::new(2, Duration::ZERO);
        let all = taken(&places, 2);
        all[1].known();
        let mut streams = Vec::new();
        for place in &all {
            let (near, far) = tokio::io::duplex(16);
            let mut near = Watched::new(near, Arc::clone(place));
            let answering = place.answer().unwrap();
            assert!(near.write_all(&[0; 40]).now_or_never().is_none());
            drop(answering);
            streams.push((near, far));
        }
        let newcomer = taken(&places, 1).remove(0);
        assert_eq!(gone(&all), [0]);
        let _answering = newcomer.answer().unwrap();
        let mut waiting = Box::pin(places.take());
        assert!((&mut waiting).now_or_never().is_none());
        // He takes it at last.
        let (near, far) = &mut streams[1];
        far.read_exact(&mut [0; 16]).now_or_never().unwrap().unwrap();
        near.write_all(&[0; 8]).now_or_never().unwrap().unwrap();
        waiting.now_or_never().unwrap();
        assert_eq!(gone(&all), [1]);
    }
}
