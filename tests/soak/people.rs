//! Who there is, what each is to see at every point of the history of changes, and the documents that say so.

use crate::options::Options;
use crate::support::{ANYONE, PASSWORD, PrivatePostgres, Stage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlveil::identity::scram::Verifier;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

/// Cities, of which one sees one's own.
const CITIES: usize = 40;
/// Rows of `pay`, which those in Payroll see.
pub const PAID: usize = 25;
/// Most changes that can be told apart.
const MARKS: usize = 20_000;

/// Who lives in a city.
pub fn inhabitants(city: usize) -> usize {
    3 + city % 5
}

/// A user as he is at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub city: usize,
    /// In Payroll: sees `pay`.
    pub payroll: bool,
    /// In Auditors: sees numbers.
    pub auditor: bool,
    pub disabled: bool,
}

/// All of them, and which mask is in force.
#[derive(Debug, Clone)]
pub struct Generation {
    pub users: Vec<User>,
    /// The generation whose identities are meant.
    pub identities: usize,
    /// The generation whose policies are meant.
    pub policies: usize,
}

/// Every generation so far, and up to which one everything is in force.
pub struct History {
    all: RwLock<Vec<Arc<Generation>>>,
    confirmed: AtomicUsize,
}

impl History {
    pub fn new(users: usize, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let user = |_| User {
            city: dice.random_range(0..CITIES),
            payroll: dice.random_bool(0.5),
            auditor: dice.random_bool(0.2),
            disabled: false,
        };
        let first = Generation { users: (0..users).map(user).collect(), identities: 0, policies: 0 };
        Self { all: RwLock::new(vec![Arc::new(first)]), confirmed: AtomicUsize::new(0) }
    }

    /// From here on it may be in force.
    pub fn push(&self, generation: Generation) -> usize {
        let mut all = self.all.write().unwrap();
        all.push(Arc::new(generation));
        all.len() - 1
    }

    /// From here on nothing older is.
    pub fn confirm(&self, generation: usize) {
        self.confirmed.store(generation, Ordering::SeqCst);
    }

    pub fn confirmed(&self) -> usize {
        self.confirmed.load(Ordering::SeqCst)
    }

    pub fn last(&self) -> Arc<Generation> {
        Arc::clone(self.all.read().unwrap().last().unwrap())
    }

    /// What may have been in force since `from`.
    pub fn since(&self, from: usize) -> Vec<Arc<Generation>> {
        self.all.read().unwrap()[from..].to_vec()
    }

    /// Whether a user was disabled at any time since.
    pub fn was_disabled(&self, user: usize, from: usize) -> bool {
        self.all.read().unwrap()[from..].iter().any(|generation| generation.users[user].disabled)
    }

    /// Whether he was disabled all the time since.
    pub fn is_disabled(&self, user: usize, from: usize) -> bool {
        self.all.read().unwrap()[from..].iter().all(|generation| generation.users[user].disabled)
    }
}

impl Generation {
    /// What numbers are masked with.
    pub fn mask(&self) -> String {
        format!("hidden {}", self.policies)
    }

    /// What who watches sees.
    pub fn mark(&self) -> String {
        format!("{}|stamp {}", self.identities, self.policies)
    }

    /// The identity file.
    pub fn identity_file(&self, verifier: &str) -> String {
        let mut text = String::from("groups:\n- {name: Payroll}\n- {name: Auditors}\n- {name: Desk}\nusers:\n");
        writeln!(text, "- {{name: watch, verifier: '{verifier}', attributes: {{mark: ['{}']}}}}", self.identities)
            .unwrap();
        writeln!(text, "- {{name: {LOAD}, verifier: '{verifier}', attributes: {{city: ['city {LOAD_CITY}']}}}}")
            .unwrap();
        for (number, user) in self.users.iter().enumerate() {
            let groups = [(user.payroll, "Payroll"), (user.auditor, "Auditors")];
            let groups: Vec<&str> = groups.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            writeln!(
                text,
                "- {{name: {}, verifier: '{verifier}', groups: [{}], attributes: {{city: ['city {}']}}, disabled: {}}}",
                name(number),
                groups.join(", "),
                user.city,
                user.disabled
            )
            .unwrap();
        }
        text
    }

