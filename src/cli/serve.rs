//! `sqlveil serve`: the proxy, until it is told to stop.
//!
//! In: the configuration file. Out: sessions. SIGHUP reloads governance and identities, SIGINT and SIGTERM drain, a second of them ends.
//! Must never: serve a set that did not validate.

use super::settings::Settings;
use super::{memory, open_files, supervisor};
use crate::admin;
use crate::config::Config;
use crate::governance::problem::{Problem, render};
pub use crate::session::Proxy;
use crate::session::lanes::Lanes;
use crate::world::Outcome;
use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

/// Arguments of `sqlveil serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// SIGHUP.
    Reload,
    /// SIGINT or SIGTERM.
    Stop,
}

/// The signals that are listened to; from here on the process does not end by them.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
        }
    }

    /// Passes over the others.
    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}

/// How often people who ask the service manager are told how many sessions there are.
const STATUS: Duration = Duration::from_secs(10);

/// Serves until the proxy has come to its end: by SIGTERM, SIGINT, or a drain that was asked for elsewhere.
///
/// # Errors
/// Every problem that keeps the proxy from serving.
async fn serve(config: Config, sockets: Vec<TcpListener>, mut signals: Signals) -> Result<(), Vec<Problem>> {
    let needed = open_files::needed(&config);
    if let Err(allowed) = open_files::raise(needed) {
        tracing::warn!(
            needed,
            allowed,
            "too few open files are allowed for `limits.sessions` and `pool.max`: raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower them"
        );
    }
    let needed = memory::needed(&config);
    if let Some(allowed) = memory::allowed().filter(|allowed| *allowed < needed) {
        let (needed, allowed) = (format!("{} MB", needed >> 20), format!("{} MB", allowed >> 20));
        tracing::warn!(
            needed,
            allowed,
            "too little memory is allowed for `limits.sessions` with full buffers and a message of `limits.message_bytes`: raise the limit (MemoryMax=) or lower them"
        );
    }
    let deadline = config.shutdown.deadline;
    let proxy = tokio::select! {
        started = Proxy::start_on(config, sockets) => started?,
        () = signals.stop() => return Ok(()),
    };
    let _admin = admin::Server::start(proxy.handle()).await?;
    supervisor::ready("serving");
    if let Some(every) = supervisor::watchdog() {
        tokio::spawn(watched(every, proxy.lanes()));
    }
    let mut status = interval(STATUS);
    let mut reloading: Option<Pin<Box<dyn Future<Output = Outcome> + Send>>> = None;
    let mut again = false;
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Reload => {
                    tracing::info!("reloading");
                    supervisor::reloading();
                    again = reloading.is_some();
                    reloading.get_or_insert_with(|| Box::pin(proxy.reloaded()));
                }
                Asked::Stop => proxy.drain(deadline),
            },
            outcome = whatever(&mut reloading) => {
                reloading = again.then(|| Box::pin(proxy.reloaded()) as _);
                again = false;
                match outcome {
                    _ if reloading.is_some() => {}
                    Outcome::Published(_) | Outcome::Unchanged => supervisor::ready("serving"),
                    Outcome::Refused(_) => supervisor::ready("serving; the last reload was refused: see the log"),
                }
            }
            _ = status.tick() => supervisor::status(&format!("serving {} sessions", proxy.sessions())),
            () = proxy.closed() => break,
        }
    }
    tracing::info!(sessions = proxy.sessions(), ?deadline, "stopping: sessions end between transactions");
    let left = || format!("stopping: {} sessions left", proxy.sessions());
    supervisor::stopping(&left(), deadline);
    loop {
        tokio::select! {
            () = proxy.drained() => break,
            () = signals.stop() => {
                tracing::warn!(sessions = proxy.sessions(), "ending at once");
                return Ok(());
            }
            _ = status.tick() => supervisor::status(&left()),
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// The end of what is under way, if anything is; cleared by whoever waits for it.
async fn whatever<T>(under_way: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

/// Tells the service manager that the proxy is alive, as long as every lane answers.
async fn watched(every: Duration, lanes: Arc<Lanes>) {
    let mut ticks = interval(every);
    loop {
        ticks.tick().await;
        lanes.answer().await;
        supervisor::alive();
    }
}

/// Runs the command; true when it ended as it should.
///
/// # Errors
/// When standard error cannot be written.
pub async fn run(args: &Args) -> io::Result<bool> {
    let served = match (supervisor::sockets(), args.settings.load()) {
        (Ok(sockets), Ok(config)) => serve(config, sockets, Signals::listen()?).await,
        (sockets, config) => Err([sockets.err(), config.err()].into_iter().flatten().flatten().collect()),
    };
    let Err(problems) = served else { return Ok(true) };
    let mut err = io::stderr();
    write!(err, "{}", render(&problems, err.is_terminal()))?;
    Ok(false)
}
