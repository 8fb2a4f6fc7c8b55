//! What a caller gets, as text for golden files.

use std::fmt::Write as _;
use std::path::Path;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The rows of a query, a line each, or the error with code, message and hint.
pub async fn seen(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("!! {} {}{hint}\n", error.code().code(), error.message())
        }
        Ok(messages) => {
            let mut out = String::new();
            for message in messages {
                if let SimpleQueryMessage::Row(row) = message {
                    let cells: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("∅")).collect();
                    writeln!(out, "{}", cells.join(" | ")).unwrap();
                }
            }
            if out.is_empty() { "(no rows)\n".to_owned() } else { out }
        }
    }
}

/// Compares with a golden file; `SQLVEIL_BLESS=1` writes it instead.
pub fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(name);
    if std::env::var_os("SQLVEIL_BLESS").is_some() {
        std::fs::write(&path, found).expect("the golden file is written");
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for (at, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{}:{}", path.display(), at + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "{}", path.display());
}
