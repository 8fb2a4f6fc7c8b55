//! What a large catalog costs: the same questions of the same clients on the bare warehouse, through the proxy by somebody who sees all of
//! it, and by somebody who sees half; how long a snapshot takes, when a change is seen, and how much memory the proxy has.
//!
//! `cargo bench --bench catalog` makes 20,000 relations of 20 columns in a private PostgreSQL. `SQLVEIL_CATALOG=relations,columns,rounds`
//! measures another size. Ratios of medians, the three ways in turn within one run; the first round, which plans anew, stands apart. Needs
//! what `.ci/setup --test` installs. Not a criterion bench: a question takes seconds.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/support/mod.rs"]
mod support;

#[path = "../../tests/soak/process.rs"]
#[allow(dead_code)]
mod process;

use process::Process;
use sqlveil::catalog::Catalog;
use sqlveil::identity::scram::Verifier;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{PASSWORD, Stage};

/// Schemas, the first of which is `public`.
const SCHEMAS: usize = 10;
/// Relations that a transaction makes: each takes some locks until it ends.
const AT_ONCE: usize = 400;

/// One who sees everything, and one who sees every other relation, some of their columns masked.
const ALL: &str = "all";
const HALF: &str = "half";

struct Size {
    relations: usize,
    columns: usize,
    rounds: usize,
}

fn size() -> Size {
    let text = std::env::var("SQLVEIL_CATALOG").unwrap_or_else(|_| "20000,20,5".into());
    let numbers: Vec<usize> = text.split(',').map(|n| n.trim().parse().expect("a number")).collect();
    let [relations, columns, rounds] = numbers[..] else { panic!("SQLVEIL_CATALOG=relations,columns,rounds") };
    Size { relations, columns, rounds }
}

fn schema(of: usize, size: &Size) -> String {
    match of * SCHEMAS / size.relations {
        0 => "public".to_owned(),
        n => format!("s{n}"),
    }
}

/// A table of the schema `s3` with indexes and comments.
fn one(size: &Size) -> String {
    format!("t{}", size.relations * 7 / 400 * 20 + 12)
}

fn is_view(number: usize) -> bool {
    number % 20 == 19
}

/// Tables with primary keys and, some of them, indexes, foreign keys, checks, defaults, comments; every twentieth is a view.
fn relation(number: usize, size: &Size) -> String {
    let name = format!("{}.t{number}", schema(number, size));
    if is_view(number) {
        return format!("CREATE VIEW {name} AS SELECT * FROM {}.t{};\n", schema(number - 1, size), number - 1);
    }
    let kinds = ["int", "text", "varchar(20)", "date", "numeric(10,2)", "bigint", "timestamptz", "uuid", "text[]"];
    let mut columns = vec!["id int PRIMARY KEY".to_owned()];
    columns.extend((1..size.columns).map(|at| format!("c{at} {}", kinds[at % kinds.len()])));
    let mut sql = format!("CREATE TABLE {name} ({});\n", columns.join(", "));
    if number.is_multiple_of(4) {
        writeln!(sql, "CREATE INDEX ON {name} (c2); ALTER TABLE {name} ALTER c1 SET DEFAULT 'x'::text;").unwrap();
    }
    if number % 5 == 1 {
        let other = format!("{}.t{}", schema(number - 1, size), number - 1);
        writeln!(sql, "ALTER TABLE {name} ADD FOREIGN KEY (c9) REFERENCES {other} (id), ADD CHECK (c9 > 0);").unwrap();
    }
    if number % 10 == 2 {
        writeln!(sql, "COMMENT ON TABLE {name} IS 'number {number}'; COMMENT ON COLUMN {name}.c1 IS 'text';").unwrap();
    }
    sql
}

