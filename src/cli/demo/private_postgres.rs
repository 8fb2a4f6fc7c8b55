//! A private PostgreSQL server: started in a temporary folder, gone without a trace when dropped.
//!
//! In: [`Setup`]. Out: a running server with a superuser and a random password, on a Unix socket and a loopback port.
//! Must never: outlive its owner (a guardian process stops the server and removes the folder even when the owner was
//! killed), listen on anything but loopback, or run as root.
//!
//! Used by `sqlveil demo` and by the tests.

use rand::Rng;
use rand::distr::Alphanumeric;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Oldest major version the proxy is developed against.
const OLDEST: u32 = 15;
/// How long a server may take to start before it is given up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Name of the superuser of every private server.
const SUPERUSER: &str = "admin";

/// Why a private server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    /// No usable installation.
    #[error(
        "no PostgreSQL {OLDEST} or newer found in $SQLVEIL_POSTGRES_BIN, PATH, /usr/lib/postgresql/*/bin or pg_config: \
         install the server (Debian, Ubuntu: apt-get install postgresql)"
    )]
    NotInstalled,
    /// Running as root with no account to step down to.
    #[error("running as root and neither the user \"postgres\" nor \"nobody\" exists to run PostgreSQL as")]
    NoUnprivilegedUser,
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// PostgreSQL itself failed.
    #[error("{what}:\n{log}")]
    Server {
        /// What was being done.
        what: &'static str,
        /// Its output.
        log: String,
    },
}

type Result<T> = std::result::Result<T, PrivatePostgresError>;

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> PrivatePostgresError {
    let what = what.into();
    move |source| PrivatePostgresError::Io { what, source }
}

/// How the server is to be set up. `Setup::default()` is right for most.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Further lines of `postgresql.conf`, as (name, value); they win over the built-in ones.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf` put before the built-in ones (which ask every login for SCRAM-SHA-256).
    pub hba: Vec<String>,
    /// Files put into the data folder before the start, private to the server (certificates and keys).
    pub files: Vec<(String, Vec<u8>)>,
    /// The folder of the server's programs; `None` = [`find_binaries`].
    pub programs: Option<PathBuf>,
}

/// A running private server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: PathBuf,
    bin: PathBuf,
    account: Option<Account>,
    port: u16,
    password: String,
    guardian: Child,
    line: Mutex<Option<Line>>,
}

/// The way to the guardian and back.
#[derive(Debug)]
struct Line {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PrivatePostgres {
    /// Creates and starts a server with the default setup. Blocks, about two seconds.
    pub fn start() -> Result<Self> {
        Self::start_with(&Setup::default())
    }

    /// Creates and starts a server. Blocks, about two seconds.
    pub fn start_with(setup: &Setup) -> Result<Self> {
        let bin = setup.programs.clone().or_else(find_binaries).ok_or(PrivatePostgresError::NotInstalled)?;
        // The port is free when asked for and may be taken before the server binds it: try a few.
        let mut tries = 3;
        loop {
            match Self::attempt(&bin, setup) {
                Err(PrivatePostgresError::Server { log, .. }) if tries > 1 && log.contains("could not bind") => {
                    tries -= 1
                }
                other => return other,
            }
        }
    }

    fn attempt(bin: &Path, setup: &Setup) -> Result<Self> {
        let folder = Folder::create()?;
        let account = folder.account()?;
        let server = Self::guarded(bin, folder, account, free_port()?)?;
        let password_file = server.folder.join("password");
        write_private(&password_file, server.password.as_bytes(), server.account.as_ref())?;
        if !server.order("init")? {
            return Err(PrivatePostgresError::Server { what: "initdb failed", log: server.log() });
        }
        std::fs::remove_file(&password_file).map_err(io("removing the password file"))?;
        configure(&server.folder.join("data"), server.account.as_ref(), setup)?;
        server.resume()?;
        Ok(server)
    }

