//! The warehouse's side of a client's session: a session of the warehouse for good, or one after the other.
//!
//! In: a [`Pool`], and the [`Engine`] that says when a session is wanted and when it may go. Out: a stream. Must never: let a cancel
//! request of one client reach the statement of another, or hand on a session with something still under way.

use super::cancel::CancelKey;
use super::deciding::Surroundings;
use super::engine::{End, Engine, Outgoing};
use super::pump::Side;
use crate::error::Refusal;
use crate::lane::Receive;
use crate::upstream::{CancelTarget, Pool, Session};
use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A session that is waited for.
pub type Taking = Pin<Box<dyn Future<Output = Result<Session, Refusal>> + Send>>;

/// Where a session of the warehouse is, or is not.
#[derive(Debug)]
pub struct Berth {
    session: Option<Session>,
    pool: Arc<Pool>,
}

fn nobody() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Berth {
    /// With a session in it, or without.
    pub fn new(pool: Arc<Pool>, session: Option<Session>) -> Self {
        Self { session, pool }
    }

    /// Whether there is one.
    pub fn is_taken(&self) -> bool {
        self.session.is_some()
    }

    /// How to cancel what the session does.
    pub fn cancel_key(&self) -> Option<CancelTarget> {
        self.session.as_ref().and_then(Session::cancel_key)
    }

    /// The session, for good.
    pub fn into_session(self) -> Option<Session> {
        self.session
    }

    fn acquire(&self, holder: u64) -> Taking {
        let pool = Arc::clone(&self.pool);
        Box::pin(async move { pool.acquire_as_is(pool.deadline(), holder).await })
    }
}

impl AsyncRead for Berth {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().session {
            Some(session) => Pin::new(&mut session.read).poll_read(cx, buf),
            None => Poll::Ready(Err(nobody())),
        }
    }
}

impl Receive for Berth {
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        match &mut self.session {
            Some(session) => session.read.poll_fill(cx, buf),
            None => Poll::Ready(Err(nobody())),
        }
    }
}

impl AsyncWrite for Berth {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().session {
            Some(session) => Pin::new(&mut session.write).poll_write(cx, buf),
            None => Poll::Ready(Err(nobody())),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().session {
            Some(session) => Pin::new(&mut session.write).poll_flush(cx),
            None => Poll::Ready(Err(nobody())),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().session {
            Some(session) => Pin::new(&mut session.write).poll_shutdown(cx),
            None => Poll::Ready(Err(nobody())),
        }
    }
}

/// A session has come.
///
/// # Errors
/// When what makes it ready for this client cannot be sent.
pub fn enter<A: Surroundings>(
    engine: &mut Engine<A>,
    upstream: &mut Side<Berth>,
    out: &mut Outgoing,
    key: &CancelKey,
    mut session: Session,
) -> Result<(), End> {
    let kept = std::mem::take(&mut session.kept);
    key.lead_to(session.cancel_key());
    upstream.renew();
    upstream.stream.session = Some(session);
    engine.attach(kept, out)
}

/// Gives the session to others when it may go, and takes one when it is wanted. True: one has come. One that does not come at once is
/// waited for in `taking`.
///
/// Not cancel safe.
pub async fn shift<A: Surroundings>(
    engine: &mut Engine<A>,
    upstream: &mut Side<Berth>,
    out: &mut Outgoing,
    key: &CancelKey,
    taking: &mut Option<Taking>,
) -> Result<bool, End> {
    if upstream.stream.is_taken() && upstream.is_quiet() && out.upstream.is_empty() && engine.may_go(out)? {
        // Requests that are on their way would reach whoever has the session next.
        key.lead_nowhere().await;
        if let Some(mut session) = upstream.stream.session.take() {
            match engine.detach() {
                Some(kept) => {
                    session.kept = kept;
                    session.hand_on();
                }
                None => session.release(true),
            }
        }
    }
    if taking.is_none() && engine.wants_session() {
        match upstream.stream.pool.take(engine.holder()) {
            Some(session) => {
                enter(engine, upstream, out, key, session)?;
                return Ok(true);
            }
            None => *taking = Some(upstream.stream.acquire(engine.holder())),
        }
    }
    Ok(false)
}
