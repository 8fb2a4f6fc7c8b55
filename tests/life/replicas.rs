//! Three proxies behind HAProxy: one is killed, cancel requests come to whoever.

use super::held::Held;
use super::process::Process;
use super::raw::{Raw, query};
use super::stage;
use super::support::{Stage, server};
use sqlveil::cli::demo::private_postgres::free_port;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Replicas 1 to 3, and HAProxy before them.
struct Cluster {
    replicas: Vec<Process>,
    /// Where replicas hear each other.
    private: Vec<u16>,
    balancer: Balancer,
    port: u16,
    database: String,
    _balancing: tempfile::TempDir,
    /// Of the stage's documents, and of the trail that all share.
    folder: PathBuf,
    _stage: Stage,
}

/// HAProxy in a process of its own, with what it says of its servers.
struct Balancer {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has noticed that this replica is gone.
    async fn misses(&self, replica: usize) {
        let (down, deadline) = (format!("replica{replica} is DOWN"), Instant::now() + Duration::from_secs(60));
        while !self.said().iter().any(|line| line.contains(&down)) {
            assert!(Instant::now() < deadline, "it does not notice: {:?}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("HAProxy ({ended:?}): {:#?}", self.said());
        }
    }
}

const HAPROXY: &str = "
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    retries 3
    option redispatch 1
listen postgresql
    balance roundrobin
    default-server check send-proxy-v2 check-send-proxy inter 500ms fall 3 rise 1 on-marked-down shutdown-sessions
";

fn haproxy(folder: &Path, port: u16, servers: &[u16]) -> Balancer {
    let mut text = format!("{HAPROXY}    bind 127.0.0.1:{port}\n");
    for (at, server) in servers.iter().enumerate() {
        text.push_str(&format!("    server replica{} 127.0.0.1:{server}\n", at + 1));
    }
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("HAProxy: .ci/setup --test installs it");
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut balancer = Balancer { child, said: Arc::default() };
    let said = Arc::clone(&balancer.said);
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| said.lock().unwrap().push(line)));
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = balancer.child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < deadline, "HAProxy does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    balancer
}

impl Cluster {
    async fn start() -> Self {
        let private: Vec<u16> = (0..3).map(|_| free_port().unwrap()).collect();
        let peers: Vec<String> =
            private.iter().enumerate().map(|(at, port)| format!("{}: \"127.0.0.1:{port}\"", at + 1)).collect();
        let lines = format!(
            "proxy_protocol: {{from: [127.0.0.1]}}\naudit: {{folder: trail}}\nreplica: {{id: 1, listen: \"127.0.0.1:{}\", peers: {{{}}}, timeout: 2s}}\nlimits: {{sessions_per_user: 200}}",
            private[0],
            peers.join(", ")
        );
        let stage = stage().await.config(&lines);
        let config = stage.write();
        let replicas: Vec<Process> = (0..3)
            .map(|at| {
                let mut command = Process::command(&config);
                command.env("SQLVEIL__REPLICA__ID", (at + 1).to_string());
                command.args(["--set", &format!("replica.listen=127.0.0.1:{}", private[at])]);
                Process::run(command)
            })
            .collect();
        let balancing = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let ports: Vec<u16> = replicas.iter().map(|replica| replica.port).collect();
        let balancer = haproxy(balancing.path(), port, &ports);
        let database = stage.database.clone();
        let folder = config.parent().unwrap().to_owned();
        Self { replicas, private, balancer, port, database, _balancing: balancing, folder, _stage: stage }
    }

    async fn client(&self) -> Raw {
        Raw::at(self.port, 0, &[("user", "ana"), ("database", &self.database)]).await.expect("logs in")
    }

    /// Clients until each replica has one; which one, by the key they got.
    async fn everywhere(&self) -> Vec<(u8, Raw)> {
        let mut clients = Vec::new();
        for _ in 0..6 {
            let client = self.client().await;
            clients.push(((client.key.0 >> 24) as u8, client));
        }
        clients
    }
}

/// A CancelRequest to that port, and its end.
pub async fn cancel(port: u16, pid: i32, secret: &[u8]) -> Duration {
    let began = Instant::now();
    let mut packet = (12 + secret.len() as u32).to_be_bytes().to_vec();
    packet.extend_from_slice(&80_877_102_u32.to_be_bytes());
    packet.extend_from_slice(&pid.to_be_bytes());
    packet.extend_from_slice(secret);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("it closes");
    assert!(rest.is_empty(), "nothing is said");
    began.elapsed()
}

