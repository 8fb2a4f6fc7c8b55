//! `sqlveil check`: loads everything a proxy would load, has the warehouse type-check every policy, and tells all that is wrong.
//!
//! In: the configuration file. Out: every problem with file, line, snippet and remedy, one summary line, and whether the set may be
//! served. Must never: stop at the first problem, or print a secret.

use crate::config::Config;
use crate::config::authentication::KeysFrom;
use crate::governance::model::Origin;
use crate::governance::problem::{Problem, count, render};
use crate::identity::{keyring, ldap};
use crate::policy::decision::{Access, RelationDecision};
use crate::world::{self, Loaded};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Checks the configuration file and all it names; true when no problem is an error.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run(file: &Path, out: &mut dyn Write, color: bool) -> io::Result<bool> {
    run_on(Config::load(file), out, color).await
}

/// [`run`] on a configuration that was read, or could not be.
///
/// # Errors
/// When `out` cannot be written.
pub async fn run_on(config: Result<Config, Vec<Problem>>, out: &mut dyn Write, color: bool) -> io::Result<bool> {
    let config = match config {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(out, "{}", render(&problems, color))?;
            return report(out, "the configuration cannot be used, so nothing else was checked", &problems);
        }
    };
    let loaded = world::load(&config).await;
    let mut problems = config.warnings.clone();
    problems.extend(loaded.problems.iter().cloned());
    problems.extend(may_raise(&loaded));
    problems.extend(not_granted(&config, &loaded));
    problems.extend(unheard(&config).await);
    problems.extend(world::directories::reach(&config).await);
    write!(out, "{}", render(&problems, color))?;
    report(out, &summary(&loaded), &problems)
}

/// Issuers and LDAP servers that do not answer as they should. No error: the proxy starts without them, and asks again at each login.
async fn unheard(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(rules) = &config.authentication else { return problems };
    for issuer in &rules.issuers {
        if let KeysFrom::Url(remote) = &issuer.keys
            && let Err(why) = keyring::ask(remote).await
        {
            let message = format!("no keys of the issuer `{}` can be had: {why}", issuer.name);
            let help = "nobody can log in with its tokens until they can; check `url` and `ca` under `keys`";
            problems.push(Problem::warning(&issuer.origin, message, help));
        }
    }
    for server in &rules.ldap {
        if let Err(why) = ldap::reach(server).await {
            let message = format!("the LDAP server `{}` cannot be asked: {why}", server.name);
            let help = "nobody can log in by it until it can; check `url`, `ca` and the account that searches";
            problems.push(Problem::warning(&server.origin, message, help));
        }
    }
    problems
}

/// Connections whose login may not make the temporary tables that callers may make.
fn not_granted(config: &Config, loaded: &Loaded) -> Vec<Problem> {
    let lacks = |key: &Arc<str>| loaded.worlds.get(key).is_some_and(|world| !world.catalog.temporary);
    let connections = config.connections.iter().filter(|(key, c)| c.temporary_tables && lacks(key));
    let problem = |(key, c): (&Arc<str>, &Arc<crate::config::Connection>)| {
        let message = format!("the login of connection `{key}` may not make temporary tables, so its callers cannot");
        let help = format!(
            "GRANT TEMPORARY ON DATABASE {} TO {}, or write `temporary_tables: false` for the connection",
            crate::types::quote_ident(&c.database),
            crate::types::quote_ident(&c.user)
        );
        Problem::warning(&Origin::of_file(&config.file), message, help)
    };
    connections.map(problem).collect()
}

/// Most decisions looked at in search of rules that may raise.
const MAX_DECISIONS: usize = 100_000;

