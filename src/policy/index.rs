//! Which policies may touch a data source, found by what the data source carries instead of by asking every policy.
//!
//! In: all policies, once; a data source. Out: the places of the policies that may touch it, in order. Must never: leave out a policy
//! that applies, or whose applying cannot be told; to name one too many is only slow, [`super::circumstance::applies`] decides.

use super::source::DataSource;
use crate::governance::model::{Circumstance, Circumstances, FieldSelector, Policy, PolicyBody, RuleKind};
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Places of policies, by what a data source must have for them to touch it.
#[derive(Default)]
pub(crate) struct PolicyIndex {
    always: Vec<usize>,
    tags: HashMap<String, Vec<usize>>,
    column_tags: HashMap<String, Vec<usize>>,
    /// Patterns of column names.
    patterns: Vec<(Arc<Regex>, usize)>,
    /// The policies whose patterns match a column's name, by the name: tables share the names of their columns.
    names: HashMap<String, Vec<usize>>,
    tagged: Vec<usize>,
    untagged_column: Vec<usize>,
    untagged: Vec<usize>,
    servers: HashMap<String, Vec<usize>>,
    owners: HashMap<(bool, String), Vec<usize>>,
    sources: HashMap<String, Vec<usize>>,
    applied: HashMap<String, Vec<usize>>,
}

