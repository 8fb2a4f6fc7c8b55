//! Reads typed values out of a [`Node`] tree and keeps every problem instead of stopping at the first.
//!
//! In: nodes of one file. Out: values, and in [`Reader::problems`] what is wrong with the rest. Must never: let a key pass that
//! nobody asked for, or take a number or truth value for text because it looks like it.

use crate::governance::fill::has_template;
use crate::governance::model::Origin;
use crate::governance::places::{Lined, Places};
use crate::governance::problem::Problem;
use crate::governance::tree::{Key, Node, Value, is_null_text};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What a name in a document refers to; checked once everything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A tag, by dotted path.
    Tag,
    /// A purpose, by dotted name.
    Purpose,
    /// A data source, by name.
    DataSource,
}

/// A name used in a document, and where.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What it names.
    pub target: Target,
    /// The name.
    pub name: String,
    /// Where it is used.
    pub origin: Origin,
}

/// Text and where it stands.
pub type Placed = (String, Origin);

/// The reading of one file.
#[derive(Debug)]
pub struct Reader {
    file: Arc<PathBuf>,
    text: Lined,
    /// The directory that files named in documents must not leave.
    pub root: PathBuf,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// Names used so far.
    pub references: Vec<Reference>,
}

/// The entries of one mapping, each to be taken once; what is left is unknown.
#[derive(Debug)]
pub struct Fields<'a> {
    /// Where the mapping begins.
    pub origin: Origin,
    what: &'static str,
    entries: Vec<(&'a Key, &'a Node, bool)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value of a key, null included.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let entry = self.entries.iter_mut().find(|(key, _, _)| key.name == name)?;
        entry.2 = true;
        Some(entry.1)
    }

    /// The value of a key that may be left out; null counts as left out.
    pub fn optional(&mut self, name: &'static str) -> Option<&'a Node> {
        self.take(name).filter(|node| !node.is_null())
    }

    /// Whether the key is there at all, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _, _)| key.name == name)
    }
}

impl Reader {
    /// A reader of one file with this text.
    pub fn new(file: Arc<PathBuf>, text: &str) -> Self {
        let root = file.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
        Self { file, text: Lined::new(text), root, problems: Vec::new(), references: Vec::new() }
    }

    /// Where each character of a scalar's text stands.
    pub fn places(&self, node: &Node) -> Places {
        match &node.value {
            Value::Scalar { text, .. } => Places::follow(&self.text, self.origin(node), text),
            _ => Places::all_at(self.origin(node)),
        }
    }

    /// Where a node stands.
    pub fn origin(&self, node: &Node) -> Origin {
        Origin { file: Arc::clone(&self.file), line: node.line, column: node.column }
    }

    /// Adds an error at a node.
    pub fn error(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        let origin = self.origin(node);
        self.problems.push(Problem::error(&origin, message, help));
    }

