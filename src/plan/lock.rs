//! `LOCK TABLE … IN ACCESS SHARE MODE`: the lock that reading takes anyway, taken early (pg_dump does).
//!
//! In: the relations as the caller names them. Out: the same lock on what they are in the warehouse. Must never: lock against others, or
//! take a lock on what the caller does not see.

use super::statement::{Kind, cautious};
use super::touched::Touched;
use super::{Effect, Plan};
use crate::error::Refusal;
use crate::seal;
use crate::sql::{NodeEnum, pb};
use crate::types::QualifiedName;
use std::sync::Arc;

/// `AccessShareLock` (storage/lockdefs.h).
const ACCESS_SHARE: i32 = 1;

impl Kind<'_> {
    /// Plans a LOCK.
    ///
    /// # Errors
    /// As for reading each relation; 0A000 for locks that keep others out.
    pub(super) fn lock(&self, lock: &pb::LockStmt) -> Result<Plan, Refusal> {
        if lock.mode != ACCESS_SHARE {
            return Err(Refusal::unsupported("LOCK TABLE is supported IN ACCESS SHARE MODE"));
        }
        let (mut names, mut locked, mut valid_until) = (Vec::new(), Vec::new(), None);
        for node in &lock.relations {
            let Some(NodeEnum::RangeVar(relation)) = &node.node else {
                return Err(Refusal::internal("LOCK of something unexpected"));
            };
            if self.sight.temporary(relation)?.is_some() {
                names.push(QualifiedName::new("pg_temp", relation.relname.as_str()));
                continue;
            }
            let permitted = self.sight.relation(relation)?;
            let decision = permitted.decision();
            locked.push(Arc::clone(decision));
            valid_until = valid_until.into_iter().chain(decision.valid_until).min();
            // What a query stands for is locked when it is read, and so are the views of the catalog.
            if decision.query.is_none() && !decision.is_of_system() {
                names.push(decision.remote.clone());
            }
        }
        let plan = self.own(seal::lock_shared(&names, lock.nowait), Effect::None, None);
        let touched = Arc::new(Touched::read(locked.iter(), self.inputs.world.catalog.version));
        Ok(cautious(Plan { touched, valid_until, ..plan }))
    }
}
