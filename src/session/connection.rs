//! One connection from accept to close: handshake, login, an upstream session, the pump.
//!
//! In: an accepted socket and what all connections share. Out: a session served. Must never: open an upstream session for somebody who
//! has not logged in, or give one back that is not clean.

use super::acting::Naming;
use super::attempts::Attempts;
use super::berth::{self, Berth};
use super::cancel::{CancelKey, CancelKeys};
use super::client::Client;
use super::deciding::{Deciding, Holding, Learning, Surroundings};
use super::drain::{self, Phase};
use super::engine::{End, Engine, Outgoing};
use super::eviction::{About, Eviction, Stay, Word};
use super::handshake::{Broken, Greeted, Hello, greet};
use super::login::Wish;
use super::moving::Moving;
use super::origin::{self, Unknown};
use super::overrun::{Most, Overrun};
use super::peers::Peers;
use super::proof::{Demand, Failed, Proof};
use super::pump::{self, Control, Ended, Side};
use super::scratch::Scratching;
use super::settings::Settings;
use crate::audit::{self, Trail, Who};
use crate::config::authentication::Asking;
use crate::config::{self, Config, PoolMode};
use crate::error::{Family, Refusal, SqlState};
use crate::identity::keyring::Keyring;
use crate::identity::{Acknowledgements, Actor, Caller, Directory, Heard, Login};
use crate::lane::Socket;
use crate::plan::settings::ACKNOWLEDGE;
use crate::plan::{Plan, Planner, Progress, SessionView};
use crate::sql::redact::redact;
use crate::telemetry::traces::{Traced, Tracer};
use crate::telemetry::{Source, Tally, Telemetry, reason};
use crate::types::quote_literal;
use crate::upstream::{Pool, Session};
use crate::wire::errors::{Fields, Severity, error_response};
use crate::wire::{Header, Limits, TransactionStatus, backend};
use crate::world::{Directories, World, WorldHandle, Worlds};
use bytes::{BufMut, BytesMut};
use dashmap::DashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// What all connections share.
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The worlds in force, by connection key.
    pub worlds: Worlds,
    /// The pools, by connection key.
    pub pools: BTreeMap<Arc<str>, Arc<Pool>>,
    /// The planner and its cache.
    pub planner: Arc<Planner>,
    /// Keys of live sessions.
    pub keys: Arc<CancelKeys>,
    /// The other replicas, where there are several.
    pub peers: Option<Arc<Peers>>,
    /// What callers have acknowledged.
    acknowledgements: Arc<Acknowledgements>,
    /// How many sessions each user has.
    users: Arc<DashMap<Arc<str>, usize>>,
    sessions: Arc<AtomicUsize>,
    /// Failed logins.
    attempts: Arc<Attempts>,
    /// Keys of the issuers of tokens.
    pub keyrings: Vec<Arc<Keyring>>,
    /// Who is sent away when his login ends.
    pub eviction: Arc<Eviction>,
    /// Who knows more of users.
    pub directories: Arc<Directories>,
    /// Where records of logins and statements are kept.
    pub trail: Trail,
    /// The second in which an administrator's request was last refused.
    pub refused_orders: AtomicU64,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// Where traces are sent.
    pub tracer: Option<Arc<Tracer>>,
}

impl Shared {
    /// What connections to this configuration share.
    pub fn new(config: Arc<Config>, worlds: Worlds, trail: Trail, telemetry: Arc<Telemetry>) -> Self {
        let pools = config.connections.iter().map(|(key, c)| (Arc::clone(key), Pool::new(Arc::clone(c)))).collect();
        let acknowledgements = Arc::new(Acknowledgements::at(&config.acknowledgements));
        let planner = Arc::new(Planner::new(config.limits.relations));
        let issuers = config.authentication.iter().flat_map(|rules| &rules.issuers);
        let keyrings = issuers.map(|issuer| Arc::new(Keyring::new(Arc::clone(issuer)))).collect();
        let tracer = config.traces.as_ref().map(Tracer::start);
        if let Some(tracer) = &tracer {
            telemetry.add(Arc::clone(tracer) as Arc<dyn Source>);
        }
        Self {
            acknowledgements,
            keyrings,
            attempts: Arc::new(Attempts::new(config.limits.failed_logins)),
            directories: Arc::new(Directories::new(&config)),
            keys: Arc::new(CancelKeys::of(config.replica.as_ref().map(|replica| replica.id))),
            peers: config.replica.clone().map(|replica| Arc::new(Peers::new(replica, &config.secret))),
            config,
            worlds,
            pools,
            planner,
            users: Arc::default(),
            sessions: Arc::default(),
            eviction: Arc::default(),
            trail,
            refused_orders: AtomicU64::default(),
            telemetry,
            tracer,
        }
    }
}

