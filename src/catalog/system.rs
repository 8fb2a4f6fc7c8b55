//! The virtual catalog: `pg_catalog` and `information_schema` as one caller sees them, by the same mechanism as policies.
//!
//! In: a system relation, what the caller sees. Out: an [`Access`]. Must never: show a row of a relation not reviewed here.

use super::Visibility;
use crate::policy::decision::Access;
use crate::types::QualifiedName;

/// How `relation` of `pg_catalog` or `information_schema` is seen; [`Access::Hidden`] for anything else.
pub fn system_access(_relation: &QualifiedName, _v: &Visibility<'_>) -> Access {
    Access::Hidden
}
