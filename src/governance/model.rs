//! The declared world, validated by itself (names that documents use among themselves exist) but not yet bound to a
//! warehouse catalog. Source of every shape: the V2 API of the seeds; of every meaning: `docs/semantics` of the project.

use crate::governance::places::Places;
use crate::types::QualifiedName;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a thing was declared, for diagnostics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The document's file.
    pub file: Arc<PathBuf>,
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
}

/// Everything the governance directory declares.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// Data documents, one per `connectionKey`.
    pub data: Vec<DataDocument>,
    /// Known tags (dotted paths), explicitly declared. Tags used by documents must be declared here or be a descendant or
    /// ancestor of a declared one; `Discovered` and `New` are built in.
    pub tags: BTreeSet<String>,
    /// Policies in order of `policyKey`.
    pub policies: Vec<Arc<Policy>>,
    /// Purposes and sub-purposes, by dotted name.
    pub purposes: Vec<Purpose>,
    /// Projects.
    pub projects: Vec<Project>,
    /// Explicit subscriptions.
    pub grants: Vec<Grant>,
    /// Summaries of data sources.
    pub fingerprints: Vec<Fingerprint>,
    /// Requests to undo the mask Reversible.
    pub unmask_requests: Vec<UnmaskRequest>,
    /// Policies with `circumstances: null` that owners applied.
    pub applied: Vec<Applied>,
    /// Documents of local policies: the data source's name and where.
    pub local: Vec<(String, Origin)>,
}

/// A policy that an owner applied to a data source (`POST /policy/global/applyPolicy` of seed 004, as a document).
#[derive(Debug, Clone)]
pub struct Applied {
    /// `policyKey`.
    pub policy: String,
    /// Data source name.
    pub data_source: String,
    /// Who applied it, when the document says.
    pub by: Option<String>,
    /// Where.
    pub origin: Origin,
}

/// One `data` document: the data sources of one connection.
#[derive(Debug, Clone)]
pub struct DataDocument {
    /// `connectionKey`: names a connection of the configuration.
    pub connection_key: String,
    /// `server` string for the `server` circumstance, `user@host:port/db`, when the document gives a connection.
    pub server: Option<String>,
    /// `connection.schema`: the schema of sources that name none, and the only one of which `all` takes the tables.
    pub schema: Option<String>,
    /// Name templates.
    pub name_template: NameTemplate,
    /// `options.tableTags`: put on every data source of the document.
    pub table_tags: Vec<String>,
    /// Document-wide owners.
    pub owners: Vec<Owner>,
    /// `sources`; `None` when absent = every table of the connection.
    pub sources: Option<Vec<Source>>,
    /// Where.
    pub origin: Origin,
}

/// `nameTemplate`: formats with `<tablename>`, `<schema>`, `<database>`.
#[derive(Debug, Clone, Default)]
pub struct NameTemplate {
    /// Data source name.
    pub data_source: Option<String>,
    /// Logical schema.
    pub schema: Option<String>,
    /// Logical table.
    pub table: Option<String>,
    /// Schema project name (kept, not used).
    pub schema_project: Option<String>,
}

/// An owner of a data source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// A group when true, a user otherwise.
    pub is_group: bool,
    /// Its name.
    pub name: String,
    /// Identity provider, when restricted.
    pub iam: Option<String>,
}

/// One entry of `sources`.
#[derive(Debug, Clone)]
pub enum Source {
    /// `all: true`: every table not named otherwise.
    All {
        /// Where.
        origin: Origin,
    },
    /// `table` in `schema`, or a `query`.
    Table(Box<TableSource>),
}

/// A registered SELECT that is a relation of its own (`query` of a source).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredQuery {
    /// The SELECT as written.
    pub sql: String,
    /// The schema that unqualified relations of it are in.
    pub schema: String,
    /// Where it is written.
    pub origin: Origin,
}

