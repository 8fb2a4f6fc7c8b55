//! Records in a table of PostgreSQL, a partition for each day.
//!
//! In: lines of the trail. Out: rows, each once: a connection first asks which was the last. What is searched for stands in columns that the
//! database makes of the record. Must never: send a record as SQL, or drop a partition that is not all old.

use crate::config::audit::Table;
use crate::types::quote_ident;
use crate::upstream::audit_client;
use futures_util::{SinkExt as _, pin_mut};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// How often old partitions are looked for.
const EXPIRE: Duration = Duration::from_secs(3600);

/// Columns made of the record: name, type, member.
const COLUMNS: [(&str, &str, &str); 18] = [
    ("kind", "text", "kind"),
    ("session", "text", "session"),
    ("user_name", "text", "user"),
    ("login", "text", "login"),
    ("client", "text", "client"),
    ("application", "text", "application"),
    ("database", "text", "database"),
    ("project", "text", "project"),
    ("purposes", "jsonb", "purposes"),
    ("statement", "text", "statement"),
    ("fingerprint", "text", "fingerprint"),
    ("sources", "jsonb", "sources"),
    ("decision", "text", "decision"),
    ("outcome", "text", "outcome"),
    ("code", "text", "code"),
    ("rows", "bigint", "rows"),
    ("bytes", "bigint", "bytes"),
    ("elapsed_us", "bigint", "elapsedUs"),
];

/// The table and what is known of it.
pub struct Database {
    table: Table,
    client: Option<Client>,
    /// The chain last written, and its last record there.
    last: Option<(String, u64)>,
    /// Days that have a partition.
    days: BTreeSet<String>,
    expired: Option<Instant>,
}

fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{}: {}", server.code().code(), server.message()),
        None => error.to_string(),
    }
}

/// `CREATE … IF NOT EXISTS` may fail when another proxy does the same.
fn is_race(error: &Error) -> bool {
    let codes = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA];
    error.code().is_some_and(|code| codes.contains(code))
}

impl Database {
    /// Nothing is done before the first records come.
    pub fn new(table: Table) -> Self {
        Self { table, client: None, last: None, days: BTreeSet::new(), expired: None }
    }

    fn name(&self) -> String {
        self.table.name.to_sql()
    }

    /// Inserts lines that are not there yet.
    ///
    /// # Errors
    /// Whatever the database says; it is asked anew the next time.
    pub async fn insert(&mut self, chain: &str, lines: &[u8]) -> Result<(), String> {
        let result = self.try_insert(chain, lines).await;
        if result.is_err() {
            (self.client, self.last) = (None, None);
            self.days.clear();
        }
        result
    }

