//! Counters by words of the proxy's own, of what happens seldom enough for a lock: logins, refused connections, cancel requests.

use crate::error::{Refusal, SqlState};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How often each was counted.
#[derive(Debug, Default)]
pub struct Words<K = &'static str>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord + Copy> Words<K> {
    /// One more.
    pub fn count(&self, word: K) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_insert(0) += 1;
    }

    /// All so far.
    pub fn read(&self) -> Vec<(K, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(word, count)| (*word, *count)).collect()
    }
}

/// Why a connection became no session, in one word.
pub fn reason(refusal: &Refusal) -> &'static str {
    match refusal.code {
        SqlState::TOO_MANY_CONNECTIONS => "too_many_connections",
        SqlState::INVALID_CATALOG_NAME => "unknown_database",
        SqlState::INVALID_AUTHORIZATION | SqlState::INVALID_PASSWORD => "authentication",
        SqlState::INSUFFICIENT_PRIVILEGE => "denied",
        SqlState::PROTOCOL_VIOLATION => "protocol",
        SqlState::FEATURE_NOT_SUPPORTED => "unsupported",
        SqlState::CONNECTION_FAILURE => "upstream",
        SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN => "shutting_down",
        SqlState::INTERNAL_ERROR => "internal",
        _ => "other",
    }
}
