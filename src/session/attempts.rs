//! Failed logins: slowed down, and refused where there are too many.
//!
//! In: who tries to log in, from where, and whether it worked. Out: whether he may try, and how long the answer to a failure waits. Must
//! never: grow without bound, look at whether the user exists (an unknown one is counted as any other), or keep a user out from
//! everywhere because somebody somewhere guesses at his password.

use crate::error::{Family, Refusal, SqlState};
use quick_cache::sync::Cache;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Failures older than this are forgotten.
const WINDOW: Duration = Duration::from_secs(60);
/// The answer to the first failure waits so long, to each further one twice as long, up to the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));
/// How many users, addresses and pairs are kept; the least used are forgotten first.
const KEPT: usize = 16 * 1024;
/// So many times as many failures are let through from one address as from one user at one address.
const PER_ADDRESS: u32 = 10;

/// Proofs that others look at are looked at so many at once, of those that share a turn: what is under way is not counted yet.
const AT_ONCE: usize = 4;
/// How many turns there are for all.
const TURNS: usize = 64;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A user at an address.
    Both(u64, IpAddr),
    /// An address, whoever tries.
    Address(IpAddr),
    /// A user, wherever from.
    User(u64),
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    failures: u32,
    last: Instant,
}

/// The counts of a proxy.
#[derive(Debug)]
pub struct Attempts {
    most: u32,
    tallies: Cache<Key, Tally>,
    names: std::hash::RandomState,
    turns: Vec<Semaphore>,
}

/// Somebody who tries to log in.
#[derive(Debug)]
pub struct Attempt {
    attempts: Arc<Attempts>,
    both: Key,
    address: Key,
    user: Key,
}

/// The part of an address that one party has: of IPv6 the network.
fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

impl Attempts {
    /// Lets `most` failures a minute through, of one user at one address; 0 = all, each after the shortest wait.
    pub fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let turns = (0..TURNS).map(|_| Semaphore::new(AT_ONCE)).collect();
        Self { most, tallies: Cache::new(KEPT), names: std::hash::RandomState::new(), turns }
    }

    fn count(&self, key: &Key) -> u32 {
        self.tallies.get(key).filter(|t| t.last.elapsed() < WINDOW).map_or(0, |t| t.failures)
    }

    /// Whether somebody may try.
    ///
    /// # Errors
    /// 28000 when there were too many failures; the same whether the user exists or not, and whatever his password.
    pub fn begin(self: &Arc<Self>, user: &str, address: IpAddr) -> Result<Attempt, Refusal> {
        use std::hash::BuildHasher as _;
        // A name of any length takes as much room as another; a collision slows somebody down.
        let (user, address) = (self.names.hash_one(user), party(address));
        let attempt = Attempt {
            attempts: Arc::clone(self),
            both: Key::Both(user, address),
            address: Key::Address(address),
            user: Key::User(user),
        };
        attempt.may_go_on()?;
        Ok(attempt)
    }
}

