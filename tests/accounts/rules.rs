//! Tokens and temporary accounts under ordered rules: by their secrets, and by nothing else.

use crate::commands::{account, known, token};
use crate::stage;
use crate::support::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn rules_know_them_by_their_names() {
    let running = stage()
        .await
        .config(
            "authentication:\n- {user: '/^service-account-apikey-', method: scram-sha-256}\n\
             - {user: '/^temp[0-9]{13}', network: 192.0.2.0/24, method: scram-sha-256}\n- {user: '/^temp', method: reject}\n\
             - {user: ana, method: scram-sha-256}\n",
        )
        .start()
        .await;
    let one = token(&running, &["--group", "Staff"]);
    let (name, password) = account(&running, &["--user", "ana"]);
    known(&running, &one.user, &one.secret).await;
    let rejected = running.try_client(&name, &password, running.database()).await.unwrap_err();
    assert_eq!(rejected.as_db_error().unwrap().code().code(), "28000");
    assert!(running.try_client("ana", PASSWORD, running.database()).await.is_ok());
    assert!(running.try_client("bob", PASSWORD, running.database()).await.is_err(), "no rule fits him");
}

/// Whoever signs JWTs could else be any token: directories call service accounts so too.
#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_or_certificate_that_names_a_token_is_nobody() {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
    let key =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap().as_ref())
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("jwks.json");
    let public = encode(key.public_key().as_ref());
    std::fs::write(
        &set,
        format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA", "x": "{public}"}}]}}"#),
    )
    .unwrap();
    let running = stage()
        .await
        .config(&format!(
            "issuers: {{corp: {{issuer: 'https://sso', audience: veil, iam: local, users: any, keys: {{file: {}}}}}}}\n\
             authentication:\n- {{method: jwt, issuer: corp}}\n",
            set.display()
        ))
        .start()
        .await;
    let jwt = |user: &str| {
        let now = jiff::Timestamp::now().as_second();
        let claims =
            serde_json::json!({"iss": "https://sso", "aud": "veil", "sub": user, "iat": now, "exp": now + 300});
        let body = format!("{}.{}", encode(br#"{"alg":"EdDSA","kid":"k"}"#), encode(claims.to_string().as_bytes()));
        format!("{body}.{}", encode(key.sign(body.as_bytes()).as_ref()))
    };
    let one = token(&running, &["--group", "Staff"]);
    let (name, _) = account(&running, &["--user", "ana"]);
    running.proxy().reload_and_wait().await;
    for user in ["ana", "somebody"] {
        assert!(running.try_client(user, &jwt(user), running.database()).await.is_ok(), "{user}");
    }
    for user in [
        one.user.as_str(),
        &name,
        "service-account-apikey-00000000-0000-4000-8000-000000000000",
        "temp1635366310923aaaaaaaaaaa",
    ] {
        let error = running.try_client(user, &jwt(user), running.database()).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "28P01", "{user}");
    }
}
