//! A PgBouncer of our own: started in a temporary folder by an unprivileged account, gone with the test.

use crate::support::PASSWORD;
use sqlveil::cli::demo::private_postgres::free_port;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

pub struct Bouncer {
    pub port: u16,
    server: Child,
    folder: tempfile::TempDir,
}

impl Bouncer {
    /// Before a server on that port, with logins and their secrets, and further settings.
    pub fn before(port: u16, logins: &[(&str, &str)], settings: &str) -> Self {
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(
            program.is_file(),
            "no PgBouncer: .ci/setup --test installs it (Debian, Ubuntu: apt-get install pgbouncer)"
        );
        let folder = tempfile::Builder::new().prefix("sqlveil-bouncer-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let logins: String = logins.iter().map(|(name, secret)| format!("\"{name}\" \"{secret}\"\n")).collect();
        std::fs::write(at("users.txt"), logins).unwrap();
        let (here, own) = (folder.path().display(), free_port().unwrap());
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\n\
             auth_file = {here}/users.txt\nlogfile = {here}/log\nmax_client_conn = 200\nserver_login_retry = 1\nquery_wait_timeout = 5\n{settings}\n"
        );
        let ini = if settings.contains("auth_type") { ini } else { format!("{ini}auth_type = scram-sha-256\n") };
        std::fs::write(at("pgbouncer.ini"), ini).unwrap();
        // A shell in between ends the server when our end of its input is closed, however we end.
        let script = "\"$@\" & pid=$!; read -r _; kill $pid; wait $pid";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh", "/usr/sbin/pgbouncer", "-q"]).arg(at("pgbouncer.ini"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // PgBouncer does not run as root.
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            let nobody = 65_534;
            let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in entries.chain([folder.path().to_path_buf()]) {
                chown(path, Some(nobody), Some(nobody)).unwrap();
            }
            command.uid(nobody).gid(nobody);
        }
        let bouncer = Self { port: own, server: command.spawn().unwrap(), folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", own)).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not start: {}", bouncer.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        bouncer
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A client of it.
    pub async fn client(&self, user: &str, database: &str) -> Client {
        client(self.port, user, database).await
    }

    /// An attempt, its settings changed before.
    pub async fn try_client(
        &self,
        user: &str,
        database: &str,
        change: impl FnOnce(&mut tokio_postgres::Config),
    ) -> Result<Client, tokio_postgres::Error> {
        try_client(self.port, user, database, change).await
    }
}

/// A client of whoever listens on a port.
pub async fn client(port: u16, user: &str, database: &str) -> Client {
    try_client(port, user, database, |_| ()).await.unwrap_or_else(|error| panic!("{user}: {error:?}"))
}

async fn try_client(
    port: u16,
    user: &str,
    database: &str,
    change: impl FnOnce(&mut tokio_postgres::Config),
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname(database).user(user).password(PASSWORD);
    config.connect_timeout(Duration::from_secs(20));
    change(&mut config);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}
