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

/// Asks, takes a column away, and has the client ask again.
async fn asked_twice(mut command: Command) {
    let both = some().await;
    both.settings(&mut command, both.proxy.port);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client runs");
    let (mut says, hears) = (client.stdin.take().unwrap(), BufReader::new(client.stdout.take().unwrap()));
    let mut lines = hears.lines();
    assert_eq!(lines.next().unwrap().unwrap(), ALL);
    let path = both.proxy.governance().join("data");
    let document = std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&document).unwrap().replace(", {name: region_id}", "");
    std::fs::write(&document, text).unwrap();
    both.proxy
        .eventually("a column is gone", async |proxy| {
            !proxy.psql(&both.role(), &["-c", "SELECT * FROM customer"]).out.contains("region_id")
        })
        .await;
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
