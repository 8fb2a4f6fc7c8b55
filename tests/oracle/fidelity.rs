//! Statements under policies that show everything, against the same statements sent directly by a role of the same name.

use crate::answer::{How, ask, line, lines, sqlstate};
use crate::grammar::{Style, query};
use crate::raw::Raw;
use crate::schema;
use crate::statements::{Alike, Case, STATEMENTS};
use crate::support::{ANYONE, Running, Stage};
use std::time::Duration;
use tokio::time::timeout;

pub struct Pair {
    pub proxy: Raw,
    pub direct: Raw,
}

/// The caller is called the same on both sides, so that `current_user` is the same.
pub async fn stage() -> (Running, String) {
    let stage = Stage::new().await.sql(schema::TABLES).await;
    let role = format!("twin_{}", stage.database);
    let running = stage
        .sql(&schema::role(&role))
        .await
        .sql(&format!(
            "{}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
             GRANT CONNECT ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA public TO {role}",
            crate::support::KINDS,
            role.trim_start_matches("twin_")
        ))
        .await
        .sources(&[("dept", "{}"), ("emp", "{}"), ("pay", "{}"), ("project", "{}"), ("assign", "{}"), ("kinds", "{}")])
        .user(&role, &[], &[])
        .policy(ANYONE)
        .start()
        .await;
    (running, role)
}

pub async fn pair(running: &Running, role: &str) -> Pair {
    let login = [("user", role), ("database", running.database())];
    Pair {
        proxy: Raw::at(running.port, 0, &login).await.unwrap(),
        direct: Raw::at(schema::warehouse(), 0, &login).await.unwrap(),
    }
}

const WAYS: [How; 3] = [How::Simple, How::Extended { binary: false }, How::Extended { binary: true }];

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_are_answered_as_directly() {
    let (running, role) = stage().await;
    let mut pair = pair(&running, &role).await;
    for raw in [&mut pair.proxy, &mut pair.direct] {
        ask(raw, "SET statement_timeout = '4s'", How::Simple).await;
    }
    let (mut same, mut skipped, mut raised, mut wrong) = (0, 0, 0, Vec::new());
    for seed in crate::seeds(1_000_000, 350, 6000) {
        let style = Style { by_key: true, raising: seed % 5 == 0 };
        let query = query(seed, style);
        let how = WAYS[usize::try_from(seed % 3).unwrap()];
        let mine = ask(&mut pair.proxy, &query.sql, how).await;
        let theirs = ask(&mut pair.direct, &query.sql, how).await;
        let (code, expected) = (sqlstate(&mine), sqlstate(&theirs));
        raised += usize::from(expected.is_some());
        if [&code, &expected].into_iter().any(|c| c.as_deref() == Some("57014")) {
            skipped += 1;
            continue;
        }
        // Which of two errors comes first, or whether a condition that raises is reached at all, is the planner's choice.
        if style.raising && (code.is_some() || expected.is_some()) {
            skipped += usize::from(code != expected);
            continue;
        }
        let (a, b) = (lines(&mine, query.ordered), lines(&theirs, query.ordered));
        if a == b {
            same += 1;
        } else {
            let first = a.iter().zip(&b).find(|(a, b)| a != b);
            wrong.push(format!("seed {seed} {how:?}: {}\n  first difference: {first:#?}", query.sql));
        }
    }
    eprintln!("generated: {same} the same, {skipped} skipped, {raised} raised, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Statements of a file instead, for looking into one.
fn cases() -> Vec<Case> {
    match std::env::var("SQLVEIL_ORACLE_SQL") {
        Ok(file) => {
            let text: &'static str = std::fs::read_to_string(file).expect("a file").leak();
            text.lines().filter(|l| !l.trim().is_empty()).map(|sql| Case { sql, alike: Alike::Same }).collect()
        }
        Err(_) => STATEMENTS.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_statements_are_answered_as_directly() {
    let (running, role) = stage().await;
    let mut wrong = Vec::new();
    let cases = cases();
    for how in WAYS {
        let mut pair = pair(&running, &role).await;
        for case in &cases {
            // What the case before has left behind is over.
            for raw in [&mut pair.proxy, &mut pair.direct] {
                ask(raw, "ROLLBACK", How::Simple).await;
                ask(raw, "DISCARD ALL", How::Simple).await;
            }
            let both = async {
                let mine = ask(&mut pair.proxy, case.sql, how).await;
                (mine, ask(&mut pair.direct, case.sql, how).await)
            };
            let Ok((mine, theirs)) = timeout(Duration::from_secs(8), both).await else {
                wrong.push(format!("{how:?} {}\n    no answer", case.sql));
                pair = self::pair(&running, &role).await;
                continue;
            };
            // Parse decides a COPY, which PostgreSQL looks at no sooner than Execute.
            let failed = how != How::Simple && sqlstate(&mine).is_some() && sqlstate(&theirs).is_some();
            let told = |messages: &[crate::raw::Message]| -> Vec<String> {
                let all = messages.iter().filter(|m| !failed || matches!(m.tag, 'E' | 'D' | 'Z'));
                all.map(|m| line(m, true)).collect()
            };
            let (a, b) = (told(&mine), told(&theirs));
            let coded = |messages: &[crate::raw::Message]| -> Vec<_> {
                messages.iter().map(|m| (m.tag, m.field('C'), m.field('P'))).collect()
            };
            let as_said = match case.alike {
                Alike::Same => a == b,
                // A reason that no longer holds is not to be kept.
                Alike::Worded(_) => coded(&mine) == coded(&theirs) && a != b,
                Alike::Differs(_) => a != b || how == (How::Extended { binary: true }),
            };
            if !as_said {
                let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
                wrong.push(format!(
                    "{how:?} {} {:?}\n    proxy  {:?}\n    direct {:?}",
                    case.sql,
                    case.alike,
                    a.get(at),
                    b.get(at)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
