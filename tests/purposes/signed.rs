//! For whom a statement is, in a text that the login signs.

use crate::acting::running;
use crate::{code, error, rows};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio_postgres::NoTls;

/// The key of every stage's `bi2`.
const KEY: &[u8] = b"the same master secret in every test";

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A signed text, as docs/purposes.md describes it.
pub fn signed_as(login: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{login}\n{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("{body} signature={hex}")
}

pub fn signed(user: &str) -> String {
    signed_as("bi2", &format!("user={user} expires={}", now() + 60))
}

pub fn comment(user: &str) -> String {
    format!("/*sqlveil {}*/", signed(user))
}

const EMP: &str = "SELECT string_agg(id || ':' || city, ',' ORDER BY id) FROM emp";

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_is_for_whom_its_comment_says() {
    let running = running().await;
    let bi2 = running.client("bi2").await;
    for _ in 0..3 {
        assert_eq!(rows(&bi2, &format!("{} {EMP}", comment("ana"))).await, ["1:Bonn,3:Bonn"]);
        assert_eq!(rows(&bi2, &format!("{}\n{EMP}", comment("bob"))).await, ["2:Köln"]);
        assert_eq!(code(&bi2, EMP).await, "42P01", "without one the login is itself");
        assert_eq!(rows(&bi2, &format!("{}SHOW sqlveil.user", comment("aud"))).await, ["aud"]);
    }
    // The project too.
    let accept = format!("{} SET sqlveil.acknowledge = 'fraud'", comment("ana"));
    rows(&bi2, &accept).await;
    let under = signed_as("bi2", &format!("user=ana project=fraud expires={}", now() + 60));
    assert_eq!(rows(&bi2, &format!("/*sqlveil {under}*/ SELECT count(*) FROM cases")).await, ["2"]);
    assert_eq!(rows(&bi2, &format!("{} SELECT count(*) FROM cases", comment("ana"))).await, ["0"]);
    let not_his = signed_as("bi2", &format!("user=bob project=free expires={}", now() + 60));
    assert_eq!(code(&bi2, &format!("/*sqlveil {not_his}*/ SELECT 1")).await, "42501");
    // Places of mistakes count in the text as sent.
    let sql = format!("{} SELECT nothing FROM emp", comment("ana"));
    let place = bi2.simple_query(&sql).await.unwrap_err();
    let place = match place.as_db_error().unwrap().position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => *at as usize,
        other => panic!("{other:?}"),
    };
    assert!(sql[place - 1..].starts_with("nothing"), "{place}");
    // Nothing goes from one to the next.
    rows(&bi2, &format!("{} CREATE TEMP TABLE loot AS SELECT * FROM emp", comment("ana"))).await;
    assert_eq!(rows(&bi2, &format!("{} SELECT count(*) FROM loot", comment("ana"))).await, ["2"]);
    assert_eq!(code(&bi2, &format!("{} SELECT count(*) FROM loot", comment("bob"))).await, "42P01");
    assert_eq!(code(&bi2, &format!("{} SELECT count(*) FROM loot", comment("ana"))).await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_stays_whose_it_is() {
    let running = running().await;
    let bi2 = running.client("bi2").await;
    let ana = bi2.prepare(&format!("{} {EMP}", comment("ana"))).await.unwrap();
    let bob = bi2.prepare(&format!("{} {EMP}", comment("bob"))).await.unwrap();
    for _ in 0..3 {
        assert_eq!(bi2.query_one(&ana, &[]).await.unwrap().get::<_, String>(0), "1:Bonn,3:Bonn");
        assert_eq!(bi2.query_one(&bob, &[]).await.unwrap().get::<_, String>(0), "2:Köln");
        assert_eq!(code(&bi2, EMP).await, "42P01");
    }
    let short = signed_as("bi2", &format!("user=ana expires={}", now() + 2));
    let brief = bi2.prepare(&format!("/*sqlveil {short}*/ SELECT 1")).await.unwrap();
    assert_eq!(bi2.query(&brief, &[]).await.unwrap().len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let over = bi2.query(&brief, &[]).await.unwrap_err();
    assert_eq!(over.as_db_error().unwrap().code().code(), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_first_comment_counts_and_only_if_it_is_signed() {
    let running = running().await;
    let bi2 = running.client("bi2").await;
    let (ana, aud) = (comment("ana"), comment("aud"));
    // In the middle, behind, twice, in a string, nested.
    for sql in [
        format!("SELECT 1; {aud} {EMP}"),
        format!("{EMP} {aud}"),
        format!("/* */ {aud} {EMP}"),
        format!("-- x\n{aud} {EMP}"),
        format!(" {aud} {EMP}"),
        format!("/*{aud}*/ {EMP}"),
    ] {
        assert_eq!(code(&bi2, &sql).await, "42P01", "{sql}");
    }
    assert_eq!(rows(&bi2, &format!("{ana}{aud} SHOW sqlveil.user")).await, ["ana"]);
    assert_eq!(rows(&bi2, &format!("{ana} SELECT '{aud}' <> '', current_user")).await, ["t|ana"]);
    // Not signed so: refused, whatever the reason, in the same words.
    let good = signed("ana");
    let mut texts = Vec::new();
    for text in [
        good.replace("user=ana", "user=aud"),
        good.replace("user=ana", "user=ana user=aud"),
        signed_as("bi", &format!("user=ana expires={}", now() + 60)),
        signed_as("bi2", &format!("user=ana expires={}", now() - 1)),
        signed_as("bi2", &format!("user=ana expires={}", now() + 3600)),
        signed_as("bi2", "user=ana"),
        format!("user=ana expires={} signature={}", now() + 60, "0".repeat(64)),
        "user=ana".to_owned(),
        String::new(),
    ] {
        let (sqlstate, said) = error(&bi2, &format!("/*sqlveil {text}*/ SELECT 1")).await;
        assert_eq!(sqlstate, "42501", "{text}");
        texts.push(said);
    }
    assert!(texts.iter().all(|t| t == "the signature is not valid"), "{texts:?}");
    // Signed, and still not permitted.
    for user in ["eve", "bi", "bi2x", "nobody", "ANA", "an%61%cc%81"] {
        let sqlstate = code(&bi2, &format!("{} SELECT 1", comment(user))).await;
        assert_eq!(sqlstate, "42501", "{user}");
    }
    assert_eq!(
        rows(&bi2, &format!("{} SHOW sqlveil.user", comment("%61na"))).await,
        ["ana"],
        "an encoding is not another name"
    );
    // Set by whoever writes the statement: not by this login's ways.
    assert_eq!(code(&bi2, &format!("{ana} SET sqlveil.user = 'aud'")).await, "42501");
    assert_eq!(code(&bi2, &format!("{ana} SET LOCAL sqlveil.user = 'aud'; {EMP}")).await, "42501");
}

/// Whoever writes the statement of a tool stands behind the comment and can write what he likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_string_is_its_users_to_the_end() {
    let running = running().await;
    let bi2 = running.client("bi2").await;
    let ana = comment("ana");
    for sql in [
        "RESET sqlveil.user",
        "SET sqlveil.user = ''",
        "SET sqlveil.user TO DEFAULT",
        "SET LOCAL sqlveil.user TO DEFAULT",
        "SET sqlveil.user = 'bi2'",
        "SET sqlveil.user = 'ana'",
        "SET LOCAL sqlveil.user = 'bob'",
    ] {
        assert_eq!(code(&bi2, &format!("{ana} {sql}; SELECT current_user")).await, "42501", "{sql}");
        assert_eq!(rows(&bi2, "SHOW sqlveil.user").await, [""], "{sql}");
    }
    for before in
        ["SELECT 1", "BEGIN", "BEGIN; SAVEPOINT s", "BEGIN; SET LOCAL timezone = 'UTC'; SAVEPOINT s; SAVEPOINT t"]
    {
        for sql in [
            "RESET ALL",
            "ROLLBACK",
            "COMMIT",
            "ROLLBACK AND CHAIN",
            "ROLLBACK TO s",
            "RELEASE s",
            "COMMIT; BEGIN; SAVEPOINT s; ROLLBACK TO s",
            "RESET ALL; ROLLBACK; RESET ALL; BEGIN; ROLLBACK",
        ] {
            rows(&bi2, before).await;
            let told = bi2.simple_query(&format!("{ana} {sql}; SELECT current_user || '!' AS who")).await;
            for message in told.unwrap_or_default() {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    assert_eq!(row.get("who"), Some("ana!"), "{before}; {sql}");
                }
            }
            bi2.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(rows(&bi2, "SELECT current_user").await, ["bi2"], "{before}; {sql}");
        }
    }
    rows(&bi2, &format!("{ana} DISCARD ALL")).await;
    assert_eq!(rows(&bi2, "SELECT current_user").await, ["bi2"]);
    // One after the other in a batch that is sent at once.
    let (own, signed) = tokio::join!(bi2.query_one("SELECT current_user::text", &[]), async {
        bi2.query_one(&format!("{ana} SELECT current_user::text"), &[]).await
    });
    assert_eq!((own.unwrap().get::<_, &str>(0), signed.unwrap().get::<_, &str>(0)), ("bi2", "ana"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_the_users_may_not_change() {
    let running = running().await;
    let bi2 = running.client("bi2").await;
    rows(&bi2, "BEGIN").await;
    assert_eq!(rows(&bi2, &format!("{} {EMP}", comment("ana"))).await, ["1:Bonn,3:Bonn"]);
    assert_eq!(rows(&bi2, &format!("{} {EMP}", comment("ana"))).await, ["1:Bonn,3:Bonn"]);
    assert_eq!(code(&bi2, &format!("{} {EMP}", comment("bob"))).await, "25001");
    rows(&bi2, "ROLLBACK").await;
    assert_eq!(rows(&bi2, &format!("{} {EMP}", comment("bob"))).await, ["2:Köln"]);
    rows(&bi2, &format!("{} BEGIN", comment("bob"))).await;
    assert_eq!(rows(&bi2, &format!("{} {EMP}", comment("bob"))).await, ["2:Köln"]);
    rows(&bi2, "COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_name_may_say_it() {
    let running = running().await;
    let mut config = running.client_config("bi");
    // A login without that way is told so, and the warehouse does not get the signature.
    let name = format!("sqlveil {}", signed("ana"));
    let plain = config.application_name(&name).connect(NoTls).await.map(drop).unwrap_err();
    assert_eq!(plain.as_db_error().unwrap().code().code(), "42501");
    let plain = running.client("bi").await;
    assert_eq!(code(&plain, &format!("SET application_name = '{name}'")).await, "42501");

    let named = stage_of_names().await;
    let mut config = named.client_config("bi2");
    let (client, connection) =
        config.application_name(format!("sqlveil {}", signed("ana"))).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(rows(&client, EMP).await, ["1:Bonn,3:Bonn"]);
    client.batch_execute(&format!("SET application_name = 'sqlveil {}'", signed("bob"))).await.unwrap();
    assert_eq!(rows(&client, EMP).await, ["2:Köln"]);
    // The warehouse and its administrators never see the signature.
    let shown = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND (application_name LIKE '%signature%' OR query LIKE '%signature=%')";
    assert_eq!(named.admin().query_one(shown, &[]).await.unwrap().get::<_, i64>(0), 0);
    // A name that is not signed is for nobody; a bad signature is refused and changes nothing.
    assert_eq!(code(&client, "SET application_name = 'sqlveil user=aud expires=1 signature=00'").await, "42501");
    assert_eq!(rows(&client, "SHOW sqlveil.user").await, ["bob"]);
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute("SET LOCAL application_name = 'report'").await.unwrap();
    assert_eq!(rows(&client, "SHOW sqlveil.user").await, [""]);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(rows(&client, EMP).await, ["2:Köln"]);
    for sql in ["SET application_name = 'report'", "RESET application_name", "SET application_name TO DEFAULT"] {
        client.batch_execute(&format!("SET application_name = 'sqlveil {}'", signed("bob"))).await.unwrap();
        client.batch_execute(sql).await.unwrap();
        assert_eq!(code(&client, EMP).await, "42P01", "{sql}");
    }
    let mut config = named.client_config("bi2");
    let bad =
        config.application_name("sqlveil user=ana expires=1 signature=00").connect(NoTls).await.map(drop).unwrap_err();
    assert_eq!(bad.as_db_error().unwrap().code().code(), "42501");
    // It holds no longer than it was signed for.
    let brief = signed_as("bi2", &format!("user=ana expires={}", now() + 2));
    client.batch_execute(&format!("SET application_name = 'sqlveil {brief}'")).await.unwrap();
    assert_eq!(rows(&client, EMP).await, ["1:Bonn,3:Bonn"]);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(code(&client, EMP).await, "42501");
    client.batch_execute("RESET application_name").await.unwrap();
}

async fn stage_of_names() -> crate::support::Running {
    let actors =
        "impersonation:\n- {login: bi2, groups: [Staff], by: [application_name], key: {file: secrets/master}}\n";
    crate::stage().await.config(actors).start().await
}
