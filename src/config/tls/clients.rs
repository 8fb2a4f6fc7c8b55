//! Client certificates in the handshake: who has signed them, and which were revoked since.
//!
//! In: a file of authorities, a file of revocation lists (RFC 5280, section 5). Out: a verifier for rustls, which reads the lists again when
//! their file has changed. Must never: let a certificate through whose authority has no list where there are lists, or one whose list has
//! run out.

use super::{TlsError, certificates, pem_words, provider};
use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which version of a file was read: device, inode, length, change.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// Verifies client certificates. One that is not shown is not asked for: rules do that.
#[derive(Debug)]
pub(super) struct Clients {
    roots: Arc<RootCertStore>,
    /// Without lists: for everything but the certificate itself.
    plain: Arc<dyn ClientCertVerifier>,
    revoked: Option<Revoked>,
}

#[derive(Debug)]
struct Revoked {
    file: PathBuf,
    held: ArcSwap<Held>,
}

#[derive(Debug)]
struct Held {
    stamp: Option<Stamp>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    pub(super) fn load(authorities: &Path, lists: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            let shown = authorities.display();
            let added = roots.add(certificate);
            added.map_err(|e| TlsError(format!("{shown} holds a certificate that cannot be a root: {e}")))?;
        }
        let roots = Arc::new(roots);
        let plain = verifier(&roots, Vec::new())?;
        let revoked = match lists {
            Some(file) => {
                let stamp = stamp(file);
                let held = Held { stamp, verifier: read(&roots, file)? };
                Some(Revoked { file: file.to_path_buf(), held: ArcSwap::from_pointee(held) })
            }
            None => None,
        };
        Ok(Self { roots, plain, revoked })
    }

    /// The verifier with the lists as they are now.
    fn current(&self, revoked: &Revoked) -> Arc<dyn ClientCertVerifier> {
        let now = stamp(&revoked.file);
        let held = revoked.held.load();
        if held.stamp == now {
            return Arc::clone(&held.verifier);
        }
        let verifier = match read(&self.roots, &revoked.file) {
            Ok(verifier) => verifier,
            Err(error) => {
                tracing::error!("{error}; the lists read last stay in force");
                Arc::clone(&held.verifier)
            }
        };
        revoked.held.store(Arc::new(Held { stamp: now, verifier: Arc::clone(&verifier) }));
        verifier
    }
}

pub(super) fn stamp(file: &Path) -> Option<Stamp> {
    let m = std::fs::metadata(file).ok()?;
    Some((m.dev(), m.ino(), m.len(), m.ctime(), m.ctime_nsec()))
}

fn read(roots: &Arc<RootCertStore>, file: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let shown = file.display();
    let wrong = |e| TlsError(format!("cannot read revocation lists from {shown}: {}", pem_words(&e)));
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_file_iter(file).map_err(wrong)?.collect();
    let lists = lists.map_err(wrong)?;
    if lists.is_empty() {
        return Err(TlsError(format!("{shown} holds no revocation list in PEM form")));
    }
    verifier(roots, lists).map_err(|error| TlsError(format!("{shown} cannot be used: {error}")))
}

fn verifier(
    roots: &Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider()).allow_unauthenticated();
    if !lists.is_empty() {
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder.build().map_err(|e| TlsError(format!("client certificates cannot be verified: {e}")))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.plain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &self.revoked {
            Some(revoked) => self.current(revoked).verify_client_cert(end_entity, intermediates, now),
            None => self.plain.verify_client_cert(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.plain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.plain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.plain.supported_verify_schemes()
    }
}
