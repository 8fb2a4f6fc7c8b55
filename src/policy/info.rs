//! The decision on one relation in the shape of `policyInfo` (seed 001, `GET /dataSource/{id}/users/{profileId}/policyInfo`):
//! visibilities, masked columns with type and action, additional filters.
//!
//! In: a decision, and the bound rules that shaped it. Out: [`PolicyInfo`]. Must never: decide, or tell of rules that did not shape
//! the decision. Holds the caller's values and policy text, no salt and no key: for administrators.

use super::bind::Bound;
use super::decision::{ColumnDecision, RelationDecision};
use super::effect::{BoundRule, Effect};
use super::template::{CallerSet, caller_set};
use crate::governance::model::{Held, Mask, RuleKind};
use crate::identity::Caller;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What shapes one caller's sight of one data source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo {
    /// Values of the caller that rows are compared with. Empty while [`Self::visibility_rule_applies`] = no row is visible.
    pub visibilities: Vec<String>,
    /// Whether a rule compares rows with the caller's values, or with purposes he does not act under.
    pub visibility_rule_applies: bool,
    /// Masked columns, in the dictionary's order.
    pub masked: Vec<MaskedColumn>,
    /// Other row rules.
    pub additional_filters: AdditionalFilters,
}

/// One masked column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaskedColumn {
    /// The mask in the seeds' spelling: NULL, constants and hashes are all a `Consistent Value`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its parameters.
    pub metadata: Value,
    /// The column.
    pub name: String,
    /// What is done: `Nullify`, `Constant`, `Hash`, …
    pub action_type: String,
    /// The policy (our addition).
    pub policy_key: String,
    /// Only rows where this holds, or is NULL, are masked (our addition).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditional_predicate: Option<String>,
    /// `dataTypeMismatch` when the mask did not fit the type.
    pub changed_on_apply: Vec<&'static str>,
}

/// Row rules besides visibilities. The names are the seeds', which leave the values open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalFilters {
    /// Custom where clauses as written, ANDed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_where: Vec<String>,
    /// The column that time rules read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time_column: Option<String>,
    /// Time rules, ANDed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time: Vec<TimeFilter>,
    /// The smallest share of rows kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimization: Option<Minimization>,
}

/// A time rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeFilter {
    /// Seconds back from now.
    pub filter_seconds: u64,
    /// `newer` or `older`.
    pub is_older_or_newer: &'static str,
}

/// A minimization rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Minimization {
    /// Percent of rows kept.
    pub percent: u8,
    /// The column whose values are hashed.
    pub hash_phrase: Option<String>,
}

/// Puts the decision into that shape.
pub(crate) fn policy_info(bound: &Bound, decision: &RelationDecision, caller: &Caller) -> PolicyInfo {
    let applied = applied(bound, decision);
    let mut info = PolicyInfo::default();
    let mut visibilities = BTreeSet::new();
    let mut nothing = !decision.unmet_purposes.is_empty();
    info.visibility_rule_applies = nothing;
    for (_, rule) in &applied {
        match &rule.rule.kind {
            RuleKind::RowByEntitlement { all, matches } => {
                info.visibility_rule_applies = true;
                let sets = matches.iter().map(|one| {
                    let iam = one.iam.clone();
                    caller_set(
                        caller,
                        &match &one.held {
                            Held::Groups => CallerSet::Groups { iam },
                            Held::Attribute(name) => CallerSet::Attribute { name: name.clone(), iam },
                            Held::Purposes => CallerSet::Purposes,
                        },
                    )
                });
                let sets: Vec<BTreeSet<String>> = sets.collect();
                nothing |= if *all { sets.iter().any(BTreeSet::is_empty) } else { sets.iter().all(BTreeSet::is_empty) };
                visibilities.extend(sets.into_iter().flatten());
            }
            RuleKind::RowByWhere(text) => info.additional_filters.custom_where.push(text.clone()),
            RuleKind::Time { newer, seconds, column } => {
                let of_source = bound.source.event_time.as_ref().map(|c| c.name.clone());
                info.additional_filters.event_time_column = column.clone().or(of_source);
                let is_older_or_newer = if *newer { "newer" } else { "older" };
                info.additional_filters.time.push(TimeFilter { filter_seconds: *seconds, is_older_or_newer });
            }
            RuleKind::Never => {
                info.visibility_rule_applies = true;
                nothing = true;
            }
            RuleKind::Minimization { percent, column } => {
                let known = &mut info.additional_filters.minimization;
                let of_source = bound.source.high_cardinality.as_ref().map(|c| c.name.clone());
                let hash_phrase = column.clone().or(of_source);
                if known.as_ref().is_none_or(|known| *percent < known.percent) {
                    *known = Some(Minimization { percent: *percent, hash_phrase });
                }
            }
            RuleKind::Masking { .. } | RuleKind::Purpose { .. } => {}
        }
    }
    if !nothing {
        info.visibilities = visibilities.into_iter().collect();
    }
    info.masked = decision.columns.iter().enumerate().filter_map(|(at, c)| masked(at, c, &applied)).collect();
    info
}

