//! The accounts file: what the command line keeps beside the identity file, which a human writes and nobody rewrites.
//!
//! In: one JSON document. Out: [`Accounts`], joined with the [`Identities`] of the identity file: users added on the command line, what it
//! changed of users of the identity file, API tokens, temporary SQL accounts. Must never: hold a password or a token's secret (SCRAM
//! verifiers alone), repeat a verifier in a problem, or let what is written here lift what the identity file forbids.
//!
//! The shape of tokens (`id`, `clientId`, `displayName`, `validitySeconds`) is that of a catalogue's API (`002_8177ae97322a8ba9.txt`), that of
//! temporary accounts a governance server's (`POST /dataSource/featureStore/temporary`, `001_05026613e8d72604.txt`).

pub mod fresh;
mod join;
mod text;
pub mod writing;

use super::Entitlement;
use super::file::{Identities, User};
use super::scram::Verifier;
use crate::governance::document;
use crate::governance::problem::Problem;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Login names of tokens begin with this, and no others do.
pub const TOKEN_LOGIN: &str = "service-account-apikey-";
/// The accounts file where nobody names one: in the folder of the identity file.
pub const USUAL: &str = "accounts.json";
/// `validitySeconds` of a token that never expires: 13 years of 365 days.
pub const NEVER: u64 = 409_968_000;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Accounts {
    /// Users that are not in the identity file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Person>,
    /// What is changed of users of the identity file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// API tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// Temporary SQL accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sql_accounts: Vec<SqlAccount>,
}

/// A user, as in the identity file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// Login name.
    pub name: String,
    /// Groups and attributes.
    #[serde(flatten)]
    pub has: Has,
    /// What may change.
    #[serde(flatten)]
    pub state: State,
}

/// What a user or a token has of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Has {
    /// Provider.
    #[serde(default = "local")]
    pub iam: String,
    /// Groups that the identity file declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Attribute name → values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Vec<String>>,
}

fn local() -> String {
    super::file::LOCAL.to_owned()
}

/// A group by name and provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its provider.
    pub iam: String,
}

impl From<&Entitlement> for Group {
    fn from(group: &Entitlement) -> Self {
        Self { name: group.value.clone(), iam: group.iam.to_string() }
    }
}

/// What the command line says of a user of the identity file. It adds to what stands there, and lifts none of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// Login name.
    pub name: String,
    /// What is changed.
    #[serde(flatten)]
    pub state: State,
}

impl Change {
    /// Whether it keeps out somebody of the identity file who would be in without it.
    pub fn keeps_out(&self, user: &User) -> bool {
        let revoked = |verifier: &Verifier| self.state.revoked.contains(&Revoked::of(verifier));
        let sooner = |end: Timestamp| user.expires.is_none_or(|written| end < written);
        (self.state.disabled && !user.disabled)
            || self.state.expires.is_some_and(sooner)
            || user.verifier.as_ref().is_some_and(revoked)
    }
}

/// How a user stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What a password is checked against.
    #[serde(with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Verifier>,
    /// May not log in.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// May not log in from this instant on.
    #[serde(with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Fingerprints of verifiers that are good for nothing any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Revoked>,
}

/// The fingerprint of a verifier, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revoked(#[serde(with = "text")] pub text::Digest);

impl Revoked {
    /// The fingerprint of a verifier.
    pub fn of(verifier: &Verifier) -> Self {
        Self(text::Digest(verifier.fingerprint()))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// An API token: an actor of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// Its GUID.
    pub id: String,
    /// `apikey-<uuid>`.
    pub client_id: String,
    /// Its name for people.
    pub display_name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Groups and attributes: its own, never those of whoever made it.
    #[serde(flatten)]
    pub has: Has,
    /// Who made it, as they said; nothing follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When.
    #[serde(with = "text")]
    pub created: Timestamp,
    /// How long it is good; [`NEVER`] = for ever.
    pub validity_seconds: u64,
    /// What its secret is checked against.
    #[serde(with = "text")]
    pub verifier: Verifier,
    /// Not good for the time being.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// Not good any more, since then.
    #[serde(default, with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl Token {
    /// The user name it logs in with.
    pub fn login(&self) -> String {
        format!("service-account-{}", self.client_id)
    }

    /// How it stands, as a user does.
    pub fn state(&self) -> State {
        State {
            verifier: Some(self.verifier.clone()),
            disabled: self.disabled || self.revoked.is_some(),
            expires: self.expires(),
            revoked: Vec::new(),
        }
    }

    /// From when on it is not good any more; `None` = never. What cannot be computed has ended.
    pub fn expires(&self) -> Option<Timestamp> {
        (self.validity_seconds != NEVER).then(|| after(self.created, i64::try_from(self.validity_seconds).ok()))
    }
}

/// A temporary SQL account: a login of its own that acts as a user, under one project or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlAccount {
    /// The name it logs in with (`sqlUser`).
    pub name: String,
    /// Whom it acts as.
    pub user: String,
    /// The project it acts under, and cannot leave; without one it acts under none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// When it was made.
    #[serde(with = "text")]
    pub created: Timestamp,
    /// How long it is good (`expiresIn`).
    pub minutes: u64,
    /// What its password is checked against.
    #[serde(with = "text")]
    pub verifier: Verifier,
    /// Not good any more, since then.
    #[serde(default, with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl SqlAccount {
    /// From when on it is not good any more.
    pub fn expires(&self) -> Timestamp {
        after(self.created, i64::try_from(self.minutes).ok().and_then(|m| m.checked_mul(60)))
    }
}

