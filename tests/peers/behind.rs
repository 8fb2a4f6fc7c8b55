//! PgBouncer behind: clients, the proxy, PgBouncer, PostgreSQL. Pooling sessions it works; otherwise the proxy says what is wrong.

use crate::bouncer::Bouncer;
use crate::stage::{rows, stage, try_rows};
use crate::support::{Running, Stage};
use sqlveil::cli::serve::Proxy;
use sqlveil::config::Config;
use std::time::Duration;
use tokio_postgres::Client;

const NAMES: &str = "SELECT current_user, string_agg(name, ' ' ORDER BY id), min(ssn) FROM emp";
const SESSION: &str = "pool_mode = session\ndefault_pool_size = 20";
const IGNORING: &str = "ignore_startup_parameters = search_path,default_transaction_read_only,row_security,transform_null_equals,\
    array_nulls,quote_all_identifiers,statement_timeout";
const POOLER: &str = "\n    pooler: session\n";

/// What the service login has to begin with.
async fn defaults(stage: Stage) -> Stage {
    let (login, database) = (stage.service().0, stage.database.clone());
    stage.sql(&format!("ALTER ROLE {login} IN DATABASE {database} SET search_path = pg_catalog, pg_temp")).await
}

fn behind(stage: &Stage, settings: &str) -> Bouncer {
    let (login, password) = stage.service();
    Bouncer::before(stage.server().port(), &[(&login, password)], settings)
}

/// What keeps the proxy from starting.
async fn problem(stage: Stage) -> String {
    let config = Config::load(&stage.write()).unwrap();
    match Proxy::start(config).await {
        Ok(_) => panic!("it starts"),
        Err(problems) => format!("{problems:?}"),
    }
}

/// What a session keeps from one statement to the next.
async fn whole(client: &Client, names: &str) {
    assert_eq!(rows(client, NAMES).await, [names]);
    assert_eq!(rows(client, "SHOW DateStyle").await, ["ISO, MDY"]);
    assert_eq!(try_rows(client, "SELECT * FROM mine").await.unwrap_err(), "42P01");
    let prepared = client.prepare("SELECT label FROM ticks WHERE n = $1").await.unwrap();
    for n in [1i32, 500, 1000] {
        let row = client.query_one(&prepared, &[&n]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("tick {n}"));
    }
    let leave = "SET DateStyle = 'German'; CREATE TEMP TABLE mine AS SELECT * FROM emp; PREPARE p AS SELECT count(*) FROM mine; \
        BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT n FROM ticks ORDER BY n; COMMIT";
    client.batch_execute(leave).await.unwrap();
    assert_eq!(rows(client, "FETCH 2 FROM c").await, ["1", "2"]);
    assert_eq!(rows(client, "SELECT DATE '2024-03-01'").await, ["01.03.2024"]);
    assert_eq!(rows(client, "EXECUTE p").await.len(), 1);
    // A table named like a type stands for nothing but itself.
    client.batch_execute("CREATE TEMP TABLE text (x int); CREATE TEMP TABLE int4 (x int)").await.unwrap();
    assert_eq!(
        rows(client, "SELECT name::text FROM emp WHERE id = 1::int4 UNION ALL SELECT 'x'").await.last().unwrap(),
        "x"
    );
    client.batch_execute("RESET ALL").await.unwrap();
    assert_eq!(rows(client, NAMES).await, [names]);
    let token = client.cancel_token();
    let endless = client.simple_query("SELECT count(*) FROM generate_series(1, 100000000000)");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (ended, ()) = tokio::join!(endless, cancel);
    assert_eq!(ended.unwrap_err().as_db_error().unwrap().code().code(), "57014");
    assert_eq!(rows(client, NAMES).await, [names]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pooling_sessions_it_is_as_without() {
    let stage = defaults(stage().await).await;
    let bouncer = behind(&stage, SESSION);
    let running: Running = stage.through(bouncer.port).connection(POOLER).start().await;
    for _ in 0..2 {
        let (ana, bob) = (running.client("ana").await, running.client("bob").await);
        tokio::join!(whole(&ana, "ana|Ann Cy|masked"), whole(&bob, "bob|Bob|masked"));
        drop((ana, bob));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Many at once: each with a server process of its own.
    let mut all = tokio::task::JoinSet::new();
    for n in 0..10 {
        let client = running.client(if n % 2 == 0 { "ana" } else { "bob" }).await;
        all.spawn(async move {
            let wanted = if n % 2 == 0 { "ana|Ann Cy|masked" } else { "bob|Bob|masked" };
            for _ in 0..10 {
                assert_eq!(rows(&client, NAMES).await, [wanted]);
            }
        });
    }
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_nobody_spoke_of_is_told() {
    // As PgBouncer comes: it takes no settings.
    let plain = stage().await;
    let bouncer = behind(&plain, SESSION);
    let said = problem(plain.through(bouncer.port)).await;
    assert!(said.contains("takes no settings") && said.contains("`pooler: session`"), "{said}");
    // Told to drop them in silence: the proxy would speak of another search path than the warehouse.
    let plain = stage().await;
    let bouncer = behind(&plain, &format!("{SESSION}\n{IGNORING}"));
    let said = problem(plain.through(bouncer.port)).await;
    assert!(said.contains("drops settings") && said.contains("`pooler: session`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_the_settings_is_told_which() {
    let plain = stage().await;
    let bouncer = behind(&plain, SESSION);
    let said = problem(plain.through(bouncer.port).connection(POOLER)).await;
    assert!(said.contains("search_path = 'pg_catalog, pg_temp'") && said.contains("ALTER ROLE"), "{said}");
    let limited = defaults(stage().await).await;
    let bouncer = behind(&limited, SESSION);
    let said = problem(limited.through(bouncer.port).connection(&format!("{POOLER}    query_timeout: 7s\n"))).await;
    assert!(said.contains("statement_timeout = '7000'"), "{said}");
}

/// One server process for two sessions would be one caller's prepared statements for another.
#[tokio::test(flavor = "multi_thread")]
async fn pooling_transactions_nobody_gets_a_session() {
    let transactions = defaults(stage().await).await;
    let bouncer = behind(&transactions, "pool_mode = transaction\ndefault_pool_size = 20");
    let running = transactions.through(bouncer.port).connection(POOLER).start().await;
    for user in ["ana", "bob", "ana"] {
        let no = running.try_client(user, crate::support::PASSWORD, running.database()).await.map(drop).unwrap_err();
        let said = no.as_db_error().unwrap().message();
        assert!(said.contains("pool sessions, not transactions"), "{said}");
    }
    let statements = defaults(stage().await).await;
    let bouncer = behind(&statements, "pool_mode = statement\ndefault_pool_size = 20");
    let said = problem(statements.through(bouncer.port).connection(POOLER)).await;
    assert!(said.contains("pool sessions, not transactions"), "{said}");
}
