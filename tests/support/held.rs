//! A table that is locked: whoever reads it waits, and costs nobody a processor, until the lock is given up.
//!
//! A runner includes it by its path. The table is called `held`.

use super::support::PrivatePostgres;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// The lock. Dropping it gives it up.
pub struct Held {
    client: Client,
    watch: Client,
}

impl Held {
    /// Locks `held` in that database.
    pub async fn lock(server: &PrivatePostgres, database: &str) -> Self {
        let connect = async || {
            let (client, connection) = server.admin_config(database).connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        };
        let (client, watch) = (connect().await, connect().await);
        client.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
        Self { client, watch }
    }

    /// Waits until so many statements wait for it.
    pub async fn waited_for(&self, by: i64) {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let waiting: i64 = self.watch.query_one(sql, &[]).await.unwrap().get(0);
            if waiting == by {
                return;
            }
            assert!(Instant::now() < deadline, "{waiting} wait, and not {by}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Gives it up.
    pub async fn release(self) {
        self.client.batch_execute("COMMIT").await.unwrap();
    }
}
