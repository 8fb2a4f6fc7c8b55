//! What callers have acknowledged: a file of JSON lines that only grows, one line an acceptance, with its text and time.
//!
//! In: who accepts which texts. Out: which texts are still to be accepted. Several proxies may share the file: a line is written in one
//! piece under a lock, is on disk before the acceptance counts, and is found by the others. Must never: take for accepted what is not
//! on disk, or what it cannot read.

use super::Caller;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A text to accept before acting under a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The purpose that asks for it.
    pub purpose: String,
    /// The text.
    pub text: String,
    /// A changed text is asked for again; otherwise what was accepted once stays accepted.
    pub again: bool,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    time: String,
    user: String,
    iam: String,
    /// Who passed it on, when that was not himself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    project: String,
    purpose: String,
    text: String,
}

/// The file and what has been read of it. By default a file that is not there.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Inode and bytes read, whole lines alone.
    inode: u64,
    read: u64,
    accepted: HashSet<[u8; 32]>,
}

/// Stands for an acceptance: of one text, or of any text.
fn key(user: &str, iam: &str, project: &str, purpose: &str, text: Option<&str>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [Some(user), Some(iam), Some(project), Some(purpose), text].into_iter().flatten() {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

impl Seen {
    /// Reads what was added since the last time, or everything when it is another file, or a shorter one.
    fn catch_up(&mut self, file: &mut File) -> io::Result<()> {
        let about = file.metadata()?;
        if about.ino() != self.inode || about.len() < self.read {
            *self = Self { inode: about.ino(), ..Self::default() };
        }
        if about.len() == self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut added = Vec::new();
        file.take(about.len() - self.read).read_to_end(&mut added)?;
        // A line without its end is still being written, or was never finished.
        let whole = added.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in added.get(..whole).unwrap_or_default().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Line>(line) {
                Ok(Line { user, iam, project, purpose, text, .. }) => {
                    self.accepted.insert(key(&user, &iam, &project, &purpose, None));
                    self.accepted.insert(key(&user, &iam, &project, &purpose, Some(&text)));
                }
                Err(_) => tracing::warn!("a line of the acknowledgements cannot be read and counts for nothing"),
            }
        }
        self.read += u64::try_from(whole).unwrap_or_default();
        Ok(())
    }

    fn holds(&self, caller: &Caller, project: &str, asked: &Acknowledgement) -> bool {
        let text = asked.again.then_some(asked.text.as_str());
        self.accepted.contains(&key(&caller.user, &caller.iam, project, &asked.purpose, text))
    }
}

impl Acknowledgements {
    /// The acknowledgements in a file, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), seen: Mutex::default() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Those of `asked` that the caller has not accepted for this project.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn missing<'a>(
        &self,
        caller: &Caller,
        project: &str,
        asked: &'a [Acknowledgement],
    ) -> io::Result<Vec<&'a Acknowledgement>> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match File::open(&self.path) {
            Ok(mut file) => seen.catch_up(&mut file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => *seen = Seen::default(),
            Err(error) => return Err(error),
        }
        Ok(asked.iter().filter(|a| !seen.holds(caller, project, a)).collect())
    }

    /// Records that the caller accepts what is `asked`, as far as he has not yet; `login`: who passed it on for him. On disk when this
    /// returns.
    ///
    /// # Errors
    /// When that is not certain; nothing is accepted then.
    pub fn accept(
        &self,
        caller: &Caller,
        login: Option<&str>,
        project: &str,
        asked: &[Acknowledgement],
    ) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let new = !self.path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        // Held until the file is closed.
        file.lock()?;
        seen.catch_up(&mut file)?;
        let missing: Vec<_> = asked.iter().filter(|a| !seen.holds(caller, project, a)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        if file.metadata()?.len() > seen.read {
            // What a crash left unfinished gets an end of its own.
            lines.push(b'\n');
        }
        for asked in missing {
            let line = Line {
                time: jiff::Timestamp::now().to_string(),
                user: caller.user.to_string(),
                iam: caller.iam.to_string(),
                login: login.map(str::to_owned),
                project: project.to_owned(),
                purpose: asked.purpose.clone(),
                text: asked.text.clone(),
            };
            lines.extend(serde_json::to_vec(&line)?);
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.sync_all()?;
        if new && let Some(folder) = self.path.parent().filter(|f| !f.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        seen.catch_up(&mut file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(user: &str) -> Caller {
        Caller {
            user: user.into(),
            iam: "bim".into(),
            groups: Default::default(),
            attributes: Default::default(),
            project: None,
            purposes: Default::default(),
            before: None,
        }
    }

    fn asked(purpose: &str, text: &str, again: bool) -> Acknowledgement {
        Acknowledgement { purpose: purpose.into(), text: text.into(), again }
    }

    fn missing(file: &Acknowledgements, user: &str, project: &str, one: &Acknowledgement) -> bool {
        !file.missing(&caller(user), project, std::slice::from_ref(one)).unwrap().is_empty()
    }

    #[test]
    fn an_acceptance_is_of_one_user_project_and_purpose_and_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledgements.jsonl");
        let (file, text) = (Acknowledgements::at(&path), asked("Fraud", "I will\nbe \"good\"", true));
        assert!(missing(&file, "ana", "p", &text));
        file.accept(&caller("ana"), None, "p", std::slice::from_ref(&text)).unwrap();
        for file in [&file, &Acknowledgements::at(&path)] {
            assert!(!missing(file, "ana", "p", &text));
            assert!(missing(file, "max", "p", &text) && missing(file, "ana", "q", &text));
            assert!(missing(file, "ana", "p", &asked("Other", "I will\nbe \"good\"", true)));
            assert!(missing(file, "ana", "p", &asked("Fraud", "changed", true)), "a changed text is asked for again");
            assert!(!missing(file, "ana", "p", &asked("Fraud", "changed", false)), "unless it need not be");
        }
        let line: serde_json::Value = serde_json::from_str(std::fs::read_to_string(&path).unwrap().trim()).unwrap();
        assert_eq!((&line["user"], &line["text"]), (&"ana".into(), &"I will\nbe \"good\"".into()));
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        file.accept(&caller("ana"), None, "p", std::slice::from_ref(&text)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1, "said once");
    }

    #[test]
    fn what_others_write_is_found_and_what_is_taken_away_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let (one, other) = (Acknowledgements::at(&path), Acknowledgements::at(&path));
        let text = asked("Fraud", "t", true);
        assert!(missing(&one, "ana", "p", &text));
        other.accept(&caller("ana"), None, "p", std::slice::from_ref(&text)).unwrap();
        assert!(!missing(&one, "ana", "p", &text));
        std::fs::remove_file(&path).unwrap();
        assert!(missing(&one, "ana", "p", &text));
    }

    #[test]
    fn broken_lines_count_for_nothing_and_spoil_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "not json\n{\"user\": \"ana\", \"unfin").unwrap();
        let (file, text) = (Acknowledgements::at(&path), asked("Fraud", "t", true));
        assert!(missing(&file, "ana", "p", &text));
        file.accept(&caller("ana"), None, "p", std::slice::from_ref(&text)).unwrap();
        assert!(!missing(&file, "ana", "p", &text));
        assert!(!missing(&Acknowledgements::at(&path), "ana", "p", &text));
    }

    #[test]
    fn what_cannot_be_written_or_read_is_not_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let text = asked("Fraud", "t", true);
        let nowhere = Acknowledgements::at(folder.path().join("no/such/folder/a.jsonl"));
        assert!(nowhere.accept(&caller("ana"), None, "p", std::slice::from_ref(&text)).is_err());
        assert!(missing(&nowhere, "ana", "p", &text));
        let a_folder = Acknowledgements::at(folder.path());
        assert!(a_folder.missing(&caller("ana"), "p", std::slice::from_ref(&text)).is_err());
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let text = asked("Fraud", &"long ".repeat(2000), true);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (path, text) = (&path, &text);
                scope.spawn(move || {
                    let file = Acknowledgements::at(path);
                    for i in 0..5 {
                        file.accept(&caller(&format!("user {n} {i}")), None, "p", std::slice::from_ref(text)).unwrap();
                    }
                });
            }
        });
        let file = Acknowledgements::at(&path);
        assert!((0..8).all(|n| (0..5).all(|i| !missing(&file, &format!("user {n} {i}"), "p", &text))));
    }
}
