//! Worlds by chance.

use crate::data::DAY;
use crate::dice::Dice;
use crate::evaluate::days;
use crate::spec::*;
use std::collections::{BTreeMap, BTreeSet};

const TAGS: &[&str] = &[
    "Discovered.Entity",
    "Discovered.Entity.Name",
    "Discovered.Entity.Date",
    "PII",
    "PII.Ssn",
    "PII.Ssn.Last4",
    "Money",
    "Region",
    "New",
    "Discovered.EntityX",
];
const TABLE_TAGS: &[&str] = &["Open", "Open.Wide", "Secret", "Secret.Top", "Finance"];
const GROUPS: &[&str] = &["Staff", "Sales", "Support", "7"];
const IAMS: &[&str] = &["local", "okta"];
const ATTRIBUTES: &[&str] = &["city", "level"];
const VALUES: &[&str] = &["Bonn", "Köln", "O'Hara", "7", "x\\y", "true", "{a,b}"];
const PURPOSES: &[&str] = &["Fraud", "Fraud.Cards", "Marketing", "Marketing.Mail", "Audit"];
const PATTERNS: &[&str] = &["^re", "NOTE|code", "t", "^amount$", "^b", "zzz"];
const PRECISIONS: &[&str] = &["MIN", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];
/// Patterns that PostgreSQL's engine and the evaluator's read alike, with replacements.
const REPLACED: &[(&str, &str)] = &[
    ("^.", "X"),
    ("[0-9]", ""),
    ("[a-c]+", "_"),
    ("([a-z])-([0-9])", "$2-$1"),
    ("([A-Z])", "<$1>"),
    ("o", r"\1"),
    (".*-", "***"),
    ("zzz", "y"),
];
const COLUMNS: &[(&str, Type)] =
    &[("region", Type::Text), ("qty", Type::Int4), ("born", Type::Date), ("flag", Type::Bool), ("id", Type::Int4)];

/// A world over the tables.
pub fn world(seed: u64, tables: &[Table], now: i64) -> World {
    let mut g = Generator { dice: Dice::new(seed), now };
    let groups = g.groups();
    let users = g.users(&groups);
    let mut principals: Vec<Principal> = Vec::new();
    for group in &groups {
        principals.push(Principal { is_group: true, name: group.name.clone(), iam: g.iam_of(&group.iam) });
    }
    for user in &users {
        principals.push(Principal { is_group: false, name: user.name.clone(), iam: g.iam_of(&user.iam) });
    }
    let sources = tables.iter().map(|table| (table.name, g.source(table, &principals))).collect();
    let mut world = World {
        seed,
        now,
        tags: TAGS.iter().chain(TABLE_TAGS).filter(|t| **t != "New").map(|t| (*t).to_owned()).collect(),
        purposes: PURPOSES.iter().map(|p| (*p).to_owned()).collect(),
        sources,
        groups,
        users,
        projects: g.projects(tables, &principals),
        policies: Vec::new(),
        grants: g.grants(tables, &principals),
    };
    let count = 4 + g.dice.roll(14);
    let mut number = 0;
    while world.policies.len() < count {
        number += 1;
        let policy = g.policy(number, &principals);
        world.policies.push(policy);
        if !crate::evaluate::valid(&world, tables) {
            world.policies.pop();
        }
    }
    world
}

/// One more data policy for a world, valid in it.
pub fn another(world: &World, tables: &[Table], seed: u64) -> Policy {
    let mut g = Generator { dice: Dice::new(seed), now: world.now };
    loop {
        let key = format!("{} another", g.dice.pick(&["a", "m", "z"]));
        let policy = Policy { staged: false, ..g.data_policy(key, &[]) };
        let mut with = world.clone();
        with.policies.push(policy.clone());
        if crate::evaluate::valid(&with, tables) {
            return policy;
        }
    }
}

struct Generator {
    dice: Dice,
    now: i64,
}

impl Generator {
    fn text(&mut self, of: &[&str]) -> String {
        self.dice.pick(of).to_owned()
    }

    fn texts(&mut self, of: &[&str], chance: usize) -> Vec<String> {
        self.dice.some(of, chance).into_iter().map(str::to_owned).collect()
    }

    fn maybe<T>(&mut self, chance: usize, value: T) -> Option<T> {
        self.dice.percent(chance).then_some(value)
    }

    fn iam_of(&mut self, iam: &str) -> Option<String> {
        self.maybe(30, iam.to_owned())
    }

