//! One thing wrong (or doubtful) in what administrators wrote, and how all of them are shown.
//!
//! In: an [`Origin`], what is wrong, what to do about it. Out: text with file, line, the offending span underlined and the remedy.
//! Must never: reach a client of the wire (problems quote policy text), or show a secret that stands near the problem.

use crate::governance::model::Origin;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a set of documents with this problem may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The set may be used; somebody should look.
    Warning,
    /// The set must not be published.
    Error,
}

/// One problem, where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where. `line` 0 = the whole file; an empty path = nowhere in particular (the warehouse, for example).
    pub origin: Origin,
    /// What is wrong: lower-case first letter, no full stop.
    pub message: String,
    /// What to do about it; empty = nothing to add.
    pub help: String,
}

impl Problem {
    /// A problem that keeps the set from being published.
    pub fn error(origin: &Origin, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Error, origin: origin.clone(), message: message.into(), help: help.into() }
    }
    /// A problem that somebody should look at.
    pub fn warning(origin: &Origin, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, origin: origin.clone(), message: message.into(), help: help.into() }
    }
    /// An error about a file as a whole.
    pub fn in_file(file: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::error(&Origin::of_file(file), message, help)
    }
    /// An error that belongs to no document.
    pub fn nowhere(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::error(&Origin::default(), message, help)
    }
    /// Whether it keeps the set from being published.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Origin {
    /// The file as a whole.
    pub fn of_file(file: &Path) -> Self {
        Self { file: Arc::new(file.to_path_buf()), line: 0, column: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.as_os_str().is_empty() {
            return f.write_str("(no file)");
        }
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// One line, for logs: `file:line:column: error: message (help)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.origin.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.origin)?;
        }
        f.write_str(if self.is_error() { "error: " } else { "warning: " })?;
        f.write_str(&self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, " ({})", self.help) }
    }
}

impl std::error::Error for Problem {}

/// How many errors and warnings there are.
pub fn count(problems: &[Problem]) -> (usize, usize) {
    let errors = problems.iter().filter(|p| p.is_error()).count();
    (errors, problems.len() - errors)
}

/// Whether any of them is an error.
pub fn any_error(problems: &[Problem]) -> bool {
    problems.iter().any(Problem::is_error)
}

/// All problems as text, in order of file and line, each with its source snippet. `color`: for a terminal.
pub fn render(problems: &[Problem], color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(120).with_context_lines(1);
    let mut sources: HashMap<Arc<PathBuf>, Option<Arc<str>>> = HashMap::new();
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by(|a, b| {
        (&a.origin.file, a.origin.line, a.origin.column).cmp(&(&b.origin.file, b.origin.line, b.origin.column))
    });
    let mut out = String::new();
    for problem in sorted {
        let text = sources.entry(problem.origin.file.clone()).or_insert_with(|| readable(&problem.origin.file)).clone();
        let report = Report::of(problem, text);
        let mut one = String::new();
        if handler.render_report(&mut one, &report).is_err() {
            one = problem.to_string();
        }
        out.push_str(one.trim_end());
        out.push_str("\n\n");
    }
    out
}

/// The file's text with secrets blanked, when it can be read as text.
fn readable(path: &Path) -> Option<Arc<str>> {
    // A pipe would have the reader wait for a writer.
    if path.as_os_str().is_empty() || !path.is_file() {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    Some(blank_secrets(&text).into())
}

/// Words in a key that make its value a secret.
const SECRET_KEYS: [&str; 7] = ["password", "secret", "salt", "verifier", "token", "apikey", "private"];

/// Replaces the value on every line whose key speaks of a secret, and every stored verifier, by asterisks of the same byte
/// length, so that offsets stay right.
fn blank_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let from = match (line.split_once(':'), lower.find("scram-sha-256$")) {
            (Some((key, _)), _) if SECRET_KEYS.iter().any(|word| key.to_ascii_lowercase().contains(word)) => {
                Some(key.len() + 1)
            }
            (_, found) => found,
        };
        let Some((head, tail)) = from.and_then(|at| line.split_at_checked(at)) else {
            out.push_str(line);
            continue;
        };
        out.push_str(head);
        for c in tail.chars() {
            if c.is_whitespace() {
                out.push(c);
            } else {
                out.extend(std::iter::repeat_n('*', c.len_utf8()));
            }
        }
    }
    out
}

/// A problem dressed for miette.
#[derive(Debug)]
struct Report {
    problem: Problem,
    source: Option<NamedSource<String>>,
    span: Option<SourceSpan>,
}

