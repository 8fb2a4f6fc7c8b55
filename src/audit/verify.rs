//! Proves that nothing of a trail is missing or changed.
//!
//! In: the folder, and the key of its seals when there is one. Out: a [`Report`]: every chain, where it begins and how it ends, and every
//! place where what is there is not what was written. Must never: take for whole what was not read to its end.

use super::journal::{ALIVE, seal};
use super::line::{Hash, Head, Line, next, read_hex};
use super::segments::{self, Segment};
use crate::config::Secret;
use crate::types::hex;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// What a trail is like.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Every chain, in the order they began.
    pub chains: Vec<Chain>,
    /// What is missing or changed, and where.
    pub problems: Vec<String>,
    /// What somebody should know who relies on it.
    pub notes: Vec<String>,
}

/// One run of a proxy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Its name.
    pub chain: String,
    /// Its files.
    pub files: usize,
    /// Number of the first record that is there.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// Its hash: who wrote it down knows later whether the end was cut off.
    pub last_hash: String,
    /// Times of both.
    pub from: String,
    /// Time of the last.
    pub to: String,
    /// How it ends.
    pub end: End,
    /// Seals that hold.
    pub seals: usize,
    /// Number of the last record that a seal vouches for.
    pub sealed: u64,
    #[serde(skip)]
    last_seal: Option<jiff::Timestamp>,
}

/// How a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum End {
    /// Its proxy stopped.
    Stopped,
    /// Its proxy is writing it.
    Open,
    /// Its proxy ended without a word: what it had not written yet is missing.
    #[serde(rename_all = "camelCase")]
    Cut {
        /// The last file.
        file: String,
        /// Bytes of its whole lines.
        offset: u64,
        /// Bytes of half a line behind them.
        bytes: u64,
    },
}

impl Report {
    /// Whether everything is as it was written; what a killed proxy had not written yet was not.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the last chain ends as nobody stopped it, and nothing behind it says that it was there.
    pub fn is_cut(&self) -> bool {
        matches!(self.chains.last(), Some(Chain { end: End::Cut { .. }, .. }))
    }
}

/// What a chain says of another.
struct Said {
    by: String,
    /// Number of the record that says it.
    at: u64,
    chain: String,
    seq: u64,
    hash: Option<Hash>,
    ended: String,
    /// The file was removed because it was old.
    file: Option<String>,
}

struct Reading<'k> {
    key: Option<&'k Secret>,
    report: Report,
    said: Vec<Said>,
    /// Hashes of lines that others may name, by chain: the last of each file.
    ends: BTreeMap<(String, u64), Hash>,
    unchecked: usize,
}

/// Reads a whole trail.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(folder: &Path, key: Option<&Secret>) -> io::Result<Report> {
    let mut reading = Reading { key, report: Report::default(), said: Vec::new(), ends: BTreeMap::new(), unchecked: 0 };
    let segments = segments::list(folder)?;
    for chain in segments.chunk_by(|one, other| one.chain == other.chain) {
        reading.chain(chain)?;
    }
    reading.told();
    let (mut report, unchecked) = (reading.report, reading.unchecked);
    if report.chains.is_empty() {
        report.problems.push(format!("there is no trail in {}", folder.display()));
    }
    if unchecked > 0 {
        report.notes.push(format!("{unchecked} seals were not checked: name the configuration with --config"));
    }
    Ok(report)
}

/// The key that the seals of a configuration are made with.
pub fn key(secret: &Secret) -> Secret {
    super::journal::seal_key(secret)
}

/// Whether the last seal of a file holds, and everything behind it is tied to it.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn holds(segment: &Segment, key: &Secret) -> io::Result<bool> {
    let (mut head, mut sealed, mut half) = (None::<Hash>, false, false);
    for line in BufReader::with_capacity(1 << 20, File::open(&segment.path)?).split(b'\n') {
        let line = line?;
        // Half a line may be the last.
        if half {
            return Ok(false);
        }
        let Some(read) = Line::of(&line) else {
            half = true;
            continue;
        };
        if let Some(before) = head {
            if next(&before, read.hashed) != read.hash {
                return Ok(false);
            }
            // The kind stands behind number and time.
            let begin = read.hashed.get(..read.hashed.len().min(120)).unwrap_or_default();
            let is = |kind: &[u8]| begin.windows(kind.len()).any(|part| part == kind);
            if is(b"\"kind\":\"seal\"") || is(b"\"kind\":\"stop\"") {
                let record: Value = serde_json::from_slice(&line).unwrap_or_default();
                if !subtle_eq(&seal(key, &before), record.get("mac").and_then(Value::as_str).unwrap_or_default()) {
                    return Ok(false);
                }
                sealed = true;
            }
        }
        head = Some(read.hash);
    }
    Ok(sealed)
}

