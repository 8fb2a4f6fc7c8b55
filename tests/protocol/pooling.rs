//! Clients that take turns in the warehouse's sessions, transaction by transaction: what follows them, what keeps them in one, and that
//! nobody finds anything of another (docs/pooling.md).

use super::raw::{Raw, bind, close, describe, execute, frame, parse, query, run, sync};
use super::support::{Running, Stage};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANYONE: &str = "policyKey: anyone\nname: anyone\ntype: subscription\nactions: {type: anyone}\n";
/// Everybody sees rows of his own.
const OWN: &str = "policyKey: own\nname: own\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"owner = @username\"}\ncircumstances: [{type: columnTags, columnTag: Owner}]\n";

const COUNT: &str = "select id from mine order by id";

async fn stage(max: usize, more: &str) -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE mine (id serial PRIMARY KEY, owner text NOT NULL);
             INSERT INTO mine (owner) VALUES ('ana'), ('bob'), ('ana'), ('eve');
             CREATE TABLE open (x int); INSERT INTO open VALUES (1);
             CREATE FUNCTION public.mark(text) RETURNS text VOLATILE LANGUAGE sql
                 AS $$ SELECT pg_catalog.set_config('app.mark', $1, false) $$;
             CREATE FUNCTION public.marked() RETURNS text STABLE LANGUAGE sql
                 AS $$ SELECT pg_catalog.current_setting('app.mark', true) $$;
             CREATE FUNCTION public.grab() RETURNS void VOLATILE LANGUAGE sql AS $$ SELECT pg_catalog.pg_advisory_lock(7) $$",
        )
        .await
        .writable()
        .await
        .connection(
            "\n    functions:\n      - {function: public.mark(text), volatility: volatile, vouched_by: t}\n      \
             - {function: public.marked(), volatility: stable, vouched_by: t}\n      \
             - {function: public.grab(), volatility: volatile, vouched_by: t}\n",
        )
        .sources(&[("mine", "{owner: [Owner]}"), ("open", "{}")])
        .policy(ANYONE)
        .policy(OWN)
        .user("ana", &[], &[])
        .user("bob", &[], &[])
        .user("eve", &[], &[])
        .writes("ana", &["mine", "open"])
        .writes("bob", &["mine", "open"])
        .turns(max, more)
        .start()
        .await
}

/// The warehouse's sessions for callers.
async fn pids(running: &Running) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where usename like 'service%' and datname = current_database() \
               and application_name not like 'sqlveil catalog%' and application_name not like 'sqlveil directory%' order by 1";
    running.admin().query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The values of the rows.
fn values(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("D ")).collect()
}

async fn ask(raw: &mut Raw, sql: &str) -> Vec<String> {
    raw.lines(&query(sql), 1).await
}

async fn value(raw: &mut Raw, sql: &str) -> String {
    let lines = ask(raw, sql).await;
    values(&lines).first().unwrap_or_else(|| panic!("{sql}: {lines:?}")).to_string()
}

