//! The server side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS against stored verifiers.
//!
//! In: a verifier in the format of `pg_authid.rolpassword`, the client's two messages. Out: the server's two messages, or a
//! [`Refusal`]. Sources: RFC 5802 (SCRAM), RFC 7677 (SHA-256 and its test vectors), RFC 5929 section 4 (`tls-server-end-point`),
//! PostgreSQL manual 55.3 (SASL Authentication). Must never: show a key or salt in Debug, answer an unknown user differently from a
//! wrong password, compare secrets in variable time.

use crate::config::secret::hmac;
use crate::error::{Family, Refusal, SqlState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore as _;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// Mechanism name without channel binding (RFC 7677).
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism name with channel binding (RFC 7677).
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Iterations of a new verifier, as PostgreSQL's `scram_iterations` defaults to.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Longest client message looked at; PostgreSQL's own limit on an authentication packet is of this order.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// Clients give up above this (postgres-protocol and pgjdbc cap the count), so a verifier above it could never log in.
const MAX_ITERATIONS: u32 = 100_000;
/// Raw bytes of the server's part of the nonce, as in PostgreSQL's `SCRAM_RAW_NONCE_LEN`.
const RAW_NONCE: usize = 18;
/// Bytes of a fresh salt, as in PostgreSQL's `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT_LENGTH: usize = 16;

type Key = [u8; 32];

/// `Hi()` of RFC 5802 2.2: PBKDF2 with HMAC-SHA-256 and one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut previous = hmac(password, &[salt, &[0, 0, 0, 1]]);
    let mut result = previous;
    for _ in 1..iterations {
        previous = hmac(password, &[&previous]);
        for (r, p) in result.iter_mut().zip(previous) {
            *r ^= p;
        }
    }
    result
}

/// A stored SCRAM-SHA-256 secret: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the format PostgreSQL keeps in
/// `pg_authid`. It proves a password without being one; still, it is never shown in Debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCRAM_SHA_256}${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

/// Why a text is not a verifier. Says nothing of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum VerifierError {
    #[error("a verifier reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
    Shape,
    #[error("the iteration count of a verifier is a number from 1 to 100000")]
    Iterations,
    #[error("the salt of a verifier is base64 of at least one byte")]
    Salt,
    #[error("the keys of a verifier are base64 of 32 bytes each")]
    Key,
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix(SCRAM_SHA_256).and_then(|r| r.strip_prefix('$')).ok_or(VerifierError::Shape)?;
        let (head, keys) = rest.split_once('$').ok_or(VerifierError::Shape)?;
        let (iterations, salt) = head.split_once(':').ok_or(VerifierError::Shape)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError::Shape)?;
        if iterations.is_empty() || !iterations.bytes().all(|b| b.is_ascii_digit()) {
            return Err(VerifierError::Iterations);
        }
        let iterations: u32 = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        if iterations == 0 || iterations > MAX_ITERATIONS {
            return Err(VerifierError::Iterations);
        }
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError::Salt)?;
        if salt.is_empty() {
            return Err(VerifierError::Salt);
        }
        Ok(Self { iterations, salt, stored_key: decode_key(stored)?, server_key: decode_key(server)? })
    }
}

fn decode_key(text: &str) -> Result<Key, VerifierError> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(VerifierError::Key)
}

impl Verifier {
    /// The verifier of a password. The password is prepared by SASLprep (RFC 4013); where that is not possible (not UTF-8,
    /// prohibited characters) its raw bytes are taken, as PostgreSQL does.
    pub fn from_password(password: &[u8], iterations: u32, salt: &[u8]) -> Self {
        let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
        let bytes = prepared.as_ref().map_or(password, |text| text.as_bytes());
        let iterations = iterations.clamp(1, MAX_ITERATIONS);
        let salted = salted_password(bytes, salt, iterations);
        let client_key = hmac(&salted, &[b"Client Key"]);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// A verifier of a new password: a fresh random salt and [`DEFAULT_ITERATIONS`].
    pub fn generate(password: &[u8]) -> Self {
        let mut salt = [0; SALT_LENGTH];
        rand::rng().fill_bytes(&mut salt);
        Self::from_password(password, DEFAULT_ITERATIONS, &salt)
    }

    /// Stands for it where it is itself not to be kept: a SHA-256 of its text.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }

    /// Iteration count.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Length of the salt in bytes.
    pub fn salt_length(&self) -> usize {
        self.salt.len()
    }
}

/// What a login is checked against. For a user who may not log in it is a mock: the exchange looks the same and always fails, at the
/// same point and with the same words as a wrong password (RFC 5802 section 9; PostgreSQL's `mock_scram_secret`).
#[derive(Debug, Clone)]
pub struct LoginVerifier {
    user: Arc<str>,
    verifier: Verifier,
    admits: bool,
}

impl LoginVerifier {
    /// A login that succeeds with the right password.
    pub fn real(user: impl Into<Arc<str>>, verifier: Verifier) -> Self {
        Self { user: user.into(), verifier, admits: true }
    }

