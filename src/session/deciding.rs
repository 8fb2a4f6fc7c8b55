//! How a session comes to decisions: the newest world, the caller, the settings and names as they are now.
//!
//! In: a statement's text. Out: plans with what they change, or a refusal. Must never: send anything, or use a decision whose inputs
//! have changed.

use super::checks::bad_search_path;
use super::instead::Instead;
use super::moving::Moving;
use super::names::{Basis, Book, Change, Decided, Made};
use super::renewal::Renewals;
use super::scratch::Scratching;
use super::settings::{Settings, Values, split_search_path};
use super::speaking::Speaking;
use crate::audit::{Record, Speaker, Who};
use crate::catalog::scratch::Scratch;
use crate::error::{Family, Refusal, Routine, SqlState};
use crate::identity::{Actor, Caller, Signed};
use crate::lane;
use crate::plan::explain::outline_of;
use crate::plan::settings::{ACKNOWLEDGE, USER};
use crate::plan::{Acts, ErrorPolicy, Plan, PlanInputs, Progress, SessionView, Shown};
use crate::sql::NodeEnum;
use crate::sql::pb::{DiscardMode, VariableSetKind};
use crate::telemetry::traces::Traced;
use crate::telemetry::{Stages, Tally};
use crate::types::Oid;
use crate::upstream::Held;
use crate::wire::TransactionStatus;
use crate::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller's picture may be used while no new world was published: users expire without one.
const CALLER_AGE: Duration = Duration::from_millis(250);

/// A question under way, which goes on when nobody waits for it any more.
pub type Learning = tokio::task::JoinHandle<()>;

/// What a session stands on; the proxy's own, or a test's.
pub trait Surroundings: Send + Sync + 'static {
    /// The newest published world.
    fn world(&self) -> Arc<World>;
    /// Its version.
    fn version(&self) -> u64 {
        self.world().version
    }
    /// The caller under a project: who logged in, or somebody he acts for. 28000 when the login is unknown or disabled, 42501 when not a
    /// member, or when the login may not act for the user.
    fn caller(&self, world: &World, user: &str, project: Option<&str>) -> Result<Arc<Caller>, Refusal>;
    /// Records that the user accepts what a project asks for.
    fn acknowledge(&self, world: &World, user: &str, project: &str) -> Result<(), Refusal>;
    /// What the login may do for others; `None`: nothing.
    fn actor(&self) -> Option<&Actor> {
        None
    }
    /// Whether the login may act under no project.
    fn may_leave(&self) -> Result<(), Refusal> {
        Ok(())
    }
    /// A number that changes when somebody outside says something else of users.
    fn news(&self) -> u64 {
        0
    }
    /// What has to be waited for before statements of this user can be decided, when the login acts for him: what directories say of him.
    fn learn(&self, _user: &str) -> Option<Learning> {
        None
    }
    /// A view, shared with sessions that are alike.
    fn shared_view(&self, view: SessionView) -> Arc<SessionView> {
        Arc::new(view)
    }
    /// Where it is counted what statements come to.
    fn tally(&self) -> Arc<Tally> {
        Arc::default()
    }
    /// As [`crate::plan::Planner::plan_string`].
    fn plan(&self, sql: &str, progress: &mut dyn Progress) -> Result<Vec<Arc<Plan>>, Refusal>;
}

/// Bounds of what one session may hold.
#[derive(Debug, Clone, Copy)]
pub struct Holding {
    /// Bytes of one statement string.
    pub statement_bytes: usize,
    /// Prepared statements.
    pub statements: usize,
    /// Portals and cursors, each.
    pub portals: usize,
    /// Longest `statement_timeout` that may be set, in milliseconds.
    pub longest: Option<u32>,
}

/// How to undo one consequence of a statement that did not happen.
#[derive(Debug)]
pub enum Undo {
    /// The settings as they were.
    Settings(Box<Settings>),
    /// A prepared statement's name.
    Statement(Change),
    /// The unnamed statement before a Parse without a name: gone even if that Parse fails, there still if it is skipped
    /// (`exec_parse_message` drops it first).
    Dropped(Change),
    /// A portal's name.
    Portal(Change),
    /// A cursor's name.
    Cursor(Change),
    /// The temporary tables as they were known.
    Scratch(Box<Scratching>),
    /// A statement that is there for all clients of the warehouse's session.
    Held(Held),
    /// The unnamed statement in the warehouse's session.
    Unnamed,
    /// Statements are there, or not there, that nobody will know of.
    Spoiled,
}

