//! Bytes of one session in four directions. The session alone writes them, so that no addition needs to be atomic.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client.
    pub from_client: u64,
    /// To the client.
    pub to_client: u64,
    /// From the warehouse.
    pub from_upstream: u64,
    /// To the warehouse.
    pub to_upstream: u64,
}

impl Bytes {
    /// Adds those of another session.
    pub fn add(&mut self, other: Self) {
        self.from_client = self.from_client.wrapping_add(other.from_client);
        self.to_client = self.to_client.wrapping_add(other.to_client);
        self.from_upstream = self.from_upstream.wrapping_add(other.from_upstream);
        self.to_upstream = self.to_upstream.wrapping_add(other.to_upstream);
    }
}

/// The bytes of a session, as others see them.
#[derive(Debug, Default)]
pub struct Traffic {
    from_client: AtomicU64,
    to_client: AtomicU64,
    from_upstream: AtomicU64,
    to_upstream: AtomicU64,
}

impl Traffic {
    /// Shows what the session has counted.
    pub fn show(&self, bytes: Bytes) {
        self.from_client.store(bytes.from_client, Relaxed);
        self.to_client.store(bytes.to_client, Relaxed);
        self.from_upstream.store(bytes.from_upstream, Relaxed);
        self.to_upstream.store(bytes.to_upstream, Relaxed);
    }

    /// What it has counted so far.
    pub fn read(&self) -> Bytes {
        Bytes {
            from_client: self.from_client.load(Relaxed),
            to_client: self.to_client.load(Relaxed),
            from_upstream: self.from_upstream.load(Relaxed),
            to_upstream: self.to_upstream.load(Relaxed),
        }
    }
}
