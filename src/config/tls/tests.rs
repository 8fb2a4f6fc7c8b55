use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

// Made with `openssl req -x509`; their hashes with `openssl x509 -outform der | openssl dgst`.
const RSA_PSS_SHA384: &str = "\
-----BEGIN CERTIFICATE-----
MIICZjCCAZugAwIBAgIUBNx1FtmcIfr+t/DMMg1I5F9BhDwwQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIF
AKIDAgFOMBExDzANBgNVBAMMBnBzczM4NDAgFw0yNjExMjIwMjI1MzFaGA8yMTI2
MTAyOTAyMjUzMVowETEPMA0GA1UEAwwGcHNzMzg0MIGdMAsGCSqGSIb3DQEBCgOB
jQAwgYkCgYEAmqG/48fPqxj5+q+4NJihCwwhq3V9pCsaQLxtnQWRblIcZAfW/agX
ny+wDBZB8s2UwqFkBrAPoDrA8A43uUM4k7SJAdvKGfM7UtZMv801bZXmJz/hRYI0
+CsxB6ViBN66R4vPi2ujGdX1+l8vXTV3Sc6XtneQxac01vjv+PbwLAcCAwEAAaNT
MFEwHQYDVR0OBBYEFKfiLurQqXv5xeQjtdukeEy83ZfwMB8GA1UdIwQYMBaAFKfi
LurQqXv5xeQjtdukeEy83ZfwMA8GA1UdEwEB/wQFMAMBAf8wQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIF
AKIDAgFOA4GBAJn3TKyr3Afhz9bEA8gC+PRPEW0nUaWpcDICn+i3GZM6T0b1Axsb
04u4+bQbtNd9WyumiyUoFa96DS+ykdFkEwxiP0oq6DR1MRAi/pVU7bqpyAA55Qx3
ijMmX5Lg0P6srLghLn1DKSb9Pjoyp9IR4EF9ooCPFc/Ov/aUO+xP+6hW
-----END CERTIFICATE-----";
const RSA_SHA1: &str = "\
-----BEGIN CERTIFICATE-----
MIIB/DCCAWWgAwIBAgIUfRi2F/yjF4/QNhFnDMLYW1c+XwowDQYJKoZIhvcNAQEF
BQAwDzENMAsGA1UEAwwEc2hhMTAgFw0yNjExMjIwMjI1MzFaGA8yMTI2MTAyOTAy
MjUzMVowDzENMAsGA1UEAwwEc2hhMTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC
gYEAv6XiQ0DavJSXJy3AjTAbgR3TC48kLAQHF0DG7R288G5omqSzoEpqLIlp13OQ
0Rfy/Hhq3FJd9XoJ2orYlzOrLFQE9w/BouUlotpNF9Z4MFllJqKWxpcGdoEl9jr0
ShqlqBOdfLIRjLo+NZSjpL5PYgDCBJlVY9azwJ5Nb737NCkCAwEAAaNTMFEwHQYD
VR0OBBYEFNrcfxSbBB7+NdhsnVnme9qjhXkVMB8GA1UdIwQYMBaAFNrcfxSbBB7+
NdhsnVnme9qjhXkVMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQEFBQADgYEA
TJXFPi2wykGZCuucBY2LitJ/wtJuPFxeh8DjS7+wqn3DVeCfCw5ppDjzNjY7OIVW
rchR4ah/TtDIamQ2E0q0QcPEhZSKMb2WjY7iJnlsid/X0hZbztZwGn3/flOmRBl2
5+qlWdqv76sOtuUb2VdDkrQxci4ldrbKgY91jbtzMq8=
-----END CERTIFICATE-----";
const RSA_SHA512: &str = "\
-----BEGIN CERTIFICATE-----
MIICADCCAWmgAwIBAgIUI/Wa6Qv9nhAjGcxlj2VZwRhx7ikwDQYJKoZIhvcNAQEN
BQAwETEPMA0GA1UEAwwGc2hhNTEyMCAXDTI2MTEyMjAyMjUzMVoYDzIxMjYxMDI5
MDIyNTMxWjARMQ8wDQYDVQQDDAZzaGE1MTIwgZ8wDQYJKoZIhvcNAQEBBQADgY0A
MIGJAoGBAOFBV5cQWOiyIJTueTpHWyB9eBoz+ibEo0V/sh3p9FBbrQr7PsyHGm46
w1eiOD4F5R2dLALNfBMWU4YlEN8mg+znoE5jroc4yjmV0B2qq49P/E2/4I6eTbEe
oUkjcNJV9ZaI2oItlDMjbJnWyUDgimrLSpZnMrQJuST/mH+3j0BzAgMBAAGjUzBR
MB0GA1UdDgQWBBTIVteQ0MXgY8VbjpeZd6ExQGFdwDAfBgNVHSMEGDAWgBTIVteQ
0MXgY8VbjpeZd6ExQGFdwDAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBDQUA
A4GBACl05N8s7S6qq4q3ndTbIFJBN9Vhaffk3eN52LRntf+ttjbtHM0AX6Fka7pl
kQW3KhMG7A7xv50pNVueCMj+bNp12SUaK+wd57xUdZwrZrM/Uhk+JQOS6WmuPqqB
KLJXexan/p9md+zjCtCgaMO7gyuUR/5f3OMohXeqMBy0s/qY
-----END CERTIFICATE-----";

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_hash_of_a_certificate_follows_its_signature() {
    let known = |pem: &str| end_point(&der(pem)).map(|hash| hex(&hash)).unwrap();
    assert_eq!(
        known(RSA_PSS_SHA384),
        "aff27a093cb929f3813b4135e0ae25d2434e21b63ed4c1573925401f42e1c276f84dea9364d86849f60c38300d3db4c3"
    );
    // SHA-1 is replaced by SHA-256 (RFC 5929 section 4.1).
    assert_eq!(known(RSA_SHA1), "bda9a2467b2b5890b8c1e12f9e5abce709205e599733e7fd70a8cca2559ac174");
    assert_eq!(
        known(RSA_SHA512),
        "4bd5782817bf06e75fbea8a1afa4d4ff5b482ac8f0e6955bc561d1e0e3957d52d8be0bf04fd704750d9d69ab4da1d45f742b35c7e27c103ecf61d807bc5d3d0d"
    );
    let made = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap()
    };
    let certificate = made(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(end_point(certificate.der()), Some(Sha256::digest(certificate.der()).to_vec()));
    let certificate = made(&rcgen::PKCS_ECDSA_P384_SHA384);
    assert_eq!(end_point(certificate.der()), Some(Sha384::digest(certificate.der()).to_vec()));
    assert_eq!(end_point(made(&rcgen::PKCS_ED25519).der()), None);
    assert_eq!(end_point(b"not a certificate"), None);
    for cut in 0..der(RSA_PSS_SHA384).len() {
        assert_eq!(end_point(&der(RSA_PSS_SHA384)[..cut]), None);
    }
}

