//! A decision told to administrators: what is seen of a relation, which rules made it so, which did not and why.
//!
//! In: the same decision the rewriter reads. Out: [`Explanation`], as data and as text. Must never: decide anything itself, or show a
//! salt. It shows policy text and the caller's values, so it is not for callers.

use super::Ruleset;
use super::decision::{Access, RelationDecision, RuleTrace};
use super::info::{PolicyInfo, policy_info};
use crate::identity::Caller;
use crate::types::QualifiedName;
use serde::Serialize;
use std::fmt;
use std::time::SystemTime;

/// What one caller sees of one relation, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Name callers write.
    pub relation: String,
    /// Data source; `None` when nothing is registered under that name.
    pub source: Option<String>,
    /// The answer.
    pub answer: Answer,
    /// Row predicates in force, ANDed.
    pub rows: Vec<RowsExplained>,
    /// The dictionary, in order.
    pub columns: Vec<ColumnExplained>,
    /// Purposes that would satisfy an unmet restriction.
    pub unmet_purposes: Vec<String>,
    /// When the decision ends by itself (a grant expires), RFC 3339.
    pub valid_until: Option<String>,
    /// The same as `policyInfo` of the seeds; `None` when the relation is not visible.
    pub policy_info: Option<PolicyInfo>,
    /// Every rule considered.
    pub rules: Vec<RuleExplained>,
}

/// Whether a relation is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It does not exist for the caller.
    Hidden,
    /// It is refused with this hint.
    Discoverable(String),
    /// It is refused: a policy is invalid.
    Invalid,
    /// It is seen.
    Visible,
}

/// A row predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowsExplained {
    /// The policy.
    pub policy: String,
    /// In words.
    pub summary: String,
    /// The SQL condition, salts replaced.
    pub sql: String,
    /// May raise a data error.
    pub may_raise: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnExplained {
    /// Name.
    pub name: String,
    /// The mask in force.
    pub mask: Option<MaskExplained>,
    /// Rules that concern the column and did not shape it, and why not.
    pub not_applied: Vec<String>,
}

/// A mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaskExplained {
    /// `Hash`, …
    pub kind: String,
    /// The policy.
    pub policy: String,
    /// The SQL expression, salts replaced.
    pub sql: String,
    /// Did not fit the type and became NULL (`dataTypeMismatch`).
    pub type_mismatch: bool,
    /// May raise a data error.
    pub may_raise: bool,
}

/// A rule considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExplained {
    /// The policy.
    pub policy: String,
    /// 1-based action and rule.
    pub rule: Option<(usize, usize)>,
    /// Kind.
    pub kind: String,
    /// Columns it concerns.
    pub columns: Vec<String>,
    /// Whether it shaped the decision.
    pub applied: bool,
    /// Why, or why not.
    pub why: String,
    /// Columns of this global rule that a local mask has taken over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// A column of a global rule that is not enforced because a local mask stands there (`global` of a resolved policy in seed 004).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The column.
    pub column: String,
    /// `existingMasking`.
    pub conflict: &'static str,
    /// Always true.
    pub disabled: bool,
}

impl Conflict {
    fn of(column: &str) -> Self {
        Self { column: column.to_owned(), conflict: "existingMasking", disabled: true }
    }
}

impl RuleExplained {
    fn of(trace: &RuleTrace) -> Self {
        Self {
            policy: trace.policy.to_string(),
            rule: trace.rule.map(|(action, rule)| (action + 1, rule + 1)),
            kind: trace.kind.clone(),
            columns: trace.columns.clone(),
            applied: trace.applied,
            why: trace.why.clone(),
            conflicts: trace.existing_masking.iter().map(|column| Conflict::of(column)).collect(),
        }
    }

    /// Policy, place in it and kind.
    fn title(&self) -> String {
        match self.rule {
            Some((action, rule)) => format!("{}, action {action} rule {rule}: {}", self.policy, self.kind),
            None => format!("{}: {}", self.policy, self.kind),
        }
    }
}

