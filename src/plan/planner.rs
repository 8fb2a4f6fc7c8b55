//! Strings of statements to plans.

use super::cache::{self, PlanCache, Wanted};
use super::interned::Interned;
use super::point::is_point;
use super::variant::{Form, Known, open_literals};
use super::{Effect, Plan, PlanInputs, Progress, SessionView, statement};
use crate::catalog::own::is_asked_for;
use crate::error::{Family, Refusal, SqlState};
use crate::identity::Caller;
use crate::policy::kept::ByDecision;
use crate::rewrite::Body;
use crate::seal::Views;
use crate::sql::literal::{Literal, Skeleton};
use crate::sql::{self, Parsed, Statement};
use crate::telemetry::{Histogram, Reading, Stage, stages};
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// Longest statement string accepted, in bytes.
const MAX_STATEMENT: usize = 8 * 1024 * 1024;

/// Most tokens in a statement string, and most statements: a tree takes some kilobytes a token while it is checked.
const MAX_TOKENS: usize = 100_000;
const MAX_STATEMENTS: usize = 5_000;

/// Strings from this length on are planned one at a time, so that a few callers cannot take all memory and all threads.
const LARGE: usize = 32 * 1024;
/// Texts from this length on take their time.
const LONG: usize = 1024;

/// Most relations in a statement, when nothing else is said.
const MAX_RELATIONS: usize = 500;

/// Bytes of memory for kept plans, and as many for what is known of statements that differ in literals.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How often a form is tried for before statements with a skeleton are taken to have none, less one.
const TRIES: u8 = 2;

/// Policy views kept parsed.
const KEPT_VIEWS: usize = 4096;

/// Plans statements; owns the cache. Shared by all sessions of a proxy.
#[derive(Debug)]
pub struct Planner {
    cache: PlanCache,
    kept: Kept,
    counters: Counters,
    callers: Interned<Caller>,
    views: Interned<SessionView>,
    /// Held while a large string is planned.
    large: std::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Counters {
    kept: AtomicU64,
    filled: AtomicU64,
    planned: AtomicU64,
    /// Of those that were parsed: the stages, and all together.
    stages: [Histogram; 5],
    planning: Histogram,
}

/// Where plans came from, since the planner was made, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Strings whose plan was kept.
    pub kept: u64,
    /// Strings that differed in literals from what was planned.
    pub filled: u64,
    /// Strings that were parsed and decided, refused ones among them.
    pub planned: u64,
    /// Plans and forms that are held.
    pub entries: usize,
    /// Bytes of text that these take.
    pub bytes: u64,
}

/// What is made once for every decision: for the rewriter, and apart from it for the seal.
#[derive(Debug)]
pub(super) struct Kept {
    pub bodies: ByDecision<Body>,
    pub views: Views,
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
        let kept = Kept { bodies: ByDecision::new(KEPT_VIEWS), views: Views::new(KEPT_VIEWS), relations };
        Self {
            cache: PlanCache::new(CACHE_BYTES),
            kept,
            counters: Counters::default(),
            callers: Interned::default(),
            views: Interned::default(),
            large: std::sync::Mutex::new(()),
        }
    }

    /// A caller, shared with sessions of the same.
    pub fn shared_caller(&self, caller: Caller) -> Arc<Caller> {
        self.callers.shared(caller)
    }

    /// How long the stages of planning took, and planning as a whole, of strings that were parsed and decided.
    pub fn times(&self) -> ([Reading; 5], Reading) {
        (self.counters.stages.each_ref().map(Histogram::read), self.counters.planning.read())
    }

    /// A session's view, shared with sessions that are alike.
    pub fn shared_view(&self, view: SessionView) -> Arc<SessionView> {
        self.views.shared(view)
    }

    /// Where plans came from so far.
    pub fn counts(&self) -> Counts {
        let Counters { kept, filled, planned, .. } = &self.counters;
        let [kept, filled, planned] = [kept, filled, planned].map(|counter| counter.load(Relaxed));
        let (entries, bytes) = self.cache.size();
        Counts { kept, filled, planned, entries, bytes }
    }
}

