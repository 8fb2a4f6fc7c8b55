//! The four forms of EXPLAIN's output, laid out as PostgreSQL does (explain.c and explain_format.c).
//!
//! In: an outline. Out: rows of one column: the lines of the text form, or one row of a structured one.

use super::{Detail, NOTE, Outline, Step};
use std::fmt::Write as _;

/// `FORMAT` of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Lines for people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// YAML.
    Yaml,
}

impl Form {
    /// As written in `FORMAT …`, in lower case.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "json" => Self::Json,
            "xml" => Self::Xml,
            "yaml" => Self::Yaml,
            _ => return None,
        })
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Yaml => "yaml",
        }
    }
}

impl Outline {
    /// The rows that EXPLAIN answers with.
    pub fn rows(&self, form: Form) -> Vec<String> {
        match form {
            Form::Text => {
                let mut out = String::new();
                text(&self.root, 0, &mut out);
                // Splits at every line end, as the server does (`do_text_output_multiline`).
                let mut rows: Vec<String> = out.lines().map(str::to_owned).collect();
                rows.push(format!("Note: {NOTE}"));
                rows
            }
            Form::Json => {
                let mut out = String::from("[\n  {\n    \"Plan\": ");
                json(&self.root, None, 4, &mut out);
                let _ = write!(out, ",\n    \"Note\": {}\n  }}\n]", quoted(NOTE));
                vec![out]
            }
            Form::Xml => {
                let mut out = String::from("<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n  <Query>\n");
                xml(&self.root, None, 4, &mut out);
                let _ = write!(out, "    <Note>{}</Note>\n  </Query>\n</explain>", escaped(NOTE));
                vec![out]
            }
            Form::Yaml => {
                let mut out = String::from("- Plan: ");
                yaml(&self.root, None, 4, false, &mut out);
                let _ = write!(out, "\n  Note: {}", quoted(NOTE));
                vec![out]
            }
        }
    }
}

fn spaces(n: usize) -> String {
    " ".repeat(n)
}

fn text(step: &Step, mut indent: usize, out: &mut String) {
    if let Some(name) = &step.name {
        let _ = writeln!(out, "{}{name}", spaces(indent * 2));
        indent += 1;
    }
    if indent > 0 {
        let _ = write!(out, "{}->  ", spaces(indent * 2));
        indent += 2;
    }
    let _ = writeln!(out, "{}", step.label);
    indent += 1;
    for (key, detail) in &step.details {
        let value = match detail {
            Detail::Text(value) => value.clone(),
            Detail::List(values) => values.join(", "),
        };
        let _ = writeln!(out, "{}{key}: {value}", spaces(indent * 2));
    }
    step.below.iter().for_each(|below| text(below, indent, out));
}

/// The facts that every structured form begins with.
fn facts<'s>(step: &'s Step, place: Option<&'static str>) -> Vec<(&'static str, &'s str)> {
    let mut facts = vec![("Node Type", step.kind)];
    let place = if step.name.is_some() { Some("InitPlan") } else { place };
    facts.extend(place.map(|p| ("Parent Relationship", p)));
    facts.extend(step.name.as_deref().map(|n| ("Subplan Name", n)));
    facts.extend(step.facts.iter().map(|(k, v)| (*k, v.as_str())));
    facts
}

/// `Parent Relationship` of the nth of the steps below.
fn place(step: &Step, nth: usize) -> &'static str {
    let before = step.below.iter().take(nth).filter(|s| s.name.is_none()).count();
    match (step.kind, before) {
        ("Append" | "SetOp", _) => "Member",
        ("Subquery Scan", _) => "Subquery",
        (_, 0) => "Outer",
        (_, _) => "Inner",
    }
}

fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn json(step: &Step, relation: Option<&'static str>, indent: usize, out: &mut String) {
    let inner = spaces(indent + 2);
    out.push('{');
    let mut first = true;
    let mut key = |out: &mut String, key: &str| {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        let _ = write!(out, "{comma}\n{inner}{}: ", quoted(key));
    };
    for (name, value) in facts(step, relation) {
        key(out, name);
        out.push_str(&quoted(value));
    }
    for (name, detail) in &step.details {
        key(out, name);
        match detail {
            Detail::Text(value) => out.push_str(&quoted(value)),
            Detail::List(values) => {
                let values: Vec<String> = values.iter().map(|v| quoted(v)).collect();
                let _ = write!(out, "[{}]", values.join(", "));
            }
        }
    }
    if !step.below.is_empty() {
        key(out, "Plans");
        out.push('[');
        for (nth, below) in step.below.iter().enumerate() {
            let _ = write!(out, "{}\n{}", if nth == 0 { "" } else { "," }, spaces(indent + 4));
            json(below, Some(place(step, nth)), indent + 4, out);
        }
        let _ = write!(out, "\n{inner}]");
    }
    let _ = write!(out, "\n{}}}", spaces(indent));
}

fn escaped(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#x0d;")
}

/// Element names have dashes for blanks (`ExplainXMLTag`).
fn tag(name: &str) -> String {
    name.replace(' ', "-")
}

fn xml(step: &Step, relation: Option<&'static str>, indent: usize, out: &mut String) {
    let (outer, inner) = (spaces(indent), spaces(indent + 2));
    let _ = writeln!(out, "{outer}<Plan>");
    for (name, value) in facts(step, relation) {
        let _ = writeln!(out, "{inner}<{0}>{1}</{0}>", tag(name), escaped(value));
    }
    for (name, detail) in &step.details {
        let name = tag(name);
        match detail {
            Detail::Text(value) => {
                let _ = writeln!(out, "{inner}<{name}>{}</{name}>", escaped(value));
            }
            Detail::List(values) => {
                let _ = writeln!(out, "{inner}<{name}>");
                for value in values {
                    let _ = writeln!(out, "{inner}  <Item>{}</Item>", escaped(value));
                }
                let _ = writeln!(out, "{inner}</{name}>");
            }
        }
    }
    if !step.below.is_empty() {
        let _ = writeln!(out, "{inner}<Plans>");
        for (nth, below) in step.below.iter().enumerate() {
            xml(below, Some(place(step, nth)), indent + 4, out);
        }
        let _ = writeln!(out, "{inner}</Plans>");
    }
    let _ = writeln!(out, "{outer}</Plan>");
}

/// Strings are quoted as in JSON, which is YAML too (`escape_yaml`).
fn yaml(step: &Step, relation: Option<&'static str>, indent: usize, item: bool, out: &mut String) {
    let mut first = item;
    let mut key = |out: &mut String, key: &str| {
        if !std::mem::take(&mut first) {
            let _ = write!(out, "\n{}", spaces(indent));
        }
        let _ = write!(out, "{key}: ");
    };
    for (name, value) in facts(step, relation) {
        key(out, name);
        out.push_str(&quoted(value));
    }
    for (name, detail) in &step.details {
        key(out, name);
        match detail {
            Detail::Text(value) => out.push_str(&quoted(value)),
            Detail::List(values) => {
                for value in values {
                    let _ = write!(out, "\n{}- {}", spaces(indent + 2), quoted(value));
                }
            }
        }
    }
    if !step.below.is_empty() {
        key(out, "Plans");
        for (nth, below) in step.below.iter().enumerate() {
            let _ = write!(out, "\n{}- ", spaces(indent + 2));
            yaml(below, Some(place(step, nth)), indent + 4, true, out);
        }
    }
}
