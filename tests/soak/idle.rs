//! Sessions in which next to nothing is asked: some now and then, all of them at the end. Those of a disabled user are ended by the proxy.

use crate::Arena;
use crate::people::name;
use crate::session::{Kind, LATE, Session, again, open_all};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the idle ones are looked at, and one of them is asked.
const LOOK: Duration = Duration::from_millis(250);
/// By then an idle session of a disabled user has ended: a second is promised, the rest is for machines under load.
const GONE: Duration = Duration::from_secs(10);

/// The sessions that will be idle.
pub async fn open(arena: &Arc<Arena>) -> Vec<Session> {
    // Not the same users first: with few sessions all are somebody's.
    open_all(arena, arena.options.idle, arena.options.active).await
}

/// Keeps them open until the time is over: who is back gets his session back.
pub async fn keep(arena: &Arc<Arena>, mut idle: Vec<Session>) -> Vec<Session> {
    let mut dice = StdRng::seed_from_u64(arena.options.seed ^ 0x1d1e);
    // Since when the session of a disabled user has been seen to live on.
    let mut overdue: Vec<Option<Instant>> = idle.iter().map(|_| None).collect();
    // When each was last seen to be there.
    let mut alive: Vec<Instant> = idle.iter().map(|_| Instant::now()).collect();
    while !arena.is_over() {
        arena.pause(LOOK).await;
        for at in 0..idle.len() {
            let (user, seen) = (idle[at].user, idle[at].seen);
            let confirmed = arena.history.confirmed();
            if !idle[at].client.is_closed() {
                alive[at] = Instant::now();
            }
            if idle[at].client.is_closed() {
                if !arena.history.was_disabled(user, seen.saturating_sub(LATE)) && !arena.was_away(alive[at]) {
                    arena.tally.wrong(format!("an idle session of {} has ended", name(user)));
                }
                if !arena.history.was_disabled(user, confirmed)
                    && let Some(session) = again(arena, user, false).await
                {
                    arena.tally.sent_away();
                    idle[at] = session;
                }
                overdue[at] = None;
            } else if arena.history.is_disabled(user, confirmed) {
                let since = *overdue[at].get_or_insert_with(Instant::now);
                if since.elapsed() > GONE {
                    arena.tally.wrong(format!("an idle session of {}, who is disabled, lives on", name(user)));
                    overdue[at] = Some(Instant::now());
                }
            } else {
                overdue[at] = None;
            }
        }
        if !idle.is_empty() {
            let at = dice.random_range(0..idle.len());
            if !idle[at].client.is_closed() {
                idle[at].check(arena, Kind::Whole).await;
            }
        }
    }
    idle
}

/// Each is asked once more, whatever has changed since.
pub async fn ask_all(arena: &Arena, idle: Vec<Session>) {
    let (mut alive, mut ended) = (0, 0);
    for mut session in idle {
        for kind in [Kind::Whole, Kind::Prepared] {
            if session.client.is_closed() {
                break;
            }
            session.check(arena, kind).await;
        }
        if session.client.is_closed() { ended += 1 } else { alive += 1 }
    }
    println!("idle at the end: {alive} alive and asked again, {ended} sent away while their users were disabled");
}