/// A registered table, or a query registered as one.
#[derive(Debug, Clone)]
pub struct TableSource {
    /// Remote relation; for a query, which has none, the name callers write.
    pub remote: QualifiedName,
    /// The SELECT that stands for the relation, when it is no relation of the warehouse.
    pub query: Option<DeclaredQuery>,
    /// `naming.datasource`.
    pub data_source: Option<String>,
    /// `naming.schema`: logical schema.
    pub logical_schema: Option<String>,
    /// `naming.table`: logical table.
    pub logical_table: Option<String>,
    /// Pinned columns: when given, only these exist in the data source.
    pub columns: Option<Vec<DeclaredColumn>>,
    /// `tags.table`.
    pub table_tags: Vec<String>,
    /// `tags.columns`: column name → tags.
    pub column_tags: Vec<(String, Vec<String>)>,
    /// Owners; replaces the document's when present.
    pub owners: Option<Vec<Owner>>,
    /// `eventTime` column role.
    pub event_time: Option<String>,
    /// `highCardinality` column role.
    pub high_cardinality: Option<String>,
    /// Creation instant of the data source (for the `time` circumstance), when declared (`createdAt`).
    pub created_at: Option<jiff::Timestamp>,
    /// `description`.
    pub description: Option<String>,
    /// `columnDescriptions`: column name → text.
    pub column_descriptions: Vec<(String, String)>,
    /// Where.
    pub origin: Origin,
}

/// A pinned column.
#[derive(Debug, Clone)]
pub struct DeclaredColumn {
    /// Name (remote and logical are the same in this version).
    pub name: String,
    /// Declared type, checked against the warehouse when present.
    pub data_type: Option<String>,
    /// `description`: shown as a comment.
    pub description: Option<String>,
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `policyKey`: unique.
    pub key: Arc<str>,
    /// `name`.
    pub name: String,
    /// `staged`: listed, not enforced.
    pub staged: bool,
    /// `deleted` or `disabled`: listed, not enforced.
    pub inactive: Option<Inactive>,
    /// `circumstances`.
    pub circumstances: Circumstances,
    /// `ownerRestrictions`: applies only to data sources owned by one of these.
    pub owner_restrictions: Vec<Owner>,
    /// What it does.
    pub body: PolicyBody,
    /// `certification`: kept for the API, without effect on enforcement.
    pub certification: Option<Certification>,
    /// Where.
    pub origin: Origin,
}

impl Policy {
    /// Why the policy is not enforced anywhere, when it is not.
    pub fn set_aside(&self) -> Option<&'static str> {
        match (self.staged, self.inactive) {
            (true, _) => Some("the policy is staged"),
            (false, Some(Inactive::Deleted)) => Some("the policy is deleted"),
            (false, Some(Inactive::Disabled)) => Some("the policy is disabled"),
            (false, None) => None,
        }
    }
}

/// Why a policy is not enforced although it is declared (V1 state flags of seed 004).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// `deleted: true`.
    Deleted,
    /// `disabled: true`.
    Disabled,
}

/// `certification` of a policy: who applies it must certify the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certification {
    /// What is certified.
    pub text: String,
    /// Short label.
    pub label: Option<String>,
    /// Tags put on certified data sources.
    pub tags: Vec<String>,
    /// Ask again on change.
    pub recertify: bool,
}

/// `type` and `actions`.
#[derive(Debug, Clone)]
pub enum PolicyBody {
    /// `type: subscription`.
    Subscription(Subscription),
    /// `type: data`: several independent actions, each an otherwise-chain of rules.
    Data(Vec<Action>),
}

/// Where a policy applies.
#[derive(Debug, Clone)]
pub enum Circumstances {
    /// `circumstances` absent: every data source.
    Everywhere,
    /// Explicit `null`: nowhere, until an owner applies it.
    OwnerApplied,
    /// A local policy: the data source of this name, and no other.
    Only(String),
    /// A list with its operator.
    When {
        /// True = all must hold; false (default) = any.
        all: bool,
        /// The list.
        list: Vec<Circumstance>,
    },
}

/// One circumstance.
#[derive(Debug, Clone)]
pub enum Circumstance {
    /// `tags`: the data source carries the tag (or a descendant).
    Tag(String),
    /// `columnTags`: a column carries the tag (or a descendant).
    ColumnTag(String),
    /// `columnRegex`: a column's name matches.
    ColumnRegex(Arc<regex::Regex>),
    /// `anyTag`: some column carries some tag.
    AnyTag,
    /// `noTags`: no column carries any tag.
    NoTags,
    /// `time`: the data source was created in the interval.
    Time {
        /// Inclusive start.
        start: Option<jiff::Timestamp>,
        /// Inclusive end.
        end: Option<jiff::Timestamp>,
    },
    /// `server`: the connection string equals this.
    Server(String),
}