    fn any_iam(&mut self) -> Option<String> {
        let iam = self.text(IAMS);
        self.maybe(20, iam)
    }

    fn operator(&mut self) -> Option<bool> {
        let all = self.dice.percent(50);
        self.maybe(70, all)
    }

    fn attributes(&mut self, chance: usize) -> BTreeMap<String, Vec<String>> {
        let mut out = BTreeMap::new();
        for name in ATTRIBUTES {
            let values = self.texts(VALUES, 25);
            if self.dice.percent(chance) && !values.is_empty() {
                out.insert((*name).to_owned(), values);
            }
        }
        out
    }

    fn groups(&mut self) -> Vec<Group> {
        let mut out = Vec::new();
        for name in GROUPS {
            for iam in IAMS {
                if *iam == "local" || self.dice.percent(30) {
                    let attributes = self.attributes(30);
                    out.push(Group { name: (*name).into(), iam: (*iam).into(), attributes });
                }
            }
        }
        out
    }

    fn users(&mut self, groups: &[Group]) -> Vec<User> {
        let all: Vec<Vouched> = groups.iter().map(|g| (g.name.clone(), g.iam.clone())).collect();
        (0..5)
            .map(|number| User {
                name: format!("u{number}"),
                iam: self.text(IAMS),
                groups: self.dice.some(&all, 35),
                attributes: self.attributes(60),
            })
            .collect()
    }

    fn source(&mut self, table: &Table, principals: &[Principal]) -> Source {
        let mut column_tags = BTreeMap::new();
        let chance = self.dice.pick(&[0, 30, 50, 70]);
        for (column, _) in &table.columns {
            if self.dice.percent(chance) {
                let mut tags: BTreeSet<String> = BTreeSet::from([self.text(TAGS)]);
                if self.dice.percent(25) {
                    tags.insert(self.text(TAGS));
                }
                // The built-in policy would hide too much for the others to be seen.
                if self.dice.percent(80) {
                    tags.remove("New");
                }
                if !tags.is_empty() {
                    column_tags.insert(*column, tags.into_iter().collect());
                }
            }
        }
        let has = |name: &'static str| table.columns.iter().any(|(c, _)| *c == name).then_some(name);
        let wanted = self.dice.pick(&["id", "region", "ref", "qty"]);
        let made = self.now - days(self.dice.roll(100));
        Source {
            tags: self.texts(TABLE_TAGS, 30),
            column_tags,
            owners: self.dice.some(principals, 15),
            created_at: self.maybe(80, made),
            event_time: has("seen").filter(|_| self.dice.percent(85)),
            high_cardinality: has(wanted).filter(|_| self.dice.percent(85)),
        }
    }

    fn projects(&mut self, tables: &[Table], principals: &[Principal]) -> Vec<Project> {
        (0..3)
            .map(|number| {
                let names: Vec<String> = tables.iter().map(|t| t.name.to_owned()).collect();
                Project {
                    key: format!("p{number}"),
                    purposes: self.texts(PURPOSES, 35),
                    sources: if self.dice.percent(40) { Vec::new() } else { self.dice.some(&names, 60) },
                    members: self.dice.some(principals, 40),
                    masked_joins: self.dice.percent(50),
                }
            })
            .collect()
    }

    fn grants(&mut self, tables: &[Table], principals: &[Principal]) -> Vec<Grant> {
        let mut out = Vec::new();
        for table in tables {
            for to in self.dice.some(principals, 8) {
                let state =
                    self.dice.pick(&["subscribed", "subscribed", "owner", "expert", "ingest", "pending", "denied"]);
                let far = if self.dice.percent(50) { 10 * DAY } else { -DAY };
                let expires = self.maybe(40, self.now + far);
                let known = |g: &Grant| g.source == table.name && g.to == to;
                if out.iter().any(known) {
                    continue;
                }
                out.push(Grant { source: table.name.into(), to, state, write: self.dice.percent(20), expires });
            }
        }
        out
    }

    fn policy(&mut self, number: usize, principals: &[Principal]) -> Policy {
        let key = format!("{} {number}", self.dice.pick(&["a", "m", "z"]));
        if number == 1 || self.dice.percent(12) {
            return self.subscription_policy(key, number == 1, principals);
        }
        self.data_policy(key, principals)
    }

