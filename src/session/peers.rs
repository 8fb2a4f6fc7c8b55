//! Cancel requests of sessions that another replica has: behind a balancer they come to anybody.
//!
//! In: the key of a CancelRequest, whose upper bits say which replica has issued it. Out: the same key at that replica, on a port of its own
//! which takes nothing else. Replicas know each other by the master secret that they share: what is passed on carries a MAC, and is never
//! passed on again. Must never: be more work for a peer than for whoever asks, pass on what a peer has sent, or say whether a key was right.
//!
//! What a stranger may do with it: a key that he guesses costs a connection to a peer, for a connection of his own; so many at once, and so
//! many a second from one address. Guessing is as hard as without replicas: all bits of the secret are random.

use super::cancel::CancelKeys;
use crate::config::secret::hmac;
use crate::config::{Replica, Secret};
use crate::wire::startup::{Startup, packet_length};
use bytes::{BufMut, BytesMut};
use quick_cache::sync::Cache;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// CancelRequest's code (PostgreSQL manual, 55.7).
const CANCEL_REQUEST: i32 = 80_877_102;
/// Bytes of the MAC behind the key.
const MAC: usize = 32;
/// What the key of the MAC is derived for.
const LABEL: &str = "sqlveil: cancel requests among replicas, 1";
/// Requests passed on at once, and requests of peers dealt with at once; others wait.
const AT_ONCE: usize = 64;
/// Requests passed on for one address in a second; others are dropped. A balancer is one address.
const A_SECOND: u32 = 100;
/// Addresses that are counted.
const COUNTED: usize = 4096;
/// Longest time in which a peer has to say what it wants.
const SAYING: Duration = Duration::from_secs(5);

/// The other replicas.
#[derive(Debug)]
pub struct Peers {
    replica: Replica,
    key: Secret,
    turns: Semaphore,
    recent: Cache<IpAddr, (Instant, u32)>,
}

impl Peers {
    /// Those of the configuration, which share this master secret.
    pub fn new(replica: Replica, master: &Secret) -> Self {
        let key = master.derive(LABEL);
        Self { replica, key, turns: Semaphore::new(AT_ONCE), recent: Cache::new(COUNTED) }
    }

    /// Passes a request on to the replica that has issued the key, and waits until it is dealt with. Nothing happens when there is no such
    /// replica.
    ///
    /// Cancel safe: a dropped future may or may not have sent the request.
    pub async fn pass_on(&self, pid: i32, secret: &[u8], from: IpAddr) {
        let Some(owner) = CancelKeys::owner(pid).filter(|owner| *owner != self.replica.id) else { return };
        let Some(address) = self.replica.peers.get(&owner) else { return };
        if !self.may(from) {
            return tracing::debug!(%from, "too many cancel requests for other replicas: some were dropped");
        }
        let sent = async {
            let Ok(_turn) = self.turns.acquire().await else { return Ok(()) };
            self.send(address, pid, secret).await
        };
        match timeout(self.replica.timeout, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(replica = owner, %error, "a cancel request did not reach its replica"),
            Err(_) => tracing::warn!(replica = owner, "a cancel request did not reach its replica in time"),
        }
    }

    /// Whether one more may be passed on for that address now.
    fn may(&self, from: IpAddr) -> bool {
        let now = Instant::now();
        let (since, so_far) = self.recent.get(&from).unwrap_or((now, 0));
        let (since, so_far) =
            if now.duration_since(since) >= Duration::from_secs(1) { (now, 0) } else { (since, so_far) };
        self.recent.insert(from, (since, so_far.saturating_add(1)));
        so_far < A_SECOND
    }

