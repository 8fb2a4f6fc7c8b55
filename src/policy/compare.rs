//! Two decisions about one relation for one caller, taken under two sets of policies: what changes between them.
//!
//! In: the answers before and after. Out: [`Change`]s, as data and in words. Must never: decide, or hold SQL text (it may hold salts
//! and the caller's values): predicates and masks are compared by their text and told by their summaries.

use super::decision::{Access, ColumnDecision, RelationDecision, RowPredicate};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Change {
    /// Whether the relation is seen at all.
    Access {
        /// Under the first set.
        before: Seen,
        /// Under the second.
        after: Seen,
    },
    /// How a column is seen.
    Column {
        /// The column.
        name: String,
        /// Under the first set.
        before: ColumnSeen,
        /// Under the second.
        after: ColumnSeen,
    },
    /// Which rows are seen.
    Rows {
        /// What that means, as far as it can be told without the rows.
        effect: RowEffect,
        /// Row rules under the first set.
        before: Vec<RowRule>,
        /// Row rules under the second.
        after: Vec<RowRule>,
    },
}

/// Whether a relation is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// It does not exist for the caller.
    Hidden,
    /// It is refused with a hint how to get access.
    Discoverable,
    /// It is refused: a policy is invalid.
    Refused,
    /// It is seen.
    Visible,
}

/// How a column is seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "as", rename_all = "camelCase")]
pub enum ColumnSeen {
    /// Not at all: not in the dictionary, or the relation is not seen.
    Absent,
    /// As it is.
    Raw,
    /// Under a mask.
    Masked {
        /// `Hash`, …
        mask: String,
        /// The policy.
        policy: String,
    },
}

/// What a change of row rules does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RowEffect {
    /// Every row becomes hidden.
    None,
    /// Rules are added: rows may become hidden, none becomes visible.
    Fewer,
    /// Rules are taken away: rows may become visible, none becomes hidden.
    More,
    /// The rules differ otherwise: rows may become visible and others hidden.
    Changed,
}

/// A row rule in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RowRule {
    /// The policy.
    pub policy: String,
    /// What it says.
    pub summary: String,
}

/// What changes from one answer to the other. `same` tells whether two SQL texts mean the same; they differ in salts alone when the
/// two sets have different secrets.
pub fn compare(before: &Access, after: &Access, same: &dyn Fn(&str, &str) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let (was, is) = (seen(before), seen(after));
    if was != is {
        changes.push(Change::Access { before: was, after: is });
    }
    match (before, after) {
        (Access::Visible(before), Access::Visible(after)) => {
            columns(before, after, same, &mut changes);
            changes.extend(rows(&before.rows, &after.rows, same));
        }
        // Of what becomes visible, the rest is what the policies leave of it.
        (_, Access::Visible(after)) => {
            for column in after.columns.iter().filter(|c| c.mask.is_some()) {
                let name = column.name.clone();
                changes.push(Change::Column { name, before: ColumnSeen::Absent, after: column_seen(Some(column)) });
            }
            if !after.rows.is_empty() {
                changes.extend(rows(&[], &after.rows, same));
            }
        }
        _ => {}
    }
    changes
}

fn seen(access: &Access) -> Seen {
    match access {
        Access::Hidden => Seen::Hidden,
        Access::Discoverable { .. } => Seen::Discoverable,
        Access::Invalid => Seen::Refused,
        Access::Visible(_) => Seen::Visible,
    }
}

fn column_seen(column: Option<&ColumnDecision>) -> ColumnSeen {
    match column.map(|c| &c.mask) {
        None => ColumnSeen::Absent,
        Some(None) => ColumnSeen::Raw,
        Some(Some(mask)) => ColumnSeen::Masked { mask: mask.kind.to_owned(), policy: mask.policy.to_string() },
    }
}

fn columns(
    before: &RelationDecision,
    after: &RelationDecision,
    same: &dyn Fn(&str, &str) -> bool,
    changes: &mut Vec<Change>,
) {
    let find = |decision: &RelationDecision, name: &str| decision.columns.iter().find(|c| c.name == name).cloned();
    let gone = before.columns.iter().filter(|c| find(after, &c.name).is_none());
    for column in after.columns.iter().chain(gone) {
        let (was, is) = (find(before, &column.name), find(after, &column.name));
        let equal = match (&was, &is) {
            (Some(was), Some(is)) => match (&was.mask, &is.mask) {
                (None, None) => true,
                // Who decided is no change for the caller.
                (Some(was), Some(is)) => was.kind == is.kind && same(&was.sql, &is.sql),
                _ => false,
            },
            _ => false,
        };
        if !equal {
            let (before, after) = (column_seen(was.as_ref()), column_seen(is.as_ref()));
            changes.push(Change::Column { name: column.name.clone(), before, after });
        }
    }
}

