//! The governance documents of the demo, the same files as the commented samples under `config/governance`.
//!
//! In: a folder. Out: the documents written into it. Must never: hold a password or a secret.

use std::io;
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

/// Writes documents, given as path below `directory` and content, making folders as needed.
pub fn write(directory: &Path, documents: &[(&str, &str)]) -> io::Result<()> {
    for (path, content) in documents {
        let path = directory.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)?;
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
    fn every_sample_is_in_the_demo() {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/governance"));
        assert_eq!(count(folder), GOVERNANCE.len());
    }
}
