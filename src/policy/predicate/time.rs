//! Date and time literals that mean the same under every `DateStyle`, `TimeZone` and `IntervalStyle`.
//!
//! In: the text of a literal and the type it is compared with. Out: a typed SQL literal. Must never: pass on a text that PostgreSQL
//! reads by a session setting (`01/02/2024`, a timestamp without zone for `timestamptz`).

use crate::policy::sqltype::oids::*;
use crate::types::{Oid, quote_literal};

/// The literal as typed SQL; `None` when it is not in the fixed form of its type.
pub(super) fn literal(text: &str, ty: Oid) -> Option<String> {
    let text = text.trim();
    let special = ["infinity", "-infinity", "epoch"];
    match ty {
        DATE | TIMESTAMP | TIMESTAMPTZ if special.contains(&text) && !(text == "epoch" && ty == DATE) => {
            Some(typed(text, ty))
        }
        DATE => date(text).then(|| typed(text, ty)),
        TIMESTAMP => {
            let (day, rest) = split(text);
            (date(day) && (rest.is_empty() || clock(rest))).then(|| typed(text, ty))
        }
        TIMESTAMPTZ => {
            let (day, rest) = split(text);
            if !date(day) {
                return None;
            }
            let (time, zone) = zone_of(rest);
            if !(time.is_empty() || clock(time)) || (time.is_empty() && zone.is_some()) {
                return None;
            }
            let time = if time.is_empty() { "00:00:00" } else { time };
            // Without a zone: UTC.
            Some(typed(&format!("{day} {time}{}", zone.unwrap_or("+00")), ty))
        }
        TIME => clock(text).then(|| typed(text, ty)),
        INTERVAL => interval(text).then(|| typed(text, ty)),
        _ => None,
    }
}

/// What a literal of the type should look like, for the remedy.
pub(super) fn form(ty: Oid) -> &'static str {
    match ty {
        DATE => "write the date as 'YYYY-MM-DD'",
        TIMESTAMP => "write the timestamp as 'YYYY-MM-DD HH:MM:SS'",
        TIMESTAMPTZ => "write the timestamp as 'YYYY-MM-DD HH:MM:SS+00'",
        TIME => "write the time as 'HH:MM:SS'",
        INTERVAL => "write the interval as 'N unit', for example '30 days'",
        _ => "compare it with another column, or cast that column",
    }
}

fn typed(text: &str, ty: Oid) -> String {
    let name = match ty {
        DATE => "date",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamptz",
        TIME => "time",
        _ => "interval",
    };
    format!("{}::pg_catalog.{name}", quote_literal(text))
}

fn split(text: &str) -> (&str, &str) {
    text.split_once([' ', 'T']).map_or((text, ""), |(day, rest)| (day, rest.trim()))
}

fn date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.first().is_some_and(u8::is_ascii_digit)
        && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.')
        && bytes.get(2) == Some(&b':');
    shape && text.parse::<jiff::civil::Time>().is_ok()
}

/// Splits a trailing zone (`Z`, `+hh`, `+hh:mm`) off a time of day.
fn zone_of(text: &str) -> (&str, Option<&str>) {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return (time.trim_end(), Some("+00"));
    }
    let Some(at) = text.rfind(['+', '-']) else { return (text, None) };
    let (time, zone) = text.split_at(at);
    let digits = zone.get(1..).unwrap_or("");
    let valid = match digits.split_once(':') {
        Some((h, m)) => two_digits(h, 15) && two_digits(m, 59),
        None => two_digits(digits, 15),
    };
    // An invalid zone is left on the time, which then does not read as one.
    if valid { (time.trim_end(), Some(zone)) } else { (text, None) }
}

fn two_digits(text: &str, max: u8) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|n| n <= max)
}

/// `N unit [N unit …]` without signs: read alike under every IntervalStyle, and small enough never to overflow.
fn interval(text: &str) -> bool {
    const UNITS: [&str; 8] = ["second", "minute", "hour", "day", "week", "month", "year", "millisecond"];
    let mut words = text.split_whitespace().peekable();
    if words.peek().is_none() {
        return false;
    }
    while let Some(number) = words.next() {
        let Some(unit) = words.next() else { return false };
        let unit = unit.to_ascii_lowercase();
        let unit = unit.strip_suffix('s').unwrap_or(&unit);
        let small = number.len() <= 9 && number.bytes().all(|b| b.is_ascii_digit());
        if !small || !UNITS.contains(&unit) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_forms_are_read_and_pinned_to_utc() {
        let cases = [
            ("2024-02-29", DATE, Some("'2024-02-29'::pg_catalog.date")),
            ("2023-02-29", DATE, None),
            ("01/02/2024", DATE, None),
            ("yesterday", DATE, None),
            ("infinity", DATE, Some("'infinity'::pg_catalog.date")),
            ("2024-01-02 03:04:05.6", TIMESTAMP, Some("'2024-01-02 03:04:05.6'::pg_catalog.timestamp")),
            ("2024-01-02 03:04:05+01", TIMESTAMP, None),
            ("2024-01-02", TIMESTAMPTZ, Some("'2024-01-02 00:00:00+00'::pg_catalog.timestamptz")),
            ("2024-01-02T03:04:05Z", TIMESTAMPTZ, Some("'2024-01-02 03:04:05+00'::pg_catalog.timestamptz")),
            ("2024-01-02 03:04-05:30", TIMESTAMPTZ, Some("'2024-01-02 03:04-05:30'::pg_catalog.timestamptz")),
            ("2024-01-02 03:04 CET", TIMESTAMPTZ, None),
            ("2024-01-02 03:04+99", TIMESTAMPTZ, None),
            ("now", TIMESTAMPTZ, None),
            ("23:59", TIME, Some("'23:59'::pg_catalog.time")),
            ("25:00", TIME, None),
            ("30 days", INTERVAL, Some("'30 days'::pg_catalog.interval")),
            ("1 Year 2 months", INTERVAL, Some("'1 Year 2 months'::pg_catalog.interval")),
            ("-1 2:03", INTERVAL, None),
            ("", INTERVAL, None),
            ("x", INT4, None),
        ];
        for (text, ty, expected) in cases {
            assert_eq!(literal(text, ty).as_deref(), expected, "{text} as {ty}");
        }
    }
}
