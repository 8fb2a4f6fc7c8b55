//! `sqlveil demo` as people run it: the program, its READY lines, psql and pgbench on them, and nothing left behind.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A running `sqlveil demo --keep` with a temporary folder of its own.
struct Demo {
    process: Child,
    port: u16,
    answers: String,
    urls: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

fn command(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sqlveil"));
    command.args(["demo", "--port", &port.to_string()]).stdin(Stdio::null());
    command
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("demo-").tempdir_in("/tmp").unwrap();
        // Run as root, the server is another user's process.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let port = sqlveil::cli::demo::private_postgres::free_port().unwrap();
        let mut command = command(port);
        command.arg("--keep").env("TMPDIR", folder.path()).stdout(Stdio::piped());
        let process = command.spawn().unwrap();
        let mut demo = Self { port, answers: String::new(), urls: Vec::new(), folder, process };
        for line in BufReader::new(demo.process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(" postgresql://") {
                Some((word @ ("READY" | "ADMIN"), rest)) => {
                    let user = if word == "ADMIN" { "ADMIN" } else { rest.split(':').next().unwrap() };
                    demo.urls.push((user.to_owned(), format!("postgresql://{rest}")));
                }
                _ => demo.answers.push_str(&format!("{line}\n")),
            }
            if demo.urls.len() == 5 {
                break;
            }
        }
        demo
    }

    fn url(&self, user: &str) -> &str {
        &self.urls.iter().find(|(name, _)| name == user).unwrap().1
    }

    fn run(&self, program: &str, user: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).arg(self.url(user)).env("PSQLRC", "/dev/null").stdin(Stdio::null());
        command.output().unwrap()
    }

    fn psql(&self, user: &str, sql: &str) -> Result<String, String> {
        let output = self.run("psql", user, &["-XAtv", "VERBOSITY=verbose", "-c", sql, "-d"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Interrupts it as Ctrl-C does; gives its exit code, its port and its temporary folder.
    fn interrupt(mut self) -> (Option<i32>, u16, Vec<PathBuf>) {
        Command::new("kill").args(["-INT", &self.process.id().to_string()]).status().unwrap();
        let code = self.process.wait().unwrap().code();
        let left = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        (code, self.port, left)
    }
}

/// A test that fails leaves nothing behind either: without its owner the guardian cleans up.
impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_demo_answers_each_caller_differently_and_leaves_nothing_behind() {
    let demo = Demo::start();
    let users: Vec<&str> = demo.urls.iter().map(|(user, _)| user.as_str()).collect();
    assert_eq!(users, ["analyst", "support", "steward", "outsider", "ADMIN"]);
    for words in ["EUROPE", "***-5266", "2000.00", "rows by \"rows of customers\"", "ERROR 42P01"] {
        assert!(demo.answers.contains(words), "{words}: {}", demo.answers);
    }

    // What each caller counts is what the warehouse counts under the same condition.
    let of_region = "FROM customer JOIN nation ON n_nationkey = c_nationkey JOIN region ON r_regionkey = n_regionkey";
    let europe = demo.psql("ADMIN", &format!("SELECT count(*) {of_region} WHERE r_name = 'EUROPE'")).unwrap();
    let germany = demo.psql("ADMIN", "SELECT count(*) FROM customer WHERE c_nationkey = 7").unwrap();
    assert_eq!(demo.psql("analyst", "SELECT count(*) FROM customer").unwrap(), europe);
    assert_eq!(demo.psql("analyst", &format!("SELECT DISTINCT trim(r_name) {of_region}")).unwrap(), "EUROPE");
    assert_eq!(
        demo.psql("support", "SELECT count(*), min(c_nationkey) FROM customer").unwrap(),
        format!("{germany}|7")
    );
    let orders = format!(
        "SELECT count(*) FROM orders WHERE o_custkey IN (SELECT c_custkey {of_region} WHERE r_name = 'EUROPE')"
    );
    let seen = demo.psql("analyst", "SELECT count(*) FROM orders").unwrap();
    assert_eq!(seen, demo.psql("ADMIN", &orders).unwrap());

    let row = "SELECT c_name, trim(c_phone), c_acctbal FROM customer WHERE c_custkey = 93";
    let raw = demo.psql("ADMIN", row).unwrap();
    assert_eq!(raw, "Customer#000000093|17-359-388-5266|2182.52");
    assert_eq!(demo.psql("support", row).unwrap(), "Customer#000000093|***-5266|2000.00");
    let hashed = demo.psql("analyst", row).unwrap();
    assert!(hashed.ends_with("|2182.52") && !hashed.contains("Customer") && !hashed.contains("5266"), "{hashed}");
    assert_eq!(demo.psql("steward", row).unwrap(), hashed);
    let for_fraud = format!("SET sqlveil.project = 'fraud'; {row}");
    assert_eq!(demo.psql("steward", &for_fraud).unwrap(), format!("SET\n{raw}"));
    let refused = demo.psql("analyst", &for_fraud).unwrap_err();
    assert!(refused.contains("42501"), "{refused}");

    let missing = demo.psql("outsider", "SELECT * FROM customer").unwrap_err();
    assert!(missing.contains("42P01: relation \"customer\" does not exist"), "{missing}");
    assert_eq!(demo.psql("outsider", "\\dt").unwrap(), "");
    assert_eq!(demo.psql("analyst", "\\dt").unwrap().lines().count(), 12);

    let (code, port, left) = demo.interrupt();
    assert_eq!(code, Some(0));
    assert!(left.is_empty(), "{left:?}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn pgbench_runs_through_a_masked_and_filtered_table_by_index() {
    let demo = Demo::start();
    let bank = "SELECT count(*), count(DISTINCT bid), bool_or(filler = '') FROM pgbench_accounts";
    assert_eq!(demo.psql("analyst", bank).unwrap(), "200000|2|f");
    assert_eq!(demo.psql("analyst", "SELECT count(*) FROM pgbench_branches").unwrap(), "3");
    for mode in ["simple", "extended", "prepared"] {
        for clients in ["1", "8"] {
            let args = ["-S", "-n", "-M", mode, "-c", clients, "-t", "25"];
            let output = demo.run("pgbench", "analyst", &args);
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{mode} {clients}: {text}");
            assert!(text.contains("number of failed transactions: 0 "), "{mode} {clients}: {text}");
        }
    }
    // A warehouse session reports its scans when it has been idle for up to ten seconds.
    let found = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'pgbench_accounts'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while demo.psql("ADMIN", found).unwrap().parse::<u32>().unwrap() < 3 * (25 + 8 * 25) {
        assert!(Instant::now() < deadline, "{:?}", demo.psql("ADMIN", found));
        std::thread::sleep(Duration::from_millis(500));
    }
    // The questions above and those the demo asked itself read the whole table, a few times each with parallel workers.
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'pgbench_accounts'";
    let scans: u32 = demo.psql("ADMIN", scans).unwrap().parse().unwrap();
    assert!(scans < 50, "no lookup may read the whole table: {scans}");
    let (code, _, left) = demo.interrupt();
    assert_eq!((code, left), (Some(0), Vec::new()));
}

#[test]
fn a_port_in_use_is_said_before_any_work() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command(port).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")) && text.contains("--port"), "{text}");
    assert!(!text.contains("starting"), "{text}");
}