async fn stage(size: &Size) -> Stage {
    let mut stage = Stage::new().await;
    let service = stage.service().0;
    let schemas: Vec<String> = (1..SCHEMAS).map(|n| format!("s{n}")).collect();
    let (role, database) = ("bare", stage.database.clone());
    stage = stage
        .sql(&schemas.iter().map(|s| format!("CREATE SCHEMA {s};")).collect::<String>())
        .await
        .sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT CONNECT ON DATABASE {database} TO {role}"))
        .await;
    for chunk in (0..size.relations).collect::<Vec<_>>().chunks(AT_ONCE) {
        stage = stage.sql(&chunk.iter().map(|n| relation(*n, size)).collect::<String>()).await;
    }
    for schema in schemas.iter().map(String::as_str).chain(["public"]) {
        stage = stage
            .sql(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}, {service}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}, {service}"))
            .await;
    }
    stage = stage.sql("VACUUM ANALYZE").await.tags(&["Open", "Closed", "Secret"]);
    for number in 0..size.relations {
        let tag = if number.is_multiple_of(2) || is_view(number) { "Open" } else { "Closed" };
        stage = stage.source(&format!(
            "table: t{number}\nschema: {}\ntags: {{table: [{tag}], columns: [{{columnName: c2, tags: [Secret]}}]}}",
            schema(number, size)
        ));
    }
    // pgjdbc takes no fewer rounds.
    let verifier = Verifier::from_password(PASSWORD.as_bytes(), 4096, b"salt of the bench");
    stage
        .policy("policyKey: open\nname: open\ntype: subscription\nactions: {type: anyone}\ncircumstances: [{type: tags, tag: Open}]\n")
        .policy("policyKey: closed\nname: closed\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [All]}}\ncircumstances: [{type: tags, tag: Closed}]\n")
        .policy("policyKey: secret\nname: secret\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Secret}], maskingConfig: {type: Hash}}\n    exceptions: {groups: [All]}\n")
        .raw_group("{name: All}")
        .raw_user(&format!("{{name: {ALL}, verifier: '{verifier}', groups: [All]}}"))
        .raw_user(&format!("{{name: {HALF}, verifier: '{verifier}', groups: []}}"))
}

/// Milliseconds, in order, and how many rows there were.
type Asked = (Vec<f64>, String);

/// What was asked, by question and way.
#[derive(Default)]
struct Times(Vec<(String, BTreeMap<String, Asked>)>);

impl Times {
    fn add(&mut self, question: &str, way: &str, time: f64, rows: &str) {
        if !self.0.iter().any(|(known, _)| known == question) {
            self.0.push((question.to_owned(), BTreeMap::new()));
        }
        let (_, ways) = self.0.iter_mut().find(|(known, _)| known == question).unwrap();
        let entry = ways.entry(way.to_owned()).or_default();
        entry.0.push(time);
        entry.1 = rows.to_owned();
    }

    /// Runs a client that says a line for each question, way and round.
    fn asked(&mut self, mut command: Command) {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        let output = command.stdin(Stdio::null()).output().expect("the client runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        for line in said.lines() {
            let [question, way, time, rows] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            self.add(question, way, time.parse().expect("a number"), rows);
        }
    }

    fn print(&self) {
        println!(
            "\n{:<32} {:>9} {:>9} {:>9}   {:>6} {:>6}   {:>6} {:>6}",
            "ms, medians", "bare", ALL, HALF, ALL, "first", HALF, "first"
        );
        for (question, ways) in &self.0 {
            let of = |way: &str| {
                let (times, _) = &ways[way];
                let mut sorted = times[1..].to_vec();
                sorted.sort_by(f64::total_cmp);
                (times[0], sorted.get(sorted.len() / 2).copied().unwrap_or(times[0]))
            };
            let (bare, all, half) = (of("bare"), of(ALL), of(HALF));
            println!(
                "{question:<32} {:>9.1} {:>9.1} {:>9.1}   {:>6.2} {:>6.2}   {:>6.2} {:>6.2}   {} rows, {}",
                bare.1,
                all.1,
                half.1,
                all.1 / bare.1,
                all.0 / bare.0,
                half.1 / bare.1,
                half.0 / bare.0,
                ways["bare"].1,
                ways[HALF].1,
            );
            assert_eq!(ways["bare"].1, ways[ALL].1, "who sees everything sees it all: {question}");
        }
    }
}

/// A folder of `benches/catalog`.
fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/catalog").join(file)
}

fn java() -> Command {
    let driver = std::env::var("SQLVEIL_PGJDBC").unwrap_or_else(|_| "/usr/share/java/postgresql.jar".to_owned());
    assert!(Path::new(&driver).is_file(), "no pgjdbc at {driver}: .ci/setup --test installs it");
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-Xmx3g", "-cp", &driver]).arg(here("Metadata.java"));
    command
}

fn python() -> Command {
    let has = |python: &&&str| {
        Command::new(python).args(["-c", "import sqlalchemy, psycopg2"]).output().is_ok_and(|o| o.status.success())
    };
    let found = ["python3", "/usr/bin/python3"];
    let found = found.iter().find(has).expect("no SQLAlchemy with psycopg2: .ci/setup --test installs them");
    let mut command = Command::new(found);
    command.arg(here("reflect.py"));
    command
}

/// Megabytes of a process, by a line of `/proc/…/status`.
fn megabytes(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_default();
    found.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}

fn told(what: &str, time: Duration) {
    println!("{what:<64} {:>8.2} s", time.as_secs_f64());
}

