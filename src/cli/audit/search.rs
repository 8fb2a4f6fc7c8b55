//! `sqlveil audit search`: finds records.
//!
//! In: the trail and what is looked for. Out: records as a table, JSON lines or CSV. Must never: let what somebody wrote into a statement act
//! on a terminal.

use super::{Place, Verdict, Wanted};
use crate::audit::search::search;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Arguments of `sqlveil audit search`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    wanted: Wanted,
    /// At most so many, the first.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    format: Printed,
}

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Printed {
    /// A line for each, the most important columns.
    #[default]
    Table,
    /// Each as it is in the trail.
    Json,
    /// The columns of the table and more, comma-separated (RFC 4180).
    Csv,
}

const COLUMNS: [&str; 8] = ["time", "user", "project", "decision", "outcome", "rows", "sources", "statement"];
const MORE: [&str; 16] = [
    "time",
    "kind",
    "session",
    "user",
    "login",
    "client",
    "application",
    "database",
    "project",
    "purposes",
    "decision",
    "outcome",
    "code",
    "rows",
    "sources",
    "statement",
];

pub(super) fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<Verdict> {
    let Some((folder, _)) = args.place.find(out, color)? else { return Ok(Verdict::Untold) };
    let most = args.limit.unwrap_or(u64::MAX);
    let mut csv = csv::Writer::from_writer(Vec::new());
    match args.format {
        Printed::Table => writeln!(out, "{}", COLUMNS.join("\t"))?,
        Printed::Csv => csv.write_record(MORE).map_err(io::Error::other)?,
        Printed::Json => {}
    }
    let mut count = 0;
    let unread = search(&folder, &args.wanted.filter(), |record| {
        if count >= most {
            return Ok(false);
        }
        count += 1;
        match args.format {
            Printed::Table => {
                let cells: Vec<String> = COLUMNS.iter().map(|name| cell(record, name)).collect();
                writeln!(out, "{}", cells.join("\t"))?;
            }
            Printed::Json => writeln!(out, "{}", escaped(&record.to_string()))?,
            Printed::Csv => {
                let cells = MORE.map(|name| defused(&value(record, name)));
                csv.write_record(cells).map_err(io::Error::other)?;
                if csv.get_ref().len() > 1 << 20 {
                    let full = std::mem::replace(&mut csv, csv::Writer::from_writer(Vec::new()));
                    out.write_all(&full.into_inner().map_err(io::Error::other)?)?;
                }
            }
        }
        Ok(true)
    })?;
    out.write_all(&csv.into_inner().map_err(io::Error::other)?)?;
    if unread > 0 {
        writeln!(io::stderr(), "sqlveil: {unread} lines are no records; `sqlveil audit verify` tells which")?;
    }
    Ok(Verdict::Fine)
}

/// A member as text.
fn value(record: &Value, name: &str) -> String {
    let member = record.get(name);
    let names = |list: &[Value]| {
        let name =
            |of: &Value| of.as_str().or_else(|| of.get("name").and_then(Value::as_str)).unwrap_or_default().to_owned();
        list.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    match member {
        None | Some(Value::Null) if name == "decision" => record.get("kind").map_or_else(String::new, text),
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(list)) => names(list),
        Some(value) => text(value),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same on one line, with nothing in it that a terminal obeys.
fn cell(record: &Value, name: &str) -> String {
    let text = value(record, name);
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()
}

/// Whether a terminal obeys a character: controls (C0, DEL, C1), and marks that turn the direction of writing (Unicode Standard Annex 9).
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON whose texts hold no such character.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if acts(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// A cell that neither a terminal obeys nor a spreadsheet computes.
fn defused(text: &str) -> String {
    let plain: String = text.chars().map(|c| if acts(c) && c != '\n' { ' ' } else { c }).collect();
    if plain.starts_with(['=', '+', '-', '@']) { format!("'{plain}") } else { plain }
}