/// A subscription policy.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Who.
    pub kind: SubscriptionKind,
    /// `automaticSubscription`: satisfied users are subscribed without asking. Default true for `anyone` and `entitlements`.
    pub automatic: bool,
    /// `allowDiscovery`: others get 42501 with a hint instead of 42P01.
    pub allow_discovery: bool,
    /// `shareResponsibility`: one of the sharers is enough.
    pub share_responsibility: bool,
    /// True when `accessGrant: WRITE`.
    pub write: bool,
    /// Free text.
    pub description: Option<String>,
}

/// `actions.type` of a subscription policy.
#[derive(Debug, Clone)]
pub enum SubscriptionKind {
    /// `anyone`.
    Anyone,
    /// `entitlements` with lists.
    Entitlements(Audience),
    /// `approval`: by a grant, which stands for a request that was approved.
    Approval(Vec<Approval>),
    /// `manual`: explicit grants only.
    Manual,
}

/// Who has to approve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// `requiredPermission`.
    pub permission: Permission,
    /// `specificApproverRequired`: the requester names the approver.
    pub specific: bool,
}

/// `requiredPermission` of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// `OWNER`: an owner of the data source.
    Owner,
    /// `GOVERNANCE`.
    Governance,
    /// `ADMIN`.
    Admin,
}

impl Permission {
    /// As documents spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Governance => "GOVERNANCE",
            Self::Admin => "ADMIN",
        }
    }
}

/// Conditions over groups, attributes and purposes.
#[derive(Debug, Clone, Default)]
pub struct Audience {
    /// True = all conditions must hold; false (default) = any.
    pub all: bool,
    /// Groups.
    pub groups: Vec<GroupCondition>,
    /// Attributes.
    pub attributes: Vec<AttributeCondition>,
    /// Purposes the caller acts under (a child satisfies its parent).
    pub purposes: Vec<String>,
    /// `advanced`: one boolean expression, then the only condition.
    pub advanced: Option<Arc<Expression>>,
}

impl Expression {
    /// Whether it holds for somebody of whom the two tests tell.
    pub fn holds(&self, in_group: &impl Fn(&str) -> bool, has: &impl Fn(&str, &str) -> bool) -> bool {
        match self {
            Self::InGroups(groups) => groups.iter().any(|group| in_group(group)),
            Self::HasAttribute(name, value) => has(name, value),
            Self::Not(inner) => !inner.holds(in_group, has),
            Self::All(parts) => parts.iter().all(|part| part.holds(in_group, has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(in_group, has)),
        }
    }

    /// The groups it names.
    pub fn groups(&self) -> Vec<&str> {
        match self {
            Self::InGroups(groups) => groups.iter().map(String::as_str).collect(),
            Self::HasAttribute(..) => Vec::new(),
            Self::Not(inner) => inner.groups(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::groups).collect(),
        }
    }
}

/// As it is written.
impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let joined = |f: &mut std::fmt::Formatter<'_>, parts: &[Self], word: &str| {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            write!(f, "({})", parts.join(word))
        };
        match self {
            Self::InGroups(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| quoted(group)).collect();
                write!(f, "@isInGroups({})", groups.join(", "))
            }
            Self::HasAttribute(name, value) => write!(f, "@hasAttribute({}, {})", quoted(name), quoted(value)),
            Self::Not(inner) => write!(f, "NOT {inner}"),
            Self::All(parts) => joined(f, parts, " AND "),
            Self::Any(parts) => joined(f, parts, " OR "),
        }
    }
}

/// An `advanced` entitlement expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `@isInGroups('a', …)`: member of one of them.
    InGroups(Vec<String>),
    /// `@hasAttribute('name', 'value')`.
    HasAttribute(String, String),
    /// `NOT`.
    Not(Box<Expression>),
    /// `AND`.
    All(Vec<Expression>),
    /// `OR`.
    Any(Vec<Expression>),
}

/// `member of group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCondition {
    /// Group name.
    pub name: String,
    /// Identity provider, when restricted.
    pub iam: Option<String>,
}

/// `attribute has value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeCondition {
    /// Attribute name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Identity provider, when restricted.
    pub iam: Option<String>,
}

/// One action: rules tried in order, the first whose audience holds the caller is applied and ends the chain.
#[derive(Debug, Clone)]
pub struct Action {
    /// The chain.
    pub rules: Vec<Rule>,
    /// Free text.
    pub description: Option<String>,
}

