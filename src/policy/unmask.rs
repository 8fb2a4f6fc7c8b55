//! The way back from tokens of the mask Reversible, for whom a request was approved.
//!
//! In: what governance declares, the salts, a request's key, tokens, an instant. Out: the values, or why not. Must never: give a value
//! for a token that is not of the request's column (or project), or one the request does not list; say what a token that fails held.

use super::mask::original;
use super::salt::{Salt, Salts};
use crate::governance::model::{Declared, UnmaskRequest, UnmaskState};
use serde::Serialize;
use std::time::SystemTime;

/// What an approved request gives: the shape of a completed unmask task of the seeds (001, `GET /dataSource/tasks/{taskId}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmasked {
    /// The values, in the order of the tokens.
    #[serde(rename = "unmaskPairs")]
    pub pairs: Vec<Pair>,
    /// The column they are of.
    pub column: String,
}

/// A token and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The token.
    pub masked: String,
    /// The value.
    pub unmasked: String,
}

/// The request of a key, when it may be acted on at this instant.
///
/// # Errors
/// Why it may not.
pub fn approved<'a>(declared: &'a Declared, key: &str, now: SystemTime) -> Result<&'a UnmaskRequest, String> {
    let Some(request) = declared.unmask_requests.iter().find(|r| r.key == key) else {
        return Err(format!("there is no unmask request `{key}`"));
    };
    let said = match request.state {
        UnmaskState::Approved => None,
        UnmaskState::Pending => Some("is pending"),
        UnmaskState::Denied => Some("was denied"),
        UnmaskState::Completed => Some("is completed"),
    };
    if let Some(said) = said {
        return Err(format!("the unmask request `{key}` ({}) {said}", request.origin));
    }
    let now = jiff::Timestamp::try_from(now).map_err(|_| "the clock is out of range".to_owned())?;
    match request.expiration {
        Some(end) if now < end => Ok(request),
        _ => Err(format!("the unmask request `{key}` ({}) has expired", request.origin)),
    }
}

/// The values of tokens under an approved request. All or none: a token that is not authentic fails the whole.
///
/// # Errors
/// Which token is refused, by its number, and why.
pub fn unmask(
    declared: &Declared,
    request: &UnmaskRequest,
    salts: &Salts,
    tokens: &[String],
) -> Result<Unmasked, String> {
    let salt = salt(declared, request, salts)?;
    let mut pairs = Vec::with_capacity(tokens.len());
    for (number, token) in (1..).zip(tokens) {
        if request.values.as_ref().is_some_and(|listed| !listed.contains(token)) {
            return Err(format!("value {number} is not one of those the request lists"));
        }
        let Some(value) = original(&salt, &request.column, token) else {
            return Err(format!(
                "value {number} is not a masked value of column `{}` of data source `{}`",
                request.column, request.data_source
            ));
        };
        pairs.push(Pair { masked: token.clone(), unmasked: value });
    }
    Ok(Unmasked { pairs, column: request.column.clone() })
}

/// The salt the tokens were made with.
fn salt(declared: &Declared, request: &UnmaskRequest, salts: &Salts) -> Result<Salt, String> {
    let Some(key) = &request.project else { return Ok(salts.source(&request.data_source)) };
    let project = declared.projects.iter().find(|p| p.key == *key);
    match project {
        None => Err(format!("there is no project `{key}`")),
        Some(p) if !p.allow_masked_joins => Err(format!(
            "project `{key}` has no salt of its own (allowMaskedJoins): leave `project` out of the request"
        )),
        Some(p) if !p.data_sources.is_empty() && !p.data_sources.contains(&request.data_source) => {
            Err(format!("project `{key}` does not hold data source `{}`", request.data_source))
        }
        Some(_) => Ok(salts.project(key)),
    }
}
