//! The outline of a statement: what EXPLAIN shows where the physical plan would tell of hidden rows.
//!
//! In: the caller's own tree. Out: steps as the caller wrote them (scans, joins, sorts, …), in the words of EXPLAIN where there are some
//! (PostgreSQL manual, 14.1 Using EXPLAIN). Must never: look at anything of the warehouse's data, or at a rewritten tree: two warehouses
//! that differ in hidden rows give the same outline.

mod render;

pub use render::Form;

use crate::catalog::Catalog;
use crate::sql::{self, NodeEnum, build, names, pb, walk};

/// One step. `facts` stand in structured forms only, `details` in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Step {
    /// What the text form calls it.
    label: String,
    /// `Node Type`.
    kind: &'static str,
    /// Set for the queries of WITH.
    name: Option<String>,
    facts: Vec<(&'static str, String)>,
    details: Vec<(&'static str, Detail)>,
    below: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Detail {
    Text(String),
    List(Vec<String>),
}

/// The outline of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    root: Step,
}

/// Says under every outline why it is one.
const NOTE: &str = "outline of the statement as written; a plan over data under policy is not shown";

impl Step {
    fn new(kind: &'static str) -> Self {
        Self { label: kind.to_owned(), kind, ..Self::default() }
    }
    fn over(mut self, below: Self) -> Self {
        self.below.push(below);
        self
    }
    fn text(&mut self, key: &'static str, value: Option<String>) {
        self.details.extend(value.map(|v| (key, Detail::Text(v))));
    }
    fn list(&mut self, key: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.details.push((key, Detail::List(values)));
        }
    }
}

impl Outline {
    /// Outlines a statement. `under_policy` tells of the relation mentioned at a location whether something of it is hidden.
    pub fn of(statement: &NodeEnum, catalog: &Catalog, under_policy: &dyn Fn(i32) -> bool) -> Self {
        let mut sketch = Sketch { catalog, under_policy, ctes: Vec::new() };
        Self { root: sketch.statement(statement) }
    }
}

struct Sketch<'a> {
    catalog: &'a Catalog,
    under_policy: &'a dyn Fn(i32) -> bool,
    /// Names of WITH queries in sight.
    ctes: Vec<String>,
}

/// An expression as SQL; one that cannot be printed is left out.
fn text_of(node: &pb::Node) -> Option<String> {
    let mut select = build::select();
    select.target_list.push(build::target(node.clone(), ""));
    let text = sql::print(NodeEnum::SelectStmt(Box::new(select))).ok()?;
    text.strip_prefix("SELECT ").map(str::to_owned)
}

fn texts(nodes: &[pb::Node]) -> Vec<String> {
    nodes.iter().filter_map(text_of).collect()
}

fn parenthesized(node: Option<&pb::Node>) -> Option<String> {
    node.and_then(text_of).map(|text| format!("({text})"))
}

/// `x DESC NULLS LAST`, as EXPLAIN prints sort keys.
fn sort_keys(nodes: &[pb::Node]) -> Vec<String> {
    let key = |node: &pb::Node| {
        let Some(NodeEnum::SortBy(sort)) = &node.node else { return None };
        let mut text = text_of(sort.node.as_deref()?)?;
        match pb::SortByDir::try_from(sort.sortby_dir).unwrap_or_default() {
            pb::SortByDir::SortbyDesc => text.push_str(" DESC"),
            pb::SortByDir::SortbyUsing => {
                let operator = names::parts(&sort.use_op).unwrap_or_default().join(".");
                text.push_str(&format!(" USING {operator}"));
            }
            pb::SortByDir::Undefined | pb::SortByDir::SortbyDefault | pb::SortByDir::SortbyAsc => {}
        }
        match pb::SortByNulls::try_from(sort.sortby_nulls).unwrap_or_default() {
            pb::SortByNulls::SortbyNullsFirst => text.push_str(" NULLS FIRST"),
            pb::SortByNulls::SortbyNullsLast => text.push_str(" NULLS LAST"),
            pb::SortByNulls::Undefined | pb::SortByNulls::SortbyNullsDefault => {}
        }
        Some(text)
    };
    nodes.iter().filter_map(key).collect()
}

