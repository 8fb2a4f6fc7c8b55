//! Where a policy applies.
//!
//! In: circumstances and owner restrictions of a policy, and a data source. Out: yes, no, or cannot be told. Must never: answer
//! "does not apply" for what cannot be told; the binder closes the gap in the restrictive direction.

use super::source::DataSource;
use crate::governance::model::{Circumstance, Circumstances, Owner, Policy, tag_matches};

/// Whether a policy applies to a data source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applies {
    /// It does.
    Yes,
    /// It does not, and why.
    No(String),
    /// What decides it is not declared: which.
    Unknown(String),
}

/// Decides where, without regard to `staged`.
pub(crate) fn applies(policy: &Policy, source: &DataSource) -> Applies {
    if !policy.owner_restrictions.is_empty() && !owned_by_any(&policy.owner_restrictions, source) {
        return Applies::No("the data source is owned by none of the policy's owners".to_owned());
    }
    match &policy.circumstances {
        Circumstances::Everywhere => Applies::Yes,
        Circumstances::OwnerApplied if source.applied.contains(&policy.key) => Applies::Yes,
        Circumstances::OwnerApplied => Applies::No("applies only where an owner has applied it".to_owned()),
        Circumstances::Only(name) if source.is_called(name) => Applies::Yes,
        Circumstances::Only(name) => Applies::No(format!("local to the data source {name}")),
        // "No circumstances" means every data source, whether the list is absent or empty.
        Circumstances::When { list, .. } if list.is_empty() => Applies::Yes,
        Circumstances::When { all, list } => when(*all, list, source),
    }
}

fn when(all: bool, list: &[Circumstance], source: &DataSource) -> Applies {
    let mut unknown = None;
    let mut unmet = Vec::new();
    let mut met = 0usize;
    for circumstance in list {
        match holds(circumstance, source) {
            Ok(true) => met += 1,
            Ok(false) => unmet.push(describe(circumstance)),
            Err(what) => unknown = Some(what),
        }
    }
    let decided = if all { !unmet.is_empty() } else { met > 0 };
    match (all, decided, unknown) {
        (true, true, _) => Applies::No(format!("circumstance not met: {}", unmet.join(", "))),
        (false, true, _) => Applies::Yes,
        (_, false, Some(what)) => Applies::Unknown(what),
        (true, false, None) => Applies::Yes,
        (false, false, None) => Applies::No(format!("no circumstance met: {}", unmet.join(", "))),
    }
}

fn holds(circumstance: &Circumstance, source: &DataSource) -> Result<bool, String> {
    let mut column_tags = source.columns.iter().flat_map(|c| &c.tags);
    Ok(match circumstance {
        Circumstance::Tag(tag) => source.tags.iter().any(|t| tag_matches(tag, t)),
        Circumstance::ColumnTag(tag) => column_tags.any(|t| tag_matches(tag, t)),
        Circumstance::ColumnRegex(regex) => source.columns.iter().any(|c| regex.is_match(&c.name)),
        Circumstance::AnyTag => column_tags.next().is_some(),
        Circumstance::NoTags => column_tags.next().is_none(),
        Circumstance::Time { start, end } => {
            let created = source.created_at.ok_or("the creation date of the data source (createdAt)")?;
            start.is_none_or(|s| created >= s) && end.is_none_or(|e| created <= e)
        }
        Circumstance::Server(server) => {
            source.server.as_ref().ok_or("the server of the data document (connection)")? == server
        }
    })
}

fn owned_by_any(restrictions: &[Owner], source: &DataSource) -> bool {
    let same = |wanted: &Owner, owner: &Owner| {
        wanted.is_group == owner.is_group
            && wanted.name == owner.name
            && wanted.iam.as_ref().is_none_or(|i| owner.iam.as_ref().is_none_or(|o| o == i))
    };
    source.owners.iter().any(|owner| restrictions.iter().any(|wanted| same(wanted, owner)))
}

