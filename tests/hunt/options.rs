//! The arguments of a hunt. Those of cargo's own test harness are understood as far as they choose what runs.

use std::path::PathBuf;
use std::time::Duration;

/// What is printed for a wrong argument.
pub const HELP: &str = "usage: make leak-hunt ARGS='[--statements N] [--seconds N] [--seed N] [--only SOURCE[,SOURCE]] [--folder PATH] [--show]'
  --statements  stop when so many were executed by both warehouses (default 600)
  --seconds     stop after so long, whichever comes first
  --seed        where chance begins (default 1)
  --only        fixed, grammar, typed, sqlsmith, mutated, writes
  --folder      where findings are stored (default target/leak-hunt)
  --show        print every statement with its outcome";

/// Executed statements of a hunt without arguments, which is a test like the others.
const SHORT: usize = 600;

/// A hunt's bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Executed statements to reach.
    pub statements: usize,
    /// Longest time.
    pub time: Option<Duration>,
    /// Where chance begins.
    pub seed: u64,
    /// Names of sources; empty for all.
    pub only: Vec<String>,
    /// Where findings are stored.
    pub folder: PathBuf,
    /// Print everything.
    pub show: bool,
    /// One of so many functions is called.
    pub functions: usize,
}

/// What to do.
pub enum Action {
    /// Hunt.
    Hunt(Options),
    /// Say what tests there are.
    List,
    /// The harness asked for tests of other names.
    Nothing,
}

impl Options {
    /// Reads the arguments.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Action, String> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let folder = target.join("leak-hunt");
        let mut options =
            Self { statements: SHORT, time: None, seed: 1, only: Vec::new(), folder, show: false, functions: 1 };
        let mut bounded = false;
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("not a number: {text}"));
            match argument.as_str() {
                "--statements" => {
                    options.statements = usize::try_from(number(value()?)?).unwrap_or(usize::MAX);
                    bounded = true;
                }
                "--seconds" => options.time = Some(Duration::from_secs(number(value()?)?)),
                "--seed" => options.seed = number(value()?)?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--folder" => options.folder = value()?.into(),
                "--show" => options.show = true,
                "--list" => return Ok(Action::List),
                // The harness's own.
                "--nocapture" | "--no-capture" | "--exact" | "--quiet" | "-q" | "--include-ignored" => {}
                "--test-threads" | "--skip" | "--format" | "--color" => drop(value()?),
                "--ignored" => return Ok(Action::Nothing),
                flag if flag.starts_with('-') => {
                    if !flag.contains('=') {
                        return Err(format!("unknown argument {flag}"));
                    }
                }
                name if "leak_hunt".contains(name) => {}
                _ => return Ok(Action::Nothing),
            }
        }
        if !bounded && options.time.is_none() && options.only.is_empty() {
            options.functions = 6;
            // Not everybody has sqlsmith, and a test should be the same everywhere.
            options.only = ["fixed", "grammar", "typed", "mutated", "writes"].map(str::to_owned).to_vec();
        }
        if options.time.is_some() && !bounded {
            options.statements = usize::MAX;
        }
        Ok(Action::Hunt(options))
    }
}
