//! Binding: every policy against every data source, so that only the caller is left for decide time.
//!
//! In: the declared world and a catalog. Out: [`Bound`] sources, the probes the warehouse must answer, problems.
//! Must never: let an invalid policy fall away; the data sources it touches refuse.

use super::circumstance::{Applies, applies};
use super::decision::{Companion, ROW_ALIAS, RuleTrace};
use super::fingerprint;
use super::index::PolicyIndex;
use super::mask::{self, Around, Check, MaskSql, Shown};
use super::nearest::did_you_mean;
use super::predicate::{self, Compiled};
use super::probe::{Probe, ProbeKind};
use super::rows::{self, Note, Rows};
use super::salt::{Salt, Salts};
use super::source::{DataSource, DictColumn, expand};
use super::template::{Filling, Sql};
use crate::catalog::Catalog;
use crate::governance::model::{
    Circumstances, Declared, FieldSelector, Grant, Mask, Origin, Policy, PolicyBody, Rule, RuleKind, Subscription,
    SubscriptionKind, tag_matches,
};
use crate::governance::places::Places;
use crate::governance::problem::Problem;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The key and name of the built-in policy that nulls columns tagged `New` (semantics 11).
pub(crate) const NEW_COLUMN_ADDED: &str = "New Column Added";

/// A data source with everything that applies to it.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) source: DataSource,
    /// Policies that are invalid here.
    pub(crate) invalid: BTreeSet<Arc<str>>,
    /// Whether the warehouse still has to confirm something.
    pub(crate) unconfirmed: bool,
    /// Subscription policies that apply.
    pub(crate) subscriptions: Vec<BoundSubscription>,
    /// Explicit grants.
    pub(crate) grants: Vec<Grant>,
    /// Data rules that apply.
    pub(crate) chains: Vec<Chain>,
}

/// A subscription policy on a data source.
#[derive(Clone)]
pub(crate) struct BoundSubscription {
    pub(crate) policy: Arc<str>,
    pub(crate) subscription: Subscription,
    /// Whether the policy applies cannot be told: only a grant satisfies it.
    pub(crate) uncertain: bool,
}

/// One action: rules tried in order.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) policy: Arc<str>,
    /// Of a local policy of the data source.
    pub(crate) local: bool,
    pub(crate) action: usize,
    pub(crate) rules: Vec<BoundRule>,
}

/// A rule with its compiled effect.
#[derive(Clone)]
pub(crate) struct BoundRule {
    pub(crate) rule: Arc<Rule>,
    pub(crate) effect: Effect,
}

/// What a rule does here.
#[derive(Clone)]
pub(crate) enum Effect {
    /// Masks columns (by index into the dictionary); none when no column matches.
    Masks { masks: Vec<(usize, MaskSql)>, conditional: Option<Compiled> },
    /// Hides rows.
    Rows(Rows),
    /// Hides every row from callers who act under none (or not all) of these.
    Purpose { all: bool, purposes: Vec<String> },
}

/// What a probe confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) source: usize,
    pub(crate) chain: usize,
    pub(crate) rule: usize,
    /// The mask, for constants.
    pub(crate) mask: Option<usize>,
}

/// A project whose salt replaces those of its data sources.
pub(crate) struct MaskedJoins {
    pub(crate) salt: Salt,
    /// Data sources by name or logical name; empty = all.
    pub(crate) sources: BTreeSet<String>,
}

/// Everything bound.
#[derive(Default)]
pub(crate) struct Binding {
    pub(crate) bound: Vec<Bound>,
    pub(crate) projects: BTreeMap<String, MaskedJoins>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) targets: Vec<Vec<Target>>,
    /// All policies, to say of each why it does not touch a data source.
    pub(crate) policies: Vec<Policy>,
    /// Data sources by name and by logical name.
    pub(crate) by_name: HashMap<String, BTreeSet<usize>>,
}

