//! From where clients come behind a balancer that speaks the PROXY protocol, and behind somebody who only says he is one.

use crate::support::{PASSWORD, Running};
use crate::{folder, in_time, records, stage};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(20);
/// The tests come from 127.0.0.1.
const BELIEVED: &str = "proxy_protocol: {from: [127.0.0.0/8, \"::1\"]}";

/// A proxy with a trail and these lines.
async fn announced(more: &str) -> Running {
    stage("").await.config(more).start().await
}

async fn connect(running: &Running, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    // The proxy may have ended it by then.
    let _ = stream.write_all(header).await;
    stream
}

/// Logs in behind a header; and from where it really came.
async fn login(
    running: &Running,
    header: &[u8],
    password: &str,
) -> (Result<Client, tokio_postgres::Error>, SocketAddr) {
    let stream = connect(running, header).await;
    let address = stream.local_addr().unwrap();
    let mut config = running.client_config("ana");
    let connected = timeout(PATIENCE, config.password(password).connect_raw(stream, NoTls)).await.expect("an answer");
    let client = connected.map(|(client, connection)| {
        tokio::spawn(connection);
        client
    });
    (client, address)
}

/// What somebody is told who does not get in.
fn told(login: (Result<Client, tokio_postgres::Error>, SocketAddr)) -> String {
    let error = login.0.expect_err("refused");
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// A header of version 2 with that command and family.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, rest].concat()
}

fn from_v4(last: u8) -> Vec<u8> {
    v2(1, 0x11, &[192, 0, 2, last, 10, 0, 0, 1, 0x9c, 0x40, 0x19, 0x20])
}

/// Where those of a kind came from.
fn clients<'r>(all: &'r [Value], kind: &str) -> Vec<&'r str> {
    in_time(all, kind).into_iter().map(|record| record["client"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_hold_the_address_of_the_header() {
    let mut running = announced(BELIEVED).await;
    let v6 = [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x9c, 0x40, 0x19, 0x20]].concat();
    let mut wanted = Vec::new();
    for (header, address) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6432\r\n".to_vec(), Some("192.0.2.7:40000")),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 6432\r\n".to_vec(), Some("[2001:db8::7]:40000")),
        (from_v4(8), Some("192.0.2.8:40000")),
        (v2(1, 0x21, &v6), Some("[2001:db8::7]:40000")),
        (v2(0, 0, &[]), None),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
    ] {
        let (client, own) = login(&running, &header, PASSWORD).await;
        let client = client.unwrap();
        assert_eq!(client.query("SELECT id FROM open LIMIT 3", &[]).await.unwrap().len(), 3);
        wanted.push(address.map_or(own.to_string(), str::to_owned));
    }
    // A check of the balancer: nobody's login.
    drop(connect(&running, &v2(0, 0, &[])).await);
    drop(connect(&running, b"").await);
    running.stop().await;
    let all = records(&folder(running.folder()));
    assert_eq!(clients(&all, "login"), wanted);
    let mut statements = clients(&all, "statement");
    statements.dedup();
    assert_eq!(statements, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_in_pieces_is_read_and_behind_it_all_goes_on_as_ever() {
    let mut running = announced(BELIEVED).await;
    let mut stream = connect(&running, b"").await;
    stream.set_nodelay(true).unwrap();
    for piece in from_v4(7).chunks(3) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The proxy of this test has no TLS: it says so.
    stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'N');
    let (client, connection) = running.client_config("ana").connect_raw(stream, NoTls).await.unwrap();
    tokio::spawn(connection);
    // A cancel request has a header of its own.
    let sleeping = tokio::spawn({
        let token = client.cancel_token();
        let stream = connect(&running, &from_v4(9)).await;
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query_raw(stream, NoTls).await.unwrap();
        }
    });
    let endless = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b";
    let ended = timeout(PATIENCE, client.batch_execute(endless)).await.expect("it is cancelled");
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57014");
    sleeping.await.unwrap();
    drop(client);
    running.stop().await;
    assert_eq!(clients(&records(&folder(running.folder())), "login"), ["192.0.2.7:40000"]);
}

/// What is answered until the connection ends.
async fn answered(running: &Running, bytes: &[u8]) -> String {
    let mut stream = connect(running, bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_header_nobody_gets_in_from_where_one_is_due() {
    let mut running = announced(&format!("{BELIEVED}\nlimits: {{handshake_timeout: 2s}}")).await;
    assert!(told(login(&running, b"", PASSWORD).await).contains("begin with a header of the PROXY protocol"));
    for (bytes, told) in [
        (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], "begin with a header"),
        (b"\x16\x03\x01\x02\0\x01", "begin with a header"),
        (b"PROXY TCP4 192.0.2.777 10.0.0.1 40000 6432\r\n", "malformed"),
        (&v2(1, 0x11, &[0; 2000]), "too long"),
        // The half of one, and nothing: both for as long as a login may take.
        (b"PROXY TCP4", ""),
        (b"", ""),
    ] {
        let answer = answered(&running, bytes).await;
        assert!(answer.contains(told) && answer.is_empty() == told.is_empty(), "{}: {answer}", bytes.escape_ascii());
    }
    running.stop().await;
    assert!(clients(&records(&folder(running.folder())), "login").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gives_himself_an_address() {
    for more in ["", "proxy_protocol: {from: [192.0.2.0/24, \"2001:db8::/32\"]}"] {
        let mut running = announced(more).await;
        for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6432\r\n".to_vec(), from_v4(7), v2(0, 0, &[])] {
            assert!(login(&running, &header, PASSWORD).await.0.is_err(), "{}", header.escape_ascii());
        }
        let (client, own) = login(&running, b"", PASSWORD).await;
        drop(client.unwrap());
        running.stop().await;
        assert_eq!(clients(&records(&folder(running.folder())), "login"), [own.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_limits_by_address_know_the_clients() {
    let rules = "\nauthentication: [{network: 192.0.2.66, method: reject}, {method: scram-sha-256}]";
    let mut running = announced(&format!("{BELIEVED}{rules}\nlimits: {{failed_logins: 2}}")).await;
    assert!(login(&running, &from_v4(66), PASSWORD).await.0.is_err(), "rejected from there");
    for _ in 0..2 {
        assert!(login(&running, &from_v4(7), "wrong").await.0.is_err());
    }
    assert_eq!(told(login(&running, &from_v4(7), PASSWORD).await), "too many failed logins");
    drop(login(&running, &from_v4(8), PASSWORD).await.0.unwrap());
    running.stop().await;
    let all = records(&folder(running.folder()));
    let last = |client: &str| client.split(['.', ':']).nth(3).unwrap().to_owned();
    let told: Vec<String> = clients(&all, "login").into_iter().map(last).collect();
    assert_eq!(told, ["66", "7", "7", "7", "8"]);
}