    async fn try_insert(&mut self, chain: &str, lines: &[u8]) -> Result<(), String> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            Some(_) | None => self.connect().await?,
        };
        let last = match &self.last {
            Some((of, last)) if of == chain => *last,
            Some(_) | None => self.last_of(&client, chain).await.map_err(|e| told(&e))?,
        };
        let rows: Vec<Row<'_>> = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(Row::of).collect();
        let new = || rows.iter().filter(|row| row.seq > last);
        let days: BTreeSet<&str> = new().map(|row| row.day).collect();
        for day in days {
            if !self.days.contains(day) {
                self.partition(&client, day).await.map_err(|e| told(&e))?;
                self.days.insert(day.to_owned());
            }
        }
        let copy = format!("COPY {} (chain, seq, time, record) FROM STDIN", self.name());
        let sink = client.copy_in::<_, bytes::Bytes>(&copy).await.map_err(|e| told(&e))?;
        pin_mut!(sink);
        let mut text = Vec::with_capacity(lines.len() + lines.len() / 4);
        new().for_each(|row| row.push(chain, &mut text));
        sink.send(text.into()).await.map_err(|e| told(&e))?;
        sink.finish().await.map_err(|e| told(&e))?;
        let newest = rows.iter().map(|row| row.seq).max().unwrap_or_default().max(last);
        self.last = Some((chain.to_owned(), newest));
        if self.expired.is_none_or(|at| at.elapsed() >= EXPIRE) {
            self.expired = Some(Instant::now());
            // Records are in the table; what is old can wait.
            if let Err(error) = self.expire(&client).await {
                tracing::warn!(error = told(&error), "old partitions of the audit table cannot be dropped");
            }
        }
        self.client = Some(client);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, String> {
        let client = audit_client(&self.table.connection).await?;
        let (schema, table) = (quote_ident(&self.table.name.schema), self.name());
        let columns: Vec<String> = COLUMNS
            .iter()
            .map(|(name, of, member)| {
                let value = match *of {
                    "jsonb" => format!("record -> '{member}'"),
                    "text" => format!("record ->> '{member}'"),
                    other => format!("(record ->> '{member}')::{other}"),
                };
                format!("{} {of} GENERATED ALWAYS AS ({value}) STORED", quote_ident(name))
            })
            .collect();
        let statements = [
            format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
            format!(
                "CREATE TABLE IF NOT EXISTS {table} (chain text NOT NULL, seq bigint NOT NULL, time timestamptz NOT NULL, \
                 record jsonb NOT NULL, {}) PARTITION BY RANGE (time)",
                columns.join(", ")
            ),
            format!("CREATE INDEX IF NOT EXISTS {}_chain ON {table} (chain, seq)", self.table.name.name),
            format!("CREATE INDEX IF NOT EXISTS {}_user ON {table} (user_name, time)", self.table.name.name),
        ];
        let there = "SELECT pg_catalog.to_regclass($1) IS NOT NULL, pg_catalog.to_regnamespace($2) IS NOT NULL";
        let there = client.query_one(there, &[&table, &schema]).await.map_err(|e| told(&e))?;
        if there.get::<_, bool>(0) {
            return Ok(client);
        }
        // Whoever may not make schemas may not say so of one that is there, either.
        for statement in statements.into_iter().skip(usize::from(there.get::<_, bool>(1))) {
            match client.batch_execute(&statement).await {
                Err(error) if !is_race(&error) => return Err(told(&error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(client)
    }

    async fn last_of(&self, client: &Client, chain: &str) -> Result<u64, Error> {
        let sql = format!("SELECT pg_catalog.max(seq) FROM {} WHERE chain = $1", self.name());
        let last: Option<i64> = client.query_one(&sql, &[&chain]).await?.get(0);
        Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default())
    }

    /// Makes the partition of a day in UTC, `2026-11-23`, when it is missing.
    async fn partition(&self, client: &Client, day: &str) -> Result<(), Error> {
        let name = partition_name(&self.table.name.name, day);
        let partition = format!("{}.{}", quote_ident(&self.table.name.schema), quote_ident(&name));
        let next = day.parse::<jiff::civil::Date>().ok().and_then(|day| day.tomorrow().ok());
        let next = next.map_or_else(|| "infinity".to_owned(), |next| format!("{next} 00:00:00+00"));
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {} FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next}')",
            self.name()
        );
        match client.batch_execute(&sql).await {
            Err(error) if is_race(&error) => Ok(()),
            done => done,
        }
    }

    /// Drops partitions whose last moment is older than records are kept.
    async fn expire(&self, client: &Client) -> Result<(), Error> {
        let Some(keep) = self.table.keep else { return Ok(()) };
        let sql = "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
                   WHERE i.inhparent = pg_catalog.to_regclass($1)";
        let now = jiff::Timestamp::now();
        for row in client.query(sql, &[&self.name()]).await? {
            let name: String = row.get(0);
            if partition_end(&self.table.name.name, &name).is_some_and(|end| end + keep < now) {
                let partition = format!("{}.{}", quote_ident(&self.table.name.schema), quote_ident(&name));
                client.batch_execute(&format!("DROP TABLE IF EXISTS {partition}")).await?;
                tracing::info!(partition, "a partition of the audit table was old, and dropped");
            }
        }
        Ok(())
    }
}

fn partition_name(table: &str, day: &str) -> String {
    format!("{table}_{}", day.replace('-', ""))
}

/// When the day of a partition ends; `None` for a name that is not of ours.
fn partition_end(table: &str, partition: &str) -> Option<jiff::Timestamp> {
    let day = partition.strip_prefix(table)?.strip_prefix('_')?;
    let day = jiff::civil::Date::strptime("%Y%m%d", day).ok()?;
    Some(day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A line as a row.
struct Row<'l> {
    seq: u64,
    day: &'l str,
    time: &'l str,
    line: &'l str,
}

impl<'l> Row<'l> {
    fn of(line: &'l [u8]) -> Self {
        let line = std::str::from_utf8(line).unwrap_or_default();
        let after = |name: &str| line.split_once(name).map_or("", |(_, rest)| rest);
        let seq = after("{\"seq\":").split(',').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let time = after("\"time\":\"").split('"').next().unwrap_or_default();
        Self { seq, day: time.get(..10).unwrap_or_default(), time, line }
    }

    /// As a line of COPY's text format (PostgreSQL manual, COPY): of what JSON holds, only backslashes have to be escaped.
    fn push(&self, chain: &str, out: &mut Vec<u8>) {
        for field in [chain, "\t", &self.seq.to_string(), "\t", self.time, "\t"] {
            out.extend_from_slice(field.as_bytes());
        }
        for byte in self.line.bytes() {
            if byte == b'\\' {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_after_days_and_read_back() {
        let name = partition_name("records", "2026-02-28");
        assert_eq!(name, "records_20260228");
        assert_eq!(partition_end("records", &name).unwrap().to_string(), "2026-03-01T00:00:00Z");
        for other in ["records", "records_x", "other_20260228", "records_202602281"] {
            assert_eq!(partition_end("records", other), None, "{other}");
        }
    }

    #[test]
    fn a_line_becomes_a_row() {
        let row = Row::of(
            br#"{"seq":12,"time":"2026-11-23T06:55:01.000001Z","kind":"statement","statement":"a\"b\\c","hash":"x"}"#,
        );
        let mut out = Vec::new();
        row.push("c", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("c\t12\t2026-11-23T06:55:01.000001Z\t{\"seq\":12"), "{text}");
        assert!(text.contains(r#"a\\"b\\\\c"#), "{text}");
        assert_eq!(row.day, "2026-11-23");
    }
}
