//! Members of a record, written as JSON (RFC 8259) straight into bytes: a record is made for every statement.
//!
//! In: names and values. Out: `"name":value` with commas between. Must never: write a line feed, or text that is not escaped.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that a text may take, escapes counted: names of people and things, and what is said of them.
const SHORT: usize = 1 << 10;
/// The same of a statement.
const LONG: usize = 32 << 10;

/// As much of a text as takes no more than so many bytes once it is escaped.
fn cut(value: &str, most: usize) -> &str {
    const WIDEST: usize = 6;
    if value.len() <= most / WIDEST {
        return value;
    }
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
}

impl Members {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// As `"time":…` begins every record: RFC 3339, UTC, microseconds.
    pub fn at(time: SystemTime, kind: &str, bytes: usize) -> Self {
        let mut members = Self::with_capacity(bytes);
        members.name("time");
        members.bytes.push(b'"');
        push_time(time, &mut members.bytes);
        members.bytes.push(b'"');
        members.text("kind", kind);
        members
    }

    fn name(&mut self, name: &str) {
        if !self.bytes.is_empty() {
            self.bytes.push(b',');
        }
        // Names of columns are names of members, too.
        push_text(cut(name, SHORT), &mut self.bytes);
        self.bytes.push(b':');
    }

    /// A text, cut where it is longer than any name: one caller's must not crowd out others'.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_text(cut(value, SHORT), &mut self.bytes);
        self
    }

    /// A long text; false when it had to be cut.
    pub fn long_text(&mut self, name: &str, value: &str) -> bool {
        self.name(name);
        let kept = cut(value, LONG);
        push_text(kept, &mut self.bytes);
        kept.len() == value.len()
    }

    /// A text that may be missing: then the member is, too.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// Texts.
    pub fn texts<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.name(name);
        self.bytes.push(b'[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            push_text(cut(value, SHORT), &mut self.bytes);
        }
        self.bytes.push(b']');
        self
    }

    /// Texts; none: no member.
    pub fn texts_if<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) -> &mut Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.texts(name, values);
        }
        self
    }

    /// An object; an empty one: no member.
    pub fn object_if(&mut self, name: &str, value: &Self) -> &mut Self {
        if !value.bytes.is_empty() {
            self.object(name, value);
        }
        self
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        self.name(name);
        push_number(value.into(), &mut self.bytes);
        self
    }

    /// `true`, where it is.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        if value {
            self.name(name);
            self.bytes.extend_from_slice(b"true");
        }
        self
    }

    /// A list of objects.
    pub fn objects(&mut self, name: &str, values: impl IntoIterator<Item = Self>) -> &mut Self {
        self.name(name);
        self.bytes.push(b'[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            self.object_of(&value);
        }
        self.bytes.push(b']');
        self
    }

    /// An object.
    pub fn object(&mut self, name: &str, value: &Self) -> &mut Self {
        self.name(name);
        self.object_of(value);
        self
    }

    fn object_of(&mut self, value: &Self) {
        self.bytes.push(b'{');
        self.bytes.extend_from_slice(&value.bytes);
        self.bytes.push(b'}');
    }

    /// Members made before; none is fine.
    pub fn more(&mut self, members: &[u8]) -> &mut Self {
        if !members.is_empty() {
            if !self.bytes.is_empty() {
                self.bytes.push(b',');
            }
            self.bytes.extend_from_slice(members);
        }
        self
    }

    /// The bytes between the braces.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be kept.
    pub fn into_boxed(self) -> Box<[u8]> {
        self.bytes.into()
    }
}

fn push_number(value: i128, out: &mut Vec<u8>) {
    // 39 digits and a sign.
    let mut digits = [0u8; 40];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

fn push_text(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut done = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            // DEL is allowed, but not what terminals take for a command.
            0..=0x1f | 0x7f => b"",
            _ => continue,
        };
        out.extend_from_slice(value.as_bytes().get(done..at).unwrap_or_default());
        done = at + 1;
        if escape.is_empty() {
            let mut code = String::with_capacity(6);
            let _ = write!(code, "\\u{byte:04x}");
            out.extend_from_slice(code.as_bytes());
        } else {
            out.extend_from_slice(escape);
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
