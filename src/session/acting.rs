//! For whom a session acts, and that nothing one user leaves in it is there for the next.
//!
//! In: settings, signed texts, messages as they come. Out: the user a statement is decided for, and the statements that clear the
//! warehouse's session when another user's turn comes. Must never: run a statement for a user in a session that holds another's
//! temporary tables, cursors or settings, or cost anything where the login acts for nobody else.
//!
//! The warehouse's session has a *holder*: the last user who did anything in it. Between transactions a change of user clears it first,
//! in a Query of ours that is sent ahead of the client's message and waits for nothing. Inside a transaction only the login itself may
//! be followed by a user, and only while it has no temporary tables: whose transaction it is does not change.

use super::deciding::{Deciding, Learning, Surroundings};
use super::engine::{Engine, Outgoing, Wait};
use super::names::Decided;
use super::scratch::Scratching;
use crate::audit::{Record, Speaker};
use crate::error::Refusal;
use crate::identity::impersonation::{Signed, expired, in_the_middle, leading_comment, signed_name};
use crate::identity::{Actor, Caller};
use crate::plan::settings::USER;
use crate::plan::{Effect, Plan};
use crate::seal;
use crate::sql::NodeEnum;
use crate::sql::pb::a_const::Val;
use crate::wire::{Frontend, Target, TransactionStatus, backend};
use bytes::BytesMut;
use jiff::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;

/// Longest text that is looked into for whom it turns to; for a longer one the session is cleared when it might turn to somebody.
const LONGEST: usize = 16 * 1024;

/// For whom a message is.
enum Turn {
    /// For whom the settings say.
    AsSet,
    /// For whom its signature says; nobody without one.
    Signed(Option<Signed>),
}

impl<A: Surroundings> Deciding<A> {
    /// Whether the login may act for others.
    pub(super) fn acts(&self) -> bool {
        self.acts.others
    }

    /// The login, when it may act for others.
    pub(super) fn actor(&self) -> Option<&Actor> {
        self.around.actor()
    }

    /// The user that the next statement is decided for.
    pub(super) fn acting(&self) -> &Arc<str> {
        let user = &self.settings.current().user;
        if user.is_empty() { &self.who.user } else { user }
    }

