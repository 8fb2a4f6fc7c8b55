//! pgjdbc: SCRAM under TLS, client certificates as PKCS#8 and PKCS#12 files, and what Java programs do with a connection (`Peer.java`) in
//! every query mode. Channel binding came into the driver with 42.7.4; older ones, such as Debian 12's, are told that they lack it.

use crate::papers::Papers;
use crate::stage::{rules, run, stage, user};
use crate::support::{PASSWORD, Running};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The driver: `$SQLVEIL_PGJDBC`, or the system's.
fn driver() -> PathBuf {
    let named = std::env::var_os("SQLVEIL_PGJDBC").map(PathBuf::from);
    let found = named.unwrap_or_else(|| "/usr/share/java/postgresql.jar".into());
    assert!(
        found.is_file(),
        "no pgjdbc at {}: .ci/setup --test installs it (Debian, Ubuntu: apt-get install libpostgresql-jdbc-java default-jdk-headless)",
        found.display()
    );
    found
}

/// A source file is run as it is: the compiler of a JDK is needed, and no step of a build.
fn java() -> Command {
    let mut command = Command::new("java");
    // Few, short programs: started fast rather than made fast.
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dfile.encoding=UTF-8", "-cp"])
        .arg(driver());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/Peer.java"));
    command
}

/// Whether the driver can bind its login to the channel.
fn binds() -> bool {
    let out = run(java(), &[("PEER", "version")]);
    let version = out.lines().next().unwrap_or_default().to_owned();
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    assert!(parts.len() >= 3, "a version like 42.7.4: {version}");
    parts >= vec![42, 7, 4]
}

fn connect(running: &Running, papers: &Papers, user: &str, more: &[(&str, &str)]) -> (String, String) {
    let url = format!("jdbc:postgresql://localhost:{}/{}", running.port, running.database());
    let ca = papers.folder().join("ca.crt").display().to_string();
    let base = [("user", user), ("sslmode", "verify-full"), ("sslrootcert", &*ca), ("loginTimeout", "20")];
    let lines: Vec<String> = base.iter().chain(more).map(|(name, value)| format!("{name}={value}")).collect();
    (url, lines.join("\n"))
}

async fn running(papers: &Papers) -> Running {
    stage().await.raw_user(&user("strict", "attributes: {city: [Bonn]}")).config(&rules(papers)).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scram() {
    let papers = Papers::new();
    let running = running(&papers).await;
    let (url, login) = connect(&running, &papers, "ana", &[("password", PASSWORD), ("sslcert", ""), ("sslkey", "")]);
    let seen = [("USER", "ana"), ("NAMES", "Ann Cy")];
    run(java(), &[&seen[..], &[("PEER", "all"), ("URL", &*url), ("CONNECT", &*login)]].concat());
    let wrong = login.replace(PASSWORD, "guess");
    let why = "password authentication failed for user \"ana\"";
    run(java(), &[("PEER", "refused"), ("URL", &*url), ("CONNECT", &*wrong), ("WHY", why)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_channel_binding_or_a_clear_word() {
    let papers = Papers::new();
    let running = running(&papers).await;
    let more = [("password", PASSWORD), ("sslcert", ""), ("sslkey", ""), ("channelBinding", "require")];
    let (url, login) = connect(&running, &papers, "strict", &more);
    if binds() {
        let seen = [("USER", "strict"), ("NAMES", "Ann Cy")];
        run(java(), &[&seen[..], &[("PEER", "login"), ("URL", &*url), ("CONNECT", &*login)]].concat());
    } else {
        // It asks for SCRAM-SHA-256 alone, which is not offered: the driver's own words.
        let why = "SCRAM";
        run(java(), &[("PEER", "refused"), ("URL", &*url), ("CONNECT", &*login), ("WHY", why)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates() {
    let papers = Papers::new();
    papers.client("bob", |_| ());
    let folder = papers.folder();
    let at = |name: &str| folder.join(name).display().to_string();
    let key = PrivateKeyDer::from_pem_file(at("bob.key")).unwrap();
    std::fs::write(at("bob.pk8"), key.secret_der()).unwrap();
    let running = running(&papers).await;
    let seen = [("USER", "bob"), ("NAMES", "Bob"), ("BUNDLE", folder.to_str().unwrap())];
    let (url, login) = connect(&running, &papers, "bob", &[("sslcert", &at("bob.crt")), ("sslkey", &at("bob.pk8"))]);
    run(java(), &[&seen[..], &[("PEER", "all"), ("URL", &*url), ("CONNECT", &*login)]].concat());
    let (url, login) = connect(&running, &papers, "bob", &[("sslkey", &at("bob.p12")), ("sslpassword", "secret")]);
    run(java(), &[&seen[..], &[("PEER", "login"), ("URL", &*url), ("CONNECT", &*login)]].concat());
    // His certificate is nobody else's; without one his password is not asked for.
    let (url, login) = connect(&running, &papers, "ana", &[("sslkey", &at("bob.p12")), ("sslpassword", "secret")]);
    run(java(), &[("PEER", "refused"), ("URL", &*url), ("CONNECT", &*login), ("WHY", "no password was provided")]);
    let (url, login) = connect(&running, &papers, "bob", &[("password", PASSWORD), ("sslcert", ""), ("sslkey", "")]);
    let why = "connection requires a valid client certificate";
    run(java(), &[("PEER", "refused"), ("URL", &*url), ("CONNECT", &*login), ("WHY", why)]);
}
