//! What the rules of policies do on data sources, compiled once for all data sources that are alike.
//!
//! In: the rules of an action, a data source. Out: [`Chain`]s, which hold in common what is equal: of 100,000 policies on 20,000 data
//! sources most are. Must never: give a data source what was compiled for one that differs in anything that compiling reads; to tell
//! two apart that are alike only costs memory.

use super::index::ancestors;
use super::mask::MaskSql;
use super::predicate::Compiled;
use super::rows::Rows;
use super::source::{DataSource, DictColumn};
use crate::governance::model::{Circumstances, FieldSelector, Mask, Policy, PolicyBody, Rule, RuleKind, tag_matches};
use crate::types::Oid;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// One action of a policy on a data source: rules tried in order.
#[derive(Clone)]
pub(crate) struct Chain {
    /// The policy.
    pub(crate) policy: Arc<Policy>,
    /// Its action, from 0.
    pub(crate) action: usize,
    /// What its rules do here, one by one.
    pub(crate) effects: Effects,
}

/// What the rules of a chain do.
pub(crate) type Effects = Arc<[Effect]>;

/// A rule with its compiled effect.
#[derive(Clone, Copy)]
pub(crate) struct BoundRule<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) effect: &'a Effect,
}

/// What a rule does here.
#[derive(Clone)]
pub(crate) enum Effect {
    /// Masks columns (by index into the dictionary); none when no column matches.
    Masks { masks: Vec<(usize, Arc<MaskSql>)>, conditional: Option<Compiled> },
    /// Hides rows.
    Rows(Rows),
    /// Hides every row from callers who act under none (or not all) of these.
    Purpose { all: bool, purposes: Vec<String> },
}

impl Chain {
    /// Of a local policy of the data source.
    pub(crate) fn local(&self) -> bool {
        matches!(self.policy.circumstances, Circumstances::Only(_))
    }

    /// Its rules, in order.
    pub(crate) fn rules(&self) -> impl ExactSizeIterator<Item = BoundRule<'_>> {
        let rules = rules(&self.policy, self.action);
        rules.iter().zip(&*self.effects).map(|(rule, effect)| BoundRule { rule, effect })
    }
}

/// The rules of an action.
pub(crate) fn rules(policy: &Policy, action: usize) -> &[Rule] {
    match &policy.body {
        PolicyBody::Subscription(_) => &[],
        PolicyBody::Data(actions) => actions.get(action).map_or(&[], |action| &action.rules),
    }
}

/// How many actions a policy has.
pub(crate) fn actions(policy: &Policy) -> usize {
    match &policy.body {
        PolicyBody::Subscription(_) => 0,
        PolicyBody::Data(actions) => actions.len(),
    }
}

/// A data source as rules look at it: the columns that carry each tag, and what tells it apart from others.
pub(crate) struct Site<'a> {
    /// The data source.
    pub(crate) source: &'a DataSource,
    /// Its place among those bound.
    pub(crate) index: usize,
    /// Columns by the tags they carry, and by all that these descend from.
    by_tag: HashMap<&'a str, Vec<usize>>,
    /// Each column's number among all there are.
    columns: Vec<usize>,
    /// The dictionary's number among all there are.
    dictionary: usize,
}

impl Site<'_> {
    /// The columns that any of the selectors takes, in order.
    fn selected(&self, fields: &[FieldSelector]) -> Vec<usize> {
        if let [FieldSelector::ColumnTag(tag)] = fields {
            return self.by_tag.get(tag.as_str()).cloned().unwrap_or_default();
        }
        let mut found = BTreeSet::new();
        for field in fields {
            match field {
                FieldSelector::ColumnTag(tag) => found.extend(self.by_tag.get(tag.as_str()).into_iter().flatten()),
                FieldSelector::ColumnRegex(_)
                | FieldSelector::AnyTag
                | FieldSelector::NoTags
                | FieldSelector::AllColumns
                | FieldSelector::Column(_) => {
                    let columns = self.source.columns.iter().enumerate();
                    found.extend(columns.filter(|(_, c)| selects(field, c)).map(|(at, _)| at));
                }
            }
        }
        found.into_iter().collect()
    }

    /// The columns that each of the rules masks; `None` when together they do nothing here: they do nothing but mask, and no column is
    /// theirs.
    pub(crate) fn touched(&self, rules: &[Rule]) -> Option<Vec<Vec<usize>>> {
        let mut touched = false;
        let masked = |rule: &Rule| match &rule.kind {
            RuleKind::Masking { fields, .. } => {
                let columns = self.selected(fields);
                touched |= !columns.is_empty();
                columns
            }
            RuleKind::RowByEntitlement { .. }
            | RuleKind::RowByWhere(_)
            | RuleKind::Time { .. }
            | RuleKind::Minimization { .. }
            | RuleKind::Never
            | RuleKind::Purpose { .. } => {
                touched = true;
                Vec::new()
            }
        };
        let columns = rules.iter().map(masked).collect();
        touched.then_some(columns)
    }
}

