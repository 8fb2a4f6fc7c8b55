//! `sqlveil audit replay`: decides statements of a trail again under a set of policies, and lists what would change.
//!
//! In: the trail, a configuration. Out: for each statement and user for whom something would change, what. Nothing is run. Must never: say
//! that nothing changes of what could not be decided again.

use super::{Verdict, Wanted};
use crate::admin::explained::Asked;
use crate::audit::search::search;
use crate::audit::told;
use crate::cli::explain::Format;
use crate::config::Config;
use crate::governance::problem::{any_error, render};
use crate::identity::{Caller, Login};
use crate::plan::Planner;
use crate::world::{self, Directories, World};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `sqlveil audit replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration under which statements are decided again.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The folder of the trail, when it is not the one that the configuration names.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A statement as it is decided: whose, where, and how it was decided when it was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    user: String,
    database: String,
    project: Option<String>,
    text: String,
    /// JSON of what was decided.
    decided: String,
}

/// What becomes of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    database: String,
    statement: String,
    /// How often it is in the trail.
    times: u64,
    /// What would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
    /// Why it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsure: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Different statements that were decided again.
    statements: u64,
    unchanged: u64,
    changed: Vec<Replayed>,
    unsure: Vec<Replayed>,
}

pub(super) async fn run(args: &Args, out: &mut dyn Write, color: bool) -> io::Result<Verdict> {
    let config = match Config::load(&args.config) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(out, "{}", render(&problems, color))?;
            return Ok(Verdict::Untold);
        }
    };
    let named = config.audit.as_ref().map(|audit| audit.folder.clone());
    let Some(folder) = args.folder.clone().or(named).filter(|folder| folder.is_dir()) else {
        writeln!(out, "there is no trail: name its folder with --folder")?;
        return Ok(Verdict::Untold);
    };
    let loaded = world::load(&config).await;
    if any_error(&loaded.problems) {
        write!(out, "{}", render(&loaded.problems, color))?;
        return Ok(Verdict::Untold);
    }
    let mut filter = args.wanted.filter();
    filter.kind = Some("statement".to_owned());
    let mut statements: BTreeMap<Statement, u64> = BTreeMap::new();
    search(&folder, &filter, |record| {
        if let Some(statement) = Statement::of(record) {
            *statements.entry(statement).or_default() += 1;
        }
        Ok(true)
    })?;
    let worlds: BTreeMap<Arc<str>, Arc<World>> =
        loaded.worlds.into_iter().map(|(key, world)| (key, Arc::new(world))).collect();
    let mut again = Again {
        directories: Directories::new(&config),
        planner: Planner::new(config.limits.relations),
        config,
        worlds,
        callers: BTreeMap::new(),
    };
    let mut report = Report::default();
    for (statement, times) in statements {
        report.statements += 1;
        let (changes, unsure) = match again.decide(&statement).await {
            Ok(changes) => (changes, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let Statement { user, database, project, text, .. } = statement;
        let one = Replayed { user, project, database, statement: text, times, changes, unsure };
        match (&one.unsure, one.changes.is_empty()) {
            (Some(_), _) => report.unsure.push(one),
            (None, true) => report.unchanged += 1,
            (None, false) => report.changed.push(one),
        }
    }
    match args.format {
        Format::Text => text(&report, out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::other)?)?,
    }
    Ok(if report.changed.is_empty() { Verdict::Fine } else { Verdict::Wrong })
}

fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    for one in report.changed.iter().chain(&report.unsure) {
        let project = one.project.as_ref().map_or_else(String::new, |project| format!("+{project}"));
        writeln!(out, "{}{project} in {}, {} times: {}", one.user, one.database, one.times, line(&one.statement))?;
        for change in &one.changes {
            writeln!(out, "  {}", line(change))?;
        }
        if let Some(why) = &one.unsure {
            writeln!(out, "  cannot be told: {}", line(why))?;
        }
    }
    let Report { statements, unchanged, changed, unsure } = report;
    let (changed, unsure) = (changed.len(), unsure.len());
    writeln!(
        out,
        "{statements} different statements: {unchanged} as before, {changed} changed, {unsure} that cannot be told"
    )
}

impl Statement {
    /// Of a record that holds a text.
    fn of(record: &Value) -> Option<Self> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let decided = match record.get("decision")?.as_str()? {
            "allowed" => sources(record.get("sources")).to_string(),
            _ => {
                // What was not a matter of policy is none now.
                if record.get("family")?.as_str()? != "denied" {
                    return None;
                }
                "refused".to_owned()
            }
        };
        let statement = text("text").or_else(|| text("statement")).filter(|text| !text.is_empty())?;
        if record.get("statementIsCut").is_some() {
            return None;
        }
        Some(Self {
            user: text("user")?,
            database: text("database")?,
            project: text("project"),
            text: statement,
            decided,
        })
    }
}

/// What of the sources of a record a set of policies decides, by name.
fn sources(told: Option<&Value>) -> Value {
    const DECIDED: [&str; 4] = ["columns", "masks", "rowPolicies", "unmetPurposes"];
    let mut by_name = serde_json::Map::new();
    for source in told.and_then(Value::as_array).into_iter().flatten() {
        let Some(name) = source.get("name").and_then(Value::as_str) else { continue };
        // The virtual catalog follows from everything else, and says nothing of rules.
        if source.get("rules").is_none() {
            continue;
        }
        let decided = DECIDED.iter().filter_map(|member| Some(((*member).to_owned(), source.get(*member)?.clone())));
        by_name.insert(name.to_owned(), Value::Object(decided.collect()));
    }
    Value::Object(by_name)
}

/// Decides again.
struct Again {
    config: Arc<Config>,
    directories: Directories,
    planner: Planner,
    worlds: BTreeMap<Arc<str>, Arc<World>>,
    callers: BTreeMap<Whose, Result<Arc<Caller>, String>>,
}

/// A user, in a database, under a project.
type Whose = (String, String, Option<String>);

impl Again {
    /// What would change; an error when that cannot be told.
    async fn decide(&mut self, statement: &Statement) -> Result<Vec<String>, String> {
        let connection = self.config.connection_of(&statement.database);
        let world = connection.and_then(|connection| self.worlds.get(&connection.key)).map(Arc::clone);
        let Some(world) = world else { return Err(format!("there is no database \"{}\"", statement.database)) };
        let refused = statement.decided == "refused";
        let caller = match self.caller(&world, statement).await {
            Ok(caller) => caller,
            Err(_) if refused => return Ok(Vec::new()),
            Err(why) => return Ok(vec![format!("the caller would be refused: {why}")]),
        };
        let mut session = Asked::new(&world, &caller);
        let plans = match self.planner.plan_string(&statement.text, &mut session) {
            Ok(plans) => plans,
            Err(_) if refused => return Ok(Vec::new()),
            // Of tables that a session makes for itself nobody knows afterwards.
            Err(refusal) if refusal.code.0 == "42P01" && statement.decided == "{}" => {
                return Err(format!("it may be about a temporary table: {refusal}"));
            }
            Err(refusal) => return Ok(vec![format!("it would be refused: {refusal}")]),
        };
        if refused {
            return Ok(vec!["it was refused, and would be allowed".to_owned()]);
        }
        let mut now = serde_json::Map::new();
        for plan in &plans {
            let about = told(plan, &statement.text);
            if let Value::Object(more) = sources(about.get("sources")) {
                now.extend(more);
            }
        }
        let before: Value = serde_json::from_str(&statement.decided).unwrap_or_default();
        Ok(changes(&before, &Value::Object(now)))
    }

    async fn caller(&mut self, world: &Arc<World>, statement: &Statement) -> Result<Arc<Caller>, String> {
        let key = (statement.user.clone(), statement.database.clone(), statement.project.clone());
        if let Some(known) = self.callers.get(&key) {
            return known.clone();
        }
        let login = self.directories.introduce(&world.directory, Login::of(statement.user.as_str())).await;
        let found = world.directory.caller_of(&login, statement.project.as_deref());
        let found = found.map(Arc::new).map_err(|refusal| refusal.to_string());
        self.callers.insert(key, found.clone());
        found
    }
}

/// What differs between two decisions, in words.
fn changes(before: &Value, after: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect::<BTreeSet<_>>();
    let empty = Value::Null;
    let mut found = Vec::new();
    for name in keys(before).union(&keys(after)) {
        let (one, two) = (before.get(name).unwrap_or(&empty), after.get(name).unwrap_or(&empty));
        let (masked, now_masked) = (one.get("masks").unwrap_or(&empty), two.get("masks").unwrap_or(&empty));
        for column in keys(masked).union(&keys(now_masked)) {
            let (mask, now) = (masked.get(column), now_masked.get(column));
            if mask != now {
                found.push(format!("{name}: column {column}: {} -> {}", mask_in_words(mask), mask_in_words(now)));
            }
        }
        for (member, words) in
            [("rowPolicies", "row rules of"), ("unmetPurposes", "no rows outside of"), ("columns", "columns")]
        {
            let (one, two) = (one.get(member), two.get(member));
            if one != two {
                found.push(format!("{name}: {words} {} -> {}", list(one), list(two)));
            }
        }
    }
    found
}

fn mask_in_words(mask: Option<&Value>) -> String {
    let text = |name: &str| mask.and_then(|mask| mask.get(name)).and_then(Value::as_str);
    match (text("mask"), text("policy")) {
        (Some(mask), Some(policy)) => format!("{mask} ({policy})"),
        _ => "as it is".to_owned(),
    }
}

fn list(names: Option<&Value>) -> String {
    let names = names.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_told_by_source_and_column() {
        let told = |mask: Value, rows: Value| {
            let of = json!([{"name": "hr.people", "columns": ["ssn"], "masks": mask, "rowPolicies": rows, "rules": []},
                            {"name": "pg_class", "access": ["read"]}]);
            sources(Some(&of))
        };
        let plain = told(json!({}), json!([]));
        assert!(changes(&plain, &plain).is_empty());
        let masked = told(json!({"ssn": {"mask": "Hash", "policy": "p"}}), json!(["r"]));
        assert_eq!(
            changes(&plain, &masked),
            ["hr.people: column ssn: as it is -> Hash (p)", "hr.people: row rules of none -> r"]
        );
    }
}
