//! The proxy as a whole: listeners, connections, reloads, its end.
//!
//! In: a validated configuration. Out: a running [`Proxy`]. Must never: accept a connection before a world that validated is in force,
//! or let one session's failure end another.

use super::connection::Shared;
use super::drain::{self, Drain, Phase};
use super::handle::Handle;
use super::lanes::{self, Lanes};
use super::listener;
use super::metrics::Proxied;
use crate::audit::{self, Following, Trail, Trailed};
use crate::config::tls::{Look, Renewed};
use crate::config::{Config, Shutdown};
use crate::governance::problem::Problem;
use crate::telemetry::{self, Process, Telemetry};
use crate::world::{Outcome, Reloader, Upkeep, Worlds};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A running proxy. Dropping it ends it at once; [`Proxy::drain`] and [`Proxy::stop`] let transactions finish.
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    reloader: Arc<Reloader>,
    lanes: Arc<Lanes>,
    drain: Drain,
    listeners: Vec<JoinHandle<()>>,
    following: Following,
    /// Hears other replicas, until the last session is gone.
    peers: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Loads the world, binds every address and begins to serve.
    ///
    /// # Errors
    /// Every problem that keeps the proxy from serving.
    pub async fn start(config: Config) -> Result<Self, Vec<Problem>> {
        Self::start_on(config, Vec::new()).await
    }

    /// [`Proxy::start`] on these sockets, which listen already; on those of the configuration when there are none.
    ///
    /// # Errors
    /// Every problem that keeps the proxy from serving.
    pub async fn start_on(config: Config, sockets: Vec<std::net::TcpListener>) -> Result<Self, Vec<Problem>> {
        let config = Arc::new(config);
        let (worlds, reloader) = Reloader::start(Arc::clone(&config)).await?;
        let threads = config.threads.unwrap_or_else(lanes::automatic);
        let bound = listener::listeners(&config, sockets)?;
        let hearing = listener::hearing(&config).await?;
        let lanes = Lanes::new(threads).map(Arc::new);
        let lanes = lanes.map_err(|error| {
            let hint = "allow the process more threads and open files, or set `threads` lower";
            vec![Problem::in_file(&config.file, format!("cannot start the threads that serve sessions: {error}"), hint)]
        })?;
        // At last: a run that does not begin is none.
        let trail = match &config.audit {
            Some(settings) => Trail::open(settings, &config.secret).map_err(|problem| vec![problem])?,
            None => Trail::default(),
        };
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
        tokio::spawn(super::eviction::watch(Arc::downgrade(&shared.eviction)));
        tokio::spawn(super::forgetting::watch(Arc::downgrade(&shared.planner), shared.worlds.clone()));
        tokio::spawn(crate::world::directories::watch(Arc::downgrade(&shared.directories)));
        if let Some(tls) = &config.tls {
            tokio::spawn(certificates(Arc::downgrade(tls)));
        }
        let (drain, listening) = Drain::new();
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for listener in bound {
            tracing::info!(address = %listener.address, "listening");
            addresses.push(listener.address);
            let serving = listener.serve(Arc::clone(&shared), Arc::clone(&lanes), drain.watch(), listening.clone());
            listeners.push(tokio::spawn(serving));
        }
        if shared.trail.is_on() {
            tokio::spawn(policies(shared.trail.clone(), shared.worlds.clone(), Arc::clone(reloader.upkeep())));
        }
        let following = Following::start(config.audit.as_ref(), &shared.trail);
        telemetry.add(Arc::new(Trailed { trail: shared.trail.clone(), sinks: following.handed().to_vec() }));
        let peers = hearing.zip(shared.peers.clone());
        let peers = peers.map(|(socket, peers)| tokio::spawn(peers.serve(socket, Arc::clone(&shared.keys))));
        Ok(Self { addresses, shared, reloader: Arc::new(reloader), lanes, drain, listeners, following, peers })
    }

    /// The addresses listened on, ports chosen by the system filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of them.
    pub fn address(&self) -> SocketAddr {
        // There is no proxy without one.
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The threads that serve sessions: for a watchdog.
    pub fn lanes(&self) -> Arc<Lanes> {
        Arc::clone(&self.lanes)
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

    /// The proxy, for whoever administers it.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared), reloader: Arc::clone(&self.reloader), drain: self.drain.clone() }
    }

    /// The metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// When they cannot be written down: a defect.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        telemetry::render(self.shared.telemetry.sources())
    }

    /// Reloads governance and identities, and says what came of it; reads certificates again that have changed.
    pub async fn reload_and_wait(&self) -> Outcome {
        self.reloaded().await
    }

    /// [`Proxy::reload_and_wait`] that outlives the borrow.
    pub fn reloaded(&self) -> impl Future<Output = Outcome> + Send + use<> {
        let (outcome, tls) = (self.reloader.reloaded(), self.shared.config.tls.clone());
        async move {
            if let Some(tls) = tls {
                renew(tls).await;
            }
            outcome.await
        }
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

    /// Completes when the proxy has begun to end. Cancel safe.
    pub async fn closed(&self) {
        drain::reached(&mut self.drain.watch(), Phase::Closed).await;
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
        self.listeners.iter().chain(&self.peers).for_each(JoinHandle::abort);
        self.shared.trail.begin_close();
    }
}

/// How often files of certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(10);

/// Looks at them again and again, for as long as somebody holds them.
async fn certificates(tls: Weak<Renewed>) {
    loop {
        tokio::time::sleep(CERTIFICATES).await;
        let Some(tls) = tls.upgrade() else { return };
        renew(tls).await;
    }
}

/// Takes down which documents are in force, now and whenever others are.
async fn policies(trail: Trail, worlds: Worlds, upkeep: Arc<Upkeep>) {
    let mut publishing = upkeep.publishing();
    loop {
        let versions = worlds.iter().map(|(connection, world)| (&**connection, world.version()));
        audit::published(&trail, &upkeep.documents(), versions);
        if publishing.changed().await.is_err() {
            return;
        }
    }
}

/// Looks at them once. Who is connected notices nothing.
async fn renew(tls: Arc<Renewed>) {
    match tokio::task::spawn_blocking(move || tls.look()).await {
        Ok(Look::Renewed) => tracing::info!("the certificates of `tls` were read again"),
        Ok(Look::Unusable(error)) => {
            tracing::error!(%error, "the changed certificates of `tls` cannot be used: those read last stay in force")
        }
        Ok(Look::Same) | Err(_) => {}
    }
}
