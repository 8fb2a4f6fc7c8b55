//! A caller's session with both warehouses of a pair, and what comes back from each.

use crate::arena::Pair;
use crate::wire::{Answer, Message, Wire, bind, close, describe_what, execute, parse, query, sync};
use crate::world::connect;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most bytes of an answer that are kept.
const HUGE: usize = 16 << 20;

/// One statement, with values for its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// The text.
    pub sql: String,
    /// Values of `$1…`, as text.
    pub values: Vec<String>,
}

impl Case {
    /// Without parameters.
    pub fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }
}

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Query.
    Simple,
    /// Parse, Describe, Bind with this result format, Describe, Execute.
    Extended(u16),
    /// A named statement, executed more often than the server plans for single values.
    Prepared,
    /// `COPY (statement) TO STDOUT`.
    Copy,
    /// The same with this option list.
    CopyAs(&'static str),
    /// `DECLARE … CURSOR`, `FETCH`.
    Cursor,
    /// A portal run two rows at a time.
    Portal,
    /// `EXPLAIN` with these options.
    Explain(&'static str),
    /// Made a temporary table, which is then read in several ways.
    Scratch,
    /// In a transaction that reads the named table afterwards and is rolled back.
    Writing(&'static str),
}

impl Way {
    /// The frames of a case, and how many ReadyForQuery they are answered with.
    fn frames(self, case: &Case) -> (Vec<u8>, usize) {
        let sql = case.sql.as_str();
        let values: Vec<&str> = case.values.iter().map(String::as_str).collect();
        match self {
            Self::Simple => (query(sql), 1),
            Self::Extended(format) => {
                let described =
                    [describe_what(b'S', ""), bind("", "", &values, format), describe_what(b'P', "")].concat();
                ([parse("", sql, &[]), described, execute("", 0), sync()].concat(), 1)
            }
            Self::Prepared => {
                let once = [bind("", "hunted", &values, 0), execute("", 0), sync()].concat();
                let mut frames = [parse("hunted", sql, &[]), describe_what(b'S', "hunted"), sync()].concat();
                (0..6).for_each(|_| frames.extend(&once));
                frames.extend([close(b'S', "hunted"), sync()].concat());
                (frames, 8)
            }
            Self::Copy => (query(&format!("COPY ({sql}) TO STDOUT")), 1),
            Self::CopyAs(options) => (query(&format!("COPY ({sql}) TO STDOUT ({options})")), 1),
            Self::Cursor => {
                let declare = query(&format!("BEGIN; DECLARE c CURSOR FOR {sql}"));
                ([declare, query("FETCH 3 FROM c"), query("FETCH ALL FROM c"), query("ROLLBACK")].concat(), 4)
            }
            Self::Explain(options) => (query(&format!("EXPLAIN ({options}) {sql}")), 1),
            Self::Scratch => {
                let made = query(&format!("CREATE TEMP TABLE hunted AS {sql}"));
                let read = query("SELECT * FROM hunted");
                let more = query("SELECT count(*), min(h::text), max(h::text) FROM hunted h");
                let analyzed = [query("ANALYZE hunted"), query("EXPLAIN SELECT * FROM hunted")].concat();
                ([made, read, more, analyzed, query("DROP TABLE hunted")].concat(), 6)
            }
            Self::Writing(table) => {
                let read = query(&format!("SELECT * FROM {table} ORDER BY id"));
                ([query("BEGIN"), query(sql), read, query("ROLLBACK")].concat(), 4)
            }
            Self::Portal => {
                let runs = [execute("p", 2), execute("p", 2), execute("p", 0), close(b'P', "p"), sync()].concat();
                let opened = [query("BEGIN"), parse("", sql, &[]), bind("p", "", &values, 0)].concat();
                ([opened, runs, query("ROLLBACK")].concat(), 3)
            }
        }
    }
}

/// What came back.
pub enum Back {
    /// Everything.
    Whole(Answer),
    /// More than is kept.
    Huge,
    /// The connection's end, or silence.
    Lost(String),
}

/// The two connections of one caller.
pub struct Session<'p> {
    /// The pair.
    pub pair: &'p Pair,
    /// The caller.
    pub user: &'static str,
    /// What was set.
    pub settings: &'static [&'static str],
    wires: [Wire; 2],
}

impl<'p> Session<'p> {
    /// Logs in to both and sets the settings.
    pub fn open(pair: &'p Pair, user: &'static str, settings: &'static [&'static str]) -> Self {
        let wires = pair.sides.each_ref().map(|running| connect(running, user));
        let mut session = Self { pair, user, settings, wires };
        session.set();
        session
    }

    fn set(&mut self) {
        for setting in ["SET statement_timeout = 2500"].iter().chain(self.settings) {
            for wire in &mut self.wires {
                assert_eq!(wire.simple(setting).code(), "", "{setting}");
            }
        }
    }

    /// Both answers. A connection that is lost or has too much to say is replaced.
    pub fn say(&mut self, way: Way, case: &Case) -> [Back; 2] {
        let (frames, readies) = way.frames(case);
        self.wires.iter_mut().for_each(|wire| wire.send(&frames));
        let backs = self.wires.each_mut().map(|wire| {
            wire.seen.clear();
            catch_unwind(AssertUnwindSafe(|| read(wire, readies))).unwrap_or_else(|_| Back::Lost("silence".to_owned()))
        });
        if backs.iter().any(|back| !matches!(back, Back::Whole(_))) {
            self.wires = self.pair.sides.each_ref().map(|running| connect(running, self.user));
            self.set();
        }
        backs
    }

    /// Leaves nothing of the last statement behind.
    pub fn tidy(&mut self, case: &Case, backs: &[Back; 2]) {
        let idle = backs.iter().all(|back| match back {
            Back::Whole(answer) => answer.messages.last().is_none_or(|m| m.tag != b'Z' || m.body == b"I"),
            Back::Huge | Back::Lost(_) => true,
        });
        let first = case.sql.trim_start().get(..4).unwrap_or_default().to_ascii_lowercase();
        let reads =
            ["sele", "with", "valu", "tabl", "copy", "expl"].contains(&first.as_str()) && !case.sql.contains(';');
        for wire in &mut self.wires {
            if !idle {
                wire.simple("ROLLBACK");
            }
            if !reads {
                wire.simple("DISCARD ALL");
            }
        }
        if !reads {
            self.set();
        }
    }

    /// The rows of a statement of the hunt's own, from the tame side.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let answer = self.wires[0].simple(sql);
        assert_eq!(answer.message(), "", "{sql}");
        answer.rows()
    }

    /// What tells the connections apart though nothing hidden does: their process ids, given at login.
    pub fn marks(&self) -> [String; 2] {
        self.wires.each_ref().map(|wire| i32::from_be_bytes(wire.key[..4].try_into().unwrap()).to_string())
    }
}

fn read(wire: &mut Wire, readies: usize) -> Back {
    let (mut messages, mut left, mut size) = (Vec::<Message>::new(), readies, 0);
    while left > 0 {
        let Some(message) = wire.next() else {
            let last = messages.iter().rfind(|m| m.tag == b'E').and_then(|m| m.field(b'M'));
            return Back::Lost(last.unwrap_or_else(|| "the connection ended without a word".to_owned()));
        };
        left -= usize::from(message.tag == b'Z');
        size += message.body.len() + 64;
        wire.seen.clear();
        if size > HUGE {
            return Back::Huge;
        }
        messages.push(message);
    }
    Back::Whole(Answer { messages })
}
