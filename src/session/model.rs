//! A model of PostgreSQL that knows the order of its messages and nothing else, to hold the engine against.
//!
//! In: what a client sends, in pieces. Out: what it hears, from the model itself and through the engine. Must never: be in a program
//! that serves; only tests and fuzzers see it. Its panics are their findings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use super::deciding::{Deciding, Holding, Surroundings};
use super::engine::{Engine, Outgoing};
use super::moving::Moving;
use super::scratch::Scratching;
use super::settings::Settings;
use crate::audit::Who;
use crate::error::Refusal;
use crate::identity::Caller;
use crate::plan::{Effect, ErrorPolicy, Plan, PositionMap, Progress, Repeated};
use crate::seal::{self, Parametrized, show_own};
use crate::upstream::message::OWN_NAMES;
use crate::upstream::{Kept, Traces};
use crate::wire::{Frontend, Header, Limits, Target, TransactionStatus, backend};
use crate::world::World;
use bytes::{Buf, BufMut, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Statements: `deny` is refused by policy, `err` fails when executed, `begin`, `commit`, `rollback`; anything else returns a row. `s` and `err`
/// may be sent as repeated ones.
pub struct Fake {
    repeated: HashMap<&'static str, Repeated>,
}

impl Fake {
    fn new() -> Self {
        let repeated = |statement: &'static str| {
            let (text, values) = Parametrized::of_own(show_own("x", statement));
            (statement, Repeated { text: Arc::new(text), values })
        };
        Self { repeated: ["s", "err"].map(repeated).into() }
    }
}

impl Surroundings for Fake {
    fn world(&self) -> Arc<World> {
        Arc::new(World {
            version: 1,
            catalog: Arc::default(),
            ruleset: Arc::default(),
            directory: Arc::default(),
            acknowledgements: Arc::default(),
            telling: Default::default(),
            sights: Default::default(),
        })
    }

    fn caller(&self, _: &World, _: &str, _: Option<&str>) -> Result<Arc<Caller>, Refusal> {
        Ok(Arc::new(Caller {
            user: "u".into(),
            iam: "i".into(),
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            project: None,
            purposes: BTreeSet::new(),
            before: None,
        }))
    }

    fn acknowledge(&self, _: &World, _: &str, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn plan(&self, sql: &str, progress: &mut dyn Progress) -> Result<Vec<Arc<Plan>>, Refusal> {
        let mut plans = Vec::new();
        for statement in statements(sql) {
            progress.inputs()?;
            if statement == "deny" {
                return Err(Refusal::denied("no"));
            }
            let effect = match statement {
                "begin" => Effect::Begin,
                "commit" => Effect::Commit,
                "rollback" => Effect::Rollback,
                _ => Effect::None,
            };
            let plan = Arc::new(Plan {
                holds_pid: false,
                leaves: crate::plan::Leaves::Nothing,
                sealed: show_own("x", statement),
                effect,
                tag: None,
                positions: PositionMap::default(),
                errors: ErrorPolicy::default(),
                notices: Vec::new(),
                instead: None,
                touched: Default::default(),
                returns_rows: true,
                quotable: crate::plan::Quotable::default(),
                gives: None,
                writing: None,
                world_version: 1,
                lacks_column: false,
                valid_until: None,
                table: None,
                repeated: self.repeated.get(statement).cloned(),
            });
            progress.admit(&plan)?;
            plans.push(plan);
        }
        Ok(plans)
    }
}

fn statements(sql: &str) -> Vec<&str> {
    sql.split(';').map(str::trim).filter(|s| !s.is_empty()).collect()
}

/// As much of a PostgreSQL backend as the order of its messages depends on.
pub struct Model {
    status: TransactionStatus,
    statements: HashMap<String, Option<String>>,
    portals: HashMap<String, Option<String>>,
    skip: bool,
    /// The unnamed portal is of a statement of the proxy's own.
    own: bool,
    /// In front of it stands the proxy: texts are sealed ones, and nothing is denied here.
    behind: bool,
}

enum Failure {
    Error,
}

impl Model {
    pub fn new(behind: bool) -> Self {
        Self {
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skip: false,
            own: false,
            behind,
        }
    }

    fn read(&self, sql: &str) -> Vec<String> {
        if !self.behind {
            return statements(sql).into_iter().map(str::to_owned).collect();
        }
        let inner = |s: &str| s.split('\'').nth(1).unwrap().to_owned();
        sql.split(";\n").filter(|s| !s.is_empty()).map(inner).collect()
    }