/// One rule of a data policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// For everyone except these.
    pub exceptions: Option<Audience>,
    /// Only for these.
    pub inclusions: Option<Audience>,
    /// Where.
    pub origin: Origin,
    /// Where its `predicate` or `conditionalPredicate` is written; the same as `origin` without one.
    pub predicate_places: Places,
}

/// `type` and `config` of a rule.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// `Masking`.
    Masking {
        /// Which columns.
        fields: Vec<FieldSelector>,
        /// How.
        mask: Mask,
        /// `conditionalPredicate`, as written.
        conditional: Option<String>,
    },
    /// `Row Restriction By User Entitlements`.
    RowByEntitlement {
        /// True = every match must hold; false = any.
        all: bool,
        /// The matches.
        matches: Vec<EntitlementMatch>,
    },
    /// `Row Restriction by Custom Where Clause`: the predicate as written.
    RowByWhere(String),
    /// `Time Restriction`.
    Time {
        /// True: rows newer than; false: older than.
        newer: bool,
        /// Seconds.
        seconds: u64,
        /// The column, instead of the data source's `eventTime`.
        column: Option<String>,
    },
    /// `Minimization`.
    Minimization {
        /// Percent of rows kept, 0–100.
        percent: u8,
        /// The column, instead of the data source's `highCardinality`.
        column: Option<String>,
    },
    /// `showRowsNever` (V1): no row at all.
    Never,
    /// `Purpose Restriction`.
    Purpose {
        /// True = all; false = any.
        all: bool,
        /// Purposes; the single entry `<ANY PURPOSE>` means any at all.
        purposes: Vec<String>,
    },
}

/// One match of a row restriction by entitlements.
#[derive(Debug, Clone)]
pub struct EntitlementMatch {
    /// What of the caller's the column is compared with.
    pub held: Held,
    /// The compared column.
    pub column: ColumnSelector,
    /// Identity provider, when restricted.
    pub iam: Option<String>,
}

/// What a caller has that rows may be matched with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// His groups.
    Groups,
    /// His values of this attribute.
    Attribute(String),
    /// The purposes he acts under.
    Purposes,
}

/// A column by tag or by name.
#[derive(Debug, Clone)]
pub enum ColumnSelector {
    /// The columns carrying the tag (or a descendant).
    Tag(String),
    /// The column of that name.
    Name(String),
}

/// `config.fields[]`.
#[derive(Debug, Clone)]
pub enum FieldSelector {
    /// `columnTags`.
    ColumnTag(String),
    /// `columnRegex`.
    ColumnRegex(Arc<regex::Regex>),
    /// `anyTag`.
    AnyTag,
    /// `noTags`.
    NoTags,
    /// `allColumns`.
    AllColumns,
    /// `column`: the column of that name (local policies).
    Column(String),
}

/// `maskingConfig`.
#[derive(Debug, Clone)]
pub enum Mask {
    /// `Null`.
    Null,
    /// `Constant`: text cast to the column's type.
    Constant(String),
    /// `Hash`.
    Hash,
    /// `Regular Expression`.
    Regex {
        /// POSIX/JS-style pattern, as written.
        regex: String,
        /// Replacement with `$1`.
        replacement: String,
        /// Ignore case.
        case_insensitive: bool,
        /// Every match, not the first.
        global: bool,
    },
    /// `Reversible`.
    Reversible,
    /// `Format Preserving Masking`.
    FormatPreserving,
    /// `Grouping` by number; the bucket as decimal text, validated > 0.
    GroupingNumber(String),
    /// `Grouping` by time.
    GroupingTime(TimePrecision),
    /// `Grouping` by what the column's [`Fingerprint`] says; NULL without one.
    GroupingFingerprint,
    /// `K-Anonymization`: NULL where the combination of the rule's columns occurs in fewer rows of the whole table than this.
    KAnonymization(u64),
    /// `Randomized Response` of categories: this percentage of rows, above 0 and at most 100, gets a random value of the domain.
    RandomizedCategory(f64),
    /// `Randomized Response` of numbers.
    RandomizedNumber {
        /// Standard deviation of the noise, in the column's unit.
        stddev: f64,
        /// Keep the result between the least and the greatest value of the column's [`Fingerprint`].
        clip: bool,
    },
}

