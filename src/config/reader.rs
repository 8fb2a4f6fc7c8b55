//! Reading a strict YAML or JSON tree by hand, so that every problem of a file is found in one go.
//!
//! In: a [`Node`] of `governance::tree`. Out: typed values; what does not fit becomes a [`Problem`] at its own line. Shared by the
//! configuration and the identity file. Must never: repeat the value of a secret in a problem, stop at the first problem.

use super::given::{BESIDE, Overrides};
use crate::governance::document;
use crate::governance::model::Origin;
use crate::governance::problem::{Problem, any_error};
use crate::governance::tree::{self, Key, Node, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One file being read and the problems found in it so far.
pub(crate) struct Reader {
    file: Arc<PathBuf>,
    /// Who gives the values that do not stand in the file.
    beside: Vec<Arc<PathBuf>>,
    problems: Vec<Problem>,
}

/// The entries of one mapping; those not taken by the end are unknown keys.
pub(crate) struct Entries<'a> {
    /// Where the mapping begins.
    pub(crate) origin: Origin,
    rest: Vec<&'a (Key, Node)>,
    known: Vec<&'static str>,
}

impl Entries<'_> {
    /// What was not taken is somebody else's to read.
    pub(crate) fn leave(&mut self) {
        self.rest.clear();
    }
}

impl Reader {
    /// Opens a file that holds exactly one document, a mapping, and hands it to `read`. Warnings come along with the value.
    pub(crate) fn open<T>(
        path: &Path,
        read: impl FnOnce(&mut Self, &mut Entries<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        Self::open_with(path, &Overrides::default(), read)
    }

    /// [`Self::open`] with values that are given beside the file.
    pub(crate) fn open_with<T>(
        path: &Path,
        given: &Overrides,
        read: impl FnOnce(&mut Self, &mut Entries<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        let text = document::read(path).map_err(|problem| vec![problem])?;
        Self::text_with(path, &text, given, read)
    }

    /// [`Self::open`] of a text already read.
    #[cfg(test)]
    pub(crate) fn text<T>(
        path: &Path,
        text: &str,
        read: impl FnOnce(&mut Self, &mut Entries<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        Self::text_with(path, text, &Overrides::default(), read)
    }

    fn text_with<T>(
        path: &Path,
        text: &str,
        given: &Overrides,
        read: impl FnOnce(&mut Self, &mut Entries<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        let file = Arc::new(path.to_path_buf());
        let mut documents = tree::parse(&file, text)?;
        if let [one] = documents.as_mut_slice() {
            given.put_into(one)?;
        }
        let mut reader = Self { file, beside: given.names(), problems: Vec::new() };
        let value = match documents.as_slice() {
            [one] => reader.map(one).and_then(|mut entries| {
                let value = read(&mut reader, &mut entries);
                reader.close(entries);
                value
            }),
            [] => {
                reader.problems.push(Problem::in_file(path, "is empty", "see the commented samples in config/"));
                None
            }
            [_, second, ..] => {
                let origin = reader.origin(second);
                reader.error(&origin, "a second document in the file", "one file holds one document; remove the rest");
                None
            }
        };
        match value {
            Some(value) if !any_error(&reader.problems) => Ok((value, reader.problems)),
            // A reader that gives up says why.
            _ => Err(reader.problems),
        }
    }

    pub(crate) fn origin(&self, node: &Node) -> Origin {
        self.place(node.line, node.column)
    }

    fn key_origin(&self, key: &Key) -> Origin {
        self.place(key.line, key.column)
    }

    fn place(&self, line: usize, column: usize) -> Origin {
        match line.checked_sub(BESIDE).and_then(|at| self.beside.get(at)) {
            Some(name) => Origin { file: Arc::clone(name), line: 0, column: 0 },
            None => Origin { file: Arc::clone(&self.file), line, column },
        }
    }

    pub(crate) fn error(&mut self, origin: &Origin, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::error(origin, message, help));
    }

    pub(crate) fn warning(&mut self, origin: &Origin, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::warning(origin, message, help));
    }

    fn wrong<T>(&mut self, node: &Node, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        let origin = self.origin(node);
        self.error(&origin, message, help);
        None
    }

    /// A mapping.
    pub(crate) fn map<'a>(&mut self, node: &'a Node) -> Option<Entries<'a>> {
        match &node.value {
            Value::Map(entries) => {
                let origin = self.origin(node);
                Some(Entries { origin, rest: entries.iter().collect(), known: Vec::new() })
            }
            Value::Scalar { .. } | Value::List(_) => {
                self.wrong(node, "a mapping (`key: value`) is expected here", "write keys and values")
            }
        }
    }

    /// Every key not taken is unknown.
    pub(crate) fn close(&mut self, entries: Entries<'_>) {
        for (key, _) in &entries.rest {
            let origin = self.key_origin(key);
            let help = match nearest(&key.name, &entries.known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known keys here: {}", entries.known.join(", ")),
            };
            self.error(&origin, format!("unknown key `{}`", key.name), help);
        }
    }

