//! What was planned under a world that is no more is forgotten as soon as another is in force.
//!
//! In: the worlds, and the planner that keeps plans of them. Out: memory, and each minute a line of the log about where plans came from. Where identities or policies change often, plans that
//! nobody asks for again would else stay until others take their room, and hold whole catalogs. Must never: cost a statement anything; one
//! task looks, twice a second.

use crate::plan::{Counts, Planner};
use crate::world::{World, Worlds};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the worlds are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// How often the log tells where plans came from, in looks.
const TOLD_EVERY: u32 = 120;

/// Looks again and again, for as long as somebody plans.
pub async fn watch(planner: Weak<Planner>, worlds: Worlds) {
    let mut known: Vec<u64> = Vec::new();
    let (mut looks, mut told) = (0u32, None);
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(planner) = planner.upgrade() else { return };
        let in_force: Vec<Arc<World>> = worlds.iter().map(|(_, handle)| handle.load()).collect();
        let versions: Vec<u64> = in_force.iter().map(|world| world.version).collect();
        if versions != known {
            planner.keep_only(in_force.iter().map(Arc::as_ref));
            known = versions;
        }
        looks = looks.wrapping_add(1);
        if !looks.is_multiple_of(TOLD_EVERY) {
            continue;
        }
        // Directories tell of people who changed, under the same world.
        planner.forget_callers();
        let counts = planner.counts();
        if told != Some(counts) {
            let Counts { kept, filled, planned, entries, bytes } = counts;
            tracing::info!(kept, filled, planned, entries, bytes, "plans");
            told = Some(counts);
        }
    }
}
