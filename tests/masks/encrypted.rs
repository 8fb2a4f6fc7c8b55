//! The masks that encrypt, on a real PostgreSQL: FF1 against NIST's samples and an implementation by others, SIV against HMAC by others,
//! values of every shape, and no error on any.

use crate::support::{ANYONE, Running, Stage};
use base64::Engine as _;
use fpe::ff1::{FF1, FlexibleNumeralString};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sqlveil::config::Config;
use sqlveil::policy::decision::Access;
use sqlveil::types::QualifiedName;
use std::collections::BTreeSet;
use std::time::SystemTime;

const TABLE: &str = "CREATE TABLE wide (t text, v varchar(30), c char(30), n name, i int, b bigint, s smallint, d numeric, p numeric(20,0), f numeric(9,2))";

async fn stage(extension: &str) -> Stage {
    let mask = |group: &str, kind: &str| {
        format!(
            "policyKey: {group}\nname: {group}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    inclusions: {{groups: [{group}]}}\n    \
             config: {{fields: [{{type: allColumns}}], maskingConfig: {{type: {kind}}}}}\n"
        )
    };
    Stage::new()
        .await
        .sql(extension)
        .await
        .sql(TABLE)
        .await
        .source("{table: wide, schema: public}")
        .policy(ANYONE)
        .user("format", &["format"], &[])
        .user("reversible", &["reversible"], &[])
        .policy(&mask("format", "Format Preserving Masking"))
        .policy(&mask("reversible", "Reversible"))
}

/// The mask of a column as SQL over `_sv`.
async fn mask(running: &Running, user: &str, column: &str) -> String {
    let config = std::sync::Arc::new(Config::load(&running.config_file()).expect("a configuration"));
    let (mut worlds, _) =
        sqlveil::world::load(&config).await.into_result().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let world = worlds.remove(running.database()).expect("a world");
    let caller = world.directory.caller(user, None).expect("a caller");
    match world.ruleset.access(&caller, &QualifiedName::new("public", "wide"), SystemTime::now()) {
        Access::Visible(decision) => {
            let column = decision.columns.iter().find(|c| c.name == column).expect("a column");
            column.mask.as_ref().expect("a mask").sql.to_string()
        }
        other => panic!("{user}: {other:?}"),
    }
}

/// The masked texts of values.
async fn masked(running: &Running, mask: &str, column: &str, ty: &str, values: &[String]) -> Vec<Option<String>> {
    let sql = format!(
        "SELECT ({mask})::text FROM (SELECT x::{ty} AS {column} FROM unnest($1::text[]) WITH ORDINALITY AS u(x, o) ORDER BY o) AS _sv"
    );
    let rows = running.admin().query(&sql, &[&values]).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The secrets in a mask, in order.
fn secrets(mask: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for part in mask.split("'\\x").skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        if digits.len() >= 64 {
            let bytes = (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[i * 2..i * 2 + 2], 16).expect("hex"));
            found.push(bytes.collect());
        }
    }
    found
}

/// FF1 by others, of one class.
fn ff1(key: &[u8], radix: u32, numerals: &[u16]) -> Vec<u16> {
    let ff1 = FF1::<aes::Aes256>::new(key, radix).expect("a radix");
    ff1.encrypt(&[], &FlexibleNumeralString::from(numerals.to_vec())).expect("numerals").into()
}

