//! Certificates are replaced while the proxy runs.

use super::papers::Papers;
use super::process::Process;
use super::support::{ANYONE, PASSWORD, Stage, server};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// psql over TLS that trusts this authority alone; what it says.
fn psql(port: u16, database: &str, authority: &Path) -> Result<String, String> {
    let info = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=ana dbname={database} sslmode=verify-full sslrootcert={} \
         sslcert=/nowhere sslkey=/nowhere",
        authority.display()
    );
    let program = Some(server().programs().join("psql")).filter(|p| p.is_file()).unwrap_or_else(|| "psql".into());
    let mut command = Command::new(program);
    command.args(["-X", "-At", "-d", &info, "-c", "select count(*) from t"]).env("PGPASSWORD", PASSWORD);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        // As deployments do: a new file in the place of the old one.
        let beside = to.join(format!("{name}.new"));
        std::fs::copy(from.join(name), &beside).unwrap();
        std::fs::rename(&beside, to.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_get_the_new_certificate_and_old_ones_stay() {
    let (old, new) = (Papers::new(), Papers::new());
    let live = tempfile::tempdir().unwrap();
    let folder = live.path();
    copy(old.folder(), folder, &["server.crt", "server.key"]);
    let tls = format!("tls: {{certificate: {0}/server.crt, key: {0}/server.key}}", folder.display());
    let stage = Stage::new().await.sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id").await;
    let stage = stage.sources(&[("t", "{}")]).policy(ANYONE).user("ana", &[], &[]).config(&tls);
    let (config, database) = (stage.write(), stage.database.clone());
    let process = Process::start(&config);
    let (old_ca, new_ca) = (old.folder().join("ca.crt"), new.folder().join("ca.crt"));
    assert_eq!(psql(process.port, &database, &old_ca).unwrap(), "100");
    assert!(psql(process.port, &database, &new_ca).unwrap_err().contains("SSL error"));
    let mut settings = tokio_postgres::Config::new();
    settings.host("127.0.0.1").port(process.port).dbname(&database).user("ana").password(PASSWORD);
    let (client, connection) = settings.connect(NoTls).await.unwrap();
    tokio::spawn(connection);

    // Half of it: a certificate that does not go with the key. What was there stays.
    copy(new.folder(), folder, &["server.crt"]);
    process.signal("HUP");
    assert!(process.says(&["ERROR", "the changed certificates of `tls` cannot be used"]));
    assert_eq!(psql(process.port, &database, &old_ca).unwrap(), "100");
    // The other half.
    copy(new.folder(), folder, &["server.key"]);
    process.signal("HUP");
    assert!(process.says(&["the certificates of `tls` were read again"]));
    assert_eq!(psql(process.port, &database, &new_ca).unwrap(), "100");
    assert!(psql(process.port, &database, &old_ca).unwrap_err().contains("SSL error"));
    assert!(client.query_one("SELECT count(*) FROM t", &[]).await.is_ok(), "who is connected notices nothing");

    // Without a signal it takes a few seconds.
    copy(old.folder(), folder, &["server.crt", "server.key"]);
    let deadline = Instant::now() + Duration::from_secs(25);
    while psql(process.port, &database, &old_ca).is_err() {
        assert!(Instant::now() < deadline, "it is not noticed");
        std::thread::sleep(Duration::from_millis(300));
    }
}
