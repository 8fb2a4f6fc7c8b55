//! Scopes: what a name in FROM or a column reference can mean at one query level, and in the levels around it.

use crate::types::Oid;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A column that a FROM item or a sub-select offers.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, when known.
    pub type_oid: Option<Oid>,
    /// Evaluating it never raises.
    pub total: bool,
    /// Relation uses (locations) its value may come from.
    pub uses: Rc<BTreeSet<i32>>,
    /// For an unmasked column of a relation: the use it belongs to.
    pub base: Option<i32>,
    /// Its value comes from a masked column.
    pub masked: bool,
}

/// One name in FROM.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Alias or relation name; empty for items without a name (a join without alias).
    pub name: String,
    /// Schema, for relations without an alias: they may be named `schema.relation.column`.
    pub schema: Option<String>,
    /// Its columns; `None` when they are not known (functions).
    pub columns: Option<Vec<Column>>,
    /// Relation uses within.
    pub uses: Rc<BTreeSet<i32>>,
    /// May be extended by NULLs through an outer join.
    pub nullable: bool,
    /// The relation that the statement writes, which stands bare: its location.
    pub target: Option<i32>,
    /// Names that its columns are known to have, where not all are known.
    pub named: Vec<String>,
}

/// A common table expression in scope.
#[derive(Debug, Clone)]
pub(super) struct Cte {
    pub name: String,
    /// `None` inside its own recursive part until the first arm is known.
    pub columns: Rc<RefCell<Option<Vec<Column>>>>,
    pub uses: Rc<RefCell<Rc<BTreeSet<i32>>>>,
    /// A statement that writes and returns nothing: it may not be read from.
    pub silent: Rc<Cell<bool>>,
}

/// One query level.
#[derive(Debug)]
pub(super) struct Scope<'p> {
    pub parent: Option<&'p Scope<'p>>,
    pub ctes: Vec<Cte>,
    pub items: Vec<Item>,
    /// Columns merged by USING or NATURAL: an unqualified mention means both sides.
    pub merged: BTreeSet<String>,
}

/// What a column reference turned out to be.
#[derive(Debug)]
pub(super) enum Found<'s> {
    /// A column; the depth is 0 for this level.
    Column { item: &'s Item, column: &'s Column, depth: usize },
    /// A whole row of an item.
    Row { item: &'s Item },
    /// Several or unknown: may touch any of this level's items.
    Unknown,
    /// No such name at any level.
    Nothing,
}

impl<'p> Scope<'p> {
    pub fn root() -> Scope<'static> {
        Scope { parent: None, ctes: Vec::new(), items: Vec::new(), merged: BTreeSet::new() }
    }

    pub fn below(parent: Option<&'p Scope<'p>>) -> Self {
        Scope { parent, ctes: Vec::new(), items: Vec::new(), merged: BTreeSet::new() }
    }

    /// The CTE of that name, innermost first.
    pub fn cte(&self, name: &str) -> Option<&Cte> {
        self.ctes.iter().rev().find(|c| c.name == name).or_else(|| self.parent.and_then(|p| p.cte(name)))
    }

    /// Resolves `column` (one part).
    pub fn unqualified(&self, name: &str) -> Found<'_> {
        let mut scope = Some(self);
        let mut depth = 0usize;
        while let Some(level) = scope {
            if level.merged.contains(name) {
                return Found::Unknown;
            }
            let mut found = None;
            let mut unsure = false;
            for item in &level.items {
                match &item.columns {
                    None => unsure = true,
                    Some(columns) => {
                        if let Some(column) = columns.iter().find(|c| c.name == name) {
                            if found.is_some() {
                                return Found::Unknown;
                            }
                            found = Some((item, column));
                        }
                    }
                }
            }
            if let Some((item, column)) = found {
                // A function beside a relation that is written: its columns are looked for by their names.
                let beside = |i: &Item| i.columns.is_none() && i.named.iter().any(|n| n == name);
                let certain = item.target.is_some() && !level.items.iter().any(beside);
                return if unsure && !certain { Found::Unknown } else { Found::Column { item, column, depth } };
            }
            // A column name wins over a row reference, and both over outer levels.
            if let Some(item) = level.items.iter().find(|i| i.name == name) {
                return if unsure { Found::Unknown } else { Found::Row { item } };
            }
            if unsure {
                return Found::Unknown;
            }
            scope = level.parent;
            depth = depth.saturating_add(1);
        }
        Found::Nothing
    }

    /// Resolves `item.column`, innermost level first.
    pub fn qualified(&self, item_name: &str, name: &str) -> Found<'_> {
        let mut scope = Some(self);
        let mut depth = 0usize;
        while let Some(level) = scope {
            if let Some(item) = level.items.iter().find(|i| i.name == item_name) {
                return match &item.columns {
                    None => Found::Unknown,
                    Some(columns) => match columns.iter().find(|c| c.name == name) {
                        Some(column) => Found::Column { item, column, depth },
                        None => Found::Row { item },
                    },
                };
            }
            scope = level.parent;
            depth = depth.saturating_add(1);
        }
        Found::Nothing
    }

    /// The relations written at this level or around it.
    pub fn targets(&self) -> impl Iterator<Item = &Item> {
        let levels = std::iter::successors(Some(self), |level| level.parent);
        levels.flat_map(|level| level.items.iter().filter(|i| i.target.is_some()))
    }

    /// The item of that name, innermost level first.
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|i| i.name == name).or_else(|| self.parent.and_then(|p| p.item(name)))
    }

    /// Whether an unqualified name that is not resolved to one column is known to be one of something that is not written: a column
    /// merged by USING, or one that a function's alias names.
    pub fn explains(&self, name: &str) -> bool {
        self.merged.contains(name)
            || self.items.iter().any(|i| i.columns.is_none() && i.named.iter().any(|n| n == name))
            || self.parent.is_some_and(|p| p.explains(name))
    }

    /// Whether several items of the level that knows the name have such a column.
    pub fn is_ambiguous(&self, name: &str) -> bool {
        let here = self.items.iter().flat_map(|i| i.columns.iter().flatten()).filter(|c| c.name == name).count();
        match here {
            0 => self.parent.is_some_and(|p| p.is_ambiguous(name)),
            1 => false,
            _ => !self.merged.contains(name),
        }
    }

    /// Finds the item that `schema.relation` names, innermost level first.
    pub fn by_schema(&self, schema: &str, relation: &str) -> Option<&Item> {
        let here = self.items.iter().find(|i| i.name == relation && i.schema.as_deref() == Some(schema));
        here.or_else(|| self.parent.and_then(|p| p.by_schema(schema, relation)))
    }

    /// Whether some level around this one has items that an expression here could look at.
    pub fn has_outer_items(&self) -> bool {
        self.parent.is_some_and(|p| !p.items.is_empty() || p.has_outer_items())
    }

    /// Every relation use of this level and the levels around it.
    pub fn all_uses(&self) -> BTreeSet<i32> {
        let mut uses: BTreeSet<i32> = self.items.iter().flat_map(|i| i.uses.iter().copied()).collect();
        if let Some(parent) = self.parent {
            uses.extend(parent.all_uses());
        }
        uses
    }
}