impl Reading<'_> {
    fn problem(&mut self, segment: &Segment, line: u64, what: impl std::fmt::Display) {
        self.report.problems.push(format!("{}:{line}: {what}", segment.name()));
    }

    fn chain(&mut self, segments: &[Segment]) -> io::Result<()> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(()) };
        let open = last.is_open()?;
        let mut found = Chain {
            chain: first.chain.clone(),
            files: segments.len(),
            first: 0,
            last: 0,
            last_hash: String::new(),
            from: String::new(),
            to: String::new(),
            end: if open { End::Open } else { End::Cut { file: last.name(), offset: 0, bytes: 0 } },
            seals: 0,
            sealed: 0,
            last_seal: None,
        };
        let mut head = None;
        let mut number = first.number;
        for segment in segments {
            if segment.number != number {
                let what = format!("{} files before this one are missing", segment.number.saturating_sub(number));
                self.problem(segment, 1, what);
                head = None;
            }
            number = segment.number + 1;
            self.segment(segment, segment == last, &mut head, &mut found)?;
            if let Some(head) = head {
                self.ends.insert((segment.chain.clone(), head.seq), head.hash);
            }
        }
        if let Some(head) = head {
            (found.last, found.last_hash) = (head.seq, hex(head.hash));
        }
        self.vouched(&mut found, last);
        if first.number > 1 {
            let before = first.number - 1;
            self.report.notes.push(format!("chain {}: the first {before} files are not here", found.chain));
        }
        self.report.chains.push(found);
        Ok(())
    }

    /// What no seal vouches for, anybody may have written.
    fn vouched(&mut self, chain: &mut Chain, last: &Segment) {
        if self.key.is_none() {
            return;
        }
        if chain.seals == 0 {
            self.problem(last, 1, "no seal of the chain holds: somebody wrote it who does not know the master secret");
            return;
        }
        let behind = chain.last.saturating_sub(chain.sealed);
        // Whoever writes a chain seals it, also when there is nothing to add.
        let now = jiff::Timestamp::now();
        let silent = chain.last_seal.is_none_or(|at| now.duration_since(at).unsigned_abs() > 5 * ALIVE);
        if chain.end == End::Open && silent {
            let note = "the file is locked, but was not sealed for minutes: whoever holds it does not write it";
            self.report.notes.push(format!("chain {}: {note}", chain.chain));
            chain.end = End::Cut { file: last.name(), offset: 0, bytes: 0 };
        }
        if behind > 0 && chain.end != End::Open {
            let note = format!("no seal vouches for the last {behind} records, written within about a second");
            self.report.notes.push(format!("chain {}: {note}", chain.chain));
        }
    }

    /// One file. `head` is where the chain is, `None` at its first line here.
    fn segment(&mut self, segment: &Segment, last: bool, head: &mut Option<Head>, chain: &mut Chain) -> io::Result<()> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&segment.path)?);
        let (mut line, mut number, mut offset) = (Vec::new(), 0u64, 0u64);
        let mut stopped = false;
        loop {
            line.clear();
            let bytes = u64::try_from(file.read_until(b'\n', &mut line)?).unwrap_or_default();
            if bytes == 0 {
                break;
            }
            number += 1;
            let Some(whole) = line.strip_suffix(b"\n") else {
                match &mut chain.end {
                    // It is just being written.
                    End::Open if last => {}
                    End::Cut { bytes: cut, .. } if last => *cut = bytes,
                    _ => self.problem(segment, number, "half a line"),
                }
                break;
            };
            offset += bytes;
            if stopped {
                self.problem(segment, number, "a record behind the end of the chain");
            }
            stopped = self.line(segment, number, whole, head, chain);
        }
        if number == 0 && !(last && chain.end == End::Open) {
            self.problem(segment, 1, "the file is empty");
        }
        if last {
            match &mut chain.end {
                end if stopped => *end = End::Stopped,
                End::Cut { offset: at, .. } => *at = offset,
                End::Open | End::Stopped => {}
            }
        } else if stopped {
            self.problem(segment, number, "a file behind the end of the chain");
        }
        Ok(())
    }

    /// One line; whether it ends the chain.
    fn line(&mut self, at: &Segment, number: u64, bytes: &[u8], head: &mut Option<Head>, chain: &mut Chain) -> bool {
        let record: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let (Some(line), true) = (Line::of(bytes), record.is_object()) else {
            self.problem(at, number, "not a record of the trail: it was changed");
            // Where the chain goes on is told by the next line.
            *head = None;
            return false;
        };
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = text("kind");
        let before = match *head {
            Some(head) => {
                if line.seq != head.seq + 1 {
                    let what = match line.seq.checked_sub(head.seq + 1) {
                        Some(missing) => format!("{missing} records are missing between {} and {}", head.seq, line.seq),
                        None => format!("record {} stands behind record {}", line.seq, head.seq),
                    };
                    self.problem(at, number, what);
                }
                Some(head.hash)
            }
            None if kind == "start" && line.seq == 1 => Some(super::line::NOTHING),
            None if kind == "continue" => read_hex(text("previous").as_bytes()),
            None => None,
        };
        let begins = number == 1;
        if begins != matches!(kind, "start" | "continue") || (begins && text("chain") != at.chain) {
            self.problem(at, number, "the file does not begin as a file of its chain does");
        }
        match before {
            Some(before) if next(&before, line.hashed) == line.hash => {}
            Some(_) => self.problem(at, number, format!("record {} was changed, or what stood before it", line.seq)),
            None if number > 1 => {}
            None => self.problem(at, number, "what stood before this record is not known"),
        }
        if let ("seal" | "stop", Some(before)) = (kind, before) {
            match self.key {
                None => self.unchecked += 1,
                Some(key) if subtle_eq(&seal(key, &before), text("mac")) => {
                    chain.seals += 1;
                    chain.sealed = line.seq;
                    chain.last_seal = text("time").parse().ok();
                }
                Some(_) => {
                    let what = "the seal does not hold: the chain was written anew, or under another master secret";
                    self.problem(at, number, what);
                }
            }
        }
        if chain.first == 0 {
            (chain.first, chain.from) = (line.seq, text("time").to_owned());
        }
        text("time").clone_into(&mut chain.to);
        self.listen(&chain.chain, line.seq, kind, &record);
        *head = Some(Head { seq: line.seq, hash: line.hash });
        kind == "stop"
    }

    /// What a record says of other chains.
    fn listen(&mut self, by: &str, at: u64, kind: &str, record: &Value) {
        let of = match kind {
            "start" => record.get("follows"),
            "expired" => Some(record),
            _ => None,
        };
        let Some(of) = of else { return };
        let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
        let hash = if kind == "start" { text("hash") } else { text("lastHash") };
        self.said.push(Said {
            by: by.to_owned(),
            at,
            chain: text("chain").to_owned(),
            seq: of.get("seq").and_then(Value::as_u64).unwrap_or_default(),
            hash: read_hex(hash.as_bytes()),
            ended: text("ended").to_owned(),
            file: (kind == "expired").then(|| text("file").to_owned()),
        });
    }

    /// Holds what chains say of each other against what is there.
    fn told(&mut self) {
        if self.key.is_some() {
            let sealed: BTreeMap<&str, u64> = self.report.chains.iter().map(|c| (c.chain.as_str(), c.sealed)).collect();
            self.said.retain(|said| sealed.get(said.by.as_str()).is_some_and(|sealed| *sealed > said.at));
        }
        let expired: Vec<(&str, u64)> =
            self.said.iter().filter(|s| s.file.is_some()).map(|s| (s.chain.as_str(), s.seq)).collect();
        let mut problems = Vec::new();
        for chain in &self.report.chains {
            let gone = chain.first > 1;
            if gone && !expired.contains(&(chain.chain.as_str(), chain.first - 1)) {
                let what = format!("chain {}: the records before {} are missing", chain.chain, chain.first);
                problems.push(format!("{what}, and no record says that they were old"));
            }
        }
        for said in self.said.iter().filter(|said| said.file.is_none()) {
            let there = self.report.chains.iter().find(|chain| chain.chain == said.chain);
            let old = || expired.iter().any(|(chain, seq)| *chain == said.chain && *seq >= said.seq);
            let known = self.ends.get(&(said.chain.clone(), said.seq)).copied();
            let problem = match there {
                None if old() => None,
                None => Some(format!("chain {} followed chain {}, which is missing", said.by, said.chain)),
                // It went on since.
                Some(_) if said.ended == "open" => None,
                Some(chain) if chain.last == said.seq && known == said.hash => None,
                Some(chain) => Some(format!(
                    "chain {}: ends with record {}; when chain {} began it ended with record {}",
                    said.chain, chain.last, said.by, said.seq
                )),
            };
            problems.extend(problem);
        }
        self.report.problems.append(&mut problems);
    }
}

fn subtle_eq(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
