//! What the commands on users, tokens and accounts have in common: their arguments, tables, and how they tell what went wrong.
//!
//! In: arguments, rows. Out: values of the accounts file, text. Must never: print a verifier or a secret that is not asked for.

use crate::config::places::Places;
use crate::governance::problem::{Problem, render};
use crate::identity::Entitlement;
use crate::identity::accounts::{Files, Group, Has};
use crate::identity::file::{Identities, LOCAL};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Which proxy it is about.
#[derive(Debug, Clone, clap::Args)]
pub struct At {
    /// The configuration file; of it only where identities and documents are.
    #[arg(long, value_name = "FILE", env = "SQLVEIL_CONFIG")]
    pub config: PathBuf,
}

impl At {
    /// The places, or what is wrong with the file.
    pub fn places(&self) -> Result<Places, Vec<Problem>> {
        Places::load(&self.config)
    }

    /// Where identities are.
    pub fn files(&self) -> Result<Files, Vec<Problem>> {
        self.places().map(|places| places.files)
    }
}

/// Groups and attributes as arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Given {
    /// Its identity provider.
    #[arg(long, value_name = "IAM")]
    pub iam: Option<String>,
    /// A group that the identity file declares, NAME or NAME@IAM; may be given again.
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// An attribute's value; may be given again.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
}

impl Given {
    /// The groups and attributes meant.
    pub fn read(&self, identities: &Identities) -> Result<Has, Problem> {
        let iam = self.iam.clone().unwrap_or_else(|| LOCAL.to_owned());
        if iam.is_empty() {
            return Err(told("an empty provider", "name one, or leave --iam out"));
        }
        let mut groups: Vec<Group> = Vec::new();
        for text in &self.groups {
            let group = group(text, &iam, identities)?;
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in &self.attributes {
            let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let (name, value) =
                pair.ok_or_else(|| told("an attribute that is no NAME=VALUE", "write --attribute city=Bonn"))?;
            if value.contains('\0') || name.contains('\0') {
                return Err(told("a NUL in an attribute", "PostgreSQL text cannot hold one"));
            }
            let values = attributes.entry(name.to_owned()).or_default();
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
        Ok(Has { iam, groups, attributes })
    }
}

/// A group by its name: of the own provider, else the only one of that name; NAME@IAM names the provider.
fn group(text: &str, iam: &str, identities: &Identities) -> Result<Group, Problem> {
    let named = |name: &str| identities.groups.keys().filter(|g| g.value == name).collect::<Vec<&Entitlement>>();
    let made = |group: &Entitlement| Group { name: group.value.clone(), iam: group.iam.to_string() };
    let found = named(text);
    if let Some(own) = found.iter().find(|g| *g.iam == *iam) {
        return Ok(made(own));
    }
    match found.as_slice() {
        [only] => return Ok(made(only)),
        [] => {}
        _ => {
            let text = format!("the group \"{text}\" is declared by several providers");
            return Err(told(text, "write --group NAME@PROVIDER"));
        }
    }
    let split = text.rsplit_once('@');
    let exact = split.and_then(|(name, iam)| named(name).into_iter().find(|g| *g.iam == *iam));
    exact.map(made).ok_or_else(|| {
        told(
            format!("the group \"{text}\" is not declared"),
            "declare it under `groups:` of the identity file, or correct the name",
        )
    })
}

/// What is wrong with what was asked for.
pub fn told(message: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::nowhere(message, help)
}

/// An instant, `now` or `never`.
pub fn instant(text: &str) -> Result<Option<Timestamp>, Problem> {
    match text {
        "never" => Ok(None),
        "now" => Ok(Some(now())),
        text => text.parse().map(Some).map_err(|_| {
            told(
                format!("\"{}\" is no instant with an offset", text.escape_debug()),
                "write for example 2027-01-01T00:00:00Z",
            )
        }),
    }
}

/// Now, in milliseconds.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Tells what went wrong, and that nothing was done.
pub fn refuse(problems: &[Problem]) -> io::Result<bool> {
    warn(problems).map(|()| false)
}

/// Tells problems.
pub fn warn(problems: &[Problem]) -> io::Result<()> {
    let mut err = io::stderr();
    if problems.is_empty() { Ok(()) } else { write!(err, "{}", render(problems, err.is_terminal())) }
}

/// A table for people: a line of titles, columns as wide as they need to be.
pub fn table(out: &mut dyn Write, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let cell = |text: &str| if text.is_empty() { "-".to_owned() } else { shown(text) };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
    let all = || std::iter::once(&titles).chain(&rows);
    let width = |at: usize| all().filter_map(|row| row.get(at)).map(|text| text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    for row in all() {
        let line: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// Names and their values, one a line.
pub fn pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:width$}  {}", shown(value))?;
    }
    Ok(())
}

/// Text that does nothing to a terminal, and hides nothing: what is invisible, or turns what follows around, is written by its number.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

/// JSON, on lines of its own.
pub fn json(out: &mut dyn Write, value: &serde_json::Value) -> io::Result<()> {
    writeln!(out, "{value:#}")
}

/// Groups as they are written for people.
pub fn groups(has: &Has) -> String {
    let name = |g: &Group| if g.iam == has.iam { g.name.clone() } else { format!("{}@{}", g.name, g.iam) };
    has.groups.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Attributes as they are written for people.
pub fn attributes(has: &Has) -> String {
    let one =
        |(name, values): (&String, &Vec<String>)| values.iter().map(|v| format!("{name}={v}")).collect::<Vec<_>>();
    has.attributes.iter().flat_map(one).collect::<Vec<_>>().join(", ")
}

/// The name of a file without its folder.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_do_nothing_to_the_terminal() {
        let mut out = Vec::new();
        table(
            &mut out,
            &["name", "state"],
            &[
                vec!["zoë".into(), "on".into()],
                vec!["a\u{1b}[31m".into(), String::new()],
                vec!["an\u{202e}a\u{200b}".into(), "it's".into()],
            ],
        )
        .unwrap();
        let lines = "NAME                 STATE\nzoë                  on\na\\u{1b}[31m          -\nan\\u{202e}a\\u{200b}  it's\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    #[test]
    fn groups_are_those_of_the_own_provider_or_named_with_theirs() {
        let mut identities = Identities::default();
        for (name, iam) in [("A", "local"), ("A", "ldap"), ("B", "ldap"), ("C", "x"), ("C", "y"), ("d@e", "local")] {
            identities.groups.insert(Entitlement { value: name.into(), iam: iam.into() }, BTreeMap::new());
        }
        let found = |text: &str| group(text, "local", &identities).map(|g| format!("{}/{}", g.name, g.iam)).ok();
        for (text, wanted) in
            [("A", "A/local"), ("A@ldap", "A/ldap"), ("B", "B/ldap"), ("C@y", "C/y"), ("d@e", "d@e/local")]
        {
            assert_eq!(found(text).as_deref(), Some(wanted));
        }
        for text in ["C", "a", "A@nobody", "", "@ldap"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn instants() {
        assert_eq!(instant("never").unwrap(), None);
        assert!(instant("2027-01-01T00:00:00Z").unwrap().is_some());
        for text in ["2027-01-01", "tomorrow", "", "2027-13-01T00:00:00Z", "2027-01-01T00:00:00"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
