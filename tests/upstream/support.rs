//! A private server with TLS and one role per authentication method, and a reader of raw sessions.

use postgres_protocol::message::frontend;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use sqlveil::cli::demo::private_postgres::{PrivatePostgres, Setup};
use sqlveil::config::tls::{ClientTls, SslMode};
use sqlveil::config::{Connection, Host, PoolLimits, Secret};
use sqlveil::upstream::{Pool, Session};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Password of every role of the tests.
pub const PASSWORD: &str = "correct horse";

/// Certificates of the tests: an authority and a server certificate for `localhost`, not for 127.0.0.1.
pub struct Papers {
    pub folder: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Papers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (trusted, other) = (authority("trusted"), authority("other"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &trusted).unwrap().pem();
        std::fs::write(folder.path().join("root.crt"), trusted.pem()).unwrap();
        std::fs::write(folder.path().join("other.crt"), other.pem()).unwrap();
        std::fs::write(folder.path().join("server.crt"), &certificate).unwrap();
        Self { folder, certificate, key: key.serialize_pem() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The server all tests but those of loss and recovery share.
pub struct Shared {
    pub server: PrivatePostgres,
    pub papers: Papers,
}

pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| std::thread::spawn(start).join().unwrap())
}

fn start() -> Shared {
    let papers = Papers::new();
    let setup = Setup {
        settings: [("ssl", "on"), ("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        hba: ["trusted 127.0.0.1/32 trust", "clear 127.0.0.1/32 password", "hashed 127.0.0.1/32 md5"]
            .map(|rest| format!("host all {rest}"))
            .into(),
        files: vec![
            ("server.crt".into(), papers.certificate.clone().into_bytes()),
            ("server.key".into(), papers.key.clone().into_bytes()),
        ],
        ..Setup::default()
    };
    let server = PrivatePostgres::start_with(&setup).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(create_roles(&server));
    Shared { server, papers }
}

pub async fn create_roles(server: &PrivatePostgres) {
    admin(
        server,
        &format!(
            "CREATE ROLE service LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE trusted LOGIN; \
             CREATE ROLE clear LOGIN PASSWORD '{PASSWORD}'; \
             SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}';"
        ),
    )
    .await;
}

/// Runs statements as the superuser; returns the first column of the rows.
pub async fn admin(server: &PrivatePostgres, sql: &str) -> Vec<String> {
    let (client, connection) = server.admin_config("postgres").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

/// A connection as `service` without TLS; the tests change what they are about.
pub fn connection(server: &PrivatePostgres) -> Connection {
    Connection {
        key: "warehouse".into(),
        host: Host::Tcp("127.0.0.1".into()),
        port: server.port(),
        database: "postgres".into(),
        user: "service".into(),
        password: Some(Secret::new(PASSWORD)),
        tls: ClientTls::disabled(),
        pool: PoolLimits::default(),
        connect_timeout: Duration::from_secs(5),
        query_timeout: None,
        pooler: None,
        query_timeout_max: None,
        temporary_tables: true,
        functions: Vec::new(),
        engine: sqlveil::config::Engine::default(),
        shards: std::collections::BTreeSet::new(),
    }
}

/// `connection` with TLS to a host name; `roots` names a file of the papers.
pub fn over_tls(host: &str, mode: SslMode, roots: Option<&str>) -> Connection {
    let shared = shared();
    let roots = roots.map(|name| shared.papers.path(name));
    Connection {
        host: Host::Tcp(host.into()),
        tls: ClientTls::load(mode, roots.as_deref()).unwrap(),
        ..connection(&shared.server)
    }
}

pub fn pool(connection: Connection) -> Arc<Pool> {
    Pool::new(Arc::new(connection))
}

/// One session of a fresh pool: (SQLSTATE, message) when refused.
pub async fn session(connection: Connection) -> Result<Session, (&'static str, String)> {
    let pool = pool(connection);
    pool.acquire(pool.deadline()).await.map_err(|refusal| (refusal.code.0, refusal.message.into_owned()))
}

/// What a simple query answered.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// First column of each row.
    pub values: Vec<String>,
    /// SQLSTATE of the error.
    pub error: Option<String>,
}

pub async fn send(session: &mut Session, sql: &str) {
    let mut out = bytes::BytesMut::new();
    frontend::query(sql, &mut out).unwrap();
    session.write.write_all(&out).await.unwrap();
}

/// Reads up to ReadyForQuery.
pub async fn receive(session: &mut Session) -> Answer {
    let mut answer = Answer::default();
    loop {
        let tag = session.read.read_u8().await.unwrap();
        let length = session.read.read_i32().await.unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        session.read.read_exact(&mut body).await.unwrap();
        match tag {
            b'D' => {
                let length = i32::from_be_bytes(body[2..6].try_into().unwrap());
                let value = body.get(6..6 + usize::try_from(length).unwrap_or(0)).unwrap();
                answer.values.push(String::from_utf8(value.to_vec()).unwrap());
            }
            b'E' => {
                let fields = sqlveil::wire::errors::Fields::parse(&body).unwrap();
                answer.error = Some(fields.sqlstate().to_owned());
            }
            b'Z' => return answer,
            _ => {}
        }
    }
}

pub async fn ask(session: &mut Session, sql: &str) -> Answer {
    send(session, sql).await;
    receive(session).await
}

/// The single value a query answers.
pub async fn value(session: &mut Session, sql: &str) -> String {
    let answer = ask(session, sql).await;
    assert_eq!((answer.values.len(), &answer.error), (1, &None), "{sql}: {answer:?}");
    answer.values.into_iter().next().unwrap()
}

/// Waits until something holds.
pub async fn until(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to hold");
}

/// Waits until a session is busy with a statement that sleeps.
pub async fn until_running(server: &PrivatePostgres, pid: i32) {
    let sql = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
    for _ in 0..500 {
        if !admin(server, &sql).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("session {pid} never began");
}
