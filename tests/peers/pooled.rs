//! A BI server's one login, two of its users, and one session of the proxy for both, behind PgBouncer pooling transactions. What each is
//! answered is what he is answered on a connection of his own: the attack list of settings, protocol, identity functions and caches.

use crate::bouncer::Bouncer;
use crate::raw::{Raw, query};
use crate::stage::{rows, stage, try_rows, user, verifier};
use crate::support::Running;
use hmac::{Hmac, Mac as _};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// `bi` says for whom by setting, `gate` by a local one alone, `signer` by comment, `namer` by its name. None of them sees anybody himself.
const ACTORS: &str = "impersonation:\n\
    - {login: bi, groups: [Staff]}\n\
    - {login: gate, groups: [Staff], by: [local]}\n\
    - {login: signer, groups: [Staff], by: [comment], key: {file: secrets/master}}\n\
    - {login: namer, groups: [Staff], by: [application_name], key: {file: secrets/master}}\n";
const KEY: &[u8] = b"the same master secret in every test";

const NAMES: &str = "SELECT current_user, string_agg(name, ' ' ORDER BY id), min(ssn) FROM emp";
const ANA: &str = "ana|Ann Cy|masked";
const BOB: &str = "bob|Bob|masked";

fn signed(login: &str, user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let body = format!("user={user} expires={}", now + 120);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{login}\n{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("{body} signature={hex}")
}

fn comment(user: &str) -> String {
    format!("/*sqlveil {}*/", signed("signer", user))
}

async fn running() -> Running {
    let stage = stage().await.config(ACTORS);
    ["bi", "gate", "signer", "namer"]
        .iter()
        .fold(stage, |stage, login| stage.raw_user(&user(login, "groups: []")))
        .start()
        .await
}

/// One session of the proxy for each login.
fn one_each(running: &Running, settings: &str) -> Bouncer {
    let verifier = verifier();
    let logins = ["bi", "gate", "signer", "namer"].map(|name| (name, verifier));
    Bouncer::before(running.port, &logins, &format!("pool_mode = transaction\ndefault_pool_size = 1\n{settings}"))
}

/// How a user is asked for.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// `/*sqlveil … */` before each statement.
    Comment,
    /// `SET LOCAL` in a transaction around it.
    Local,
    /// `SET sqlveil.user` before it, on one connection of the tool's own.
    Set,
}

type Answer = Result<Vec<String>, String>;

/// A statement for a user, and its answer.
async fn ask(client: &Client, way: Way, user: &str, sql: &str) -> Answer {
    match way {
        Way::Comment => try_rows(client, &format!("{}{sql}", comment(user))).await,
        Way::Set => {
            try_rows(client, &format!("SET sqlveil.user = '{user}'")).await.unwrap();
            let answer = try_rows(client, sql).await;
            // A statement may have left a transaction open.
            try_rows(client, "ROLLBACK").await.unwrap();
            answer
        }
        Way::Local => {
            try_rows(client, "BEGIN").await.unwrap();
            try_rows(client, &format!("SET LOCAL sqlveil.user = '{user}'")).await.unwrap();
            let answer = try_rows(client, sql).await;
            try_rows(client, "ROLLBACK").await.unwrap();
            answer
        }
    }
}

/// The same on a connection of the user's own.
async fn alone(running: &Running, way: Way, user: &str, sql: &str) -> Answer {
    let client = running.client(user).await;
    if matches!(way, Way::Local) {
        try_rows(&client, "BEGIN").await.unwrap();
    }
    try_rows(&client, sql).await
}

