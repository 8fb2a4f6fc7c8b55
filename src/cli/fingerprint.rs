//! `sqlveil fingerprint`: measures the ranges of registered tables, for masks that need to know them.
//!
//! In: the configuration. Out: one fingerprint document a data source, under `fingerprints/` of the governance directory; a proxy takes
//! them up as it does any change. Must never: write a value of a column unless asked to list values, or one that few rows hold.

use crate::config::{Config, Connection};
use crate::governance::problem::render;
use crate::policy::Measure;
use crate::types::hex;
use crate::upstream::catalog_client;
use crate::world;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::{Client, Error};

/// Arguments of `sqlveil fingerprint`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "SQLVEIL_CONFIG")]
    pub config: PathBuf,
    /// Only this connection, by key.
    #[arg(long, value_name = "KEY")]
    pub connection: Option<String>,
    /// Only this data source, by name. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub data_source: Vec<String>,
    /// Where the documents go; `fingerprints` in the governance directory when left out.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Also list the values of columns that have at most so many. Values that fewer than five rows hold are never listed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub values: u16,
}

/// What one reading of a column gave.
#[derive(Debug, Default, PartialEq)]
struct Column {
    name: String,
    range: Option<(String, String)>,
    values: Vec<String>,
}

/// A fingerprint to be written.
struct Taken {
    rows: i64,
    columns: Vec<Column>,
}

/// Measured in one snapshot, written by nobody, in text forms that masks read.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog; \
    SET LOCAL statement_timeout = 0; SET LOCAL DateStyle = 'ISO'; SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1";

/// Takes the fingerprints; true when each could be taken and written.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<bool> {
    let config = match Config::load(&args.config) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(out, "{}", render(&problems, color))?;
            return Ok(false);
        }
    };
    let loaded = world::load(&config).await;
    // A fingerprint that speaks of a column that is gone is no reason not to take a new one.
    if loaded.worlds.is_empty() {
        write!(out, "{}", render(&loaded.problems, color))?;
        return Ok(false);
    }
    let folder = args.output.clone().unwrap_or_else(|| config.governance.join("fingerprints"));
    let mut fine = true;
    let mut unknown: Vec<&String> = args.data_source.iter().collect();
    let wanted = |key: &str| args.connection.as_deref().is_none_or(|asked| asked == key);
    if let Some(asked) = args.connection.as_deref().filter(|key| !config.connections.contains_key(*key)) {
        writeln!(out, "there is no connection \"{asked}\" in the configuration")?;
        return Ok(false);
    }
    for (key, connection) in config.connections.iter().filter(|(key, _)| wanted(key)) {
        let Some(world) = loaded.worlds.get(key) else {
            writeln!(out, "connection \"{key}\" is out of reach")?;
            fine = false;
            continue;
        };
        let asked =
            |m: &Measure| args.data_source.is_empty() || args.data_source.iter().any(|name| **name == *m.source);
        let measures: Vec<Measure> = world.ruleset.measures(&world.catalog).into_iter().filter(asked).collect();
        unknown.retain(|name| measures.iter().all(|m| *m.source != ***name));
        fine &= connection_fingerprints(connection, &measures, usize::from(args.values), &folder, out).await?;
    }
    for name in unknown {
        writeln!(out, "there is no data source \"{name}\"")?;
        fine = false;
    }
    for twice in loaded.declared().map(|d| d.fingerprints.as_slice()).unwrap_or_default() {
        let (kept, file) = (folder.join(file_name(&twice.data_source)), &*twice.origin.file);
        let rewritten = args.data_source.is_empty() || args.data_source.contains(&twice.data_source);
        if rewritten && kept.exists() && kept.file_name() != file.file_name() {
            writeln!(out, "{} holds an older fingerprint of \"{}\": remove it", file.display(), twice.data_source)?;
            fine = false;
        }
    }
    Ok(fine)
}

async fn connection_fingerprints(
    connection: &Connection,
    measures: &[Measure],
    most_values: usize,
    folder: &Path,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let client = match catalog_client(connection).await {
        Ok(client) => client,
        Err(refusal) => {
            writeln!(out, "connection \"{}\": {}", connection.key, refusal.message)?;
            return Ok(false);
        }
    };
    let mut fine = true;
    for measure in measures {
        let path = folder.join(file_name(&measure.source));
        match take(&client, measure, most_values).await {
            Ok(taken) => match write_whole(&path, &document(&measure.source, &taken, jiff::Timestamp::now())) {
                Ok(()) => writeln!(
                    out,
                    "{}: {} rows, {} columns: {}",
                    measure.source,
                    taken.rows,
                    taken.columns.len(),
                    path.display()
                )?,
                Err(error) => {
                    writeln!(out, "{}: {error}", path.display())?;
                    fine = false;
                }
            },
            Err(error) => {
                let why = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
                writeln!(out, "{}: {why}", measure.source)?;
                fine = false;
            }
        }
    }
    Ok(fine)
}

