//! The edges of a session: what comes before it, who is not let in and what he can tell, and channel binding.

use super::raw::{Message, PASSWORD, Raw, frame, query, startup};
use super::running;
use super::support::{ANYONE, Running, Stage};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use sqlveil::config::tls::end_point;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(("127.0.0.1", running.port)).await.unwrap()
}

async fn byte(stream: &mut (impl AsyncRead + Unpin)) -> u8 {
    let mut one = [0];
    timeout(Duration::from_secs(10), stream.read_exact(&mut one)).await.unwrap().unwrap();
    one[0]
}

async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let read = async {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        stream.read_exact(&mut body).await.ok()?;
        Some(Message { tag: head[0] as char, body })
    };
    timeout(Duration::from_secs(10), read).await.expect("an answer in time")
}

/// Logs in over a stream that is ready for its StartupMessage; gives everything said up to ReadyForQuery or an error.
async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    user: &str,
    database: &str,
    password: &str,
    mechanism: &str,
    binding: ChannelBinding,
) -> Vec<Message> {
    stream.write_all(&startup(0, &[("user", user), ("database", database)])).await.unwrap();
    let mut scram = ScramSha256::new(password.as_bytes(), binding);
    let mut said = Vec::new();
    while let Some(next) = message(stream).await {
        let kind = if next.tag == 'R' { next.body[3] } else { 0 };
        let over = matches!(next.tag, 'Z' | 'E');
        let body = next.body.clone();
        said.push(next);
        match kind {
            10 => {
                let mut initial = format!("{mechanism}\0").into_bytes();
                initial.extend_from_slice(&(scram.message().len() as u32).to_be_bytes());
                initial.extend_from_slice(scram.message());
                stream.write_all(&frame(b'p', &initial)).await.unwrap();
            }
            11 => {
                scram.update(&body[4..]).unwrap();
                stream.write_all(&frame(b'p', scram.message())).await.unwrap();
            }
            12 => scram.finish(&body[4..]).unwrap(),
            _ => {}
        }
        if over {
            break;
        }
    }
    said
}

