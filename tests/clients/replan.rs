//! A policy changes what a prepared statement gives: the driver is told as PostgreSQL tells it of a changed table, and prepares again.

use crate::stage::{Both, with};
use crate::support::ANYONE;
use crate::{jdbc, python};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const ALL: &str = "id\tname\tregion_id";

async fn some() -> Both {
    with(|stage, user| {
        let columns = "{name: id}, {name: name}, {name: region_id}";
        stage
            .source(&format!("table: customer\nschema: public\ncolumns: [{columns}]"))
            .policy(ANYONE)
            .raw_user(&format!("{{{user}}}"))
    })
    .await
}

/// Takes a column away.
async fn hide(both: &Both) {
    let path = both.proxy.governance().join("data");
    let document = std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&document).unwrap().replace(", {name: region_id}", "");
    std::fs::write(&document, text).unwrap();
    both.proxy
        .eventually("a column is gone", async |proxy| {
            !proxy.psql(&both.role(), &["-c", "SELECT * FROM customer"]).out.contains("region_id")
        })
        .await;
}

/// Asks, takes a column away, and has the client ask again.
async fn asked_twice(mut command: Command) {
    let both = some().await;
    both.settings(&mut command, both.proxy.port);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client runs");
    let (mut says, hears) = (client.stdin.take().unwrap(), BufReader::new(client.stdout.take().unwrap()));
    let mut lines = hears.lines();
    assert_eq!(lines.next().unwrap().unwrap(), ALL);
    hide(&both).await;
    says.write_all(b"go on\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "id\tname");
    assert!(client.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg() {
    let mut command = python::python("asyncpg")();
    command.env("CLIENT", "replanned");
    asked_twice(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgjdbc() {
    let mut command = jdbc::java();
    command.env("ONLY", "replanned");
    asked_twice(command).await;
}

/// Statements made by PREPARE, in every state that one can be in.
#[tokio::test(flavor = "multi_thread")]
async fn by_name() {
    let both = some().await;
    let client = both.proxy.client(&both.role()).await;
    for sql in [
        "PREPARE gone AS SELECT name, region_id FROM customer",
        "PREPARE all_of AS SELECT * FROM customer",
        "PREPARE stays AS SELECT name FROM customer ORDER BY id",
        "PREPARE counts AS SELECT count(region_id) FROM customer",
        "EXECUTE gone",
        "EXECUTE all_of",
    ] {
        client.simple_query(sql).await.unwrap();
    }
    hide(&both).await;
    let code = async |sql: &str| match client.simple_query(sql).await {
        Ok(_) => "00000".to_owned(),
        Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |e| e.code().code().to_owned()),
    };
    for _ in 0..2 {
        assert_eq!(code("EXECUTE gone").await, "0A000");
        assert_eq!(code("EXECUTE counts").await, "0A000");
        assert_eq!(code("EXECUTE all_of").await, "0A000");
        assert_eq!(code("EXECUTE stays").await, "00000");
        assert_eq!(code("BEGIN; EXECUTE stays; EXECUTE gone").await, "0A000");
        assert_eq!(code("ROLLBACK").await, "00000");
        assert_eq!(code("EXECUTE gone; EXECUTE stays").await, "0A000");
    }
    assert_eq!(code("DEALLOCATE gone").await, "00000");
    assert_eq!(code("SELECT 1").await, "00000");
}
