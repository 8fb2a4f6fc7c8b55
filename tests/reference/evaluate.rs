//! The naive evaluator: one caller, one table, row by row.
//!
//! Every decision is taken anew from the documents' own words, for each caller and table; nothing is compiled, indexed or kept.

use crate::data::DAY;
use crate::mask;
use crate::predicate::place;
use crate::spec::{
    Audience, Body, By, Cell, Circumstance, Circumstances, Field, Kind, Mask, Match, Policy, Principal, Rule, Source,
    Subscription, SubscriptionKind, Table, Type, Vouched, World, below,
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: String,
    pub iam: String,
    pub groups: BTreeSet<Vouched>,
    pub attributes: BTreeMap<String, BTreeSet<Vouched>>,
    pub project: Option<String>,
    pub purposes: Vec<String>,
}

/// What is seen of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// It does not exist.
    Nothing,
    /// It is refused, with a hint.
    Hint,
    /// Rows: `None` = not shown; cells with whether a mask hides the value.
    Rows(Vec<Option<Vec<(Cell, bool)>>>),
}

/// A caller of the world; nothing when he may not act under the project.
pub fn caller(world: &World, user: &str, project: Option<&str>) -> Option<Caller> {
    let found = world.users.iter().find(|u| u.name == user).unwrap();
    let mut attributes: BTreeMap<String, BTreeSet<Vouched>> = BTreeMap::new();
    let mut give = |of: &BTreeMap<String, Vec<String>>, iam: &str| {
        for (name, values) in of {
            let values = values.iter().map(|v| (v.clone(), iam.to_owned()));
            attributes.entry(name.clone()).or_default().extend(values);
        }
    };
    give(&found.attributes, &found.iam);
    for (name, iam) in &found.groups {
        let group = world.groups.iter().find(|g| g.name == *name && g.iam == *iam).unwrap();
        give(&group.attributes, &group.iam);
    }
    let mut caller = Caller {
        user: found.name.clone(),
        iam: found.iam.clone(),
        groups: found.groups.iter().cloned().collect(),
        attributes,
        project: None,
        purposes: Vec::new(),
    };
    if let Some(key) = project {
        let project = world.projects.iter().find(|p| p.key == key).unwrap();
        if !project.members.iter().any(|member| names(member, &caller)) {
            return None;
        }
        caller.project = Some(key.to_owned());
        caller.purposes = project.purposes.clone();
    }
    Some(caller)
}

fn from(wanted: Option<&String>, iam: &str) -> bool {
    wanted.is_none_or(|w| w == iam)
}

fn names(principal: &Principal, caller: &Caller) -> bool {
    let iam = principal.iam.as_ref();
    if principal.is_group {
        caller.groups.iter().any(|(name, of)| *name == principal.name && from(iam, of))
    } else {
        caller.user == principal.name && from(iam, &caller.iam)
    }
}

fn acts_under(caller: &Caller, purpose: &str) -> bool {
    caller.purposes.iter().any(|own| below(purpose, own))
}

/// Semantics 4: yes, no, or (nothing) it cannot be told because the data source does not say when it was made.
pub fn applies(policy: &Policy, table: &Table, source: &Source) -> Option<bool> {
    if policy.staged {
        return Some(false);
    }
    let same = |a: &Principal, b: &Principal| {
        a.is_group == b.is_group && a.name == b.name && (a.iam.is_none() || b.iam.is_none() || a.iam == b.iam)
    };
    if !policy.owners.is_empty() && !policy.owners.iter().any(|w| source.owners.iter().any(|o| same(w, o))) {
        return Some(false);
    }
    match &policy.circumstances {
        Circumstances::Absent => Some(true),
        Circumstances::Null => Some(false),
        Circumstances::List { all, list } => {
            let met: Vec<Option<bool>> = list.iter().map(|c| circumstance(c, table, source)).collect();
            let decisive = !all.unwrap_or(false);
            if met.contains(&Some(decisive)) {
                Some(decisive)
            } else if met.contains(&None) {
                None
            } else {
                Some(!decisive)
            }
        }
    }
}

