//! Python: psycopg 2 and 3, asyncpg, SQLAlchemy with its reflection, pgcli, psqlodbc.

use crate::stage::both;
use std::path::Path;
use std::process::Command;

/// The interpreter that has a module: `$SQLVEIL_PYTHON` or the system's, else the one in the path.
pub fn python(module: &'static str) -> impl Fn() -> Command {
    let has = |python: &String| {
        let asked = Command::new(python).args(["-c", &format!("import {module}")]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let own = std::env::var("SQLVEIL_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let found = [own, "/usr/bin/python3".to_owned(), "python3".to_owned()].into_iter().find(has).unwrap_or_else(|| {
        panic!("no {module}: .ci/setup --test installs it (Debian, Ubuntu: apt-get install python3-{module})")
    });
    move || {
        let mut command = Command::new(&found);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python.py"));
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg2() {
    both().await.same(python("psycopg2"), &[("CLIENT", "psycopg2")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg() {
    both().await.same(python("asyncpg"), &[("CLIENT", "asyncpg")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlalchemy() {
    // Sequences count rows: they are not shown.
    both().await.same(python("sqlalchemy"), &[("CLIENT", "sqlalchemy")], &[": sequences\t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlalchemy_with_asyncpg() {
    both().await.same(python("sqlalchemy"), &[("CLIENT", "sqlalchemy+asyncpg")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg() {
    both().await.same(python("psycopg"), &[("CLIENT", "psycopg")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pgcli() {
    both().await.same(python("pgcli"), &[("CLIENT", "pgcli")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn psqlodbc() {
    both().await.same(python("pyodbc"), &[("CLIENT", "odbc")], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts() {
    both().await.same(python("psycopg"), &[("CLIENT", "timeouts")], &[]);
}
