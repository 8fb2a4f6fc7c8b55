//! From text to what is sent: the pure middle `sql → resolve → policy → rewrite → seal`, and its cache.
//!
//! In: a statement string and [`PlanInputs`]. Out: one [`Plan`] per statement. Must never: be computed from anything that is not in
//! [`PlanInputs`] (INVARIANT complete-key).

pub mod bounds;
mod cache;
mod configured;
pub mod explain;
mod interned;
mod lock;
mod open;
pub mod outline;
mod planner;
mod point;
mod scratch;
pub mod settings;
mod statement;
pub mod touched;
mod variant;
mod write;

pub use planner::{Counts, Planner};
pub use write::{Named, Writing};

use crate::catalog::scratch::{Change, Scratch};
use crate::error::Refusal;
use crate::identity::Caller;
use crate::seal::{Parametrized, Sealed, Values};
use crate::telemetry::{Kind, Stages};
use crate::types::{Oid, QualifiedName};
use crate::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use touched::Touched;

/// Every input of a plan besides the statement's text. The cache key is all of it.
#[derive(Clone)]
pub struct PlanInputs {
    /// Parameter types declared in Parse; empty for the simple protocol.
    pub param_types: Vec<Oid>,
    /// Who asks, acting under which project.
    pub caller: Arc<Caller>,
    /// Snapshot of catalog, policies and identities.
    pub world: Arc<World>,
    /// The session as the statement sees it.
    pub session: Arc<SessionView>,
    /// Process id given in BackendKeyData (for `pg_backend_pid()`). It is another one in every session: a plan that holds it says so
    /// ([`Plan::holds_pid`]), and only then is it part of the key.
    pub backend_pid: i32,
}

/// What of a session changes the meaning of a statement. The proxy holds these settings itself; upstream's own
/// `search_path` stays pinned to `pg_catalog, pg_temp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionView {
    /// `search_path` as set (text for SHOW).
    pub search_path_text: String,
    /// `search_path` parsed: schema names in order, `"$user"` already replaced by the login name.
    pub search_path: Vec<String>,
    /// Database name as the client gave it.
    pub database: String,
    /// `sqlveil.project`, empty when none.
    pub project: String,
    /// `sqlveil.user`, empty when the login acts for itself.
    pub user: String,
    /// What the login may do for others.
    pub acts: Acts,
    /// Longest `statement_timeout` that may be set, in milliseconds; `None` = none.
    pub longest: Option<u32>,
    /// It moves between sessions of the warehouse: what it sets is kept, to be set again in the next.
    pub moves: bool,
    /// The session's own temporary tables.
    pub scratch: Arc<Scratch>,
}

/// What a login may do for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Acts {
    /// It may act for others: what it sets for one must not hold for the next.
    pub others: bool,
    /// It may say for whom in a signed `application_name`.
    pub signs_name: bool,
}

/// What is sent for one statement and how its answer is treated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The only text that may go upstream.
    pub sealed: Sealed,
    /// The text holds the session's process id.
    pub holds_pid: bool,
    /// What the statement does to the session once it completes.
    pub effect: Effect,
    /// When set, the verb of CommandComplete is replaced by this whole tag (`SHOW` for a SHOW answered by a SELECT).
    pub tag: Option<&'static str>,
    /// Rewritten positions back to the caller's text.
    pub positions: PositionMap,
    /// How errors of the warehouse are shown.
    pub errors: ErrorPolicy,
    /// Notices to send once per session and data source: (data source, message).
    pub notices: Vec<(Arc<str>, String)>,
    /// What the client gets in place of the warehouse's rows.
    pub instead: Option<Shown>,
    /// What it reads and writes, for the audit record.
    pub touched: Arc<Touched>,
    /// True when the statement returns rows (Describe answers RowDescription).
    pub returns_rows: bool,
    /// Functions whose words are for the caller.
    pub quotable: Quotable,
    /// The columns that come of a query, by name and type, as far as they are known.
    pub gives: Option<Arc<[Given]>>,
    /// What it writes; `None` when it only reads.
    pub writing: Option<Arc<Writing>>,
    /// What it may leave in the warehouse's session besides its effect.
    pub leaves: Leaves,
    /// `World::version` decided under.
    pub world_version: u64,
    /// Names a column that is nowhere to be found, so that the warehouse refuses it.
    pub lacks_column: bool,
    /// The decision holds until this instant (exclusive).
    pub valid_until: Option<SystemTime>,
    /// The one table of the warehouse that it reads or writes, when it is about one alone.
    pub table: Option<Oid>,
    /// Another way to send it.
    pub repeated: Option<Repeated>,
}

