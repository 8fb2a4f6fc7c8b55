//! The files of a trail: one folder, a chain for each run of a proxy, each chain cut into segments.
//!
//! In: the folder. Out: which segments there are, and the one that is being written. A segment is named
//! `audit-CHAIN-NUMBER.jsonl`; who writes a chain holds a lock on its newest segment. Must never: change what was written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// One file of a trail. Sorted as they were written: chains by when they began, the segments of one by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The chain: when it began and eight random digits.
    pub chain: String,
    /// Its place in the chain, from 1.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// The segment of a chain in a folder.
    pub fn of(folder: &Path, chain: &str, number: u64) -> Self {
        let path = folder.join(format!("{PREFIX}{chain}-{number:06}{SUFFIX}"));
        Self { chain: chain.to_owned(), number, path }
    }

    /// By its file name.
    fn named(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (chain, number) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.rsplit_once('-')?;
        let number = number.parse().ok()?;
        (!chain.is_empty()).then(|| Self { chain: chain.to_owned(), number, path: path.to_path_buf() })
    }

    /// Its file name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Makes it and locks it. Only its owner may read it.
    ///
    /// # Errors
    /// When it is there already, or cannot be made.
    pub fn create(&self) -> io::Result<File> {
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&self.path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::from(io::ErrorKind::ResourceBusy),
        })?;
        Ok(file)
    }

    /// Whether somebody is writing it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn is_open(&self) -> io::Result<bool> {
        match File::open(&self.path)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// When a chain began, to the microsecond, as its name begins.
const STAMP: &str = "%Y%m%dT%H%M%S.%6fZ";

/// A name for a chain that begins now, behind `last` whatever the clock says.
pub fn chain_name(now: SystemTime, last: Option<&str>) -> String {
    let stamp = jiff::Timestamp::try_from(now).unwrap_or_default();
    let before = last.and_then(|last| last.rsplit_once('-')).map(|(stamp, _)| stamp.trim_end_matches('Z'));
    let before = before.and_then(|last| jiff::civil::DateTime::strptime(STAMP.trim_end_matches('Z'), last).ok());
    let before = before.and_then(|last| last.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let behind = before.and_then(|last| last.timestamp().checked_add(Duration::from_micros(1)).ok());
    let stamp = behind.map_or(stamp, |behind| behind.max(stamp));
    format!("{}-{:08x}", stamp.strftime(STAMP), rand::random::<u32>())
}

/// All segments of a folder, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A pipe of that name would be waited for.
        if entry.file_type()?.is_file() {
            segments.extend(Segment::named(&entry.path()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn segments_are_listed_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let chain = |seconds, last| chain_name(UNIX_EPOCH + Duration::from_secs(seconds), last);
        let old = chain(1_000_000_000, None);
        assert!(old.starts_with("20010909T014640.000000Z-"), "{old}");
        let new = chain(1_700_000_000, Some(&old));
        assert!(new.starts_with("20231114T221320.000000Z-"), "{new}");
        // The clock was put back.
        let (next, after) = (chain(1_600_000_000, Some(&new)), chain(1_800_000_000, Some("of somebody else")));
        assert!(next.starts_with("20231114T221320.000001Z-") && after.starts_with("2027"), "{next} {after}");
        for (chain, number) in [(&new, 1), (&old, 10), (&old, 2), (&old, 1_000_000)] {
            fs::write(Segment::of(folder.path(), chain, number).path, "").unwrap();
        }
        fs::write(folder.path().join("audit-x.position"), "").unwrap();
        fs::create_dir(Segment::of(folder.path(), &new, 2).path).unwrap();
        let found: Vec<_> = list(folder.path()).unwrap().into_iter().map(|s| (s.chain, s.number)).collect();
        assert_eq!(found, [(old.clone(), 2), (old.clone(), 10), (old, 1_000_000), (new, 1)]);
    }

    #[test]
    fn who_writes_holds_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let segment = Segment::of(folder.path(), "c", 1);
        let file = segment.create().unwrap();
        assert!(segment.is_open().unwrap());
        assert!(segment.create().is_err());
        drop(file);
        assert!(!segment.is_open().unwrap());
    }
}
