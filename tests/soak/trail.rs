//! The audit trail of a soak: whole, and with a record for every statement that was answered.

use crate::Arena;
use sqlveil::audit::search::{Filter, search};
use sqlveil::audit::verify::verify;
use sqlveil::sql::redact::redact;
use std::collections::BTreeMap;
use std::path::Path;

/// Prints what the trail is like; whether nothing is missing.
pub fn report(arena: &Arena, folder: &Path) -> bool {
    let folder = folder.join("trail");
    let report = match verify(&folder, None) {
        Ok(report) => report,
        Err(error) => {
            println!("WRONG: the audit trail cannot be read: {error}");
            return false;
        }
    };
    let (mut records, mut lost, mut all) = (BTreeMap::<String, u64>::new(), 0, 0u64);
    let counted = search(&folder, &Filter::default(), |record| {
        let text = |name: &str| record.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        all += 1;
        lost += u64::from(text("kind") == "lost");
        // What was answered, or failed as it should.
        if text("kind") == "statement" && matches!(text("outcome"), "completed" | "failed") {
            *records.entry(text("fingerprint").to_owned()).or_default() += 1;
        }
        Ok(true)
    });
    let mut right = report.is_whole() && !report.is_cut() && counted.is_ok_and(|unread| unread == 0) && lost == 0;
    for problem in &report.problems {
        println!("    {problem}");
    }
    let (mut sent_all, mut answered_all) = (0, 0);
    for (text, (sent, answered)) in arena.tally.statements() {
        let kept = records.get(&redact(text).fingerprint).copied().unwrap_or_default();
        (sent_all, answered_all) = (sent_all + sent, answered_all + answered);
        if kept < answered || kept > sent {
            println!("WRONG: {kept} records of {text}, which was sent {sent} times and answered {answered} times");
            right = false;
        }
    }
    println!(
        "\naudit: {all} records, {lost} of them of losses; {answered_all} statements were answered of {sent_all} that were sent"
    );
    if !right {
        println!("WRONG: the audit trail is not whole");
    }
    right
}
