//! The decision itself: one caller, one data source, one instant.
//!
//! In: a bound data source and a caller. Out: [`Access`]. Must never: depend on anything else (no clock, no randomness), or leave a
//! considered rule out of the trace.

use super::audience::touches;
use super::bind::{Bound, companion, rule_kind};
use super::decision::{Access, ColumnDecision, Companion, MaskDecision, RelationDecision, RowPredicate, RuleTrace};
use super::effect::{BoundRule, Chain, Effect};
use super::mask::{MaskSql, column_sql, conditional};
use super::predicate::Compiled;
use super::salt::Salt;
use super::source::DictColumn;
use super::sqltype::{is_number, is_temporal, is_text};
use super::subscription::{Subscribed, subscribed};
use super::template::{Filling, Sql, acts_under};
use crate::identity::Caller;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::SystemTime;

/// Any purpose at all, in a purpose restriction.
const ANY_PURPOSE: &str = "<ANY PURPOSE>";

/// Decides. `mask_salt` is the salt of masks for this caller's project.
pub(crate) fn access(bound: &Bound, caller: &Caller, mask_salt: &Salt, now: SystemTime) -> Access {
    let mut trace = Vec::new();
    let (valid_until, write) = match subscribed(bound, caller, now, &mut trace) {
        Subscribed::No => return Access::Hidden,
        Subscribed::Discoverable(hint) => return Access::Discoverable { hint },
        Subscribed::Yes(until, write) => (until, write),
    };
    if bound.unconfirmed || !bound.invalid.is_empty() {
        return Access::Invalid;
    }
    let filling = Filling::For { caller, mask: mask_salt, source: &bound.source.salt };
    let mut deciding =
        Deciding { bound, caller, filling, trace, rows: Vec::new(), unmet: Vec::new(), candidates: Vec::new() };
    for chain in &bound.chains {
        deciding.chain(chain);
    }
    Access::Visible(Arc::new(deciding.finish(valid_until, write)))
}

/// What would be said of a data source that is not visible, for `explain`.
pub(crate) fn considered(bound: &Bound, caller: &Caller, now: SystemTime) -> Vec<RuleTrace> {
    let mut trace = Vec::new();
    subscribed(bound, caller, now, &mut trace);
    for policy in &bound.invalid {
        trace.push(RuleTrace {
            policy: policy.clone(),
            rule: None,
            kind: "data policy".to_owned(),
            columns: Vec::new(),
            applied: true,
            why: "the policy is invalid on this data source: it refuses until mended".to_owned(),
            existing_masking: Vec::new(),
        });
    }
    trace
}

/// Whether the caller acts under a purpose named by a restriction.
pub(super) fn is_held(caller: &Caller, purpose: &str) -> bool {
    if purpose == ANY_PURPOSE { !caller.purposes.is_empty() } else { acts_under(caller, purpose) }
}

struct Deciding<'a> {
    bound: &'a Bound,
    caller: &'a Caller,
    filling: Filling<'a>,
    trace: Vec<RuleTrace>,
    rows: Vec<RowPredicate>,
    unmet: Vec<String>,
    candidates: Vec<Candidate<'a>>,
}

/// A mask that could be put on a column.
struct Candidate<'a> {
    column: usize,
    mask: &'a MaskSql,
    conditional: Option<&'a Compiled>,
    policy: &'a Arc<str>,
    /// Of a local policy.
    local: bool,
    /// The entry of the trace to correct when it loses.
    entry: usize,
}

impl Candidate<'_> {
    /// Whether it is known to mask some rows only.
    fn is_conditional(&self) -> bool {
        self.conditional.is_some() || self.mask.shown.is_some()
    }

    /// Whether nothing below it is ever seen.
    fn masks_every_row(&self) -> bool {
        !self.is_conditional() && !self.mask.may_leave()
    }
}

/// The columns on which a rule gives way to others: so many are named, the others are counted.
#[derive(Default)]
struct Losses {
    named: Vec<String>,
    more: usize,
}

/// Most columns named on which a rule gives way.
const MOST_NAMED: usize = 50;

impl Losses {
    fn push(&mut self, name: impl FnOnce() -> String) {
        if self.named.len() < MOST_NAMED {
            self.named.push(name());
        } else {
            self.more += 1;
        }
    }

    fn told(&self) -> Option<String> {
        let more = if self.more > 0 { format!(", and {} more columns", self.more) } else { String::new() };
        (!self.named.is_empty()).then(|| format!("{}{more}", self.named.join(", ")))
    }
}

