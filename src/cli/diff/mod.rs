//! `sqlveil diff`: what changes for whom between two sets of policies.
//!
//! In: two configurations, perhaps names of users. Out: for every data source and everyone for whom something changes, what: as text or
//! as JSON. The exit status is 0 when nothing changes, 1 when something does, 2 when it cannot be told. Must never: show a salt, or
//! leave out a user because he looks like another.

mod people;
mod report;

pub use report::{Affected, Report, SourceChanges};

use super::explain::Format;
use crate::config::Config;
use crate::governance::problem::{Problem, any_error, render};
use crate::policy::compare::{Change, compare};
use crate::policy::decision::Access;
use crate::types::QualifiedName;
use crate::world::{self, Loaded, World};
use people::{Alike, People};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Arguments of `sqlveil diff`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration files: first the one before, then the one after.
    #[arg(long = "config", value_name = "FILE", required = true)]
    pub configs: Vec<PathBuf>,
    /// Only these users; may be given several times.
    #[arg(long = "user", value_name = "NAME")]
    pub users: Vec<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What the exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 0: nothing changes.
    Same,
    /// 1: something changes.
    Changes,
    /// 2: it could not be told.
    Failed,
}

impl Verdict {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Changes => 1,
            Self::Failed => 2,
        }
    }
}

/// One of the two sets.
struct Side {
    config: Arc<Config>,
    loaded: Loaded,
}

/// Runs the command.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<Verdict> {
    let [before, after] = args.configs.as_slice() else {
        writeln!(out, "give --config twice: the configuration before, then the one after")?;
        return Ok(Verdict::Failed);
    };
    let mut sides = Vec::new();
    for file in [before, after] {
        match load(file).await {
            Ok(side) => sides.push(side),
            Err(problems) => {
                write!(out, "{}", render(&problems, color))?;
                return Ok(Verdict::Failed);
            }
        }
    }
    let [before, after] = sides.as_slice() else { return Ok(Verdict::Failed) };
    for user in &args.users {
        let known = |side: &Side| side.worlds().any(|w| w.directory.users().any(|known| **known == **user));
        if !known(before) && !known(after) {
            writeln!(out, "the user \"{user}\" is in neither identity file")?;
            return Ok(Verdict::Failed);
        }
    }
    let report = diff(before, after, &args.users);
    match args.format {
        Format::Text => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::other)?)?,
    }
    Ok(if report.is_empty() { Verdict::Same } else { Verdict::Changes })
}

async fn load(file: &Path) -> Result<Side, Vec<Problem>> {
    let config = Arc::new(Config::load(file)?);
    let loaded = world::load(&config).await;
    if any_error(&loaded.problems) {
        return Err(loaded.problems.iter().filter(|problem| problem.is_error()).cloned().collect());
    }
    Ok(Side { config, loaded })
}

impl Side {
    fn worlds(&self) -> impl Iterator<Item = &World> {
        self.loaded.worlds.values()
    }
}

/// What changes from one set to the other.
fn diff(before: &Side, after: &Side, users: &[String]) -> Report {
    let people =
        People::of([before, after].map(|side| (side.loaded.worlds.values().next(), side.loaded.declared())), users);
    let secrets = [before, after].map(|side| side.config.secret.derive("salts"));
    let same_secret = secrets.first().map(|s| s.expose()) == secrets.last().map(|s| s.expose());
    let mut report = Report {
        users_removed: people.users_removed,
        users_added: people.users_added,
        memberships_removed: people.memberships_removed,
        memberships_added: people.memberships_added,
        notes: Vec::new(),
        sources: Vec::new(),
    };
    if !same_secret {
        report.notes.push("the master secrets differ: hashed values change too, which is not listed".to_owned());
    }
    let keys: BTreeSet<&Arc<str>> = [before, after].into_iter().flat_map(|side| side.loaded.worlds.keys()).collect();
    for key in keys {
        let worlds = (before.loaded.worlds.get(key), after.loaded.worlds.get(key));
        report.sources.extend(connection(key, worlds, &people.alike, same_secret));
    }
    report
}

/// Changes on the data sources of one connection.
fn connection(
    key: &str,
    (before, after): (Option<&World>, Option<&World>),
    alike: &[Alike],
    same_secret: bool,
) -> Vec<SourceChanges> {
    let now = SystemTime::now();
    let names: BTreeSet<&QualifiedName> =
        [before, after].into_iter().flatten().flat_map(|world| world.ruleset.registered()).collect();
    let same = |a: &str, b: &str| {
        let told = |world: Option<&World>, text: &str| world.map(|w| w.ruleset.redact(text)).unwrap_or_default();
        a == b || (!same_secret && told(before, a) == told(after, b))
    };
    let mut found = Vec::new();
    for name in names {
        let mut by_changes: BTreeMap<Vec<Change>, BTreeSet<Affected>> = BTreeMap::new();
        // Where both sets have bound the same, only who is another now can be answered differently.
        let unchanged =
            matches!((before, after), (Some(one), Some(two)) if one.ruleset.same_for_everyone(&two.ruleset, name));
        for group in alike.iter().filter(|group| !unchanged || group.before != group.after) {
            let answer = |world: Option<&World>, caller| {
                world.map_or(Access::Hidden, |world| world.ruleset.access(caller, name, now))
            };
            let changes = compare(&answer(before, &group.before), &answer(after, &group.after), &same);
            if !changes.is_empty() {
                by_changes.entry(changes).or_default().extend(group.members.iter().cloned());
            }
        }
        let source = [after, before].into_iter().flatten().find_map(|world| world.ruleset.source_of(name));
        for (changes, affected) in by_changes {
            found.push(SourceChanges {
                connection: key.to_owned(),
                data_source: source.unwrap_or_default().to_owned(),
                relation: name.to_string(),
                affected: affected.into_iter().collect(),
                changes,
            });
        }
    }
    found
}