/// Measures one data source.
async fn take(client: &Client, measure: &Measure, most_values: usize) -> Result<Taken, Error> {
    client.batch_execute(BEGIN).await?;
    let taken = read(client, measure, most_values).await;
    client.batch_execute("ROLLBACK").await?;
    taken
}

async fn read(client: &Client, measure: &Measure, most_values: usize) -> Result<Taken, Error> {
    let row = client.query_one(&measure.ranges_sql(), &[]).await?;
    let mut columns: Vec<Column> = Vec::new();
    for at in 0..measure.ranged() {
        let (least, greatest) = (row.try_get(1 + 2 * at)?, row.try_get(2 + 2 * at)?);
        if let Some((name, range)) = measure.range(at, least, greatest) {
            columns.push(Column { name: name.to_owned(), range: Some(range), values: Vec::new() });
        }
    }
    if most_values > 0 {
        for (name, sql) in measure.values_sql(most_values) {
            let rows = client.query(&sql, &[]).await?;
            if rows.len() > most_values {
                continue;
            }
            let mut values: Vec<String> = Vec::new();
            for row in &rows {
                if row.try_get(1)? {
                    values.push(row.try_get(0)?);
                }
            }
            match columns.iter_mut().find(|c| c.name == name) {
                _ if values.is_empty() => {}
                Some(column) => column.values = values,
                None => columns.push(Column { name: name.to_owned(), range: None, values }),
            }
        }
    }
    Ok(Taken { rows: row.try_get(0)?, columns })
}

/// The document: every text in double quotes, which YAML reads as JSON does.
fn document(source: &str, taken: &Taken, instant: jiff::Timestamp) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = format!("dataSource: {}\ninstant: {instant}\nrows: {}\n", text(source), taken.rows);
    if !taken.columns.is_empty() {
        out.push_str("columns:\n");
    }
    for column in &taken.columns {
        out.push_str(&format!("- name: {}\n", text(&column.name)));
        if let Some((least, greatest)) = &column.range {
            out.push_str(&format!("  min: {}\n  max: {}\n", text(least), text(greatest)));
        }
        if !column.values.is_empty() {
            out.push_str("  values:\n");
            column.values.iter().for_each(|value| out.push_str(&format!("  - {}\n", text(value))));
        }
    }
    out
}

/// A file for each data source; names that no file may have get a digest.
fn file_name(source: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if source.chars().all(plain) && !source.is_empty() && !source.starts_with('.') && source.len() <= 100 {
        return format!("{source}.yaml");
    }
    let kept: String = source.chars().map(|c| if plain(c) { c } else { '_' }).take(60).collect();
    let digest = hex(Sha256::digest(source).into_iter().take(6));
    format!("{}-{digest}.yaml", kept.trim_start_matches('.'))
}

/// Writes beside the file and moves it over, so that nobody reads half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.new"));
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::store;

    #[test]
    fn what_is_written_loads() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["data", "policies"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let awkward = "it's: \"x\" # \\ é\n- {a}";
        std::fs::write(
            dir.path().join("data/d.yaml"),
            format!(
                "connectionKey: c\nsources: [{{table: t, schema: s, naming: {{datasource: {}}}}}]\n",
                serde_json::Value::from(awkward)
            ),
        )
        .unwrap();
        let taken = Taken {
            rows: 3,
            columns: vec![
                Column {
                    name: "null".into(),
                    range: Some(("-1".into(), "1e3".into())),
                    values: vec!["".into(), "~".into(), awkward.into()],
                },
                Column {
                    name: "seen".into(),
                    range: Some(("2024-01-01 00:00:00+00".into(), "2025-01-01 00:00:00+00".into())),
                    values: vec![],
                },
            ],
        };
        let text = document(awkward, &taken, "2026-01-02T03:04:05Z".parse().unwrap());
        write_whole(&dir.path().join("fingerprints").join(file_name(awkward)), &text).unwrap();
        let (declared, warnings) = store::load(dir.path()).into_result().unwrap_or_else(|p| panic!("{p:#?}\n{text}"));
        assert!(warnings.is_empty(), "{warnings:?}");
        let found = &declared.fingerprints[0];
        assert_eq!((found.data_source.as_str(), found.rows), (awkward, 3));
        let back: Vec<Column> = found
            .columns
            .iter()
            .map(|c| Column { name: c.name.clone(), range: c.range.clone(), values: c.values.clone() })
            .collect();
        assert_eq!(back, taken.columns);
    }

    #[test]
    fn file_names_are_harmless_and_distinct() {
        assert_eq!(file_name("hr.person"), "hr.person.yaml");
        let names = ["A/b", "a/b", "../x", ".x", "", "Hr Person", "hr person", &"x".repeat(300)].map(file_name);
        for name in &names {
            assert!(!name.contains('/') && !name.starts_with('.') && name.len() < 100, "{name}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}
