//! tokio-postgres through the proxy.

use crate::support::{ANYONE, KINDS, PASSWORD, Running, Stage};
use bytes::{BufMut, BytesMut};
use futures_util::{StreamExt, TryStreamExt, future, pin_mut};
use std::error::Error;
use std::time::{Duration, Instant};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

/// A value in binary, whatever its type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Bytes {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

async fn points() -> Running {
    Stage::new()
        .await
        .sql("CREATE TABLE points (id int PRIMARY KEY, label text); INSERT INTO points SELECT i, 'p' || i FROM generate_series(1, 90) i")
        .await
        .sources(&[("points", "{}")])
        .user("ana", &[], &[])
        .policy(ANYONE)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_with_parameters_in_binary() {
    let stage = points().await;
    let client = stage.client("ana").await;
    let statement = client.prepare("SELECT label FROM points WHERE id = $1").await.unwrap();
    for id in [3, 5] {
        let row = client.query_one(&statement, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("p{id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_28p01() {
    let stage = Stage::new().await.user("ana", &[], &[]).start().await;
    let database = stage.database().to_owned();
    for (user, password) in [("ana", "wrong"), ("nobody", "wrong")] {
        let error = stage.try_client(user, password, &database).await.err().unwrap();
        assert_eq!(error.code().map(|code| code.code()), Some("28P01"), "{error:?}");
    }
}

/// Every type: the same bytes in binary and text as read directly, and the same back as a parameter.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_both_ways() {
    let stage = Stage::new()
        .await
        .sql(KINDS)
        .await
        .sources(&[("kinds", "{}")])
        .user("ana", &[], &[])
        .policy(ANYONE)
        .start()
        .await;
    let client = stage.client("ana").await;
    let admin = stage.admin();
    let sql = "SELECT * FROM kinds ORDER BY i4";
    let (mine, theirs) = (client.query(sql, &[]).await.unwrap(), admin.query(sql, &[]).await.unwrap());
    let columns = theirs[0].columns();
    assert!(mine.len() == 3 && columns.len() > 35);
    for (at, column) in columns.iter().enumerate() {
        let (ours, type_name) = (&mine[0].columns()[at], column.type_().name());
        assert_eq!((ours.name(), ours.type_()), (column.name(), column.type_()));
        let value = |rows: &[tokio_postgres::Row]| -> Vec<Option<Bytes>> { rows.iter().map(|r| r.get(at)).collect() };
        let values = value(&theirs);
        assert_eq!(value(&mine), values, "{} {type_name}", column.name());

        let cast = if matches!(type_name, "char" | "bit") { format!("\"{type_name}\"") } else { type_name.to_owned() };
        let cast = cast.strip_prefix('_').map_or(cast.clone(), |element| format!("{element}[]"));
        let echo = client.prepare(&format!("SELECT $1::{cast}")).await.unwrap_or_else(|e| panic!("{cast}: {e:?}"));
        assert_eq!(echo.params()[0], *column.type_(), "{cast}");
        for (value, id) in values.iter().zip(1_i32..) {
            let back: Option<Bytes> = client.query_one(&echo, &[value]).await.unwrap().get(0);
            assert_eq!(back, *value, "{cast}");
            let comparable = !matches!(type_name, "json" | "point") && *value != Some(Bytes(Vec::new()));
            if comparable && value.is_some() {
                let find = format!("SELECT i4 FROM kinds WHERE {} = $1 AND i4 = $2", column.name());
                let found = client.query(&find, &[value, &id]).await.unwrap_or_else(|e| panic!("{find}: {e:?}"));
                assert_eq!(found.len(), 1, "{find}");
            }
        }
    }
    let text = |messages: Vec<SimpleQueryMessage>| -> Vec<Vec<Option<String>>> {
        let rows = messages.into_iter().filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        });
        rows.collect()
    };
    for set in ["SELECT 1", "SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'"] {
        client.batch_execute(set).await.unwrap();
        admin.batch_execute(set).await.unwrap();
        assert_eq!(text(client.simple_query(sql).await.unwrap()), text(admin.simple_query(sql).await.unwrap()));
    }
    let typed = client
        .query_one(
            "SELECT $1::int8 + 1, $2 || 'x', $3::bool, $4::float8[], $5::bytea",
            &[&41_i64, &"ü", &None::<bool>, &vec![1.5_f64, f64::NEG_INFINITY], &vec![0_u8, 255]],
        )
        .await
        .unwrap();
    assert_eq!(typed.get::<_, i64>(0), 42);
    assert_eq!((typed.get::<_, String>(1), typed.get::<_, Option<bool>>(2)), ("üx".to_owned(), None));
    assert_eq!(typed.get::<_, Vec<f64>>(3), [1.5, f64::NEG_INFINITY]);
    assert_eq!(typed.get::<_, Vec<u8>>(4), [0, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_pipelined_and_errors_stay_with_their_own() {
    let stage = points().await;
    let client = stage.client("ana").await;
    // Requests sent before earlier answers have come go out one behind the other.
    let client = std::sync::Arc::new(client);
    let mut queries = tokio::task::JoinSet::new();
    for i in 1..=60_i32 {
        let client = std::sync::Arc::clone(&client);
        queries.spawn(async move {
            let answer = match i % 5 {
                0 => client.query("SELECT nope FROM points", &[]).await,
                1 => client.query("SELECT 1 / ($1::int - $1)", &[&i]).await,
                2 => client.query("SELECT * FROM hidden", &[]).await,
                _ => client.query("SELECT label FROM points WHERE id = $1", &[&i]).await,
            };
            (i, answer.map_err(|e| code(&e).to_owned()))
        });
    }
    for (i, answer) in queries.join_all().await {
        match (i % 5, answer) {
            (0, Err(code)) => assert_eq!(code, "42703"),
            (1, Err(code)) => assert_eq!(code, "22012"),
            (2, Err(code)) => assert_eq!(code, "42P01"),
            (3 | 4, Ok(rows)) => assert_eq!(rows[0].get::<_, String>(0), format!("p{i}")),
            (_, answer) => panic!("{i}: {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_savepoints_and_portals() {
    let stage = points().await;
    let mut client = stage.client("ana").await;
    {
        let mut transaction = client.transaction().await.unwrap();
        let statement = transaction.prepare("SELECT id FROM points ORDER BY id").await.unwrap();
        let portal = transaction.bind(&statement, &[]).await.unwrap();
        let other = transaction.bind(&statement, &[]).await.unwrap();
        let ids = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|r| r.get(0)).collect::<Vec<i32>>();
        assert_eq!(ids(transaction.query_portal(&portal, 3).await.unwrap()), [1, 2, 3]);
        assert_eq!(ids(transaction.query_portal(&other, 1).await.unwrap()), [1]);
        assert_eq!(ids(transaction.query_portal(&portal, 2).await.unwrap()), [4, 5]);
        assert_eq!(transaction.query_portal(&portal, 0).await.unwrap().len(), 85);
        assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 0);
        let savepoint = transaction.savepoint("before").await.unwrap();
        assert_eq!(code(&savepoint.query("SELECT 1/0", &[]).await.unwrap_err()), "22012");
        assert_eq!(code(&savepoint.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
        savepoint.rollback().await.unwrap();
        assert_eq!(ids(transaction.query_portal(&other, 1).await.unwrap()), [2]);
        let savepoint = transaction.savepoint("kept").await.unwrap();
        savepoint.commit().await.unwrap();
        assert_eq!(code(&transaction.query("SELECT * FROM hidden", &[]).await.unwrap_err()), "42P01");
        assert_eq!(code(&transaction.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
        transaction.rollback().await.unwrap();
    }
    let transaction = client.build_transaction().read_only(true).start().await.unwrap();
    assert_eq!(transaction.query("SELECT 1", &[]).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    assert!(client.query("SELECT 1", &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_of_statements_notices_and_reported_settings() {
    let stage = points().await;
    let (client, mut connection) = stage.client_config("ana").connect(NoTls).await.unwrap();
    assert_eq!(connection.parameter("server_encoding"), Some("UTF8"));
    assert_eq!(connection.parameter("session_authorization"), Some("ana"));
    assert_eq!(connection.parameter("is_superuser"), Some("off"));
    assert!(connection.parameter("server_version").unwrap().starts_with(|c: char| c.is_ascii_digit()));
    let watched = tokio::spawn(async move {
        let mut notices = Vec::new();
        while let Some(message) = future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message.unwrap() {
                notices.push((notice.code().code().to_owned(), notice.message().to_owned()));
            }
        }
        (notices, connection.parameter("TimeZone").map(str::to_owned))
    });
    let messages =
        client.simple_query("SELECT 1; SELECT id FROM points WHERE id < 4; ; SET TimeZone = 'Asia/Tokyo'").await;
    let mut seen = Vec::new();
    for message in messages.unwrap() {
        match message {
            SimpleQueryMessage::RowDescription(columns) => seen.push(format!("{} columns", columns.len())),
            SimpleQueryMessage::Row(row) => seen.push(row.get(0).unwrap().to_owned()),
            SimpleQueryMessage::CommandComplete(n) => seen.push(format!("done {n}")),
            _ => {}
        }
    }
    assert_eq!(seen, ["1 columns", "1", "done 1", "1 columns", "1", "2", "3", "done 3", "done 0"]);
    client.batch_execute("ROLLBACK").await.unwrap();
    let error = client.simple_query("SELECT 1; SELECT 1/0; SELECT 2").await.unwrap_err();
    assert_eq!(code(&error), "22012");
    drop(client);
    let (notices, zone) = watched.await.unwrap();
    assert_eq!(notices, [("25P01".to_owned(), "there is no transaction in progress".to_owned())]);
    assert_eq!(zone.as_deref(), Some("Asia/Tokyo"));
}

async fn copied(client: &Client, sql: &str) -> Vec<u8> {
    let stream = client.copy_out(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    pin_mut!(stream);
    let mut out = Vec::new();
    while let Some(chunk) = stream.next().await {
        out.extend_from_slice(&chunk.unwrap());
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_out_gives_the_same_bytes() {
    let stage = points().await;
    let client = stage.client("ana").await;
    for sql in [
        "COPY points TO STDOUT",
        "COPY points (label) TO STDOUT (FORMAT csv, HEADER true)",
        "COPY points TO STDOUT (FORMAT binary)",
        "COPY (SELECT g, repeat('ü', 100) FROM generate_series(1, 20000) g) TO STDOUT",
    ] {
        let direct = copied(stage.admin(), sql).await;
        assert!(copied(&client, sql).await == direct && direct.len() > 300, "{sql}");
    }
    let error = client.copy_out("COPY hidden TO STDOUT").await.err().unwrap();
    assert_eq!(code(&error), "42P01");
    let error = client.copy_out("COPY (SELECT 1 / (g - 5000) FROM generate_series(1, 9000) g) TO STDOUT").await;
    let error = match error {
        Ok(stream) => stream.try_collect::<Vec<_>>().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(code(&error), "22012");
    assert!(client.query("SELECT 1", &[]).await.is_ok());
}

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b";

/// A cancel request as libpq makes it: over when the server has closed, so that it cannot meet a later statement (`PQcancel`).
async fn send_cancel(token: &tokio_postgres::CancelToken, stage: &Running) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (ours, mut theirs) = tokio::io::duplex(64);
    token.cancel_query_raw(ours, NoTls).await.unwrap();
    let mut request = Vec::new();
    theirs.read_to_end(&mut request).await.unwrap();
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", stage.port)).await.unwrap();
    socket.write_all(&request).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0, "no answer (manual, 55.2.8)");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_cancelled_and_time_out() {
    let stage = points().await;
    let client = stage.client("ana").await;
    let other = stage.client("ana").await;
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        send_cancel(&token, &stage).await;
    };
    let begun = Instant::now();
    let (cancelled, (), untouched) =
        tokio::join!(client.query(ENDLESS, &[]), cancel, other.query("SELECT pg_typeof(1) FROM points", &[]));
    assert_eq!(code(&cancelled.unwrap_err()), "57014");
    assert!(untouched.is_ok() && begun.elapsed() < Duration::from_secs(10));
    // A cancel that comes when nothing runs, or for nobody, changes nothing.
    send_cancel(&token, &stage).await;
    assert!(client.query("SELECT 1", &[]).await.is_ok());
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    let error = client.query(ENDLESS, &[]).await.unwrap_err();
    assert_eq!(code(&error), "57014");
    assert!(error.as_db_error().unwrap().message().contains("statement timeout"), "{error:?}");
    client.batch_execute("RESET statement_timeout").await.unwrap();
    assert!(client.query("SELECT count(*) FROM points", &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_parameters_and_results() {
    let stage = points().await;
    let client = stage.client("ana").await;
    let eight = 8 << 20;
    let row = client.query_one("SELECT repeat('ü', $1), 7", &[&(eight / 2)]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0).len(), row.get::<_, i32>(1)), (usize::try_from(eight).unwrap(), 7));
    let text = "x".repeat(usize::try_from(eight).unwrap());
    let row = client.query_one("SELECT length($1), md5($1)", &[&text]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), eight);
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw("SELECT g, 'row ' || g FROM generate_series(1, 200000) g", none).await.unwrap();
    pin_mut!(rows);
    let mut expected = 1;
    while let Some(row) = rows.next().await {
        let row = row.unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (expected, format!("row {expected}").as_str()));
        expected += 1;
    }
    assert_eq!(expected, 200_001);
    let many = client.simple_query("SELECT * FROM generate_series(1, 200000)").await.unwrap();
    assert_eq!(many.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_once() {
    let stage = points().await;
    for _ in 0..3 {
        let sessions = (0..25_i32).map(|i| {
            let config = stage.client_config("ana");
            tokio::spawn(async move {
                let (client, connection) = config.connect(NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("SET application_name = 'number {i}'")).await.unwrap();
                let statement = client.prepare("SELECT label FROM points WHERE id = $1").await.unwrap();
                for id in 1..=10 {
                    let row = client.query_one(&statement, &[&(id + i)]).await.unwrap();
                    assert_eq!(row.get::<_, String>(0), format!("p{}", id + i));
                }
                let row = client.query_one("SELECT current_setting('application_name')", &[]).await.unwrap();
                assert_eq!(row.get::<_, String>(0), format!("number {i}"));
            })
        });
        for session in sessions.collect::<Vec<_>>() {
            session.await.unwrap();
        }
        // What a session has set is not there for the next one on the same connection of the pool.
        let next = stage.client("ana").await;
        let row = next.query_one("SELECT current_setting('application_name')", &[]).await.unwrap();
        assert!(!row.get::<_, String>(0).starts_with("number"));
    }
    assert_eq!(code(&stage.try_client("ana", &format!("{PASSWORD}!"), stage.database()).await.err().unwrap()), "28P01");
}
