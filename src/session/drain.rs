//! The end of the proxy, in phases: no new sessions, sessions end between transactions, whatever is left ends.
//!
//! In: the wish to end, and how long it may take. Out: the [`Phase`] that listeners and sessions watch. Must never: go back a phase, or
//! keep the proxy from ending.

use crate::config::Shutdown;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who is still logging in when sessions are asked to leave, or has logged in and asked nothing yet, has so long for it.
pub(super) const NEWCOMER: Duration = Duration::from_secs(2);
/// Longest time sessions may take to say farewell once they have to end.
const LAST: Duration = Duration::from_secs(6);

/// How far the end has come. It only goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has not begun.
    Serving,
    /// Nobody is let in any more; sessions go on.
    Closed,
    /// Sessions end as soon as they are between transactions.
    Leaving,
    /// Sessions end, whatever they are doing.
    Ending,
}

/// The end of a proxy: its beginning, and what others see of it. All clones are of the same proxy.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    /// Closed when the last listener is done with its last session.
    listeners: watch::Receiver<()>,
}

/// What a listener holds until it is done with its last session.
pub(super) type Listening = watch::Sender<()>;

impl Drain {
    /// Of a proxy that serves, and what each of its listeners is to hold.
    pub(super) fn new() -> (Self, Listening) {
        let (phase, _) = watch::channel(Phase::Serving);
        let (listening, listeners) = watch::channel(());
        (Self { phase, listeners }, listening)
    }

    /// How far the end has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The phases to come.
    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Begins the end, inside a tokio runtime, and does not wait for it. Begun again, whichever comes sooner counts.
    pub fn begin(&self, shutdown: Shutdown) {
        let now = Instant::now();
        // What is so far off never comes.
        let far = Duration::from_secs(100 * 365 * 86_400);
        let deadline = now + shutdown.deadline.min(far);
        let leave = now + shutdown.linger.min(shutdown.deadline).min(far);
        self.reach(Phase::Closed);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = async {
                    tokio::time::sleep_until(leave).await;
                    this.reach(Phase::Leaving);
                    tokio::time::sleep_until(deadline).await;
                    this.reach(Phase::Ending);
                } => {}
                () = this.done() => {}
            }
        });
    }

    /// Ends what is left, now.
    pub fn end(&self) {
        self.reach(Phase::Ending);
    }

    /// Completes when no session is left. Cancel safe.
    pub async fn done(&self) {
        let mut listeners = self.listeners.clone();
        while listeners.changed().await.is_ok() {}
    }

    fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let further = *now < phase;
            *now = phase.max(*now);
            further
        });
    }
}

/// Completes in that phase or a later one; never when the proxy goes without ending.
pub(super) async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    if phases.wait_for(|now| *now >= phase).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Completes when who has not come far enough is waited for no longer.
pub(super) async fn newcomers_over(phases: &mut watch::Receiver<Phase>) {
    reached(phases, Phase::Leaving).await;
    tokio::select! {
        () = tokio::time::sleep(NEWCOMER) => {}
        () = reached(phases, Phase::Ending) => {}
    }
}

/// Completes when sessions have had their time for a farewell.
pub(super) async fn over(phases: &mut watch::Receiver<Phase>) {
    reached(phases, Phase::Ending).await;
    tokio::time::sleep(LAST).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_come_in_order_and_the_sooner_deadline_counts() {
        let (drain, listening) = Drain::new();
        let hour = Duration::from_secs(3600);
        let mut phases = drain.watch();
        drain.begin(Shutdown { linger: hour, deadline: 2 * hour });
        assert_eq!(drain.phase(), Phase::Closed);
        drain.begin(Shutdown { linger: Duration::ZERO, deadline: hour });
        reached(&mut phases, Phase::Leaving).await;
        drain.begin(Shutdown { linger: hour, deadline: Duration::MAX });
        assert_eq!(drain.phase(), Phase::Leaving, "never back");
        drain.begin(Shutdown { linger: hour, deadline: Duration::ZERO });
        reached(&mut phases, Phase::Ending).await;
        let mut done = std::pin::pin!(drain.done());
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(done.as_mut().poll(cx))).await.is_pending(),
            "a listener is left"
        );
        drop(listening);
        done.await;
    }
}
