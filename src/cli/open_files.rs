//! How many files this process may have open: each session takes two, the client's socket and the one to the warehouse.
//!
//! In: a number. Out: at least so many, or how many there are. Must never: lower a limit, or ask for more than the system has set as the
//! hard limit.

use crate::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files of everything that is not a session: listeners, documents, the catalog's connections, logs.
const OTHERS: usize = 128;

/// How many the sessions need that a configuration allows, those that are still logging in included.
pub fn needed(config: &Config) -> u64 {
    let upstream: usize = config.connections.values().map(|connection| connection.pool.max).sum();
    let files = config.limits.sessions.saturating_mul(2).saturating_add(upstream).saturating_add(OTHERS);
    u64::try_from(files).unwrap_or(u64::MAX)
}

/// Raises the limit (`RLIMIT_NOFILE`, getrlimit(2)) to at least so many.
///
/// # Errors
/// How many are allowed, when those are fewer.
pub fn raise(wanted: u64) -> Result<(), u64> {
    let now = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if now.current.is_none_or(|soft| soft >= wanted) {
        return Ok(());
    }
    let current = now.maximum.map_or(wanted, |hard| hard.min(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: now.maximum }).is_ok() && current >= wanted
    {
        return Ok(());
    }
    Err(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_as_far_as_it_goes_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(raise(1), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), before);
        if let Some(hard) = before.maximum {
            assert_eq!(raise(hard), Ok(()));
            assert_eq!(raise(hard + 1), Err(hard));
        }
    }
}