fn after(created: Timestamp, seconds: Option<i64>) -> Timestamp {
    seconds.and_then(|s| created.checked_add(SignedDuration::from_secs(s)).ok()).unwrap_or(Timestamp::MIN)
}

/// A temporary SQL account as logins need it.
#[derive(Debug, Clone)]
pub struct Temporary {
    /// Whom it acts as.
    pub user: Arc<str>,
    /// The project it acts under.
    pub project: Option<Arc<str>>,
    /// Not good from this instant on.
    pub until: Timestamp,
    /// Not good any more.
    pub revoked: bool,
    /// What its password is checked against.
    pub verifier: Verifier,
}

/// Whether a login name is one that only tokens have.
pub fn is_token(name: &str) -> bool {
    name.starts_with(TOKEN_LOGIN)
}

/// Whether a login name looks as those that are made here do: tokens', and those of temporary accounts.
pub fn is_made(name: &str) -> bool {
    is_token(name) || fresh::is_account_name(name)
}

/// Where identities are written.
#[derive(Debug, Clone)]
pub struct Files {
    /// The identity file.
    pub identity: PathBuf,
    /// The accounts file.
    pub accounts: PathBuf,
    /// Whether the configuration names the accounts file: then it has to be there.
    pub named: bool,
}

/// What the files say now, each as far as it can be read: enough to tell who has ended, and never who may log in.
#[derive(Debug, Default)]
pub struct Present {
    /// Of the identity file.
    pub identities: Option<Identities>,
    /// Of the accounts file.
    pub accounts: Option<Accounts>,
}

impl Files {
    /// An identity file, and an accounts file beside it when there is one.
    pub fn beside(identity: &Path) -> Self {
        Self { identity: identity.to_path_buf(), accounts: identity.with_file_name(USUAL), named: false }
    }

    /// Reads both and joins them. Warnings come along.
    ///
    /// # Errors
    /// Every problem of the identity file, or of the accounts file.
    pub fn load(&self) -> Result<(Identities, Vec<Problem>), Vec<Problem>> {
        let (mut identities, mut problems) = super::file::load(&self.identity)?;
        let accounts = self.accounts()?;
        problems.extend(accounts.join(&mut identities, &self.accounts));
        if let Ok(file) = std::fs::metadata(&self.accounts) {
            identities.kept = true;
            problems.extend(open_to_others(&self.accounts, file.permissions().mode()));
        }
        if crate::governance::problem::any_error(&problems) { Err(problems) } else { Ok((identities, problems)) }
    }

    /// What each file says by itself. One that cannot be read says nothing.
    pub fn present(&self) -> Present {
        // A file that is lost is none that says that nobody is in it.
        let accounts = Self { named: true, ..self.clone() }.accounts().ok();
        Present { identities: super::file::load(&self.identity).ok().map(|(identities, _)| identities), accounts }
    }

    /// The accounts file alone; a file that nobody named need not be there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn accounts(&self) -> Result<Accounts, Vec<Problem>> {
        match std::fs::symlink_metadata(&self.accounts) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.named => Ok(Accounts::default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let help = "`sqlveil user`, `token` and `account` make it; an empty one reads {}";
                Err(vec![Problem::in_file(&self.accounts, "the accounts file is not there", help)])
            }
            _ => Accounts::load(&self.accounts),
        }
    }
}

/// Who else on the machine can do what with the file.
fn open_to_others(path: &Path, mode: u32) -> Option<Problem> {
    let (message, help) = match mode {
        mode if mode & 0o002 != 0 => (
            "may be written by everybody on this machine",
            "whoever puts a token into it can log in by that: chmod o-rw",
        ),
        mode if mode & 0o004 != 0 => {
            ("may be read by everybody on this machine", "passwords can be guessed by its verifiers: chmod o-r")
        }
        _ => return None,
    };
    Some(Problem::warning(&crate::governance::model::Origin::of_file(path), message, help))
}

impl Accounts {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = document::read(path).map_err(|problem| vec![problem])?;
        Self::read(path, &text)
    }

    /// [`Self::load`] of a text already read.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        // By serde_json: a verifier must not be quoted, and of what does not fit it tells the place.
        let read = if text.trim_start().starts_with('[') {
            // A list would be taken for the fields in order.
            Err(<serde_json::Error as serde::de::Error>::custom(""))
        } else {
            serde_json::from_str(text)
        };
        read.map_err(|error| {
            let origin = crate::governance::model::Origin {
                file: Arc::new(path.to_path_buf()),
                line: error.line(),
                column: error.column(),
            };
            let help = "the file is written by `sqlveil user`, `token` and `account`; put back the last good one";
            vec![Problem::error(&origin, format!("not an accounts file: {}", text::said(&error)), help)]
        })
    }
}

#[cfg(test)]
mod tests;
