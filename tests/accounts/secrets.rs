//! Where a secret is: on the terminal of whoever made it, once. The proxy here is the binary itself, at its most talkative.

use crate::commands::{run, sqlveil, token, with_password};
use crate::stage;
use crate::support::{PASSWORD, Stage};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use tokio_postgres::NoTls;

/// `sqlveil serve`, until dropped.
struct Served {
    child: std::process::Child,
    port: u16,
    log: Option<std::thread::JoinHandle<String>>,
}

fn serve(stage: &Stage) -> Served {
    let config = stage.write();
    let mut child = sqlveil()
        .args(["serve", "--config"])
        .arg(config)
        .env("SQLVEIL_LOG", "trace,tokio_postgres=off,mio=off,notify=off")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    let port = loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{seen}");
        seen.push_str(&line);
        if line.contains("listening") {
            let address = line.trim_end().rsplit("127.0.0.1:").next().unwrap();
            break address.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        }
    };
    let log = std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = lines.read_to_end(&mut rest);
        seen + &String::from_utf8_lossy(&rest)
    });
    Served { child, port, log: Some(log) }
}

impl Served {
    async fn asks(&self, user: &str, secret: &str, database: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(secret).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        client.simple_query(sql).await.map(drop)
    }

    fn log(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_log_audit_or_list_holds_one_and_the_audit_names_who_it_was() {
    let stage = stage().await;
    let config = stage.write();
    let database = stage.database.clone();
    let say = |words: &[&str], password: Option<&str>| with_password(&config, words, password);
    let made = say(
        &[
            "token",
            "create",
            "--display-name",
            "night",
            "--group",
            "Staff",
            "--validity-seconds",
            "900",
            "--format",
            "json",
        ],
        None,
    );
    let commands = made.err.clone();
    let token: serde_json::Value = serde_json::from_str(&made.fine()).unwrap();
    let (user, secret) = (token["user"].as_str().unwrap(), token["accessToken"].as_str().unwrap());
    let made =
        say(&["account", "create", "--user", "bob", "--project", "fraud", "--minutes", "5", "--format", "json"], None);
    let commands = commands + &made.err;
    let account: serde_json::Value = serde_json::from_str(&made.fine()).unwrap();
    let (name, password) = (account["sqlUser"].as_str().unwrap(), account["sqlPassword"].as_str().unwrap());
    for (field, wanted) in [
        ("success", serde_json::json!(true)),
        ("host", "127.0.0.1".into()),
        ("database", database.as_str().into()),
        ("sslMode", "prefer".into()),
    ] {
        assert_eq!(account[field], wanted, "{account}");
    }
    let url = format!("postgresql://{name}:{password}@127.0.0.1:0/{database}?sslmode=prefer");
    assert_eq!(account["connectionString"], url.as_str());
    let made = say(&["user", "add", "eva"], Some("the secret of eva"));
    let commands = commands + &made.err;
    made.fine();
    let served = serve(&stage);
    for (user, secret) in [(user, secret), (name, password), ("eva", "the secret of eva"), ("ana", PASSWORD)] {
        served.asks(user, secret, &database, "SELECT 1").await.unwrap();
    }
    served.asks(user, secret, &database, "SELECT count(*) FROM cities").await.unwrap();
    served.asks(name, password, &database, "SELECT count(*) FROM cities").await.unwrap();
    assert!(served.asks(name, password, &database, "SET sqlveil.project = 'other'").await.is_err());
    assert!(served.asks(user, password, &database, "SELECT 1").await.is_err());
    let log = served.log();

    let record = |parts: &[&str]| {
        let found = log.lines().any(|line| line.contains(" audit: ") && parts.iter().all(|part| line.contains(part)));
        assert!(
            found,
            "no record with {parts:?}:\n{}",
            log.lines().filter(|l| l.contains(" audit: ")).collect::<Vec<_>>().join("\n")
        );
    };
    let (named, by) = (format!("user=\"{user}\""), format!("login=\"{name}\""));
    record(&[&named, "decision=\"login\""]);
    record(&[&named, "decision=\"allowed\"", "sources=\"cities\""]);
    record(&[&named, "decision=\"login refused\"", "code=\"28P01\""]);
    record(&["user=\"bob\"", &by, "decision=\"login\""]);
    record(&["user=\"bob\"", &by, "decision=\"allowed\"", "sources=\"cities\"", "project=\"fraud\""]);
    record(&["user=\"bob\"", &by, "decision=\"refused\"", "code=\"42501\""]);
    assert!(
        !log.lines().any(|line| line.contains("user=\"ana\"") && line.contains("login=\"")),
        "her login is her own"
    );
    for parts in [["token created", user], ["account created", name], ["user changed", "eva"]] {
        assert!(
            commands.lines().any(|line| line.contains(" audit: ") && parts.iter().all(|p| line.contains(p))),
            "{parts:?}: {commands}"
        );
    }
    let mut everything = vec![("the log", log), ("what commands tell besides", commands)];
    for kind in ["token", "account", "user"] {
        for format in ["table", "json"] {
            let list = say(&[kind, "list", "--format", format], None);
            everything.push(("a list", list.out + &list.err));
        }
    }
    everything.push(("a token", say(&["token", "show", user], None).fine()));
    for entry in std::fs::read_dir(config.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file())
    {
        everything.push(("a file", String::from_utf8_lossy(&std::fs::read(entry).unwrap()).into_owned()));
    }
    let verifiers = |text: &str| text.matches("SCRAM-SHA-256$").count();
    for (what, text) in &everything {
        for hidden in [secret, &secret[4..], password, &password[4..], "the secret of eva"] {
            assert!(!text.contains(hidden), "{what} holds {hidden}");
        }
        assert!(*what == "a file" || verifiers(text) == 0, "{what} holds a verifier");
    }
    assert!(everything.iter().any(|(what, text)| *what == "a file" && verifiers(text) == 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_once_also_when_nobody_listens() {
    let running = crate::running().await;
    let one = token(&running, &[]);
    let shown = run(&running, &["token", "show", &one.id]).fine() + &run(&running, &["token", "list"]).fine();
    assert!(!shown.contains(&one.secret) && shown.contains(&one.client), "{shown}");
    // For people: with what to do with it.
    let made = run(&running, &["token", "create", "--display-name", "x", "--validity-seconds", "409968000"]).fine();
    assert!(
        made.contains("\nsecret        svt_")
            && made.contains("expires       never")
            && made.contains("shown this once"),
        "{made}"
    );
    // Standard output is closed: the command fails, and says nothing of the secret elsewhere.
    let line = format!(
        "exec '{}' token create --display-name x --validity-seconds 9 --config '{}' >/dev/full",
        env!("CARGO_BIN_EXE_sqlveil"),
        running.config_file().display()
    );
    let output = std::process::Command::new("bash").args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("svt_"));
}