/// A certificate for `localhost` and its key in a folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key"), made.signing_key.serialize_pem()).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("other"), other.cert.pem()).unwrap();
        std::fs::write(folder.path().join("other-key"), other.signing_key.serialize_pem()).unwrap();
        Self(folder)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Both ends in memory: what the client saw as the end point, the ALPN of the server, or whether the handshake failed.
async fn shake(server: &ServerTls, client: &ClientTls, name: &str) -> Option<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let (a, b) = tokio::io::duplex(64 * 1024);
    let accept = TlsAcceptor::from(server.config.clone()).accept(a);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = TlsConnector::from(client.config.clone().unwrap()).connect(name, b);
    let (accepted, connected) = tokio::join!(accept, connect);
    let (accepted, connected) = (accepted.ok()?, connected.ok()?);
    let seen = connected.get_ref().1.peer_certificates().and_then(|c| end_point(&c[0]));
    Some((seen, accepted.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)))
}

#[tokio::test]
async fn both_ends_agree_on_the_end_point() {
    let files = Files::new();
    let server = ServerTls::load(&files.path("crt"), &files.path("key"), true, None).unwrap();
    let client = ClientTls::load(SslMode::VerifyFull, Some(&files.path("crt"))).unwrap();
    let (seen, alpn) = shake(&server, &client, "localhost").await.unwrap();
    assert!(seen.is_some());
    assert_eq!(seen, server.end_point);
    assert_eq!(alpn.as_deref(), Some(ALPN));
}

