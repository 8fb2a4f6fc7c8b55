//! A service login acts for end users: whose rows they are, and that nothing one leaves behind is there for the next.

use crate::support::{PASSWORD, Running, Stage};
use crate::{ACTORS, code, error, rows, stage};
use tokio_postgres::{Client, NoTls};

pub async fn running() -> Running {
    stage().await.config(ACTORS).start().await
}

/// The same stage with more configuration.
pub async fn stage_with(config: &str) -> Stage {
    stage().await.config(ACTORS).config(config)
}

const EMP: &str = "SELECT string_agg(id || ':' || city, ',' ORDER BY id) FROM emp";
/// What each sees of it.
const ANA: [&str; 1] = ["1:Bonn,3:Bonn"];
const BOB: [&str; 1] = ["2:Köln"];

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_decided_for_whom_the_login_acts() {
    let running = running().await;
    let bi = running.client("bi").await;
    assert_eq!(code(&bi, EMP).await, "42P01", "the login itself sees nothing");
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    assert_eq!(rows(&bi, EMP).await, ANA);
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, ["ana"]);
    assert_eq!(
        rows(&bi, "SELECT current_user, session_user, user, current_setting('sqlveil.user')").await,
        ["ana|ana|ana|ana"]
    );
    assert_eq!(rows(&bi, "SELECT has_table_privilege('emp', 'SELECT')").await, ["t"]);
    bi.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
    assert_eq!(rows(&bi, EMP).await, BOB);
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""]);
    assert_eq!(code(&bi, EMP).await, "42P01");
    // By group, and in one string.
    let counts = "SET sqlveil.user = 'aud'; SELECT count(*), count(DISTINCT ssn) FROM emp; RESET sqlveil.user";
    for _ in 0..2 {
        assert_eq!(rows(&bi, counts).await, ["3|3"]);
    }
    for _ in 0..2 {
        assert_eq!(rows(&bi, &format!("SET sqlveil.user TO ana; {EMP}")).await, ANA);
        assert_eq!(rows(&bi, &format!("SET SESSION \"sqlveil\".\"user\" = 'bob'; {EMP}")).await, BOB);
    }
    bi.batch_execute("SET sqlveil.user = 'bi'").await.unwrap();
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""], "to act for oneself is to act for nobody");
    bi.batch_execute("SET sqlveil.user = ''").await.unwrap();
    // What one is told is about whom one acts for.
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    assert_eq!(rows(&bi, "SELECT count(*) FROM sqlveil.my_projects").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_startup_option_with_a_project() {
    let running = running().await;
    let login = async |user: &str, options: &str| {
        let mut config = running.client_config(user);
        let (client, connection) = config.options(options).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok::<Client, tokio_postgres::Error>(client)
    };
    let client = login("bi", "-c sqlveil.user=ana -c DateStyle=German").await.unwrap();
    assert_eq!(rows(&client, EMP).await, ANA);
    client.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
    assert_eq!(rows(&client, EMP).await, BOB);
    for sql in ["RESET ALL", "SET sqlveil.user = 'bob'; DISCARD TEMP; RESET ALL"] {
        client.batch_execute(sql).await.unwrap();
        assert_eq!(rows(&client, EMP).await, ANA, "{sql}");
    }
    client.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(rows(&client, EMP).await, ANA, "back to how the session began");
    // The project is the user's, not the login's; he has to have accepted what it asks.
    let refused = login("bi", "-c sqlveil.user=ana -c sqlveil.project=fraud").await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("asks you to acknowledge"), "{refused:?}");
    let refused = login("bi", "-c sqlveil.user=bob -c sqlveil.project=free").await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().message(), "permission denied for project \"free\"");
    client.batch_execute("SET sqlveil.acknowledge = 'fraud'").await.unwrap();
    let kept = std::fs::read_to_string(running.folder().join("acknowledgements.jsonl")).unwrap();
    assert!(kept.contains("\"user\":\"ana\"") && kept.contains("\"login\":\"bi\""), "{kept}");
    let purpose = "SELECT count(*) FROM cases";
    for (user, options) in [("bi", "-c sqlveil.user=ana -c sqlveil.project=fraud"), ("bi+fraud", "-c sqlveil.user=ana")]
    {
        let client = login(user, options).await.unwrap();
        assert_eq!(rows(&client, purpose).await, ["2"], "{user} {options}");
        client.batch_execute("SET sqlveil.user = 'bob'").await.unwrap();
        assert_eq!(rows(&client, "SHOW sqlveil.project").await, [""], "a project does not go from one to the next");
        assert_eq!(rows(&client, purpose).await, ["0"]);
    }
    // Settings of the start are the tool's: they stay whoever comes.
    let client = login("bi", "-c sqlveil.user=ana -c DateStyle=German").await.unwrap();
    for user in ["bob", "ana", "bob"] {
        client.batch_execute(&format!("SET sqlveil.user = '{user}'")).await.unwrap();
        assert_eq!(rows(&client, "SELECT DATE '2024-03-01'").await, ["01.03.2024"], "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow_the_switch() {
    let running = running().await;
    let bi = running.client("bi").await;
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    let emp = bi.prepare(EMP).await.unwrap();
    let star = bi.prepare("SELECT * FROM emp ORDER BY id").await.unwrap();
    bi.batch_execute("PREPARE p AS SELECT count(*), min(id) FROM emp").await.unwrap();
    for (user, seen, sql) in
        [("ana", ANA, "2|1"), ("bob", BOB, "1|2"), ("ana", ANA, "2|1"), ("aud", ["1:Bonn,2:Köln,3:Bonn"], "3|1")]
    {
        bi.batch_execute(&format!("SET sqlveil.user = '{user}'")).await.unwrap();
        assert_eq!(bi.query_one(&emp, &[]).await.unwrap().get::<_, String>(0), seen[0], "{user}");
        assert_eq!(bi.query(&star, &[]).await.unwrap().len().to_string(), sql.split('|').next().unwrap(), "{user}");
        assert_eq!(rows(&bi, "EXECUTE p").await, [sql], "{user}");
    }
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    assert_eq!(bi.query(&emp, &[]).await.unwrap_err().as_db_error().unwrap().code().code(), "42P01");
    assert_eq!(code(&bi, "EXECUTE p").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_from_one_user_to_the_next() {
    let running = running().await;
    let bi = running.client("bi").await;
    bi.batch_execute("SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    let as_ana = "SET sqlveil.user = 'ana'";
    for leave in ["SET sqlveil.user = 'bob'", "RESET sqlveil.user", "SET sqlveil.user = 'bob'; SELECT 1"] {
        bi.batch_execute(as_ana).await.unwrap();
        bi.batch_execute("CREATE TEMP TABLE loot AS SELECT * FROM emp").await.unwrap();
        bi.batch_execute("SET DateStyle = 'German'; SET search_path = sqlveil; SET TimeZone = 'UTC'").await.unwrap();
        bi.batch_execute("BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT * FROM public.emp; COMMIT").await.unwrap();
        assert_eq!(rows(&bi, "SELECT count(*) FROM loot").await, ["2"]);
        bi.batch_execute(leave).await.unwrap();
        assert_eq!(code(&bi, "SELECT * FROM loot").await, "42P01", "{leave}");
        assert_eq!(code(&bi, "SELECT * FROM pg_temp.loot").await, "42P01", "{leave}");
        assert_eq!(code(&bi, "FETCH ALL FROM held").await, "34000", "{leave}");
        assert_eq!(rows(&bi, "SHOW search_path").await, ["\"$user\", public"], "{leave}");
        assert_eq!(
            rows(&bi, "SELECT DATE '2024-03-01', current_setting('TimeZone')").await,
            ["2024-03-01|Asia/Tokyo"],
            "{leave}"
        );
        assert_eq!(rows(&bi, "SELECT count(*) FROM pg_class WHERE relname = 'loot'").await, ["0"], "{leave}");
        // Nothing of it is left in the warehouse's session either.
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'loot'";
        assert_eq!(running.admin().query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0, "{leave}");
        bi.batch_execute("RESET sqlveil.user").await.unwrap();
    }
    // The same user goes on with his own.
    bi.batch_execute(as_ana).await.unwrap();
    bi.batch_execute("CREATE TEMP TABLE mine (x int); SET DateStyle = 'German'").await.unwrap();
    bi.batch_execute(as_ana).await.unwrap();
    assert_eq!(rows(&bi, "SELECT count(*), DATE '2024-03-01' FROM mine").await, ["0|01.03.2024"]);
    // Nor do the login's own tables go to a user.
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    bi.batch_execute("CREATE TEMP TABLE own (x int)").await.unwrap();
    bi.batch_execute(as_ana).await.unwrap();
    assert_eq!(code(&bi, "SELECT * FROM own").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_users() {
    let running = running().await;
    let bi = running.client("bi").await;
    // As poolers and gateways do it: the login's own transaction, the user for its length.
    for (user, seen) in [("ana", ANA), ("bob", BOB), ("ana", ANA)] {
        bi.batch_execute("BEGIN").await.unwrap();
        bi.batch_execute(&format!("SET LOCAL sqlveil.user = '{user}'")).await.unwrap();
        assert_eq!(rows(&bi, EMP).await, seen);
        bi.batch_execute("CREATE TEMP TABLE loot AS SELECT * FROM emp").await.unwrap();
        bi.batch_execute("COMMIT").await.unwrap();
        assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""]);
        assert_eq!(code(&bi, "SELECT * FROM loot").await, "42P01");
    }
    // A rollback undoes it, to a savepoint too.
    bi.batch_execute("BEGIN").await.unwrap();
    bi.batch_execute("SAVEPOINT s").await.unwrap();
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    assert_eq!(rows(&bi, EMP).await, ANA);
    bi.batch_execute("ROLLBACK TO s").await.unwrap();
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""]);
    assert_eq!(code(&bi, EMP).await, "42P01");
    bi.batch_execute("ROLLBACK").await.unwrap();
    bi.batch_execute("BEGIN").await.unwrap();
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    assert_eq!(rows(&bi, EMP).await, ANA);
    bi.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&bi, "SHOW sqlveil.user").await, [""]);
    bi.batch_execute("BEGIN; SET sqlveil.user = 'ana'; COMMIT").await.unwrap();
    assert_eq!(rows(&bi, EMP).await, ANA);
    // Two users in one transaction: refused, whichever way.
    for (begin, other) in [
        ("BEGIN", "SET LOCAL sqlveil.user = 'bob'"),
        ("BEGIN", "SET sqlveil.user = 'bob'"),
        ("BEGIN", "RESET sqlveil.user; SET sqlveil.user = 'bob'"),
    ] {
        bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
        bi.batch_execute(begin).await.unwrap();
        assert_eq!(rows(&bi, EMP).await, ANA);
        bi.batch_execute(other).await.unwrap();
        let (sqlstate, text) = error(&bi, EMP).await;
        assert_eq!((sqlstate.as_str(), text.contains("middle of a transaction")), ("25001", true), "{other}: {text}");
        bi.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(rows(&bi, EMP).await, ANA, "nothing has changed");
    }
    let string = format!("SET sqlveil.user = 'ana'; {EMP}; SET sqlveil.user = 'bob'; {EMP}");
    assert_eq!(code(&bi, &string).await, "25001");
    // Nor with the login's own tables in hand.
    bi.batch_execute("RESET sqlveil.user").await.unwrap();
    bi.batch_execute("BEGIN").await.unwrap();
    bi.batch_execute("CREATE TEMP TABLE own (x int)").await.unwrap();
    bi.batch_execute("SET LOCAL sqlveil.user = 'ana'").await.unwrap();
    assert_eq!(code(&bi, "SELECT * FROM own").await, "25001");
    bi.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_and_cursors_are_their_users_own() {
    let running = running().await;
    let mut bi = running.client("bi").await;
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    let emp = bi.prepare("SELECT id FROM emp ORDER BY id").await.unwrap();
    let transaction = bi.transaction().await.unwrap();
    let portal = transaction.bind(&emp, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT id FROM emp ORDER BY id").await.unwrap();
    transaction.batch_execute("RESET sqlveil.user").await.unwrap();
    let refused = transaction.query_portal(&portal, 1).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "34000");
    transaction.rollback().await.unwrap();
    let transaction = bi.transaction().await.unwrap();
    transaction.batch_execute("DECLARE c CURSOR FOR SELECT id FROM emp ORDER BY id").await.unwrap();
    transaction.batch_execute("RESET sqlveil.user").await.unwrap();
    let refused = transaction.batch_execute("FETCH ALL FROM c").await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "34000");
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tools_at_once_get_their_users_rows() {
    let running = running().await;
    let running = &running;
    let work = async |user: &'static str, seen: [&'static str; 1]| {
        let bi = running.try_client("bi", PASSWORD, running.database()).await.unwrap();
        for n in 0..30 {
            if n % 3 == 0 {
                bi.batch_execute("SET sqlveil.user = 'aud'").await.unwrap();
                assert_eq!(rows(&bi, "SELECT count(*) FROM emp").await, ["3"]);
            }
            bi.batch_execute(&format!("SET sqlveil.user = '{user}'")).await.unwrap();
            assert_eq!(rows(&bi, EMP).await, seen);
        }
    };
    tokio::join!(work("ana", ANA), work("bob", BOB), work("ana", ANA), work("bob", BOB));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_ahead_without_waiting_keeps_its_order() {
    let running = running().await;
    let bi = running.client("bi").await;
    let (ana, bob) = (bi.prepare(EMP).await, bi.prepare("SELECT 1").await);
    assert!(ana.is_err() && bob.is_ok(), "the login itself sees nothing");
    for _ in 0..5 {
        // All of it is on its way before the first answer comes.
        let seen = tokio::join!(
            bi.simple_query("SET sqlveil.user = 'ana'"),
            rows(&bi, EMP),
            bi.simple_query("CREATE TEMP TABLE loot AS SELECT * FROM emp"),
            bi.simple_query("SET sqlveil.user = 'bob'"),
            rows(&bi, EMP),
            code(&bi, "SELECT * FROM loot"),
            bi.simple_query("RESET sqlveil.user"),
            code(&bi, EMP),
        );
        assert_eq!((seen.1.as_slice(), seen.4.as_slice()), (&ANA.map(str::to_owned)[..], &BOB.map(str::to_owned)[..]));
        assert_eq!((seen.5.as_str(), seen.7.as_str()), ("42P01", "42P01"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_may_turn_to_somebody_too() {
    let running = running().await;
    let bi = running.client("bi").await;
    bi.batch_execute("SET sqlveil.user = 'ana'").await.unwrap();
    bi.batch_execute("CREATE TEMP TABLE loot AS SELECT * FROM emp").await.unwrap();
    let long = format!("SET sqlveil.user = 'bob'; SELECT '{}' <> '', (SELECT min(city) FROM emp)", "x".repeat(40_000));
    assert_eq!(rows(&bi, &long).await, ["t|Köln"]);
    assert_eq!(code(&bi, "SELECT * FROM loot").await, "42P01");
}