fn plain() -> ChannelBinding {
    ChannelBinding::unsupported()
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_that_is_not_there_is_refused_politely() {
    let running = running().await;
    // Each may be asked for once, in any order, and the session follows on the same connection.
    for requests in
        [&[GSSENC_REQUEST][..], &[SSL_REQUEST], &[GSSENC_REQUEST, SSL_REQUEST], &[SSL_REQUEST, GSSENC_REQUEST]]
    {
        let mut stream = connect(&running).await;
        for request in requests {
            stream.write_all(request).await.unwrap();
            assert_eq!(byte(&mut stream).await, b'N');
        }
        let said = log_in(&mut stream, "ana", running.database(), PASSWORD, SCRAM_SHA_256, plain()).await;
        assert_eq!(said.last().unwrap().line(), "Z I", "{requests:?}");
        stream.write_all(&query("select 1")).await.unwrap();
        assert_eq!(message(&mut stream).await.unwrap().tag, 'T');
    }
    for twice in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut stream = connect(&running).await;
        stream.write_all(&twice).await.unwrap();
        assert_eq!(byte(&mut stream).await, b'N');
        stream.write_all(&twice).await.unwrap();
        assert_eq!(message(&mut stream).await.unwrap().line(), "E 08P01");
        assert_eq!(message(&mut stream).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_packet_may_come_in_pieces() {
    let running = running().await;
    let packet = startup(2, &[("user", "ana"), ("database", running.database()), ("application_name", "ü")]);
    let mut want = None;
    for at in 1..packet.len() {
        let mut stream = connect(&running).await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(&packet[..at]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        stream.write_all(&packet[at..]).await.unwrap();
        let first = message(&mut stream).await.unwrap();
        assert_eq!(*want.get_or_insert_with(|| first.clone()), first, "split at {at}");
    }
}

/// Everything a client hears while it fails to log in, but for what is random; the user's name is replaced.
async fn failure(running: &Running, user: &str, password: &str) -> Vec<String> {
    let mut stream = connect(running).await;
    let said = log_in(&mut stream, user, running.database(), password, SCRAM_SHA_256, plain()).await;
    assert_eq!(said.last().unwrap().tag, 'E', "{user} is let in");
    assert_eq!(message(&mut stream).await, None, "the connection ends");
    let shape = |m: &Message| {
        let text = String::from_utf8_lossy(&m.body).replace(user, "USER");
        match m.body.get(3) {
            // `r=nonce,s=salt,i=iterations`: nonces differ every time.
            Some(11) if m.tag == 'R' => {
                let rest = text.split_once(",s=").unwrap().1.to_owned();
                let (salt, iterations) = rest.split_once(',').unwrap();
                format!("R nonce of {} salt of {} {iterations}", text.len() - rest.len(), salt.len())
            }
            _ => format!("{} {text}", m.tag),
        }
    };
    said.iter().map(shape).collect()
}

/// The salt a user is told.
async fn salt(running: &Running, user: &str) -> String {
    let mut stream = connect(running).await;
    let said = log_in(&mut stream, user, running.database(), "wrong", SCRAM_SHA_256, plain()).await;
    let text =
        said.iter().find(|m| m.tag == 'R' && m.body[3] == 11).map(|m| String::from_utf8_lossy(&m.body).into_owned());
    text.unwrap().split_once(",s=").unwrap().1.split_once(',').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_cannot_tell_why() {
    let running = running().await;
    let want = failure(&running, "ana", "wrong").await;
    assert!(want.last().unwrap().contains("password authentication failed for user \"USER\""), "{want:?}");
    for (user, password) in [("nobody", PASSWORD), ("Ana", PASSWORD), ("ana2", "wrong"), ("bob", "")] {
        assert_eq!(failure(&running, user, password).await, want, "{user}");
    }
    // The same salt each time, as a real user has; another one for another name.
    let (first, again, other) =
        (salt(&running, "nobody").await, salt(&running, "nobody").await, salt(&running, "nobodi").await);
    assert!(first == again && first != other);

    // A user who is barred: with the right password, and the salt he always had.
    let before = salt(&running, "bob").await;
    let file = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("{name: 'bob', "), "{text}");
    std::fs::write(&file, text.replace("{name: 'bob', ", "{disabled: true, name: 'bob', ")).unwrap();
    running.proxy().reload_and_wait().await;
    assert_eq!(failure(&running, "bob", PASSWORD).await, want);
    assert_eq!(salt(&running, "bob").await, before);
    assert_eq!(failure(&running, "ana", "wrong").await, want);
    assert!(Raw::with(&running, 0, &[("user", "ana"), ("database", running.database())]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_told_about_after_the_login_only() {
    let running = running().await;
    for (password, code) in [(PASSWORD, "E 3D000"), ("wrong", "E 28P01")] {
        let mut stream = connect(&running).await;
        let said = log_in(&mut stream, "ana", "nowhere", password, SCRAM_SHA_256, plain()).await;
        assert_eq!(said.last().unwrap().line(), code);
    }
}

/// A proxy with a certificate of its own, and clients that trust it.
async fn encrypted() -> (Running, tempfile::TempDir, tokio_rustls::TlsConnector, Vec<u8>) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, secret) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, key.cert.pem()).unwrap();
    std::fs::write(&secret, key.signing_key.serialize_pem()).unwrap();
    let lines = format!("tls: {{certificate: {}, key: {}}}", certificate.display(), secret.display());
    let running = Stage::new().await.policy(ANYONE).user("ana", &[], &[]).config(&lines).start().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    (running, folder, tokio_rustls::TlsConnector::from(Arc::new(config)), key.cert.der().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_binds() {
    let (running, _folder, connector, certificate) = encrypted().await;
    let binding = end_point(&certificate).unwrap();
    let mut other = binding.clone();
    other[0] ^= 1;
    let plus = SCRAM_SHA_256_PLUS;
    for (what, direct, mechanism, channel, code) in [
        ("bound", false, plus, ChannelBinding::tls_server_end_point(binding.clone()), "Z I"),
        ("bound, direct TLS", true, plus, ChannelBinding::tls_server_end_point(binding.clone()), "Z I"),
        ("not bound", false, SCRAM_SHA_256, ChannelBinding::unsupported(), "Z I"),
        // Somebody in the middle, with a certificate of his own.
        ("bound to another", false, plus, ChannelBinding::tls_server_end_point(other), "E 28000"),
        // "The server does not support it", says who was shown a shorter list (RFC 5802 section 6).
        ("downgraded", false, SCRAM_SHA_256, ChannelBinding::unrequested(), "E 28000"),
        ("bound without saying so", false, SCRAM_SHA_256, ChannelBinding::tls_server_end_point(binding), "E 08P01"),
        ("said and not bound", false, plus, ChannelBinding::unsupported(), "E 08P01"),
    ] {
        let mut socket = connect(&running).await;
        if !direct {
            socket.write_all(&SSL_REQUEST).await.unwrap();
            assert_eq!(byte(&mut socket).await, b'S');
        }
        let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let said = log_in(&mut stream, "ana", running.database(), PASSWORD, mechanism, channel).await;
        let offered = String::from_utf8_lossy(&said[0].body[4..]).into_owned();
        assert_eq!(offered, "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "{what}");
        assert_eq!(said.last().unwrap().line(), code, "{what}: {:?}", said.last().unwrap().field('M'));
    }
    // In the clear nothing is bound and nothing is offered.
    let mut stream = connect(&running).await;
    let said = log_in(&mut stream, "ana", running.database(), PASSWORD, SCRAM_SHA_256, plain()).await;
    assert_eq!(String::from_utf8_lossy(&said[0].body[4..]), "SCRAM-SHA-256\0\0");
    assert_eq!(said.last().unwrap().line(), "Z I");
}

/// What is sent in the clear behind a request for encryption is not taken for a part of the session (CVE-2021-23214).
#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_request_for_encryption() {
    let (running, _folder, connector, _) = encrypted().await;
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        for behind in [b"Q".to_vec(), startup(0, &[("user", "ana")]), vec![0x16, 3, 1, 0, 5]] {
            let mut stream = connect(&running).await;
            stream.write_all(&[request.as_slice(), &behind].concat()).await.unwrap();
            let first = message(&mut stream).await;
            // Whatever is read as one message: an error it is, and the end.
            assert_eq!(first.as_ref().map(Message::line).as_deref(), Some("E 08P01"), "{behind:?}");
            assert_eq!(message(&mut stream).await, None);
        }
    }
    // And inside TLS there is no second request.
    let mut socket = connect(&running).await;
    socket.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(byte(&mut socket).await, b'S');
    let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    stream.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(message(&mut stream).await.unwrap().line(), "E 08P01");
}

/// Keys of both lengths cancel, a part of a long one does not.
#[tokio::test(flavor = "multi_thread")]
async fn cancel_keys_of_both_protocols() {
    let running = running().await;
    let slow = "select count(*) from t a, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k";
    for minor in [0, 2] {
        let login = [("user", "ana"), ("database", running.database())];
        let mut raw = Raw::with(&running, minor, &login).await.unwrap();
        let (pid, secret) = raw.key.clone();
        assert_eq!(secret.len(), if minor == 0 { 4 } else { 32 });
        let cancel = async |secret: &[u8]| {
            let mut packet = (12 + secret.len() as u32).to_be_bytes().to_vec();
            packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
            packet.extend_from_slice(&pid.to_be_bytes());
            packet.extend_from_slice(secret);
            let mut stream = connect(&running).await;
            stream.write_all(&packet).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "nothing is said to a cancel request");
        };
        raw.send(&query(slow)).await;
        running
            .eventually("the statement runs", async |running| {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%count(*)%' \
                    AND datname = current_database() AND pid <> pg_backend_pid()";
                running.admin().query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
            })
            .await;
        cancel(&[secret.as_slice(), b"x"].concat()).await;
        cancel(&vec![0; secret.len()]).await;
        if minor == 2 {
            cancel(&secret[..4]).await;
        }
        let early = timeout(Duration::from_millis(300), raw.next()).await;
        assert!(early.is_err() || early.unwrap().unwrap().tag != 'E', "cancelled by a wrong key");
        cancel(&secret).await;
        let said = raw.ready(1).await;
        assert_eq!(said[said.len() - 2].line(), "E 57014");
    }
}
