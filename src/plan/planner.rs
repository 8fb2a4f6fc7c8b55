//! Strings of statements to plans.

use super::cache::{self, Key, PlanCache};
use super::{Plan, Progress, statement};
use crate::error::{Family, Refusal, SqlState};
use crate::policy::kept::ByDecision;
use crate::rewrite::Body;
use crate::sql::{self, tree::Tree};
use crate::world::World;
use std::sync::Arc;
use std::time::SystemTime;

/// Longest statement string accepted, in bytes.
const MAX_STATEMENT: usize = 8 * 1024 * 1024;

/// Most tokens in a statement string, and most statements: a tree takes some kilobytes a token while it is checked.
const MAX_TOKENS: usize = 100_000;
const MAX_STATEMENTS: usize = 5_000;

/// Strings from this length on are planned one at a time, so that a few callers cannot take all memory and all threads.
const LARGE: usize = 32 * 1024;

/// Most relations in a statement, when nothing else is said.
const MAX_RELATIONS: usize = 500;

/// Bytes of text that the plan cache holds.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Policy views kept parsed.
const KEPT_VIEWS: usize = 4096;

/// Plans statements; owns the cache. Shared by all sessions of a proxy.
#[derive(Debug)]
pub struct Planner {
    cache: PlanCache,
    kept: Kept,
    /// Held while a large string is planned.
    large: std::sync::Mutex<()>,
}

/// What is made once for every decision: for the rewriter, and apart from it for the seal.
#[derive(Debug)]
pub(super) struct Kept {
    pub bodies: ByDecision<Body>,
    pub expected: ByDecision<Tree>,
    /// Most relations a statement may mention.
    pub relations: usize,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new(MAX_RELATIONS)
    }
}

impl Planner {
    /// A planner that refuses statements which mention more relations.
    pub fn new(relations: usize) -> Self {
        let kept = Kept { bodies: ByDecision::new(KEPT_VIEWS), expected: ByDecision::new(KEPT_VIEWS), relations };
        Self { cache: PlanCache::new(CACHE_BYTES), kept, large: std::sync::Mutex::new(()) }
    }
}

impl Planner {
    /// Forgets what was made under other worlds than these, which are in force: it is never asked for again, and holds their catalogs.
    pub fn keep_only<'w>(&self, worlds: impl Iterator<Item = &'w World>) {
        let worlds: Vec<_> = worlds.map(cache::identity).collect();
        self.cache.keep_only(&worlds);
        self.kept.bodies.prune();
        self.kept.expected.prune();
    }

    /// Plans every statement of `text` (INVARIANT all-statements): either all are planned or the first refusal is returned
    /// and nothing may be sent. An empty string gives an empty list.
    ///
    /// # Errors
    /// Whatever a stage refuses, with the position in `text`.
    pub fn plan_string(&self, text: &str, progress: &mut dyn Progress) -> Result<Vec<Arc<Plan>>, Refusal> {
        if text.len() > MAX_STATEMENT {
            return Err(Refusal::new(
                Family::Unsupported,
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("statement is longer than {MAX_STATEMENT} bytes"),
            )
            .with_hint("Send data by COPY or as parameters."));
        }
        let inputs = progress.inputs()?;
        let key = Key::new(text, &inputs);
        let now = SystemTime::now();
        let found = self.cache.get(&key, now).or_else(|| self.cache.get(&key.clone().with_pid(), now));
        if let Some(plan) = found {
            progress.admit(&plan)?;
            return Ok(vec![plan]);
        }
        let _turn = if text.len() >= LARGE {
            sql::limits::check_tokens(text, MAX_TOKENS)?;
            Some(self.large.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
        } else {
            None
        };
        sql::limits::with_stack(text, || {
            let parsed = sql::parse(text)?;
            sql::numbers::check(text, inputs.world.catalog.server_version)?;
            if parsed.statements.len() > MAX_STATEMENTS {
                return Err(Refusal::new(
                    Family::Unsupported,
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    format!("a string may hold at most {MAX_STATEMENTS} statements"),
                )
                .with_hint("Send it in several parts."));
            }
            if let [single] = parsed.statements.as_slice() {
                let plan = Arc::new(statement::plan(single, text, &inputs, &self.kept, SystemTime::now())?);
                progress.admit(&plan)?;
                self.cache.put(key, Arc::clone(&plan), &inputs);
                return Ok(vec![plan]);
            }
            let mut plans = Vec::with_capacity(parsed.statements.len());
            for part in &parsed.statements {
                // Each statement is decided in the session as those before it leave it.
                let inputs = progress.inputs()?;
                let plan = Arc::new(statement::plan(part, text, &inputs, &self.kept, SystemTime::now())?);
                progress.admit(&plan)?;
                plans.push(plan);
            }
            Ok(plans)
        })
    }
}