fn bound(name: &str) -> Vec<u8> {
    [bind("", name, &[]), execute("", 0), sync()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_share_few_sessions() {
    let running = stage(2, "").await;
    let mut clients = Vec::new();
    for user in ["ana", "bob", "eve", "ana", "bob", "eve", "ana", "bob"] {
        clients.push((user, Raw::new(&running, user).await));
    }
    for round in 0..20 {
        for (user, raw) in &mut clients {
            let own: &[&str] = match *user {
                "ana" => &["1", "3"],
                "bob" => &["2"],
                _ => &["4"],
            };
            let said = if round == 0 {
                raw.lines(&[parse("s", COUNT), describe('S', "s"), bound("s")].concat(), 1).await
            } else if round % 3 == 0 {
                ask(raw, COUNT).await
            } else if round % 3 == 1 {
                raw.lines(&[run(COUNT), sync()].concat(), 1).await
            } else {
                raw.lines(&bound("s"), 1).await
            };
            assert_eq!(values(&said), own, "{user} in round {round}: {said:?}");
            assert!(said.iter().all(|line| !line.starts_with('E') && !line.starts_with('S')), "{said:?}");
        }
    }
    assert!(pids(&running).await.len() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_once_wait_for_each_other() {
    let running = stage(3, "").await;
    let mut tasks = Vec::new();
    for number in 0..24 {
        let user = ["ana", "bob", "eve"][number % 3];
        let mut raw = Raw::new(&running, user).await;
        tasks.push(tokio::spawn(async move {
            let own: &[&str] = [&["1", "3"][..], &["2"], &["4"]][number % 3];
            assert_eq!(raw.lines(&[parse("s", COUNT), sync()].concat(), 1).await, ["1", "Z I"]);
            for round in 0..40 {
                let zone = format!("Etc/GMT+{}", number % 12);
                let said = match (round + number) % 5 {
                    0 => ask(&mut raw, COUNT).await,
                    1 => raw.lines(&bound("s"), 1).await,
                    2 => {
                        let mut said = ask(&mut raw, &format!("begin; set timezone to '{zone}'")).await;
                        said.extend(ask(&mut raw, COUNT).await);
                        said.extend(ask(&mut raw, "commit").await);
                        said
                    }
                    3 => {
                        raw.lines(&[query("begin"), bound("s"), query("select 1/0"), query("rollback")].concat(), 4)
                            .await
                    }
                    _ => raw.lines(&[run(COUNT), sync(), bound("s")].concat(), 2).await,
                };
                let mut got = values(&said);
                got.dedup_by(|a, b| own.len() == 1 && a == b);
                assert_eq!(got[..own.len()], *own, "{said:?}");
                assert!(got.iter().all(|id| own.contains(id)), "{said:?}");
                if round > 5 {
                    assert_eq!(value(&mut raw, "show timezone").await, zone);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(pids(&running).await.len() <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_user_is_there_for_the_next() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    let one = pids(&running).await;
    assert_eq!(one.len(), 1);
    let default = value(&mut bob, "show timezone").await;
    let nothing = ["select public.marked()", "show timezone", "show sqlveil.project", "show work_mem"];
    let mut before = Vec::new();
    for sql in nothing {
        before.push(ask(&mut bob, sql).await);
    }
    assert!(ask(&mut bob, "select currval('mine_id_seq')").await.contains(&"E 55000".to_owned()));
    for sql in [
        "set timezone to 'Asia/Tokyo'",
        "set work_mem to '7MB'",
        "set statement_timeout to '1s'",
        "set search_path to nowhere, public",
        "insert into mine (owner) values ('ana')",
        "select nextval('mine_id_seq')",
        "select public.mark('of ana')",
        "select public.grab()",
        "set session characteristics as transaction read only",
        "begin; select 1/0",
        "rollback",
    ] {
        let said = ask(&mut ana, sql).await;
        assert!(!said.iter().any(|line| line.starts_with('E')) || sql.contains("1/0"), "{sql}: {said:?}");
    }
    let said = ana.lines(&[parse("s", COUNT), parse("", "select 1"), sync()].concat(), 1).await;
    assert_eq!(said, ["1", "1", "Z I"]);
    // What was done to the warehouse's session is undone before the next user's statement.
    for (sql, before) in nothing.iter().zip(&before) {
        let said = ask(&mut bob, sql).await;
        let marked = |lines: &[String]| values(lines).iter().all(|v| v.is_empty() || *v == "∅");
        assert!(said == *before || (sql.contains("marked") && marked(&said)), "{sql}: {said:?}, not {before:?}");
    }
    assert_eq!(value(&mut bob, "show timezone").await, default);
    assert!(ask(&mut bob, "select currval('mine_id_seq')").await.contains(&"E 55000".to_owned()));
    assert_eq!(bob.lines(&bound("s"), 1).await, ["E 26000", "Z I"]);
    assert_eq!(bob.lines(&bound(""), 1).await, ["E 26000", "Z I"]);
    assert_eq!(ask(&mut bob, "execute s").await, ["E 26000", "Z I"]);
    assert_eq!(ask(&mut bob, "insert into open values (2)").await, ["C INSERT 0 1", "Z I"]);
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    let locks: i64 = running.admin().query_one(locks, &[]).await.unwrap().get(0);
    assert_eq!(locks, 0);
    // And is there again for its own.
    assert_eq!(value(&mut ana, "show timezone").await, "Asia/Tokyo");
    assert_eq!(value(&mut ana, "show work_mem").await, "7MB");
    assert_eq!(value(&mut ana, "show search_path").await, "nowhere, public");
    assert_eq!(ask(&mut ana, "insert into open values (2)").await, ["E 25006", "Z I"]);
    assert_eq!(values(&ana.lines(&bound("s"), 1).await)[..2], ["1", "3"]);
    assert_eq!(pids(&running).await, one);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_follow_keeps_the_session() {
    let running = stage(1, ", min: 1, wait: 500ms").await;
    running.eventually("a session to share", async |running| pids(running).await.len() == 1).await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    for (hold, give_up) in [
        ("begin", "commit"),
        ("create temp table t (x int)", "drop table t"),
        ("begin; declare c cursor with hold for select id from mine; commit", "close c"),
        ("prepare p as select id from mine", "deallocate p"),
        ("begin; select 1/0", "rollback"),
        ("create temp table t (x int)", "discard all"),
        ("set session characteristics as transaction isolation level serializable, read write", "discard all"),
        ("begin; create temp table t (x int) on commit drop", "commit"),
    ] {
        let said = ask(&mut ana, hold).await;
        assert!(said.last().unwrap().starts_with('Z'), "{hold}: {said:?}");
        assert_eq!(ask(&mut bob, COUNT).await, ["E 53300", "Z I"], "{hold}");
        assert_eq!(bob.lines(&[run(COUNT), sync()].concat(), 1).await, ["E 53300", "Z I"], "{hold}");
        let said = ask(&mut ana, give_up).await;
        assert!(!said.iter().any(|line| line.starts_with('E')), "{give_up}: {said:?}");
        assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"], "{give_up}");
        assert_eq!(ask(&mut bob, "select * from t").await, ["E 42P01", "Z I"]);
    }
    // A table that a rollback took away again, and one that is left behind by a client who goes.
    ask(&mut ana, "begin; create temp table t (x int)").await;
    ask(&mut ana, "rollback").await;
    assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    ask(&mut ana, "create temp table t as select 1 as x").await;
    drop(ana);
    running.eventually("the table is gone", async |_| values(&ask(&mut bob, COUNT).await) == ["2"]).await;
    assert_eq!(ask(&mut bob, "create temp table t (x int)").await, ["C CREATE TABLE", "Z I"]);
    assert_eq!(value(&mut bob, "select count(*) from t").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_follow_and_the_client_is_told_the_truth() {
    let running = stage(2, "").await;
    let db = running.database().to_owned();
    let parameters =
        [("user", "ana"), ("database", db.as_str()), ("application_name", "mine"), ("TimeZone", "Asia/Tokyo")];
    let mut ana = Raw::with(&running, 0, &parameters).await.unwrap();
    assert_eq!((ana.parameter("application_name"), ana.parameter("TimeZone")), (Some("mine"), Some("Asia/Tokyo")));
    let (mut bob, mut eve) = (Raw::new(&running, "bob").await, Raw::new(&running, "eve").await);
    assert_ne!(bob.parameter("TimeZone"), Some("Asia/Tokyo"));
    assert_ne!(bob.parameter("application_name"), Some("mine"));
    for turn in 0..4 {
        // Others hold one session, or the other.
        ask(&mut bob, "begin").await;
        assert_eq!(ask(&mut ana, "show timezone").await, ["T", "D Asia/Tokyo", "C SHOW", "Z I"], "{turn}");
        ask(&mut eve, "begin").await;
        ask(&mut bob, "rollback").await;
        assert_eq!(ask(&mut ana, "show application_name").await, ["T", "D mine", "C SHOW", "Z I"], "{turn}");
        assert_eq!(value(&mut bob, "show timezone").await, bob.parameter("TimeZone").unwrap());
        ask(&mut eve, "rollback").await;
    }
    // SET says so, and so do RESET and a rollback.
    assert_eq!(ask(&mut ana, "set timezone to 'Asia/Seoul'").await, ["C SET", "S", "Z I"]);
    assert_eq!(ask(&mut bob, "select 1").await, ["T", "D 1", "C SELECT 1", "Z I"]);
    assert_eq!(ask(&mut ana, "begin; set timezone to 'Asia/Kolkata'").await, ["C BEGIN", "C SET", "S", "Z T"]);
    assert_eq!(ask(&mut ana, "rollback").await, ["C ROLLBACK", "S", "Z I"]);
    assert_eq!(ask(&mut bob, "select 1").await, ["T", "D 1", "C SELECT 1", "Z I"]);
    assert_eq!(ask(&mut ana, "show timezone").await, ["T", "D Asia/Seoul", "C SHOW", "Z I"]);
    // By function too, one or several, with values known beforehand or not.
    ask(&mut ana, "select set_config('timezone', 'Asia/Tokyo', false)").await;
    ask(&mut bob, "select 1").await;
    assert_eq!(value(&mut ana, "show timezone").await, "Asia/Tokyo");
    let set = [parse("", "select set_config('work_mem', $1, false)"), bind("", "", &["9MB"]), execute("", 0), sync()];
    assert_eq!(values(&ana.lines(&set.concat(), 1).await), ["9MB"]);
    assert_eq!(value(&mut bob, "show work_mem").await, value(&mut eve, "show work_mem").await);
    assert_eq!(value(&mut ana, "show work_mem").await, "9MB");
    // RESET ALL comes back to what the client began with.
    ask(&mut ana, "discard all").await;
    ask(&mut ana, "set timezone to 'Asia/Seoul'").await;
    ask(&mut ana, "reset all").await;
    ask(&mut bob, "select 1").await;
    assert_eq!(value(&mut ana, "show timezone").await, "Asia/Tokyo");
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    for raw in [&mut ana, &mut bob] {
        // Both know it by one name, and the warehouse by two.
        let said = raw.lines(&[parse("s", COUNT), describe('S', "s"), sync()].concat(), 1).await;
        assert_eq!(said, ["1", "t", "T", "Z I"]);
    }
    assert_eq!(values(&ana.lines(&bound("s"), 1).await), ["1", "3"]);
    assert_eq!(values(&bob.lines(&bound("s"), 1).await), ["2"]);
    // A second of the same text needs no second preparation, and answers as if it did.
    assert_eq!(
        ana.lines(&[parse("again", COUNT), bound("again")].concat(), 1).await,
        ["1", "2", "D 1", "D 3", "C SELECT 2", "Z I"]
    );
    // Names are taken, given up and free again.
    assert_eq!(ana.lines(&[parse("s", "select 1"), sync()].concat(), 1).await, ["E 42P05", "Z I"]);
    assert_eq!(
        ana.lines(&[close('S', "s"), parse("s", "select 1"), bound("s")].concat(), 1).await,
        ["3", "1", "2", "D 1", "C SELECT 1", "Z I"]
    );
    assert_eq!(ask(&mut ana, "deallocate s").await, ["C DEALLOCATE", "Z I"]);
    assert_eq!(ana.lines(&bound("s"), 1).await, ["E 26000", "Z I"]);
    assert_eq!(ask(&mut ana, "deallocate s").await, ["E 26000", "Z I"]);
    let by_message = [parse("", "deallocate again"), bind("", "", &[]), execute("", 0), sync()].concat();
    assert_eq!(ana.lines(&by_message, 1).await, ["1", "2", "C DEALLOCATE", "Z I"]);
    assert_eq!(ana.lines(&by_message, 1).await, ["1", "2", "E 26000", "Z I"]);
    assert_eq!(values(&bob.lines(&bound("s"), 1).await), ["2"]);
    // A failed transaction refuses, and loses nothing.
    ask(&mut bob, "begin; select 1/0").await;
    assert_eq!(bob.lines(&bound("s"), 1).await, ["E 25P02", "Z E"]);
    assert_eq!(ask(&mut bob, "deallocate s").await, ["E 25P02", "Z E"]);
    ask(&mut bob, "rollback").await;
    assert_eq!(values(&bob.lines(&bound("s"), 1).await), ["2"]);
    // All of them: one's own.
    assert_eq!(ana.lines(&[parse("s", COUNT), sync()].concat(), 1).await, ["1", "Z I"]);
    for all in ["deallocate all", "discard all"] {
        let said = ask(&mut ana, all).await;
        assert_eq!(said.first().map(|line| line.to_lowercase()), Some(format!("c {all}")), "{said:?}");
        assert_eq!(ana.lines(&bound("s"), 1).await, ["E 26000", "Z I"]);
        assert_eq!(values(&bob.lines(&bound("s"), 1).await), ["2"]);
    }
    // What does not come to be is not there; what cannot be is refused.
    assert_eq!(ana.lines(&[parse("bad", "select nothing from mine"), sync()].concat(), 1).await, ["E 42703", "Z I"]);
    assert_eq!(ana.lines(&bound("bad"), 1).await, ["E 26000", "Z I"]);
    assert_eq!(ana.lines(&[parse("s", COUNT), sync()].concat(), 1).await, ["1", "Z I"]);
    assert_eq!(ask(&mut ana, "execute s").await, ["E 0A000", "Z I"]);
    // The unnamed one lives from batch to batch, too.
    assert_eq!(ana.lines(&[parse("", "select 41 + 1"), sync()].concat(), 1).await, ["1", "Z I"]);
    assert_eq!(bob.lines(&[parse("", "select 'bob'"), sync()].concat(), 1).await, ["1", "Z I"]);
    assert_eq!(values(&ana.lines(&bound(""), 1).await), ["42"]);
    assert_eq!(values(&bob.lines(&bound(""), 1).await), ["bob"]);
    // More than a session of the warehouse holds.
    for n in 0..230 {
        let said =
            ana.lines(&[parse(&format!("n{n}"), &format!("select {n}")), bound(&format!("n{n}"))].concat(), 1).await;
        assert_eq!(values(&said), [n.to_string()]);
    }
    for n in 0..230 {
        assert_eq!(values(&ana.lines(&bound(&format!("n{n}")), 1).await), [n.to_string()]);
    }
    // A table that changes under it.
    assert_eq!(ana.lines(&[parse("all", "select * from open"), bound("all")].concat(), 1).await.last().unwrap(), "Z I");
    running.admin().batch_execute("ALTER TABLE open ALTER x TYPE bigint").await.unwrap();
    let said = ana.lines(&bound("all"), 1).await;
    assert_eq!(said, ["E 0A000", "Z I"]);
    let again = [close('S', "all"), parse("all", "select * from open"), bound("all")].concat();
    let said = ana.lines(&again, 1).await;
    assert_eq!(said[..3], ["3", "1", "2"], "{said:?}");
}

/// What a constant means is settled when a statement is prepared, by the settings of then.
#[tokio::test(flavor = "multi_thread")]
async fn constants_mean_what_they_mean_to_each_client() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    let month = async |raw: &mut Raw, name: &str| {
        let sql = "select extract(month from date '01/02/2020') from open";
        let lines = raw.lines(&[parse(name, sql), bind("", name, &[]), execute("", 0), sync()].concat(), 1).await;
        values(&lines).join(",")
    };
    ask(&mut ana, "set datestyle = 'SQL, DMY'").await;
    assert_eq!(month(&mut ana, "s").await, "2");
    assert_eq!(month(&mut bob, "s").await, "1");
    ask(&mut ana, "set datestyle = 'SQL, MDY'").await;
    assert_eq!(month(&mut ana, "t").await, "1");
    // A name does not make another text of it.
    ask(&mut bob, "set application_name = 'other'").await;
    assert_eq!(month(&mut bob, "t").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_come_again_are_each_users_own() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    for round in 0..4 {
        for id in 1..5 {
            let sql = format!("select owner from mine where id = {id}");
            let (of_ana, of_bob) = (ask(&mut ana, &sql).await, ask(&mut bob, &sql).await);
            let want = |user: &str| match (id, user) {
                (1 | 3, "ana") => vec!["ana"],
                (2, "bob") => vec!["bob"],
                _ => vec![],
            };
            assert_eq!((values(&of_ana), values(&of_bob)), (want("ana"), want("bob")), "{id} in round {round}");
        }
        ask(&mut ana, ["select 1", "deallocate all", "discard all", "insert into open values (7)"][round]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_reaches_statements_wherever_they_are() {
    let running = stage(2, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    assert_eq!(ana.lines(&[parse("s", COUNT), sync()].concat(), 1).await, ["1", "Z I"]);
    ask(&mut bob, "begin").await;
    assert_eq!(values(&ana.lines(&bound("s"), 1).await), ["1", "3"]);
    let policy = OWN.replace("owner = @username", "owner = @username AND id > 1");
    running.write("policies/001.yaml", &policy);
    running.proxy().reload_and_wait().await;
    assert_eq!(values(&ana.lines(&bound("s"), 1).await), ["3"]);
    ask(&mut bob, "rollback").await;
    assert_eq!(values(&ana.lines(&bound("s"), 1).await), ["3"]);
}

async fn cancel(running: &Running, key: &(i32, Vec<u8>)) {
    let mut other = TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
    let mut packet = (12 + key.1.len() as u32).to_be_bytes().to_vec();
    packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
    packet.extend_from_slice(&key.0.to_be_bytes());
    packet.extend_from_slice(&key.1);
    other.write_all(&packet).await.unwrap();
    let mut rest = Vec::new();
    other.read_to_end(&mut rest).await.unwrap();
}

const SLOW: &str = "select count(*) from mine a, generate_series(1, 100000) b, generate_series(1, 100000) c";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_reaches_its_own_statement_and_no_other() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    // Bob has just had the session that Ana's statement runs in now.
    assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    ana.send(&query(SLOW)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cancel(&running, &bob.key.clone()).await;
    let quiet = tokio::time::timeout(Duration::from_millis(400), ana.stream.peek(&mut [0])).await;
    if quiet.is_ok() {
        assert_eq!(ana.next().await.unwrap().tag, 'T', "the row description may have come");
    }
    cancel(&running, &ana.key.clone()).await;
    let said = ana.ready(1).await;
    assert_eq!(said[said.len() - 2].line(), "E 57014");
    assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    // Requests without end while statements of others run in the one session.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (port, key, stopped) = (running.port, ana.key.clone(), std::sync::Arc::clone(&stop));
    let requests = tokio::spawn(async move {
        let mut sent = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let mut other = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let packet =
                [&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &key.0.to_be_bytes(), &key.1].concat();
            other.write_all(&packet).await.unwrap();
            let mut rest = Vec::new();
            let _ = other.read_to_end(&mut rest).await;
            sent += 1;
        }
        sent
    });
    for _ in 0..300 {
        ana.lines(&query(COUNT), 1).await;
        assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(requests.await.unwrap() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_sessions_are_replaced() {
    let running = stage(2, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    assert_eq!(ana.lines(&[parse("s", COUNT), sync()].concat(), 1).await, ["1", "Z I"]);
    let ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename like 'service%' \
                 and datname = current_database() and application_name = 'sqlveil'";
    // While nobody has one: nobody notices.
    running.admin().execute(ended, &[]).await.unwrap();
    assert_eq!(values(&ana.lines(&bound("s"), 1).await), ["1", "3"]);
    assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    // In the middle of a transaction: who has it is told, the others are not.
    ask(&mut ana, "begin").await;
    running.admin().execute(ended, &[]).await.unwrap();
    let said = ana.rest().await;
    assert_eq!(said.first().map(super::raw::Message::line), Some("E 57P01".to_owned()), "{said:?}");
    for _ in 0..3 {
        assert_eq!(values(&ask(&mut bob, COUNT).await), ["2"]);
    }
    assert!(pids(&running).await.len() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_cleared_is_not_used() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    let mut eve = Raw::new(&running, "eve").await;
    ask(&mut ana, "set timezone to 'Asia/Tokyo'").await;
    let before = pids(&running).await;
    let taken = "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all() FROM PUBLIC";
    running.admin().batch_execute(taken).await.unwrap();
    ask(&mut ana, "select public.mark('of ana')").await;
    let said = {
        bob.send(&query(COUNT)).await;
        bob.rest().await
    };
    assert_eq!(said.iter().map(super::raw::Message::line).collect::<Vec<_>>(), ["E 08006"]);
    running
        .admin()
        .batch_execute("GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all() TO PUBLIC")
        .await
        .unwrap();
    assert_eq!(values(&ask(&mut eve, COUNT).await), ["4"]);
    assert_ne!(pids(&running).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_sessions_are_kept_warm() {
    let running = stage(5, ", min: 3").await;
    running.eventually("three sessions", async |running| pids(running).await.len() == 3).await;
    let before = pids(&running).await;
    let ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = $1";
    running.admin().execute(ended, &[&before[0]]).await.unwrap();
    let mut ana = Raw::new(&running, "ana").await;
    for _ in 0..3 {
        assert_eq!(values(&ask(&mut ana, COUNT).await), ["1", "3"]);
    }
    running
        .eventually("three again", async |running| {
            let now = pids(running).await;
            now.len() == 3 && !now.contains(&before[0])
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_terminate_and_empty_messages() {
    let running = stage(1, "").await;
    let (mut ana, mut bob) = (Raw::new(&running, "ana").await, Raw::new(&running, "bob").await);
    assert_eq!(ana.lines(&sync(), 1).await, ["Z I"]);
    assert_eq!(ana.lines(&query(""), 1).await, ["I", "Z I"]);
    ana.send(&query("copy open from stdin")).await;
    assert_eq!(ana.next().await.unwrap().tag, 'G');
    bob.send(&query(COUNT)).await;
    ana.send(&[frame(b'd', b"5\n"), frame(b'c', b"")].concat()).await;
    let said: Vec<String> = ana.ready(1).await.iter().map(super::raw::Message::line).collect();
    assert_eq!(said, ["C COPY 1", "Z I"]);
    let said: Vec<String> = bob.ready(1).await.iter().map(super::raw::Message::line).collect();
    assert_eq!(values(&said), ["2"]);
    // A client that leaves in the middle of a transaction takes nothing with him.
    ask(&mut ana, "begin").await;
    ask(&mut ana, "insert into open values (6)").await;
    drop(ana);
    running
        .eventually("the session is free", async |_| {
            values(&ask(&mut bob, "select x from open order by x").await) == ["1", "5"]
        })
        .await;
}
