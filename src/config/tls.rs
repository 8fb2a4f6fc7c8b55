//! TLS towards clients and towards warehouses: rustls configurations and the channel-binding hash.
//!
//! In: certificate and key files, an sslmode. Out: [`ServerTls`] and [`ClientTls`], ready to use; the ring provider is always named
//! explicitly, never taken from a process default. Must never: show a key, verify less than the sslmode says.

mod clients;
mod renewed;

pub use renewed::{Files, Look, Renewed};

use clients::Clients;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

/// The ALPN name of the PostgreSQL protocol (manual 55.2.10; needed for direct TLS).
pub const ALPN: &[u8] = b"postgresql";

/// TLS towards clients.
#[derive(Clone)]
pub struct ServerTls {
    /// Refuse clients that do not ask for TLS.
    pub required: bool,
    /// Clients may show certificates, and those that do show one that an authority of `client_ca` has signed.
    pub asks_for_certificates: bool,
    /// For `tokio_rustls::TlsAcceptor::from`.
    pub config: Arc<ServerConfig>,
    /// `tls-server-end-point` of the certificate; `None` when RFC 5929 defines none for its signature algorithm (Ed25519):
    /// SCRAM-SHA-256-PLUS is then not offered.
    pub end_point: Option<Vec<u8>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("required", &self.required).finish_non_exhaustive()
    }
}

/// What went wrong with a TLS file: lower-case, no secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// The cryptography in use everywhere.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let shown = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| TlsError(format!("cannot read certificates from {shown}: {}", pem_words(&e))))?
        .collect();
    let found = found.map_err(|e| TlsError(format!("cannot read certificates from {shown}: {}", pem_words(&e))))?;
    if found.is_empty() {
        return Err(TlsError(format!("{shown} holds no certificate in PEM form")));
    }
    Ok(found)
}

/// The certificates of a file, or the roots of the operating system.
pub fn roots(path: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = match path {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if found.is_empty() {
        return Err(TlsError("the operating system has no root certificates; name a file".into()));
    }
    Ok(found)
}

/// The client side towards servers of other protocols: always verified, chain and name.
pub fn verified(roots: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let loaded = ClientTls::load(SslMode::VerifyFull, roots)?;
    let mut config = loaded.config.as_deref().cloned().ok_or_else(|| TlsError("TLS is not available".into()))?;
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}

fn pem_words(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(io) => io.to_string(),
        Error::NoItemsFound => "no PEM section of the wanted kind".into(),
        _ => "not valid PEM".into(),
    }
}

impl ServerTls {
    /// Reads certificate chain and private key (PEM); of client certificates the authorities, and perhaps their revocation lists. A client
    /// that shows a certificate of somebody else is refused during the handshake, as PostgreSQL does; one that shows none is not.
    pub fn load(
        certificate: &Path,
        key: &Path,
        required: bool,
        clients: Option<(&Path, Option<&Path>)>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|e| TlsError(format!("cannot read the private key {}: {}", key.display(), pem_words(&e))))?;
        let end_point = chain.first().and_then(|c| end_point(c));
        let asks_for_certificates = clients.is_some();
        let verifier: Arc<dyn ClientCertVerifier> = match clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some((authorities, lists)) => Arc::new(Clients::load(authorities, lists)?),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(format!("TLS is not available: {e}")))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(|e| TlsError(format!("certificate and private key cannot be used: {e}")))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        if asks_for_certificates {
            // A session that is taken up again would not verify its certificate again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { required, asks_for_certificates, config: Arc::new(config), end_point })
    }
}

