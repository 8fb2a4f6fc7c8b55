//! A server that is not what it says: what it may not get, and what it may not make us do.

use crate::support::PASSWORD;
use proptest::prelude::*;
use sqlveil::config::tls::{ClientTls, SslMode};
use sqlveil::config::{Connection, Host, PoolLimits, Secret};
use sqlveil::upstream::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes(), data].concat())
}

fn status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// Plays `turns`: each is sent after something of the client was read. Returns the refusal's words and all the client sent.
async fn play(turns: Vec<Vec<u8>>, mode: SslMode) -> (Result<(), String>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for turn in turns {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => heard.extend_from_slice(&buffer[..n]),
                _ => break,
            }
            if stream.write_all(&turn).await.is_err() {
                break;
            }
        }
        // What the client still says, until it hangs up or half a second of silence.
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut heard)).await;
        heard
    });
    let connection = Connection {
        key: "warehouse".into(),
        host: Host::Tcp("127.0.0.1".into()),
        port,
        database: "d".into(),
        user: "service".into(),
        password: Some(Secret::new(PASSWORD)),
        tls: ClientTls::load(mode, None).unwrap(),
        pool: PoolLimits::default(),
        connect_timeout: Duration::from_secs(2),
        query_timeout: None,
        pooler: None,
        query_timeout_max: None,
        temporary_tables: true,
        functions: Vec::new(),
        engine: sqlveil::config::Engine::default(),
        shards: std::collections::BTreeSet::new(),
    };
    let pool = Pool::new(Arc::new(connection));
    let answer = pool.acquire(pool.deadline()).await;
    let answer = answer.map(sqlveil::upstream::Session::close).map_err(|refusal| {
        assert_eq!(refusal.code.0, "08006");
        refusal.message.into_owned()
    });
    assert_eq!(pool.occupancy().held, 0);
    (answer, server.await.unwrap())
}

fn ready() -> Vec<u8> {
    [
        authentication(0, b""),
        status("client_encoding", "UTF8"),
        status("standard_conforming_strings", "on"),
        message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        message(b'Z', b"I"),
    ]
    .concat()
}

#[tokio::test]
async fn the_script_itself_logs_in() {
    assert_eq!(play(vec![ready()], SslMode::Disable).await.0, Ok(()));
}

#[tokio::test]
async fn the_password_does_not_leave_without_tls() {
    for asked in [authentication(3, b""), authentication(2, b""), authentication(7, b""), authentication(99, b"")] {
        let (answer, heard) = play(vec![asked, ready()], SslMode::Disable).await;
        assert!(answer.unwrap_err().ends_with("the service login failed"));
        assert!(!heard.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes()));
    }
    // `prefer` and a server that says it has no TLS: the same.
    let (answer, heard) = play(vec![b"N".to_vec(), authentication(3, b""), ready()], SslMode::Prefer).await;
    assert!(answer.is_err());
    assert!(!heard.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes()));
}

#[tokio::test]
async fn a_server_that_does_not_prove_itself_is_refused() {
    let sasl = authentication(10, b"SCRAM-SHA-256\0\0");
    for turns in [
        // Accepts at once, or after its first message; a wrong nonce; a wrong signature.
        vec![sasl.clone(), ready()],
        vec![sasl.clone(), authentication(11, b"r=other,s=c2FsdA==,i=4096"), ready()],
        vec![sasl.clone(), authentication(12, b"v=AAAA"), ready()],
        vec![authentication(10, b"SCRAM-SHA-1\0\0"), ready()],
        vec![authentication(10, b"\0"), ready()],
        vec![authentication(11, b"r=a,s=c2FsdA==,i=1"), ready()],
    ] {
        assert!(play(turns, SslMode::Disable).await.0.unwrap_err().ends_with("the service login failed"));
    }
}

#[tokio::test]
async fn tls_is_not_talked_out_of() {
    let (answer, heard) = play(vec![b"N".to_vec(), ready()], SslMode::Require).await;
    assert!(answer.unwrap_err().ends_with("it does not offer TLS"));
    assert_eq!(heard, [0, 0, 0, 8, 4, 210, 22, 47], "SSLRequest and nothing else");
    // Plaintext stuffed behind the answer is taken for TLS, which it is not.
    let (answer, heard) = play(vec![[b"S".to_vec(), ready()].concat()], SslMode::Require).await;
    assert!(answer.unwrap_err().ends_with("TLS could not be established"));
    assert!(!heard.windows(7).any(|w| w == b"service"));
    let error = message(b'E', b"SFATAL\0C08P01\0Mno\0\0");
    assert!(play(vec![error], SslMode::Require).await.0.is_err());
}

#[tokio::test]
async fn pins_that_do_not_hold_and_messages_out_of_place() {
    let replaced = |from: &str, to: &str| {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let mut bytes = ready();
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes.splice(at..at + from.len(), to.iter().copied());
        bytes
    };
    for turn in [
        replaced("strings\0on", "strings\0no"),
        replaced("UTF8", "SJIS"),
        replaced("client_encoding", "client_encodinh"),
        message(b'Z', b"I"),
        status("client_encoding", "UTF8"),
        [authentication(0, b""), authentication(0, b"")].concat(),
        [authentication(0, b""), message(b'D', b"\0\0")].concat(),
        [authentication(0, b""), message(b'K', b"\0\0")].concat(),
        b"R\x7f\xff\xff\xff".to_vec(),
        b"R\0\0\0\0".to_vec(),
        message(b'v', &[0, 0, 0, 0, 0, 0, 0, 0]),
        message(b'N', b"\0").repeat(2000),
    ] {
        assert!(play(vec![turn.clone()], SslMode::Disable).await.0.is_err(), "{turn:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_logs_in(first in proptest::collection::vec(any::<u8>(), 1..60), tag in any::<u8>(), framed in any::<bool>()) {
        let turn = if framed { message(tag, &first) } else { first };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // An end behind the garbage: whoever waits for more is told so.
        let turns = vec![[turn, message(b'E', b"SFATAL\0C57P01\0Mx\0\0"), vec![0; 70_000]].concat()];
        prop_assert!(runtime.block_on(play(turns, SslMode::Disable)).0.is_err());
    }
}
