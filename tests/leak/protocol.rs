//! Row 23 of the catalogue: frames made by hand.

use crate::caller::Caller;
use crate::wire::{Message, Wire, bind, close, describe_what, execute, flush, frame, parse, query, startup, sync};
use crate::world::{ANA, EVE, MAX, connect, login, world};
use std::time::{Duration, Instant};

/// Kinds of messages, in order.
fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|m| m.tag as char).collect()
}

fn hides(wire: &Wire) {
    assert!(!wire.seen.windows(6).any(|w| w == b"SECRET"), "{}", wire.seen.escape_ascii());
}

/// A string of statements is decided whole: one that is refused lets none run.
#[test]
fn several_statements_in_one_query() {
    let mut ana = Caller::new(ANA);
    let answer = ana.simple("SELECT count(*) FROM emp; SELECT ssn FROM emp WHERE id < 3; SELECT count(*) FROM peek;;");
    assert_eq!(answer.rows(), ["24", "∅", "∅", "0"]);
    for refused in [
        "SELECT * FROM vault",
        "SET client_min_messages = debug5",
        "DELETE FROM emp",
        "SELECT pg_read_file('x')",
        "COPY emp FROM STDIN",
        "nonsense",
    ] {
        for sql in [
            format!("SELECT 1; {refused}"),
            format!("SELECT 1; {refused}; SELECT 2"),
            format!("BEGIN; SELECT ssn FROM emp; {refused}; COMMIT"),
            format!("SELECT $${refused}; $$; /* ; */ {refused} -- ;"),
        ] {
            let answer = ana.simple(&sql);
            assert_eq!(kinds(&answer.messages), "EZ", "{sql}");
            assert_eq!(answer.messages[1].body, b"I", "{sql}: no transaction is left open");
        }
    }
    // In extended protocol one message holds one statement.
    assert_eq!(ana.extended("SELECT 1; SELECT 2", &[], 0).code(), "42601");
    assert_eq!(kinds(&ana.simple("").messages), "IZ");
    assert_eq!(kinds(&ana.simple(" ;; -- nothing\n ; /* at all */").messages), "IZ");
    assert_eq!(kinds(&ana.extended("", &[], 0).messages), "12nIZ");
}

#[test]
fn function_calls_are_refused() {
    for user in [ANA, MAX, EVE] {
        let mut wire = connect(world(), user);
        // pg_read_file(text), query_to_xml, now(): whatever the OID.
        for oid in [2624u32, 2923, 1299, 1_000_000] {
            let mut body = oid.to_be_bytes().to_vec();
            body.extend([0, 0, 0, 0, 0, 0]);
            let answer = wire.ask(&frame(b'F', &body));
            assert_eq!((kinds(&answer.messages).as_str(), answer.code().as_str()), ("EZ", "0A000"), "{user}: {oid}");
        }
        assert_eq!(wire.simple("SELECT 1").rows(), ["1"]);
        hides(&wire);
    }
}

/// What a statement is like is told to those who may run it, before it is run.
#[test]
fn describe_before_execute() {
    let (mut ana, mut eve) = (Caller::new(ANA), Caller::new(EVE));
    for sql in
        ["SELECT * FROM vault", "SELECT * FROM part_low", "TABLE entitled", "SELECT leak('x')", "SELECT NULL::vault"]
    {
        for (kind, name) in [(b'S', ""), (b'P', "")] {
            let answer =
                ana.frames(&[parse("", sql, &[]), bind("", "", &[], 0), describe_what(kind, name), sync()].concat(), 1);
            assert_eq!(kinds(&answer.messages), "EZ", "{sql}");
        }
    }
    let answer = eve.frames(&[parse("s", "SELECT * FROM emp", &[]), describe_what(b'S', "s"), sync()].concat(), 1);
    assert_eq!((kinds(&answer.messages).as_str(), answer.code().as_str()), ("EZ", "42P01"));
    // Names nobody made: the proxy's own names for statements are no client's.
    for name in ["nothing", "s", "s1", "sv1", "sv_1", "sqlveil_1", "p1", "C_1", "<unnamed>"] {
        assert_eq!(eve.frames(&[describe_what(b'S', name), sync()].concat(), 1).code(), "26000", "{name}");
        assert_eq!(eve.frames(&[describe_what(b'P', name), sync()].concat(), 1).code(), "34000", "{name}");
        assert_eq!(eve.frames(&[bind("", name, &[], 0), execute("", 0), sync()].concat(), 1).code(), "26000", "{name}");
        assert_eq!(eve.frames(&[execute(name, 0), sync()].concat(), 1).code(), "34000", "{name}");
        assert_eq!(eve.simple(&format!("EXECUTE \"{name}\"")).code(), "26000", "{name}");
        assert_eq!(eve.simple(&format!("FETCH ALL FROM \"{name}\"")).code(), "34000", "{name}");
    }
}