    fn subscription_policy(&mut self, key: String, first: bool, principals: &[Principal]) -> Policy {
        // Most worlds begin with a policy that lets most people in; what nobody sees tells nothing.
        let kind = match self.dice.roll(if first { 3 } else { 8 }) {
            0..=2 => SubscriptionKind::Anyone,
            3 => SubscriptionKind::Manual,
            _ => SubscriptionKind::Entitlements(self.audience(false)),
        };
        let automatic =
            (!matches!(kind, SubscriptionKind::Manual) && self.dice.percent(30)).then(|| self.dice.percent(80));
        let subscription = Subscription {
            automatic,
            discovery: self.dice.percent(40),
            share: !matches!(kind, SubscriptionKind::Manual) && self.dice.percent(30),
            write: self.dice.percent(10),
            kind,
        };
        let circumstances = if first { Circumstances::Absent } else { self.circumstances() };
        let owners = if first { Vec::new() } else { self.owners(principals) };
        Policy { key, staged: self.dice.percent(8), circumstances, owners, body: Body::Subscription(subscription) }
    }

    fn data_policy(&mut self, key: String, principals: &[Principal]) -> Policy {
        let actions = 1 + usize::from(self.dice.percent(25));
        let body = (0..actions).map(|_| (0..1 + self.dice.roll(3)).map(|_| self.rule()).collect()).collect();
        Policy {
            key,
            staged: self.dice.percent(10),
            circumstances: self.circumstances(),
            owners: self.owners(principals),
            body: Body::Data(body),
        }
    }

    fn owners(&mut self, principals: &[Principal]) -> Vec<Principal> {
        if principals.is_empty() || !self.dice.percent(8) {
            return Vec::new();
        }
        vec![self.dice.pick(principals)]
    }

    fn circumstances(&mut self) -> Circumstances {
        if self.dice.percent(25) {
            return Circumstances::Absent;
        }
        if self.dice.percent(3) {
            return Circumstances::Null;
        }
        let count = 1 + self.dice.roll(3);
        let list = (0..count).map(|_| self.circumstance()).collect();
        Circumstances::List { all: self.operator(), list }
    }

    fn circumstance(&mut self) -> Circumstance {
        match self.dice.roll(10) {
            0..=2 => Circumstance::Tag(self.text(TABLE_TAGS)),
            3..=5 => Circumstance::ColumnTag(self.text(TAGS)),
            6 => Circumstance::ColumnRegex(self.text(PATTERNS), self.dice.percent(50)),
            7 => Circumstance::AnyTag,
            8 => Circumstance::NoTags,
            _ => {
                let start = self.now - days(20 + self.dice.roll(80));
                let end = start + days(self.dice.roll(60));
                let start = self.maybe(70, start);
                Circumstance::Time(start, if start.is_none() { Some(end) } else { self.maybe(70, end) })
            }
        }
    }

    fn audience(&mut self, purposes: bool) -> Audience {
        loop {
            let groups = self.texts(GROUPS, 30).into_iter().map(|g| (g, self.any_iam())).collect();
            let mut attributes = Vec::new();
            if self.dice.percent(50) {
                attributes.push((self.text(ATTRIBUTES), self.text(VALUES), self.any_iam()));
            }
            let purposes = if purposes { self.texts(PURPOSES, 15) } else { Vec::new() };
            let audience = Audience { all: self.operator(), groups, attributes, purposes };
            if !(audience.groups.is_empty() && audience.attributes.is_empty() && audience.purposes.is_empty()) {
                return audience;
            }
        }
    }

    fn rule(&mut self) -> Rule {
        let kind = self.kind();
        let mut rule = Rule { kind, exceptions: None, inclusions: None };
        match self.dice.roll(4) {
            0 => rule.exceptions = Some(self.audience(true)),
            1 => rule.inclusions = Some(self.audience(true)),
            2 if self.dice.percent(30) => {
                rule.inclusions = Some(self.audience(true));
                rule.exceptions = Some(self.audience(true));
            }
            _ => {}
        }
        rule
    }