    fn fail(&mut self, out: &mut BytesMut) {
        backend::message(out, b'E', |b| b.put_slice(b"SERROR\0VERROR\0CXX000\0Mx\0\0"));
        if self.status == TransactionStatus::Block {
            self.status = TransactionStatus::Failed;
        }
    }

    fn allowed(&self, statement: &str) -> Result<(), Failure> {
        let exit = matches!(statement, "commit" | "rollback");
        if self.status == TransactionStatus::Failed && !exit { Err(Failure::Error) } else { Ok(()) }
    }

    fn execute(&mut self, statement: &str, out: &mut BytesMut) -> Result<(), Failure> {
        self.allowed(statement)?;
        match statement {
            "err" => return Err(Failure::Error),
            "begin" => {
                self.status = TransactionStatus::Block;
                backend::command_complete(out, "BEGIN");
            }
            "commit" | "rollback" => {
                let committed = statement == "commit" && self.status != TransactionStatus::Failed;
                self.status = TransactionStatus::Idle;
                self.portals.clear();
                backend::command_complete(out, if committed { "COMMIT" } else { "ROLLBACK" });
            }
            _ => {
                backend::message(out, b'D', |b| b.put_slice(b"\0\x01\0\0\0\x01y"));
                backend::command_complete(out, "SELECT 1");
            }
        }
        Ok(())
    }

    fn ready(&mut self, out: &mut BytesMut) {
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        }
        backend::ready_for_query(out, self.status);
    }

    /// What makes a session ready for its next holder.
    fn handed_over(&mut self, sql: &str, out: &mut BytesMut) {
        assert_eq!(self.status, TransactionStatus::Idle);
        let (_, tags) = seal::handover(sql.contains(";\n"), std::iter::empty());
        self.statements.remove("");
        for tag in tags {
            if tag == "SELECT 1" {
                backend::message(out, b'T', |b| b.put_i16(0));
                backend::message(out, b'D', |b| b.put_i16(0));
            }
            backend::command_complete(out, tag);
        }
        self.ready(out);
    }

    fn query(&mut self, sql: &str, out: &mut BytesMut) {
        if self.behind && sql.starts_with("RESET ALL") {
            return self.handed_over(sql, out);
        }
        let list = self.read(sql);
        if list.iter().any(|s| s == "deny") {
            self.fail(out);
            return self.ready(out);
        }
        self.statements.remove("");
        self.portals.remove("");
        if list.is_empty() {
            backend::message(out, b'I', |_| {});
        }
        for statement in list {
            if self.allowed(&statement).is_ok() && !matches!(&*statement, "begin" | "commit" | "rollback" | "err") {
                backend::message(out, b'T', |b| b.put_i16(0));
            }
            if self.execute(&statement, out).is_err() {
                self.fail(out);
                break;
            }
        }
        self.ready(out);
    }

