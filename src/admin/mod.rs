//! The interface for administrators: HTTP on an address of its own.
//!
//! In: requests of people and programs that run the proxy. Out: what [`crate::session::Handle`] knows and does, as JSON; errors as RFC 9457
//! has them. Whoever shows neither the token nor a certificate learns whether the proxy lives and is ready, in words of a fixed list. Must
//! never: show a secret or a literal of a statement, wait for a client without a bound, or take a request that a browser was led to send.

mod access;
pub mod explained;
mod listing;
mod places;
mod problem;
mod routes;
mod server;

pub use server::Server;
