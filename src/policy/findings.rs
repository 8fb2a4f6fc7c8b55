//! What binding finds wrong, so much of each place and so much in all: a rule that does not fit may be on thousands of data sources.
//!
//! In: problems, as they are found. Out: each once, the first of each place, and how many more there are. Must never: leave out an error
//! without saying that there is one.

use crate::governance::model::Origin;
use crate::governance::problem::{Problem, Severity};
use std::collections::{HashMap, HashSet};

/// Most problems told of one place.
const MOST_OF_A_PLACE: usize = 20;
/// Most errors told of all places, and most warnings.
const MOST: usize = 2_000;

/// Problems found so far.
#[derive(Default)]
pub(crate) struct Findings {
    kept: Vec<Problem>,
    /// Errors and warnings among them.
    errors: usize,
    warnings: usize,
    places: HashMap<Place, Told>,
}

/// The address of the file's name, line and column; nothing for what is in no file.
type Place = (usize, usize, usize);

/// What was told of a place.
struct Told {
    origin: Origin,
    messages: HashSet<String>,
    /// Errors and warnings that were not.
    errors: usize,
    warnings: usize,
}

impl Findings {
    /// Takes what else was found.
    pub(crate) fn push(&mut self, problem: Problem) {
        let severity = problem.severity;
        let origin = problem.origin.clone();
        self.add(&origin, severity, move || problem);
    }

    /// Takes a warning that is made only if it is told.
    pub(crate) fn warn(&mut self, origin: &Origin, make: impl FnOnce() -> Problem) {
        self.add(origin, Severity::Warning, make);
    }

    fn add(&mut self, origin: &Origin, severity: Severity, make: impl FnOnce() -> Problem) {
        let file = std::sync::Arc::as_ptr(&origin.file) as usize;
        let place = if origin.file.as_os_str().is_empty() { (0, 0, 0) } else { (file, origin.line, origin.column) };
        let told = self.places.entry(place).or_insert_with(|| Told {
            origin: origin.clone(),
            messages: HashSet::new(),
            errors: 0,
            warnings: 0,
        });
        let (kept, more) = match severity {
            Severity::Error => (&mut self.errors, &mut told.errors),
            Severity::Warning => (&mut self.warnings, &mut told.warnings),
        };
        if told.messages.len() >= MOST_OF_A_PLACE || *kept >= MOST {
            *more += 1;
            return;
        }
        let problem = make();
        if told.messages.insert(problem.message.clone()) {
            *kept += 1;
            self.kept.push(problem);
        }
    }

    /// All that is told, with how much is not.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut kept = self.kept;
        let help = "mend those that are told, then check again";
        let left = self.places.into_values().filter(|told| told.errors + told.warnings > 0);
        let (mut of_places, beyond): (Vec<Told>, Vec<Told>) = left.partition(|told| !told.messages.is_empty());
        of_places.sort_by_key(|told| told.origin.to_string());
        for told in of_places {
            let message = format!("{} of the same place", counted(told.errors, told.warnings));
            kept.push(problem(&told.origin, told.errors, message, help));
        }
        if !beyond.is_empty() {
            let (errors, warnings) = beyond.iter().fold((0, 0), |(e, w), told| (e + told.errors, w + told.warnings));
            let message = format!("{} in {} other places", counted(errors, warnings), beyond.len());
            kept.push(problem(&Origin::default(), errors, message, help));
        }
        kept
    }
}

fn problem(origin: &Origin, errors: usize, message: String, help: &str) -> Problem {
    if errors > 0 { Problem::error(origin, message, help) } else { Problem::warning(origin, message, help) }
}

/// `3 more errors and 1 more warnings`.
fn counted(errors: usize, warnings: usize) -> String {
    let parts = [(errors, "errors"), (warnings, "warnings")];
    let said: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} more {what}")).collect();
    said.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn at(line: usize) -> Origin {
        static FILE: std::sync::LazyLock<Arc<PathBuf>> = std::sync::LazyLock::new(|| Arc::new("p.yaml".into()));
        Origin { file: Arc::clone(&FILE), line, column: 1 }
    }

    #[test]
    fn each_is_told_once_and_of_a_place_only_the_first() {
        let mut findings = Findings::default();
        for number in 0..MOST_OF_A_PLACE + 5 {
            findings.warn(&at(1), || Problem::warning(&at(1), format!("number {number}"), ""));
        }
        findings.push(Problem::error(&at(2), "wrong", ""));
        findings.push(Problem::error(&at(2), "wrong", ""));
        let told = findings.into_problems();
        assert_eq!(told.len(), MOST_OF_A_PLACE + 2);
        assert_eq!(told.iter().filter(|p| p.is_error()).count(), 1);
        assert_eq!(told.last().map(|p| p.message.as_str()), Some("5 more warnings of the same place"));
    }

    #[test]
    fn an_error_that_is_not_told_is_counted_as_one() {
        let mut findings = Findings::default();
        for line in 0..MOST + 3 {
            findings.push(Problem::warning(&at(line), "doubtful", ""));
        }
        findings.push(Problem::error(&at(1), "wrong", ""));
        for line in 1..MOST + 3 {
            findings.push(Problem::error(&at(line), "amiss", ""));
        }
        let told = findings.into_problems();
        let errors: Vec<&str> = told.iter().filter(|p| p.is_error()).map(|p| p.message.as_str()).collect();
        assert_eq!(errors.len(), MOST + 1);
        assert_eq!(errors.first(), Some(&"wrong"));
        assert_eq!(errors.last(), Some(&"3 more errors and 3 more warnings in 3 other places"));
    }
}
