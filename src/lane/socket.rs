//! A connected socket of any kind, polled by the lane or the runtime that serves it.
//!
//! In: an open socket. Out: a byte stream. Must never: stay with the poller of a lane it has left.

use super::core::{Shared, lane_here, may_act};
use super::source::{HUNG, IN, OUT, Source};
use super::wakeup::Order;
use bytes::{Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Handle, Id};

/// What is received at once while little comes.
const LITTLE: usize = 16 * 1024;
/// Most bytes that a buffer may hold already when it is received into it as it is: they may have to be moved.
const BEFORE: usize = 4 * 1024;

thread_local! {
    /// Where it is received to: room of a reader's own would have to be cleared for each message.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LITTLE].into_boxed_slice());
}

/// What polls a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A lane, by its number in the process.
    Lane(usize),
    /// A runtime.
    Runtime(Id),
}

/// What polls the sockets that are made on this thread.
pub fn here() -> Option<Place> {
    match lane_here() {
        Some(lane) => Some(Place::Lane(lane.number)),
        None => Handle::try_current().ok().map(|runtime| Place::Runtime(runtime.id())),
    }
}

/// A connected socket, which somebody polls.
#[derive(Debug)]
pub struct Socket {
    polled: Polled,
    /// Much came last: more of the kind may come.
    much: AtomicBool,
}

/// A connected socket that does not block.
#[derive(Debug)]
enum Open {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

#[derive(Debug)]
enum Polled {
    Lane(OnLane),
    Runtime(Id, OnRuntime),
    /// It could not be moved.
    Nowhere,
}

/// A socket that tokio polls.
#[derive(Debug)]
enum OnRuntime {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl OnRuntime {
    fn enter(open: Open) -> io::Result<Self> {
        Ok(match open {
            Open::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket)?),
            Open::Unix(socket) => Self::Unix(UnixStream::from_std(socket)?),
        })
    }

    fn leave(self) -> io::Result<Open> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Open::Tcp),
            Self::Unix(socket) => socket.into_std().map(Open::Unix),
        }
    }

    /// Tries to read once it is worth it.
    fn poll_in<T>(&self, cx: &mut Context<'_>, attempt: impl FnOnce() -> io::Result<T>) -> Poll<io::Result<T>> {
        Poll::Ready(match self {
            Self::Tcp(socket) => {
                ready!(socket.poll_read_ready(cx))?;
                socket.try_io(Interest::READABLE, attempt)
            }
            Self::Unix(socket) => {
                ready!(socket.poll_read_ready(cx))?;
                socket.try_io(Interest::READABLE, attempt)
            }
        })
    }

    /// Tries to write once it is worth it.
    fn poll_out<T>(&self, cx: &mut Context<'_>, attempt: impl FnOnce() -> io::Result<T>) -> Poll<io::Result<T>> {
        Poll::Ready(match self {
            Self::Tcp(socket) => {
                ready!(socket.poll_write_ready(cx))?;
                socket.try_io(Interest::WRITABLE, attempt)
            }
            Self::Unix(socket) => {
                ready!(socket.poll_write_ready(cx))?;
                socket.try_io(Interest::WRITABLE, attempt)
            }
        })
    }
}

impl AsFd for OnRuntime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// What is told of every socket of a lane.
const TOLD: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// A socket among those of a lane; not any more when dropped.
#[derive(Debug)]
struct OnLane {
    /// `None` only while it leaves.
    open: Option<Open>,
    lane: Arc<Shared>,
    place: usize,
    source: Arc<Source>,
    /// It was full once, and is told since when there is room. Not before: of a Unix socket that comes with each message that the other
    /// side takes (Linux, af_unix.c `unix_write_space`), and nobody waits for it.
    tells_room: AtomicBool,
}

impl OnLane {
    fn enter(open: Open, lane: Arc<Shared>) -> io::Result<Self> {
        let (source, place) = (Arc::new(Source::new(lane.number)), lane.place());
        // It has to be known before its first event.
        lane.order(Order::Enter(place, Arc::clone(&source)));
        if let Err(error) = epoll::add(&lane.epoll, &open, EventData::new_u64(place as u64), TOLD) {
            lane.order(Order::Leave(place));
            return Err(error.into());
        }
        Ok(Self { open: Some(open), lane, place, source, tells_room: AtomicBool::new(false) })
    }

