//! Public keys of an issuer: a JWK set (RFC 7517), verified with ring.
//!
//! In: JSON. Out: [`KeySet`]. Keys of other kinds and for other uses are passed over, as section 5 asks for. Must never: take a secret key
//! (`oct`) for anything, or use a key with an algorithm it is not for.

use crate::config::authentication::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

/// Most keys of a set: each may be tried on a token without a key id.
const MOST: usize = 100;
/// Largest set.
pub const MAX_SET: usize = 1 << 20;

/// The keys of an issuer that signatures can be verified with.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

/// A public key.
#[derive(Debug, Clone)]
pub struct Key {
    id: Option<String>,
    /// The one algorithm it is for, when it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a text is not a usable key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum KeyError {
    #[error("not JSON of the form {{\"keys\": [...]}}")]
    Shape,
    #[error("too large")]
    TooLarge,
    #[error("no public key that signatures can be verified with")]
    NoKey,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, or holds no usable key.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > MAX_SET {
            return Err(KeyError::TooLarge);
        }
        let set: Value = serde_json::from_slice(bytes).map_err(|_| KeyError::Shape)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Shape)?;
        if keys.len() > MOST {
            return Err(KeyError::TooLarge);
        }
        let usable: Vec<Key> = keys.iter().filter_map(|key| Key::read(key.as_object()?)).collect();
        if usable.is_empty() { Err(KeyError::NoKey) } else { Ok(Self(usable)) }
    }

    /// Keys of that id, or any when the token names none, that are for the algorithm.
    pub(super) fn suitable(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let named = move |key: &&Key| id.is_none() || key.id.as_deref() == id;
        self.0.iter().filter(named).filter(move |key| key.is_for(algorithm))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"))
        {
            return None;
        }
        // A key for an algorithm that is not known here is a key for nothing.
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
        };
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            // SEC 1, 2.3.3: an uncompressed point.
            (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let key = Self { id: text("kid").map(str::to_owned), algorithm: None, material };
        match algorithm {
            Some(algorithm) if !key.is_for(algorithm) => None,
            algorithm => Some(Self { algorithm, ..key }),
        }
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => matches!(self.material, Material::Rsa { .. }),
            Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => matches!(self.material, Material::Rsa { .. }),
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
        };
        kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is this key's. RSA keys have at least 2048 bits (RFC 7518, 3.3).
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        let plain = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::Rsa { n, e } => {
                let how = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()
            }
            Material::P256(point) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => plain(&signature::ED25519, key),
        }
    }
}