    async fn send(&self, address: &str, pid: i32, secret: &[u8]) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(12 + secret.len() + MAC);
        let length = i32::try_from(12 + secret.len() + MAC).map_err(io::Error::other)?;
        out.put_i32(length);
        out.put_i32(CANCEL_REQUEST);
        out.put_i32(pid);
        out.put_slice(secret);
        out.put_slice(&self.mac(pid, secret));
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&out).await?;
        // It closes when it has dealt with the request.
        let mut nothing = [0; 1];
        let _ = stream.read(&mut nothing).await?;
        Ok(())
    }

    fn mac(&self, pid: i32, secret: &[u8]) -> [u8; MAC] {
        hmac(self.key.expose(), &[&pid.to_be_bytes(), secret])
    }

    /// The key in what a peer has sent, when it is one that knows the master secret.
    fn opened<'a>(&self, pid: i32, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (secret, given) = sealed.split_at_checked(sealed.len().checked_sub(MAC)?)?;
        bool::from(self.mac(pid, secret).ct_eq(given)).then_some(secret)
    }

    /// Deals with what peers send, for as long as it is polled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, keys: Arc<CancelKeys>) {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, from)) => {
                    let (this, keys) = (Arc::clone(&self), Arc::clone(&keys));
                    tokio::spawn(async move {
                        let _turn = turn;
                        match timeout(SAYING, this.hear(socket)).await {
                            Ok(Ok(Some((_socket, pid, secret)))) => {
                                let outcome = keys.cancel(pid, &secret).await;
                                tracing::debug!(%from, outcome, "a replica passed a cancel request on");
                            }
                            Ok(Ok(None)) => {
                                tracing::debug!(%from, "what is no cancel request of a replica was not listened to")
                            }
                            Ok(Err(error)) => tracing::debug!(%from, %error, "connection lost"),
                            Err(_) => tracing::debug!(%from, "a replica did not say what it wants"),
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection of a replica");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Reads one request. The socket closes when it is dealt with.
    async fn hear(&self, mut socket: TcpStream) -> io::Result<Option<(TcpStream, i32, Vec<u8>)>> {
        let mut head = [0; 4];
        socket.read_exact(&mut head).await?;
        // The longest secret of a CancelRequest, 256 bytes, and the fields before it.
        let Ok(Some(length @ ..=268)) = packet_length(&head) else { return Ok(None) };
        let mut packet = vec![0; length.saturating_sub(4)];
        socket.read_exact(&mut packet).await?;
        let Ok(Startup::Cancel { pid, secret }) = Startup::parse(&packet) else { return Ok(None) };
        let opened = self.opened(pid, &secret).map(<[u8]>::to_vec);
        Ok(opened.map(|secret| (socket, pid, secret)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(id: u8, master: &str) -> Peers {
        let replica = Replica {
            id,
            listen: "127.0.0.1:0".parse().unwrap(),
            peers: [(2, "127.0.0.1:1".to_owned())].into(),
            timeout: Duration::from_secs(1),
        };
        Peers::new(replica, &Secret::new(master))
    }

    #[test]
    fn only_who_knows_the_master_secret_is_heard() {
        let (one, other, stranger) =
            (peers(1, "0123456789abcdef"), peers(2, "0123456789abcdef"), peers(1, "another secret"));
        let sealed = [b"four".as_slice(), &one.mac(7, b"four")].concat();
        assert_eq!(other.opened(7, &sealed), Some(b"four".as_slice()));
        assert_eq!(other.opened(8, &sealed), None);
        assert_eq!(stranger.opened(7, &sealed), None);
        let mut changed = sealed.clone();
        changed[0] ^= 1;
        assert_eq!(other.opened(7, &changed), None);
        // What a client may send: a secret alone.
        assert_eq!(other.opened(7, b"four"), None);
        assert_eq!(other.opened(7, &[0; 32]), None);
    }

    #[test]
    fn an_address_has_so_many_a_second() {
        let peers = peers(1, "0123456789abcdef");
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!((0..A_SECOND).all(|_| peers.may(one)));
        assert!(!peers.may(one));
        assert!(peers.may(other));
    }
}