/// Settings (19; those that PgBouncer keeps for each client are given back), several statements at once (23), who one is (29), the same text for two (30), and what sessions keep.
const ATTACKS: &[&str] = &[
    NAMES,
    "SELECT * FROM emp ORDER BY id",
    "SELECT count(*), count(DISTINCT city) FROM emp",
    "SELECT ssn FROM emp WHERE ssn = 'number 1' OR ssn = 'number 2'",
    "SET ROLE bob",
    "SET ROLE ana; SELECT current_user",
    "SET SESSION AUTHORIZATION bob; SELECT current_user",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET ROLE",
    "SELECT set_config('role', 'bob', false)",
    "SELECT set_config('sqlveil.user', 'bob', false)",
    "SELECT set_config('search_path', 'pg_temp', false)",
    "SET search_path = pg_temp, public; SELECT count(*) FROM emp",
    "SET search_path = sqlveil; SELECT count(*) FROM public.emp",
    "SET standard_conforming_strings = off",
    "SET client_encoding = 'LATIN1'",
    "SET row_security = off",
    "SET session_replication_role = replica",
    "SET client_min_messages = debug5",
    "SET DateStyle = 'German'; SELECT DATE '2024-03-01', min(born) FROM emp; RESET DateStyle",
    "SELECT DATE '2024-03-01', min(born) FROM emp",
    "SET TimeZone = 'Asia/Tokyo'; SELECT max(seen) FROM emp WHERE id = 1; RESET TimeZone",
    "SELECT max(seen) FROM emp WHERE id = 1",
    "SET bytea_output = 'escape'; SET extra_float_digits = -15; SET IntervalStyle = 'sql_standard'",
    "SELECT photo, pi(), interval '1 day' FROM emp WHERE id < 3",
    "SET statement_timeout = 1",
    "SELECT count(*) FROM ticks a, ticks b WHERE a.n <= b.n",
    "SET default_transaction_read_only = on",
    "CREATE TEMP TABLE loot AS SELECT * FROM emp; SELECT count(*) FROM loot",
    "SELECT * FROM loot",
    "SELECT * FROM pg_temp.loot",
    "SELECT count(*) FROM pg_class WHERE relname = 'loot'",
    "CREATE TEMP TABLE emp (name text)",
    "CREATE TEMP TABLE emp (id int, name text, ssn text); INSERT INTO emp VALUES (1, 'x', 'y'); SELECT name FROM emp ORDER BY 1",
    "SELECT name FROM emp ORDER BY 1",
    "CREATE TEMP TABLE text (x int); CREATE TEMP VIEW v AS SELECT 1",
    "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT name FROM emp ORDER BY id; COMMIT; FETCH ALL FROM held",
    "FETCH ALL FROM held",
    "SELECT count(*) FROM pg_cursors",
    "CLOSE ALL",
    "SELECT current_user, session_user, user, current_role",
    "SELECT current_setting('role'), current_setting('session_authorization'), current_setting('is_superuser')",
    "SELECT has_table_privilege('emp', 'SELECT'), has_table_privilege('notes', 'INSERT'), has_table_privilege('hidden', 'SELECT')",
    "SELECT has_table_privilege('bob', 'emp', 'SELECT')",
    "SELECT has_column_privilege('emp', 'ssn', 'UPDATE'), pg_has_role('bob', 'USAGE')",
    "INSERT INTO notes (author) SELECT current_user",
    "SELECT count(*) FROM sqlveil.my_access",
    "SELECT table_name FROM information_schema.table_privileges WHERE grantee = current_user ORDER BY 1",
    "SELECT 1; SELECT name FROM emp ORDER BY id; SELECT current_user",
    "",
    ";;",
    "SELECT name FROM emp; SELECT * FROM hidden",
    "EXPLAIN SELECT * FROM emp",
    "SELECT pg_backend_pid() IS NULL, pg_terminate_backend(pg_backend_pid())",
    "LISTEN x",
    "SELECT pg_advisory_lock(1)",
    "SELECT lastval()",
    "DEALLOCATE ALL",
    "RESET ALL",
    "DISCARD ALL",
    NAMES,
];

