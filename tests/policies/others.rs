//! The published V2 documents other than policies: purposes, projects and data. Each loads, or is told why not.

use crate::rows::golden;
use std::path::{Path, PathBuf};

/// What is told of documents of three kinds, by their place.
fn told(purposes: &str, projects: &str, data: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("purposes/p.yaml", purposes),
        ("projects/p.yaml", projects),
        ("data/d.yaml", data),
        ("policies/.keep", ""),
        ("tags/t.yaml", "tags: [PCI, SENSITIVE, DATE]\n"),
    ];
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let loaded = sqlveil::governance::load(folder.path());
    let mut lines: Vec<String> = loaded
        .problems
        .iter()
        .map(|problem| problem.to_string().replace(&format!("{}/", folder.path().display()), ""))
        .collect();
    lines.sort_by_key(|line| {
        let mut parts = line.split(':');
        let file = parts.next().unwrap_or_default().to_owned();
        (file, parts.next().and_then(|n| n.parse::<usize>().ok()))
    });
    let declared = &loaded.declared;
    let root = |name: &str| declared.purposes.iter().find(|p| p.name == name).and_then(|p| p.acknowledgement.clone());
    let purposes = declared.purposes.iter().map(|purpose| {
        let parent = purpose.name.rsplit_once('.').and_then(|(parent, _)| root(parent));
        let text = match (&purpose.acknowledgement, parent) {
            (None, _) => "no text",
            (Some(text), Some(parent)) if *text == parent => "the text of its parent",
            (Some(_), _) => "a text of its own",
        };
        format!("purpose {}: {text}", purpose.name)
    });
    let projects = declared.projects.iter().map(|project| {
        let entitled = project.entitlements.is_some();
        let open = project.open_to_anyone;
        let joins = project.allow_masked_joins;
        format!(
            "project {}: {:?}, open {open}, entitled {entitled}, masked joins {joins}",
            project.key, project.purposes
        )
    });
    let data = declared.data.iter().map(|document| {
        let sources = document.sources.as_ref().map_or("every table".to_owned(), |s| format!("{} sources", s.len()));
        let server = if document.server.is_some() { "a server" } else { "an unknown server" };
        format!("data {}: {sources} on {server}", document.connection_key)
    });
    let all: Vec<String> = purposes.chain(projects).chain(data).chain(lines).collect();
    all.join("\n") + "\n"
}

#[test]
fn our_documents_of_the_published_shapes() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/governance/v2-others").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    golden("others-shapes.golden", &told(&read("purposes.yaml"), &read("projects.yaml"), &read("data.yaml")));
}

/// Lines of the published text (counted from 1), as documents.
fn published(ranges: &[(usize, usize)]) -> Option<String> {
    let folder = std::env::var_os("SQLVEIL_SEEDS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/seeds"));
    let mut files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("004_")))?;
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let document = |(first, last): &(usize, usize)| {
        lines[first - 1..*last].iter().map(|l| l.strip_prefix("    ").unwrap_or(l)).collect::<Vec<_>>().join("\n")
    };
    Some(ranges.iter().map(document).collect::<Vec<_>>().join("\n---\n") + "\n")
}

#[test]
fn the_published_examples() {
    let purposes = published(&[(631, 634), (712, 714), (751, 760)]);
    let projects = published(&[(1_909, 1_922), (1_925, 1_935), (1_936, 1_950), (1_951, 1_964), (1_965, 1_979)]);
    let data = published(&[
        (2_377, 2_386),
        (2_387, 2_418),
        (2_419, 2_437),
        (2_438, 2_462),
        (2_463, 2_486),
        (2_487, 2_505),
        (2_506, 2_529),
        (1_647, 1_656),
    ]);
    let (Some(purposes), Some(projects), Some(data)) = (purposes, projects, data) else { return };
    golden("others-examples.golden", &told(&purposes, &projects, &data));
}