/// What psql asks, a process each time; its rows are its lines.
fn psql(times: &mut Times, stage: &Stage, ways: &[(&str, u16)], rounds: usize, one: &str) {
    let questions = [
        r"\dt",
        r"\dt s*.*",
        &format!(r"\d s3.{one}"),
        "SELECT count(*) FROM information_schema.columns",
        "SELECT count(*) FROM pg_class",
        "SELECT 1",
    ];
    for question in questions {
        for _ in 0..rounds {
            for (way, port) in ways {
                let mut command = Command::new(stage.server().programs().join("psql"));
                command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port.to_string()]);
                command.args(["-U", way, "-d", &stage.database, "-c", question]).env("PGPASSWORD", PASSWORD);
                command.env_remove("PGOPTIONS").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
                let begin = Instant::now();
                let output = command.output().expect("psql runs");
                let time = begin.elapsed().as_secs_f64() * 1000.0;
                assert!(output.status.success(), "{question}: {}", String::from_utf8_lossy(&output.stderr));
                let lines = String::from_utf8_lossy(&output.stdout);
                let rows = if question.starts_with('\\') { lines.lines().count() } else { 1 };
                times.add(
                    &format!("psql {}", question.chars().take(26).collect::<String>()),
                    way,
                    time,
                    &rows.to_string(),
                );
            }
        }
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let measured = std::env::args().any(|arg| arg == "--bench");
    let size = if measured { size() } else { Size { relations: 2000, columns: 12, rounds: 1 } };
    let begin = Instant::now();
    let stage = stage(&size).await;
    let config = stage.write();
    println!("{} relations of {} columns", size.relations, size.columns);
    told("(made)", begin.elapsed());

    let snapshot = {
        let client = sqlveil::cli::demo::warehouse::admin(support::server(), &stage.database).await.expect("a client");
        let begin = Instant::now();
        let catalog = Catalog::load(&client).await.expect("a catalog");
        told("a snapshot of the catalog", begin.elapsed());
        catalog.relations.len()
    };
    println!("    {snapshot} relations, the system's included");
    let begin = Instant::now();
    let proxy = Process::start(&config, 10);
    told("from start to listening: documents, snapshot, probes", begin.elapsed());
    println!("    {} MB in use, at most {} MB", megabytes(proxy.pid(), "VmRSS:"), megabytes(proxy.pid(), "VmHWM:"));

    let (server, database) = (stage.server().port(), stage.database.clone());
    let ways = [("bare", server), (ALL, proxy.port), (HALF, proxy.port)];
    let rounds = size.rounds + 1;
    let mut times = Times::default();
    psql(&mut times, &stage, &ways, rounds, &one(&size));
    let password = PASSWORD.replace(' ', "%20");
    let mut command = java();
    command.arg(rounds.to_string()).arg(one(&size));
    for (way, port) in ways {
        command.arg(way).arg(format!("jdbc:postgresql://127.0.0.1:{port}/{database}?user={way}&password={password}"));
    }
    times.asked(command);
    let mut command = python();
    command.arg(rounds.min(4).to_string());
    for (way, port) in ways {
        command.arg(way).arg(format!("postgresql+psycopg2://{way}:{password}@127.0.0.1:{port}/{database}"));
    }
    times.asked(command);
    times.print();
    println!("    {} MB in use, at most {} MB", megabytes(proxy.pid(), "VmRSS:"), megabytes(proxy.pid(), "VmHWM:"));

    // A column more is in the catalog of somebody who sees the whole relation as soon as the snapshot knows it.
    let mut client = tokio_postgres::Config::new();
    client.host("127.0.0.1").port(proxy.port).dbname(&database).user(ALL).password(PASSWORD);
    let (client, connection) = client.connect(tokio_postgres::NoTls).await.expect("a client");
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await.unwrap();
    stage.admin().batch_execute("ALTER TABLE public.t0 ADD fresh int").await.unwrap();
    // The catalog is looked at every minute (`catalog.refresh`), and when somebody says so.
    let told_to = Command::new("kill").args(["-HUP", &proxy.pid().to_string()]).status().expect("kill runs");
    assert!(told_to.success());
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    while client.simple_query("SELECT fresh FROM public.t0").await.is_err() {
        let asked = Instant::now();
        client.simple_query("SELECT id FROM public.t1").await.unwrap();
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(begin.elapsed() < Duration::from_secs(120), "the change is never seen");
    }
    told("a new column, seen so long after SIGHUP", begin.elapsed());
    told("    longest statement meanwhile", longest);
    println!("    {} MB in use, at most {} MB", megabytes(proxy.pid(), "VmRSS:"), megabytes(proxy.pid(), "VmHWM:"));
    let (ended, log) = proxy.stop();
    assert!(process::report(&log, false) && ended, "the proxy's log holds errors");
}