/// Every attack for one, then for the other, on one session of the proxy; each has to get what he gets by himself.
async fn attack(running: &Running, client: [&Client; 2], way: Way) {
    // What ends the transaction ends the turn.
    let leaves = |sql: &str| matches!(way, Way::Local) && sql.contains("COMMIT");
    for sql in ATTACKS.iter().filter(|sql| !leaves(sql)) {
        for (user, client) in [("ana", client[0]), ("bob", client[1])] {
            let (wanted, got) = (alone(running, way, user, sql).await, ask(client, way, user, sql).await);
            assert_eq!(got, wanted, "{way:?} {user}: {sql}");
        }
    }
    for (user, client, wanted) in [("ana", client[0], ANA), ("bob", client[1], BOB)] {
        assert_eq!(ask(client, way, user, NAMES).await, Ok(vec![wanted.to_owned()]), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_with_signed_comments() {
    let running = running().await;
    let bouncer = one_each(&running, "");
    let database = running.database();
    let (one, other) = (bouncer.client("signer", database).await, bouncer.client("signer", database).await);
    attack(&running, [&one, &other], Way::Comment).await;
    assert_eq!(rows(&one, NAMES).await, ["signer|NULL|NULL"], "without a comment it is the login's own");
    assert_eq!(running.proxy().sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_with_local_settings() {
    let running = running().await;
    let bouncer = one_each(&running, "");
    let database = running.database();
    let (one, other) = (bouncer.client("gate", database).await, bouncer.client("gate", database).await);
    attack(&running, [&one, &other], Way::Local).await;
    assert_eq!(rows(&one, NAMES).await, ["gate|NULL|NULL"], "without it is the login's own");
    // What would go on for the next client is not taken.
    for sql in ["SET sqlveil.user = 'ana'", "SET SESSION sqlveil.user = 'ana'", "BEGIN; SET sqlveil.user = 'ana'"] {
        assert_eq!(try_rows(&one, sql).await.unwrap_err(), "42501", "{sql}");
        try_rows(&one, "ROLLBACK").await.unwrap();
        assert_eq!(rows(&other, NAMES).await, ["gate|NULL|NULL"], "{sql}");
    }
    let option = running.client_config("gate").options("-c sqlveil.user=ana").connect(tokio_postgres::NoTls).await;
    assert_eq!(option.map(drop).unwrap_err().as_db_error().unwrap().code().code(), "42501");
    assert_eq!(running.proxy().sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_on_one_connection_of_the_tool() {
    let running = running().await;
    let client = running.client("bi").await;
    attack(&running, [&client, &client], Way::Set).await;
}

/// Two callers at once, each in a hurry: simple, extended, in transactions, prepared by SQL.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_never_answered_as_the_other() {
    let running = running().await;
    let bouncer = one_each(&running, "");
    let mut all = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (user, wanted) = if n % 2 == 0 { ("ana", ANA) } else { ("bob", BOB) };
        let signs = n % 4 < 2;
        let client = bouncer.client(if signs { "signer" } else { "bi" }, running.database()).await;
        all.spawn(async move {
            let before = if signs { comment(user) } else { String::new() };
            let say = if signs { format!("{before}SELECT 1") } else { format!("SET LOCAL sqlveil.user = '{user}'") };
            for round in 0..25 {
                if round % 2 == 0 || !signs {
                    client.batch_execute("BEGIN").await.unwrap();
                    client.batch_execute(&say).await.unwrap();
                    assert_eq!(rows(&client, &format!("{before}{NAMES}")).await, [wanted]);
                    let sql = format!("{before}SELECT name FROM emp WHERE id >= $1 ORDER BY id");
                    let found = client.query_typed(&sql, &[(&1i32, Type::INT4)]).await.unwrap();
                    let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
                    assert_eq!(Some(&*found.join(" ")), wanted.split('|').nth(1));
                    client.batch_execute(if round % 3 == 0 { "ROLLBACK" } else { "COMMIT" }).await.unwrap();
                } else {
                    assert_eq!(rows(&client, &format!("{before}{NAMES}")).await, [wanted]);
                    let prepare = format!("{before}PREPARE mine{n} AS {NAMES}; EXECUTE mine{n}; DEALLOCATE mine{n}");
                    assert_eq!(rows(&client, &prepare).await, [wanted]);
                }
            }
        });
    }
    all.join_all().await;
    assert_eq!(running.proxy().sessions(), 2, "one for each login");
}

/// What one has prepared is found by the other, who gets his own rows of it.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow_the_switch() {
    let running = running().await;
    let bouncer = one_each(&running, "");
    let database = running.database();
    let (one, other) = (bouncer.client("signer", database).await, bouncer.client("signer", database).await);
    rows(&one, &format!("{}PREPARE shared AS {NAMES}", comment("ana"))).await;
    for _ in 0..3 {
        assert_eq!(rows(&other, &format!("{}EXECUTE shared", comment("bob"))).await, [BOB]);
        assert_eq!(rows(&one, &format!("{}EXECUTE shared", comment("ana"))).await, [ANA]);
        assert_eq!(rows(&other, "EXECUTE shared").await, ["signer|NULL|NULL"]);
    }
    let (one, other) = (bouncer.client("bi", database).await, bouncer.client("bi", database).await);
    let prepare = format!("BEGIN; SET LOCAL sqlveil.user = 'ana'; PREPARE shared AS {NAMES}; COMMIT");
    one.batch_execute(&prepare).await.unwrap();
    for (client, user, wanted) in [(&one, "ana", ANA), (&other, "bob", BOB), (&one, "bob", BOB), (&other, "ana", ANA)] {
        client.batch_execute(&format!("BEGIN; SET LOCAL sqlveil.user = '{user}'")).await.unwrap();
        assert_eq!(rows(client, "EXECUTE shared").await, [wanted]);
        client.batch_execute("COMMIT").await.unwrap();
    }
}

/// A setting for the session is for whoever comes next, unless PgBouncer clears after every transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_for_the_session_needs_a_pooler_that_clears() {
    let running = running().await;
    let bouncer = one_each(&running, "server_reset_query_always = 1");
    let database = running.database();
    let (one, other) = (bouncer.client("bi", database).await, bouncer.client("bi", database).await);
    for _ in 0..3 {
        assert_eq!(rows(&one, &format!("SET sqlveil.user = 'ana'; {NAMES}")).await, [ANA]);
        assert_eq!(rows(&other, NAMES).await, ["bi|NULL|NULL"]);
        assert_eq!(rows(&other, &format!("SET sqlveil.user = 'bob'; {NAMES}")).await, [BOB]);
        assert_eq!(rows(&one, NAMES).await, ["bi|NULL|NULL"]);
    }
}

/// PgBouncer keeps the name of each client's application and sets it when its turn comes, but none that is as long as a signature (1.18):
/// who was named so at startup is nobody, never somebody else. Who sets it in the session has it until the pooler clears the session.
#[tokio::test(flavor = "multi_thread")]
async fn signed_names_are_never_the_next_clients() {
    let running = running().await;
    let database = running.database();
    let named = async |bouncer: &Bouncer, name: String| {
        let begun = bouncer.try_client("namer", database, |config| {
            config.application_name(&name);
        });
        begun.await.unwrap()
    };
    let name = |user: &str| format!("sqlveil {}", signed("namer", user));
    let own = "namer|NULL|NULL";
    let bouncer = one_each(&running, "");
    let (ana, bob) = (named(&bouncer, name("ana")).await, named(&bouncer, name("bob")).await);
    for _ in 0..3 {
        for (client, acting) in [(&ana, ANA), (&bob, BOB)] {
            let seen = rows(client, NAMES).await;
            assert!(seen == [acting] || seen == [own], "{seen:?}");
        }
    }
    // Pooling transactions, after somebody has set it himself: PgBouncer has been told, and gives those with other names theirs.
    let (setting, plain) = (bouncer.client("namer", database).await, named(&bouncer, "report".into()).await);
    let unnamed = bouncer.client("namer", database).await;
    for _ in 0..3 {
        let set = format!("SET application_name = '{}'; {NAMES}", name("ana"));
        assert_eq!(rows(&setting, &set).await, [ANA]);
        assert_eq!(rows(&unnamed, NAMES).await, [own]);
        assert_eq!(rows(&setting, &set).await, [ANA]);
        assert_eq!(rows(&plain, NAMES).await, [own]);
    }
    let sessions =
        Bouncer::before(running.port, &[("namer", verifier())], "pool_mode = session\ndefault_pool_size = 1");
    for (user, acting) in [("ana", ANA), ("bob", BOB), ("ana", ANA)] {
        let client = sessions.client("namer", database).await;
        assert_eq!(rows(&client, NAMES).await, [own]);
        client.batch_execute(&format!("SET application_name = '{}'", name(user))).await.unwrap();
        assert_eq!(rows(&client, NAMES).await, [acting]);
    }
}

/// As PostgreSQL reports every change of the name, at the end of what has changed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_name_is_reported_to_the_client_alone() {
    let running = running().await;
    let name = format!("sqlveil {}", signed("namer", "ana"));
    let mut raw =
        Raw::with(&running, 0, &[("user", "namer"), ("database", running.database()), ("application_name", "tool")])
            .await
            .unwrap();
    assert_eq!(raw.parameter("application_name"), Some("tool"));
    for (sql, told) in [
        ("SELECT 1".to_owned(), None),
        (format!("SET application_name = '{name}'"), Some(&*name)),
        ("SELECT 1".to_owned(), None),
        ("BEGIN; SET LOCAL application_name = 'report'".to_owned(), Some("report")),
        ("ROLLBACK".to_owned(), Some(&*name)),
        (format!("SET application_name = '{name}'; SELECT 1/0"), None),
        ("SET application_name = 'tool'".to_owned(), Some("tool")),
        (format!("SET application_name = '{name}'"), Some(&*name)),
    ] {
        raw.send(&query(&sql)).await;
        let reports = raw.ready(1).await.into_iter().filter(|message| message.tag == 'S');
        let names: Vec<String> = reports
            .map(|message| String::from_utf8(message.body).unwrap())
            .filter_map(|body| {
                body.strip_prefix("application_name\0").map(|name| name.trim_end_matches('\0').to_owned())
            })
            .collect();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), told.into_iter().collect::<Vec<_>>(), "{sql}");
    }
    let begun = [("user", "namer"), ("database", running.database()), ("application_name", &*name)];
    assert_eq!(Raw::with(&running, 0, &begun).await.unwrap().parameter("application_name"), Some(&*name));
    let seen = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%signature%'";
    assert_eq!(running.admin().query_one(seen, &[]).await.unwrap().get::<_, i64>(0), 0);
}
