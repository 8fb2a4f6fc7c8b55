//! Answers of a server, made to be compared.

use crate::raw::{Message, Raw, bind, execute, frame, parse, query, sync};

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Query.
    Simple,
    /// Parse, Describe, Bind, Describe, Execute, Sync; text or binary results.
    Extended { binary: bool },
}

/// Asks and gives everything up to ReadyForQuery.
pub async fn ask(raw: &mut Raw, sql: &str, how: How) -> Vec<Message> {
    let sent = match how {
        How::Simple => query(sql),
        How::Extended { binary } => {
            let bind = if binary { frame(b'B', b"\0\0\0\0\0\0\0\x01\0\x01") } else { bind("", "", &[]) };
            [parse("", sql), frame(b'D', b"S\0"), bind, frame(b'D', b"P\0"), execute("", 0), sync()].concat()
        }
    };
    raw.send(&sent).await;
    raw.ready(1).await
}

/// The rows among the messages.
pub fn rows(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().filter(|m| m.tag == 'D').map(|m| m.body.as_slice()).collect()
}

/// The SQLSTATE of the first error.
pub fn sqlstate(messages: &[Message]) -> Option<String> {
    messages.iter().find(|m| m.tag == 'E').and_then(|m| m.field('C'))
}

/// Names, types, lengths, modifiers and formats of a RowDescription, and with `origins` the tables and columns they come from
/// (PostgreSQL manual, 55.7).
pub fn columns(body: &[u8], origins: bool) -> Vec<String> {
    let n = u16::from_be_bytes([body[0], body[1]]);
    let mut at = 2;
    (0..n)
        .map(|_| {
            let end = at + body[at..].iter().position(|b| *b == 0).unwrap();
            let name = String::from_utf8_lossy(&body[at..end]).into_owned();
            let rest = &body[end + 1..end + 19];
            at = end + 19;
            let i32_at = |i: usize| i32::from_be_bytes(rest[i..i + 4].try_into().unwrap());
            let i16_at = |i: usize| i16::from_be_bytes(rest[i..i + 2].try_into().unwrap());
            let origin = if origins { format!(" from {}.{}", i32_at(0), i16_at(4)) } else { String::new() };
            let (ty, len, modifier, format) = (i32_at(6), i16_at(10), i32_at(12), i16_at(16));
            format!("{name:?} type {ty} len {len} mod {modifier} format {format}{origin}")
        })
        .collect()
}

/// A message as a line for comparing and for reading.
pub fn line(message: &Message, origins: bool) -> String {
    match message.tag {
        'T' => format!("T {}", columns(&message.body, origins).join("; ")),
        'E' | 'N' => {
            let fields = ['S', 'C', 'M', 'D', 'H', 'P', 's', 't', 'c', 'd', 'n'];
            let told: Vec<String> =
                fields.iter().filter_map(|f| message.field(*f).map(|text| format!("{f}={text}"))).collect();
            format!("{} {}", message.tag, told.join(" | "))
        }
        tag => format!("{tag} {}", String::from_utf8_lossy(&message.body).escape_debug()),
    }
}

/// The lines of an answer; unless `ordered`, its rows are sorted.
pub fn lines(messages: &[Message], ordered: bool) -> Vec<String> {
    let mut out: Vec<String> = messages.iter().map(|m| line(m, true)).collect();
    if !ordered {
        sort_runs(&mut out);
    }
    out
}

/// Sorts each run of rows.
fn sort_runs(lines: &mut [String]) {
    let mut at = 0;
    while at < lines.len() {
        let end = at + lines[at..].iter().position(|l| !l.starts_with("D ")).unwrap_or(lines.len() - at);
        lines[at..end].sort();
        at = end + 1;
    }
}