    /// Adds an error at an origin.
    pub fn error_at(&mut self, origin: &Origin, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::error(origin, message, help));
    }

    /// Adds a warning at a node.
    pub fn warn(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) {
        let origin = self.origin(node);
        self.problems.push(Problem::warning(&origin, message, help));
    }

    /// Adds the error for a feature of the V2 documents that this version does not enforce.
    pub fn unsupported(&mut self, node: &Node, feature: impl AsRef<str>, help: impl Into<String>) {
        self.error(node, format!("not supported yet: {}", feature.as_ref()), help);
    }

    /// Notes that a name is used.
    pub fn refer(&mut self, target: Target, placed: &Placed) {
        self.references.push(Reference { target, name: placed.0.clone(), origin: placed.1.clone() });
    }

    /// The entries of a mapping.
    pub fn fields<'a>(&mut self, node: &'a Node, what: &'static str) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            self.error(node, format!("{what} must be a mapping, found {}", kind(node)), "write `key: value` pairs");
            return None;
        };
        let entries = entries.iter().map(|(key, value)| (key, value, false)).collect();
        Some(Fields { origin: self.origin(node), what, entries, known: Vec::new() })
    }

    /// Reports every key that was not taken.
    pub fn finish(&mut self, fields: Fields<'_>) {
        for (key, _, taken) in &fields.entries {
            if *taken {
                continue;
            }
            let origin = Origin { file: Arc::clone(&self.file), line: key.line, column: key.column };
            let help = match closest(&key.name, &fields.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", fields.known.join(", ")),
            };
            self.problems.push(Problem::error(&origin, format!("unknown key `{}` in {}", key.name, fields.what), help));
        }
    }

    /// The value of a key that must be there.
    pub fn required<'a>(&mut self, fields: &mut Fields<'a>, name: &'static str) -> Option<&'a Node> {
        let found = fields.take(name);
        if found.is_none() {
            let message = format!("{} lacks the key `{name}`", fields.what);
            self.error_at(&fields.origin, message, format!("add `{name}`"));
        }
        found
    }

    /// A scalar's text, whatever it looks like: for values that may be numbers (constants, attribute values).
    pub fn scalar(&mut self, node: &Node) -> Option<Placed> {
        match &node.value {
            Value::Scalar { text, plain } if !(*plain && is_null_text(text)) => {
                if has_template(text) {
                    let help = "write the value itself: what stands here is shown to people";
                    self.error(node, "a template outside the `connection` of a data document", help);
                    return None;
                }
                Some((text.clone(), self.origin(node)))
            }
            _ => {
                self.error(node, format!("expected a value, found {}", kind(node)), hint_for(node));
                None
            }
        }
    }

    /// Text that may be empty.
    pub fn text(&mut self, node: &Node) -> Option<Placed> {
        match &node.value {
            Value::Scalar { text, plain: true } if looks_typed(text) => {
                self.error(node, format!("expected text, found {}", kind(node)), hint_for(node));
                None
            }
            Value::Scalar { .. } => self.scalar(node),
            _ => {
                self.error(node, format!("expected text, found {}", kind(node)), hint_for(node));
                None
            }
        }
    }

    /// Text that names something: not empty, without spaces around.
    pub fn name(&mut self, node: &Node) -> Option<Placed> {
        let placed = self.text(node)?;
        if placed.0.trim().is_empty() {
            self.error(node, "expected a name, found empty text", "write the name");
            return None;
        }
        if placed.0.trim() != placed.0 {
            self.error(node, "a name with spaces around it", "remove the spaces inside the quotes");
            return None;
        }
        Some(placed)
    }

    /// A name that must be there.
    pub fn required_name(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Option<Placed> {
        let node = self.required(fields, name)?;
        self.name(node)
    }

    /// A name that may be left out.
    pub fn optional_name(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Option<Placed> {
        let node = fields.optional(name)?;
        self.name(node)
    }

    /// Text that may be left out.
    pub fn optional_text(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
        let node = fields.optional(name)?;
        self.text(node).map(|placed| placed.0)
    }

    /// `true` or `false` (YAML 1.2 core schema); left out = `default`.
    pub fn flag(&mut self, fields: &mut Fields<'_>, name: &'static str, default: bool) -> bool {
        self.optional_flag(fields, name).unwrap_or(default)
    }

    /// `true` or `false`, when given.
    pub fn optional_flag(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Option<bool> {
        let node = fields.optional(name)?;
        self.flag_of(node, name)
    }

    /// The truth value of a node.
    pub fn flag_of(&mut self, node: &Node, name: &str) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "True" | "TRUE") => Some(true),
            Value::Scalar { text, plain: true } if matches!(text.as_str(), "false" | "False" | "FALSE") => Some(false),
            _ => {
                let message = format!("`{name}` must be true or false, found {}", kind(node));
                self.error(node, message, "write true or false, without quotes");
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn integer(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = match &node.value {
            Value::Scalar { text, plain: true } if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<u64>().ok(),
            _ => None,
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            _ => {
                let message = format!(
                    "`{what}` must be a whole number from {} to {}, found {}",
                    range.start(),
                    range.end(),
                    kind(node)
                );
                self.error(node, message, "correct the number");
                None
            }
        }
    }

    /// An instant: ISO 8601 with an offset, or a date (midnight UTC).
    pub fn instant(&mut self, node: &Node) -> Option<jiff::Timestamp> {
        let (text, _) = self.text(node)?;
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(instant);
        }
        let midnight = text.parse::<jiff::civil::Date>().ok().and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
        if text.len() == 10
            && let Some(zoned) = midnight
        {
            return Some(zoned.timestamp());
        }
        self.error(node, format!("`{text}` is not an instant"), "write it as 2020-12-01T16:23:54Z or 2020-12-01");
        None
    }

    /// One of several words. `any_case`: the letters' case does not matter.
    pub fn word(&mut self, node: &Node, what: &str, words: &[&'static str], any_case: bool) -> Option<&'static str> {
        let (text, _) = self.text(node)?;
        let same = |word: &&&str| **word == text || (any_case && word.eq_ignore_ascii_case(&text));
        if let Some(word) = words.iter().find(same) {
            return Some(word);
        }
        let help = match closest(&text, words) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of: {}", words.join(", ")),
        };
        self.error(node, format!("`{text}` is not a known {what}"), help);
        None
    }

    /// The items of a list.
    pub fn list<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.error(
            node,
            format!("`{what}` must be a list, found {}", kind(node)),
            "write each entry on a line of its own after `- `",
        );
        &[]
    }

    /// The items of a list; an empty list is an error with this remedy.
    pub fn some<'a>(&mut self, node: &'a Node, what: &str, help: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.error(node, format!("`{what}` is empty"), help);
                None
            }
            Value::List(items) => Some(items),
            _ => {
                self.list(node, what);
                None
            }
        }
    }

    /// The items of a list that may be left out; nothing = empty.
    pub fn optional_list<'a>(&mut self, fields: &mut Fields<'a>, name: &'static str) -> &'a [Node] {
        match fields.optional(name) {
            Some(node) => self.list(node, name),
            None => &[],
        }
    }

    /// The items of a list, or the node itself when it is a mapping: for keys that take one object or several.
    pub fn one_or_many<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        match &node.value {
            Value::Map(_) => std::slice::from_ref(node),
            _ => self.list(node, what),
        }
    }

    /// A list of distinct names that may be left out.
    pub fn names(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Vec<Placed> {
        let items = self.optional_list(fields, name);
        self.distinct_names(items)
    }

    /// Distinct names; a repeated one is a warning and kept once.
    pub fn distinct_names(&mut self, items: &[Node]) -> Vec<Placed> {
        let mut out: Vec<Placed> = Vec::new();
        let mut seen = HashSet::new();
        for item in items {
            let Some(placed) = self.name(item) else { continue };
            if !seen.insert(placed.0.clone()) {
                self.warn(item, format!("`{}` is listed twice", placed.0), "remove one of them");
            } else {
                out.push(placed);
            }
        }
        out
    }

    /// A list of tags that may be left out; each must be declared somewhere.
    pub fn tags(&mut self, fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
        let found = self.names(fields, name);
        found.into_iter().filter_map(|placed| self.used_tag(placed)).collect()
    }

    /// One tag in use: of the right form, and noted to be declared.
    pub fn used_tag(&mut self, placed: Placed) -> Option<String> {
        if let Some(why) = crate::governance::tags::malformed(&placed.0) {
            self.error_at(
                &placed.1,
                format!("`{}` is not a tag: {why}", placed.0),
                "write dotted segments, as in `Discovered.Entity.Date`",
            );
            return None;
        }
        self.refer(Target::Tag, &placed);
        Some(placed.0)
    }
}