/// Whether a selector takes a column by more than its tags alone.
fn selects(field: &FieldSelector, column: &DictColumn) -> bool {
    match field {
        FieldSelector::ColumnTag(tag) => column.tags.iter().any(|t| tag_matches(tag, t)),
        FieldSelector::ColumnRegex(regex) => regex.is_match(&column.name),
        FieldSelector::AnyTag => !column.tags.is_empty(),
        FieldSelector::NoTags => column.tags.is_empty(),
        FieldSelector::AllColumns => true,
        FieldSelector::Column(wanted) => *wanted == column.name,
    }
}

/// How much of a data source compiling the rules of an action reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Reach {
    /// The masked columns.
    Columns,
    /// All columns with their tags and roles, whatever relation they are of.
    Dictionary,
    /// The relation itself.
    Relation,
}

/// What the rules of an action do, in numbers: equal numbers mean equal rules, but for whom they touch and which columns they choose.
#[derive(Clone, Copy)]
pub(crate) struct Doing {
    number: usize,
    reach: Reach,
}

/// Everything that compiling the rules of an action on a data source reads.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Inputs {
    doing: usize,
    /// Each rule's masked columns: place in the dictionary, and number.
    columns: Vec<Vec<(usize, Option<usize>)>>,
    /// How far they reach, and to what.
    reach: (Reach, usize),
}

/// All that enters a mask about its own column.
#[derive(PartialEq, Eq, Hash)]
struct ColumnInputs {
    name: String,
    type_oid: Oid,
    typmod: i32,
    collation: Oid,
    not_null: bool,
    /// The address of what is known of its values; held by the data source as long as anything is bound.
    fingerprint: Option<usize>,
}

/// What has been compiled so far.
#[derive(Default)]
pub(crate) struct Compilations {
    /// Numbers of what rules do, by its text.
    doings: HashMap<String, usize>,
    columns: HashMap<ColumnInputs, usize>,
    dictionaries: HashMap<Vec<usize>, usize>,
    tags: HashMap<String, usize>,
    /// The actions of policies, by the place of the policy.
    actions: HashMap<(usize, usize), Doing>,
    effects: HashMap<Inputs, Effects>,
    /// Masks that look at nothing but their column.
    masks: HashMap<(usize, usize), Arc<MaskSql>>,
}

/// The number of something that was perhaps seen before.
fn number<K: std::hash::Hash + Eq>(known: &mut HashMap<K, usize>, key: K) -> usize {
    let next = known.len();
    *known.entry(key).or_insert(next)
}

