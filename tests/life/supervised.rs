//! Under a service manager: what it is told, and what it gives.

use super::process::Process;
use super::raw::{Message, Raw, query, startup};
use super::stage;
use super::support::Stage;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// What the service manager has heard, line by line.
struct Heard {
    socket: UnixDatagram,
    lines: Vec<String>,
}

impl Heard {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, lines: Vec::new() }
    }

    /// Listens until this was said, for up to ten seconds; all that was heard meanwhile.
    fn until(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut datagram = [0; 4096];
        self.lines.clear();
        while Instant::now() < deadline {
            if let Ok(length) = self.socket.recv(&mut datagram) {
                let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
                self.lines.extend(text.lines().map(str::to_owned));
                if self.lines.iter().any(|heard| heard.starts_with(line)) {
                    return self.lines.clone();
                }
            }
        }
        panic!("{line} was not said within ten seconds, but {:?}", self.lines)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_everything() {
    let stage = stage().await;
    let config = stage.write();
    let folder = tempfile::tempdir().unwrap();
    let mut heard = Heard::at(&folder.path().join("notify"));
    let mut command = Process::command(&config);
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "400000");
    let mut process = Process::run(command);
    heard.until("READY=1");
    for _ in 0..3 {
        heard.until("WATCHDOG=1");
    }
    process.signal("HUP");
    let said = heard.until("RELOADING=1");
    let moment =
        said.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a moment, in the same datagram");
    assert!(moment.parse::<u64>().unwrap() > 0);
    assert!(!heard.until("READY=1").iter().any(|line| line.contains("refused")));
    std::fs::write(stage_file(&config, "governance/policies/bad.yaml"), "policyKey: [").unwrap();
    process.signal("HUP");
    let said = heard.until("STATUS=serving; the last reload was refused");
    assert!(said.contains(&"READY=1".to_owned()), "{said:?}");
    let mut open = Raw::at(process.port, 0, &[("user", "ana"), ("database", &stage.database)]).await.unwrap();
    open.lines(&query("begin"), 1).await;
    process.signal("TERM");
    let said = heard.until("EXTEND_TIMEOUT_USEC=");
    assert!(said.contains(&"STOPPING=1".to_owned()), "{said:?}");
    assert!(said.contains(&"STATUS=stopping: 1 sessions left".to_owned()), "{said:?}");
    assert!(said.contains(&"EXTEND_TIMEOUT_USEC=30000000".to_owned()), "{said:?}");
    // Who is being waited for is alive.
    heard.until("WATCHDOG=1");
    drop(open);
    assert!(process.ended(Duration::from_secs(10)).expect("it ends").success());
}

fn stage_file(config: &Path, name: &str) -> std::path::PathBuf {
    config.parent().unwrap().join(name)
}

/// Starts the proxy on that socket as file 3, as service managers do.
fn started_on(socket: OwnedFd, config: &Path) -> Command {
    let plain = Process::command(config);
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env("NO_COLOR", "1").stdin(Stdio::from(socket));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_given_outlives_the_process() {
    let stage: Stage = stage().await;
    let config = stage.write();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let login = [("user", "ana"), ("database", stage.database.as_str())];
    let count = query("select count(*) from t");
    let mut process = Process::run(started_on(socket.try_clone().unwrap().into(), &config));
    assert_eq!(process.port, port, "`listen` does not count");
    let mut first = Raw::at(port, 0, &login).await.unwrap();
    assert_eq!(first.lines(&count, 1).await[1], "D 100");
    process.signal("TERM");
    assert_eq!(first.rest().await.iter().map(Message::line).collect::<Vec<_>>(), ["E 57P01"]);
    assert!(process.ended(Duration::from_secs(10)).expect("it ends").success());
    // Nobody serves: who connects now waits for the next process.
    let waiting = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _next = Process::run(started_on(socket.try_clone().unwrap().into(), &config));
    let mut waited = Raw::over(waiting, &startup(0, &login)).await.unwrap();
    assert_eq!(waited.lines(&count, 1).await[1], "D 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_another_kind_is_refused() {
    let stage = stage().await;
    let config = stage.write();
    let socket = UnixDatagram::unbound().unwrap();
    let mut process = Process::spawn(started_on(socket.into(), &config));
    assert!(!process.ended(Duration::from_secs(20)).expect("it does not start").success());
    assert!(process.says(&["a socket that was given to the process cannot be used"]), "{:?}", process.log());
}