    /// Hands the folder to a new guardian: from here it is removed whatever happens to this process.
    fn guarded(bin: &Path, folder: Folder, account: Option<Account>, port: u16) -> Result<Self> {
        let path = folder.0.clone();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(include_str!("guardian.sh")).arg("guardian");
        command.arg(&path).arg(bin).arg(SUPERUSER).arg(port.to_string());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command.env("LC_ALL", "C").current_dir(&path).process_group(0);
        if let Some(account) = &account {
            command.uid(account.uid).gid(account.gid);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guardian = command.spawn().map_err(io("starting the guardian of the private server"))?;
        let (orders, answers) = match (guardian.stdin.take(), guardian.stdout.take()) {
            (Some(orders), Some(answers)) => (orders, BufReader::new(answers)),
            (_, _) => return Err(io("talking to the guardian")(std::io::Error::other("no pipe"))),
        };
        std::mem::forget(folder);
        let (bin, password) = (bin.to_owned(), random_password());
        Ok(Self {
            folder: path,
            bin,
            account,
            port,
            password,
            guardian,
            line: Mutex::new(Some(Line { orders, answers })),
        })
    }

    /// Starts the server again after [`Self::pause`], on the same port with the same data; waits until it answers.
    pub fn resume(&self) -> Result<()> {
        let log_path = self.folder.join("log");
        let already = std::fs::metadata(&log_path).map_or(0, |m| m.len());
        self.order("up")?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // Line 8 of postmaster.pid is the server's status (PostgreSQL src/include/utils/pidfile.h).
            let pid_file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|status| status.trim() == "ready") {
                return Ok(());
            }
            let log = std::fs::read(&log_path).unwrap_or_default();
            let fresh = log.get(usize::try_from(already).unwrap_or(0)..).unwrap_or_default();
            let fresh = String::from_utf8_lossy(fresh);
            // Clients that come too early are told so, too (PostgreSQL src/backend/postmaster/postmaster.c).
            let early = |line: &str| line.contains("starting up") || line.contains("not yet accepting connections");
            let failed = fresh.lines().any(|line| line.contains("FATAL:  ") && !early(line));
            if Instant::now() > deadline || failed {
                return Err(PrivatePostgresError::Server {
                    what: "the private PostgreSQL did not start",
                    log: fresh.into_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server abruptly, as a crash would; the data stays for [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        self.order("down").map(drop)
    }

    /// Stops the server and removes everything. Dropping does the same.
    pub fn stop(self) {}

    /// Whether the guardian did as told.
    fn order(&self, word: &str) -> Result<bool> {
        let mut held = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Line { orders, answers }) = held.as_mut() else { return Ok(false) };
        writeln!(orders, "{word}").and_then(|()| orders.flush()).map_err(io("talking to the guardian"))?;
        let mut line = String::new();
        answers.read_line(&mut line).map_err(io("listening to the guardian"))?;
        match line.trim().strip_prefix(word) {
            Some(status) => Ok(status == " 0"),
            None => Err(io("listening to the guardian")(std::io::Error::other("it has ended"))),
        }
    }

    /// The loopback address the server listens on.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password, random per server.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A superuser's URL over loopback TCP.
    pub fn admin_url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}:{}@{}:{}/{database}", self.password, self.host(), self.port)
    }

    /// Settings of a superuser's tokio-postgres connection over loopback TCP.
    pub fn admin_config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host(self.host()).port(self.port).user(SUPERUSER).password(&self.password).dbname(database);
        config
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// The folder of the PostgreSQL programs (`psql`, `pgbench`, …).
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    /// A new private folder beside the data that goes away with the server.
    pub fn side_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(io(format!("creating {}", path.display())))?;
        self.adopt(&path)?;
        Ok(path)
    }

    /// Hands a folder below a [`Self::side_folder`] and all in it over to the account that runs the server: the guardian
    /// runs as that account too, and could not empty other people's folders.
    pub fn adopt(&self, path: &Path) -> Result<()> {
        let Some(account) = &self.account else { return Ok(()) };
        let what = || io(format!("handing over {}", path.display()));
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)).map_err(what())?;
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(what())? {
                self.adopt(&entry.map_err(what())?.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // End of input: the guardian stops the server, removes the folder and ends.
        drop(self.line.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.guardian.wait();
    }
}

/// A random password of letters and digits, fit for a URL.
pub fn random_password() -> String {
    rand::rng().sample_iter(&Alphanumeric).take(24).map(char::from).collect()
}

/// Ports below those that the system itself gives to connections (ip(7), `ip_local_port_range`).
const PORTS: std::ops::Range<u16> = 16_384..32_768;

/// A loopback port nobody listens on at this moment; one that no connection gets by chance before it is listened on, as far as there is one.
pub fn free_port() -> Result<u16> {
    let what = "looking for a free loopback port";
    for _ in 0..100 {
        let port = rand::rng().random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(io(what))?;
    Ok(listener.local_addr().map_err(io(what))?.port())
}

/// The folder of the newest PostgreSQL server programs, if there are any new enough.
pub fn find_binaries() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SQLVEIL_POSTGRES_BIN") {
        return Some(PathBuf::from(named)).filter(|bin| major_version(bin).is_some());
    }
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    if let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let usable = folders.into_iter().filter_map(|bin| major_version(&bin).map(|major| (major, bin)));
    usable.filter(|(major, _)| *major >= OLDEST).max_by_key(|(major, _)| *major).map(|(_, bin)| bin)
}

/// Major version of the server in a folder, when both programs needed are there.
pub fn major_version(bin: &Path) -> Option<u32> {
    if !bin.join("initdb").is_file() || !bin.join("postgres").is_file() {
        return None;
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "postgres (PostgreSQL) 15.18 (Debian …)", "postgres (PostgreSQL) 17beta1"
    let digits = text.split("(PostgreSQL) ").nth(1)?;
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// The account PostgreSQL runs as when this process is root.
#[derive(Debug, Clone)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    fn unprivileged() -> Result<Self> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |wanted: &str| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == wanted).then_some(())?;
                let uid = fields.nth(1)?.parse().ok()?;
                Some(Self { uid, gid: fields.next()?.parse().ok()? })
            })
        };
        find("postgres").or_else(|| find("nobody")).ok_or(PrivatePostgresError::NoUnprivilegedUser)
    }
}

