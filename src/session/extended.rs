//! The messages of the extended protocol, one by one (PostgreSQL manual, 55.2.3): Parse, Bind, Describe, Execute, Close, Sync.
//!
//! In: a message's fields, between two of the client's Syncs. Out: bytes for the warehouse, and what is expected of it. Must never: send what
//! was decided under anything but what holds now.

use super::acting::unsigned;
use super::deciding::{Found, Recheck, Surroundings, Undo, errors_of};
use super::engine::{Copying, Engine, Outgoing, Refused, Skip, Wait, changes, forgets, send_statement, takes_rows};
use super::instead::Instead;
use super::names::{Decided, Made};
use super::queue::{Execution, Expect, Expected, conceals};
use crate::audit::Record;
use crate::error::{Family, Refusal, SqlState};
use crate::plan::Effect;
use crate::types::Oid;
use crate::upstream::message::{self, OWN_NAMES};
use crate::wire::{Target, backend};
use std::sync::Arc;

impl<A: Surroundings> Engine<A> {
    pub(super) fn parse(&mut self, name: &str, sql: &str, params: &[Oid], out: &mut Outgoing) -> Result<(), Refused> {
        let mut undo = Vec::new();
        if !name.is_empty() {
            self.deciding.room_for_statement(name)?;
        } else if self.deciding.statements.get("").is_some_and(|slot| slot.held.is_some()) {
            // Whatever comes of this Parse, the old unnamed statement is gone.
            let batch = self.deciding.batch;
            undo.push(Undo::Dropped(self.deciding.statements.put("", None, batch)));
        }
        let signed = self.signed_now(sql);
        let sql = &*unsigned(sql, self.deciding.actor());
        match self.deciding.plan_parse(sql, params, signed) {
            Ok(decided) if self.deciding.moving.shares() => self.parse_held(name, Arc::new(decided), undo, out),
            Ok(decided) => self.send_parse(name, Arc::new(decided), undo, out),
            Err(refusal) => Err(Refused::With(Box::new(refusal), undo)),
        }
    }

    pub(super) fn send_parse(
        &mut self,
        name: &str,
        decided: Arc<Decided>,
        mut undo: Vec<Undo>,
        out: &mut Outgoing,
    ) -> Result<(), Refused> {
        send_statement(name, &decided, out)?;
        let batch = self.deciding.batch;
        undo.push(Undo::Statement(self.deciding.statements.put(name, Some(Arc::clone(&decided)), batch)));
        self.expect(Expect::Parse { swallow: false }, Some(decided), undo);
        Ok(())
    }

    /// The statement of that name under today's decision; sent again under its name when the decision has changed.
    fn statement(&mut self, name: &str, out: &mut Outgoing) -> Result<Arc<Decided>, Refused> {
        let held = match self.deciding.find(&self.deciding.statements, name) {
            Found::Held(held) => held,
            Found::Unsettled => return Err(Refused::Later(Wait::Settled)),
            Found::Missing => return Err(no_statement(name).into()),
        };
        let rechecked = self.deciding.recheck(&held)?;
        if held.made == Made::Parse && self.deciding.moving.shares() {
            return self.statement_held(name, held, rechecked, out);
        }
        let (now, changed) = match rechecked {
            Recheck::Same if held.present => return Ok(held),
            Recheck::Same => ((*held).clone(), true),
            Recheck::Renewed(again) => {
                let changed = !again.present;
                (again, changed)
            }
            Recheck::Changed(again) => (again, true),
        };
        if !changed {
            let now = Arc::new(now);
            self.deciding.statements.refresh(name, &now);
            return Ok(now);
        }
        if now.made != Made::Parse {
            return Err(Refusal::unsupported(format!("the policy of prepared statement \"{name}\" has changed"))
                .with_hint("DEALLOCATE it and prepare it again")
                .into());
        }
        // Until the warehouse has confirmed the new one it holds none that may be used.
        let absent = Arc::new(Decided { present: false, ..now.clone() });
        self.deciding.statements.refresh(name, &absent);
        message::close(Target::Statement, name, &mut out.upstream)?;
        self.expect(Expect::Close { swallow: true }, None, Vec::new());
        let now = Arc::new(Decided { present: true, ..now });
        send_statement(name, &now, out)?;
        let batch = self.deciding.batch;
        let undo = vec![Undo::Statement(self.deciding.statements.put(name, Some(Arc::clone(&now)), batch))];
        self.expect(Expect::Parse { swallow: true }, Some(Arc::clone(&now)), undo);
        self.open = true;
        Ok(now)
    }

