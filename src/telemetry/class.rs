//! Classes of SQLSTATE: their first two characters (PostgreSQL manual, Appendix A).

/// The classes that PostgreSQL has, sorted; whatever is none of them counts as `other`, the last.
pub const CLASSES: [&str; 44] = [
    "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25", "26",
    "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58",
    "72", "F0", "HV", "P0", "XX", "other",
];

/// The place of a code's class in [`CLASSES`].
pub(super) fn of(code: &str) -> usize {
    let known = CLASSES.len().saturating_sub(1);
    let class = code.get(..2).unwrap_or_default();
    CLASSES.get(..known).and_then(|classes| classes.binary_search(&class).ok()).unwrap_or(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_a_class() {
        assert!(CLASSES[..CLASSES.len() - 1].is_sorted());
        for (code, class) in
            [("42501", "42"), ("XX000", "XX"), ("57014", "57"), ("QQ123", "other"), ("é", "other"), ("", "other")]
        {
            assert_eq!(CLASSES[of(code)], class, "{code}");
        }
    }
}