/// The surroundings of a session of the proxy.
struct Live {
    world: WorldHandle,
    planner: Arc<Planner>,
    acknowledgements: Arc<Acknowledgements>,
    directories: Arc<Directories>,
    login: Arc<Login>,
    /// What the login may do for others.
    actor: Option<Arc<Actor>>,
    trail: Trail,
    /// What statements come to on this lane.
    tally: Arc<Tally>,
}

impl Live {
    /// Whether a statement of this user may be decided: who logged in, or somebody he may act for now. Who logged in must still be
    /// somebody himself.
    fn permitted(&self, world: &World, user: &Login, heard: &Heard<'_>) -> Result<(), Refusal> {
        if self.login.user == user.user {
            return Ok(());
        }
        world.directory.caller_of(&self.login, None)?;
        // A token that makes users of its own must not make one of that name.
        match self.actor.as_ref().filter(|_| world.directory.declares(&self.login.user)) {
            Some(actor) => actor.permits(&world.directory, user, heard),
            None => Err(Refusal::denied(format!("permission denied to act for user \"{}\"", user.user))),
        }
    }

    /// What is known of a user: of who logged in, all that the login brought.
    fn login_of(&self, user: &str) -> Login {
        if *self.login.user == *user { Login::clone(&self.login) } else { self.directories.login_of(user) }
    }
}

/// The caller under a project he may act in and whose acknowledgements he has accepted.
fn admitted(
    directory: &Directory,
    acknowledgements: &Acknowledgements,
    login: &Login,
    heard: &Heard<'_>,
    project: Option<&str>,
) -> Result<Caller, Refusal> {
    let caller = directory.caller_by(login, heard, project)?;
    let Some(key) = project else { return Ok(caller) };
    let asked = directory.acknowledgements(key);
    if asked.is_empty() {
        return Ok(caller);
    }
    let missing = acknowledgements.missing(&caller, key, asked).map_err(|error| unkept(&error))?;
    if missing.is_empty() {
        return Ok(caller);
    }
    // Purposes that inherit the same text say it once.
    let mut texts: Vec<(Vec<&str>, &str)> = Vec::new();
    for asked in missing {
        match texts.iter_mut().find(|(_, text)| *text == asked.text) {
            Some((purposes, _)) => purposes.push(&asked.purpose),
            None => texts.push((vec![&asked.purpose], &asked.text)),
        }
    }
    let texts: Vec<String> = texts.iter().map(|(purposes, text)| format!("{}: {text}", purposes.join(", "))).collect();
    let message = format!("project \"{key}\" asks you to acknowledge first\n{}", texts.join("\n"));
    let hint = format!("If you agree, SET {ACKNOWLEDGE} = {}", quote_literal(key));
    Err(Refusal::denied(message)
        .with_hint(format!("{hint} (in a session outside the project when you cannot log in to it).")))
}

/// 58030 `io_error`: what is acknowledged cannot be kept, so nothing is.
fn unkept(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the acknowledgements cannot be read or written");
    Refusal::new(Family::Internal, SqlState("58030"), "acknowledgements cannot be kept at the moment")
        .with_hint("An administrator can see why in the log of the proxy.")
}

impl Surroundings for Live {
    fn world(&self) -> Arc<World> {
        self.world.load()
    }

    fn version(&self) -> u64 {
        self.world.version()
    }

    fn caller(&self, world: &World, user: &str, project: Option<&str>) -> Result<Arc<Caller>, Refusal> {
        let login = self.login_of(user);
        let heard = login.heard();
        self.permitted(world, &login, &heard)?;
        let caller = admitted(&world.directory, &self.acknowledgements, &login, &heard, project)?;
        Ok(self.planner.shared_caller(caller))
    }

    fn actor(&self) -> Option<&Actor> {
        self.actor.as_deref()
    }

    fn may_leave(&self) -> Result<(), Refusal> {
        self.login.stays(None)
    }

    fn news(&self) -> u64 {
        self.directories.news()
    }

