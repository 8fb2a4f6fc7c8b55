//! The arguments of a soak. Those of cargo's own test harness are understood as far as they choose what runs.

use std::time::Duration;

/// What is printed for a wrong argument.
pub const HELP: &str =
    "usage: make soak ARGS='[--seconds N] [--idle N] [--active N] [--users N] [--every MS] [--pause MS] [--mixed N] [--restart S] [--seed N]'
  --seconds  how long (default 4)
  --idle     sessions in which next to nothing is asked (default 24)
  --active   sessions that ask all the time (default 8)
  --users    of whom they are (default 12)
  --every    milliseconds between two changes of identities or policies (default 2000 from a minute on, else 400)
  --pause    an active session waits up to so many milliseconds between two statements (default 60)
  --mixed    sessions with wide results, cancels, look-ups and logins for one statement (default 2)
  --restart  seconds between two restarts of the warehouse (default 300 where it lasts longer; 0 = none)
  --seed     where chance begins (default 1)";

/// A soak's bounds.
#[derive(Debug, Clone)]
pub struct Options {
    pub time: Duration,
    pub idle: usize,
    pub active: usize,
    pub users: usize,
    pub every: Duration,
    pub pause: Duration,
    pub mixed: usize,
    pub restart: Option<Duration>,
    pub seed: u64,
}

/// What to do.
pub enum Action {
    /// Soak.
    Soak(Options),
    /// Say what tests there are.
    List,
    /// The harness asked for tests of other names.
    Nothing,
}

impl Options {
    /// Sessions of clients, with those that watch.
    pub fn sessions(&self) -> usize {
        self.idle + self.active + 2 * self.mixed + 8
    }

    /// Reads the arguments.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Action, String> {
        let (mut seconds, mut idle, mut active, mut users, mut every, mut pause, mut seed) =
            (4u64, 24, 8, 12, None, 60, 1);
        let (mut mixed, mut restart) = (2, None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("not a number: {text}"));
            let size = |text: String| number(text).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
            match argument.as_str() {
                "--seconds" => seconds = number(value()?)?.max(1),
                "--idle" => idle = size(value()?)?,
                "--active" => active = size(value()?)?.max(1),
                "--users" => users = size(value()?)?.max(1),
                "--every" => every = Some(number(value()?)?.max(50)),
                "--pause" => pause = number(value()?)?,
                "--mixed" => mixed = size(value()?)?,
                "--restart" => restart = Some(number(value()?)?),
                "--seed" => seed = number(value()?)?,
                "--list" => return Ok(Action::List),
                // The harness's own.
                "--nocapture" | "--no-capture" | "--exact" | "--quiet" | "-q" | "--include-ignored" => {}
                "--test-threads" | "--skip" | "--format" | "--color" => drop(value()?),
                "--ignored" => return Ok(Action::Nothing),
                flag if flag.starts_with('-') && flag.contains('=') => {}
                flag if flag.starts_with('-') => return Err(format!("unknown argument {flag}")),
                name if "soak".contains(name) => {}
                _ => return Ok(Action::Nothing),
            }
        }
        let every = every.unwrap_or(if seconds >= 60 { 2000 } else { 400 });
        let restart = restart.unwrap_or(if seconds > 300 { 300 } else { 0 });
        Ok(Action::Soak(Self {
            time: Duration::from_secs(seconds),
            idle,
            active,
            users,
            every: Duration::from_millis(every),
            pause: Duration::from_millis(pause),
            mixed,
            restart: (restart > 0).then(|| Duration::from_secs(restart)),
            seed,
        }))
    }
}
