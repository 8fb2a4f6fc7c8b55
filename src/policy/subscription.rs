//! Who may see a data source at all.
//!
//! In: the subscription policies and grants of a data source, a caller, an instant. Out: [`Subscribed`]. Must never: let a caller in
//! because no policy applies (that is `manual`), or because a grant has run out.

use super::audience::{describe, holds, names};
use super::bind::{Bound, BoundSubscription, subscription_kind};
use super::decision::RuleTrace;
use crate::governance::model::{Approval, Grant, GrantState, Permission, SubscriptionKind};
use crate::identity::Caller;
use std::time::SystemTime;

/// The answer.
pub(crate) enum Subscribed {
    /// Yes, until the instant (of the next change by a grant's expiry) when there is one; whether to write, too.
    Yes(Option<SystemTime>, bool),
    /// No, but the caller may know that the data source exists: what to do.
    Discoverable(String),
    /// No.
    No,
}

/// Decides, and says why in the trace.
pub(crate) fn subscribed(bound: &Bound, caller: &Caller, now: SystemTime, trace: &mut Vec<RuleTrace>) -> Subscribed {
    let grants: Vec<&Grant> = bound.grants.iter().filter(|g| names(&g.grantee, caller) && !expired(g, now)).collect();
    let denied = grants.iter().any(|g| g.state == GrantState::Denied);
    for grant in &grants {
        trace.push(grant_trace(grant, denied));
    }
    let (write, read): (Vec<_>, Vec<_>) = bound.subscriptions.iter().partition(|s| s.subscription.write);
    let read = judge(&read, caller, trace);
    let write = judge(&write, caller, trace);
    let pending = grants.iter().any(|g| g.state == GrantState::Pending);
    if denied {
        return hidden(&read, false);
    }
    let giving: Vec<&Grant> = grants.iter().filter(|g| g.state.gives_access()).copied().collect();
    let writing: Vec<&Grant> = giving.iter().filter(|g| g.write).copied().collect();
    // WRITE implies READ of the same relation, READ never WRITE.
    let may_write = write.open() || !writing.is_empty();
    let write_until = if write.open() { None } else { last(&writing) };
    if read.open() || write.open() {
        return Subscribed::Yes(if may_write { write_until } else { None }, may_write);
    }
    if giving.is_empty() {
        return hidden(&read, pending);
    }
    // WRITE may end before READ does.
    let until = [last(&giving), write_until.filter(|_| may_write)].into_iter().flatten().min();
    Subscribed::Yes(until, may_write)
}

/// When the last of these grants ends; `None`: never.
fn last(grants: &[&Grant]) -> Option<SystemTime> {
    let until: Option<Vec<SystemTime>> = grants.iter().map(|g| g.expiration.map(SystemTime::from)).collect();
    until.and_then(|all| all.into_iter().max())
}

fn expired(grant: &Grant, now: SystemTime) -> bool {
    grant.expiration.is_some_and(|e| now >= SystemTime::from(e))
}

fn grant_trace(grant: &Grant, denied: bool) -> RuleTrace {
    let state = match grant.state {
        GrantState::Subscribed => "subscribed",
        GrantState::Owner => "owner",
        GrantState::Expert => "expert",
        GrantState::Ingest => "ingest",
        GrantState::Pending => "pending",
        GrantState::Denied => "denied",
    };
    let to = if grant.grantee.is_group { "group" } else { "user" };
    let gives = grant.state.gives_access();
    let why = match (gives, denied) {
        (true, false) => format!("granted to {to} {}{}", grant.grantee.name, approved_by(grant)),
        (true, true) => "another grant denies access".to_owned(),
        (false, _) => format!("the state {state} gives no access"),
    };
    RuleTrace {
        policy: "(grant)".into(),
        rule: None,
        kind: format!("grant {state}"),
        columns: Vec::new(),
        applied: (gives && !denied) || grant.state == GrantState::Denied,
        why,
        existing_masking: Vec::new(),
    }
}