impl Attempt {
    /// Whether it may still succeed: others may have failed since it began.
    ///
    /// # Errors
    /// As [`Attempts::begin`].
    pub fn may_go_on(&self) -> Result<(), Refusal> {
        let attempts = &self.attempts;
        if attempts.most == 0 {
            return Ok(());
        }
        let pair = attempts.count(&self.both) >= attempts.most;
        if pair || attempts.count(&self.address) >= attempts.most.saturating_mul(PER_ADDRESS) {
            return Err(Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, "too many failed logins")
                .with_hint("Wait a minute, then log in with the right password."));
        }
        Ok(())
    }

    /// Waits for a turn, where another server is asked about the proof and takes its time: else many guesses at once would all be under way
    /// before the first has failed. Then asks whether it may still succeed. Cancel safe.
    ///
    /// # Errors
    /// As [`Attempts::begin`].
    pub async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, Refusal> {
        use std::hash::BuildHasher as _;
        // Users share turns by chance; one at different addresses shares his, since it is his password that is guessed.
        let hash = self.attempts.names.hash_one(&self.user);
        let turn = usize::try_from(hash).unwrap_or_default() % TURNS;
        let permit = match self.attempts.turns.get(turn) {
            // Never closed.
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        self.may_go_on()?;
        Ok(permit)
    }

    /// It failed; gives how long to wait before saying so.
    pub fn failed(&self) -> Duration {
        if self.attempts.most == 0 {
            // How long it took to find out tells nothing.
            return WAIT.0;
        }
        let mut most = 0;
        for key in [&self.both, &self.address, &self.user] {
            let failures = self.attempts.count(key).saturating_add(1);
            self.attempts.tallies.insert(key.clone(), Tally { failures, last: Instant::now() });
            // Many may share an address.
            let weight = if matches!(key, Key::Address(_)) { failures / PER_ADDRESS } else { failures };
            most = most.max(weight);
        }
        let doubled = 1u32.checked_shl(most.saturating_sub(1)).unwrap_or(u32::MAX);
        WAIT.0.saturating_mul(doubled).min(WAIT.1)
    }

    /// It worked: what was mistyped before is forgotten.
    pub fn worked(&self) {
        self.attempts.tallies.remove(&self.both);
        self.attempts.tallies.remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_wait_longer_and_longer_then_nobody_may_try() {
        let attempts = Arc::new(Attempts::new(4));
        let here = address("10.0.0.1");
        let waits: Vec<u128> = (0..4).map(|_| attempts.begin("ana", here).unwrap().failed().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400]);
        assert_eq!(attempts.begin("ana", here).unwrap_err().code.0, "28000");
        // Not from elsewhere, but slowly; not others from here.
        let elsewhere = attempts.begin("ana", address("10.0.0.2")).unwrap();
        assert_eq!(elsewhere.failed().as_millis(), 800);
        elsewhere.worked();
        assert_eq!(attempts.begin("bob", here).unwrap().failed().as_millis(), 50);
        assert_eq!(attempts.begin("ana", address("10.0.0.2")).unwrap().failed().as_millis(), 50);
    }

    #[test]
    fn those_under_way_are_not_let_through_either() {
        let attempts = Arc::new(Attempts::new(4));
        let begun: Vec<Attempt> = (0..9).map(|_| attempts.begin("ana", address("10.0.0.1")).unwrap()).collect();
        begun[..4].iter().for_each(|attempt| {
            attempt.failed();
        });
        assert!(begun[8].may_go_on().is_err());
    }

    /// A slow server behind: a thousand guesses at once are not a thousand guesses.
    #[tokio::test]
    async fn guesses_under_way_wait_for_their_turn() {
        let attempts = Arc::new(Attempts::new(4));
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (attempts, asked) = (Arc::clone(&attempts), Arc::clone(&asked));
            guesses.spawn(async move {
                let attempt = attempts.begin("ana", address("10.0.0.1"))?;
                let _turn = attempt.turn().await?;
                asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                attempt.failed();
                Ok::<(), Refusal>(())
            });
        }
        guesses.join_all().await;
        let asked = asked.load(std::sync::atomic::Ordering::SeqCst);
        assert!((4..=4 + AT_ONCE).contains(&asked), "{asked}");
    }

    #[test]
    fn many_names_from_one_address_are_too_many() {
        let attempts = Arc::new(Attempts::new(4));
        for n in 0..40 {
            attempts.begin(&format!("user{n}"), address("2001:db8::1")).unwrap().failed();
        }
        assert!(attempts.begin("new", address("2001:db8::ffff")).is_err(), "the same network");
        assert!(attempts.begin("new", address("2001:db8:0:1::1")).is_ok());
        assert!(attempts.begin("new", address("::ffff:10.0.0.1")).is_ok());
    }

    #[test]
    fn nothing_is_counted_where_nothing_is_asked_for() {
        let attempts = Arc::new(Attempts::new(0));
        for _ in 0..100 {
            assert_eq!(attempts.begin("ana", address("10.0.0.1")).unwrap().failed(), WAIT.0);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Arc::new(Attempts::new(1_000_000));
        for n in 0..40_000u32 {
            attempts.begin(&n.to_string(), IpAddr::V4(n.into())).unwrap().failed();
        }
        assert!(attempts.tallies.len() <= KEPT);
    }
}
