//! A `tokio_postgres` client for the catalog leg and for directories, over our own login.
//!
//! In: a [`Connection`]. Out: a client that is logged in, with the empty `search_path` and read-only. There is one way to log in to a
//! warehouse ([`super::login`]): `tokio_postgres` is handed a stream that is through with it and sees the outcome played back, so
//! that TLS modes, channel binding and the rule on passwords hold for both legs. Must never: carry a caller's text.

use super::behind_pooler::Process;
use super::failure::Failure;
use super::login::{BackendKey, Leg, LoggedIn, login};
use super::stream::{ReadHalf, WriteHalf, dial};
use crate::config::Connection;
use crate::error::Refusal;
use crate::wire::TransactionStatus;
use crate::wire::backend;
use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::NoTls;

/// Connects within the connect timeout. The task that drives the connection ends when the client is dropped or the warehouse goes;
/// `Client::is_closed` tells.
///
/// Cancel safe: dropping the future closes what was opened.
pub async fn catalog_client(connection: &Connection) -> Result<tokio_postgres::Client, Refusal> {
    let key: &str = &connection.key;
    client(connection, Leg::Catalog).await.map_err(|failure| failure.logged(key))
}

/// The same for a database that is a directory; why not is for the log, where whoever asks tells it.
pub async fn directory_client(connection: &Connection) -> Result<tokio_postgres::Client, String> {
    client(connection, Leg::Directory).await.map_err(|failure| failure.to_string().replace("the warehouse", "it"))
}

/// The same for a table of audit records, which is written.
pub async fn audit_client(connection: &Connection) -> Result<tokio_postgres::Client, String> {
    client(connection, Leg::Audit).await.map_err(|failure| failure.to_string().replace("the warehouse", "the database"))
}

async fn client(connection: &Connection, leg: Leg) -> Result<tokio_postgres::Client, Failure> {
    let opened = tokio::time::timeout(connection.connect_timeout, open(connection, leg)).await;
    opened.unwrap_or(Err(Failure::Timeout))
}

async fn open(connection: &Connection, leg: Leg) -> Result<tokio_postgres::Client, Failure> {
    let dialed = dial(connection, None).await?;
    let stream = Replayed::new(login(dialed, connection, leg).await?);
    let mut config = tokio_postgres::Config::new();
    config.user(&connection.user).ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, driver) =
        config.connect_raw(stream, NoTls).await.map_err(|_| Failure::Protocol("the catalog client cannot start"))?;
    let key = connection.key.clone();
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::warn!(connection = &*key, "a connection of the proxy's own ended: {error}");
        }
    });
    Ok(client)
}

/// A stream behind login that looks like one in front of it: swallows the first message written (StartupMessage) and plays back
/// AuthenticationOk, the parameters, the key and ReadyForQuery.
struct Replayed {
    read: ReadHalf,
    write: WriteHalf,
    /// Still to be read.
    playback: BytesMut,
    /// Of the StartupMessage.
    startup: Startup,
    _process: Option<Process>,
}

enum Startup {
    /// Its length field is not complete yet.
    Length(Vec<u8>),
    /// So many bytes are still to come.
    Body(usize),
    Done,
}

impl Replayed {
    fn new(session: LoggedIn) -> Self {
        let mut playback = BytesMut::new();
        backend::authentication_ok(&mut playback);
        for (name, value) in &session.parameters {
            backend::parameter_status(&mut playback, name, value);
        }
        // tokio_postgres reads exactly four bytes; it never cancels on this leg.
        if let Some(BackendKey { pid, .. }) = session.key {
            backend::backend_key_data(&mut playback, pid, &[0; 4]);
        }
        backend::ready_for_query(&mut playback, TransactionStatus::Idle);
        Self {
            read: session.read,
            write: session.write,
            playback,
            startup: Startup::Length(Vec::new()),
            _process: session.process,
        }
    }

    /// How many of these bytes belong to the StartupMessage.
    fn swallow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.startup {
            Startup::Length(seen) => {
                let taken = bytes.len().min(4 - seen.len().min(4));
                seen.extend(bytes.iter().take(taken));
                if let Ok(length) = <[u8; 4]>::try_from(seen.as_slice()) {
                    let rest = usize::try_from(i32::from_be_bytes(length)).ok().and_then(|l| l.checked_sub(4));
                    self.startup = Startup::Body(rest.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?);
                }
                Ok(taken)
            }
            Startup::Body(rest) => {
                let taken = bytes.len().min(*rest);
                *rest -= taken;
                if *rest == 0 {
                    self.startup = Startup::Done;
                }
                Ok(taken)
            }
            Startup::Done => Ok(0),
        }
    }
}

impl AsyncRead for Replayed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.playback.is_empty() {
            return Pin::new(&mut this.read).poll_read(cx, buf);
        }
        let n = buf.remaining().min(this.playback.len());
        buf.put_slice(this.playback.get(..n).unwrap_or_default());
        this.playback.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.swallow(buf)? {
            0 if !buf.is_empty() => Pin::new(&mut this.write).poll_write(cx, buf),
            taken => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(cx)
    }
}
