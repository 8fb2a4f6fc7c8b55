//! Object identifiers of what only callers see: registered queries, and logical schemas that the warehouse does not have.
//!
//! In: a kind and a name. Out: an OID that no object of the snapshot has, the same every time as long as nothing collides. Must never:
//! give an OID that stands for something else.
//!
//! The warehouse hands out OIDs from one counter that begins at 16384 and takes four billion objects to reach [`FIRST`]; should it
//! ever, the snapshot tells, and another OID is taken.

use super::Catalog;
use crate::types::Oid;
use std::collections::HashSet;

/// The first synthetic OID; there are 2^28 - 18 of them, and behind these 16 of the proxy's own relations; the highest OID is left out.
pub const FIRST: u32 = 0xF000_0000;
const COUNT: u32 = 0x0FFF_FFEE;

/// The OID of a relation of the proxy's own.
pub(crate) const fn own_oid(number: u32) -> Oid {
    Oid(FIRST + COUNT + number)
}

/// Whether an OID is one of ours.
pub fn is_synthetic(oid: Oid) -> bool {
    oid.0 >= FIRST
}

/// OIDs of the synthetic range that the warehouse itself has given away: none, but for a very old one.
pub(crate) fn taken(catalog: &Catalog) -> HashSet<Oid> {
    let relations = catalog.relations.values();
    let of_relations = relations.flat_map(|r| {
        let own = [r.oid, r.row_type].into_iter();
        own.chain(r.indexes.iter().map(|i| i.oid)).chain(r.constraints.iter().map(|c| c.oid))
    });
    let all = of_relations.chain(catalog.types.keys().copied()).chain(catalog.schemas.values().copied());
    all.filter(|oid| is_synthetic(*oid)).collect()
}

/// An OID for a thing of some kind and name, which is then taken. FNV-1a spreads the names; a collision goes to the next free one.
pub(crate) fn oid(kind: &str, name: &str, taken: &mut HashSet<Oid>) -> Oid {
    let bytes = kind.bytes().chain([0]).chain(name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let start = u32::try_from((hash ^ (hash >> 32)) % u64::from(COUNT)).unwrap_or_default();
    let places = (0..COUNT).map(|step| Oid(FIRST + (start + step) % COUNT));
    let free = places.into_iter().find(|oid| !taken.contains(oid)).unwrap_or_default();
    taken.insert(free);
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_are_stable_distinct_and_free() {
        let mut none = HashSet::new();
        let (a, b) = (oid("query", "s.a", &mut none), oid("query", "s.b", &mut none));
        assert!(is_synthetic(a) && is_synthetic(b) && a != b);
        assert_ne!(oid("schema", "s.a", &mut HashSet::new()), a);
        assert_eq!(oid("query", "s.a", &mut HashSet::new()), a);
        let mut taken = HashSet::from([a]);
        let other = oid("query", "s.a", &mut taken);
        assert!(other != a && is_synthetic(other) && taken.contains(&other));
    }
}
