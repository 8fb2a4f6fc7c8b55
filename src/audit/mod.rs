//! Who saw what, for which purpose: a record of every statement and login, kept so that none can be lost or changed unnoticed.
//!
//! In: decisions and how statements end. Out: a folder of JSON lines, each tied to the one before by its hash ([`line`]); from there standard
//! output, a table, a collector ([`sinks`]). Must never: hold a statement's literals unless that is asked for, make a session wait, or keep
//! quiet about a record that is lost.
//!
//! A record is made on the thread of its session ([`record`]) and put into the [`Trail`]; one thread ties records together and writes them
//! ([`journal`]); sinks read what is written there ([`follow`]). `sqlveil audit` reads it, too ([`verify`], [`search`]).

mod about;
mod follow;
mod journal;
pub mod line;
mod login;
mod members;
mod metrics;
mod record;
pub mod search;
pub mod segments;
mod sinks;
mod speaker;
mod trail;
pub mod verify;

pub use about::told;
pub use follow::Following;
pub use login::{By, Refused, acknowledged, administered, login, published};
pub use metrics::Trailed;
pub use record::{Inner, Record, rows_of};
pub use sinks::Collector;
pub use speaker::{Speaker, Who};
pub use trail::{State, Trail};