/// One statement of a simple Query, planned and its consequences taken for granted.
#[derive(Debug)]
pub struct Part {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// How its errors are shown, those of what it executes included.
    pub errors: ErrorPolicy,
    /// What it executes or fetches from.
    pub inner: Option<Arc<Decided>>,
    /// Rows in place of the warehouse's.
    pub instead: Option<Instead>,
    /// How to undo it.
    pub undo: Vec<Undo>,
    /// Who says it.
    pub speaker: Arc<Speaker>,
    /// Its audit record.
    pub record: Option<Record>,
}

/// What a name stands for at this point.
#[derive(Debug)]
pub enum Found {
    /// This.
    Held(Arc<Decided>),
    /// Nothing.
    Missing,
    /// Not known before the batches under way have been answered.
    Unsettled,
}

/// What became of an earlier decision.
#[derive(Debug)]
pub enum Recheck {
    /// It stands.
    Same,
    /// Decided again: the same text would be sent.
    Renewed(Decided),
    /// Decided again: another text would be sent.
    Changed(Decided),
}

/// A session's state as far as decisions depend on it.
pub struct Deciding<A> {
    pub(super) around: Arc<A>,
    pub(super) who: Who,
    /// What the login may do for others.
    pub(super) acts: Acts,
    /// Whose things the warehouse's session may hold.
    pub(super) holder: Arc<str>,
    backend_pid: i32,
    pub(super) holding: Holding,
    /// Settings, supposing that everything sent succeeds.
    pub settings: Settings,
    /// Prepared statements of both kinds.
    pub statements: Book,
    /// Portals made by Bind.
    pub portals: Book,
    /// Cursors made by DECLARE.
    pub cursors: Book,
    /// The session's own temporary tables.
    pub scratch: Scratching,
    /// A statement was sent that ends or rewinds the failed transaction.
    pub(super) revived: bool,
    /// What has to be prepared again before what is planned now is sent.
    pub(super) renewals: Renewals,
    /// Transaction status of the last ReadyForQuery.
    pub status: TransactionStatus,
    /// The batch being sent; a batch ends with Sync or Query.
    pub batch: u64,
    /// The last batch whose ReadyForQuery has come.
    pub settled: u64,
    /// Set when a plan needs a name that is not settled: plan again later.
    pub(super) unsettled: bool,
    /// The view as last made, and what it was made of.
    view: Option<(Values, Arc<Scratch>, Arc<SessionView>)>,
    pub(super) caller: Option<Known>,
    pub(super) speaking: Speaking,
    /// When the messages that are dealt with came.
    pub(super) moment: Instant,
    /// Where the session is, if it moves.
    pub(super) moving: Moving,
    /// Where it is counted what statements come to.
    pub(super) tally: Arc<Tally>,
    /// When the last planning was done that took its time.
    pub(super) planned: Option<Stages>,
    /// What is traced of it, where traces are sent.
    pub(super) traced: Option<Box<Traced>>,
}

/// Equality of texts that mostly are one and the same.
fn same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// The caller as last looked up.
pub(super) struct Known {
    version: u64,
    news: u64,
    user: Arc<str>,
    project: Arc<str>,
    at: Instant,
    pub(super) caller: Arc<Caller>,
}

impl<A: Surroundings> Deciding<A> {
    /// A session's state at its start.
    pub fn new(around: Arc<A>, who: Who, settings: Settings, holding: Holding, scratch: Scratching) -> Self {
        let acts = around
            .actor()
            .map_or_else(Acts::default, |actor| Acts { others: true, signs_name: actor.ways.application_name });
        let tally = around.tally();
        Self {
            around,
            backend_pid: who.session,
            acts,
            holder: Arc::clone(&who.user),
            who,
            holding,
            settings,
            statements: Book::default(),
            portals: Book::default(),
            cursors: Book::default(),
            scratch,
            revived: false,
            renewals: Renewals::new(),
            status: TransactionStatus::Idle,
            batch: 1,
            settled: 0,
            unsettled: false,
            view: None,
            caller: None,
            speaking: None,
            moment: Instant::now(),
            moving: Moving::default(),
            tally,
            planned: None,
            traced: None,
        }
    }

    /// Who the session is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The project in force, empty when none.
    pub fn project(&self) -> &Arc<str> {
        &self.settings.current().project
    }

