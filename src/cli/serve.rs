//! `sqlveil serve`: the proxy, until it is told to stop.
//!
//! In: the configuration file. Out: sessions. SIGHUP reloads governance and identities, SIGINT and SIGTERM stop. Must never: serve a set
//! that did not validate.

use super::open_files;
use crate::config::Config;
use crate::governance::problem::{Problem, render};
pub use crate::session::Proxy;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `sqlveil serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Serves until `shutdown` completes, then stops gracefully.
///
/// # Errors
/// Every problem that keeps the proxy from serving.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Vec<Problem>> {
    let needed = open_files::needed(&config);
    if let Err(allowed) = open_files::raise(needed) {
        tracing::warn!(
            needed,
            allowed,
            "too few open files are allowed for `limits.sessions` and `pool.max`: raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower them"
        );
    }
    let proxy = Proxy::start(config).await?;
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let reload = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(()) = reload => {
                tracing::info!("reloading");
                proxy.reload();
            }
        }
    }
    tracing::info!("stopping");
    proxy.stop().await;
    Ok(())
}

/// Completes on SIGINT or SIGTERM.
pub async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without signals there is only one way to stop a process, and it does not ask.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Runs the command; true when it ended as it should.
///
/// # Errors
/// When standard error cannot be written.
pub async fn run(args: &Args) -> io::Result<bool> {
    let problems = match Config::load(&args.config) {
        Ok(config) => match serve(config, told_to_stop()).await {
            Ok(()) => return Ok(true),
            Err(problems) => problems,
        },
        Err(problems) => problems,
    };
    let mut err = io::stderr();
    write!(err, "{}", render(&problems, err.is_terminal()))?;
    Ok(false)
}
