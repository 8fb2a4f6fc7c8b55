//! Answers of several callers to one question, as columns side by side.
//!
//! In: labelled answers. Out: text. Must never: make two different answers look alike without a sign that they were cut.

use std::fmt::Write as _;

/// Widest column of answers, in characters.
const WIDEST: usize = 20;

/// What one caller got: rows of (label, value), or an error's code and message.
pub type Answer = Result<Vec<(String, String)>, (String, String)>;

/// Renders answers below their callers' names: one line a label, in the order of the longest answer, `-` where a caller has
/// none. Errors are shown by their code, and spelt out below.
pub fn side_by_side(callers: &[&str], answers: &[Answer]) -> String {
    let mut by_length: Vec<&Vec<(String, String)>> = answers.iter().flatten().collect();
    by_length.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in by_length.into_iter().flatten() {
        if !labels.contains(&label.as_str()) {
            labels.push(label);
        }
    }
    if labels.is_empty() {
        labels.push("");
    }
    let mut lines = vec![std::iter::once("").chain(callers.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    for (at, label) in labels.iter().enumerate() {
        let cells = answers.iter().map(|answer| match answer {
            Ok(rows) => {
                let found = rows.iter().find(|(l, _)| l == label).map(|(_, value)| cut(value));
                found.unwrap_or_else(|| "-".to_owned())
            }
            Err((code, _)) if at == 0 => format!("ERROR {code}"),
            Err(_) => String::new(),
        });
        lines.push(std::iter::once((*label).to_owned()).chain(cells).collect());
    }
    let columns = callers.len() + 1;
    let width_of = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width_of(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        let mut text = String::from("  ");
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  "); // writing to a String cannot fail
        }
        out.push_str(text.trim_end());
        out.push('\n');
        if at == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            let _ = writeln!(out, "  {}", rule.join("  "));
        }
    }
    let mut told: Vec<&(String, String)> = Vec::new();
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        if !told.contains(&error) {
            let _ = writeln!(out, "  ERROR {}: {}", error.0, error.1);
            told.push(error);
        }
    }
    out
}

/// A value on one line, cut to the widest column with `…` for what is missing.
fn cut(value: &str) -> String {
    let value: String = value.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().count() <= WIDEST {
        return value;
    }
    value.chars().take(WIDEST - 1).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_align_and_errors_stand_alone() {
        let rows = |list: &[(&str, &str)]| Ok(list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect());
        let error: Answer = Err(("42P01".into(), "no such table".into()));
        let answers =
            [rows(&[("EUROPE", "5")]), rows(&[("ASIA", "3"), ("EUROPE", "12345")]), rows(&[]), error.clone(), error];
        let text = side_by_side(&["one", "two", "three", "four", "five"], &answers);
        let expected = "          one  two    three  four         five\n  \
                        ──────  ───  ─────  ─────  ───────────  ───────────\n  \
                        ASIA    -    3      -      ERROR 42P01  ERROR 42P01\n  \
                        EUROPE  5    12345  -\n  \
                        ERROR 42P01: no such table\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_cut_value_says_so() {
        assert_eq!(cut("0123456789012345678901234"), "0123456789012345678…");
        assert_eq!(cut("01234567890123456789"), "01234567890123456789");
        assert_eq!(cut("padded      "), "padded");
        assert_eq!(cut("a\nb"), "a b");
    }
}
