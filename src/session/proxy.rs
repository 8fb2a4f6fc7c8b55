//! The proxy as a whole: listeners, connections, reloads, its end.
//!
//! In: a validated configuration. Out: a running [`Proxy`]. Must never: accept a connection before a world that validated is in force,
//! or let one session's failure end another.

use super::connection::{Shared, serve};
use super::lanes::{self, Lanes};
use crate::config::Config;
use crate::governance::problem::Problem;
use crate::world::{Outcome, Reloader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Longest time sessions may go on with what they are doing once the proxy stops.
const GRACE: Duration = Duration::from_secs(20);

/// A running proxy. Dropping it ends it at once; [`Proxy::stop`] lets statements finish.
pub struct Proxy {
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    reloader: Reloader,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Loads the world, binds every address and begins to serve.
    ///
    /// # Errors
    /// Every problem that keeps the proxy from serving.
    pub async fn start(config: Config) -> Result<Self, Vec<Problem>> {
        let config = Arc::new(config);
        let (worlds, reloader) = Reloader::start(Arc::clone(&config)).await?;
        let shared = Arc::new(Shared::new(Arc::clone(&config), worlds));
        for keyring in shared.keyrings.iter().map(Arc::clone) {
            // Not waited for: what is missing is told in the log now, and tried again when somebody logs in.
            tokio::spawn(async move { keyring.ready().await });
        }
        let mut bound = Vec::new();
        let mut problems = Vec::new();
        for address in &config.listen {
            match TcpListener::bind(address).await.and_then(|l| Ok((l.local_addr()?, l))) {
                Ok(listener) => bound.push(listener),
                Err(error) => problems.push(Problem::in_file(
                    &config.file,
                    format!("cannot listen on {address}: {error}"),
                    "choose an address that is free",
                )),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let lanes = Lanes::new(config.threads.unwrap_or_else(lanes::automatic)).map(Arc::new);
        let lanes = lanes.map_err(|error| {
            let hint = "allow the process more threads and open files, or set `threads` lower";
            vec![Problem::in_file(&config.file, format!("cannot start the threads that serve sessions: {error}"), hint)]
        })?;
        let Some(address) = bound.first().map(|(address, _)| *address) else {
            return Err(vec![Problem::in_file(&config.file, "no address to listen on", "add one to `listen`")]);
        };
        tokio::spawn(super::eviction::watch(Arc::downgrade(&shared.eviction)));
        tokio::spawn(super::forgetting::watch(Arc::downgrade(&shared.planner), shared.worlds.clone()));
        tokio::spawn(crate::world::directories::watch(Arc::downgrade(&shared.directories)));
        let (stop, stopped) = watch::channel(false);
        let (addresses, listeners): (Vec<_>, Vec<_>) = bound
            .into_iter()
            .map(|(address, listener)| {
                tracing::info!(%address, "listening");
                (address, tokio::spawn(listen(Arc::clone(&shared), Arc::clone(&lanes), listener, stopped.clone())))
            })
            .unzip();
        Ok(Self { address, addresses, shared, reloader, stop, listeners })
    }

    /// The addresses listened on, ports chosen by the system filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of them.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many sessions are live.
    pub fn sessions(&self) -> usize {
        self.shared.keys.len()
    }

    /// Where plans came from so far.
    pub fn plans(&self) -> crate::plan::Counts {
        self.shared.planner.counts()
    }

    /// Reloads governance and identities, and does not wait for it.
    pub fn reload(&self) {
        self.reloader.reload();
    }

    /// Reloads governance and identities, and says what came of it.
    pub async fn reload_and_wait(&self) -> Outcome {
        self.reloader.reload_and_wait().await
    }

    /// Stops listening, ends sessions as soon as they are between transactions' statements, waits for the others for a while, closes
    /// the pools.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        for listener in std::mem::take(&mut self.listeners) {
            // A listener ends with its last session, or after the grace.
            let _ = listener.await;
        }
        for pool in self.shared.pools.values() {
            pool.close_idle();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

/// Accepts until told to stop, then waits for the sessions. Dropping it ends them.
async fn listen(shared: Arc<Shared>, lanes: Arc<Lanes>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = sessions.join_next() => {
                if ended.is_err_and(|e| e.is_panic()) {
                    tracing::error!("a session ended by a defect of ours");
                }
                continue;
            }
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            // Who has not logged in yet counts here only; beyond the bound even a refusal would cost too much.
            Ok((socket, peer)) if sessions.len() > 2 * shared.config.limits.sessions + 64 => {
                tracing::warn!(%peer, "too many connections");
                drop(socket);
            }
            Ok((socket, peer)) => {
                keep_alive(&socket);
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                lanes.spawn(&mut sessions, socket, peer, move |socket| serve(shared, socket, peer, stop));
            }
            Err(error) => {
                // Out of file descriptors, or a client that left at once: neither is solved by trying again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("sessions were ended in the middle");
    }
}

fn keep_alive(socket: &TcpStream) {
    let settings =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_keepalive(&settings) {
        tracing::debug!(%error, "no keepalive");
    }
}
