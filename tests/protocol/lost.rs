//! The warehouse goes away under sessions in every state, and comes back.

use super::raw::{Message, Raw, parse, query, run, sync};
use super::support::{ANYONE, PrivatePostgres, Stage};
use std::time::Duration;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_told_and_new_ones_begin_when_it_is_back() {
    let server: &'static PrivatePostgres = Box::leak(Box::new(PrivatePostgres::start().unwrap()));
    let stage = Stage::on(server).await.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id").await;
    let running = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]).start().await;
    for round in 0..2 {
        let mut idle = Raw::new(&running, "ana").await;
        let mut open = Raw::new(&running, "ana").await;
        open.lines(&query("begin"), 1).await;
        let mut prepared = Raw::new(&running, "ana").await;
        assert_eq!(prepared.lines(&[parse("s", "select id from t"), sync()].concat(), 1).await, ["1", "Z I"]);
        // In the middle of rows, with more than any buffer holds still to come, and of a batch without Sync.
        let mut rows = Raw::new(&running, "ana").await;
        rows.send(&query("select repeat('x', 10000) from t a, t b, t c")).await;
        assert_eq!(rows.next().await.unwrap().tag, 'T');
        let mut batch = Raw::new(&running, "ana").await;
        batch.send(&[run("select count(*) from t a, t b, t c, t d, t e"), run("select 2")].concat()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.pause().unwrap();
        for (what, raw) in [
            ("idle", &mut idle),
            ("transaction", &mut open),
            ("prepared", &mut prepared),
            ("rows", &mut rows),
            ("batch", &mut batch),
        ] {
            if matches!(what, "idle" | "transaction" | "prepared") {
                raw.send(&query("select 1")).await;
            }
            let (said, half) = whole_and_half(raw).await;
            // A row that was cut short ends the connection without a word: the word would be taken for a part of it.
            assert!(half.is_empty() || what == "rows", "{what}: {half:?}");
            if !half.is_empty() {
                assert!(half[0] == b'D' && half.iter().skip(11).all(|b| *b == b'x'), "{what}: {half:?}");
                continue;
            }
            let end = said.last().unwrap_or_else(|| panic!("{what}: nothing said"));
            assert_eq!((end.tag, end.field('S').as_deref()), ('E', Some("FATAL")), "{what}");
            let code = end.field('C').unwrap();
            assert!(["08006", "57P01"].contains(&code.as_str()), "{what}: {code} {:?}", end.field('M'));
            let errors = said.iter().filter(|m| m.tag == 'E').count();
            assert!(errors == 1, "{what}: {:?}", said.iter().map(Message::line).collect::<Vec<_>>());
        }
        let login = [("user", "ana"), ("database", running.database())];
        let refused = Raw::with(&running, 0, &login).await.err().expect("no session without a warehouse");
        assert_eq!(refused.line(), "E 08006");
        server.resume().unwrap();
        running
            .eventually("the warehouse is back", async |running| {
                let login = [("user", "ana"), ("database", running.database())];
                match Raw::with(running, 0, &login).await {
                    Ok(mut raw) => raw.lines(&query("select count(*) from t"), 1).await.contains(&"D 100".to_owned()),
                    Err(_) => false,
                }
            })
            .await;
        assert!(running.proxy().sessions() <= 1, "round {round}: {} sessions left over", running.proxy().sessions());
    }
    server.pause().unwrap();
}

/// Everything until the connection closes: whole messages, and what came of one more.
async fn whole_and_half(raw: &mut Raw) -> (Vec<Message>, Vec<u8>) {
    let mut bytes = Vec::new();
    let read = raw.stream.read_to_end(&mut bytes);
    let ended = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection ends");
    let _ = ended;
    let (mut whole, mut rest) = (Vec::new(), bytes.as_slice());
    while rest.len() >= 5 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let Some(body) = rest.get(5..1 + length) else { break };
        whole.push(Message { tag: rest[0] as char, body: body.to_vec() });
        rest = &rest[1 + length..];
    }
    (whole, rest.to_vec())
}
