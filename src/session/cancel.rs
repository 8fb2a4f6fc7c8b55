//! Keys of live sessions: what a CancelRequest must show, and whom it then reaches (PostgreSQL manual, 55.2.8).
//!
//! In: sessions that begin and end, cancel requests. Out: the warehouse session to cancel. Must never: give a client a key of the
//! warehouse, say whether a key was right, reach another session than the key's own.

use crate::upstream::CancelTarget;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::RngCore as _;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Bits of the process id below those that say which replica has issued it.
const BELOW_REPLICA: u32 = 24;

/// Every session that can be cancelled.
#[derive(Debug, Default)]
pub struct CancelKeys {
    live: DashMap<i32, Live>,
    /// Among several proxies, which one this is.
    replica: Option<u8>,
}

struct Live {
    secret: Vec<u8>,
    target: Option<CancelTarget>,
    deliveries: Arc<RwLock<()>>,
}

/// A cancel request on its way: as long as it is held, the session it is for does not give its warehouse session to another.
#[derive(Debug)]
pub struct Delivery {
    /// Whom to cancel.
    pub target: CancelTarget,
    _under_way: OwnedRwLockReadGuard<()>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live(..)")
    }
}

/// The key of one session; dropping it ends its validity.
#[derive(Debug)]
pub struct CancelKey {
    keys: Arc<CancelKeys>,
    /// Process id shown to the client.
    pub pid: i32,
    secret: Vec<u8>,
    deliveries: Arc<RwLock<()>>,
}

impl CancelKey {
    /// Ends the key's validity and waits for the requests that are on their way, so that none reaches whoever comes next.
    pub async fn retire(self) {
        let deliveries = Arc::clone(&self.deliveries);
        drop(self);
        drop(deliveries.write().await);
    }

    /// Requests reach this from now on.
    pub fn lead_to(&self, target: Option<CancelTarget>) {
        if let Some(mut live) = self.keys.live.get_mut(&self.pid) {
            live.target = target;
        }
    }

    /// Requests reach nobody from now on, once those are delivered that are on their way.
    pub async fn lead_nowhere(&self) {
        self.lead_to(None);
        if self.deliveries.try_write().is_err() {
            drop(self.deliveries.write().await);
        }
    }

    /// The secret shown to the client.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.keys.live.remove(&self.pid);
    }
}

impl Live {
    /// `None`: the session is ending, or has no session of the warehouse.
    fn delivery(&self) -> Option<Delivery> {
        let under_way = Arc::clone(&self.deliveries).try_read_owned().ok()?;
        Some(Delivery { target: self.target.clone()?, _under_way: under_way })
    }
}

impl CancelKeys {
    /// Of a proxy that is one of several, when it is (1 to 127).
    pub fn of(replica: Option<u8>) -> Self {
        Self { live: DashMap::new(), replica: replica.filter(|id| (1..=127).contains(id)) }
    }

    /// Which of several proxies has issued a key. Without replicas the number means nothing.
    pub fn owner(pid: i32) -> Option<u8> {
        u8::try_from(pid >> BELOW_REPLICA).ok().filter(|id| *id > 0)
    }

    /// A process id that nobody can foresee; among several proxies its upper bits say whose it is. The secret is what keeps a key from
    /// being guessed, and is random as a whole.
    fn pid(&self) -> i32 {
        let random = rand::rng().next_u32();
        match self.replica {
            Some(id) => (i32::from(id) << BELOW_REPLICA) | (random >> (u32::BITS - BELOW_REPLICA)) as i32,
            None => (random >> 1) as i32,
        }
    }

    /// A fresh key for a session: four bytes of secret for protocol 3.0, 32 from 3.2 on.
    pub fn issue(self: &Arc<Self>, minor: u16, target: Option<CancelTarget>) -> CancelKey {
        let mut secret = vec![0; if minor >= 2 { 32 } else { 4 }];
        rand::rng().fill_bytes(&mut secret);
        loop {
            let pid = self.pid();
            if pid == 0 {
                continue;
            }
            if let Entry::Vacant(slot) = self.live.entry(pid) {
                let deliveries = Arc::new(RwLock::new(()));
                slot.insert(Live { secret: secret.clone(), target, deliveries: Arc::clone(&deliveries) });
                return CancelKey { keys: Arc::clone(self), pid, secret, deliveries };
            }
        }
    }

    /// Whom a cancel request reaches, when its key is right.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Delivery> {
        let live = self.live.get(&pid)?;
        bool::from(live.secret.as_slice().ct_eq(secret)).then(|| live.delivery())?
    }

    /// Cancels what the session of that key is doing, when the key is right; says in a word what came of it. The client hears nothing either
    /// way (55.2.8).
    pub async fn cancel(&self, pid: i32, secret: &[u8]) -> &'static str {
        let Some(delivery) = self.find(pid, secret) else { return "unknown" };
        match crate::upstream::cancel(&delivery.target).await {
            Ok(()) => "delivered",
            Err(refusal) => {
                tracing::warn!(%refusal, "a cancel request was not delivered");
                "failed"
            }
        }
    }

    /// Whom an administrator's cancel reaches.
    pub fn target_of(&self, pid: i32) -> Option<Delivery> {
        self.live.get(&pid)?.delivery()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_goes_waits_for_requests_on_their_way() {
        let keys = Arc::new(CancelKeys::default());
        let key = keys.issue(0, None);
        let under_way = Arc::clone(&key.deliveries).try_read_owned().unwrap();
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, key.lead_nowhere()).await.is_err());
        drop(under_way);
        tokio::time::timeout(soon, key.lead_nowhere()).await.unwrap();
        assert!(keys.find(key.pid, key.secret()).is_none(), "nobody to cancel");
    }

    #[test]
    fn keys_of_a_replica_say_whose_they_are_and_no_more() {
        for id in [1, 2, 127] {
            let keys = Arc::new(CancelKeys::of(Some(id)));
            let all: Vec<_> = (0..100).map(|_| keys.issue(0, None)).collect();
            assert!(all.iter().all(|key| key.pid > 0 && CancelKeys::owner(key.pid) == Some(id)));
            let low: std::collections::BTreeSet<i32> = all.iter().map(|key| key.pid & 0xff_ffff).collect();
            let secrets: std::collections::BTreeSet<&[u8]> = all.iter().map(CancelKey::secret).collect();
            assert_eq!((low.len(), secrets.len()), (100, 100));
        }
        assert_eq!([-1, 0, 0xff_ffff].map(CancelKeys::owner), [None; 3]);
    }

    #[test]
    fn keys_are_distinct_and_end_with_their_session() {
        let keys = Arc::new(CancelKeys::default());
        let a = keys.issue(0, None);
        let b = keys.issue(2, None);
        assert_ne!(a.pid, b.pid);
        assert_eq!((a.secret().len(), b.secret().len()), (4, 32));
        assert_eq!(keys.len(), 2);
        assert!(keys.find(a.pid, b"").is_none());
        drop(a);
        assert_eq!(keys.len(), 1);
    }
}
