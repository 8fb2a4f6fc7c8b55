//! What directories say of one user, as it was last heard.
//!
//! In: answers of directories, as they come. Out: what is known at this moment, to whoever decides; nobody waits here and nothing is
//! locked. Must never: give out what is older than the grace time of its directory, or more than is bounded.

use super::{Caller, Entitlement};
use crate::config::directories::{LONGEST, MOST, Register};
use arc_swap::ArcSwapOption;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most attributes of a user in one directory.
const ATTRIBUTES: usize = 200;
/// Most bytes of all that one directory says of a user.
const BYTES: usize = 256 << 10;

/// A user's groups and attributes in one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Groups.
    pub groups: BTreeSet<Entitlement>,
    /// Attribute name → values.
    pub attributes: BTreeMap<String, BTreeSet<Entitlement>>,
}

/// A directory says more of a user than is taken, or what cannot be a name or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Groups.
    #[error("more than {MOST} groups")]
    Groups,
    /// Attributes.
    #[error("more than {ATTRIBUTES} attributes")]
    Attributes,
    /// Values of one attribute.
    #[error("more than {MOST} values of one attribute")]
    Values,
    /// One name or value.
    #[error("a name or value of more than {LONGEST} bytes, or with a NUL")]
    Value,
    /// All together.
    #[error("more than {} kB", BYTES >> 10)]
    Bytes,
}

/// Takes what a directory says, for as long as it is within bounds. Empty names and values count as absent.
#[derive(Debug)]
pub struct Gathering {
    found: Found,
    iam: Arc<str>,
    bytes: usize,
}

impl Gathering {
    /// Begins; all of it belongs to this provider.
    pub fn new(iam: Arc<str>) -> Self {
        Self { found: Found::default(), iam, bytes: 0 }
    }

    fn entitlement(&self, value: String) -> Result<Entitlement, Excess> {
        if value.len() > LONGEST || value.contains('\0') {
            return Err(Excess::Value);
        }
        Ok(Entitlement { value, iam: Arc::clone(&self.iam) })
    }

    /// Counts what is new.
    fn count(&mut self, bytes: usize) -> Result<(), Excess> {
        self.bytes += bytes;
        if self.bytes > BYTES { Err(Excess::Bytes) } else { Ok(()) }
    }

    /// A group.
    ///
    /// # Errors
    /// When it is one too many, or too long.
    pub fn group(&mut self, name: String) -> Result<(), Excess> {
        if name.is_empty() {
            return Ok(());
        }
        let bytes = name.len();
        let group = self.entitlement(name)?;
        if !self.found.groups.insert(group) {
            return Ok(());
        }
        self.count(bytes)?;
        if self.found.groups.len() > MOST { Err(Excess::Groups) } else { Ok(()) }
    }

    /// A value of an attribute.
    ///
    /// # Errors
    /// As [`Self::group`].
    pub fn attribute(&mut self, name: &str, value: String) -> Result<(), Excess> {
        if name.is_empty() || value.is_empty() {
            return Ok(());
        }
        if name.len() > LONGEST || name.contains('\0') {
            return Err(Excess::Value);
        }
        let mut bytes = value.len();
        let value = self.entitlement(value)?;
        let values = match self.found.attributes.get_mut(name) {
            Some(values) => values,
            None => {
                bytes += name.len();
                self.found.attributes.entry(name.to_owned()).or_default()
            }
        };
        if !values.insert(value) {
            return Ok(());
        }
        let values = values.len();
        self.count(bytes)?;
        if values > MOST {
            return Err(Excess::Values);
        }
        if self.found.attributes.len() > ATTRIBUTES { Err(Excess::Attributes) } else { Ok(()) }
    }

    /// All of it.
    pub fn done(self) -> Found {
        self.found
    }
}

/// An answer of a directory.
#[derive(Debug)]
pub struct Held {
    /// When it was asked for.
    pub at: Instant,
    /// `None`: there is no such user.
    pub found: Option<Arc<Found>>,
}

/// How the last question about a user ended; held while one is under way, so that there is one at a time.
#[derive(Debug, Default)]
pub struct Asked {
    /// When it failed, if it did.
    pub failed: Option<Instant>,
    /// Why what was said could not be used: the log is told once. Empty when nothing was said.
    pub why: String,
}

/// What one directory says of one user.
#[derive(Debug)]
pub struct Slot {
    /// The directory.
    pub register: Arc<Register>,
    /// One question at a time.
    pub asking: tokio::sync::Mutex<Asked>,
    held: ArcSwapOption<Held>,
    /// When somebody last wanted to know, in milliseconds after the first.
    wanted: AtomicU64,
}

/// What every directory says of one user. Shared by all his sessions.
#[derive(Debug)]
pub struct Known {
    /// His name.
    pub user: Arc<str>,
    born: Instant,
    slots: Vec<Slot>,
}

impl Slot {
    /// Whether it is known, and young enough to be used.
    pub fn is_usable(&self) -> bool {
        self.held.load().as_ref().is_some_and(|held| held.at.elapsed() <= self.register.grace)
    }

