//! Runs `psql` and keeps what it says.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Whether it ended well.
    pub ok: bool,
}

/// Runs psql against 127.0.0.1 with no start-up file, stopping at the first error. `args` follow the connection's options.
pub fn run(programs: &Path, port: u16, user: &str, password: &str, database: &str, args: &[&str]) -> Output {
    let program = Some(programs.join("psql")).filter(|p| p.is_file()).unwrap_or_else(|| "psql".into());
    let mut command = Command::new(program);
    command.args(["-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", user]);
    command.args(["-d", database]).args(args);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "20").env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().expect("psql runs");
    Output {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}
