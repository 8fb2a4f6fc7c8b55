//! Sessions in which nothing is asked, and how they end.

use crate::support::Running;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

/// A session that hears what it is told while it asks nothing.
pub struct Idle {
    pub client: Client,
    end: Arc<Mutex<Option<(Instant, String)>>>,
}

pub async fn idle(running: &Running, user: &str, secret: &str) -> Idle {
    let (client, mut connection) = running.client_config(user).password(secret).connect(NoTls).await.unwrap();
    let end = Arc::new(Mutex::new(None));
    let told = Arc::clone(&end);
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notice(_) | AsyncMessage::Notification(_)) | Ok(_)) => {}
                Some(Err(error)) => {
                    let server = error.as_db_error();
                    let text = server.map_or(error.to_string(), |e| {
                        format!("{} {}: {}", e.severity(), e.code().code(), e.message())
                    });
                    *told.lock().unwrap() = Some((Instant::now(), text));
                    return;
                }
                None => return,
            }
        }
    });
    Idle { client, end }
}

impl Idle {
    pub fn is_there(&self) -> bool {
        self.end.lock().unwrap().is_none()
    }

    /// How long after `since` it ended, and what it was told.
    pub async fn ended(&self, since: Instant) -> (Duration, String) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((at, text)) = self.end.lock().unwrap().clone() {
                return (at.saturating_duration_since(since), text);
            }
            assert!(Instant::now() < deadline, "still there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// That it is ended soon after `since`.
    pub async fn is_ended(&self, since: Instant) -> String {
        let (after, text) = self.ended(since).await;
        assert!(after < Duration::from_secs(1), "{after:?}: {text}");
        assert!(text.starts_with("FATAL 57P01: terminating connection: "), "{text}");
        text
    }
}

/// The first cell of the only row.
pub async fn cell(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = messages.into_iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}

/// SQLSTATE of a statement that fails.
pub async fn code(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.expect_err(sql);
    error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).code().code().to_owned()
}
