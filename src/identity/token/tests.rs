//! Tokens as issuers sign them, and as attackers would like them to be taken. RSA signatures in `vectors.txt` were made by OpenSSL.

use super::*;
use crate::config::authentication::{ClaimPath, Claims, Iam, KeysFrom, Mapping, Requirement, Users};
use crate::governance::model::Origin;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;
use std::time::Duration;

const VECTORS: &str = include_str!("vectors.txt");

fn vector(name: &str) -> &'static str {
    VECTORS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn path(text: &str) -> ClaimPath {
    ClaimPath(text.split('.').map(str::to_owned).collect())
}

fn issuer() -> Issuer {
    Issuer {
        name: "corp".into(),
        origin: Origin::default(),
        issuer: "https://sso.example".into(),
        audience: vec!["veil".into()],
        keys: KeysFrom::File("unused".into()),
        algorithms: vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256],
        leeway: Duration::from_secs(30),
        kind: None,
        iam: Iam::One("corp".into()),
        users: Users::Declared,
        claims: Claims { user: path("sub"), map: Mapping::default(), groups: None, attributes: vec![] },
        require: vec![],
        discovery: String::new(),
        scope: String::new(),
    }
}

/// An ES256 key pair and the set that holds its public half.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }
    fn jwk(&self, more: Value) -> Value {
        let point = self.0.public_key().as_ref();
        let mut jwk = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": b64(&point[1..33]), "y": b64(&point[33..])});
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }
    fn set(&self) -> KeySet {
        set(&[self.jwk(json!({}))])
    }
    fn sign(&self, header: Value, claims: &str) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", b64(signature))
    }
    fn token(&self, claims: Value) -> String {
        self.sign(json!({"alg": "ES256", "kid": "k", "typ": "JWT"}), &claims.to_string())
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Good claims with some replaced; null removes one.
fn claims(changes: Value) -> Value {
    let now = now().as_second();
    let mut claims = json!({"iss": "https://sso.example", "aud": "veil", "sub": "ana", "exp": now + 60, "iat": now});
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    claims
}

#[test]
fn signatures_of_every_algorithm() {
    let rsa = set(&[json!({"kty": "RSA", "kid": "r", "use": "sig", "n": vector("N"), "e": "AQAB"})]);
    for (name, algorithm) in [
        ("RS256", Algorithm::Rs256),
        ("RS384", Algorithm::Rs384),
        ("RS512", Algorithm::Rs512),
        ("PS256", Algorithm::Ps256),
        ("PS384", Algorithm::Ps384),
        ("PS512", Algorithm::Ps512),
    ] {
        let allowing = Issuer { algorithms: vec![algorithm], ..issuer() };
        let proven = verify(vector(name), &allowing, &rsa, now()).unwrap();
        assert_eq!((&*proven.name, proven.until.as_second()), ("ana", 4_102_444_830), "{name}");
        let others = Issuer { algorithms: vec![Algorithm::Es256], ..issuer() };
        assert_eq!(verify(vector(name), &others, &rsa, now()), Err(Rejected::Algorithm), "{name}");
        let (message, signature) = vector(name).rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        assert!(verify(&format!("{message}.{turned}"), &allowing, &rsa, now()).is_err(), "{name}");
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let edwards = set(&[json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())})]);
    let message = format!("{}.{}", b64(json!({"alg": "EdDSA"}).to_string()), b64(claims(json!({})).to_string()));
    let token = format!("{message}.{}", b64(pair.sign(message.as_bytes())));
    assert_eq!(verify(&token, &issuer(), &edwards, now()).unwrap().name, "ana");
    let signer = Signer::new();
    assert_eq!(verify(&signer.token(claims(json!({}))), &issuer(), &signer.set(), now()).unwrap().name, "ana");
}

#[test]
fn an_rsa_key_below_2048_bits_verifies_nothing() {
    let weak = set(&[json!({"kty": "RSA", "kid": "r", "n": vector("WEAKN"), "e": "AQAB"})]);
    assert_eq!(verify(vector("WEAK"), &issuer(), &weak, now()), Err(Rejected::Signature));
}

