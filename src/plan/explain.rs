//! EXPLAIN: the server's own output where nothing is hidden, an outline where something is.
//!
//! In: an EXPLAIN of a statement that may be sent. Out: its plan. Where every relation shows every row and every cell, the statement is
//! explained over the bare relations, in all detail, and the server's answer passes as it is. Everywhere else the warehouse is asked
//! too, so that the statement is checked as it would be, but its answer is thrown away and the [`Outline`] said instead: estimates, join
//! order and methods follow whole tables, hidden rows included, and conditions hold policy. Must never: let one byte of a plan over hidden
//! data reach a client.

use super::outline::{Form, Outline};
use super::statement::{Kind, cautious};
use super::{Effect, Plan, Shown};
use crate::catalog::Catalog;
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::RelationDecision;
use crate::resolve::{self, Replacement, Resolved};
use crate::rewrite;
use crate::sql::tree::{Pictured, Tree};
use crate::sql::{self, NodeEnum, build, names, pb};
use std::sync::Arc;

/// Options that only say how much of a plan is printed.
const PRINTED: &[&str] = &["costs", "summary", "verbose"];
/// Options that run the statement or count what it touched.
const MEASURED: &[&str] = &["analyze", "buffers", "wal", "serialize", "memory"];

/// Columns that relations have without declaring them (PostgreSQL manual, 5.6 System Columns).
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The options of an EXPLAIN, read as the server reads them (`ExplainQuery`, explain.c).
#[derive(Debug, Default)]
struct Options {
    form: Form,
    verbose: bool,
    /// The first option that is on and measures.
    measured: Option<(&'static str, i32)>,
    /// Options that do not depend on data, as the caller wrote them.
    kept: Vec<pb::Node>,
}

impl Options {
    fn read(options: &[pb::Node]) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for node in options {
            let Some(NodeEnum::DefElem(option)) = &node.node else {
                return Err(Refusal::internal("an EXPLAIN option of another kind"));
            };
            let name = option.defname.as_str();
            let at = option.location;
            if let Some(measured) = MEASURED.iter().find(|m| **m == name) {
                let on = if name == "serialize" { serializes(option)? } else { boolean(option)? };
                match read.measured {
                    None if on => read.measured = Some((measured, at)),
                    // As with the server, what is said last holds.
                    Some((earlier, _)) if !on && earlier == *measured => read.measured = None,
                    _ => {}
                }
            } else if PRINTED.contains(&name) {
                let on = boolean(option)?;
                if name == "verbose" {
                    read.verbose = on;
                }
            } else if name == "format" {
                let word = word(option).unwrap_or_default();
                read.form = Form::named(&word).ok_or_else(|| {
                    let text = format!("unrecognized value for EXPLAIN option \"format\": \"{word}\"");
                    Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text).at(at)
                })?;
                read.kept.retain(|kept| !is_named(kept, "format"));
                read.kept.push(node.clone());
            } else if name == "timing" || name == "generic_plan" {
                boolean(option)?;
                read.kept.push(node.clone());
            } else if name == "settings" {
                if boolean(option)? {
                    return Err(Refusal::unsupported("EXPLAIN option SETTINGS is not supported")
                        .with_hint("Leave it out; SHOW tells the value of a setting.")
                        .at(at));
                }
            } else {
                let text = format!("unrecognized EXPLAIN option \"{name}\"");
                return Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, text).at(at));
            }
        }
        Ok(read)
    }

    /// Refuses what runs the statement or counts, because something of it is hidden.
    fn refuse_measured(&self) -> Result<(), Refusal> {
        let Some((name, at)) = self.measured else { return Ok(()) };
        let option = name.to_ascii_uppercase();
        Err(Refusal::denied(format!("EXPLAIN option {option} is not permitted for this statement"))
            .with_hint(format!(
                "Its numbers count what lies behind policies, views or other names. EXPLAIN without {option} shows an outline."
            ))
            .at(at))
    }

    /// What the warehouse is asked where its answer is not shown.
    fn unshown(&self) -> Vec<pb::Node> {
        let costs = pb::DefElem {
            defname: "costs".to_owned(),
            arg: Some(Box::new(build::string("off"))),
            defaction: pb::DefElemAction::DefelemUnspec as i32,
            location: -1,
            arg_location: -1,
            ..pb::DefElem::default()
        };
        let mut options = self.kept.clone();
        options.push(build::node(NodeEnum::DefElem(Box::new(costs))));
        options
    }
}

fn is_named(node: &pb::Node, name: &str) -> bool {
    matches!(&node.node, Some(NodeEnum::DefElem(option)) if option.defname == name)
}

