//! The governance directory: `data/ tags/ policies/ purposes/ projects/ grants/ fingerprints/ applied/ unmaskRequests/`, each
//! with `*.yaml`, `*.yml` and `*.json` files.
//!
//! In: a directory. Out: [`Declared`] with warnings, or every problem of every file. Must never: leave a document unread without
//! saying so; a file where no folder gives it a meaning is a problem.

use crate::governance::model::Declared;
use crate::governance::problem::{Problem, any_error};
use crate::governance::reader::{Reader, Reference, closest};
use crate::governance::tree::{Node, Value};
use crate::governance::{applied, data, document, fingerprint, grant, policy, project, tags, tree, unmask, validate};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep folders may be nested below a kind's folder.
const MAX_FOLDERS: usize = 8;

/// The folders, and with them the kinds of documents.
pub const FOLDERS: [&str; 9] =
    ["data", "tags", "policies", "purposes", "projects", "grants", "fingerprints", "applied", "unmaskRequests"];

/// What is loaded of a directory: the set, unless a problem is an error, and all problems.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// What could be read. Use it only when no problem is an error.
    pub declared: Declared,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// The set and its warnings, or every problem.
    ///
    /// # Errors
    /// When any problem is an error.
    pub fn into_result(self) -> Result<(Declared, Vec<Problem>), Vec<Problem>> {
        if any_error(&self.problems) { Err(self.problems) } else { Ok((self.declared, self.problems)) }
    }
}

/// Loads a governance directory. Reads every file whatever is wrong with others.
pub fn load(directory: &Path) -> Loaded {
    let mut loaded = Loaded::default();
    let mut references = Vec::new();
    for (folder, path) in files(directory, &mut loaded.problems) {
        load_file(folder, directory, &path, &mut loaded, &mut references);
    }
    loaded.problems.extend(validate::check(&loaded.declared, &references));
    loaded.declared.policies.sort_by(|a, b| a.key.cmp(&b.key));
    loaded
}

fn load_file(
    folder: &'static str,
    directory: &Path,
    path: &Path,
    loaded: &mut Loaded,
    references: &mut Vec<Reference>,
) {
    let text = match document::read(path) {
        Ok(text) => text,
        Err(problem) => return loaded.problems.push(problem),
    };
    load_text(folder, directory, &Arc::new(path.to_path_buf()), &text, loaded, references);
}

/// Loads the text of one file of a folder. A document that is a list stands for several documents (JSON has no separator).
fn load_text(
    folder: &'static str,
    directory: &Path,
    file: &Arc<PathBuf>,
    text: &str,
    loaded: &mut Loaded,
    references: &mut Vec<Reference>,
) {
    let nodes = match tree::parse(file, text) {
        Ok(nodes) => nodes,
        Err(problems) => return loaded.problems.extend(problems),
    };
    if nodes.is_empty() {
        let mut problem = Problem::in_file(file, "holds no document", "write one, or remove the file");
        problem.severity = crate::governance::problem::Severity::Warning;
        loaded.problems.push(problem);
    }
    let mut reader = Reader::new(Arc::clone(file), text);
    reader.root = directory.to_path_buf();
    for node in &nodes {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for item in items {
            read(folder, &mut reader, item, &mut loaded.declared);
        }
    }
    loaded.problems.append(&mut reader.problems);
    references.append(&mut reader.references);
}

fn read(folder: &'static str, reader: &mut Reader, node: &Node, declared: &mut Declared) {
    match folder {
        "data" => data::read(reader, node, declared),
        "tags" => tags::read(reader, node, declared),
        "policies" => policy::read(reader, node, declared),
        "purposes" => project::read_purpose(reader, node, declared),
        "projects" => project::read(reader, node, declared),
        "grants" => grant::read(reader, node, declared),
        "applied" => applied::read(reader, node, declared),
        "unmaskRequests" => unmask::read(reader, node, declared),
        _ => fingerprint::read(reader, node, declared),
    }
}

/// Every document file of a directory with its folder, in a fixed order. Hidden files and folders, and files with other
/// extensions, are not documents.
pub fn files(directory: &Path, problems: &mut Vec<Problem>) -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for path in entries(directory, problems) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            match FOLDERS.iter().find(|folder| **folder == name) {
                Some(folder) => walk(folder, &path, 0, &mut found, problems),
                None => {
                    let help = match closest(&name, &FOLDERS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("known folders: {}", FOLDERS.join(", ")),
                    };
                    problems.push(Problem::in_file(&path, "is not a folder of governance documents", help));
                }
            }
        } else if FOLDERS.contains(&name.as_str()) {
            problems.push(Problem::in_file(&path, "is not a folder", "a link may lead nowhere; make it a folder"));
        } else if is_document(&path) {
            let help = format!("move it into one of the folders {}", FOLDERS.join(", "));
            problems.push(Problem::in_file(&path, "is a document outside the folders that say what it is", help));
        }
    }
    required(directory, problems);
    found
}

/// Visible files of a directory that are no documents: those that `{{ReadFile …}}` may name.
pub fn attachments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(directory.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder, &mut Vec::new()) {
            if path.is_dir() && depth < MAX_FOLDERS {
                folders.push((path, depth + 1));
            } else if !is_document(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A directory in the middle of being replaced must not look like one that declares no policies.
fn required(directory: &Path, problems: &mut Vec<Problem>) {
    for folder in ["data", "policies"] {
        let path = directory.join(folder);
        if directory.is_dir() && !path.exists() {
            problems.push(Problem::in_file(
                &path,
                "the folder is missing",
                "create it; an empty folder declares nothing",
            ));
        }
    }
}

fn walk(
    folder: &'static str,
    directory: &Path,
    depth: usize,
    found: &mut Vec<(&'static str, PathBuf)>,
    problems: &mut Vec<Problem>,
) {
    if depth >= MAX_FOLDERS {
        problems.push(Problem::in_file(directory, "folders are nested too deep", "move the documents up"));
        return;
    }
    for path in entries(directory, problems) {
        if path.is_dir() {
            walk(folder, &path, depth + 1, found, problems);
        } else if is_document(&path) {
            found.push((folder, path));
        }
    }
}

/// Visible entries of a directory, sorted.
fn entries(directory: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let listing = std::fs::read_dir(directory).and_then(|entries| {
        for entry in entries {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden {
                paths.push(path);
            }
        }
        Ok(())
    });
    if let Err(error) = listing {
        problems.push(Problem::in_file(
            directory,
            format!("cannot be read: {error}"),
            "check the path and its permissions",
        ));
    }
    paths.sort();
    paths
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    matches!(extension.as_str(), "yaml" | "yml" | "json")
}
