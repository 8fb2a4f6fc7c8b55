//! What else goes on: wide results, cancels, logins for a single statement, prepared look-ups; and a warehouse that is started anew now and then.
//!
//! Whoever is at a statement while the warehouse is away may be told so, and logs in again.

use crate::Arena;
use crate::people::{LOAD, LOAD_CITY, inhabitants};
use crate::session::{code, login};
use crate::support::{PASSWORD, PrivatePostgres};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

/// Longest time an answer may take, whatever the load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rows of a wide result, and bytes of each.
const WIDE: (i32, usize) = (2_000, 960);

const WIDE_SQL: &str = "SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 2000) i";
const LONG_SQL: &str = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
const POINT_SQL: &str = "SELECT name FROM people WHERE id = $1";
const ONCE_SQL: &str = "SELECT count(*) FROM people";

/// Goes on until the time is over.
pub async fn work(arena: &Arena, number: usize) {
    let mut dice = StdRng::seed_from_u64(arena.options.seed.wrapping_add(5000 + number as u64));
    let mut client: Option<Client> = None;
    while !arena.is_over() {
        let began = Instant::now();
        let what = dice.random_range(0..4);
        let done = tokio::time::timeout(PATIENCE, step(arena, &mut client, what, number)).await;
        match done.unwrap_or_else(|_| Err("no answer".into())) {
            Ok(()) => arena.tally.mixed(what),
            Err(why) => {
                if !arena.was_away(began) {
                    arena.tally.wrong(format!(
                        "{} came to {why}",
                        ["a wide result", "a cancel", "look-ups", "a login for one statement"][what]
                    ));
                }
                client = None;
                arena.pause(Duration::from_millis(100)).await;
            }
        }
        arena.pause(Duration::from_millis(dice.random_range(0..200))).await;
    }
}

async fn step(arena: &Arena, kept: &mut Option<Client>, what: usize, number: usize) -> Result<(), String> {
    let fresh = what == 3 || kept.as_ref().is_none_or(Client::is_closed);
    let opened = if fresh { Some(login(arena, LOAD, number, PASSWORD).await?) } else { None };
    let client = match (opened, what) {
        // A login for one statement.
        (Some(client), 3) => {
            let rows = asked(arena, ONCE_SQL, client.query(ONCE_SQL, &[])).await?;
            let count: i64 = rows[0].get(0);
            return if count as usize == inhabitants(LOAD_CITY) { Ok(()) } else { Err(format!("{count} rows")) };
        }
        (Some(client), _) => kept.insert(client),
        (None, _) => kept.as_mut().ok_or("no session")?,
    };
    match what {
        0 => {
            let rows = asked(arena, WIDE_SQL, client.query(WIDE_SQL, &[])).await?;
            let right = |(at, row): (usize, &tokio_postgres::Row)| {
                row.get::<_, i32>(0) as usize == at + 1 && row.get::<_, &str>(1).len() == WIDE.1
            };
            let all = rows.len() == WIDE.0 as usize && rows.iter().enumerate().all(right);
            if all { Ok(()) } else { Err(format!("{} rows, not all of them as they are", rows.len())) }
        }
        1 => {
            let token = client.cancel_token();
            let cancel = async {
                // One that comes before the statement does nothing.
                let mut pause = Duration::from_millis(30);
                loop {
                    tokio::time::sleep(pause).await;
                    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, arena.port)).await else { return };
                    if token.clone().cancel_query_raw(stream, NoTls).await.is_err() {
                        return;
                    }
                    pause = Duration::from_secs(1);
                }
            };
            arena.tally.sent(LONG_SQL);
            let asked = async { client.simple_query(LONG_SQL).await };
            let answer = tokio::select! {
                answer = asked => answer,
                () = cancel => return Err("a cancel request that cannot be sent".into()),
            };
            match answer.map_err(|error| code(&error)) {
                Err(told) if told == "57014" => {
                    arena.tally.answered(LONG_SQL);
                    Ok(())
                }
                Err(told) => Err(told),
                Ok(_) => Err("an end by itself".into()),
            }
        }
        _ => {
            let statement = client.prepare(POINT_SQL).await.map_err(|e| code(&e))?;
            for id in 1..=20i32 {
                let id = LOAD_CITY as i32 * 100 + id;
                let rows = asked(arena, POINT_SQL, client.query(&statement, &[&id])).await?;
                let there = usize::from(id as usize - LOAD_CITY * 100 <= inhabitants(LOAD_CITY));
                if rows.len() != there {
                    return Err(format!("{} rows for {id}", rows.len()));
                }
            }
            Ok(())
        }
    }
}

/// A statement, counted for the audit.
async fn asked<T>(
    arena: &Arena,
    text: &'static str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    arena.tally.sent(text);
    let answer = answer.await.map_err(|error| code(&error))?;
    arena.tally.answered(text);
    Ok(answer)
}

/// Starts the warehouse anew as often as is asked for.
pub async fn restart(arena: &Arena, server: &'static PrivatePostgres) {
    let Some(every) = arena.options.restart else { return };
    loop {
        arena.pause(every).await;
        if arena.is_over() {
            return;
        }
        let since = Instant::now();
        arena.away(since, None);
        let anew = tokio::task::spawn_blocking(move || server.pause().and_then(|()| server.resume())).await;
        anew.expect("a restart ends").expect("the warehouse starts again");
        arena.away(since, Some(Instant::now()));
        arena.tally.restarted();
    }
}