    /// From now on it is told that there is room to write; at once, if there is.
    fn tell_room(&self) -> io::Result<()> {
        if !self.tells_room.load(Relaxed) {
            let data = EventData::new_u64(self.place as u64);
            epoll::modify(&self.lane.epoll, self.open.as_ref().ok_or_else(nowhere)?, data, TOLD | EventFlags::OUT)?;
            self.tells_room.store(true, Relaxed);
        }
        Ok(())
    }

    /// Takes the socket away from the lane's poller; a duplicate of it would else keep it there.
    fn leave(&mut self) -> io::Result<Open> {
        let open = self.open.take().ok_or_else(nowhere)?;
        let left = epoll::delete(&self.lane.epoll, &open);
        self.lane.order(Order::Leave(self.place));
        left?;
        Ok(open)
    }
}

impl Drop for OnLane {
    fn drop(&mut self) {
        if self.open.is_some()
            && let Err(error) = self.leave()
        {
            tracing::debug!(%error, "a socket could not be taken from its poller");
        }
    }
}

impl Polled {
    fn here(open: Open) -> io::Result<Self> {
        if let Some(lane) = lane_here() {
            return OnLane::enter(open, lane).map(Self::Lane);
        }
        let runtime = Handle::try_current().map_err(io::Error::other)?.id();
        Ok(Self::Runtime(runtime, OnRuntime::enter(open)?))
    }

    fn into_open(self) -> io::Result<Open> {
        match self {
            Self::Lane(mut on) => on.leave(),
            Self::Runtime(_, on) => on.leave(),
            Self::Nowhere => Err(nowhere()),
        }
    }
}