impl Report {
    fn of(problem: &Problem, text: Option<Arc<str>>) -> Self {
        let span = text.as_deref().and_then(|t| span_in(t, &problem.origin));
        let name = problem.origin.file.display().to_string();
        let source = if span.is_some() { text.map(|t| NamedSource::new(name, t.to_string())) } else { None };
        Self { problem: problem.clone(), source, span }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_none() && !self.problem.origin.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.problem.origin)?;
        }
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(if self.problem.is_error() { miette::Severity::Error } else { miette::Severity::Warning })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.problem.help.is_empty() { None } else { Some(Box::new(&self.problem.help)) }
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|s| s as &dyn miette::SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// The byte span of what stands at an origin: a quoted string, a key, or a plain value up to the end of its line.
fn span_in(text: &str, origin: &Origin) -> Option<SourceSpan> {
    let index = origin.line.checked_sub(1)?;
    let mut start = 0usize;
    let mut lines = text.split_inclusive('\n');
    for _ in 0..index {
        start += lines.next()?.len();
    }
    let line = lines.next().unwrap_or("");
    let skip: usize = line.chars().take(origin.column.saturating_sub(1)).map(char::len_utf8).sum();
    let rest = line.get(skip..)?.trim_end();
    Some(SourceSpan::new((start + skip).into(), token_length(rest)))
}

/// Length in bytes of the token a line continues with.
fn token_length(rest: &str) -> usize {
    let mut chars = rest.char_indices();
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '"' || first == '\'' {
        let mut escaped = false;
        for (at, c) in chars {
            if escaped {
                escaped = false;
            } else if first == '"' && c == '\\' {
                escaped = true;
            } else if c == first {
                return at + c.len_utf8();
            }
        }
        return rest.len();
    }
    if first == '[' || first == '{' {
        return rest.len();
    }
    let ends = [": ", " #", ",", "]", "}"].iter().filter_map(|end| rest.find(end)).min();
    let plain = ends.unwrap_or(rest.len());
    rest.get(..plain).map_or(rest.len(), |token| token.strip_suffix(':').unwrap_or(token).trim_end().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &Path, line: usize, column: usize) -> Origin {
        Origin { file: Arc::new(file.to_path_buf()), line, column }
    }

    #[test]
    fn a_problem_shows_file_line_snippet_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, "name: one\nstagged: true\nkind: x\n").unwrap();
        let text =
            render(&[Problem::error(&at(&file, 2, 1), "unknown key `stagged`", "did you mean `staged`?")], false);
        assert!(text.contains("p.yaml:2:1"), "{text}");
        assert!(text.contains("stagged: true"), "{text}");
        assert!(text.contains("did you mean `staged`?"), "{text}");
        assert!(text.contains("unknown key `stagged`"), "{text}");
        assert!(text.contains("   · ───────\n"), "{text}");
    }

    #[test]
    fn problems_come_in_order_of_file_and_line() {
        let file = Path::new("/nonexistent/a.yaml");
        let text = render(
            &[Problem::error(&at(file, 9, 1), "second", ""), Problem::error(&at(file, 2, 1), "first", "")],
            false,
        );
        assert!(text.find("first").unwrap() < text.find("second").unwrap());
        assert!(text.contains("/nonexistent/a.yaml:9:1"), "{text}");
    }

    #[test]
    fn a_secret_beside_the_problem_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.yaml");
        std::fs::write(&file, "name: ann\nverifier: SCRAM-SHA-256$4096:c2FsdA==$x:y\nx: [SCRAM-SHA-256$1:s$a:b]\n")
            .unwrap();
        let text = render(&[Problem::error(&at(&file, 2, 11), "bad verifier", "")], false);
        assert!(text.contains("verifier: ****"), "{text}");
        assert!(!text.contains("c2FsdA"), "{text}");
        assert!(!text.contains("$1:s"), "{text}");
    }

    #[test]
    fn an_origin_outside_the_file_does_not_break_rendering() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, "é: ü\n").unwrap();
        for (line, column) in [(0, 0), (1, 1), (1, 4), (1, 400), (2, 1), (70, 3)] {
            assert!(render(&[Problem::error(&at(&file, line, column), "wrong", "")], false).contains("wrong"));
        }
    }

    #[test]
    fn one_line_form() {
        let p = Problem::warning(&at(Path::new("a.yaml"), 3, 4), "odd", "look");
        assert_eq!(p.to_string(), "a.yaml:3:4: warning: odd (look)");
        assert_eq!(Problem::nowhere("down", "").to_string(), "error: down");
        assert_eq!(count(&[p.clone(), Problem::nowhere("x", "")]), (1, 1));
        assert!(!any_error(&[p]));
    }
}