    /// A login of a known user who is not let in (disabled, expired): the salt stays what it was, the answer is always no.
    pub fn barred(user: impl Into<Arc<str>>, verifier: Verifier) -> Self {
        Self { user: user.into(), verifier, admits: false }
    }

    /// A login of nobody: salt derived from `secret` and the name, so that asking twice shows the same salt.
    pub fn mock(user: impl Into<Arc<str>>, secret: &[u8], iterations: u32, salt_length: usize) -> Self {
        let user = user.into();
        let mut salt = Vec::with_capacity(salt_length);
        let mut block: u32 = 0;
        while salt.len() < salt_length {
            let bytes = hmac(secret, &[b"mock salt", &block.to_be_bytes(), user.as_bytes()]);
            salt.extend(bytes.into_iter().take(salt_length.saturating_sub(salt.len())));
            block = block.wrapping_add(1);
        }
        let verifier = Verifier {
            iterations: iterations.clamp(1, MAX_ITERATIONS),
            salt,
            stored_key: hmac(secret, &[b"mock stored key", user.as_bytes()]),
            server_key: hmac(secret, &[b"mock server key", user.as_bytes()]),
        };
        Self { user, verifier, admits: false }
    }

    /// The name that logs in.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// What the client said about channel binding in its gs2 header (RFC 5802 section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// `n`: the client does not support it.
    None,
    /// `y`: the client supports it and thinks the server does not.
    NotOffered,
    /// `p=tls-server-end-point`.
    EndPoint,
}

enum State {
    Start,
    AwaitFinal { gs2_header: String, binding: Binding, client_first_bare: String, server_first: String, nonce: String },
    Done,
}

/// One authentication exchange. Each step may be taken once, in order; anything else is a refusal.
pub struct ServerExchange {
    login: LoginVerifier,
    end_point: Option<Vec<u8>>,
    server_nonce: String,
    state: State,
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::protocol("malformed SCRAM message").with_detail(what)
}

fn binding_error(what: &'static str) -> Refusal {
    Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, what)
}

impl ServerExchange {
    /// Begins an exchange. `channel_binding` is the hash of our certificate (`tls-server-end-point`) when the connection is on TLS and
    /// the hash is defined for the certificate; `-PLUS` is then offered.
    pub fn new(login: LoginVerifier, channel_binding: Option<&[u8]>) -> Self {
        let mut raw = [0; RAW_NONCE];
        rand::rng().fill_bytes(&mut raw);
        Self::with_nonce(login, channel_binding, STANDARD.encode(raw))
    }

    fn with_nonce(login: LoginVerifier, channel_binding: Option<&[u8]>, server_nonce: String) -> Self {
        Self { login, end_point: channel_binding.map(<[u8]>::to_vec), server_nonce, state: State::Start }
    }

    /// The mechanisms to list in AuthenticationSASL, the preferred first.
    pub fn mechanisms(&self) -> Vec<&'static str> {
        match self.end_point {
            Some(_) => vec![SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
            None => vec![SCRAM_SHA_256],
        }
    }

