//! A client that speaks in frames: what is sent and what comes back, byte for byte.

use super::support::Running;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const PASSWORD: &str = "open sesame";

/// A message of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or notice.
    pub fn field(&self, code: char) -> Option<String> {
        self.body.split(|b| *b == 0).find(|f| f.first() == Some(&(code as u8))).map(|f| text(&f[1..]))
    }

    /// One line for assertions: `C SELECT 1`, `Z I`, `E 42501`, `D a|b`, else the tag.
    pub fn line(&self) -> String {
        match self.tag {
            'C' => format!("C {}", text(&self.body[..self.body.len() - 1])),
            'Z' => format!("Z {}", text(&self.body)),
            'E' => format!("E {}", self.field('C').unwrap_or_default()),
            'N' => format!("N {}", self.field('M').unwrap_or_default()),
            'D' => format!("D {}", row(&self.body).join("|")),
            tag => tag.to_string(),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn row(body: &[u8]) -> Vec<String> {
    let mut at = 2;
    (0..u16::from_be_bytes([body[0], body[1]]))
        .map(|_| {
            let n = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            at += 4;
            if n < 0 {
                return "∅".to_owned();
            }
            at += n as usize;
            text(&body[at - n as usize..at])
        })
        .collect()
}

pub struct Raw {
    pub stream: TcpStream,
    pub parameters: Vec<(String, String)>,
    pub key: (i32, Vec<u8>),
    pub negotiated: Option<Vec<u8>>,
}

/// A frontend message.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// Bind with text parameters and text results.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    frame(b'B', &body)
}

pub fn describe(kind: char, name: &str) -> Vec<u8> {
    frame(b'D', format!("{kind}{name}\0").as_bytes())
}

pub fn close(kind: char, name: &str) -> Vec<u8> {
    frame(b'C', format!("{kind}{name}\0").as_bytes())
}

pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&rows.to_be_bytes());
    frame(b'E', &body)
}

pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

/// Parse, Bind, Execute of the unnamed statement and portal.
pub fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", "", &[]), execute("", 0)].concat()
}

/// A StartupMessage.
pub fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (0x0003_0000_u32 | u32::from(minor)).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend_from_slice(&body);
    out
}

impl Raw {
    /// Logs in with protocol 3.0.
    pub async fn new(running: &Running, user: &str) -> Self {
        Self::with(running, 0, &[("user", user), ("database", running.database())]).await.expect("logs in")
    }

    /// Logs in, or gives the error.
    pub async fn with(running: &Running, minor: u16, parameters: &[(&str, &str)]) -> Result<Self, Message> {
        Self::at(running.port, minor, parameters).await
    }

    /// Logs in wherever this port leads.
    pub async fn at(port: u16, minor: u16, parameters: &[(&str, &str)]) -> Result<Self, Message> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self::over(stream, &startup(minor, parameters)).await
    }

    /// Logs in with what is still to be sent of a StartupMessage.
    pub async fn over(stream: TcpStream, startup: &[u8]) -> Result<Self, Message> {
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, parameters: Vec::new(), key: (0, Vec::new()), negotiated: None };
        raw.send(startup).await;
        raw.log_in().await?;
        Ok(raw)
    }

    async fn log_in(&mut self) -> Result<(), Message> {
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), ChannelBinding::unsupported());
        loop {
            let message = self.next().await.expect("an answer");
            let body = message.body.as_slice();
            match message.tag {
                'R' => match i32::from_be_bytes(body[..4].try_into().unwrap()) {
                    10 => {
                        let mut out = bytes::BytesMut::new();
                        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out).unwrap();
                        self.send(&out).await;
                    }
                    11 => {
                        scram.update(&body[4..]).unwrap();
                        let mut out = bytes::BytesMut::new();
                        frontend::sasl_response(scram.message(), &mut out).unwrap();
                        self.send(&out).await;
                    }
                    12 => scram.finish(&body[4..]).unwrap(),
                    0 => {}
                    other => panic!("authentication {other}"),
                },
                'S' => {
                    let mut parts = body.split(|b| *b == 0).map(text);
                    self.parameters.push((parts.next().unwrap(), parts.next().unwrap()));
                }
                'K' => self.key = (i32::from_be_bytes(body[..4].try_into().unwrap()), body[4..].to_vec()),
                'v' => self.negotiated = Some(body.to_vec()),
                'Z' => return Ok(()),
                'E' => return Err(message),
                other => panic!("{other} while logging in"),
            }
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// The next message; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Message> {
        let read = async {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).await.ok()?;
            let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Message { tag: head[0] as char, body })
        };
        timeout(Duration::from_secs(20), read).await.expect("an answer in time")
    }

    /// Messages up to and with the `n`th ReadyForQuery.
    pub async fn ready(&mut self, n: usize) -> Vec<Message> {
        let mut out = Vec::new();
        let mut left = n;
        while left > 0 {
            let message = self.next().await.unwrap_or_else(|| panic!("closed after {out:?}"));
            left -= usize::from(message.tag == 'Z');
            out.push(message);
        }
        out
    }

    /// Sends and gives the lines up to the `n`th ReadyForQuery.
    pub async fn lines(&mut self, bytes: &[u8], n: usize) -> Vec<String> {
        self.send(bytes).await;
        self.ready(n).await.iter().map(Message::line).collect()
    }

    /// Messages until the connection closes.
    pub async fn rest(&mut self) -> Vec<Message> {
        let mut out = Vec::new();
        while let Some(message) = self.next().await {
            out.push(message);
        }
        out
    }
}