impl<'a> Deciding<'a> {
    /// The first rule whose audience holds the caller is applied and ends the chain.
    fn chain(&mut self, chain: &'a Chain) {
        let mut done = None;
        for (number, rule) in chain.rules().enumerate() {
            let (touched, why) = touches(rule.rule, self.caller);
            let (applied, why) = match done {
                Some(earlier) => (false, format!("rule {earlier} of the chain was applied before it")),
                None => (touched, why),
            };
            let entry = self.trace.len();
            self.trace.push(RuleTrace {
                policy: chain.policy.key.clone(),
                rule: Some((chain.action, number)),
                kind: rule_kind(&rule.rule.kind),
                columns: self.columns_of(rule),
                applied,
                why,
                existing_masking: Vec::new(),
            });
            if applied {
                done = Some(number + 1);
                self.apply(chain, rule, entry);
            }
        }
    }

    fn columns_of(&self, rule: BoundRule<'_>) -> Vec<String> {
        match rule.effect {
            Effect::Masks { masks, .. } => masks.iter().filter_map(|(i, _)| self.column_name(*i)).collect(),
            Effect::Rows(rows) => rows.columns.clone(),
            Effect::Purpose { .. } => Vec::new(),
        }
    }

    fn column_name(&self, index: usize) -> Option<String> {
        self.bound.source.columns.get(index).map(|c| c.name.clone())
    }

    fn apply(&mut self, chain: &'a Chain, rule: BoundRule<'a>, entry: usize) {
        let policy = &chain.policy.key;
        match rule.effect {
            Effect::Masks { masks, conditional } => {
                if masks.is_empty() {
                    self.correct(entry, false, "no column of the data source matches".to_owned());
                }
                self.candidates.extend(masks.iter().map(|(column, mask)| Candidate {
                    column: *column,
                    mask,
                    conditional: conditional.as_ref(),
                    policy,
                    local: chain.local(),
                    entry,
                }));
            }
            Effect::Rows(rows) => {
                let (sql, has_subquery) = match &rows.few {
                    Some(few) => (&few.sql, false),
                    None => (&rows.sql, rows.has_subquery),
                };
                self.rows.push(RowPredicate {
                    sql: sql.fill(self.filling).into(),
                    total: rows.total,
                    has_subquery,
                    policy: policy.clone(),
                    summary: rows.summary.clone(),
                });
            }
            Effect::Purpose { all, purposes } => self.purpose(policy, *all, purposes, entry),
        }
    }

    fn purpose(&mut self, policy: &Arc<str>, all: bool, purposes: &[String], entry: usize) {
        let held = |p: &String| is_held(self.caller, p);
        let met = if all { purposes.iter().all(held) } else { purposes.iter().any(held) };
        // A restriction to no purpose at all can be met by nobody.
        if met && !purposes.is_empty() {
            self.correct(entry, false, "the caller acts under a purpose that satisfies it".to_owned());
            return;
        }
        let missing: Vec<String> = purposes.iter().filter(|p| !held(p)).cloned().collect();
        self.correct(entry, true, format!("the caller does not act under {}", missing.join(", ")));
        for purpose in missing {
            let shown = if purpose == ANY_PURPOSE { "any purpose".to_owned() } else { purpose };
            if !self.unmet.contains(&shown) {
                self.unmet.push(shown);
            }
        }
        self.rows.push(RowPredicate {
            sql: "FALSE".into(),
            total: true,
            has_subquery: false,
            policy: policy.clone(),
            summary: format!(
                "no row without {} purpose {}",
                if all { "all of" } else { "any of" },
                purposes.join(", ")
            ),
        });
    }

    fn correct(&mut self, entry: usize, applied: bool, why: String) {
        if let Some(trace) = self.trace.get_mut(entry) {
            trace.applied = applied;
            trace.why = why;
        }
    }