impl Planner {
    /// Forgets what was made under other worlds than these, which are in force: it is never asked for again, and holds their catalogs.
    pub fn keep_only<'w>(&self, worlds: impl Iterator<Item = &'w World>) {
        let worlds: Vec<_> = worlds.map(cache::identity).collect();
        self.cache.keep_only(&worlds);
        self.kept.bodies.prune();
        self.kept.views.prune();
        self.forget_callers();
    }

    /// Forgets callers, and views of sessions, that no session and no plan holds.
    pub fn forget_callers(&self) {
        self.callers.prune();
        self.views.prune();
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
        let wanted = Wanted::new(text, &inputs);
        if let Some(plan) = self.cache.get(&wanted) {
            self.counters.kept.fetch_add(1, Relaxed);
            progress.admit(&plan)?;
            return Ok(vec![plan]);
        }
        // Literals that ask for the proxy's own relations change what the catalog lists.
        let asks = |literal: &Literal<'_>| literal.is_string() && is_asked_for(literal.token(), &[]);
        let skeleton = if text.len() < LARGE { Skeleton::of(text) } else { None };
        let skeleton = skeleton.filter(|skeleton| !skeleton.literals().iter().any(asks));
        let variant = skeleton.map(|skeleton| Variant::of(skeleton, self, &inputs));
        if let Some(plan) = variant.as_ref().and_then(Variant::plan) {
            self.counters.filled.fetch_add(1, Relaxed);
            #[cfg(debug_assertions)]
            self.held_against_the_long_way(text, &plan, &inputs)?;
            let plan = Arc::new(plan);
            progress.admit(&plan)?;
            return Ok(vec![plan]);
        }
        self.counters.planned.fetch_add(1, Relaxed);
        if text.len() >= LONG {
            progress.takes_long();
        }
        let watch = stages::start();
        let _turn = if text.len() >= LARGE {
            sql::limits::check_tokens(text, MAX_TOKENS)?;
            Some(self.large.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
        } else {
            None
        };
        let planned = sql::limits::with_stack(text, || {
            let parsed = parsed(text, &inputs)?;
            if let [single] = parsed.statements.as_slice() {
                let plan = Arc::new(statement::plan(single, text, &inputs, &self.kept, SystemTime::now())?);
                progress.admit(&plan)?;
                if variant.is_none_or(|variant| !variant.learn(single, &plan)) {
                    self.cache.put(&wanted, Arc::clone(&plan));
                }
                return Ok(vec![plan]);
            }
            let mut plans = Vec::with_capacity(parsed.statements.len());
            for part in &parsed.statements {
                // Each statement is decided in the session as those before it leave it.
                let inputs = progress.inputs()?;
                let plan = Arc::new(statement::plan(part, text, &inputs, &self.kept, SystemTime::now())?);
                let _ = plan.touched.part.set(text.get(part.range.clone()).unwrap_or(text).into());
                progress.admit(&plan)?;
                plans.push(plan);
            }
            Ok(plans)
        });
        let stages = watch.read();
        for (histogram, time) in self.counters.stages.iter().zip(stages.times) {
            histogram.observe(time);
        }
        self.counters.planning.observe(stages.ended.saturating_duration_since(stages.began));
        progress.planned(&stages);
        planned
    }

    /// Plans a text of one statement without looking at what is kept.
    fn the_long_way(&self, text: &str, inputs: &PlanInputs) -> Result<Plan, Refusal> {
        sql::limits::with_stack(text, || {
            let parsed = parsed(text, inputs)?;
            let [single] = parsed.statements.as_slice() else {
                return Err(Refusal::internal("not the one statement that was planned"));
            };
            statement::plan(single, text, inputs, &self.kept, SystemTime::now())
        })
    }

    /// Whether a plan that was made from a form is the one that the whole way leads to. Where it is not, a literal was open whose value
    /// matters: a defect of ours.
    #[cfg(debug_assertions)]
    fn held_against_the_long_way(&self, text: &str, plan: &Plan, inputs: &PlanInputs) -> Result<(), Refusal> {
        match self.the_long_way(text, inputs) {
            Ok(long) if long.same(plan) => Ok(()),
            // The catalog has changed since.
            Err(refusal) if refusal.family == Family::Upstream => Ok(()),
            Ok(_) | Err(_) => Err(Refusal::internal("a plan made from a form differs from the statement's own")),
        }
    }
}

/// All statements of a text, fewer than too many.
fn parsed(text: &str, inputs: &PlanInputs) -> Result<Parsed, Refusal> {
    let _stage = stages::enter(Stage::Parse);
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
    Ok(parsed)
}

/// A statement as one of those that differ from it in literals alone.
struct Variant<'a> {
    planner: &'a Planner,
    inputs: &'a PlanInputs,
    skeleton: Skeleton<'a>,
    /// The skeleton, with the literals in it that are not open.
    text: String,
    /// Of each literal whether it is open; `None`: all are.
    open: Option<Arc<[bool]>>,
    known: Option<Known>,
}

