//! A client that speaks in frames, to the proxy and to the bare server alike, and keeps every byte that came back.
//!
//! Blocking on purpose: the proxy runs on its own threads, and a test reads as what happens in order.

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A message from the server's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// The text of a field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, kind: u8) -> Option<String> {
        self.fields().into_iter().find(|f| f.0 == kind).map(|f| f.1)
    }

    /// Every field of an ErrorResponse or NoticeResponse.
    pub fn fields(&self) -> Vec<(u8, String)> {
        self.body
            .split(|b| *b == 0)
            .filter_map(|f| f.split_first())
            .map(|(kind, text)| (*kind, String::from_utf8_lossy(text).into_owned()))
            .collect()
    }
}

/// A column as RowDescription tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub type_len: i16,
    pub typmod: i32,
}

/// Everything that came back for something asked, up to ReadyForQuery.
#[derive(Debug, Clone)]
pub struct Answer {
    pub messages: Vec<Message>,
}

impl Answer {
    fn of(&self, tag: u8) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |m| m.tag == tag)
    }

    /// Rows as text, cells joined by `|`, NULL as `∅`.
    pub fn rows(&self) -> Vec<String> {
        self.of(b'D').map(|m| cells(&m.body).join("|")).collect()
    }

    /// Rows, sorted: for answers without an order of their own.
    pub fn sorted(&self) -> Vec<String> {
        let mut rows = self.rows();
        rows.sort();
        rows
    }

    /// The columns of the first RowDescription.
    pub fn columns(&self) -> Vec<Column> {
        self.of(b'T').next().map(|m| describe(&m.body)).unwrap_or_default()
    }

    /// Command tags, in order.
    pub fn tags(&self) -> Vec<String> {
        self.of(b'C').map(|m| String::from_utf8_lossy(&m.body[..m.body.len() - 1]).into_owned()).collect()
    }

    /// The first error.
    pub fn error(&self) -> Option<&Message> {
        self.of(b'E').next()
    }

    /// SQLSTATE of the first error; empty when there is none.
    pub fn code(&self) -> String {
        self.error().and_then(|e| e.field(b'C')).unwrap_or_default()
    }

    /// Message of the first error.
    pub fn message(&self) -> String {
        self.error().and_then(|e| e.field(b'M')).unwrap_or_default()
    }

    /// What COPY sent.
    pub fn copied(&self) -> Vec<u8> {
        self.of(b'd').flat_map(|m| m.body.clone()).collect()
    }

    /// One line for each message, for comparing and for people.
    pub fn lines(&self) -> Vec<String> {
        self.messages.iter().map(line).collect()
    }
}

fn line(m: &Message) -> String {
    let mut out = String::from(m.tag as char);
    match m.tag {
        b'E' | b'N' => {
            for (kind, text) in m.fields() {
                write!(out, " {}={text}", kind as char).unwrap();
            }
        }
        b'D' => write!(out, " {}", cells(&m.body).join("|")).unwrap(),
        b'T' => {
            for c in describe_whole(&m.body) {
                write!(out, " {c}").unwrap();
            }
        }
        _ => write!(out, " {}", m.body.escape_ascii()).unwrap(),
    }
    out
}

fn cells(body: &[u8]) -> Vec<String> {
    let mut at = 2;
    (0..u16::from_be_bytes([body[0], body[1]]))
        .map(|_| {
            let len = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            at += 4;
            let Ok(len) = usize::try_from(len) else { return "∅".to_owned() };
            at += len;
            let cell = &body[at - len..at];
            match std::str::from_utf8(cell) {
                Ok(text) if !text.contains('\0') => text.to_owned(),
                _ => cell.escape_ascii().to_string(),
            }
        })
        .collect()
}

fn describe(body: &[u8]) -> Vec<Column> {
    let mut rest = &body[2..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == 0).unwrap();
        let f = &rest[end + 1..];
        out.push(Column {
            name: String::from_utf8_lossy(&rest[..end]).into_owned(),
            type_oid: u32::from_be_bytes(f[6..10].try_into().unwrap()),
            type_len: i16::from_be_bytes(f[10..12].try_into().unwrap()),
            typmod: i32::from_be_bytes(f[12..16].try_into().unwrap()),
        });
        rest = &f[18..];
    }
    out
}

