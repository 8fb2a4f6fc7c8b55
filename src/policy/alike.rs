//! Whether two rulesets have bound the very same to a data source, so that nobody can be answered differently.
//!
//! In: two bound data sources. Out: yes, or perhaps not. Must never: answer yes while anything that enters a decision differs; a no
//! that is wrong only costs time.

use super::Ruleset;
use super::bind::Bound;
use super::effect::{BoundRule, Chain, Effect};
use super::mask::MaskSql;
use super::predicate::Compiled;
use super::salt::Salt;
use crate::types::QualifiedName;

impl Ruleset {
    /// Whether every caller is given the same answer about the relation by both rulesets.
    pub fn same_for_everyone(&self, other: &Self, logical: &QualifiedName) -> bool {
        match (self.bound(logical), other.bound(logical)) {
            (None, None) => true,
            (Some(one), Some(two)) => same(one, two) && self.project_salts(one) == other.project_salts(two),
            _ => false,
        }
    }

    /// The salts that projects put in place of the data source's own.
    fn project_salts(&self, bound: &Bound) -> Vec<(&String, &Salt)> {
        let holding = self.binding.projects.iter().filter(|(_, project)| project.holds(&bound.source));
        holding.map(|(key, project)| (key, &project.salt)).collect()
    }
}

fn same(one: &Bound, two: &Bound) -> bool {
    let (a, b) = (&one.source, &two.source);
    a.name == b.name
        && a.logical == b.logical
        && a.relation_sql() == b.relation_sql()
        && a.columns == b.columns
        && a.salt == b.salt
        && one.invalid == two.invalid
        && one.unconfirmed == two.unconfirmed
        && all(&one.subscriptions, &two.subscriptions, |a, b| {
            a.policy == b.policy && a.uncertain == b.uncertain && text(&a.subscription) == text(&b.subscription)
        })
        && all(&one.grants, &two.grants, |a, b| {
            a.grantee == b.grantee && a.state == b.state && a.write == b.write && a.expiration == b.expiration
        })
        && all(&one.chains, &two.chains, |a, b| {
            a.policy.key == b.policy.key && a.local() == b.local() && same_rules(a, b)
        })
}

fn all<T>(one: &[T], two: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(a, b)| same(a, b))
}

/// What has no equality of its own is compared by all it would print.
fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn same_rules(a: &Chain, b: &Chain) -> bool {
    a.rules().len() == b.rules().len() && a.rules().zip(b.rules()).all(|(a, b)| same_rule(a, b))
}

fn same_rule(a: BoundRule<'_>, b: BoundRule<'_>) -> bool {
    text(&a.rule.exceptions) == text(&b.rule.exceptions)
        && text(&a.rule.inclusions) == text(&b.rule.inclusions)
        && match (a.effect, b.effect) {
            (Effect::Masks { masks: one, conditional: p }, Effect::Masks { masks: two, conditional: q }) => {
                all(one, two, |(i, a), (j, b)| i == j && same_mask(a, b)) && same_predicate(p.as_ref(), q.as_ref())
            }
            (Effect::Rows(a), Effect::Rows(b)) => a.sql == b.sql,
            (Effect::Purpose { all: a, purposes: p }, Effect::Purpose { all: b, purposes: q }) => a == b && p == q,
            _ => false,
        }
}

fn same_mask(a: &MaskSql, b: &MaskSql) -> bool {
    let shown = match (&a.shown, &b.shown) {
        (None, None) => true,
        (Some(a), Some(b)) => a.condition == b.condition && a.companion == b.companion,
        _ => false,
    };
    shown && a.kind == b.kind && a.rank == b.rank && a.sql == b.sql && a.mismatch == b.mismatch
}

fn same_predicate(a: Option<&Compiled>, b: Option<&Compiled>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.sql == b.sql,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::{Audience, Declared, Mask, Policy, RuleKind, SubscriptionKind};
    use crate::policy::Salts;
    use crate::policy::testing::*;

    fn bound(policies: Vec<Policy>, secret: &[u8]) -> Ruleset {
        let declared = Declared { data: vec![person()], policies: shared(policies), ..Declared::default() };
        Ruleset::bind(&declared, "main", &catalog(), &Salts::new(secret)).0.settle(&[]).0
    }

    #[test]
    fn anything_that_enters_a_decision_tells_two_apart() {
        let person = QualifiedName::new("hr", "person");
        let mask = |mask, predicate| data_policy("m", vec![rule(mask_column("ssn", mask, predicate))]);
        let by = |text: &str| data_policy("w", vec![rule(RuleKind::RowByWhere(text.into()))]);
        let open = |name: &str| {
            let audience = Audience { groups: vec![group(name, None)], ..Audience::default() };
            subscription("s", SubscriptionKind::Entitlements(audience))
        };
        let mut excepting = mask(Mask::Hash, None);
        if let crate::governance::model::PolicyBody::Data(actions) = &mut excepting.body {
            actions[0].rules[0].exceptions = Some(Audience { groups: vec![group("a", None)], ..Audience::default() });
        }
        let sets = [
            vec![],
            vec![open("a")],
            vec![open("b")],
            vec![mask(Mask::Hash, None)],
            vec![mask(Mask::Null, None)],
            vec![mask(Mask::Constant("x".into()), None)],
            vec![mask(Mask::Constant("y".into()), None)],
            vec![mask(Mask::Hash, Some("active"))],
            vec![mask(Mask::Hash, Some("id > 1"))],
            vec![excepting],
            vec![by("id > 1")],
            vec![by("id > 2")],
            vec![data_policy("p", vec![rule(RuleKind::Purpose { all: false, purposes: vec!["P".into()] })])],
            vec![data_policy("p", vec![rule(RuleKind::Purpose { all: true, purposes: vec!["P".into()] })])],
        ];
        for (i, one) in sets.iter().enumerate() {
            for (j, two) in sets.iter().enumerate() {
                let same = bound(one.clone(), b"s").same_for_everyone(&bound(two.clone(), b"s"), &person);
                assert_eq!(same, i == j, "{i} and {j}");
            }
        }
        assert!(!bound(vec![], b"s").same_for_everyone(&bound(vec![], b"other"), &person), "salts differ");
        let nothing = Ruleset::default();
        assert!(!nothing.same_for_everyone(&bound(vec![], b"s"), &person));
        assert!(nothing.same_for_everyone(&nothing, &person));
        // A policy elsewhere is no difference here.
        let elsewhere = data_policy("e", vec![rule(masking("Elsewhere", Mask::Null))]);
        assert!(bound(vec![], b"s").same_for_everyone(&bound(vec![elsewhere], b"s"), &person));
    }
}
