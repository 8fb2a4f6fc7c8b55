//! What a signature is worth.

use super::*;

fn actor() -> Actor {
    Actor {
        login: "bi".into(),
        for_whom: Vec::new(),
        services: Arc::default(),
        ways: Ways { comment: true, ..Ways::default() },
        key: Some(Secret::new("a key of thirty-two bytes or so")),
        longest: Duration::from_secs(300),
    }
}

fn sign(login: &str, body: &str) -> String {
    let mac = hmac(b"a key of thirty-two bytes or so", &[login.as_bytes(), b"\n", body.as_bytes()]);
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body} signature={hex}")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

#[test]
fn a_signature_names_user_project_and_end() {
    let text = sign("bi", "user=J%C3%B6rg%20M project=fraud expires=1000060");
    let signed = actor().signed(&text, now()).unwrap();
    assert_eq!((&*signed.user, &*signed.project, signed.until.as_second()), ("Jörg M", "fraud", 1_000_060));
    assert_eq!(&*actor().signed(&sign("bi", "expires=1000060 user=ana"), now()).unwrap().project, "");
    // Published, so that others can hold their own code against it.
    assert_eq!(
        sign("bi", "user=ana expires=1000060"),
        "user=ana expires=1000060 signature=".to_owned()
            + &hmac(b"a key of thirty-two bytes or so", &[b"bi\nuser=ana expires=1000060"])
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
    );
}

#[test]
fn what_is_not_signed_so_is_worth_nothing() {
    let good = sign("bi", "user=ana expires=1000060");
    let refused = |text: &str| assert_eq!(actor().signed(text, now()), Err(unsigned()), "{text}");
    // Changed, of another login, expired, too far ahead.
    refused(&good.replace("ana", "bob"));
    refused(&good.to_uppercase());
    refused(good.get(..good.len() - 1).unwrap());
    refused(&format!("{good} "));
    refused(&format!("{good}0"));
    refused(&sign("bi2", "user=ana expires=1000060"));
    refused(&sign("bi", "user=ana expires=1000000"));
    refused(&sign("bi", "user=ana expires=1000301"));
    refused(&sign("bi", "user=ana expires=99999999999999999999"));
    refused(&sign("bi", "user=ana expires=-5"));
    // Twice, unknown, missing, empty, badly encoded.
    for body in [
        "user=ana user=bob expires=1000060",
        "user=ana expires=1000060 expires=1000070",
        "user=ana role=admin expires=1000060",
        "user=ana",
        "expires=1000060",
        "user= expires=1000060",
        "user=ana  expires=1000060",
        "user=a%6 expires=1000060",
        "user=a%zz expires=1000060",
        "user=%ff expires=1000060",
        "user=a%00 expires=1000060",
        "user=a%0ab expires=1000060",
        "user=a/b expires=1000060",
        "user=ana\texpires=1000060",
        "",
    ] {
        refused(&sign("bi", body));
    }
    refused("");
    refused("user=ana expires=1000060 signature=");
    let keyless = Actor { key: None, ..actor() };
    assert_eq!(keyless.signed(&good, now()), Err(unsigned()));
}

#[test]
fn only_the_beginning_of_a_string_is_a_signature() {
    assert_eq!(leading_comment("/*sqlveil a b*/ SELECT 1"), Some(("a b", 15)));
    assert_eq!(leading_comment("/*sqlveil a*/ /*sqlveil b*/ SELECT 1"), Some(("a", 13)));
    for sql in [
        "SELECT 1 /*sqlveil a*/",
        " /*sqlveil a*/",
        "/* sqlveil a*/",
        "--\n/*sqlveil a*/",
        "/*sqlveil a",
        "/*SQLVEIL a*/",
    ] {
        assert_eq!(leading_comment(sql), None, "{sql}");
    }
    assert_eq!(signed_name("sqlveil user=a signature=b"), Some("user=a signature=b"));
    assert_eq!(signed_name("sqlveil tests"), None);
}
