//! A world as the generator and the evaluator know it: plain values, in the words of the documents.

use std::collections::{BTreeMap, BTreeSet};

/// A value as PostgreSQL prints it; `None` = NULL.
pub type Cell = Option<String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    /// `varchar(8)`.
    Varchar,
    Int2,
    Int4,
    Int8,
    /// `numeric(10,2)`.
    Numeric,
    Date,
    /// `timestamptz`, printed in UTC.
    Instant,
    Uuid,
    Bool,
}

/// A table of the warehouse; the same in every world of a run.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<(&'static str, Type)>,
    pub rows: Vec<Vec<Cell>>,
}

/// How a world registers a table.
#[derive(Debug, Clone)]
pub struct Source {
    pub tags: Vec<String>,
    pub column_tags: BTreeMap<&'static str, Vec<String>>,
    pub owners: Vec<Principal>,
    pub created_at: Option<i64>,
    pub event_time: Option<&'static str>,
    pub high_cardinality: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    pub is_group: bool,
    pub name: String,
    pub iam: Option<String>,
}

/// A value and the provider that vouches for it.
pub type Vouched = (String, String);

#[derive(Debug, Clone)]
pub struct Group {
    pub name: String,
    pub iam: String,
    pub attributes: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub iam: String,
    pub groups: Vec<Vouched>,
    pub attributes: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct Project {
    pub key: String,
    pub purposes: Vec<String>,
    pub sources: Vec<String>,
    pub members: Vec<Principal>,
    pub masked_joins: bool,
}

#[derive(Debug, Clone)]
pub struct Grant {
    pub source: String,
    pub to: Principal,
    pub state: &'static str,
    pub write: bool,
    /// Seconds since 1970.
    pub expires: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub key: String,
    pub staged: bool,
    pub circumstances: Circumstances,
    pub owners: Vec<Principal>,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Circumstances {
    Absent,
    Null,
    List { all: Option<bool>, list: Vec<Circumstance> },
}

#[derive(Debug, Clone)]
pub enum Circumstance {
    Tag(String),
    ColumnTag(String),
    ColumnRegex(String, bool),
    AnyTag,
    NoTags,
    /// Seconds since 1970, inclusive.
    Time(Option<i64>, Option<i64>),
}

#[derive(Debug, Clone)]
pub enum Body {
    Subscription(Subscription),
    /// Actions, each a chain of rules.
    Data(Vec<Vec<Rule>>),
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub kind: SubscriptionKind,
    pub automatic: Option<bool>,
    pub discovery: bool,
    pub share: bool,
    pub write: bool,
}

#[derive(Debug, Clone)]
pub enum SubscriptionKind {
    Anyone,
    Manual,
    Entitlements(Audience),
}

#[derive(Debug, Clone, Default)]
pub struct Audience {
    pub all: Option<bool>,
    pub groups: Vec<(String, Option<String>)>,
    pub attributes: Vec<(String, String, Option<String>)>,
    pub purposes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub kind: Kind,
    pub exceptions: Option<Audience>,
    pub inclusions: Option<Audience>,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Masking { fields: Vec<Field>, mask: Mask, conditional: Option<Predicate> },
    Entitlement { all: Option<bool>, matches: Vec<Match> },
    Where(Predicate),
    Time { newer: bool, seconds: i64 },
    Minimization(u32),
    Purpose { all: Option<bool>, purposes: Vec<String> },
}

#[derive(Debug, Clone)]
pub enum Field {
    ColumnTag(String),
    ColumnRegex(String, bool),
    AnyTag,
    NoTags,
    All,
}

#[derive(Debug, Clone)]
pub struct Match {
    /// The caller's groups, or the values of an attribute.
    pub attribute: Option<String>,
    pub by: By,
    pub iam: Option<String>,
}

#[derive(Debug, Clone)]
pub enum By {
    Tag(String),
    Column(String),
}

#[derive(Debug, Clone)]
pub enum Mask {
    Null,
    Constant(String),
    Hash,
    Regex {
        regex: String,
        replacement: String,
        insensitive: bool,
        global: bool,
    },
    /// `kLevel`, `reIdProbability`, or neither.
    Anonymous(Option<u64>, Option<u64>),
    Bucket(&'static str),
    Truncate(&'static str),
}

/// A condition over a row and the caller.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// `column = 'text'`, for texts.
    Equals(Operand, String),
    /// `column op number`, for numbers.
    Compare(Operand, &'static str, i64),
    /// `column op date 'YYYY-MM-DD'`.
    Dated(Operand, &'static str, String),
    IsNull(Operand, bool),
    In(Operand, Vec<String>, bool),
    /// `column LIKE 'prefix%'`.
    Begins(Operand, String),
    /// A truth value by itself.
    Flag(Operand),
    /// `column = @username`.
    Mine(Operand),
    InGroups(Vec<String>),
    HasAttribute(String, String),
    GroupsContain(Operand),
    ValuesContain(String, Operand),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
}

/// A column by name, or by the only tag of its kind.
#[derive(Debug, Clone)]
pub enum Operand {
    Column(&'static str),
    Tagged(String),
}

#[derive(Debug, Clone)]
pub struct World {
    pub seed: u64,
    /// Seconds since 1970 when the world was made.
    pub now: i64,
    pub tags: BTreeSet<String>,
    pub purposes: Vec<String>,
    pub sources: BTreeMap<&'static str, Source>,
    pub groups: Vec<Group>,
    pub users: Vec<User>,
    pub projects: Vec<Project>,
    pub policies: Vec<Policy>,
    pub grants: Vec<Grant>,
}

/// `carried` is `selector` or lies below it.
pub fn below(selector: &str, carried: &str) -> bool {
    let mut wanted = selector.split('.');
    let mut has = carried.split('.');
    loop {
        match (wanted.next(), has.next()) {
            (None, _) => return true,
            (Some(w), Some(h)) if w == h => {}
            _ => return false,
        }
    }
}