/// Nothing that follows an error is run before the next Sync; what came before it stays answered.
#[test]
fn pipelines_without_sync() {
    let mut ana = Caller::new(ANA);
    let one = |sql: &str| [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    let many: Vec<u8> = (0..20).flat_map(|_| one("SELECT ssn FROM emp WHERE id = 3")).collect();
    let answer = ana.frames(&[many.clone(), flush(), many, sync()].concat(), 1);
    assert_eq!((answer.rows().len(), answer.sorted().concat()), (40, "∅".repeat(40)));
    let refused = [one("SELECT 1"), one("SELECT * FROM vault"), one("SELECT 2"), query("SELECT 3"), one("SELECT 4")];
    ana.wire.send(&[refused.concat(), sync()].concat());
    let answer = ana.wire.until_ready(1);
    assert_eq!((answer.rows(), answer.code()), (vec!["1".to_owned()], "42P01".to_owned()), "{:?}", answer.lines());
    // The next batch is a new one.
    assert_eq!(ana.frames(&[one("SELECT 5"), sync()].concat(), 1).rows(), ["5"]);
    // Closing what is not there is no error; a portal dies with its transaction.
    let answer = ana.frames(&[close(b'S', "x"), close(b'P', "y"), sync()].concat(), 1);
    assert_eq!(kinds(&answer.messages), "33Z");
    ana.frames(&[parse("", "SELECT ssn FROM emp", &[]), bind("p", "", &[], 0), execute("p", 1), sync()].concat(), 1);
    assert_eq!(ana.frames(&[execute("p", 0), sync()].concat(), 1).code(), "34000");
}

/// Formats and counts that do not fit, in Bind.
#[test]
fn binds_that_do_not_fit() {
    let raw_bind = |formats: &[u16], values: &[Option<&[u8]>], results: &[u16]| {
        let mut body = b"\0\0".to_vec();
        let list = |body: &mut Vec<u8>, list: &[u16]| {
            body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
            list.iter().for_each(|f| body.extend(f.to_be_bytes()));
        };
        list(&mut body, formats);
        body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            match value {
                None => body.extend((-1i32).to_be_bytes()),
                Some(value) => {
                    body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend(*value);
                }
            }
        }
        list(&mut body, results);
        frame(b'B', &body)
    };
    let sql = "SELECT id, ssn, pin FROM emp WHERE id = $1 AND note::int > 0";
    let five: &[u8] = &5u32.to_be_bytes();
    for (frame, fits) in [
        (raw_bind(&[1], &[Some(five)], &[0]), true),
        (raw_bind(&[1], &[Some(five)], &[0, 1, 0]), true),
        (raw_bind(&[], &[None], &[]), true),
        (raw_bind(&[0], &[Some(b"1003")], &[1]), true),
        (raw_bind(&[2], &[Some(five)], &[0]), false),
        (raw_bind(&[1], &[Some(five)], &[7]), false),
        (raw_bind(&[1], &[Some(b"abc")], &[0]), false),
        (raw_bind(&[1, 1], &[Some(five)], &[0]), false),
        (raw_bind(&[0], &[], &[0]), false),
        (raw_bind(&[0], &[Some(b"5"), Some(b"6")], &[0]), false),
        (raw_bind(&[0], &[Some(b"5")], &[0, 1]), false),
        (raw_bind(&[0], &[Some(b"\xff\xfe")], &[0]), false),
        (raw_bind(&[0], &[Some(b"5\0")], &[0]), false),
    ] {
        let mut ana = Caller::new(ANA);
        let answer = ana.frames(&[parse("", sql, &[]), frame.clone(), execute("", 0), sync()].concat(), 1);
        // Which error it is, and whether the session survives it, differs; that it is one does not.
        assert_eq!(answer.code().is_empty(), fits, "{}: {:?}", frame.escape_ascii(), answer.lines());
    }
}

