//! Login, settings, cancel, broken frames, large results, and what changes under a live session.

use super::raw::{Message, PASSWORD, Raw, bind, execute, flush, frame, parse, query, run, startup, sync};
use super::support::{Running, Stage};
use super::{ANYONE, running};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn refused(running: &Running, parameters: &[(&str, &str)]) -> (String, String, String) {
    let error = Raw::with(running, 0, parameters).await.err().expect("no session");
    let field = |c| error.field(c).unwrap_or_default();
    (field('S'), field('C'), field('M'))
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_fail_say_why_and_no_more() {
    let running = running().await;
    let db = running.database().to_owned();
    for (user, password) in [("ana", "wrong"), ("nobody", PASSWORD)] {
        let error = running.try_client(user, password, &db).await.err().unwrap();
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(error.code().code(), "28P01");
        assert_eq!(error.message(), format!("password authentication failed for user \"{user}\""));
    }
    let want = |code: &str, text: &str| ("FATAL".to_owned(), code.to_owned(), text.to_owned());
    assert_eq!(
        refused(&running, &[("user", "ana"), ("database", "nowhere")]).await,
        want("3D000", "database \"nowhere\" does not exist")
    );
    assert_eq!(
        refused(&running, &[("user", "ana"), ("database", &db), ("replication", "true")]).await,
        want("0A000", "replication connections are not supported")
    );
    for (options, code) in [
        ("-c sqlveil.project=NONE", "42501"),
        ("-c role=postgres", "42501"),
        ("-c session_replication_role=replica", "42501"),
        ("-c TimeZone=Nowhere/Land", "22023"),
    ] {
        let (severity, got, _) = refused(&running, &[("user", "ana"), ("database", &db), ("options", options)]).await;
        assert_eq!(severity, "FATAL", "{options}");
        assert!(got == code || got == "0A000", "{options}: {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_its_settings() {
    let running = running().await;
    let db = running.database().to_owned();
    let parameters = [
        ("user", "ana"),
        ("database", db.as_str()),
        ("application_name", "it's"),
        ("DateStyle", "German"),
        ("options", "-c TimeZone=Asia/Tokyo -c search_path=nowhere,public"),
    ];
    let mut raw = Raw::with(&running, 0, &parameters).await.unwrap();
    assert_eq!(raw.parameter("session_authorization"), Some("ana"));
    assert_eq!(raw.parameter("is_superuser"), Some("off"));
    assert_eq!(raw.parameter("application_name"), Some("it's"));
    assert_eq!(raw.parameter("TimeZone"), Some("Asia/Tokyo"));
    assert_eq!(raw.parameter("DateStyle").map(|v| v.starts_with("German")), Some(true));
    assert_eq!(raw.parameter("standard_conforming_strings"), Some("on"));
    assert_eq!(raw.key.1.len(), 4);
    let lines = raw.lines(&query("show search_path; show timezone"), 1).await;
    assert!(lines.contains(&"D nowhere,public".to_owned()) && lines.contains(&"D Asia/Tokyo".to_owned()), "{lines:?}");
    // The next holder of the warehouse's session has its own.
    drop(raw);
    let mut other = Raw::new(&running, "bob").await;
    let lines = other.lines(&query("show timezone"), 1).await;
    assert!(!lines.contains(&"D Asia/Tokyo".to_owned()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_versions() {
    let running = running().await;
    let db = running.database().to_owned();
    let parameters = [("user", "ana"), ("database", db.as_str())];
    let raw = Raw::with(&running, 2, &parameters).await.unwrap();
    assert_eq!((raw.key.1.len(), raw.negotiated), (32, None));
    let raw = Raw::with(&running, 99, &parameters).await.unwrap();
    assert_eq!(raw.negotiated, Some(vec![0, 3, 0, 2, 0, 0, 0, 0]));
    let raw = Raw::with(&running, 0, &[parameters[0], parameters[1], ("_pq_.x", "1")]).await.unwrap();
    assert_eq!(raw.negotiated, Some(b"\0\x03\0\0\0\0\0\x01_pq_.x\0".to_vec()));
    let mut old = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    old.write_all(&[0, 0, 0, 9, 0, 2, 0, 0, 0]).await.unwrap();
    let mut said = Vec::new();
    old.read_to_end(&mut said).await.unwrap();
    assert!(String::from_utf8_lossy(&said).contains("unsupported frontend protocol 2.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_needs_the_right_key() {
    let running = running().await;
    let db = running.database().to_owned();
    let mut raw = Raw::with(&running, 2, &[("user", "ana"), ("database", db.as_str())]).await.unwrap();
    let cancel = |pid: i32, secret: Vec<u8>| async move {
        let mut other = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        let mut packet = (12 + secret.len() as u32).to_be_bytes().to_vec();
        packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
        packet.extend_from_slice(&pid.to_be_bytes());
        packet.extend_from_slice(&secret);
        other.write_all(&packet).await.unwrap();
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    };
    let slow = "select count(*) from t a, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k";
    raw.send(&query(slow)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (pid, secret) = raw.key.clone();
    let mut wrong = secret.clone();
    wrong[31] ^= 1;
    cancel(pid, wrong).await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), raw.stream.peek(&mut [0])).await;
    // The row description may have come; an error may not.
    if quiet.is_ok() {
        assert_eq!(raw.next().await.unwrap().tag, 'T');
    }
    cancel(pid, secret).await;
    let said = raw.ready(1).await;
    assert_eq!(said[said.len() - 2].line(), "E 57014");
    assert_eq!(raw.lines(&query("select 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_end_the_connection() {
    let running = running().await;
    let frames: Vec<Vec<u8>> = vec![
        frame(b'z', b""),
        frame(b'p', b"again"),
        vec![b'Q', 0, 0, 0, 3],
        vec![b'Q', 0xff, 0xff, 0xff, 0xff],
        vec![b'Q', 0x7f, 0xff, 0xff, 0xff],
        vec![b'S', 0, 1, 0, 0],
        frame(b'S', b"x"),
        frame(b'Q', b"select 1"),
        frame(b'Q', b"select 1\0select 2\0"),
        frame(b'E', b"p\0"),
        frame(b'D', b"X\0"),
        frame(b'P', b"s\0select 1\0\0\x02\0\0\0\x17"),
        frame(b'B', b"\0\0\0\0\0\x01\0\0\x10\0ab\0\0"),
    ];
    for bytes in frames {
        let mut raw = Raw::new(&running, "ana").await;
        raw.send(&[query("select 1"), bytes.clone()].concat()).await;
        let said: Vec<String> = raw.rest().await.iter().map(Message::line).collect();
        assert_eq!(said.last().map(String::as_str), Some("E 08P01"), "{bytes:?}: {said:?}");
    }
    // Text that is not UTF-8 is refused, not repaired, and the session goes on.
    let mut raw = Raw::new(&running, "ana").await;
    assert_eq!(raw.lines(&frame(b'Q', b"select '\xff'\0"), 1).await, ["E 22021", "Z I"]);
    assert_eq!(raw.lines(&[frame(b'P', b"\0select '\xff'\0\0\0"), sync()].concat(), 1).await, ["E 22021", "Z I"]);
    assert_eq!(raw.lines(&query("select 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_may_be_split_anywhere() {
    let running = running().await;
    let transcript = [
        query("begin; select id from t where id = 2"),
        run("select name from t where id = 3"),
        sync(),
        parse("s", "select * from hidden"),
        flush(),
        sync(),
        query("rollback"),
        [parse("s", "select $1::int + 1"), bind("p", "s", &["41"]), execute("p", 1), sync()].concat(),
        query("copy (select 1) to stdout; select 1/0"),
    ]
    .concat();
    let mut whole = Raw::new(&running, "ana").await;
    whole.send(&transcript).await;
    let want = whole.ready(6).await;
    for at in 1..transcript.len() {
        let mut raw = Raw::new(&running, "ana").await;
        let (head, tail) = transcript.split_at(at);
        raw.send(head).await;
        tokio::task::yield_now().await;
        if at % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        raw.send(tail).await;
        assert_eq!(raw.ready(6).await, want, "split at {at}");
    }
    let mut raw = Raw::new(&running, "ana").await;
    for byte in &transcript {
        raw.send(std::slice::from_ref(byte)).await;
    }
    assert_eq!(raw.ready(6).await, want, "byte by byte");
}

/// 160 MB to a client that does not read for a while: the proxy holds little of it, and the client gets all.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_slows_the_warehouse_and_not_the_proxys_memory() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sql = "select repeat('x', 1000) from t a, t b, t c, t d, (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15),(16)) v";
    let before = resident();
    raw.send(&query(sql)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let held = resident().saturating_sub(before);
    assert!(held < 60 << 20, "{held} bytes held for a client that does not read");
    let (mut rows, mut bytes) = (0, 0);
    loop {
        let message = raw.next().await.unwrap();
        match message.tag {
            'D' => {
                rows += 1;
                bytes += message.body.len();
            }
            'Z' => break,
            'T' | 'C' => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!((rows, bytes), (160_000, 160_000 * 1006));
}

/// A single row of 48 MB passes without being held.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_larger_than_any_buffer_passes() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    raw.send(&query("select repeat('y', 48000000)")).await;
    let said = raw.ready(1).await;
    assert_eq!(said[1].body.len(), 48_000_006);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

const MASKED: &str = "policyKey: mask\nname: mask\ntype: data\nactions:\n  - rules:\n      - type: Masking\n        config:\n          fields: [{type: columnRegex, regex: name}]\n          maskingConfig: {type: Constant, constant: hidden}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_effect_on_the_next_statement_of_a_live_session() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let prepare = [parse("s", "select name from t where id = $1"), sync()].concat();
    assert_eq!(raw.lines(&prepare, 1).await, ["1", "Z I"]);
    assert_eq!(raw.lines(&query("prepare q as select name from t where id = 1"), 1).await, ["C PREPARE", "Z I"]);
    let begun = [query("begin"), bind("p", "s", &["1"]), bind("open", "s", &["1"]), execute("p", 0), sync()].concat();
    assert_eq!(raw.lines(&begun, 2).await, ["C BEGIN", "Z T", "2", "2", "D n1", "C SELECT 1", "Z T"]);
    running.write("policies/900-mask.yaml", MASKED);
    let outcome = running.proxy().reload_and_wait().await;
    assert!(
        matches!(outcome, sqlveil::world::Outcome::Published(_) | sqlveil::world::Outcome::Unchanged),
        "{outcome:?}"
    );
    // A portal bound under the old decision is not executed.
    raw.send(&[execute("open", 0), sync()].concat()).await;
    let said = raw.ready(1).await;
    assert_eq!(said[0].field('M').as_deref(), Some("the policy of this portal has changed; bind it again"));
    assert_eq!(raw.lines(&query("rollback"), 1).await, ["C ROLLBACK", "Z I"]);
    // A statement of Parse is decided again, the client does not notice.
    let ask = [bind("", "s", &["1"]), execute("", 0), sync()].concat();
    assert_eq!(raw.lines(&ask, 1).await, ["2", "D hidden", "C SELECT 1", "Z I"]);
    assert_eq!(raw.lines(&ask, 1).await, ["2", "D hidden", "C SELECT 1", "Z I"]);
    // So is one of PREPARE, by either protocol.
    assert_eq!(raw.lines(&query("execute q"), 1).await, ["T", "D hidden", "C SELECT 1", "Z I"]);
    running.write("policies/900-mask.yaml", &MASKED.replace("constant: hidden", "constant: veiled"));
    running.proxy().reload_and_wait().await;
    let execute_q = [parse("", "execute q"), bind("", "", &[]), execute("", 0), sync()].concat();
    assert_eq!(raw.lines(&execute_q, 1).await, ["1", "2", "D veiled", "C SELECT 1", "Z I"]);
    assert_eq!(raw.lines(&execute_q, 1).await, ["1", "2", "D veiled", "C SELECT 1", "Z I"]);
    // Not where something executed it before under the old decision in the same string, nor where the transaction has failed.
    assert_eq!(raw.lines(&query("begin; select 1/0"), 1).await.last().unwrap(), "Z E");
    running.write("policies/900-mask.yaml", MASKED);
    running.proxy().reload_and_wait().await;
    assert_eq!(raw.lines(&query("execute q"), 1).await, ["E 0A000", "Z E"]);
    assert_eq!(raw.lines(&query("rollback; execute q"), 1).await, ["E 0A000", "Z E"]);
    assert_eq!(raw.lines(&query("rollback"), 1).await, ["C ROLLBACK", "Z I"]);
    assert_eq!(
        raw.lines(&query("begin; execute q; commit"), 1).await[1..],
        ["T", "D hidden", "C SELECT 1", "C COMMIT", "Z I"]
    );
    // Taken away altogether.
    running.write("policies/000.yaml", &ANYONE.replace("anyone}", "manual}"));
    running.proxy().reload_and_wait().await;
    assert_eq!(raw.lines(&ask, 1).await, ["E 42P01", "Z I"]);
    assert_eq!(raw.lines(&query("execute q"), 1).await, ["E 42P01", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_out_on_his_next_statement() {
    let running = running().await;
    let mut raw = Raw::new(&running, "bob").await;
    assert_eq!(raw.lines(&query("select 1"), 1).await.last().unwrap(), "Z I");
    let file = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("name: 'bob'", "name: 'bob', disabled: true");
    std::fs::write(&file, text).unwrap();
    running.proxy().reload_and_wait().await;
    raw.send(&query("select 1")).await;
    let said = raw.rest().await;
    // Or the second before it.
    assert!(["E 28000", "E 57P01"].contains(&said[0].line().as_str()), "{said:?}");
    assert_eq!(said[0].field('S').as_deref(), Some("FATAL"));
    let error = running.try_client("bob", PASSWORD, running.database()).await.err().unwrap();
    assert_eq!(error.as_db_error().unwrap().code().code(), "28P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_finishes_what_was_sent_and_gives_the_session_back() {
    let running = running().await;
    for _ in 0..100 {
        let mut raw = Raw::new(&running, "ana").await;
        raw.send(&[query("select 1"), frame(b'X', b"")].concat()).await;
        let said: Vec<String> = raw.rest().await.iter().map(Message::line).collect();
        assert_eq!(said, ["T", "D 1", "C SELECT 1", "Z I"]);
    }
    let open = running.admin();
    let count = "select count(*) from pg_stat_activity where usename like 'service%' and datname = current_database()";
    let count: i64 = open.query_one(count, &[]).await.unwrap().get(0);
    assert!(count <= 8, "{count} sessions for one client at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_chosen_in_three_ways_by_members_only() {
    let running = Stage::new()
        .await
        .policy(ANYONE)
        .purpose("Research")
        .project("projectKey: lab\nname: Lab\npurposes: [Research]\nmembers:\n  - {type: group, name: Staff}\n")
        .user("ana", &["Staff"], &[])
        .user("bob", &[], &[])
        .start()
        .await;
    let db = running.database().to_owned();
    let show = query("show sqlveil.project");
    let lab = ["T", "D lab", "C SHOW", "Z I"];
    let mut raw = Raw::new(&running, "ana+lab").await;
    assert_eq!(raw.lines(&show, 1).await, lab);
    assert_eq!(raw.parameter("session_authorization"), Some("ana"));
    let parameters = [("user", "ana"), ("database", db.as_str()), ("options", "-c sqlveil.project=lab")];
    let mut raw = Raw::with(&running, 0, &parameters).await.unwrap();
    assert_eq!(raw.lines(&show, 1).await, lab);
    let mut raw = Raw::new(&running, "ana").await;
    assert_eq!(raw.lines(&query("set sqlveil.project = 'lab'; show sqlveil.project"), 1).await[1..], lab);
    assert_eq!(raw.lines(&query("begin; reset sqlveil.project; rollback; show sqlveil.project"), 1).await[3..], lab);
    assert_eq!(
        raw.lines(&query("reset sqlveil.project; show sqlveil.project"), 1).await[1..],
        ["T", "D ", "C SHOW", "Z I"]
    );
    assert_eq!(raw.lines(&query("set sqlveil.project = 'none'"), 1).await, ["E 42501", "Z I"]);
    let mut raw = Raw::new(&running, "bob").await;
    assert_eq!(raw.lines(&query("set sqlveil.project = 'lab'"), 1).await, ["E 42501", "Z I"]);
    assert_eq!(raw.lines(&[run("set sqlveil.project = 'lab'"), sync()].concat(), 1).await.last().unwrap(), "Z I");
    assert_eq!(raw.lines(&show, 1).await, ["T", "D ", "C SHOW", "Z I"]);
    assert_eq!(refused(&running, &[("user", "bob+lab"), ("database", &db)]).await.1, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_too_long_or_too_deep_are_refused() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let long = format!("select '{}'", "x".repeat(2 << 20));
    assert_eq!(raw.lines(&query(&long), 1).await, ["E 54000", "Z I"]);
    for depth in [5_000, 100_000] {
        let deep = format!("select {}1{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(raw.lines(&query(&deep), 1).await, ["E 54001", "Z I"], "{depth}");
    }
    assert_eq!(raw.lines(&query("select 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_idle_sessions_with_57p01() {
    let mut running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let began = Instant::now();
    running.stop().await;
    let said = raw.rest().await;
    assert_eq!(said.iter().map(Message::line).collect::<Vec<_>>(), ["E 57P01"]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_in_every_way() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stage = Stage::new().await.policy(ANYONE).user("ana", &[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, secret) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, key.cert.pem()).unwrap();
    std::fs::write(&secret, key.signing_key.serialize_pem()).unwrap();
    let lines = format!("tls: {{certificate: {}, key: {}, required: true}}", certificate.display(), secret.display());
    let running = stage.config(&lines).start().await;
    let db = running.database().to_owned();
    assert_eq!(refused(&running, &[("user", "ana"), ("database", &db)]).await.1, "28000");
    let psql = |options: &str| {
        let info = format!("host=127.0.0.1 port={} user=ana password='{PASSWORD}' dbname={db} {options}", running.port);
        running.psql("ana", &["-At", "-d", &info, "-c", "select 1"])
    };
    for options in ["sslmode=require channel_binding=require", "sslmode=require channel_binding=disable"] {
        let said = psql(options);
        assert_eq!((said.out.trim(), said.ok), ("1", true), "{options}: {}", said.err);
    }
    let said = psql("sslmode=disable");
    assert!(said.err.contains("encrypted connections only"), "{}", said.err);

    // Direct TLS, with and without ALPN.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    for (alpn, welcome) in [(vec![b"postgresql".to_vec()], true), (vec![], false)] {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let socket = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        stream.write_all(&startup(0, &[("user", "ana"), ("database", &db)])).await.unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first[0], if welcome { b'R' } else { b'E' });
    }
}

/// Who acts for others does so by message, too: in one batch it is one user's turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_users() {
    let city = "policyKey: own\nname: own\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
        config: {predicate: \"name = @username\"}\n";
    let running = Stage::new()
        .await
        .sql("CREATE TABLE t (name text); INSERT INTO t VALUES ('ana'), ('bob'), ('bi')")
        .await
        .sources(&[("t", "{}")])
        .policy(ANYONE)
        .policy(city)
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .user("bi", &[], &[])
        .config("impersonation: [{login: bi, users: [ana, bob]}]")
        .start()
        .await;
    let mut raw = Raw::new(&running, "bi").await;
    let run = |sql: &str| [parse("", sql), bind("", "", &[]), execute("", 0)].concat();
    let read = || run("select name from t");
    let turn = |user: &str| run(&format!("set sqlveil.user = '{user}'"));
    // The login, then one user: their rows. Another user in the same batch: nothing of it.
    let one = raw.lines(&[read(), turn("ana"), read(), sync()].concat(), 1).await;
    assert_eq!(one.iter().filter(|l| l.starts_with("D ")).collect::<Vec<_>>(), ["D bi", "D ana"]);
    let two = raw.lines(&[turn("ana"), read(), turn("bob"), read(), read(), sync()].concat(), 1).await;
    assert_eq!(
        two.iter().filter(|l| l.starts_with("D ") || l.starts_with("E ")).collect::<Vec<_>>(),
        ["D ana", "E 25001"]
    );
    // The batch was undone, and with it whose turn it was.
    assert_eq!(raw.lines(&query("show sqlveil.user"), 1).await[1], "D ana");
    // Two batches sent at once, and a statement and a portal that another prepared.
    let both = [turn("ana"), read(), sync(), turn("bob"), read(), sync()].concat();
    let both = raw.lines(&both, 2).await;
    assert_eq!(both.iter().filter(|l| l.starts_with("D ")).collect::<Vec<_>>(), ["D ana", "D bob"]);
    let named =
        [parse("s", "select name from t"), sync(), turn("ana"), sync(), bind("", "s", &[]), execute("", 0), sync()]
            .concat();
    let named = raw.lines(&named, 3).await;
    assert_eq!(named.iter().filter(|l| l.starts_with("D ")).collect::<Vec<_>>(), ["D ana"]);
    let stolen =
        [query("begin"), bind("p", "s", &[]), sync(), query("set sqlveil.user = 'bob'"), execute("p", 0), sync()]
            .concat();
    let stolen = raw.lines(&stolen, 4).await;
    assert!(stolen.contains(&"E 34000".to_owned()) && !stolen.iter().any(|l| l.starts_with("D ")), "{stolen:?}");
    raw.lines(&query("rollback"), 1).await;
}
