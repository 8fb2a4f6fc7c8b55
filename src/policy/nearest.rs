//! "Did you mean": the known name closest to an unknown one.
//!
//! In: a wrong name and the right ones. Out: a suggestion or nothing. Must never: be used to decide anything.

/// `did you mean "x"?` or an empty string when nothing is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(wrong, known).map(|name| format!("did you mean \"{name}\"?")).unwrap_or_default()
}

fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let limit = wrong.chars().count() / 3 + 1;
    known
        .map(|name| (distance(&wrong, &name.to_lowercase()), name))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (cell, cb) in row.iter().skip(1).zip(&b) {
            let here = (*cell + 1).min(left + 1).min(diagonal + usize::from(ca != *cb));
            diagonal = *cell;
            left = here;
            next.push(here);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["customer", "orders", "nation"];
        assert_eq!(did_you_mean("custmer", names.into_iter()), "did you mean \"customer\"?");
        assert_eq!(did_you_mean("CUSTOMER", names.into_iter()), "did you mean \"customer\"?");
        assert_eq!(did_you_mean("warehouse", names.into_iter()), "");
    }
}
