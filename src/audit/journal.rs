//! The thread that writes the trail: it ties records together, seals them, begins new segments, and lets go of old ones.
//!
//! In: records as [`Kept`] has them. Out: lines in segments. A chain begins with a record `start`, which says where the chain before ended, and
//! ends with `stop`; each further segment begins with `continue`. `seal` and `stop` carry an HMAC (RFC 2104) of the hash before them under a key
//! derived from the master secret, so that nobody without it can write the chain anew. Must never: write half a line and go on behind it, or
//! remove what a sink has not been given.

use super::follow;
use super::line::{Hash, Head, Line};
use super::members::Members;
use super::segments::{self, Segment, chain_name};
use super::trail::{Kept, PATIENCE};
use crate::config::Secret;
use crate::config::audit::Audit;
use crate::types::hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long records are gathered before they are written together: long enough that waking and writing are no matter, short enough that a proxy
/// that is killed takes few with it.
const GATHER: Duration = Duration::from_millis(10);
/// How long a folder that cannot be written is left alone.
const RETRY: Duration = Duration::from_millis(200);
/// How long what was written is not sealed and not handed to the disk at most.
const SYNC: Duration = Duration::from_secs(1);
/// How often a chain is sealed to which nothing is added: a sign of life.
pub(super) const ALIVE: Duration = Duration::from_secs(60);
/// How often old segments are looked for.
const EXPIRE: Duration = Duration::from_secs(600);
/// How much of the end of a segment is read to find its last line: more than any record has.
const END: u64 = 16 << 20;

/// What the key of seals is derived for.
const LABEL: &str = "audit seal";

/// The version of what records hold.
const VERSION: u32 = 1;

/// The chain being written.
pub(super) struct Journal {
    folder: PathBuf,
    chain: String,
    number: u64,
    file: File,
    /// Bytes of whole lines in the file.
    good: u64,
    head: Head,
    key: Secret,
    /// Lines that are not in the file yet.
    out: Vec<u8>,
    /// Records among them, and what they took in memory.
    waiting: (u64, usize),
    rotate_bytes: u64,
    /// Bytes at which the next file begins.
    full_at: u64,
    rotate_age: Duration,
    keep: Option<Duration>,
    sinks: Vec<&'static str>,
    began: Instant,
    sealed: Instant,
    expired: Instant,
    /// Lines behind the last seal.
    unsealed: bool,
    /// Since when bytes are written that the disk may not have.
    unsynced: Option<Instant>,
    /// The disk is being waited for, by a thread beside.
    syncing: Arc<AtomicBool>,
}

/// The HMAC of a seal over the hash before it.
pub(super) fn seal(key: &Secret, before: &Hash) -> String {
    // Any length of key is accepted.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else { return String::new() };
    mac.update(before);
    hex(mac.finalize().into_bytes())
}

/// The key of seals.
pub(super) fn seal_key(secret: &Secret) -> Secret {
    secret.derive(LABEL)
}

/// How a chain ends that nobody writes any more, or that another proxy is still writing.
struct Before {
    segment: Segment,
    head: Head,
    ended: &'static str,
    /// Bytes behind the last whole line.
    cut: u64,
}

/// The last whole line of a file and the bytes behind it.
fn last_line(path: &Path) -> io::Result<(Option<Vec<u8>>, u64)> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(END);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    let Some(whole) = end.and_then(|end| bytes.get(..end)) else { return Ok((None, length)) };
    let cut = bytes.len() - whole.len() - 1;
    let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((whole.get(begin..).map(<[u8]>::to_vec), u64::try_from(cut).unwrap_or_default()))
}

/// How the newest chain of a folder ended.
fn before(folder: &Path, key: &Secret) -> io::Result<Option<Before>> {
    for segment in segments::list(folder)?.into_iter().rev() {
        let open = segment.is_open()?;
        let (line, cut) = last_line(&segment.path)?;
        let Some(line) = line else { continue };
        let Some(read) = Line::of(&line) else {
            let ended = "broken";
            return Ok(Some(Before { segment, head: Head::default(), ended, cut }));
        };
        let stopped = read.hashed.windows(13).any(|w| w == b"\"kind\":\"stop\"");
        let ended = match (open, stopped) {
            (true, _) => "open",
            // What this run says of it, it vouches for from now on.
            (false, _) if !super::verify::holds(&segment, key)? => "broken",
            (false, true) => "stopped",
            (false, false) => "cut",
        };
        return Ok(Some(Before { segment, head: Head { seq: read.seq, hash: read.hash }, ended, cut }));
    }
    Ok(None)
}

