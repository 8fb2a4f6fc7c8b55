//! What is asked of a warehouse before it is served: a PostgreSQL that was altered lacks it, and so does another engine; each is refused with
//! a message that says what is missing.

use crate::support::{Running, Stage, server_of};
use crate::world::{login, runtime};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a superuser can do to a database, and what is then said of it.
const ALTERED: &[(&str, &str)] = &[
    (
        "UPDATE pg_proc SET proleakproof = true WHERE oid = 'pg_catalog.int4div(int4, int4)'::regprocedure",
        "no function that may raise is marked leakproof",
    ),
    ("ALTER FUNCTION pg_catalog.sha256(bytea) RENAME TO sha256_gone", "sha256() and what masks are made of"),
    (
        "CREATE OR REPLACE FUNCTION pg_catalog.lpad(text, int, text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS 'BEGIN RETURN $1; END'",
        "built-in functions are the server's own code",
    ),
    ("UPDATE pg_type SET typname = 'uuids' WHERE oid = 2950", "types have PostgreSQL's own numbers"),
    (
        "ALTER FUNCTION pg_catalog.jsonb_exists(jsonb, text) RENAME TO jsonb_there",
        "what the virtual catalog is made of",
    ),
];

async fn table(major: u32, database: &str) -> Stage {
    let stage = Stage::named(server_of(major), database, "template1").await;
    stage
        .sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
        .await
        .sources(&[("t", "{}")])
        .policy(crate::support::ANYONE)
        .user("ana", &[], &[])
}

/// Whether `sqlveil check` finds no error, and what it prints.
async fn checked(config: &Path) -> (bool, String) {
    let mut out = Vec::new();
    let fine = sqlveil::cli::check::run(config, &mut out, false).await.unwrap();
    // As one line, however it was set.
    let said = String::from_utf8(out).unwrap().replace('│', " ");
    // A line may end behind a hyphen.
    (fine, said.split_whitespace().collect::<Vec<_>>().join(" ").replace("- ", "-"))
}

pub fn altered(major: u32) {
    runtime().block_on(async {
        for (at, (alter, missing)) in ALTERED.iter().enumerate() {
            let stage = table(major, &format!("altered_{at}")).await;
            let (fine, said) = checked(&stage.write()).await;
            assert!(fine, "PostgreSQL {major}: {said}");
            let stage = stage.sql(&format!("SET allow_system_table_mods = on; {alter}")).await;
            let (fine, said) = checked(&stage.write()).await;
            assert!(
                !fine && said.contains(missing) && said.contains("cannot enforce"),
                "PostgreSQL {major}: {alter}: {said}"
            );
            // Another engine's name changes nothing of that.
            let (fine, said) = checked(&stage.connection("\n    engine: compatible").write()).await;
            assert!(!fine && said.contains(missing), "PostgreSQL {major}: {alter}: {said}");
        }
    });
}

/// A warehouse that comes back as something else is not served on; when it is itself again, it is.
pub fn replaced(major: u32) {
    let running: Running =
        runtime().block_on(async { table(major, "replaced").await.config("catalog: {refresh: 200ms}").start().await });
    let mut ana = login(&running, "ana");
    assert_eq!(ana.simple("SELECT * FROM t").rows(), ["1"]);
    let leakproof = |is: bool| {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sqlveil catalog' AND datname = current_database()";
        let sql = format!(
            "SET allow_system_table_mods = on; UPDATE pg_proc SET proleakproof = {is} WHERE oid = 'pg_catalog.int4div(int4, int4)'::regprocedure; {end}"
        );
        runtime().block_on(running.admin().batch_execute(&sql)).unwrap();
    };
    let mut until = |code: &str| {
        for _ in 0..100 {
            if login(&running, "ana").simple("SELECT * FROM t").code() == code
                && ana.simple("SELECT * FROM t").code() == code
            {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("never {code:?}");
    };
    leakproof(true);
    until("42P01");
    leakproof(false);
    until("");
}

/// PGlite: PostgreSQL compiled to run in JavaScript, one process for everybody who connects.
struct Lite {
    node: Child,
    port: u16,
}

impl Drop for Lite {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

const SERVE: &str = "
    import { PGlite } from '@electric-sql/pglite';
    import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
    const db = await PGlite.create();
    await db.exec('CREATE TABLE t (id int); INSERT INTO t VALUES (1)');
    const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(process.argv[2]), maxConnections: 10 });
    await server.start();
    console.log('ready');
    process.stdin.on('end', () => process.exit(0)).resume();
";

impl Lite {
    fn start(folder: &Path) -> Self {
        let modules = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/postgres/node_modules"));
        assert!(
            modules.join("@electric-sql/pglite-socket").is_dir(),
            "PGlite is not in {}: run .ci/setup --test",
            modules.display()
        );
        std::os::unix::fs::symlink(&modules, folder.join("node_modules")).unwrap();
        std::fs::write(folder.join("serve.mjs"), SERVE).unwrap();
        // A port that was free may be somebody's when it is listened on: then with another one.
        (0..3).find_map(|_| Self::listening(folder)).expect("it listens; what keeps it from that stands above")
    }

    fn listening(folder: &Path) -> Option<Self> {
        let port = sqlveil::cli::demo::private_postgres::free_port().unwrap();
        let mut node = Command::new("node")
            .args([folder.join("serve.mjs").as_os_str(), port.to_string().as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node runs");
        let mut said = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let mut complaints = node.stderr.take().unwrap();
        let lite = Self { node, port };
        if said.trim() == "ready" {
            return Some(lite);
        }
        drop(lite);
        let mut why = String::new();
        let _ = complaints.read_to_string(&mut why);
        eprintln!("{said}{why}");
        None
    }
}

/// With what makes it a pooler of sessions by its own word.
const POOLED: &str = "    engine: compatible\n    pooler: session\n";

#[test]
fn an_engine_whose_sessions_are_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lite = Lite::start(folder.path());
    let written = |engine: &str| {
        let config = format!(
            "listen: [\"127.0.0.1:0\"]\ngovernance: governance\nidentity: identity.yaml\nsecret: {{file: master}}\nconnections:\n  lite:\n    host: 127.0.0.1\n    \
             port: {}\n    database: postgres\n    user: postgres\n    sslmode: disable\n    temporary_tables: false\n{engine}",
            lite.port
        );
        let documents = [
            ("config.yaml", config.as_str()),
            ("master", "the same master secret in every test"),
            ("identity.yaml", "groups: []\nusers: []\n"),
            ("governance/policies/.keep", ""),
            ("governance/data/d.yaml", "connectionKey: lite\nsources:\n  - {table: t, schema: public}\n"),
        ];
        sqlveil::cli::demo::documents::write(folder.path(), &documents).unwrap();
        folder.path().join("config.yaml")
    };
    // It forgets what a session says of itself when it connects, and then everybody is served by one process.
    for (engine, missing) in
        [("", "drops settings"), ("    engine: compatible\n", "drops settings"), (POOLED, "DISCARD ALL")]
    {
        let (fine, said) = runtime().block_on(checked(&written(engine)));
        assert!(
            !fine && (said.contains(missing) || said.contains("setting") || said.contains("session")),
            "{engine}: {said}"
        );
        assert!(said.contains("connection `lite`") && !said.contains("warning: unknown"), "{said}");
    }
}
