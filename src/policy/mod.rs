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
mod effect;
pub mod explain;
mod findings;
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
use bind::{Binding, mismatch_problem};
use decision::{Access, RuleTrace};
use effect::{Effect, Effects};
use findings::Findings;
pub use fingerprint::Measure;
use mask::{Check, MaskSql};
pub(crate) use predicate::advanced;
pub use probe::{Probe, ProbeFailure, ProbeKind};
pub use salt::Salts;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
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
        Self::bind_within(declared, connection_key, catalog, salts, usize::MAX)
    }

    /// [`Ruleset::bind`] with policies applied to data sources at most so many times. Beyond that there is an error that says so, and
    /// the data sources left out answer [`Access::Invalid`].
    pub fn bind_within(
        declared: &Declared,
        connection_key: &str,
        catalog: &Catalog,
        salts: &Salts,
        most: usize,
    ) -> (Self, Vec<Problem>) {
        let (binding, problems) = bind::bind(declared, connection_key, catalog, salts, most);
        let by_name = binding.bound.iter().enumerate().map(|(i, b)| (b.source.logical.clone(), i)).collect();
        (Self { binding, by_name, decisions: kept::Decisions::default() }, problems)
    }

    /// What the warehouse has to confirm before the ruleset is published.
    pub fn probes(&self) -> &[Probe] {
        &self.binding.probes
    }

    /// Takes the warehouse's answers: constants that cannot be cast become NULL with a type mismatch (a warning), sets that may be large are
    /// looked up by joins, any other failure makes the data source refuse (an error). What was asked is let go.
    pub fn settle(mut self, failures: &[ProbeFailure]) -> (Self, Vec<Problem>) {
        let mut findings = Findings::default();
        for bound in &mut self.binding.bound {
            bound.unconfirmed = false;
        }
        let probes = std::mem::take(&mut self.binding.probes);
        let targets = std::mem::take(&mut self.binding.targets);
        let failed = failures.iter().filter_map(|failure| Some((failure, probes.get(failure.probe)?)));
        let (altering, others): (Vec<_>, Vec<_>) =
            failed.partition(|(_, probe)| matches!(probe.kind, ProbeKind::Constant | ProbeKind::Few));
        // What these change is told from what was asked by its address, so they come last.
        for (failure, probe) in others {
            findings.push(Problem::error(
                &probe.origin,
                format!(
                    "the warehouse refuses policy \"{}\" on data source \"{}\": {}",
                    probe.policy, probe.source, failure.message
                ),
                "correct the policy; until then the data sources it touches refuse",
            ));
            for target in targets.get(failure.probe).into_iter().flatten() {
                self.refuse(target);
            }
        }
        let wrong: HashSet<&str> = altering.iter().map(|(_, probe)| probe.sql.as_str()).collect();
        let mut altered = HashMap::new();
        for (failure, _) in altering {
            for target in targets.get(failure.probe).into_iter().flatten() {
                self.alter(target, &wrong, &mut altered, &mut findings);
            }
        }
        self.decisions = kept::Decisions::default();
        (self, findings.into_problems())
    }

    /// Makes the policies invalid whose rules do this on the data source.
    fn refuse(&mut self, target: &bind::Target) {
        let Some(bound) = self.binding.bound.get_mut(target.source) else { return };
        let refused = bound.chains.iter().filter(|chain| Arc::ptr_eq(&chain.effects, &target.effects));
        bound.invalid.extend(refused.map(|chain| chain.policy.key.clone()));
    }

    /// Puts NULL in the place of the constants that are wrong, and joins in the place of large sets, wherever the data source's rules do this.
    fn alter(
        &mut self,
        target: &bind::Target,
        wrong: &HashSet<&str>,
        altered: &mut HashMap<usize, Effects>,
        findings: &mut Findings,
    ) {
        let Some(bound) = self.binding.bound.get_mut(target.source) else { return };
        for chain in bound.chains.iter_mut().filter(|chain| Arc::ptr_eq(&chain.effects, &target.effects)) {
            let address = target.effects.as_ptr() as usize;
            let effects = altered.entry(address).or_insert_with(|| without(&target.effects, wrong));
            for (before, after) in chain.rules().zip(effects.iter()) {
                let (Effect::Masks { masks: old, .. }, Effect::Masks { masks: new, .. }) = (before.effect, after)
                else {
                    continue;
                };
                let fallen = old.iter().zip(new).filter(|((_, old), (_, new))| new.mismatch && !old.mismatch);
                for (_, (column, mask)) in fallen {
                    let origin = &before.rule.origin;
                    let name = bound.source.columns.get(*column).map(|c| c.name.as_str()).unwrap_or_default();
                    findings.warn(origin, || mismatch_problem(origin, &bound.source, name, mask.kind));
                }
            }
            chain.effects = Arc::clone(effects);
        }
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

/// The effects with NULL for the constants that are wrong, and without arrays of sets that are not small.
fn without(effects: &Effects, wrong: &HashSet<&str>) -> Effects {
    let mut effects: Vec<Effect> = effects.to_vec();
    for effect in &mut effects {
        match effect {
            Effect::Masks { masks, .. } => {
                for (_, mask) in masks {
                    if let Some(Check::Constant { sql, null }) = &mask.check
                        && wrong.contains(sql.as_str())
                    {
                        *mask = Arc::new(MaskSql::mismatched(mask.kind, null.clone()));
                    }
                }
            }
            Effect::Rows(rows) => {
                rows.few.take_if(|few| few.probes.iter().any(|sql| wrong.contains(sql.as_str())));
            }
            Effect::Purpose { .. } => {}
        }
    }
    effects.into()
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
