//! Temporary SQL accounts, and passwords that were revoked: logins that may end before their user does.
//!
//! In: a login or its name. Out: what it is checked against, whether it still stands. Must never: let an account do what its user may not, or
//! leave its project.

use super::{Directory, User};
use crate::error::{Refusal, SqlState};
use crate::identity::accounts::{Temporary, is_token};
use crate::identity::scram::LoginVerifier;
use crate::identity::{Bound, Login};
use jiff::Timestamp;
use std::sync::Arc;

impl Directory {
    /// Whether a name is that of a token or a temporary account, which prove it by their secret and by nothing else.
    pub fn has_secret_of_its_own(&self, name: &str) -> bool {
        is_token(name) || self.identities.temporary.contains_key(name)
    }

    /// The login of whoever proved this name by a password.
    pub fn login_of(&self, name: &Arc<str>) -> Login {
        match self.identities.temporary.get_key_value(name) {
            Some((name, account)) => {
                let bound = Bound { name: Arc::clone(name), project: account.project.clone() };
                Login { account: Some(Arc::new(bound)), ..Login::of(Arc::clone(&account.user)) }
            }
            None => {
                let verifier = self.identities.users.get(name).and_then(|user| user.verifier.as_ref());
                Login { verifier: verifier.map(|verifier| verifier.fingerprint()), ..Login::of(Arc::clone(name)) }
            }
        }
    }

    /// What a temporary account is checked against; the salt of one that may not log in stays the same.
    pub(super) fn verifier_of_account(&self, name: &str, now: Timestamp) -> Option<LoginVerifier> {
        let (name, account) = self.identities.temporary.get_key_value(name)?;
        let admits = is_good(account, now) && self.account_may_act(&self.login_of(name), now);
        let verifier = account.verifier.clone();
        let name = Arc::clone(name);
        Some(if admits { LoginVerifier::real(name, verifier) } else { LoginVerifier::barred(name, verifier) })
    }

    /// Whether a login ended that is not its user's end: its account is over, or the password it was proved by was revoked.
    pub(super) fn is_revoked(&self, login: &Login, now: Timestamp) -> bool {
        let password = login.verifier.as_ref().is_some_and(|verifier| {
            // Once a password was revoked, all but the one that is good now are gone, those changed before included.
            let user = self.identities.users.get(&login.user).filter(|user| !user.revoked.is_empty());
            let good = |user: &User| user.verifier.as_ref().is_some_and(|now| now.fingerprint() == *verifier);
            user.is_some_and(|user| user.revoked.contains(verifier) || !good(user))
        });
        password
            || login.account.as_ref().is_some_and(|bound| {
                let account = self.identities.temporary.get(&bound.name);
                !account.is_some_and(|a| a.user == login.user && a.project == bound.project && is_good(a, now))
            })
    }

    /// Whether the user of an account is still in its project; yes for any other login. Where a directory has not been heard that is about
    /// him, nobody says that he is not: at a login it is asked once the password is proved, and statements are refused meanwhile.
    pub(super) fn account_may_act(&self, login: &Login, now: Timestamp) -> bool {
        login.account.as_ref().is_none_or(|bound| match self.caller_at(login, bound.project.as_deref(), now) {
            Ok(_) => true,
            Err(refusal) => refusal.code == SqlState::SYSTEM_ERROR,
        })
    }
}

impl Login {
    /// Whether it may act under this project, as far as it is bound to one.
    ///
    /// # Errors
    /// 42501.
    pub fn stays(&self, project: Option<&str>) -> Result<(), Refusal> {
        let Some(bound) = self.account.as_deref().filter(|bound| bound.project.as_deref() != project) else {
            return Ok(());
        };
        let text = match project {
            Some(key) => format!("permission denied for project \"{key}\""),
            None => "permission denied to leave the project".to_owned(),
        };
        Err(Refusal::denied(text).with_hint(match &bound.project {
            Some(own) => format!("\"{}\" is a temporary account for project \"{own}\" alone.", bound.name),
            None => format!("\"{}\" is a temporary account that acts under no project.", bound.name),
        }))
    }

    /// Whether it may accept a text in its user's name.
    ///
    /// # Errors
    /// 42501.
    pub fn may_accept(&self) -> Result<(), Refusal> {
        let Some(bound) = &self.account else { return Ok(()) };
        let text = format!("\"{}\" is a temporary account: what is acknowledged is for its user to accept", bound.name);
        Err(Refusal::denied(text).with_hint(format!("\"{}\" can, in a session of his own.", self.user)))
    }
}

fn is_good(account: &Temporary, now: Timestamp) -> bool {
    !account.revoked && now < account.until
}

#[cfg(test)]
mod tests;
