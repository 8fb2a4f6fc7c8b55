//! The upstream room against a real PostgreSQL: TLS modes, authentication methods, pinned settings, pool, cancel, recovery.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hostile;
mod login;
mod pool;
mod support;
mod tls;
