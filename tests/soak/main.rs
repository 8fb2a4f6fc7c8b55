//! `make soak`: many idle and active sessions of many users while identities and policies change and a directory is asked again, against the real binary and a private
//! PostgreSQL. Every answer is held against what its user is to see, before or after a change while it is under way, and after it from
//! then on; the memory and the open files of the proxy have to stay where they are; of every statement that was answered there has to be an
//! audit record. Beside it wide results are read, statements cancelled, sessions opened for one statement, and the warehouse may be started
//! anew.
//!
//! Without arguments (as `cargo test` runs it) a few seconds with a few sessions. [`options`] lists the arguments. The exit status is 1
//! when anything was wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod change;
mod idle;
mod measure;
mod mix;
mod options;
mod people;
mod process;
mod session;
mod tally;
mod trail;

use change::Changes;
use options::{Action, Options};
use people::History;
use process::Process;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{PrivatePostgres, Setup};
use tally::Tally;
use tokio::task::JoinSet;

/// How many sessions are opened at the same time.
const AT_ONCE: usize = 24;

/// For so long after its return the warehouse's absence may still be told: by sessions that had not noticed it, and while those that
/// everybody opens anew at once are made.
const BACK: Duration = Duration::from_secs(15);

/// What everything here shares.
struct Arena {
    options: Options,
    port: u16,
    database: String,
    history: History,
    tally: Tally,
    /// When the warehouse was away: from, and until, if it is back.
    outages: Mutex<Vec<(Instant, Option<Instant>)>>,
    /// Set when the time is over.
    over: tokio::sync::watch::Sender<bool>,
}

impl Arena {
    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Whether the warehouse was away, or just back, at some time since `began`.
    fn was_away(&self, began: Instant) -> bool {
        self.outages.lock().unwrap().iter().any(|(_, until)| until.is_none_or(|until| until + BACK > began))
    }

    /// The warehouse has gone, or is back.
    fn away(&self, since: Instant, until: Option<Instant>) {
        let mut outages = self.outages.lock().unwrap();
        match outages.iter_mut().find(|(from, _)| *from == since) {
            Some(outage) => outage.1 = until,
            None => outages.push((since, until)),
        }
    }

    /// Waits, or until the time is over.
    async fn pause(&self, pause: Duration) {
        let mut over = self.over.subscribe();
        let _ = tokio::time::timeout(pause, over.wait_for(|over| *over)).await;
    }
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Action::Soak(options)) => options,
        Ok(Action::List) => {
            println!("soak: test");
            return ExitCode::SUCCESS;
        }
        Ok(Action::Nothing) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    let files = options.sessions() as u64 + 256;
    if let Err(most) = sqlveil::cli::open_files::raise(files) {
        eprintln!(
            "{files} open files are needed and {most} are allowed: raise the hard limit (ulimit -Hn) or run fewer sessions"
        );
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if runtime.block_on(soak(options)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs it all; whether everything was right.
async fn soak(options: Options) -> bool {
    println!(
        "soak: {} s, {} idle, {} active and {} mixed sessions of {} users, a change every {} ms{}",
        options.time.as_secs(),
        options.idle,
        options.active,
        options.mixed,
        options.users,
        options.every.as_millis(),
        options.restart.map_or_else(String::new, |every| format!(", the warehouse anew every {} s", every.as_secs()))
    );
    let connections = (options.sessions() + 60).to_string();
    let setup = Setup { settings: vec![("max_connections".into(), connections)], ..Setup::default() };
    // It ends with this program: its guardian sees the pipe close.
    let server: &'static PrivatePostgres = Box::leak(Box::new(PrivatePostgres::start_with(&setup).expect("a server")));
    let history = History::new(options.users, options.seed);
    let stage = people::stage(server, &options).await;
    let config = stage.write();
    let folder = config.parent().unwrap().to_path_buf();
    let mut changes = Changes::begin(&folder, &history, options.seed);
    let process = Process::start(&config, options.sessions());
    let arena = Arc::new(Arena {
        port: process.port,
        database: stage.database.clone(),
        history,
        tally: Tally::default(),
        outages: Mutex::default(),
        over: tokio::sync::watch::Sender::new(false),
        options,
    });
    let memory = measure::Memory::watch(process.pid());

    let began = Instant::now();
    let idle = idle::open(&arena).await;
    let active = session::open(&arena).await;
    println!("{} sessions opened in {:.1} s", idle.len() + active.len(), began.elapsed().as_secs_f64());
    memory.mark("all sessions open");
    arena.tally.begin();

    let mut work = JoinSet::new();
    for (number, session) in active.into_iter().enumerate() {
        let arena = Arc::clone(&arena);
        work.spawn(async move { session::work(&arena, session, number).await });
    }
    for number in 0..arena.options.mixed {
        let arena = Arc::clone(&arena);
        work.spawn(async move { mix::work(&arena, number).await });
    }
    let restarting = tokio::spawn({
        let arena = Arc::clone(&arena);
        async move { mix::restart(&arena, server).await }
    });
    let keeper = tokio::spawn({
        let arena = Arc::clone(&arena);
        async move { idle::keep(&arena, idle).await }
    });
    let changing = tokio::spawn({
        let (arena, pid) = (Arc::clone(&arena), process.pid());
        async move {
            changes.run(&arena, server, pid).await;
            changes
        }
    });
    tokio::time::sleep(arena.options.time).await;
    memory.mark("end");
    arena.over.send_replace(true);
    while let Some(ended) = work.join_next().await {
        ended.expect("a worker ends");
    }
    restarting.await.expect("restarts end");
    let changes = changing.await.expect("the changes end");
    let idle = keeper.await.expect("the idle ones end");
    idle::ask_all(&arena, idle).await;
    let samples = memory.end();
    let (stopped, log) = process.stop();
    arena.tally.report(&arena.options, changes.times());
    let flat = measure::report(&samples, arena.options.time);
    let quiet = process::report(&log, arena.options.restart.is_some());
    let audited = trail::report(&arena, &folder);
    drop(stage);
    let right = arena.tally.is_clean() && flat && quiet && stopped && audited;
    if !stopped {
        println!("WRONG: the proxy did not stop as it should");
    }
    println!("{}", if right { "soak: all was right" } else { "soak: FAILED" });
    right
}