/// A statement as one of many that differ in numbers alone, which the warehouse would plan alike: instead of its text, these values can be
/// sent for one that was prepared.
#[derive(Debug, Clone)]
pub struct Repeated {
    /// What they have in common.
    pub text: Arc<Parametrized>,
    /// What this one has of its own.
    pub values: Values,
}

impl Plan {
    /// Whether its decision has not run out.
    pub fn in_time(&self) -> bool {
        self.valid_until.is_none_or(|until| SystemTime::now() < until)
    }

    /// What kind of statement is sent, by its first word, which is ours.
    pub fn kind(&self) -> Kind {
        match self.tag {
            // What is answered by a query of ours.
            Some(tag) => Kind::of_word(tag),
            None => match Kind::of_word(self.sealed.as_str()) {
                Kind::With if self.writing.is_none() => Kind::Select,
                Kind::Other if self.sealed.as_str().is_empty() => Kind::Empty,
                Kind::Other if self.sealed.as_str().starts_with('(') => Kind::Select,
                kind => kind,
            },
        }
    }

    /// Bytes of memory it takes, about, without what it shares with others.
    fn memory(&self) -> usize {
        let names = self.touched.memory() + self.gives.as_ref().map_or(0, |gives| gives.len() * 48);
        let writing = self.writing.as_ref().map_or(0, |writing| {
            writing.shown.values().map(|named| (named.columns.len() + named.constraints.len()) * 64 + 256).sum()
        });
        size_of::<Self>() + self.sealed.as_str().len() + size_of_val(&*self.positions.pairs) + names + writing
    }

    /// Whether both send the same text and treat its answer in the same way.
    fn same(&self, other: &Self) -> bool {
        // Destructured so that a new field cannot be forgotten here.
        let Self {
            sealed,
            holds_pid,
            effect,
            tag,
            positions,
            errors,
            notices,
            instead,
            touched,
            returns_rows,
            quotable,
            gives,
            writing,
            leaves,
            world_version,
            lacks_column,
            valid_until,
            table,
            // Follows from the text, and not every plan of a text knows it.
            repeated: _,
        } = self;
        (sealed, holds_pid, effect, tag, errors, notices, instead, touched)
            == (
                &other.sealed,
                &other.holds_pid,
                &other.effect,
                &other.tag,
                &other.errors,
                &other.notices,
                &other.instead,
                &other.touched,
            )
            && (returns_rows, quotable, gives, writing, leaves, world_version, lacks_column, valid_until, table)
                == (
                    &other.returns_rows,
                    &other.quotable,
                    &other.gives,
                    &other.writing,
                    &other.leaves,
                    &other.world_version,
                    &other.lacks_column,
                    &other.valid_until,
                    &other.table,
                )
            && positions.same(&other.positions, sealed.as_str().len())
    }
}

/// What a statement may leave in the warehouse's session besides its [`Effect`], once its transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing: it reads tables, and calls nothing but functions that leave nothing.
    Nothing,
    /// States of sequences, what functions and triggers do: nothing that the next user may find.
    Traces,
    /// Something that the caller may count on, and that cannot be put into another session.
    Ties,
}

/// Functions that errors may quote; what others of the warehouse say may be of any row of any table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotable {
    /// Those outside `pg_catalog` that the statement calls itself.
    pub calls: Arc<BTreeSet<QualifiedName>>,
    /// [`crate::catalog::Catalog::own_sql`].
    pub own_sql: Arc<BTreeSet<String>>,
}

/// A column that comes of a query: its name, and its type when that is known.
pub type Given = (String, Option<Oid>);

/// Rows of one column that are said in place of the warehouse's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// These.
    Rows(Arc<[String]>),
    /// The outline of the statement that is executed, in this form.
    Executed(outline::Form),
}

/// How errors of the warehouse are shown for a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorPolicy {
    /// Some relation hides something: DETAIL, table/column/constraint fields are dropped.
    pub hides: bool,
    /// A mask or predicate may itself raise: data errors (class 22, and others that may quote values) become one canonical text.
    pub canonical_data_errors: bool,
}

/// Where what stands in the rewritten statement stands in the caller's whole string, in byte offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PositionMap {
    /// Offset in the rewritten statement and in the caller's string, sorted by the first.
    pairs: Arc<[(u32, u32)]>,
    /// How much longer or shorter literals of the rewritten statement are than those that `pairs` knows.
    sent: Vec<Gap>,
    /// The same of the caller's string.
    caller: Vec<Gap>,
}

/// A literal that has another length now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it began in the text that is known.
    pub at: usize,
    /// Its length there.
    pub before: usize,
    /// Its length now.
    pub now: usize,
}

impl PositionMap {
    /// From pairs of offsets in the rewritten statement and in the caller's string.
    pub fn new(mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup_by_key(|p| p.0);
        Self { pairs: pairs.into(), ..Self::default() }
    }

