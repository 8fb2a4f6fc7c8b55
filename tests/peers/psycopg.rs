//! psycopg 3, which is libpq: SCRAM-SHA-256-PLUS and certificates, and what Python programs do with a connection (`peer.py`).

use crate::papers::Papers;
use crate::stage::{rules, run, stage, user};
use crate::support::{PASSWORD, Running};
use std::path::Path;
use std::process::Command;

/// The interpreter that has psycopg: the one in the path, or the system's.
fn python() -> Command {
    let has = |python: &&&str| {
        let asked = Command::new(python).args(["-c", "import psycopg; assert psycopg.__version__ >= '3.1'"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = ["/usr/bin/python3", "python3"].iter().find(has);
    let found =
        found.expect("no psycopg 3: .ci/setup --test installs it (Debian, Ubuntu: apt-get install python3-psycopg)");
    let mut command = Command::new(found);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/peer.py"));
    command
}

async fn running(papers: &Papers) -> Running {
    stage().await.raw_user(&user("strict", "attributes: {city: [Bonn]}")).config(&rules(papers)).start().await
}

fn conninfo(running: &Running, papers: &Papers, user: &str, more: &str) -> String {
    let certificate = Some(user).filter(|user| *user == "bob");
    let rest = papers.conninfo(running.database(), certificate, more);
    format!("host=localhost port={} user={user} connect_timeout=20 {rest}", running.port)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_channel_binding() {
    let papers = Papers::new();
    let running = running(&papers).await;
    let bound = format!("channel_binding=require password='{PASSWORD}'");
    for (user, part) in [("ana", "all"), ("strict", "login")] {
        let conninfo = conninfo(&running, &papers, user, &bound);
        run(python(), &[("PEER", part), ("CONNINFO", &conninfo), ("CITY", "Bonn"), ("NAMES", "Ann Cy")]);
    }
    // Where the proxy insists and the client does not bind, nobody gets in.
    let unbound = conninfo(&running, &papers, "strict", &format!("channel_binding=disable password='{PASSWORD}'"));
    run(
        python(),
        &[
            ("PEER", "refused"),
            ("CONNINFO", &unbound),
            ("WHY", "none of the server's SASL authentication mechanisms are supported"),
        ],
    );
    let wrong = conninfo(&running, &papers, "ana", "channel_binding=require password=guess");
    run(
        python(),
        &[("PEER", "refused"), ("CONNINFO", &wrong), ("WHY", "password authentication failed for user \"ana\"")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate() {
    let papers = Papers::new();
    papers.client("bob", |_| ());
    let running = running(&papers).await;
    let own = conninfo(&running, &papers, "bob", "");
    run(python(), &[("PEER", "all"), ("CONNINFO", &own), ("CITY", "Köln"), ("NAMES", "Bob")]);
    // His certificate is nobody else's, and a password is none.
    let other = own.replace("user=bob", "user=ana");
    run(python(), &[("PEER", "refused"), ("CONNINFO", &other), ("WHY", "no password supplied")]);
    let none = papers.conninfo(running.database(), None, &format!("password='{PASSWORD}'"));
    let none = format!("host=localhost port={} user=bob {none}", running.port);
    run(
        python(),
        &[("PEER", "refused"), ("CONNINFO", &none), ("WHY", "connection requires a valid client certificate")],
    );
}