fn circumstance(circumstance: &Circumstance, table: &Table, source: &Source) -> Option<bool> {
    let carried = || source.column_tags.values().flatten();
    Some(match circumstance {
        Circumstance::Tag(tag) => source.tags.iter().any(|t| below(tag, t)),
        Circumstance::ColumnTag(tag) => carried().any(|t| below(tag, t)),
        Circumstance::ColumnRegex(regex, insensitive) => {
            table.columns.iter().any(|(c, _)| matches(regex, *insensitive, c))
        }
        Circumstance::AnyTag => carried().next().is_some(),
        Circumstance::NoTags => carried().next().is_none(),
        Circumstance::Time(start, end) => {
            let made = source.created_at?;
            start.is_none_or(|s| made >= s) && end.is_none_or(|e| made <= e)
        }
    })
}

fn matches(regex: &str, insensitive: bool, name: &str) -> bool {
    mask::pattern(regex, insensitive).is_match(name)
}

/// Whether the field selector takes the column.
pub fn selects(field: &Field, column: &str, source: &Source) -> bool {
    let tags = source.column_tags.get(column).map(Vec::as_slice).unwrap_or_default();
    match field {
        Field::ColumnTag(tag) => tags.iter().any(|t| below(tag, t)),
        Field::ColumnRegex(regex, insensitive) => matches(regex, *insensitive, column),
        Field::AnyTag => !tags.is_empty(),
        Field::NoTags => tags.is_empty(),
        Field::All => true,
    }
}

/// Semantics 3 and 5: whether the conditions hold, any of them or all.
fn holds(audience: &Audience, caller: &Caller) -> bool {
    let mut met: Vec<bool> = Vec::new();
    for (name, iam) in &audience.groups {
        met.push(caller.groups.iter().any(|(g, of)| g == name && from(iam.as_ref(), of)));
    }
    for (name, value, iam) in &audience.attributes {
        let values = caller.attributes.get(name);
        met.push(values.into_iter().flatten().any(|(v, of)| v == value && from(iam.as_ref(), of)));
    }
    met.extend(audience.purposes.iter().map(|p| acts_under(caller, p)));
    if audience.all.unwrap_or(false) { met.iter().all(|m| *m) } else { met.contains(&true) }
}

fn touches(rule: &Rule, caller: &Caller) -> bool {
    rule.inclusions.as_ref().is_none_or(|a| holds(a, caller))
        && !rule.exceptions.as_ref().is_some_and(|a| holds(a, caller))
}

/// Semantics 3.
fn subscribed(world: &World, table: &Table, source: &Source, caller: &Caller) -> Sight {
    let mut policies: Vec<(&Subscription, bool)> = Vec::new();
    for policy in &world.policies {
        if let (Body::Subscription(subscription), applies) = (&policy.body, applies(policy, table, source)) {
            match applies {
                Some(false) => {}
                Some(true) => policies.push((subscription, true)),
                None => policies.push((subscription, false)),
            }
        }
    }
    let met = |(subscription, told): &(&Subscription, bool)| {
        let who = match &subscription.kind {
            SubscriptionKind::Anyone => true,
            SubscriptionKind::Manual => false,
            SubscriptionKind::Entitlements(audience) => holds(audience, caller),
        };
        *told && who && subscription.automatic.unwrap_or(true)
    };
    let mut open = false;
    let mut unmet_reads = Vec::new();
    for write in [false, true] {
        let kind: Vec<_> = policies.iter().filter(|(s, _)| s.write == write).collect();
        let sharing = |s: &Subscription| s.share && !matches!(s.kind, SubscriptionKind::Manual);
        let shared = kind.iter().any(|p| sharing(p.0) && met(p));
        let unmet: Vec<&Subscription> =
            kind.iter().filter(|p| !(met(p) || sharing(p.0) && shared)).map(|p| p.0).collect();
        open |= !kind.is_empty() && unmet.is_empty();
        if !write {
            unmet_reads = unmet;
        }
    }
    let grants: Vec<_> = world
        .grants
        .iter()
        .filter(|g| g.source == table.name && names(&g.to, caller) && g.expires.is_none_or(|e| world.now < e))
        .collect();
    let denied = grants.iter().any(|g| g.state == "denied");
    let granted = grants.iter().any(|g| matches!(g.state, "subscribed" | "owner" | "expert" | "ingest"));
    if !denied && (open || granted) {
        return Sight::Rows(Vec::new());
    }
    if !unmet_reads.is_empty() && unmet_reads.iter().all(|s| s.discovery) { Sight::Hint } else { Sight::Nothing }
}