fn describe(circumstance: &Circumstance) -> String {
    match circumstance {
        Circumstance::Tag(tag) => format!("data source tagged {tag}"),
        Circumstance::ColumnTag(tag) => format!("a column tagged {tag}"),
        Circumstance::ColumnRegex(regex) => format!("a column named like {regex}"),
        Circumstance::AnyTag => "some column tagged".to_owned(),
        Circumstance::NoTags => "no column tagged".to_owned(),
        Circumstance::Time { .. } => "created in the interval".to_owned(),
        Circumstance::Server(server) => format!("on server {server}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{owner, policy, source};
    use std::sync::Arc;

    fn with(all: bool, list: Vec<Circumstance>) -> Policy {
        let mut policy = policy("p");
        policy.circumstances = Circumstances::When { all, list };
        policy
    }

    #[test]
    fn absent_is_everywhere_and_null_is_nowhere() {
        let source = source();
        let mut policy = policy("p");
        assert_eq!(applies(&policy, &source), Applies::Yes);
        policy.circumstances = Circumstances::OwnerApplied;
        assert!(matches!(applies(&policy, &source), Applies::No(_)));
    }

    #[test]
    fn each_kind() {
        // `testing::source` is tagged PCI.Cards, has the column `ssn` tagged Discovered.Passport, and was created 2020-12-10.
        let source = source();
        let regex = |p: &str| Circumstance::ColumnRegex(Arc::new(regex::Regex::new(p).unwrap()));
        let time = |start: &str, end: &str| Circumstance::Time {
            start: Some(start.parse().unwrap()),
            end: Some(end.parse().unwrap()),
        };
        let cases = [
            (Circumstance::Tag("PCI".into()), true),
            (Circumstance::Tag("PCI.Cards".into()), true),
            (Circumstance::Tag("PCI.Cards.Deep".into()), false),
            (Circumstance::Tag("PC".into()), false),
            (Circumstance::ColumnTag("Discovered".into()), true),
            (Circumstance::ColumnTag("PCI".into()), false),
            (regex("^ss"), true),
            (regex("^sn"), false),
            (Circumstance::AnyTag, true),
            (Circumstance::NoTags, false),
            (time("2020-12-01T00:00:00Z", "2020-12-31T00:00:00Z"), true),
            (time("2021-12-01T00:00:00Z", "2021-12-31T00:00:00Z"), false),
            (Circumstance::Server("svc@db:5432/tpc".into()), true),
            (Circumstance::Server("svc@db:5432/other".into()), false),
        ];
        for (circumstance, expected) in cases {
            let found = applies(&with(false, vec![circumstance.clone()]), &source) == Applies::Yes;
            assert_eq!(found, expected, "{circumstance:?}");
        }
    }

    #[test]
    fn operators_with_what_cannot_be_told() {
        let mut source = source();
        source.server = None;
        let yes = || Circumstance::AnyTag;
        let no = || Circumstance::NoTags;
        let unknown = || Circumstance::Server("x".into());
        let answer = |all, list| applies(&with(all, list), &source);
        assert_eq!(answer(false, vec![yes(), unknown()]), Applies::Yes);
        assert!(matches!(answer(false, vec![no(), unknown()]), Applies::Unknown(_)));
        assert!(matches!(answer(true, vec![yes(), unknown()]), Applies::Unknown(_)));
        assert!(matches!(answer(true, vec![no(), unknown()]), Applies::No(_)));
        assert_eq!(answer(true, vec![yes(), yes()]), Applies::Yes);
        assert_eq!(answer(true, vec![]), Applies::Yes);
    }

    #[test]
    fn owner_restrictions() {
        let mut source = source();
        source.owners = vec![owner("engineers", true)];
        let mut policy = policy("p");
        policy.owner_restrictions = vec![owner("engineers", false)];
        assert!(matches!(applies(&policy, &source), Applies::No(_)), "a user is not a group");
        policy.owner_restrictions.push(owner("engineers", true));
        assert_eq!(applies(&policy, &source), Applies::Yes);
    }
}