/// `timePrecision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TimePrecision {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// A purpose or sub-purpose.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// Dotted name.
    pub name: String,
    /// Text to accept; `None` inherits or has none.
    pub acknowledgement: Option<String>,
    /// `reAcknowledgeRequired`: who accepted another text is asked again.
    pub re_acknowledge: bool,
    /// Where.
    pub origin: Origin,
}

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    /// `projectKey`.
    pub key: String,
    /// Name.
    pub name: String,
    /// Purposes by dotted name.
    pub purposes: Vec<String>,
    /// Data sources by name; `None` = not restricted.
    pub data_sources: Vec<String>,
    /// Members.
    pub members: Vec<Owner>,
    /// Anyone may act in it.
    pub open_to_anyone: bool,
    /// Members by entitlement (`subscriptionPolicy: entitlements`).
    pub entitlements: Option<Audience>,
    /// `allowMaskedJoins`.
    pub allow_masked_joins: bool,
    /// `equalization`: everybody in the project has the same groups and attributes.
    pub equalization: Option<Equalization>,
    /// `description`.
    pub description: Option<String>,
    /// Where.
    pub origin: Origin,
}

/// What members of an equalized project have instead of their own groups and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Equalization {
    /// What every member has.
    Common,
    /// These, and only who has all of them may act in the project.
    Given {
        /// Groups.
        groups: Vec<GroupCondition>,
        /// Attribute values.
        attributes: Vec<AttributeCondition>,
    },
}

/// An explicit subscription (`POST /dataSource/{id}/access` of the seeds, as a document).
#[derive(Debug, Clone)]
pub struct Grant {
    /// Data source name.
    pub data_source: String,
    /// To whom.
    pub grantee: Owner,
    /// State.
    pub state: GrantState,
    /// WRITE rather than READ.
    pub write: bool,
    /// Not valid at or after this instant.
    pub expiration: Option<jiff::Timestamp>,
    /// Who approved it, as far as the document tells.
    pub approvals: Vec<Approved>,
    /// Where.
    pub origin: Origin,
}

/// A summary of a data source, taken by `sqlveil fingerprint`; masks that need to know the range or the domain of a column read it here,
/// so that what they show does not depend on rows a caller may not see.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// Data source name.
    pub data_source: String,
    /// When it was taken.
    pub instant: jiff::Timestamp,
    /// Rows there were.
    pub rows: u64,
    /// Its columns.
    pub columns: Vec<ColumnFingerprint>,
    /// Where.
    pub origin: Origin,
}

/// What a fingerprint says of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFingerprint {
    /// Column.
    pub name: String,
    /// Least and greatest value, as PostgreSQL writes them (ISO dates, UTC).
    pub range: Option<(String, String)>,
    /// The domain of a column of few values; empty = not listed.
    pub values: Vec<String>,
    /// Where.
    pub origin: Origin,
}

/// One approval of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// By which permission.
    pub permission: Permission,
    /// By whom, when the document says.
    pub approver: Option<String>,
    /// Whether it has been given; a pending grant may wait for some.
    pub given: bool,
}

/// State of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GrantState {
    Subscribed,
    Owner,
    Expert,
    Ingest,
    Pending,
    Denied,
}

impl GrantState {
    /// Whether the state gives access.
    pub fn gives_access(self) -> bool {
        match self {
            Self::Subscribed | Self::Owner | Self::Expert | Self::Ingest => true,
            Self::Pending | Self::Denied => false,
        }
    }
}

/// A request to undo the mask Reversible (the unmask task of seed 001, as a document).
#[derive(Debug, Clone)]
pub struct UnmaskRequest {
    /// `requestKey`.
    pub key: String,
    /// Data source name.
    pub data_source: String,
    /// Column.
    pub column: String,
    /// Login name of who wants the values.
    pub requester: String,
    /// What for.
    pub reason: String,
    /// State.
    pub state: UnmaskState,
    /// Login name of who approved it.
    pub approved_by: Option<String>,
    /// The project under which the masked values were seen, when it allows masked joins.
    pub project: Option<String>,
    /// The masked values it is about; `None` = any of the column.
    pub values: Option<BTreeSet<String>>,
    /// Not valid at or after this instant.
    pub expiration: Option<jiff::Timestamp>,
    /// Where.
    pub origin: Origin,
}

/// State of an unmask request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UnmaskState {
    Pending,
    Approved,
    Denied,
    Completed,
}

/// True when `carried` is `selector` or a descendant of it (`A.B` matches selector `A`), per dotted segments.
pub fn tag_matches(selector: &str, carried: &str) -> bool {
    carried == selector || carried.strip_prefix(selector).is_some_and(|rest| rest.starts_with('.'))
}
