//! Where each character of a scalar stands in its file: quotes, escapes, folded lines and block scalars undone.
//!
//! In: a file's text, where a scalar begins, and the scalar's value. Out: [`Places`], which turn a place inside the value into a place
//! in the file. Must never: fail; what cannot be followed stands where the scalar begins.

use crate::governance::model::Origin;
use std::sync::Arc;

/// A file's text, and where each of its lines begins: a file may hold thousands of scalars.
#[derive(Debug)]
pub struct Lined {
    text: Arc<str>,
    /// Bytes before each line, the first one included.
    starts: Vec<usize>,
}

impl Lined {
    /// Looks for the lines of a text.
    pub fn new(text: &str) -> Self {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { text: text.into(), starts }
    }
}

/// The places of one scalar's characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    origin: Origin,
    /// Stretches that run in step with the file: first character of the value, line, column. In order.
    runs: Arc<[Run]>,
    /// For each line of the value but the first, the index of its first character.
    lines: Arc<[usize]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: usize,
    line: usize,
    column: usize,
}

impl Places {
    /// Of a text that is not found in a file: everything stands at the origin.
    pub fn all_at(origin: Origin) -> Self {
        Self { origin, ..Self::default() }
    }

    /// Follows a scalar through its file. `value` is what the YAML parser made of it.
    pub fn follow(source: &Lined, origin: Origin, value: &str) -> Self {
        let mut cursor = Cursor::at(source, &origin);
        let text = &*source.text;
        let before = text.get(..text.len() - cursor.rest.as_str().len()).unwrap_or_default();
        let block = is_block(before).then(|| origin.column.saturating_sub(1));
        let runs = cursor.align(value, block);
        let lines = value.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(i, _)| i + 1).collect();
        Self { origin, runs: runs.into(), lines }
    }

    /// Where the scalar begins.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where a 1-based line and column of the value stand; line 0 is the whole.
    pub fn place(&self, line: u64, column: u64) -> Origin {
        let line = usize::try_from(line).unwrap_or(0);
        let column = usize::try_from(column).unwrap_or(0);
        let start = match line {
            0 => return self.origin.clone(),
            1 => Some(0),
            later => self.lines.get(later - 2).copied(),
        };
        let Some(start) = start else { return self.origin.clone() };
        let wanted = start + column.saturating_sub(1);
        match self.runs.iter().rev().find(|run| run.first <= wanted) {
            Some(run) => Origin { line: run.line, column: run.column + (wanted - run.first), ..self.origin.clone() },
            None => self.origin.clone(),
        }
    }
}

/// Whether a scalar whose content begins behind this text is a block scalar: it stands alone on its line, below a `|` or `>` with
/// perhaps an indentation, a chomping mark and a comment (YAML 1.2.2, 8.1.1). The parser tells only where the content begins.
fn is_block(before: &str) -> bool {
    let (above, indent) = before.rsplit_once('\n').unwrap_or(("", before));
    let header = above.trim_end().rsplit('\n').next().unwrap_or_default();
    let header = header.split(" #").next().unwrap_or_default().trim_end();
    let mark = header.rsplit([' ', '\t']).next().unwrap_or_default();
    indent.chars().all(|c| c == ' ')
        && mark.strip_prefix(['|', '>']).is_some_and(|rest| rest.chars().all(|c| matches!(c, '-' | '+' | '0'..='9')))
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Block,
}

struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    line: usize,
    column: usize,
}

impl<'a> Cursor<'a> {
    fn at(source: &'a Lined, origin: &Origin) -> Self {
        let line = origin.line.clamp(1, source.starts.len());
        let start = source.starts.get(line - 1).copied().unwrap_or(0);
        let mut cursor = Self { rest: source.text.get(start..).unwrap_or_default().chars(), line, column: 1 };
        while cursor.line < origin.line || (cursor.line == origin.line && cursor.column < origin.column) {
            if cursor.next().is_none() {
                break;
            }
        }
        cursor
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(next)
    }