/// Before the session: what asks for encryption is followed by nothing in the clear.
#[test]
fn encryption_requests_with_stowaways() {
    let ssl: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    let gss: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
    let session = startup(&[("user", ANA), ("database", world().database())]);
    for first in [ssl, gss] {
        // Behind the request, in the same segment.
        for stowaway in [
            session.clone(),
            query("SELECT 1"),
            vec![0],
            session.iter().copied().chain(query("SELECT ssn FROM emp")).collect(),
        ] {
            let mut wire = Wire::open(world().port);
            wire.send(&[first, &stowaway].concat());
            let mut rest = wire.rest();
            // The answer to the request may have been given; then an error at most, and the end.
            rest.retain(|m| m.tag != b'E');
            assert!(rest.is_empty(), "{rest:?}");
            assert!(!wire.seen.contains(&b'R'), "no authentication begins: {}", wire.seen.escape_ascii());
        }
    }
    // A second request of the same kind, and one after the other.
    let mut wire = Wire::open(world().port);
    wire.send(ssl);
    std::thread::sleep(Duration::from_millis(200));
    wire.send(ssl);
    let end = wire.rest();
    let seen = wire.seen.clone();
    assert!(seen.starts_with(b"N") && !seen.contains(&b'Z') && end.len() <= 1, "{}", seen.escape_ascii());
}