#[tokio::test]
async fn verification_goes_as_far_as_the_mode_says() {
    let files = Files::new();
    let server = ServerTls::load(&files.path("crt"), &files.path("key"), true, None).unwrap();
    for (mode, roots, name, expected) in [
        (SslMode::Prefer, None, "elsewhere", true),
        (SslMode::Require, None, "elsewhere", true),
        (SslMode::Require, Some("crt"), "elsewhere", true),
        (SslMode::Require, Some("other"), "localhost", false),
        (SslMode::VerifyCa, Some("crt"), "elsewhere", true),
        (SslMode::VerifyCa, Some("other"), "localhost", false),
        (SslMode::VerifyFull, Some("crt"), "localhost", true),
        (SslMode::VerifyFull, Some("crt"), "elsewhere", false),
        (SslMode::VerifyFull, Some("other"), "localhost", false),
        (SslMode::VerifyFull, None, "localhost", false),
    ] {
        let roots = roots.map(|name| files.path(name));
        let client = ClientTls::load(mode, roots.as_deref());
        // A machine without root certificates refuses `verify-full` without a root file at once.
        let connected = match client {
            Ok(client) => shake(&server, &client, name).await.is_some(),
            Err(_) => false,
        };
        assert_eq!(connected, expected, "{mode:?} {roots:?} {name}");
    }
}

#[test]
fn unusable_files_are_told() {
    let files = Files::new();
    std::fs::write(files.path("garbage"), "hello").unwrap();
    let (crt, key) = (files.path("crt"), files.path("key"));
    for (certificate, key, words) in [
        (files.path("missing"), key.clone(), "No such file or directory"),
        (files.path("garbage"), key.clone(), "no certificate"),
        (crt.clone(), files.path("missing"), "cannot read the private key"),
        (crt.clone(), crt.clone(), "cannot read the private key"),
        (crt.clone(), files.path("other-key"), "cannot be used"),
    ] {
        let error = ServerTls::load(&certificate, &key, false, None).unwrap_err();
        assert!(error.0.contains(words), "{error}");
    }
    let shown = format!("{:?}", ServerTls::load(&crt, &key, false, None).unwrap());
    assert!(!shown.to_lowercase().contains("key"), "{shown}");
}

/// A session taken up again would skip the verification of its certificate, which may have been revoked since.
#[tokio::test]
async fn sessions_that_may_show_certificates_are_never_resumed() {
    let files = Files::new();
    let (crt, key) = (files.path("crt"), files.path("key"));
    for (clients, resumed) in [(Some((crt.as_path(), None)), false), (None, true)] {
        let server = ServerTls::load(&crt, &key, true, clients).unwrap();
        let client = ClientTls::load(SslMode::VerifyFull, Some(&crt)).unwrap();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (a, b) = tokio::io::duplex(64 * 1024);
            let accept = TlsAcceptor::from(server.config.clone()).accept(a);
            let name = ServerName::try_from("localhost").unwrap();
            let connect = TlsConnector::from(client.config.clone().unwrap()).connect(name, b);
            let (accepted, connected) = tokio::join!(accept, connect);
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            // Tickets come behind the handshake.
            accepted.write_all(b"x").await.unwrap();
            accepted.flush().await.unwrap();
            connected.read_exact(&mut [0]).await.unwrap();
            kinds.push(connected.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[1] == rustls::HandshakeKind::Resumed, resumed, "{kinds:?}");
    }
}