/// Binds the documents of one connection.
pub(crate) fn bind(
    declared: &Declared,
    connection_key: &str,
    catalog: &Catalog,
    salts: &Salts,
) -> (Binding, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut sources = expand(declared, connection_key, catalog, salts, &mut problems);
    let only_one = declared.data.iter().all(|d| d.connection_key == connection_key);
    fingerprint::attach(&declared.fingerprints, &mut sources, catalog, only_one, &mut problems);
    let mut index = PolicyIndex::new(declared.policies.iter());
    let mut applied: HashMap<&str, Vec<Arc<str>>> = HashMap::new();
    for one in &declared.applied {
        applied.entry(&one.data_source).or_default().push(Arc::from(one.policy.as_str()));
    }
    let shared = declared.policies.iter().map(shared_rules).map(Arc::new).collect();
    let binding = Binding { policies: declared.policies.clone(), ..Binding::default() };
    let mut binder = Binder { catalog, problems, binding, seen: HashMap::new(), shared, uncertain: BTreeMap::new() };
    for mut source in sources {
        for name in [source.name.to_string(), source.logical.to_string()] {
            source.applied.extend(applied.get(name.as_str()).into_iter().flatten().cloned());
        }
        let touching = index.touching(&source);
        binder.source(source, declared, &touching);
    }
    binder.tell_uncertain();
    binder.grants(declared, only_one);
    binder.projects(declared, salts, only_one);
    (binder.binding, few(binder.problems))
}

/// Most warnings told of one rule; it warns alike on every data source it touches.
const MOST_WARNINGS: usize = 20;

/// Each problem once, and of the warnings of one rule only so many.
fn few(problems: Vec<Problem>) -> Vec<Problem> {
    let mut said = HashSet::new();
    let mut counts: HashMap<Origin, usize> = HashMap::new();
    let mut kept = Vec::new();
    for problem in problems {
        if !said.insert((problem.origin.clone(), problem.message.clone())) {
            continue;
        }
        let count = counts.entry(problem.origin.clone()).or_default();
        *count += usize::from(!problem.is_error());
        if problem.is_error() || *count <= MOST_WARNINGS {
            kept.push(problem);
        }
    }
    let more = counts.into_iter().filter(|(_, count)| *count > MOST_WARNINGS);
    let mut more: Vec<Problem> = more
        .map(|(origin, count)| {
            let message = format!("{} more warnings of the same place", count - MOST_WARNINGS);
            Problem::warning(&origin, message, "mend those that are told, then check again")
        })
        .collect();
    more.sort_by_key(|p| p.origin.to_string());
    kept.extend(more);
    kept
}

/// The rules of a policy, action by action.
type SharedRules = Vec<Vec<Arc<Rule>>>;

/// The rules of a policy, to be shared by the data sources it touches.
fn shared_rules(policy: &Policy) -> SharedRules {
    match &policy.body {
        PolicyBody::Subscription(_) => Vec::new(),
        PolicyBody::Data(actions) => {
            actions.iter().map(|action| action.rules.iter().cloned().map(Arc::new).collect()).collect()
        }
    }
}

struct Binder<'a> {
    catalog: &'a Catalog,
    problems: Vec<Problem>,
    binding: Binding,
    /// Probes by kind and text, to try each once.
    seen: HashMap<(ProbeKind, String), usize>,
    /// The rules of each policy.
    shared: Vec<Arc<SharedRules>>,
    /// Policies by what decides whether they apply and is not declared: the first such data source, and how many more.
    uncertain: BTreeMap<(usize, String), (Arc<str>, usize)>,
}

