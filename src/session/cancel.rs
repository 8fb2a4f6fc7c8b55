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

/// Every session that can be cancelled.
#[derive(Debug, Default)]
pub struct CancelKeys {
    live: DashMap<i32, Live>,
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

impl CancelKeys {
    /// A fresh key for a session: four bytes of secret for protocol 3.0, 32 from 3.2 on.
    pub fn issue(self: &Arc<Self>, minor: u16, target: Option<CancelTarget>) -> CancelKey {
        let mut secret = vec![0; if minor >= 2 { 32 } else { 4 }];
        rand::rng().fill_bytes(&mut secret);
        loop {
            let pid = (rand::rng().next_u32() >> 1) as i32;
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
        if !bool::from(live.secret.as_slice().ct_eq(secret)) {
            return None;
        }
        // Not to be had: the session is ending.
        let under_way = Arc::clone(&live.deliveries).try_read_owned().ok()?;
        Some(Delivery { target: live.target.clone()?, _under_way: under_way })
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