    fn view(&mut self) -> Result<Arc<SessionView>, Refusal> {
        let now = self.settings.current();
        if let Some((values, scratch, view)) = &self.view
            && values == now
            && Arc::ptr_eq(scratch, self.scratch.now())
        {
            return Ok(Arc::clone(view));
        }
        let values = now.clone();
        let search_path = split_search_path(&values.search_path, self.acting()).ok_or_else(bad_search_path)?;
        let view = self.around.shared_view(SessionView {
            search_path_text: values.search_path.as_ref().to_owned(),
            search_path,
            database: self.who.database.as_ref().to_owned(),
            project: values.project.as_ref().to_owned(),
            user: values.user.as_ref().to_owned(),
            acts: self.acts,
            longest: self.holding.longest,
            moves: self.moving.moves,
            scratch: Arc::clone(self.scratch.now()),
        });
        self.view = Some((values, Arc::clone(self.scratch.now()), Arc::clone(&view)));
        Ok(view)
    }

    fn caller(&mut self, world: &World) -> Result<Arc<Caller>, Refusal> {
        self.still_signed()?;
        let project = Arc::clone(&self.settings.current().project);
        // Before the caller is looked up: what changes meanwhile is seen next time.
        let news = self.around.news();
        if let Some(known) = &self.caller
            && known.version == world.version
            && known.news == news
            && same(&known.user, self.acting())
            && same(&known.project, &project)
            && self.moment.saturating_duration_since(known.at) < CALLER_AGE
        {
            return Ok(Arc::clone(&known.caller));
        }
        let asked = (!project.is_empty()).then_some(&*project);
        let user = Arc::clone(self.acting());
        let mut caller = self.around.caller(world, &user, asked)?;
        if let Some(known) = self.caller.take()
            && known.caller == caller
        {
            // The same value stays the same thing, which is quicker to compare.
            caller = known.caller;
        }
        let known =
            Known { version: world.version, news, user, project, at: Instant::now(), caller: Arc::clone(&caller) };
        self.caller = Some(known);
        Ok(caller)
    }

    /// What a decision made now is made under: the newest world, the caller checked again.
    fn basis(&mut self) -> Result<(Basis, Arc<World>), Refusal> {
        let world = self.around.world();
        let caller = self.caller(&world)?;
        self.names(&caller);
        let view = self.view()?;
        Ok((Basis { version: world.version, caller, view }, world))
    }

    /// As [`Self::basis`]; where the caller may not act under his project, or the login for its user, any more, statements that leave it or accept what it asks for
    /// are still decided, as those of nobody's project.
    fn basis_of(&mut self, sql: &str) -> Result<(Basis, Arc<World>), Refusal> {
        let refusal = match self.basis() {
            Err(refusal) if self.is_elsewhere() && leaves_a_project(sql, self.acts.signs_name) => refusal,
            found => return found,
        };
        let world = self.around.world();
        let Ok(caller) = self.around.caller(&world, &self.who.user, None) else { return Err(refusal) };
        let view = self.view()?;
        Ok((Basis { version: world.version, caller, view }, world))
    }

    /// Whether the session acts under a project, or for another.
    fn is_elsewhere(&self) -> bool {
        let now = self.settings.current();
        !now.project.is_empty() || !now.user.is_empty()
    }

    /// Looks a name up in a book.
    pub fn find(&self, book: &Book, name: &str) -> Found {
        match book.get(name) {
            Some(slot) if slot.batch != self.batch && slot.batch > self.settled => Found::Unsettled,
            Some(slot) => slot.held.as_ref().map_or(Found::Missing, |d| Found::Held(Arc::clone(d))),
            None if self.settled + 1 < self.batch => Found::Unsettled,
            None => Found::Missing,
        }
    }

    /// Whether planning stopped at a name that is not settled; asking clears it.
    pub fn take_unsettled(&mut self) -> bool {
        std::mem::take(&mut self.unsettled)
    }

    /// Plans a simple Query and takes its consequences for granted. On a refusal nothing has changed.
    pub fn plan_query(&mut self, sql: &str) -> Result<Vec<Part>, Refusal> {
        self.unsettled = false;
        self.renewals.clear();
        self.moving.spares.clear();
        self.short_enough(sql)?;
        let around = Arc::clone(&self.around);
        let under = self.basis_of(sql)?;
        let mut outlook = Outlook { deciding: self, sql, params: &[], parts: Some(Vec::new()), under };
        let planned = around.plan(sql, &mut outlook);
        let mut parts = outlook.parts.take().unwrap_or_default();
        let refusal = match planned {
            Ok(plans) if plans.len() == parts.len() => match self.records(sql, &mut parts) {
                Ok(()) => return Ok(parts),
                Err(refusal) => refusal,
            },
            Ok(_) => Refusal::internal("a statement was planned and not admitted"),
            Err(refusal) => refusal,
        };
        for part in parts.into_iter().rev() {
            self.undo(part.undo, &mut std::iter::empty());
        }
        if !self.unsettled {
            self.refused(sql, &refusal);
        }
        Err(refusal)
    }

