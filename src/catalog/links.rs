//! Which relations belong together, found without walking through all of them.
//!
//! In: the relations of a snapshot. Out: a relation by its OID, its children, and who refers to it. Must never: be asked before the
//! snapshot is complete; it is made once, when it is first asked for.

use super::visibility::is_system;
use super::{Catalog, Relation, TypeInfo};
use crate::types::Oid;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// What is known of a snapshot's relations beside their names.
#[derive(Debug, Clone, Default)]
pub struct Links(OnceLock<Found>);

#[derive(Debug, Clone, Default)]
struct Found {
    by_oid: HashMap<Oid, Arc<Relation>>,
    children: HashMap<Oid, Vec<Oid>>,
    referring: HashMap<Oid, Vec<Arc<Relation>>>,
    /// Relations of the system by schema and name.
    system: HashMap<String, HashMap<String, Oid>>,
}

impl Catalog {
    fn found(&self) -> &Found {
        self.links.0.get_or_init(|| {
            let mut found = Found::default();
            for relation in self.relations.values() {
                found.by_oid.insert(relation.oid, Arc::clone(relation));
                if is_system(&relation.name.schema) {
                    let schema = found.system.entry(relation.name.schema.clone()).or_default();
                    schema.insert(relation.name.name.clone(), relation.oid);
                }
                for parent in &relation.parents {
                    found.children.entry(*parent).or_default().push(relation.oid);
                }
                let mut referred: Vec<Oid> =
                    relation.constraints.iter().filter(|c| c.kind == 'f').map(|c| c.references).collect();
                referred.sort_unstable();
                referred.dedup();
                for oid in referred {
                    found.referring.entry(oid).or_default().push(Arc::clone(relation));
                }
            }
            found
        })
    }

    /// The relation of `pg_catalog` or `information_schema` with this name.
    pub fn system_relation(&self, schema: &str, name: &str) -> Option<Oid> {
        self.found().system.get(schema)?.get(name).copied()
    }

    /// The relation with this OID.
    pub fn relation_of(&self, oid: Oid) -> Option<&Arc<Relation>> {
        self.found().by_oid.get(&oid)
    }

    /// Whether a type is the row type of a relation.
    pub fn is_row_type(&self, info: &TypeInfo) -> bool {
        self.relation_of(info.relation).is_some_and(|r| r.row_type == info.oid)
    }

    /// The relations that inherit from this one directly, or are its partitions.
    pub fn children(&self, oid: Oid) -> &[Oid] {
        self.found().children.get(&oid).map_or(&[], Vec::as_slice)
    }

    /// The relations with a foreign key to this one.
    pub fn referring(&self, oid: Oid) -> &[Arc<Relation>] {
        self.found().referring.get(&oid).map_or(&[], Vec::as_slice)
    }
}
