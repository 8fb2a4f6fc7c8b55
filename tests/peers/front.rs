//! PgBouncer in front: clients, PgBouncer, the proxy. It knows the verifiers of the identity file and no password, and passes proofs on.

use crate::bouncer::{Bouncer, client};
use crate::papers::Papers;
use crate::raw::{Message, Raw, query};
use crate::stage::{rows, stage, try_rows, verifier};
use crate::support::Running;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::types::Type;

const NAMES: &str = "SELECT current_user, string_agg(name, ' ' ORDER BY id), min(ssn) FROM emp";

fn seen(user: &str) -> String {
    let names = if user.starts_with("ana") { "Ann Cy" } else { "Bob" };
    format!("{}|{names}|masked", user.split('+').next().unwrap())
}

async fn running() -> Running {
    let project = "projectKey: free\nname: Free\npurposes: [Free]\nmembers: [{type: user, name: ana}]\n";
    stage().await.purpose("Free").project(project).start().await
}

fn before(running: &Running, settings: &str) -> Bouncer {
    let verifier = verifier();
    let logins: Vec<(&str, &str)> = ["ana", "bob", "ana+free"].iter().map(|name| (*name, verifier)).collect();
    Bouncer::before(running.port, &logins, settings)
}

/// Asks until somebody else's server session is free, or has been given up.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pooling_sessions_each_client_has_one_whole_and_leaves_nothing() {
    let running = running().await;
    let bouncer = before(&running, "pool_mode = session\ndefault_pool_size = 1");
    for round in 0..3 {
        for user in ["ana", "bob"] {
            let client = bouncer.client(user, running.database()).await;
            assert_eq!(rows(&client, NAMES).await, [seen(user)]);
            assert_eq!(rows(&client, "SHOW DateStyle").await, ["ISO, MDY"], "{round}");
            assert_eq!(rows(&client, "SHOW search_path").await, ["\"$user\", public"]);
            assert_eq!(rows(&client, "SELECT count(*) FROM pg_prepared_statements").await, ["0"]);
            assert_eq!(try_rows(&client, "SELECT * FROM mine").await.unwrap_err(), "42P01");
            // Prepared by the driver and by the caller, a temporary table, settings, a cursor that is held: all in one session.
            let prepared = client.prepare("SELECT name FROM emp WHERE id >= $1 ORDER BY id").await.unwrap();
            let first: String = client.query(&prepared, &[&1i32]).await.unwrap()[0].get(0);
            assert_eq!(Some(&*first), seen(user).split(['|', ' ']).nth(1));
            let leave = "SET DateStyle = 'German'; SET search_path = sqlveil; CREATE TEMP TABLE mine AS SELECT * FROM public.emp; \
                PREPARE p AS SELECT count(*) FROM public.ticks; BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM public.emp; COMMIT";
            client.batch_execute(leave).await.unwrap();
            assert_eq!(rows(&client, "EXECUTE p").await, ["1000"]);
            if user == "ana" {
                client.batch_execute("SET sqlveil.project = 'free'").await.unwrap();
            }
            assert_eq!(rows(&client, "SHOW sqlveil.project").await, [if user == "ana" { "free" } else { "" }]);
        }
    }
    let other = bouncer.client("ana+free", running.database()).await;
    assert_eq!(rows(&other, "SHOW sqlveil.project").await, ["free"], "a login with a project is a pool of its own");
    assert_eq!(running.proxy().sessions(), 3, "one for each login, whoever came");
}

