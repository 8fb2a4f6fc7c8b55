//! Thousands of random, mutated and truncated frames of every kind (issue: 10,000 a kind): nothing panics, nothing hidden is said, what
//! is malformed ends its connection with 08P01, and everybody else's connection goes on.
//!
//! A malformed frame ends a connection, so most frames of a connection are well formed with senseless contents and the last one is
//! broken. `SQLVEIL_TEST_LONG` makes every connection a short one: thousands of broken frames a kind.

use super::raw::{Message, Raw, bind, execute, flush, frame, parse, query, startup, sync};
use super::support::{ANYONE, Running, Stage, long};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use sqlveil::wire::{Frontend, Header, Limits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Frames of each kind.
const FRAMES: usize = 10_000;
/// What only hidden rows and columns hold.
const MARKER: &str = "LEAK7351";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of sessions, which tokio catches.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A test that fails panics too.
            let own = info.location().is_some_and(|l| l.file().starts_with("tests/"));
            PANICS.fetch_add(usize::from(!own), Ordering::SeqCst);
            before(info);
        }));
    });
}

async fn stage() -> Arc<Running> {
    watch_panics();
    let running = Stage::new()
        .await
        .sql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, name text, secret text);
             INSERT INTO t SELECT i, 'n' || i, '{MARKER}' || i FROM generate_series(1, 10) i;
             CREATE TABLE hidden (x text); INSERT INTO hidden VALUES ('{MARKER}')"
        ))
        .await
        .sources(&[("t", "{secret: [Secret], name: [Name]}")])
        .policy(ANYONE)
        .policy(
            "policyKey: secret\nname: secret\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config:\n      \
             fields: [{type: columnTags, columnTag: Secret}]\n      maskingConfig: {type: Hash}\n\
             circumstances: [{type: columnTags, columnTag: Secret}]\n",
        )
        .policy(
            "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
             config: {predicate: \"id < 6\"}\ncircumstances: [{type: columnTags, columnTag: Name}]\n",
        )
        .user("ana", &[], &[])
        .config("limits: {sessions: 500, sessions_per_user: 500, failed_logins: 0}")
        .start()
        .await;
    Arc::new(running)
}

const SQL: &[&str] = &[
    "",
    ";",
    "x",
    "select 1",
    "selec",
    "select $1",
    "select id from t",
    "select * from hidden",
    "select secret::int from t",
    "select 'é",
    "begin",
    "rollback",
    "set search_path to a",
    "fetch c",
    "execute s",
    "deallocate all",
    "(((((((",
    "select 1; select 2",
];
const NAMES: &[&str] = &["", "s", "p", "c", "a name", "ü", "LEAK"];

struct Chaos(StdRng);

impl Chaos {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn noise(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most + 1)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn u16s(&mut self, most: usize) -> Vec<u8> {
        let n = self.below(most + 1);
        let mut out = (n as u16).to_be_bytes().to_vec();
        for _ in 0..n {
            let value = [0_u16, 0, 1, 1, 2, 65535][self.below(6)];
            out.extend_from_slice(&value.to_be_bytes());
        }
        out
    }

    /// A frame of this kind that is well formed, whatever it says.
    fn formed(&mut self, tag: u8) -> Vec<u8> {
        let (sql, name) = (self.one(SQL), self.one(NAMES));
        match tag {
            b'Q' => query(sql),
            b'P' if self.below(2) == 0 => parse(name, sql),
            b'P' => {
                let mut body = format!("{name}\0{sql}\0").into_bytes();
                let n = self.below(3);
                body.extend_from_slice(&(n as u16).to_be_bytes());
                for _ in 0..n {
                    let oid = [0_u32, 23, 25, 1700, 99_999, u32::MAX][self.below(6)];
                    body.extend_from_slice(&oid.to_be_bytes());
                }
                frame(tag, &body)
            }
            b'B' => {
                let mut body = format!("{}\0{name}\0", self.one(NAMES)).into_bytes();
                body.extend(self.u16s(2));
                let values = self.below(3);
                body.extend_from_slice(&(values as u16).to_be_bytes());
                for _ in 0..values {
                    let value = self.noise(6);
                    let length = if self.below(4) == 0 { -1 } else { value.len() as i32 };
                    body.extend_from_slice(&length.to_be_bytes());
                    if length >= 0 {
                        body.extend_from_slice(&value);
                    }
                }
                body.extend(self.u16s(2));
                frame(tag, &body)
            }
            b'D' | b'C' => frame(tag, format!("{}{name}\0", ["S", "P"][self.below(2)]).as_bytes()),
            b'E' => execute(name, [0, 1, 7, u32::MAX, 0x8000_0000][self.below(5)]),
            b'f' => frame(tag, format!("{name}\0").as_bytes()),
            b'd' | b'F' => {
                let noise = self.noise(40);
                frame(tag, &noise)
            }
            b'H' => flush(),
            b'S' => sync(),
            _ => frame(tag, b""),
        }
    }

