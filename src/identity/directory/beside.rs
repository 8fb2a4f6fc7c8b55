//! Who somebody is when directories have a say: which of them are about him, and who vouches for him when the identity file does not
//! know him.
//!
//! In: a login with what it brought and what directories said. Out: the user and his provider. Must never: ask, take somebody of another
//! provider for him because the names are alike, or go on without the word of a directory that is about him.

use super::super::accounts::{is_made, is_token};
use super::super::file::{User, is_name};
use super::super::known::{Found, Heard};
use super::{Directory, Login, may_log_in};
use crate::config::authentication::Users;
use crate::config::directories::Register;
use crate::error::{Family, Refusal, SqlState};
use jiff::Timestamp;
use std::sync::Arc;

/// Somebody who may be here.
pub(super) struct Who<'a> {
    /// As in the identity file, when he is in it.
    pub(super) declared: Option<(&'a Arc<str>, &'a User)>,
    /// His provider.
    pub(super) iam: &'a Arc<str>,
}

/// 58000 `system_error`: what cannot be known is refused.
fn unknown(register: &Register, user: &str) -> Refusal {
    let text =
        format!("directory \"{}\" does not answer, and what it said of user \"{user}\" is too old", register.name);
    Refusal::new(Family::Unsupported, SqlState::SYSTEM_ERROR, text).with_hint(
        "Nothing is decided without it; try again later. An administrator can see why in the log of the proxy.",
    )
}

/// What a directory says of a user; `None`: it does not know him.
///
/// # Errors
/// 58000 when it has not said anything, or too long ago.
pub(super) fn said<'h>(heard: &'h Heard<'_>, user: &str, register: &Register) -> Result<Option<&'h Found>, Refusal> {
    heard.said(register).map(|held| held.found.as_deref()).ok_or_else(|| unknown(register, user))
}

impl Directory {
    /// The directories whose word on this login is needed: those of his provider, or when the identity file does not know him, all that
    /// may. None on a token: it has what it was given, whoever is called so elsewhere.
    pub fn asks<'a>(&'a self, login: &'a Login) -> Vec<&'a Arc<Register>> {
        if self.registers.is_empty() || !is_name(&login.user) {
            return Vec::new();
        }
        match self.identities.users.get(&*login.user) {
            Some(_) if is_token(&login.user) => Vec::new(),
            Some(user) => self.registers.iter().filter(|register| register.iam == user.iam).collect(),
            None if is_made(&login.user) || login.account.is_some() => Vec::new(),
            None => self.vouching(login).collect(),
        }
    }

    /// The directories that are asked about nobody: the identity file has no users of their provider, and others they are not about.
    pub fn idle(&self) -> impl Iterator<Item = &Arc<Register>> {
        let has_none = |iam: &Arc<str>| self.identities.users.values().all(|user| user.iam != *iam);
        self.registers.iter().filter(move |register| register.users == Users::Declared && has_none(&register.iam))
    }

    /// The directories that may vouch for somebody whom the identity file does not know.
    fn vouching<'a>(&'a self, login: &'a Login) -> impl Iterator<Item = &'a Arc<Register>> {
        let bound = login.brought.as_deref().map(|brought| &brought.iam).or(login.iam.as_ref());
        let may = move |register: &&Arc<Register>| {
            register.users == Users::Any && bound.is_none_or(|iam| *iam == register.iam)
        };
        self.registers.iter().filter(may)
    }

    /// The directories that are about somebody.
    pub(super) fn about<'a>(&'a self, who: &Who<'_>) -> impl Iterator<Item = &'a Arc<Register>> {
        let (iam, declared) = (Arc::clone(who.iam), who.declared.is_some());
        let token = who.declared.is_some_and(|(name, _)| is_token(name));
        let is_about = move |register: &&Arc<Register>| {
            !token && register.iam == iam && (declared || register.users == Users::Any)
        };
        self.registers.iter().filter(is_about)
    }

    /// Who logged in. A token speaks for users of its own provider only: somebody of that name with another provider is somebody else, and
    /// so is somebody whose provider has changed since he logged in.
    pub(super) fn who<'a>(
        &'a self,
        login: &'a Login,
        heard: &Heard<'_>,
        now: Timestamp,
    ) -> Result<Option<Who<'a>>, Refusal> {
        let declared = self.identities.users.get_key_value(&*login.user);
        let iam = match declared {
            Some((_, user)) if !may_log_in(user, now) => return Ok(None),
            Some((_, user)) => &user.iam,
            None => match self.vouched(login, heard)? {
                Some(iam) => iam,
                None => return Ok(None),
            },
        };
        let other = |bound: &Arc<str>| bound != iam;
        if login.brought.as_deref().is_some_and(|brought| other(&brought.iam)) || login.iam.as_ref().is_some_and(other)
        {
            return Ok(None);
        }
        Ok(Some(Who { declared, iam }))
    }

    /// The provider of somebody whom the identity file does not know: that of his token where it may speak alone, or of the directories
    /// that know him. Two providers with somebody of that name: it cannot be told who he is.
    fn vouched<'a>(&'a self, login: &'a Login, heard: &Heard<'_>) -> Result<Option<&'a Arc<str>>, Refusal> {
        // An account was made for a user of the files, not for whoever is called so elsewhere.
        if !is_name(&login.user) || is_made(&login.user) || login.account.is_some() {
            return Ok(None);
        }
        if let Some(brought) = login.brought.as_deref().filter(|brought| brought.alone) {
            return Ok(Some(&brought.iam));
        }
        let mut iam: Option<&Arc<str>> = None;
        for register in self.vouching(login) {
            if said(heard, &login.user, register)?.is_none() {
                continue;
            }
            match iam {
                Some(one) if *one != register.iam => return Ok(None),
                Some(_) | None => iam = Some(&register.iam),
            }
        }
        Ok(iam)
    }
}

#[cfg(test)]
#[path = "beside/tests.rs"]
mod tests;
