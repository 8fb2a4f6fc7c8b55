//! Servers of each major version: the installed one where it fits, else those that `.ci/setup --test` brings.

use sqlveil::cli::demo::private_postgres::{PrivatePostgres, Setup, find_binaries, major_version};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// The versions that are served.
pub const MAJORS: [u32; 6] = [13, 14, 15, 16, 17, 18];

/// The server of that version in this test program; it ends with the program.
///
/// A version that is not there is a failure, never a test left out.
pub fn server_of(major: u32) -> &'static PrivatePostgres {
    static SERVERS: Mutex<BTreeMap<u32, &'static OnceLock<PrivatePostgres>>> = Mutex::new(BTreeMap::new());
    let server = *SERVERS.lock().unwrap().entry(major).or_insert_with(|| Box::leak(Box::default()));
    server.get_or_init(|| {
        let setup = Setup {
            settings: vec![("max_connections".into(), "100".into())],
            programs: Some(programs_of(major)),
            ..Setup::default()
        };
        PrivatePostgres::start_with(&setup).unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}"))
    })
}

/// Where the programs of a version are.
fn programs_of(major: u32) -> PathBuf {
    let installed = format!("/usr/lib/postgresql/{major}/bin").into();
    let fits = |bin: &PathBuf| major_version(bin) == Some(major);
    if let Some(bin) = find_binaries().into_iter().chain([installed]).find(fits) {
        return bin;
    }
    let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/postgres/node_modules/pg{major}/native"));
    assert!(
        fits(&brought.join("bin")),
        "PostgreSQL {major} is neither installed nor in {}: run .ci/setup --test",
        brought.display()
    );
    reachable(&brought, major).join("bin")
}

/// The folder itself, or a copy of it where another account can read it, should this one's home be closed to the account that runs servers.
fn reachable(folder: &Path, major: u32) -> PathBuf {
    let open = |path: &Path| path.metadata().is_ok_and(|m| m.mode() & 0o005 == 0o005);
    if folder.ancestors().all(open) {
        return folder.to_owned();
    }
    let copies = std::env::temp_dir().join(format!("sqlveil-postgres-{}", std::process::id()));
    let copy = copies.join(major.to_string());
    std::fs::create_dir_all(&copies).unwrap();
    let done = Command::new("cp").arg("-a").arg(folder).arg(&copy).status().expect("cp runs");
    assert!(done.success(), "copying {} to {}", folder.display(), copy.display());
    copy
}
