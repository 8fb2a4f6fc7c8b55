//! Values that are known well enough to compute with them: whole numbers, spans of time, moments near the clock. Arithmetic on these alone
//! stays in range, so that `at >= now() - interval '7 days'` or `id < 100 + 50` never raises.
//!
//! In: constants, and operators over what is known. Out: what is known of the result. Must never: know anything of a value that a row or a
//! parameter gives. `plan::variant` keeps literals whose values are looked at here in what statements have in common.

use super::expression::{Facts, Type, oid};
use crate::sql::{NodeEnum, pb};
use crate::types::Oid;

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Near {
    /// This whole number.
    Whole(i64),
    /// An interval of at most so many days either way.
    Span(i64),
    /// A date or timestamp at most so many days from now.
    Clock(i64),
}

/// Days around now in which every date, timestamp and their sums are in range: some 3,800 years. Timestamps begin in 4713 BC and end in
/// 294276 AD (PostgreSQL manual, 8.5).
const MOST_DAYS: i64 = 1_400_000;

/// `interval` (pg_type.dat).
const INTERVAL: Oid = Oid(1186);

/// Functions of nothing that tell the time (PostgreSQL manual, 9.9.5).
const CLOCKS: [&str; 4] = ["now", "transaction_timestamp", "statement_timestamp", "clock_timestamp"];

/// Units to which `date_trunc` cuts timestamps.
const UNITS: [&str; 13] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
];

fn within(days: i64) -> Option<i64> {
    (0..=MOST_DAYS).contains(&days).then_some(days)
}

/// A whole number.
pub(super) fn constant(c: &pb::AConst) -> Option<Near> {
    match &c.val {
        Some(pb::a_const::Val::Ival(i)) => Some(Near::Whole(i64::from(i.ival))),
        Some(pb::a_const::Val::Fval(f)) => f.fval.parse().ok().map(Near::Whole),
        _ => None,
    }
}

/// An interval as people write it: `'7 days'`, or a bare number with a unit behind it (`interval '7' day`).
pub(super) fn interval(cast: &pb::TypeCast) -> Option<Near> {
    let Some(NodeEnum::AConst(constant)) = cast.arg.as_deref().and_then(|a| a.node.as_ref()) else { return None };
    let Some(pb::a_const::Val::Sval(text)) = &constant.val else { return None };
    let mut words = text.sval.split_ascii_whitespace();
    let (number, unit) = (words.next()?, words.next());
    // Four digits at most, so that no product is large.
    let count: i64 =
        (number.len() <= 4 && number.bytes().all(|b| b.is_ascii_digit())).then(|| number.parse().ok())??;
    let units = match (unit, words.next()) {
        // Of whatever unit: a year at most.
        (None, None) => 366,
        (Some(unit), None) => match unit.to_ascii_lowercase().trim_end_matches('s') {
            "second" | "sec" | "minute" | "min" | "hour" | "day" => 1,
            "week" => 7,
            "month" | "mon" => 31,
            "year" => 366,
            _ => return None,
        },
        _ => return None,
    };
    // A bare number alone is one of seconds; behind it stands at most what says its unit.
    (cast.type_name.as_ref()?.typmods.len() <= 1).then_some(())?;
    within(count.checked_mul(units)?).map(Near::Span)
}

/// A call that tells the time.
pub(super) fn clock(name: &str, arguments: usize) -> Option<Near> {
    (arguments == 0 && CLOCKS.contains(&name)).then_some(Near::Clock(0))
}

/// Whether a function tells the time.
pub fn is_clock(name: &str) -> bool {
    CLOCKS.contains(&name)
}

/// Whether a type holds moments.
pub(super) fn is_moment(kind: Type) -> bool {
    matches!(kind, Type::Known(oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ))
}

/// `date_trunc` of a moment near the clock: with its type.
pub(super) fn truncated(unit: &str, of: &Facts) -> Option<(Near, Type)> {
    let Some(Near::Clock(days)) = of.near else { return None };
    let unit = unit.to_ascii_lowercase();
    // The first day of a millennium may be that long ago. Dates are taken as timestamps with time zone, the preferred type (manual, 10.3).
    let near = within(days.checked_add(400_000)?).filter(|_| UNITS.contains(&unit.as_str())).map(Near::Clock)?;
    let kind = if of.type_oid == Type::Known(oid::DATE) { Type::Known(oid::TIMESTAMPTZ) } else { of.type_oid };
    Some((near, kind))
}

