//! From a name that somebody else vouches for (a certificate's, a token's) to a login name.
//!
//! In: the `map` of a rule or an issuer, in the spirit of `pg_ident.conf` (PostgreSQL manual, 20.2 User Name Maps). Out: whether a value
//! stands for a login. Must never: match a part of the value (a pattern that forgets its end would let `ana@corp.example.evil.net` in), or
//! take two spellings for one name.

use crate::config::reader::Reader;
use crate::governance::tree::Node;
use regex::{Regex, RegexBuilder};

/// Largest compiled pattern.
const MOST: usize = 1 << 20;

/// A value of the file: a text to be met exactly, or behind a slash a regular expression.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This text.
    Exact(String),
    /// A regular expression.
    Regex(Box<Regex>),
}

impl Pattern {
    /// Reads a pattern. `whole`: a regular expression has to match the whole value; else any part of it, as in `pg_hba.conf`.
    pub(super) fn read(reader: &mut Reader, node: &Node, whole: bool) -> Option<Self> {
        let text = reader.string(node)?;
        let Some(source) = text.strip_prefix('/') else { return Some(Self::Exact(text)) };
        let anchored = if whole { format!("^(?:{source})$") } else { source.to_owned() };
        // The source by itself first: parentheses that only close what was put around it would escape the anchors.
        let compiled = Regex::new(source).and_then(|_| RegexBuilder::new(&anchored).size_limit(MOST).build());
        match compiled {
            Ok(regex) => Some(Self::Regex(Box::new(regex))),
            Err(error) => {
                let origin = reader.origin(node);
                let why = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                reader.error(&origin, format!("not a regular expression: {why}"), "correct what follows the slash");
                None
            }
        }
    }

    /// Whether it meets a value.
    pub fn meets(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    pattern: Pattern,
    /// The login, `\1` to `\9` standing for the groups of the pattern.
    user: String,
}

/// Entries of a map; without any, a value stands for itself.
#[derive(Debug, Clone, Default)]
pub struct Mapping(Vec<Entry>);

impl Mapping {
    /// Reads a list of `{match: PATTERN, user: LOGIN}`.
    pub(super) fn read(reader: &mut Reader, node: &Node) -> Self {
        let mut entries = Vec::new();
        for item in reader.list(node) {
            let Some(mut fields) = reader.map(item) else { continue };
            let pattern = reader.required(&mut fields, "match").and_then(|node| Pattern::read(reader, node, true));
            let user = reader.required(&mut fields, "user");
            let login = user.and_then(|node| reader.string(node));
            reader.close(fields);
            let (Some(pattern), Some(node), Some(login)) = (pattern, user, login) else { continue };
            let groups = match &pattern {
                Pattern::Exact(_) => 0,
                Pattern::Regex(regex) => regex.captures_len().saturating_sub(1),
            };
            match references(&login).max() {
                Some(highest) if highest > groups => {
                    let origin = reader.origin(node);
                    let message = format!("`\\{highest}` stands for a group that `match` does not have");
                    reader.error(&origin, message, "put parentheses around that part of the regular expression");
                }
                _ => entries.push(Entry { pattern, user: login }),
            }
        }
        if entries.is_empty() && reader.list(node).is_empty() {
            let origin = reader.origin(node);
            reader.error(&origin, "an empty map lets nobody in", "remove the key, or write {match: …, user: …}");
        }
        Self(entries)
    }

    /// Whether the value stands for the login.
    pub fn leads(&self, value: &str, login: &str) -> bool {
        if self.0.is_empty() {
            return value == login;
        }
        self.0.iter().any(|entry| match &entry.pattern {
            Pattern::Exact(text) => text == value && entry.user == login,
            Pattern::Regex(regex) => {
                regex.captures(value).is_some_and(|captures| expand(&entry.user, &captures) == login)
            }
        })
    }
}

/// The groups a login template refers to.
fn references(template: &str) -> impl Iterator<Item = usize> + '_ {
    let digits = template.split('\\').skip(1).filter_map(|rest| rest.chars().next());
    digits.filter_map(|digit| digit.to_digit(10)).map(|digit| digit as usize)
}

fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template.chars();
    while let Some(next) = rest.next() {
        let digit = if next == '\\' { rest.clone().next().and_then(|c| c.to_digit(10)) } else { None };
        match digit {
            Some(digit) => {
                rest.next();
                out.push_str(captures.get(digit as usize).map_or("", |group| group.as_str()));
            }
            None => out.push(next),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn map(text: &str) -> Result<Mapping, String> {
        let read = Reader::text(Path::new("c.yaml"), &format!("map: {text}\n"), |reader, top| {
            let node = reader.required(top, "map")?;
            Some(Mapping::read(reader, node))
        });
        read.map(|(map, _)| map).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_pattern_meets_the_whole_value_or_nothing() {
        let mails = map(r#"[{match: '/(.*)@corp\.example', user: '\1'}, {match: root, user: admin}]"#).unwrap();
        assert!(mails.leads("ana@corp.example", "ana"));
        assert!(mails.leads("root", "admin"));
        for (value, login) in [
            ("ana@corp.example.evil.net", "ana"),
            ("ana@corpXexample", "ana"),
            ("ana@corp.example", "Ana"),
            ("ana@corp.example\n", "ana"),
            ("ana", "ana"),
            ("root", "root"),
            ("admin", "admin"),
        ] {
            assert!(!mails.leads(value, login), "{value} {login}");
        }
        let either = map(r#"[{match: '/ana|bob@corp', user: all}]"#).unwrap();
        assert!(!either.leads("ana@evil", "all"), "alternatives are anchored too");
        assert!(!map(r#"[{match: '/(a)(b)', user: '\2\1'}]"#).unwrap().leads("ab", "ab"));
        assert!(Mapping::default().leads("ana", "ana") && !Mapping::default().leads("ana", "bob"));
    }

    #[test]
    fn maps_that_cannot_work_are_refused() {
        for (text, why) in [
            ("[]", "an empty map lets nobody in"),
            (r#"[{match: '/(', user: x}]"#, "not a regular expression"),
            (r#"[{match: '/a)|(b', user: x}]"#, "not a regular expression"),
            (r#"[{match: '/a', user: '\1'}]"#, "`\\1` stands for a group"),
            ("[{match: a}]", "missing key `user`"),
        ] {
            let problem = map(text).unwrap_err();
            assert!(problem.contains(why) && problem.contains("c.yaml:1:"), "{text}: {problem}");
        }
    }
}
