use super::*;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

const CERT_HASH: &[u8] = &[7; 32];

/// Made once: 4096 iterations are slow in a debug build.
fn verifier() -> Verifier {
    static MADE: std::sync::LazyLock<Verifier> = std::sync::LazyLock::new(|| {
        Verifier::from_password(b"pencil", 4096, &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap())
    });
    MADE.clone()
}

fn login() -> LoginVerifier {
    LoginVerifier::real("user", verifier())
}

/// RFC 7677 section 3.
fn rfc_exchange() -> ServerExchange {
    ServerExchange::with_nonce(login(), None, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into())
}

#[test]
fn rfc_7677_vectors() {
    let mut exchange = rfc_exchange();
    let first = exchange.client_first(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
    assert_eq!(
        String::from_utf8(first).unwrap(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = exchange
        .client_final(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .unwrap();
    assert_eq!(last, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn another_nonce_or_binding_is_refused() {
    for (message, words) in [
        (&b"c=biws,r=rOprNGfwEbeRWgbNEkqOxxx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="[..], "nonce"),
        (
            b"c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "channel-binding",
        ),
        (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AAAA", "proof"),
        (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "proof"),
    ] {
        let mut exchange = rfc_exchange();
        exchange.client_first(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let refusal = exchange.client_final(message).unwrap_err();
        assert_eq!(refusal.code, SqlState::PROTOCOL_VIOLATION);
        assert!(refusal.detail.unwrap().contains(words), "{words}");
    }
}

/// Drives our server with postgres-protocol's client.
fn talk(login: LoginVerifier, hash: Option<&[u8]>, password: &[u8]) -> Result<(), Refusal> {
    let mut server = ServerExchange::new(login, hash);
    let (mechanism, binding) = match hash {
        Some(hash) => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash.to_vec())),
        None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
    };
    assert!(server.mechanisms().contains(&mechanism));
    let mut client = ScramSha256::new(password, binding);
    let reply = server.client_first(mechanism, client.message())?;
    client.update(&reply).unwrap();
    let reply = server.client_final(client.message())?;
    client.finish(&reply).unwrap();
    Ok(())
}

#[test]
fn round_trip_with_another_client() {
    for hash in [None, Some(CERT_HASH)] {
        talk(login(), hash, b"pencil").unwrap();
        let refusal = talk(login(), hash, b"pencils").unwrap_err();
        assert_eq!(refusal.code, SqlState::INVALID_PASSWORD);
        assert_eq!(refusal.message, "password authentication failed for user \"user\"");
    }
}

#[test]
fn passwords_outside_saslprep_work_as_in_postgresql() {
    for password in [&b"\xff\xfe"[..], "pass\u{7}word".as_bytes(), "I\u{ad}X".as_bytes(), "\u{2168}".as_bytes()] {
        let login = LoginVerifier::real("user", Verifier::generate(password));
        talk(login, None, password).unwrap();
    }
    // SASLprep maps U+2168 to "IX": both spellings are one password (RFC 4013, 3).
    talk(LoginVerifier::real("user", Verifier::generate("\u{2168}".as_bytes())), None, b"IX").unwrap();
}

#[test]
fn agrees_with_the_verifier_another_library_makes() {
    let text = postgres_protocol::password::scram_sha_256(b"secret");
    let verifier: Verifier = text.parse().unwrap();
    assert_eq!(verifier.to_string(), text);
    assert_eq!(Verifier::from_password(b"secret", verifier.iterations, &verifier.salt), verifier);
}

#[test]
fn a_mock_and_a_barred_login_fail_like_a_wrong_password() {
    let wrong = talk(login(), None, b"x").unwrap_err();
    let mock = talk(LoginVerifier::mock("user", b"key", 4096, 16), None, b"pencil").unwrap_err();
    let barred = talk(LoginVerifier::barred("user", verifier()), None, b"pencil").unwrap_err();
    assert_eq!(wrong, mock);
    assert_eq!(wrong, barred);
}

#[test]
fn a_mock_shows_the_same_salt_every_time_and_another_per_name() {
    let first = |name: &str, key: &[u8]| {
        let mut exchange = ServerExchange::with_nonce(LoginVerifier::mock(name, key, 4096, 16), None, "n".into());
        exchange.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap()
    };
    assert_eq!(first("a", b"k"), first("a", b"k"));
    assert_ne!(first("a", b"k"), first("b", b"k"));
    assert_ne!(first("a", b"k"), first("a", b"l"));
    let verifier = LoginVerifier::mock("a", b"k", 4096, 40).verifier;
    assert_eq!(verifier.salt.len(), 40);
}

#[test]
fn channel_binding_flags() {
    let begin = |hash: Option<&[u8]>, mechanism: &str, message: &[u8]| {
        ServerExchange::new(login(), hash).client_first(mechanism, message).map(drop).map_err(|r| r.code)
    };
    let (tls, plain) = (Some(CERT_HASH), None);
    assert_eq!(begin(plain, SCRAM_SHA_256, b"n,,n=,r=abc"), Ok(()));
    assert_eq!(begin(plain, SCRAM_SHA_256, b"y,,n=,r=abc"), Ok(()));
    assert_eq!(begin(tls, SCRAM_SHA_256, b"n,,n=,r=abc"), Ok(()));
    assert_eq!(begin(tls, SCRAM_SHA_256_PLUS, b"p=tls-server-end-point,,n=,r=abc"), Ok(()));
    // A downgrade: the client would have bound, we offered it, it did not see the offer.
    assert_eq!(begin(tls, SCRAM_SHA_256, b"y,,n=,r=abc"), Err(SqlState::INVALID_AUTHORIZATION));
    for (hash, mechanism, message) in [
        (plain, SCRAM_SHA_256_PLUS, &b"p=tls-server-end-point,,n=,r=abc"[..]),
        (plain, SCRAM_SHA_256, b"p=tls-server-end-point,,n=,r=abc"),
        (tls, SCRAM_SHA_256, b"p=tls-server-end-point,,n=,r=abc"),
        (tls, SCRAM_SHA_256_PLUS, b"n,,n=,r=abc"),
        (tls, SCRAM_SHA_256_PLUS, b"y,,n=,r=abc"),
        (tls, SCRAM_SHA_256_PLUS, b"p=tls-unique,,n=,r=abc"),
        (plain, "SCRAM-SHA-1", b"n,,n=,r=abc"),
        (plain, SCRAM_SHA_256, b"n,,n=,r="),
        (plain, SCRAM_SHA_256, b"n,,n=,r=a b"),
        (plain, SCRAM_SHA_256, b"n,,r=abc"),
        (plain, SCRAM_SHA_256, b"n,"),
        (plain, SCRAM_SHA_256, b"n,,n=,r=abc,x"),
        (plain, SCRAM_SHA_256, b""),
    ] {
        assert_eq!(begin(hash, mechanism, message), Err(SqlState::PROTOCOL_VIOLATION), "{message:?}");
    }
    assert_eq!(begin(plain, SCRAM_SHA_256, b"n,a=other,n=,r=abc"), Err(SqlState::FEATURE_NOT_SUPPORTED));
    assert_eq!(begin(plain, SCRAM_SHA_256, b"n,,m=1,n=,r=abc"), Err(SqlState::FEATURE_NOT_SUPPORTED));
}

#[test]
fn another_certificate_is_refused() {
    let mut server = ServerExchange::new(login(), Some(CERT_HASH));
    let mut client = ScramSha256::new(b"pencil", ChannelBinding::tls_server_end_point(vec![8; 32]));
    let reply = server.client_first(SCRAM_SHA_256_PLUS, client.message()).unwrap();
    client.update(&reply).unwrap();
    assert_eq!(server.client_final(client.message()).unwrap_err().code, SqlState::INVALID_AUTHORIZATION);
}

#[test]
fn steps_come_once_and_in_order() {
    let mut server = rfc_exchange();
    assert!(server.client_final(b"c=biws,r=a,p=AAAA").is_err());
    let mut server = rfc_exchange();
    server.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap();
    assert!(server.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").is_err());
    assert!(server.client_final(b"c=biws,r=abc,p=").is_err());
}

#[test]
fn verifier_texts() {
    let good = verifier().to_string();
    assert_eq!(good.parse::<Verifier>().unwrap(), verifier());
    for (bad, why) in [
        (String::new(), VerifierError::Shape),
        ("md5abcdef".into(), VerifierError::Shape),
        (good.replace("SHA-256", "SHA-1"), VerifierError::Shape),
        (good.replace("$4096:", "$0:"), VerifierError::Iterations),
        (good.replace("$4096:", "$+4096:"), VerifierError::Iterations),
        (good.replace("$4096:", "$99999999999:"), VerifierError::Iterations),
        (good.replace("W22Z", "****"), VerifierError::Salt),
        (format!("{good}="), VerifierError::Key),
    ] {
        assert_eq!(bad.parse::<Verifier>(), Err(why), "{bad}");
    }
    assert_eq!(format!("{:?}", verifier()), "Verifier(..)");
    assert!(!format!("{:?}", login()).contains("W22Z"));
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(
        first in proptest::collection::vec(any::<u8>(), 0..80),
        last in proptest::collection::vec(any::<u8>(), 0..120),
        plus in any::<bool>(),
    ) {
        let hash = plus.then_some(CERT_HASH);
        let mut server = ServerExchange::new(login(), hash);
        let _ = server.client_first(if plus { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 }, &first);
        prop_assert!(server.client_final(&last).is_err());
        let mut server = rfc_exchange();
        server.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap();
        prop_assert!(server.client_final(&last).is_err());
    }

    #[test]
    fn almost_right_messages_are_refused(at in 0usize..120, with in any::<u8>()) {
        let right = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let mut message = right.to_vec();
        let at = at % message.len();
        prop_assume!(message[at] != with);
        message[at] = with;
        let mut exchange = rfc_exchange();
        exchange.client_first(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        prop_assert!(exchange.client_final(&message).is_err());
    }

    #[test]
    fn any_text_parses_to_itself_or_not_at_all(text in "\\PC*") {
        if let Ok(verifier) = text.parse::<Verifier>() {
            prop_assert_eq!(verifier.to_string().parse::<Verifier>().unwrap(), verifier);
        }
    }
}
