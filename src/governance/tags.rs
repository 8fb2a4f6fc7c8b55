//! Tags: dotted paths, declared by documents of our own shape, `tags: [Discovered.Entity.Date, PCI]`.
//!
//! In: the `tags` documents and every tag another document uses. Out: the set of declared tags, and whether a used one is known.
//! Must never: let a misspelt tag pass, since a policy on a tag that nothing carries protects nothing.

use crate::governance::model::{Declared, tag_matches};
use crate::governance::reader::Reader;
use crate::governance::tree::Node;
use std::collections::BTreeSet;

/// Tags that exist without being declared: what discovery puts, and what new tables and columns carry (seed 004, API of data
/// sources, schema monitoring).
const BUILT_IN: [&str; 2] = ["Discovered", "New"];

/// Why a text is not a dotted path.
pub fn malformed(tag: &str) -> Option<&'static str> {
    if tag.split('.').any(|segment| segment.is_empty()) {
        return Some("a segment is empty");
    }
    if tag.split('.').any(|segment| segment.trim() != segment) {
        return Some("a segment has spaces around it");
    }
    if tag.chars().any(char::is_control) {
        return Some("it holds a control character");
    }
    None
}

/// Whether a tag used by a document is known: declared, a descendant or an ancestor of a declared one, or built in.
pub fn known(declared: &BTreeSet<String>, used: &str) -> bool {
    let mut ancestors = std::iter::successors(Some(used), |tag| tag.rsplit_once('.').map(|(parent, _)| parent));
    let below = format!("{used}.");
    BUILT_IN.iter().any(|built_in| tag_matches(built_in, used))
        || ancestors.any(|tag| declared.contains(tag))
        || declared.range(below.clone()..).next().is_some_and(|tag| tag.starts_with(&below))
}

/// Reads one `tags` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a tags document") else { return };
    if let Some(list) = reader.required(&mut fields, "tags") {
        let items = reader.list(list, "tags");
        for (tag, origin) in reader.distinct_names(items) {
            if let Some(why) = malformed(&tag) {
                let help = "write dotted segments, as in `Discovered.Entity.Date`";
                reader.error_at(&origin, format!("`{tag}` is not a tag: {why}"), help);
            } else {
                declared.tags.insert(tag);
            }
        }
    }
    reader.finish(fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_are_declared_tags_their_relatives_and_the_built_in() {
        let declared = BTreeSet::from(["Finance.Card.Number".to_owned()]);
        for used in [
            "Finance.Card.Number",
            "Finance",
            "Finance.Card",
            "Finance.Card.Number.Last4",
            "Discovered.X",
            "New",
            "Discovered",
        ] {
            assert!(known(&declared, used), "{used}");
        }
        for used in ["Fin", "Finance.Cards", "Discover", "Newer", "finance"] {
            assert!(!known(&declared, used), "{used}");
        }
    }

    #[test]
    fn a_path_has_no_empty_segment() {
        for bad in [".A", "A.", "A..B", "A. B", "A\tB"] {
            assert!(malformed(bad).is_some(), "{bad:?}");
        }
        assert_eq!(malformed("Discovered.Entity.Social Security Number"), None);
    }
}