    pub(super) fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        rest: &[u8],
        out: &mut Outgoing,
    ) -> Result<(), Refused> {
        self.deciding.room_for_portal(portal)?;
        let decided = self.statement(statement, out)?;
        match self.known_as(statement, &decided)? {
            Some(held) => message::bind_held(portal, &held, rest, &mut out.upstream)?,
            None => message::bind_raw(portal, statement, rest, &mut out.upstream)?,
        }
        if !self.read.is_empty() {
            self.read.remove(portal);
        }
        let batch = self.deciding.batch;
        let undo = vec![Undo::Portal(self.deciding.portals.put(portal, Some(Arc::clone(&decided)), batch))];
        self.expect(Expect::Bind, Some(decided), undo);
        Ok(())
    }

    /// The portal (or cursor) of that name, if the decision it was bound under would still send the same text.
    fn portal(&mut self, name: &str) -> Result<Arc<Decided>, Refused> {
        let found = match self.deciding.find(&self.deciding.portals, name) {
            Found::Missing => self.deciding.find(&self.deciding.cursors, name),
            found => found,
        };
        let held = match found {
            Found::Held(held) if !self.deciding.is_anothers(&held) => held,
            Found::Unsettled => return Err(Refused::Later(Wait::Settled)),
            Found::Held(_) | Found::Missing => {
                let text = format!("portal \"{name}\" does not exist");
                return Err(Refusal::new(Family::Caller, SqlState::INVALID_CURSOR_NAME, text).into());
            }
        };
        match self.deciding.recheck(&held)? {
            Recheck::Same => Ok(held),
            Recheck::Renewed(again) => Ok(Arc::new(again)),
            Recheck::Changed(_) => Err(Refusal::denied("the policy of this portal has changed; bind it again").into()),
        }
    }

    pub(super) fn describe(&mut self, target: Target, name: &str, out: &mut Outgoing) -> Result<(), Refused> {
        let (decided, what) = match target {
            Target::Statement => (self.statement(name, out)?, Expect::DescribeStatement { parameters: false }),
            Target::Portal => (self.portal(name)?, Expect::DescribePortal),
        };
        let held = match target {
            Target::Statement => self.known_as(name, &decided)?,
            Target::Portal => None,
        };
        match held {
            Some(held) => message::describe_held(&held, &mut out.upstream)?,
            None => message::describe(target, name, &mut out.upstream)?,
        }
        let conceals = self.conceals(&decided);
        let batch = self.deciding.batch;
        self.queue.push(Expected { what, about: Some(decided), undo: Vec::new(), batch, conceals });
        Ok(())
    }

    /// Whether the rows of a statement, or of what it executes, are not for the client.
    pub(super) fn conceals(&self, decided: &Decided) -> bool {
        let Some(plan) = &decided.plan else { return false };
        let inner = match &plan.effect {
            Effect::Execute { name } => match self.deciding.find(&self.deciding.statements, name) {
                Found::Held(held) => Some(held),
                Found::Missing | Found::Unsettled => None,
            },
            _ => None,
        };
        conceals(plan, inner.as_ref())
    }

    pub(super) fn execute(&mut self, portal: &str, max_rows: i32, out: &mut Outgoing) -> Result<(), Refused> {
        let decided = self.portal(portal)?;
        let mut execution = Execution {
            errors: Default::default(),
            inner: None,
            first: !std::mem::replace(&mut self.executed, true),
            instead: None,
            effects: false,
            noticed: false,
            record: None,
        };
        let mut undo = Vec::new();
        let mut concealed = false;
        if let Some(plan) = &decided.plan {
            if self.deciding.moving.shares() {
                self.deciding.moving.note(plan);
                self.send_spare(&plan.effect, out)?;
            }
            if decided.made == Made::Parse && plan.effect != Effect::None {
                self.deciding.renewals.clear();
                execution.inner = match self.deciding.check(&plan.effect) {
                    Ok(inner) => inner,
                    Err(_) if self.deciding.take_unsettled() => return Err(Refused::Later(Wait::Settled)),
                    Err(refusal) => {
                        self.deciding.refused(&decided.sql, &refusal);
                        return Err(refusal.into());
                    }
                };
                execution.effects = true;
                if self.renews() {
                    self.send_renewals(out)?;
                }
            }
            execution.errors = errors_of(plan, execution.inner.as_ref());
            self.deciding.allowed(plan.kind(), &decided.sql);
            let batch = self.deciding.batch;
            let record = Record::allowed(self.deciding.speaker(), batch, &decided.sql, Some(plan))?;
            execution.record = Some(record.with(execution.inner.as_ref().and_then(|inner| inner.told())));
            let rows = self.deciding.instead(plan, execution.inner.as_ref())?;
            execution.instead = rows.map(|rows| self.share(portal, rows, max_rows));
            let max_rows = if execution.instead.is_some() { 0 } else { max_rows };
            concealed = conceals(plan, execution.inner.as_ref());
            // All rows of a check are asked for, whatever the client says of rows that it does not get.
            message::execute(portal, if concealed { 0 } else { max_rows }, &mut out.upstream)?;
            if takes_rows(plan) {
                self.copy = Copying::Awaited;
            }
            if execution.effects {
                undo = self.deciding.apply(plan, &decided.params, &decided.basis);
                self.deciding.moving.spares.clear();
                self.effects |= changes(&plan.effect);
                if forgets(&plan.effect) {
                    self.repeats.forget();
                }
            }
        } else {
            message::execute(portal, max_rows, &mut out.upstream)?;
        }
        let batch = self.deciding.batch;
        let what = Expect::Execute(Box::new(execution));
        self.queue.push(Expected { what, about: Some(decided), undo, batch, conceals: concealed });
        Ok(())
    }

    /// The rows of one Execute of a portal, and where the next one begins. The warehouse runs such a portal to its end at once.
    fn share(&mut self, portal: &str, rows: Arc<[String]>, max_rows: i32) -> Instead {
        let share = Instead::some(rows, self.read.get(portal).copied().unwrap_or(0), max_rows);
        self.read.insert(portal.into(), share.next());
        share
    }

    pub(super) fn close(&mut self, target: Target, name: &str, out: &mut Outgoing) -> Result<(), Refused> {
        let by_sql = |held: &Arc<Decided>| held.made == Made::Prepare;
        let there = self.deciding.statements.get(name).and_then(|slot| slot.held.as_ref()).is_some_and(by_sql);
        // None of a client's has such a name, but the proxy's own have.
        let reserved = name.starts_with(OWN_NAMES);
        let elsewhere = self.deciding.moving.shares() && !there && !name.is_empty();
        if target == Target::Statement && (reserved || elsewhere) {
            message::close_nothing(&mut out.upstream)?;
        } else {
            message::close(target, name, &mut out.upstream)?;
        }
        let batch = self.deciding.batch;
        let mut undo = Vec::new();
        match target {
            Target::Statement => undo.push(Undo::Statement(self.deciding.statements.put(name, None, batch))),
            Target::Portal => {
                undo.push(Undo::Portal(self.deciding.portals.put(name, None, batch)));
                if self.deciding.cursors.get(name).is_some() {
                    undo.push(Undo::Cursor(self.deciding.cursors.put(name, None, batch)));
                }
            }
        }
        // The names are forgotten for good when the batch is settled.
        self.effects |= target == Target::Statement;
        self.expect(Expect::Close { swallow: false }, None, undo);
        Ok(())
    }

    pub(super) fn sync(&mut self, out: &mut Outgoing) {
        if self.skip == Skip::Local {
            self.skip = Skip::No;
            backend::ready_for_query(&mut out.client, self.status());
            return;
        }
        self.skip = Skip::No;
        message::sync(&mut out.upstream);
        let effects = self.effects;
        self.expect(Expect::Sync { effects, failed: false }, None, Vec::new());
        self.end_batch();
    }
}

fn no_statement(name: &str) -> Refusal {
    let code = SqlState::INVALID_SQL_STATEMENT_NAME;
    if name.is_empty() {
        return Refusal::new(Family::Caller, code, "unnamed prepared statement does not exist");
    }
    Refusal::new(Family::Caller, code, format!("prepared statement \"{name}\" does not exist"))
}