    fn finish(mut self, valid_until: Option<SystemTime>, write: bool) -> RelationDecision {
        let source = &self.bound.source;
        let mut wins = vec![0usize; self.trace.len()];
        let mut losses: Vec<Losses> = Vec::new();
        losses.resize_with(self.trace.len(), Losses::default);
        let mut of_columns: Vec<Vec<&Candidate<'_>>> = vec![Vec::new(); source.columns.len()];
        for candidate in &self.candidates {
            if let Some(candidates) = of_columns.get_mut(candidate.column) {
                candidates.push(candidate);
            }
        }
        let mut columns = Vec::with_capacity(source.columns.len());
        let mut companions = Vec::new();
        for (column, mut candidates) in source.columns.iter().zip(of_columns) {
            // A local mask beats a global one that is not more restrictive: adding a policy, local ones included, never widens.
            candidates.sort_by_key(|c| {
                (c.mask.rank, Reverse(c.mask.strength), c.is_conditional(), !c.local, c.policy, c.entry)
            });
            let taken = candidates.iter().position(|c| c.masks_every_row()).map_or(candidates.len(), |p| p + 1);
            let (layers, losers) = candidates.split_at_checked(taken).unwrap_or((&[], &[]));
            for winner in layers {
                if let Some(shown) = &winner.mask.shown
                    && !companions.iter().any(|c: &Companion| c.alias == shown.alias)
                {
                    companions.push(companion(shown));
                }
                if let Some(count) = wins.get_mut(winner.entry) {
                    *count += 1;
                }
            }
            if let Some(winner) = layers.last() {
                for loser in losers {
                    if let Some(said) = losses.get_mut(loser.entry) {
                        said.push(|| format!("{} is masked by {} ({})", column.name, winner.policy, winner.mask.kind));
                    }
                    if winner.local
                        && !loser.local
                        && let Some(trace) = self.trace.get_mut(loser.entry)
                    {
                        trace.existing_masking.push(column.name.clone());
                    }
                }
            }
            columns.push(ColumnDecision {
                name: column.name.clone(),
                type_oid: column.type_oid,
                typmod: column.typmod,
                mask: layered(layers, column, self.filling),
            });
        }
        for ((trace, wins), losses) in self.trace.iter_mut().zip(wins).zip(losses) {
            if let Some(losses) = losses.told() {
                trace.applied = wins > 0;
                trace.why = format!("{}; {losses}", trace.why);
            }
        }
        RelationDecision {
            source: source.name.clone(),
            logical: source.logical.clone(),
            remote: source.remote.clone(),
            oid: source.oid,
            query: source.query.clone(),
            comments: Arc::clone(&source.comments),
            tags: Arc::clone(&source.told_tags),
            columns,
            rows: self.rows,
            companions,
            unmet_purposes: self.unmet,
            write,
            valid_until,
            trace: self.trace,
        }
    }
}

/// One mask out of the winners of a column, most restrictive first: each conditional one where its predicate holds (and one that leaves
/// some rows as they are where it does not), otherwise the next, at last the unconditional one or the raw value. So an unconditional
/// mask displaces every conditional one that is not more restrictive, a more restrictive conditional one still masks its own rows, and
/// no added policy ever shows more of a cell: where a mask happens to change nothing about a value (a pattern that does not match, the
/// beginning of a group) the next one is asked too.
fn layered(layers: &[&Candidate<'_>], column: &DictColumn, filling: Filling<'_>) -> Option<MaskDecision> {
    let first = layers.first()?;
    let raw = Sql::text(column_sql(column));
    let mut sql = raw.clone();
    for layer in layers.iter().rev() {
        let masked = layer.mask.sql.clone();
        if sql == masked {
            continue;
        }
        if layer.mask.may_leave() && sql != raw {
            sql = unless_left(masked, layer.conditional, &raw, sql, column);
            continue;
        }
        sql = match (&layer.mask.shown, layer.conditional) {
            (Some(shown), predicate) => shown.or_else(predicate.map(|p| p.sql.clone()), masked, sql),
            (None, None) => masked,
            (None, Some(predicate)) => conditional(predicate.sql.clone(), masked, sql),
        };
    }
    let total = layers.iter().all(|l| l.mask.total && l.conditional.is_none_or(|c| c.total));
    Some(MaskDecision {
        sql: sql.fill(filling).into(),
        kind: first.mask.kind,
        total,
        policy: first.policy.clone(),
        type_mismatch: layers.iter().any(|l| l.mask.mismatch),
        constant: first.masks_every_row() && first.mask.constant,
    })
}

/// The masked value; what stands below where the rule's own predicate does not hold, or the mask has left the value as it is.
fn unless_left(masked: Sql, predicate: Option<&Compiled>, raw: &Sql, below: Sql, column: &DictColumn) -> Sql {
    let ty = column.type_oid;
    // Not every type has an equality; every value has a text.
    let as_text = if is_number(ty) || is_text(ty) || is_temporal(ty) { "" } else { "::pg_catalog.text" };
    let left = Sql::wrap("(", masked.clone(), &format!("){as_text} IS NOT DISTINCT FROM ("))
        .and(raw.clone())
        .then(&format!("){as_text}"));
    let left = match predicate {
        None => left,
        Some(predicate) => Sql::wrap("(", predicate.sql.clone(), ") IS FALSE OR (").and(left).then(")"),
    };
    Sql::wrap("CASE WHEN ", left, " THEN ").and(below).then(" ELSE ").and(masked).then(" END")
}
