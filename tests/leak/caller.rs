//! A caller who asks in every way at once, and looks at every byte that comes back.

use crate::support::Running;
use crate::wire::{Answer, Wire, bind, describe_what, execute, parse, sync};
use crate::world::{MAX, connect, direct, world};

/// What no client may ever receive: the view's own names, what only a rewritten statement holds.
const OURS: &[&str] = &["_sv", "sha256", "OFFSET '0'", "service_stage"];

/// A caller's session.
pub struct Caller {
    pub wire: Wire,
    running: &'static Running,
    exempt: bool,
}

impl Caller {
    /// In the shared world.
    pub fn new(user: &str) -> Self {
        Self::of(world(), user)
    }

    /// In a world of the test's own.
    pub fn of(running: &'static Running, user: &str) -> Self {
        Self { wire: connect(running, user), running, exempt: user == MAX }
    }

    /// Asks in simple protocol, and in extended protocol with text and with binary results. All must say the same; the simple answer is
    /// given back.
    pub fn ask(&mut self, sql: &str) -> Answer {
        let simple = self.wire.simple(sql);
        let text = self.extended(sql, &[], 0);
        let binary = self.extended(sql, &[], 1);
        let ends = |a: &Answer| (a.code(), a.message(), a.tags());
        assert_eq!(ends(&simple), ends(&text), "{sql}");
        assert_eq!(ends(&simple), ends(&binary), "{sql}");
        assert_eq!(simple.sorted(), text.sorted(), "{sql}");
        assert_eq!(simple.rows().len(), binary.rows().len(), "{sql}");
        if simple.error().is_none() {
            assert_eq!(simple.columns(), text.columns(), "{sql}");
            assert_eq!(simple.columns(), binary.columns(), "{sql}");
        }
        self.look(sql);
        simple
    }

    /// Extended protocol, everything unnamed and undeclared, with a look at the bytes.
    pub fn extended(&mut self, sql: &str, values: &[&str], format: u16) -> Answer {
        let answer = self.wire.extended(sql, values, format);
        self.look(sql);
        answer
    }

    /// Simple protocol alone, for statements that change the session.
    pub fn simple(&mut self, sql: &str) -> Answer {
        let answer = self.wire.simple(sql);
        self.look(sql);
        answer
    }

    /// Frames with so many Sync and Query messages among them.
    pub fn frames(&mut self, frames: &[u8], readies: usize) -> Answer {
        self.wire.send(frames);
        let answer = self.wire.until_ready(readies);
        self.look("frames");
        answer
    }

    /// Nothing hidden, and nothing of ours, in what was received.
    pub fn look(&mut self, sql: &str) {
        for word in OURS.iter().chain((!self.exempt).then_some(&"SECRET")) {
            let found = self.wire.seen.windows(word.len()).position(|w| w == word.as_bytes());
            // An error may quote the caller's own words.
            if let Some(at) = found.filter(|_| !sql.contains(word)) {
                let around = &self.wire.seen[at.saturating_sub(80)..(at + 80).min(self.wire.seen.len())];
                panic!("{word} came back for {sql}: {}", around.escape_ascii());
            }
        }
        self.wire.seen.clear();
    }

    /// The rows of a statement that must be answered.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let answer = self.ask(sql);
        assert_eq!(answer.message(), "", "{sql}");
        answer.sorted()
    }

    /// The only cell of the only row.
    pub fn cell(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}");
        rows.into_iter().next().unwrap()
    }

    /// The SQLSTATE of a statement that must be refused or fail.
    pub fn code(&mut self, sql: &str) -> String {
        let code = self.ask(sql).code();
        assert_ne!(code, "", "{sql} was answered");
        code
    }

    /// The caller is told the same names, types, lengths and modifiers as on the bare server.
    pub fn described_as_unmasked(&mut self, sql: &str) {
        let mut bare = direct(self.running);
        let (here, there) = (self.ask(sql).columns(), bare.simple(sql).columns());
        assert!(!there.is_empty(), "{sql}");
        assert_eq!(here, there, "{sql}");
        let describe = [parse("", sql, &[]), describe_what(b'S', ""), sync()].concat();
        assert_eq!(self.wire.ask(&describe).columns(), bare.ask(&describe).columns(), "{sql}");
    }
}

/// Parse, and a portal that is run whole.
pub fn run(name: &str, values: &[&str]) -> Vec<u8> {
    [bind("", name, values, 0), execute("", 0), sync()].concat()
}
