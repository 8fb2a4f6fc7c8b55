//! The snapshot every statement reads: catalog, bound policies, identities, published atomically.
//!
//! In: what `governance`, `identity` and `catalog` loaded. Out: an [`Arc<World>`] swapped whole. Must never: publish a set that did
//! not validate; the last good one stays in force.

use crate::catalog::Catalog;
use crate::identity::Directory;
use crate::policy::Ruleset;
use std::sync::Arc;

/// Everything a decision depends on besides the caller and the statement.
pub struct World {
    /// Increases with every published change of any part.
    pub version: u64,
    /// Warehouse catalog snapshot.
    pub catalog: Arc<Catalog>,
    /// Policies bound to that catalog.
    pub ruleset: Arc<Ruleset>,
    /// Users, groups, attributes, projects.
    pub directory: Arc<Directory>,
}
