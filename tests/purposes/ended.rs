//! Logins that end: at once for who asks, within a second for who does not.

use crate::stage;
use crate::support::{PASSWORD, Running};
use sqlveil::world::Outcome;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

/// A session that hears what it is told while it asks nothing: the end of its connection, and when.
struct Idle {
    client: tokio_postgres::Client,
    end: Arc<Mutex<Option<(Instant, String, String)>>>,
}

async fn idle(running: &Running, user: &str) -> Idle {
    let (client, mut connection) = running.client_config(user).password(PASSWORD).connect(NoTls).await.unwrap();
    let end = Arc::new(Mutex::new(None));
    let told = Arc::clone(&end);
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notice(_) | AsyncMessage::Notification(_)) | Ok(_)) => {}
                Some(Err(error)) => {
                    let server = error.as_db_error();
                    let code = server.map_or(String::new(), |e| format!("{} {}", e.severity(), e.code().code()));
                    let text = server.map_or(error.to_string(), |e| e.message().to_owned());
                    *told.lock().unwrap() = Some((Instant::now(), code, text));
                    return;
                }
                None => return,
            }
        }
    });
    Idle { client, end }
}

async fn write(running: &Running, from: &str, to: &str) -> Instant {
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    assert!(!matches!(running.proxy().reload_and_wait().await, Outcome::Refused(_)));
    Instant::now()
}

async fn ended(session: &Idle, since: Instant) -> (Duration, String, String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some((at, code, text)) = session.end.lock().unwrap().clone() {
            return (at.saturating_duration_since(since), code, text);
        }
        assert!(Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_within_a_second_and_only_theirs() {
    let running = stage().await.start().await;
    let (ana, in_transaction, bob) =
        (idle(&running, "ana").await, idle(&running, "ana").await, idle(&running, "bob").await);
    in_transaction.client.batch_execute("BEGIN; SELECT count(*) FROM emp").await.unwrap();
    let since = write(&running, "{name: 'ana',", "{name: 'ana', disabled: true,").await;
    for session in [&ana, &in_transaction] {
        let (after, code, text) = ended(session, since).await;
        assert!(after < Duration::from_secs(1), "{after:?}");
        assert_eq!(
            (code.as_str(), text.as_str()),
            ("FATAL 57P01", "terminating connection: role \"ana\" is not permitted to log in any more")
        );
    }
    assert!(ana.client.simple_query("SELECT 1").await.is_err());
    bob.client.simple_query("SELECT 1").await.unwrap();
    assert!(bob.end.lock().unwrap().is_none());
    // A new login is refused, in the words of a wrong password.
    let login = running.try_client("ana", PASSWORD, running.database()).await.unwrap_err();
    assert_eq!(login.as_db_error().unwrap().code().code(), "28P01");
    // Gone from the file is as good.
    let since = write(&running, "{name: 'bob',", "{name: 'bobby',").await;
    assert!(ended(&bob, since).await.0 < Duration::from_secs(1));
    running.eventually("their places are free again", async |r| r.proxy().sessions() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expires_is_gone_without_any_change() {
    let soon = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_millis(3500)).unwrap();
    let mut running = stage().await;
    running = running.user("temp", &["Staff"], &[]);
    let running = running.start().await;
    write(&running, "{name: 'temp',", &format!("{{name: 'temp', expires: {soon},")).await;
    let temp = idle(&running, "temp").await;
    assert_eq!(crate::rows(&temp.client, "SELECT 1").await, ["1"]);
    let left = Duration::try_from(soon.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    let (after, code, _) = ended(&temp, Instant::now() + left).await;
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert_eq!(code, "FATAL 57P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_at_work_hears_it_when_the_work_is_done() {
    let running = stage().await.start().await;
    let ana = idle(&running, "ana").await;
    let long = "SELECT count(*) FROM generate_series(1, 30000000)";
    let (done, _) = tokio::join!(ana.client.simple_query(long), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        write(&running, "{name: 'ana',", "{name: 'ana', disabled: true,").await;
    });
    assert!(done.is_ok(), "what was under way was allowed: {done:?}");
    assert_eq!(ended(&ana, Instant::now()).await.1, "FATAL 57P01");
}
