//! Temporary tables through the proxy, against a real PostgreSQL: what callers and their tools make for themselves, and what an attacker
//! makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../leak/wire.rs"]
#[allow(dead_code)]
mod wire;

mod attacks;
mod catalog;
mod session;
mod tables;
mod tools;
mod writes;

use std::sync::OnceLock;
use support::{ANYONE, PASSWORD, Running, Stage};
use tokio::runtime::Runtime;
use wire::{Login, Wire};

/// `emp`: a mask and a row rule for everyone but `max`. `vault`: not registered.
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE emp (id int PRIMARY KEY, name text, dept text, ssn text, salary int, feeling mood);
    INSERT INTO emp SELECT i, 'name' || i, CASE WHEN i <= 5 THEN 'blue' ELSE 'red' END, 'SECRET' || i, 1000 + i, 'ok'
        FROM generate_series(1, 9) i;
    CREATE TABLE dept (name text PRIMARY KEY, city text);
    INSERT INTO dept VALUES ('blue', 'Bonn'), ('red', 'Rome');
    CREATE TABLE vault (id int PRIMARY KEY, code text);
    INSERT INTO vault VALUES (1, 'SECRET');
    CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
";

const MASK: &str = "policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
    config: {fields: [{type: columnTags, columnTag: Id.Ssn}], maskingConfig: {type: Constant, constant: hidden}}\n    \
    exceptions: {groups: [Trusted]}\ncircumstances: [{type: columnTags, columnTag: Id.Ssn}]\n";

const ROWS: &str = "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
    config: {predicate: \"dept = 'blue'\"}\n    exceptions: {groups: [Trusted]}\n\
    circumstances: [{type: columnTags, columnTag: Id.Ssn}]\n";

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .sources(&[("emp", "{ssn: [Id.Ssn]}"), ("dept", "{}")])
        .policy(ANYONE)
        .policy(MASK)
        .policy(ROWS)
        .user("ana", &["Staff"], &[])
        .user("max", &["Trusted"], &[])
}

/// The world of the tests that change nothing others see.
fn world() -> &'static Running {
    static WORLD: OnceLock<Running> = OnceLock::new();
    WORLD.get_or_init(|| runtime().block_on(async { stage().await.start().await }))
}

/// A session.
fn connect(running: &Running, user: &str) -> Wire {
    let login = Login { port: running.port, user, password: PASSWORD, database: running.database() };
    Wire::login(login, &[]).unwrap_or_else(|error| panic!("{:?}", error.fields()))
}

/// A session that must be answered, and its rows.
struct Caller(Wire);

impl Caller {
    fn new(user: &str) -> Self {
        Self(connect(world(), user))
    }

    /// The tag of a statement that must work.
    fn run(&mut self, sql: &str) -> String {
        let answer = self.0.simple(sql);
        assert_eq!((answer.code(), answer.message()), (String::new(), String::new()), "{sql}");
        answer.tags().join(", ")
    }

    /// Rows, asked in both protocols.
    fn rows(&mut self, sql: &str) -> Vec<String> {
        let simple = self.0.simple(sql);
        assert_eq!((simple.code(), simple.message()), (String::new(), String::new()), "{sql}");
        let extended = self.0.extended(sql, &[], 0);
        assert_eq!(extended.sorted(), simple.sorted(), "{sql}: {}", extended.message());
        simple.rows()
    }

    /// SQLSTATE and message of a statement that must not work, in both protocols.
    fn refused(&mut self, sql: &str) -> (String, String) {
        let simple = self.0.simple(sql);
        let extended = self.0.extended(sql, &[], 0);
        assert_ne!(simple.code(), "", "{sql} was answered");
        assert_eq!((simple.code(), simple.message()), (extended.code(), extended.message()), "{sql}");
        (simple.code(), simple.message())
    }

    fn code(&mut self, sql: &str) -> String {
        self.refused(sql).0
    }
}
