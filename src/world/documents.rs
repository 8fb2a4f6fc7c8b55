//! The documents of administrators, read as one set: the governance directory, the identity file, the accounts file.
//!
//! In: the configuration. Out: [`Documents`], or every problem. Must never: take a directory that is being written for a finished
//! one; the files are read between two equal fingerprints.

use crate::config::Config;
use crate::governance::model::{
    Audience, DataDocument, Declared, Origin, Owner, PolicyBody, Source, Subscription, SubscriptionKind,
};
use crate::governance::problem::{Problem, any_error};
use crate::governance::store;
use crate::identity::Directory;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A digest of every document's path and bytes.
pub type Fingerprint = [u8; 32];

/// How often an unsteady directory is read again, and how long it is left alone in between.
const ATTEMPTS: usize = 25;
/// Files beside the documents that are larger cannot be read by them.
const MAX_ATTACHMENT: u64 = 64 << 10;
const PAUSE: Duration = Duration::from_millis(100);

/// How long nothing must have changed before the system's word is taken that nothing has: its clock for files moves in steps.
const STILL: Duration = Duration::from_secs(2);

/// What the system tells of all documents without their being read: equal marks mean that nothing has been written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks([u8; 32]);

/// A set of documents without errors.
pub struct Documents {
    /// What governance declares.
    pub declared: Declared,
    /// Who there is.
    pub directory: Arc<Directory>,
}

/// What was read.
#[derive(Default)]
pub struct Read {
    /// The set, unless a problem is an error.
    pub documents: Option<Documents>,
    /// Policies read.
    pub policies: usize,
    /// Users read.
    pub users: usize,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// Of the files read.
    pub fingerprint: Fingerprint,
}

/// Reads everything, blocking.
pub fn read(config: &Config) -> Read {
    let mut before = fingerprint(config);
    for _ in 0..ATTEMPTS {
        let read = read_once(config);
        let after = fingerprint(config);
        if before == after {
            return Read { fingerprint: after, ..read };
        }
        before = after;
        std::thread::sleep(PAUSE);
    }
    let help = "wait until it is written completely, then reload";
    let problem = Problem::in_file(&config.governance, "the documents keep changing while they are read", help);
    Read { problems: vec![problem], fingerprint: before, ..Read::default() }
}

fn read_once(config: &Config) -> Read {
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
    let users = directory.as_ref().map_or(0, |directory| directory.users().count());
    let documents = match directory {
        Some(directory) if !any_error(&problems) => Some(Documents { declared: loaded.declared, directory }),
        _ => None,
    };
    Read { documents, policies, users, problems, fingerprint: Fingerprint::default() }
}

fn directory(config: &Config, declared: &Declared) -> Result<(Directory, Vec<Problem>), Vec<Problem>> {
    let (directory, mut warnings) =
        Directory::load(&config.identities(), &declared.projects, &declared.purposes, &config.secret)?;
    warnings.extend(strangers(&directory, declared));
    let directory = directory.with(&config.directories);
    warnings.extend(directory.idle().map(|register| {
        let message =
            format!("`{}` is asked about nobody: no user of the identity file is of `{}`", register.name, register.iam);
        let help = "write the provider of its users as `iam` (`iam: local` for users that name none), or `users: any`";
        Problem::warning(&register.origin, message, help)
    }));
    Ok((directory, warnings))
}

/// Users and groups that documents name and identities do not know. Not an error: to take somebody out of the identity file must
/// work at once, whatever still names him.
fn strangers(directory: &Directory, declared: &Declared) -> Vec<Problem> {
    let mut named: Vec<(Owner, &Origin)> = declared.grants.iter().map(|g| (g.grantee.clone(), &g.origin)).collect();
    for document in &declared.data {
        named.extend(document.owners.iter().map(|owner| (owner.clone(), &document.origin)));
        for source in document.sources.iter().flatten() {
            if let Source::Table(table) = source {
                named.extend(table.owners.iter().flatten().map(|owner| (owner.clone(), &table.origin)));
            }
        }
    }
    for policy in &declared.policies {
        named.extend(policy.owner_restrictions.iter().map(|owner| (owner.clone(), &policy.origin)));
        match &policy.body {
            PolicyBody::Subscription(Subscription { kind: SubscriptionKind::Entitlements(audience), .. }) => {
                named.extend(groups(audience).map(|group| (group, &policy.origin)));
            }
            PolicyBody::Subscription(_) => {}
            PolicyBody::Data(actions) => {
                for rule in actions.iter().flat_map(|action| &action.rules) {
                    let audiences = rule.exceptions.iter().chain(&rule.inclusions);
                    named.extend(audiences.flat_map(groups).map(|group| (group, &rule.origin)));
                }
            }
        }
    }
    let unknown = named.into_iter().filter(|(owner, _)| !directory.knows(owner));
    let problem = |(owner, origin): (Owner, &Origin)| {
        let kind = if owner.is_group { "group" } else { "user" };
        let of = owner.iam.map(|iam| format!(" of `{iam}`")).unwrap_or_default();
        let help = "correct the name here, or add it to the identity file";
        Problem::warning(origin, format!("the {kind} `{}`{of} is not in the identity file", owner.name), help)
    };
    unknown.map(problem).collect()
}