#[test]
fn startups_that_begin_nothing() {
    let database = world().database();
    // As an option it is a setting like any other, and refused like any other.
    let refused = Wire::login(login(world(), ANA), &[("options", "-c replication=1")]).err();
    assert_eq!(refused.and_then(|m| m.field(b'C')).as_deref(), Some("42501"));
    for (what, bytes) in [
        ("replication", startup(&[("user", ANA), ("database", database), ("replication", "true")])),
        ("logical replication", startup(&[("user", ANA), ("database", database), ("replication", "database")])),
        ("replication by options", startup(&[("user", ANA), ("database", database), ("options", "-c replication=1")])),
        ("protocol 2", [&[0, 0, 0, 9, 0, 2, 0, 0][..], b"\0"].concat()),
        ("protocol 4", [&[0, 0, 0, 9, 0, 4, 0, 0][..], b"\0"].concat()),
        ("length 0", vec![0; 8]),
        ("length 4", vec![0, 0, 0, 4, 0, 3, 0, 0]),
        ("length 2 GB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        ("length -1", vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        ("no terminator", vec![0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r']),
        ("invalid UTF-8", startup(&[("user", ANA)]).iter().map(|b| if *b == b'n' { 0xff } else { *b }).collect()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a query first", query("SELECT 1")),
    ] {
        let mut wire = Wire::open(world().port);
        wire.send(&bytes);
        // Some wait for more bytes than will ever come, or for a password.
        let _ = wire.socket.shutdown(std::net::Shutdown::Write);
        let rest = wire.rest();
        assert!(rest.iter().all(|m| b"ER".contains(&m.tag)), "{what}: {}", kinds(&rest));
    }
}

/// Frames that break the protocol end the connection with 08P01, and nothing is run.
#[test]
fn broken_frames_end_the_connection() {
    let with_length = |tag: u8, length: u32, body: &[u8]| [&[tag][..], &length.to_be_bytes(), body].concat();
    for (what, bytes) in [
        ("length 0", with_length(b'Q', 0, b"SELECT 1\0")),
        ("length 3", with_length(b'Q', 3, b"")),
        ("length -1", with_length(b'Q', u32::MAX, b"SELECT 1\0")),
        ("length 2 GB", with_length(b'Q', 0x7fff_ffff, b"SELECT 1\0")),
        ("a long Sync", frame(b'S', b"xxxx")),
        ("a long Flush", frame(b'H', b"x")),
        ("a Query without an end", frame(b'Q', b"SELECT ssn FROM emp")),
        ("NUL in a Query", frame(b'Q', b"SELECT 1\0 FROM emp\0")),
        ("two strings in a Query", frame(b'Q', b"SELECT 1\0SELECT ssn FROM emp\0")),
        ("a Parse that ends early", frame(b'P', b"s\0SELECT 1\0")),
        ("more types than there are", frame(b'P', b"s\0SELECT 1\0\xff\xff\0\0\0\x17")),
        ("a Bind that ends early", frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x08abc")),
        ("a Bind with a negative length", frame(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0")),
        ("an Execute without a limit", frame(b'E', b"\0")),
        ("Describe of an unknown kind", frame(b'D', b"X\0")),
        ("Close of an unknown kind", frame(b'C', b"Q\0")),
        ("an unknown kind", frame(b'z', b"")),
        ("a server's message", frame(b'D', b"\0\x01\0\0\0\x01x")),
        ("a password", frame(b'p', b"md5\0")),
        ("tag 0", frame(0, b"")),
        ("a second startup", startup(&[("user", MAX), ("database", world().database())])),
    ] {
        let mut wire = connect(world(), ANA);
        wire.seen.clear();
        wire.send(&[bytes, query("SELECT 'run' || ' on'")].concat());
        let _ = wire.socket.shutdown(std::net::Shutdown::Write);
        let rest = wire.rest();
        assert!(!kinds(&rest).contains(['T', 'D', 'C']), "{what}: {:?}", kinds(&rest));
        let error = rest.iter().find(|m| m.tag == b'E').unwrap_or_else(|| panic!("{what}: nothing said"));
        assert_eq!(error.field(b'C').as_deref(), Some("08P01"), "{what}");
        hides(&wire);
    }
}

/// Text that is no UTF-8 is refused, never repaired; the session lives.
#[test]
fn text_that_is_no_utf8() {
    let mut wire = connect(world(), ANA);
    for text in [
        &b"SELECT '\xff'"[..],
        b"SELECT 1 AS \xc3",
        b"\xed\xa0\x80",
        b"SELECT '\xc0\x80'",
        b"SELECT \"\xf5\x80\x80\x80\"",
    ] {
        let mut whole = text.to_vec();
        whole.push(0);
        let answer = wire.ask(&frame(b'Q', &whole));
        assert_eq!(answer.code(), "22021", "{}", text.escape_ascii());
        let parse = frame(b'P', &[b"\0", whole.as_slice(), b"\0\0"].concat());
        let answer = wire.ask(&[parse, sync()].concat());
        assert_eq!(answer.code(), "22021", "{}", text.escape_ascii());
    }
    // Names of statements and portals, too.
    let answer = wire.ask(&[frame(b'P', b"\xff\0SELECT 1\0\0\0"), sync()].concat());
    assert_ne!(answer.code(), "");
    let mut wire = connect(world(), ANA);
    assert_eq!(wire.simple("SELECT '\u{1F512}é', U&'\\0041', E'\\u00e9'").rows(), ["\u{1F512}é|A|é"]);
    assert_ne!(wire.simple("SELECT U&'\\0000'").code(), "");
    assert_ne!(wire.simple("SELECT E'\\000'").code(), "");
}

/// COPY messages where no COPY is.
#[test]
fn stray_copy_messages() {
    let mut ana = Caller::new(ANA);
    let stray = [frame(b'd', b"1\tSECRET\n"), frame(b'c', b""), frame(b'f', b"x\0")].concat();
    ana.wire
        .send(&[stray.clone(), query("SELECT count(*) FROM emp"), stray, query("SELECT count(*) FROM peek")].concat());
    let answer = ana.wire.until_ready(2);
    assert_eq!(answer.rows(), ["24", "0"]);
}

/// CancelRequest needs the key of the session it means.
#[test]
fn cancels_of_other_sessions() {
    let mut victim = connect(world(), MAX);
    let key = victim.key.clone();
    assert!(key.len() >= 8);
    victim.send(&query("SELECT count(*) FROM generate_series(1, 4000000)"));
    let mut wrong = key.clone();
    wrong.iter_mut().skip(4).for_each(|b| *b ^= 0x55);
    let own = connect(world(), ANA).key.clone();
    let mixed = [&key[..4], &own[4..]].concat();
    for cancel in [wrong, mixed, key[..4].iter().copied().chain([0; 4]).collect(), own] {
        let mut wire = Wire::open(world().port);
        let mut packet = u32::try_from(cancel.len() + 8).unwrap().to_be_bytes().to_vec();
        packet.extend([4, 0xd2, 0x16, 0x2e]);
        packet.extend(cancel);
        wire.send(&packet);
        assert!(wire.rest().is_empty(), "a cancel request is never answered");
    }
    assert_eq!(victim.until_ready(1).rows(), ["4000000"]);
    // With the right one it works.
    victim.send(&query("SELECT count(*) FROM generate_series(1, 400000000)"));
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    let mut packet = u32::try_from(key.len() + 8).unwrap().to_be_bytes().to_vec();
    packet.extend([4, 0xd2, 0x16, 0x2e]);
    packet.extend(key);
    Wire::open(world().port).send(&packet);
    assert_eq!(victim.until_ready(1).code(), "57014");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Whatever is sent, nothing hidden comes back, and others are served.
#[test]
fn noise() {
    let mut dice = 0x1234_5678_9abc_def1u64;
    let mut roll = move |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice >> 33).unwrap() % sides
    };
    let good = [
        query("SELECT id, ssn, note::int FROM emp"),
        parse("s", "SELECT ssn FROM emp WHERE id = $1", &[23]),
        bind("p", "s", &["3"], 0),
        describe_what(b'P', "p"),
        execute("p", 1),
        execute("p", 0),
        sync(),
        flush(),
        close(b'S', "s"),
        query("BEGIN; DECLARE c CURSOR FOR SELECT * FROM log"),
        query("FETCH 2 FROM c"),
        query("COPY emp TO STDOUT"),
        query("ROLLBACK"),
    ];
    for _ in 0..60 {
        let mut wire = connect(world(), ANA);
        for _ in 0..12 {
            let mut bytes = good[roll(good.len())].clone();
            match roll(5) {
                0 => {
                    let at = roll(bytes.len());
                    bytes[at] ^= 1 << roll(8);
                }
                1 => bytes.truncate(roll(bytes.len())),
                _ => {}
            }
            wire.send(&bytes);
        }
        let _ = wire.socket.shutdown(std::net::Shutdown::Write);
        wire.rest();
        hides(&wire);
    }
    assert_eq!(connect(world(), ANA).simple("SELECT count(*) FROM emp").rows(), ["24"]);
}

/// The wrong password, the wrong name, the wrong database: nobody learns which.
#[test]
fn logins_tell_nothing() {
    let told = |user: &str, password: &str, database: &str| {
        let login = crate::wire::Login { user, password, database, ..login(world(), user) };
        Wire::login(login, &[]).err().map(|m| (m.field(b'C'), m.field(b'M').map(|t| t.replace(user, "USER"))))
    };
    let wrong = told(ANA, "wrong", world().database()).unwrap();
    assert_eq!(wrong.0.as_deref(), Some("28P01"));
    for (user, password, database) in
        [("nobody", "wrong", world().database()), ("nobody", "open sesame", "nowhere"), (ANA, "", "nowhere")]
    {
        assert_eq!(told(user, password, database).as_ref(), Some(&wrong), "{user}");
    }
}
