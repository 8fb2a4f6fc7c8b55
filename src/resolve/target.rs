//! What a statement that writes means for the relation it writes: its permit, and what the rewriter adds to the statement.
//!
//! In: nothing; [`super::write`], [`super::merge`] and [`super::returning`] fill these in. Out: what [`crate::rewrite`] and
//! [`crate::seal`] read. Must never: hold a target whose permit does not allow writing.

use crate::error::Refusal;
use crate::policy::permit::Permitted;
use std::collections::BTreeMap;

/// How a relation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Insert,
    Update,
    Delete,
    Merge,
}

/// One relation that a statement writes.
#[derive(Debug)]
pub struct Target {
    /// The permit: readable and writable.
    pub permitted: Permitted,
    /// How it is written.
    pub verb: Verb,
    /// The column list an INSERT without one gets.
    pub columns: Option<Vec<String>>,
    /// Which conjuncts of WHERE (of a MERGE: ON) never raise, in their order.
    pub split: Vec<bool>,
    /// Number of the check that a row in conflict is visible (ON CONFLICT DO UPDATE).
    pub conflict: Option<usize>,
    /// The check of new rows.
    pub new_rows: Option<NewRows>,
    /// Values that must differ from the mask of what they replace, by the location of their target.
    pub guards: BTreeMap<i32, Guard>,
    /// Checks of a MERGE's actions, by their place in the list.
    pub actions: BTreeMap<usize, Action>,
    /// The column lists that INSERT actions of a MERGE without one get, by place.
    pub implied: BTreeMap<usize, Vec<String>>,
}

impl Target {
    /// A relation that is written, with nothing to add.
    pub fn alone(permitted: Permitted, verb: Verb) -> Self {
        Self {
            permitted,
            verb,
            columns: None,
            split: Vec::new(),
            conflict: None,
            new_rows: None,
            guards: BTreeMap::new(),
            actions: BTreeMap::new(),
            implied: BTreeMap::new(),
        }
    }
}

/// New rows are checked where RETURNING shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRows {
    /// Number of the check.
    pub check: usize,
    /// Which item of RETURNING, stars taken apart, carries it; `None`: the statement has no RETURNING and gets one.
    pub at: Option<usize>,
    /// The type with modifier that the item keeps.
    pub type_sql: Option<String>,
}

/// A value for a masked column: refused when it is the mask that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The column.
    pub column: String,
    /// Number of the check.
    pub check: usize,
    /// A literal or parameter, which needs a type where it stands.
    pub untyped: bool,
    /// The column's type, without modifier.
    pub type_sql: String,
    /// Compared as texts: the type has no equality.
    pub as_text: bool,
}

/// The check of a row that an action of MERGE makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Number of the check.
    pub check: usize,
    /// Which value of the action carries it.
    pub at: usize,
    /// The type that value needs where it stands, when it is a literal or parameter.
    pub carrier_type: Option<String>,
    /// The columns that the row rules look at: what they will hold, and their types with modifiers.
    pub row: BTreeMap<String, (RowValue, String)>,
}

/// What a column of a new row will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowValue {
    /// The value at this place of the action's list.
    Assigned(usize),
    /// What it holds.
    Old,
    /// NULL.
    Null,
}

/// A reference to a column of a relation that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The relation's location.
    pub target: i32,
    /// The column.
    pub column: String,
}

/// One item that a star in RETURNING stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Star {
    /// A column of the relation that is written.
    Target(Mention),
    /// A column of something else.
    Column(String, String),
    /// All columns of something else.
    Item(String),
}

/// What the warehouse is made to check, and what its failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A new row of this relation satisfies its row rules.
    NewRow(String),
    /// A row of this relation in conflict is visible.
    Conflict(String),
    /// A masked column of this relation is not overwritten with its mask: column, relation.
    Mask(String, String),
}

impl Check {
    /// The setting that is asked for when the check number `at` fails; no such setting exists, and nobody can make or ask for one.
    pub fn setting(at: usize) -> String {
        format!("sqlveil.check_{at}")
    }

    /// What the caller is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NewRow(table) => {
                Refusal::denied(format!("new row violates row-level security policy for table \"{table}\""))
                    .with_hint("You could not see the row that you write.")
            }
            Self::Conflict(table) => Refusal::denied(format!(
                "new row violates row-level security policy (USING expression) for table \"{table}\""
            )),
            Self::Mask(column, table) => masked_write(column, table),
        }
    }
}

/// 42501: what would be written over a value is its mask.
pub(super) fn masked_write(column: &str, table: &str) -> Refusal {
    Refusal::denied(format!("cannot write a masked value to column \"{column}\" of relation \"{table}\"")).with_hint(
        "A value that is masked for you would replace a real one. Leave the column out, or give it a new value.",
    )
}
