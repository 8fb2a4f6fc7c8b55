//! Statements of files, for looking into: `SQLVEIL_FIDELITY_SQL=FOLDER cargo test --test fidelity files -- --nocapture` makes the tables
//! and views that the folder's SQL files make, and compares every SELECT of them. PostgreSQL's own regression suite is such a folder:
//! `src/test/regress/sql` of its source. `SQLVEIL_FIDELITY_FILES=a,b` names some of them only; `SQLVEIL_FIDELITY_SHOW=1` prints
//! all differences.

use crate::answer::How;
use crate::pair::{Pair, Tally, ready};
use crate::support::Stage;
use sqlveil::sql::{self, NodeEnum};
use std::path::Path;

/// The statements of a psql script, roughly: its own commands, variables and the data of COPY are left out.
fn statements(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut now = String::new();
    let mut copying = false;
    for line in text.lines() {
        if copying {
            copying = line != "\\.";
            continue;
        }
        if line.starts_with('\\') {
            now.clear();
            continue;
        }
        if line.contains("\\g") || line.contains("\\;") || line.contains("\\crosstab") {
            now.clear();
            continue;
        }
        now.push_str(line);
        now.push('\n');
        copying = line.to_ascii_lowercase().contains("from stdin");
        if copying {
            now.clear();
            continue;
        }
        if line.trim_end().ends_with(';') || line.contains("; --") {
            // Inside a function's body the quotes are not closed: the scanner knows.
            if now.matches("$$").count().is_multiple_of(2) && now.matches('\'').count().is_multiple_of(2) {
                out.push(std::mem::take(&mut now));
            }
        }
    }
    out
}

fn makes(node: &NodeEnum) -> bool {
    use NodeEnum as N;
    matches!(
        node,
        N::CreateStmt(_)
            | N::ViewStmt(_)
            | N::CreateTableAsStmt(_)
            | N::InsertStmt(_)
            | N::IndexStmt(_)
            | N::UpdateStmt(_)
            | N::DeleteStmt(_)
            | N::AlterTableStmt(_)
            | N::CreateEnumStmt(_)
            | N::CompositeTypeStmt(_)
            | N::CreateDomainStmt(_)
            | N::CreateRangeStmt(_)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn files() {
    let Some(folder) = std::env::var_os("SQLVEIL_FIDELITY_SQL") else { return };
    let wanted = std::env::var("SQLVEIL_FIDELITY_FILES").ok();
    let mut paths: Vec<_> = std::fs::read_dir(Path::new(&folder)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    paths.sort();
    // Made first: others lean on it.
    paths.sort_by_key(|p| !p.ends_with("test_setup.sql"));
    let setup = Stage::new().await;
    let (mut corpus, mut made) = (Vec::new(), 0);
    for path in &paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let asked = wanted.as_ref().is_none_or(|w| w.split(',').any(|w| w == name));
        if !asked && name != "test_setup" {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        for statement in statements(&text) {
            let statement =
                statement.replace(":'filename'", &format!("'{}/../data/x'", path.parent().unwrap().display()));
            match sql::parse(&statement) {
                Ok(parsed) if parsed.statements.iter().all(|s| makes(&s.node)) => {
                    made += usize::from(setup.try_sql(&statement).await);
                }
                Ok(parsed) if asked && parsed.statements.iter().all(|s| matches!(s.node, NodeEnum::SelectStmt(_))) => {
                    corpus.push((name.clone(), statement));
                }
                _ => {}
            }
        }
    }
    let (running, role) = ready(setup).await;
    let mut pair = Pair::new(&running, &role).await;
    let mut all = Tally::default();
    for (name, sql) in &corpus {
        // Chance, time, sessions, sizes.
        if [
            "random",
            "now()",
            "clock_timestamp",
            "pg_sleep",
            "pg_backend_pid",
            "txid_",
            "pg_current_xact",
            "set_config",
            "tableoid",
            "ctid",
            "nextval",
            "setval",
            "currval",
        ]
        .iter()
        .any(|w| sql.contains(w))
        {
            continue;
        }
        for how in [How::Simple, How::Extended { binary: false }] {
            let verdict = pair.verdict(sql, how).await;
            all.note(&format!("[{name} {how:?}] {}", sql.trim()), &verdict);
        }
        pair.both("ROLLBACK", How::Simple).await;
    }
    eprintln!("{made} statements made things; {}", all.table());
    if std::env::var_os("SQLVEIL_FIDELITY_SHOW").is_some() {
        all.differs.iter().for_each(|d| eprintln!("DIFFERS {d}"));
        all.worded.iter().for_each(|(sql, d)| eprintln!("WORDED {sql}\n      {d}"));
    }
}