    /// Begins the records of statements that are about to be sent.
    fn records(&mut self, sql: &str, parts: &mut [Part]) -> Result<(), Refusal> {
        for part in parts {
            self.allowed(part.plan.kind(), sql);
            let record = Record::allowed(&part.speaker, self.batch, sql, Some(&part.plan))?;
            part.record = Some(record.with(part.inner.as_ref().and_then(|inner| inner.told())));
        }
        Ok(())
    }

    /// Plans one statement, or none, for Parse: nothing is taken for granted before Execute.
    pub fn plan_parse(&mut self, sql: &str, params: &[Oid], signed: Option<Arc<Signed>>) -> Result<Decided, Refusal> {
        self.short_enough(sql)
            .and_then(|()| self.plan_again(&Arc::from(sql), &Arc::from(params), Made::Parse, signed))
            .inspect_err(|refusal| self.refused(sql, refusal))
    }

    fn short_enough(&self, sql: &str) -> Result<(), Refusal> {
        let most = self.holding.statement_bytes;
        if sql.len() <= most {
            return Ok(());
        }
        let text = format!("a statement may be at most {most} bytes long");
        let hint = "Send data by COPY or as parameters, or ask an administrator to raise limits.statement_bytes.";
        Err(Refusal::new(Family::Unsupported, SqlState::PROGRAM_LIMIT_EXCEEDED, text).with_hint(hint))
    }

