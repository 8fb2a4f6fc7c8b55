//! What a client sends first (PostgreSQL manual, 55.2.1 Start-up, 55.7 StartupMessage, SSLRequest, GSSENCRequest, CancelRequest).
//!
//! In: the first bytes of a connection. Out: [`Startup`]. Must never: accept a packet above PostgreSQL's own bound.

use super::body::Body;
use crate::error::{Family, Refusal, SqlState};

/// `MAX_STARTUP_PACKET_LENGTH` of PostgreSQL.
pub const MAX_PACKET: usize = 10_000;
/// `80877103`: SSLRequest.
const SSL_REQUEST: i32 = 0x04d2_162f;
/// `80877104`: GSSENCRequest.
const GSSENC_REQUEST: i32 = 0x04d2_1630;
/// `80877102`: CancelRequest.
const CANCEL_REQUEST: i32 = 0x04d2_162e;
/// The newest minor version of protocol 3 spoken here.
pub const NEWEST_MINOR: u16 = 2;

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    /// Asks for TLS.
    SslRequest,
    /// Asks for GSSAPI encryption.
    GssEncRequest,
    /// Asks to cancel what another session runs.
    Cancel {
        /// Process id of BackendKeyData.
        pid: i32,
        /// Secret of BackendKeyData, 4 to 256 bytes.
        secret: Vec<u8>,
    },
    /// Begins a session.
    Session(StartupMessage),
}

/// StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    /// Minor version asked for, of major version 3.
    pub minor: u16,
    /// Parameters in order, `_pq_.` options not among them.
    pub parameters: Vec<(String, String)>,
    /// Names of protocol options (`_pq_.…`) asked for; none is known.
    pub options: Vec<String>,
}

/// Length of the whole packet (its length field included), once four bytes are there.
pub fn packet_length(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some((head, _)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let declared = u32::from_be_bytes(*head) as usize;
    // At least the length itself and a protocol code.
    if !(8..=MAX_PACKET + 4).contains(&declared) {
        return Err(Refusal::protocol("invalid length of startup packet"));
    }
    Ok(Some(declared))
}

impl Startup {
    /// Reads a startup packet without its length field. Pure, never panics.
    pub fn parse(packet: &[u8]) -> Result<Self, Refusal> {
        let mut body = Body::new(packet);
        match body.i32()? {
            SSL_REQUEST => body.end().map(|()| Self::SslRequest),
            GSSENC_REQUEST => body.end().map(|()| Self::GssEncRequest),
            CANCEL_REQUEST => {
                let pid = body.i32()?;
                let secret = body.rest().to_vec();
                // 3.0: exactly four bytes; 3.2: up to 256 (55.2.8).
                if !(4..=256).contains(&secret.len()) {
                    return Err(Refusal::protocol("invalid length of cancel request"));
                }
                Ok(Self::Cancel { pid, secret })
            }
            code => {
                let (major, minor) = (code >> 16, (code & 0xffff) as u16);
                if major != 3 {
                    return Err(Refusal::new(
                        Family::Protocol,
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!(
                            "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
                        ),
                    ));
                }
                session(minor, body)
            }
        }
    }
}

fn session(minor: u16, mut body: Body<'_>) -> Result<Startup, Refusal> {
    let mut message = StartupMessage { minor, parameters: Vec::new(), options: Vec::new() };
    loop {
        let name = body.string()?;
        if name.is_empty() {
            break;
        }
        let value = body.string()?;
        if name.starts_with("_pq_.") {
            message.options.push(name.to_owned());
        } else {
            message.parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    body.end().map_err(|_| Refusal::protocol("invalid startup packet layout: expected terminator as last byte"))?;
    Ok(Startup::Session(message))
}

impl StartupMessage {
    /// The last value given for a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// `options` of a startup message: `-c name=value`, `-cname=value` and `--name=value`, split as `pg_split_opts` does (white space
/// separates, a backslash takes the next character as it is). Anything else is refused.
pub fn command_line(options: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let c = if c == '\\' { chars.next() } else { Some(c) };
        word.get_or_insert_default().extend(c);
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned)
        };
        let Some((name, value)) = setting.as_deref().and_then(|s| s.split_once('=')) else {
            return Err(Refusal::new(
                Family::Unsupported,
                SqlState::FEATURE_NOT_SUPPORTED,
                "only settings (-c name=value) are accepted in startup options",
            ));
        };
        // `ParseLongOption`: dashes in a name stand for underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(minor: u16, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = (0x0003_0000_i32 | i32::from(minor)).to_be_bytes().to_vec();
        for (k, v) in pairs {
            out.extend_from_slice(k.as_bytes());
            out.push(0);
            out.extend_from_slice(v.as_bytes());
            out.push(0);
        }
        out.push(0);
        out
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(Startup::parse(&80_877_103_i32.to_be_bytes()), Ok(Startup::SslRequest));
        assert_eq!(Startup::parse(&80_877_104_i32.to_be_bytes()), Ok(Startup::GssEncRequest));
        let mut cancel = 80_877_102_i32.to_be_bytes().to_vec();
        cancel.extend_from_slice(&7_i32.to_be_bytes());
        assert!(Startup::parse(&cancel).is_err());
        cancel.extend_from_slice(b"abcd");
        assert_eq!(Startup::parse(&cancel), Ok(Startup::Cancel { pid: 7, secret: b"abcd".to_vec() }));
        let Ok(Startup::Session(m)) = Startup::parse(&packet(2, &[("user", "u"), ("_pq_.x", "1")])) else { panic!() };
        assert_eq!((m.minor, m.get("user"), m.options.as_slice()), (2, Some("u"), &["_pq_.x".to_owned()][..]));
    }

    #[test]
    fn other_major_versions_and_layouts_are_refused() {
        assert_eq!(Startup::parse(&0x0002_0000_i32.to_be_bytes()).unwrap_err().code.0, "0A000");
        let good = packet(0, &[("user", "u")]);
        for cut in 0..good.len() {
            assert!(Startup::parse(&good[..cut]).is_err());
        }
        let mut long = good;
        long.push(b'x');
        assert_eq!(Startup::parse(&long).unwrap_err().code.0, "08P01");
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(packet_length(b"\0\0\0"), Ok(None));
        assert_eq!(packet_length(&8_i32.to_be_bytes()), Ok(Some(8)));
        assert!(packet_length(&7_i32.to_be_bytes()).is_err());
        assert!(packet_length(&20_000_i32.to_be_bytes()).is_err());
        assert!(packet_length(&(-1_i32).to_be_bytes()).is_err());
    }

    #[test]
    fn options_split_as_postgres_splits() {
        let got = command_line("-c geqo=off  --statement-timeout=5min -csearch_path=a,\\ b").unwrap();
        let want = [("geqo", "off"), ("statement_timeout", "5min"), ("search_path", "a, b")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(command_line("-d 5").is_err());
        assert!(command_line("-c").is_err());
    }
}
