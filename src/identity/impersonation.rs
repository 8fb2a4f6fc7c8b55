//! Acting for others: which login may do it for whom, and the signed text by which a tool says for whom.
//!
//! In: the configuration, a user's name or a signed text, the directory as it is now. Out: yes, or one refusal for every reason. Must
//! never: compare names otherwise than byte by byte, take a user who is himself such a login, or tell why a user cannot be acted for.
//!
//! The signed text is `user=NAME [project=KEY] expires=SECONDS signature=HEX`: values percent-encoded (RFC 3986, 2.1), the signature the
//! HMAC-SHA-256 (RFC 2104) of the login's name, a line feed, and everything before ` signature=`.

use super::accounts::is_token;
use super::{Directory, Heard, Login};
use crate::config::Secret;
use crate::config::secret::hmac;
use crate::error::{Refusal, SqlState};
use crate::governance::model::Owner;
use crate::sql::redact::SIGNATURE;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// How a signed comment begins; it ends as every comment does.
const OPENING: &str = "/*sqlveil ";
/// How a signed application name begins.
pub const SIGNED_NAME: &str = "sqlveil ";
/// Longest signed text: two names, percent-encoded, and the rest.
const LONGEST: usize = 1024;

/// A login that may act for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Its name.
    pub login: Arc<str>,
    /// For whom: users by name, and everybody in these groups.
    pub for_whom: Vec<Owner>,
    /// All logins that may act for others: nobody acts for one of these.
    pub services: Arc<BTreeSet<Arc<str>>>,
    /// How it says for whom.
    pub ways: Ways,
    /// What it signs with.
    pub key: Option<Secret>,
    /// How far ahead a signature may expire.
    pub longest: Duration,
}

/// How a login says for whom it acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ways {
    /// `sqlveil.user`, by SET or startup option.
    pub setting: bool,
    /// `sqlveil.user` by SET LOCAL alone: where a pooler gives the session to somebody else after each transaction.
    pub local: bool,
    /// A signed `application_name`.
    pub application_name: bool,
    /// A signed comment at the beginning of a statement string.
    pub comment: bool,
}

/// What a signed text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whom the statement is for.
    pub user: Arc<str>,
    /// The project he acts under, empty for none.
    pub project: Arc<str>,
    /// Good before this instant.
    pub until: Timestamp,
}

/// One text for every reason, so that nothing is learned of users.
fn denied(user: &str) -> Refusal {
    Refusal::denied(format!("permission denied to act for user \"{user}\""))
}

fn unsigned() -> Refusal {
    Refusal::denied("the signature is not valid")
        .with_hint("It has to be made for this login, with its key, and must not have expired.")
}

impl Actor {
    /// Whether the login may act for a user now.
    ///
    /// # Errors
    /// 42501, whatever the reason.
    pub fn permits(&self, directory: &Directory, for_whom: &Login, heard: &Heard<'_>) -> Result<(), Refusal> {
        let user = &*for_whom.user;
        // A token is nobody's end user: what it may do is for who has its secret.
        if self.services.contains(user) || is_token(user) {
            return Err(denied(user));
        }
        let caller = directory.caller_by(for_whom, heard, None).map_err(|_| denied(user))?;
        let from = |owner: &Owner, iam: &str| owner.iam.as_deref().is_none_or(|wanted| wanted == iam);
        let named = |owner: &Owner| match owner.is_group {
            true => caller.groups.iter().any(|group| group.value == owner.name && from(owner, &group.iam)),
            false => *owner.name == *caller.user && from(owner, &caller.iam),
        };
        if self.for_whom.iter().any(named) { Ok(()) } else { Err(denied(user)) }
    }

