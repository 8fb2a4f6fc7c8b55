//! The order of rules, what happens without a rule, and that neither tells who exists.

use crate::papers::{Papers, Signer};
use crate::slapd::Slapd;
use crate::stage::{answer, error, stage};
use crate::support::{PASSWORD, Running};
use crate::web::Web;
use std::time::{Duration, Instant};

fn plain(running: &Running, user: &str, password: &str) -> crate::support::Output {
    let conninfo = format!("dbname={} sslmode=disable", running.database());
    running.psql_as(user, password, &conninfo, &["-At", "-c", "SELECT current_user"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_fits_decides_and_nothing_is_tried_after_it() {
    let papers = Papers::new();
    let rules = "
authentication:
- {connection: tls, user: tom, method: reject}
- {connection: plain, network: 10.0.0.0/8, method: reject}
- {connection: plain, user: [tom, ghost], network: 127.0.0.0/8, method: scram-sha-256}
- {connection: tls, method: cert}
";
    let running = stage(&format!("{}{rules}", papers.tls())).await;
    assert_eq!(answer(&plain(&running, "tom", PASSWORD)), "tom");
    assert_eq!(error(&plain(&running, "ghost", PASSWORD)), "password authentication failed for user \"ghost\"");
    let refused = |user: &str, how: &str| {
        let database = running.database();
        format!("no login is permitted from host \"127.0.0.1\" as user \"{user}\" to database \"{database}\", {how}")
    };
    // No rule fits, and a rule that rejects: known and unknown users, in the same words, whatever the password.
    assert_eq!(error(&plain(&running, "ana", PASSWORD)), refused("ana", "no encryption"));
    assert_eq!(error(&plain(&running, "nobody", "x")), refused("nobody", "no encryption"));
    let tls = papers.conninfo(running.database(), None, "");
    assert_eq!(error(&running.psql_as("tom", PASSWORD, &tls, &["-c", ""])), refused("tom", "SSL encryption"));
    // A project behind the name does not get around a rule about the name.
    let suffixed = running.psql_as("tom+any", PASSWORD, &tls, &["-c", ""]);
    assert_eq!(error(&suffixed), refused("tom", "SSL encryption"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_by_rules_are_slowed_down_too() {
    let running = stage("authentication:\n- {user: tom, method: scram-sha-256}\nlimits: {failed_logins: 3}\n").await;
    let began = Instant::now();
    for _ in 0..3 {
        assert!(error(&plain(&running, "eve", "x")).starts_with("no login is permitted"));
    }
    assert!(began.elapsed() >= Duration::from_millis(50 + 100 + 200), "{:?}", began.elapsed());
    assert!(error(&plain(&running, "eve", "x")).starts_with("too many failed logins"));
    assert_eq!(answer(&plain(&running, "tom", PASSWORD)), "tom");
}

/// Servers that do not answer are told at the line that names them, and keep nothing from starting.
#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_servers_that_rules_name() {
    let papers = Papers::new();
    let (slapd, web) = (Slapd::start(&papers), Web::new(&Signer::set(&[&Signer::new("k")])));
    let (ca, password) = (papers.folder().join("ca.crt"), papers.write("reader", "reader's password"));
    let config = |web: &str, port: u16, reader: &str| {
        format!(
            "issuers:\n  corp:\n    issuer: x\n    audience: y\n    keys: {{url: \"{web}\"}}\nldap:\n  corp:\n    \
             url: \"ldaps://localhost:{port}\"\n    ca: {}\n    search: {{base: \"dc=example,dc=org\", \
             bind_dn: \"cn={reader},dc=example,dc=org\", password: {{file: {}}}}}\n\
             authentication:\n- {{method: jwt, issuer: corp}}\n",
            ca.display(),
            password.display()
        )
    };
    let check = async |config: String| {
        let running = stage(&config).await;
        let mut out = Vec::new();
        assert!(sqlveil::cli::check::run(&running.config_file(), &mut out, false).await.unwrap());
        String::from_utf8(out).unwrap()
    };
    let good = check(config(&web.url(), slapd.tls_port, "reader")).await;
    assert!(!good.contains("issuer") && !good.contains("LDAP"), "{good}");
    web.answers("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let bad = check(config(&web.url(), slapd.tls_port, "writer")).await;
    assert!(bad.contains("no keys of the issuer `corp` can be had"), "{bad}");
    assert!(bad.contains("the LDAP server `corp` cannot be asked: result code 49"), "{bad}");
}
