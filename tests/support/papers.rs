//! Certificates and tokens of the tests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authority that signs certificates into a folder.
pub struct Papers {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    /// An authority, its certificate in `ca.crt`, and a server certificate for this machine.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self { folder: tempfile::tempdir().unwrap(), authority };
        papers.write("ca.crt", &papers.authority.pem());
        papers.sign("server", CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap());
        papers
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        // libpq insists on it for keys.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn sign(&self, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.crt"), &params.signed_by(&key, &self.authority).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A client certificate of that common name, and what else it is to have.
    pub fn client(&self, name: &str, fill: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Corp");
        params.distinguished_name.push(DnType::CommonName, name);
        fill(&mut params);
        self.sign(name, params);
    }

    /// A list of revoked certificates, by serial number, in `revoked.pem`; good for an hour from `updated`.
    pub fn revoke(&self, serials: &[u8], updated: u64) {
        let at = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: at(updated),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: at(updated),
            next_update: at(updated + 3600),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("revoked.pem", &params.signed_by(&self.authority).unwrap().pem().unwrap());
    }

    /// The `tls` section.
    pub fn tls(&self) -> String {
        let folder = self.folder.path().display();
        format!("tls: {{certificate: {folder}/server.crt, key: {folder}/server.key, client_ca: {folder}/ca.crt}}")
    }

    /// Connection options of libpq: under TLS, with a client certificate.
    pub fn conninfo(&self, database: &str, certificate: Option<&str>, more: &str) -> String {
        let folder = self.folder.path().display();
        // An empty name keeps libpq from looking into the home directory.
        let own = match certificate {
            Some(name) => format!("sslcert={folder}/{name}.crt sslkey={folder}/{name}.key"),
            None => "sslcert=/nowhere sslkey=/nowhere".to_owned(),
        };
        format!("dbname={database} sslmode=verify-full sslrootcert={folder}/ca.crt {own} {more}")
    }
}

pub fn email(address: &str) -> SanType {
    SanType::Rfc822Name(address.try_into().unwrap())
}

/// So many seconds from now.
pub fn ending(params: &mut CertificateParams, seconds: u64) {
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now() + seconds);
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of an issuer of tokens.
pub struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair }
    }

    /// A key set of these keys.
    pub fn set(keys: &[&Self]) -> String {
        let jwk = |key: &&Self| {
            let point = key.pair.public_key().as_ref();
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": key.id, "x": b64(&point[1..33]), "y": b64(&point[33..])})
        };
        json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()}).to_string()
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", b64(signature))
    }

    /// A token for a user that is good for a minute, with some claims changed; null removes one.
    pub fn token(&self, user: &str, changes: Value) -> String {
        let mut claims = json!({"iss": ISSUER, "aud": "veil", "sub": user, "exp": now() + 60});
        let object = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            object.insert(name.clone(), value.clone());
        }
        object.retain(|_, value| !value.is_null());
        self.sign(&json!({"alg": "ES256", "kid": self.id}), &claims)
    }
}

/// `iss` of the tests' tokens.
pub const ISSUER: &str = "https://sso.example";
