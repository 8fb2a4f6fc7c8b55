//! Where clients come in: sockets of our own, or those that a service manager holds for us (sd_listen_fds(3)).
//!
//! In: addresses to bind, or sockets given at start. Out: connections, each served on its lane, until the proxy ends. Must never: lose a
//! connection that the system has accepted for us, or close a socket that is not ours to close.

use super::connection::{Shared, serve};
use super::drain::{self, Listening, Phase};
use super::lanes::Lanes;
use crate::config::Config;
use crate::governance::problem::Problem;
use std::io;
use std::net::{SocketAddr, TcpListener as Given};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;
/// After a failure to accept, the next try comes so much later.
const RETRY: Duration = Duration::from_millis(50);
/// A handshake of TCP that has begun is waited for so long; a client whose first packet is not answered sends it again after a second
/// (RFC 6298, section 2).
const HANDSHAKES: Duration = Duration::from_millis(500);
/// A failure that lasts is told again after so long.
const REMIND: Duration = Duration::from_secs(10);

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    socket: TcpListener,
    kind: Kind,
}

/// Whose connections go where when the socket closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody else listens there.
    Own,
    /// Other processes may listen there, each with a queue of its own (`SO_REUSEPORT`).
    Shared,
    /// Somebody else holds the socket too, and will give it to whoever comes after us: what waits in its queue is not lost.
    Given,
}

/// The sockets to listen on: those that were given, else those of the configuration.
pub(super) fn listeners(config: &Config, given: Vec<Given>) -> Result<Vec<Listener>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut listeners = Vec::new();
    if given.is_empty() {
        for address in &config.listen {
            match bind(*address, config.reuse_port) {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    let text = format!("cannot listen on {address}: {error}");
                    let help =
                        "choose an address that is free; two proxies share one where both have `reuse_port: true`";
                    problems.push(Problem::in_file(&config.file, text, help));
                }
            }
        }
    }
    for socket in given {
        match take(socket) {
            Ok(listener) => listeners.push(listener),
            Err(error) => problems.push(Problem::nowhere(
                format!("a socket that was given to the process cannot be used: {error}"),
                "give it sockets that listen on TCP (ListenStream=ADDRESS:PORT)",
            )),
        }
    }
    if listeners.is_empty() && problems.is_empty() {
        problems.push(Problem::in_file(&config.file, "no address to listen on", "add one to `listen`"));
    }
    if problems.is_empty() { Ok(listeners) } else { Err(problems) }
}

/// The socket on which other replicas are heard, where there are several.
pub(super) async fn hearing(config: &Config) -> Result<Option<TcpListener>, Vec<Problem>> {
    let Some(replica) = &config.replica else { return Ok(None) };
    TcpListener::bind(replica.listen).await.map(Some).map_err(|error| {
        let text = format!("cannot listen on {} for other replicas: {error}", replica.listen);
        vec![Problem::in_file(&config.file, text, "choose an address that is free; each process needs its own")]
    })
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if shared {
        // SO_REUSEPORT, socket(7): of one address several sockets of the same account, each with a queue of its own.
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    Ok(Listener { address: socket.local_addr()?, socket, kind: if shared { Kind::Shared } else { Kind::Own } })
}

fn take(socket: Given) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    Ok(Listener { address: socket.local_addr()?, socket, kind: Kind::Given })
}

