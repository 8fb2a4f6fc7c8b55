//! From where a connection comes: its own address, or, where a balancer stands in front, the one that it says in a header of the PROXY
//! protocol, version 1 or 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! In: the first bytes of a connection from one of the configured networks. Out: the address of the client. Must never: believe a header of
//! anybody else, take a byte that stands behind the header, or read a header without bound.

use crate::config::authentication::Network;
use crate::error::Refusal;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of version 1, section 2.1.
const TEXT: &[u8] = b"PROXY ";
/// The first bytes of version 2, section 2.2.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// So many bytes tell the versions apart; no header is shorter.
const FIRST: usize = BINARY.len();
/// The longest line of version 1, its end included (section 2.1).
const LONGEST_TEXT: usize = 107;
/// The fixed part of version 2: the length of the rest stands at its end (section 2.2).
const FIXED: usize = 16;
/// The longest header of version 2: the least that every host can receive at once (section 2), and plenty for what balancers add.
const LONGEST: usize = 536;

/// Why it is not known from where a connection comes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    /// It ended, as connections of health checks do.
    #[error("it ended before it began: {0}")]
    Gone(#[from] io::Error),
    /// It begins with something else.
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    /// Longer than is read.
    #[error("its header of the PROXY protocol is longer than {LONGEST} bytes")]
    TooLong,
    /// Not a header of either version.
    #[error("its header of the PROXY protocol is malformed")]
    Malformed,
}

impl Unknown {
    /// What is said to whoever connects, if he is still there.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let text = match self {
            Self::Gone(_) => return None,
            Self::Missing => "connections from this address begin with a header of the PROXY protocol",
            Self::TooLong => "the header of the PROXY protocol is too long",
            Self::Malformed => "malformed header of the PROXY protocol",
        };
        Some(Refusal::protocol(text))
    }
}

/// Whether a connection from there begins with a header.
pub(super) fn is_announced(from: &[Network], peer: IpAddr) -> bool {
    from.iter().any(|network| network.holds(peer))
}

