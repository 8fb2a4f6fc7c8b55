//! Finds records in a trail.
//!
//! In: the folder and what is looked for. Out: the records that fit, in the order they were written. Must never: prove anything: that is
//! [`super::verify`].

use super::segments;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// What is looked for: all of it has to fit.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose statement it is, or who logged in for him.
    pub user: Option<String>,
    /// A data source that is read or written: its name, or the relation's.
    pub source: Option<String>,
    /// A purpose acted for.
    pub purpose: Option<String>,
    /// A project.
    pub project: Option<String>,
    /// A tag of a data source or of a column that is read or written; those below it fit, too.
    pub tag: Option<String>,
    /// Not before.
    pub from: Option<jiff::Timestamp>,
    /// Before.
    pub to: Option<jiff::Timestamp>,
    /// What was decided, or how it ended: `allowed`, `refused`, `login`, `login refused`, `completed`, `failed`, …
    pub decision: Option<String>,
    /// A part of the statement, whatever its case.
    pub text: Option<String>,
    /// The fingerprint of the statement.
    pub fingerprint: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The kind of record: `statement`, `login`, …
    pub kind: Option<String>,
}

fn text<'r>(record: &'r Value, name: &str) -> Option<&'r str> {
    record.get(name)?.as_str()
}

fn texts<'r>(record: &'r Value, name: &str) -> impl Iterator<Item = &'r str> {
    record.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn is_tag(asked: &str, tag: &str) -> bool {
    tag == asked || tag.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.'))
}

impl Filter {
    /// Whether a record fits.
    pub fn fits(&self, record: &Value) -> bool {
        let is = |asked: &Option<String>, names: &[&str]| {
            asked.as_ref().is_none_or(|asked| names.iter().any(|name| text(record, name) == Some(asked)))
        };
        let time = || text(record, "time").and_then(|time| time.parse::<jiff::Timestamp>().ok());
        is(&self.user, &["user", "login"])
            && is(&self.project, &["project"])
            && is(&self.decision, &["decision", "outcome"])
            && is(&self.fingerprint, &["fingerprint"])
            && is(&self.session, &["session"])
            && is(&self.kind, &["kind"])
            && self.purpose.as_ref().is_none_or(|asked| texts(record, "purposes").any(|purpose| purpose == asked))
            && self.from.is_none_or(|from| time().is_some_and(|time| time >= from))
            && self.to.is_none_or(|to| time().is_some_and(|time| time < to))
            && self.source.as_ref().is_none_or(|asked| sources(record).any(|source| is_called(source, asked)))
            && self.tag.as_ref().is_none_or(|asked| sources(record).any(|source| is_tagged(source, asked)))
            && self.text.as_ref().is_none_or(|asked| holds(record, asked))
    }
}

/// Those of the statement and of what it executes.
fn sources(record: &Value) -> impl Iterator<Item = &Value> {
    let of = [Some(record), record.get("of")].into_iter().flatten();
    of.filter_map(|of| of.get("sources")).filter_map(Value::as_array).flatten()
}

fn is_called(source: &Value, asked: &str) -> bool {
    ["name", "relation"].iter().any(|name| text(source, name) == Some(asked))
}

fn is_tagged(source: &Value, asked: &str) -> bool {
    let columns = source.get("columnTags").and_then(Value::as_object).into_iter().flatten();
    let of_columns = columns.flat_map(|(_, tags)| tags.as_array().into_iter().flatten()).filter_map(Value::as_str);
    texts(source, "tags").chain(of_columns).any(|tag| is_tag(asked, tag))
}

fn holds(record: &Value, asked: &str) -> bool {
    let asked = asked.to_lowercase();
    let of = [Some(record), record.get("of")].into_iter().flatten();
    let mut texts = of.flat_map(|of| [text(of, "text"), text(of, "statement")]).flatten();
    texts.any(|text| text.to_lowercase().contains(&asked))
}

/// Calls `found` for each record that fits, until it says that it has enough. Gives how many lines were no records.
///
/// # Errors
/// When a file cannot be read, or those of `found`.
pub fn search(folder: &Path, filter: &Filter, mut found: impl FnMut(&Value) -> io::Result<bool>) -> io::Result<u64> {
    let mut unread = 0;
    for segment in segments::list(folder)? {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&segment.path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // What is behind the last line feed is being written, or was cut off.
            if line.last() != Some(&b'\n') {
                break;
            }
            match serde_json::from_slice::<Value>(&line) {
                Ok(record) if !filter.fits(&record) => {}
                Ok(record) => {
                    if !found(&record)? {
                        return Ok(unread);
                    }
                }
                Err(_) => unread += 1,
            }
        }
    }
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_that_is_asked_has_to_fit() {
        let record = json!({
            "time": "2026-11-23T06:55:01.000000Z", "kind": "statement", "user": "ana", "login": "bi", "project": "p",
            "purposes": ["Audit"], "statement": "SELECT Ssn FROM people", "decision": "allowed", "outcome": "completed",
            "sources": [{"name": "People", "relation": "hr.people", "tags": ["HR"], "columnTags": {"ssn": ["PII.Id"]}}],
        });
        let fits = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.fits(&record)
        };
        let some = |text: &str| Some(text.to_owned());
        assert!(fits(&|_| {}));
        assert!(fits(&|f| (f.user, f.purpose) = (some("bi"), some("Audit"))));
        assert!(fits(&|f| (f.source, f.tag) = (some("hr.people"), some("PII"))));
        assert!(fits(&|f| (f.source, f.tag) = (some("People"), some("HR"))));
        assert!(fits(&|f| (f.text, f.decision) = (some("ssn from"), some("completed"))));
        assert!(fits(&|f| f.from = "2026-11-23T06:55:01Z".parse().ok()));
        assert!(!fits(&|f| f.to = "2026-11-23T06:55:01Z".parse().ok()));
        assert!(!fits(&|f| f.tag = some("PI")));
        assert!(!fits(&|f| (f.user, f.purpose) = (some("ana"), some("Tax"))));
        assert!(!fits(&|f| f.decision = some("refused")));
    }
}
