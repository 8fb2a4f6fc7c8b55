//! The proxy as a whole: listeners, connections, reloads, its end.
//!
//! In: a validated configuration. Out: a running [`Proxy`]. Must never: accept a connection before a world that validated is in force,
//! or let one session's failure end another.

use super::connection::{Shared, serve};
use super::drain::{self, Drain, Listening, Phase};
use super::lanes::{self, Lanes};
use super::metrics::Proxied;
use crate::audit::{Following, Trail, Trailed};
use crate::config::{Config, Shutdown};
use crate::governance::problem::Problem;
use crate::telemetry::{self, Process, Telemetry};
use crate::world::{Outcome, Reloader};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// A running proxy. Dropping it ends it at once; [`Proxy::drain`] and [`Proxy::stop`] let transactions finish.
pub struct Proxy {
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    reloader: Reloader,
    drain: Drain,
    listeners: Vec<JoinHandle<()>>,
    following: Following,
}

impl Proxy {
    /// Loads the world, binds every address and begins to serve.
    ///
    /// # Errors
    /// Every problem that keeps the proxy from serving.
    pub async fn start(config: Config) -> Result<Self, Vec<Problem>> {
        let config = Arc::new(config);
        let (worlds, reloader) = Reloader::start(Arc::clone(&config)).await?;
        let trail = match &config.audit {
            Some(settings) => Trail::open(settings, &config.secret).map_err(|problem| vec![problem])?,
            None => Trail::default(),
        };
        let threads = config.threads.unwrap_or_else(lanes::automatic);
        let telemetry = Arc::new(Telemetry::new(threads));
        let shared = Arc::new(Shared::new(Arc::clone(&config), worlds, trail, Arc::clone(&telemetry)));
        telemetry.add(Arc::new(Proxied {
            shared: Arc::downgrade(&shared),
            upkeep: Arc::clone(reloader.upkeep()),
            process: Process::starting(),
        }));
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
        let lanes = Lanes::new(threads).map(Arc::new);
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
        let (drain, listening) = Drain::new();
        let (addresses, listeners): (Vec<_>, Vec<_>) = bound
            .into_iter()
            .map(|(address, listener)| {
                tracing::info!(%address, "listening");
                (
                    address,
                    tokio::spawn(listen(
                        Arc::clone(&shared),
                        Arc::clone(&lanes),
                        listener,
                        drain.watch(),
                        listening.clone(),
                    )),
                )
            })
            .unzip();
        let following = Following::start(config.audit.as_ref(), &shared.trail);
        telemetry.add(Arc::new(Trailed { trail: shared.trail.clone(), sinks: following.handed().to_vec() }));
        Ok(Self { address, addresses, shared, reloader, drain, listeners, following })
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

    /// Where things are counted; others can be added.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.shared.telemetry
    }

    /// The metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// When they cannot be written down: a defect.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        telemetry::render(self.shared.telemetry.sources())
    }

    /// Reloads governance and identities, and does not wait for it.
    pub fn reload(&self) {
        self.reloader.reload();
    }

    /// Reloads governance and identities, and says what came of it.
    pub async fn reload_and_wait(&self) -> Outcome {
        self.reloader.reload_and_wait().await
    }

    /// Begins to end: nobody is let in any more, sessions end between transactions, and after `deadline` whatever is left ends. Does
    /// not wait for it ([`Proxy::drained`]). Asked again, the sooner end counts.
    pub fn drain(&self, deadline: Duration) {
        self.drain.begin(Shutdown { deadline, ..self.shared.config.shutdown });
    }

    /// Whether the proxy has begun to end.
    pub fn draining(&self) -> bool {
        self.drain.phase() > Phase::Serving
    }

    /// Completes when a drain has come to its end: no session is left. Cancel safe.
    pub async fn drained(&self) {
        self.drain.done().await;
        for pool in self.shared.pools.values() {
            pool.close_idle();
        }
        // The last sessions have put their last records.
        let trail = self.shared.trail.clone();
        if tokio::task::spawn_blocking(move || trail.close()).await.is_err() {
            tracing::error!("the audit trail ended by a defect of ours");
        }
        self.following.end().await;
    }

    /// How the audit trail fares.
    pub fn audit(&self) -> crate::audit::State {
        self.shared.trail.state()
    }

    /// The proxy's end, for who begins it or watches it from elsewhere.
    pub fn end(&self) -> &Drain {
        &self.drain
    }

    /// Drains as the configuration says, and waits for it.
    pub async fn stop(self) {
        self.drain(self.shared.config.shutdown.deadline);
        self.drained().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        self.shared.trail.begin_close();
    }
}

/// Accepts until the proxy ends, then waits for the sessions. Dropping it ends them.
async fn listen(
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
    listener: TcpListener,
    phases: watch::Receiver<Phase>,
    _listening: Listening,
) {
    let mut sessions = JoinSet::new();
    let mut closed = phases.clone();
    let admit = |sessions: &mut JoinSet<()>, socket: TcpStream, peer: SocketAddr| {
        // Who has not logged in yet counts here only; beyond the bound even a refusal would cost too much.
        if sessions.len() > 2 * shared.config.limits.sessions + 64 {
            return tracing::warn!(%peer, "too many connections");
        }
        keep_alive(&socket);
        let (shared, phases) = (Arc::clone(&shared), phases.clone());
        lanes.spawn(sessions, socket, peer, move |socket| serve(shared, socket, peer, phases));
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = sessions.join_next() => {
                told(&ended);
                continue;
            }
            () = drain::reached(&mut closed, Phase::Closed) => break,
        };
        match accepted {
            Ok((socket, peer)) => admit(&mut sessions, socket, peer),
            Err(error) => {
                // Out of file descriptors, or a client that left at once: neither is solved by trying again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Closing a listener resets who waits in its queue: they came in time, and are let in.
    match listener.into_std() {
        Ok(listener) => {
            while let Ok((socket, peer)) = listener.accept() {
                match socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)) {
                    Ok(socket) => admit(&mut sessions, socket, peer),
                    Err(error) => tracing::debug!(%peer, %error, "connection lost"),
                }
            }
        }
        Err(error) => tracing::warn!(%error, "connections that were not accepted yet are lost"),
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

/// A session has ended; what it should not have ended by is told.
fn told(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a session ended by a defect of ours");
    }
}

fn keep_alive(socket: &TcpStream) {
    let settings =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_keepalive(&settings) {
        tracing::debug!(%error, "no keepalive");
    }
}