/// The bound rules that shaped the decision, with their policies.
fn applied<'a>(bound: &'a Bound, decision: &RelationDecision) -> Vec<(&'a str, BoundRule<'a>)> {
    let rule = |policy: &str, (action, rule): (usize, usize)| {
        let chain = bound.chains.iter().find(|c| *c.policy.key == *policy && c.action == action)?;
        Some((&*chain.policy.key, chain.rules().nth(rule)?))
    };
    decision.trace.iter().filter(|t| t.applied).filter_map(|t| rule(&t.policy, t.rule?)).collect()
}

fn masked(at: usize, column: &ColumnDecision, applied: &[(&str, BoundRule<'_>)]) -> Option<MaskedColumn> {
    let decided = column.mask.as_ref()?;
    let of_column = |rule: &BoundRule<'_>| match rule.effect {
        Effect::Masks { masks, .. } => masks.iter().any(|(index, mask)| *index == at && mask.kind == decided.kind),
        Effect::Rows(_) | Effect::Purpose { .. } => false,
    };
    let rule = applied.iter().find(|(policy, rule)| **policy == *decided.policy && of_column(rule));
    let (mask, conditional) = match rule.map(|(_, rule)| &rule.rule.kind) {
        Some(RuleKind::Masking { mask, conditional, .. }) => (Some(mask), conditional.clone()),
        _ => (None, None),
    };
    let (kind, metadata, action) = match (decided.type_mismatch, mask) {
        (true, _) | (false, Some(Mask::Null)) => ("Consistent Value", json!({ "constant": null }), "Nullify"),
        (false, Some(Mask::Constant(text))) => ("Consistent Value", json!({ "constant": text }), "Constant"),
        (false, Some(Mask::Hash)) => ("Consistent Value", json!({}), "Hash"),
        (false, Some(mask)) => (decided.kind, Value::Object(parameters(mask)), decided.kind),
        // The built-in policy of new columns has no document.
        (false, None) => (decided.kind, json!({}), decided.kind),
    };
    Some(MaskedColumn {
        kind: kind.to_owned(),
        metadata,
        name: column.name.clone(),
        action_type: action.to_owned(),
        policy_key: decided.policy.to_string(),
        conditional_predicate: conditional,
        changed_on_apply: if decided.type_mismatch { vec!["dataTypeMismatch"] } else { Vec::new() },
    })
}

/// Parameters under the names of the V2 documents.
fn parameters(mask: &Mask) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    match mask {
        Mask::Regex { regex, replacement, case_insensitive, global } => {
            put("regex", json!(regex));
            put("replacement", json!(replacement));
            put("caseInsensitive", json!(case_insensitive));
            put("global", json!(global));
        }
        Mask::GroupingNumber(size) => {
            put("bucketSize", json!(size));
        }
        Mask::GroupingTime(precision) => {
            put("timePrecision", json!(format!("{precision:?}").to_uppercase()));
        }
        Mask::KAnonymization(k) => {
            put("kLevel", json!(k));
        }
        Mask::RandomizedCategory(percent) => {
            put("replacementRatePercent", json!(percent));
        }
        Mask::RandomizedNumber { stddev, clip } => {
            put("stddev", json!(stddev));
            put("clip", json!(clip));
        }
        Mask::Null
        | Mask::Constant(_)
        | Mask::Hash
        | Mask::Reversible
        | Mask::FormatPreserving
        | Mask::GroupingFingerprint => {}
    }
    out
}
