//! Callers, and sessions' views, that are alike, as one thing: keys of plans are then told to be the same at a glance, whichever of a user's
//! sessions asks.
//!
//! In: a value. Out: the same value, shared with all that are equal to it. Must never: give a value that is not equal.

use quick_cache::sync::Cache;
use std::hash::Hash;
use std::sync::Arc;

/// Most values that are kept.
const MOST: usize = 4096;

/// Values that are shared.
#[derive(Debug)]
pub(super) struct Interned<T>(Cache<Arc<T>, Arc<T>>);

impl<T: Eq + Hash> Default for Interned<T> {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl<T: Eq + Hash> Interned<T> {
    /// The value that is kept, or this one from now on.
    pub fn shared(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.0.get(&value).unwrap_or_else(|| {
            self.0.insert(Arc::clone(&value), Arc::clone(&value));
            value
        })
    }

    /// Lets go of what nobody else holds: callers as they were before they changed.
    pub fn prune(&self) {
        // Held here as the key and as the value.
        self.0.retain(|_, value| Arc::strong_count(value) > 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_while_somebody_holds_them() {
        let kept = Interned::default();
        let (held, forgotten) = (kept.shared("held"), kept.shared("forgotten"));
        let gone = Arc::downgrade(&forgotten);
        drop(forgotten);
        assert!(gone.upgrade().is_some(), "until it is looked at");
        kept.prune();
        assert!(gone.upgrade().is_none());
        assert!(Arc::ptr_eq(&held, &kept.shared("held")));
    }
}
