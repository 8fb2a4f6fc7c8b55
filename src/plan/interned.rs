//! Callers and sessions that are alike, as one thing each: keys of plans are then told to be the same at a glance, whichever of a user's
//! sessions asks.
//!
//! In: a caller, a session's view. Out: the same value, shared with all that are equal to it. Must never: give a value that is not equal.

use super::SessionView;
use crate::identity::Caller;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Most of each that are kept.
const MOST: usize = 4096;

/// What is shared.
#[derive(Debug)]
pub(super) struct Interned {
    /// By user: mostly they act under one project at a time.
    callers: Cache<Arc<str>, Arc<Caller>>,
    views: Cache<Arc<SessionView>, Arc<SessionView>>,
}

impl Default for Interned {
    fn default() -> Self {
        Self { callers: Cache::new(MOST), views: Cache::new(MOST) }
    }
}

impl Interned {
    pub fn caller(&self, caller: Arc<Caller>) -> Arc<Caller> {
        match self.callers.get(&caller.user) {
            Some(kept) if *kept == *caller => kept,
            Some(_) | None => {
                self.callers.insert(Arc::clone(&caller.user), Arc::clone(&caller));
                caller
            }
        }
    }

    pub fn view(&self, view: Arc<SessionView>) -> Arc<SessionView> {
        match self.views.get(&view) {
            Some(kept) => kept,
            None => {
                self.views.insert(Arc::clone(&view), Arc::clone(&view));
                view
            }
        }
    }
}
