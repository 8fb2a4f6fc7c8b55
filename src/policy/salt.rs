//! Salts: what makes a hash of one data source useless for another.
//!
//! In: the master secret, a data source's name or a project's key. Out: a [`Salt`]. Must never: be printed, logged or compared
//! outside tests; neither type implements `Debug` or `Display`.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The master secret every salt is derived from.
#[derive(Clone)]
pub struct Salts {
    master: [u8; 32],
}

/// One derived salt.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salts {
    /// Takes the master secret, of any length; it is digested at once and not kept.
    pub fn new(master: &[u8]) -> Self {
        Self { master: Sha256::digest(master).into() }
    }
    /// The salt of a data source, so that masked keys of two data sources do not join.
    pub fn source(&self, name: &str) -> Salt {
        self.derive("source:", name)
    }
    /// The salt of a project with `allowMaskedJoins`, which replaces those of its data sources.
    pub fn project(&self, key: &str) -> Salt {
        self.derive("project:", key)
    }
    /// HMAC-SHA256 (RFC 2104) keyed with the master secret over kind ‖ name. The kinds end in `:` and differ, so no two pairs collide.
    fn derive(&self, kind: &str, name: &str) -> Salt {
        // A key of 32 bytes is shorter than the block: HMAC pads it, as `new_from_slice` would.
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        for (to, from) in key.iter_mut().zip(self.master) {
            *to = from;
        }
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&key);
        mac.update(kind.as_bytes());
        mac.update(name.as_bytes());
        Salt(mac.finalize().into_bytes().into())
    }
}

impl Salt {
    /// A salt of zeros, for statements that are prepared but never read data.
    pub(crate) fn neutral() -> Self {
        Self([0; 32])
    }
    /// Lower-case hex, for the `bytea` literal of a mask. A secret.
    pub(crate) fn hex(&self) -> String {
        let mut out = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_is_hmac_of_the_digested_master() {
        let salts = Salts::new(b"master");
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&Sha256::digest(b"master")).unwrap();
        mac.update(b"source:public.customer");
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        assert!(salts.source("public.customer") == Salt(expected));
    }

    #[test]
    fn salts_differ_by_kind_name_and_master() {
        let salts = Salts::new(b"master");
        assert!(salts.source("a") == salts.source("a"));
        assert!(salts.source("a") != salts.source("b"));
        assert!(salts.source("a") != salts.project("a"));
        assert!(salts.source("a") != Salts::new(b"other").source("a"));
        assert_eq!(salts.source("a").hex().len(), 64);
    }
}
