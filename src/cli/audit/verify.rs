//! `sqlveil audit verify`: proves that nothing of a trail is missing or changed.
//!
//! In: the trail. Out: each chain, and what is wrong. Must never: call whole what it did not read.

use super::{Place, Verdict};
use crate::audit::verify::{Chain, End, Report, key, verify};
use crate::cli::explain::Format;
use std::io::{self, Write};

/// Arguments of `sqlveil audit verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The hash of a record that has to be there as the last of its chain or before it: as a report, the log or a table once said.
    #[arg(long, value_name = "HEX")]
    head: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<Verdict> {
    let Some((folder, config)) = args.place.find(out, color)? else { return Ok(Verdict::Untold) };
    let key = config.map(|config| key(&config.secret));
    let mut report = verify(&folder, key.as_ref())?;
    if let Some(head) = &args.head
        && !holds(&folder, head)?
    {
        report.problems.push(format!("no record has the hash {head}: the end was cut off, or it is of another trail"));
    }
    match args.format {
        Format::Text => text(&report, out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::other)?)?,
    }
    Ok(match (report.is_whole(), report.is_cut()) {
        (false, _) => Verdict::Wrong,
        (true, true) => Verdict::Untold,
        (true, false) => Verdict::Fine,
    })
}

/// Whether some record has this hash.
fn holds(folder: &std::path::Path, head: &str) -> io::Result<bool> {
    let mut found = false;
    crate::audit::search::search(folder, &Default::default(), |record| {
        found = record.get("hash").and_then(serde_json::Value::as_str) == Some(head);
        Ok(!found)
    })?;
    Ok(found)
}

fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for chain in &report.chains {
        let Chain { chain: name, files, first, last, last_hash, from, to, end, seals, .. } = chain;
        writeln!(out, "chain {name}: records {first} to {last} in {files} files, {from} to {to}, {seals} seals hold")?;
        match end {
            End::Stopped => writeln!(out, "  ended by its proxy; last hash {last_hash}")?,
            End::Open => writeln!(out, "  being written; last hash {last_hash}")?,
            End::Cut { file, offset, bytes: 0 } => {
                writeln!(
                    out,
                    "  cut behind record {last}, {file} byte {offset}: nothing tells what came next; last hash {last_hash}"
                )?;
            }
            End::Cut { file, offset, bytes } => {
                writeln!(
                    out,
                    "  cut behind record {last}, {file} byte {offset}: {bytes} bytes of the next follow; last hash {last_hash}"
                )?;
            }
        }
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    match report.problems.len() {
        0 => writeln!(out, "no record is missing or changed"),
        1 => writeln!(out, "1 problem"),
        problems => writeln!(out, "{problems} problems"),
    }
}
