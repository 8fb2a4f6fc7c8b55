//! `{{EnvVar "name"}}` and `{{ReadFile "path"}}` (seed 004, command line: what `clone` writes in the place of secrets), filled where a
//! data document tells how to reach a warehouse, and nowhere else: what other documents say is shown to people.
//!
//! In: a scalar of `connection`. Out: its text with the values put in. Must never: show a value, in a message or otherwise, or read a
//! file outside the governance directory.

use crate::governance::model::Origin;
use crate::governance::reader::Reader;
use crate::governance::tree::{Node, Value};
use std::path::{Component, Path, PathBuf};

/// Largest file read.
const MAX_FILE: u64 = 64 << 10;

/// Whether a text holds a template.
pub fn has_template(text: &str) -> bool {
    ["EnvVar", "ReadFile"].iter().any(|function| {
        text.match_indices(function).any(|(at, _)| text.get(..at).is_some_and(|b| b.trim_end().ends_with("{{")))
    })
}

impl Reader {
    /// A scalar's text with templates filled; a text without any as it is. Only for values that are shown to nobody.
    pub fn filled(&mut self, node: &Node) -> Option<String> {
        let Value::Scalar { text, plain } = &node.value else {
            self.text(node);
            return None;
        };
        if *plain || !has_template(text) {
            return self.name(node).map(|(text, _)| text);
        }
        let places = self.places(node);
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some((head, tail)) = rest.split_once("{{") {
            let column = text.len() - tail.len() - 2;
            let column = text.get(..column).map_or(0, |before| before.chars().count()) as u64 + 1;
            let origin = places.place(1, column);
            out.push_str(head);
            let Some((inner, after)) = tail.split_once("}}") else {
                self.error_at(&origin, "a `{{` without its `}}`", "write {{EnvVar \"name\"}} or {{ReadFile \"path\"}}");
                return None;
            };
            match self.template(inner.trim(), &origin) {
                Ok(value) => out.push_str(&value),
                Err((message, help)) => {
                    self.error_at(&origin, message, help);
                    return None;
                }
            }
            rest = after;
        }
        out.push_str(rest);
        let out = out.trim_end_matches(['\n', '\r']).to_owned();
        if out.trim().is_empty() || out.trim() != out || out.contains('\0') {
            self.error(node, "the filled value is empty, or has spaces around it", "correct the variable or the file");
            return None;
        }
        Some(out)
    }

    /// Checks the templates of every scalar below a node whose values are not used.
    pub fn check_templates(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar { text, plain: false } if has_template(text) => drop(self.filled(node)),
            Value::Scalar { .. } => {}
            Value::List(items) => items.iter().for_each(|item| self.check_templates(item)),
            Value::Map(entries) => entries.iter().for_each(|(_, value)| self.check_templates(value)),
        }
    }

    /// The value of one template: `EnvVar "name"` or `ReadFile "path"`.
    fn template(&self, inner: &str, origin: &Origin) -> Result<String, (String, String)> {
        let known = || "write {{EnvVar \"name\"}} or {{ReadFile \"path\"}}".to_owned();
        let (function, argument) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let argument = argument.trim().strip_prefix('"').and_then(|a| a.strip_suffix('"'));
        let Some(argument) = argument.filter(|a| !a.is_empty() && !a.contains(['"', '\0'])) else {
            return Err((format!("`{function}` in a template lacks its argument in double quotes"), known()));
        };
        match function {
            "EnvVar" if argument.contains('=') => Err((format!("`{argument}` cannot name a variable"), known())),
            "EnvVar" => std::env::var(argument).map_err(|error| match error {
                std::env::VarError::NotPresent => (
                    format!("the environment variable `{argument}` is not set"),
                    "set it where the proxy is started".to_owned(),
                ),
                std::env::VarError::NotUnicode(_) => {
                    (format!("the environment variable `{argument}` is not text"), "set it to UTF-8 text".to_owned())
                }
            }),
            "ReadFile" => self.read_file(argument, origin),
            other => Err((format!("there is no template `{other}`"), known())),
        }
    }

    /// A file beside or below the document, or elsewhere in the governance directory; links are followed before that is checked.
    fn read_file(&self, path: &str, origin: &Origin) -> Result<String, (String, String)> {
        let confined = || {
            let help = "put it into the governance directory, and write its path relative to this document";
            (format!("the file `{path}` is outside the governance directory"), help.to_owned())
        };
        let relative = Path::new(path);
        if relative.components().any(|part| matches!(part, Component::RootDir | Component::Prefix(_))) {
            return Err(confined());
        }
        let folder = origin.file.parent().map(Path::to_path_buf).unwrap_or_default();
        let unreadable = |error: std::io::Error| {
            (
                format!("the file `{path}` cannot be read: {error}"),
                "check the path, relative to this document".to_owned(),
            )
        };
        let root: PathBuf = self.root.canonicalize().map_err(unreadable)?;
        let file = folder.join(relative).canonicalize().map_err(unreadable)?;
        if !file.starts_with(&root) {
            return Err(confined());
        }
        let metadata = std::fs::metadata(&file).map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            let message = format!("`{path}` is not a file of at most {} kB", MAX_FILE >> 10);
            return Err((message, "name a small text file".to_owned()));
        }
        let bytes = std::fs::read(&file).map_err(unreadable)?;
        String::from_utf8(bytes)
            .map_err(|_| (format!("the file `{path}` is not UTF-8 text"), "save it as UTF-8".to_owned()))
    }
}
