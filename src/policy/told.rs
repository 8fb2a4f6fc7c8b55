//! What a caller is told of his own access: how each relation and column is seen, which policies make it so, and what would show more.
//!
//! In: the decisions made for him, and for him in each of his projects. Out: rows for `sqlveil.my_access`. Must never: tell of a relation
//! he may not know of, of a predicate or its values, of an `advanced` expression, or decide anything itself.

use super::Ruleset;
use super::audience::{describe, is_empty, touches};
use super::bind::{Bound, rule_kind};
use super::decision::{Access, RelationDecision};
use super::effect::{BoundRule, Chain, Effect};
use crate::governance::model::{Mask, RuleKind};
use crate::identity::Caller;
use crate::types::{QualifiedName, quote_literal};
use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

/// How much callers are told of policies that bind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Names of policies.
    pub policies: bool,
    /// The groups, attributes and purposes that would lift a rule.
    pub conditions: bool,
}

impl Default for Telling {
    fn default() -> Self {
        Self { policies: true, conditions: true }
    }
}

/// One line: a relation, or a column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The name callers write.
    pub relation: QualifiedName,
    /// The column; `None` = the relation as a whole.
    pub column: Option<String>,
    /// `all rows`, `some rows`, `no rows`, `refused`; of a column `clear` or `masked`.
    pub seen: &'static str,
    /// The kind of mask.
    pub mask: Option<&'static str>,
    /// Which policies make it so.
    pub why: Option<String>,
    /// What would show more.
    pub more: Option<String>,
}

/// The caller as he would be in one of his projects.
#[derive(Debug)]
pub struct Elsewhere<'a> {
    /// The project's key.
    pub project: &'a str,
    /// The caller in it.
    pub caller: &'a Caller,
}

impl Ruleset {
    /// Everything to be told, and until when it holds.
    pub fn told(
        &self,
        caller: &Caller,
        elsewhere: &[Elsewhere<'_>],
        now: SystemTime,
        telling: Telling,
    ) -> (Vec<Told>, Option<SystemTime>) {
        let mut lines = Vec::new();
        let mut until: Option<SystemTime> = None;
        let names: HashMap<&str, &str> = self.binding.policies.iter().map(|p| (&*p.key, p.name.as_str())).collect();
        for name in self.registered() {
            let Some(bound) = self.bound(name) else { continue };
            let line = |seen, why: &str, more: String| Told {
                relation: name.clone(),
                column: None,
                seen,
                mask: None,
                why: Some(why.to_owned()),
                more: Some(more),
            };
            match self.access(caller, name, now) {
                Access::Hidden => {}
                Access::Discoverable { hint } => lines.push(line("refused", "you are not subscribed", hint)),
                Access::Invalid => {
                    let more = "an administrator has to mend its policy".to_owned();
                    lines.push(line("refused", "its policy cannot be evaluated", more));
                }
                Access::Visible(decision) => {
                    until = until.into_iter().chain(decision.valid_until).min();
                    let mut others = Vec::new();
                    if !decision.rows.is_empty() || decision.columns.iter().any(|c| c.mask.is_some()) {
                        for other in elsewhere {
                            if let Access::Visible(there) = self.access(other.caller, name, now) {
                                until = until.into_iter().chain(there.valid_until).min();
                                others.push((other.project, there));
                            }
                        }
                    }
                    let telling = Tell { names: &names, bound, caller, telling, others: &others };
                    telling.relation(name, &decision, &mut lines);
                }
            }
        }
        (lines, until)
    }
}

struct Tell<'a> {
    /// Names of policies by their keys.
    names: &'a HashMap<&'a str, &'a str>,
    bound: &'a Bound,
    caller: &'a Caller,
    telling: Telling,
    /// The decisions in other projects.
    others: &'a [(&'a str, std::sync::Arc<RelationDecision>)],
}