/// The temporary folder until the guardian takes over.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self> {
        // A Unix socket's path holds about 100 bytes (unix(7)); a long TMPDIR would not leave room for its name.
        let base = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() <= 60);
        let base = base.unwrap_or_else(|| PathBuf::from("/tmp"));
        let folder = tempfile::Builder::new().prefix("sqlveil-pg-").tempdir_in(base);
        Ok(Self(folder.map_err(io("creating a temporary folder"))?.keep()))
    }

    /// Whom to run the server as: `None` for this process's own user, who owns what it has just created.
    fn account(&self) -> Result<Option<Account>> {
        let owner = std::fs::metadata(&self.0).map_err(io("looking at the temporary folder"))?.uid();
        if owner != 0 {
            return Ok(None);
        }
        let account = Account::unprivileged()?;
        std::os::unix::fs::chown(&self.0, Some(account.uid), Some(account.gid))
            .map_err(io("handing the temporary folder over"))?;
        Ok(Some(account))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write_private(path: &Path, content: &[u8], account: Option<&Account>) -> Result<()> {
    let what = || io(format!("writing {}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(what())?;
    file.write_all(content).map_err(what())?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(what())?;
    if let Some(account) = account {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)).map_err(what())?;
    }
    Ok(())
}

/// Writes the settings over those of initdb.
fn configure(data: &Path, account: Option<&Account>, setup: &Setup) -> Result<()> {
    // A commit is with the operating system when it is answered (which `fsync` has no say in): `down` loses none.
    let mut conf = String::from(
        "listen_addresses = '127.0.0.1'\nunix_socket_permissions = 0700\nfsync = off\n\
         full_page_writes = off\nwal_level = minimal\nmax_wal_senders = 0\n\
         min_wal_size = 32MB\nmax_wal_size = 128MB\nshared_buffers = 64MB\nmax_connections = 100\njit = off\n\
         timezone = 'UTC'\nlog_timezone = 'UTC'\nlog_destination = stderr\nlogging_collector = off\n",
    );
    for (name, value) in &setup.settings {
        conf.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    let mut hba = String::new();
    setup.hba.iter().for_each(|line| hba.push_str(&format!("{line}\n")));
    hba.push_str("local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
    write_private(&data.join("postgresql.auto.conf"), conf.as_bytes(), account)?;
    write_private(&data.join("pg_hba.conf"), hba.as_bytes(), account)?;
    for (name, content) in &setup.files {
        write_private(&data.join(name), content, account)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn serves_pauses_resumes_and_leaves_nothing() {
        let server = PrivatePostgres::start().unwrap();
        let folder = server.socket_folder().to_owned();
        let side = server.side_folder("side").unwrap();
        std::fs::create_dir(side.join("deeper")).unwrap();
        std::fs::write(side.join("deeper/note"), "x").unwrap();
        server.adopt(&side).unwrap();
        let ask = async |server: &PrivatePostgres| {
            let (client, connection) = server.admin_config("postgres").connect(tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            client.query_one("select current_user::text, current_setting('server_encoding')", &[]).await
        };
        let row = ask(&server).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("admin", "UTF8"));
        server.pause().unwrap();
        assert!(ask(&server).await.is_err());
        server.resume().unwrap();
        assert!(ask(&server).await.is_ok());
        let address = (server.host(), server.port());
        server.stop();
        assert!(!folder.exists());
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_server_that_cannot_start_is_an_error_and_leaves_nothing() {
        let setup = Setup { settings: vec![("shared_buffers".into(), "nonsense".into())], ..Setup::default() };
        let error = PrivatePostgres::start_with(&setup).unwrap_err();
        assert!(matches!(error, PrivatePostgresError::Server { .. }), "{error}");
    }

    #[test]
    fn the_guardian_cleans_up_after_a_killed_owner() {
        // The owner is a shell that holds the only writing end of the guardian's input; killing it closes that end.
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let script = folder.path().join("guardian.sh");
        std::fs::write(&script, include_str!("guardian.sh")).unwrap();
        // Nobody reads its answers either.
        let (script, path) = (script.display(), inner.display());
        let line = format!("(echo down; echo init; exec sleep 1000) | sh {script} {path} /nowhere x 1 | true");
        let mut owner = Command::new("sh").arg("-c").arg(line).process_group(0).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(inner.exists());
        // The guardian ignores TERM, `sleep` does not.
        Command::new("sh").arg("-c").arg(format!("kill -TERM -{}", owner.id())).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while inner.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!inner.exists());
        let _ = owner.wait();
    }
}