    fn skip_while(&mut self, skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.next();
        }
    }

    fn align(&mut self, value: &str, block: Option<usize>) -> Vec<Run> {
        let style = match (block, self.peek()) {
            (Some(_), _) => Style::Block,
            (None, Some('\'')) => Style::Single,
            (None, Some('"')) => Style::Double,
            _ => Style::Plain,
        };
        let indent = block.unwrap_or(0);
        if matches!(style, Style::Single | Style::Double) {
            self.next();
        }
        let mut runs: Vec<Run> = Vec::new();
        for (first, wanted) in value.chars().enumerate() {
            self.before(style, indent, wanted);
            let run = Run { first, line: self.line, column: self.column };
            let goes_on = runs.last().is_some_and(|last| {
                last.line == run.line && run.column.checked_sub(last.column) == Some(first - last.first)
            });
            if !goes_on {
                runs.push(run);
            }
            if !self.take(style, wanted) {
                break;
            }
        }
        runs
    }

    /// Passes over what stands for nothing: indentation of a block, an escaped line break.
    fn before(&mut self, style: Style, indent: usize, wanted: char) {
        match style {
            Style::Block if self.column == 1 && wanted != '\n' => {
                self.skip_while(|c| c == '\n');
                while self.column <= indent && self.peek() == Some(' ') {
                    self.next();
                }
            }
            Style::Double => {
                while self.rest.as_str().starts_with("\\\n") {
                    self.next();
                    self.next();
                    self.skip_while(|c| matches!(c, ' ' | '\t'));
                }
            }
            _ => {}
        }
    }

    /// Passes over what stands for one character of the value; false when the file has something else there.
    fn take(&mut self, style: Style, wanted: char) -> bool {
        match (style, self.peek()) {
            (_, None) => false,
            (Style::Double, Some('\\')) => {
                self.escape();
                true
            }
            (Style::Single, Some('\'')) => {
                self.next();
                self.next();
                true
            }
            // A folded line break, with the spaces around it; of a block only the break itself. Blank lines at the beginning of a block
            // were passed over by the parser.
            (Style::Block, Some(found)) if matches!(wanted, ' ' | '\n') => {
                if found == '\n' || found == wanted {
                    self.next();
                }
                true
            }
            (_, Some(found)) if matches!(wanted, ' ' | '\n') && found.is_whitespace() => {
                let spaces: String = self.rest.clone().take_while(|c| c.is_whitespace()).collect();
                if spaces.contains('\n') {
                    self.skip_while(char::is_whitespace);
                } else {
                    self.next();
                }
                true
            }
            (_, Some(found)) => {
                self.next();
                found == wanted
            }
        }
    }

    /// An escape of a double-quoted scalar (YAML 1.2.2, 5.7), two of them for a surrogate pair.
    fn escape(&mut self) {
        self.next();
        let digits = match self.next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let code: String = self.rest.clone().take(digits).collect();
        for _ in 0..digits {
            self.next();
        }
        let high = u32::from_str_radix(&code, 16).is_ok_and(|c| (0xd800..0xdc00).contains(&c));
        if high && self.rest.as_str().starts_with("\\u") {
            self.escape();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::tree::{self, Node, Value};
    use std::path::PathBuf;

    /// The file place of each `^` of a value, by the YAML parser and back.
    fn places_of(source: &str) -> Vec<(usize, usize)> {
        let file = Arc::new(PathBuf::from("f.yaml"));
        let node = tree::parse(&file, source).unwrap().remove(0);
        let node = match node.value {
            Value::List(mut items) => items.remove(0),
            _ => node,
        };
        let Value::Map(entries) = node.value else { panic!() };
        let Node { line, column, value: Value::Scalar { text, .. } } = &entries[0].1 else { panic!() };
        let origin = Origin { file, line: *line, column: *column };
        let places = Places::follow(&Lined::new(source), origin, text);
        let mut found = Vec::new();
        let (mut l, mut c) = (1u64, 1u64);
        for ch in text.chars() {
            if ch == '^' {
                let place = places.place(l, c);
                found.push((place.line, place.column));
            }
            (l, c) = if ch == '\n' { (l + 1, 1) } else { (l, c + 1) };
        }
        found
    }

    /// Where each `^` stands in the source.
    fn carets(source: &str) -> Vec<(usize, usize)> {
        source
            .lines()
            .enumerate()
            .flat_map(|(l, line)| line.chars().enumerate().filter(|(_, c)| *c == '^').map(move |(c, _)| (l + 1, c + 1)))
            .collect()
    }

    #[test]
    fn every_style_is_followed() {
        for source in [
            "x: a ^b ^c\n",
            "x: a ^b\n   ^c  ^d\n\n   ^e\n",
            "x: 'it''s ^b ''^'' ^c'\n",
            "x: 'a ^b\n    ^c\n\n    ^d'\n",
            "x: \"a\\\"\\u00e9^\\ud83d\\ude00 ^b \\x41^\\n^\\t^\"\n",
            "x: \"a \\\n    ^b\n    ^c\"\n",
            "{\"x\": \"a\\/^b ^\"}",
            "x: |\n  a ^b\n    ^c\n\n  ^d\n",
            "x: >-\n  a ^b\n  ^c\n\n  ^d\n",
            "x: |2\n   ^a\n  ^b\n",
            "x: > # why\n\n  'a' ^b\n",
            "x: |-\n  \"^\n",
            "- x: |\n    a\n    ^\n",
            "x:\n  'it''s ^'\n",
            "\"x\":   ^\n",
        ] {
            assert_eq!(places_of(source), carets(source), "{source}");
        }
    }

    #[test]
    fn what_is_outside_stands_at_the_beginning_or_behind_the_end() {
        let origin = Origin { line: 1, column: 4, ..Origin::default() };
        let places = Places::follow(&Lined::new("x: ab\n"), origin.clone(), "ab");
        assert_eq!(places.place(0, 0), origin);
        assert_eq!(places.place(7, 1), origin);
        assert_eq!(places.place(1, 3).column, 6, "the end of the text");
        assert_eq!(Places::all_at(origin.clone()).place(1, 2), origin);
    }
}
