//! A YAML or JSON file as a tree in which every key and value knows its line and column.
//!
//! In: the text of a file. Out: one [`Node`] a document, or every syntax problem found. Strict: a key given twice, a tag, a merge
//! key, a NUL character, too deep or too large a document are problems. Must never: guess a meaning; a plain scalar keeps its
//! spelling and its reader decides what it may be.

use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Nesting allowed in a document.
const MAX_DEPTH: usize = 48;
/// Nodes allowed in a file, after aliases are replaced by what they stand for: those of 100,000 data sources of ten tagged columns.
const MAX_NODES: usize = 4_000_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar: its text, and whether it was written without quotes.
    Scalar {
        /// The text after escapes.
        text: String,
        /// Without quotes: may be null, a truth value or a number.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in order; keys are distinct.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
}

impl Node {
    /// Whether it is a null of the YAML 1.2 core schema (nothing, `~`, `null`).
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if is_null_text(text))
    }
}

/// YAML 1.2.2, 10.3.2: the spellings of null.
pub fn is_null_text(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A collection being read.
enum Open {
    List { node: Node, anchor: usize },
    Map { node: Node, anchor: usize, key: Option<Key> },
}

struct Builder<'a> {
    file: &'a Arc<PathBuf>,
    problems: Vec<Problem>,
    documents: Vec<Node>,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// Reads every document of a text. Documents that are null are left out.
///
/// # Errors
/// Every problem found; reading stops at the first one after which the syntax cannot be followed.
pub fn parse(file: &Arc<PathBuf>, text: &str) -> Result<Vec<Node>, Vec<Problem>> {
    let mut builder = Builder {
        file,
        problems: Vec::new(),
        documents: Vec::new(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if builder.event(event, &span).is_none() {
                    break;
                }
            }
            Err(error) => {
                let mark = error.marker();
                let origin = builder.origin(mark.line(), mark.col() + 1);
                builder.problems.push(Problem::error(
                    &origin,
                    format!("not valid YAML or JSON: {}", error.info()),
                    "check indentation, quotes and brackets at and before this place",
                ));
                break;
            }
        }
    }
    if builder.problems.is_empty() { Ok(builder.documents) } else { Err(builder.problems) }
}

impl Builder<'_> {
    fn origin(&self, line: usize, column: usize) -> Origin {
        Origin { file: Arc::clone(self.file), line, column }
    }

    fn problem(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        let origin = self.origin(span.start.line(), span.start.col() + 1);
        self.problems.push(Problem::error(&origin, message, help));
    }

    /// Takes one event; `None` = reading must stop.
    fn event(&mut self, event: Event<'_>, span: &Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(span, tag.as_deref());
                if text.contains('\0') {
                    self.problem(span, "a NUL character", "PostgreSQL text cannot hold one; remove it");
                }
                let plain = style == ScalarStyle::Plain;
                let node = at(span, Value::Scalar { text: text.into_owned(), plain });
                self.finish(node, anchor, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(span, tag.as_deref());
                self.open(Open::List { node: at(span, Value::List(Vec::new())), anchor }, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(span, tag.as_deref());
                self.open(Open::Map { node: at(span, Value::Map(Vec::new())), anchor, key: None }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop()? {
                Open::List { node, anchor } | Open::Map { node, anchor, .. } => self.finish(node, anchor, span),
            },
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    self.problem(span, "an alias inside the node it stands for", "write the value out");
                    return None;
                };
                self.nodes = self.nodes.saturating_add(size);
                self.finish(node, 0, span)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Tags change what a value is; only the ones that say what is so anyway are admitted.
    fn check_tag(&mut self, span: &Span, tag: Option<&Tag>) {
        if let Some(tag) = tag
            && !matches!(tag.core_suffix(), Some("str" | "map" | "seq"))
        {
            self.problem(span, format!("the YAML tag `{}`", tag.original()), "write the value without a tag");
        }
    }

    fn open(&mut self, open: Open, span: &Span) -> Option<()> {
        if self.stack.len() >= MAX_DEPTH {
            self.problem(span, format!("nested more than {MAX_DEPTH} deep"), "no document needs this");
            return None;
        }
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            self.problem(span, "a list or mapping as a key", "keys are plain text");
            return None;
        }
        self.stack.push(open);
        Some(())
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, span: &Span) -> Option<()> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            self.problem(span, format!("more than {MAX_NODES} values in one file"), "split the file");
            return None;
        }
        if anchor != 0 {
            let size = size_of(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        if self.stack.len() + depth_of(&node) > MAX_DEPTH {
            self.problem(span, format!("nested more than {MAX_DEPTH} deep"), "no document needs this");
            return None;
        }
        match self.stack.last_mut() {
            None => {
                if !node.is_null() {
                    self.documents.push(node);
                }
            }
            Some(Open::List { node: list, .. }) => {
                if let Value::List(items) = &mut list.value {
                    items.push(node);
                }
            }
            Some(Open::Map { node: map, key, .. }) => match key.take() {
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some(Key { name: text, line: node.line, column: node.column }),
                    _ => {
                        self.problem(span, "a list or mapping as a key", "keys are plain text");
                        return None;
                    }
                },
                Some(key) => {
                    let Value::Map(entries) = &mut map.value else { return None };
                    if let Some((first, _)) = entries.iter().find(|(k, _)| k.name == key.name) {
                        let message = format!("the key `{}` is given twice", key.name);
                        let help = format!("it stands first on line {}; keep one of them", first.line);
                        let origin = Origin { file: Arc::clone(self.file), line: key.line, column: key.column };
                        self.problems.push(Problem::error(&origin, message, help));
                    } else {
                        entries.push((key, node));
                    }
                }
            },
        }
        Some(())
    }
}

