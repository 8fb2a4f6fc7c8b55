//! `sqlveil serve`: the proxy, until it is told to stop.
//!
//! In: the configuration file. Out: sessions. SIGHUP reloads governance and identities, SIGINT and SIGTERM drain, a second of them ends.
//! Must never: serve a set that did not validate.

use super::open_files;
use crate::config::Config;
use crate::governance::problem::{Problem, render};
pub use crate::session::Proxy;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Arguments of `sqlveil serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
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

/// Serves until the proxy has come to its end: by SIGTERM, SIGINT, or a drain that was asked for elsewhere.
///
/// # Errors
/// Every problem that keeps the proxy from serving.
async fn serve(config: Config, mut signals: Signals) -> Result<(), Vec<Problem>> {
    let needed = open_files::needed(&config);
    if let Err(allowed) = open_files::raise(needed) {
        tracing::warn!(
            needed,
            allowed,
            "too few open files are allowed for `limits.sessions` and `pool.max`: raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower them"
        );
    }
    let deadline = config.shutdown.deadline;
    let proxy = tokio::select! {
        started = Proxy::start(config) => started?,
        () = signals.stop() => return Ok(()),
    };
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Reload => {
                    tracing::info!("reloading");
                    proxy.reload();
                }
                Asked::Stop if proxy.draining() => {
                    tracing::warn!(sessions = proxy.sessions(), "ending at once");
                    return Ok(());
                }
                Asked::Stop => {
                    tracing::info!(sessions = proxy.sessions(), ?deadline, "stopping: sessions end between transactions");
                    proxy.drain(deadline);
                }
            },
            () = proxy.drained() => break,
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Runs the command; true when it ended as it should.
///
/// # Errors
/// When standard error cannot be written.
pub async fn run(args: &Args) -> io::Result<bool> {
    let problems = match Config::load(&args.config) {
        Ok(config) => match serve(config, Signals::listen()?).await {
            Ok(()) => return Ok(true),
            Err(problems) => problems,
        },
        Err(problems) => problems,
    };
    let mut err = io::stderr();
    write!(err, "{}", render(&problems, err.is_terminal()))?;
    Ok(false)
}
