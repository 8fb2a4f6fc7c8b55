//! Members of a record, written as JSON (RFC 8259) straight into bytes: a record is made for every statement.
//!
//! In: names and values. Out: `"name":value` with commas between. Must never: write a line feed, or text that is not escaped.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that a text may take, escapes counted: names of people and things, and what is said of them.
const SHORT: usize = 1 << 10;
/// The same of a statement.
const LONG: usize = 32 << 10;

/// Bytes that an escape takes at most.
const WIDEST: usize = 6;

/// As much of a text as takes no more than so many bytes once it is escaped.
#[inline]
fn cut(value: &str, most: usize) -> &str {
    if value.len() <= most / WIDEST { value } else { cut_where_needed(value, most) }
}

fn cut_where_needed(value: &str, most: usize) -> &str {
    let mut taken = 0;
    for (at, c) in value.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            '\0'..='\x1f' | '\x7f' => WIDEST,
            c => c.len_utf8(),
        };
        if taken > most {
            return value.get(..at).unwrap_or_default();
        }
    }
    value
}

/// Members under way.
#[derive(Debug, Default, Clone)]
pub struct Members {
    bytes: Vec<u8>,
    /// Bytes in front of them that are somebody else's.
    start: usize,
}

impl Members {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), start: 0 }
    }

    /// None yet, to be written behind what is there.
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self { start: bytes.len(), bytes }
    }

    /// Ends them with a line feed: from here on they are of what was there. Whether they are the first.
    pub(super) fn end_line(&mut self) -> bool {
        let first = self.start == 0;
        self.bytes.push(b'\n');
        self.start = self.bytes.len();
        first
    }

    /// What was there, without what is not ended.
    pub(super) fn into_lines(mut self) -> Vec<u8> {
        self.bytes.truncate(self.start);
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.bytes.len() == self.start
    }

    /// As `"time":…` begins every record: RFC 3339, UTC, microseconds.
    pub fn at(time: SystemTime, kind: &'static str, bytes: usize) -> Self {
        let mut members = Self::with_capacity(bytes);
        members.begin(time, kind);
        members
    }

    /// Begins a record as [`Members::at`] does.
    pub fn begin(&mut self, time: SystemTime, kind: &'static str) -> &mut Self {
        self.name("time");
        self.bytes.push(b'"');
        push_time(time, &mut self.bytes);
        self.bytes.push(b'"');
        self.word("kind", kind)
    }

    /// A name of ours: nothing in it is escaped.
    #[inline]
    fn name(&mut self, name: &'static str) {
        debug_assert!(!name.bytes().any(is_escaped));
        let separator: &[u8] = if self.is_empty() { b"\"" } else { b",\"" };
        self.bytes.extend_from_slice(separator);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// A name that somebody else gave, as of a column.
    fn name_of(&mut self, name: &str) {
        if !self.is_empty() {
            self.bytes.push(b',');
        }
        push_text(cut(name, SHORT), &mut self.bytes);
        self.bytes.push(b':');
    }

    /// A text, cut where it is longer than any name: one caller's must not crowd out others'.
    pub fn text(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.name(name);
        push_text(cut(value, SHORT), &mut self.bytes);
        self
    }

    /// A word of ours: nothing in it is escaped.
    #[inline]
    pub fn word(&mut self, name: &'static str, word: &'static str) -> &mut Self {
        debug_assert!(!word.bytes().any(is_escaped));
        self.name(name);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(word.as_bytes());
        self.bytes.push(b'"');
        self
    }

    /// A long text; false when it had to be cut.
    pub fn long_text(&mut self, name: &'static str, value: &str) -> bool {
        self.name(name);
        let kept = cut(value, LONG);
        push_text(kept, &mut self.bytes);
        kept.len() == value.len()
    }

    /// A text that may be missing: then the member is, too.
    pub fn text_if(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// Texts.
    pub fn texts<'t>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.name(name);
        self.list(values);
        self
    }

    /// Texts under a name that somebody else gave.
    pub fn texts_of<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.name_of(name);
        self.list(values);
        self
    }

    fn list<'t>(&mut self, values: impl IntoIterator<Item = &'t str>) {
        self.bytes.push(b'[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            push_text(cut(value, SHORT), &mut self.bytes);
        }
        self.bytes.push(b']');
    }

    /// Texts; none: no member.
    pub fn texts_if<'t>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'t str>) -> &mut Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.texts(name, values);
        }
        self
    }

    /// An object; an empty one: no member.
    pub fn object_if(&mut self, name: &'static str, value: &Self) -> &mut Self {
        if !value.is_empty() {
            self.object(name, value);
        }
        self
    }

    /// A number.
    pub fn number(&mut self, name: &'static str, value: impl Into<i128>) -> &mut Self {
        self.name(name);
        push_number(value.into(), &mut self.bytes);
        self
    }

    /// A number under a name that somebody else gave.
    pub fn number_of(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        self.name_of(name);
        push_number(value.into(), &mut self.bytes);
        self
    }

    /// `true`, where it is.
    pub fn flag(&mut self, name: &'static str, value: bool) -> &mut Self {
        if value {
            self.name(name);
            self.bytes.extend_from_slice(b"true");
        }
        self
    }

    /// A list of objects.
    pub fn objects(&mut self, name: &'static str, values: impl IntoIterator<Item = Self>) -> &mut Self {
        self.name(name);
        self.bytes.push(b'[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            self.braces(&value);
        }
        self.bytes.push(b']');
        self
    }

    /// An object.
    pub fn object(&mut self, name: &'static str, value: &Self) -> &mut Self {
        self.name(name);
        self.braces(value);
        self
    }

    /// An object under a name that somebody else gave.
    pub fn object_of(&mut self, name: &str, value: &Self) -> &mut Self {
        self.name_of(name);
        self.braces(value);
        self
    }

    fn braces(&mut self, value: &Self) {
        self.bytes.push(b'{');
        self.bytes.extend_from_slice(value.bytes());
        self.bytes.push(b'}');
    }

    /// Members made before; none is fine.
    pub fn more(&mut self, members: &[u8]) -> &mut Self {
        if !members.is_empty() {
            if !self.is_empty() {
                self.bytes.push(b',');
            }
            self.bytes.extend_from_slice(members);
        }
        self
    }

    /// The bytes between the braces.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The same, to be kept.
    pub fn into_boxed(self) -> Box<[u8]> {
        self.bytes().into()
    }
}

