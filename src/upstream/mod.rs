//! The warehouse's side: connect, log in, pool, send, cancel.
//!
//! In: a [`crate::config::Connection`], sealed SQL. Out: sessions with two byte halves, logged in, with pinned settings; a client for
//! the catalog leg. INVARIANT(no-caller-sql): SQL goes out only as [`crate::seal::Sealed`], through [`message`]. Must never: show a
//! secret, hand one caller's session to another before it was reset.

mod behind_pooler;
mod cancel;
mod catalog;
mod failure;
mod kept;
mod login;
pub mod message;
mod pool;
mod repeats;
mod stream;

pub use cancel::{CancelTarget, cancel};
pub use catalog::{audit_client, catalog_client, directory_client};
pub use kept::{Given, Held, Kept, Reported, Traces, Under};
pub use message::Fixed;
pub use pool::{Figures, Lease, Occupancy, Pool, Session};
pub use repeats::{Repeats, Step};
pub use stream::{ReadHalf, WriteHalf};
