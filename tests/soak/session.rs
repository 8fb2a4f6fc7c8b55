//! A session of a user, the statements that active ones ask, and what may be answered.

use crate::Arena;
use crate::people::{Generation, PAID, inhabitants, name};
use crate::support::PASSWORD;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

/// Longest time a login or an answer may take, whatever the load.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session is sent away at the end of the statement it is at, which may be so many changes later.
pub const LATE: usize = 2;

/// What a statement came to: rows, an SQLSTATE, or `ended` when the session is over.
pub type Answer = Result<Vec<String>, String>;

/// Logs in from an address of the user's own, so that failures of one are not those of all.
pub async fn login(arena: &Arena, user: &str, number: usize, password: &str) -> Result<Client, String> {
    let local = IpAddr::V4(Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250 + 1) as u8));
    let connect = async {
        let socket = TcpSocket::new_v4().map_err(|e| e.to_string())?;
        socket.bind(SocketAddr::new(local, 0)).map_err(|e| e.to_string())?;
        let proxy = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arena.port);
        let stream = socket.connect(proxy).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let mut config = Config::new();
        config.user(user).password(password).dbname(&arena.database);
        let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|e| code(&e))?;
        tokio::spawn(connection);
        Ok(client)
    };
    tokio::time::timeout(PATIENCE, connect).await.unwrap_or_else(|_| Err("no answer".into()))
}

/// The SQLSTATE, or that the session is over.
pub fn code(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) if e.severity() != "FATAL" => e.code().code().to_owned(),
        Some(e) if ["57P01", "28000", "28P01"].contains(&e.code().code()) => "ended".into(),
        Some(e) => format!("FATAL {}: {}", e.code().code(), e.message()),
        None if error.is_closed() || std::error::Error::source(error).is_some_and(|e| e.is::<std::io::Error>()) => {
            "ended".into()
        }
        None => error.to_string(),
    }
}

/// The rows of a simple query, columns joined by `|`.
pub async fn rows(client: &Client, sql: &str) -> Answer {
    let messages = client.simple_query(sql).await.map_err(|e| code(&e))?;
    let row = |m: SimpleQueryMessage| match m {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// A user's session.
pub struct Session {
    pub user: usize,
    pub client: Client,
    /// Confirmed when he was last seen to be somebody.
    pub seen: usize,
    prepared: Option<Statement>,
}

/// The statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Prepared,
    Condition,
    Pay,
    Cursor,
    Join,
    Execute,
}

pub const KINDS: [Kind; 7] =
    [Kind::Whole, Kind::Prepared, Kind::Condition, Kind::Pay, Kind::Cursor, Kind::Join, Kind::Execute];

const PREPARED: &str = "SELECT name, ssn FROM people WHERE id >= $1 ORDER BY id";
const MINE: &str = "PREPARE mine AS SELECT string_agg(name, ',' ORDER BY id) FROM people";

impl Kind {
    /// Its statements, one after the other.
    fn texts(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &["SELECT current_user, count(*), min(id), max(id) FROM people"],
            Self::Prepared => &[PREPARED],
            Self::Condition => &["SELECT count(*) FROM people WHERE ssn LIKE 'number %'"],
            Self::Pay => &["SELECT count(*), max(amount) FROM pay"],
            Self::Cursor => {
                &["BEGIN", "DECLARE c CURSOR FOR SELECT ssn FROM people ORDER BY id", "FETCH 2 FROM c", "COMMIT"]
            }
            Self::Join => &[
                "SELECT count(*), count(DISTINCT p.ssn) FROM people p JOIN people q ON p.city = q.city WHERE q.id > 0",
            ],
            Self::Execute => &["EXECUTE mine"],
        }
    }
}

impl Session {
    /// Logs in and prepares.
    pub async fn open(arena: &Arena, user: usize) -> Result<Self, String> {
        let client = login(arena, &name(user), user, PASSWORD).await?;
        Ok(Self { user, client, seen: arena.history.confirmed(), prepared: None })
    }