    /// The same places in texts of which literals have other lengths.
    pub fn with_gaps(&self, sent: Vec<Gap>, caller: Vec<Gap>) -> Self {
        Self { pairs: Arc::clone(&self.pairs), sent, caller }
    }

    /// Whether both lead from each of the first `bytes` places to the same.
    fn same(&self, other: &Self, bytes: usize) -> bool {
        (0..bytes).all(|at| self.to_caller(at) == other.to_caller(at))
    }

    /// The caller's byte offset for a byte offset in the sealed text: exact when known, else none.
    pub fn to_caller(&self, rewritten: usize) -> Option<usize> {
        let (mut longer, mut shorter) = (0, 0);
        for gap in &self.sent {
            let at = (gap.at + longer).checked_sub(shorter)?;
            if rewritten <= at {
                break;
            }
            if rewritten < at + gap.now {
                return None;
            }
            longer += gap.now;
            shorter += gap.before;
        }
        let key = u32::try_from((rewritten + shorter).checked_sub(longer)?).ok()?;
        let found = self.pairs.binary_search_by_key(&key, |p| p.0).ok()?;
        let known = self.pairs.get(found).map(|p| p.1 as usize)?;
        let before = self.caller.iter().filter(|gap| gap.at < known);
        let (longer, shorter) = before.fold((0, 0), |(l, s), gap| (l + gap.now, s + gap.before));
        (known + longer).checked_sub(shorter)
    }
}

/// What a completed statement does to the proxy's own picture of the session. Applied when its CommandComplete arrives;
/// settings follow the transaction (undone by ROLLBACK) as in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing the proxy keeps.
    None,
    /// A setting the proxy holds (`search_path`, `sqlveil.project`, `sqlveil.user`): new value, `None` = default.
    Set {
        /// Lower-case name.
        name: &'static str,
        /// Value as text.
        value: Option<String>,
        /// SET LOCAL.
        local: bool,
    },
    /// A setting of the warehouse's session is changed by a login that may act for others.
    Forwarded {
        /// What is set.
        name: String,
        /// Back to its default.
        back: bool,
        /// SET LOCAL.
        local: bool,
    },
    /// The same by `set_config`.
    Configured {
        /// What is set.
        name: String,
        /// The SET that it stands for; `None`: back to its default.
        statement: Option<Sealed>,
        /// For the transaction.
        local: bool,
    },
    /// `application_name` is set by a login that may sign it.
    Acting {
        /// The signed text; `None` for a name that is not signed: the login acts for itself.
        signed: Option<String>,
        /// SET LOCAL.
        local: bool,
    },
    /// RESET ALL: every setting the proxy holds goes back to its default.
    ResetAll,
    /// DISCARD ALL: settings, prepared statements, cursors.
    DiscardAll,
    /// BEGIN / START TRANSACTION.
    Begin,
    /// COMMIT / END.
    Commit,
    /// ROLLBACK / ABORT (with AND CHAIN the next transaction begins at once; status comes from upstream).
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// RELEASE.
    Release(String),
    /// PREPARE: the inner statement's text (of the caller), to be decided again at EXECUTE, and its declared parameter types.
    Prepare {
        /// Statement name.
        name: String,
        /// The whole PREPARE statement as the caller wrote it.
        sql: String,
    },
    /// EXECUTE of a statement made by PREPARE (or Parse) earlier: the session re-decides it before sending.
    Execute {
        /// Statement name.
        name: String,
    },
    /// DEALLOCATE one, or all.
    Deallocate(Option<String>),
    /// DECLARE CURSOR: the whole statement as the caller wrote it, to be decided again at FETCH.
    Declare {
        /// Cursor name.
        name: String,
        /// The whole DECLARE statement.
        sql: String,
    },
    /// FETCH or MOVE: the session re-decides the cursor's statement before sending.
    Fetch {
        /// Cursor name.
        name: String,
    },
    /// CLOSE one cursor, or all.
    CloseCursor(Option<String>),
    /// Temporary tables of the session are made, changed or dropped.
    Scratch(Change),
}

/// The session's side while a string of several statements is planned: what each statement sees, and a chance to refuse.
pub trait Progress {
    /// Inputs for the next statement, after the effects of those before it.
    fn inputs(&self) -> Result<PlanInputs, Refusal>;
    /// Takes note of a planned statement's effect on the statements after it; refuses what cannot be admitted
    /// (EXECUTE of an unknown or no longer valid statement).
    fn admit(&mut self, plan: &Arc<Plan>) -> Result<(), Refusal>;
    /// Is told before a text is planned that takes its time; not called where a plan was kept.
    fn takes_long(&self) {}
    /// Takes note of how long planning took; not called where a plan was kept.
    fn planned(&mut self, _stages: &Stages) {}
}
