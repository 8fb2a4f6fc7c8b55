//! What the tests that need a real PostgreSQL share: a server, a database of one's own, governance documents, the proxy
//! in-process, and clients (psql, tokio-postgres) through it.
//!
//! A runner includes it with `#[path = "../support/mod.rs"] mod support;`. One server is started for each test program and goes
//! away with it; every [`Stage`] has a database of its own in it.

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kinds;
mod log;
mod psql;
mod stage;
mod versions;

pub use kinds::KINDS;
pub use log::Log;
pub use psql::Output;
pub use sqlveil::cli::demo::private_postgres::{PrivatePostgres, Setup};
pub use stage::{ANYONE, PASSWORD, Running, Stage};
pub use versions::{MAJORS, server_of};

use std::sync::OnceLock;

/// The server of this test program. It ends with the program: its guardian sees the pipe close.
pub fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        PrivatePostgres::start_with(&Setup {
            settings: vec![("max_connections".into(), "300".into())],
            ..Setup::default()
        })
        .expect("a private PostgreSQL")
    })
}

/// Whether the generated tests run long (`make test-long`).
pub fn long() -> bool {
    std::env::var_os("SQLVEIL_TEST_LONG").is_some()
}