    /// Refuses when the signature that names the user has run out.
    pub(super) fn still_signed(&self) -> Result<(), Refusal> {
        let now = self.settings.current();
        match now.until {
            Some(until) if Timestamp::now() >= until => Err(expired(&now.user)),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes note of whom a statement is decided for, for the audit records.
    pub(super) fn names(&mut self, caller: &Caller) {
        if self.acts.others {
            self.who.acting_for = (*caller.user != *self.who.user).then(|| Arc::clone(&caller.user));
        }
    }

    /// Records the refusal of a message whose user is not known.
    pub(super) fn nobodys(&mut self, text: &str, refusal: &Refusal) {
        self.who.acting_for = None;
        self.tally.refused(text, refusal.family);
        let nobody = Speaker::new(&self.who, &"".into(), None);
        Record::refused(&nobody, self.batch, text, refusal);
    }

    /// Takes note that a statement is about to be sent for this caller.
    ///
    /// # Errors
    /// 25001 where another user's things are in the session and cannot be cleared now.
    pub(super) fn hold(&mut self, caller: &Caller, plan: Option<&Plan>) -> Result<(), Refusal> {
        if !self.acts.others || caller.user == self.holder || plan.is_none_or(|plan| only_turns(&plan.effect)) {
            return Ok(());
        }
        // What the login does in between does not make the session its own again.
        if *caller.user == *self.who.user {
            // But it does not find the user's temporary tables.
            return if self.scratch.is_none() { Ok(()) } else { Err(in_the_middle()) };
        }
        if self.is_left_by_others() {
            return Err(in_the_middle());
        }
        self.holder = Arc::clone(&caller.user);
        Ok(())
    }

    /// Whether the session may hold things that a next user must not find.
    fn is_left_by_others(&self) -> bool {
        self.holder != self.who.user || !self.scratch.is_none()
    }

    /// Whether a user's turn has come who is not the holder.
    fn is_anothers_turn(&self, user: &str) -> bool {
        *user != *self.holder && self.is_left_by_others()
    }

    /// What a signed text says.
    fn read_signed(&self, text: &str) -> Result<Signed, Refusal> {
        let denied = || Refusal::denied("permission denied to act for another user");
        self.around.actor().ok_or_else(denied)?.signed(text, Timestamp::now())
    }

    /// What a signed text says, and that it may be acted for him.
    pub(super) fn check_signed(&mut self, text: &str) -> Result<Signed, Refusal> {
        let signed = self.read_signed(text)?;
        self.may_act_for(&signed)?;
        Ok(signed)
    }

    fn may_act_for(&self, signed: &Signed) -> Result<(), Refusal> {
        let world = self.around.world();
        let project = Some(&*signed.project).filter(|key| !key.is_empty());
        self.around.caller(&world, &signed.user, project).map(drop)
    }

    /// Refuses to change whom the session acts for where a comment has said it: whoever writes the statements of a tool must not get at
    /// what its login may see.
    ///
    /// # Errors
    /// 42501.
    fn may_turn(&self) -> Result<(), Refusal> {
        let commented = self.around.actor().is_some_and(|actor| actor.ways.comment);
        if !commented || self.settings.current().until.is_none() {
            return Ok(());
        }
        Err(Refusal::denied(format!("permission denied to set parameter \"{USER}\""))
            .with_hint("The signed comment says for whom the statement is."))
    }

    /// Whether the setting may be changed: to a user, or back.
    pub(super) fn check_turn(&mut self, user: Option<&str>, local: bool) -> Result<(), Refusal> {
        self.may_turn()?;
        user.filter(|user| !user.is_empty()).map_or(Ok(()), |user| self.check_user(user, local))
    }

    /// Whether the login may name a user in the setting.
    pub(super) fn check_user(&mut self, user: &str, local: bool) -> Result<(), Refusal> {
        if *user == *self.who.user {
            return Ok(());
        }
        match self.around.actor() {
            Some(actor) => actor.may_set(user, local)?,
            None => return Err(Refusal::denied(format!("permission denied to set parameter \"{USER}\""))),
        }
        let world = self.around.world();
        self.around.caller(&world, user, None).map(drop)
    }

    /// Whether what was decided earlier is for another user than the one whose turn it is.
    pub(super) fn is_anothers(&self, decided: &Decided) -> bool {
        self.acts.others && decided.basis.caller.user != *self.acting()
    }

    /// Nothing of anybody is left in the session.
    fn cleared(&mut self) {
        self.holder = Arc::clone(&self.who.user);
        self.scratch = Scratching::new(self.scratch.now().enabled);
        // Nothing is under way: nobody will want to undo this.
        drop(self.cursors.close_all(self.settled));
        self.cursors.retain(self.settled, |_| true);
    }

    /// The users that a text turns to with `SET sqlveil.user` or a signed application name, the login for RESET.
    fn turns_to(&self, sql: &str) -> Vec<String> {
        let mentions =
            |word: &str| sql.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()));
        let by_name = self.acts.signs_name && mentions("application_name");
        if !by_name && !mentions("sqlveil") {
            return Vec::new();
        }
        if sql.len() > LONGEST {
            // To somebody, perhaps: nobody is called so.
            return vec![String::new()];
        }
        let Ok(parsed) = crate::sql::parse_apart(sql) else { return Vec::new() };
        let turn = |node: &NodeEnum| {
            let NodeEnum::VariableSetStmt(set) = node else { return None };
            let value = set.args.first().and_then(|arg| match &arg.node {
                Some(NodeEnum::AConst(constant)) => match &constant.val {
                    Some(Val::Sval(text)) => Some(text.sval.as_str()),
                    _ => None,
                },
                _ => None,
            });
            let own = || self.who.user.to_string();
            if set.name.eq_ignore_ascii_case(USER) {
                return Some(value.filter(|v| !v.is_empty()).map_or_else(own, str::to_owned));
            }
            if !by_name || !set.name.eq_ignore_ascii_case("application_name") {
                return None;
            }
            let signed = value.and_then(signed_name).zip(self.around.actor());
            let signed = signed.and_then(|(text, actor)| actor.signed(text, Timestamp::now()).ok());
            Some(signed.map_or_else(own, |signed| signed.user.to_string()))
        };
        parsed.statements.iter().filter_map(|s| turn(&s.node)).collect()
    }
}

/// What the client knows of its application's name. PostgreSQL reports every change of it (`GUC_REPORT`); poolers go by that when clients
/// take turns. A signed name is not in the warehouse, which therefore reports nothing of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Naming {
    /// As the warehouse has it.
    warehouse: String,
    /// As the client was told last.
    told: String,
}