fn nowhere() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Socket {
    /// A connection of TCP, polled by whoever runs this.
    ///
    /// # Errors
    /// When it cannot be polled: there is no runtime, or the system has no room for another one.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        Self::new(Open::Tcp(socket.into_std()?))
    }

    /// A connection over a Unix socket, polled by whoever runs this.
    ///
    /// # Errors
    /// As [`Socket::tcp`].
    pub fn unix(socket: UnixStream) -> io::Result<Self> {
        Self::new(Open::Unix(socket.into_std()?))
    }

    fn new(open: Open) -> io::Result<Self> {
        Ok(Self { polled: Polled::here(open)?, much: AtomicBool::new(false) })
    }

    /// What polls it.
    pub fn place(&self) -> Option<Place> {
        match &self.polled {
            Polled::Lane(on) => Some(Place::Lane(on.lane.number)),
            Polled::Runtime(id, _) => Some(Place::Runtime(*id)),
            Polled::Nowhere => None,
        }
    }

    /// Has it polled by whoever runs this, and by nobody else any more.
    ///
    /// # Errors
    /// As [`Socket::tcp`]; then it is of no more use.
    pub fn come_here(&mut self) -> io::Result<()> {
        if self.place() != here() {
            let open = std::mem::replace(&mut self.polled, Polled::Nowhere).into_open()?;
            self.polled = Polled::here(open)?;
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.polled {
            Polled::Lane(on) => on.open.as_ref().map(AsFd::as_fd),
            Polled::Runtime(_, on) => Some(on.as_fd()),
            Polled::Nowhere => None,
        }
    }

    /// Whether nothing has come since the last read: neither bytes nor the end. Asks the system.
    pub fn is_quiet(&self) -> bool {
        let Some(socket) = self.descriptor() else { return false };
        let asked = rustix::net::recv(socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(asked, Err(Errno::AGAIN))
    }

    /// Another descriptor of the same connection.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.descriptor().ok_or_else(nowhere)?.try_clone_to_owned()
    }

    /// What comes next, without taking it; how much of it there is, 0 at the end. Cancel safe.
    ///
    /// # Errors
    /// What the system says.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            self.poll_in(cx, |socket| {
                let (peeked, _) = rustix::net::recv(socket, &mut *bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                // It is still to be read.
                Ok((peeked, true))
            })
        })
        .await
    }

    /// Tries to read until that works, or there is nothing. The attempt says whether there may be more.
    fn poll_in<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<(T, bool), Errno>,
    ) -> Poll<io::Result<T>> {
        let Some(socket) = self.descriptor() else { return Poll::Ready(Err(nowhere())) };
        loop {
            let tried = match &self.polled {
                Polled::Lane(on) => {
                    let source = &on.source;
                    if !source.readable(cx) || !may_act(on.lane.number, cx) {
                        return Poll::Pending;
                    }
                    let hung = source.take(IN | HUNG) & HUNG;
                    let tried = attempt(socket);
                    let left = match &tried {
                        Ok((_, false)) => hung,
                        Err(Errno::AGAIN) => 0,
                        Ok((_, true)) | Err(_) => IN | hung,
                    };
                    if left != 0 {
                        source.give(left);
                    }
                    tried.map_err(io::Error::from)
                }
                Polled::Runtime(_, on) => ready!(on.poll_in(cx, || Ok(attempt(socket)?))),
                Polled::Nowhere => Err(nowhere()),
            };
            match tried {
                Ok((got, _)) => return Poll::Ready(Ok(got)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads what there is, up to what there is room for.
    pub fn poll_receive(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_in(cx, |socket| {
            if buf.initialized().len() < buf.capacity() {
                let most = buf.remaining();
                return little(socket, most, |received| buf.put_slice(received));
            }
            let room = buf.initialize_unfilled();
            let (received, _) = rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT)?;
            let full = received == room.len();
            buf.advance(received);
            Ok((received, full))
        })
        .map_ok(drop)
    }

    /// Reads what there is to the end of a buffer, up to the room that it has there (or is given, when it has none); how much that was, 0 at the end.
    pub fn poll_fill(&self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Nothing would be received where there is no room, which is what the end looks like.
        if buf.len() == buf.capacity() {
            buf.reserve(LITTLE);
        }
        let room = buf.capacity() - buf.len();
        self.poll_in(cx, |socket| {
            let (received, full) = if self.much.load(Relaxed) && buf.len() <= BEFORE {
                // The same memory in the form in which its room can be received into without being cleared.
                let mut whole = Vec::from(std::mem::take(buf));
                // It is another one, without room, where somebody else holds a part of it.
                whole.reserve(room);
                let room = whole.capacity() - whole.len();
                let received = rustix::net::recv(socket, spare_capacity(&mut whole), RecvFlags::DONTWAIT);
                *buf = Bytes::from(whole).into();
                let (received, _) = received?;
                (received, received == room)
            } else {
                little(socket, room, |received| buf.extend_from_slice(received))?
            };
            let much = received >= LITTLE;
            if self.much.load(Relaxed) != much {
                self.much.store(much, Relaxed);
            }
            Ok((received, full))
        })
    }

    /// Writes what the system takes of it; how much that was.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(socket) = self.descriptor() else { return Poll::Ready(Err(nowhere())) };
        let attempt = || Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?);
        loop {
            let tried = match &self.polled {
                Polled::Lane(on) => {
                    let source = &on.source;
                    if !source.writable(cx) || !may_act(on.lane.number, cx) {
                        return Poll::Pending;
                    }
                    match attempt() {
                        Err(error) if is_full(&error) => {
                            source.take(OUT);
                            // Room may have come before that.
                            let tried = on.tell_room().and_then(|()| attempt());
                            if !tried.as_ref().is_err_and(is_full) {
                                source.give(OUT);
                            }
                            tried
                        }
                        tried => tried,
                    }
                }
                Polled::Runtime(_, on) => ready!(on.poll_out(cx, attempt)),
                Polled::Nowhere => Err(nowhere()),
            };
            match tried {
                Err(error) if is_full(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                tried => return Poll::Ready(tried),
            }
        }
    }

    /// Tells the other side that nothing more comes.
    pub fn shut(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.descriptor().ok_or_else(nowhere)?, Shutdown::Write)?)
    }
}

/// Receives at most so much, and at most [`LITTLE`]; how much that was, and whether there may be more.
fn little(socket: BorrowedFd<'_>, most: usize, put: impl FnOnce(&[u8])) -> Result<(usize, bool), Errno> {
    SCRATCH.with_borrow_mut(|scratch| {
        let most = most.min(scratch.len());
        let room = scratch.get_mut(..most).unwrap_or_default();
        let (received, _) = rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT)?;
        put(room.get(..received).unwrap_or_default());
        Ok((received, received == most))
    })
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// A byte stream that a session reads.
pub trait Receive: AsyncRead + Unpin {
    /// Reads what there is to the end of a buffer, up to the room that it has there; how much that was, 0 at the end.
    ///
    /// # Errors
    /// What the system or the protocol below says.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.read_buf(buf)).poll(cx)
    }
}

impl<S: Receive + ?Sized> Receive for &mut S {
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        (**self).poll_fill(cx, buf)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_receive(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut())
    }
}