/// Who approved a grant, as far as it tells.
fn approved_by(grant: &Grant) -> String {
    let given = grant.approvals.iter().filter(|approval| approval.given);
    let told: Vec<String> = given
        .map(|approval| match &approval.approver {
            Some(name) => format!("{name} ({})", approval.permission.word()),
            None => approval.permission.word().to_owned(),
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(", approved by {}", told.join(", ")) }
}

/// Who has to approve, in words.
fn approvers(approvals: &[Approval]) -> String {
    let one = |approval: &Approval| {
        let who = match approval.permission {
            Permission::Owner => "an owner of the data source",
            Permission::Governance => "governance",
            Permission::Admin => "an administrator",
        };
        if approval.specific { format!("{who} named in the request") } else { who.to_owned() }
    };
    let all: Vec<String> = approvals.iter().map(one).collect();
    if all.is_empty() { "an owner of the data source".to_owned() } else { all.join(" and ") }
}

/// What the policies of one kind of access say.
struct Judgement<'a> {
    /// Whether there is any policy.
    any: bool,
    /// Unmet policies; of sharers all of them, when none is met.
    unmet: Vec<&'a BoundSubscription>,
}

impl Judgement<'_> {
    /// Let in without a grant.
    fn open(&self) -> bool {
        self.any && self.unmet.is_empty()
    }
}

/// Every policy must be met, except those that share responsibility: one of the sharers is enough.
fn judge<'a>(policies: &[&'a BoundSubscription], caller: &Caller, trace: &mut Vec<RuleTrace>) -> Judgement<'a> {
    let shares = |s: &BoundSubscription| {
        s.subscription.share_responsibility && !matches!(s.subscription.kind, SubscriptionKind::Manual)
    };
    let judged: Vec<(&BoundSubscription, Result<String, String>)> =
        policies.iter().map(|s| (*s, met(s, caller))).collect();
    let a_sharer_is_met = judged.iter().any(|(s, m)| shares(s) && m.is_ok());
    let mut unmet = Vec::new();
    for (policy, met) in judged {
        let shared = shares(policy) && a_sharer_is_met;
        let (applied, why) = match met {
            Ok(why) => (true, why),
            Err(why) if shared => (false, format!("{why}; another policy shares the responsibility and is met")),
            Err(why) => {
                unmet.push(policy);
                (false, why)
            }
        };
        trace.push(RuleTrace {
            policy: policy.policy.clone(),
            rule: None,
            kind: subscription_kind(&policy.subscription.kind),
            columns: Vec::new(),
            applied,
            why,
            existing_masking: Vec::new(),
        });
    }
    Judgement { any: !policies.is_empty(), unmet }
}

/// Whether a policy lets the caller in by itself.
fn met(policy: &BoundSubscription, caller: &Caller) -> Result<String, String> {
    if policy.uncertain {
        return Err("whether the policy applies cannot be told: only a grant gives access".to_owned());
    }
    let why = match &policy.subscription.kind {
        SubscriptionKind::Anyone => "for anyone".to_owned(),
        SubscriptionKind::Entitlements(audience) if holds(audience, caller) => {
            format!("the caller has {}", describe(audience))
        }
        SubscriptionKind::Entitlements(audience) => return Err(format!("needs {}", describe(audience))),
        SubscriptionKind::Approval(approvals) => {
            return Err(format!("needs a subscription approved by {}", approvers(approvals)));
        }
        SubscriptionKind::Manual => return Err("only by an explicit grant".to_owned()),
    };
    if policy.subscription.automatic { Ok(why) } else { Err(format!("{why}, but must ask for a subscription")) }
}

/// Unmet: hidden, unless every unmet policy allows discovery (one that does not is reason enough to hide).
fn hidden(read: &Judgement<'_>, pending: bool) -> Subscribed {
    let discoverable = !read.unmet.is_empty() && read.unmet.iter().all(|s| s.subscription.allow_discovery);
    if !discoverable {
        return Subscribed::No;
    }
    if pending {
        return Subscribed::Discoverable("your request is waiting for approval".to_owned());
    }
    let needs: Vec<String> = read
        .unmet
        .iter()
        .filter_map(|s| match &s.subscription.kind {
            // An expression is policy text, and not for callers.
            SubscriptionKind::Entitlements(audience) if audience.advanced.is_some() => {
                Some("other groups or attributes".to_owned())
            }
            SubscriptionKind::Entitlements(audience) => Some(describe(audience)),
            SubscriptionKind::Approval(approvals) => Some(format!("the approval of {}", approvers(approvals))),
            SubscriptionKind::Anyone | SubscriptionKind::Manual => None,
        })
        .collect();
    Subscribed::Discoverable(if needs.is_empty() {
        "ask an owner of the data source for a subscription".to_owned()
    } else {
        format!("access needs {}; ask an owner of the data source", needs.join(" and "))
    })
}
