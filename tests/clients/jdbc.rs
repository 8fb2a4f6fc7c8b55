//! pgjdbc: all of `DatabaseMetaData` that it knows, prepared statements in both formats, cursors, time limits (`Jdbc.java`).

use crate::stage::both;
use std::path::Path;
use std::process::Command;

/// The driver is `$SQLVEIL_PGJDBC`, or the system's.
pub fn java() -> Command {
    let driver = std::env::var("SQLVEIL_PGJDBC").unwrap_or_else(|_| "/usr/share/java/postgresql.jar".to_owned());
    assert!(
        Path::new(&driver).is_file(),
        "no pgjdbc at {driver}: .ci/setup --test installs it (Debian, Ubuntu: apt-get install libpostgresql-jdbc-java default-jdk-headless)"
    );
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-cp", &driver]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/Jdbc.java"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn pgjdbc() {
    // Sequences count rows: they are not shown.
    both().await.same(java, &[], &[", SEQUENCE, "]);
}