/// Waits for the lock.
pub const WAIT: &str = "select count(*) from held";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_request_finds_its_replica() {
    let cluster = Cluster::start().await;
    let mut clients = cluster.everywhere().await;
    let held = Held::lock(server(), &cluster.database).await;
    for id in 1..=3 {
        assert!(clients.iter().any(|(replica, _)| *replica == id), "nobody at {id}");
    }
    // Three times each: the balancer hands the request to each replica in turn.
    for _ in 0..3 {
        for (_, client) in &mut clients {
            let (pid, secret) = client.key.clone();
            client.send(&query(WAIT)).await;
            held.waited_for(1).await;
            cancel(cluster.port, pid, &secret).await;
            let said: Vec<String> = client.ready(1).await.iter().map(|m| m.line()).collect();
            assert_eq!(said.last().unwrap(), "Z I");
            assert!(said.contains(&"E 57014".to_owned()), "{said:?}");
        }
    }
    // Of a client that speaks 3.2, with its longer secret.
    for _ in 0..3 {
        let login = [("user", "ana"), ("database", cluster.database.as_str())];
        let mut client = Raw::at(cluster.port, 2, &login).await.expect("logs in");
        let (pid, secret) = client.key.clone();
        assert_eq!(secret.len(), 32);
        client.send(&query(WAIT)).await;
        held.waited_for(1).await;
        cancel(cluster.port, pid, &secret).await;
        assert!(client.ready(1).await.iter().any(|m| m.line() == "E 57014"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_hold_the_addresses_of_clients_behind_the_balancer() {
    let mut cluster = Cluster::start().await;
    let mut addresses = BTreeSet::new();
    for (_, mut client) in cluster.everywhere().await {
        addresses.insert(client.stream.local_addr().unwrap().to_string());
        assert_eq!(client.lines(&query("select count(*) from t"), 1).await[1], "D 100");
    }
    for replica in &mut cluster.replicas {
        replica.signal("TERM");
        assert!(replica.ended(Duration::from_secs(20)).is_some());
    }
    let mut told = BTreeSet::new();
    for file in std::fs::read_dir(cluster.folder.join("trail")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            if matches!(record["kind"].as_str(), Some("login" | "statement")) {
                told.insert(record["client"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(told, addresses);
    for replica in &cluster.replicas {
        assert!(!replica.says(&["proxy_protocol"]), "checks of the balancer are nothing to tell");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strangers_cancel_nothing() {
    let cluster = Cluster::start().await;
    let mut client = cluster.client().await;
    let (pid, secret) = client.key.clone();
    let owner = (pid >> 24) as usize;
    let held = Held::lock(server(), &cluster.database).await;
    client.send(&query(WAIT)).await;
    held.waited_for(1).await;
    // The right key, at the port that hears replicas only; without a MAC, and with a wrong one.
    let private = cluster.private[owner - 1];
    cancel(private, pid, &secret).await;
    cancel(private, pid, &[secret.as_slice(), &[0; 32]].concat()).await;
    // A wrong secret and wrong replicas, through the balancer.
    let mut wrong = secret.clone();
    wrong[3] ^= 1;
    for _ in 0..3 {
        cancel(cluster.port, pid, &wrong).await;
        cancel(cluster.port, pid ^ (3 << 24), &secret).await;
        cancel(cluster.port, (99 << 24) | 5, &secret).await;
    }
    // No session, no noise.
    for bytes in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\x27\x10\x04\xd2\x16\x2e",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", private)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("it closes");
        assert!(rest.is_empty(), "{rest:?}");
    }
    held.waited_for(1).await;
    held.release().await;
    let said: Vec<String> = client.ready(1).await.iter().map(|m| m.line()).collect();
    assert_eq!(said, ["T", "D 0", "C SELECT 1", "Z I"], "it ran to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_is_killed_under_load_and_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    let worked = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicUsize::new(0));
    // Ends with the test, however that ends.
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (worked, failed) = (Arc::clone(&worked), Arc::clone(&failed));
        let (port, database) = (cluster.port, cluster.database.clone());
        load.spawn(async move {
            loop {
                let database = database.clone();
                let once = tokio::spawn(async move {
                    let mut raw = Raw::at(port, 0, &[("user", "ana"), ("database", &database)]).await.unwrap();
                    assert_eq!(raw.lines(&query("select count(*) from t"), 1).await[1], "D 100");
                });
                let count = if once.await.is_ok() { &worked } else { &failed };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut clients = cluster.everywhere().await;
    let more = async |wanted: usize| {
        let enough = worked.load(Ordering::Relaxed) + wanted;
        let deadline = Instant::now() + Duration::from_secs(120);
        while worked.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "new connections do not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        failed.load(Ordering::Relaxed)
    };
    assert_eq!(more(50).await, 0, "all is well before");
    cluster.replicas[1].kill();
    more(50).await;
    cluster.balancer.misses(2).await;
    // Those that were at the killed one, and who was on the way from it to another when the balancer ended what it
    // had there (`on-marked-down shutdown-sessions`). Each of the six has one session at a time.
    let told = more(50).await;
    assert!(told <= 12, "{told} failed");
    assert_eq!(more(100).await, told, "none fails when all have been told");
    load.shutdown().await;
    let held = Held::lock(server(), &cluster.database).await;
    for (replica, client) in &mut clients {
        let (pid, secret) = client.key.clone();
        if *replica == 2 {
            assert!(client.next().await.is_none(), "it is gone");
            // Its key leads nowhere, and nobody waits for long.
            assert!(cancel(cluster.port, pid, &secret).await < Duration::from_secs(5));
            continue;
        }
        client.send(&query(WAIT)).await;
        held.waited_for(1).await;
        cancel(cluster.port, pid, &secret).await;
        assert!(client.ready(1).await.iter().any(|m| m.line() == "E 57014"));
    }
}