impl Binder<'_> {
    fn source(&mut self, source: DataSource, declared: &Declared, touching: &[usize]) {
        let index = self.binding.bound.len();
        let mut bound = Bound {
            source,
            invalid: BTreeSet::new(),
            unconfirmed: false,
            subscriptions: Vec::new(),
            grants: Vec::new(),
            chains: Vec::new(),
        };
        for place in touching {
            if let Some(policy) = declared.policies.get(*place) {
                self.policy(policy, *place, index, &mut bound);
            }
        }
        if bound.source.columns.iter().any(|c| c.tags.iter().any(|t| tag_matches("New", t))) {
            let fields = vec![FieldSelector::ColumnTag("New".to_owned())];
            let kind = RuleKind::Masking { fields, mask: Mask::Null, conditional: None };
            let origin = Origin::default();
            let rule = Rule {
                kind,
                exceptions: None,
                inclusions: None,
                predicate_places: Places::all_at(origin.clone()),
                origin,
            };
            self.chain((NEW_COLUMN_ADDED.into(), false), 0, &[Arc::new(rule)], index, &mut bound);
        }
        for name in [bound.source.name.to_string(), bound.source.logical.to_string()] {
            self.binding.by_name.entry(name).or_default().insert(index);
        }
        self.binding.bound.push(bound);
    }

    fn policy(&mut self, policy: &Policy, place: usize, index: usize, bound: &mut Bound) {
        let uncertain = match applies(policy, &bound.source) {
            _ if policy.set_aside().is_some() => return,
            Applies::Yes => false,
            Applies::No(_) => return,
            Applies::Unknown(what) => {
                let entry = self.uncertain.entry((place, what)).or_insert_with(|| (bound.source.name.clone(), 0));
                entry.1 += 1;
                true
            }
        };
        match &policy.body {
            PolicyBody::Subscription(subscription) => bound.subscriptions.push(BoundSubscription {
                policy: policy.key.clone(),
                subscription: subscription.clone(),
                uncertain,
            }),
            PolicyBody::Data(_) => {
                let actions = self.shared.get(place).cloned().unwrap_or_default();
                let local = matches!(policy.circumstances, Circumstances::Only(_));
                if local && actions.iter().flatten().any(|rule| !self.columns_exist(rule, &bound.source)) {
                    bound.invalid.insert(policy.key.clone());
                }
                for (number, rules) in actions.iter().enumerate() {
                    if touch(rules, &bound.source) {
                        self.chain((policy.key.clone(), local), number, rules, index, bound);
                    }
                }
            }
        }
    }

    fn tell_uncertain(&mut self) {
        for ((place, what), (source, count)) in std::mem::take(&mut self.uncertain) {
            let Some(policy) = self.binding.policies.get(place) else { continue };
            let others = if count > 1 { format!(" (and {} more) do", count - 1) } else { " does".to_owned() };
            self.problems.push(Problem::warning(
                &policy.origin,
                format!("policy \"{}\" depends on {what}, which \"{source}\"{others} not declare", policy.key),
                "declare it; until then the policy is enforced there",
            ));
        }
    }

    /// `policy`: its key, and whether it is local.
    fn chain(&mut self, policy: (Arc<str>, bool), action: usize, rules: &[Arc<Rule>], index: usize, bound: &mut Bound) {
        let (policy, local) = policy;
        let chain = bound.chains.len();
        let mut compiled = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let target = Target { source: index, chain, rule: number, mask: None };
            match self.rule(&policy, rule, target, bound) {
                Some(effect) => compiled.push(BoundRule { rule: Arc::clone(rule), effect }),
                None => {
                    bound.invalid.insert(policy.clone());
                    // Keeps the numbers of the rules behind it right; the source refuses anyway.
                    compiled.push(BoundRule {
                        rule: Arc::clone(rule),
                        effect: Effect::Rows(Rows::none("the rule is invalid")),
                    });
                }
            }
        }
        bound.chains.push(Chain { policy, local, action, rules: compiled });
    }

    /// Compiles a rule; `None`: invalid here, with a problem said.
    fn rule(&mut self, policy: &Arc<str>, rule: &Rule, target: Target, bound: &mut Bound) -> Option<Effect> {
        let mut notes = Vec::new();
        let source = &bound.source;
        let effect = match &rule.kind {
            RuleKind::Masking { fields, mask, conditional } => {
                let masks = self.masks(rule, fields, mask, source)?;
                // A rule that masks nothing here needs no predicate, and cannot be invalid for lack of a tag.
                let conditional = match conditional.as_ref().filter(|_| !masks.is_empty()) {
                    None => None,
                    Some(text) => Some(self.predicate(rule, text, source)?),
                };
                Effect::Masks { masks, conditional }
            }
            RuleKind::RowByEntitlement { all, matches } => {
                let rows = rows::by_entitlement(*all, matches, source, self.catalog, &mut notes);
                self.notes(rule, notes);
                Effect::Rows(rows?)
            }
            RuleKind::RowByWhere(text) => {
                let compiled = self.predicate(rule, text, source)?;
                Effect::Rows(Rows {
                    sql: compiled.sql,
                    total: compiled.total,
                    has_subquery: compiled.has_subquery,
                    summary: text.split_whitespace().collect::<Vec<_>>().join(" "),
                    columns: Vec::new(),
                })
            }
            RuleKind::Time { newer, seconds, column } => {
                let rows = rows::by_time(*newer, *seconds, column.as_deref(), source, self.catalog, &mut notes);
                Effect::Rows(self.notes(rule, notes).then_some(rows)?)
            }
            RuleKind::Minimization { percent, column } => {
                let rows = rows::by_sample(*percent, column.as_deref(), source, self.catalog, &mut notes);
                Effect::Rows(self.notes(rule, notes).then_some(rows)?)
            }
            RuleKind::Never => Effect::Rows(Rows::none("no row is ever shown")),
            RuleKind::Purpose { all, purposes } => Effect::Purpose { all: *all, purposes: purposes.clone() },
        };
        self.probe_effect(policy, rule, &effect, target, bound);
        Some(effect)
    }

    fn masks(
        &mut self,
        rule: &Rule,
        fields: &[FieldSelector],
        mask: &Mask,
        source: &DataSource,
    ) -> Option<Vec<(usize, MaskSql)>> {
        let mut masks = Vec::new();
        let selected: Vec<(usize, &DictColumn)> = source
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| fields.iter().any(|f| selects(f, &column.name, &column.tags)))
            .collect();
        let together = match mask {
            Mask::KAnonymization(k) => {
                let columns: Vec<&DictColumn> = selected.iter().map(|(_, column)| *column).collect();
                mask::together(*k, &columns, source, self.catalog)
            }
            _ => None,
        };
        let around = Around { source, catalog: self.catalog, together };
        for (index, column) in selected {
            match mask::compile(mask, column, &around) {
                Ok(compiled) => {
                    if compiled.mismatch {
                        self.mismatch(&rule.origin, source, &column.name, compiled.kind);
                    }
                    if let Some(what) = compiled.lacks {
                        self.problems.push(lacking_problem(&rule.origin, source, &column.name, compiled.kind, what));
                    }
                    masks.push((index, compiled));
                }
                Err(refused) => {
                    self.problems.push(Problem::error(&rule.origin, refused.message, refused.help));
                    return None;
                }
            }
        }
        Some(masks)
    }

    fn mismatch(&mut self, origin: &Origin, source: &DataSource, column: &str, kind: &str) {
        self.problems.push(mismatch_problem(origin, source, column, kind));
    }

    fn predicate(&mut self, rule: &Rule, text: &str, source: &DataSource) -> Option<Compiled> {
        match predicate::compile(text, source, self.catalog) {
            Ok(compiled) => match checked(&compiled) {
                Ok(()) => Some(compiled),
                Err(message) => {
                    self.problems.push(Problem::error(&rule.origin, message, "report this predicate as a defect"));
                    None
                }
            },
            Err(fault) => {
                let help = if fault.help.is_empty() { "correct the predicate there".to_owned() } else { fault.help };
                let message = format!("{} (data source {})", fault.message, source.name);
                let place = rule.predicate_places.place(fault.line, fault.column);
                self.problems.push(Problem::error(&place, message, help));
                None
            }
        }
    }

    /// A column that a local policy names must be there: a mask on none protects nothing.
    fn columns_exist(&mut self, rule: &Rule, source: &DataSource) -> bool {
        let RuleKind::Masking { fields, .. } = &rule.kind else { return true };
        let missing = fields.iter().find_map(|field| match field {
            FieldSelector::Column(name) => (!source.columns.iter().any(|c| c.name == *name)).then_some(name),
            _ => None,
        });
        let Some(name) = missing else { return true };
        let hint = did_you_mean(name, source.columns.iter().map(|c| c.name.as_str()));
        let help = if hint.is_empty() { "name a column of the data source".to_owned() } else { hint };
        let message = format!("\"{}\" has no column \"{name}\"", source.logical);
        self.problems.push(Problem::error(&rule.origin, message, help));
        false
    }

    /// Says the notes; false when one of them is an error.
    fn notes(&mut self, rule: &Rule, notes: Vec<Note>) -> bool {
        let mut valid = true;
        for note in notes {
            self.problems.push(match note {
                Note::Warning(message, help) => Problem::warning(&rule.origin, message, help),
                Note::Error(message, help) => {
                    valid = false;
                    let help = if help.is_empty() { "name a column of the data source".to_owned() } else { help };
                    Problem::error(&rule.origin, message, help)
                }
            });
        }
        valid
    }

    fn probe_effect(&mut self, policy: &Arc<str>, rule: &Rule, effect: &Effect, target: Target, bound: &mut Bound) {
        let relation = format!("{} AS {ROW_ALIAS}", bound.source.relation_sql());
        let mut wanted: Vec<(ProbeKind, String, Option<usize>)> = Vec::new();
        match effect {
            Effect::Masks { masks, conditional } => {
                for (number, (column, mask)) in masks.iter().enumerate() {
                    match &mask.check {
                        Some(Check::Constant { sql, .. }) => {
                            wanted.push((ProbeKind::Constant, sql.clone(), Some(number)));
                            continue;
                        }
                        Some(Check::Evaluate(sql)) => wanted.push((ProbeKind::Evaluate, sql.clone(), None)),
                        None => {}
                    }
                    // What depends on no row is the same question for every table.
                    let Some(column) = bound.source.columns.get(*column) else { continue };
                    let sql = mask::whole(mask, column).fill(Filling::Probe);
                    let from = match &mask.shown {
                        Some(shown) => format!(" FROM {relation}{}", companion(shown).join_sql()),
                        None if mask.constant => String::new(),
                        None => format!(" FROM {relation}"),
                    };
                    wanted.push((ProbeKind::TypeCheck, format!("SELECT ({sql}){from}"), None));
                }
                if let Some(conditional) = conditional {
                    wanted.push((ProbeKind::TypeCheck, where_probe(&relation, &conditional.sql), None));
                }
            }
            Effect::Rows(rows) => wanted.push((ProbeKind::TypeCheck, where_probe(&relation, &rows.sql), None)),
            Effect::Purpose { .. } => {}
        }
        for (kind, sql, mask) in wanted {
            bound.unconfirmed = true;
            let next = self.binding.probes.len();
            let at = *self.seen.entry((kind, sql.clone())).or_insert(next);
            if at == next {
                self.binding.probes.push(Probe {
                    kind,
                    source: bound.source.name.clone(),
                    policy: policy.clone(),
                    origin: rule.origin.clone(),
                    sql,
                });
                self.binding.targets.push(Vec::new());
            }
            if let Some(targets) = self.binding.targets.get_mut(at) {
                targets.push(Target { mask, ..target });
            }
        }
    }

    fn grants(&mut self, declared: &Declared, only_one: bool) {
        for grant in &declared.grants {
            let found = self.binding.by_name.get(&grant.data_source).cloned().unwrap_or_default();
            for source in &found {
                if let Some(bound) = self.binding.bound.get_mut(*source) {
                    bound.grants.push(grant.clone());
                }
            }
            if found.is_empty() && only_one {
                self.unknown_source(&grant.origin, &grant.data_source);
            }
        }
    }

    fn projects(&mut self, declared: &Declared, salts: &Salts, only_one: bool) {
        for project in &declared.projects {
            for name in &project.data_sources {
                if only_one && !self.binding.by_name.contains_key(name) {
                    self.unknown_source(&project.origin, name);
                }
            }
            if project.allow_masked_joins {
                let joins = MaskedJoins {
                    salt: salts.project(&project.key),
                    sources: project.data_sources.iter().cloned().collect(),
                };
                self.binding.projects.insert(project.key.clone(), joins);
            }
        }
    }

    fn unknown_source(&mut self, origin: &Origin, name: &str) {
        let hint = did_you_mean(name, self.binding.bound.iter().map(|b| &*b.source.name));
        self.problems.push(Problem::error(
            origin,
            format!("there is no data source \"{name}\""),
            if hint.is_empty() { "use the name of a data source, or schema.table".to_owned() } else { hint },
        ));
    }
}