    fn learn(&self, user: &str) -> Option<Learning> {
        let actor = self.actor.as_ref()?;
        if actor.services.contains(user) {
            return None;
        }
        self.directories.learn(&self.world.load().directory, user)
    }

    fn acknowledge(&self, world: &World, user: &str, project: &str) -> Result<(), Refusal> {
        let user_login = self.login_of(user);
        let heard = user_login.heard();
        self.permitted(world, &user_login, &heard)?;
        let caller = world.directory.caller_by(&user_login, &heard, Some(project))?;
        self.login.may_accept()?;
        let asked = world.directory.acknowledgements(project);
        let login = Some(&**self.login.name()).filter(|login| *login != user);
        self.acknowledgements.accept(&caller, login, project, asked).map_err(|error| unkept(&error))?;
        audit::acknowledged(&self.trail, user, login, project, asked);
        Ok(())
    }

    fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    fn shared_view(&self, view: SessionView) -> Arc<SessionView> {
        self.planner.shared_view(view)
    }

    fn plan(&self, sql: &str, progress: &mut dyn Progress) -> Result<Vec<Arc<Plan>>, Refusal> {
        self.planner.plan_string(sql, progress)
    }
}

/// A place among the sessions allowed at once; given back when dropped.
struct Seat {
    user: Arc<str>,
    users: Arc<DashMap<Arc<str>, usize>>,
    sessions: Arc<AtomicUsize>,
}

impl Seat {
    fn take(shared: &Shared, user: &Arc<str>) -> Result<Self, Refusal> {
        let limits = &shared.config.limits;
        let seat =
            Self { user: Arc::clone(user), users: Arc::clone(&shared.users), sessions: Arc::clone(&shared.sessions) };
        let all = shared.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let own = {
            let mut own = shared.users.entry(Arc::clone(user)).or_insert(0);
            *own += 1;
            *own
        };
        let full = |text: String| Refusal::new(Family::Unsupported, SqlState::TOO_MANY_CONNECTIONS, text);
        if all > limits.sessions {
            return Err(full("sorry, too many clients already".into()));
        }
        if own > limits.sessions_per_user {
            return Err(full(format!("too many connections for role \"{user}\"")));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut own) = self.users.get_mut(&self.user) {
            *own = own.saturating_sub(1);
        }
        self.users.remove_if(&self.user, |_, own| *own == 0);
    }
}

/// Serves a connection until it ends.
pub async fn serve(shared: Arc<Shared>, mut socket: Socket, peer: SocketAddr, phases: watch::Receiver<Phase>) {
    let deadline = Instant::now() + shared.config.limits.handshake_timeout;
    let mut over = phases.clone();
    let found = tokio::select! {
        found = timeout_at(deadline, client_of(&shared, &mut socket, peer)) => found,
        () = drain::newcomers_over(&mut over) => return,
    };
    let peer = match found {
        Ok(Ok(peer)) => peer,
        Ok(Err(unknown)) => return unannounced(&shared, socket, peer, &unknown).await,
        Err(_) => return too_slow(&shared, peer),
    };
    let entered = tokio::select! {
        entered = timeout_at(deadline, enter(&shared, socket, peer)) => entered,
        // Who takes his time to log in is not waited for.
        () = drain::newcomers_over(&mut over) => return,
    };
    let (mut client, mut entry) = match entered {
        Ok(Ok(Some(entered))) => entered,
        Ok(Ok(None)) => return,
        Ok(Err(Broken::Refused(client, refusal))) => {
            shared.telemetry.refusals.count(reason(&refusal));
            return dismiss(*client, &refusal).await;
        }
        Ok(Err(Broken::Gone(error))) => {
            shared.telemetry.refusals.count("gone");
            tracing::debug!(%peer, %error, "connection lost before login");
            return;
        }
        Err(_) => return too_slow(&shared, peer),
    };
    let secure = matches!(client, Client::Tls(_));
    let begun = tokio::select! {
        begun = begin(&shared, &mut entry, peer, secure) => begun,
        () = drain::reached(&mut over, Phase::Ending) => Err(pump::shutdown().into()),
    };
    let by = audit::By {
        user: &entry.who.user,
        login: entry.who.account.as_deref(),
        database: &entry.who.database,
        application: &entry.who.application,
        peer,
        method: entry.method,
    };
    let session = match begun {
        Ok(begun) => begun,
        Err(Unbegun { refusal, settings }) => {
            let refused = audit::Refused { refusal: &refusal, why: None, settings: settings.as_deref() };
            audit::login(&shared.trail, &by, Err(refused));
            shared.telemetry.refusals.count(reason(&refusal));
            tracing::info!(%peer, user = &*entry.who.user, code = refusal.code.0, "session refused");
            return dismiss(client, &refusal).await;
        }
    };
    audit::login(&shared.trail, &by, Ok(&entry.who.name));
    shared.telemetry.opened.fetch_add(1, Ordering::Relaxed);
    let (word, traffic) = (session.word.clone(), Arc::clone(&session.stay.traffic));
    let control = Control { phases, word, traffic, idle: shared.config.limits.idle_timeout };
    run(entry, session, &mut client, control).await;
}