fn groups(audience: &Audience) -> impl Iterator<Item = Owner> + '_ {
    let listed =
        audience.groups.iter().map(|group| Owner { is_group: true, name: group.name.clone(), iam: group.iam.clone() });
    let named = audience.advanced.iter().flat_map(|expression| expression.groups());
    listed.chain(named.map(|name| Owner { is_group: true, name: name.to_owned(), iam: None }))
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

/// The fingerprint of the governance directory, the identity and the accounts file as they are now. What cannot be read counts as such.
pub fn fingerprint(config: &Config) -> Fingerprint {
    let mut digest = Sha256::new();
    let mut unread = Vec::new();
    for (folder, path) in store::files(&config.governance, &mut unread) {
        add(&mut digest, folder, &path);
    }
    for path in store::attachments(&config.governance) {
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_ATTACHMENT => {
                add_bytes(&mut digest, b"large", path.as_os_str().as_encoded_bytes())
            }
            _ => add(&mut digest, "attachment", &path),
        }
    }
    for problem in unread {
        add_bytes(&mut digest, b"unread", problem.to_string().as_bytes());
    }
    add(&mut digest, "identity", &config.identity);
    add(&mut digest, "accounts", &config.accounts);
    digest.finalize().into()
}

/// The marks of the documents as they are now; `None` when they tell nothing: something was written a moment ago, or cannot be
/// looked at. To read 100,000 documents takes seconds, to look at them a tenth of that.
pub fn marks(config: &Config) -> Option<Marks> {
    let mut unread = Vec::new();
    let mut paths: Vec<PathBuf> =
        store::files(&config.governance, &mut unread).into_iter().map(|(_, path)| path).collect();
    paths.extend(store::attachments(&config.governance));
    paths.extend([config.identity.clone(), config.accounts.clone()]);
    if unread.is_empty() { marks_of(&paths, SystemTime::now()) } else { None }
}

/// Device, inode, size and time of the last change of each file. Whoever can set the time of writing cannot set that of the change
/// (stat(2), `st_ctim`).
fn marks_of(paths: &[PathBuf], now: SystemTime) -> Option<Marks> {
    let still = now.checked_sub(STILL)?.duration_since(UNIX_EPOCH).ok()?;
    let mut digest = Sha256::new();
    for path in paths {
        let known = match std::fs::metadata(path) {
            Ok(metadata) => {
                let changed =
                    Duration::new(u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
                if changed >= still {
                    return None;
                }
                [metadata.dev(), metadata.ino(), metadata.size(), changed.as_secs(), u64::from(changed.subsec_nanos())]
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => [u64::MAX; 5],
            Err(_) => return None,
        };
        let known: Vec<u8> = known.iter().flat_map(|number| number.to_be_bytes()).collect();
        add_bytes(&mut digest, path.as_os_str().as_encoded_bytes(), &known);
    }
    Some(Marks(digest.finalize().into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_every_change_once_it_is_past() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| folder.path().join(name)).collect();
        std::fs::write(&paths[0], "one").unwrap();
        std::fs::write(&paths[1], "two").unwrap();
        assert_eq!(marks_of(&paths, SystemTime::now()), None, "written a moment ago");
        let later = SystemTime::now() + STILL * 2;
        let before = marks_of(&paths, later).unwrap();
        assert_eq!(marks_of(&paths, later), Some(before));
        // The same length, and a time of writing as it was.
        let written = std::fs::metadata(&paths[0]).unwrap().modified().unwrap();
        let replaced = folder.path().join("new");
        std::fs::write(&replaced, "two").unwrap();
        std::fs::File::options().write(true).open(&replaced).unwrap().set_modified(written).unwrap();
        std::fs::rename(&replaced, &paths[0]).unwrap();
        let renamed = marks_of(&paths, later).unwrap();
        assert_ne!(renamed, before);
        std::fs::write(&paths[2], "").unwrap();
        assert_ne!(marks_of(&paths, later).unwrap(), renamed, "a file that was not there");
        let swapped = [paths[1].clone(), paths[0].clone(), paths[2].clone()];
        assert_ne!(marks_of(&swapped, later), marks_of(&paths, later));
    }
}