impl MaskedJoins {
    /// Whether the project holds a data source.
    pub(crate) fn holds(&self, source: &DataSource) -> bool {
        self.sources.is_empty()
            || self.sources.contains(&*source.name)
            || self.sources.contains(&source.logical.to_string())
    }
}

/// Whether a chain does anything on a data source: one of nothing but masks does not where it masks no column.
fn touch(rules: &[Arc<Rule>], source: &DataSource) -> bool {
    rules.iter().any(|rule| match &rule.kind {
        RuleKind::Masking { fields, .. } => {
            source.columns.iter().any(|column| fields.iter().any(|f| selects(f, &column.name, &column.tags)))
        }
        RuleKind::RowByEntitlement { .. }
        | RuleKind::RowByWhere(_)
        | RuleKind::Time { .. }
        | RuleKind::Minimization { .. }
        | RuleKind::Never
        | RuleKind::Purpose { .. } => true,
    })
}

/// Why policies that are not bound to a data source do not touch it: for `explain`, made when asked for.
pub(crate) fn elsewhere(policies: &[Policy], bound: &Bound) -> Vec<RuleTrace> {
    let mut trace = Vec::new();
    for policy in policies {
        let what = match &policy.body {
            PolicyBody::Subscription(s) => subscription_kind(&s.kind),
            PolicyBody::Data(_) => "data policy".to_owned(),
        };
        let aside = |rule, kind, why| {
            let columns = Vec::new();
            RuleTrace {
                policy: policy.key.clone(),
                rule,
                kind,
                columns,
                applied: false,
                why,
                existing_masking: Vec::new(),
            }
        };
        if let Some(why) = policy.set_aside() {
            trace.push(aside(None, what, why.to_owned()));
            continue;
        }
        match (applies(policy, &bound.source), &policy.body) {
            (Applies::No(why), _) => trace.push(aside(None, what, why)),
            (Applies::Yes | Applies::Unknown(_), PolicyBody::Subscription(_)) => {}
            (Applies::Yes | Applies::Unknown(_), PolicyBody::Data(_)) => {
                for (action, rules) in shared_rules(policy).iter().enumerate().filter(|(_, r)| !touch(r, &bound.source))
                {
                    trace.extend(rules.iter().enumerate().map(|(number, rule)| {
                        let why = "no column of the data source matches".to_owned();
                        aside(Some((action, number)), rule_kind(&rule.kind), why)
                    }));
                }
            }
        }
    }
    trace
}