/// The address of the client: the connection's own, or what a balancer says of it.
async fn client_of(shared: &Shared, socket: &mut Socket, peer: SocketAddr) -> Result<SocketAddr, Unknown> {
    if !origin::is_announced(&shared.config.proxy_protocol, peer.ip()) {
        return Ok(peer);
    }
    Ok(origin::announced(socket).await?.unwrap_or(peer))
}

/// Ends a connection of which it is not known from where it comes.
async fn unannounced(shared: &Shared, socket: Socket, peer: SocketAddr, unknown: &Unknown) {
    let Some(refusal) = unknown.refusal() else {
        // Balancers look whether somebody listens here.
        shared.telemetry.refusals.count("gone");
        return tracing::debug!(%peer, error = %unknown, "connection lost before login");
    };
    shared.telemetry.refusals.count(reason(&refusal));
    tracing::warn!(%peer, error = %unknown, "a connection from a network of `proxy_protocol` was refused");
    dismiss(Client::Tcp(socket), &refusal).await;
}

fn too_slow(shared: &Shared, peer: SocketAddr) {
    shared.telemetry.refusals.count("too_slow");
    tracing::info!(%peer, "a client did not finish its login in time");
}

async fn dismiss(mut client: Client, refusal: &Refusal) {
    let mut out = BytesMut::new();
    error_response(&mut out, refusal, Severity::Fatal, None);
    let farewell = async {
        client.write_all_buf(&mut out).await?;
        client.shutdown().await
    };
    // A client that does not listen misses it.
    let _ = timeout(std::time::Duration::from_secs(5), farewell).await;
}

/// Somebody who has logged in.
struct Entry {
    greeted: Greeted,
    wish: Wish,
    who: Who,
    login: Arc<Login>,
    project: Option<String>,
    /// By what he showed who he is.
    method: &'static str,
    _seat: Seat,
}

/// Why somebody who has logged in gets no session.
struct Unbegun {
    refusal: Refusal,
    /// The settings of the startup packet without their values, when it is because of one of them.
    settings: Option<String>,
}

impl From<Refusal> for Unbegun {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, settings: None }
    }
}