/// What a node is, for messages.
pub fn kind(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a mapping".into(),
        Value::Scalar { text, plain: true } if is_null_text(text) => "nothing (null)".into(),
        Value::Scalar { text, plain: true } if is_bool_text(text) => "a truth value".into(),
        Value::Scalar { text, plain: true } if is_number_text(text) => format!("the number {text}"),
        Value::Scalar { .. } => "text".into(),
    }
}

fn hint_for(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain: true } if !text.is_empty() && looks_typed(text) => {
            format!("if the text is meant, write it in quotes: \"{text}\"")
        }
        _ => "write a value".into(),
    }
}

/// YAML 1.2.2, 10.3.2: the spellings of truth values.
fn is_bool_text(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// YAML 1.2.2, 10.3.2: plain scalars that are numbers.
fn is_number_text(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, digit: fn(char) -> bool| {
        text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(digit))
    };
    if radix("0x", |c| c.is_ascii_hexdigit()) || radix("0o", |c| ('0'..='7').contains(&c)) {
        return true;
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.parse::<f64>().is_ok()
}

fn looks_typed(text: &str) -> bool {
    is_null_text(text) || is_bool_text(text) || is_number_text(text)
}

/// The known word nearest to a misspelt one: the same but for letter case, or at most two edits away.
pub fn closest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let best = known.iter().map(|word| (distance(&lower, &word.to_lowercase()), *word)).min_by_key(|(d, _)| *d)?;
    let allowed = if wrong.chars().count() <= 3 { 1 } else { 2 };
    (best.0 <= allowed).then_some(best.1)
}