fn where_probe(relation: &str, predicate: &Sql) -> String {
    format!("SELECT NULL FROM {relation} WHERE ({})", predicate.fill(Filling::Probe))
}

/// A second reading of the compiled text, by PostgreSQL's own grammar.
fn checked(compiled: &Compiled) -> Result<(), String> {
    crate::sql::parse_expression(&compiled.sql.fill(Filling::Probe))
        .map(drop)
        .map_err(|_| "the compiled predicate is not SQL".to_owned())
}

/// The problem of a mask that became NULL.
pub(crate) fn mismatch_problem(origin: &Origin, source: &DataSource, column: &str, kind: &str) -> Problem {
    Problem::warning(
        origin,
        format!("{kind} does not fit the type of column \"{column}\" of \"{}\": the value is NULL", source.logical),
        "choose a mask for that type (dataTypeMismatch)",
    )
}

/// The problem of a mask that is NULL for want of a fingerprint.
fn lacking_problem(origin: &Origin, source: &DataSource, column: &str, kind: &str, what: &str) -> Problem {
    Problem::warning(
        origin,
        format!(
            "{kind} of column \"{column}\" of \"{}\" needs {what}: the value is NULL until there is one",
            source.logical
        ),
        "take one with `sqlveil fingerprint`",
    )
}