/// Handshake and login. `None`: it was a cancel request, which was dealt with.
async fn enter(shared: &Shared, socket: Socket, peer: SocketAddr) -> Result<Option<(Client, Entry)>, Broken> {
    let tls = shared.config.tls.as_ref().map(|tls| tls.now());
    let tls = tls.as_deref();
    let (mut client, hello) = greet(socket, tls).await?;
    let mut greeted = match hello {
        Hello::Session(greeted) => greeted,
        Hello::Cancel { pid, secret } => {
            // No answer either way (55.2.8).
            let outcome = shared.keys.cancel(pid, &secret).await;
            shared.telemetry.cancels.count(outcome);
            if let Some(peers) = &shared.peers {
                peers.pass_on(pid, &secret, peer.ip()).await;
            }
            return Ok(None);
        }
    };
    let wish = match Wish::read(&greeted.message) {
        Ok(wish) => wish,
        Err(refusal) => return Err(Broken::Refused(Box::new(client), refusal)),
    };
    // Identities are the same in every world; the database is looked at only after the login.
    let Some(directory) = shared.worlds.iter().next().map(|(_, handle)| Arc::clone(&handle.load().directory)) else {
        return Err(Broken::Refused(Box::new(client), Refusal::internal("no world is loaded")));
    };
    let (user, project) = directory.split_login(&wish.login);
    let (user, project): (Arc<str>, _) = (user.into(), project.map(str::to_owned));
    let rules = shared.config.authentication.as_ref();
    let secure = matches!(client, Client::Tls(_));
    let asking = Asking { address: peer.ip(), tls: secure, database: &wish.database, user: &user };
    let demand = Demand::of(rules, &asking);
    let (database, application) = (wish.database.as_str(), wish.application.as_str());
    let by = audit::By { user: &user, login: None, database, application, peer, method: demand.method() };
    let attempt = match shared.attempts.begin(&user, peer.ip()) {
        Ok(attempt) => attempt,
        Err(refusal) => {
            shared.telemetry.logins.count((by.method, "throttled"));
            refused_login(shared, &by, &refusal, None);
            return Err(Broken::Refused(Box::new(client), refusal));
        }
    };
    let proof = Proof {
        directory: &directory,
        directories: &shared.directories,
        keyrings: &shared.keyrings,
        end_point: tls.filter(|_| secure).and_then(|tls| tls.end_point.as_deref()),
        asking,
        user: &user,
    };
    let proved = proof.ask(&mut client, &mut greeted, demand, &attempt).await;
    let login = match proved {
        Ok(login) => login,
        Err(Failed::Gone(error)) => return Err(Broken::Gone(error)),
        Err(Failed::Refused(no)) => {
            shared.telemetry.logins.count((by.method, "refused"));
            refused_login(shared, &by, &no.refusal, no.why.as_deref());
            if no.counts {
                // Answers to failures come at the same time after the proof, however long it took to look at it.
                let wait = no.waits.unwrap_or_else(|| attempt.failed());
                tokio::time::sleep(wait.saturating_sub(no.since.elapsed())).await;
            }
            return Err(Broken::Refused(Box::new(client), *no.refusal));
        }
    };
    attempt.worked();
    shared.telemetry.logins.count((by.method, "granted"));
    // A temporary account is its user from here on.
    let account = login.account.as_ref().map(|bound| Arc::clone(&bound.name));
    let by = audit::By { user: &login.user, login: account.as_deref(), ..by };
    let method = by.method;
    let seat = match Seat::take(shared, &login.user) {
        Ok(seat) => seat,
        Err(refusal) => {
            refused_login(shared, &by, &refusal, None);
            return Err(Broken::Refused(Box::new(client), refusal));
        }
    };
    let who = Who {
        user: Arc::clone(&login.user),
        account,
        acting_for: None,
        database: wish.database.as_str().into(),
        application: wish.application.as_str().into(),
        client: Some(peer),
        session: 0,
        name: shared.trail.session_name().into(),
        beginning: true,
        trail: shared.trail.clone(),
        statements: Arc::default(),
    };
    let bound = login.account.as_ref().and_then(|bound| bound.project.as_deref().map(str::to_owned));
    let project = wish.project.clone().or(project).or(bound);
    Ok(Some((client, Entry { greeted, wish, who, login: Arc::new(login), project, method, _seat: seat })))
}

fn refused_login(shared: &Shared, by: &audit::By<'_>, refusal: &Refusal, why: Option<&str>) {
    audit::login(&shared.trail, by, Err(audit::Refused { refusal, why, settings: None }));
}

/// A session about to be run.
struct Begun {
    engine: Engine<Live>,
    /// The warehouse's side.
    upstream: Side<Berth>,
    /// What the client is told first.
    out: Outgoing,
    key: CancelKey,
    stay: Stay,
    word: watch::Receiver<Word>,
}

