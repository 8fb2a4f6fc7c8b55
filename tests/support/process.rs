//! The proxy as it is installed: the binary in a process of its own, with what it logs.
//!
//! A runner includes it by its path.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Process {
    /// Of the first address it listens on.
    pub port: u16,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// `sqlveil serve --config FILE`, listening.
    pub fn start(config: &Path) -> Self {
        Self::run(Self::command(config))
    }

    /// The command, for more arguments and variables.
    pub fn command(config: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sqlveil"));
        command.args(["serve", "--config"]).arg(config);
        command.stdin(Stdio::null()).env("NO_COLOR", "1").env_remove("SQLVEIL_LOG").env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs the command until it listens.
    pub fn run(command: Command) -> Self {
        let mut process = Self::spawn(command);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let port = process.log().iter().find_map(|line| {
                let (_, address) = line.split_once("listening address=")?;
                address.rsplit(':').next()?.trim().parse::<u16>().ok()
            });
            match port {
                Some(port) => {
                    process.port = port;
                    return process;
                }
                None if process.child.try_wait().unwrap().is_some() || Instant::now() > deadline => {
                    panic!("the proxy does not listen: {:#?}", process.log())
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Runs the command, whatever comes of it.
    pub fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the proxy starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { port: 0, child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it the way a failure does (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Whether a line with all these parts comes within ten seconds.
    pub fn says(&self, parts: &[&str]) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if self.log().iter().any(|line| parts.iter().all(|part| line.contains(part))) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// How it ended, within that time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many files it has open (proc(5), fd).
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("the proxy's log: {:#?}", &log[log.len().saturating_sub(20)..]);
        }
    }
}
