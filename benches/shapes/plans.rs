//! What a plan makes use of, as EXPLAIN tells it.

use std::collections::BTreeSet;
use std::fmt;

/// Indexes, partitions left out, workers, merge joins.
#[derive(Debug)]
pub struct Traits {
    indexed: usize,
    partitions: BTreeSet<String>,
    pruned_late: bool,
    parallel: bool,
    merges: bool,
}

impl Traits {
    /// From the lines of EXPLAIN (COSTS off).
    pub fn of(plan: &str) -> Self {
        let words = plan.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let partitions = words.filter(|w| w.strip_prefix("event_").is_some_and(|n| n.parse::<u8>().is_ok()));
        Self {
            indexed: plan.lines().filter(|l| l.contains("Index") && l.contains(" on ")).count(),
            partitions: partitions.map(str::to_owned).collect(),
            pruned_late: plan.contains("Subplans Removed"),
            parallel: plan.contains("Gather"),
            merges: plan.contains("Merge Join"),
        }
    }

    /// What this plan has not of another.
    pub fn lost(&self, of: &Self) -> Option<String> {
        let mut lost = Vec::new();
        if of.indexed > 0 && self.indexed == 0 {
            lost.push("indexes");
        }
        if self.partitions.len() > of.partitions.len() && (of.pruned_late || !self.pruned_late) {
            lost.push("pruning");
        }
        if of.parallel && !self.parallel {
            lost.push("workers");
        }
        if of.merges && !self.merges {
            lost.push("merge join");
        }
        (!lost.is_empty()).then(|| lost.join(", "))
    }
}

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut has = Vec::new();
        if self.indexed > 0 {
            has.push("index".to_owned());
        }
        if !self.partitions.is_empty() && self.partitions.len() < 8 || self.pruned_late {
            has.push("pruning".to_owned());
        }
        if self.parallel {
            has.push("workers".to_owned());
        }
        if self.merges {
            has.push("merge join".to_owned());
        }
        f.write_str(if has.is_empty() { "–" } else { "" })?;
        f.write_str(&has.join(", "))
    }
}
