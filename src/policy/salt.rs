//! Salts: what makes a hash of one data source useless for another.
//!
//! In: the master secret, a data source's name or a project's key. Out: a [`Salt`], and the keys of the masks that encrypt.
//! Must never: be printed, logged or compared outside tests; none of the types implements `Debug` or `Display`.

use crate::types::hex;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The master secret every salt is derived from.
#[derive(Clone)]
pub struct Salts {
    master: [u8; 32],
}

/// One derived salt.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt {
    bytes: [u8; 32],
    /// A project's, which several data sources share.
    shared: bool,
}

/// What a key is for. Keys of different uses have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// AES-256 of the mask Format Preserving Masking.
    Format,
    /// Synthetic initialization vectors of the mask Reversible.
    Vector,
    /// The keystream of the mask Reversible.
    Stream,
}

/// A key of 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Salts {
    /// Takes the master secret, of any length; it is digested at once and not kept.
    pub fn new(master: &[u8]) -> Self {
        Self { master: Sha256::digest(master).into() }
    }
    /// The salt of a data source, so that masked keys of two data sources do not join.
    pub fn source(&self, name: &str) -> Salt {
        Salt { bytes: hmac(&self.master, &[b"source:", name.as_bytes()]), shared: false }
    }
    /// The salt of a project with `allowMaskedJoins`, which replaces those of its data sources.
    pub fn project(&self, key: &str) -> Salt {
        Salt { bytes: hmac(&self.master, &[b"project:", key.as_bytes()]), shared: true }
    }
}

/// HMAC-SHA256 (RFC 2104) of the parts, one behind the other. The first part of every use ends in `:` and differs, so no two collide.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key of 32 bytes is shorter than the block: HMAC pads it, as `new_from_slice` would.
    let mut padded = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&padded);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl Salt {
    /// A salt of zeros, for statements that are prepared but never read data.
    pub(crate) fn neutral() -> Self {
        Self { bytes: [0; 32], shared: false }
    }
    /// Lower-case hex, for the `bytea` literal of a mask. A secret.
    pub(crate) fn hex(&self) -> String {
        hex(self.bytes)
    }
    /// The key of one use. With a column, it is that column's alone; but a project's salt exists to make the columns of its data
    /// sources comparable, so its keys are the project's.
    pub(crate) fn key(&self, of: KeyUse, column: Option<&str>) -> Key {
        let name: &[u8] = match of {
            KeyUse::Format => b"format:",
            KeyUse::Vector => b"vector:",
            KeyUse::Stream => b"stream:",
        };
        let column = column.filter(|_| !self.shared).unwrap_or_default();
        Key(hmac(&self.bytes, &[name, column.as_bytes()]))
    }
}

impl Key {
    /// Lower-case hex. A secret.
    pub(crate) fn hex(&self) -> String {
        hex(self.0)
    }
    /// The key as HMAC-SHA256 uses it: filled with zeros to the block of 64 bytes, each XORed with `pad` (RFC 2104: 0x36 inside, 0x5c
    /// outside). A secret.
    pub(crate) fn padded_hex(&self, pad: u8) -> String {
        hex(self.0.iter().map(|byte| byte ^ pad).chain([pad; 32]))
    }
    /// HMAC-SHA256 of the parts, one behind the other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        hmac(&self.0, parts)
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
        assert!(salts.source("public.customer") == Salt { bytes: expected, shared: false });
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

    #[test]
    fn keys_differ_by_use_and_column_but_not_in_a_project() {
        let salts = Salts::new(b"master");
        let source = salts.source("a");
        assert!(source.key(KeyUse::Vector, Some("x")) == source.key(KeyUse::Vector, Some("x")));
        assert!(source.key(KeyUse::Vector, Some("x")) != source.key(KeyUse::Stream, Some("x")));
        assert!(source.key(KeyUse::Vector, Some("x")) != source.key(KeyUse::Vector, Some("y")));
        assert!(source.key(KeyUse::Format, None) != salts.source("b").key(KeyUse::Format, None));
        let project = salts.project("p");
        assert!(project.key(KeyUse::Vector, Some("x")) == project.key(KeyUse::Vector, Some("y")));
        assert_eq!(source.key(KeyUse::Vector, None).padded_hex(0x36).len(), 128);
    }
}
