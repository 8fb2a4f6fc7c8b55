//! The memory of a process, every second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shorter runs say nothing about a slope.
const LONG: Duration = Duration::from_secs(120);
/// What may be added between warm-up and end: so many KiB, or such a part of what there was.
const GROWTH: (f64, f64) = (8.0 * 1024.0, 0.04);
/// Warming up takes this part of the time: every user's plans are made, every buffer has been as large as it gets.
const WARM: f64 = 0.25;

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub at: Duration,
    /// KiB (VmRSS of proc(5)).
    pub memory: u64,
    pub files: usize,
    pub mark: Option<&'static str>,
}

pub struct Memory {
    watcher: JoinHandle<()>,
    samples: Arc<Mutex<Vec<Sample>>>,
    over: Arc<AtomicBool>,
    began: Instant,
    pid: u32,
}

fn look(pid: u32, began: Instant, mark: Option<&'static str>) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Sample { at: began.elapsed(), memory, files, mark }
}

impl Memory {
    /// Looks at a process once a second.
    pub fn watch(pid: u32) -> Self {
        let (samples, over, began) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)), Instant::now());
        samples.lock().unwrap().push(look(pid, began, Some("start")));
        let (into, end) = (Arc::clone(&samples), Arc::clone(&over));
        let watcher = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(1));
                into.lock().unwrap().push(look(pid, began, None));
            }
        });
        Self { watcher, samples, over, began, pid }
    }

    /// Looks now, and gives the moment a name.
    pub fn mark(&self, mark: &'static str) {
        let sample = look(self.pid, self.began, Some(mark));
        self.samples.lock().unwrap().push(sample);
    }

    pub fn end(self) -> Vec<Sample> {
        self.over.store(true, Ordering::Relaxed);
        self.watcher.join().expect("the watcher ends");
        self.samples.lock().unwrap().clone()
    }
}

/// KiB a second, by least squares.
fn slope(samples: &[&Sample]) -> f64 {
    let n = samples.len().max(1) as f64;
    let (x, y) = (|s: &&Sample| s.at.as_secs_f64(), |s: &&Sample| s.memory as f64);
    let (mx, my) = (samples.iter().map(x).sum::<f64>() / n, samples.iter().map(y).sum::<f64>() / n);
    let over: f64 = samples.iter().map(|s| (x(s) - mx) * (y(s) - my)).sum();
    let under: f64 = samples.iter().map(|s| (x(s) - mx).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

/// Prints the memory over time; whether it stayed where it was.
pub fn report(samples: &[Sample], time: Duration) -> bool {
    let at = |mark| samples.iter().find(|s| s.mark == Some(mark)).cloned().unwrap_or_default();
    let (open, end) = (at("all sessions open"), at("end"));
    let warm = open.at + time.mul_f64(WARM);
    let steady: Vec<&Sample> = samples.iter().filter(|s| s.at >= warm && s.at <= end.at).collect();
    let mib = |kib: f64| kib / 1024.0;
    println!("\n| time | memory MiB | open files |\n|---|---:|---:|");
    let line = |what: &str, s: &Sample| println!("| {what} | {:.1} | {} |", mib(s.memory as f64), s.files);
    line("start", &at("start"));
    line("all sessions open", &open);
    if let Some(first) = steady.first() {
        line("after warm-up", first);
    }
    for part in steady.chunks(steady.len().div_ceil(8).max(1)).skip(1) {
        let at = part[0].at.saturating_sub(open.at).as_secs();
        line(&format!("after {at} s"), part[0]);
    }
    line("end", &end);
    let (slope, window) = (slope(&steady), end.at.saturating_sub(warm).as_secs_f64());
    let level = steady.iter().map(|s| s.memory as f64).sum::<f64>() / steady.len().max(1) as f64;
    let (grown, bound) = (slope * window, GROWTH.0.max(level * GROWTH.1));
    println!(
        "slope after warm-up: {:+.2} MiB a minute, {:+.1} MiB in {window:.0} s (bound: {:.1} MiB)",
        mib(slope * 60.0),
        mib(grown),
        mib(bound)
    );
    if time < LONG {
        println!("too short to tell whether memory is flat: from {} s on", LONG.as_secs());
        return true;
    }
    let flat = grown <= bound;
    if !flat {
        println!("WRONG: memory grows");
    }
    // Sessions come and go; what is never closed adds up.
    let most = |samples: &[&Sample]| samples.iter().map(|s| s.files).max().unwrap_or_default();
    let (first, second) = steady.split_at(steady.len() / 2);
    let (before, after) = (most(first), most(second));
    let closed = after <= before + 16 + before / 20;
    if !closed {
        println!("WRONG: open files grow: at most {before} in the first half, {after} in the second");
    }
    flat && closed
}