/// Finds the database, takes an upstream session and gives it the client's settings.
async fn begin(shared: &Shared, entry: &mut Entry, peer: SocketAddr, secure: bool) -> Result<Begun, Unbegun> {
    let unknown = || {
        let text = format!("database \"{}\" does not exist", entry.wish.database);
        Refusal::new(Family::Caller, SqlState::INVALID_CATALOG_NAME, text)
    };
    let connection: &Arc<config::Connection> = shared.config.connection_of(&entry.wish.database).ok_or_else(unknown)?;
    let world = shared.worlds.get(&connection.key).ok_or_else(|| Refusal::internal("no world for a connection"))?;
    let pool = shared.pools.get(&connection.key).ok_or_else(|| Refusal::internal("no pool for a connection"))?;
    let (directory, project) = (Arc::clone(&world.load().directory), entry.project.as_deref());
    // What a login may do for others, a temporary account of its user may not.
    let actor = shared.config.impersonation.get(&entry.login.user).filter(|_| entry.login.account.is_none()).cloned();
    // A project that is asked for together with a user is the user's.
    let named = entry.wish.user.as_deref().is_some_and(|user| *user != *entry.login.user);
    let for_another = actor.is_some() && (named || entry.wish.signs());
    let own_project = project.filter(|_| !for_another);
    admitted(&directory, &shared.acknowledgements, &entry.login, &entry.login.heard(), own_project)?;

    // What a login left for one of those it acts for would have to be told from what it left for another.
    let moves = connection.pool.mode == PoolMode::Transaction && actor.is_none();
    let around = Arc::new(Live {
        world: world.clone(),
        planner: Arc::clone(&shared.planner),
        acknowledgements: Arc::clone(&shared.acknowledgements),
        directories: Arc::clone(&shared.directories),
        login: Arc::clone(&entry.login),
        actor,
        trail: shared.trail.clone(),
        tally: shared.telemetry.tallies.here(),
    });
    if let Some(learning) = entry.wish.user.as_deref().and_then(|user| around.learn(user)) {
        // Whether anything was learned shows when it is needed.
        let _ = learning.await;
    }
    let session = begun_with(pool, moves).await?;
    let key = shared.keys.issue(entry.greeted.minor, session.cancel_key());
    entry.who.session = key.pid;
    let settings = Settings::new(entry.wish.search_path.as_deref(), own_project);
    let limits = &shared.config.limits;
    let holding = Holding {
        statement_bytes: limits.statement_bytes,
        statements: limits.prepared_statements,
        portals: limits.portals,
        longest: connection.query_timeout_max.map(config::milliseconds),
    };
    let mut deciding =
        Deciding::new(around, entry.who.clone(), settings, holding, Scratching::new(connection.temporary_tables));
    let traced = shared.tracer.as_ref().map(|tracer| Traced::begin(tracer, &connection.key, key.pid));
    deciding.traced = traced.map(Box::new);
    let moving = if moves { Moving::new(session.parameters()) } else { Moving::default() };
    let mut engine = Engine::new(deciding.moving(moving), Limits { large: limits.message_bytes });
    let name = session.parameters().iter().rev().find(|(name, _)| name == "application_name");
    engine.naming = Naming::begun(name.map_or("", |(_, value)| value));
    engine.overrun = Overrun::new(Most { rows: limits.result_rows, bytes: limits.result_bytes });

    let mut parameters: Vec<(String, String)> = session.parameters().to_vec();
    parameters.retain(|(name, _)| name != "search_path");
    set(&mut parameters, "session_authorization", &entry.who.user);
    set(&mut parameters, "is_superuser", "off");
    let mut side = Side::new(Berth::new(Arc::clone(pool), None), BytesMut::new());
    if !entry.wish.settings.is_empty() {
        let mut first = Outgoing::default();
        if moves {
            berth::enter(&mut engine, &mut side, &mut first, &key, session).map_err(fatal)?;
        } else {
            side.stream = Berth::new(Arc::clone(pool), Some(session));
        }
        let limit = limits.handshake_timeout;
        let sql = entry.wish.as_sql();
        let asked = ask(&mut engine, &sql, &mut side, first, &mut parameters);
        let asked =
            timeout(limit, asked).await.unwrap_or_else(|_| Err(Refusal::upstream("the warehouse does not answer")));
        asked.map_err(|refusal| Unbegun { refusal, settings: Some(redact(&sql).text) })?;
    } else if moves {
        key.lead_nowhere().await;
        session.hand_on();
    } else {
        side.stream = Berth::new(Arc::clone(pool), Some(session));
    }

    engine.begin_as(entry.wish.user.as_deref(), project)?;
    engine.deciding.begun();
    entry.who.beginning = false;

    let mut out = Outgoing::default();
    for (name, value) in &parameters {
        backend::parameter_status(&mut out.client, name, value);
    }
    backend::backend_key_data(&mut out.client, key.pid, key.secret());
    backend::ready_for_query(&mut out.client, TransactionStatus::Idle);
    let about = About {
        pid: key.pid,
        user: Arc::clone(&entry.who.user),
        account: entry.who.account.clone(),
        database: Arc::clone(&entry.who.database),
        connection: Arc::clone(&connection.key),
        application: Arc::clone(&entry.who.application),
        peer,
        secure,
        since: SystemTime::now(),
    };
    let (stay, word) = shared.eviction.add(Arc::clone(&entry.login), world.clone(), about);
    Ok(Begun { engine, upstream: side, out, key, stay, word })
}

