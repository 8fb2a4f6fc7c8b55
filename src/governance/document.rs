//! One strict way to read a YAML or JSON file, for governance, configuration and identities alike.
//!
//! In: a path and a serde type (with `deny_unknown_fields`). Out: its documents with their origins, or problems with file, line and
//! column. Must never: repair a text, keep one of two equal keys, or accept what its type does not name.

use crate::governance::model::Origin;
use crate::governance::problem::Problem;
use crate::governance::tree;
use serde::de::DeserializeOwned;
use serde_saphyr::{Location, MergeKeyPolicy, Options, Spanned};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// A value read from one document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<T> {
    /// The value.
    pub value: T,
    /// Where the document begins.
    pub origin: Origin,
}

impl<T> Document<T> {
    /// The origin of a part of the document that was read as [`Spanned`].
    pub fn origin_of<U>(&self, part: &Spanned<U>) -> Origin {
        origin(&self.origin.file, &part.referenced)
    }
}

/// A location of serde-saphyr as an origin in a file. An unknown location is the whole file.
pub fn origin(file: &Arc<PathBuf>, location: &Location) -> Origin {
    let line = usize::try_from(location.line()).unwrap_or(0);
    let column = usize::try_from(location.column()).unwrap_or(0);
    Origin { file: Arc::clone(file), line, column }
}

/// Reads a file as text: UTF-8 and of bounded size. A byte order mark is dropped.
///
/// # Errors
/// One problem: the file cannot be read, is too large, or is not UTF-8 (with the line).
pub fn read(path: &Path) -> Result<String, Problem> {
    let metadata = std::fs::metadata(path)
        .map_err(|e| Problem::in_file(path, format!("cannot be read: {e}"), "check the path and its permissions"))?;
    if !metadata.is_file() {
        return Err(Problem::in_file(path, "is not a file", "name a YAML or JSON file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(Problem::in_file(path, format!("is larger than {} MB", MAX_FILE >> 20), "split the file"));
    }
    let bytes = std::fs::read(path)
        .map_err(|e| Problem::in_file(path, format!("cannot be read: {e}"), "check the path and its permissions"))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        let origin = Origin { file: Arc::new(path.to_path_buf()), line, column: 1 };
        Problem::error(&origin, "is not UTF-8 text", "save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads every document of a file into `T`. A file without documents gives an empty list; what that means is the caller's to say.
///
/// # Errors
/// Every problem of syntax (duplicate keys, tags, NUL, …), else the first value that does not fit `T`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Vec<Document<T>>, Vec<Problem>> {
    let text = read(path).map_err(|problem| vec![problem])?;
    let file = Arc::new(path.to_path_buf());
    parse(&file, &text)
}

/// [`load`] of a text already read.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(file: &Arc<PathBuf>, text: &str) -> Result<Vec<Document<T>>, Vec<Problem>> {
    tree::parse(file, text)?;
    let mut options = Options::default();
    options.strict_booleans = true;
    options.merge_keys = MergeKeyPolicy::Error;
    options.with_snippet = false;
    let read: Vec<Spanned<T>> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let origin = error.location().map_or_else(|| Origin::of_file(file), |at| origin(file, &at));
        vec![explained(&origin, &error)]
    })?;
    Ok(read
        .into_iter()
        .map(|spanned| Document { origin: origin(file, &spanned.referenced), value: spanned.value })
        .collect())
}

/// A deserialization error in our words: the position is already in the origin.
fn explained(origin: &Origin, error: &serde_saphyr::Error) -> Problem {
    let whole = error.without_snippet().to_string();
    let place = format!("line {} column {}: ", origin.line, origin.column);
    let text = whole.strip_prefix(&place).unwrap_or(&whole);
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let message = match text.rsplit_once(" at line ") {
        Some((head, tail)) if tail.starts_with(|c: char| c.is_ascii_digit()) => head,
        _ => text,
    };
    let help = if message.contains("unknown field") {
        "correct the spelling or remove the key; unknown keys are refused so that a mistake cannot pass unseen"
    } else if message.contains("missing field") {
        "add the key"
    } else {
        "write a value of the expected kind"
    };
    Problem::error(
        origin,
        message.replace("unknown field", "unknown key").replace("missing field", "missing key"),
        help,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: Spanned<String>,
        #[serde(default)]
        size: u32,
    }

    fn read_text(text: &str) -> Result<Vec<Document<Sample>>, Vec<String>> {
        parse(&Arc::new(PathBuf::from("f.yaml")), text)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn documents_and_their_parts_know_where_they_stand() {
        let documents = read_text("name: a\n---\nsize: 3\nname: b\n").unwrap();
        assert_eq!(documents.len(), 2);
        let second = &documents[1];
        assert_eq!((second.origin.line, second.origin.column), (3, 1));
        let name = second.origin_of(&second.value.name);
        assert_eq!((name.line, name.column), (4, 7));
        assert_eq!(second.value.size, 3);
    }

    #[test]
    fn json_and_yaml_alike() {
        let json = read_text("{\"name\": \"a\", \"size\": 4}").unwrap();
        assert_eq!((json[0].value.name.value.as_str(), json[0].value.size), ("a", 4));
    }

    #[test]
    fn each_mistake_has_its_line() {
        for (text, place, what) in [
            ("name: a\nsise: 3\n", "f.yaml:2:1:", "unknown key"),
            ("name: a\nname: b\n", "f.yaml:2:1:", "given twice"),
            ("name: a\nsize: many\n", "f.yaml:2:7:", ""),
            ("name: [a]\n", "f.yaml:1:7:", ""),
            ("size: 3\n", "f.yaml:1:1:", "missing key"),
        ] {
            let problems = read_text(text).unwrap_err();
            assert!(problems[0].starts_with(place), "{text:?}: {problems:?}");
            assert!(problems[0].contains(what), "{text:?}: {problems:?}");
            assert!(!problems[0].contains("line 2 column"), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn unreadable_files_are_problems() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load::<Sample>(&dir.path().join("none.yaml")).unwrap_err()[0].message.contains("cannot be read"));
        assert!(load::<Sample>(dir.path()).unwrap_err()[0].message.contains("not a file"));
        let latin = dir.path().join("latin.yaml");
        std::fs::write(&latin, b"name: x\nsize: \xff\n").unwrap();
        let problems = load::<Sample>(&latin).unwrap_err();
        assert_eq!((problems[0].message.as_str(), problems[0].origin.line), ("is not UTF-8 text", 2));
        let empty = dir.path().join("empty.yaml");
        std::fs::write(&empty, "\u{feff}# nothing\n").unwrap();
        assert!(load::<Sample>(&empty).unwrap().is_empty());
    }
}