impl Journal {
    /// Begins a chain.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written.
    pub fn open(settings: &Audit, secret: &Secret, now: SystemTime) -> io::Result<Self> {
        fs::create_dir_all(&settings.folder)?;
        let key = seal_key(secret);
        let before = before(&settings.folder, &key)?;
        let last = segments::list(&settings.folder)?.pop();
        let chain = chain_name(now, last.as_ref().map(|segment| segment.chain.as_str()));
        let segment = Segment::of(&settings.folder, &chain, 1);
        let file = segment.create()?;
        let past = Instant::now();
        let mut journal = Self {
            folder: settings.folder.clone(),
            chain,
            number: 1,
            file,
            good: 0,
            head: Head::default(),
            key,
            out: Vec::new(),
            waiting: (0, 0),
            rotate_bytes: u64::try_from(settings.rotate_bytes).unwrap_or(u64::MAX),
            full_at: u64::try_from(settings.rotate_bytes).unwrap_or(u64::MAX),
            rotate_age: settings.rotate_age,
            keep: settings.keep,
            sinks: settings.sinks().collect(),
            began: past,
            sealed: past,
            expired: past.checked_sub(EXPIRE).unwrap_or(past),
            unsealed: false,
            unsynced: None,
            syncing: Arc::default(),
        };
        let mut members = Members::at(now, "start", 512);
        members.text("chain", &journal.chain).number("version", VERSION);
        members.text("program", concat!("sqlveil ", env!("CARGO_PKG_VERSION")));
        members.text("host", &host()).number("pid", std::process::id());
        if let Some(before) = before {
            let mut follows = Members::default();
            follows.text("chain", &before.segment.chain).text("file", &before.segment.name());
            follows.number("seq", before.head.seq).text("hash", &hex(before.head.hash));
            follows.text("ended", before.ended);
            if before.cut > 0 {
                follows.number("cutBytes", before.cut);
            }
            if before.ended == "broken" {
                let name = before.segment.name();
                tracing::error!(
                    file = name,
                    "the audit trail of the run before was changed; `sqlveil audit verify` tells where"
                );
            }
            if before.ended == "cut" {
                let name = before.segment.name();
                let (seq, bytes) = (before.head.seq, before.cut);
                tracing::warn!(
                    file = name,
                    seq,
                    bytes,
                    "the audit trail of the run before was cut off behind this record"
                );
            }
            members.object("follows", &follows);
        }
        journal.append(&members);
        // Nobody else may begin a chain, or say how another ended.
        journal.seal("seal");
        journal.write()?;
        journal.sync();
        Ok(journal)
    }

    /// Its name.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    fn append(&mut self, members: &Members) {
        self.head.append(members.bytes(), &mut self.out);
        self.waiting.0 += 1;
    }

    /// Ties together what was put.
    fn gather(&mut self, records: &[u8]) {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', records) {
            self.head.append(records.get(from..end).unwrap_or_default(), &mut self.out);
            self.waiting.0 += 1;
            from = end + 1;
        }
        self.waiting.1 += records.len();
        self.unsealed = true;
    }

    /// Puts what is gathered into the file: all of it or nothing.
    fn write(&mut self) -> io::Result<(u64, usize)> {
        if self.out.is_empty() {
            return Ok((0, 0));
        }
        if let Err(error) = self.file.write_all(&self.out) {
            // What came through must not stay in front of what comes next.
            self.file.set_len(self.good)?;
            return Err(error);
        }
        self.good += u64::try_from(self.out.len()).unwrap_or_default();
        self.unsynced.get_or_insert_with(Instant::now);
        self.out.clear();
        self.out.shrink_to(1 << 20);
        Ok(std::mem::take(&mut self.waiting))
    }

    /// Waits until the disk has what was written.
    fn sync(&mut self) {
        if self.unsynced.take().is_some() {
            confirm(&self.file);
        }
    }

    /// The same beside it all: a disk takes its time, and records come meanwhile.
    fn sync_beside(&mut self) {
        if self.syncing.swap(true, Ordering::Acquire) {
            return;
        }
        let Ok(file) = self.file.try_clone() else {
            self.syncing.store(false, Ordering::Release);
            return self.sync();
        };
        let syncing = Arc::clone(&self.syncing);
        let beside = thread::Builder::new().name("audit sync".into()).spawn(move || {
            confirm(&file);
            syncing.store(false, Ordering::Release);
        });
        match beside {
            Ok(_) => self.unsynced = None,
            Err(_) => {
                self.syncing.store(false, Ordering::Release);
                self.sync();
            }
        }
    }

    fn seal(&mut self, kind: &'static str) {
        let mut members = Members::at(SystemTime::now(), kind, 128);
        members.text("mac", &seal(&self.key, &self.head.hash));
        self.append(&members);
        (self.sealed, self.unsealed) = (Instant::now(), false);
        // Who keeps this line knows when the end of the file was cut off later.
        tracing::debug!(chain = self.chain, seq = self.head.seq, hash = hex(self.head.hash), "audit trail sealed");
    }

    /// Goes on in a new segment.
    fn rotate(&mut self) -> io::Result<()> {
        let segment = Segment::of(&self.folder, &self.chain, self.number + 1);
        let file = match segment.create() {
            // Made by an attempt that failed behind this point; nothing is in it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&segment.path)?;
                segment.create()?
            }
            made => made?,
        };
        self.sync();
        (self.file, self.number, self.good, self.began) = (file, segment.number, 0, Instant::now());
        self.full_at = self.rotate_bytes;
        let mut members = Members::at(SystemTime::now(), "continue", 256);
        members.text("chain", &self.chain).number("segment", self.number).text("previous", &hex(self.head.hash));
        self.append(&members);
        // The sign of life in front of it is in another file.
        self.seal("seal");
        Ok(())
    }

    /// Removes segments that are older than they are kept, once every sink has them. That they were there is part of the chain.
    fn expire(&mut self) -> io::Result<()> {
        self.expired = Instant::now();
        let Some(keep) = self.keep else { return Ok(()) };
        for segment in segments::list(&self.folder)? {
            let age = fs::metadata(&segment.path)?.modified()?.elapsed().unwrap_or_default();
            if age < keep || segment.is_open()? || !follow::is_through(&self.folder, &self.sinks, &segment) {
                continue;
            }
            let (line, _) = last_line(&segment.path)?;
            let last = line.as_deref().and_then(Line::of);
            let mut members = Members::at(SystemTime::now(), "expired", 256);
            members.text("chain", &segment.chain).text("file", &segment.name());
            if let Some(last) = last {
                members.number("seq", last.seq).text("lastHash", &hex(last.hash));
            }
            self.append(&members);
            self.seal("seal");
            self.write()?;
            fs::remove_file(&segment.path)?;
        }
        follow::forget(&self.folder)
    }

    /// Ends the chain.
    fn stop(&mut self) -> io::Result<(u64, usize)> {
        self.seal("stop");
        let done = self.write()?;
        self.sync();
        Ok(done)
    }

    fn is_full(&self) -> bool {
        self.good >= self.full_at || self.began.elapsed() >= self.rotate_age && self.unsealed
    }
}

