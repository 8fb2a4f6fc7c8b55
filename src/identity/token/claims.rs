//! What a verified token says: who, until when, in which groups, with which attributes.
//!
//! In: its claims (RFC 7519, section 4.1). Out: [`Proven`]. Must never: read past a claim of the wrong kind, or take more than is bounded.

use super::Rejected;
use crate::config::authentication::{ClaimPath, Iam, Issuer, Users};
use crate::identity::{Brought, Entitlement};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most groups, and most values of an attribute: what a caller is compared with on every statement.
const MOST: usize = 1000;
/// Longest group name or value.
const LONGEST: usize = 1024;

/// What a token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The name it is about, before any map.
    pub name: String,
    /// It ends then, the leeway included.
    pub until: Timestamp,
    /// What its user has by it.
    pub brought: Brought,
}

pub(super) fn read(claims: &Map<String, Value>, issuer: &Issuer, now: Timestamp) -> Result<Proven, Rejected> {
    if claims.get("iss").and_then(Value::as_str) != Some(&issuer.issuer) {
        return Err(Rejected::Issuer);
    }
    let wanted = |audience: &str| issuer.audience.iter().any(|own| own == audience);
    let meant = match claims.get("aud") {
        Some(Value::String(one)) => wanted(one),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(wanted),
        _ => false,
    };
    if !meant {
        return Err(Rejected::Audience);
    }
    let until = claims.get("exp").and_then(instant).ok_or(Rejected::NoExpiry)?;
    let until = until.checked_add(issuer.leeway).map_err(|_| Rejected::NoExpiry)?;
    if until <= now {
        return Err(Rejected::Expired);
    }
    for claim in ["nbf", "iat"] {
        let Some(from) = claims.get(claim) else { continue };
        let latest = now.checked_add(issuer.leeway).map_err(|_| Rejected::NotYet)?;
        if instant(from).is_none_or(|from| from > latest) {
            return Err(Rejected::NotYet);
        }
    }
    if !issuer.require.iter().all(|required| has(claims, &required.path, &required.values)) {
        return Err(Rejected::Required);
    }
    let name = find(claims, &issuer.claims.user).and_then(Value::as_str).ok_or(Rejected::NoUser)?;
    if name.is_empty() || name.len() > LONGEST {
        return Err(Rejected::NoUser);
    }
    let iam = match &issuer.iam {
        Iam::One(iam) => iam,
        Iam::Named { path, allowed } => {
            let named = find(claims, path).and_then(Value::as_str).ok_or(Rejected::Provider)?;
            allowed.iter().find(|iam| ***iam == *named).ok_or(Rejected::Provider)?
        }
    };
    let entitlement = |value| Entitlement { value, iam: iam.clone() };
    let mut brought = Brought { iam: iam.clone(), alone: issuer.users == Users::Any, ..Brought::default() };
    if let Some(found) = issuer.claims.groups.as_ref().and_then(|path| find(claims, path)) {
        let strings = values(found, false).ok_or(Rejected::Groups)?;
        brought.groups = bounded(strings)?.into_iter().map(entitlement).collect();
    }
    for (attribute, path) in &issuer.claims.attributes {
        let Some(found) = find(claims, path) else { continue };
        let strings = values(found, true).ok_or(Rejected::Attribute)?;
        let values: BTreeSet<Entitlement> = bounded(strings)?.into_iter().map(entitlement).collect();
        if !values.is_empty() {
            brought.attributes.insert(attribute.clone(), values);
        }
    }
    Ok(Proven { name: name.to_owned(), until, brought })
}

/// A NumericDate: seconds, perhaps with a fraction, which does not count.
fn instant(value: &Value) -> Option<Timestamp> {
    let number = value.as_number()?;
    let seconds = number.as_i64().or_else(|| {
        let seconds = number.as_f64()?.floor();
        // Within what both kinds of number hold exactly.
        (seconds.abs() < 1e15).then_some(seconds as i64)
    })?;
    Timestamp::from_second(seconds).ok()
}

/// The claim at a path; null counts as absent.
fn find<'a>(claims: &'a Map<String, Value>, path: &ClaimPath) -> Option<&'a Value> {
    let (first, rest) = path.0.split_first()?;
    let mut found = claims.get(first)?;
    for name in rest {
        found = found.as_object()?.get(name)?;
    }
    Some(found).filter(|value| !value.is_null())
}

/// A text or a list of texts; numbers and truth values count as such where `plain` says so.
fn values(found: &Value, plain: bool) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if plain => Some(number.to_string()),
        Value::Bool(truth) if plain => Some(truth.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match found {
        Value::Array(items) => items.iter().map(text).collect(),
        one => text(one).map(|text| vec![text]),
    }
}

fn bounded(mut values: Vec<String>) -> Result<Vec<String>, Rejected> {
    values.retain(|value| !value.is_empty());
    let fits = |value: &String| value.len() <= LONGEST && !value.contains('\0');
    if values.len() > MOST || !values.iter().all(fits) {
        return Err(Rejected::TooMuch);
    }
    Ok(values)
}

/// Whether a claim has one of the values. A text is also met by one of its words: `scope` is a list of words (RFC 8693, 4.2).
fn has(claims: &Map<String, Value>, path: &ClaimPath, wanted: &[String]) -> bool {
    let Some(found) = find(claims, path) else { return false };
    let words = match (found, path.0.as_slice()) {
        (Value::String(text), [name]) if name == "scope" || name == "scp" => {
            Some(text.split(' ').map(str::to_owned).collect())
        }
        _ => values(found, true),
    };
    words.is_some_and(|words| words.iter().any(|word| wanted.contains(word)))
}
