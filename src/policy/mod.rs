//! What is allowed: the predicate language, circumstances, audiences, and `decide`.
//!
//! In: the declared world bound to a catalog, a caller, an instant. Out: a [`decision::RelationDecision`] per relation.
//! Pure: no I/O, no async. Must never: answer "allowed" for what it cannot evaluate.
//!
//! Binding has two phases. [`Ruleset::bind`] compiles everything against a catalog snapshot; the loader then runs
//! [`Ruleset::probes`] on the warehouse and hands the failures to [`Ruleset::settle`]. Until settled, a source whose rules have
//! probes is [`decision::Access::Invalid`].

mod access;
mod alike;
mod audience;
mod bind;
mod bytes;
mod circumstance;
pub mod compare;
pub mod decision;
pub mod explain;
mod fingerprint;
mod index;
pub mod info;
pub mod kept;
mod mask;
mod nearest;
pub mod permit;
mod predicate;
pub mod probe;
pub mod query;
mod rows;
pub mod salt;
mod source;
mod sqltype;
mod subscription;
mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod told;
pub mod unmask;

use crate::catalog::Catalog;
use crate::governance::model::Declared;
use crate::governance::problem::Problem;
use crate::identity::Caller;
use crate::types::QualifiedName;
use bind::{Binding, Effect, Target, mismatch_problem};
use decision::{Access, RuleTrace};
pub use fingerprint::Measure;
use mask::{Check, MaskSql};
pub(crate) use predicate::advanced;
pub use probe::{Probe, ProbeFailure, ProbeKind};
pub use salt::Salts;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The declared policies bound to one catalog: compiled predicates and masks per data source.
#[derive(Default)]
pub struct Ruleset {
    binding: Binding,
    /// Logical name → index into the bound sources.
    by_name: BTreeMap<QualifiedName, usize>,
    /// Decisions taken, while this ruleset is in force.
    decisions: kept::Decisions,
}

impl Ruleset {
    /// Binds the documents of one connection to a catalog snapshot. The ruleset is usable even with problems: data sources that an
    /// invalid policy touches answer [`Access::Invalid`].
    pub fn bind(declared: &Declared, connection_key: &str, catalog: &Catalog, salts: &Salts) -> (Self, Vec<Problem>) {
        let (binding, problems) = bind::bind(declared, connection_key, catalog, salts);
        let by_name = binding.bound.iter().enumerate().map(|(i, b)| (b.source.logical.clone(), i)).collect();
        (Self { binding, by_name, decisions: kept::Decisions::default() }, problems)
    }

    /// What the warehouse has to confirm before the ruleset is published.
    pub fn probes(&self) -> &[Probe] {
        &self.binding.probes
    }

