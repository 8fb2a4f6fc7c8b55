//! What the service manager that has started the process is told, and what it gives: sd_notify(3), sd_listen_fds(3).
//!
//! In: what happens to the proxy. Out: datagrams to `NOTIFY_SOCKET`, sockets of `LISTEN_FDS`. Without a service manager nothing happens.
//! Must never: tell anything of clients or statements, or fail the proxy when nobody listens.

use crate::governance::problem::Problem;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::net::TcpListener;
use std::time::Duration;

/// Beyond its own deadline, the end of the proxy takes no longer than this.
const MARGIN: Duration = Duration::from_secs(10);

/// The sockets the process was started with; none without a service manager.
///
/// To be called once, before anything else reads the environment: the variables are taken from it.
///
/// # Errors
/// A socket that is not one of TCP.
pub fn sockets() -> Result<Vec<TcpListener>, Vec<Problem>> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    let mut problems = Vec::new();
    for at in 0..given.len() {
        match given.take_tcp_listener(at) {
            Ok(socket) => sockets.extend(socket),
            Err(error) => problems.push(Problem::nowhere(
                format!("a socket that was given to the process cannot be used: {error}"),
                "give it sockets that listen on TCP (ListenStream=ADDRESS:PORT)",
            )),
        }
    }
    if problems.is_empty() { Ok(sockets) } else { Err(problems) }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

/// Clients are served.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Documents are read again, until [`ready`] (`Type=notify-reload`).
pub fn reloading() {
    // A service manager that is given no time takes the message for one without a reload.
    let now = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(now).collect();
    tell(&states);
}

/// The proxy ends, within that time.
pub fn stopping(status: &str, deadline: Duration) {
    let longest = u32::try_from(deadline.saturating_add(MARGIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(longest)]);
}

/// What it is doing, for people.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager wants to hear that: twice as often as it gives up (`WatchdogSec=`).
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|longest| (longest / 2).max(Duration::from_millis(10)))
}