fn rows(before: &[RowPredicate], after: &[RowPredicate], same: &dyn Fn(&str, &str) -> bool) -> Option<Change> {
    let within = |one: &RowPredicate, all: &[RowPredicate]| all.iter().any(|other| same(&one.sql, &other.sql));
    let kept = before.iter().all(|row| within(row, after));
    let known = after.iter().all(|row| within(row, before));
    let nothing = |rows: &[RowPredicate]| rows.iter().any(|row| row.sql.trim_matches(['(', ')']) == "FALSE");
    let effect = match (kept, known) {
        _ if nothing(before) && nothing(after) => return None,
        (true, true) => return None,
        _ if nothing(after) => RowEffect::None,
        (true, false) => RowEffect::Fewer,
        (false, true) => RowEffect::More,
        (false, false) => RowEffect::Changed,
    };
    let rules = |rows: &[RowPredicate]| {
        let rules = rows.iter().map(|row| RowRule { policy: row.policy.to_string(), summary: row.summary.clone() });
        rules.collect::<BTreeSet<_>>().into_iter().collect()
    };
    Some(Change::Rows { effect, before: rules(before), after: rules(after) })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { before, after } => match after {
                Seen::Visible => write!(f, "+ becomes visible (was {before})"),
                Seen::Hidden | Seen::Discoverable | Seen::Refused => write!(f, "- becomes {after} (was {before})"),
            },
            Self::Column { name, before, after } => {
                let sign = match (before, after) {
                    (ColumnSeen::Absent, _) | (_, ColumnSeen::Raw) => '+',
                    (_, ColumnSeen::Absent) | (ColumnSeen::Raw, _) => '-',
                    (ColumnSeen::Masked { .. }, ColumnSeen::Masked { .. }) => '~',
                };
                write!(f, "{sign} column {name}: {before} -> {after}")?;
                if before == after {
                    write!(f, ", masked differently")?;
                }
                Ok(())
            }
            Self::Rows { effect, before, after } => {
                let (sign, words) = match effect {
                    RowEffect::None => ('-', "every row becomes hidden"),
                    RowEffect::Fewer => ('-', "rows become hidden"),
                    RowEffect::More => ('+', "rows become visible"),
                    RowEffect::Changed => ('~', "row rule changed"),
                };
                write!(f, "{sign} {words}: {} -> {}", all(before), all(after))
            }
        }
    }
}

fn all(rules: &[RowRule]) -> String {
    if rules.is_empty() {
        return "all rows".to_owned();
    }
    let each: Vec<String> = rules.iter().map(|rule| format!("{} ({})", rule.summary, rule.policy)).collect();
    each.join(" and ")
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hidden => "hidden",
            Self::Discoverable => "discoverable",
            Self::Refused => "refused",
            Self::Visible => "visible",
        })
    }
}

impl fmt::Display for ColumnSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::Raw => f.write_str("as it is"),
            Self::Masked { mask, policy } => write!(f, "{mask} ({policy})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::{Declared, Mask, Policy, RuleKind, SubscriptionKind};
    use crate::policy::testing::*;
    use crate::policy::{Ruleset, Salts};
    use crate::types::QualifiedName;
    use std::time::SystemTime;

    fn answer(mut policies: Vec<Policy>, open: bool) -> Access {
        if open {
            policies.push(subscription("anyone", SubscriptionKind::Anyone));
        }
        let declared = Declared { data: vec![person()], policies: shared(policies), ..Declared::default() };
        let ruleset = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s")).0.settle(&[]).0;
        ruleset.access(&caller("ann"), &QualifiedName::new("hr", "person"), SystemTime::UNIX_EPOCH)
    }

    fn told(before: &Access, after: &Access) -> Vec<String> {
        compare(before, after, &|a, b| a == b).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_kind_of_change_is_told_in_both_directions() {
        let mask = |key: &str, mask| data_policy(key, vec![rule(masking("Discovered.Passport", mask))]);
        let by = |key: &str, text: &str| data_policy(key, vec![rule(RuleKind::RowByWhere(text.into()))]);
        let plain = answer(vec![], true);
        let hidden = answer(vec![], false);
        let hashed = answer(vec![mask("h", Mask::Hash)], true);
        let nulled = answer(vec![mask("n", Mask::Null)], true);
        let some = answer(vec![by("w", "id > 1")], true);
        let fewer = answer(vec![by("w", "id > 1"), by("v", "id < 9")], true);
        let none = answer(vec![by("w", "id > 1"), data_policy("p", vec![rule(purpose(&["Audit"]))])], true);
        let cases: [(&Access, &Access, &[&str]); 10] = [
            (&plain, &plain, &[]),
            (&hidden, &plain, &["+ becomes visible (was hidden)"]),
            (&plain, &hidden, &["- becomes hidden (was visible)"]),
            (&hidden, &hashed, &["+ becomes visible (was hidden)", "+ column ssn: not there -> Hash (h)"]),
            (&plain, &hashed, &["- column ssn: as it is -> Hash (h)"]),
            (&hashed, &plain, &["+ column ssn: Hash (h) -> as it is"]),
            (&hashed, &nulled, &["~ column ssn: Hash (h) -> Null (n)"]),
            (&some, &fewer, &["- rows become hidden: id > 1 (w) -> id < 9 (v) and id > 1 (w)"]),
            (&some, &plain, &["+ rows become visible: id > 1 (w) -> all rows"]),
            (
                &some,
                &none,
                &["- every row becomes hidden: id > 1 (w) -> no row without any of purpose Audit (p) and id > 1 (w)"],
            ),
        ];
        for (before, after, expected) in cases {
            assert_eq!(told(before, after), expected);
        }
        let other = answer(vec![by("w", "id > 2")], true);
        assert_eq!(told(&some, &other), ["~ row rule changed: id > 1 (w) -> id > 2 (w)"]);
        // The same condition from another policy is no change for the caller.
        assert!(told(&some, &answer(vec![by("renamed", "id > 1")], true)).is_empty());
    }

    fn purpose(names: &[&str]) -> RuleKind {
        RuleKind::Purpose { all: false, purposes: names.iter().map(|n| (*n).to_owned()).collect() }
    }

    #[test]
    fn the_same_kind_of_mask_with_other_parameters_is_a_change() {
        let with = |text: &str| {
            answer(
                vec![data_policy("c", vec![rule(masking("Discovered.Passport", Mask::Constant(text.into())))])],
                true,
            )
        };
        assert_eq!(told(&with("x"), &with("y")), ["~ column ssn: Constant (c) -> Constant (c), masked differently"]);
    }
}
