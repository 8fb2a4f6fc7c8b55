//! What the proxy in this test program logs, kept to be read. The subscriber is the whole program's: other tests write to it as well.

use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;

/// A log that is read by tests.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Listens from here on, as the binary does it, records of the `log` crate included. Once a program.
    pub fn listen(filter: &str) -> Self {
        let log = Self::default();
        let writer = log.clone();
        let filter = EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines that have all these parts.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        let has = |line: &&str| parts.iter().all(|part| line.contains(part));
        self.text().lines().filter(has).map(str::to_owned).collect()
    }
}
