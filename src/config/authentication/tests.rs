//! Which rule decides, and which files are refused.

use super::*;
use crate::config::Config;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

struct Fixture(tempfile::TempDir);

const JWKS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        fixture.write("server.crt", &made.cert.pem());
        fixture.write("server.key", &made.signing_key.serialize_pem());
        fixture.write("ca.crt", &made.cert.pem());
        fixture.write("jwks.json", JWKS);
        fixture.write("master", "0123456789abcdef");
        fixture
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
    /// Line 6 is the first of `more`.
    fn load(&self, tls: &str, more: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "governance: governance\nidentity: identity.yaml\nsecret: {{file: master}}\n\
             connections: {{w: {{host: 127.0.0.1, database: demo, user: svc}}}}\n{tls}\n{more}\n"
        );
        Config::load(&self.write("c.yaml", &text)).map_err(|problems| {
            let base = format!("{}/", self.0.path().display());
            problems.iter().map(|p| p.to_string().replace(&base, "")).collect()
        })
    }
}

const TLS: &str = "tls: {certificate: server.crt, key: server.key, client_ca: ca.crt}";
const NO_CA: &str = "tls: {certificate: server.crt, key: server.key}";
const ISSUER: &str = "issuers: {corp: {issuer: i, audience: a, keys: {file: jwks.json}}}";

fn asking<'a>(address: &str, tls: bool, database: &'a str, user: &'a str) -> Asking<'a> {
    Asking { address: address.parse().unwrap(), tls, database, user }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let config = Fixture::new()
        .load(
            TLS,
            "authentication:
- {connection: local, user: admin, method: scram-sha-256}
- {user: [admin, '/^root'], method: reject}
- {connection: tls, network: 10.0.0.0/8, database: [sales, '/_dev$'], method: cert}
- {connection: plain, network: [192.0.2.0/24, '2001:db8::/32'], method: scram-sha-256}
- {connection: tls, method: scram-sha-256, channel_binding: require}",
        )
        .unwrap();
    let rules = config.authentication.unwrap();
    let line = |asking: Asking<'_>| rules.first(&asking).map(|rule| rule.origin.line - 6);
    for (asking, expected) in [
        (asking("127.0.0.1", false, "x", "admin"), Some(1)),
        (asking("::1", true, "x", "admin"), Some(1)),
        (asking("::ffff:127.0.0.1", true, "x", "admin"), Some(1)),
        (asking("10.0.0.1", true, "sales", "admin"), Some(2)),
        (asking("10.0.0.1", true, "sales", "rootling"), Some(2)),
        (asking("10.0.0.1", true, "sales", "Admin"), Some(3)),
        (asking("10.0.0.1", true, "app_dev", "ana"), Some(3)),
        (asking("10.0.0.1", true, "app_dev2", "ana"), Some(5)),
        (asking("10.0.0.1", false, "sales", "ana"), None),
        (asking("192.0.2.7", false, "sales", "ana"), Some(4)),
        (asking("2001:db8::5", false, "sales", "ana"), Some(4)),
        (asking("192.0.2.7", true, "sales", "ana"), Some(5)),
        (asking("203.0.113.1", false, "sales", "ana"), None),
    ] {
        assert_eq!(line(asking), expected, "{asking:?}");
    }
}

#[test]
fn secrets_are_not_asked_for_in_the_clear() {
    let fixture = Fixture::new();
    let rule = |more: &str| {
        let text = format!("{ISSUER}\nauthentication:\n- {{method: jwt, issuer: corp{more}}}");
        fixture.load(TLS, &text).unwrap().authentication.unwrap()
    };
    let exposes = |rules: &Rules, address: &str, tls| {
        let asking = asking(address, tls, "d", "ana");
        rules.first(&asking).unwrap().exposes(&asking)
    };
    let rules = rule("");
    assert!(exposes(&rules, "10.0.0.1", false));
    assert!(!exposes(&rules, "10.0.0.1", true) && !exposes(&rules, "127.0.0.1", false));
    assert!(!exposes(&rule(", in_clear: true"), "10.0.0.1", false));
}

