//! One byte stream to a warehouse: TCP, TLS over TCP, or a Unix socket, in two halves.
//!
//! In: a [`Connection`]. Out: [`ReadHalf`] and [`WriteHalf`], the hash for channel binding, the peer to send cancels to. Must never:
//! send a byte in the clear when the sslmode asks for TLS, read a byte behind the answer to SSLRequest before TLS has begun.

use super::failure::Failure;
use crate::config::tls::{SslMode, end_point};
use crate::config::{Connection, Host};
use crate::lane::{Place, Receive, Socket};
use bytes::BytesMut;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// SSLRequest (PostgreSQL manual, 55.7): length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What comes from the warehouse.
#[derive(Debug)]
pub enum ReadHalf {
    /// Plain TCP, or a Unix socket.
    Plain(Arc<Socket>),
    /// TLS; beside it what is known of the socket below.
    Tls(tokio::io::ReadHalf<TlsStream<Socket>>, Below),
}

/// The socket below TLS.
#[derive(Debug)]
pub struct Below {
    /// A duplicate, to look whether the peer has closed.
    probe: socket2::Socket,
    /// What polls it.
    place: Option<Place>,
}

/// What goes to the warehouse.
#[derive(Debug)]
pub enum WriteHalf {
    /// Plain TCP, or a Unix socket.
    Plain(Arc<Socket>),
    /// TLS.
    Tls(tokio::io::WriteHalf<TlsStream<Socket>>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => socket.poll_receive(cx, buf),
            Self::Tls(half, _) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl Receive for tokio::io::ReadHalf<TlsStream<Socket>> {}

impl Receive for ReadHalf {
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_fill(cx, buf),
            Self::Tls(half, _) => half.poll_fill(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => socket.poll_send(cx, buf),
            Self::Tls(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Poll::Ready(socket.shut()),
            Self::Tls(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

impl ReadHalf {
    /// Whether nothing has come from the peer since the last read: neither its end nor a message. Asks the socket itself, so that an
    /// end that was not noticed yet is seen. For sessions nobody uses.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            // The socket is non-blocking; `peek` reads without taking.
            Self::Tls(_, below) => {
                let peeked = below.probe.peek(&mut [std::mem::MaybeUninit::uninit(); 1]);
                matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
        }
    }

    /// What polls it.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Plain(socket) => socket.place(),
            Self::Tls(_, below) => below.place,
        }
    }
}

/// Has a stream polled by who runs this; who polled it before would else wake him for every message.
///
/// # Errors
/// When it cannot be polled here: then it is closed.
pub(super) fn polled_here(read: ReadHalf, write: WriteHalf) -> io::Result<(ReadHalf, WriteHalf)> {
    let apart = || io::Error::other("two halves of different streams");
    match (read, write) {
        (ReadHalf::Plain(read), WriteHalf::Plain(write)) => {
            drop(write);
            let mut socket = Arc::into_inner(read).ok_or_else(apart)?;
            socket.come_here()?;
            Ok(halves(socket))
        }
        (ReadHalf::Tls(read, Below { probe, .. }), WriteHalf::Tls(write)) if read.is_pair_of(&write) => {
            let mut stream = read.unsplit(write);
            let socket = stream.get_mut().0;
            socket.come_here()?;
            let place = socket.place();
            let (read, write) = tokio::io::split(stream);
            Ok((ReadHalf::Tls(read, Below { probe, place }), WriteHalf::Tls(write)))
        }
        _ => Err(apart()),
    }
}

fn halves(socket: Socket) -> (ReadHalf, WriteHalf) {
    let socket = Arc::new(socket);
    (ReadHalf::Plain(Arc::clone(&socket)), WriteHalf::Plain(socket))
}

/// Where a session really went: the address a CancelRequest has to go to as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A stream before login.
pub(super) struct Dialed {
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
    pub(super) peer: Peer,
    /// On TLS.
    pub(super) secure: bool,
    /// `tls-server-end-point` of the warehouse's certificate, when on TLS and defined.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Connects, to one known peer or to whichever address of the host answers, and begins TLS as the mode says. No time limit of its own.
///
/// Cancel safe: dropping the future closes what was opened.
pub(super) async fn dial(connection: &Connection, peer: Option<&Peer>) -> Result<Dialed, Failure> {
    match (peer, &connection.host) {
        (Some(Peer::Unix(path)), _) => dial_unix(path.clone()).await,
        (None, Host::Unix(directory)) => dial_unix(directory.join(format!(".s.PGSQL.{}", connection.port))).await,
        (Some(Peer::Tcp(address)), _) => dial_tcp(connection, &[*address]).await,
        (None, Host::Tcp(host)) => {
            let found = tokio::net::lookup_host((host.as_str(), connection.port)).await;
            let addresses: Vec<SocketAddr> = found.map_err(|_| Failure::UnknownHost)?.collect();
            dial_tcp(connection, &addresses).await
        }
    }
}

async fn dial_unix(path: PathBuf) -> Result<Dialed, Failure> {
    let stream = UnixStream::connect(&path).await.map_err(Failure::Connect)?;
    let (read, write) = halves(Socket::unix(stream).map_err(Failure::Connect)?);
    Ok(Dialed { read, write, peer: Peer::Unix(path), secure: false, end_point: None })
}

async fn dial_tcp(connection: &Connection, addresses: &[SocketAddr]) -> Result<Dialed, Failure> {
    let tls = &connection.tls;
    let (stream, address) = open(addresses).await?;
    let (Some(config), true) = (&tls.config, tls.mode != SslMode::Disable) else {
        return Ok(plain(stream, address));
    };
    match begin_tls(stream, connection, config.clone()).await {
        Ok(Begun::Tls(stream)) => secured(*stream, address),
        Ok(Begun::NotOffered(stream)) if tls.mode == SslMode::Prefer => Ok(plain(stream, address)),
        Ok(Begun::NotOffered(_)) => Err(Failure::TlsNotOffered),
        // As libpq does: a handshake that fails under `prefer` is tried again without TLS.
        Err(_) if tls.mode == SslMode::Prefer => open(&[address]).await.map(|(stream, peer)| plain(stream, peer)),
        Err(failure) => Err(failure),
    }
}

async fn open(addresses: &[SocketAddr]) -> Result<(Socket, SocketAddr), Failure> {
    let mut last = Failure::UnknownHost;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                settle(&stream).map_err(Failure::Connect)?;
                return Ok((Socket::tcp(stream).map_err(Failure::Connect)?, *address));
            }
            Err(error) => last = Failure::Connect(error),
        }
    }
    Err(last)
}

/// Small messages at once, and dead peers noticed.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn plain(stream: Socket, address: SocketAddr) -> Dialed {
    let (read, write) = halves(stream);
    Dialed { read, write, peer: Peer::Tcp(address), secure: false, end_point: None }
}

