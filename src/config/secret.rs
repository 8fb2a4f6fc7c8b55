//! A value that must not be seen.
//!
//! In: bytes from the environment or a file. Out: the bytes, to whoever asks by name. Must never: appear in Debug or Display output.

use hmac::{Hmac, Mac};
use rand::RngCore as _;
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// A password or key. Debug shows `***`; there is no Display.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(Arc::from(bytes.as_ref()))
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A key for one use, derived by HMAC-SHA-256: `label` says which, and different labels give unrelated keys.
    pub fn derive(&self, label: &str) -> Secret {
        Secret::new(hmac(&self.0, &[label.as_bytes()]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// HMAC-SHA-256 of `data` (RFC 2104). Every key length is accepted.
pub(crate) fn hmac(key: &[u8], data: &[&[u8]]) -> [u8; 32] {
    match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mut mac) => {
            for part in data {
                mac.update(part);
            }
            mac.finalize().into_bytes().into()
        }
        // HMAC is defined for every key length, and so is this constructor. Were it ever not, no proof matches this.
        Err(_) => rand_key(),
    }
}

fn rand_key() -> [u8; 32] {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_and_labels_differ() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(secret.derive("a"), secret.derive("a"));
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_ne!(secret.derive("a"), Secret::new("hunter3").derive("a"));
    }
}