/// Something a data source must have. A policy is entered under several when any of them is enough.
enum Key<'a> {
    Always,
    /// The data source carries the tag or a descendant.
    Tag(&'a str),
    /// A column carries the tag or a descendant.
    ColumnTag(&'a str),
    /// A column's name matches.
    Name(&'a Arc<Regex>),
    /// Some column carries a tag.
    Tagged,
    /// Some column carries none.
    UntaggedColumn,
    /// No column carries any.
    Untagged,
    /// It is on the server, or does not say where it is.
    Server(&'a str),
    /// It is owned by the user (false) or group (true).
    Owner(bool, &'a str),
    /// It has this name.
    Source(&'a str),
    /// An owner applied the policy of this key to it.
    Applied(&'a str),
}

impl PolicyIndex {
    /// Enters the policies; staged ones touch nothing.
    pub(crate) fn new<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut index = Self::default();
        for (place, policy) in policies.enumerate() {
            for key in keys(policy) {
                index.enter(key, place);
            }
        }
        index
    }

    fn enter(&mut self, key: Key<'_>, place: usize) {
        let list = match key {
            Key::Always => &mut self.always,
            Key::Tag(tag) => self.tags.entry(tag.to_owned()).or_default(),
            Key::ColumnTag(tag) => self.column_tags.entry(tag.to_owned()).or_default(),
            Key::Name(regex) => return self.patterns.push((Arc::clone(regex), place)),
            Key::Tagged => &mut self.tagged,
            Key::UntaggedColumn => &mut self.untagged_column,
            Key::Untagged => &mut self.untagged,
            Key::Server(server) => self.servers.entry(server.to_owned()).or_default(),
            Key::Owner(is_group, name) => self.owners.entry((is_group, name.to_owned())).or_default(),
            Key::Source(name) => self.sources.entry(name.to_owned()).or_default(),
            Key::Applied(policy) => self.applied.entry(policy.to_owned()).or_default(),
        };
        list.push(place);
    }

    /// The places of the policies that may touch the data source, in order.
    pub(crate) fn touching(&mut self, source: &DataSource) -> Vec<usize> {
        let mut found: Vec<usize> = self.always.clone();
        let mut add = |list: Option<&Vec<usize>>| found.extend(list.into_iter().flatten());
        for tag in &source.tags {
            ancestors(tag).for_each(|tag| add(self.tags.get(tag)));
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for tag in source.columns.iter().flat_map(|c| &c.tags).filter(|tag| seen.insert(tag)) {
            ancestors(tag).for_each(|tag| add(self.column_tags.get(tag)));
        }
        if seen.is_empty() {
            add(Some(&self.untagged));
        } else {
            add(Some(&self.tagged));
        }
        if source.columns.iter().any(|c| c.tags.is_empty()) {
            add(Some(&self.untagged_column));
        }
        match &source.server {
            Some(server) => add(self.servers.get(server)),
            None => self.servers.values().for_each(|list| add(Some(list))),
        }
        add(self.sources.get(&*source.name));
        add(self.sources.get(&source.logical.to_string()));
        for policy in &source.applied {
            add(self.applied.get(&**policy));
        }
        for owner in &source.owners {
            add(self.owners.get(&(owner.is_group, owner.name.clone())));
        }
        if !self.patterns.is_empty() {
            for column in &source.columns {
                if !self.names.contains_key(&column.name) {
                    let matching = self.patterns.iter().filter(|(regex, _)| regex.is_match(&column.name));
                    self.names.insert(column.name.clone(), matching.map(|(_, place)| *place).collect());
                }
                add(self.names.get(&column.name));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The tag and every tag it descends from: `A.B.C`, `A.B`, `A`.
pub(crate) fn ancestors(tag: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(tag), |tag| tag.rsplit_once('.').map(|(parent, _)| parent))
}

/// What a data source must have, any of it, for the policy to touch it; nothing = it touches none.
fn keys(policy: &Policy) -> Vec<Key<'_>> {
    if policy.set_aside().is_some() {
        return Vec::new();
    }
    match &policy.circumstances {
        Circumstances::OwnerApplied => vec![Key::Applied(&policy.key)],
        Circumstances::Only(source) => vec![Key::Source(source)],
        Circumstances::When { all: false, list } if !list.is_empty() => list.iter().map(circumstance).collect(),
        // All of them must hold, so that any one will do; one that is asked of every data source last.
        Circumstances::When { all: true, list } if !list.is_empty() => {
            let found = list.iter().map(circumstance).find(|key| !matches!(key, Key::Always));
            vec![found.unwrap_or(Key::Always)]
        }
        Circumstances::Everywhere | Circumstances::When { .. } if !policy.owner_restrictions.is_empty() => {
            policy.owner_restrictions.iter().map(|owner| Key::Owner(owner.is_group, &owner.name)).collect()
        }
        Circumstances::Everywhere | Circumstances::When { .. } => masked(&policy.body),
    }
}

fn circumstance(circumstance: &Circumstance) -> Key<'_> {
    match circumstance {
        Circumstance::Tag(tag) => Key::Tag(tag),
        Circumstance::ColumnTag(tag) => Key::ColumnTag(tag),
        Circumstance::ColumnRegex(regex) => Key::Name(regex),
        Circumstance::AnyTag => Key::Tagged,
        Circumstance::NoTags => Key::Untagged,
        Circumstance::Time { .. } => Key::Always,
        Circumstance::Server(server) => Key::Server(server),
    }
}

/// A policy that does nothing but mask touches only the data sources with a column to mask.
fn masked(body: &PolicyBody) -> Vec<Key<'_>> {
    let PolicyBody::Data(actions) = body else { return vec![Key::Always] };
    let mut keys = Vec::new();
    for rule in actions.iter().flat_map(|action| &action.rules) {
        let RuleKind::Masking { fields, .. } = &rule.kind else { return vec![Key::Always] };
        keys.extend(fields.iter().map(|field| match field {
            FieldSelector::ColumnTag(tag) => Key::ColumnTag(tag),
            FieldSelector::ColumnRegex(regex) => Key::Name(regex),
            FieldSelector::AnyTag => Key::Tagged,
            FieldSelector::NoTags => Key::UntaggedColumn,
            FieldSelector::AllColumns | FieldSelector::Column(_) => Key::Always,
        }));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::{Audience, Mask, SubscriptionKind};
    use crate::policy::circumstance::{Applies, applies};
    use crate::policy::testing::{data_policy, masking, owner, policy, rule, source, subscription};

    fn regex(text: &str) -> Arc<Regex> {
        Arc::new(Regex::new(text).unwrap())
    }

    /// Every circumstance, met and not, and the operators over pairs of them.
    fn policies() -> Vec<Policy> {
        let circumstances = [
            Circumstance::Tag("PCI".into()),
            Circumstance::Tag("PC".into()),
            Circumstance::ColumnTag("Discovered".into()),
            Circumstance::ColumnTag("Discovered.Passport.Deep".into()),
            Circumstance::ColumnRegex(regex("^ss")),
            Circumstance::ColumnRegex(regex("^nothing$")),
            Circumstance::AnyTag,
            Circumstance::NoTags,
            Circumstance::Time { start: None, end: Some("2021-01-01T00:00:00Z".parse().unwrap()) },
            Circumstance::Server("svc@db:5432/tpc".into()),
            Circumstance::Server("other".into()),
        ];
        let policy = |key: &str| data_policy(key, vec![rule(RuleKind::Minimization { percent: 5, column: None })]);
        let mut out =
            vec![policy("everywhere"), subscription("open", SubscriptionKind::Entitlements(Audience::default()))];
        for first in &circumstances {
            for second in &circumstances {
                for all in [true, false] {
                    let list = vec![first.clone(), second.clone()];
                    out.push(Policy { circumstances: Circumstances::When { all, list }, ..policy("pair") });
                }
            }
        }
        for restricted in [owner("engineers", true), owner("engineers", false)] {
            out.push(Policy { owner_restrictions: vec![restricted], ..policy("owned") });
        }
        for name in ["hr.person", "person", "other"] {
            out.push(Policy { circumstances: Circumstances::Only(name.to_owned()), ..policy("local") });
        }
        for key in ["applied", "not applied"] {
            out.push(Policy { circumstances: Circumstances::OwnerApplied, ..policy(key) });
        }
        out
    }

    #[test]
    fn every_policy_that_applies_is_found() {
        let policies = policies();
        let mut sources = vec![source()];
        let mut other = source();
        other.server = None;
        other.created_at = None;
        other.tags.clear();
        other.columns.iter_mut().for_each(|c| c.tags.clear());
        other.owners = vec![owner("engineers", true)];
        other.applied.insert("applied".into());
        sources.push(other);
        let mut index = PolicyIndex::new(policies.iter());
        for source in &sources {
            let found = index.touching(source);
            for (place, policy) in policies.iter().enumerate() {
                let wanted = !matches!(applies(policy, source), Applies::No(_));
                assert!(!wanted || found.contains(&place), "{:?} on {}", policy.circumstances, source.name);
            }
            assert!(found.len() < policies.len(), "the index tells nothing apart");
        }
    }

    #[test]
    fn a_policy_of_masks_touches_only_what_it_masks() {
        let fields = |field: FieldSelector| {
            data_policy("p", vec![rule(RuleKind::Masking { fields: vec![field], mask: Mask::Null, conditional: None })])
        };
        let policies = [
            data_policy("here", vec![rule(masking("Discovered", Mask::Null))]),
            data_policy("there", vec![rule(masking("Elsewhere", Mask::Null))]),
            data_policy(
                "both",
                vec![rule(masking("Elsewhere", Mask::Null)), rule(RuleKind::Minimization { percent: 5, column: None })],
            ),
            fields(FieldSelector::AnyTag),
            fields(FieldSelector::NoTags),
            fields(FieldSelector::AllColumns),
            fields(FieldSelector::ColumnRegex(regex("x$"))),
            Policy { staged: true, ..policy("staged") },
            Policy { circumstances: Circumstances::OwnerApplied, ..policy("owner applied") },
        ];
        assert_eq!(PolicyIndex::new(policies.iter()).touching(&source()), [0, 2, 3, 4, 5]);
    }
}
