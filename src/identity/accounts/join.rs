//! The accounts file joined with the identity file.
//!
//! In: [`Accounts`], the [`Identities`] a human wrote. Out: the identities of both, or problems. Must never: give two parties one name, give
//! anybody a group that the identity file does not declare, or lift what the identity file forbids.

use super::fresh::{is_account_name, is_uuid};
use super::{Accounts, Group, Has, SqlAccount, State, Temporary, Token};
use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::identity::Entitlement;
use crate::identity::file::{Identities, User, is_name};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

impl Accounts {
    /// Adds what the file holds to the identities. Errors and warnings are the answer; with an error the identities are not to be used.
    pub fn join(&self, identities: &mut Identities, path: &Path) -> Vec<Problem> {
        let mut joining = Joining { identities, path, problems: Vec::new() };
        // What is changed of the identity file's users first: those of this file hold their state themselves.
        let mut changed = BTreeSet::new();
        for change in &self.changes {
            if !changed.insert(change.name.as_str()) {
                joining.error(format!("the user \"{}\" is changed twice", change.name));
            }
            joining.change(&change.name, &change.state);
        }
        for person in &self.users {
            if is_name(&person.name) && !super::is_made(&person.name) {
                let what = format!("the user \"{}\"", person.name);
                let user = joining.user(&what, &person.has, &person.state);
                joining.add(&what, &person.name, user);
            } else {
                joining.error(format!("\"{}\" cannot be a user's name", person.name.escape_debug()));
            }
        }
        let mut ids = BTreeSet::new();
        for token in &self.tokens {
            if !ids.insert(token.id.as_str()) {
                joining.error(format!("the token id {} is there twice", token.id));
            }
            joining.token(token);
        }
        for account in &self.sql_accounts {
            joining.account(account);
        }
        joining.problems
    }
}

struct Joining<'a> {
    identities: &'a mut Identities,
    path: &'a Path,
    problems: Vec<Problem>,
}

impl Joining<'_> {
    fn error(&mut self, message: impl Into<String>) {
        let help = "the file is written by `sqlveil user`, `token` and `account`; put back the last good one";
        self.problems.push(Problem::in_file(self.path, message, help));
    }

    /// A user or token as the identity file would have it.
    fn user(&mut self, what: &str, has: &Has, state: &State) -> User {
        let iam: Arc<str> = has.iam.as_str().into();
        let own = |value: &String| Entitlement { value: value.clone(), iam: Arc::clone(&iam) };
        let mut user = User {
            iam: Arc::clone(&iam),
            verifier: state.verifier.clone(),
            groups: BTreeSet::new(),
            attributes: has
                .attributes
                .iter()
                .map(|(n, values)| (n.clone(), values.iter().map(own).collect()))
                .collect(),
            disabled: state.disabled,
            expires: state.expires,
            revoked: state.revoked.iter().map(|digest| digest.0.0).collect(),
            kept: true,
        };
        let texts = has.attributes.iter().flat_map(|(name, values)| values.iter().chain([name]));
        if texts.chain([&has.iam]).any(|text| text.is_empty() || text.contains('\0')) {
            self.error(format!("{what} has an attribute or provider that is empty or holds a NUL"));
        }
        for Group { name, iam } in &has.groups {
            let group = Entitlement { value: name.clone(), iam: iam.as_str().into() };
            match self.identities.groups.get(&group) {
                Some(attributes) => {
                    for (name, values) in attributes {
                        user.attributes.entry(name.clone()).or_default().extend(values.iter().cloned());
                    }
                    user.groups.insert(group);
                }
                None => {
                    let message = format!("{what} is in a group that is not declared: \"{name}\" of \"{iam}\"");
                    let help = "declare the group in the identity file, or take it away on the command line";
                    self.problems.push(Problem::in_file(self.path, message, help));
                }
            }
        }
        user
    }

    fn add(&mut self, what: &str, name: &str, user: User) {
        if self.identities.users.contains_key(name) {
            let message = format!("{what} is declared twice");
            let help = "login names are unique: take it out of the identity file, or `sqlveil user remove` it";
            self.problems.push(Problem::in_file(self.path, message, help));
            return;
        }
        self.identities.users.insert(name.into(), user);
    }

    fn token(&mut self, token: &Token) {
        let what = format!("the token {}", token.client_id.escape_debug());
        let named = token.client_id.strip_prefix("apikey-").is_some_and(is_uuid);
        if !named || !is_uuid(&token.id) || token.validity_seconds == 0 || token.validity_seconds > super::NEVER {
            return self.error(format!("{what} is not as one was made"));
        }
        let user = self.user(&what, &token.has, &token.state());
        self.add(&what, &token.login(), user);
    }

    fn account(&mut self, account: &SqlAccount) {
        let name = account.name.escape_debug();
        if !is_account_name(&account.name) || !is_name(&account.name) {
            return self.error(format!("the account {name} is not as one was made"));
        }
        let taken = self.identities.users.contains_key(account.name.as_str())
            || self.identities.temporary.contains_key(account.name.as_str());
        if taken {
            return self.error(format!("the login name {name} is there twice"));
        }
        let temporary = Temporary {
            user: account.user.as_str().into(),
            project: account.project.as_deref().map(Into::into),
            until: account.expires(),
            revoked: account.revoked.is_some(),
            verifier: account.verifier.clone(),
        };
        self.identities.temporary.insert(account.name.as_str().into(), temporary);
    }

    /// What stands in the identity file stays: of two dates the earlier one counts, and who is disabled there is disabled.
    fn change(&mut self, name: &str, state: &State) {
        let Some(user) = self.identities.users.get_mut(name) else {
            let message = format!("something is changed of \"{name}\", who is not in the identity file");
            let help = format!("`sqlveil user remove {name}` forgets it; it would hold for whoever is called so next");
            self.problems.push(Problem::warning(&Origin::of_file(self.path), message, help));
            return;
        };
        if let Some(verifier) = &state.verifier {
            user.verifier = Some(verifier.clone());
        }
        user.disabled |= state.disabled;
        user.expires = [user.expires, state.expires].into_iter().flatten().min();
        user.revoked.extend(state.revoked.iter().map(|digest| digest.0.0));
    }
}
