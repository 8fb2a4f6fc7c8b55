//! Which columns a statement needs of the relations it reads: policy views list no others.
//!
//! In: the statement's tree, and what resolution meets on its way through it. Out: for each use, the columns that its view lists. Must
//! never: leave out a column whose name the statement mentions anywhere, whatever it means there (so no name can come to mean something
//! else), or one of a relation that is taken as a whole: by `*`, as a row, by NATURAL, or under names that an alias gives by position.

use super::RelationUse;
use super::scope::Item;
use crate::policy::kept::Listed;
use crate::sql::tree::Tree;
use ahash::AHashSet;
use compact_str::CompactString;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What is known so far.
#[derive(Debug)]
pub(super) struct Needs {
    /// Every text of the statement outside of constants, names of columns among them.
    names: AHashSet<CompactString>,
    /// Names that a column reference ends with, or that stand before its star: rows are taken by these.
    rows: BTreeSet<String>,
    /// Places of column references that resolution has yet to meet.
    unmet: BTreeSet<i32>,
    /// Uses that are taken as a whole.
    whole: BTreeSet<i32>,
    /// Names and uses of items that are: relations and joins; a sub-select says itself what it needs.
    starred: Vec<(String, Rc<BTreeSet<i32>>)>,
    /// Aliases of joins, and the uses within.
    joins: Vec<(String, BTreeSet<i32>)>,
    /// All uses are.
    all: bool,
}

impl Default for Needs {
    /// Of a statement that was not looked at: everything.
    fn default() -> Self {
        Self {
            names: AHashSet::new(),
            rows: BTreeSet::new(),
            unmet: BTreeSet::new(),
            whole: BTreeSet::new(),
            starred: Vec::new(),
            joins: Vec::new(),
            all: true,
        }
    }
}

impl Needs {
    pub fn of(tree: &Tree) -> Self {
        let mut needs = Self { all: false, ..Self::default() };
        needs.look(tree);
        needs
    }

    fn look(&mut self, tree: &Tree) {
        match tree {
            // A constant names nothing, and may be another one the next time.
            Tree::Node("AConst", _) => {}
            Tree::Node("ColumnRef", fields) => {
                match tree.field("location") {
                    Some(Tree::Int(at)) => match i32::try_from(*at) {
                        Ok(at) if at >= 0 => drop(self.unmet.insert(at)),
                        _ => self.all = true,
                    },
                    _ => self.all = true,
                }
                let names = tree.field("fields").map(Tree::strings).unwrap_or_default();
                self.rows.extend(names.last().map(|name| (*name).to_owned()));
                fields.iter().for_each(|(_, value)| self.look(value));
            }
            Tree::Text(text) => {
                self.names.insert(text.clone());
            }
            Tree::Node(_, fields) => fields.iter().for_each(|(_, value)| self.look(value)),
            Tree::Variant(_, inner) => self.look(inner),
            Tree::List(items) => items.iter().for_each(|item| self.look(item)),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) => {}
        }
    }

    /// Resolution came to the column reference at this place.
    pub fn met(&mut self, location: i32) {
        self.unmet.remove(&location);
    }

    /// A name means nothing that is known: the warehouse's error, with its hints, is to be that of whole relations.
    pub fn unknown(&mut self) {
        self.all = true;
    }

    /// All columns of these items.
    pub fn whole(&mut self, items: &[Item]) {
        self.starred.extend(items.iter().map(|item| (item.name.clone(), Rc::clone(&item.uses))));
    }

    /// One use.
    pub fn whole_use(&mut self, use_: i32) {
        self.whole.insert(use_);
    }

    /// A column that is mentioned by an addition of the rewriter.
    pub fn mention(&mut self, column: &str) {
        self.names.insert(column.into());
    }

    /// A join has a name, under which its rows can be taken.
    pub fn join(&mut self, name: &str, items: &[Item]) {
        self.joins.push((name.to_owned(), items.iter().flat_map(|item| item.uses.iter().copied()).collect()));
    }

    /// What the view of each use lists.
    pub fn settle(mut self, relations: &mut BTreeMap<i32, RelationUse>) {
        if self.all || !self.unmet.is_empty() {
            return;
        }
        for (name, uses) in &self.joins {
            if self.rows.contains(name) || self.starred.iter().any(|(starred, _)| starred == name) {
                self.whole.extend(uses);
            }
        }
        for (name, uses) in &self.starred {
            self.whole.extend(uses.iter().filter(|use_| relations.get(use_).is_some_and(|r| r.alias == *name)));
        }
        for (location, relation) in relations {
            let decision = relation.permitted.decision();
            // What stands for a look-up in the catalog names columns of its own.
            if decision.is_of_system() || self.whole.contains(location) || self.rows.contains(&relation.alias) {
                continue;
            }
            let mut listed: Vec<bool> = decision.columns.iter().map(|c| self.names.contains(c.name.as_str())).collect();
            if listed.iter().all(|needed| *needed) {
                continue;
            }
            // Rows alone: a view has to list something.
            if !listed.contains(&true) {
                let plain = decision.columns.iter().position(|c| c.mask.is_none()).unwrap_or_default();
                listed.iter_mut().skip(plain).take(1).for_each(|first| *first = true);
            }
            relation.listed = Some(Listed::from(listed));
        }
    }
}
