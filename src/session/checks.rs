//! Whether a statement with an effect on the session may be sent now: settings that it sets, names that it uses or takes, room for them.
//!
//! In: an effect, the session's settings and names. Out: what it executes or fetches from, or a refusal. Must never: change a setting or
//! a name; that is for [`super::effects`].

use super::deciding::{Deciding, Found, Recheck, Surroundings};
use super::names::{Decided, Made};
use super::settings::{Name, split_search_path};
use crate::error::{Family, Refusal, SqlState};
use crate::plan::Effect;
use crate::plan::settings::ACKNOWLEDGE;
use crate::upstream::message::OWN_NAMES;
use std::sync::Arc;

impl<A: Surroundings> Deciding<A> {
    /// Whether a statement with this effect may be sent now; gives what it executes or fetches from.
    pub fn check(&mut self, effect: &Effect) -> Result<Option<Arc<Decided>>, Refusal> {
        match effect {
            Effect::Set { name, value, local } => self.check_set(name, value.as_deref(), *local).map(|()| None),
            Effect::Acting { signed: Some(text), .. } => self.check_signed(text).map(|_| None),
            Effect::Execute { name } => {
                let found = self.find(&self.statements, name);
                let hint = "DEALLOCATE it and prepare it again";
                self.check_named(found, hint, SqlState::INVALID_SQL_STATEMENT_NAME, "prepared statement", name)
                    .map(Some)
            }
            Effect::Fetch { name } => {
                let found = match self.find(&self.cursors, name) {
                    Found::Missing => self.find(&self.portals, name),
                    found => found,
                };
                let hint = "close it and declare it again";
                self.check_named(found, hint, SqlState::INVALID_CURSOR_NAME, "cursor", name).map(Some)
            }
            Effect::Deallocate(Some(name)) if name.starts_with(OWN_NAMES) => {
                let text = format!("prepared statement \"{name}\" does not exist");
                Err(Refusal::new(Family::Caller, SqlState::INVALID_SQL_STATEMENT_NAME, text))
            }
            Effect::Prepare { name, .. } if name.starts_with(OWN_NAMES) => {
                let text = format!("names that begin with \"{OWN_NAMES}\" are reserved");
                Err(Refusal::new(Family::Unsupported, SqlState::RESERVED_NAME, text).with_hint("Choose another name."))
            }
            Effect::Prepare { name, .. } if self.statements.get(name).is_none() => {
                bounded(self.statements.len(), self.holding.statements, "prepared statements").map(|()| None)
            }
            Effect::Declare { name, .. } if self.cursors.get(name).is_none() => {
                bounded(self.cursors.len(), self.holding.portals, "cursors").map(|()| None)
            }
            Effect::None
            | Effect::Forwarded { .. }
            | Effect::Configured { .. }
            | Effect::Acting { signed: None, .. }
            | Effect::ResetAll
            | Effect::DiscardAll
            | Effect::Begin
            | Effect::Commit
            | Effect::Rollback
            | Effect::Savepoint(_)
            | Effect::RollbackTo(_)
            | Effect::Release(_)
            | Effect::Prepare { .. }
            | Effect::Deallocate(_)
            | Effect::Declare { .. }
            | Effect::CloseCursor(_)
            | Effect::Scratch(_) => Ok(None),
        }
    }

    fn check_set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), Refusal> {
        if name == ACKNOWLEDGE {
            let Some(key) = value.filter(|key| !key.is_empty()) else {
                let text = format!("invalid value for parameter \"{ACKNOWLEDGE}\"");
                return Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text)
                    .with_hint("Set it to the key of a project to accept what the project asks for."));
            };
            let world = self.around.world();
            self.caller = None;
            let user = Arc::clone(self.acting());
            return self.around.acknowledge(&world, &user, key);
        }
        match Name::of(name) {
            Some(Name::SearchPath) => match value.map(|v| split_search_path(v, self.acting())) {
                Some(None) => Err(bad_search_path()),
                Some(Some(_)) | None => Ok(()),
            },
            Some(Name::Project) => match value {
                Some(key) if !key.is_empty() => {
                    let world = self.around.world();
                    let user = Arc::clone(self.acting());
                    self.around.caller(&world, &user, Some(key)).map(drop)
                }
                Some(_) | None => self.around.may_leave(),
            },
            Some(Name::User) => self.check_turn(value, local),
            None => Err(Refusal::internal("a setting the proxy does not hold")),
        }
    }

    fn check_named(
        &mut self,
        found: Found,
        hint: &str,
        code: SqlState,
        kind: &str,
        name: &str,
    ) -> Result<Arc<Decided>, Refusal> {
        let held = match found {
            // A cursor is its user's own.
            Found::Held(held) if !(kind == "cursor" && self.is_anothers(&held)) => held,
            Found::Held(_) | Found::Missing => {
                return Err(Refusal::new(Family::Caller, code, format!("{kind} \"{name}\" does not exist")));
            }
            Found::Unsettled => {
                self.unsettled = true;
                return Err(Refusal::internal("not settled"));
            }
        };
        // A statement with effects of its own is only followed through Bind and Execute.
        // So is one whose rows are not the warehouse's.
        let plain = held.plan.as_ref().is_none_or(|plan| match plan.effect {
            Effect::None | Effect::Forwarded { .. } => plan.instead.is_none(),
            Effect::Prepare { .. } => held.made == Made::Prepare,
            Effect::Declare { .. } => held.made == Made::Declare,
            _ => false,
        });
        if !plain {
            return Err(Refusal::unsupported(format!("{kind} \"{name}\" cannot be used in this way")));
        }
        let executed = kind != "cursor" && held.made == Made::Prepare;
        if kind != "cursor" && !executed && self.moving.shares() {
            let text = format!("EXECUTE of \"{name}\", which was not made by PREPARE, is not supported");
            return Err(Refusal::unsupported(text).with_hint("Clients take turns in the warehouse's sessions here."));
        }
        match self.recheck(&held)? {
            Recheck::Same => {
                if executed {
                    self.used(name)?;
                }
                Ok(held)
            }
            Recheck::Renewed(again) => {
                if executed {
                    self.used(name)?;
                }
                Ok(Arc::new(again))
            }
            Recheck::Changed(again) if executed => self.renew(name, again),
            Recheck::Changed(_) => {
                Err(Refusal::unsupported(format!("the policy of {kind} \"{name}\" has changed")).with_hint(hint))
            }
        }
    }

    /// Room for one more prepared statement.
    pub fn room_for_statement(&self, name: &str) -> Result<(), Refusal> {
        match self.statements.get(name) {
            Some(_) => Ok(()),
            None => bounded(self.statements.len(), self.holding.statements, "prepared statements"),
        }
    }

    /// Room for one more portal.
    pub fn room_for_portal(&self, name: &str) -> Result<(), Refusal> {
        match self.portals.get(name) {
            Some(_) => Ok(()),
            None => bounded(self.portals.len(), self.holding.portals, "portals"),
        }
    }
}

pub(super) fn bad_search_path() -> Refusal {
    Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, "invalid value for parameter \"search_path\"")
}

fn bounded(held: usize, most: usize, what: &str) -> Result<(), Refusal> {
    if held < most {
        return Ok(());
    }
    Err(Refusal::new(
        Family::Unsupported,
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("a session may hold at most {most} {what}"),
    ))
}
