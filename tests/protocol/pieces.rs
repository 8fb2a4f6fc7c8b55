//! Transcripts of every kind, cut at every byte: the answer is the same to the last byte.

use super::raw::{Message, Raw, bind, close, describe, execute, flush, frame, parse, query, run, sync};
use super::running;
use std::time::Duration;

/// Each leaves the session as it found it, so that one connection serves all cuts.
fn transcripts() -> Vec<(&'static str, usize, Vec<u8>)> {
    let prepared = parse("s", "select id, name from t where id < $1 order by id");
    let by_rows =
        [bind("p", "s", &["8"]), describe('P', "p"), execute("p", 3), execute("p", 3), execute("p", 0)].concat();
    vec![
        (
            "simple",
            3,
            [query("select 'ü', id from t order by id"), query(""), query("select 1; select 1/0; select 2")].concat(),
        ),
        (
            "a transaction",
            4,
            ["begin", "select id from t where id = 2", "select * from hidden", "rollback"].map(query).concat(),
        ),
        (
            "settings",
            4,
            ["set search_path to nowhere", "select id from t", "reset search_path", "select id from t where id = 1"]
                .map(query)
                .concat(),
        ),
        (
            "extended",
            2,
            [
                prepared.clone(),
                describe('S', "s"),
                bind("", "s", &["3"]),
                describe('P', ""),
                execute("", 0),
                sync(),
                close('S', "s"),
                sync(),
            ]
            .concat(),
        ),
        (
            "pipelined",
            3,
            [
                run("select 1"),
                run("select id from t where id = 4"),
                sync(),
                run("select 2"),
                flush(),
                run("select 3"),
                sync(),
                run("select 4"),
                sync(),
            ]
            .concat(),
        ),
        (
            "errors up to sync",
            3,
            [
                run("select 1"),
                run("select * from hidden"),
                run("select 2"),
                sync(),
                run("select 1/0"),
                run("select 3"),
                sync(),
                run("select 4"),
                sync(),
            ]
            .concat(),
        ),
        (
            "portals",
            4,
            [query("begin"), prepared, by_rows, close('P', "p"), sync(), query("rollback"), close('S', "s"), sync()]
                .concat(),
        ),
        (
            "copy",
            3,
            [
                query("copy (select id, name from t order by id) to stdout"),
                run("copy (values (1, 'ü')) to stdout (format csv)"),
                sync(),
                frame(b'd', b"stray"),
                frame(b'c', b""),
                query("select 1"),
            ]
            .concat(),
        ),
        (
            "cursors",
            1,
            query(
                "begin; declare c cursor for select id from t order by id; fetch 2 c; move 1 c; fetch c; close c; commit",
            ),
        ),
        (
            "named statements",
            3,
            ["prepare q(int) as select $1 + 1", "execute q(41)", "deallocate q"].map(query).concat(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_at_every_byte() {
    let running = running().await;
    for (name, batches, bytes) in transcripts() {
        let mut raw = Raw::new(&running, "ana").await;
        raw.send(&bytes).await;
        let whole: Vec<Message> = raw.ready(batches).await;
        for at in 1..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            raw.send(head).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            raw.send(tail).await;
            assert_eq!(raw.ready(batches).await, whole, "{name}, cut at {at}");
        }
        for step in [1, 2, 3, 7] {
            for piece in bytes.chunks(step) {
                raw.send(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(raw.ready(batches).await, whole, "{name}, in pieces of {step}");
        }
    }
}