/// A name as SQL, quoted where it must be.
fn name(text: &str) -> String {
    super::settings::path_element(text)
}

/// `Scan on relation alias`.
fn scanned(step: &mut Step, relation: &str, alias: Option<&pb::Alias>) {
    step.label.push_str(" on ");
    step.label.push_str(&name(relation));
    let known_as = alias.map_or(relation, |a| a.aliasname.as_str());
    if known_as != relation {
        step.label.push(' ');
        step.label.push_str(&name(known_as));
    }
    step.facts.push(("Relation Name", relation.to_owned()));
    step.facts.push(("Alias", known_as.to_owned()));
}

impl Sketch<'_> {
    fn statement(&mut self, statement: &NodeEnum) -> Step {
        match statement {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => {
                let mut below = insert.select_stmt.as_deref().map(|n| self.inner(n));
                self.write("Insert", insert.relation.as_ref(), insert.with_clause.as_ref(), &mut below)
            }
            NodeEnum::UpdateStmt(update) => {
                let mut below =
                    Some(self.read_by(update.relation.as_ref(), &update.from_clause, update.where_clause.as_deref()));
                self.write("Update", update.relation.as_ref(), update.with_clause.as_ref(), &mut below)
            }
            NodeEnum::DeleteStmt(delete) => {
                let mut below =
                    Some(self.read_by(delete.relation.as_ref(), &delete.using_clause, delete.where_clause.as_deref()));
                self.write("Delete", delete.relation.as_ref(), delete.with_clause.as_ref(), &mut below)
            }
            NodeEnum::MergeStmt(merge) => {
                let source = merge.source_relation.as_deref().map(std::slice::from_ref).unwrap_or_default();
                let mut below = Some(self.read_by(merge.relation.as_ref(), source, merge.join_condition.as_deref()));
                self.write("Merge", merge.relation.as_ref(), merge.with_clause.as_ref(), &mut below)
            }
            NodeEnum::CreateTableAsStmt(create) => {
                create.query.as_deref().map_or(Step::new("Result"), |n| self.inner(n))
            }
            NodeEnum::DeclareCursorStmt(declare) => {
                declare.query.as_deref().map_or(Step::new("Result"), |n| self.inner(n))
            }
            NodeEnum::PrepareStmt(prepare) => prepare.query.as_deref().map_or(Step::new("Result"), |n| self.inner(n)),
            // No other kind is explained; what is not known has no outline.
            _ => Step::new("Result"),
        }
    }

    fn inner(&mut self, node: &pb::Node) -> Step {
        node.node.as_ref().map_or(Step::new("Result"), |n| self.statement(n))
    }

    fn write(
        &mut self,
        verb: &'static str,
        target: Option<&pb::RangeVar>,
        with: Option<&pb::WithClause>,
        below: &mut Option<Step>,
    ) -> Step {
        let mut step = Step::new("ModifyTable");
        verb.clone_into(&mut step.label);
        step.facts.push(("Operation", verb.to_owned()));
        if let Some(target) = target {
            scanned(&mut step, &target.relname, target.alias.as_ref());
        }
        step.below = self.with(with);
        step.below.extend(below.take());
        step
    }

    /// What UPDATE, DELETE and MERGE read: the target joined to the rest.
    fn read_by(&mut self, target: Option<&pb::RangeVar>, others: &[pb::Node], on: Option<&pb::Node>) -> Step {
        let mut items: Vec<Step> = target.map(|t| self.relation(t)).into_iter().collect();
        items.extend(others.iter().map(|n| self.item(n)));
        filtered(joined(items), on)
    }

    fn with(&mut self, with: Option<&pb::WithClause>) -> Vec<Step> {
        let mut steps = Vec::new();
        for cte in with.map(|w| w.ctes.as_slice()).unwrap_or_default() {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else { continue };
            let recursive = with.is_some_and(|w| w.recursive);
            if recursive {
                self.ctes.push(cte.ctename.clone());
            }
            if let Some(query) = cte.ctequery.as_deref() {
                let mut step = self.inner(query);
                step.name = Some(format!("CTE {}", name(&cte.ctename)));
                steps.push(step);
            }
            if !recursive {
                self.ctes.push(cte.ctename.clone());
            }
        }
        steps
    }

    fn select(&mut self, select: &pb::SelectStmt) -> Step {
        let known = self.ctes.len();
        let with = self.with(select.with_clause.as_ref());
        let mut step = match pb::SetOperation::try_from(select.op).unwrap_or_default() {
            pb::SetOperation::SetopUnion | pb::SetOperation::SetopIntersect | pb::SetOperation::SetopExcept => {
                self.set_operation(select)
            }
            pb::SetOperation::SetopNone | pb::SetOperation::Undefined => self.level(select),
        };
        let keys = sort_keys(&select.sort_clause);
        if !keys.is_empty() {
            let mut sort = Step::new("Sort");
            sort.list("Sort Key", keys);
            step = sort.over(step);
        }
        if select.limit_count.is_some() || select.limit_offset.is_some() {
            step = Step::new("Limit").over(step);
        }
        step.below.splice(0..0, with);
        self.ctes.truncate(known);
        step
    }

    fn set_operation(&mut self, select: &pb::SelectStmt) -> Step {
        let op = pb::SetOperation::try_from(select.op).unwrap_or_default();
        let mut arms = Vec::new();
        self.arms(select, select.op, select.all, &mut arms);
        if op == pb::SetOperation::SetopUnion {
            let append = Step { below: arms, ..Step::new("Append") };
            return if select.all { append } else { Step::new("Unique").over(append) };
        }
        let command = match (op == pb::SetOperation::SetopIntersect, select.all) {
            (true, false) => "Intersect",
            (true, true) => "Intersect All",
            (false, false) => "Except",
            (false, true) => "Except All",
        };
        let mut step = Step { below: arms, ..Step::new("SetOp") };
        step.label = format!("SetOp {command}");
        step.facts.push(("Command", command.to_owned()));
        step
    }

    /// The arms of a chain of one set operation, which grows to the left.
    fn arms(&mut self, select: &pb::SelectStmt, op: i32, all: bool, into: &mut Vec<Step>) {
        let plain = |s: &pb::SelectStmt| {
            s.op == op
                && s.all == all
                && op == pb::SetOperation::SetopUnion as i32
                && s.sort_clause.is_empty()
                && s.limit_count.is_none()
                && s.limit_offset.is_none()
                && s.with_clause.is_none()
        };
        match select.larg.as_deref() {
            Some(left) if plain(left) => self.arms(left, op, all, into),
            Some(left) => into.push(self.select(left)),
            None => {}
        }
        if let Some(right) = select.rarg.as_deref() {
            into.push(self.select(right));
        }
    }

    /// One level: FROM, WHERE, grouping, windows, DISTINCT.
    fn level(&mut self, select: &pb::SelectStmt) -> Step {
        if !select.values_lists.is_empty() {
            return Step::new("Values Scan");
        }
        let items: Vec<Step> = select.from_clause.iter().map(|n| self.item(n)).collect();
        let mut step = filtered(joined(items), select.where_clause.as_deref());
        let sorted: Vec<pb::Node> = select.target_list.iter().chain(&select.sort_clause).cloned().collect();
        let grouped = !select.group_clause.is_empty() || select.having_clause.is_some();
        if grouped || self.some_call(&sorted, &|s, call| call.over.is_none() && s.is_aggregate(call)) {
            let mut aggregate = Step::new("Aggregate");
            aggregate.list("Group Key", texts(&select.group_clause));
            aggregate.text("Filter", parenthesized(select.having_clause.as_deref()));
            step = aggregate.over(step);
        }
        if self.some_call(&sorted, &|_, call| call.over.is_some()) {
            step = Step::new("WindowAgg").over(step);
        }
        if !select.distinct_clause.is_empty() {
            let mut unique = Step::new("Unique");
            unique.list("Key", texts(&select.distinct_clause));
            step = unique.over(step);
        }
        step
    }

    fn is_aggregate(&self, call: &pb::FuncCall) -> bool {
        let name = names::parts(&call.funcname).and_then(|p| p.last().map(|n| (*n).to_owned())).unwrap_or_default();
        self.catalog.functions.get(&name).is_some_and(|o| o.iter().any(|f| f.kind == 'a'))
    }

    /// Whether some call of this level is as asked.
    fn some_call(&self, nodes: &[pb::Node], asked: &dyn Fn(&Self, &pb::FuncCall) -> bool) -> bool {
        fn look(node: &mut pb::Node, found: &mut dyn FnMut(&pb::FuncCall)) {
            match &mut node.node {
                None | Some(NodeEnum::SelectStmt(_)) => {}
                Some(kind) => {
                    if let NodeEnum::FuncCall(call) = kind {
                        found(call);
                    }
                    // What cannot be walked was refused before.
                    let _ = walk::children(kind, &mut |child| {
                        look(child, found);
                        Ok(())
                    });
                }
            }
        }
        let mut yes = false;
        nodes.iter().for_each(|node| look(&mut node.clone(), &mut |call| yes |= asked(self, call)));
        yes
    }

    fn relation(&self, relation: &pb::RangeVar) -> Step {
        let cte = relation.schemaname.is_empty() && self.ctes.contains(&relation.relname);
        let mut step = Step::new(match cte {
            true => "CTE Scan",
            false if (self.under_policy)(relation.location) => "Policy Scan",
            false => "Scan",
        });
        scanned(&mut step, &relation.relname, relation.alias.as_ref());
        step
    }

    fn item(&mut self, node: &pb::Node) -> Step {
        let named = |kind: &'static str, alias: Option<&pb::Alias>| {
            let mut step = Step::new(kind);
            if let Some(alias) = alias {
                scanned(&mut step, &alias.aliasname, Some(alias));
            }
            step
        };
        match &node.node {
            Some(NodeEnum::RangeVar(relation)) => self.relation(relation),
            Some(NodeEnum::RangeTableSample(sample)) => {
                let mut step = sample.relation.as_deref().map_or(Step::new("Scan"), |n| self.item(n));
                let method = names::parts(&sample.method).unwrap_or_default().join(".");
                step.text("Sampling", Some(format!("{method} ({})", texts(&sample.args).join(", "))));
                step
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                let step = named("Subquery Scan", sub.alias.as_ref());
                match sub.subquery.as_deref() {
                    Some(query) => step.over(self.inner(query)),
                    None => step,
                }
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join),
            Some(NodeEnum::RangeFunction(function)) => named("Function Scan", function.alias.as_ref()),
            Some(NodeEnum::RangeTableFunc(table)) => named("Table Function Scan", table.alias.as_ref()),
            _ => Step::new("Result"),
        }
    }

    fn join(&mut self, join: &pb::JoinExpr) -> Step {
        let mut step = Step::new("Join");
        let conditions = !join.using_clause.is_empty() || join.quals.is_some() || join.is_natural;
        let (kind, label) = match pb::JoinType::try_from(join.jointype).unwrap_or_default() {
            pb::JoinType::JoinLeft => ("Left", "Left Join"),
            pb::JoinType::JoinRight => ("Right", "Right Join"),
            pb::JoinType::JoinFull => ("Full", "Full Join"),
            _ if conditions => ("Inner", "Join"),
            _ => ("Inner", "Cross Join"),
        };
        label.clone_into(&mut step.label);
        step.facts.push(("Join Type", kind.to_owned()));
        if join.is_natural {
            step.text("Using", Some("(natural)".to_owned()));
        }
        let using = names::parts(&join.using_clause).unwrap_or_default();
        step.list("Using", using.into_iter().map(name).collect());
        step.text("Join Filter", parenthesized(join.quals.as_deref()));
        for side in [&join.larg, &join.rarg].into_iter().filter_map(|s| s.as_deref()) {
            let below = self.item(side);
            step.below.push(below);
        }
        step
    }
}

/// The items of FROM as one step.
fn joined(items: Vec<Step>) -> Step {
    let mut items = items.into_iter();
    let Some(mut step) = items.next() else { return Step::new("Result") };
    for item in items {
        let mut join = Step::new("Join");
        "Cross Join".clone_into(&mut join.label);
        join.facts.push(("Join Type", "Inner".to_owned()));
        step = join.over(step).over(item);
    }
    step
}

/// A condition stands with the step it is applied to.
fn filtered(mut step: Step, condition: Option<&pb::Node>) -> Step {
    step.text("Filter", parenthesized(condition));
    step
}

#[cfg(test)]
mod tests;