/// One client of many.
async fn busy(port: u16, user: &str, database: &str, number: usize) {
    let client = client(port, user, database).await;
    for round in 0..12 {
        match (number + round) % 4 {
            0 => assert_eq!(rows(&client, NAMES).await, [seen(user)]),
            1 => {
                // The unnamed statement: named ones need PgBouncer 1.21.
                let sql =
                    "SELECT current_user::text, string_agg(name, ' ' ORDER BY id), min(ssn) FROM emp WHERE id >= $1";
                let row = &client.query_typed(sql, &[(&1i32, Type::INT4)]).await.unwrap()[0];
                let cell = |at: usize| row.get::<_, String>(at);
                assert_eq!([cell(0), cell(1), cell(2)].join("|"), seen(user));
            }
            2 => {
                client
                    .batch_execute("BEGIN; CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT * FROM emp")
                    .await
                    .unwrap();
                assert_eq!(rows(&client, &NAMES.replace("emp", "mine")).await, [seen(user)]);
                client.batch_execute("DECLARE c CURSOR FOR SELECT name FROM mine ORDER BY id").await.unwrap();
                assert_eq!(rows(&client, "FETCH ALL FROM c").await.join(" "), seen(user).split('|').nth(1).unwrap());
                client.batch_execute("COMMIT").await.unwrap();
            }
            _ => {
                client.batch_execute("BEGIN; SET LOCAL DateStyle = 'German'").await.unwrap();
                assert_eq!(try_rows(&client, "SELECT * FROM hidden").await.unwrap_err(), "42P01");
                client.batch_execute("ROLLBACK").await.unwrap();
                assert_eq!(rows(&client, "SHOW DateStyle").await, ["ISO, MDY"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pooling_transactions_two_users_never_share_a_session() {
    let running = running().await;
    let bouncer = before(&running, "pool_mode = transaction\ndefault_pool_size = 2");
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (port, database) = (bouncer.port, running.database().to_owned());
        let user = if number % 2 == 0 { "ana" } else { "bob" };
        all.spawn(async move { busy(port, user, &database, number).await });
    }
    all.join_all().await;
    let sessions = running.proxy().sessions();
    assert!((2..=4).contains(&sessions), "two for each of two users at most: {sessions}");
}

/// What a client sets for its session stays in the server's session, which is the next client's: PgBouncer's to say, and of the same login.
#[tokio::test(flavor = "multi_thread")]
async fn pooling_transactions_settings_are_local_or_cleared() {
    let running = running().await;
    let database = running.database();
    let two = async |bouncer: &Bouncer| (bouncer.client("ana", database).await, bouncer.client("ana", database).await);
    let project = "SHOW sqlveil.project";

    let bouncer = before(&running, "pool_mode = transaction\ndefault_pool_size = 1");
    let (one, other) = two(&bouncer).await;
    one.batch_execute("BEGIN; SET LOCAL sqlveil.project = 'free'").await.unwrap();
    assert_eq!(rows(&one, project).await, ["free"]);
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&other, project).await, [""]);
    let acting = bouncer.client("ana+free", database).await;
    assert_eq!(rows(&acting, project).await, ["free"]);
    assert_eq!(rows(&other, project).await, [""]);

    let clearing = before(&running, "pool_mode = transaction\ndefault_pool_size = 1\nserver_reset_query_always = 1");
    let (one, other) = two(&clearing).await;
    one.batch_execute("SET sqlveil.project = 'free'; SET search_path = sqlveil").await.unwrap();
    one.batch_execute("CREATE TEMP TABLE mine (x int)").await.unwrap();
    assert_eq!(rows(&other, project).await, [""]);
    assert_eq!(rows(&other, "SHOW search_path").await, ["\"$user\", public"]);
    assert_eq!(try_rows(&other, "SELECT * FROM mine").await.unwrap_err(), "42P01");
}

async fn disable(running: &Running, user: &str, from: &str, to: &str) {
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (from, to) = (format!("{{name: '{user}',{from}"), format!("{{name: '{user}',{to}"));
    assert!(text.contains(&from));
    std::fs::write(&path, text.replace(&from, &to)).unwrap();
    running.proxy().reload_and_wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_is_out_at_once_and_nobody_else() {
    let running = running().await;
    let database = running.database();
    for mode in ["session", "transaction"] {
        let bouncer = before(&running, &format!("pool_mode = {mode}\ndefault_pool_size = 2"));
        let (ana, bob) = (bouncer.client("ana", database).await, bouncer.client("bob", database).await);
        assert_eq!(rows(&ana, NAMES).await, [seen("ana")]);
        assert_eq!(rows(&bob, NAMES).await, [seen("bob")]);
        disable(&running, "ana", "", " disabled: true,").await;
        assert!(try_rows(&ana, NAMES).await.is_err(), "{mode}");
        // PgBouncer takes its word for who he is; the proxy does not.
        let again = bouncer.try_client("ana", database, |_| ()).await;
        if let Ok(client) = again {
            assert!(try_rows(&client, NAMES).await.is_err(), "{mode}");
        }
        assert_eq!(rows(&bob, NAMES).await, [seen("bob")], "{mode}");
        disable(&running, "ana", " disabled: true,", "").await;
        eventually("ana is back", async || match bouncer.try_client("ana", database, |_| ()).await {
            Ok(client) => try_rows(&client, NAMES).await == Ok(vec![seen("ana")]),
            Err(_) => false,
        })
        .await;
    }
}

/// As libpq does it: who asks waits until the connection is closed. (PgBouncer drops the request of who does not.)
async fn cancel(port: u16, (process, secret): (i32, Vec<u8>)) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut out = [16i32, 80_877_102, process].map(i32::to_be_bytes).concat();
    out.extend(secret);
    stream.write_all(&out).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_goes_through_and_to_nobody_else() {
    let running = running().await;
    let bouncer = before(&running, "pool_mode = transaction\ndefault_pool_size = 2");
    let database = running.database();
    let mut ana = Raw::at(bouncer.port, 0, &[("user", "ana"), ("database", database)]).await.unwrap();
    let mut bob = Raw::at(bouncer.port, 0, &[("user", "bob"), ("database", database)]).await.unwrap();
    for raw in [&mut ana, &mut bob] {
        raw.send(&query("SELECT count(*) FROM generate_series(1, 100000000000)")).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    cancel(bouncer.port, ana.key.clone()).await;
    cancelled(&mut ana).await;
    let answered = tokio::time::timeout(Duration::from_millis(300), bob.next()).await;
    assert!(!matches!(answered, Ok(Some(message)) if message.tag == 'E'), "somebody else was cancelled");
    cancel(bouncer.port, bob.key.clone()).await;
    cancelled(&mut bob).await;
}

async fn cancelled(raw: &mut Raw) {
    let lines: Vec<String> = raw.ready(1).await.iter().map(Message::line).collect();
    assert_eq!(lines.iter().filter(|line| *line != "T").collect::<Vec<_>>(), ["E 57014", "Z I"]);
}

/// A PgBouncer that asks nobody for a password has none to pass on.
#[tokio::test(flavor = "multi_thread")]
async fn verifiers_alone_let_nobody_in() {
    let running = running().await;
    let bouncer = before(&running, "pool_mode = session\nauth_type = trust");
    if let Ok(client) = bouncer.try_client("ana", running.database(), |_| ()).await {
        assert!(try_rows(&client, NAMES).await.is_err());
    }
    assert!(bouncer.log().contains("SCRAM"), "{}", bouncer.log());
    let asking = before(&running, "pool_mode = session");
    for (user, password) in [("ana", "guess"), ("eve", "open sesame")] {
        let no = asking
            .try_client(user, running.database(), |config| {
                config.password(password);
            })
            .await;
        assert!(no.is_err(), "{user}");
    }
}

/// Between machines: PgBouncer proves itself with a certificate beside each caller's own proof, and checks the proxy's.
#[tokio::test(flavor = "multi_thread")]
async fn under_tls_with_a_certificate_of_its_own() {
    let papers = Papers::new();
    papers.client("pgbouncer", |_| ());
    let rules = format!(
        "{}\nauthentication:\n- {{connection: tls, method: scram-sha-256, client_certificate: verify-ca}}\n",
        papers.tls()
    );
    let running = stage().await.config(&rules).start().await;
    let (folder, verifier) = (papers.folder().display(), verifier());
    let secure = |with: &str| {
        // Its keys have to be readable for the account it runs as.
        for name in ["ca.crt", "pgbouncer.crt", "pgbouncer.key"] {
            open(&papers.folder().join(name));
        }
        open(papers.folder());
        let tls = format!("server_tls_sslmode = verify-ca\nserver_tls_ca_file = {folder}/ca.crt\n{with}");
        Bouncer::before(running.port, &[("ana", verifier)], &format!("pool_mode = transaction\n{tls}"))
    };
    let own = format!("server_tls_cert_file = {folder}/pgbouncer.crt\nserver_tls_key_file = {folder}/pgbouncer.key");
    let bouncer = secure(&own);
    let client = bouncer.client("ana", running.database()).await;
    assert_eq!(rows(&client, NAMES).await, [seen("ana")]);
    let stranger = secure("");
    let client = stranger.try_client("ana", running.database(), |_| ()).await;
    assert!(client.is_err() || try_rows(&client.unwrap(), NAMES).await.is_err());
}

fn open(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What PgBouncer 1.18 does not carry it refuses in its own words; nothing is lost in silence.
#[tokio::test(flavor = "multi_thread")]
async fn startup_options_are_refused_or_carried() {
    let running = running().await;
    let bouncer = before(&running, "pool_mode = session");
    let with = |options: &'static str| {
        bouncer.try_client("ana", running.database(), move |config| {
            config.options(options);
        })
    };
    match with("-c sqlveil.project=free").await {
        Ok(client) => assert_eq!(rows(&client, "SHOW sqlveil.project").await, ["free"]),
        Err(error) => {
            assert!(error.as_db_error().unwrap().message().contains("unsupported startup parameter"), "{error:?}")
        }
    }
    let named = bouncer
        .try_client("ana", running.database(), |config| {
            config.application_name("it's a name");
        })
        .await;
    assert_eq!(rows(&named.unwrap(), "SHOW application_name").await, ["it's a name"]);
}
