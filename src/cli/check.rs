//! `sqlveil check`: loads everything a proxy would load, has the warehouse type-check every policy, and tells all that is wrong.
//!
//! In: the configuration file. Out: every problem with file, line, snippet and remedy, one summary line, and whether the set may be
//! served. Must never: stop at the first problem, or print a secret.

use crate::config::Config;
use crate::governance::problem::{Problem, count, render};
use crate::world::{self, Loaded};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Checks the configuration file and all it names; true when no problem is an error.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run(file: &Path, out: &mut dyn Write, color: bool) -> io::Result<bool> {
    let config = match Config::load(file) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(out, "{}", render(&problems, color))?;
            return report(out, "the configuration cannot be used, so nothing else was checked", &problems);
        }
    };
    let loaded = world::load(&config).await;
    let mut problems = config.warnings.clone();
    problems.extend(loaded.problems.iter().cloned());
    write!(out, "{}", render(&problems, color))?;
    report(out, &summary(&loaded), &problems)
}

/// How much was checked.
fn summary(loaded: &Loaded) -> String {
    let sources: usize = loaded.worlds.values().map(|world| world.ruleset.registered().count()).sum();
    let what = [(sources, "data source"), (loaded.policies, "policy"), (loaded.users, "user")]
        .map(|(n, name)| counted(n, name));
    what.join(", ")
}

/// The last line, and the verdict.
fn report(out: &mut dyn Write, what: &str, problems: &[Problem]) -> io::Result<bool> {
    let (errors, warnings) = count(problems);
    writeln!(out, "{what}: {}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    Ok(errors == 0)
}

fn counted(n: usize, name: &str) -> String {
    match (n, name) {
        (1, name) => format!("1 {name}"),
        (n, "policy") => format!("{n} policies"),
        (n, name) => format!("{n} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_decides() {
        let mut out = Vec::new();
        assert!(report(&mut out, "3 users", &[]).unwrap());
        assert!(!report(&mut out, "x", &[Problem::nowhere("bad", "")]).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "3 users: 0 errors, 0 warnings\nx: 1 error, 0 warnings\n");
        assert_eq!(
            [counted(1, "policy"), counted(2, "policy"), counted(1, "user")],
            ["1 policy", "2 policies", "1 user"]
        );
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_read_is_told_and_fails() {
        let mut out = Vec::new();
        assert!(!run(Path::new("/nonexistent/sqlveil.yaml"), &mut out, false).await.unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("/nonexistent/sqlveil.yaml"), "{text}");
        assert!(text.ends_with("1 error, 0 warnings\n"), "{text}");
    }
}