impl Naming {
    /// At the beginning both are as the warehouse says.
    pub(super) fn begun(name: &str) -> Self {
        Self { warehouse: name.to_owned(), told: name.to_owned() }
    }
}

impl<A: Surroundings> Engine<A> {
    /// The warehouse reports a change of the name; false when the client is not to be told now, but by [`Self::report_name`].
    pub(super) fn named(&mut self, name: &str) -> bool {
        if self.deciding.acts.signs_name {
            name.clone_into(&mut self.naming.warehouse);
        }
        !self.deciding.acts.signs_name
    }

    /// Reports the name that is in force, should the client know another one.
    pub(super) fn report_name(&mut self, out: &mut BytesMut) {
        let signed = self.deciding.settings.current().signed_name.as_deref();
        let name = signed.unwrap_or(&self.naming.warehouse);
        if name != self.naming.told {
            backend::parameter_status(out, "application_name", name);
            self.naming.told = name.to_owned();
        }
    }

    /// The session begins, for somebody else when that is asked for; a user who was named by a signature stays.
    ///
    /// # Errors
    /// When the login may not act for him, or he not under the project.
    pub fn begin_as(&mut self, user: Option<&str>, project: Option<&str>) -> Result<(), Refusal> {
        let deciding = &mut self.deciding;
        if let Some(user) = user {
            deciding.check_user(user, false)?;
        }
        let own = Arc::clone(&deciding.who.user);
        deciding.settings.start_as(user.filter(|user| **user != *own), project);
        if deciding.settings.current().user.is_empty() {
            return Ok(());
        }
        let (world, user) = (deciding.around.world(), Arc::clone(deciding.acting()));
        let project = Arc::clone(&deciding.settings.current().project);
        deciding.around.caller(&world, &user, Some(&*project).filter(|key| !key.is_empty())).map(drop)
    }

    /// Whose turn it is with a message, before it is dealt with: clears the session when it was another's. `Some`: it is not dealt with
    /// now.
    pub(super) fn turn(&mut self, message: &Frontend<'_>, out: &mut Outgoing) -> Result<Option<Wait>, Refusal> {
        let comments = self.deciding.actor().is_some_and(|actor| actor.ways.comment);
        let (turn, text) = match message {
            Frontend::Query { sql } | Frontend::Parse { sql, .. } => {
                let turn = match leading_comment(sql).filter(|_| comments) {
                    Some((signed, _)) => Turn::Signed(Some(self.deciding.read_signed(signed)?)),
                    None if comments => Turn::Signed(None),
                    None => Turn::AsSet,
                };
                (turn, Some(*sql))
            }
            Frontend::Bind { statement, .. } => (self.signed_for(Target::Statement, statement)?, None),
            Frontend::Describe(target, name) => (self.signed_for(*target, name)?, None),
            Frontend::Execute { portal, .. } => (self.signed_for(Target::Portal, portal)?, None),
            _ => return Ok(None),
        };
        let deciding = &self.deciding;
        let mut users: Vec<Arc<str>> = match &turn {
            Turn::AsSet => vec![Arc::clone(deciding.acting())],
            Turn::Signed(Some(signed)) => vec![Arc::clone(&signed.user)],
            Turn::Signed(None) => vec![Arc::clone(&deciding.who().user)],
        };
        users.extend(text.map(|sql| deciding.turns_to(sql)).unwrap_or_default().into_iter().map(Into::into));
        if self.learns(&users) {
            return Ok(Some(Wait::Learned));
        }
        if let (Turn::Signed(Some(signed)), Some(_)) = (&turn, text) {
            self.deciding.may_act_for(signed)?;
        }
        let deciding = &self.deciding;
        let between = !self.is_open() && self.status() == TransactionStatus::Idle;
        if between && users.iter().any(|user| deciding.is_anothers_turn(user)) {
            if !self.queue.is_empty() {
                return Ok(Some(Wait::Drained));
            }
            self.clear(out)?;
        }
        self.take_turn(turn);
        Ok(None)
    }

