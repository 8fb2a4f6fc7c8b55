//! The seal: rewritten statements are changed behind the rewriter's back, in every way that would matter; none may be sent.

use crate::golden;
use crate::session::{Session, session};
use sqlveil::disarm::tamper;
use sqlveil::plan::Planner;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What the caller writes, what is found in the printed text, and what is put in its place.
const CHANGES: &[(&str, &str, &str)] = &[
    // Rows.
    ("SELECT name FROM emp", " WHERE _sv.dept_id = 1", ""),
    ("SELECT name FROM emp", "_sv.dept_id = 1", "_sv.dept_id = 2"),
    ("SELECT name FROM emp", "_sv.dept_id = 1", "_sv.dept_id = 1 OR true"),
    ("SELECT name FROM emp", "_sv.dept_id = 1", "_sv.dept_id >= 1"),
    ("SELECT name FROM emp", "_sv.dept_id = 1", "_sv.id = 1"),
    ("SELECT amount FROM pay", "e.dept_id = 1", "e.dept_id <> 1"),
    ("SELECT amount FROM pay", " IN (", " NOT IN ("),
    ("SELECT body FROM note", "false", "true"),
    // Masks.
    ("SELECT * FROM emp", "NULL::numeric(10, 2) AS salary", "_sv.salary"),
    ("SELECT * FROM emp", "NULL::numeric(10, 2) AS salary", "_sv.salary AS salary"),
    (
        "SELECT * FROM emp",
        "pg_catalog.convert_to(_sv.ssn::pg_catalog.text, 'UTF8')",
        "pg_catalog.convert_to(_sv.note::pg_catalog.text, 'UTF8')",
    ),
    ("SELECT name FROM emp", "_sv.name", "_sv.ssn AS name"),
    ("SELECT * FROM emp", "_sv.id, _sv.name", "_sv.name, _sv.id"),
    ("SELECT * FROM emp", "_sv.hired, ", ""),
    ("SELECT name FROM emp", "SELECT _sv.name", "SELECT _sv.name, _sv.salary"),
    ("SELECT name FROM emp WHERE id = 7", "_sv.id, ", ""),
    // Relations.
    ("SELECT name FROM emp", "FROM public.emp _sv", "FROM public.hidden _sv"),
    ("SELECT name FROM emp", "FROM public.emp _sv", "FROM ONLY public.emp _sv"),
    ("SELECT name FROM emp", "FROM public.emp _sv", "FROM hr.emp _sv"),
    ("SELECT name FROM emp", "FROM public.emp _sv", "FROM public.emp _sv, public.vault"),
    ("SELECT id FROM dept", "\" dept", "\" dept, public.vault"),
    ("SELECT id FROM dept", "\" dept", "\" dept CROSS JOIN vault v"),
    ("SELECT id FROM dept", "\" dept", "\" dept UNION ALL SELECT id FROM public.vault"),
    ("SELECT id FROM dept", "\" dept", "\" vault"),
    ("SELECT id FROM dept", "FROM _sv.", "FROM LATERAL _sv."),
    ("SELECT e.name, d.name FROM emp e, dept d", "\" e, ", "\" e JOIN "),
    ("SELECT e.name FROM emp e JOIN dept d ON true", "\" e JOIN", "\" e LEFT JOIN"),
    ("WITH c AS (SELECT id FROM dept) SELECT id FROM c", "SELECT id FROM c", "SELECT id FROM public.hidden"),
    ("WITH c AS (SELECT id FROM dept) SELECT id FROM c", "SELECT id FROM c", "SELECT id FROM pg_class"),
    ("SELECT id FROM dept", "SELECT id", "WITH x AS (SELECT code FROM public.vault) SELECT id"),
    // Barriers, and what is copied below them.
    ("SELECT name FROM emp WHERE note::int = 1", " OFFSET '0'", ""),
    ("SELECT name FROM emp WHERE id = 7 AND note::int = 1", "_sv.dept_id = 1 AND _sv.id = 7", "_sv.id = 7"),
    ("SELECT name FROM emp WHERE id = 7 AND note::int = 1", "_sv.id = 7", "_sv.note::int = 1"),
    // The caller's own words.
    ("SELECT name FROM emp WHERE id = 7", "id = 7", "id = 8"),
    ("SELECT name FROM emp WHERE id = 7", " WHERE id = 7", ""),
    ("SELECT lower(name) FROM emp", "lower(", "upper("),
    ("SELECT lower(name) FROM emp", "lower(name)", "pg_read_file(name)"),
    ("SELECT lower(name) FROM emp", "lower(", "public.leak("),
    ("SELECT id FROM dept ORDER BY id", "ORDER BY id", "ORDER BY id DESC"),
    ("SELECT id FROM dept LIMIT 1", "LIMIT 1", "LIMIT 2"),
    ("SELECT id FROM dept", "SELECT id", "SELECT DISTINCT id"),
    ("SELECT id FROM dept", "SELECT id", "SELECT name"),
    ("SELECT id FROM dept", "SELECT id", "SELECT id, name"),
    ("SELECT id::text FROM dept", "id::text", "id::int8"),
    ("SELECT 'x' FROM dept", "'x'", "'y'"),
    ("SELECT 'x' FROM dept", "'x'", "$1"),
    ("SELECT city, count(*) FROM dept GROUP BY city HAVING count(*) > 1", " HAVING count(*) > 1", ""),
    ("SELECT city, count(*) FROM dept GROUP BY city", "GROUP BY city", "GROUP BY city, id + 1"),
    ("SELECT id, name FROM dept GROUP BY id", "GROUP BY id", "GROUP BY name"),
    ("SELECT id FROM dept", "\" dept", "\" dept FOR UPDATE"),
    ("SELECT id FROM dept", "SELECT id FROM", "SELECT id INTO x FROM"),
    ("SELECT id FROM dept", "SELECT id", "SELECT id AS id, 1 AS ctid"),
    // Answers for the caller.
    ("SELECT current_user", "'ana'", "'max'"),
    ("SELECT current_user", "'ana'::pg_catalog.name", "current_user"),
    ("SELECT session_user", "'ana'::pg_catalog.name", "session_user"),
    ("SELECT current_setting('search_path')", "'\"$user\", public'", "'x'"),
    ("SELECT 'emp'::regclass", "::pg_catalog.oid", "::pg_catalog.regclass"),
    ("SELECT pg_get_indexdef(1)", "'{0,112,", "'{0,1,112,"),
    ("SELECT pg_relation_size('emp')", "'emp'::pg_catalog", "'dept'::pg_catalog"),
    // Statements.
    ("SELECT id FROM dept", "SELECT id", "SELECT 1; SELECT id"),
    ("SELECT id FROM dept", "SELECT id", "DELETE FROM public.dept; SELECT id"),
    ("COPY dept TO STDOUT", "TO STDOUT", "TO '/tmp/x'"),
    ("COPY dept TO STDOUT", "TO STDOUT", "TO PROGRAM 'cat'"),
    ("DECLARE c CURSOR FOR SELECT name FROM emp", " WHERE _sv.dept_id = 1", ""),
    ("DECLARE c CURSOR FOR SELECT name FROM emp", "CURSOR", "CURSOR WITH HOLD"),
    ("PREPARE p AS SELECT name FROM emp WHERE id = $1", " _sv.dept_id = 1", " true"),
    ("PREPARE p (int) AS SELECT name FROM emp WHERE id = $1", "(int)", "(text)"),
    ("EXECUTE p (1)", "(1)", "(2)"),
    ("DEALLOCATE p", "DEALLOCATE p", "DEALLOCATE ALL"),
    ("SET timezone = 'UTC'", "timezone", "role"),
    ("SET timezone = 'UTC'", "\"UTC\"", "\"CET\""),
    ("BEGIN", "BEGIN", "BEGIN READ WRITE"),
    ("DISCARD PLANS", "PLANS", "ALL"),
];

