//! Binding: every policy against every data source, so that only the caller is left for decide time.
//!
//! In: the declared world and a catalog. Out: [`Bound`] sources, the probes the warehouse must answer, problems.
//! Must never: let an invalid policy fall away; the data sources it touches refuse.

use super::circumstance::{Applies, applies};
use super::decision::{Companion, ROW_ALIAS, RuleTrace};
use super::effect::{self, Chain, Compilations, Effect, Effects, Site};
use super::findings::Findings;
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
    Action, Circumstances, Declared, FieldSelector, Grant, Mask, Origin, Policy, PolicyBody, Rule, RuleKind,
    Subscription, SubscriptionKind, tag_matches,
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
    pub(crate) subscription: Arc<Subscription>,
    /// Whether the policy applies cannot be told: only a grant satisfies it.
    pub(crate) uncertain: bool,
}

/// What a probe confirms: these effects on this data source.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) source: usize,
    pub(crate) effects: Effects,
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
    /// What the warehouse has to confirm, and what each of these confirms; nothing once it has.
    pub(crate) probes: Vec<Probe>,
    pub(crate) targets: Vec<Vec<Target>>,
    /// All policies, to say of each why it does not touch a data source.
    pub(crate) policies: Vec<Arc<Policy>>,
    /// Data sources by name and by logical name.
    pub(crate) by_name: HashMap<String, BTreeSet<usize>>,
}

/// Binds the documents of one connection: at most so many times a policy to a data source.
pub(crate) fn bind(
    declared: &Declared,
    connection_key: &str,
    catalog: &Catalog,
    salts: &Salts,
    most: usize,
) -> (Binding, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut sources = expand(declared, connection_key, catalog, salts, &mut problems);
    let only_one = declared.data.iter().all(|d| d.connection_key == connection_key);
    fingerprint::attach(&declared.fingerprints, &mut sources, catalog, only_one, &mut problems);
    let mut findings = Findings::default();
    problems.into_iter().for_each(|problem| findings.push(problem));
    let mut index = PolicyIndex::new(declared.policies.iter().map(AsRef::as_ref));
    let mut applied: HashMap<&str, Vec<Arc<str>>> = HashMap::new();
    for one in &declared.applied {
        applied.entry(&one.data_source).or_default().push(Arc::from(one.policy.as_str()));
    }
    let mut binder = Binder {
        catalog,
        findings,
        binding: Binding { policies: declared.policies.clone(), ..Binding::default() },
        compilations: Compilations::default(),
        asked: HashMap::new(),
        subscriptions: HashMap::new(),
        uncertain: BTreeMap::new(),
        new_column: None,
        tally: Tally { most, ..Tally::default() },
    };
    for mut source in sources {
        for name in [source.name.to_string(), source.logical.to_string()] {
            source.applied.extend(applied.get(name.as_str()).into_iter().flatten().cloned());
        }
        // Once there are too many, no other is looked at.
        let touching = if binder.tally.left.is_none() { index.touching(&source) } else { Vec::new() };
        binder.source(source, &touching);
    }
    binder.tell_uncertain();
    binder.tell_too_many();
    binder.grants(declared, only_one);
    binder.projects(declared, salts, only_one);
    (binder.binding, binder.findings.into_problems())
}

/// How often policies were bound to data sources.
#[derive(Default)]
struct Tally {
    most: usize,
    all: usize,
    /// By policy.
    each: HashMap<usize, usize>,
    /// Data sources that were left unbound: the first, a policy that touches it, and how many they are.
    left: Option<(Arc<str>, Arc<str>, usize)>,
}

struct Binder<'a> {
    catalog: &'a Catalog,
    findings: Findings,
    binding: Binding,
    compilations: Compilations,
    /// Probes by the hash of what is asked, to ask each once.
    asked: HashMap<u64, Vec<usize>>,
    /// Subscriptions by the place of their policy, to be shared by the data sources.
    subscriptions: HashMap<usize, Arc<Subscription>>,
    /// Policies by what decides whether they apply and is not declared: the first such data source, and how many more.
    uncertain: BTreeMap<(usize, String), (Arc<str>, usize)>,
    /// The built-in policy, once it is needed.
    new_column: Option<Arc<Policy>>,
    tally: Tally,
}