fn at(span: &Span, value: Value) -> Node {
    Node { line: span.start.line(), column: span.start.col() + 1, value }
}

/// Nodes in a tree. Its depth is bounded by [`MAX_DEPTH`].
fn size_of(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(size_of).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, n)| 1 + size_of(n)).sum::<usize>(),
    }
}

/// Levels of collections in a tree.
fn depth_of(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, n)| depth_of(n)).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Node>, Vec<String>> {
        let file = Arc::new(PathBuf::from("f.yaml"));
        parse(&file, text).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn positions_are_those_of_keys_and_values() {
        let documents = read("a: 1\nb:\n  - 'x'\n---\n\nc: {d: \"e\"}\n").unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(entries) = &documents[0].value else { panic!() };
        assert_eq!((entries[1].0.line, entries[1].0.column), (2, 1));
        let Value::List(items) = &entries[1].1.value else { panic!() };
        assert_eq!((items[0].line, items[0].column), (3, 5));
        assert_eq!(items[0].value, Value::Scalar { text: "x".into(), plain: false });
        let Value::Map(entries) = &documents[1].value else { panic!() };
        assert_eq!((entries[0].0.line, entries[0].0.column), (6, 1));
    }

    #[test]
    fn json_reads_as_yaml_does() {
        let json = read("{\n\t\"a\": [1, true, null, \"x\\u00e9\\ud83d\\ude00\\/\"]\n}\n").unwrap();
        let yaml = read("a:\n  - 1\n  - true\n  - null\n  - \"xé😀/\"\n").unwrap();
        let strip = |nodes: &[Node]| {
            let Value::Map(entries) = &nodes[0].value else { panic!() };
            let Value::List(items) = &entries[0].1.value else { panic!() };
            items.iter().map(|n| n.value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(strip(&json), strip(&yaml));
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let problems = read("a: 1\nb: 2\na: 3\nb: 4\n").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("f.yaml:3:1: error: the key `a` is given twice"), "{problems:?}");
        assert!(problems[1].starts_with("f.yaml:4:1: "), "{problems:?}");
    }

    #[test]
    fn what_is_strange_is_refused() {
        for (text, want) in [
            ("a: [1\n", "not valid YAML"),
            ("a: !secret x\n", "tag"),
            ("a: \"x\\0y\"\n", "NUL"),
            ("? [a]\n: 1\n", "as a key"),
            ("a: *b\n", "not valid YAML"),
            ("a: &b [*b]\n", "alias"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].contains(want), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn nesting_and_alias_bombs_are_bounded() {
        assert!(read(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap_err()[0].contains("deep"));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(read(&bomb).unwrap_err()[0].contains("more than"), "bomb");
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert!(read("").unwrap().is_empty());
        assert!(read("# only a comment\n").unwrap().is_empty());
        assert!(read("---\n---\n").unwrap().is_empty());
        assert_eq!(read("---\na: 1\n---\n").unwrap().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in "[-a-z0-9:{}\\[\\]&*!|>'\"#\\n\\t ,?\\\\\0é]{0,200}") {
            let _ = read(&text);
        }
    }
}