/// The mask of a text, written anew.
fn formatted(key: &[u8], value: &str) -> Option<String> {
    let class = |c: char| match c {
        '0'..='9' => Some((10, u16::try_from(u32::from(c) - 48).unwrap())),
        'a'..='z' => Some((26, u16::try_from(u32::from(c) - 97).unwrap())),
        'A'..='Z' => Some((26, u16::try_from(u32::from(c) - 65).unwrap())),
        _ => None,
    };
    let of = |radix: u32| -> Vec<u16> {
        value.chars().filter_map(class).filter(|(r, _)| *r == radix).map(|(_, n)| n).collect()
    };
    let (digits, letters) = (of(10), of(26));
    if !value.is_ascii() || (1..6).contains(&digits.len()) || (1..5).contains(&letters.len()) {
        return None;
    }
    let encrypt = |radix, numerals: Vec<u16>| if numerals.is_empty() { numerals } else { ff1(key, radix, &numerals) };
    let mut digits = encrypt(10, digits).into_iter();
    let mut letters = encrypt(26, letters).into_iter();
    let put = |c: char| match c {
        '0'..='9' => char::from(48 + u8::try_from(digits.next().unwrap()).unwrap()),
        'a'..='z' => char::from(97 + u8::try_from(letters.next().unwrap()).unwrap()),
        'A'..='Z' => char::from(65 + u8::try_from(letters.next().unwrap()).unwrap()),
        other => other,
    };
    Some(value.chars().map(put).collect())
}

/// A stream of numbers that is the same in every run.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[tokio::test]
async fn ff1_gives_what_nist_published() {
    let running = stage("CREATE EXTENSION pgcrypto").await.start().await;
    let mask = mask(&running, "format", "t").await;
    let own = secrets(&mask);
    assert!(own.len() == 6 && own.iter().all(|k| *k == own[0] && k.len() == 32));
    let own: String = own[0].iter().map(|b| format!("{b:02x}")).collect();
    // Samples 1, 4 and 7 of NIST's "FF1samples": radix 10, empty tweak, AES-128, -192, -256.
    for (key, expected) in [
        ("2b7e151628aed2a6abf7158809cf4f3c", "2433477484"),
        ("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f", "2830668132"),
        ("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94", "6657667009"),
    ] {
        let mask = mask.replace(&own, key);
        let seen = self::masked(&running, &mask, "t", "text", &["0123456789".into(), "(012) 345-67 89".into()]).await;
        assert_eq!(seen[0].as_deref(), Some(expected));
        let (a, b, c, d) = (&expected[..3], &expected[3..6], &expected[6..8], &expected[8..]);
        assert_eq!(seen[1], Some(format!("({a}) {b}-{c} {d}")));
        // The form for long strings gives the same: only the place where the two part is moved.
        let long = mask.replace("t.nd <= 18 THEN", "t.nd <= 1 THEN");
        assert_ne!(long, mask);
        assert_eq!(self::masked(&running, &long, "t", "text", &["0123456789".into()]).await, seen[..1]);
    }
}

#[tokio::test]
async fn texts_of_every_length_are_what_another_implementation_gives() {
    let running = stage("CREATE EXTENSION pgcrypto").await.start().await;
    let mask = mask(&running, "format", "t").await;
    let key = secrets(&mask).remove(0);
    let mut next = numbers();
    let mut values: Vec<String> = [
        "",
        "-",
        "a",
        "1",
        "\u{1}",
        "abcde",
        "ABCDE",
        "12345",
        "123456",
        "abcd",
        "zzzzz",
        "000000",
        "é123456",
        "١٢٣٤٥٦٧",
        "abcdeİ",
        "abcdé",
        "\u{a0}",
    ]
    .map(String::from)
    .to_vec();
    for length in 0..130 {
        values.push((0..length).map(|_| char::from(48 + u8::try_from(next(10)).unwrap())).collect());
        values.push((0..length).map(|_| char::from(97 + u8::try_from(next(26)).unwrap())).collect());
        values.push((0..length).map(|_| char::from(1 + u8::try_from(next(126)).unwrap())).collect());
        values.push("9".repeat(length));
        values.push("z".repeat(length));
    }
    values.push("8".repeat(400));
    values.push("Q".repeat(400));
    let seen = masked(&running, &mask, "t", "text", &values).await;
    for (value, seen) in values.iter().zip(seen) {
        assert_eq!(seen, formatted(&key, value), "{value:?}");
    }
    let long = masked(&running, &mask, "t", "text", &["8".repeat(401), "Q".repeat(401), "8".repeat(100_000)]).await;
    assert_eq!(long, [None, None, None]);
}