/// A session of the warehouse to begin with: a clean one, or for a session that moves any one.
async fn begun_with(pool: &Arc<Pool>, moves: bool) -> Result<Session, Refusal> {
    let deadline = pool.deadline();
    if moves { pool.acquire_as_is(deadline, 0).await } else { pool.acquire(deadline).await }
}

/// Why a session does not begin.
fn fatal(end: End) -> Refusal {
    match end {
        End::Fatal(refusal) => refusal,
        End::Terminate => Refusal::internal("terminated by itself"),
    }
}

fn set(parameters: &mut Vec<(String, String)>, name: &str, value: &str) {
    parameters.retain(|(known, _)| known != name);
    parameters.push((name.to_owned(), value.to_owned()));
}

/// Runs the settings of the startup packet as if they were the caller's SET statements, before the client sees anything. What the warehouse
/// reports goes to `parameters`; an error ends the session before it began, as in PostgreSQL, and is told with the login.
async fn ask(
    engine: &mut Engine<Live>,
    sql: &str,
    upstream: &mut Side<Berth>,
    mut out: Outgoing,
    parameters: &mut Vec<(String, String)>,
) -> Result<(), Refusal> {
    let mut query = BytesMut::new();
    backend::message(&mut query, b'Q', |b| {
        b.put_slice(sql.as_bytes());
        b.put_u8(0);
    });
    while !query.is_empty() {
        engine.client(&mut query, &mut out).map_err(fatal)?;
        pump::settle(engine, upstream, &mut out).await.map_err(fatal)?;
    }
    let mut said = out.client;
    while let Some(header) = Header::scan(&said)? {
        let message = said.split_to(header.total().min(said.len()));
        let body = message.get(Header::LEN..).unwrap_or_default();
        match header.tag {
            b'S' => {
                let mut body = crate::wire::body::Body::new(body);
                let (name, value) = (body.string()?, body.string()?);
                set(parameters, name, value);
            }
            b'E' => return Err(begun_badly(&Fields::parse(body)?)),
            _ => {}
        }
    }
    said.clear();
    Ok(())
}

/// The error of a setting, already filtered, as the reason a session does not begin.
fn begun_badly(fields: &Fields<'_>) -> Refusal {
    let text = fields.get(b'M').unwrap_or("invalid startup setting").to_owned();
    let code = match fields.sqlstate() {
        "42704" => SqlState::UNDEFINED_OBJECT,
        "42501" => SqlState::INSUFFICIENT_PRIVILEGE,
        "0A000" => SqlState::FEATURE_NOT_SUPPORTED,
        code if code.starts_with("08") || code.starts_with("57") => SqlState::CONNECTION_FAILURE,
        _ => SqlState::INVALID_PARAMETER_VALUE,
    };
    let refusal = Refusal::new(Family::Caller, code, text);
    match fields.get(b'H') {
        Some(hint) => refusal.with_hint(hint),
        None => refusal,
    }
}

async fn run(entry: Entry, begun: Begun, client: &mut Client, control: Control) {
    let Begun { mut engine, upstream: mut far, mut out, key, stay, .. } = begun;
    let ended = {
        let mut near = Side::new(client, entry.greeted.input);
        let ended = pump::run(&mut engine, &mut near, &mut far, &mut out, &key, control).await;
        // The farewell counts, too.
        stay.traffic.show(pump::bytes(&near, &far));
        ended
    };
    drop(stay);
    key.retire().await;
    // Of a session that moves: one that held something of its client's own.
    let Some(upstream) = far.stream.into_session() else { return };
    match ended {
        Ended::Clean => upstream.release(true),
        Ended::Midway => upstream.release(false),
        Ended::Open | Ended::Lost => upstream.close(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::errors::write_fields;
    use bytes::Buf;

    #[test]
    fn a_bad_setting_keeps_its_text_and_loses_its_fields() {
        let mut raw = BytesMut::new();
        write_fields(&mut raw, b'E', [(b'C', "22023"), (b'M', "bad"), (b'H', "try"), (b'D', "x")].into_iter());
        raw.advance(Header::LEN);
        let refusal = begun_badly(&Fields::parse(&raw).unwrap());
        assert_eq!((refusal.code.0, &*refusal.message), ("22023", "bad"));
        assert_eq!((refusal.hint.as_deref(), refusal.detail), (Some("try"), None));
    }
}