/// `left name right` over what is known, which then never raises: what is known of the result. `kind` is the result's type.
#[allow(clippy::option_option)]
pub(super) fn operate(name: &str, left: Option<&Facts>, right: &Facts, kind: Type) -> Option<Option<Near>> {
    let date = |f: &Facts| f.type_oid == Type::Known(oid::DATE);
    let clock = |a: i64, b: i64| within(a.checked_add(b)?).map(|days| Some(Near::Clock(days)));
    let Some(left) = left else {
        return match (name, right.near?) {
            ("-", Near::Whole(n)) => whole(0i128.checked_sub(i128::from(n))?, kind),
            _ => None,
        };
    };
    match (name, left.near?, right.near?) {
        (_, Near::Whole(a), Near::Whole(b)) => {
            let (a, b) = (i128::from(a), i128::from(b));
            let result = match name {
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                _ => None,
            };
            whole(result?, kind)
        }
        ("+" | "-", Near::Clock(days), Near::Span(span)) | ("+", Near::Span(span), Near::Clock(days)) => {
            clock(days, span)
        }
        ("+" | "-", Near::Clock(days), Near::Whole(n)) if date(left) && right.type_oid == Type::Known(oid::INT4) => {
            clock(days, n.checked_abs()?)
        }
        ("+", Near::Whole(n), Near::Clock(days)) if date(right) && left.type_oid == Type::Known(oid::INT4) => {
            clock(days, n.checked_abs()?)
        }
        ("+" | "-", Near::Span(a), Near::Span(b)) => within(a.checked_add(b)?).map(|days| Some(Near::Span(days))),
        ("-", Near::Clock(_), Near::Clock(_)) if left.type_oid == right.type_oid => Some(None),
        _ => None,
    }
}

/// A whole number, when its type holds it.
#[allow(clippy::option_option)]
fn whole(value: i128, kind: Type) -> Option<Option<Near>> {
    let value = i64::try_from(value).ok()?;
    let fits = match kind {
        Type::Known(oid::INT4) => i32::try_from(value).is_ok(),
        Type::Known(oid::INT8) => true,
        Type::Known(_) | Type::Literal | Type::Unclear => false,
    };
    fits.then_some(Some(Near::Whole(value)))
}

/// Whether a type is that of intervals.
pub(super) fn is_interval(kind: Option<Oid>) -> bool {
    kind == Some(INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    fn span(text: &str) -> Option<Near> {
        match parse_expression(text).unwrap().node {
            Some(NodeEnum::TypeCast(cast)) => interval(&cast),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn intervals_of_few_words_are_known() {
        assert_eq!(span("interval '7 days'"), Some(Near::Span(7)));
        assert_eq!(span("'2 WEEKS'::interval"), Some(Near::Span(14)));
        assert_eq!(span("interval '7' day"), Some(Near::Span(7 * 366)));
        for unknown in [
            "'178000000 years'::interval",
            "'99999 days'::interval",
            "'9999 years'::interval",
            "'1 day 2 hours'::interval",
            "'-1 day'::interval",
            "'1.5 days'::interval",
            "'1e9 days'::interval",
            "'1 millennium'::interval",
            "'P1D'::interval",
            "''::interval",
            "5::interval",
        ] {
            assert_eq!(span(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn numbers_are_known_within_their_type() {
        let of = |n: i64, kind| Facts { near: Some(Near::Whole(n)), ..Facts::constant(Type::Known(kind)) };
        let (int4, int8) = (Type::Known(oid::INT4), Type::Known(oid::INT8));
        let operate = |name, a, b, kind| operate(name, Some(&of(a, oid::INT4)), &of(b, oid::INT4), kind);
        assert_eq!(operate("+", 2, 3, int4), Some(Some(Near::Whole(5))));
        assert_eq!(operate("*", -4, 3, int8), Some(Some(Near::Whole(-12))));
        assert_eq!(operate("+", i64::from(i32::MAX), 1, int4), None);
        assert_eq!(operate("-", i64::MIN, 1, int8), None);
        assert_eq!(operate("/", 1, 0, int4), None);
        assert_eq!(operate("+", 1, 2, Type::Known(oid::NUMERIC)), None);
    }

    #[test]
    fn moments_stay_near_the_clock() {
        let of = |near, kind| Facts { near: Some(near), ..Facts::constant(Type::Known(kind)) };
        let (now, today) = (of(Near::Clock(0), oid::TIMESTAMPTZ), of(Near::Clock(0), oid::DATE));
        let (week, long) = (of(Near::Span(7), INTERVAL), of(Near::Span(MOST_DAYS), INTERVAL));
        let kind = Type::Known(oid::TIMESTAMPTZ);
        assert_eq!(operate("-", Some(&now), &week, kind), Some(Some(Near::Clock(7))));
        let far = of(Near::Clock(1), oid::TIMESTAMPTZ);
        assert_eq!(operate("-", Some(&far), &long, kind), None);
        assert_eq!(operate("*", Some(&now), &week, kind), None);
        let days = |n| of(Near::Whole(n), oid::INT4);
        assert_eq!(operate("-", Some(&today), &days(30), kind), Some(Some(Near::Clock(30))));
        assert_eq!(operate("-", Some(&today), &days(2_000_000_000), kind), None);
        assert_eq!(operate("-", Some(&now), &days(30), kind), None);
        assert!(truncated("MONTH", &now).is_some());
        assert!(truncated("fortnight", &now).is_none());
    }
}
