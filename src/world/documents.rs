//! The documents of administrators, read as one set: the governance directory and the identity file.
//!
//! In: the configuration. Out: [`Documents`], or every problem. Must never: take a directory that is being written for a finished
//! one; the files are read between two equal fingerprints.

use crate::config::Config;
use crate::governance::model::{DataDocument, Declared, Origin};
use crate::governance::problem::{Problem, any_error};
use crate::governance::store;
use crate::identity::Directory;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A digest of every document's path and bytes.
pub type Fingerprint = [u8; 32];

/// How often an unsteady directory is read again, and how long it is left alone in between.
const ATTEMPTS: usize = 25;
const PAUSE: Duration = Duration::from_millis(100);

/// A set of documents without errors.
pub struct Documents {
    /// What governance declares.
    pub declared: Declared,
    /// Who there is.
    pub directory: Arc<Directory>,
}

/// What was read.
pub struct Read {
    /// The set, unless a problem is an error.
    pub documents: Option<Documents>,
    /// What governance declares as far as it could be read, for counting.
    pub policies: usize,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// Of the files read.
    pub fingerprint: Fingerprint,
}

/// Reads everything, blocking.
pub fn read(config: &Config) -> Read {
    let mut before = fingerprint(config);
    for _ in 0..ATTEMPTS {
        let (documents, policies, problems) = read_once(config);
        let after = fingerprint(config);
        if before == after {
            return Read { documents, policies, problems, fingerprint: after };
        }
        before = after;
        std::thread::sleep(PAUSE);
    }
    let help = "wait until it is written completely, then reload";
    let problem = Problem::in_file(&config.governance, "the documents keep changing while they are read", help);
    Read { documents: None, policies: 0, problems: vec![problem], fingerprint: before }
}

fn read_once(config: &Config) -> (Option<Documents>, usize, Vec<Problem>) {
    let loaded = store::load(&config.governance);
    let mut problems = loaded.problems;
    problems.extend(connections(config, &loaded.declared.data));
    let directory = match directory(config, &loaded.declared) {
        Ok((directory, warnings)) => {
            problems.extend(warnings);
            Some(Arc::new(directory))
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    let policies = loaded.declared.policies.len();
    match directory {
        Some(directory) if !any_error(&problems) => {
            (Some(Documents { declared: loaded.declared, directory }), policies, problems)
        }
        _ => (None, policies, problems),
    }
}

fn directory(config: &Config, _declared: &Declared) -> Result<(Directory, Vec<Problem>), Vec<Problem>> {
    crate::governance::document::read(&config.identity).map_err(|problem| vec![problem])?;
    Ok((Directory::default(), Vec::new()))
}

/// Data documents and the configuration's connections must name each other.
fn connections(config: &Config, data: &[DataDocument]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for document in data.iter().filter(|d| !config.connections.contains_key(d.connection_key.as_str())) {
        let message = format!("the connection `{}` is not in the configuration", document.connection_key);
        let known: Vec<&str> = config.connections.keys().map(AsRef::as_ref).collect();
        let help = format!("add it to {}, or use one of: {}", config.file.display(), known.join(", "));
        problems.push(Problem::error(&document.origin, message, help));
    }
    for key in config.connections.keys().filter(|key| !data.iter().any(|d| d.connection_key == ***key)) {
        let message = format!("no data document names the connection `{key}`: nobody sees anything of it");
        let help = format!("write one with `connectionKey: {key}` under {}/data", config.governance.display());
        problems.push(Problem::warning(&Origin::of_file(&config.file), message, help));
    }
    problems
}

/// The fingerprint of the governance directory and the identity file as they are now. What cannot be read counts as such.
pub fn fingerprint(config: &Config) -> Fingerprint {
    let mut digest = Sha256::new();
    let mut unread = Vec::new();
    for (folder, path) in store::files(&config.governance, &mut unread) {
        add(&mut digest, folder, &path);
    }
    for problem in unread {
        add_bytes(&mut digest, b"unread", problem.to_string().as_bytes());
    }
    add(&mut digest, "identity", &config.identity);
    digest.finalize().into()
}

fn add(digest: &mut Sha256, kind: &str, path: &Path) {
    add_bytes(digest, kind.as_bytes(), path.as_os_str().as_encoded_bytes());
    match std::fs::read(path) {
        Ok(bytes) => add_bytes(digest, b"read", &bytes),
        Err(error) => add_bytes(digest, b"unread", error.to_string().as_bytes()),
    }
}

/// Adds two strings, each behind its length, so that no two sequences look alike.
fn add_bytes(digest: &mut Sha256, first: &[u8], second: &[u8]) {
    for part in [first, second] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
}