impl<'a> Tell<'a> {
    fn relation(&self, name: &QualifiedName, decision: &RelationDecision, lines: &mut Vec<Told>) {
        let rows: Vec<_> = self.rules().filter(|(_, rule)| self.hides_rows(rule)).collect();
        let (seen, why, more) = if decision.rows.is_empty() {
            ("all rows", None, None)
        } else {
            let seen = if decision.unmet_purposes.is_empty() { "some rows" } else { "no rows" };
            let mut more = self.projects(|there| there.rows.is_empty());
            if !decision.unmet_purposes.is_empty() {
                more.push(format!("purpose {}", decision.unmet_purposes.join(", ")));
            } else {
                more.extend(self.conditions(&rows));
            }
            (seen, self.why(&rows), joined(more))
        };
        lines.push(Told { relation: name.clone(), column: None, seen, mask: None, why, more });
        for (at, column) in decision.columns.iter().enumerate() {
            let mut line = Told {
                relation: name.clone(),
                column: Some(column.name.clone()),
                seen: "clear",
                mask: None,
                why: None,
                more: None,
            };
            if let Some(mask) = &column.mask {
                let index = self.bound.source.columns.iter().position(|c| c.name == column.name).unwrap_or(at);
                let rules: Vec<_> = self.rules().filter(|(_, rule)| masks(rule, index)).collect();
                let clear =
                    |there: &RelationDecision| there.columns.iter().any(|c| c.name == column.name && c.mask.is_none());
                let mut more = self.projects(clear);
                more.extend(self.conditions(&rules));
                if rules.iter().any(|(_, rule)| is_reversible(rule)) {
                    more.push("an approved unmask request".to_owned());
                }
                line.seen = "masked";
                line.mask = Some(mask.kind);
                line.why = self.why(&rules);
                line.more = joined(more);
            }
            lines.push(line);
        }
    }

    /// The rule of each chain that touches the caller.
    fn rules(&self) -> impl Iterator<Item = (&'a Chain, BoundRule<'a>)> + use<'a> {
        let caller = self.caller;
        self.bound
            .chains
            .iter()
            .filter_map(move |chain| chain.rules().find(|r| touches(r.rule, caller).0).map(|rule| (chain, rule)))
    }

    /// Whether a rule hides rows from this caller now.
    fn hides_rows(&self, rule: &BoundRule<'_>) -> bool {
        match rule.effect {
            Effect::Masks { .. } => false,
            Effect::Rows(_) => true,
            Effect::Purpose { all, purposes } => {
                let held = |p: &String| super::access::is_held(self.caller, p);
                let met = if *all { purposes.iter().all(held) } else { purposes.iter().any(held) };
                !met || purposes.is_empty()
            }
        }
    }

    /// The policies' names and the kinds of their rules.
    fn why(&self, rules: &[(&Chain, BoundRule<'_>)]) -> Option<String> {
        let mut said: Vec<String> = Vec::new();
        for (chain, rule) in rules {
            let kind = rule_kind(&rule.rule.kind);
            let name = self.names.get(&*chain.policy.key).copied().unwrap_or(&chain.policy.key);
            let text = if self.telling.policies { format!("{name}: {kind}") } else { kind };
            if !said.contains(&text) {
                said.push(text);
            }
        }
        joined(said)
    }

    /// What would except the caller from all of these rules; nothing when one of them has no exception.
    fn conditions(&self, rules: &[(&Chain, BoundRule<'_>)]) -> Option<String> {
        if !self.telling.conditions || rules.is_empty() {
            return None;
        }
        let mut all = BTreeSet::new();
        for (_, rule) in rules {
            let exceptions = rule.rule.exceptions.as_ref().filter(|a| !is_empty(a))?;
            // An expression is policy text, and not for callers.
            let text = match &exceptions.advanced {
                Some(_) => "other groups or attributes".to_owned(),
                None => describe(exceptions),
            };
            all.insert(text);
        }
        Some(all.into_iter().collect::<Vec<_>>().join(" and "))
    }

    /// The caller's own projects in which a decision is as wanted.
    fn projects(&self, wanted: impl Fn(&RelationDecision) -> bool) -> Vec<String> {
        let found = self.others.iter().filter(|(_, there)| wanted(there));
        found.map(|(key, _)| format!("SET sqlveil.project = {}", quote_literal(key))).collect()
    }
}

fn masks(rule: &BoundRule<'_>, column: usize) -> bool {
    matches!(rule.effect, Effect::Masks { masks, .. } if masks.iter().any(|(at, _)| *at == column))
}

fn is_reversible(rule: &BoundRule<'_>) -> bool {
    matches!(&rule.rule.kind, RuleKind::Masking { mask: Mask::Reversible, .. })
}

fn joined(parts: Vec<String>) -> Option<String> {
    (!parts.is_empty()).then(|| parts.join("; "))
}
