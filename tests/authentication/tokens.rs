//! Tokens in the place of passwords: what they give, what they do not, how long, and where their keys are.

use crate::papers::{ISSUER, Papers, Signer, now};
use crate::stage::{CITIES, answer, error, stage};
use crate::support::{Output, PASSWORD, Running};
use crate::web::Web;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{Error, NoTls};

fn config(keys: &str, more: &str) -> String {
    format!(
        "issuers:\n  corp:\n    issuer: {ISSUER}\n    audience: veil\n    keys: {keys}\n    leeway: 0\n    \
         claims: {{groups: groups, attributes: {{city: city}}}}\n    {more}\n\
         authentication:\n- {{user: tom, method: scram-sha-256}}\n- {{method: jwt, issuer: corp}}\n"
    )
}

fn ask(running: &Running, user: &str, token: &str) -> Output {
    running.psql_as(user, token, running.database(), &["-At", "-c", CITIES])
}

/// Why a session has ended: the statement is told, or the connection in between two, whichever comes first.
async fn why(error: Error, ended: JoinHandle<Result<(), Error>>) -> DbError {
    let error = if error.is_closed() { ended.await.unwrap().unwrap_err() } else { error };
    error.as_db_error().expect("told why").clone()
}

fn wrong(user: &str) -> String {
    format!("password authentication failed for user \"{user}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_somebody_is_and_what_he_may_see() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "users: any")).await;
    let staff = json!({"groups": ["Staff"], "city": ["Bonn", "Rome"]});
    // The group's own attribute, Oslo, is inherited from the identity file: the provider is the same.
    assert_eq!(answer(&ask(&running, "ana", &key.token("ana", staff.clone()))), "ana: Bonn Oslo Rome");
    assert_eq!(
        answer(&ask(&running, "eva", &key.token("eva", staff.clone()))),
        "eva: Bonn Oslo Rome",
        "known by the token alone"
    );
    assert_eq!(answer(&ask(&running, "eva", &key.token("eva", json!({"groups": "Staff"})))), "eva: Oslo");
    let nothing = ask(&running, "eva", &key.token("eva", json!({})));
    assert!(nothing.err.contains("relation \"cities\" does not exist"), "{}", nothing.err);
    // Disabled in the identity file, whatever the token says.
    assert_eq!(error(&ask(&running, "bob", &key.token("bob", staff))), wrong("bob"));
    assert_eq!(answer(&ask(&running, "tom", PASSWORD)), "tom: Rome", "another rule, another method");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_for_this_login() {
    let (papers, key, attacker) = (Papers::new(), Signer::new("k"), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let mut text = config(&format!("{{file: {file}}}"), "");
    text.push_str("limits: {failed_logins: 0}\n");
    let running = stage(&text).await;
    assert!(!ask(&running, "ana", &key.token("ana", json!({"groups": "Staff"}))).err.contains("FATAL"));
    let none = {
        let token = key.token("ana", json!({}));
        let body = token.split('.').nth(1).unwrap().to_owned();
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{body}.")
    };
    let cut = key.token("ana", json!({}));
    for (what, token) in [
        ("another issuer", key.token("ana", json!({"iss": "https://other.example"}))),
        ("another audience", key.token("ana", json!({"aud": "shop"}))),
        ("no audience", key.token("ana", json!({"aud": null}))),
        ("no expiry", key.token("ana", json!({"exp": null}))),
        ("not yet", key.token("ana", json!({"nbf": now() + 60}))),
        ("somebody else's", key.token("eva", json!({}))),
        ("another spelling", key.token("Ana", json!({}))),
        ("another key", attacker.token("ana", json!({}))),
        ("an unknown key", Signer::new("new").token("ana", json!({}))),
        ("none", none),
        ("cut", cut[..cut.len() - 5].to_owned()),
        ("a password", PASSWORD.to_owned()),
    ] {
        assert_eq!(error(&ask(&running, "ana", &token)), wrong("ana"), "{what}");
    }
    // A good token of a user who is not in the identity file, or who is disabled in it: as a wrong one.
    assert_eq!(error(&ask(&running, "eva", &key.token("eva", json!({})))), wrong("eva"));
    assert_eq!(error(&ask(&running, "bob", &key.token("bob", json!({})))), wrong("bob"));
    // One whose time is over says so, since it was the issuer's.
    let over = ask(&running, "ana", &key.token("ana", json!({"exp": now() - 1})));
    assert!(error(&over).starts_with(&wrong("ana")) && over.err.contains("The token has expired"), "{}", over.err);
    let forged = ask(&running, "ana", &attacker.token("ana", json!({"exp": now() - 1})));
    assert_eq!(error(&forged), wrong("ana"), "nothing of a token that is not the issuer's is repeated");
}

/// A token of one provider must not become a user of the same name whom another provider vouches for.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_good_for_another_providers_user() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let text = config(&format!("{{file: {file}}}"), "users: any")
        .replace("{user: tom, method: scram-sha-256}", "{user: x, method: reject}");
    let running = stage(&text).await;
    assert_eq!(error(&ask(&running, "tom", &key.token("tom", json!({"groups": "Staff"})))), wrong("tom"));
    // And a name is a name: the project behind it does not belong to it.
    let suffixed = ask(&running, "eva+tom", &key.token("eva+tom", json!({})));
    assert_eq!(error(&suffixed), wrong("eva"));
    assert_eq!(
        error(&ask(&running, "eva+x", &key.token("eva", json!({"groups": "Staff"})))),
        "permission denied for project \"x\""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_ends_its_session() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "")).await;
    let end = now() + 3;
    let token = key.token("ana", json!({"groups": "Staff", "exp": end}));
    let (client, connection) = running.client_config("ana").password(&token).connect(NoTls).await.unwrap();
    let ended = tokio::spawn(connection);
    let statement = client.prepare("SELECT city FROM cities").await.unwrap();
    assert_eq!(client.query_one(&statement, &[]).await.unwrap().get::<_, &str>(0), "Oslo");
    // Asked without a pause, so that the end comes with a statement.
    let error = loop {
        match client.query(&statement, &[]).await {
            Ok(_) => assert!(now() < end + 1, "answered after its end"),
            Err(error) => break error,
        }
    };
    assert!(now() >= end);
    let error = why(error, ended).await;
    assert_eq!(error.severity(), "FATAL");
    match error.code().code() {
        "28000" => assert_eq!(error.message(), "the login of \"ana\" has expired"),
        "57P01" => assert_eq!(error.message(), "terminating connection: the login of \"ana\" has expired"),
        other => panic!("{other}"),
    }
    assert!(client.is_closed() || client.simple_query("SELECT 1").await.is_err());
}

/// Who may act for others is named in the configuration; a token must not make somebody of that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_known_by_a_token_alone_is_no_service_login() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let actors = "impersonation: [{login: bi, users: [tom]}, {login: ana, users: [tom]}]\n";
    let running = stage(&format!("{}{actors}", config(&format!("{{file: {file}}}"), "users: any"))).await;
    let acting = |user: &str| {
        let token = key.token(user, json!({"groups": "Staff"}));
        running.psql_as(user, &token, running.database(), &["-Atq", "-c", "SET sqlveil.user = 'tom'", "-c", CITIES])
    };
    assert_eq!(answer(&acting("ana")), "tom: Rome");
    let made_up = acting("bi");
    assert!(!made_up.ok && made_up.err.contains("permission denied to act for user \"tom\""), "{}", made_up.err);
}

