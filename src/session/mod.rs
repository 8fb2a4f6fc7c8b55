//! A client's session: from its first byte to its last.
//!
//! In: a connection. Out: what its statements may see. Handshake and login, then [`engine`] and [`answers`] (pure) driven by [`pump`]
//! (the only I/O after login). Must never: send the warehouse a byte of SQL that is not sealed, or hold more than bounded buffers.

mod acting;
pub mod answers;
pub mod at_once;
mod attempts;
mod awaits;
pub mod berth;
pub mod cancel;
mod checks;
pub mod client;
pub mod connection;
pub mod deciding;
pub mod drain;
mod effects;
pub mod engine;
pub mod eviction;
mod extended;
mod forgetting;
pub mod handle;
mod handover;
pub mod handshake;
mod held;
pub mod instead;
pub mod lanes;
mod listener;
pub mod login;
mod metrics;
#[cfg(any(test, fuzzing))]
pub mod model;
pub mod moving;
pub mod names;
mod origin;
pub mod overrun;
pub mod peers;
mod proof;
mod proxy;
pub mod pump;
pub mod queue;
mod renewal;
mod repeats;
pub mod scratch;
pub mod settings;
mod speaking;

pub use eviction::Seen;
pub use handle::{Cancelled, Handle, Readiness};
pub use proxy::Proxy;

#[cfg(test)]
mod tests;
