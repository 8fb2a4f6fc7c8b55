//! Whom a rule touches.
//!
//! In: conditions over groups, attributes and purposes, and a caller. Out: yes or no. Must never: hold for a caller because there is
//! no condition (an empty list excepts nobody and entitles nobody).

use super::template::acts_under;
use crate::governance::model::{AttributeCondition, Audience, GroupCondition, Owner, Rule};
use crate::identity::{Caller, Entitlement};

/// Whether the audience holds the caller: `any` (default) or `all` of its conditions. Without conditions: nobody.
pub(crate) fn holds(audience: &Audience, caller: &Caller) -> bool {
    if let Some(expression) = &audience.advanced {
        return expression.holds(&|group| caller.groups.iter().any(|g| g.value == group), &|name, value| {
            caller.attributes.get(name).into_iter().flatten().any(|v| v.value == value)
        });
    }
    let groups = audience.groups.iter().map(|g| in_group(g, caller));
    let attributes = audience.attributes.iter().map(|a| has_attribute(a, caller));
    let purposes = audience.purposes.iter().map(|p| acts_under(caller, p));
    let mut conditions = groups.chain(attributes).chain(purposes).peekable();
    if conditions.peek().is_none() {
        return false;
    }
    if audience.all { conditions.all(|c| c) } else { conditions.any(|c| c) }
}

/// Whether there is any condition.
pub(crate) fn is_empty(audience: &Audience) -> bool {
    audience.groups.is_empty()
        && audience.attributes.is_empty()
        && audience.purposes.is_empty()
        && audience.advanced.is_none()
}

fn vouched(entitlement: &Entitlement, value: &str, iam: Option<&String>) -> bool {
    entitlement.value == value && iam.is_none_or(|i| *entitlement.iam == **i)
}

fn in_group(condition: &GroupCondition, caller: &Caller) -> bool {
    caller.groups.iter().any(|g| vouched(g, &condition.name, condition.iam.as_ref()))
}

fn has_attribute(condition: &AttributeCondition, caller: &Caller) -> bool {
    let values = caller.attributes.get(&condition.name).into_iter().flatten();
    values.into_iter().any(|v| vouched(v, &condition.value, condition.iam.as_ref()))
}

/// Whether a grantee or owner entry names the caller: himself, or a group of his.
pub(crate) fn names(owner: &Owner, caller: &Caller) -> bool {
    if owner.is_group {
        caller.groups.iter().any(|g| vouched(g, &owner.name, owner.iam.as_ref()))
    } else {
        *caller.user == *owner.name && owner.iam.as_ref().is_none_or(|i| *caller.iam == **i)
    }
}

/// Whether a rule touches the caller, and why or why not.
pub(crate) fn touches(rule: &Rule, caller: &Caller) -> (bool, String) {
    let included = rule.inclusions.as_ref().filter(|a| !is_empty(a));
    if let Some(inclusions) = included
        && !holds(inclusions, caller)
    {
        return (false, format!("only for {}", describe(inclusions)));
    }
    let excepted = rule.exceptions.as_ref().filter(|a| !is_empty(a));
    if let Some(exceptions) = excepted
        && holds(exceptions, caller)
    {
        return (false, format!("the caller is excepted: {}", describe(exceptions)));
    }
    let why = match (included, excepted) {
        (None, None) => "for everyone".to_owned(),
        (Some(inclusions), None) => format!("the caller is included: {}", describe(inclusions)),
        (None, Some(exceptions)) => format!("for everyone except {}", describe(exceptions)),
        (Some(inclusions), Some(_)) => format!("the caller is included and not excepted: {}", describe(inclusions)),
    };
    (true, why)
}

/// Conditions in words.
pub(crate) fn describe(audience: &Audience) -> String {
    fn by(iam: Option<&String>) -> String {
        iam.map(|i| format!(" (by {i})")).unwrap_or_default()
    }
    if let Some(expression) = &audience.advanced {
        return expression.to_string();
    }
    let groups = audience.groups.iter().map(|g| format!("group {}{}", g.name, by(g.iam.as_ref())));
    let attributes =
        audience.attributes.iter().map(|a| format!("attribute {} = {}{}", a.name, a.value, by(a.iam.as_ref())));
    let purposes = audience.purposes.iter().map(|p| format!("purpose {p}"));
    let parts: Vec<String> = groups.chain(attributes).chain(purposes).collect();
    match parts.len() {
        0 => "nobody".to_owned(),
        1 => parts.concat(),
        _ => format!("{} of {}", if audience.all { "all" } else { "any" }, parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{caller, group, in_groups};

    fn audience(all: bool, groups: &[&str], purposes: &[&str]) -> Audience {
        Audience {
            all,
            groups: groups.iter().map(|g| GroupCondition { name: (*g).into(), iam: None }).collect(),
            attributes: Vec::new(),
            purposes: purposes.iter().map(|p| (*p).into()).collect(),
            advanced: None,
        }
    }

    #[test]
    fn any_and_all() {
        let ann = in_groups("ann", &["a", "b"]);
        assert!(holds(&audience(false, &["a", "x"], &[]), &ann));
        assert!(!holds(&audience(true, &["a", "x"], &[]), &ann));
        assert!(holds(&audience(true, &["a", "b"], &[]), &ann));
        assert!(!holds(&audience(false, &[], &[]), &ann));
        assert!(!holds(&audience(true, &[], &[]), &ann));
    }

    #[test]
    fn a_child_purpose_satisfies_its_parent_and_not_the_other_way() {
        let mut ann = caller("ann");
        ann.purposes.insert("Fraud.Cards".into());
        assert!(holds(&audience(false, &[], &["Fraud"]), &ann));
        assert!(holds(&audience(false, &[], &["Fraud.Cards"]), &ann));
        assert!(!holds(&audience(false, &[], &["Fraud.Cards.Deep"]), &ann));
        assert!(!holds(&audience(false, &[], &["Frau"]), &ann));
    }

    #[test]
    fn a_provider_restricts_a_condition() {
        let ann = in_groups("ann", &["a"]);
        let with = |iam: &str| Audience { groups: vec![group("a", Some(iam))], ..Audience::default() };
        assert!(holds(&with("bim"), &ann));
        assert!(!holds(&with("okta"), &ann));
        let attribute = AttributeCondition { name: "n".into(), value: "v".into(), iam: Some("okta".into()) };
        let mut bob = caller("bob");
        bob.attributes.entry("n".into()).or_default().insert(Entitlement { value: "v".into(), iam: "bim".into() });
        assert!(!holds(&Audience { attributes: vec![attribute.clone()], ..Audience::default() }, &bob));
        let free = AttributeCondition { iam: None, ..attribute };
        assert!(holds(&Audience { attributes: vec![free], ..Audience::default() }, &bob));
    }
}