    /// Takes the mechanism and the data of SASLInitialResponse; returns the data of AuthenticationSASLContinue.
    pub fn client_first(&mut self, mechanism: &str, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        if !matches!(std::mem::replace(&mut self.state, State::Done), State::Start) {
            return Err(malformed("the exchange has already begun"));
        }
        let plus = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS if self.end_point.is_some() => true,
            _ => return Err(Refusal::protocol("client selected an invalid SASL authentication mechanism")),
        };
        let text = text_of(message)?;
        let (flag, rest) = text.split_once(',').ok_or_else(|| malformed("the gs2 header is not complete"))?;
        let (authzid, bare) = rest.split_once(',').ok_or_else(|| malformed("the gs2 header is not complete"))?;
        let binding = match flag {
            "n" if plus => return Err(malformed("SCRAM-SHA-256-PLUS needs channel binding data")),
            "n" => Binding::None,
            "y" if plus => return Err(malformed("SCRAM-SHA-256-PLUS needs channel binding data")),
            // The client would bind and saw no -PLUS, but we offered it: someone in between took it out of the list.
            "y" if self.end_point.is_some() => return Err(binding_error("SCRAM channel binding negotiation error")),
            "y" => Binding::NotOffered,
            "p=tls-server-end-point" if plus => Binding::EndPoint,
            "p=tls-server-end-point" => return Err(malformed("channel binding without SCRAM-SHA-256-PLUS")),
            other if other.starts_with("p=") => {
                return Err(Refusal::protocol("unsupported SCRAM channel-binding type"));
            }
            _ => return Err(malformed("the channel binding flag is n, y or p")),
        };
        if !authzid.is_empty() {
            return Err(Refusal::new(
                Family::Unsupported,
                SqlState::FEATURE_NOT_SUPPORTED,
                "client uses authorization identity, but it is not supported",
            ));
        }
        if bare.starts_with("m=") {
            return Err(Refusal::new(
                Family::Unsupported,
                SqlState::FEATURE_NOT_SUPPORTED,
                "client requires an unsupported SCRAM extension",
            ));
        }
        let mut attributes = bare.split(',');
        // The user name here is ignored, as in PostgreSQL: the one of the startup packet counts.
        attributes.next().and_then(|a| a.strip_prefix("n=")).ok_or_else(|| malformed("the user name is missing"))?;
        let client_nonce =
            attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or_else(|| malformed("the nonce is missing"))?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err(malformed("the nonce holds characters that are not printable"));
        }
        if !attributes.all(is_extension) {
            return Err(malformed("an attribute has no name"));
        }
        let nonce = format!("{client_nonce}{}", self.server_nonce);
        let server_first =
            format!("r={nonce},s={},i={}", STANDARD.encode(&self.login.verifier.salt), self.login.verifier.iterations);
        let reply = server_first.clone().into_bytes();
        self.state = State::AwaitFinal {
            gs2_header: format!("{flag},,"),
            binding,
            client_first_bare: bare.to_owned(),
            server_first,
            nonce,
        };
        Ok(reply)
    }

    /// Takes the data of SASLResponse; returns the data of AuthenticationSASLFinal. Only `Ok` lets the user in.
    pub fn client_final(&mut self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let State::AwaitFinal { gs2_header, binding, client_first_bare, server_first, nonce } =
            std::mem::replace(&mut self.state, State::Done)
        else {
            return Err(malformed("the exchange has not begun"));
        };
        let text = text_of(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("the proof is missing"))?;
        let mut attributes = without_proof.split(',');
        let bound = attributes
            .next()
            .and_then(|a| a.strip_prefix("c="))
            .ok_or_else(|| malformed("the channel binding is missing"))?;
        let answered =
            attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or_else(|| malformed("the nonce is missing"))?;
        if !attributes.all(is_extension) {
            return Err(malformed("an attribute has no name"));
        }
        let proof: Key = STANDARD
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| malformed("the proof is not base64 of 32 bytes"))?;
        let mut expected = gs2_header.into_bytes();
        if let (Binding::EndPoint, Some(hash)) = (binding, &self.end_point) {
            expected.extend_from_slice(hash);
        }
        if !bool::from(STANDARD.encode(expected).as_bytes().ct_eq(bound.as_bytes())) {
            return Err(match binding {
                Binding::EndPoint => binding_error("SCRAM channel binding check failed"),
                Binding::None | Binding::NotOffered => malformed("unexpected SCRAM channel-binding attribute"),
            });
        }
        if !bool::from(nonce.as_bytes().ct_eq(answered.as_bytes())) {
            return Err(malformed("the nonce does not match"));
        }
        let auth_message: [&[u8]; 5] =
            [client_first_bare.as_bytes(), b",", server_first.as_bytes(), b",", without_proof.as_bytes()];
        let verifier = &self.login.verifier;
        let signature = hmac(&verifier.stored_key, &auth_message);
        let mut client_key = proof;
        for (key, sign) in client_key.iter_mut().zip(signature) {
            *key ^= sign;
        }
        let proven: Key = Sha256::digest(client_key).into();
        let server_signature = hmac(&verifier.server_key, &auth_message);
        let right = proven.ct_eq(&verifier.stored_key) & Choice::from(u8::from(self.login.admits));
        if bool::from(right) {
            Ok(format!("v={}", STANDARD.encode(server_signature)).into_bytes())
        } else {
            Err(Refusal::new(
                Family::Denied,
                SqlState::INVALID_PASSWORD,
                format!("password authentication failed for user \"{}\"", self.login.user),
            ))
        }
    }
}

fn text_of(message: &[u8]) -> Result<&str, Refusal> {
    if message.len() > MAX_MESSAGE {
        return Err(malformed("the message is too long"));
    }
    let text = std::str::from_utf8(message).map_err(|_| malformed("the message is not UTF-8"))?;
    if text.contains('\0') {
        return Err(malformed("the message holds a NUL"));
    }
    Ok(text)
}

/// `attr-val` of RFC 5802 section 7: a letter, an equals sign, a value.
fn is_extension(attribute: &str) -> bool {
    let mut chars = attribute.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some('=')
}

#[cfg(test)]
mod tests;