/// A mask that could be put on a column.
struct Candidate<'a> {
    /// All columns under the rule.
    together: Vec<usize>,
    rank: u8,
    key: &'a str,
    order: usize,
    mask: &'a Mask,
    conditional: Option<&'a crate::spec::Predicate>,
}

const NULL: Mask = Mask::Null;

/// What the caller sees of the table.
pub fn see(world: &World, table: &Table, caller: &Caller, master: &[u8]) -> Sight {
    let Some(source) = world.sources.get(table.name) else { return Sight::Nothing };
    let sight = subscribed(world, table, source, caller);
    if !matches!(sight, Sight::Rows(_)) {
        return sight;
    }
    let mut rules: Vec<(&str, &Rule)> = Vec::new();
    for policy in &world.policies {
        // What cannot be told is enforced.
        if let (Body::Data(actions), Some(true) | None) = (&policy.body, applies(policy, table, source)) {
            for chain in actions {
                rules.extend(chain.iter().find(|rule| touches(rule, caller)).map(|rule| (policy.key.as_str(), rule)));
            }
        }
    }
    let own = salt(master, &format!("source:{}", table.name));
    let shared = caller.project.as_ref().and_then(|key| world.projects.iter().find(|p| p.key == *key));
    let joins =
        shared.filter(|p| p.masked_joins && (p.sources.is_empty() || p.sources.iter().any(|s| s == table.name)));
    let salt = joins.map_or_else(|| own.clone(), |p| salt(master, &format!("project:{}", p.key)));
    let rows = table.rows.iter().map(|row| {
        let shown = rules.iter().all(|(_, rule)| row_shown(rule, world, table, source, row, caller, &own));
        shown.then(|| masked_row(&rules, table, source, row, caller, &salt))
    });
    Sight::Rows(rows.collect())
}