#[test]
fn everything_that_can_be_said() {
    let config = Fixture::new()
        .load(
            TLS,
            r#"issuers:
  corp:
    issuer: https://sso.example.com
    audience: [sqlveil, other]
    keys: {url: "https://sso.example.com/keys", ca: ca.crt, refresh: 5m, stale: 30m, pause: 5s, timeout: 2s}
    algorithms: [RS256, ES384]
    leeway: 10s
    type: at+jwt
    iam: local
    users: any
    claims:
      user: email
      map: [{match: '/(.*)@example\.com', user: '\1'}]
      groups: [https://example.com/groups]
      attributes: {city: address.city}
    require: {email_verified: "true", scope: [a, b]}
    discovery: https://sso.example.com/d
    scope: sqlveil
ldap:
  plain: {url: "ldaps://ldap.example.com", bind_dn: "uid={user},dc=example", ca: ca.crt}
  found: {url: "ldap://127.0.0.1:389", start_tls: true, ca: ca.crt, timeout: 1s, iam: corp,
          search: {base: dc=example, filter: "(&(uid={user})(objectClass=person))", bind_dn: cn=reader, password: {file: master}}}
authentication:
- {connection: tls, user: /^svc_, method: cert, field: dn, map: [{match: '/CN=([^,]*),O=Corp', user: '\1'}]}
- {connection: tls, method: scram-sha-256, channel_binding: offer, client_certificate: verify-full}
- {connection: tls, user: bob, method: ldap, server: plain, client_certificate: verify-ca}
- {connection: local, method: ldap, server: found}
- {connection: tls, method: oauthbearer, issuer: corp}
- {method: jwt, issuer: corp, in_clear: true}"#,
        )
        .unwrap();
    let rules = config.authentication.unwrap();
    let names: Vec<&str> = rules.rules.iter().map(|rule| rule.method.name()).collect();
    assert_eq!(names, ["cert", "scram-sha-256", "ldap", "ldap", "oauthbearer", "jwt"]);
    assert!(
        matches!(&rules.rules[0].certificate, Certificate::Named(Field::Subject, map) if map.leads("CN=svc_a,O=Corp", "svc_a"))
    );
    assert!(
        matches!(&rules.rules[1].certificate, Certificate::Named(Field::CommonName, map) if map.leads("ana", "ana"))
    );
    assert!(matches!(rules.rules[2].certificate, Certificate::Signed));
    let corp = &rules.issuers[0];
    assert!(matches!(&corp.iam, Iam::One(iam) if **iam == *"local"));
    assert_eq!((corp.users, corp.leeway.as_secs()), (Users::Any, 10));
    assert_eq!(corp.algorithms, [Algorithm::Rs256, Algorithm::Es384]);
    assert_eq!(corp.claims.groups, Some(ClaimPath(vec!["https://example.com/groups".into()])));
    let KeysFrom::Url(remote) = &corp.keys else { panic!("a URL") };
    assert_eq!((remote.refresh.as_secs(), remote.stale.as_secs(), remote.roots.len()), (300, 1800, 1));
    assert!(!format!("{rules:?}").contains("0123456789abcdef"), "no secret is shown");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

/// Each with what is said and the line it is said of.
#[test]
fn what_cannot_be_meant_is_an_error_at_its_line() {
    let fixture = Fixture::new();
    fixture.write("secret.json", r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#);
    let rule = |rule: &str| format!("{ISSUER}\nauthentication:\n- {rule}");
    let issuer =
        |change: &str| format!("issuers:\n  corp:\n    {change}\nauthentication: [{{method: jwt, issuer: corp}}]");
    let good = "issuer: i\n    audience: a\n    keys: {file: jwks.json}\n    ";
    let ldap = |server: &str| format!("ldap:\n  corp: {server}\nauthentication: [{{method: ldap, server: corp}}]");
    for (tls, text, line, said) in [
        (TLS, "authentication: []".to_owned(), 6, "no rule: nobody could log in"),
        (TLS, rule("{method: md5}"), 8, "unknown method"),
        (TLS, rule("{connection: tls}"), 8, "missing key `method`"),
        (TLS, rule("{method: scram, usr: x}"), 8, "did you mean `user`?"),
        (TLS, rule("{connection: ssl, method: reject}"), 8, "unknown kind of connection"),
        (TLS, rule("{network: 10.0.0.1/8, method: reject}"), 8, "not a network"),
        (TLS, rule("{user: [], method: reject}"), 8, "an empty `user` fits nothing"),
        (TLS, rule("{user: '/(', method: reject}"), 8, "not a regular expression"),
        (TLS, rule("{user: all, method: reject}"), 8, "to fit everything, remove the key"),
        (TLS, rule("{user: [ana, +staff], method: reject}"), 8, "groups and files cannot be named here"),
        (TLS, rule("{database: sameuser, method: reject}"), 8, "has no meaning here"),
        (TLS, rule("{method: jwt}"), 8, "missing key `issuer`"),
        (TLS, rule("{method: jwt, issuer: other}"), 8, "`other` is not declared"),
        (TLS, rule("{method: ldap, server: corp}"), 8, "`corp` is not declared"),
        (TLS, rule("{connection: plain, method: jwt, issuer: corp}"), 8, "sent in the clear"),
        (TLS, rule("{method: scram-sha-256, in_clear: true}"), 8, "`in_clear` is for"),
        (TLS, rule("{method: scram-sha-256, channel_binding: maybe}"), 8, "offer or require"),
        (TLS, rule("{connection: plain, method: scram-sha-256, channel_binding: require}"), 8, "need TLS"),
        (TLS, rule("{connection: plain, method: cert}"), 8, "need TLS"),
        (TLS, rule("{method: scram-sha-256, map: [{match: a, user: b}]}"), 8, "have no effect here"),
        (TLS, rule("{method: cert, client_certificate: verify-ca}"), 8, "have no effect here"),
        (TLS, rule("{method: reject, client_certificate: verify-full}"), 8, "changes nothing"),
        (TLS, rule("{method: cert, field: ou}"), 8, "unknown field"),
        (TLS, rule("{method: cert, map: []}"), 8, "lets nobody in"),
        (NO_CA, rule("{method: cert}"), 8, "cannot be checked"),
        ("", rule("{method: scram-sha-256, channel_binding: require}"), 8, "there is no `tls`"),
        (TLS, issuer("issuer: i"), 8, "missing key `audience`"),
        (TLS, issuer("audience: []\n    issuer: i\n    keys: {file: jwks.json}"), 8, "no audience"),
        (
            TLS,
            issuer("keys: {file: nowhere.json}\n    issuer: i\n    audience: a"),
            8,
            "nowhere.json cannot be used as a key set: No such file or directory",
        ),
        (TLS, issuer("keys: {file: secret.json}\n    issuer: i\n    audience: a"), 8, "no public key"),
        (
            TLS,
            issuer("keys: {url: http://sso.example.com}\n    issuer: i\n    audience: a"),
            8,
            "keys cannot come from there",
        ),
        (TLS, issuer("keys: {url: https://x, file: y}\n    issuer: i\n    audience: a"), 8, "one of `file` and `url`"),
        (
            TLS,
            issuer("keys: {url: https://x, ca: ca.crt, stale: 1s}\n    issuer: i\n    audience: a"),
            8,
            "`stale` is below",
        ),
        (TLS, issuer(&format!("{good}algorithms: [none]")), 11, "not a list of signature algorithms"),
        (TLS, issuer(&format!("{good}algorithms: [RS256, HS256]")), 11, "no HS*"),
        (TLS, issuer(&format!("{good}algorithms: []")), 11, "not a list of signature algorithms"),
        (TLS, issuer(&format!("{good}leeway: 1h")), 11, "above ten minutes"),
        (TLS, issuer(&format!("{good}iam: {{claim: tid, allowed: []}}")), 11, "no provider may be named"),
        (TLS, issuer(&format!("{good}users: all")), 11, "declared or any"),
        (TLS, issuer(&format!("{good}claims: {{user: a..b}}")), 11, "not a claim"),
        (TLS, issuer(&format!("{good}require: {{a: []}}")), 11, "not a claim and its values"),
        (TLS, ldap("{url: 'ldap://ldap.example.com', bind_dn: 'uid={user}'}"), 7, "sent in the clear"),
        (TLS, ldap("{url: 'ldaps://ldap.example.com/x', bind_dn: 'uid={user}'}"), 7, "not the address of an LDAP"),
        (TLS, ldap("{url: 'ldaps://h', start_tls: true, bind_dn: 'uid={user}'}"), 7, "TLS from the start"),
        (TLS, ldap("{url: 'ldaps://h', ca: ca.crt, bind_dn: 'uid=x'}"), 7, "does not hold {user}"),
        (TLS, ldap("{url: 'ldaps://h', ca: ca.crt}"), 7, "one of `bind_dn` and `search`"),
        (
            TLS,
            ldap("{url: 'ldaps://h', ca: ca.crt, search: {base: b, filter: '(uid={user}'}}"),
            7,
            "not an LDAP filter",
        ),
        (TLS, ldap("{url: 'ldaps://h', ca: ca.crt, search: {base: b, bind_dn: x}}"), 7, "belong together"),
        (TLS, ldap("{url: 'ldaps://h', ca: nowhere.crt, bind_dn: 'uid={user}'}"), 7, "cannot read certificates"),
        (
            "tls: {certificate: server.crt, key: server.key, client_ca: nowhere.crt}",
            rule("{method: cert}"),
            5,
            "cannot read certificates",
        ),
    ] {
        let problems = fixture.load(tls, &text).expect_err(&text);
        let at = format!("c.yaml:{line}:");
        assert!(problems.iter().any(|p| p.starts_with(&at) && p.contains(said)), "{text}\n{said}\n{problems:#?}");
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let fixture = Fixture::new();
    let warned = |tls: &str, text: &str| {
        let config = fixture.load(tls, text).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let text = "authentication:\n- {method: scram-sha-256}\n- {user: eve, method: reject}";
    assert!(warned(TLS, text).contains("c.yaml:8:3: warning: this rule is never reached: the one at line 7"));
    assert!(warned("", "authentication:\n- {connection: tls, method: scram-sha-256}").contains("there is no `tls`"));
    assert!(warned(TLS, ISSUER).contains("`issuers` and `ldap` are not used"));
}

/// What is commented out in the sample is what can be written.
#[test]
fn the_sample_loads_when_its_comments_are_taken_off() {
    let sample = include_str!("../../../config/config.yaml");
    let (_, rest) = sample.split_once("# authentication:\n").unwrap();
    let (block, _) = rest.split_once("\n\n").unwrap();
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    // What is in the fixture instead of elsewhere.
    let text = format!("authentication:\n{}", lines.join("\n"))
        .replace("{url: \"https://sso.example.com/jwks\"}", "{file: jwks.json}")
        .replace("bind_dn:", "ca: ca.crt, bind_dn:");
    let rules = Fixture::new().load(TLS, &text).unwrap().authentication.unwrap();
    assert_eq!((rules.rules.len(), rules.issuers.len(), rules.ldap.len()), (4, 1, 1));
}