impl Ruleset {
    /// Explains the decision on one relation.
    pub fn explain(&self, caller: &Caller, logical: &QualifiedName, now: SystemTime) -> Explanation {
        let source = self.bound(logical).map(|b| b.source.name.to_string());
        let rules: Vec<RuleExplained> = self.considered(caller, logical, now).iter().map(RuleExplained::of).collect();
        let mut explanation = Explanation {
            relation: logical.to_string(),
            source,
            answer: Answer::Hidden,
            rows: Vec::new(),
            columns: Vec::new(),
            unmet_purposes: Vec::new(),
            valid_until: None,
            policy_info: None,
            rules,
        };
        match self.access(caller, logical, now) {
            Access::Hidden => {}
            Access::Discoverable { hint } => explanation.answer = Answer::Discoverable(hint),
            Access::Invalid => explanation.answer = Answer::Invalid,
            Access::Visible(decision) => {
                self.tell(&decision, &mut explanation);
                explanation.policy_info = self.bound(logical).map(|bound| policy_info(bound, &decision, caller));
            }
        }
        explanation
    }

    fn tell(&self, decision: &RelationDecision, explanation: &mut Explanation) {
        explanation.answer = Answer::Visible;
        explanation.unmet_purposes = decision.unmet_purposes.clone();
        explanation.valid_until =
            decision.valid_until.and_then(|t| jiff::Timestamp::try_from(t).ok()).map(|t| t.to_string());
        explanation.rows = decision
            .rows
            .iter()
            .map(|row| RowsExplained {
                policy: row.policy.to_string(),
                summary: row.summary.clone(),
                sql: self.redact(&row.sql),
                may_raise: !row.total,
            })
            .collect();
        for column in &decision.columns {
            let aside = explanation.rules.iter().filter(|r| !r.applied && r.columns.contains(&column.name));
            explanation.columns.push(ColumnExplained {
                name: column.name.clone(),
                mask: column.mask.as_ref().map(|mask| MaskExplained {
                    kind: mask.kind.to_owned(),
                    policy: mask.policy.to_string(),
                    sql: self.redact(&mask.sql),
                    type_mismatch: mask.type_mismatch,
                    may_raise: !mask.total,
                }),
                not_applied: aside.map(|r| format!("{}: {}", r.title(), r.why)).collect(),
            });
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.as_ref().map(|s| format!(" (data source {s})")).unwrap_or_default();
        let answer = match &self.answer {
            Answer::Hidden if self.source.is_none() => "not registered: it does not exist".to_owned(),
            Answer::Hidden => "hidden: for this caller it does not exist".to_owned(),
            Answer::Discoverable(hint) => format!("refused, discoverable: {hint}"),
            Answer::Invalid => "refused: a policy is invalid or not confirmed by the warehouse".to_owned(),
            Answer::Visible => "visible".to_owned(),
        };
        writeln!(f, "{}{source}: {answer}", self.relation)?;
        if let Some(until) = &self.valid_until {
            writeln!(f, "  until {until}")?;
        }
        if !self.unmet_purposes.is_empty() {
            writeln!(f, "  purposes that would show rows: {}", self.unmet_purposes.join(", "))?;
        }
        if self.answer == Answer::Visible {
            self.show_rows(f)?;
            self.show_columns(f)?;
        }
        if !self.rules.is_empty() {
            writeln!(f, "  rules")?;
        }
        for rule in &self.rules {
            let sign = if rule.applied { '+' } else { '-' };
            let on = if rule.columns.is_empty() { String::new() } else { format!(" on {}", rule.columns.join(", ")) };
            writeln!(f, "    {sign} {}{on}\n        {}", rule.title(), rule.why)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn show_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "  rows: all");
        }
        writeln!(f, "  rows where")?;
        for row in &self.rows {
            writeln!(f, "    {} ({}{})\n        {}", row.summary, row.policy, raising(row.may_raise), row.sql)?;
        }
        Ok(())
    }

    fn show_columns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  columns")?;
        let width = self.columns.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        for column in &self.columns {
            match &column.mask {
                None => writeln!(f, "    {:width$}  as it is", column.name)?,
                Some(mask) => {
                    let mismatch = if mask.type_mismatch { ", does not fit the type: NULL" } else { "" };
                    let raising = raising(mask.may_raise);
                    writeln!(f, "    {:width$}  {} ({}{mismatch}{raising})", column.name, mask.kind, mask.policy)?;
                    writeln!(f, "        {}", mask.sql)?;
                }
            }
            for rule in &column.not_applied {
                writeln!(f, "        not {rule}")?;
            }
        }
        Ok(())
    }
}