    /// A frame of this kind with something wrong, most likely.
    fn broken(&mut self, tag: u8) -> Vec<u8> {
        let mut bytes = match self.below(2) {
            0 => self.formed(tag),
            _ => {
                let noise = self.noise(60);
                frame(tag, &noise)
            }
        };
        match self.below(6) {
            // Another length.
            0 => {
                let length = [0_u32, 3, 4, 5, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX][self.below(8)];
                bytes[1..5].copy_from_slice(&length.to_be_bytes());
            }
            // Cut short, the length as it was or as it is.
            1 => bytes.truncate(1 + self.below(bytes.len())),
            2 if bytes.len() > 5 => {
                bytes.truncate(5 + self.below(bytes.len() - 5));
                let length = (bytes.len() - 1) as u32;
                bytes[1..5].copy_from_slice(&length.to_be_bytes());
            }
            // Longer than it should be.
            3 => {
                bytes.extend(self.noise(9));
                let length = (bytes.len() - 1) as u32;
                bytes[1..5].copy_from_slice(&length.to_be_bytes());
            }
            // Bytes changed.
            _ => {
                for _ in 0..1 + self.below(4) {
                    let at = self.below(bytes.len());
                    if at > 0 {
                        bytes[at] = self.0.random();
                    }
                }
            }
        }
        bytes
    }
}

/// Whether the protocol's own reader calls the first frame of these bytes malformed; `None` when it is not even whole.
fn malformed(bytes: &[u8]) -> Option<bool> {
    let header = match Header::scan(bytes) {
        Err(_) => return Some(true),
        Ok(None) => return None,
        Ok(Some(header)) => header,
    };
    if Limits::default().check(header).is_err() {
        return Some(true);
    }
    let body = bytes.get(Header::LEN..header.total())?;
    match Frontend::parse(header.tag, body) {
        Ok(Frontend::Authentication(_)) => Some(true),
        Ok(_) => Some(false),
        Err(refusal) => Some(refusal.code.0 != "22021"),
    }
}

/// Sends everything, ends the sending, and gives what comes until the proxy closes.
async fn converse(stream: TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = stream.into_split();
    let mut said = Vec::new();
    let talk = async {
        let send = async {
            // The proxy may have closed in the middle.
            let _ = write.write_all(sent).await;
            let _ = write.shutdown().await;
        };
        let (_, received) = tokio::join!(send, read.read_to_end(&mut said));
        let _ = received;
    };
    timeout(Duration::from_secs(30), talk).await.expect("the connection ends by itself");
    said
}

/// The messages in what the proxy said: all whole, none hidden.
fn messages(said: &[u8], about: &str) -> Vec<Message> {
    let found = |word: &str| said.windows(word.len()).any(|w| w == word.as_bytes());
    assert!(!found(MARKER) && !found("_sv"), "{about}: {}", String::from_utf8_lossy(said));
    let mut out = Vec::new();
    let mut rest = said;
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        assert!(b"RSKZTDCEN123tnsIHcdGvV".contains(&rest[0]) && length >= 4, "{about}: {rest:?}");
        out.push(Message { tag: rest[0] as char, body: rest[5..1 + length].to_vec() });
        rest = &rest[1 + length..];
    }
    out
}

