//! `sqlveil audit`: proves that a trail is whole, finds records, decides them again under another set of policies.
//!
//! In: the folder of a trail, by itself or through the configuration that names it. Out: text, JSON or CSV. The exit status is 0 when all is
//! as it should be, 1 when it is not, 2 when it could not be told. Must never: write into the folder.

mod replay;
mod search;
mod verify;

use crate::audit::search::Filter;
use crate::config::Config;
use crate::governance::problem::render;
use std::io::{self, Write};
use std::path::PathBuf;

/// The commands.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Prove that no record is missing or changed. Exits with 0 when none is, 1 when one is, 2 when the end is cut off or it cannot be told.
    Verify(verify::Args),
    /// Find records.
    Search(search::Args),
    /// Decide statements of the trail again under a set of policies. Exits with 0 when nothing changes, 1 when something does, 2 on errors.
    Replay(replay::Args),
}

/// Where the trail is.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The configuration file of the proxy; with it, seals are checked, too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the trail, when it is not the one that the configuration names.
    #[arg(long, value_name = "FOLDER", required_unless_present = "config")]
    folder: Option<PathBuf>,
}

/// What is looked for.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Whose statements, or who logged in for him.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A data source that is read or written.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// A purpose acted for.
    #[arg(long, value_name = "NAME")]
    purpose: Option<String>,
    /// A project, by key.
    #[arg(long, value_name = "KEY")]
    project: Option<String>,
    /// A tag of what is read or written, or one above it.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Not before: `2026-11-23T06:00:00Z`, or a day in UTC.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<jiff::Timestamp>,
    /// Before.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<jiff::Timestamp>,
    /// What was decided, or how it ended: allowed, refused, login, "login refused", completed, failed, abandoned.
    #[arg(long, value_name = "WORD")]
    decision: Option<String>,
    /// A part of the statement, whatever its case.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// The fingerprint of the statement.
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// The session.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

fn instant(text: &str) -> Result<jiff::Timestamp, String> {
    let day = |text: &str| text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(time),
        Err(_) => day(text).map(|day| day.timestamp()).ok_or_else(|| {
            "write a time with its zone, such as 2026-11-23T06:00:00Z, or a day, such as 2026-11-23".to_owned()
        }),
    }
}

impl Wanted {
    fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            source: self.source.clone(),
            purpose: self.purpose.clone(),
            project: self.project.clone(),
            tag: self.tag.clone(),
            from: self.from,
            to: self.to,
            decision: self.decision.clone(),
            text: self.text.clone(),
            fingerprint: self.fingerprint.clone(),
            session: self.session.clone(),
            kind: None,
        }
    }
}

/// What a command says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 0: as it should be.
    Fine,
    /// 1: not as it should be.
    Wrong,
    /// 2: it could not be told, or not all of it.
    Untold,
}

impl Verdict {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Wrong => 1,
            Self::Untold => 2,
        }
    }
}

/// Runs a command.
///
/// # Errors
/// When the trail cannot be read or `out` cannot be written.
pub async fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<Verdict> {
    match args {
        Args::Verify(args) => verify::run(args, out, color),
        Args::Search(args) => search::run(args, out, color),
        Args::Replay(args) => replay::run(args, out, color).await,
    }
}

impl Place {
    /// The folder and the configuration; `None` when it was told why not.
    fn find(&self, out: &mut dyn Write, color: bool) -> io::Result<Option<(PathBuf, Option<Config>)>> {
        let config = match self.config.as_deref().map(Config::load) {
            None => None,
            Some(Ok(config)) => Some(config),
            Some(Err(problems)) => {
                write!(out, "{}", render(&problems, color))?;
                return Ok(None);
            }
        };
        let named = config.as_ref().and_then(|config| config.audit.as_ref()).map(|audit| audit.folder.clone());
        match self.folder.clone().or(named) {
            Some(folder) if folder.is_dir() => Ok(Some((folder, config))),
            Some(folder) => {
                writeln!(out, "there is no folder {}", folder.display())?;
                Ok(None)
            }
            None => {
                writeln!(out, "the configuration names no `audit.folder`: name one with --folder")?;
                Ok(None)
            }
        }
    }
}