impl Listener {
    /// Accepts until the proxy ends, then waits for the sessions. Dropping it ends them.
    pub(super) async fn serve(
        self,
        shared: Arc<Shared>,
        lanes: Arc<Lanes>,
        phases: watch::Receiver<Phase>,
        _listening: Listening,
    ) {
        let mut sessions = JoinSet::new();
        let mut closed = phases.clone();
        let mut trouble = Trouble::default();
        let admit = |sessions: &mut JoinSet<()>, socket: TcpStream, peer: SocketAddr| {
            // Who has not logged in yet counts here only; beyond the bound even a refusal would cost too much.
            if sessions.len() > 2 * shared.config.limits.sessions + 64 {
                return tracing::warn!(%peer, "too many connections");
            }
            if let Err(error) = socket.set_nodelay(true) {
                return tracing::debug!(%peer, %error, "connection lost");
            }
            keep_alive(&socket);
            let (shared, phases) = (Arc::clone(&shared), phases.clone());
            lanes.spawn(sessions, socket, peer, move |socket| serve(shared, socket, peer, phases));
        };
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                Some(ended) = sessions.join_next() => {
                    told(&ended);
                    continue;
                }
                () = drain::reached(&mut closed, Phase::Closed) => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    trouble.over();
                    admit(&mut sessions, socket, peer);
                }
                Err(error) => {
                    // Out of file descriptors, or a client that left at once: neither is solved by trying again at once. Who waits in the
                    // queue goes on waiting.
                    trouble.tell(&error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        if self.kind == Kind::Shared && turn_away(&self.socket) {
            let until = tokio::time::Instant::now() + HANDSHAKES;
            while let Ok(Ok((socket, peer))) = tokio::time::timeout_at(until, self.socket.accept()).await {
                admit(&mut sessions, socket, peer);
            }
        }
        match self.kind {
            Kind::Given => drop(self.socket),
            // Closing a socket resets who waits in its queue: they came in time, and are let in.
            Kind::Own | Kind::Shared => match self.socket.into_std() {
                Ok(socket) => {
                    while let Some((socket, peer)) = waiting(&socket) {
                        admit(&mut sessions, socket, peer);
                    }
                }
                Err(error) => tracing::warn!(%error, "connections that were not accepted yet are lost"),
            },
        }
        let mut ending = phases.clone();
        let mut over = pin!(drain::over(&mut ending));
        loop {
            tokio::select! {
                ended = sessions.join_next() => match ended {
                    Some(ended) => told(&ended),
                    None => break,
                },
                () = &mut over => {
                    tracing::warn!(sessions = sessions.len(), "sessions were ended in the middle");
                    break;
                }
            }
        }
    }
}

/// Leaves the first packets of connections unanswered from now on: clients send them again, and they reach whoever else listens there once
/// this socket is closed. Without it, whoever connects between the last look at the queue and the closing is reset.
///
/// A filter of socket(7), `SO_ATTACH_FILTER`; it sees the packet from the header of TCP on.
fn turn_away(socket: &TcpListener) -> bool {
    use socket2::SockFilter;
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // Of the flags, SYN without ACK (RFC 9293, section 3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    let attached = socket2::SockRef::from(socket).attach_filter(&program);
    if let Err(error) = &attached {
        tracing::warn!(%error, "connections that come while the socket is closed may be reset");
    }
    attached.is_ok()
}

/// The next connection that waits, if one does.
fn waiting(socket: &Given) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match socket.accept() {
            Ok((stream, peer)) => match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => return Some((stream, peer)),
                Err(error) => tracing::debug!(%peer, %error, "connection lost"),
            },
            // Who left while he waited is not the last one.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
    }
}

/// A session has ended; what it should not have ended by is told.
fn told(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a session ended by a defect of ours");
    }
}

/// Connections cannot be accepted: told when it begins, now and then while it lasts, and when it is over.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, error: &io::Error) {
        // Its client left before it was accepted: of no consequence.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return tracing::debug!(%error, "connection lost");
        }
        self.since.get_or_insert_with(Instant::now);
        if self.told.is_none_or(|told| told.elapsed() >= REMIND) {
            self.told = Some(Instant::now());
            tracing::error!(%error, "connections cannot be accepted and wait: raise the limit of open files (LimitNOFILE=)");
        }
    }

    fn over(&mut self) {
        if let Some(since) = self.since.take() {
            self.told = None;
            tracing::info!(after = ?since.elapsed(), "connections are accepted again");
        }
    }
}

fn keep_alive(socket: &TcpStream) {
    let settings =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_keepalive(&settings) {
        tracing::debug!(%error, "no keepalive");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn who_connects_while_a_shared_socket_closes_reaches_the_other() {
        let closing = bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = closing.address;
        let other = bind(address, true).unwrap();
        assert!(turn_away(&closing.socket));
        let clients: Vec<_> = (0..50)
            .map(|_| {
                tokio::spawn(async move {
                    let mut client = TcpStream::connect(address).await?;
                    client.read_u8().await
                })
            })
            .collect();
        let serving = tokio::spawn(async move {
            loop {
                let (mut client, _) = other.socket.accept().await.unwrap();
                client.write_u8(7).await.unwrap();
            }
        });
        // Long enough for each client's first packet, half of which came here.
        tokio::time::sleep(HANDSHAKES).await;
        drop(closing);
        for client in clients {
            assert_eq!(client.await.unwrap().unwrap(), 7);
        }
        serving.abort();
    }
}