fn push_number(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    // What counts and measures fits; dividing what does not takes long.
    match u64::try_from(value.unsigned_abs()) {
        Ok(value) => push_digits(value, out),
        Err(_) => out.extend_from_slice(value.unsigned_abs().to_string().as_bytes()),
    }
}

/// Appends a number in decimal digits.
pub(super) fn push_digits(mut value: u64, out: &mut Vec<u8>) {
    // 20 digits.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        first = at;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Whether a byte cannot stand in a text as it is. DEL is allowed, but not what terminals take for a command.
#[inline]
fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\' || byte == 0x7f
}

#[inline]
fn push_text(value: &str, out: &mut Vec<u8>) {
    // Without a way out of the loop, many bytes are looked at at once.
    if value.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        return push_escaped(value, out);
    }
    out.reserve(value.len() + 2);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn push_escaped(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut done = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| is_escaped(*byte)) {
        out.extend_from_slice(value.as_bytes().get(done..at).unwrap_or_default());
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(value.as_bytes().get(done..).unwrap_or_default());
    out.push(b'"');
}

/// `2026-11-23T06:55:01` of a second.
type Second = [u8; 19];

thread_local! {
    /// The second that was last written, and how.
    static LAST: Cell<(u64, Second)> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

fn push_time(time: SystemTime, out: &mut Vec<u8>) {
    // A clock before 1970 is said to be at its beginning.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, text) = LAST.get();
    let text = if seconds == since.as_secs() {
        text
    } else {
        let text = second(since.as_secs());
        LAST.set((since.as_secs(), text));
        text
    };
    out.extend_from_slice(&text);
    out.push(b'.');
    let mut rest = since.subsec_micros();
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    out.extend_from_slice(&digits);
    out.push(b'Z');
}

fn second(seconds: u64) -> Second {
    let stamp = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    let text = stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    text.as_bytes().try_into().unwrap_or(*b"9999-12-31T23:59:59")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(members: &Members) -> serde_json::Value {
        let text = format!("{{{}}}", String::from_utf8(members.bytes().to_vec()).unwrap());
        assert!(!text.contains('\n'));
        serde_json::from_str(&text).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_and_number_reads_back(text in any::<String>(), number in any::<i64>(), micros in 0u64..253_402_300_799_000_000) {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let mut members = Members::at(time, "k", 0);
            members.text("a", &text).number("n", number).texts("l", [&*text, ""]).flag("no", false).flag("yes", true);
            let inner = members.clone();
            members.objects("o", [inner.clone(), inner.clone()]).object("p", &inner).more(b"\"z\":1").more(b"");
            let value = object(&members);
            prop_assert_eq!(value["a"].as_str(), Some(cut(&text, SHORT)));
            prop_assert_eq!(value["n"].as_i64(), Some(number));
            prop_assert_eq!(value["l"][0].as_str(), Some(cut(&text, SHORT)));
            prop_assert_eq!(value["o"][1]["n"].as_i64(), Some(number));
            prop_assert_eq!(&value["p"]["yes"], &serde_json::Value::Bool(true));
            prop_assert!(value.get("no").is_none() && value["z"] == 1);
            let said: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
            prop_assert_eq!(said.as_microsecond(), i64::try_from(micros).unwrap());
        }
    }

    #[test]
    fn no_text_takes_more_than_its_share() {
        for wide in ["\u{1}", "\"", "a", "é", "😀"] {
            let mut members = Members::default();
            members.text("a", &wide.repeat(100_000));
            let all = members.long_text("b", &wide.repeat(100_000));
            let bytes = members.bytes().len();
            assert!(!all && bytes > SHORT + LONG - 16 && bytes < SHORT + LONG + 32, "{wide:?} {bytes}");
            object(&members);
        }
        assert!(Members::default().long_text("b", &"a".repeat(LONG)));
    }

    #[test]
    fn extremes_are_written() {
        let mut members = Members::default();
        members.number("a", i64::MIN).number("b", u64::MAX).number("c", 0).text_if("d", None);
        assert_eq!(members.bytes(), b"\"a\":-9223372036854775808,\"b\":18446744073709551615,\"c\":0");
        let early = Members::at(UNIX_EPOCH - Duration::from_secs(1), "k", 0);
        assert_eq!(early.bytes(), b"\"time\":\"1970-01-01T00:00:00.000000Z\",\"kind\":\"k\"");
    }
}