/// What stands beside each row for a mask.
pub(crate) fn companion(shown: &Shown) -> Companion {
    Companion { alias: Arc::clone(&shown.alias), sql: Arc::clone(&shown.companion) }
}

/// Whether a selector takes a column.
fn selects(field: &FieldSelector, name: &str, tags: &[String]) -> bool {
    match field {
        FieldSelector::ColumnTag(tag) => tags.iter().any(|t| tag_matches(tag, t)),
        FieldSelector::ColumnRegex(regex) => regex.is_match(name),
        FieldSelector::AnyTag => !tags.is_empty(),
        FieldSelector::NoTags => tags.is_empty(),
        FieldSelector::AllColumns => true,
        FieldSelector::Column(wanted) => wanted == name,
    }
}

/// What a rule is called in traces.
pub(crate) fn rule_kind(kind: &RuleKind) -> String {
    match kind {
        RuleKind::Masking { mask, conditional: None, .. } => format!("Masking ({})", mask::name(mask)),
        RuleKind::Masking { mask, conditional: Some(_), .. } => format!("Masking ({}, conditional)", mask::name(mask)),
        RuleKind::RowByEntitlement { .. } => "Row Restriction By User Entitlements".to_owned(),
        RuleKind::RowByWhere(_) => "Row Restriction by Custom Where Clause".to_owned(),
        RuleKind::Time { .. } => "Time Restriction".to_owned(),
        RuleKind::Minimization { .. } => "Minimization".to_owned(),
        RuleKind::Never => "showRowsNever".to_owned(),
        RuleKind::Purpose { .. } => "Purpose Restriction".to_owned(),
    }
}

/// What a subscription policy is called in traces.
pub(crate) fn subscription_kind(kind: &SubscriptionKind) -> String {
    match kind {
        SubscriptionKind::Anyone => "subscription anyone",
        SubscriptionKind::Entitlements(_) => "subscription entitlements",
        SubscriptionKind::Approval(_) => "subscription approval",
        SubscriptionKind::Manual => "subscription manual",
    }
    .to_owned()
}