/// RFC 8725, 2.1: the token does not choose.
#[test]
fn neither_none_nor_a_public_key_as_a_secret() {
    let signer = Signer::new();
    let body = claims(json!({})).to_string();
    for alg in ["none", "None", "", "HS256", "es256"] {
        let token = format!("{}.{}.", b64(json!({"alg": alg, "kid": "k"}).to_string()), b64(&body));
        assert_eq!(verify(&token, &issuer(), &signer.set(), now()), Err(Rejected::Algorithm), "{alg}");
    }
    let message = format!("{}.{}", b64(json!({"alg": "HS256"}).to_string()), b64(&body));
    let mac = crate::config::secret::hmac(signer.0.public_key().as_ref(), &[message.as_bytes()]);
    let token = format!("{message}.{}", b64(mac));
    assert_eq!(verify(&token, &issuer(), &signer.set(), now()), Err(Rejected::Algorithm));
    // Even a set that holds a secret.
    let secret = json!({"keys": [{"kty": "oct", "k": b64(b"secret"), "alg": "HS256"}]});
    assert_eq!(KeySet::parse(secret.to_string().as_bytes()).unwrap_err(), KeyError::NoKey);
    // An EC signature under the name of another algorithm.
    let lied = signer.sign(json!({"alg": "RS256", "kid": "k"}), &body);
    assert_eq!(verify(&lied, &issuer(), &signer.set(), now()), Err(Rejected::UnknownKey));
}

/// Keys, addresses and certificates that a token brings itself are not looked at.
#[test]
fn a_token_brings_no_key() {
    let (signer, attacker) = (Signer::new(), Signer::new());
    let header = json!({"alg": "ES256", "kid": "k", "jwk": attacker.jwk(json!({})), "jku": "https://evil.example/k", "x5u": "https://evil.example/c"});
    let token = attacker.sign(header, &claims(json!({})).to_string());
    assert_eq!(verify(&token, &issuer(), &signer.set(), now()), Err(Rejected::Signature));
}

#[test]
fn keys_are_used_for_what_they_are_for() {
    let signer = Signer::new();
    let token = signer.token(claims(json!({})));
    let usable = |more: Value| KeySet::parse(json!({"keys": [signer.jwk(more)]}).to_string().as_bytes());
    for more in [
        json!({"use": "enc"}),
        json!({"key_ops": ["sign"]}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"crv": "P-384"}),
        json!({"x": "AA"}),
    ] {
        assert_eq!(usable(more.clone()).unwrap_err(), KeyError::NoKey, "{more}");
    }
    let good = usable(json!({"use": "sig", "key_ops": ["verify"], "alg": "ES256"})).unwrap();
    assert!(verify(&token, &issuer(), &good, now()).is_ok());
    let other = usable(json!({"kid": "other"})).unwrap();
    assert_eq!(verify(&token, &issuer(), &other, now()), Err(Rejected::UnknownKey));
    // Without a key id every suitable key is tried.
    let nameless = signer.sign(json!({"alg": "ES256"}), &claims(json!({})).to_string());
    let two = set(&[Signer::new().jwk(json!({"kid": "a"})), signer.jwk(json!({"kid": "b"}))]);
    assert!(verify(&nameless, &issuer(), &two, now()).is_ok());
    for text in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": []}", "{\"keys\": [1]}"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn forms_that_are_no_signed_token() {
    let signer = Signer::new();
    let good = signer.token(claims(json!({})));
    let [header, body, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for token in [
        String::new(),
        "a".into(),
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!("{header}..{signature}"),
        format!("{good}."),
        format!("{good}.x.y"),
        format!("{good}="),
        format!(" {good}"),
        format!("{header}.{body}.{other}{}", &signature[1..]),
        format!("{header}.{}.{signature}", b64(claims(json!({"sub": "bob"})).to_string())),
        format!("{good}{}", "A".repeat(MAX_TOKEN)),
    ] {
        assert!(verify(&token, &issuer(), &signer.set(), now()).is_err(), "{token:.90}");
    }
    for (header, why) in [
        (json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}), Rejected::Critical),
        (json!({"alg": "ES256", "kid": 7}), Rejected::Header),
        (json!({"kid": "k"}), Rejected::Header),
        (json!({"alg": ["ES256"], "kid": "k"}), Rejected::Header),
    ] {
        let token = signer.sign(header, &claims(json!({})).to_string());
        assert_eq!(verify(&token, &issuer(), &signer.set(), now()), Err(why));
    }
    let token = signer.sign(json!({"alg": "ES256", "kid": "k"}), "[]");
    assert_eq!(verify(&token, &issuer(), &signer.set(), now()), Err(Rejected::Claims));
}

