//! Changes of the accounts file: all of it or nothing, one at a time.
//!
//! In: where the file is, a change. Out: the file as it is after that, on disk; or the old one and why. Must never: leave half a file, put one
//! in the place of the old that the proxy would not read, lose what another writer wrote, or widen who may read it.
//!
//! A writer holds a lock (a file of its own beside it: the accounts file is replaced, and a lock on what is replaced locks nobody out), reads
//! the file anew, writes a new one in the same folder, has it on disk, and renames it over the old one (`rename(2)` is atomic).

use super::{Accounts, Files};
use crate::governance::model::Origin;
use crate::governance::problem::{Problem, Severity, any_error};
use crate::identity::file::Identities;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one writer waits for another.
const PATIENCE: Duration = Duration::from_secs(10);
/// What only the proxy's account may read.
const PRIVATE: u32 = 0o600;
/// The account that may give files away.
const ROOT: u32 = 0;

/// How much has to be in order before a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The identity file, and what both make together.
    Whole,
    /// The accounts file alone: what ends a token or an account waits for nothing else to be mended.
    Alone,
}

impl Files {
    /// Changes the accounts file. The change is given both as they are now; what it gives back is handed on once the new file is on disk.
    /// Warnings come along.
    ///
    /// # Errors
    /// Why nothing was written.
    pub fn change<T>(
        &self,
        needs: Needs,
        change: impl FnOnce(&mut Accounts, &Identities) -> Result<T, Problem>,
    ) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        // Of a link, what it leads to is replaced.
        let target = std::fs::canonicalize(&self.accounts).unwrap_or_else(|_| self.accounts.clone());
        let _held = lock(&target, &self.identity)?;
        // The first change makes the file.
        let files = Self { named: false, ..self.clone() };
        let mut accounts = files.accounts()?;
        let mode = std::fs::metadata(&target).map_or(0, |metadata| metadata.permissions().mode());
        let mut warnings: Vec<Problem> = super::open_to_others(&target, mode).into_iter().collect();
        let identities = match super::super::file::load(&self.identity) {
            Ok((identities, _)) => identities,
            Err(problems) if needs == Needs::Alone => {
                warnings.extend(problems.into_iter().map(|p| Problem { severity: Severity::Warning, ..p }));
                Identities::default()
            }
            Err(problems) => return Err(problems),
        };
        let made = change(&mut accounts, &identities).map_err(|problem| vec![problem])?;
        let text = serde_json::to_string_pretty(&accounts).map_err(|error| failed(&target, &error.into()))? + "\n";
        // Read as the proxy will read it.
        let again = Accounts::read(&self.accounts, &text)?;
        if again != accounts {
            return Err(vec![Problem::in_file(&self.accounts, "would not be read as it is written", "report this")]);
        }
        if needs == Needs::Whole {
            let mut both = identities;
            warnings.extend(again.join(&mut both, &self.accounts));
            if any_error(&warnings) {
                return Err(warnings);
            }
        }
        let settled = replace(&target, &self.identity, text.as_bytes()).map_err(|error| failed(&target, &error))?;
        if let Err(error) = settled {
            let message = format!("is changed, and may not be any more after a power cut: {error}");
            let help = "the file system did not say that the change is on disk";
            warnings.push(Problem::warning(&Origin::of_file(&target), message, help));
        }
        Ok((made, warnings))
    }
}

fn failed(path: &Path, error: &io::Error) -> Vec<Problem> {
    let message = format!("cannot be written, nothing is changed: {error}");
    vec![Problem::in_file(path, message, "check the folder, its permissions and the space that is left")]
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside the file.
fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

/// The lock's file. Root may be the writer, and the folder another's, who must not be given a file that he chose: it is handed over only when
/// it was made just now, and a link is not followed.
fn lock_file(path: &Path, identity: &Path) -> io::Result<File> {
    let (folder, identity) = (std::fs::metadata(folder_of(path))?, std::fs::metadata(identity)?);
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Ok(file) => {
            if file.metadata()?.uid() == ROOT {
                // So that it is there for the proxy's account too.
                let owner = if folder.uid() == ROOT { &identity } else { &folder };
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let strange = || io::Error::other("it is no file of its own");
            let there = std::fs::symlink_metadata(path)?;
            if !there.is_file() {
                return Err(strange());
            }
            let file = OpenOptions::new().write(true).open(path)?;
            let opened = file.metadata()?;
            if (opened.dev(), opened.ino()) == (there.dev(), there.ino()) { Ok(file) } else { Err(strange()) }
        }
        Err(error) => Err(error),
    }
}

/// Waits until nobody else is writing. Held until the file is closed.
fn lock(path: &Path, identity: &Path) -> Result<File, Vec<Problem>> {
    let path = beside(path, ".", ".lock");
    let file = lock_file(&path, identity).map_err(|error| failed(&path, &error))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => {
                let error = io::Error::other("somebody else has been writing for ten seconds");
                return Err(failed(&path, &error));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
    }
}

/// Puts a new file in the place of the old one, under the lock. Owner and permissions stay. The first one is for the proxy's account alone: when
/// root makes it, that is whose folder it is in, else whose the identity file is. When that worked, whether it is on disk.
fn replace(path: &Path, identity: &Path, text: &[u8]) -> io::Result<io::Result<()>> {
    let folder = folder_of(path);
    // Before anything is changed: where it may not be opened, that is no reason to say that nothing was.
    let opened = File::open(folder);
    let (before, after) = (beside(path, ".", "-"), ".new");
    let prefix = before.file_name().unwrap_or_default().to_owned();
    clear(folder, &prefix, after);
    let mut new = tempfile::Builder::new().prefix(&prefix).suffix(after).tempfile_in(folder)?;
    new.write_all(text)?;
    let own = new.as_file().metadata()?;
    let mode = match std::fs::metadata(path) {
        Ok(old) => {
            let mode = old.mode() & 0o777;
            // Another group does not matter while nobody of it may read.
            if old.uid() != own.uid() || (old.gid() != own.gid() && mode & 0o070 != 0) {
                fchown(new.as_file(), Some(old.uid()), Some(old.gid())).map_err(|error| {
                    let why = format!("it belongs to user {} and group {}: {error}", old.uid(), old.gid());
                    io::Error::new(error.kind(), why)
                })?;
            }
            mode
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = std::fs::metadata(identity)?;
            if own.uid() == ROOT {
                let folder = std::fs::metadata(folder)?;
                let owner = if folder.uid() == ROOT { &identity } else { &folder };
                fchown(new.as_file(), Some(owner.uid()), Some(owner.gid()))?;
            }
            // A group that may read the identity file, and others may not, is the proxy's.
            if identity.mode() & 0o004 == 0 { PRIVATE | (identity.mode() & 0o040) } else { PRIVATE }
        }
        Err(error) => return Err(error),
    };
    new.as_file().set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(opened.and_then(|folder| folder.sync_all()))
}

/// Removes what writers left behind that did not come to their end: under the lock there are no others.
fn clear(folder: &Path, prefix: &std::ffi::OsStr, suffix: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(suffix.as_bytes()) {
            // One that cannot be removed is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