/// An option's value as one lower-case word.
fn word(option: &pb::DefElem) -> Option<String> {
    match option.arg.as_deref().and_then(|a| a.node.as_ref())? {
        NodeEnum::String(s) => Some(s.sval.to_ascii_lowercase()),
        NodeEnum::Integer(i) => Some(i.ival.to_string()),
        NodeEnum::Boolean(b) => Some(if b.boolval { "true" } else { "false" }.to_owned()),
        _ => None,
    }
}

/// A Boolean option (`defGetBoolean`, define.c): without a value it is on.
fn boolean(option: &pb::DefElem) -> Result<bool, Refusal> {
    if option.arg.is_none() {
        return Ok(true);
    }
    match word(option).as_deref() {
        Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        _ => {
            let text = format!("{} requires a Boolean value", option.defname);
            Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, text))
        }
    }
}

/// `SERIALIZE [NONE | TEXT | BINARY]`, PostgreSQL 17.
fn serializes(option: &pb::DefElem) -> Result<bool, Refusal> {
    match (option.arg.is_some(), word(option).as_deref()) {
        (false, _) | (_, Some("text" | "binary")) => Ok(true),
        (_, Some("none" | "off")) => Ok(false),
        _ => {
            let text = "unrecognized value for EXPLAIN option \"serialize\"";
            Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text).at(option.location))
        }
    }
}

impl Kind<'_> {
    /// Plans an EXPLAIN.
    pub(super) fn explain(&self, explain: &pb::ExplainStmt) -> Result<Plan, Refusal> {
        let options = Options::read(&explain.options)?;
        match explain.query.as_deref().and_then(|n| n.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.explain_query(explain, select, &options),
            Some(NodeEnum::ExecuteStmt(execute)) => self.explain_execute(execute, &options),
            Some(
                write @ (NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_)),
            ) => self.explain_write(write, &options),
            // The plan is that of its query; ANALYZE would make the table.
            Some(NodeEnum::CreateTableAsStmt(create)) => match create.query.as_deref().and_then(|n| n.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) if options.measured.is_none() => {
                    self.explain_query(explain, select, &options)
                }
                _ => Err(Refusal::unsupported("EXPLAIN of CREATE TABLE AS is supported for SELECT, without ANALYZE")),
            },
            Some(other) => {
                Err(Refusal::unsupported(format!("EXPLAIN of {} is not supported", names::kind_name(other))).with_hint(
                    "EXPLAIN is supported for SELECT, INSERT, UPDATE, DELETE, MERGE, EXECUTE and CREATE TABLE AS.",
                ))
            }
            None => Err(Refusal::internal("an EXPLAIN of nothing")),
        }
    }

    fn explain_query(
        &self,
        explain: &pb::ExplainStmt,
        select: &pb::SelectStmt,
        options: &Options,
    ) -> Result<Plan, Refusal> {
        let mut tree = select.clone();
        let mut resolved = resolve::resolve(&mut tree, self.sight, &self.inputs.param_types)?;
        let open = self.is_open(select, &resolved, options)?;
        let asked = if open { explain.options.clone() } else { options.unshown() };
        let hold = |s: pb::SelectStmt| explained(asked.clone(), NodeEnum::SelectStmt(Box::new(s)));
        if open {
            resolved.bare = true;
            // The relation has its primary key again.
            resolved.groups.clear();
        } else {
            options.refuse_measured()?;
        }
        rewrite::rewrite(&mut tree, &resolved, &self.kept.bodies)?;
        let plan = self.sealed(&Pictured::of(&hold(select.clone()))?, hold(tree), &resolved, Effect::None, true)?;
        if open {
            return Ok(plan);
        }
        let catalog = &self.inputs.world.catalog;
        let hides = |location: i32| {
            let read = resolved.relations.get(&location).map(|use_| use_.permitted.decision());
            let written = resolved.targets.get(&location).map(|target| target.permitted.decision());
            read.or(written).is_some_and(|decision| !decision.shows_everything(catalog))
        };
        let outline = Outline::of(&NodeEnum::SelectStmt(Box::new(select.clone())), catalog, &hides);
        Ok(Plan { instead: Some(Shown::Rows(outline.rows(options.form).into())), writing: None, ..plan })
    }

    /// Rules and checks of ours stand around what is written: always an outline, and nothing is carried out.
    fn explain_write(&self, write: &NodeEnum, options: &Options) -> Result<Plan, Refusal> {
        options.refuse_measured()?;
        let catalog = &self.inputs.world.catalog;
        let mut tree = write.clone();
        let picture = Tree::of(write)?;
        let (resolved, _) = resolve::resolve_write(&mut tree, &picture, self.sight, &self.inputs.param_types)?;
        rewrite::rewrite_write(&mut tree, &resolved, &self.kept.bodies)?;
        let hold = |node: NodeEnum| explained(options.unshown(), node);
        let plan = self.sealed(&Pictured::of(&hold(write.clone()))?, hold(tree), &resolved, Effect::None, true)?;
        let hides = |location: i32| {
            let read = resolved.relations.get(&location).map(|use_| use_.permitted.decision());
            let written = resolved.targets.get(&location).map(|target| target.permitted.decision());
            read.or(written).is_some_and(|decision| !decision.shows_everything(catalog))
        };
        let rows = Outline::of(write, catalog, &hides).rows(options.form);
        Ok(Plan { instead: Some(Shown::Rows(rows.into())), writing: None, ..plan })
    }

    /// The warehouse holds the rewritten statement under that name: its plan is never shown.
    fn explain_execute(&self, execute: &pb::ExecuteStmt, options: &Options) -> Result<Plan, Refusal> {
        options.refuse_measured()?;
        let mut rewritten = execute.clone();
        let resolved = resolve::resolve_expressions(&mut rewritten.params, self.sight)?;
        rewrite::rewrite_expressions(&mut rewritten.params, &resolved, &self.kept.bodies)?;
        let hold = |e: pb::ExecuteStmt| explained(options.unshown(), NodeEnum::ExecuteStmt(e));
        let effect = Effect::Execute { name: execute.name.clone() };
        let caller = hold(execute.clone());
        let plan = self.sealed(&Pictured::of(&caller)?, hold(rewritten), &resolved, effect, true).map(cautious)?;
        Ok(Plan { instead: Some(Shown::Executed(options.form)), ..plan })
    }

    /// Whether the server's own plan tells nothing that the caller may not see.
    fn is_open(&self, select: &pb::SelectStmt, resolved: &Resolved, options: &Options) -> Result<bool, Refusal> {
        let catalog = &self.inputs.world.catalog;
        // What stands for a guarded look-up reads the catalog.
        let plain_calls = resolved.calls.values().all(|r| matches!(r, Replacement::Constant { .. }));
        // The body of such a function may become part of the plan.
        let vouched = resolved.functions.values().flat_map(|name| catalog.vouched_for(name));
        let mut plain = vouched.into_iter().all(|v| v.function.language != "sql");
        Tree::of(select)?.each(&mut |t| match t {
            Tree::Node("RangeTableSample", _) => plain = false,
            // Policy views have none; without them the server would find one.
            Tree::Node("ColumnRef", _) => {
                let parts = t.field("fields").map(Tree::strings).unwrap_or_default();
                plain &= !parts.last().is_some_and(|last| SYSTEM_COLUMNS.contains(last));
            }
            _ => {}
        });
        let open = |decision: &RelationDecision| {
            let (logical, remote) = (&decision.logical, &decision.remote);
            decision.shows_everything(catalog)
                && logical.name == remote.name
                && (!options.verbose || logical.schema == remote.schema)
        };
        let family = |decision: &RelationDecision| {
            descendants(catalog, decision)
                .iter()
                .all(|child| self.sight.visibility().relations.iter().any(|d| d.oid == child.oid && open(d)))
        };
        // What is written stands bare in a tree of ours, with its masks, rules and checks around it.
        Ok(plain_calls
            && plain
            && resolved.targets.is_empty()
            && resolved.relations.values().all(|use_| {
                let decision = use_.permitted.decision();
                open(decision) && family(decision)
            }))
    }
}