    /// Whether it was asked for no longer ago than the directory may be left alone.
    pub fn is_fresh(&self) -> bool {
        self.held.load().as_ref().is_some_and(|held| held.at.elapsed() < self.register.refresh)
    }

    /// Takes an answer; whether it says something else than the last one.
    pub fn hold(&self, at: Instant, found: Option<Found>) -> bool {
        let before = self.held.load_full();
        match before.as_ref().filter(|held| held.found.as_deref() == found.as_ref()) {
            // The same value stays the same thing.
            Some(held) => {
                self.held.store(Some(Arc::new(Held { at, found: held.found.clone() })));
                false
            }
            None => {
                self.held.store(Some(Arc::new(Held { at, found: found.map(Arc::new) })));
                before.is_some()
            }
        }
    }
}

impl Known {
    /// Nothing yet.
    pub fn new(user: Arc<str>, registers: &[Arc<Register>]) -> Self {
        let slot = |register: &Arc<Register>| Slot {
            register: Arc::clone(register),
            asking: tokio::sync::Mutex::default(),
            held: ArcSwapOption::empty(),
            wanted: AtomicU64::new(0),
        };
        Self { user, born: Instant::now(), slots: registers.iter().map(slot).collect() }
    }

    /// One for each directory.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Of one directory.
    pub fn slot(&self, register: &Register) -> Option<&Slot> {
        self.slots.iter().find(|slot| *slot.register.name == *register.name)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Takes note that somebody wants to know.
    fn wants(&self, register: &Register) {
        if let Some(slot) = self.slot(register) {
            slot.wanted.store(self.now(), Ordering::Relaxed);
        }
    }

    /// How long nobody has wanted to know anything.
    pub fn idle(&self) -> Duration {
        let last = self.slots.iter().map(|slot| slot.wanted.load(Ordering::Relaxed)).max().unwrap_or(0);
        Duration::from_millis(self.now().saturating_sub(last))
    }

    /// Whether somebody has wanted to know since the last answer was asked for, and that was too long ago. How long ago.
    pub fn overdue(&self, slot: &Slot) -> Option<Duration> {
        let wanted = slot.wanted.load(Ordering::Relaxed);
        if wanted == 0 {
            return None;
        }
        match slot.held.load().as_ref() {
            None => Some(Duration::MAX),
            Some(held) => {
                let age = held.at.elapsed();
                let asked = held.at.saturating_duration_since(self.born).as_millis();
                (age >= slot.register.refresh && u128::from(wanted) > asked).then_some(age)
            }
        }
    }

    /// What all directories say at this moment, as far as it is young enough.
    fn heard(&self) -> Vec<Option<Arc<Held>>> {
        let young = |slot: &Slot| slot.held.load_full().filter(|held| held.at.elapsed() <= slot.register.grace);
        self.slots.iter().map(young).collect()
    }
}

/// What directories said of a user, at one moment. A decision is made of one of these: what is heard meanwhile belongs to the next.
#[derive(Debug, Default)]
pub struct Heard<'a> {
    known: Option<&'a Known>,
    said: Vec<Option<Arc<Held>>>,
}

impl<'a> Heard<'a> {
    /// As it is now.
    pub fn now(known: Option<&'a Known>) -> Self {
        Self { known, said: known.map(Known::heard).unwrap_or_default() }
    }

    /// The answer of a directory: [`Held::found`] is `None` when it knows no such user. `None`: nothing is known that is young enough.
    pub fn said(&self, register: &Register) -> Option<&Held> {
        let known = self.known?;
        let at = known.slots.iter().position(|slot| *slot.register.name == *register.name)?;
        known.wants(register);
        self.said.get(at)?.as_deref()
    }

    /// Takes note that somebody wants to know.
    pub fn wants(&self, register: &Register) {
        if let Some(known) = self.known {
            known.wants(register);
        }
    }
}

impl Found {
    /// Adds it to a caller; `inherited` gives the attributes that members of a group have by it.
    pub fn add_to<'a>(
        &self,
        caller: &mut Caller,
        inherited: impl Fn(&Entitlement) -> Option<&'a BTreeMap<String, BTreeSet<Entitlement>>>,
    ) {
        add(&self.groups, &self.attributes, caller, inherited);
    }
}

/// Adds groups and attributes to a caller: members have their group's attributes, whoever says that they are members.
pub(super) fn add<'a>(
    groups: &BTreeSet<Entitlement>,
    attributes: &BTreeMap<String, BTreeSet<Entitlement>>,
    caller: &mut Caller,
    inherited: impl Fn(&Entitlement) -> Option<&'a BTreeMap<String, BTreeSet<Entitlement>>>,
) {
    for group in groups {
        for (name, values) in inherited(group).into_iter().flatten() {
            caller.attributes.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        caller.groups.insert(group.clone());
    }
    for (name, values) in attributes {
        caller.attributes.entry(name.clone()).or_default().extend(values.iter().cloned());
    }
}
