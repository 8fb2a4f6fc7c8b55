//! The documents of the demo, the same files as the commented samples under `config/`.
//!
//! In: a folder, the passwords of the run. Out: the documents written into it. Must never: write a password where a verifier
//! will do.

use crate::identity::scram::Verifier;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Path below the governance directory, and content.
pub const GOVERNANCE: [(&str, &str); 9] = [
    ("tags/tags.yaml", include_str!("../../../config/governance/tags/tags.yaml")),
    ("data/demo.yaml", include_str!("../../../config/governance/data/demo.yaml")),
    ("policies/10-who.yaml", include_str!("../../../config/governance/policies/10-who.yaml")),
    ("policies/20-rows.yaml", include_str!("../../../config/governance/policies/20-rows.yaml")),
    ("policies/30-masks.yaml", include_str!("../../../config/governance/policies/30-masks.yaml")),
    ("policies/90-staged.yaml", include_str!("../../../config/governance/policies/90-staged.yaml")),
    ("purposes/fraud.yaml", include_str!("../../../config/governance/purposes/fraud.yaml")),
    ("projects/fraud.yaml", include_str!("../../../config/governance/projects/fraud.yaml")),
    ("grants/grants.yaml", include_str!("../../../config/governance/grants/grants.yaml")),
];

/// The sample of identities.
pub const IDENTITY: &str = include_str!("../../../config/identity.yaml");

/// The sample of the configuration.
pub const CONFIG: &str = include_str!("../../../config/config.yaml");

/// The sample of the configuration with the addresses of this run.
pub fn config(listen: u16, warehouse: u16) -> String {
    CONFIG
        .replace("listen: [\"127.0.0.1:6432\"]", &format!("listen: [\"127.0.0.1:{listen}\"]"))
        .replace("    port: 5432\n", &format!("    port: {warehouse}\n"))
        .replace("    sslmode: prefer", "    pool: {max: 80}\n    sslmode: disable")
}

/// The sample of identities with the verifier of every user named in `passwords` replaced.
pub fn identity(passwords: &BTreeMap<&str, String>) -> String {
    let mut out = String::with_capacity(IDENTITY.len());
    let mut password = None;
    for line in IDENTITY.lines() {
        if let Some(name) = line.trim_start().strip_prefix("- name: ") {
            password = passwords.get(name.trim());
        }
        match (line.split_once("verifier: "), password) {
            (Some((indent, _)), Some(password)) => {
                let verifier = Verifier::generate(password.as_bytes());
                out.push_str(&format!("{indent}verifier: {verifier}"));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Writes documents, given as path below `directory` and content, making folders as needed; for this user's eyes only.
pub fn write(directory: &Path, documents: &[(&str, &str)]) -> io::Result<()> {
    for (path, content) in documents {
        let path = directory.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_load_without_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &GOVERNANCE).unwrap();
        for directory in [folder.path(), Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/governance"))] {
            let loaded = crate::governance::store::load(directory);
            let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            assert!(problems.is_empty(), "{problems:#?}");
            assert_eq!(loaded.declared.policies.iter().filter(|p| !p.staged).count(), 10);
            assert_eq!(loaded.declared.policies.iter().filter(|p| p.staged).count(), 4);
            assert_eq!(loaded.declared.data.len(), 1);
            assert_eq!(loaded.declared.grants.len(), 1);
        }
    }

    #[test]
    fn each_user_gets_the_verifier_of_the_run() {
        let passwords = BTreeMap::from([("support", "one".to_owned()), ("outsider", "two".to_owned())]);
        let text = identity(&passwords);
        let verifiers = |text: &str| -> Vec<Verifier> {
            text.lines().filter_map(|line| Some(line.split_once("verifier: ")?.1.parse().unwrap())).collect()
        };
        let (old, new) = (verifiers(IDENTITY), verifiers(&text));
        assert_eq!((old.len(), new.len()), (4, 4));
        let changed: Vec<bool> = old.iter().zip(&new).map(|(old, new)| old.to_string() != new.to_string()).collect();
        assert_eq!(changed, [false, true, false, true]);
        assert!(!text.contains("one\n"));
    }

    #[test]
    fn the_sample_of_the_configuration_loads_as_it_is_and_as_the_demo_has_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("secrets/master", "0123456789abcdef0123456789abcdef"), ("secrets/warehouse", "x")])
            .unwrap();
        for (text, listen, warehouse) in [(CONFIG.to_owned(), 6432, 5432), (config(7001, 7002), 7001, 7002)] {
            let file = folder.path().join("config.yaml");
            std::fs::write(&file, text).unwrap();
            let config = crate::config::Config::load(&file).unwrap();
            assert_eq!(config.listen[0].port(), listen);
            assert_eq!(config.connections["demo"].port, warehouse);
            assert_eq!(config.governance, folder.path().join("governance"));
            assert_eq!(config.connection_of("demo").map(|c| c.user.as_str()), Some("sqlveil_service"));
        }
    }

    #[test]
    fn the_documents_of_the_container_load() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("secret", "0123456789abcdef")]).unwrap();
        let docker = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docker/sqlveil"));
        let text = std::fs::read_to_string(docker.join("config.yaml")).unwrap();
        let text = text.replace("{env: SQLVEIL_SECRET}", "{file: secret}");
        let text = text.replace("{env: WAREHOUSE_PASSWORD}", "{file: secret}");
        let text = text.replace("{env: SQLVEIL_ADMIN_TOKEN}", "{file: secret}");
        std::fs::write(folder.path().join("config.yaml"), text).unwrap();
        assert!(crate::config::Config::load(&folder.path().join("config.yaml")).is_ok());
        let loaded = crate::governance::store::load(&docker.join("governance"));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert_eq!(loaded.declared.policies.len(), 3);
        let (directory, _) = crate::identity::Directory::load(
            &crate::identity::accounts::Files::beside(&docker.join("identity.yaml")),
            &loaded.declared.projects,
            &loaded.declared.purposes,
            &crate::config::Secret::new(*b"0123456789abcdef"),
        )
        .unwrap();
        assert_eq!(directory.users().count(), 1);
    }

    #[test]
    fn every_sample_is_in_the_demo() {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/governance"));
        assert_eq!(count(folder), GOVERNANCE.len());
    }
}
