//! New ids, names and secrets.
//!
//! In: the randomness of the operating system, the time. Out: a GUID, a client id, a secret, a login name. Must never: make a secret from
//! anything but 256 random bits, or go on when there is no randomness.

use crate::config::Secret;
use crate::identity::scram::Verifier;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use std::fmt::Write as _;
use std::io;

/// How the secret of a token begins, so that scanners for secrets find it.
const TOKEN: &str = "svt_";
/// How the password of a temporary account begins.
const ACCOUNT: &str = "svp_";
/// Digits of the time in the name of a temporary account: milliseconds, until the year 2286.
const TIME: usize = 13;
/// Random letters and digits behind them.
const TAIL: usize = 11;
/// Longest beginning of such a name.
pub const LONGEST_PREFIX: usize = 20;

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A random UUID (RFC 9562, 5.4: version 4).
///
/// # Errors
/// When the system gives no randomness.
pub fn uuid() -> io::Result<String> {
    let mut bytes = random::<16>()?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Whether a text is a UUID in lower case.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// A secret of 256 random bits and what it is checked against.
fn secret(prefix: &str) -> io::Result<(Secret, Verifier)> {
    let text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random::<32>()?));
    let verifier = Verifier::generate(text.as_bytes());
    Ok((Secret::new(text), verifier))
}

/// The secret of a new token.
///
/// # Errors
/// When the system gives no randomness.
pub fn token_secret() -> io::Result<(Secret, Verifier)> {
    secret(TOKEN)
}

/// The password of a new temporary account.
///
/// # Errors
/// When the system gives no randomness.
pub fn account_password() -> io::Result<(Secret, Verifier)> {
    secret(ACCOUNT)
}

/// The name of a new temporary account: `<prefix><milliseconds><random>`, as `temp1635366310923d8b65qm6279`.
///
/// # Errors
/// When the system gives no randomness.
pub fn account_name(prefix: &str, now: Timestamp) -> io::Result<String> {
    let mut name = format!("{prefix}{:013}", now.as_millisecond());
    while name.len() < prefix.len() + TIME + TAIL {
        let [byte] = random::<1>()?;
        // 252 is 7 × 36: every letter and digit is as likely.
        if let Some(digit) = char::from_digit(u32::from(byte) % 36, 36).filter(|_| byte < 252) {
            name.push(digit);
        }
    }
    Ok(name)
}

/// Whether the name of an account may begin so.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a login name looks like that of a temporary account.
pub fn is_account_name(name: &str) -> bool {
    let Some((prefix, rest)) = name.len().checked_sub(TIME + TAIL).and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    let Some((time, tail)) = rest.split_at_checked(TIME) else { return false };
    is_prefix(prefix)
        && time.bytes().all(|b| b.is_ascii_digit())
        && tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_known_again_and_never_the_same() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert!(is_uuid(&one) && is_uuid(&other) && one != other, "{one} {other}");
        assert_eq!(&one[14..15], "4");
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
        let name = account_name("temp", "2021-10-27T20:25:10.923Z".parse().unwrap()).unwrap();
        assert!(name.starts_with("temp1635366310923") && name.len() == 28, "{name}");
        assert!(is_account_name(&name) && is_account_name("temp1635366310923d8b65qm6279"));
        for other in [
            "temp",
            "",
            "temp163536631092xd8b65qm6279",
            "Temp1635366310923d8b65qm6279",
            "ünlich1635366310923d8b65qm6279",
        ] {
            assert!(!is_account_name(other), "{other}");
        }
        let ((secret, verifier), (next, _)) = (token_secret().unwrap(), token_secret().unwrap());
        assert_ne!(secret, next);
        let text = String::from_utf8(secret.expose().to_vec()).unwrap();
        assert!(text.starts_with("svt_") && text.len() == 4 + 43, "{}", text.len());
        assert!(!verifier.to_string().contains(&text[4..]));
    }
}
