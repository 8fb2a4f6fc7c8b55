//! Statements of `sqlsmith` (<https://github.com/anse1/sqlsmith>), which makes them up from the catalog it reads: here through the proxy, as
//! a caller. It prints them; they are asked like all others.

use crate::arena::Pair;
use crate::support::PASSWORD;
use std::collections::VecDeque;
use std::process::{Command, Stdio};

/// How many statements are fetched at once.
const BATCH: usize = 1500;

/// A running supply.
pub struct Smith {
    program: Option<std::path::PathBuf>,
    ready: VecDeque<String>,
    seed: u64,
}

impl Smith {
    /// A supply that begins with a seed. Without the program it stays empty, which is said once.
    pub fn new(seed: u64) -> Self {
        let places = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<_> = std::env::split_paths(&places).collect();
        folders.push("/usr/bin".into());
        let program = folders.into_iter().map(|folder| folder.join("sqlsmith")).find(|path| path.is_file());
        if program.is_none() {
            println!("sqlsmith is not installed: its statements are left out (make leak-hunt installs it)");
        }
        Self { program, ready: VecDeque::new(), seed: seed.wrapping_mul(1000) % 2_000_000_000 }
    }

    /// Whether there is the program.
    pub fn is_there(&self) -> bool {
        self.program.is_some()
    }

    /// The next statement.
    pub fn next(&mut self, pair: &Pair) -> Option<String> {
        if self.ready.is_empty() {
            self.fetch(pair);
        }
        self.ready.pop_front()
    }

    fn fetch(&mut self, pair: &Pair) {
        let Some(program) = &self.program else { return };
        self.seed += 1;
        let running = &pair.sides[0];
        let target = format!("host=127.0.0.1 port={} dbname={} user=ana", running.port, running.database());
        let mut command = Command::new(program);
        command.arg(format!("--target={target}")).args([
            "--dry-run",
            &format!("--max-queries={BATCH}"),
            &format!("--seed={}", self.seed),
        ]);
        // Every other batch leaves the catalog alone.
        if self.seed.is_multiple_of(2) {
            command.arg("--exclude-catalog");
        }
        command.env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
        let output = command.output().expect("sqlsmith runs");
        assert!(output.status.success(), "sqlsmith: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        // Samples of a relation with hidden rows are refused, and most of its statements have one: kept in every tenth.
        let sample = regex::Regex::new(r"tablesample (system|bernoulli) \([0-9.]+\)").expect("a pattern");
        let statements = text.split(";\n").enumerate().map(|(at, s)| {
            let s = s.trim().trim_end_matches(';');
            if at % 10 == 0 { s.to_owned() } else { sample.replace_all(s, "").into_owned() }
        });
        self.ready.extend(statements.filter(|s| !s.is_empty()));
    }
}