#[test]
fn the_kind_of_token_when_it_matters() {
    let signer = Signer::new();
    let access = Issuer { kind: Some("at+jwt".into()), ..issuer() };
    let of =
        |header: Value| verify(&signer.sign(header, &claims(json!({})).to_string()), &access, &signer.set(), now());
    assert!(of(json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"})).is_ok());
    assert!(of(json!({"alg": "ES256", "kid": "k", "typ": "application/AT+JWT"})).is_ok());
    for header in [json!({"alg": "ES256", "kid": "k", "typ": "JWT"}), json!({"alg": "ES256", "kid": "k"})] {
        assert_eq!(of(header), Err(Rejected::Kind));
    }
}

#[test]
fn claims_are_checked_to_the_letter() {
    let signer = Signer::new();
    let at = now().as_second();
    for (changes, expected) in [
        (json!({}), None),
        (json!({"aud": ["other", "veil"]}), None),
        (json!({"exp": at - 29}), None),
        (json!({"exp": at as f64 + 0.5}), None),
        (json!({"nbf": at + 30}), None),
        (json!({"iss": "https://sso.example/"}), Some(Rejected::Issuer)),
        (json!({"iss": null}), Some(Rejected::Issuer)),
        (json!({"iss": ["https://sso.example"]}), Some(Rejected::Issuer)),
        (json!({"aud": "other"}), Some(Rejected::Audience)),
        (json!({"aud": null}), Some(Rejected::Audience)),
        (json!({"aud": []}), Some(Rejected::Audience)),
        (json!({"aud": {"veil": true}}), Some(Rejected::Audience)),
        (json!({"exp": null}), Some(Rejected::NoExpiry)),
        (json!({"exp": format!("{}", at + 60)}), Some(Rejected::NoExpiry)),
        (json!({"exp": 1e300}), Some(Rejected::NoExpiry)),
        (json!({"exp": u64::MAX}), Some(Rejected::NoExpiry)),
        (json!({"exp": at - 30}), Some(Rejected::Expired)),
        (json!({"exp": 0}), Some(Rejected::Expired)),
        (json!({"nbf": at + 31}), Some(Rejected::NotYet)),
        (json!({"nbf": "soon"}), Some(Rejected::NotYet)),
        (json!({"iat": at + 600}), Some(Rejected::NotYet)),
        (json!({"sub": null}), Some(Rejected::NoUser)),
        (json!({"sub": ""}), Some(Rejected::NoUser)),
        (json!({"sub": 7}), Some(Rejected::NoUser)),
        (json!({"sub": ["ana"]}), Some(Rejected::NoUser)),
    ] {
        let token = signer.token(claims(changes.clone()));
        assert_eq!(verify(&token, &issuer(), &signer.set(), now()).err(), expected, "{changes}");
    }
}

#[test]
fn groups_and_attributes_are_read_where_they_are() {
    let signer = Signer::new();
    let reading = Issuer {
        iam: Iam::One("sso".into()),
        users: Users::Any,
        claims: Claims {
            user: path("email"),
            groups: Some(path("realm.roles")),
            attributes: vec![("city".into(), path("address.city")), ("level".into(), path("level"))],
            map: Mapping::default(),
        },
        ..issuer()
    };
    let of = |changes: Value| verify(&signer.token(claims(changes)), &reading, &signer.set(), now());
    let proven = of(json!({"email": "ana@x", "realm": {"roles": ["Staff", "", "Staff"]}, "address": {"city": ["Bonn", "Rome"]}, "level": 3})).unwrap();
    let values = |set: &std::collections::BTreeSet<crate::identity::Entitlement>| {
        set.iter().map(|e| format!("{}/{}", e.value, e.iam)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((&*proven.name, &*proven.brought.iam, proven.brought.alone), ("ana@x", "sso", true));
    assert_eq!(values(&proven.brought.groups), "Staff/sso");
    assert_eq!(values(&proven.brought.attributes["city"]), "Bonn/sso Rome/sso");
    assert_eq!(values(&proven.brought.attributes["level"]), "3/sso");
    assert!(of(json!({"email": "ana@x"})).unwrap().brought.groups.is_empty());
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    for (changes, why) in [
        (json!({"email": "a", "realm": {"roles": [["Staff"]]}}), Rejected::Groups),
        (json!({"email": "a", "realm": {"roles": 7}}), Rejected::Groups),
        (json!({"email": "a", "realm": {"roles": many}}), Rejected::TooMuch),
        (json!({"email": "a", "realm": {"roles": ["x".repeat(1025)]}}), Rejected::TooMuch),
        (json!({"email": "a", "realm": {"roles": ["a\u{0}b"]}}), Rejected::TooMuch),
        (json!({"email": "a", "level": {"a": 1}}), Rejected::Attribute),
        (json!({"realm": {"roles": []}}), Rejected::NoUser),
    ] {
        assert_eq!(of(changes.clone()).unwrap_err(), why, "{changes:.80}");
    }
}

/// A token may say which of some providers vouches for it, and no other.
#[test]
fn the_provider_may_be_a_claim_among_those_allowed() {
    let signer = Signer::new();
    let tenants = Iam::Named { path: path("tid"), allowed: vec!["red".into(), "blue".into()] };
    let several = Issuer { iam: tenants, ..issuer() };
    let of = |changes: Value| verify(&signer.token(claims(changes)), &several, &signer.set(), now());
    assert_eq!(&*of(json!({"tid": "blue"})).unwrap().brought.iam, "blue");
    for changes in [json!({}), json!({"tid": "local"}), json!({"tid": ["blue"]}), json!({"tid": "Blue"})] {
        assert_eq!(of(changes.clone()).unwrap_err(), Rejected::Provider, "{changes}");
    }
}

#[test]
fn required_claims() {
    let signer = Signer::new();
    let need = |name: &str, values: &[&str]| Requirement {
        path: path(name),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    let strict =
        Issuer { require: vec![need("email_verified", &["true"]), need("scope", &["query", "admin"])], ..issuer() };
    let of = |changes: Value| verify(&signer.token(claims(changes)), &strict, &signer.set(), now()).err();
    assert_eq!(of(json!({"email_verified": true, "scope": "openid query"})), None);
    assert_eq!(of(json!({"email_verified": true, "scope": ["admin"]})), None);
    for changes in [
        json!({"email_verified": false, "scope": "query"}),
        json!({"scope": "query"}),
        json!({"email_verified": true, "scope": "queryx openid"}),
        json!({"email_verified": true}),
        json!({"email_verified": [["true"]], "scope": "query"}),
    ] {
        assert_eq!(of(changes.clone()), Some(Rejected::Required), "{changes}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 500, ..Default::default() })]

    /// Whatever is presented, nothing panics, and only what was signed is taken.
    #[test]
    fn a_good_token_changed_anywhere_is_no_token(at in 0usize..400, byte in 0x21u8..0x7f) {
        static SIGNER: std::sync::LazyLock<(Signer, String)> = std::sync::LazyLock::new(|| {
            let signer = Signer::new();
            let token = signer.token(claims(json!({"groups": ["Staff"]})));
            (signer, token)
        });
        let (signer, token) = &*SIGNER;
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        if bytes[at] != byte {
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            proptest::prop_assert!(verify(&changed, &issuer(), &signer.set(), now()).is_err(), "{}", changed);
        }
    }

    #[test]
    fn claims_of_any_kind_do_not_panic(name in "iss|aud|exp|nbf|iat|sub|groups", text in "[ -~]{0,12}", number in proptest::num::f64::ANY) {
        let signer = Signer::new();
        for value in [json!(text), json!(number), json!([text, number]), json!({"a": text}), json!(true)] {
            let _ = verify(&signer.token(claims(json!({name.clone(): value}))), &issuer(), &signer.set(), now());
        }
    }
}
