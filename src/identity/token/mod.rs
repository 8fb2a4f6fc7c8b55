//! Tokens: JSON Web Tokens in their compact signed form (RFC 7515 section 7.1, RFC 7519), checked as RFC 8725 advises.
//!
//! In: the token, the issuer's keys, the time. Out: [`Proven`] or why not. Pure; keys come from [`super::keyring`]. Must never: believe a
//! word of a token before its signature is verified, let the token choose an algorithm that its key or the configuration does not
//! have, or show a token or a claim in an error.

mod claims;
mod keys;

pub use claims::Proven;
pub use keys::{KeyError, KeySet, MAX_SET};

use crate::config::authentication::{Algorithm, Issuer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Longest token looked at; those of large directories have some kilobytes.
pub const MAX_TOKEN: usize = 32 << 10;

/// Why a token is not taken: for the log. None of it repeats what the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Rejected {
    #[error("not a signed token in compact form")]
    Shape,
    #[error("the header is not that of a signed token")]
    Header,
    #[error("the header demands extensions (crit)")]
    Critical,
    #[error("the type of the token is another one")]
    Kind,
    #[error("the algorithm is not allowed")]
    Algorithm,
    #[error("no key of the issuer has this key id and algorithm")]
    UnknownKey,
    #[error("the signature is not the issuer's")]
    Signature,
    #[error("the claims are not a JSON object")]
    Claims,
    #[error("the issuer (iss) is another one")]
    Issuer,
    #[error("the audience (aud) is another one")]
    Audience,
    #[error("the expiry (exp) is missing or not a time")]
    NoExpiry,
    #[error("it has expired (exp)")]
    Expired,
    #[error("it is not good yet (nbf, iat)")]
    NotYet,
    #[error("a required claim is missing or has another value")]
    Required,
    #[error("the claim of the user is missing or not a name")]
    NoUser,
    #[error("the claim of the provider is missing or names one that is not allowed")]
    Provider,
    #[error("the claim of the groups is not a list of names")]
    Groups,
    #[error("the claim of an attribute is not a list of values")]
    Attribute,
    #[error("it says more than is taken")]
    TooMuch,
}

/// A token whose signature is the issuer's.
struct Signed {
    claims: Map<String, Value>,
}

/// Checks a token of the issuer and reads what it says.
///
/// # Errors
/// The first thing that is wrong with it; [`Rejected::UnknownKey`] may be mended by newer keys.
pub fn verify(token: &str, issuer: &Issuer, keys: &KeySet, now: Timestamp) -> Result<Proven, Rejected> {
    let signed = signature(token, issuer, keys)?;
    claims::read(&signed.claims, issuer, now)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn signature(token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Signed, Rejected> {
    if token.len() > MAX_TOKEN {
        return Err(Rejected::Shape);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Rejected::Shape)?;
    let (header, payload) = message.split_once('.').ok_or(Rejected::Shape)?;
    if payload.contains('.') {
        return Err(Rejected::Shape);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Rejected::Shape)?;
    let header = object(header).ok_or(Rejected::Header)?;
    // RFC 7515, 4.1.11: extensions that are not understood invalidate the token; none are.
    if header.contains_key("crit") {
        return Err(Rejected::Critical);
    }
    if let Some(kind) = &issuer.kind {
        // RFC 7515, 4.1.9: a media type whose `application/` may be left out.
        let plain = |kind: &str| kind.to_ascii_lowercase().trim_start_matches("application/").to_owned();
        if header.get("typ").and_then(Value::as_str).is_none_or(|given| plain(given) != plain(kind)) {
            return Err(Rejected::Kind);
        }
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(Rejected::Header)?;
    let algorithm = Algorithm::named(name).filter(|a| issuer.algorithms.contains(a)).ok_or(Rejected::Algorithm)?;
    let id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return Err(Rejected::Header),
    };
    let mut candidates = keys.suitable(id, algorithm).peekable();
    if candidates.peek().is_none() {
        return Err(Rejected::UnknownKey);
    }
    if !candidates.any(|key| key.verifies(algorithm, message.as_bytes(), &signature)) {
        return Err(Rejected::Signature);
    }
    object(payload).map(|claims| Signed { claims }).ok_or(Rejected::Claims)
}

#[cfg(test)]
mod tests;