/// Rules in force for somebody that may themselves raise an error on some row. They are safe, but slower (rows are held back behind a
/// barrier), and data errors of statements on their data sources are shown in one canonical text.
fn may_raise(loaded: &Loaded) -> Vec<Problem> {
    let Some(declared) = loaded.declared() else { return Vec::new() };
    let mut found: BTreeSet<(Arc<str>, Arc<str>, &'static str)> = BTreeSet::new();
    let mut left = MAX_DECISIONS;
    let projects = || std::iter::once(None).chain(declared.projects.iter().map(|p| Some(p.key.as_str())));
    for world in loaded.worlds.values() {
        let callers = world.directory.users().flat_map(|user| projects().map(move |project| (user, project)));
        for caller in callers.filter_map(|(user, project)| world.directory.caller(user, project).ok()) {
            for name in world.ruleset.registered() {
                left = left.saturating_sub(1);
                if left == 0 {
                    break;
                }
                if let Access::Visible(decision) = world.ruleset.access(&caller, name, SystemTime::now()) {
                    note(&decision, &mut found);
                }
            }
        }
    }
    let problem = |(policy, source, what): (Arc<str>, Arc<str>, &str)| {
        let origin = declared.policies.iter().find(|p| p.key == policy).map(|p| p.origin.clone()).unwrap_or_default();
        let message = format!("{what} of the policy `{policy}` may raise an error on some row of `{source}`");
        let help = "nothing leaks, but errors about the data are replaced by a general one; prefer operations that never fail \
            (no division, no cast from text)";
        Problem::warning(&origin, message, help)
    };
    found.into_iter().map(problem).collect()
}

fn note(decision: &RelationDecision, found: &mut BTreeSet<(Arc<str>, Arc<str>, &'static str)>) {
    let rows = decision.rows.iter().filter(|row| !row.total).map(|row| (&row.policy, "a row rule"));
    let masks = decision.columns.iter().filter_map(|column| column.mask.as_ref()).filter(|mask| !mask.total);
    for (policy, what) in rows.chain(masks.map(|mask| (&mask.policy, "a mask"))) {
        found.insert((Arc::clone(policy), Arc::clone(&decision.source), what));
    }
}

/// How much was checked.
fn summary(loaded: &Loaded) -> String {
    let sources: usize = loaded.worlds.values().map(|world| world.ruleset.registered().count()).sum();
    let what = [(sources, "data source"), (loaded.policies, "policy"), (loaded.users, "user")]
        .map(|(n, name)| counted(n, name));
    what.join(", ")
}

/// The last line, and the verdict.
fn report(out: &mut dyn Write, what: &str, problems: &[Problem]) -> io::Result<bool> {
    let (errors, warnings) = count(problems);
    writeln!(out, "{what}: {}, {}", counted(errors, "error"), counted(warnings, "warning"))?;
    Ok(errors == 0)
}

fn counted(n: usize, name: &str) -> String {
    match (n, name) {
        (1, name) => format!("1 {name}"),
        (n, "policy") => format!("{n} policies"),
        (n, name) => format!("{n} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::{ColumnDecision, MaskDecision, RowPredicate};
    use crate::types::{Oid, QualifiedName};

    #[test]
    fn the_last_line_counts_and_decides() {
        let mut out = Vec::new();
        assert!(report(&mut out, "3 users", &[]).unwrap());
        assert!(!report(&mut out, "x", &[Problem::nowhere("bad", "")]).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "3 users: 0 errors, 0 warnings\nx: 1 error, 0 warnings\n");
        assert_eq!(
            [counted(1, "policy"), counted(2, "policy"), counted(1, "user")],
            ["1 policy", "2 policies", "1 user"]
        );
    }

    #[test]
    fn only_rules_that_may_raise_are_noted() {
        let mask = |total: bool, policy: &str| MaskDecision {
            sql: "x".into(),
            kind: "Hash",
            total,
            policy: policy.into(),
            type_mismatch: false,
            constant: false,
        };
        let column = |name: &str, mask: Option<MaskDecision>| ColumnDecision {
            name: name.into(),
            type_oid: Oid(25),
            typmod: -1,
            mask,
        };
        let row = |total: bool, policy: &str| RowPredicate {
            sql: "x".into(),
            total,
            has_subquery: false,
            policy: policy.into(),
            summary: String::new(),
        };
        let decision = RelationDecision {
            source: "s".into(),
            logical: QualifiedName::new("public", "t"),
            remote: QualifiedName::new("public", "t"),
            oid: Oid(1),
            query: None,
            comments: Default::default(),
            tags: Default::default(),
            columns: vec![column("a", None), column("b", Some(mask(true, "m1"))), column("c", Some(mask(false, "m2")))],
            rows: vec![row(true, "r1"), row(false, "r2")],
            companions: Vec::new(),
            unmet_purposes: Vec::new(),
            write: false,
            valid_until: None,
            trace: Vec::new(),
        };
        let mut found = BTreeSet::new();
        note(&decision, &mut found);
        let found: Vec<_> = found.iter().map(|(policy, source, what)| format!("{policy} {source} {what}")).collect();
        assert_eq!(found, ["m2 s a mask", "r2 s a row rule"]);
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_read_is_told_and_fails() {
        let mut out = Vec::new();
        assert!(!run(Path::new("/nonexistent/sqlveil.yaml"), &mut out, false).await.unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("/nonexistent/sqlveil.yaml"), "{text}");
        assert!(text.ends_with("1 error, 0 warnings\n"), "{text}");
    }
}