    fn extended(&mut self, message: &Frontend<'_>, out: &mut BytesMut) -> Result<(), Failure> {
        let bare = |out: &mut BytesMut, tag| backend::message(out, tag, |_| {});
        match message {
            Frontend::Parse { name, sql, .. } => {
                if name.is_empty() {
                    self.statements.remove("");
                }
                let list = self.read(sql);
                if list.len() > 1 || list.iter().any(|s| s == "deny") || self.statements.contains_key(*name) {
                    return Err(Failure::Error);
                }
                if let Some(statement) = list.first() {
                    self.allowed(statement)?;
                }
                self.statements.insert((*name).to_owned(), list.into_iter().next());
                bare(out, b'1');
            }
            Frontend::Bind { portal, statement, .. } => {
                let bound = self.statements.get(*statement).cloned().ok_or(Failure::Error)?;
                if let Some(statement) = &bound {
                    self.allowed(statement)?;
                }
                if !portal.is_empty() && self.portals.contains_key(*portal) {
                    return Err(Failure::Error);
                }
                if portal.is_empty() {
                    let number = statement.strip_prefix(OWN_NAMES);
                    self.own = number.is_some_and(|number| number.parse::<u64>().is_ok());
                }
                self.portals.insert((*portal).to_owned(), bound);
                bare(out, b'2');
            }
            Frontend::Describe(target, name) => {
                let book = if *target == Target::Statement { &self.statements } else { &self.portals };
                let about = book.get(*name).ok_or(Failure::Error)?;
                // Of a statement with rows, in a transaction that has failed, PostgreSQL says nothing else (`exec_describe_statement_message`).
                if let (Target::Statement, Some(about)) = (target, about) {
                    self.allowed(about)?;
                }
                if *target == Target::Statement {
                    backend::message(out, b't', |b| b.put_i16(0));
                }
                match book.get(*name) {
                    // The answer to a Query begins with it.
                    Some(Some(bound)) if *target == Target::Portal && name.is_empty() && self.own && bound != "err" => {
                        backend::message(out, b'T', |b| b.put_i16(0));
                    }
                    _ => bare(out, b'n'),
                }
            }
            Frontend::Execute { portal, .. } => match self.portals.get(*portal).cloned().ok_or(Failure::Error)? {
                Some(statement) => self.execute(&statement, out)?,
                None => bare(out, b'I'),
            },
            Frontend::Close(target, name) => {
                let book = if *target == Target::Statement { &mut self.statements } else { &mut self.portals };
                book.remove(*name);
                bare(out, b'3');
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes whole messages and answers them.
    pub fn serve(&mut self, input: &mut BytesMut, out: &mut BytesMut) {
        while let Some(header) = Header::scan(input).unwrap() {
            if input.len() < header.total() {
                return;
            }
            let message = input.split_to(header.total());
            let message = Frontend::parse(header.tag, &message[Header::LEN..]).unwrap();
            match message {
                Frontend::Sync => {
                    self.skip = false;
                    self.ready(out);
                }
                _ if self.skip => {}
                Frontend::Query { sql } => self.query(sql, out),
                Frontend::FunctionCall => {
                    self.fail(out);
                    self.ready(out);
                }
                _ => {
                    if self.extended(&message, out).is_err() {
                        self.fail(out);
                        self.skip = true;
                    }
                }
            }
        }
    }
}

pub fn engine() -> Engine<Fake> {
    let who = Who {
        user: "u".into(),
        account: None,
        acting_for: None,
        database: "d".into(),
        application: "a".into(),
        client: None,
        session: 1,
        name: "s".into(),
        beginning: false,
        trail: Default::default(),
        statements: Default::default(),
    };
    let holding = Holding { statement_bytes: 1 << 20, statements: 100, portals: 100, longest: None };
    Engine::new(
        Deciding::new(Arc::new(Fake::new()), who, Settings::new(None, None), holding, Scratching::new(true)),
        Limits::default(),
    )
}

pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    backend::message(&mut out, tag, |b| b.put_slice(body));
    out.to_vec()
}

/// What was heard: tags, tags of completion, transaction status.
pub fn heard(mut bytes: BytesMut) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(header) = Header::scan(&bytes).unwrap() {
        let message = bytes.split_to(header.total());
        let body = &message[Header::LEN..];
        out.push(match header.tag {
            b'C' | b'Z' => format!("{}{}", header.tag as char, String::from_utf8_lossy(body)),
            tag => (tag as char).to_string(),
        });
    }
    assert!(bytes.is_empty());
    out
}

/// What a client hears that sends these messages straight to the model.
pub fn directly(messages: &[u8]) -> Vec<String> {
    let mut heard_directly = BytesMut::new();
    Model::new(false).serve(&mut BytesMut::from(messages), &mut heard_directly);
    heard(heard_directly)
}

/// How fast things move in one turn: bytes the client sends, whether the model serves, bytes of its answers that arrive.
pub type Turn = (usize, bool, usize);

/// What a client hears through the engine, with the messages cut and the answers delayed by `turns`, over and over.
pub fn through_the_engine(messages: &[u8], turns: &[Turn]) -> Vec<String> {
    through(engine(), messages, turns)
}

/// The same of a session that moves: somebody else has the warehouse's session whenever it goes.
pub fn through_a_moving_engine(messages: &[u8], turns: &[Turn]) -> Vec<String> {
    let mut engine = engine();
    engine.deciding.moving = Moving::new(&[]);
    through(engine, messages, turns)
}

fn through(mut engine: Engine<Fake>, messages: &[u8], turns: &[Turn]) -> Vec<String> {
    let mut model = Model::new(true);
    let mut berth = Some(Box::new(Kept::default()));
    let (mut input, mut out) = (BytesMut::new(), Outgoing::default());
    let (mut answered, mut arrived) = (BytesMut::new(), BytesMut::new());
    let mut rest = messages;
    let mut turn = turns.iter().cycle();
    let mut idle = 0;
    while idle < 50 {
        let &(n, serve, deliver) = turn.next().expect("a turn");
        let (head, tail) = rest.split_at(n.min(rest.len()));
        input.extend_from_slice(head);
        rest = tail;
        let before = (out.client.len(), input.len(), arrived.len());
        engine.client(&mut input, &mut out).unwrap();
        if out.upstream.is_empty() && arrived.is_empty() && engine.may_go(&mut out).unwrap() {
            berth = engine.detach();
            let kept = berth.as_mut().unwrap();
            (kept.holder, kept.traces) = (0, if kept.holder.is_multiple_of(2) { Traces::Some } else { Traces::None });
            model.statements.insert(String::new(), Some("err".to_owned()));
        }
        if engine.wants_session() {
            engine.attach(berth.take().unwrap(), &mut out).unwrap();
            engine.client(&mut input, &mut out).unwrap();
        }
        if serve || rest.is_empty() {
            model.serve(&mut out.upstream, &mut answered);
        }
        let deliver = if rest.is_empty() { answered.len() } else { deliver.min(answered.len()) };
        arrived.extend_from_slice(&answered[..deliver]);
        answered.advance(deliver);
        engine.upstream(&mut arrived, &mut out.client).unwrap();
        let moved = before != (out.client.len(), input.len(), arrived.len()) || !rest.is_empty();
        idle = if moved { 0 } else { idle + 1 };
    }
    assert!(engine.at_rest(), "everything was answered: {:?}", engine.queue);
    heard(out.client)
}

/// Hands the engine a client's bytes and a warehouse's, whatever they are. What it makes of them for the warehouse is well formed.
pub fn survive(sent: &[u8], answers: &[u8]) {
    let mut engine = engine();
    let mut out = Outgoing::default();
    let _ = engine.client(&mut BytesMut::from(sent), &mut out);
    let mut upstream = std::mem::take(&mut out.upstream);
    while let Some(header) = Header::scan(&upstream).unwrap() {
        let message = upstream.split_to(header.total());
        assert!(Frontend::parse(header.tag, &message[Header::LEN..]).is_ok(), "tag {}", header.tag);
        assert_ne!(header.tag, b'F', "FunctionCall is refused");
    }
    let _ = engine.upstream(&mut BytesMut::from(answers), &mut out.client);
}

/// One fuzzer's input: the first byte says what is tried, then how things move, then what is sent.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        let (sent, answers) = rest.split_at(rest.len() / 2);
        return survive(sent, answers);
    }
    let (pace, script) = rest.split_at(rest.len().min(8));
    let turns: Vec<Turn> = pace.iter().map(|b| (usize::from(b >> 3) + 1, b & 1 == 0, usize::from(b & 0x1e))).collect();
    if turns.is_empty() {
        return;
    }
    let mut sent: Vec<u8> = script.chunks_exact(2).flat_map(|pair| client_message(pair[0], pair[1])).collect();
    sent.extend(frame(b'S', b""));
    assert_eq!(through_the_engine(&sent, &turns), directly(&sent));
}