/// What is found of a data source while policies are bound to it.
#[derive(Default)]
struct Found {
    invalid: BTreeSet<Arc<str>>,
    unconfirmed: bool,
    subscriptions: Vec<BoundSubscription>,
    chains: Vec<Chain>,
    /// Addresses of the effects the warehouse is asked about: the chains hold them.
    asked: HashSet<usize>,
}

/// What came of compiling a chain.
struct Compiling {
    effects: Effects,
    /// Whether each rule is valid.
    valid: Vec<bool>,
    /// Whether nothing was said that is said of each data source anew.
    quiet: bool,
}

impl Binder<'_> {
    fn source(&mut self, source: DataSource, touching: &[usize]) {
        let index = self.binding.bound.len();
        let mut found = Found::default();
        let site = self.compilations.site(&source, index);
        let many = self.tally.all.saturating_add(touching.len()) > self.tally.most;
        if many || self.tally.left.is_some() {
            self.leave(&source, touching, &mut found);
        } else {
            for place in touching {
                if let Some(policy) = self.binding.policies.get(*place).cloned() {
                    self.policy(&policy, *place, &site, &mut found);
                }
            }
        }
        if source.columns.iter().any(|c| c.tags.iter().any(|t| tag_matches("New", t))) {
            let policy = Arc::clone(self.new_column.get_or_insert_with(new_column_added));
            self.chain(&policy, usize::MAX, 0, &site, &mut found);
        }
        for name in [source.name.to_string(), source.logical.to_string()] {
            self.binding.by_name.entry(name).or_default().insert(index);
        }
        drop(site);
        let Found { invalid, unconfirmed, subscriptions, mut chains, asked: _ } = found;
        chains.shrink_to_fit();
        self.binding.bound.push(Bound { source, invalid, unconfirmed, subscriptions, grants: Vec::new(), chains });
    }

    /// Leaves a data source unbound: it refuses, as it does when a policy that touches it is invalid.
    fn leave(&mut self, source: &DataSource, touching: &[usize], found: &mut Found) {
        for place in touching {
            *self.tally.each.entry(*place).or_default() += 1;
        }
        let first = touching.first().and_then(|place| self.binding.policies.get(*place));
        let key = || first.map_or_else(|| Arc::from("limits.bindings"), |policy| policy.key.clone());
        let left = self.tally.left.get_or_insert_with(|| (source.name.clone(), key(), 0));
        left.2 += 1;
        found.invalid.insert(left.1.clone());
    }

    fn policy(&mut self, policy: &Arc<Policy>, place: usize, site: &Site<'_>, found: &mut Found) {
        let source = site.source;
        let uncertain = match applies(policy, source) {
            _ if policy.set_aside().is_some() => return,
            Applies::Yes => false,
            Applies::No(_) => return,
            Applies::Unknown(what) => {
                let entry = self.uncertain.entry((place, what)).or_insert_with(|| (source.name.clone(), 0));
                entry.1 += 1;
                true
            }
        };
        self.tally.all += 1;
        *self.tally.each.entry(place).or_default() += 1;
        match &policy.body {
            PolicyBody::Subscription(subscription) => {
                let shared = self.subscriptions.entry(place).or_insert_with(|| Arc::new(subscription.clone()));
                let subscription = Arc::clone(shared);
                found.subscriptions.push(BoundSubscription { policy: policy.key.clone(), subscription, uncertain });
            }
            PolicyBody::Data(actions) => {
                let local = matches!(policy.circumstances, Circumstances::Only(_));
                if local && actions.iter().flat_map(|a| &a.rules).any(|rule| !self.columns_exist(rule, source)) {
                    found.invalid.insert(policy.key.clone());
                }
                for action in 0..actions.len() {
                    self.chain(policy, place, action, site, found);
                }
            }
        }
    }

    fn tell_uncertain(&mut self) {
        for ((place, what), (source, count)) in std::mem::take(&mut self.uncertain) {
            let Some(policy) = self.binding.policies.get(place) else { continue };
            let others = if count > 1 { format!(" (and {} more) do", count - 1) } else { " does".to_owned() };
            self.findings.push(Problem::warning(
                &policy.origin,
                format!("policy \"{}\" depends on {what}, which \"{source}\"{others} not declare", policy.key),
                "declare it; until then the policy is enforced there",
            ));
        }
    }

    /// A set that would take memory without bounds is refused before it does.
    fn tell_too_many(&mut self) {
        let Some((source, _, count)) = self.tally.left.take() else { return };
        let mut each: Vec<(usize, usize)> = self.tally.each.iter().map(|(place, count)| (*count, *place)).collect();
        each.sort_unstable_by(|a, b| b.cmp(a));
        let widest = each.iter().take(3).filter_map(|(count, place)| {
            self.binding.policies.get(*place).map(|policy| format!("\"{}\" ({count})", policy.key))
        });
        let widest: Vec<String> = widest.collect();
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let message = format!(
            "policies apply to data sources more than {} times (`limits.bindings`): \"{source}\"{others} would be over it; \
             those that apply most often: {}",
            self.tally.most,
            widest.join(", ")
        );
        let help = "narrow their `circumstances` or put policies of the same rule together; or raise `limits.bindings`, \
                    with some 100 bytes of memory for each";
        let origin = each.first().and_then(|(_, place)| self.binding.policies.get(*place)).map(|p| p.origin.clone());
        self.findings.push(Problem::error(&origin.unwrap_or_default(), message, help));
    }

    /// Binds an action, unless it does nothing here. `place` is that of the policy.
    fn chain(&mut self, policy: &Arc<Policy>, place: usize, action: usize, site: &Site<'_>, found: &mut Found) {
        let rules = effect::rules(policy, action);
        let Some(masked) = site.touched(rules) else { return };
        let doing = self.compilations.doing(place, action, rules);
        let inputs = self.compilations.inputs(doing, site, &masked);
        let (effects, valid) = match self.compilations.get(&inputs) {
            Some(effects) => (effects, Vec::new()),
            None => {
                let Compiling { effects, valid, quiet } = self.compile(rules, &masked, site);
                if quiet && valid.iter().all(|valid| *valid) {
                    self.compilations.keep(inputs, &effects);
                }
                (effects, valid)
            }
        };
        if valid.contains(&false) {
            found.invalid.insert(policy.key.clone());
        }
        for (rule, effect) in rules.iter().zip(&*effects) {
            self.tell_masks(rule, effect, site.source);
        }
        // Chains that do the same are confirmed together.
        if found.asked.insert(effects.as_ptr() as usize) {
            for (number, (rule, effect)) in rules.iter().zip(&*effects).enumerate() {
                if valid.get(number) != Some(&false) {
                    self.ask(policy, rule, effect, &effects, site, found);
                }
            }
        }
        found.chains.push(Chain { policy: Arc::clone(policy), action, effects });
    }

    fn compile(&mut self, rules: &[Rule], masked: &[Vec<usize>], site: &Site<'_>) -> Compiling {
        let mut quiet = true;
        let mut effects = Vec::with_capacity(rules.len());
        let mut valid = Vec::with_capacity(rules.len());
        for (rule, masked) in rules.iter().zip(masked) {
            let effect = self.rule(rule, masked, site, &mut quiet);
            valid.push(effect.is_some());
            // Keeps the numbers of the rules behind it right; the source refuses anyway.
            effects.push(effect.unwrap_or_else(|| Effect::Rows(Rows::none("the rule is invalid"))));
        }
        Compiling { effects: effects.into(), valid, quiet }
    }

    /// Compiles a rule; `None`: invalid here, with a problem said.
    fn rule(&mut self, rule: &Rule, masked: &[usize], site: &Site<'_>, quiet: &mut bool) -> Option<Effect> {
        let mut notes = Vec::new();
        let source = site.source;
        let effect = match &rule.kind {
            RuleKind::Masking { fields: _, mask, conditional } => {
                let masks = self.masks(rule, masked, mask, site)?;
                // A rule that masks nothing here needs no predicate, and cannot be invalid for lack of a tag.
                let conditional = match conditional.as_ref().filter(|_| !masks.is_empty()) {
                    None => None,
                    Some(text) => Some(self.predicate(rule, text, source)?),
                };
                Effect::Masks { masks, conditional }
            }
            RuleKind::RowByEntitlement { all, matches } => {
                let rows = rows::by_entitlement(*all, matches, source, self.catalog, &mut notes);
                *quiet &= notes.is_empty();
                self.notes(rule, notes);
                Effect::Rows(rows?)
            }
            RuleKind::RowByWhere(text) => {
                let compiled = self.predicate(rule, text, source)?;
                Effect::Rows(Rows {
                    sql: compiled.sql,
                    total: compiled.total,
                    has_subquery: compiled.has_subquery,
                    few: compiled.few,
                    summary: text.split_whitespace().collect::<Vec<_>>().join(" "),
                    columns: Vec::new(),
                })
            }
            RuleKind::Time { newer, seconds, column } => {
                let rows = rows::by_time(*newer, *seconds, column.as_deref(), source, self.catalog, &mut notes);
                *quiet &= notes.is_empty();
                Effect::Rows(self.notes(rule, notes).then_some(rows)?)
            }
            RuleKind::Minimization { percent, column } => {
                let rows = rows::by_sample(*percent, column.as_deref(), source, self.catalog, &mut notes);
                *quiet &= notes.is_empty();
                Effect::Rows(self.notes(rule, notes).then_some(rows)?)
            }
            RuleKind::Never => Effect::Rows(Rows::none("no row is ever shown")),
            RuleKind::Purpose { all, purposes } => Effect::Purpose { all: *all, purposes: purposes.clone() },
        };
        Some(effect)
    }

    fn masks(
        &mut self,
        rule: &Rule,
        masked: &[usize],
        mask: &Mask,
        site: &Site<'_>,
    ) -> Option<Vec<(usize, Arc<MaskSql>)>> {
        let source = site.source;
        let selected: Vec<(usize, &DictColumn)> =
            masked.iter().filter_map(|at| Some((*at, source.columns.get(*at)?))).collect();
        let together = match mask {
            Mask::KAnonymization(k) => {
                let columns: Vec<&DictColumn> = selected.iter().map(|(_, column)| *column).collect();
                mask::together(*k, &columns, source, self.catalog)
            }
            _ => None,
        };
        let around = Around { source, catalog: self.catalog, together };
        let mut masks = Vec::with_capacity(selected.len());
        for (at, column) in selected {
            match self.compilations.mask(mask, site, at, || mask::compile(mask, column, &around)) {
                Ok(compiled) => masks.push((at, compiled)),
                Err(refused) => {
                    self.findings.push(Problem::error(&rule.origin, refused.message, refused.help));
                    return None;
                }
            }
        }
        Some(masks)
    }

    /// Says which masks of a rule are NULL, and why.
    fn tell_masks(&mut self, rule: &Rule, effect: &Effect, source: &DataSource) {
        let Effect::Masks { masks, .. } = effect else { return };
        for (at, mask) in masks.iter().filter(|(_, mask)| mask.mismatch || mask.lacks.is_some()) {
            let Some(column) = source.columns.get(*at) else { continue };
            if mask.mismatch {
                let make = || mismatch_problem(&rule.origin, source, &column.name, mask.kind);
                self.findings.warn(&rule.origin, make);
            }
            if let Some(what) = mask.lacks {
                let make = || lacking_problem(&rule.origin, source, &column.name, mask.kind, what);
                self.findings.warn(&rule.origin, make);
            }
        }
    }

    fn predicate(&mut self, rule: &Rule, text: &str, source: &DataSource) -> Option<Compiled> {
        match predicate::compile(text, source, self.catalog) {
            Ok(compiled) => match checked(&compiled) {
                Ok(()) => Some(compiled),
                Err(message) => {
                    self.findings.push(Problem::error(&rule.origin, message, "report this predicate as a defect"));
                    None
                }
            },
            Err(fault) => {
                let help = if fault.help.is_empty() { "correct the predicate there".to_owned() } else { fault.help };
                let message = format!("{} (data source {})", fault.message, source.name);
                let place = rule.predicate_places.place(fault.line, fault.column);
                self.findings.push(Problem::error(&place, message, help));
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
        self.findings.push(Problem::error(&rule.origin, message, help));
        false
    }

    /// Says the notes; false when one of them is an error.
    fn notes(&mut self, rule: &Rule, notes: Vec<Note>) -> bool {
        let mut valid = true;
        for note in notes {
            self.findings.push(match note {
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

    /// Has the warehouse confirm what a rule of a chain does.
    fn ask(
        &mut self,
        policy: &Arc<Policy>,
        rule: &Rule,
        effect: &Effect,
        effects: &Effects,
        site: &Site<'_>,
        found: &mut Found,
    ) {
        let source = site.source;
        for (kind, sql) in questions(effect, source) {
            found.unconfirmed = true;
            let at = self.probe(kind, sql, policy, rule, source);
            if let Some(targets) = self.binding.targets.get_mut(at) {
                targets.push(Target { source: site.index, effects: Arc::clone(effects) });
            }
        }
    }

    /// The place of a probe, which is made now unless the same is asked already.
    fn probe(&mut self, kind: ProbeKind, sql: String, policy: &Policy, rule: &Rule, source: &DataSource) -> usize {
        let alike = self.asked.entry(hash(&(kind, &sql))).or_default();
        let same = |at: &&usize| self.binding.probes.get(**at).is_some_and(|p| p.kind == kind && p.sql == sql);
        if let Some(known) = alike.iter().find(same) {
            return *known;
        }
        let at = self.binding.probes.len();
        alike.push(at);
        let origin = rule.origin.clone();
        self.binding.probes.push(Probe { kind, source: source.name.clone(), policy: policy.key.clone(), origin, sql });
        self.binding.targets.push(Vec::new());
        at
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
        self.findings.push(Problem::error(
            origin,
            format!("there is no data source \"{name}\""),
            if hint.is_empty() { "use the name of a data source, or schema.table".to_owned() } else { hint },
        ));
    }
}

/// What the warehouse has to confirm of an effect.
fn questions(effect: &Effect, source: &DataSource) -> Vec<(ProbeKind, String)> {
    let relation = format!("{} AS {ROW_ALIAS}", source.relation_sql());
    let mut wanted = Vec::new();
    match effect {
        Effect::Masks { masks, conditional } => {
            for (column, mask) in masks {
                match &mask.check {
                    Some(Check::Constant { sql, .. }) => {
                        wanted.push((ProbeKind::Constant, sql.clone()));
                        continue;
                    }
                    Some(Check::Evaluate(sql)) => wanted.push((ProbeKind::Evaluate, sql.clone())),
                    None => {}
                }
                // What depends on no row is the same question for every table.
                let Some(column) = source.columns.get(*column) else { continue };
                let sql = mask::whole(mask, column).fill(Filling::Probe);
                let from = match &mask.shown {
                    Some(shown) => format!(" FROM {relation}{}", companion(shown).join_sql()),
                    None if mask.constant => String::new(),
                    None => format!(" FROM {relation}"),
                };
                wanted.push((ProbeKind::TypeCheck, format!("SELECT ({sql}){from}")));
            }
            if let Some(conditional) = conditional {
                wanted.push((ProbeKind::TypeCheck, where_probe(&relation, &conditional.sql)));
            }
        }
        Effect::Rows(rows) => {
            wanted.push((ProbeKind::TypeCheck, where_probe(&relation, &rows.sql)));
            let sizes = rows.few.iter().flat_map(|few| &few.probes);
            wanted.extend(sizes.map(|size| (ProbeKind::Few, size.clone())));
        }
        Effect::Purpose { .. } => {}
    }
    wanted
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default(), value)
}

/// The built-in policy that nulls columns tagged `New` (semantics 11).
fn new_column_added() -> Arc<Policy> {
    let fields = vec![FieldSelector::ColumnTag("New".to_owned())];
    let origin = Origin::default();
    let rule = Rule {
        kind: RuleKind::Masking { fields, mask: Mask::Null, conditional: None },
        exceptions: None,
        inclusions: None,
        predicate_places: Places::all_at(origin.clone()),
        origin: origin.clone(),
    };
    Arc::new(Policy {
        key: NEW_COLUMN_ADDED.into(),
        name: NEW_COLUMN_ADDED.to_owned(),
        staged: false,
        inactive: None,
        circumstances: Circumstances::Everywhere,
        owner_restrictions: Vec::new(),
        body: PolicyBody::Data(vec![Action { rules: vec![rule], description: None }]),
        certification: None,
        origin,
    })
}

impl MaskedJoins {
    /// Whether the project holds a data source.
    pub(crate) fn holds(&self, source: &DataSource) -> bool {
        self.sources.is_empty()
            || self.sources.contains(&*source.name)
            || self.sources.contains(&source.logical.to_string())
    }
}

/// Why policies that are not bound to a data source do not touch it: for `explain`, made when asked for.
pub(crate) fn elsewhere(policies: &[Arc<Policy>], bound: &Bound) -> Vec<RuleTrace> {
    let mut trace = Vec::new();
    let site = Compilations::default().site(&bound.source, 0);
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
                let actions = (0..effect::actions(policy)).map(|action| (action, effect::rules(policy, action)));
                for (action, rules) in actions.filter(|(_, rules)| site.touched(rules).is_none()) {
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
    let mut forms = [&compiled.sql].into_iter().chain(compiled.few.as_ref().map(|few| &few.sql));
    forms
        .try_for_each(|form| crate::sql::parse_expression(&form.fill(Filling::Probe)).map(drop))
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
