//! What was right, what was wrong, and how long it took.

use crate::options::Options;
use crate::session::{KINDS, Kind};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So many wrong ones are told.
const TOLD: usize = 20;

#[derive(Default)]
pub struct Tally {
    began: Mutex<Option<Instant>>,
    /// Microseconds, by kind.
    took: [Mutex<Vec<u32>>; KINDS.len()],
    during: AtomicU64,
    sent_away: AtomicU64,
    interrupted: AtomicU64,
    wrong: AtomicUsize,
    /// By text: how often it was sent, and answered.
    statements: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    mixed: [AtomicU64; 4],
    restarts: AtomicU64,
    outages: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Tally {
    /// From here on it counts: what came before was opening.
    pub fn begin(&self) {
        *self.began.lock().unwrap() = Some(Instant::now());
        self.took.iter().for_each(|took| took.lock().unwrap().clear());
    }

    pub fn right(&self, kind: Kind, took: Duration, during_a_change: bool) {
        let at = KINDS.iter().position(|k| *k == kind).unwrap();
        self.took[at].lock().unwrap().push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.during.fetch_add(u64::from(during_a_change), Ordering::Relaxed);
    }

    /// A session ended because its user was disabled.
    pub fn sent_away(&self) {
        self.sent_away.fetch_add(1, Ordering::Relaxed);
    }

    /// A cursor that a change has overtaken.
    pub fn interrupted(&self) {
        self.interrupted.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement is about to be sent.
    pub fn sent(&self, text: &'static str) {
        self.statements.lock().unwrap().entry(text).or_default().0 += 1;
    }

    /// It was answered.
    pub fn answered(&self, text: &'static str) {
        self.statements.lock().unwrap().entry(text).or_default().1 += 1;
    }

    /// Every text, how often it was sent, and answered.
    pub fn statements(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.statements.lock().unwrap().clone()
    }

    /// One of the other things was as it should be.
    pub fn mixed(&self, what: usize) {
        self.mixed[what].fetch_add(1, Ordering::Relaxed);
    }

    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement met a warehouse that was away.
    pub fn outage(&self) {
        self.outages.fetch_add(1, Ordering::Relaxed);
    }

    pub fn wrong(&self, what: String) {
        if self.wrong.fetch_add(1, Ordering::Relaxed) < TOLD {
            eprintln!("WRONG: {what}");
            self.told.lock().unwrap().push(what);
        }
    }

    pub fn is_clean(&self) -> bool {
        let answers: usize = self.took.iter().map(|took| took.lock().unwrap().len()).sum();
        self.wrong.load(Ordering::Relaxed) == 0 && answers > 0
    }

    /// Prints it all.
    pub fn report(&self, options: &Options, changes: &[Duration]) {
        let seconds = self.began.lock().unwrap().map_or(1.0, |began| began.elapsed().as_secs_f64());
        println!("\n| statement | answers | median ms | 99 % | longest |\n|---|---:|---:|---:|---:|");
        let mut all = Vec::new();
        for (kind, took) in KINDS.iter().zip(&self.took) {
            let mut took = took.lock().unwrap();
            println!("| {kind:?} | {}", row(&mut took));
            all.extend_from_slice(&took);
        }
        println!("| all | {}", row(&mut all));
        println!(
            "\n{} answers, {:.0} a second, {} of them while a change was under way, {} cursors and portals to be made again after one; \
             {} sessions sent away with their users",
            all.len(),
            all.len() as f64 / seconds,
            self.during.load(Ordering::Relaxed),
            self.interrupted.load(Ordering::Relaxed),
            self.sent_away.load(Ordering::Relaxed)
        );
        let mut changes: Vec<u32> = changes.iter().map(|t| u32::try_from(t.as_millis()).unwrap_or(u32::MAX)).collect();
        changes.sort_unstable();
        let at =
            |part: usize| changes.get((changes.len() * part / 100).min(changes.len().saturating_sub(1))).unwrap_or(&0);
        println!(
            "{} changes of {} users or of policies, in force after {} ms (median), {} ms (longest)",
            changes.len(),
            options.users,
            at(50),
            at(100)
        );
        let [wide, cancels, look_ups, logins] = &self.mixed;
        let n = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "{} wide results, {} cancelled statements, {} times 20 look-ups, {} logins for one statement; {} restarts of the warehouse, met by {} \
             statements",
            n(wide),
            n(cancels),
            n(look_ups),
            n(logins),
            n(&self.restarts),
            n(&self.outages)
        );
        println!("wrong: {}", self.wrong.load(Ordering::Relaxed));
        self.told.lock().unwrap().iter().for_each(|what| println!("    {what}"));
    }
}

fn row(took: &mut [u32]) -> String {
    took.sort_unstable();
    let at = |part: usize| {
        took.get((took.len() * part / 1000).min(took.len().saturating_sub(1))).map_or(0.0, |t| f64::from(*t) / 1000.0)
    };
    format!("{} | {:.2} | {:.2} | {:.2} |", took.len(), at(500), at(990), at(1000))
}
