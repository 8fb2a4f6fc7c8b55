//! The extended protocol: order, errors, pipelines.

use super::raw::{Raw, bind, close, describe, execute, flush, frame, parse, query, run, sync};
use super::running;

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_sequence() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let prepare = [parse("s", "select id, name from t where id = $1"), describe('S', "s"), sync()].concat();
    assert_eq!(raw.lines(&prepare, 1).await, ["1", "t", "T", "Z I"]);
    let ask = [bind("", "s", &["7"]), describe('P', ""), execute("", 0), sync()].concat();
    assert_eq!(raw.lines(&ask, 1).await, ["2", "T", "D 7|n7", "C SELECT 1", "Z I"]);
    assert_eq!(raw.lines(&[close('S', "s"), sync()].concat(), 1).await, ["3", "Z I"]);
    assert_eq!(raw.lines(&[bind("", "s", &["7"]), sync()].concat(), 1).await, ["E 26000", "Z I"]);
    assert_eq!(raw.lines(&[run(""), sync()].concat(), 1).await, ["1", "2", "I", "Z I"]);
    assert_eq!(raw.lines(&[parse("", "select 1; select 2"), sync()].concat(), 1).await, ["E 42601", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_are_suspended_and_resumed() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sent = [
        parse("", "select id from t order by id"),
        bind("p", "", &[]),
        execute("p", 2),
        execute("p", 1),
        execute("p", 0),
        close('P', "p"),
        execute("p", 0),
        execute("p", 0),
        sync(),
    ]
    .concat();
    let mut want = vec!["1", "2", "D 1", "D 2", "s", "D 3", "s"];
    let rest: Vec<String> = (4..=10).map(|i| format!("D {i}")).collect();
    want.extend(rest.iter().map(String::as_str));
    want.extend(["C SELECT 7", "3", "E 34000", "Z I"]);
    assert_eq!(raw.lines(&sent, 1).await, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sent =
        [run("select 1"), run("select 1/0"), run("select 3"), query("select 4"), sync(), run("select 5"), sync()];
    let want = ["1", "2", "D 1", "C SELECT 1", "1", "2", "E 22012", "Z I", "1", "2", "D 5", "C SELECT 1", "Z I"];
    // Bind folds the constant, so that Bind fails and not Execute.
    let want: Vec<&str> = want.into_iter().collect();
    let got = raw.lines(&sent.concat(), 2).await;
    let without_binds = |l: &[&str]| l.iter().filter(|l| **l != "2").map(|l| (*l).to_owned()).collect::<Vec<_>>();
    assert_eq!(without_binds(&got.iter().map(String::as_str).collect::<Vec<_>>()), without_binds(&want));
}

/// PostgreSQL prints a byte into this text that is no UTF-8.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_no_utf8_is_an_error_like_others() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sql = "SELECT setweight('a:1'::tsvector, \"char\"(-1))";
    assert_eq!(raw.lines(&query(sql), 1).await, ["E XX000", "Z I"]);
    assert_eq!(raw.lines(&[run(sql), sync()].concat(), 1).await.last().map(String::as_str), Some("Z I"));
    assert_eq!(raw.lines(&query("select 1"), 1).await, ["T", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_in_their_turn() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    // Nothing under way: the warehouse is not asked.
    let sent = [run("select * from hidden"), run("select 2"), sync()].concat();
    assert_eq!(raw.lines(&sent, 1).await, ["E 42P01", "Z I"]);
    // Behind a statement of the same batch, and before another batch.
    let sent =
        [run("select 1"), run("select * from hidden"), run("select 2"), sync(), run("select 3"), sync()].concat();
    let want = ["1", "2", "D 1", "C SELECT 1", "E 42P01", "Z I", "1", "2", "D 3", "C SELECT 1", "Z I"];
    assert_eq!(raw.lines(&sent, 2).await, want);
    // In a transaction block, which has failed then.
    assert_eq!(raw.lines(&query("begin"), 1).await, ["C BEGIN", "Z T"]);
    assert_eq!(raw.lines(&[run("select * from hidden"), sync()].concat(), 1).await, ["E 42P01", "Z E"]);
    assert_eq!(raw.lines(&[run("select 1"), sync()].concat(), 1).await, ["E 25P02", "Z E"]);
    assert_eq!(raw.lines(&[run("rollback"), sync()].concat(), 1).await, ["1", "2", "C ROLLBACK", "Z I"]);
    // Behind an error of the warehouse the refusal is skipped.
    let sent = [run("select 1/0"), run("select * from hidden"), sync()].concat();
    let got = raw.lines(&sent, 1).await;
    assert_eq!(got.iter().filter(|l| l.starts_with('E')).collect::<Vec<_>>(), ["E 22012"]);
    // Answered at Flush, skipped until Sync.
    raw.send(&[run("select 1"), parse("", "select * from hidden"), flush()].concat()).await;
    let mut got = Vec::new();
    while got.last().is_none_or(|l: &String| !l.starts_with('E')) {
        got.push(raw.next().await.unwrap().line());
    }
    assert_eq!(got, ["1", "2", "D 1", "C SELECT 1", "E 42P01"]);
    assert_eq!(raw.lines(&[run("select 9"), sync()].concat(), 1).await, ["Z I"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simple_query_within_an_open_batch() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sent = [run("select 1"), query("select 2"), run("select 3"), query("select * from hidden"), query("select 4")]
        .concat();
    let want = [
        "1",
        "2",
        "D 1",
        "C SELECT 1",
        "T",
        "D 2",
        "C SELECT 1",
        "Z I",
        "1",
        "2",
        "D 3",
        "C SELECT 1",
        "E 42P01",
        "Z I",
        "T",
        "D 4",
        "C SELECT 1",
        "Z I",
    ];
    assert_eq!(raw.lines(&sent, 3).await, want);
    let call = frame(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let sent = [run("select 1/0"), call, query("select 2"), sync(), query("select 3")].concat();
    let got = raw.lines(&sent, 2).await;
    assert_eq!(got[got.len() - 5..], ["Z I", "T", "D 3", "C SELECT 1", "Z I"]);
    assert_eq!(got.iter().filter(|l| l.starts_with('E')).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_of_many_batches() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    raw.lines(&[parse("s", "select $1::int"), sync()].concat(), 1).await;
    let mut sent = Vec::new();
    for i in 0..500 {
        let i = i.to_string();
        sent.extend([bind("", "s", &[&i]), execute("", 0), sync()].concat());
    }
    let got = raw.lines(&sent, 500).await;
    for (i, batch) in got.chunks(4).enumerate() {
        assert_eq!(batch, ["2".to_owned(), format!("D {i}"), "C SELECT 1".to_owned(), "Z I".to_owned()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_after_failed_batches_are_the_warehouses() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    assert_eq!(raw.lines(&[parse("s", "select 1"), sync()].concat(), 1).await, ["1", "Z I"]);
    // The second Parse of the name fails; the name still means the first, also for a batch sent at once.
    let sent = [parse("s", "select 2"), sync(), bind("", "s", &[]), execute("", 0), sync()].concat();
    assert_eq!(raw.lines(&sent, 2).await, ["E 42P05", "Z I", "2", "D 1", "C SELECT 1", "Z I"]);
    // A Parse that is skipped never happened, nor did a Close.
    let sent =
        [run("select 1/0"), close('S', "s"), parse("n", "select 3"), sync(), bind("", "n", &[]), sync()].concat();
    let got = raw.lines(&sent, 2).await;
    assert_eq!(got[got.len() - 3..], ["Z I", "E 26000", "Z I"]);
    assert_eq!(
        raw.lines(&[bind("", "s", &[]), execute("", 0), sync()].concat(), 1).await,
        ["2", "D 1", "C SELECT 1", "Z I"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_transactions_by_extended_messages() {
    let running = running().await;
    let mut raw = Raw::new(&running, "ana").await;
    let sent = [run("begin"), run("set local search_path to nowhere"), run("select id from t"), sync()].concat();
    let got = raw.lines(&sent, 1).await;
    assert_eq!(got[got.len() - 2..], ["E 42P01", "Z E"]);
    assert_eq!(raw.lines(&[run("rollback"), sync()].concat(), 1).await, ["1", "2", "C ROLLBACK", "Z I"]);
    let sent = [run("set search_path to nowhere"), sync(), run("show search_path"), sync()].concat();
    assert_eq!(raw.lines(&sent, 2).await, ["1", "2", "C SET", "Z I", "1", "2", "D nowhere", "C SHOW", "Z I"]);
    let sent = [run("prepare p as select 5"), run("execute p"), sync()].concat();
    assert_eq!(raw.lines(&sent, 1).await, ["1", "2", "C PREPARE", "1", "2", "D 5", "C SELECT 1", "Z I"]);
}