    /// The value of a key, when given. A key without a value is a problem.
    pub(crate) fn optional<'a>(&mut self, entries: &mut Entries<'a>, name: &'static str) -> Option<&'a Node> {
        entries.known.push(name);
        let at = entries.rest.iter().position(|(key, _)| key.name == name)?;
        let (key, node) = entries.rest.swap_remove(at);
        if node.is_null() {
            let origin = self.key_origin(key);
            self.error(&origin, format!("`{name}` has no value"), "give it a value or remove the key");
            return None;
        }
        Some(node)
    }

    /// Whether a key is there, whatever its value.
    pub(crate) fn has(&self, entries: &Entries<'_>, name: &str) -> bool {
        entries.rest.iter().any(|(key, _)| key.name == name)
    }

    /// The value of a key that must be there.
    pub(crate) fn required<'a>(&mut self, entries: &mut Entries<'a>, name: &'static str) -> Option<&'a Node> {
        let given = entries.rest.iter().any(|(key, _)| key.name == name);
        let node = self.optional(entries, name);
        if !given {
            let origin = entries.origin.clone();
            self.error(&origin, format!("missing key `{name}`"), "add the key");
        }
        node
    }

    /// All entries of a mapping whose keys are names of the administrator's choice.
    pub(crate) fn named<'a>(&mut self, node: &'a Node) -> Vec<(&'a str, Origin, &'a Node)> {
        let Some(mut entries) = self.map(node) else { return Vec::new() };
        let mut out = Vec::new();
        for (key, value) in std::mem::take(&mut entries.rest) {
            let origin = self.key_origin(key);
            if key.name.is_empty() {
                self.error(&origin, "an empty name", "write a name");
            } else if value.is_null() {
                self.error(&origin, format!("`{}` has no value", key.name), "give it a value or remove the key");
            } else {
                out.push((key.name.as_str(), origin, value));
            }
        }
        out
    }

    /// A text; a plain number or word is text too.
    pub(crate) fn string(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() && !text.is_empty() => Some(text.clone()),
            Value::Scalar { .. } => self.wrong(node, "an empty text", "write a text"),
            Value::List(_) | Value::Map(_) => self.wrong(node, "a text is expected here", "write one value"),
        }
    }

    /// One of these words, each with what it means.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, words: &[(&str, T)], message: &str, help: &str) -> Option<T> {
        let text = self.string(node)?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Some(*meaning),
            None => self.wrong(node, message, help),
        }
    }

    pub(crate) fn list<'a>(&mut self, node: &'a Node) -> &'a [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => {
                let _: Option<()> = self.wrong(node, "a list is expected here", "write `- item` lines or [a, b]");
                &[]
            }
        }
    }

    /// A text or a list of texts.
    pub(crate) fn strings(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            Value::Scalar { .. } => self.string(node).into_iter().collect(),
            Value::List(items) => items.iter().filter_map(|item| self.string(item)).collect(),
            Value::Map(_) => {
                let _: Option<()> = self.wrong(node, "a text or a list of texts is expected here", "write [a, b]");
                Vec::new()
            }
        }
    }

    fn plain<'a>(&self, node: &'a Node) -> Option<&'a str> {
        match &node.value {
            Value::Scalar { text, plain: true } => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn boolean(&mut self, node: &Node) -> Option<bool> {
        match self.plain(node) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => self.wrong(node, "true or false is expected here", "write true or false, without quotes"),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&mut self, node: &Node, low: u64, high: u64) -> Option<u64> {
        let number = self.plain(node).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
        match number {
            Some(number) if (low..=high).contains(&number) => Some(number),
            _ => self.wrong(
                node,
                format!("a whole number from {low} to {high} is expected here"),
                "write digits, without quotes",
            ),
        }
    }

    /// A count that is kept in memory.
    pub(crate) fn count(&mut self, node: &Node, low: u64, high: u64) -> Option<usize> {
        self.integer(node, low, high).and_then(|n| usize::try_from(n).ok())
    }

    /// A size: bytes, or with the unit kB, MB or GB (powers of 1024, as in postgresql.conf).
    pub(crate) fn bytes(&mut self, node: &Node, low: u64, high: u64) -> Option<usize> {
        let text = match &node.value {
            Value::Scalar { text, .. } => text.as_str(),
            Value::List(_) | Value::Map(_) => "",
        };
        let units = [("kB", 1u64 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("", 1)];
        let bytes = units
            .iter()
            .find_map(|(unit, factor)| number(text.strip_suffix(unit)?).and_then(|n| n.checked_mul(*factor)))
            .filter(|n| (low..=high).contains(n));
        match bytes.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Some(n),
            None => self.wrong(
                node,
                format!("a size from {low} to {high} bytes is expected here"),
                "write bytes, or a number with kB, MB or GB, such as 64MB",
            ),
        }
    }

    /// A duration such as `500ms`, `10s`, `5m`, `1h`, `7d`; `0` = none.
    pub(crate) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = match &node.value {
            Value::Scalar { text, .. } => text.as_str(),
            Value::List(_) | Value::Map(_) => "",
        };
        let units = [("ms", 1u64), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let millis = if text == "0" {
            Some(0)
        } else {
            units
                .iter()
                .find_map(|(unit, factor)| number(text.strip_suffix(unit)?).and_then(|n| n.checked_mul(*factor)))
                // A century is beyond anything meant, and keeps every later sum within bounds.
                .filter(|n| *n <= 100 * 365 * 86_400_000)
        };
        match millis {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => self.wrong(
                node,
                "a duration is expected here",
                "write a whole number with its unit: 500ms, 10s, 5m, 1h, 7d",
            ),
        }
    }

    /// A duration that must not be zero.
    pub(crate) fn some_duration(&mut self, node: &Node) -> Option<Duration> {
        match self.duration(node)? {
            Duration::ZERO => self.wrong(node, "a duration above zero is expected here", "write for example 10s"),
            duration => Some(duration),
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let digits = digits.trim_end();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// The known key closest in spelling, when close enough to be meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let letters = |word: &str| {
        let mut bytes = word.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    // The same letters in another order count as one slip.
    let slips = |k: &str| if letters(&name) == letters(k) { 1.min(distance(&name, k)) } else { distance(&name, k) };
    let best = known.iter().map(|k| (slips(k), *k)).min();
    best.filter(|(d, k)| *d <= 1 + k.len() / 5).map(|(_, k)| k)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (cb, pair) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(ca != *cb)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<T>(text: &str, read: impl FnOnce(&mut Reader, &Node) -> Option<T>) -> Result<T, Vec<String>> {
        Reader::text(Path::new("c.yaml"), &format!("x: {text}\n"), |reader, entries| {
            let node = reader.required(entries, "x")?;
            read(reader, node)
        })
        .map(|(value, _)| value)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn durations_and_sizes() {
        for (text, millis) in [("0", 0), ("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("\"1h\"", 3_600_000)] {
            assert_eq!(one(text, Reader::duration).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["10", "-1s", "1.5h", "s", "99999999999999999999s", "1w", "[1s]", "5000000d"] {
            assert!(one(text, Reader::duration).is_err(), "{text}");
        }
        assert!(one("0", Reader::some_duration).is_err());
        for (text, bytes) in [("10", 10), ("2kB", 2048), ("64MB", 64 << 20), ("1 GB", 1 << 30)] {
            assert_eq!(one(text, |r, n| r.bytes(n, 1, 1 << 30)).unwrap(), bytes, "{text}");
        }
        for text in ["0", "2GB", "1KB", "MB", "-1"] {
            assert!(one(text, |r, n| r.bytes(n, 1, 1 << 30)).is_err(), "{text}");
        }
    }

    #[test]
    fn quoted_words_are_not_booleans_or_numbers() {
        assert!(one("true", Reader::boolean).unwrap());
        assert!(one("'true'", Reader::boolean).is_err());
        assert!(one("yes", Reader::boolean).is_err());
        assert_eq!(one("7", |r, n| r.integer(n, 0, 9)).unwrap(), 7);
        assert!(one("'7'", |r, n| r.integer(n, 0, 9)).is_err());
        assert!(one("10", |r, n| r.integer(n, 0, 9)).is_err());
    }

    #[test]
    fn all_problems_come_together_each_with_its_line() {
        let found = Reader::text(Path::new("c.yaml"), "sise: 3\nname:\nage: x\n", |reader, entries| {
            reader.required(entries, "name");
            let age = reader.required(entries, "age")?;
            reader.optional(entries, "size");
            reader.integer(age, 0, 9)
        });
        let texts: Vec<String> = found.map(drop).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "c.yaml:2:1: error: `name` has no value (give it a value or remove the key)",
                "c.yaml:3:6: error: a whole number from 0 to 9 is expected here (write digits, without quotes)",
                "c.yaml:1:1: error: unknown key `sise` (did you mean `size`?)",
            ]
        );
    }

    #[test]
    fn one_document_and_not_two() {
        for text in ["", "a: 1\n---\nb: 2\n", "- a\n", "text\n"] {
            assert!(Reader::text(Path::new("c.yaml"), text, |_, _| Some(())).is_err(), "{text:?}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("sslMode", &["sslmode", "host"]), Some("sslmode"));
        assert_eq!(nearest("tsl", &["listen", "tls"]), Some("tls"));
        assert_eq!(nearest("zebra", &["sslmode", "host"]), None);
    }
}
