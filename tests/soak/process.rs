//! The proxy: the binary as it is installed, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines of warnings that are kept of each kind.
const KEPT: usize = 4;
/// So many letters behind the time tell the kind of a line.
const KIND: std::ops::Range<usize> = 27..100;

/// What the proxy has logged, counted.
#[derive(Debug, Default)]
pub struct Log {
    lines: usize,
    warnings: usize,
    errors: usize,
    kept: Vec<String>,
}

pub struct Process {
    pub port: u16,
    child: Child,
    log: Option<JoinHandle<Log>>,
}

impl Process {
    /// Starts it and waits until it listens. Its files have to suffice for so many sessions.
    pub fn start(config: &Path, sessions: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sqlveil"))
            .args(["serve", "--config"])
            .arg(config)
            .env("NO_COLOR", "1")
            .env_remove("SQLVEIL_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (listening, heard) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut log = Log::default();
            for line in lines.map_while(Result::ok) {
                if line.contains("listening")
                    && let Some(port) = line.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok())
                {
                    let _ = listening.send(port);
                }
                log.lines += 1;
                let (warning, error) = (line.contains(" WARN "), line.contains(" ERROR "));
                log.warnings += usize::from(warning);
                log.errors += usize::from(error);
                let alike = log.kept.iter().filter(|kept| kept.get(KIND) == line.get(KIND)).count();
                if (warning || error || log.lines < 3) && alike < KEPT {
                    log.kept.push(line);
                }
            }
            log
        });
        let Ok(port) = heard.recv_timeout(Duration::from_secs(120)) else {
            let _ = child.kill();
            panic!("the proxy does not listen: {:#?}", log.join().unwrap().kept);
        };
        let process = Self { port, child, log: Some(log) };
        // A client's socket and a session with the warehouse each.
        let (files, needed) = (process.files(), 2 * sessions as u64 + 64);
        assert!(
            files >= needed,
            "the proxy may open {files} files and needs {needed}: raise the hard limit (ulimit -Hn)"
        );
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many files it may have open (proc(5), limits).
    fn files(&self) -> u64 {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.pid())).unwrap_or_default();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
        line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX)
    }

    /// Stops it with SIGTERM; whether it ended well within its grace.
    pub fn stop(mut self) -> (bool, Log) {
        let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(30);
        let ended = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.success(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                Ok(None) | Err(_) => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break false;
                }
            }
        };
        (ended, self.log.take().and_then(|log| log.join().ok()).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Prints what the log held; whether it held no error.
pub fn report(log: &Log, restarts: bool) -> bool {
    println!("\nthe proxy's log: {} lines, {} warnings, {} errors", log.lines, log.warnings, log.errors);
    if log.warnings + log.errors > 0 {
        log.kept.iter().for_each(|line| println!("    {line}"));
    }
    // That the warehouse was away is one.
    log.errors == 0 || restarts
}