impl Compilations {
    /// Looks at a data source.
    pub(crate) fn site<'a>(&mut self, source: &'a DataSource, index: usize) -> Site<'a> {
        let mut by_tag: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, column) in source.columns.iter().enumerate() {
            for tag in column.tags.iter().flat_map(|tag| ancestors(tag)) {
                let carrying = by_tag.entry(tag).or_default();
                if carrying.last() != Some(&at) {
                    carrying.push(at);
                }
            }
        }
        let columns: Vec<usize> = source.columns.iter().map(|column| self.column(column)).collect();
        let mut dictionary = Vec::with_capacity(columns.len() * 2 + 4);
        for (column, of) in columns.iter().zip(&source.columns) {
            dictionary.push(*column);
            // Numbers of tags stand behind how many there are, so that no two sequences look alike.
            dictionary.push(of.tags.len());
            dictionary.extend(of.tags.iter().map(|tag| number(&mut self.tags, tag.clone())));
        }
        for role in [&source.event_time, &source.high_cardinality] {
            let role = role.as_ref().map(|column| self.column(column));
            dictionary.extend([usize::from(role.is_some()), role.unwrap_or_default()]);
        }
        let dictionary = number(&mut self.dictionaries, dictionary);
        Site { source, index, by_tag, columns, dictionary }
    }

    fn column(&mut self, column: &DictColumn) -> usize {
        let DictColumn { name, type_oid, typmod, collation, not_null, tags: _, fingerprint } = column;
        let inputs = ColumnInputs {
            name: name.clone(),
            type_oid: *type_oid,
            typmod: *typmod,
            collation: *collation,
            not_null: *not_null,
            fingerprint: fingerprint.as_ref().map(|f| Arc::as_ptr(f) as usize),
        };
        number(&mut self.columns, inputs)
    }

    /// What the rules of an action do.
    pub(crate) fn doing(&mut self, place: usize, action: usize, rules: &[Rule]) -> Doing {
        if let Some(doing) = self.actions.get(&(place, action)) {
            return *doing;
        }
        let text: Vec<String> = rules.iter().map(|rule| text(&rule.kind)).collect();
        let reach = rules.iter().map(|rule| reach(&rule.kind)).max().unwrap_or(Reach::Columns);
        let doing = Doing { number: number(&mut self.doings, format!("{text:?}")), reach };
        self.actions.insert((place, action), doing);
        doing
    }

    /// Everything that compiling the rules on the data source reads; `masked` = the columns of each.
    pub(crate) fn inputs(&self, doing: Doing, site: &Site<'_>, masked: &[Vec<usize>]) -> Inputs {
        let numbered = |at: &usize| (*at, site.columns.get(*at).copied());
        let reach = match doing.reach {
            Reach::Columns => (Reach::Columns, 0),
            Reach::Dictionary => (Reach::Dictionary, site.dictionary),
            Reach::Relation => (Reach::Relation, site.index),
        };
        let columns = masked.iter().map(|columns| columns.iter().map(numbered).collect()).collect();
        Inputs { doing: doing.number, columns, reach }
    }

    /// What was compiled of the same inputs.
    pub(crate) fn get(&self, inputs: &Inputs) -> Option<Effects> {
        self.effects.get(inputs).cloned()
    }

    /// Keeps what was compiled. Not for what is invalid, or was compiled with anything said: that is said of each data source.
    pub(crate) fn keep(&mut self, inputs: Inputs, effects: &Effects) {
        self.effects.insert(inputs, Arc::clone(effects));
    }

    /// A mask of a column of the data source, compiled now unless there is one.
    pub(crate) fn mask<E>(
        &mut self,
        mask: &Mask,
        site: &Site<'_>,
        at: usize,
        compile: impl FnOnce() -> Result<MaskSql, E>,
    ) -> Result<Arc<MaskSql>, E> {
        let column = site.columns.get(at).filter(|_| mask_reach(mask) == Reach::Columns);
        let Some(column) = column else { return compile().map(Arc::new) };
        let key = (number(&mut self.doings, format!("{mask:?}")), *column);
        if let Some(known) = self.masks.get(&key) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(compile()?);
        self.masks.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

/// What a rule does, but for whom it touches and which columns it chooses: those are looked at for themselves.
fn text(kind: &RuleKind) -> String {
    match kind {
        RuleKind::Masking { fields: _, mask, conditional } => format!("{mask:?} {conditional:?}"),
        RuleKind::RowByEntitlement { .. }
        | RuleKind::RowByWhere(_)
        | RuleKind::Time { .. }
        | RuleKind::Minimization { .. }
        | RuleKind::Never
        | RuleKind::Purpose { .. } => format!("{kind:?}"),
    }
}

fn reach(kind: &RuleKind) -> Reach {
    match kind {
        RuleKind::Masking { fields: _, mask, conditional } => {
            mask_reach(mask).max(conditional.as_deref().map_or(Reach::Columns, predicate_reach))
        }
        RuleKind::RowByWhere(predicate) => predicate_reach(predicate),
        RuleKind::RowByEntitlement { .. } | RuleKind::Time { .. } | RuleKind::Minimization { .. } => Reach::Dictionary,
        RuleKind::Never | RuleKind::Purpose { .. } => Reach::Columns,
    }
}

/// Masks that look at the rows of their relation, or at the key that tells them apart.
fn mask_reach(mask: &Mask) -> Reach {
    match mask {
        Mask::KAnonymization(_) | Mask::RandomizedCategory(_) | Mask::RandomizedNumber { .. } => Reach::Relation,
        Mask::Null
        | Mask::Constant(_)
        | Mask::Hash
        | Mask::Regex { .. }
        | Mask::Reversible
        | Mask::FormatPreserving
        | Mask::GroupingNumber(_)
        | Mask::GroupingTime(_)
        | Mask::GroupingFingerprint => Reach::Columns,
    }
}

/// A predicate may name the relation, by a name before a dot or in a sub-select. A dot in a literal names nothing, where it is sure to be
/// in one.
fn predicate_reach(predicate: &str) -> Reach {
    let plain = !["\"", "`", "--", "/*", "\\", "$"].iter().any(|mark| predicate.contains(mark));
    let outside = if plain { predicate.split('\'').step_by(2).collect() } else { predicate.to_owned() };
    let names = outside.contains('.') || predicate.to_ascii_lowercase().contains("select");
    if names { Reach::Relation } else { Reach::Dictionary }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::governance::model::{DataDocument, Declared, EntitlementMatch, Source, TimePrecision};
    use crate::policy::testing::*;
    use crate::policy::{Ruleset, Salts};
    use crate::types::QualifiedName;

    /// `hr.person`, one that is alike but for its name, and some that differ from it in one thing each.
    fn world() -> (Catalog, Vec<DataDocument>) {
        let mut catalog = catalog();
        let first = catalog.relations.get(&QualifiedName::new("hr", "person")).unwrap().clone();
        let mut document = person();
        let Some(Source::Table(person)) = document.sources.as_ref().unwrap().first().cloned() else { panic!() };
        for (number, name) in ["alike", "length", "null", "tag", "role", "less"].into_iter().enumerate() {
            let mut relation = (*first).clone();
            relation.name = QualifiedName::new("hr", name);
            relation.oid = Oid(60_000 + u32::try_from(number).unwrap());
            let mut table = person.clone();
            table.remote = relation.name.clone();
            match name {
                "length" => relation.columns[1].typmod = 24,
                "null" => relation.columns[1].not_null = true,
                "tag" => table.column_tags[1].1 = vec!["Elsewhere".to_owned()],
                "role" => table.high_cardinality = Some("big".to_owned()),
                "less" => drop(relation.columns.remove(5)),
                _ => {}
            }
            if name == "less" {
                table.event_time = Some("made".to_owned());
            }
            catalog.relations.insert(relation.name.clone(), Arc::new(relation));
            document.sources.as_mut().unwrap().push(Source::Table(table));
        }
        (catalog, vec![document])
    }

    /// A policy of every kind of rule and mask.
    fn policies() -> Vec<Arc<Policy>> {
        let masks = [
            Mask::Null,
            Mask::Constant("x".to_owned()),
            Mask::Hash,
            Mask::Regex { regex: "a".into(), replacement: "b".into(), case_insensitive: false, global: true },
            Mask::Reversible,
            Mask::FormatPreserving,
            Mask::GroupingNumber("10".to_owned()),
            Mask::GroupingTime(TimePrecision::Day),
            Mask::KAnonymization(3),
            Mask::RandomizedCategory(5.0),
        ];
        let held = crate::governance::model::Held::Groups;
        let column = crate::governance::model::ColumnSelector::Tag("Discovered".to_owned());
        let mut rules: Vec<Rule> = masks.into_iter().map(|mask| rule(masking("Discovered", mask))).collect();
        rules.push(rule(mask_column("ssn", Mask::Hash, Some("active"))));
        rules.push(rule(mask_column("ssn", Mask::Hash, Some("person.active"))));
        rules.push(rule(RuleKind::RowByWhere("id > 5".to_owned())));
        rules.push(rule(RuleKind::RowByWhere("@columnTagged('Discovered.Passport') = 'x'".to_owned())));
        rules.push(rule(RuleKind::RowByEntitlement {
            all: false,
            matches: vec![EntitlementMatch { held, column, iam: None }],
        }));
        rules.push(rule(RuleKind::Time { newer: true, seconds: 60, column: None }));
        rules.push(rule(RuleKind::Minimization { percent: 5, column: None }));
        rules.push(rule(RuleKind::Never));
        rules.push(rule(RuleKind::Purpose { all: false, purposes: vec!["P".to_owned()] }));
        let numbered = rules.into_iter().enumerate();
        let mut policies: Vec<Policy> =
            numbered.map(|(number, rule)| data_policy(&format!("p{number:02}"), vec![rule])).collect();
        policies.push(subscription("s", crate::governance::model::SubscriptionKind::Anyone));
        shared(policies)
    }

    fn bound(
        catalog: &Catalog,
        data: Vec<DataDocument>,
        most: usize,
    ) -> (Ruleset, Vec<crate::governance::problem::Problem>) {
        let declared = Declared { data, policies: policies(), ..Declared::default() };
        Ruleset::bind_within(&declared, "main", catalog, &Salts::new(b"s"), most)
    }

    #[test]
    fn beside_others_a_data_source_is_bound_as_it_is_alone() {
        let (catalog, data) = world();
        let (all, _) = bound(&catalog, data.clone(), usize::MAX);
        let sources = data[0].sources.as_ref().unwrap();
        assert_eq!(sources.len(), 7);
        for one in sources {
            let Source::Table(table) = one else { panic!() };
            let alone = DataDocument { sources: Some(vec![one.clone()]), ..data[0].clone() };
            let (alone, _) = bound(&catalog, vec![alone], usize::MAX);
            assert!(all.same_for_everyone(&alone, &table.remote), "{}", table.remote);
        }
    }

    #[test]
    fn what_is_alike_is_held_once() {
        let (catalog, data) = world();
        let (all, _) = bound(&catalog, data, usize::MAX);
        let chains = |name: &str| {
            let bound = all.binding.bound.iter().find(|b| b.source.remote.name == name).unwrap();
            bound.chains.iter().map(|chain| (chain.policy.key.to_string(), chain.effects.as_ptr())).collect()
        };
        let (first, alike): (Vec<_>, Vec<_>) = (chains("person"), chains("alike"));
        let apart: Vec<&str> =
            first.iter().zip(&alike).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str()).collect();
        assert_eq!((first.len(), alike.len()), (19, 19));
        // Those that look at the rows or the key of their relation, that name it, or that have something said of them.
        assert_eq!(apart, ["p08", "p09", "p11"]);
    }

    #[test]
    fn dots_outside_literals_may_name_the_relation() {
        for predicate in ["a > 1", "@columnTagged('A.B') = 'it''s x.y'", "@attributes('a.b') = ''"] {
            assert_eq!(predicate_reach(predicate), Reach::Dictionary, "{predicate}");
        }
        for predicate in
            ["t.a > 1", "'x' = t.a", "\"it's\" = 1 AND t.a = 'x'", "-- it's\nt.a = 'x'", "EXISTS (SELECT 1)"]
        {
            assert_eq!(predicate_reach(predicate), Reach::Relation, "{predicate}");
        }
    }

    #[test]
    fn too_many_are_refused_and_not_bound() {
        let (catalog, data) = world();
        let (all, problems) = bound(&catalog, data, 50);
        let errors: Vec<_> =
            problems.iter().filter(|p| p.is_error() && p.message.contains("limits.bindings")).collect();
        assert_eq!(errors.len(), 1, "{problems:?}");
        assert!(errors[0].message.contains("more than 50 times") && errors[0].message.contains("and 4 more"));
        let left: Vec<bool> = all.binding.bound.iter().map(|b| b.chains.is_empty() && !b.invalid.is_empty()).collect();
        assert_eq!(left, [false, false, true, true, true, true, true]);
    }
}