impl<'a> Variant<'a> {
    fn of(skeleton: Skeleton<'a>, planner: &'a Planner, inputs: &'a PlanInputs) -> Self {
        let text = skeleton.marked(|_| true);
        let mut variant = Self { planner, inputs, text, skeleton, open: None, known: None };
        variant.look();
        if let Some(Known::Partly(open)) = variant.known.take_if(|known| matches!(known, Known::Partly(_))) {
            variant.narrow(open);
            variant.look();
            // Its like was seen before.
            variant.known.get_or_insert(Known::Tried(0));
        }
        variant
    }

    fn look(&mut self) {
        self.known = self.planner.cache.known(&Wanted::new(&self.text, self.inputs));
    }

    /// Leaves only these literals open.
    fn narrow(&mut self, open: Arc<[bool]>) {
        self.text = self.skeleton.marked(|number| is_open(Some(&open), number));
        self.open = Some(open);
    }

    /// The open literals of a statement with this skeleton.
    fn literals<'s>(&self, skeleton: &Skeleton<'s>) -> Vec<Literal<'s>> {
        let open = |(number, literal): (usize, &Literal<'s>)| is_open(self.open.as_ref(), number).then_some(*literal);
        skeleton.literals().iter().enumerate().filter_map(open).collect()
    }

    /// The statement's plan, when the form of its like is known.
    fn plan(&self) -> Option<Plan> {
        match &self.known {
            Some(Known::Form(form)) if self.open.is_none() => form.plan(self.skeleton.literals()),
            Some(Known::Form(form)) => form.plan(&self.literals(&self.skeleton)),
            _ => None,
        }
    }

    /// Takes note of the statement's plan; true when its like needs no other plans from now on.
    fn learn(mut self, statement: &Statement, plan: &Plan) -> bool {
        let cache = &self.planner.cache;
        let key = |variant: &Self, known| cache.learn(&Wanted::new(&variant.text, variant.inputs), known);
        let tried = match &self.known {
            None => {
                key(&self, Known::Tried(0));
                return false;
            }
            Some(Known::Tried(tried)) => *tried,
            // Either it is of no use, or what was known has run out meanwhile.
            Some(Known::Nothing | Known::Partly(_) | Known::Form(_)) => return false,
        };
        if self.open.is_none() {
            match open_literals(&statement.node, &self.skeleton) {
                Some(open) if open.iter().all(|open| *open) => {}
                Some(open) => {
                    let open: Arc<[bool]> = open.into();
                    key(&self, Known::Partly(Arc::clone(&open)));
                    self.narrow(open);
                }
                None => {
                    key(&self, Known::Nothing);
                    return false;
                }
            }
        }
        let form = self.form(plan).map(|form| {
            if self.is_point(statement, plan) { form.repeated(&self.literals(&self.skeleton)) } else { form }
        });
        let found = form.is_some();
        // Literals that are printed otherwise than they were written (`-0`) say nothing of the next ones.
        let known = match form {
            Some(form) => Known::Form(Arc::new(form)),
            None if tried < TRIES => Known::Tried(tried + 1),
            None => Known::Nothing,
        };
        key(&self, known);
        found
    }

    /// Whether the warehouse plans the statement alike whatever its open literals are. Parameters of the caller's have no values here; what
    /// a string means may depend on settings of the session (`DateStyle`) when it is read, which is once for a prepared statement.
    fn is_point(&self, statement: &Statement, plan: &Plan) -> bool {
        let catalog = &self.inputs.world.catalog;
        let table = plan.table.and_then(|oid| catalog.relation_of(oid));
        let strings = self.skeleton.text().contains('\'');
        self.inputs.param_types.is_empty() && !strings && table.is_some_and(|table| is_point(&statement.node, table))
    }

    /// Goes the whole way again with other literals.
    fn form(&self, plan: &Plan) -> Option<Form> {
        let plain = plan.effect == Effect::None && plan.tag.is_none() && plan.instead.is_none() && !plan.holds_pid;
        if !plain {
            return None;
        }
        let varied = self.skeleton.varied(|number| is_open(self.open.as_ref(), number));
        let skeleton = Skeleton::of(&varied)?;
        let other = self.planner.the_long_way(&varied, self.inputs).ok()?;
        Form::of(plan, &self.literals(&self.skeleton), &other, &self.literals(&skeleton))
    }
}

fn is_open(open: Option<&Arc<[bool]>>, number: usize) -> bool {
    open.is_none_or(|open| open.get(number).copied().unwrap_or(false))
}