    async fn ask(&mut self, arena: &Arena, kind: Kind) -> Answer {
        let client = &self.client;
        let texts = kind.texts();
        let sent = |texts: &[&'static str]| texts.iter().for_each(|text| arena.tally.sent(text));
        let answer = match kind {
            Kind::Prepared => {
                if self.prepared.is_none() {
                    self.prepared = Some(client.prepare(PREPARED).await.map_err(|e| code(&e))?);
                    rows(client, MINE).await?;
                }
                let statement = self.prepared.as_ref().unwrap();
                sent(texts);
                let found = client.query(statement, &[&0i32]).await.map_err(|e| code(&e))?;
                Ok(found.iter().map(|r| format!("{}|{}", r.get::<_, &str>(0), r.get::<_, &str>(1))).collect())
            }
            Kind::Cursor => {
                sent(texts);
                let answer = rows(client, &texts.join("; ")).await;
                if answer.is_err() {
                    let _ = rows(client, "ROLLBACK").await;
                }
                answer
            }
            Kind::Whole | Kind::Condition | Kind::Pay | Kind::Join | Kind::Execute => {
                sent(texts);
                rows(client, &texts.join("; ")).await
            }
        };
        if answer.is_ok() {
            texts.iter().for_each(|text| arena.tally.answered(text));
        }
        answer
    }

    /// Asks and holds the answer against what it may be; false when the session is over, rightly or not.
    pub async fn check(&mut self, arena: &Arena, kind: Kind) -> bool {
        // What `Execute` prepares first is not an answer to it.
        let kind = if kind == Kind::Execute && self.prepared.is_none() { Kind::Prepared } else { kind };
        let from = arena.history.confirmed();
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.ask(arena, kind)).await;
        let took = began.elapsed();
        let answer = answer.unwrap_or_else(|_| Err("no answer".into()));
        let ended = answer.as_ref().is_err_and(|code| code == "ended") || self.client.is_closed();
        if ended && arena.history.was_disabled(self.user, self.seen.min(from).saturating_sub(LATE)) {
            arena.tally.sent_away();
            return false;
        }
        let unreached = |code: &str| {
            let code = code.strip_prefix("FATAL ").unwrap_or(code);
            ["ended", "no answer"].contains(&code) || ["57P", "08"].iter().any(|class| code.starts_with(class))
        };
        if answer.as_ref().is_err_and(|code| unreached(code)) && arena.was_away(began) {
            arena.tally.outage();
            return false;
        }
        // A policy that changed meanwhile is confirmed by nobody: its tables are refused until the warehouse is back.
        if answer == Err("42501".into()) && arena.was_away(began) {
            arena.tally.outage();
            return true;
        }
        let (possible, user) = (arena.history.since(from), self.user);
        let disabled = |g: &Arc<Generation>| g.users[user].disabled;
        let refused = matches!(answer.as_ref().map_err(String::as_str), Err("28000" | "57P01" | "42501"));
        if refused && possible.iter().any(disabled) {
            arena.tally.sent_away();
            return false;
        }
        // Between its declaration and its reading, or its Bind and its Execute, the decision has changed: it has to be done again.
        let again = match kind {
            Kind::Cursor => "0A000",
            _ => "42501",
        };
        if [Kind::Cursor, Kind::Prepared].contains(&kind) && possible.len() > 1 && answer == Err(again.into()) {
            arena.tally.interrupted();
            return true;
        }
        let expected = |g: &Arc<Generation>| !disabled(g) && answer == expected(user, kind, g);
        if possible.iter().any(expected) {
            self.seen = from;
            arena.tally.right(kind, took, possible.len() > 1);
            return true;
        }
        let wanted: Vec<Answer> = possible.iter().map(|g| self::expected(user, kind, g)).collect();
        arena.tally.wrong(format!(
            "{} asked {kind:?} and got {answer:?}, not one of {wanted:?} (generations {from} to {}, disabled in {})",
            name(user),
            from + possible.len() - 1,
            possible.iter().filter(|g| disabled(g)).count()
        ));
        !ended
    }
}

