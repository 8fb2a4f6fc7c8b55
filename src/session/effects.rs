//! What statements change about the session: settings, names, temporary tables, the transaction. Taken for granted when a statement is sent,
//! undone when it did not happen.
//!
//! In: plans as they are sent, and how the warehouse has answered. Out: the session as it will be, with how to undo it. Must never: keep what
//! the warehouse has rolled back.

use super::deciding::{Deciding, Surroundings, Undo};
use super::names::{Basis, Decided, Made};
use super::settings::Name;
use crate::identity::Signed;
use crate::identity::impersonation::SIGNED_NAME;
use crate::plan::{Effect, Plan};
use crate::types::Oid;
use crate::wire::TransactionStatus;
use std::sync::Arc;

impl<A: Surroundings> Deciding<A> {
    /// Takes a statement's consequences for granted; gives how to undo them.
    pub fn apply(&mut self, plan: &Arc<Plan>, params: &Arc<[Oid]>, basis: &Basis) -> Vec<Undo> {
        let batch = self.batch;
        let mut undo = Vec::new();
        let named = |sql: &str, made| {
            Some(Arc::new(Decided {
                sql: sql.into(),
                params: Arc::clone(params),
                plan: Some(Arc::clone(plan)),
                basis: basis.clone(),
                made,
                present: true,
                signed: None,
            }))
        };
        if self.moving.shares() && self.spare(&plan.effect) {
            undo.push(Undo::Spoiled);
        }
        let failed = self.status == TransactionStatus::Failed;
        if let Some(scratch) = self.scratch.after(&plan.effect, failed) {
            undo.push(Undo::Scratch(Box::new(std::mem::replace(&mut self.scratch, scratch))));
        }
        if let Effect::None | Effect::Execute { .. } | Effect::Fetch { .. } | Effect::Scratch(_) = &plan.effect {
            return undo;
        }
        let before = self.settings.clone();
        match &plan.effect {
            Effect::None | Effect::Execute { .. } | Effect::Fetch { .. } | Effect::Scratch(_) => return undo,
            Effect::Prepare { name, sql } => {
                undo.push(Undo::Statement(self.statements.put(name, named(sql, Made::Prepare), batch)));
                return undo;
            }
            Effect::Declare { name, sql } => {
                undo.push(Undo::Cursor(self.cursors.put(name, named(sql, Made::Declare), batch)));
                return undo;
            }
            Effect::Deallocate(Some(name)) => {
                undo.push(Undo::Statement(self.statements.put(name, None, batch)));
                return undo;
            }
            Effect::Deallocate(None) => {
                self.moving.forget_all();
                undo.push(Undo::Spoiled);
                undo.extend(self.statements.close_all(batch).into_iter().map(Undo::Statement));
                return undo;
            }
            Effect::CloseCursor(Some(name)) => {
                undo.push(Undo::Cursor(self.cursors.put(name, None, batch)));
                undo.push(Undo::Portal(self.portals.put(name, None, batch)));
                return undo;
            }
            Effect::CloseCursor(None) => {
                undo.extend(self.cursors.close_all(batch).into_iter().map(Undo::Cursor));
                undo.extend(self.portals.close_all(batch).into_iter().map(Undo::Portal));
                return undo;
            }
            Effect::Set { name, value, local } => {
                if let Some(name) = Name::of(name) {
                    // To act for oneself is to act for nobody.
                    let oneself = name == Name::User && value.as_deref() == Some(&*self.who.user);
                    self.settings.set(name, value.as_deref().filter(|_| !oneself), *local);
                }
            }
            Effect::Forwarded { name, back, local } => {
                self.settings.forward(name, (!back).then_some(&plan.sealed), *local);
            }
            Effect::Configured { name, statement, local } => {
                self.settings.forward(name, statement.as_ref(), *local);
            }
            Effect::Acting { signed, local } => {
                let name = signed.as_ref().map(|text| format!("{SIGNED_NAME}{text}"));
                self.settings.name_signed(name.as_deref(), *local);
                let signed = signed.as_deref().zip(self.around.actor());
                let signed = signed.and_then(|(text, actor)| actor.signed(text, jiff::Timestamp::now()).ok());
                let signed = signed.filter(|signed| signed.user != self.who.user);
                match signed {
                    Some(Signed { user, project, until }) => {
                        self.settings.act_for(&user, &project, Some(until), *local);
                    }
                    None => {
                        self.settings.act_for(&"".into(), &"".into(), None, *local);
                        // An unsigned name is a setting of the login's own.
                        self.settings.forward("application_name", Some(&plan.sealed), *local);
                    }
                }
            }
            Effect::ResetAll => self.settings.reset_all(),
            Effect::DiscardAll => {
                self.settings.discard_all();
                self.moving.forget_all();
                undo.push(Undo::Spoiled);
                undo.extend(self.statements.close_all(batch).into_iter().map(Undo::Statement));
                undo.extend(self.cursors.close_all(batch).into_iter().map(Undo::Cursor));
                undo.extend(self.portals.close_all(batch).into_iter().map(Undo::Portal));
            }
            Effect::Begin => self.settings.begin(),
            // COMMIT of a failed transaction is a ROLLBACK.
            Effect::Commit if self.status == TransactionStatus::Failed => self.settings.rollback(),
            Effect::Commit => self.settings.commit(),
            Effect::Rollback => self.settings.rollback(),
            Effect::Savepoint(name) => self.settings.savepoint(name),
            Effect::RollbackTo(name) => self.settings.rollback_to(name),
            Effect::Release(name) => self.settings.release(name),
        }
        self.revived |= failed && matches!(plan.effect, Effect::Commit | Effect::Rollback | Effect::RollbackTo(_));
        undo.push(Undo::Settings(Box::new(before)));
        undo
    }