fn raising(may_raise: bool) -> &'static str {
    if may_raise { ", may raise" } else { "" }
}

#[cfg(test)]
mod tests {
    use crate::governance::model::{Declared, GrantState, Mask, RuleKind, SubscriptionKind};
    use crate::policy::testing::*;
    use crate::policy::{Ruleset, Salts};
    use crate::types::QualifiedName;
    use std::time::SystemTime;

    fn ruleset() -> Ruleset {
        let mut staged = data_policy("staged", vec![rule(masking("Discovered", Mask::Null))]);
        staged.staged = true;
        let mut excepted = rule(masking("Discovered.Country", Mask::Null));
        excepted.exceptions =
            Some(crate::governance::model::Audience { groups: vec![group("staff", None)], ..Default::default() });
        let policies = vec![
            subscription("anyone", SubscriptionKind::Anyone),
            data_policy("hash", vec![rule(masking("Discovered", Mask::Hash))]),
            data_policy("null", vec![excepted]),
            data_policy("where", vec![rule(RuleKind::RowByWhere("country  =\n @username".into()))]),
            staged,
        ];
        let declared = Declared { data: vec![person()], policies: shared(policies), ..Declared::default() };
        Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"secret")).0.settle(&[]).0
    }

    #[test]
    fn a_visible_relation_is_told_rule_by_rule() {
        let ann = in_groups("ann", &["staff"]);
        let told = ruleset().explain(&ann, &QualifiedName::new("hr", "person"), SystemTime::UNIX_EPOCH);
        let text = told.to_string();
        for part in [
            "hr.person (data source hr.person): visible",
            "country = @username (where)",
            r#"(_sv."country" = 'ann'::pg_catalog.text)"#,
            "country  Hash (hash)",
            "'\\x<salt>'::pg_catalog.bytea",
            "not null, action 1 rule 1: Masking (Null): the caller is excepted: group staff",
            "id       as it is",
            "+ anyone: subscription anyone\n        for anyone",
            "- staged: data policy\n        the policy is staged",
            "+ hash, action 1 rule 1: Masking (Hash) on ssn, country\n        for everyone",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let salt = Salts::new(b"secret").source("hr.person").hex();
        assert!(!text.contains(&salt));
        let data = serde_json::to_string(&told).unwrap();
        assert!(!data.contains(&salt) && data.contains(r#""answer":"visible""#), "{data}");
        let info = serde_json::to_value(told.policy_info).unwrap();
        let hash = |name: &str| {
            serde_json::json!({"type": "Consistent Value", "metadata": {}, "name": name, "actionType": "Hash",
                "policyKey": "hash", "changedOnApply": []})
        };
        let expected = serde_json::json!({
            "visibilities": [], "visibilityRuleApplies": false, "masked": [hash("ssn"), hash("country")],
            "additionalFilters": {"customWhere": ["country  =\n @username"]},
        });
        assert_eq!(info, expected);
    }

    #[test]
    fn what_is_not_visible_is_told_too() {
        let ann = caller("ann");
        let rules = ruleset();
        let unknown = rules.explain(&ann, &QualifiedName::new("hr", "nothing"), SystemTime::UNIX_EPOCH).to_string();
        assert_eq!(unknown, "hr.nothing: not registered: it does not exist\n");
        let denied = crate::governance::model::Grant {
            data_source: "hr.person".into(),
            grantee: owner("ann", false),
            state: GrantState::Denied,
            write: false,
            expiration: None,
            approvals: Vec::new(),
            origin: Default::default(),
        };
        let declared = Declared { data: vec![person()], grants: vec![denied], ..Declared::default() };
        let rules = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s")).0;
        let hidden = rules.explain(&ann, &QualifiedName::new("hr", "person"), SystemTime::UNIX_EPOCH).to_string();
        assert!(hidden.contains("hidden: for this caller") && hidden.contains("grant denied"), "{hidden}");
    }
}