    /// Whether something has to be learned about these users before it is their turn. Once for each message: what is not known then is
    /// refused.
    fn learns(&mut self, users: &[Arc<str>]) -> bool {
        if std::mem::take(&mut self.learned) {
            return false;
        }
        let own = &self.deciding.who().user;
        let wanted = users.iter().filter(|user| *user != own);
        let under_way: Vec<Learning> = wanted.filter_map(|user| self.deciding.around.learn(user)).collect();
        if under_way.is_empty() {
            return false;
        }
        self.learning = Some(tokio::spawn(async move {
            for one in under_way {
                // Whether anything was learned shows when it is needed.
                let _ = one.await;
            }
        }));
        true
    }

    /// What is being learned about users, for whoever waits for it.
    pub fn take_learning(&mut self) -> Option<Learning> {
        self.learning.take()
    }

    /// It is not learned yet.
    pub fn put_learning(&mut self, learning: Option<Learning>) {
        self.learning = learning;
    }

    /// It has been learned, as far as it can be.
    pub fn has_learned(&mut self) {
        self.learning = None;
        self.learned = true;
    }

    fn take_turn(&mut self, turn: Turn) {
        let Turn::Signed(signed) = turn else { return };
        let nobody = || Signed { user: "".into(), project: "".into(), until: Timestamp::MAX };
        let own = Arc::clone(&self.deciding.who().user);
        let signed = signed.filter(|signed| signed.user != own).unwrap_or_else(nobody);
        let until = (!signed.user.is_empty()).then_some(signed.until);
        let now = self.deciding.settings.current();
        let same =
            now.user == signed.user && now.until == until && (signed.user.is_empty() || now.project == signed.project);
        if same {
            return;
        }
        self.deciding.settings.turn_to(&signed.user, &signed.project, until);
    }

    /// Whom a prepared statement or a portal was signed for.
    fn signed_for(&mut self, target: Target, name: &str) -> Result<Turn, Refusal> {
        if !self.deciding.actor().is_some_and(|actor| actor.ways.comment) {
            return Ok(Turn::AsSet);
        }
        let book = match target {
            Target::Statement => &self.deciding.statements,
            Target::Portal => &self.deciding.portals,
        };
        let held = book.get(name).and_then(|slot| slot.held.as_ref());
        let signed = held.and_then(|decided| decided.signed.clone());
        match signed {
            Some(signed) if Timestamp::now() >= signed.until => Err(expired(&signed.user)),
            signed => Ok(Turn::Signed(signed.as_deref().cloned())),
        }
    }

    /// What the signature of a text says, which was checked when its turn came.
    pub(super) fn signed_now(&self, sql: &str) -> Option<Arc<Signed>> {
        let actor = self.deciding.actor().filter(|actor| actor.ways.comment)?;
        let (text, _) = leading_comment(sql)?;
        actor.signed(text, Timestamp::now()).ok().map(Arc::new)
    }

    /// Sends what clears the warehouse's session and gives it the login's own settings again.
    fn clear(&mut self, out: &mut Outgoing) -> Result<(), Refusal> {
        let settings = self.deciding.settings.own_forwarded();
        self.own(&[seal::clear(settings.values())], out)?;
        self.deciding.cleared();
        self.noticed.clear();
        Ok(())
    }
}

/// Whether a statement only says whose turn it is, or where a transaction begins and ends.
fn only_turns(effect: &Effect) -> bool {
    match effect {
        Effect::Set { .. }
        | Effect::Acting { .. }
        | Effect::ResetAll
        | Effect::DiscardAll
        | Effect::Begin
        | Effect::Commit
        | Effect::Rollback
        | Effect::Savepoint(_)
        | Effect::RollbackTo(_)
        | Effect::Release(_) => true,
        Effect::None
        | Effect::Forwarded { .. }
        | Effect::Configured { .. }
        | Effect::Prepare { .. }
        | Effect::Execute { .. }
        | Effect::Deallocate(_)
        | Effect::Declare { .. }
        | Effect::Fetch { .. }
        | Effect::CloseCursor(_)
        | Effect::Scratch(_) => false,
    }
}

/// What a text says besides its signature: the comment becomes blanks, so that places stay where they are and plans are found again.
pub(super) fn unsigned<'s>(sql: &'s str, actor: Option<&Actor>) -> Cow<'s, str> {
    match leading_comment(sql).filter(|_| actor.is_some_and(|actor| actor.ways.comment)) {
        Some((_, end)) => {
            let rest = sql.get(end..).unwrap_or_default();
            Cow::Owned(format!("{:end$}{rest}", ""))
        }
        None => Cow::Borrowed(sql),
    }
}
