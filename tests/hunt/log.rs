//! What a warehouse logs, read while it grows and removed when read: every statement of the proxy's relay logins must have been sealed.
//!
//! The server logs as JSON (PostgreSQL manual, 20.8.5), each statement when it is parsed, bound and executed, and the statement of each
//! error. Sessions of the catalog reader are told by the name they log in with.

use crate::support::PrivatePostgres;
use crate::watch;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Settings of a server whose log can be read here.
pub const SETTINGS: &[(&str, &str)] = &[
    ("logging_collector", "on"),
    ("log_destination", "jsonlog"),
    ("log_directory", "statements"),
    ("log_filename", "%Y%m%d-%H%M%S.log"),
    ("log_rotation_size", "32MB"),
    ("log_min_error_statement", "error"),
];

/// What a relay login gets, so that everything it sends is logged.
pub fn logged(login: &str) -> String {
    format!("ALTER ROLE {login} SET log_statement = 'all'; ALTER ROLE {login} SET log_min_duration_statement = 0")
}

/// The message that marks the end.
const END: &str = "leak-hunt: the log ends here";

/// SQL, for the superuser, that puts the mark.
pub const MARK: &str = "DO $$ BEGIN RAISE LOG 'leak-hunt: the log ends here'; END $$";

/// What was found in a log.
#[derive(Debug, Default)]
pub struct Found {
    /// Statements of relay logins.
    pub statements: usize,
    /// Bytes read.
    pub bytes: u64,
    /// The first of those that nothing sealed.
    pub unsealed: Vec<String>,
    /// How many such.
    pub unsealed_count: usize,
    ended: bool,
}

/// A server's log.
pub struct Log {
    folder: PathBuf,
    found: Mutex<(Found, Reading)>,
}

#[derive(Default)]
struct Reading {
    file: Option<(PathBuf, File)>,
    rest: Vec<u8>,
    /// Whether a session is one of the relay leg, by its id.
    relay: HashMap<String, bool>,
}

impl Log {
    /// The log of a server started with [`SETTINGS`].
    pub fn of(server: &PrivatePostgres) -> Self {
        Self { folder: server.socket_folder().join("data/statements"), found: Mutex::default() }
    }

    /// Reads what has come.
    pub fn read(&self) {
        let mut held = self.found.lock().unwrap();
        let (found, reading) = &mut *held;
        while reading.step(&self.folder, found) {}
    }

    /// Reads up to the mark, which the superuser has put; gives what was found in all.
    pub fn finish(self) -> Found {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.read();
            if self.found.lock().unwrap().0.ended {
                return self.found.into_inner().unwrap().0;
            }
            assert!(Instant::now() < deadline, "the end of the warehouse's log does not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Reading {
    /// Reads a piece; false when there is nothing more now.
    fn step(&mut self, folder: &PathBuf, found: &mut Found) -> bool {
        let Some((path, file)) = &mut self.file else {
            let Some(next) = files(folder).into_iter().next() else { return false };
            let file = File::open(&next).expect("a log file");
            self.file = Some((next, file));
            return true;
        };
        let mut piece = vec![0; 1 << 20];
        let at = file.stream_position().unwrap();
        let read = file.read(&mut piece).expect("a piece of log");
        if read == 0 {
            // A file that is followed by another has ended.
            let later = files(folder).into_iter().any(|other| other > *path);
            if later && fs::metadata(&*path).is_ok_and(|m| m.len() == at) {
                let _ = fs::remove_file(&*path);
                self.file = None;
                return true;
            }
            file.seek(SeekFrom::Start(at)).unwrap();
            return false;
        }
        found.bytes += read as u64;
        self.rest.extend_from_slice(&piece[..read]);
        let whole = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let later = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, later);
        lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()).for_each(|line| self.line(line, found));
        true
    }

    fn line(&mut self, line: &[u8], found: &mut Found) {
        let Ok(Value::Object(record)) = serde_json::from_slice(line) else {
            found.unsealed_count += 1;
            found.unsealed.push(format!("a line that is no record: {}", line.escape_ascii()));
            return;
        };
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = text("message");
        found.ended |= message == END;
        if !text("user").starts_with("service_") {
            return;
        }
        let named = || text("application_name") != "sqlveil catalog";
        let relay = *self.relay.entry(text("session_id").to_owned()).or_insert_with(named);
        if !relay {
            return;
        }
        // Errors have words of their own, and may begin like anything.
        let told = if text("error_severity") == "LOG" { statement(message) } else { None };
        for candidates in [told, (!text("statement").is_empty()).then(|| vec![text("statement")])] {
            let Some(candidates) = candidates else { continue };
            found.statements += 1;
            if !candidates.iter().any(|text| watch::is_sealed(text)) {
                found.unsealed_count += 1;
                if found.unsealed.len() < 100 {
                    found.unsealed.push(candidates.first().map_or(message, |c| c).to_owned());
                }
            }
        }
    }
}

/// The statement that a message is about, if any. Names of prepared statements and portals are the callers' and may hold anything, so the
/// text may begin behind any colon.
fn statement(message: &str) -> Option<Vec<&str>> {
    let message = match message.strip_prefix("duration: ") {
        Some(rest) => rest.split_once(" ms").map_or("", |(_, rest)| rest.trim_start()),
        None => message,
    };
    if let Some(text) = message.strip_prefix("statement: ") {
        return Some(vec![text]);
    }
    let named = ["parse ", "bind ", "execute "].iter().any(|word| message.starts_with(word));
    named.then(|| message.match_indices(": ").map(|(at, _)| &message[at + 2..]).collect())
}

fn files(folder: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().map(|e| e.path()).collect::<Vec<_>>());
    let mut files: Vec<PathBuf> = entries.unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
}
