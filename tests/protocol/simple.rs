//! The simple protocol.

use super::raw::{Raw, frame, query};
use super::running;

#[tokio::test(flavor = "multi_thread")]
async fn statements_strings_and_transactions() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for (sql, want) in [
        ("select id from t where id < 3 order by id", &["T", "D 1", "D 2", "C SELECT 2", "Z I"][..]),
        ("", &["I", "Z I"]),
        ("select 1; select 2", &["T", "D 1", "C SELECT 1", "T", "D 2", "C SELECT 1", "Z I"]),
        ("select 1; select 1/0; select 3", &["T", "D 1", "C SELECT 1", "E 22012", "Z I"]),
        ("select 1; select * from hidden", &["E 42P01", "Z I"]),
        ("select 1; selec", &["E 42601", "Z I"]),
        ("create table x (y int)", &["E 0A000", "Z I"]),
        ("begin", &["C BEGIN", "Z T"]),
        ("select * from hidden", &["E 42P01", "Z E"]),
        ("select 1", &["E 25P02", "Z E"]),
        ("select * from hidden", &["E 42P01", "Z E"]),
        ("commit", &["C ROLLBACK", "Z I"]),
        ("select 1", &["T", "D 1", "C SELECT 1", "Z I"]),
    ] {
        assert_eq!(raw.lines(&query(sql), 1).await, want, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_may_be_sent_ahead() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sent: Vec<u8> = ["begin", "select * from hidden", "select 1", "rollback", "select 2"]
        .iter()
        .flat_map(|sql| query(sql))
        .collect();
    let want =
        ["C BEGIN", "Z T", "E 42P01", "Z E", "E 25P02", "Z E", "C ROLLBACK", "Z I", "T", "D 2", "C SELECT 1", "Z I"];
    assert_eq!(raw.lines(&sent, 5).await, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_follow_the_transaction() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let show = |want: &str| vec!["T".to_owned(), format!("D {want}"), "C SHOW".to_owned(), "Z I".to_owned()];
    assert_eq!(raw.lines(&query("show search_path"), 1).await, show("\"$user\", public"));
    raw.lines(&query("begin; set search_path to nowhere; select 1/0"), 1).await;
    raw.lines(&query("rollback"), 1).await;
    assert_eq!(raw.lines(&query("show search_path"), 1).await, show("\"$user\", public"));
    raw.lines(&query("set search_path to a; select 1/0"), 1).await;
    assert_eq!(
        raw.lines(&query("show search_path"), 1).await,
        show("\"$user\", public"),
        "an implicit transaction too"
    );
    let lines = raw.lines(&query("begin; set local search_path to nowhere; select id from t"), 1).await;
    assert_eq!(lines, ["E 42P01", "Z I"], "the statement sees the setting before it");
    assert_eq!(raw.lines(&query("set search_path to other"), 1).await, ["C SET", "Z I"]);
    assert_eq!(raw.lines(&query("select id from t"), 1).await, ["E 42P01", "Z I"]);
    assert_eq!(raw.lines(&query("reset search_path"), 1).await, ["C RESET", "Z I"]);
    assert_eq!(raw.lines(&query("select id from t where id = 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_and_cursors_of_sql() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    for (sql, want) in [
        ("execute p(1)", &["E 26000", "Z I"][..]),
        ("prepare p(int) as select id from t where id = $1", &["C PREPARE", "Z I"]),
        ("execute p(4)", &["T", "D 4", "C SELECT 1", "Z I"]),
        ("prepare q as select 1; execute q", &["C PREPARE", "T", "D 1", "C SELECT 1", "Z I"]),
        ("deallocate p", &["C DEALLOCATE", "Z I"]),
        ("execute p(4)", &["E 26000", "Z I"]),
        ("fetch c", &["E 34000", "Z I"]),
        ("begin; declare c cursor for select id from t order by id", &["C BEGIN", "C DECLARE CURSOR", "Z T"]),
        ("fetch 2 from c", &["T", "D 1", "D 2", "C FETCH 2", "Z T"]),
        ("move c", &["C MOVE 1", "Z T"]),
        ("close c", &["C CLOSE CURSOR", "Z T"]),
        ("fetch c", &["E 34000", "Z E"]),
        ("rollback", &["C ROLLBACK", "Z I"]),
    ] {
        assert_eq!(raw.lines(&query(sql), 1).await, want, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_count_in_the_callers_text() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    raw.send(&query("select 'ß' as ü, nope from t")).await;
    let error = raw.ready(1).await.remove(0);
    assert_eq!((error.field('C').as_deref(), error.field('P').as_deref()), (Some("42703"), Some("18")));
    raw.send(&query("select 1; select 'ü' from hidden")).await;
    let error = raw.ready(1).await.remove(0);
    assert_eq!((error.field('C').as_deref(), error.field('P').as_deref()), (Some("42P01"), Some("27")));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_out_passes_and_stray_copy_messages_are_ignored() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let lines = raw.lines(&query("copy (select id from t where id < 3 order by id) to stdout"), 1).await;
    assert_eq!(lines, ["H", "d", "d", "c", "C COPY 2", "Z I"]);
    assert_eq!(raw.lines(&query("copy t from stdin"), 1).await.last().unwrap(), "Z I");
    let stray = [frame(b'd', b"1\tx\n"), frame(b'c', b""), frame(b'f', b"no\0"), query("select 1")].concat();
    assert_eq!(raw.lines(&stray, 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn function_calls_are_refused_in_their_turn() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let call = frame(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw.lines(&call, 1).await, ["E 0A000", "Z I"]);
    let sent = [query("begin"), call, query("rollback")].concat();
    assert_eq!(raw.lines(&sent, 3).await, ["C BEGIN", "Z T", "E 0A000", "Z E", "C ROLLBACK", "Z I"]);
}