/// What is printed for a statement: the statement with names in the places of its policy views, and the views.
fn printed(sql: &str, session: &mut Session) -> Vec<String> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&all);
    tamper(Some(Box::new(move |text| {
        kept.lock().unwrap().push(text.clone());
        text
    })));
    // Views are printed once for each planner.
    Planner::default().plan_string(sql, session).unwrap_or_else(|r| panic!("{sql}: {r:?}"));
    tamper(None);
    let all = all.lock().unwrap().clone();
    assert!(!all.is_empty(), "{sql}: nothing is printed");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_tampered_with_is_sent() {
    let stage = golden::stage().await;
    let (world, _) = golden::load(&stage).await;
    let mut session = session(&world, "ana");
    let (mut unfound, mut sent) = (Vec::new(), Vec::new());
    for (sql, from, to) in CHANGES {
        let honest = printed(sql, &mut session);
        let Some(text) = honest.iter().find(|text| text.contains(from)).cloned() else {
            let all = honest.iter().map(|text| text.chars().take(400).collect::<String>());
            unfound.push(format!("{from} in {}", all.collect::<Vec<_>>().join(" and ")));
            continue;
        };
        let other = text.replacen(from, to, 1);
        let changed = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&changed);
        // Other tests of this program plan statements of their own.
        tamper(Some(Box::new(move |printed| match printed == text {
            true => {
                done.store(true, SeqCst);
                other.clone()
            }
            false => printed,
        })));
        match Planner::default().plan_string(sql, &mut session) {
            Err(refusal) => assert_eq!(refusal.code.0, "XX000", "{sql}: {}", refusal.message),
            Ok(_) => sent.push(format!("{sql}: {from} → {to}")),
        }
        assert!(changed.load(SeqCst), "{sql}: it was printed otherwise");
    }
    tamper(None);
    assert!(unfound.is_empty(), "not found: {}", unfound.join("\n"));
    assert!(sent.is_empty(), "{} of {} changes were sealed:\n{}", sent.len(), CHANGES.len(), sent.join("\n"));
}
