//! What a process is started with: a file, variables, flags; and what it says of its limits.

use super::process::Process;
use super::raw::Raw;
use super::stage;
use std::process::Command;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn flags_go_before_variables_and_variables_before_the_file() {
    let stage = stage().await.config("limits: {sessions_per_user: 1, sessions: 10}");
    let config = stage.write();
    let login = [("user", "ana"), ("database", stage.database.as_str())];
    for (variable, flag, most) in
        [(None, None, 1), (Some("2"), None, 2), (Some("2"), Some("limits.sessions_per_user=3"), 3)]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sqlveil"));
        command.arg("serve").env("SQLVEIL_CONFIG", &config).env("NO_COLOR", "1").args(["--listen", "127.0.0.1:0"]);
        command.args(["--listen", "[::1]:0"]);
        if let Some(value) = variable {
            command.env("SQLVEIL__LIMITS__SESSIONS_PER_USER", value);
        }
        command.args(flag.iter().flat_map(|flag| ["--set", flag]));
        let process = Process::run(command);
        assert!(process.says(&["listening", "[::1]"]), "both addresses of the flags");
        let mut sessions = Vec::new();
        for _ in 0..most {
            sessions.push(Raw::at(process.port, 0, &login).await.expect("one of those allowed"));
        }
        let refused = Raw::at(process.port, 0, &login).await.err().expect("one too many");
        assert_eq!(refused.line(), "E 53300");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_told_all_at_once_and_nothing_starts() {
    let stage = stage().await;
    let config = stage.write();
    let mut command = Process::command(&config);
    command.env("SQLVEIL__LIMITS__SESIONS", "7").args(["--set", "threads=some", "--set", "listen=[nowhere]"]);
    let mut process = Process::spawn(command);
    assert!(!process.ended(Duration::from_secs(20)).expect("it does not start").success());
    let said = |parts: &[&str]| process.says(parts);
    assert!(said(&["SQLVEIL__LIMITS__SESIONS: unknown key `sesions`"]), "{:?}", process.log());
    assert!(said(&["--set threads: a whole number"]) && said(&["--set listen: not an address"]), "{:?}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_do_not_suffice_are_told() {
    let stage = stage().await;
    let config = stage.write();
    let plain = Process::command(&config);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 500; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    // More than any machine of tests has: 256 kB a session.
    command.args(["--set", "limits.sessions=1000000"]).env("NO_COLOR", "1");
    let process = Process::run(command);
    assert!(process.says(&["too little memory is allowed", "needed=\"250160 MB\"", "allowed="]), "{:?}", process.log());
    assert!(process.says(&["too few open files are allowed", "needed=20", "allowed=500"]), "{:?}", process.log());
}
