//! Client certificates, alone and beside a password; channel binding. psql throughout.

use crate::papers::{Papers, email, ending, now};
use crate::stage::{answer, error, stage};
use crate::support::{PASSWORD, Running};
use rcgen::{KeyPair, SerialNumber};

fn psql(
    running: &Running,
    papers: &Papers,
    user: &str,
    certificate: Option<&str>,
    password: &str,
) -> crate::support::Output {
    let conninfo = papers.conninfo(running.database(), certificate, "");
    running.psql_as(user, password, &conninfo, &["-At", "-c", "SELECT current_user"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_whom_it_names_and_nobody_else() {
    let papers = Papers::new();
    papers.client("tom", |_| ());
    papers.client("ghost", |_| ());
    papers.client("bob", |_| ());
    papers.client("late", |params| {
        params.distinguished_name.remove(rcgen::DnType::CommonName);
        params.distinguished_name.push(rcgen::DnType::CommonName, "tom");
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let stranger = Papers::new();
    stranger.client("tom", |_| ());
    let running = stage(&format!("{}\nauthentication:\n- {{connection: tls, method: cert}}\n", papers.tls())).await;

    assert_eq!(answer(&psql(&running, &papers, "tom", Some("tom"), "")), "tom");
    let failed = |user: &str| format!("certificate authentication failed for user \"{user}\"");
    // Somebody else, nobody at all (unknown), somebody disabled: in the same words.
    assert_eq!(error(&psql(&running, &papers, "ana", Some("tom"), "")), failed("ana"));
    assert_eq!(error(&psql(&running, &papers, "Tom", Some("tom"), "")), failed("Tom"));
    assert_eq!(error(&psql(&running, &papers, "ghost", Some("ghost"), "")), failed("ghost"));
    assert_eq!(error(&psql(&running, &papers, "bob", Some("bob"), "")), failed("bob"));
    let needed = "connection requires a valid client certificate";
    assert_eq!(error(&psql(&running, &papers, "tom", None, PASSWORD)), needed);
    // Another authority's, and one that has ended, do not get through the handshake.
    let foreign = papers.folder().join("foreign");
    for (suffix, file) in [("crt", "tom.crt"), ("key", "tom.key")] {
        std::fs::copy(stranger.folder().join(file), foreign.with_extension(suffix)).unwrap();
    }
    for certificate in ["foreign", "late"] {
        let output = psql(&running, &papers, "tom", Some(certificate), "");
        assert!(!output.ok && !output.err.contains("FATAL"), "{certificate}: {}", output.err);
    }
    // Without TLS no rule fits.
    let plain =
        running.psql_as("tom", PASSWORD, &format!("dbname={} sslmode=disable", running.database()), &["-c", ""]);
    let database = running.database();
    let text = format!(
        "no login is permitted from host \"127.0.0.1\" as user \"tom\" to database \"{database}\", no encryption"
    );
    assert_eq!(error(&plain), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_lead_from_a_field_to_a_login() {
    let papers = Papers::new();
    papers.client("mail", |params| params.subject_alt_names = vec![email("x@evil.example"), email("ana@corp.example")]);
    papers.client("tricky", |params| {
        params.subject_alt_names = vec![email("ana@corp.example.evil.example")];
    });
    papers.client("machine", |_| ());
    let rules = r"
authentication:
- {user: ana, method: cert, field: email, map: [{match: '/(.*)@corp\.example', user: '\1'}]}
- {user: tom, method: cert, field: dn, map: [{match: 'CN=machine,O=Corp', user: tom}]}
";
    let running = stage(&format!("{}{rules}", papers.tls())).await;
    assert_eq!(answer(&psql(&running, &papers, "ana", Some("mail"), "")), "ana");
    assert_eq!(answer(&psql(&running, &papers, "tom", Some("machine"), "")), "tom");
    for (user, certificate) in [("ana", "tricky"), ("ana", "machine"), ("tom", "mail")] {
        let failed = format!("certificate authentication failed for user \"{user}\"");
        assert_eq!(error(&psql(&running, &papers, user, Some(certificate), "")), failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_certificate_are_both_needed() {
    let papers = Papers::new();
    papers.client("tom", |_| ());
    papers.client("eve", |_| ());
    let rules = "
authentication:
- {database: '/^any', method: scram-sha-256, client_certificate: verify-ca}
- {method: scram-sha-256, client_certificate: verify-full}
";
    let running = stage(&format!("{}{rules}", papers.tls())).await;
    assert_eq!(answer(&psql(&running, &papers, "tom", Some("tom"), PASSWORD)), "tom");
    let wrong = "password authentication failed for user \"tom\"";
    assert_eq!(error(&psql(&running, &papers, "tom", Some("tom"), "guess")), wrong);
    let other = "certificate authentication failed for user \"tom\"";
    assert_eq!(error(&psql(&running, &papers, "tom", Some("eve"), PASSWORD)), other);
    let none = "connection requires a valid client certificate";
    assert_eq!(error(&psql(&running, &papers, "tom", None, PASSWORD)), none);
    // verify-ca: anybody's will do; the database is looked at only after the login.
    let any = papers.conninfo("anywhere", Some("eve"), "");
    assert_eq!(error(&running.psql_as("tom", "guess", &any, &["-c", ""])), wrong);
    assert_eq!(error(&running.psql_as("tom", PASSWORD, &any, &["-c", ""])), "database \"anywhere\" does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_can_be_insisted_on() {
    let papers = Papers::new();
    let rules = "\nauthentication:\n- {method: scram-sha-256, channel_binding: require}\n";
    let running = stage(&format!("{}{rules}", papers.tls())).await;
    let bound = papers.conninfo(running.database(), None, "channel_binding=require");
    assert_eq!(answer(&running.psql_as("tom", PASSWORD, &bound, &["-At", "-c", "SELECT current_user"])), "tom");
    assert_eq!(
        error(&running.psql_as("tom", "guess", &bound, &["-c", ""])),
        "password authentication failed for user \"tom\""
    );
    let unbound = papers.conninfo(running.database(), None, "channel_binding=disable");
    let output = running.psql_as("tom", PASSWORD, &unbound, &["-c", ""]);
    assert!(!output.ok && output.err.contains("SASL authentication mechanisms are supported"), "{}", output.err);
    let plain = format!("dbname={} sslmode=disable", running.database());
    let output = running.psql_as("tom", PASSWORD, &plain, &["-c", ""]);
    assert!(error(&output).starts_with("this login needs channel binding"), "{}", output.err);
}

/// What was good at login is not good for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_ends_its_session() {
    let papers = Papers::new();
    let running = stage(&format!("{}\nauthentication:\n- {{method: cert}}\n", papers.tls())).await;
    // Not before all is ready for it.
    papers.client("tom", |params| ending(params, 3));
    let conninfo = papers.conninfo(running.database(), Some("tom"), "");
    let script = ["-At", "-c", "SELECT 1", "-c", "\\! sleep 4.2", "-c", "SELECT 2"];
    let output = running.psql_as("tom", "", &conninfo, &script);
    assert!(
        output.out == "1\n" && output.err.contains("the login of \"tom\" has expired"),
        "{} {}",
        output.out,
        output.err
    );
}

/// A key that is not the certificate's proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_certificate_without_its_key_is_nothing() {
    let papers = Papers::new();
    papers.client("tom", |_| ());
    papers.write("tom.key", &KeyPair::generate().unwrap().serialize_pem());
    let running = stage(&format!("{}\nauthentication:\n- {{method: cert}}\n", papers.tls())).await;
    assert!(!psql(&running, &papers, "tom", Some("tom"), "").ok);
}

/// As `ssl_crl_file`, read again when it changes; an authority without a list that is still good vouches for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_certificates_do_not_get_through_the_handshake() {
    let papers = Papers::new();
    for (name, serial) in [("tom", 7u8), ("ana", 8)] {
        papers.client(name, |params| params.serial_number = Some(SerialNumber::from_slice(&[serial])));
    }
    papers.revoke(&[7], now() - 60);
    let lists = papers.folder().join("revoked.pem");
    let tls = papers.tls().replace('}', &format!(", client_crl: {}}}", lists.display()));
    let running = stage(&format!("{tls}\nauthentication:\n- {{method: cert}}\n")).await;
    let gets_in = |user: &str| psql(&running, &papers, user, Some(user), "").ok;
    assert!(!gets_in("tom") && gets_in("ana"));
    papers.revoke(&[8], now() - 60);
    assert!(gets_in("tom") && !gets_in("ana"));
    papers.write("revoked.pem", "not a list");
    assert!(gets_in("tom") && !gets_in("ana"), "the lists read last");
    papers.revoke(&[], now() - 7200);
    assert!(!gets_in("tom") && !gets_in("ana"), "a list that has run out");
}