/// Nothing is asked, and the session ends all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_ends_with_its_token() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "users: any")).await;
    let end = now() + 3;
    let token = key.token("eva", json!({"groups": "Staff", "exp": end}));
    let (_client, connection) = running.client_config("eva").password(&token).connect(NoTls).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(8), connection).await.expect("it ends by itself").unwrap_err();
    let message = error.as_db_error().expect("told why").message();
    assert_eq!(message, "terminating connection: the login of \"eva\" has expired");
    let late = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - end as f64;
    assert!((0.0..1.5).contains(&late), "{late} seconds late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_disabled_in_the_file_loses_the_session_his_token_began() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "")).await;
    let token = key.token("ana", json!({"groups": "Staff"}));
    let (client, connection) = running.client_config("ana").password(&token).connect(NoTls).await.unwrap();
    let ended = tokio::spawn(connection);
    assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("{name: ana, iam: corp}", "{name: ana, iam: corp, disabled: true}")).unwrap();
    running.proxy().reload_and_wait().await;
    let error = why(client.query("SELECT 1", &[]).await.unwrap_err(), ended).await;
    assert!(
        matches!(error.code().code(), "28000" | "57P01") && error.message().contains("\"ana\" is not permitted"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_is_read_again_when_it_changes() {
    let (papers, old, new) = (Papers::new(), Signer::new("old"), Signer::new("new"));
    let file = papers.write("jwks.json", &Signer::set(&[&old])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "")).await;
    let staff = json!({"groups": "Staff"});
    assert_eq!(answer(&ask(&running, "ana", &old.token("ana", staff.clone()))), "ana: Oslo");
    assert_eq!(error(&ask(&running, "ana", &new.token("ana", staff.clone()))), wrong("ana"));
    papers.write("jwks.json", &Signer::set(&[&new]));
    assert_eq!(answer(&ask(&running, "ana", &new.token("ana", staff.clone()))), "ana: Oslo");
    assert_eq!(
        error(&ask(&running, "ana", &old.token("ana", staff.clone()))),
        wrong("ana"),
        "a key that was taken out is none"
    );
    // What cannot be read changes nothing.
    papers.write("jwks.json", "{");
    assert_eq!(answer(&ask(&running, "ana", &new.token("ana", staff.clone()))), "ana: Oslo");
    std::fs::remove_file(papers.folder().join("jwks.json")).unwrap();
    assert_eq!(answer(&ask(&running, "ana", &new.token("ana", staff))), "ana: Oslo");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_at_a_url_rotate_and_are_not_asked_for_more_often_than_stated() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let web = Web::new(&Signer::set(&[&old]));
    let keys = format!("{{url: \"{}\", refresh: 1h, stale: 1h, pause: 700ms}}", web.url());
    let running = stage(&format!("{}limits: {{failed_logins: 0}}\n", config(&keys, ""))).await;
    let staff = json!({"groups": "Staff"});
    assert_eq!(answer(&ask(&running, "ana", &old.token("ana", staff.clone()))), "ana: Oslo");
    assert_eq!(web.asked(), 1, "at the start, and not for each login");
    tokio::time::sleep(Duration::from_millis(800)).await;
    // The issuer has changed its keys: an unknown key id makes them be fetched.
    web.says(&Signer::set(&[&old, &new]));
    assert_eq!(answer(&ask(&running, "ana", &new.token("ana", staff.clone()))), "ana: Oslo");
    assert_eq!(web.asked(), 2);
    // Whoever invents key ids does not make us ask each time.
    let began = Instant::now();
    for n in 0..5 {
        assert_eq!(
            error(&ask(&running, "ana", &Signer::new(&format!("x{n}")).token("ana", staff.clone()))),
            wrong("ana")
        );
    }
    let most = 2 + 1 + began.elapsed().as_millis() / 700;
    assert!((web.asked() as u128) <= most, "asked {} times", web.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_had_are_used_for_a_while_and_then_nobody_logs_in() {
    let key = Signer::new("k");
    let set = Signer::set(&[&key]);
    let web = Web::new(&set);
    let keys = format!("{{url: \"{}\", refresh: 100ms, stale: 2s, pause: 100ms, timeout: 1s}}", web.url());
    let running = stage(&format!("{}limits: {{failed_logins: 0}}\n", config(&keys, ""))).await;
    let token = key.token("ana", json!({"groups": "Staff"}));
    assert_eq!(answer(&ask(&running, "ana", &token)), "ana: Oslo");
    let held = running.client_config("ana").password(&token).connect(NoTls).await.unwrap();
    tokio::spawn(held.1);
    for broken in [
        "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"keys\": []}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "",
    ] {
        web.answers(broken);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(answer(&ask(&running, "ana", &token)), "ana: Oslo", "{broken}");
        web.says(&set);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(answer(&ask(&running, "ana", &token)), "ana: Oslo");
    }
    web.answers("");
    tokio::time::sleep(Duration::from_millis(2300)).await;
    assert_eq!(error(&ask(&running, "ana", &token)), wrong("ana"), "too old");
    assert!(held.0.simple_query("SELECT 1").await.is_ok(), "who is in stays in until his token ends");
    web.says(&set);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(answer(&ask(&running, "ana", &token)), "ana: Oslo", "no restart needed");
}

/// A proxy whose issuer is down starts, and lets in whom it can.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_keeps_nobody_else_out() {
    let key = Signer::new("k");
    let web = Web::new("");
    let keys = format!("{{url: \"{}\", pause: 100ms, timeout: 1s}}", web.url());
    let running = stage(&config(&keys, "")).await;
    assert_eq!(answer(&ask(&running, "tom", PASSWORD)), "tom: Rome");
    let token = key.token("ana", json!({"groups": "Staff"}));
    assert_eq!(error(&ask(&running, "ana", &token)), wrong("ana"));
    web.says(&Signer::set(&[&key]));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(answer(&ask(&running, "ana", &token)), "ana: Oslo");
}

/// Keys come from whom the certificate says, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn keys_over_tls_are_taken_from_a_verified_server_only() {
    let (papers, stranger, key) = (Papers::new(), Papers::new(), Signer::new("k"));
    let web = Web::over_tls(&Signer::set(&[&key]), &papers);
    for (authority, taken) in [(&papers, true), (&stranger, false)] {
        let ca = authority.folder().join("ca.crt").display().to_string();
        let running = stage(&config(&format!("{{url: \"{}\", ca: {ca}}}", web.url()), "")).await;
        let output = ask(&running, "ana", &key.token("ana", json!({"groups": "Staff"})));
        assert_eq!(output.ok, taken, "{}", output.err);
    }
    assert_eq!(web.asked(), 1, "the stranger did not even ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_token_fits_and_a_huge_one_ends_the_connection() {
    let (papers, key) = (Papers::new(), Signer::new("k"));
    let file = papers.write("jwks.json", &Signer::set(&[&key])).display().to_string();
    let running = stage(&config(&format!("{{file: {file}}}"), "")).await;
    let with = |bytes: usize| key.token("ana", json!({"groups": ["Staff"], "padding": "x".repeat(bytes)}));
    assert_eq!(answer(&ask(&running, "ana", &with(20_000))), "ana: Oslo");
    assert_eq!(error(&ask(&running, "ana", &with(26_000))), wrong("ana"));
    assert!(!ask(&running, "ana", &with(50_000)).ok);
}
