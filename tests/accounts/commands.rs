//! The binary's commands, run as a human would.

use crate::support::Running;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub ok: bool,
}

impl Said {
    /// Its output, which it has to have ended well with.
    pub fn fine(self) -> String {
        assert!(self.ok, "{}", self.err);
        self.out
    }

    /// What went wrong, which something has to have.
    pub fn wrong(self) -> String {
        assert!(!self.ok, "it worked: {}", self.out);
        assert_eq!(self.out, "", "and said so");
        self.err
    }
}

pub fn sqlveil() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sqlveil"));
    command
        .env_remove("SQLVEIL_LOG")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `sqlveil <words> --config FILE`, with a password on standard input when there is one.
pub fn with_password(config: &Path, words: &[&str], password: Option<&str>) -> Said {
    let mut command = sqlveil();
    command.args(words).arg("--config").arg(config);
    if password.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(password) = password {
        // A command that sees its mistake first does not read it.
        let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), ok: output.status.success() }
}

pub fn run(running: &Running, words: &[&str]) -> Said {
    with_password(&running.config_file(), words, None)
}

pub fn json(running: &Running, words: &[&str]) -> serde_json::Value {
    let mut all = words.to_vec();
    all.extend(["--format", "json"]);
    serde_json::from_str(&run(running, &all).fine()).unwrap()
}

/// A new token.
pub struct Token {
    pub id: String,
    pub client: String,
    pub user: String,
    pub secret: String,
}

pub fn token(running: &Running, words: &[&str]) -> Token {
    let mut all = vec!["token", "create", "--display-name", "nightly load"];
    all.extend(words);
    if !words.contains(&"--validity-seconds") {
        all.extend(["--validity-seconds", "409968000"]);
    }
    let made = json(running, &all);
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name}: {made}")).to_owned();
    Token { id: text("id"), client: text("clientId"), user: text("user"), secret: text("accessToken") }
}

/// A new temporary account: its name and password.
pub fn account(running: &Running, words: &[&str]) -> (String, String) {
    let mut all = vec!["account", "create"];
    all.extend(words);
    if !words.contains(&"--minutes") {
        all.extend(["--minutes", "60"]);
    }
    let made = json(running, &all);
    (made["sqlUser"].as_str().unwrap().to_owned(), made["sqlPassword"].as_str().unwrap().to_owned())
}

/// Waits until somebody may log in: the proxy notices the change by itself.
pub async fn known(running: &Running, user: &str, secret: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while running.try_client(user, secret, running.database()).await.is_err() {
        assert!(Instant::now() < deadline, "not within a minute: {user} may log in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
