//! Settings with an upper bound: how long a statement may run, and how long its planning may take.
//!
//! In: the value of a SET, and the bound. Out: whether it passes, and what is set instead. Must never: let a caller's session run longer than the configuration
//! allows.

use crate::error::{Family, Refusal, SqlState};

/// What a SET of `statement_timeout` comes to under a bound, both in milliseconds.
#[derive(Debug, PartialEq, Eq)]
pub enum Timeout {
    /// As it is.
    Forward,
    /// "No limit" is as long as is allowed.
    Longest,
}

/// Reads a SET of `statement_timeout`.
///
/// # Errors
/// 22023 above the bound, in the server's words, and for what is not understood here (the server reads hexadecimal too).
pub fn statement_timeout(value: &str, longest: u32) -> Result<Timeout, Refusal> {
    let Some(asked) = milliseconds(value) else {
        let text = format!("invalid value for parameter \"statement_timeout\": \"{value}\"");
        return Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text));
    };
    // The server rounds: what becomes 0 is no limit.
    if asked < 1.0 {
        return Ok(Timeout::Longest);
    }
    if asked <= f64::from(longest) {
        return Ok(Timeout::Forward);
    }
    let text = format!("{value} is outside the valid range for parameter \"statement_timeout\" (1 ms .. {longest} ms)");
    Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text)
        .with_hint("The configuration of the proxy has an upper bound; 0 asks for as long as is allowed."))
}

/// A time as settings are written (PostgreSQL manual, 20.1.1); without a unit it is milliseconds.
fn milliseconds(value: &str) -> Option<f64> {
    let value = value.trim();
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    // `1e5` is a number, the unit stands behind it.
    let (number, unit) = match value.parse::<f64>() {
        Ok(number) => (number, "ms"),
        Err(_) => (digits.trim().parse::<f64>().ok()?, value.get(digits.len()..)?),
    };
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let asked = number * factor;
    (asked.is_finite() && asked >= 0.0).then_some(asked)
}

/// Settings under which the time to plan a join grows exponentially, and the largest value of each: PostgreSQL's own `geqo_threshold`.
const JOINED: &[(&str, u32)] = &[("from_collapse_limit", 12), ("join_collapse_limit", 12)];

/// Whether [`planning`] bounds a lower-case name.
pub fn is_bounded(name: &str) -> bool {
    JOINED.iter().any(|(known, _)| *known == name)
}

/// Refuses values under which planning takes unreasonable time and memory.
///
/// # Errors
/// 22023, in the server's words.
pub fn planning(name: &str, value: &str) -> Result<(), Refusal> {
    let Some((name, most)) = JOINED.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) else { return Ok(()) };
    match value.trim().parse::<u32>() {
        Ok(asked) if asked <= *most => Ok(()),
        _ => {
            let text = format!("{value} is outside the valid range for parameter \"{name}\" (1 .. {most})");
            Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_lower_and_not_exceed() {
        for (value, expected) in [
            ("0", Some(Timeout::Longest)),
            ("0min", Some(Timeout::Longest)),
            ("0.0001s", Some(Timeout::Longest)),
            ("1", Some(Timeout::Forward)),
            ("60000", Some(Timeout::Forward)),
            ("60s", Some(Timeout::Forward)),
            (" 1 min ", Some(Timeout::Forward)),
            ("6e4", Some(Timeout::Forward)),
            ("60001", None),
            ("1.1min", None),
            ("1h", None),
            ("1d", None),
            ("1e30", None),
            ("0.5", Some(Timeout::Longest)),
            ("400us", Some(Timeout::Longest)),
            ("nonsense", None),
            ("-1", None),
            ("0x7fffffff", None),
            ("inf", None),
            ("NaN", None),
            ("", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(statement_timeout(value, 60_000).ok(), expected, "{value}");
        }
    }

    #[test]
    fn planning_is_bounded() {
        assert!(planning("join_collapse_limit", "1").is_ok() && planning("work_mem", "1GB").is_ok());
        for bad in ["13", "1000000", "x", "0x20", "-1"] {
            assert_eq!(planning("FROM_collapse_limit", bad).unwrap_err().code.0, "22023", "{bad}");
        }
    }
}
