//! The first packets of a connection (PostgreSQL manual, 55.2.1 Start-up, 55.2.9 to 55.2.11).
//!
//! In: an accepted socket. Out: a byte stream, under TLS if asked for, and the StartupMessage; or a cancel request. Must never: use a
//! byte that came in the clear behind an encryption request.

use super::client::Client;
use crate::config::tls::{ALPN, ServerTls};
use crate::error::{Family, Refusal, SqlState};
use crate::lane::Socket;
use crate::wire::startup::{NEWEST_MINOR, Startup, StartupMessage, packet_length};
use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// First byte of a TLS handshake record: direct TLS (55.2.10).
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that wants a session.
#[derive(Debug)]
pub struct Greeted {
    /// What it asked for.
    pub message: StartupMessage,
    /// Minor protocol version spoken from here on.
    pub minor: u16,
    /// Whether NegotiateProtocolVersion has to say so.
    pub negotiate: bool,
    /// Bytes already received behind the packet.
    pub input: BytesMut,
}

/// What a connection turned out to be.
#[derive(Debug)]
pub enum Hello {
    /// A session.
    Session(Greeted),
    /// A cancel request.
    Cancel {
        /// Process id.
        pid: i32,
        /// Secret.
        secret: Vec<u8>,
    },
}

/// Why a connection ends before it has begun.
#[derive(Debug)]
pub enum Broken {
    /// The client is told why.
    Refused(Box<Client>, Refusal),
    /// The client is gone, or speaks something else.
    Gone(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// Greets a connection. No time limit of its own.
pub async fn greet(socket: Socket, tls: Option<&ServerTls>) -> Result<(Client, Hello), Broken> {
    let mut first = [0; 1];
    if socket.peek(&mut first).await? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let mut client = Client::Tcp(socket);
    let mut secure = false;
    if first == [TLS_HANDSHAKE] {
        client = direct_tls(client, tls).await?;
        secure = true;
    }
    let (mut asked_tls, mut asked_gss) = (secure, secure);
    let mut input = BytesMut::with_capacity(1024);
    loop {
        let packet = match read_packet(&mut client, &mut input).await? {
            Ok(packet) => packet,
            Err(refusal) => return Err(Broken::Refused(Box::new(client), refusal)),
        };
        let startup = match packet {
            Startup::Session(_) if !secure && tls.is_some_and(|t| t.required) => Err(Refusal::new(
                Family::Denied,
                SqlState::INVALID_AUTHORIZATION,
                "this server accepts encrypted connections only",
            )
            .with_hint("connect with sslmode=require or stronger")),
            Startup::Session(message) => return Ok((client, Hello::Session(negotiate(message, input)))),
            Startup::Cancel { pid, secret } => return Ok((client, Hello::Cancel { pid, secret })),
            Startup::SslRequest if asked_tls => Err(Refusal::protocol("unexpected SSLRequest")),
            Startup::GssEncRequest if asked_gss => Err(Refusal::protocol("unexpected GSSENCRequest")),
            // What came with the request in the clear must not be taken for a part of the encrypted session (CVE-2021-23214).
            Startup::SslRequest | Startup::GssEncRequest if !input.is_empty() => {
                Err(Refusal::protocol("received unencrypted data after an encryption request"))
            }
            Startup::SslRequest => Ok(true),
            Startup::GssEncRequest => Ok(false),
        };
        match startup {
            Err(refusal) => return Err(Broken::Refused(Box::new(client), refusal)),
            Ok(true) => {
                asked_tls = true;
                (client, secure) = answer_ssl(client, tls).await?;
            }
            Ok(false) => {
                asked_gss = true;
                client.write_all(b"N").await?;
                client.flush().await?;
            }
        }
    }
}

/// 3.2 is the newest version spoken; 3.1 was never used, so that clients asking for it get 3.0 (55.2.1).
fn negotiate(message: StartupMessage, input: BytesMut) -> Greeted {
    let minor = match message.minor {
        0 | 1 => 0,
        _ => NEWEST_MINOR,
    };
    let negotiate = minor != message.minor || !message.options.is_empty();
    Greeted { message, minor, negotiate, input }
}

async fn read_packet(
    client: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> Result<Result<Startup, Refusal>, Broken> {
    loop {
        match packet_length(input) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Some(length)) if input.len() >= length => {
                let packet = input.split_to(length);
                return Ok(Startup::parse(packet.get(4..).unwrap_or_default()));
            }
            Ok(_) => {}
        }
        if client.read_buf(input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

async fn answer_ssl(client: Client, tls: Option<&ServerTls>) -> Result<(Client, bool), Broken> {
    let Client::Tcp(mut socket) = client else {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    };
    let Some(tls) = tls else {
        socket.write_all(b"N").await?;
        return Ok((Client::Tcp(socket), false));
    };
    socket.write_all(b"S").await?;
    let stream = TlsAcceptor::from(tls.config.clone()).accept(socket).await?;
    Ok((Client::Tls(Box::new(stream)), true))
}

async fn direct_tls(client: Client, tls: Option<&ServerTls>) -> Result<Client, Broken> {
    let (Client::Tcp(socket), Some(tls)) = (client, tls) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    };
    let stream = TlsAcceptor::from(tls.config.clone()).accept(socket).await?;
    // Without ALPN a client of another protocol could be made to talk to us (55.2.10).
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        let refusal = Refusal::protocol("received direct TLS connection request without ALPN protocol negotiation");
        return Err(Broken::Refused(Box::new(Client::Tls(Box::new(stream))), refusal));
    }
    Ok(Client::Tls(Box::new(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::startup;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn packets_are_read_whole_however_they_arrive() {
        let mut packet = vec![0, 0, 0, 0, 0, 3, 0, 0];
        packet.extend_from_slice(b"user\0u\0\0");
        packet[3] = packet.len() as u8;
        let (mut near, mut far) = tokio::io::duplex(1);
        let writer = async { far.write_all(&packet).await.unwrap() };
        let mut input = BytesMut::new();
        let (got, ()) = tokio::join!(read_packet(&mut near, &mut input), writer);
        let Ok(Ok(Startup::Session(message))) = got else { panic!("not a session") };
        assert_eq!(message.get("user"), Some("u"));
        assert!(input.is_empty());
    }

    #[test]
    fn versions_are_negotiated_down() {
        let message = |minor| startup::StartupMessage { minor, parameters: vec![], options: vec![] };
        for (asked, spoken, says) in [(0, 0, false), (1, 0, true), (2, 2, false), (9999, 2, true)] {
            let g = negotiate(message(asked), BytesMut::new());
            assert_eq!((g.minor, g.negotiate), (spoken, says), "{asked}");
        }
        let unknown = startup::StartupMessage { minor: 0, parameters: vec![], options: vec!["_pq_.x".into()] };
        assert!(negotiate(unknown, BytesMut::new()).negotiate);
    }

    async fn pair() -> (Socket, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Socket::tcp(listener.accept().await.unwrap().0).unwrap(), there)
    }

    #[tokio::test]
    async fn bytes_behind_an_ssl_request_end_the_connection() {
        let (here, mut there) = pair().await;
        let mut bytes = vec![0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
        bytes.extend_from_slice(b"Q\0\0\0\x0dselect 1\0");
        there.write_all(&bytes).await.unwrap();
        let Err(Broken::Refused(_, refusal)) = greet(here, None).await else { panic!("accepted") };
        assert_eq!(refusal.code.0, "08P01");
    }

    #[tokio::test]
    async fn a_second_ssl_request_is_refused_and_gss_is_answered_no() {
        let (here, mut there) = pair().await;
        let client = async {
            let mut answer = [0; 1];
            there.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30]).await.unwrap();
            there.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"N");
            there.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).await.unwrap();
            there.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"N");
            there.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).await.unwrap();
        };
        let (greeted, ()) = tokio::join!(greet(here, None), client);
        let Err(Broken::Refused(_, refusal)) = greeted else { panic!("accepted") };
        assert_eq!(refusal.message, "unexpected SSLRequest");
    }
}