#[tokio::test]
async fn other_text_types_hold_the_same() {
    let running = stage("CREATE EXTENSION pgcrypto").await.start().await;
    for (column, ty) in [("v", "varchar(30)"), ("c", "char(30)"), ("n", "name")] {
        let mask = mask(&running, "format", column).await;
        let key = secrets(&mask).remove(0);
        let values =
            ["4111-1111-1111-1111".to_owned(), "Ann Ångström".into(), "Jo.Smith@Example.COM 12".into(), String::new()];
        let seen = masked(&running, &mask, column, ty, &values).await;
        for (value, seen) in values.iter().zip(seen) {
            assert_eq!(seen, formatted(&key, value), "{column} {value:?}");
        }
    }
}

#[tokio::test]
async fn numbers_keep_sign_digits_and_type() {
    let running = stage("CREATE EXTENSION pgcrypto").await.start().await;
    let mut next = numbers();
    for (column, ty, most) in [
        ("i", "int", i128::from(i32::MAX)),
        ("b", "bigint", i128::from(i64::MAX)),
        ("d", "numeric", 10i128.pow(37)),
        ("p", "numeric(20,0)", 99_999_999_999_999_999_999),
    ] {
        let mask = mask(&running, "format", column).await;
        let key = secrets(&mask).remove(0);
        let mut values: BTreeSet<i128> = [0, 1, -1, 999_999, 1_000_000, -1_000_000, most, -most, 2_147_483_000].into();
        let mut ten = 10i128;
        while ten < most {
            for _ in 0..12 {
                values.insert(ten + i128::from(next(u64::MAX)) % (ten * 9).min(most - ten));
            }
            values.extend([ten - 1, ten, -ten]);
            let Some(more) = ten.checked_mul(10) else { break };
            ten = more;
        }
        let values: Vec<i128> = values.into_iter().filter(|v| v.abs() <= most).collect();
        let texts: Vec<String> = values.iter().map(i128::to_string).collect();
        let seen = masked(&running, &mask, column, ty, &texts).await;
        for (value, seen) in values.iter().zip(&seen) {
            let digits = value.unsigned_abs().to_string();
            if digits.len() < 7 {
                assert_eq!(*seen, None, "{column} {value}");
                continue;
            }
            let mut numerals: Vec<u16> = digits.bytes().map(|b| u16::from(b - 48)).collect();
            let expected = loop {
                numerals = ff1(&key, 10, &numerals);
                let text: String = numerals.iter().map(ToString::to_string).collect();
                // A number of forty digits may be above what i128 holds, and is in range for `numeric`.
                let within = text.parse::<i128>().map_or(column == "d", |n| column == "d" || n <= most);
                if !text.starts_with('0') && within {
                    break text;
                }
            };
            let sign = if *value < 0 { "-" } else { "" };
            assert_eq!(seen.as_deref(), Some(format!("{sign}{expected}").as_str()), "{column} {value}");
        }
        let distinct: BTreeSet<&String> = seen.iter().flatten().collect();
        assert_eq!(distinct.len(), seen.iter().flatten().count(), "{column}: no two are alike");
    }
    let d = mask(&running, "format", "d").await;
    let odd =
        ["NaN", "Infinity", "-Infinity", "1234567.5", "1234567.0", "1e400", "1e131071", "1e-100"].map(String::from);
    let seen = masked(&running, &d, "d", "numeric", &odd).await;
    assert!(seen.iter().all(Option::is_none), "{seen:?}");
    for (column, ty, value) in [("i", "int", i64::from(i32::MIN)), ("b", "bigint", i64::MIN)] {
        let mask = mask(&running, "format", column).await;
        assert_eq!(masked(&running, &mask, column, ty, &[value.to_string()]).await, [None], "{column}");
    }
    for (column, ty) in [("s", "smallint"), ("f", "numeric(9,2)")] {
        let mask = mask(&running, "format", column).await;
        assert_eq!(masked(&running, &mask, column, ty, &["12345".into()]).await, [None], "{column}");
    }
}

