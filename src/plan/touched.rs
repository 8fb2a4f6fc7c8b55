//! What a statement touches: the relations it reads and writes, and the decisions it was planned under. For the audit record.
//!
//! In: what resolution found. Out: [`Touched`], shared by all plans of statements that differ in literals alone. Must never: be asked whether
//! something may be done: that is the permit's.

use crate::policy::decision::RelationDecision;
use crate::policy::kept::Listed;
use crate::resolve::{Resolved, Verb};
use crate::sql::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Bytes that are mostly told of a statement.
const TOLD: usize = 1024;

/// What a statement touches.
#[derive(Debug, Default)]
pub struct Touched {
    /// Each relation once for each decision and way.
    pub uses: Vec<Use>,
    /// Version of the catalog it was resolved against.
    pub catalog_version: u64,
    /// The statement's own text, where it is one of several of a string.
    pub part: OnceLock<Box<str>>,
    /// What its record says of it, once somebody has asked: the same for every run.
    pub told: OnceLock<Box<[u8]>>,
}

/// One relation that is touched.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The decision.
    pub decision: Arc<RelationDecision>,
    /// How.
    pub access: Access,
}

/// How a relation is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is read: these columns of its dictionary, `None` = all.
    Read(Option<Listed>),
    /// It is written: these columns, `None` = whole rows.
    Written(Verb, Option<Arc<[String]>>),
}

impl PartialEq for Touched {
    fn eq(&self, other: &Self) -> bool {
        // The text is part of what is planned, and what is told follows from all.
        (&self.uses, self.catalog_version) == (&other.uses, other.catalog_version)
    }
}

impl Touched {
    /// What a resolved statement touches.
    pub fn of(resolved: &Resolved, statement: &Tree, catalog_version: u64) -> Self {
        let mut uses: Vec<Use> = Vec::new();
        let mut add = |decision: &Arc<RelationDecision>, access: Access| {
            let same = |use_: &&Use| Arc::ptr_eq(&use_.decision, decision) && use_.access == access;
            if uses.iter().find(same).is_none() {
                uses.push(Use { decision: Arc::clone(decision), access });
            }
        };
        for relation in resolved.relations.values() {
            add(relation.permitted.decision(), Access::Read(relation.listed.clone()));
        }
        if !resolved.targets.is_empty() {
            let mut written = written(statement);
            for (location, target) in &resolved.targets {
                let implied = || target.columns.clone().or_else(|| target.implied.values().next().cloned());
                let columns = match target.verb {
                    Verb::Delete => None,
                    Verb::Insert | Verb::Update | Verb::Merge => {
                        let named = written.remove(location).map(|names| names.into_iter().collect::<Vec<_>>());
                        named.filter(|names| !names.is_empty()).or_else(implied)
                    }
                };
                add(target.permitted.decision(), Access::Written(target.verb, columns.map(Into::into)));
            }
        }
        Self { uses, catalog_version, part: OnceLock::new(), told: OnceLock::new() }
    }

    /// Relations that are looked at in no other way than this.
    pub fn read<'d>(decisions: impl Iterator<Item = &'d Arc<RelationDecision>>, catalog_version: u64) -> Self {
        let uses = decisions.map(|decision| Use { decision: Arc::clone(decision), access: Access::Read(None) });
        Self { uses: uses.collect(), catalog_version, part: OnceLock::new(), told: OnceLock::new() }
    }

    /// The data sources, by name.
    pub fn sources(&self) -> BTreeSet<&Arc<str>> {
        self.uses.iter().map(|use_| &use_.decision.source).collect()
    }

    /// Those that are written.
    pub fn written(&self) -> BTreeSet<&Arc<str>> {
        let written = self.uses.iter().filter(|use_| matches!(use_.access, Access::Written(..)));
        written.map(|use_| &use_.decision.source).collect()
    }

    /// Bytes of memory it takes, about, without the decisions.
    pub fn memory(&self) -> usize {
        // What will be told is not made yet when a plan is weighed.
        let told = self.told.get().map_or(TOLD, |told| told.len());
        size_of::<Self>() + self.uses.len() * size_of::<Use>() + told
    }
}

/// Columns that INSERT, UPDATE and MERGE name as those they write, by the location of the relation.
fn written(statement: &Tree) -> BTreeMap<i32, BTreeSet<String>> {
    let mut found: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    statement.each(&mut |node| {
        let Tree::Node("InsertStmt" | "UpdateStmt" | "MergeStmt", _) = node else { return };
        let at = node.field("relation").and_then(|relation| relation.field("location"));
        let Some(at) = at.and_then(|at| if let Tree::Int(at) = at { i32::try_from(*at).ok() } else { None }) else {
            return;
        };
        let whens = node.field("merge_when_clauses").map_or(&[][..], Tree::as_list);
        let lists = [node.field("cols"), node.field("target_list")]
            .into_iter()
            .chain(whens.iter().map(|when| when.unwrap_node()?.1.field("target_list")))
            .chain([node.field("on_conflict_clause").and_then(|clause| clause.field("target_list"))]);
        let targets = lists.flatten().flat_map(Tree::as_list);
        let names = targets.filter_map(|target| target.unwrap_node()?.1.field("name")?.as_text());
        found.entry(at).or_default().extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    });
    found
}