    /// The policy that changes.
    pub fn masks(&self) -> String {
        let mask = |key: &str, constant: &str, exceptions: &str| {
            format!(
                "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
                 config: {{fields: [{{type: columnTags, columnTag: {key}}}], maskingConfig: {{type: Constant, constant: '{constant}'}}}}\n\
                 {exceptions}circumstances: [{{type: columnTags, columnTag: {key}}}]\n"
            )
        };
        let numbers = mask("Number", &self.mask(), "    exceptions: {groups: [Auditors]}\n");
        format!("{numbers}---\n{}", mask("Stamp", &format!("stamp {}", self.policies), ""))
    }
}

/// Who does everything else, and his city.
pub const LOAD: &str = "load";
pub const LOAD_CITY: usize = 7;

pub fn name(user: usize) -> String {
    format!("user{user:04}")
}

/// The verifier of everybody's password: one for all, since making them is not what takes its time here.
pub fn verifier() -> String {
    Verifier::from_password(PASSWORD.as_bytes(), 4096, b"salt of the soak").to_string()
}

const ROWS: &str = "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: city, tag: Place}]}\ncircumstances: [{type: columnTags, columnTag: Place}]\n---\n\
    policyKey: marks\nname: marks\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: mark, tag: Mark}]}\ncircumstances: [{type: columnTags, columnTag: Mark}]\n---\n\
    policyKey: payroll\nname: payroll\ntype: subscription\nactions: {type: entitlements, entitlements: {operator: all, groups: [Payroll, Desk]}}\n\
    circumstances: [{type: tags, tag: Paid}]\n";

/// The warehouse and the documents; `people` in cities, `pay`, and `marks` that tell which documents are in force.
pub async fn stage(server: &'static PrivatePostgres, options: &Options) -> Stage {
    let people: Vec<String> = (0..CITIES).map(|city| format!("({city}, {})", inhabitants(city))).collect();
    let schema = format!(
        "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, city text NOT NULL, ssn text NOT NULL);
         INSERT INTO people SELECT c * 100 + k, 'p' || c || '-' || k, 'city ' || c, 'number ' || c || '-' || k
            FROM (VALUES {}) v(c, n), generate_series(1, n) k;
         CREATE TABLE pay (id int PRIMARY KEY, amount int NOT NULL); INSERT INTO pay SELECT i, i * 10 FROM generate_series(1, {PAID}) i;
         CREATE TABLE marks (mark text PRIMARY KEY, stamp text);
         INSERT INTO marks SELECT i::text, 'raw' FROM generate_series(0, {MARKS}) i; ANALYZE",
        people.join(", ")
    );
    let sessions = options.sessions();
    let stage = Stage::on(server).await.sql(&schema).await;
    let login = stage.service().0;
    // Everybody is at a desk, says a directory that is asked again and again, and whose other answers change.
    let desks = format!(
        "CREATE SCHEMA desk; CREATE TABLE desk.members (login text PRIMARY KEY, team text NOT NULL, chair int NOT NULL);
         INSERT INTO desk.members SELECT 'user' || lpad(i::text, 4, '0'), 'Desk', 0 FROM generate_series(0, {}) i;
         GRANT USAGE ON SCHEMA desk TO {login}; GRANT SELECT ON desk.members TO {login}",
        options.users
    );
    let directory = format!(
        "directories:\n  desk:\n    kind: sql\n    iam: local\n    refresh: 10s\n    grace: 10m\n    timeout: 30s\n    lookups: 16\n    \
         connection: {{host: 127.0.0.1, port: {}, database: {}, user: {login}, password: {{file: secrets/warehouse}}, \
         sslmode: disable, connect_timeout: 30s}}\n    \
         groups: SELECT team FROM desk.members WHERE login = $1\n    \
         attributes: SELECT 'chair', chair::text FROM desk.members WHERE login = $1",
        server.port(),
        stage.database
    );
    stage
        .sql(&desks)
        .await
        .config(&directory)
        .source("table: people\nschema: public\ntags: {table: [Open], columns: [{columnName: city, tags: [Place]}, {columnName: ssn, tags: [Number]}]}")
        .source("table: pay\nschema: public\ntags: {table: [Paid]}")
        .source("table: marks\nschema: public\ntags: {table: [Open], columns: [{columnName: mark, tags: [Mark]}, {columnName: stamp, tags: [Stamp]}]}")
        .tags(&["Open", "Place", "Number", "Paid", "Mark", "Stamp"])
        .policy(&format!("{ANYONE}circumstances: [{{type: tags, tag: Open}}]\n"))
        .policy(ROWS)
        .config(&format!("limits: {{sessions: {0}, sessions_per_user: {0}}}", sessions + 50))
        .config("audit: {folder: trail, mode: required, rotate: {size: 16MB}}")
        .pool(sessions + 20)
}