/// What a user is to be answered at some time.
fn expected(user: usize, kind: Kind, generation: &Generation) -> Answer {
    let about = &generation.users[user];
    let (city, n) = (about.city, inhabitants(about.city));
    let ssn = |k: usize| if about.auditor { format!("number {city}-{k}") } else { generation.mask() };
    let names = (1..=n).map(|k| format!("p{city}-{k}"));
    Ok(match kind {
        Kind::Whole => vec![format!("{}|{n}|{}|{}", name(user), city * 100 + 1, city * 100 + n)],
        Kind::Prepared => names.enumerate().map(|(k, name)| format!("{name}|{}", ssn(k + 1))).collect(),
        Kind::Condition => vec![if about.auditor { n } else { 0 }.to_string()],
        Kind::Pay if about.payroll => vec![format!("{PAID}|{}", PAID * 10)],
        Kind::Pay => return Err("42P01".into()),
        Kind::Cursor => vec![ssn(1), ssn(2)],
        Kind::Join => vec![format!("{}|{}", n * n, if about.auditor { n } else { 1 })],
        Kind::Execute => vec![names.collect::<Vec<_>>().join(",")],
    })
}

/// The sessions that will be active.
pub async fn open(arena: &Arc<Arena>) -> Vec<Session> {
    open_all(arena, arena.options.active, 0).await
}

/// So many sessions of users in turn.
pub async fn open_all(arena: &Arc<Arena>, count: usize, first: usize) -> Vec<Session> {
    let mut opened = Vec::new();
    let mut opening = JoinSet::new();
    for number in 0..count {
        if opening.len() >= crate::AT_ONCE {
            opened.extend(opening.join_next().await.and_then(Result::unwrap));
        }
        let arena = Arc::clone(arena);
        opening.spawn(async move {
            let user = (first + number) % arena.options.users;
            match Session::open(&arena, user).await {
                Ok(mut session) => {
                    session.check(&arena, Kind::Whole).await;
                    Some(session)
                }
                Err(code) => {
                    arena.tally.wrong(format!("{} cannot log in: {code}", name(user)));
                    None
                }
            }
        });
    }
    while let Some(session) = opening.join_next().await {
        opened.extend(session.unwrap());
    }
    opened
}

/// Logs a user in again who was sent away, as soon as he may; tries once while he may not.
pub async fn again(arena: &Arena, user: usize, tries: bool) -> Option<Session> {
    if tries {
        let from = arena.history.confirmed();
        let refused = Session::open(arena, user).await;
        match refused {
            Err(code) if code == "ended" => {}
            Err(_) if arena.was_away(Instant::now()) => {}
            Err(code) => arena.tally.wrong(format!("{} cannot log in: {code}", name(user))),
            Ok(_) if arena.history.is_disabled(user, from) => {
                arena.tally.wrong(format!("{} is disabled and logged in", name(user)));
            }
            Ok(session) => return Some(session),
        }
    }
    loop {
        if arena.is_over() && !arena.history.last().users[user].disabled {
            return None;
        }
        let from = arena.history.confirmed();
        if arena.history.was_disabled(user, from) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        match Session::open(arena, user).await {
            Ok(session) => return Some(session),
            Err(_) if arena.history.was_disabled(user, from) => {}
            Err(_) if arena.was_away(Instant::now()) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(code) => {
                arena.tally.wrong(format!("{} cannot log in again: {code}", name(user)));
                return None;
            }
        }
    }
}

/// Asks until the time is over.
pub async fn work(arena: &Arena, session: Session, number: usize) {
    let mut dice = StdRng::seed_from_u64(arena.options.seed.wrapping_add(1000 + number as u64));
    let mut session = Some(session);
    let user = number % arena.options.users;
    while !arena.is_over() {
        let Some(current) = &mut session else {
            session = again(arena, user, number < arena.options.users).await;
            if session.is_none() {
                return;
            }
            continue;
        };
        if !current.check(arena, KINDS[dice.random_range(0..KINDS.len())]).await {
            session = None;
            continue;
        }
        let most = arena.options.pause.as_millis() as u64;
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..=most))).await;
    }
}