/// One of the messages the model understands.
pub fn client_message(kind: u8, names: u8) -> Vec<u8> {
    const TEXTS: [&str; 10] =
        ["s", "err", "deny", "begin", "commit", "rollback", "", "s;s", "s;err;s", "begin;s;commit"];
    let text = TEXTS[usize::from(names >> 4) % TEXTS.len()];
    let statement = ["", "a", "b", ""][usize::from(names & 3)];
    let portal = ["", "p", "q", ""][usize::from(names >> 2 & 3)];
    match kind % 16 {
        0 | 1 => frame(b'Q', format!("{text}\0").as_bytes()),
        2 | 3 => frame(b'P', format!("{statement}\0{text}\0\0\0").as_bytes()),
        4 | 5 => frame(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes()),
        6 | 7 => frame(b'E', format!("{portal}\0\0\0\0\0").as_bytes()),
        8 => frame(b'D', format!("S{statement}\0").as_bytes()),
        9 => frame(b'C', format!("S{statement}\0").as_bytes()),
        10 => frame(b'C', format!("P{portal}\0").as_bytes()),
        11 => frame(b'F', &[0; 10]),
        12 => frame(b'H', b""),
        13 => [
            frame(b'B', format!("\0{statement}\0\0\0\0\0\0\0").as_bytes()),
            frame(b'D', b"P\0"),
            frame(b'E', &[0; 5]),
            frame(b'S', b""),
        ]
        .concat(),
        14 => [frame(b'B', format!("\0{statement}\0\0\0\0\0\0\0").as_bytes()), frame(b'E', &[0; 5]), frame(b'S', b"")]
            .concat(),
        _ => frame(b'S', b""),
    }
}
