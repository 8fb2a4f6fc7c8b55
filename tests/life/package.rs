//! What the Debian package installs, on a system without dpkg: its configuration serves, and its parts fit together.

use super::process::Process;
use super::stage;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The package's table of cargo's manifest.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = all["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == "sqlveil").unwrap()["metadata"]["deb"].clone()
}

/// Keys of a unit's section `[Service]`.
fn service() -> BTreeMap<String, String> {
    let unit = text("packaging/sqlveil.service");
    let (_, service) = unit.split_once("\n[Service]\n").unwrap();
    let (service, _) = service.split_once("\n[").unwrap();
    let lines = service.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn what_the_package_names_is_there() {
    let metadata = metadata();
    let mut installed = Vec::new();
    for asset in metadata["assets"].as_array().unwrap() {
        let [from, to] = [&asset[0], &asset[1]].map(|path| path.as_str().unwrap());
        installed.push(format!("/{to}{}", from.rsplit('/').next().unwrap()));
        let fixed = from.split('*').next().unwrap();
        assert!(from.starts_with("target/release/") || root().join(fixed).exists(), "{from}");
    }
    for file in metadata["conf-files"].as_array().unwrap() {
        assert!(installed.iter().any(|path| path == file), "{file}");
    }
    let service = service();
    let command: Vec<&str> = service["ExecStart"].split(' ').collect();
    assert!(installed.iter().any(|path| path == command[0]), "{command:?}");
    assert!(command[1..] == ["serve", "--config", "/etc/sqlveil/config.yaml"], "{command:?}");
    for script in ["postinst", "postrm"] {
        let script = text(&format!("packaging/scripts/{script}"));
        assert!(script.starts_with("#!/bin/sh\n") && script.contains("\nset -e\n") && script.contains("\n#DEBHELPER#"));
    }
    assert!(text("packaging/scripts/postinst").contains(&format!("sqlveil {}\n", service["User"])));
    // What is written is below the only folder that may be.
    let config: Value = serde_saphyr::from_str(&text("packaging/etc/config.yaml")).unwrap();
    let state = format!("/var/lib/{}/", service["StateDirectory"]);
    for written in [&config["acknowledgements"], &config["audit"]["folder"]] {
        assert!(written.as_str().unwrap().starts_with(&state), "{written}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = std::env::temp_dir().join(format!("sqlveil-unit-{}", std::process::id()));
    std::fs::create_dir_all(&unit).unwrap();
    let file = unit.join("sqlveil.service");
    // The program is not installed here.
    std::fs::write(&file, text("packaging/sqlveil.service").replace("/usr/bin/sqlveil", env!("CARGO_BIN_EXE_sqlveil")))
        .unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output();
    std::fs::remove_dir_all(&unit).unwrap();
    let Ok(output) = verified else {
        return println!("no systemd-analyze here: the unit was read only by the other test");
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("sqlveil")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_serves_once_the_warehouse_is_named() {
    let stage = stage().await;
    let written = stage.write();
    let home = written.parent().unwrap().join("etc");
    let copy = |from: &str| {
        let to = home.join(from);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, text(&format!("packaging/etc/{from}"))).unwrap();
    };
    ["config.yaml", "identity.yaml", "governance/tags/tags.yaml"].into_iter().for_each(copy);
    // As `postinst` makes them.
    for folder in ["governance/data", "governance/policies", "secrets"] {
        std::fs::create_dir_all(home.join(folder)).unwrap();
    }
    for name in ["master", "warehouse"].map(|name| Path::new("secrets").join(name)) {
        std::fs::copy(written.parent().unwrap().join(&name), home.join(&name)).unwrap();
    }
    let state: PathBuf = home.join("state");
    std::fs::create_dir(&state).unwrap();
    let mut command = Process::command(&home.join("config.yaml"));
    let (user, _) = stage.service();
    for given in [
        "listen=[127.0.0.1:0]".to_owned(),
        format!("connections.warehouse.port={}", stage.server().port()),
        format!("connections.warehouse.database={}", stage.database),
        format!("connections.warehouse.user={user}"),
        format!("audit.folder={}", state.join("audit").display()),
        format!("acknowledgements={}", state.join("acknowledgements.jsonl").display()),
    ] {
        command.args(["--set", &given]);
    }
    let process = Process::run(command);
    assert!(process.says(&["listening"]), "{:?}", process.log());
    assert!(state.join("audit").exists());
}
