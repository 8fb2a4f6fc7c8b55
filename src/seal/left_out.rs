//! Columns that policy views leave out, held against the caller's tree: none of them may be missed.
//!
//! In: the caller's tree, and what the views list. Out: a verdict. Must never: pass a view that lacks a column which the statement names, or
//! whose relation it takes as a whole. Looked at by the form of the statement alone, without the scopes that resolution built.

use super::Broken;
use super::compare::Verdict;
use super::inventory::location;
use crate::resolve::Resolved;
use crate::sql::tree::Tree;
use ahash::AHashSet;
use std::collections::BTreeSet;

pub(super) fn take(caller: &Tree, resolved: &Resolved) -> Verdict {
    let shorter = || resolved.relations.iter().filter(|(_, use_)| use_.listed.is_some());
    if shorter().next().is_none() {
        return Ok(());
    }
    let mut mentioned = Mentioned::default();
    mentioned.find(caller);
    for (location, use_) in shorter() {
        let decision = use_.permitted.decision();
        let listed = use_.listed.as_deref().unwrap_or_default();
        if listed.len() != decision.columns.len() || !listed.contains(&true) {
            return Err(Broken::at("a view of other columns"));
        }
        let mut out = decision.columns.iter().zip(listed).filter(|(_, listed)| !**listed);
        if out.any(|(column, _)| mentioned.names.contains(column.name.as_str())) {
            return Err(Broken::at("a view without a column that is named"));
        }
        if mentioned.whole.contains(location) || mentioned.rows.contains(use_.alias.as_str()) {
            return Err(Broken::at("a view without a column of a row"));
        }
    }
    // A join's rows are those of what it joins.
    for (name, below) in &mentioned.joins {
        if mentioned.rows.contains(name) && shorter().any(|(location, _)| below.contains(location)) {
            return Err(Broken::at("a view without a column of a join's row"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Mentioned<'t> {
    /// Every text outside of constants.
    names: AHashSet<&'t str>,
    /// What column references end with, or have before their star.
    rows: BTreeSet<&'t str>,
    /// Relations whose columns are counted or matched by position or by NATURAL.
    whole: BTreeSet<i32>,
    /// Names of joins, and the relations below them.
    joins: Vec<(&'t str, BTreeSet<i32>)>,
}

impl<'t> Mentioned<'t> {
    /// Looks at the query or the statement that writes; what holds it (PREPARE, DECLARE, COPY) has names of its own, which no column has.
    fn find(&mut self, tree: &'t Tree) {
        match tree {
            Tree::Node("SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt", _) => self.look(tree),
            Tree::Node(_, fields) => fields.iter().for_each(|(_, value)| self.find(value)),
            Tree::Variant(_, inner) => self.find(inner),
            Tree::List(items) => items.iter().for_each(|item| self.find(item)),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => {}
        }
    }

    fn look(&mut self, tree: &'t Tree) {
        match tree {
            // A constant, or the name of a table that is made.
            Tree::Node("AConst" | "IntoClause", _) => return,
            Tree::Node("ColumnRef", _) => {
                let names = tree.field("fields").map(Tree::strings).unwrap_or_default();
                self.rows.extend(names.last());
            }
            Tree::Node("SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt", _)
                if all_of_it(tree) =>
            {
                for field in ["from_clause", "using_clause", "source_relation"] {
                    self.whole.extend(tree.field(field).map(below).unwrap_or_default());
                }
            }
            Tree::Node("RangeVar", _) if names_columns(tree.field("alias")) => self.whole.extend(location(tree)),
            Tree::Node("JoinExpr", _) => {
                let joined = below(tree);
                if tree.field("is_natural") == Some(&Tree::Bool(true)) || names_columns(tree.field("alias")) {
                    self.whole.extend(&joined);
                }
                for alias in [tree.field("alias"), tree.field("join_using_alias")] {
                    let name = alias.and_then(|a| a.field("aliasname")).and_then(Tree::as_text);
                    self.joins.extend(name.map(|name| (name, joined.clone())));
                }
            }
            _ => {}
        }
        match tree {
            Tree::Text(text) => drop(self.names.insert(text)),
            Tree::Node(_, fields) => fields.iter().for_each(|(_, value)| self.look(value)),
            Tree::Variant(_, inner) => self.look(inner),
            Tree::List(items) => items.iter().for_each(|item| self.look(item)),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) => {}
        }
    }
}

/// Whether an alias gives columns names.
fn names_columns(alias: Option<&Tree>) -> bool {
    alias.and_then(|a| a.field("colnames")).is_some_and(|names| !names.as_list().is_empty())
}

/// Whether a statement has a star of its own, for all that it reads: anywhere but in a statement within.
fn all_of_it(statement: &Tree) -> bool {
    fn star(tree: &Tree) -> bool {
        match tree {
            Tree::Node("SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt", _) => false,
            Tree::Node("ColumnRef", _) => {
                let fields = tree.field("fields").map(Tree::as_list).unwrap_or_default();
                matches!(fields, [one] if matches!(one.unwrap_node(), Some(("AStar", _))))
            }
            Tree::Node(_, fields) => fields.iter().any(|(_, value)| star(value)),
            Tree::Variant(_, inner) => star(inner),
            Tree::List(items) => items.iter().any(star),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => false,
        }
    }
    match statement {
        Tree::Node(_, fields) => fields.iter().any(|(_, value)| star(value)),
        _ => true,
    }
}

/// Relations that a FROM item is or joins, without those of sub-selects.
fn below(tree: &Tree) -> BTreeSet<i32> {
    match tree {
        Tree::Node("RangeVar", _) => location(tree).into_iter().collect(),
        Tree::Node("RangeSubselect" | "RangeFunction" | "RangeTableFunc", _) => BTreeSet::new(),
        Tree::Node("JoinExpr", _) => {
            ["larg", "rarg"].iter().filter_map(|side| tree.field(side)).flat_map(below).collect()
        }
        Tree::Node(_, fields) => fields.iter().flat_map(|(_, value)| below(value)).collect(),
        Tree::Variant(_, inner) => below(inner),
        Tree::List(items) => items.iter().flat_map(below).collect(),
        Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => BTreeSet::new(),
    }
}