#[tokio::test]
async fn without_pgcrypto_the_data_source_refuses_and_says_what_to_do() {
    let stage = stage("CREATE SCHEMA other; CREATE FUNCTION public.encrypt(bytea, bytea, text) RETURNS bytea LANGUAGE sql AS 'SELECT $1'").await;
    let config = std::sync::Arc::new(Config::load(&stage.write()).expect("a configuration"));
    let problems = sqlveil::world::load(&config).await.problems;
    let text: Vec<String> = problems.iter().map(|p| format!("{p} {}", p.help)).collect();
    assert!(
        text.iter().any(|p| p.contains("pgcrypto") && p.contains("CREATE EXTENSION pgcrypto")),
        "a function that is only called like the extension's is not it: {text:#?}"
    );
}

#[tokio::test]
async fn the_extension_may_be_in_a_schema_of_its_own() {
    let running = stage("CREATE SCHEMA \"Odd one\"; CREATE EXTENSION pgcrypto SCHEMA \"Odd one\"; GRANT USAGE ON SCHEMA \"Odd one\" TO PUBLIC")
        .await
        .sql("INSERT INTO wide (t) VALUES ('123-45-6789')")
        .await
        .start()
        .await;
    let mask = mask(&running, "format", "t").await;
    assert!(mask.contains("\"Odd one\".encrypt"));
    let client = running.client("format").await;
    let row = client.query_one("SELECT t FROM wide WHERE t LIKE '%-%' GROUP BY t", &[]).await.expect("a row");
    assert_eq!(row.get::<_, Option<String>>(0), formatted(&secrets(&mask)[0], "123-45-6789"));
    let none = client.query("SELECT t FROM wide WHERE t = '123-45-6789'", &[]).await.expect("an answer");
    assert!(none.is_empty(), "the mask is below the condition");
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // The literal is the key as HMAC puts it before the message: the block XORed with 0x36.
    let key: Vec<u8> = key[..32].iter().map(|b| b ^ 0x36).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The token of a text, written anew.
fn token(vector_key: &[u8], stream_key: &[u8], value: &str) -> String {
    let mut bytes = hmac(vector_key, value.as_bytes())[..16].to_vec();
    let vector = bytes.clone();
    for (at, block) in (0u32..).zip(value.as_bytes().chunks(32)) {
        let pad = hmac(stream_key, &[vector.as_slice(), &at.to_be_bytes()].concat());
        bytes.extend(block.iter().zip(pad).map(|(a, b)| a ^ b));
    }
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn tokens_are_siv_over_hmac() {
    let running = stage("CREATE EXTENSION pgcrypto").await.start().await;
    let mut values: Vec<String> = ["", "a", "é", "'\\", "\n"].map(String::from).to_vec();
    values.extend((0..200).map(|n| "x".repeat(n)));
    values.push("y".repeat(1 << 20));
    values.push("y".repeat((1 << 20) + 1));
    for (column, ty, room) in [("t", "text", 1 << 20), ("v", "varchar(30)", 5), ("c", "char(30)", 5), ("n", "name", 29)]
    {
        let mask = mask(&running, "reversible", column).await;
        let secrets = secrets(&mask);
        // Stream outside and inside, vector outside and inside.
        assert_eq!(secrets.iter().map(Vec::len).collect::<Vec<_>>(), [64; 4], "{column}");
        let values: Vec<String> = match column {
            "t" => values.clone(),
            _ => values.iter().filter(|v| v.len() <= 30).cloned().collect(),
        };
        let seen = masked(&running, &mask, column, ty, &values).await;
        for (value, seen) in values.iter().zip(seen) {
            let expected = (value.len() <= room).then(|| token(&secrets[3], &secrets[1], value));
            assert_eq!(seen, expected, "{column} {} bytes", value.len());
        }
    }
    let mask = mask(&running, "reversible", "i").await;
    assert_eq!(masked(&running, &mask, "i", "int", &["1234567".into()]).await, [None]);
}