fn explained(options: Vec<pb::Node>, query: NodeEnum) -> NodeEnum {
    NodeEnum::ExplainStmt(Box::new(pb::ExplainStmt { query: Some(Box::new(build::node(query))), options }))
}

/// Partitions and inheriting relations, at every depth.
fn descendants<'c>(catalog: &'c Catalog, decision: &RelationDecision) -> Vec<&'c crate::catalog::Relation> {
    let mut found: Vec<&crate::catalog::Relation> = Vec::new();
    let mut parents = vec![decision.oid];
    while !parents.is_empty() {
        let children: Vec<&crate::catalog::Relation> = catalog
            .relations
            .values()
            .map(Arc::as_ref)
            .filter(|r| r.parents.iter().any(|p| parents.contains(p)) && !found.iter().any(|f| f.oid == r.oid))
            .collect();
        parents = children.iter().map(|r| r.oid).collect();
        found.extend(children);
    }
    found
}

/// The rows of EXPLAIN EXECUTE: the outline of what was prepared, from the text that was.
///
/// # Errors
/// XX000 when the text does not parse any more.
pub fn outline_of(text: &str, catalog: &Catalog, form: Form) -> Result<Arc<[String]>, Refusal> {
    sql::limits::with_stack(text, || {
        let parsed = sql::parse(text)?;
        let statement = parsed.statements.first().ok_or_else(|| Refusal::internal("nothing was prepared"))?;
        Ok(Outline::of(&statement.node, catalog, &|_| false).rows(form).into())
    })
}