    /// Takes the warehouse's answers: constants that cannot be cast become NULL with a type mismatch (a warning), any other failure
    /// makes the data source refuse (an error).
    pub fn settle(mut self, failures: &[ProbeFailure]) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        for bound in &mut self.binding.bound {
            bound.unconfirmed = false;
        }
        for failure in failures {
            let (Some(probe), Some(targets)) =
                (self.binding.probes.get(failure.probe).cloned(), self.binding.targets.get(failure.probe).cloned())
            else {
                continue;
            };
            if probe.kind != ProbeKind::Constant {
                problems.push(Problem::error(
                    &probe.origin,
                    format!(
                        "the warehouse refuses policy \"{}\" on data source \"{}\": {}",
                        probe.policy, probe.source, failure.message
                    ),
                    "correct the policy; until then the data sources it touches refuse",
                ));
            }
            for target in targets {
                self.fail(&probe, target, &mut problems);
            }
        }
        self.decisions = kept::Decisions::default();
        (self, problems)
    }

    fn fail(&mut self, probe: &Probe, target: Target, problems: &mut Vec<Problem>) {
        let Some(bound) = self.binding.bound.get_mut(target.source) else { return };
        let Some(chain) = bound.chains.get_mut(target.chain) else { return };
        let policy = chain.policy.clone();
        if probe.kind == ProbeKind::Constant
            && let Some(rule) = chain.rules.get_mut(target.rule)
            && let Effect::Masks { masks, .. } = &mut rule.effect
            && let Some((column, mask)) = target.mask.and_then(|m| masks.get_mut(m))
            && let Some(Check::Constant { null, .. }) = &mask.check
        {
            let name = bound.source.columns.get(*column).map(|c| c.name.clone()).unwrap_or_default();
            problems.push(mismatch_problem(&rule.rule.origin, &bound.source, &name, mask.kind));
            *mask = MaskSql::mismatched(mask.kind, null.clone());
            return;
        }
        bound.invalid.insert(policy);
    }

    /// Decides one relation, by the logical name callers write, for one caller at one instant.
    pub fn access(&self, caller: &Caller, logical: &QualifiedName, now: SystemTime) -> Access {
        let Some(source) = self.by_name.get(logical) else { return Access::Hidden };
        let Some(bound) = self.binding.bound.get(*source) else { return Access::Hidden };
        self.decisions.get(*source, caller, now, || access::access(bound, caller, self.mask_salt(bound, caller), now))
    }

    /// Every rule considered, whatever the answer: for `explain`, which is for administrators.
    pub fn considered(&self, caller: &Caller, logical: &QualifiedName, now: SystemTime) -> Vec<RuleTrace> {
        let Some(bound) = self.bound(logical) else { return Vec::new() };
        let mut trace = bind::elsewhere(&self.binding.policies, bound);
        trace.extend(match self.access(caller, logical, now) {
            Access::Visible(decision) => decision.trace.clone(),
            Access::Hidden | Access::Discoverable { .. } | Access::Invalid => access::considered(bound, caller, now),
        });
        trace
    }

    /// Logical names of every registered relation, for the virtual catalog and `explain`.
    pub fn registered(&self) -> impl Iterator<Item = &QualifiedName> {
        self.by_name.keys()
    }

    /// When the next grant ends, whosever it is: until then time alone changes no answer.
    pub fn next_expiry(&self, now: SystemTime) -> Option<SystemTime> {
        let grants = self.binding.bound.iter().flat_map(|bound| &bound.grants);
        grants.filter_map(|grant| grant.expiration.map(SystemTime::from)).filter(|end| *end > now).min()
    }

    /// What to measure for the fingerprints of the data sources; `catalog` = the one they were bound to.
    pub fn measures(&self, catalog: &Catalog) -> Vec<Measure> {
        self.binding.bound.iter().map(|bound| Measure::of(&bound.source, catalog)).collect()
    }

    /// The data source's name behind a logical name.
    pub fn source_of(&self, logical: &QualifiedName) -> Option<&str> {
        self.bound(logical).map(|b| &*b.source.name)
    }

    /// Replaces every salt in a text by `<salt>`, and every key derived from one.
    pub fn redact(&self, text: &str) -> String {
        let salts = self.binding.bound.iter().map(|b| &b.source.salt);
        let salts = salts.chain(self.binding.projects.values().map(|p| &p.salt));
        let mut out = text.to_owned();
        for salt in salts {
            let hex = salt.hex();
            if out.contains(&hex) {
                out = out.replace(&hex, "<salt>");
            }
        }
        without_keys(&out)
    }

    fn bound(&self, logical: &QualifiedName) -> Option<&bind::Bound> {
        self.by_name.get(logical).and_then(|i| self.binding.bound.get(*i))
    }

    /// The project's salt where it allows masked joins and holds the data source, else the data source's own.
    fn mask_salt<'a>(&'a self, bound: &'a bind::Bound, caller: &Caller) -> &'a salt::Salt {
        let project = caller.project.as_ref().and_then(|key| self.binding.projects.get(&**key));
        project.filter(|p| p.holds(&bound.source)).map_or(&bound.source.salt, |p| &p.salt)
    }
}

/// Replaces every `\x` literal as long as a key by `\x<salt>`. Keys are derived a column and a use, so they are known by their shape.
fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("\\x");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str("\\x");
        if digits >= KEY_DIGITS {
            out.push_str("<salt>");
            out.push_str(part.get(digits..).unwrap_or_default());
        } else {
            out.push_str(part);
        }
    }
    out
}

/// Hexadecimal digits of the shortest key.
const KEY_DIGITS: usize = 64;

/// Not printed: it holds salts.
impl std::fmt::Debug for Ruleset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ruleset").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod redaction {
    use super::without_keys;

    #[test]
    fn keys_are_replaced_whatever_their_length() {
        let (key, block, short) = ("0a".repeat(32), "0b".repeat(64), "0c".repeat(16));
        let text = format!("a('\\x{key}'::bytea || '\\x{block}') \\x{short} \\x");
        assert_eq!(without_keys(&text), format!("a('\\x<salt>'::bytea || '\\x<salt>') \\x{short} \\x"));
    }
}
