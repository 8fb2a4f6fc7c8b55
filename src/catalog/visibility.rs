//! What one caller sees of the warehouse: the input of the guards, the reg literals and the virtual catalog.
//!
//! In: the decisions of the relations the caller may see. Out: sets of OIDs and names. Must never: hold a hidden object.

use super::{Catalog, Relation};
use crate::policy::decision::RelationDecision;
use std::sync::{Arc, OnceLock};

/// What one caller sees, in one session, at one moment.
pub struct Visibility<'a> {
    /// The warehouse.
    pub catalog: &'a Catalog,
    /// Login name.
    pub user: &'a str,
    /// Database name as the client gave it.
    pub database: &'a str,
    /// The caller's own search path, in order.
    pub search_path: &'a [String],
    /// Every registered relation the caller may see.
    pub relations: &'a [Arc<RelationDecision>],
    scope: OnceLock<Scope<'a>>,
}

/// What follows from a [`Visibility`], computed once.
struct Scope<'a> {
    relations: Vec<Seen<'a>>,
}

/// A visible relation: how it is seen and what it is.
struct Seen<'a> {
    decision: &'a RelationDecision,
    relation: &'a Relation,
}

impl<'a> Visibility<'a> {
    /// What `user` sees.
    pub fn new(
        catalog: &'a Catalog,
        user: &'a str,
        database: &'a str,
        search_path: &'a [String],
        relations: &'a [Arc<RelationDecision>],
    ) -> Self {
        Self { catalog, user, database, search_path, relations, scope: OnceLock::new() }
    }
}