/// Levenshtein distance. Long words are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let cost = usize::from(x != *y);
            left = (diagonal + cost).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::tree;

    fn document(text: &str) -> Node {
        tree::parse(&Arc::new(PathBuf::from("f.yaml")), text).unwrap().remove(0)
    }

    fn problems_of(text: &str, read: impl Fn(&mut Reader, &mut Fields<'_>)) -> Vec<String> {
        let node = document(text);
        let mut reader = Reader::new(Arc::new(PathBuf::from("f.yaml")), text);
        let mut fields = reader.fields(&node, "a thing").unwrap();
        read(&mut reader, &mut fields);
        reader.finish(fields);
        reader.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_are_all_reported_with_the_nearest_known_one() {
        let found = problems_of("nmae: x\nStaged: true\nzzz: 1\n", |r, f| {
            r.optional_name(f, "name");
            r.flag(f, "staged", false);
        });
        assert_eq!(
            found,
            [
                "f.yaml:1:1: error: unknown key `nmae` in a thing (did you mean `name`?)",
                "f.yaml:2:1: error: unknown key `Staged` in a thing (did you mean `staged`?)",
                "f.yaml:3:1: error: unknown key `zzz` in a thing (known keys: name, staged)",
            ]
        );
    }

    #[test]
    fn types_are_not_guessed() {
        for (value, wrong) in [
            ("5", "the number 5"),
            ("-1.5e3", "the number -1.5e3"),
            ("0x1F", "the number 0x1F"),
            ("true", "a truth value"),
            ("Null", "nothing (null)"),
            ("~", "nothing (null)"),
            ("[a]", "a list"),
            ("{a: b}", "a mapping"),
        ] {
            let found = problems_of(&format!("x: {value}\n"), |r, f| {
                let node = r.required(f, "x").unwrap();
                assert_eq!(r.name(node), None);
            });
            assert_eq!(found.len(), 1, "{value}: {found:?}");
            assert!(found[0].contains(&format!("found {wrong}")), "{value}: {found:?}");
        }
        for value in ["'5'", "\"true\"", "\"Null\"", "nan", "infinity", "yes", "1.2.3", "2020-12-01", "e5"] {
            let found = problems_of(&format!("x: {value}\n"), |r, f| {
                assert!(r.required_name(f, "x").is_some(), "{value}");
            });
            assert!(found.is_empty(), "{value}: {found:?}");
        }
    }

    #[test]
    fn flags_integers_words_and_instants() {
        assert!(problems_of("x: yes\n", |r, f| assert!(!r.flag(f, "x", false)))[0].contains("must be true or false"));
        assert!(problems_of("x: 'true'\n", |r, f| assert!(!r.flag(f, "x", false)))[0].contains("without quotes"));
        assert!(problems_of("x: null\n", |r, f| assert!(r.flag(f, "x", true))).is_empty());
        for (value, ok) in
            [("15", true), ("101", false), ("-1", false), ("1.5", false), ("'15'", false), ("''", false), ("", false)]
        {
            let found = problems_of(&format!("x: {value}\n"), |r, f| {
                let node = r.required(f, "x").unwrap();
                assert_eq!(r.integer(node, "x", 0..=100).is_some(), ok, "{value}");
            });
            assert_eq!(found.is_empty(), ok, "{value}: {found:?}");
        }
        let found = problems_of("x: ANY\ny: anny\n", |r, f| {
            let x = r.required(f, "x").unwrap();
            assert_eq!(r.word(x, "operator", &["all", "any"], true), Some("any"));
            let y = r.required(f, "y").unwrap();
            assert_eq!(r.word(y, "operator", &["all", "any"], true), None);
        });
        assert_eq!(found, ["f.yaml:2:4: error: `anny` is not a known operator (did you mean `any`?)"]);
        for (value, ok) in
            [("'2020-12-01T16:23:54.734Z'", true), ("2020-12-01", true), ("2020-13-01", false), ("soon", false)]
        {
            let found = problems_of(&format!("x: {value}\n"), |r, f| {
                let node = r.required(f, "x").unwrap();
                assert_eq!(r.instant(node).is_some(), ok, "{value}");
            });
            assert_eq!(found.is_empty(), ok, "{value}");
        }
    }

    #[test]
    fn environment_templates_are_not_taken_for_text() {
        let found = problems_of("x: '{{EnvVar \"p\"}}'\n", |r, f| {
            assert_eq!(r.required_name(f, "x"), None);
        });
        assert!(found[0].contains("a template outside the `connection`"), "{found:?}");
    }
}
