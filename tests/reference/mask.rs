//! Masks over one value.

use crate::data::{DAY, dashed, date, instant};
use crate::spec::{Cell, Mask, Type};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The masked value; `Err`: the mask does not fit the type, so that the value is NULL.
pub fn apply(mask: &Mask, ty: Type, value: &Cell, salt: &[u8]) -> Result<Cell, ()> {
    // Whether a mask fits is a matter of the type, whatever the value.
    let sample = value.clone().unwrap_or_else(|| sample(ty).to_owned());
    let masked = match mask {
        Mask::Null => None,
        Mask::Constant(text) => Some(cast(text, ty).ok_or(())?),
        Mask::Hash => Some(hash(ty, &sample, salt).ok_or(())?),
        Mask::Regex { regex, replacement, insensitive, global } => match ty {
            Type::Text | Type::Varchar => {
                let pattern = pattern(regex, *insensitive);
                let replacement = replacement.replace("$1", "${1}").replace("$2", "${2}");
                let times = if *global { 0 } else { 1 };
                Some(cut(ty, &pattern.replacen(&sample, times, replacement.as_str())))
            }
            _ => return Err(()),
        },
        // Where the combination is rare; what is not is the evaluator's to see.
        Mask::Anonymous(..) => None,
        Mask::Bucket(size) => bucket(ty, &sample, size)?,
        Mask::Truncate(precision) => Some(truncate(ty, &sample, precision).ok_or(())?),
    };
    Ok(value.as_ref().and(masked))
}

/// A pattern, compiled once for each thread: in a debug build that takes longer than everything else.
pub fn pattern(text: &str, insensitive: bool) -> Rc<Regex> {
    thread_local!(static KNOWN: RefCell<HashMap<(String, bool), Rc<Regex>>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        let build = || regex::RegexBuilder::new(text).case_insensitive(insensitive).build().unwrap();
        Rc::clone(known.entry((text.to_owned(), insensitive)).or_insert_with(|| Rc::new(build())))
    })
}

fn sample(ty: Type) -> &'static str {
    match ty {
        Type::Text | Type::Varchar => "x",
        Type::Int2 | Type::Int4 | Type::Int8 => "1",
        Type::Numeric => "1.00",
        Type::Date => "2000-01-01",
        Type::Instant => "2000-01-01 00:00:00+00",
        Type::Uuid => "00000000-0000-0000-0000-000000000000",
        Type::Bool => "t",
    }
}

fn cut(ty: Type, text: &str) -> String {
    if ty == Type::Varchar { text.chars().take(8).collect() } else { text.to_owned() }
}

/// The constants the generator writes, cast; nothing for those that cannot be.
fn cast(text: &str, ty: Type) -> Option<String> {
    let whole = text.parse::<i64>().ok();
    let is_date = text.len() == 10 && text.as_bytes()[4] == b'-';
    match ty {
        Type::Text | Type::Varchar => Some(cut(ty, text)),
        Type::Int2 => whole.filter(|n| i16::try_from(*n).is_ok()).map(|n| n.to_string()),
        Type::Int4 => whole.filter(|n| i32::try_from(*n).is_ok()).map(|n| n.to_string()),
        Type::Int8 => whole.map(|n| n.to_string()),
        Type::Numeric => whole.filter(|n| n.abs() < 100_000_000).map(|n| format!("{n}.00")),
        Type::Date => is_date.then(|| text.to_owned()),
        Type::Instant => is_date.then(|| format!("{text} 00:00:00+00")),
        Type::Uuid => None,
        Type::Bool => (text == "0").then(|| "f".to_owned()),
    }
}

fn hash(ty: Type, text: &str, salt: &[u8]) -> Option<String> {
    let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    match ty {
        Type::Text | Type::Varchar => Some(cut(ty, &hex)),
        Type::Uuid => Some(dashed(&hex[..32])),
        Type::Int8 => Some(i64::from_be_bytes(digest[..8].try_into().unwrap()).to_string()),
        Type::Int4 => Some(i32::from_be_bytes(digest[..4].try_into().unwrap()).to_string()),
        Type::Int2 => Some((i64::from(u16::from_be_bytes(digest[..2].try_into().unwrap())) - 32_768).to_string()),
        Type::Numeric | Type::Date | Type::Instant | Type::Bool => None,
    }
}

/// A decimal number in hundredths.
pub fn hundredths(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = format!("{fraction:0<2}");
    sign * (whole.parse::<i128>().unwrap() * 100 + fraction[..2].parse::<i128>().unwrap())
}

/// floor(x / size) · size; a bucket that begins below the type's least value is NULL.
fn bucket(ty: Type, text: &str, size: &str) -> Result<Cell, ()> {
    let least = match ty {
        Type::Int2 => i128::from(i16::MIN),
        Type::Int4 => i128::from(i32::MIN),
        Type::Int8 => i128::from(i64::MIN),
        Type::Numeric => -99_999_999,
        _ => return Err(()),
    };
    let step = hundredths(size);
    let floor = hundredths(text).div_euclid(step) * step;
    if ty == Type::Numeric {
        let sign = if floor < 0 { "-" } else { "" };
        return Ok((floor >= least * 100).then(|| format!("{sign}{}.{:02}", floor.abs() / 100, floor.abs() % 100)));
    }
    // A step that is not whole begins between two numbers: the one below.
    let floor = floor.div_euclid(100);
    Ok((floor >= least).then(|| floor.to_string()))
}

fn truncate(ty: Type, text: &str, precision: &str) -> Option<String> {
    let civil = match ty {
        Type::Date => text.parse::<jiff::civil::Date>().unwrap().at(0, 0, 0, 0),
        Type::Instant => text.trim_end_matches("+00").replace(' ', "T").parse::<jiff::civil::DateTime>().unwrap(),
        _ => return None,
    };
    let seconds = civil.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    let of = |year: i16, month: i8, day: i8| {
        let date = jiff::civil::date(year, month, day);
        date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
    };
    let start = match precision {
        "MIN" => seconds.div_euclid(60) * 60,
        "HOUR" => seconds.div_euclid(3600) * 3600,
        "DAY" => seconds.div_euclid(DAY) * DAY,
        // Weeks begin on Monday; the first of January 1970 was a Thursday.
        "WEEK" => (seconds.div_euclid(DAY) + 3).div_euclid(7) * 7 * DAY - 3 * DAY,
        "MONTH" => of(civil.year(), civil.month(), 1),
        "QUARTER" => of(civil.year(), (civil.month() - 1) / 3 * 3 + 1, 1),
        _ => of(civil.year(), 1, 1),
    };
    Some(if ty == Type::Date { date(start.div_euclid(DAY)) } else { instant(start) })
}
