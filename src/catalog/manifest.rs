//! What is known of the functions of each major version of PostgreSQL: a checked-in list of every function of `pg_catalog`, by signature,
//! with its class.
//!
//! In: a snapshot of a server's catalog. Out: what no list holds. The lists were made from servers of each version by the rule of
//! [`super::functions`] and read by a reviewer; `tests/catalog` holds them against the rule. A function that is on no list was never
//! looked at: its name is denied, all overloads together, and `sqlveil check` says so. Must never: take a list for a version it was not
//! made for, but for servers newer than all of them, which get the newest.

use super::functions::FIRST_NORMAL_OID;
use super::{Catalog, Function};
use crate::types::Oid;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

/// A major version and its list: a line for each function, `signature class`.
struct List {
    major: u32,
    text: &'static str,
    signatures: OnceLock<HashSet<&'static str>>,
}

impl List {
    const fn new(major: u32, text: &'static str) -> Self {
        Self { major, text, signatures: OnceLock::new() }
    }
    fn holds(&self, signature: &str) -> bool {
        let read =
            || self.text.lines().filter_map(|line| line.rsplit_once("  ")).map(|(signature, _)| signature).collect();
        self.signatures.get_or_init(read).contains(signature)
    }
}

/// Oldest first.
static LISTS: [List; 6] = [
    List::new(13, include_str!("manifest/pg13.txt")),
    List::new(14, include_str!("manifest/pg14.txt")),
    List::new(15, include_str!("manifest/pg15.txt")),
    List::new(16, include_str!("manifest/pg16.txt")),
    List::new(17, include_str!("manifest/pg17.txt")),
    List::new(18, include_str!("manifest/pg18.txt")),
];

/// The list for a server, by `server_version_num`; the newest for a newer server.
fn list(server_version: u32) -> Option<&'static List> {
    let major = server_version / 10_000;
    LISTS.iter().find(|l| l.major == major).or_else(|| LISTS.last().filter(|l| major > l.major))
}

/// Whether there is a list for a server, its own or the newest.
pub fn serves(server_version: u32) -> bool {
    list(server_version).is_some()
}

/// Major version whose list holds for a server, when it is not the server's own.
pub fn stands_in(server_version: u32) -> Option<u32> {
    list(server_version).map(|l| l.major).filter(|major| *major != server_version / 10_000)
}

impl Catalog {
    /// `name(arguments) result volatility kind` of a function of `pg_catalog`; types as `format_type` prints them.
    pub fn signature(&self, name: &str, function: &Function) -> String {
        let type_name = |oid: &Oid| self.types.get(oid).map_or_else(|| oid.to_string(), |t| t.sql.clone());
        let args: Vec<String> = function.args.iter().map(type_name).collect();
        let mut text = format!("{name}({}) {}", args.join(", "), type_name(&function.result));
        let _ = write!(text, " {} {}", function.volatility, function.kind);
        text
    }

    /// The system's own functions that no list holds, by name.
    pub(super) fn find_unclassified(&self) -> BTreeMap<String, Vec<String>> {
        let list = list(self.server_version);
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, overloads) in &self.functions {
            for function in overloads.iter().filter(|f| f.oid.0 < FIRST_NORMAL_OID) {
                let signature = self.signature(name, function);
                if !list.is_some_and(|list| list.holds(&signature)) {
                    found.entry(name.clone()).or_default().push(signature);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_list_and_newer_ones_the_newest() {
        for (version, major) in [(130_023, 13), (150_018, 15), (180_004, 18), (190_000, 18), (250_001, 18)] {
            assert_eq!(list(version).map(|l| l.major), Some(major));
        }
        assert!(list(120_000).is_none());
        assert_eq!((stands_in(150_018), stands_in(190_000)), (None, Some(18)));
        for list in &LISTS {
            assert!(list.holds("abs(integer) integer i f"), "{}", list.major);
            assert!(!list.holds("abs(integer) integer v f") && !list.holds("nope() integer i f"));
            let classes = ["allowed", "guarded", "denied"];
            for line in list.text.lines() {
                let class = line.rsplit_once("  ").map(|(_, class)| class).unwrap_or_default();
                assert!(classes.contains(&class) || class.starts_with("identity "), "{line}");
            }
        }
    }
}
