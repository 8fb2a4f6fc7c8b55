//! What the log says of logins, at every level of every library: why they failed, and nothing that could be used again.

use crate::papers::{ISSUER, Papers, Signer};
use crate::slapd::Slapd;
use crate::stage::stage;
use crate::support::{Log, PASSWORD};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_and_holds_no_secret() {
    let log = Log::listen("trace,tokio_postgres=off,mio=off,notify=off");

    let (papers, key) = (Papers::new(), Signer::new("k"));
    let slapd = Slapd::start(&papers);
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let ca = papers.folder().join("ca.crt").display().to_string();
    let running = stage(&format!(
        "issuers: {{corp: {{issuer: {ISSUER}, audience: veil, keys: {{file: {file}}}}}}}\n\
         ldap: {{corp: {{url: \"ldaps://localhost:{}\", ca: {ca}, bind_dn: \"uid={{user}},ou=people,dc=example,dc=org\"}}}}\n\
         authentication:\n- {{user: ana, method: jwt, issuer: corp}}\n- {{user: [ida, bob], method: ldap, server: corp}}\n\
         - {{user: tom, method: scram-sha-256}}\n",
        slapd.tls_port
    ))
    .await;
    let good = key.token("ana", json!({}));
    let other = key.token("ana", json!({"aud": "shop"}));
    for (user, secret, works) in [
        ("ana", good.as_str(), true),
        ("ana", other.as_str(), false),
        ("bob", "bob's password", false),
        ("ida", "nobody's password", false),
        ("tom", PASSWORD, true),
        ("tom", "guessed password", false),
        ("eve", "never asked for", false),
    ] {
        let output = running.psql_as(user, secret, running.database(), &["-At", "-c", "SELECT 1"]);
        assert_eq!(output.ok, works, "{user}: {}", output.err);
    }
    drop(running);
    let log = log.text();
    let record = |parts: &[&str]| {
        let found = log.lines().any(|line| line.contains(" audit: ") && parts.iter().all(|part| line.contains(part)));
        assert!(found, "no record with {parts:?}");
    };
    record(&["user=\"ana\"", "method=\"jwt\"", "decision=\"login\""]);
    record(&[
        "user=\"ana\"",
        "decision=\"login refused\"",
        "code=\"28P01\"",
        "why=\"the audience (aud) is another one\"",
    ]);
    record(&["user=\"bob\"", "method=\"ldap\"", "code=\"28000\"", "why=\"the user may not log in here\""]);
    record(&["user=\"ida\"", "why=\"the server does not take the password\""]);
    record(&["user=\"tom\"", "method=\"scram-sha-256\"", "decision=\"login\""]);
    record(&["user=\"eve\"", "method=\"none\"", "decision=\"login refused\""]);
    for token in [good, other] {
        let parts: Vec<&str> = token.split('.').collect();
        assert!(!log.contains(parts[1]) && !log.contains(parts[2]), "a token is in the log");
    }
    for password in ["bob's password", "nobody's password", PASSWORD, "guessed password", "never asked for"] {
        assert!(!log.contains(password), "`{password}` is in the log");
    }
}
