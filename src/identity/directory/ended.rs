//! Logins that are over, taken out of a directory that stays in force otherwise.
//!
//! In: the directory in force, what the files say now. Out: the same directory without the logins that have ended since. For when the rest of
//! a change cannot be published, or takes its time: who is revoked waits for no policy to be mended, for no warehouse to answer, and not
//! for the other of the two files. Must never: let anybody in, or change what anybody has.

use super::{Directory, User};
use crate::identity::accounts::{Accounts, Present, State};
use crate::identity::file::Identities;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How one of the files says that somebody stands.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// His provider; `None` = whichever he has.
    iam: Option<Arc<str>>,
    disabled: bool,
    expires: Option<Timestamp>,
    revoked: BTreeSet<[u8; 32]>,
    /// From the accounts file.
    kept: bool,
}

impl Directory {
    /// The directory without those whom `now` has ended; `None` when there are none.
    pub fn without_ended(&self, now: &Present) -> Option<Self> {
        let mut rest = self.clone();
        let people = now.identities.as_ref().map(written).unwrap_or_default();
        let (made, changes) = now.accounts.as_ref().map(kept).unwrap_or_default();
        let mut ended = false;
        for (name, user) in &mut rest.identities.users {
            let same = |standing: &&Standing| standing.iam.as_ref().is_none_or(|iam| *iam == user.iam);
            let found: Vec<&Standing> =
                [people.get(&**name), made.get(&**name)].into_iter().flatten().filter(same).collect();
            // A file that cannot be read does not say that somebody is gone from it.
            let read = if user.kept { now.accounts.is_some() } else { now.identities.is_some() };
            let gone = Standing { disabled: true, ..Standing::default() };
            let gone = Some(&gone).filter(|_| found.is_empty() && read);
            for standing in found.into_iter().chain(changes.get(&**name)).chain(gone) {
                ended |= ends(user, standing);
            }
        }
        // Somebody new who is out from the beginning: issuers may know him already.
        for (name, standing) in people.into_iter().chain(made) {
            let out = standing.disabled || standing.expires.is_some_and(|end| end <= Timestamp::now());
            if out && !rest.identities.users.contains_key(name.as_str()) {
                ended = true;
                rest.identities.users.insert(name.into(), nobody(standing));
            }
        }
        if let Some(accounts) = &now.accounts {
            let known: BTreeMap<&str, _> = accounts.sql_accounts.iter().map(|a| (a.name.as_str(), a)).collect();
            for (name, account) in &mut rest.identities.temporary {
                let good = known.get(&**name).is_some_and(|now| {
                    now.revoked.is_none()
                        && *now.user == *account.user
                        && now.project.as_deref() == account.project.as_deref()
                });
                ended |= !good && !std::mem::replace(&mut account.revoked, true);
            }
        }
        ended.then_some(rest)
    }
}

fn written(identities: &Identities) -> BTreeMap<String, Standing> {
    let standing = |user: &User| Standing {
        iam: Some(Arc::clone(&user.iam)),
        disabled: user.disabled,
        expires: user.expires,
        ..Standing::default()
    };
    identities.users.iter().map(|(name, user)| (name.to_string(), standing(user))).collect()
}

/// Who is in the accounts file, and what it changes of others.
fn kept(accounts: &Accounts) -> (BTreeMap<String, Standing>, BTreeMap<String, Standing>) {
    let standing = |iam: Option<&str>, state: &State| Standing {
        iam: iam.map(Into::into),
        disabled: state.disabled,
        expires: state.expires,
        revoked: state.revoked.iter().map(|digest| digest.0.0).collect(),
        kept: true,
    };
    let people = accounts.users.iter().map(|p| (p.name.clone(), standing(Some(&p.has.iam), &p.state)));
    let tokens = accounts.tokens.iter().map(|t| (t.login(), standing(Some(&t.has.iam), &t.state())));
    let changes = accounts.changes.iter().map(|change| (change.name.clone(), standing(None, &change.state)));
    (people.chain(tokens).collect(), changes.collect())
}

/// Takes over what keeps a user out.
fn ends(user: &mut User, now: &Standing) -> bool {
    let expires = [user.expires, now.expires].into_iter().flatten().min();
    let revoked = !now.revoked.is_subset(&user.revoked);
    let changed = (now.disabled && !user.disabled) || expires != user.expires || revoked;
    user.disabled |= now.disabled;
    user.expires = expires;
    user.revoked.extend(now.revoked.iter().copied());
    changed
}

/// Somebody who is only there so that nobody logs in by his name.
fn nobody(standing: Standing) -> User {
    User {
        iam: standing.iam.unwrap_or_else(|| crate::identity::file::LOCAL.into()),
        verifier: None,
        groups: BTreeSet::new(),
        attributes: BTreeMap::new(),
        disabled: true,
        expires: standing.expires,
        revoked: standing.revoked,
        kept: standing.kept,
    }
}
