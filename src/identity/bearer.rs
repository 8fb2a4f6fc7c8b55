//! The messages of SASL OAUTHBEARER (RFC 7628; PostgreSQL 18 manual, chapter "OAuth Authorization/Authentication").
//!
//! In: the client's first message. Out: the token in it, or that it asks where to get one; what it is told then. Must never: repeat a
//! token.

use crate::config::authentication::Issuer;
use crate::error::{Family, Refusal, SqlState};
use serde_json::json;

/// The mechanism's name.
pub const OAUTHBEARER: &str = "OAUTHBEARER";
/// Between the parts of a message, and alone the answer to a refusal (RFC 7628, 3.1 and 3.2.3).
pub const SEPARATOR: u8 = 1;

fn malformed(what: &'static str) -> Refusal {
    Refusal::protocol("malformed OAUTHBEARER message").with_detail(what)
}

/// The token of a client's first message; `None` when it has none yet and asks where to get one.
///
/// # Errors
/// 08P01 when it is not such a message, 0A000 when it asks for somebody else's identity.
pub fn token(message: &[u8]) -> Result<Option<&str>, Refusal> {
    let text = std::str::from_utf8(message).map_err(|_| malformed("it is not UTF-8"))?;
    let (header, rest) = text.split_once('\u{1}').ok_or_else(|| malformed("it has no parts"))?;
    let mut header = header.splitn(3, ',');
    match header.next() {
        Some("n" | "y") => {}
        Some(flag) if flag.starts_with("p=") => return Err(malformed("this mechanism has no channel binding")),
        _ => return Err(malformed("the channel binding flag is n or y")),
    }
    match (header.next(), header.next()) {
        (Some(""), Some("")) => {}
        (Some(_), Some("")) => {
            let text = "client uses authorization identity, but it is not supported";
            return Err(Refusal::new(Family::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, text));
        }
        _ => return Err(malformed("the gs2 header is not complete")),
    }
    let pairs = rest.strip_suffix('\u{1}').ok_or_else(|| malformed("its end is missing"))?;
    let pairs = match pairs {
        "" => return Err(malformed("the value auth is missing")),
        pairs => pairs.strip_suffix('\u{1}').ok_or_else(|| malformed("its end is missing"))?,
    };
    let mut auth = None;
    for pair in pairs.split('\u{1}') {
        let (key, value) = pair.split_once('=').ok_or_else(|| malformed("a part has no value"))?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(malformed("a key has other characters than letters"));
        }
        // Host and port may come along; who connects to us knows where he is.
        if key == "auth" && auth.replace(value).is_some() {
            return Err(malformed("two values auth"));
        }
    }
    let auth = auth.ok_or_else(|| malformed("the value auth is missing"))?;
    if auth.is_empty() {
        return Ok(None);
    }
    // RFC 6750, 2.1: the scheme, whose case does not count, and a token of base64 characters.
    let token = match auth.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim_start_matches(' '),
        _ => return Err(malformed("the scheme is not Bearer")),
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(known) {
        return Err(malformed("the token has other characters than those of base64"));
    }
    Ok(Some(token))
}

/// What a client is told whose token was not taken, or that has none (RFC 7628, 3.2.2).
pub fn refusal(issuer: &Issuer) -> Vec<u8> {
    let said = json!({
        "status": "invalid_token",
        "openid-configuration": issuer.discovery,
        "scope": issuer.scope,
    });
    said.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_clients_send_them() {
        assert_eq!(token(b"n,,\x01auth=Bearer a.b-c~d+e/f==\x01\x01").unwrap(), Some("a.b-c~d+e/f=="));
        assert_eq!(token(b"y,,\x01host=db\x01port=5432\x01auth=bearer t\x01\x01").unwrap(), Some("t"));
        assert_eq!(token(b"n,,\x01auth=\x01\x01").unwrap(), None, "asks where to get one");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = token(&bytes);
            let inside = [b"n,,\x01auth=Bearer ", bytes.as_slice(), b"\x01\x01"].concat();
            if let Ok(Some(taken)) = token(&inside) {
                proptest::prop_assert!(taken.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for message in [
            &b""[..],
            b"n,,",
            b"n,,\x01",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer t\x01",
            b"n,,\x01auth=Bearer t",
            b"n,\x01auth=Bearer t\x01\x01",
            b"p=tls-server-end-point,,\x01auth=Bearer t\x01\x01",
            b"x,,\x01auth=Bearer t\x01\x01",
            b"n,a=bob,\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            b"n,,\x01auth=Basic t\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=Bearer a\x00b\x01\x01",
            b"n,,\x01a1=x\x01auth=Bearer t\x01\x01",
            b"n,,\x01novalue\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Bearer t\x01\x01\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
            b"n,,\x01auth=B\xc3\xa4rer t\x01\x01",
        ] {
            assert!(token(message).is_err(), "{:?}", String::from_utf8_lossy(message));
        }
        assert_eq!(token(b"n,a=bob,\x01auth=Bearer t\x01\x01").unwrap_err().code.0, "0A000");
    }
}
