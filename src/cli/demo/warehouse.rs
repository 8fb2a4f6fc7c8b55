//! The data of the demo: TPC-H at scale 0.01 and a pgbench set, in one database of a private server.
//!
//! In: a running private server. Out: the database `demo`, loaded and analyzed, and a login for the proxy that can read and
//! nothing else. Must never: give that login more than SELECT.

use super::private_postgres::{PrivatePostgres, random_password};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::SinkExt as _;
use std::fmt::{Display, Write as _};
use std::pin::pin;
use std::process::Stdio;
use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls};
use tpchgen::distribution::Distributions;
use tpchgen::generators as tpch;
use tpchgen::text::TextPool;

/// The database.
pub const DATABASE: &str = "demo";
/// The proxy's login.
pub const SERVICE_LOGIN: &str = "sqlveil_service";
/// TPC-H scale factor: 1,500 customers, 15,000 orders, about 60,000 line items.
pub const TPCH_SCALE: f64 = 0.01;
/// pgbench scale factor: branches; each has 100,000 accounts.
pub const PGBENCH_SCALE: u32 = 3;

/// Size of the text that TPC-H comments are cut from. The generator's own default is 300 MB: too long a wait for a demo.
/// All columns but the comments are those of the benchmark's own generator.
const TEXT_POOL: i32 = 4 << 20;
/// Bytes per CopyData message.
const CHUNK: usize = 256 << 10;

/// Tables of the TPC-H specification, 1.4 Table Layouts.
const TPCH_TABLES: &str = include_str!("tpch.sql");
/// Primary and foreign keys, added when the rows are there.
const TPCH_KEYS: &str = include_str!("tpch_keys.sql");
/// The tables of `pgbench -i` (PostgreSQL src/bin/pgbench/pgbench.c), for systems without the program.
const PGBENCH: &str = include_str!("pgbench.sql");

/// Why the demo's data could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The private server refused or went away.
    #[error("loading the demo's data: {}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// `pgbench -i` failed.
    #[error("pgbench -i failed:\n{0}")]
    Pgbench(String),
}

/// What tokio-postgres only says in its source error.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}

/// Opens a superuser's connection, driven by a task of its own.
pub async fn admin(server: &PrivatePostgres, database: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = server.admin_config(database).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Creates and fills the database; gives the password of the proxy's login.
pub async fn load(server: &PrivatePostgres) -> Result<String, LoadError> {
    admin(server, "postgres").await?.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    let client = admin(server, DATABASE).await?;
    load_tpch(&client, TPCH_SCALE).await?;
    load_pgbench(server, &client).await?;
    let password = create_service_login(&client, DATABASE, "public").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(password)
}

/// Creates the proxy's login: no superuser, may connect and read every table of a schema, and nothing else.
pub async fn create_service_login(client: &Client, database: &str, schema: &str) -> Result<String, LoadError> {
    let password = random_password(); // letters and digits only
    client
        .batch_execute(&format!(
            "CREATE ROLE {SERVICE_LOGIN} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD '{password}';
             REVOKE ALL ON DATABASE {database} FROM PUBLIC;
             REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
             GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {SERVICE_LOGIN};
             GRANT USAGE ON SCHEMA {schema} TO {SERVICE_LOGIN};
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {SERVICE_LOGIN};"
        ))
        .await?;
    Ok(password)
}

/// Creates and fills the eight TPC-H tables in `public`.
pub async fn load_tpch(client: &Client, scale: f64) -> Result<(), LoadError> {
    client.batch_execute(TPCH_TABLES).await?;
    let (rows, mut loads) = mpsc::channel::<Load>(8);
    // Generating is work without waiting: on a thread of its own, ahead of the COPY by at most a few chunks.
    let generating = tokio::task::spawn_blocking(move || generate(scale, &rows));
    while let Some(Load { table, mut chunks }) = loads.recv().await {
        let copy = format!("COPY public.{table} FROM STDIN (DELIMITER '|')");
        let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await?);
        while let Some(chunk) = chunks.recv().await {
            sink.send(chunk).await?;
        }
        sink.finish().await?;
    }
    drop(generating.await);
    client.batch_execute(TPCH_KEYS).await?;
    Ok(())
}

/// The rows of one table on their way.
struct Load {
    table: &'static str,
    chunks: mpsc::Receiver<Bytes>,
}

/// Generates every table. Ends early when nobody listens any more.
fn generate(scale: f64, loads: &mpsc::Sender<Load>) {
    let distributions = Distributions::static_default();
    let text = &TextPool::new(TEXT_POOL, distributions);
    let (d, s) = (distributions, scale);
    rows(loads, "region", tpch::RegionGenerator::new_with_distributions_and_text_pool(d, text).iter());
    rows(loads, "nation", tpch::NationGenerator::new_with_distributions_and_text_pool(d, text).iter());
    rows(loads, "part", tpch::PartGenerator::new_with_distributions_and_text_pool(s, 1, 1, d, text).iter());
    rows(loads, "supplier", tpch::SupplierGenerator::new_with_distributions_and_text_pool(s, 1, 1, d, text).iter());
    rows(loads, "partsupp", tpch::PartSuppGenerator::new_with_text_pool(s, 1, 1, text).iter());
    rows(loads, "customer", tpch::CustomerGenerator::new_with_distributions_and_text_pool(s, 1, 1, d, text).iter());
    rows(loads, "orders", tpch::OrderGenerator::new_with_distributions_and_text_pool(s, 1, 1, d, text).iter());
    rows(loads, "lineitem", tpch::LineItemGenerator::new_with_distributions_and_text_pool(s, 1, 1, d, text).iter());
}