    /// Whether the login may name a user in the setting, for the transaction (`local`) or for longer.
    ///
    /// # Errors
    /// 42501 when it has to say it otherwise.
    pub fn may_set(&self, user: &str, local: bool) -> Result<(), Refusal> {
        if self.ways.setting || self.ways.local && local {
            return Ok(());
        }
        let hint = match self.ways.local {
            true => "This login says for whom it acts with SET LOCAL, in the transaction that is for him.",
            false => "This login has to sign for whom it acts.",
        };
        Err(denied(user).with_hint(hint))
    }

    /// What a signed text says, if the signature is this login's and has not expired.
    ///
    /// # Errors
    /// 42501.
    pub fn signed(&self, text: &str, now: Timestamp) -> Result<Signed, Refusal> {
        let key = self.key.as_ref().ok_or_else(unsigned)?;
        let (body, signature) = text.split_once(SIGNATURE).ok_or_else(unsigned)?;
        let given = unhex(signature).ok_or_else(unsigned)?;
        let wanted = hmac(key.expose(), &[self.login.as_bytes(), b"\n", body.as_bytes()]);
        if text.len() > LONGEST || !bool::from(given.ct_eq(&wanted)) {
            return Err(unsigned());
        }
        let said = Said::read(body).ok_or_else(unsigned)?;
        let until = said.expires.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let until = until.ok_or_else(unsigned)?;
        let latest = jiff::SignedDuration::try_from(self.longest).ok().and_then(|d| now.checked_add(d).ok());
        if until <= now || latest.is_none_or(|latest| until > latest) {
            return Err(unsigned());
        }
        Ok(Signed { user: said.user.into(), project: said.project.unwrap_or_default().into(), until })
    }
}

/// The parts of a signed text, decoded.
#[derive(Default)]
struct Said {
    user: String,
    project: Option<String>,
    expires: String,
}

impl Said {
    /// `None` for anything but the keys, each once, separated by single blanks.
    fn read(body: &str) -> Option<Self> {
        let (mut user, mut project, mut expires) = (None, None, None);
        for part in body.split(' ') {
            let (key, value) = part.split_once('=')?;
            let slot = match key {
                "user" => &mut user,
                "project" => &mut project,
                "expires" => &mut expires,
                _ => return None,
            };
            if slot.replace(decoded(value)?).is_some() {
                return None;
            }
        }
        Some(Self { user: user?, project, expires: expires? })
    }
}

/// Percent-encoding undone; `None` for what is empty, holds control characters, or is no UTF-8.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let text = std::str::from_utf8(&digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
                bytes.push(u8::from_str_radix(text, 16).ok()?);
            }
            b'/' | b'"' | b'\'' => return None,
            byte if byte.is_ascii_graphic() => bytes.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    let fine = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2).filter(|_| fine)?, 16).ok()?;
    }
    Some(out)
}

/// The signed text of the comment that a statement string begins with, and where the comment ends. Only the very first thing in the
/// string counts: what stands behind it may be somebody else's.
pub fn leading_comment(sql: &str) -> Option<(&str, usize)> {
    let inner = sql.strip_prefix(OPENING)?;
    let end = inner.find("*/")?;
    Some((inner.get(..end)?, OPENING.len() + end + 2))
}

/// The signed text of an application name.
pub fn signed_name(name: &str) -> Option<&str> {
    name.strip_prefix(SIGNED_NAME).filter(|rest| rest.contains(SIGNATURE))
}

/// 42501 for one whose signature has run out since.
pub fn expired(user: &str) -> Refusal {
    denied(user).with_hint("The signature has expired: sign again.")
}

/// 25001 for a statement of another user in the middle of a transaction, or where what another left behind cannot be cleared.
pub fn in_the_middle() -> Refusal {
    Refusal::new(
        crate::error::Family::Denied,
        SqlState("25001"),
        "another user cannot be acted for in the middle of a transaction",
    )
    .with_hint("End the transaction or the batch first; temporary tables do not go from one user to the next.")
}

#[cfg(test)]
#[path = "impersonation/tests.rs"]
mod tests;