async fn healthy(canary: &mut Raw, about: &str) {
    assert_eq!(canary.lines(&query("select count(*) from t"), 1).await, ["T", "D 5", "C SELECT 1", "Z I"], "{about}");
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{about}");
}

/// Frames of one kind.
async fn bombard(running: Arc<Running>, tag: u8) {
    let mut canary = Raw::new(&running, "ana").await;
    let batch = if long() { 4 } else { 50 };
    let mut left = FRAMES;
    let mut ended = 0;
    for seed in 0.. {
        if left == 0 {
            break;
        }
        let mut chaos = Chaos(StdRng::seed_from_u64(seed << 8 | u64::from(tag)));
        let mut sent = Vec::new();
        let mut own = 0;
        // Terminate and password messages end the session themselves.
        if !matches!(tag, b'X' | b'p') {
            while own + 1 < batch.min(left) {
                sent.extend(chaos.formed(tag));
                own += 1;
                // What fails is skipped to Sync, and nothing of it is looked at.
                if chaos.below(2) == 0 {
                    sent.extend(sync());
                }
            }
        }
        sent.extend(sync());
        sent.extend(query("rollback"));
        let last = chaos.broken(tag);
        sent.extend_from_slice(&last);
        left -= own + 1;
        let raw = Raw::new(&running, "ana").await;
        let about = format!("{} seed {seed}: {last:?}", tag as char);
        let said = messages(&converse(raw.stream, &sent).await, &about);
        if malformed(&last) == Some(true) {
            ended += 1;
            let end = said.last().unwrap_or_else(|| panic!("{about}: nothing said"));
            assert_eq!((end.tag, end.field('C').as_deref()), ('E', Some("08P01")), "{about}");
            assert_eq!(end.field('S').as_deref(), Some("FATAL"), "{about}");
        }
        if seed % 25 == 0 {
            healthy(&mut canary, &about).await;
        }
    }
    healthy(&mut canary, &format!("after {}", tag as char)).await;
    assert!(ended > 5, "{}: only {ended} malformed frames", tag as char);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_kind() {
    let running = stage().await;
    for tags in [b"QPBD".as_slice(), b"CEHS", b"dcfF"] {
        let mut kinds = tokio::task::JoinSet::new();
        for tag in tags {
            kinds.spawn(bombard(Arc::clone(&running), *tag));
        }
        while let Some(done) = kinds.join_next().await {
            done.unwrap();
        }
    }
    running.eventually("every session has ended", async |running| running.proxy().sessions() == 0).await;
}

/// Kinds that no client may send, each of which ends its connection; and Terminate.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_no_kind() {
    let running = stage().await;
    let mut canary = Raw::new(&running, "ana").await;
    let rounds = if long() { FRAMES } else { 500 };
    for seed in 0..rounds as u64 {
        let mut chaos = Chaos(StdRng::seed_from_u64(seed));
        let tag = match seed % 4 {
            0 => b'X',
            1 => b'p',
            _ => chaos.0.random(),
        };
        let bytes = if seed % 8 == 0 { frame(tag, b"") } else { chaos.broken(tag) };
        let raw = Raw::new(&running, "ana").await;
        let about = format!("seed {seed}: {bytes:?}");
        let said = messages(&converse(raw.stream, &bytes).await, &about);
        if malformed(&bytes) == Some(true) {
            assert_eq!(said.last().and_then(|m| m.field('C')).as_deref(), Some("08P01"), "{about}: {said:?}");
        }
    }
    healthy(&mut canary, "at the end").await;
}

fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = (rest.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(rest);
    out
}