fn describe_whole(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == 0).unwrap();
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        out.push(format!("{name}:{}", rest[end + 1..end + 19].escape_ascii()));
        rest = &rest[end + 19..];
    }
    out
}

/// A frontend message.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// Parse, with declared parameter types (0 = not declared).
pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0"].concat();
    body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
    types.iter().for_each(|t| body.extend(t.to_be_bytes()));
    frame(b'P', &body)
}

/// Bind with text parameters and one format for all results (0 text, 1 binary).
pub fn bind(portal: &str, statement: &str, values: &[&str], format: u16) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0, 0]].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend(1u16.to_be_bytes());
    body.extend(format.to_be_bytes());
    frame(b'B', &body)
}

/// Describe a statement (`S`) or portal (`P`).
pub fn describe_what(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &limit.to_be_bytes()].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    frame(b'H', &[])
}

/// A StartupMessage of protocol 3.0.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    let mut out = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// Where to connect and as whom.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub port: u16,
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
}

/// A connection.
pub struct Wire {
    pub socket: TcpStream,
    unread: Vec<u8>,
    /// Every byte received.
    pub seen: Vec<u8>,
    /// BackendKeyData.
    pub key: Vec<u8>,
}

impl Wire {
    /// A socket on which nothing was said.
    pub fn open(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, unread: Vec::new(), seen: Vec::new(), key: Vec::new() }
    }

    /// Logs in; the server's last word if it does not let us.
    pub fn login(login: Login<'_>, further: &[(&str, &str)]) -> Result<Self, Message> {
        let mut wire = Self::open(login.port);
        let mut parameters = vec![("user", login.user), ("database", login.database)];
        parameters.extend(further);
        wire.send(&startup(&parameters));
        wire.authenticate(login.password)?;
        Ok(wire)
    }

    fn authenticate(&mut self, password: &str) -> Result<(), Message> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let message = self.next().expect("the server does not hang up silently");
            let kind = message.body.get(..4).map(|b| u32::from_be_bytes(b.try_into().unwrap()));
            match (message.tag, kind) {
                (b'R', Some(10)) => {
                    let data = scram.message();
                    let mut body = [SCRAM_SHA_256.as_bytes(), b"\0"].concat();
                    body.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
                    body.extend(data);
                    self.send(&frame(b'p', &body));
                }
                (b'R', Some(11)) => {
                    scram.update(&message.body[4..]).unwrap();
                    let answer = frame(b'p', scram.message());
                    self.send(&answer);
                }
                (b'R', Some(12)) => scram.finish(&message.body[4..]).unwrap(),
                (b'K', _) => self.key = message.body,
                (b'E', _) => return Err(message),
                (b'Z', _) => return Ok(()),
                _ => {}
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // A server that has hung up is noticed when reading.
        let _ = self.socket.write_all(bytes);
    }

    /// The next message; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            if self.unread.len() >= 5 {
                let len = u32::from_be_bytes(self.unread[1..5].try_into().unwrap()) as usize + 1;
                if self.unread.len() >= len {
                    let whole: Vec<u8> = self.unread.drain(..len).collect();
                    return Some(Message { tag: whole[0], body: whole[5..].to_vec() });
                }
            }
            let mut chunk = [0; 16384];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => {
                    self.seen.extend(&chunk[..n]);
                    self.unread.extend(&chunk[..n]);
                }
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    panic!("nothing came within a minute")
                }
                Err(_) => return None,
            }
        }
    }

    /// Everything up to the n-th ReadyForQuery, or the end of the connection.
    pub fn until_ready(&mut self, n: usize) -> Answer {
        let mut messages = Vec::new();
        let mut left = n;
        while left > 0 {
            let Some(message) = self.next() else { break };
            left -= usize::from(message.tag == b'Z');
            messages.push(message);
        }
        Answer { messages }
    }

    /// Sends, and reads up to ReadyForQuery.
    pub fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        self.until_ready(1)
    }

    /// Simple protocol.
    pub fn simple(&mut self, sql: &str) -> Answer {
        self.ask(&query(sql))
    }

    /// Extended protocol, everything unnamed, parameters as text and undeclared.
    pub fn extended(&mut self, sql: &str, values: &[&str], format: u16) -> Answer {
        self.ask(
            &[parse("", sql, &[]), bind("", "", values, format), describe_what(b'P', ""), execute("", 0), sync()]
                .concat(),
        )
    }

    /// Everything left until the server hangs up.
    pub fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