    /// The COMMIT that `undo` belongs to was a ROLLBACK: the warehouse said so in its tag.
    pub fn commit_was_rollback(&mut self, undo: &mut Vec<Undo>) {
        if let Some(Undo::Settings(before)) = undo.pop() {
            self.settings = *before;
            self.settings.rollback();
        }
    }

    /// Undoes what did not happen; `waiting` are the undo lists of what is still under way.
    pub fn undo(&mut self, undo: Vec<Undo>, waiting: &mut dyn Iterator<Item = &mut Undo>) {
        let mut waiting: Vec<&mut Undo> = waiting.collect();
        for one in undo.into_iter().rev() {
            let later = waiting.iter_mut();
            match one {
                Undo::Settings(before) => self.settings = *before,
                Undo::Scratch(before) => self.scratch = *before,
                Undo::Held(held) => {
                    if let Some(kept) = &mut self.moving.kept {
                        kept.forget(&held);
                    }
                }
                Undo::Unnamed => self.moving.unnamed = 0,
                Undo::Spoiled => self.moving.spoiled(),
                Undo::Statement(change) | Undo::Dropped(change) => {
                    let later = later.filter_map(|u| match &mut **u {
                        Undo::Statement(later) | Undo::Dropped(later) => Some(later),
                        _ => None,
                    });
                    self.statements.undo(change, later);
                }
                Undo::Portal(change) => self
                    .portals
                    .undo(change, later.filter_map(|u| if let Undo::Portal(c) = &mut **u { Some(c) } else { None })),
                Undo::Cursor(change) => self
                    .cursors
                    .undo(change, later.filter_map(|u| if let Undo::Cursor(c) = &mut **u { Some(c) } else { None })),
            }
        }
    }

    /// A batch has been answered by ReadyForQuery. `effects`: it held statements that change settings or names.
    pub fn settle(&mut self, batch: u64, status: TransactionStatus, failed: bool, effects: bool) {
        self.settled = batch;
        self.status = status;
        self.moving.settled(batch);
        self.revived = false;
        if status == TransactionStatus::Idle {
            self.scratch.settled();
            if effects && failed {
                self.settings.rollback();
            } else if effects {
                self.settings.commit();
            }
            // Portals end with their transaction, cursors too unless declared WITH HOLD.
            if !self.portals.is_empty() {
                self.portals.retain(batch, |_| false);
            }
            if !self.cursors.is_empty() {
                self.cursors.retain(batch, |d| d.sql.to_ascii_lowercase().contains("hold"));
            }
        }
        if self.settled + 1 == self.batch && effects {
            self.statements.retain(batch, |_| true);
        }
    }
}