fn salt(master: &[u8], what: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&Sha256::digest(master)).unwrap();
    mac.update(what.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn row_shown(
    rule: &Rule,
    world: &World,
    table: &Table,
    source: &Source,
    row: &[Cell],
    caller: &Caller,
    salt: &[u8],
) -> bool {
    let column = |name: &str| table.columns.iter().position(|(c, _)| *c == name).unwrap();
    match &rule.kind {
        Kind::Masking { .. } => true,
        Kind::Where(predicate) => predicate.holds(table, source, row, caller) == Some(true),
        Kind::Entitlement { all, matches } => {
            let mut tests = Vec::new();
            for one in matches {
                tests.extend(entitled(one, table, source, row, caller));
            }
            if all.unwrap_or(false) { tests.iter().all(|t| *t) } else { tests.contains(&true) }
        }
        Kind::Time { newer, seconds } => {
            let Some(name) = source.event_time else { return false };
            let Some(text) = &row[column(name)] else { return false };
            let at: jiff::Timestamp = format!("{}Z", text.trim_end_matches("+00").replace(' ', "T")).parse().unwrap();
            let edge = world.now - seconds;
            if *newer { at.as_second() >= edge } else { at.as_second() < edge }
        }
        Kind::Minimization(percent) => {
            let Some(name) = source.high_cardinality else { return false };
            let Some(text) = &row[column(name)] else { return false };
            let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
            u32::from_be_bytes(digest[..4].try_into().unwrap()) % 100 < *percent
        }
        Kind::Purpose { all, purposes } => {
            let met: Vec<bool> = purposes
                .iter()
                .map(|p| if p == "<ANY PURPOSE>" { !caller.purposes.is_empty() } else { acts_under(caller, p) })
                .collect();
            if all.unwrap_or(false) { met.iter().all(|m| *m) } else { met.contains(&true) }
        }
    }
}

/// One test for each compared column; one that fails when there is none.
fn entitled(one: &Match, table: &Table, source: &Source, row: &[Cell], caller: &Caller) -> Vec<bool> {
    let own: Vec<&Vouched> = match &one.attribute {
        None => caller.groups.iter().collect(),
        Some(name) => caller.attributes.get(name).into_iter().flatten().collect(),
    };
    let test = |at: usize| {
        let Some(value) = &row[at] else { return false };
        let value = match (table.columns[at].1, value.as_str()) {
            (Type::Bool, "t") => "true".to_owned(),
            (Type::Bool, _) => "false".to_owned(),
            // An instant reads differently in every time zone, so it equals no name.
            (Type::Instant, _) => return false,
            (_, text) => text.to_owned(),
        };
        own.iter().any(|(v, iam)| *v == value && from(one.iam.as_ref(), iam))
    };
    let places: Vec<usize> = match &one.by {
        By::Column(name) => table.columns.iter().position(|(c, _)| c == name).into_iter().collect(),
        By::Tag(tag) => {
            let carries =
                |name: &str| source.column_tags.get(name).is_some_and(|tags| tags.iter().any(|t| below(tag, t)));
            table.columns.iter().enumerate().filter(|(_, (c, _))| carries(c)).map(|(at, _)| at).collect()
        }
    };
    if places.is_empty() { vec![false] } else { places.into_iter().map(test).collect() }
}

/// Semantics 6: the most restrictive mask first. One under a condition masks the rows where it holds, or is NULL, and leaves the others
/// to the next; one that changes nothing about a value leaves it to the next too, so that no added policy uncovers what another hides.
fn masked_row(
    rules: &[(&str, &Rule)],
    table: &Table,
    source: &Source,
    row: &[Cell],
    caller: &Caller,
    salt: &[u8],
) -> Vec<(Cell, bool)> {
    let mut out = Vec::new();
    for (at, (name, ty)) in table.columns.iter().enumerate() {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for (order, (key, rule)) in rules.iter().enumerate() {
            if let Kind::Masking { fields, mask, conditional } = &rule.kind
                && fields.iter().any(|f| selects(f, name, source))
            {
                let together = table.columns.iter().enumerate();
                let together = together.filter(|(_, (c, _))| fields.iter().any(|f| selects(f, c, source)));
                candidates.push(Candidate {
                    together: together.map(|(at, _)| at).collect(),
                    rank: rank(mask, *ty),
                    key,
                    order,
                    mask,
                    conditional: conditional.as_ref(),
                });
            }
        }
        // The built-in policy on columns tagged New.
        if source.column_tags.get(name).is_some_and(|tags| tags.iter().any(|t| below("New", t))) {
            candidates.push(Candidate {
                together: Vec::new(),
                rank: 0,
                key: "",
                order: 0,
                mask: &NULL,
                conditional: None,
            });
        }
        candidates.sort_by_key(|c| {
            let coarse = if c.rank == 0 { 0 } else { coarse(c.mask) };
            (c.rank, Reverse(coarse), c.conditional.is_some(), c.key.to_owned(), c.order)
        });
        let mut cell = (row[at].clone(), false);
        for candidate in candidates {
            if candidate.conditional.is_some_and(|p| p.holds(table, source, row, caller) == Some(false)) {
                continue;
            }
            if let Mask::Anonymous(level, probability) = candidate.mask {
                // k rows alike are enough to show them; a probability of p percent is one row in 100/p, rounded up.
                let k = level.or(probability.map(|p| 100_u64.div_ceil(p))).unwrap_or(5);
                let alike = |other: &&Vec<Cell>| candidate.together.iter().all(|c| other[*c] == row[*c]);
                if table.rows.iter().filter(alike).count() as u64 >= k {
                    continue;
                }
            }
            let value = mask::apply(candidate.mask, *ty, &row[at], salt).unwrap_or(None);
            if value == row[at] && leaves(candidate.mask) {
                continue;
            }
            cell = (value, row[at].is_some());
            break;
        }
        out.push(cell);
    }
    out
}

/// Whether a mask may leave a value as it is.
fn leaves(mask: &Mask) -> bool {
    matches!(mask, Mask::Regex { .. } | Mask::Bucket(_) | Mask::Truncate(_))
}

/// Which of two groupings shows less: larger buckets, longer units.
fn coarse(mask: &Mask) -> u64 {
    match mask {
        Mask::Bucket(size) => size.parse::<f64>().map_or(0, f64::to_bits),
        Mask::Truncate(unit) => {
            let units = ["MIN", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];
            1 + units.iter().position(|u| u == unit).unwrap_or(0) as u64
        }
        _ => 0,
    }
}

/// Restrictiveness; a mask that does not fit the type is NULL.
fn rank(mask: &Mask, ty: Type) -> u8 {
    if mask::apply(mask, ty, &None, &[]).is_err() {
        return 0;
    }
    match mask {
        // A rare combination is NULL; where it is frequent the others have their say. So a Constant added later shows nothing more.
        Mask::Null | Mask::Anonymous(..) => 0,
        Mask::Constant(_) => 1,
        Mask::Hash => 2,
        Mask::Regex { .. } => 6,
        Mask::Bucket(_) | Mask::Truncate(_) => 7,
    }
}

/// Whether the document set is valid: every predicate means one column wherever it is read. Such a set is what is compared; others
/// are refused as a whole.
pub fn valid(world: &World, tables: &[Table]) -> bool {
    for policy in &world.policies {
        let Body::Data(actions) = &policy.body else { continue };
        for table in tables {
            let source = &world.sources[table.name];
            if applies(policy, table, source) == Some(false) {
                continue;
            }
            for rule in actions.iter().flatten() {
                let predicate = match &rule.kind {
                    Kind::Where(predicate) => Some(predicate),
                    Kind::Masking { fields, conditional, .. } => conditional
                        .as_ref()
                        .filter(|_| table.columns.iter().any(|(c, _)| fields.iter().any(|f| selects(f, c, source)))),
                    Kind::Entitlement { matches, .. } => {
                        let known = |m: &Match| match &m.by {
                            By::Column(name) => table.columns.iter().any(|(c, _)| c == name),
                            By::Tag(_) => true,
                        };
                        if !matches.iter().all(known) {
                            return false;
                        }
                        None
                    }
                    Kind::Time { .. } | Kind::Minimization(_) | Kind::Purpose { .. } => None,
                };
                let operands = predicate.map(crate::spec::Predicate::operands).unwrap_or_default();
                let text = |at: Option<usize>| at.is_some_and(|at| table.columns[at].1 == Type::Text);
                let well_typed = |o: &crate::spec::Operand| {
                    let at = place(o, table, source);
                    // Tagged operands are only compared as texts.
                    matches!(o, crate::spec::Operand::Column(_)) && at.is_some() || text(at)
                };
                if !operands.into_iter().all(well_typed) {
                    return false;
                }
            }
        }
    }
    true
}

/// Seconds in whole days, for rules whose edges lie between the rows.
pub fn days(count: usize) -> i64 {
    count as i64 * DAY
}
