//! The process as the system sees it, by the names that Prometheus' own clients give it. Linux's `/proc` alone; elsewhere there is less to
//! tell.

use super::samples::{Samples, Source};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The process.
#[derive(Debug)]
pub struct Process {
    started: SystemTime,
}

impl Process {
    /// One that has just started.
    pub fn starting() -> Self {
        Self { started: SystemTime::now() }
    }

    /// Since when it serves.
    pub fn started(&self) -> SystemTime {
        self.started
    }
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// A line of `/proc/self/status` in bytes (proc(5): kB there are 1024 bytes).
fn status(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = line.split_ascii_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    match words.next() {
        Some("kB") => number.checked_mul(1024),
        _ => Some(number),
    }
}

impl Source for Process {
    fn tell(&self, samples: &mut Samples<'_>) {
        samples.gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            &[(&[], unix(self.started))],
        );
        if let Ok(text) = std::fs::read_to_string("/proc/self/status") {
            let mut told = |name: &'static str, help: &'static str, field: &str| {
                if let Some(value) = status(&text, field) {
                    samples.gauge(name, help, &[(&[], value as f64)]);
                }
            };
            told("process_resident_memory_bytes", "Resident memory size in bytes", "VmRSS");
            told("process_virtual_memory_bytes", "Virtual memory size in bytes", "VmSize");
            told("process_threads", "Number of threads of the process", "Threads");
        }
        if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
            // The one that reads the directory is not counted.
            let open = folder.count().saturating_sub(1);
            samples.gauge("process_open_fds", "Number of open file descriptors", &[(&[], open as f64)]);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(limit) = limit {
            samples.gauge("process_max_fds", "Maximum number of open file descriptors", &[(&[], limit as f64)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_status_are_bytes() {
        let text = "Name:\tx\nVmRSS:\t   12 kB\nThreads:\t3\n";
        assert_eq!(
            (status(text, "VmRSS"), status(text, "Threads"), status(text, "VmSize")),
            (Some(12_288), Some(3), None)
        );
    }
}