/// `tls-server-end-point` (RFC 5929 section 4.1): the hash of the certificate by the hash function of its signature algorithm, MD5 and
/// SHA-1 replaced by SHA-256. `None` when the algorithm has no single hash function or is unknown.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const fn oid(text: &str) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(text)
    }
    // RFC 3279, 4055, 5758.
    const MD5_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.4");
    const SHA1_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.5");
    const PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
    const SHA256_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
    const SHA384_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
    const SHA512_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
    const SHA224_RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.14");
    const SHA1_ECDSA: ObjectIdentifier = oid("1.2.840.10045.4.1");
    const SHA224_ECDSA: ObjectIdentifier = oid("1.2.840.10045.4.3.1");
    const SHA256_ECDSA: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
    const SHA384_ECDSA: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
    const SHA512_ECDSA: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
    const SHA1: ObjectIdentifier = oid("1.3.14.3.2.26");
    const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
    const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
    const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
    const SHA224: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.4");

    let parsed = Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm;
    let hash = match algorithm.oid {
        // RSASSA-PSS names its hash in the first, tagged [0], parameter; absent means SHA-1 (RFC 4055 section 3.1).
        PSS => pss_hash(&algorithm.parameters.as_ref()?.to_der().ok()?)?.unwrap_or(SHA1),
        other => other,
    };
    match hash {
        MD5_RSA | SHA1_RSA | SHA256_RSA | SHA1_ECDSA | SHA256_ECDSA | SHA1 | SHA256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA224_RSA | SHA224_ECDSA | SHA224 => Some(Sha224::digest(certificate).to_vec()),
        SHA384_RSA | SHA384_ECDSA | SHA384 => Some(Sha384::digest(certificate).to_vec()),
        SHA512_RSA | SHA512_ECDSA | SHA512 => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The hash algorithm of RSASSA-PSS-params, `Some(None)` when it is left to its default, `None` when they cannot be read.
fn pss_hash(parameters: &[u8]) -> Option<Option<ObjectIdentifier>> {
    use x509_cert::der::{Reader, SliceReader, Tag, Tagged, asn1::AnyRef};
    let mut outer = SliceReader::new(parameters).ok()?;
    let found = outer.sequence(|inner| {
        if inner.is_finished() {
            return Ok(None);
        }
        let first = AnyRef::decode(inner)?;
        let wanted = matches!(first.tag(), Tag::ContextSpecific { number, .. } if number.value() == 0);
        while !inner.is_finished() {
            AnyRef::decode(inner)?;
        }
        if !wanted {
            return Ok(None);
        }
        let mut explicit = SliceReader::new(first.value())?;
        let algorithm = x509_cert::spki::AlgorithmIdentifierRef::decode(&mut explicit)?;
        Ok(Some(algorithm.oid))
    });
    found.ok()
}

/// How far TLS towards a warehouse goes (libpq, manual 34.19.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the warehouse speaks it; the certificate is not checked.
    Prefer,
    /// TLS or nothing; the certificate is checked only when root certificates are given, as libpq does.
    Require,
    /// TLS with a certificate signed by a trusted root.
    VerifyCa,
    /// TLS with a certificate signed by a trusted root and made for the host.
    VerifyFull,
}

/// TLS towards one warehouse.
#[derive(Clone)]
pub struct ClientTls {
    /// The mode.
    pub mode: SslMode,
    /// For `tokio_rustls::TlsConnector::from`; `None` in mode `disable`.
    pub config: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// No TLS.
    pub fn disabled() -> Self {
        Self { mode: SslMode::Disable, config: None }
    }

    /// Builds the client side. Without `roots`, `verify-ca` and `verify-full` trust the roots of the operating system.
    pub fn load(mode: SslMode, roots: Option<&Path>) -> Result<Self, TlsError> {
        let check = match (mode, roots) {
            (SslMode::Disable, _) => return Ok(Self::disabled()),
            (SslMode::Prefer, _) | (SslMode::Require, None) => Check::Nothing,
            (SslMode::Require, Some(_)) | (SslMode::VerifyCa, _) => Check::Chain,
            (SslMode::VerifyFull, _) => Check::ChainAndName,
        };
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match check {
            Check::Nothing => Arc::new(Unchecked(provider.clone())),
            Check::Chain | Check::ChainAndName => Arc::new(Checked::load(roots, check, provider.clone())?),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(format!("TLS is not available: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { mode, config: Some(Arc::new(config)) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// `prefer` and `require`: encryption without identity, as libpq does. Signatures of the handshake are still checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

/// `verify-ca` and `verify-full`.
#[derive(Debug)]
struct Checked {
    webpki: Arc<WebPkiServerVerifier>,
    /// Certificates of the root file: one that *is* the server's certificate is trusted as such (self-signed servers).
    pinned: Vec<CertificateDer<'static>>,
    check: Check,
}

impl Checked {
    fn load(roots: Option<&Path>, check: Check, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let pinned = match roots {
            Some(path) => {
                let found = certificates(path)?;
                for certificate in &found {
                    store.add(certificate.clone()).map_err(|e| {
                        TlsError(format!("{} holds a certificate that cannot be a root: {e}", path.display()))
                    })?;
                }
                found
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(system.certs);
                Vec::new()
            }
        };
        if store.is_empty() {
            return Err(TlsError("the operating system has no root certificates; name a file in sslrootcert".into()));
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .map_err(|e| TlsError(format!("root certificates cannot be used: {e}")))?;
        Ok(Self { webpki, pinned, check })
    }

    /// Whether the certificate is one of the root file's and in its time.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        if !self.pinned.iter().any(|p| p.as_ref() == certificate.as_ref()) {
            return false;
        }
        let Ok(parsed) = Certificate::from_der(certificate) else { return false };
        let validity = parsed.tbs_certificate.validity;
        let (from, to) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
        (from.as_secs()..=to.as_secs()).contains(&now.as_secs())
    }
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.is_pinned(end_entity, now) {
            if self.check == Check::ChainAndName {
                let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last (rustls `WebPkiServerVerifier`): the chain is good when only the name is not.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Chain => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
