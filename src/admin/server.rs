//! Connections to the interface: accepted, under TLS if so configured, each within bounds of time and size.
//!
//! In: the configuration and a [`Handle`]. Out: a running [`Server`]. Must never: let slow or greedy clients take what the proxy's own
//! clients need: there are few connections at once, and each has little time and little room; nor let those who hold them without a need
//! keep others waiting ([`super::places`]).

use super::access::Peer;
use super::places::{Answer, Place, Places, Watched};
use super::routes::routes;
use crate::config::Admin;
use crate::governance::problem::Problem;
use crate::session::Handle;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at once. Whoever comes beyond gets the place of one that is idle, and waits where all are being answered.
const CONNECTIONS: usize = 128;
/// When all places are taken, whoever has come has so long to ask something before he has to make room.
const GRACE: Duration = Duration::from_millis(250);
/// Connections that wait to be accepted: beyond it the system drops first packets, and who comes tries again a second later.
const BACKLOG: u32 = 1024;
/// Longest time for a TLS handshake, and for the head of each request; so long a connection may be idle.
const HEAD: Duration = Duration::from_secs(5);
/// A connection older than this ends.
const LIFETIME: Duration = Duration::from_secs(600);
/// Largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;

/// The running interface. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the address and begins to serve; `None` when there is no `admin` in the configuration.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(handle: Handle) -> Result<Option<Self>, Vec<Problem>> {
        let Some(admin) = handle.config().admin.clone() else { return Ok(None) };
        let failed = |error: io::Error| {
            let message = format!("cannot listen on {} for administrators: {error}", admin.listen);
            vec![Problem::in_file(&handle.config().file, message, "choose an address that is free")]
        };
        let listener = bind(admin.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, tls = admin.tls.is_some(), "listening for administrators");
        let router = routes(handle, &admin);
        Ok(Some(Self { address, task: tokio::spawn(accept(listener, admin, router)) }))
    }

    /// Where it listens, a port chosen by the system filled in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, admin: Arc<Admin>, router: Router) {
    let places = Places::new(CONNECTIONS, GRACE);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                let place = places.take().await;
                let (admin, router) = (Arc::clone(&admin), router.clone());
                connections.spawn(async move {
                    tokio::select! {
                        served = timeout(LIFETIME, serve(socket, peer, admin, router, Arc::clone(&place))) => {
                            if served.is_err() {
                                tracing::debug!(%peer, "an administrator's connection was ended");
                            }
                        }
                        () = place.gone() => tracing::debug!(%peer, "an idle connection made room for another"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an administrator's connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, address: SocketAddr, admin: Arc<Admin>, router: Router, place: Arc<Place>) {
    let certificates = admin.certificates;
    let Ok(tls) = tokio::task::spawn_blocking(move || admin.tls_now()).await else { return };
    let Some(tls) = tls else {
        return talk(socket, router, Peer { certified: false, address }, place).await;
    };
    match timeout(HEAD, TlsAcceptor::from(tls).accept(socket)).await {
        Ok(Ok(stream)) => {
            // One that is shown is verified by the handshake.
            let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
            if certified && certificates {
                place.known();
            }
            talk(stream, router, Peer { certified, address }, place).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "an administrator's handshake failed"),
        Err(_) => tracing::debug!("an administrator's handshake took too long"),
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    place: Arc<Place>,
) {
    let router = router.layer(Extension(peer)).layer(Extension(Arc::clone(&place)));
    let router = router.layer(middleware::from_fn_with_state(Arc::clone(&place), answered));
    let service = TowerToHyperService::new(router);
    let stream = Watched::new(stream, place);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an administrator's connection failed");
    }
}

/// Keeps the connection's place until the answer has been taken.
async fn answered(State(place): State<Arc<Place>>, request: Request, next: Next) -> Response {
    let Some(answering) = place.answer() else {
        // The connection ends: its place is another's. No status would be true.
        return std::future::pending().await;
    };
    next.run(request).await.map(|body| Body::new(Answer::new(body, answering)))
}