fn confirm(file: &File) {
    if let Err(error) = file.sync_data() {
        tracing::error!(%error, "the disk does not confirm audit records");
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Writes until the trail is closed.
pub(super) fn run(mut journal: Journal, kept: &Kept) {
    let mut records = Vec::new();
    loop {
        let closing = kept.closing.load(Ordering::Acquire);
        let mut idle = true;
        kept.take(&mut records, |records| {
            journal.gather(records);
            idle = false;
        });
        if let Err(error) = turn(&mut journal, kept) {
            if !hold_on(&mut journal, kept, &error) {
                return;
            }
            continue;
        }
        if !idle {
            // Others come meanwhile, and are written together.
            if !closing {
                thread::sleep(GATHER);
            }
        } else if closing {
            return end(&mut journal, kept);
        } else {
            thread::park_timeout(if journal.unsynced.is_some() || journal.unsealed { SYNC } else { ALIVE });
        }
    }
}

/// Writes what is gathered, and does what is due.
fn turn(journal: &mut Journal, kept: &Kept) -> io::Result<()> {
    let (records, bytes) = journal.write()?;
    kept.wrote(records, bytes);
    if kept.unwritable.swap(false, Ordering::Relaxed) {
        tracing::info!("audit records are written again");
    }
    let dropped = kept.take_dropped();
    if dropped > 0 {
        let mut members = Members::at(SystemTime::now(), "lost", 128);
        members.number("records", dropped);
        journal.append(&members);
        tracing::error!(records = dropped, "audit records were dropped: there was no room for them");
    }
    let due = if journal.unsealed { SYNC } else { ALIVE };
    if journal.sealed.elapsed() >= due {
        journal.seal("seal");
        let (records, bytes) = journal.write()?;
        kept.wrote(records, bytes);
    }
    if journal.unsynced.is_some_and(|since| since.elapsed() >= SYNC) {
        journal.sync_beside();
    }
    if journal.is_full() {
        journal.seal("seal");
        let (records, bytes) = journal.write()?;
        kept.wrote(records, bytes);
        if let Err(error) = journal.rotate() {
            // The file gets longer than it should: nothing is lost by that.
            tracing::warn!(%error, "a new file of the audit trail cannot be begun");
            journal.began = Instant::now();
            journal.full_at = journal.good.saturating_add(journal.rotate_bytes);
        }
    }
    if journal.expired.elapsed() >= EXPIRE {
        journal.expire()?;
    }
    let (records, bytes) = journal.write()?;
    kept.wrote(records, bytes);
    Ok(())
}

/// The folder cannot be written: nothing more is taken until it can. False: the proxy stops, and it still cannot.
fn hold_on(journal: &mut Journal, kept: &Kept, error: &io::Error) -> bool {
    if !kept.unwritable.swap(true, Ordering::Relaxed) {
        let folder = journal.folder.display();
        tracing::error!(%folder, %error, "audit records cannot be written; they wait in memory");
    }
    let mut since = None;
    loop {
        thread::sleep(RETRY);
        match journal.write() {
            Ok((records, bytes)) => {
                kept.wrote(records, bytes);
                return true;
            }
            Err(error) if kept.closing.load(Ordering::Acquire) => {
                if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    let records = journal.waiting.0;
                    tracing::error!(%error, records, "audit records are lost: they could not be written before the end");
                    return false;
                }
            }
            Err(_) => {}
        }
    }
}

fn end(journal: &mut Journal, kept: &Kept) {
    match journal.stop() {
        Ok((records, bytes)) => kept.wrote(records, bytes),
        Err(error) => tracing::error!(%error, "the audit trail could not be ended"),
    }
}