/// Sends the rows of one table. The generator writes `a|b|c|`; COPY wants `a|b|c` (no value holds `|`, `\` or a line end).
fn rows<R: Display>(loads: &mpsc::Sender<Load>, table: &'static str, rows: impl Iterator<Item = R>) {
    let (sender, chunks) = mpsc::channel(4);
    if loads.blocking_send(Load { table, chunks }).is_err() {
        return;
    }
    let mut chunk = BytesMut::with_capacity(CHUNK + 1024);
    let mut line = String::new();
    for row in rows {
        line.clear();
        let _ = write!(line, "{row}"); // writing to a String cannot fail
        chunk.put_slice(line.strip_suffix('|').unwrap_or(&line).as_bytes());
        chunk.put_u8(b'\n');
        if chunk.len() >= CHUNK && sender.blocking_send(chunk.split().freeze()).is_err() {
            return;
        }
    }
    let _ = sender.blocking_send(chunk.freeze());
}

/// Creates and fills the pgbench tables: by `pgbench -i` when it is there, else by the same SQL.
async fn load_pgbench(server: &PrivatePostgres, client: &Client) -> Result<(), LoadError> {
    let program = [server.programs().join("pgbench"), "pgbench".into()];
    for program in program {
        let mut command = tokio::process::Command::new(program);
        command.args(["-i", "-q", "-s", &PGBENCH_SCALE.to_string(), "-h", server.host()]);
        command.args(["-p", &server.port().to_string(), "-U", server.superuser(), DATABASE]);
        command.env("PGPASSWORD", server.password()).stdin(Stdio::null()).kill_on_drop(true);
        match command.output().await {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => return Err(LoadError::Pgbench(String::from_utf8_lossy(&output.stderr).into_owned())),
            Err(_) => {} // not there
        }
    }
    client.batch_execute(&PGBENCH.replace(":scale", &PGBENCH_SCALE.to_string())).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demo_database_is_whole_and_its_login_only_reads() {
        let server = tokio::task::spawn_blocking(PrivatePostgres::start).await.unwrap().unwrap();
        let password = load(&server).await.unwrap();
        let client = admin(&server, DATABASE).await.unwrap();
        let counts = client
            .query_one(
                "SELECT ARRAY[(SELECT count(*) FROM region), (SELECT count(*) FROM nation), (SELECT count(*) FROM part),
                    (SELECT count(*) FROM supplier), (SELECT count(*) FROM partsupp), (SELECT count(*) FROM customer),
                    (SELECT count(*) FROM orders), (SELECT count(*) FROM lineitem),
                    (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_branches)]",
                &[],
            )
            .await
            .unwrap();
        // 60,175 line items: the specification's cardinality at this scale factor.
        let expected = [5, 25, 2000, 100, 8000, 1500, 15_000, 60_175, 300_000, 3];
        assert_eq!(counts.get::<_, Vec<i64>>(0), expected);
        let first = client.query_one("SELECT c_name, c_phone FROM customer WHERE c_custkey = 1", &[]).await.unwrap();
        assert_eq!((first.get::<_, &str>(0), first.get::<_, &str>(1)), ("Customer#000000001", "25-989-741-2988"));

        let mut config = server.admin_config(DATABASE);
        config.user(SERVICE_LOGIN).password(&password);
        let (service, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        assert!(service.query("SELECT * FROM nation", &[]).await.is_ok());
        for forbidden in [
            "DELETE FROM nation",
            "CREATE TABLE public.x ()",
            "SELECT rolpassword FROM pg_authid",
            "COPY nation TO PROGRAM 'true'",
        ] {
            let error = service.batch_execute(forbidden).await.unwrap_err();
            assert_eq!(error.code().map(|c| c.code()), Some("42501"), "{forbidden}: {error:?}");
        }
    }

    #[tokio::test]
    async fn the_sql_fallback_creates_what_pgbench_does() {
        let server = tokio::task::spawn_blocking(PrivatePostgres::start).await.unwrap().unwrap();
        let client = admin(&server, "postgres").await.unwrap();
        client.batch_execute(&PGBENCH.replace(":scale", "1")).await.unwrap();
        let row = client
            .query_one(
                "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_tellers),
                    (SELECT bid FROM pgbench_accounts WHERE aid = 100000), (SELECT max(bid) FROM pgbench_tellers)",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 100_000);
        assert_eq!(row.get::<_, i64>(1), 10);
        assert_eq!((row.get::<_, i32>(2), row.get::<_, i32>(3)), (1, 1));
    }
}