    fn kind(&mut self) -> Kind {
        match self.dice.roll(20) {
            0..=11 => Kind::Masking {
                fields: (0..1 + self.dice.roll(2)).map(|_| self.field()).collect(),
                mask: self.mask(),
                conditional: self.dice.percent(30).then(|| self.predicate(2)),
            },
            12..=13 => Kind::Where(self.predicate(3)),
            14..=15 => Kind::Entitlement {
                all: self.operator(),
                matches: (0..1 + self.dice.roll(2)).map(|_| self.matching()).collect(),
            },
            16 => Kind::Time { newer: self.dice.percent(50), seconds: 3600 * (1 + self.dice.roll(24 * 50) as i64) },
            17 => Kind::Minimization(self.dice.pick(&[0, 10, 50, 90, 100])),
            _ if self.dice.percent(25) => {
                Kind::Purpose { all: self.operator(), purposes: vec!["<ANY PURPOSE>".into()] }
            }
            _ => {
                let mut purposes = self.texts(PURPOSES, 30);
                if purposes.is_empty() {
                    purposes.push(self.text(PURPOSES));
                }
                Kind::Purpose { all: self.operator(), purposes }
            }
        }
    }

    fn field(&mut self) -> Field {
        match self.dice.roll(10) {
            0..=3 => Field::ColumnTag(self.text(TAGS)),
            4..=6 => Field::ColumnRegex(self.text(PATTERNS), self.dice.percent(50)),
            7 => Field::AnyTag,
            8 => Field::NoTags,
            _ => Field::All,
        }
    }

    fn mask(&mut self) -> Mask {
        match self.dice.roll(14) {
            0 => Mask::Null,
            12 => Mask::Anonymous(Some(self.dice.pick(&[2, 3, 9])), None),
            13 => {
                let probability = self.dice.pick(&[50, 30, 7]);
                Mask::Anonymous(None, self.maybe(70, probability))
            }
            1..=2 => Mask::Constant(self.text(&["XXXX", "424242", "0", "2001-02-03", "it's {1}", "-1"])),
            3..=5 => Mask::Hash,
            6..=8 => {
                let (regex, replacement) = self.dice.pick(REPLACED);
                Mask::Regex {
                    regex: regex.into(),
                    replacement: replacement.into(),
                    insensitive: self.dice.percent(40),
                    global: self.dice.percent(50),
                }
            }
            9..=10 => Mask::Bucket(self.dice.pick(&["1", "10", "7", "0.5", "2.5", "100", "1000000"])),
            _ => Mask::Truncate(self.dice.pick(PRECISIONS)),
        }
    }

    fn matching(&mut self) -> Match {
        let by = if self.dice.percent(50) {
            By::Tag(self.text(TAGS))
        } else {
            By::Column(self.dice.pick(&["region", "qty", "flag", "born", "id"]).to_owned())
        };
        let attribute = self.text(ATTRIBUTES);
        Match { attribute: self.maybe(50, attribute), by, iam: self.any_iam() }
    }

    fn predicate(&mut self, depth: usize) -> Predicate {
        if depth > 0 && self.dice.percent(40) {
            let (a, b) = (Box::new(self.predicate(depth - 1)), Box::new(self.predicate(depth - 1)));
            return match self.dice.roll(3) {
                0 => Predicate::And(a, b),
                1 => Predicate::Or(a, b),
                _ => Predicate::Not(a),
            };
        }
        let text = || Operand::Column("region");
        let text = if self.dice.percent(20) { Operand::Tagged(self.text(TAGS)) } else { text() };
        let number = Operand::Column(self.dice.pick(&["qty", "id"]));
        let ops = ["<", "<=", ">", ">=", "=", "<>"];
        match self.dice.roll(13) {
            0..=1 => Predicate::Equals(text, self.text(crate::data::TEXTS)),
            2..=4 => Predicate::Compare(number, self.dice.pick(&ops), self.dice.roll(41) as i64 - 20),
            5 => Predicate::Dated(
                Operand::Column("born"),
                self.dice.pick(&ops),
                crate::data::date(self.dice.roll(20_000) as i64 - 3_000),
            ),
            6 => Predicate::IsNull(Operand::Column(self.dice.pick(COLUMNS).0), self.dice.percent(50)),
            7 => {
                let values = self.texts(crate::data::TEXTS, 30);
                if values.is_empty() {
                    Predicate::Flag(Operand::Column("flag"))
                } else {
                    Predicate::In(text, values, self.dice.percent(60))
                }
            }
            8 => Predicate::Begins(text, self.text(&["S", "a1", "", "B", "Ä"])),
            9 => Predicate::InGroups(vec![self.text(GROUPS), self.text(GROUPS)]),
            10 => Predicate::HasAttribute(self.text(ATTRIBUTES), self.text(VALUES)),
            11 => Predicate::GroupsContain(text),
            _ if self.dice.percent(50) => Predicate::Mine(text),
            _ => Predicate::ValuesContain(self.text(ATTRIBUTES), text),
        }
    }
}
