//! Golden cases: policies, a caller, a statement → what would be sent, or the refusal. One file a feature under `cases/`.
//!
//! A case is `[caller] statement` (further lines indented), followed by `=> text` or `!! SQLSTATE message @offset`.
//! `SQLVEIL_BLESS=1` writes what is seen into the files; the difference is for reviewers. Every text is also analyzed by a real
//! PostgreSQL, as the warehouse would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod session;
#[path = "../support/mod.rs"]
mod support;
mod world;

use session::session;
use sqlveil::plan::Planner;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

struct Case {
    caller: String,
    sql: String,
    expected: String,
}

/// Reads the cases of a file; what stands before the first is kept as its head.
fn read(path: &Path) -> (String, Vec<Case>) {
    let text = std::fs::read_to_string(path).expect("a case file");
    let (mut head, mut cases): (String, Vec<Case>) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some((caller, sql)) = line.strip_prefix('[').and_then(|l| l.split_once("] ")) {
            cases.push(Case { caller: caller.to_owned(), sql: sql.to_owned(), expected: String::new() });
        } else if let Some(case) = cases.last_mut() {
            if line.starts_with("=>") || line.starts_with("!!") || !case.expected.is_empty() && !line.is_empty() {
                if !case.expected.is_empty() {
                    case.expected.push('\n');
                }
                case.expected.push_str(line);
            } else if let Some(more) = line.strip_prefix("  ") {
                case.sql.push('\n');
                case.sql.push_str(more);
            } else {
                assert!(line.is_empty(), "{}: what is this line? {line}", path.display());
            }
        } else {
            head.push_str(line);
            head.push('\n');
        }
    }
    (head, cases)
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_as_written() {
    let stage = world::stage().await;
    let (worlds, admin) = world::load(&stage).await;
    let planner = Planner::default();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let bless = std::env::var_os("SQLVEIL_BLESS").is_some();
    let (mut count, mut wrong) = (0, String::new());
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("cases").map(|f| f.expect("a file").path()).collect();
    files.sort();
    for file in files {
        let (head, cases) = read(&file);
        let mut written = head;
        for case in cases {
            count += 1;
            let mut session = session(&worlds, &case.caller);
            let seen = match planner.plan_string(&case.sql, &mut session) {
                Ok(plans) => {
                    let mut texts = Vec::new();
                    for plan in &plans {
                        let text = plan.sealed.as_str();
                        texts.push(format!("=> {}", worlds.ruleset.redact(text)));
                        // What PostgreSQL itself has to say to the text: a missing column, say, in a view that lacks it.
                        if plan.returns_rows
                            && plan.tag.is_none()
                            && text.to_ascii_uppercase().starts_with("SELECT")
                            && let Err(error) = admin.prepare(text).await
                        {
                            let error = error.as_db_error().expect("an answer of the server");
                            texts.push(format!("analyzed: {} {}", error.code().code(), error.message()));
                        }
                        texts.extend(plan.notices.iter().map(|(_, notice)| format!("notice: {notice}")));
                    }
                    texts.join("\n")
                }
                Err(refusal) => {
                    let position = refusal.position.map(|p| format!(" @{p}")).unwrap_or_default();
                    format!("!! {} {}{position}", refusal.code.0, refusal.message)
                }
            };
            if seen != case.expected {
                let _ = writeln!(wrong, "{}: [{}] {}", file.display(), case.caller, case.sql);
                let _ = writeln!(wrong, "  expected {}\n  seen     {seen}", case.expected);
            }
            let _ = write!(written, "[{}] {}\n{seen}\n\n", case.caller, case.sql.replace('\n', "\n  "));
        }
        if bless {
            std::fs::write(&file, written.trim_end().to_owned() + "\n").expect("the case file is written");
        }
    }
    assert!(count >= 60, "only {count} golden cases");
    assert!(wrong.is_empty() || bless, "{wrong}");
}