/// Reads a header, and nothing behind it. `None`: the balancer speaks for itself (`LOCAL`), or does not know (`UNKNOWN`, other families).
/// No time limit of its own; not cancel safe: what was read is lost.
///
/// # Errors
/// [`Unknown`].
pub(super) async fn announced(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Unknown> {
    let mut header = vec![0; FIRST];
    let mut read = 0;
    while read < FIRST {
        let n = stream.read(header.get_mut(read..).unwrap_or_default()).await?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        read += n;
        // Who speaks something else may be waiting for an answer by now.
        let said = header.get(..read).unwrap_or_default();
        let begins = |with: &[u8]| said.iter().zip(with).all(|(said, wanted)| said == wanted);
        if !begins(BINARY) && !begins(TEXT) {
            return Err(Unknown::Missing);
        }
    }
    let source = if header == BINARY { binary(stream, header).await? } else { text(stream, header).await? };
    Ok(source.map(|source| SocketAddr::new(source.ip().to_canonical(), source.port())))
}

async fn text(stream: &mut (impl AsyncRead + Unpin), mut header: Vec<u8>) -> Result<Option<SocketAddr>, Unknown> {
    use ppp::v1::{Addresses, Header};
    // Nothing says how long it is: byte by byte, so that none of what follows is taken.
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_TEXT {
            return Err(Unknown::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    let header = Header::try_from(header.as_slice()).map_err(|_| Unknown::Malformed)?;
    Ok(match header.addresses {
        Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        Addresses::Unknown => None,
    })
}

async fn binary(stream: &mut (impl AsyncRead + Unpin), mut header: Vec<u8>) -> Result<Option<SocketAddr>, Unknown> {
    use ppp::v2::{Addresses, Command, Header, Protocol};
    header.resize(FIXED, 0);
    stream.read_exact(header.get_mut(FIRST..).unwrap_or_default()).await?;
    let Some((_, length)) = header.split_last_chunk::<2>() else { return Err(Unknown::Malformed) };
    let length = FIXED + usize::from(u16::from_be_bytes(*length));
    if length > LONGEST {
        return Err(Unknown::TooLong);
    }
    header.resize(length, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    let header = Header::try_from(header.as_slice()).map_err(|_| Unknown::Malformed)?;
    Ok(match (header.command, header.protocol, header.addresses) {
        (Command::Proxy, Protocol::Stream, Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
        (Command::Proxy, Protocol::Stream, Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
        // What is not supported counts as not said (section 2.2).
        (Command::Local, _, _)
        | (_, Protocol::Unspecified | Protocol::Datagram, _)
        | (_, _, Addresses::Unspecified | Addresses::Unix(_)) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY, &[0x20 | command, family], &length, rest].concat()
    }

    /// Reads a header that comes so many bytes at a time; and what is left behind it.
    async fn read(bytes: &[u8], piece: usize) -> (Result<Option<String>, Unknown>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(piece.max(1));
        let writer = async {
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
        };
        let reader = async {
            let read = announced(&mut near).await.map(|source| source.map(|source| source.to_string()));
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            (read, rest)
        };
        tokio::join!(reader, writer).0
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 0x19, 0x20];

    fn v6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x9c, 0x40, 0x19, 0x20]].concat()
    }

    #[tokio::test]
    async fn headers_of_both_versions_are_read_and_nothing_behind_them() {
        let with_tlv = [&V4[..], &[0x04, 0, 3, 0, 0, 0]].concat();
        let largest = [&V4[..], &vec![0; LONGEST - FIXED - V4.len()]].concat();
        for (header, source) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6432\r\n".to_vec(), Some("192.0.2.7:40000")),
            (b"PROXY TCP6 2001:db8::7 ::1 40000 6432\r\n".to_vec(), Some("[2001:db8::7]:40000")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40000 6432\r\n".to_vec(), Some("192.0.2.7:40000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(1, 0x11, &V4), Some("192.0.2.7:40000")),
            (v2(1, 0x11, &with_tlv), Some("192.0.2.7:40000")),
            (v2(1, 0x11, &largest), Some("192.0.2.7:40000")),
            (v2(1, 0x21, &v6("2001:db8::7")), Some("[2001:db8::7]:40000")),
            (v2(1, 0x21, &v6("::ffff:192.0.2.7")), Some("192.0.2.7:40000")),
            (v2(0, 0x00, &[]), None),
            (v2(0, 0x11, &V4), None),
            (v2(1, 0x00, &[]), None),
            (v2(1, 0x12, &V4), None),
            (v2(1, 0x31, &[b'/'; 216]), None),
        ] {
            for piece in [1, 7, 4096] {
                let (read, rest) = read(&[&header[..], b"\0\0\0\x08 what follows"].concat(), piece).await;
                assert_eq!(read.unwrap().as_deref(), source, "{}", header.escape_ascii());
                assert_eq!(rest, b"\0\0\0\x08 what follows", "{}", header.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        for (bytes, why) in [
            (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], "does not begin"),
            (b"\x16\x03\x01", "does not begin"),
            (b"PROXX", "does not begin"),
            (b"\r\n\r\n\0\r\nQUIX", "does not begin"),
            (b"", "ended"),
            (b"PROXY TCP4 192.0.2.7", "ended"),
            (&v2(1, 0x11, &V4)[..20], "ended"),
            (b"PROXY TCP4 192.0.2.777 10.0.0.1 40000 6432\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n", "malformed"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 400000 6432\r\n", "malformed"),
            (b"PROXY UDP4 192.0.2.7 10.0.0.1 40000 6432\r\n", "malformed"),
            (b"PROXY TCP4 2001:db8::7 ::1 40000 6432\r\n", "malformed"),
            (b"PROXY TCP4 \xff\xff\xff\xff 10.0.0.1 40000 6432\r\n", "malformed"),
            (long.as_bytes(), "longer"),
            (&v2(1, 0x11, &V4[..11]), "malformed"),
            (&v2(2, 0x11, &V4), "malformed"),
            (&v2(1, 0x51, &V4), "malformed"),
            (&[BINARY, &[0x11, 0x11, 0, 12], &V4].concat(), "malformed"),
            (&v2(1, 0x11, &vec![0; LONGEST - FIXED + 1]), "longer"),
        ] {
            let (read, _) = read(bytes, 5).await;
            let told = read.expect_err(&bytes.escape_ascii().to_string()).to_string();
            assert!(told.contains(why), "{}: {told}", bytes.escape_ascii());
        }
    }

    proptest! {
        /// Whatever comes, no more is read than a header may have, and nothing panics.
        #[test]
        fn any_bytes_are_taken(
            begin in prop_oneof![Just(BINARY.to_vec()), Just(b"PROXY TCP4 ".to_vec()), Just(b"PROXY UNKNOWN ".to_vec()), Just(vec![])],
            more in proptest::collection::vec(any::<u8>(), 0..1200),
        ) {
            let bytes = [begin, more].concat();
            let (_, rest) = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read(&bytes, 4096));
            prop_assert!(bytes.len() - rest.len() <= LONGEST);
            prop_assert!(bytes.ends_with(&rest));
        }
    }
}