fn secured(stream: TlsStream<Socket>, address: SocketAddr) -> Result<Dialed, Failure> {
    let (socket, session) = stream.get_ref();
    let probe = socket.duplicate().map_err(Failure::Connect)?.into();
    let below = Below { probe, place: socket.place() };
    let end_point = session.peer_certificates().and_then(<[_]>::first).and_then(|c| end_point(c));
    let (read, write) = tokio::io::split(stream);
    let (read, write) = (ReadHalf::Tls(read, below), WriteHalf::Tls(write));
    Ok(Dialed { read, write, peer: Peer::Tcp(address), secure: true, end_point })
}

enum Begun {
    Tls(Box<TlsStream<Socket>>),
    NotOffered(Socket),
}

/// SSLRequest and the handshake (PostgreSQL manual, 55.2.10).
async fn begin_tls(
    mut stream: Socket,
    connection: &Connection,
    config: Arc<rustls::ClientConfig>,
) -> Result<Begun, Failure> {
    stream.write_all(&SSL_REQUEST).await.map_err(Failure::Lost)?;
    // One byte and no more: what stands behind it belongs to TLS.
    match stream.read_u8().await.map_err(Failure::Lost)? {
        b'S' => {}
        b'N' => return Ok(Begun::NotOffered(stream)),
        _ => return Err(Failure::Protocol("unexpected answer to SSLRequest")),
    }
    let Host::Tcp(host) = &connection.host else { return Err(Failure::Protocol("TLS on a Unix socket")) };
    let name = ServerName::try_from(host.clone()).map_err(|_| Failure::UnknownHost)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(Failure::Tls)?;
    Ok(Begun::Tls(Box::new(stream)))
}