/// What a connection can begin with.
fn beginning(chaos: &mut Chaos, database: &str) -> Vec<u8> {
    let mut bytes = match chaos.below(8) {
        0 => packet(80_877_103, b""),
        1 => packet(80_877_104, b""),
        2 => {
            let noise = chaos.noise(300);
            packet(80_877_102, &noise)
        }
        3 => {
            let noise = chaos.noise(40);
            packet(0x0003_0000, &noise)
        }
        4 => chaos.noise(60),
        5 => startup(chaos.0.random(), &[("user", chaos.one(NAMES)), ("database", database)]),
        6 => {
            let (name, value) =
                (chaos.one(&["options", "replication", "search_path", "_pq_.x", "DateStyle", "x"]), chaos.one(SQL));
            startup(0, &[("user", "ana"), ("database", database), (name, value)])
        }
        _ => startup(0, &[("user", "ana"), ("database", database)]),
    };
    match chaos.below(5) {
        0 => {
            let at = chaos.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = chaos.0.random();
            }
        }
        1 => bytes.truncate(chaos.below(bytes.len() + 1)),
        2 => bytes.extend(chaos.noise(20)),
        _ => {}
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_begin_with_anything() {
    let running = stage().await;
    let mut canary = Raw::new(&running, "ana").await;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4_u64 {
        let running = Arc::clone(&running);
        workers.spawn(async move {
            for seed in 0..FRAMES as u64 / 4 {
                let mut chaos = Chaos(StdRng::seed_from_u64(seed * 4 + worker));
                let bytes = beginning(&mut chaos, running.database());
                let stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
                let said = converse(stream, &bytes).await;
                let about = format!("worker {worker} seed {seed}: {bytes:?}");
                // Answers to requests for encryption are single letters.
                let refusals = said.iter().take_while(|b| **b == b'N').count();
                let refusals =
                    if said.get(refusals..).is_some_and(|rest| rest.starts_with(&[0, 0])) { 0 } else { refusals };
                for message in messages(&said[refusals..], &about) {
                    match message.tag {
                        'R' | 'v' => {}
                        'E' => assert_eq!(message.field('S').as_deref(), Some("FATAL"), "{about}"),
                        other => panic!("{about}: {other}"),
                    }
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    healthy(&mut canary, "at the end").await;
}

/// Login messages: none but the right ones end in a session.
#[tokio::test(flavor = "multi_thread")]
async fn logins_with_anything() {
    let running = stage().await;
    let mut canary = Raw::new(&running, "ana").await;
    let rounds = if long() { FRAMES } else { 2_000 };
    let initial = |text: &str| {
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend_from_slice(&(text.len() as u32).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        frame(b'p', &body)
    };
    for seed in 0..rounds as u64 {
        let mut chaos = Chaos(StdRng::seed_from_u64(seed));
        let first = chaos.one(&[
            "n,,n=,r=abc",
            "y,,n=,r=abc",
            "p=tls-unique,,n=,r=abc",
            "n,a=eve,n=ana,r=abc",
            "n,,m=x,n=,r=abc",
            "n,,r=abc",
        ]);
        let mut sent = startup(0, &[("user", chaos.one(&["ana", "nobody"])), ("database", running.database())]);
        let mut login = match chaos.below(3) {
            0 => chaos.broken(b'p'),
            _ => initial(first),
        };
        if chaos.below(2) == 0 {
            login.extend(match chaos.below(3) {
                0 => frame(b'p', b"c=biws,r=abc,p=AAAA"),
                1 => chaos.broken(b'p'),
                _ => query("select * from t"),
            });
        }
        if chaos.below(4) == 0 {
            let at = chaos.below(login.len());
            login[at] = chaos.0.random();
        }
        sent.extend(login);
        let stream = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
        let about = format!("seed {seed}: {:?}", String::from_utf8_lossy(&sent));
        for message in messages(&converse(stream, &sent).await, &about) {
            match message.tag {
                // Requests for SASL and its continuation; never AuthenticationOk.
                'R' => assert!(matches!(message.body[3], 10 | 11), "{about}"),
                'E' => {
                    let code = message.field('C').unwrap();
                    assert!(["08P01", "28P01", "0A000", "22021"].contains(&code.as_str()), "{about}: {code}");
                }
                other => panic!("{about}: {other}"),
            }
        }
    }
    healthy(&mut canary, "at the end").await;
    // Bytes behind a good login are the session's.
    let mut raw = Raw::new(&running, "ana").await;
    raw.send(&[bind("", "", &[]), sync()].concat()).await;
    assert_eq!(raw.ready(1).await[0].line(), "E 26000");
}