    fn plan_again(
        &mut self,
        sql: &Arc<str>,
        params: &Arc<[Oid]>,
        made: Made,
        signed: Option<Arc<Signed>>,
    ) -> Result<Decided, Refusal> {
        let around = Arc::clone(&self.around);
        let under = self.basis_of(sql)?;
        let basis = under.0.clone();
        let mut outlook = Outlook { deciding: self, sql, params, parts: None, under };
        let plans = around.plan(sql, &mut outlook)?;
        let mut plans = plans.into_iter();
        let plan = plans.next();
        self.hold(&basis.caller, plan.as_deref())?;
        if plans.next().is_some() {
            return Err(Refusal::new(
                Family::Caller,
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        Ok(Decided { sql: Arc::clone(sql), params: Arc::clone(params), plan, basis, made, present: true, signed })
    }

    /// Whether an earlier decision is the one that would be made now, as far as that can be told at a glance: nothing it depends on was so
    /// much as looked up again.
    pub(super) fn stands(&self, earlier: &Decided) -> bool {
        let now = self.settings.current();
        let Decided { basis, plan, .. } = earlier;
        let Some(known) = &self.caller else { return false };
        now.until.is_none()
            && !self.acts.others
            && self.around.version() == basis.version
            && known.version == basis.version
            && known.news == self.around.news()
            && Arc::ptr_eq(&known.caller, &basis.caller)
            && same(&known.project, &now.project)
            && same(&known.user, self.acting())
            && self.moment.saturating_duration_since(known.at) < CALLER_AGE
            && self.view.as_ref().is_some_and(|(values, scratch, view)| {
                Arc::ptr_eq(view, &basis.view) && values == now && Arc::ptr_eq(scratch, self.scratch.now())
            })
            && plan.as_ref().is_none_or(|plan| plan.valid_until.is_none())
    }

    /// Decides again what was decided earlier, when anything it depends on has changed.
    pub fn recheck(&mut self, earlier: &Decided) -> Result<Recheck, Refusal> {
        #[cfg(feature = "disarm")]
        if crate::disarm::is_off(crate::disarm::Defence::Again) {
            return Ok(Recheck::Same);
        }
        if self.stands(earlier) {
            return Ok(Recheck::Same);
        }
        let (now, _) = self.basis_of(&earlier.sql)?;
        if earlier.holds(&now) {
            self.hold(&now.caller, earlier.plan.as_deref())?;
            return Ok(Recheck::Same);
        }
        let signed = earlier.signed.clone();
        let mut again =
            self.plan_again(&earlier.sql, &earlier.params, earlier.made, signed).map_err(|mut refusal| {
                // Its position counts in another text than the one the client is waiting for.
                refusal.position = None;
                self.refused(&earlier.sql, &refusal);
                refusal
            })?;
        again.present = earlier.present;
        if earlier.same_text(again.plan.as_ref()) {
            return Ok(Recheck::Renewed(again));
        }
        if earlier.made != Made::Declare && !earlier.gives_the_same(again.plan.as_ref()) {
            let text = "cached plan must not change result type";
            let routine = Some(Routine::RevalidateCachedQuery);
            let refusal =
                Refusal { routine, ..Refusal::new(Family::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, text) };
            self.refused(&earlier.sql, &refusal);
            return Err(refusal);
        }
        Ok(Recheck::Changed(again))
    }

    /// Rows that a statement with this plan answers with in place of the warehouse's.
    pub fn instead(&self, plan: &Plan, inner: Option<&Arc<Decided>>) -> Result<Option<Arc<[String]>>, Refusal> {
        Ok(match &plan.instead {
            None => None,
            Some(Shown::Rows(rows)) => Some(Arc::clone(rows)),
            Some(Shown::Executed(form)) => {
                let inner = inner.ok_or_else(|| Refusal::internal("nothing is executed"))?;
                Some(outline_of(&inner.sql, &self.around.world().catalog, *form)?)
            }
        })
    }
}

/// Whether a text holds nothing but statements that leave a project or a user, choose another, accept what one asks for, end a
/// transaction, or clear the session: they read nothing.
fn leaves_a_project(sql: &str, by_name: bool) -> bool {
    /// Longer texts are something else.
    const LONGEST: usize = 1024;
    let leaves = |node: &NodeEnum| match node {
        NodeEnum::VariableSetStmt(set) => {
            let name = set.name.to_ascii_lowercase();
            set.kind == i32::from(VariableSetKind::VarResetAll)
                || ["sqlveil.project", USER, ACKNOWLEDGE].contains(&name.as_str())
                || (by_name && name == "application_name")
        }
        NodeEnum::DiscardStmt(discard) => discard.target == i32::from(DiscardMode::DiscardAll),
        NodeEnum::TransactionStmt(_) => true,
        _ => false,
    };
    sql.len() <= LONGEST
        && crate::sql::parse_apart(sql).is_ok_and(|parsed| parsed.statements.iter().all(|s| leaves(&s.node)))
}

/// The session as a string of statements unfolds. With `parts`, each statement's consequences are taken for granted for those behind
/// it; without, nothing changes (Parse).
struct Outlook<'a, A> {
    deciding: &'a mut Deciding<A>,
    sql: &'a str,
    params: &'a [Oid],
    parts: Option<Vec<Part>>,
    /// What the next statement is decided under.
    under: (Basis, Arc<World>),
}

impl<A: Surroundings> Progress for Outlook<'_, A> {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        let (Basis { caller, view, .. }, world) = self.under.clone();
        let backend_pid = self.deciding.backend_pid;
        Ok(PlanInputs { param_types: self.params.to_vec(), caller, world, session: view, backend_pid })
    }

    fn takes_long(&self) {
        lane::step_aside();
    }

    fn planned(&mut self, stages: &Stages) {
        self.deciding.planned = Some(*stages);
    }

    fn admit(&mut self, plan: &Arc<Plan>) -> Result<(), Refusal> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        self.deciding.hold(&self.under.0.caller, Some(plan))?;
        self.deciding.moving.note(plan);
        let inner = self.deciding.check(&plan.effect)?;
        let errors = errors_of(plan, inner.as_ref());
        let instead = self.deciding.instead(plan, inner.as_ref())?.map(Instead::all);
        // It is his who the session was for in front of it.
        let speaker = Arc::clone(self.deciding.speaker());
        let undo = self.deciding.apply(plan, &Arc::from([]), &self.under.0);
        let changed = !undo.is_empty();
        parts.push(Part { plan: Arc::clone(plan), errors, inner, instead, undo, speaker, record: None });
        if changed {
            self.under = self.deciding.basis_of(self.sql)?;
        }
        Ok(())
    }
}

/// How errors of a statement are shown. EXECUTE and FETCH read nothing themselves: what they execute says it, and their own policy,
/// the strictest, holds where that is not known.
pub fn errors_of(plan: &Plan, inner: Option<&Arc<Decided>>) -> ErrorPolicy {
    inner.and_then(|d| d.plan.as_ref()).map_or(plan.errors, |inner| inner.errors)
}
